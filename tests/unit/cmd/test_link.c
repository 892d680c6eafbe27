/* The link into a hub of this process, with the built-in model: answers, errors, cancelling at
 * every moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/interrupt.h"
#include "cmd/link.h"

static char models_dir[] = "/tmp/hearth-link-XXXXXX";
static struct config *config;
static struct link *link_here;

static int open_link(void **state)
{
    (void)state;
    struct error error;
    assert_non_null(mkdtemp(models_dir));
    const struct config_override overrides[] = {
        {CONFIG_MODELS_DIR, models_dir},
        {CONFIG_BUILTIN_DIR, HEARTH_SOURCE_DIR "/models"},
        {CONFIG_LIB_DIR, HEARTH_BINARY_DIR "/lib/hearth"},
        {CONFIG_DEFAULT_MODEL, ""},
    };
    assert_int_equal(log_open(LOG_OFF, false, NULL, &error), OK);
    interrupt_install();
    if (config_load(overrides, sizeof(overrides) / sizeof(*overrides), &config, &error) ||
        link_open_local(config, &link_here, &error))
        fail_msg("%s", error.msg);
    return 0;
}

static int close_link(void **state)
{
    (void)state;
    link_close(link_here);
    config_free(config);
    rmdir(models_dir);
    return 0;
}

/* Posts to `path`; cancels after `pieces` texts (-1 = never). Returns how many texts came. */
static int post(const char *path, const char *body, int pieces, struct reply_end *end)
{
    struct error error;
    struct reply *r = reply_new();
    const char *text;
    size_t len;
    int n = 0;
    if (link_start(link_here, path, body, strlen(body), r, &error)) fail_msg("%s", error.msg);
    if (pieces == 0) link_cancel(link_here);
    for (;;) {
        enum reply_wake wake = reply_next(r, 30000, &text, &len, end);
        if (wake == REPLY_END) break;
        assert_int_equal(wake, REPLY_TEXT);
        if (++n == pieces) link_cancel(link_here);
    }
    end->body = NULL; /* goes with the reply */
    reply_free(r);
    return n;
}

static const char chat[] = "/v1/chat/completions";
static const char long_chat[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"stream\":true,\"max_tokens\":500,"
    "\"ignore_eos\":true}";

static void test_facts(void **state)
{
    (void)state;
    assert_true(link_here->local);
    assert_true(link_here->model.builtin);
    assert_string_equal(link_here->model.id, "hearth-tiny");
}

static void test_get(void **state)
{
    (void)state;
    struct buf body;
    struct error error;
    buf_init(&body, 1 << 20);
    assert_int_equal(link_get(link_here, "/v1/models", &body, &error), OK);
    assert_non_null(strstr(buf_str(&body), "hearth-tiny-embed"));
    buf_clear(&body);
    assert_int_equal(link_get(link_here, "/v1/models/nix", &body, &error), ERR_NO_MODEL);
    assert_non_null(strstr(error.msg, "nix"));
    assert_int_equal(link_get(link_here, "/nowhere", &body, &error), ERR_NOT_FOUND);
    buf_free(&body);
}

static void test_whole_answer(void **state)
{
    (void)state;
    struct reply_end end;
    int n = post(chat,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"stream\":true,"
                 "\"max_tokens\":5,\"ignore_eos\":true,"
                 "\"stream_options\":{\"include_usage\":true}}",
                 -1, &end);
    assert_int_equal(end.error.code, OK);
    assert_true(n >= 1);
    assert_int_equal(end.finish, FINISH_LENGTH);
    assert_int_equal(end.usage.completion_tokens, 5);
    assert_true(end.usage.prompt_tokens > 0);
    assert_string_equal(end.model, "hearth-tiny");
}

static void test_errors(void **state)
{
    (void)state;
    struct reply_end end;
    assert_int_equal(post(chat, "{", -1, &end), 0);
    assert_int_equal(end.error.code, ERR_JSON);
    assert_int_equal(end.status, 400);
    assert_int_equal(post(chat, "{\"messages\":[]}", -1, &end), 0);
    assert_int_equal(end.error.code, ERR_INVALID);
}

/* Before anything came, in the middle, and twice; the next request finds all in order. */
static void test_cancel(void **state)
{
    (void)state;
    struct reply_end end;
    for (int pieces = 0; pieces < 12; pieces++) {
        int n = post(chat, long_chat, pieces, &end);
        assert_int_equal(end.error.code, ERR_CANCELLED);
        assert_true(n >= pieces && n < 450);
        link_cancel(link_here); /* after the end: nothing */
    }
    test_whole_answer(state);
}

/* The hub is closed while its last request is still being taken apart. */
static void test_close_after_cancel(void **state)
{
    struct reply_end end;
    (void)post(chat, long_chat, 1, &end);
    close_link(state);
    strcpy(models_dir + strlen(models_dir) - 6, "XXXXXX");
    open_link(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),        cmocka_unit_test(test_get),
        cmocka_unit_test(test_whole_answer), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_close_after_cancel),
    };
    return cmocka_run_group_tests(tests, open_link, close_link);
}
