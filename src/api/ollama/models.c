/* What there is and what is in memory: GET /api/tags, POST /api/show, GET /api/ps. */
#include <stdlib.h>
#include <string.h>

#include "api/control.h"
#include "api/ollama/ollama_int.h"
#include "api/request.h"
#include "api/responder.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "models/create.h"
#include "models/derived.h"
#include "models/gguf.h"

enum { BODY_MAX = 64 * 1024 * 1024 };

/* ---- what all three say of a model ---------------------------------------------------------- */

/* Names have a tag there. */
static void full_name(char *dst, size_t size, const char *id)
{
    str_printf(dst, size, "%s%s", id, strchr(id, ':') ? "" : ":latest");
}

/* The name under which a client pulled it, where that means this very file. */
static void name_of(struct hub *hub, const struct model_info *m, char *dst, size_t size)
{
    struct model_info *same = *m->catalog ? xcalloc(1, sizeof *same) : NULL;
    bool known = same && models_resolve(hub->models, m->catalog, false, same, NULL) == OK &&
                 str_eq(same->id, m->id);
    free(same);
    full_name(dst, size, known ? m->catalog : m->id);
}

/* 64 digits that stay the same as long as the model does. */
static void put_digest(struct jw *w, const struct model_info *m)
{
    char what[MODEL_ID_MAX + 64], hex[65];
    str_printf(what, sizeof what, "%s %lld %lld", m->id, (long long)m->file_bytes,
               (long long)m->modified_s);
    for (uint64_t i = 0; i < 4; i++)
        str_printf(hex + 16 * i, sizeof hex - 16 * i, "%016llx",
                   (unsigned long long)hash64(what, strlen(what), i + 1));
    jw_kstr(w, "digest", hex);
}

/* "1.2B", "134.52M": as Ollama writes it. */
static void put_size(struct jw *w, int64_t n)
{
    char text[32];
    if (n >= 1000000000)
        str_printf(text, sizeof text, "%.1fB", (double)n / 1e9);
    else if (n >= 1000000)
        str_printf(text, sizeof text, "%.2fM", (double)n / 1e6);
    else if (n >= 1000)
        str_printf(text, sizeof text, "%.0fK", (double)n / 1e3);
    else
        str_printf(text, sizeof text, "%lld", (long long)n);
    jw_kstr(w, "parameter_size", text);
}

static void put_details(struct jw *w, const struct model_info *m)
{
    jw_key(w, "details");
    jw_obj(w);
    jw_kstr(w, "parent_model", m->from);
    jw_kstr(w, "format", "gguf");
    jw_kstr(w, "family", m->arch);
    jw_key(w, "families");
    jw_arr(w);
    jw_str(w, m->arch);
    jw_arr_end(w);
    put_size(w, m->n_params);
    jw_kstr(w, "quantization_level", m->quant);
    jw_obj_end(w);
}

static void put_time(struct jw *w, const char *name, int64_t wall_ms)
{
    char text[32];
    clock_format_utc(text, sizeof text, wall_ms);
    jw_kstr(w, name, text);
}

static void put_name(struct jw *w, const char *name)
{
    jw_kstr(w, "name", name);
    jw_kstr(w, "model", name);
}

/* ---- tags ----------------------------------------------------------------------------------- */

