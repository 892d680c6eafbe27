/* What a sequence's memory holds, copied, saved and restored.
 *
 * Where each sequence has cells of its own, libllama copies a sequence by copying the whole stream
 * of cells, used or not, and only when the next batch is decoded, which a restore in between would
 * overtake. So a copy is a save and a restore: its cost grows with the cells in use (12 KB a token
 * for a model of 0.5B), and it is done when the call returns. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine/llama_int.h"

enum { STATE_VERSION = 1 /* of the fingerprint */ };

/* To move the positions of keys in blocks, the library turns them back with a matrix that it has
 * only where all heads are alike and a multiple of 64; elsewhere the move would end the process. */
static bool can_turn_keys(const struct llama_model *m)
{
    int64_t head = 0, any;
    int32_t n_head = llama_model_n_head(m);
    if (!le_model_number(m, "attention.key_length", INT32_MAX, &head) && n_head > 0)
        head = llama_model_n_embd(m) / n_head;
    return head > 0 && head % 64 == 0 && llama_model_n_swa(m) == 0 &&
           !le_model_number(m, "attention.key_length_mla", INT64_MAX, &any) &&
           !getenv("LLAMA_ATTN_ROT_DISABLE");
}

void le_state_init(struct le_ctx *c, const struct le_model *m)
{
    const struct llama_model *model = m->model;
    /* A saved state leaves out what a sliding window has passed, and a recurrent memory has no
     * parts. */
    c->head.divisible = !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model) &&
                        llama_model_n_swa(model) == 0;
    c->shifts = c->memory && llama_memory_can_shift(c->memory) &&
                (c->head.kv_type == ENGINE_KV_F16 || can_turn_keys(model));
    if (!m->head.fingerprint) return;
    int64_t type = le_kv_type(c->head.kv_type); /* of keys, and of values */
    int64_t shape[] = {STATE_VERSION, (int64_t)m->head.fingerprint, type, type,
                       c->head.shared_kv ? 1 : c->head.n_seq_max};
    const char *library = c->head.ops->library;
    uint64_t h = hash64(library, strlen(library), hash64(shape, sizeof shape, 0));
    c->head.fingerprint = h ? h : 1;
}

size_t le_seq_size(struct engine_ctx *head, int32_t seq)
{
    struct le_ctx *c = (struct le_ctx *)head;
    return c->memory ? llama_state_seq_get_size(c->ctx, seq) : 0;
}

size_t le_seq_save(struct engine_ctx *head, int32_t seq, void *state, size_t size)
{
    struct le_ctx *c = (struct le_ctx *)head;
    return c->memory ? llama_state_seq_get_data(c->ctx, state, size, seq) : 0;
}

enum err le_seq_restore(struct engine_ctx *head, int32_t seq, const void *state, size_t size,
                        struct error *error)
{
    struct le_ctx *c = (struct le_ctx *)head;
    if (!c->memory) return err_set(error, ERR_UNSUPPORTED, "this model keeps no state");
    llama_memory_seq_rm(c->memory, seq, -1, -1);
    le_log_forget();
    if (llama_state_seq_set_data(c->ctx, state, size, seq) == size) return OK;
    llama_memory_seq_rm(c->memory, seq, -1, -1);
    return err_set(error, ERR_NOMEM, "a saved state can't be restored%s%s",
                   *le_log_reason() ? ": " : "", le_log_reason());
}

static bool copy_state(struct le_ctx *c, int32_t from, int32_t to)
{
    struct error error;
    size_t size = le_seq_size(&c->head, from);
    void *state = try_malloc(size);
    bool ok = state && le_seq_save(&c->head, from, state, size) == size &&
              le_seq_restore(&c->head, to, state, size, &error) == OK;
    free(state);
    return ok;
}

bool le_seq_copy(struct engine_ctx *head, int32_t from, int32_t to, int32_t p0, int32_t p1)
{
    struct le_ctx *c = (struct le_ctx *)head;
    if (!c->memory) return true;
    if (c->head.shared_kv) {
        llama_memory_seq_cp(c->memory, from, to, p0, p1);
        return true;
    }
    ht_assert(p0 <= 0);
    if (!copy_state(c, from, to)) return false;
    if (p1 < 0 || llama_memory_seq_rm(c->memory, to, p1, -1)) return true;
    llama_memory_seq_rm(c->memory, to, -1, -1);
    return false;
}

bool le_seq_shift(struct engine_ctx *head, int32_t seq, int32_t p0, int32_t p1, int32_t delta)
{
    struct le_ctx *c = (struct le_ctx *)head;
    if (!c->shifts) return false;
    if (p0 != p1 && delta) llama_memory_seq_add(c->memory, seq, p0, p1, delta);
    return true;
}
