/* Which models are in memory: the budget, eviction, keep_alive, exclusive mode, plans, storms. The
 * fake engine's models say their own sizes, so every number here is exact. */
#include "base/str.h"
#include "unit/sched/harness.h"

/* Eight sequences of ctx tokens, one byte a cell. */
#define SIZE(weights, ctx) ((weights) + 8 * (ctx))

static struct sched_params budget(int64_t bytes)
{
    struct sched_params p = some_params();
    p.shared_kv = false;
    p.memory = bytes;
    p.switch_wait_ms = 60000;
    return p;
}

static struct sched_model_status status_of(struct fixture *f, const char *id)
{
    struct sched_model_status st[16];
    size_t n = sched_models(f->sched, st, 16);
    for (size_t i = 0; i < n; i++)
        if (str_eq(st[i].id, id)) return st[i];
    return (struct sched_model_status){.state = MODEL_ON_DISK};
}

static bool in_memory(struct fixture *f, const char *id)
{
    return status_of(f, id).state == MODEL_READY;
}

static uint64_t used(struct fixture *f)
{
    struct sched_memory m;
    sched_memory(f->sched, &m);
    return m.used;
}

#define until(what)                                                                                \
    do {                                                                                           \
        int64_t end_ = clock_mono_ms() + WAIT_MS;                                                  \
        while (!(what) && clock_mono_ms() < end_) sleep_ms(1);                                     \
        assert_true(what);                                                                         \
    } while (0)

static enum err load_with(struct fixture *f, const char *id, const char *path,
                          int64_t keep_alive_ms, struct loading *l)
{
    struct sched_load_listener listener = {.on_done = loading_done, .ctx = l};
    struct sched_load load = {.id = id, .path = path, .keep_alive_ms = keep_alive_ms};
    struct error error;
    return sched_load(f->sched, &load, &listener, &error);
}

static struct sched_model *load_now(struct fixture *f, const char *id, const char *path)
{
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(f, id, path, KEEP_ALIVE_DEFAULT, &l), OK);
    return load_wait(&l);
}

static enum err load_error(struct fixture *f, const char *id, const char *path, char *msg)
{
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(f, id, path, KEEP_ALIVE_DEFAULT, &l), OK);
    assert_null(load_wait(&l));
    strcpy(msg, l.error.msg);
    return l.error.code;
}

static struct client *ask_of(struct fixture *f, const char *id, struct ask a)
{
    struct client *c = client_new();
    struct error error;
    struct sched_model *m = sched_find(f->sched, id);
    assert_non_null(m);
    assert_int_equal(try_ask_model(f, m, c, a, &error), OK);
    sched_model_unref(m);
    return c;
}

static void use(struct fixture *f, const char *id)
{
    struct client *c = ask_of(f, id, (struct ask){.text = "hello"});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    client_free(c);
}

static struct sched_plan plan(struct fixture *f, const char *id, const char *path, int32_t n_ctx)
{
    struct sched_plan p;
    struct error error;
    struct sched_load load = {.id = id, .path = path};
    assert_int_equal(sched_plan(f->sched, &load, n_ctx, &p, &error), OK);
    return p;
}

/* ---- the budget ------------------------------------------------------------------------------ */

static void test_numbers_of_the_ledger(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(10000));
    load_now(&f, "m", "fake:ctx=100,cell=1,weights=500,compute=70");
    struct sched_model_status st = status_of(&f, "m");
    assert_int_equal(st.memory.host.weights, 500);
    assert_int_equal(st.memory.host.kv, 800);
    assert_int_equal(st.memory.host.compute, 70);
    assert_int_equal(used(&f), 1370);
    assert_int_equal(st.n_ctx, 100);
    assert_int_equal(st.n_slots, 8);
    assert_int_equal(st.kind, MODEL_CHAT);
    fixture_close(&f);
}

/* Cells of q8_0 take 34 bytes where those of f16 take 64, before the load as after it; where the
 * model can't have them, those of f16 count. What `hearth bench` found goes before the setting. */
static void test_numbers_follow_the_type_of_the_cells(void **state)
{
    (void)state;
    struct shape_profile found = {.model = "found", .kv_type = ENGINE_KV_Q8_0};
    static const struct {
        enum engine_kv_type type;
        const char *id, *path;
        uint64_t kv;
    } cases[] = {
        {ENGINE_KV_F16, "m", "fake:ctx=100,cell=64", 800 * 64},
        {ENGINE_KV_Q8_0, "m", "fake:ctx=100,cell=64", 800 * 34},
        {ENGINE_KV_Q8_0, "m", "fake:ctx=100,cell=64,only_f16=1", 800 * 64},
        {ENGINE_KV_Q8_0, "m", "fake:ctx=100,cell=64,kind=embed", 0},
        {ENGINE_KV_F16, "found", "fake:ctx=100,cell=64", 800 * 34},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct sched_params p = budget(1 << 20);
        p.kv_type = cases[i].type;
        p.shapes = &found;
        p.n_shapes = 1;
        fixture_open(&f, NULL, p);
        uint64_t planned = plan(&f, cases[i].id, cases[i].path, 0).needs.host.kv;
        load_now(&f, cases[i].id, cases[i].path);
        assert_int_equal(status_of(&f, cases[i].id).memory.host.kv, planned);
        if (cases[i].kv) assert_int_equal(planned, cases[i].kv);
        assert_int_equal(used(&f), 1000 + planned);
        fixture_close(&f);
    }
}

