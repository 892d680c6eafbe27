/* Metrics: one atomic per counter and gauge, one per bucket of a histogram. Updates are relaxed
 * additions; a rendering taken during updates may miss the newest ones, but a histogram's count is
 * always the sum of the buckets it shows.
 *
 * All that counts lies in one flat struct without pointers, so that it may as well lie in memory
 * that processes share. A series is claimed with one compare-and-swap; whoever died between claim
 * and name leaves a slot that is never used, which is all the harm it does. */
#include "base/metrics.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"

enum kind { counter, gauge, histogram, series };

/* Upper bounds; the last bucket takes the rest. The text is what Prometheus shows as `le`. */
static const struct {
    int64_t ns;
    const char *le;
} bounds[] = {
    {500000, "0.0005"},    {1000000, "0.001"},  {2500000, "0.0025"}, {5000000, "0.005"},
    {10000000, "0.01"},    {25000000, "0.025"}, {50000000, "0.05"},  {100000000, "0.1"},
    {250000000, "0.25"},   {500000000, "0.5"},  {1000000000, "1"},   {2500000000, "2.5"},
    {5000000000, "5"},     {10000000000, "10"}, {30000000000, "30"}, {60000000000, "60"},
    {120000000000, "120"},
};
enum { N_BOUNDS = sizeof bounds / sizeof *bounds };

static const struct {
    const char *name, *help;
    enum kind kind;
} metrics[METRIC_COUNT] = {
#define X(name, kind, help) {"hearth_" #name, help, kind},
    METRICS(X)
#undef X
};

/* The metrics of kind series, numbered from 0. */
enum {
#define PASTE_counter(name)
#define PASTE_gauge(name)
#define PASTE_histogram(name)
#define PASTE_series(name)  IN_SERIES_##name,
#define X(name, kind, help) PASTE_##kind(name)
    METRICS(X)
#undef X
        N_IN_SERIES
};

static const int in_series[METRIC_COUNT] = {
#undef PASTE_series
#define PASTE_series(name)  [METRIC_##name] = IN_SERIES_##name,
#define X(name, kind, help) PASTE_##kind(name)
    METRICS(X)
#undef X
};

struct cell {
    atomic_int_fast64_t value; /* of a histogram: the sum in nanoseconds */
    atomic_int_fast64_t buckets[N_BOUNDS + 1];
};

enum { CLASSES = 3 };
enum { SERIES_FREE, SERIES_CLAIMED, SERIES_READY };

struct series_state {
    atomic_int state;
    char model[METRIC_LABEL_MAX]; /* these two are constant once READY */
    int class;
    struct cell cells[N_IN_SERIES];
};

struct metrics_table {
    struct cell cells[METRIC_COUNT];
    /* The last three are those of model="other". */
    struct series_state series[METRIC_SERIES_MAX + CLASSES];
    /* What a child process counts in its gauges, so that they can be taken back when it ends. */
    atomic_int_fast64_t child_gauges[METRIC_COUNT];
};

static struct metrics_table private_table;
static _Atomic(struct metrics_table *) shared; /* NULL: private_table */
static bool in_child;                          /* written before threads exist */

static struct metrics_table *table(void)
{
    struct metrics_table *t = atomic_load_explicit(&shared, memory_order_acquire);
    return t ? t : &private_table;
}

size_t metrics_size(void)
{
    return sizeof private_table;
}

/* What was counted while this copies may be lost. */
void metrics_move(void *memory, bool child)
{
    in_child = child;
    if (!child) memcpy(memory, &private_table, sizeof private_table);
    atomic_store_explicit(&shared, memory, memory_order_release);
}

void metrics_child_ended(void)
{
    for (int m = 0; m < METRIC_COUNT; m++)
        atomic_store_explicit(&table()->child_gauges[m], 0, memory_order_relaxed);
}

/* A gauge's value is the sum of both processes'. */
static atomic_int_fast64_t *gauge_of(enum metric m)
{
    return in_child ? &table()->child_gauges[m] : &table()->cells[m].value;
}

static struct cell *get(enum metric m)
{
    ht_assert((unsigned)m < METRIC_COUNT);
    return &table()->cells[m];
}

