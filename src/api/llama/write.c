/* Raw completions in llama-server's shape, as events or whole: see writer.h. Choices are numbered
 * prompt by prompt, n of each. A stream's last event of a choice has all the numbers and no text;
 * there is no [DONE] behind it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/llama/llama_int.h"
#include "api/openai/writer.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

struct choice {
    struct buf text;   /* whole */
    struct buf probs;  /* objects, comma-separated; stream: of the next piece */
    struct buf tokens; /* ids, comma-separated; stream: of the next piece */
    int64_t n_tokens;
    enum finish_reason finish;
    struct buf stop; /* the stop text that ended it; "" = none */
    bool has_newline;
};

/* One prompt. */
struct part {
    char *prompt;   /* "" of tokens */
    char *settings; /* JSON */
    struct usage usage;
    struct timings timings;
};

struct lserver_writer {
    struct writer base;
    struct completion_wish wish;
    bool probs;
    size_t n, n_parts; /* choices of each */
    struct part *parts;
    struct choice choices[];
};

/* ---- parts of an answer -------------------------------------------------------------------- */

static void write_numbers(struct jw *w, const struct sampling *s)
{
    jw_kdouble(w, "temperature", (double)s->temperature);
    jw_kint(w, "top_k", s->top_k);
    jw_kdouble(w, "top_p", (double)s->top_p);
    jw_kdouble(w, "min_p", (double)s->min_p);
    jw_kint(w, "repeat_last_n", s->repeat_last_n);
    jw_kdouble(w, "repeat_penalty", (double)s->repeat_penalty);
    jw_kdouble(w, "presence_penalty", (double)s->presence_penalty);
    jw_kdouble(w, "frequency_penalty", (double)s->frequency_penalty);
    /* What this hub has not, in the values that switch it off. */
    jw_kdouble(w, "dynatemp_range", 0);
    jw_kdouble(w, "dynatemp_exponent", 1);
    jw_kdouble(w, "top_n_sigma", -1);
    jw_kdouble(w, "xtc_probability", 0);
    jw_kdouble(w, "typical_p", 1);
    jw_kdouble(w, "dry_multiplier", 0);
    jw_kint(w, "mirostat", 0);
}

