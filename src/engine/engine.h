/* Engine: models in memory behind one opaque face. Two implementations fill engine_int.h's table:
 * engine_llama.c (with llama_*.c and shim*.cpp, which alone see libllama) and engine_fake.c
 * (deterministic, no model file, for tests). Everything above calls the functions here.
 *
 * Who owns what, which thread may call:
 *   engine          once per process; engine_open/close by the composition root. Thread-safe.
 *   engine_model    weights, vocabulary, chat template. Immutable after load; every function that
 *                   takes a const model may be called from any thread. Free it after its contexts,
 *                   prompts and parsers.
 *   engine_adapter  LoRA weights on top of one model; on a context only while that is told so.
 *                   Loading may run on any thread beside decodes; free it after its last use and
 *                   before its model.
 *   engine_ctx      KV cache and compute buffers of one model. ONE owner thread (the scheduler's);
 *                   nothing about it is locked.
 *   engine_sampler  sampling state of one sequence: grammar, penalties, random state. Owner thread
 *                   of the ctx it samples from.
 *   engine_prompt   a rendered chat: tokens, grammar, how to parse the answer. Built on any thread,
 *                   then handed over; immutable.
 *   engine_parser   turns generated text into text, reasoning and tool calls. One owner at a time.
 *
 * The wrappers in engine.c also hold the fault points "load" and "decode" (base/fault.h).
 *
 * Token ids, positions and counts are int32_t as in libllama. No function here ever throws or
 * aborts on bad input: C++ exceptions end in the shim as ERR_SCHEMA, ERR_UNSUPPORTED or
 * ERR_ENGINE. */
#ifndef HEARTH_ENGINE_ENGINE_H
#define HEARTH_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "types/gen.h"

struct engine;
struct engine_model;
struct engine_adapter;
struct engine_ctx;
struct engine_sampler;
struct engine_prompt;
struct engine_parser;

/* ---- engine ------------------------------------------------------------------------------ */

/* lib_dir: the folder with the CPU variants and device back ends (NULL = the one beside the
 * binary). Cheap: back ends are loaded at the first engine_model_load or engine_describe. */
HT_MUST_CHECK enum err engine_open_llama(const char *lib_dir, struct engine **out,
                                         struct error *error);
/* Knows every path that starts with "fake:"; see engine_fake.c for what its models say. */
HT_MUST_CHECK enum err engine_open_fake(struct engine **out, struct error *error);
void engine_close(struct engine *e);

struct engine_device {
    char name[64], description[128];
    bool gpu;
    uint64_t memory_total, memory_free;
};

struct engine_description {
    char library[64];                 /* "llama.cpp v0.5.0" */
    char cpu_features[512];           /* "AVX2 AVX512 ..." */
    char cpu_backend[128];            /* which variant was picked, e.g. "libggml-cpu-zen4.so" */
    struct engine_device devices[16]; /* ENGINE_DEVICES_MAX */
    size_t n_devices;
};
HT_MUST_CHECK enum err engine_describe(struct engine *e, struct engine_description *out,
                                       struct error *error);
/* Version only, loads nothing. */
const char *engine_library_version(const struct engine *e);

/* ---- models ------------------------------------------------------------------------------ */

struct engine_model_params {
    const char *path;
    int32_t n_gpu_layers; /* -1 = all that fit */
    bool use_mmap;
    /* 0..1; a false return aborts with ERR_CANCELLED. Called on the loading thread. May be NULL. */
    bool (*on_progress)(float fraction, void *ctx);
    void *progress_ctx;
    /* Reads the header only and takes no memory: such a model and its contexts can be measured
     * (engine_model_facts, engine_ctx_memory) and freed, nothing else. */
    bool measure_only;
};

/* Blocking, may take minutes; call it on a thread that may wait. The file should have passed
 * gguf_inspect (models/gguf.h) first. */
HT_MUST_CHECK enum err engine_model_load(struct engine *e, const struct engine_model_params *params,
                                         struct engine_model **out, struct error *error);
void engine_model_free(struct engine_model *m); /* NULL is fine */

struct engine_model_facts {
    int32_t n_vocab, n_ctx_train, n_embd, n_layer;
    bool has_chat_template, is_embedding, is_rerank;
    bool supports_tools, supports_thinking;
    int32_t n_embd_out; /* width of an embedding */
    uint64_t weight_bytes, n_params;
    bool adds_bos; /* in front of every prompt */
    /* Tokens of its vocabulary, -1 = it has none: the beginning and the end of a text, and those
     * that a text with a gap is put together of (prefix, suffix, middle; repository, file). */
    int32_t bos, eos, fim_prefix, fim_suffix, fim_middle, fim_repo, fim_file;
    const char *chat_template; /* its source, the model's own; NULL = none */
};
void engine_model_facts(const struct engine_model *m, struct engine_model_facts *out);

