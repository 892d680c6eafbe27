/* On the pool: from a job with its model to a request in the scheduler. */
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
                               .keep_alive_ms = req->keep_alive_ms,
                               .deterministic = req->deterministic,
                               .overflow = req->overflow,
                               .resume = req->resume,
                               .place = &job->place,
                               .can_pause = req->can_pause && req->want_tokens,
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

/* Of a text that is too long the beginning, and the last token, which ends every input of models
 * that want one. */
static void cut(int32_t *tokens, size_t *n, size_t most)
{
    if (*n <= most) return;
    tokens[most - 1] = tokens[*n - 1];
    *n = most;
}

static enum err tokenize_input(const struct sched_model *m, const struct embed_request *req,
                               size_t i, struct inputs *out, struct error *error)
{
    const struct engine_model *em = sched_engine_model(m);
    const struct embed_input *in = &req->inputs[i];
    const char *query = req->query;
    size_t most = (size_t)sched_model_ctx(m);
    enum err e = OK;
    if (in->tokens && !query) {
        out->tokens[i] = in->tokens;
        out->n_tokens[i] = in->n_tokens;
        return OK;
    }
    if (query)
        e = engine_tokenize_pair(em, query, in->text, in->text_len, most, &out->owned[i],
                                 &out->n_tokens[i], error);
    else
        e = engine_tokenize(em, in->text, in->text_len, true, false,
                            req->truncate ? INT32_MAX : most, &out->owned[i], &out->n_tokens[i],
                            error);
    if (!e && req->truncate) cut(out->owned[i], &out->n_tokens[i], most);
    if (e) return err_prefix(error, query ? "document %zu" : "input %zu", i);
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
        enum err e = tokenize_input(m, req, i, in, error);
        if (e) return e;
    }
    struct sched_embed s = {.model = m,
                            .inputs = in->tokens,
                            .n_tokens = in->n_tokens,
                            .n_inputs = req->n_inputs,
                            .tenant = req->tenant,
                            .priority = req->priority,
                            .deadline_ms = req->deadline_ms,
                            .keep_alive_ms = req->keep_alive_ms,
                            .place = &job->place,
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

/* ---- the way ------------------------------------------------------------------------------- */

void job_submit(struct job *job)
{
    struct error error = {0};
    enum err e = OK;
    doing_for(job->model_id);
    hold(job);
    switch (job->kind) {
    case JOB_GENERATE: e = submit_generate(job, job->model, &error); break;
    case JOB_EMBED: e = submit_embed(job, job->model, &error); break;
    case JOB_LOAD: note_simple(job->l, NOTE_LOADED, job); break;
    }
    if (e) note_failed(job, &error);
    job_unref(job);
}

void job_prepare(void *arg)
{
    struct job *job = arg;
    struct error error = {0};
    bool waits = false;
    enum err e = OK;
    if (job_is_cancelled(job)) e = err_set(&error, ERR_CANCELLED, "the request was cancelled");
    if (!e) e = job_find_model(job, &waits, &error);
    if (e)
        note_failed(job, &error);
    else if (!waits)
        job_submit(job);
}