static void write_tags(struct hub *hub, struct jw *w, const struct model_info *models, size_t n)
{
    char name[MODEL_ID_MAX + 16];
    jw_obj(w);
    jw_key(w, "models");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        if (models[i].kind == MODEL_RERANK) continue; /* nothing of Ollama's can use it */
        jw_obj(w);
        name_of(hub, &models[i], name, sizeof name);
        put_name(w, name);
        put_time(w, "modified_at", models[i].modified_s * 1000);
        jw_kint(w, "size", models[i].file_bytes);
        put_digest(w, &models[i]);
        put_details(w, &models[i]);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

void ollama_tags(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct model_info *models;
    size_t n;
    struct error error;
    struct buf body;
    struct jw w;
    struct responder *r = responder_new(sink, &error_ollama, req->request_id);
    if (models_list(hub->models, &models, &n, &error)) {
        responder_error(r, &error);
        return;
    }
    buf_init(&body, BODY_MAX);
    jw_init(&w, &body);
    write_tags(hub, &w, models, n);
    free(models);
    responder_buf(r, RESPOND_JSON, &body);
    buf_free(&body);
}

/* ---- ps ------------------------------------------------------------------------------------- */

struct asked {
    struct hub *hub;
    struct responder *reply;
    struct model_info *models;
    size_t n;
};

static void asked_free(struct asked *a)
{
    free(a->models);
    free(a);
}

static const struct model_info *find(const struct asked *a, const char *id)
{
    for (size_t i = 0; i < a->n; i++)
        if (str_eq(a->models[i].id, id)) return &a->models[i];
    return NULL;
}

/* Never: a time that no client reaches, as Ollama has it. */
static void put_expiry(struct jw *w, const json_t *m)
{
    const json_t *ms = json_object_get(m, "expires_in_ms");
    int64_t forever_ms = INT64_C(100) * 365 * 86400 * 1000;
    put_time(w, "expires_at",
             clock_wall_ms() + (json_is_integer(ms) ? json_integer_value(ms) : forever_ms));
}

static void write_running(const struct asked *a, struct jw *w, const json_t *m)
{
    char name[MODEL_ID_MAX + 16];
    const char *id = json_string_value(json_object_get(m, "id"));
    const char *state = json_string_value(json_object_get(m, "state"));
    const struct model_info *info = id ? find(a, id) : NULL;
    const json_t *memory = json_object_get(m, "memory");
    if (!info || !state || !str_eq(control_state_word(state), "ready")) return;
    jw_obj(w);
    name_of(a->hub, info, name, sizeof name);
    put_name(w, name);
    jw_kint(w, "size", json_integer_value(json_object_get(memory, "total")));
    put_digest(w, info);
    put_details(w, info);
    put_expiry(w, m);
    jw_kint(w, "size_vram", json_integer_value(json_object_get(memory, "devices")));
    jw_kint(w, "context_length", json_integer_value(json_object_get(m, "context")));
    jw_obj_end(w);
}

static void on_models(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct asked *a = ctx;
    struct error why;
    json_t *root = NULL;
    struct buf body;
    struct jw w;
    if (error || json_parse(answer, len, &root, &why)) {
        responder_error(a->reply, error ? error : &why);
        asked_free(a);
        return;
    }
    buf_init(&body, BODY_MAX);
    jw_init(&w, &body);
    jw_obj(&w);
    jw_key(&w, "models");
    jw_arr(&w);
    const json_t *models = json_object_get(root, "models");
    for (size_t i = 0; i < json_array_size(models); i++)
        write_running(a, &w, json_array_get(models, i));
    jw_arr_end(&w);
    jw_obj_end(&w);
    json_decref(root);
    responder_buf(a->reply, RESPOND_JSON, &body);
    buf_free(&body);
    asked_free(a);
}

void ollama_ps(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct asked *a = xcalloc(1, sizeof *a);
    struct error error;
    *a = (struct asked){.hub = hub, .reply = responder_new(sink, &error_ollama, req->request_id)};
    enum err err = models_list(hub->models, &a->models, &a->n, &error);
    if (!err) err = provider_control(hub->provider, CONTROL_MODELS, "{}", on_models, a, &error);
    if (!err) return;
    responder_error(a->reply, &error);
    asked_free(a);
}

/* ---- show ----------------------------------------------------------------------------------- */

static void put_capabilities(struct jw *w, const struct model_info *m)
{
    bool generates = m->kind == MODEL_CHAT || m->kind == MODEL_COMPLETION;
    jw_key(w, "capabilities");
    jw_arr(w);
    jw_str(w, generates ? "completion" : "embedding");
    if (m->has_tools) jw_str(w, "tools");
    if (m->has_infill) jw_str(w, "insert");
    if (m->has_thinking) jw_str(w, "thinking");
    jw_arr_end(w);
}

/* Lists and texts that are too long to be shown are null, as there without "verbose". */
static void put_metadata(struct jw *w, const struct model_info *m, const json_t *metadata,
                         bool verbose)
{
    const char *key;
    json_t *value;
    struct buf text;
    jw_key(w, "model_info");
    jw_obj(w);
    json_object_foreach ((json_t *)metadata, key, value) {
        bool hidden = json_is_object(value) || (json_is_array(value) && !verbose);
        if (str_starts(key, "tokenizer.chat_template")) continue;
        jw_key(w, key);
        buf_init(&text, BODY_MAX);
        if (hidden || json_dump(value, &text))
            jw_null(w);
        else
            jw_raw(w, buf_str(&text), text.len);
        buf_free(&text);
    }
    jw_kint(w, "general.parameter_count", m->n_params);
    jw_obj_end(w);
}

static void put_text(struct jw *w, const char *name, const struct buf *text)
{
    jw_key(w, name);
    jw_strn(w, buf_str(text), text->len);
}

static void put_messages(struct jw *w, const struct derived *d)
{
    if (d && d->n_messages) jw_kjson(w, "messages", json_object_get(d->document, "messages"));
}

/* What its record says of it, else its file. */
static void put_words(struct jw *w, const struct derived *d, const char *name,
                      const json_t *metadata)
{
    const char *license = json_string_value(json_object_get(metadata, "general.license"));
    const char *template = json_string_value(json_object_get(metadata, "tokenizer.chat_template"));
    struct buf text;
    if (d && d->license) license = d->license;
    if (d && d->template_text) template = d->template_text;
    if (license) jw_kstr(w, "license", license);
    buf_init(&text, BODY_MAX);
    modelfile_write(name, d ? d->document : NULL, &text);
    put_text(w, "modelfile", &text);
    buf_clear(&text);
    modelfile_write_parameters(d ? d->parameters : NULL, "", &text);
    put_text(w, "parameters", &text);
    buf_free(&text);
    jw_kstr(w, "template", template ? template : "");
    jw_kstr(w, "system", d && d->system ? d->system : "");
}

static void write_show(struct hub *hub, struct jw *w, const struct model_info *m,
                       const json_t *metadata, bool verbose)
{
    char name[MODEL_ID_MAX + 16];
    struct derived *d = models_derived(hub->models, m->id);
    name_of(hub, m, name, sizeof name);
    jw_obj(w);
    put_words(w, d, name, metadata);
    put_details(w, m);
    put_metadata(w, m, metadata, verbose);
    put_capabilities(w, m);
    put_time(w, "modified_at", m->modified_s * 1000);
    put_messages(w, d);
    jw_obj_end(w);
    derived_unref(d);
}

static enum err show(struct hub *hub, const struct ollama_model_fields *f, struct model_info *m,
                     struct buf *body, struct error *error)
{
    const char *name = f->model ? f->model : f->name;
    struct buf text;
    json_t *metadata = NULL;
    struct jw w;
    if (!name || !*name) return err_set_param(error, ERR_INVALID, "/model", "model is required");
    if (models_resolve(hub->models, name, false, m, NULL)) return ollama_no_model(error, name);
    buf_init(&text, BODY_MAX);
    enum err err = gguf_metadata_json(m->path, &text, error);
    if (!err) err = json_parse(buf_str(&text), text.len, &metadata, error);
    if (!err) {
        jw_init(&w, body);
        write_show(hub, &w, m, metadata, f->verbose);
    }
    json_decref(metadata);
    buf_free(&text);
    return err;
}

void ollama_show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct ollama_model_fields f = {0};
    struct model_info *m = xcalloc(1, sizeof *m);
    json_t *root;
    struct error error;
    struct buf body;
    struct responder *r = responder_new(sink, &error_ollama, req->request_id);
    buf_init(&body, BODY_MAX);
    enum err err = request_read(req, ollama_show_fields, &f, &root, &error);
    if (!err) err = show(hub, &f, m, &body, &error);
    if (err)
        responder_error(r, &error);
    else
        responder_buf(r, RESPOND_JSON, &body);
    json_decref(root);
    buf_free(&body);
    free(m);
}

/* ---- version -------------------------------------------------------------------------------- */

void ollama_version(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const char body[] =
        "{\"version\":\"" OLLAMA_VERSION "\",\"hearth\":\"" HEARTH_VERSION "\"}";
    (void)hub, (void)req;
    (void)sink_respond(sink, 200, "application/json", NULL, 0, body, sizeof body - 1);
    sink_unref(sink);
}

bool ollama_is_client(const struct http_request *req)
{
    const char *agent = req->header(req, "User-Agent");
    return req->listener == LISTENER_OLLAMA || (agent && str_starts(agent, "ollama"));
}
