/* Connections over time: streams, clients that leave, drip or don't read, limits, stopping. */
#include "support.h"

#define HOST "Host: localhost\r\n"

static struct fixture F;

static void start(struct server_params params)
{
    fixture_start(&F, params, 2, 16);
}

static int teardown(void **state)
{
    (void)state;
    open_gate(true);
    end_streams();
    fixture_stop(&F);
    return 0;
}

static struct server_params impatient(void)
{
    struct server_params p = default_params();
    p.header_timeout_ms = 300;
    p.body_timeout_ms = 200;
    p.idle_timeout_ms = 2000;
    return p;
}

/* Reads until `text` has come. */
static bool comes(struct reader *r, const char *text, int timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    while (!r->in.data || !strstr(r->in.data, text)) {
        int64_t left = until - clock_mono_ms();
        if (left <= 0 || !more(r, (int)left)) return false;
    }
    return true;
}

static int open_stream(int port)
{
    int fd = dial(port);
    puts_to(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    return fd;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void tokens_arrive_one_by_one(void **state)
{
    (void)state;
    start(default_params());
    struct reader r;
    reader_init(&r, open_stream(F.port));
    assert_true(comes(&r, "data: hello\n\n", 3000));
    assert_non_null(strstr(r.in.data, "Transfer-Encoding: chunked"));
    assert_non_null(strstr(r.in.data, "Cache-Control: no-cache"));
    assert_int_equal(metric_value(METRIC_http_streams), 1);
    for (int i = 0; i < 50; i++) {
        char event[64];
        snprintf(event, sizeof event, "data: token %d\n\n", i);
        assert_int_equal(sink_write(world.streams[0], event, strlen(event)), OK);
        assert_true(comes(&r, event, 3000));
    }
    end_streams();
    assert_true(comes(&r, "0\r\n\r\n", 3000));
    /* The connection goes on. */
    buf_clear(&r.in);
    puts_to(r.fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    struct answer a;
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 200);
    answer_free(&a);
    assert_int_equal(atomic_load(&world.closes), 0); /* not called after `ended` */
    assert_int_equal(metric_value(METRIC_http_streams), 0);
    close(r.fd);
    buf_free(&r.in);
}

static void large_bursts_arrive_whole(void **state)
{
    (void)state;
    struct server_params params = default_params();
    params.max_queued = 8 << 20;
    start(params);
    struct reader r;
    reader_init(&r, open_stream(F.port));
    wait_streams(1);
    enum { EVENTS = 400, SIZE = 10000 };
    static char event[SIZE];
    for (int i = 0; i < EVENTS; i++) {
        memset(event, 'a' + i % 26, sizeof event);
        assert_int_equal(sink_write(world.streams[0], event, sizeof event), OK);
    }
    end_streams();
    struct answer a;
    assert_true(read_answer(&r, &a, false, 5000));
    assert_int_equal(a.body_len, 13 + EVENTS * SIZE);
    for (size_t i = 0; i < (size_t)EVENTS * SIZE; i++)
        if (a.body[13 + i] != (char)('a' + i / SIZE % 26)) fail_msg("wrong byte at %zu", i);
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

static void five_hundred_streams_at_once(void **state)
{
    (void)state;
    start(default_params());
    enum { N = 500 };
    static struct reader readers[N];
    int before = open_descriptors();
    /* The pool takes 16 at a time here; the rest of the room is made by waiting. */
    for (int i = 0; i < N; i++) {
        reader_init(&readers[i], open_stream(F.port));
        if (i % 10 == 9) wait_streams(i + 1);
    }
    wait_streams(N);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            char event[64];
            snprintf(event, sizeof event, "data: %d of %d\n\n", round, i);
            assert_int_equal(sink_write(world.streams[i], event, strlen(event)), OK);
        }
    }
    end_streams();
    int answers[N] = {0};
    for (int i = 0; i < N; i++) {
        struct answer a;
        assert_true(read_answer(&readers[i], &a, false, 5000));
        const char *of = strstr(a.body, "of ");
        assert_non_null(of);
        answers[atoi(of + 3)]++;
        assert_non_null(strstr(a.body, "data: 2 of"));
        answer_free(&a);
        close(readers[i].fd);
        buf_free(&readers[i].in);
    }
    for (int i = 0; i < N; i++) assert_int_equal(answers[i], 1);
    wait_until(open_descriptors() == before, 3000);
}

static void pings_keep_idle_streams_open(void **state)
{
    (void)state;
    struct server_params params = default_params();
    params.ping_ms = 80;
    start(params);
    struct reader r;
    reader_init(&r, open_stream(F.port));
    assert_true(comes(&r, ": ping\n\n", 1000));
    buf_clear(&r.in);
    assert_true(comes(&r, ": ping\n\n", 1000));
    /* In the middle of an event there is none. */
    wait_streams(1);
    assert_int_equal(sink_write(world.streams[0], "data: ha", 8), OK);
    buf_clear(&r.in);
    assert_true(comes(&r, "data: ha", 1000));
    buf_clear(&r.in);
    assert_false(comes(&r, "ping", 400));
    assert_int_equal(sink_write(world.streams[0], "lf\n\n", 4), OK);
    assert_true(comes(&r, "ping", 1000));
    close(r.fd);
    buf_free(&r.in);
}

static void a_stream_that_breaks_off_looks_like_one(void **state)
{
    (void)state;
    start(default_params());
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "GET /break HTTP/1.1\r\n" HOST "\r\n");
    assert_true(comes(&r, "data: half\n\n", 3000));
    open_gate(true);
    struct answer a;
    assert_false(read_answer(&r, &a, false, 3000)); /* no last chunk: the client sees an error */
    /* What the handler says of caching and buffering stands, and once. */
    assert_string_equal(field(&a, "Cache-Control"), "no-store");
    assert_string_equal(field(&a, "X-Accel-Buffering"), "yes");
    assert_null(strstr(a.head, "no-cache"));
    assert_null(strstr(a.head, "Buffering: no"));
    answer_free(&a);
    assert_true(ends_within(r.fd, 3000));
    close(r.fd);
    buf_free(&r.in);
    /* Broken off at once it may be an error still; never silence, never a whole stream. */
    for (int i = 0; i < 50; i++) {
        reader_init(&r, dial(F.port));
        puts_to(r.fd, "GET /break HTTP/1.1\r\n" HOST "\r\n");
        bool whole = read_answer(&r, &a, false, 3000);
        assert_int_equal(a.status, whole ? 500 : 200);
        answer_free(&a);
        close(r.fd);
        buf_free(&r.in);
    }
}

