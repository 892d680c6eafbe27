/* The rules are those of llama-quant.cpp (llama_tensor_get_type_impl and tensor_type_fallback) at
 * v0.5.0, for dense models with tied embeddings and without importance matrix. */
#include "quant_mix.h"

#include <string.h>

static const struct quant_mix mixes[] = {
    {"f16", GGML_TYPE_F16, 1, false},     {"q4_0", GGML_TYPE_Q4_0, 2, false},
    {"q8_0", GGML_TYPE_Q8_0, 7, false},   {"q4_k_m", GGML_TYPE_Q4_K, 15, true},
    {"q5_k_m", GGML_TYPE_Q5_K, 17, true},
};

const struct quant_mix *quant_mix_of(const char *name)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (!strcmp(mixes[i].name, name)) return &mixes[i];
    return NULL;
}

/* The first and last eighth of the layers, and every third in between. */
static bool important(uint32_t layer, uint32_t layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static enum ggml_type embedding_type(enum ggml_type type, int64_t columns)
{
    if (columns % ggml_blck_size(type)) return GGML_TYPE_Q8_0;
    return type == GGML_TYPE_Q8_0 ? type : GGML_TYPE_Q6_K;
}

/* Rows that don't fill the 256 weights of a K-quant's block get the next better type of 32. */
static enum ggml_type fit(enum ggml_type type, int64_t columns)
{
    if (columns % ggml_blck_size(type) == 0) return type;
    switch (type) {
    case GGML_TYPE_Q4_K: return GGML_TYPE_Q5_0;
    case GGML_TYPE_Q5_K: return GGML_TYPE_Q5_1;
    case GGML_TYPE_Q6_K: return GGML_TYPE_Q8_0;
    default: return GGML_TYPE_F16;
    }
}

enum ggml_type quant_mix_type(const struct quant_mix *mix, const char *part, uint32_t layer,
                              uint32_t layers, int64_t columns)
{
    enum ggml_type type = mix->type;
    if (!ggml_is_quantized(type)) return type;
    if (!strcmp(part, "token_embd"))
        type = embedding_type(type, columns);
    else if (mix->more_bits && (!strcmp(part, "attn_v") || !strcmp(part, "ffn_down")) &&
             important(layer, layers))
        type = GGML_TYPE_Q6_K;
    return fit(type, columns);
}
