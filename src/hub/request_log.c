/* From the router to the database; see request_log.h. */
#include "hub/request_log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_request.h"

enum { UUID_SIZE = 37, FLUSH_MS = 1000, ROWS_MAX = 4096, SWEEP_MS = 3600 * 1000 };
#define DAY_MS (24LL * 3600 * 1000)

enum kept { KEEP_NONE, KEEP_LEFT, KEEP_ALL };

struct request_log {
    struct accounts *accounts;
    struct timers *timers;
    struct pool *pool;
    enum kept kept;
    int64_t days;
    int64_t budget_micros; /* of nobody; 0 = none */
    pthread_mutex_t lock;  /* of what follows */
    struct router_record *rows;
    size_t n, room;
    int64_t dropped;
    bool started, stopped, scheduled;
    struct timer timer;
    int64_t swept_ms;
    /* Spent by requests without a user that came since the beginning of this month: what the
     * database said last, which is all hubs', and what it has not from here yet. */
    int64_t month_ms, stored_micros, added_micros;
    int64_t asked_ms;         /* monotonic: when it said so */
    bool asks;                /* it is to be asked: of this month it was not yet, or a while ago */
    pthread_mutex_t flushing; /* one writer at a time; before `lock` */
};

static void schedule(struct request_log *l);

static enum kept kept_of(const struct config *config)
{
    const char *word = config_str(config, CONFIG_REQUEST_LOG);
    return str_ieq(word, "all") ? KEEP_ALL : str_ieq(word, "remote") ? KEEP_LEFT : KEEP_NONE;
}

struct request_log *request_log_new(const struct config *config, struct accounts *accounts,
                                    struct timers *timers, struct pool *pool)
{
    struct request_log *l = xcalloc(1, sizeof *l);
    l->accounts = accounts;
    l->timers = timers;
    l->pool = pool;
    l->kept = kept_of(config);
    l->days = config_int(config, CONFIG_REQUEST_LOG_DAYS);
    l->budget_micros = config_int(config, CONFIG_USER_BUDGET) * 10000;
    l->month_ms = -1;
    l->asks = l->budget_micros > 0;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->flushing, NULL);
    return l;
}

/* What was spent before the start is asked for before it matters. */
void request_log_start(struct request_log *l)
{
    pthread_mutex_lock(&l->lock);
    l->started = true;
    if (l->budget_micros) schedule(l);
    pthread_mutex_unlock(&l->lock);
}

/* ---- writing ------------------------------------------------------------------------------- */

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

static struct store_request row_of(const struct router_record *r, char id[UUID_SIZE])
{
    id_uuid4(id);
    return (struct store_request){
        .id = id,
        .user_id = or_null(r->tenant),
        .at_ms = r->started_wall_ms,
        .request_id = r->request_id,
        .kind = r->kind,
        .asked = r->asked,
        .route = r->route,
        .goal = r->goal,
        .provider = r->provider,
        .model = r->model,
        .reason = r->reason,
        .tried = or_null(r->tried),
        .attempts = r->attempts,
        .complexity_permille = r->complexity < 0 ? -1 : (int64_t)(r->complexity * 1000 + 0.5),
        .error = r->error ? err_api_code(r->error) : NULL,
        .prompt_tokens = r->usage.prompt_tokens,
        .cached_tokens = r->usage.cached_tokens,
        .completion_tokens = r->usage.completion_tokens,
        .reasoning_tokens = r->usage.reasoning_tokens,
        .first_token_ms = r->first_token_ms,
        .total_ms = r->total_ms,
        .cost_micros = r->cost_micros,
        .left_to = or_null(r->left_to),
        .left_bytes = r->left_bytes,
        .left_messages = *r->left_to ? r->left_messages : 0,
        .left_images = *r->left_to ? r->left_images : 0,
    };
}

static enum err write_rows(struct store *store, const struct router_record *records, size_t n,
                           struct error *error)
{
    struct store_request *rows = try_calloc(n, sizeof *rows);
    char(*ids)[UUID_SIZE] = try_calloc(n, sizeof *ids);
    enum err e = rows && ids ? OK : err_set(error, ERR_NOMEM, "no memory for %zu rows", n);
    for (size_t i = 0; !e && i < n; i++) rows[i] = row_of(&records[i], ids[i]);
    if (!e) e = store_request_add(store, rows, n, error);
    free(rows);
    free(ids);
    return e;
}

