/* What providers tell, on its way to the listener: announcing them, keeping back what could not be
 * taken back, and going on with the next one when nothing has been told yet. See router.h. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "router/router_int.h"

/* ---- going on ------------------------------------------------------------------------------ */

static const struct routing_provider *provider_of(const struct ask *a)
{
    return &a->router->routing->providers[a->now.provider];
}

/* Errors that are the request's own: they would be the same everywhere. */
static bool is_final(enum err code)
{
    switch (code) {
    case ERR_CANCELLED:
    case ERR_STOPPING:
    case ERR_CLOSED:
    case ERR_INVALID:
    case ERR_JSON:
    case ERR_SCHEMA:
    case ERR_TOO_LARGE:
    case ERR_NO_ADAPTER:
    case ERR_ADAPTER:
    case ERR_LOCAL_ONLY: return true;
    default: return false;
    }
}

/* A model that was named and is here, but is of another kind, is not absent. */
static bool goes_on_after(const struct ask *a, enum err code)
{
    if (is_final(code)) return false;
    return !(code == ERR_UNSUPPORTED && a->named && provider_of(a)->local);
}

/* Which error says most when several providers failed: that one can try again later comes first,
 * then what a server said, then the first one. */
static int32_t rank_of(enum err code)
{
    switch (code) {
    case ERR_BUSY:
    case ERR_QUOTA:
    case ERR_TIMEOUT: return 3;
    case ERR_UPSTREAM:
    case ERR_CONTEXT: return 2;
    default: return 1;
    }
}

static void keep_error(struct ask *a, const struct error *error)
{
    int32_t rank = rank_of(error->code);
    if (rank <= a->why_rank) return;
    a->why = *error;
    a->why_rank = rank;
}

bool ask_may_go_on(struct ask *a, const struct error *error)
{
    struct router *r = a->router;
    struct router_record *rec = &a->record;
    const char *name = provider_of(a)->name;
    long long ms = (clock_mono_ns() - a->attempt_ns) / 1000000;
    keep_error(a, error);
    if (a->told || a->at + 1 >= a->n || !goes_on_after(a, error->code)) return false;
    pthread_mutex_lock(&r->lock);
    bool over = a->cancelled || r->stopping;
    pthread_mutex_unlock(&r->lock);
    if (over) return false;
    size_t used = strlen(rec->tried);
    str_printf(rec->tried + used, sizeof rec->tried - used, "%s%s: %s after %lld ms",
               used ? "; " : "", name, err_api_code(error->code), ms);
    log_line(LOG_INFO, LOG_route, rec->request_id,
             "%s did not answer after %lld ms (%s: %s); %s is next", name, ms,
             err_api_code(error->code), error->msg,
             r->routing->providers[a->steps[a->at + 1].provider].name);
    return true;
}

