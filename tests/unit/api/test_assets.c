/* The files embedded in the binary (tools/embed-assets): ours byte for byte, the npm bundles
 * gzipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/assets.h"

static const struct asset *find(const char *path)
{
    for (const struct asset *a = api_assets; a->path; a++)
        if (strcmp(a->path, path) == 0) return a;
    fail_msg("%s is not embedded", path);
    return NULL;
}

/* The whole output of a command, to be freed by the caller. */
static unsigned char *output_of(const char *command, size_t *len)
{
    size_t cap = 8u << 20;
    unsigned char *data = malloc(cap);
    assert_non_null(data);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    *len = fread(data, 1, cap, f);
    assert_int_equal(pclose(f), 0);
    return data;
}

static void test_own_pages_are_stored_as_they_are(void **state)
{
    (void)state;
    int n = 0;
    for (const struct asset *a = api_assets; a->path; a++) {
        if (a->gzip) continue;
        char command[512];
        size_t len;
        snprintf(command, sizeof command, "cat '%s/src/api/hub/pages/%s'", HEARTH_SOURCE_DIR,
                 a->path + strlen("/assets/"));
        unsigned char *file = output_of(command, &len);
        assert_int_equal(a->len, len);
        assert_memory_equal(a->data, file, len);
        free(file);
        n++;
    }
    assert_true(n > 0);
}

static void check_bundle(const char *path, const char *content_type, const char *npm_file)
{
    const struct asset *a = find(path);
    assert_true(a->gzip);
    assert_string_equal(a->content_type, content_type);

    char name[] = "/tmp/hearth-asset-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(a->data, 1, a->len, f), a->len);
    assert_int_equal(fclose(f), 0);

    char command[1024];
    size_t len;
    snprintf(command, sizeof command, "gzip -dc < '%s' | cmp - '%s/node_modules/%s' && echo same",
             name, HEARTH_SOURCE_DIR, npm_file);
    unsigned char *said = output_of(command, &len);
    assert_int_equal(len, strlen("same\n"));
    free(said);
    remove(name);
}

static void test_bundles_unpack_to_the_npm_files(void **state)
{
    (void)state;
    check_bundle("/assets/swagger-ui.css", "text/css; charset=utf-8",
                 "swagger-ui-dist/swagger-ui.css");
    check_bundle("/assets/swagger-ui-bundle.js", "text/javascript; charset=utf-8",
                 "swagger-ui-dist/swagger-ui-bundle.js");
    check_bundle("/assets/redoc.standalone.js", "text/javascript; charset=utf-8",
                 "redoc/bundles/redoc.standalone.js");
}

static void test_every_path_is_there_once_with_a_type(void **state)
{
    (void)state;
    for (const struct asset *a = api_assets; a->path; a++) {
        assert_memory_equal(a->path, "/assets/", strlen("/assets/"));
        assert_ptr_equal(find(a->path), a);
        assert_non_null(strchr(a->content_type, '/'));
        assert_true(a->len > 0);
    }
    assert_string_equal(find("/assets/index.html")->content_type, "text/html; charset=utf-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_pages_are_stored_as_they_are),
        cmocka_unit_test(test_bundles_unpack_to_the_npm_files),
        cmocka_unit_test(test_every_path_is_there_once_with_a_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
