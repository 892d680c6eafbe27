/* Calls from the handler to the last byte, over a provider that plays scripts: errors in every
 * stage, clients that go away in every stage, several prompts at once. Run it with
 * -DHEARTH_SAN=address and =thread: much of what it checks is that nothing leaks or races. */
#include <stdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "rig.h"

/* ---- answers that work --------------------------------------------------------------------- */

static void whole_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "qstted");
    call_path(&r, CHAT, WHOLE);
    json_t *v = body_of(&r);
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(r.sink.content_type, "application/json");
    const json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(choice, "message"), "content")), "abab");
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake");
    json_decref(v);
    rig_deinit(&r);
}

static void streamed_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    call_path(&r, CHAT, STREAM);
    memsink_wait(&r.sink);
    assert_int_equal(r.sink.state, MEMSINK_ENDED);
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(r.sink.content_type, "text/event-stream");
    assert_non_null(strstr(r.sink.headers.data, "Cache-Control: no-cache"));
    assert_true(str_starts(r.sink.body.data, "data: {\"id\":\"chatcmpl-"));
    assert_true(str_ends(r.sink.body.data, "\n\ndata: [DONE]\n\n"));
    rig_deinit(&r);
}

static const char *body_so_far(struct rig *r, enum memsink_state *state)
{
    static char copy[4096];
    pthread_mutex_lock(&r->sink.lock);
    str_copy(copy, sizeof copy, buf_str(&r->sink.body));
    *state = r->sink.state;
    pthread_mutex_unlock(&r->sink.lock);
    return copy;
}

/* One who waits is told so, but not before there was time for a refusal with a status. */
static void waiting_in_the_queue_is_a_comment(void **state)
{
    (void)state;
    struct rig r;
    enum memsink_state s;
    rig_init(&r, "qwzqsted");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    assert_string_equal(body_so_far(&r, &s), "");
    assert_int_equal(s, MEMSINK_OPEN);
    for (int i = 0; i < 500 && s == MEMSINK_OPEN; i++) { /* the event came once only */
        usleep(10000);
        body_so_far(&r, &s);
    }
    assert_string_equal(body_so_far(&r, &s), ": queued position=3 wait_ms=1200\n\n");
    assert_int_equal(s, MEMSINK_STREAMING);
    go(&r);
    memsink_wait(&r.sink);
    assert_true(str_starts(buf_str(&r.sink.body), ": queued position=3 wait_ms=1200\n\n"
                                                  ": queued position=3 wait_ms=1200\n\n"
                                                  "data: {"));
    rig_deinit(&r);
}

static void loading_is_a_comment(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "lzlsted");
    call_path(&r, CHAT, STREAM);
    memsink_wait(&r.sink);
    assert_true(str_starts(buf_str(&r.sink.body), ": loading 0.42\n\n: loading 0.42\n\ndata: {"));
    rig_deinit(&r);
}

/* What is no part of an answer makes no chunk and no choice. */
static void only_answers_are_chunks(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "lqskted");
    call_path(&r, "/v1/completions", "{\"prompt\":\"a\",\"stream\":true}");
    memsink_wait(&r.sink);
    int chunks = 0;
    for (const char *at = buf_str(&r.sink.body); (at = strstr(at, "data: {")); at++) chunks++;
    assert_int_equal(chunks, 2); /* a text and the end */
    rig_deinit(&r);
    rig_init(&r, "lqskted");
    call_path(&r, CHAT, WHOLE);
    json_t *v = body_of(&r);
    const json_t *message =
        json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "ab");
    json_decref(v);
    rig_deinit(&r);
}

/* A client that waits and goes away before the comment was due. */
static void gone_before_the_comment(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "qwsted");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    memsink_close(&r.sink);
    rig_deinit(&r);
    assert_int_equal(r.fake.cancelled, 1);
}

/* The stream's status must not go out before the request started. */
static void silence_until_the_start(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "wswted");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    pthread_mutex_lock(&r.sink.lock);
    assert_int_equal(r.sink.state, MEMSINK_OPEN);
    pthread_mutex_unlock(&r.sink.lock);
    go(&r);
    rig_deinit(&r);
}

