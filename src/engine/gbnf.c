/* GBNF: a complete parser for llama.cpp's grammar format, used only to say no. libllama's parser
 * recurses with the nesting, prints its errors to stderr instead of returning them, loops 2^64
 * times over "{3,2}", and its check for left recursion misses rules that are empty in two steps,
 * after which sampling never ends. What passes here is safe to hand over, and what does not gets an
 * error with its line.
 *
 * Format: llama.cpp grammars/README.md; the details follow src/llama-grammar.cpp of v0.5.0.
 *
 *   rule     name "::=" alternates newline        name: [a-zA-Z0-9-]+
 *   item     "literal" | [class] | . | <token> | !<token> | name | ( alternates )
 *   repeated item * + ? {m} {m,} {m,n}            # comments to the end of the line
 *
 * A group becomes a rule without name. The elements of a rule are a list; ALT separates its
 * alternates. Then, over all rules: what may be empty (fixed point), left recursion (depth-first
 * with its own stack), and how many parse stacks a rule begins with, which is what each sampled
 * token pays for.
 *
 * Not found here: grammars that stay ambiguous in ever more ways while text comes in, such as
 *   root ::= "a" root "b" | "a" root "c" | "x"
 * whose stacks double with each "a". That needs a parser that shares stacks. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine_int.h"
#include "engine/guard.h"

enum {
    TERMINAL = -1,
    ALT = -2,
    UNLIMITED = -1,
    ELEMENTS_MAX = 1 << 20, /* after repetitions are written out */
    LEFT_DEPTH_MAX = 8192,  /* libllama's left-recursion check recurses this deep */
    STACKS_MAX = 50000,
};

struct element {
    int32_t ref;      /* rule, TERMINAL or ALT */
    int32_t width;    /* TERMINAL: elements of the literal or class; 0 matches the empty text */
    int32_t min, max; /* repetitions */
    int32_t next;     /* element of the same rule, or -1 */
};

enum colour { WHITE, GREY, BLACK };

struct rule {
    const char *name; /* in the map's keys; groups carry the name of the rule around them */
    int32_t name_len, first, last;
    bool defined, may_be_empty;
    enum colour colour;
    int32_t left_depth;
    double stacks;
};

struct gbnf {
    const char *text, *p, *param;
    struct error *error;
    struct map *names; /* to index + 1 */
    struct rule *rules;
    struct element *elements;
    size_t n_rules, cap_rules, n_elements, cap_elements;
    double expanded;
    int depth;
};

/* ---- errors ------------------------------------------------------------------------------- */

static int line_of(const struct gbnf *g)
{
    int line = 1;
    for (const char *s = g->text; s < g->p; s++) line += *s == '\n';
    return line;
}

static enum err bad(struct gbnf *g, const char *what)
{
    char near[24];
    size_t n = utf8_cut(g->p, strcspn(g->p, "\r\n"), sizeof near - 1);
    memcpy(near, g->p, n);
    near[n] = '\0';
    if (!n)
        return err_set_param(g->error, ERR_SCHEMA, g->param, "grammar, line %d: %s", line_of(g),
                             what);
    return err_set_param(g->error, ERR_SCHEMA, g->param, "grammar, line %d: %s at '%s'", line_of(g),
                         what, near);
}

static enum err bad_rule(struct gbnf *g, const struct rule *r, const char *what)
{
    return err_set_param(g->error, ERR_SCHEMA, g->param, "grammar: rule '%.*s' %s",
                         r->name_len < 64 ? r->name_len : 64, r->name, what);
}

static enum err no_memory(struct gbnf *g)
{
    return err_set_param(g->error, ERR_NOMEM, g->param, "out of memory for the grammar");
}

/* ---- lists -------------------------------------------------------------------------------- */

