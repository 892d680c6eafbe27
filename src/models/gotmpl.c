/* Go's templates to Jinja: see gotmpl.h.
 *
 * One pass: the text is cut into literals and actions, and each is written out as its Jinja as soon
 * as it was read. Literals become strings in {{ }}, so that no rule about white space around blocks
 * applies to them. What differs between the languages:
 *
 *   the dot         a loop's variable (d1, d2, ...), or the root, whose fields are known by name
 *   $variables      attributes of one namespace, since Jinja's own end with their loop
 *   functions       operators and filters: eq a b c -> (a == b or a == c)
 *   .Messages ...   what the engine calls them: Go's names in lower case with underscores
 *
 * A template without .Messages is of the older kind, for one exchange: .System, .Prompt, .Response.
 * As in Ollama (template/template.go) it is rendered for each exchange of the conversation, and for
 * the last one only up to .Response. */
#include "models/gotmpl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { DEPTH_MAX = 32, EXPR_MAX = 64 << 10, NAME_MAX_LEN = 64, NESTING_MAX = 64, VARS_MAX = 64 };

enum block { BLOCK_IF, BLOCK_RANGE, BLOCK_WITH };

struct level {
    enum block block;
    bool silent;              /* nothing of it is written: it begins behind the cut */
    char outer[NAME_MAX_LEN]; /* the dot around it */
    int ends;                 /* further {% endif %}s, of else if */
};

struct translator {
    const char *at, *end; /* what is left */
    const char *start;
    struct buf *out;
    struct error *error;
    bool exchange; /* an older template */
    bool last;     /* and its last exchange: it is cut behind .Response */
    bool cut;
    bool saw_response;
    bool trim_next;         /* the action before ended with a trim mark */
    char dot[NAME_MAX_LEN]; /* "" = the root */
    int n_dots;
    struct level levels[DEPTH_MAX];
    int depth, nesting;
    const char *item, *item_end; /* of the action that is being read */
};

static enum err fail(struct translator *t, const char *what)
{
    int line = 1;
    for (const char *p = t->start; p < t->at; p++) line += *p == '\n';
    return err_set(t->error, ERR_INVALID, "the template's line %d: %s", line, what);
}

/* ---- literals ------------------------------------------------------------------------------ */

static void put_quoted(struct buf *out, const char *s, size_t len)
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

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Is the text behind the cut, or in a block that is? */
static bool is_silent(const struct translator *t)
{
    return t->cut || (t->depth && t->levels[t->depth - 1].silent);
}

static void put_text(struct translator *t, const char *s, size_t len, bool trim_end)
{
    if (t->trim_next)
        while (len && is_blank(*s)) s++, len--;
    if (trim_end)
        while (len && is_blank(s[len - 1])) len--;
    if (!len || is_silent(t)) return;
    buf_puts(t->out, "{{ ");
    put_quoted(t->out, s, len);
    buf_puts(t->out, " }}");
}

/* ---- words of an action -------------------------------------------------------------------- */

static void skip_blanks(struct translator *t)
{
    while (t->item < t->item_end && is_blank(*t->item)) t->item++;
}

static bool take_char(struct translator *t, char c)
{
    skip_blanks(t);
    if (t->item >= t->item_end || *t->item != c) return false;
    t->item++;
    return true;
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static size_t take_word(struct translator *t, char *dst, size_t size)
{
    size_t n = 0;
    while (t->item < t->item_end && is_word_char(*t->item)) {
        if (n + 1 < size) dst[n++] = *t->item;
        t->item++;
    }
    dst[n] = '\0';
    return n;
}

/* A keyword at the front of the action, with a blank or the end behind it. */
static bool take_keyword(struct translator *t, const char *word)
{
    skip_blanks(t);
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
    put_quoted(out, buf_str(&text), text.len);
    enum err e = text.err;
    buf_free(&text);
    return closed && !e ? OK : fail(t, "a string has no end");
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
        take_word(t, word, sizeof word);
        str_copy(name, NAME_MAX_LEN, word);
        if (root)
            put_root_field(t, word, out);
        else
            put_field(word, out);
        root = false;
    }
}

/* ---- expressions ---------------------------------------------------------------------------- */

enum { ARGS_MAX = 16 };

/* What is known of a value: whether it is an object, which Go prints as JSON and iterates in pairs.
 */
struct value {
    char last[NAME_MAX_LEN]; /* its last field, "" = none */
    bool is_dot;
    bool literal;
};

static enum err put_pipeline(struct translator *t, struct buf *out, struct value *v);

