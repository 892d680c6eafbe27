/* A provider over HTTP against a scripted server in this process: what listeners hear. */
#include "unit/remote/remote_world.h"

#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define HELLO                                                                                      \
    "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","        \
    "\"content\":\"\"},\"finish_reason\":null}]}\n\n"                                              \
    "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n"    \
    "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n\n"
#define BYE                                                                                        \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"              \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,"                \
    "\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\n"                                        \
    "data: [DONE]\n\n"

/* A server that fails `failures` times, then works. */
struct flaky {
    atomic_int failures;
    const char *answer;
    char last[SCRIPT_REQUEST_MAX];
};

static bool flaky(struct script *s, struct script_request *req)
{
    struct flaky *f = s->ctx;
    str_copy(f->last, sizeof f->last, req->text);
    if (atomic_fetch_sub(&f->failures, 1) > 0)
        script_printf(req, "%s", f->answer);
    else
        script_printf(req, "%s%s%s", SSE_HEAD, HELLO, BYE);
    return false;
}

static const struct remote_params quick = {.key = "sk-very-secret", .retries = 2};

static void a_stream_becomes_events(void **state)
{
    (void)state;
    struct flaky f = {.answer = ""};
    struct world w;
    struct heard h;
    world_open(&w, flaky, &f, quick);
    tell(&w, &h, "hi");
    assert_string_equal(h.log, "0 text Hel|0 text lo|0 end stop|done");
    assert_string_equal(h.model, "m-1");
    assert_int_equal(h.usage.prompt_tokens, 5);
    assert_int_equal(h.usage.completion_tokens, 2);
    assert_int_equal(h.usage.cached_tokens, 3);
    assert_true(h.timings.first_token_ns > 0);
    assert_non_null(strstr(f.last, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(f.last, "Authorization: Bearer sk-very-secret\r\n"));
    assert_non_null(strstr(f.last, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(f.last, "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"));
    assert_non_null(strstr(f.last, "\"temperature\":0.7,\"top_p\":0.9,"));
    assert_non_null(strstr(f.last, "\"stream\":true"));
    assert_null(strstr(f.last, "top_k"));
    world_close(&w);
}

static void it_tries_again_before_the_first_token(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 429 Slow\r\nRetry-After: 0.05\r\nContent-Length: 0\r\n\r\n",
        "",                                       /* closed without an answer */
        SSE_HEAD,                                 /* nothing in it */
        SSE_HEAD "data: {\"choices\": [oops\n\n", /* no JSON */
        SSE_HEAD "data: {\"error\":{\"message\":\"overloaded\",\"code\":529}}\n\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct flaky f = {.failures = 2, .answer = answers[i]};
        struct world w;
        struct heard h;
        struct remote_state st;
        world_open(&w, flaky, &f, quick);
        tell(&w, &h, "hi");
        if (h.code) fail_msg("answer %zu: %s", i, h.message);
        assert_string_equal(h.log, "0 text Hel|0 text lo|0 end stop|done");
        assert_int_equal(w.server->requests, 3);
        remote_state(w.p, &st);
        assert_int_equal(st.attempts, 3);
        assert_int_equal(st.failures, 0);
        assert_false(st.open);
        world_close(&w);
    }
}

static void what_would_fail_again_fails_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum err code;
        const char *says;
    } cases[] = {
        {"HTTP/1.1 401 No\r\nContent-Length: 63\r\n\r\n"
         "{\"error\":{\"message\":\"Incorrect API key provided: sk-very-secret\"}}",
         ERR_UPSTREAM, "is its key right?"},
        {"HTTP/1.1 400 No\r\nContent-Length: 71\r\n\r\n"
         "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}       ",
         ERR_CONTEXT, "too long"},
        {"HTTP/1.1 404 No\r\nContent-Length: 62\r\n\r\n"
         "{\"error\":{\"message\":\"The model `m` does not exist\"}}              ",
         ERR_NO_MODEL, "does not exist"},
        {"HTTP/1.1 429 No\r\nContent-Length: 62\r\n\r\n"
         "{\"error\":{\"message\":\"pay first\",\"code\":\"insufficient_quota\"}}   ",
         ERR_QUOTA, "pay first"},
        {"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", ERR_UPSTREAM,
         "base URL"},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nhtml",
         ERR_UPSTREAM, "text/html"},
        {"HTTP/1.1 429 Slow\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n", ERR_BUSY, "429"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flaky f = {.failures = 100, .answer = cases[i].answer};
        struct world w;
        struct heard h;
        world_open(&w, flaky, &f, quick);
        tell(&w, &h, "hi");
        if (h.code != cases[i].code) fail_msg("case %zu: %s %s", i, err_name(h.code), h.message);
        if (!strstr(h.message, cases[i].says)) fail_msg("case %zu: %s", i, h.message);
        assert_null(strstr(h.message, "very-secret"));
        assert_non_null(strstr(h.message, "box"));
        assert_int_equal(w.server->requests, 1);
        if (h.code == ERR_BUSY) assert_int_equal(h.retry_after_s, 60);
        world_close(&w);
    }
}