void ask_settle_error(struct ask *a, struct error *error)
{
    if (a->told || error->code == ERR_CANCELLED || error->code == ERR_STOPPING) return;
    if (a->record.attempts > 1) {
        struct error plain = a->why;
        err_set_param(error, plain.code, plain.param, "%.260s (tried: %.180s; %.32s: %s)",
                      plain.msg, a->record.tried, provider_of(a)->name, err_api_code(error->code));
        error->retry_after_s = plain.retry_after_s;
    } else if (a->pinned && a->skipped && goes_on_after(a, error->code)) {
        struct error plain = *error;
        err_set_param(error, plain.code, plain.param,
                      "%.400s (the request must stay on this machine, so nobody else was asked)",
                      plain.msg);
        error->retry_after_s = plain.retry_after_s;
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

/* How soon a provider answers, for the goal "speed": the newest counts a quarter. */
static void learn_speed(struct ask *a)
{
    struct router *r = a->router;
    size_t at = a->now.provider;
    int64_t ms = (a->first_ns - a->attempt_ns) / 1000000;
    pthread_mutex_lock(&r->lock);
    int64_t *mean = &r->first_token_ms[at];
    *mean = *mean < 0 ? ms : (3 * *mean + ms) / 4;
    pthread_mutex_unlock(&r->lock);
}

/* -1 = no price is known. The model that was asked for is the one that the plan looked at; answers
 * may give it another name, which counts where the first has no price ("auto"). */
static int64_t cost_of(const struct ask *a, const struct usage *usage)
{
    const struct prices *prices = a->router->prices;
    const char *name = provider_of(a)->name;
    struct price price;
    if (!provider_of(a)->leaves) return 0;
    if (!prices || (!prices_of(prices, name, a->priced, &price) &&
                    !prices_of(prices, name, a->record.model, &price)))
        return -1;
    return price_micros(&price, usage);
}

/* Tells the hub what the request came to. */
static void ask_ended(struct ask *a, enum err code, const struct usage *usage)
{
    struct router *r = a->router;
    struct router_record *rec = &a->record;
    const struct routing_provider *p = provider_of(a);
    rec->error = code;
    rec->usage = *usage;
    rec->total_ms = (clock_mono_ns() - a->began_ns) / 1000000;
    if (a->first_ns) rec->first_token_ms = (a->first_ns - a->began_ns) / 1000000;
    rec->cost_micros = cost_of(a, usage);
    if (!code && a->first_ns) learn_speed(a);
    if (!p->local || rec->attempts > 1)
        log_line(LOG_INFO, LOG_route, rec->request_id,
                 "%s %s: %s, prompt=%d generated=%d first_token_ms=%lld total_ms=%lld attempts=%d",
                 rec->provider, rec->model, code ? err_api_code(code) : "answered",
                 usage->prompt_tokens, usage->completion_tokens, (long long)rec->first_token_ms,
                 (long long)rec->total_ms, rec->attempts);
    if (r->hooks.ended) r->hooks.ended(r->hooks.ctx, rec);
}

/* After its last event: it can't be cancelled any more. */
static void forget(struct ask *a)
{
    struct router *r = a->router;
    pthread_mutex_lock(&r->lock);
    idmap_del(&r->asks, a->by_id.id);
    pthread_mutex_unlock(&r->lock);
    ask_unref(a);
}

/* ---- announcing ---------------------------------------------------------------------------- */

static void show_model(struct ask *a)
{
    str_copy(a->shown_model, sizeof a->shown_model, a->record.model);
    str_printable(a->shown_model);
}

static void tier_reason(const struct ask *a, char *dst, size_t size)
{
    if (a->classified.known)
        str_printf(dst, size, "%.48s says that it asks for a %s model", a->classified.model,
                   tier_name(a->tier));
    else
        str_printf(dst, size, "complexity %.2f asks for a %s model", a->record.complexity,
                   tier_name(a->tier));
}

static void make_route(struct ask *a)
{
    const struct routing_provider *p = provider_of(a);
    struct router_record *rec = &a->record;
    char why[ROUTER_REASON_MAX];
    if (a->now.why == WHY_TIER)
        tier_reason(a, why, sizeof why);
    else
        str_copy(why, sizeof why, plan_why_words(a->now.why));
    if (*a->classified.why) {
        size_t used = strlen(why);
        str_printf(why + used, sizeof why - used, " (not classified: %.60s)", a->classified.why);
    }
    str_printf(rec->reason, sizeof rec->reason, "%s: %.120s%s%.100s", p->name, why,
               rec->tried[0] ? "; " : "", rec->tried);
    show_model(a);
    str_printable(rec->reason);
    a->route = (struct gen_route){.provider = p->name,
                                  .model = a->shown_model,
                                  .reason = rec->reason,
                                  .remote = p->leaves,
                                  .attempt = rec->attempts - 1};
}

static void announce(struct ask *a)
{
    if (a->announced) return;
    a->announced = true;
    make_route(a);
    a->fn(a->ctx, &(struct gen_event){.type = GEN_EV_ROUTED, .route = &a->route});
}

/* ---- generations --------------------------------------------------------------------------- */

static void release(struct ask *a)
{
    if (!a->holds) return;
    a->holds = false;
    a->fn(a->ctx, &(struct gen_event){.type = GEN_EV_STARTED,
                                      .model = a->record.model,
                                      .usage = a->held_usage,
                                      .route = &a->route});
}

static void on_started(struct ask *a, const struct gen_event *ev)
{
    if (ev->model && *ev->model) str_copy(a->record.model, sizeof a->record.model, ev->model);
    if (!provider_of(a)->local && a->at + 1 < a->n && !a->told) {
        a->held_usage = ev->usage;
        a->holds = true;
        return;
    }
    announce(a);
    show_model(a);
    a->told = true;
    struct gen_event started = *ev;
    started.route = &a->route;
    a->fn(a->ctx, &started);
}

/* Whether waiting for this hub's own models is in vain, or longer than the route likes it. */
static bool waits_too_long(const struct ask *a, const struct gen_event *ev)
{
    if (ev->wait_ms < 0 || a->told || a->at + 1 >= a->n) return false;
    if (a->deadline_ms && clock_mono_ms() + ev->wait_ms > a->deadline_ms) return true;
    return a->max_wait_ms && ev->wait_ms > a->max_wait_ms;
}

/* Nothing of this attempt is passed on any more; its last event starts the next one. */
static void give_up(struct ask *a, int64_t wait_ms)
{
    a->dropping = true;
    a->drop_wait_ms = wait_ms;
    ask_drop(a);
}

/* Whether the next one took it. */
static bool go_on(struct ask *a, struct error *error)
{
    if (!ask_may_go_on(a, error)) return false;
    struct router *r = a->router;
    pthread_mutex_lock(&r->lock);
    a->refs++;
    pthread_mutex_unlock(&r->lock);
    a->at++;
    bool taken = ask_start(a, error) == OK;
    ask_unref(a); /* never the last one: the listener's is there, or was handed on */
    return taken;
}

/* What was dropped because of a long wait failed for that reason, unless it was cancelled, too. */
static void dropped_error(struct ask *a, struct error *error)
{
    if (!a->dropping) return;
    a->dropping = false;
    pthread_mutex_lock(&a->router->lock);
    bool cancelled = a->cancelled;
    pthread_mutex_unlock(&a->router->lock);
    if (error->code != ERR_CANCELLED || cancelled) return;
    err_set(error, ERR_BUSY, "it would have had to wait for %lld ms", (long long)a->drop_wait_ms);
}

void ask_fail(struct ask *a, struct error *error, const struct gen_event *last)
{
    struct gen_event ev = *last;
    ev.error = error;
    ask_settle_error(a, error);
    if (a->record.attempts) announce(a);
    ask_ended(a, error->code, &ev.usage);
    a->fn(a->ctx, &ev);
    forget(a);
}

static void on_error(struct ask *a, const struct gen_event *ev)
{
    struct error error = *ev->error;
    dropped_error(a, &error);
    if (!go_on(a, &error)) ask_fail(a, &error, ev);
}

static void on_done(struct ask *a, const struct gen_event *ev)
{
    if (a->dropping) { /* it was as quick as the cancel, but its text has not been passed on */
        struct error late;
        err_set(&late, ERR_CANCELLED, "the attempt was given up");
        on_error(a, &(struct gen_event){.type = GEN_EV_ERROR, .error = &late});
        return;
    }
    announce(a);
    release(a);
    if (ev->model && *ev->model) str_copy(a->record.model, sizeof a->record.model, ev->model);
    ask_ended(a, OK, &ev->usage);
    a->fn(a->ctx, ev);
    forget(a);
}

void ask_listen(void *ctx, const struct gen_event *ev)
{
    struct ask *a = ctx;
    switch (ev->type) {
    case GEN_EV_ERROR: on_error(a, ev); return;
    case GEN_EV_DONE: on_done(a, ev); return;
    case GEN_EV_ROUTED: return; /* whom the provider asks in turn is its own business */
    default: break;
    }
    if (a->dropping) return;
    switch (ev->type) {
    case GEN_EV_STARTED: on_started(a, ev); return;
    case GEN_EV_QUEUED:
        if (waits_too_long(a, ev)) {
            give_up(a, ev->wait_ms);
            return;
        }
        announce(a);
        break;
    case GEN_EV_LOADING: announce(a); break;
    default:
        if (!a->first_ns) a->first_ns = clock_mono_ns();
        if (!a->told) {
            announce(a);
            release(a);
            a->told = true;
        }
        break;
    }
    a->fn(a->ctx, ev);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

void ask_listen_embed(void *ctx, const struct embed_result *result)
{
    struct ask *a = ctx;
    struct embed_result last = *result;
    struct error error;
    if (result->error) {
        error = *result->error;
        if (go_on(a, &error)) return;
        ask_settle_error(a, &error);
        last.error = &error;
    } else if (result->model) {
        str_copy(a->record.model, sizeof a->record.model, result->model);
    }
    make_route(a);
    last.route = &a->route;
    ask_ended(a, result->error ? error.code : OK,
              &(struct usage){.prompt_tokens = result->prompt_tokens});
    a->embed_fn(a->ctx, &last);
    forget(a);
}
