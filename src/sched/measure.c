#include "sched/measure.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sched/shape.h"

enum {
    ROUNDS_LEAST = 2,
    ROUNDS_MOST = 9,
    SEQ_CELLS = 256, /* of each sequence while widths are measured */
    PIECE = 64,      /* of a prompt, while threads are measured */
    PROMPT = 1024,   /* tokens, while ubatches are measured */
    PROMPT_LEAST = 128,
    /* The library's threads wait for each other in busy loops, several times a layer: what a small
     * model gains by them when nothing else runs is lost many times over when something does. */
    WEIGHTS_PER_THREAD = 32 << 20,
    PARALLEL_LEAST = 4, /* sequences that are worth having even if they don't add speed */
    DEPTH = 4096,       /* tokens that were there before, while KV types are measured */
    DEPTH_LEAST = 256,
    DEPTH_TELLS = 1024, /* before that attention takes too little to judge a type by */
    DEPTH_TOKENS = 4,   /* in a round, after a PIECE */
};

#define NEARLY 1.03 /* what is not worse than this is as good: fewer threads, smaller buffers */
#define FULL   0.95 /* of the most tokens per second, which more sequences need not improve */

/* Shares of the budget. */
#define SHARE_THREADS  0.15
#define SHARE_WIDTHS   0.28
#define SHARE_UBATCHES 0.22
#define SHARE_PIECES   0.10
#define SHARE_KV       0.25
#define SHARE_DEPTH    0.6 /* of that, to get there */

struct job {
    const struct measure_params *p;
    struct measure *out;
    struct engine_batch_token *batch;
    int32_t n_batch, n_vocab;
    uint32_t token;  /* which comes next; what it is makes no difference */
    double token_ms; /* a prompt's, roughly */
    struct error *error;
};

static double since_ms(int64_t start_ns)
{
    double ms = (double)(clock_mono_ns() - start_ns) / 1e6;
    return ms > 1e-3 ? ms : 1e-3;
}

static enum err tell(const struct job *j, const char *what)
{
    if (!j->p->on_progress || j->p->on_progress(j->p->progress_ctx, what)) return OK;
    return err_set(j->error, ERR_CANCELLED, "stopped");
}

static int32_t next_token(struct job *j)
{
    j->token = j->token * 1664525u + 1013904223u;
    return (int32_t)((j->token >> 8) % (uint32_t)j->n_vocab);
}

static enum err new_ctx_of(const struct job *j, int32_t threads, int32_t n_ubatch, int32_t n_seq,
                           int32_t cells, enum engine_kv_type kv_type, struct engine_ctx **out)
{
    struct engine_ctx_params params = {.n_ctx = n_seq * cells,
                                       .n_batch = j->n_batch,
                                       .n_ubatch = n_ubatch,
                                       .n_seq_max = n_seq,
                                       .n_threads = threads,
                                       .n_threads_batch = threads,
                                       .kv_type = kv_type};
    return engine_ctx_new(j->p->model, &params, out, j->error);
}

static enum err new_ctx(const struct job *j, int32_t threads, int32_t n_ubatch, int32_t n_seq,
                        int32_t cells, struct engine_ctx **out)
{
    return new_ctx_of(j, threads, n_ubatch, n_seq, cells, ENGINE_KV_F16, out);
}

/* A token for each of `width` sequences, all at position `pos`. */
static enum err decode_width(struct job *j, struct engine_ctx *ctx, int32_t width, int32_t *pos,
                             double *ms)
{
    for (int32_t i = 0; i < width; i++) {
        j->batch[i] = (struct engine_batch_token){
            .token = next_token(j), .pos = pos[i]++, .seq = i, .output = true};
    }
    int64_t start_ns = clock_mono_ns();
    enum err e = engine_decode(ctx, j->batch, width, j->error);
    *ms = since_ms(start_ns);
    return e;
}

/* n tokens of a prompt of sequence 0 that has `pos` already. */
static enum err decode_piece(struct job *j, struct engine_ctx *ctx, int32_t n, int32_t *pos,
                             double *ms)
{
    ht_assert(n <= j->n_batch);
    for (int32_t i = 0; i < n; i++) {
        j->batch[i] = (struct engine_batch_token){
            .token = next_token(j), .pos = (*pos)++, .output = i == n - 1};
    }
    int64_t start_ns = clock_mono_ns();
    enum err e = engine_decode(ctx, j->batch, n, j->error);
    *ms = since_ms(start_ns);
    return e;
}

