/* The fake engine: a deterministic model without a file, so that everything above the engine can be
 * tested without libllama's weights or time. It is strict where libllama is lenient: a wrong use of
 * the contract (a gap in the positions, an output that was not asked for, a prompt that is not in
 * the cache as it should be) is an ht_assert, so that a scheduler's bug dies in its test.
 *
 * A model is a path "fake:<option>,<option>,...":
 *   ctx=N          context length, n_ctx_train (4096)
 *   kind=chat|raw|embed|rerank   (chat) raw has no chat template, embed and rerank no generation
 *   embd=N         width of embeddings (32)
 *   ms=N           each decode takes N milliseconds (0)
 *   token_us=N     and N microseconds for each token in it, so that long prompts take long (0)
 *   load_ms=N      loading takes N milliseconds, with progress (0)
 *   weights=N cell=N compute=N   bytes that engine_ctx_memory tells: of the weights (1000), of one
 *                  KV cell (0), of the buffers of a context (0)
 *   fail_load=TEXT loading fails with ERR_MODEL_FILE and this text
 *   fail_ctx=1     engine_ctx_new fails with ERR_NOMEM
 *   fail_decode=N  the Nth engine_decode of a context fails with ERR_ENGINE, storing nothing
 *   pair_us=N      and N microseconds more if it is of exactly two sequences, as on a machine
 *                  without a good kernel for two rows (0)
 *   f16_us=N q8_us=N   and N microseconds more with KV cells of that type (0)
 *   only_f16=1     there are no other KV cells; of q8_0 they have 34 bytes where f16 has 64
 *   no_shift=1     engine_seq_shift can't
 *   no_mix=N       rows of several adapters can't be in one batch: 1 = never, 2 = it turns out at
 *                  the first such batch (0)
 *   no_partial=1   engine_seq_remove can't remove a part of a sequence (a recurrent model)
 *   fim=1          it has the five tokens of texts with a gap, behind the others
 *   endless=1      the reply is repeated without end
 *   reply=TEXT     what it says; must be the last option, TEXT goes to the end of the path and may
 *                  hold commas. Without it the reply is the last user message (GEN_RAW: the
 * prompt).
 *
 * An adapter is a path "fake:lora,<option>,...":
 *   swap=XY        in what the model says, every X becomes Y
 *   load_ms=N      loading takes N milliseconds (0)
 *   fail_load=TEXT loading fails with ERR_MODEL_FILE and this text
 * Cells remember the adapter they were decoded with, and a sequence that is continued with another
 * one is an ht_assert.
 *
 * Tokens: 0..255 are bytes, so every character beyond ASCII is split over tokens; then "<|end|>"
 * (256, ends a reply), "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>" and "<|bos|>" (261).
 * A chat renders as <|bos|> and for each message <|role|>content<|end|>, at last <|assistant|>.
 *
 * What the reply means (so a test can send it as the user's message):
 *   <think>...</think>                          reasoning, unless reasoning_format is none
 *   <tool_call>NAME {"a":1}</tool_call>         a call, if the request has tools and their use is
 *                                               not forbidden; several may follow each other
 * TOOL_REQUIRED and TOOL_NAMED: the reply is a call of the (first) tool with arguments {} unless it
 * has one. FORMAT_JSON_...: the reply is {"echo":"<reply>"}. FORMAT_GRAMMAR: ignored beyond its
 * check.
 *
 * Sampling is always greedy. logit_bias of -INFINITY on the next token gives '?' instead of it, or
 * '.' instead of an end (so does ignore_eos). logprobs: ln 0.9 for the chosen token, the
 * alternatives share the rest. Embeddings hash the tokens and pairs of tokens, so similar texts are
 * similar. A rerank model's score is the share of the query's letters that the document has. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/fake_int.h"

static void fake_close(struct engine *e)
{
    free(e);
}

static enum err fake_describe(struct engine *e, struct engine_description *out, struct error *error)
{
    (void)error;
    *out = (struct engine_description){0};
    str_copy(out->library, sizeof out->library, e->ops->library);
    str_copy(out->cpu_features, sizeof out->cpu_features, "none");
    str_copy(out->cpu_backend, sizeof out->cpu_backend, "fake");
    return OK;
}

static bool fake_token_is_end(const struct engine_model *m, int32_t token)
{
    (void)m;
    return token == FAKE_END;
}

static const struct engine_ops fake_ops = {
    .name = "fake",
    .library = "fake engine",
    .close = fake_close,
    .describe = fake_describe,
    .model_load = fake_model_load,
    .model_free = fake_model_free,
    .adapter_load = fake_adapter_load,
    .adapter_free = fake_adapter_free,
    .tokenize = fake_tokenize,
    .tokenize_pair = fake_tokenize_pair,
    .token_text = fake_token_text,
    .token_is_end = fake_token_is_end,
    .prompt_new = fake_prompt_new,
    .prompt_free = fake_prompt_free,
    .parser_new = fake_parser_new,
    .parser_free = fake_parser_free,
    .parser_feed = fake_parser_feed,
    .ctx_new = fake_ctx_new,
    .ctx_free = fake_ctx_free,
    .ctx_memory = fake_ctx_memory,
    .decode = fake_decode,
    .ctx_adapters = fake_ctx_adapters,
    .seq_remove = fake_seq_remove,
    .seq_copy = fake_seq_copy,
    .seq_shift = fake_seq_shift,
    .seq_size = fake_seq_size,
    .seq_save = fake_seq_save,
    .seq_restore = fake_seq_restore,
    .seq_embedding = fake_seq_embedding,
    .sampler_new = fake_sampler_new,
    .sampler_free = fake_sampler_free,
    .sampler_accept_prompt = fake_sampler_accept_prompt,
    .sampler_replay = fake_sampler_replay,
    .sample = fake_sample,
};

enum err engine_open_fake(struct engine **out, struct error *error)
{
    (void)error;
    *out = xmalloc(sizeof **out);
    **out = (struct engine){&fake_ops};
    return OK;
}
