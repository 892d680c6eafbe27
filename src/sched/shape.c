#include "sched/shape.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define UNSEEN_MS     10.0  /* a step, while nothing at all is known */
#define UNSEEN_TOKEN  0.15  /* a further sequence costs this share of the first */
#define UNSEEN_FIXED  0.5   /* share of a batch that does not depend on its width */
#define GUESS_FIXED   0.15  /* of the first piece of a prompt */
#define GUESS_CONTEXT 0.125 /* in the scales below: 4,096 tokens before one make it 1.5 as dear */
#define INERTIA       0.02  /* weight of what was known before against a sample */
#define TOKENS_SCALE  64.0  /* keeps the three features of a prefill of one size */
#define CONTEXT_SCALE 65536.0

/* ---- decoding ----------------------------------------------------------------------------- */

static float median(const struct shape_width *w)
{
    float sorted[SHAPE_SAMPLES] = {0};
    for (int32_t i = 0; i < w->n; i++) {
        int32_t at = i;
        for (; at > 0 && sorted[at - 1] > w->samples[i]; at--) sorted[at] = sorted[at - 1];
        sorted[at] = w->samples[i];
    }
    /* of two: the smaller, since what disturbs a sample makes it larger */
    return sorted[(w->n - 1) / 2];
}

static void add_sample(struct shape *s, int32_t width, double ms)
{
    struct shape_width *w = &s->widths[width];
    w->samples[w->next] = (float)ms;
    w->next = (w->next + 1) % SHAPE_SAMPLES;
    if (w->n < SHAPE_SAMPLES) w->n++;
    w->ms = median(w);
    w->seen_ms = s->spent_ms;
}

void shape_saw_decode(struct shape *s, int32_t width, double ms)
{
    ht_assert(width >= 1 && width <= SHAPE_WIDTH_MAX);
    if (!(ms > 0)) ms = 1e-3; /* a clock that stands still */
    s->spent_ms += ms;
    add_sample(s, width, ms);
}

/* What each further sequence costs beyond the widest that is known: as much as on the way there
 * from the widest of at most half of it, but no more than the share that is taken where there is
 * none: a width without a good kernel says nothing about wider ones, which would never be tried. */
static double further_ms(const struct shape *s, int32_t widest)
{
    double high = (double)s->widths[widest].ms, most = high * UNSEEN_TOKEN;
    int32_t low = widest / 2;
    while (low > 0 && !s->widths[low].n) low--;
    if (!low) return most;
    double each = (high - (double)s->widths[low].ms) / (widest - low);
    if (each > most) return most;
    return each > 0 ? each : 0;
}

/* From the nearest widths that are known. */
double shape_decode_ms(const struct shape *s, int32_t width)
{
    ht_assert(width >= 1 && width <= SHAPE_WIDTH_MAX);
    if (s->widths[width].n) return (double)s->widths[width].ms;
    int32_t below = width - 1, above = width + 1;
    while (below > 0 && !s->widths[below].n) below--;
    while (above <= SHAPE_WIDTH_MAX && !s->widths[above].n) above++;
    if (above > SHAPE_WIDTH_MAX) {
        if (below == 0) return UNSEEN_MS * (1 + UNSEEN_TOKEN * (width - 1));
        return (double)s->widths[below].ms + further_ms(s, below) * (width - below);
    }
    double high = (double)s->widths[above].ms;
    if (below == 0) return high * (UNSEEN_FIXED + (1 - UNSEEN_FIXED) * width / above);
    double low = (double)s->widths[below].ms;
    return low + (high - low) * (width - below) / (above - below);
}

/* cost[i]: the least for i sequences, and how many of them go first. */
struct cuts {
    double cost[SHAPE_WIDTH_MAX + 1];
    int32_t first[SHAPE_WIDTH_MAX + 1];
};

static void find_cuts(const struct shape *s, int32_t n, struct cuts *c)
{
    double ms[SHAPE_WIDTH_MAX + 1];
    c->cost[0] = 0;
    for (int32_t i = 1; i <= n; i++) {
        ms[i] = shape_decode_ms(s, i);
        c->cost[i] = ms[i];
        c->first[i] = i;
        for (int32_t w = i - 1; w >= 1; w--) {
            double sum = ms[w] + c->cost[i - w];
            if (sum >= c->cost[i] || sum >= SHAPE_WORTH * ms[i]) continue;
            c->cost[i] = sum;
            c->first[i] = w;
        }
    }
}

double shape_split_ms(const struct shape *s, int32_t n)
{
    struct cuts cuts;
    ht_assert(n >= 0 && n <= SHAPE_WIDTH_MAX);
    find_cuts(s, n, &cuts);
    return cuts.cost[n];
}

static bool is_stale(const struct shape *s, int32_t width, double age_ms)
{
    const struct shape_width *w = &s->widths[width];
    return w->n < SHAPE_KNOWN || s->spent_ms - w->seen_ms > age_ms;
}

/* A width that is worth trying and within what exploring may cost; 0 = none. All of them together
 * first, where they are cut: a cut whose parts were measured at another time than the whole may
 * look better only because the machine had something else to do then. */
static int32_t explore(struct shape *s, int32_t n, const struct cuts *cuts)
{
    double left = SHAPE_EXPLORE * s->spent_ms - s->explored_ms;
    for (int32_t i = 0; i < n; i++) {
        int32_t w = i ? i : n;
        if (w == cuts->first[n] || !is_stale(s, w, w == n ? SHAPE_DOUBT_MS : SHAPE_STALE_MS))
            continue;
        double more = shape_decode_ms(s, w) + cuts->cost[n - w] - cuts->cost[n];
        /* an estimate by neighbours may be wrong by as much as it says */
        if (!s->widths[w].n) more += 0.5 * shape_decode_ms(s, w);
        if (more > left) continue;
        if (more > 0) s->explored_ms += more;
        return w;
    }
    return 0;
}

