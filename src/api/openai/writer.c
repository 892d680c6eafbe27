/* What the writers of chats and of raw completions share: see writer.h. */
#include "api/openai/writer.h"

#include <math.h>
#include <stdlib.h>

#include "api/openai/openai_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "base/str.h"

void openai_writer_init(struct openai_writer *w, const struct writer_ops *ops, const char *object,
                        const char *id_prefix, const struct call *call)
{
    const struct gen_request *first = call->requests[0];
    *w = (struct openai_writer){
        .object = object,
        .include_usage = call->include_usage,
        .timings_wanted = call->timings,
        .logprobs = first->sampling.logprobs,
        .n_choices = call->n_requests * (size_t)first->n,
        .created_s = clock_wall_s(),
    };
    writer_init(&w->base, ops, call);
    id_make(w->id, sizeof w->id, id_prefix);
    buf_init(&w->prefix, 4096);
}

void openai_writer_deinit(struct openai_writer *w)
{
    buf_free(&w->prefix);
}

const char *openai_writer_id(const struct writer *base)
{
    return container_of(base, struct openai_writer, base)->id;
}

void openai_writer_twin(struct writer *base, const struct writer *of)
{
    struct openai_writer *w = container_of(base, struct openai_writer, base);
    const struct openai_writer *first = container_of(of, struct openai_writer, base);
    str_copy(w->id, sizeof w->id, first->id);
    w->created_s = first->created_s;
}

void openai_write_failure(struct writer *base, const struct error *error, const char *request_id,
                          struct buf *out)
{
    (void)base;
    buf_puts(out, "data: ");
    error_openai.write(out, error, request_id);
    buf_puts(out, "\n\ndata: [DONE]\n\n");
}

/* ---- pieces -------------------------------------------------------------------------------- */

const char *finish_word(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_STOP: return "stop";
    case FINISH_TOOL_CALLS: return "tool_calls";
    case FINISH_LENGTH: break;
    case FINISH_CANCELLED: break; /* OpenAI has no word for it; the answer was cut, as by length */
    }
    return "length";
}

/* {"id":...,"system_fingerprint":... without the closing brace. */
static void write_head(struct openai_writer *w, struct jw *jw)
{
    jw_obj(jw);
    jw_kstr(jw, "id", w->id);
    jw_kstr(jw, "object", w->object);
    jw_kint(jw, "created", w->created_s);
    jw_kstr(jw, "model", w->base.model);
    jw_kstr(jw, "system_fingerprint", "hearth-" HEARTH_VERSION);
}

static void write_usage(const struct usage *u, struct jw *jw)
{
    jw_key(jw, "usage");
    jw_obj(jw);
    jw_kint(jw, "prompt_tokens", u->prompt_tokens);
    jw_kint(jw, "completion_tokens", u->completion_tokens);
    jw_kint(jw, "total_tokens", (int64_t)u->prompt_tokens + u->completion_tokens);
    jw_key(jw, "prompt_tokens_details");
    jw_obj(jw);
    jw_kint(jw, "cached_tokens", u->cached_tokens);
    jw_obj_end(jw);
    jw_key(jw, "completion_tokens_details");
    jw_obj(jw);
    jw_kint(jw, "reasoning_tokens", u->reasoning_tokens);
    jw_obj_end(jw);
    jw_obj_end(jw);
}

static double ms(int64_t ns)
{
    return round((double)ns / 1e3) / 1e3;
}

static double per_second(int32_t n, int64_t ns)
{
    return ns > 0 ? round((double)n * 1e11 / (double)ns) / 100 : 0;
}

static void write_timings(const struct openai_writer *w, struct jw *jw)
{
    const struct timings *t = &w->base.timings;
    jw_key(jw, "timings");
    jw_obj(jw);
    jw_kdouble(jw, "queue_ms", ms(t->queue_ns));
    jw_kint(jw, "cache_n", w->base.usage.cached_tokens);
    jw_kint(jw, "prompt_n", t->prefill_tokens);
    jw_kdouble(jw, "prompt_ms", ms(t->prefill_ns));
    jw_kdouble(jw, "prompt_per_second", per_second(t->prefill_tokens, t->prefill_ns));
    jw_kint(jw, "predicted_n", t->decode_tokens);
    jw_kdouble(jw, "predicted_ms", ms(t->decode_ns));
    jw_kdouble(jw, "predicted_per_second", per_second(t->decode_tokens, t->decode_ns));
    jw_obj_end(jw);
}

/* ---- chunks -------------------------------------------------------------------------------- */

static void make_prefix(struct openai_writer *w)
{
    struct jw jw;
    buf_puts(&w->prefix, "data: ");
    jw_init(&jw, &w->prefix);
    write_head(w, &jw);
    buf_puts(&w->prefix, ",\"choices\":[{\"index\":");
}

void writer_open_chunk(struct openai_writer *w, struct buf *out, size_t choice)
{
    if (!w->prefix.len) make_prefix(w);
    if (w->prefix.err) out->err = w->prefix.err;
    buf_append(out, w->prefix.data, w->prefix.len);
    if (choice < 10)
        buf_putc(out, (char)('0' + choice));
    else
        buf_printf(out, "%zu", choice);
}

void writer_close_chunk(struct openai_writer *w, struct buf *out, const char *finish)
{
    if (finish)
        buf_printf(out, ",\"finish_reason\":\"%s\"}]", finish);
    else
        buf_puts(out, ",\"finish_reason\":null}]");
    buf_puts(out, w->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

void writer_last_chunks(struct openai_writer *w, struct buf *out)
{
    if (w->include_usage || w->timings_wanted) {
        struct jw jw;
        buf_puts(out, "data: ");
        jw_init(&jw, out);
        write_head(w, &jw);
        jw_key(&jw, "choices");
        jw_arr(&jw);
        jw_arr_end(&jw);
        if (w->include_usage) write_usage(&w->base.usage, &jw);
        if (w->timings_wanted) write_timings(w, &jw);
        jw_obj_end(&jw);
        buf_puts(out, "\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

/* ---- whole --------------------------------------------------------------------------------- */

void writer_whole_begin(struct openai_writer *w, struct jw *jw)
{
    write_head(w, jw);
    jw_key(jw, "choices");
    jw_arr(jw);
}

void writer_whole_end(struct openai_writer *w, struct jw *jw)
{
    jw_arr_end(jw);
    write_usage(&w->base.usage, jw);
    if (w->timings_wanted) write_timings(w, jw);
    jw_obj_end(jw);
}
