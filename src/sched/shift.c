/* Context shift: a sequence whose context is full forgets the older half of what comes after the
 * system prompt, and goes on generating.
 *
 * The cells that stay keep their keys and values, only their positions move; those were computed
 * when the forgotten tokens were still there, so the sequence is not what the same tokens from the
 * start would give. Hence such a sequence is never kept as a cached prefix (slot_release). If it is
 * sent back into the queue, or goes on elsewhere, the tokens that are left are computed anew, which
 * is as good.
 *
 * It ends with FINISH_LENGTH instead where the request did not ask for shifting, where the memory
 * can't move positions (recurrent models, some rotary embeddings), where its cells are shared with
 * other sequences (they would move, too), and where it must be deterministic. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_int.h"

enum {
    LEAST_DROPPED = 8, /* tokens; for fewer it is not worth it */
    /* Kept even without a system prompt: attention leans on the first tokens, and without them the
     * text falls apart (Xiao et al., Efficient Streaming Language Models with Attention Sinks). */
    LEAST_KEPT = 4,
};

static bool may_shift(const struct choice *c)
{
    const struct request *r = c->req;
    const struct slot *slot = c->slot;
    if (r->overflow != OVERFLOW_SHIFT || r->deterministic) return false;
    return !r->model->shared_kv || (!slot->n_shared && !slot->holder);
}

/* How many of the first n tokens go; those before them stay. */
static int32_t share(const struct request *r, int32_t n, int32_t *keep)
{
    *keep = r->n_keep > LEAST_KEPT ? r->n_keep : LEAST_KEPT;
    if (*keep > n / 2) *keep = n / 2;
    return (n - *keep) / 2;
}

static void forget(struct choice *c, int32_t keep, int32_t drop)
{
    memmove(c->tokens + keep, c->tokens + keep + drop,
            (size_t)(c->n_tokens - keep - drop) * sizeof *c->tokens);
    c->n_tokens -= drop;
    c->n_dropped += drop;
}

bool choice_shift_again(struct choice *c)
{
    int32_t keep, drop = share(c->req, c->n_tokens - 1, &keep);
    if (c->req->overflow != OVERFLOW_SHIFT || c->req->deterministic || drop < LEAST_DROPPED)
        return false;
    forget(c, keep, drop);
    return true;
}

bool choice_shift(struct choice *c)
{
    struct request *r = c->req;
    struct sched_model *m = r->model;
    struct slot *slot = c->slot;
    ht_assert(slot && slot->n_kv < c->n_tokens);
    int32_t keep, drop = share(r, slot->n_kv, &keep);
    if (!may_shift(c) || drop < LEAST_DROPPED || !engine_seq_shift(m->ctx, slot->seq, 0, 0, 0))
        return false; /* asked first, since removing can't be taken back */
    if (!engine_seq_remove(m->ctx, slot->seq, keep, keep + drop)) return false;
    bool moved = engine_seq_shift(m->ctx, slot->seq, keep + drop, -1, -drop);
    ht_assert(moved);
    forget(c, keep, drop);
    slot->n_kv -= drop;
    if (slot->n_shared > keep) slot->n_shared = keep;
    log_debug(sched,
              "request %llu: its context is full, %d tokens after the first %d are forgotten",
              (unsigned long long)r->by_id.id, drop, keep);
    return true;
}
