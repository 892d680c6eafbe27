/* From the outputs of a batch to events: for each sequence whose last token was in the batch sample
 * the next one, turn it into text, send what may be sent, end what is over. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

/* The last n tokens of the choice; NULL where a shift has forgotten some of them. */
static const int32_t *last_tokens(const struct choice *c, int32_t n)
{
    if (c->resumed && n == c->n_resumed) return c->resumed;
    return n > 0 && n <= c->n_tokens ? c->tokens + c->n_tokens - n : NULL;
}

void choice_emit(struct choice *c, bool final)
{
    struct text_piece piece;
    if (!text_take(&c->text, final, &piece)) return;
    struct sched_event ev = {.type = SCHED_EV_TEXT,
                             .choice = c->index,
                             .text = piece.text,
                             .text_len = piece.len,
                             .logprobs = piece.logprobs,
                             .n_logprobs = piece.n_logprobs,
                             .tokens = last_tokens(c, piece.n_tokens),
                             .n_tokens = piece.n_tokens};
    request_emit(c->req, &ev);
}

void choice_end(struct choice *c, enum finish_reason finish)
{
    struct request *r = c->req;
    struct sched_model *m = r->model;
    choice_emit(c, true);
    struct sched_event ev = {.type = SCHED_EV_CHOICE_END,
                             .choice = c->index,
                             .finish = finish,
                             .stop = finish == FINISH_STOP ? c->text.stop : NULL,
                             .tokens = last_tokens(c, c->text.n_tokens),
                             .n_tokens = c->text.n_tokens};
    request_emit(r, &ev);
    c->state = CHOICE_ENDED;
    bool waiting = false;
    for (int32_t i = 0; i < r->n; i++) waiting |= r->choices[i].state == CHOICE_WAITING;
    if (c->slot) {
        /* Shared cells stay for this request's next choice only. */
        if (waiting && c->slot->n_shared) c->slot->holder = r;
        slot_release(m, c->slot, waiting || c->slot->n_shared == 0);
    }
    if (++r->n_ended == r->n)
        request_end(r, NULL);
    else if (waiting && r->max_tokens != 0)
        start_choices(m, r);
}

static enum err token_logprob(struct choice *c, const struct engine_sample *sample, size_t len,
                              struct error *error)
{
    struct sched *s = c->req->model->s;
    struct logprob_alt alts[1 + GEN_TOP_LOGPROBS_MAX];
    size_t starts[2 + GEN_TOP_LOGPROBS_MAX];
    size_t n_top = sample->n_top < (size_t)c->req->n_top ? sample->n_top : (size_t)c->req->n_top;
    for (size_t i = 0; i <= n_top; i++) {
        alts[i].token = i ? sample->top[i - 1].token : sample->token;
        alts[i].logprob = i ? sample->top[i - 1].logprob : sample->logprob;
        starts[i] = s->token_text.len;
        engine_token_text(c->req->model->engine_model, alts[i].token, true, &s->token_text);
    }
    starts[n_top + 1] = s->token_text.len;
    for (size_t i = 0; i <= n_top; i++) {
        alts[i].text = buf_str(&s->token_text) + starts[i];
        alts[i].len = starts[i + 1] - starts[i];
    }
    return text_add_logprob(&c->text, alts, n_top, len, error);
}

/* False: a stop string is complete. */
static bool add_text(struct choice *c, const struct engine_sample *sample)
{
    struct request *r = c->req;
    struct buf *b = &r->model->s->token_text;
    buf_clear(b);
    engine_token_text(r->model->engine_model, sample->token, sample->special, b);
    size_t len = b->len;
    struct error error;
    if (r->logprobs && token_logprob(c, sample, len, &error))
        log_warn(sched, "request %llu: %s", (unsigned long long)r->by_id.id, error.msg);
    return text_add(&c->text, buf_str(b), len);
}

static void count_token(struct choice *c, int64_t now_ns)
{
    struct request *r = c->req;
    if (!r->first_token_ns) {
        r->first_token_ns = now_ns;
        metric_observe_series_ns(METRIC_first_token_seconds, r->series, now_ns - r->arrived_ns);
    }
    if (c->last_token_ns)
        metric_observe_series_ns(METRIC_token_seconds, r->series, now_ns - c->last_token_ns);
    if (c->last_token_ns) rates_token(&r->model->rates, now_ns - c->last_token_ns);
    rates_output(&r->model->rates, 1, now_ns);
    c->last_token_ns = now_ns;
}

/* The next token of c, from output `index` of the last decode. */
static void sample(struct choice *c, int32_t index, int64_t now_ns)
{
    struct request *r = c->req;
    struct engine_sample got;
    struct error error;
    if (engine_sample(r->model->ctx, c->sampler, index, &got, &error)) {
        request_end(r, &error);
        return;
    }
    count_token(c, now_ns);
    if (got.is_end && !r->ignore_eos) {
        choice_end(c, FINISH_STOP);
        return;
    }
    ht_assert(c->n_tokens < r->n_longest);
    c->tokens[c->n_tokens++] = got.token;
    c->n_generated++;
    r->usage.completion_tokens++;
    metric_add(METRIC_generated_tokens_total, 1);
    if (!add_text(c, &got))
        choice_end(c, FINISH_STOP);
    else if (c->n_generated == r->max_tokens || (c->n_tokens == r->n_longest && !choice_shift(c)))
        choice_end(c, FINISH_LENGTH);
    else
        choice_emit(c, false);
}

/* The leader's prompt is complete: the others continue from the same cells and the same output. */
static void share_prompt(struct sched_model *m, const struct choice *leader, int32_t index,
                         int64_t now_ns)
{
    struct request *r = leader->req;
    for (int32_t i = 0; i < r->n; i++) {
        struct choice *c = &r->choices[i];
        if (c->state != CHOICE_SHARING) continue;
        c->state = CHOICE_RUNNING;
        if (!slot_share(m, leader->slot, c->slot)) continue; /* it decodes the prompt itself */
        sample(c, index, now_ns);
        if (r->state != REQUEST_ACTIVE) return;
    }
}

void deliver_batch(struct sched_model *m)
{
    int64_t now_ns = clock_mono_ns();
    metric_add(METRIC_batches_total, 1);
    metric_add(METRIC_batch_tokens_total, m->n_batched);
    for (int32_t i = 0; i < m->n_parts; i++) m->parts[i].choice->slot->n_kv += m->parts[i].n;
    for (int32_t i = 0; i < m->n_parts; i++) {
        struct choice *c = m->parts[i].choice;
        int32_t index = m->parts[i].output;
        if (index < 0 || c->state != CHOICE_RUNNING) continue;
        if (c->n_generated == 0) share_prompt(m, c, index, now_ns);
        if (c->state == CHOICE_RUNNING) sample(c, index, now_ns);
    }
}
