/* Models that are not loaded by themselves, because they ended the process that they ran in
 * (src/worker tells which). A person may load one all the same: {"force": true}. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/local_int.h"

void quarantine_init(struct local *l, const char *const *ids, size_t n)
{
    l->quarantined = xcalloc(n + 1, sizeof *l->quarantined);
    for (size_t i = 0; i < n; i++) l->quarantined[i] = xstrdup(ids[i]);
    l->n_quarantined = n;
}

void quarantine_free(struct local *l)
{
    for (size_t i = 0; i < l->n_quarantined; i++) free(l->quarantined[i]);
    free(l->quarantined);
}

static bool has(struct local *l, const char *id)
{
    bool found = false;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n_quarantined; i++) found |= str_eq(l->quarantined[i], id);
    pthread_mutex_unlock(&l->lock);
    return found;
}

size_t quarantine_list(struct local *l, char (*out)[MODEL_ID_MAX], size_t max)
{
    pthread_mutex_lock(&l->lock);
    size_t n = l->n_quarantined < max ? l->n_quarantined : max;
    for (size_t i = 0; i < n; i++) str_copy(out[i], MODEL_ID_MAX, l->quarantined[i]);
    pthread_mutex_unlock(&l->lock);
    return n;
}

enum err quarantine_check(struct local *l, const char *id, struct error *error)
{
    if (!has(l, id)) return OK;
    return err_set_param(error, ERR_QUARANTINED, "/model",
                         "%s is in quarantine: it ended the model worker several times (the log "
                         "says how). POST /v1/models/%s/load with {\"force\": true} tries it again",
                         id, id);
}

void quarantine_lift(struct local *l, const char *id)
{
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n_quarantined; i++) {
        if (!str_eq(l->quarantined[i], id)) continue;
        free(l->quarantined[i]);
        l->quarantined[i--] = l->quarantined[--l->n_quarantined];
    }
    pthread_mutex_unlock(&l->lock);
}
