/* Fuzz target: what a process that reads a document may answer. Holds: however the bytes are cut,
 * the result is the same; what is taken is clean. The first byte says how long the pieces are. */
#include "extract/frame.h"
#include "fuzz/extract_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err run(const uint8_t *data, size_t size, size_t step, struct extract_doc *doc)
{
    struct frame_in in;
    struct error error;
    enum err e = OK;
    frame_in_init(&in, FUZZ_OUTPUT);
    *doc = (struct extract_doc){0};
    for (size_t i = 0; i < size && !e; i += step)
        e = frame_feed(&in, data + i, size - i < step ? size - i : step);
    if (!e) e = in.done ? frame_take(&in, doc, &error) : ERR_CLOSED;
    frame_in_free(&in);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct extract_doc whole, pieces;
    if (size < 2 || size > FUZZ_INPUT_MAX) return 0;
    enum err a = run(data + 1, size - 1, size, &whole);
    enum err b = run(data + 1, size - 1, data[0] ? data[0] : 1, &pieces);
    ht_assert(a == b);
    if (!a) {
        fuzz_check(&whole);
        ht_assert(whole.len == pieces.len && memcmp(whole.text, pieces.text, whole.len) == 0);
    }
    extract_doc_free(&whole);
    extract_doc_free(&pieces);
    return 0;
}
