/* Where the beginnings of prompts come from: slots, memory, disk, other requests that run; and that
 * tenants have nothing of each other. The fake engine dies where a sequence does not hold what its
 * prompt says, so every answer here is computed from the right tokens. */
#include "unit/sched/harness.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONG = 900 };

static char dir[64];

/* ---- helpers ------------------------------------------------------------------------------ */

static struct sched_params params_of(int slots, bool shared_kv, uint64_t memory, uint64_t disk)
{
    struct sched_params p = some_params();
    p.n_parallel = slots;
    p.shared_kv = shared_kv;
    p.cache_memory = memory;
    p.cache_disk = disk;
    p.cache_dir = dir;
    return p;
}

/* LONG characters that depend on `seed`, then `end`. */
static const char *text_of(char *out, char seed, const char *end)
{
    for (int i = 0; i < LONG; i++) out[i] = (char)('a' + (i * i + i / 7 + seed) % 26);
    strcpy(out + LONG, end);
    return out;
}

static struct client *finish(struct client *c)
{
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    return c;
}

/* Asks for at most `most` tokens (0: all), waits, checks the echo; returns how many tokens were
 * cached. */
static int32_t asks_for(struct fixture *f, const char *tenant, const char *text, int32_t most,
                        struct cache_report *report)
{
    struct client *c =
        finish(ask(f, (struct ask){.text = text, .tenant = tenant, .max_tokens = most}));
    if (most)
        assert_memory_equal(buf_str(&c->text[0]), text, (size_t)most);
    else
        assert_string_equal(buf_str(&c->text[0]), text);
    int32_t cached = c->usage.cached_tokens;
    assert_int_equal(c->cache.cached_tokens, cached);
    assert_int_equal(cached > 0, c->cache.source != CACHE_NONE);
    assert_int_equal(c->timings.prefill_tokens, c->usage.prompt_tokens - cached);
    if (report) *report = c->cache;
    client_free(c);
    return cached;
}

static int32_t asks(struct fixture *f, const char *tenant, const char *text,
                    struct cache_report *report)
{
    return asks_for(f, tenant, text, 0, report);
}

static void empty_dir(void)
{
    char path[600];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (*e->d_name != '.') unlink(path);
    }
    if (d) closedir(d);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hearth-test-reuse-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    empty_dir();
    return rmdir(dir);
}

/* ---- slots -------------------------------------------------------------------------------- */

static void test_questions_after_one_prompt(void **state)
{
    (void)state;
    for (int shared_kv = 0; shared_kv < 2; shared_kv++) {
        struct fixture f;
        char text[LONG + 64], end[16];
        fixture_open(&f, "fake:ctx=3000", params_of(2, shared_kv, 0, 0));
        for (int i = 0; i < 20; i++) {
            snprintf(end, sizeof end, " question %d?", i);
            int32_t cached = asks(&f, "t", text_of(text, 0, end), NULL);
            assert_int_equal(i == 0 ? cached == 0 : cached >= LONG, 1);
        }
        fixture_close(&f);
    }
}

/* A chat whose end is long is not lost to another question after the same beginning. */
static void test_a_long_tail_is_copied_not_cut(void **state)
{
    (void)state;
    struct fixture f;
    char text[3 * LONG], tail[2 * LONG];
    struct cache_report report;
    fixture_open(&f, "fake:ctx=4000", params_of(3, false, 0, 0));
    memset(tail, 'x', LONG);
    tail[LONG] = '\0';
    asks(&f, "t", text_of(text, 0, tail), NULL);
    assert_true(asks(&f, "t", text_of(text, 0, "short"), &report) >= LONG);
    assert_int_equal(report.source, CACHE_SEQUENCE);
    strcat(tail, "!");
    assert_true(asks(&f, "t", text_of(text, 0, tail), NULL) >= 2 * LONG); /* still there */
    fixture_close(&f);
}

static void test_requests_that_arrive_together_cost_one_prefill(void **state)
{
    (void)state;
    for (int shared_kv = 0; shared_kv < 2; shared_kv++) {
        struct fixture f;
        char text[6][LONG + 64], end[16];
        struct client *c[6];
        fixture_open(&f, "fake:ctx=2500,token_us=100", params_of(6, shared_kv, 0, 0));
        int64_t before = metric_value(METRIC_batch_tokens_total);
        for (int i = 0; i < 6; i++) {
            snprintf(end, sizeof end, " number %d", i);
            c[i] = ask(&f, (struct ask){.text = text_of(text[i], 0, end), .max_tokens = 5});
        }
        for (int i = 0; i < 6; i++) {
            finish(c[i]);
            assert_memory_equal(buf_str(&c[i]->text[0]), text[i], 5);
            if (i) assert_true(c[i]->usage.cached_tokens >= LONG);
            client_free(c[i]);
        }
        int64_t decoded = metric_value(METRIC_batch_tokens_total) - before;
        assert_true(decoded < LONG + 6 * 40);
        fixture_close(&f);
    }
}

