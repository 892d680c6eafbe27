/* Configuration: the order of the sources, what is refused and with which words, the generated
 * views. Each test has its own home and working folder and an environment without our keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/config_int.h"
#include "base/fs.h"
#include "base/str.h"

static char dir[64];
static char start_dir[FS_PATH_MAX];

static void write_file(const char *name, const char *text)
{
    char path[FS_PATH_MAX];
    struct error e;
    str_printf(path, sizeof path, "%s/%s", dir, name);
    if (fs_write_atomic(path, text, strlen(text), 0600, &e)) fail_msg("%s", e.msg);
}

static int set_up(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    struct error e;
    strncpy(dir, "/tmp/hearth-config-XXXXXX", sizeof dir - 1);
    if (!getcwd(start_dir, sizeof start_dir) || !mkdtemp(dir)) return -1;
    str_printf(path, sizeof path, "%s/config/hearth", dir);
    if (fs_mkdirs(path, 0700, &e) || clearenv() || chdir(dir)) return -1;
    setenv("HOME", dir, 1);
    str_printf(path, sizeof path, "%s/config", dir);
    setenv("XDG_CONFIG_HOME", path, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[100];
    if (chdir(start_dir)) return -1;
    snprintf(command, sizeof command, "/bin/rm -rf '%s'", dir);
    return system(command);
}

static struct config *load(const struct config_override *overrides, size_t n)
{
    struct config *c = NULL;
    struct error e;
    if (config_load(overrides, n, &c, &e)) fail_msg("%s", e.msg);
    return c;
}

static void refuse(const char *param, const char *words)
{
    struct config *c = NULL;
    struct error e;
    assert_int_equal(config_load(NULL, 0, &c, &e), ERR_CONFIG);
    assert_null(c);
    if (!strstr(e.msg, words)) fail_msg("'%s' does not say '%s'", e.msg, words);
    assert_string_equal(e.param, param);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *c = load(NULL, 0);
    char path[FS_PATH_MAX];
    assert_string_equal(config_str(c, CONFIG_HOST), "127.0.0.1");
    assert_int_equal(config_int(c, CONFIG_PORT), 8000);
    assert_string_equal(config_str(c, CONFIG_PORT), "8000");
    assert_int_equal(config_int(c, CONFIG_MAX_BODY), 32 << 20);
    assert_int_equal(config_int(c, CONFIG_IDLE_TIMEOUT), 75000);
    assert_int_equal(config_int(c, CONFIG_GPU_LAYERS), -1);
    assert_true(config_double(c, CONFIG_DEFAULT_TEMPERATURE) == 0.7);
    assert_true(config_bool(c, CONFIG_PRELOAD));
    assert_false(config_bool(c, CONFIG_ENABLE_AGENTS));
    for (int k = 0; k < CONFIG_KEY_COUNT; k++)
        assert_int_equal(config_source_of(c, (enum config_key)k), CONFIG_FROM_DEFAULT);
    str_printf(path, sizeof path, "%s/.local/share/hearth", dir);
    assert_string_equal(config_str(c, CONFIG_DATA_DIR), path);
    str_printf(path, sizeof path, "%s/.local/share/hearth/models", dir);
    assert_string_equal(config_str(c, CONFIG_MODELS_DIR), path);
    config_free(c);
    config_free(NULL);
}

static void test_later_sources_win(void **state)
{
    (void)state;
    const struct config_override flag = {CONFIG_PORT, "5"};
    write_file("config/hearth/hearth.env", "PORT=2\nHOST=h2\nLOG_LEVEL=debug\nHEARTH_PARALLEL=2\n");
    write_file(".env", "PORT=3\nHOST=h3\nLOG_LEVEL=error\nUNKNOWN=x\n");
    setenv("PORT", "4", 1);
    setenv("HOST", "h4", 1);
    struct config *c = load(&flag, 1);
    assert_int_equal(config_int(c, CONFIG_PORT), 5);
    assert_int_equal(config_source_of(c, CONFIG_PORT), CONFIG_FROM_FLAG);
    assert_string_equal(config_str(c, CONFIG_HOST), "h4");
    assert_int_equal(config_source_of(c, CONFIG_HOST), CONFIG_FROM_ENV);
    assert_string_equal(config_str(c, CONFIG_LOG_LEVEL), "error");
    assert_int_equal(config_source_of(c, CONFIG_LOG_LEVEL), CONFIG_FROM_DOTENV);
    assert_int_equal(config_int(c, CONFIG_N_PARALLEL), 2);
    assert_int_equal(config_source_of(c, CONFIG_N_PARALLEL), CONFIG_FROM_FILE);
    config_free(c);
}

static void test_aliases(void **state)
{
    (void)state;
    enum config_key key;
    assert_true(config_find("MODEL_CACHE_DIR", &key) && key == CONFIG_MODELS_DIR);
    assert_true(config_find("PORT", &key) && key == CONFIG_PORT);
    assert_false(config_find("PORTS", &key));
    assert_string_equal(config_name(CONFIG_N_CTX), "LLAMA_CPP_N_CTX");
    /* In one source: HEARTH_ first, then the primary name, whatever the order of the lines. */
    write_file(".env", "HEARTH_PORT=1\nPORT=2\nMODEL_CACHE_DIR=/alias\nHEARTH_MODELS=/primary\n"
                       "AI_PAL_MODEL_CACHE=/other\nallowed_origins=*\nPORT=3\n");
    struct config *c = load(NULL, 0);
    assert_int_equal(config_int(c, CONFIG_PORT), 1);
    assert_string_equal(config_str(c, CONFIG_MODELS_DIR), "/primary");
    assert_string_equal(config_str(c, CONFIG_ALLOWED_ORIGINS), "*");
    config_free(c);
    setenv("HOST", "somebody-elses", 1);
    setenv("HEARTH_HOST", "ours", 1);
    setenv("LLM_MODEL_PATH", "/m.gguf", 1);
    setenv("PORT", "9", 1); /* a later source wins though the name ranks lower */
    c = load(NULL, 0);
    assert_string_equal(config_str(c, CONFIG_HOST), "ours");
    assert_string_equal(config_str(c, CONFIG_DEFAULT_MODEL), "/m.gguf");
    assert_int_equal(config_int(c, CONFIG_PORT), 9);
    config_free(c);
    setenv("LLM_MODEL_PATH", "\xFF", 1);
    refuse("DEFAULT_MODEL", "in the environment as LLM_MODEL_PATH");
}

