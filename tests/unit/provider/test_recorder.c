/* The flight recorder in front of a provider whose every event the test sends itself: states and
 * counts, names, the bound on what is kept, cancels that come early and late, many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/recorder.h"

/* ---- a provider by hand -------------------------------------------------------------------- */

enum { CALLS_MAX = 64 };

struct hand {
    struct provider base;
    struct {
        gen_listener_fn fn;
        embed_listener_fn embed_fn;
        void *ctx;
    } calls[CALLS_MAX];
    int n, n_controls, n_pinned;
    atomic_int n_cancels;
    atomic_ullong cancelled;
    enum err refuse;
    void (*inside)(struct hand *h); /* runs inside generate, before it returns */
};

static enum err hand_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                              void *ctx, uint64_t *id, struct error *error)
{
    struct hand *h = container_of(p, struct hand, base);
    h->n_pinned += req->local_only;
    arena_free(req->arena);
    if (h->refuse) return err_set(error, h->refuse, "no");
    h->calls[h->n].fn = fn;
    h->calls[h->n].ctx = ctx;
    h->n++;
    if (h->inside) h->inside(h);
    *id = (uint64_t)h->n + 1000;
    return OK;
}

static enum err hand_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                           void *ctx, uint64_t *id, struct error *error)
{
    (void)error;
    struct hand *h = container_of(p, struct hand, base);
    h->n_pinned += req->local_only;
    arena_free(req->arena);
    h->calls[h->n].embed_fn = fn;
    h->calls[h->n].ctx = ctx;
    *id = (uint64_t)++h->n + 1000;
    return OK;
}

static void hand_cancel(struct provider *p, uint64_t id)
{
    struct hand *h = container_of(p, struct hand, base);
    h->n_cancels++;
    h->cancelled = id;
}

static enum err hand_control(struct provider *p, enum control what, const char *args, control_fn fn,
                             void *ctx, struct error *error)
{
    (void)args;
    struct hand *h = container_of(p, struct hand, base);
    h->n_controls++;
    if (what == CONTROL_UNLOAD) return err_set(error, ERR_BUSY, "no");
    fn(ctx, NULL, "{}", 2);
    return OK;
}

static void hand_close(struct provider *p, int64_t grace_ms)
{
    (void)p, (void)grace_ms;
}

static const struct provider_ops hand_ops = {.name = "hand",
                                             .caps = PROVIDER_GENERATE | PROVIDER_EMBED,
                                             .generate = hand_generate,
                                             .cancel = hand_cancel,
                                             .embed = hand_embed,
                                             .control = hand_control,
                                             .close = hand_close};

static struct hand hand;
static struct recorder *rec;
static int n_changes, n_events, n_last;

static void on_change(void *ctx)
{
    assert_ptr_equal(ctx, &hand);
    n_changes++;
}

static void open_with(size_t keep)
{
    hand = (struct hand){.base = {&hand_ops}};
    rec = recorder_new(&hand.base, keep, on_change, &hand);
    n_changes = n_events = n_last = 0;
}

static void on_event(void *ctx, const struct gen_event *ev)
{
    assert_ptr_equal(ctx, &hand);
    n_events++;
    if (ev->type == GEN_EV_DONE || ev->type == GEN_EV_ERROR) n_last++;
}

static uint64_t generate(const char *request_id)
{
    struct arena *a = arena_new(4096);
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    struct message *m = arena_calloc(a, 1, sizeof *m);
    struct error error;
    uint64_t id;
    *m = (struct message){.role = ROLE_USER, .content = "hi"};
    *req = (struct gen_request){.arena = a,
                                .request_id = request_id,
                                .model = "asked",
                                .tenant = "me",
                                .messages = m,
                                .n_messages = 1,
                                .n = 1,
                                .priority = 5};
    enum err err = provider_generate(recorder_provider(rec), req, on_event, &hand, &id, &error);
    assert_int_equal(err, hand.refuse);
    assert_int_equal(id == 0, err != OK);
    return id;
}

