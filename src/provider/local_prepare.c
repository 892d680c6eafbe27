/* On the pool: from a model's name to a request in the scheduler. A job that has to wait for its
 * model gives its pool thread back; the end of the load submits it to the pool again. */
#include <stdlib.h>
#include <string.h>

#include "base/doing.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/local_int.h"

enum { ECHO_MAX = 64 << 20 };

/* ---- handing over to the scheduler ---------------------------------------------------------- */

/* While the scheduler takes the request, its last event may come already: the pool holds the job.
 */
static void hold(struct job *job)
{
    pthread_mutex_lock(&job->l->lock);
    job->refs++;
    pthread_mutex_unlock(&job->l->lock);
}

/* A cancel that came before the scheduler's id was known. */
static void handed_over(struct job *job, uint64_t sched_id)
{
    pthread_mutex_lock(&job->l->lock);
    job->sched_id = sched_id;
    if (job->cancelled) sched_cancel(job->l->sched, sched_id);
    pthread_mutex_unlock(&job->l->lock);
}

/* ---- generation ---------------------------------------------------------------------------- */

static enum err make_parsers(struct job *job, const struct engine_prompt *prompt,
                             struct error *error)
{
    int32_t n = job->gen->n;
    job->choices = xcalloc((size_t)n, sizeof *job->choices);
    job->n_choices = n;
    for (int32_t i = 0; i < n; i++) {
        struct job_choice *c = &job->choices[i];
        c->logprobs_end = &c->logprobs;
        if (job->gen->kind == GEN_RAW) continue;
        enum err e = engine_parser_new(prompt, &c->parser, error);
        if (e) return e;
    }
    return OK;
}

static enum err make_echo(struct job *job, const struct engine_model *m, struct error *error)
{
    const struct gen_request *req = job->gen;
    if (req->kind != GEN_RAW || !req->echo) return OK;
    struct buf text;
    buf_init(&text, ECHO_MAX);
    if (req->prompt) buf_puts(&text, req->prompt);
    for (size_t i = 0; !req->prompt && i < req->n_prompt_tokens; i++)
        engine_token_text(m, req->prompt_tokens[i], true, &text);
    enum err e = text.err;
    if (!e && text.len) job->echo = buf_take(&text);
    buf_free(&text);
    if (e) return err_set(error, e, "the prompt is too long to be echoed");
    if (job->echo && !utf8_valid(job->echo, strlen(job->echo)))
        return err_set_param(error, ERR_INVALID, "/prompt",
                             "the prompt's tokens are no text and can't be echoed");
    return OK;
}

/* How many tokens at the start of the prompt are its system messages: those that it has in common
 * with a prompt of these messages alone. 0 when the template wants more than these. */
static int32_t system_tokens(const struct engine_model *m, const struct gen_request *req,
                             const struct engine_prompt *prompt)
{
    struct gen_request alone = *req;
    struct engine_prompt *p;
    struct error error;
    size_t n_a, n_b, n = 0;
    alone.n_messages = 0;
    while (alone.n_messages < req->n_messages &&
           req->messages[alone.n_messages].role == ROLE_SYSTEM)
        alone.n_messages++;
    if (req->kind != GEN_CHAT || !alone.n_messages) return 0;
    if (engine_prompt_new(m, &alone, INT32_MAX, &p, &error)) return 0;
    const int32_t *a = engine_prompt_tokens(prompt, &n_a), *b = engine_prompt_tokens(p, &n_b);
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    engine_prompt_free(p);
    return (int32_t)n;
}

