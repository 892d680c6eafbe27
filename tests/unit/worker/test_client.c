/* The client against workers that are scripted: each connection is a thread here that plays one
 * script, however bad its manners. */
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/doing.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/str.h"
#include "unit/provider/harness.h"
#include "worker/frame.h"
#include "worker/worker.h"

/* ---- a scripted worker --------------------------------------------------------------------- */

struct peer {
    int fd;
    int life;         /* 0 = the first connection */
    bool deaf;        /* answers no PING */
    uint64_t slow_id; /* of a request that is to be ended; 0 = none */
    struct frame_reader *reader;
};

typedef void (*script_fn)(struct peer *p);

static struct {
    script_fn script;
    atomic_int lives;
    pthread_t threads[256];
} stage;

static void say(struct peer *p, struct buf *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = send(p->fd, b->data + at, b->len - at, MSG_NOSIGNAL);
        if (n <= 0) break;
        at += (size_t)n;
    }
    buf_free(b);
}

static void say_pong(struct peer *p, uint64_t id)
{
    struct buf b;
    buf_init(&b, 4096);
    size_t begin = frame_begin(&b, FRAME_PONG, id);
    if (frame_end(&b, begin) == OK) say(p, &b);
}

/* The next frame of the hub's; false at its end. */
static bool hear(struct peer *p, struct frame *f)
{
    struct error error;
    for (;;) {
        enum err e = frame_next(p->reader, f, &error);
        if (e == OK && f->type == FRAME_PING) {
            if (!p->deaf) say_pong(p, f->id);
            continue;
        }
        if (e == OK) return f->type != FRAME_QUIT;
        if (e != ERR_NOT_FOUND) return false;
        size_t room;
        char *to = frame_room(p->reader, &room);
        ssize_t n = recv(p->fd, to, room, 0);
        if (n <= 0) return false;
        frame_filled(p->reader, (size_t)n);
    }
}

static void say_event(struct peer *p, uint64_t id, const struct gen_event *ev)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    size_t begin = frame_begin(&b, FRAME_EVENT, id);
    codec_write_event(&b, ev);
    if (frame_end(&b, begin) == OK) say(p, &b);
}

static void say_ready(struct peer *p, const char *build)
{
    struct greeting_answer g = {.build = build, .rights = "scripted"};
    struct buf b;
    buf_init(&b, 4096);
    size_t begin = frame_begin(&b, FRAME_READY, 0);
    codec_write_greeting_answer(&b, &g);
    if (frame_end(&b, begin) == OK) say(p, &b);
}

static bool greet(struct peer *p)
{
    struct frame f;
    if (!hear(p, &f) || f.type != FRAME_HELLO) return false;
    say_ready(p, codec_build());
    return true;
}

static void say_started(struct peer *p, uint64_t id)
{
    say_event(p, id, &(struct gen_event){.type = GEN_EV_STARTED, .model = "scripted"});
}

/* Token i of every answer is i, its text one letter. */
static void say_letter(struct peer *p, uint64_t id, int32_t i)
{
    char letter = (char)('a' + i % 26);
    say_event(p, id, &(struct gen_event){.type = GEN_EV_TOKENS, .tokens = &i, .n_tokens = 1});
    say_event(p, id, &(struct gen_event){.type = GEN_EV_TEXT, .text = &letter, .text_len = 1});
}

static void say_end(struct peer *p, uint64_t id)
{
    say_event(p, id, &(struct gen_event){.type = GEN_EV_CHOICE_END});
    say_event(p, id, &(struct gen_event){.type = GEN_EV_DONE, .model = "scripted"});
}

enum { LETTERS = 20 };

