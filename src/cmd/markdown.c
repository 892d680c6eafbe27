/* The stream of a Markdown text, cut into lines and the lines into pieces that md_span may show.
 *
 * States of a line:
 *   HEAD   its first characters are collected until they tell its kind (head_kind -> begin_line)
 *   TEXT   inline text, shown up to the last safe cut (scan, show_text)
 *   CODE   within a fence, shown as it comes
 *   ROW    a table's row, collected (end_line -> m->table; show_table when another kind follows) */
#include "cmd/markdown.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/flow.h"
#include "cmd/md_span.h"

enum {
    HOLD_MAX = 2000,       /* bytes of text that an open delimiter may hold back */
    TABLE_MAX = 256 << 10, /* a larger table is shown as text */
    INDENT_MAX = 24,
    RULE_COLUMNS = 40,
};

enum state { HEAD, TEXT, CODE, ROW };

enum kind {
    UNDECIDED,
    K_BLANK,
    K_TEXT,
    K_HEADING,
    K_ITEM,
    K_QUOTE,
    K_RULE,
    K_FENCE,
    K_FENCE_END,
    K_CODE,
    K_ROW,
};

/* What the head of a line says. */
struct head {
    enum kind kind;
    size_t indent; /* blanks in front */
    size_t marker; /* bytes of the marker behind them, its blank included */
};

/* Where the scanner for safe cuts stands in m->line. */
struct scan {
    size_t pos, safe;
    int star, under, bracket;
    bool paren, strike;
    size_t ticks; /* length of the backtick run that is open */
};

struct markdown {
    enum term_style style;
    struct flow flow;
    enum state state;
    struct buf line; /* of the current line, what was not shown yet */
    struct buf table;
    struct scan scan;
    char fence; /* '`' or '~' within a code block, else 0 */
    size_t fence_len;
    unsigned look; /* of the verbatim line under way, 0 = none */
    bool blank;    /* an empty line is due before the next content */
    bool shown;    /* something was */
    char part[4];  /* beginning of a character whose rest is missing */
    size_t n_part;
};

struct markdown *markdown_new(int width, enum term_style style)
{
    struct markdown *m = xcalloc(1, sizeof(*m));
    m->style = style;
    flow_init(&m->flow, width, style);
    buf_init(&m->line, 1 << 20);
    buf_init(&m->table, TABLE_MAX);
    return m;
}

void markdown_free(struct markdown *m)
{
    if (!m) return;
    flow_free(&m->flow);
    buf_free(&m->line);
    buf_free(&m->table);
    free(m);
}

/* ---- the kind of a line --------------------------------------------------------------------- */

static size_t run_length(const char *s, size_t len, char c)
{
    size_t n = 0;
    while (n < len && s[n] == c) n++;
    return n;
}

static bool only_blanks(const char *s, size_t len)
{
    return run_length(s, len, ' ') == len;
}

/* A line within a code block: its end, or code. */
static enum kind code_kind(const struct markdown *m, const char *s, size_t len, bool complete)
{
    size_t indent = run_length(s, len, ' ');
    size_t run = run_length(s + indent, len - indent, m->fence);
    if (!only_blanks(s + indent + run, len - indent - run)) return K_CODE;
    if (!complete) return len > HOLD_MAX ? K_CODE : UNDECIDED;
    return run >= m->fence_len ? K_FENCE_END : K_CODE;
}

/* "---", "***", "___": all of the line and at least three. */
static bool is_rule(const char *s, size_t len, char c)
{
    size_t run = run_length(s, len, c);
    return run >= 3 && only_blanks(s + run, len - run);
}

/* s starts with '-', '+', '*' or '_'. */
static struct head dash_kind(const char *s, size_t len, bool complete, struct head h)
{
    char c = s[0];
    if (len == 1 && !complete) return h;
    if (len > 1 && s[1] == ' ' && c != '_') {
        h.kind = K_ITEM;
        h.marker = 2;
        return h;
    }
    size_t run = run_length(s, len, c);
    if (!complete && c != '+' && only_blanks(s + run, len - run)) return h;
    h.kind = complete && c != '+' && is_rule(s, len, c) ? K_RULE : K_TEXT;
    return h;
}

/* s starts with a digit. */
static struct head number_kind(const char *s, size_t len, bool complete, struct head h)
{
    size_t n = 0;
    while (n < len && s[n] >= '0' && s[n] <= '9') n++;
    h.kind = K_TEXT;
    if (n > 9) return h;
    bool mark = n < len && (s[n] == '.' || s[n] == ')');
    if (!complete && (n == len || (mark && n + 1 == len))) {
        h.kind = UNDECIDED;
    } else if (mark && n + 1 < len && s[n + 1] == ' ') {
        h.kind = K_ITEM;
        h.marker = n + 2;
    }
    return h;
}

