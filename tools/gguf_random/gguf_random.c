/* Writes a GGUF with random weights and a real model's shape, for benchmarks: speed does not depend
 * on what the weights are. The tokenizer and chat template come from another GGUF, padded with made
 * up tokens to the vocabulary of the shape, because the output matrix and sampling cost with it.
 *
 *   gguf-random --shape 0.5b --type q4_k_m --vocab-from models/hearth-tiny.gguf out.gguf
 *   gguf-random --shape 0.5b --lora 16 --seed 2 adapter.gguf
 *
 * Shapes follow published models (layers, width, grouped-query attention, tied embeddings):
 * "0.5b" and "1.5b" Qwen 2.5, "1b" and "3b" Llama 3.2; "tiny" is for tests. Types are mixed as
 * llama.cpp's quantiser mixes them (quant_mix.c). --pooling makes an embedding model of it. --lora
 * writes a low-rank adapter for all matrices of the shape's layers instead of a model. The same
 * arguments write the same bytes. Needs only libggml-base. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>
#include <gguf.h>

#include "quant_mix.h"

struct shape {
    const char *name, *arch;
    uint32_t layers, width, ff, heads, kv_heads, vocab; /* vocab 0 = that of --vocab-from */
    bool biases;                                        /* of queries, keys and values */
    float epsilon, rope_base;
};

