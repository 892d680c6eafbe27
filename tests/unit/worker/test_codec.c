/* Payloads: what is written is what is read, field by field; what is malformed is refused. */
#include "unit/worker/random.h"
#include "worker/wire.h"

enum { ROUNDS = 400 };

static void copy_aligned(const struct buf *b, size_t len, void **out)
{
    *out = malloc(len + 1); /* exactly as long, so that ASan sees a read behind its end */
    if (len) memcpy(*out, b->data, len);
}

static void same_text(const char *a, const char *b)
{
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_true(a == b);
}

static void same_tokens(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    assert_int_equal(n_a, n_b);
    if (n_a) assert_memory_equal(a, b, n_a * sizeof *a);
}

static void same_messages(const struct gen_request *a, const struct gen_request *b)
{
    assert_int_equal(a->n_messages, b->n_messages);
    for (size_t i = 0; i < a->n_messages; i++) {
        const struct message *x = &a->messages[i], *y = &b->messages[i];
        assert_int_equal(x->role, y->role);
        same_text(x->content, y->content);
        same_text(x->reasoning, y->reasoning);
        same_text(x->name, y->name);
        same_text(x->tool_call_id, y->tool_call_id);
        assert_int_equal(x->n_tool_calls, y->n_tool_calls);
        for (size_t k = 0; k < x->n_tool_calls; k++) {
            same_text(x->tool_calls[k].id, y->tool_calls[k].id);
            same_text(x->tool_calls[k].name, y->tool_calls[k].name);
            same_text(x->tool_calls[k].arguments, y->tool_calls[k].arguments);
        }
    }
}

static void same_sampling(const struct sampling *a, const struct sampling *b)
{
    assert_true(a->temperature == b->temperature && a->top_p == b->top_p && a->min_p == b->min_p);
    assert_true(a->repeat_penalty == b->repeat_penalty &&
                a->frequency_penalty == b->frequency_penalty &&
                a->presence_penalty == b->presence_penalty);
    assert_int_equal(a->top_k, b->top_k);
    assert_int_equal(a->repeat_last_n, b->repeat_last_n);
    assert_int_equal(a->seed, b->seed);
    assert_int_equal(a->ignore_eos, b->ignore_eos);
    assert_int_equal(a->top_logprobs, b->top_logprobs);
    assert_int_equal(a->logprobs, b->logprobs);
    assert_int_equal(a->n_logit_bias, b->n_logit_bias);
    for (size_t i = 0; i < a->n_logit_bias; i++) {
        assert_int_equal(a->logit_bias[i].token, b->logit_bias[i].token);
        assert_true(a->logit_bias[i].bias == b->logit_bias[i].bias);
    }
}

