/* Inside of models: what a scan of the folders found, and what pull needs of struct models. */
#ifndef HEARTH_MODELS_MODELS_INT_H
#define HEARTH_MODELS_MODELS_INT_H

#include <sys/stat.h>

#include "base/map.h"
#include "models/catalog.h"
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
    struct model_info info;
    struct sidecar sidecar;
};

struct scan {
    struct scan_entry **entries; /* the good ones by id, built-in models first; then the others */
    size_t n, n_good;
    bool warned; /* about a folder that can't be read, or too many files */
};

/* Reads `builtin_dir` (that folder only) and `dir`, taking over from `old` (may be NULL, emptied)
 * what did not change. Logs files that are newly found not to be models. */
struct scan *scan_folders(const char *builtin_dir, const char *dir, struct scan *old);
void scan_free(struct scan *s);

/* Of size, time and inode: another number when the file is another one. */
uint64_t file_signature(const struct stat *st);

/* The file's name without folder, "-00001-of-0000N" and ".gguf". */
void model_stem(char *dst, size_t size, const char *path);

/* The catalogue, loaded at first use; lives as long as m. */
HT_MUST_CHECK enum err models_catalog(struct models *m, const struct catalog **out,
                                      struct error *error);
/* A file in the folder, after a fresh scan. ERR_NO_MODEL if it is not a model there. */
HT_MUST_CHECK enum err models_find_path(struct models *m, const char *path, struct model_info *out,
                                        struct error *error);

#endif