/* The whole answer, from the tokens that it resumes from. */
static void answer(struct peer *p, const struct frame *f, int32_t upto)
{
    struct gen_request *req;
    struct error error;
    if (codec_read_request(f->payload, f->len, &req, &error)) return;
    say_started(p, f->id);
    for (int32_t i = 0; req->resume && i < (int32_t)req->resume[0].n_tokens; i++)
        if (req->resume[0].tokens[i] != i) upto = 0; /* the test will notice */
    for (int32_t i = 0; i < upto; i++) say_letter(p, f->id, i);
    if (upto == LETTERS) say_end(p, f->id);
    arena_free(req->arena);
}

static void *play(void *arg)
{
    struct peer *p = arg;
    p->reader = frame_reader_new(64 << 20);
    stage.script(p);
    frame_reader_free(p->reader);
    close(p->fd);
    free(p);
    return NULL;
}

static enum err connect_stage(void *ctx, int *fd, struct error *error)
{
    (void)ctx;
    int pair[2];
    struct peer *p = xcalloc(1, sizeof *p);
    p->life = atomic_fetch_add(&stage.lives, 1);
    assert_true(p->life < 256);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    p->fd = pair[1];
    *fd = pair[0];
    return thread_start(&stage.threads[p->life], "peer", play, p, error);
}

/* ---- a client ------------------------------------------------------------------------------ */

static struct fixture f;

static void open_client_as(script_fn script, const struct config *config, int64_t hang_ms)
{
    struct error error;
    struct worker_params params = {
        .config = config, .connect = connect_stage, .start_ms = 2000, .hang_ms = hang_ms};
    stage.script = script;
    atomic_store(&stage.lives, 0);
    f = (struct fixture){0};
    assert_int_equal(worker_open(&params, &f.local, &error), OK);
}

static void open_client_with(script_fn script, int64_t hang_ms)
{
    open_client_as(script, NULL, hang_ms);
}

static void open_client(script_fn script)
{
    open_client_with(script, 0);
}

static void close_client(void)
{
    provider_close(f.local, 0);
    for (int i = 0; i < atomic_load(&stage.lives); i++) thread_join(stage.threads[i]);
}

static void check_alphabet(const struct client *c)
{
    assert_int_equal(c->error.code, OK);
    assert_string_equal(buf_str(&c->text[0]), "abcdefghijklmnopqrst");
    assert_int_equal(c->n_started, 1);
    assert_int_equal(c->n_ends, 1);
}

/* ---- scripts and their tests ---------------------------------------------------------------- */

static void serves(struct peer *p)
{
    struct frame fr;
    if (!greet(p)) return;
    while (hear(p, &fr))
        if (fr.type == FRAME_GENERATE) answer(p, &fr, LETTERS);
}

static void test_an_answer(void **state)
{
    (void)state;
    open_client(serves);
    for (int i = 0; i < 100; i++) {
        struct client *c = ask(&f, chat_request("m", "hello"));
        check_alphabet(c);
        client_free(c);
    }
    assert_int_equal(atomic_load(&stage.lives), 1);
    close_client();
}

/* Each worker gets a few letters further. */
static void dies_again_and_again(struct peer *p)
{
    struct frame fr;
    if (!greet(p) || !hear(p, &fr)) return;
    int32_t upto = (p->life + 1) * 3;
    answer(p, &fr, upto > LETTERS ? LETTERS : upto);
    if (upto >= LETTERS) hear(p, &fr); /* stays until the hub goes */
}

static void test_an_answer_goes_on_in_the_next_worker(void **state)
{
    (void)state;
    open_client(dies_again_and_again);
    struct client *c = ask(&f, chat_request("m", "hello"));
    check_alphabet(c);
    assert_int_equal(atomic_load(&stage.lives), 7);
    client_free(c);
    close_client();
}

/* Every few letters its model makes room for another one. */
static void pauses(struct peer *p)
{
    struct frame fr;
    int32_t upto = 3;
    if (!greet(p)) return;
    for (; hear(p, &fr); upto += 3) {
        if (fr.type != FRAME_GENERATE) continue;
        answer(p, &fr, upto > LETTERS ? LETTERS : upto);
        if (upto < LETTERS) say_event(p, fr.id, &(struct gen_event){.type = GEN_EV_PAUSED});
    }
}