/* With plenty of memory it is not measured first: until it is loaded only a bound is known. */
static void test_what_is_loaded_unmeasured_takes_no_more_than_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct loading l = LOADING_INIT;
    struct error error;
    fixture_open(&f, NULL, budget((int64_t)1 << 40));
    struct sched_load_listener listener = {.on_done = loading_done, .ctx = &l};
    struct sched_load load = {.id = "m",
                              .path = "fake:ctx=100,cell=1,weights=500,load_ms=300",
                              .size = {.file_bytes = 500, .n_layer = 1, .n_embd = 32}};
    assert_int_equal(sched_load(f.sched, &load, &listener, &error), OK);
    until(status_of(&f, "m").memory_is_bound);
    struct engine_memory_use bound = status_of(&f, "m").memory.host;
    load_wait(&l);
    assert_false(status_of(&f, "m").memory_is_bound);
    assert_in_range(used(&f), 1, bound.weights + bound.kv + bound.compute - 1);
    fixture_close(&f);
}

static void test_what_never_fits_is_refused_before_loading(void **state)
{
    (void)state;
    struct fixture f;
    char msg[ERROR_MSG_MAX];
    fixture_open(&f, NULL, budget(1000));
    int64_t before = clock_mono_ms();
    assert_int_equal(load_error(&f, "m", "fake:ctx=100,cell=1,weights=950,load_ms=5000", msg),
                     ERR_NOMEM);
    assert_true(clock_mono_ms() - before < 2000);
    assert_non_null(strstr(msg, "weights 950 B"));
    assert_non_null(strstr(msg, "HEARTH_MEMORY"));
    assert_non_null(strstr(msg, "1000 B"));
    assert_int_equal(used(&f), 0);
    assert_int_equal(status_of(&f, "m").state, MODEL_FAILED);
    fixture_close(&f);
}

static void test_idle_models_make_room_the_cheapest_first(void **state)
{
    (void)state;
    struct fixture f;
    int64_t evicted = metric_value(METRIC_models_evicted_total);
    fixture_open(&f, NULL, budget(3 * SIZE(500, 10)));
    load_now(&f, "a", "fake:ctx=10,cell=1,weights=500,reply=a");
    load_now(&f, "b", "fake:ctx=10,cell=1,weights=500,reply=b");
    load_now(&f, "c", "fake:ctx=10,cell=1,weights=500,reply=c");
    for (int i = 0; i < 5; i++) use(&f, "a");
    use(&f, "c");
    until(plan(&f, "d", "fake:ctx=10,cell=1,weights=1600", 0).n_evict == 3); /* all are idle */
    load_now(&f, "d", "fake:ctx=10,cell=1,weights=500,reply=d");
    assert_true(in_memory(&f, "a"));
    assert_false(in_memory(&f, "b")); /* nobody wanted it */
    assert_true(in_memory(&f, "c"));
    assert_int_equal(used(&f), 3 * SIZE(500, 10));
    assert_int_equal(metric_value(METRIC_models_evicted_total) - evicted, 1);
    struct sched_model *m = sched_find(f.sched, "d");
    char ids[4][MODEL_ID_MAX];
    assert_int_equal(sched_model_evicted(m, ids, 4), 1);
    assert_string_equal(ids[0], "b");
    sched_model_unref(m);
    use(&f, "d");
    fixture_close(&f);
}

static void test_who_was_asked_to_stay_leaves_last(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(2 * SIZE(500, 10)));
    struct loading l = LOADING_INIT;
    assert_int_equal(
        load_with(&f, "pinned", "fake:ctx=10,cell=1,weights=500,reply=p", KEEP_ALIVE_FOREVER, &l),
        OK);
    load_wait(&l);
    load_now(&f, "used", "fake:ctx=10,cell=1,weights=500,reply=used");
    for (int i = 0; i < 5; i++) use(&f, "used");
    until(plan(&f, "new", "fake:ctx=10,cell=1,weights=1000", 0).n_evict == 2); /* both are idle */
    load_now(&f, "new", "fake:ctx=10,cell=1,weights=500,reply=new");
    assert_true(in_memory(&f, "pinned"));
    assert_false(in_memory(&f, "used"));
    load_now(&f, "large", "fake:ctx=10,cell=1,weights=1000"); /* somebody waits for it */
    assert_false(in_memory(&f, "pinned"));
    fixture_close(&f);
}