static bool goes_on(int round, int64_t start_ns, double limit_ms)
{
    if (round < ROUNDS_LEAST) return true;
    return round < ROUNDS_MOST && since_ms(start_ns) * (round + 1) / round < limit_ms;
}

static double smaller(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

/* ---- threads ------------------------------------------------------------------------------ */

/* What disturbs a sample makes it larger, so the least of the rounds counts. */
static enum err sample_threads(struct job *j, struct engine_ctx *ctx, struct measure_threads *t)
{
    double ms;
    int32_t pos = 0;
    if (!engine_seq_remove(ctx, 0, -1, -1))
        return err_set(j->error, ERR_ENGINE, "the sequence can't be emptied");
    enum err e = decode_piece(j, ctx, PIECE, &pos, &ms);
    if (!e && PIECE * 1e3 / ms > t->prefill_tokens_per_s)
        t->prefill_tokens_per_s = PIECE * 1e3 / ms;
    for (int i = 0; i < 4 && !e; i++) {
        e = decode_width(j, ctx, 1, &pos, &ms);
        if (!e) t->decode_ms = smaller(t->decode_ms, ms);
    }
    return e;
}

static void list_threads(struct job *j, uint64_t weight_bytes)
{
    const struct measure_params *p = j->p;
    struct measure *m = j->out;
    uint64_t useful = 1 + weight_bytes / WEIGHTS_PER_THREAD;
    int32_t n = 1, most = (uint64_t)p->max_threads < useful ? p->max_threads : (int32_t)useful;
    if (p->n_threads) n = most = p->n_threads;
    for (; n < most && m->n_threads < MEASURE_POINTS_MAX - 2; n += n < 4 ? 1 : n / 2)
        m->threads[m->n_threads++].n = n;
    m->threads[m->n_threads++].n = most;
}

static double threads_badness(const struct measure_threads *t, double decode, double prefill)
{
    return t->decode_ms / decode + prefill / t->prefill_tokens_per_s;
}

static int32_t best_threads(const struct measure *m)
{
    double decode = 0, prefill = 0, least = 0;
    for (size_t i = 0; i < m->n_threads; i++) {
        decode = smaller(decode, m->threads[i].decode_ms);
        if (m->threads[i].prefill_tokens_per_s > prefill)
            prefill = m->threads[i].prefill_tokens_per_s;
    }
    for (size_t i = 0; i < m->n_threads; i++)
        least = smaller(least, threads_badness(&m->threads[i], decode, prefill));
    for (size_t i = 0; i < m->n_threads; i++)
        if (threads_badness(&m->threads[i], decode, prefill) <= NEARLY * least)
            return m->threads[i].n;
    return m->threads[0].n;
}

static enum err measure_threads(struct job *j, uint64_t weight_bytes)
{
    struct measure *m = j->out;
    struct engine_ctx *ctxs[MEASURE_POINTS_MAX] = {0};
    list_threads(j, weight_bytes);
    enum err e = tell(j, "threads");
    for (size_t i = 0; i < m->n_threads && !e; i++)
        e = new_ctx(j, m->threads[i].n, PIECE, 1, SEQ_CELLS, &ctxs[i]);
    struct measure_threads warm_up = {0}; /* reads the weights from the disk */
    if (!e) e = sample_threads(j, ctxs[0], &warm_up);
    int64_t start_ns = clock_mono_ns();
    double limit = SHARE_THREADS * (double)j->p->budget_ms;
    for (int round = 0; !e && goes_on(round, start_ns, limit); round++)
        for (size_t i = 0; i < m->n_threads && !e; i++)
            e = sample_threads(j, ctxs[i], &m->threads[i]);
    for (size_t i = 0; i < m->n_threads; i++) engine_ctx_free(ctxs[i]);
    if (e) return e;
    m->profile.n_threads = best_threads(m);
    for (size_t i = 0; i < m->n_threads; i++)
        if (m->threads[i].n == m->profile.n_threads)
            j->token_ms = 1e3 / m->threads[i].prefill_tokens_per_s;
    return OK;
}

/* ---- widths ------------------------------------------------------------------------------- */

static void list_widths(struct job *j)
{
    struct measure *m = j->out;
    for (int32_t n = 1; n <= j->p->n_parallel && m->n_widths < MEASURE_POINTS_MAX;) {
        m->widths[m->n_widths++].n = n;
        n += n < 6 ? 1 : n < 16 ? 2 : n < 32 ? 4 : 8;
    }
}

static enum err measure_widths(struct job *j, struct shape *shape)
{
    struct measure *m = j->out;
    struct engine_ctx *ctx = NULL;
    int32_t pos[SHAPE_WIDTH_MAX] = {0};
    list_widths(j);
    enum err e = tell(j, "sequences together");
    if (!e) e = new_ctx(j, m->profile.n_threads, PIECE, j->p->n_parallel, SEQ_CELLS, &ctx);
    if (e) return e;
    double ms, limit = SHARE_WIDTHS * (double)j->p->budget_ms;
    e = decode_width(j, ctx, 1, pos, &ms); /* its graph is made */
    int64_t start_ns = clock_mono_ns();
    for (int round = 0; !e && goes_on(round, start_ns, limit); round++) {
        for (size_t i = 0; i < m->n_widths && !e; i++) {
            /* A new width makes a new graph; the scheduler keeps its widths, too. */
            e = decode_width(j, ctx, m->widths[i].n, pos, &ms);
            if (!e) e = decode_width(j, ctx, m->widths[i].n, pos, &ms);
            if (!e) shape_saw_decode(shape, m->widths[i].n, ms);
        }
    }
    engine_ctx_free(ctx);
    for (size_t i = 0; i < m->n_widths; i++)
        m->widths[i].ms = shape_decode_ms(shape, m->widths[i].n);
    return e;
}

/* The fewest sequences with which nearly all speed is reached. */
static int32_t best_parallel(const struct measure *m, const struct shape *shape)
{
    double most = 0;
    for (size_t i = 0; i < m->n_widths; i++) {
        double speed = m->widths[i].n / shape_split_ms(shape, m->widths[i].n);
        if (speed > most) most = speed;
    }
    for (size_t i = 0; i < m->n_widths; i++) {
        int32_t n = m->widths[i].n;
        if (n >= PARALLEL_LEAST && n / shape_split_ms(shape, n) >= FULL * most) return n;
    }
    return m->widths[m->n_widths - 1].n;
}

/* ---- ubatches ----------------------------------------------------------------------------- */

static void list_ubatches(struct measure *m, int32_t prompt)
{
    for (int32_t n = PROMPT_LEAST; n <= prompt; n *= 2) m->ubatches[m->n_ubatches++].n = n;
}

static enum err sample_ubatch(struct job *j, struct engine_ctx *ctx, struct measure_ubatch *u,
                              int32_t prompt)
{
    double sum = 0, ms;
    int32_t pos = 0;
    if (!engine_seq_remove(ctx, 0, -1, -1))
        return err_set(j->error, ERR_ENGINE, "the sequence can't be emptied");
    while (pos < prompt) {
        int32_t n = prompt - pos < u->n ? prompt - pos : u->n;
        enum err e = decode_piece(j, ctx, n, &pos, &ms);
        if (e) return e;
        sum += ms;
    }
    if (prompt * 1e3 / sum > u->tokens_per_s) u->tokens_per_s = prompt * 1e3 / sum;
    return OK;
}

/* 0 = not known: larger ones, which there was no time for, may be better still. */
static int32_t best_ubatch(const struct measure *m)
{
    double most = 0;
    size_t best = 0;
    for (size_t i = 0; i < m->n_ubatches; i++)
        if (m->ubatches[i].tokens_per_s > most) most = m->ubatches[i].tokens_per_s;
    while (NEARLY * m->ubatches[best].tokens_per_s < most) best++;
    bool open = best + 1 == m->n_ubatches && m->ubatches[best].n < PROMPT;
    return open ? 0 : m->ubatches[best].n;
}

/* As long as fits into the share, in steps of the sizes. */
static int32_t prompt_length(const struct job *j)
{
    double limit = SHARE_UBATCHES * (double)j->p->budget_ms;
    int32_t n = PROMPT_LEAST;
    for (; n < PROMPT && n < j->n_batch; n *= 2) {
        int sizes = 1;
        for (int32_t i = PROMPT_LEAST; i < 2 * n; i *= 2) sizes++;
        if (2 * n * sizes * ROUNDS_LEAST * j->token_ms > limit) break;
    }
    return n;
}

static enum err measure_ubatches(struct job *j)
{
    struct measure *m = j->out;
    struct engine_ctx *ctxs[MEASURE_POINTS_MAX] = {0};
    int32_t prompt = prompt_length(j);
    list_ubatches(m, prompt);
    enum err e = tell(j, "prompts");
    for (size_t i = 0; i < m->n_ubatches && !e; i++)
        e = new_ctx(j, m->profile.n_threads, m->ubatches[i].n, 1, prompt, &ctxs[i]);
    int64_t start_ns = clock_mono_ns();
    double limit = SHARE_UBATCHES * (double)j->p->budget_ms;
    for (int round = 0; !e && goes_on(round, start_ns, limit); round++)
        for (size_t i = 0; i < m->n_ubatches && !e; i++)
            e = sample_ubatch(j, ctxs[i], &m->ubatches[i], prompt);
    for (size_t i = 0; i < m->n_ubatches; i++) engine_ctx_free(ctxs[i]);
    if (!e) m->profile.n_ubatch = best_ubatch(m);
    return e;
}

/* ---- pieces ------------------------------------------------------------------------------- */

/* Pieces of several sizes behind more and more tokens, until the time is over. */
static enum err measure_pieces(struct job *j, struct shape *shape)
{
    static const int32_t sizes[] = {16, 64, 256, 512, 32, 128, 512, 16, 256, 64};
    enum { N = sizeof sizes / sizeof *sizes, CELLS = 2048, LARGEST_PIECE = 512 };
    struct engine_ctx *ctx = NULL;
    enum err e = tell(j, "pieces of prompts");
    int32_t n_ubatch = j->out->profile.n_ubatch ? j->out->profile.n_ubatch : LARGEST_PIECE;
    if (!e) e = new_ctx(j, j->out->profile.n_threads, n_ubatch, 1, CELLS, &ctx);
    if (e) return e;
    double ms, limit = SHARE_PIECES * (double)j->p->budget_ms;
    int32_t pos = 0;
    e = decode_piece(j, ctx, sizes[0], &pos, &ms); /* its graph is made */
    int64_t start_ns = clock_mono_ns();
    for (int i = 0; i < N && !e; i++) {
        int32_t n = sizes[i] < n_ubatch ? sizes[i] : n_ubatch;
        if (i >= 3 && since_ms(start_ns) + n * j->token_ms > limit) continue;
        int32_t before = pos;
        e = decode_piece(j, ctx, n, &pos, &ms);
        if (!e) shape_saw_prefill(shape, n, before, ms);
    }
    engine_ctx_free(ctx);
    return e;
}

/* ---- KV types ----------------------------------------------------------------------------- */

/* As far as the share goes for all types. */
static int32_t kv_depth(const struct job *j)
{
    double limit = SHARE_KV * SHARE_DEPTH * (double)j->p->budget_ms;
    int32_t n = DEPTH_LEAST;
    while (n < DEPTH && 2 * n * ENGINE_KV_TYPES * j->token_ms < limit) n *= 2;
    return n;
}

static double bytes_per_token(const struct engine_ctx *ctx)
{
    struct engine_memory m;
    engine_ctx_memory(ctx, &m);
    double sum = (double)m.host.kv;
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++) sum += (double)m.devices[i].kv;
    return sum / engine_ctx_size(ctx);
}

