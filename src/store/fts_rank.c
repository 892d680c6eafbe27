/* The formula is FTS5's (k1 = 1.2, b = 0.75; fts5_aux.c of SQLite); see fts_rank.h. */
#include "store/fts_rank.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define K1 1.2
#define B  0.75
/* A word in the first column (the heading) counts twice. */
#define FIRST_COLUMN 2.0

enum { PHRASES_MAX = 64, K_MAX = 10000 };

/* The argument: this, the weights, the ranges. */
struct head {
    int64_t k, n_weights, n_ranges;
};

/* Of one query, kept by FTS5 from row to row. */
struct ranking {
    struct head head;
    double *weights;
    struct fts_range *ranges;
    double mean;  /* tokens of a row */
    double *best; /* the k best scores so far; a heap, the worst of them at its top */
    size_t n;
};

void fts_rank_arg(struct buf *out, size_t k, const double *weights, size_t n_weights,
                  const struct fts_range *ranges, size_t n_ranges)
{
    struct head head = {(int64_t)k, (int64_t)n_weights, (int64_t)n_ranges};
    buf_append(out, &head, sizeof head);
    buf_append(out, weights, n_weights * sizeof *weights);
    if (n_ranges) buf_append(out, ranges, n_ranges * sizeof *ranges);
}

/* ---- the best so far ------------------------------------------------------------------------ */

static void swap(double *a, double *b)
{
    double t = *a;
    *a = *b;
    *b = t;
}

static void sink(double *heap, size_t n, size_t at)
{
    for (;;) {
        size_t least = at, child = 2 * at + 1;
        if (child < n && heap[child] < heap[least]) least = child;
        if (child + 1 < n && heap[child + 1] < heap[least]) least = child + 1;
        if (least == at) return;
        swap(&heap[at], &heap[least]);
        at = least;
    }
}

static void rise(double *heap, size_t at)
{
    for (; at && heap[at] < heap[(at - 1) / 2]; at = (at - 1) / 2)
        swap(&heap[at], &heap[(at - 1) / 2]);
}

/* Whether a row of this score would not be among them. */
static bool is_late(const struct ranking *r, double score)
{
    return r->n == (size_t)r->head.k && score <= r->best[0];
}

static void keep(struct ranking *r, double score)
{
    if (r->n < (size_t)r->head.k) {
        r->best[r->n] = score;
        rise(r->best, r->n++);
    } else {
        r->best[0] = score;
        sink(r->best, r->n, 0);
    }
}

/* ---- a query -------------------------------------------------------------------------------- */

static void ranking_free(void *ctx)
{
    struct ranking *r = ctx;
    free(r->weights);
    free(r->ranges);
    free(r->best);
    free(r);
}

static int read_mean(const Fts5ExtensionApi *api, Fts5Context *fts, double *mean)
{
    sqlite3_int64 rows = 0, tokens = 0;
    int rc = api->xRowCount(fts, &rows);
    if (rc == SQLITE_OK) rc = api->xColumnTotalSize(fts, -1, &tokens);
    *mean = rows > 0 && tokens > 0 ? (double)tokens / (double)rows : 1;
    return rc;
}

static int ranking_new(const Fts5ExtensionApi *api, Fts5Context *fts, sqlite3_value *arg,
                       struct ranking **out)
{
    struct head h;
    const unsigned char *data = sqlite3_value_blob(arg);
    size_t len = (size_t)sqlite3_value_bytes(arg);
    if (!data || len < sizeof h) return SQLITE_ERROR;
    memcpy(&h, data, sizeof h);
    if (h.k < 1 || h.k > K_MAX || h.n_weights != api->xPhraseCount(fts) ||
        h.n_weights > PHRASES_MAX || h.n_ranges < 0)
        return SQLITE_ERROR;
    size_t weights = (size_t)h.n_weights * sizeof(double),
           ranges = (size_t)h.n_ranges * sizeof(struct fts_range);
    if (len != sizeof h + weights + ranges) return SQLITE_ERROR;
    struct ranking *r = xcalloc(1, sizeof *r);
    r->head = h;
    r->weights = xmalloc(weights + 1);
    r->ranges = xmalloc(ranges + 1);
    r->best = xcalloc((size_t)h.k, sizeof *r->best);
    memcpy(r->weights, data + sizeof h, weights);
    memcpy(r->ranges, data + sizeof h + weights, ranges);
    *out = r;
    int rc = read_mean(api, fts, &r->mean);
    if (rc != SQLITE_OK) {
        ranking_free(r);
        return rc;
    }
    return api->xSetAuxdata(fts, r, ranking_free); /* which it frees also when it fails */
}