/* Whatever happens to the one that others follow. */
static void test_the_leader_may_leave(void **state)
{
    (void)state;
    struct fixture f;
    char text[4][LONG + 64], end[16];
    struct client *c[4];
    fixture_open(&f, "fake:ctx=2500,token_us=300", params_of(4, false, 0, 0));
    for (int i = 0; i < 4; i++) {
        snprintf(end, sizeof end, " number %d", i);
        c[i] = ask(&f, (struct ask){.text = text_of(text[i], 0, end), .max_tokens = 5});
    }
    client_until(c[0], c[0]->n_started == 1);
    sleep_ms(20);
    cancel_and_free(&f, c[0]);
    for (int i = 1; i < 4; i++) {
        finish(c[i]);
        assert_memory_equal(buf_str(&c[i]->text[0]), text[i], 5);
        client_free(c[i]);
    }
    fixture_close(&f);
}

static void test_followers_may_leave(void **state)
{
    (void)state;
    struct fixture f;
    char text[4][LONG + 64], end[16];
    struct client *c[4];
    fixture_open(&f, "fake:ctx=2500,token_us=300", params_of(4, false, 0, 0));
    for (int i = 0; i < 4; i++) {
        snprintf(end, sizeof end, " number %d", i);
        c[i] = ask(&f, (struct ask){.text = text_of(text[i], 0, end), .max_tokens = 5});
    }
    client_until(c[0], c[0]->n_started == 1);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(c[i]->n_started, 0);
        cancel_and_free(&f, c[i]);
    }
    finish(c[0]);
    client_free(c[0]);
    fixture_close(&f);
}

/* ---- memory ------------------------------------------------------------------------------- */

static void test_more_prefixes_than_slots(void **state)
{
    (void)state;
    for (int shared_kv = 0; shared_kv < 2; shared_kv++) {
        struct fixture f;
        char text[LONG + 64], end[32];
        struct cache_report report;
        struct sched_cache_stats st;
        fixture_open(&f, "fake:ctx=2500", params_of(2, shared_kv, 1 << 20, 0));
        for (int round = 0; round < 3; round++)
            for (char i = 0; i < 6; i++) {
                snprintf(end, sizeof end, " round %d", round);
                int32_t cached = asks(&f, "t", text_of(text, i, end), &report);
                assert_int_equal(round == 0 ? cached == 0 : cached >= LONG, 1);
                if (round) assert_int_equal(report.source, CACHE_MEMORY);
            }
        sched_cache_stats(f.sched, &st);
        assert_true(st.memory.entries >= 4);
        assert_int_equal(st.memory.hits, 12);
        assert_int_equal(st.disk.entries, 0);
        fixture_close(&f);
    }
}

static void test_too_little_memory_is_no_harm(void **state)
{
    (void)state;
    struct fixture f;
    char text[LONG + 64];
    struct cache_report report;
    struct sched_cache_stats st;
    fixture_open(&f, "fake:ctx=2500", params_of(1, false, 20000, 0)); /* one of them */
    for (int round = 0; round < 2; round++)
        for (char i = 0; i < 5; i++) asks(&f, "t", text_of(text, i, ""), &report);
    assert_non_null(strstr(report.miss, "evicted"));
    sched_cache_stats(f.sched, &st);
    assert_true(st.memory.bytes <= 20000);
    assert_true(st.evictions > 0);
    assert_int_equal(st.misses, 10);
    fixture_close(&f);
}

/* A pool that holds two of three prompts, and memory for the third, or half of it more. Room for
 * one that is restored is made by keeping another one, for which the memory has no room beside it.
 */