static void test_an_answer_goes_on_behind_pauses(void **state)
{
    (void)state;
    open_client(pauses);
    struct client *c = ask(&f, chat_request("m", "hello"));
    check_alphabet(c);
    assert_int_equal(c->timings.pauses, 6);
    assert_int_equal(atomic_load(&stage.lives), 1);
    client_free(c);
    close_client();
}

static void talks_garbage_twice(struct peer *p)
{
    if (p->life >= 2) {
        serves(p);
        return;
    }
    struct frame fr;
    if (p->life == 0) greet(p);
    hear(p, &fr);
    struct buf b;
    buf_init(&b, 4096);
    for (int i = 0; i < 300; i++) buf_puts(&b, "garbage ");
    say(p, &b);
    while (hear(p, &fr)) continue;
}

static void says_half_a_frame(struct peer *p)
{
    struct frame fr;
    if (p->life >= 1) {
        serves(p);
        return;
    }
    if (!greet(p) || !hear(p, &fr)) return;
    struct buf b;
    buf_init(&b, 4096);
    size_t begin = frame_begin(&b, FRAME_EVENT, fr.id);
    codec_write_event(&b, &(struct gen_event){.type = GEN_EV_TEXT, .text = "zzz", .text_len = 3});
    assert_int_equal(frame_end(&b, begin), OK);
    b.len -= 3;
    say(p, &b);
}

/* An embedding for a generation, an event behind the end, a frame that only hubs send, ... */
static void answers_wrongly(struct peer *p)
{
    struct frame fr;
    if (p->life >= 4) {
        serves(p);
        return;
    }
    if (!greet(p) || !hear(p, &fr)) return;
    struct buf b;
    buf_init(&b, 4096);
    size_t begin;
    float one = 1;
    switch (p->life) {
    case 0:
        begin = frame_begin(&b, FRAME_EMBEDDING, fr.id);
        codec_write_result(
            &b, &(struct embed_result){.model = "m", .vectors = &one, .n_inputs = 1, .n_dims = 1});
        break;
    case 1:
        begin = frame_begin(&b, FRAME_EVENT, fr.id);
        codec_write_event(
            &b, &(struct gen_event){.type = GEN_EV_TEXT, .choice = 7, .text = "x", .text_len = 1});
        break;
    case 2: begin = frame_begin(&b, FRAME_GENERATE, fr.id); break;
    default:
        begin = frame_begin(&b, FRAME_EVENT, fr.id);
        codec_write_event(&b, &(struct gen_event){.type = GEN_EV_DONE, .model = "m"});
    }
    assert_int_equal(frame_end(&b, begin), OK);
    say(p, &b);
    while (hear(p, &fr)) continue;
}

/* Events for requests that nobody made, a hundred thousand of them, then the answer. */
static void floods(struct peer *p)
{
    struct frame fr;
    if (!greet(p) || !hear(p, &fr)) return;
    for (int i = 0; i < 100; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        for (uint64_t id = 1000; id < 2000; id++) {
            size_t begin = frame_begin(&b, FRAME_EVENT, id);
            codec_write_event(&b,
                              &(struct gen_event){.type = GEN_EV_TEXT, .text = "x", .text_len = 1});
            assert_int_equal(frame_end(&b, begin), OK);
        }
        say(p, &b);
    }
    answer(p, &fr, LETTERS);
    while (hear(p, &fr)) continue;
}

static void check_survives(script_fn script)
{
    open_client(script);
    struct client *c = ask(&f, chat_request("m", "hello"));
    /* Workers that die of their own fault cost a request one of its lives, of which it has few. */
    if (c->error.code == ERR_WORKER) {
        client_free(c);
        c = ask(&f, chat_request("m", "hello"));
    }
    check_alphabet(c);
    client_free(c);
    close_client();
}

