/* `hearth load` and `hearth unload`: models into the running hub's memory and out of it. */
#include <string.h>

#include "base/str.h"
#include "cmd/ask.h"

enum { TEXT_MAX = 1 << 20, PATH_MAX_HERE = 512, BODY_MAX = 4096 };

static const struct cmd_option load_options[] = {
    ASK_URL_OPTION,
    {"keep-alive", 'k', "TIME", CMD_NO_KEY, NULL,
     "How long it stays after its last request: 5m, 1h30m, a number of seconds, -1 for ever, 0 not "
     "at all.",
     COMPLETE_NONE},
    {"no-wait", 0, NULL, CMD_NO_KEY, NULL, "Don't wait until it is loaded.", COMPLETE_NONE},
    {"force", 'f', NULL, CMD_NO_KEY, NULL,
     "Also when it is in quarantine because it ended the model worker several times.",
     COMPLETE_NONE},
    {"dry-run", 'n', NULL, CMD_NO_KEY, NULL,
     "Load nothing: tell whether it would fit, and what would have to go.", COMPLETE_NONE},
    ASK_JSON_OPTION,
};
static const struct cmd_option unload_options[] = {ASK_URL_OPTION, ASK_JSON_OPTION};

static void put_list(const json_t *names, struct buf *out)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        buf_printf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
}

static void put_needs(const json_t *memory, struct buf *out)
{
    char total[32], weights[32], kv[32], compute[32];
    if (!ask_at(memory, "total")) return;
    buf_printf(out, "%s (weights %s, KV cache %s, to compute in %s)",
               ask_bytes(total, sizeof total, ask_num(memory, "total")),
               ask_bytes(weights, sizeof weights, ask_num(memory, "weights")),
               ask_bytes(kv, sizeof kv, ask_num(memory, "kv")),
               ask_bytes(compute, sizeof compute, ask_num(memory, "compute")));
}

static void put_plan(const json_t *root, struct buf *out)
{
    char free_bytes[32], budget[32];
    bool fits = json_is_true(json_object_get(root, "fits"));
    buf_printf(out, "%s %s\n  needs  ", ask_str(root, "model"), fits ? "fits" : "does not fit");
    put_needs(ask_at(root, "needs"), out);
    buf_printf(out, "\n  free   %s of %s\n",
               ask_bytes(free_bytes, sizeof free_bytes, ask_num(root, "free")),
               ask_bytes(budget, sizeof budget, ask_num(root, "budget")));
    if (json_array_size(ask_at(root, "evict"))) {
        buf_puts(out, "  goes   ");
        put_list(ask_at(root, "evict"), out);
        buf_putc(out, '\n');
    }
    if (*ask_str(root, "reason")) buf_printf(out, "  %s\n", ask_str(root, "reason"));
}

static void put_loaded(const json_t *root, struct buf *out)
{
    buf_printf(out, "%s: %s", ask_str(root, "model"), ask_str(root, "state"));
    if (ask_num(root, "memory/total") > 0) {
        buf_puts(out, ", ");
        put_needs(ask_at(root, "memory"), out);
    }
    if (json_array_size(ask_at(root, "evicted"))) {
        buf_puts(out, "; unloaded for it: ");
        put_list(ask_at(root, "evicted"), out);
    }
    buf_putc(out, '\n');
}

/* Posts and prints. */
static int post(const struct cmd_call *call, const char *path, const char *body,
                void (*put)(const json_t *root, struct buf *out))
{
    struct link *link;
    struct error error;
    json_t *root;
    if (ask_open(call, &link, &error)) return cmd_fail(&error);
    enum err err = ask(link, path, body, &root, &error);
    link_close(link);
    if (err) return cmd_fail(&error);
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (cmd_flag(call->args, "json")) {
        json_dump(root, &text);
        buf_putc(&text, '\n');
    } else {
        put(root, &text);
    }
    json_decref(root);
    return ask_print(&text);
}

static int name_too_long(const struct cmd_call *call)
{
    struct error error;
    err_set(&error, ERR_INVALID, "the model's name is too long");
    return cmd_usage_error(call->verb, &error);
}

static int run_load(const struct cmd_call *call)
{
    const char *model = call->args->rest[0], *keep = cmd_opt(call->args, "keep-alive");
    char path[PATH_MAX_HERE], mem[BODY_MAX];
    struct buf body;
    struct jw w;
    int64_t seconds;
    bool dry = cmd_flag(call->args, "dry-run");
    if (!ask_path(path, sizeof path, "/v1/models/", model, "/load")) return name_too_long(call);
    buf_init_fixed(&body, mem, sizeof mem);
    jw_init(&w, &body);
    jw_obj(&w);
    if (dry) {
        jw_kstr(&w, "model", model);
    } else {
        jw_kbool(&w, "wait", !cmd_flag(call->args, "no-wait"));
        if (cmd_flag(call->args, "force")) jw_kbool(&w, "force", true);
        if (keep && str_to_i64(keep, -1, INT32_MAX, &seconds))
            jw_kint(&w, "keep_alive", seconds);
        else if (keep)
            jw_kstr(&w, "keep_alive", keep);
    }
    jw_obj_end(&w);
    if (body.err) return name_too_long(call);
    return post(call, dry ? "/v1/models/plan" : path, buf_str(&body), dry ? put_plan : put_loaded);
}

static int run_unload(const struct cmd_call *call)
{
    char path[PATH_MAX_HERE];
    if (!ask_path(path, sizeof path, "/v1/models/", call->args->rest[0], "/unload"))
        return name_too_long(call);
    return post(call, path, "{}", put_loaded);
}

const struct cmd_verb verb_load = {
    .name = "load",
    .args = "MODEL",
    .summary = "Load a model into the running hub's memory",
    .details =
        "Requests load their model by themselves; this does it before the first one, or\n"
        "changes how long the model stays. --force tries one again that is in quarantine.\n\n"
        "  hearth load llama3.2:1b\n"
        "  hearth load llama3.2:1b --keep-alive 1h\n"
        "  hearth load llama3.1:70b --dry-run",
    .words = "",
    .complete = COMPLETE_MODEL,
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG,
    .options = load_options,
    .n_options = sizeof(load_options) / sizeof(*load_options),
    .run = run_load,
};

const struct cmd_verb verb_unload = {
    .name = "unload",
    .args = "MODEL",
    .summary = "Take a model out of the running hub's memory",
    .details = "Its requests, running and waiting, end first; a later one loads it again. A model\n"
               "that is still being loaded is not loaded further, unless requests wait for it.\n\n"
               "  hearth unload llama3.2:1b",
    .words = "",
    .complete = COMPLETE_MODEL,
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG,
    .options = unload_options,
    .n_options = sizeof(unload_options) / sizeof(*unload_options),
    .run = run_unload,
};
