/* Hash map: chained buckets, a power of two of them, SipHash-1-3 keyed per process. A failed
 * growth leaves the smaller table in place (slower, still right). */
#include "base/map.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/mem.h"

enum { FIRST_BUCKETS = 16 };

struct entry {
    struct entry *next;
    uint64_t hash;
    void *value;
    char key[];
};

struct map {
    struct entry **buckets;
    size_t n_buckets, count;
};

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    id_random(hash_key, sizeof hash_key);
}

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). Words are read in
 * the machine's byte order: the value never leaves the process. */
static uint64_t hash_of(const char *s, size_t len)
{
    uint64_t v[4] = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575), hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261), hash_key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)len << 56;
    for (; len >= 8; len -= 8, s += 8) {
        memcpy(&word, s, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < len; i++) last |= (uint64_t)(unsigned char)s[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *map_new(void)
{
    pthread_once(&hash_key_once, make_hash_key);
    struct map *m = xcalloc(1, sizeof *m);
    m->n_buckets = FIRST_BUCKETS;
    m->buckets = xcalloc(m->n_buckets, sizeof(struct entry *));
    return m;
}

void map_free(struct map *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(m->buckets);
    free(m);
}

size_t map_count(const struct map *m)
{
    return m->count;
}

/* The link that points to the key's entry, or to the NULL at the end of its chain. */
static struct entry **find(const struct map *m, const char *key, uint64_t hash)
{
    struct entry **link = &m->buckets[hash & (m->n_buckets - 1)];
    while (*link && ((*link)->hash != hash || strcmp((*link)->key, key) != 0))
        link = &(*link)->next;
    return link;
}

void *map_get(const struct map *m, const char *key)
{
    struct entry *e = *find(m, key, hash_of(key, strlen(key)));
    return e ? e->value : NULL;
}

static void grow(struct map *m)
{
    size_t n = m->n_buckets * 2;
    struct entry **buckets = try_calloc(n, sizeof(struct entry *));
    if (!buckets) return;
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct entry *e = m->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
}

void *map_put(struct map *m, const char *key, void *value)
{
    ht_assert(value);
    size_t len = strlen(key);
    uint64_t hash = hash_of(key, len);
    struct entry *e = *find(m, key, hash);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    if (m->count >= m->n_buckets) grow(m);
    e = xmalloc(sizeof *e + len + 1);
    struct entry **link = find(m, key, hash);
    *e = (struct entry){.hash = hash, .value = value};
    memcpy(e->key, key, len + 1);
    *link = e;
    m->count++;
    return NULL;
}

void *map_del(struct map *m, const char *key)
{
    struct entry **link = find(m, key, hash_of(key, strlen(key)));
    struct entry *e = *link;
    if (!e) return NULL;
    void *value = e->value;
    *link = e->next;
    free(e);
    m->count--;
    return value;
}

void map_each(const struct map *m, int (*fn)(const char *key, void *value, void *ctx), void *ctx)
{
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct entry *e = m->buckets[i]; e; e = e->next)
            if (!fn(e->key, e->value, ctx)) return;
}
