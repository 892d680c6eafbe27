/* The local provider over the fake engine: parsing, names, loads, cancel in every state, closing.
 */
#include <unistd.h>

#include "unit/provider/harness.h"

static void open_fake(struct fixture *f, const char *chat)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open(f, engine, chat, "fake:kind=embed", 4);
}

static void open_fake_narrow(struct fixture *f, const char *chat)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open(f, engine, chat, "fake:kind=embed", 1);
}

/* ---- what comes back ------------------------------------------------------------------------ */

static void test_chat(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    struct client *c = ask(&f, chat_request("", "Gr\xC3\xBC\xC3\x9F dich"));
    assert_int_equal(c->error.code, OK);
    assert_string_equal(buf_str(&c->text[0]), "Gr\xC3\xBC\xC3\x9F dich");
    assert_int_equal(c->finish[0], FINISH_STOP);
    assert_int_equal(c->n_started, 1);
    assert_int_equal(c->n_ends, 1);
    assert_string_equal(c->model, "fake:");
    assert_int_equal(c->usage.prompt_tokens, 15);
    assert_int_equal(c->usage.completion_tokens, 11);
    assert_int_equal(c->usage.reasoning_tokens, 0);
    assert_true(c->timings.decode_ns > 0);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_reasoning_is_split_off_and_counted(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    const char *text = "<think>hmm \xE2\x82\xAC</think>42";
    struct client *c = ask(&f, chat_request("", text));
    assert_string_equal(buf_str(&c->reasoning), "hmm \xE2\x82\xAC");
    assert_string_equal(buf_str(&c->text[0]), "42");
    /* The marks count where the parser's first text after them goes. */
    assert_in_range(c->usage.reasoning_tokens, 7, 7 + 15);
    assert_int_equal(c->usage.completion_tokens, strlen(text));
    client_free(c);
    struct gen_request *req = chat_request("", text);
    req->reasoning_format = REASONING_NONE;
    c = ask(&f, req);
    assert_string_equal(buf_str(&c->text[0]), text);
    assert_int_equal(c->usage.reasoning_tokens, 0);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_tool_calls(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    const char *text = "<tool_call>add {\"a\": 1}</tool_call><tool_call>sub {}</tool_call>";
    struct gen_request *req = chat_request("", text);
    add_tool(req, "add", "{}");
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_calls, 2);
    assert_string_equal(c->calls[0].name, "add");
    assert_string_equal(buf_str(&c->calls[0].arguments), "{\"a\": 1}");
    assert_string_equal(c->calls[1].name, "sub");
    assert_true(*c->calls[0].id && strcmp(c->calls[0].id, c->calls[1].id) != 0);
    assert_int_equal(c->finish[0], FINISH_TOOL_CALLS);
    client_free(c);
    c = ask(&f, chat_request("", text)); /* without tools it is text */
    assert_string_equal(buf_str(&c->text[0]), text);
    assert_int_equal(c->finish[0], FINISH_STOP);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_choices_have_their_own_parsers(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:ms=1");
    struct gen_request *req = chat_request("", "one <tool_call>add {\"a\":1}</tool_call>");
    add_tool(req, "add", "{}");
    req->n = 6; /* more than the four sequences */
    req->tool_choice = TOOL_NONE;
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    for (int i = 0; i < 6; i++)
        assert_string_equal(buf_str(&c->text[i]), "one <tool_call>add {\"a\":1}</tool_call>");
    assert_int_equal(c->n_ends, 6);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_logprobs_belong_to_the_visible_text(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    struct gen_request *req = chat_request("", "<think>abc</think>d\xC3\xA9"
                                               "f");
    req->sampling.logprobs = true;
    req->sampling.top_logprobs = 2;
    struct client *c = ask(&f, req);
    assert_string_equal(buf_str(&c->text[0]), "d\xC3\xA9"
                                              "f");
    assert_int_equal(c->n_logprobs, 4); /* not those of the reasoning and its marks */
    client_free(c);
    req = chat_request("", "abcd##x");
    req->sampling.logprobs = true;
    const char **stop = arena_alloc(req->arena, sizeof *stop);
    *stop = "##";
    req->stop = stop;
    req->n_stop = 1;
    c = ask(&f, req);
    assert_string_equal(buf_str(&c->text[0]), "abcd");
    assert_int_equal(c->n_logprobs, 4);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_raw_with_echo(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:kind=raw,reply=<think>no parser here</think>");
    struct gen_request *req = raw_request("", "Once");
    req->echo = true;
    req->n = 2;
    struct client *c = ask(&f, req);
    assert_string_equal(buf_str(&c->text[0]), "Once<think>no parser here</think>");
    assert_string_equal(buf_str(&c->text[1]), "Once<think>no parser here</think>");
    client_free(c);
    req = raw_request("", "");
    req->prompt = NULL;
    int32_t *tokens = arena_calloc(req->arena, 2, sizeof *tokens);
    tokens[0] = 'H';
    tokens[1] = 'i';
    req->prompt_tokens = tokens;
    req->n_prompt_tokens = 2;
    req->echo = true;
    c = ask(&f, req);
    assert_memory_equal(buf_str(&c->text[0]), "Hi<think>", 9);
    assert_int_equal(c->usage.prompt_tokens, 2);
    client_free(c);
    fixture_close(&f, 0);
}

/* While the listener is slow, texts are joined: fewer and larger, none lost. */
static void test_texts_are_joined_when_the_listener_is_slow(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:ms=1");
    char text[501] = {0};
    for (int i = 0; i < 500; i++) text[i] = (char)('a' + i % 26);
    struct client *c = client_new();
    struct error error;
    c->slow_ms = 20;
    assert_int_equal(
        provider_generate(f.local, chat_request("", text), client_listen, c, &c->id, &error), OK);
    client_wait(c);
    assert_string_equal(buf_str(&c->text[0]), text);
    assert_in_range(c->n_texts, 2, 250);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_embeddings(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    const char *texts[] = {"alpha", "beta", "alpha"};
    struct client *c = embed(&f, embed_request("", 3, texts));
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_vectors, 3);
    assert_int_equal(c->n_dims, 32);
    assert_string_equal(c->model, "fake:kind=embed");
    assert_int_equal(c->usage.prompt_tokens, 6 + 5 + 6);
    assert_memory_equal(c->vectors, c->vectors + 64, 32 * sizeof(float));
    client_free(c);
    char *big = calloc(1, 5000);
    memset(big, 'x', 4999);
    texts[1] = big;
    c = embed(&f, embed_request("", 2, texts));
    assert_int_equal(c->error.code, ERR_CONTEXT);
    assert_non_null(strstr(c->error.msg, "input 1"));
    client_free(c);
    free(big);
    c = embed(&f, embed_request("", 0, texts));
    assert_int_equal(c->error.code, ERR_INVALID);
    client_free(c);
    fixture_close(&f, 0);
}

/* ---- names and models ----------------------------------------------------------------------- */

static void expect_error(struct fixture *f, struct gen_request *req, enum err code,
                         const char *words)
{
    struct client *c = ask(f, req);
    assert_int_equal(c->error.code, code);
    assert_non_null(strstr(c->error.msg, words));
    assert_null(strstr(c->error.msg, "/tmp/"));
    client_free(c);
}

static void test_wrong_models(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    expect_error(&f, chat_request("no-such-model", "x"), ERR_NO_MODEL, "no-such-model");
    expect_error(&f, chat_request("../../etc/passwd", "x"), ERR_NO_MODEL, "passwd");
    expect_error(&f, chat_request("fake:kind=embed", "x"), ERR_UNSUPPORTED, "an embedding model");
    expect_error(&f, chat_request("fake:kind=rerank", "x"), ERR_UNSUPPORTED, "a rerank model");
    expect_error(&f, chat_request("fake:kind=raw", "x"), ERR_UNSUPPORTED, "template");
    const char *texts[] = {"a"};
    struct client *c = embed(&f, embed_request("fake:kind=rerank", 1, texts));
    assert_int_equal(c->error.code, ERR_UNSUPPORTED);
    assert_string_equal(c->error.param, "/model");
    client_free(c);
    char name[400]; /* a client may not name files */
    snprintf(name, sizeof name, "%s/models/hearth-tiny.gguf", HEARTH_SOURCE_DIR);
    c = ask(&f, chat_request(name, "x"));
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_load_failure_is_told_and_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fail_load=the tensor table is torn");
    for (int i = 0; i < 2; i++)
        expect_error(&f, chat_request("", "x"), ERR_MODEL_FILE, "the tensor table is torn");
    struct client *c = ask(&f, chat_request("fake:", "others work"));
    assert_string_equal(buf_str(&c->text[0]), "others work");
    client_free(c);
#if HEARTH_FAULTS
    fault_arm(FAULT_load, 1, false);
    expect_error(&f, chat_request("fake:ms=1", "x"), ERR_MODEL_FILE, "could not be loaded");
    fault_arm(FAULT_load, 0, false);
    c = ask(&f, chat_request("fake:ms=1", "now it works"));
    assert_string_equal(buf_str(&c->text[0]), "now it works");
    client_free(c);
#endif
    fixture_close(&f, 0);
}

/* More requests than pool threads wait for a load; the pool is free for others meanwhile. */
static void test_waiting_for_a_load_holds_no_thread(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:load_ms=300");
    struct client *waiting[10];
    for (int i = 0; i < 10; i++) waiting[i] = send_request(&f, chat_request("", "later"));
    struct client *c = ask(&f, chat_request("fake:ms=1", "at once"));
    /* The loader takes one model after the other, but nobody holds the pool. */
    assert_string_equal(buf_str(&c->text[0]), "at once");
    client_free(c);
    for (int i = 0; i < 10; i++) {
        client_wait(waiting[i]);
        assert_string_equal(buf_str(&waiting[i]->text[0]), "later");
        client_free(waiting[i]);
    }
    fixture_close(&f, 0);
}

static void test_preload(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:load_ms=50");
    struct error error;
    struct client *c = client_new();
    assert_int_equal(local_load(f.local, "", client_loaded, c, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    struct sched_model *m = sched_find(f.sched, "fake:load_ms=50");
    assert_non_null(m);
    sched_model_unref(m);
    client_free(c);
    c = client_new(); /* once more, and a model of the other kind */
    assert_int_equal(local_load(f.local, "fake:kind=embed", client_loaded, c, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    client_free(c);
    c = client_new();
    assert_int_equal(local_load(f.local, "missing", client_loaded, c, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    client_free(c);
    assert_int_equal(local_load(f.local, "fake:", NULL, NULL, &error), OK);
    fixture_close(&f, 0);
}

static void test_resolve(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "");
    struct model_info info;
    struct error error;
    assert_int_equal(local_resolve(f.local, "", false, &info, &error), OK);
    assert_string_equal(info.id, BUILTIN_CHAT_MODEL);
    assert_int_equal(local_resolve(f.local, BUILTIN_EMBED_MODEL, true, &info, &error), OK);
    assert_int_equal(info.kind, MODEL_EMBEDDING);
    assert_int_equal(local_resolve(f.local, BUILTIN_EMBED_MODEL, false, &info, &error),
                     ERR_UNSUPPORTED);
    assert_int_equal(local_resolve(f.local, "?", false, &info, &error), ERR_NO_MODEL);
    assert_string_equal(error.param, "/model");
    fixture_close(&f, 0);
}

/* A model that a person put into the folder comes before the built-in one. */
static void test_default_is_the_first_chat_model_in_the_folder(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "");
    char command[700];
    snprintf(command, sizeof command, "cp '%s/models/hearth-tiny.gguf' '%s/my-own.gguf'",
             HEARTH_SOURCE_DIR, f.dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "printf x >> '%s/my-own.gguf'", f.dir);
    assert_int_equal(system(command), 0); /* not the same file as the built-in one */
    sleep_ms(1100);                       /* the folder is read once a second */
    struct model_info info;
    struct error error;
    assert_int_equal(local_resolve(f.local, "", false, &info, &error), OK);
    assert_string_equal(info.id, "my-own");
    fixture_close(&f, 0);
}

/* A default that is a path is also known by its id; other files of its folder are not. */
static void test_default_outside_the_folder(void **state)
{
    (void)state;
    struct fixture f;
    char dir[] = "/tmp/hearth-test-XXXXXX", path[100], command[600];
    assert_non_null(mkdtemp(dir));
    str_printf(path, sizeof path, "%s/elsewhere.gguf", dir);
    str_printf(command, sizeof command, "cp '%s/models/hearth-tiny.gguf' '%s'; cp '%s' '%s/b.gguf'",
               HEARTH_SOURCE_DIR, path, path, dir);
    assert_int_equal(system(command), 0);
    open_fake(&f, path);
    struct model_info info;
    struct error error;
    assert_int_equal(local_resolve(f.local, "", false, &info, &error), OK);
    assert_string_equal(info.id, "elsewhere");
    assert_int_equal(local_resolve(f.local, "elsewhere", false, &info, &error), OK);
    assert_string_equal(info.path, path);
    assert_int_equal(local_resolve(f.local, "b", false, &info, &error), ERR_NO_MODEL);
    assert_int_equal(unlink(path), 0);
    expect_error(&f, chat_request("", "x"), ERR_NO_MODEL, "elsewhere.gguf"); /* but no folder */
    fixture_close(&f, 0);
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* ---- cancelling ----------------------------------------------------------------------------- */

static void expect_cancelled(struct client *c)
{
    client_wait(c);
    assert_int_equal(c->error.code, ERR_CANCELLED);
    client_free(c);
}

static void test_cancel_while_the_model_loads(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:load_ms=400");
    struct client *c = send_request(&f, chat_request("", "x"));
    struct client *stays = send_request(&f, chat_request("", "stays"));
    sleep_ms(50);
    int64_t before = clock_mono_ns();
    provider_cancel(f.local, c->id);
    provider_cancel(f.local, c->id);
    client_wait(c);
    assert_true(c->done_ns - before < 200000000); /* not when the load ends */
    expect_cancelled(c);
    client_wait(stays);
    assert_string_equal(buf_str(&stays->text[0]), "stays");
    client_free(stays);
    fixture_close(&f, 0);
}

static void test_cancel_at_any_moment(void **state)
{
    (void)state;
    struct fixture f;
    open_fake_narrow(&f, "fake:ms=1,endless=1");
    struct client *first = send_request(&f, chat_request("", "busy"));
    client_until(first, first->text[0].len > 0);
    struct client *queued = send_request(&f, chat_request("", "x"));
    client_until(queued, queued->n_queued == 1);
    provider_cancel(f.local, queued->id);
    expect_cancelled(queued);
    provider_cancel(f.local, first->id);
    expect_cancelled(first);
    provider_cancel(f.local, 123456); /* unknown */
    for (int i = 0; i < 100; i++) {
        struct client *c = send_request(&f, chat_request("", "x"));
        struct timespec t = {0, i * 30000};
        nanosleep(&t, NULL);
        provider_cancel(f.local, c->id);
        expect_cancelled(c);
    }
    fixture_close(&f, 0);
}

static void test_cancel_after_the_end_is_harmless(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    struct client *c = ask(&f, chat_request("", "done"));
    provider_cancel(f.local, c->id);
    sleep_ms(20);
    assert_int_equal(c->n_last, 1);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_cancel_embeddings(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:");
    const char *texts[100];
    for (int i = 0; i < 100; i++) texts[i] = "some text that takes a while";
    struct client *c = client_new();
    struct error error;
    struct embed_request *req = embed_request("fake:kind=embed,ms=50", 100, texts);
    assert_int_equal(provider_embed(f.local, req, client_result, c, &c->id, &error), OK);
    sleep_ms(30);
    provider_cancel(f.local, c->id);
    expect_cancelled(c);
    fixture_close(&f, 0);
}

/* ---- failures and the end ------------------------------------------------------------------- */

static void test_failed_decode_is_the_last_event(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fail_decode=4");
    struct client *c = ask(&f, chat_request("", "0123456789"));
    assert_int_equal(c->error.code, ERR_ENGINE);
    client_free(c);
    c = ask(&f, chat_request("", "next"));
    assert_string_equal(buf_str(&c->text[0]), "next");
    client_free(c);
    fixture_close(&f, 0);
}

static void test_prompt_too_long(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:ctx=50");
    char text[100] = {0};
    memset(text, 'x', 99);
    struct client *c = ask(&f, chat_request("", text));
    assert_int_equal(c->error.code, ERR_CONTEXT);
    assert_non_null(strstr(c->error.msg, "103"));
    assert_non_null(strstr(c->error.msg, "49"));
    client_free(c);
    fixture_close(&f, 0);
}

static void test_full_pool_refuses(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:load_ms=100");
    struct pool *pool;
    struct error error;
    assert_int_equal(pool_new("full", 1, 1, &pool, &error), OK);
    struct provider *p;
    struct local_params params = {
        .sched = f.sched, .models = f.models, .pool = pool, .default_model = "fake:"};
    assert_int_equal(local_open(&params, &p, &error), OK);
    int busy = 0;
    struct client *c[200] = {0};
    for (int i = 0; i < 200; i++) {
        c[i] = client_new();
        enum err e =
            provider_generate(p, chat_request("", "x"), client_listen, c[i], &c[i]->id, &error);
        assert_true(e == OK || e == ERR_BUSY);
        if (!e) continue;
        busy++;
        assert_int_equal(c[i]->n_last, 0);
        client_free(c[i]);
        c[i] = NULL;
    }
    for (int i = 0; i < 200; i++) {
        if (!c[i]) continue;
        client_wait(c[i]);
        assert_true(c[i]->error.code == OK || c[i]->error.code == ERR_BUSY);
        client_free(c[i]);
    }
    assert_true(busy > 0);
    provider_close(p, 0);
    pool_free(pool);
    fixture_close(&f, 0);
}

static void test_close_lets_running_requests_finish(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:ms=2");
    struct client *c = send_request(&f, chat_request("", "0123456789 0123456789"));
    client_until(c, c->text[0].len > 0);
    provider_close(f.local, 10000);
    f.local = NULL;
    assert_int_equal(c->n_last, 1); /* before it returned */
    assert_string_equal(buf_str(&c->text[0]), "0123456789 0123456789");
    client_free(c);
    fixture_close(&f, 0);
}

static void test_close_ends_all_stages(void **state)
{
    (void)state;
    struct fixture f;
    open_fake_narrow(&f, "fake:ms=1,endless=1");
    struct client *running = send_request(&f, chat_request("", "x"));
    client_until(running, running->text[0].len > 0);
    struct client *queued = send_request(&f, chat_request("", "x"));
    client_until(queued, queued->n_queued == 1);
    struct client *loading = send_request(&f, chat_request("fake:load_ms=20000", "x"));
    sleep_ms(20);
    int64_t before = clock_mono_ms();
    local_stop(f.local, 30);
    assert_true(clock_mono_ms() - before < 5000);
    struct client *all[] = {running, queued, loading};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(all[i]->n_last, 1);
        assert_int_equal(all[i]->error.code, ERR_STOPPING);
        client_free(all[i]);
    }
    struct client *late = client_new();
    struct error error;
    assert_int_equal(
        provider_generate(f.local, chat_request("", "x"), client_listen, late, &late->id, &error),
        ERR_STOPPING);
    client_free(late);
    fixture_close(&f, 0);
}

/* ---- many threads --------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 50 };

struct storm {
    struct fixture *f;
    uint32_t seed;
    int wrong;
};

static uint32_t roll(struct storm *s, uint32_t n)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return (s->seed >> 16) % n;
}

static void *storm_main(void *arg)
{
    struct storm *s = arg;
    struct client *c[EACH];
    const char *text = "<think>reasons</think>and an answer";
    for (int i = 0; i < EACH; i++) {
        struct gen_request *req = chat_request("", text);
        req->priority = (int32_t)roll(s, 100);
        c[i] = send_request(s->f, req);
        if (roll(s, 3) == 0) provider_cancel(s->f->local, c[i]->id);
    }
    for (int i = 0; i < EACH; i++) {
        client_wait(c[i]);
        if (c[i]->error.code == OK)
            s->wrong += strcmp(buf_str(&c[i]->text[0]), "and an answer") ||
                        strcmp(buf_str(&c[i]->reasoning), "reasons");
        else
            s->wrong += c[i]->error.code != ERR_CANCELLED;
        client_free(c[i]);
    }
    return NULL;
}

static void test_200_requests_from_4_threads(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:load_ms=20");
    struct storm storms[THREADS];
    pthread_t threads[THREADS];
    struct error error;
    for (uint32_t i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){&f, i + 1, 0};
        assert_int_equal(thread_start(&threads[i], "storm", storm_main, &storms[i], &error), OK);
    }
    for (int i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        assert_int_equal(storms[i].wrong, 0);
    }
    fixture_close(&f, 0);
}

/* ---- only what is in memory ------------------------------------------------------------------ */

static struct client *ask_loaded(struct fixture *f, const char *model)
{
    struct gen_request *req = chat_request(model, "hello");
    req->loaded_only = true;
    return ask(f, req);
}

static size_t n_ready(struct fixture *f)
{
    struct sched_model_status st[8];
    size_t n = sched_models(f->sched, st, 8), ready = 0;
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) ready += st[i].state == MODEL_READY;
    return ready;
}

static void test_nothing_is_loaded_for_it(void **state)
{
    (void)state;
    struct fixture f;
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open(&f, engine, "fake:ms=1", "fake:kind=embed", 2);
    struct client *c = ask_loaded(&f, "");
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    assert_string_equal(c->error.msg, "no model is in memory");
    client_free(c);
    c = ask_loaded(&f, "fake:ms=1");
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    client_free(c);
    assert_int_equal(n_ready(&f), 0);
    client_free(ask(&f, chat_request("fake:ctx=100", "hi")));
    c = ask_loaded(&f, ""); /* not the default one, but it is there */
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->model, "fake:ctx=100");
    client_free(c);
    c = ask_loaded(&f, "fake:ms=1");
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    client_free(c);
    client_free(ask(&f, chat_request("fake:ms=1", "hi")));
    client_free(ask(&f, chat_request("fake:ctx=100", "hi")));
    c = ask_loaded(&f, ""); /* the default one before the one used last */
    assert_string_equal(c->model, "fake:ms=1");
    client_free(c);
    assert_int_equal(n_ready(&f), 2);
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_reasoning_is_split_off_and_counted),
        cmocka_unit_test(test_tool_calls),
        cmocka_unit_test(test_choices_have_their_own_parsers),
        cmocka_unit_test(test_logprobs_belong_to_the_visible_text),
        cmocka_unit_test(test_raw_with_echo),
        cmocka_unit_test(test_texts_are_joined_when_the_listener_is_slow),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_wrong_models),
        cmocka_unit_test(test_load_failure_is_told_and_tried_again),
        cmocka_unit_test(test_waiting_for_a_load_holds_no_thread),
        cmocka_unit_test(test_preload),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_default_is_the_first_chat_model_in_the_folder),
        cmocka_unit_test(test_default_outside_the_folder),
        cmocka_unit_test(test_cancel_while_the_model_loads),
        cmocka_unit_test(test_cancel_at_any_moment),
        cmocka_unit_test(test_cancel_after_the_end_is_harmless),
        cmocka_unit_test(test_cancel_embeddings),
        cmocka_unit_test(test_failed_decode_is_the_last_event),
        cmocka_unit_test(test_prompt_too_long),
        cmocka_unit_test(test_full_pool_refuses),
        cmocka_unit_test(test_close_lets_running_requests_finish),
        cmocka_unit_test(test_close_ends_all_stages),
        cmocka_unit_test(test_200_requests_from_4_threads),
        cmocka_unit_test(test_nothing_is_loaded_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
