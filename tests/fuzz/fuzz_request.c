/* Bodies of the surfaces that generate: JSON text to requests. The first byte chooses the parser
 * ('c' chat, 'p' completion, 'e' embeddings, 'r' rerank; 'm' Anthropic's messages, 'n' the same to
 * be counted; 'l' llama-server's completion, 'i' its infill), the rest is the body. What is
 * accepted must keep the promises that the layers below rely on. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "api/llama/llama_int.h"
#include "api/openai/openai_int.h"
#include "api/request.h"
#include "base/str.h"
#include "provider/prompt_json.h"
#include "support/call_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
    ht_assert(s && utf8_valid(s, strlen(s)));
}

static void check_json(const char *s)
{
    json_t *v;
    check_text(s);
    ht_assert(json_parse(s, strlen(s), &v, NULL) == OK);
    json_decref(v);
}

static void check_messages(const struct gen_request *r)
{
    ht_assert(r->n_messages > 0);
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct message *m = &r->messages[i];
        check_text(m->content);
        ht_assert(m->n_tool_calls == 0 || m->role == ROLE_ASSISTANT);
        for (size_t k = 0; k < m->n_tool_calls; k++) {
            check_text(m->tool_calls[k].id);
            check_text(m->tool_calls[k].name);
            check_json(m->tool_calls[k].arguments);
        }
    }
    for (size_t i = 0; i < r->n_tools; i++) {
        check_text(r->tools[i].name);
        check_json(r->tools[i].parameters);
    }
    ht_assert(r->tool_choice != TOOL_NAMED || r->tool_choice_name);
    ht_assert(r->tool_choice != TOOL_REQUIRED || r->n_tools > 0);
}

static void check_request(const struct gen_request *r)
{
    const struct sampling *s = &r->sampling;
    ht_assert(r->n >= 1 && r->n <= GEN_N_MAX && r->n_stop <= GEN_STOP_MAX);
    ht_assert(r->max_tokens == -1 || r->max_tokens > 0);
    ht_assert(r->priority >= 0 && r->priority <= 100);
    ht_assert(s->temperature >= 0 && s->top_p >= 0 && s->top_p <= 1 && s->top_k >= 0);
    ht_assert(s->repeat_penalty > 0 && s->top_logprobs <= GEN_TOP_LOGPROBS_MAX);
    for (size_t i = 0; i < s->n_logit_bias; i++)
        ht_assert(s->logit_bias[i].token >= 0 && !isnan(s->logit_bias[i].bias));
    for (size_t i = 0; i < r->n_stop; i++) ht_assert(r->stop[i][0]);
    ht_assert(r->format != FORMAT_GRAMMAR || r->grammar[0]);
    if (r->format == FORMAT_JSON_SCHEMA) check_json(r->schema);
    ht_assert(!r->adapter || r->adapter[0]);
    ht_assert(r->adapter_scale != 0 || strcmp(r->adapter, "base") == 0);
    ht_assert(r->keep_alive_ms >= KEEP_ALIVE_NONE && r->deadline_ms >= 0);
    if (r->template_kwargs) check_json(r->template_kwargs);
    check_text(r->model);
    if (r->kind == GEN_CHAT)
        check_messages(r);
    else
        ht_assert(r->prompt || r->n_prompt_tokens > 0);
}

static void check_error(const struct error *error, enum err code)
{
    ht_assert(error->code == code && error->msg[0]);
    ht_assert(err_http_status(code) == 400 || err_http_status(code) == 413);
    check_text(error->param); /* the message may quote bytes of the body; error_write repairs it */
}

static void generation(const json_t *body, size_t len, bool chat)
{
    struct call call;
    struct error error;
    enum err err = (chat ? chat_parse : completion_parse)(body, len, &env, &call, &error);
    if (err) {
        check_error(&error, err);
        return;
    }
    for (size_t i = 0; i < call.n_requests; i++) check_request(call.requests[i]);
    call_free(&call);
}

