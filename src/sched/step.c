/* One batch of a generating model: admit what fits, build the batch, decode it, deliver its
 * outputs; and what happens when it could not be decoded. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_int.h"

/* Some of the batch may be in the cells: back to what was there before. Nothing is lost, a choice
 * keeps its tokens and decodes them again. */
static void roll_back(struct sched_model *m)
{
    for (int32_t i = 0; i < m->n_parts; i++) {
        struct slot *slot = m->parts[i].choice->slot;
        slot_truncate(m, slot, slot->n_kv);
    }
}

static void failed(struct sched_model *m, const struct error *error)
{
    log_error(sched, "decoding a batch of %d tokens with %s failed: %s", m->n_batched, m->id,
              error->msg);
    for (int32_t i = 0; i < m->n_parts; i++) slot_truncate(m, m->parts[i].choice->slot, 0);
    for (int32_t i = 0; i < m->n_parts; i++) request_end(m->parts[i].choice->req, error);
}

/* Choices that wait for a file of the prefix cache leave nothing to do; its coming is heard. */
static bool runs(const struct sched_model *m)
{
    for (int32_t i = 0; i < m->n_slots; i++)
        if (m->slots[i].owner && m->slots[i].owner->state == CHOICE_RUNNING) return true;
    return false;
}

bool step_generate(struct sched_model *m)
{
    int64_t began_ns = clock_mono_ns();
    step_admit(m);
    slots_follow(m);
    if (!runs(m) || !batch_build(m)) return false;
    if (!m->n_batched) return true;
    uint64_t ids[SLOTS_MAX];
    int32_t n_ids = batch_requests(m, ids);
    struct error error;
    switch (loop_decode(m, ids, n_ids, &error)) {
    case OK:
        deliver_batch(m);
        batch_done(m, (double)(clock_mono_ns() - began_ns) / 1e6);
        break;
    case ERR_BUSY: break;
    case ERR_CANCELLED: roll_back(m); break;
    case ERR_NOMEM: slots_overfull(m, m->n_batched); break;
    default: failed(m, &error);
    }
    return true;
}
