/* Sequences that are decoded together side by side.
 *
 * libllama computes sequences with KV cells of their own together only if their ids follow each
 * other. Requests come and go in any order, so those that generate soon have idle ones in between,
 * and every gap costs a step: fourteen sequences and one apart take 97 + 30 ms where fifteen take
 * 98 (a 0.5B model on two cores). So before a round the sequence whose move saves most time changes
 * places with an idle one: its cells are copied, what lay in the other's cells comes into its own,
 * and nobody's prefix is lost. Copying takes about as long as reading the bytes twice, a
 * millisecond for some hundred tokens of a small model; it must pay within PAYS_WITHIN tokens. */
#include <string.h>

#include "base/log.h"
#include "sched/cache_disk.h"
#include "sched/sched_int.h"

enum { PAYS_WITHIN = 16 /* tokens, of those that the sequence may still generate */ };

#define GAIN_LEAST   0.5 /* ms in a round */
#define BYTES_PER_MS 1e6 /* that are saved and restored; less than any machine does */

/* ---- what a round takes ------------------------------------------------------------------- */

struct costs {
    double ms[SLOTS_MAX + 1]; /* of so many together; the cheapest cut */
};

struct arrangement {
    const int32_t *group; /* of each slot; 0 = nothing to decode */
    struct costs costs[2];
    int32_t n;
};

static const struct costs *costs_of(const struct sched_model *m, const struct arrangement *a,
                                    int32_t slot)
{
    return &a->costs[m->slots[slot].owner->req->adapter != NULL];
}

/* All runs, as if what is in slot `from` were in slot `to`. */
static double round_takes(const struct sched_model *m, const struct arrangement *a, int32_t from,
                          int32_t to)
{
    double sum = 0;
    int32_t length = 0, group = 0, first = 0;
    for (int32_t i = 0; i <= a->n; i++) {
        int32_t in = i == to ? from : i; /* whose group counts here */
        int32_t g = i == a->n || (i == from && to >= 0) ? 0 : a->group[in];
        if (g != group && length) {
            sum += costs_of(m, a, first)->ms[length];
            length = 0;
        }
        if (g) {
            if (!length) first = in;
            length++;
        }
        group = g;
    }
    return sum;
}

struct move {
    int32_t from, to;
    double gain_ms;
};

static bool is_neighbour(const struct arrangement *a, int32_t slot, int32_t from)
{
    int32_t group = a->group[from];
    return (slot > 0 && slot - 1 != from && a->group[slot - 1] == group) ||
           (slot + 1 < a->n && slot + 1 != from && a->group[slot + 1] == group);
}

static struct move best_move(const struct sched_model *m, const struct arrangement *a)
{
    struct move best = {-1, -1, GAIN_LEAST};
    double now_ms = round_takes(m, a, -1, -1);
    for (int32_t to = 0; to < a->n; to++) {
        if (a->group[to] || !slot_is_idle(&m->slots[to], NULL)) continue;
        for (int32_t from = 0; from < a->n; from++) {
            if (!a->group[from] || !is_neighbour(a, to, from)) continue;
            double gain = now_ms - round_takes(m, a, from, to);
            if (gain > best.gain_ms) best = (struct move){from, to, gain};
        }
    }
    return best;
}

static bool has_gaps(const struct arrangement *a)
{
    uint64_t seen = 0; /* groups that had a run already */
    for (int32_t i = 0; i < a->n; i++) {
        if (!a->group[i] || (i > 0 && a->group[i - 1] == a->group[i])) continue;
        uint64_t bit = UINT64_C(1) << (a->group[i] - 1);
        if (seen & bit) return true;
        seen |= bit;
    }
    return false;
}

/* ---- the move ----------------------------------------------------------------------------- */

static bool pays(struct sched_model *m, const struct move *move)
{
    const struct choice *c = m->slots[move->from].owner;
    int32_t left = c->req->n_longest - c->n_tokens;
    if (left > PAYS_WITHIN) left = PAYS_WITHIN;
    double bytes = (double)engine_seq_size(m->ctx, m->slots[move->from].seq);
    if (m->slots[move->to].n_kv) bytes += (double)engine_seq_size(m->ctx, m->slots[move->to].seq);
    return move->gain_ms * left > bytes / BYTES_PER_MS;
}

/* Both slots keep their places and ids and change all that they hold. */
static void change_places(struct slot *a, struct slot *b)
{
    struct slot both = *a;
    int32_t seq_a = a->seq, seq_b = b->seq;
    *a = *b;
    *b = both;
    a->seq = seq_a;
    b->seq = seq_b;
    if (a->owner) a->owner->slot = a;
    if (b->owner) b->owner->slot = b;
}

/* The idle slot's cells as bytes, NULL if they are to be forgotten: there is no memory for them. */
static struct blob *put_aside(struct sched_model *m, struct slot *idle)
{
    size_t size = idle->n_kv ? engine_seq_size(m->ctx, idle->seq) : 0;
    struct blob *state = size ? blob_new(size) : NULL;
    if (!state || engine_seq_save(m->ctx, idle->seq, state->bytes, size) == size) return state;
    blob_unref(state);
    return NULL;
}

static bool do_move(struct sched_model *m, struct slot *from, struct slot *to)
{
    struct error error;
    struct blob *aside = put_aside(m, to);
    if (!aside && to->n_kv) slot_forget(m, to);
    engine_seq_remove(m->ctx, to->seq, -1, -1);
    bool moved = engine_seq_copy(m->ctx, from->seq, to->seq, -1, -1);
    if (moved) {
        change_places(from, to); /* `from` is the idle one now, with the runner's cells */
        engine_seq_remove(m->ctx, from->seq, -1, -1);
        from->whole |= from->n_kv > 0 && !engine_ctx_divisible(m->ctx);
    }
    struct slot *idle = moved ? from : to;
    if (aside && engine_seq_restore(m->ctx, idle->seq, aside->bytes, aside->size, &error))
        slot_forget(m, idle);
    blob_unref(aside);
    return moved;
}

void slots_compact(struct sched_model *m, const int32_t *group)
{
    struct arrangement a = {.group = group, .n = m->n_slots};
    if (m->shared_kv || !has_gaps(&a)) return;
    for (int i = 0; i < 2; i++)
        for (int32_t n = 1; n <= m->n_slots; n++)
            a.costs[i].ms[n] = shape_split_ms(&m->pace.shapes[i], n);
    struct move move = best_move(m, &a);
    if (move.from < 0 || !pays(m, &move)) return;
    if (do_move(m, &m->slots[move.from], &m->slots[move.to]))
        log_debug(sched, "sequence %d of %s is now %d: %.1f ms less in a round", move.from, m->id,
                  move.to, move.gain_ms);
}
