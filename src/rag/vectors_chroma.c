/* Driver: a Chroma server, by its REST API, version 2.
 *
 * Each set is a collection there, of the vectors' numbers with their collection's and file's
 * numbers; texts stay here. The store remembers how far the server has come (vector_places). One
 * thread makes up for what the server has missed while it was away, and compares all numbers when
 * the counts don't agree: what was deleted here meanwhile is deleted there, what the server has
 * lost is sent again. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/vec.h"
#include "rag/chroma_rest.h"
#include "rag/vectors_int.h"

enum {
    SETS_MAX = 64,
    BATCH = 200,      /* vectors in one request */
    DELETES = 1000,   /* numbers in one request */
    LIST_PAGE = 5000, /* numbers in one answer */
    BODY_MAX = 256 << 20,
    POLL_MS = 5000,
};

struct remote_set {
    struct store_vector_set set; /* n, dims, created_ms */
    char name[CHROMA_NAME_MAX];
    char id[CHROMA_ID_MAX];    /* at the server; "" = not asked yet */
    bool known;                /* last_seq and removed are what the store remembers */
    int contact;               /* when the server was asked how many it has */
    int64_t last_seq, removed; /* how far the server has come */
    bool current, dropped;
    pthread_mutex_t sync; /* of all above; held while the server is changed */
};

struct chroma {
    struct store *store;
    struct chroma_server *server;
    char prefix[64];
    pthread_mutex_t lock; /* of the list and what the thread waits for */
    pthread_cond_t wake;
    struct remote_set *sets[SETS_MAX];
    size_t n_sets;
    bool poked;
    atomic_bool stop;
    pthread_t thread;
    bool started;
};

/* The collection's id. One that the server has lost is sent again. */
static enum err find_collection(struct chroma *c, struct remote_set *r, struct error *error)
{
    bool made = false;
    if (*r->id) return OK;
    enum err e = chroma_find(c->server, r->name, r->id, &made, error);
    if (!e && made && (r->last_seq || r->removed)) {
        log_warn(rag, "Chroma has lost %s; it is sent again", r->name);
        r->last_seq = r->removed = 0;
    }
    return e;
}

static enum err remember(struct chroma *c, struct remote_set *r, int64_t last_seq, int64_t removed,
                         struct error *error)
{
    enum err e = store_vector_place_put(c->store, r->set.n, chroma_place(c->server), last_seq,
                                        removed, error);
    if (e) return e;
    r->last_seq = last_seq;
    r->removed = removed;
    return OK;
}

/* ---- sending ------------------------------------------------------------------------------- */

static void write_number(struct jw *w, int64_t n)
{
    char text[24];
    str_printf(text, sizeof text, "%lld", (long long)n);
    jw_str(w, text);
}

struct batch {
    struct chroma *c;
    const struct remote_set *r;
    int64_t n[BATCH], collection[BATCH], file[BATCH];
    float *floats;
    size_t count;
    const int64_t *wanted; /* these alone (ascending); NULL = all */
    size_t n_wanted;
};