static enum err new_rule(struct gbnf *g, const char *name, size_t len, int32_t *out)
{
    if (g->n_rules == g->cap_rules) {
        size_t cap = g->cap_rules ? 2 * g->cap_rules : 64;
        struct rule *rules = try_realloc(g->rules, cap, sizeof *rules);
        if (!rules) return no_memory(g);
        g->rules = rules;
        g->cap_rules = cap;
    }
    *out = (int32_t)g->n_rules;
    g->rules[g->n_rules++] =
        (struct rule){.name = name, .name_len = (int32_t)len, .first = -1, .last = -1};
    return OK;
}

static enum err add_element(struct gbnf *g, int32_t rule, struct element e)
{
    if (g->n_elements == g->cap_elements) {
        size_t cap = g->cap_elements ? 2 * g->cap_elements : 256;
        struct element *elements = try_realloc(g->elements, cap, sizeof *elements);
        if (!elements) return no_memory(g);
        g->elements = elements;
        g->cap_elements = cap;
    }
    int32_t at = (int32_t)g->n_elements++;
    e.next = -1;
    g->elements[at] = e;
    struct rule *r = &g->rules[rule];
    if (r->last >= 0)
        g->elements[r->last].next = at;
    else
        r->first = at;
    r->last = at;
    return OK;
}

static enum err rule_by_name(struct gbnf *g, const char *name, size_t len, int32_t *out)
{
    char key[257];
    if (len >= sizeof key) return bad(g, "a rule name longer than 256 characters");
    memcpy(key, name, len);
    key[len] = '\0';
    uintptr_t known = (uintptr_t)map_get(g->names, key);
    if (known) {
        *out = (int32_t)(known - 1);
        return OK;
    }
    if (map_count(g->names) == ENGINE_GRAMMAR_RULES_MAX) return bad(g, "more than 32768 rules");
    enum err e = new_rule(g, name, len, out);
    if (!e) map_put(g->names, key, (void *)((uintptr_t)*out + 1));
    return e;
}

/* ---- syntax ------------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static size_t word_len(const char *p)
{
    size_t n = 0;
    while (is_word(p[n])) n++;
    return n;
}

static void skip_space(struct gbnf *g, bool newlines)
{
    for (;; g->p++) {
        if (*g->p == '#') g->p += strcspn(g->p, "\r\n");
        bool newline = *g->p == '\r' || *g->p == '\n';
        if (*g->p != ' ' && *g->p != '\t' && !(newlines && newline)) return;
    }
}

static enum err hex(struct gbnf *g, int digits)
{
    for (int i = 0; i < digits; i++)
        if (!memchr("0123456789abcdefABCDEF", g->p[i], 22))
            return bad(g, "hexadecimal digits expected");
    g->p += digits;
    return OK;
}

/* One character of a literal or class. */
static enum err character(struct gbnf *g)
{
    if (!*g->p) return bad(g, "unexpected end");
    if (*g->p != '\\') {
        g->p++;
        while (((unsigned char)*g->p & 0xC0) == 0x80) g->p++; /* the rest of a UTF-8 character */
        return OK;
    }
    g->p++;
    char c = *g->p;
    if (!c || !strchr("xuUtrn\\\"[]-", c)) return bad(g, "unknown escape");
    g->p++;
    return c == 'x' ? hex(g, 2) : c == 'u' ? hex(g, 4) : c == 'U' ? hex(g, 8) : OK;
}

static enum err literal(struct gbnf *g, int32_t *width)
{
    g->p++;
    for (*width = 0; *g->p != '"'; ++*width) {
        enum err e = character(g);
        if (e) return e;
    }
    g->p++;
    return OK;
}

static enum err class(struct gbnf *g, int32_t *width) {
    g->p++; if (*g->p == '^') g->p++; for (*width = 0; *g->p != ']'; ++*width){
        enum err e = character(g);
        if (!e && g->p[0] == '-' && g->p[1] != ']'){g->p++; ++*width; e = character(g);}
if (e) return e;
}
g->p++;
return OK;
}