/* What goes to a provider as JSON comes back as it was. */
static void check_round_trip(const struct gen_request *r)
{
    struct buf text;
    struct jw w;
    struct gen_request *back;
    json_t *v;
    buf_init(&text, 1 << 30);
    jw_init(&w, &text);
    prompt_json_write(&w, r);
    ht_assert(json_parse(buf_str(&text), text.len, &v, NULL) == OK);
    ht_assert(prompt_json_read(v, &back, NULL) == OK);
    ht_assert(back->n_messages == r->n_messages && back->n_tools == r->n_tools);
    for (size_t i = 0; i < r->n_messages; i++)
        ht_assert(str_eq(back->messages[i].content, r->messages[i].content) &&
                  back->messages[i].n_tool_calls == r->messages[i].n_tool_calls);
    json_decref(v);
    buf_free(&text);
    arena_free(back->arena);
}

static void messages(const json_t *body, size_t len, bool count)
{
    struct call call;
    struct messages_wish wish;
    struct error error;
    enum err err = messages_parse(body, len, count, &env, &call, &wish, &error);
    if (err) {
        check_error(&error, err);
        return;
    }
    const struct gen_request *r = call.requests[0];
    check_request(r);
    check_round_trip(r);
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct message *m = &r->messages[i];
        ht_assert((m->role == ROLE_TOOL) == (m->tool_call_id != NULL));
        for (size_t k = 0; k < m->n_images; k++)
            ht_assert((m->images[k].data != NULL) != (m->images[k].url != NULL));
    }
    writer_free(messages_writer_new(&call, &wish));
    call_free(&call);
}

static void llama(json_t *body, size_t len, bool infill)
{
    struct call call;
    struct completion_wish wish;
    struct error error;
    enum err err = completion_read(body, len, infill, &env, &call, &wish, &error);
    if (err) {
        check_error(&error, err);
        return;
    }
    ht_assert(json_array_size(call.questions) == call.n_requests);
    for (size_t i = 0; i < call.n_requests; i++) check_request(call.requests[i]);
    writer_free(lserver_writer_new(&call, &wish));
    call_free(&call);
}

static void embedding(const json_t *body, size_t len)
{
    struct embed_call call;
    struct error error;
    enum err err = embed_parse(body, len, &env, &call, &error);
    if (err) {
        check_error(&error, err);
        return;
    }
    ht_assert(call.dimensions >= 0 && call.request->n_inputs > 0);
    for (size_t i = 0; i < call.request->n_inputs; i++) {
        const struct embed_input *in = &call.request->inputs[i];
        ht_assert(in->text ? in->text_len > 0 : in->n_tokens > 0);
    }
    arena_free(call.request->arena);
}

static void rerank(const json_t *body, size_t len)
{
    struct rerank_call call;
    struct error error;
    enum err err = rerank_parse(body, len, &env, &call, &error);
    if (err) {
        check_error(&error, err);
        return;
    }
    check_text(call.request->query);
    ht_assert(call.request->query[0] && call.request->n_inputs > 0);
    for (size_t i = 0; i < call.request->n_inputs; i++) {
        const struct embed_input *in = &call.request->inputs[i];
        ht_assert(in->text && strlen(in->text) == in->text_len && in->text_len > 0);
    }
    arena_free(call.request->arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    char *text = malloc(size); /* its own, so that a read past the end is seen */
    json_t *body;
    struct error error;
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    enum err err = request_parse_object(text, size - 1, &body, &error);
    if (err) {
        check_error(&error, err);
    } else {
        if (data[0] == 'e')
            embedding(body, size - 1);
        else if (data[0] == 'r')
            rerank(body, size - 1);
        else if (data[0] == 'm' || data[0] == 'n')
            messages(body, size - 1, data[0] == 'n');
        else if (data[0] == 'l' || data[0] == 'i')
            llama(body, size - 1, data[0] == 'i');
        else
            generation(body, size - 1, data[0] == 'c');
        json_decref(body);
    }
    free(text);
    return 0;
}
