/* POST /api/embed and the older /api/embeddings. */
#include <stdlib.h>
#include <string.h>

#include "api/embedding.h"
#include "api/ollama/ollama_int.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { INPUTS_MAX = 2048 };

struct wanted {
    char model[MODEL_ID_MAX]; /* as asked */
    int64_t started_ns;
    size_t dimensions; /* 0 = the model's */
};

/* ---- parsing ------------------------------------------------------------------------------- */

static enum err set_inputs(const json_t *input, struct embed_request *req, struct error *error)
{
    bool many = json_is_array(input);
    size_t n = many ? json_array_size(input) : 1;
    if (n > INPUTS_MAX)
        return field_error(error, "", "input", "at most %d texts, got %zu", INPUTS_MAX, n);
    struct embed_input *inputs = arena_calloc(req->arena, n + 1, sizeof *inputs);
    if (!inputs) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = many ? json_array_get(input, i) : input;
        if (!json_is_string(v))
            return field_error(error, "", "input", "must be a text or a list of texts");
        inputs[i].text_len = json_string_length(v);
        enum err err = copy_text(req->arena, json_string_value(v), &inputs[i].text, error);
        if (err) return err;
    }
    req->inputs = inputs;
    req->n_inputs = n;
    return OK;
}

static enum err fill(const struct ollama_embed_fields *f, const struct call_env *env,
                     struct embed_request *req, struct error *error)
{
    enum err err = ollama_copy_model(req->arena, f->model, &req->model, error);
    if (!err) err = call_terms_set_embed(&f->terms, env, req, error);
    req->truncate = f->truncate;
    return err;
}

/* input: NULL is none. */
static enum err new_request(const struct ollama_embed_fields *f, const struct call_env *env,
                            size_t text_len, const json_t *input, struct embed_request **out,
                            struct error *error)
{
    if (!f->model || !*f->model)
        return err_set_param(error, ERR_INVALID, "/model", "model is required");
    struct embed_request *req;
    enum err err = call_embed_new(env, arena_limit(text_len), &req, error);
    if (err) return err;
    err = fill(f, env, req, error);
    if (!err && input) err = set_inputs(input, req, error);
    if (err)
        arena_free(req->arena);
    else
        *out = req;
    return err;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void reword(void *ctx, struct error *error)
{
    const struct wanted *e = ctx;
    if (error->code == ERR_NO_MODEL) ollama_no_model(error, e->model);
}

static void put_head(const char *model, struct jw *w)
{
    jw_kstr(w, "model", model);
    jw_key(w, "embeddings");
}

static void put_numbers(int64_t started_ns, int32_t tokens, struct jw *w)
{
    jw_kint(w, "total_duration", clock_mono_ns() - started_ns);
    jw_kint(w, "load_duration", 0);
    jw_kint(w, "prompt_eval_count", tokens);
}

static enum err write_many(void *ctx, const struct embed_result *r, struct buf *out,
                           struct error *error)
{
    const struct wanted *e = ctx;
    struct jw w;
    (void)error;
    size_t n = e->dimensions && e->dimensions < r->n_dims ? e->dimensions : r->n_dims;
    jw_init(&w, out);
    jw_obj(&w);
    put_head(e->model, &w);
    jw_raw(&w, "[", 1);
    for (size_t i = 0; i < r->n_inputs && !out->err; i++) {
        const float *v = r->vectors + i * r->n_dims;
        if (i) buf_putc(out, ',');
        embedding_write_floats(out, v, n, n < r->n_dims ? embedding_unit_scale(v, n) : 1);
    }
    buf_putc(out, ']');
    put_numbers(e->started_ns, r->prompt_tokens, &w);
    jw_obj_end(&w);
    return OK;
}

static enum err write_one(void *ctx, const struct embed_result *r, struct buf *out,
                          struct error *error)
{
    (void)ctx, (void)error;
    buf_puts(out, "{\"embedding\":");
    embedding_write_floats(out, r->vectors, r->n_dims, 1);
    buf_putc(out, '}');
    return OK;
}

static const struct embedding_ops many_ops = {
    .name = "embed", .errors = &error_ollama, .write = write_many, .reword = reword};
static const struct embedding_ops one_ops = {
    .name = "embeddings", .errors = &error_ollama, .write = write_one, .reword = reword};

/* ---- handlers ------------------------------------------------------------------------------ */

static struct wanted *new_wanted(const struct ollama_embed_fields *f)
{
    struct wanted *e = xcalloc(1, sizeof *e);
    str_copy(e->model, sizeof e->model, f->model);
    e->started_ns = clock_mono_ns();
    e->dimensions = (size_t)f->dimensions;
    return e;
}

static void many_loaded(struct jw *w, const char *model, bool unload, int64_t started_ns)
{
    (void)unload;
    put_head(model, w);
    jw_arr(w);
    jw_arr_end(w);
    put_numbers(started_ns, 0, w);
}

static void one_loaded(struct jw *w, const char *model, bool unload, int64_t started_ns)
{
    (void)model, (void)unload, (void)started_ns;
    jw_key(w, "embedding");
    jw_arr(w);
    jw_arr_end(w);
}

/* Without inputs there is nothing to embed: the model is loaded. */
static void load(struct hub *hub, const struct http_request *req, struct sink *sink,
                 struct embed_request *r, struct wanted *wanted, bool many)
{
    struct ollama_load wish = {.asked = wanted->model,
                               .who = {.model = r->model,
                                       .source = r->source,
                                       .route = r->route,
                                       .local_only = r->local_only,
                                       .embeds = true},
                               .keep_alive_ms = r->keep_alive_ms,
                               .write = many ? many_loaded : one_loaded};
    ollama_load(hub, req, sink, &wish);
    arena_free(r->arena);
    free(wanted);
}

static enum err read_call(struct hub *hub, const struct http_request *req, bool many,
                          struct embed_request **out, struct wanted **wanted, bool *none,
                          struct error *error)
{
    struct ollama_embed_fields f = {.terms = CALL_TERMS_ABSENT, .truncate = true};
    struct call_env env;
    json_t *body, *prompt = NULL;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = fields_read(many ? ollama_embed_fields : ollama_embeddings_fields, body, "", &f, error);
    if (!err && !many) prompt = json_string(f.prompt ? f.prompt : "");
    const json_t *input = many ? f.input : prompt;
    const char *text = json_string_value(input);
    *none = !input || (text && !*text) || (json_is_array(input) && !json_array_size(input));
    if (!err) err = new_request(&f, &env, req->body_len, *none ? NULL : input, out, error);
    if (!err) *wanted = new_wanted(&f);
    json_decref(prompt);
    json_decref(body);
    return err;
}

static void embed(struct hub *hub, const struct http_request *req, struct sink *sink, bool many)
{
    struct embed_request *request = NULL;
    struct wanted *wanted = NULL;
    struct error error;
    bool none;
    if (read_call(hub, req, many, &request, &wanted, &none, &error)) {
        api_error(sink, req, &error);
        sink_unref(sink);
    } else if (none) {
        load(hub, req, sink, request, wanted, many);
    } else {
        embedding_start(hub, sink, request, req->request_id, many ? &many_ops : &one_ops, wanted);
    }
}

void ollama_embed(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    embed(hub, req, sink, true);
}

void ollama_embeddings(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    embed(hub, req, sink, false);
}