/* s starts with '`' or '~': a fence is at least three, and known when the line is complete. */
static struct head fence_kind(const char *s, size_t len, bool complete, struct head h)
{
    size_t run = run_length(s, len, s[0]);
    bool inline_code = s[0] == '`' && memchr(s + run, '`', len - run);
    if (run < 3 ? run < len || complete : inline_code)
        h.kind = K_TEXT;
    else if (complete)
        h.kind = K_FENCE;
    return h;
}

static struct head heading_kind(const char *s, size_t len, bool complete, struct head h)
{
    size_t run = run_length(s, len, '#');
    if (run == len && !complete && run <= 6) return h;
    bool heading = run <= 6 && run < len && s[run] == ' ';
    h.kind = heading ? K_HEADING : K_TEXT;
    h.marker = heading ? run + 1 : 0;
    return h;
}

static struct head head_kind(const struct markdown *m, bool complete)
{
    const char *s = buf_str(&m->line);
    size_t len = m->line.len;
    struct head h = {.kind = UNDECIDED};
    if (m->fence) {
        h.kind = code_kind(m, s, len, complete);
        return h;
    }
    h.indent = run_length(s, len, ' ');
    if (h.indent == len) {
        if (complete) h.kind = K_BLANK;
        return h;
    }
    s += h.indent;
    len -= h.indent;
    switch (s[0]) {
    case '#': h = heading_kind(s, len, complete, h); break;
    case '-':
    case '+':
    case '*':
    case '_': h = dash_kind(s, len, complete, h); break;
    case '`':
    case '~': h = fence_kind(s, len, complete, h); break;
    case '>':
        if (len > 1 || complete) h.kind = K_QUOTE;
        h.marker = len > 1 && s[1] == ' ' ? 2 : 1;
        break;
    case '|': h.kind = K_ROW; break;
    default:
        h = s[0] >= '0' && s[0] <= '9' ? number_kind(s, len, complete, h) : h;
        if (s[0] < '0' || s[0] > '9') h.kind = K_TEXT;
    }
    if (h.kind == UNDECIDED && m->line.len > HOLD_MAX) h.kind = K_TEXT;
    return h;
}

/* ---- inline text: where it may be cut ------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_punct(char c)
{
    return c > ' ' && c < 0x7F && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", c);
}

static bool balanced(const struct scan *s)
{
    return !s->star && !s->under && !s->bracket && !s->paren && !s->strike && !s->ticks;
}

/* A run of *, _ or ~ between the characters before and after. */
static void scan_run(struct scan *s, char c, size_t run, char before, char after)
{
    bool opens = !is_blank(after), closes = !is_blank(before);
    if (c == '~') {
        if (run != 2) return;
        if (s->strike ? closes : opens) s->strike = !s->strike;
        return;
    }
    if (c == '_') {
        opens = opens && (is_blank(before) || is_punct(before));
        closes = closes && (is_blank(after) || is_punct(after));
    }
    int *open = c == '*' ? &s->star : &s->under;
    if (closes && *open)
        *open = *open > (int)run ? *open - (int)run : 0;
    else if (opens)
        *open += (int)run;
}

/* Moves the scanner over one construct; false when it must see more first. */
static bool scan_step(struct markdown *m, bool complete)
{
    struct scan *s = &m->scan;
    const char *text = m->line.data + s->pos;
    size_t len = m->line.len - s->pos;
    char c = text[0];
    size_t run = 1;
    if (strchr("`*_~", c)) {
        run = run_length(text, len, c);
        if (run == len && !complete) return false;
    }
    if (c == '`') {
        if (!s->ticks || s->ticks == run) s->ticks = s->ticks ? 0 : run;
        s->pos += run;
        return true;
    }
    if (s->ticks) {
        s->pos++;
        return true;
    }
    if ((c == '\\' || c == ']') && len == 1 && !complete) return false;
    switch (c) {
    case '\\': run = len > 1 && is_punct(text[1]) ? 2 : 1; break;
    case '*':
    case '_':
    case '~': scan_run(s, c, run, s->pos ? text[-1] : ' ', run < len ? text[run] : ' '); break;
    case '[': s->bracket++; break;
    case ']':
        if (s->bracket && --s->bracket == 0 && len > 1 && text[1] == '(') s->paren = true;
        break;
    case ')': s->paren = false; break;
    case ' ':
        if (balanced(s)) s->safe = s->pos;
        break;
    default:
        if ((unsigned char)c >= 0x80) { /* wide characters: no blanks to cut at */
            uint32_t cp;
            run = term_decode(text, len, &cp);
            if (term_char_width(cp) == 2 && balanced(s)) s->safe = s->pos + run;
        }
    }
    s->pos += run;
    return true;
}