static void test_room_for_what_is_restored(void **state)
{
    (void)state;
    for (uint64_t memory = 8000; memory <= 12000; memory += 4000) {
        struct fixture f;
        char text[LONG + 64];
        struct cache_report report;
        struct sched_cache_stats st;
        struct sched_params p = params_of(3, true, memory, 0);
        p.n_ctx = 2500;
        fixture_open(&f, "fake:ctx=2500", p);
        for (int i = 0; i < 3; i++)
            assert_int_equal(asks_for(&f, "t", text_of(text, (char)i, ""), 2, NULL), 0);
        for (int i = 0; i < 9; i++) {
            int32_t cached = asks_for(&f, "t", text_of(text, (char)(i % 3), ""), 2, &report);
            assert_true(cached >= LONG);
            assert_int_equal(report.source, CACHE_MEMORY);
            sched_cache_stats(f.sched, &st);
            assert_true(st.memory.bytes <= (int64_t)memory);
        }
        assert_true(st.evictions >= 9);
        fixture_close(&f);
    }
}

/* A paused request goes on from where it stopped, even if others have taken its sequence. */
static void test_a_paused_request_is_restored(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params p = params_of(1, false, 1 << 20, 0);
    char text[LONG + 64];
    p.pausing = true;
    fixture_open(&f, "fake:ctx=4000,ms=1", p);
    struct client *slow = ask(&f, (struct ask){.text = text_of(text, 0, ""), .priority = 90});
    client_until(slow, slow->text[0].len > 300);
    struct client *quick = finish(ask(&f, (struct ask){.text = "urgent", .priority = 1}));
    assert_string_equal(buf_str(&quick->text[0]), "urgent");
    client_free(quick);
    int64_t before = metric_value(METRIC_batch_tokens_total);
    size_t had = slow->text[0].len;
    finish(slow);
    assert_string_equal(buf_str(&slow->text[0]), text);
    assert_true(slow->timings.pauses >= 1);
    assert_true(metric_value(METRIC_batch_tokens_total) - before <= (int64_t)(LONG - had) + 20);
    client_free(slow);
    fixture_close(&f);
}

/* ---- disk --------------------------------------------------------------------------------- */

static void test_a_restart_keeps_what_was_computed(void **state)
{
    (void)state;
    struct cache_report report;
    char text[LONG + 64];
    for (int run = 0; run < 4; run++) {
        struct fixture f;
        /* in memory or not, and with a model that was not there in between */
        fixture_open(&f, run == 2 ? "fake:ctx=2501" : "fake:ctx=2500",
                     params_of(2, false, run == 3 ? 0 : 1 << 20, 1 << 20));
        int32_t cached = asks(&f, "t", text_of(text, 0, "?"), &report);
        assert_int_equal(run == 1 || run == 3 ? cached >= LONG : cached == 0, 1);
        if (cached) assert_int_equal(report.source, CACHE_DISK);
        if (cached) assert_string_equal(report.miss, "");
        assert_true(asks(&f, "t", text_of(text, 0, "!"), NULL) >= LONG);
        fixture_close(&f);
    }
    empty_dir();
}

/* What was idle is on disk soon, without a clean end: the worker may be killed. */
/* Cells of another type can't hold what was kept; of the first one it is still there. */
static void test_a_restart_with_other_cells_begins_anew(void **state)
{
    (void)state;
    static const struct {
        enum engine_kv_type type;
        bool kept;
    } runs[] = {{ENGINE_KV_F16, false},
                {ENGINE_KV_Q8_0, false},
                {ENGINE_KV_Q8_0, true},
                {ENGINE_KV_F16, true}};
    char text[LONG + 64];
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct fixture f;
        struct sched_params p = params_of(2, false, 1 << 20, 1 << 20);
        p.kv_type = runs[i].type;
        fixture_open(&f, "fake:ctx=2500", p);
        int32_t cached = asks(&f, "t", text_of(text, 0, "?"), NULL);
        assert_int_equal(runs[i].kept ? cached >= LONG : cached == 0, 1);
        fixture_close(&f);
    }
    empty_dir();
}

static void test_idle_states_are_written_soon(void **state)
{
    (void)state;
    struct fixture f;
    char text[LONG + 64];
    struct sched_cache_stats st = {0};
    fixture_open(&f, "fake:ctx=2500", params_of(2, false, 1 << 20, 1 << 20));
    asks_for(&f, "t", text_of(text, 0, "?"), 5, NULL);
    for (int i = 0; i < 500 && st.disk.entries == 0; i++) {
        sleep_ms(10);
        sched_cache_stats(f.sched, &st);
    }
    assert_int_equal(st.disk.entries, 1);
    for (int i = 0; i < 20; i++) asks_for(&f, "t", text_of(text, 0, "??"), 5, NULL);
    sleep_ms(600);
    sched_cache_stats(f.sched, &st);
    assert_int_equal(st.disk.entries, 1); /* a few new tokens are not worth a file */
    fixture_close(&f);
    empty_dir();
}