/* The context with `depth` tokens; none where the model can't have that type. */
static enum err open_kv(struct job *j, enum engine_kv_type type, int32_t *pos,
                        struct engine_ctx **out)
{
    struct measure *m = j->out;
    int32_t n_ubatch = m->profile.n_ubatch ? m->profile.n_ubatch : j->n_batch / 2, depth;
    int32_t cells = m->kv_depth + (ROUNDS_MOST + 1) * (PIECE + DEPTH_TOKENS);
    enum err e = new_ctx_of(j, m->profile.n_threads, n_ubatch, 1, cells, type, out);
    if (e) return e;
    if (engine_ctx_kv_type(*out) != type) {
        engine_ctx_free(*out);
        *out = NULL;
        return OK;
    }
    double ms;
    for (depth = m->kv_depth; depth > 0 && !e; depth -= n_ubatch)
        e = decode_piece(j, *out, depth < n_ubatch ? depth : n_ubatch, pos, &ms);
    return e;
}

/* Nothing is taken away between the rounds, which not every model could: all types go on from the
 * same depth by the same steps. */
static enum err sample_kv(struct job *j, struct engine_ctx *ctx, int32_t *pos,
                          struct measure_kv *kv)
{
    double ms;
    enum err e = decode_piece(j, ctx, PIECE, pos, &ms);
    if (!e && PIECE * 1e3 / ms > kv->prefill_tokens_per_s)
        kv->prefill_tokens_per_s = PIECE * 1e3 / ms;
    for (int i = 0; i < DEPTH_TOKENS && !e; i++) {
        e = decode_width(j, ctx, 1, pos, &ms);
        if (!e) kv->decode_ms = smaller(kv->decode_ms, ms);
    }
    return e;
}

