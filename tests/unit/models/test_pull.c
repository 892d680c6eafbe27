/* Downloads against a server in this process that speaks the hub's paths and can misbehave. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/file.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "models/pull.h"
#include "models/sidecar.h"
#include "unit/models/gguf_make.h"
#include "unit/models/hub_serve.h"

/* ---- the client -------------------------------------------------------------------------- */

static char dir[64];
static struct models *models;
static struct httpc *http;
static struct error error;
static struct model_info info;
static struct {
    int calls, finished;
    int64_t last_done, last_total, resumed_from;
    int phases[4];
    char notes[1024];
    int cancel_at;        /* call number, 0 = never */
    int64_t cancel_after; /* bytes, 0 = never */
} seen;

static bool on_progress(void *ctx, const struct pull_progress *p)
{
    (void)ctx;
    assert_true(p->phase >= PULL_RESOLVING && p->phase <= PULL_FINISHED);
    seen.calls++;
    seen.phases[p->phase]++;
    seen.last_done = p->done;
    seen.last_total = p->total;
    seen.resumed_from = p->resumed_from;
    if (p->total >= 0) assert_true(p->done <= p->total);
    if (p->note) {
        size_t len = strlen(seen.notes);
        snprintf(seen.notes + len, sizeof(seen.notes) - len, "%s;", p->note);
    }
    if (seen.cancel_after && p->done >= seen.cancel_after) return false;
    return !seen.cancel_at || seen.calls < seen.cancel_at;
}

static enum err pull_with(const char *spec, const char *token, bool force)
{
    memset(&error, 0, sizeof(error));
    struct pull_params params = {.spec = spec,
                                 .hf_endpoint = hub.s->url,
                                 .hf_token = token,
                                 .force = force,
                                 .on_progress = on_progress,
                                 .retry_delay_ms = 10};
    seen.calls = 0;
    memset(seen.phases, 0, sizeof(seen.phases));
    seen.notes[0] = '\0';
    pthread_mutex_unlock(&hub_lock);
    enum err e = models_pull(models, http, &params, &info, &error);
    pthread_mutex_lock(&hub_lock);
    return e;
}

static void pulls(const char *spec)
{
    if (pull_with(spec, "", false)) fail_msg("%s: %s", spec, error.msg);
}

static void refused(const char *spec, enum err code, const char *says)
{
    enum err e = pull_with(spec, "", false);
    if (e != code || !strstr(error.msg, says))
        fail_msg("%s: %s \"%s\", wanted \"%s\"", spec, err_name(e), error.msg, says);
}

static const char *at(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static void same_bytes(const char *name, const struct hub_file *f)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    assert_int_equal(fs_read_file(at(name), 64 << 20, &b, &error), OK);
    assert_int_equal(b.len, f->len);
    assert_memory_equal(b.data, f->data, b.len);
    buf_free(&b);
}

static void nothing_is_left(const char *name)
{
    char path[128];
    assert_false(fs_exists(at(name)));
    snprintf(path, sizeof(path), "%s.part", name);
    assert_false(fs_exists(at(path)));
    snprintf(path, sizeof(path), "%s.part.json", name);
    assert_false(fs_exists(at(path)));
}