static void test_bad_manners(void **state)
{
    (void)state;
    check_survives(talks_garbage_twice);
    check_survives(says_half_a_frame);
    check_survives(answers_wrongly);
    check_survives(floods);
}

/* The first two tell a part and then hang; one of them hears no more from the start. */
static void hangs(struct peer *p)
{
    struct frame fr;
    if (!greet(p)) return;
    p->deaf = p->life < 2;
    while (hear(p, &fr))
        if (fr.type == FRAME_GENERATE)
            answer(p, &fr, p->life == 0 ? 0 : p->life == 1 ? 7 : LETTERS);
}

static void test_a_worker_that_hangs_is_replaced(void **state)
{
    (void)state;
    open_client_with(hangs, 1500);
    struct client *c = ask(&f, chat_request("m", "hello"));
    check_alphabet(c);
    client_free(c);
    assert_int_equal(atomic_load(&stage.lives), 3);
    close_client();
}

/* Until nothing comes for ms: pings are answered. */
static void answer_pings(struct peer *p, int ms)
{
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    for (;;) {
        struct frame fr;
        struct error error;
        while (frame_next(p->reader, &fr, &error) == OK)
            if (fr.type == FRAME_PING) say_pong(p, fr.id);
        if (poll(&fd, 1, ms) <= 0) return;
        size_t room;
        char *to = frame_room(p->reader, &room);
        ssize_t n = recv(p->fd, to, room, 0);
        if (n <= 0) return;
        frame_filled(p->reader, (size_t)n);
    }
}

/* Longer than a worker may hang, letter by letter; pings are answered in between. */
static void is_slow(struct peer *p)
{
    struct frame fr;
    if (!greet(p) || !hear(p, &fr)) return;
    uint64_t id = fr.id;
    say_started(p, id);
    for (int32_t i = 0; i < LETTERS; i++) {
        say_letter(p, id, i);
        answer_pings(p, 160);
    }
    say_end(p, id);
    hear(p, &fr);
}

static void test_a_worker_that_is_slow_is_not(void **state)
{
    (void)state;
    open_client_with(is_slow, 3000);
    struct client *c = ask(&f, chat_request("m", "hello"));
    check_alphabet(c);
    client_free(c);
    assert_int_equal(atomic_load(&stage.lives), 1);
    close_client();
}

static void is_of_another_build(struct peer *p)
{
    struct frame fr;
    if (hear(p, &fr)) say_ready(p, "hearth 0.0.1, protocol 0");
    while (hear(p, &fr)) continue;
}

static void test_another_build_is_an_error_for_all(void **state)
{
    (void)state;
    open_client(is_of_another_build);
    struct client *c = ask(&f, chat_request("m", "hello"));
    assert_int_equal(c->error.code, ERR_WORKER);
    assert_non_null(strstr(c->error.msg, "of another build"));
    assert_int_equal(atomic_load(&stage.lives), 3);
    client_free(c);
    close_client();
}

static void is_silent(struct peer *p)
{
    struct frame fr;
    while (hear(p, &fr)) continue;
}

/* Nobody has to wait for a worker that says nothing. */
static void test_silence(void **state)
{
    (void)state;
    open_client(is_silent);
    int64_t before = clock_mono_ms();
    struct client *c = send_request(&f, chat_request("m", "hello"));
    provider_cancel(f.local, c->id);
    client_wait(c);
    assert_int_equal(c->error.code, ERR_CANCELLED);
    assert_true(clock_mono_ms() - before < 5000);
    client_free(c);
    c = send_request(&f, chat_request("m", "hello"));
    worker_stop(f.local, 0);
    client_wait(c);
    assert_int_equal(c->error.code, ERR_STOPPING);
    client_free(c);
    close_client();
}

/* Neither greets nor dies: it is killed, and after three of them the request is told. */
static void test_silence_at_the_start_ends(void **state)
{
    (void)state;
    open_client(is_silent);
    struct client *c = ask(&f, chat_request("m", "hello"));
    assert_int_equal(c->error.code, ERR_WORKER);
    client_free(c);
    close_client();
}

