/* Explaining a decision; see explain.h. The local provider is asked two questions, one after the
 * other: whether the model is here and fits (PLAN), and how long its queue is (QUEUE). */
#include "router/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "router/router_int.h"

enum { ANSWER_MAX = 256 * 1024, ARGS_MAX = 4096, BYTES_PER_TOKEN = 4, ANSWER_TOKENS = 500 };

/* What this hub says of its own model. */
struct here {
    bool asked;
    enum err error;
    char message[ERROR_MSG_MAX], model[ROUTER_NAME_MAX];
    bool fits;
    int64_t context, wait_ms; /* 0, -1 = not known */
};

struct explain {
    struct router *router;
    struct gen_request *req;
    control_fn fn;
    void *ctx;
    struct plan plan;
    struct here here;
    int64_t prompt_tokens; /* about */
};

static void explain_free(struct explain *x)
{
    arena_free(x->req->arena);
    free(x);
}

static const struct routing_provider *provider_of(const struct explain *x, size_t at)
{
    return &x->router->routing->providers[at];
}

static int64_t about_tokens(const struct gen_request *req)
{
    size_t bytes = req->prompt ? strlen(req->prompt) : 0;
    for (size_t i = 0; i < req->n_messages; i++) bytes += strlen(req->messages[i].content);
    for (size_t i = 0; i < req->n_tools; i++) bytes += strlen(req->tools[i].parameters);
    return (int64_t)(bytes / BYTES_PER_TOKEN + req->n_prompt_tokens + 4 * req->n_messages);
}

/* ---- what would become of a step ----------------------------------------------------------- */

/* Why this hub would not answer; "" = it would. */
static void judge_here(const struct explain *x, char *dst, size_t size)
{
    const struct here *h = &x->here;
    const struct gen_request *req = x->req;
    int64_t left_ms = req->deadline_ms ? req->deadline_ms - clock_mono_ms() : INT64_MAX;
    *dst = '\0';
    if (h->error)
        str_printf(dst, size, "%s: %s", err_api_code(h->error), h->message);
    else if (h->asked && !h->fits)
        str_copy(dst, size, *h->message ? h->message : "it does not fit into memory");
    else if (h->context && x->prompt_tokens >= h->context)
        str_printf(dst, size, "its prompt has about %lld tokens, the context %lld",
                   (long long)x->prompt_tokens, (long long)h->context);
    else if (h->wait_ms > left_ms)
        str_printf(dst, size, "it would wait for %lld ms, past its deadline",
                   (long long)h->wait_ms);
    else if (x->plan.route->max_wait_ms && h->wait_ms > x->plan.route->max_wait_ms)
        str_printf(dst, size, "it would wait for %lld ms, longer than the route likes",
                   (long long)h->wait_ms);
}

static void judge(const struct explain *x, const struct plan_step *step, char *dst, size_t size)
{
    struct remote_state state;
    const struct routing_provider *p = provider_of(x, step->provider);
    *dst = '\0';
    if (p->local)
        judge_here(x, dst, size);
    else if (router_state(x->router, p->name, &state) && state.open && state.retry_in_ms > 0)
        str_printf(dst, size, "it failed %d times in a row and is left alone for %lld ms",
                   state.failures, (long long)state.retry_in_ms);
}

/* ---- writing ------------------------------------------------------------------------------- */

static double rounded(double v)
{
    return round(v * 1000) / 1000;
}

/* What the local model says; null where it was not asked. */
static void write_classified(const struct explain *x, struct jw *w)
{
    const struct classified *said = &x->plan.classified;
    jw_key(w, "classification");
    if (!said->known && !*said->why) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    if (said->known) {
        jw_kstr(w, "tier", tier_name(said->tier));
        jw_kdouble(w, "score", rounded(complexity_of_tier(x->router->routing, said->tier)));
        jw_kstr(w, "model", said->model);
    } else {
        jw_kstr(w, "error", said->why);
    }
    jw_kint(w, "took_ms", said->took_ms);
    jw_obj_end(w);
}