static enum err put_variable(struct translator *t, struct buf *out, struct value *v)
{
    char name[NAME_MAX_LEN];
    t->item++; /* $ */
    bool root = !take_word(t, name, sizeof name);
    if (root && !(t->item < t->item_end && *t->item == '.'))
        return fail(t, "$ alone can't be used here");
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
    if (!field && root) return fail(t, "the dot alone can't be used outside of range and with");
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
        if (take_keyword(t, words[i][0])) {
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
    skip_blanks(t);
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
        if (!take_char(t, ')')) return fail(t, "a ) is missing");
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
        if (a->n == ARGS_MAX) return fail(t, "a function has too many arguments");
        buf_init(&a->text[a->n], EXPR_MAX);
        enum err e = put_operand(t, &a->text[a->n], &a->values[a->n], &none);
        if (!e && a->text[a->n].err) e = fail(t, "an expression is too long");
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

static void put_json(const char *text, struct buf *out)
{
    buf_printf(out, "(%s if %s is string else %s | tojson)", text, text, text);
}

/* printf with %s, %d, %v and %%: strings put together. */
static enum err put_printf(struct translator *t, const struct args *a, struct buf *out)
{
    const char *format = buf_str(&a->text[0]);
    size_t next = 1, len = a->text[0].len;
    if (!a->values[0].literal || len < 2) return fail(t, "printf needs a literal format");
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
            return fail(t, "printf knows %s, %d and %v here");
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
        return fail(t, what);
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
    case JSON: put_json(first, out); break;
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
    take_word(t, name, sizeof name);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_eq(functions[i].name, name)) f = &functions[i];
    if (!f) {
        str_printf(what, sizeof what, "\"%.40s\" is not understood here",
                   *name                   ? name
                   : t->item < t->item_end ? t->item
                                           : "");
        return fail(t, what);
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
    if (++t->nesting > NESTING_MAX) return fail(t, "it is nested too deeply");
    buf_init(&one, EXPR_MAX);
    buf_init(&two, EXPR_MAX);
    enum err e = put_command(t, NULL, &one, v);
    while (!e && take_char(t, '|')) {
        *v = (struct value){0};
        buf_clear(&two);
        e = put_command(t, &one, &two, v);
        struct buf swap = one;
        one = two;
        two = swap;
    }
    if (!e && (one.err || two.err)) e = fail(t, "an expression is too long");
    buf_append(out, one.data, one.len);
    buf_free(&one);
    buf_free(&two);
    t->nesting--;
    return e;
}

static enum err whole_pipeline(struct translator *t, struct buf *out, struct value *v)
{
    enum err e = put_pipeline(t, out, v);
    skip_blanks(t);
    if (!e && t->item < t->item_end) e = fail(t, "there is more in an action than is understood");
    return e;
}

/* ---- actions -------------------------------------------------------------------------------- */

/* Fields that are objects: Go prints them as JSON, and ranges over their pairs. */
static bool is_object(const struct value *v)
{
    static const char *const names[] = {"Arguments", "Properties", "Parameters",
                                        "Function",  "ToolCalls",  "Tools"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(names[i], v->last)) return true;
    return v->is_dot;
}

static bool has_pairs(const struct value *v)
{
    return str_eq(v->last, "Arguments") || str_eq(v->last, "Properties");
}

/* Behind the mention of .Response in the last exchange nothing is written any more. */
static void cut_if_due(struct translator *t)
{
    if (t->last && t->saw_response) t->cut = true;
}

static enum err open_block(struct translator *t, enum block block, struct level **out)
{
    if (t->depth == DEPTH_MAX) return fail(t, "blocks are nested too deeply");
    bool silent = is_silent(t);
    struct level *l = &t->levels[t->depth++];
    *l = (struct level){.block = block, .silent = silent};
    str_copy(l->outer, sizeof l->outer, t->dot);
    *out = l;
    return OK;
}

static enum err do_if(struct translator *t)
{
    struct level *l;
    struct value v;
    struct buf e;
    bool silent = is_silent(t);
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_IF, &l);
    if (!err && !silent) buf_printf(t->out, "{%% if %s %%}", buf_str(&e));
    buf_free(&e);
    cut_if_due(t);
    return err;
}

static void new_dot(struct translator *t, const char *prefix)
{
    str_printf(t->dot, sizeof t->dot, "%sd%d", prefix, ++t->n_dots);
}

static enum err do_with(struct translator *t)
{
    struct level *l;
    struct value v;
    struct buf e;
    bool silent = is_silent(t);
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_WITH, &l);
    if (!err) new_dot(t, "ns.");
    if (!err && !silent)
        buf_printf(t->out, "{%% if %s %%}{%% set %s = %s %%}", buf_str(&e), t->dot, buf_str(&e));
    buf_free(&e);
    cut_if_due(t);
    return err;
}

