/* Driver: a graph in memory (ann.h) over the store's vectors, for sets that are large enough; the
 * database searches the others, and each set while its graph is not complete.
 *
 * One thread keeps graphs: it reads one from disk or builds it from the store, catches up with what
 * was added and removed meanwhile (or by another hub), rebuilds where much was removed, and writes
 * to disk. Who adds or removes through this hub changes the graph at once, if it is complete.
 *
 * A graph is at a mark (last_seq, removed) of its set's counters in the store:
 *   nothing there  build, load ->  behind  catch_up -> current  (an add that can't wait) -> behind
 * Searches use it when it is current. `missed` counts adds that did not go into it, so that the
 * thread does not call a graph current that has just missed one. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/vec.h"
#include "rag/ann.h"
#include "rag/vectors_int.h"

enum {
    SETS_MAX = 64,
    PAGE = 256,
    BUILDERS_MAX = 8,
    POLL_MS = 5000,          /* for what other hubs do */
    SPOT_CHECKS = 32,        /* vectors of a file that are compared with the store's */
    SAVE_AFTER = 2000,       /* changes, or a twentieth of the set */
    SAVE_AT_END = 256 << 20, /* a graph up to this size is written at the end, too */
    PLAIN_FROM = 1000        /* auto with a database that has to compare one by one */
};

struct mem_set {
    struct store_vector_set set; /* n and dims; the mark */
    struct ann *ann;             /* NULL: there is none */
    bool current, dropped;
    int64_t missed;  /* adds that this graph did not get */
    int64_t unsaved; /* changes since it was written */
    int adding;      /* threads that have taken numbers and are not through with them */
    /* Of the graph and all above. Who changes anything has both, who reads `lock` or `change`: so
     * searches go on while the graph is written to disk. */
    pthread_mutex_t change;
    pthread_rwlock_t lock;
};

struct hnsw {
    struct store *store;
    bool sqlite;
    int64_t from; /* sets of so many vectors get a graph */
    char dir[FS_PATH_MAX];
    pthread_mutex_t lock; /* of the list and what the thread waits for */
    pthread_cond_t wake;
    struct mem_set *sets[SETS_MAX];
    size_t n_sets;
    bool poked;
    atomic_bool stop;
    pthread_t thread;
    bool started;
};

/* ---- the list ------------------------------------------------------------------------------ */

/* NULL after the last. Sets are never taken away. */
static struct mem_set *nth(struct hnsw *h, size_t i)
{
    pthread_mutex_lock(&h->lock);
    struct mem_set *m = i < h->n_sets ? h->sets[i] : NULL;
    pthread_mutex_unlock(&h->lock);
    return m;
}

static struct mem_set *find(struct hnsw *h, int64_t set)
{
    struct mem_set *m;
    for (size_t i = 0; (m = nth(h, i)); i++)
        if (m->set.n == set) return m;
    return NULL;
}

static void poke(struct hnsw *h)
{
    pthread_mutex_lock(&h->lock);
    h->poked = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
}

static struct mem_set *mem_set_new(const struct store_vector_set *set)
{
    struct mem_set *m = xcalloc(1, sizeof *m);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* Or searches, one after the other, would keep an add waiting for ever. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&m->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&m->change, NULL);
    m->set = (struct store_vector_set){.n = set->n, .dims = set->dims};
    return m;
}

static void change(struct mem_set *m)
{
    pthread_mutex_lock(&m->change);
    pthread_rwlock_wrlock(&m->lock);
}

static void changed(struct mem_set *m)
{
    pthread_rwlock_unlock(&m->lock);
    pthread_mutex_unlock(&m->change);
}

static void mem_set_free(struct mem_set *m)
{
    ann_free(m->ann);
    pthread_rwlock_destroy(&m->lock);
    pthread_mutex_destroy(&m->change);
    free(m);
}

static bool path_of(const struct hnsw *h, const struct mem_set *m, char path[FS_PATH_MAX])
{
    char name[64];
    struct error error;
    str_printf(name, sizeof name, "set-%lld-%d.hnsw", (long long)m->set.n, m->set.dims);
    return *h->dir && fs_join(path, FS_PATH_MAX, h->dir, name, &error) == OK;
}

/* ---- disk ---------------------------------------------------------------------------------- */

