/* The running hub, for verbs that ask it something and print the answer: the link to it, questions
 * and answers as JSON, and the words for numbers that those verbs have in common. Main thread. */
#ifndef HEARTH_CMD_ASK_H
#define HEARTH_CMD_ASK_H

#include "base/json.h"
#include "cmd/cmd_int.h"
#include "cmd/link.h"

/* The option --url of such verbs. */
#define ASK_URL_OPTION                                                                             \
    {                                                                                              \
        "url", 'u', "URL", CMD_NO_KEY, NULL, "Hub to ask instead of the one that runs here.",      \
            COMPLETE_NONE                                                                          \
    }
#define ASK_JSON_OPTION                                                                            \
    {                                                                                              \
        "json", 0, NULL, CMD_NO_KEY, NULL, "Print the hub's answer as it is.", COMPLETE_NONE       \
    }

/* To the hub of --url, else to the one that runs for this person. ERR_NOT_FOUND: none runs. */
HT_MUST_CHECK enum err ask_open(const struct cmd_call *call, struct link **out,
                                struct error *error);
/* GET when body is NULL, else POST. On OK the caller owns *out, an object. */
HT_MUST_CHECK enum err ask(struct link *link, const char *path, const char *body, json_t **out,
                           struct error *error);
/* Asks, and prints the text of the answer while it comes, with a newline behind it; thoughts are
 * left out. *end is what is known then, as long as the reply. Ctrl-C ends it early (ERR_CANCELLED);
 * ERR_CLOSED: standard output takes no more. */
HT_MUST_CHECK enum err ask_stream(struct link *link, const char *path, const struct buf *body,
                                  struct reply *reply, struct reply_end *end, struct error *error);
/* "/v1/models/" + name + behind, with what a path can't hold percent-encoded. */
bool ask_path(char *dst, size_t size, const char *before, const char *name, const char *behind);

/* Members of an answer; "" and 0 for what isn't there. "usage/prompt_tokens" goes down. */
const char *ask_str(const json_t *obj, const char *path);
double ask_num(const json_t *obj, const char *path);
const json_t *ask_at(const json_t *obj, const char *path);

/* 12.3 ms, 4.5 s, 3 min 20 s, 2 h 5 min */
const char *ask_duration(char *dst, size_t size, double ms);
const char *ask_bytes(char *dst, size_t size, double bytes);

/* How it is with a model of GET /v1/models: its state, "loading 42 %", "leaving". */
const char *ask_model_state(char *dst, size_t size, const json_t *model);

/* Prints text that may hold anything a client or a file said; frees it. A cmd_status. */
int ask_print(struct buf *text);

#endif