/* What nobody's requests of that month among them have cost. */
static int64_t cost_of(const struct router_record *rows, size_t n, int64_t month_ms)
{
    int64_t micros = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].cost_micros > 0 && !*rows[i].tenant && rows[i].started_wall_ms >= month_ms)
            micros += rows[i].cost_micros;
    return micros;
}

/* The lock is held. Begins a new month when it is time; what the database has of it is asked for.
 */
static void turn_over(struct request_log *l)
{
    int64_t month_ms = clock_month_of(clock_wall_ms() / DAY_MS) * DAY_MS;
    if (!l->budget_micros || l->month_ms == month_ms) return;
    l->month_ms = month_ms;
    l->asks = true;
    l->stored_micros = 0;
    l->added_micros = cost_of(l->rows, l->n, month_ms);
    if (l->started) schedule(l);
}

/* Rows that are in the database now are counted there. */
static void note_written(struct request_log *l, const struct router_record *rows, size_t n,
                         int64_t month_ms)
{
    pthread_mutex_lock(&l->lock);
    if (l->month_ms == month_ms) { /* else none of them is of this month */
        int64_t micros = cost_of(rows, n, month_ms);
        l->stored_micros += micros;
        l->added_micros -= micros;
    }
    pthread_mutex_unlock(&l->lock);
}

/* What this month has cost by now, at whichever hub. Until a month stays the same meanwhile. */
static enum err learn_spending(struct request_log *l, struct store *store, struct error *error)
{
    enum err e = OK;
    bool known = false;
    while (!e && !known) {
        int64_t micros = 0;
        pthread_mutex_lock(&l->lock);
        turn_over(l);
        int64_t since_ms = l->month_ms;
        pthread_mutex_unlock(&l->lock);
        e = store_request_cost(store, since_ms, &micros, error);
        pthread_mutex_lock(&l->lock);
        known = !e && l->month_ms == since_ms;
        if (known) {
            l->stored_micros = micros;
            l->asked_ms = clock_mono_ms();
            l->asks = false;
        }
        pthread_mutex_unlock(&l->lock);
    }
    return e;
}

static void sweep(struct request_log *l, struct store *store)
{
    struct error error;
    int64_t now = clock_mono_ms();
    if (!l->days || (l->swept_ms && now - l->swept_ms < SWEEP_MS)) return;
    l->swept_ms = now;
    if (store_request_sweep(store, clock_wall_ms() - l->days * DAY_MS, &error))
        log_warn(store, "old requests could not be removed from the log: %s", error.msg);
}

/* What could not be written goes back to the front, as far as there is room. */
static void put_back(struct request_log *l, struct router_record *rows, size_t n, int64_t month_ms)
{
    if (l->month_ms != month_ms) l->added_micros += cost_of(rows, n, l->month_ms);
    size_t room = ROWS_MAX - l->n < n ? ROWS_MAX - l->n : n;
    l->dropped += (int64_t)(n - room);
    memmove(rows, rows + (n - room), room * sizeof *rows);
    struct router_record *all = try_realloc(rows, room + l->n + 1, sizeof *all);
    if (!all) {
        l->dropped += (int64_t)room;
        free(rows);
        return;
    }
    if (l->n) memcpy(all + room, l->rows, l->n * sizeof *all);
    free(l->rows);
    l->rows = all;
    l->n += room;
    l->room = l->n + 1;
}