static void write_complexity(const struct explain *x, struct jw *w)
{
    const struct routing *r = x->router->routing;
    const struct complexity *c = &x->plan.complexity;
    jw_key(w, "complexity");
    if (!x->plan.scored) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kdouble(w, "score", rounded(x->plan.score));
    jw_kstr(w, "tier", tier_name(x->plan.tier));
    jw_kstr(w, "by", x->plan.classified.known ? "model" : "features");
    jw_kdouble(w, "low", r->low);
    jw_kdouble(w, "high", r->high);
    jw_key(w, "features");
    jw_obj(w);
    for (int i = 0; i < FEATURE_COUNT; i++)
        jw_kdouble(w, feature_name((enum feature)i), rounded(c->features[i]));
    jw_obj_end(w);
    jw_key(w, "weights");
    jw_obj(w);
    for (int i = 0; i < FEATURE_COUNT; i++)
        jw_kdouble(w, feature_name((enum feature)i), r->weights[i]);
    jw_obj_end(w);
    jw_kdouble(w, "features_score", rounded(c->score));
    jw_kstr(w, "features_tier", tier_name(c->tier));
    write_classified(x, w);
    jw_obj_end(w);
}

static void write_price(const struct explain *x, const struct routing_provider *p,
                        const char *model, struct jw *w)
{
    struct price price;
    int64_t answer = x->req->max_tokens > 0 && x->req->max_tokens < ANSWER_TOKENS
                         ? x->req->max_tokens
                         : ANSWER_TOKENS;
    jw_key(w, "price");
    if (!p->leaves || !prices_of(x->router->prices, p->name, model, &price)) {
        jw_null(w);
        return;
    }
    const struct usage usage = {.prompt_tokens = (int32_t)x->prompt_tokens,
                                .completion_tokens = (int32_t)answer};
    jw_obj(w);
    jw_kdouble(w, "input", price.input);
    jw_kdouble(w, "output", price.output);
    jw_kdouble(w, "estimate", (double)price_micros(&price, &usage) / 1e6);
    jw_obj_end(w);
}

static const char *model_of(const struct explain *x, const struct plan_step *step)
{
    const struct routing_provider *p = provider_of(x, step->provider);
    if (p->local && *x->here.model) return x->here.model;
    return plan_step_model(x->router->routing, step);
}

