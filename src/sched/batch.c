/* What the next step of a generating model computes: one batch, which is either a token for some
 * sequences that generate, or a piece of one prompt. Not both: libllama would cut a mixed batch
 * into such steps anyway, and worse ones (4 sequences and 64 prompt tokens: 344 ms mixed, 315 ms
 * one after the other).
 *
 * Rounds. In a round each sequence that generates gets one token, in sub-batches; then prompts get
 * what is left of the time that may pass until the next token of those sequences (step_target_ms,
 * less SHARE_KEPT for what the estimates don't know). One prompt after the other, the most
 * important request's first, so that the first answers begin early instead of all late; a shorter
 * one may overtake, but not twice in a row, so that the longer one keeps half of the time at least.
 * However little time is left, a round has a piece of prompt, else nobody could join. Where nobody
 * generates, pieces are ALONE times as long: a prompt in small ones takes up to a tenth longer. And
 * while CROWD prompts or more wait, rounds are CROWDED times as long: the few that generate already
 * would slow down everybody else, and each token of theirs costs several times what it will cost
 * when all are together.
 *
 * Sub-batches. Sequences are together if their adapter and its scale are the same or can be mixed
 * (engine_ctx_mixes) and, with KV cells of their own, if their ids follow each other (libllama
 * computes others separately). Such a run is cut into the widths that take the least time
 * (shape.h). Adapters that can't be mixed take turns; the one that is set already goes first, so
 * that N of them cost N - 1 changes in a round, not N.
 *
 * Classes. While requests are running whose priority is better by URGENT_STEP or more, they have
 * rounds of their own, and the others' rounds, in which the urgent ones take part, get at most
 * BACKGROUND_SHARE of the time: the urgent ones go at nearly the pace that they would have alone,
 * the others never stop. A long piece of a
 * prompt is stopped and done again later when an urgent request arrives (sched.c:hurry).
 *
 * Deterministic sequences are computed alone, and their prompts in pieces of DETERMINISTIC_PIECE
 * from the first token on, whatever is cached and however much time there is; what they had
 * generated before a pause is decoded token by token again. So the library does the same arithmetic
 * each time. */
#include "base/mem.h"
#include "base/str.h"
#include "sched/sched_int.h"

enum {
    URGENT_STEP = 10,         /* better by this much in priority */
    DETERMINISTIC_PIECE = 32, /* prompt tokens */
    PIECE_LEAST = 8,          /* tokens; less is not worth a step */
    CROWD = 3,                /* prompts */
    PIECE_EVEN = 16, /* larger pieces are multiples of this: 12 tokens take as long as 16 */
};

#define ALONE                3.0  /* targets: a piece beside which nobody generates */
#define CROWDED              2.0  /* targets: a round while many prompts wait */
#define SHARE_KEPT           0.05 /* of the target */
#define ROUNDED_UP           1.10 /* times the time that is left, to make a piece even */
#define PREFILL_LEAST        0.25 /* of a round's decoding, even if the target is missed by it */
#define BACKGROUND_SHARE     0.45 /* of the time while urgent requests run, which take part in it */
#define BACKGROUND_CREDIT_MS 30   /* most that the others can save up */
#define BACKGROUND_PIECE_MS  60   /* longest piece of their prompts */
#define YIELD_MS             60   /* a longer piece is stopped when an urgent request arrives */

/* ---- who is there ------------------------------------------------------------------------- */

/* Prompt tokens that are not computed yet, for one that has its answer begun: none. */
static int32_t prompt_left(const struct choice *c)
{
    int32_t end = c->req->deterministic ? c->req->n_prompt : c->n_tokens;
    int32_t left = end - c->slot->n_kv;
    return left > 0 ? left : 0;
}

/* One token at a time? The last token of a prompt of which the rest is cached is such a step, too.
 */
static bool by_token(const struct choice *c)
{
    if (c->req->deterministic) return prompt_left(c) == 0;
    return c->n_tokens - c->slot->n_kv == 1;
}

static const struct choice *running(const struct slot *slot)
{
    const struct choice *c = slot->owner;
    return c && c->state == CHOICE_RUNNING ? c : NULL;
}

