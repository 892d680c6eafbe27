/* Inside of src/files: the folder's lock and what its parts ask of each other. */
#ifndef HEARTH_FILES_FILES_INT_H
#define HEARTH_FILES_FILES_INT_H

#include "files/files.h"

struct files {
    struct files_params params;
    char *dir, *collection;
    struct jobs *jobs; /* NULL: of a command */
    files_delete_fn before_delete;
    void *before_ctx;
};

/* LOCK_SH or LOCK_EX; close the descriptor to let go. -1: *error says why. */
int files_lock(struct files *f, int how, struct error *error);

#endif
