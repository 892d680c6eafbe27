/* What the process is doing; see doing.h. The page may be written by a process that is not to be
 * trusted: who reads it copies first. */
#include "base/doing.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

struct entry {
    atomic_int active;
    char model[DOING_MODEL_MAX];
};

struct page {
    struct entry now[DOING_COUNT];
    struct entry culprit;
    atomic_llong decode_since_ms, decode_longest_ms; /* DOING_DECODE; 0 = none */
};
static_assert(sizeof(struct page) <= DOING_PAGE, "it fits");

static struct page own;
static struct page *page = &own;

static _Thread_local char mine[DOING_MODEL_MAX];

void doing_share(void *shared)
{
    page = shared ? shared : &own;
}

static void set(struct entry *e, const char *model)
{
    atomic_store_explicit(&e->active, 0, memory_order_relaxed);
    str_copy(e->model, sizeof e->model, model);
    atomic_store_explicit(&e->active, 1, memory_order_release);
}

void doing_for(const char *model)
{
    str_copy(mine, sizeof mine, model);
}

void doing_begin(enum doing what, const char *model)
{
    doing_for(model);
    set(&page->now[what], model);
    if (what == DOING_DECODE)
        atomic_store_explicit(&page->decode_since_ms, clock_mono_ms(), memory_order_relaxed);
}

void doing_end(enum doing what)
{
    atomic_store_explicit(&page->now[what].active, 0, memory_order_relaxed);
    if (what != DOING_DECODE) return;
    long long since = atomic_exchange_explicit(&page->decode_since_ms, 0, memory_order_relaxed);
    long long ms = clock_mono_ms() - since;
    if (ms > atomic_load_explicit(&page->decode_longest_ms, memory_order_relaxed))
        atomic_store_explicit(&page->decode_longest_ms, ms, memory_order_relaxed);
}

void doing_step(const void *shared, int64_t *since_ms, int64_t *longest_ms)
{
    const struct page *p = shared;
    int64_t since = atomic_load_explicit(&p->decode_since_ms, memory_order_relaxed);
    int64_t longest = atomic_load_explicit(&p->decode_longest_ms, memory_order_relaxed);
    *since_ms = since > 0 ? since : 0;
    *longest_ms = longest > 0 ? longest : 0;
}

void doing_crashed(void)
{
    if (mine[0]) set(&page->culprit, mine);
}

static bool get(const struct entry *e, char *model, size_t size)
{
    char copy[DOING_MODEL_MAX];
    if (!atomic_load_explicit(&e->active, memory_order_acquire)) return false;
    memcpy(copy, e->model, sizeof copy);
    copy[sizeof copy - 1] = '\0';
    str_copy(model, size, copy);
    return *model != '\0';
}

void doing_read(const void *shared, char *model, size_t size, const char **what)
{
    const struct page *p = shared;
    *what = "";
    model[0] = '\0';
    if (get(&p->culprit, model, size))
        *what = get(&p->now[DOING_LOAD], (char[DOING_MODEL_MAX]){0}, DOING_MODEL_MAX) &&
                        str_eq(model, p->now[DOING_LOAD].model)
                    ? "loading"
                    : "running";
    else if (get(&p->now[DOING_LOAD], model, size))
        *what = "loading";
    else if (get(&p->now[DOING_DECODE], model, size))
        *what = "running";
}