static void save(struct hnsw *h, struct mem_set *m)
{
    char path[FS_PATH_MAX];
    struct error error = {0};
    if (!path_of(h, m, path)) return;
    enum err e = fs_mkdirs(h->dir, 0700, &error);
    int64_t began = clock_mono_ms();
    pthread_mutex_lock(&m->change);
    bool ready = m->ann && !m->dropped && !m->adding;
    struct ann_mark mark = {m->set.n, m->set.last_seq, m->set.removed};
    int64_t changes = m->unsaved;
    if (!e && ready) e = ann_save(m->ann, path, &mark, &error);
    pthread_mutex_unlock(&m->change);
    if (!ready) return;
    if (e) {
        log_warn(rag, "the index of vectors could not be kept: %s", error.msg);
    } else {
        log_debug(rag, "the index of set %lld is on disk (%lld ms)", (long long)mark.set,
                  (long long)(clock_mono_ms() - began));
    }
    change(m);
    m->unsaved -= changes; /* after a failure the next changes try again */
    changed(m);
}

struct spot {
    const struct ann *ann;
    int64_t n;
    bool wrong;
};

static enum err compare_spot(void *ctx, const struct store_vector_row *row, struct error *error)
{
    (void)error;
    struct spot *spot = ctx;
    if (row->n == spot->n) spot->wrong = !ann_matches(spot->ann, row->n, row->floats);
    return OK;
}

/* A file may be of a database that was restored since, or of another one. */
static enum err is_of_this_store(struct hnsw *h, const struct mem_set *m, const struct ann *ann,
                                 bool *is, struct error *error)
{
    size_t all = ann_count(ann) + ann_removed(ann);
    *is = true;
    for (size_t i = 0; *is && i < SPOT_CHECKS && all; i++) {
        struct spot spot = {.ann = ann};
        int64_t last;
        if (!ann_is(ann, all * i / SPOT_CHECKS, &spot.n)) continue;
        enum err e =
            store_vector_each(h->store, &m->set, spot.n - 1, 1, compare_spot, &spot, &last, error);
        if (e) return e;
        *is = !spot.wrong;
    }
    return OK;
}

/* *out stays NULL when there is no file that can be used. */
static enum err load(struct hnsw *h, struct mem_set *m, const struct store_vector_set *now,
                     struct ann **out, struct ann_mark *mark, struct error *error)
{
    char path[FS_PATH_MAX];
    struct error why;
    struct ann *ann = NULL;
    bool is = false;
    if (!path_of(h, m, path)) return OK;
    enum err e = ann_load(path, m->set.dims, &ann, mark, &why);
    if (e == ERR_NOT_FOUND) return OK;
    if (e) {
        log_warn(rag, "%s; it is built again", why.msg);
        return OK;
    }
    bool fits =
        mark->set == now->n && mark->last_seq <= now->last_seq && mark->removed <= now->removed;
    if (fits) e = is_of_this_store(h, m, ann, &is, error);
    if (!e && is) {
        *out = ann;
        return OK;
    }
    ann_free(ann);
    if (!e) log_info(rag, "%s is of another database; it is built again", path);
    return e;
}

/* ---- building ------------------------------------------------------------------------------ */

struct page {
    int64_t n[PAGE], collection[PAGE], file[PAGE];
    float *floats;
    size_t count;
    int32_t dims;
};

static enum err take_row(void *ctx, const struct store_vector_row *row, struct error *error)
{
    (void)error;
    struct page *p = ctx;
    p->n[p->count] = row->n;
    p->collection[p->count] = row->collection;
    p->file[p->count] = row->file;
    memcpy(p->floats + p->count * (size_t)p->dims, row->floats, (size_t)p->dims * sizeof(float));
    p->count++;
    return OK;
}

static struct page *page_new(int32_t dims)
{
    struct page *p = xcalloc(1, sizeof *p);
    p->dims = dims;
    p->floats = xcalloc((size_t)PAGE * (size_t)dims, sizeof(float));
    return p;
}

static void page_free(struct page *p)
{
    free(p->floats);
    free(p);
}

struct build {
    struct hnsw *h;
    const struct store_vector_set *set;
    struct ann *ann;
    pthread_mutex_t lock; /* of reading and what follows */
    int64_t after;        /* number of the last vector that was read */
    bool end, full;
    enum err e;
    struct error error;
};

