/* Fuzz target: what other servers answer: streams, whole bodies, embeddings, scores, lists of
 * models and errors, in every protocol. Holds: however the bytes are cut, the events and the result
 * are the same; the promises of remote_int.h are kept towards the listener.
 *
 * The first byte of the input says which protocol and content type, the second how long the pieces
 * are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "remote/core_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct protocol *const protocols[] = {&remote_openai, &remote_anthropic,
                                                   &remote_ollama, &remote_cohere, &remote_aihub};
static const char *const types[] = {"text/event-stream", "application/x-ndjson", "application/json",
                                    NULL};

enum { N_PROTOCOLS = sizeof protocols / sizeof *protocols, CHOICES = 3 };

/* What a listener must be able to rely on. */
struct law {
    struct buf seen;
    bool started, ended[CHOICES];
    int32_t tools[CHOICES];
};

static void tool_call(struct law *l, const struct gen_event *ev)
{
    if (ev->tool.name) {
        ht_assert(ev->tool.index == l->tools[ev->choice]++ && *ev->tool.id && *ev->tool.name);
        buf_printf(&l->seen, "call %s ", ev->tool.name); /* ids may be made */
    } else {
        ht_assert(ev->tool.index == l->tools[ev->choice] - 1);
    }
    ht_assert(ev->tool.arguments && utf8_valid(ev->tool.arguments, ev->tool.arguments_len));
    buf_append(&l->seen, ev->tool.arguments, ev->tool.arguments_len);
}

static void on_event(void *ctx, struct gen_event *ev)
{
    struct law *l = ctx;
    if (ev->type == GEN_EV_STARTED) {
        ht_assert(!l->started && ev->model);
        l->started = true;
        buf_printf(&l->seen, "start %s\n", ev->model);
        return;
    }
    ht_assert(l->started && ev->choice >= 0 && ev->choice < CHOICES && !l->ended[ev->choice]);
    buf_printf(&l->seen, "%d %d ", ev->type, ev->choice);
    switch (ev->type) {
    case GEN_EV_TEXT:
    case GEN_EV_REASONING:
        ht_assert(utf8_valid(ev->text, ev->text_len));
        ht_assert(ev->text_len || ev->signature || ev->n_logprobs);
        buf_append(&l->seen, ev->text, ev->text_len);
        buf_puts(&l->seen, ev->signature ? ev->signature : "");
        for (size_t i = 0; i < ev->n_logprobs; i++)
            ht_assert(ev->logprobs[i].n_top <= GEN_TOP_LOGPROBS_MAX);
        break;
    case GEN_EV_TOOL_CALL: tool_call(l, ev); break;
    case GEN_EV_CHOICE_END:
        l->ended[ev->choice] = true;
        buf_printf(&l->seen, "end %d", ev->finish);
        break;
    default: ht_bug("an event that decoders don't make");
    }
    buf_putc(&l->seen, '\n');
}

static enum err read_stream(const struct protocol *p, const char *type, const char *data,
                            size_t size, size_t step, struct law *l)
{
    struct decode d;
    struct error error;
    struct usage usage;
    *l = (struct law){0};
    buf_init(&l->seen, 256 << 20);
    decode_init(&d, p, "there", GEN_CHAT, CHOICES, "asked", on_event, l);
    enum err e = decode_type(&d, type, &error);
    for (size_t i = 0; i < size && !e; i += step)
        e = decode_feed(&d, data + i, size - i < step ? size - i : step, &error);
    if (!e) e = decode_end(&d, &error);
    ht_assert(e == OK || (error.code == e && error.msg[0]));
    ht_assert(e != OK || decode_is_done(&d));
    for (int i = 0; i < CHOICES; i++) ht_assert(e != OK || l->ended[i]);
    decode_usage_sum(&d, size, &usage);
    ht_assert(usage.prompt_tokens >= 0 && usage.completion_tokens >= 0);
    decode_free(&d);
    return e;
}

static void fuzz_stream(const struct protocol *p, const char *type, const char *data, size_t size,
                        size_t step)
{
    struct law whole, pieces;
    enum err a = read_stream(p, type, data, size, size ? size : 1, &whole);
    enum err b = read_stream(p, type, data, size, step, &pieces);
    ht_assert(a == b && whole.seen.len == pieces.seen.len);
    ht_assert(!whole.seen.len || !memcmp(whole.seen.data, pieces.seen.data, whole.seen.len));
    buf_free(&whole.seen);
    buf_free(&pieces.seen);
}

static void fuzz_rows(const struct protocol *p, const json_t *body, bool scores)
{
    struct embed_rows rows;
    struct error error;
    enum err (*read)(const json_t *, struct embed_rows *, struct error *) =
        scores ? p->reranked : p->embedded;
    if (!read || rows_init(&rows, "there", 4, scores, &error)) return;
    rows_begin(&rows, 1, 3);
    if (read(body, &rows, &error) == OK && rows_complete(&rows, &error) == OK)
        ht_assert(rows.dims > 0 && rows.n_seen == 3);
    rows_free(&rows);
}

static void fuzz_document(const struct protocol *p, const json_t *body)
{
    struct buf out;
    struct jw w;
    struct error error;
    struct model_list list = {.provider = "there", .w = &w};
    struct remote_failure f = {.status = 400};
    json_t *again;
    buf_init(&out, 64 << 20);
    jw_init(&w, &out);
    jw_arr(&w);
    if (p->models(body, &list, &error) == OK) {
        jw_arr_end(&w);
        ht_assert(json_parse(buf_str(&out), out.len, &again, &error) == OK);
        ht_assert(json_array_size(again) == list.n);
        json_decref(again);
    }
    buf_free(&out);
    if (p->failure)
        p->failure(body, &f);
    else
        failure_read(body, &f);
    ht_assert(remote_fail("there", &f, &error) != OK);
    fuzz_rows(p, body, false);
    fuzz_rows(p, body, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    const struct protocol *p = protocols[data[0] % N_PROTOCOLS];
    const char *type = types[data[0] / N_PROTOCOLS % 4], *text = (const char *)data + 2;
    struct error error;
    json_t *body;
    size -= 2;
    fuzz_stream(p, type, text, size, data[1] ? data[1] : 1);
    if (json_parse(text, size, &body, &error) == OK) {
        fuzz_document(p, body);
        json_decref(body);
    }
    return 0;
}
