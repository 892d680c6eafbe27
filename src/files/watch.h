/* Watched folders: their files are added, brought up to date and removed as they change on the
 * disk.
 *
 * One thread, over inotify. At the start, and whenever inotify has lost events, each folder is
 * compared with its records; then only what changed is looked at, once it has been quiet for a
 * moment. Not followed: symbolic links; not taken: hidden files, files that editors and downloads
 * leave for a moment, and what no text can be got from.
 *
 * A folder that is away (a disk that is not mounted) keeps its records, and so does one that is
 * suddenly empty: only a file that has gone from a folder with others in it is removed. */
#ifndef HEARTH_FILES_WATCH_H
#define HEARTH_FILES_WATCH_H

#include "base/err.h"
#include "files/files.h"
#include "store/store.h"

struct watcher;

struct watcher_params {
    struct files *files; /* borrowed */
    const char *folders; /* comma-separated, for the first admin, besides those in the store */
    /* Another process has touched the file `wake` (files.h); on the watcher's thread. */
    void (*woken)(void *ctx);
    /* MAY: what else is to be put in order once a day, like the folder; the same thread. */
    void (*daily)(void *ctx, struct store *s);
    void *ctx;
};

struct watcher *watcher_new(const struct watcher_params *params);
/* Begins to look after `wake`; folders are watched from watcher_use on. */
HT_MUST_CHECK enum err watcher_start(struct watcher *w, struct error *error);
void watcher_use(struct watcher *w, struct store *s); /* any thread */
void watcher_stop(struct watcher *w);                 /* returns at once */
void watcher_free(struct watcher *w);                 /* NULL is fine */

/* ---- going through a folder ------------------------------------------------------------------ */

/* Whether a file or folder of this name is looked at at all. */
bool watch_wants(const char *name);
/* Calls fn for each regular file under `dir` that is wanted, and for each folder (itself, too)
 * before what is in it. false from fn ends it. Folders that can't be read are left out. */
typedef bool (*watch_fn)(void *ctx, const char *path, bool is_dir);
void watch_walk(const char *dir, watch_fn fn, void *ctx);

#endif
