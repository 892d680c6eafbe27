/* Rows of several adapters in one batch.
 *
 * libllama applies the adapters that a context has to every row of a batch: for each weight W and
 * each adapter it computes
 *
 *     down = A x,  up = B down,  scaled = scale * up,  sum = (W x or the sum before) + scaled
 *
 * This is its eval callback, which is shown every node of a graph before any is computed. It
 * changes such chains. Of an adapter that no row of the batch has they compute nothing
 * (GGML_OP_NONE), so that an adapter costs nothing in batches without it. Where rows differ, they
 * become
 *
 *     down = A x,  up = the rows of `down` that have the adapter,  scaled = B up,
 *     sum = before, and to those rows is added what is in `scaled`, at the scale that each asked
 * for
 *
 * with operations of our own for `up` and `sum`. So a row gets what it would get alone, from the
 * same kernels, and an adapter's larger product is computed for its own rows only.
 *
 * Nodes outlive a decode: libllama keeps a graph and computes it again while batches look alike. So
 * a chain that was changed says so (struct mark, in a part of a node's parameters that its
 * operation has no use for), and each is put back and changed anew before every computation.
 *
 * Whose A and B these are is known by the buffer that their data is in, which is the adapter's own:
 * when exactly one of the set has not been seen yet, it is that one's. What is not as described
 * here stops the computation (failed), and the context mixes no more: its adapters take turns.
 *
 * Only where all is computed by the CPU back end, which can be given operations.
 *
 * Rejected: looking at `down` when it was computed and clearing the rows of others (a stop of all
 * threads for each: 168 of them take as long as a fifth of a token of a 0.5B model); one adapter
 * made of several (a copy of the weights for each combination). */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/llama_int.h"

enum { MARK = 12 /* first of the four parameters that hold the mark */ };

static const int32_t MAGIC = 0x4874784d;

struct mark {
    int32_t magic, op; /* what it was */
    int32_t param;     /* and its first parameter */
    int32_t check;
};

/* What libllama made of one weight and one adapter. */
struct chain {
    struct ggml_tensor *down, *up, *scaled, *sum;
    int32_t who; /* index in the set */
};

/* What an operation of ours gets. */
struct mixed {
    const struct le_mix *mix;
    int32_t who; /* index in the set */
};

struct le_mix {
    struct engine_ctx *head;
    struct ggml_context *templates;
    struct ggml_tensor *gathers[ENGINE_ADAPTERS_MAX], *sums[ENGINE_ADAPTERS_MAX], *copy;
    struct mixed mixed[ENGINE_ADAPTERS_MAX];
    /* the decode under way */
    int32_t n_rows; /* they differ; 0: all are alike */
    float alike[ENGINE_ADAPTERS_MAX];
    float scales[ENGINE_ADAPTERS_MAX][ENGINE_SEQ_MAX]; /* 0: the row does not have it */
    int32_t n_having[ENGINE_ADAPTERS_MAX];             /* rows */
    bool plain;                                        /* the graph is right as libllama makes it */
    bool failed;
    bool changed; /* nodes since the set was changed */
    int64_t n_products, n_chains;
};

/* ---- our operations ------------------------------------------------------------------------- */

static struct mark mark_of(const struct ggml_tensor *t)
{
    struct mark m;
    memcpy(&m, t->op_params + MARK, sizeof m);
    return m;
}

static bool is_marked(const struct mark *m)
{
    return m->magic == MAGIC && m->check == ~m->op;
}

/* Of a `scaled`, before that of a request. */
static float scale_of_file(const struct ggml_tensor *scaled)
{
    struct mark m = mark_of(scaled);
    float scale;
    memcpy(&scale, &m.param, sizeof scale);
    return scale;
}

/* The part of a row's n numbers that is for thread ith of nth. */
static void share(int64_t n, int ith, int nth, int64_t *from, int64_t *to)
{
    int64_t each = ((n + nth - 1) / nth + 15) / 16 * 16;
    *from = each * ith < n ? each * ith : n;
    *to = *from + each < n ? *from + each : n;
}

