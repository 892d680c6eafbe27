/* The llama engine: libllama of llama.cpp v0.5.0 behind engine_int.h's table.
 *
 * Design. Opening costs nothing: back ends (the CPU variant for this machine, devices) are loaded
 * at the first model, so that a hub without a model stays small. All of libllama-common, which is
 * C++ and throws, is behind shim.h; tokenising and decoding go through it too, because they can
 * throw bad_alloc. libllama's asserts abort the process; what a client or a file could trigger is
 * checked before (guard.h, models/gguf.h). Prefix of this implementation's functions: le_ ("llama_"
 * is libllama's own).
 *
 * Rejected: the library's common_init and common_params (they decide, print and exit), its own
 * chat loop, and dlopen of libllama at the first model (2.5 MB of mapped file pages, not worth the
 * function pointers). */
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/llama_int.h"

static void le_close(struct engine *e)
{
    free(e);
}

static const struct engine_ops llama_ops = {
    .name = "llama",
    .library = "llama.cpp v0.5.0",
    .close = le_close,
    .describe = le_describe,
    .model_load = le_model_open,
    .model_free = le_model_close,
    .adapter_load = le_adapter_load,
    .adapter_free = le_adapter_free,
    .tokenize = le_model_tokenize,
    .tokenize_pair = le_model_tokenize_pair,
    .token_text = le_token_text,
    .token_is_end = le_token_is_end,
    .prompt_new = le_prompt_new,
    .prompt_free = le_prompt_free,
    .parser_new = le_parser_new,
    .parser_free = le_parser_free,
    .parser_feed = le_parser_feed,
    .ctx_new = le_ctx_new,
    .ctx_free = le_ctx_free,
    .ctx_memory = le_ctx_memory,
    .decode = le_ctx_decode,
    .ctx_adapters = le_ctx_adapters,
    .seq_remove = le_seq_remove,
    .seq_copy = le_seq_copy,
    .seq_shift = le_seq_shift,
    .seq_size = le_seq_size,
    .seq_save = le_seq_save,
    .seq_restore = le_seq_restore,
    .seq_embedding = le_seq_embedding,
    .sampler_new = le_smp_new,
    .sampler_free = le_smp_free,
    .sampler_accept_prompt = le_smp_accept_prompt,
    .sampler_replay = le_smp_replay,
    .sample = le_smp_sample,
};

enum err engine_open_llama(const char *lib_dir, struct engine **out, struct error *error)
{
    struct le_engine *e = xcalloc(1, sizeof *e);
    e->head.ops = &llama_ops;
    if (!str_copy(e->lib_dir, sizeof e->lib_dir, lib_dir ? lib_dir : "")) {
        free(e);
        return err_set(error, ERR_INVALID, "the path of the library folder is too long");
    }
    *out = &e->head;
    return OK;
}
