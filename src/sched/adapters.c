/* LoRA adapters of the loaded models: which are in memory, and requests that wait for one.
 *
 * A request names its adapter by file. When it arrives and the adapter is in memory, it goes into
 * the queue like any other. Else it is parked until the adapters' own thread has loaded it (not the
 * models' loader: an adapter is milliseconds, and must not wait behind a model). Neither the base
 * weights nor any other request notices. What can't be loaded ends its requests with the reason.
 *
 * An adapter that requests use or wait for stays. Of the others the `adapters_kept` used last stay
 * in memory, so that talking to one now and then doesn't load it each time; how many are in use at
 * once is bounded by the folder, where only its owner puts files. A file that was replaced is
 * another adapter (`version`); the old one goes with its last request.
 *
 * States (the function of each transition):
 *   WANTED   not in the model's list: a request's own wish, until it arrives (adapter_arrived)
 *   LOADING  adapter_arrived -> adapter_loaded; the thread owns engine_adapter and done
 *   READY    adapter_loaded -> forget
 *
 * All of this is the engine thread's, but for load_adapter. The list and the states are written
 * under models_lock as well, so that sched_adapters can read them from anywhere. An adapter is
 * freed only while none of its model is being loaded, so that the engine thread never waits for the
 * lock that a load holds (engine/llama_adapter.c). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "sched/sched_int.h"

/* ---- wishes -------------------------------------------------------------------------------- */

static void adapter_free(struct sched_adapter *a)
{
    ht_assert(a->n_users == 0 && list_empty(&a->waiters));
    free(a->name);
    free(a->path);
    free(a);
}

void adapter_want(struct request *r, const struct sched_generate *g)
{
    if (!g->adapter) return;
    struct sched_adapter *a = xcalloc(1, sizeof *a);
    a->model = g->model;
    a->name = xstrdup(g->adapter);
    a->path = xstrdup(g->adapter_path);
    a->version = g->adapter_version;
    a->state = ADAPTER_WANTED;
    list_init(&a->waiters);
    r->adapter = a;
    r->adapter_scale = g->adapter_scale == 0 ? 1 : g->adapter_scale;
}

