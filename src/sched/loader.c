/* The loader thread: what takes long with models, so that requests to other models go on. In the
 * order in which it is asked: measuring a file, loading it, freeing what was unloaded (which is
 * therefore gone before the load that it makes room for begins).
 *
 * A generating model and its embeddings are two entries of the list with one set of weights, which
 * are counted here and touched by no other thread. */
#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "sched/sched_int.h"

/* ---- weights ------------------------------------------------------------------------------- */

static bool on_progress(float fraction, void *ctx)
{
    struct sched_model *m = ctx;
    atomic_store(&m->progress, fraction);
    pthread_mutex_lock(&m->s->models_lock);
    list_each (n, &m->listeners) {
        const struct load_listener *entry = container_of(n, struct load_listener, node);
        if (entry->l.on_progress) entry->l.on_progress(entry->l.ctx, fraction);
    }
    bool wanted = !model_unwanted(m);
    pthread_mutex_unlock(&m->s->models_lock);
    return wanted && !atomic_load(&m->s->stopping);
}

/* Not begun, or not to be finished, since nobody wants it any more. */
static enum err check_wanted(struct sched_model *m, struct error *error)
{
    if (atomic_load(&m->s->stopping))
        return err_set(error, ERR_STOPPING, "the hub is shutting down");
    pthread_mutex_lock(&m->s->models_lock);
    bool wanted = !model_unwanted(m);
    pthread_mutex_unlock(&m->s->models_lock);
    return wanted ? OK : err_set(error, ERR_CANCELLED, "it was unloaded before it was loaded");
}

static enum err weights_get(struct sched_model *m, struct error *error)
{
    struct sched *s = m->s;
    list_each (n, &s->weights) {
        struct weights *w = container_of(n, struct weights, node);
        if (!str_eq(w->path, m->path)) continue;
        w->n_users++;
        m->weights = w;
        return OK;
    }
    struct engine_model_params params = {.path = m->path, /* constant while LOADING */
                                         .n_gpu_layers = s->params.n_gpu_layers,
                                         .use_mmap = true,
                                         .on_progress = on_progress,
                                         .progress_ctx = m};
    struct engine_model *model;
    enum err e = engine_model_load(s->params.engine, &params, &model, error);
    if (e) return e;
    struct weights *w = xcalloc(1, sizeof *w);
    w->path = xstrdup(m->path);
    w->model = model;
    w->n_users = 1;
    list_push_back(&s->weights, &w->node);
    m->weights = w;
    return OK;
}

static void weights_put(struct weights *w)
{
    if (!w || --w->n_users > 0) return;
    list_remove(&w->node);
    engine_model_free(w->model);
    free(w->path);
    free(w);
}

/* ---- loading ------------------------------------------------------------------------------- */

static int32_t min32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* The form that was chosen. If the library has no memory for it after all, half of it, as a pool,
 * down to the least. */
static enum err make_ctx(struct sched_model *m, struct ledger_forms *f, struct error *error)
{
    struct engine_ctx_params *p = &f->full.ctx;
    enum err e = engine_ctx_new(m->engine_model, p, &m->ctx, error);
    while (e == ERR_NOMEM && !f->embedding && p->n_ctx / 2 >= f->least) {
        p->n_ctx /= 2;
        p->shared_kv = true;
        log_warn(sched, "%s: %s; trying a context of %d tokens", m->id, error->msg, p->n_ctx);
        e = engine_ctx_new(m->engine_model, p, &m->ctx, error);
    }
    return e;
}

static void size_generating(struct sched_model *m, const struct ledger_forms *f)
{
    const struct sched_params tuned = ledger_params(m->s, m->id), *p = &tuned;
    int32_t n_train = m->facts.n_ctx_train > 0 ? m->facts.n_ctx_train : INT32_MAX;
    m->n_slots = p->n_parallel;
    m->shared_kv = f->full.ctx.shared_kv;
    m->n_cells = engine_ctx_size(m->ctx);
    m->n_batch = min32(p->n_batch, m->n_cells); /* libllama cuts it the same way */
    m->n_ubatch = min32(p->n_ubatch, m->n_batch);
    m->n_seq_ctx = f->full.ctx.shared_kv ? min32(n_train, m->n_cells)
                                         : min32(f->longest, m->n_cells / m->n_slots);
    /* As asked; the whole pool is for one request only if it was asked for as a pool. */
    if (!p->shared_kv && p->n_ctx > 0) m->n_seq_ctx = min32(m->n_seq_ctx, f->longest);
}

static void size_embedding(struct sched_model *m, const struct ledger_forms *f)
{
    m->n_batch = m->n_ubatch = f->full.ctx.n_batch;
    m->n_cells = f->full.ctx.n_ctx;
    m->n_slots = 0;
    m->n_seq_ctx = f->longest;
}

static enum err load_model(struct sched_model *m, struct ledger_forms *f, struct error *error)
{
    enum err e = weights_get(m, error);
    if (e) return e;
    m->engine_model = m->weights->model;
    engine_model_facts(m->engine_model, &m->facts);
    if (!m->measured) {
        struct sched_params p = ledger_params(m->s, m->id);
        ledger_forms_for(&p, &m->facts, -1, m->wants_embedding, f);
    }
    m->embedding = f->embedding;
    e = make_ctx(m, f, error);
    if (e) return e;
    if (m->embedding)
        size_embedding(m, f);
    else
        size_generating(m, f);
    m->batch = try_calloc((size_t)m->n_batch, sizeof *m->batch);
    if (!m->batch) return err_set(error, ERR_NOMEM, "no memory for a batch of %d", m->n_batch);
    slots_init(m);
    pace_init(m);
    if (measured_profile(&m->s->params, m->id))
        log_info(sched, "%s: `hearth bench` has measured it on this machine", m->id);
    return OK;
}

