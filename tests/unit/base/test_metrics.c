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

static void assert_line(const struct buf *out, const char *line)
{
    char with_ends[200];
    snprintf(with_ends, sizeof with_ends, "\n%s\n", line);
    if (!strstr(out->data, with_ends)) fail_msg("no line '%s' in:\n%s", line, out->data);
}

static void *count_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_add(METRIC_requests_total, 1);
        metric_add(METRIC_http_streams, i % 2 ? -1 : 1);
        metric_observe_ns(METRIC_http_request_seconds, 1000000);
        /* Twice as many models as there are series: each thread meets the others' claims. */
        char model[32];
        snprintf(model, sizeof model, "model-%d", i % (2 * METRIC_SERIES_MAX));
        metric_observe_series_ns(METRIC_token_seconds, metric_series(model, 50), 1000000);
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
    buf_init(&out, 4000000);
    assert_int_equal(metrics_render(&out), OK); /* meanwhile */
    buf_free(&out);
    for (int i = 0; i < 4; i++) thread_join(threads[i]);
    assert_int_equal(metric_value(METRIC_requests_total), 40000);
    assert_int_equal(metric_value(METRIC_http_streams), 0);
    assert_int_equal(metric_value(METRIC_http_request_seconds), 40000);
    assert_int_equal(metric_value(METRIC_token_seconds), 40000);
}

/* The first one: a file may be called anything. */
static void test_labels_are_escaped(void **state)
{
    (void)state;
    int series = metric_series("a\"b\\c\nd", 100);
    metric_observe_series_ns(METRIC_queue_wait_seconds, series, 1);
    struct buf out;
    buf_init(&out, 4000000);
    assert_int_equal(metrics_render(&out), OK);
    assert_line(&out, "hearth_queue_wait_seconds_count{model=\"a\\\"b\\\\c\\nd\","
                      "priority=\"background\"} 1");
    buf_free(&out);
}

/* Runs after the test above, which left no series free: also that one has its place. */
static void test_series(void **state)
{
    (void)state;
    assert_string_equal(metric_priority_class(0), "interactive");
    assert_string_equal(metric_priority_class(33), "interactive");
    assert_string_equal(metric_priority_class(34), "normal");
    assert_string_equal(metric_priority_class(66), "normal");
    assert_string_equal(metric_priority_class(67), "background");
    int known = metric_series("model-0", 50);
    assert_int_equal(metric_series("model-0", 40), known);
    int other = metric_series("model-0", 0); /* another class is another series; none is left */
    assert_int_not_equal(other, known);
    assert_int_equal(metric_series("one more", 5), other);
    assert_int_not_equal(metric_series("one more", 99), other);
    metric_observe_series_ns(METRIC_first_token_seconds, other, 20000000);
    struct buf out;
    buf_init(&out, 4000000);
    assert_int_equal(metrics_render(&out), OK);
    assert_line(&out, "# TYPE hearth_first_token_seconds histogram");
    assert_line(&out, "hearth_first_token_seconds_bucket{model=\"other\",priority=\"interactive\","
                      "le=\"0.025\"} 1");
    assert_line(&out, "hearth_first_token_seconds_sum{model=\"other\",priority=\"interactive\"} "
                      "0.020000000");
    assert_line(&out, "hearth_first_token_seconds_count{model=\"model-0\",priority=\"normal\"} 0");
    assert_int_equal(metric_value(METRIC_first_token_seconds), 1);
    buf_free(&out);
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
    buf_init(&out, 4000000);
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
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_series),
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_render_reports_a_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
