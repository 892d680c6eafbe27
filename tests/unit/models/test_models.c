/* The models folder: what is listed, under which ids, what names lead where, removal. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "models/models.h"
#include "models/models_int.h"
#include "unit/models/gguf_make.h"

static struct error error;
static struct model_info info;
static char dir[64];

static const char *at(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static void chat(const char *name)
{
    struct make m;
    make_chat(&m, "test", 100);
    make_save(&m, at(name));
}

static int setup(void **state)
{
    (void)state;
    make_dir(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_dir_remove(dir);
    return 0;
}

static struct models *open_here(void)
{
    struct models *m;
    assert_int_equal(models_open(dir, HEARTH_SOURCE_DIR "/models", &m, &error), OK);
    return m;
}

/* The ids in order, joined, without the built-in ones. */
static const char *ids(struct models *m)
{
    static char text[2048];
    struct model_info *list;
    size_t n;
    text[0] = '\0';
    assert_int_equal(models_list(m, &list, &n, &error), OK);
    for (size_t i = 0; i < n; i++) {
        if (list[i].builtin) continue;
        size_t len = strlen(text);
        str_printf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", list[i].id);
    }
    free(list);
    return text;
}

static void resolves_to(struct models *m, const char *name, const char *file)
{
    enum err e = models_resolve(m, name, false, &info, &error);
    if (e) fail_msg("%s: %s", name, error.msg);
    if (!str_ends(info.path, file)) fail_msg("%s is %s", name, info.path);
}

static void unknown(struct models *m, const char *name, const char *says)
{
    assert_int_equal(models_resolve(m, name, false, &info, &error), ERR_NO_MODEL);
    if (!strstr(error.msg, says)) fail_msg("\"%s\" doesn't say \"%s\"", error.msg, says);
}

/* ------------------------------------------------------------------------------------------ */

static void the_builtin_models_come_first(void **state)
{
    (void)state;
    chat("a.gguf");
    struct models *m = open_here();
    struct model_info *list;
    size_t n;
    assert_int_equal(models_list(m, &list, &n, &error), OK);
    assert_true(n >= 3);
    assert_string_equal(list[0].id, BUILTIN_CHAT_MODEL);
    assert_string_equal(list[1].id, BUILTIN_EMBED_MODEL);
    assert_true(list[0].builtin && list[1].builtin);
    assert_string_equal(list[n - 1].id, "a");
    assert_false(list[n - 1].builtin);
    free(list);
    assert_string_equal(models_dir(m), dir);
    resolves_to(m, "hearth-tiny", "/models/hearth-tiny.gguf");
    assert_int_equal(models_remove(m, "hearth-tiny", NULL, &error), ERR_FORBIDDEN);
    assert_true(fs_exists(HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf"));
    models_free(m);
    /* the built-in folder as the models folder: nothing twice */
    assert_int_equal(
        models_open(HEARTH_SOURCE_DIR "/models", HEARTH_SOURCE_DIR "/models/", &m, &error), OK);
    assert_string_equal(ids(m), "");
    models_free(m);
}

static void folders_are_read_two_levels_deep(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdirs(at("org/repo/deep"), 0755, NULL), OK);
    assert_int_equal(fs_mkdirs(at(".cache"), 0755, NULL), OK);
    chat("Top-Q4_K_M.GGUF");
    chat("org/one.gguf");
    chat("org/repo/two.gguf");
    chat("org/repo/deep/three.gguf");
    chat(".hidden.gguf");
    chat(".cache/four.gguf");
    chat("five.gguf.part");
    chat("six.bin");
    assert_int_equal(symlink(at("org/one.gguf"), at("linked.gguf")), 0);
    assert_int_equal(symlink("nowhere", at("broken.gguf")), 0);
    assert_int_equal(symlink(".", at("org/loop")), 0);
    struct models *m = open_here();
    /* through the loop the same file is seen once more, under a longer name */
    assert_string_equal(ids(m), "Top-Q4_K_M linked org/loop/one org/one two");
    models_free(m);
}

static void what_is_no_model_is_left_out_and_logged_once(void **state)
{
    (void)state;
    char log[96], *text = calloc(1, 65536);
    snprintf(log, sizeof(log), "%s/log.txt", dir);
    assert_int_equal(log_open(LOG_INFO, false, log, &error), OK);
    chat("good.gguf");
    make_write(at("bad.gguf"), "GGUF but no more", 16);
    make_write(at("page.gguf"), "<html>", 6);
    struct make mk;
    make_begin(&mk);
    make_text(&mk, "general.architecture", "llama");
    make_text(&mk, "general.type", "adapter");
    make_tensor(&mk, "a", 8);
    make_finish(&mk, 'x');
    make_save(&mk, at("lora.gguf"));
    struct models *m = open_here();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(models_find_path(m, at("good.gguf"), &info, &error), OK); /* scans */
        assert_string_equal(ids(m), "good");
    }
    models_free(m);
    FILE *f = fopen(log, "r");
    assert_true(f && fread(text, 1, 65535, f) > 0);
    fclose(f);
    static const char *const names[] = {"/bad.gguf", "/page.gguf", "/lora.gguf"};
    for (size_t i = 0; i < 3; i++) {
        const char *first = strstr(text, names[i]);
        assert_non_null(first);
        assert_null(strstr(first + 1, names[i]));
    }
    assert_non_null(strstr(text, "it is a LoRA adapter"));
    free(text);
    assert_int_equal(log_open(LOG_ERROR, false, NULL, &error), OK);
}