static int setup(void **state)
{
    (void)state;
    pthread_mutex_lock(&hub_lock);
    memset(&hub, 0, sizeof(hub));
    memset(&seen, 0, sizeof(seen));
    hub.storage_version = 1;
    hub.cut_after = 100000;
    hub.s = script_start(serve, NULL);
    make_dir(dir);
    /* a catalogue whose repository is the test server's */
    static const char catalog[] =
        "{\"models\":[{\"name\":\"toy:1b\",\"repo\":\"org/repo\",\"context\":4096,\"files\":{"
        "\"Q4_K_M\":{\"file\":\"toy-Q4_K_M.gguf\",\"bytes\":400000},"
        "\"Q8_0\":{\"file\":\"toy-Q8_0.gguf\",\"bytes\":800000}}},"
        "{\"name\":\"big\",\"repo\":\"org/repo\",\"files\":{"
        "\"Q4_K_M\":{\"file\":\"big/big-00001-of-00002.gguf\",\"bytes\":1}}}]}";
    assert_int_equal(fs_mkdirs(at("builtin"), 0755, NULL), OK);
    make_write(at("builtin/catalog.json"), catalog, strlen(catalog));
    assert_int_equal(models_open(at("models"), at("builtin"), &models, &error), OK);
    snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/models");
    assert_int_equal(httpc_new(&http, &error), OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    httpc_free(http);
    models_free(models);
    pthread_mutex_unlock(&hub_lock);
    script_stop(hub.s);
    for (size_t i = 0; i < hub.n_files; i++) free(hub.files[i].data);
    *strrchr(dir, '/') = '\0';
    make_dir_remove(dir);
    return 0;
}

/* ---- it works ---------------------------------------------------------------------------- */

static void a_catalogue_name_becomes_a_model(void **state)
{
    (void)state;
    struct sidecar sc;
    hub_add_chat("toy-Q4_K_M.gguf");
    pulls("toy:1b");
    assert_string_equal(info.id, "toy-Q4_K_M");
    assert_int_equal(info.kind, MODEL_CHAT);
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
    assert_int_equal(hub.tree_requests, 0); /* one request is enough */
    assert_int_equal(hub.resolve_requests, 1);
    assert_int_equal(seen.phases[PULL_FINISHED], 1);
    assert_int_equal(seen.last_done, hub.files[0].len);
    sidecar_read(at("toy-Q4_K_M.gguf"), &sc);
    assert_string_equal(sc.repo, "org/repo");
    assert_string_equal(sc.file, "toy-Q4_K_M.gguf");
    assert_string_equal(sc.catalog, "toy:1b");
    assert_string_equal(sc.quant, "Q4_K_M");
    assert_string_equal(sc.sha256, hub.files[0].sha);
    assert_string_equal(sc.revision, "0123456789abcdef");
    assert_int_equal(sc.bytes, hub.files[0].len);
    assert_false(fs_exists(at("toy-Q4_K_M.gguf.part")));
    assert_false(fs_exists(at("toy-Q4_K_M.gguf.part.json")));
    assert_int_equal(models_resolve(models, "toy:1b", false, &info, &error), OK);
    /* again: it is there, nobody is asked */
    pulls("toy:1b");
    assert_int_equal(hub.resolve_requests, 1);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.phases[PULL_FINISHED], 1);
    assert_int_equal(pull_with("toy:1b", "", true), OK);
    assert_int_equal(hub.resolve_requests, 2);
}

static void a_repository_gives_its_usual_file(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub_add_chat("toy-Q8_0.gguf");
    hub_add_chat("toy-UD-Q8_0.gguf");
    hub_add_chat("mmproj-toy-Q4_K_M.gguf");
    hub.paged = true;
    pulls("org/repo");
    assert_string_equal(info.id, "toy-Q4_K_M");
    assert_int_equal(hub.tree_requests, 2);
    pulls("hf.co/org/repo:q8_0");
    assert_string_equal(info.id, "toy-Q8_0");
    pulls("org/repo:toy-UD-Q8_0.gguf");
    assert_string_equal(info.id, "toy-UD-Q8_0");
    pulls("https://huggingface.co/org/repo/blob/main/toy-Q8_0.gguf?x=1");
    assert_string_equal(info.id, "toy-Q8_0");
    hub.tree_requests = 0;
    pulls("org/repo:toy-UD-Q8_0.gguf"); /* there: nobody is asked */
    assert_int_equal(hub.tree_requests, 0);
    refused("org/repo:Q2_K", ERR_INVALID, "org/repo has no Q2_K; name one, as in hearth pull");
    assert_non_null(strstr(error.msg, "toy-Q4_K_M.gguf (391."));
    assert_null(strstr(error.msg, "mmproj"));
    refused("org/repo:nope.gguf", ERR_INVALID, "has no nope.gguf");
}

static void the_only_file_needs_no_name(void **state)
{
    (void)state;
    hub_add_chat("sub/only one.gguf");
    hub_add_chat("imatrix.gguf");
    pulls("org/repo");
    assert_string_equal(info.id, "only one");
}

static void an_url_is_taken_as_it_is(void **state)
{
    (void)state;
    char url[256];
    struct sidecar sc;
    hub_add_chat("my model.gguf");
    snprintf(url, sizeof(url), "%s/files/my%%20model.gguf?key=secret", hub.s->url);
    pulls(url);
    assert_string_equal(info.id, "my model");
    sidecar_read(at("my model.gguf"), &sc);
    assert_null(strstr(sc.url, "secret"));
    assert_string_equal(sc.sha256, hub.files[0].sha);
    pulls(url);
    assert_int_equal(hub.storage_requests, 1);
}

