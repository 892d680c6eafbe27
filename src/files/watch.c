/* Watched folders; see watch.h.
 *
 *   wake: file `wake` --> woken, read the list of folders anew
 *   folder: new --> walk it: each file compared --> records whose file has gone removed
 *   event on a path --> pending, due after SETTLE_MS of quiet --> compared, or removed */
#include "files/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "files/files_int.h"
#include "files/sync.h"

enum {
    SETTLE_MS = 700,
    RETRY_MS = 5000,
    AWAY_MS = 30000, /* between two looks for a folder that is away */
    SWEEP_MS = 24 * 3600 * 1000,
    FULL_SCAN_MS = 10 * 60 * 1000, /* of folders for which the system has no watches left */
    EVENTS = 64 << 10,
};

struct root {
    struct sync_target target; /* its strings are owned */
    bool away;                 /* it was not there at the last look */
    bool unwatched;            /* not all of it could be watched */
    bool kept;                 /* while the list is read anew */
    int64_t look_at_ms;        /* again, where events don't do */
};

struct dir {
    int wd;
    struct root *root;
    char *path;
};

struct change {
    struct root *root;
    int64_t due_ms;
    char path[];
};

struct watcher {
    struct watcher_params params;
    char *folders;
    pthread_t thread;
    bool started;
    int inotify, event, wake_wd;

    pthread_mutex_t lock; /* of these three */
    struct store *store;
    bool reload, stopping;

    /* The thread's own. */
    struct root **roots;
    size_t n_roots;
    struct dir *dirs;
    size_t n_dirs, cap_dirs;
    struct map *pending; /* path -> struct change */
    int64_t sweep_at_ms;
    struct store *s; /* NULL until watcher_use */
    _Alignas(struct inotify_event) char events[EVENTS];
};

