/* Help, docs, man page and completions, generated from the tables: complete and well-formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/cmd_int.h"

/* Calls fn for every option of every verb. */
static void each_option(void (*fn)(const struct cmd_verb *verb, const struct cmd_option *o))
{
    for (size_t v = 0; cmd_verbs[v]; v++) {
        const struct cmd_option *table;
        size_t n;
        for (size_t t = 0; cmd_option_table(cmd_verbs[v], t, &table, &n); t++)
            for (size_t i = 0; i < n; i++) fn(cmd_verbs[v], &table[i]);
    }
}

static void check_option(const struct cmd_verb *verb, const struct cmd_option *o)
{
    if (!o->help && o->key == CMD_NO_KEY) fail_msg("%s --%s has no help", verb->name, o->name);
    if (o->key != CMD_NO_KEY && !o->arg && !o->flag_value)
        fail_msg("%s --%s sets no value", verb->name, o->name);
    /* Names and letters are unique within a verb. */
    const struct cmd_option *table;
    size_t n, same = 0, letters = 0;
    for (size_t t = 0; cmd_option_table(verb, t, &table, &n); t++) {
        for (size_t i = 0; i < n; i++) {
            same += strcmp(table[i].name, o->name) == 0;
            letters += o->letter && table[i].letter == o->letter;
        }
    }
    if (same != 1) fail_msg("%s has --%s twice", verb->name, o->name);
    if (letters > 1) fail_msg("%s has -%c twice", verb->name, o->letter);
}

static void test_tables_are_sound(void **state)
{
    (void)state;
    for (size_t v = 0; cmd_verbs[v]; v++) {
        const struct cmd_verb *verb = cmd_verbs[v];
        assert_non_null(verb->run);
        assert_non_null(verb->args);
        assert_non_null(verb->details);
        assert_non_null(verb->words);
        assert_ptr_equal(cmd_verb_find(verb->name), verb);
        size_t len = strlen(verb->summary);
        assert_true(len > 0 && verb->summary[len - 1] != '.');
    }
    assert_null(cmd_verb_find("no-such-verb"));
    each_option(check_option);
}

static void test_help_fits_80_columns_and_names_all_options(void **state)
{
    (void)state;
    for (size_t v = 0; cmd_verbs[v]; v++) {
        struct buf help;
        buf_init(&help, 1 << 20);
        assert_int_equal(cmd_render_help(cmd_verbs[v], &help), OK);
        for (const char *line = help.data; *line; line += strcspn(line, "\n") + 1)
            if (strcspn(line, "\n") > 80 && line[0] != ' ')
                fail_msg("too wide: %.*s", (int)strcspn(line, "\n"), line);
        const struct cmd_option *table;
        size_t n;
        for (size_t t = 0; cmd_option_table(cmd_verbs[v], t, &table, &n); t++) {
            for (size_t i = 0; i < n; i++) {
                char name[64];
                snprintf(name, sizeof(name), "--%s", table[i].name);
                assert_non_null(strstr(help.data, name));
            }
        }
        buf_free(&help);
    }
}

static void test_setting_options_say_their_setting(void **state)
{
    (void)state;
    static const struct {
        const char *option, *words;
    } cases[] = {
        {"port", "(setting PORT, default 8000)"},
        {"no-preload", "(HEARTH_PRELOAD=false)"},
        {"model", "(setting DEFAULT_MODEL)"},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        struct buf help;
        buf_init(&help, 4096);
        for (size_t i = 0; i < verb_serve.n_options; i++)
            if (strcmp(verb_serve.options[i].name, cases[c].option) == 0)
                cmd_option_help(&verb_serve.options[i], &help);
        assert_non_null(strstr(buf_str(&help), cases[c].words));
        buf_free(&help);
    }
}

static void test_markdown_has_a_section_for_each_verb(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(cmd_render_markdown(&out), OK);
    for (size_t v = 0; cmd_verbs[v]; v++) {
        char title[64];
        snprintf(title, sizeof(title), "\n## hearth %s\n", cmd_verbs[v]->name);
        assert_non_null(strstr(out.data, title));
    }
    /* Each row of a table has two cells: a bar inside one is escaped. */
    for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1) {
        if (line[0] != '|') continue;
        int bars = 0;
        for (size_t i = 0; line[i] != '\n'; i++) bars += line[i] == '|' && line[i - 1] != '\\';
        assert_int_equal(bars, 3);
    }
    buf_free(&out);
}

