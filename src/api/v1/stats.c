/* /api/v1/stats: what a user has used and may use; for admins, what the whole hub holds and does.
 */
#include <stdlib.h>
#include <string.h>

#include "api/control.h"
#include "api/v1/v1_int.h"
#include "auth/quota.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "store/store_file.h"

enum { DAY_MS = 24 * 3600 * 1000, DAYS_SHOWN = 30, WEEK = 7 };

/* ---- numbers ------------------------------------------------------------------------------- */

static void put_usage(struct jw *w, const char *key, const struct store_usage *u)
{
    jw_key(w, key);
    jw_obj(w);
    jw_kint(w, "requests", u->requests);
    jw_kint(w, "prompt_tokens", u->prompt_tokens);
    jw_kint(w, "completion_tokens", u->completion_tokens);
    jw_obj_end(w);
}

static void add(struct store_usage *sum, const struct store_usage *u)
{
    sum->requests += u->requests;
    sum->prompt_tokens += u->prompt_tokens;
    sum->completion_tokens += u->completion_tokens;
}

static void put_day(struct jw *w, const struct store_usage_day *d)
{
    char when[32];
    clock_format_utc(when, sizeof when, d->day * DAY_MS);
    when[strlen("2026-01-31")] = '\0';
    jw_obj(w);
    jw_kstr(w, "day", when);
    jw_kint(w, "requests", d->used.requests);
    jw_kint(w, "prompt_tokens", d->used.prompt_tokens);
    jw_kint(w, "completion_tokens", d->used.completion_tokens);
    jw_obj_end(w);
}

/* user_id NULL: of everybody. */
static enum err put_usages(struct v1_call *c, const char *user_id)
{
    struct store_usage_day *days;
    struct store_usage total, week = {0}, today = {0};
    int64_t now = clock_wall_ms() / DAY_MS;
    size_t n;
    enum err e = store_usage_total(c->store, user_id, &total, &c->error);
    if (!e)
        e = store_usage_days(c->store, user_id, now - DAYS_SHOWN + 1, c->arena, &days, &n,
                             &c->error);
    if (e) return e;
    for (size_t i = 0; i < n; i++) {
        if (days[i].day == now) add(&today, &days[i].used);
        if (days[i].day > now - WEEK) add(&week, &days[i].used);
    }
    jw_key(&c->w, "usage");
    jw_obj(&c->w);
    put_usage(&c->w, "today", &today);
    put_usage(&c->w, "week", &week);
    put_usage(&c->w, "total", &total);
    jw_key(&c->w, "days");
    jw_arr(&c->w);
    for (size_t i = 0; i < n; i++) put_day(&c->w, &days[i]);
    jw_arr_end(&c->w);
    jw_obj_end(&c->w);
    return OK;
}

/* ---- a user -------------------------------------------------------------------------------- */

static void put_quotas(struct jw *w, const struct quota_state *state)
{
    jw_key(w, "quotas");
    jw_obj(w);
    for (int i = 0; i < QUOTA_COUNT; i++) {
        jw_key(w, store_quota_name((enum store_quota)i));
        jw_obj(w);
        jw_key(w, "limit");
        if (state->limits[i])
            jw_int(w, state->limits[i]);
        else
            jw_null(w);
        jw_kint(w, "used", state->used[i]);
        jw_obj_end(w);
    }
    jw_obj_end(w);
}

static enum err put_user_stats(struct v1_call *c)
{
    struct store_counts counts;
    struct quota_state state;
    struct store_file_totals files;
    struct quota *quota = accounts_quota(c->hub->accounts);
    quota_flush(quota); /* what was used a moment ago is to be seen */
    enum err e = store_counts(c->store, c->who.user_id, &counts, &c->error);
    if (!e) e = quota_state(quota, c->who.user_id, &state, &c->error);
    if (!e) e = store_file_usage(c->store, c->who.user_id, &files, &c->error);
    if (e) return e;
    state.used[QUOTA_STORAGE] = files.bytes;
    jw_obj(&c->w);
    jw_kstr(&c->w, "username", c->who.username);
    jw_kint(&c->w, "conversations", counts.conversations);
    jw_kint(&c->w, "messages", counts.messages);
    jw_kint(&c->w, "files", files.files);
    e = put_usages(c, c->who.user_id);
    put_quotas(&c->w, &state);
    jw_obj_end(&c->w);
    return e;
}

