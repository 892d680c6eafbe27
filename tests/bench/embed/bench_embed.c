/* What the engine alone makes of the chunks of a file that a hub has indexed: libllama in a plain
 * loop, in whichever batch shape is the quickest. Beside it stands what the hub took (index.mjs).
 *
 * usage: bench_embed MODEL.gguf DATABASE FILE-ID THREADS [TOKENS]
 *
 * TOKENS in a batch, at least one chunk; without it the quickest of some, tried on the first
 * chunks. Says in one line of JSON: chunks, tokens, seconds, the batch, and how like the hub's
 * vectors its own are (the smallest cosine), so that both have done the same work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml-backend.h>
#include <llama.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/store_chunk.h"
#include "store/store_vector.h"

enum { CHUNKS_MAX = 100000, PAGE = 256, SEQS = 64, TRIED_TOKENS = 1500, WARM = 2 };

static const int32_t shapes[] = {1, 256, 512, 1024}; /* 1: a chunk at a time */

struct chunk {
    llama_token *tokens;
    int32_t n;
};

static struct error why;
static struct chunk *chunks;
static size_t n_chunks;
static int32_t longest, n_threads, dims;

static void must(bool fine, const char *what)
{
    if (fine) return;
    fprintf(stderr, "bench_embed: %s%s%s\n", what, *why.msg ? ": " : "", why.msg);
    exit(1);
}

/* ---- chunks -------------------------------------------------------------------------------- */

/* As rag/index.c gives it to the model. */
static void take_chunk(const struct llama_vocab *vocab, const struct store_chunk *c)
{
    size_t size = strlen(c->heading) + strlen(c->text) + 2;
    char *text = xmalloc(size);
    must(str_printf(text, size, "%s%s%s", c->heading, *c->heading ? "\n" : "", c->text), "a chunk");
    int32_t len = (int32_t)strlen(text), most = len + 8;
    struct chunk *to = &chunks[n_chunks++];
    to->tokens = xcalloc((size_t)most, sizeof *to->tokens);
    to->n = llama_tokenize(vocab, text, len, to->tokens, most, true, false);
    must(to->n > 0, "a chunk has no tokens");
    if (to->n > longest) longest = to->n;
    free(text);
}

static void read_chunks(struct store *s, const char *file_id, const struct llama_vocab *vocab)
{
    size_t n = 1;
    chunks = xcalloc(CHUNKS_MAX, sizeof *chunks);
    while (n) {
        struct arena *a = arena_new(64 << 20);
        struct store_chunk *page;
        must(!store_chunk_page(s, file_id, (int64_t)n_chunks, PAGE, a, &page, &n, &why), "chunks");
        must(n_chunks + n <= CHUNKS_MAX, "too many chunks");
        for (size_t i = 0; i < n; i++) take_chunk(vocab, &page[i]);
        arena_free(a);
    }
    must(n_chunks, "the file has no chunks");
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* The library lays out its means for as many tokens in each sequence. */
static int32_t batch_size(int32_t tokens)
{
    int32_t n = tokens > longest ? tokens : longest;
    return (n + SEQS - 1) / SEQS * SEQS;
}

static struct llama_context *context(struct llama_model *model, int32_t tokens)
{
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = p.n_ubatch = (uint32_t)batch_size(tokens);
    p.n_seq_max = SEQS;
    p.n_threads = p.n_threads_batch = n_threads;
    p.kv_unified = true;
    p.embeddings = true;
    p.no_perf = true;
    struct llama_context *ctx = llama_init_from_model(model, p);
    must(ctx, "no context");
    must(llama_pooling_type(ctx) > LLAMA_POOLING_TYPE_NONE, "the model is no embedding model");
    return ctx;
}

/* Chunks from..to, in one batch; their vectors, of length 1, into `out`. */
static void embed_batch(struct llama_context *ctx, struct llama_batch *b, size_t from, size_t to,
                        float *out)
{
    b->n_tokens = 0;
    for (size_t i = from; i < to; i++)
        for (int32_t pos = 0; pos < chunks[i].n; pos++, b->n_tokens++) {
            b->token[b->n_tokens] = chunks[i].tokens[pos];
            b->pos[b->n_tokens] = pos;
            b->n_seq_id[b->n_tokens] = 1;
            b->seq_id[b->n_tokens][0] = (llama_seq_id)(i - from);
            b->logits[b->n_tokens] = 1;
        }
    llama_memory_t memory = llama_get_memory(ctx);
    if (memory) llama_memory_clear(memory, false);
    must(llama_decode(ctx, *b) == 0, "a batch failed");
    for (size_t i = from; i < to; i++) {
        const float *v = llama_get_embeddings_seq(ctx, (llama_seq_id)(i - from));
        must(v && vec_normalise(v, (size_t)dims, out + i * (size_t)dims), "a chunk has no vector");
    }
}

/* The first `n` chunks; seconds. */
static double embed(struct llama_context *ctx, int32_t tokens, size_t n, float *out)
{
    struct llama_batch b = llama_batch_init(batch_size(tokens), 0, 1);
    int64_t began = clock_mono_ns();
    for (size_t from = 0, to; from < n; from = to) {
        int32_t sum = chunks[from].n;
        for (to = from + 1; to < n && to - from < SEQS && sum + chunks[to].n <= tokens; to++)
            sum += chunks[to].n;
        embed_batch(ctx, &b, from, to, out);
    }
    double s = (double)(clock_mono_ns() - began) / 1e9;
    llama_batch_free(b);
    return s;
}

/* Enough chunks for each shape to have at least one full batch. */
static int32_t quickest_shape(struct llama_model *model, float *out)
{
    int32_t best = 0, sum = 0;
    double shortest = 0;
    size_t n = 0;
    while (n < n_chunks && sum < TRIED_TOKENS) sum += chunks[n++].n;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct llama_context *ctx = context(model, shapes[i]);
        (void)embed(ctx, shapes[i], n < WARM ? n : WARM, out);
        double s = embed(ctx, shapes[i], n, out);
        llama_free(ctx);
        fprintf(stderr, "  batches of %d tokens: %.1f tokens/s\n", (int)shapes[i], (double)sum / s);
        if (best && s >= shortest) continue;
        best = shapes[i];
        shortest = s;
    }
    return best;
}