static enum err token(struct gbnf *g)
{
    if (*g->p == '!') g->p++;
    if (*g->p != '<') return bad(g, "'<' expected");
    bool number = g->p[1] == '[';
    size_t digits = number ? strspn(g->p + 2, "0123456789") : 0;
    if (number && (!digits || digits > 9 || strncmp(g->p + 2 + digits, "]>", 2) != 0))
        return bad(g, "a token number like <[123]> expected");
    size_t n = strcspn(g->p, ">\r\n");
    if (g->p[n] != '>') return bad(g, "'>' expected");
    g->p += n + 1;
    return OK;
}

static enum err alternates(struct gbnf *g, int32_t rule, bool nested);

static enum err group(struct gbnf *g, int32_t around, int32_t *ref)
{
    if (++g->depth > ENGINE_GRAMMAR_DEPTH_MAX)
        return bad(g, "parentheses nested more than 64 levels deep");
    g->p++;
    skip_space(g, true);
    enum err e = new_rule(g, g->rules[around].name, (size_t)g->rules[around].name_len, ref);
    if (!e) e = alternates(g, *ref, true);
    if (e) return e;
    g->rules[*ref].defined = true;
    if (*g->p != ')') return bad(g, "')' expected");
    g->p++;
    g->depth--;
    return OK;
}

/* Sets *found to false when what follows is not an item. */
static enum err item(struct gbnf *g, int32_t rule, struct element *out, bool *found)
{
    *out = (struct element){.ref = TERMINAL, .width = 1, .min = 1, .max = 1};
    *found = true;
    switch (*g->p) {
    case '"': return literal(g, &out->width);
    case '[': return class(g, &out->width);
    case '(': return group(g, rule, &out->ref);
    case '<':
    case '!': return token(g);
    case '.': g->p++; return OK;
    case '*':
    case '+':
    case '?':
    case '{': return bad(g, "nothing to repeat");
    default: break;
    }
    size_t n = word_len(g->p);
    *found = n > 0;
    if (!n) return OK;
    enum err e = rule_by_name(g, g->p, n, &out->ref);
    g->p += n;
    return e;
}

static enum err number(struct gbnf *g, int32_t *out)
{
    char digits[12];
    size_t n = strspn(g->p, "0123456789");
    int64_t v;
    if (!n || n >= sizeof digits) return bad(g, "a number expected");
    memcpy(digits, g->p, n);
    digits[n] = '\0';
    if (!str_to_i64(digits, 0, 1 << 30, &v)) return bad(g, "a smaller number expected");
    g->p += n;
    *out = (int32_t)v;
    return OK;
}

static enum err braces(struct gbnf *g, bool nested, int32_t *min, int32_t *max)
{
    g->p++;
    skip_space(g, nested);
    enum err e = number(g, min);
    if (e) return e;
    skip_space(g, nested);
    *max = *min;
    if (*g->p == ',') {
        g->p++;
        skip_space(g, nested);
        *max = UNLIMITED;
        if (*g->p != '}' && (e = number(g, max))) return e;
        skip_space(g, nested);
    }
    if (*g->p != '}') return bad(g, "'}' expected");
    if (*min > ENGINE_GRAMMAR_REPEAT_MAX) return bad(g, "more than 2000 repetitions demanded");
    if (*max >= 0 && *max < *min) return bad(g, "a repetition whose maximum is below its minimum");
    if (*max > ENGINE_GRAMMAR_REPEAT_MAX) *max = UNLIMITED; /* as libllama does */
    g->p++;
    return OK;
}

/* With what libllama makes of it: m copies, and a rule for each optional one. */
static enum err add_item(struct gbnf *g, int32_t rule, struct element e)
{
    double optional = e.max == UNLIMITED ? 1 : e.max - e.min;
    g->expanded += (double)e.width * (e.min ? e.min : 1) + optional * (e.width + 3);
    if (g->expanded > ELEMENTS_MAX)
        return bad(g, "the grammar is too large when its repetitions are written out");
    return add_element(g, rule, e);
}

