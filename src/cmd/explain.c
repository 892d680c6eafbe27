/* `hearth explain`: what one request went through, told from the flight recorder's record: where
 * the time went, what the cache gave and why no more, who ended it. */
#include <string.h>

#include "base/str.h"
#include "cmd/ask.h"

enum { TEXT_MAX = 4 << 20, PATH_MAX_HERE = 512, BAR = 40 };

static const struct cmd_option options[] = {
    ASK_URL_OPTION,
    {"cancel", 0, NULL, CMD_NO_KEY, NULL, "End the request if it is under way, then tell.",
     COMPLETE_NONE},
    ASK_JSON_OPTION,
};

static bool generates(const json_t *r)
{
    return str_eq(ask_str(r, "kind"), "chat") || str_eq(ask_str(r, "kind"), "completion");
}

/* ---- what it was --------------------------------------------------------------------------- */

static void put_head(const json_t *r, struct buf *out)
{
    const char *asked = ask_str(r, "requested_model"), *model = ask_str(r, "model");
    buf_printf(out, "%s: %s, %s\n", ask_str(r, "id"), ask_str(r, "kind"), ask_str(r, "state"));
    buf_printf(out, "  arrived   %s\n", ask_str(r, "arrived"));
    buf_printf(out, "  model     %s", *model ? model : *asked ? asked : "the default one");
    if (*model && !*asked)
        buf_puts(out, " (the default one)");
    else if (*model && !str_eq(model, asked))
        buf_printf(out, " (asked for as %s)", asked);
    if (*ask_str(r, "adapter")) buf_printf(out, ", adapter %s", ask_str(r, "adapter"));
    if (*ask_str(r, "provider")) {
        buf_printf(out, "\n  provider  %s", ask_str(r, "provider"));
        if (json_is_true(ask_at(r, "remote"))) buf_puts(out, " (it left this machine)");
    }
    if (*ask_str(r, "route_reason"))
        buf_printf(out, "\n  because   %s", ask_str(r, "route_reason"));
    buf_printf(out, "\n  priority  %.0f", ask_num(r, "priority"));
    if (*ask_str(r, "tenant")) buf_printf(out, ", tenant %s", ask_str(r, "tenant"));
    buf_putc(out, '\n');
}

static void put_tokens(const json_t *r, struct buf *out)
{
    double prompt = ask_num(r, "usage/prompt_tokens"), cached = ask_num(r, "usage/cached_tokens");
    double inputs = ask_num(r, "inputs");
    if (inputs > 0) buf_printf(out, "  inputs    %.0f\n", inputs);
    if (prompt > 0 && generates(r))
        buf_printf(out, "  prompt    %.0f tokens: %.0f from the cache, %.0f computed\n", prompt,
                   cached, prompt - cached);
    else if (prompt > 0)
        buf_printf(out, "  prompt    %.0f tokens\n", prompt);
    if (generates(r)) {
        buf_printf(out, "  answer    %.0f tokens", ask_num(r, "usage/completion_tokens"));
        if (ask_num(r, "n") > 1) buf_printf(out, " in %.0f answers", ask_num(r, "n"));
        if (ask_num(r, "usage/reasoning_tokens") > 0)
            buf_printf(out, ", %.0f of them thinking", ask_num(r, "usage/reasoning_tokens"));
        if (*ask_str(r, "finish_reason"))
            buf_printf(out, "; ended by %s", ask_str(r, "finish_reason"));
        buf_putc(out, '\n');
    }
    buf_printf(out, "  written   %.0f bytes\n", ask_num(r, "bytes_written"));
}

/* ---- where the time went ------------------------------------------------------------------- */

struct part {
    const char *name;
    double ms;
    char more[96];
};

static void put_part(const struct part *p, double total, struct buf *out)
{
    char time[32];
    if (p->ms < 0.05 && !p->more[0]) return;
    int width = total > 0 ? (int)(BAR * p->ms / total + 0.5) : 0;
    width = width < 0 ? 0 : width > BAR ? BAR : width;
    buf_printf(out, "  %-16s %12s  ", p->name, ask_duration(time, sizeof time, p->ms));
    for (int i = 0; i < BAR; i++) buf_putc(out, i < width ? '#' : '.');
    buf_printf(out, "%s%s\n", p->more[0] ? "  " : "", p->more);
}

