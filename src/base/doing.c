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
    atomic_int culprit_did;                      /* enum doing */
    atomic_llong step_since_ms, step_longest_ms; /* DOING_STEP; 0 = none */
    atomic_llong load_since_ms, loaded_ms;       /* DOING_LOAD; 0 = none; what was done before */
};
static_assert(sizeof(struct page) <= DOING_PAGE, "it fits");

static struct page own;
static struct page *page = &own;

static const char *const words[DOING_COUNT] = {
    [DOING_LOAD] = "loading", [DOING_ADAPTER] = "loading an adapter of", [DOING_STEP] = "running"};

static _Thread_local char mine[DOING_MODEL_MAX];
static _Thread_local enum doing my_doing = DOING_STEP; /* who only says a model runs it */

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
    my_doing = DOING_STEP;
}

static atomic_llong *since_of(enum doing what)
{
    if (what == DOING_STEP) return &page->step_since_ms;
    return what == DOING_LOAD ? &page->load_since_ms : NULL;
}

void doing_begin(enum doing what, const char *model)
{
    doing_for(model);
    my_doing = what;
    set(&page->now[what], model);
    atomic_llong *since = since_of(what);
    if (since) atomic_store_explicit(since, clock_mono_ms(), memory_order_relaxed);
}

void doing_end(enum doing what)
{
    doing_for("");
    atomic_store_explicit(&page->now[what].active, 0, memory_order_relaxed);
    atomic_llong *since = since_of(what);
    if (!since) return;
    long long ms = clock_mono_ms() - atomic_load_explicit(since, memory_order_relaxed);
    if (what == DOING_LOAD)
        atomic_fetch_add_explicit(&page->loaded_ms, ms, memory_order_relaxed);
    else if (ms > atomic_load_explicit(&page->step_longest_ms, memory_order_relaxed))
        atomic_store_explicit(&page->step_longest_ms, ms, memory_order_relaxed);
    atomic_store_explicit(since, 0, memory_order_relaxed);
}

void doing_step(const void *shared, int64_t *since_ms, int64_t *longest_ms)
{
    const struct page *p = shared;
    int64_t since = atomic_load_explicit(&p->step_since_ms, memory_order_relaxed);
    int64_t longest = atomic_load_explicit(&p->step_longest_ms, memory_order_relaxed);
    *since_ms = since > 0 ? since : 0;
    *longest_ms = longest > 0 ? longest : 0;
}

int64_t doing_loaded_ms(const void *shared)
{
    const struct page *p = shared;
    int64_t since = atomic_load_explicit(&p->load_since_ms, memory_order_relaxed);
    int64_t before = atomic_load_explicit(&p->loaded_ms, memory_order_relaxed);
    int64_t now = clock_mono_ms();
    if (before < 0 || before > now) before = 0; /* longer than the machine runs */
    return before + (since > 0 && since < now ? now - since : 0);
}

void doing_crashed(void)
{
    if (!mine[0]) return;
    atomic_store_explicit(&page->culprit_did, (int)my_doing, memory_order_relaxed);
    set(&page->culprit, mine);
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

void doing_read(const void *shared, bool hung, char *model, size_t size, const char **what)
{
    const struct page *p = shared;
    *what = "";
    model[0] = '\0';
    if (hung && get(&p->now[DOING_STEP], model, size)) {
        *what = words[DOING_STEP];
        return;
    }
    if (get(&p->culprit, model, size)) {
        int did = atomic_load_explicit(&p->culprit_did, memory_order_relaxed);
        *what = words[did >= 0 && did < DOING_COUNT ? did : DOING_STEP];
        return;
    }
    for (int i = 0; i < DOING_COUNT && !**what; i++)
        if (get(&p->now[i], model, size)) *what = words[i];
}