void write_settings(struct jw *w, const struct gen_request *req, bool stream)
{
    const struct sampling *s = &req->sampling;
    jw_obj(w);
    jw_kint(w, "seed", s->seed);
    write_numbers(w, s);
    jw_key(w, "stop");
    jw_arr(w);
    for (size_t i = 0; i < req->n_stop; i++) jw_str(w, req->stop[i]);
    jw_arr_end(w);
    jw_kint(w, "max_tokens", req->max_tokens);
    jw_kint(w, "n_predict", req->max_tokens);
    jw_kint(w, "n_keep", 0);
    jw_kbool(w, "ignore_eos", s->ignore_eos);
    jw_kbool(w, "stream", stream);
    jw_key(w, "logit_bias");
    jw_arr(w);
    for (size_t i = 0; i < s->n_logit_bias; i++) {
        jw_obj(w);
        jw_kint(w, "token", s->logit_bias[i].token);
        jw_kdouble(w, "bias", (double)s->logit_bias[i].bias);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_kint(w, "n_probs", s->top_logprobs);
    jw_kstr(w, "grammar", req->grammar ? req->grammar : "");
    jw_obj_end(w);
}

static void write_rate(struct jw *w, const char *of, int64_t n, int64_t ns)
{
    char name[40];
    double ms = (double)ns / 1e6;
    str_printf(name, sizeof name, "%s_n", of);
    jw_kint(w, name, n);
    str_printf(name, sizeof name, "%s_ms", of);
    jw_kdouble(w, name, ms);
    str_printf(name, sizeof name, "%s_per_token_ms", of);
    jw_kdouble(w, name, n > 0 ? ms / (double)n : 0);
    str_printf(name, sizeof name, "%s_per_second", of);
    jw_kdouble(w, name, ns > 0 ? (double)n * 1e9 / (double)ns : 0);
}

static void write_timings(struct jw *w, const struct part *p)
{
    jw_key(w, "timings");
    jw_obj(w);
    jw_kint(w, "cache_n", p->usage.cached_tokens);
    write_rate(w, "prompt", p->timings.prefill_tokens, p->timings.prefill_ns);
    write_rate(w, "predicted", p->timings.decode_tokens, p->timings.decode_ns);
    jw_obj_end(w);
}

static const char *stop_type(const struct choice *c)
{
    switch (c->finish) {
    case FINISH_STOP: return c->stop.len ? "word" : "eos";
    case FINISH_LENGTH: return "limit";
    case FINISH_TOOL_CALLS:
    case FINISH_CANCELLED: break;
    }
    return "none";
}

static void write_list(struct jw *w, const char *name, const struct buf *items)
{
    jw_key(w, name);
    jw_arr(w);
    if (items->len) jw_raw(w, items->data, items->len);
    jw_arr_end(w);
}

/* The whole answer of a choice, or the last event of it, which has no text. */
static void write_result(const struct lserver_writer *w, size_t i, struct jw *jw)
{
    const struct choice *c = &w->choices[i];
    const struct part *p = &w->parts[i / w->n];
    bool whole = !w->base.stream;
    static const struct buf none;
    jw_obj(jw);
    jw_kint(jw, "index", (int64_t)i);
    jw_key(jw, "content");
    jw_strn(jw, buf_str(&c->text), whole ? c->text.len : 0);
    write_list(jw, "tokens", whole && w->wish.return_tokens ? &c->tokens : &none);
    jw_kint(jw, "id_slot", -1);
    jw_kbool(jw, "stop", true);
    jw_kstr(jw, "model", w->base.model);
    jw_kint(jw, "tokens_predicted", c->n_tokens);
    jw_kint(jw, "tokens_evaluated", p->usage.prompt_tokens);
    jw_kraw(jw, "generation_settings", p->settings);
    jw_kstr(jw, "prompt", p->prompt);
    jw_kbool(jw, "has_new_line", c->has_newline);
    jw_kbool(jw, "truncated", false);
    jw_kstr(jw, "stop_type", stop_type(c));
    jw_kstr(jw, "stopping_word", buf_str(&c->stop));
    jw_kint(jw, "tokens_cached", p->usage.prompt_tokens + c->n_tokens);
    write_timings(jw, p);
    if (whole && w->probs) write_list(jw, "completion_probabilities", &c->probs);
    jw_obj_end(jw);
}

/* "timings/prompt_n" is a member of a member. */
static const json_t *find_path(const json_t *v, const char *path)
{
    char name[128];
    while (v && *path) {
        size_t len = strcspn(path, "/");
        if (len >= sizeof name) return NULL;
        memcpy(name, path, len);
        name[len] = '\0';
        v = json_object_get(v, name);
        path += len + (path[len] == '/');
    }
    return v;
}

/* Only the members that are asked for, by the names they are asked for. */
static enum err write_some(const struct lserver_writer *w, size_t i, struct buf *out)
{
    struct buf all;
    struct jw jw;
    json_t *v;
    buf_init(&all, ANSWER_BYTES_MAX);
    jw_init(&jw, &all);
    write_result(w, i, &jw);
    enum err e = all.err ? all.err : json_parse(all.data, all.len, &v, NULL);
    buf_free(&all);
    if (e) return e;
    jw_init(&jw, out);
    jw_obj(&jw);
    for (size_t k = 0; k < json_array_size(w->wish.response_fields); k++) {
        const char *path = json_string_value(json_array_get(w->wish.response_fields, k));
        const json_t *member = find_path(v, path);
        if (!member) continue;
        jw_kjson(&jw, path, member);
    }
    jw_obj_end(&jw);
    json_decref(v);
    return out->err;
}

static enum err write_one(const struct lserver_writer *w, size_t i, struct buf *out)
{
    struct jw jw;
    if (w->wish.response_fields) return write_some(w, i, out);
    jw_init(&jw, out);
    write_result(w, i, &jw);
    return out->err;
}

/* ---- log probabilities --------------------------------------------------------------------- */

static void write_alternative(struct buf *out, const struct logprob_alt *alt)
{
    buf_printf(out, "\"id\":%d,\"token\":", alt->token);
    write_json_string(out, alt->text, alt->len);
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < alt->len; i++)
        buf_printf(out, i ? ",%u" : "%u", (unsigned)(unsigned char)alt->text[i]);
    buf_puts(out, "],\"logprob\":");
    write_logprob(out, alt->logprob);
}