static void rate(char *dst, size_t size, double n, double per_second)
{
    if (n > 0 && per_second > 0)
        str_printf(dst, size, "%.0f tokens, %.1f a second", n, per_second);
    else if (n > 0)
        str_printf(dst, size, "%.0f tokens", n);
}

/* What is between the parts is the hub's own work: reading, templates, tokenising, sending. */
static void put_times(const json_t *r, struct buf *out)
{
    double total = ask_num(r, "timings/total_ms"), paused = ask_num(r, "timings/paused_ms");
    struct part parts[] = {
        {"loading", ask_num(r, "timings/load_ms"), "its model was not in memory"},
        {"waiting", ask_num(r, "timings/queue_ms"), ""},
        {"prompt", ask_num(r, "timings/prefill_ms"), ""},
        {"answer", ask_num(r, "timings/decode_ms"), ""},
        {"paused", paused, ""},
        {"everything else", 0, ""},
    };
    enum { N = sizeof parts / sizeof *parts };
    double computed = ask_num(r, "usage/prompt_tokens") - ask_num(r, "usage/cached_tokens");
    if (parts[0].ms < 0.05) parts[0].more[0] = '\0';
    parts[1].ms -= parts[0].ms; /* the load is a part of the wait */
    if (parts[1].ms < 0) parts[1].ms = 0;
    if (generates(r)) {
        rate(parts[2].more, sizeof parts[2].more, computed,
             ask_num(r, "timings/prefill_per_second"));
        rate(parts[3].more, sizeof parts[3].more, ask_num(r, "usage/completion_tokens"),
             ask_num(r, "timings/decode_per_second"));
    }
    if (paused > 0) {
        parts[3].ms -= paused;
        str_printf(parts[4].more, sizeof parts[4].more, "%.0f times, for more important ones",
                   ask_num(r, "timings/pauses"));
    }
    parts[N - 1].ms = total;
    for (int i = 0; i < N - 1; i++) parts[N - 1].ms -= parts[i].ms;
    buf_puts(out, "\nwhere the time went\n");
    for (int i = 0; i < N; i++) put_part(&parts[i], total, out);
    char time[32];
    buf_printf(out, "  %-16s %12s\n", "in all", ask_duration(time, sizeof time, total));
    if (json_is_number(ask_at(r, "timings/first_token_ms")))
        buf_printf(out, "  the first token came after %s\n",
                   ask_duration(time, sizeof time, ask_num(r, "timings/first_token_ms")));
}

/* ---- why ----------------------------------------------------------------------------------- */

static void put_cache(const json_t *r, struct buf *out)
{
    static const char *const sources[][2] = {
        {"sequence", "from a request before it, still in the model's context"},
        {"memory", "from the cache in memory"},
        {"disk", "from the cache on disk"}};
    const char *source = ask_str(r, "cache/source"), *miss = ask_str(r, "cache/miss");
    double cached = ask_num(r, "usage/cached_tokens"), prompt = ask_num(r, "usage/prompt_tokens");
    if (!json_is_object(ask_at(r, "cache")) || !generates(r)) return;
    buf_puts(out, "\nthe prefix cache\n");
    const char *where = "";
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (str_eq(source, sources[i][0])) where = sources[i][1];
    if (cached > 0)
        buf_printf(out, "  gave %.0f of %.0f prompt tokens (%.0f %%) %s\n", cached, prompt,
                   prompt > 0 ? 100 * cached / prompt : 0, where);
    else
        buf_puts(out, "  gave nothing\n");
    if (*miss) buf_printf(out, "  no more because: %s\n", miss);
}