static void test_the_last_line_of_a_file_wins(void **state)
{
    (void)state;
    write_file(".env", "PORT=1\nPORT=2\n");
    struct config *c = load(NULL, 0);
    assert_int_equal(config_int(c, CONFIG_PORT), 2);
    config_free(c);
}

static void test_wrong_values_say_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *msg;
    } cases[] = {
        {"PORT", "70000",
         "PORT is '70000' (in the environment); allowed: a whole number from 0 to 65535"},
        {"PORT", "http", "a whole number from 0 to 65535"},
        {"PORT", "127.0.0.1:8000", "a whole number"},
        {"HOST", "127.0.0.1:8000", "without a port (that is PORT's)"},
        {"HOST", "http://x", "a host name or an IP address"},
        {"HOST", "", "a host name"},
        {"HOST", "[::1]", "a host name"},
        {"LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, OFF"},
        {"LOG_LEVEL", "INF", "one of DEBUG"},
        {"HEARTH_LOG_FORMAT", "xml", "one of text, json"},
        {"HEARTH_MAX_BODY", "lots", "a size like 16M, from 1K to 1G"},
        {"HEARTH_MAX_BODY", "2G", "a size like 16M"},
        {"HEARTH_HEADER_TIMEOUT", "1x", "a time like 10s, from 100ms to 10m"},
        {"HEARTH_HEADER_TIMEOUT", "1h", "a time"},
        {"HEARTH_PRELOAD", "maybe", "true or false"},
        {"DEFAULT_TOP_P", "7", "a number from 0 to 1"},
        {"DEFAULT_TEMPERATURE", "nan", "a number from 0 to 100"},
        {"JWT_ALGORITHM", "none", "allowed: HS256"},
        {"ALLOWED_ORIGINS", "http://a,localhost", "origins like"},
        {"ALLOWED_ORIGINS", "http://localhost:3000/", "no slash"},
        {"HF_ENDPOINT", "huggingface.co", "an address like https://huggingface.co"},
        {"HF_ENDPOINT", "ftp://x", "an address like"},
        {"HF_ENDPOINT", "http:///x", "an address like"},
        {"HEARTH_GOAL", "fame", "one of balanced, privacy, cost, speed, quality"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv(cases[i].name, cases[i].value, 1);
        refuse(cases[i].name, cases[i].msg);
        unsetenv(cases[i].name);
    }
    write_file("config/hearth/hearth.env", "\n# c\nPORT=x\n");
    char where[200];
    str_printf(where, sizeof where, "PORT is 'x' (%s/config/hearth/hearth.env:3)", dir);
    refuse("PORT", where);
}

