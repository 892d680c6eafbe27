#include "engine/delta.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine_int.h"

static const size_t NO_TEXT = SIZE_MAX;

struct delta_piece { /* offsets into the list's text; NO_TEXT = NULL */
    enum engine_delta_type type;
    int32_t index;
    size_t text, text_len, id, name;
};

void delta_list_init(struct delta_list *l)
{
    *l = (struct delta_list){0};
    buf_init(&l->text, 2 * ENGINE_OUTPUT_TEXT_MAX);
}

void delta_list_free(struct delta_list *l)
{
    buf_free(&l->text);
    free(l->pieces);
    free(l->deltas);
    *l = (struct delta_list){0};
}

void delta_list_clear(struct delta_list *l)
{
    buf_clear(&l->text);
    l->n = 0;
    l->err = OK;
}

static bool grow(struct delta_list *l)
{
    if (l->err) return false;
    if (l->n < l->cap) return true;
    size_t cap = l->cap ? 2 * l->cap : 8;
    struct delta_piece *pieces = try_realloc(l->pieces, cap, sizeof *pieces);
    if (pieces) l->pieces = pieces;
    struct engine_delta *deltas = try_realloc(l->deltas, cap, sizeof *deltas);
    if (deltas) l->deltas = deltas;
    if (!pieces || !deltas) {
        l->err = ERR_NOMEM;
        return false;
    }
    l->cap = cap;
    return true;
}

/* Where the copy of text begins. */
static size_t keep(struct delta_list *l, const char *text, size_t len)
{
    size_t at = l->text.len;
    buf_append(&l->text, text, len);
    buf_putc(&l->text, '\0');
    return at;
}

void delta_text(struct delta_list *l, enum engine_delta_type type, const char *text, size_t len)
{
    if (!len) return;
    struct delta_piece *last = l->n ? &l->pieces[l->n - 1] : NULL;
    if (last && last->type == type && !l->text.err) { /* the '\0' behind it is overwritten */
        l->text.len--;
        keep(l, text, len);
        last->text_len += len;
        return;
    }
    if (!grow(l)) return;
    size_t at = keep(l, text, len);
    l->pieces[l->n++] = (struct delta_piece){
        .type = type, .text = at, .text_len = len, .id = NO_TEXT, .name = NO_TEXT};
}

void delta_tool(struct delta_list *l, int32_t index, const char *id, const char *name,
                const char *arguments, size_t len)
{
    if (!grow(l)) return;
    struct delta_piece p = {.type = DELTA_TOOL_CALL, .index = index};
    p.id = id ? keep(l, id, strlen(id)) : NO_TEXT;
    p.name = name ? keep(l, name, strlen(name)) : NO_TEXT;
    p.text = keep(l, arguments, len);
    p.text_len = len;
    l->pieces[l->n++] = p;
}

enum err delta_list_done(struct delta_list *l, const struct engine_delta **out, size_t *n,
                         struct error *error)
{
    enum err e = l->err ? l->err : l->text.err;
    if (e)
        return err_set(error, e,
                       e == ERR_NOMEM ? "out of memory while parsing the answer"
                                      : "the answer is longer than the parser's limit");
    for (size_t i = 0; i < l->n; i++) {
        const struct delta_piece *p = &l->pieces[i];
        struct engine_delta *d = &l->deltas[i];
        *d = (struct engine_delta){.type = p->type};
        const char *text = l->text.data + p->text;
        if (p->type != DELTA_TOOL_CALL) {
            d->text = text;
            d->text_len = p->text_len;
            continue;
        }
        d->index = p->index;
        d->id = p->id == NO_TEXT ? NULL : l->text.data + p->id;
        d->name = p->name == NO_TEXT ? NULL : l->text.data + p->name;
        d->arguments = text;
        d->arguments_len = p->text_len;
    }
    *out = l->deltas;
    *n = l->n;
    return OK;
}