static void same_request(const struct gen_request *a, const struct gen_request *b)
{
    assert_int_equal(a->kind, b->kind);
    same_text(a->request_id, b->request_id);
    same_text(a->model, b->model);
    same_text(a->tenant, b->tenant);
    same_messages(a, b);
    same_text(a->prompt, b->prompt);
    same_tokens(a->prompt_tokens, a->n_prompt_tokens, b->prompt_tokens, b->n_prompt_tokens);
    assert_int_equal(a->echo, b->echo);
    assert_int_equal(a->n_tools, b->n_tools);
    for (size_t i = 0; i < a->n_tools; i++) {
        same_text(a->tools[i].name, b->tools[i].name);
        same_text(a->tools[i].description, b->tools[i].description);
        same_text(a->tools[i].parameters, b->tools[i].parameters);
        assert_int_equal(a->tools[i].strict, b->tools[i].strict);
    }
    assert_int_equal(a->tool_choice, b->tool_choice);
    same_text(a->tool_choice_name, b->tool_choice_name);
    assert_int_equal(a->parallel_tool_calls, b->parallel_tool_calls);
    assert_int_equal(a->format, b->format);
    same_text(a->schema, b->schema);
    same_text(a->grammar, b->grammar);
    assert_int_equal(a->reasoning_format, b->reasoning_format);
    same_text(a->template_kwargs, b->template_kwargs);
    same_sampling(&a->sampling, &b->sampling);
    assert_int_equal(a->max_tokens, b->max_tokens);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_stop, b->n_stop);
    for (size_t i = 0; i < a->n_stop; i++) same_text(a->stop[i], b->stop[i]);
    assert_int_equal(a->priority, b->priority);
    assert_true(a->deadline_ms == b->deadline_ms && a->keep_alive_ms == b->keep_alive_ms);
    same_text(a->adapter, b->adapter);
    assert_true(a->adapter_scale == b->adapter_scale);
    assert_true(a->adapter_version == b->adapter_version);
    assert_int_equal(a->deterministic, b->deterministic);
    assert_int_equal(a->overflow, b->overflow);
    assert_int_equal(a->want_tokens, b->want_tokens);
    assert_int_equal(a->can_pause, b->can_pause);
    assert_int_equal(!a->resume, !b->resume);
    for (int32_t i = 0; a->resume && i < a->n; i++) {
        same_tokens(a->resume[i].tokens, a->resume[i].n_tokens, b->resume[i].tokens,
                    b->resume[i].n_tokens);
        assert_int_equal(a->resume[i].over, b->resume[i].over);
        assert_int_equal(a->resume[i].finish, b->resume[i].finish);
    }
}

static void test_requests_come_back_as_they_were(void **state)
{
    (void)state;
    struct error error;
    for (int i = 0; i < ROUNDS; i++) {
        struct gen_request *a = any_request(), *b;
        struct buf bytes;
        void *copy;
        buf_init(&bytes, 1 << 20);
        codec_write_request(&bytes, a);
        assert_int_equal(bytes.err, OK);
        copy_aligned(&bytes, bytes.len, &copy);
        assert_int_equal(codec_read_request(copy, bytes.len, &b, &error), OK);
        free(copy); /* the request has a copy of its own */
        same_request(a, b);
        arena_free(a->arena);
        arena_free(b->arena);
        buf_free(&bytes);
    }
}

static void same_logprobs(const struct gen_event *a, const struct gen_event *b)
{
    assert_int_equal(a->n_logprobs, b->n_logprobs);
    for (size_t i = 0; i < a->n_logprobs; i++) {
        const struct token_logprob *x = &a->logprobs[i], *y = &b->logprobs[i];
        assert_int_equal(x->n_top, y->n_top);
        for (size_t k = 0; k <= x->n_top; k++) {
            const struct logprob_alt *p = k ? &x->top[k - 1] : &x->chosen;
            const struct logprob_alt *q = k ? &y->top[k - 1] : &y->chosen;
            assert_int_equal(p->token, q->token);
            assert_true(p->logprob == q->logprob);
            assert_int_equal(p->len, q->len);
            if (p->len) assert_memory_equal(p->text, q->text, p->len);
        }
    }
}