int32_t shape_split(struct shape *s, int32_t n)
{
    struct cuts cuts;
    ht_assert(n >= 1 && n <= SHAPE_WIDTH_MAX);
    find_cuts(s, n, &cuts);
    int32_t w = explore(s, n, &cuts);
    return w ? w : cuts.first[n];
}

/* ---- prefill ------------------------------------------------------------------------------ */

static void features(int32_t n, int32_t before, double x[3])
{
    x[0] = 1;
    x[1] = n / TOKENS_SCALE;
    x[2] = n * (before + n / 2.0) / CONTEXT_SCALE;
}

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* Least squares with coefficients >= 0, one coordinate after the other. */
static void solve(struct shape *s)
{
    enum { ROUNDS = 60 };
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < 3; i++) {
            double rest = s->b[i] - dot(s->a[i], s->coef) + s->a[i][i] * s->coef[i];
            s->coef[i] = rest > 0 ? rest / s->a[i][i] : 0;
        }
}

/* The first sample says what a token costs, about; how that is spread is guessed. */
static void guess(struct shape *s, int32_t n, int32_t before, double ms)
{
    double x[3];
    features(n, before, x);
    s->coef[0] = GUESS_FIXED * ms;
    s->coef[1] = (1 - GUESS_FIXED) * ms / (x[1] + GUESS_CONTEXT * x[2]);
    s->coef[2] = GUESS_CONTEXT * s->coef[1];
}

/* What is known so far counts as much as a few hundredths of a sample. */
static void begin_learning(struct shape *s)
{
    memset(s->a, 0, sizeof s->a);
    for (int i = 0; i < 3; i++) {
        double typical = s->coef[i] > 0 ? s->coef[i] : 1;
        s->inertia[i] = INERTIA / (typical * typical);
        s->a[i][i] = s->inertia[i];
        s->b[i] = s->inertia[i] * s->coef[i];
    }
}

void shape_saw_prefill(struct shape *s, int32_t n, int32_t before, double ms)
{
    ht_assert(n >= 1 && before >= 0);
    if (!(ms > 0)) ms = 1e-3;
    if (n > s->largest) s->largest = n;
    if (!s->n_prefills) {
        guess(s, n, before, ms);
        begin_learning(s);
    }
    double expected = shape_prefill_ms(s, n, before), x[3];
    if (s->n_prefills > SHAPE_KNOWN && ms > SHAPE_OUTLIER * expected) ms = SHAPE_OUTLIER * expected;
    s->n_prefills++;
    features(n, before, x);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            s->a[i][j] = SHAPE_FORGET * s->a[i][j] + x[i] * x[j] / (ms * ms);
        s->b[i] = SHAPE_FORGET * s->b[i] + x[i] / ms;
        /* A direction that no sample shows any more stays as it is. */
        s->a[i][i] += (1 - SHAPE_FORGET) * s->inertia[i];
        s->b[i] += (1 - SHAPE_FORGET) * s->inertia[i] * s->coef[i];
    }
    solve(s);
}

double shape_prefill_ms(const struct shape *s, int32_t n, int32_t before)
{
    double x[3];
    if (!s->n_prefills) return shape_decode_ms(s, 1) * (1 + UNSEEN_TOKEN * (n - 1));
    features(n, before, x);
    double ms = dot(s->coef, x);
    return ms > 1e-3 ? ms : 1e-3;
}

int32_t shape_prefill_fit(const struct shape *s, double ms, int32_t before, int32_t most)
{
    int32_t limit = s->n_prefills ? SHAPE_GROWTH * s->largest : SHAPE_FIRST_PIECE;
    int32_t low = 1, high = most < limit ? most : limit;
    while (low < high) {
        int32_t mid = low + (high - low + 1) / 2;
        if (shape_prefill_ms(s, mid, before) <= ms)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* ---- profile ------------------------------------------------------------------------------ */

void shape_init(struct shape *s, const struct shape_profile *profile)
{
    *s = (struct shape){0};
    if (!profile) return;
    for (int32_t w = 1; w <= SHAPE_WIDTH_MAX; w++)
        if (profile->decode_ms[w] > 0)
            for (int i = 0; i < SHAPE_KNOWN; i++) add_sample(s, w, (double)profile->decode_ms[w]);
    if (!(profile->prefill_token_ms > 0)) return;
    s->coef[0] = (double)profile->prefill_fixed_ms;
    s->coef[1] = (double)profile->prefill_token_ms * TOKENS_SCALE;
    s->coef[2] = (double)profile->prefill_context_ms * CONTEXT_SCALE / 1000;
    s->n_prefills = 1;
    s->largest = profile->prefill_largest > 0 ? profile->prefill_largest : SHAPE_FIRST_PIECE;
    begin_learning(s);
}

void shape_get(const struct shape *s, struct shape_profile *out)
{
    memset(out->decode_ms, 0, sizeof out->decode_ms);
    for (int32_t w = 1; w <= SHAPE_WIDTH_MAX; w++)
        if (s->widths[w].n >= SHAPE_KNOWN) out->decode_ms[w] = s->widths[w].ms;
    out->prefill_fixed_ms = (float)s->coef[0];
    out->prefill_token_ms = (float)(s->coef[1] / TOKENS_SCALE);
    out->prefill_context_ms = (float)(s->coef[2] / CONTEXT_SCALE * 1000);
    out->prefill_largest = s->largest;
}
