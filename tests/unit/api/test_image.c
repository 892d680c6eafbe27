/* Pictures as clients send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/image.h"

static struct arena *arena;
static struct image image;
static struct error why;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void test_urls(void **state)
{
    static const struct {
        const char *url, *type, *data;
    } good[] = {
        {"data:image/png;base64,iVBORw0KGgo=", "image/png", "iVBORw0KGgo="},
        {"DATA:image/JPG;base64,/9j/", "image/jpeg", "/9j/"},
        {"data:image/webp;charset=x;BASE64,UklG\r\nRg", "image/webp", "UklGRg=="},
        {"data:image/gif;base64,AAA", "image/gif", "AAA="},
        {"https://example.org/x", "", NULL},
        {"http://127.0.0.1:80/x.png", "", NULL},
    };
    static const char *const bad[] = {
        "",
        "x.png",
        "file:///etc/passwd",
        "ftp://example.org/x.png",
        "http://",
        "https://exa mple.org/x",
        "data:",
        "data:image/png",
        "data:image/png,abcd",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,=",
        "data:image/png;base64,a",
        "data:image/png;base64,abcde",
        "data:image/png;base64,ab=c",
        "data:image/png;base64,abc==",
        "data:image/png;base64,abcd====",
        "data:image/png;base64,ab%3D",
        "data:image/svg+xml;base64,AAAA",
        "data:text/html;base64,AAAA",
        "data:;base64,AAAA",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (image_from_url(arena, good[i].url, "/p", &image, &why))
            fail_msg("%s: %s", good[i].url, why.msg);
        assert_string_equal(image.media_type, good[i].type);
        assert_true((image.url == NULL) != (image.data == NULL));
        if (good[i].data)
            assert_string_equal(image.data, good[i].data);
        else
            assert_string_equal(image.url, good[i].url);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (image_from_url(arena, bad[i], "/p", &image, &why) != ERR_INVALID)
            fail_msg("was taken: %s", bad[i]);
        assert_string_equal(why.param, "/p");
        assert_non_null(strstr(why.msg, "/p"));
    }
}

static void test_base64_alone(void **state)
{
    static const struct {
        const char *data, *type;
    } kinds[] = {{"iVBORw0KGgoAAAANSUhEUg==", "image/png"},
                 {"/9j/4AAQSkZJRg==", "image/jpeg"},
                 {"R0lGODlhAQABAA==", "image/gif"},
                 {"UklGRiQAAABXRUJQ", "image/webp"}};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(image_from_base64(arena, NULL, kinds[i].data, "/p", &image, &why), OK);
        assert_string_equal(image.media_type, kinds[i].type);
    }
    assert_int_equal(image_from_base64(arena, NULL, "JVBERi0xLjQ=", "/p", &image, &why),
                     ERR_INVALID);
    assert_int_equal(image_from_base64(arena, "image/bmp", "AAAA", "/p", &image, &why),
                     ERR_INVALID);
}

static void test_a_full_arena(void **state)
{
    static char data[4096];
    struct arena *small = arena_new(1024);
    (void)state;
    memset(data, 'A', sizeof data - 1);
    assert_int_equal(image_from_base64(small, "image/png", data, "/p", &image, &why),
                     ERR_TOO_LARGE);
    arena_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_base64_alone),
        cmocka_unit_test(test_a_full_arena),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
