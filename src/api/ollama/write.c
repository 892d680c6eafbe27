/* Answers of /api/chat and /api/generate, as lines or whole; and errors. See api/writer.h.
 *
 * A tool call goes out in one piece, when its arguments are complete; one that was cut off half-way
 * (max_tokens) is left out, since half an object is none. */
#include <stdlib.h>
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- errors -------------------------------------------------------------------------------- */

static void write_error(struct buf *out, const struct error *error, const char *request_id)
{
    (void)request_id; /* in the header; clients show the whole member */
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "error", error->msg);
    jw_obj_end(&w);
}

/* A full queue is 503 there. */
static int status_of(const struct error *error)
{
    return error->code == ERR_BUSY ? 503 : err_http_status(error->code);
}

const struct error_shape error_ollama = {
    .name = "ollama", .write = write_error, .status = status_of};

enum err ollama_no_model(struct error *error, const char *name)
{
    return err_set_param(error, ERR_NO_MODEL, "/model", "model '%.200s' not found", name);
}

/* ---- the writer ---------------------------------------------------------------------------- */

struct ollama_writer {
    struct writer base;
    bool chat;
    bool keeps_context; /* the last line has it */
    bool logprobs;
    bool in_call;
    bool inserts;             /* it fills a gap */
    char model[MODEL_ID_MAX]; /* as asked: clients compare */
    int64_t started_ns;
    enum finish_reason finish;
    struct timings timings;
    struct buf text, thinking; /* whole; text also for the context */
    struct buf probs;          /* of what is to be written: objects, comma-separated */
    struct buf calls;          /* whole: objects, comma-separated */
    struct buf call_name, call_arguments;
    char call_id[64];
    int32_t n_calls;
    struct buf context; /* the request's messages */
};

static struct ollama_writer *of(struct writer *base)
{
    return container_of(base, struct ollama_writer, base);
}

void ollama_created_at(struct jw *w)
{
    char now[32];
    clock_format_utc(now, sizeof now, clock_wall_ms());
    jw_kstr(w, "created_at", now);
}

static void open_line(const struct ollama_writer *w, struct jw *jw)
{
    jw_obj(jw);
    jw_kstr(jw, "model", w->model);
    ollama_created_at(jw);
}

static void close_line(struct jw *jw, struct buf *out, bool stream)
{
    jw_obj_end(jw);
    if (stream) buf_putc(out, '\n');
}

/* ---- log probabilities --------------------------------------------------------------------- */

/* As OpenAI's (write_logprobs), but that nothing says that there are no others. */
static void add_probabilities(struct buf *out, const struct gen_event *ev)
{
    for (size_t i = 0; i < ev->n_logprobs; i++) {
        const struct token_logprob *p = &ev->logprobs[i];
        buf_puts(out, out->len ? ",{" : "{");
        write_logprob_alt(out, &p->chosen);
        if (p->n_top) buf_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 0; k < p->n_top; k++) {
            buf_puts(out, k ? ",{" : "{");
            write_logprob_alt(out, &p->top[k]);
            buf_putc(out, '}');
        }
        buf_puts(out, p->n_top ? "]}" : "}");
    }
}

static void put_probabilities(struct ollama_writer *w, struct jw *jw)
{
    if (!w->probs.len) return;
    jw_key(jw, "logprobs");
    jw_arr(jw);
    jw_raw(jw, w->probs.data, w->probs.len);
    jw_arr_end(jw);
    buf_clear(&w->probs);
}

/* ---- pieces -------------------------------------------------------------------------------- */

static void put_text(struct jw *jw, const char *name, const char *s, size_t len)
{
    jw_key(jw, name);
    jw_strn(jw, s ? s : "", len);
}