static void test_a_model_at_work_is_never_evicted(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(SIZE(500, 1000)));
    load_now(&f, "a", "fake:ctx=1000,cell=1,weights=500,endless=1,ms=1");
    struct client *c = ask_of(&f, "a", (struct ask){.text = "busy", .ignore_eos = true});
    client_until(c, c->text[0].len > 0);
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "b", "fake:ctx=10,cell=1,weights=4000", KEEP_ALIVE_DEFAULT, &l),
                     OK);
    sleep_ms(100);
    assert_int_equal(l.done, 0);
    assert_true(in_memory(&f, "a"));
    sched_cancel(f.sched, c->id); /* now it is idle */
    client_wait(c);
    assert_non_null(load_wait(&l));
    assert_false(in_memory(&f, "a"));
    client_free(c);
    fixture_close(&f);
}

static void test_a_small_one_does_not_wait_behind_a_large_one(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(SIZE(1000, 100)));
    load_now(&f, "a", "fake:ctx=100,cell=1,weights=500,endless=1,ms=1");
    struct client *c = ask_of(&f, "a", (struct ask){.text = "busy", .ignore_eos = true});
    client_until(c, c->text[0].len > 0);
    struct loading large = LOADING_INIT;
    assert_int_equal(
        load_with(&f, "large", "fake:ctx=10,cell=1,weights=1000", KEEP_ALIVE_DEFAULT, &large), OK);
    load_now(&f, "small", "fake:ctx=1,cell=1,weights=10");
    assert_int_equal(large.done, 0);
    client_wait(c); /* its context is full */
    assert_non_null(load_wait(&large));
    client_free(c);
    fixture_close(&f);
}

static void test_less_memory_makes_a_pool_then_a_shorter_context(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(100 + 6000));
    load_now(&f, "pool", "fake:ctx=4096,cell=1,weights=100"); /* 8 x 4096 would be the full form */
    struct sched_model_status st = status_of(&f, "pool");
    assert_int_equal(st.n_ctx, 4096);
    assert_in_range(st.memory.host.kv, 5700, 6000);
    use(&f, "pool");
    load_now(&f, "short", "fake:ctx=100000,cell=1,weights=100"); /* asked for 8192, got what is */
    st = status_of(&f, "short");
    assert_in_range(st.n_ctx, 5700, 6000);
    assert_false(in_memory(&f, "pool"));
    fixture_close(&f);
}

static void test_a_context_that_was_asked_for_is_not_cut(void **state)
{
    (void)state;
    struct fixture f;
    char msg[ERROR_MSG_MAX];
    struct sched_params p = budget(100 + 1000);
    p.n_ctx = 2000;
    fixture_open(&f, NULL, p);
    assert_int_equal(load_error(&f, "m", "fake:ctx=100000,cell=1,weights=100", msg), ERR_NOMEM);
    assert_non_null(strstr(msg, "context of 2000 tokens"));
    fixture_close(&f);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static void test_a_load_does_what_the_plan_said(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(3 * SIZE(500, 10)));
    load_now(&f, "a", "fake:ctx=10,cell=1,weights=500,reply=a");
    load_now(&f, "b", "fake:ctx=10,cell=1,weights=500,reply=b");
    use(&f, "a");
    static const struct {
        const char *path;
        bool fits;
        size_t n_evict;
    } cases[] = {
        {"fake:ctx=10,cell=1,weights=400", true, 0},
        {"fake:ctx=10,cell=1,weights=800", true, 1},
        {"fake:ctx=10,cell=1,weights=1600", true, 2},
        {"fake:ctx=10,cell=1,weights=1800", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        until(plan(&f, "new", cases[i].path, 0).n_evict == cases[i].n_evict); /* both are idle */
        struct sched_plan p = plan(&f, "new", cases[i].path, 0);
        assert_int_equal(p.fits, cases[i].fits);
        assert_int_equal(p.memory.budget, 3 * SIZE(500, 10));
        if (p.n_evict == 1) assert_string_equal(p.evict[0], "b");
        if (!p.fits) assert_non_null(strstr(p.reason, "does not fit"));
    }
    until(plan(&f, "new", cases[2].path, 0).n_evict == 2);
    struct sched_plan p = plan(&f, "new", cases[1].path, 0);
    load_now(&f, "new", cases[1].path);
    assert_true(in_memory(&f, "a"));
    assert_false(in_memory(&f, "b"));
    struct sched_model_status st = status_of(&f, "new");
    assert_memory_equal(&st.memory, &p.needs, sizeof p.needs);
    assert_int_equal(plan(&f, "new", cases[1].path, 0).n_evict, 0); /* it is there */
    fixture_close(&f);
}

static void test_a_plan_for_another_context(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(SIZE(500, 1000)));
    load_now(&f, "a", "fake:ctx=100000,cell=1,weights=500");
    struct sched_plan p = plan(&f, "a", "fake:ctx=100000,cell=1,weights=500", 50);
    assert_true(p.fits);
    assert_int_equal(p.n_ctx, 50);
    assert_int_equal(p.needs.host.kv, 400);
    p = plan(&f, "a", "fake:ctx=100000,cell=1,weights=500", 90000);
    assert_false(p.fits);
    fixture_close(&f);
}

/* ---- keep_alive ------------------------------------------------------------------------------ */