/* ---- the hub's vectors --------------------------------------------------------------------- */

struct comparing {
    const float *own;
    int64_t skip, at;
    float least;
};

static enum err compare_row(void *ctx, const struct store_vector_row *row, struct error *error)
{
    struct comparing *c = ctx;
    (void)error;
    if (c->skip-- > 0) return OK;
    float dot = vec_dot(row->floats, c->own + c->at++ * dims, (size_t)dims);
    if (dot < c->least) c->least = dot;
    return OK;
}

/* The file is the one that was indexed last, and its vectors are in the order of its chunks. */
static float least_alike(struct store *s, const float *own)
{
    struct arena *a = arena_new(1 << 20);
    struct store_vector_set *sets;
    size_t n;
    int64_t *numbers, last;
    must(!store_vector_set_list(s, a, &sets, &n, &why), "sets of vectors");
    must(n == 1 && sets[0].dims == dims, "the hub's vectors are not this model's");
    must(!store_vector_numbers(s, sets[0].n, &numbers, &n, &why), "vectors");
    must(n >= n_chunks, "not all chunks have a vector");
    struct comparing c = {.own = own, .skip = (int64_t)(n - n_chunks), .least = 1};
    must(!store_vector_each(s, &sets[0], 0, (int32_t)n, compare_row, &c, &last, &why), "vectors");
    free(numbers);
    arena_free(a);
    return c.least;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void quiet(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static struct llama_model *load(const char *path)
{
    char exe[FS_PATH_MAX], lib[FS_PATH_MAX];
    must(!fs_exe_dir(exe, sizeof exe, &why), "the folder of the library");
    must(!fs_join(lib, sizeof lib, exe, "../lib/hearth", &why), "the folder of the library");
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(lib);
    struct llama_model_params p = llama_model_default_params();
    struct llama_model *model = llama_model_load_from_file(path, p);
    must(model, path);
    dims = llama_model_n_embd_out(model);
    return model;
}

int main(int argc, char **argv)
{
    int64_t threads = 0, tokens = 0, total = 0;
    if (argc < 5 || argc > 6 || !str_to_i64(argv[4], 1, 1024, &threads) ||
        (argc > 5 && !str_to_i64(argv[5], 1, 65536, &tokens))) {
        fputs("usage: bench_embed MODEL.gguf DATABASE FILE-ID THREADS [TOKENS]\n", stderr);
        return 2;
    }
    n_threads = (int32_t)threads;
    struct store *s;
    struct store_params params = {.url = argv[2]};
    must(!store_open(&params, &s, &why), "the hub's database");
    struct llama_model *model = load(argv[1]);
    read_chunks(s, argv[3], llama_model_get_vocab(model));
    float *out = xcalloc(n_chunks * (size_t)dims, sizeof *out);
    int32_t shape = tokens ? (int32_t)tokens : quickest_shape(model, out);
    struct llama_context *ctx = context(model, shape);
    (void)embed(ctx, shape, n_chunks < WARM ? n_chunks : WARM, out);
    double seconds = embed(ctx, shape, n_chunks, out);
    for (size_t i = 0; i < n_chunks; i++) total += chunks[i].n;
    printf(
        "{\"chunks\": %zu, \"tokens\": %lld, \"seconds\": %.3f, \"batch\": %d, \"alike\": %.5f}\n",
        n_chunks, (long long)total, seconds, (int)shape, (double)least_alike(s, out));
    for (size_t i = 0; i < n_chunks; i++) free(chunks[i].tokens);
    free(chunks);
    free(out);
    llama_free(ctx);
    llama_model_free(model);
    store_close(s);
    return 0;
}
