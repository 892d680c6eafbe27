/* The items of a response while they grow, and how they are written. Pure. */
#ifndef HEARTH_API_RESPONSES_WRITER_H
#define HEARTH_API_RESPONSES_WRITER_H

#include "api/responses/responses_int.h"
#include "base/json.h"

enum { CALL_ID_MAX = 48 };

enum item_kind { ITEM_THOUGHTS, ITEM_MESSAGE, ITEM_CALL, ITEM_CUSTOM_CALL };

struct item {
    enum item_kind kind;
    char id[RESPONSE_ITEM_ID_MAX];
    char call_id[CALL_ID_MAX];
    struct buf name, text; /* text: or a call's arguments */
    const char *space;     /* the namespace of a call's tool, borrowed; NULL = none */
    struct buf logprobs;   /* JSON objects, comma-separated */
    struct buf sealed;     /* what the provider of the thoughts wants back with them */
    const char *status;    /* "in_progress", "completed", "incomplete" */
};

/* As a member of a response's output; empty: as it is announced, without what it holds. */
void item_write(const struct item *item, const struct response_info *info, bool empty,
                struct jw *w);
/* The text of a call of a tool that takes plain text: what is in its arguments' `input`, or the
 * arguments as they are. The caller's to free. */
void item_custom_input(const struct item *item, struct buf *out);
/* The other way: {"input": text}, appended. */
void item_wrap_input(const char *input, struct buf *out);
/* A message's or a thought's part, as content_part events and items have it. */
void item_write_part(const struct item *item, bool empty, struct jw *w);

/* ---- events --------------------------------------------------------------------------------- */

/* "event: <type>" and "data: {"type":...,"sequence_number":n" of an event; event_close ends it. */
void event_open(struct jw *w, struct buf *out, const char *type, int64_t *sequence);
void event_close(struct jw *w);
/* The two events that announce an item, and those that end it; its deltas lie between. */
void events_item_begin(const struct item *item, const struct response_info *info, size_t index,
                       int64_t *sequence, struct buf *out);
void events_item_delta(const struct item *item, const struct response_info *info, size_t index,
                       const char *text, size_t len, const struct gen_event *ev, int64_t *sequence,
                       struct buf *out);
void events_item_end(const struct item *item, const struct response_info *info, size_t index,
                     int64_t *sequence, struct buf *out);

/* ---- the response --------------------------------------------------------------------------- */

struct response_state {
    const char *status, *model;
    const char *incomplete; /* why it is, or NULL */
    const struct error *error;
    const struct usage *usage; /* NULL = not known yet */
    const struct item *items;
    size_t n_items;
    int64_t completed_s; /* 0 = not */
};

void response_write(const struct response_info *info, const struct response_state *state,
                    struct jw *w);

#endif
