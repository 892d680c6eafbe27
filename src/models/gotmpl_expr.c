/* What stands in an action of Go's templates, as Jinja: see gotmpl.c. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/gotmpl_int.h"

enum err gotmpl_fail(struct translator *t, const char *what)
{
    int line = 1;
    for (const char *p = t->start; p < t->at; p++) line += *p == '\n';
    return err_set(t->error, ERR_INVALID, "the template's line %d: %s", line, what);
}

void gotmpl_put_quoted(struct buf *out, const char *s, size_t len)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        switch (s[i]) {
        case '"': buf_puts(out, "\\\""); break;
        case '\\': buf_puts(out, "\\\\"); break;
        case '\n': buf_puts(out, "\\n"); break;
        case '\r': buf_puts(out, "\\r"); break;
        case '\t': buf_puts(out, "\\t"); break;
        default: buf_putc(out, s[i]); break;
        }
    }
    buf_putc(out, '"');
}

/* ---- words of an action -------------------------------------------------------------------- */

void gotmpl_skip_blanks(struct translator *t)
{
    while (t->item < t->item_end && gotmpl_is_blank(*t->item)) t->item++;
}

bool gotmpl_take_char(struct translator *t, char c)
{
    gotmpl_skip_blanks(t);
    if (t->item >= t->item_end || *t->item != c) return false;
    t->item++;
    return true;
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

size_t gotmpl_take_word(struct translator *t, char *dst, size_t size)
{
    size_t n = 0;
    while (t->item < t->item_end && is_word_char(*t->item)) {
        if (n + 1 < size) dst[n++] = *t->item;
        t->item++;
    }
    dst[n] = '\0';
    return n;
}

bool gotmpl_take_keyword(struct translator *t, const char *word)
{
    gotmpl_skip_blanks(t);
    size_t len = strlen(word);
    if ((size_t)(t->item_end - t->item) < len || strncmp(t->item, word, len) != 0) return false;
    if (t->item + len < t->item_end && is_word_char(t->item[len])) return false;
    t->item += len;
    return true;
}

static enum err take_string(struct translator *t, struct buf *out)
{
    char quote = *t->item++;
    struct buf text;
    buf_init(&text, EXPR_MAX);
    while (t->item < t->item_end && *t->item != quote) {
        char c = *t->item++;
        if (c == '\\' && quote != '`' && t->item < t->item_end) {
            c = *t->item++;
            c = (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
        }
        buf_putc(&text, c);
    }
    bool closed = t->item < t->item_end;
    if (closed) t->item++;
    gotmpl_put_quoted(out, buf_str(&text), text.len);
    enum err e = text.err;
    buf_free(&text);
    return closed && !e ? OK : gotmpl_fail(t, "a string has no end");
}

/* ---- fields -------------------------------------------------------------------------------- */

/* ToolCallID -> tool_call_id */
static void snake_case(char *dst, size_t size, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; name[i] && n + 2 < size; i++) {
        bool upper = isupper((unsigned char)name[i]);
        if (upper && i && islower((unsigned char)name[i - 1])) dst[n++] = '_';
        dst[n++] = (char)tolower((unsigned char)name[i]);
    }
    dst[n] = '\0';
}

/* The root's: what the engine gives to templates. */
static void put_root_field(struct translator *t, const char *name, struct buf *out)
{
    static const struct {
        const char *go, *jinja;
    } known[] = {
        {"Messages", "messages"},
        {"Tools", "(tools if tools is defined and tools else [])"},
        {"System", "ns.system"},
        {"Prompt", "ns.prompt"},
        {"Think", "(enable_thinking is defined and enable_thinking)"},
        {"ThinkLevel", "(reasoning_effort if reasoning_effort is defined else \"\")"},
        {"IsThinkSet", "(enable_thinking is defined)"},
    };
    if (str_eq(name, "Response")) {
        t->saw_response = true;
        buf_puts(out, t->exchange ? "ns.response" : "\"\"");
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(name, known[i].go)) {
            buf_puts(out, known[i].jinja);
            return;
        }
    buf_puts(out, "\"\""); /* Suffix, First, ...: never there */
}

static void put_field(const char *name, struct buf *out)
{
    static const struct {
        const char *go, *jinja;
    } known[] = {{"Thinking", "reasoning_content"}, {"ToolName", "name"}};
    char word[2 * NAME_MAX_LEN];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(name, known[i].go)) {
            buf_printf(out, ".%s", known[i].jinja);
            return;
        }
    snake_case(word, sizeof word, name);
    buf_printf(out, ".%s", word);
}

/* .A.B.C behind something; *name gets the last one. */
static void put_chain(struct translator *t, bool root, char *name, struct buf *out)
{
    char word[NAME_MAX_LEN];
    while (t->item + 1 < t->item_end && *t->item == '.' && is_word_char(t->item[1])) {
        t->item++;
        gotmpl_take_word(t, word, sizeof word);
        str_copy(name, NAME_MAX_LEN, word);
        if (root)
            put_root_field(t, word, out);
        else
            put_field(word, out);
        root = false;
    }
}

/* ---- expressions ---------------------------------------------------------------------------- */