static enum err send_batch(struct batch *b, struct error *error)
{
    struct buf body;
    struct jw w;
    if (!b->count) return OK;
    size_t dims = (size_t)b->r->set.dims;
    buf_init(&body, BODY_MAX);
    jw_init(&w, &body);
    jw_obj(&w);
    jw_key(&w, "ids");
    jw_arr(&w);
    for (size_t i = 0; i < b->count; i++) write_number(&w, b->n[i]);
    jw_arr_end(&w);
    jw_key(&w, "metadatas");
    jw_arr(&w);
    for (size_t i = 0; i < b->count; i++) {
        jw_obj(&w);
        jw_kint(&w, "collection", b->collection[i]);
        jw_kint(&w, "file", b->file[i]);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_key(&w, "embeddings");
    jw_arr(&w);
    for (size_t i = 0; i < b->count; i++)
        chroma_put_vector(b->c->server, &w, b->floats + i * dims, b->r->set.dims);
    jw_arr_end(&w);
    jw_obj_end(&w);
    enum err e = chroma_call(b->c->server, b->r->id, "upsert", &body, NULL, error);
    buf_free(&body);
    b->count = 0;
    return e;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_in(const int64_t *list, size_t n, int64_t number)
{
    return n && bsearch(&number, list, n, sizeof number, compare_numbers);
}

static enum err take_row(void *ctx, const struct store_vector_row *row, struct error *error)
{
    (void)error;
    struct batch *b = ctx; /* a walk brings BATCH at most */
    if (b->wanted && !is_in(b->wanted, b->n_wanted, row->n)) return OK;
    size_t dims = (size_t)b->r->set.dims;
    b->n[b->count] = row->n;
    b->collection[b->count] = row->collection;
    b->file[b->count] = row->file;
    memcpy(b->floats + b->count * dims, row->floats, dims * sizeof(float));
    b->count++;
    return OK;
}

/* The vectors after number `after`; *last becomes that of the last one. */
static enum err send_after(struct chroma *c, struct remote_set *r, int64_t after,
                           const int64_t *wanted, size_t n_wanted, int64_t *last,
                           struct error *error)
{
    struct batch b = {.c = c, .r = r, .wanted = wanted, .n_wanted = n_wanted};
    b.floats = xcalloc((size_t)BATCH * (size_t)r->set.dims, sizeof(float));
    enum err e;
    *last = after;
    do {
        after = *last;
        e = store_vector_each(c->store, &r->set, after, BATCH, take_row, &b, last, error);
        /* Not from within the walk, which holds a connection to the database. */
        if (!e) e = send_batch(&b, error);
        if (!e && !wanted && *last != after)
            e = remember(c, r, store_vector_seq(*last), r->removed, error);
    } while (!e && *last != after && !atomic_load(&c->stop));
    free(b.floats);
    return e;
}

static enum err delete_numbers(struct chroma *c, const struct remote_set *r, const int64_t *numbers,
                               size_t n, struct error *error)
{
    enum err e = OK;
    for (size_t from = 0; !e && from < n; from += DELETES) {
        struct buf body;
        struct jw w;
        buf_init(&body, 1 << 20);
        jw_init(&w, &body);
        jw_obj(&w);
        jw_key(&w, "ids");
        jw_arr(&w);
        for (size_t i = from; i < n && i < from + DELETES; i++) write_number(&w, numbers[i]);
        jw_arr_end(&w);
        jw_obj_end(&w);
        e = chroma_call(c->server, r->id, "delete", &body, NULL, error);
        buf_free(&body);
    }
    return e;
}

/* ---- comparing ----------------------------------------------------------------------------- */

struct numbers {
    int64_t *all;
    size_t n, room;
};

static enum err push(struct numbers *list, int64_t number, struct error *error)
{
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 1024;
        int64_t *more = try_realloc(list->all, room, sizeof *more);
        if (!more) return err_set(error, ERR_NOMEM, "no memory for %zu numbers", room);
        list->all = more;
        list->room = room;
    }
    list->all[list->n++] = number;
    return OK;
}

static enum err read_ids(const json_t *ids, struct numbers *out, struct error *error)
{
    enum err e = OK;
    size_t i;
    json_t *id;
    json_array_foreach (ids, i, id) {
        int64_t number;
        const char *text = json_string_value(id);
        if (e || !text || !str_to_i64(text, 1, INT64_MAX, &number)) continue; /* not ours */
        e = push(out, number, error);
    }
    return e;
}

static enum err list_remote(struct chroma *c, struct remote_set *r, struct numbers *out,
                            struct error *error)
{
    for (size_t offset = 0;; offset += LIST_PAGE) {
        struct buf body;
        json_t *answer;
        const json_t *ids = NULL;
        buf_init(&body, 256);
        buf_printf(&body, "{\"include\":[],\"limit\":%d,\"offset\":%zu}", LIST_PAGE, offset);
        enum err e = chroma_call(c->server, r->id, "get", &body, &answer, error);
        buf_free(&body);
        if (e) return e;
        e = json_get_array(answer, "ids", "", &ids, error);
        size_t n = json_array_size(ids);
        if (!e) e = read_ids(ids, out, error);
        json_decref(answer);
        if (e || n < LIST_PAGE) return e;
    }
}

/* What only one side has: `a` without `b`, both ascending. */
static enum err without(const struct numbers *a, const struct numbers *b, struct numbers *out,
                        struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < a->n; i++)
        if (!is_in(b->all, b->n, a->all[i])) e = push(out, a->all[i], error);
    return e;
}

