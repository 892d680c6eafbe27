/* Sequences with gaps between them move together. What a client gets is the same; the fake engine
 * dies where a sequence does not hold what its prompt says, so a move that loses or mixes up cells
 * is the end of the test. */
#include "unit/sched/harness.h"

enum { SLOTS = 8, LONG = 160 };

static struct sched_params params_of(void)
{
    struct sched_params p = some_params();
    p.n_parallel = SLOTS;
    p.shared_kv = false;
    return p;
}

/* n letters that depend on seed. */
static const char *letters(char *out, int n, int seed)
{
    for (int i = 0; i < n; i++) out[i] = (char)('a' + (i * 7 + i / 5 + seed * 3) % 26);
    out[n] = '\0';
    return out;
}

/* Every second of eight sequences ends early. The four others would be decoded one by one: 4
 * batches of the fake engine for each token, which take 5 ms whatever is in them. */
static void test_gaps_close(void **state)
{
    (void)state;
    struct fixture f;
    char text[SLOTS][LONG + 1];
    fixture_open(&f, "fake:ms=5", params_of());
    struct client *c[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        c[i] = ask(&f, (struct ask){.text = letters(text[i], i % 2 ? 12 : LONG, i)});
    for (int i = 1; i < SLOTS; i += 2) client_wait(c[i]);
    int64_t batches = metric_value(METRIC_batches_total);
    for (int i = 0; i < SLOTS; i += 2) client_wait(c[i]);
    batches = metric_value(METRIC_batches_total) - batches;
    for (int i = 0; i < SLOTS; i++) {
        assert_int_equal(c[i]->error.code, OK);
        assert_string_equal(buf_str(&c[i]->text[0]), text[i]);
        client_free(c[i]);
    }
    assert_in_range(batches, LONG / 2, 2 * LONG); /* apart it would be 4 * LONG or so */
    fixture_close(&f);
}

/* What lay in the slots that were moved into is still there for its next request. */
static void test_prefixes_survive(void **state)
{
    (void)state;
    struct fixture f;
    char text[SLOTS][LONG + 1], other[SLOTS][LONG + 1];
    fixture_open(&f, "fake:ms=2", params_of());
    struct client *c[SLOTS];
    for (int i = 0; i < SLOTS; i++) { /* each slot has something */
        c[i] = ask(&f, (struct ask){.text = letters(text[i], LONG, i), .max_tokens = 4});
    }
    for (int i = 0; i < SLOTS; i++) {
        client_wait(c[i]);
        client_free(c[i]);
    }
    for (int i = 0; i < 4; i++) /* new ones, of which every second one ends early */
        c[i] = ask(&f, (struct ask){.text = letters(other[i], i % 2 ? 12 : LONG, 100 + i)});
    for (int i = 0; i < 4; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_string_equal(buf_str(&c[i]->text[0]), other[i]);
        client_free(c[i]);
    }
    int kept = 0;
    for (int i = SLOTS - 1; i >= SLOTS / 2; i--) { /* the older half made room for the others */
        struct client *again = ask(&f, (struct ask){.text = text[i], .max_tokens = 4});
        client_wait(again);
        assert_memory_equal(buf_str(&again->text[0]), text[i], 4);
        kept += again->usage.cached_tokens >= LONG;
        client_free(again);
    }
    assert_int_equal(kept, SLOTS / 2);
    fixture_close(&f);
}

/* Comings, goings and cancels in any order, with adapters, on a memory that can't give up parts. */
static void test_many_moves_lose_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {"fake:token_us=200", "fake:token_us=200,no_partial=1"};
    for (size_t p = 0; p < 2; p++) {
        enum { N = 60 };
        struct fixture f;
        char text[N][LONG + 1];
        struct client *c[N];
        fixture_open(&f, paths[p], params_of());
        for (int i = 0; i < N; i++) {
            int n = 5 + (i * 37) % (LONG - 5);
            c[i] = ask(&f, (struct ask){.text = letters(text[i], n, i),
                                        .tenant = i % 3 ? "one" : "two",
                                        .adapter = i % 4 ? NULL : "fake:lora,swap=AB"});
            if (i % 7 == 3) sched_cancel(f.sched, c[i]->id);
            if (i % 10 == 9) sleep_ms(10);
        }
        for (int i = 0; i < N; i++) {
            client_wait(c[i]);
            if (i % 7 != 3) {
                assert_int_equal(c[i]->error.code, OK);
                assert_string_equal(buf_str(&c[i]->text[0]), text[i]);
            }
            client_free(c[i]);
        }
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gaps_close),
        cmocka_unit_test(test_prefixes_survive),
        cmocka_unit_test(test_many_moves_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
