/* One watched folder and its records: what a change on the disk means. No state; whoever watches
 * (watch.c) or goes through a folder once (`hearth add`) calls. */
#ifndef HEARTH_FILES_SYNC_H
#define HEARTH_FILES_SYNC_H

#include "base/err.h"
#include "files/files.h"
#include "store/store.h"

struct sync_target { /* strings are owned */
    char *path;      /* of the folder; absolute, without a '/' at its end */
    char *user_id, *collection_id;
};

void sync_target_clear(struct sync_target *t);

/* Every folder to watch: those in the store, and those of the comma-separated list for the first
 * admin. fn takes the target's strings. */
HT_MUST_CHECK enum err sync_targets(struct files *f, struct store *s, const char *folders,
                                    void (*fn)(void *ctx, struct sync_target *target), void *ctx,
                                    struct error *error);

/* A file is there: added, or brought up to date. OK also when there is nothing to take: it is
 * unchanged, too large (logged), or of a type that no text can be got from. */
HT_MUST_CHECK enum err sync_file(const struct sync_target *t, struct files *f, struct store *s,
                                 const char *path, struct error *error);
/* What was at this path, file or folder, is gone. */
HT_MUST_CHECK enum err sync_removed(const struct sync_target *t, struct files *f, struct store *s,
                                    const char *path, struct error *error);
/* Removes every record whose file has gone. */
HT_MUST_CHECK enum err sync_gone(const struct sync_target *t, struct files *f, struct store *s,
                                 struct error *error);

#endif