static void equal_names_get_their_folder(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdirs(at("a/x"), 0755, NULL), OK);
    assert_int_equal(fs_mkdirs(at("b"), 0755, NULL), OK);
    chat("a/x/same.gguf");
    chat("b/same.gguf");
    chat("b/alone.gguf");
    struct models *m = open_here();
    assert_string_equal(ids(m), "a/x/same alone b/same");
    resolves_to(m, "b/same", "/b/same.gguf");
    resolves_to(m, "same", "/a/x/same.gguf");
    chat("same.gguf");
    chat("hearth-tiny.gguf");
    assert_int_equal(models_find_path(m, at("same.gguf"), &info, &error), OK);
    assert_string_equal(ids(m), "a/x/same alone b/same local/hearth-tiny same");
    resolves_to(m, "same", "/same.gguf");
    resolves_to(m, "hearth-tiny", "/models/hearth-tiny.gguf");
    /* when the others go, the plain name is free again */
    unlink(at("same.gguf"));
    unlink(at("b/same.gguf"));
    assert_int_equal(models_find_path(m, at("a/x/same.gguf"), &info, &error), OK);
    assert_string_equal(info.id, "same");
    models_free(m);
}

static void a_split_model_is_listed_once(void **state)
{
    (void)state;
    struct make mk;
    for (uint32_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof(name), "big-0000%u-of-00003.gguf", i + 1);
        make_part(&mk, i, 3);
        make_save(&mk, at(name));
    }
    make_part(&mk, 1, 2);
    make_save(&mk, at("orphan-00002-of-00002.gguf"));
    struct models *m = open_here();
    assert_string_equal(ids(m), "big");
    resolves_to(m, "big", "/big-00001-of-00003.gguf");
    assert_int_equal(info.n_params, 300);
    /* a part that goes takes the model with it, though the first file is unchanged */
    assert_int_equal(rename(at("big-00003-of-00003.gguf"), at("x")), 0);
    assert_int_not_equal(models_find_path(m, at("big-00001-of-00003.gguf"), &info, &error), OK);
    assert_int_equal(rename(at("x"), at("big-00003-of-00003.gguf")), 0);
    assert_int_equal(models_find_path(m, at("big-00001-of-00003.gguf"), &info, &error), OK);
    assert_int_equal(models_remove(m, "big", NULL, &error), OK);
    assert_false(fs_exists(at("big-00001-of-00003.gguf")));
    assert_false(fs_exists(at("big-00003-of-00003.gguf")));
    assert_true(fs_exists(at("orphan-00002-of-00002.gguf")));
    models_free(m);
}