/* Not one expression for both: a fused one rounds once. */
static void add_scaled(float *restrict out, const float *base, const float *restrict up,
                       float scale, int64_t n)
{
    enum { BLOCK = 64 };
    float scaled[BLOCK];
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t m = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t i = 0; i < m; i++) scaled[i] = up[at + i] * scale;
        for (int64_t i = 0; i < m; i++) out[at + i] = base[at + i] + scaled[i];
    }
}

/* In place: the rows that have the adapter, one after the other. */
static void compute_gather(struct ggml_tensor *dst, int ith, int nth, void *userdata)
{
    (void)nth;
    const struct mixed *x = userdata;
    const float *scales = x->mix->scales[x->who];
    int64_t n = dst->ne[0], to = 0;
    float *rows = dst->data;
    if (ith != 0) return;
    for (int64_t r = 0; r < x->mix->n_rows; r++)
        if (scales[r] != 0) memmove(rows + n * to++, rows + n * r, (size_t)n * sizeof *rows);
}

static bool is_gathered(const struct ggml_tensor *scaled)
{
    return scaled->op == GGML_OP_MUL_MAT;
}

static void compute_sum(struct ggml_tensor *dst, int ith, int nth, void *userdata)
{
    const struct mixed *x = userdata;
    const struct ggml_tensor *base = dst->src[0], *scaled = dst->src[1];
    float of_file = scale_of_file(scaled);
    bool gathered = is_gathered(scaled);
    int64_t n = dst->ne[0], rows = ggml_nrows(dst), each = rows / x->mix->n_rows, from, to;
    const float *up = scaled->data;
    share(n, ith, nth, &from, &to);
    for (int64_t r = 0; r < rows && from < to; r++) {
        float scale = x->mix->scales[x->who][r / each];
        float *out = (float *)dst->data + r * n;
        const float *in = (const float *)base->data + r * n;
        if (scale != 0)
            add_scaled(out + from, in + from, up + from, scale * of_file, to - from);
        else if (out != in)
            memcpy(out + from, in + from, (size_t)(to - from) * sizeof *out);
        if (scale != 0 || !gathered) up += n;
    }
}

static void compute_copy(struct ggml_tensor *dst, int ith, int nth, void *userdata)
{
    (void)userdata;
    int64_t from, to;
    share(ggml_nelements(dst), ith, nth, &from, &to);
    memcpy((float *)dst->data + from, (const float *)dst->src[0]->data + from,
           (size_t)(to - from) * sizeof(float));
}

static struct ggml_tensor *template(struct le_mix *m, ggml_custom_op_t compute, void *userdata)
{
    struct ggml_tensor *src = ggml_new_tensor_1d(m->templates, GGML_TYPE_F32, 1);
    return ggml_custom_4d(m->templates, GGML_TYPE_F32, 1, 1, 1, 1, &src, 1, compute,
                          GGML_N_TASKS_MAX, userdata);
}

static bool make_templates(struct le_mix *m)
{
    struct ggml_init_params p = {.mem_size = 64 * ggml_tensor_overhead(), .no_alloc = true};
    m->templates = ggml_init(p);
    if (!m->templates) return false;
    m->copy = template(m, compute_copy, NULL);
    for (int32_t i = 0; i < ENGINE_ADAPTERS_MAX; i++) {
        m->mixed[i] = (struct mixed){m, i};
        m->gathers[i] = template(m, compute_gather, &m->mixed[i]);
        m->sums[i] = template(m, compute_sum, &m->mixed[i]);
    }
    return true;
}

/* ---- changing nodes ------------------------------------------------------------------------- */

static enum ggml_op op_of(const struct ggml_tensor *t)
{
    struct mark m = mark_of(t);
    return is_marked(&m) ? (enum ggml_op)m.op : t->op;
}

