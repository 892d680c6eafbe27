/* Requests that wait for their model, because it is being loaded or because others must go first:
 * their deadline, their place in the queue, what is told of them, and unloading what they wait for.
 */
#include "base/metrics.h"
#include "unit/provider/switching.h"

#define BUSY   "fake:ms=2,endless=1,ctx=5000"
#define WANTED "fake:ctx=600"
#define SLOW   "fake:load_ms=10000"

#define until(what)                                                                                \
    do {                                                                                           \
        int64_t end_ = clock_mono_ms() + WAIT_MS;                                                  \
        while (!(what) && clock_mono_ms() < end_) sleep_ms(1);                                     \
        assert_true(what);                                                                         \
    } while (0)

/* One model at a time, and whoever is in memory stays there as long as it works. */
static struct sched_params one_at_a_time(int64_t switch_wait_ms, int32_t capacity)
{
    struct sched_params params = some_params(fake());
    params.exclusive = true;
    params.n_parallel = 1;
    params.switch_wait_ms = switch_wait_ms;
    params.queue_capacity = capacity;
    return params;
}

static struct client *send_busy(struct fixture *f)
{
    struct client *busy = send_request(f, chat_request(BUSY, "busy"));
    client_until(busy, busy->n_texts > 0);
    return busy;
}

static void end_busy(struct fixture *f, struct client *busy)
{
    provider_cancel(f->local, busy->id);
    client_wait(busy);
    client_free(busy);
}

static int32_t waiting(struct fixture *f)
{
    struct sched_stats st;
    sched_stats(f->sched, &st);
    return st.waiting;
}

static void answered(struct client *c)
{
    client_wait(c);
    if (c->error.code) fail_msg("%s", c->error.msg);
    client_free(c);
}

static void refused(struct client *c, enum err code, const char *words)
{
    client_wait(c);
    assert_int_equal(c->error.code, code);
    if (!strstr(c->error.msg, words)) fail_msg("%s", c->error.msg);
    client_free(c);
}

static struct gen_request *due_in(struct gen_request *req, int64_t ms)
{
    req->deadline_ms = clock_mono_ms() + ms;
    return req;
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void test_a_deadline_ends_the_wait_for_room(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, one_at_a_time(600000, 100));
    struct client *busy = send_busy(&f);
    struct client *late = send_request(&f, due_in(chat_request(WANTED, "x"), 100));
    struct client *patient = send_request(&f, due_in(chat_request(WANTED, "x"), 600000));
    refused(late, ERR_TIMEOUT, "for its model " WANTED);
    assert_false(busy->done);
    until(waiting(&f) == 1);
    end_busy(&f, busy);
    answered(patient);
    fixture_close(&f, 0);
}

static void test_a_deadline_ends_the_wait_for_a_load(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    struct client *patient = send_request(&f, chat_request(SLOW, "x"));
    struct client *last = send_request(&f, due_in(chat_request(SLOW, "x"), 300));
    struct client *first = send_request(&f, due_in(chat_request(SLOW, "x"), 100));
    refused(first, ERR_TIMEOUT, "deadline");
    refused(last, ERR_TIMEOUT, "deadline");
    assert_false(patient->done);
    provider_cancel(f.local, patient->id);
    refused(patient, ERR_CANCELLED, "cancelled");
    fixture_close(&f, 0);
}

static void test_what_is_too_late_already_does_not_start(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    answered(send_request(&f, due_in(chat_request(WANTED, "x"), 600000)));
    refused(send_request(&f, due_in(chat_request(WANTED, "x"), -1)), ERR_TIMEOUT, "deadline");
    refused(send_request(&f, due_in(chat_request(SLOW, "x"), -1)), ERR_TIMEOUT, "deadline");
    assert_int_equal(waiting(&f), 0);
    fixture_close(&f, 0);
}

/* ---- places ---------------------------------------------------------------------------------- */

static int64_t number(const json_t *queue, const char *name)
{
    return json_integer_value(json_object_get(queue, name));
}