/* The smallest that is nearly as fast as f16, at both. */
static enum engine_kv_type best_kv(const struct measure *m)
{
    const struct measure_kv *f16 = &m->kvs[0], *best = f16;
    if (m->kv_depth < DEPTH_TELLS) return ENGINE_KV_F16;
    for (size_t i = 1; i < m->n_kvs; i++) {
        const struct measure_kv *k = &m->kvs[i];
        if (k->decode_ms <= NEARLY * f16->decode_ms &&
            NEARLY * k->prefill_tokens_per_s >= f16->prefill_tokens_per_s &&
            k->bytes_per_token < best->bytes_per_token)
            best = k;
    }
    return best->type;
}

static enum err measure_kvs(struct job *j)
{
    struct measure *m = j->out;
    struct engine_ctx *ctxs[ENGINE_KV_TYPES] = {0};
    int32_t pos[ENGINE_KV_TYPES] = {0};
    enum err e = tell(j, "types of KV cells");
    m->kv_depth = kv_depth(j);
    for (int t = 0; t < ENGINE_KV_TYPES && !e; t++) {
        struct engine_ctx **ctx = &ctxs[m->n_kvs];
        e = open_kv(j, (enum engine_kv_type)t, &pos[m->n_kvs], ctx);
        if (*ctx)
            m->kvs[m->n_kvs++] = (struct measure_kv){.type = (enum engine_kv_type)t,
                                                     .bytes_per_token = bytes_per_token(*ctx)};
    }
    struct measure_kv warm_up = {0}; /* makes the graphs */
    for (size_t i = 0; i < m->n_kvs && !e; i++) e = sample_kv(j, ctxs[i], &pos[i], &warm_up);
    int64_t start_ns = clock_mono_ns();
    double limit = SHARE_KV * (1 - SHARE_DEPTH) * (double)j->p->budget_ms;
    for (int round = 0; !e && goes_on(round, start_ns, limit); round++)
        for (size_t i = 0; i < m->n_kvs && !e; i++) e = sample_kv(j, ctxs[i], &pos[i], &m->kvs[i]);
    for (size_t i = 0; i < m->n_kvs; i++) engine_ctx_free(ctxs[i]);
    if (!e) m->profile.kv_type = best_kv(m);
    return e;
}