static void changed_files_are_read_again(void **state)
{
    (void)state;
    chat("m.gguf");
    struct models *m = open_here();
    resolves_to(m, "m", "/m.gguf");
    assert_int_equal(info.kind, MODEL_CHAT);
    struct make mk;
    make_begin(&mk);
    make_text(&mk, "general.architecture", "bert");
    make_tensor(&mk, "a", 8);
    make_finish(&mk, 'x');
    make_save(&mk, at("m.gguf"));
    assert_int_equal(models_find_path(m, at("m.gguf"), &info, &error), OK);
    assert_int_equal(info.kind, MODEL_EMBEDDING);
    models_free(m);
}

static void sidecar_for(const char *file, const char *text)
{
    char name[256];
    snprintf(name, sizeof(name), "%s.json", file);
    make_write(at(name), text, strlen(text));
}

static void names_lead_to_files(void **state)
{
    (void)state;
    chat("Llama-3.2-1B-Instruct-Q8_0.gguf");
    chat("pulled.gguf");
    sidecar_for("pulled.gguf",
                "{\"repo\":\"Some/Repo-GGUF\",\"file\":\"sub/pulled.gguf\","
                "\"catalog\":\"qwen3:4b\",\"quant\":\"Q4_K_M\",\"url\":\"https://x/y\"}");
    chat("broken.gguf");
    sidecar_for("broken.gguf", "{\"repo\": 7");
    struct models *m = open_here();
    resolves_to(m, "Llama-3.2-1B-Instruct-Q8_0", "-Q8_0.gguf");
    resolves_to(m, "llama-3.2-1b-instruct-q8_0", "-Q8_0.gguf");
    resolves_to(m, "Llama-3.2-1B-Instruct-Q8_0.gguf", "-Q8_0.gguf");
    /* copied here by hand, known by its file's name */
    resolves_to(m, "llama3.2:1b", "-Q8_0.gguf");
    resolves_to(m, "llama3.2:1b:q8_0", "-Q8_0.gguf");
    resolves_to(m, "qwen3:4b", "/pulled.gguf");
    resolves_to(m, "Qwen3:4b:latest", "/pulled.gguf");
    resolves_to(m, "some/repo-gguf", "/pulled.gguf");
    resolves_to(m, "Some/Repo-GGUF:Q4_K_M", "/pulled.gguf");
    resolves_to(m, "Some/Repo-GGUF:sub/pulled.gguf", "/pulled.gguf");
    resolves_to(m, "broken", "/broken.gguf");
    unknown(m, "Some/Repo-GGUF:Q8_0", "no model");
    unknown(m, "llama3.2:1b:q4_k_m", "hearth pull llama3.2:1b:Q4_K_M (770.3 MiB)");
    unknown(m, "llama3.2:3b", "get it with: hearth pull llama3.2:3b");
    unknown(m, "llama3.2:1b:q9_9", "there are: Q4_K_M");
    unknown(m, "puled", "did you mean pulled?");
    unknown(m, "lama3.2:3b", "llama3.2:3b");
    unknown(m, "hearth-tyni", "did you mean hearth-tiny");
    unknown(m, "zzzzzzzzz", "`hearth models` lists");
    unknown(m, "", "empty");
    models_free(m);
}

static void paths_are_for_the_command_line_only(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdirs(at("models"), 0755, NULL), OK);
    chat("outside.gguf");
    struct models *m;
    assert_int_equal(models_open(at("models"), "", &m, &error), OK);
    const char *path = at("outside.gguf");
    assert_int_equal(models_resolve(m, path, true, &info, &error), OK);
    assert_string_equal(info.id, "outside");
    assert_string_equal(info.path, path);
    assert_int_equal(models_resolve(m, path, false, &info, &error), ERR_NO_MODEL);
    info = (struct model_info){0};
    assert_int_equal(models_resolve(m, path, true, &info, &error), OK); /* known already */
    assert_string_equal(info.id, "outside");
    make_write(path, "no", 2); /* another file by that name */
    assert_int_equal(models_resolve(m, path, true, &info, &error), ERR_MODEL_FILE);
    chat("outside.gguf");
    assert_int_equal(models_resolve(m, path, true, &info, &error), OK);
    assert_int_equal(models_resolve(m, at("none.gguf"), true, &info, &error), ERR_NO_MODEL);
    make_write(at("bad.gguf"), "no", 2);
    assert_int_equal(models_resolve(m, at("bad.gguf"), true, &info, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "/bad.gguf: not a GGUF model file"));
    char *where = getcwd(NULL, 0);
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(models_resolve(m, "outside.gguf", true, &info, &error), OK);
    assert_int_equal(models_resolve(m, "./outside.gguf", true, &info, &error), OK);
    assert_int_equal(models_resolve(m, "../outside.gguf", false, &info, &error), ERR_NO_MODEL);
    assert_int_equal(chdir(where), 0);
    free(where);
    models_free(m);
}

