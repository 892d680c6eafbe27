/* Writes a GGUF with random weights and a real model's shape, for benchmarks: speed does not depend
 * on what the weights are. The tokenizer and chat template come from another GGUF, padded with made
 * up tokens to the vocabulary of the shape, because the output matrix and sampling cost with it.
 *
 *   gguf-random --shape 1b --type q8_0 --vocab-from models/hearth-tiny.gguf out.gguf
 *
 * Shapes follow published models (layers, width, grouped-query attention, tied embeddings):
 * "0.5b" Qwen 2.5 0.5B, "1b" and "3b" Llama 3.2; "tiny" is for tests. The architecture is "llama".
 * The same arguments write the same bytes. Needs only libggml-base. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>
#include <gguf.h>

struct shape {
    const char *name;
    uint32_t layers, width, ff, heads, kv_heads, vocab; /* vocab 0 = that of --vocab-from */
};

static const struct shape shapes[] = {
    {"tiny", 2, 64, 128, 4, 2, 0},
    {"0.5b", 24, 896, 4864, 14, 2, 151936},
    {"1b", 16, 2048, 8192, 32, 8, 128256},
    {"3b", 28, 3072, 8192, 24, 8, 128256},
};

static const struct {
    const char *name;
    enum ggml_type type;
    uint32_t file_type; /* llama.h, enum llama_ftype */
} types[] = {{"f16", GGML_TYPE_F16, 1}, {"q4_0", GGML_TYPE_Q4_0, 2}, {"q8_0", GGML_TYPE_Q8_0, 7}};

enum { N_SHAPES = sizeof shapes / sizeof *shapes, N_TYPES = sizeof types / sizeof *types };

struct args {
    const struct shape *shape;
    size_t type;
    uint32_t ctx;
    uint64_t seed;
    const char *vocab_from, *out;
};

static void die(const char *what, const char *which)
{
    fprintf(stderr, "gguf-random: %s%s%s\n", what, *which ? ": " : "", which);
    exit(1);
}

static void usage(void)
{
    fputs("usage: gguf-random --shape tiny|0.5b|1b|3b --type f16|q4_0|q8_0 --vocab-from FILE.gguf\n"
          "                   [--ctx 8192] [--seed 1] OUT.gguf\n",
          stderr);
    exit(2);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static uint64_t number(const char *s, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || end == s || *end || v == 0 || v > max) die("not a possible number", s);
    return v;
}

static const struct shape *shape_of(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (!strcmp(shapes[i].name, name)) return &shapes[i];
    die("no such shape", name);
    return NULL;
}

static size_t type_of(const char *name)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (!strcmp(types[i].name, name)) return i;
    die("no such type", name);
    return 0;
}

static struct args read_args(int argc, char **argv)
{
    struct args a = {.type = N_TYPES, .ctx = 8192, .seed = 1};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (a.out) usage();
            a.out = argv[i];
            continue;
        }
        if (i + 1 == argc) usage();
        const char *name = argv[i++], *value = argv[i];
        if (!strcmp(name, "--shape"))
            a.shape = shape_of(value);
        else if (!strcmp(name, "--type"))
            a.type = type_of(value);
        else if (!strcmp(name, "--vocab-from"))
            a.vocab_from = value;
        else if (!strcmp(name, "--ctx"))
            a.ctx = (uint32_t)number(value, 1 << 24);
        else if (!strcmp(name, "--seed"))
            a.seed = number(value, UINT64_MAX);
        else
            usage();
    }
    if (!a.shape || a.type == N_TYPES || !a.vocab_from || !a.out) usage();
    return a;
}

/* ---- random numbers ----------------------------------------------------------------------- */

static uint64_t state;

