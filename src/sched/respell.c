/* Prompts whose text was generated here with other tokens.
 *
 * A model may generate "ab" as two tokens where the tokeniser would take one. In the next turn of
 * the chat that answer is a part of the prompt, and from the first such place on nothing of the
 * kept sequence could be used. So where prompt and kept sequence part, their bytes are compared: if
 * both spell the same bytes and come to the end of a token at the same place, the kept tokens are
 * taken into the prompt, as often as this happens. They are what the model has said, and the text
 * is the same to the byte.
 *
 * Tokens without text of their own (control tokens: turns, ends, tools) are never exchanged: they
 * must be equal by id, and so must everything in a prompt that was given as tokens. The number of
 * prompt tokens may change by a few; usage counts those that were really used. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sched/sched_int.h"

enum {
    GAIN_LEAST = 8,   /* kept tokens that make it worth a new prompt */
    SPAN_MOST = 256,  /* bytes within which both must meet again */
    REPEAT_MOST = 64, /* places where they part */
};

/* One of the two token sequences, read as bytes. */
struct reader {
    const int32_t *tokens;
    int32_t at, n;
    struct buf bytes; /* of the span */
    char mem[2 * SPAN_MOST];
};

static void reader_init(struct reader *r, const int32_t *tokens, int32_t at, int32_t n)
{
    r->tokens = tokens;
    r->at = at;
    r->n = n;
    buf_init_fixed(&r->bytes, r->mem, sizeof r->mem);
}

/* Adds the next token's bytes; false: there is none with text, or the span is too long. */
static bool take(struct reader *r, const struct engine_model *m)
{
    size_t before = r->bytes.len;
    if (r->at == r->n || before > SPAN_MOST) return false;
    engine_token_text(m, r->tokens[r->at++], false, &r->bytes);
    return !r->bytes.err && r->bytes.len > before;
}

/* From where the two part to where both stand after the same bytes. */
static bool meet(struct reader *p, struct reader *q, const struct engine_model *m)
{
    buf_clear(&p->bytes);
    buf_clear(&q->bytes);
    do {
        if (!take(p->bytes.len <= q->bytes.len ? p : q, m)) return false;
        size_t n = p->bytes.len < q->bytes.len ? p->bytes.len : q->bytes.len;
        if (memcmp(buf_str(&p->bytes), buf_str(&q->bytes), n) != 0) return false;
    } while (p->bytes.len != q->bytes.len);
    return true;
}

/* How far they go together: *n_p tokens of the prompt are *n_q of the kept ones. */
static void align(const struct engine_model *m, const struct prefix *prompt,
                  const struct prefix *kept, int32_t from, int32_t *n_p, int32_t *n_q)
{
    struct reader p, q;
    reader_init(&p, prompt->tokens, from, prompt->n_tokens);
    reader_init(&q, kept->tokens, from, kept->n_tokens);
    for (int i = 0;; i++) {
        while (p.at < p.n && q.at < q.n && p.tokens[p.at] == q.tokens[q.at]) {
            p.at++;
            q.at++;
        }
        *n_p = p.at;
        *n_q = q.at;
        if (p.at == p.n || q.at == q.n || i == REPEAT_MOST || !meet(&p, &q, m)) return;
    }
}

/* The kept sequence of the tenant that has most in common. */
static struct prefix best_kept(struct sched_model *m, const struct prefix *want, int32_t *n)
{
    struct prefix best = {0};
    struct cache_entry *e = cache_find(m->s->cache, want, false, n);
    if (e && strcmp(cache_prefix(e)->tenant, want->tenant) == 0)
        best = *cache_prefix(e);
    else
        *n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct slot *slot = &m->slots[i];
        if (!slot->tenant || strcmp(slot->tenant, want->tenant) != 0) continue;
        struct prefix p = slot_prefix(m, slot);
        int32_t common = prefix_common(want, &p);
        if (common < *n || (common == *n && p.n_tokens <= best.n_tokens)) continue;
        best = p;
        *n = common;
    }
    return best;
}

void request_respell(struct sched_model *m, struct request *r)
{
    r->n_declared = declared_length(m, r->prompt_tokens, r->n_prompt);
    if (r->deterministic || r->resumed || !*engine_prompt_text(r->prompt)) return;
    struct prefix want = {.model = m->fingerprint,
                          .adapter = r->adapter_key,
                          .n_declared = r->n_declared,
                          .tenant = r->tenant,
                          .tokens = r->prompt_tokens,
                          .n_tokens = r->n_prompt - 1};
    int32_t n, n_p, n_q;
    struct prefix kept = best_kept(m, &want, &n);
    if (n < GAIN_LEAST || n == want.n_tokens || n == kept.n_tokens) return;
    align(m->engine_model, &want, &kept, n, &n_p, &n_q);
    int32_t total = n_q + r->n_prompt - n_p;
    if (n_q < n + GAIN_LEAST || total >= m->n_seq_ctx) return;
    int32_t *tokens = try_calloc((size_t)total, sizeof *tokens);
    if (!tokens) return;
    memcpy(tokens, kept.tokens, (size_t)n_q * sizeof *tokens);
    memcpy(tokens + n_q, r->prompt_tokens + n_p, (size_t)(r->n_prompt - n_p) * sizeof *tokens);
    request_set_prompt(r, tokens, total);
}
