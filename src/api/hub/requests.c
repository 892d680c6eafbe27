/* The flight recorder's records: GET /v1/requests, GET and DELETE /v1/requests/{id},
 * POST /v1/requests/{id}/cancel. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/hub/hub_int.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 10000, BODY_MAX = 64 * 1024 * 1024 };

/* ---- one record as JSON -------------------------------------------------------------------- */

static double ms(int64_t ns)
{
    return ns > 0 ? round((double)ns / 1e3) / 1e3 : 0;
}

static void rate(struct jw *w, const char *name, int32_t n, int64_t ns)
{
    jw_key(w, name);
    if (n > 0 && ns > 0)
        jw_double(w, round((double)n * 1e11 / (double)ns) / 100);
    else
        jw_null(w);
}

static void ms_or_null(struct jw *w, const char *name, bool known, int64_t ns)
{
    jw_key(w, name);
    if (known)
        jw_double(w, ms(ns));
    else
        jw_null(w);
}

static void write_tokens(struct jw *w, const struct record *r)
{
    bool done = r->state == RECORD_DONE;
    jw_key(w, "usage");
    jw_obj(w);
    jw_kint(w, "prompt_tokens", r->usage.prompt_tokens);
    jw_kint(w, "cached_tokens", r->usage.cached_tokens);
    jw_kint(w, "completion_tokens", done ? r->usage.completion_tokens : r->n_tokens);
    jw_kint(w, "reasoning_tokens", r->usage.reasoning_tokens);
    jw_obj_end(w);
}

static void write_cache(struct jw *w, const struct record *r)
{
    static const char *const sources[] = {[CACHE_NONE] = "none",
                                          [CACHE_SEQUENCE] = "sequence",
                                          [CACHE_MEMORY] = "memory",
                                          [CACHE_DISK] = "disk"};
    jw_key(w, "cache");
    if (!r->started_ns) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kstr(w, "source", sources[r->cache.source]);
    jw_kint(w, "cached_tokens", r->usage.cached_tokens);
    jw_kstr(w, "miss", r->cache.miss[0] ? r->cache.miss : NULL);
    jw_obj_end(w);
}

/* The scheduler's own times once it has told them with the end; before that, and for requests that
 * failed, what can be seen from here. */
static void write_timings(struct jw *w, const struct record *r)
{
    const struct timings *t = &r->timings;
    bool done = r->state == RECORD_DONE && r->started_ns;
    int64_t until = r->ended_ns ? r->ended_ns : clock_mono_ns();
    int64_t waited = (r->started_ns ? r->started_ns : until) - r->arrived_ns;
    int64_t first = t->first_token_ns ? t->first_token_ns : r->first_ns - r->arrived_ns;
    int64_t decode = done ? t->decode_ns : r->last_ns - r->first_ns;
    int32_t n_decoded = done ? t->decode_tokens : r->n_tokens - 1;
    jw_key(w, "timings");
    jw_obj(w);
    jw_kdouble(w, "load_ms", ms(t->load_ns));
    jw_kdouble(w, "queue_ms", ms(done ? t->queue_ns : waited));
    ms_or_null(w, "prefill_ms", done || r->first_ns,
               done ? t->prefill_ns : r->first_ns - r->started_ns);
    ms_or_null(w, "first_token_ms", r->first_ns != 0, first);
    ms_or_null(w, "decode_ms", done || r->first_ns, decode);
    jw_kdouble(w, "paused_ms", ms(t->paused_ns));
    jw_kint(w, "pauses", r->n_pauses);
    jw_kdouble(w, "total_ms", ms(until - r->arrived_ns));
    rate(w, "prefill_per_second", done ? t->prefill_tokens : 0, t->prefill_ns);
    rate(w, "decode_per_second", n_decoded, decode);
    jw_obj_end(w);
}

static void write_end(struct jw *w, const struct record *r)
{
    bool done = r->state == RECORD_DONE;
    bool generated = r->kind == RECORD_CHAT || r->kind == RECORD_COMPLETION;
    static const char *const words[] = {[FINISH_STOP] = "stop",
                                        [FINISH_LENGTH] = "length",
                                        [FINISH_TOOL_CALLS] = "tool_calls",
                                        [FINISH_CANCELLED] = "cancelled"};
    jw_kstr(w, "finish_reason", done && generated ? words[r->finish] : NULL);
    jw_kstr(w, "cancelled_by",
            r->cancelled_by == CANCELLED_BY_NOBODY ? NULL : canceller_name(r->cancelled_by));
    jw_key(w, "error");
    if (r->error) {
        jw_obj(w);
        jw_kstr(w, "code", err_api_code(r->error));
        jw_kstr(w, "message", r->message);
        jw_obj_end(w);
    } else {
        jw_null(w);
    }
}

