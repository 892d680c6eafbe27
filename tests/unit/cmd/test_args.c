/* The option parser, on a verb of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/cmd_int.h"

static const struct cmd_option options[] = {
    {"model", 'm', "NAME", CMD_NO_KEY, NULL, "A model.", COMPLETE_MODEL},
    {"port", 'p', "PORT", CONFIG_PORT, NULL, NULL, COMPLETE_NONE},
    {"no-preload", 0, NULL, CONFIG_PRELOAD, "false", "Not.", COMPLETE_NONE},
    {"json", 'j', NULL, CMD_NO_KEY, NULL, "JSON.", COMPLETE_NONE},
    {"yes", 'y', NULL, CMD_NO_KEY, NULL, "Yes.", COMPLETE_NONE},
    {"number", 'n', "N", CMD_NO_KEY, NULL, "A number.", COMPLETE_NONE},
};

static const struct cmd_verb verb = {
    .name = "test",
    .args = "[A [B]]",
    .summary = "Test",
    .details = "",
    .words = "",
    .max_args = 2,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
};

enum { ARGV_MAX = 160 };

/* argv as one string, cut at blanks; kept until the next parse. */
static char words[4096];
static struct cmd_args args;
static struct error error;

static enum err parse(const char *line)
{
    char *argv[ARGV_MAX];
    int argc = 0;
    strncpy(words, line, sizeof(words) - 1);
    for (char *p = strtok(words, " "); p; p = strtok(NULL, " ")) argv[argc++] = p;
    memset(&error, 0, sizeof(error));
    return cmd_args_parse(&verb, argc, argv, &args, &error);
}

static void expect_error(const char *line, const char *part)
{
    assert_int_equal(parse(line), ERR_INVALID);
    if (!strstr(error.msg, part)) fail_msg("'%s' is not in: %s", part, error.msg);
    cmd_args_free(&args);
}

static void test_long_and_short_forms(void **state)
{
    (void)state;
    static const char *const lines[] = {"--model tiny",     "--model=tiny", "-m tiny",
                                        "-mtiny",           "-jm tiny",     "-jymtiny",
                                        "--model a -m tiny"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        assert_int_equal(parse(lines[i]), OK);
        assert_string_equal(cmd_opt(&args, "model"), "tiny");
        cmd_args_free(&args);
    }
    assert_int_equal(parse("--model="), OK);
    assert_string_equal(cmd_opt(&args, "model"), "");
    cmd_args_free(&args);
    assert_int_equal(parse("-jy"), OK);
    assert_true(cmd_flag(&args, "json") && cmd_flag(&args, "yes") && !cmd_flag(&args, "model"));
    cmd_args_free(&args);
}

static void test_arguments_stand_anywhere(void **state)
{
    (void)state;
    assert_int_equal(parse("one --json two"), OK);
    assert_int_equal(args.n_rest, 2);
    assert_string_equal(args.rest[0], "one");
    assert_string_equal(args.rest[1], "two");
    char *joined = cmd_rest_joined(&args);
    assert_string_equal(joined, "one two");
    free(joined);
    cmd_args_free(&args);

    assert_int_equal(parse("-- --json -"), OK);
    assert_false(cmd_flag(&args, "json"));
    assert_string_equal(args.rest[0], "--json");
    assert_string_equal(args.rest[1], "-");
    cmd_args_free(&args);

    assert_int_equal(parse("-"), OK);
    assert_int_equal(args.n_rest, 1);
    cmd_args_free(&args);
    assert_int_equal(parse(""), OK);
    assert_null(cmd_rest_joined(&args));
    cmd_args_free(&args);
}

static void test_values_may_look_like_options(void **state)
{
    (void)state;
    assert_int_equal(parse("--number -5"), OK);
    assert_string_equal(cmd_opt(&args, "number"), "-5");
    cmd_args_free(&args);
    assert_int_equal(parse("--model --what"), OK); /* no option of that name */
    assert_string_equal(cmd_opt(&args, "model"), "--what");
    cmd_args_free(&args);
    expect_error("--model --json", "wants a value");
}

static void test_repeated_values(void **state)
{
    (void)state;
    assert_int_equal(parse("-n 1 -n 2 -n 3"), OK);
    assert_string_equal(cmd_opt(&args, "number"), "3");
    assert_string_equal(cmd_opt_nth(&args, "number", 0), "1");
    assert_string_equal(cmd_opt_nth(&args, "number", 2), "3");
    assert_null(cmd_opt_nth(&args, "number", 3));
    cmd_args_free(&args);
}