/* Repetition operators behind an item; a second one repeats what the first one made. */
static enum err repeats(struct gbnf *g, int32_t rule, bool nested, struct element *e)
{
    for (;;) {
        int32_t min = 0, max = UNLIMITED;
        enum err err = OK;
        skip_space(g, nested);
        char c = *g->p;
        if (c != '*' && c != '+' && c != '?' && c != '{') return OK;
        if (e->ref == TERMINAL && !e->width) return bad(g, "nothing to repeat");
        if (c == '{') {
            err = braces(g, nested, &min, &max);
        } else {
            min = c == '+';
            max = c == '?' ? 1 : UNLIMITED;
            g->p++;
        }
        if (!err && (e->min != 1 || e->max != 1)) {
            int32_t inner;
            err = new_rule(g, g->rules[rule].name, (size_t)g->rules[rule].name_len, &inner);
            if (!err) err = add_item(g, inner, *e);
            if (err) return err;
            g->rules[inner].defined = true;
            *e = (struct element){.ref = inner, .width = 1};
        }
        if (err) return err;
        e->min = min;
        e->max = max;
    }
}

static enum err sequence(struct gbnf *g, int32_t rule, bool nested)
{
    for (;;) {
        struct element el;
        bool found;
        enum err e = item(g, rule, &el, &found);
        if (e || !found) return e;
        if ((e = repeats(g, rule, nested, &el))) return e;
        if ((e = add_item(g, rule, el))) return e;
    }
}

static enum err alternates(struct gbnf *g, int32_t rule, bool nested)
{
    for (;;) {
        enum err e = sequence(g, rule, nested);
        if (e || *g->p != '|') return e;
        if ((e = add_element(g, rule, (struct element){.ref = ALT}))) return e;
        g->p++;
        skip_space(g, true);
    }
}

static enum err one_rule(struct gbnf *g)
{
    size_t n = word_len(g->p);
    int32_t rule;
    if (!n) return bad(g, "the name of a rule expected");
    enum err e = rule_by_name(g, g->p, n, &rule);
    if (e) return e;
    g->p += n;
    skip_space(g, false);
    if (!str_starts(g->p, "::=")) return bad(g, "'::=' expected");
    g->p += 3;
    skip_space(g, true);
    g->rules[rule].first = g->rules[rule].last = -1; /* a later definition replaces an earlier */
    g->rules[rule].defined = true;
    if ((e = alternates(g, rule, false))) return e;
    if (*g->p && *g->p != '\r' && *g->p != '\n') return bad(g, "unexpected text");
    skip_space(g, true);
    return OK;
}

/* ---- meaning ------------------------------------------------------------------------------ */

static bool element_may_be_empty(const struct gbnf *g, const struct element *e)
{
    if (!e->min) return true;
    return e->ref == TERMINAL ? e->width == 0 : g->rules[e->ref].may_be_empty;
}

static bool rule_may_be_empty(const struct gbnf *g, const struct rule *r)
{
    bool empty = true;
    for (int32_t i = r->first; i >= 0; i = g->elements[i].next) {
        const struct element *e = &g->elements[i];
        if (e->ref != ALT) {
            empty = empty && element_may_be_empty(g, e);
        } else if (empty) {
            return true;
        } else {
            empty = true;
        }
    }
    return empty;
}

/* Groups come after what they are in, so going backwards settles most in one round. */
static void find_empty(struct gbnf *g)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = g->n_rules; i-- > 0;) {
            struct rule *r = &g->rules[i];
            if (r->may_be_empty || !rule_may_be_empty(g, r)) continue;
            r->may_be_empty = changed = true;
        }
    }
}

