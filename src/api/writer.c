/* What the writers of all surfaces share: see writer.h. */
#include "api/writer.h"

#include <math.h>

#include "base/str.h"

void writer_init(struct writer *w, const struct writer_ops *ops, const struct call *call)
{
    ht_assert(call->n_requests > 0);
    *w = (struct writer){.ops = ops, .stream = call->stream};
    str_copy(w->model, sizeof w->model, call->requests[0]->model);
}

static void add_usage(struct writer *w, const struct gen_event *ev)
{
    w->usage.prompt_tokens += ev->usage.prompt_tokens;
    w->usage.cached_tokens += ev->usage.cached_tokens;
    w->usage.completion_tokens += ev->usage.completion_tokens;
    w->usage.reasoning_tokens += ev->usage.reasoning_tokens;
    w->timings.queue_ns += ev->timings.queue_ns;
    w->timings.prefill_ns += ev->timings.prefill_ns;
    w->timings.decode_ns += ev->timings.decode_ns;
    w->timings.prefill_tokens += ev->timings.prefill_tokens;
    w->timings.decode_tokens += ev->timings.decode_tokens;
}

enum err writer_event(struct writer *w, size_t part, const struct gen_event *ev, struct buf *out)
{
    switch (ev->type) {
    case GEN_EV_ROUTED:
    case GEN_EV_LOADING:
    case GEN_EV_QUEUED:
    case GEN_EV_ERROR: return OK; /* no part of an answer */
    case GEN_EV_TOKENS: return w->ops->tokens ? w->ops->tokens(w, part, ev) : OK;
    case GEN_EV_DONE: add_usage(w, ev); break;
    case GEN_EV_STARTED:
        /* Every piece of an answer names the same model: the first one settles it. */
        if (ev->model && !w->started) str_copy(w->model, sizeof w->model, ev->model);
        w->started = true;
        break;
    default: break;
    }
    return w->ops->event(w, part, ev, out);
}

enum err writer_finish(struct writer *w, struct buf *out)
{
    return w->ops->finish(w, out);
}

void writer_free(struct writer *w)
{
    w->ops->free(w);
}

void write_json_string(struct buf *out, const char *s, size_t len)
{
    struct jw w;
    jw_init(&w, out);
    jw_strn(&w, s, len);
}

void write_sse_note(struct writer *w, const struct wait_note *note, struct buf *out)
{
    (void)w;
    if (note->what == WAIT_LOADING)
        buf_printf(out, ": loading %.2f\n\n", (double)note->fraction);
    else if (note->wait_ms >= 0)
        buf_printf(out, ": queued position=%d wait_ms=%lld\n\n", note->position,
                   (long long)note->wait_ms);
    else
        buf_printf(out, ": queued position=%d\n\n", note->position);
}

void write_response_usage(struct jw *w, int64_t input, int64_t cached, int64_t output,
                          int64_t reasoning)
{
    jw_obj(w);
    jw_kint(w, "input_tokens", input);
    jw_key(w, "input_tokens_details");
    jw_obj(w);
    jw_kint(w, "cache_write_tokens", 0); /* keeping them costs nothing */
    jw_kint(w, "cached_tokens", cached);
    jw_obj_end(w);
    jw_kint(w, "output_tokens", output);
    jw_key(w, "output_tokens_details");
    jw_obj(w);
    jw_kint(w, "reasoning_tokens", reasoning);
    jw_obj_end(w);
    jw_kint(w, "total_tokens", input + output);
    jw_obj_end(w);
}

/* ---- log probabilities --------------------------------------------------------------------- */

void write_logprob(struct buf *out, float logprob)
{
    if (isfinite(logprob) && logprob > -9999)
        buf_printf(out, "%.7g", (double)logprob);
    else
        buf_puts(out, "-9999");
}

void write_logprob_alt(struct buf *out, const struct logprob_alt *alt)
{
    buf_puts(out, "\"token\":");
    write_json_string(out, alt->text, alt->len);
    buf_puts(out, ",\"logprob\":");
    write_logprob(out, alt->logprob);
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < alt->len; i++)
        buf_printf(out, i ? ",%u" : "%u", (unsigned)(unsigned char)alt->text[i]);
    buf_putc(out, ']');
}

void write_logprobs(struct buf *out, const struct token_logprob *logprobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (out->len && out->data[out->len - 1] == '}') buf_putc(out, ',');
        buf_putc(out, '{');
        write_logprob_alt(out, &logprobs[i].chosen);
        buf_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 0; k < logprobs[i].n_top; k++) {
            buf_puts(out, k ? ",{" : "{");
            write_logprob_alt(out, &logprobs[i].top[k]);
            buf_putc(out, '}');
        }
        buf_puts(out, "]}");
    }
}
