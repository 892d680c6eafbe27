/* Bodies of POST /v1/responses, kept responses that are told again, and lines of batches. The first
 * byte chooses ('r' response, 'k' kept, 'b' line of a batch), the rest is the text. What is
 * accepted must keep the promises that the layers below rely on. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/batches/batches_int.h"
#include "api/request.h"
#include "api/responses/responses_int.h"
#include "base/str.h"
#include "support/call_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
    ht_assert(s && utf8_valid(s, strlen(s)));
}

static void check_json(const char *s, bool array)
{
    json_t *v;
    check_text(s);
    ht_assert(json_parse(s, strlen(s), &v, NULL) == OK);
    ht_assert(array ? json_is_array(v) : json_is_object(v));
    json_decref(v);
}

static void check_request(const struct gen_request *r)
{
    ht_assert(r->n_messages > 0 && r->n == 1);
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct message *m = &r->messages[i];
        check_text(m->content);
        ht_assert(m->n_tool_calls == 0 || m->role == ROLE_ASSISTANT);
        ht_assert(m->role != ROLE_TOOL || m->tool_call_id);
        for (size_t k = 0; k < m->n_tool_calls; k++) {
            check_text(m->tool_calls[k].id);
            check_text(m->tool_calls[k].name);
            check_json(m->tool_calls[k].arguments, false);
        }
        for (size_t k = 0; k < m->n_images; k++) ht_assert(m->images[k].data || m->images[k].url);
    }
    for (size_t i = 0; i < r->n_tools; i++) {
        check_text(r->tools[i].name);
        check_json(r->tools[i].parameters, false);
    }
    ht_assert(r->tool_choice != TOOL_NAMED || r->tool_choice_name);
    ht_assert(r->format != FORMAT_JSON_SCHEMA || r->schema);
}

/* The database is another matter. */
static bool refers(const json_t *body)
{
    const json_t *input = json_object_get(body, "input");
    for (size_t i = 0; i < json_array_size(input); i++) {
        const json_t *type = json_object_get(json_array_get(input, i), "type");
        if (str_eq(json_string_value(type), "item_reference")) return true;
    }
    return json_object_get(body, "previous_response_id") != NULL;
}

static void try_response(const char *text, size_t len)
{
    json_t *body;
    struct error error;
    struct response_call c;
    struct response_source source = {.env = &env, .user_id = ""};
    struct buf whole;
    if (request_parse_object(text, len, &body, &error)) return;
    if (refers(body)) {
        json_decref(body);
        return;
    }
    enum err e = response_parse(&source, body, len, &c, &error);
    json_decref(body);
    if (e) {
        check_text(error.msg);
        return;
    }
    check_request(c.call.requests[0]);
    check_json(c.info.input, true);
    check_json(c.info.metadata, false);
    buf_init(&whole, 64 << 20);
    response_write_empty(&c.info, "m", "queued", NULL, &whole);
    check_json(buf_str(&whole), false);
    buf_free(&whole);
    response_call_free(&c);
}

/* Events are blocks whose numbers are their places; behind all that its client has comes the last
 * one alone. */
static void try_kept(const char *text)
{
    struct buf out;
    struct error error;
    buf_init(&out, 64 << 20);
    int64_t asked = (int64_t)strlen(text) % 8 * 3, skip = asked;
    enum err e = response_replay(text, &skip, &out, &error);
    int64_t n = skip == asked ? 0 : asked;
    for (const char *at = buf_str(&out); !e && *at; n++) {
        char number[48];
        const char *end = strstr(at, "\n\n");
        ht_assert(end && str_starts(at, "event: response."));
        str_printf(number, sizeof number, "\"sequence_number\":%lld", (long long)n);
        const char *found = strstr(at, number);
        ht_assert(found && found < end);
        at = end + 2;
    }
    buf_free(&out);
}

static void try_line(const char *text, size_t len)
{
    struct batch_request r;
    struct batch_fault fault;
    if (batch_request_read(text, len, "/v1/responses", &r, &fault)) {
        check_text(r.custom_id);
        ht_assert(*r.custom_id && json_is_object(r.body));
        batch_request_free(&r);
    } else {
        ht_assert(fault.code);
        check_text(fault.message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    char *text = malloc(size);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0]) {
    case 'r': try_response(text, size - 1); break;
    case 'k': try_kept(text); break;
    case 'b': try_line(text, size - 1); break;
    default: break;
    }
    free(text);
    return 0;
}
