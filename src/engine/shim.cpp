/* Tokenising and decoding behind a catch, threads, the common library's log. */
#include "shim_int.hpp"

#include <climits>

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

extern "C" int32_t shim_decode(llama_context *ctx, const llama_batch *batch, struct error *error)
{
    int32_t rc = -1000;
    enum err e = shim_guarded(error, ERR_ENGINE, [&] {
        rc = llama_decode(ctx, *batch);
        return OK;
    });
    return e ? -1000 : rc;
}