static void set_mark(struct ggml_tensor *t)
{
    struct mark m = mark_of(t);
    if (is_marked(&m)) return;
    m = (struct mark){.magic = MAGIC, .op = (int32_t)t->op, .check = ~(int32_t)t->op};
    m.param = t->op_params[0];
    memcpy(t->op_params + MARK, &m, sizeof m);
}

static void become(struct ggml_tensor *t, enum ggml_op op, const struct ggml_tensor *like)
{
    t->op = op;
    if (like)
        memcpy(t->op_params, like->op_params, MARK * sizeof *t->op_params);
    else
        memset(t->op_params, 0, MARK * sizeof *t->op_params);
}

static void set_shape(struct ggml_tensor *t, int64_t width, int64_t rows)
{
    t->ne[0] = width;
    t->ne[1] = rows;
    t->nb[1] = (size_t)width * sizeof(float);
    t->nb[3] = t->nb[2] = t->nb[1] * (size_t)rows;
}

/* A product with an adapter's tensor 'a' or 'b'. */
static bool is_product(const struct ggml_tensor *t, char which)
{
    if (!t) return false;
    enum ggml_op op = op_of(t);
    if (op != GGML_OP_MUL_MAT && op != GGML_OP_MUL_MAT_ID) return false;
    size_t len = strlen(t->src[0]->name);
    const char *end = t->src[0]->name + len - 7;
    return len >= 7 && memcmp(end, ".lora_", 6) == 0 && end[6] == which;
}

static bool has_buffer(const struct le_adapter *a, ggml_backend_buffer_t buffer)
{
    for (int32_t i = 0; i < a->n_buffers; i++)
        if (a->buffers[i] == buffer) return true;
    return false;
}

static void fail(struct le_mix *m, const char *why)
{
    if (!m->failed) log_info(engine, "adapters of this model take turns: %s", why);
    m->failed = true;
}

/* Whose tensor it is: index in the set, -1 = can't be said. */
static int32_t owner_of(struct le_mix *m, const struct ggml_tensor *w)
{
    const struct adapter_set *s = &m->head->set;
    int32_t unknown = -1, n_unknown = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (has_buffer((struct le_adapter *)s->adapters[i], w->buffer)) return i;
        if (s->adapters[i]->known) continue;
        unknown = i;
        n_unknown++;
    }
    if (n_unknown != 1 || !w->buffer) return -1;
    struct le_adapter *a = (struct le_adapter *)s->adapters[unknown];
    if (a->n_buffers == LE_ADAPTER_BUFFERS_MAX) return -1;
    a->buffers[a->n_buffers++] = w->buffer;
    return unknown;
}

static bool find_chain(struct le_mix *m, struct ggml_tensor *sum, struct chain *c)
{
    struct ggml_tensor *scaled = sum->src[1];
    if (!scaled || op_of(scaled) != GGML_OP_SCALE) return false;
    struct ggml_tensor *up = is_gathered(scaled) ? scaled->src[1] : scaled->src[0];
    if (!is_product(up, 'b')) return false;
    *c = (struct chain){.sum = sum, .scaled = scaled, .up = up, .who = owner_of(m, up->src[0])};
    if (is_product(up->src[1], 'a')) c->down = up->src[1]; /* of embeddings: no product */
    if (c->who < 0) fail(m, "it is not known whose tensor one is");
    return c->who >= 0;
}

/* As libllama made it. */
static void put_back(struct chain *c)
{
    if (is_gathered(c->scaled)) {
        set_shape(c->up, c->up->src[0]->ne[1], c->down->ne[1]);
        set_shape(c->scaled, c->up->ne[0], c->up->ne[1]);
        c->up->data = c->scaled->data;
        c->scaled->src[0] = c->up;
        c->scaled->src[1] = NULL;
    }
    struct ggml_tensor *all[] = {c->down, c->up, c->scaled, c->sum};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i]) continue;
        set_mark(all[i]);
        if (all[i]->op != op_of(all[i])) become(all[i], op_of(all[i]), NULL);
        all[i]->op_params[0] = mark_of(all[i]).param;
    }
}

