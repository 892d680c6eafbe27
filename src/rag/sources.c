/* From chunks in order to sources: not all out of one file, each with what stands around it, as
 * much as the budget allows. Where neighbours are shown, chunks of a file that touch become one
 * source, since they would say the same twice. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "rag/rag_int.h"
#include "rag/split.h"

enum {
    FILE_SHARE = 2, /* a file gets at most half of the places while others want them */
    SPAN_MAX = 5,   /* chunks of one source, before their neighbours */
};

/* A run of chunks of one file. */
struct span {
    const struct store_chunk_found *found; /* the best one in it */
    int64_t from, to;                      /* numbers of chunks */
    double score;
};

struct making {
    const struct rag_query *q;
    int32_t k, neighbours;
    struct arena *a;
    struct span *spans;
    size_t n_spans;
};

/* ---- which ----------------------------------------------------------------------------------- */

static const struct store_chunk_found *find(const struct store_chunk_found *found, size_t n,
                                            int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (found[i].chunk.id == id) return &found[i];
    return NULL;
}

/* How many of the chosen ones are this file's. */
static size_t of_file(const struct store_chunk_found *const *chosen, size_t n, const char *file_id)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += str_eq(chosen[i]->file_id, file_id);
    return count;
}

/* Next to one that is there already: they are shown together, at the better one's place. */
static bool joins(struct making *m, const struct store_chunk_found *f)
{
    for (size_t i = 0; i < m->n_spans; i++) {
        struct span *s = &m->spans[i];
        if (!str_eq(s->found->file_id, f->file_id)) continue;
        if (f->chunk.n < s->from - 1 || f->chunk.n > s->to + 1) continue;
        if (s->to - s->from + 1 >= SPAN_MAX) continue;
        if (f->chunk.n < s->from) s->from = f->chunk.n;
        if (f->chunk.n > s->to) s->to = f->chunk.n;
        return true;
    }
    return false;
}

/* Twice: first with a limit for each file, then whatever is left. */
static void choose(struct making *m, const struct candidate *c, size_t n_c,
                   const struct store_chunk_found *found, size_t n_found)
{
    size_t limit = (size_t)(m->k + FILE_SHARE - 1) / FILE_SHARE, taken = 0;
    bool *used = arena_calloc(m->a, n_c + 1, sizeof *used);
    const struct store_chunk_found **chosen = arena_calloc(m->a, n_c + 1, sizeof *chosen);
    for (int round = 0; used && chosen && round < 2; round++)
        for (size_t i = 0; i < n_c && taken < (size_t)m->k; i++) {
            const struct store_chunk_found *f = find(found, n_found, c[i].id);
            if (used[i] || !f) continue;
            if (round == 0 && of_file(chosen, taken, f->file_id) >= limit) continue;
            used[i] = true;
            chosen[taken++] = f;
            if (m->neighbours && joins(m, f)) continue;
            m->spans[m->n_spans++] = (struct span){f, f->chunk.n, f->chunk.n, c[i].score};
        }
}

/* Spans that neighbours or a late chunk between them brought together are one. */
static void widen(struct making *m)
{
    if (!m->neighbours) return;
    for (size_t i = 0; i < m->n_spans; i++) {
        m->spans[i].from -= m->neighbours;
        m->spans[i].to += m->neighbours;
        if (m->spans[i].from < 0) m->spans[i].from = 0;
    }
    for (size_t i = 0; i < m->n_spans; i++)
        for (size_t k = m->n_spans; k-- > i + 1;) {
            struct span *s = &m->spans[i], *t = &m->spans[k];
            if (!str_eq(s->found->file_id, t->found->file_id)) continue;
            if (t->from > s->to + 1 || t->to < s->from - 1) continue;
            if (t->from < s->from) s->from = t->from;
            if (t->to > s->to) s->to = t->to;
            memmove(t, t + 1, (m->n_spans - k - 1) * sizeof *t);
            m->n_spans--;
            k = m->n_spans; /* it may touch others now */
        }
}

static int by_score(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->found->chunk.id < y->found->chunk.id ? -1 : 1;
}

/* ---- their texts ----------------------------------------------------------------------------- */

/* What a chunk has of the file itself, without the table's head that was put in front. */
static const char *body_of(const struct store_chunk *c, size_t *len)
{
    size_t all = strlen(c->text), body = (size_t)(c->end - c->start);
    *len = body < all ? body : all;
    return c->text + (all - *len);
}

static bool append(struct buf *out, const struct store_chunk *before, const struct store_chunk *c)
{
    size_t len;
    const char *body = body_of(c, &len);
    if (!before) return buf_puts(out, c->text) == OK;
    if (c->start < before->end) {
        size_t shared = (size_t)(before->end - c->start);
        if (shared > len) shared = len;
        return buf_append(out, body + shared, len - shared) == OK;
    }
    buf_puts(out, c->start > before->end + 1 ? "\n\n" : "\n");
    return buf_append(out, body, len) == OK;
}

