/* Which adapters a context has.
 *
 * Each row of a batch names its adapter. A context that mixes keeps a set of them: those of its
 * last decodes, so that a batch with any of them changes nothing. Changing the set makes the
 * library lay out its computation anew (about a tenth of a token's time), so it happens when an
 * adapter comes that is not in it, and when one in it was not used for FORGET decodes (each costs a
 * little, also unused). Of adapters that the implementation does not know yet (engine_int.h: known)
 * there is at most one in a set.
 *
 * A context that does not mix has the one adapter of its last decode, at the scale of it. */
#include "base/mem.h"
#include "engine/engine_int.h"

enum { FORGET = 256 /* decodes */ };

static struct engine_adapter *adapter_of(const struct engine_batch_token *t)
{
    return t->scale != 0 ? t->adapter : NULL;
}

static bool alike(const struct engine_batch_token *a, const struct engine_batch_token *b)
{
    return adapter_of(a) == adapter_of(b) && (!adapter_of(a) || a->scale == b->scale);
}

bool adapter_rows_alike(const struct engine_batch_token *tokens, int32_t n)
{
    for (int32_t i = 1; i < n; i++)
        if (!alike(&tokens[i], &tokens[i - 1])) return false;
    return true;
}

static int32_t find(const struct adapter_set *s, const struct engine_adapter *a)
{
    int32_t i = 0;
    while (i < s->n && s->adapters[i] != a) i++;
    return i < s->n ? i : -1;
}

static void drop(struct adapter_set *s, int32_t i)
{
    s->adapters[i]->n_contexts--;
    s->n--;
    s->adapters[i] = s->adapters[s->n];
    s->used[i] = s->used[s->n];
}

static void take(struct adapter_set *s, struct engine_adapter *a)
{
    int32_t oldest = 0;
    if (s->n == ENGINE_ADAPTERS_MAX) {
        for (int32_t i = 1; i < s->n; i++)
            if (s->used[i] < s->used[oldest]) oldest = i;
        drop(s, oldest);
    }
    a->n_contexts++;
    s->adapters[s->n] = a;
    s->used[s->n++] = s->decodes;
}

void adapter_set_clear(struct engine_ctx *c)
{
    struct adapter_set *s = &c->set;
    if (!s->n) return;
    while (s->n) drop(s, 0);
    c->ops->ctx_adapters(c);
}

static void set_one(struct engine_ctx *c, const struct engine_batch_token *t)
{
    struct adapter_set *s = &c->set;
    struct engine_adapter *a = adapter_of(t);
    float scale = a ? t->scale : 0;
    if (s->n == (a != NULL) && (!a || s->adapters[0] == a) && s->scale == scale) return;
    while (s->n) drop(s, 0);
    if (a) take(s, a);
    s->scale = scale;
    c->ops->ctx_adapters(c);
}

/* A row of a mixed batch has to be a sequence's only one and to have an output, and the sequences
 * follow each other: then the library computes all rows together, in their order. */
static bool may_mix(const struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (!engine_ctx_mixes(c, adapter_of(&tokens[i])) || !tokens[i].output) return false;
        int32_t step = i ? tokens[i].seq - tokens[i - 1].seq : 1;
        if (step < 1 || (step > 1 && !c->shared_kv)) return false;
    }
    return true;
}

/* Marks those of the batch as used; false: one is not there. */
static bool touch(struct adapter_set *s, const struct engine_batch_token *tokens, int32_t n)
{
    bool all = true;
    for (int32_t i = 0; i < n; i++) {
        struct engine_adapter *a = adapter_of(&tokens[i]);
        if (!a || (i && a == adapter_of(&tokens[i - 1]))) continue;
        int32_t at = find(s, a);
        if (at < 0)
            all = false;
        else
            s->used[at] = s->decodes;
    }
    return all;
}

static bool is_stale(const struct adapter_set *s, int32_t i)
{
    if (s->used[i] == s->decodes) return false;
    return !s->adapters[i]->known || s->used[i] + FORGET < s->decodes;
}

void adapter_set_prepare(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n)
{
    struct adapter_set *s = &c->set;
    bool change = false;
    for (int32_t i = 0; i < n; i++)
        ht_assert(!tokens[i].adapter || tokens[i].adapter->model == c->model);
    if (!c->mixes) {
        ht_assert(adapter_rows_alike(tokens, n));
        set_one(c, &tokens[0]);
        return;
    }
    ht_assert(adapter_rows_alike(tokens, n) || may_mix(c, tokens, n));
    s->decodes++;
    bool all = touch(s, tokens, n);
    for (int32_t i = s->n - 1; i >= 0; i--) {
        if (!is_stale(s, i)) continue;
        drop(s, i);
        change = true;
    }
    for (int32_t i = 0; i < n && !all; i++) {
        struct engine_adapter *a = adapter_of(&tokens[i]);
        if (!a || find(s, a) >= 0) continue;
        take(s, a);
        change = true;
    }
    if (change) c->ops->ctx_adapters(c);
}