/* Returns the step that would answer, or n. */
static size_t write_steps(const struct explain *x, struct jw *w)
{
    size_t winner = x->plan.n;
    jw_key(w, "steps");
    jw_arr(w);
    for (size_t i = 0; i < x->plan.n; i++) {
        const struct plan_step *step = &x->plan.steps[i];
        const struct routing_provider *p = provider_of(x, step->provider);
        char because[ERROR_MSG_MAX + 64];
        judge(x, step, because, sizeof because);
        bool wins = winner == x->plan.n && !*because;
        if (wins) winner = i;
        jw_obj(w);
        jw_kstr(w, "provider", p->name);
        jw_kstr(w, "model", model_of(x, step));
        jw_kbool(w, "remote", p->leaves);
        jw_kstr(w, "why", plan_why_words(step->why));
        jw_kstr(w, "verdict", wins ? "answers" : *because ? "passed over" : "in reserve");
        jw_kstr(w, "because", *because ? because : NULL);
        write_price(x, p, model_of(x, step), w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    return winner;
}

static void write_skips(const struct explain *x, struct jw *w)
{
    jw_key(w, "skipped");
    jw_arr(w);
    for (size_t i = 0; i < x->plan.n_skips; i++) {
        jw_obj(w);
        jw_kstr(w, "provider", provider_of(x, x->plan.skips[i].provider)->name);
        jw_kstr(w, "why", plan_skip_words(x->plan.skips[i].why));
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_here(const struct explain *x, struct jw *w)
{
    const struct here *h = &x->here;
    jw_key(w, "local");
    if (!h->asked) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kstr(w, "model", *h->model ? h->model : NULL);
    jw_kbool(w, "fits", h->fits);
    jw_kint(w, "context", h->context);
    jw_key(w, "wait_ms");
    if (h->wait_ms < 0)
        jw_null(w);
    else
        jw_int(w, h->wait_ms);
    jw_obj_end(w);
}

static void write_answer(const struct explain *x, struct jw *w)
{
    jw_obj(w);
    jw_kstr(w, "object", "route");
    jw_kstr(w, "route", x->plan.route->name);
    jw_kstr(w, "goal", goal_name(x->plan.goal));
    jw_kbool(w, "local_only", x->plan.pinned);
    jw_kint(w, "prompt_tokens", x->prompt_tokens);
    write_complexity(x, w);
    write_here(x, w);
    size_t winner = write_steps(x, w);
    write_skips(x, w);
    jw_key(w, "provider");
    if (winner < x->plan.n) {
        const struct plan_step *step = &x->plan.steps[winner];
        jw_str(w, provider_of(x, step->provider)->name);
        jw_kstr(w, "model", model_of(x, step));
        jw_kstr(w, "reason", plan_why_words(step->why));
    } else {
        jw_null(w);
        jw_knull(w, "model");
        jw_kstr(w, "reason", "nobody would answer");
    }
    jw_obj_end(w);
}

static void respond(struct explain *x)
{
    struct buf b;
    struct jw w;
    struct error error;
    buf_init(&b, ANSWER_MAX);
    jw_init(&w, &b);
    write_answer(x, &w);
    if (b.err) {
        err_set(&error, b.err, "the explanation is too long");
        x->fn(x->ctx, &error, NULL, 0);
    } else {
        x->fn(x->ctx, NULL, buf_str(&b), b.len);
    }
    buf_free(&b);
    explain_free(x);
}

/* ---- asking this hub ----------------------------------------------------------------------- */

static void take_wait(struct here *h, const json_t *root)
{
    size_t i;
    json_t *m;
    const json_t *models = json_object_get(root, "models");
    h->wait_ms = -1;
    json_array_foreach ((json_t *)models, i, m) {
        const char *id = json_string_value(json_object_get(m, "id"));
        const json_t *wait = json_object_get(m, "wait_estimate_ms");
        if (id && str_eq(id, h->model) && json_is_integer(wait))
            h->wait_ms = json_integer_value(wait);
    }
}

static void on_queue(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct explain *x = ctx;
    json_t *root = NULL;
    if (!error && json_parse(answer, len, &root, NULL) == OK) take_wait(&x->here, root);
    json_decref(root);
    respond(x);
}

static void take_plan(struct here *h, const json_t *root)
{
    const char *model = json_string_value(json_object_get(root, "model"));
    const char *reason = json_string_value(json_object_get(root, "reason"));
    str_copy(h->model, sizeof h->model, model ? model : "");
    str_copy(h->message, sizeof h->message, reason ? reason : "");
    h->fits = json_is_true(json_object_get(root, "fits"));
    h->context = json_integer_value(json_object_get(root, "context"));
}

static void on_plan(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct explain *x = ctx;
    struct error why;
    json_t *root = NULL;
    x->here.wait_ms = -1;
    if (error) {
        x->here.error = error->code;
        str_copy(x->here.message, sizeof x->here.message, error->msg);
    } else if (json_parse(answer, len, &root, NULL) == OK) {
        take_plan(&x->here, root);
    }
    json_decref(root);
    if (error || provider_control(&x->router->base, CONTROL_QUEUE, "{}", on_queue, x, &why))
        respond(x);
}

static const struct plan_step *local_step(const struct explain *x)
{
    for (size_t i = 0; i < x->plan.n; i++)
        if (provider_of(x, x->plan.steps[i].provider)->local) return &x->plan.steps[i];
    return NULL;
}

static enum err ask_here(struct explain *x, const char *model, struct error *error)
{
    struct buf args;
    struct jw w;
    buf_init(&args, ARGS_MAX);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", model);
    jw_obj_end(&w);
    enum err e = args.err;
    x->here.asked = true;
    if (e)
        err_set(error, ERR_INVALID, "the model's name is too long");
    else
        e = provider_control(&x->router->base, CONTROL_PLAN, buf_str(&args), on_plan, x, error);
    buf_free(&args);
    return e;
}

/* The plan is made. On an error fn was not called. */
static enum err explain_plan(struct explain *x, struct error *error)
{
    const struct plan_step *local = local_step(x);
    if (local) return ask_here(x, local->model, error);
    respond(x);
    return OK;
}

/* With what the local model says the plan is made again. */
static void on_classified(void *ctx, const struct classified *said)
{
    struct explain *x = ctx;
    struct error error;
    enum err e = router_plan_again(x->router, x->req, said, &x->plan, &error);
    if (!e) e = explain_plan(x, &error);
    if (!e) return;
    x->fn(x->ctx, &error, NULL, 0);
    explain_free(x);
}

enum err router_explain(struct router *r, struct gen_request *req, control_fn fn, void *ctx,
                        struct error *error)
{
    struct explain *x = xcalloc(1, sizeof *x);
    *x = (struct explain){.router = r, .req = req, .fn = fn, .ctx = ctx};
    x->prompt_tokens = about_tokens(req);
    enum err e = router_plan_request(r, req, &x->plan, error);
    if (!e && x->plan.may_classify &&
        classify_start(r, req, on_classified, x, NULL, &x->plan.classified))
        return OK;
    if (!e) e = explain_plan(x, error);
    if (e) explain_free(x);
    return e;
}
