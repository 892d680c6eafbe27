/* One batch of an embedding model: inputs of one or more requests, the most important request's
 * first.
 *
 * A batch holds up to EMBED_SEQ_MAX inputs and about EMBED_BATCH tokens (attention looks at the
 * whole batch, so a larger one costs more than it saves), or one longer input. Requests stay in the
 * order of the queue while they are active, so an important one passes a long list of inputs
 * between two batches, and a cancel is heard there. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

struct input { /* in the batch, as sequence number i */
    struct request *req;
    size_t index;
};

static bool start(struct request *r)
{
    struct embed_work *w = &r->embed;
    request_started(r);
    r->started = true;
    w->vectors = try_calloc(w->n_inputs, w->n_dims * sizeof *w->vectors);
    if (w->vectors) return true;
    request_fail(r, ERR_NOMEM, "no memory for %zu vectors of %zu numbers", w->n_inputs, w->n_dims);
    return false;
}

void embed_admit(struct sched_model *m)
{
    struct queue_entry *e;
    while (atomic_load(&m->n_running) < EMBED_SEQ_MAX && (e = queue_first(&m->queue)))
        start(container_of(e, struct request, queued));
}

static size_t input_len(const struct request *r, size_t i)
{
    return r->embed.offsets[i + 1] - r->embed.offsets[i];
}

static void add_input(struct sched_model *m, const struct request *r, size_t i, int32_t seq)
{
    const int32_t *tokens = r->embed.tokens + r->embed.offsets[i];
    int32_t n = (int32_t)input_len(r, i);
    for (int32_t pos = 0; pos < n; pos++)
        m->batch[m->n_batched++] = (struct engine_batch_token){
            .token = tokens[pos], .pos = pos, .seq = seq, .output = true};
}

static int32_t build(struct sched_model *m, struct input *inputs)
{
    int32_t n = 0;
    m->n_batched = 0;
    list_each (node, &m->active) {
        struct request *r = container_of(node, struct request, active);
        for (size_t i = r->embed.next; i < r->embed.n_inputs; i++) {
            size_t len = input_len(r, i);
            if (n == EMBED_SEQ_MAX || (n && (size_t)m->n_batched + len > EMBED_BATCH)) return n;
            add_input(m, r, i, n);
            inputs[n++] = (struct input){r, i};
        }
    }
    return n;
}

static void keep_vectors(struct sched_model *m, const struct input *inputs, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        struct request *r = inputs[i].req;
        if (r->state != REQUEST_ACTIVE) continue;
        const float *vector = engine_seq_embedding(m->ctx, i);
        if (!vector) {
            request_fail(r, ERR_ENGINE, "%s gave no embedding for input %zu", m->id,
                         inputs[i].index);
            continue;
        }
        struct embed_work *w = &r->embed;
        memcpy(w->vectors + inputs[i].index * w->n_dims, vector, w->n_dims * sizeof *vector);
        w->next = inputs[i].index + 1;
        metric_add(METRIC_embedding_tokens_total, (int64_t)input_len(r, inputs[i].index));
        if (w->next == w->n_inputs) request_end(r, NULL);
    }
}

static void failed(const struct sched_model *m, const struct input *inputs, int32_t n,
                   const struct error *error)
{
    log_error(sched, "embedding a batch of %d tokens with %s failed: %s", m->n_batched, m->id,
              error->msg);
    for (int32_t i = 0; i < n; i++) request_end(inputs[i].req, error);
}

bool step_embed(struct sched_model *m)
{
    embed_admit(m);
    if (list_empty(&m->active)) return false;
    struct input inputs[EMBED_SEQ_MAX];
    int32_t n = build(m, inputs), n_ids = 0;
    uint64_t ids[EMBED_SEQ_MAX];
    for (int32_t i = 0; i < n; i++)
        if (!i || inputs[i].req != inputs[i - 1].req) ids[n_ids++] = inputs[i].req->by_id.id;
    struct error error;
    enum err e = loop_decode(m, ids, n_ids, &error);
    if (e == OK) {
        metric_add(METRIC_batches_total, 1);
        metric_add(METRIC_batch_tokens_total, m->n_batched);
        keep_vectors(m, inputs, n);
    } else if (e != ERR_BUSY && e != ERR_CANCELLED) {
        failed(m, inputs, n, &error);
    }
    if (e != ERR_BUSY)
        for (int32_t i = 0; i < n; i++) engine_seq_remove(m->ctx, i, -1, -1);
    return true;
}
