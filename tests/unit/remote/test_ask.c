/* Embeddings, lists of models and health, over a scripted server. */
#include "remote/core_int.h"
#include "unit/remote/remote_world.h"

struct answered {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int times;
    enum err code;
    char text[8192];
    size_t n, dims;
    float vectors[64];
    int32_t prompt_tokens;
};

static void answered_init(struct answered *a)
{
    *a = (struct answered){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void answered_wait(struct answered *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->times) pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static void on_control(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct answered *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->times++;
    a->code = error ? error->code : OK;
    snprintf(a->text, sizeof a->text, "%.*s", error ? (int)strlen(error->msg) : (int)len,
             error ? error->msg : answer);
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void on_embedded(void *ctx, const struct embed_result *r)
{
    struct answered *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->times++;
    a->code = r->error ? r->error->code : OK;
    str_copy(a->text, sizeof a->text, r->error ? r->error->msg : r->model);
    a->n = r->n_inputs;
    a->dims = r->n_dims;
    a->prompt_tokens = r->prompt_tokens;
    if (!r->error && r->n_inputs * r->n_dims <= 64)
        memcpy(a->vectors, r->vectors, r->n_inputs * r->n_dims * sizeof(float));
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void embed(struct world *w, struct answered *a, size_t n)
{
    struct arena *arena = arena_new(1 << 20);
    struct embed_request *req = arena_calloc(arena, 1, sizeof *req);
    struct embed_input *inputs = arena_calloc(arena, n, sizeof *inputs);
    struct error error;
    uint64_t id;
    for (size_t i = 0; i < n; i++) inputs[i] = (struct embed_input){.text = "hi", .text_len = 2};
    *req = (struct embed_request){.arena = arena,
                                  .request_id = "r",
                                  .model = "",
                                  .tenant = "",
                                  .inputs = inputs,
                                  .n_inputs = n};
    answered_init(a);
    assert_int_equal(provider_embed(w->p, req, on_embedded, a, &id, &error), OK);
    answered_wait(a);
}

static void control(struct world *w, struct answered *a, enum control what)
{
    struct error error;
    answered_init(a);
    assert_int_equal(provider_control(w->p, what, "{}", on_control, a, &error), OK);
    answered_wait(a);
    assert_int_equal(a->times, 1);
}

/* Says what the test wants, as JSON. */
struct says {
    const char *body;
    int status;
    char last[SCRIPT_REQUEST_MAX];
};

static bool says(struct script *s, struct script_request *req)
{
    struct says *a = s->ctx;
    str_copy(a->last, sizeof a->last, req->text);
    return script_printf(req,
                         "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         a->status ? a->status : 200, strlen(a->body), a->body);
}

static const struct remote_params quick = {.key = "sk-secret-key", .retries = -1};

static void one_model_is_told_in_full(void **state)
{
    (void)state;
    /* "Show Model Information" of Ollama's documentation, shortened */
    struct says s = {
        .body = "{\"modelfile\":\"FROM llama3.2\",\"details\":{\"parent_model\":\"\",\"format\":"
                "\"gguf\",\"family\":\"llama\",\"families\":[\"llama\"],\"parameter_size\":"
                "\"8.0B\",\"quantization_level\":\"Q4_0\"},\"model_info\":{"
                "\"general.architecture\":\"llama\",\"general.parameter_count\":8030261248,"
                "\"llama.context_length\":8192},\"capabilities\":[\"completion\",\"vision\"]}"};
    struct remote_params params = quick;
    struct world w;
    struct answered a;
    struct error error;
    params.protocol = "ollama";
    world_open(&w, says, &s, params);
    answered_init(&a);
    assert_int_equal(
        provider_control(w.p, CONTROL_MODELS, "{\"model\":\"llava\"}", on_control, &a, &error), OK);
    answered_wait(&a);
    assert_string_equal(a.text,
                        "{\"models\":[{\"id\":\"llava\",\"provider\":\"box\",\"kind\":\"chat\","
                        "\"family\":\"llama\",\"quant\":\"Q4_0\",\"parameters\":\"8.0B\","
                        "\"context\":8192,\"images\":true}]}");
    assert_non_null(strstr(s.last, "POST /api/show HTTP/1.1"));
    assert_non_null(strstr(s.last, "{\"model\":\"llava\"}"));
    s.status = 404;
    s.body = "{\"error\":\"model 'x' not found\"}";
    answered_init(&a);
    assert_int_equal(
        provider_control(w.p, CONTROL_MODELS, "{\"model\":\"x\"}", on_control, &a, &error), OK);
    answered_wait(&a);
    assert_int_equal(a.code, ERR_NO_MODEL);
    world_close(&w);
    world_open(&w, says, &s, quick); /* OpenAI's API has no such thing */
    assert_int_equal(
        provider_control(w.p, CONTROL_MODELS, "{\"model\":\"x\"}", on_control, &a, &error),
        ERR_UNSUPPORTED);
    world_close(&w);
}

static void vectors_have_length_one(void **state)
{
    (void)state;
    struct says s = {.body = "{\"data\":[{\"index\":1,\"embedding\":[0,2]},"
                             "{\"index\":0,\"embedding\":[3,4]}],\"model\":\"e-1\","
                             "\"usage\":{\"prompt_tokens\":7}}"};
    struct world w;
    struct answered a;
    world_open(&w, says, &s, quick);
    embed(&w, &a, 2);
    assert_int_equal(a.code, OK);
    assert_string_equal(a.text, "e-1");
    assert_int_equal(a.n, 2);
    assert_int_equal(a.dims, 2);
    assert_int_equal(a.prompt_tokens, 7);
    const float want[] = {0.6F, 0.8F, 0, 1};
    for (int i = 0; i < 4; i++) assert_float_equal(a.vectors[i], want[i], 1e-6);
    assert_non_null(strstr(s.last, "POST /v1/embeddings HTTP/1.1"));
    assert_non_null(strstr(s.last, "{\"model\":\"e\",\"input\":[\"hi\",\"hi\"],"
                                   "\"encoding_format\":\"float\"}"));
    world_close(&w);
}

static void wrong_vectors_are_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{}",
        "[]",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":1,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":0,\"embedding\":[1,2]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":2,\"embedding\":[1,2]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1,\"x\"]},{\"index\":1,\"embedding\":[1,2]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[]},{\"index\":1,\"embedding\":[]}]}",
        "{\"data\":[",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct says s = {.body = bodies[i]};
        struct world w;
        struct answered a;
        world_open(&w, says, &s, quick);
        embed(&w, &a, 2);
        if (a.code != ERR_UPSTREAM) fail_msg("%zu: %d %s", i, a.code, a.text);
        world_close(&w);
    }
}

/* Answers each request with as many vectors as it has inputs. */
static bool counts(struct script *s, struct script_request *req)
{
    (void)s;
    static char body[256 << 10];
    size_t n = 0, len = 0;
    for (const char *at = req->body; (at = strstr(at, "\"hi\"")); at += 4) n++;
    len += (size_t)snprintf(body + len, sizeof body - len, "{\"data\":[");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(body + len, sizeof body - len,
                                "%s{\"index\":%zu,\"embedding\":[%zu,1]}", i ? "," : "", i, n);
    snprintf(body + len, sizeof body - len, "],\"usage\":{\"prompt_tokens\":%zu}}", n);
    return script_printf(req, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(body)) &&
           script_send(req, body, strlen(body));
}

static void many_inputs_are_sent_in_parts(void **state)
{
    (void)state;
    struct world w;
    struct answered a;
    world_open(&w, counts, NULL, quick);
    embed(&w, &a, 5000); /* at most 2048 at a time */
    if (a.code) fail_msg("%s", a.text);
    assert_int_equal(a.n, 5000);
    assert_int_equal(a.prompt_tokens, 5000);
    assert_int_equal(w.server->requests, 3);
    world_close(&w);
}

/* Its first answer is short of a vector, but says what it has cost. */
static bool short_once(struct script *s, struct script_request *req)
{
    (void)s;
    const char *body = req->number == 1 ? "{\"data\":[{\"index\":0,\"embedding\":[1,2]}],"
                                          "\"usage\":{\"prompt_tokens\":7}}"
                                        : "{\"data\":[{\"index\":0,\"embedding\":[1,2]},"
                                          "{\"index\":1,\"embedding\":[2,1]}],"
                                          "\"usage\":{\"prompt_tokens\":7}}";
    return script_printf(req, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
                         body);
}

static void an_attempt_that_failed_counts_no_tokens(void **state)
{
    (void)state;
    struct world w;
    struct answered a;
    struct remote_params again = quick;
    again.retries = 1;
    world_open(&w, short_once, NULL, again);
    embed(&w, &a, 2);
    if (a.code) fail_msg("%s", a.text);
    assert_int_equal(w.server->requests, 2);
    assert_int_equal(a.prompt_tokens, 7);
    world_close(&w);
}

static void models_are_listed(void **state)
{
    (void)state;
    struct says s = {.body = "{\"data\":[{\"id\":\"a\"},{\"id\":\"b\",\"owned_by\":\"me\"}]}"};
    struct world w;
    struct answered a;
    world_open(&w, says, &s, quick);
    control(&w, &a, CONTROL_MODELS);
    assert_string_equal(a.text, "{\"models\":[{\"id\":\"a\",\"provider\":\"box\"},"
                                "{\"id\":\"b\",\"provider\":\"box\",\"owner\":\"me\"}]}");
    assert_non_null(strstr(s.last, "GET /v1/models HTTP/1.1"));
    assert_non_null(strstr(s.last, "Authorization: Bearer sk-secret-key"));
    struct error error;
    answered_init(&a);
    assert_int_equal(provider_control(w.p, CONTROL_LOAD, "{}", on_control, &a, &error),
                     ERR_UNSUPPORTED);
    world_close(&w);
}

static void health_is_an_answer_also_of_the_ill(void **state)
{
    (void)state;
    struct says s = {.body = "{\"data\":[]}"};
    struct world w;
    struct answered a;
    world_open(&w, says, &s, quick);
    control(&w, &a, CONTROL_HEALTH);
    assert_non_null(
        strstr(a.text, "{\"healthy\":true,\"provider\":\"box\",\"protocol\":\"openai\""));
    s.status = 401;
    s.body = "{\"error\":{\"message\":\"bad key sk-secret-key\"}}";
    control(&w, &a, CONTROL_HEALTH);
    assert_int_equal(a.code, OK);
    assert_non_null(strstr(a.text, "\"healthy\":false"));
    assert_non_null(strstr(a.text, "bad key [key]"));
    assert_null(strstr(a.text, "sk-secret"));
    world_close(&w);
}

static void parameters_that_cannot_work_are_refused(void **state)
{
    (void)state;
    static const char *const bad_header[] = {"no colon"}, *const evil[] = {"A: b\r\nC: d"};
    const struct {
        struct remote_params p;
        const char *param;
    } cases[] = {
        {{.protocol = "openai"}, "name"},
        {{.name = "x", .protocol = "telnet"}, "kind"},
        {{.name = "x", .protocol = "openai", .base_url = "ftp://a"}, "base_url"},
        {{.name = "x", .protocol = "openai", .base_url = "http://user:pw@a/"}, "base_url"},
        {{.name = "x", .protocol = "openai", .base_url = "http://a/?k=1"}, "base_url"},
        {{.name = "x", .protocol = "openai", .key = "a\r\nB: c"}, "key"},
        {{.name = "x", .protocol = "openai", .headers = bad_header, .n_headers = 1}, "headers"},
        {{.name = "x", .protocol = "openai", .headers = evil, .n_headers = 1}, "headers"},
    };
    struct timers *timers;
    struct httpc *httpc;
    assert_int_equal(timers_new(&timers, NULL), OK);
    assert_int_equal(httpc_new(&httpc, NULL), OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct provider *p;
        struct error error;
        if (remote_open(httpc, timers, &cases[i].p, &p, &error) != ERR_CONFIG)
            fail_msg("case %zu", i);
        assert_string_equal(error.param, cases[i].param);
        assert_null(strstr(error.msg, "pw@"));
    }
    httpc_free(httpc);
    timers_free(timers);
}

static void base_urls_are_completed(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "/", "/v1", "/v1/"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct says s = {.body = "{\"data\":[]}"};
        struct script *server = script_start(says, &s);
        struct world w;
        struct answered a;
        char url[128];
        str_printf(url, sizeof url, "%s%s", server->url, ends[i]);
        struct remote_params p = quick;
        p.base_url = url;
        world_open(&w, NULL, NULL, p);
        assert_string_equal(remote_where(w.p), server->url);
        control(&w, &a, CONTROL_MODELS);
        assert_non_null(strstr(s.last, "GET /v1/models HTTP/1.1"));
        world_close(&w);
        script_stop(server);
    }
}

/* The end of a long message is cut off, and with it the end of a key. */
static void the_beginning_of_a_key_is_cut_out(void **state)
{
    (void)state;
    static const char key[] = "sk-very-secret-0123456789";
    char whole[] = "bad key sk-very-secret-0123456789 here", cut[] = "bad key sk-very-sec",
         none[] = "bad key sk-";
    remote_cut_out(whole, key);
    assert_string_equal(whole, "bad key [key] here");
    remote_cut_out(cut, key);
    assert_string_equal(cut, "bad key [key]");
    remote_cut_out(none, key);
    assert_string_equal(none, "bad key sk-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_beginning_of_a_key_is_cut_out),
        cmocka_unit_test(one_model_is_told_in_full),
        cmocka_unit_test(vectors_have_length_one),
        cmocka_unit_test(wrong_vectors_are_refused),
        cmocka_unit_test(many_inputs_are_sent_in_parts),
        cmocka_unit_test(an_attempt_that_failed_counts_no_tokens),
        cmocka_unit_test(models_are_listed),
        cmocka_unit_test(health_is_an_answer_also_of_the_ill),
        cmocka_unit_test(parameters_that_cannot_work_are_refused),
        cmocka_unit_test(base_urls_are_completed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