static void a_split_model_comes_whole(void **state)
{
    (void)state;
    struct make m;
    for (uint32_t i = 0; i < 2; i++) {
        make_part(&m, i, 2);
        hub_add(i ? "big/big-00002-of-00002.gguf" : "big/big-00001-of-00002.gguf", &m);
    }
    pulls("big");
    assert_string_equal(info.id, "big");
    assert_int_equal(info.n_params, 200);
    same_bytes("big-00002-of-00002.gguf", &hub.files[1]);
    assert_int_equal(models_resolve(models, "big", false, &info, &error), OK);
    assert_int_equal(models_remove(models, "big", NULL, &error), OK);
    assert_false(fs_exists(at("big-00002-of-00002.gguf.json")));
    /* one part wrong: none appears */
    hub.files[1].data[hub.files[1].len - 1] ^= 1;
    assert_int_equal(pull_with("org/repo", "", false), ERR_CHECKSUM);
    assert_false(fs_exists(at("big-00001-of-00002.gguf")));
    assert_false(fs_exists(at("big-00002-of-00002.gguf")));
    refused("org/repo:big-00007-of-00009.gguf", ERR_CHECKSUM, ""); /* any part means all */
}

/* ---- resuming ---------------------------------------------------------------------------- */

static void a_cut_is_resumed_by_itself(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub.cut_first = 2;
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
    assert_int_equal(hub.storage_requests, 3);
    assert_string_equal(hub.last_range, "bytes=200000-");
    assert_string_equal(hub.last_if_range, "\"v1\"");
    assert_non_null(strstr(seen.notes, "the connection was cut; trying again;"));
}