/* Whether `command < text` succeeds; skipped (true) where the program is missing. */
static bool accepts(const char *program, const char *command, const struct buf *text)
{
    char check[128];
    snprintf(check, sizeof(check), "command -v %s >/dev/null 2>&1", program);
    if (system(check) != 0) return true;
    FILE *f = popen(command, "w");
    assert_non_null(f);
    fwrite(text->data, 1, text->len, f);
    return pclose(f) == 0;
}

static void test_man_page_is_troff(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(cmd_render_man(&out), OK);
    assert_non_null(strstr(out.data, ".TH HEARTH 1"));
    assert_non_null(strstr(out.data, ".SH EXIT STATUS"));
    /* Only known macros begin a line with a dot; text that does is protected. */
    static const char *const macros[] = {".TH", ".SH", ".SS", ".TP", ".B ",
                                         ".I ", ".PP", ".nf", ".fi", ".\\\""};
    for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1) {
        if (line[0] != '.') continue;
        bool known = false;
        for (size_t i = 0; i < sizeof(macros) / sizeof(*macros); i++)
            known = known || strncmp(line, macros[i], strlen(macros[i])) == 0;
        if (!known) fail_msg("no macro: %.*s", (int)strcspn(line, "\n"), line);
    }
    assert_true(accepts("groff", "groff -man -Tutf8 -ww -z 2>&1 | (! grep .)", &out));
    buf_free(&out);
}

static void test_completions_are_scripts(void **state)
{
    (void)state;
    struct buf out;
    struct error error;
    buf_init(&out, 1 << 20);
    assert_int_equal(cmd_render_completion("bash", &out, &error), OK);
    assert_true(accepts("bash", "bash -n", &out));
    assert_non_null(strstr(out.data, "complete -F _hearth hearth"));
    buf_clear(&out);
    assert_int_equal(cmd_render_completion("zsh", &out, &error), OK);
    assert_true(accepts("zsh", "zsh -n", &out));
    assert_int_equal(strncmp(out.data, "#compdef hearth\n", 16), 0);
    buf_clear(&out);
    assert_int_equal(cmd_render_completion("fish", &out, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "'fish'"));
    buf_free(&out);
}

/* bash itself completes with the script. */
static void test_bash_completes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *want;
    } cases[] = {
        {"hearth se", "serve"},
        {"hearth serve --por", "--port"},
        {"hearth chat --js", "--json-schema"},
        {"hearth models sh", "show"},
        {"hearth completion z", "zsh"},
        {"hearth help do", "doctor"},
        {"hearth models ", "list show rm import catalog"},
        /* Names with colons: bash replaces only what stands behind the colon. */
        {"hearth pull b", "bge:m3"},
        {"hearth pull llama3.2:1", "1b"},
        {"hearth chat --model llama3.2:3", "3b"},
    };
    struct buf out;
    struct error error;
    buf_init(&out, 1 << 20);
    assert_int_equal(cmd_render_completion("bash", &out, &error), OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf script;
        char tail[512];
        buf_init(&script, 1 << 20);
        buf_append(&script, out.data, out.len);
        snprintf(tail, sizeof(tail),
                 "hearth() { printf 'llama3.2:1b\\nllama3.2:3b\\nbge:m3\\n'; }\n"
                 "COMP_LINE='%s'; COMP_POINT=${#COMP_LINE}; _hearth\n"
                 "[ \"${COMPREPLY[*]}\" = '%s' ]\n",
                 cases[i].line, cases[i].want);
        buf_puts(&script, tail);
        if (!accepts("bash", "bash", &script)) fail_msg("%s -> %s", cases[i].line, cases[i].want);
        buf_free(&script);
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_sound),
        cmocka_unit_test(test_help_fits_80_columns_and_names_all_options),
        cmocka_unit_test(test_setting_options_say_their_setting),
        cmocka_unit_test(test_markdown_has_a_section_for_each_verb),
        cmocka_unit_test(test_man_page_is_troff),
        cmocka_unit_test(test_completions_are_scripts),
        cmocka_unit_test(test_bash_completes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
