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
    char args[4096]; /* of the last control call */
};

struct rig {
    char dir[64];
    struct models *models;
    struct adapters *adapters;
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

static enum err keep_args(struct provider *p, enum control what, const char *args, control_fn fn,
                          void *ctx, struct error *error)
{
    (void)what, (void)error;
    struct keeper *k = container_of(p, struct keeper, base);
    assert_true(str_copy(k->args, sizeof k->args, args));
    fn(ctx, NULL, "{}", 2);
    return OK;
}

static const struct provider_ops keeper_ops = {
    .name = "keeper", .caps = PROVIDER_GENERATE, .generate = keep, .control = keep_args};

static void rig_open(struct rig *r, const char *default_model)
{
    *r = (struct rig){.keeper.base.ops = &keeper_ops};
    str_copy(r->dir, sizeof r->dir, "/tmp/hearth-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    add_derived(r->dir, "mario", MARIO);
    assert_int_equal(models_open(r->dir, HEARTH_SOURCE_DIR "/models", &r->models, &r->error), OK);
    assert_int_equal(
        adapters_open("", HEARTH_SOURCE_DIR "/models/adapters", &r->adapters, &r->error), OK);
    r->derive = derive_new(&r->keeper.base, r->models, r->adapters, default_model);
}

static void rig_close(struct rig *r)
{
    char command[100];
    derive_free(r->derive);
    adapters_free(r->adapters);
    models_free(r->models);
    str_printf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
}

static void take_name(void *ctx, const struct gen_event *ev)
{
    struct rig *r = ctx;
    if (ev->model) str_copy(r->answered, sizeof r->answered, ev->model);
}

static enum err hand_in(struct rig *r, struct gen_request *req)
{
    uint64_t id;
    return provider_generate(r->derive, req, take_name, r, &id, &r->error);
}

/* What the inner provider was asked, until answer(). */
static const struct gen_request *asked(struct rig *r, const char *model, const char *adapter)
{
    struct gen_request *req = chat_request(model, "hi");
    req->adapter = adapter;
    if (hand_in(r, req)) fail_msg("%s: %s", model, r->error.msg);
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

/* The name behind the colon takes the place of the model's own adapter, and of nothing else. */
static void test_a_derived_model_with_another_adapter(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"mario:terse", "terse"},
                                           {"MARIO:latest:pirate", "pirate"},
                                           {"mario:base", "base"},
                                           {"mario:none", "none"}};
    struct rig r;
    rig_open(&r, "mario");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct gen_request *req = asked(&r, names[i][0], i == 0 ? "terse" : NULL);
        expect_mario(req);
        assert_string_equal(req->model, "hearth-tiny");
        assert_string_equal(req->adapter, names[i][1]);
        assert_non_null(req->chat_template);
        assert_string_equal(answer(&r, "hearth-tiny"), "mario");
    }
    struct gen_request *two = chat_request("mario:terse", "hi");
    two->adapter = "pirate";
    assert_int_equal(hand_in(&r, two), ERR_INVALID);
    assert_string_equal(r.error.param, "/adapter");
    rig_close(&r);
}

/* What has another meaning, or none, is for who comes behind: a model of the whole name, one that
 * another provider may have, a model that is no derived one. */
static void test_other_names_with_a_colon_pass(void **state)
{
    (void)state;
    static const char *const names[] = {"mario:3b",           "mario:",   ":terse", "luigi:terse",
                                        "hearth-tiny:latest", "box/mario"};
    struct rig r;
    rig_open(&r, "");
    add_derived(r.dir, "mario%3Apirate",
                "{\"name\":\"mario:pirate\",\"from\":\"hearth-tiny\",\"system\":\"Arr.\"}");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct gen_request *req = asked(&r, names[i], NULL);
        assert_string_equal(req->model, names[i]);
        assert_int_equal(req->n_messages, 1);
        assert_null(req->adapter);
        answer(&r, "");
    }
    const struct gen_request *req = asked(&r, "mario:pirate", NULL);
    assert_string_equal(req->messages[0].content, "Arr.");
    assert_null(req->adapter);
    assert_string_equal(answer(&r, "hearth-tiny"), "mario:pirate");
    rig_close(&r);
}