static void corrupt_files(void)
{
    char path[600];
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) {
        if (*e->d_name == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        FILE *f = fopen(path, "r+");
        assert_non_null(f);
        fseek(f, -20, SEEK_END);
        int byte = fgetc(f);
        fseek(f, -20, SEEK_END);
        fputc(byte ^ 1, f);
        fclose(f);
    }
    closedir(d);
}

static void test_damaged_files_change_no_answer(void **state)
{
    (void)state;
    char text[LONG + 64];
    struct fixture f;
    struct sched_cache_stats st;
    fixture_open(&f, "fake:ctx=2500", params_of(2, false, 1 << 20, 1 << 20));
    asks_for(&f, "t", text_of(text, 0, "?"), 5, NULL);
    fixture_close(&f);
    corrupt_files();
    fixture_open(&f, "fake:ctx=2500", params_of(2, false, 1 << 20, 1 << 20));
    assert_int_equal(asks_for(&f, "t", text_of(text, 0, "!"), 5, NULL), 0);
    sched_cache_stats(f.sched, &st);
    assert_int_equal(st.corrupt, 1);
    fixture_close(&f);
    empty_dir();
}

/* ---- tenants ------------------------------------------------------------------------------ */

/* The same private prompt of two tenants, wherever it is kept: nobody gets the other's. */
static void test_tenants_have_nothing_of_each_other(void **state)
{
    (void)state;
    char text[LONG + 64];
    struct cache_report report;
    for (int slots = 1; slots <= 4; slots += 3) { /* in slots, or in memory and on disk */
        struct fixture f;
        fixture_open(&f, "fake:ctx=2500", params_of(slots, false, 1 << 20, 1 << 20));
        assert_int_equal(asks(&f, "ann", text_of(text, 0, "?"), NULL), 0);
        assert_int_equal(asks(&f, "bob", text_of(text, 0, "?"), &report), 0);
        assert_null(strstr(report.miss, "tenant")); /* not even that there is one */
        assert_non_null(strstr(report.miss, "no entry"));
        assert_int_equal(asks(&f, "", text_of(text, 0, "?"), NULL), 0);
        assert_true(asks(&f, "ann", text_of(text, 0, "?"), NULL) >= LONG);
        assert_true(asks(&f, "bob", text_of(text, 0, "?"), NULL) >= LONG);
        fixture_close(&f);
        fixture_open(&f, "fake:ctx=2500", params_of(slots, false, 1 << 20, 1 << 20));
        assert_int_equal(asks(&f, "eve", text_of(text, 0, "?"), NULL), 0);
        assert_true(asks(&f, "bob", text_of(text, 0, "?"), NULL) >= LONG);
        fixture_close(&f);
        empty_dir();
    }
}

/* How long the prompt takes until its answer begins, as its client sees it. */
static int64_t time_of(struct fixture *f, const char *tenant, const char *text, int32_t *cached)
{
    struct client *c =
        finish(ask(f, (struct ask){.text = text, .tenant = tenant, .max_tokens = 1}));
    *cached = c->usage.cached_tokens;
    int64_t ns = c->timings.prefill_ns;
    assert_true(c->timings.first_token_ns >= ns);
    client_free(c);
    return ns;
}

/* Nor is there anything of it in the time that a prompt takes, from slots, memory or disk:
 * another's costs what a new one costs. The engine sleeps for each token, so a busy machine adds to
 * all. */
static void test_tenants_do_not_see_each_other_in_the_time(void **state)
{
    (void)state;
    const int64_t all_ns = LONG * 500 * 1000LL;
    char text[LONG + 64];
    int32_t cached;
    for (int slots = 1; slots <= 4; slots += 3) {
        struct fixture f;
        struct sched_params p = params_of(slots, false, 1 << 20, 1 << 20);
        fixture_open(&f, "fake:ctx=2500,token_us=500", p);
        assert_true(time_of(&f, "ann", text_of(text, 0, "?"), &cached) >= all_ns);
        assert_int_equal(cached, 0);
        assert_true(time_of(&f, "bob", text_of(text, 0, "?"), &cached) >= all_ns);
        assert_int_equal(cached, 0);
        assert_true(time_of(&f, "ann", text_of(text, 0, "?"), &cached) < all_ns / 2);
        assert_true(cached >= LONG);
        fixture_close(&f);
        fixture_open(&f, "fake:ctx=2500,token_us=500", p); /* what is left of it is on disk */
        assert_true(time_of(&f, "eve", text_of(text, 0, "?"), &cached) >= all_ns);
        assert_int_equal(cached, 0);
        assert_true(time_of(&f, "bob", text_of(text, 0, "?"), &cached) < all_ns / 2);
        assert_true(cached >= LONG);
        fixture_close(&f);
        empty_dir();
    }
}