static void send(int call, const struct gen_event *ev)
{
    hand.calls[call].fn(hand.calls[call].ctx, ev);
}

static void send_type(int call, enum gen_event_type type)
{
    struct error error;
    err_set(&error, ERR_CANCELLED, "cancelled");
    send(call, &(struct gen_event){.type = type, .model = "m", .error = &error, .wait_ms = -1});
}

static struct record get(const char *id)
{
    struct record r;
    if (!recorder_get(rec, NULL, id, &r)) fail_msg("no record %s", id);
    return r;
}

static void on_pinned_vectors(void *ctx, const struct embed_result *r)
{
    (void)ctx;
    (void)r;
}

static void check_counts(int running, int waiting)
{
    struct recorder_counts c;
    recorder_counts(rec, &c);
    assert_int_equal(c.running, running);
    assert_int_equal(c.waiting, waiting);
}

/* Whatever asks, and whatever it asked for. */
static void test_a_pinned_hub(void **state)
{
    (void)state;
    open_with(10);
    generate("a");
    assert_int_equal(hand.n_pinned, 0);
    recorder_pin(rec);
    generate("b");
    assert_int_equal(hand.n_pinned, 1);
    struct arena *a = arena_new(4096);
    struct embed_request *req = arena_calloc(a, 1, sizeof *req);
    struct error error;
    uint64_t id;
    *req = (struct embed_request){.arena = a, .request_id = "c", .model = "", .tenant = ""};
    assert_int_equal(
        provider_embed(recorder_provider(rec), req, on_pinned_vectors, NULL, &id, &error), OK);
    assert_int_equal(hand.n_pinned, 2);
    send_type(0, GEN_EV_DONE);
    send_type(1, GEN_EV_DONE);
    hand.calls[2].embed_fn(hand.calls[2].ctx, &(struct embed_result){.model = "m"});
    recorder_free(rec);
}

/* ---- the life of a record ------------------------------------------------------------------ */

static void test_states(void **state)
{
    (void)state;
    open_with(10);
    generate("a");
    assert_int_equal(get("a").state, RECORD_PREPARING);
    check_counts(0, 1);
    send(0, &(struct gen_event){.type = GEN_EV_LOADING, .waits_for = "another"});
    assert_string_equal(get("a").waits_for, "another");
    send(0, &(struct gen_event){.type = GEN_EV_LOADING, .fraction = 0.5f});
    assert_string_equal(get("a").waits_for, "");
    assert_int_equal(get("a").state, RECORD_LOADING);
    assert_true(get("a").load_fraction == 0.5f);
    send(0, &(struct gen_event){.type = GEN_EV_QUEUED, .position = 2, .wait_ms = 70});
    assert_int_equal(get("a").state, RECORD_WAITING);
    assert_int_equal(get("a").wait_ms, 70);
    check_counts(0, 1);
    const struct cache_report cache = {CACHE_DISK, 4, "differs at token 5"};
    send(0, &(struct gen_event){.type = GEN_EV_STARTED,
                                .model = "m",
                                .adapter = "pirate",
                                .usage = {9, 4, 0, 0},
                                .cache = &cache});
    struct record r = get("a");
    assert_int_equal(r.state, RECORD_PREFILLING);
    assert_string_equal(r.model, "m");
    assert_string_equal(r.adapter, "pirate");
    assert_string_equal(r.tenant, "me");
    assert_int_equal(r.cache.source, CACHE_DISK);
    assert_string_equal(r.cache.miss, "differs at token 5");
    check_counts(1, 0);
    send_type(0, GEN_EV_TOKENS); /* not counted: its text follows */
    assert_int_equal(get("a").n_tokens, 0);
    send_type(0, GEN_EV_TEXT);
    send_type(0, GEN_EV_REASONING);
    assert_int_equal(get("a").state, RECORD_DECODING);
    assert_int_equal(get("a").n_tokens, 2);
    send_type(0, GEN_EV_QUEUED); /* others go first */
    assert_int_equal(get("a").state, RECORD_PAUSED);
    check_counts(0, 1);
    send_type(0, GEN_EV_QUEUED); /* its place has changed: the same pause */
    send_type(0, GEN_EV_TOOL_CALL);
    assert_int_equal(get("a").state, RECORD_DECODING);
    assert_int_equal(get("a").n_pauses, 1);
    send(0, &(struct gen_event){.type = GEN_EV_CHOICE_END, .finish = FINISH_LENGTH});
    send(0, &(struct gen_event){.type = GEN_EV_DONE,
                                .model = "m",
                                .usage = {9, 4, 3, 1},
                                .timings = {.decode_ns = 5, .pauses = 1}});
    r = get("a");
    assert_int_equal(r.state, RECORD_DONE);
    assert_int_equal(r.finish, FINISH_LENGTH);
    assert_int_equal(r.usage.completion_tokens, 3);
    assert_int_equal(r.timings.decode_ns, 5);
    assert_true(r.ended_ns >= r.last_ns && r.last_ns >= r.first_ns && r.first_ns >= r.started_ns &&
                r.started_ns >= r.arrived_ns);
    check_counts(0, 0);
    assert_int_equal(n_last, 1);
    assert_true(n_changes >= 2);
    recorder_free(rec);
}

