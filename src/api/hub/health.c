/* GET /health and GET /metrics, on the front thread.
 *
 * Health has two halves: what the provider says of its models, which is a snapshot (hub/snapshot.h,
 * so that a monitor that asks a hundred times a second costs nothing), and what is counted in the
 * hub itself. Neither reads a folder or waits for a decode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/control.h"
#include "api/hub/hub_int.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "hub/hub.h"

/* ---- the provider's half ------------------------------------------------------------------- */

struct facts {
    struct hub *hub;
    struct snapshot *snapshot;
    struct buf text; /* members, each with a comma behind it */
};

static void write_model(struct buf *out, const json_t *model)
{
    struct jw w;
    const char *id = json_string_value(json_object_get(model, "id"));
    const char *state = json_string_value(json_object_get(model, "state"));
    const char *word = state ? control_state_word(state) : "none";
    bool ready = str_eq(word, "ready");
    buf_puts(out, "\"model\":");
    jw_init(&w, out);
    jw_str(&w, id);
    buf_printf(out, ",\"model_state\":\"%s\",\"load_progress\":%.2f,", word,
               ready ? 1.0 : json_number_value(json_object_get(model, "progress")));
}

/* The first one that generates text: embedding models come and go beside it. */
static const json_t *first_chat_model(const json_t *models)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        const char *kind = json_string_value(json_object_get(m, "kind"));
        const char *state = json_string_value(json_object_get(m, "state"));
        if (kind && !str_eq(kind, "chat") && !str_eq(kind, "completion")) continue;
        if (state && str_eq(control_state_word(state), "on_disk")) continue;
        return m;
    }
    return NULL;
}

/* A string or null. */
static void put_member(struct buf *out, const char *name, const char *value)
{
    struct jw w;
    buf_printf(out, "\"%s\":", name);
    jw_init(&w, out);
    jw_str(&w, value);
    buf_putc(out, ',');
}

/* `error`: why the one that was chosen is not in use, or NULL. */
static void facts_done(struct facts *f, const char *adapter, const char *error)
{
    put_member(&f->text, "adapter", adapter);
    if (error) put_member(&f->text, "adapter_error", error);
    snapshot_done(f->snapshot, buf_str(&f->text), f->text.len);
    buf_free(&f->text);
    free(f);
}

static void on_adapters(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct error ignored;
    json_t *root = NULL;
    if (error || json_parse(answer, len, &root, &ignored) != OK) root = NULL;
    facts_done(ctx, json_string_value(json_object_get(root, "current")),
               json_string_value(json_object_get(root, "current_error")));
    json_decref(root);
}

static void on_models(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct facts *f = ctx;
    struct error ignored;
    json_t *root = NULL;
    if (error || json_parse(answer, len, &root, &ignored) != OK) root = NULL;
    write_model(&f->text, first_chat_model(json_object_get(root, "models")));
    json_decref(root);
    if (provider_control(f->hub->provider, CONTROL_ADAPTERS, "{}", on_adapters, f, &ignored))
        facts_done(f, NULL, NULL);
}

/* A provider that can't say is no reason to be unhealthy: the hub answers, and says "none". */
static void make_facts(void *hub, struct snapshot *snapshot)
{
    struct facts *f = xcalloc(1, sizeof *f);
    struct error error;
    f->hub = hub;
    f->snapshot = snapshot;
    buf_init(&f->text, 4096);
    if (provider_control(f->hub->provider, CONTROL_MODELS, "{}", on_models, f, &error))
        on_models(f, &error, NULL, 0);
}

/* ---- the answer ---------------------------------------------------------------------------- */

struct asked {
    struct hub *hub;
    struct sink *sink;
};

static void on_facts(void *ctx, const struct error *error, const char *text, size_t len)
{
    static const struct sink_header headers[] = {{"Cache-Control", "no-store"}};
    struct asked *a = ctx;
    struct recorder_counts counts;
    struct buf body;
    char mem[6144];
    recorder_counts(a->hub->recorder, &counts);
    buf_init_fixed(&body, mem, sizeof mem);
    buf_puts(&body, "{\"status\":\"healthy\",\"version\":\"" HEARTH_VERSION "\",");
    if (error)
        buf_puts(&body, "\"model\":null,\"model_state\":\"none\",\"load_progress\":0,");
    else
        buf_append(&body, text, len);
    buf_printf(&body, "\"uptime_s\":%lld,\"running\":%d,\"waiting\":%d}",
               (long long)((clock_mono_ms() - a->hub->started_mono_ms) / 1000), counts.running,
               counts.waiting);
    (void)sink_respond(a->sink, 200, "application/json", headers, 1, buf_str(&body), body.len);
    sink_unref(a->sink);
    free(a);
}

void hub_health(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)req;
    struct asked *a = xmalloc(sizeof *a);
    *a = (struct asked){hub, sink};
    snapshot_get(hub->health_view, make_facts, hub, on_facts, a);
}

void hub_metrics(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    struct buf body;
    struct error error;
    buf_init(&body, 8 * 1024 * 1024);
    enum err err = metrics_render(&body);
    if (err) {
        err_set(&error, err, "writing the metrics failed");
        api_error(sink, req, &error);
    } else {
        (void)sink_respond(sink, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0,
                           buf_str(&body), body.len);
    }
    buf_free(&body);
    sink_unref(sink);
}