/* "message":{...} or "response":"..." */
static void put_piece(const struct ollama_writer *w, struct jw *jw, const char *text, size_t len,
                      const char *thinking, size_t thinking_len, const struct buf *calls)
{
    if (!w->chat) {
        put_text(jw, "response", text, len);
        if (thinking_len) put_text(jw, "thinking", thinking, thinking_len);
        return;
    }
    jw_key(jw, "message");
    jw_obj(jw);
    jw_kstr(jw, "role", "assistant");
    put_text(jw, "content", text, len);
    if (thinking_len) put_text(jw, "thinking", thinking, thinking_len);
    if (calls && calls->len) {
        jw_key(jw, "tool_calls");
        jw_arr(jw);
        jw_raw(jw, calls->data, calls->len);
        jw_arr_end(jw);
    }
    jw_obj_end(jw);
}

static void write_line(struct ollama_writer *w, const struct gen_event *ev, struct buf *out)
{
    struct jw jw;
    bool thinking = ev->type == GEN_EV_REASONING;
    if (w->logprobs) add_probabilities(&w->probs, ev);
    if (!ev->text_len && !w->probs.len) return;
    jw_init(&jw, out);
    open_line(w, &jw);
    put_piece(w, &jw, thinking ? "" : ev->text, thinking ? 0 : ev->text_len, ev->text,
              thinking ? ev->text_len : 0, NULL);
    jw_kbool(&jw, "done", false);
    put_probabilities(w, &jw);
    close_line(&jw, out, true);
}

/* ---- tool calls ---------------------------------------------------------------------------- */

static void end_call(struct ollama_writer *w, struct buf *out)
{
    json_t *arguments = NULL;
    struct jw jw;
    if (!w->in_call) return;
    w->in_call = false;
    if (!w->call_arguments.len) buf_puts(&w->call_arguments, "{}");
    if (json_parse(buf_str(&w->call_arguments), w->call_arguments.len, &arguments, NULL) ||
        !json_is_object(arguments)) {
        json_decref(arguments);
        return;
    }
    json_decref(arguments);
    if (w->calls.len) buf_putc(&w->calls, ',');
    jw_init(&jw, &w->calls);
    jw_obj(&jw);
    if (*w->call_id) jw_kstr(&jw, "id", w->call_id);
    jw_key(&jw, "function");
    jw_obj(&jw);
    jw_kint(&jw, "index", w->n_calls++);
    jw_kstr(&jw, "name", buf_str(&w->call_name));
    jw_key(&jw, "arguments");
    jw_raw(&jw, w->call_arguments.data, w->call_arguments.len);
    jw_obj_end(&jw);
    jw_obj_end(&jw);
    if (!w->base.stream) return;
    jw_init(&jw, out);
    open_line(w, &jw);
    put_piece(w, &jw, "", 0, NULL, 0, &w->calls);
    jw_kbool(&jw, "done", false);
    close_line(&jw, out, true);
    buf_clear(&w->calls);
}

static enum err take_call(struct ollama_writer *w, const struct gen_event *ev, struct buf *out)
{
    if (ev->tool.name) {
        end_call(w, out);
        w->in_call = true;
        buf_clear(&w->call_name);
        buf_clear(&w->call_arguments);
        buf_puts(&w->call_name, ev->tool.name);
        str_copy(w->call_id, sizeof w->call_id, ev->tool.id ? ev->tool.id : "");
    }
    return buf_append(&w->call_arguments, ev->tool.arguments, ev->tool.arguments_len);
}

/* ---- ops ----------------------------------------------------------------------------------- */

static enum err take_text(struct ollama_writer *w, const struct gen_event *ev, struct buf *out)
{
    bool thinking = ev->type == GEN_EV_REASONING;
    if (w->base.stream) {
        write_line(w, ev, out);
        if (thinking || !w->keeps_context) return out->err;
    } else if (w->logprobs) {
        add_probabilities(&w->probs, ev);
    }
    struct buf *to = thinking ? &w->thinking : &w->text;
    enum err err = buf_append(to, ev->text, ev->text_len);
    return err ? err : w->probs.err;
}