/* A raw completion has nothing to say at the start, but its status goes out. */
static void a_completion_begins_with_the_start(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "swted");
    call_path(&r, "/v1/completions", "{\"prompt\":\"a\",\"stream\":true}");
    wait_until_waiting(&r, 1);
    pthread_mutex_lock(&r.sink.lock);
    assert_int_equal(r.sink.state, MEMSINK_STREAMING);
    assert_int_equal(r.sink.body.len, 0);
    pthread_mutex_unlock(&r.sink.lock);
    go(&r);
    rig_deinit(&r);
}

/* ---- errors -------------------------------------------------------------------------------- */

static void a_full_queue_is_429(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct rig r;
        rig_init(&r, "sted");
        r.fake.refuse_from = 1;
        call_path(&r, CHAT, streamed ? STREAM : WHOLE);
        check_error(&r, 429, "rate_limit_error", "queue_full");
        assert_non_null(strstr(r.sink.headers.data, "Retry-After: "));
        rig_deinit(&r);
    }
}

static void errors_before_the_stream_have_a_status(void **state)
{
    (void)state;
    static const char *const scripts[] = {"x", "qx", "sx", "stx", "stex"};
    for (size_t i = 0; i < 5; i++) { /* whole: always */
        struct rig r;
        rig_init(&r, scripts[i]);
        call_path(&r, CHAT, WHOLE);
        check_error(&r, 500, "server_error", "engine_error");
        assert_int_equal(r.sink.headers.len, 0);
        rig_deinit(&r);
    }
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, CHAT, STREAM);
    check_error(&r, 500, "server_error", "engine_error");
    rig_deinit(&r);
    rig_init(&r, "lqx"); /* it waited, but not for long */
    call_path(&r, CHAT, STREAM);
    check_error(&r, 500, "server_error", "engine_error");
    rig_deinit(&r);
}

static void errors_in_the_stream_are_events(void **state)
{
    (void)state;
    static const char *const scripts[] = {"qzx", "sx", "stx", "strx", "stex"};
    for (size_t i = 0; i < 5; i++) {
        struct rig r;
        rig_init(&r, scripts[i]);
        call_path(&r, CHAT, STREAM);
        memsink_wait(&r.sink);
        assert_int_equal(r.sink.status, 200);
        assert_int_equal(r.sink.state, MEMSINK_ENDED);
        assert_true(str_ends(r.sink.body.data,
                             "data: {\"error\":{\"message\":\"the model caught fire\",\"type\":"
                             "\"server_error\",\"param\":null,\"code\":\"engine_error\","
                             "\"request_id\":\"req-test\"}}\n\ndata: [DONE]\n\n"));
        rig_deinit(&r);
    }
}

static void bad_bodies(void **state)
{
    (void)state;
    static const char *const paths[] = {CHAT, "/v1/completions", "/v1/embeddings"};
    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        rig_init(&r, "");
        call_path(&r, paths[i], "{\"a\":");
        check_error(&r, 400, "invalid_request_error", "invalid_json");
        assert_int_equal(r.fake.calls, 0);
        rig_deinit(&r);
    }
}