static void user_stats(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_user_stats(&c));
}

/* ---- the hub ------------------------------------------------------------------------------- */

static enum err put_system_stats(struct v1_call *c)
{
    struct store_counts counts;
    struct recorder_counts now;
    quota_flush(accounts_quota(c->hub->accounts));
    enum err e = store_counts(c->store, NULL, &counts, &c->error);
    if (e) return e;
    recorder_counts(c->hub->recorder, &now);
    jw_obj(&c->w);
    jw_kstr(&c->w, "version", HEARTH_VERSION);
    jw_kint(&c->w, "uptime_s", (clock_mono_ms() - c->hub->started_mono_ms) / 1000);
    jw_key(&c->w, "users");
    jw_obj(&c->w);
    jw_kint(&c->w, "total", counts.users);
    jw_kint(&c->w, "admins", counts.admins);
    jw_kint(&c->w, "disabled", counts.disabled);
    jw_obj_end(&c->w);
    jw_kint(&c->w, "conversations", counts.conversations);
    jw_kint(&c->w, "messages", counts.messages);
    jw_key(&c->w, "storage");
    jw_obj(&c->w);
    jw_kstr(&c->w, "database", store_kind(c->store));
    jw_kint(&c->w, "database_bytes", counts.database_bytes);
    jw_kint(&c->w, "files", counts.files);
    jw_kint(&c->w, "file_bytes", counts.file_bytes);
    jw_obj_end(&c->w);
    jw_key(&c->w, "requests");
    jw_obj(&c->w);
    jw_kint(&c->w, "running", now.running);
    jw_kint(&c->w, "waiting", now.waiting);
    jw_obj_end(&c->w);
    return put_usages(c, NULL);
}

/* The provider is asked for its models and its queue, one after the other; whichever it can't tell
 * is null. */
static enum control next_question(enum control what)
{
    return what == CONTROL_MODELS ? CONTROL_QUEUE : CONTROL_COUNT;
}

struct system_stats {
    struct v1_call c;
    enum control asked;
};

static void ask_next(struct system_stats *s);

static void answered(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct system_stats *s = ctx;
    jw_key(&s->c.w, control_name(s->asked));
    if (error)
        jw_null(&s->c.w);
    else
        jw_raw(&s->c.w, answer, len);
    s->asked = next_question(s->asked);
    ask_next(s);
}

static void ask_next(struct system_stats *s)
{
    struct error ignored;
    for (; s->asked != CONTROL_COUNT; s->asked = next_question(s->asked)) {
        if (provider_control(s->c.hub->provider, s->asked, "{}", answered, s, &ignored) == OK)
            return;
        jw_key(&s->c.w, control_name(s->asked));
        jw_null(&s->c.w);
    }
    jw_obj_end(&s->c.w);
    v1_end(&s->c, 200, OK);
    free(s);
}

static void system_stats(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = put_system_stats(&c);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    struct system_stats *s = xmalloc(sizeof *s);
    s->c = c;
    s->c.w.out = &s->c.out;
    s->asked = CONTROL_MODELS;
    ask_next(s);
}

/* clang-format off */
const struct route v1_stats_routes[] = {
    {HTTP_GET, "/api/v1/stats/user", user_stats, 0, "Statistics", "What the user has, has used and may use", NULL, NULL},
    {HTTP_GET, "/api/v1/stats/system", system_stats, ROUTE_ADMIN, "Statistics", "Users, conversations, tokens, storage, models and queue of the whole hub (admins)", NULL, NULL},
    {.path = NULL}};
