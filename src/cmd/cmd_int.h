/* Inside of the command line: verbs, their options, parsed arguments, and the few helpers that
 * every verb uses. Everything runs on the main thread. */
#ifndef HEARTH_CMD_CMD_INT_H
#define HEARTH_CMD_CMD_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"

enum cmd_status { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_INTERRUPTED = 130 };

/* ---- tables --------------------------------------------------------------------------------- */

/* What a shell offers after an option or as an argument. */
enum cmd_complete {
    COMPLETE_NONE,
    COMPLETE_FILE,
    COMPLETE_DIR,
    COMPLETE_MODEL, /* models on disk */
    COMPLETE_KNOWN, /* the catalogue's names */
    COMPLETE_VERB,
};

enum { CMD_NO_KEY = -1 };

struct cmd_option {
    const char *name;       /* long form, without dashes */
    char letter;            /* short form, or 0 */
    const char *arg;        /* what its value is called in help ("PORT"); NULL = a flag */
    int key;                /* setting that it overrides (enum config_key), or CMD_NO_KEY */
    const char *flag_value; /* of a flag with a key: what the setting becomes ("false") */
    const char *help;       /* NULL with a key: the setting's own help */
    enum cmd_complete complete;
};

struct cmd_args;
struct cmd_call;

enum cmd_verb_flags {
    CMD_CONFIG = 1 << 0, /* takes the options of settings; the configuration is loaded for it */
    CMD_QUIET = 1 << 2,  /* logs nothing unless a level was chosen: its errors reach the person */
    CMD_CONFIG_LATER = 1 << 1, /* the same, but it loads the configuration itself */
};

struct cmd_verb {
    const char *name;
    const char *args;    /* "[QUESTION]", for the usage line */
    const char *summary; /* one line, no full stop */
    const char *details; /* paragraphs separated by blank lines; lines starting with two blanks
                            are shown as they are (examples) */
    const char *words;   /* fixed first arguments, for completion: "list show rm" or "" */
    enum cmd_complete complete; /* further arguments */
    int min_args, max_args;     /* max -1 = any number */
    unsigned flags;
    const struct cmd_option *options;
    size_t n_options;
    int (*run)(const struct cmd_call *call); /* a cmd_status */
};

/* NULL-ended, in the order of the help. */
extern const struct cmd_verb *const cmd_verbs[];
const struct cmd_verb *cmd_verb_find(const char *name); /* NULL if there is none */

/* Options that every verb takes, and those of every verb with CMD_CONFIG. */
extern const struct cmd_option cmd_common_options[];
extern const size_t cmd_n_common_options;
extern const struct cmd_option cmd_config_options[];
extern const size_t cmd_n_config_options;

/* The option tables of a verb, its own first. i counts from 0; false after the last. */
bool cmd_option_table(const struct cmd_verb *verb, size_t i, const struct cmd_option **table,
                      size_t *n);

extern const struct cmd_verb verb_ask, verb_extract;
extern const struct cmd_verb verb_ps, verb_top, verb_backup, verb_restore, verb_explain, verb_load,
    verb_unload;
extern const struct cmd_verb verb_serve, verb_chat, verb_run, verb_pull, verb_create, verb_models,
    verb_config, verb_db, verb_add, verb_jobs, verb_users, verb_doctor, verb_bench, verb_version,
    verb_help, verb_completion;

/* ---- parsed arguments ----------------------------------------------------------------------- */

enum { CMD_VALUES_MAX = 128 };

struct cmd_value {
    const struct cmd_option *option;
    const char *value; /* borrowed from argv; "" for a flag */
};

struct cmd_args {
    struct cmd_value values[CMD_VALUES_MAX];
    size_t n_values;
    const char **rest; /* arguments that are no options; owned, the strings are argv's */
    size_t n_rest;
    struct config_override overrides[CMD_VALUES_MAX];
    size_t n_overrides;
};

/* Parses what follows the verb. ERR_INVALID with the words for the person: unknown option (with
 * the nearest), missing or superfluous value, wrong number of arguments, a --set of an unknown
 * setting. Free in both cases. */
HT_MUST_CHECK enum err cmd_args_parse(const struct cmd_verb *verb, int argc, char *const *argv,
                                      struct cmd_args *out, struct error *error);
void cmd_args_free(struct cmd_args *args);

/* The last value of an option, NULL if it was not given. The option must be in the tables. */
const char *cmd_opt(const struct cmd_args *args, const char *name);
/* All values in order: i = 0, 1, ... until NULL. */
const char *cmd_opt_nth(const struct cmd_args *args, const char *name, size_t i);
bool cmd_flag(const struct cmd_args *args, const char *name);
/* Leave *out alone when the option is absent. */
HT_MUST_CHECK enum err cmd_opt_int(const struct cmd_args *args, const char *name, int64_t min,
                                   int64_t max, int64_t *out, struct error *error);