static void never_reads(struct peer *p)
{
    if (!greet(p)) return;
    struct pollfd fd = {.fd = p->fd};
    while (!(fd.revents & (POLLHUP | POLLERR))) poll(&fd, 1, 100);
}

/* Callers don't wait for the socket; what they send is kept, what they cancel is told. */
static void test_a_worker_that_does_not_read(void **state)
{
    (void)state;
    enum { N = 30 };
    struct client *c[N];
    open_client(never_reads);
    char *large = malloc(500001);
    memset(large, 'x', 500000);
    large[500000] = '\0';
    int64_t before = clock_mono_ms();
    for (int i = 0; i < N; i++) c[i] = send_request(&f, chat_request("m", large));
    for (int i = 0; i < N; i++) provider_cancel(f.local, c[i]->id);
    for (int i = 0; i < N; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, ERR_CANCELLED);
        client_free(c[i]);
    }
    assert_true(clock_mono_ms() - before < 5000);
    free(large);
    close_client();
}

/* Answers when the cancel comes, and once more. */
static void answers_late(struct peer *p)
{
    struct frame fr;
    uint64_t id = 0;
    if (!greet(p)) return;
    while (hear(p, &fr)) {
        if (fr.type == FRAME_GENERATE) id = fr.id;
        if (fr.type != FRAME_CANCEL) continue;
        say_started(p, id);
        say_end(p, id);
        say_end(p, id);
    }
}

static void test_what_comes_behind_a_cancel_is_ignored(void **state)
{
    (void)state;
    open_client(answers_late);
    for (int i = 0; i < 50; i++) {
        struct client *c = send_request(&f, chat_request("m", "hello"));
        provider_cancel(f.local, c->id);
        provider_cancel(f.local, c->id);
        client_wait(c);
        assert_int_equal(c->error.code, ERR_CANCELLED);
        provider_cancel(f.local, c->id);
        client_free(c);
    }
    assert_int_equal(atomic_load(&stage.lives), 1);
    close_client();
}

/* ---- control -------------------------------------------------------------------------------- */

static char asked[8][64]; /* by the second worker, in order */
static atomic_int n_asked;

static void answers_control(struct peer *p)
{
    struct frame fr;
    struct error error;
    if (!greet(p)) return;
    while (hear(p, &fr)) {
        struct control_call call;
        if (fr.type != FRAME_CONTROL || codec_read_control(fr.payload, fr.len, &call, &error))
            continue;
        if (p->life == 1 && atomic_load(&n_asked) < 8)
            str_printf(asked[atomic_fetch_add(&n_asked, 1)], 64, "%s %s", control_name(call.what),
                       call.args);
        if (p->life == 0 && call.what == CONTROL_QUEUE) return; /* dies of it */
        struct buf b;
        buf_init(&b, 4096);
        size_t begin = frame_begin(&b, FRAME_ANSWER, fr.id);
        const char *text = "{\"model\":\"m\"}";
        codec_write_answer(&b, &(struct control_answer){.answer = text, .len = strlen(text)});
        assert_int_equal(frame_end(&b, begin), OK);
        say(p, &b);
    }
}

static atomic_int n_answers;

static void on_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    (void)ctx;
    (void)len;
    assert_null(error);
    assert_non_null(text);
    atomic_fetch_add(&n_answers, 1);
}

static void ask_control(enum control what, const char *args)
{
    struct error error;
    int before = atomic_load(&n_answers);
    assert_int_equal(provider_control(f.local, what, args, on_answer, NULL, &error), OK);
    for (int i = 0; i < 5000 && atomic_load(&n_answers) == before; i++) sleep_ms(1);
    assert_int_equal(atomic_load(&n_answers), before + 1);
}

