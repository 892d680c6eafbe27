/* Finding routes: methods, parameters, decoding, and that the tables themselves are sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/fields.h"
#include "api/openapi.h"
#include "api/route.h"
#include "base/json.h"

struct found {
    enum route_match match;
    const struct route *route;
    char buf[256];
    const char *params[HTTP_PATH_PARAMS_MAX];
    char allow[64];
};

static void find(struct found *f, enum http_method method, const char *path)
{
    memset(f, 0, sizeof *f);
    f->match = route_find(method, path, &f->route, f->buf, sizeof f->buf, f->params, f->allow);
}

static void finds_literal_paths(void **state)
{
    (void)state;
    struct found f;
    find(&f, HTTP_POST, "/v1/chat/completions");
    assert_int_equal(f.match, ROUTE_FOUND);
    assert_string_equal(f.route->path, "/v1/chat/completions");
    find(&f, HTTP_GET, "/");
    assert_int_equal(f.match, ROUTE_FOUND);
    find(&f, HTTP_GET, "/health");
    assert_int_equal(f.match, ROUTE_FOUND);
    assert_true(f.route->flags & ROUTE_INLINE);
}

static void head_matches_get(void **state)
{
    (void)state;
    struct found f;
    find(&f, HTTP_HEAD, "/v1/models");
    assert_int_equal(f.match, ROUTE_FOUND);
    assert_int_equal(f.route->method, HTTP_GET);
    find(&f, HTTP_HEAD, "/v1/embeddings");
    assert_int_equal(f.match, ROUTE_NO_METHOD);
}

static void unknown_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",         "/nope",       "/v1",     "/v1/models/",
        "/healthz", "/health/",    "//",      "/v1/chat/completions/",
        "/assets/", "/assets/a/b", "/HEALTH", "health"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct found f;
        find(&f, HTTP_GET, paths[i]);
        if (f.match != ROUTE_NO_PATH) fail_msg("%s was found", paths[i]);
    }
}

static void wrong_method_lists_the_right_ones(void **state)
{
    (void)state;
    struct found f;
    find(&f, HTTP_GET, "/v1/embeddings");
    assert_int_equal(f.match, ROUTE_NO_METHOD);
    assert_string_equal(f.allow, "POST");
    find(&f, HTTP_DELETE, "/v1/models/x/y");
    assert_int_equal(f.match, ROUTE_NO_METHOD);
    assert_string_equal(f.allow, "GET, HEAD");
}

static void parameters_are_cut_out_and_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *path, *param; /* NULL = no such path */
    } cases[] = {
        {"/v1/models/tiny", "tiny"},
        {"/v1/models/org/name", "org/name"},
        {"/v1/models/org%2Fname%3aq4", "org/name:q4"},
        {"/v1/models/a+b%20c", "a+b c"},
        {"/v1/models/%C3%A9", "\xC3\xA9"},
        {"/v1/models/100%25", "100%"},
        {"/v1/models/%2525", "%25"}, /* decoded once */
        {"/assets/hub.css", "hub.css"},
        {"/v1/models/%00", NULL},
        {"/v1/models/a%0", NULL},
        {"/v1/models/a%", NULL},
        {"/v1/models/%zz", NULL},
        {"/v1/models/%FF", NULL},
        {"/v1/models/%ED%A0%80", NULL}, /* a surrogate */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct found f;
        find(&f, HTTP_GET, cases[i].path);
        if (!cases[i].param) {
            if (f.match != ROUTE_NO_PATH) fail_msg("%s was found", cases[i].path);
            continue;
        }
        if (f.match != ROUTE_FOUND) fail_msg("%s was not found", cases[i].path);
        assert_string_equal(f.params[0], cases[i].param);
        assert_null(f.params[1]);
    }
}

static void a_parameter_that_does_not_fit_is_no_path(void **state)
{
    (void)state;
    struct found f;
    memset(&f, 0, sizeof f);
    f.match = route_find(HTTP_GET, "/v1/models/abcd", &f.route, f.buf, 5, f.params, f.allow);
    assert_int_equal(f.match, ROUTE_FOUND);
    f.match = route_find(HTTP_GET, "/v1/models/abcd", &f.route, f.buf, 4, f.params, f.allow);
    assert_int_equal(f.match, ROUTE_NO_PATH);
}