static enum err compare(struct chroma *c, struct remote_set *r, const struct store_vector_set *now,
                        struct error *error)
{
    struct numbers here = {0}, there = {0}, stale = {0}, missing = {0};
    int64_t last;
    enum err e = list_remote(c, r, &there, error);
    if (there.n) qsort(there.all, there.n, sizeof *there.all, compare_numbers);
    /* Here comes second: what is added meanwhile is not there, and is no reason to delete it. */
    if (!e) e = store_vector_numbers(c->store, r->set.n, &here.all, &here.n, error);
    if (!e) e = without(&there, &here, &stale, error);
    if (!e) e = without(&here, &there, &missing, error);
    if (!e) e = delete_numbers(c, r, stale.all, stale.n, error);
    if (!e && missing.n)
        e = send_after(c, r, missing.all[0] - 1, missing.all, missing.n, &last, error);
    if (!e) e = remember(c, r, now->last_seq, now->removed, error);
    if (!e && (stale.n || missing.n))
        log_info(rag, "Chroma: %zu vectors deleted and %zu sent to make up for what was missed",
                 stale.n, missing.n);
    free(here.all);
    free(there.all);
    free(stale.all);
    free(missing.all);
    return e;
}

/* ---- keeping up ---------------------------------------------------------------------------- */

/* The first time in this process: does the server still have what it should? */
static enum err check_count(struct chroma *c, struct remote_set *r, bool *right,
                            struct error *error)
{
    json_t *answer;
    *right = false;
    enum err e = chroma_call(c->server, r->id, "count", NULL, &answer, error);
    if (!e) *right = json_integer_value(answer) == r->last_seq - r->removed;
    json_decref(answer);
    return e;
}

static enum err drop(struct chroma *c, struct remote_set *r, struct error *error)
{
    enum err e = chroma_drop(c->server, r->name, error);
    if (!e) e = store_vector_place_drop(c->store, r->set.n, chroma_place(c->server), error);
    if (!e) r->current = true;
    return e;
}

/* sync is held. */
static enum err catch_up(struct chroma *c, struct remote_set *r, struct error *error)
{
    struct store_vector_set now;
    bool right = true;
    enum err e = OK;
    if (r->dropped) return r->current ? OK : drop(c, r, error);
    if (!r->known)
        e = store_vector_place_get(c->store, r->set.n, chroma_place(c->server), &r->last_seq,
                                   &r->removed, error);
    if (!e) e = find_collection(c, r, error);
    int contact = chroma_contact(c->server);
    if (!e && (!r->known || r->contact != contact)) e = check_count(c, r, &right, error);
    if (e == ERR_NOT_FOUND) *r->id = '\0'; /* somebody deleted the collection */
    if (e) return e;
    r->known = true;
    r->contact = contact;
    e = store_vector_set_get(c->store, r->set.n, &now, error);
    if (!e && right && now.last_seq > r->last_seq) {
        int64_t last;
        e = send_after(c, r, store_vector_n(r->set.n, r->last_seq), NULL, 0, &last, error);
        if (!e && r->last_seq < now.last_seq) e = remember(c, r, now.last_seq, r->removed, error);
    }
    if (!e && (!right || r->removed != now.removed)) e = compare(c, r, &now, error);
    if (e == ERR_NOT_FOUND) *r->id = '\0';
    if (e) r->contact = -1; /* half done: compare */
    r->current = !e;
    return e;
}