static bool cut_in_the_middle(struct script *s, struct script_request *req)
{
    (void)s;
    script_printf(req, "%s%s", SSE_HEAD, HELLO);
    return false;
}

static void nothing_is_tried_after_the_first_token(void **state)
{
    (void)state;
    struct world w;
    struct heard h;
    world_open(&w, cut_in_the_middle, NULL, quick);
    tell(&w, &h, "hi");
    assert_string_equal(h.log, "0 text Hel|0 text lo|error");
    assert_int_equal(h.code, ERR_NETWORK);
    assert_int_equal(w.server->requests, 1);
    world_close(&w);
}

static bool hang(struct script *s, struct script_request *req)
{
    (void)s;
    char byte;
    script_printf(req, "%s%s", SSE_HEAD, HELLO);
    return recv(req->fd, &byte, 1, 0) > 0;
}

static bool hang_in_lines(struct script *s, struct script_request *req)
{
    (void)s;
    char byte;
    script_printf(req, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
                       "{\"model\":\"m\",\"message\":{\"content\":\"Hello\"}}\n");
    return recv(req->fd, &byte, 1, 0) > 0;
}

/* Two requests where there is room for one; the first is in the middle of its answer. */
struct pair {
    struct world w;
    struct heard running, waiting;
    uint64_t first, second;
};

static void pair_start(struct pair *p)
{
    struct remote_params one = quick;
    one.concurrency = 1;
    world_open(&p->w, hang, NULL, one);
    p->first = ask(&p->w, &p->running, chat_request("hi"));
    p->second = ask(&p->w, &p->waiting, chat_request("hi"));
    heard_wait_events(&p->running, 3);
}

static void cancelling_ends_it_in_every_state(void **state)
{
    (void)state;
    struct pair p;
    struct remote_state st;
    pair_start(&p);
    remote_state(p.w.p, &st);
    assert_int_equal(st.running, 1);
    assert_int_equal(st.waiting, 1);
    provider_cancel(p.w.p, p.second);
    heard_wait(&p.waiting);
    assert_int_equal(p.waiting.code, ERR_CANCELLED);
    provider_cancel(p.w.p, p.first);
    provider_cancel(p.w.p, p.first);
    heard_wait(&p.running);
    assert_int_equal(p.running.code, ERR_CANCELLED);
    provider_cancel(p.w.p, p.first);
    remote_state(p.w.p, &st);
    assert_false(st.open);
    world_close(&p.w);
}

/* A picture's bytes are no text: a server that never came to count it would have it cost a
 * fortune. */