enum { ARGS_MAX = 16, NESTING_MAX = 64 };

static enum err put_pipeline(struct translator *t, struct buf *out, struct value *v);

static enum err put_variable(struct translator *t, struct buf *out, struct value *v)
{
    char name[NAME_MAX_LEN];
    t->item++; /* $ */
    bool root = !gotmpl_take_word(t, name, sizeof name);
    if (root && !(t->item < t->item_end && *t->item == '.'))
        return gotmpl_fail(t, "$ alone can't be used here");
    if (!root) buf_printf(out, "ns.v_%s", name);
    put_chain(t, root, v->last, out);
    return OK;
}

static enum err put_dot(struct translator *t, struct buf *out, struct value *v)
{
    bool field = t->item + 1 < t->item_end && is_word_char(t->item[1]);
    bool root = !*t->dot;
    if (!field) t->item++;
    v->is_dot = !field;
    if (!field && root)
        return gotmpl_fail(t, "the dot alone can't be used outside of range and with");
    if (!root) buf_puts(out, t->dot);
    put_chain(t, root, v->last, out);
    return OK;
}

static enum err put_number(struct translator *t, struct buf *out)
{
    do buf_putc(out, *t->item++);
    while (t->item < t->item_end && (isdigit((unsigned char)*t->item) || *t->item == '.'));
    return OK;
}