/* ---- adapters ----------------------------------------------------------------------------- */

/* Reads LoRA weights for m, whose own weights stay as they are. Blocking; any thread, also while
 * another decodes with m (a decode that follows a change of adapters may wait for it). The file
 * should have passed adapter_check (models/adapters.h) first, which knows every reason to refuse
 * one. ERR_MODEL_FILE: it does not fit the model or can't be read; ERR_UNSUPPORTED: an adapter that
 * is only active behind certain words (aLoRA). */
HT_MUST_CHECK enum err engine_adapter_load(struct engine_model *m, const char *path,
                                           struct engine_adapter **out, struct error *error);
/* No context may have it any more. Owner thread of the model's contexts. NULL is fine. */
void engine_adapter_free(struct engine_adapter *a);

struct engine_adapter_facts {
    float alpha;          /* the file's; 0 = its scale is 1 */
    uint64_t bytes;       /* in memory */
    uint64_t fingerprint; /* of what is in the file; never 0 */
};
void engine_adapter_facts(const struct engine_adapter *a, struct engine_adapter_facts *out);

/* ---- text and tokens ---------------------------------------------------------------------- */

/* add_special: BOS/EOS/CLS as the model wants them. parse_special: "<|im_end|>" in the text
 * becomes the control token (true only for text that the hub itself rendered). On OK *out is a
 * malloc'ed array of *n tokens (free it); at most max_tokens, else ERR_CONTEXT with both numbers.
 */
HT_MUST_CHECK enum err engine_tokenize(const struct engine_model *m, const char *text, size_t len,
                                       bool add_special, bool parse_special, size_t max_tokens,
                                       int32_t **out, size_t *n, struct error *error);
/* What a rerank model is given to score a document: its own rerank template, else query and
 * document with the separators it was trained with. As engine_tokenize otherwise. Neither text can
 * bring control tokens in. */
HT_MUST_CHECK enum err engine_tokenize_pair(const struct engine_model *m, const char *query,
                                            const char *document, size_t document_len,
                                            size_t max_tokens, int32_t **out, size_t *n,
                                            struct error *error);
/* Appends the token's bytes, which may be a part of a character. Control tokens give nothing
 * unless `special`. */
enum err engine_token_text(const struct engine_model *m, int32_t token, bool special,
                           struct buf *out);
bool engine_token_is_end(const struct engine_model *m, int32_t token);

/* ---- chat -------------------------------------------------------------------------------- */

/* Renders req->messages with the model's template, tools, response format and template_kwargs, and
 * tokenises. Also for GEN_RAW: then the prompt is req->prompt or prompt_tokens. Compiles the schema
 * or grammar, so their errors come from here: ERR_SCHEMA with param = pointer into the request.
 * TOOL_REQUIRED and TOOL_NAMED constrain the output to a call (of that tool) from the first token.
 * max_tokens as in engine_tokenize. ERR_UNSUPPORTED: GEN_CHAT on a model without chat template
 * that isn't a chat model; ERR_INVALID: the template itself refused the messages (its words). */
HT_MUST_CHECK enum err engine_prompt_new(const struct engine_model *m,
                                         const struct gen_request *req, size_t max_tokens,
                                         struct engine_prompt **out, struct error *error);
void engine_prompt_free(struct engine_prompt *p);
const int32_t *engine_prompt_tokens(const struct engine_prompt *p, size_t *n);
const char *engine_prompt_text(const struct engine_prompt *p); /* rendered, for debugging */
/* Stop strings that the template adds to the request's own. */
size_t engine_prompt_stops(const struct engine_prompt *p, const char *const **out);

/* ---- parsing the answer -------------------------------------------------------------------- */

enum engine_delta_type { DELTA_TEXT, DELTA_REASONING, DELTA_TOOL_CALL };

struct engine_delta { /* borrowed until the next call on the same parser */
    enum engine_delta_type type;
    const char *text; /* TEXT, REASONING */
    size_t text_len;
    int32_t index;         /* TOOL_CALL */
    const char *id, *name; /* first delta of an index only, else NULL */
    const char *arguments;
    size_t arguments_len;
};

/* The parser keeps what it needs of p; p may be freed before it. */
HT_MUST_CHECK enum err engine_parser_new(const struct engine_prompt *p, struct engine_parser **out,
                                         struct error *error);
void engine_parser_free(struct engine_parser *ps);
/* Adds whole UTF-8 characters of generated text (len may be 0), `final` with the last call. Gives
 * the deltas that became certain. Plain chats cost O(len); formats that must be re-parsed are
 * bounded to about a tenth of the time. Output that does not parse comes as DELTA_TEXT: never an
 * error for the model's mistakes. */