/* ---- a row ---------------------------------------------------------------------------------- */

static bool is_inside(const struct ranking *r, int64_t id)
{
    size_t low = 0, high = (size_t)r->head.n_ranges;
    if (!high) return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->ranges[middle].to < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < (size_t)r->head.n_ranges && r->ranges[low].from <= id;
}

/* How often each phrase is there. */
static int count_phrases(const Fts5ExtensionApi *api, Fts5Context *fts, const struct ranking *r,
                         double *often)
{
    for (int i = 0; i < (int)r->head.n_weights; i++) {
        Fts5PhraseIter at;
        int column, offset;
        often[i] = 0;
        if (r->weights[i] <= 0) continue;
        int rc = api->xPhraseFirst(fts, i, &at, &column, &offset);
        if (rc != SQLITE_OK) return rc;
        for (; column >= 0; api->xPhraseNext(fts, &at, &column, &offset))
            often[i] += column == 0 ? FIRST_COLUMN : 1;
    }
    return SQLITE_OK;
}

/* length: of the row beside the mean one; 0 gives what no row exceeds. */
static double score_of(const struct ranking *r, const double *often, double length)
{
    double sum = 0;
    for (int64_t i = 0; i < r->head.n_weights; i++)
        sum += r->weights[i] * often[i] * (K1 + 1) / (often[i] + K1 * (1 - B + B * length));
    return sum;
}

static void words_rank(const Fts5ExtensionApi *api, Fts5Context *fts, sqlite3_context *ctx, int n,
                       sqlite3_value **args)
{
    double often[PHRASES_MAX];
    int tokens = 0, rc = SQLITE_OK;
    struct ranking *r = n == 1 ? api->xGetAuxdata(fts, 0) : NULL;
    if (!r) rc = n == 1 ? ranking_new(api, fts, args[0], &r) : SQLITE_ERROR;
    if (rc == SQLITE_OK && !is_inside(r, api->xRowid(fts))) return; /* NULL */
    if (rc == SQLITE_OK) rc = count_phrases(api, fts, r, often);
    if (rc == SQLITE_OK && is_late(r, score_of(r, often, 0))) return;
    if (rc == SQLITE_OK) rc = api->xColumnSize(fts, -1, &tokens);
    if (rc != SQLITE_OK) {
        sqlite3_result_error_code(ctx, rc);
        return;
    }
    double score = score_of(r, often, tokens / r->mean);
    if (is_late(r, score)) return;
    keep(r, score);
    sqlite3_result_int64(ctx, (sqlite3_int64)(score * FTS_RANK_UNIT));
}

int fts_rank_register(sqlite3 *handle)
{
    sqlite3_stmt *stmt;
    fts5_api *api = NULL;
    int rc = sqlite3_prepare_v2(handle, "SELECT fts5(?1)", -1, &stmt, NULL);
    if (rc != SQLITE_OK) return rc;
    sqlite3_bind_pointer(stmt, 1, &api, "fts5_api_ptr", NULL);
    sqlite3_step(stmt);
    rc = sqlite3_finalize(stmt);
    if (rc == SQLITE_OK && !api) rc = SQLITE_ERROR;
    return rc == SQLITE_OK ? api->xCreateFunction(api, "words_rank", NULL, words_rank, NULL) : rc;
}