static int32_t best_priority(const struct sched_model *m)
{
    int32_t best = INT32_MAX;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = running(&m->slots[i]);
        if (c && c->req->priority < best) best = c->req->priority;
    }
    return best;
}

/* Sets pace.urgent_until; which class has the next step. */
static enum pace_class next_class(struct sched_model *m)
{
    struct pace *p = &m->pace;
    int32_t best = best_priority(m);
    bool others = false;
    p->urgent_until = best > INT32_MAX - URGENT_STEP ? INT32_MAX : best + URGENT_STEP;
    for (int32_t i = 0; i < m->n_slots && !others; i++) {
        const struct choice *c = running(&m->slots[i]);
        others = c && c->req->priority >= p->urgent_until;
    }
    p->contended = others;
    if (!others) p->credit_ms = 0;
    return others && p->credit_ms > 0 ? PACE_BACKGROUND : PACE_URGENT;
}

static bool in_class(const struct sched_model *m, const struct choice *c, enum pace_class class)
{
    return (c->req->priority >= m->pace.urgent_until) == (class == PACE_BACKGROUND);
}

/* ---- runs of sequences -------------------------------------------------------------------- */

static bool same_adapter(const struct request *a, const struct request *b)
{
    return a->adapter == b->adapter && (!a->adapter || a->adapter_scale == b->adapter_scale);
}

static bool mixes(const struct request *r)
{
    return engine_ctx_mixes(r->model->ctx, r->adapter ? r->adapter->engine_adapter : NULL);
}

static bool together(const struct choice *a, const struct choice *b)
{
    const struct request *ra = a->req, *rb = b->req;
    if (ra->deterministic || rb->deterministic) return a == b;
    return same_adapter(ra, rb) || (mixes(ra) && mixes(rb));
}

/* More different adapters than a batch may have, with that of c? */
static bool too_many(struct choice *const *run, int32_t n, const struct choice *c)
{
    const struct sched_adapter *seen[ENGINE_ADAPTERS_MAX + 1] = {c->req->adapter};
    int32_t n_seen = c->req->adapter != NULL;
    for (int32_t i = 0; i < n && n_seen <= ENGINE_ADAPTERS_MAX; i++) {
        int32_t k = 0;
        while (k < n_seen && seen[k] != run[i]->req->adapter) k++;
        if (k == n_seen && run[i]->req->adapter) seen[n_seen++] = run[i]->req->adapter;
    }
    return n_seen > ENGINE_ADAPTERS_MAX;
}

/* The choice of slot i if it takes a token in this round (still: and has not had it). The urgent
 * ones come along when it is the others' turn: a row more costs less than a step of its own. */
static struct choice *row(const struct sched_model *m, int32_t i, enum pace_class class, bool still)
{
    struct choice *c = m->slots[i].owner;
    if (!c || c->state != CHOICE_RUNNING || !by_token(c)) return NULL;
    if (class == PACE_URGENT && !in_class(m, c, class)) return NULL;
    return still && c->served[class] == m->pace.rounds[class].id ? NULL : c;
}

/* Fills `run` with the rows that could go into one batch with that of slot i, from there on. */
static int32_t find_run(const struct sched_model *m, int32_t i, enum pace_class class, bool still,
                        struct choice **run)
{
    struct choice *first = row(m, i, class, still);
    int32_t n = 0;
    for (; i < m->n_slots; i++) {
        struct choice *c = row(m, i, class, still);
        if (c && together(first, c) && !too_many(run, n, c))
            run[n++] = c;
        else if (!m->shared_kv)
            break;
    }
    return n;
}

static struct shape *shape_of(struct sched_model *m, const struct choice *c)
{
    return &m->pace.shapes[c->req->adapter ? SHAPE_ADAPTER : SHAPE_BASE];
}

static struct shape *shape_of_run(struct sched_model *m, struct choice *const *run, int32_t n)
{
    for (int32_t i = 1; i < n; i++)
        if (!same_adapter(run[0]->req, run[i]->req)) return &m->pace.shapes[SHAPE_MIXED];
    return shape_of(m, run[0]);
}

