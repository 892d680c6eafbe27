/* Conversations from elsewhere: our own export (GET /conversations/{id}/export?format=json) and
 * ChatGPT's conversations.json, one of them or a list. What comes in is foreign: it is read one
 * conversation at a time, within the limits below, and each is stored whole or not at all.
 *
 * Ids are made from the user and the ids in the file, so that the same file twice makes nothing new
 * and nobody else's ids are touched. Any thread; waits for the database. */
#ifndef HEARTH_CHAT_IMPORT_H
#define HEARTH_CHAT_IMPORT_H

#include "store/store_conversation.h"

enum {
    IMPORT_CONVERSATIONS_MAX = 20000,
    IMPORT_MESSAGES_MAX = 50000,  /* of one conversation */
    IMPORT_VALUES_MAX = 1 << 20,  /* JSON values of one conversation */
    IMPORT_CONTENT_MAX = 8 << 20, /* bytes of one message */
    IMPORT_TITLE_MAX = 500,
    IMPORT_META_MAX = 64 << 10
};

enum import_outcome { IMPORT_DONE, IMPORT_KNOWN /* it was there already */, IMPORT_FAILED };

struct import_report {      /* of one conversation; borrowed during the call */
    const char *id, *title; /* may be "" when it failed */
    enum import_outcome outcome;
    size_t n_messages;
    const struct error *error; /* IMPORT_FAILED */
};

typedef void (*import_fn)(void *ctx, const struct import_report *report);

/* ERR_JSON, ERR_INVALID, ERR_TOO_LARGE: the text is no such file, and nothing of it was stored
 * since the last report; ERR_DATABASE, ERR_DISK_FULL: it broke off, and may be sent again. */
HT_MUST_CHECK enum err chat_import(struct store *store, const char *user_id, const char *text,
                                   size_t len, import_fn report, void *ctx, struct error *error);

/* ---- inside ------------------------------------------------------------------------------- */

/* What was read from one conversation of a file; everything is in the arena. For chat_import and
 * the fuzz target. */
struct import_draft {
    struct arena *arena;
    const char *source_id; /* in the file; NULL = it has none */
    const char *title, *meta;
    int64_t created_ms, updated_ms; /* 0 = not said */
    struct store_message *messages; /* parents before their children */
    size_t n;
    const char *leaf_id;
};

/* Ids are still those of the file. */
HT_MUST_CHECK enum err import_read(const char *text, size_t len, struct import_draft *out,
                                   struct error *error);

#endif
