/* The prefix cache's tiers beside the KV cells: states of sequences in memory, and in files.
 *
 * An entry is the state of a token sequence; it is in memory, on disk, or both. cache_mem.c holds
 * the entries, finds and evicts them; cache_disk.c is the thread that alone touches the folder.
 *
 * What is evicted: memory and disk have a limit in bytes each. The first to go is what is cheapest
 * to lose: computing its tokens again (tokens times the size of the model) for each byte that it
 * takes, divided by the time since it was used. Among states of one model that is the one used
 * longest ago.
 *
 * What replaces what: a longer sequence makes a state of its beginning superfluous, unless that is
 * less than half of it (then it is cheaper to restore and likely to be shared).
 *
 * Owner: the engine thread (and sched_free when that has ended); cache_stats: any thread. */
#ifndef HEARTH_SCHED_CACHE_H
#define HEARTH_SCHED_CACHE_H

#include "base/mailbox.h"
#include "sched/cache_disk.h"
#include "sched/prefix.h"
#include "sched/sched.h"

struct cache;
struct cache_entry;

struct cache_params {
    uint64_t memory, disk;   /* limits in bytes; 0 = this tier is off */
    const char *dir;         /* NULL or "": no disk tier */
    void (*wake)(void *ctx); /* from the disk thread: cache_poll has something to hear */
    void *ctx;
};

struct cache *cache_new(const struct cache_params *params);
void cache_free(struct cache *c, int64_t grace_ms); /* states that wait are written first */

/* Hears what the disk thread has done; cheap. */
void cache_poll(struct cache *c);
/* False while the folder is being looked through for the first time. */
bool cache_ready(const struct cache *c);
/* Is there a tier that keeps states at all? */
bool cache_keeps(const struct cache *c);

/* The entry with the longest beginning in common, *n tokens. whole: see prefix_index_find. It is
 * valid, and so are its state and its prefix, until the next call of a function that may evict:
 * cache_put, cache_take, cache_poll; so also until a sequence is kept or room is made (slots.c). */
struct cache_entry *cache_find(struct cache *c, const struct prefix *want, bool whole, int32_t *n);
/* Its state; NULL: it is on disk only. */
const struct blob *cache_state(const struct cache_entry *e);
const struct prefix *cache_prefix(const struct cache_entry *e);
/* Has it read from disk; cache_poll will find it in memory, or the entry gone. */
void cache_fetch(struct cache *c, struct cache_entry *e);
/* A reference of the caller's own to the state of an entry that is in memory, which counts as used
 * now. The entry is not valid any more: what is taken may be evicted as anything else. */
struct blob *cache_take(struct cache *c, struct cache_entry *e);
/* For the numbers: a prompt's beginning was found there, or nowhere. */
void cache_hit(struct cache *c, enum cache_source source);
void cache_missed(struct cache *c);

/* Would a state of that size be kept? */
bool cache_takes(const struct cache *c, size_t size);
/* Keeps a state (its reference passes): in memory, and in a file unless the tier is off. weight:
 * bytes of the model's weights. */
void cache_put(struct cache *c, const struct prefix *p, uint64_t weight, struct blob *state);

/* For explanations. Was a state evicted that began like this? Does an entry of this tenant begin
 * like this that was computed with another adapter? */
bool cache_evicted(struct cache *c, const struct prefix *want);
bool cache_other_adapter(struct cache *c, const struct prefix *want);

void cache_stats(const struct cache *c, struct sched_cache_stats *out);

#endif
