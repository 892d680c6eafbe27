/* Quotas; see quota.h.
 *
 * A meter is one user (or one API key). What it has is what the database said last, and what was
 * added here since; a sync adds the second to the first in one transaction. While one is under way
 * its part is in `flying`, so that it counts all the time; others go on with what is known. A meter
 * that was never synced is waited for. */
#include "auth/quota.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    SYNC_LIMITED_MS = 1000, /* how old the numbers of a user with limits may be */
    SYNC_OTHERS_MS = 5000,
    IDLE_MS = 15 * 60 * 1000, /* then a meter with nothing to say is dropped */
    MINUTE_MS = 60 * 1000,
    DAY_MS = 24 * 60 * MINUTE_MS
};

struct counts {
    struct store_usage day;
    int64_t minute_requests, minute_tokens;
    int64_t cost; /* of the month; what was added is of the day */
};

#define CENT 10000 /* millionths of a dollar */

struct meter {
    char who[STORE_ID_MAX];
    bool is_key;
    bool known, syncing;
    int64_t synced_ms, touched_ms; /* monotonic */
    int64_t day, minute, month;    /* of the counts; the month's first day */
    struct counts stored, added, flying;
    int64_t overrides[QUOTA_COUNT];
    int64_t streams;
    uint64_t flushed; /* the last flush that came by */
};

struct quota {
    struct store *store;
    int64_t defaults[QUOTA_COUNT];
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t synced;
    struct map *meters;
    uint64_t n_flushes;
};

struct quota *quota_new(struct store *store, const int64_t defaults[QUOTA_COUNT])
{
    struct quota *q = xcalloc(1, sizeof *q);
    q->store = store;
    memcpy(q->defaults, defaults, sizeof q->defaults);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->synced, NULL);
    q->meters = map_new();
    return q;
}

static int free_meter(const char *who, void *meter, void *ctx)
{
    (void)who;
    (void)ctx;
    free(meter);
    return 1;
}