/* splitmix64 (Vigna, public domain) */
static uint64_t next(void)
{
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Mean 0, variance 1, near enough to normal: the sum of three uniform numbers. */
static float noise(void)
{
    float sum = 0;
    for (int i = 0; i < 3; i++) sum += (float)(next() >> 40) / (float)(1 << 24);
    return (sum - 1.5f) * 2;
}

/* ---- metadata ----------------------------------------------------------------------------- */

/* Pads an array of the vocabulary to n entries. */
static void pad_tokens(struct gguf_context *g, uint32_t n)
{
    int64_t id = gguf_find_key(g, "tokenizer.ggml.tokens");
    size_t have = gguf_get_arr_n(g, id);
    if (have > n) die("the vocabulary is larger than the shape's", "--vocab-from");
    const char **texts = calloc(n, sizeof *texts);
    char(*made)[24] = calloc(n, sizeof *made);
    if (!texts || !made) die("out of memory", "");
    for (size_t i = 0; i < n; i++) {
        snprintf(made[i], sizeof *made, "pad%zu ", i);
        made[i][strlen(made[i]) - 1] = '\0';
        texts[i] = i < have ? strdup(gguf_get_arr_str(g, id, i)) : made[i];
    }
    gguf_set_arr_str(g, "tokenizer.ggml.tokens", texts, n);
    for (size_t i = 0; i < have; i++) free((char *)(uintptr_t)texts[i]);
    free(texts);
    free(made);
}

/* scores (f32) or token_type (i32): four bytes an entry, padded with `fill`. */
static void pad_numbers(struct gguf_context *g, const char *key, const void *fill, uint32_t n)
{
    int64_t id = gguf_find_key(g, key);
    if (id < 0) return;
    size_t have = gguf_get_arr_n(g, id);
    enum gguf_type type = gguf_get_arr_type(g, id);
    unsigned char *data = calloc(n, 4);
    if (!data) die("out of memory", "");
    memcpy(data, gguf_get_arr_data(g, id), have * 4);
    for (size_t i = have; i < n; i++) memcpy(data + 4 * i, fill, 4);
    gguf_set_arr_data(g, key, type, data, n);
    free(data);
}

/* Everything of the other file that is about its tokenizer. Returns the size of the vocabulary. */
static uint32_t copy_tokenizer(struct gguf_context *g, const struct args *a)
{
    struct gguf_init_params params = {.no_alloc = true};
    struct gguf_context *src = gguf_init_from_file(a->vocab_from, params);
    if (!src) die("not a readable GGUF", a->vocab_from);
    gguf_set_kv(g, src);
    for (int64_t i = gguf_get_n_kv(src); i-- > 0;) {
        const char *key = gguf_get_key(src, i);
        if (strncmp(key, "tokenizer.", 10) != 0) gguf_remove_key(g, key);
    }
    gguf_free(src);
    int64_t id = gguf_find_key(g, "tokenizer.ggml.tokens");
    if (id < 0) die("the file has no vocabulary", a->vocab_from);
    uint32_t n = a->shape->vocab ? a->shape->vocab : (uint32_t)gguf_get_arr_n(g, id);
    float score = -1000;
    int32_t normal = 1;
    pad_tokens(g, n);
    pad_numbers(g, "tokenizer.ggml.scores", &score, n);
    pad_numbers(g, "tokenizer.ggml.token_type", &normal, n);
    return n;
}

static void set_shape(struct gguf_context *g, const struct args *a, uint32_t vocab)
{
    const struct shape *s = a->shape;
    char name[64];
    snprintf(name, sizeof name, "random %s %s", s->name, types[a->type].name);
    gguf_set_val_str(g, "general.architecture", "llama");
    gguf_set_val_str(g, "general.name", name);
    gguf_set_val_u32(g, "general.file_type", types[a->type].file_type);
    gguf_set_val_u32(g, "llama.context_length", a->ctx);
    gguf_set_val_u32(g, "llama.embedding_length", s->width);
    gguf_set_val_u32(g, "llama.block_count", s->layers);
    gguf_set_val_u32(g, "llama.feed_forward_length", s->ff);
    gguf_set_val_u32(g, "llama.attention.head_count", s->heads);
    gguf_set_val_u32(g, "llama.attention.head_count_kv", s->kv_heads);
    gguf_set_val_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_set_val_f32(g, "llama.rope.freq_base", 500000);
    gguf_set_val_u32(g, "llama.rope.dimension_count", s->width / s->heads);
    gguf_set_val_u32(g, "llama.vocab_size", vocab);
}

/* ---- tensors ------------------------------------------------------------------------------ */

static void add(struct ggml_context *ctx, struct gguf_context *g, const char *name,
                enum ggml_type type, int64_t columns, int64_t rows)
{
    struct ggml_tensor *t = rows ? ggml_new_tensor_2d(ctx, type, columns, rows)
                                 : ggml_new_tensor_1d(ctx, GGML_TYPE_F32, columns);
    ggml_set_name(t, name);
    gguf_add_tensor(g, t);
}

static void add_tensors(struct ggml_context *ctx, struct gguf_context *g, const struct args *a,
                        uint32_t vocab)
{
    const struct shape *s = a->shape;
    enum ggml_type type = types[a->type].type;
    int64_t d = s->width, kv = d / s->heads * s->kv_heads;
    const struct {
        const char *name;
        int64_t columns, rows;
    } parts[] = {
        {"attn_norm", d, 0},    {"attn_q", d, d},      {"attn_k", d, kv},
        {"attn_v", d, kv},      {"attn_output", d, d}, {"ffn_norm", d, 0},
        {"ffn_gate", d, s->ff}, {"ffn_up", d, s->ff},  {"ffn_down", s->ff, d},
    };
    char name[64];
    add(ctx, g, "token_embd.weight", type, d, vocab);
    add(ctx, g, "output_norm.weight", type, d, 0);
    for (uint32_t l = 0; l < s->layers; l++) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight", l, parts[i].name);
            add(ctx, g, name, type, parts[i].columns, parts[i].rows);
        }
    }
}

