/* What a listener has been told; see told.h. */
#include "worker/told.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

void told_init(struct told *t, const struct gen_request *req)
{
    *t = (struct told){.n = req->n,
                       .want_tokens = req->want_tokens,
                       .logprobs = req->sampling.logprobs,
                       .begun_ns = clock_mono_ns(),
                       .lives = 1};
}

void told_free(struct told *t)
{
    for (int32_t i = 0; i < t->n; i++) {
        free(t->choices[i].tokens);
        free(t->choices[i].calls);
    }
    free(t->model);
    free(t->adapter);
    *t = (struct told){0};
}

static enum told_verdict bad(struct error *error, const char *what)
{
    err_set(error, ERR_INVALID, "an event with %s", what);
    return TOLD_BAD;
}

/* ---- counting ------------------------------------------------------------------------------ */

/* Of `len` new units the first ones may be known: how many. Moves both counters on. */
static size_t known(uint64_t *life, uint64_t *all, size_t len)
{
    uint64_t left = *all - *life; /* life <= all */
    size_t n = left < len ? (size_t)left : len;
    *life += len;
    if (*life > *all) *all = *life;
    return n;
}

static void first_piece(struct told *t)
{
    t->anything = true;
    if (!t->first_ns) t->first_ns = clock_mono_ns();
}

static enum told_verdict pass_text(struct told *t, struct gen_event *ev, uint64_t *life,
                                   uint64_t *all)
{
    size_t n = known(life, all, ev->text_len);
    bool something = ev->text_len > n || ev->n_logprobs > 0;
    ev->text += n;
    ev->text_len -= n;
    if (something) first_piece(t);
    return something ? TOLD_PASS : TOLD_DROP;
}

static enum told_verdict pass_tokens(const struct told *t, struct told_choice *c,
                                     struct gen_event *ev, struct error *error)
{
    uint64_t life = c->life_tokens, all = c->n_tokens;
    size_t n = known(&life, &all, ev->n_tokens);
    if (all > c->cap_tokens) {
        size_t bigger = c->cap_tokens ? 2 * c->cap_tokens : 64;
        if (bigger < all) bigger = all;
        int32_t *tokens = try_realloc(c->tokens, bigger, sizeof *tokens);
        if (!tokens) {
            err_set(error, ERR_NOMEM, "no memory for %zu tokens", bigger);
            return TOLD_BAD;
        }
        c->tokens = tokens;
        c->cap_tokens = bigger;
    }
    ev->tokens += n;
    ev->n_tokens -= n;
    if (ev->n_tokens) memcpy(c->tokens + c->n_tokens, ev->tokens, ev->n_tokens * sizeof *c->tokens);
    c->life_tokens = (size_t)life;
    c->n_tokens = (size_t)all;
    return ev->n_tokens && t->want_tokens ? TOLD_PASS : TOLD_DROP;
}

static enum told_verdict pass_call(struct told *t, struct told_choice *c, struct gen_event *ev,
                                   struct error *error)
{
    size_t index = (size_t)ev->tool.index;
    if (ev->tool.index < 0 || index > c->n_calls || index >= TOLD_CALLS_MAX)
        return bad(error, "the index of no tool call");
    bool first = index == c->n_calls;
    if (first && (!ev->tool.id || !ev->tool.name)) return bad(error, "a nameless tool call");
    if (first) {
        struct told_call *calls = try_realloc(c->calls, index + 1, sizeof *calls);
        if (!calls) return bad(error, "too many tool calls");
        calls[index] = (struct told_call){0};
        c->calls = calls;
        c->n_calls++;
    }
    struct told_call *call = &c->calls[index];
    size_t n = known(&call->life_bytes, &call->bytes, ev->tool.arguments_len);
    ev->tool.arguments += n;
    ev->tool.arguments_len -= n;
    if (!first) ev->tool.id = ev->tool.name = NULL;
    if (!first && !ev->tool.arguments_len) return TOLD_DROP;
    first_piece(t);
    return TOLD_PASS;
}

static enum told_verdict pass_end(struct told_choice *c, const struct gen_event *ev)
{
    if (c->over) return TOLD_DROP;
    c->over = true;
    c->finish = ev->finish;
    return TOLD_PASS;
}

/* ---- events -------------------------------------------------------------------------------- */

static enum told_verdict pass_started(struct told *t, const struct gen_event *ev,
                                      struct error *error)
{
    if (!ev->model) return bad(error, "no model");
    t->life_started = true;
    if (t->paused_since_ns) t->paused_ns += clock_mono_ns() - t->paused_since_ns;
    t->paused_since_ns = 0;
    if (t->started) return TOLD_DROP;
    t->started = true;
    t->model = xstrdup(ev->model);
    t->adapter = ev->adapter ? xstrdup(ev->adapter) : NULL;
    t->adapter_scale = ev->adapter_scale;
    t->adapter_version = ev->adapter_version;
    t->cached_tokens = ev->usage.cached_tokens;
    return TOLD_PASS;
}