/* Nobody else has the adapter, so it must be seen where who answers is chosen. */
static void test_any_models_adapter_goes_into_its_field(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "");
    const struct gen_request *req = asked(&r, "hearth-tiny:terse", NULL);
    assert_string_equal(req->model, "hearth-tiny");
    assert_string_equal(req->adapter, "terse");
    assert_int_equal(req->n_messages, 1);
    assert_string_equal(answer(&r, "hearth-tiny"), "hearth-tiny");
    rig_close(&r);
}

/* The provider's name in front of the model's. */
static void test_this_hubs_own_one(void **state)
{
    (void)state;
    static const char *const names[][3] = {{"local/mario", NULL, "pirate"},
                                           {"Local/mario:terse", NULL, "terse"},
                                           {"local/mario", "local", "pirate"}};
    struct rig r;
    rig_open(&r, "mario");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct gen_request *one = chat_request(names[i][0], "hi");
        one->source = names[i][1];
        assert_int_equal(hand_in(&r, one), OK);
        const struct gen_request *req = r.keeper.req;
        expect_mario(req);
        assert_string_equal(req->model, "hearth-tiny");
        assert_string_equal(req->source, "local");
        assert_string_equal(req->adapter, names[i][2]);
        assert_string_equal(answer(&r, "hearth-tiny"), "mario");
    }
    struct gen_request *box = chat_request("local/mario", "hi");
    box->source = "box"; /* who may call a model so */
    assert_int_equal(hand_in(&r, box), OK);
    assert_string_equal(r.keeper.req->model, "local/mario");
    answer(&r, "");
    const struct gen_request *req = asked(&r, "local/", NULL);
    expect_mario(req);
    assert_string_equal(req->model, "");
    assert_string_equal(req->source, "local");
    answer(&r, "hearth-tiny");
    rig_close(&r);
}

static void ignore_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    (void)ctx, (void)error, (void)text, (void)len;
}

static const char *told(struct rig *r, enum control what, const char *args)
{
    assert_int_equal(provider_control(r->derive, what, args, ignore_answer, NULL, &r->error), OK);
    return r->keeper.args;
}

/* Prompts are shown and counted as they are computed; what is loaded has no adapter in its name. */
static void test_verbs_about_a_model_and_its_adapter(void **state)
{
    (void)state;
    static const char chat[] = "{\"model\":\"mario:terse\",\"request\":{\"messages\":["
                               "{\"role\":\"user\",\"content\":\"hi\"}]}}";
    struct rig r;
    rig_open(&r, "");
    const char *args = told(&r, CONTROL_TEMPLATE, chat);
    if (!strstr(args, "\"model\":\"hearth-tiny\",\"as\":\"mario\"") ||
        !strstr(args, "You are Mario.") || !strstr(args, "\"chat_template\":"))
        fail_msg("%s", args);
    args = told(&r, CONTROL_LOAD, "{\"model\":\"mario:terse\"}");
    assert_string_equal(args, "{\"model\":\"mario:terse\"}");
    args = told(&r, CONTROL_PLAN, "{\"model\":\"mario:terse\"}");
    assert_non_null(strstr(args, "\"hearth-tiny\""));
    args = told(&r, CONTROL_UNLOAD, "{\"model\":\"mario\"}");
    assert_non_null(strstr(args, "\"hearth-tiny\""));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_stands_for_weights_and_what_they_get),
        cmocka_unit_test(test_a_request_without_a_name_stays_one),
        cmocka_unit_test(test_a_derived_model_with_another_adapter),
        cmocka_unit_test(test_other_names_with_a_colon_pass),
        cmocka_unit_test(test_any_models_adapter_goes_into_its_field),
        cmocka_unit_test(test_this_hubs_own_one),
        cmocka_unit_test(test_verbs_about_a_model_and_its_adapter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