static const struct shape shapes[] = {
    {"tiny", "llama", 2, 64, 128, 4, 2, 0, false, 1e-5f, 500000},
    {"0.5b", "qwen2", 24, 896, 4864, 14, 2, 151936, true, 1e-6f, 1000000},
    {"1.5b", "qwen2", 28, 1536, 8960, 12, 2, 151936, true, 1e-6f, 1000000},
    {"1b", "llama", 16, 2048, 8192, 32, 8, 128256, false, 1e-5f, 500000},
    {"3b", "llama", 28, 3072, 8192, 24, 8, 128256, false, 1e-5f, 500000},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* llama.h, enum llama_pooling_type */
static const char *const poolings[] = {"none", "mean", "cls", "last"};

enum { N_POOLINGS = sizeof poolings / sizeof *poolings };

struct args {
    const struct shape *shape;
    const struct quant_mix *mix;
    uint32_t ctx, rank, pooling;
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
    fputs("usage: gguf-random --shape tiny|0.5b|1.5b|1b|3b --type f16|q4_0|q8_0|q4_k_m|q5_k_m\n"
          "                   --vocab-from FILE.gguf [--ctx 8192] [--pooling mean|cls|last]\n"
          "                   [--seed 1] OUT.gguf\n"
          "       gguf-random --shape ... --lora RANK [--seed 1] OUT.gguf\n",
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

static const struct quant_mix *mix_of(const char *name)
{
    const struct quant_mix *mix = quant_mix_of(name);
    if (!mix) die("no such type", name);
    return mix;
}

static uint32_t pooling_of(const char *name)
{
    for (uint32_t i = 1; i < N_POOLINGS; i++)
        if (!strcmp(poolings[i], name)) return i;
    die("no such pooling", name);
    return 0;
}

/* False: there is no such option. */
static bool read_option(struct args *a, const char *name, const char *value)
{
    if (!strcmp(name, "--shape"))
        a->shape = shape_of(value);
    else if (!strcmp(name, "--type"))
        a->mix = mix_of(value);
    else if (!strcmp(name, "--vocab-from"))
        a->vocab_from = value;
    else if (!strcmp(name, "--pooling"))
        a->pooling = pooling_of(value);
    else if (!strcmp(name, "--ctx"))
        a->ctx = (uint32_t)number(value, 1 << 24);
    else if (!strcmp(name, "--lora"))
        a->rank = (uint32_t)number(value, 4096);
    else if (!strcmp(name, "--seed"))
        a->seed = number(value, UINT64_MAX);
    else
        return false;
    return true;
}

static struct args read_args(int argc, char **argv)
{
    struct args a = {.ctx = 8192, .seed = 1};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (i + 1 == argc || !read_option(&a, argv[i], argv[i + 1])) usage();
            i++;
        } else {
            if (a.out) usage();
            a.out = argv[i];
        }
    }
    if (!a.shape || !a.out) usage();
    if (a.rank ? a.mix || a.vocab_from : !a.mix || !a.vocab_from) usage();
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

/* ---- metadata of a model ------------------------------------------------------------------- */

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
        snprintf(made[i], sizeof *made, "pad%zu", i);
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

static const char *key_of(const struct shape *s, const char *rest)
{
    static char key[96];
    snprintf(key, sizeof key, "%s.%s", s->arch, rest);
    return key;
}

static void set_shape(struct gguf_context *g, const struct args *a, uint32_t vocab)
{
    const struct shape *s = a->shape;
    char name[64];
    snprintf(name, sizeof name, "random %s %s", s->name, a->mix->name);
    gguf_set_val_str(g, "general.architecture", s->arch);
    gguf_set_val_str(g, "general.name", name);
    gguf_set_val_u32(g, "general.file_type", a->mix->file_type);
    gguf_set_val_u32(g, "general.quantization_version", 2);
    gguf_set_val_u32(g, key_of(s, "context_length"), a->ctx);
    gguf_set_val_u32(g, key_of(s, "embedding_length"), s->width);
    gguf_set_val_u32(g, key_of(s, "block_count"), s->layers);
    gguf_set_val_u32(g, key_of(s, "feed_forward_length"), s->ff);
    gguf_set_val_u32(g, key_of(s, "attention.head_count"), s->heads);
    gguf_set_val_u32(g, key_of(s, "attention.head_count_kv"), s->kv_heads);
    gguf_set_val_f32(g, key_of(s, "attention.layer_norm_rms_epsilon"), s->epsilon);
    gguf_set_val_f32(g, key_of(s, "rope.freq_base"), s->rope_base);
    gguf_set_val_u32(g, key_of(s, "rope.dimension_count"), s->width / s->heads);
    gguf_set_val_u32(g, key_of(s, "vocab_size"), vocab);
    if (a->pooling) gguf_set_val_u32(g, key_of(s, "pooling_type"), a->pooling);
}

/* ---- tensors ------------------------------------------------------------------------------ */

enum { N_MATRICES = 7 };

struct matrix {
    const char *name;
    int64_t columns, rows;
};

static void layer_matrices(const struct shape *s, struct matrix out[N_MATRICES])
{
    int64_t d = s->width, kv = d / s->heads * s->kv_heads;
    const struct matrix all[N_MATRICES] = {
        {"attn_q", d, d},       {"attn_k", d, kv},    {"attn_v", d, kv},      {"attn_output", d, d},
        {"ffn_gate", d, s->ff}, {"ffn_up", d, s->ff}, {"ffn_down", s->ff, d},
    };
    memcpy(out, all, sizeof all);
}

/* rows 0: a vector. */
static void add(struct ggml_context *ctx, struct gguf_context *g, const char *name,
                enum ggml_type type, int64_t columns, int64_t rows)
{
    struct ggml_tensor *t = rows ? ggml_new_tensor_2d(ctx, type, columns, rows)
                                 : ggml_new_tensor_1d(ctx, type, columns);
    ggml_set_name(t, name);
    gguf_add_tensor(g, t);
}

static void add_layer_vector(struct ggml_context *ctx, struct gguf_context *g, uint32_t layer,
                             const char *name, int64_t n)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%" PRIu32 ".%s", layer, name);
    add(ctx, g, full, GGML_TYPE_F32, n, 0);
}

static void add_model(struct ggml_context *ctx, struct gguf_context *g, const struct args *a,
                      uint32_t vocab)
{
    const struct shape *s = a->shape;
    struct matrix parts[N_MATRICES];
    layer_matrices(s, parts);
    add(ctx, g, "token_embd.weight", quant_mix_type(a->mix, "token_embd", 0, s->layers, s->width),
        s->width, vocab);
    add(ctx, g, "output_norm.weight", GGML_TYPE_F32, s->width, 0);
    for (uint32_t l = 0; l < s->layers; l++) {
        add_layer_vector(ctx, g, l, "attn_norm.weight", s->width);
        add_layer_vector(ctx, g, l, "ffn_norm.weight", s->width);
        for (int i = 0; i < N_MATRICES; i++) {
            const struct matrix *p = &parts[i];
            char name[64];
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight", l, p->name);
            add(ctx, g, name, quant_mix_type(a->mix, p->name, l, s->layers, p->columns), p->columns,
                p->rows);
        }
        if (!s->biases) continue;
        add_layer_vector(ctx, g, l, "attn_q.bias", parts[0].rows);
        add_layer_vector(ctx, g, l, "attn_k.bias", parts[1].rows);
        add_layer_vector(ctx, g, l, "attn_v.bias", parts[2].rows);
    }
}

static void set_adapter(struct gguf_context *g, const struct args *a)
{
    char name[64];
    snprintf(name, sizeof name, "random %s rank %" PRIu32, a->shape->name, a->rank);
    gguf_set_val_str(g, "general.type", "adapter");
    gguf_set_val_str(g, "general.architecture", a->shape->arch);
    gguf_set_val_str(g, "general.name", name);
    gguf_set_val_str(g, "adapter.type", "lora");
    gguf_set_val_f32(g, "adapter.lora.alpha", (float)(2 * a->rank));
}

static void add_adapter(struct ggml_context *ctx, struct gguf_context *g, const struct args *a)
{
    struct matrix parts[N_MATRICES];
    layer_matrices(a->shape, parts);
    for (uint32_t l = 0; l < a->shape->layers; l++) {
        for (int i = 0; i < N_MATRICES; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight.lora_a", l, parts[i].name);
            add(ctx, g, name, GGML_TYPE_F32, parts[i].columns, a->rank);
            name[strlen(name) - 1] = 'b';
            add(ctx, g, name, GGML_TYPE_F32, a->rank, parts[i].rows);
        }
    }
}

/* ---- data --------------------------------------------------------------------------------- */

static void put(FILE *f, const void *data, size_t len, const char *path)
{
    if (len && fwrite(data, 1, len, f) != len) die(strerror(errno), path);
}

enum { PATTERN = 1 << 20 }; /* weights that are drawn; a tensor is made of their blocks */

/* Any block of the pattern may be next. One after the other they would make the output matrix
 * periodic, and tokens whose rows are equal have equal logits. */
static void put_blocks(FILE *f, const unsigned char *pattern, size_t block, size_t n_blocks,
                       size_t size, const char *path)
{
    unsigned char out[1 << 16];
    size_t filled = 0;
    for (size_t at = 0; at < size; at += block) {
        if (filled + block > sizeof out) {
            put(f, out, filled, path);
            filled = 0;
        }
        memcpy(out + filled, pattern + next() % n_blocks * block, block);
        filled += block;
    }
    put(f, out, filled, path);
}

static void put_weights(FILE *f, enum ggml_type type, size_t size, float scale, const char *path)
{
    float *values = malloc(PATTERN * sizeof *values);
    size_t bytes = ggml_row_size(type, PATTERN);
    unsigned char *pattern = malloc(bytes);
    if (!values || !pattern) die("out of memory", "");
    for (size_t i = 0; i < PATTERN; i++) values[i] = noise() * scale;
    if (type == GGML_TYPE_F32)
        memcpy(pattern, values, bytes);
    else
        ggml_quantize_chunk(type, values, pattern, 0, 1, PATTERN, NULL);
    size_t block = ggml_type_size(type);
    put_blocks(f, pattern, block, bytes / block, size, path);
    free(values);
    free(pattern);
}

static void put_same(FILE *f, float value, size_t size, const char *path)
{
    for (size_t at = 0; at < size; at += sizeof value) put(f, &value, sizeof value, path);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static void write_data(FILE *f, const struct gguf_context *g, const struct args *a)
{
    static const unsigned char zeros[64];
    size_t alignment = gguf_get_alignment(g);
    float scale = 1 / sqrtf((float)a->shape->width); /* keeps activations near 1 */
    for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
        const char *name = gguf_get_tensor_name(g, i);
        size_t size = gguf_get_tensor_size(g, i);
        if (ends_with(name, "norm.weight"))
            put_same(f, 1, size, a->out);
        else if (ends_with(name, ".bias"))
            put_same(f, 0.01f, size, a->out);
        else
            put_weights(f, gguf_get_tensor_type(g, i), size, scale, a->out);
        put(f, zeros, (alignment - size % alignment) % alignment, a->out);
    }
}

int main(int argc, char **argv)
{
    struct args a = read_args(argc, argv);
    struct gguf_context *g = gguf_init_empty();
    struct ggml_init_params params = {.mem_size = ggml_tensor_overhead() * (16 * 64 + 4),
                                      .no_alloc = true};
    struct ggml_context *ctx = ggml_init(params);
    if (!g || !ctx) die("out of memory", "");
    state = a.seed;
    if (a.rank) {
        set_adapter(g, &a);
        add_adapter(ctx, g, &a);
    } else {
        uint32_t vocab = copy_tokenizer(g, &a);
        set_shape(g, &a, vocab);
        add_model(ctx, g, &a, vocab);
    }
    FILE *f = fopen(a.out, "wb");
    if (!f) die(strerror(errno), a.out);
    if (!gguf_write_to_file_ptr(g, f, true)) die("writing failed", a.out);
    write_data(f, g, &a);
    if (fclose(f)) die(strerror(errno), a.out);
    ggml_free(ctx);
    gguf_free(g);
    return 0;
}