static void on_vectors(void *ctx, const struct embed_result *r)
{
    assert_ptr_equal(ctx, &hand);
    if (!r->error) n_last++;
}

static void test_embeddings_and_refusals(void **state)
{
    (void)state;
    struct error error;
    uint64_t id;
    open_with(10);
    hand.refuse = ERR_BUSY;
    generate("busy");
    assert_int_equal(get("busy").state, RECORD_FAILED);
    assert_int_equal(get("busy").error, ERR_BUSY);
    assert_int_equal(n_events, 0);
    struct arena *a = arena_new(4096);
    struct embed_request *req = arena_calloc(a, 1, sizeof *req);
    struct embed_input input = {.text = "x", .text_len = 1};
    *req = (struct embed_request){.arena = a,
                                  .request_id = "e",
                                  .model = "",
                                  .tenant = "",
                                  .inputs = &input,
                                  .n_inputs = 1,
                                  .query = "q"};
    assert_int_equal(provider_embed(recorder_provider(rec), req, on_vectors, &hand, &id, &error),
                     OK);
    assert_int_equal(get("e").kind, RECORD_RERANK);
    check_counts(0, 1);
    hand.calls[0].embed_fn(
        hand.calls[0].ctx,
        &(struct embed_result){.model = "em", .n_inputs = 1, .n_dims = 1, .prompt_tokens = 4});
    assert_int_equal(get("e").state, RECORD_DONE);
    assert_int_equal(get("e").usage.prompt_tokens, 4);
    assert_int_equal(n_last, 1);
    recorder_free(rec);
}

/* ---- what is kept -------------------------------------------------------------------------- */

static void test_only_the_last_ones_are_kept(void **state)
{
    (void)state;
    char id[16];
    size_t n;
    open_with(3);
    for (int i = 0; i < 10; i++) {
        str_printf(id, sizeof id, "r%d", i);
        generate(id);
    }
    struct record *list = recorder_list(rec, NULL, 100, &n); /* live ones are all there */
    assert_int_equal(n, 10);
    assert_string_equal(list[0].id, "r9");
    free(list);
    for (int i = 0; i < 9; i++) send_type(i, GEN_EV_DONE);
    list = recorder_list(rec, NULL, 100, &n);
    assert_int_equal(n, 4);
    assert_string_equal(list[0].id, "r9"); /* under way */
    assert_string_equal(list[1].id, "r8");
    assert_string_equal(list[3].id, "r6");
    free(list);
    struct record r;
    assert_false(recorder_get(rec, NULL, "r5", &r));
    list = recorder_list(rec, NULL, 2, &n);
    assert_int_equal(n, 2);
    free(list);
    send_type(9, GEN_EV_ERROR);
    recorder_free(rec);

    open_with(0); /* nothing but what is under way */
    uint64_t last = generate("x");
    assert_int_equal(get("x").state, RECORD_PREPARING);
    send_type(0, GEN_EV_DONE);
    assert_false(recorder_get(rec, NULL, "x", &r));
    recorder_wrote(rec, last, 5); /* too late: harmless */
    hand.refuse = ERR_BUSY;
    generate("y");
    recorder_free(rec);
}