HT_MUST_CHECK enum err engine_parser_feed(struct engine_parser *ps, const char *text, size_t len,
                                          bool final, const struct engine_delta **out, size_t *n,
                                          struct error *error);

/* ---- context: batches --------------------------------------------------------------------- */

/* What the keys and values in the KV cells are kept as. */
enum engine_kv_type {
    ENGINE_KV_F16,
    ENGINE_KV_Q8_0, /* 34 bytes for 32 numbers; rounds, so answers may differ */
    ENGINE_KV_TYPES
};
const char *engine_kv_name(enum engine_kv_type type); /* "f16" */
bool engine_kv_find(const char *name, enum engine_kv_type *out);

struct engine_ctx_params {
    int32_t n_ctx;   /* KV cells of all sequences together; 0 = from the model */
    int32_t n_batch; /* most tokens in one engine_decode */
    int32_t n_ubatch;
    int32_t n_seq_max;                  /* sequence ids are 0..n_seq_max-1 */
    int32_t n_threads, n_threads_batch; /* 0 = what suits the machine and the model */
    bool embeddings;                    /* an embedding or rerank model's context */
    /* false: each sequence has n_ctx / n_seq_max cells of its own (rounded up to 256), attends to
     * these only, and a copy copies them. true: any sequence may use any cell, copies share them,
     * and every token pays for all cells in use (docs/decisions/0009). */
    bool shared_kv;
    /* Where the model or the library can't, the context has f16 instead, which a loaded model tells
     * in the log once (docs/decisions/0034). Embeddings: f16. */
    enum engine_kv_type kv_type;
};

HT_MUST_CHECK enum err engine_ctx_new(struct engine_model *m,
                                      const struct engine_ctx_params *params,
                                      struct engine_ctx **out, struct error *error);
void engine_ctx_free(struct engine_ctx *c);
int32_t engine_ctx_size(const struct engine_ctx *c);                /* KV cells it really got */
enum engine_kv_type engine_ctx_kv_type(const struct engine_ctx *c); /* and what they really are */

enum { ENGINE_DEVICES_MAX = 16 };

struct engine_memory_use {
    uint64_t weights, kv, compute; /* bytes */
};

/* What a context and its model take, as the library counts it: main memory, and the memory of the
 * devices in the order of engine_describe. */
struct engine_memory {
    struct engine_memory_use host, devices[ENGINE_DEVICES_MAX];
};
/* Of a model that is measured only: what they would take. */
void engine_ctx_memory(const struct engine_ctx *c, struct engine_memory *out);
/* An embeddings context of a generating model takes an input in pieces, over several calls. */
bool engine_ctx_takes_pieces(const struct engine_ctx *c);

enum { ENGINE_ADAPTERS_MAX = 8 /* different ones in a batch */ };

struct engine_batch_token {
    int32_t token, pos, seq;
    bool output;                    /* logits (or embeddings) wanted */
    float scale;                    /* of the adapter; 0: it is not used */
    struct engine_adapter *adapter; /* of the context's model; NULL: none */
};

/* Decodes n tokens, 1 <= n <= n_batch. Positions of a sequence go on without gaps. ERR_FULL is
 * spelled ERR_NOMEM: no KV room for the batch (nothing was stored); ERR_CANCELLED: engine_ctx_abort
 * stopped it half-way; ERR_ENGINE otherwise. After these two remove the new positions of all
 * sequences of the batch.
 * An embeddings context starts every call with an empty memory: give each sequence whole, from
 * position 0, with `output` on all of its tokens; no engine_seq_remove is needed. One that takes
 * pieces keeps its memory instead: a sequence goes on where its last piece ended, its vector is
 * that of all of them, and engine_seq_remove of the whole sequence makes it ready for the next.
 * Any other context gives at most n_seq_max outputs in one call.
 * All tokens have the same adapter and scale; or each is of another sequence (in the order of their
 * ids, without shared_kv ids that follow each other), wants an output, and engine_ctx_mixes says
 * yes to all their adapters. Cells that were decoded with another adapter or scale must not be
 * continued. ERR_CANCELLED also when a mixed batch turns out to be impossible with this model: then
 * engine_ctx_mixes says no from now on. An adapter that was not in the last decodes makes this one
 * lay out the computation anew (about 0.1 of a token's time; docs/decisions/0025). */
HT_MUST_CHECK enum err engine_decode(struct engine_ctx *c, const struct engine_batch_token *tokens,
                                     int32_t n, struct error *error);
/* May rows with adapter a (NULL: with none) be in a batch with rows of others? Not before a was in
 * a decode of its own; never on a device whose memory only it sees, nor with some architectures. */
