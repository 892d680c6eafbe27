/* Asking the local model how hard a request is; see classify.h.
 *
 * A question ends once, by the model's last event, by the timer, or by a cancel, whichever is
 * first; the others find it done. It stays in memory until the model's last event, and counts as a
 * call of a provider until then (router_leave), so that the router is not closed under it. */
#include "router/classify.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/timer.h"
#include "router/router_int.h"

enum {
    ARENA_MAX = 16 << 10,
    HEAD_MAX = 800, /* bytes of the request's text: of its beginning and of its end */
    TAIL_MAX = 400,
    WORD_MAX = 16,
    ANSWER_TOKENS = 8,
};

static const char task[] =
    "You sort requests by how large a language model must be to answer them well.\n"
    "small: greetings, simple facts, a translation or rewording of a few sentences\n"
    "middle: summaries, everyday code, tasks of a few steps\n"
    "large: proofs, hard mathematics, design of software, long or careful reasoning\n"
    "Don't answer the request. Say one word: small, middle or large.";
static const char grammar[] = "root ::= \"small\" | \"middle\" | \"large\"";

struct classify {
    struct router *router;
    classify_fn fn;
    void *ctx;
    int64_t began_ns, limit_ms;
    char tenant[ROUTER_NAME_MAX];
    /* Of the listener: */
    char word[WORD_MAX], model[CLASSIFIED_MODEL_MAX];
    struct usage usage; /* so far */
    /* Under the router's lock: */
    int refs; /* the call's and the listener's; a cancel's and the timer's while they are at it */
    bool done, cancelled;
    uint64_t inner_id; /* 0 = not handed over yet */
    struct timer timer;
};

void classify_ref(struct classify *c)
{
    c->refs++;
}

void classify_unref(struct classify *c)
{
    struct router *r = c->router;
    pthread_mutex_lock(&r->lock);
    bool last = --c->refs == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last) return;
    free(c);
    router_leave(r);
}

/* ---- the end ------------------------------------------------------------------------------- */

static bool tier_of_word(const char *word, enum tier *out)
{
    for (int t = 0; t < TIER_COUNT; t++)
        if (str_eq(word, tier_name((enum tier)t))) {
            *out = (enum tier)t;
            return true;
        }
    return false;
}

/* why NULL: the word decides. */
static void end(struct classify *c, const char *why)
{
    struct router *r = c->router;
    struct classified said = {.took_ms = (clock_mono_ns() - c->began_ns) / 1000000};
    pthread_mutex_lock(&r->lock);
    bool first = !c->done;
    c->done = true;
    pthread_mutex_unlock(&r->lock);
    if (!first) return;
    if (!why && !tier_of_word(c->word, &said.tier)) why = "the answer is none of the three words";
    said.known = !why;
    str_copy(said.model, sizeof said.model, why ? "" : c->model);
    str_copy(said.why, sizeof said.why, why ? why : "");
    c->fn(c->ctx, &said);
}

/* ---- the model's answer -------------------------------------------------------------------- */

static void take_text(struct classify *c, const struct gen_event *ev)
{
    size_t used = strlen(c->word);
    str_printf(c->word + used, sizeof c->word - used, "%.*s", (int)ev->text_len, ev->text);
}

/* What was read and written before the end of a question that was given up counts, too. */
static void take_usage(struct classify *c, const struct gen_event *ev)
{
    if (ev->type == GEN_EV_TEXT) c->usage.completion_tokens++;
    if (ev->usage.prompt_tokens > 0) c->usage = ev->usage;
}

static void tell_usage(const struct classify *c)
{
    const struct router_hooks *hooks = &c->router->hooks;
    if (hooks->classified && c->usage.prompt_tokens)
        hooks->classified(hooks->ctx, c->tenant, &c->usage);
}

static void listen(void *ctx, const struct gen_event *ev)
{
    struct classify *c = ctx;
    if (ev->type == GEN_EV_TEXT) take_text(c, ev);
    take_usage(c, ev);
    if (ev->type != GEN_EV_DONE && ev->type != GEN_EV_ERROR) return;
    tell_usage(c);
    if (ev->model) str_copy(c->model, sizeof c->model, ev->model);
    end(c, ev->type == GEN_EV_ERROR ? ev->error->msg : NULL);
    timer_clear(c->router->timers, &c->timer); /* it takes no reference after this */
    classify_unref(c);
}

/* ---- giving up ----------------------------------------------------------------------------- */

/* The model is told once, as soon as it has a number to be told by. Its last event is the end, as
 * of any cancel: nobody hears of it on the thread that cancels. */
void classify_cancel(struct classify *c)
{
    struct router *r = c->router;
    pthread_mutex_lock(&r->lock);
    uint64_t id = c->cancelled ? 0 : c->inner_id;
    c->cancelled = true;
    pthread_mutex_unlock(&r->lock);
    if (id) provider_cancel(r->providers[0], id);
}

