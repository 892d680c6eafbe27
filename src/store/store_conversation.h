/* Conversations and their messages. A conversation belongs to one user; its messages are a tree
 * whose shown branch ends at `leaf_id`. A session id that a client gives is a conversation's id. */
#ifndef HEARTH_STORE_STORE_CONVERSATION_H
#define HEARTH_STORE_STORE_CONVERSATION_H

#include "base/arena.h"
#include "store/store.h"
#include "store/store_user.h"

enum { STORE_PAGE_MAX = 200, STORE_BRANCH_MAX = 10000 };

struct store_conversation {
    const char *id, *title, *meta /* JSON */, *leaf_id /* NULL: no message yet */;
    bool archived;
    bool local_only; /* it never leaves the machine */
    int64_t n_messages, created_ms, updated_ms;
    const char *snippet; /* of a search: the text around the hit, else NULL */
};

enum store_message_status { STORE_COMPLETE, STORE_STREAMING, STORE_STOPPED, STORE_FAILED };

struct store_message {
    const char *id, *parent_id; /* parent_id NULL: the first of its branch */
    const char *role;           /* "system", "user", "assistant", "tool" */
    const char *content;
    const char *reasoning, *model; /* may be NULL */
    const char *meta;              /* JSON object: usage, sources, tool calls; NULL = {} */
    enum store_message_status status;
    int64_t created_ms; /* 0 when adding = now */
};

/* ERR_CONFLICT: the id exists, whoever has it. */
HT_MUST_CHECK enum err store_conversation_create(struct store *s, const char *user_id,
                                                 const char *id, const char *title,
                                                 const char *meta, struct error *error);
HT_MUST_CHECK enum err store_conversation_get(struct store *s, const char *user_id, const char *id,
                                              struct arena *a, struct store_conversation *out,
                                              struct error *error);

struct store_conversation_page {
    const char *search; /* words that a message or the title must have; NULL = all */
    bool archived;      /* these instead of the others */
    int64_t before_ms;  /* go on after the last one of a page: its updated_ms and id */
    const char *before_id;
    int32_t limit; /* 1..STORE_PAGE_MAX */
};

/* The last changed first; *n < limit: there are no more. */
HT_MUST_CHECK enum err store_conversation_list(struct store *s, const char *user_id,
                                               const struct store_conversation_page *page,
                                               struct arena *a, struct store_conversation **out,
                                               size_t *n, struct error *error);

struct store_conversation_change { /* NULL or -1: stays */
    const char *title, *meta, *leaf_id;
    int archived, local_only;
};

/* ERR_INVALID: leaf_id is no message of this conversation. */
HT_MUST_CHECK enum err store_conversation_update(struct store *s, const char *user_id,
                                                 const char *id,
                                                 const struct store_conversation_change *change,
                                                 struct error *error);
HT_MUST_CHECK enum err store_conversation_delete(struct store *s, const char *user_id,
                                                 const char *id, struct error *error);

/* It never leaves the machine from now on. Not a change that shows in the order of the list. */
HT_MUST_CHECK enum err store_conversation_pin(struct store *s, const char *user_id, const char *id,
                                              struct error *error);

/* Whether it is pinned; one that is gone is not. */
HT_MUST_CHECK enum err store_conversation_pinned(struct store *s, const char *user_id,
                                                 const char *id, bool *out, struct error *error);

struct store_conversation_new {
    const char *id, *title, *meta /* NULL = {} */, *leaf_id /* NULL: none */;
    int64_t created_ms, updated_ms; /* 0 = now */
};

/* A whole conversation, each message under the parent that it names and that stands before it. All
 * or nothing. ERR_CONFLICT: one of the ids exists, whoever has it. */
HT_MUST_CHECK enum err store_conversation_import(struct store *s, const char *user_id,
                                                 const struct store_conversation_new *c,
                                                 const struct store_message *messages, size_t n,
                                                 struct error *error);

/* Adds messages, each the parent of the next, under messages[0].parent_id; the last one becomes the
 * leaf. All or none. ERR_INVALID: the parent is no message of this conversation. */
HT_MUST_CHECK enum err store_conversation_append(struct store *s, const char *user_id,
                                                 const char *id,
                                                 const struct store_message *messages, size_t n,
                                                 struct error *error);
/* The end of an answer that was streaming: replaces its text. */
HT_MUST_CHECK enum err store_message_finish(struct store *s, const char *user_id,
                                            const struct store_message *m, struct error *error);
/* One message, and whose conversation's it is. */
HT_MUST_CHECK enum err store_message_get(struct store *s, const char *user_id, const char *id,
                                         struct arena *a, struct store_message *out,
                                         char conversation[STORE_ID_MAX], struct error *error);
/* From the first message to `leaf_id` (NULL = the shown branch). At most STORE_BRANCH_MAX, the last
 * ones. */
HT_MUST_CHECK enum err store_message_branch(struct store *s, const char *user_id, const char *id,
                                            const char *leaf_id, struct arena *a,
                                            struct store_message **out, size_t *n,
                                            struct error *error);
/* Every message of the conversation, in the order of arrival: for exports and branches. */
HT_MUST_CHECK enum err store_message_list(struct store *s, const char *user_id, const char *id,
                                          struct arena *a, struct store_message **out, size_t *n,
                                          struct error *error);
/* Answers that were streaming when the hub stopped become STORE_FAILED; returns how many. */
HT_MUST_CHECK enum err store_message_recover(struct store *s, int64_t *n, struct error *error);

#endif
