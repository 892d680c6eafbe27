/* The costs of steps: sub-batches that take the least time, pieces of prompts that fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/shape.h"

/* A machine without a good kernel for two rows: 15, 42, 44, 48, then 4 ms for each further. */
static double bad_pairs(int32_t width)
{
    static const double ms[] = {0, 15, 42, 44, 48};
    return width <= 4 ? ms[width] : 48 + 4.0 * (width - 4);
}

/* One on which a batch is nearly free. */
static double wide(int32_t width)
{
    return 10 + 0.1 * width;
}

static double step(struct shape *s, int32_t n, double (*cost)(int32_t))
{
    double ms = 0;
    while (n > 0) {
        int32_t w = shape_split(s, n);
        assert_in_range(w, 1, n);
        shape_saw_decode(s, w, cost(w));
        ms += cost(w);
        n -= w;
    }
    return ms;
}

static double least(int32_t n, double (*cost)(int32_t))
{
    double best[SHAPE_WIDTH_MAX + 1] = {0};
    for (int32_t i = 1; i <= n; i++) {
        best[i] = cost(i);
        for (int32_t w = 1; w < i; w++)
            if (cost(w) + best[i - w] < best[i]) best[i] = cost(w) + best[i - w];
    }
    return best[n];
}

static void test_nothing_known_is_one_batch(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int32_t n = 1; n <= SHAPE_WIDTH_MAX; n++) assert_int_equal(shape_split(&s, n), n);
}

/* Whoever was alone first knows at once; whoever was not, finds out by trying, and it costs less
 * than a fiftieth. */
static void learns(double (*cost)(int32_t), int32_t n)
{
    struct shape s;
    shape_init(&s, NULL);
    double spent = 0, best = least(n, cost);
    int rounds = 0;
    for (; spent < 60e3; rounds++) spent += step(&s, n, cost);
    double last = 0;
    for (int i = 0; i < 50; i++) last += step(&s, n, cost);
    assert_true(last / 50 <= 1.05 * best);
    assert_true(s.explored_ms <= SHAPE_EXPLORE * s.spent_ms + 1);
    assert_true(fabs(shape_split_ms(&s, n) - best) <= 0.05 * best);
}

static void test_best_cut_is_found(void **state)
{
    (void)state;
    for (int32_t n = 1; n <= 16; n++) {
        learns(bad_pairs, n);
        learns(wide, n);
    }
}

static void test_pairs_are_cut_after_being_alone(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int i = 0; i < 3; i++) shape_saw_decode(&s, 1, 15);
    assert_int_equal(shape_split(&s, 2), 2); /* not known yet to be bad */
    shape_saw_decode(&s, 2, 42);
    assert_int_equal(shape_split(&s, 2), 1);
    assert_int_equal(shape_split(&s, 1), 1);
}

/* Sequences that begin one after the other: a wider batch costs as much more as the last ones did,
 * so nobody is cut off from trying it. */
static void test_growing_crowds_stay_together(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int32_t n = 1; n <= SHAPE_WIDTH_MAX; n += 3) {
        assert_true(shape_split_ms(&s, n) == shape_decode_ms(&s, n));
        for (int i = 0; i < 3; i++) shape_saw_decode(&s, n, 40 + 4 * n);
    }
}

/* While a machine is busy with something else all 16 look slow; when it is not any more, that is
 * found out soon, though the cut ones are quick by then. */
static void test_a_slow_time_is_forgotten(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int i = 0; i < SHAPE_SAMPLES; i++) {
        shape_saw_decode(&s, 4, 46);
        shape_saw_decode(&s, 12, 77);
    }
    for (int i = 0; i < SHAPE_SAMPLES; i++) shape_saw_decode(&s, 16, 140);
    assert_int_not_equal(shape_split(&s, 16), 16);
    double spent = 0;
    int alone = 0;
    while (spent < 10e3) {
        int32_t n = 16;
        while (n > 0) {
            int32_t w = shape_split(&s, n);
            double ms = w == 16 ? 95 : w == 12 ? 77 : w == 4 ? 46 : 40 + 4 * w;
            shape_saw_decode(&s, w, ms);
            spent += ms;
            alone += w == 16;
            n -= w;
        }
    }
    assert_true(alone > 40); /* of about a hundred rounds */
    assert_int_equal(shape_split(&s, 16), 16);
}

/* Not for a few percent, which are noise. */
static void test_no_cut_for_little(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int i = 0; i < 3; i++) {
        shape_saw_decode(&s, 1, 10);
        shape_saw_decode(&s, 2, 20.5);
    }
    assert_int_equal(shape_split(&s, 2), 2);
}

/* One disturbed sample changes nothing; a machine that has become slower does. */
static void test_outliers_and_changes(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int i = 0; i < 5; i++) shape_saw_decode(&s, 1, 15);
    shape_saw_decode(&s, 1, 900);
    assert_true(shape_decode_ms(&s, 1) == 15);
    for (int i = 0; i < 7; i++) shape_saw_decode(&s, 1, 30);
    assert_true(shape_decode_ms(&s, 1) == 30);
}