void adapter_unwant(struct request *r)
{
    if (r->adapter && r->adapter->state == ADAPTER_WANTED) adapter_free(r->adapter);
    r->adapter = NULL;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void load_adapter(struct sched_adapter *a)
{
    struct sched *s = a->model->s;
    int64_t start_ns = clock_mono_ns();
    struct error *error = &a->done.error;
    *error = (struct error){0};
    doing_begin(DOING_ADAPTER, a->model->id);
    if (atomic_load(&s->stopping))
        err_set(error, ERR_STOPPING, "the hub is shutting down");
    else if (engine_adapter_load(a->model->engine_model, a->path, &a->engine_adapter, error))
        log_warn(sched, "adapter %s could not be loaded for %s: %s", a->name, a->model->id,
                 error->msg);
    else
        log_info(sched, "adapter %s of %s ready in %.3f s", a->name, a->model->id,
                 (double)(clock_mono_ns() - start_ns) / 1e9);
    doing_end(DOING_ADAPTER);
    err_hide_folder(error, a->path); /* the log has it; this goes to clients */
    a->done.cmd.type = CMD_ADAPTER;
    a->done.adapter = a;
    mailbox_send(s->inbox, &a->done.cmd.mail);
}

void *adapters_main(void *sched)
{
    struct sched *s = sched;
    for (;;) {
        struct mail *next, *mail = mailbox_receive(s->adapter_loads, -1);
        for (; mail; mail = next) {
            next = mail->next;
            if (mail == &s->adapters_quit) return NULL; /* nothing is sent after it */
            load_adapter(container_of(mail, struct sched_adapter, load_mail));
        }
    }
}

/* ---- what is in memory --------------------------------------------------------------------- */

static void set_state(struct sched_adapter *a, enum adapter_state state)
{
    pthread_mutex_lock(&a->model->s->models_lock);
    if (a->state == ADAPTER_WANTED) list_push_back(&a->model->adapters, &a->node);
    a->state = state;
    pthread_mutex_unlock(&a->model->s->models_lock);
    keep_touch(a->model->s); /* the ledger has changed */
}

static void forget(struct sched_adapter *a)
{
    struct sched_model *m = a->model;
    pthread_mutex_lock(&m->s->models_lock);
    list_remove(&a->node);
    pthread_mutex_unlock(&m->s->models_lock);
    keep_touch(m->s);
    if (a->engine_adapter) {
        if (m->ctx) engine_ctx_drop_adapters(m->ctx);
        engine_adapter_free(a->engine_adapter);
        log_debug(sched, "adapter %s of %s was unloaded", a->name, m->id);
    }
    adapter_free(a);
}

/* Down to what is used and the last few of the others. */
static void trim(struct sched_model *m)
{
    if (m->adapters_loading) return;
    for (;;) {
        struct sched_adapter *oldest = NULL;
        int32_t unused = 0;
        list_each (n, &m->adapters) {
            struct sched_adapter *a = container_of(n, struct sched_adapter, node);
            if (a->n_users) continue;
            unused++;
            if (!oldest || a->last_used < oldest->last_used) oldest = a;
        }
        if (unused <= m->s->params.adapters_kept) return;
        forget(oldest);
    }
}

static struct sched_adapter *find(struct sched_model *m, const struct sched_adapter *wanted)
{
    list_each (n, &m->adapters) {
        struct sched_adapter *a = container_of(n, struct sched_adapter, node);
        if (a->version == wanted->version && str_eq(a->path, wanted->path)) return a;
    }
    return NULL;
}

static uint64_t key_of(const struct sched_adapter *a, float scale)
{
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    uint64_t key = (a->fingerprint ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
    return key ? key : 1;
}

bool adapter_arrived(struct request *r)
{
    struct sched_adapter *wanted = r->adapter;
    if (!wanted) return true;
    struct sched_model *m = r->model;
    struct sched_adapter *a = find(m, wanted);
    if (a) {
        adapter_free(wanted);
        r->adapter = a;
    } else {
        a = wanted;
        set_state(a, ADAPTER_LOADING);
        m->adapters_loading++;
        sched_model_ref(m); /* its weights stay until the load is over */
        mailbox_send(m->s->adapter_loads, &a->load_mail);
    }
    a->n_users++;
    if (a->state == ADAPTER_LOADING) {
        list_push_back(&a->waiters, &r->active);
        return false;
    }
    r->adapter_key = key_of(a, r->adapter_scale);
    return true;
}

void adapter_loaded(struct sched_adapter *a)
{
    struct sched_model *m = a->model;
    struct error error = a->done.error;
    struct list_node *n;
    m->adapters_loading--;
    if (error.code == ERR_MODEL_FILE) error.code = ERR_ADAPTER;
    if (error.code) err_prefix(&error, "the adapter %s", a->name);
    if (!error.code) {
        struct engine_adapter_facts facts;
        engine_adapter_facts(a->engine_adapter, &facts);
        a->fingerprint = facts.fingerprint;
        a->bytes = facts.bytes;
        set_state(a, ADAPTER_READY);
    }
    a->n_users++; /* it stays until all have heard */
    while ((n = list_pop_front(&a->waiters))) {
        struct request *r = container_of(n, struct request, active);
        r->timings.load_ns += clock_mono_ns() - r->arrived_ns;
        if (error.code) {
            request_end(r, &error);
            continue;
        }
        r->adapter_key = key_of(a, r->adapter_scale);
        request_enqueue(r);
    }
    a->n_users--;
    if (error.code) forget(a);
    trim(m);
    sched_model_unref(m);
}

void adapter_leave(struct request *r)
{
    struct sched_adapter *a = r->adapter;
    if (!a || a->state == ADAPTER_WANTED) return;
    struct sched_model *m = r->model;
    r->adapter = NULL;
    ht_assert(a->n_users > 0);
    a->n_users--;
    a->last_used = ++m->adapter_uses;
    trim(m);
}

void adapters_unload(struct sched_model *m)
{
    ht_assert(!m->adapters_loading);
    doing_begin(DOING_STEP, m->id);
    for (struct list_node *n = m->adapters.next, *next; n != &m->adapters; n = next) {
        next = n->next;
        forget(container_of(n, struct sched_adapter, node));
    }
    doing_end(DOING_STEP);
}

size_t sched_adapters(struct sched *s, struct sched_adapter_status *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&s->models_lock);
    list_each (mn, &s->models) {
        const struct sched_model *m = container_of(mn, struct sched_model, node);
        list_each (an, &m->adapters) {
            const struct sched_adapter *a = container_of(an, struct sched_adapter, node);
            if (n++ >= max) continue;
            struct sched_adapter_status *st = &out[n - 1];
            *st = (struct sched_adapter_status){.loaded = a->state == ADAPTER_READY};
            if (st->loaded) st->bytes = a->bytes; /* set before that state, without the lock */
            str_copy(st->model, sizeof st->model, m->id);
            str_copy(st->name, sizeof st->name, a->name);
        }
    }
    pthread_mutex_unlock(&s->models_lock);
    return n;
}
