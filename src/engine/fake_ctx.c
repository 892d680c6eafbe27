/* The fake engine's KV cells and sampling.
 *
 * Invariants, all asserted:
 *  1. The tokens of a sequence in one cell array are at positions 0..len-1, without gaps.
 *  2. A cell is used by as many sequences as its `users` says; used <= n_ctx cells are used at all.
 *  3. An output may be sampled only while its sequence still holds what was decoded.
 *  4. All tokens of a sequence were decoded with the same adapter and scale; no adapter is mixed
 * with others before it had a decode of its own.
 *  5. A sampler sees exactly its prompt and then the tokens that it chose itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/fake_int.h"

struct cell {
    int32_t token, users;
    uint32_t adapter; /* which one it was decoded with, and at what scale */
};

struct seq {
    int32_t *cells; /* by position; room for n_ctx */
    int32_t len;
    int32_t hole_at,
        hole;   /* this many positions were removed there: shift before more is decoded */
    bool dirty; /* an aborted decode left tokens behind: must be removed before more is decoded */
};

struct output {
    int32_t seq, len; /* len of the sequence up to this token; 0 = no output here */
    char from, to;    /* what the adapter changes */
};

struct fake_ctx {
    struct engine_ctx head;
    const struct fake_model *model;
    struct cell *cells;
    int32_t *free_cells, n_free, n_ubatch;
    int32_t seq_cells; /* most of them that one sequence may use */
    bool shifted;      /* ever: then sequences may lack tokens in the middle */
    struct seq *seqs;
    struct output *outputs; /* of the last decode, by index in its batch */
    int32_t n_outputs;
    float *embedding;
    long decodes;
};

struct fake_sampler {
    struct engine_sampler head;
    const struct fake_model *model;
    int32_t *tokens; /* the prompt, then what was chosen */
    size_t n_tokens, cap, n_prompt;
    char *reply;
    size_t reply_len;
    struct logit_bias *bias;
    size_t n_bias, n_top;
    bool ignore_eos, logprobs;
};

/* ---- contexts ----------------------------------------------------------------------------- */

enum err fake_ctx_new(struct engine_model *head, const struct engine_ctx_params *params,
                      struct engine_ctx **out, struct error *error)
{
    const struct fake_model *m = (const struct fake_model *)head;
    int32_t n_ctx = params->n_ctx ? params->n_ctx : m->ctx;
    if (m->fail_ctx) return err_set(error, ERR_NOMEM, "no memory for %d KV cells", n_ctx);
    struct fake_ctx *c = xcalloc(1, sizeof *c);
    c->head = (struct engine_ctx){.ops = head->ops,
                                  .n_ctx = n_ctx,
                                  .n_batch = params->n_batch,
                                  .n_seq_max = params->n_seq_max,
                                  .embeddings = params->embeddings};
    c->model = m;
    c->head.divisible = !m->no_partial_remove;
    c->head.mixes = !params->embeddings && m->no_mix != 1;
    c->head.kv_type = m->only_f16 ? ENGINE_KV_F16 : params->kv_type;
    c->head.fingerprint = head->fingerprint + (uint64_t)c->head.kv_type;
    c->n_ubatch = params->n_ubatch;
    c->head.pieces = params->embeddings && !head->facts.is_embedding && !head->facts.is_rerank;
    c->head.shared_kv = params->shared_kv || params->embeddings;
    c->seq_cells = c->head.shared_kv ? n_ctx : n_ctx / params->n_seq_max;
    c->cells = xcalloc((size_t)n_ctx, sizeof *c->cells);
    c->free_cells = xcalloc((size_t)n_ctx, sizeof *c->free_cells);
    c->n_free = n_ctx;
    for (int32_t i = 0; i < n_ctx; i++) c->free_cells[i] = i;
    c->seqs = xcalloc((size_t)params->n_seq_max, sizeof *c->seqs);
    for (int32_t i = 0; i < params->n_seq_max; i++)
        c->seqs[i].cells = xcalloc((size_t)n_ctx, sizeof *c->seqs[i].cells);
    c->outputs = xcalloc((size_t)params->n_batch, sizeof *c->outputs);
    c->embedding = xcalloc((size_t)head->facts.n_embd_out, sizeof *c->embedding);
    *out = &c->head;
    return OK;
}