void quota_free(struct quota *q)
{
    if (!q) return;
    quota_flush(q);
    map_each(q->meters, free_meter, NULL);
    map_free(q->meters);
    pthread_cond_destroy(&q->synced);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- meters; the lock is held -------------------------------------------------------------- */

/* Begins a new minute or day when it is time. What was added yesterday and is not in the database
 * yet counts for today: there it would be nobody's. */
static void turn_over(struct meter *m)
{
    int64_t now = clock_wall_ms(), minute = now / MINUTE_MS, day = now / DAY_MS;
    if (m->minute != minute) {
        m->stored.minute_requests = m->stored.minute_tokens = 0;
        m->added.minute_requests = m->added.minute_tokens = 0;
        m->flying.minute_requests = m->flying.minute_tokens = 0;
        m->minute = minute;
    }
    if (m->day != day) {
        m->stored.day = (struct store_usage){0};
        m->day = day;
        if (m->month != clock_month_of(day)) m->stored.cost = 0;
        m->month = clock_month_of(day);
    }
}

static struct meter *meter_of(struct quota *q, const char *who, bool is_key)
{
    struct meter *m = map_get(q->meters, who);
    if (!m) {
        m = xcalloc(1, sizeof *m);
        str_copy(m->who, sizeof m->who, who);
        m->is_key = is_key;
        for (int i = 0; i < QUOTA_COUNT; i++) m->overrides[i] = QUOTA_DEFAULT;
        map_put(q->meters, m->who, m);
    }
    m->touched_ms = clock_mono_ms();
    turn_over(m);
    return m;
}

static int64_t limit_of(const struct quota *q, const struct meter *m, enum store_quota which)
{
    return m->overrides[which] == QUOTA_DEFAULT ? q->defaults[which] : m->overrides[which];
}

static int64_t used_of(const struct meter *m, enum store_quota which)
{
    const struct counts *s = &m->stored, *f = &m->flying, *a = &m->added;
    switch (which) {
    case QUOTA_REQUESTS_MINUTE: return s->minute_requests + f->minute_requests + a->minute_requests;
    case QUOTA_REQUESTS_DAY: return s->day.requests + f->day.requests + a->day.requests;
    case QUOTA_TOKENS_MINUTE: return s->minute_tokens + f->minute_tokens + a->minute_tokens;
    case QUOTA_TOKENS_DAY:
        return s->day.prompt_tokens + s->day.completion_tokens + f->day.prompt_tokens +
               f->day.completion_tokens + a->day.prompt_tokens + a->day.completion_tokens;
    case QUOTA_STREAMS: return m->streams;
    case QUOTA_BUDGET: return (s->cost + f->cost + a->cost + CENT - 1) / CENT;
    case QUOTA_STORAGE:
    case QUOTA_COUNT: break;
    }
    return 0;
}

static bool has_added(const struct meter *m)
{
    const struct counts *a = &m->added;
    return a->day.requests || a->day.prompt_tokens || a->day.completion_tokens ||
           a->minute_requests || a->cost;
}

static bool has_limits(const struct quota *q, const struct meter *m)
{
    for (int i = 0; i < QUOTA_COUNT; i++)
        if (i != QUOTA_STORAGE && limit_of(q, m, (enum store_quota)i)) return true;
    return m->is_key;
}

static bool is_stale(const struct quota *q, const struct meter *m)
{
    int64_t age = clock_mono_ms() - m->synced_ms;
    return !m->known || age > (has_limits(q, m) ? SYNC_LIMITED_MS : SYNC_OTHERS_MS);
}

/* ---- with the database --------------------------------------------------------------------- */

static enum err ask_store(struct quota *q, const char *who, bool is_key, int64_t day,
                          int64_t minute, const struct counts *add, struct store_usage_sync *u,
                          struct error *error)
{
    *u = (struct store_usage_sync){.user_id = who,
                                   .day = day,
                                   .minute = minute,
                                   .month = clock_month_of(day),
                                   .add = add->day,
                                   .add_cost = add->cost,
                                   .add_requests = add->minute_requests,
                                   .add_tokens = add->minute_tokens};
    for (int i = 0; i < QUOTA_COUNT; i++) u->overrides[i] = QUOTA_DEFAULT;
    if (!is_key) return store_usage_sync(q->store, u, error);
    return store_usage_key(q->store, who, minute, add->minute_requests, &u->minute_requests, error);
}

static void take_answer(struct meter *m, int64_t day, int64_t minute,
                        const struct store_usage_sync *u)
{
    if (m->day == day) m->stored.day = u->today;
    if (m->month == clock_month_of(day)) m->stored.cost = u->month_cost;
    if (m->minute == minute) {
        m->stored.minute_requests = u->minute_requests;
        m->stored.minute_tokens = u->minute_tokens;
    }
    memcpy(m->overrides, u->overrides, sizeof m->overrides);
    m->known = true;
    m->synced_ms = clock_mono_ms();
}

/* It could not be written: it is still to be. */
static void put_back(struct meter *m, int64_t minute)
{
    struct counts *a = &m->added;
    const struct counts *f = &m->flying;
    a->day.requests += f->day.requests;
    a->day.prompt_tokens += f->day.prompt_tokens;
    a->day.completion_tokens += f->day.completion_tokens;
    a->cost += f->cost;
    if (m->minute != minute) return;
    a->minute_requests += f->minute_requests;
    a->minute_tokens += f->minute_tokens;
}

/* The lock is held, and given up while the database is asked; the meter stays. */
static enum err sync_meter(struct quota *q, struct meter *m, struct error *error)
{
    struct store_usage_sync u;
    char who[STORE_ID_MAX];
    int64_t day = m->day, minute = m->minute;
    bool is_key = m->is_key;
    struct counts add = m->added;
    m->flying = m->added;
    m->added = (struct counts){0};
    m->syncing = true;
    str_copy(who, sizeof who, m->who);
    pthread_mutex_unlock(&q->lock);
    enum err e = ask_store(q, who, is_key, day, minute, &add, &u, error);
    pthread_mutex_lock(&q->lock);
    turn_over(m);
    if (!e)
        take_answer(m, day, minute, &u);
    else if (e != ERR_NOT_FOUND) /* a user who is gone owes nothing */
        put_back(m, minute);
    m->flying = (struct counts){0};
    m->syncing = false;
    pthread_cond_broadcast(&q->synced);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* A meter with numbers that are young enough, or the best there are. The lock is held, and given up
 * while the database is asked. */
static enum err fresh_meter(struct quota *q, const char *who, bool is_key, struct meter **out,
                            struct error *error)
{
    struct meter *m = meter_of(q, who, is_key);
    while (m->syncing && !m->known) pthread_cond_wait(&q->synced, &q->lock);
    enum err e = is_stale(q, m) && !m->syncing ? sync_meter(q, m, error) : OK;
    *out = m;
    if (e && m->known) {
        log_warn(store, "quotas go by old numbers: %s", error ? error->msg : "");
        e = OK;
    }
    return e;
}

struct search {
    uint64_t flush;
    struct meter *dirty; /* has something to write */
    struct meter *idle;  /* nobody needs it */
};

static int look(const char *who, void *meter, void *ctx)
{
    struct search *s = ctx;
    struct meter *m = meter;
    (void)who;
    if (m->syncing) return 1;
    if (has_added(m) && m->flushed != s->flush) {
        s->dirty = m;
        return 0;
    }
    if (!has_added(m) && !m->streams && clock_mono_ms() - m->touched_ms > IDLE_MS) s->idle = m;
    return 1;
}

void quota_flush(struct quota *q)
{
    struct error error;
    pthread_mutex_lock(&q->lock);
    uint64_t flush = ++q->n_flushes;
    for (;;) {
        struct search s = {.flush = flush};
        map_each(q->meters, look, &s);
        if (s.idle) {
            map_del(q->meters, s.idle->who);
            free(s.idle);
        }
        if (!s.dirty) {
            if (s.idle) continue;
            break;
        }
        s.dirty->flushed = flush; /* once: others go on adding */
        if (!sync_meter(q, s.dirty, &error)) continue;
        log_warn(store, "what users have used could not be written yet: %s", error.msg);
        break;
    }
    pthread_mutex_unlock(&q->lock);
}

/* ---- judging ------------------------------------------------------------------------------- */

static enum err used_up(enum store_quota which, int64_t limit, struct error *error)
{
    int64_t now = clock_wall_ms();
    bool day = which == QUOTA_REQUESTS_DAY || which == QUOTA_TOKENS_DAY;
    int64_t window = day ? DAY_MS : MINUTE_MS;
    int32_t wait_s = which == QUOTA_STREAMS ? 1 : (int32_t)((window - now % window + 999) / 1000);
    enum err e =
        err_set_param(error, ERR_QUOTA, store_quota_name(which),
                      "the quota %s (%lld %s) is used up; try again in %d s",
                      store_quota_name(which), (long long)limit, store_quota_help(which), wait_s);
    if (error) error->retry_after_s = wait_s;
    return e;
}

/* Days first: waiting for the next minute would be in vain. */
static enum err judge(const struct quota *q, const struct meter *m, struct error *error)
{
    static const enum store_quota order[] = {QUOTA_REQUESTS_DAY, QUOTA_TOKENS_DAY,
                                             QUOTA_REQUESTS_MINUTE, QUOTA_TOKENS_MINUTE};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        int64_t limit = limit_of(q, m, order[i]);
        if (limit && used_of(m, order[i]) >= limit) return used_up(order[i], limit, error);
    }
    return OK;
}

static enum err judge_key(const struct auth_identity *who, const struct meter *m,
                          struct error *error)
{
    if (used_of(m, QUOTA_REQUESTS_MINUTE) < who->requests_per_minute) return OK;
    enum err e = used_up(QUOTA_REQUESTS_MINUTE, who->requests_per_minute, error);
    err_prefix(error, "of this API key");
    return e;
}

/* A call that is refused counts nowhere: a batch asks again and again for the same line. */
enum err quota_charge(struct quota *q, const struct auth_identity *who, bool counted,
                      struct error *error)
{
    struct meter *key = NULL, *user = NULL;
    enum err e = OK;
    pthread_mutex_lock(&q->lock);
    if (*who->key_id && who->requests_per_minute)
        e = fresh_meter(q, who->key_id, true, &key, error);
    if (!e && counted) e = fresh_meter(q, who->user_id, false, &user, error);
    if (key) turn_over(key); /* the lock was given up meanwhile */
    if (!e && key) e = judge_key(who, key, error);
    if (!e && user) e = judge(q, user, error);
    if (!e && key) key->added.minute_requests++;
    if (!e && user) {
        user->added.minute_requests++;
        user->added.day.requests++;
    }
    pthread_mutex_unlock(&q->lock);
    return e;
}

static enum err streams(struct quota *q, const char *user_id, int64_t more, struct error *error)
{
    enum err e = OK;
    pthread_mutex_lock(&q->lock);
    struct meter *m = meter_of(q, user_id, false);
    int64_t limit = limit_of(q, m, QUOTA_STREAMS);
    if (limit && m->streams >= limit)
        e = used_up(QUOTA_STREAMS, limit, error);
    else
        m->streams += more;
    pthread_mutex_unlock(&q->lock);
    return e;
}

enum err quota_stream_begin(struct quota *q, const char *user_id, struct error *error)
{
    return streams(q, user_id, 1, error);
}

enum err quota_stream_check(struct quota *q, const char *user_id, struct error *error)
{
    return streams(q, user_id, 0, error);
}

void quota_stream_end(struct quota *q, const char *user_id)
{
    pthread_mutex_lock(&q->lock);
    struct meter *m = meter_of(q, user_id, false);
    if (m->streams > 0) m->streams--; /* 0: it began before the accounts were open */
    pthread_mutex_unlock(&q->lock);
}

void quota_add_tokens(struct quota *q, const char *user_id, int64_t prompt, int64_t completion)
{
    pthread_mutex_lock(&q->lock);
    struct meter *m = meter_of(q, user_id, false);
    m->added.day.prompt_tokens += prompt;
    m->added.day.completion_tokens += completion;
    m->added.minute_tokens += prompt + completion;
    pthread_mutex_unlock(&q->lock);
}

void quota_add_cost(struct quota *q, const char *user_id, int64_t micros)
{
    pthread_mutex_lock(&q->lock);
    meter_of(q, user_id, false)->added.cost += micros;
    pthread_mutex_unlock(&q->lock);
}

bool quota_may_spend(struct quota *q, const char *user_id)
{
    pthread_mutex_lock(&q->lock);
    const struct meter *m = meter_of(q, user_id, false);
    int64_t limit = limit_of(q, m, QUOTA_BUDGET);
    bool may = !limit || m->stored.cost + m->flying.cost + m->added.cost < limit * CENT;
    pthread_mutex_unlock(&q->lock);
    return may;
}

enum err quota_storage(struct quota *q, const char *user_id, int64_t used, int64_t more,
                       struct error *error)
{
    struct meter *m;
    char has[32], may[32];
    pthread_mutex_lock(&q->lock);
    enum err e = fresh_meter(q, user_id, false, &m, error);
    int64_t limit = e ? 0 : limit_of(q, m, QUOTA_STORAGE);
    pthread_mutex_unlock(&q->lock);
    if (e || !limit || (used <= limit && more <= limit - used)) return e;
    return err_set_param(error, ERR_TOO_LARGE, store_quota_name(QUOTA_STORAGE),
                         "your files would take more than your %s of storage (%s are in use); "
                         "delete some, or ask an admin for more",
                         str_from_bytes(may, sizeof may, (uint64_t)limit),
                         str_from_bytes(has, sizeof has, (uint64_t)used));
}

enum err quota_state(struct quota *q, const char *user_id, struct quota_state *out,
                     struct error *error)
{
    struct meter *m;
    pthread_mutex_lock(&q->lock);
    enum err e = fresh_meter(q, user_id, false, &m, error);
    for (int i = 0; !e && i < QUOTA_COUNT; i++) {
        out->limits[i] = limit_of(q, m, (enum store_quota)i);
        out->used[i] = used_of(m, (enum store_quota)i);
    }
    pthread_mutex_unlock(&q->lock);
    return e;
}

void quota_forget(struct quota *q, const char *user_id)
{
    pthread_mutex_lock(&q->lock);
    struct meter *m = map_get(q->meters, user_id);
    if (m) m->synced_ms = INT64_MIN / 2; /* asked anew at the next call */
    pthread_mutex_unlock(&q->lock);
}
