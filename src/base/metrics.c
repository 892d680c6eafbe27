/* Metrics: one atomic per counter and gauge, one per bucket of a histogram. Updates are relaxed
 * additions; a rendering taken during updates may miss the newest ones, but a histogram's count is
 * always the sum of the buckets it shows. */
#include "base/metrics.h"

#include <stdatomic.h>
#include <stddef.h>

enum kind { counter, gauge, histogram };

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

static struct metric_state {
    const char *name, *help;
    enum kind kind;
    atomic_int_fast64_t value; /* of a histogram: the sum in nanoseconds */
    atomic_int_fast64_t buckets[N_BOUNDS + 1];
} metrics[METRIC_COUNT] = {
#define X(name, kind, help) {"hearth_" #name, help, kind, 0, {0}},
    METRICS(X)
#undef X
};

static struct metric_state *get(enum metric m)
{
    ht_assert((unsigned)m < METRIC_COUNT);
    return &metrics[m];
}

void metric_add(enum metric m, int64_t n)
{
    struct metric_state *s = get(m);
    ht_assert(s->kind == gauge || (s->kind == counter && n >= 0));
    atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
    struct metric_state *s = get(m);
    ht_assert(s->kind == gauge);
    atomic_store_explicit(&s->value, value, memory_order_relaxed);
}

void metric_observe_ns(enum metric m, int64_t ns)
{
    struct metric_state *s = get(m);
    ht_assert(s->kind == histogram);
    if (ns < 0) ns = 0;
    size_t i = 0;
    while (i < N_BOUNDS && ns > bounds[i].ns) i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->value, ns, memory_order_relaxed);
}

int64_t metric_value(enum metric m)
{
    struct metric_state *s = get(m);
    if (s->kind != histogram) return atomic_load_explicit(&s->value, memory_order_relaxed);
    int64_t n = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++)
        n += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
    return n;
}

static void render_histogram(struct metric_state *s, struct buf *out)
{
    int64_t n = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++) {
        n += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{le=\"%s\"} %lld\n", s->name,
                   i < N_BOUNDS ? bounds[i].le : "+Inf", (long long)n);
    }
    /* As integers: a decimal point from printf would be the locale's. */
    int64_t sum = atomic_load_explicit(&s->value, memory_order_relaxed);
    buf_printf(out, "%s_sum %lld.%09lld\n%s_count %lld\n", s->name, (long long)(sum / 1000000000),
               (long long)(sum % 1000000000), s->name, (long long)n);
}

enum err metrics_render(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        struct metric_state *s = &metrics[i];
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, kinds[s->kind]);
        if (s->kind == histogram) {
            render_histogram(s, out);
        } else {
            int64_t v = atomic_load_explicit(&s->value, memory_order_relaxed);
            buf_printf(out, "%s %lld\n", s->name, (long long)v);
        }
    }
    return out->err;
}