bool engine_ctx_mixes(const struct engine_ctx *c, const struct engine_adapter *a);
/* The context has no adapter any more, until the next decode: they may be freed. */
void engine_ctx_drop_adapters(struct engine_ctx *c);
/* From any thread: makes the engine_decode under way (or the next) return ERR_CANCELLED soon, in
 * the middle of a long prefill too. engine_ctx_abort_clear re-arms (owner thread). */
void engine_ctx_abort(struct engine_ctx *c);
void engine_ctx_abort_clear(struct engine_ctx *c);

/* Sequence memory. p0 < 0 = from the start, p1 < 0 = to the end. seq_remove returns false when the
 * architecture can't remove a part (recurrent models): remove all of it instead. A copy goes into
 * an empty sequence, without shared_kv only from the start (p0 <= 0), and false means that it
 * stayed empty: no memory for the copy, or an architecture that can't copy a part. */
bool engine_seq_remove(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1);
bool engine_seq_copy(struct engine_ctx *c, int32_t from, int32_t to, int32_t p0, int32_t p1);
/* After [p0 + delta, p0) was removed: moves the positions [p0, p1) by delta < 0, so that no gap is
 * left. Keys and values stay what they were. False, with nothing changed, where the memory can't
 * (recurrent models, some rotary embeddings, heads of odd sizes kept as q8_0); an empty range only
 * asks. With shared_kv, cells that were shared by engine_seq_copy move for all their sequences. */
bool engine_seq_shift(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1, int32_t delta);

/* What a sequence's memory holds, as bytes: size, saving (returns the bytes written, 0 when it
 * can't be), and restoring into a sequence, whose own content is gone before. ERR_NOMEM: no KV
 * cells; ERR_INVALID: not a state of such a context; the sequence is empty then. Bytes that were
 * not written by engine_seq_save of a context with the same fingerprint may abort the process:
 * callers check them first. */
size_t engine_seq_size(struct engine_ctx *c, int32_t seq);
size_t engine_seq_save(struct engine_ctx *c, int32_t seq, void *state, size_t size);
HT_MUST_CHECK enum err engine_seq_restore(struct engine_ctx *c, int32_t seq, const void *state,
                                          size_t size, struct error *error);
/* Of everything that a saved state depends on, but the adapter: the model's file, the library, the
 * types and the shape of the memory. 0: unknown, states can't outlive the context. */
uint64_t engine_ctx_fingerprint(const struct engine_ctx *c);
/* May a part of a restored sequence be removed? Not where the memory keeps a running summary
 * (recurrent models) or forgets (sliding windows): there a state is good for its whole sequence
 * only. */
bool engine_ctx_divisible(const struct engine_ctx *c);

/* Of an embeddings context: the vector of a sequence of the last engine_decode, n_embd_out floats,
 * normalised to length 1; of a rerank model its score instead, first of n_embd_out numbers in the
 * model's own scale. NULL if there is none. Valid until the next call on the context. */
const float *engine_seq_embedding(struct engine_ctx *c, int32_t seq);

/* ---- sampling ----------------------------------------------------------------------------- */

/* Grammar, triggers and reasoning rules come from the prompt; it may be freed afterwards. The
 * prompt's tokens are not yet accepted: penalties see them after engine_sampler_accept_prompt
 * (the last repeat_last_n are enough; nothing needs them while all penalties are off). */
HT_MUST_CHECK enum err engine_sampler_new(const struct engine_model *m, const struct sampling *s,
                                          const struct engine_prompt *p,
                                          struct engine_sampler **out, struct error *error);
void engine_sampler_free(struct engine_sampler *s);
/* A prompt token, for the penalties' window. */
void engine_sampler_accept_prompt(struct engine_sampler *s, int32_t token);
/* A token that another sampler with the same parameters chose, in the answer that this one goes on
 * with: penalties, grammar and random state become what they were behind it. (With a grammar the
 * random numbers may differ: how often it made the other one choose again is not known.) *special
 * as in engine_sample. ERR_ENGINE: the grammar does not allow the token here. */
HT_MUST_CHECK enum err engine_sampler_replay(struct engine_sampler *s, int32_t token, bool *special,
                                             struct error *error);

struct engine_sample {
    int32_t token;
    bool is_end; /* end-of-generation token */
    /* Render it with engine_token_text(special = true): a control token whose text the parser
     * needs, such as the mark of a tool call. */
    bool special;
    float logprob; /* of the chosen token, under the model's raw distribution */
    struct {
        int32_t token;
        float logprob;
    } top[GEN_TOP_LOGPROBS_MAX];
    size_t n_top;
};

/* Samples from output `index` of the last engine_decode and accepts the token. logprobs are filled
 * only if the sampling asked for them. ERR_ENGINE when the grammar allows no token at all. */
HT_MUST_CHECK enum err engine_sample(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                                     struct engine_sample *out, struct error *error);

#endif