/* All decoding of a round. */
static double round_ms(struct sched_model *m, enum pace_class class)
{
    struct choice *run[SLOTS_MAX];
    bool counted[SLOTS_MAX] = {0};
    double ms = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        if (counted[i] || !row(m, i, class, false)) continue;
        int32_t n = find_run(m, i, class, false, run);
        if (run[0]->req->deterministic) n = 1;
        for (int32_t k = 0; k < n; k++) counted[run[k]->slot - m->slots] = true;
        ms += shape_split_ms(shape_of_run(m, run, n), n);
    }
    return ms;
}

/* ---- the batch ---------------------------------------------------------------------------- */

static void add_part(struct sched_model *m, struct choice *c, int32_t n)
{
    struct slot *slot = c->slot;
    ht_assert(n > 0 && slot->n_kv + n <= c->n_tokens && m->n_batched + n <= m->n_batch);
    bool complete = slot->n_kv + n == c->n_tokens;
    struct engine_adapter *adapter = c->req->adapter ? c->req->adapter->engine_adapter : NULL;
    for (int32_t i = 0; i < n; i++)
        m->batch[m->n_batched + i] = (struct engine_batch_token){.token = c->tokens[slot->n_kv + i],
                                                                 .pos = slot->n_kv + i,
                                                                 .seq = slot->seq,
                                                                 .output = complete && i == n - 1,
                                                                 .adapter = adapter,
                                                                 .scale = c->req->adapter_scale};
    m->n_batched += n;
    m->parts[m->n_parts++] =
        (struct part){.choice = c, .n = n, .output = complete ? m->n_batched - 1 : -1};
}

static void set_plan(struct sched_model *m, enum pace_class class, const struct choice *c)
{
    struct plan *plan = &m->pace.plan;
    *plan = (struct plan){
        .class = class, .shape = shape_of(m, c), .before = c->slot->n_kv, .yields_to = -1};
    plan->adapter = c->req->adapter;
    plan->scale = c->req->adapter ? c->req->adapter_scale : 0;
}

/* The slot whose row comes next in this round, -1 = all had their token. */
static int32_t next_row(const struct sched_model *m, enum pace_class class)
{
    const struct plan *last = &m->pace.plan;
    int32_t first = -1;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = row(m, i, class, true);
        if (!c) continue;
        if (first < 0) first = i;
        if (c->req->adapter == last->adapter &&
            (!c->req->adapter || c->req->adapter_scale == last->scale))
            return i;
    }
    return first;
}

static bool add_rows(struct sched_model *m, enum pace_class class)
{
    struct choice *run[SLOTS_MAX];
    int32_t i = next_row(m, class);
    if (i < 0) return false;
    int32_t n = find_run(m, i, class, true, run);
    n = run[0]->req->deterministic ? 1 : shape_split(shape_of_run(m, run, n), n);
    if (slots_room(m, n) < n) {
        slots_relieve(m);
        return true;
    }
    set_plan(m, class, run[0]);
    m->pace.plan.shape = shape_of_run(m, run, n);
    for (int32_t k = 0; k < n; k++) {
        add_part(m, run[k], 1);
        run[k]->served[class] = m->pace.rounds[class].id;
    }
    return true;
}

/* ---- prompts ------------------------------------------------------------------------------ */

static bool is_prompt(const struct sched_model *m, const struct choice *c, enum pace_class class)
{
    return c->state == CHOICE_RUNNING && in_class(m, c, class) && !by_token(c);
}

/* The most important prompt, or a shorter one that fits into ms and may overtake it. */
static struct choice *pick_prompt(struct sched_model *m, enum pace_class class, double ms,
                                  bool *overtakes)
{
    struct choice *first = NULL, *quick = NULL;
    list_each (node, &m->active) {
        const struct request *r = container_of(node, struct request, active);
        for (int32_t i = 0; i < r->n; i++) {
            struct choice *c = &r->choices[i];
            if (!is_prompt(m, c, class)) continue;
            if (!first) first = c;
            int32_t left = prompt_left(c);
            if (left >= prompt_left(quick ? quick : first)) continue;
            if (shape_prefill_ms(shape_of(m, c), left, c->slot->n_kv) <= ms) quick = c;
        }
    }
    *overtakes = quick && !m->pace.overtaken;
    return *overtakes ? quick : first;
}

