/* What the hub answers when nobody waits, over real hubs with the fake engine (whose models repeat
 * what they are told): background responses and those who follow them, and batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/batches/batches.h"
#include "api/responses/responses.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "files/spool.h"
#include "hub/hub.h"
#include "store/store_answer.h"
#include "store/store_batch.h"
#include "store/store_usage.h"
#include "support/fake_request.h"
#include "support/memsink.h"

enum { LONG_MS = 90000 /* the machine may be busy */ };

static char data_dir[64];
static struct config *config;
static struct hub *hub; /* not started */
static struct store *store;
static struct arena *arena;
static struct error why;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

/* Waits for it, not for ever. */
#define until(condition)                                                                           \
    do {                                                                                           \
        for (int64_t end_ms = clock_mono_ms() + LONG_MS; !(condition); usleep(5000))               \
            if (clock_mono_ms() > end_ms) fail_msg("%s did not come true", #condition);            \
    } while (0)

static struct hub *new_hub(void)
{
    struct hub *h;
    struct engine *engine;
    struct auth *auth;
    assert_ok(engine_open_fake(&engine, &why));
    assert_ok(hub_open_with_engine(config, engine, &h, &why));
    responses_register(h);
    batches_register(h);
    assert_ok(accounts_open(h->accounts, &store, &auth, &why));
    return h;
}

static int set_up(void **state)
{
    (void)state;
    str_copy(data_dir, sizeof data_dir, "/tmp/hearth-background-XXXXXX");
    if (!mkdtemp(data_dir)) return -1;
    const struct config_override overrides[] = {
        {CONFIG_DATA_DIR, data_dir},
        {CONFIG_MODELS_DIR, data_dir},
        {CONFIG_BUILTIN_DIR, HEARTH_SOURCE_DIR "/models"},
        {CONFIG_DEFAULT_MODEL, "fake:"},
        {CONFIG_PRELOAD, "false"},
        {CONFIG_BATCH_LINES, "1"},
    };
    assert_ok(log_open(LOG_OFF, false, "", &why));
    assert_ok(config_load(overrides, sizeof overrides / sizeof *overrides, &config, &why));
    arena = arena_new(16 << 20);
    hub = new_hub();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    hub_close(hub, 0);
    config_free(config);
    arena_free(arena);
    str_printf(command, sizeof command, "rm -r %s", data_dir);
    return system(command);
}

/* ---- calls --------------------------------------------------------------------------------- */

static const char *add_user(const char *name)
{
    static char id[STORE_ID_MAX];
    id_uuid4(id);
    struct store_user_new u = {.id = id, .username = name, .password_hash = "hash of it"};
    assert_ok(store_user_create(store, &u, &why));
    return id;
}

static const struct sink_ops *sink_ops = &memsink_ops;

/* Leaves the answer, or its beginning, in m. user NULL: nobody; query: name, value, ..., NULL. */
static void ask(struct memsink *m, enum http_method method, const char *path, const char *body,
                const char *user, const char *const *query)
{
    struct fake_request req;
    struct auth_identity who = {0};
    const struct route *route;
    char params[256], allow[64];
    fake_request_init(&req, method, path, body);
    for (size_t i = 0; query && query[i]; i++) req.query[i] = query[i];
    if (user) str_copy(who.user_id, sizeof who.user_id, user);
    req.http.who = user ? &who : NULL;
    memsink_init(m);
    m->sink.ops = sink_ops;
    assert_int_equal(
        route_find(method, path, &route, params, sizeof params, req.http.params, allow),
        ROUTE_FOUND);
    route->handler(hub, &req.http, &m->sink);
}

static bool released(struct memsink *m)
{
    pthread_mutex_lock(&m->lock);
    bool gone = m->released;
    pthread_mutex_unlock(&m->lock);
    return gone;
}

static size_t body_len(struct memsink *m)
{
    pthread_mutex_lock(&m->lock);
    size_t len = m->body.len;
    pthread_mutex_unlock(&m->lock);
    return len;
}

/* The whole answer of a call that answers at once. */
static json_t *ask_json(enum http_method method, const char *path, const char *body,
                        const char *user)
{
    struct memsink m;
    json_t *v;
    ask(&m, method, path, body, user, NULL);
    until(released(&m));
    if (m.status != 200) fail_msg("%s: %d %s", path, m.status, buf_str(&m.body));
    assert_ok(json_parse(buf_str(&m.body), m.body.len, &v, &why));
    memsink_deinit(&m);
    return v;
}

static const char *str_of(const json_t *v, const char *name)
{
    const char *s = json_string_value(json_object_get(v, name));
    return s ? s : "";
}

/* ---- streams ------------------------------------------------------------------------------- */

/* Asks for one in the background, and follows it. */
static void ask_stream(struct memsink *m, const char *model, const char *input)
{
    char body[2048];
    str_printf(body, sizeof body,
               "{\"background\":true,\"stream\":true,\"model\":\"%s\",\"input\":\"%s\"}", model,
               input);
    ask(m, HTTP_POST, "/v1/responses", body, NULL, NULL);
}

static void follow(struct memsink *m, const char *id, const char *after)
{
    char path[96];
    const char *query[] = {"stream", "true", after ? "starting_after" : NULL, after, NULL};
    str_printf(path, sizeof path, "/v1/responses/%s", id);
    ask(m, HTTP_GET, path, NULL, NULL, query);
}

struct events {
    int n, first, last; /* numbers of the first and of the last one */
    char type[64];      /* of the last */
    char id[64];        /* of the response */
    char text[2048];    /* of the deltas, joined */
};

/* Each must be numbered one more than that before it. */
static struct events events_of(struct memsink *m)
{
    struct events x = {.first = -1, .last = -1};
    for (const char *at = buf_str(&m->body); (at = strstr(at, "\ndata: "));) {
        json_t *v;
        at += strlen("\ndata: ");
        assert_ok(json_parse(at, strcspn(at, "\n"), &v, &why));
        int number = (int)json_integer_value(json_object_get(v, "sequence_number"));
        if (x.n++ == 0) x.first = number;
        if (x.n > 1) assert_int_equal(number, x.last + 1);
        x.last = number;
        str_copy(x.type, sizeof x.type, str_of(v, "type"));
        if (*str_of(json_object_get(v, "response"), "id"))
            str_copy(x.id, sizeof x.id, str_of(json_object_get(v, "response"), "id"));
        if (strstr(x.type, "output_text.delta"))
            str_printf(x.text + strlen(x.text), sizeof x.text - strlen(x.text), "%s",
                       str_of(v, "delta"));
        json_decref(v);
    }
    return x;
}

static void expect_whole(struct memsink *m, const char *text)
{
    until(released(m));
    struct events x = events_of(m);
    assert_string_equal(x.type, "response.completed");
    assert_int_equal(x.first, 0);
    assert_string_equal(x.text, text);
    memsink_deinit(m);
}

static bool has_done_job(void)
{
    struct store_job *list;
    size_t n;
    assert_ok(store_job_list(store, NULL, STORE_JOB_DONE, 10, arena, &list, &n, &why));
    return n > 0;
}

/* Between the record and the follower: all of the answer. */
static enum err begin_late(struct sink *s, int status, const char *type,
                           const struct sink_header *headers, size_t n)
{
    assert_ok(hub_start(hub, &why));
    until(has_done_job());
    return memsink_begin(s, status, type, headers, n);
}

static void an_answer_that_is_over_before_it_is_followed(void **state)
{
    (void)state;
    struct memsink m;
    struct sink_ops late = memsink_ops;
    late.begin = begin_late;
    sink_ops = &late;
    ask_stream(&m, "fake:", "hello");
    sink_ops = &memsink_ops;
    expect_whole(&m, "hello");
}

static void an_answer_that_another_hub_gives(void **state)
{
    (void)state;
    struct memsink m;
    ask_stream(&m, "fake:", "hello");
    struct hub *other = new_hub(); /* ours is not started: it answers nothing */
    assert_ok(hub_start(other, &why));
    expect_whole(&m, "hello");
    hub_close(other, 0);
}

/* Its job was taken away: nobody will ever write it. */
static void an_answer_whose_job_is_cancelled(void **state)
{
    (void)state;
    struct memsink m;
    struct store_job *list;
    size_t n;
    ask_stream(&m, "fake:", "hello");
    assert_ok(store_job_list(store, NULL, STORE_JOB_QUEUED, 10, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_job_cancel(store, NULL, list[0].id, &why));
    until(released(&m));
    struct events x = events_of(&m);
    assert_string_equal(x.type, "response.cancelled");
    memsink_deinit(&m);
}

#define TEN  "0123456789"
#define LINE TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void a_stream_that_is_longer_than_what_is_kept_of_it(void **state)
{
    (void)state;
    struct memsink m;
    feeds_free(hub->feeds);
    hub->feeds = feeds_new(3000);
    assert_ok(hub_start(hub, &why));
    ask_stream(&m, "fake:", LINE LINE LINE);
    until(released(&m));
    struct events live = events_of(&m);
    assert_string_equal(live.type, "response.completed");
    assert_string_equal(live.text, LINE LINE LINE);
    assert_true(m.body.len > 2 * 3000);
    memsink_deinit(&m);
    /* Told again: all of it, in fewer pieces. */
    follow(&m, live.id, NULL);
    expect_whole(&m, LINE LINE LINE);
    /* To one who has more of them than there are now: the last one, behind his. */
    follow(&m, live.id, "50");
    until(released(&m));
    struct events tail = events_of(&m);
    assert_int_equal(tail.n, 1);
    assert_int_equal(tail.first, 51);
    assert_string_equal(tail.type, "response.completed");
    assert_non_null(strstr(buf_str(&m.body), LINE));
    memsink_deinit(&m);
}

static void too_late_for_a_stream_that_is_too_long(void **state)
{
    (void)state;
    struct memsink m, late;
    char cancel[128];
    feeds_free(hub->feeds);
    hub->feeds = feeds_new(2000);
    assert_ok(hub_start(hub, &why));
    ask_stream(&m, "fake:ms=50", LINE LINE LINE LINE LINE LINE);
    until(body_len(&m) > 6000);
    pthread_mutex_lock(&m.lock);
    struct events x = events_of(&m);
    pthread_mutex_unlock(&m.lock);
    str_printf(cancel, sizeof cancel, "/v1/responses/%s/cancel", x.id);
    follow(&late, x.id, "3");
    until(released(&late));
    x = events_of(&late);
    assert_int_equal(x.n, 1);
    assert_int_equal(x.first, 4);
    assert_string_equal(x.type, "error");
    assert_non_null(strstr(buf_str(&late.body), "too_large"));
    memsink_deinit(&late);
    assert_false(released(&m)); /* who came in time goes on */
    json_decref(ask_json(HTTP_POST, cancel, NULL, NULL));
    until(released(&m));
    memsink_deinit(&m);
}

static void a_client_leaves_what_nobody_writes(void **state)
{
    (void)state;
    struct memsink m;
    ask_stream(&m, "fake:", "hello");
    assert_false(released(&m));
    memsink_close(&m);
    until(released(&m));
    memsink_deinit(&m);
}

/* ---- its user, as he is when it is answered -------------------------------------------------- */

static enum store_answer_state state_of(const char *user, const char *id)
{
    struct store_answer x;
    struct arena *a = arena_new(1 << 20);
    assert_ok(store_answer_look(store, user, id, a, &x, &why));
    arena_free(a);
    return x.state;
}

/* Asks for one in the background; its id lives until the next call. */
static const char *ask_for(const char *user)
{
    static char id[64];
    json_t *v =
        ask_json(HTTP_POST, "/v1/responses", "{\"background\":true,\"input\":\"hi\"}", user);
    str_copy(id, sizeof id, str_of(v, "id"));
    json_decref(v);
    return id;
}

static void a_user_who_was_disabled_is_not_answered(void **state)
{
    (void)state;
    const char *ada = add_user("ada"), *id = ask_for(ada);
    struct store_answer x;
    assert_ok(store_user_set_disabled(store, ada, true, &why));
    assert_ok(hub_start(hub, &why));
    until(state_of(ada, id) == STORE_ANSWER_FAILED);
    assert_ok(store_answer_look(store, ada, id, arena, &x, &why));
    assert_non_null(strstr(x.body, "the account is disabled"));
}

/* So does what goes on from the answer. */
static void an_answer_to_a_user_who_was_pinned_stays_here(void **state)
{
    (void)state;
    const char *ada = add_user("ada"), *id = ask_for(ada);
    struct store_answer x;
    assert_ok(store_user_set_local_only(store, ada, true, &why));
    assert_ok(hub_start(hub, &why));
    until(state_of(ada, id) == STORE_ANSWER_COMPLETED);
    assert_ok(store_answer_look(store, ada, id, arena, &x, &why));
    assert_true(x.local_only);
}

/* ---- batches --------------------------------------------------------------------------------- */

static enum err add_record(void *ctx, struct store *s, struct error *error)
{
    return store_api_file_add(s, ctx, error);
}

/* A file of n requests. */
static void add_input(const char *id, const char *user, const char *model, int n)
{
    struct spool *spool = NULL;
    char line[1024];
    assert_ok(files_spool_own(hub->files, &spool, &why));
    for (int i = 0; i < n; i++) {
        str_printf(line, sizeof line,
                   "{\"custom_id\":\"r%d\",\"method\":\"POST\",\"url\":\"/v1/responses\","
                   "\"body\":{\"model\":\"%s\",\"store\":false,\"input\":\"" TEN TEN "\"}}\n",
                   i, model);
        assert_ok(spool_write(spool, line, strlen(line), &why));
    }
    assert_ok(spool_finish(spool, &why));
    struct store_api_file f = {.id = id,
                               .user_id = user,
                               .purpose = "batch",
                               .name = "in.jsonl",
                               .sha256 = spool_sha256(spool),
                               .bytes = spool_bytes(spool)};
    assert_ok(files_keep(hub->files, store, &spool, 1, add_record, &f, &why));
    spool_free(spool);
}

/* Its id lives as long as the arena. */
static const char *add_batch(const char *user)
{
    json_t *v = ask_json(
        HTTP_POST, "/v1/batches",
        "{\"input_file_id\":\"in\",\"endpoint\":\"/v1/responses\",\"completion_window\":\"24h\"}",
        *user ? user : NULL);
    const char *id = arena_strdup(arena, str_of(v, "id"));
    json_decref(v);
    return id;
}

static struct store_batch get(const char *id)
{
    struct store_batch b;
    arena_free(arena);
    arena = arena_new(16 << 20);
    assert_ok(store_batch_by_id(store, id, arena, &b, &why));
    return b;
}

/* Lines of a file of the hub; 0 = there is no such file. */
static int64_t lines_in(const char *user, const char *file_id)
{
    struct store_api_file f;
    char path[FS_PATH_MAX];
    struct buf text;
    int64_t n = 0;
    if (!file_id) return 0;
    assert_ok(store_api_file_get(store, user, file_id, arena, &f, &why));
    assert_ok(files_blob(hub->files, f.sha256, path, sizeof path, &why));
    buf_init(&text, 16 << 20);
    assert_ok(fs_read_file(path, 16 << 20, &text, &why));
    for (size_t i = 0; i < text.len; i++) n += text.data[i] == '\n';
    buf_free(&text);
    return n;
}

/* It failed in the middle, and what was answered is there. */
static void expect_failed(const char *id, const char *user, const char *message)
{
    int64_t *numbers;
    size_t n;
    until(get(id).state == STORE_BATCH_FAILED);
    struct store_batch b = get(id);
    if (!strstr(b.errors, message)) fail_msg("%s", b.errors);
    assert_true(b.failed_ms > 0);
    assert_true(b.completed < b.total);
    assert_int_equal(lines_in(user, b.output_file_id), b.completed);
    assert_ok(store_batch_answered(store, id, &numbers, &n, &why));
    free(numbers);
    assert_int_equal(n, 0);
}

static void a_batch_whose_user_is_disabled(void **state)
{
    (void)state;
    char ada[STORE_ID_MAX], id[64];
    str_copy(ada, sizeof ada, add_user("ada"));
    add_input("in", ada, "fake:ms=20", 100);
    str_copy(id, sizeof id, add_batch(ada));
    assert_ok(hub_start(hub, &why));
    until(get(id).completed >= 2);
    assert_ok(store_user_set_disabled(store, ada, true, &why));
    expect_failed(id, ada, "the account is disabled");
}

static void a_batch_whose_user_is_deleted(void **state)
{
    (void)state;
    char ada[STORE_ID_MAX], id[64];
    struct store_batch b;
    int quiet = 0;
    str_copy(ada, sizeof ada, add_user("ada"));
    add_input("in", ada, "fake:ms=20", 1000);
    str_copy(id, sizeof id, add_batch(ada));
    assert_ok(hub_start(hub, &why));
    until(get(id).completed >= 2);
    assert_ok(store_user_delete(store, ada, &why));
    /* No line is begun any more: between two there is hardly a moment. */
    until((quiet = atomic_load(&hub->batch_lines) ? 0 : quiet + 1) == 100);
    assert_int_equal(store_batch_by_id(store, id, arena, &b, &why), ERR_NOT_FOUND);
}

static void a_batch_whose_input_is_gone(void **state)
{
    (void)state;
    char id[64], sha256[STORE_SHA256_MAX];
    add_input("in", "", "fake:ms=20", 100);
    str_copy(id, sizeof id, add_batch(""));
    assert_ok(hub_start(hub, &why));
    until(get(id).completed >= 2);
    hub_close(hub, 0);
    hub = new_hub();
    assert_ok(store_api_file_delete(store, "", "in", sha256, &why));
    files_let_go(hub->files, store, sha256);
    assert_ok(hub_start(hub, &why));
    expect_failed(id, "", "the input file in is gone");
}

/* The record is there, its bytes are not (a folder that was restored in part). */
static void a_batch_whose_input_has_lost_its_bytes(void **state)
{
    (void)state;
    char id[64], path[FS_PATH_MAX];
    struct store_api_file f;
    add_input("in", "", "fake:", 3);
    str_copy(id, sizeof id, add_batch(""));
    assert_ok(store_api_file_get(store, "", "in", arena, &f, &why));
    assert_ok(files_blob(hub->files, f.sha256, path, sizeof path, &why));
    assert_int_equal(unlink(path), 0);
    assert_ok(hub_start(hub, &why));
    until(get(id).state == STORE_BATCH_FAILED);
    assert_non_null(strstr(get(id).errors, "are gone from the hub"));
}

/* Whoever looks at it ends it: nothing could be written when its job failed. */
static void a_batch_whose_job_has_failed(void **state)
{
    (void)state;
    char path[96];
    struct store_job job;
    add_input("in", "", "fake:", 3);
    const char *id = add_batch("");
    assert_ok(store_batch_begin(store, id, 3, &why));
    struct store_batch_line line = {1, false, "{}"};
    assert_ok(store_batch_add_line(store, id, &line, "{}", "m", &why));
    assert_ok(store_job_take(store, "w", NULL, 60000, arena, &job, &why));
    assert_ok(store_job_fail(store, job.id, "w", "the disk was full", 0, &why));
    str_printf(path, sizeof path, "/v1/batches/%s", id);
    json_t *v = ask_json(HTTP_GET, path, NULL, NULL);
    assert_string_equal(str_of(v, "status"), "failed");
    const json_t *errors = json_object_get(json_object_get(v, "errors"), "data");
    assert_string_equal(str_of(json_array_get(errors, 0), "message"), "the disk was full");
    assert_int_equal(lines_in("", str_of(v, "output_file_id")), 1);
    json_decref(v);
}

static bool waits_for_quota(const char *batch_id)
{
    struct store_job job;
    struct store_batch b = get(batch_id); /* makes the arena anew */
    assert_ok(store_job_get(store, NULL, b.job_id, arena, &job, &why));
    return job.progress && strstr(job.progress, "quota");
}

static void a_batch_waits_for_its_users_quota(void **state)
{
    (void)state;
    char ada[STORE_ID_MAX], id[64];
    int64_t limits[QUOTA_COUNT];
    str_copy(ada, sizeof ada, add_user("ada"));
    assert_ok(store_quota_get(store, ada, limits, &why));
    limits[QUOTA_REQUESTS_DAY] = 3;
    assert_ok(store_quota_set(store, ada, limits, &why));
    add_input("in", ada, "fake:", 5);
    str_copy(id, sizeof id, add_batch(ada));
    assert_ok(hub_start(hub, &why));
    until(waits_for_quota(id));
    assert_int_equal(get(id).completed, 3);
    assert_int_equal(get(id).state, STORE_BATCH_IN_PROGRESS);
    limits[QUOTA_REQUESTS_DAY] = QUOTA_NONE;
    assert_ok(store_quota_set(store, ada, limits, &why));
    quota_forget(accounts_quota(hub->accounts), ada);
    until(get(id).state == STORE_BATCH_COMPLETED);
    assert_int_equal(get(id).completed, 5);
    assert_int_equal(get(id).failed, 0);
}

/* More tokens than an answer's numbers hold, from before a restart. */
static void a_batch_of_billions_of_tokens(void **state)
{
    (void)state;
    json_t *usage;
    char id[64];
    const int64_t before = 3000000000;
    add_input("in", "", "fake:", 2);
    str_copy(id, sizeof id, add_batch(""));
    assert_ok(store_batch_begin(store, id, 2, &why));
    struct store_batch_line line = {1, false, "{}"};
    assert_ok(store_batch_add_line(
        store, id, &line,
        "{\"input_tokens\":3000000000,\"input_tokens_details\":{\"cached_tokens\":3000000000},"
        "\"output_tokens\":3000000000,\"output_tokens_details\":{\"reasoning_tokens\":3000000000},"
        "\"total_tokens\":6000000000}",
        "m", &why));
    assert_ok(hub_start(hub, &why));
    until(get(id).state == STORE_BATCH_COMPLETED);
    const char *text = get(id).usage;
    assert_ok(json_parse(text, strlen(text), &usage, &why));
    int64_t input = json_integer_value(json_object_get(usage, "input_tokens"));
    int64_t output = json_integer_value(json_object_get(usage, "output_tokens"));
    assert_true(input > before && output > before);
    assert_int_equal(json_integer_value(json_object_get(usage, "total_tokens")), input + output);
    const json_t *details = json_object_get(usage, "output_tokens_details");
    assert_int_equal(json_integer_value(json_object_get(details, "reasoning_tokens")), before);
    json_decref(usage);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_is_over_before_it_is_followed),
        TEST(an_answer_that_another_hub_gives),
        TEST(an_answer_whose_job_is_cancelled),
        TEST(a_stream_that_is_longer_than_what_is_kept_of_it),
        TEST(too_late_for_a_stream_that_is_too_long),
        TEST(a_client_leaves_what_nobody_writes),
        TEST(a_user_who_was_disabled_is_not_answered),
        TEST(an_answer_to_a_user_who_was_pinned_stays_here),
        TEST(a_batch_whose_user_is_disabled),
        TEST(a_batch_whose_user_is_deleted),
        TEST(a_batch_whose_input_is_gone),
        TEST(a_batch_whose_input_has_lost_its_bytes),
        TEST(a_batch_whose_job_has_failed),
        TEST(a_batch_waits_for_its_users_quota),
        TEST(a_batch_of_billions_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