/* Shows the line up to n bytes and drops them. */
static void show_text(struct markdown *m, size_t n)
{
    md_span(&m->flow, m->line.data, n);
    flow_flush(&m->flow); /* cuts are between words */
    buf_consume(&m->line, n);
    m->scan.pos -= n < m->scan.pos ? n : m->scan.pos;
    m->scan.safe = 0;
}

/* Shows what may be shown, cut at every safe place: so the result is the same however the text
 * comes in. */
static void advance_text(struct markdown *m, bool complete)
{
    while (m->scan.pos < m->line.len && scan_step(m, complete)) {
        if (m->scan.safe > 0) show_text(m, m->scan.safe);
        if (m->scan.pos > HOLD_MAX) {
            size_t n = m->scan.pos;
            m->scan = (struct scan){.pos = n};
            show_text(m, n);
        }
    }
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void before_content(struct markdown *m)
{
    if (m->blank && m->shown) buf_putc(m->flow.out, '\n');
    m->blank = false;
    m->shown = true;
}

/* A line that is neither parsed nor wrapped, in a look that lasts until end_verbatim. */
static void show_verbatim(struct markdown *m, unsigned look)
{
    if (m->line.len == 0) return;
    if (!m->look) flow_look_on(&m->flow, look, m->flow.out);
    m->look = look;
    buf_append(m->flow.out, m->line.data, m->line.len);
    buf_clear(&m->line);
}

static void end_verbatim(struct markdown *m)
{
    flow_look_off(&m->flow, m->look, m->flow.out);
    m->look = 0;
}

static void show_rule(struct markdown *m)
{
    char rule[3 * RULE_COLUMNS];
    size_t n = 0;
    buf_clear(&m->line);
    for (int i = m->flow.col; i < m->flow.width && i < RULE_COLUMNS; i++, n += 3)
        memcpy(rule + n, "\u2500", 3);
    flow_text(&m->flow, LOOK_DIM, rule, n);
}

/* The collected rows, as a table or, when md4c sees none, as lines of text. */
static void show_table(struct markdown *m)
{
    if (m->table.len == 0) return;
    before_content(m);
    if (!md_table(&m->flow, m->table.data, m->table.len)) {
        const char *p = m->table.data, *end = p + m->table.len;
        while (p < end) {
            const char *nl = memchr(p, '\n', (size_t)(end - p));
            size_t len = nl ? (size_t)(nl - p) : (size_t)(end - p);
            md_span(&m->flow, p, len);
            flow_newline(&m->flow);
            p += len + 1;
        }
    }
    buf_clear(&m->table);
}

static void begin_item(struct markdown *m, const struct head *h)
{
    char first[INDENT_MAX + 16], rest[INDENT_MAX + 16];
    int indent = (int)(h->indent < INDENT_MAX ? h->indent : INDENT_MAX);
    const char *marker = m->line.data + h->indent;
    bool number = marker[0] >= '0' && marker[0] <= '9';
    int columns = indent + (int)(number ? h->marker : 2);
    if (number)
        str_printf(first, sizeof(first), "%*s%.*s", indent, "", (int)h->marker, marker);
    else
        str_printf(first, sizeof(first), "%*s\u2022 ", indent, "");
    str_printf(rest, sizeof(rest), "%*s", columns, "");
    flow_prefix(&m->flow, first, rest, columns, false);
}

static void begin_text(struct markdown *m, const struct head *h)
{
    int indent = (int)(h->indent < INDENT_MAX ? h->indent : INDENT_MAX);
    if (indent == 0) return;
    char blanks[INDENT_MAX + 1];
    str_printf(blanks, sizeof(blanks), "%*s", indent, "");
    flow_prefix(&m->flow, blanks, blanks, indent, false);
}

static void begin_fence(struct markdown *m, const struct head *h)
{
    const char *s = m->line.data + h->indent;
    m->fence = s[0];
    m->fence_len = run_length(s, m->line.len - h->indent, s[0]);
}

/* The kind is known: shows what it begins with and takes it off m->line. */
static void begin_line(struct markdown *m, struct head h)
{
    if (h.kind == K_ROW && m->flow.col == 0) {
        m->state = ROW;
        return;
    }
    show_table(m);
    if (h.kind == K_BLANK) {
        buf_clear(&m->line);
        m->blank = true;
        m->state = TEXT;
        return;
    }
    before_content(m);
    m->state = TEXT;
    m->scan = (struct scan){0};
    switch (h.kind) {
    case K_HEADING: m->flow.look = LOOK_BOLD | (h.marker == 2 ? LOOK_UNDERLINE : 0u); break;
    case K_ITEM: begin_item(m, &h); break;
    case K_QUOTE:
        flow_prefix(&m->flow, "\u2502 ", "\u2502 ", 2, true);
        m->state = HEAD; /* a heading or an item may follow inside */
        break;
    case K_RULE: show_rule(m); return;
    case K_FENCE:
        begin_fence(m, &h);
        show_verbatim(m, LOOK_DIM);
        return;
    case K_FENCE_END:
        m->fence = 0;
        show_verbatim(m, LOOK_DIM);
        return;
    case K_CODE: m->state = CODE; return;
    default: begin_text(m, &h);
    }
    buf_consume(&m->line, h.indent + h.marker);
}

static void decide(struct markdown *m, bool complete)
{
    while (m->state == HEAD) {
        struct head h = head_kind(m, complete);
        if (h.kind == UNDECIDED) return;
        begin_line(m, h);
        if (m->state == HEAD && m->line.len == 0) return;
    }
}

static void show_now(struct markdown *m)
{
    if (m->state == HEAD) decide(m, false);
    if (m->state == TEXT) advance_text(m, false);
    if (m->state == CODE) show_verbatim(m, LOOK_CODE);
}

static void end_line(struct markdown *m)
{
    bool was_blank = false;
    if (m->state == HEAD && (m->line.len > 0 || m->flow.col == 0)) {
        decide(m, true);
        was_blank = m->blank && m->flow.col == 0;
    }
    if (m->state == ROW) {
        if (m->table.len + m->line.len + 1 > TABLE_MAX) show_table(m);
        buf_append(&m->table, buf_str(&m->line), m->line.len);
        buf_putc(&m->table, '\n');
        buf_clear(&m->line);
    } else if (m->state == CODE) {
        show_verbatim(m, LOOK_CODE);
        end_verbatim(m);
        buf_putc(m->flow.out, '\n');
    } else if (!was_blank) {
        end_verbatim(m); /* a fence's own line */
        advance_text(m, true);
        if (m->line.len) md_span(&m->flow, m->line.data, m->line.len);
        buf_clear(&m->line);
        flow_newline(&m->flow);
    }
    m->state = HEAD;
    m->scan = (struct scan){0};
}

/* ---- the stream ----------------------------------------------------------------------------- */

static void take_clean(struct markdown *m, const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && s[i + n] != '\n' && s[i + n] != '\t') n++;
        buf_append(&m->line, s + i, n);
        i += n;
        if (i == len) break;
        if (s[i] == '\t')
            buf_puts(&m->line, "    ");
        else
            end_line(m);
        i++;
    }
    if (m->line.len) show_now(m);
}