static void test_good_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } cases[] = {{"HOST", "::1"},
                 {"HOST", "0.0.0.0"},
                 {"HOST", "my-box.local"},
                 {"ALLOWED_ORIGINS", ""},
                 {"ALLOWED_ORIGINS", "*"},
                 {"ALLOWED_ORIGINS", "http://a:1, https://b ,tauri://localhost,"},
                 {"LOG_LEVEL", "Warning"},
                 {"DEBUG", "express:*"},
                 {"HF_ENDPOINT", "http://127.0.0.1:9999/mirror"},
                 {"AIHUB_URL", ""},
                 {"DATABASE_URL", "postgresql+asyncpg://u:p@h/db"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv(cases[i].name, cases[i].value, 1);
        config_free(load(NULL, 0));
        unsetenv(cases[i].name);
    }
}

static int64_t timeout_of(const char *text)
{
    setenv("HEARTH_IDLE_TIMEOUT", text, 1);
    struct config *c = load(NULL, 0);
    int64_t ms = config_int(c, CONFIG_IDLE_TIMEOUT);
    config_free(c);
    unsetenv("HEARTH_IDLE_TIMEOUT");
    return ms;
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(timeout_of("250"), 250);
    assert_int_equal(timeout_of("250ms"), 250);
    assert_int_equal(timeout_of("1.5s"), 1500);
    assert_int_equal(timeout_of("2m"), 120000);
    assert_int_equal(timeout_of("1 h"), 3600000);
    assert_int_equal(timeout_of("1d"), 86400000);
    assert_int_equal(timeout_of(""), 75000); /* empty: not set */
}

static void test_empty_number_on_the_command_line_is_wrong(void **state)
{
    (void)state;
    const struct config_override flag = {CONFIG_PORT, ""};
    struct config *c = NULL;
    struct error e;
    assert_int_equal(config_load(&flag, 1, &c, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "PORT is '' (on the command line)"));
}

static void test_unknown_key_gets_a_suggestion(void **state)
{
    (void)state;
    write_file("config/hearth/hearth.env", "HEARTH_PROT=1\n");
    refuse("HEARTH_PROT",
           "hearth.env:1: there is no setting 'HEARTH_PROT'; did you mean 'HEARTH_PORT'?");
    write_file("config/hearth/hearth.env", "FAVOURITE_COLOUR=blue\n");
    refuse("FAVOURITE_COLOUR", "`hearth config` lists them all");
}

static void test_foreign_dotenv_does_no_harm(void **state)
{
    (void)state;
    write_file(".env", "SOMEBODY=\"elses\nMULTI LINE\n}\nPORT=7\n");
    struct config *c = load(NULL, 0);
    assert_int_equal(config_int(c, CONFIG_PORT), 7);
    config_free(c);
    write_file(".env", "PORT=\"7\n");
    refuse("PORT", ".env:1: PORT: the quote is not closed on this line");
    unlink(".env");
    assert_int_equal(mkdir(".env", 0700), 0); /* a Python environment */
    config_free(load(NULL, 0));
}

static void test_dotenv_may_not_choose_the_library(void **state)
{
    (void)state;
    write_file(".env", "HEARTH_LIB=./evil\n");
    refuse("HEARTH_LIB", "not read from .env");
    unlink(".env");
    write_file("config/hearth/hearth.env", "HEARTH_LIB=/opt/lib\n");
    struct config *c = load(NULL, 0);
    assert_string_equal(config_str(c, CONFIG_LIB_DIR), "/opt/lib");
    config_free(c);
}