/* One page for one thread; false at the end. */
static bool next_page(struct build *b, struct page *p)
{
    pthread_mutex_lock(&b->lock);
    p->count = 0;
    if (!b->end && !b->e && !atomic_load(&b->h->stop)) {
        int64_t last;
        b->e =
            store_vector_each(b->h->store, b->set, b->after, PAGE, take_row, p, &last, &b->error);
        b->after = last;
        b->end = p->count < PAGE;
        /* More than was counted: the rest comes when it catches up. */
        b->full = !b->end && ann_room(b->ann) < PAGE * (BUILDERS_MAX + 1);
        if (b->full) b->end = true;
    }
    bool more = p->count && !b->e;
    pthread_mutex_unlock(&b->lock);
    return more;
}

static void *build_some(void *arg)
{
    struct build *b = arg;
    struct page *p = page_new(b->set->dims);
    setpriority(PRIO_PROCESS, (id_t)gettid(), 10); /* answers come first */
    while (next_page(b, p)) {
        struct error error;
        enum err e = OK;
        for (size_t i = 0; !e && i < p->count; i++)
            e = ann_add(b->ann, p->n[i], p->collection[i], p->file[i],
                        p->floats + i * (size_t)p->dims, &error);
        if (!e) continue;
        pthread_mutex_lock(&b->lock);
        b->e = e;
        b->error = error;
        pthread_mutex_unlock(&b->lock);
    }
    page_free(p);
    return NULL;
}

static int builders(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long n = cores > 2 ? cores / 2 : cores; /* two: they are niced */
    return (int)(n < 1 ? 1 : n > BUILDERS_MAX ? BUILDERS_MAX : n);
}

/* *out stays NULL when it was told to stop. */
static enum err build(struct hnsw *h, const struct store_vector_set *now, struct ann **out,
                      struct ann_mark *mark, struct error *error)
{
    pthread_t threads[BUILDERS_MAX];
    int n = 0, wanted = builders();
    int64_t live = now->last_seq - now->removed, began = clock_mono_ms();
    struct build b = {.h = h, .set = now};
    enum err e =
        ann_new(now->dims, (size_t)(live + live / 8) + PAGE * (BUILDERS_MAX + 4), &b.ann, error);
    if (e) return e;
    pthread_mutex_init(&b.lock, NULL);
    while (n < wanted - 1 && !thread_start(&threads[n], "vectors", build_some, &b, error)) n++;
    build_some(&b);
    for (int i = 0; i < n; i++) thread_join(threads[i]);
    pthread_mutex_destroy(&b.lock);
    if (b.e || atomic_load(&h->stop)) {
        ann_free(b.ann);
        return b.e ? err_set(error, b.e, "%s", b.error.msg) : OK;
    }
    *out = b.ann;
    /* All that was there when `now` was read is in it, and maybe more. */
    int64_t seq = b.after ? store_vector_seq(b.after) : 0;
    if (!b.full && seq < now->last_seq) seq = now->last_seq;
    *mark = (struct ann_mark){now->n, seq, now->removed};
    log_info(rag, "set %lld: %zu vectors are in memory (%lld ms)", (long long)now->n,
             ann_count(b.ann), (long long)(clock_mono_ms() - began));
    return OK;
}

/* ---- keeping up ---------------------------------------------------------------------------- */

static void publish(struct mem_set *m, struct ann *ann, const struct ann_mark *mark,
                    int64_t unsaved)
{
    change(m);
    struct ann *old = m->ann;
    m->ann = ann;
    m->current = false;
    m->set.last_seq = mark->last_seq;
    m->set.removed = mark->removed;
    m->unsaved = unsaved;
    changed(m);
    ann_free(old);
}

/* The lock is held for one vector at a time, so that searches go on. */
static enum err add_locked(struct mem_set *m, int64_t n, int64_t collection, int64_t file,
                           const float *v, struct error *error)
{
    enum err e = OK;
    change(m);
    if (!m->ann) {
        e = err_set(error, ERR_CANCELLED, "the graph is gone");
    } else if (!ann_room(m->ann)) {
        size_t count = ann_count(m->ann) + ann_removed(m->ann);
        e = ann_grow(m->ann, count + count / 4 + PAGE, error);
    }
    if (!e) e = ann_add(m->ann, n, collection, file, v, error);
    m->unsaved++;
    changed(m);
    return e;
}

