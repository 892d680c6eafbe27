/* What was put in after the worker had started, and may not be read by it.
 *
 * Its rights name folders, and where the links in them lead, as they were at its start (Landlock
 * looks at files, not at names). A link that was put in later, or a folder that was made anew, is
 * seen by the hub and refused to the worker. Only a new process has new rights. So when the worker
 * does not find something, and the rules would be others if they were made now:
 *
 *   nothing else runs in it   it is started anew, and the request goes again
 *   something runs            that is not disturbed: the request is told to come again, and the
 *                             worker is started anew as soon as it has nothing to do
 *
 * Names that are not there start nothing: the rules would be the same. Worker thread only. */
#include "base/clock.h"
#include "worker/child_int.h"
#include "worker/client_int.h"

enum { LOOK_EVERY_MS = 50, RETRY_AFTER_S = 5 };

void rights_begin(struct client *c)
{
    const struct config *config = c->params.config;
    bool restricted = config && config_bool(config, CONFIG_SANDBOX);
    c->rights = restricted ? child_rights_signature(config) : 0;
    c->rights_looked_ms = 0;
    c->rights_stale = c->renew = false;
}

/* Errors that a file which can't be read may look like. */
static bool may_be_rights(enum err code)
{
    return code == ERR_NO_MODEL || code == ERR_NO_ADAPTER || code == ERR_ADAPTER ||
           code == ERR_MODEL_FILE || code == ERR_FORBIDDEN || code == ERR_NOT_FOUND;
}

static bool is_stale(struct client *c)
{
    int64_t now = clock_mono_ms();
    if (c->rights_stale || !c->rights) return c->rights_stale;
    if (c->rights_looked_ms && now - c->rights_looked_ms < LOOK_EVERY_MS) return false;
    c->rights_stale = child_rights_signature(c->params.config) != c->rights;
    c->rights_looked_ms = clock_mono_ms();
    return c->rights_stale;
}

/* With anything that would have to begin again, but for that task. */
static bool is_busy(struct client *c, const struct task *but)
{
    bool busy = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->tasks.n_buckets; i++)
        for (struct idnode *n = c->tasks.buckets[i]; n; n = n->next) {
            const struct task *t = container_of(n, struct task, by_id);
            bool work = t->kind != TASK_CONTROL || t->what == CONTROL_LOAD;
            busy |= t != but && t->sent && work;
        }
    pthread_mutex_unlock(&c->lock);
    return busy;
}

bool rights_retry(struct client *c, struct task *t, struct error *error)
{
    bool begun = t->kind == TASK_GENERATE && t->told.started;
    if (begun || !may_be_rights(error->code) || !is_stale(c)) return false;
    if (is_busy(c, t)) {
        struct error old = *error;
        err_set(error, ERR_WORKER,
                "%.200s. A link or a folder was put there after the model worker had started, "
                "which may not read it yet. It starts anew when nothing runs in it: if this is "
                "what was put there, send the request again then, or restart the hub",
                old.msg);
        error->retry_after_s = RETRY_AFTER_S;
        return false;
    }
    pthread_mutex_lock(&c->lock);
    t->sent = false;
    pthread_mutex_unlock(&c->lock);
    c->renew = true;
    return true;
}

bool rights_renew(struct client *c)
{
    if (c->rights_stale && !is_busy(c, NULL)) c->renew = true;
    return c->renew;
}