static void write_record(struct jw *w, const struct record *r)
{
    char arrived[32];
    clock_format_utc(arrived, sizeof arrived, r->arrived_wall_ms);
    jw_obj(w);
    jw_kstr(w, "id", r->id);
    jw_kstr(w, "object", "request");
    jw_kstr(w, "kind", record_kind_name(r->kind));
    jw_kstr(w, "state", record_state_name(r->state));
    jw_kstr(w, "arrived", arrived);
    jw_kstr(w, "model", r->model[0] ? r->model : NULL);
    jw_kstr(w, "requested_model", r->asked);
    jw_kstr(w, "provider", r->provider[0] ? r->provider : NULL);
    jw_kbool(w, "remote", r->remote);
    jw_kstr(w, "route_reason", r->route_reason[0] ? r->route_reason : NULL);
    jw_kint(w, "attempts", r->attempts);
    jw_kstr(w, "adapter", r->adapter[0] ? r->adapter : NULL);
    jw_kstr(w, "tenant", r->tenant);
    jw_kint(w, "priority", r->priority);
    if (r->n) jw_kint(w, "n", r->n);
    if (r->n_inputs) jw_kint(w, "inputs", r->n_inputs);
    if (r->state == RECORD_LOADING) {
        jw_kdouble(w, "load_progress", (double)r->load_fraction);
        jw_kstr(w, "waits_for", r->waits_for[0] ? r->waits_for : NULL);
    }
    if (r->state == RECORD_WAITING || r->state == RECORD_PAUSED) {
        jw_kint(w, "position", r->position);
        jw_key(w, "wait_estimate_ms");
        if (r->wait_ms >= 0)
            jw_int(w, r->wait_ms);
        else
            jw_null(w);
    }
    write_tokens(w, r);
    write_cache(w, r);
    write_timings(w, r);
    jw_kint(w, "bytes_written", r->bytes_written);
    write_end(w, r);
    jw_obj_end(w);
}

/* ---- handlers ------------------------------------------------------------------------------ */

/* Whose requests the caller may see: NULL is everybody's. */
static const char *tenant_of(const struct http_request *req)
{
    return req->who && !req->who->admin ? req->who->user_id : NULL;
}

static void respond(struct sink *sink, const struct http_request *req, struct buf *body)
{
    static const struct sink_header headers[] = {{"Cache-Control", "no-store"}};
    struct error error;
    if (body->err) {
        err_set(&error, body->err, "the list became too long; ask for fewer with ?limit=");
        api_error(sink, req, &error);
    } else {
        (void)sink_respond(sink, 200, "application/json", headers, 1, buf_str(body), body->len);
    }
    buf_free(body);
}

static enum err read_limit(const struct http_request *req, int64_t *out, struct error *error)
{
    const char *s = req->query(req, "limit");
    if (!s || str_to_i64(s, 1, LIST_MAX, out)) return OK;
    return err_set_param(error, ERR_INVALID, "limit",
                         "the query's limit must be an integer from 1 to %d, got %.40s", LIST_MAX,
                         s);
}

void hub_requests(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    int64_t limit = LIST_DEFAULT;
    size_t n;
    struct record *records = NULL;
    enum err err = read_limit(req, &limit, &error);
    if (!err) {
        records = recorder_list(hub->recorder, tenant_of(req), (size_t)limit, &n);
        if (!records) err = err_set(&error, ERR_NOMEM, "not enough memory for the list");
    }
    if (err) {
        api_error(sink, req, &error);
    } else {
        struct buf body;
        struct jw w;
        buf_init(&body, BODY_MAX);
        jw_init(&w, &body);
        jw_obj(&w);
        jw_kstr(&w, "object", "list");
        jw_key(&w, "data");
        jw_arr(&w);
        for (size_t i = 0; i < n; i++) write_record(&w, &records[i]);
        jw_arr_end(&w);
        jw_obj_end(&w);
        respond(sink, req, &body);
    }
    free(records);
    sink_unref(sink);
}

static void send_record(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    struct record record;
    if (!recorder_get(hub->recorder, tenant_of(req), req->params[0], &record)) {
        err_set(&error, ERR_NOT_FOUND,
                "there is no request %.128s among the last %lld (the setting HEARTH_REQUESTS_KEPT)",
                req->params[0], (long long)config_int(hub->config, CONFIG_REQUESTS_KEPT));
        api_error(sink, req, &error);
        return;
    }
    struct buf body;
    struct jw w;
    buf_init(&body, BODY_MAX);
    jw_init(&w, &body);
    write_record(&w, &record);
    respond(sink, req, &body);
}

void hub_request(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    send_record(hub, req, sink);
    sink_unref(sink);
}

/* The answer shows the record as it is now: its end may come a moment later. */
void hub_request_cancel(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    if (recorder_cancel_record(hub->recorder, tenant_of(req), req->params[0], CANCELLED_BY_CALL,
                               &error))
        api_error(sink, req, &error);
    else
        send_record(hub, req, sink);
    sink_unref(sink);
}
