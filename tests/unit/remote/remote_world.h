/* What the tests of remote share: an instance over a scripted server, requests, and what came. */
#ifndef HEARTH_TESTS_REMOTE_WORLD_H
#define HEARTH_TESTS_REMOTE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/remote.h"
#include "unit/httpc/http_script.h"

struct world {
    struct httpc *httpc;
    struct timers *timers;
    struct script *server;
    struct provider *p;
};

/* What a listener heard: one line per event, and the last one's facts. */
struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char log[8192];
    int starts, ends, events, queued, position;
    enum err code;
    char message[ERROR_MSG_MAX];
    int32_t retry_after_s;
    struct usage usage;
    struct timings timings;
    char model[64];
};

__attribute__((unused)) static void heard_init(struct heard *h)
{
    *h = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

__attribute__((unused, format(printf, 2, 3))) static void heard_say(struct heard *h,
                                                                    const char *fmt, ...)
{
    size_t len = strlen(h->log);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->log + len, sizeof h->log - len, fmt, ap);
    va_end(ap);
}

__attribute__((unused)) static void on_heard(void *ctx, const struct gen_event *ev)
{
    struct heard *h = ctx;
    static const char *const finishes[] = {"stop", "length", "tools", "cancelled"};
    pthread_mutex_lock(&h->lock);
    assert_int_equal(h->ends, 0); /* nothing comes behind the end */
    h->events++;
    switch (ev->type) {
    case GEN_EV_STARTED:
        h->starts++;
        str_copy(h->model, sizeof h->model, ev->model);
        break;
    case GEN_EV_TEXT:
        assert_int_equal(h->starts, 1);
        heard_say(h, "%d text %.*s|", ev->choice, (int)ev->text_len, ev->text);
        for (size_t i = 0; i < ev->n_logprobs; i++)
            heard_say(h, "(%.*s %.2f %zu)", (int)ev->logprobs[i].chosen.len,
                      ev->logprobs[i].chosen.text, (double)ev->logprobs[i].chosen.logprob,
                      ev->logprobs[i].n_top);
        break;
    case GEN_EV_REASONING:
        heard_say(h, "%d thought %.*s%s|", ev->choice, (int)ev->text_len, ev->text,
                  ev->signature ? ev->signature : "");
        break;
    case GEN_EV_TOOL_CALL:
        if (ev->tool.name)
            heard_say(h, "%d tool %d %s %s|", ev->choice, ev->tool.index, ev->tool.id,
                      ev->tool.name);
        else
            heard_say(h, "%d args %d %.*s|", ev->choice, ev->tool.index,
                      (int)ev->tool.arguments_len, ev->tool.arguments);
        break;
    case GEN_EV_CHOICE_END: heard_say(h, "%d end %s|", ev->choice, finishes[ev->finish]); break;
    case GEN_EV_QUEUED:
        assert_int_equal(h->starts, 0);
        h->queued++;
        h->position = ev->position;
        break;
    case GEN_EV_DONE:
        h->usage = ev->usage;
        h->timings = ev->timings;
        heard_say(h, "done");
        h->ends++;
        break;
    case GEN_EV_ERROR:
        h->code = ev->error->code;
        h->usage = ev->usage;
        h->retry_after_s = ev->error->retry_after_s;
        str_copy(h->message, sizeof h->message, ev->error->msg);
        heard_say(h, "error");
        h->ends++;
        break;
    default: break;
    }
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

__attribute__((unused)) static void heard_wait(struct heard *h)
{
    pthread_mutex_lock(&h->lock);
    while (!h->ends) pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

__attribute__((unused)) static void heard_wait_events(struct heard *h, int n)
{
    pthread_mutex_lock(&h->lock);
    while (h->events < n && !h->ends) pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

/* params: the base URL may be NULL, which is the server's. */
__attribute__((unused)) static void world_open(struct world *w, script_handler handler, void *ctx,
                                               struct remote_params params)
{
    struct error error = {.code = OK};
    assert_int_equal(httpc_new(&w->httpc, NULL), OK);
    assert_int_equal(timers_new(&w->timers, NULL), OK);
    w->server = handler ? script_start(handler, ctx) : NULL;
    if (!params.name) params.name = "box";
    if (!params.protocol) params.protocol = "openai";
    if (!params.base_url && w->server) params.base_url = w->server->url;
    if (!params.model) params.model = "m";
    if (!params.embed_model) params.embed_model = "e";
    enum err e = remote_open(w->httpc, w->timers, &params, &w->p, &error);
    if (e) fail_msg("%s", error.msg);
}

__attribute__((unused)) static void world_close(struct world *w)
{
    provider_close(w->p, 0);
    if (w->server) script_stop(w->server);
    timers_free(w->timers);
    httpc_free(w->httpc);
}

/* One user message; the rest as the surfaces fill it in. */
__attribute__((unused)) static struct gen_request *chat_request(const char *text)
{
    struct arena *a = arena_new(1 << 20);
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    struct message *m = arena_calloc(a, 1, sizeof *m);
    *m = (struct message){.role = ROLE_USER, .content = arena_strdup(a, text)};
    *req = (struct gen_request){
        .arena = a,
        .request_id = "req-1",
        .model = "",
        .tenant = "",
        .messages = m,
        .n_messages = 1,
        .n = 1,
        .parallel_tool_calls = true,
        .max_tokens = -1,
        .sampling = {.temperature = 0.7F,
                     .top_k = 40,
                     .top_p = 0.9F,
                     .min_p = 0.05F,
                     .repeat_penalty = 1,
                     .seed = SEED_RANDOM},
        .priority = PRIORITY_DEFAULT,
    };
    return req;
}

__attribute__((unused)) static uint64_t ask(struct world *w, struct heard *h,
                                            struct gen_request *req)
{
    struct error error = {.code = OK};
    uint64_t id = 0;
    heard_init(h);
    enum err e = provider_generate(w->p, req, on_heard, h, &id, &error);
    if (e) {
        h->code = e;
        h->ends = 1;
        h->retry_after_s = error.retry_after_s;
        str_copy(h->message, sizeof h->message, error.msg);
    }
    return id;
}

/* Asks and waits. */
__attribute__((unused)) static void tell(struct world *w, struct heard *h, const char *text)
{
    ask(w, h, chat_request(text));
    heard_wait(h);
}

#endif
