/* Downloading models: `hearth pull <name[:quant] | hf-repo[:file] | https-url>`. Blocking; for the
 * command line now, for a job later. Goes to `<file>.part` (with `<file>.part.json`: url, etag,
 * size), resumes after a cut, checks sha256, then renames: a reader never sees half a model. */
#ifndef HEARTH_MODELS_PULL_H
#define HEARTH_MODELS_PULL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "httpc/httpc.h"
#include "models/models.h"

struct pull_progress {
    const char *file;
    int64_t done, total; /* bytes; total -1 = unknown */
    int64_t resumed_from;
    double bytes_per_s; /* over the last seconds */
    int64_t eta_s;      /* -1 = unknown */
    enum { PULL_RESOLVING, PULL_DOWNLOADING, PULL_VERIFYING, PULL_FINISHED } phase;
};

struct pull_params {
    const char *spec;        /* what the user typed */
    const char *hf_endpoint; /* default https://huggingface.co */
    const char *hf_token;    /* or "" */
    bool force;              /* again, even if it is there */
    bool (*on_progress)(void *ctx, const struct pull_progress *p); /* false = cancel */
    void *ctx;
};

/* On OK *out describes the file. Errors: ERR_NO_MODEL (unknown catalogue name, with suggestions),
 * ERR_AUTH (401/403: says how to set HF_TOKEN), ERR_NOT_FOUND, ERR_DISK_FULL (needed and free, and
 * nothing was downloaded), ERR_CHECKSUM (the partial file is deleted), ERR_NETWORK (says that the
 * same command resumes), ERR_CANCELLED. */
HT_MUST_CHECK enum err models_pull(struct models *m, struct httpc *http,
                                   const struct pull_params *params, struct model_info *out,
                                   struct error *error);

#endif
