/* Inside of models: what a scan of the folders found, and what pull needs of struct models. */
#ifndef HEARTH_MODELS_MODELS_INT_H
#define HEARTH_MODELS_MODELS_INT_H

#include <sys/stat.h>

#include "base/map.h"
#include "models/catalog.h"
#include "models/derived.h"
#include "models/models.h"
#include "models/sidecar.h"

enum { SCAN_DEPTH = 2, SCAN_FILES_MAX = 10000 };

/* One file that may be a model (the first of a split one). Owned by its scan. */
struct scan_entry {
    char *path;
    size_t root_len;    /* path + root_len is relative to the folder that was scanned */
    uint64_t signature; /* of size, time and inode of all its parts */
    bool builtin;
    bool bad;     /* not a model; info and sidecar are empty */
    bool unnamed; /* no id is free for it now */
    bool told;    /* that was logged */
    /* A derived model (derived.h), with a reference; NULL = it is a file's own. With `from` the
     * path is that of the other model. */
    struct derived *derived;
    struct model_info info;
    struct sidecar sidecar;
};

struct scan {
    struct scan_entry **entries; /* the good ones by id, built-in models first; then the others */
    size_t n, n_good;
    bool warned;              /* about a folder that can't be read, or too many files */
    struct derived **derived; /* all that were read, also what can't be used */
    size_t n_derived;
};

/* Reads `builtin_dir` (that folder only) and `dir`, taking over from `old` (may be NULL, emptied)
 * what did not change. Logs files that are newly found not to be models. */
struct scan *scan_folders(const char *builtin_dir, const char *dir, struct scan *old);
void scan_free(struct scan *s);

/* scan_derived.c: reads the folder of derived models, taking over from `old` (NULL = nothing) what
 * did not change. */
void scan_derived_read(struct scan *s, const char *dir, const struct scan *old);
void scan_derived_free(struct scan *s);

/* Of size, time and inode: another number when the file is another one. */
uint64_t file_signature(const struct stat *st);

/* The file's name without folder, "-00001-of-0000N" and ".gguf". */
void model_stem(char *dst, size_t size, const char *path);

/* The catalogue, loaded at first use; lives as long as m. */
HT_MUST_CHECK enum err models_catalog(struct models *m, const struct catalog **out,
                                      struct error *error);
/* Removes what belonged to the record d, which is gone or was replaced, and to no other one: the
 * blob of its weights, the adapter that was made for it in adapters_dir and the blob of that. */
void models_drop_files(struct models *m, const struct derived *d, const char *adapters_dir);
/* The blob of an adapter that was made for a derived model; false: there is none of that name. */
bool models_adapter_blob(struct models *m, const char *adapter, char file[MODEL_PATH_MAX]);
/* Does a derived model have the weights of the model `id`? Its name, or false. */
bool models_is_base(struct models *m, const char *id, char user[MODEL_ID_MAX]);
/* A file in the folder, after a fresh scan. ERR_NO_MODEL if it is not a model there. */
HT_MUST_CHECK enum err models_find_path(struct models *m, const char *path, struct model_info *out,
                                        struct error *error);

#endif
