/* Log: one whole line per event, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

static char path[] = "/tmp/hearth-log-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct error error;
    unlink(path);
    return log_open(LOG_INFO, false, NULL, &error) == OK ? 0 : -1;
}

static void start(enum log_level level, bool json)
{
    struct error error;
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(log_open(level, json, path, &error), OK);
}

static char *written(void)
{
    struct buf b;
    struct error error;
    buf_init(&b, 64 * 1024 * 1024);
    assert_int_equal(fs_read_file(path, 64 * 1024 * 1024, &b, &error), OK);
    return buf_take(&b);
}

/* Checks and cuts the time off. */
static const char *after_time(const char *line)
{
    const char *form = "0000-00-00T00:00:00.000Z ";
    for (; *form; form++, line++) {
        if (*form == '0')
            assert_true(*line >= '0' && *line <= '9');
        else
            assert_int_equal(*line, *form);
    }
    return line;
}

static void test_text_line(void **state)
{
    (void)state;
    start(LOG_INFO, false);
    log_info(http, "listening on port=%d", 8000);
    log_line(LOG_WARN, LOG_sched, "req-1", "slow");
    char *text = written();
    char *second = strchr(text, '\n') + 1;
    assert_string_equal(after_time(second), "WARN  sched   slow request_id=req-1\n");
    *second = '\0';
    assert_string_equal(after_time(text), "INFO  http    listening on port=8000\n");
    free(text);
}

static void test_levels(void **state)
{
    (void)state;
    enum log_level level;
    assert_true(log_level_parse("warning", &level) && level == LOG_WARN);
    assert_true(log_level_parse("WARN", &level) && level == LOG_WARN);
    assert_true(log_level_parse("Debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_parse("OFF", &level) && level == LOG_OFF);
    assert_false(log_level_parse("loud", &level));
    start(LOG_ERROR, false);
    log_debug(hub, "no");
    log_warn(hub, "no");
    assert_false(log_on(LOG_WARN));
    log_error(hub, "yes");
    char *text = written();
    assert_string_equal(after_time(text), "ERROR hub     yes\n");
    free(text);
    start(LOG_OFF, false);
    log_error(hub, "no");
    log_line(LOG_OFF, LOG_hub, NULL, "no");
    text = written();
    assert_string_equal(text, "");
    free(text);
}

static void test_a_client_cannot_forge_a_line(void **state)
{
    (void)state;
    start(LOG_INFO, false);
    log_line(LOG_INFO, LOG_api, "a\nb", "%s", "x\n2026 ERROR y\r\t\x1b[2J\x7f\xC2\x9B\xFF\xC3\xA9");
    char *text = written();
    assert_string_equal(after_time(text),
                        "INFO  api     x\\n2026 ERROR y\\r\\t\\x1b[2J\\x7f\\u009b\\xff\xC3\xA9"
                        " request_id=a\\nb\n");
    free(text);
}

static void test_json_line(void **state)
{
    (void)state;
    start(LOG_INFO, true);
    log_line(LOG_INFO, LOG_api, "r1", "%s", "say \"hi\"\n\xFF");
    char *text = written();
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "level")), "INFO");
    assert_string_equal(json_string_value(json_object_get(o, "area")), "api");
    assert_string_equal(json_string_value(json_object_get(o, "request_id")), "r1");
    assert_string_equal(json_string_value(json_object_get(o, "message")),
                        "say \"hi\"\n\xEF\xBF\xBD");
    assert_int_equal(json_string_length(json_object_get(o, "time")), 24);
    assert_null(json_object_get(o, "cut"));
    json_decref(o);
    free(text);
}

static void test_endless_messages_are_cut(void **state)
{
    (void)state;
    char *big = malloc(100001), *controls = malloc(100001);
    assert_true(big && controls);
    for (int i = 0; i < 100000; i++) big[i] = "\xE2\x82\xAC"[i % 3];
    memset(controls, 1, 100000);
    big[100000] = controls[100000] = '\0';
    for (int json = 0; json < 2; json++) {
        start(LOG_INFO, json != 0);
        log_info(api, "%s", big);
        log_info(api, "%s", controls);
        log_line(LOG_INFO, LOG_api, controls, "%s", controls);
        char *text = written();
        int lines = 0;
        for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
            *end = '\0';
            assert_true(end - line < 4096);
            assert_true(utf8_valid(line, strlen(line)));
            if (!json) continue;
            json_t *o = json_loads(line, 0, NULL);
            assert_non_null(o);
            assert_true(json_is_true(json_object_get(o, "cut")));
            json_decref(o);
        }
        assert_int_equal(lines, 3);
        assert_true(json || strstr(text, "..."));
        free(text);
    }
    free(big);
    free(controls);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 500; i++) log_info(engine, "%s %0300d end", (const char *)arg, i);
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    start(LOG_INFO, false);
    char names[4][4] = {"t0", "t1", "t2", "t3"};
    pthread_t threads[4];
    struct error error;
    for (int i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "log", log_many, names[i], &error), OK);
    for (int i = 0; i < 4; i++) thread_join(threads[i]);
    char *text = written();
    int lines = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        *end = '\0';
        const char *rest = after_time(line);
        assert_memory_equal(rest, "INFO  engine  t", 15);
        assert_int_equal(strlen(rest), 15 + 1 + 1 + 300 + 4);
        assert_true(str_ends(rest, " end"));
    }
    assert_int_equal(lines, 2000);
    free(text);
}

static void test_unwritable_file_is_an_error(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(log_open(LOG_INFO, false, "/nonexistent/x.log", &error), ERR_NOT_FOUND);
    assert_non_null(strstr(error.msg, "/nonexistent/x.log"));
}

static void test_file_is_private_and_appended_to(void **state)
{
    (void)state;
    struct error error;
    unlink(path);
    assert_int_equal(log_open(LOG_INFO, false, path, &error), OK);
    log_info(hub, "one");
    assert_int_equal(log_open(LOG_INFO, false, path, &error), OK);
    log_info(hub, "two");
    char *text = written();
    assert_true(strstr(text, "one") && strstr(text, "two"));
    free(text);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_a_client_cannot_forge_a_line),
        cmocka_unit_test(test_json_line),
        cmocka_unit_test(test_endless_messages_are_cut),
        cmocka_unit_test(test_lines_of_threads_do_not_mix),
        cmocka_unit_test(test_unwritable_file_is_an_error),
        cmocka_unit_test(test_file_is_private_and_appended_to),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
