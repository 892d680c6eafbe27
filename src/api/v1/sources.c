/* /api/v1/models: what the sources of answers (this hub and the providers elsewhere) have, and how
 * they are. Each is asked at once, and answers when it can; who has said nothing after PATIENCE_MS
 * is left out of the list and called slow in the states. Nobody outside of this machine is asked on
 * behalf of somebody whose calls must stay on it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/call_route.h"
#include "api/openai/openai.h"
#include "api/tables.h"
#include "api/v1/v1_int.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { PATIENCE_MS = 5000 };

/* Always in the states, configured or not. */
static const char *const always[] = {"local", "ollama", "aihub", "openai"};

struct source {
    struct asking *asking;
    const struct routing_provider *provider; /* NULL: there is none of that name */
    const char *name;
    bool pinned; /* it must not be asked for this caller */
    bool done;
    json_t *answer; /* NULL with an error */
    struct error error;
};

/* References: one of each source that was asked, one of the handler. */
struct asking {
    struct v1_call c;
    bool states; /* else their models */
    bool one;    /* of one source, whose error is the call's */
    const char *mode;
    char own_model[MODEL_ID_MAX]; /* of requests that name none, at this hub; "" = none */
    pthread_mutex_t lock;
    struct timer timer;
    int refs;
    size_t left; /* that have not answered */
    bool over;
    size_t n;
    struct source sources[];
};

/* ---- lists --------------------------------------------------------------------------------- */

static const char *text_of(const json_t *obj, const char *name)
{
    return json_string_value(json_object_get(obj, name));
}

/* Those of other providers under "models", our own under "data" with the rest in "meta". */
static const json_t *models_of(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "models");
    return list ? list : json_object_get(answer, "data");
}

static void put_member(struct jw *w, const char *key, const json_t *value)
{
    if (json_is_string(value))
        jw_kstr(w, key, json_string_value(value));
    else if (json_is_integer(value))
        jw_kint(w, key, json_integer_value(value));
    else if (json_is_boolean(value))
        jw_kbool(w, key, json_is_true(value));
}

static void put_members(struct jw *w, const json_t *obj)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)obj, key, value) {
        if (str_eq(key, "id") || str_eq(key, "provider") || str_eq(key, "name")) continue;
        put_member(w, key, value);
    }
}

static void put_model(struct jw *w, const struct source *s, const json_t *model)
{
    const char *id = text_of(model, "id"), *name = text_of(model, "name");
    if (!id) return;
    jw_obj(w);
    jw_kstr(w, "id", id);
    jw_kstr(w, "name", name ? name : id);
    jw_kstr(w, "source", s->name);
    put_members(w, model);
    put_members(w, json_object_get(model, "meta"));
    jw_obj_end(w);
}

static void put_error(struct jw *w, const struct error *error)
{
    jw_obj(w);
    jw_kstr(w, "code", err_api_code(error->code));
    jw_kstr(w, "message", error->msg);
    jw_obj_end(w);
}

static const char *default_model(const struct asking *a, const struct source *s)
{
    const char *model = !s->provider         ? NULL
                        : s->provider->local ? a->own_model
                                             : s->provider->remote.model;
    return model && *model ? model : NULL;
}

static void write_list(struct asking *a, struct jw *w)
{
    jw_obj(w);
    jw_kstr(w, "mode", a->mode);
    jw_key(w, "models");
    jw_arr(w);
    for (size_t i = 0; i < a->n; i++) {
        const json_t *list = models_of(a->sources[i].answer);
        for (size_t k = 0; k < json_array_size(list); k++)
            put_model(w, &a->sources[i], json_array_get(list, k));
    }
    jw_arr_end(w);
    if (a->one) jw_kstr(w, "default", default_model(a, &a->sources[0]));
    jw_key(w, "errors");
    jw_obj(w);
    for (size_t i = 0; i < a->n; i++) {
        if (!a->sources[i].error.code) continue;
        jw_key(w, a->sources[i].name);
        put_error(w, &a->sources[i].error);
    }
    jw_obj_end(w);
    jw_obj_end(w);
}

/* ---- states -------------------------------------------------------------------------------- */

