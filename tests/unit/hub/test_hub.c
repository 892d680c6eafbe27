/* The hub as a whole, over the fake engine and over the real one. */
#include "base/config.h"
#include "hub/hub.h"
#include "unit/provider/harness.h"

struct home {
    char dir[64];
    char models[96];
    struct config *config;
};

static void home_open(struct home *h, const char *model, const char *preload)
{
    struct error error;
    str_copy(h->dir, sizeof h->dir, "/tmp/hearth-test-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    str_printf(h->models, sizeof h->models, "%s/models", h->dir);
    const struct config_override overrides[] = {
        {CONFIG_DATA_DIR, h->dir},
        {CONFIG_MODELS_DIR, h->models},
        {CONFIG_BUILTIN_DIR, HEARTH_SOURCE_DIR "/models"},
        {CONFIG_LIB_DIR, HEARTH_BINARY_DIR "/lib/hearth"},
        {CONFIG_DEFAULT_MODEL, model},
        {CONFIG_PRELOAD, preload},
        {CONFIG_POOL_THREADS, "2"},
        {CONFIG_N_THREADS, "1"},
    };
    size_t n = sizeof overrides / sizeof *overrides;
    assert_int_equal(config_load(overrides, n, &h->config, &error), OK);
}

static void home_close(struct home *h)
{
    char command[100];
    config_free(h->config);
    snprintf(command, sizeof command, "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
}

static struct hub *hub_fake(struct home *h, const char *model, const char *preload)
{
    struct engine *engine;
    struct hub *hub;
    struct error error;
    home_open(h, model, preload);
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    assert_int_equal(hub_open_with_engine(h->config, engine, &hub, &error), OK);
    return hub;
}

static struct client *ask_hub(struct hub *hub, struct gen_request *req)
{
    struct fixture f = {.local = hub->local};
    return ask(&f, req);
}

static enum model_state only_model(struct hub *hub, struct sched_model_status *st)
{
    return sched_models(hub->sched, st, 1) == 1 ? st->state : MODEL_ON_DISK;
}

static void test_default_model_is_preloaded(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub = hub_fake(&h, "fake:load_ms=50", "true");
    struct sched_model_status st;
    for (int i = 0; i < 1000 && only_model(hub, &st) != MODEL_READY; i++) sleep_ms(5);
    assert_int_equal(only_model(hub, &st), MODEL_READY);
    assert_string_equal(st.id, "fake:load_ms=50");
    struct client *c = ask_hub(hub, chat_request("", "hello"));
    assert_string_equal(buf_str(&c->text[0]), "hello");
    client_free(c);
    hub_close(hub, 0);
    home_close(&h);
}

static void test_without_preload_the_first_request_loads(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub = hub_fake(&h, "fake:", "false");
    struct sched_model_status st;
    sleep_ms(30);
    assert_int_equal(only_model(hub, &st), MODEL_ON_DISK);
    struct client *c = ask_hub(hub, chat_request("", "hello"));
    assert_string_equal(buf_str(&c->text[0]), "hello");
    client_free(c);
    hub_close(hub, 0);
    home_close(&h);
}

/* The hub runs; requests are told why. */
static void test_default_model_that_does_not_exist(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub = hub_fake(&h, "hearth-tinny", "true");
    struct model_info info;
    struct error error;
    assert_int_equal(hub_default_model(hub, &info, &error), ERR_NO_MODEL);
    struct client *c = ask_hub(hub, chat_request("", "hello"));
    assert_int_equal(c->error.code, ERR_NO_MODEL);
    assert_non_null(strstr(c->error.msg, "hearth-tiny")); /* what comes close */
    client_free(c);
    c = ask_hub(hub, chat_request("fake:", "others work"));
    assert_int_equal(c->error.code, OK);
    client_free(c);
    hub_close(hub, 0);
    home_close(&h);
}

static void test_close_at_once_during_preload(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub = hub_fake(&h, "fake:load_ms=30000", "true");
    sleep_ms(20);
    int64_t before = clock_mono_ms();
    hub_close(hub, 0);
    assert_true(clock_mono_ms() - before < 5000);
    home_close(&h);
}

static void test_close_with_grace(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub = hub_fake(&h, "fake:ms=2", "true");
    struct fixture f = {.local = hub->local};
    struct client *c = send_request(&f, chat_request("", "0123456789"));
    client_until(c, c->text[0].len > 0);
    hub_close(hub, 10000);
    assert_int_equal(c->n_last, 1);
    assert_string_equal(buf_str(&c->text[0]), "0123456789");
    client_free(c);
    home_close(&h);
}

#if HEARTH_FAULTS
/* Whichever thread can't be started: an error, and nothing is left behind. But for one: the prefix
 * cache does without its folder. */
static void test_no_thread_can_be_started(void **state)
{
    (void)state;
    int opened = 0;
    for (int nth = 1; nth <= 7; nth++) { /* pool (2), cache, loader, adapters, engine, delivery */
        struct home h;
        struct engine *engine;
        struct hub *hub;
        struct error error;
        home_open(&h, "fake:", "false");
        assert_int_equal(engine_open_fake(&engine, &error), OK);
        fault_arm(FAULT_thread, nth, false);
        enum err e = hub_open_with_engine(h.config, engine, &hub, &error);
        fault_arm(FAULT_thread, 0, false);
        if (e == OK) hub_close(hub, 0);
        opened += e == OK;
        home_close(&h);
    }
    assert_int_equal(opened, 1);
}
#endif

static void test_unwritable_models_folder(void **state)
{
    (void)state;
    struct home h;
    struct engine *engine;
    struct hub *hub;
    struct error error;
    home_open(&h, "fake:", "false");
    assert_int_equal(fs_write_atomic(h.models, "a file", 6, 0600, &error), OK);
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    assert_int_not_equal(hub_open_with_engine(h.config, engine, &hub, &error), OK);
    home_close(&h);
}

static void test_real_engine_and_built_in_model(void **state)
{
    (void)state;
    struct home h;
    struct hub *hub;
    struct error error;
    home_open(&h, "", "true");
    int64_t before = clock_mono_ms();
    assert_int_equal(hub_open(h.config, &hub, &error), OK);
    assert_true(clock_mono_ms() - before < 1000); /* no model is waited for */
    struct model_info info;
    assert_int_equal(hub_default_model(hub, &info, &error), OK);
    assert_string_equal(info.id, BUILTIN_CHAT_MODEL);
    struct gen_request *req = chat_request("", "Hello!");
    req->max_tokens = 10;
    struct client *c = ask_hub(hub, req);
    assert_int_equal(c->error.code, OK);
    assert_true(c->text[0].len > 0);
    client_free(c);
    hub_close(hub, 0);
    home_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_model_is_preloaded),
        cmocka_unit_test(test_without_preload_the_first_request_loads),
        cmocka_unit_test(test_default_model_that_does_not_exist),
        cmocka_unit_test(test_close_at_once_during_preload),
        cmocka_unit_test(test_close_with_grace),
#if HEARTH_FAULTS
        cmocka_unit_test(test_no_thread_can_be_started),
#endif
        cmocka_unit_test(test_unwritable_models_folder),
        cmocka_unit_test(test_real_engine_and_built_in_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