static void add_probs(struct buf *out, const struct gen_event *ev)
{
    for (size_t i = 0; i < ev->n_logprobs; i++) {
        const struct token_logprob *t = &ev->logprobs[i];
        buf_puts(out, out->len ? ",{" : "{");
        write_alternative(out, &t->chosen);
        buf_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 0; k < t->n_top; k++) {
            buf_puts(out, k ? ",{" : "{");
            write_alternative(out, &t->top[k]);
            buf_putc(out, '}');
        }
        buf_puts(out, "]}");
    }
}

/* ---- events -------------------------------------------------------------------------------- */

static void stream_text(struct lserver_writer *w, size_t i, const struct gen_event *ev,
                        struct buf *out)
{
    struct choice *c = &w->choices[i];
    struct jw jw;
    buf_puts(out, "data: ");
    jw_init(&jw, out);
    jw_obj(&jw);
    jw_kint(&jw, "index", (int64_t)i);
    jw_key(&jw, "content");
    jw_strn(&jw, ev->text, ev->text_len);
    write_list(&jw, "tokens", &c->tokens);
    jw_kbool(&jw, "stop", false);
    jw_kint(&jw, "id_slot", -1);
    jw_kint(&jw, "tokens_predicted", c->n_tokens);
    jw_kint(&jw, "tokens_evaluated", w->parts[i / w->n].usage.prompt_tokens);
    if (w->probs) write_list(&jw, "completion_probabilities", &c->probs);
    jw_obj_end(&jw);
    buf_puts(out, "\n\n");
    buf_clear(&c->tokens);
    buf_clear(&c->probs);
}

static enum err on_text(struct lserver_writer *w, size_t i, const struct gen_event *ev,
                        struct buf *out)
{
    struct choice *c = &w->choices[i];
    if (w->wish.warm || (!ev->text_len && !ev->n_logprobs)) return OK;
    c->has_newline |= memchr(ev->text, '\n', ev->text_len) != NULL;
    if (w->probs) add_probs(&c->probs, ev);
    if (w->base.stream)
        stream_text(w, i, ev, out);
    else
        buf_append(&c->text, ev->text, ev->text_len);
    return c->text.err ? c->text.err : c->probs.err ? c->probs.err : out->err;
}

static enum err on_end(struct lserver_writer *w, size_t i, const struct gen_event *ev)
{
    struct choice *c = &w->choices[i];
    c->finish = ev->finish;
    return ev->stop ? buf_puts(&c->stop, ev->stop) : OK;
}

/* The numbers of a prompt are complete. Providers that tell no tokens tell how many there were. */
static enum err on_done(struct lserver_writer *w, size_t part, const struct gen_event *ev,
                        struct buf *out)
{
    struct part *p = &w->parts[part];
    enum err e = OK;
    p->usage = ev->usage;
    p->timings = ev->timings;
    for (size_t k = 0; k < w->n && !e; k++) {
        struct choice *c = &w->choices[part * w->n + k];
        if (w->wish.warm)
            c->n_tokens = 0;
        else if (!c->n_tokens && w->n == 1)
            c->n_tokens = ev->usage.completion_tokens;
        if (!w->base.stream) continue;
        buf_puts(out, "data: ");
        e = write_one(w, part * w->n + k, out);
        buf_puts(out, "\n\n");
    }
    return e ? e : out->err;
}

static size_t choice_of(const struct lserver_writer *w, size_t part, const struct gen_event *ev)
{
    ht_assert(part < w->n_parts && ev->choice >= 0 && (size_t)ev->choice < w->n);
    return part * w->n + (size_t)ev->choice;
}

static enum err lserver_tokens(struct writer *base, size_t part, const struct gen_event *ev)
{
    struct lserver_writer *w = container_of(base, struct lserver_writer, base);
    struct choice *c = &w->choices[choice_of(w, part, ev)];
    c->n_tokens += (int64_t)ev->n_tokens;
    if (!base->stream && !w->wish.return_tokens) return OK;
    for (size_t i = 0; i < ev->n_tokens; i++)
        buf_printf(&c->tokens, c->tokens.len ? ",%d" : "%d", ev->tokens[i]);
    return c->tokens.err;
}