static enum err join_chunks(const struct store_chunk_found *list, size_t n, struct arena *a,
                            struct rag_source *out, struct error *error)
{
    struct buf text;
    buf_init(&text, 64 << 20);
    for (size_t i = 0; i < n; i++)
        if (!append(&text, i ? &list[i - 1].chunk : NULL, &list[i].chunk)) break;
    const char *copy = text.err ? NULL : arena_strdup(a, buf_str(&text));
    buf_free(&text);
    if (!copy) return err_set(error, ERR_NOMEM, "no memory for what was found");
    const struct store_chunk *first = &list[0].chunk, *last = &list[n - 1].chunk;
    *out = (struct rag_source){.file_id = list[0].file_id,
                               .file_name = list[0].file_name,
                               .file_type = list[0].file_type,
                               .collection_id = list[0].collection_id,
                               .heading = first->heading,
                               .page_from = first->page_from,
                               .page_to = last->page_to,
                               .start = first->start,
                               .end = last->end,
                               .text = copy,
                               .local_only = list[0].local_only};
    return OK;
}

static int32_t tokens_of(const char *text)
{
    return split_tokens(text, strlen(text));
}

/* The part of the list from..to (numbers of chunks) as one source. */
static enum err make_one(const struct store_chunk_found *list, size_t n, int64_t from, int64_t to,
                         struct arena *a, struct rag_source *out, struct error *error)
{
    size_t i = 0, k = n;
    while (i + 1 < n && list[i].chunk.n < from) i++;
    while (k > i + 1 && list[k - 1].chunk.n > to) k--;
    return join_chunks(list + i, k - i, a, out, error);
}

/* Too long for what is left of the budget: cut behind a sentence or word. */
static enum err shorten(struct rag_source *s, int32_t room, struct arena *a, struct error *error)
{
    size_t len = strlen(s->text), cut = utf8_cut(s->text, len, (size_t)room * 3);
    while (cut && split_tokens(s->text, cut) > room)
        cut = utf8_cut(s->text, len, cut - cut / 8 - 1);
    size_t word = cut;
    while (word > cut / 2 && s->text[word - 1] != ' ' && s->text[word - 1] != '\n') word--;
    if (word > cut / 2) cut = word;
    char *text = arena_strndup(a, s->text, cut);
    if (!text) return err_set(error, ERR_NOMEM, "no memory for what was found");
    s->end = s->start + (int64_t)cut < s->end ? s->start + (int64_t)cut : s->end;
    s->text = text;
    return OK;
}

/* With its neighbours, if the budget has room for them; else alone; else its beginning. A budget
 * that has not even room for that leaves it out: *fits is false. */
static enum err make_source(const struct making *m, const struct span *s, int32_t *left, bool *fits,
                            struct rag_source *out, struct error *error)
{
    enum { LEAST = 48 }; /* tokens: less says nothing */
    struct store_chunk_found *list = NULL;
    size_t n = 0;
    int64_t own = s->found->chunk.n;
    *fits = false;
    enum err e = store_chunk_range(m->q->store, m->q->user_id, s->found->file_id, s->from, s->to,
                                   m->a, &list, &n, error);
    if (e || !n) return e;
    e = make_one(list, n, s->from, s->to, m->a, out, error);
    if (!e && *left && tokens_of(out->text) > *left)
        e = make_one(list, n, own, own, m->a, out, error);
    if (!e && *left && tokens_of(out->text) > *left) {
        if (*left < LEAST) return OK;
        e = shorten(out, *left, m->a, error);
    }
    if (e) return e;
    *fits = true;
    out->score = s->score;
    if (*left) *left -= tokens_of(out->text);
    return OK;
}

enum err sources_make(const struct rag_query *q, int32_t k, int32_t neighbours,
                      const struct candidate *c, size_t n_c, const struct store_chunk_found *found,
                      size_t n_found, struct arena *a, struct rag_source **out, size_t *n,
                      struct error *error)
{
    struct making m = {.q = q,
                       .k = k,
                       .neighbours = neighbours,
                       .a = a,
                       .spans = arena_calloc(a, (size_t)k + 1, sizeof *m.spans)};
    *n = 0;
    *out = arena_calloc(a, (size_t)k + 1, sizeof **out);
    if (!*out || !m.spans) return err_set(error, ERR_NOMEM, "no memory for what was found");
    choose(&m, c, n_c, found, n_found);
    widen(&m);
    qsort(m.spans, m.n_spans, sizeof *m.spans, by_score);
    int32_t left = q->budget;
    enum err e = OK;
    for (size_t i = 0; !e && i < m.n_spans; i++) {
        bool fits;
        e = make_source(&m, &m.spans[i], &left, &fits, &(*out)[*n], error);
        if (e || !fits) continue;
        (*out)[*n].n = (int32_t)*n + 1;
        ++*n;
        if (q->budget && left <= 0) break;
    }
    return e;
}