static enum err generate(struct job *job, struct sched_model *m, struct engine_prompt *prompt,
                         struct error *error)
{
    const struct gen_request *req = job->gen;
    struct sched_generate g = {.model = m,
                               .prompt = prompt,
                               .sampling = req->sampling,
                               .tenant = req->tenant,
                               .stop = req->stop,
                               .n_stop = req->n_stop,
                               .n = req->n,
                               .max_tokens = req->max_tokens,
                               .priority = req->priority,
                               .deadline_ms = req->deadline_ms,
                               .deterministic = req->deterministic,
                               .overflow = req->overflow,
                               .resume = req->resume,
                               .listener = note_event,
                               .listener_ctx = job};
    if (sched_overflow(job->l->sched, req->overflow) == OVERFLOW_SHIFT)
        g.n_keep = system_tokens(sched_engine_model(m), req, prompt);
    if (job->adapter) {
        g.adapter = job->adapter->name;
        g.adapter_path = job->adapter->path;
        g.adapter_version = job->adapter->version;
        g.adapter_scale = job->adapter_scale;
    }
    uint64_t id;
    enum err e = make_parsers(job, prompt, error);
    if (!e) e = make_echo(job, sched_engine_model(m), error);
    if (!e) e = sched_generate(job->l->sched, &g, &id, error);
    if (e)
        engine_prompt_free(prompt);
    else
        handed_over(job, id);
    return e;
}

static enum err submit_generate(struct job *job, struct sched_model *m, struct error *error)
{
    struct engine_prompt *prompt;
    size_t most = (size_t)sched_model_ctx(m) - 1; /* one token is left for the answer */
    enum err e = engine_prompt_new(sched_engine_model(m), job->gen, most, &prompt, error);
    return e ? e : generate(job, m, prompt, error);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

struct inputs {
    int32_t **owned; /* those that were tokenised here */
    const int32_t **tokens;
    size_t *n_tokens;
};

static enum err tokenize_input(const struct sched_model *m, const struct embed_input *in, size_t i,
                               struct inputs *out, struct error *error)
{
    if (in->tokens) {
        out->tokens[i] = in->tokens;
        out->n_tokens[i] = in->n_tokens;
        return OK;
    }
    enum err e =
        engine_tokenize(sched_engine_model(m), in->text, in->text_len, true, false,
                        (size_t)sched_model_ctx(m), &out->owned[i], &out->n_tokens[i], error);
    if (e) return err_prefix(error, "input %zu", i);
    out->tokens[i] = out->owned[i];
    return OK;
}

static enum err embed(struct job *job, struct sched_model *m, struct inputs *in,
                      struct error *error)
{
    const struct embed_request *req = job->embed;
    if (!in->owned || !in->tokens || !in->n_tokens)
        return err_set(error, ERR_NOMEM, "no memory for %zu inputs", req->n_inputs);
    for (size_t i = 0; i < req->n_inputs; i++) {
        enum err e = tokenize_input(m, &req->inputs[i], i, in, error);
        if (e) return e;
    }
    struct sched_embed s = {.model = m,
                            .inputs = in->tokens,
                            .n_tokens = in->n_tokens,
                            .n_inputs = req->n_inputs,
                            .tenant = req->tenant,
                            .priority = req->priority,
                            .listener = note_event,
                            .listener_ctx = job};
    uint64_t id;
    enum err e = sched_embed(job->l->sched, &s, &id, error);
    if (!e) handed_over(job, id);
    return e;
}

static enum err submit_embed(struct job *job, struct sched_model *m, struct error *error)
{
    size_t n = job->embed->n_inputs;
    struct inputs in = {.owned = try_calloc(n + 1, sizeof *in.owned),
                        .tokens = try_calloc(n + 1, sizeof *in.tokens),
                        .n_tokens = try_calloc(n + 1, sizeof *in.n_tokens)};
    enum err e = embed(job, m, &in, error);
    for (size_t i = 0; in.owned && i < n; i++) free(in.owned[i]);
    free(in.owned);
    free(in.tokens);
    free(in.n_tokens);
    return e;
}

/* ---- the model ----------------------------------------------------------------------------- */

static void submit(struct job *job, struct sched_model *m)
{
    struct error error = {0};
    enum err e = OK;
    str_copy(job->model_id, sizeof job->model_id, sched_model_id(m));
    doing_for(job->model_id);
    hold(job);
    switch (job->kind) {
    case JOB_GENERATE: e = submit_generate(job, m, &error); break;
    case JOB_EMBED: e = submit_embed(job, m, &error); break;
    case JOB_LOAD: note_simple(job->l, NOTE_LOADED, job); break;
    }
    if (e) note_failed(job, &error);
    job_unref(job);
}

static void go_on(void *arg)
{
    struct job *job = arg;
    struct local *l = job->l;
    pthread_mutex_lock(&l->lock);
    job->loading = false;
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&l->lock);
    struct sched_model *m = sched_find(l->sched, job->model_id);
    struct error error = job->load_error;
    if (cancelled)
        err_set(&error, ERR_CANCELLED, "the request was cancelled");
    else if (!error.code && !m)
        err_set(&error, ERR_INTERNAL, "%s was loaded and is gone", job->model_id);
    if (error.code)
        note_failed(job, &error);
    else
        submit(job, m);
}