HT_MUST_CHECK enum err cmd_opt_double(const struct cmd_args *args, const char *name, double min,
                                      double max, double *out, struct error *error);
/* The arguments that are no options joined with blanks; free it. NULL when there are none. */
char *cmd_rest_joined(const struct cmd_args *args);

/* The word of `words` (n of them) nearest to `word`, or NULL when none is near. */
const char *cmd_nearest(const char *word, const char *const *words, size_t n);

/* ---- a call --------------------------------------------------------------------------------- */

struct cmd_call {
    const struct cmd_verb *verb;
    const struct cmd_args *args;
    const struct config *config; /* NULL unless CMD_CONFIG */
};

/* The configuration with the call's options and n more overrides on top. */
HT_MUST_CHECK enum err cmd_load_config(const struct cmd_args *args,
                                       const struct config_override *more, size_t n,
                                       struct config **out, struct error *error);

/* The data folder in effect (it may not exist yet). */
HT_MUST_CHECK enum err cmd_data_dir(const struct config *config, char *dst, size_t size,
                                    struct error *error);

/* A hub for verbs that look at models or folders: no server, nothing is loaded. */
struct hub;
HT_MUST_CHECK enum err cmd_open_idle_hub(const struct cmd_args *args, struct config **config,
                                         struct hub **hub, struct error *error);
void cmd_close_idle_hub(struct config *config, struct hub *hub);

/* The database of the configuration (DATABASE_URL, else a file in the data folder, which is made).
 * url (may be NULL): this one instead. */
struct store;
HT_MUST_CHECK enum err cmd_open_store(const struct config *config, const char *url, bool migrate,
                                      struct store **out, struct error *error);

/* ERR_CONFLICT while a hub runs with this data folder. */
HT_MUST_CHECK enum err cmd_refuse_running_hub(const char *data_dir, struct error *error);
/* The files' folder of the configuration, for a command beside the hub: what it adds or cancels is
 * told to the hub by files_wake. */
struct files;
HT_MUST_CHECK enum err cmd_open_files(const struct config *config, struct files **out,
                                      struct error *error);

/* The user of that name (NULL: the oldest admin), for verbs that work on the database. */
struct arena;
struct store_asker;
HT_MUST_CHECK enum err cmd_find_user(struct store *s, const char *name, struct arena *a,
                                     struct store_asker *out, struct error *error);
/* Adds files and folders of this machine for `who` to their collection of that name (NULL = the
 * usual one). *ids: those of the files, of those that were there already, too. */
HT_MUST_CHECK enum err cmd_add_paths(struct store *s, struct files *files,
                                     const struct store_asker *who, const char *collection,
                                     const char *const *paths, size_t n_paths, struct arena *a,
                                     const char ***ids, size_t *n_ids, struct error *error);

/* hub_default_model, with an error that helps the person at this machine: whole paths, and what to
 * do when not even the built-in models are there. */
struct model_info;
HT_MUST_CHECK enum err cmd_default_model(const struct hub *hub, struct model_info *out,
                                         struct error *error);

/* The settings that name files, before anything is built on them: ERR_CONFIG with key, value and
 * what is allowed. What they name may still go later, which is no reason to end. */
HT_MUST_CHECK enum err cmd_check_settings(const struct config *config, struct error *error);

/* The text of the arguments and, when it is not a terminal, of standard input behind it, each at
 * most `max` bytes: `cat file | hearth chat "summarise"`. ERR_INVALID when there is none, or when
 * it is not UTF-8. */
HT_MUST_CHECK enum err cmd_read_prompt(const struct cmd_args *args, struct buf *out, size_t max,
                                       struct error *error);

/* "hearth: <message>" to standard error, without control characters; CMD_USAGE for ERR_INVALID
 * of the arguments is the caller's choice. Returns CMD_FAILED, or CMD_INTERRUPTED for
 * ERR_CANCELLED. */
int cmd_fail(const struct error *error);
/* "hearth <verb>: <message>" and where the help is. Returns CMD_USAGE. */
int cmd_usage_error(const struct cmd_verb *verb, const struct error *error);

/* Writes the whole buffer to standard output; CMD_FAILED (said on standard error unless the
 * reader has just gone) when that fails. */
int cmd_print(const struct buf *text);

/* ---- generated texts ------------------------------------------------------------------------ */

enum err cmd_render_overview(struct buf *out);
enum err cmd_render_help(const struct cmd_verb *verb, struct buf *out);
/* The words that explain an option: its own, or the setting's with name and default. */
void cmd_option_help(const struct cmd_option *option, struct buf *out);

#endif
