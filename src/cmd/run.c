/* `hearth run`: raw completion. The text goes on; no chat template, no conversation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "cmd/ask.h"
#include "cmd/interrupt.h"

enum { PROMPT_MAX = 8 << 20, BODY_MAX = 64 << 20 };

static const struct cmd_option options[] = {
    {"model", 'm', "NAME", CMD_NO_KEY, NULL,
     "Model to use: a local or catalogue name, or a path to a GGUF file.", COMPLETE_MODEL},
    {"adapter", 'a', "NAME", CMD_NO_KEY, NULL, "LoRA adapter to use; base is none.", COMPLETE_NONE},
    {"max-tokens", 'n', "N", CMD_NO_KEY, NULL,
     "Longest continuation in tokens (setting DEFAULT_MAX_TOKENS).", COMPLETE_NONE},
    {"temperature", 't', "NUMBER", CMD_NO_KEY, NULL,
     "Randomness: 0 always takes the likeliest word (setting DEFAULT_TEMPERATURE).", COMPLETE_NONE},
    {"top-p", 0, "NUMBER", CMD_NO_KEY, NULL,
     "Only the likeliest words that make up this share (setting DEFAULT_TOP_P).", COMPLETE_NONE},
    {"top-k", 0, "N", CMD_NO_KEY, NULL, "Only the N likeliest words; 0 is off.", COMPLETE_NONE},
    {"seed", 0, "N", CMD_NO_KEY, NULL, "Same seed, same continuation.", COMPLETE_NONE},
    {"stop", 0, "TEXT", CMD_NO_KEY, NULL, "Stop before this text; may be repeated.", COMPLETE_NONE},
    {"echo", 'e', NULL, CMD_NO_KEY, NULL, "Print the prompt too.", COMPLETE_NONE},
    {"url", 'u', "URL", CMD_NO_KEY, NULL, "The hub to use, instead of the one found here.",
     COMPLETE_NONE},
    {"no-hub", 0, NULL, CMD_NO_KEY, NULL, "Load the model in this process even if a hub runs.",
     COMPLETE_NONE},
};

static enum err put_sampling(const struct cmd_args *args, struct jw *w, struct error *error)
{
    double temperature = 0, top_p = 0;
    int64_t max_tokens = 0, top_k = 0, seed = 0;
    enum err err = cmd_opt_double(args, "temperature", 0, 100, &temperature, error);
    if (err == OK) err = cmd_opt_double(args, "top-p", 0, 1, &top_p, error);
    if (err == OK) err = cmd_opt_int(args, "max-tokens", 1, INT32_MAX, &max_tokens, error);
    if (err == OK) err = cmd_opt_int(args, "top-k", 0, INT32_MAX, &top_k, error);
    if (err == OK) err = cmd_opt_int(args, "seed", 0, UINT32_MAX - 1, &seed, error);
    if (err) return err;
    if (cmd_flag(args, "adapter")) jw_kstr(w, "adapter", cmd_opt(args, "adapter"));
    if (cmd_flag(args, "temperature")) jw_kdouble(w, "temperature", temperature);
    if (cmd_flag(args, "top-p")) jw_kdouble(w, "top_p", top_p);
    if (cmd_flag(args, "max-tokens")) jw_kint(w, "max_tokens", max_tokens);
    if (cmd_flag(args, "top-k")) jw_kint(w, "top_k", top_k);
    if (cmd_flag(args, "seed")) jw_kint(w, "seed", seed);
    if (cmd_flag(args, "echo")) jw_kbool(w, "echo", true);
    if (!cmd_flag(args, "stop")) return OK;
    jw_key(w, "stop");
    jw_arr(w);
    const char *stop;
    for (size_t i = 0; (stop = cmd_opt_nth(args, "stop", i)); i++) jw_str(w, stop);
    jw_arr_end(w);
    return OK;
}

/* The request but for its model, which depends on the link. */
static enum err build_body(const struct cmd_args *args, const struct buf *prompt, struct buf *out,
                           struct error *error)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "prompt");
    jw_strn(&w, buf_str(prompt), prompt->len);
    jw_kbool(&w, "stream", true);
    enum err err = put_sampling(args, &w, error);
    jw_obj_end(&w);
    if (err == OK && out->err) err = err_set(error, out->err, "the prompt is too long");
    return err;
}

/* "model" goes in front of the other members. */
static void put_model(struct buf *body, const char *model)
{
    struct buf with;
    struct jw w;
    buf_init(&with, BODY_MAX);
    jw_init(&w, &with);
    jw_obj(&w);
    jw_kstr(&w, "model", model);
    buf_putc(&with, ',');
    buf_append(&with, body->data + 1, body->len - 1);
    buf_free(body);
    *body = with;
}

static enum err complete(struct link *link, const struct buf *body, struct error *error)
{
    struct reply_end end;
    struct reply *reply = reply_new();
    enum err err = ask_stream(link, "/v1/completions", body, reply, &end, error);
    reply_free(reply);
    return err;
}

static int run_run(const struct cmd_call *call)
{
    const struct cmd_args *args = call->args;
    struct buf prompt, body;
    struct error error;
    struct link *link = NULL;
    struct config *config_here = NULL;
    const char *model = cmd_opt(args, "model");
    buf_init(&prompt, 2 * PROMPT_MAX);
    buf_init(&body, BODY_MAX);
    int status = CMD_OK;
    if (cmd_read_prompt(args, &prompt, PROMPT_MAX, &error) ||
        build_body(args, &prompt, &body, &error)) {
        status = cmd_usage_error(call->verb, &error);
    } else {
        interrupt_install();
        enum err err = link_choose(args, call->config, &link, &config_here, &error);
        if (err == OK && model && !link->local) put_model(&body, model);
        if (err == OK) err = complete(link, &body, &error);
        if (err) status = err == ERR_CLOSED ? CMD_FAILED : cmd_fail(&error);
    }
    interrupt_release();
    link_close(link);
    if (config_here) config_free(config_here);
    buf_free(&prompt);
    buf_free(&body);
    return status;
}

const struct cmd_verb verb_run = {
    .name = "run",
    .args = "[PROMPT]",
    .summary = "Let a model go on with a text (raw completion)",
    .details =
        "The prompt is taken as it is, without a chat template; with text on standard input that "
        "is appended. Like chat it uses the hub that runs on this machine, or loads the model "
        "itself.\n\n"
        "  hearth run \"Once upon a time\" --max-tokens 50",
    .words = "",
    .max_args = -1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_run,
};