static bool is_stopping(struct watcher *w)
{
    pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

/* ---- folders in inotify ---------------------------------------------------------------------- */

static struct dir *dir_of(struct watcher *w, int wd)
{
    for (size_t i = 0; i < w->n_dirs; i++)
        if (w->dirs[i].wd == wd) return &w->dirs[i];
    return NULL;
}

static void forget_dir(struct watcher *w, struct dir *d)
{
    free(d->path);
    *d = w->dirs[--w->n_dirs];
}

static void forget_root_dirs(struct watcher *w, const struct root *root)
{
    for (size_t i = w->n_dirs; i-- > 0;) {
        if (w->dirs[i].root != root) continue;
        inotify_rm_watch(w->inotify, w->dirs[i].wd);
        forget_dir(w, &w->dirs[i]);
    }
}

static void watch_dir(struct watcher *w, struct root *root, const char *path)
{
    int wd = inotify_add_watch(w->inotify, path,
                               IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                   IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
                                   IN_EXCL_UNLINK | IN_DONT_FOLLOW);
    if (wd < 0 && errno == ENOSPC && !root->unwatched) {
        log_warn(files,
                 "the system has no watches left for all folders under %s "
                 "(sysctl fs.inotify.max_user_watches); it is looked through every few minutes",
                 root->target.path);
        root->unwatched = true;
    }
    if (wd < 0) return;
    struct dir *d = dir_of(w, wd);
    if (!d) {
        if (w->n_dirs == w->cap_dirs) {
            size_t cap = w->cap_dirs ? 2 * w->cap_dirs : 64;
            struct dir *more = try_realloc(w->dirs, cap, sizeof *more);
            if (!more) return;
            w->dirs = more;
            w->cap_dirs = cap;
        }
        d = &w->dirs[w->n_dirs++];
    } else {
        free(d->path);
    }
    *d = (struct dir){wd, root, xstrdup(path)};
}

/* ---- changes --------------------------------------------------------------------------------- */

static void expect_change(struct watcher *w, struct root *root, const char *path, int64_t in_ms)
{
    struct change *c = map_get(w->pending, path);
    if (!c) {
        size_t len = strlen(path) + 1;
        c = xmalloc(sizeof *c + len);
        memcpy(c->path, path, len);
        map_put(w->pending, path, c);
    }
    c->root = root;
    c->due_ms = clock_mono_ms() + in_ms;
}

static void file_now(struct watcher *w, struct root *root, const char *path)
{
    struct error error;
    enum err e = sync_file(&root->target, w->params.files, w->s, path, &error);
    if (e == ERR_CONFLICT || e == ERR_DATABASE || e == ERR_DISK_FULL || e == ERR_NOMEM)
        expect_change(w, root, path, RETRY_MS);
    if (e) log_warn(files, "%s was not taken: %s", path, error.msg);
}

struct walk {
    struct watcher *w;
    struct root *root;
};

static bool walked(void *ctx, const char *path, bool is_dir)
{
    struct walk *walk = ctx;
    if (is_dir)
        watch_dir(walk->w, walk->root, path);
    else
        file_now(walk->w, walk->root, path);
    return !is_stopping(walk->w);
}

static void removed(struct watcher *w, struct root *root, const char *path)
{
    struct error error;
    enum err e = sync_removed(&root->target, w->params.files, w->s, path, &error);
    if (!e) return;
    log_warn(files, "%s could not be removed: %s", path, error.msg);
    expect_change(w, root, path, RETRY_MS);
}

static void apply(struct watcher *w, struct change *c)
{
    struct stat st;
    struct walk walk = {w, c->root};
    if (lstat(c->path, &st) != 0 && errno == ENOENT) {
        /* With the folder itself nothing is known of what was in it. */
        if (fs_exists(c->root->target.path)) removed(w, c->root, c->path);
    } else if (S_ISDIR(st.st_mode)) {
        watch_walk(c->path, walked, &walk);
    } else if (S_ISREG(st.st_mode)) {
        file_now(w, c->root, c->path);
    }
}

struct due {
    int64_t now, next;
    struct change *first;
};

static int find_due(const char *key, void *value, void *ctx)
{
    struct change *c = value;
    struct due *due = ctx;
    (void)key;
    if (c->due_ms <= due->now)
        due->first = c;
    else if (c->due_ms < due->next)
        due->next = c->due_ms;
    return due->first == NULL;
}

/* Applies what has settled; returns when the next one is due. */
static int64_t apply_due(struct watcher *w)
{
    for (;;) {
        struct due due = {.now = clock_mono_ms(), .next = INT64_MAX};
        map_each(w->pending, find_due, &due);
        if (!due.first || is_stopping(w)) return due.next;
        map_del(w->pending, due.first->path);
        apply(w, due.first);
        free(due.first);
    }
}

struct of_root {
    const struct root *root;
    struct change *found;
};

static int find_of_root(const char *key, void *value, void *ctx)
{
    struct change *c = value;
    struct of_root *search = ctx;
    (void)key;
    if (c->root == search->root) search->found = c;
    return search->found == NULL;
}

static void drop_changes(struct watcher *w, const struct root *root)
{
    struct of_root search = {.root = root};
    for (;;) { /* one at a time: the map may not change while it is walked */
        search.found = NULL;
        map_each(w->pending, find_of_root, &search);
        if (!search.found) return;
        map_del(w->pending, search.found->path);
        free(search.found);
    }
}

/* ---- roots ----------------------------------------------------------------------------------- */

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool empty = true;
    for (struct dirent *entry; d && empty && (entry = readdir(d));)
        empty = str_eq(entry->d_name, ".") || str_eq(entry->d_name, "..");
    if (d) closedir(d);
    return empty;
}

/* Compares all of it with its records. */
static void scan(struct watcher *w, struct root *root)
{
    struct error error;
    struct stat st;
    struct walk walk = {w, root};
    const char *path = root->target.path;
    root->look_at_ms = INT64_MAX;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        if (!root->away)
            log_warn(files, "the watched folder %s is away; its files stay as they are", path);
        root->away = true;
        root->look_at_ms = clock_mono_ms() + AWAY_MS;
        return;
    }
    root->away = false;
    watch_walk(path, walked, &walk);
    if (is_stopping(w)) return;
    if (is_empty(path))
        log_info(files, "the watched folder %s is empty; what came from it stays", path);
    else if (sync_gone(&root->target, w->params.files, w->s, &error))
        log_warn(files, "%s: %s", path, error.msg);
    if (root->unwatched) root->look_at_ms = clock_mono_ms() + FULL_SCAN_MS;
    log_info(files, "the folder %s is watched", path);
}