/* Nor do they follow each other's running prompts. */
static void test_tenants_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct fixture f;
    char text[LONG + 64];
    text_of(text, 0, "?");
    fixture_open(&f, "fake:ctx=2500,token_us=100", params_of(2, false, 0, 0));
    struct client *a = ask(&f, (struct ask){.text = text, .tenant = "ann", .max_tokens = 3});
    struct client *b = ask(&f, (struct ask){.text = text, .tenant = "bob", .max_tokens = 3});
    assert_int_equal(finish(a)->usage.cached_tokens, 0);
    assert_int_equal(finish(b)->usage.cached_tokens, 0);
    client_free(a);
    client_free(b);
    fixture_close(&f);
}

/* A raw prompt: what is declared is its beginning, as it is. */
static void test_declared_prefixes_are_shared(void **state)
{
    (void)state;
    char declared[LONG + 64], text[LONG + 64];
    const char *texts[] = {text_of(declared, 0, "")};
    struct cache_report report;
    struct fixture f;
    struct sched_params p = params_of(4, false, 1 << 20, 1 << 20);
    p.shared = texts;
    p.n_shared = 1;
    fixture_open(&f, "fake:ctx=2500,kind=raw", p);
    struct {
        const char *tenant, *end;
        bool shared;
    } steps[] = {{"ann", " ann's secret", false},
                 {"bob", " ann's secret", true},
                 {"bob", " ann's secret", true},
                 {"eve", " ann's", true}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct client *c = client_new();
        struct gen_request req = {.kind = GEN_RAW,
                                  .model = "",
                                  .tenant = "",
                                  .prompt = text_of(text, 0, steps[i].end),
                                  .n = 1,
                                  .sampling = {.repeat_penalty = 1}};
        struct error error;
        struct engine_prompt *prompt;
        assert_int_equal(
            engine_prompt_new(sched_engine_model(f.model), &req, 1 << 20, &prompt, &error), OK);
        struct sched_generate g = {.model = f.model,
                                   .prompt = prompt,
                                   .sampling = req.sampling,
                                   .tenant = steps[i].tenant,
                                   .n = 1,
                                   .max_tokens = 3,
                                   .priority = PRIORITY_DEFAULT,
                                   .listener = client_listen,
                                   .listener_ctx = c};
        assert_int_equal(sched_generate(f.sched, &g, &c->id, &error), OK);
        finish(c);
        report = c->cache;
        /* The declared part to the token, and of bob's own second prompt all. */
        int32_t n_special = c->usage.prompt_tokens - (int32_t)strlen(text);
        int32_t want = i == 2 ? c->usage.prompt_tokens - 1 : LONG + n_special;
        assert_int_equal(c->usage.cached_tokens, steps[i].shared ? want : 0);
        if (i == 3) assert_null(strstr(report.miss, "secret"));
        client_free(c);
    }
    fixture_close(&f);
    empty_dir();
}

/* ---- why it was not more -------------------------------------------------------------------- */

static void test_the_first_difference_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct cache_report report;
    char text[LONG + 64];
    fixture_open(&f, "fake:ctx=2500", params_of(2, false, 0, 0));
    asks(&f, "t", text_of(text, 0, " the year 2024 and more that is the same"), &report);
    assert_non_null(strstr(report.miss, "no entry"));
    assert_true(asks(&f, "t", text_of(text, 0, " the year 2025 and more"), &report) > LONG);
    assert_non_null(strstr(report.miss, "differs"));
    assert_non_null(strstr(report.miss, "the year 202\" comes \"5\""));
    assert_non_null(strstr(report.miss, "kept is \"4\""));
    asks(&f, "t", "short", &report);
    assert_non_null(strstr(report.miss, "no entry"));
    fixture_close(&f);
}

/* ---- models whose memory has no parts -------------------------------------------------------- */

