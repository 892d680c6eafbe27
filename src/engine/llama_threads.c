/* The threads that compute for one context. Without this the library makes and joins them anew for
 * every step, and on a busy machine a new thread waits for its turn each time: with other work on
 * both cores a token of a 0.5B model took 44 ms instead of the 31 ms that it takes with threads
 * that are there. Between two steps they look for work in a busy loop for some milliseconds, which
 * is longer than sampling takes, and then sleep: who has nothing to compute costs nothing. (The
 * library's own default is to look for some hundred milliseconds.)
 *
 * Owned by the context, used by the thread that decodes with it. */
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <string.h>

#include "engine/llama_int.h"

enum { POLL = 1 /* of 100: 131,072 looks */ };

struct makers {
    struct ggml_threadpool *(*make)(struct ggml_threadpool_params *);
    void (*end)(struct ggml_threadpool *);
};

/* The CPU back end is loaded at run time; false: it has no such thing. */
static bool find_makers(struct makers *m)
{
    ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t reg = dev ? ggml_backend_dev_backend_reg(dev) : NULL;
    if (!reg) return false;
    /* Functions come as object pointers (dlsym); memcpy is how C converts them. */
    void *make = ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_new");
    void *end = ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_free");
    memcpy(&m->make, &make, sizeof make);
    memcpy(&m->end, &end, sizeof end);
    return make && end;
}

static struct ggml_threadpool *make_pool(const struct makers *m, int32_t n, bool paused)
{
    struct ggml_threadpool_params params = ggml_threadpool_params_default(n);
    params.poll = POLL;
    params.paused = paused;
    return m->make(&params);
}

void le_threads_attach(struct llama_context *ctx, struct le_threads *t)
{
    struct makers m;
    int32_t one = llama_n_threads(ctx), batch = llama_n_threads_batch(ctx);
    *t = (struct le_threads){0};
    if ((one <= 1 && batch <= 1) || !find_makers(&m)) return;
    /* A pool must have as many threads as the step wants. */
    bool two = batch != one;
    if (two) t->batch = make_pool(&m, batch, false);
    t->one = make_pool(&m, one, two);
    if (!t->one || (two && !t->batch)) {
        le_threads_free(t);
        return;
    }
    llama_attach_threadpool(ctx, t->one, t->batch);
}

void le_threads_free(struct le_threads *t)
{
    struct makers m;
    if ((t->one || t->batch) && find_makers(&m)) {
        if (t->one) m.end(t->one);
        if (t->batch) m.end(t->batch);
    }
    *t = (struct le_threads){0};
}