static void removal_takes_everything_of_the_model(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdirs(at("org/repo"), 0755, NULL), OK);
    chat("org/repo/m.gguf");
    sidecar_for("org/repo/m.gguf", "{}");
    chat("keep.gguf");
    assert_int_equal(symlink(at("keep.gguf"), at("link.gguf")), 0);
    struct models *m = open_here();
    assert_int_equal(models_remove(m, "m", NULL, &error), OK);
    assert_false(fs_exists(at("org"))); /* its empty folders too */
    assert_true(fs_exists(dir));
    assert_int_equal(models_remove(m, "link", NULL, &error), OK);
    assert_true(fs_exists(at("keep.gguf")));
    assert_string_equal(ids(m), "keep");
    assert_int_equal(models_remove(m, "m", NULL, &error), ERR_NO_MODEL);
    models_free(m);
}

static void folders_that_cannot_be_are_errors(void **state)
{
    (void)state;
    struct models *m;
    make_write(at("file"), "x", 1);
    assert_int_not_equal(models_open(at("file/models"), "", &m, &error), OK);
    assert_non_null(strstr(error.msg, "HEARTH_MODELS"));
    assert_int_equal(models_open(at("new/models"), "", &m, &error), OK); /* made */
    assert_true(fs_exists(at("new/models")));
    assert_string_equal(ids(m), "");
    /* without a catalogue names are just not known */
    unknown(m, "llama3.2:1b", "there is no model");
    models_free(m);
    models_free(NULL);
}

struct crowd {
    struct models *m;
    const char *path;
    int failures;
};

static void *crowd_member(void *arg)
{
    struct crowd *c = arg;
    struct error why;
    struct model_info *mine = calloc(1, sizeof(*mine)), *list;
    size_t n;
    for (int i = 0; i < 50; i++) {
        int bad = 0;
        if (models_resolve(c->m, "hearth-tiny", false, mine, &why)) bad = 1;
        if (models_resolve(c->m, "no-such-model", false, mine, &why) != ERR_NO_MODEL) bad = 1;
        if (models_list(c->m, &list, &n, &why))
            bad = 1;
        else
            free(list);
        if (models_find_path(c->m, c->path, mine, &why)) bad = 1;
        __atomic_add_fetch(&c->failures, bad, __ATOMIC_RELAXED);
    }
    free(mine);
    return NULL;
}

static void many_threads_may_ask(void **state)
{
    (void)state;
    chat("a.gguf");
    struct crowd c = {.m = open_here(), .path = at("a.gguf")};
    pthread_t t[4];
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, crowd_member, &c);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    assert_int_equal(c.failures, 0);
    models_free(c.m);
}

int main(void)
{
    assert_int_equal(log_open(LOG_ERROR, false, NULL, NULL), OK);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_builtin_models_come_first),
        T(folders_are_read_two_levels_deep),
        T(what_is_no_model_is_left_out_and_logged_once),
        T(equal_names_get_their_folder),
        T(a_split_model_is_listed_once),
        T(changed_files_are_read_again),
        T(names_lead_to_files),
        T(paths_are_for_the_command_line_only),
        T(removal_takes_everything_of_the_model),
        T(folders_that_cannot_be_are_errors),
        T(many_threads_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