static void check_queue(struct fixture *f)
{
    json_t *queue = control_ok(f, CONTROL_QUEUE, "{}");
    assert_int_equal(number(queue, "depth"), 3);
    assert_int_equal(number(queue, "waiting"), 3);
    assert_int_equal(number(queue, "running"), 1);
    assert_int_equal(number(queue, "tenants"), 2);
    assert_true(number(queue, "oldest_wait_ms") >= 20);
    const json_t *levels = json_object_get(queue, "by_priority");
    assert_int_equal(json_array_size(levels), 2);
    assert_int_equal(number(json_array_get(levels, 0), "priority"), 7);
    assert_int_equal(number(json_array_get(levels, 0), "waiting"), 1);
    assert_int_equal(number(json_array_get(levels, 1), "waiting"), 2);
    json_decref(queue);
}

static int64_t oldest_wait_ms(struct fixture *f)
{
    struct sched_stats st;
    sched_stats(f->sched, &st);
    return st.oldest_wait_ms;
}

static struct sched_model_status status_of(struct fixture *f, const char *id)
{
    struct sched_model_status st[8];
    size_t n = sched_models(f->sched, st, 8);
    for (size_t i = 0; i < n && i < 8; i++)
        if (str_eq(st[i].id, id)) return st[i];
    return (struct sched_model_status){.state = MODEL_ON_DISK};
}

static int32_t waiting_for(struct fixture *f, const char *id)
{
    return status_of(f, id).waiting;
}

static void test_who_waits_for_a_model_has_a_place_in_the_queue(void **state)
{
    (void)state;
    struct fixture f;
    struct client *accepted[3];
    int64_t before = metric_value(METRIC_requests_waiting);
    open_with(&f, one_at_a_time(600000, 3));
    struct client *busy = send_busy(&f);
    for (int i = 0; i < 3; i++) {
        struct gen_request *req = chat_request(WANTED, "x");
        if (i == 0) req->priority = 7;
        if (i == 2) req->tenant = "another";
        accepted[i] = send_request(&f, req);
        until(waiting(&f) == i + 1);
    }
    refused(send_request(&f, chat_request(WANTED, "x")), ERR_BUSY, "3 requests wait");
    until(waiting_for(&f, WANTED) == 3);
    until(oldest_wait_ms(&f) >= 20);
    check_queue(&f);
    assert_int_equal(metric_value(METRIC_requests_waiting), before + 3);
    end_busy(&f, busy);
    for (int i = 0; i < 3; i++) answered(accepted[i]);
    until(waiting(&f) == 0);
    assert_int_equal(metric_value(METRIC_requests_waiting), before);
    fixture_close(&f, 0);
}

/* What was accepted by a model that then makes way keeps its place, however full the queue is. */
static void test_who_is_sent_back_keeps_its_place(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, one_at_a_time(50, 2));
    struct client *busy = send_busy(&f);
    struct gen_request *req = chat_request(BUSY, "x");
    req->max_tokens = 3;
    struct client *sent_back = send_request(&f, req);
    client_until(sent_back, sent_back->n_queued > 0);
    struct client *wanted = send_request(&f, chat_request(WANTED, "x"));
    client_until(sent_back, sent_back->n_loading > 0); /* it waits for its model again */
    assert_int_equal(waiting(&f), 2);
    refused(send_request(&f, chat_request(BUSY, "x")), ERR_BUSY, "the queue is full");
    assert_true(oldest_wait_ms(&f) >= 50);
    end_busy(&f, busy);
    answered(wanted);
    answered(sent_back);
    until(waiting(&f) == 0);
    fixture_close(&f, 0);
}

