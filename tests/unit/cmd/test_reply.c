/* Answers taken apart: event streams in any pieces, errors before and inside them, Ctrl-C. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/interrupt.h"
#include "cmd/reply.h"

/* What came out: texts and thoughts joined, and the end. */
struct got {
    struct buf text, thoughts;
    struct reply_end end;
};

static void drain(struct reply *r, struct got *g)
{
    buf_init(&g->text, 1 << 20);
    buf_init(&g->thoughts, 1 << 20);
    const char *text;
    size_t len;
    for (;;) {
        switch (reply_next(r, 1000, &text, &len, &g->end)) {
        case REPLY_TEXT: buf_append(&g->text, text, len); break;
        case REPLY_REASONING: buf_append(&g->thoughts, text, len); break;
        case REPLY_END: return;
        default: fail_msg("nothing came");
        }
    }
}

static void drop(struct reply *r, struct got *g)
{
    buf_free(&g->text);
    buf_free(&g->thoughts);
    reply_free(r);
}

/* Pushes a body in pieces of `step` bytes, as a transport does. */
static struct reply *pushed(int status, const char *body, size_t step)
{
    struct reply *r = reply_new();
    reply_push_status(r, status);
    size_t len = strlen(body);
    for (size_t i = 0; i < len; i += step)
        if (!reply_push_data(r, body + i, len - i < step ? len - i : step)) break;
    reply_push_end(r, NULL);
    return r;
}

static const char stream[] =
    "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
    "\"content\":\"\"}}]}\n\n"
    ": ping\n\n"
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"reasoning_content\":\"hmm\"}}]}\n\n"
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n"
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"lo \\u00e9\"}}]}\n\n"
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
    "\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n"
    "data: [DONE]\n\n";

static void test_chat_stream(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 5, 100, 100000};
    for (size_t i = 0; i < 4; i++) {
        struct got g;
        struct reply *r = pushed(200, stream, steps[i]);
        drain(r, &g);
        assert_string_equal(buf_str(&g.text), "Hello \u00e9");
        assert_string_equal(buf_str(&g.thoughts), "hmm");
        assert_int_equal(g.end.error.code, OK);
        assert_int_equal(g.end.finish, FINISH_LENGTH);
        assert_int_equal(g.end.usage.prompt_tokens, 7);
        assert_int_equal(g.end.usage.cached_tokens, 5);
        assert_int_equal(g.end.usage.completion_tokens, 3);
        assert_string_equal(g.end.model, "m");
        drop(r, &g);
    }
}

static void test_turn_of_a_conversation(void **state)
{
    (void)state;
    static const char turn[] = "id: 1-0\nevent: meta\ndata: {\"conversation_id\":\"c\"}\n\n"
                               "id: 2-0\nevent: sources\ndata: {\"sources\":[{\"n\":1}]}\n\n"
                               "id: 3-0\nevent: queued\ndata: {\"position\":1}\n\n"
                               "id: 4-3\nevent: reasoning\ndata: {\"text\":\"hmm\"}\n\n"
                               "id: 5-6\nevent: delta\ndata: {\"text\":\"Yes\"}\n\n"
                               "id: 6-7\nevent: delta\ndata: {\"text\":\".\"}\n\n";
    static const char *const ends[] = {"event: done\ndata: {\"finish_reason\":\"length\"}\n\n",
                                       ("event: error\ndata: {\"code\":\"stopping\",\"message\":"
                                        "\"the hub stops\"}\n\n"),
                                       ""};
    static const enum err codes[] = {OK, ERR_STOPPING, ERR_NETWORK};
    for (size_t i = 0; i < 3; i++) {
        struct got g;
        char text[sizeof turn + 128];
        assert_true(str_printf(text, sizeof text, "%s%s", turn, ends[i]));
        struct reply *r = pushed(200, text, 1 + 50 * i);
        drain(r, &g);
        assert_string_equal(buf_str(&g.text), "Yes.");
        assert_string_equal(buf_str(&g.thoughts), "hmm");
        assert_int_equal(g.end.error.code, codes[i]);
        assert_string_equal(g.end.meta, "{\"conversation_id\":\"c\"}");
        assert_string_equal(g.end.sources, "{\"sources\":[{\"n\":1}]}");
        if (!i) assert_int_equal(g.end.finish, FINISH_LENGTH);
        drop(r, &g);
    }
}

static void test_completion_stream(void **state)
{
    (void)state;
    struct got g;
    struct reply *r = pushed(200,
                             "data: {\"choices\":[{\"text\":\"a b\"}]}\n\n"
                             "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
                             "data: [DONE]\n\n",
                             9);
    drain(r, &g);
    assert_string_equal(buf_str(&g.text), "a b");
    assert_int_equal(g.end.error.code, OK);
    drop(r, &g);
}