static void test_unreadable_settings_are_an_error(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    str_printf(path, sizeof path, "%s/config/hearth/hearth.env", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    refuse(path, "the settings can't be read");
}

static void test_paths_are_expanded(void **state)
{
    (void)state;
    char want[FS_PATH_MAX];
    struct config *c;
    setenv("HEARTH_DATA", "~/data", 1);
    setenv("HEARTH_LOG_FILE", "./x.log", 1);
    setenv("VECTORDB_PATH", "~somebody", 1);
    c = load(NULL, 0);
    str_printf(want, sizeof want, "%s/data", dir);
    assert_string_equal(config_str(c, CONFIG_DATA_DIR), want);
    str_printf(want, sizeof want, "%s/data/models", dir);
    assert_string_equal(config_str(c, CONFIG_MODELS_DIR), want);
    str_printf(want, sizeof want, "%s/x.log", dir);
    assert_string_equal(config_str(c, CONFIG_LOG_FILE), want);
    str_printf(want, sizeof want, "%s/~somebody", dir);
    assert_string_equal(config_str(c, CONFIG_VECTORDB_PATH), want);
    config_free(c);
    setenv("HEARTH_LOG_FILE", "~", 1);
    c = load(NULL, 0);
    assert_true(str_starts(config_str(c, CONFIG_LOG_FILE), dir));
    config_free(c);
    char *long_path = malloc(5001);
    memset(long_path, 'x', 5000);
    long_path[5000] = '\0';
    setenv("HEARTH_LOG_FILE", long_path, 1);
    refuse("HEARTH_LOG_FILE", "HEARTH_LOG_FILE is 'xxx");
    long_path[4090] = '\0';
    setenv("HEARTH_LOG_FILE", long_path, 1);
    refuse("HEARTH_LOG_FILE", "longer than 4095 bytes");
    free(long_path);
}

static void test_without_a_home(void **state)
{
    (void)state;
    unsetenv("HOME");
    setenv("HEARTH_DATA", "~/data", 1);
    refuse("HEARTH_DATA", "HOME is not set");
}

static void test_secrets_never_show(void **state)
{
    (void)state;
    setenv("HF_TOKEN", "hf_verysecret\xFF", 1);
    struct config *c = NULL;
    struct error e;
    assert_int_equal(config_load(NULL, 0, &c, &e), ERR_CONFIG);
    assert_null(strstr(e.msg, "verysecret"));
    setenv("HF_TOKEN", "hf_verysecret", 1);
    c = load(NULL, 0);
    assert_string_equal(config_str(c, CONFIG_HF_TOKEN), "hf_verysecret");
    for (int json = 0; json < 2; json++) {
        struct buf out;
        buf_init(&out, 1000000);
        assert_int_equal(config_render_effective(c, json != 0, &out), OK);
        assert_null(strstr(buf_str(&out), "verysecret"));
        assert_non_null(strstr(buf_str(&out), "(set)"));
        buf_free(&out);
    }
    config_free(c);
}

static void test_effective_text_can_be_read_back(void **state)
{
    (void)state;
    setenv("HEARTH_LOG_FILE", "/tmp/a # b\"c\\d", 1);
    setenv("PORT", "1234", 1);
    struct config *c = load(NULL, 0);
    struct buf out;
    buf_init(&out, 1000000);
    assert_int_equal(config_render_effective(c, false, &out), OK);
    assert_non_null(strstr(buf_str(&out), "\nPORT=1234  "));
    assert_non_null(strstr(buf_str(&out), "# environment\n"));
    assert_non_null(strstr(buf_str(&out), "# default\n"));
    unsetenv("HEARTH_LOG_FILE");
    unsetenv("PORT");
    write_file("config/hearth/hearth.env", buf_str(&out));
    struct config *again = load(NULL, 0);
    for (int k = 0; k < CONFIG_KEY_COUNT; k++)
        assert_string_equal(config_str(again, (enum config_key)k),
                            config_str(c, (enum config_key)k));
    config_free(again);
    config_free(c);
    buf_free(&out);
}

static void test_effective_json(void **state)
{
    (void)state;
    setenv("PORT", "1234", 1);
    struct config *c = load(NULL, 0);
    struct buf out;
    buf_init(&out, 1000000);
    assert_int_equal(config_render_effective(c, true, &out), OK);
    json_t *doc = json_loads(buf_str(&out), 0, NULL);
    json_t *settings = json_object_get(doc, "settings");
    assert_int_equal(json_array_size(settings), CONFIG_KEY_COUNT);
    json_t *port = json_array_get(settings, CONFIG_PORT);
    assert_string_equal(json_string_value(json_object_get(port, "name")), "PORT");
    assert_int_equal(json_integer_value(json_object_get(port, "value")), 1234);
    assert_string_equal(json_string_value(json_object_get(port, "source")), "environment");
    json_decref(doc);
    config_free(c);
    buf_free(&out);
}

/* Every line of .env.example, its comment sign taken off, is a valid setting and its default. */
static void test_dotenv_example_is_the_defaults(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000000);
    assert_int_equal(config_render_dotenv(&out), OK);
    char *text = buf_take(&out);
    int lines = 0;
    for (char *p = text; (p = strstr(p, "\n# ")); p++) {
        char *name = p + 3, *equals = strchr(name, '='), *end = strchr(name, '\n');
        size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        if (!equals || equals > end || name + len != equals) continue;
        p[1] = p[2] = ' ';
        lines++;
    }
    assert_int_equal(lines, CONFIG_KEY_COUNT);
    struct config *defaults = load(NULL, 0);
    write_file("config/hearth/hearth.env", text);
    struct config *c = load(NULL, 0);
    for (int k = 0; k < CONFIG_KEY_COUNT; k++)
        assert_string_equal(config_str(c, (enum config_key)k),
                            config_str(defaults, (enum config_key)k));
    config_free(c);
    config_free(defaults);
    free(text);
}