/* ---- all ---------------------------------------------------------------------------------- */

enum err measure_model(const struct measure_params *params, struct measure *out,
                       struct error *error)
{
    struct engine_model_facts facts;
    engine_model_facts(params->model, &facts);
    ht_assert(params->n_parallel >= 1 && params->n_parallel <= SHAPE_WIDTH_MAX);
    *out = (struct measure){0};
    if (facts.is_embedding || facts.is_rerank)
        return err_set(error, ERR_UNSUPPORTED, "the model does not generate text");
    struct job j = {
        .p = params, .out = out, .n_batch = PROMPT, .n_vocab = facts.n_vocab, .error = error};
    j.batch = xcalloc((size_t)j.n_batch, sizeof *j.batch);
    struct shape shape;
    shape_init(&shape, NULL);
    enum err e = measure_threads(&j, facts.weight_bytes);
    if (!e) e = measure_widths(&j, &shape);
    if (!e) e = measure_ubatches(&j);
    if (!e) e = measure_pieces(&j, &shape);
    if (!e) e = measure_kvs(&j);
    if (!e) {
        struct shape_profile found = out->profile;
        out->profile.n_parallel = 0;
        shape_get(&shape, &out->profile);
        out->profile.n_threads = found.n_threads;
        out->profile.n_ubatch = found.n_ubatch;
        out->profile.kv_type = found.kv_type;
        out->profile.n_parallel = best_parallel(out, &shape);
    }
    free(j.batch);
    return e;
}
