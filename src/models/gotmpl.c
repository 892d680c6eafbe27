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

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/gotmpl_int.h"

/* ---- literals ------------------------------------------------------------------------------ */

/* Is the text behind the cut, or in a block that is? */
static bool is_silent(const struct translator *t)
{
    return t->cut || (t->depth && t->levels[t->depth - 1].silent);
}

static void put_text(struct translator *t, const char *s, size_t len, bool trim_end)
{
    if (t->trim_next)
        while (len && gotmpl_is_blank(*s)) s++, len--;
    if (trim_end)
        while (len && gotmpl_is_blank(s[len - 1])) len--;
    if (!len || is_silent(t)) return;
    buf_puts(t->out, "{{ ");
    gotmpl_put_quoted(t->out, s, len);
    buf_puts(t->out, " }}");
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

static enum err open_block(struct translator *t, enum block block)
{
    if (t->depth == DEPTH_MAX) return gotmpl_fail(t, "blocks are nested too deeply");
    bool silent = is_silent(t);
    struct level *l = &t->levels[t->depth++];
    *l = (struct level){.block = block, .silent = silent};
    str_copy(l->outer, sizeof l->outer, t->dot);
    return OK;
}

static enum err do_if(struct translator *t)
{
    struct value v;
    struct buf e;
    bool silent = is_silent(t);
    buf_init(&e, EXPR_MAX);
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_IF);
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
    struct value v;
    struct buf e;
    bool silent = is_silent(t);
    buf_init(&e, EXPR_MAX);
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_WITH);
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
        gotmpl_skip_blanks(t);
        if (n == 2 || t->item >= t->item_end || *t->item != '$') break;
        t->item++;
        gotmpl_take_word(t, names[n++], NAME_MAX_LEN);
    } while (gotmpl_take_char(t, ','));
    *declares = gotmpl_take_char(t, ':');
    if (n && gotmpl_take_char(t, '=')) return n;
    t->item = before;
    return 0;
}

static enum err do_range(struct translator *t)
{
    char names[2][NAME_MAX_LEN];
    bool declares, silent = is_silent(t);
    struct value v;
    struct buf e;
    int n = take_names(t, names, &declares);
    buf_init(&e, EXPR_MAX);
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err) err = open_block(t, BLOCK_RANGE);
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
    if (!t->depth) return gotmpl_fail(t, "an else without if");
    struct level *l = &t->levels[t->depth - 1];
    str_copy(t->dot, sizeof t->dot, l->outer);
    if (!gotmpl_take_keyword(t, "if")) {
        gotmpl_skip_blanks(t);
        if (t->item < t->item_end) return gotmpl_fail(t, "else stands alone or before if");
        if (!l->silent) buf_puts(t->out, "{% else %}");
        return OK;
    }
    if (l->block != BLOCK_IF) return gotmpl_fail(t, "else if belongs to if");
    buf_init(&e, EXPR_MAX);
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err && !l->silent) buf_printf(t->out, "{%% elif %s %%}", buf_str(&e));
    buf_free(&e);
    cut_if_due(t);
    return err;
}

static enum err do_end(struct translator *t)
{
    if (!t->depth) return gotmpl_fail(t, "an end without a beginning");
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
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err && !is_silent(t)) buf_printf(t->out, "{%% set ns.v_%s = %s %%}", name, buf_str(&e));
    buf_free(&e);
    return err;
}

static enum err do_output(struct translator *t)
{
    struct value v;
    struct buf e;
    buf_init(&e, EXPR_MAX);
    enum err err = gotmpl_pipeline(t, &e, &v);
    if (!err && !is_silent(t)) {
        buf_puts(t->out, "{{ ");
        if (is_object(&v))
            gotmpl_put_json(buf_str(&e), t->out);
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
    gotmpl_skip_blanks(t);
    if (t->item == t->item_end || strncmp(t->item, "/*", 2) == 0) return OK;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (gotmpl_take_keyword(t, refused[i]))
            return gotmpl_fail(t, "templates in a template are not understood");
    if (gotmpl_take_keyword(t, "if")) return do_if(t);
    if (gotmpl_take_keyword(t, "else")) return do_else(t);
    if (gotmpl_take_keyword(t, "end")) return do_end(t);
    if (gotmpl_take_keyword(t, "range")) return do_range(t);
    if (gotmpl_take_keyword(t, "with")) return do_with(t);
    if (gotmpl_take_keyword(t, "break") || gotmpl_take_keyword(t, "continue")) {
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
        bool trim = action && open + 3 < t->end && open[2] == '-' && gotmpl_is_blank(open[3]);
        put_text(t, t->at, (size_t)(open - t->at), trim);
        t->trim_next = false;
        t->at = open;
        if (!action) break;
        const char *inside = open + (trim ? 3 : 2);
        bool comment = strncmp(inside + strspn(inside, " \t\r\n"), "/*", 2) == 0;
        const char *close = comment ? strstr(inside, "*/") : inside;
        close = close ? find_end(close, t->end) : NULL;
        if (!close) return gotmpl_fail(t, "an action has no end (}})");
        t->item = inside;
        t->item_end = close;
        if (close - inside > 1 && close[-1] == '-' && gotmpl_is_blank(close[-2])) {
            t->trim_next = true;
            t->item_end = close - 1;
        }
        e = do_action(t);
        t->at = close + 2;
    }
    if (!e && t->depth) e = gotmpl_fail(t, "a block has no end");
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
