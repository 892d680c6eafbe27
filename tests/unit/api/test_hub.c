/* The handlers over a real hub: scheduler, local provider and the fake engine (whose models are
 * named "fake:<options>"). Health, pages, models, and chats end to end without a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/assets.h"
#include "api/route.h"
#include "base/config.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/hub.h"
#include "support/fake_request.h"
#include "support/memsink.h"

static struct config *config;
static struct hub *hub;
static char data_dir[] = "/tmp/hearth-api-XXXXXX";

static int open_hub(void **state)
{
    (void)state;
    struct error error;
    struct engine *engine;
    if (!mkdtemp(data_dir)) return -1;
    const struct config_override overrides[] = {
        {CONFIG_DATA_DIR, data_dir},
        {CONFIG_MODELS_DIR, data_dir},
        {CONFIG_BUILTIN_DIR, HEARTH_SOURCE_DIR "/models"},
        {CONFIG_DEFAULT_MODEL, "fake:ctx=512"},
        {CONFIG_DEFAULT_EMBED_MODEL, "fake:kind=embed,embd=8"},
        {CONFIG_PRELOAD, "false"},
    };
    if (log_open(LOG_OFF, false, "", &error) != OK ||
        config_load(overrides, sizeof overrides / sizeof *overrides, &config, &error) != OK ||
        engine_open_fake(&engine, &error) != OK ||
        hub_open_with_engine(config, engine, &hub, &error) != OK) {
        fprintf(stderr, "%s\n", error.msg);
        return -1;
    }
    return 0;
}

static int close_hub(void **state)
{
    (void)state;
    hub_close(hub, 1000);
    config_free(config);
    char command[80];
    snprintf(command, sizeof command, "rm -r %s", data_dir);
    return system(command);
}

/* One call; headers are name, value, ... Leaves the answer in m. */
static void call(struct memsink *m, enum http_method method, const char *path, const char *body,
                 const char *const *headers)
{
    struct fake_request req;
    const struct route *route;
    char params[256], allow[64];
    fake_request_init(&req, method, path, body);
    for (size_t i = 0; headers && headers[i]; i++) req.headers[i] = headers[i];
    memsink_init(m);
    if (route_find(method, path, &route, params, sizeof params, req.http.params, allow) !=
        ROUTE_FOUND)
        fail_msg("no route for %s", path);
    route->handler(hub, &req.http, &m->sink);
    memsink_wait(m);
}

static json_t *parse(const struct memsink *m)
{
    json_t *v;
    struct error error;
    if (json_parse(buf_str(&m->body), m->body.len, &v, &error) != OK)
        fail_msg("%s: %s", error.msg, buf_str(&m->body));
    return v;
}

static json_t *call_json(const char *path, const char *body, int status)
{
    struct memsink m;
    call(&m, body ? HTTP_POST : HTTP_GET, path, body, NULL);
    if (m.status != status) fail_msg("%s: %d %s", path, m.status, buf_str(&m.body));
    json_t *v = parse(&m);
    memsink_deinit(&m);
    return v;
}

/* "choices/0/message/content" */
static const json_t *at(const json_t *v, const char *path)
{
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save))
        v = json_is_array(v) ? json_array_get(v, strtoul(part, NULL, 10))
                             : json_object_get(v, part);
    return v;
}

static const char *str_at(const json_t *v, const char *path)
{
    const char *s = json_string_value(at(v, path));
    if (!s) fail_msg("no string at %s", path);
    return s;
}

static int int_at(const json_t *v, const char *path)
{
    if (!json_is_integer(at(v, path))) fail_msg("no integer at %s", path);
    return (int)json_integer_value(at(v, path));
}

#define CHAT      "/v1/chat/completions"
#define SAY(text) "{\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]"

/* ---- the hub's own ------------------------------------------------------------------------- */

static void health(void **state)
{
    (void)state;
    json_t *v = call_json("/health", NULL, 200);
    assert_string_equal(str_at(v, "status"), "healthy");
    assert_string_equal(str_at(v, "version"), HEARTH_VERSION);
    assert_true(int_at(v, "uptime_s") >= 0);
    assert_int_equal(int_at(v, "running"), 0);
    json_decref(v);
    json_decref(call_json(CHAT, SAY("hi") "}", 200));
    v = call_json("/health", NULL, 200);
    assert_string_equal(str_at(v, "model"), "fake:ctx=512");
    assert_string_equal(str_at(v, "model_state"), "ready");
    json_decref(v);
}

