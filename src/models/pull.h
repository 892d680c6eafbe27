/* Downloading models: `hearth pull <name[:quant] | hf-repo[:file] | https-url>`. Blocking; for the
 * command line now, for a job later. Goes to `<file>.part` (with `<file>.part.json`: url, etag,
 * size, sha256), resumes after a cut, checks sha256, inspects the GGUF, then renames: a reader
 * never sees half a model. Two pulls of one file at once: the second is refused (ERR_CONFLICT). */
#ifndef HEARTH_MODELS_PULL_H
#define HEARTH_MODELS_PULL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "httpc/httpc.h"
#include "models/models.h"

struct pull_progress {
    const char *file;
    int part, n_parts;   /* of a model in several files: 1..n_parts */
    int64_t done, total; /* bytes of this file; total -1 = unknown */
    int64_t resumed_from;
    double bytes_per_s; /* over the last seconds */
    int64_t eta_s;      /* -1 = unknown */
    const char *note;   /* what a person should know ("the connection was cut, trying again"), or
                           NULL; each note comes once */
    enum { PULL_RESOLVING, PULL_DOWNLOADING, PULL_VERIFYING, PULL_FINISHED } phase;
};

struct pull_params {
    const char *spec;        /* what the user typed */
    const char *hf_endpoint; /* NULL or "" = https://huggingface.co */
    const char *hf_token;    /* or "" */
    bool force;              /* again, even if it is there */
    /* About ten times a second, on the caller's thread; false = cancel. May be NULL. A model that
     * was there already brings PULL_FINISHED alone. */
    bool (*on_progress)(void *ctx, const struct pull_progress *p);
    void *ctx;
    int64_t retry_delay_ms; /* after a cut, doubled each time; 0 = 1000 */
};

/* On OK *out describes the file. Errors: ERR_NO_MODEL (unknown catalogue name, with suggestions),
 * ERR_INVALID (which file of a repository is not said; the message lists them), ERR_AUTH (401/403:
 * says how to set HF_TOKEN), ERR_NOT_FOUND, ERR_DISK_FULL (needed and free; checked before anything
 * is written, and what was written stays if the disk fills up on the way), ERR_CHECKSUM (the
 * partial file is deleted), ERR_MODEL_FILE (it came whole but is no model), ERR_NETWORK and
 * ERR_TIMEOUT (say that the same command resumes), ERR_UPSTREAM, ERR_CONFLICT, ERR_CANCELLED. */
HT_MUST_CHECK enum err models_pull(struct models *m, struct httpc *http,
                                   const struct pull_params *params, struct model_info *out,
                                   struct error *error);

#endif