static void many_cuts_with_progress_are_no_reason_to_stop(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub.cut_first = 12;
    hub.cut_after = 30000;
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

/* Leaves a partial file of 100000 bytes. */
static void begin_and_cut(const char *spec)
{
    hub.cut_first = 1;
    hub.cut_after = 100000;
    seen.cancel_after = 100000;
    assert_int_equal(pull_with(spec, "", false), ERR_CANCELLED);
    seen.cancel_after = 0;
    hub.cut_first = 0;
    hub.storage_requests = 0;
}

static void a_later_pull_goes_on(void **state)
{
    (void)state;
    struct stat st;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    assert_int_equal(stat(at("toy-Q4_K_M.gguf.part"), &st), 0);
    assert_int_equal(st.st_size, 100000);
    assert_false(fs_exists(at("toy-Q4_K_M.gguf")));
    pulls("toy:1b");
    assert_int_equal(hub.storage_requests, 1);
    assert_string_equal(hub.last_range, "bytes=100000-");
    assert_int_equal(seen.phases[PULL_VERIFYING] >= 1, 1);
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

static void giving_up_says_how_to_go_on(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    hub.cut_first = 100;
    hub.cut_after = 0;
    refused("toy:1b", ERR_NETWORK, "run the same command again to go on from 97.7 KiB");
    assert_int_equal(hub.storage_requests, 3); /* tries without progress */
    assert_true(fs_exists(at("toy-Q4_K_M.gguf.part")));
    hub.cut_first = 0;
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

static void a_server_without_ranges_starts_over(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    hub.ignore_range = true;
    pulls("toy:1b");
    assert_int_equal(hub.storage_requests, 1);
    assert_non_null(strstr(seen.notes, "starting over"));
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

/* Another content under the same name; only some of the signs of it are there. */
static void change_file(void)
{
    struct make m;
    free(hub.files[0].data);
    hub.n_files = 0;
    make_chat(&m, "another", ELEMENTS);
    hub_add("toy-Q4_K_M.gguf", &m);
}

static void a_changed_file_starts_over(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    for (int sign = 0; sign < 3; sign++) {
        /* without a strong ETag there is nothing to ask with, but the hash is known */
        hub.weak_etag = sign == 1;
        hub.no_etag = sign == 2;
        begin_and_cut("toy:1b");
        change_file();
        if (sign == 0) hub.storage_version++; /* another ETag: 200 instead of 206 */
        pulls("toy:1b");
        assert_non_null(strstr(seen.notes, "starting over"));
        same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
        assert_int_equal(models_remove(models, "toy-Q4_K_M", NULL, &error), OK);
        free(hub.files[0].data);
        hub.n_files = 0;
        hub_add_chat("toy-Q4_K_M.gguf");
    }
}

static void without_any_sign_of_sameness_nothing_is_continued(void **state)
{
    (void)state;
    char url[128];
    hub_add_chat("m.gguf");
    hub.no_etag = true;
    snprintf(url, sizeof(url), "%s/files/m.gguf", hub.s->url);
    begin_and_cut(url);
    pulls(url);
    assert_string_equal(hub.last_range, "");
    same_bytes("m.gguf", &hub.files[0]);
}

static void a_complete_partial_file_is_only_checked(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    make_write(at("toy-Q4_K_M.gguf.part"), hub.files[0].data, hub.files[0].len);
    pulls("toy:1b"); /* 416, and the size is ours */
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
    assert_string_equal(seen.notes, "");
}

static void a_damaged_partial_file_is_found(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    int fd = open(at("toy-Q4_K_M.gguf.part"), O_WRONLY);
    assert_int_equal(pwrite(fd, "!", 1, 50000), 1);
    close(fd);
    refused("toy:1b", ERR_CHECKSUM, "came damaged");
    nothing_is_left("toy-Q4_K_M.gguf");
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

static void junk_beside_the_model_does_no_harm(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    make_write(at("toy-Q4_K_M.gguf.part"), "junk", 4);
    make_write(at("toy-Q4_K_M.gguf.part.json"), "{]", 2);
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
    assert_string_equal(hub.last_range, "");
}

/* ---- what is refused --------------------------------------------------------------------- */

static void a_wrong_hash_leaves_nothing(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub.wrong_hash = true;
    refused("toy:1b", ERR_CHECKSUM, "pull it again");
    nothing_is_left("toy-Q4_K_M.gguf");
}

static void what_is_no_model_is_refused(void **state)
{
    (void)state;
    struct make m;
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_text(&m, "general.type", "adapter");
    make_tensor(&m, "a", 100);
    make_finish(&m, 'x');
    hub_add("toy-Q4_K_M.gguf", &m);
    refused("toy:1b", ERR_MODEL_FILE, "it is a LoRA adapter");
    nothing_is_left("toy-Q4_K_M.gguf");
    hub.web_page = true;
    refused("toy:1b", ERR_MODEL_FILE, "is not a GGUF");
    nothing_is_left("toy-Q4_K_M.gguf");
    refused("org/repo:README.md", ERR_INVALID, "");
    refused("https://127.0.0.1/x.zip", ERR_INVALID, "\"x.zip\" is not a .gguf file");
}

static void answers_of_the_hub_are_explained(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    refused("toy:1b:Q8_0", ERR_NOT_FOUND, "`hearth pull org/repo` shows what is");
    refused("no/such", ERR_NOT_FOUND,
            "no/such is not there (404); check the name, or set HF_TOKEN");
    hub.token = "hf_right";
    refused("toy:1b", ERR_AUTH, "HF_TOKEN=hf_... hearth pull toy:1b (401)");
    assert_int_equal(pull_with("toy:1b", "hf_wrong", false), ERR_AUTH);
    assert_non_null(strstr(error.msg, "licence to be accepted"));
    assert_int_equal(pull_with("toy:1b", "hf_right", false), OK);
    assert_false(hub.token_at_storage);
    hub.token = NULL;
    assert_int_equal(models_remove(models, "toy-Q4_K_M", NULL, &error), OK);
    hub.status = 401;
    hub.error_code = "RepoNotFound"; /* what the hub says to those it doesn't know */
    refused("toy:1b", ERR_NOT_FOUND, "check the name, or set HF_TOKEN if it is private");
    hub.error_code = NULL;
    hub.status = 403;
    refused("toy:1b", ERR_AUTH, "(403)");
    hub.status = 500;
    hub.resolve_requests = 0;
    refused("toy:1b", ERR_UPSTREAM, "answered 500");
    assert_int_equal(hub.resolve_requests, 3);
    hub.status = 410;
    refused("toy:1b", ERR_UPSTREAM, "answered 410");
    nothing_is_left("toy-Q4_K_M.gguf");
}

static void wrong_lists_of_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tree;
        enum err code;
        const char *says;
    } cases[] = {
        {"<html>", ERR_UPSTREAM, "doesn't list files as the hub does"},
        {"{}", ERR_UPSTREAM, "it is not a list"},
        {"[3]", ERR_UPSTREAM, "doesn't list files"},
        {"[{\"type\":\"file\",\"path\":7}]", ERR_UPSTREAM, "path"},
        {"[]", ERR_NOT_FOUND, "holds no .gguf file"},
        {"[{\"type\":\"file\",\"path\":\"..gguf\"}]", ERR_INVALID, "not a .gguf file"},
        {"[{\"type\":\"file\",\"path\":\"a/\\u001b[2J.gguf\"}]", ERR_NOT_FOUND,
         "holds no .gguf file"},
        {"", ERR_UPSTREAM, "is larger than 16 MiB"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hub.tree = cases[i].tree;
        refused("org/repo", cases[i].code, cases[i].says);
    }
}

static void a_busy_server_is_waited_for(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub.fail_first = 1;
    hub.fail_status = 429;
    hub.retry_after = "1";
    int64_t before = clock_mono_ms();
    pulls("toy:1b");
    assert_in_range(clock_mono_ms() - before, 950, 10000);
    assert_non_null(strstr(seen.notes, "busy"));
    hub.fail_first = 100;
    hub.retry_after = "3600"; /* too long to sit through */
    before = clock_mono_ms();
    assert_int_equal(pull_with("toy:1b", "", true), ERR_UPSTREAM);
    assert_in_range(clock_mono_ms() - before, 0, 60000);
    assert_non_null(strstr(error.msg, "asked too often"));
    assert_true(fs_exists(at("toy-Q4_K_M.gguf"))); /* the old one is still there */
}

static void bad_specs_are_refused(void **state)
{
    (void)state;
    refused("", ERR_INVALID, "which model?");
    refused("toy:2b", ERR_NO_MODEL, "close to it: toy:1b");
    refused("toy:1b:Q9", ERR_NO_MODEL, "there are: Q4_K_M, Q8_0");
    refused("a/b/c", ERR_INVALID, "org/name:Q4_K_M");
    refused("../..", ERR_INVALID, "not a repository");
    refused("org/re po", ERR_INVALID, "not a repository");
    refused("http://example.org/x.gguf", ERR_INVALID, "is not https");
    refused("http://127.0.0.1@evil.example/x.gguf", ERR_INVALID, "user name");
    refused("http://localhost.evil.example/x.gguf", ERR_INVALID, "is not https");
    refused("file:///etc/passwd.gguf", ERR_INVALID, "is not https");
    refused("https://127.0.0.1/..%2f..%2fx.gguf", ERR_INVALID, "holds a '/'");
    refused("https://127.0.0.1/.hidden.gguf", ERR_INVALID, "not a .gguf file");
    refused("https://127.0.0.1/a%1b%5bm.gguf", ERR_INVALID, "not a .gguf file");
    struct pull_params params = {
        .spec = "toy:1b", .hf_endpoint = "http://mirror.example", .hf_token = "hf_x"};
    assert_int_equal(models_pull(models, http, &params, &info, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "readable for all"));
    params.hf_endpoint = "mirror.example";
    assert_int_equal(models_pull(models, http, &params, &info, &error), ERR_CONFIG);
}

/* ---- the disk ---------------------------------------------------------------------------- */

static void a_full_disk_is_seen_before(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    hub.no_length = true;
    hub.announced = INT64_C(1) << 60;
    refused("toy:1b", ERR_DISK_FULL, "needs 1.0 EiB");
    assert_non_null(strstr(error.msg, "are free in"));
    nothing_is_left("toy-Q4_K_M.gguf");
}

static void a_disk_that_fills_up_keeps_what_came(void **state)
{
    (void)state;
#if !HEARTH_FAULTS
    skip();
#else
    struct stat st;
    hub_add_chat("toy-Q4_K_M.gguf");
    begin_and_cut("toy:1b");
    fault_arm(FAULT_write, 3, true);
    refused("toy:1b", ERR_DISK_FULL, "make room and run the same command again");
    fault_arm(FAULT_write, 0, false);
    assert_int_equal(stat(at("toy-Q4_K_M.gguf.part"), &st), 0);
    assert_true(st.st_size >= 100000);
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
#endif
}

/* The nth allocation fails, for every n: an error or none at all, and the next pull works. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
#if !HEARTH_FAULTS
    skip();
#else
    int failures = 0;
    hub_add_chat("toy-Q4_K_M.gguf");
    for (long n = 1; n < 300; n++) {
        fault_arm(FAULT_alloc, n, false);
        enum err e = pull_with(n % 2 ? "toy:1b" : "org/repo", "", true);
        bool reached = fault_count(FAULT_alloc) >= n;
        fault_arm(FAULT_alloc, 0, false);
        if (e) {
            assert_true(error.msg[0] != '\0');
            failures++;
        }
        if (!reached) break;
        assert_int_equal(pull_with("toy:1b", "", true), OK);
    }
    assert_true(failures > 5);
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
#endif
}

static void an_unwritable_folder_is_told(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    assert_int_equal(chmod(dir, 0555), 0);
    bool root = geteuid() == 0; /* who may write anywhere */
    if (root) assert_int_equal(seteuid(65534), 0);
    enum err e = pull_with("toy:1b", "", false);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_not_equal(e, OK);
    assert_non_null(strstr(error.msg, "Permission denied"));
}

static void two_pulls_at_once_are_one(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    int fd = open(at("toy-Q4_K_M.gguf.part"), O_RDWR | O_CREAT, 0644);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    refused("toy:1b", ERR_CONFLICT, "being downloaded by another process");
    close(fd);
    pulls("toy:1b");
}

static void an_equal_name_from_elsewhere_goes_to_its_folder(void **state)
{
    (void)state;
    char url[128];
    hub_add_chat("toy-Q4_K_M.gguf");
    snprintf(url, sizeof(url), "%s/files/toy-Q4_K_M.gguf", hub.s->url);
    pulls(url);
    pulls("toy:1b");
    assert_string_equal(info.id, "org/repo/toy-Q4_K_M");
    same_bytes("org/repo/toy-Q4_K_M.gguf", &hub.files[0]);
    pulls("org/repo:Q4_K_M"); /* there */
    assert_int_equal(hub.resolve_requests, 1);
    refused("http://127.0.0.1:1/elsewhere/toy-Q4_K_M.gguf", ERR_CONFLICT, "--force");
}

static void a_file_put_there_by_hand_is_kept(void **state)
{
    (void)state;
    struct make m;
    make_chat(&m, "by hand", 50);
    make_save(&m, at("toy-Q4_K_M.gguf"));
    pulls("toy:1b");
    assert_int_equal(hub.resolve_requests, 0);
    assert_string_equal(info.name, "by hand");
    /* but one that is broken is pulled anew */
    hub_add_chat("toy-Q4_K_M.gguf");
    assert_int_equal(truncate(at("toy-Q4_K_M.gguf"), 300), 0);
    pulls("toy:1b");
    same_bytes("toy-Q4_K_M.gguf", &hub.files[0]);
}

/* ---- cancelling -------------------------------------------------------------------------- */

static void cancelling_is_quick_wherever_it_is(void **state)
{
    (void)state;
    hub_add_chat("toy-Q4_K_M.gguf");
    seen.cancel_at = 1;
    assert_int_equal(pull_with("toy:1b", "", false), ERR_CANCELLED);
    nothing_is_left("toy-Q4_K_M.gguf");
    hub.fail_first = 1;
    hub.fail_status = 503;
    hub.retry_after = "50";
    seen.cancel_at = 3; /* in the pause */
    int64_t before = clock_mono_ms();
    assert_int_equal(pull_with("toy:1b", "", false), ERR_CANCELLED);
    assert_in_range(clock_mono_ms() - before, 0, 3000);
    assert_non_null(strstr(error.msg, "goes on from where it stopped"));
    seen.cancel_at = 0;
    pulls("toy:1b");
}

int main(void)
{
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_int_equal(log_open(LOG_ERROR, false, NULL, NULL), OK);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_catalogue_name_becomes_a_model),
        T(a_repository_gives_its_usual_file),
        T(the_only_file_needs_no_name),
        T(an_url_is_taken_as_it_is),
        T(a_split_model_comes_whole),
        T(a_cut_is_resumed_by_itself),
        T(many_cuts_with_progress_are_no_reason_to_stop),
        T(a_later_pull_goes_on),
        T(giving_up_says_how_to_go_on),
        T(a_server_without_ranges_starts_over),
        T(a_changed_file_starts_over),
        T(without_any_sign_of_sameness_nothing_is_continued),
        T(a_complete_partial_file_is_only_checked),
        T(a_damaged_partial_file_is_found),
        T(junk_beside_the_model_does_no_harm),
        T(a_wrong_hash_leaves_nothing),
        T(what_is_no_model_is_refused),
        T(answers_of_the_hub_are_explained),
        T(wrong_lists_of_files_are_refused),
        T(a_busy_server_is_waited_for),
        T(bad_specs_are_refused),
        T(a_full_disk_is_seen_before),
        T(a_disk_that_fills_up_keeps_what_came),
        T(any_allocation_may_fail),
        T(an_unwritable_folder_is_told),
        T(two_pulls_at_once_are_one),
        T(an_equal_name_from_elsewhere_goes_to_its_folder),
        T(a_file_put_there_by_hand_is_kept),
        T(cancelling_is_quick_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
