/* The catalogue: the one that is shipped, how names are found, and files that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "models/catalog.h"
#include "unit/models/gguf_make.h"

static struct error error;

static struct catalog *shipped(void)
{
    struct catalog *c;
    enum err e = catalog_load(HEARTH_SOURCE_DIR "/models/catalog.json", &c, &error);
    if (e) fail_msg("%s", error.msg);
    return c;
}

/* "llama3.2:1b Q4_K_M", "llama3.2:1b -" without a quantisation, or the error's name. */
static void expect(const struct catalog *c, const char *name, const char *wanted)
{
    const struct catalog_model *m;
    const struct catalog_file *f;
    char got[128];
    enum err e = catalog_find(c, name, &m, &f, &error);
    if (e)
        str_copy(got, sizeof(got), err_name(e));
    else
        str_printf(got, sizeof(got), "%s %s", m->name, f ? f->quant : "-");
    if (!str_eq(got, wanted)) fail_msg("%s is %s instead of %s", name, got, wanted);
}

static void names_are_found_as_people_write_them(void **state)
{
    (void)state;
    struct catalog *c = shipped();
    expect(c, "llama3.2:1b", "llama3.2:1b -");
    expect(c, "llama3.2", "llama3.2:3b -");
    expect(c, "llama3.2:latest", "llama3.2:3b -");
    expect(c, "llama3.2:1b:latest", "llama3.2:1b -");
    expect(c, "Llama3.2-1B", "llama3.2:1b -");
    expect(c, "llama3.2:1b:q8_0", "llama3.2:1b Q8_0");
    expect(c, "llama3.2:1b-q8_0", "llama3.2:1b Q8_0");
    expect(c, "llama3.2:1b-instruct-q4_K_M", "llama3.2:1b Q4_K_M");
    expect(c, "phi-2", "phi-2 -");
    expect(c, "phi-3", "phi-3:mini -");
    expect(c, "phi3", "phi-3:mini -");
    expect(c, "phi-3-mini", "phi-3:mini -");
    expect(c, "phi-3.5", "phi-3.5:mini -");
    expect(c, "phi-4", "phi-4:14b -");
    expect(c, "phi-4-mini", "phi-4:mini -");
    expect(c, "gemma3", "gemma3:4b -");
    expect(c, "tinyllama", "tinyllama -");
    expect(c, "nomic-embed-text:latest", "nomic-embed-text -");
    expect(c, "bge-reranker-v2-m3", "bge-reranker-v2-m3 -");
    expect(c, "all-minilm", "all-minilm -");
    expect(c, "llama3.2:1b:q9", "ERR_INVALID");
    assert_non_null(strstr(error.msg, "there are: Q4_K_M, Q5_K_M, Q6_K, Q8_0"));
    expect(c, "llama9", "ERR_NO_MODEL");
    expect(c, "", "ERR_NO_MODEL");
    expect(c, ":", "ERR_NO_MODEL");
    char longest[5000];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    expect(c, longest, "ERR_NO_MODEL");
    catalog_free(c);
}

/* Every name and alias leads to its own model, alone and with each quantisation. */
static void no_name_hides_another(void **state)
{
    (void)state;
    struct catalog *c = shipped();
    size_t n;
    const struct catalog_model *models = catalog_models(c, &n);
    assert_true(n >= 30);
    for (size_t i = 0; i < n; i++) {
        char name[128], wanted[128];
        const struct catalog_model *m = &models[i];
        assert_non_null(strchr(m->repo, '/'));
        assert_true(m->context > 0 && *m->params && *m->license);
        str_printf(wanted, sizeof(wanted), "%s -", m->name);
        expect(c, m->name, wanted);
        for (size_t k = 0; k < m->n_aliases; k++) expect(c, m->aliases[k], wanted);
        for (size_t k = 0; k < m->n_files; k++) {
            str_printf(name, sizeof(name), "%s:%s", m->name, m->files[k].quant);
            str_printf(wanted, sizeof(wanted), "%s %s", m->name, m->files[k].quant);
            expect(c, name, wanted);
            assert_true(str_ends(m->files[k].file, ".gguf"));
            assert_true(m->files[k].bytes > 1000000);
        }
    }
    catalog_free(c);
}

