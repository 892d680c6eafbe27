/* Making derived models (derived.h) out of a Modelfile or of what Ollama's clients send: the models
 * folder's records, and its blobs, the files that were uploaded for them. Blocking; any thread. */
#ifndef HEARTH_MODELS_CREATE_H
#define HEARTH_MODELS_CREATE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "models/models.h"

/* ---- Modelfiles ---------------------------------------------------------------------------- */

enum { MODELFILE_MAX = 4 << 20 };

/* The text of a Modelfile as the object that models_create takes:
 *   from, adapter, template, system: texts; license: texts; parameters: an object;
 *   messages: [{"role", "content"}].
 * ERR_INVALID with the line. */
HT_MUST_CHECK enum err modelfile_parse(const char *text, size_t len, json_t **out,
                                       struct error *error);
/* A derived model's record as a Modelfile; document NULL: only FROM. */
void modelfile_write(const char *from, const json_t *document, struct buf *out);
/* The parameters of one alone, "stop \"<end>\"" and the like, one a line. */
void modelfile_write_parameters(const json_t *parameters, const char *front, struct buf *out);

/* ---- blobs --------------------------------------------------------------------------------- */

/* "sha256:<64 digits>" or "sha256-...": its path in the models folder. ERR_INVALID. */
HT_MUST_CHECK enum err blob_path(const struct models *m, const char *digest, char path[4096],
                                 struct error *error);
/* Copies a file among the blobs; digest: 72 bytes, "sha256:...". */
HT_MUST_CHECK enum err blob_add(const struct models *m, const char *file, char digest[72],
                                struct error *error);

/* ---- models -------------------------------------------------------------------------------- */

struct create_params {
    const char *name;         /* as the client gave it */
    const json_t *spec;       /* see modelfile_parse; instead of `from` and `adapter` also
                               * "files" and "adapters": {"<file name>": "<digest of a blob>"} */
    bool allow_paths;         /* from and adapter may be files (command line only) */
    const char *folder;       /* that relative paths are in; NULL = the working folder */
    const char *adapters_dir; /* where an adapter that comes as a file is put */
    const char *builtin_adapters_dir;
    /* What is being done, in Ollama's words. May be NULL. */
    void (*on_status)(void *ctx, const char *status);
    void *ctx;
};

/* Writes the record; one of that name is replaced. The spec's members stand before those of the
 * model it is made from, if that is a derived one. ERR_NO_MODEL: `from`; ERR_CONFLICT: a model that
 * is not derived has the name; ERR_ADAPTER, ERR_MODEL_FILE, ERR_NOT_FOUND: a blob or file. */
HT_MUST_CHECK enum err models_create(struct models *m, const struct create_params *params,
                                     struct error *error);
/* Another name for a model. adapters_dir: as of create_params. */
HT_MUST_CHECK enum err models_copy(struct models *m, const char *source, const char *name,
                                   const char *adapters_dir, struct error *error);

/* ---- models of an Ollama on this machine ----------------------------------------------------- */

struct import_report {
    /* Each of them; error NULL: it is there now. `known`: it was before. */
    void (*on_model)(void *ctx, const char *name, bool known, const struct error *error);
    void *ctx;
};

/* The folders in which an Ollama keeps models, each ended by '\0', the list by an empty one:
 * `configured` alone if it is not empty, else those of a usual installation. */
void ollama_folders(const char *configured, char *list, size_t size);
/* Takes the models of the manifests in `dir` over, as derived models whose files lie there: nothing
 * is copied. Counts in *n. ERR_NOT_FOUND: there is no such folder. */
HT_MUST_CHECK enum err models_import_ollama(struct models *m, const char *dir,
                                            const struct import_report *report, size_t *n,
                                            struct error *error);

#endif