static void test_settings(void **state)
{
    (void)state;
    assert_int_equal(parse("--port 9 --no-preload --set HOST=::1 --set LOG_LEVEL="), OK);
    assert_int_equal(args.n_overrides, 4);
    assert_int_equal(args.overrides[0].key, CONFIG_PORT);
    assert_string_equal(args.overrides[0].value, "9");
    assert_int_equal(args.overrides[1].key, CONFIG_PRELOAD);
    assert_string_equal(args.overrides[1].value, "false");
    assert_int_equal(args.overrides[2].key, CONFIG_HOST);
    assert_string_equal(args.overrides[2].value, "::1");
    assert_string_equal(args.overrides[3].value, "");
    cmd_args_free(&args);
    /* An alias is the same setting. */
    assert_int_equal(parse("--set HEARTH_PORT=7"), OK);
    assert_int_equal(args.overrides[0].key, CONFIG_PORT);
    cmd_args_free(&args);
    expect_error("--set PORT", "KEY=VALUE");
    expect_error("--set =1", "KEY=VALUE");
    expect_error("--set PROT=1", "did you mean PORT?");
    expect_error("--set QQQQQQQQQQ=1", "hearth config");
}

static void test_errors_name_what_is_wrong(void **state)
{
    (void)state;
    expect_error("--modle x", "did you mean --model?");
    expect_error("--zzzzzzzz", "unknown option --zzzzzzzz");
    expect_error("-x", "unknown option -x");
    expect_error("-jx", "unknown option -x in '-jx'");
    expect_error("--model", "--model NAME");
    expect_error("-m", "-m NAME");
    expect_error("--json=1", "takes no value, got '1'");
    expect_error("a b c", "unexpected argument 'c'");
}

static void test_numbers(void **state)
{
    (void)state;
    int64_t i = 42;
    double d = 1.5;
    assert_int_equal(parse(""), OK);
    assert_int_equal(cmd_opt_int(&args, "number", 0, 9, &i, &error), OK);
    assert_int_equal(i, 42); /* absent: left alone */
    cmd_args_free(&args);
    assert_int_equal(parse("-n 7"), OK);
    assert_int_equal(cmd_opt_int(&args, "number", 0, 9, &i, &error), OK);
    assert_int_equal(i, 7);
    assert_int_equal(cmd_opt_double(&args, "number", 0, 9, &d, &error), OK);
    assert_true(d == 7.0);
    assert_int_equal(cmd_opt_int(&args, "number", 8, 9, &i, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "'7'"));
    assert_non_null(strstr(error.msg, "from 8 to 9"));
    cmd_args_free(&args);
    static const char *const bad[] = {"-n 7x", "-n 0x7", "-n --x", "-n nan", "-n inf", "-n="};
    for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
        assert_int_equal(parse(bad[k]), OK);
        assert_int_equal(cmd_opt_int(&args, "number", 0, 9, &i, &error), ERR_INVALID);
        assert_int_equal(cmd_opt_double(&args, "number", 0, 9, &d, &error), ERR_INVALID);
        cmd_args_free(&args);
    }
}

static void test_too_many_options(void **state)
{
    (void)state;
    char line[4096] = "";
    for (int i = 0; i < CMD_VALUES_MAX; i++) strcat(line, "-j ");
    assert_int_equal(parse(line), OK);
    cmd_args_free(&args);
    strcat(line, "-j");
    expect_error(line, "more than 128 options");
}

static void test_minimum_of_arguments(void **state)
{
    (void)state;
    struct cmd_verb strict = verb;
    char *none[] = {NULL}, *help[] = {(char[]){"--help"}};
    strict.min_args = 1;
    assert_int_equal(cmd_args_parse(&strict, 0, none, &args, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "[A [B]]"));
    cmd_args_free(&args);
    assert_int_equal(cmd_args_parse(&strict, 1, help, &args, &error), OK); /* help needs none */
    cmd_args_free(&args);
}

static void test_nearest_word(void **state)
{
    (void)state;
    static const char *const names[] = {"serve", "chat", "run", "models"};
    assert_string_equal(cmd_nearest("sevre", names, 4), "serve");
    assert_string_equal(cmd_nearest("caht", names, 4), "chat");
    assert_string_equal(cmd_nearest("mod", names, 4), "models");
    assert_string_equal(cmd_nearest("MODELS", names, 4), "models");
    assert_null(cmd_nearest("xyzzy", names, 4));
    assert_null(cmd_nearest("", names, 4));
    char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_null(cmd_nearest(longest, names, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_and_short_forms),
        cmocka_unit_test(test_arguments_stand_anywhere),
        cmocka_unit_test(test_values_may_look_like_options),
        cmocka_unit_test(test_repeated_values),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_errors_name_what_is_wrong),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_too_many_options),
        cmocka_unit_test(test_minimum_of_arguments),
        cmocka_unit_test(test_nearest_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