static enum err on_event(struct writer *base, size_t part, const struct gen_event *ev,
                         struct buf *out)
{
    struct ollama_writer *w = of(base);
    ht_assert(part == 0);
    switch (ev->type) {
    case GEN_EV_TEXT:
    case GEN_EV_REASONING: return take_text(w, ev, out);
    case GEN_EV_TOOL_CALL: return take_call(w, ev, out);
    case GEN_EV_CHOICE_END:
        end_call(w, out);
        w->finish = ev->finish;
        break;
    case GEN_EV_DONE: w->timings = ev->timings; break;
    default: break;
    }
    return out->err ? out->err : w->calls.err;
}

static void put_numbers(const struct ollama_writer *w, struct jw *jw)
{
    jw_kint(jw, "total_duration", clock_mono_ns() - w->started_ns);
    jw_kint(jw, "load_duration", w->timings.load_ns);
    jw_kint(jw, "prompt_eval_count", w->base.usage.prompt_tokens);
    jw_kint(jw, "prompt_eval_duration", w->timings.prefill_ns);
    jw_kint(jw, "eval_count", w->base.usage.completion_tokens);
    jw_kint(jw, "eval_duration", w->timings.decode_ns);
}

static enum err on_finish(struct writer *base, struct buf *out)
{
    struct ollama_writer *w = of(base);
    bool stream = base->stream;
    struct jw jw;
    jw_init(&jw, out);
    open_line(w, &jw);
    put_piece(w, &jw, w->text.data, stream ? 0 : w->text.len, w->thinking.data, w->thinking.len,
              &w->calls);
    jw_kbool(&jw, "done", true);
    jw_kstr(&jw, "done_reason", w->finish == FINISH_LENGTH ? "length" : "stop");
    if (w->keeps_context) {
        struct buf numbers;
        buf_init(&numbers, ANSWER_BYTES_MAX);
        ollama_context_write(&numbers, &w->context, buf_str(&w->text), w->text.len);
        jw_key(&jw, "context");
        jw_raw(&jw, buf_str(&numbers), numbers.len);
        if (numbers.err) out->err = numbers.err;
        buf_free(&numbers);
    }
    put_numbers(w, &jw);
    put_probabilities(w, &jw);
    close_line(&jw, out, stream);
    return out->err;
}

static void on_fail(struct writer *base, const struct error *error, const char *request_id,
                    struct buf *out)
{
    (void)base;
    error_ollama.write(out, error, request_id);
    buf_putc(out, '\n');
}

static void reword(const struct writer *base, struct error *error)
{
    const struct ollama_writer *w = container_of(base, struct ollama_writer, base);
    if (error->code == ERR_NO_MODEL) ollama_no_model(error, w->model);
    if (w->inserts && error->code == ERR_UNSUPPORTED && str_eq(error->param, "/model"))
        err_set_param(error, ERR_INVALID, "/suffix", "%.200s does not support insert", w->model);
}

static void on_free(struct writer *base)
{
    struct ollama_writer *w = of(base);
    struct buf *all[] = {&w->text,      &w->thinking,       &w->probs,  &w->calls,
                         &w->call_name, &w->call_arguments, &w->context};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
    free(w);
}

static const struct writer_ops ops = {
    .name = "ollama",
    .stream_type = NDJSON,
    .errors = &error_ollama,
    .event = on_event,
    .finish = on_finish,
    .fail = on_fail,
    .reword = reword,
    .free = on_free,
};

struct writer *ollama_writer_new(const struct ollama_call *call, bool chat)
{
    struct ollama_writer *w = xcalloc(1, sizeof *w);
    const struct gen_request *req = call->call.requests[0];
    writer_init(&w->base, &ops, &call->call);
    w->chat = chat;
    w->logprobs = req->sampling.logprobs;
    w->inserts = call->call.questions != NULL;
    w->keeps_context = !chat && req->kind == GEN_CHAT;
    w->started_ns = clock_mono_ns();
    str_copy(w->model, sizeof w->model, call->model);
    struct buf *all[] = {&w->text,      &w->thinking,       &w->probs,  &w->calls,
                         &w->call_name, &w->call_arguments, &w->context};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_init(all[i], ANSWER_BYTES_MAX);
    if (w->keeps_context) ollama_context_keep(&w->context, req);
    return &w->base;
}