static enum err lserver_event(struct writer *base, size_t part, const struct gen_event *ev,
                              struct buf *out)
{
    struct lserver_writer *w = container_of(base, struct lserver_writer, base);
    switch (ev->type) {
    case GEN_EV_STARTED: w->parts[part].usage = ev->usage; return OK;
    case GEN_EV_TEXT: return on_text(w, choice_of(w, part, ev), ev, out);
    case GEN_EV_CHOICE_END: return on_end(w, choice_of(w, part, ev), ev);
    case GEN_EV_DONE: return on_done(w, part, ev, out);
    default: return OK; /* a raw prompt is not parsed: whatever comes is text */
    }
}

static enum err lserver_finish(struct writer *base, struct buf *out)
{
    struct lserver_writer *w = container_of(base, struct lserver_writer, base);
    size_t n = w->n * w->n_parts;
    enum err e = OK;
    if (base->stream) return OK;
    if (n == 1) return write_one(w, 0, out);
    buf_putc(out, '[');
    for (size_t i = 0; i < n && !e; i++) {
        if (i) buf_putc(out, ',');
        e = write_one(w, i, out);
    }
    return e ? e : buf_putc(out, ']');
}

static void lserver_fail(struct writer *base, const struct error *error, const char *request_id,
                         struct buf *out)
{
    (void)base;
    buf_puts(out, "data: ");
    error_llama.write(out, error, request_id);
    buf_puts(out, "\n\n");
}

static void lserver_free(struct writer *base)
{
    struct lserver_writer *w = container_of(base, struct lserver_writer, base);
    for (size_t i = 0; i < w->n * w->n_parts; i++) {
        buf_free(&w->choices[i].text);
        buf_free(&w->choices[i].probs);
        buf_free(&w->choices[i].tokens);
        buf_free(&w->choices[i].stop);
    }
    for (size_t i = 0; i < w->n_parts; i++) {
        free(w->parts[i].prompt);
        free(w->parts[i].settings);
    }
    json_decref(w->wish.response_fields);
    free(w->parts);
    free(w);
}

static const struct writer_ops lserver_ops = {
    .name = "llama",
    .stream_type = "text/event-stream",
    .errors = &error_llama,
    .event = lserver_event,
    .tokens = lserver_tokens,
    .finish = lserver_finish,
    .fail = lserver_fail,
    .note = write_sse_note,
    .free = lserver_free,
};

static char *settings_of(const struct gen_request *req, bool stream)
{
    struct buf text;
    struct jw w;
    buf_init(&text, ANSWER_BYTES_MAX);
    jw_init(&w, &text);
    write_settings(&w, req, stream);
    char *s = text.err ? xstrdup("{}") : buf_take(&text);
    buf_free(&text);
    return s;
}

struct writer *lserver_writer_new(const struct call *call, const struct completion_wish *wish)
{
    size_t n = (size_t)call->requests[0]->n, total = n * call->n_requests;
    struct lserver_writer *w = xcalloc(1, sizeof *w + total * sizeof w->choices[0]);
    writer_init(&w->base, &lserver_ops, call);
    w->wish = *wish;
    w->probs = call->requests[0]->sampling.logprobs;
    w->n = n;
    w->n_parts = call->n_requests;
    w->parts = xcalloc(w->n_parts, sizeof *w->parts);
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct gen_request *req = call->requests[i];
        w->parts[i].prompt = xstrdup(req->prompt ? req->prompt : "");
        w->parts[i].settings = settings_of(req, call->stream);
    }
    for (size_t i = 0; i < total; i++) {
        buf_init(&w->choices[i].text, ANSWER_BYTES_MAX);
        buf_init(&w->choices[i].probs, ANSWER_BYTES_MAX);
        buf_init(&w->choices[i].tokens, ANSWER_BYTES_MAX);
        buf_init(&w->choices[i].stop, ANSWER_BYTES_MAX);
    }
    return &w->base;
}
