/* The fake engine's answer parser: <think>, </think>, <tool_call>NAME ARGS</tool_call>. A state
 * machine over the text so far that holds back only what may still become a marker.
 *
 *   TEXT --<think>--> REASONING --</think>--> TEXT
 *   TEXT --<tool_call>--> NAME --' '--> ARGS --</tool_call>--> TEXT
 */
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "engine/fake_int.h"

enum state { TEXT, REASONING, NAME, ARGS };

struct fake_parser {
    struct engine_parser head;
    bool tools, reasoning;
    enum state state;
    int32_t call; /* index of the call under way or the next */
    struct buf held;
    struct delta_list deltas;
};

enum err fake_parser_new(const struct engine_prompt *head, struct engine_parser **out,
                         struct error *error)
{
    (void)error;
    const struct fake_prompt *p = (const struct fake_prompt *)head;
    struct fake_parser *ps = xcalloc(1, sizeof *ps);
    ps->head.ops = head->ops;
    ps->tools = p->parse_tools;
    ps->reasoning = p->parse_reasoning;
    buf_init(&ps->held, ENGINE_OUTPUT_TEXT_MAX);
    delta_list_init(&ps->deltas);
    *out = &ps->head;
    return OK;
}

void fake_parser_free(struct engine_parser *head)
{
    struct fake_parser *ps = (struct fake_parser *)head;
    buf_free(&ps->held);
    delta_list_free(&ps->deltas);
    free(ps);
}

/* Hands out n held bytes in the present state. */
static void emit(struct fake_parser *ps, size_t n)
{
    const char *text = buf_str(&ps->held);
    if (ps->state == REASONING)
        delta_text(&ps->deltas, DELTA_REASONING, text, n);
    else if (ps->state == TEXT)
        delta_text(&ps->deltas, DELTA_TEXT, text, n);
    else if (n)
        delta_tool(&ps->deltas, ps->call, NULL, NULL, text, n);
    buf_consume(&ps->held, n);
}

/* Where in the held bytes `marker`, or a beginning of it at their end, starts; len if nowhere. */
static size_t find(const struct buf *held, const char *marker, bool *whole)
{
    size_t n = strlen(marker);
    for (size_t i = 0; i < held->len; i++) {
        size_t left = held->len - i < n ? held->len - i : n;
        if (memcmp(held->data + i, marker, left) != 0) continue;
        *whole = left == n;
        return i;
    }
    *whole = false;
    return held->len;
}

/* Up to the marker; true when it was found whole and taken. */
static bool take_until(struct fake_parser *ps, const char *marker)
{
    bool whole;
    size_t at = find(&ps->held, marker, &whole);
    emit(ps, at);
    if (whole) buf_consume(&ps->held, strlen(marker));
    return whole;
}

static bool in_text(struct fake_parser *ps)
{
    bool think = false, tool = false;
    size_t think_at = ps->held.len, tool_at = ps->held.len;
    if (ps->reasoning) think_at = find(&ps->held, "<think>", &think);
    if (ps->tools) tool_at = find(&ps->held, "<tool_call>", &tool);
    if (think_at < tool_at ? think : tool) {
        bool first = think_at < tool_at;
        emit(ps, first ? think_at : tool_at);
        buf_consume(&ps->held, strlen(first ? "<think>" : "<tool_call>"));
        ps->state = first ? REASONING : NAME;
        return true;
    }
    emit(ps, think_at < tool_at ? think_at : tool_at);
    return false;
}

static bool in_name(struct fake_parser *ps)
{
    char *space = ps->held.len ? strchr(ps->held.data, ' ') : NULL;
    if (!space) return false;
    *space = '\0';
    char id[32];
    id_make(id, sizeof id, "call_");
    delta_tool(&ps->deltas, ps->call, id, ps->held.data, "", 0);
    buf_consume(&ps->held, strlen(ps->held.data) + 1);
    ps->state = ARGS;
    return true;
}

/* One step; false when more text is needed. */
static bool step(struct fake_parser *ps)
{
    switch (ps->state) {
    case TEXT: return in_text(ps);
    case NAME: return in_name(ps);
    case REASONING:
        if (!take_until(ps, "</think>")) return false;
        ps->state = TEXT;
        return true;
    case ARGS:
        if (!take_until(ps, "</tool_call>")) return false;
        ps->state = TEXT;
        ps->call++;
        return true;
    }
    ht_bug("unknown parser state");
}

enum err fake_parser_feed(struct engine_parser *head, const char *text, size_t len, bool final,
                          const struct engine_delta **out, size_t *n, struct error *error)
{
    struct fake_parser *ps = (struct fake_parser *)head;
    delta_list_clear(&ps->deltas);
    enum err e = buf_append(&ps->held, text, len);
    if (e) return err_set(error, e, "the answer is too long to parse");
    while (ps->held.len && step(ps)) {
    }
    if (final && ps->held.len) { /* an unfinished marker or name is text, so nothing is lost */
        if (ps->state == NAME) {
            delta_text(&ps->deltas, DELTA_TEXT, "<tool_call>", 11);
            ps->state = TEXT;
        }
        emit(ps, ps->held.len);
    }
    return delta_list_done(&ps->deltas, out, n, error);
}