static void web_pages_must_say_json(void **state)
{
    (void)state;
    static const struct {
        const char *headers[5];
        bool accepted;
    } cases[] = {
        {{NULL}, true},
        {{"Content-Type", "application/x-www-form-urlencoded", NULL}, true}, /* curl -d */
        {{"Origin", "http://evil.example", NULL}, false},
        {{"Origin", "http://evil.example", "Content-Type", "text/plain", NULL}, false},
        {{"Origin", "null", "Content-Type", "multipart/form-data; boundary=x", NULL}, false},
        {{"Origin", "http://a", "Content-Type", "text/plain; application/json", NULL}, false},
        {{"Origin", "http://a", "Content-Type", "application/json", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "Application/JSON; charset=utf-8", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "application/vnd.x+json", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "", NULL}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const paths[] = {CHAT, "/v1/embeddings"};
        for (size_t p = 0; p < 2; p++) {
            struct rig r;
            const struct route *route;
            char buf[64], allow[64];
            rig_init(&r, "sted");
            fake_request_init(&r.req, HTTP_POST, paths[p], "{" U ",\"input\":\"a\"}");
            for (size_t k = 0; cases[i].headers[k]; k++) r.req.headers[k] = cases[i].headers[k];
            (void)route_find(HTTP_POST, paths[p], &route, buf, sizeof buf, r.req.http.params,
                             allow);
            route->handler(&r.hub, &r.req.http, &r.sink.sink);
            memsink_wait(&r.sink);
            if (r.sink.status != (cases[i].accepted ? 200 : 415))
                fail_msg("case %zu: %d", i, r.sink.status);
            rig_deinit(&r);
        }
    }
}

/* ---- clients that go away ------------------------------------------------------------------ */

/* `w` in every place of a script: the client goes while the provider stands there. */
static void gone_in_every_stage(void **state)
{
    (void)state;
    static const char steps[] = "qsrtcted";
    for (size_t at = 0; at < sizeof steps; at++) {
        for (int streamed = 0; streamed < 2; streamed++) {
            char script[16];
            snprintf(script, sizeof script, "%.*sw%s", (int)at, steps, steps + at);
            if (at == sizeof steps - 1) continue; /* after the end there is nothing to cancel */
            struct rig r;
            rig_init(&r, script);
            call_path(&r, CHAT, streamed ? STREAM : WHOLE);
            wait_until_waiting(&r, 1);
            memsink_close(&r.sink);
            memsink_wait(&r.sink); /* nobody says go: only a cancel ends the wait */
            pthread_mutex_lock(&r.fake.lock);
            while (r.fake.running) pthread_cond_wait(&r.fake.changed, &r.fake.lock);
            assert_int_equal(r.fake.cancelled, 1);
            pthread_mutex_unlock(&r.fake.lock);
            assert_int_equal(r.sink.state, MEMSINK_CLOSED);
            rig_deinit(&r);
        }
    }
}

static void gone_before_the_handler(void **state)
{
    (void)state;
    static const char *const paths[] = {CHAT, "/v1/completions", "/v1/embeddings"};
    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        rig_init(&r, "wsted");
        memsink_close(&r.sink);
        call_path(&r, paths[i], "{" U ",\"prompt\":[\"a\",\"b\"],\"input\":\"a\"}");
        memsink_wait(&r.sink);
        rig_deinit(&r); /* ends only if whatever was started was cancelled */
    }
}

/* The sink closes itself under a reader that is too slow: writes fail, no callback comes. */
static void a_write_that_fails_cancels(void **state)
{
    (void)state;
    for (int writes = 1; writes < 8; writes++) {
        struct rig r;
        rig_init(&r, "sttttttttwed");
        r.sink.close_after_writes = writes;
        call_path(&r, CHAT, STREAM);
        rig_deinit(&r); /* nobody says go: only a cancel ends the wait */
        assert_int_equal(r.fake.cancelled, 1);
    }
}

static void gone_after_the_end(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    call_path(&r, CHAT, STREAM);
    memsink_wait(&r.sink);
    memsink_close(&r.sink);
    assert_int_equal(r.fake.cancels, 0);
    rig_deinit(&r);
}

/* Whatever the moment, everything ends: many calls, closed after a random pause. */
static void gone_at_any_moment(void **state)
{
    (void)state;
    static const char *const bodies[] = {STREAM, WHOLE,
                                         "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"stream\":true}",
                                         "{\"prompt\":[\"a\",\"b\"]}", "{\"input\":[\"a\",\"b\"]}"};
    static const char *const paths[] = {CHAT, CHAT, "/v1/completions", "/v1/completions",
                                        "/v1/embeddings"};
    unsigned seed = 7;
    for (int i = 0; i < 300; i++) {
        struct rig r;
        rig_init(&r, i % 3 ? "qsttttttttttttttted" : "sttttttttttttx");
        call_path(&r, paths[i % 5], bodies[i % 5]);
        usleep((useconds_t)(rand_r(&seed) % 300));
        memsink_close(&r.sink);
        rig_deinit(&r);
    }
}

