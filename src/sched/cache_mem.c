#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/cache.h"

enum {
    GHOSTS = 8192,              /* hashes of evicted blocks that are remembered */
    WRITES_WAITING = 256 << 20, /* bytes; more is not queued for the disk */
};

struct cache_entry {
    struct list_node node;
    struct prefix_item item;
    struct disk_meta *meta; /* owns what item.prefix points to */
    struct blob *state;     /* NULL: on disk only, and not `writing` */
    bool reading;           /* a read is under way */
    bool writing, on_disk;  /* its file is being written, is there */
    uint64_t used;          /* when: cache.uses */
};

struct cache {
    uint64_t memory_limit, disk_limit;
    struct list_node entries;
    struct prefix_index index;
    struct mailbox *notes;
    struct disk *disk; /* NULL: no disk tier */
    bool scanned;
    uint64_t uses;
    uint64_t *ghosts;
    /* written by the owner, read by any thread */
    atomic_llong n_memory, memory_bytes, n_disk, disk_bytes;
    atomic_llong hits[CACHE_DISK + 1], misses, evictions, corrupt;
};

struct cache *cache_new(const struct cache_params *p)
{
    struct cache *c = xcalloc(1, sizeof *c);
    c->memory_limit = p->memory;
    list_init(&c->entries);
    prefix_index_init(&c->index);
    c->ghosts = xcalloc(GHOSTS, sizeof *c->ghosts);
    c->notes = mailbox_new();
    if (p->disk && p->dir && *p->dir) c->disk = disk_open(p->dir, c->notes, p->wake, p->ctx);
    c->disk_limit = c->disk ? p->disk : 0;
    c->scanned = !c->disk;
    return c;
}

bool cache_ready(const struct cache *c)
{
    return c->scanned;
}

bool cache_keeps(const struct cache *c)
{
    return c->memory_limit || c->disk_limit;
}

/* ---- entries ------------------------------------------------------------------------------ */

static void count_memory(struct cache *c, const struct cache_entry *e, int sign)
{
    atomic_fetch_add(&c->n_memory, sign);
    atomic_fetch_add(&c->memory_bytes, sign * (int64_t)e->state->size);
    metric_add(METRIC_cache_memory_bytes, sign * (int64_t)e->state->size);
}

/* A file counts from the moment that it is to be written. */
static void count_disk(struct cache *c, const struct cache_entry *e, int sign)
{
    atomic_fetch_add(&c->n_disk, sign);
    atomic_fetch_add(&c->disk_bytes, sign * (int64_t)e->meta->file_size);
    metric_add(METRIC_cache_disk_bytes, sign * (int64_t)e->meta->file_size);
}

/* Takes meta; NULL without memory. */
static struct cache_entry *add_entry(struct cache *c, struct disk_meta *meta)
{
    struct cache_entry *e = try_calloc(1, sizeof *e);
    if (e) {
        e->meta = meta;
        e->item.prefix = meta->prefix;
        e->used = ++c->uses;
        if (prefix_index_add(&c->index, &e->item)) {
            list_push_back(&c->entries, &e->node);
            return e;
        }
        prefix_index_remove(&c->index, &e->item);
    }
    free(e);
    free(meta);
    return NULL;
}

static void forget_state(struct cache *c, struct cache_entry *e)
{
    if (!e->state) return;
    count_memory(c, e, -1);
    blob_unref(e->state);
    e->state = NULL;
}

static void forget_file(struct cache *c, struct cache_entry *e)
{
    if (!e->on_disk && !e->writing) return;
    count_disk(c, e, -1);
    disk_remove(c->disk, e->meta->file); /* after the write, if that is still under way */
    e->on_disk = e->writing = false;
}

static void free_entry(struct cache *c, struct cache_entry *e)
{
    forget_state(c, e);
    list_remove(&e->node);
    prefix_index_remove(&c->index, &e->item);
    free(e->meta);
    free(e);
}

static struct cache_entry *entry_of(struct prefix_item *item)
{
    return item ? container_of(item, struct cache_entry, item) : NULL;
}

const struct blob *cache_state(const struct cache_entry *e)
{
    return e->state;
}