static bool is_floats(const struct ggml_tensor *t)
{
    return t->type == GGML_TYPE_F32 && ggml_is_contiguous(t);
}

static bool are_rows(const struct ggml_tensor *a, const struct ggml_tensor *b)
{
    return is_floats(a) && is_floats(b) && ggml_are_same_shape(a, b);
}

/* Nobody has it. */
static void leave_out(struct le_mix *m, struct chain *c)
{
    if (!are_rows(c->sum, c->sum->src[0])) {
        fail(m, "its sums are not rows of numbers");
        return;
    }
    if (c->down) become(c->down, GGML_OP_NONE, NULL);
    become(c->up, GGML_OP_NONE, NULL);
    become(c->scaled, GGML_OP_NONE, NULL);
    if (c->sum->data == c->sum->src[0]->data)
        become(c->sum, GGML_OP_NONE, NULL);
    else
        become(c->sum, GGML_OP_CUSTOM, m->copy);
}

static bool are_apart(const struct ggml_tensor *a, const struct ggml_tensor *b)
{
    const char *pa = a->data, *pb = b->data;
    return pa + ggml_nbytes(a) <= pb || pb + ggml_nbytes(b) <= pa;
}

/* Can B be multiplied with some rows of `down`? They stay where `down` is, which must not be where
 * `scaled` is. */
static bool may_gather(const struct le_mix *m, const struct chain *c)
{
    return c->down && m->n_having[c->who] < m->n_rows && c->up->op == GGML_OP_MUL_MAT &&
           c->down->ne[1] == m->n_rows && c->down->ne[2] == 1 && c->down->ne[3] == 1 &&
           is_floats(c->down) && are_apart(c->down, c->scaled);
}

/* Some rows have it. */
static void mix(struct le_mix *m, struct chain *c)
{
    struct ggml_tensor *up = c->up, *scaled = c->scaled;
    if (!are_rows(c->sum, c->sum->src[0]) || !are_rows(c->sum, scaled) || ggml_nrows(c->sum) == 0 ||
        ggml_nrows(c->sum) % m->n_rows != 0) {
        fail(m, "its rows are not the batch's");
        return;
    }
    if (scaled->data != up->data) {
        fail(m, "it scales elsewhere");
        return;
    }
    become(c->sum, GGML_OP_CUSTOM, m->sums[c->who]);
    if (!may_gather(m, c)) {
        become(scaled, GGML_OP_NONE, NULL);
        return;
    }
    int32_t n = m->n_having[c->who];
    become(up, GGML_OP_CUSTOM, m->gathers[c->who]);
    set_shape(up, c->down->ne[0], n);
    up->data = c->down->data;
    become(scaled, GGML_OP_MUL_MAT, NULL);
    set_shape(scaled, scaled->ne[0], n);
    scaled->src[0] = up->src[0];
    scaled->src[1] = up;
}

static void look_sum(struct le_mix *m, struct ggml_tensor *sum)
{
    struct chain c;
    if (!find_chain(m, sum, &c)) return;
    m->n_chains++;
    put_back(&c);
    if (!m->n_having[c.who])
        leave_out(m, &c);
    else if (m->n_rows)
        mix(m, &c);
    else {
        float scale = scale_of_file(c.scaled) * m->alike[c.who];
        memcpy(c.scaled->op_params, &scale, sizeof scale);
    }
}

bool le_mix_look(struct ggml_tensor *t, bool ask, void *mix)
{
    struct le_mix *m = mix;
    if (!ask) return true;
    if (m->plain || m->failed) return false;
    if (op_of(t) == GGML_OP_ADD)
        look_sum(m, t);
    else if (is_product(t, 'b'))
        m->n_products++;
    return false;
}

