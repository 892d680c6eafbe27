/* /api/v1/jobs: the user's background work. */
#include "jobs/jobs.h"
#include "api/v1/v1_int.h"
#include "base/str.h"
#include "hub/hub.h"
#include "store/store_job.h"

static void put_job(struct jw *w, const struct store_job *j)
{
    jw_obj(w);
    jw_kstr(w, "id", j->id);
    jw_kstr(w, "kind", j->kind);
    jw_kstr(w, "state", store_job_state_name(j->state));
    jw_kraw(w, "progress", j->progress);
    jw_kstr(w, "error", j->error);
    jw_kint(w, "priority", j->priority);
    jw_kint(w, "attempts", j->attempts);
    jw_kint(w, "max_attempts", j->max_attempts);
    v1_put_time(w, "created_at", j->created_ms);
    v1_put_time(w, "updated_at", j->updated_ms);
    jw_obj_end(w);
}

static enum err read_state(struct v1_call *c, int *state)
{
    const char *word = c->req->query(c->req, "state");
    *state = -1;
    for (int i = 0; word && i < STORE_JOB_STATE_COUNT; i++)
        if (str_eq(word, store_job_state_name((enum store_job_state)i))) *state = i;
    if (!word || *state >= 0) return OK;
    return err_set_param(&c->error, ERR_INVALID, "state",
                         "state must be queued, running, done, failed or cancelled");
}

static void list_jobs(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_job *jobs;
    size_t n = 0;
    int state;
    int64_t limit = 100;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = v1_query_int(&c, "limit", 1, 1000, &limit);
    if (!e) e = read_state(&c, &state);
    if (!e)
        e = store_job_list(c.store, c.who.user_id, state, (int32_t)limit, c.arena, &jobs, &n,
                           &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "jobs");
    jw_arr(&c.w);
    for (size_t i = 0; !e && i < n; i++) put_job(&c.w, &jobs[i]);
    jw_arr_end(&c.w);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

static enum err put_one(struct v1_call *c)
{
    struct store_job job;
    enum err e =
        store_job_get(c->store, c->who.user_id, c->req->params[0], c->arena, &job, &c->error);
    if (!e) put_job(&c->w, &job);
    return e;
}

static void show_job(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_one(&c));
}

static void cancel_job(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_job_cancel(c.store, c.who.user_id, req->params[0], &c.error);
    if (!e) jobs_recheck(hub->jobs);
    v1_end(&c, 200, e ? e : put_one(&c));
}

static void retry_job(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_job_retry(c.store, c.who.user_id, req->params[0], &c.error);
    if (!e) jobs_wake(hub->jobs);
    v1_end(&c, 200, e ? e : put_one(&c));
}

/* clang-format off */
const struct route v1_job_routes[] = {
    {HTTP_GET, "/api/v1/jobs", list_jobs, 0, "Jobs", "The user's background jobs, the newest first", NULL, NULL},
    {HTTP_GET, "/api/v1/jobs/{id}", show_job, 0, "Jobs", "One job", NULL, NULL},
    {HTTP_POST, "/api/v1/jobs/{id}/cancel", cancel_job, 0, "Jobs", "Stop a job that waits or runs", NULL, NULL},
    {HTTP_POST, "/api/v1/jobs/{id}/retry", retry_job, 0, "Jobs", "Try one again that failed or was cancelled", NULL, NULL},
    {.path = NULL}};
