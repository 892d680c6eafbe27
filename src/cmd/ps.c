/* `hearth ps`: the models in memory, what they take, and how long they stay. */
#include <string.h>

#include "base/str.h"
#include "cmd/ask.h"

enum { TEXT_MAX = 4 << 20 };

static const struct cmd_option options[] = {ASK_URL_OPTION, ASK_JSON_OPTION};

/* A model that is not just lying on the disk. */
static bool is_there(const json_t *model)
{
    const char *kind = ask_str(model, "meta/kind");
    return !str_eq(ask_str(model, "meta/state"), "on_disk") && !str_eq(kind, "adapter");
}

static const char *stays(char *dst, size_t size, const json_t *model)
{
    const json_t *expires = ask_at(model, "meta/expires_in_ms");
    char left[32];
    const char *first = ask_str(model, "meta/waits_for");
    if (*first)
        str_printf(dst, size, "when %s has finished", first);
    else if (json_is_true(ask_at(model, "meta/leaving")))
        str_copy(dst, size, "until its requests end");
    else if (!str_eq(ask_str(model, "meta/state"), "ready"))
        str_copy(dst, size, "-");
    else if (!json_is_number(expires))
        str_copy(dst, size, "for ever");
    else
        str_printf(dst, size, "%s", ask_duration(left, sizeof left, json_number_value(expires)));
    return dst;
}

/* While a model is loaded its memory may be known as an upper bound only. */
static const char *takes(char *dst, size_t size, const json_t *model)
{
    char bytes[24];
    if (!ask_at(model, "meta/memory/total")) return "-";
    ask_bytes(bytes, sizeof bytes, ask_num(model, "meta/memory/total"));
    bool bound = json_is_true(ask_at(model, "meta/memory/bound"));
    str_printf(dst, size, "%s%s", bound ? "< " : "", bytes);
    return dst;
}

static void put_row(const json_t *model, int width, struct buf *out)
{
    char state[32], memory[32], stay[160];
    buf_printf(out, "%-*s  %-10s  %-12s  %10s  %8.0f  %7.0f  %7.0f  %s\n", width,
               ask_str(model, "id"), ask_str(model, "meta/kind"),
               ask_model_state(state, sizeof state, model), takes(memory, sizeof memory, model),
               ask_num(model, "meta/context_loaded"), ask_num(model, "meta/running"),
               ask_num(model, "meta/waiting"), stays(stay, sizeof stay, model));
    const char *error = ask_str(model, "meta/error");
    if (*error) buf_printf(out, "    %s\n", error);
}

static void put_table(const json_t *root, struct buf *out)
{
    const json_t *models = json_object_get(root, "data");
    int width = 4, n = 0;
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        if (!is_there(m)) continue;
        n++;
        if ((int)strlen(ask_str(m, "id")) > width) width = (int)strlen(ask_str(m, "id"));
    }
    if (n == 0) {
        buf_puts(out, "no model is in memory; the next request loads one\n");
    } else {
        buf_printf(out, "%-*s  %-10s  %-12s  %10s  %8s  %7s  %7s  %s\n", width, "NAME", "KIND",
                   "STATE", "MEMORY", "CONTEXT", "RUNNING", "WAITING", "STAYS");
        for (size_t i = 0; i < json_array_size(models); i++)
            if (is_there(json_array_get(models, i))) put_row(json_array_get(models, i), width, out);
    }
    char used[32], budget[32];
    if (ask_at(root, "memory/budget"))
        buf_printf(out, "\n%s of %s in use by models\n",
                   ask_bytes(used, sizeof used, ask_num(root, "memory/used")),
                   ask_bytes(budget, sizeof budget, ask_num(root, "memory/budget")));
}

static int run_ps(const struct cmd_call *call)
{
    struct link *link;
    struct error error;
    json_t *root;
    if (ask_open(call, &link, &error)) return cmd_fail(&error);
    enum err err = ask(link, "/v1/models", NULL, &root, &error);
    link_close(link);
    if (err) return cmd_fail(&error);
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (cmd_flag(call->args, "json")) {
        json_dump(root, &text);
        buf_putc(&text, '\n');
    } else {
        put_table(root, &text);
    }
    json_decref(root);
    return ask_print(&text);
}

const struct cmd_verb verb_ps = {
    .name = "ps",
    .args = "",
    .summary = "Show the models in memory",
    .details = "Asks the running hub. STAYS is how long a model that nobody asks for is kept.\n\n"
               "  hearth ps\n"
               "  hearth ps --json | jq -r '.data[].id'",
    .words = "",
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_ps,
};