static enum err catch_up_added(struct hnsw *h, struct mem_set *m,
                               const struct store_vector_set *now, struct error *error)
{
    int64_t after = store_vector_n(m->set.n, m->set.last_seq);
    struct page *p = page_new(m->set.dims);
    enum err e = OK;
    do {
        p->count = 0;
        e = store_vector_each(h->store, &m->set, after, PAGE, take_row, p, &after, error);
        for (size_t i = 0; !e && i < p->count; i++)
            e = add_locked(m, p->n[i], p->collection[i], p->file[i],
                           p->floats + i * (size_t)p->dims, error);
    } while (!e && p->count == PAGE && !atomic_load(&h->stop));
    if (!e && !atomic_load(&h->stop)) {
        int64_t seq = store_vector_seq(after);
        change(m);
        m->set.last_seq = seq > now->last_seq ? seq : now->last_seq;
        changed(m);
    }
    page_free(p);
    return e;
}

static enum err catch_up_removed(struct hnsw *h, struct mem_set *m,
                                 const struct store_vector_set *now, struct error *error)
{
    int64_t *numbers;
    size_t n;
    enum err e = store_vector_numbers(h->store, m->set.n, &numbers, &n, error);
    if (e) return e;
    change(m);
    if (m->ann) m->unsaved += (int64_t)ann_keep(m->ann, numbers, n);
    m->set.removed = now->removed;
    changed(m);
    free(numbers);
    return OK;
}

/* Until the graph is where the store is, and nobody has passed it by meanwhile. */
static enum err catch_up(struct hnsw *h, struct mem_set *m, struct error *error)
{
    while (!atomic_load(&h->stop)) {
        struct store_vector_set now;
        pthread_rwlock_rdlock(&m->lock);
        int64_t missed = m->missed;
        pthread_rwlock_unlock(&m->lock);
        enum err e = store_vector_set_get(h->store, m->set.n, &now, error);
        if (e) return e;
        change(m);
        bool added = now.last_seq > m->set.last_seq, removed = now.removed != m->set.removed;
        m->current = m->ann && !added && !removed && missed == m->missed;
        bool done = m->current || !m->ann;
        changed(m);
        if (done) return OK;
        if (added) e = catch_up_added(h, m, &now, error);
        /* A number that was taken before may be gone now, so this comes second. */
        if (!e && removed) e = catch_up_removed(h, m, &now, error);
        if (e) return e;
    }
    return OK;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static enum err make_graph(struct hnsw *h, struct mem_set *m, const struct store_vector_set *now,
                           struct error *error)
{
    struct ann *ann = NULL;
    struct ann_mark mark;
    int64_t unsaved = 0;
    /* A worn one on disk is no help. */
    enum err e = m->ann ? OK : load(h, m, now, &ann, &mark, error);
    if (!e && !ann) {
        e = build(h, now, &ann, &mark, error);
        unsaved = INT32_MAX;
    }
    if (!e && ann) publish(m, ann, &mark, unsaved);
    return e;
}

static bool is_worn(const struct ann *a)
{
    return ann_removed(a) > ann_count(a) / 2 + SAVE_AFTER;
}

static bool is_to_be_saved(struct mem_set *m, int64_t live)
{
    pthread_rwlock_rdlock(&m->lock);
    bool is = m->ann && m->unsaved > SAVE_AFTER && m->unsaved > live / 20;
    pthread_rwlock_unlock(&m->lock);
    return is;
}

static bool is_dropped(struct mem_set *m)
{
    pthread_rwlock_rdlock(&m->lock);
    bool is = m->dropped;
    pthread_rwlock_unlock(&m->lock);
    return is;
}

static enum err tend(struct hnsw *h, struct mem_set *m, struct error *error)
{
    struct store_vector_set now = {.n = m->set.n};
    bool dropped = is_dropped(m);
    enum err e = dropped ? OK : store_vector_set_get(h->store, m->set.n, &now, error);
    if (e == ERR_NOT_FOUND) dropped = true; /* by another hub */
    if (e && !dropped) return e;
    int64_t live = now.last_seq - now.removed;
    /* Only this thread changes m->ann itself, so it may look at it. */
    bool wanted = !dropped && live >= (m->ann && h->from > 1 ? h->from / 2 : h->from);
    if (!wanted && m->ann) publish(m, NULL, &(struct ann_mark){.set = now.n}, 0);
    if (!wanted) return OK;
    if (!m->ann || is_worn(m->ann)) e = make_graph(h, m, &now, error);
    if (!e) e = catch_up(h, m, error);
    if (!e && is_to_be_saved(m, live)) save(h, m);
    return e;
}

static void tend_all(struct hnsw *h)
{
    struct mem_set *m;
    for (size_t i = 0; !atomic_load(&h->stop) && (m = nth(h, i)); i++) {
        struct error error;
        enum err e = tend(h, m, &error);
        /* The database searches meanwhile, and this is tried again. */
        if (e) log_warn(rag, "the index of vectors: %s", error.msg);
    }
}

static void *tend_always(void *arg)
{
    struct hnsw *h = arg;
    setpriority(PRIO_PROCESS, (id_t)gettid(), 10);
    while (!atomic_load(&h->stop)) {
        tend_all(h);
        int64_t until_ns = clock_mono_ns() + (int64_t)POLL_MS * 1000000;
        pthread_mutex_lock(&h->lock);
        while (!h->poked && !atomic_load(&h->stop) &&
               cond_wait_until(&h->wake, &h->lock, until_ns)) {
        }
        h->poked = false;
        pthread_mutex_unlock(&h->lock);
    }
    return NULL;
}

/* ---- the driver ---------------------------------------------------------------------------- */

static void hnsw_close(void *state)
{
    struct hnsw *h = state;
    atomic_store(&h->stop, true);
    poke(h);
    if (h->started) thread_join(h->thread);
    for (size_t i = 0; i < h->n_sets; i++) {
        struct mem_set *m = h->sets[i];
        if (m->ann && m->unsaved && ann_bytes(m->ann) < SAVE_AT_END) save(h, m);
        mem_set_free(m);
    }
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->wake);
    free(h);
}