/* ---- several prompts ----------------------------------------------------------------------- */

static void several_prompts_are_one_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stted");
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2}");
    json_t *v = body_of(&r);
    const json_t *choices = json_object_get(v, "choices");
    assert_int_equal(json_array_size(choices), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(choices, i), "text")),
                            "abab");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(v, "usage"), "prompt_tokens")), 9);
    assert_int_equal(r.fake.calls, 3);
    json_decref(v);
    rig_deinit(&r);
}

static void one_refused_prompt_cancels_the_others(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "wted");
    r.fake.refuse_from = 3;
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\",\"d\"]}");
    check_error(&r, 429, "rate_limit_error", "queue_full");
    rig_deinit(&r);
    assert_int_equal(r.fake.calls, 3); /* the fourth was not tried */
    assert_int_equal(r.fake.cancelled, 2);
}

static void one_failing_prompt_fails_all(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stwx");
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"stream\":true}");
    wait_until_waiting(&r, 2);
    go(&r);
    memsink_wait(&r.sink);
    const char *first = strstr(r.sink.body.data, "\"error\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"error\"")); /* said once */
    rig_deinit(&r);
}

/* ---- out of memory ------------------------------------------------------------------------- */

#if HEARTH_FAULTS
/* Fails the first, the second, ... allocation of a call, until none is left to fail: whatever
 * fails, the call ends, nothing crashes and (under AddressSanitizer) nothing leaks. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body;
    } calls[] = {
        {CHAT, "{" U ",\"stream\":true,\"stop\":[\"x\"],\"logit_bias\":{\"1\":2}}"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
               "\"a\"}]},{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}"
               "]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
               "\"reasoning_effort\":\"low\"}"},
        {"/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"logprobs\":1}"},
        {"/v1/completions", "{\"prompt\":[[1],[2]],\"stream\":true}"},
        {"/v1/embeddings", "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"},
        {"/v1/embeddings", "{\"input\":[[1,2],[3]]}"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int later = 0; later < 2; later++) {
            long nth = 0, passes;
            do {
                struct rig r;
                rig_init(&r, "qsrtcted");
                r.fake.n_dims = 5000; /* over the pool */
                fault_arm(FAULT_alloc, ++nth, later);
                call_path(&r, calls[i].path, calls[i].body);
                memsink_wait(&r.sink);
                passes = fault_count(FAULT_alloc);
                fault_arm(FAULT_alloc, 0, false);
                assert_true(r.sink.state == MEMSINK_ENDED);
                rig_deinit(&r);
            } while (passes >= nth);
            assert_true(nth > 3);
        }
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answer),
        cmocka_unit_test(streamed_answer),
        cmocka_unit_test(waiting_in_the_queue_is_a_comment),
        cmocka_unit_test(loading_is_a_comment),
        cmocka_unit_test(only_answers_are_chunks),
        cmocka_unit_test(gone_before_the_comment),
        cmocka_unit_test(silence_until_the_start),
        cmocka_unit_test(a_completion_begins_with_the_start),
        cmocka_unit_test(a_full_queue_is_429),
        cmocka_unit_test(errors_before_the_stream_have_a_status),
        cmocka_unit_test(errors_in_the_stream_are_events),
        cmocka_unit_test(bad_bodies),
        cmocka_unit_test(web_pages_must_say_json),
        cmocka_unit_test(gone_in_every_stage),
        cmocka_unit_test(gone_before_the_handler),
        cmocka_unit_test(a_write_that_fails_cancels),
        cmocka_unit_test(gone_after_the_end),
        cmocka_unit_test(gone_at_any_moment),
        cmocka_unit_test(several_prompts_are_one_answer),
        cmocka_unit_test(one_refused_prompt_cancels_the_others),
        cmocka_unit_test(one_failing_prompt_fails_all),
#if HEARTH_FAULTS
        cmocka_unit_test(every_allocation_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