/* ---- data --------------------------------------------------------------------------------- */

static void put(FILE *f, const void *data, size_t len, const char *path)
{
    if (len && fwrite(data, 1, len, f) != len) die(strerror(errno), path);
}

enum { PATTERN = 1 << 20 }; /* weights that are drawn; a tensor repeats them */

static void put_weights(FILE *f, enum ggml_type type, size_t size, float scale, const char *path)
{
    float *values = malloc(PATTERN * sizeof *values);
    size_t bytes = ggml_row_size(type, PATTERN);
    unsigned char *data = malloc(bytes);
    if (!values || !data) die("out of memory", "");
    for (size_t i = 0; i < PATTERN; i++) values[i] = noise() * scale;
    ggml_quantize_chunk(type, values, data, 0, 1, PATTERN, NULL);
    for (size_t at = 0; at < size; at += bytes)
        put(f, data, size - at < bytes ? size - at : bytes, path);
    free(values);
    free(data);
}

static void put_ones(FILE *f, size_t size, const char *path)
{
    const float one = 1;
    for (size_t at = 0; at < size; at += sizeof one) put(f, &one, sizeof one, path);
}

static void write_data(FILE *f, const struct gguf_context *g, const struct args *a)
{
    static const unsigned char zeros[64];
    size_t alignment = gguf_get_alignment(g);
    float scale = 1 / sqrtf((float)a->shape->width); /* keeps activations near 1 */
    for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
        enum ggml_type type = gguf_get_tensor_type(g, i);
        size_t size = gguf_get_tensor_size(g, i);
        if (type == GGML_TYPE_F32)
            put_ones(f, size, a->out);
        else
            put_weights(f, type, size, scale, a->out);
        put(f, zeros, (alignment - size % alignment) % alignment, a->out);
    }
}

int main(int argc, char **argv)
{
    struct args a = read_args(argc, argv);
    struct gguf_context *g = gguf_init_empty();
    struct ggml_init_params params = {.mem_size = ggml_tensor_overhead() * (12 * 64 + 4),
                                      .no_alloc = true};
    struct ggml_context *ctx = ggml_init(params);
    if (!g || !ctx) die("out of memory", "");
    state = a.seed;
    uint32_t vocab = copy_tokenizer(g, &a);
    set_shape(g, &a, vocab);
    add_tensors(ctx, g, &a, vocab);
    FILE *f = fopen(a.out, "wb");
    if (!f) die(strerror(errno), a.out);
    if (!gguf_write_to_file_ptr(g, f, true)) die("writing failed", a.out);
    write_data(f, g, &a);
    if (fclose(f)) die(strerror(errno), a.out);
    ggml_free(ctx);
    gguf_free(g);
    return 0;
}