static void a_picture_is_not_counted_as_text(void **state)
{
    (void)state;
    enum { BYTES = 32 << 10 };
    static const char *const protocols[] = {"openai", "ollama"};
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        struct world w;
        struct heard h;
        struct remote_params params = quick;
        params.protocol = protocols[i];
        world_open(&w, i ? hang_in_lines : hang, NULL, params);
        struct gen_request *req = chat_request("What is this?");
        struct image *image = arena_calloc(req->arena, 1, sizeof *image);
        struct message *m = arena_calloc(req->arena, 1, sizeof *m);
        char *data = arena_calloc(req->arena, 1, BYTES + 1);
        memset(data, 'A', BYTES);
        *image = (struct image){.media_type = "image/png", .data = data};
        *m = (struct message){
            .role = ROLE_USER, .content = "What is this?", .images = image, .n_images = 1};
        req->messages = m;
        uint64_t id = ask(&w, &h, req);
        heard_wait_events(&h, 2);
        provider_cancel(w.p, id);
        heard_wait(&h);
        assert_int_equal(h.code, ERR_CANCELLED);
        assert_in_range(h.usage.prompt_tokens, 1, 250); /* the rest of the body */
        assert_in_range(h.usage.completion_tokens, 1, 2);
        world_close(&w);
    }
}

static void close_ends_what_runs_and_what_waits(void **state)
{
    (void)state;
    struct pair p;
    pair_start(&p);
    world_close(&p.w);
    assert_int_equal(p.running.ends, 1);
    assert_int_equal(p.waiting.ends, 1);
    assert_int_equal(p.waiting.code, ERR_STOPPING);
}

static void those_that_wait_come_in_turn(void **state)
{
    (void)state;
    struct flaky f = {.answer = ""};
    struct world w;
    struct heard h[20];
    struct remote_params two = quick;
    two.concurrency = 2;
    two.waiting = 18;
    world_open(&w, flaky, &f, two);
    for (int i = 0; i < 20; i++) ask(&w, &h[i], chat_request("hi"));
    for (int i = 0; i < 20; i++) {
        heard_wait(&h[i]);
        assert_string_equal(h[i].log, "0 text Hel|0 text lo|0 end stop|done");
    }
    world_close(&w);
}

/* Answers when the test says so. */
struct gate {
    atomic_bool open;
};

static bool gate(struct script *s, struct script_request *req)
{
    struct gate *g = s->ctx;
    while (!atomic_load(&g->open)) usleep(1000);
    script_printf(req, "%s%s%s", SSE_HEAD, HELLO, BYE);
    return false;
}

static void who_waits_is_told_of_the_place(void **state)
{
    (void)state;
    struct gate g = {.open = false};
    struct world w;
    struct heard h[3];
    struct remote_params one = quick;
    one.concurrency = 1;
    world_open(&w, gate, &g, one);
    for (int i = 0; i < 3; i++) {
        struct gen_request *req = chat_request("hi");
        req->priority = i == 1 ? 90 : 50; /* the third one goes before the second */
        ask(&w, &h[i], req);
    }
    heard_wait_events(&h[1], 1);
    heard_wait_events(&h[2], 1);
    assert_int_equal(h[0].queued, 0);
    assert_int_equal(h[1].position, 1);
    assert_int_equal(h[2].position, 0);
    atomic_store(&g.open, true);
    for (int i = 0; i < 3; i++) {
        heard_wait(&h[i]);
        assert_string_equal(h[i].log, "0 text Hel|0 text lo|0 end stop|done");
    }
    world_close(&w);
}

static void a_full_queue_refuses_and_a_deadline_ends_waiting(void **state)
{
    (void)state;
    struct world w;
    struct heard running, waiting, refused;
    struct remote_params one = quick;
    one.concurrency = 1;
    one.waiting = 1;
    world_open(&w, hang, NULL, one);
    ask(&w, &running, chat_request("hi"));
    struct gen_request *late = chat_request("hi");
    late->deadline_ms = clock_mono_ms() + 50;
    ask(&w, &waiting, late);
    ask(&w, &refused, chat_request("hi"));
    assert_int_equal(refused.code, ERR_BUSY);
    heard_wait(&waiting);
    assert_int_equal(waiting.code, ERR_TIMEOUT);
    world_close(&w);
}

