/* /v1/batches: create, look, cancel. */
#include <stdlib.h>
#include <string.h>

#include "api/batches/batches_int.h"
#include "api/call.h"
#include "api/simple.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "hub/hub.h"

enum {
    PAGE_DEFAULT = 20,
    PAGE_MOST = 100,
    JOB_PRIORITY = 90,
    /* Each start of the hub is one: a batch is to outlive many of them. */
    JOB_ATTEMPTS = 1000000,
    OUTPUT_MIN_S = 3600,
    OUTPUT_MAX_S = 2592000,
};
/* OpenAI's only one is 24h. */
static const int64_t window_max_ms = 30 * 86400000ll;

bool batch_is_over(enum store_batch_state state)
{
    return state == STORE_BATCH_FAILED || state == STORE_BATCH_COMPLETED ||
           state == STORE_BATCH_EXPIRED || state == STORE_BATCH_CANCELLED;
}

static bool may_ask(const char *endpoint)
{
    static const char *const paths[] = {"/v1/chat/completions", "/v1/responses", "/v1/embeddings",
                                        "/v1/completions"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (str_eq(endpoint, paths[i])) return true;
    return false;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void put_errors(struct jw *w, const char *errors)
{
    jw_key(w, "errors");
    if (!errors) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kstr(w, "object", "list");
    jw_kraw(w, "data", errors);
    jw_obj_end(w);
}

static void put_times(struct jw *w, const struct store_batch *b)
{
    simple_put_time(w, "created_at", b->created_ms);
    simple_put_time(w, "in_progress_at", b->in_progress_ms);
    simple_put_time(w, "expires_at", b->expires_ms);
    simple_put_time(w, "finalizing_at", b->finalizing_ms);
    simple_put_time(w, "completed_at", b->completed_ms);
    simple_put_time(w, "failed_at", b->failed_ms);
    simple_put_time(w, "expired_at", b->expired_ms);
    simple_put_time(w, "cancelling_at", b->cancelling_ms);
    simple_put_time(w, "cancelled_at", b->cancelled_ms);
}

/* "24h" */
static void put_window(struct jw *w, const struct store_batch *b)
{
    char text[24];
    int64_t s = (b->expires_ms - b->created_ms + 500) / 1000;
    if (s % 3600 == 0)
        str_printf(text, sizeof text, "%lldh", (long long)s / 3600);
    else
        str_printf(text, sizeof text, "%llds", (long long)s);
    jw_kstr(w, "completion_window", text);
}

static void put_batch(struct jw *w, const struct store_batch *b)
{
    jw_obj(w);
    jw_kstr(w, "id", b->id);
    jw_kstr(w, "object", "batch");
    jw_kstr(w, "endpoint", b->endpoint);
    jw_kstr(w, "model", b->model);
    put_errors(w, b->errors);
    jw_kstr(w, "input_file_id", b->input_file_id);
    put_window(w, b);
    jw_kstr(w, "status", store_batch_state_name(b->state));
    jw_kstr(w, "output_file_id", b->output_file_id);
    jw_kstr(w, "error_file_id", b->error_file_id);
    put_times(w, b);
    jw_key(w, "request_counts");
    jw_obj(w);
    jw_kint(w, "total", b->total);
    jw_kint(w, "completed", b->completed);
    jw_kint(w, "failed", b->failed);
    jw_obj_end(w);
    if (b->usage)
        jw_kraw(w, "usage", b->usage);
    else
        jw_knull(w, "usage");
    jw_kraw(w, "metadata", b->metadata);
    jw_obj_end(w);
}

/* ---- create --------------------------------------------------------------------------------- */

static enum err read_output_expiry(const json_t *v, int64_t *seconds, struct error *error)
{
    const char *anchor = "created_at", *ptr = "/output_expires_after";
    int64_t s = -1;
    if (!v) return OK;
    enum err e = json_get_string(v, "anchor", ptr, &anchor, error);
    if (!e) e = json_get_int(v, "seconds", ptr, OUTPUT_MIN_S, OUTPUT_MAX_S, &s, error);
    if (e) return e;
    if (!str_eq(anchor, "created_at"))
        return field_error(error, ptr, "anchor", "must be created_at, got %.40s", anchor);
    if (s < 0) return field_error(error, ptr, "seconds", "is required (an integer)");
    *seconds = s;
    return OK;
}

static enum err read_batch(struct simple *c, const struct batch_create_fields *f,
                           struct store_batch *b, int64_t *window_ms)
{
    struct store_api_file file;
    if (!may_ask(f->endpoint))
        return field_error(&c->error, "", "endpoint",
                           "must be /v1/chat/completions, /v1/responses, /v1/embeddings or "
                           "/v1/completions, got %.60s",
                           f->endpoint);
    const struct auth_identity *who = c->req->who;
    if (who && str_eq(f->endpoint, "/v1/embeddings") && !auth_may(who, "embed"))
        return err_set(&c->error, ERR_FORBIDDEN, "the API key's scopes don't have embed");
    if (!str_to_ms(f->completion_window, window_ms) || *window_ms < 1000 ||
        *window_ms > window_max_ms ||
        strspn(f->completion_window, "0123456789") == strlen(f->completion_window))
        return field_error(&c->error, "", "completion_window",
                           "must be a time like \"24h\", up to 30 days, got \"%.40s\"",
                           f->completion_window);
    enum err e =
        store_api_file_get(c->store, c->user_id, f->input_file_id, c->arena, &file, &c->error);
    if (e == ERR_NOT_FOUND)
        return field_error(&c->error, "", "input_file_id", "there is no file %.60s",
                           f->input_file_id);
    if (!e && !str_eq(file.purpose, "batch"))
        e = field_error(&c->error, "", "input_file_id", "the file's purpose must be batch, not %s",
                        file.purpose);
    if (!e) e = read_output_expiry(f->output_expires_after, &b->keep_output_s, &c->error);
    return e;
}

static enum err create_batch(struct simple *c)
{
    struct batch_create_fields f = {0};
    struct call_route route;
    char id[BATCH_ID_MAX], payload[BATCH_ID_MAX + 32];
    char *metadata = NULL;
    int64_t window_ms = 0;
    const struct auth_identity *who = c->req->who;
    struct store_batch b = {.id = id, .user_id = c->user_id, .key_id = who ? who->key_id : ""};
    struct store_job job = {.kind = "batch",
                            .payload = payload,
                            .priority = JOB_PRIORITY,
                            .max_attempts = JOB_ATTEMPTS};
    enum err e = fields_read(batch_create_fields, c->body, "", &f, &c->error);
    if (!e) e = call_route_read(c->hub->config, c->req, &route, &c->error);
    if (!e) e = read_batch(c, &f, &b, &window_ms);
    if (!e) e = call_metadata(f.metadata, "/metadata", &metadata, &c->error);
    if (e) return e;
    id_make(id, sizeof id, "batch_");
    str_printf(payload, sizeof payload, "{\"batch_id\":\"%s\"}", id);
    b.endpoint = f.endpoint;
    b.input_file_id = f.input_file_id;
    b.metadata = metadata;
    b.local_only = route.local_only;
    b.expires_ms = clock_wall_ms() + window_ms;
    e = store_batch_add(c->store, &b, &job, &c->error);
    free(metadata);
    if (!e) e = store_batch_get(c->store, c->user_id, id, c->arena, &b, &c->error);
    if (!e) put_batch(&c->w, &b);
    if (!e) jobs_wake(c->hub->batches);
    return e;
}

static void create(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, SIMPLE_BODY)) return;
    simple_end(&c, 200, create_batch(&c));
}

