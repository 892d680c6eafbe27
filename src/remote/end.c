/* What an attempt brings: the answer's head and body as they come, what it all came to, and the
 * listener's last event. By the thread that drives the call. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/core_int.h"

enum { BEHIND_MAX = 64 << 10 }; /* bytes behind an answer's end, until its connection is let go */

/* ---- the listener's events ----------------------------------------------------------------- */

static void on_decoded(void *ctx, struct gen_event *ev)
{
    struct call *c = ctx;
    if (!c->first_ns) c->first_ns = clock_mono_ns();
    if (!c->told) c->gen.fn(c->ctx, ev);
}

void call_decode_init(struct call *c)
{
    decode_init(&c->gen.decode, c->r->protocol, c->r->name, c->gen.kind, c->gen.n, c->gen.model,
                on_decoded, c);
}

static void fill_timings(const struct call *c, const struct usage *usage, struct timings *t)
{
    int64_t now = clock_mono_ns(), first = c->first_ns ? c->first_ns : now;
    int64_t sent = c->sent_ns ? c->sent_ns : now;
    *t = (struct timings){
        .queue_ns = sent - c->arrived_ns,
        .prefill_ns = first - sent,
        .decode_ns = now - first,
        .first_token_ns = c->first_ns ? c->first_ns - c->arrived_ns : 0,
        .prefill_tokens = usage->prompt_tokens - usage->cached_tokens,
        .decode_tokens = usage->completion_tokens,
    };
}

/* As soon as the server has said that this was all: the end of its body may be late. */
static void tell_done(struct call *c)
{
    struct gen_event ev = {.type = GEN_EV_DONE, .estimated = !decode_usage_told(&c->gen.decode)};
    if (c->told) return;
    decode_usage_sum(&c->gen.decode, c->gen.text_bytes, &ev.usage);
    fill_timings(c, &ev.usage, &ev.timings);
    ev.model = decode_model_name(&c->gen.decode);
    c->told = true;
    call_good(c);
    c->gen.fn(c->ctx, &ev);
}

static void tell_generated(struct call *c)
{
    if (c->failed.code == OK) {
        tell_done(c);
        return;
    }
    struct gen_event ev = {.type = GEN_EV_ERROR, .error = &c->failed};
    if (decode_has_started(&c->gen.decode)) {
        decode_usage_sum(&c->gen.decode, c->gen.text_bytes, &ev.usage);
        fill_timings(c, &ev.usage, &ev.timings);
    }
    c->told = true;
    c->gen.fn(c->ctx, &ev);
}

static void tell_embedded(struct call *c)
{
    struct embed_result result = {.error = &c->failed};
    const struct embed_rows *rows = &c->embed.rows;
    if (c->failed.code == OK)
        result = (struct embed_result){.model = *rows->model ? rows->model : c->embed.model,
                                       .vectors = rows->vectors,
                                       .n_inputs = rows->n,
                                       .n_dims = rows->dims,
                                       .prompt_tokens = rows->prompt_tokens};
    c->told = true;
    c->embed.fn(c->ctx, &result);
}

void call_tell_end(struct call *c)
{
    if (c->told) return;
    if (c->kind == CALL_GENERATE)
        tell_generated(c);
    else if (c->kind == CALL_EMBED)
        tell_embedded(c);
    else
        control_tell_end(c);
    c->told = true;
}

/* ---- the answer as it comes ---------------------------------------------------------------- */

static bool is_good(const struct call *c)
{
    return c->status >= 200 && c->status < 300;
}

bool call_on_response(struct call *c, const struct httpc_response *r)
{
    c->status = r->status;
    c->retry_after_ms = is_good(c) ? 0 : retry_after_ms(r);
    if (!is_good(c) || c->kind != CALL_GENERATE) return true;
    c->hopeless = decode_type(&c->gen.decode, r->header(r, "Content-Type"), &c->failed) != OK;
    return !c->hopeless;
}

bool call_on_data(struct call *c, const char *data, size_t len)
{
    if (c->kind == CALL_GENERATE && is_good(c)) {
        if (c->told) return (c->gen.behind += len) <= BEHIND_MAX;
        if (decode_feed(&c->gen.decode, data, len, &c->failed)) return false;
        if (!decode_is_done(&c->gen.decode)) return true;
        tell_done(c);
        call_let_go(c);
        return true;
    }
    size_t max = is_good(c) ? REMOTE_ANSWER_MAX : REMOTE_ERROR_MAX;
    if (len > max - c->body.len) {
        if (!is_good(c)) return true; /* the beginning is enough */
        err_set(&c->failed, ERR_UPSTREAM, "%s sent more than %d MiB", c->r->name,
                REMOTE_ANSWER_MAX >> 20);
        return false;
    }
    if (buf_append(&c->body, data, len) == OK) return true;
    err_set(&c->failed, ERR_NOMEM, "no memory for the answer of %s", c->r->name);
    return false;
}

/* ---- what it came to ----------------------------------------------------------------------- */

static void judge_status(struct call *c)
{
    struct remote_failure f = {.status = c->status};
    json_t *body = NULL;
    if (c->body.len && json_parse(buf_str(&c->body), c->body.len, &body, NULL) == OK) {
        if (c->r->protocol->failure)
            c->r->protocol->failure(body, &f);
        else
            failure_read(body, &f);
        json_decref(body);
    }
    (void)remote_fail(c->r->name, &f, &c->failed);
    if (c->retry_after_ms) c->failed.retry_after_s = (int32_t)((c->retry_after_ms + 999) / 1000);
}

static enum err read_rows(struct call *c, const json_t *body)
{
    const struct protocol *p = c->r->protocol;
    struct embed_rows *rows = &c->embed.rows;
    enum err e =
        rows->scores ? p->reranked(body, rows, &c->failed) : p->embedded(body, rows, &c->failed);
    return e ? e : rows_complete(rows, &c->failed);
}

static void judge_body(struct call *c)
{
    struct error why;
    json_t *body;
    enum err e = json_parse(buf_str(&c->body), c->body.len, &body, &why);
    if (e) {
        err_set(&c->failed, e == ERR_NOMEM ? e : ERR_UPSTREAM, "%s sent bad JSON: %s", c->r->name,
                why.msg);
        return;
    }
    if (c->kind == CALL_EMBED)
        c->failed.code = read_rows(c, body);
    else
        control_read(c, body);
    json_decref(body);
}

void call_judge(struct call *c, const struct error *error)
{
    if (c->told) { /* the server has said all; how its connection ended is of no interest */
        c->failed = (struct error){.code = OK};
        return;
    }
    if (c->failed.code) return; /* that is why we stopped it */
    if (error) {
        c->failed = *error;
        err_prefix(&c->failed, "%s", c->r->name);
        return;
    }
    if (!is_good(c)) {
        judge_status(c);
    } else if (c->kind == CALL_GENERATE) {
        c->failed.code = decode_end(&c->gen.decode, &c->failed);
    } else {
        judge_body(c);
    }
}

bool call_may_retry(const struct call *c)
{
    if (c->kind == CALL_HEALTH || c->told || c->hopeless) return false;
    if (c->kind == CALL_GENERATE && decode_has_started(&c->gen.decode)) return false;
    return failure_may_pass(c->status, c->failed.code);
}

bool call_goes_on(struct call *c)
{
    if (c->kind != CALL_EMBED) return false;
    c->embed.at += c->embed.rows.asked;
    if (c->embed.at == c->embed.rows.n) return false;
    return embed_write(c, &c->failed) == OK;
}