static void test_keep_alive_none_leaves_with_its_last_request(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = budget(100000);
    params.keep_alive_ms = KEEP_ALIVE_NONE;
    fixture_open(&f, NULL, params);
    load_now(&f, "m", "fake:ctx=500,ms=5");
    sleep_ms(30);
    assert_true(in_memory(&f, "m")); /* it was loaded for somebody who did not come yet */
    struct client *a = ask_of(&f, "m", (struct ask){.text = "aaaaaaaaaa"});
    struct client *b = ask_of(&f, "m", (struct ask){.text = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"});
    client_wait(a);
    sleep_ms(20);
    assert_true(in_memory(&f, "m")); /* b goes on */
    client_wait(b);
    until(!in_memory(&f, "m"));
    until(used(&f) == 0);
    load_now(&f, "m", "fake:ctx=500,ms=5"); /* and again */
    use(&f, "m");
    until(!in_memory(&f, "m"));
    assert_int_equal(status_of(&f, "m").loads, 2);
    client_free(a);
    client_free(b);
    fixture_close(&f);
}

static void test_a_reference_keeps_what_is_loaded(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = budget(100000);
    params.keep_alive_ms = KEEP_ALIVE_NONE;
    fixture_open(&f, NULL, params);
    load_now(&f, "m", "fake:ctx=500");
    struct sched_model *m = sched_find(f.sched, "m");
    use(&f, "m");
    sleep_ms(30);
    assert_true(in_memory(&f, "m"));
    assert_non_null(sched_engine_model(m));
    sched_model_unref(m);
    until(!in_memory(&f, "m"));
    fixture_close(&f);
}

static void test_keep_alive_ends_after_its_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(100000));
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "m", "fake:ctx=500", 80, &l), OK);
    load_wait(&l);
    struct sched_model_status st = status_of(&f, "m");
    assert_int_equal(st.keep_alive_ms, 80);
    assert_in_range(st.expires_ms, 0, 80);
    int64_t before = clock_mono_ms();
    until(!in_memory(&f, "m"));
    assert_true(clock_mono_ms() - before > 40);
    load_now(&f, "n", "fake:ctx=500"); /* of which nobody says it: for ever */
    sleep_ms(150);
    assert_true(in_memory(&f, "n"));
    assert_int_equal(status_of(&f, "n").expires_ms, -1);
    fixture_close(&f);
}

static void unloaded(void *ctx)
{
    atomic_store((atomic_int *)ctx, 1);
}

/* A request's keep_alive counts when the request is gone: behind the end of the one after it. */
static void use_with(struct fixture *f, const char *id, int64_t keep_alive_ms)
{
    struct client *c = ask_of(f, id, (struct ask){.text = "hi", .keep_alive_ms = keep_alive_ms});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    client_free(c);
    use(f, id);
}

static void test_what_was_said_of_keep_alive_holds_until_something_else_is(void **state)
{
    (void)state;
    enum { MINUTE = 60000 };
    struct fixture f;
    struct error error;
    fixture_open(&f, NULL, budget(100000));
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "m", "fake:ctx=500", 10 * MINUTE, &l), OK);
    load_wait(&l);
    use_with(&f, "m", KEEP_ALIVE_DEFAULT);
    assert_int_equal(status_of(&f, "m").keep_alive_ms, 10 * MINUTE);
    load_now(&f, "m", "fake:ctx=500"); /* nor does a load that says nothing change it */
    assert_int_equal(status_of(&f, "m").keep_alive_ms, 10 * MINUTE);
    use_with(&f, "m", 5 * MINUTE);
    use_with(&f, "m", KEEP_ALIVE_DEFAULT);
    assert_int_equal(status_of(&f, "m").keep_alive_ms, 5 * MINUTE);
    atomic_int gone = 0;
    assert_int_equal(sched_unload(f.sched, "m", unloaded, &gone, &error), OK);
    until(atomic_load(&gone));
    load_now(&f, "m", "fake:ctx=500"); /* what was said is over with its stay */
    assert_int_equal(status_of(&f, "m").keep_alive_ms, KEEP_ALIVE_FOREVER);
    /* "0" is not taken back by those that wait behind it. The reference keeps the model until both
     * have come. */
    struct client *none = client_new(), *nothing = client_new();
    struct sched_model *m = sched_find(f.sched, "m");
    assert_non_null(m);
    struct ask zero = {.text = "x", .keep_alive_ms = KEEP_ALIVE_NONE};
    assert_int_equal(try_ask_model(&f, m, none, zero, &error), OK);
    assert_int_equal(
        try_ask_model(&f, m, nothing, (struct ask){.text = "a longer one than that"}, &error), OK);
    sched_model_unref(m);
    client_wait(none);
    client_wait(nothing);
    until(!in_memory(&f, "m"));
    client_free(none);
    client_free(nothing);
    fixture_close(&f);
}