/* The numbers of the last worker, with what the ones before it make of them. */
static enum told_verdict pass_done(const struct told *t, struct gen_event *ev, struct error *error)
{
    if (!ev->model) return bad(error, "no model");
    for (int32_t i = 0; i < t->n; i++)
        if (!t->choices[i].over) return bad(error, "an end before that of its choices");
    if (t->lives == 1) return TOLD_PASS;
    ev->usage.cached_tokens = t->cached_tokens;
    if (t->first_ns) {
        ev->timings.first_token_ns = t->first_ns - t->begun_ns;
        ev->timings.decode_ns = clock_mono_ns() - t->first_ns;
    }
    if (t->pauses) { /* what it waited for later were pauses */
        ev->timings.load_ns = t->timings.load_ns;
        ev->timings.queue_ns = t->timings.queue_ns;
        ev->timings.prefill_ns = t->timings.prefill_ns;
        ev->timings.pauses += t->pauses;
        ev->timings.paused_ns += t->paused_ns;
    }
    ev->timings.decode_tokens = ev->usage.completion_tokens;
    return TOLD_PASS;
}

static enum told_verdict pass_paused(struct told *t, const struct gen_event *ev,
                                     struct error *error)
{
    if (!t->life_started || !told_again(t)) return bad(error, "a pause of what can't be paused");
    if (!t->pauses++) t->timings = ev->timings;
    t->paused_since_ns = clock_mono_ns();
    return TOLD_AGAIN;
}

static enum told_verdict pass(struct told *t, struct told_choice *c, struct gen_event *ev,
                              struct error *error)
{
    switch (ev->type) {
    case GEN_EV_LOADING:
    case GEN_EV_QUEUED: return t->started ? TOLD_DROP : TOLD_PASS;
    case GEN_EV_STARTED: return pass_started(t, ev, error);
    case GEN_EV_TOKENS: return pass_tokens(t, c, ev, error);
    case GEN_EV_TEXT: return pass_text(t, ev, &c->life_text, &c->text);
    case GEN_EV_REASONING: return pass_text(t, ev, &c->life_reasoning, &c->reasoning);
    case GEN_EV_TOOL_CALL: return pass_call(t, c, ev, error);
    case GEN_EV_CHOICE_END: return pass_end(c, ev);
    case GEN_EV_DONE: return pass_done(t, ev, error);
    case GEN_EV_ERROR: return TOLD_PASS;
    case GEN_EV_PAUSED: return pass_paused(t, ev, error);
    case GEN_EV_ROUTED: break; /* the codec lets none through */
    }
    ht_bug("unknown event");
}

enum told_verdict told_pass(struct told *t, struct gen_event *ev, struct error *error)
{
    if (ev->choice < 0 || ev->choice >= t->n) return bad(error, "the index of no choice");
    struct told_choice *c = &t->choices[ev->choice];
    bool was_over = c->over;
    enum told_verdict verdict = pass(t, c, ev, error);
    bool piece = ev->type == GEN_EV_TEXT || ev->type == GEN_EV_REASONING ||
                 ev->type == GEN_EV_TOOL_CALL || ev->type == GEN_EV_TOKENS;
    if (verdict == TOLD_PASS && piece && was_over) return bad(error, "more behind a choice's end");
    return verdict;
}

/* ---- another life -------------------------------------------------------------------------- */

bool told_again(struct told *t)
{
    if (t->logprobs && t->anything) return false;
    for (int32_t i = 0; i < t->n; i++) {
        struct told_choice *c = &t->choices[i];
        c->life_tokens = 0;
        c->life_text = c->life_reasoning = 0;
        for (size_t k = 0; k < c->n_calls; k++) c->calls[k].life_bytes = 0;
        if (t->logprobs) c->n_tokens = 0;
    }
    t->life_started = false;
    t->lives++;
    return true;
}

void told_resume(const struct told *t, struct gen_request *req, struct gen_resume *resume)
{
    req->resume = resume;
    if (t->started) {
        req->deadline_ms = 0; /* it was met */
        req->adapter = t->adapter ? t->adapter : "base";
        req->adapter_scale = t->adapter_scale;
        req->adapter_version = t->adapter_version;
        if (req->loaded_only) req->model = t->model; /* the new worker has none in memory */
        req->loaded_only = false;
    }
    for (int32_t i = 0; i < t->n; i++) {
        const struct told_choice *c = &t->choices[i];
        resume[i] = (struct gen_resume){
            .tokens = c->tokens, .n_tokens = c->n_tokens, .over = c->over, .finish = c->finish};
    }
}