/* Rows that will need a cell before the next piece. */
static int32_t count_rows(const struct sched_model *m)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = running(&m->slots[i]);
        n += c && by_token(c);
    }
    return n;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t piece_size(struct sched_model *m, const struct choice *c, double ms)
{
    int32_t left = prompt_left(c), most = least(left, m->n_ubatch);
    if (c->req->deterministic) {
        int32_t even = DETERMINISTIC_PIECE - c->slot->n_kv % DETERMINISTIC_PIECE;
        return least(even, left);
    }
    const struct shape *shape = shape_of(m, c);
    int32_t n = shape_prefill_fit(shape, ms, c->slot->n_kv, most);
    if (!shape->n_prefills && !count_rows(m)) /* not known how long it takes, but nobody waits */
        n = least(most, SHAPE_GROWTH * SHAPE_FIRST_PIECE);
    if (n < PIECE_LEAST) n = least(PIECE_LEAST, most);
    int32_t up = n + PIECE_EVEN - 1 - (n + PIECE_EVEN - 1) % PIECE_EVEN;
    if (up <= most && shape_prefill_ms(shape, up, c->slot->n_kv) <= ROUNDED_UP * ms) return up;
    if (n < left && n > PIECE_EVEN) n -= n % PIECE_EVEN;
    return n;
}

/* Each has a step in turn. */
static int32_t busy_models(const struct sched *s)
{
    int32_t n = 0;
    list_each (node, &s->ready) {
        const struct sched_model *m = container_of(node, struct sched_model, ready);
        n += !m->embedding && !list_empty(&m->active);
    }
    return n > 0 ? n : 1;
}

/* What this round may still spend on prompts; < 0: nothing. */
static double prefill_left_ms(struct sched_model *m, enum pace_class class)
{
    double target = (1 - SHARE_KEPT) * m->s->params.step_target_ms / busy_models(m->s);
    double decode = round_ms(m, class), spent = m->pace.rounds[class].prefill_ms;
    if (m->pace.rounds[class].crowded) target *= CROWDED;
    if (class == PACE_BACKGROUND && target > decode + BACKGROUND_PIECE_MS)
        target = decode + BACKGROUND_PIECE_MS;
    if (decode == 0) /* nobody waits for a next token */
        return m->pace.contended ? target : ALONE * target;
    double ms = target - decode - spent;
    if (spent == 0 && ms < PREFILL_LEAST * decode) ms = PREFILL_LEAST * decode;
    return ms;
}

/* What is left of a round after a first piece: is it for n tokens of this prompt? Not if the whole
 * of it fits into the next one: two pieces take longer than one, and so do two rounds. */
static bool is_worth(struct sched_model *m, const struct round *round, const struct choice *c,
                     int32_t n, double ms)
{
    const struct shape *shape = shape_of(m, c);
    int32_t left = prompt_left(c);
    if (shape_prefill_ms(shape, n, c->slot->n_kv) > ms) return false;
    if (n >= left || c->req->deterministic) return true;
    return shape_prefill_ms(shape, left, c->slot->n_kv) > ms + round->prefill_ms;
}

static bool add_piece(struct sched_model *m, enum pace_class class)
{
    const struct round *round = &m->pace.rounds[class];
    bool overtakes;
    double ms = prefill_left_ms(m, class);
    if (ms <= 0) return false;
    struct choice *c = pick_prompt(m, class, ms, &overtakes);
    if (!c) return false;
    int32_t n = piece_size(m, c, ms);
    if (round->prefill_ms > 0 && !is_worth(m, round, c, n, ms)) return false;
    int32_t rows = count_rows(m), room = slots_room(m, rows + n) - rows;
    if (room < n && c->req->deterministic) room = 0;
    if (room <= 0) {
        if (rows) return false; /* they will end and leave room */
        slots_relieve(m);
        return true;
    }
    set_plan(m, class, c);
    m->pace.plan.prefill = true;
    if (shape_prefill_ms(shape_of(m, c), n, c->slot->n_kv) >= YIELD_MS)
        m->pace.plan.yields_to = c->req->priority - URGENT_STEP;
    m->pace.overtaken = overtakes;
    add_part(m, c, least(n, room));
    c->served[class] = round->id;
    return true;
}

