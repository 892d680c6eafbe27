/* `hearth jobs`: background work, from the machine's own command line. Works beside a running hub.
 */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "files/files.h"
#include "store/store_job.h"

enum { TEXT_MAX = 16 << 20, LIST_MAX = 1000 };

static const struct cmd_option options[] = {
    {"state", 0, "STATE", CMD_NO_KEY, NULL,
     "list: only queued, running, done, failed or cancelled ones.", COMPLETE_NONE},
};

struct call {
    const struct cmd_args *args;
    struct store *store;
    struct files *files;
    struct arena *arena;
    struct buf *out;
};

/* ---- the actions --------------------------------------------------------------------------- */

static enum err read_state(const char *word, int *state, struct error *error)
{
    *state = -1;
    for (int i = 0; word && i < STORE_JOB_STATE_COUNT; i++)
        if (str_eq(word, store_job_state_name((enum store_job_state)i))) *state = i;
    if (!word || *state >= 0) return OK;
    return err_set(error, ERR_INVALID,
                   "--state is queued, running, done, failed or cancelled, not '%.40s'", word);
}

/* {"what":"embedding","done":3,"total":9} -> "embedding 3/9" */
static void put_progress(const struct store_job *j, char *dst, size_t size)
{
    json_t *p;
    const char *what = NULL;
    int64_t done = 0, total = 0;
    *dst = '\0';
    if (json_parse(j->progress, strlen(j->progress), &p, NULL)) return;
    if (json_get_string(p, "what", "", &what, NULL) == OK && what &&
        json_get_int(p, "done", "", 0, INT64_MAX, &done, NULL) == OK &&
        json_get_int(p, "total", "", 0, INT64_MAX, &total, NULL) == OK)
        str_printf(dst, size, "%s %lld/%lld", what, (long long)done, (long long)total);
    json_decref(p);
}

static enum err list(struct call *c, const char *id, struct error *error)
{
    struct store_job *jobs;
    size_t n;
    int state;
    (void)id;
    enum err e = read_state(cmd_opt(c->args, "state"), &state, error);
    if (!e) e = store_job_list(c->store, NULL, state, LIST_MAX, c->arena, &jobs, &n, error);
    if (e) return e;
    if (n == 0) buf_puts(c->out, "no jobs\n");
    for (size_t i = 0; i < n; i++) {
        char since[32], progress[64];
        clock_format_utc(since, sizeof since, jobs[i].created_ms);
        put_progress(&jobs[i], progress, sizeof progress);
        buf_printf(c->out, "%s  %-12s %-9s %d/%d  %s  %s%s%s\n", jobs[i].id, jobs[i].kind,
                   store_job_state_name(jobs[i].state), (int)jobs[i].attempts,
                   (int)jobs[i].max_attempts, since, progress,
                   *progress && jobs[i].error ? ": " : "", jobs[i].error ? jobs[i].error : "");
    }
    return OK;
}

static enum err retry(struct call *c, const char *id, struct error *error)
{
    enum err e = store_job_retry(c->store, NULL, id, error);
    if (!e) buf_printf(c->out, "%s is tried again\n", id);
    return e;
}

static enum err cancel(struct call *c, const char *id, struct error *error)
{
    enum err e = store_job_cancel(c->store, NULL, id, error);
    if (!e) buf_printf(c->out, "%s is cancelled\n", id);
    return e;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool named; /* takes a job's id */
    enum err (*run)(struct call *c, const char *id, struct error *error);
} actions[] = {{"list", false, list}, {"retry", true, retry}, {"cancel", true, cancel}};

static int act(const struct cmd_call *call, size_t a, const char *id)
{
    struct error error;
    struct buf text;
    struct call c = {.args = call->args, .out = &text};
    buf_init(&text, TEXT_MAX);
    c.arena = arena_new(TEXT_MAX);
    enum err e = cmd_open_store(call->config, NULL, true, &c.store, &error);
    if (!e) e = cmd_open_files(call->config, &c.files, &error);
    if (!e) e = actions[a].run(&c, id, &error);
    if (!e && actions[a].named) files_wake(c.files, true);
    int status = e ? cmd_fail(&error) : cmd_print(&text);
    files_free(c.files);
    store_close(c.store);
    arena_free(c.arena);
    buf_free(&text);
    return status;
}

static int run_jobs(const struct cmd_call *call)
{
    const struct cmd_args *args = call->args;
    size_t a = 0, n = sizeof actions / sizeof *actions;
    const char *word = args->n_rest ? args->rest[0] : "list";
    while (a < n && !str_eq(actions[a].name, word)) a++;
    if (a < n && actions[a].named && args->n_rest == 2) return act(call, a, args->rest[1]);
    if (a < n && !actions[a].named && args->n_rest < 2) return act(call, a, NULL);
    struct error error;
    err_set(&error, ERR_INVALID,
            "it is `hearth jobs` with list, or with retry or cancel and an id");
    return cmd_usage_error(call->verb, &error);
}

const struct cmd_verb verb_jobs = {
    .name = "jobs",
    .args = "[list | retry|cancel ID]",
    .summary = "List background jobs, try one again, or stop one",
    .details = "Jobs are what the hub does on its own, such as making an uploaded file searchable. "
               "They outlive the hub: what it has not finished goes on when it runs again.\n\n"
               "  hearth jobs\n"
               "  hearth jobs --state failed\n"
               "  hearth jobs retry 4f9c2f0e-8a51-4f4e-9d0a-3f2f6b6f0e11",
    .words = "list retry cancel",
    .max_args = 2,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_jobs,
};
