/* Fuzz target: web pages. Holds: what comes out is clean text, whatever went in. */
#include "fuzz/extract_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= FUZZ_INPUT_MAX) fuzz_load(data, size, "text/html");
    return 0;
}