/* Says all, and then does not end its body: is silent, talks a little, or a lot. */
struct talker {
    enum { SILENT, SLOW, FAST } how;
    atomic_size_t sent;
};

enum { TALK_MAX = 256 << 20, TALK_WAIT_MS = 20000 };

static bool talk_on(struct script *s, struct script_request *req)
{
    struct talker *t = s->ctx;
    char more[16 << 10], byte;
    memset(more, '\n', sizeof more);
    script_printf(req, "%s%s%s", SSE_HEAD, HELLO, BYE);
    if (t->how == SILENT) return recv(req->fd, &byte, 1, 0) > 0;
    size_t len = t->how == SLOW ? 2 : sizeof more;
    while (t->sent < TALK_MAX && script_send(req, more, len)) {
        atomic_fetch_add(&t->sent, len);
        if (t->how == SLOW) usleep(20000);
    }
    return false;
}

static void what_comes_behind_the_end_keeps_nobody_waiting(void **state)
{
    (void)state;
    for (int how = SILENT; how <= FAST; how++) {
        struct talker t = {.how = how};
        struct world w;
        struct heard first, second;
        struct remote_state st;
        struct remote_params one = quick;
        one.concurrency = 1;
        one.idle_ms = one.total_ms = TALK_WAIT_MS;
        world_open(&w, talk_on, &t, one);
        int64_t begun = clock_mono_ms();
        ask(&w, &first, chat_request("hi"));
        ask(&w, &second, chat_request("hi"));
        heard_wait(&first);
        heard_wait(&second); /* the slot is free again */
        assert_true(clock_mono_ms() - begun < TALK_WAIT_MS);
        assert_string_equal(first.log, "0 text Hel|0 text lo|0 end stop|done");
        assert_string_equal(second.log, first.log);
        if (how == FAST) assert_true(t.sent < TALK_MAX / 4); /* buffers on the way have some */
        remote_state(w.p, &st);
        assert_int_equal(st.failed, 0);
        assert_int_equal(st.failures, 0);
        world_close(&w);
    }
}

static void a_dead_server_opens_the_breaker(void **state)
{
    (void)state;
    struct script *gone = script_start(hang, NULL);
    char url[64];
    str_copy(url, sizeof url, gone->url);
    script_stop(gone);
    struct remote_params dead = {.base_url = url, .retries = -1};
    struct world w;
    struct heard h;
    struct remote_state st;
    world_open(&w, NULL, NULL, dead);
    for (int i = 0; i < 5; i++) {
        tell(&w, &h, "hi");
        assert_int_equal(h.code, ERR_NETWORK);
        assert_non_null(strstr(h.message, "refused the connection"));
    }
    remote_state(w.p, &st);
    assert_true(st.open);
    assert_int_equal(st.failures, 5);
    assert_in_range(st.retry_in_ms, 1, 5000);
    tell(&w, &h, "hi");
    assert_int_equal(h.code, ERR_NETWORK);
    assert_non_null(strstr(h.message, "5 times in a row"));
    assert_true(h.retry_after_s >= 1);
    remote_state(w.p, &st);
    assert_int_equal(st.attempts, 5);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_becomes_events),
        cmocka_unit_test(it_tries_again_before_the_first_token),
        cmocka_unit_test(what_would_fail_again_fails_at_once),
        cmocka_unit_test(nothing_is_tried_after_the_first_token),
        cmocka_unit_test(cancelling_ends_it_in_every_state),
        cmocka_unit_test(a_picture_is_not_counted_as_text),
        cmocka_unit_test(close_ends_what_runs_and_what_waits),
        cmocka_unit_test(those_that_wait_come_in_turn),
        cmocka_unit_test(who_waits_is_told_of_the_place),
        cmocka_unit_test(a_full_queue_refuses_and_a_deadline_ends_waiting),
        cmocka_unit_test(what_comes_behind_the_end_keeps_nobody_waiting),
        cmocka_unit_test(a_dead_server_opens_the_breaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