static const char *state_word(const struct source *s)
{
    if (!s->provider) return "not_configured";
    if (s->pinned) return "pinned";
    if (s->error.code == ERR_TIMEOUT) return "slow";
    if (s->error.code) return "unavailable";
    if (s->provider->local) return "available";
    return json_is_true(json_object_get(s->answer, "healthy")) ? "available" : "unavailable";
}

static void write_state(const struct asking *a, const struct source *s, struct jw *w)
{
    static const char *const passed[] = {"latency_ms", "breaker", "retry_in_ms", "running",
                                         "waiting",    "error",   "code"};
    const char *word = state_word(s);
    jw_obj(w);
    jw_kstr(w, "status", word);
    jw_kbool(w, "available", str_eq(word, "available"));
    jw_kbool(w, "configured", s->provider != NULL);
    jw_kbool(w, "in_chain", s->provider && s->provider->configured);
    jw_kbool(w, "remote", s->provider && s->provider->leaves);
    jw_kstr(w, "model", default_model(a, s));
    if (s->provider && s->provider->local)
        jw_kint(w, "models", (int64_t)json_array_size(models_of(s->answer)));
    else if (s->provider)
        jw_kstr(w, "protocol", s->provider->remote.protocol);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        put_member(w, passed[i], json_object_get(s->answer, passed[i]));
    if (a->c.who.admin) put_member(w, "address", json_object_get(s->answer, "address"));
    if (s->error.code) {
        jw_kstr(w, "error", s->error.msg);
        jw_kstr(w, "code", err_api_code(s->error.code));
    }
    jw_obj_end(w);
}

static void write_states(struct asking *a, struct jw *w)
{
    jw_obj(w);
    for (size_t i = 0; i < a->n; i++) {
        jw_key(w, a->sources[i].name);
        write_state(a, &a->sources[i], w);
    }
    jw_obj_end(w);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* The lock is held. */
static void answer(struct asking *a)
{
    enum err e = OK;
    a->over = true;
    if (a->states)
        write_states(a, &a->c.w);
    else if (a->one && a->sources[0].error.code)
        e = (a->c.error = a->sources[0].error).code;
    else
        write_list(a, &a->c.w);
    v1_end(&a->c, 200, e);
}

static void unref(struct asking *a)
{
    pthread_mutex_lock(&a->lock);
    bool last = --a->refs == 0;
    pthread_mutex_unlock(&a->lock);
    if (!last) return;
    timer_clear(a->c.hub->timers, &a->timer);
    for (size_t i = 0; i < a->n; i++) json_decref(a->sources[i].answer);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* On the clock thread: whoever has not answered is too slow to be waited for. */
static void on_late(void *ctx)
{
    struct asking *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; !a->over && i < a->n; i++)
        if (!a->sources[i].done)
            err_set(&a->sources[i].error, ERR_TIMEOUT, "%s has said nothing for %d s",
                    a->sources[i].name, PATIENCE_MS / 1000);
    if (!a->over) answer(a);
    pthread_mutex_unlock(&a->lock);
}

/* The lock is held. */
static void settled(struct source *s)
{
    s->done = true;
    if (--s->asking->left == 0 && !s->asking->over) answer(s->asking);
}

/* A json_t is one thread's at a time: it is kept only while nobody has written the answer. */
static void on_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct source *s = ctx;
    struct asking *a = s->asking;
    struct error why = {0};
    json_t *root = NULL;
    if (error)
        why = *error;
    else if (json_parse(text, len, &root, &why))
        root = NULL;
    pthread_mutex_lock(&a->lock);
    if (a->over) {
        json_decref(root);
    } else {
        s->answer = root;
        s->error = why;
    }
    settled(s);
    pthread_mutex_unlock(&a->lock);
    unref(a);
}

static void ask_one(struct asking *a, struct source *s)
{
    struct error why = {0};
    enum err e = OK;
    pthread_mutex_lock(&a->lock);
    a->refs++;
    pthread_mutex_unlock(&a->lock);
    if (s->pinned)
        e = err_set(&why, ERR_LOCAL_ONLY, "this call must stay on this machine, so %s is not asked",
                    s->name);
    else if (s->provider && s->provider->local)
        openai_models_get(a->c.hub, on_answer, s);
    else if (s->provider)
        e = router_ask(a->c.hub->router, s->name, a->states ? CONTROL_HEALTH : CONTROL_MODELS, "{}",
                       on_answer, s, &why);
    if (s->provider && !s->pinned && !e) return; /* on_answer's from here on */
    pthread_mutex_lock(&a->lock);
    if (!a->over) s->error = why;
    settled(s);
    pthread_mutex_unlock(&a->lock);
    unref(a);
}

