/* For tests of protocols: a request to write, a stream to read, both compared with what the API's
 * documentation shows. Header only. */
#ifndef HEARTH_TESTS_PROTOCOL_RIG_H
#define HEARTH_TESTS_PROTOCOL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "remote/core_int.h"

/* ---- requests ------------------------------------------------------------------------------ */

/* A chat with neutral settings; tests change what they are about. */
static inline struct gen_request rig_request(const struct message *messages, size_t n)
{
    return (struct gen_request){.kind = GEN_CHAT,
                                .request_id = "req-test",
                                .model = "",
                                .tenant = "",
                                .messages = messages,
                                .n_messages = n,
                                .n = 1,
                                .max_tokens = 1024,
                                .parallel_tool_calls = true,
                                .sampling = {.temperature = 0.7f,
                                             .top_p = 0.9f,
                                             .top_k = 40,
                                             .min_p = 0.05f,
                                             .repeat_penalty = 1,
                                             .repeat_last_n = 64,
                                             .seed = SEED_RANDOM}};
}

static inline struct message rig_message(enum role role, const char *content)
{
    return (struct message){.role = role, .content = content};
}

static const struct remote_env rig_env = {
    .name = "there", .base_url = "http://there", .key = "sk-test", .embed_model = ""};

static inline json_t *rig_json(const char *text)
{
    struct error error = {0};
    json_t *value = NULL;
    if (json_parse(text, strlen(text), &value, &error) != OK)
        fail_msg("no JSON (%s): %s", error.msg, text);
    return value;
}

__attribute__((unused)) static void rig_same_json(const char *got, const char *want)
{
    json_t *a = rig_json(got), *b = rig_json(want);
    bool same = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    if (!same) fail_msg("\ngot  %s\nwant %s", got, want);
}

/* The body that the protocol writes; freed by the caller with buf_free. */
__attribute__((unused)) static enum err rig_write(const struct protocol *p,
                                                  const struct gen_request *req, const char *model,
                                                  struct remote_http *http, struct error *error)
{
    *http = (struct remote_http){.method = "POST"};
    buf_init(&http->body, REMOTE_REQUEST_MAX);
    return p->generate(&rig_env, req, model, http, error);
}

__attribute__((unused)) static void rig_expect_body(const struct protocol *p,
                                                    const struct gen_request *req,
                                                    const char *model, const char *path,
                                                    const char *body)
{
    struct remote_http http;
    struct error error = {0};
    if (rig_write(p, req, model, &http, &error) != OK) fail_msg("refused: %s", error.msg);
    assert_string_equal(http.path, path);
    rig_same_json(buf_str(&http.body), body);
    buf_free(&http.body);
}

__attribute__((unused)) static void rig_expect_refused(const struct protocol *p,
                                                       const struct gen_request *req, enum err code,
                                                       const char *words)
{
    struct remote_http http;
    struct error error = {0};
    assert_int_equal(rig_write(p, req, "model", &http, &error), code);
    if (!strstr(error.msg, words)) fail_msg("\"%s\" does not say \"%s\"", error.msg, words);
    buf_free(&http.body);
}

/* A member of the body as JSON text, at most one; "" = absent. */
__attribute__((unused)) static void rig_expect_member(const struct protocol *p,
                                                      const struct gen_request *req,
                                                      const char *model, const char *name,
                                                      const char *json)
{
    struct remote_http http;
    struct error error = {0};
    if (rig_write(p, req, model, &http, &error) != OK) fail_msg("refused: %s", error.msg);
    json_t *body = rig_json(buf_str(&http.body)), *member = json_object_get(body, name);
    char *text = member ? json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("");
    if (!*json || !member) {
        assert_string_equal(text, json);
    } else {
        json_t *want = json_loads(json, JSON_DECODE_ANY, NULL);
        if (!json_equal(member, want)) fail_msg("%s: got %s, want %s", name, text, json);
        json_decref(want);
    }
    free(text);
    json_decref(body);
    buf_free(&http.body);
}

/* ---- answers ------------------------------------------------------------------------------- */

static const char *const rig_finish[] = {"stop", "length", "tool_calls", "cancelled"};

/* Events as text: start(model prompt/cached) text|...; neighbours of a kind run together, so that
 * the same stream in other pieces is the same text. */
struct rig_events {
    struct buf out;
    int last; /* type of the newest event, -1 = none */
    int32_t last_tool;
};

static inline void rig_open(struct rig_events *r, int type, const char *word)
{
    if (r->last == type) return;
    buf_printf(&r->out, "%s%s:", r->out.len ? " " : "", word);
    r->last = type;
}

/* An id of 24 characters by chance, where the server gave none. */
static inline bool is_made(const char *id)
{
    return strncmp(id, "call_", 5) == 0 && strlen(id) == 29;
}