void fake_ctx_free(struct engine_ctx *head)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    for (int32_t i = 0; i < head->n_seq_max; i++) free(c->seqs[i].cells);
    free(c->seqs);
    free(c->cells);
    free(c->free_cells);
    free(c->outputs);
    free(c->embedding);
    free(c);
}

void fake_ctx_memory(const struct engine_ctx *head, struct engine_memory *out)
{
    const struct fake_model *m = ((const struct fake_ctx *)head)->model;
    uint64_t cell = (uint64_t)m->cell; /* q8_0: 34 bytes for 32 numbers, instead of 64 */
    if (head->kv_type == ENGINE_KV_Q8_0) cell = cell * 34 / 64;
    out->host = (struct engine_memory_use){.weights = (uint64_t)m->weights,
                                           .kv = cell * (uint64_t)head->n_ctx,
                                           .compute = (uint64_t)m->compute};
}

bool fake_seq_remove(struct engine_ctx *head, int32_t id, int32_t p0, int32_t p1)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    struct seq *s = &c->seqs[id];
    if (p0 < 0) p0 = 0;
    if (p1 < 0 || p1 > s->len) p1 = s->len;
    if (p0 >= p1) {
        if (p0 == 0) s->dirty = false;
        return true;
    }
    if (p0 > 0 && c->model->no_partial_remove) return false;
    ht_assert(!s->hole || p0 == 0);
    for (int32_t i = p0; i < p1; i++) {
        struct cell *cell = &c->cells[s->cells[i]];
        ht_assert(cell->users > 0);
        if (--cell->users == 0) c->free_cells[c->n_free++] = s->cells[i];
    }
    memmove(s->cells + p0, s->cells + p1, (size_t)(s->len - p1) * sizeof *s->cells);
    s->hole_at = p0;
    s->hole = p1 < s->len ? p1 - p0 : 0;
    s->len -= p1 - p0;
    s->dirty = false;
    return true;
}

bool fake_seq_shift(struct engine_ctx *head, int32_t id, int32_t p0, int32_t p1, int32_t delta)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    struct seq *s = &c->seqs[id];
    if (c->model->no_shift || c->model->no_partial_remove) return false;
    if (p0 == p1) return true;
    ht_assert(s->hole > 0 && p0 == s->hole_at + s->hole && p1 < 0 && delta == -s->hole);
    s->hole = 0;
    c->shifted = true;
    return true;
}

bool fake_seq_copy(struct engine_ctx *head, int32_t from, int32_t to, int32_t p0, int32_t p1)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    struct seq *src = &c->seqs[from], *dst = &c->seqs[to];
    if (p0 < 0) p0 = 0;
    if (p1 < 0 || p1 > src->len) p1 = src->len;
    ht_assert(dst->len == p0 && !src->dirty && !dst->dirty &&
              !src->hole); /* else positions would be doubled */
    for (int32_t i = p0; i < p1; i++) {
        c->cells[src->cells[i]].users++;
        dst->cells[i] = src->cells[i];
    }
    dst->len = p1 > p0 ? p1 : p0;
    return true;
}

/* ---- states ------------------------------------------------------------------------------- */

/* A saved sequence: its length, and of each token id and adapter. */
size_t fake_seq_size(struct engine_ctx *head, int32_t id)
{
    const struct fake_ctx *c = (struct fake_ctx *)head;
    return (1 + 2 * (size_t)c->seqs[id].len) * sizeof(int32_t);
}

size_t fake_seq_save(struct engine_ctx *head, int32_t id, void *state, size_t size)
{
    const struct fake_ctx *c = (struct fake_ctx *)head;
    const struct seq *s = &c->seqs[id];
    size_t need = fake_seq_size(head, id);
    ht_assert(!s->dirty);
    if (size < need) return 0;
    int32_t *out = state;
    *out++ = s->len;
    for (int32_t i = 0; i < s->len; i++) {
        *out++ = c->cells[s->cells[i]].token;
        *out++ = (int32_t)c->cells[s->cells[i]].adapter;
    }
    return need;
}