/* All rules that r can begin with are BLACK: what r itself costs. */
static void settle(struct gbnf *g, struct rule *r)
{
    bool at_start = true;
    r->stacks = 1;
    r->left_depth = 1;
    for (int32_t i = r->first; i >= 0; i = g->elements[i].next) {
        const struct element *e = &g->elements[i];
        if (e->ref == ALT) {
            at_start = true;
            continue;
        }
        if (!at_start) continue;
        bool ref_empty = e->ref >= 0 && g->rules[e->ref].may_be_empty;
        int32_t copies = !ref_empty ? 1 : e->max == UNLIMITED ? e->min + 1 : e->max;
        const struct rule *to = e->ref >= 0 ? &g->rules[e->ref] : NULL;
        r->stacks += (to ? to->stacks : 1) * (copies > 1 ? copies : 1);
        int32_t depth = (to ? to->left_depth : 0) + copies + 1;
        if (depth > r->left_depth) r->left_depth = depth;
        at_start = element_may_be_empty(g, e);
    }
    r->colour = BLACK;
}

/* The next WHITE or GREY rule that r can begin with, from element *at on; -1 when there is none. */
static int32_t next_left(const struct gbnf *g, int32_t *at, bool *at_start)
{
    for (; *at >= 0; *at = g->elements[*at].next) {
        const struct element *e = &g->elements[*at];
        if (e->ref == ALT) {
            *at_start = true;
        } else if (*at_start) {
            if (e->ref >= 0 && g->rules[e->ref].colour != BLACK) return e->ref;
            *at_start = element_may_be_empty(g, e);
        }
    }
    return -1;
}

struct frame {
    int32_t rule, at;
    bool at_start;
};

static enum err visit(struct gbnf *g, int32_t start, struct frame *stack)
{
    size_t n = 0;
    stack[n++] = (struct frame){start, g->rules[start].first, true};
    g->rules[start].colour = GREY;
    while (n) {
        struct frame *f = &stack[n - 1];
        struct rule *r = &g->rules[f->rule];
        int32_t to = next_left(g, &f->at, &f->at_start);
        if (to >= 0 && g->rules[to].colour == GREY)
            return bad_rule(g, &g->rules[to],
                            "is left-recursive: it can begin with itself, which never ends; put "
                            "something in front of the recursion");
        if (to >= 0) {
            g->rules[to].colour = GREY;
            stack[n++] = (struct frame){to, g->rules[to].first, true};
            continue;
        }
        settle(g, r);
        if (r->left_depth > LEFT_DEPTH_MAX || r->stacks > STACKS_MAX)
            return bad_rule(g, r,
                            "has too many ways to begin; simplify its alternatives and "
                            "repetitions of what may be empty");
        n--;
    }
    return OK;
}

static enum err check_meaning(struct gbnf *g)
{
    for (size_t i = 0; i < g->n_rules; i++)
        if (!g->rules[i].defined) return bad_rule(g, &g->rules[i], "is used but not defined");
    if (!map_get(g->names, "root"))
        return err_set_param(g->error, ERR_SCHEMA, g->param,
                             "grammar: there is no rule 'root' to start with");
    find_empty(g);
    struct frame *stack = try_calloc(g->n_rules, sizeof *stack);
    if (!stack) return no_memory(g);
    enum err e = OK;
    for (size_t i = 0; i < g->n_rules && !e; i++)
        if (g->rules[i].colour == WHITE) e = visit(g, (int32_t)i, stack);
    free(stack);
    return e;
}

enum err gbnf_check(const char *grammar, size_t max_bytes, const char *param, struct error *error)
{
    size_t len = strlen(grammar);
    if (len > max_bytes)
        return err_set_param(error, ERR_SCHEMA, param, "the grammar has %zu bytes; %zu are allowed",
                             len, max_bytes);
    struct gbnf g = {.text = grammar, .p = grammar, .param = param, .error = error};
    g.names = map_new();
    skip_space(&g, true);
    enum err e = *g.p ? OK : err_set_param(error, ERR_SCHEMA, param, "the grammar is empty");
    while (*g.p && !e) e = one_rule(&g);
    if (!e) e = check_meaning(&g);
    map_free(g.names);
    free(g.rules);
    free(g.elements);
    return e;
}