static inline void rig_event(void *ctx, struct gen_event *ev)
{
    struct rig_events *r = ctx;
    switch (ev->type) {
    case GEN_EV_STARTED:
        buf_printf(&r->out, "start(%s %d/%d)", ev->model, ev->usage.prompt_tokens,
                   ev->usage.cached_tokens);
        r->last = -1;
        break;
    case GEN_EV_TEXT:
        assert_true(utf8_valid(ev->text, ev->text_len));
        rig_open(r, GEN_EV_TEXT, "text");
        buf_append(&r->out, ev->text, ev->text_len);
        for (size_t i = 0; i < ev->n_logprobs; i++)
            buf_printf(&r->out, "{%.*s %.2f +%zu}", (int)ev->logprobs[i].chosen.len,
                       ev->logprobs[i].chosen.text, (double)ev->logprobs[i].chosen.logprob,
                       ev->logprobs[i].n_top);
        break;
    case GEN_EV_REASONING:
        if (ev->signature) {
            buf_printf(&r->out, " signed:%s", ev->signature);
            r->last = -1;
            break;
        }
        rig_open(r, GEN_EV_REASONING, "think");
        buf_append(&r->out, ev->text, ev->text_len);
        break;
    case GEN_EV_TOOL_CALL:
        if (ev->tool.name)
            buf_printf(&r->out, " call%d:%s,%s=", ev->tool.index,
                       is_made(ev->tool.id) ? "?" : ev->tool.id, ev->tool.name);
        else
            assert_int_equal(ev->tool.index, r->last_tool);
        r->last_tool = ev->tool.index;
        buf_append(&r->out, ev->tool.arguments, ev->tool.arguments_len);
        r->last = GEN_EV_TOOL_CALL;
        break;
    case GEN_EV_CHOICE_END:
        buf_printf(&r->out, " end:%s", rig_finish[ev->finish]);
        r->last = -1;
        break;
    default: fail_msg("unexpected event %d", ev->type);
    }
}

/* Reads `body` in pieces of `step` bytes; what came of it is appended to *out. */
__attribute__((unused)) static enum err rig_read(const struct protocol *p, const char *type,
                                                 const char *body, size_t len, size_t step,
                                                 struct buf *out, struct error *error)
{
    struct rig_events r = {.last = -1};
    struct decode d;
    struct usage u;
    buf_init(&r.out, 1 << 20);
    decode_init(&d, p, "there", GEN_CHAT, 1, "asked", rig_event, &r);
    enum err e = decode_type(&d, type, error);
    for (size_t i = 0; i < len && !e; i += step)
        e = decode_feed(&d, body + i, len - i < step ? len - i : step, error);
    if (!e) e = decode_end(&d, error);
    decode_usage_sum(&d, 400, &u);
    if (!e)
        buf_printf(&r.out, " done(%d/%d+%d/%d)", u.prompt_tokens, u.cached_tokens,
                   u.completion_tokens, u.reasoning_tokens);
    buf_puts(out, buf_str(&r.out));
    buf_free(&r.out);
    decode_free(&d);
    return e;
}

/* However the bytes are cut, the same comes of them. */
__attribute__((unused)) static void rig_expect(const struct protocol *p, const char *type,
                                               const char *body, const char *events)
{
    size_t len = strlen(body);
    for (size_t step = 1; step <= len; step = step < 40 ? step + 1 : step * 3) {
        struct buf got;
        struct error error = {0};
        buf_init(&got, 1 << 20);
        if (rig_read(p, type, body, len, step, &got, &error) != OK)
            fail_msg("%s: %s after %s", err_name(error.code), error.msg, buf_str(&got));
        assert_string_equal(buf_str(&got), events);
        buf_free(&got);
    }
}

__attribute__((unused)) static void rig_expect_error(const struct protocol *p, const char *type,
                                                     const char *body, enum err code,
                                                     const char *words)
{
    struct buf got;
    struct error error = {0};
    buf_init(&got, 1 << 20);
    assert_int_equal(rig_read(p, type, body, strlen(body), 7, &got, &error), code);
    if (!strstr(error.msg, words)) fail_msg("\"%s\" does not say \"%s\"", error.msg, words);
    buf_free(&got);
}

/* ---- lists and vectors --------------------------------------------------------------------- */

__attribute__((unused)) static void rig_expect_models(const struct protocol *p, const char *body,
                                                      const char *want)
{
    struct buf out;
    struct jw w;
    struct error error = {0};
    json_t *answer = rig_json(body);
    buf_init(&out, 1 << 20);
    jw_init(&w, &out);
    struct model_list list = {.provider = "there", .w = &w};
    jw_arr(&w);
    if (p->models(answer, &list, &error) != OK) fail_msg("%s", error.msg);
    jw_arr_end(&w);
    json_decref(answer);
    rig_same_json(buf_str(&out), want);
    buf_free(&out);
}

#endif