static void same_event(const struct gen_event *a, const struct gen_event *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->choice, b->choice);
    assert_int_equal(a->text_len, b->text_len);
    if (a->text_len) assert_memory_equal(a->text, b->text, a->text_len);
    same_logprobs(a, b);
    assert_int_equal(a->tool.index, b->tool.index);
    same_text(a->tool.id, b->tool.id);
    same_text(a->tool.name, b->tool.name);
    assert_int_equal(a->tool.arguments_len, b->tool.arguments_len);
    if (a->tool.arguments) same_text(a->tool.arguments, b->tool.arguments);
    assert_int_equal(a->finish, b->finish);
    same_text(a->stop, b->stop);
    assert_true(a->fraction == b->fraction && a->wait_ms == b->wait_ms);
    same_text(a->waits_for, b->waits_for);
    assert_int_equal(a->position, b->position);
    same_tokens(a->tokens, a->n_tokens, b->tokens, b->n_tokens);
    same_text(a->adapter, b->adapter);
    assert_true(a->adapter_scale == b->adapter_scale);
    assert_true(a->adapter_version == b->adapter_version);
    same_text(a->model, b->model);
    assert_memory_equal(&a->usage, &b->usage, sizeof a->usage);
    assert_true(
        a->timings.load_ns == b->timings.load_ns && a->timings.queue_ns == b->timings.queue_ns &&
        a->timings.prefill_ns == b->timings.prefill_ns &&
        a->timings.decode_ns == b->timings.decode_ns &&
        a->timings.first_token_ns == b->timings.first_token_ns &&
        a->timings.paused_ns == b->timings.paused_ns && a->timings.pauses == b->timings.pauses &&
        a->timings.prefill_tokens == b->timings.prefill_tokens &&
        a->timings.decode_tokens == b->timings.decode_tokens);
    assert_int_equal(!a->cache, !b->cache);
    if (a->cache) {
        assert_int_equal(a->cache->source, b->cache->source);
        assert_int_equal(a->cache->cached_tokens, b->cache->cached_tokens);
        assert_string_equal(a->cache->miss, b->cache->miss);
    }
    assert_int_equal(!a->error, !b->error);
    if (!a->error) return;
    assert_int_equal(a->error->code, b->error->code);
    assert_int_equal(a->error->retry_after_s, b->error->retry_after_s);
    assert_string_equal(a->error->msg, b->error->msg);
    assert_string_equal(a->error->param, b->error->param);
}

static void test_events_come_back_as_they_were(void **state)
{
    (void)state;
    struct error error;
    for (int i = 0; i < ROUNDS; i++) {
        struct arena *a = arena_new(1 << 20), *arena = arena_new(1 << 20);
        struct gen_event x = any_event(a, (enum gen_event_type)(i % (GEN_EV_PAUSED + 1))), y;
        struct buf bytes;
        void *copy;
        buf_init(&bytes, 1 << 20);
        codec_write_event(&bytes, &x);
        copy_aligned(&bytes, bytes.len, &copy);
        assert_int_equal(codec_read_event(copy, bytes.len, arena, &y, &error), OK);
        same_event(&x, &y);
        free(copy);
        arena_free(a);
        arena_free(arena);
        buf_free(&bytes);
    }
}

/* The events of which there is one for each token make nothing in the arena. */
static void test_a_token_costs_no_memory(void **state)
{
    (void)state;
    struct gen_event y, x = {.type = GEN_EV_TEXT, .text = "hello", .text_len = 5};
    struct error error;
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_event(&bytes, &x);
    assert_true(bytes.len < 32);
    assert_int_equal(codec_read_event(bytes.data, bytes.len, NULL, &y, &error), OK);
    assert_string_equal(y.text, "hello");
    buf_free(&bytes);
}

static void test_embeddings(void **state)
{
    (void)state;
    struct error error;
    int32_t tokens[] = {1, 2, 3};
    struct embed_input inputs[] = {{.text = "one", .text_len = 3},
                                   {.tokens = tokens, .n_tokens = 3}};
    struct embed_request *back, req = {.request_id = "r",
                                       .model = "m",
                                       .tenant = "t",
                                       .inputs = inputs,
                                       .n_inputs = 2,
                                       .priority = 7,
                                       .deadline_ms = 1234567890123,
                                       .keep_alive_ms = -2,
                                       .query = "q"};
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_embed(&bytes, &req);
    assert_int_equal(codec_read_embed(bytes.data, bytes.len, &back, &error), OK);
    assert_string_equal(back->query, "q");
    assert_int_equal(back->priority, 7);
    assert_int_equal(back->deadline_ms, 1234567890123);
    assert_int_equal(back->keep_alive_ms, -2);
    assert_int_equal(back->n_inputs, 2);
    assert_string_equal(back->inputs[0].text, "one");
    assert_null(back->inputs[1].text);
    same_tokens(back->inputs[1].tokens, back->inputs[1].n_tokens, tokens, 3);
    arena_free(back->arena);

    float vectors[] = {1, 2, 3, 4, 5, 6};
    struct embed_result y,
        x = {.model = "m", .vectors = vectors, .n_inputs = 2, .n_dims = 3, .prompt_tokens = 9};
    buf_clear(&bytes);
    codec_write_result(&bytes, &x);
    assert_int_equal(codec_read_result(bytes.data, bytes.len, NULL, &y, &error), OK);
    assert_int_equal(y.n_inputs, 2);
    assert_int_equal(y.n_dims, 3);
    assert_int_equal(y.prompt_tokens, 9);
    assert_memory_equal(y.vectors, vectors, sizeof vectors);
    buf_free(&bytes);
}