void metric_add(enum metric m, int64_t n)
{
    struct cell *c = get(m);
    ht_assert(metrics[m].kind == gauge || (metrics[m].kind == counter && n >= 0));
    atomic_fetch_add_explicit(metrics[m].kind == gauge ? gauge_of(m) : &c->value, n,
                              memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
    ht_assert((unsigned)m < METRIC_COUNT && metrics[m].kind == gauge);
    atomic_store_explicit(gauge_of(m), value, memory_order_relaxed);
}

static void observe(struct cell *c, int64_t ns)
{
    if (ns < 0) ns = 0;
    size_t i = 0;
    while (i < N_BOUNDS && ns > bounds[i].ns) i++;
    atomic_fetch_add_explicit(&c->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->value, ns, memory_order_relaxed);
}

void metric_observe_ns(enum metric m, int64_t ns)
{
    struct cell *c = get(m);
    ht_assert(metrics[m].kind == histogram);
    observe(c, ns);
}

/* ---- series -------------------------------------------------------------------------------- */

static const char *const class_names[CLASSES] = {"interactive", "normal", "background"};

static int class_of(int32_t priority)
{
    return priority < 34 ? 0 : priority < 67 ? 1 : 2;
}

const char *metric_priority_class(int32_t priority)
{
    return class_names[class_of(priority)];
}

/* Whether the slot is ready; waits a little for one who is just naming it. */
static bool series_ready(const struct series_state *s)
{
    for (int tries = 0; tries < 1000; tries++) {
        int state = atomic_load_explicit(&s->state, memory_order_acquire);
        if (state != SERIES_CLAIMED) return state == SERIES_READY;
        sched_yield();
    }
    return false;
}

static bool series_claim(struct series_state *s, const char *model, int class)
{
    int expected = SERIES_FREE;
    if (!atomic_compare_exchange_strong(&s->state, &expected, SERIES_CLAIMED)) return false;
    str_copy(s->model, sizeof s->model, model);
    s->class = class;
    atomic_store_explicit(&s->state, SERIES_READY, memory_order_release);
    return true;
}

int metric_series(const char *model, int32_t priority)
{
    int class = class_of(priority), last = METRIC_SERIES_MAX + class;
    char name[METRIC_LABEL_MAX]; /* as it is kept: a long one is cut */
    str_copy(name, sizeof name, model);
    for (int i = 0; i < METRIC_SERIES_MAX; i++) {
        struct series_state *s = &table()->series[i];
        if (atomic_load(&s->state) == SERIES_FREE && series_claim(s, name, class)) return i;
        if (series_ready(s) && s->class == class && str_eq(s->model, name)) return i;
    }
    if (!series_ready(&table()->series[last])) series_claim(&table()->series[last], "other", class);
    return last;
}

void metric_observe_series_ns(enum metric m, int number, int64_t ns)
{
    ht_assert((unsigned)m < METRIC_COUNT && metrics[m].kind == series);
    ht_assert(number >= 0 && number < METRIC_SERIES_MAX + CLASSES);
    observe(&table()->series[number].cells[in_series[m]], ns);
}

/* ---- reading ------------------------------------------------------------------------------- */

static int64_t cell_count(const struct cell *c)
{
    int64_t n = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++)
        n += atomic_load_explicit(&c->buckets[i], memory_order_relaxed);
    return n;
}

int64_t metric_value(enum metric m)
{
    const struct cell *c = get(m);
    if (metrics[m].kind == histogram) return cell_count(c);
    if (metrics[m].kind != series)
        return atomic_load_explicit(&c->value, memory_order_relaxed) +
               atomic_load_explicit(&table()->child_gauges[m], memory_order_relaxed);
    int64_t n = 0;
    for (int i = 0; i < METRIC_SERIES_MAX + CLASSES; i++)
        n += cell_count(&table()->series[i].cells[in_series[m]]);
    return n;
}

/* labels: "" or `model="...",priority="...",` */
static void render_histogram(const char *name, const char *labels, const struct cell *c,
                             struct buf *out)
{
    int64_t n = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++) {
        n += atomic_load_explicit(&c->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%sle=\"%s\"} %lld\n", name, labels,
                   i < N_BOUNDS ? bounds[i].le : "+Inf", (long long)n);
    }
    /* The labels without the comma behind them. As integers: a decimal point from printf would be
     * the locale's. */
    char own[2 * METRIC_LABEL_MAX + 64] = "";
    size_t len = strlen(labels);
    if (len) str_printf(own, sizeof own, "{%.*s}", (int)len - 1, labels);
    int64_t sum = atomic_load_explicit(&c->value, memory_order_relaxed);
    buf_printf(out, "%s_sum%s %lld.%09lld\n%s_count%s %lld\n", name, own,
               (long long)(sum / 1000000000), (long long)(sum % 1000000000), name, own,
               (long long)n);
}

/* A label's value: backslash, quote and line break are escaped (names of files can hold them). */
static void label_value(char *dst, size_t size, const char *s)
{
    size_t n = 0;
    for (; *s && n + 3 < size; s++) {
        if (*s == '\\' || *s == '"' || *s == '\n') dst[n++] = '\\';
        dst[n++] = *s == '\n' ? 'n' : *s;
    }
    dst[n] = '\0';
}

static void render_series(enum metric m, struct buf *out)
{
    for (int i = 0; i < METRIC_SERIES_MAX + CLASSES; i++) {
        const struct series_state *s = &table()->series[i];
        char model[2 * METRIC_LABEL_MAX], labels[2 * METRIC_LABEL_MAX + 48];
        if (atomic_load_explicit(&s->state, memory_order_acquire) != SERIES_READY) continue;
        label_value(model, sizeof model, s->model);
        str_printf(labels, sizeof labels, "model=\"%s\",priority=\"%s\",", model,
                   class_names[(unsigned)s->class % CLASSES]); /* a child may have written it */
        render_histogram(metrics[m].name, labels, &s->cells[in_series[m]], out);
    }
}

enum err metrics_render(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "histogram"};
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct cell *c = &table()->cells[i];
        const char *name = metrics[i].name;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, metrics[i].help, name,
                   kinds[metrics[i].kind]);
        if (metrics[i].kind == histogram) {
            render_histogram(name, "", c, out);
        } else if (metrics[i].kind == series) {
            render_series((enum metric)i, out);
        } else {
            buf_printf(out, "%s %lld\n", name, (long long)metric_value((enum metric)i));
        }
    }
    return out->err;
}