static void test_who_leaves_gives_its_place_back(void **state)
{
    (void)state;
    struct fixture f;
    int64_t before = metric_value(METRIC_requests_waiting);
    open_with(&f, some_params(fake()));
    struct client *c = send_request(&f, chat_request(SLOW, "x"));
    until(waiting(&f) == 1);
    provider_cancel(f.local, c->id);
    refused(c, ERR_CANCELLED, "cancelled");
    until(waiting(&f) == 0);
    json_decref(control_ok(&f, CONTROL_UNLOAD, "{\"model\":\"" SLOW "\"}")); /* its load goes on */
    const char *text = "text";
    refused(send_request(&f, chat_request("fake:fail_load=broken", "x")), ERR_MODEL_FILE, "broken");
    c = embed(&f, embed_request("fake:kind=embed,load_ms=20", 1, &text));
    assert_int_equal(c->error.code, OK);
    client_free(c);
    assert_int_equal(waiting(&f), 0);
    assert_int_equal(metric_value(METRIC_requests_waiting), before);
    fixture_close(&f, 0);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static void test_a_wait_for_room_is_told_like_a_load(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, one_at_a_time(600000, 100));
    struct client *busy = send_busy(&f);
    struct client *c = send_request(&f, chat_request(WANTED, "x"));
    client_until(c, c->n_loading > 0);
    client_until(c, c->waits_for[0]);
    assert_string_equal(c->waits_for, BUSY);
    struct client *later = send_request(&f, chat_request(WANTED, "x"));
    client_until(later, later->waits_for[0]); /* what is known already */
    assert_string_equal(status_of(&f, WANTED).waits_for, BUSY);
    assert_false(busy->done);
    end_busy(&f, busy);
    answered(c);
    answered(later);
    assert_string_equal(status_of(&f, WANTED).waits_for, "");
    fixture_close(&f, 0);
}

/* The verb's member of a model. */
static json_t *member(struct fixture *f, const char *id, const char *name)
{
    json_t *all = control_ok(f, CONTROL_MODELS, "{}"), *found = NULL;
    const json_t *models = json_object_get(all, "models");
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        if (str_eq(json_string_value(json_object_get(m, "id")), id))
            found = json_incref(json_object_get(m, name));
    }
    json_decref(all);
    return found;
}

static void test_a_model_that_leaves_is_told_so(void **state)
{
    (void)state;
    struct fixture f;
    struct answer unload = ANSWER_INIT;
    struct error error;
    open_with(&f, some_params(fake()));
    struct client *busy = send_busy(&f);
    assert_true(json_is_false(member(&f, BUSY, "leaving")));
    assert_int_equal(provider_control(f.local, CONTROL_UNLOAD, "{\"model\":\"" BUSY "\"}",
                                      on_answer, &unload, &error),
                     OK);
    until(status_of(&f, BUSY).leaving);
    assert_true(json_is_true(member(&f, BUSY, "leaving")));
    end_busy(&f, busy);
    json_decref(answer_wait(&unload, &error));
    assert_false(status_of(&f, BUSY).leaving);
    fixture_close(&f, 0);
}

static void test_a_load_is_told_four_times_a_second(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    struct client *c = ask(&f, chat_request("fake:load_ms=700", "x"));
    assert_int_equal(c->error.code, OK);
    assert_true(c->n_loading >= 2);
    assert_true(c->n_loading <= 1 + c->timings.load_ns / 250000000);
    client_free(c);
    fixture_close(&f, 0);
}

/* ---- unloading what is not loaded yet -------------------------------------------------------- */

static enum model_state state_of(struct fixture *f, const char *id)
{
    return status_of(f, id).state;
}

static void begin(struct fixture *f, enum control what, const char *args, struct answer *a)
{
    struct error error;
    assert_int_equal(provider_control(f->local, what, args, on_answer, a, &error), OK);
}

static void check_unloaded(json_t *answer)
{
    assert_non_null(answer);
    assert_string_equal(json_string_value(json_object_get(answer, "state")), "unloaded");
    json_decref(answer);
}

/* The load was asked for, and nobody wants to use the model. */
static void end_load(struct fixture *f, const char *id)
{
    struct answer load = ANSWER_INIT;
    struct error error;
    char args[128];
    snprintf(args, sizeof args, "{\"model\":\"%s\"}", id);
    begin(f, CONTROL_LOAD, args, &load);
    until(state_of(f, id) == MODEL_LOADING);
    check_unloaded(control_ok(f, CONTROL_UNLOAD, args));
    assert_null(answer_wait(&load, &error));
    assert_int_equal(error.code, ERR_CONFLICT);
    assert_non_null(strstr(error.msg, "unloaded it meanwhile"));
    assert_int_equal(state_of(f, id), MODEL_ON_DISK);
}

static void test_an_unload_ends_a_load_that_nobody_waits_for(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, one_at_a_time(600000, 100));
    end_load(&f, SLOW);
    struct client *busy = send_busy(&f);
    end_load(&f, WANTED); /* which waits for room */
    end_busy(&f, busy);
    answered(send_request(&f, chat_request(WANTED, "x"))); /* it can be had again */
    fixture_close(&f, 0);
}