/* sched_load_listener: mostly on the engine thread. */
static void loaded(void *ctx, struct sched_model *m, const struct error *load_error)
{
    struct job *job = ctx;
    (void)m;
    if (load_error) {
        job->load_error = *load_error;
        names_hide_path(&job->load_error, job->model_path);
        err_prefix(&job->load_error, "%s could not be loaded", job->model_id);
    }
    enum err e = pool_submit(job->l->pool, go_on, job);
    if (!e) return;
    struct error error;
    err_set(&error, e, "%s",
            e == ERR_STOPPING ? "the hub is shutting down"
                              : "too many requests are being prepared; try again later");
    note_failed(job, &error);
}

/* The listener may be called, and the job gone, before sched_load returns. */
static enum err load(struct job *job, const struct model_info *info, struct error *error)
{
    struct local *l = job->l;
    struct sched_load_listener listener = {.on_done = loaded, .ctx = job};
    enum err e = quarantine_check(l, info->id, error);
    if (e) return e;
    str_copy(job->model_id, sizeof job->model_id, info->id);
    job->model_path = xstrdup(info->path);
    pthread_mutex_lock(&l->lock);
    if (job->cancelled) e = err_set(error, ERR_CANCELLED, "the request was cancelled");
    if (!e) {
        job->loading = true;
        e = sched_load(l->sched, info->id, info->path, &listener, error);
        if (e) job->loading = false;
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

static bool is_cancelled(struct job *job)
{
    pthread_mutex_lock(&job->l->lock);
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&job->l->lock);
    return cancelled;
}

static const char *wanted_model(const struct job *job)
{
    switch (job->kind) {
    case JOB_GENERATE: return job->gen->model;
    case JOB_EMBED: return job->embed->model;
    case JOB_LOAD: return job->load_name;
    }
    ht_bug("unknown kind of job");
}

/* The model in memory, or NULL and a name that was resolved, or an error. */
static enum err find_model(struct job *job, struct sched_model **m, struct model_info *info,
                           struct error *error)
{
    struct local *l = job->l;
    const char *name = wanted_model(job);
    bool embedding = job->kind == JOB_EMBED;
    *m = names_loaded(l, name, embedding);
    if (*m) return OK;
    const char *adapter = NULL;
    enum err e = names_resolve(l, name, embedding, info, error);
    if (e == ERR_NO_MODEL && job->kind == JOB_GENERATE)
        e = names_split_adapter(l, name, info, &adapter, error);
    if (adapter) job->model_adapter = xstrdup(adapter);
    if (e == ERR_UNSUPPORTED && job->kind == JOB_LOAD) /* a preload may be of either kind */
        e = names_resolve(l, name, true, info, error);
    if (!e) *m = sched_find(l->sched, info->id);
    return e;
}

void job_prepare(void *arg)
{
    struct job *job = arg;
    struct error error = {0};
    struct sched_model *m = NULL;
    struct model_info info;
    enum err e = OK;
    if (is_cancelled(job)) e = err_set(&error, ERR_CANCELLED, "the request was cancelled");
    if (!e) e = find_model(job, &m, &info, &error);
    if (!e && job->kind == JOB_GENERATE)
        e = adapter_choose(job, m ? sched_model_id(m) : info.id, &error);
    if (e) m = NULL;
    if (m) {
        submit(job, m);
        return;
    }
    if (!e) e = load(job, &info, &error);
    if (e) note_failed(job, &error);
}