static void test_names(void **state)
{
    (void)state;
    open_with(10);
    generate("same");
    generate("same");
    generate("same");
    assert_int_equal(get("same").state, RECORD_PREPARING);
    assert_int_equal(get("same.3").state, RECORD_PREPARING);
    for (int i = 0; i < 3; i++) send_type(i, GEN_EV_DONE);
    generate("same"); /* one of that name has ended: the newest is meant from now on */
    assert_int_equal(get("same").state, RECORD_PREPARING);
    assert_int_equal(get("same.2").state, RECORD_DONE);
    send_type(3, GEN_EV_DONE);
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[128] = '\0';
    generate(longest);
    generate(longest);
    memcpy(longest + 128, ".2", 3);
    assert_int_equal(get(longest).state, RECORD_PREPARING);
    send_type(4, GEN_EV_DONE);
    send_type(5, GEN_EV_DONE);
    recorder_free(rec);
}

/* ---- cancelling ---------------------------------------------------------------------------- */

static void cancel_inside(struct hand *h)
{
    (void)h;
    struct error error;
    assert_int_equal(recorder_cancel_record(rec, NULL, "a", CANCELLED_BY_CALL, &error), OK);
}

static void end_inside(struct hand *h)
{
    (void)h;
    send_type(0, GEN_EV_DONE);
}

static void test_cancels(void **state)
{
    (void)state;
    struct error error;
    open_with(10);
    uint64_t id = generate("a");
    provider_cancel(recorder_provider(rec), id);
    provider_cancel(recorder_provider(rec), 77777); /* unknown */
    assert_int_equal(hand.n_cancels, 1);
    assert_int_equal(hand.cancelled, 1001);
    recorder_cancel(rec, id, CANCELLED_BY_HUB); /* the first one's reason stays */
    send_type(0, GEN_EV_ERROR);
    assert_int_equal(get("a").state, RECORD_CANCELLED);
    assert_int_equal(get("a").cancelled_by, CANCELLED_BY_CLIENT);
    int before = hand.n_cancels;
    provider_cancel(recorder_provider(rec), id); /* over */
    assert_int_equal(hand.n_cancels, before);
    assert_int_equal(recorder_cancel_record(rec, NULL, "a", CANCELLED_BY_CALL, &error),
                     ERR_CONFLICT);
    assert_int_equal(recorder_cancel_record(rec, NULL, "b", CANCELLED_BY_CALL, &error),
                     ERR_NOT_FOUND);
    recorder_free(rec);

    open_with(10); /* before the inner provider gave its id */
    hand.inside = cancel_inside;
    generate("a");
    assert_int_equal(hand.n_cancels, 1);
    assert_int_equal(hand.cancelled, 1001);
    send_type(0, GEN_EV_ERROR);
    assert_int_equal(get("a").cancelled_by, CANCELLED_BY_CALL);
    recorder_free(rec);

    open_with(0); /* over before the inner provider gave its id */
    hand.inside = end_inside;
    generate("a");
    assert_int_equal(n_last, 1);
    recorder_free(rec);
}