enum err fake_seq_restore(struct engine_ctx *head, int32_t id, const void *state, size_t size,
                          struct error *error)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    struct seq *s = &c->seqs[id];
    const int32_t *in = state;
    fake_seq_remove(head, id, -1, -1);
    if (size < sizeof *in || *in < 0 || size != (1 + 2 * (size_t)*in) * sizeof *in)
        return err_set(error, ERR_INVALID, "this is no saved state of a fake sequence");
    int32_t len = *in++;
    if (len > c->n_free || len > c->seq_cells)
        return err_set(error, ERR_NOMEM, "no room in the KV cache for %d tokens", len);
    for (int32_t i = 0; i < len; i++, in += 2) {
        s->cells[i] = c->free_cells[--c->n_free];
        c->cells[s->cells[i]] = (struct cell){in[0], 1, (uint32_t)in[1]};
    }
    s->len = len;
    return OK;
}

/* ---- decoding ----------------------------------------------------------------------------- */

/* Sleeps in slices, so that an abort is seen soon; false when aborted. */
static bool work(struct fake_ctx *c, int64_t us)
{
    int64_t end = clock_mono_ns() + us * 1000;
    for (;;) {
        if (atomic_load_explicit(&c->head.abort, memory_order_acquire)) return false;
        int64_t left = end - clock_mono_ns();
        if (left <= 0) return true;
        struct timespec t = {0, left < 1000000 ? left : 1000000};
        nanosleep(&t, NULL);
    }
}

/* As cells remember them; 0 = none. */
static uint32_t adapter_id(const struct engine_batch_token *t)
{
    const struct fake_adapter *a = (const struct fake_adapter *)t->adapter;
    uint32_t bits;
    memcpy(&bits, &t->scale, sizeof bits);
    return a && t->scale != 0 ? a->id ^ bits : 0;
}

static void store(struct fake_ctx *c, const struct engine_batch_token *t)
{
    struct seq *s = &c->seqs[t->seq];
    ht_assert(t->pos == s->len && !s->dirty && !s->hole);
    ht_assert(c->n_free > 0 && s->len < c->seq_cells);
    ht_assert(s->len == 0 || c->cells[s->cells[s->len - 1]].adapter == adapter_id(t));
    int32_t cell = c->free_cells[--c->n_free];
    c->cells[cell] = (struct cell){t->token, 1, adapter_id(t)};
    s->cells[s->len++] = cell;
}

static void check_batch(const struct fake_ctx *c, const struct engine_batch_token *tokens,
                        int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        ht_assert(tokens[i].seq >= 0 && tokens[i].seq < c->head.n_seq_max);
        ht_assert(tokens[i].token >= 0 && tokens[i].token < c->model->head.facts.n_vocab);
        /* libllama computes together only sequences that follow each other */
        ht_assert(c->head.shared_kv || i == 0 || tokens[i].seq >= tokens[i - 1].seq);
    }
}

/* Marks what an aborted decode left, so that forgetting to remove it is noticed. */
static enum err aborted(struct fake_ctx *c, const struct engine_batch_token *tokens, int32_t done,
                        struct error *error)
{
    c->n_outputs = 0;
    for (int32_t i = 0; i < done; i++) c->seqs[tokens[i].seq].dirty = true;
    return err_set(error, ERR_CANCELLED, "decoding was stopped");
}

static int32_t n_seqs(const struct engine_batch_token *tokens, int32_t n)
{
    int32_t seqs = 1;
    for (int32_t i = 1; i < n; i++) seqs += tokens[i].seq != tokens[i - 1].seq;
    return seqs;
}

enum err fake_decode(struct engine_ctx *head, const struct engine_batch_token *tokens, int32_t n,
                     struct error *error)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    const struct fake_model *m = c->model;
    check_batch(c, tokens, n);
    c->n_outputs = 0;
    if (head->embeddings && !head->pieces)
        for (int32_t i = 0; i < head->n_seq_max; i++) fake_seq_remove(head, i, -1, -1);
    if (++c->decodes == m->fail_decode)
        return err_set(error, ERR_ENGINE, "the fake model fails at decode %d", m->fail_decode);
    if (n > c->n_free)
        return err_set(error, ERR_NOMEM, "no room in the KV cache for %d tokens, %d are free", n,
                       c->n_free);
    if (!adapter_rows_alike(tokens, n) && m->no_mix == 2) {
        head->mixes = false;
        return aborted(c, tokens, 0, error);
    }
    int64_t more_us = n_seqs(tokens, n) == 2 ? m->pair_us : 0;
    more_us += head->kv_type == ENGINE_KV_Q8_0 ? m->q8_us : m->f16_us;
    if (!work(c, m->ms * 1000 + more_us)) return aborted(c, tokens, 0, error);
    for (int32_t i = 0; i < n; i++) {
        if (i % c->n_ubatch == 0) {
            int32_t now = n - i < c->n_ubatch ? n - i : c->n_ubatch;
            if (!work(c, (int64_t)m->token_us * now)) return aborted(c, tokens, i, error);
        }
        store(c, &tokens[i]);
        struct output *o = &c->outputs[i];
        *o = (struct output){0};
        const struct fake_adapter *a = (const struct fake_adapter *)tokens[i].adapter;
        if (tokens[i].scale == 0) a = NULL;
        if (tokens[i].output)
            *o = (struct output){tokens[i].seq, c->seqs[tokens[i].seq].len, a ? a->from : '\0',
                                 a ? a->to : '\0'};
    }
    c->n_outputs = n;
    for (int32_t i = 0; i < head->set.n; i++) head->set.adapters[i]->known = true;
    return OK;
}