/* ---- a decode ------------------------------------------------------------------------------- */

struct le_mix *le_mix_new(struct engine_ctx *head)
{
    struct le_mix *m = xcalloc(1, sizeof *m);
    m->head = head;
    m->plain = true;
    if (make_templates(m)) return m;
    free(m);
    return NULL;
}

void le_mix_free(struct le_mix *m)
{
    if (!m) return;
    ggml_free(m->templates);
    free(m);
}

bool le_mix_failed(const struct le_mix *m)
{
    return m && m->failed;
}

bool le_mix_forget(struct le_mix *m)
{
    bool changed = m->changed;
    m->changed = false;
    return changed;
}

static int32_t index_of(const struct adapter_set *s, const struct engine_batch_token *t)
{
    for (int32_t i = 0; i < s->n; i++)
        if (t->scale != 0 && s->adapters[i] == t->adapter) return i;
    return -1;
}

static bool all_known(const struct adapter_set *s)
{
    for (int32_t i = 0; i < s->n; i++)
        if (!s->adapters[i]->known) return false;
    return true;
}

void le_mix_begin(struct le_mix *m, const struct engine_batch_token *tokens, int32_t n)
{
    const struct adapter_set *s = &m->head->set;
    bool alike = adapter_rows_alike(tokens, n);
    m->n_rows = alike ? 0 : n;
    m->failed = false;
    m->n_products = m->n_chains = 0;
    memset(m->n_having, 0, sizeof m->n_having);
    memset(m->alike, 0, sizeof m->alike);
    if (!alike) memset(m->scales, 0, sizeof m->scales);
    for (int32_t i = 0; i < (alike ? 1 : n); i++) {
        int32_t who = index_of(s, &tokens[i]);
        if (who < 0) continue;
        m->n_having[who]++;
        if (alike)
            m->alike[who] = tokens[i].scale;
        else
            m->scales[who][i] = tokens[i].scale;
    }
    bool as_it_is = s->n == 0 || (s->n == 1 && m->alike[0] == 1 && all_known(s));
    m->plain = !m->head->mixes || (as_it_is && !m->changed);
    if (!m->plain) m->changed = true;
}

bool le_mix_end(struct le_mix *m)
{
    if (m->plain) return true;
    if (!m->failed && m->n_products != m->n_chains) fail(m, "its computation is another one");
    if (m->failed) return false;
    struct adapter_set *s = &m->head->set;
    for (int32_t i = 0; i < s->n; i++)
        if (((struct le_adapter *)s->adapters[i])->n_buffers) s->adapters[i]->known = true;
    return true;
}

/* ---- where it can be ------------------------------------------------------------------------ */

/* Whose graphs have no room for adapters' nodes that would be counted for them. */
static bool is_tight(const struct llama_model *model)
{
    static const char *const archs[] = {"deepseek4",  "dflash",   "kimi-k3",
                                        "hrm_text",   "nanbeige", "minimax-01",
                                        "minimax-m3", "qwen4exp", "hy_v4"};
    char arch[64];
    if (llama_model_meta_val_str(model, "general.architecture", arch, sizeof arch) <= 0)
        return true;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strcmp(arch, archs[i]) == 0) return true;
    return false;
}

bool le_mix_possible(const struct le_model *m, const struct engine_ctx_params *params)
{
    const struct llama_model *model = m->model;
    if (params->embeddings || m->head.measure_only) return false;
    if (params->n_seq_max > params->n_ubatch || params->n_seq_max > params->n_batch) return false;
    if (llama_model_is_recurrent(model) || llama_model_is_hybrid(model) ||
        llama_model_is_diffusion(model) || llama_model_has_encoder(model) || is_tight(model))
        return false;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        enum ggml_backend_dev_type type = ggml_backend_dev_type(ggml_backend_dev_get(i));
        if (type != GGML_BACKEND_DEVICE_TYPE_CPU) return false;
    }
    return true;
}
