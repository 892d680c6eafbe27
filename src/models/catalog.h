/* The catalogue: names that people know ("llama3.2:1b") -> repository and file to download. Read
 * from models/catalog.json, which is beside the built-in models and may be edited. Immutable after
 * loading, so every thread may read it. Sizes are for display and planning; what the server says
 * counts. */
#ifndef HEARTH_MODELS_CATALOG_H
#define HEARTH_MODELS_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "types/model_info.h"

enum { CATALOG_FILE_MAX = 4 << 20, CATALOG_MODELS_MAX = 2000 };

struct catalog_file {
    const char *quant; /* "Q4_K_M" */
    const char *file;  /* path within the repository; the first part of a split model */
    int64_t bytes;     /* of all parts, about; 0 = unknown */
};

struct catalog_model {
    const char *name; /* "llama3.2:1b" */
    const char *const *aliases;
    size_t n_aliases;
    enum model_kind kind;
    const char *params;               /* "1.2B" */
    const char *license;              /* "Apache 2.0" */
    const char *repo;                 /* "org/repository" */
    int32_t context;                  /* tokens it was trained for */
    const struct catalog_file *files; /* the default first */
    size_t n_files;
};

struct catalog;

HT_MUST_CHECK enum err catalog_load(const char *path, struct catalog **out, struct error *error);
void catalog_free(struct catalog *c); /* NULL is fine */
const struct catalog_model *catalog_models(const struct catalog *c, size_t *n);

/* "llama3.2:1b", "Llama3.2-1B", "llama3.2:latest", "llama3.2:1b:q8_0" -> model and file; *file NULL
 * when no quantisation was named. Case, '-', '_' and ':' make no difference. ERR_NO_MODEL:
 * unknown; ERR_INVALID: known, but without that quantisation (the message lists those there are).
 */
HT_MUST_CHECK enum err catalog_find(const struct catalog *c, const char *name,
                                    const struct catalog_model **model,
                                    const struct catalog_file **file, struct error *error);

/* How different two names are: edits (insert, delete, change) between them, without regard to case
 * and separators. For "did you mean". */
int name_distance(const char *a, const char *b);
/* Appends up to `max` names of the catalogue that come close to `name`, with ", " between. */
void catalog_suggest(const struct catalog *c, const char *name, size_t max, struct buf *out);

#endif
