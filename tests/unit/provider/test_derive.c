/* Derived models in front of a provider that keeps what it was asked: what reaches it of a request
 * that names one, of one that names none, and of one with an adapter behind the name. */
#include "base/list.h"
#include "provider/derive.h"
#include "unit/provider/harness.h"

/* Keeps the last request; the answer is the test's to tell. */
struct keeper {
    struct provider base;
    struct gen_request *req;
    gen_listener_fn fn;
    void *ctx;
};

struct rig {
    char dir[64];
    struct models *models;
    struct keeper keeper;
    struct provider *derive;
    char answered[MODEL_ID_MAX]; /* the name that the answer bears */
    struct error error;
};

static enum err keep(struct provider *p, struct gen_request *req, gen_listener_fn fn, void *ctx,
                     uint64_t *id, struct error *error)
{
    (void)error;
    struct keeper *k = container_of(p, struct keeper, base);
    k->req = req;
    k->fn = fn;
    k->ctx = ctx;
    *id = 1;
    return OK;
}

static const struct provider_ops keeper_ops = {
    .name = "keeper", .caps = PROVIDER_GENERATE, .generate = keep};

static void rig_open(struct rig *r, const char *default_model)
{
    *r = (struct rig){.keeper.base.ops = &keeper_ops};
    str_copy(r->dir, sizeof r->dir, "/tmp/hearth-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    add_derived(r->dir, "mario", MARIO);
    assert_int_equal(models_open(r->dir, HEARTH_SOURCE_DIR "/models", &r->models, &r->error), OK);
    r->derive = derive_new(&r->keeper.base, r->models, default_model);
}

static void rig_close(struct rig *r)
{
    char command[100];
    derive_free(r->derive);
    models_free(r->models);
    str_printf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
}

static void take_name(void *ctx, const struct gen_event *ev)
{
    struct rig *r = ctx;
    if (ev->model) str_copy(r->answered, sizeof r->answered, ev->model);
}

static enum err send(struct rig *r, struct gen_request *req)
{
    uint64_t id;
    return provider_generate(r->derive, req, take_name, r, &id, &r->error);
}

/* What the inner provider was asked, until answer(). */
static const struct gen_request *asked(struct rig *r, const char *model, const char *adapter)
{
    struct gen_request *req = chat_request(model, "hi");
    req->adapter = adapter;
    if (send(r, req)) fail_msg("%s: %s", model, r->error.msg);
    return r->keeper.req;
}

static const char *answer(struct rig *r, const char *model)
{
    struct keeper *k = &r->keeper;
    k->fn(k->ctx, &(struct gen_event){.type = GEN_EV_DONE, .model = model});
    arena_free(k->req->arena);
    return r->answered;
}

static void expect_mario(const struct gen_request *req)
{
    assert_int_equal(req->n_messages, 2);
    assert_int_equal(req->messages[0].role, ROLE_SYSTEM);
    assert_string_equal(req->messages[0].content, "You are Mario.");
    assert_string_equal(req->messages[1].content, "hi");
    assert_int_equal(req->sampling.top_k, 7);
}

static void test_a_name_stands_for_weights_and_what_they_get(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "");
    const struct gen_request *req = asked(&r, "mario", NULL);
    expect_mario(req);
    assert_string_equal(req->model, "hearth-tiny");
    assert_string_equal(req->adapter, "pirate");
    assert_non_null(req->chat_template);
    assert_string_equal(answer(&r, "hearth-tiny"), "mario");
    req = asked(&r, "hearth-tiny", NULL);
    assert_int_equal(req->n_messages, 1);
    assert_string_equal(answer(&r, "hearth-tiny"), "hearth-tiny");
    rig_close(&r);
}

/* Who chooses by the request's size, or tries the next one, must see that none was named; and an
 * adapter or a template of this hub's own is nothing for others. */
static void test_a_request_without_a_name_stays_one(void **state)
{
    (void)state;
    static const char *const none[] = {"", "auto"};
    struct rig r;
    rig_open(&r, "mario");
    for (size_t i = 0; i < 2; i++) {
        const struct gen_request *req = asked(&r, none[i], NULL);
        expect_mario(req);
        assert_string_equal(req->model, none[i]);
        assert_null(req->adapter);
        assert_null(req->chat_template);
        assert_string_equal(answer(&r, "hearth-tiny"), "mario");
    }
    assert_non_null(asked(&r, "", NULL));
    assert_string_equal(answer(&r, "gpt-4o"), "gpt-4o"); /* somebody else's own one */
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_stands_for_weights_and_what_they_get),
        cmocka_unit_test(test_a_request_without_a_name_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