static enum err open_from(const struct vectors_params *params, int64_t from, void **state,
                          struct error *error)
{
    struct hnsw *h = xcalloc(1, sizeof *h);
    h->store = params->store;
    h->sqlite = str_eq(store_kind(params->store), "sqlite");
    h->from = from;
    pthread_mutex_init(&h->lock, NULL);
    cond_init(&h->wake);
    *state = h;
    if (params->dir && !str_copy(h->dir, sizeof h->dir, params->dir))
        return err_set(error, ERR_CONFIG, "VECTORDB_PATH is longer than %zu bytes",
                       sizeof h->dir - 1);
    enum err e = thread_start(&h->thread, "vectors", tend_always, h, error);
    h->started = e == OK;
    return e;
}

static enum err hnsw_open(const struct vectors_params *params, void **state, struct error *error)
{
    return open_from(params, 1, state, error);
}

static enum err auto_open(const struct vectors_params *params, void **state, struct error *error)
{
    bool sqlite = str_eq(store_kind(params->store), "sqlite");
    return open_from(params, sqlite ? params->hnsw_from : PLAIN_FROM, state, error);
}

static enum err hnsw_prepare(void *state, const struct store_vector_set *set, struct error *error)
{
    struct hnsw *h = state;
    enum err e = store_vector_mend(h->store, set->n, error);
    if (e) return e;
    struct mem_set *fresh = mem_set_new(set);
    pthread_mutex_lock(&h->lock);
    bool there = false;
    for (size_t i = 0; !there && i < h->n_sets; i++) there = h->sets[i]->set.n == set->n;
    if (!there && h->n_sets < SETS_MAX) {
        h->sets[h->n_sets++] = fresh;
        fresh = NULL;
    }
    h->poked = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
    if (fresh) mem_set_free(fresh);
    return OK;
}

/* Takes the numbers if the graph is where they begin. */
static bool take_numbers(struct mem_set *m, const struct vectors_added *added)
{
    int64_t seq = store_vector_seq(added->first);
    change(m);
    bool takes = m->ann && m->current && m->set.last_seq + 1 == seq;
    if (takes) {
        m->set.last_seq = seq + (int64_t)added->add->n - 1;
        m->adding++;
    } else {
        m->current = false;
        m->missed++;
    }
    changed(m);
    return takes;
}

static enum err hnsw_added(void *state, const struct vectors_added *added, struct error *error)
{
    (void)error;
    struct hnsw *h = state;
    const struct store_vector_add *add = added->add;
    struct mem_set *m = find(h, add->set);
    if (!m) return OK;
    enum err e = OK;
    struct error why;
    if (take_numbers(m, added)) {
        size_t dims = (size_t)add->dims;
        float *unit = xmalloc(dims * sizeof *unit);
        for (size_t i = 0; !e && i < add->n; i++) {
            vec_normalise(add->floats + i * dims, dims, unit);
            e = add_locked(m, added->first + (int64_t)i, add->collection, added->file, unit, &why);
        }
        free(unit);
        change(m);
        m->adding--;
        if (e) { /* a graph with a hole: what is missing comes when there is room for it */
            m->set.last_seq = store_vector_seq(added->first) - 1;
            m->current = false;
            m->missed++;
        }
        changed(m);
        if (e) log_warn(rag, "the index of vectors: %s", why.msg);
    }
    poke(h);
    return OK; /* the database finds them meanwhile */
}