/* What was asked when the worker died is asked again, behind what has to be so again. */
static void test_wishes_are_told_to_the_next_worker(void **state)
{
    (void)state;
    open_client(answers_control);
    ask_control(CONTROL_ADAPTER_LOAD, "{\"adapter_name\":\"a\"}");
    ask_control(CONTROL_ADAPTER_LOAD, "{\"adapter_name\":\"b\"}");
    ask_control(CONTROL_LOAD, "{\"model\":\"x\"}"); /* answers with the id: m */
    ask_control(CONTROL_QUEUE, "{}");
    assert_int_equal(atomic_load(&stage.lives), 2);
    close_client();
    assert_int_equal(atomic_load(&n_asked), 3);
    assert_string_equal(asked[0], "adapter_load {\"adapter_name\":\"b\",\"again\":true}");
    assert_string_equal(asked[1], "load {\"model\":\"x\",\"wait\":false}");
    assert_string_equal(asked[2], "queue {}");
}

/* As above; what is loaded leaves when somebody asks for the queue the first time. */
static char let_go[4][64];
static atomic_int n_let_go;

static void say_left(struct peer *p, const char *id)
{
    struct buf b;
    buf_init(&b, 4096);
    size_t begin = frame_begin(&b, FRAME_LEFT, 0);
    codec_write_left(&b, &(struct left_model){.id = id});
    assert_int_equal(frame_end(&b, begin), OK);
    say(p, &b);
}

static void hear_greeting(struct peer *p)
{
    struct frame fr;
    struct greeting g;
    struct error error;
    struct arena *arena = arena_new(1 << 20);
    assert_true(hear(p, &fr));
    assert_int_equal(codec_read_greeting(fr.payload, fr.len, arena, &g, &error), OK);
    assert_true(g.preload);
    for (size_t i = 0; i < g.n_let_go && p->life == 1; i++)
        str_copy(let_go[atomic_fetch_add(&n_let_go, 1)], 64, g.let_go[i]);
    arena_free(arena);
    say_ready(p, codec_build());
}

static void lets_models_go(struct peer *p)
{
    struct frame fr;
    struct error error;
    hear_greeting(p);
    while (hear(p, &fr)) {
        struct control_call call;
        if (fr.type != FRAME_CONTROL || codec_read_control(fr.payload, fr.len, &call, &error))
            continue;
        if (p->life == 1 && atomic_load(&n_asked) < 8)
            str_printf(asked[atomic_fetch_add(&n_asked, 1)], 64, "%s %s", control_name(call.what),
                       call.args);
        if (p->life == 0 && call.what == CONTROL_QUEUE) {
            say_left(p, "gone");
            say_left(p, "the default one");
            say_left(p, "gone");
            return; /* and dies */
        }
        struct buf b;
        buf_init(&b, 4096);
        size_t begin = frame_begin(&b, FRAME_ANSWER, fr.id);
        codec_write_answer(&b,
                           &(struct control_answer){.answer = call.args, .len = strlen(call.args)});
        assert_int_equal(frame_end(&b, begin), OK);
        say(p, &b);
    }
}

/* A model that has left the memory is not loaded again, nor preloaded. */
static void test_what_has_left_does_not_come_back(void **state)
{
    (void)state;
    struct error error;
    struct worker_params params = {.connect = connect_stage, .start_ms = 2000, .preload = true};
    stage.script = lets_models_go;
    atomic_store(&stage.lives, 0);
    atomic_store(&n_asked, 0);
    f = (struct fixture){0};
    assert_int_equal(worker_open(&params, &f.local, &error), OK);
    ask_control(CONTROL_LOAD, "{\"model\":\"stays\"}");
    ask_control(CONTROL_LOAD, "{\"model\":\"gone\"}");
    ask_control(CONTROL_QUEUE, "{}");
    close_client();
    assert_int_equal(atomic_load(&n_asked), 2);
    assert_string_equal(asked[0], "load {\"model\":\"stays\",\"wait\":false}");
    assert_string_equal(asked[1], "queue {}");
    assert_int_equal(atomic_load(&n_let_go), 2);
    assert_string_equal(let_go[0], "gone");
    assert_string_equal(let_go[1], "the default one");
}

