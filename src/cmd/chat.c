/* `hearth chat`: talks to a running hub, or loads the model itself. Interactive on a terminal, one
 * question and its answer otherwise. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/chat_int.h"
#include "cmd/interrupt.h"

enum { SCHEMA_MAX = 1 << 20 };

static const struct cmd_option options[] = {
    {"model", 'm', "NAME", CMD_NO_KEY, NULL,
     "Model to ask: a local or catalogue name, or a path to a GGUF file.", COMPLETE_MODEL},
    {"provider", 'p', "NAME", CMD_NO_KEY, NULL,
     "Who answers: local, ollama, openai, anthropic, cohere or another configured provider; "
     "without "
     "it the default route says it.",
     COMPLETE_NONE},
    {"local", 0, NULL, CMD_NO_KEY, NULL, "The conversation must not leave this machine.",
     COMPLETE_NONE},
    {"adapter", 'a', "NAME", CMD_NO_KEY, NULL, "LoRA adapter to use; base is none.", COMPLETE_NONE},
    {"system", 's', "TEXT", CMD_NO_KEY, NULL, "System prompt: how the model should behave.",
     COMPLETE_NONE},
    {"temperature", 't', "NUMBER", CMD_NO_KEY, NULL,
     "Randomness: 0 always takes the likeliest word (setting DEFAULT_TEMPERATURE).", COMPLETE_NONE},
    {"top-p", 0, "NUMBER", CMD_NO_KEY, NULL,
     "Only the likeliest words that make up this share (setting DEFAULT_TOP_P).", COMPLETE_NONE},
    {"max-tokens", 'n', "N", CMD_NO_KEY, NULL,
     "Longest answer in tokens (setting DEFAULT_MAX_TOKENS).", COMPLETE_NONE},
    {"seed", 0, "N", CMD_NO_KEY, NULL, "Same seed, same answer.", COMPLETE_NONE},
    {"json-schema", 0, "FILE", CMD_NO_KEY, NULL, "The answer is JSON that this schema allows.",
     COMPLETE_FILE},
    {"url", 'u', "URL", CMD_NO_KEY, NULL, "The hub to talk to, instead of the one found here.",
     COMPLETE_NONE},
    {"no-hub", 0, NULL, CMD_NO_KEY, NULL, "Load the model in this process even if a hub runs.",
     COMPLETE_NONE},
    {"plain", 0, NULL, CMD_NO_KEY, NULL, "No Markdown rendering on the terminal.", COMPLETE_NONE},
};

static enum err read_options(struct chat *c, struct error *error)
{
    const struct cmd_args *args = c->args;
    c->has_temperature = cmd_flag(args, "temperature");
    c->has_top_p = cmd_flag(args, "top-p");
    c->has_max_tokens = cmd_flag(args, "max-tokens");
    c->has_seed = cmd_flag(args, "seed");
    enum err err = cmd_opt_double(args, "temperature", 0, 100, &c->temperature, error);
    if (err == OK) err = cmd_opt_double(args, "top-p", 0, 1, &c->top_p, error);
    if (err == OK) err = cmd_opt_int(args, "max-tokens", 1, INT32_MAX, &c->max_tokens, error);
    if (err == OK) err = cmd_opt_int(args, "seed", 0, UINT32_MAX - 1, &c->seed, error);
    if (err) return err;
    const char *model = cmd_opt(args, "model"), *system = cmd_opt(args, "system");
    const char *adapter = cmd_opt(args, "adapter");
    c->provider = cmd_opt(args, "provider");
    c->local_only = cmd_flag(args, "local");
    if (model) c->model = xstrdup(model);
    if (adapter) c->adapter = xstrdup(adapter);
    if (system) c->system = xstrdup(system);
    return OK;
}

static enum err read_schema(struct chat *c, struct error *error)
{
    const char *path = cmd_opt(c->args, "json-schema");
    if (!path) return OK;
    struct buf text;
    json_t *root = NULL;
    buf_init(&text, SCHEMA_MAX);
    enum err err = fs_read_file(path, SCHEMA_MAX, &text, error);
    if (err == OK) {
        err = json_parse(buf_str(&text), text.len, &root, error);
        if (err) err_prefix(error, "%s", path);
    }
    json_decref(root);
    if (err == OK) c->schema = buf_take(&text);
    buf_free(&text);
    return err;
}

/* Opens c->link as the options say. */
static enum err open_link(struct chat *c, struct error *error)
{
    enum err err = link_choose(c->args, c->config, &c->link, &c->config_here, error);
    /* A local link has the model as its default; a path would be no name for the API. */
    if (err == OK && c->link->local && !c->link->by_name) {
        free(c->model);
        c->model = NULL;
    }
    return err;
}