static struct {
    pthread_mutex_t lock;
    char ids[8][MODEL_ID_MAX];
    atomic_int n;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_left(void *ctx, const char *id)
{
    assert_ptr_equal(ctx, &left);
    pthread_mutex_lock(&left.lock);
    str_copy(left.ids[atomic_load(&left.n)], MODEL_ID_MAX, id);
    atomic_fetch_add(&left.n, 1);
    pthread_mutex_unlock(&left.lock);
}

static void test_who_leaves_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    struct sched_params params = budget(SIZE(500, 10));
    params.on_left = on_left;
    params.left_ctx = &left;
    atomic_store(&left.n, 0);
    fixture_open(&f, NULL, params);
    load_now(&f, "unloaded", "fake:ctx=10,cell=1,weights=500");
    assert_int_equal(sched_unload(f.sched, "unloaded", NULL, NULL, &error), OK);
    until(atomic_load(&left.n) == 1);
    load_now(&f, "file", "fake:ctx=10,cell=1,weights=500");
    load_now(&f, "file", "fake:ctx=10,cell=1,weights=400"); /* another file: it only changes */
    load_now(&f, "evicts", "fake:ctx=10,cell=1,weights=500");
    until(atomic_load(&left.n) == 2);
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "evicts", "fake:ctx=10,cell=1,weights=500", 30, &l), OK);
    load_wait(&l);
    until(atomic_load(&left.n) == 3); /* its time is over */
    load_now(&f, "stays", "fake:ctx=10,cell=1,weights=500");
    fixture_close(&f); /* nobody is interested in who leaves with the hub */
    assert_int_equal(atomic_load(&left.n), 3);
    assert_string_equal(left.ids[0], "unloaded");
    assert_string_equal(left.ids[1], "file");
    assert_string_equal(left.ids[2], "evicts");
}

static void test_unload_waits_for_its_work_and_new_requests_load_again(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    atomic_int gone = 0;
    fixture_open(&f, NULL, budget(100000));
    load_now(&f, "m", "fake:ctx=500,ms=3");
    struct client *c = ask_of(&f, "m", (struct ask){.text = "a few words of some length"});
    assert_int_equal(sched_unload(f.sched, "m", unloaded, &gone, &error), OK);
    assert_null(sched_find(f.sched, "m")); /* it takes nothing new */
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "m", "fake:ctx=500,ms=3", KEEP_ALIVE_DEFAULT, &l), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_non_null(load_wait(&l));
    until(atomic_load(&gone));
    use(&f, "m");
    assert_int_equal(status_of(&f, "m").loads, 2);
    gone = 0;
    assert_int_equal(sched_unload(f.sched, "m", unloaded, &gone, &error), OK);
    until(atomic_load(&gone));
    assert_int_equal(used(&f), 0);
    gone = 0; /* it is not there: told at once */
    assert_int_equal(sched_unload(f.sched, "m", unloaded, &gone, &error), OK);
    assert_int_equal(gone, 1);
    assert_int_equal(sched_unload(f.sched, "other", unloaded, &gone, &error), ERR_NOT_FOUND);
    client_free(c);
    fixture_close(&f);
}

/* A name that stands for another file now: what runs goes on, what comes gets the new one. */
static void test_another_file_of_the_same_name_is_loaded_when_the_old_one_is_free(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, budget(100000));
    load_now(&f, "m", "fake:ctx=500");
    struct sched_model *old = sched_find(f.sched, "m");
    assert_true(sched_model_is_of(old, "fake:ctx=500"));
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "m", "fake:ctx=200", KEEP_ALIVE_DEFAULT, &l), OK);
    assert_null(sched_find(f.sched, "m"));
    assert_int_equal(sched_model_ctx(old), 500);
    sched_model_unref(old);
    struct sched_model *m = load_wait(&l);
    assert_true(sched_model_is_of(m, "fake:ctx=200"));
    assert_int_equal(sched_model_ctx(m), 200);
    assert_int_equal(status_of(&f, "m").loads, 2);
    load_now(&f, "m", "fake:ctx=200"); /* the same file again is the same model */
    assert_int_equal(status_of(&f, "m").loads, 2);
    fixture_close(&f);
}

/* ---- taking turns ---------------------------------------------------------------------------- */

static void test_exclusive_means_one_at_a_time(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = budget(1 << 30);
    params.exclusive = true;
    fixture_open(&f, NULL, params);
    load_now(&f, "a", "fake:ctx=500");
    use(&f, "a");
    load_now(&f, "b", "fake:ctx=500");
    assert_false(in_memory(&f, "a"));
    until(plan(&f, "a", "fake:ctx=500", 0).n_evict == 1);
    use(&f, "b");
    fixture_close(&f);
}

/* A model that always has work makes way when another has waited long enough: what runs is
 * finished, what waits is sent back. */
static void test_the_wait_for_a_busy_model_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = budget(1 << 30);
    params.exclusive = true;
    params.switch_wait_ms = 100;
    params.n_parallel = 1;
    fixture_open(&f, NULL, params);
    load_now(&f, "a", "fake:ctx=300,ms=1,endless=1");
    struct client *c[4]; /* each would take some 300 ms */
    for (int i = 0; i < 4; i++)
        c[i] = ask_of(&f, "a", (struct ask){.text = "go", .ignore_eos = true});
    struct loading l = LOADING_INIT;
    int64_t before = clock_mono_ms();
    assert_int_equal(load_with(&f, "b", "fake:ctx=500", KEEP_ALIVE_DEFAULT, &l), OK);
    assert_non_null(load_wait(&l));
    assert_in_range(clock_mono_ms() - before, 95, 5000);
    int finished = 0, bounced = 0;
    for (int i = 0; i < 4; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        finished += !c[i]->bounced;
        bounced += c[i]->bounced;
        if (c[i]->bounced) assert_int_equal(c[i]->n_started, 0);
        client_free(c[i]);
    }
    assert_true(finished >= 1 && bounced >= 1);
    use(&f, "b");
    fixture_close(&f);
}