/* "$i, $m :=" and the like at the front of an action; how many, 0 = none. */
static int take_names(struct translator *t, char names[2][NAME_MAX_LEN], bool *declares)
{
    const char *before = t->item;
    int n = 0;
    do {
        skip_blanks(t);
        if (n == 2 || t->item >= t->item_end || *t->item != '$') break;
        t->item++;
        take_word(t, names[n++], NAME_MAX_LEN);
    } while (take_char(t, ','));
    *declares = take_char(t, ':');
    if (n && take_char(t, '=')) return n;
    t->item = before;
    return 0;
}

static enum err do_range(struct translator *t)
{
    char names[2][NAME_MAX_LEN];
    bool declares, silent = is_silent(t);
    struct level *l;
    struct value v;
    struct buf e;
    int n = take_names(t, names, &declares);
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_RANGE, &l);
    if (!err) new_dot(t, "");
    if (!err && !silent) {
        bool pairs = has_pairs(&v);
        const char *d = t->dot;
        if (pairs)
            buf_printf(t->out, "{%% for k%s, %s in %s.items() %%}", d, d, buf_str(&e));
        else
            buf_printf(t->out, "{%% for %s in %s %%}", d, buf_str(&e));
        if (n == 2 && pairs)
            buf_printf(t->out, "{%% set ns.v_%s = k%s %%}", names[0], d);
        else if (n == 2)
            buf_printf(t->out, "{%% set ns.v_%s = loop.index0 %%}", names[0]);
        if (n) buf_printf(t->out, "{%% set ns.v_%s = %s %%}", names[n - 1], d);
    }
    buf_free(&e);
    cut_if_due(t);
    return err;
}

static enum err do_else(struct translator *t)
{
    struct value v;
    struct buf e;
    if (!t->depth) return fail(t, "an else without if");
    struct level *l = &t->levels[t->depth - 1];
    str_copy(t->dot, sizeof t->dot, l->outer);
    if (!take_keyword(t, "if")) {
        skip_blanks(t);
        if (t->item < t->item_end) return fail(t, "else stands alone or before if");
        if (!l->silent) buf_puts(t->out, "{% else %}");
        return OK;
    }
    if (l->block != BLOCK_IF) return fail(t, "else if belongs to if");
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err && !l->silent) buf_printf(t->out, "{%% elif %s %%}", buf_str(&e));
    buf_free(&e);
    cut_if_due(t);
    return err;
}

static enum err do_end(struct translator *t)
{
    if (!t->depth) return fail(t, "an end without a beginning");
    struct level *l = &t->levels[--t->depth];
    str_copy(t->dot, sizeof t->dot, l->outer);
    if (!l->silent) buf_puts(t->out, l->block == BLOCK_RANGE ? "{% endfor %}" : "{% endif %}");
    return OK;
}

static enum err do_assign(struct translator *t, const char *name)
{
    struct value v;
    struct buf e;
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err && !is_silent(t)) buf_printf(t->out, "{%% set ns.v_%s = %s %%}", name, buf_str(&e));
    buf_free(&e);
    return err;
}

static enum err do_output(struct translator *t)
{
    struct value v;
    struct buf e;
    buf_init(&e, EXPR_MAX);
    enum err err = whole_pipeline(t, &e, &v);
    if (!err && !is_silent(t)) {
        buf_puts(t->out, "{{ ");
        if (is_object(&v))
            put_json(buf_str(&e), t->out);
        else
            buf_append(t->out, e.data, e.len);
        buf_puts(t->out, " }}");
    }
    buf_free(&e);
    cut_if_due(t);
    return err;
}

static enum err do_action(struct translator *t)
{
    static const char *const refused[] = {"define", "template", "block"};
    char names[2][NAME_MAX_LEN];
    bool declares;
    skip_blanks(t);
    if (t->item == t->item_end || strncmp(t->item, "/*", 2) == 0) return OK;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (take_keyword(t, refused[i]))
            return fail(t, "templates in a template are not understood");
    if (take_keyword(t, "if")) return do_if(t);
    if (take_keyword(t, "else")) return do_else(t);
    if (take_keyword(t, "end")) return do_end(t);
    if (take_keyword(t, "range")) return do_range(t);
    if (take_keyword(t, "with")) return do_with(t);
    if (take_keyword(t, "break") || take_keyword(t, "continue")) {
        bool stops = t->item[-1] == 'k';
        if (!is_silent(t)) buf_puts(t->out, stops ? "{% break %}" : "{% continue %}");
        return OK;
    }
    if (take_names(t, names, &declares) == 1) return do_assign(t, names[0]);
    return do_output(t);
}

