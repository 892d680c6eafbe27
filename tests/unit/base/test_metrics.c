/* Metrics: counting from several threads, Prometheus' text. The process has one set of them, so
 * the tests look at differences or run on metrics of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "base/thread.h"

static void *count_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_add(METRIC_requests_total, 1);
        metric_add(METRIC_http_streams, i % 2 ? -1 : 1);
        metric_observe_ns(METRIC_token_seconds, 1000000);
    }
    return arg;
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct error error;
    for (int i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "count", count_many, NULL, &error), OK);
    struct buf out;
    buf_init(&out, 100000);
    assert_int_equal(metrics_render(&out), OK); /* meanwhile */
    buf_free(&out);
    for (int i = 0; i < 4; i++) thread_join(threads[i]);
    assert_int_equal(metric_value(METRIC_requests_total), 40000);
    assert_int_equal(metric_value(METRIC_http_streams), 0);
    assert_int_equal(metric_value(METRIC_token_seconds), 40000);
}

static void assert_line(const struct buf *out, const char *line)
{
    char with_ends[200];
    snprintf(with_ends, sizeof with_ends, "\n%s\n", line);
    if (!strstr(out->data, with_ends)) fail_msg("no line '%s' in:\n%s", line, out->data);
}

static void test_text_format(void **state)
{
    (void)state;
    metric_add(METRIC_http_requests_total, 3);
    metric_set(METRIC_models_loaded, 2);
    metric_add(METRIC_models_loaded, -1);
    metric_observe_ns(METRIC_model_load_seconds, 500000); /* on a bound: it belongs below */
    metric_observe_ns(METRIC_model_load_seconds, 500001);
    metric_observe_ns(METRIC_model_load_seconds, 700000000);
    metric_observe_ns(METRIC_model_load_seconds, 500000000000); /* past the last bound */
    metric_observe_ns(METRIC_model_load_seconds, -5);           /* a clock's hiccup counts as 0 */
    struct buf out;
    buf_init(&out, 100000);
    assert_int_equal(metrics_render(&out), OK);
    assert_line(
        &out,
        "# HELP hearth_http_errors_total HTTP requests answered with a status of 400 or more");
    assert_line(&out, "# TYPE hearth_http_requests_total counter");
    assert_line(&out, "hearth_http_requests_total 3");
    assert_line(&out, "# TYPE hearth_models_loaded gauge");
    assert_line(&out, "hearth_models_loaded 1");
    assert_line(&out, "# TYPE hearth_model_load_seconds histogram");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"0.0005\"} 2");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"0.001\"} 3");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"0.5\"} 3");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"1\"} 4");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"120\"} 4");
    assert_line(&out, "hearth_model_load_seconds_bucket{le=\"+Inf\"} 5");
    assert_line(&out, "hearth_model_load_seconds_sum 500.701000001");
    assert_line(&out, "hearth_model_load_seconds_count 5");
    assert_int_equal(metric_value(METRIC_model_load_seconds), 5);
    assert_int_equal(out.data[out.len - 1], '\n');
    buf_free(&out);
}

static void test_render_reports_a_full_buffer(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(metrics_render(&out), ERR_TOO_LARGE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_render_reports_a_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