static void test_recurrent_models_use_whole_states(void **state)
{
    (void)state;
    struct fixture f;
    char text[2 * LONG + 64];
    fixture_open(&f, "fake:ctx=4000,no_partial=1", params_of(2, false, 1 << 20, 0));
    assert_int_equal(asks(&f, "t", text_of(text, 0, "?"), NULL), 0);
    assert_int_equal(asks(&f, "t", text_of(text, 0, "!"), NULL), 0); /* a part is of no use */
    for (char i = 1; i < 5; i++) asks(&f, "t", text_of(text, i, ""), NULL);
    /* the sequence goes on: what was generated is the echo of the message */
    struct message messages[] = {{.role = ROLE_USER, .content = text_of(text, 0, "?")},
                                 {.role = ROLE_ASSISTANT, .content = text},
                                 {.role = ROLE_USER, .content = "on"}};
    struct gen_request req = {.kind = GEN_CHAT,
                              .model = "",
                              .tenant = "",
                              .messages = messages,
                              .n_messages = 3,
                              .n = 1,
                              .sampling = {.repeat_penalty = 1}};
    struct error error;
    struct engine_prompt *prompt;
    struct client *c = client_new();
    assert_int_equal(engine_prompt_new(sched_engine_model(f.model), &req, 1 << 20, &prompt, &error),
                     OK);
    struct sched_generate g = {.model = f.model,
                               .prompt = prompt,
                               .sampling = req.sampling,
                               .tenant = "t",
                               .n = 1,
                               .max_tokens = 3,
                               .priority = PRIORITY_DEFAULT,
                               .listener = client_listen,
                               .listener_ctx = c};
    assert_int_equal(sched_generate(f.sched, &g, &c->id, &error), OK);
    assert_true(finish(c)->usage.cached_tokens >= 2 * LONG);
    assert_int_equal(c->cache.source, CACHE_MEMORY);
    client_free(c);
    fixture_close(&f);
}

/* ---- much of it at once ---------------------------------------------------------------------- */

static void test_a_storm(void **state)
{
    (void)state;
    enum { N = 120 };
    for (int shared_kv = 0; shared_kv < 2; shared_kv++) {
        struct fixture f;
        struct sched_params p = params_of(3, shared_kv, 30000, 60000);
        static char text[N][LONG + 64];
        struct client *c[N];
        char end[16];
        p.pausing = true;
        p.slice_ms = 20;
        fixture_open(&f, "fake:ctx=2500,token_us=2", p);
        for (int i = 0; i < N; i++) {
            snprintf(end, sizeof end, " %d", i % 11);
            c[i] = ask(&f, (struct ask){.text = text_of(text[i], (char)(i % 7), end),
                                        .tenant = i % 2 ? "ann" : "bob",
                                        .n = 1 + i % 3,
                                        .max_tokens = 1 + i % 40,
                                        .priority = 1 + i * 37 % 100});
            if (i % 9 == 0) sched_cancel(f.sched, c[i]->id);
            if (i % 20 == 0) sleep_ms(5);
        }
        for (int i = 0; i < N; i++) {
            client_wait(c[i]);
            if (c[i]->error.code)
                assert_int_equal(c[i]->error.code, ERR_CANCELLED);
            else
                assert_memory_equal(buf_str(&c[i]->text[0]), text[i], (size_t)(1 + i % 40));
            client_free(c[i]);
        }
        fixture_close(&f);
        empty_dir();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions_after_one_prompt),
        cmocka_unit_test(test_a_long_tail_is_copied_not_cut),
        cmocka_unit_test(test_requests_that_arrive_together_cost_one_prefill),
        cmocka_unit_test(test_the_leader_may_leave),
        cmocka_unit_test(test_followers_may_leave),
        cmocka_unit_test(test_more_prefixes_than_slots),
        cmocka_unit_test(test_too_little_memory_is_no_harm),
        cmocka_unit_test(test_room_for_what_is_restored),
        cmocka_unit_test(test_a_paused_request_is_restored),
        cmocka_unit_test(test_a_restart_keeps_what_was_computed),
        cmocka_unit_test(test_a_restart_with_other_cells_begins_anew),
        cmocka_unit_test(test_idle_states_are_written_soon),
        cmocka_unit_test(test_damaged_files_change_no_answer),
        cmocka_unit_test(test_tenants_have_nothing_of_each_other),
        cmocka_unit_test(test_tenants_do_not_see_each_other_in_the_time),
        cmocka_unit_test(test_tenants_do_not_wait_for_each_other),
        cmocka_unit_test(test_declared_prefixes_are_shared),
        cmocka_unit_test(test_the_first_difference_is_told),
        cmocka_unit_test(test_recurrent_models_use_whole_states),
        cmocka_unit_test(test_a_storm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