static void add_source(struct asking *a, const struct routing *r, const char *name, bool pinned)
{
    const struct routing_provider *p = routing_provider(r, name);
    for (size_t i = 0; i < a->n; i++)
        if (str_eq(a->sources[i].name, name)) return;
    a->sources[a->n++] = (struct source){
        .asking = a, .provider = p, .name = name, .pinned = pinned && p && !p->trusted};
}

static struct asking *asking_new(const struct v1_call *c, size_t most)
{
    struct asking *a = xcalloc(1, sizeof *a + most * sizeof a->sources[0]);
    a->c = *c;
    a->c.w.out = &a->c.out; /* where it is now */
    a->refs = 1;
    struct model_info info;
    struct error ignored;
    if (hub_default_model(c->hub, &info, &ignored) == OK)
        str_copy(a->own_model, sizeof a->own_model, info.id);
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

/* Takes the call over. */
static void ask_all(struct asking *a)
{
    a->left = a->n;
    timer_set(a->c.hub->timers, &a->timer, PATIENCE_MS, on_late, a);
    for (size_t i = 0; i < a->n; i++) ask_one(a, &a->sources[i]);
    unref(a);
}

/* ---- handlers ------------------------------------------------------------------------------ */

static void list_models(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct call_route route;
    const struct routing *r = router_routing(hub->router);
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    const char *mode = req->query(req, "mode");
    if (mode && (!*mode || str_eq(mode, "all") || str_eq(mode, "auto"))) mode = NULL;
    enum err e = call_route_read(hub->config, req, &route, &c.error);
    if (!e && mode && !routing_provider(r, mode))
        e = routing_no_provider(r, mode, ERR_NOT_FOUND, "mode", &c.error);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    struct asking *a = asking_new(&c, ROUTING_PROVIDERS_MAX);
    a->one = mode != NULL;
    a->mode = mode ? routing_provider(r, mode)->name : NULL;
    if (mode) add_source(a, r, a->mode, route.local_only);
    for (size_t i = 0; !mode && i < r->n_providers; i++)
        if (r->providers[i].configured) add_source(a, r, r->providers[i].name, route.local_only);
    ask_all(a);
}

static void show_states(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct call_route route;
    const struct routing *r = router_routing(hub->router);
    size_t n_always = sizeof always / sizeof *always;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = call_route_read(hub->config, req, &route, &c.error);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    struct asking *a = asking_new(&c, ROUTING_PROVIDERS_MAX + n_always);
    a->states = true;
    for (size_t i = 0; i < n_always; i++) add_source(a, r, always[i], route.local_only);
    for (size_t i = 0; i < r->n_providers; i++)
        add_source(a, r, r->providers[i].name, route.local_only);
    ask_all(a);
}

/* clang-format off */
const struct route v1_source_routes[] = {
    {HTTP_GET, "/api/v1/models/list", list_models, 0, "Models", "The models of one source (?mode=local, ollama, aihub, openai, or another provider's name) or of all in the chain", NULL, "SourceModels"},
    {HTTP_GET, "/api/v1/models/status", show_states, 0, "Models", "Which sources answer: local, ollama, aihub, openai and every other provider, by name", NULL, NULL},
    {.path = NULL}};

static const struct field list_fields[] = {
    W("mode", STR, NULLABLE("string"), "The source that was asked for; null: all in the chain."),
    W("models", ARR, LIST("{\"type\":\"object\",\"required\":[\"id\",\"name\",\"source\"],\"properties\":{\"id\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},\"source\":{\"type\":\"string\"}}}"), "id, name, source, and what the source tells of it."),
    W_OPT("default", STR, NULLABLE("string"), "Of one source: the model of requests that name none."),
    W("errors", OBJ, NULL, "Sources that could not be asked: code and message by name."), END};
/* clang-format on */

const struct schema v1_source_schemas[] = {
    {"SourceModels", "Models by their source.", list_fields, NULL}, {NULL, NULL, NULL, NULL}};