static void free_root(struct root *root)
{
    sync_target_clear(&root->target);
    free(root);
}

static struct root *find_root(struct watcher *w, const struct sync_target *t)
{
    for (size_t i = 0; i < w->n_roots; i++) {
        const struct sync_target *have = &w->roots[i]->target;
        if (str_eq(have->path, t->path) && str_eq(have->collection_id, t->collection_id))
            return w->roots[i];
    }
    return NULL;
}

/* Takes the target's strings. */
static void want_root(void *ctx, struct sync_target *target)
{
    struct watcher *w = ctx;
    struct root *root = find_root(w, target);
    if (root) {
        root->kept = true;
        sync_target_clear(target);
        return;
    }
    struct root **more = try_realloc(w->roots, w->n_roots + 1, sizeof *more);
    if (!more) {
        sync_target_clear(target);
        return;
    }
    w->roots = more;
    root = xcalloc(1, sizeof *root);
    root->target = *target;
    root->kept = true;
    w->roots[w->n_roots++] = root; /* look_at_ms 0: now */
}

static int64_t load_roots(struct watcher *w)
{
    struct error error;
    for (size_t i = 0; i < w->n_roots; i++) w->roots[i]->kept = false;
    enum err e = sync_targets(w->params.files, w->s, w->folders, want_root, w, &error);
    if (e) {
        log_warn(files, "the watched folders can't be read: %s", error.msg);
        return clock_mono_ms() + RETRY_MS;
    }
    for (size_t i = w->n_roots; i-- > 0;) {
        struct root *root = w->roots[i];
        if (root->kept) continue;
        log_info(files, "the folder %s is no longer watched", root->target.path);
        forget_root_dirs(w, root);
        drop_changes(w, root);
        free_root(root);
        w->roots[i] = w->roots[--w->n_roots];
    }
    return INT64_MAX;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void rescan_all(struct watcher *w)
{
    for (size_t i = 0; i < w->n_roots; i++) w->roots[i]->look_at_ms = 0;
}

static void on_event(struct watcher *w, const struct inotify_event *event)
{
    char path[FS_PATH_MAX];
    if (event->mask & IN_Q_OVERFLOW) {
        log_info(files, "more changed at once than the system could tell; all is compared");
        rescan_all(w);
        return;
    }
    if (event->wd == w->wake_wd) {
        if (event->len && str_eq(event->name, "wake")) {
            pthread_mutex_lock(&w->lock);
            w->reload = true;
            pthread_mutex_unlock(&w->lock);
            w->params.woken(w->params.ctx);
        }
        return;
    }
    struct dir *d = dir_of(w, event->wd);
    if (!d) return;
    if (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) {
        bool root = str_eq(d->path, d->root->target.path);
        if (root) d->root->look_at_ms = clock_mono_ms() + SETTLE_MS;
        if (event->mask & IN_MOVE_SELF) inotify_rm_watch(w->inotify, d->wd);
        if (event->mask & IN_IGNORED) forget_dir(w, d);
        return;
    }
    /* Of a file that is made, its closing will tell. */
    if ((event->mask & IN_CREATE) && !(event->mask & IN_ISDIR)) return;
    if (!event->len || !watch_wants(event->name)) return;
    if (str_printf(path, sizeof path, "%s/%s", d->path, event->name))
        expect_change(w, d->root, path, SETTLE_MS);
}

static void read_events(struct watcher *w)
{
    ssize_t n = read(w->inotify, w->events, sizeof w->events);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const void *)(w->events + at);
        on_event(w, event);
        at += (ssize_t)(sizeof *event + event->len);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t look_at_roots(struct watcher *w)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < w->n_roots && !is_stopping(w); i++) {
        if (w->roots[i]->look_at_ms <= clock_mono_ms()) scan(w, w->roots[i]);
        next = earlier(next, w->roots[i]->look_at_ms);
    }
    return next;
}