/* ---- what was put in while it runs ------------------------------------------------------------
 */

static struct {
    char dir[64], away[64];
    atomic_bool go_on;
} folder;

static void put_link(const char *name)
{
    char path[200];
    str_printf(path, sizeof path, "%s/%s", folder.dir, name);
    assert_int_equal(symlink(folder.away, path), 0);
}

/* Serves "m", and each model that has the number of an earlier connection; "slow" waits. */
static void lacks_rights(struct peer *p)
{
    struct frame fr;
    if (!greet(p)) return;
    while (hear(p, &fr)) {
        struct gen_request *req;
        struct error error;
        if (fr.type != FRAME_GENERATE || codec_read_request(fr.payload, fr.len, &req, &error))
            continue;
        bool slow = str_eq(req->model, "slow");
        bool known = slow || str_eq(req->model, "m") || atoi(req->model) <= p->life;
        arena_free(req->arena);
        if (slow) {
            say_started(p, fr.id);
            for (int32_t i = 0; i < 3; i++) say_letter(p, fr.id, i);
            p->slow_id = fr.id;
        } else if (known) {
            answer(p, &fr, LETTERS);
        } else {
            err_set(&error, ERR_NO_MODEL, "there is no model \"%d\"", p->life);
            say_event(p, fr.id, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
        }
        if (p->slow_id && atomic_load(&folder.go_on)) {
            for (int32_t i = 3; i < LETTERS; i++) say_letter(p, p->slow_id, i);
            say_end(p, p->slow_id);
            p->slow_id = 0;
        }
    }
}

static struct config *open_folder(void)
{
    struct config *config;
    struct error error;
    str_copy(folder.dir, sizeof folder.dir, "/tmp/hearth-test-XXXXXX");
    str_copy(folder.away, sizeof folder.away, "/tmp/hearth-test-XXXXXX");
    assert_non_null(mkdtemp(folder.dir));
    assert_non_null(mkdtemp(folder.away));
    atomic_store(&folder.go_on, false);
    struct config_override settings[] = {{CONFIG_MODELS_DIR, folder.dir},
                                         {CONFIG_ADAPTERS_DIR, folder.away},
                                         {CONFIG_BUILTIN_DIR, folder.away},
                                         {CONFIG_OLLAMA_MODELS, folder.away}};
    assert_int_equal(config_from(settings, 4, &config, &error), OK);
    open_client_as(lacks_rights, config, 0);
    return config;
}

static void close_folder(struct config *config)
{
    char command[200];
    close_client();
    config_free(config);
    str_printf(command, sizeof command, "rm -rf '%s' '%s'", folder.dir, folder.away);
    assert_int_equal(system(command), 0);
}

static void expect_served(const char *model)
{
    struct client *c = ask(&f, chat_request(model, "hello"));
    check_alphabet(c);
    client_free(c);
}

static void expect_error(const char *model, enum err code, const char *word)
{
    struct client *c = ask(&f, chat_request(model, "hello"));
    assert_int_equal(c->error.code, code);
    assert_non_null(strstr(c->error.msg, word));
    client_free(c);
}

static void test_a_link_put_in_later_gives_an_idle_worker_new_rights(void **state)
{
    (void)state;
    struct config *config = open_folder();
    expect_served("m");
    expect_error("1", ERR_NO_MODEL, "no model"); /* nothing was put in */
    assert_int_equal(atomic_load(&stage.lives), 1);
    put_link("one.gguf");
    sleep_ms(60); /* looks are so far apart at least */
    expect_served("1");
    assert_int_equal(atomic_load(&stage.lives), 2);
    expect_error("9", ERR_NO_MODEL, "no model");
    assert_int_equal(atomic_load(&stage.lives), 2);
    char command[200]; /* the folder itself is another one */
    str_printf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder.dir, folder.dir);
    assert_int_equal(system(command), 0);
    sleep_ms(60);
    expect_served("2");
    assert_int_equal(atomic_load(&stage.lives), 3);
    close_folder(config);
}

