/* What chat keeps: the history of what was typed, and conversations saved to files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cmd/chat_int.h"

static char path[64];

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/hearth-chat-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void join(void *ctx, const char *entry)
{
    struct buf *out = ctx;
    buf_puts(out, entry);
    buf_puts(out, "|");
}

static void test_history_round_trip(void **state)
{
    (void)state;
    struct buf out;
    struct stat st;
    buf_init(&out, 1 << 20);
    chat_history_load(path, join, &out); /* none yet */
    assert_int_equal(out.len, 0);
    chat_history_append(path, "first");
    chat_history_append(path, "two\nlines \\ and \\n");
    chat_history_append(path, "\xc3\xa9");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chat_history_load(path, join, &out);
    assert_string_equal(buf_str(&out), "first|two\nlines \\ and \\n|\xc3\xa9|");
    buf_free(&out);
}

static void test_history_is_bounded(void **state)
{
    (void)state;
    char entry[1001];
    struct buf out;
    struct stat st;
    memset(entry, 'x', 1000);
    entry[1000] = '\0';
    for (int i = 0; i < 1200; i++) chat_history_append(path, entry);
    chat_history_append(path, "the last");
    buf_init(&out, 4 << 20);
    chat_history_load(path, join, &out);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 1 << 20);
    assert_true(out.len > 500000);
    assert_string_equal(out.data + out.len - 9, "the last|");
    assert_int_equal(strcspn(out.data, "|"), 1000); /* no half entry at the start */
    buf_free(&out);
}

static void test_history_of_garbage(void **state)
{
    (void)state;
    static const char garbage[] = "a\\\nb\\\0c\n\n\n";
    struct error error;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(fs_write_atomic(path, garbage, sizeof(garbage) - 1, 0600, &error), OK);
    chat_history_load(path, join, &out);
    assert_non_null(strstr(buf_str(&out), "a\\|"));
    buf_free(&out);
}

static void test_save_and_load(void **state)
{
    (void)state;
    struct error error;
    struct stat st;
    struct chat c = {.messages = json_array(), .system = xstrdup("be brief")};
    json_array_append_new(c.messages,
                          json_pack("{s:s, s:s}", "role", "user", "content", "h\xc3\xa9?\n\"x\""));
    json_array_append_new(c.messages,
                          json_pack("{s:s, s:s}", "role", "assistant", "content", "yes"));
    assert_int_equal(chat_save(&c, path, false, &error), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chat_save(&c, path, false, &error), ERR_CONFLICT);
    assert_non_null(strstr(error.msg, "/save!"));
    assert_int_equal(chat_save(&c, path, true, &error), OK);

    struct chat d = {.messages = json_array()};
    assert_int_equal(chat_load(&d, path, &error), OK);
    assert_true(json_equal(c.messages, d.messages));
    assert_string_equal(d.system, "be brief");
    json_decref(c.messages);
    json_decref(d.messages);
    free(c.system);
    free(d.system);
}

static void test_load_refuses_other_files(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "no json",
        "{}",
        "{\"messages\":{}}",
        "{\"messages\":[1]}",
        "{\"messages\":[{\"role\":\"user\"}]}",
        "{\"messages\":[{\"role\":\"root\",\"content\":\"x\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":7}]}",
    };
    struct error error;
    struct chat c = {.messages = json_array()};
    json_array_append_new(c.messages, json_string("kept"));
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(fs_write_atomic(path, texts[i], strlen(texts[i]), 0600, &error), OK);
        assert_int_not_equal(chat_load(&c, path, &error), OK);
        assert_non_null(strstr(error.msg, path));
        assert_int_equal(json_array_size(c.messages), 1); /* what was there stays */
    }
    unlink(path);
    assert_int_equal(chat_load(&c, path, &error), ERR_NOT_FOUND);
    json_decref(c.messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_history_round_trip, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_history_is_bounded, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_history_of_garbage, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_save_and_load, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_load_refuses_other_files, make_path, remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