/* ---- the tables ---------------------------------------------------------------------------- */

static bool schema_exists(const char *name)
{
    for (const struct schema *const *t = api_schema_tables; *t; t++)
        for (const struct schema *s = *t; s->name; s++)
            if (strcmp(s->name, name) == 0) return true;
    return false;
}

static void every_route_is_complete(void **state)
{
    (void)state;
    for (const struct route *const *t = api_route_tables; *t; t++) {
        for (const struct route *r = *t; r->path; r++) {
            assert_non_null(r->handler);
            assert_non_null(r->tag);
            assert_true(strlen(r->summary) > 4);
            assert_int_equal(r->path[0], '/');
            if (r->request_schema) assert_true(schema_exists(r->request_schema));
            if (r->response_schema) assert_true(schema_exists(r->response_schema));
        }
    }
}

/* Every "$ref" in the document leads somewhere. */
static void check_refs(const json_t *root, const json_t *v)
{
    const char *key;
    json_t *child;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach ((json_t *)v, i, child) check_refs(root, child);
    }
    if (!json_is_object(v)) return;
    json_object_foreach ((json_t *)v, key, child) {
        if (strcmp(key, "$ref") != 0) {
            check_refs(root, child);
            continue;
        }
        char path[160];
        const json_t *at = root;
        assert_true(strncmp(json_string_value(child), "#/", 2) == 0);
        snprintf(path, sizeof path, "%s", json_string_value(child) + 2);
        for (char *save = NULL, *part = strtok_r(path, "/", &save); part;
             part = strtok_r(NULL, "/", &save))
            at = json_object_get(at, part);
        if (!at) fail_msg("%s leads nowhere", json_string_value(child));
    }
}

static void openapi_is_valid(void **state)
{
    (void)state;
    struct buf out;
    struct error error;
    json_t *doc;
    buf_init(&out, 4 << 20);
    assert_int_equal(api_render_openapi(&out), OK);
    if (json_parse(out.data, out.len, &doc, &error) != OK) fail_msg("%s", error.msg);
    check_refs(doc, doc);
    assert_string_equal(json_string_value(json_object_get(doc, "openapi")), "3.1.0");
    const json_t *paths = json_object_get(doc, "paths");
    assert_non_null(json_object_get(json_object_get(paths, "/v1/models/{id}"), "get"));
    assert_non_null(json_object_get(json_object_get(paths, "/v1/chat/completions"), "post"));
    assert_null(json_object_get(paths, "/docs"));
    const json_t *chat = json_object_get(
        json_object_get(json_object_get(doc, "components"), "schemas"), "ChatRequest");
    assert_non_null(json_object_get(json_object_get(chat, "properties"), "min_p"));
    assert_string_equal(json_string_value(json_array_get(json_object_get(chat, "required"), 0)),
                        "messages");
    json_decref(doc);
    buf_free(&out);
}

static void markdown_lists_every_path(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4 << 20);
    assert_int_equal(api_render_markdown(&out), OK);
    assert_non_null(strstr(out.data, "`POST /v1/chat/completions`"));
    assert_non_null(strstr(out.data, "`GET /v1/models/{id}`"));
    for (const struct schema *const *t = api_schema_tables; *t; t++)
        for (const struct schema *s = *t; s->name; s++) {
            char heading[80];
            snprintf(heading, sizeof heading, "\n### %s\n", s->name);
            assert_non_null(strstr(out.data, heading));
        }
    buf_free(&out);
}

static void a_document_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(api_render_openapi(&out), ERR_TOO_LARGE);
    buf_free(&out);
    buf_init(&out, 1000);
    assert_int_equal(api_render_markdown(&out), ERR_TOO_LARGE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_literal_paths),
        cmocka_unit_test(head_matches_get),
        cmocka_unit_test(unknown_paths),
        cmocka_unit_test(wrong_method_lists_the_right_ones),
        cmocka_unit_test(parameters_are_cut_out_and_decoded),
        cmocka_unit_test(a_parameter_that_does_not_fit_is_no_path),
        cmocka_unit_test(every_route_is_complete),
        cmocka_unit_test(openapi_is_valid),
        cmocka_unit_test(markdown_lists_every_path),
        cmocka_unit_test(a_document_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