static int64_t sweep_daily(struct watcher *w)
{
    struct files_swept swept;
    struct error error;
    int64_t now = clock_mono_ms();
    if (!w->sweep_at_ms) w->sweep_at_ms = now + SWEEP_MS; /* the first is the start's */
    if (now >= w->sweep_at_ms) {
        w->sweep_at_ms = now + SWEEP_MS;
        if (files_sweep(w->params.files, w->s, &swept, &error))
            log_warn(files, "the files' folder could not be swept: %s", error.msg);
        if (w->params.daily) w->params.daily(w->params.ctx, w->s);
    }
    return w->sweep_at_ms;
}

/* Does what is due; returns when the next thing is. */
static int64_t turn(struct watcher *w)
{
    int64_t next = INT64_MAX;
    pthread_mutex_lock(&w->lock);
    bool reload = w->reload && w->store;
    if (reload) w->reload = false;
    w->s = w->store;
    pthread_mutex_unlock(&w->lock);
    if (!w->s) return next;
    if (reload) next = load_roots(w);
    if (next != INT64_MAX) { /* once more */
        pthread_mutex_lock(&w->lock);
        w->reload = true;
        pthread_mutex_unlock(&w->lock);
    }
    next = earlier(next, look_at_roots(w));
    next = earlier(next, apply_due(w));
    return earlier(next, sweep_daily(w));
}

static void *watcher_main(void *arg)
{
    struct watcher *w = arg;
    uint64_t count;
    while (!is_stopping(w)) {
        int64_t at = turn(w), now = clock_mono_ms();
        int ms = at == INT64_MAX      ? -1
                 : at <= now          ? 0
                 : at - now > INT_MAX ? INT_MAX
                                      : (int)(at - now);
        struct pollfd fds[] = {{.fd = w->event, .events = POLLIN},
                               {.fd = w->inotify, .events = POLLIN}};
        if (poll(fds, 2, ms) <= 0) continue;
        if (fds[0].revents) (void)!read(w->event, &count, sizeof count);
        if (fds[1].revents) read_events(w);
    }
    return NULL;
}

static void tell(struct watcher *w)
{
    uint64_t one = 1;
    (void)!write(w->event, &one, sizeof one);
}

struct watcher *watcher_new(const struct watcher_params *params)
{
    struct watcher *w = xcalloc(1, sizeof *w);
    w->params = *params;
    w->folders = xstrdup(params->folders ? params->folders : "");
    w->inotify = w->event = w->wake_wd = -1;
    w->pending = map_new();
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

enum err watcher_start(struct watcher *w, struct error *error)
{
    struct error why;
    const char *dir = files_dir(w->params.files);
    w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    w->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->inotify < 0 || w->event < 0)
        return err_set_errno(error, errno, "folders can't be watched");
    if (fs_mkdirs(dir, 0700, &why) == OK)
        w->wake_wd = inotify_add_watch(w->inotify, dir, IN_CLOSE_WRITE);
    if (w->wake_wd < 0)
        log_warn(files, "%s can't be watched; `hearth add` is seen at the next start only", dir);
    enum err e = thread_start(&w->thread, "files", watcher_main, w, error);
    w->started = !e;
    return e;
}

void watcher_use(struct watcher *w, struct store *s)
{
    pthread_mutex_lock(&w->lock);
    w->store = s;
    w->reload = true;
    pthread_mutex_unlock(&w->lock);
    if (w->event >= 0) tell(w);
}

void watcher_stop(struct watcher *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    if (w->event >= 0) tell(w);
}

static int free_change(const char *key, void *value, void *ctx)
{
    (void)key;
    (void)ctx;
    free(value);
    return 1;
}

void watcher_free(struct watcher *w)
{
    if (!w) return;
    watcher_stop(w);
    if (w->started) thread_join(w->thread);
    map_each(w->pending, free_change, NULL);
    map_free(w->pending);
    while (w->n_dirs) forget_dir(w, &w->dirs[w->n_dirs - 1]);
    for (size_t i = 0; i < w->n_roots; i++) free_root(w->roots[i]);
    if (w->inotify >= 0) close(w->inotify);
    if (w->event >= 0) close(w->event);
    free(w->dirs);
    free(w->roots);
    free(w->folders);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