/* ---- prefill ------------------------------------------------------------------------------- */

static double piece_ms(int32_t n, int32_t before)
{
    return 20 + 4.2 * n + 0.0011 * n * (before + n / 2.0);
}

static void test_pieces_fit(void **state)
{
    (void)state;
    static const double targets[] = {100, 180, 500};
    for (int t = 0; t < 3; t++) {
        struct shape s;
        shape_init(&s, NULL);
        int32_t before = 0, pieces = 0;
        while (before < 3000) {
            int32_t n = shape_prefill_fit(&s, targets[t], before, 3000 - before);
            double ms = piece_ms(n, before);
            if (ms > 1.12 * targets[t]) fail_msg("%d after %d: %.0f ms", n, before, ms);
            if (pieces > 5 && before + n < 3000) assert_true(ms > 0.75 * targets[t]);
            shape_saw_prefill(&s, n, before, ms);
            before += n;
            pieces++;
        }
        for (int32_t at = 0; at <= 3000; at += 500) {
            double ms = piece_ms(40, at), guess = shape_prefill_ms(&s, 40, at);
            if (fabs(guess - ms) > 0.35 * ms)
                fail_msg("target %.0f, 40 after %d: %.0f ms, guess %.0f", targets[t], at, ms,
                         guess);
        }
    }
}

/* Whatever happens, a piece grows by a factor only, and an absurd time does not stop all. */
static void test_growth_is_bounded(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    assert_int_equal(shape_prefill_fit(&s, 1e9, 0, 100000), SHAPE_FIRST_PIECE);
    shape_saw_prefill(&s, 10, 0, 0.001);
    assert_int_equal(shape_prefill_fit(&s, 1e9, 0, 100000), 10 * SHAPE_GROWTH);
    assert_int_equal(shape_prefill_fit(&s, -5, 0, 100), 1);
    for (int i = 0; i < 10; i++) shape_saw_prefill(&s, 40, 0, 40);
    shape_saw_prefill(&s, 40, 0, 1e9);
    assert_true(shape_prefill_ms(&s, 40, 0) < 100);
    for (int i = 0; i < 30; i++) shape_saw_prefill(&s, 40, 0, 0);
    assert_true(shape_prefill_ms(&s, 40, 0) > 0);
}

/* The time of a constant piece is followed when the machine gets slower, and no coefficient becomes
 * negative. */
static void test_follows_the_machine(void **state)
{
    (void)state;
    struct shape s;
    shape_init(&s, NULL);
    for (int32_t i = 0; i < 60; i++) shape_saw_prefill(&s, 64, i * 64 % 4096, 300);
    assert_true(fabs(shape_prefill_ms(&s, 64, 1000) - 300) < 30);
    for (int32_t i = 0; i < 60; i++) shape_saw_prefill(&s, 64, i * 64 % 4096, 600);
    assert_true(fabs(shape_prefill_ms(&s, 64, 1000) - 600) < 60);
    for (int i = 0; i < 3; i++) assert_true(s.coef[i] >= 0);
}

static void test_profile_comes_back(void **state)
{
    (void)state;
    struct shape a, b;
    struct shape_profile p = {0}, q = {0};
    shape_init(&a, NULL);
    shape_get(&a, &p);
    assert_true(p.decode_ms[1] == 0 && p.prefill_token_ms == 0);
    for (int32_t w = 1; w <= 4; w++)
        for (int i = 0; i < 3; i++) shape_saw_decode(&a, w, bad_pairs(w));
    for (int32_t n = 8; n <= 256; n *= 2) shape_saw_prefill(&a, n, 100, piece_ms(n, 100));
    shape_get(&a, &p);
    shape_init(&b, &p);
    assert_int_equal(shape_split(&b, 2), 1);
    for (int32_t n = 8; n <= 256; n *= 2)
        assert_true(fabs(shape_prefill_ms(&b, n, 900) / shape_prefill_ms(&a, n, 900) - 1) < 1e-3);
    assert_int_equal(shape_prefill_fit(&b, 500, 0, 1000), shape_prefill_fit(&a, 500, 0, 1000));
    shape_get(&b, &q);
    assert_true(q.decode_ms[3] == p.decode_ms[3] && q.prefill_largest == 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known_is_one_batch),
        cmocka_unit_test(test_best_cut_is_found),
        cmocka_unit_test(test_pairs_are_cut_after_being_alone),
        cmocka_unit_test(test_growing_crowds_stay_together),
        cmocka_unit_test(test_a_slow_time_is_forgotten),
        cmocka_unit_test(test_no_cut_for_little),
        cmocka_unit_test(test_outliers_and_changes),
        cmocka_unit_test(test_pieces_fit),
        cmocka_unit_test(test_growth_is_bounded),
        cmocka_unit_test(test_follows_the_machine),
        cmocka_unit_test(test_profile_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