const struct prefix *cache_prefix(const struct cache_entry *e)
{
    return &e->item.prefix;
}

struct cache_entry *cache_find(struct cache *c, const struct prefix *want, bool whole, int32_t *n)
{
    *n = 0;
    if (!want->model) return NULL; /* a model without a fingerprint */
    return entry_of(prefix_index_find(&c->index, want, whole, n));
}

/* ---- eviction ----------------------------------------------------------------------------- */

/* What losing it costs; see the header. */
static double worth(const struct cache *c, const struct cache_entry *e)
{
    double cost = (double)e->meta->prefix.n_tokens * (double)e->meta->weight;
    double age = (double)(c->uses - e->used + 1);
    return cost / (double)(e->meta->state_size + 1) / age;
}

static void remember_ghost(struct cache *c, const struct cache_entry *e)
{
    for (int32_t i = 0; i < e->item.n_nodes; i++)
        c->ghosts[e->item.nodes[i].hash % GHOSTS] = e->item.nodes[i].hash;
}

bool cache_evicted(struct cache *c, const struct prefix *want)
{
    const uint64_t *hashes;
    if (prefix_hashes(&c->index, want, &hashes) < 1) return false;
    return c->ghosts[hashes[0] % GHOSTS] == hashes[0];
}

static struct cache_entry *cheapest(struct cache *c, bool on_disk, const struct cache_entry *but)
{
    struct cache_entry *worst = NULL;
    list_each (node, &c->entries) {
        struct cache_entry *e = container_of(node, struct cache_entry, node);
        if (e == but || !(on_disk ? e->on_disk : e->state && !e->writing)) continue;
        if (!worst || worth(c, e) < worth(c, worst)) worst = e;
    }
    return worst;
}

static void evict(struct cache *c, struct cache_entry *e, bool from_disk)
{
    atomic_fetch_add(&c->evictions, 1);
    metric_add(METRIC_cache_evictions_total, 1);
    bool gone = from_disk ? !e->state : !e->on_disk;
    if (gone) remember_ghost(c, e);
    if (from_disk)
        forget_file(c, e);
    else
        forget_state(c, e);
    if (gone && !e->reading) free_entry(c, e);
}

/* but: stays whatever it costs; NULL = none. What is being written stays, too: the disk thread has
 * it in memory anyway. */
static void trim(struct cache *c, const struct cache_entry *but)
{
    struct cache_entry *e;
    while ((uint64_t)atomic_load(&c->memory_bytes) > c->memory_limit &&
           (e = cheapest(c, false, but)))
        evict(c, e, false);
    while ((uint64_t)atomic_load(&c->disk_bytes) > c->disk_limit && (e = cheapest(c, true, but)))
        evict(c, e, true);
}

/* ---- keeping ------------------------------------------------------------------------------ */

static void begin_write(struct cache *c, struct cache_entry *e)
{
    if (!c->disk || !c->scanned || e->meta->file_size > c->disk_limit / 2) return;
    if (disk_queued(c->disk) + e->state->size > WRITES_WAITING) return;
    struct disk_meta *copy = disk_meta_new(&e->item.prefix, e->meta->weight, e->meta->state_size);
    if (!copy) return;
    do id_random(&e->meta->file, sizeof e->meta->file);
    while (!e->meta->file);
    copy->file = e->meta->file;
    e->writing = true;
    count_disk(c, e, +1);
    disk_write(c->disk, copy, e->state);
}

/* States of beginnings that `e` makes superfluous: in memory at once, files when its own is there.
 */
static void replace_beginnings(struct cache *c, const struct cache_entry *e)
{
    const struct prefix *p = &e->item.prefix;
    list_each_safe(node, &c->entries)
    {
        struct cache_entry *old = container_of(node, struct cache_entry, node);
        const struct prefix *o = &old->item.prefix;
        if (old == e || old->reading || o->n_tokens > p->n_tokens || 2 * o->n_tokens < p->n_tokens)
            continue;
        if (strcmp(o->tenant, p->tenant) != 0 || o->n_declared != p->n_declared) continue;
        if (prefix_common(p, o) < o->n_tokens) continue;
        if (e->on_disk || !c->disk) forget_file(c, old);
        if (old->writing) continue; /* when that is done, at the next opportunity */
        if (old->on_disk)
            forget_state(c, old);
        else
            free_entry(c, old);
    }
}