static struct remote_set *nth(struct chroma *c, size_t i)
{
    pthread_mutex_lock(&c->lock);
    struct remote_set *r = i < c->n_sets ? c->sets[i] : NULL;
    pthread_mutex_unlock(&c->lock);
    return r;
}

static struct remote_set *find(struct chroma *c, int64_t set)
{
    struct remote_set *r;
    for (size_t i = 0; (r = nth(c, i)); i++)
        if (r->set.n == set) return r;
    return NULL;
}

static void poke(struct chroma *c)
{
    pthread_mutex_lock(&c->lock);
    c->poked = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static void tend_all(struct chroma *c)
{
    struct remote_set *r;
    for (size_t i = 0; !atomic_load(&c->stop) && (r = nth(c, i)); i++) {
        struct error error;
        pthread_mutex_lock(&r->sync);
        enum err e = catch_up(c, r, &error);
        pthread_mutex_unlock(&r->sync);
        /* That it is away was said once. */
        if (e && e != ERR_NETWORK && e != ERR_NOT_FOUND)
            log_warn(rag, "Chroma does not keep up: %s", error.msg);
    }
}

static void *tend_always(void *arg)
{
    struct chroma *c = arg;
    while (!atomic_load(&c->stop)) {
        tend_all(c);
        int64_t until_ns = clock_mono_ns() + (int64_t)POLL_MS * 1000000;
        pthread_mutex_lock(&c->lock);
        while (!c->poked && !atomic_load(&c->stop) &&
               cond_wait_until(&c->wake, &c->lock, until_ns)) {
        }
        c->poked = false;
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

/* ---- the driver ---------------------------------------------------------------------------- */

/* Chroma's names: 3 to 512 of [a-zA-Z0-9._-]. */
static void write_prefix(struct chroma *c, const char *name)
{
    size_t n = 0;
    for (; name && *name && n < 48; name++) {
        char ch = *name;
        bool plain = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                     (ch >= 'A' && ch <= 'Z') || ch == '-';
        c->prefix[n++] = plain ? ch : '-';
    }
    c->prefix[n] = '\0';
    if (!n) str_copy(c->prefix, sizeof c->prefix, "documents");
}

static struct remote_set *add_set(struct chroma *c, const struct store_vector_set *set,
                                  bool dropped)
{
    struct remote_set *r = xcalloc(1, sizeof *r);
    pthread_mutex_init(&r->sync, NULL);
    r->set = *set;
    r->set.model = NULL;
    r->dropped = dropped;
    /* The time tells databases apart that share a server. */
    str_printf(r->name, sizeof r->name, "h%s-%lld-%llx", c->prefix, (long long)set->n,
               (unsigned long long)set->created_ms);
    pthread_mutex_lock(&c->lock);
    bool there = c->n_sets == SETS_MAX;
    for (size_t i = 0; !there && i < c->n_sets; i++) there = c->sets[i]->set.n == set->n;
    if (!there) c->sets[c->n_sets++] = r;
    c->poked = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (there) {
        pthread_mutex_destroy(&r->sync);
        free(r);
    }
    return there ? NULL : r;
}

/* Sets that were dropped while the server was away. */
static void add_dropped(struct chroma *c)
{
    struct store_vector_set sets[SETS_MAX];
    size_t n = 0;
    struct error error;
    if (store_vector_place_dropped(c->store, chroma_place(c->server), sets, SETS_MAX, &n, &error))
        log_warn(rag, "Chroma: %s", error.msg);
    for (size_t i = 0; i < n; i++) add_set(c, &sets[i], true);
}

static void chroma_close(void *state)
{
    struct chroma *c = state;
    atomic_store(&c->stop, true);
    poke(c);
    if (c->started) thread_join(c->thread);
    for (size_t i = 0; i < c->n_sets; i++) {
        pthread_mutex_destroy(&c->sets[i]->sync);
        free(c->sets[i]);
    }
    chroma_server_free(c->server);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c);
}

static enum err chroma_open(const struct vectors_params *params, void **state, struct error *error)
{
    struct chroma *c = xcalloc(1, sizeof *c);
    c->store = params->store;
    pthread_mutex_init(&c->lock, NULL);
    cond_init(&c->wake);
    *state = c;
    enum err e = chroma_server_new(params, &c->server, error);
    if (e) return e;
    write_prefix(c, params->name);
    add_dropped(c);
    e = thread_start(&c->thread, "vectors", tend_always, c, error);
    c->started = e == OK;
    return e;
}

static enum err chroma_prepare(void *state, const struct store_vector_set *set, struct error *error)
{
    (void)error;
    add_set(state, set, false);
    return OK;
}

static enum err chroma_added(void *state, const struct vectors_added *added, struct error *error)
{
    struct chroma *c = state;
    struct remote_set *r = find(c, added->add->set);
    if (!r) return err_set(error, ERR_INTERNAL, "too many sets of vectors");
    pthread_mutex_lock(&r->sync);
    enum err e = catch_up(c, r, error);
    pthread_mutex_unlock(&r->sync);
    return e == ERR_NOT_FOUND ? err_set(error, ERR_UPSTREAM, "%s", error->msg) : e;
}

/* Deleted at once if the server is there; else the counts don't agree, and the thread compares. */
static enum err remove_there(struct chroma *c, struct remote_set *r, const int64_t *numbers,
                             size_t n)
{
    struct error error;
    if (!r->known || !*r->id) return OK;
    enum err e = delete_numbers(c, r, numbers, n, &error);
    if (!e) e = remember(c, r, r->last_seq, r->removed + (int64_t)n, &error);
    if (e) r->current = false;
    return e;
}

static void chroma_removed(void *state, int64_t file, const int64_t *numbers, size_t n)
{
    struct chroma *c = state;
    (void)file;
    for (size_t from = 0, to; from < n; from = to) { /* set by set: numbers are ascending */
        int64_t set = store_vector_set_of(numbers[from]);
        struct remote_set *r = find(c, set);
        for (to = from + 1; to < n && store_vector_set_of(numbers[to]) == set;) to++;
        if (!r) continue;
        pthread_mutex_lock(&r->sync);
        if (remove_there(c, r, numbers + from, to - from)) poke(c);
        pthread_mutex_unlock(&r->sync);
    }
}

static void chroma_dropped(void *state, int64_t set)
{
    struct chroma *c = state;
    struct remote_set *r = find(c, set);
    if (!r) return;
    pthread_mutex_lock(&r->sync);
    r->dropped = true;
    r->current = false;
    pthread_mutex_unlock(&r->sync);
    poke(c);
}

/* ---- searching ----------------------------------------------------------------------------- */

static void write_in(struct jw *w, const char *what, const int64_t *numbers, size_t n)
{
    jw_obj(w);
    jw_key(w, what);
    jw_obj(w);
    jw_key(w, "$in");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) jw_int(w, numbers[i]);
    jw_arr_end(w);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void write_query(struct jw *w, const struct store_vector_query *q, const float *unit,
                        size_t most)
{
    jw_obj(w);
    jw_key(w, "query_embeddings");
    jw_arr(w);
    jw_arr(w);
    for (int32_t i = 0; i < q->dims; i++) jw_double(w, (double)unit[i]);
    jw_arr_end(w);
    jw_arr_end(w);
    jw_kint(w, "n_results", (int64_t)most);
    jw_key(w, "include");
    jw_arr(w);
    jw_arr_end(w);
    jw_key(w, "where");
    if (q->by_file) {
        jw_obj(w);
        jw_key(w, "$and");
        jw_arr(w);
        write_in(w, "collection", q->collections, q->n_collections);
        write_in(w, "file", q->files, q->n_files);
        jw_arr_end(w);
        jw_obj_end(w);
    } else {
        write_in(w, "collection", q->collections, q->n_collections);
    }
    jw_obj_end(w);
}

static enum err ask(struct chroma *c, const char *id, const struct store_vector_query *q,
                    const float *unit, size_t most, struct numbers *out, struct error *error)
{
    struct buf body;
    struct jw w;
    json_t *answer;
    const json_t *ids = NULL;
    buf_init(&body, 8 << 20);
    jw_init(&w, &body);
    write_query(&w, q, unit, most);
    enum err e = chroma_call(c->server, id, "query", &body, &answer, error);
    buf_free(&body);
    if (!e) e = json_get_array(answer, "ids", "", &ids, error);
    if (!e) e = read_ids(json_array_get(ids, 0), out, error); /* one question, one list */
    json_decref(answer);
    return e;
}

static enum err search_set(struct chroma *c, struct remote_set *r,
                           const struct store_vector_query *q, struct store_vector_hit *out,
                           size_t *n, struct error *error)
{
    char id[CHROMA_ID_MAX];
    enum err e = OK;
    pthread_mutex_lock(&r->sync);
    if (!*r->id || !r->known) e = catch_up(c, r, error);
    str_copy(id, sizeof id, r->id);
    pthread_mutex_unlock(&r->sync);
    if (e) return e;
    float *unit = xmalloc((size_t)q->dims * sizeof *unit);
    if (!vec_normalise(q->floats, (size_t)q->dims, unit))
        e = err_set(error, ERR_INVALID, "the vector to search for has no direction");
    struct numbers found = {0};
    size_t most = q->k * 2 > q->k + 16 ? q->k * 2 : q->k + 16;
    if (!e) e = ask(c, id, q, unit, most, &found, error);
    if (!e) e = store_vector_rescore(c->store, q, found.all, found.n, out, n, error);
    free(found.all);
    free(unit);
    if (e != ERR_NOT_FOUND) return e;
    /* The collection is gone. */
    pthread_mutex_lock(&r->sync);
    if (str_eq(r->id, id)) *r->id = '\0';
    r->known = r->current = false;
    pthread_mutex_unlock(&r->sync);
    poke(c);
    return err_set(error, ERR_UPSTREAM, "Chroma has lost the vectors; they are sent again");
}

static enum err chroma_search(void *state, const struct store_vector_query *q,
                              struct store_vector_hit *out, size_t *n, struct error *error)
{
    struct chroma *c = state;
    struct remote_set *r = find(c, q->set);
    if (!r) return err_set(error, ERR_NOT_FOUND, "there is no such set of vectors");
    if (r->set.dims != q->dims)
        return err_set(error, ERR_INVALID, "a vector of %d numbers in a set of vectors of %d",
                       q->dims, r->set.dims);
    return search_set(c, r, q, out, n, error);
}

static enum err chroma_status(void *state, const struct store_vector_set *set,
                              struct vectors_status *out, struct error *error)
{
    (void)error;
    struct remote_set *r = find(state, set->n);
    if (!r) return OK;
    pthread_mutex_lock(&r->sync);
    out->current = r->current && r->last_seq == set->last_seq && r->removed == set->removed;
    pthread_mutex_unlock(&r->sync);
    return OK;
}

const struct vectors_ops vectors_chroma = {
    .name = "chroma",
    .open = chroma_open,
    .close = chroma_close,
    .prepare = chroma_prepare,
    .added = chroma_added,
    .removed = chroma_removed,
    .dropped = chroma_dropped,
    .search = chroma_search,
    .status = chroma_status,
};