static void put_waiting(const json_t *r, struct buf *out)
{
    const char *state = ask_str(r, "state");
    char time[32];
    const char *first = ask_str(r, "waits_for");
    if (str_eq(state, "loading") && *first)
        buf_printf(out, "\nit waits until %s has finished: then there is room for its model\n",
                   first);
    else if (str_eq(state, "loading"))
        buf_printf(out, "\nit waits for its model: %.0f %% loaded\n",
                   100 * ask_num(r, "load_progress"));
    if (!str_eq(state, "waiting") && !str_eq(state, "paused")) return;
    double before = ask_num(r, "position");
    buf_printf(out, "\nit %s: %.0f %s before it",
               str_eq(state, "paused") ? "is paused" : "waits in the queue", before,
               before == 1 ? "request is" : "requests are");
    if (json_is_number(ask_at(r, "wait_estimate_ms")))
        buf_printf(out, ", about %s",
                   ask_duration(time, sizeof time, ask_num(r, "wait_estimate_ms")));
    buf_putc(out, '\n');
}

static void put_end(const json_t *r, struct buf *out)
{
    static const char *const who[][2] = {
        {"client", "its client closed the connection"},
        {"call", "it was cancelled through the API"},
        {"hub", "the hub gave it up: another part of the same call failed, or the answer could not "
                "be written"},
        {"shutdown", "the hub was stopped"},
        {"deadline", "it could not start by its deadline"},
        {"worker", "the process that runs the models ended, and it could not go on"}};
    const char *by = ask_str(r, "cancelled_by");
    for (size_t i = 0; i < sizeof who / sizeof *who; i++)
        if (str_eq(by, who[i][0])) buf_printf(out, "\nended early: %s\n", who[i][1]);
    if (json_is_object(ask_at(r, "error")) && !str_eq(ask_str(r, "error/code"), "cancelled"))
        buf_printf(out, "\nfailed with %s: %s\n", ask_str(r, "error/code"),
                   ask_str(r, "error/message"));
}

static void put_record(const json_t *r, struct buf *out)
{
    put_head(r, out);
    put_tokens(r, out);
    put_waiting(r, out);
    put_times(r, out);
    put_cache(r, out);
    put_end(r, out);
}

/* ---- the verb ------------------------------------------------------------------------------ */

/* The record of that id, of NULL the newest one. */
static enum err get_record(struct link *link, const char *id, bool cancel, json_t **out,
                           struct error *error)
{
    char path[PATH_MAX_HERE];
    json_t *list;
    if (id) {
        const char *behind = cancel ? "/cancel" : "";
        if (!ask_path(path, sizeof path, "/v1/requests/", id, behind))
            return err_set(error, ERR_INVALID, "the id is too long");
        return ask(link, path, cancel ? "{}" : NULL, out, error);
    }
    enum err err = ask(link, "/v1/requests?limit=1", NULL, &list, error);
    if (err) return err;
    *out = json_incref(json_array_get(json_object_get(list, "data"), 0));
    json_decref(list);
    return *out ? OK : err_set(error, ERR_NOT_FOUND, "the hub has had no request yet");
}

static int run_explain(const struct cmd_call *call)
{
    struct link *link;
    struct error error;
    json_t *record;
    const char *id = call->args->n_rest ? call->args->rest[0] : NULL;
    bool cancel = cmd_flag(call->args, "cancel");
    if (cancel && !id) {
        err_set(&error, ERR_INVALID, "--cancel needs the id of a request");
        return cmd_usage_error(call->verb, &error);
    }
    if (ask_open(call, &link, &error)) return cmd_fail(&error);
    enum err err = get_record(link, id, cancel, &record, &error);
    link_close(link);
    if (err) return cmd_fail(&error);
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (cmd_flag(call->args, "json")) {
        json_dump(record, &text);
        buf_putc(&text, '\n');
    } else {
        put_record(record, &text);
    }
    json_decref(record);
    return ask_print(&text);
}

const struct cmd_verb verb_explain = {
    .name = "explain",
    .args = "[REQUEST]",
    .summary = "Tell what a request went through: where its time went, and why",
    .details = "REQUEST is the id in the header X-Request-Id of every answer, in the log and in\n"
               "`hearth top`; without one it is the newest request.\n\n"
               "  hearth explain\n"
               "  hearth explain req-7Qz0aWkX3LrTn5vB2mYc8dHs\n"
               "  hearth explain req-7Qz0aWkX3LrTn5vB2mYc8dHs --cancel",
    .words = "",
    .max_args = 1,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_explain,
};