static int32_t count_prompts(const struct sched_model *m, enum pace_class class)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = running(&m->slots[i]);
        n += c && is_prompt(m, c, class);
    }
    return n;
}

/* Before a round: its rows side by side. */
static void bring_together(struct sched_model *m, enum pace_class class)
{
    int32_t group[SLOTS_MAX] = {0}, n_groups = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = row(m, i, class, false);
        if (!c || c->req->deterministic) continue;
        for (int32_t k = 0; k < i && !group[i]; k++)
            if (group[k] && together(m->slots[k].owner, c)) group[i] = group[k];
        if (!group[i]) group[i] = ++n_groups;
    }
    slots_compact(m, group);
}

static bool build_class(struct sched_model *m, enum pace_class class)
{
    if (add_rows(m, class) || add_piece(m, class)) return true;
    bring_together(m, class);
    m->pace.rounds[class] =
        (struct round){.id = ++m->pace.n_rounds, .crowded = count_prompts(m, class) >= CROWD};
    return add_rows(m, class) || add_piece(m, class);
}

bool batch_build(struct sched_model *m)
{
    m->n_batched = m->n_parts = 0;
    enum pace_class class = next_class(m);
    return build_class(m, class) || build_class(m, !class);
}

/* ---- afterwards --------------------------------------------------------------------------- */

void batch_done(struct sched_model *m, double ms)
{
    struct pace *p = &m->pace;
    const struct plan *plan = &p->plan;
    pthread_mutex_lock(&p->lock);
    if (plan->prefill)
        shape_saw_prefill(plan->shape, m->n_batched, plan->before, ms);
    else
        shape_saw_decode(plan->shape, m->n_parts, ms);
    pthread_mutex_unlock(&p->lock);
    if (plan->prefill) p->rounds[plan->class].prefill_ms += ms;
    if (!p->contended) return;
    p->credit_ms +=
        plan->class == PACE_BACKGROUND ? -ms : ms * BACKGROUND_SHARE / (1 - BACKGROUND_SHARE);
    if (p->credit_ms > BACKGROUND_CREDIT_MS) p->credit_ms = BACKGROUND_CREDIT_MS;
}

static bool contains(const uint64_t *ids, int32_t n, uint64_t id)
{
    for (int32_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

int32_t batch_requests(const struct sched_model *m, uint64_t *ids)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_parts; i++) {
        uint64_t id = m->parts[i].choice->req->by_id.id;
        if (!contains(ids, n, id)) ids[n++] = id;
    }
    return n;
}

/* ---- what was learnt ---------------------------------------------------------------------- */

const struct shape_profile *measured_profile(const struct sched_params *params, const char *id)
{
    const struct shape_profile *profile = NULL;
    for (size_t i = 0; i < params->n_shapes; i++) {
        const struct shape_profile *p = &params->shapes[i];
        if (str_eq(p->model, id) || (!*p->model && !profile)) profile = p;
    }
    return profile;
}

void pace_init(struct sched_model *m)
{
    if (m->pace.plan.shape) return; /* it was loaded before: what was learnt still holds */
    for (int i = 0; i < N_SHAPES; i++)
        shape_init(&m->pace.shapes[i], measured_profile(&m->s->params, m->id));
    m->pace.plan = (struct plan){.shape = &m->pace.shapes[0], .yields_to = -1};
}

void sched_shape(struct sched_model *m, struct shape_profile *out)
{
    pthread_mutex_lock(&m->pace.lock);
    shape_get(&m->pace.shapes[0], out);
    pthread_mutex_unlock(&m->pace.lock);
    str_copy(out->model, sizeof out->model, m->id);
}