static const struct ask endless = {.text = "go", .ignore_eos = true, .can_pause = true};

static struct sched_params exclusive(int64_t switch_wait_ms)
{
    struct sched_params params = budget(1 << 30);
    params.exclusive = true;
    params.pausing = true;
    params.switch_wait_ms = switch_wait_ms;
    return params;
}

/* What runs is sent back when it can go on later, and does; what can't runs to its end. */
static void test_running_answers_are_paused_for_another_model(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, exclusive(100));
    load_now(&f, "a", "fake:ctx=5000,ms=1,endless=1,reply=abcdefg");
    struct client *c = ask_of(&f, "a", endless);
    struct ask bounded = endless;
    bounded.deterministic = true;
    bounded.max_tokens = 300;
    struct client *exact = ask_of(&f, "a", bounded);
    client_until(c, c->text[0].len > 10);
    client_until(exact, exact->text[0].len > 0);
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "b", "fake:ctx=500", KEEP_ALIVE_DEFAULT, &l), OK);
    assert_non_null(load_wait(&l));
    client_wait(c);
    assert_true(c->bounced && c->n_started == 1);
    assert_int_equal(c->timings.pauses, 0); /* within this stay */
    client_wait(exact);
    assert_false(exact->bounced);
    assert_int_equal(exact->text[0].len, 300);
    use(&f, "b");

    load_now(&f, "a", "fake:ctx=5000,ms=1,endless=1,reply=abcdefg");
    int32_t tokens[TOLD_MAX];
    int32_t n = c->n_told;
    memcpy(tokens, c->told, sizeof tokens);
    assert_true(n > 10);
    struct gen_resume resume = {.tokens = tokens, .n_tokens = (size_t)n};
    struct ask again = endless;
    again.resume = &resume;
    again.max_tokens = n + 50;
    struct client *more = ask_of(&f, "a", again);
    client_wait(more);
    assert_int_equal(more->error.code, OK);
    assert_int_equal(more->text[0].len, n + 50);
    for (int i = 0; i < n + 50; i++) assert_int_equal(more->text[0].data[i], "abcdefg"[i % 7]);
    client_free(c);
    client_free(exact);
    client_free(more);
    fixture_close(&f);
}

/* It stays until it is asked something. */
static void hold(void *ctx, struct sched_model *m, const struct error *error)
{
    if (m && !error) sched_model_ref(m);
    loading_done(ctx, m, error);
}

/* Two that are always wanted load each other out once in a turn, and no more. */
static void test_who_has_just_come_has_its_turn(void **state)
{
    (void)state;
    enum { TURN = 400 };
    struct fixture f;
    fixture_open(&f, NULL, exclusive(TURN));
    const char *path = "fake:ctx=50000,ms=1,endless=1";
    load_now(&f, "a", path);
    struct client *a = ask_of(&f, "a", endless);
    struct loading l = LOADING_INIT, back = LOADING_INIT;
    struct error error;
    struct sched_load_listener listener = {.on_done = hold, .ctx = &l};
    struct sched_load load = {.id = "b", .path = "fake:ctx=50000,ms=1,endless=1,load_ms=500"};
    assert_int_equal(sched_load(f.sched, &load, &listener, &error), OK);
    client_wait(a);
    assert_true(a->bounced);
    assert_int_equal(load_with(&f, "a", path, KEEP_ALIVE_DEFAULT, &back), OK); /* waits at once */
    struct sched_model *m = load_wait(&l);
    int64_t came = clock_mono_ms(); /* by now it has waited longer than a turn */
    struct client *b = ask_of(&f, "b", endless);
    sched_model_unref(m);
    client_wait(b);
    assert_true(b->bounced);
    assert_true(clock_mono_ms() - came >= TURN - 100);
    assert_non_null(load_wait(&back));
    client_free(a);
    client_free(b);
    fixture_close(&f);
}

/* A clearly more important request does not wait for the bound; one that is not, does. */
static void test_an_urgent_request_goes_before_the_bound(void **state)
{
    (void)state;
    enum { BOUND = 3000 };
    struct fixture f;
    struct error error;
    fixture_open(&f, NULL, exclusive(BOUND));
    load_now(&f, "a", "fake:ctx=50000,ms=1,endless=1");
    int64_t before = clock_mono_ms();
    while (clock_mono_ms() - before <= BOUND) sleep_ms(20); /* its turn */
    struct ask low = endless;
    low.priority = 80;
    struct client *c = ask_of(&f, "a", low);
    client_until(c, c->text[0].len > 0);
    struct loading l = LOADING_INIT;
    struct sched_load_listener listener = {.on_done = loading_done, .ctx = &l};
    struct sched_load load = {.id = "b", .path = "fake:ctx=500", .priority = 71};
    before = clock_mono_ms();
    assert_int_equal(sched_load(f.sched, &load, &listener, &error), OK);
    sleep_ms(200);
    assert_false(c->bounced); /* 71 is not clearly better than 80 */
    struct loading urgent = LOADING_INIT;
    listener.ctx = &urgent;
    load.priority = 70;
    assert_int_equal(sched_load(f.sched, &load, &listener, &error), OK);
    assert_non_null(load_wait(&urgent));
    assert_true(clock_mono_ms() - before < BOUND);
    client_wait(c);
    assert_true(c->bounced);
    load_wait(&l);
    client_free(c);
    fixture_close(&f);
}