/* With the built-in model, say so once, and how to get a real one. Only where a person looks. */
static void tell_builtin(const struct chat *c)
{
    if (!c->link->local || !c->link->model.builtin || c->model || cmd_flag(c->args, "model"))
        return;
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr,
            "%s is the tiny built-in model, good for trying things out; "
            "`hearth pull llama3.2:1b` gets a real one.\n",
            c->link->model.id);
}

static int ask_once(struct chat *c, const char *question)
{
    struct error error;
    bool stopped;
    enum err err = chat_ask(c, question, &stopped, &error);
    if (err == ERR_CLOSED) return CMD_FAILED;
    if (err) return cmd_fail(&error);
    return stopped ? CMD_INTERRUPTED : CMD_OK;
}

/* Widths of characters and the line editor need a locale that knows UTF-8. */
static void use_utf8(void)
{
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
}

static int run_chat(const struct cmd_call *call)
{
    use_utf8();
    struct chat c = {.config = call->config, .args = call->args, .messages = json_array()};
    struct buf question;
    struct error error;
    buf_init(&question, 2 * CHAT_TEXT_MAX);
    c.tty = isatty(STDOUT_FILENO);
    c.style = cmd_flag(call->args, "plain") ? TERM_RAW : term_style_of(STDOUT_FILENO);
    bool talk = call->args->n_rest == 0 && isatty(STDIN_FILENO) && c.tty;

    int status;
    if (read_options(&c, &error) ||
        (!talk && cmd_read_prompt(call->args, &question, CHAT_TEXT_MAX, &error))) {
        status = cmd_usage_error(call->verb, &error);
    } else if (read_schema(&c, &error) || (interrupt_install(), open_link(&c, &error))) {
        status = cmd_fail(&error);
    } else {
        tell_builtin(&c);
        status = talk ? chat_repl(&c) : ask_once(&c, buf_str(&question));
    }
    interrupt_release();
    link_close(c.link);
    if (c.config_here) config_free(c.config_here);
    json_decref(c.messages);
    buf_free(&question);
    free(c.model);
    free(c.adapter);
    free(c.system);
    free(c.schema);
    return status;
}

const struct cmd_verb verb_chat = {
    .name = "chat",
    .args = "[QUESTION]",
    .summary = "Talk to a model, in the terminal or in a pipe",
    .details =
        "Without a question it is interactive: /help lists its commands, Ctrl-C stops an answer, "
        "Ctrl-D ends. With a question, or with text on standard input, it answers once and "
        "ends.\n\n"
        "It talks to the hub that runs on this machine, if there is one, and otherwise loads the "
        "model itself: no server is needed.\n\n"
        "  hearth chat\n"
        "  hearth chat \"What is a llama?\"\n"
        "  cat report.txt | hearth chat \"Summarise this in three sentences\"\n"
        "  hearth chat --provider openai \"Prove that there are infinitely many primes\"\n"
        "  hearth chat --json-schema person.json \"Invent a person\" | jq .name",
    .words = "",
    .max_args = -1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_chat,
};