static void too_slow(void *ctx)
{
    struct classify *c = ctx;
    char why[64];
    pthread_mutex_lock(&c->router->lock);
    classify_ref(c);
    pthread_mutex_unlock(&c->router->lock);
    str_printf(why, sizeof why, "no answer within %lld ms", (long long)c->limit_ms);
    end(c, why);
    classify_cancel(c);
    classify_unref(c);
}

/* ---- the question -------------------------------------------------------------------------- */

/* The beginning and the end of what is long: there the task is told. NULL: no memory. */
static const char *excerpt(struct arena *a, const char *text)
{
    char cut[HEAD_MAX + TAIL_MAX + 8];
    size_t len = strlen(text);
    if (len <= HEAD_MAX + TAIL_MAX) return arena_strndup(a, text, len);
    const char *tail = text + len - TAIL_MAX;
    while ((*tail & 0xC0) == 0x80) tail++; /* not within a character */
    str_printf(cut, sizeof cut, "%.*s ... %s", (int)utf8_cut(text, len, HEAD_MAX), text, tail);
    return arena_strdup(a, cut);
}

static struct gen_request *question(const struct classify *c, const struct gen_request *of)
{
    struct arena *a = arena_new(ARENA_MAX);
    struct gen_request *req = arena_alloc(a, sizeof *req);
    struct message *messages = arena_calloc(a, 2, sizeof *messages);
    const char *text = excerpt(a, complexity_text(of));
    const char *id = arena_strdup(a, of->request_id ? of->request_id : "");
    const char *tenant = arena_strdup(a, of->tenant);
    if (!req || !messages || !text || !id || !tenant) {
        arena_free(a);
        return NULL;
    }
    messages[0] = (struct message){.role = ROLE_SYSTEM, .content = task};
    messages[1] = (struct message){.role = ROLE_USER, .content = text};
    *req = (struct gen_request){.arena = a,
                                .kind = GEN_CHAT,
                                .request_id = id,
                                .model = "",
                                .tenant = tenant,
                                .messages = messages,
                                .n_messages = 2,
                                .format = FORMAT_GRAMMAR,
                                .grammar = grammar,
                                .template_kwargs = "{\"enable_thinking\":false}",
                                .sampling = {.top_p = 1, .repeat_penalty = 1, .seed = 1},
                                .max_tokens = ANSWER_TOKENS,
                                .n = 1,
                                .priority = of->priority,
                                .deadline_ms = clock_mono_ms() + c->limit_ms,
                                .adapter = "base",
                                .loaded_only = true,
                                .local_only = true};
    return req;
}

/* How long it may take: the request itself may have a shorter time to begin in. */
static int64_t limit_of(const struct router *r, const struct gen_request *req)
{
    int64_t left_ms = req->deadline_ms ? req->deadline_ms - clock_mono_ms() : INT64_MAX;
    return left_ms < r->routing->classify_ms ? left_ms : r->routing->classify_ms;
}

/* The model has it: from here on the timer runs. */
static void handed_over(struct classify *c, uint64_t id)
{
    struct router *r = c->router;
    pthread_mutex_lock(&r->lock);
    c->inner_id = id;
    bool cancelled = c->cancelled;
    if (!c->done) timer_set(r->timers, &c->timer, c->limit_ms, too_slow, c);
    pthread_mutex_unlock(&r->lock);
    if (cancelled) provider_cancel(r->providers[0], id);
}

/* Why it is not even tried; NULL = it is, and the router stays open for it. */
static const char *refuse(struct router *r, const struct gen_request *req, int64_t limit_ms)
{
    if (!*complexity_text(req)) return "it has no text";
    if (limit_ms <= 0) return "there is no time left for it";
    return router_enter(r) ? NULL : "the hub is shutting down";
}

bool classify_start(struct router *r, const struct gen_request *req, classify_fn fn, void *ctx,
                    struct classify **out, struct classified *why_not)
{
    struct error error;
    uint64_t id = 0;
    int64_t limit_ms = limit_of(r, req);
    const char *why = refuse(r, req, limit_ms);
    *why_not = (struct classified){0};
    str_copy(why_not->why, sizeof why_not->why, why ? why : "");
    if (why) return false;
    struct classify *c = xcalloc(1, sizeof *c);
    *c = (struct classify){.router = r, .fn = fn, .ctx = ctx, .refs = 2, .limit_ms = limit_ms};
    c->began_ns = clock_mono_ns();
    str_copy(c->tenant, sizeof c->tenant, req->tenant);
    struct gen_request *q = question(c, req);
    enum err e = q ? OK : err_set(&error, ERR_NOMEM, "no memory for the question");
    pthread_mutex_lock(&r->lock);
    if (out) *out = c;
    pthread_mutex_unlock(&r->lock);
    if (!e) e = provider_generate(r->providers[0], q, listen, c, &id, &error);
    if (e) {
        pthread_mutex_lock(&r->lock);
        if (out) *out = NULL;
        c->refs--; /* the listener's: it is never called */
        pthread_mutex_unlock(&r->lock);
        str_copy(why_not->why, sizeof why_not->why, error.msg);
    } else {
        handed_over(c, id);
    }
    classify_unref(c);
    return !e;
}