void markdown_feed(struct markdown *m, const char *text, size_t len, struct buf *out)
{
    struct buf clean, whole;
    buf_init(&whole, (size_t)64 << 20);
    buf_init(&clean, (size_t)192 << 20);
    buf_append(&whole, m->part, m->n_part);
    buf_append(&whole, text, len);
    m->n_part = whole.len ? utf8_incomplete_tail(whole.data, whole.len) : 0;
    ht_assert(m->n_part < sizeof(m->part));
    if (whole.len) {
        memcpy(m->part, whole.data + whole.len - m->n_part, m->n_part);
        term_clean(&clean, whole.data, whole.len - m->n_part);
    }
    if (m->style == TERM_RAW) {
        buf_append(out, buf_str(&clean), clean.len);
        if (clean.len) m->shown = clean.data[clean.len - 1] != '\n';
    } else {
        m->flow.out = out;
        take_clean(m, buf_str(&clean), clean.len);
    }
    buf_free(&clean);
    buf_free(&whole);
}

void markdown_end(struct markdown *m, struct buf *out)
{
    if (m->n_part) {
        m->n_part = 0;
        markdown_feed(m, "\xEF\xBF\xBD", 3, out);
    }
    m->flow.out = out;
    if (m->style == TERM_RAW) {
        if (m->shown) buf_putc(out, '\n');
    } else {
        if (m->line.len > 0 || m->flow.col > 0 || m->state != HEAD) end_line(m);
        show_table(m);
    }
    m->fence = 0;
    m->blank = m->shown = false;
    m->state = HEAD;
}