static void drop_loaded(struct sched_model *m)
{
    engine_ctx_free(m->ctx);
    weights_put(m->weights);
    free(m->batch);
    m->ctx = NULL;
    m->weights = NULL;
    m->engine_model = NULL;
    m->batch = NULL;
    m->n_slots = 0;
}

/* What it takes now. Weights that were measured stay as they are: of loaded ones the library counts
 * the file's mapping. */
static void read_memory(struct sched_model *m, int64_t ns)
{
    struct engine_memory real;
    engine_ctx_memory(m->ctx, &real);
    pthread_mutex_lock(&m->s->models_lock);
    if (m->measured) real.host.weights = m->memory.host.weights;
    m->memory = real;
    m->bound = false;
    m->load_ns = ns;
    pthread_mutex_unlock(&m->s->models_lock);
}

static void send_done(struct sched_model *m, enum command_type type, const struct error *error)
{
    m->done_cmd = (struct model_command){.cmd = {.type = type}, .model = m, .error = *error};
    err_hide_folder(&m->done_cmd.error, m->path); /* the log has it; this goes to clients */
    mailbox_send(m->s->inbox, &m->done_cmd.cmd.mail);
}

static void log_failed(const struct sched_model *m, const char *what, const struct error *error)
{
    bool told = error->code == ERR_STOPPING || error->code == ERR_CANCELLED;
    log_line(told ? LOG_DEBUG : LOG_ERROR, LOG_sched, NULL, "model %s %s: %s", m->id, what,
             error->msg);
}

static void load(struct sched_model *m)
{
    struct error error = {0};
    int64_t start_ns = clock_mono_ns();
    enum err e = check_wanted(m, &error);
    doing_begin(DOING_LOAD, m->id);
    if (!e) e = load_model(m, &m->forms, &error);
    if (e) {
        drop_loaded(m);
        if (e == ERR_CANCELLED && atomic_load(&m->s->stopping))
            err_set(&error, ERR_STOPPING, "the hub is shutting down");
        log_failed(m, "could not be loaded", &error);
    } else {
        int64_t ns = clock_mono_ns() - start_ns;
        read_memory(m, ns);
        metric_observe_ns(METRIC_model_load_seconds, ns);
        log_info(sched, "model %s ready in %.2f s (context %d, %d KV cells of %s)", m->id,
                 (double)ns / 1e9, m->n_seq_ctx, m->n_cells,
                 engine_kv_name(engine_ctx_kv_type(m->ctx)));
    }
    doing_end(DOING_LOAD);
    send_done(m, CMD_MODEL, &error);
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* With plenty of memory an upper bound is enough, and the header is read once instead of twice. The
 * forms are then made from the loaded model's facts. */
static bool is_small(struct sched_model *m)
{
    struct sched *s = m->s;
    struct engine_memory bound;
    if (!m->size.file_bytes || s->params.exclusive || m->must_measure) return false;
    struct sched_params p = ledger_params(s, m->id);
    ledger_bound(&p, &m->size, m->wants_embedding, &bound);
    pthread_mutex_lock(&s->models_lock);
    bool fits = !ledger_has_devices(&s->ledger) && ledger_fits_now(s, &bound);
    if (fits) m->memory = bound;
    m->bound = fits;
    pthread_mutex_unlock(&s->models_lock);
    return fits;
}

static void measure(struct sched_model *m)
{
    struct sched *s = m->s;
    struct error error = {0};
    struct ledger_forms forms;
    enum err e = check_wanted(m, &error);
    if (!e) e = ledger_describe(s, &error);
    m->measured = false;
    if (!e && !is_small(m)) {
        struct sched_params p = ledger_params(s, m->id);
        doing_begin(DOING_LOAD, m->id);
        e = ledger_measure(&p, m->path, -1, m->wants_embedding, &forms, &error);
        doing_end(DOING_LOAD);
        if (!e) m->forms = forms; /* the loader's, in STAGE_MEASURE */
        m->measured = true;
    }
    if (e) log_failed(m, "can't be loaded", &error);
    send_done(m, CMD_MEASURED, &error);
}

/* ---- freeing -------------------------------------------------------------------------------- */

static void unload_free(struct sched *s, struct unload *u)
{
    doing_for(u->model->id);
    engine_ctx_free(u->ctx);
    weights_put(u->weights);
    free(u->batch);
    doing_for("");
    malloc_trim(0); /* what was freed goes back to the system */
    u->cmd.type = CMD_FREED;
    mailbox_send(s->inbox, &u->cmd.mail);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void do_job(struct sched *s, struct load_job *j)
{
    switch (j->type) {
    case LOAD_MEASURE: measure(container_of(j, struct sched_model, load_job)); break;
    case LOAD_LOAD: load(container_of(j, struct sched_model, load_job)); break;
    case LOAD_FREE: unload_free(s, container_of(j, struct unload, job)); break;
    case LOAD_QUIT: break;
    }
}

void *loader_main(void *sched)
{
    struct sched *s = sched;
    for (;;) {
        struct mail *next, *mail = mailbox_receive(s->loads, -1);
        for (; mail; mail = next) {
            next = mail->next;
            struct load_job *j = container_of(mail, struct load_job, mail);
            if (j->type == LOAD_QUIT) return NULL; /* what comes after it is loader_drain's */
            do_job(s, j);
        }
    }
}

void loader_drain(struct sched *s)
{
    for (struct mail *mail = mailbox_receive(s->loads, 0), *next; mail; mail = next) {
        next = mail->next;
        do_job(s, container_of(mail, struct load_job, mail));
    }
}