static void test_error_answers(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err code;
        const char *message;
    } cases[] = {
        {404, "{\"error\":{\"message\":\"no model x\",\"code\":\"model_not_found\"}}", ERR_NO_MODEL,
         "no model x"},
        {400, "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}",
         ERR_CONTEXT, "too long"},
        {500, "{\"error\":\"plain words\"}", ERR_UPSTREAM, "plain words"},
        {502, "<html>Bad gateway</html>", ERR_UPSTREAM, "status 502"},
        {503, "", ERR_UPSTREAM, "status 503"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct got g;
        struct reply *r = pushed(cases[i].status, cases[i].body, 7);
        drain(r, &g);
        assert_int_equal(g.end.error.code, cases[i].code);
        assert_non_null(strstr(g.end.error.msg, cases[i].message));
        assert_int_equal(g.text.len, 0);
        drop(r, &g);
    }
}

static void test_error_inside_a_stream(void **state)
{
    (void)state;
    struct got g;
    struct reply *r = pushed(200,
                             "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
                             "data: {\"error\":{\"message\":\"engine fell over\","
                             "\"code\":\"engine_error\"}}\n\ndata: [DONE]\n\n",
                             1000);
    drain(r, &g);
    assert_string_equal(buf_str(&g.text), "a"); /* what came before it is not lost */
    assert_int_equal(g.end.error.code, ERR_ENGINE);
    assert_string_equal(g.end.error.msg, "engine fell over");
    drop(r, &g);
}

static void test_broken_streams(void **state)
{
    (void)state;
    struct got g;
    struct reply *r = pushed(200, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", 8);
    drain(r, &g);
    assert_int_equal(g.end.error.code, ERR_NETWORK); /* no [DONE] */
    assert_string_equal(buf_str(&g.text), "a");
    drop(r, &g);

    r = pushed(200, "data: {broken\n\ndata: [DONE]\n\n", 8);
    drain(r, &g);
    assert_int_equal(g.end.error.code, ERR_JSON);
    drop(r, &g);
}

static void test_transport_error_wins(void **state)
{
    (void)state;
    struct got g;
    struct error error;
    struct reply *r = reply_new();
    err_set(&error, ERR_NETWORK, "connection refused");
    reply_push_end(r, &error);
    drain(r, &g);
    assert_int_equal(g.end.error.code, ERR_NETWORK);
    assert_string_equal(g.end.error.msg, "connection refused");
    drop(r, &g);
}

static void test_json_document(void **state)
{
    (void)state;
    struct got g;
    struct reply *r = pushed(200, "{\"data\":[]}", 3);
    drain(r, &g);
    assert_int_equal(g.end.error.code, OK);
    assert_int_equal(g.end.body_len, 11);
    assert_memory_equal(g.end.body, "{\"data\":[]}", 11);
    drop(r, &g);
}

static void *push_slowly(void *arg)
{
    struct reply *r = arg;
    reply_push_status(r, 200);
    for (const char *p = stream; *p; p++) {
        (void)reply_push_data(r, p, 1);
        if (*p == '\n') usleep(1000);
    }
    reply_push_end(r, NULL);
    return NULL;
}

static void test_other_thread_pushes(void **state)
{
    (void)state;
    struct got g;
    struct reply *r = reply_new();
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, push_slowly, r), 0);
    drain(r, &g);
    assert_string_equal(buf_str(&g.text), "Hello \u00e9");
    drop(r, &g); /* at once: the transport never touches it after its end */
    pthread_join(t, NULL);
}

static void test_interrupt_and_timeout(void **state)
{
    (void)state;
    struct reply *r = reply_new();
    const char *text;
    size_t len;
    struct reply_end end;
    assert_int_equal(reply_next(r, 10, &text, &len, &end), REPLY_TIMEOUT);
    kill(getpid(), SIGINT); /* blocked: waits until somebody lets it in */
    assert_false(interrupt_seen());
    assert_int_equal(reply_next(r, 1000, &text, &len, &end), REPLY_INTERRUPT);
    assert_int_equal(reply_next(r, 10, &text, &len, &end), REPLY_TIMEOUT); /* once */
    reply_push_end(r, NULL);
    assert_int_equal(reply_next(r, 10, &text, &len, &end), REPLY_END);
    reply_free(r);
}

int main(void)
{
    interrupt_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_stream),           cmocka_unit_test(test_turn_of_a_conversation),
        cmocka_unit_test(test_completion_stream),     cmocka_unit_test(test_error_answers),
        cmocka_unit_test(test_error_inside_a_stream), cmocka_unit_test(test_broken_streams),
        cmocka_unit_test(test_transport_error_wins),  cmocka_unit_test(test_json_document),
        cmocka_unit_test(test_other_thread_pushes),   cmocka_unit_test(test_interrupt_and_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