/* ---- look, cancel ---------------------------------------------------------------------------- */

/* job: that is over; NULL = it is gone, or waits still. */
static enum err end_without_job(struct simple *c, const struct store_batch *b,
                                const struct store_job *job)
{
    struct error why;
    if (!job || job->state != STORE_JOB_FAILED)
        return batch_end(c->hub, c->store, b, STORE_BATCH_CANCELLED, NULL, &c->error);
    err_set(&why, ERR_INTERNAL, "%s", job->error ? job->error : "it failed");
    return batch_fail(c->hub, c->store, b, &why, &c->error);
}

/* The job of a batch that waits may have been taken away (POST /api/v1/jobs/{id}/cancel), never
 * come to its turn before the batch was cancelled, or failed when nothing could be written: then
 * nobody else ends it. */
static enum err end_unworked(struct simple *c, struct store_batch *b)
{
    struct store_job job;
    if (batch_is_over(b->state)) return OK;
    enum err e = store_job_get(c->store, NULL, b->job_id, c->arena, &job, &c->error);
    bool gone = e == ERR_NOT_FOUND ||
                (!e && job.state != STORE_JOB_QUEUED && job.state != STORE_JOB_RUNNING);
    bool waits = !e && job.state == STORE_JOB_QUEUED && b->state == STORE_BATCH_CANCELLING;
    if (e && !gone) return e;
    if (!gone && !waits) return OK;
    e = end_without_job(c, b, gone && !e ? &job : NULL);
    if (e == ERR_NOT_FOUND) e = OK; /* somebody did meanwhile */
    if (!e) e = store_batch_get(c->store, c->user_id, b->id, c->arena, b, &c->error);
    return e;
}

static void show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_batch b;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = store_batch_get(c.store, c.user_id, req->params[0], c.arena, &b, &c.error);
    if (!e) e = end_unworked(&c, &b);
    if (!e) put_batch(&c.w, &b);
    simple_end(&c, 200, e);
}

static void cancel(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_batch b;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = store_batch_cancel(c.store, c.user_id, req->params[0], &c.error);
    if (!e) e = store_batch_get(c.store, c.user_id, req->params[0], c.arena, &b, &c.error);
    if (!e) e = end_unworked(&c, &b);
    if (!e) put_batch(&c.w, &b);
    simple_end(&c, 200, e);
}

static enum err put_page(struct simple *c)
{
    struct simple_page page;
    struct store_batch *list = NULL;
    size_t n = 0;
    enum err e = simple_read_page(c, PAGE_DEFAULT, PAGE_MOST, false, &page);
    struct store_batch_page wanted = {page.after, page.oldest_first, (int32_t)page.limit + 1};
    if (!e) e = store_batch_list(c->store, c->user_id, &wanted, c->arena, &list, &n, &c->error);
    if (e) return e;
    bool more = n > (size_t)page.limit;
    if (more) n--;
    simple_list_begin(c);
    for (size_t i = 0; i < n; i++) put_batch(&c->w, &list[i]);
    simple_list_end(c, n ? list[0].id : NULL, n ? list[n - 1].id : NULL, more);
    return OK;
}

static void list_batches(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    simple_end(&c, 200, put_page(&c));
}

/* clang-format off */
const struct route batch_routes[] = {
    {HTTP_POST, "/v1/batches", create, 0, "Batches", "Answer a file of requests when there is time", "BatchRequest", "Batch"},
    {HTTP_GET, "/v1/batches", list_batches, 0, "Batches", "The batches, the newest first (?limit=, ?after=)", NULL, "BatchList"},
    {HTTP_GET, "/v1/batches/{id}", show, 0, "Batches", "One batch", NULL, "Batch"},
    {HTTP_POST, "/v1/batches/{id}/cancel", cancel, 0, "Batches", "Stop a batch; what was answered stays", NULL, "Batch"},
    {.path = NULL}};