/* Writes them down, or keeps them for later. */
static enum err flush_rows(struct request_log *l, struct store *store, struct router_record *rows,
                           size_t n, int64_t month_ms, enum err e, struct error *error)
{
    if (!e) e = write_rows(store, rows, n, error);
    if (!e) {
        note_written(l, rows, n, month_ms);
        sweep(l, store);
        free(rows);
        return OK;
    }
    log_warn(store, "the log of %zu requests could not be written yet: %s", n, error->msg);
    pthread_mutex_lock(&l->lock);
    put_back(l, rows, n, month_ms);
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* What the database tells has what was written before, and what others wrote. */
void request_log_flush(struct request_log *l)
{
    struct store *store = NULL;
    struct auth *auth;
    struct error error;
    pthread_mutex_lock(&l->flushing);
    pthread_mutex_lock(&l->lock);
    turn_over(l);
    struct router_record *rows = l->rows;
    size_t n = l->n;
    int64_t month_ms = l->month_ms;
    bool asks = l->asks && !l->stopped;
    l->rows = NULL;
    l->n = l->room = 0;
    pthread_mutex_unlock(&l->lock);
    enum err e = n || asks ? accounts_open(l->accounts, &store, &auth, &error) : OK;
    if (n)
        e = flush_rows(l, store, rows, n, month_ms, e, &error);
    else
        free(rows);
    bool told = n && e;
    if (!e && asks) e = learn_spending(l, store, &error);
    if (e && asks && !told)
        log_warn(store, "what this month has cost is not known yet: %s", error.msg);
    pthread_mutex_unlock(&l->flushing);
}

static void flush_on_pool(void *log)
{
    struct request_log *l = log;
    request_log_flush(l);
    pthread_mutex_lock(&l->lock);
    l->scheduled = false;
    if (l->n || l->asks) schedule(l);
    pthread_mutex_unlock(&l->lock);
}

/* The timers' thread must not wait for a database. */
static void flush_due(void *log)
{
    struct request_log *l = log;
    if (pool_submit(l->pool, flush_on_pool, l) == OK) return;
    pthread_mutex_lock(&l->lock);
    l->scheduled = false;
    schedule(l);
    pthread_mutex_unlock(&l->lock);
}

/* The lock is held. */
static void schedule(struct request_log *l)
{
    if (l->stopped || l->scheduled) return;
    l->scheduled = true;
    timer_set(l->timers, &l->timer, FLUSH_MS, flush_due, l);
}

void request_log_stop(struct request_log *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stopped = true;
    pthread_mutex_unlock(&l->lock);
    timer_clear(l->timers, &l->timer);
}

void request_log_free(struct request_log *l)
{
    if (!l) return;
    request_log_flush(l);
    if (l->n || l->dropped)
        log_warn(store, "%lld requests are missing in the log", (long long)l->n + l->dropped);
    free(l->rows);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->flushing);
    free(l);
}

/* ---- hooks --------------------------------------------------------------------------------- */

static bool is_kept(const struct request_log *l, const struct router_record *r)
{
    if (r->left_to[0] || r->cost_micros > 0) return l->kept >= KEEP_LEFT;
    return l->kept == KEEP_ALL && l->started;
}

/* Names are cut by bytes; half a character would make PostgreSQL refuse all rows of a write. */
static void whole_chars(char *s)
{
    size_t n = strlen(s);
    s[n - utf8_incomplete_tail(s, n)] = '\0';
}

/* The lock is held. When nobody comes to write them the oldest are lost. */
static void add_row(struct request_log *l, const struct router_record *r)
{
    if (l->n == ROWS_MAX) {
        memmove(l->rows, l->rows + 1, (ROWS_MAX - 1) * sizeof *l->rows);
        l->n--;
        l->dropped++;
    }
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct router_record *rows = try_realloc(l->rows, room, sizeof *rows);
        if (!rows) {
            l->dropped++;
            return;
        }
        l->rows = rows;
        l->room = room;
    }
    struct router_record *row = &l->rows[l->n++];
    *row = *r;
    whole_chars(row->asked);
    whole_chars(row->model);
    schedule(l);
}

static void ended(void *log, const struct router_record *r)
{
    struct request_log *l = log;
    struct quota *q = accounts_quota(l->accounts);
    if (r->cost_micros > 0 && *r->tenant && q) quota_add_cost(q, r->tenant, r->cost_micros);
    pthread_mutex_lock(&l->lock);
    turn_over(l);
    if (r->cost_micros > 0 && !*r->tenant && r->started_wall_ms >= l->month_ms)
        l->added_micros += r->cost_micros;
    if (is_kept(l, r)) add_row(l, r);
    pthread_mutex_unlock(&l->lock);
}

/* Of no request's row, whose numbers are those of who answered. */
static void classified(void *log, const char *tenant, const struct usage *usage)
{
    const struct request_log *l = log;
    accounts_add_tokens(l->accounts, tenant, usage);
}

static bool may_spend(void *log, const char *tenant)
{
    struct request_log *l = log;
    struct quota *q = accounts_quota(l->accounts);
    if (*tenant) return !q || quota_may_spend(q, tenant);
    if (!l->budget_micros) return true;
    pthread_mutex_lock(&l->lock);
    turn_over(l);
    bool may = l->stored_micros + l->added_micros < l->budget_micros;
    if (clock_mono_ms() - l->asked_ms >= FLUSH_MS) { /* other hubs spend, too */
        l->asks = true;
        if (l->started) schedule(l);
    }
    pthread_mutex_unlock(&l->lock);
    return may;
}

struct router_hooks request_log_hooks(struct request_log *l)
{
    return (struct router_hooks){
        .may_spend = may_spend, .ended = ended, .classified = classified, .ctx = l};
}
