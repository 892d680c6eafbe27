/* Questions to the provider; see ask.h. */
#include "api/ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hub/hub.h"

struct question {
    struct hub *hub;
    ask_fn then;
    void *ctx;
    char *text; /* a copy of the answer */
    size_t len;
};

static void question_free(struct question *q)
{
    free(q->text);
    free(q);
}

static void failed(struct question *q, const struct error *error)
{
    q->then(q->ctx, error, NULL);
    question_free(q);
}

/* On the pool. */
static void go_on(void *arg)
{
    struct question *q = arg;
    struct error error;
    json_t *answer;
    if (json_parse(q->text, q->len, &answer, &error)) {
        failed(q, &error);
        return;
    }
    q->then(q->ctx, NULL, answer);
    json_decref(answer);
    question_free(q);
}

static void on_answer(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct question *q = ctx;
    struct error own;
    if (!error) {
        q->text = try_malloc(len + 1);
        q->len = len;
        if (!q->text) {
            err_set(&own, ERR_NOMEM, "no memory for the answer");
            error = &own;
        }
    }
    if (!error) {
        memcpy(q->text, answer, len);
        q->text[len] = '\0';
        enum err e = pool_submit(q->hub->pool, go_on, q);
        if (!e) return;
        err_set(&own, e, "the hub is too busy; try again later");
        error = &own;
    }
    failed(q, error);
}

void ask_provider(struct hub *hub, enum control what, const char *args, ask_fn then, void *ctx)
{
    struct question *q = xcalloc(1, sizeof *q);
    struct error error;
    *q = (struct question){.hub = hub, .then = then, .ctx = ctx};
    if (provider_control(hub->provider, what, args, on_answer, q, &error)) failed(q, &error);
}
