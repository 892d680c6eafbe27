/* Go's templates to Jinja: what each thing becomes, and what is refused. That the result renders as
 * Ollama would render it is tests/e2e/ollama-models.test.mjs's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/gotmpl.h"

static struct error error;

/* A template over messages begins with what all of them have. */
static void expect(const char *go, const char *jinja)
{
    struct buf out;
    char text[4096];
    buf_init(&out, GOTMPL_MAX);
    str_printf(text, sizeof text, "{{/* .Messages */}}%s", go);
    if (template_to_jinja(text, &out, &error)) fail_msg("%s: %s", go, error.msg);
    const char *last =
        strstr(buf_str(&out), "{% set ns.prompt = m.content %}{% endif %}{% endfor %}");
    assert_non_null(last);
    last += strlen("{% set ns.prompt = m.content %}{% endif %}{% endfor %}");
    assert_string_equal(last, jinja);
    buf_free(&out);
}

static void refuse(const char *go, const char *words)
{
    struct buf out;
    buf_init(&out, GOTMPL_MAX);
    if (template_to_jinja(go, &out, &error) != ERR_INVALID) fail_msg("%s was taken", go);
    if (!strstr(error.msg, words)) fail_msg("%s: %s", go, error.msg);
    buf_free(&out);
}

static void text_and_white_space(void **state)
{
    (void)state;
    expect("a\n \"b\"\\", "{{ \"a\\n \\\"b\\\"\\\\\" }}");
    expect("a  {{- .System }}  b", "{{ \"a\" }}{{ ns.system }}{{ \"  b\" }}");
    expect("a  {{ .System -}} \n b", "{{ \"a  \" }}{{ ns.system }}{{ \"b\" }}");
    expect("a{{/* a comment }} */}}b", "{{ \"a\" }}{{ \"b\" }}");
    expect("{{- /* trimmed */ -}} b", "{{ \"b\" }}");
}

static void loops_and_conditions(void **state)
{
    (void)state;
    expect("{{ range .Messages }}{{ .Role }}{{ end }}",
           "{% for d1 in messages %}{{ d1.role }}{% endfor %}");
    expect("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ end }}",
           "{% for d1 in messages %}{% set ns.v_i = loop.index0 %}{% set ns.v_m = d1 %}{{ ns.v_i }}"
           "{{ ns.v_m.content }}{% endfor %}");
    expect("{{ if .System }}a{{ else if .Tools }}b{{ else }}c{{ end }}",
           "{% if ns.system %}{{ \"a\" }}{% elif (tools if tools is defined and tools else []) %}"
           "{{ \"b\" }}{% else %}{{ \"c\" }}{% endif %}");
    expect("{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Name }}{{ end }}{{ .Content "
           "}}{{ end }}",
           "{% for d1 in messages %}{% for d2 in d1.tool_calls %}{{ d2.function.name }}{% endfor %}"
           "{{ d1.content }}{% endfor %}");
    expect("{{ range $k, $v := .Function.Arguments }}{{ end }}{{ range .Messages }}{{ break }}{{ "
           "end }}",
           "{% for kd1, d1 in \"\".arguments.items() %}{% set ns.v_k = kd1 %}{% set ns.v_v = d1 "
           "%}{% endfor %}"
           "{% for d2 in messages %}{% break %}{% endfor %}");
    expect("{{ with .System }}{{ . }}{{ end }}", "{% if ns.system %}{% set ns.d1 = ns.system %}{{ "
                                                 "(ns.d1 if ns.d1 is string else ns.d1 | tojson) }}"
                                                 "{% endif %}");
}

static void expressions(void **state)
{
    (void)state;
    expect("{{ if eq .Role \"a\" `b` }}{{ end }}",
           "{% if (\"\" == \"a\" or \"\" == \"b\") %}{% endif %}");
    expect("{{ if and (not .System) (or .Prompt (gt (len .Messages) 1)) }}{{ end }}",
           "{% if (((not ns.system)) and ((ns.prompt or ((((messages | length)) > 1))))) %}{% "
           "endif %}");
    expect("{{ $last := eq (len (slice $.Messages 2)) 1 }}",
           "{% set ns.v_last = ((((messages[2:]) | length)) == 1) %}");
    expect("{{ .Messages | len }}", "{{ (messages | length) }}");
    expect("{{ index .Messages 0 }}", "{{ messages[0] }}");
    expect("{{ json .Tools }}",
           "{{ ((tools if tools is defined and tools else []) if (tools if tools is "
           "defined and tools else []) is string else (tools if tools is defined and "
           "tools else []) | tojson) }}");
    expect("{{ printf \"<%s>\" .System }}", "{{ (\"<\" ~ ns.system ~ \">\") }}");
    expect("{{ printf \"\\\"%s\\\"\" .System }}", "{{ (\"\\\"\" ~ ns.system ~ \"\\\"\") }}");
    expect("{{ if .Think }}{{ .ThinkLevel }}{{ end }}",
           "{% if (enable_thinking is defined and enable_thinking) %}"
           "{{ (reasoning_effort if reasoning_effort is defined else \"\") }}{% endif %}");
}

static void older_ones_are_cut_behind_the_response(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, GOTMPL_MAX);
    assert_int_equal(
        template_to_jinja("{{ .Prompt }}A{{ .Response }}<END>{{ if .System }}x{{ end }}", &out,
                          &error),
        OK);
    const char *last = strstr(buf_str(&out), "{% endfor %}");
    assert_non_null(strstr(buf_str(&out), "<END>")); /* between exchanges it is there */
    assert_non_null(last);
    assert_string_equal(last, "{% endfor %}{{ ns.prompt }}{{ \"A\" }}{{ ns.response }}");
    buf_clear(&out);
    assert_int_equal(template_to_jinja("{{ .Prompt }}", &out, &error), OK);
    assert_true(str_ends(buf_str(&out), "{{ ns.prompt }}{{ ns.response }}"));
    buf_free(&out);
}

static void what_is_not_understood(void **state)
{
    (void)state;
    refuse("a\n{{ frob . }}", "line 2: \"frob\"");
    refuse("{{ if .System }}", "a block has no end");
    refuse("{{ end }}", "an end without");
    refuse("{{ .System", "an action has no end");
    refuse("{{ \"x }}", "an action has no end");
    refuse("{{ template \"x\" }}", "templates in a template");
    refuse("{{ .System .Prompt }}", "there is more");
    /* A bracket is no literal: its text would be taken for what stands between the quotes. */
    refuse("{{ printf (\"%s\") .System }}", "literal format");
    refuse("{{ printf ((\"a\")) }}", "literal format");
    refuse("{{ eq 1 }}", "too few");
    refuse("{{ . }}", "outside of range");
    refuse("{{ else }}", "else without if");
    char deep[4096] = "";
    for (int i = 0; i < 100; i++) strcat(deep, "{{ if .System }}");
    refuse(deep, "nested too deeply");
    memset(deep, 0, sizeof deep);
    strcat(deep, "{{ ");
    for (int i = 0; i < 500; i++) strcat(deep, "(");
    strcat(deep, " }}");
    refuse(deep, "nested too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_white_space),
        cmocka_unit_test(loops_and_conditions),
        cmocka_unit_test(expressions),
        cmocka_unit_test(older_ones_are_cut_behind_the_response),
        cmocka_unit_test(what_is_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