static void test_who_ended_it(void **state)
{
    (void)state;
    static const struct {
        enum err code;
        enum canceller by;
        enum record_state state;
    } cases[] = {
        {ERR_STOPPING, CANCELLED_BY_SHUTDOWN, RECORD_CANCELLED},
        {ERR_TIMEOUT, CANCELLED_BY_DEADLINE, RECORD_FAILED},
        {ERR_WORKER, CANCELLED_BY_WORKER, RECORD_FAILED},
        {ERR_ENGINE, CANCELLED_BY_NOBODY, RECORD_FAILED},
    };
    open_with(10);
    for (int i = 0; i < 4; i++) {
        struct error error;
        generate("x");
        err_set(&error, cases[i].code, "because");
        send(i, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
        assert_int_equal(get("x").state, cases[i].state);
        assert_int_equal(get("x").cancelled_by, cases[i].by);
        assert_string_equal(get("x").message, "because");
    }
    recorder_free(rec);
}

static void test_bytes_are_added(void **state)
{
    (void)state;
    open_with(10);
    uint64_t id = generate("a");
    recorder_wrote(rec, id, 5);
    send_type(0, GEN_EV_DONE);
    recorder_wrote(rec, id, 7);
    assert_int_equal(get("a").bytes_written, 12);
    recorder_free(rec);
}

static void on_answer(void *ctx, const struct error *error, const char *answer, size_t len)
{
    (void)answer, (void)len;
    assert_null(error);
    ++*(int *)ctx;
}

static void test_control_passes_through(void **state)
{
    (void)state;
    int answers = 0;
    struct error error;
    open_with(10);
    struct provider *p = recorder_provider(rec);
    assert_int_equal(provider_control(p, CONTROL_QUEUE, "{}", on_answer, &answers, &error), OK);
    assert_int_equal(n_changes, 0);
    assert_int_equal(provider_control(p, CONTROL_LOAD, "{}", on_answer, &answers, &error), OK);
    assert_true(n_changes >= 1);
    assert_int_equal(provider_control(p, CONTROL_UNLOAD, "{}", on_answer, &answers, &error),
                     ERR_BUSY);
    assert_int_equal(answers, 2);
    assert_int_equal(hand.n_controls, 3);
    recorder_free(rec);
}

/* ---- threads ------------------------------------------------------------------------------- */

static atomic_bool stop;

static void *look(void *arg)
{
    while (!atomic_load(&stop)) {
        size_t n;
        struct record r;
        struct recorder_counts c;
        struct error error;
        free(recorder_list(rec, NULL, 20, &n));
        (void)recorder_get(rec, NULL, "t", &r);
        recorder_counts(rec, &c);
        if (recorder_cancel_record(rec, NULL, "t.2", CANCELLED_BY_CALL, &error) == OK) continue;
    }
    return arg;
}

static void test_looking_while_it_happens(void **state)
{
    (void)state;
    pthread_t threads[2];
    open_with(5);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, look, NULL), 0);
    for (int round = 0; round < 200; round++) {
        hand.n = 0;
        uint64_t ids[4];
        for (int i = 0; i < 4; i++) ids[i] = generate("t");
        for (int i = 0; i < 4; i++) {
            send_type(i, GEN_EV_QUEUED);
            send_type(i, GEN_EV_STARTED);
            send_type(i, GEN_EV_TEXT);
            recorder_wrote(rec, ids[i], 1);
            send_type(i, i % 2 ? GEN_EV_DONE : GEN_EV_ERROR);
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    check_counts(0, 0);
    recorder_free(rec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_embeddings_and_refusals),
        cmocka_unit_test(test_only_the_last_ones_are_kept),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_pinned_hub),
        cmocka_unit_test(test_cancels),
        cmocka_unit_test(test_who_ended_it),
        cmocka_unit_test(test_bytes_are_added),
        cmocka_unit_test(test_control_passes_through),
        cmocka_unit_test(test_looking_while_it_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
