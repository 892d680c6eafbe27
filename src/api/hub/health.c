/* GET /health and GET /metrics, on the front thread. Health asks the scheduler only, which never
 * makes anybody wait, and nothing that reads a folder; it is written without a JSON library. */
#include <stdio.h>
#include <string.h>

#include "api/hub/hub_int.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "hub/hub.h"

static void write_health(const struct hub *hub, struct buf *out)
{
    struct sched_model_status model;
    struct sched_stats stats;
    bool known = hub->sched && sched_models(hub->sched, &model, 1) > 0;
    stats = (struct sched_stats){0};
    if (hub->sched) sched_stats(hub->sched, &stats);
    buf_puts(out, "{\"status\":\"healthy\",\"version\":\"" HEARTH_VERSION "\",\"model\":");
    if (known) {
        struct jw w;
        jw_init(&w, out);
        jw_str(&w, model.id);
    } else {
        buf_puts(out, "null");
    }
    buf_printf(out,
               ",\"model_state\":\"%s\",\"load_progress\":%.2f,\"uptime_s\":%lld,\"running\":%d,"
               "\"waiting\":%d}",
               known ? model_state_name(model.state) : "none",
               !known                       ? 0.0
               : model.state == MODEL_READY ? 1.0
                                            : (double)model.progress,
               (long long)((clock_mono_ms() - hub->started_mono_ms) / 1000), stats.running,
               stats.waiting);
}

void hub_health(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct sink_header headers[] = {{"Cache-Control", "no-store"}};
    (void)req;
    struct buf body;
    buf_init(&body, 4096);
    buf_reserve(&body, 512);
    write_health(hub, &body);
    (void)sink_respond(sink, 200, "application/json", headers, 1, buf_str(&body), body.len);
    buf_free(&body);
    sink_unref(sink);
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