void fake_ctx_adapters(struct engine_ctx *head)
{
    const struct adapter_set *s = &head->set;
    int32_t unknown = 0;
    for (int32_t i = 0; i < s->n; i++) unknown += !s->adapters[i]->known;
    ht_assert(unknown <= 1 && (head->mixes || s->n <= 1));
}

/* ---- embeddings --------------------------------------------------------------------------- */

static uint32_t hash(uint32_t a, uint32_t b)
{
    uint32_t h = a * 2654435761u ^ (b + 1) * 40503u;
    h ^= h >> 15;
    h *= 2246822519u;
    return h ^ h >> 13;
}

/* The share of the query's different bytes that the document has. */
static float score(const struct fake_ctx *c, const struct seq *s)
{
    bool query[FAKE_N_VOCAB] = {false}, document[FAKE_N_VOCAB] = {false}, *side = query;
    for (int32_t i = 0; i < s->len; i++) {
        int32_t token = c->cells[s->cells[i]].token;
        if (token == FAKE_END)
            side = document;
        else
            side[token] = true;
    }
    int n = 0, both = 0;
    for (int i = 0; i < FAKE_N_VOCAB; i++) {
        n += query[i];
        both += query[i] && document[i];
    }
    return n ? (float)both / (float)n : 0;
}

const float *fake_seq_embedding(struct engine_ctx *head, int32_t id)
{
    struct fake_ctx *c = (struct fake_ctx *)head;
    const struct seq *s = &c->seqs[id];
    uint32_t n = (uint32_t)c->model->head.facts.n_embd_out;
    bool wanted = false;
    for (int32_t i = 0; i < c->n_outputs; i++)
        wanted |= c->outputs[i].len && c->outputs[i].seq == id;
    if (!wanted || !s->len) return NULL;
    if (c->model->head.facts.is_rerank) {
        c->embedding[0] = score(c, s);
        return c->embedding;
    }
    memset(c->embedding, 0, n * sizeof *c->embedding);
    uint32_t before = FAKE_N_VOCAB;
    for (int32_t i = 0; i < s->len; i++) {
        uint32_t token = (uint32_t)c->cells[s->cells[i]].token;
        c->embedding[hash(token, FAKE_N_VOCAB) % n] += 1;
        c->embedding[hash(token, before) % n] += 1;
        before = token;
    }
    float sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += c->embedding[i] * c->embedding[i];
    for (uint32_t i = 0; i < n; i++) c->embedding[i] /= sqrtf(sum);
    return c->embedding;
}

/* ---- sampling ----------------------------------------------------------------------------- */

enum err fake_sampler_new(const struct engine_model *m, const struct sampling *s,
                          const struct engine_prompt *head, struct engine_sampler **out,
                          struct error *error)
{
    (void)error;
    const struct fake_prompt *p = (const struct fake_prompt *)head;
    struct fake_sampler *sm = xcalloc(1, sizeof *sm);
    sm->head.ops = m->ops;
    sm->model = (const struct fake_model *)m;
    sm->n_prompt = sm->n_tokens = sm->cap = head->n_tokens;
    sm->tokens = xcalloc(sm->cap, sizeof *sm->tokens);
    memcpy(sm->tokens, head->tokens, sm->cap * sizeof *sm->tokens);
    sm->reply = xstrdup(p->reply);
    sm->reply_len = p->reply_len;
    sm->ignore_eos = s->ignore_eos;
    sm->logprobs = s->logprobs;
    sm->n_top = (size_t)s->top_logprobs;
    sm->n_bias = s->n_logit_bias;
    sm->bias = xcalloc(s->n_logit_bias + 1, sizeof *sm->bias);
    if (s->n_logit_bias) memcpy(sm->bias, s->logit_bias, s->n_logit_bias * sizeof *sm->bias);
    *out = &sm->head;
    return OK;
}

