/* Which type llama.cpp's quantiser gives each weight of a file type, so that a random file has the
 * mixture, and with it the kernels and the speed, of a real one. */
#ifndef HEARTH_QUANT_MIX_H
#define HEARTH_QUANT_MIX_H

#include <stddef.h>
#include <stdint.h>

#include <ggml.h>

struct quant_mix {
    const char *name; /* as on the command line */
    enum ggml_type type;
    uint32_t file_type; /* llama.h, enum llama_ftype */
    bool more_bits;     /* "_M": some layers' values and ffn_down in 6 bits */
};

/* NULL: no such name. */
const struct quant_mix *quant_mix_of(const char *name);
/* The type of a matrix: `part` is its name without "blk.N." and ".weight", of `layers` layers, with
 * rows of `columns` weights. The embedding is taken for tied with the output. */
enum ggml_type quant_mix_type(const struct quant_mix *mix, const char *part, uint32_t layer,
                              uint32_t layers, int64_t columns);

#endif