/* Who took long to come to its first token gets as long to go on: each stay brings it further. */
static void test_every_stay_brings_an_answer_on(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, exclusive(0));
    load_now(&f, "a", "fake:ctx=50000,ms=20,endless=1");
    struct client *c = ask_of(&f, "a", endless);
    struct loading l = LOADING_INIT;
    assert_int_equal(load_with(&f, "b", "fake:ctx=500", KEEP_ALIVE_DEFAULT, &l), OK);
    client_wait(c); /* although there is nothing to wait for */
    assert_true(c->bounced);
    assert_true(c->n_started == 0 || c->n_told > 0);
    load_wait(&l);
    client_free(c);
    fixture_close(&f);
}

/* ---- two contexts of one file
 * --------------------------------------------------------------------- */

static void test_weights_are_shared_and_counted_once(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    fixture_open(&f, NULL, budget(1 << 20));
    load_now(&f, "m", "fake:ctx=100,cell=1,weights=5000,load_ms=1000");
    uint64_t alone = used(&f);
    struct loading l = LOADING_INIT;
    struct sched_load_listener listener = {.on_done = loading_done, .ctx = &l};
    struct sched_load load = {.id = "m (embeddings)",
                              .path = "fake:ctx=100,cell=1,weights=5000,load_ms=1000",
                              .embedding = true};
    int64_t before = clock_mono_ms();
    assert_int_equal(sched_load(f.sched, &load, &listener, &error), OK);
    struct sched_model *e = load_wait(&l);
    assert_true(clock_mono_ms() - before < 900); /* the weights were there */
    assert_true(sched_model_embeds(e));
    assert_in_range(used(&f), alone + 1, alone + 1000);
    struct client *c = client_new();
    int32_t tokens[300];
    for (int i = 0; i < 300; i++) tokens[i] = i % 200;
    const int32_t *inputs[] = {tokens, tokens, tokens};
    size_t n_tokens[] = {100, 40, 99};
    struct sched_embed embed = {.model = e,
                                .inputs = inputs,
                                .n_tokens = n_tokens,
                                .n_inputs = 3,
                                .tenant = "",
                                .listener = client_listen,
                                .listener_ctx = c};
    assert_int_equal(sched_embed(f.sched, &embed, &c->id, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_vectors, 3);
    client_free(c);
    atomic_int gone = 0;
    assert_int_equal(sched_unload(f.sched, "m", unloaded, &gone, &error), OK);
    until(atomic_load(&gone));
    assert_in_range(used(&f), 5000, 6000); /* the weights stay for the other one */
    fixture_close(&f);
}

/* ---- storms
 * ---------------------------------------------------------------------------------------- */

enum { STORM_MODELS = 6, STORM_THREADS = 6 };

struct storm {
    struct fixture *f;
    unsigned seed;
    int done, bounced, failed;
};

static void *storm_main(void *arg)
{
    struct storm *s = arg;
    int64_t end = clock_mono_ms() + 1500;
    while (clock_mono_ms() < end) {
        char id[32], path[64];
        struct error error;
        snprintf(id, sizeof id, "m%d", rand_r(&s->seed) % STORM_MODELS);
        snprintf(path, sizeof path, "fake:ctx=200,cell=1,weights=1000,load_ms=%d,reply=%s",
                 rand_r(&s->seed) % 3, id);
        struct sched_load load = {.id = id, .path = path};
        int what = rand_r(&s->seed) % 10;
        if (what == 0) {
            enum err e = sched_unload(s->f->sched, id, NULL, NULL, &error);
            assert_true(e == OK || e == ERR_NOT_FOUND);
            continue;
        }
        if (what == 1) load.keep_alive_ms = KEEP_ALIVE_NONE;
        struct loading l = LOADING_INIT;
        struct sched_load_listener listener = {.on_done = loading_done, .ctx = &l};
        assert_int_equal(sched_load(s->f->sched, &load, &listener, &error), OK);
        if (what == 2 && sched_load_forget(s->f->sched, id, &l)) continue;
        load_wait(&l);
        struct sched_model *m = sched_find(s->f->sched, id);
        if (!m) continue;
        struct client *c = client_new();
        if (try_ask_model(s->f, m, c, (struct ask){.text = "hello", .priority = 1 + what},
                          &error)) {
            s->failed++;
        } else {
            if (what == 3) sched_cancel(s->f->sched, c->id);
            client_wait(c);
            s->bounced += c->bounced;
            s->done++;
        }
        sched_model_unref(m);
        client_free(c);
    }
    return NULL;
}

static void run_storm(struct sched_params params)
{
    struct fixture f;
    fixture_open(&f, NULL, params);
    struct storm storms[STORM_THREADS];
    pthread_t threads[STORM_THREADS];
    int done = 0;
    for (int i = 0; i < STORM_THREADS; i++) {
        storms[i] = (struct storm){.f = &f, .seed = (unsigned)i + 1};
        pthread_create(&threads[i], NULL, storm_main, &storms[i]);
    }
    for (int i = 0; i < STORM_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(storms[i].failed, 0);
        done += storms[i].done;
    }
    assert_true(done > 20);
    struct sched_memory m;
    sched_memory(f.sched, &m);
    assert_true(m.used <= m.budget);
    fixture_close(&f);
}

static void test_storm_in_a_small_budget(void **state)
{
    (void)state;
    struct sched_params p = budget(3 * SIZE(1000, 200));
    p.switch_wait_ms = 5;
    run_storm(p);
}

static void test_storm_in_exclusive_mode(void **state)
{
    (void)state;
    struct sched_params p = budget(1 << 20);
    p.exclusive = true;
    p.switch_wait_ms = 5;
    run_storm(p);
}

/* ---- the end
 * ----------------------------------------------------------------------------------------- */

static void test_stop_tells_everybody_who_waits(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    fixture_open(&f, NULL, budget(SIZE(500, 1000)));
    load_now(&f, "a", "fake:ctx=1000,cell=1,weights=500,endless=1,ms=1");
    struct client *c = ask_of(&f, "a", (struct ask){.text = "busy", .ignore_eos = true});
    client_until(c, c->text[0].len > 0);
    struct loading room = LOADING_INIT, back = LOADING_INIT, slow = LOADING_INIT;
    atomic_int gone = 0;
    assert_int_equal(
        load_with(&f, "room", "fake:ctx=10,cell=1,weights=5000", KEEP_ALIVE_DEFAULT, &room), OK);
    assert_int_equal(load_with(&f, "slow", "fake:ctx=1,load_ms=9000,weights=9", 0, &slow), OK);
    assert_int_equal(sched_unload(f.sched, "a", unloaded, &gone, &error), OK);
    assert_int_equal(load_with(&f, "a", "fake:ctx=1000", KEEP_ALIVE_DEFAULT, &back), OK);
    sleep_ms(30);
    int64_t before = clock_mono_ms();
    fixture_close(&f);
    assert_true(clock_mono_ms() - before < 5000);
    assert_int_equal(room.done, 1);
    assert_int_equal(room.error.code, ERR_STOPPING);
    assert_int_equal(back.done, 1);
    assert_int_equal(back.error.code, ERR_STOPPING);
    assert_int_equal(slow.done, 1);
    assert_int_equal(gone, 1);
    assert_true(c->done);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_of_the_ledger),
        cmocka_unit_test(test_numbers_follow_the_type_of_the_cells),
        cmocka_unit_test(test_what_is_loaded_unmeasured_takes_no_more_than_is_told),
        cmocka_unit_test(test_what_never_fits_is_refused_before_loading),
        cmocka_unit_test(test_idle_models_make_room_the_cheapest_first),
        cmocka_unit_test(test_who_was_asked_to_stay_leaves_last),
        cmocka_unit_test(test_a_model_at_work_is_never_evicted),
        cmocka_unit_test(test_a_small_one_does_not_wait_behind_a_large_one),
        cmocka_unit_test(test_less_memory_makes_a_pool_then_a_shorter_context),
        cmocka_unit_test(test_a_context_that_was_asked_for_is_not_cut),
        cmocka_unit_test(test_a_load_does_what_the_plan_said),
        cmocka_unit_test(test_a_plan_for_another_context),
        cmocka_unit_test(test_keep_alive_none_leaves_with_its_last_request),
        cmocka_unit_test(test_a_reference_keeps_what_is_loaded),
        cmocka_unit_test(test_keep_alive_ends_after_its_time),
        cmocka_unit_test(test_what_was_said_of_keep_alive_holds_until_something_else_is),
        cmocka_unit_test(test_who_leaves_is_told),
        cmocka_unit_test(test_unload_waits_for_its_work_and_new_requests_load_again),
        cmocka_unit_test(test_another_file_of_the_same_name_is_loaded_when_the_old_one_is_free),
        cmocka_unit_test(test_exclusive_means_one_at_a_time),
        cmocka_unit_test(test_the_wait_for_a_busy_model_is_bounded),
        cmocka_unit_test(test_running_answers_are_paused_for_another_model),
        cmocka_unit_test(test_who_has_just_come_has_its_turn),
        cmocka_unit_test(test_an_urgent_request_goes_before_the_bound),
        cmocka_unit_test(test_every_stay_brings_an_answer_on),
        cmocka_unit_test(test_weights_are_shared_and_counted_once),
        cmocka_unit_test(test_storm_in_a_small_budget),
        cmocka_unit_test(test_storm_in_exclusive_mode),
        cmocka_unit_test(test_stop_tells_everybody_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
