/* Fuzz target: kinds of text. The first byte says which. */
#include "extract/types.h"
#include "fuzz/extract_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"text/plain",       "text/markdown",
                                        "text/csv",         "text/tab-separated-values",
                                        "application/json", "text/x-c"};
    if (size < 1 || size > FUZZ_INPUT_MAX) return 0;
    fuzz_load(data + 1, size - 1, types[data[0] % (sizeof types / sizeof *types)]);
    return 0;
}