static void test_greetings(void **state)
{
    (void)state;
    struct error error;
    struct arena *arena = arena_new(1 << 16);
    struct setting settings[] = {{"PORT", "1"}, {"HOST", ""}};
    const char *bad[] = {"one", "two"};
    struct greeting y, x = {.build = codec_build(),
                            .log_level = 3,
                            .log_json = true,
                            .preload = true,
                            .settings = settings,
                            .n_settings = 2,
                            .quarantined = bad,
                            .n_quarantined = 2,
                            .let_go = &bad[1],
                            .n_let_go = 1};
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_greeting(&bytes, &x);
    assert_int_equal(codec_read_greeting(bytes.data, bytes.len, arena, &y, &error), OK);
    assert_int_equal(y.log_level, 3);
    assert_true(y.log_json && y.preload);
    assert_int_equal(y.n_settings, 2);
    assert_string_equal(y.settings[0].name, "PORT");
    assert_string_equal(y.quarantined[1], "two");
    assert_int_equal(y.n_let_go, 1);
    assert_string_equal(y.let_go[0], "two");
    arena_free(arena);
    buf_free(&bytes);
}

/* Whatever else the other one says, the words name both builds. */
static void test_another_build_is_told_apart(void **state)
{
    (void)state;
    struct error error;
    struct greeting_answer y, x = {.build = "hearth 9.9.9, protocol 77", .rights = "none"};
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_greeting_answer(&bytes, &x);
    buf_puts(&bytes, "what that version has more");
    assert_int_equal(codec_read_greeting_answer(bytes.data, bytes.len, NULL, &y, &error),
                     ERR_CONFLICT);
    assert_non_null(strstr(error.msg, "hearth 9.9.9, protocol 77"));
    assert_non_null(strstr(error.msg, codec_build()));
    assert_non_null(strstr(codec_build(), "build ")); /* the linker's hash is found */
    buf_free(&bytes);
}

/* Found by fuzzing: it was taken for a greeting of this build, with nothing in it. */
static void test_a_greeting_without_a_build_is_refused(void **state)
{
    (void)state;
    struct error error;
    struct greeting_answer y;
    struct wire w;
    struct buf bytes;
    uint32_t magic = 0x48525448;
    const char *none = NULL;
    buf_init(&bytes, 4096);
    wire_write_to(&w, &bytes);
    wire_u32(&w, &magic);
    wire_str(&w, &none);
    assert_int_equal(codec_read_greeting_answer(bytes.data, bytes.len, NULL, &y, &error),
                     ERR_INVALID);
    buf_free(&bytes);
}

/* ---- malformed ------------------------------------------------------------------------------ */

