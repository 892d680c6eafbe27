/* GET /api/models, POST /api/models/{id}/load and .../unload. A model's id may have slashes, which
 * stand as two underscores in a path (or as they are: "/api/models/a/b/load" works as well). */
#include <stdlib.h>
#include <string.h>

#include "api/models/models_int.h"
#include "api/openai/openai.h"
#include "api/responder.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { BODY_MAX = 16 << 20, ARGS_MAX = 2048 };

struct asked {
    struct responder *reply;
    char *id;
    const char *done; /* "loaded", "unloaded" */
};

static struct asked *asked_new(const struct http_request *req, struct sink *sink)
{
    struct asked *a = xcalloc(1, sizeof *a);
    a->reply = responder_new(sink, &error_models, req->request_id);
    return a;
}

static void asked_free(struct asked *a)
{
    free(a->id);
    free(a);
}

static void respond(struct asked *a, struct buf *body, enum err e, const struct error *error)
{
    if (e)
        responder_error(a->reply, error);
    else
        responder_buf(a->reply, RESPOND_JSON, body);
    buf_free(body);
    asked_free(a);
}

/* ---- the list ------------------------------------------------------------------------------ */

static const char *text_of(const json_t *obj, const char *name)
{
    return json_string_value(json_object_get(obj, name));
}

static void put_number(struct jw *w, const char *key, const json_t *value)
{
    if (json_is_integer(value)) jw_kint(w, key, json_integer_value(value));
}

/* "a/b" as it stands in a path. */
static void put_path_id(struct jw *w, const char *id)
{
    struct buf b;
    buf_init(&b, 4096);
    for (; *id; id++)
        if (*id == '/')
            buf_puts(&b, "__");
        else
            buf_putc(&b, *id);
    jw_kstr(w, "path_id", buf_str(&b));
    buf_free(&b);
}

/* An entry of GET /v1/models. */
static void put_model(struct jw *w, const json_t *model)
{
    const json_t *meta = json_object_get(model, "meta");
    const char *id = text_of(model, "id"), *state = text_of(meta, "state");
    if (!id) return;
    jw_obj(w);
    jw_kstr(w, "id", id);
    jw_kstr(w, "name", id);
    put_path_id(w, id);
    jw_kstr(w, "type", text_of(meta, "kind"));
    jw_kstr(w, "status", state ? state : "on_disk");
    jw_kbool(w, "loaded", str_eq(state, "ready"));
    jw_kstr(w, "architecture", text_of(meta, "arch"));
    jw_kstr(w, "quantization", text_of(meta, "quant"));
    put_number(w, "size", json_object_get(meta, "size"));
    put_number(w, "parameters", json_object_get(meta, "n_params"));
    put_number(w, "context_length", json_object_get(meta, "context"));
    put_number(w, "created", json_object_get(model, "created"));
    jw_obj_end(w);
}

static void on_list(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct asked *a = ctx;
    struct error why = {0};
    struct buf body;
    struct jw w;
    json_t *root = NULL;
    buf_init(&body, BODY_MAX);
    if (error) why = *error;
    enum err e = error ? error->code : json_parse(text, len, &root, &why);
    const json_t *list = json_object_get(root, "data");
    jw_init(&w, &body);
    jw_obj(&w);
    jw_key(&w, "models");
    jw_arr(&w);
    for (size_t i = 0; i < json_array_size(list); i++) put_model(&w, json_array_get(list, i));
    jw_arr_end(&w);
    jw_kint(&w, "total", (int64_t)json_array_size(list));
    jw_obj_end(&w);
    json_decref(root);
    respond(a, &body, e, &why);
}

void models_list_all(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    openai_models_get(hub, on_list, asked_new(req, sink));
}

/* ---- load and unload ----------------------------------------------------------------------- */

/* {"status", "model_id", "message"} and what the provider says of it. */
static void on_done(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct asked *a = ctx;
    struct error why = {0};
    struct buf body;
    struct jw w;
    json_t *root = NULL;
    const char *key;
    json_t *value;
    char message[MODEL_ID_MAX + 32];
    buf_init(&body, BODY_MAX);
    if (error) why = *error;
    enum err e = error ? error->code : json_parse(answer, len, &root, &why);
    str_printf(message, sizeof message, "%s is %s", a->id, a->done);
    jw_init(&w, &body);
    jw_obj(&w);
    jw_kstr(&w, "status", a->done);
    jw_kstr(&w, "model_id", a->id);
    jw_kstr(&w, "message", message);
    json_object_foreach (root, key, value) {
        if (str_eq(key, "status") || str_eq(key, "model_id") || str_eq(key, "message")) continue;
        jw_kjson(&w, key, value);
    }
    jw_obj_end(&w);
    json_decref(root);
    respond(a, &body, e, &why);
}

/* "a__b" is "a/b", unless a model is called just so. */
static char *model_of(struct hub *hub, const char *path_id)
{
    struct model_info info;
    struct error ignored;
    char *id = xstrdup(path_id);
    if (!strstr(id, "__") || models_resolve(hub->models, id, false, &info, &ignored) == OK)
        return id;
    char *to = id;
    for (const char *from = id; *from;) {
        bool slash = from[0] == '_' && from[1] == '_';
        *to++ = slash ? '/' : *from;
        from += slash ? 2 : 1;
    }
    *to = '\0';
    return id;
}

static void ask(struct hub *hub, enum control what, const char *done,
                const struct http_request *req, struct sink *sink)
{
    struct asked *a = asked_new(req, sink);
    struct error error;
    struct buf args;
    struct jw w;
    a->done = done;
    a->id = model_of(hub, req->params[0]);
    buf_init(&args, ARGS_MAX);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", a->id);
    if (what == CONTROL_LOAD) jw_kbool(&w, "wait", true);
    jw_obj_end(&w);
    enum err e = args.err
                     ? err_set(&error, ERR_TOO_LARGE, "the model's name is too long")
                     : provider_control(hub->provider, what, buf_str(&args), on_done, a, &error);
    buf_free(&args);
    if (!e) return;
    responder_error(a->reply, &error);
    asked_free(a);
}

void models_load_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    ask(hub, CONTROL_LOAD, "loaded", req, sink);
}

void models_unload_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    ask(hub, CONTROL_UNLOAD, "unloaded", req, sink);
}