static void the_documentation_lists_the_same(void **state)
{
    (void)state;
    struct catalog *c = shipped();
    struct buf doc;
    size_t n, rows = 0;
    const struct catalog_model *models = catalog_models(c, &n);
    buf_init(&doc, 1 << 20);
    assert_int_equal(fs_read_file(HEARTH_SOURCE_DIR "/docs/models.md", 1 << 20, &doc, &error), OK);
    const char *table = strstr(buf_str(&doc), "## The catalogue");
    assert_non_null(table);
    for (const char *p = table; (p = strstr(p, "\n| `")); p++) rows++;
    assert_int_equal(rows, n);
    for (size_t i = 0; i < n; i++) {
        char begin[128], end[256];
        str_printf(begin, sizeof(begin), "\n| `%s` |", models[i].name);
        str_printf(end, sizeof(end), "| %s | %s |", models[i].license, models[i].repo);
        const char *row = strstr(table, begin);
        if (!row) fail_msg("docs/models.md lacks %s", models[i].name);
        const char *stop = strchr(row + 1, '\n'), *file = strstr(row, models[i].files[0].quant);
        const char *rest = strstr(row, end);
        if (!file || file > stop || !rest || rest > stop)
            fail_msg("docs/models.md is wrong about %s", models[i].name);
    }
    buf_free(&doc);
    catalog_free(c);
}

static void close_names_are_suggested(void **state)
{
    (void)state;
    struct catalog *c = shipped();
    static const struct {
        const char *name, *suggested;
    } cases[] = {{"llma3.2", "llama3.2:1b"},
                 /* a family with a typing error */ {"lama3.2:1b", "llama3.2:1b"},
                 {"tinylama", "tinyllama"},
                 {"qwen2.5-32b", "qwen2.5:3b"},
                 {"nomic-embed", "nomic-embed-text"},
                 {"LLAMA3.2", "llama3.2:1b"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        buf_init(&out, 1000);
        catalog_suggest(c, cases[i].name, 3, &out);
        if (!strstr(buf_str(&out), cases[i].suggested))
            fail_msg("%s: suggested %s", cases[i].name, buf_str(&out));
        buf_free(&out);
    }
    struct buf out;
    buf_init(&out, 1000);
    catalog_suggest(c, "xyzzy-of-another-world", 3, &out);
    assert_string_equal(buf_str(&out), "");
    catalog_free(c);
    assert_int_equal(name_distance("kitten", "sitting"), 3);
    assert_int_equal(name_distance("Phi-3", "phi3"), 0);
    assert_int_equal(name_distance("", "abc"), 3);
}

static void wrong_files_are_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", ""},
        {"[]", "not a JSON object"},
        {"{\"models\": [3]}", "/models/0 must be an object"},
        {"{\"models\": [{\"name\": \"a\"}]}", "needs name, repo and files"},
        {"{\"models\": [{\"name\": 5}]}", "name"},
        {"{\"models\": [{\"name\":\"a\",\"repo\":\"b/c\",\"files\":{}}]}",
         "lacks the default Q4_K_M"},
        {"{\"models\": [{\"name\":\"a\",\"repo\":\"b/c\",\"kind\":\"cat\",\"files\":{}}]}",
         "allowed are chat"},
        {"{\"models\": [{\"name\":\"a\",\"repo\":\"b/c\",\"files\":{\"Q4_K_M\":{}}}]}",
         "/models/0/files/Q4_K_M has no \"file\""},
        {"{\"models\": [{\"name\":\"a\",\"repo\":\"b/c\",\"aliases\":[1],\"files\":{}}]}",
         "an alias is not a string"},
    };
    char dir[64], path[96];
    struct catalog *c;
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/catalog.json", dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_write(path, cases[i].text, strlen(cases[i].text));
        assert_int_not_equal(catalog_load(path, &c, &error), OK);
        if (!strstr(error.msg, cases[i].says)) fail_msg("case %zu: %s", i, error.msg);
        assert_non_null(strstr(error.msg, path));
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(catalog_load(path, &c, &error), ERR_NOT_FOUND);
    make_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_as_people_write_them),
        cmocka_unit_test(no_name_hides_another),
        cmocka_unit_test(the_documentation_lists_the_same),
        cmocka_unit_test(close_names_are_suggested),
        cmocka_unit_test(wrong_files_are_refused_with_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