/* Every way to cut a payload short, and a byte too many, is refused. */
static void test_cut_payloads_are_refused(void **state)
{
    (void)state;
    struct error error;
    for (int i = 0; i < 20; i++) {
        struct gen_request *a = any_request(), *b;
        struct buf bytes;
        void *copy;
        buf_init(&bytes, 1 << 20);
        codec_write_request(&bytes, a);
        for (size_t len = 0; len < bytes.len; len++) {
            copy_aligned(&bytes, len, &copy);
            assert_int_equal(codec_read_request(copy, len, &b, &error), ERR_INVALID);
            free(copy);
        }
        buf_putc(&bytes, '\0');
        copy_aligned(&bytes, bytes.len, &copy);
        assert_int_equal(codec_read_request(copy, bytes.len, &b, &error), ERR_INVALID);
        free(copy);
        arena_free(a->arena);
        buf_free(&bytes);
    }
}

static enum err read_changed(struct buf *bytes, size_t at, char value)
{
    struct error error;
    struct gen_event y;
    struct arena *arena = arena_new(1 << 20);
    char before = bytes->data[at];
    bytes->data[at] = value;
    enum err e = codec_read_event(bytes->data, bytes->len, arena, &y, &error);
    bytes->data[at] = before;
    arena_free(arena);
    return e;
}

static void test_values_out_of_range_are_refused(void **state)
{
    (void)state;
    struct gen_event x = {.type = GEN_EV_TEXT, .text = "hello", .text_len = 5};
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_event(&bytes, &x);
    assert_int_equal(read_changed(&bytes, 0, GEN_EV_TEXT), OK);
    assert_int_equal(read_changed(&bytes, 0, GEN_EV_PAUSED + 1), ERR_INVALID); /* type */
    assert_int_equal(read_changed(&bytes, 5, 6), ERR_INVALID);                 /* length of text */
    assert_int_equal(read_changed(&bytes, 8, 127), ERR_INVALID);
    assert_int_equal(read_changed(&bytes, 14, 'x'), ERR_INVALID); /* its end */
    buf_free(&bytes);
    x = (struct gen_event){.type = GEN_EV_CHOICE_END, .finish = FINISH_LENGTH};
    codec_write_event(&bytes, &x);
    assert_int_equal(read_changed(&bytes, 5, FINISH_CANCELLED + 1), ERR_INVALID);
    buf_free(&bytes);
}

/* A count that promises more than there are bytes makes no allocation. */
static void test_counts_are_believed_only_with_bytes_behind_them(void **state)
{
    (void)state;
    struct wire w;
    struct arena *arena = arena_new(1 << 16);
    uint64_t bytes[4] = {0xFFFFFFFF};
    size_t n;
    wire_read_from(&w, bytes, sizeof bytes, arena);
    assert_null(wire_array(&w, &n, 1000));
    assert_int_equal(w.err, ERR_INVALID);
    assert_int_equal(n, 0);
    assert_int_equal(arena_used(arena), 0);
    arena_free(arena);
}

static void test_an_error_without_a_code_is_refused(void **state)
{
    (void)state;
    struct error none = {0}, error;
    struct gen_event y, x = {.type = GEN_EV_ERROR, .error = &none};
    struct arena *arena = arena_new(1 << 16);
    struct buf bytes;
    buf_init(&bytes, 4096);
    codec_write_event(&bytes, &x); /* a writer's slip does not become the reader's trouble */
    assert_int_equal(codec_read_event(bytes.data, bytes.len, arena, &y, &error), OK);
    assert_int_equal(y.error->code, ERR_INTERNAL);
    arena_free(arena);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_come_back_as_they_were),
        cmocka_unit_test(test_events_come_back_as_they_were),
        cmocka_unit_test(test_a_token_costs_no_memory),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_greetings),
        cmocka_unit_test(test_another_build_is_told_apart),
        cmocka_unit_test(test_a_greeting_without_a_build_is_refused),
        cmocka_unit_test(test_cut_payloads_are_refused),
        cmocka_unit_test(test_values_out_of_range_are_refused),
        cmocka_unit_test(test_counts_are_believed_only_with_bytes_behind_them),
        cmocka_unit_test(test_an_error_without_a_code_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
