/* Fuzz target: the JSON reader and json_dump. Holds: a refusal has words; what is accepted is
 * dumped to a document that reads back and dumps to the same bytes. */
#include <stdint.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dump(const json_t *v, struct buf *out)
{
    buf_init(out, 64 * 1024 * 1024);
    enum err err = json_dump(v, out);
    ht_assert(err == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *v = NULL, *again = NULL;
    struct error e;
    enum err err = json_parse((const char *)data, size, &v, &e);
    if (err) {
        ht_assert(!v && e.code == err && e.msg[0]);
        return 0;
    }
    struct buf first, second;
    dump(v, &first);
    err = json_parse(first.data, first.len, &again, &e);
    ht_assert(err == OK);
    dump(again, &second);
    ht_assert(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    json_decref(v);
    json_decref(again);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
