/* What answers that don't stream are read into: vectors, scores, lists of models. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "remote/core_int.h"

enum { DIMS_MAX = 65536 };

/* ---- vectors and scores -------------------------------------------------------------------- */

enum err rows_init(struct embed_rows *rows, const char *name, size_t n, bool scores,
                   struct error *error)
{
    *rows = (struct embed_rows){.name = name, .n = n, .scores = scores};
    rows->seen = try_calloc(n ? n : 1, sizeof *rows->seen);
    return rows->seen ? OK : err_set(error, ERR_NOMEM, "no memory for %zu vectors", n);
}

void rows_free(struct embed_rows *rows)
{
    free(rows->vectors);
    free(rows->seen);
    *rows = (struct embed_rows){0};
}

void rows_begin(struct embed_rows *rows, size_t first, size_t asked)
{
    memset(rows->seen + first, 0, asked * sizeof *rows->seen); /* of an attempt before this one */
    rows->first = first;
    rows->asked = asked;
    rows->n_seen = 0;
    rows->told_tokens = 0;
}

static enum err bad(const struct embed_rows *rows, struct error *error, const char *what)
{
    return err_set(error, ERR_UPSTREAM, "%s sent %s", rows->name, what);
}

/* The place of a row; all have the length of the first one. */
static enum err row_at(struct embed_rows *rows, int64_t index, size_t dims, float **out,
                       struct error *error)
{
    if (index < 0 || (size_t)index >= rows->asked)
        return bad(rows, error, "a vector that nobody asked for");
    size_t row = rows->first + (size_t)index;
    if (rows->seen[row]) return bad(rows, error, "a vector twice");
    if (dims == 0 || dims > DIMS_MAX || (rows->dims && dims != rows->dims))
        return bad(rows, error, "vectors of different lengths, or empty ones");
    if (!rows->vectors) {
        rows->vectors = try_calloc(rows->n, dims * sizeof(float));
        if (!rows->vectors) return err_set(error, ERR_NOMEM, "no memory for %zu vectors", rows->n);
        rows->dims = dims;
    }
    rows->seen[row] = true;
    rows->n_seen++;
    *out = rows->vectors + row * dims;
    return OK;
}

enum err rows_vector(struct embed_rows *rows, int64_t index, const json_t *numbers,
                     struct error *error)
{
    size_t n = json_array_size(numbers);
    float *row;
    if (rows->scores) return bad(rows, error, "a vector where a score was asked for");
    enum err e = row_at(rows, index, n, &row, error);
    if (e) return e;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(numbers, i);
        if (!json_is_number(v))
            return bad(rows, error, "a vector with something that is no number");
        row[i] = (float)json_number_value(v);
    }
    return OK;
}

enum err rows_score(struct embed_rows *rows, int64_t index, double score, struct error *error)
{
    float *row;
    if (!rows->scores) return bad(rows, error, "a score where a vector was asked for");
    enum err e = row_at(rows, index, 1, &row, error);
    if (e) return e;
    *row = (float)score;
    return OK;
}

void rows_usage(struct embed_rows *rows, const char *model, int32_t prompt_tokens)
{
    if (model && *model) str_copy(rows->model, sizeof rows->model, model);
    rows->told_tokens = prompt_tokens;
}

enum err rows_complete(struct embed_rows *rows, struct error *error)
{
    if (rows->n_seen != rows->asked)
        return err_set(error, ERR_UPSTREAM, "%s sent %zu of %zu vectors", rows->name, rows->n_seen,
                       rows->asked);
    if (rows->told_tokens > 0 && rows->told_tokens < INT32_MAX - rows->prompt_tokens)
        rows->prompt_tokens += rows->told_tokens;
    if (rows->scores) return OK;
    for (size_t i = rows->first; i < rows->first + rows->asked; i++) {
        float *row = rows->vectors + i * rows->dims;
        (void)vec_normalise(row, rows->dims, row); /* one of zeros stays so */
    }
    return OK;
}

/* ---- lists of models ----------------------------------------------------------------------- */

static void some(struct jw *w, const char *name, const char *value)
{
    if (value && *value) jw_kstr(w, name, value);
}

static void some_int(struct jw *w, const char *name, int64_t value)
{
    if (value > 0) jw_kint(w, name, value);
}

void list_add(struct model_list *list, const struct remote_model *m)
{
    if (!m->id || !*m->id) return;
    struct jw *w = list->w;
    list->n++;
    jw_obj(w);
    jw_kstr(w, "id", m->id);
    jw_kstr(w, "provider", list->provider);
    some(w, "name", m->name);
    some(w, "kind", m->kind);
    some(w, "owner", m->owner);
    some(w, "family", m->family);
    some(w, "quant", m->quant);
    some(w, "parameters", m->parameters);
    some_int(w, "context", m->context);
    some_int(w, "size", m->size_bytes);
    some_int(w, "created", m->created_s);
    some_int(w, "modified", m->modified_s);
    if (m->tools) jw_kbool(w, "tools", true);
    if (m->images) jw_kbool(w, "images", true);
    if (m->reasoning) jw_kbool(w, "reasoning", true);
    jw_obj_end(w);
}