static void hnsw_removed(void *state, int64_t file, const int64_t *numbers, size_t n)
{
    (void)numbers;
    (void)n;
    struct hnsw *h = state;
    struct mem_set *m;
    for (size_t i = 0; (m = nth(h, i)); i++) {
        change(m);
        if (m->ann) {
            int64_t gone = (int64_t)ann_remove_file(m->ann, file);
            m->set.removed += gone;
            m->unsaved += gone;
        }
        changed(m);
    }
    poke(h); /* to see whether it agrees with the store's count */
}

static void hnsw_dropped(void *state, int64_t set)
{
    struct hnsw *h = state;
    char path[FS_PATH_MAX];
    struct mem_set *m = find(h, set);
    if (!m) return;
    change(m);
    m->dropped = true;
    m->current = false;
    changed(m);
    poke(h);
    if (path_of(h, m, path)) unlink(path);
}

static enum err ask_database(struct hnsw *h, const struct store_vector_query *q,
                             struct store_vector_hit *out, size_t *n, struct error *error)
{
    return h->sqlite ? store_vector_search(h->store, q, out, n, error)
                     : store_vector_exact(h->store, q, out, n, error);
}

/* *used: the graph was asked and had enough. */
static enum err ask_graph(struct hnsw *h, struct mem_set *m, const struct store_vector_query *q,
                          const float *unit, struct store_vector_hit *out, size_t *n, bool *used,
                          struct error *error)
{
    size_t most = q->k * 2 > q->k + 16 ? q->k * 2 : q->k + 16, found = 0;
    struct ann_query query = {.v = unit,
                              .collections = q->collections,
                              .n_collections = q->n_collections,
                              .files = q->files,
                              .n_files = q->n_files,
                              .by_file = q->by_file};
    bool all = false;
    int64_t *numbers = try_calloc(most, sizeof *numbers);
    if (!numbers) return err_set(error, ERR_NOMEM, "no memory for %zu candidates", most);
    enum err e = OK;
    pthread_rwlock_rdlock(&m->lock);
    *used = m->ann && m->current && !m->dropped;
    if (*used) e = ann_search(m->ann, &query, most, numbers, &found, &all, error);
    pthread_rwlock_unlock(&m->lock);
    if (!e && *used) e = store_vector_rescore(h->store, q, numbers, found, out, n, error);
    /* Candidates that are gone by now, by another hub: there may be others behind them. */
    if (!e && *used && *n < q->k && !all) *used = false;
    free(numbers);
    return e;
}

static enum err hnsw_search(void *state, const struct store_vector_query *q,
                            struct store_vector_hit *out, size_t *n, struct error *error)
{
    struct hnsw *h = state;
    struct mem_set *m = find(h, q->set);
    bool used = false;
    enum err e = OK;
    if (m && m->set.dims == q->dims) {
        float *unit = xmalloc((size_t)q->dims * sizeof *unit);
        if (vec_normalise(q->floats, (size_t)q->dims, unit))
            e = ask_graph(h, m, q, unit, out, n, &used, error);
        free(unit);
    }
    return e || used ? e : ask_database(h, q, out, n, error);
}

static enum err hnsw_status(void *state, const struct store_vector_set *set,
                            struct vectors_status *out, struct error *error)
{
    (void)error;
    struct hnsw *h = state;
    struct mem_set *m = find(h, set->n);
    if (!m) return OK;
    pthread_rwlock_rdlock(&m->lock);
    out->current = m->ann ? m->current : out->n < h->from;
    if (m->ann) {
        out->in_memory = (int64_t)ann_count(m->ann);
        out->bytes = ann_bytes(m->ann);
    }
    pthread_rwlock_unlock(&m->lock);
    return OK;
}

#define HNSW(name_, open_)                                                                         \
    {                                                                                              \
        .name = name_, .open = open_, .close = hnsw_close, .prepare = hnsw_prepare,                \
        .added = hnsw_added, .removed = hnsw_removed, .dropped = hnsw_dropped,                     \
        .search = hnsw_search, .status = hnsw_status,                                              \
    }

const struct vectors_ops vectors_hnsw = HNSW("hnsw", hnsw_open);
const struct vectors_ops vectors_auto = HNSW("auto", auto_open);
