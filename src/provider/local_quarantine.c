/* Models that are not loaded by themselves, because they ended the process that they ran in
 * (src/worker tells which). A person may load one all the same: {"force": true}. The
 * embeddings of a generating model are a context of their own and end it by themselves: then the
 * model goes on to generate. */
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

bool quarantine_has(struct local *l, const char *load_id)
{
    bool found = false;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n_quarantined; i++) found |= str_eq(l->quarantined[i], load_id);
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

enum err quarantine_check(struct local *l, const char *id, const char *load_id, struct error *error)
{
    bool all = quarantine_has(l, id);
    if (!all && !quarantine_has(l, load_id)) return OK;
    return err_set_param(error, ERR_QUARANTINED, "/model",
                         "%s is in quarantine%s: it ended the model worker several times (the log "
                         "says how). `hearth load %s --force`, or POST /v1/models/%s/load with "
                         "{\"force\": true}, tries it again",
                         id, all ? "" : " for embeddings", id, id);
}

const char *quarantine_words(char *dst, size_t size, const char *id, bool embeddings)
{
    str_printf(dst, size,
               "%s ended the model worker several times; `hearth load %s --force` tries again",
               embeddings ? "its embeddings" : "it", id);
    return dst;
}

static void lift(struct local *l, const char *id)
{
    for (size_t i = 0; i < l->n_quarantined; i++) {
        if (!str_eq(l->quarantined[i], id)) continue;
        free(l->quarantined[i]);
        l->quarantined[i--] = l->quarantined[--l->n_quarantined];
    }
}

void quarantine_lift(struct local *l, const char *id)
{
    char beside[MODEL_ID_MAX];
    local_embeddings_id(beside, sizeof beside, id);
    pthread_mutex_lock(&l->lock);
    lift(l, id);
    lift(l, beside);
    pthread_mutex_unlock(&l->lock);
}