/* Where the action that begins at `p` ends: at its "}}", outside of strings. */
static const char *find_end(const char *p, const char *end)
{
    for (char quote = 0; p + 1 < end; p++) {
        if (quote) {
            if (*p == '\\' && quote != '`')
                p++;
            else if (*p == quote)
                quote = 0;
        } else if (*p == '"' || *p == '`') {
            quote = *p;
        } else if (p[0] == '}' && p[1] == '}') {
            return p;
        }
    }
    return NULL;
}

/* The whole text once, with what the translator was told. */
static enum err translate(struct translator *t)
{
    enum err e = OK;
    while (!e && t->at < t->end) {
        const char *open = strstr(t->at, "{{");
        if (!open) open = t->end;
        bool action = open < t->end;
        bool trim = action && open + 3 < t->end && open[2] == '-' && is_blank(open[3]);
        put_text(t, t->at, (size_t)(open - t->at), trim);
        t->trim_next = false;
        t->at = open;
        if (!action) break;
        const char *inside = open + (trim ? 3 : 2);
        bool comment = strncmp(inside + strspn(inside, " \t\r\n"), "/*", 2) == 0;
        const char *close = comment ? strstr(inside, "*/") : inside;
        close = close ? find_end(close, t->end) : NULL;
        if (!close) return fail(t, "an action has no end (}})");
        t->item = inside;
        t->item_end = close;
        if (close - inside > 1 && close[-1] == '-' && is_blank(close[-2])) {
            t->trim_next = true;
            t->item_end = close - 1;
        }
        e = do_action(t);
        t->at = close + 2;
    }
    if (!e && t->depth) e = fail(t, "a block has no end");
    if (!e && t->out->err) e = err_set(t->error, ERR_TOO_LARGE, "the template is too long");
    return e;
}

/* ---- both kinds ---------------------------------------------------------------------------- */

static struct translator *begin(const char *text, struct buf *out, struct error *error)
{
    struct translator *t = xcalloc(1, sizeof *t);
    t->start = t->at = text;
    t->end = text + strlen(text);
    t->out = out;
    t->error = error;
    return t;
}

/* A template over .Messages. */
static enum err whole(const char *text, struct buf *out, struct error *error)
{
    struct translator *t = begin(text, out, error);
    buf_puts(out, "{% set ns = namespace(system=\"\", prompt=\"\") %}"
                  "{% for m in messages %}"
                  "{% if m.role == \"system\" %}{% set ns.system = ns.system ~ "
                  "(\"\\n\\n\" if ns.system else \"\") ~ m.content %}{% endif %}"
                  "{% if m.role == \"user\" %}{% set ns.prompt = m.content %}{% endif %}"
                  "{% endfor %}");
    enum err e = translate(t);
    free(t);
    return e;
}

static enum err exchange(const char *text, bool last, bool *has_response, struct buf *out,
                         struct error *error)
{
    struct translator *t = begin(text, out, error);
    t->exchange = true;
    t->last = last;
    enum err e = translate(t);
    *has_response = t->saw_response;
    free(t);
    if (!e && !*has_response) buf_puts(out, "{{ ns.response }}");
    return e;
}

/* One for each exchange. */
static enum err each(const char *text, struct buf *out, struct error *error)
{
    bool has_response;
    buf_puts(out, "{% set ns = namespace(system=\"\", prompt=\"\", response=\"\") %}"
                  "{% for m in messages %}"
                  "{% if (m.role == \"system\" and (ns.prompt or ns.response)) or "
                  "(m.role == \"user\" and ns.response) %}");
    enum err e = exchange(text, false, &has_response, out, error);
    if (e) return e;
    buf_puts(out, "{% set ns.system = \"\" %}{% set ns.prompt = \"\" %}{% set ns.response = \"\" %}"
                  "{% endif %}"
                  "{% if m.role == \"system\" %}{% set ns.system = m.content %}"
                  "{% elif m.role == \"user\" %}{% set ns.prompt = ns.prompt ~ "
                  "(\"\\n\\n\" if ns.prompt else \"\") ~ m.content %}"
                  "{% elif m.role == \"assistant\" %}{% set ns.response = m.content %}{% endif %}"
                  "{% endfor %}");
    return exchange(text, true, &has_response, out, error);
}

enum err template_to_jinja(const char *text, struct buf *out, struct error *error)
{
    struct error own;
    if (!error) error = &own;
    if (strlen(text) > GOTMPL_MAX)
        return err_set(error, ERR_TOO_LARGE, "the template is longer than %d bytes", GOTMPL_MAX);
    if (strstr(text, "{%")) {
        if (buf_puts(out, text)) return err_set(error, out->err, "the template is too long");
        return OK;
    }
    enum err e = strstr(text, ".Messages") ? whole(text, out, error) : each(text, out, error);
    if (!e && out->err) e = err_set(error, out->err, "the template is too long");
    return e;
}