/* true, false, nil; anything else is no value. */
static bool put_constant(struct translator *t, struct buf *out)
{
    static const char *const words[][2] = {{"true", "true"}, {"false", "false"}, {"nil", "none"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (gotmpl_take_keyword(t, words[i][0])) {
            buf_puts(out, words[i][1]);
            return true;
        }
    return false;
}

/* One value; *none when there is none. */
static enum err put_operand(struct translator *t, struct buf *out, struct value *v, bool *none)
{
    *none = false;
    *v = (struct value){0};
    gotmpl_skip_blanks(t);
    if (t->item >= t->item_end) {
        *none = true;
        return OK;
    }
    char c = *t->item;
    if (c == '"' || c == '`' || c == '\'') {
        v->literal = true;
        return take_string(t, out);
    }
    if (c == '.') return put_dot(t, out, v);
    if (c == '$') return put_variable(t, out, v);
    if (c == '(') {
        t->item++;
        buf_putc(out, '(');
        enum err e = put_pipeline(t, out, v);
        if (e) return e;
        if (!gotmpl_take_char(t, ')')) return gotmpl_fail(t, "a ) is missing");
        buf_putc(out, ')');
        v->literal = false; /* its text is no string alone any more */
        put_chain(t, false, v->last, out);
        return OK;
    }
    if (isdigit((unsigned char)c) ||
        (c == '-' && t->item + 1 < t->item_end && isdigit((unsigned char)t->item[1])))
        return put_number(t, out);
    if (put_constant(t, out)) return OK;
    *none = true;
    return OK;
}

/* The arguments of a function, each in a buffer of its own. */
struct args {
    struct buf text[ARGS_MAX];
    struct value values[ARGS_MAX];
    size_t n;
};

static void args_free(struct args *a)
{
    for (size_t i = 0; i < ARGS_MAX; i++) buf_free(&a->text[i]);
    free(a);
}

static enum err take_args(struct translator *t, struct args *a)
{
    for (;;) {
        bool none;
        if (a->n == ARGS_MAX) return gotmpl_fail(t, "a function has too many arguments");
        buf_init(&a->text[a->n], EXPR_MAX);
        enum err e = put_operand(t, &a->text[a->n], &a->values[a->n], &none);
        if (!e && a->text[a->n].err) e = gotmpl_fail(t, "an expression is too long");
        if (e || none) return e;
        a->n++;
    }
}

static void put_joined(const struct args *a, const char *operator, struct buf * out)
{
    buf_putc(out, '(');
    for (size_t i = 0; i < a->n; i++)
        buf_printf(out, "%s%s", i ? operator: "", buf_str(&a->text[i]));
    buf_putc(out, ')');
}

/* eq a b c: a is one of them. */
static void put_equal(const struct args *a, struct buf *out)
{
    buf_putc(out, '(');
    for (size_t i = 1; i < a->n; i++)
        buf_printf(out, "%s%s == %s", i > 1 ? " or " : "", buf_str(&a->text[0]),
                   buf_str(&a->text[i]));
    buf_putc(out, ')');
}

void gotmpl_put_json(const char *text, struct buf *out)
{
    buf_printf(out, "(%s if %s is string else %s | tojson)", text, text, text);
}

/* printf with %s, %d, %v and %%: strings put together. */
static enum err put_printf(struct translator *t, const struct args *a, struct buf *out)
{
    const char *format = buf_str(&a->text[0]);
    size_t next = 1, len = a->text[0].len;
    if (!a->values[0].literal || len < 2) return gotmpl_fail(t, "printf needs a literal format");
    buf_puts(out, "(\"");
    for (size_t i = 1; i + 1 < len; i++) {
        if (format[i] != '%') {
            buf_putc(out, format[i]);
            continue;
        }
        char kind = format[++i];
        if (kind == '%') {
            buf_putc(out, '%');
            continue;
        }
        if (!strchr("sdvq", kind) || next >= a->n)
            return gotmpl_fail(t, "printf knows %s, %d and %v here");
        buf_printf(out, "\" ~ %s ~ \"", buf_str(&a->text[next++]));
    }
    buf_puts(out, "\")");
    return OK;
}

struct function {
    const char *name;
    size_t min, max;
    enum { JOIN, EQUAL, NOT, LEN, SLICE, INDEX, JSON, PRINTF, DATE } how;
    const char *operator;
};

static const struct function functions[] = {
    {"and", 1, ARGS_MAX, JOIN, " and "},
    {"or", 1, ARGS_MAX, JOIN, " or "},
    {"ne", 2, 2, JOIN, " != "},
    {"lt", 2, 2, JOIN, " < "},
    {"le", 2, 2, JOIN, " <= "},
    {"gt", 2, 2, JOIN, " > "},
    {"ge", 2, 2, JOIN, " >= "},
    {"print", 1, ARGS_MAX, JOIN, " ~ "},
    {"eq", 2, ARGS_MAX, EQUAL, NULL},
    {"not", 1, 1, NOT, NULL},
    {"len", 1, 1, LEN, NULL},
    {"slice", 1, 3, SLICE, NULL},
    {"index", 1, ARGS_MAX, INDEX, NULL},
    {"json", 1, 1, JSON, NULL},
    {"printf", 1, ARGS_MAX, PRINTF, NULL},
    {"currentDate", 0, 1, DATE, NULL},
};

static enum err put_call(struct translator *t, const struct function *f, const struct args *a,
                         struct buf *out)
{
    if (a->n < f->min || a->n > f->max) {
        char what[96];
        str_printf(what, sizeof what, "%s has too few or too many arguments", f->name);
        return gotmpl_fail(t, what);
    }
    const char *first = a->n ? buf_str(&a->text[0]) : "";
    switch (f->how) {
    case JOIN: put_joined(a, f->operator, out); break;
    case EQUAL: put_equal(a, out); break;
    case NOT: buf_printf(out, "(not %s)", first); break;
    case LEN: buf_printf(out, "(%s | length)", first); break;
    case SLICE:
        buf_printf(out, "%s[%s:%s]", first, a->n > 1 ? buf_str(&a->text[1]) : "",
                   a->n > 2 ? buf_str(&a->text[2]) : "");
        break;
    case INDEX:
        buf_puts(out, first);
        for (size_t i = 1; i < a->n; i++) buf_printf(out, "[%s]", buf_str(&a->text[i]));
        break;
    case JSON: gotmpl_put_json(first, out); break;
    case PRINTF: return put_printf(t, a, out);
    case DATE: buf_puts(out, "strftime_now(\"%Y-%m-%d\")"); break;
    }
    return OK;
}

/* A function and what stands behind it; `piped` is its last argument, NULL = none. */
static enum err put_function(struct translator *t, const struct buf *piped, struct buf *out)
{
    char name[NAME_MAX_LEN], what[128];
    const struct function *f = NULL;
    gotmpl_take_word(t, name, sizeof name);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_eq(functions[i].name, name)) f = &functions[i];
    if (!f) {
        str_printf(what, sizeof what, "\"%.40s\" is not understood here",
                   *name                   ? name
                   : t->item < t->item_end ? t->item
                                           : "");
        return gotmpl_fail(t, what);
    }
    struct args *a = xcalloc(1, sizeof *a);
    enum err e = take_args(t, a);
    if (!e && piped && a->n < ARGS_MAX) buf_append(&a->text[a->n++], piped->data, piped->len);
    if (!e) e = put_call(t, f, a, out);
    args_free(a);
    return e;
}

static enum err put_command(struct translator *t, const struct buf *piped, struct buf *out,
                            struct value *v)
{
    bool none;
    enum err e = put_operand(t, out, v, &none);
    if (e || !none) return e;
    return put_function(t, piped, out);
}

static enum err put_pipeline(struct translator *t, struct buf *out, struct value *v)
{
    struct buf one, two;
    if (++t->nesting > NESTING_MAX) return gotmpl_fail(t, "it is nested too deeply");
    buf_init(&one, EXPR_MAX);
    buf_init(&two, EXPR_MAX);
    enum err e = put_command(t, NULL, &one, v);
    while (!e && gotmpl_take_char(t, '|')) {
        *v = (struct value){0};
        buf_clear(&two);
        e = put_command(t, &one, &two, v);
        struct buf swap = one;
        one = two;
        two = swap;
    }
    if (!e && (one.err || two.err)) e = gotmpl_fail(t, "an expression is too long");
    buf_append(out, one.data, one.len);
    buf_free(&one);
    buf_free(&two);
    t->nesting--;
    return e;
}

enum err gotmpl_pipeline(struct translator *t, struct buf *out, struct value *v)
{
    enum err e = put_pipeline(t, out, v);
    gotmpl_skip_blanks(t);
    if (!e && t->item < t->item_end)
        e = gotmpl_fail(t, "there is more in an action than is understood");
    return e;
}