static void test_a_link_put_in_later_disturbs_no_running_answer(void **state)
{
    (void)state;
    struct config *config = open_folder();
    expect_served("m");
    struct client *slow = send_request(&f, chat_request("slow", "hello"));
    client_until(slow, slow->n_texts >= 3);
    put_link("one.gguf");
    expect_error("1", ERR_WORKER, "starts anew when nothing runs in it");
    expect_served("m"); /* others go on */
    assert_int_equal(atomic_load(&stage.lives), 1);
    atomic_store(&folder.go_on, true);
    expect_served("m"); /* with it the slow one ends */
    client_wait(slow);
    check_alphabet(slow);
    client_free(slow);
    expect_served("1");
    assert_int_equal(atomic_load(&stage.lives), 2);
    close_folder(config);
}

/* ---- a process of its own ------------------------------------------------------------------- */

enum { SLOW_LOAD_MS = 3500, WINDOW_MS = 3000 };

/* This program as the worker: dies of a model each time when it has loaded that for longer than the
 * window, until it hears that the model is in quarantine. */
static int slow_worker(void)
{
    struct peer p = {.fd = WORKER_FD, .reader = frame_reader_new(64 << 20)};
    struct arena *arena = arena_new(1 << 20);
    struct rlimit no_core = {0};
    struct greeting g;
    struct frame fr;
    struct error error;
    if (setrlimit(RLIMIT_CORE, &no_core) || fcntl(p.fd, F_SETFL, 0)) return 1;
    if (shared_attach(WORKER_SHARED_FD, &error)) return 1;
    if (!hear(&p, &fr) || codec_read_greeting(fr.payload, fr.len, arena, &g, &error)) return 1;
    bool quarantined = g.n_quarantined == 1 && str_eq(g.quarantined[0], "slow");
    say_ready(&p, codec_build());
    while (hear(&p, &fr)) {
        if (quarantined) {
            answer(&p, &fr, LETTERS);
            continue;
        }
        doing_begin(DOING_LOAD, "slow");
        sleep_ms(SLOW_LOAD_MS);
        abort();
    }
    frame_reader_free(p.reader);
    arena_free(arena);
    return 0;
}

static void test_a_slow_load_is_no_way_out_of_quarantine(void **state)
{
    (void)state;
    struct error error;
    struct worker_params params = {.quarantine_ms = WINDOW_MS};
    f = (struct fixture){0};
    assert_int_equal(worker_open(&params, &f.local, &error), OK);
    struct client *c = ask(&f, chat_request("slow", "hello"));
    check_alphabet(c);
    client_free(c);
    provider_close(f.local, 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && str_eq(argv[1], "worker")) return slow_worker();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_a_link_put_in_later_gives_an_idle_worker_new_rights),
        cmocka_unit_test(test_a_link_put_in_later_disturbs_no_running_answer),
        cmocka_unit_test(test_an_answer_goes_on_in_the_next_worker),
        cmocka_unit_test(test_an_answer_goes_on_behind_pauses),
        cmocka_unit_test(test_bad_manners),
        cmocka_unit_test(test_a_worker_that_hangs_is_replaced),
        cmocka_unit_test(test_a_worker_that_is_slow_is_not),
        cmocka_unit_test(test_another_build_is_an_error_for_all),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_at_the_start_ends),
        cmocka_unit_test(test_a_worker_that_does_not_read),
        cmocka_unit_test(test_what_comes_behind_a_cancel_is_ignored),
        cmocka_unit_test(test_wishes_are_told_to_the_next_worker),
        cmocka_unit_test(test_what_has_left_does_not_come_back),
        cmocka_unit_test(test_a_slow_load_is_no_way_out_of_quarantine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