static void metrics(void **state)
{
    (void)state;
    struct memsink m;
    call(&m, HTTP_GET, "/metrics", NULL, NULL);
    assert_int_equal(m.status, 200);
    assert_string_equal(m.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(m.body.data, "# TYPE hearth_requests_total counter"));
    memsink_deinit(&m);
}

static void root_is_a_page_for_browsers(void **state)
{
    (void)state;
    static const char *const browser[] = {"Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
                                          NULL};
    static const char *const other[] = {"Accept", "*/*", NULL};
    struct memsink m;
    call(&m, HTTP_GET, "/", NULL, browser);
    assert_string_equal(m.content_type, "text/html; charset=utf-8");
    assert_non_null(strstr(m.body.data, "<title>Hearth</title>"));
    assert_non_null(strstr(m.headers.data, "Content-Security-Policy: "));
    assert_non_null(strstr(m.headers.data, "nosniff"));
    assert_non_null(strstr(m.headers.data, "Vary: Accept"));
    memsink_deinit(&m);
    call(&m, HTTP_GET, "/", NULL, other);
    assert_string_equal(m.content_type, "application/json");
    memsink_deinit(&m);
    call(&m, HTTP_GET, "/", NULL, NULL);
    assert_string_equal(m.content_type, "application/json");
    memsink_deinit(&m);
}

/* Every page and script is there, names only parts that are there, and runs nothing inline. */
static void pages_are_complete(void **state)
{
    (void)state;
    static const char *const pages[] = {"/docs", "/redoc", "/assets/index.html"};
    for (size_t i = 0; i < 3; i++) {
        struct memsink m;
        call(&m, HTTP_GET, pages[i], NULL, NULL);
        assert_int_equal(m.status, 200);
        assert_null(strstr(m.body.data, "<script>"));
        assert_null(strstr(m.body.data, "style=\""));
        assert_null(strstr(m.body.data, "onclick"));
        for (const char *p = strstr(m.body.data, "\"/assets/"); p;
             p = strstr(p + 1, "\"/assets/")) {
            char path[80];
            snprintf(path, sizeof path, "%.*s", (int)strcspn(p + 1, "\""), p + 1);
            struct memsink part;
            call(&part, HTTP_GET, path, NULL, NULL);
            if (part.status != 200) fail_msg("%s: %d", path, part.status);
            memsink_deinit(&part);
        }
        memsink_deinit(&m);
    }
}

static void assets_have_tags(void **state)
{
    (void)state;
    struct memsink m;
    call(&m, HTTP_GET, "/assets/hub.css", NULL, NULL);
    assert_int_equal(m.status, 200);
    const char *tag = strstr(m.headers.data, "ETag: ");
    assert_non_null(tag);
    char value[40], list[80];
    snprintf(value, sizeof value, "%.*s", (int)strcspn(tag + 6, "\n"), tag + 6);
    snprintf(list, sizeof list, "\"old\", W/%s", value);
    memsink_deinit(&m);
    const char *const same[] = {"If-None-Match", list, NULL};
    call(&m, HTTP_GET, "/assets/hub.css", NULL, same);
    assert_int_equal(m.status, 304);
    assert_int_equal(m.body.len, 0);
    memsink_deinit(&m);
    const char *const old[] = {"If-None-Match", "\"old\"", NULL};
    call(&m, HTTP_GET, "/assets/hub.css", NULL, old);
    assert_int_equal(m.status, 200);
    memsink_deinit(&m);
    call(&m, HTTP_GET, "/assets/none.css", NULL, NULL);
    assert_int_equal(m.status, 404);
    memsink_deinit(&m);
}

static void bundles_are_gzipped(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int status;
    } cases[] = {{NULL, 200},
                 {"gzip, deflate, br", 200},
                 {"*", 200},
                 {"br;q=1, gzip;q=0.5", 200},
                 {"identity", 400},
                 {"gzip;q=0", 400},
                 {"gzip; q=0.0, br", 400},
                 {"", 400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const headers[] = {cases[i].accept ? "Accept-Encoding" : NULL, cases[i].accept,
                                       NULL};
        struct memsink m;
        call(&m, HTTP_GET, "/assets/swagger-ui.css", NULL, headers);
        if (m.status != cases[i].status) fail_msg("%s: %d", cases[i].accept, m.status);
        if (m.status == 200) {
            assert_non_null(strstr(m.headers.data, "Content-Encoding: gzip"));
            assert_memory_equal(m.body.data, "\x1f\x8b", 2);
        }
        memsink_deinit(&m);
    }
    for (const struct asset *a = api_assets; a->path; a++)
        if (strstr(a->path, ".html")) assert_false(a->gzip);
}