void fake_sampler_free(struct engine_sampler *head)
{
    struct fake_sampler *sm = (struct fake_sampler *)head;
    free(sm->tokens);
    free(sm->reply);
    free(sm->bias);
    free(sm);
}

void fake_sampler_accept_prompt(struct engine_sampler *s, int32_t token)
{
    (void)s;
    ht_assert(token >= 0 && token < FAKE_N_VOCAB_FIM);
}

static bool banned(const struct fake_sampler *sm, int32_t token)
{
    if (token == FAKE_END && sm->ignore_eos) return true;
    for (size_t i = 0; i < sm->n_bias; i++)
        if (sm->bias[i].token == token && isinf(sm->bias[i].bias)) return true;
    return false;
}

static int32_t next_token(const struct fake_sampler *sm, const struct output *o)
{
    size_t said = sm->n_tokens - sm->n_prompt;
    if (sm->model->endless && sm->reply_len) said %= sm->reply_len;
    int32_t token = said < sm->reply_len ? (unsigned char)sm->reply[said] : FAKE_END;
    if (sm->model->endless && token == FAKE_END) token = '.';
    if (o->from && token == (unsigned char)o->from) token = (unsigned char)o->to;
    if (!banned(sm, token)) return token;
    return token == FAKE_END ? '.' : '?';
}

/* Invariants 3 and 5. */
static void check_output(const struct fake_ctx *c, const struct fake_sampler *sm, int32_t index)
{
    ht_assert(index < c->n_outputs && c->outputs[index].len > 0);
    const struct output *o = &c->outputs[index];
    const struct seq *s = &c->seqs[o->seq];
    ht_assert(s->len >= o->len && !s->dirty);
    int32_t missing = (int32_t)sm->n_tokens - o->len, i = 0;
    ht_assert(missing == 0 || (c->shifted && missing > 0));
    while (i < o->len && c->cells[s->cells[i]].token == sm->tokens[i]) i++;
    for (; i < o->len; i++)
        ht_assert(missing && c->cells[s->cells[i]].token == sm->tokens[i + missing]);
}

static void remember(struct fake_sampler *sm, int32_t token)
{
    if (sm->n_tokens == sm->cap) {
        sm->cap = 2 * sm->cap + 16;
        int32_t *tokens = try_realloc(sm->tokens, sm->cap, sizeof *tokens);
        ht_assert(tokens);
        sm->tokens = tokens;
    }
    sm->tokens[sm->n_tokens++] = token;
}

enum err fake_sampler_replay(struct engine_sampler *s, int32_t token, bool *special,
                             struct error *error)
{
    if (token < 0 || token >= FAKE_N_VOCAB)
        return err_set(error, ERR_ENGINE, "there is no token %d", token);
    remember((struct fake_sampler *)s, token);
    *special = false;
    return OK;
}

enum err fake_sample(struct engine_ctx *head, struct engine_sampler *sampler, int32_t index,
                     struct engine_sample *out, struct error *error)
{
    (void)error;
    struct fake_sampler *sm = (struct fake_sampler *)sampler;
    const struct fake_ctx *c = (const struct fake_ctx *)head;
    check_output(c, sm, index);
    int32_t token = next_token(sm, &c->outputs[index]);
    remember(sm, token);
    *out = (struct engine_sample){.token = token, .is_end = token == FAKE_END};
    if (!sm->logprobs) return OK;
    out->logprob = logf(0.9f);
    out->n_top = sm->n_top;
    for (size_t i = 0; i < sm->n_top; i++) { /* the chosen one first, then its neighbours */
        out->top[i].token = (token + (int32_t)i) % FAKE_N_VOCAB;
        out->top[i].logprob = i ? logf(0.1f / (float)sm->n_top) : out->logprob;
    }
    return OK;
}