static void count_left(void *ctx, const char *id)
{
    assert_string_equal(id, SLOW);
    atomic_fetch_add((atomic_int *)ctx, 1);
}

/* Else it would come back with the next worker. */
static void test_a_load_that_was_ended_is_told_as_left(void **state)
{
    (void)state;
    struct fixture f;
    atomic_int n_left = 0;
    struct sched_params params = some_params(fake());
    params.on_left = count_left;
    params.left_ctx = &n_left;
    open_with(&f, params);
    end_load(&f, SLOW);
    assert_int_equal(n_left, 1);
    fixture_close(&f, 0);
}

static void test_an_unload_lets_those_who_wait_be_served(void **state)
{
    (void)state;
    struct fixture f;
    struct answer load = ANSWER_INIT, unload = ANSWER_INIT;
    struct error error;
    open_with(&f, one_at_a_time(600000, 100));
    struct client *busy = send_busy(&f);
    struct client *c = send_request(&f, chat_request(WANTED, "x"));
    until(waiting_for(&f, WANTED) == 1);
    begin(&f, CONTROL_LOAD, "{\"model\":\"" WANTED "\"}", &load);
    begin(&f, CONTROL_UNLOAD, "{\"model\":\"" WANTED "\"}", &unload);
    assert_null(answer_wait(&load, &error));
    assert_int_equal(error.code, ERR_CONFLICT);
    assert_int_equal(unload.n_calls, 0);
    end_busy(&f, busy);
    answered(c);
    check_unloaded(answer_wait(&unload, &error));
    assert_false(in_memory(&f, WANTED));
    fixture_close(&f, 0);
}

static void test_an_unload_ends_with_the_last_who_waits(void **state)
{
    (void)state;
    struct fixture f;
    struct answer unload = ANSWER_INIT;
    struct error error;
    open_with(&f, some_params(fake()));
    struct client *c = send_request(&f, chat_request(SLOW, "x"));
    until(waiting_for(&f, SLOW) == 1);
    begin(&f, CONTROL_UNLOAD, "{\"model\":\"" SLOW "\"}", &unload);
    provider_cancel(f.local, c->id);
    refused(c, ERR_CANCELLED, "cancelled");
    check_unloaded(answer_wait(&unload, &error));
    assert_int_equal(state_of(&f, SLOW), MODEL_ON_DISK);
    fixture_close(&f, 0);
}

static void test_closing_while_an_unload_waits_for_a_load(void **state)
{
    (void)state;
    struct fixture f;
    struct answer unload = ANSWER_INIT;
    struct error error;
    open_with(&f, one_at_a_time(600000, 100));
    struct client *busy = send_busy(&f);
    struct client *c = send_request(&f, chat_request(WANTED, "x"));
    until(waiting_for(&f, WANTED) == 1);
    begin(&f, CONTROL_UNLOAD, "{\"model\":\"" WANTED "\"}", &unload);
    sleep_ms(20);
    fixture_close(&f, 0);
    json_t *answer = answer_wait(&unload, &error);
    json_decref(answer);
    assert_int_equal(c->n_last, 1);
    client_free(c);
    client_free(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deadline_ends_the_wait_for_room),
        cmocka_unit_test(test_a_deadline_ends_the_wait_for_a_load),
        cmocka_unit_test(test_what_is_too_late_already_does_not_start),
        cmocka_unit_test(test_who_waits_for_a_model_has_a_place_in_the_queue),
        cmocka_unit_test(test_who_is_sent_back_keeps_its_place),
        cmocka_unit_test(test_who_leaves_gives_its_place_back),
        cmocka_unit_test(test_a_wait_for_room_is_told_like_a_load),
        cmocka_unit_test(test_a_model_that_leaves_is_told_so),
        cmocka_unit_test(test_a_load_is_told_four_times_a_second),
        cmocka_unit_test(test_an_unload_ends_a_load_that_nobody_waits_for),
        cmocka_unit_test(test_a_load_that_was_ended_is_told_as_left),
        cmocka_unit_test(test_an_unload_lets_those_who_wait_be_served),
        cmocka_unit_test(test_an_unload_ends_with_the_last_who_waits),
        cmocka_unit_test(test_closing_while_an_unload_waits_for_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
