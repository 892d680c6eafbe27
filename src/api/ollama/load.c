/* Calls with nothing to answer: they load a model, or unload it. */
#include <stdlib.h>

#include "api/ollama/ollama_int.h"
#include "api/responder.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

struct loading {
    struct responder *reply;
    bool stream, unload, elsewhere;
    ollama_loaded_fn *write;
    char model[MODEL_ID_MAX];
    int64_t started_ns;
};

static void refuse(struct loading *l, const struct error *error)
{
    struct error said = *error;
    if (said.code == ERR_NO_MODEL) ollama_no_model(&said, l->model);
    responder_error(l->reply, &said);
    free(l);
}

static void on_loaded(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct loading *l = ctx;
    struct buf body;
    struct jw w;
    (void)answer, (void)len;
    if (error && !(error->code == ERR_NO_MODEL && l->elsewhere)) {
        refuse(l, error);
        return;
    }
    buf_init(&body, 4096);
    jw_init(&w, &body);
    jw_obj(&w);
    l->write(&w, l->model, l->unload, l->started_ns);
    jw_obj_end(&w);
    if (l->stream) buf_putc(&body, '\n');
    responder_buf(l->reply, l->stream ? NDJSON : RESPOND_JSON, &body);
    buf_free(&body);
    free(l);
}

/* As the provider's verb has it: milliseconds, for ever, or what is configured. */
static void put_keep_alive(struct jw *w, int64_t ms)
{
    char text[32];
    if (ms == KEEP_ALIVE_FOREVER) jw_kstr(w, "keep_alive", "forever");
    if (ms <= 0) return;
    str_printf(text, sizeof text, "%lldms", (long long)ms);
    jw_kstr(w, "keep_alive", text);
}

/* There is nothing to load of a model that another provider may have, and it is not unknown. */
static bool is_elsewhere(struct hub *hub, const struct plan_ask *who)
{
    struct plan *plan = xcalloc(1, sizeof *plan);
    struct plan_world world = {0};
    const struct routing *r = router_routing(hub->router);
    bool found = false;
    if (plan_make(r, who, &world, plan, NULL) == OK)
        for (size_t i = 0; i < plan->n; i++) found |= plan->steps[i].provider != 0;
    free(plan);
    return found;
}

void ollama_load(struct hub *hub, const struct http_request *req, struct sink *sink,
                 const struct ollama_load *wish)
{
    struct loading *l = xcalloc(1, sizeof *l);
    struct error error;
    struct buf args;
    struct jw w;
    *l = (struct loading){.reply = responder_new(sink, &error_ollama, req->request_id),
                          .stream = wish->stream,
                          .unload = wish->unload,
                          .elsewhere = is_elsewhere(hub, &wish->who),
                          .write = wish->write,
                          .started_ns = clock_mono_ns()};
    str_copy(l->model, sizeof l->model, wish->asked);
    buf_init(&args, 4096);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", wish->who.model);
    if (!l->unload) put_keep_alive(&w, wish->keep_alive_ms);
    if (!l->unload) jw_kbool(&w, "wait", true);
    jw_obj_end(&w);
    if (provider_control(hub->provider, l->unload ? CONTROL_UNLOAD : CONTROL_LOAD, buf_str(&args),
                         on_loaded, l, &error))
        refuse(l, &error);
    buf_free(&args);
}
