/* The prefix cache with the built-in model: greedy answers are the same whatever was cached where,
 * and answers that the tokeniser would spell otherwise are found again. */
#include "unit/sched/harness.h"

#include <dirent.h>
#include <unistd.h>

enum { SYSTEM = 40 /* times "Be kind and brief. " */ };

static char dir[64];

static void open_llama(struct fixture *f, int slots, uint64_t memory, uint64_t disk)
{
    struct error error;
    struct sched_params p = {.n_parallel = slots,
                             .n_ctx = 1024,
                             .n_batch = 512,
                             .n_ubatch = 512,
                             .n_threads = 1,
                             .queue_capacity = 100,
                             .cache_memory = memory,
                             .cache_disk = disk,
                             .cache_dir = dir};
    *f = (struct fixture){0};
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &f->engine, &error), OK);
    p.engine = f->engine;
    assert_int_equal(sched_new(&p, &f->sched, &error), OK);
    f->model = load_model(f->sched, "tiny", HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf");
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

/* The tokens of the last answer. */
static struct {
    int32_t tokens[200], n;
} recorded;

static void record(void *ctx, const struct sched_event *ev)
{
    bool has = ev->type == SCHED_EV_TEXT || ev->type == SCHED_EV_CHOICE_END;
    for (int32_t i = 0; has && i < ev->n_tokens && recorded.n < 200; i++)
        recorded.tokens[recorded.n++] = ev->tokens[i];
    client_listen(ctx, ev);
}

static struct client *chat(struct fixture *f, const struct message *messages, size_t n,
                           float temperature, int32_t max_tokens)
{
    struct gen_request req = {
        .kind = GEN_CHAT,
        .request_id = "",
        .model = "",
        .tenant = "",
        .messages = messages,
        .n_messages = n,
        .n = 1,
        .sampling = {
            .top_p = 1, .repeat_penalty = 1, .temperature = temperature, .seed = (uint32_t)n}};
    struct error error;
    struct engine_prompt *prompt;
    struct client *c = client_new();
    assert_int_equal(engine_prompt_new(sched_engine_model(f->model), &req, 1000, &prompt, &error),
                     OK);
    struct sched_generate g = {.model = f->model,
                               .prompt = prompt,
                               .sampling = req.sampling,
                               .tenant = "t",
                               .n = 1,
                               .max_tokens = max_tokens,
                               .priority = PRIORITY_DEFAULT,
                               .listener = record,
                               .listener_ctx = c};
    assert_int_equal(sched_generate(f->sched, &g, &c->id, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    return c;
}

/* ---- the same answers ------------------------------------------------------------------------ */

static const char *const questions[] = {"Hello! Who are you?", "What can you do?", "Thank you!",
                                        "Goodbye!"};

static struct client *question(struct fixture *f, int prompt, int i)
{
    char system[32 * SYSTEM + 32];
    char *p = system + sprintf(system, "You are number %d. ", prompt);
    for (int k = 0; k < SYSTEM; k++) p += sprintf(p, "Be kind and brief. ");
    struct message messages[] = {{.role = ROLE_SYSTEM, .content = system},
                                 {.role = ROLE_USER, .content = questions[i]}};
    return chat(f, messages, 2, 0, 24);
}

static void asks(struct fixture *f, int prompt, int i, char answer[400])
{
    struct client *c = question(f, prompt, i);
    snprintf(answer, 400, "%s", buf_str(&c->text[0]));
    client_free(c);
}

/* The beginning comes from the cells, from memory, from disk: it is the same to the bit, so the
 * answer is the same. (One that is computed in other pieces may differ in the last bits.) */
static void test_answers_do_not_depend_on_the_tier(void **state)
{
    (void)state;
    char cells[400], memory[400], disk[400], ignored[400];
    struct fixture f;
    for (int i = 1; i < 4; i++) {
        open_llama(&f, 1, 0, 0);
        asks(&f, 1, 0, ignored);
        asks(&f, 1, i, cells);
        fixture_close(&f);

        struct sched_cache_stats st;
        open_llama(&f, 1, 64 << 20, 64 << 20);
        asks(&f, 1, 0, ignored);
        asks(&f, 2, 0, ignored); /* takes the only sequence */
        asks(&f, 1, i, memory);
        sched_cache_stats(f.sched, &st);
        assert_int_equal(st.memory.hits, 1);
        fixture_close(&f);
        assert_string_equal(memory, cells);
        empty_dir();

        open_llama(&f, 1, 64 << 20, 64 << 20);
        asks(&f, 1, 0, ignored);
        fixture_close(&f);
        open_llama(&f, 1, 64 << 20, 64 << 20);
        asks(&f, 1, i, disk);
        sched_cache_stats(f.sched, &st);
        assert_int_equal(st.disk.hits, 1);
        assert_int_equal(st.corrupt, 0);
        fixture_close(&f);
        assert_string_equal(disk, cells);
        empty_dir();
    }
}

/* ---- spellings ------------------------------------------------------------------------------- */

/* Is the text just what the tokens spell, without control tokens, and would the tokeniser take
 * others? */
static bool is_other_spelling(struct fixture *f, const char *text)
{
    const struct engine_model *m = sched_engine_model(f->model);
    struct buf b;
    struct error error;
    int32_t *tokens;
    size_t n, len = strlen(text);
    buf_init(&b, 1 << 16);
    bool same = len && !strchr(" \n", text[0]) && !strchr(" \n", text[len - 1]);
    for (int32_t i = 0; i < recorded.n; i++) {
        size_t before = b.len;
        engine_token_text(m, recorded.tokens[i], false, &b);
        same &= b.len > before;
    }
    same &= strcmp(buf_str(&b), text) == 0;
    buf_free(&b);
    assert_int_equal(engine_tokenize(m, text, len, false, false, 10000, &tokens, &n, &error), OK);
    bool other = n != (size_t)recorded.n || memcmp(tokens, recorded.tokens, n * sizeof *tokens);
    free(tokens);
    return same && other;
}

/* What a hot model says is often spelled with other tokens than the tokeniser would take. */
static void test_what_was_generated_is_found_again(void **state)
{
    (void)state;
    struct fixture f;
    int other_spellings = 0;
    open_llama(&f, 2, 0, 0);
    for (int i = 0; i < 200 && other_spellings < 5; i++) {
        char text[64];
        snprintf(text, sizeof text, "Question number %d of many: what do you think?", i);
        struct message messages[] = {{.role = ROLE_USER, .content = text},
                                     {.role = ROLE_ASSISTANT},
                                     {.role = ROLE_USER, .content = "And then?"}};
        recorded.n = 0;
        struct client *first = chat(&f, messages, 1, 1.5f, 60);
        char *said = strdup(buf_str(&first->text[0]));
        bool other = recorded.n > 20 && is_other_spelling(&f, said);
        messages[1].content = said;
        int32_t kept = first->usage.prompt_tokens + first->usage.completion_tokens - 1;
        struct client *then = chat(&f, messages, 3, 0, 4);
        if (other) assert_true(then->usage.cached_tokens > kept - 8); /* fewer are not worth it */
        assert_int_equal(then->timings.prefill_tokens,
                         then->usage.prompt_tokens - then->usage.cached_tokens);
        other_spellings += other;
        free(said);
        client_free(first);
        client_free(then);
    }
    assert_true(other_spellings > 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_do_not_depend_on_the_tier),
        cmocka_unit_test(test_what_was_generated_is_found_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