/* ---- clients that leave ---------------------------------------------------------------------- */

static void leaving_an_idle_stream_is_noticed(void **state)
{
    (void)state;
    start(default_params());
    int before = open_descriptors();
    int64_t disconnects = metric_value(METRIC_http_disconnects_total);
    int fin = open_stream(F.port), rst = open_stream(F.port), half = open_stream(F.port);
    wait_streams(3);
    usleep(50000);
    close(fin);
    wait_until(atomic_load(&world.closes) == 1, 1000);
    struct linger hard = {.l_onoff = 1};
    setsockopt(rst, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(rst);
    wait_until(atomic_load(&world.closes) == 2, 1000);
    shutdown(half, SHUT_WR);
    wait_until(atomic_load(&world.closes) == 3, 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sink_write(world.streams[i], "data: x\n\n", 9), ERR_CLOSED);
    close(half);
    wait_until(metric_value(METRIC_http_disconnects_total) == disconnects + 3, 1000);
    wait_until(open_descriptors() == before, 1000);
}

static void leaving_while_queued_is_noticed(void **state)
{
    (void)state;
    start(default_params()); /* two workers */
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = dial(F.port);
        puts_to(fds[i], "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    }
    wait_until(atomic_load(&world.gate_entered) == 2, 2000);
    usleep(20000);
    for (int i = 0; i < 5; i++) close(fds[i]);
    wait_until(atomic_load(&world.closes) == 2, 1000); /* those whose handlers run */
    wait_until(metric_value(METRIC_http_connections) == 0, 1000);
    open_gate(true);
    /* The three that were queued never reach their handler. */
    struct answer a = ask_s(F.port, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    answer_free(&a);
    assert_int_equal(atomic_load(&world.gate_entered), 2);
}

static void request_and_fin_in_one_segment(void **state)
{
    (void)state;
    start(default_params());
    for (int i = 0; i < 20; i++) {
        int fd = dial(F.port);
        puts_to(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        close(fd);
    }
    wait_until(metric_value(METRIC_http_connections) == 0, 2000);
    /* Inline answers are sent all the same. */
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "GET /health HTTP/1.0\r\n\r\n");
    shutdown(r.fd, SHUT_WR);
    struct answer a;
    assert_true(read_answer(&r, &a, false, 2000));
    assert_int_equal(a.status, 200);
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

static void close_callback_can_be_withdrawn(void **state)
{
    (void)state;
    start(default_params());
    int fd = open_stream(F.port);
    wait_streams(1);
    sink_on_close(world.streams[0], NULL, NULL);
    close(fd);
    wait_until(sink_write(world.streams[0], "data: x\n\n", 9) == ERR_CLOSED, 2000);
    usleep(20000);
    assert_int_equal(atomic_load(&world.closes), 0);
    sink_on_close(world.streams[0], on_close_count, NULL); /* closed already: called at once */
    assert_int_equal(atomic_load(&world.closes), 1);
    assert_int_equal(sink_respond(world.streams[0], 200, NULL, NULL, 0, NULL, 0), ERR_CLOSED);
    assert_int_equal(sink_begin(world.streams[0], 200, NULL, NULL, 0), ERR_CLOSED);
}

/* ---- slow ones ------------------------------------------------------------------------------- */

static void slow_reader_is_dropped(void **state)
{
    (void)state;
    start(default_params());
    int64_t slow = metric_value(METRIC_http_slow_readers_total);
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)F.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    puts_to(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
    wait_until(atomic_load(&world.flood_end) == 1, 20000);
    wait_until(atomic_load(&world.closes) == 1, 1000);
    assert_int_equal(metric_value(METRIC_http_slow_readers_total), slow + 1);
    wait_until(metric_value(METRIC_http_connections) == 0, 1000);
    close(fd);
}

static void answer_nobody_reads_is_dropped(void **state)
{
    (void)state;
    start(impatient());
    int fd = dial(F.port);
    puts_to(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    wait_until(metric_value(METRIC_http_connections) == 1, 1000);
    wait_until(metric_value(METRIC_http_connections) == 0, 3000);
    close(fd);
}

static void slow_but_steady_reader_gets_it_all(void **state)
{
    (void)state;
    start(impatient());
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    /* Slower than both looks at it, never silent for long. */
    for (int i = 0; i < 60; i++) {
        assert_true(more(&r, 2000));
        usleep(20000);
    }
    struct answer a;
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.body_len, 16 << 20);
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

/* Sends byte after byte until the server has enough of it; the answer is what it said. */
static struct answer drip(int port, const char *start_with, const char *drip, int pause_ms)
{
    struct reader r;
    reader_init(&r, dial(port));
    puts_to(r.fd, start_with);
    int64_t until = clock_mono_ms() + 5000;
    while (clock_mono_ms() < until) {
        char byte = *drip;
        if (send(r.fd, &byte, 1, MSG_NOSIGNAL) < 0) break;
        if (more(&r, pause_ms)) break;
    }
    struct answer a = {0};
    if (!read_answer(&r, &a, false, 1000)) a.status = 0;
    assert_true(ends_within(r.fd, 1000));
    close(r.fd);
    buf_free(&r.in);
    return a;
}

static void dripping_is_cut(void **state)
{
    (void)state;
    start(impatient());
    int64_t t = clock_mono_ms();
    struct answer a = drip(F.port, "GET /hea", "l", 30);
    assert_int_equal(a.status, 408);
    assert_error_shape(&a, "timeout");
    assert_in_range(clock_mono_ms() - t, 250, 5000);
    answer_free(&a);
    t = clock_mono_ms();
    a = drip(F.port, "GET /health HTTP/1.1\r\n" HOST "X-Long: ", "x", 30);
    assert_int_equal(a.status, 408);
    assert_in_range(clock_mono_ms() - t, 250, 5000);
    answer_free(&a);
    /* A body that stops, and one that never stops dripping. */
    t = clock_mono_ms();
    a = drip(F.port, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\nabc", "y", 4000);
    assert_int_equal(a.status, 408);
    assert_error_shape(&a, "timeout");
    assert_in_range(clock_mono_ms() - t, 150, 3500);
    answer_free(&a);
    t = clock_mono_ms();
    a = drip(F.port, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\nabc", "y", 30);
    assert_int_equal(a.status, 408);
    assert_in_range(clock_mono_ms() - t, 700, 5000);
    answer_free(&a);
    a = drip(F.port, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", "1", 30);
    assert_int_equal(a.status, 408);
    answer_free(&a);
    /* Trailers are part of the wait for the end, too. */
    a = drip(F.port,
             "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ", "1",
             30);
    assert_int_equal(a.status, 408);
    answer_free(&a);
    assert_int_equal(atomic_load(&world.handled), 0);
    a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void idle_connections_are_closed(void **state)
{
    (void)state;
    start(impatient());
    int fresh = dial(F.port);
    int64_t t = clock_mono_ms();
    char byte;
    assert_int_equal(get(fresh, &byte, 1, 2000), 0); /* in silence */
    assert_in_range(clock_mono_ms() - t, 250, 5000);
    close(fresh);
    struct reader r;
    reader_init(&r, dial(F.port));
    for (int i = 0; i < 3; i++) {
        puts_to(r.fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
        struct answer a;
        assert_true(read_answer(&r, &a, false, 1000));
        answer_free(&a);
        usleep(400000); /* longer than header_timeout, shorter than idle_timeout */
    }
    assert_true(ends_within(r.fd, 10000));
    close(r.fd);
    buf_free(&r.in);
    wait_until(metric_value(METRIC_http_connections) == 0, 1000);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void full_pool_is_said(void **state)
{
    (void)state;
    fixture_start(&F, default_params(), 1, 2);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(F.port);
        puts_to(fds[i], "GET /gate HTTP/1.1\r\n" HOST "\r\n");
        if (i == 0) wait_until(atomic_load(&world.gate_entered) == 1, 2000);
    }
    wait_until(pool_queued(F.pool) == 2, 2000);
    struct answer a = ask_s(F.port, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 503);
    assert_error_shape(&a, "queue_full");
    assert_non_null(field(&a, "Retry-After"));
    answer_free(&a);
    a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "\r\n"); /* inline ones go on */
    assert_int_equal(a.status, 200);
    answer_free(&a);
    open_gate(true);
    for (int i = 0; i < 3; i++) {
        struct reader r;
        reader_init(&r, fds[i]);
        assert_true(read_answer(&r, &a, false, 2000));
        assert_string_equal(a.body, "through");
        answer_free(&a);
        close(fds[i]);
        buf_free(&r.in);
    }
}

static void too_many_connections_are_told(void **state)
{
    (void)state;
    struct server_params params = default_params();
    params.max_connections = 10;
    start(params);
    int fds[10];
    for (int i = 0; i < 10; i++) fds[i] = dial(F.port);
    wait_until(metric_value(METRIC_http_connections) == 10, 1000);
    for (int i = 0; i < 30; i++) {
        struct reader r;
        reader_init(&r, dial(F.port));
        struct answer a;
        assert_true(read_answer(&r, &a, false, 2000));
        assert_int_equal(a.status, 503);
        assert_error_shape(&a, "queue_full");
        answer_free(&a);
        close(r.fd);
        buf_free(&r.in);
    }
    close(fds[0]);
    wait_until(metric_value(METRIC_http_connections) == 9, 1000);
    struct answer a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 200);
    answer_free(&a);
    for (int i = 1; i < 10; i++) close(fds[i]);
}

static int64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* With and without a connection that is open already: libmicrohttpd takes two ways there. */
static void out_of_descriptors_neither_spins_nor_hangs(void **state)
{
    (void)state;
    start(default_params());
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    for (int with_open = 0; with_open < 2; with_open++) {
        int held = with_open ? open_stream(F.port) : -1;
        if (with_open) wait_streams(1);
        int client = socket(AF_INET, SOCK_STREAM, 0);
        low.rlim_cur = (rlim_t)open_descriptors() + 20;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        int fillers[64], n = 0;
        while (n < 64 && (fillers[n] = dup(client)) >= 0) n++;
        assert_true(n < 64);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)F.port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);
        puts_to(client, "GET /health HTTP/1.1\r\n" HOST "\r\n");
        int64_t cpu = cpu_ms();
        usleep(500000);
        assert_true(cpu_ms() - cpu < 200);
        while (n > 0) close(fillers[--n]);
        struct reader r;
        reader_init(&r, client);
        struct answer a;
        assert_true(read_answer(&r, &a, false, 2000)); /* as soon as there are some again */
        assert_int_equal(a.status, 200);
        answer_free(&a);
        close(client);
        buf_free(&r.in);
        if (held >= 0) close(held);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    }
    wait_until(metric_value(METRIC_http_connections) == 0, 2000);
}

/* ---- stopping -------------------------------------------------------------------------------- */

struct drainer {
    pthread_t thread;
    int64_t grace_ms, took_ms;
};

static void *drain(void *arg)
{
    struct drainer *d = arg;
    int64_t t = clock_mono_ms();
    server_drain(F.server, d->grace_ms);
    d->took_ms = clock_mono_ms() - t;
    return NULL;
}

static void drain_lets_streams_end(void **state)
{
    (void)state;
    start(default_params());
    struct reader r, idle, late;
    reader_init(&r, open_stream(F.port));
    reader_init(&idle, dial(F.port));
    puts_to(idle.fd, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    struct answer a;
    assert_true(read_answer(&idle, &a, false, 1000));
    answer_free(&a);
    reader_init(&late, dial(F.port));
    puts_to(late.fd, "GET /health HTTP/1.1\r\n"); /* its head is still coming */
    wait_streams(1);
    assert_true(comes(&r, "hello", 1000));
    usleep(20000);

    struct drainer d = {.grace_ms = 5000};
    pthread_create(&d.thread, NULL, drain, &d);
    assert_true(ends_within(idle.fd, 1000));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)F.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    close(fd);
    puts_to(late.fd, HOST "\r\n");
    assert_true(read_answer(&late, &a, false, 1000));
    assert_int_equal(a.status, 503);
    assert_error_shape(&a, "stopping");
    assert_string_equal(field(&a, "Connection"), "close");
    answer_free(&a);
    /* The stream goes on, and drain waits for it. */
    assert_int_equal(sink_write(world.streams[0], "data: more\n\n", 12), OK);
    assert_true(comes(&r, "data: more\n\n", 1000));
    end_streams();
    assert_true(comes(&r, "0\r\n\r\n", 1000));
    pthread_join(d.thread, NULL);
    assert_true(d.took_ms < 3000);
    assert_true(ends_within(r.fd, 1000));
    assert_int_equal(atomic_load(&world.closes), 0);
    close(r.fd);
    close(idle.fd);
    close(late.fd);
    buf_free(&r.in);
    buf_free(&idle.in);
    buf_free(&late.in);
}

/* As `hearth serve` does: after the drain, the pool goes before the server. */
static void pool_may_go_after_the_drain(void **state)
{
    (void)state;
    start(default_params());
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    int stream = open_stream(F.port);
    wait_streams(1);
    server_drain(F.server, 50);
    pool_free(F.pool);
    puts_to(r.fd, "lo");
    struct answer a;
    assert_true(read_answer(&r, &a, false, 2000));
    assert_int_equal(a.status, 503);
    assert_error_shape(&a, "stopping");
    answer_free(&a);
    assert_int_equal(sink_write(world.streams[0], "data: x\n\n", 9), OK);
    server_free(F.server);
    assert_int_equal(sink_write(world.streams[0], "data: x\n\n", 9), ERR_CLOSED);
    end_streams();
    close(r.fd);
    close(stream);
    buf_free(&r.in);
    start(default_params()); /* for teardown */
}

static void drain_gives_up_after_the_grace(void **state)
{
    (void)state;
    start(default_params());
    int fd = open_stream(F.port);
    wait_streams(1);
    int64_t t = clock_mono_ms();
    server_drain(F.server, 200);
    assert_in_range(clock_mono_ms() - t, 190, 5000);
    assert_int_equal(sink_write(world.streams[0], "data: x\n\n", 9), OK);
    close(fd);
}

static void free_closes_everything(void **state)
{
    (void)state;
    int before = open_descriptors();
    start(default_params());
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = i < 10 ? open_stream(F.port) : dial(F.port);
        if (i == 9) wait_streams(10);
    }
    int gate = dial(F.port); /* a handler that is at work when its server goes */
    puts_to(gate, "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    wait_until(atomic_load(&world.gate_entered) == 1, 1000);
    server_free(F.server);
    assert_int_equal(atomic_load(&world.closes), 11);
    for (int i = 0; i < 10; i++)
        assert_int_equal(sink_write(world.streams[i], "data: x\n\n", 9), ERR_CLOSED);
    for (int i = 0; i < 20; i++) {
        assert_true(ends_within(fds[i], 1000));
        close(fds[i]);
    }
    close(gate);
    open_gate(true);
    end_streams();
    pool_free(F.pool);
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(metric_value(METRIC_http_connections), 0);
    assert_int_equal(metric_value(METRIC_http_streams), 0);
    start(default_params()); /* for teardown */
}

/* Many writers, many clients that come and go: for the sanitizers. */
static void *churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < 60; i++) {
        int fd = open_stream(F.port);
        char chunk[512];
        if (rand_r(&seed) % 2) get(fd, chunk, sizeof chunk, 5);
        if (rand_r(&seed) % 3 == 0) usleep(1000);
        close(fd);
    }
    return NULL;
}

static void churn_leaves_nothing(void **state)
{
    (void)state;
    start(default_params());
    int before = open_descriptors();
    pthread_t clients[4];
    for (uintptr_t i = 0; i < 4; i++) pthread_create(&clients[i], NULL, churn, (void *)i);
    for (int round = 0; round < 200; round++) {
        pthread_mutex_lock(&world.lock);
        struct sink *taken[STREAMS_MAX];
        int n = world.n_streams;
        memcpy(taken, world.streams, (size_t)n * sizeof *taken);
        world.n_streams = 0;
        pthread_mutex_unlock(&world.lock);
        for (int i = 0; i < n; i++) {
            sink_write(taken[i], "data: x\n\n", 9);
            if (i % 2) sink_on_close(taken[i], NULL, NULL);
            if (i % 3) sink_end(taken[i]);
            sink_unref(taken[i]);
        }
        usleep(1000);
    }
    for (int i = 0; i < 4; i++) pthread_join(clients[i], NULL);
    end_streams();
    wait_until(metric_value(METRIC_http_connections) == 0, 3000);
    assert_int_equal(metric_value(METRIC_http_streams), 0);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    struct error error;
    (void)!log_open(LOG_ERROR, false, NULL, &error);
#define T(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        T(tokens_arrive_one_by_one),
        T(large_bursts_arrive_whole),
        T(five_hundred_streams_at_once),
        T(pings_keep_idle_streams_open),
        T(a_stream_that_breaks_off_looks_like_one),
        T(leaving_an_idle_stream_is_noticed),
        T(leaving_while_queued_is_noticed),
        T(request_and_fin_in_one_segment),
        T(close_callback_can_be_withdrawn),
        T(slow_reader_is_dropped),
        T(answer_nobody_reads_is_dropped),
        T(slow_but_steady_reader_gets_it_all),
        T(dripping_is_cut),
        T(idle_connections_are_closed),
        T(full_pool_is_said),
        T(too_many_connections_are_told),
        T(out_of_descriptors_neither_spins_nor_hangs),
        T(drain_lets_streams_end),
        T(pool_may_go_after_the_drain),
        T(drain_gives_up_after_the_grace),
        T(free_closes_everything),
        T(churn_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