static void openapi(void **state)
{
    (void)state;
    json_t *v = call_json("/openapi.json", NULL, 200);
    assert_string_equal(str_at(v, "info/title"), "Hearth");
    json_decref(v);
}

/* ---- models -------------------------------------------------------------------------------- */

static void models(void **state)
{
    (void)state;
    json_t *v = call_json("/v1/models", NULL, 200);
    assert_string_equal(str_at(v, "object"), "list");
    bool found = false;
    for (size_t i = 0; i < json_array_size(json_object_get(v, "data")); i++) {
        const json_t *m = json_array_get(json_object_get(v, "data"), i);
        if (strcmp(str_at(m, "id"), "hearth-tiny") != 0) continue;
        found = true;
        assert_string_equal(str_at(m, "object"), "model");
        assert_string_equal(str_at(m, "owned_by"), "hearth");
        assert_true(int_at(m, "created") > 0);
        assert_string_equal(str_at(m, "meta/kind"), "chat");
        assert_string_equal(str_at(m, "meta/state"), "on_disk");
        assert_true(int_at(m, "meta/size") > 1000000);
        assert_true(int_at(m, "meta/context") > 0);
        assert_true(json_is_true(at(m, "meta/builtin")));
        char *text = json_dumps(m, JSON_COMPACT);
        assert_null(strstr(text, HEARTH_SOURCE_DIR)); /* paths are nobody's business */
        free(text);
    }
    assert_true(found);
    json_decref(v);
}

static void one_model(void **state)
{
    (void)state;
    json_t *v = call_json("/v1/models/hearth-tiny", NULL, 200);
    assert_string_equal(str_at(v, "id"), "hearth-tiny");
    json_decref(v);
    static const char *const paths[] = {"/v1/models/no-such-model", "/v1/models/org/name",
                                        "/v1/models/..%2F..%2Fetc%2Fpasswd",
                                        "/v1/models/%2Fetc%2Fpasswd"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        v = call_json(paths[i], NULL, 404);
        assert_string_equal(str_at(v, "error/code"), "model_not_found");
        assert_string_equal(str_at(v, "error/type"), "not_found_error");
        json_decref(v);
    }
}

/* ---- generation ---------------------------------------------------------------------------- */

static void chat(void **state)
{
    (void)state;
    json_t *v = call_json(CHAT, SAY("good morning") ",\"n\":2,\"timings\":true}", 200);
    assert_string_equal(str_at(v, "choices/0/message/content"), "good morning");
    assert_string_equal(str_at(v, "choices/1/message/content"), "good morning");
    assert_string_equal(str_at(v, "choices/0/finish_reason"), "stop");
    assert_int_equal(int_at(v, "usage/total_tokens"),
                     int_at(v, "usage/prompt_tokens") + int_at(v, "usage/completion_tokens"));
    assert_int_equal(int_at(v, "timings/prompt_n") + int_at(v, "timings/cache_n"),
                     int_at(v, "usage/prompt_tokens"));
    json_decref(v);
}

static void chat_with_everything(void **state)
{
    (void)state;
    json_t *v = call_json(
        CHAT,
        SAY("<think>hm</think>ok <tool_call>get {\\\"a\\\":1}</tool_call>") ",\"tools\":[{\"type\":"
                                                                            "\"function\","
                                                                            "\"function\":{"
                                                                            "\"name\":"
                                                                            "\"get\"}}]}",
        200);
    assert_string_equal(str_at(v, "choices/0/message/reasoning_content"), "hm");
    assert_string_equal(str_at(v, "choices/0/message/tool_calls/0/function/name"), "get");
    assert_string_equal(str_at(v, "choices/0/message/tool_calls/0/function/arguments"),
                        "{\"a\":1}");
    assert_string_equal(str_at(v, "choices/0/finish_reason"), "tool_calls");
    json_decref(v);
    v = call_json(CHAT, SAY("abcdef") ",\"stop\":[\"cd\"]}", 200);
    assert_string_equal(str_at(v, "choices/0/message/content"), "ab");
    json_decref(v);
    v = call_json(CHAT, SAY("abcdef") ",\"max_tokens\":3}", 200);
    assert_string_equal(str_at(v, "choices/0/message/content"), "abc");
    assert_string_equal(str_at(v, "choices/0/finish_reason"), "length");
    json_decref(v);
    v = call_json(CHAT, SAY("ab") ",\"logprobs\":true,\"top_logprobs\":2}", 200);
    assert_string_equal(str_at(v, "choices/0/logprobs/content/1/token"), "b");
    assert_int_equal(json_array_size(at(v, "choices/0/logprobs/content/1/top_logprobs")), 2);
    json_decref(v);
}