bool cache_takes(const struct cache *c, size_t size)
{
    return size && (size <= c->memory_limit || size <= c->disk_limit / 2);
}

void cache_put(struct cache *c, const struct prefix *p, uint64_t weight, struct blob *state)
{
    struct disk_meta *meta = disk_meta_new(p, weight, state->size);
    struct cache_entry *e = meta ? add_entry(c, meta) : NULL;
    if (!e) {
        blob_unref(state);
        return;
    }
    e->state = state;
    count_memory(c, e, +1);
    begin_write(c, e);
    if (e->writing || state->size <= c->memory_limit) replace_beginnings(c, e);
    if (!e->writing && state->size > c->memory_limit) {
        free_entry(c, e);
        e = NULL;
    }
    trim(c, e);
}

void cache_fetch(struct cache *c, struct cache_entry *e)
{
    if (e->reading || e->state) return;
    ht_assert(e->on_disk);
    e->reading = true;
    disk_read(c->disk, e->meta->file);
}

struct blob *cache_take(struct cache *c, struct cache_entry *e)
{
    ht_assert(e->state);
    struct blob *state = blob_ref(e->state);
    e->used = ++c->uses;
    if (e->on_disk) disk_touch(c->disk, e->meta->file);
    trim(c, NULL); /* a state that was read from disk may be more than the memory is to hold */
    return state;
}

void cache_hit(struct cache *c, enum cache_source source)
{
    static const enum metric metrics[] = {[CACHE_SEQUENCE] = METRIC_cache_sequence_hits_total,
                                          [CACHE_MEMORY] = METRIC_cache_memory_hits_total,
                                          [CACHE_DISK] = METRIC_cache_disk_hits_total};
    ht_assert(source != CACHE_NONE);
    atomic_fetch_add(&c->hits[source], 1);
    metric_add(metrics[source], 1);
}

void cache_missed(struct cache *c)
{
    atomic_fetch_add(&c->misses, 1);
    metric_add(METRIC_cache_misses_total, 1);
}

bool cache_other_adapter(struct cache *c, const struct prefix *want)
{
    list_each (node, &c->entries) {
        struct prefix p = container_of(node, struct cache_entry, node)->item.prefix;
        if (p.adapter == want->adapter) continue;
        p.adapter = want->adapter;
        if (strcmp(p.tenant, want->tenant) == 0 && prefix_common(want, &p) >= PREFIX_BLOCK)
            return true;
    }
    return false;
}

/* ---- what the disk thread says -------------------------------------------------------------- */

static struct cache_entry *by_file(struct cache *c, uint64_t file)
{
    list_each (node, &c->entries) {
        struct cache_entry *e = container_of(node, struct cache_entry, node);
        if ((e->on_disk || e->writing || e->reading) && e->meta->file == file) return e;
    }
    return NULL;
}

static void on_found(struct cache *c, struct disk_note *n)
{
    if (!n->ok) return;
    struct cache_entry *e = add_entry(c, n->meta);
    n->meta = NULL;
    if (!e) return;
    e->on_disk = true;
    count_disk(c, e, +1);
}

/* Found in the order of the folder; used in that of the files' times. */
static void sort_by_time(struct cache *c)
{
    struct list_node sorted;
    list_init(&sorted);
    struct list_node *node;
    while ((node = list_pop_front(&c->entries))) {
        int64_t at = container_of(node, struct cache_entry, node)->meta->used_ns;
        struct list_node *pos = &sorted;
        while (pos->prev != &sorted &&
               container_of(pos->prev, struct cache_entry, node)->meta->used_ns > at)
            pos = pos->prev;
        list_insert_before(pos, node);
    }
    while ((node = list_pop_front(&sorted))) {
        container_of(node, struct cache_entry, node)->used = ++c->uses;
        list_push_back(&c->entries, node);
    }
}

