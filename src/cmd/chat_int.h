/* Inside of `hearth chat`: the conversation, asking, and the pieces of the interactive session.
 *
 *   chat.c          the verb: options, one question and out
 *   chat_talk.c     one question to the link, its answer onto the screen
 *   chat_repl.c     the interactive session and its /commands
 *   chat_input.c    reading lines: libedit on a terminal
 *   chat_history.c  what was typed, kept in the data folder
 *   chat_file.c     /save and /load
 *
 * Everything runs on the main thread. */
#ifndef HEARTH_CMD_CHAT_INT_H
#define HEARTH_CMD_CHAT_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "cmd/cmd_int.h"
#include "cmd/link.h"
#include "cmd/term.h"

enum { CHAT_TEXT_MAX = 8 << 20, CHAT_FILE_MAX = 64 << 20 };

struct chat_stats {
    struct usage usage;
    int64_t first_ms, total_ms; /* to the first text, to the end */
    char model[MODEL_ID_MAX];
};

struct chat {
    const struct config *config;
    const struct cmd_args *args;
    struct link *link;
    struct config *config_here; /* of a local link */

    char *model;          /* as asked for, or NULL: the hub's default */
    const char *provider; /* who answers; NULL = as the hub's route says */
    bool local_only;
    char *adapter;    /* or NULL: the hub's default */
    char *system;     /* or NULL */
    json_t *messages; /* array of {role, content}, without the system prompt */
    char *schema;     /* JSON schema text, or NULL */

    /* Sampling; absent = the hub's default. */
    bool has_temperature, has_max_tokens, has_seed, has_top_p;
    double temperature, top_p;
    int64_t max_tokens, seed;

    /* Screen. */
    enum term_style style; /* of standard output */
    bool tty;
    struct chat_stats stats; /* of the last answer */
};

/* Asks, and shows the answer as it comes. On OK question and answer are in the conversation, also
 * an answer that Ctrl-C stopped once it had begun (*stopped is set then). On any error the
 * conversation is as before: ERR_CANCELLED when it was stopped before any text, ERR_CLOSED when
 * standard output takes no more. */
HT_MUST_CHECK enum err chat_ask(struct chat *chat, const char *question, bool *stopped,
                                struct error *error);
/* Removes the last question and its answer; NULL when there is none, else the question (free). */
char *chat_undo(struct chat *chat);

/* The interactive session, until its end. A cmd_status. */
int chat_repl(struct chat *chat);

/* JSON of the conversation to a file (0600), and back. A file that exists is only overwritten with
 * `overwrite`. */
HT_MUST_CHECK enum err chat_save(const struct chat *chat, const char *path, bool overwrite,
                                 struct error *error);
HT_MUST_CHECK enum err chat_load(struct chat *chat, const char *path, struct error *error);

/* ---- reading lines -------------------------------------------------------------------------- */

struct chat_input;

enum chat_read { CHAT_LINE, CHAT_EOF, CHAT_INTERRUPT };

/* history_path "" = keep none. */
struct chat_input *chat_input_open(const char *history_path);
void chat_input_close(struct chat_input *in);
/* One line without its newline, valid until the next call. CHAT_INTERRUPT: Ctrl-C; *line is what
 * was typed so far. Gives the terminal back in its own mode. */
enum chat_read chat_input_read(struct chat_input *in, const char *prompt, const char **line);
/* Remembers a whole entry (it may have several lines). */
void chat_input_remember(struct chat_input *in, const char *entry);

/* ---- history -------------------------------------------------------------------------------- */

/* Calls fn for each kept entry, oldest first. A file that can't be read is no error: there is just
 * no history. */
void chat_history_load(const char *path, void (*fn)(void *ctx, const char *entry), void *ctx);
/* Appends one entry; creates the file for its owner only. */
void chat_history_append(const char *path, const char *entry);

#endif