static void chat_errors(void **state)
{
    (void)state;
    json_t *v = call_json(CHAT, SAY("x") ",\"model\":\"no-such-model\"}", 404);
    assert_string_equal(str_at(v, "error/code"), "model_not_found");
    json_decref(v);
    v = call_json(CHAT, SAY("x") ",\"model\":\"no-such-model\",\"stream\":true}", 404);
    json_decref(v);
    v = call_json(CHAT, SAY("x") ",\"model\":\"fake:fail_load=broken file\"}", 500);
    assert_string_equal(str_at(v, "error/code"), "bad_model_file");
    json_decref(v);
    v = call_json(CHAT, SAY("x") ",\"stream\":true,\"model\":\"fake:kind=embed\"}", 400);
    json_decref(v);

    char body[2048], text[1024];
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    snprintf(body, sizeof body, SAY("%s") ",\"stream\":true}", text);
    v = call_json(CHAT, body, 400); /* 512 tokens of context: told with the proper status */
    assert_string_equal(str_at(v, "error/code"), "context_length_exceeded");
    if (!strstr(str_at(v, "error/message"), "at most 511"))
        fail_msg("%s", str_at(v, "error/message"));
    json_decref(v);
}

static void streamed_chat(void **state)
{
    (void)state;
    struct memsink m;
    call(&m, HTTP_POST, CHAT,
         SAY("caf\\u00e9") ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", NULL);
    assert_int_equal(m.status, 200);
    assert_string_equal(m.content_type, "text/event-stream");
    assert_non_null(strstr(m.body.data, "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}"));
    if (!strstr(m.body.data, "\xC3\xA9\"}")) fail_msg("%s", m.body.data);
    assert_non_null(strstr(m.body.data, "\"choices\":[],\"usage\":{"));
    assert_true(str_ends(m.body.data, "data: [DONE]\n\n"));
    memsink_deinit(&m);
}

static void completions(void **state)
{
    (void)state;
    json_t *v = call_json("/v1/completions", "{\"prompt\":[\"one\",\"two\"],\"n\":2}", 200);
    assert_int_equal(json_array_size(at(v, "choices")), 4);
    assert_string_equal(str_at(v, "choices/0/text"), "one");
    assert_string_equal(str_at(v, "choices/3/text"), "two");
    json_decref(v);
    v = call_json("/v1/completions", "{\"prompt\":\"one\",\"echo\":true}", 200);
    assert_string_equal(str_at(v, "choices/0/text"), "oneone");
    json_decref(v);
    v = call_json("/v1/completions", "{\"prompt\":[111,107],\"echo\":true,\"logprobs\":1}", 200);
    assert_string_equal(str_at(v, "choices/0/text"), "okok");
    json_decref(v);
}

static void embeddings(void **state)
{
    (void)state;
    json_t *v = call_json("/v1/embeddings", "{\"input\":[\"a\",\"b\",\"a\"]}", 200);
    assert_int_equal(json_array_size(at(v, "data")), 3);
    assert_int_equal(json_array_size(at(v, "data/0/embedding")), 8);
    assert_true(json_equal(at(v, "data/0/embedding"), at(v, "data/2/embedding")));
    assert_false(json_equal(at(v, "data/0/embedding"), at(v, "data/1/embedding")));
    assert_true(int_at(v, "usage/prompt_tokens") >= 3);
    json_decref(v);
    v = call_json("/v1/embeddings", "{\"input\":\"a\",\"dimensions\":9}", 400);
    assert_string_equal(str_at(v, "error/param"), "/dimensions");
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health),
        cmocka_unit_test(metrics),
        cmocka_unit_test(root_is_a_page_for_browsers),
        cmocka_unit_test(pages_are_complete),
        cmocka_unit_test(assets_have_tags),
        cmocka_unit_test(bundles_are_gzipped),
        cmocka_unit_test(openapi),
        cmocka_unit_test(models),
        cmocka_unit_test(one_model),
        cmocka_unit_test(chat),
        cmocka_unit_test(chat_with_everything),
        cmocka_unit_test(chat_errors),
        cmocka_unit_test(streamed_chat),
        cmocka_unit_test(completions),
        cmocka_unit_test(embeddings),
    };
    return cmocka_run_group_tests(tests, open_hub, close_hub);
}
