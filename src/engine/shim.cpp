/* Tokenising and decoding behind a catch, threads, the common library's log. */
#include "shim_int.hpp"

#include <climits>
#include <map>

#include "log.h"

extern "C" void shim_quiet(void)
{
    common_log_set_verbosity_thold(-1);
}

extern "C" int32_t shim_math_cores(void)
{
    try {
        return common_cpu_get_num_math();
    } catch (...) {
        return 1;
    }
}

extern "C" int32_t shim_tokenize(const llama_vocab *vocab, const char *text, int32_t len,
                                 int32_t *tokens, int32_t max, bool add_special, bool parse_special,
                                 struct error *error)
{
    int32_t n = INT32_MIN;
    enum err e = shim_guarded(error, ERR_ENGINE, [&] {
        n = llama_tokenize(vocab, text, len, tokens, max, add_special, parse_special);
        return OK;
    });
    if (!e && n == INT32_MIN) err_set(error, ERR_TOO_LARGE, "the text has too many tokens");
    return n;
}

/* From src/llama-ext.h of llama.cpp v0.5.0, which is not among the headers it installs. */
struct llama_memory_breakdown_data {
    size_t model, context, compute;
};
using llama_memory_breakdown = std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data>;
LLAMA_API llama_memory_breakdown llama_get_memory_breakdown(const struct llama_context *ctx);

/* The place of a device in engine_describe; -1 for main memory. */
static int device_of(ggml_backend_buffer_type_t type)
{
    if (ggml_backend_buft_is_host(type)) return -1;
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    if (!device || ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) return -1;
    for (size_t i = 0; i < ggml_backend_dev_count() && i < ENGINE_DEVICES_MAX; i++)
        if (ggml_backend_dev_get(i) == device) return (int)i;
    return -1;
}

extern "C" void shim_memory(const llama_context *ctx, struct engine_memory *out)
{
    (void)shim_guarded(nullptr, ERR_ENGINE, [&] {
        for (const auto &[type, use] : llama_get_memory_breakdown(ctx)) {
            int device = device_of(type);
            struct engine_memory_use *to = device < 0 ? &out->host : &out->devices[device];
            to->weights += use.model;
            to->kv += use.context;
            to->compute += use.compute;
        }
        return OK;
    });
}

extern "C" int32_t shim_decode(llama_context *ctx, const llama_batch *batch, struct error *error)
{
    int32_t rc = -1000;
    enum err e = shim_guarded(error, ERR_ENGINE, [&] {
        rc = llama_decode(ctx, *batch);
        return OK;
    });
    return e ? -1000 : rc;
}