static void test_manual_names_every_key(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000000);
    assert_int_equal(config_render_markdown(&out), OK);
    for (int k = 0; k < CONFIG_KEY_COUNT; k++) {
        char cell[100];
        str_printf(cell, sizeof cell, "| `%s` |", config_name((enum config_key)k));
        assert_non_null(strstr(buf_str(&out), cell));
    }
    buf_free(&out);
    buf_init(&out, 100);
    assert_int_equal(config_render_markdown(&out), ERR_TOO_LARGE);
    buf_free(&out);
}

/* A copy of this program in <dir>/<place>, run as `show`, prints the two folders it finds. */
static void assert_finds(const char *place, const char *builtin, const char *lib)
{
    char path[FS_PATH_MAX], command[2 * FS_PATH_MAX], line[2][FS_PATH_MAX], want[FS_PATH_MAX];
    struct error e;
    str_printf(path, sizeof path, "%s/%s", dir, place);
    assert_int_equal(fs_mkdirs(path, 0700, &e), OK);
    str_printf(command, sizeof command, "/bin/cp /proc/%d/exe %s/x && %s/x show", (int)getpid(),
               path, path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    const char *const wanted[2] = {builtin, lib};
    for (int i = 0; i < 2; i++) {
        assert_non_null(fgets(line[i], sizeof line[i], f));
        line[i][strcspn(line[i], "\n")] = '\0';
        str_printf(want, sizeof want, "%s%s%s", wanted[i] ? dir : "", wanted[i] ? "/" : "",
                   wanted[i] ? wanted[i] : "");
        assert_string_equal(line[i], want);
    }
    assert_int_equal(pclose(f), 0);
}

static int show(void)
{
    struct config *c;
    struct error e;
    if (config_load(NULL, 0, &c, &e)) return 1;
    printf("%s\n%s\n", config_str(c, CONFIG_BUILTIN_DIR), config_str(c, CONFIG_LIB_DIR));
    config_free(c);
    return 0;
}

static void put_file(const char *folder, const char *name)
{
    char path[FS_PATH_MAX];
    struct error e;
    str_printf(path, sizeof path, "%s/%s", dir, folder);
    assert_int_equal(fs_mkdirs(path, 0700, &e), OK);
    str_printf(path, sizeof path, "%s/%s", folder, name);
    write_file(path, "x");
}

static void test_folders_beside_the_binary(void **state)
{
    (void)state;
    put_file("repo/models", "hearth-tiny.gguf");
    put_file("repo/build/lib/hearth", "libx.so");
    assert_finds("repo/build", "repo/models", "repo/build/lib/hearth");
    assert_finds("repo/build/tests", "repo/models", "repo/build/lib/hearth");
    put_file("usr/share/hearth/models", "hearth-tiny.gguf");
    put_file("usr/models", "somebody-elses");
    put_file("usr/lib/hearth", "libx.so");
    assert_finds("usr/bin", "usr/share/hearth/models", "usr/lib/hearth");
    assert_finds("alone", NULL, NULL);
    setenv("HEARTH_BUILTIN", "models", 1); /* relative to the working folder */
    assert_finds("usr/bin", "models", "usr/lib/hearth");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 2 && str_eq(argv[1], "show")) return show();
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_later_sources_win),
        TEST(test_aliases),
        TEST(test_the_last_line_of_a_file_wins),
        TEST(test_wrong_values_say_what_is_allowed),
        TEST(test_good_values),
        TEST(test_times),
        TEST(test_empty_number_on_the_command_line_is_wrong),
        TEST(test_unknown_key_gets_a_suggestion),
        TEST(test_foreign_dotenv_does_no_harm),
        TEST(test_dotenv_may_not_choose_the_library),
        TEST(test_unreadable_settings_are_an_error),
        TEST(test_paths_are_expanded),
        TEST(test_without_a_home),
        TEST(test_secrets_never_show),
        TEST(test_effective_text_can_be_read_back),
        TEST(test_effective_json),
        TEST(test_dotenv_example_is_the_defaults),
        TEST(test_manual_names_every_key),
        TEST(test_folders_beside_the_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