static void on_scanned(struct cache *c, const struct disk_note *n)
{
    c->scanned = true;
    if (!n->ok) return;
    sort_by_time(c);
    trim(c, NULL);
    if (atomic_load(&c->n_disk))
        log_info(sched, "prefix cache: %lld states on disk, %lld MiB",
                 (long long)atomic_load(&c->n_disk), (long long)atomic_load(&c->disk_bytes) >> 20);
}

static void on_written(struct cache *c, struct cache_entry *e, bool ok)
{
    if (!e || !e->writing) return;
    e->writing = false;
    if (ok) {
        e->on_disk = true;
        metric_add(METRIC_cache_written_bytes_total, (int64_t)e->meta->file_size);
        replace_beginnings(c, e);
        if (e->meta->state_size > c->memory_limit) forget_state(c, e);
        trim(c, e);
        return;
    }
    count_disk(c, e, -1);
    if (e->meta->state_size > c->memory_limit) free_entry(c, e);
    trim(c, NULL);
}

static void on_read(struct cache *c, struct cache_entry *e, struct disk_note *n)
{
    if (!e) return;
    e->reading = false;
    /* The hashes were right; that it is what the entry says is looked at all the same. */
    bool same = n->ok && e->on_disk && n->meta->prefix.n_tokens == e->item.prefix.n_tokens &&
                n->state->size == e->meta->state_size &&
                strcmp(n->meta->prefix.tenant, e->item.prefix.tenant) == 0 &&
                prefix_common(&n->meta->prefix, &e->item.prefix) == e->item.prefix.n_tokens;
    if (!same) {
        if (n->ok || !n->corrupt) forget_file(c, e);
        if (e->on_disk) {
            count_disk(c, e, -1);
            e->on_disk = false;
        }
        free_entry(c, e);
        return;
    }
    e->state = n->state;
    n->state = NULL;
    e->used = ++c->uses;
    count_memory(c, e, +1);
    trim(c, e);
}

static void obey(struct cache *c, struct disk_note *n)
{
    if (n->corrupt) {
        atomic_fetch_add(&c->corrupt, 1);
        metric_add(METRIC_cache_corrupt_total, 1);
    }
    switch (n->type) {
    case DISK_FOUND: on_found(c, n); break;
    case DISK_SCANNED: on_scanned(c, n); break;
    case DISK_WRITTEN: on_written(c, by_file(c, n->file), n->ok); break;
    case DISK_READ: on_read(c, by_file(c, n->file), n); break;
    }
}

void cache_poll(struct cache *c)
{
    for (struct mail *m = mailbox_receive(c->notes, 0), *next; m; m = next) {
        next = m->next;
        struct disk_note *n = container_of(m, struct disk_note, mail);
        obey(c, n);
        disk_note_free(n);
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

void cache_free(struct cache *c, int64_t grace_ms)
{
    if (!c) return;
    disk_close(c->disk, grace_ms);
    for (struct mail *m = mailbox_receive(c->notes, 0), *next; m; m = next) {
        next = m->next;
        disk_note_free(container_of(m, struct disk_note, mail));
    }
    list_each_safe(node, &c->entries) free_entry(c, container_of(node, struct cache_entry, node));
    metric_add(METRIC_cache_disk_bytes, -atomic_load(&c->disk_bytes));
    mailbox_free(c->notes);
    prefix_index_free(&c->index);
    free(c->ghosts);
    free(c);
}

void cache_stats(const struct cache *c, struct sched_cache_stats *out)
{
    *out = (struct sched_cache_stats){
        .memory = {atomic_load(&c->n_memory), atomic_load(&c->memory_bytes),
                   (int64_t)c->memory_limit, atomic_load(&c->hits[CACHE_MEMORY])},
        .disk = {atomic_load(&c->n_disk), atomic_load(&c->disk_bytes), (int64_t)c->disk_limit,
                 atomic_load(&c->hits[CACHE_DISK])},
        .sequence_hits = atomic_load(&c->hits[CACHE_SEQUENCE]),
        .misses = atomic_load(&c->misses),
        .evictions = atomic_load(&c->evictions),
        .corrupt = atomic_load(&c->corrupt),
    };
}
