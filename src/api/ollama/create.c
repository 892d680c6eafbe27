/* Models that are made, copied and removed: POST /api/create, POST /api/copy, DELETE /api/delete,
 * and the files for them: /api/blobs/{digest}. On the pool: they read and write the disk. */
#include "models/create.h"

#include <stdlib.h>
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "api/request.h"
#include "api/route.h"
#include "api/upload.h"
#include "base/fs.h"
#include "base/str.h"
#include "files/spool.h"
#include "hub/hub.h"
#include "models/adapters.h"

enum { LINES_MAX = 64 * 1024 };

/* ---- what all begin and end with ------------------------------------------------------------- */

static enum err read_body(const struct http_request *req, const struct field *fields,
                          struct ollama_model_fields *f, json_t **root, struct error *error)
{
    *f = (struct ollama_model_fields){.stream = true};
    enum err err = request_read(req, fields, f, root, error);
    if (!err && (!f->model || !*f->model)) f->model = f->name;
    return err;
}

static void end(const struct http_request *req, struct sink *sink, enum err err,
                const struct error *error, const char *type, const struct buf *body)
{
    if (err)
        api_error(sink, req, error);
    else
        (void)sink_respond(sink, 200, type, NULL, 0, body ? buf_str(body) : "",
                           body ? body->len : 0);
    sink_unref(sink);
}

static void changed(struct hub *hub)
{
    snapshot_expire(hub->models_view);
}

/* ---- create --------------------------------------------------------------------------------- */

static void on_status(void *ctx, const char *status)
{
    struct jw w;
    jw_init(&w, ctx);
    jw_obj(&w);
    jw_kstr(&w, "status", status);
    jw_obj_end(&w);
    buf_putc(ctx, '\n');
}

static enum err make(struct hub *hub, const char *name, const json_t *spec, struct buf *lines,
                     struct error *error)
{
    char builtin[MODEL_PATH_MAX];
    adapters_builtin_dir(config_str(hub->config, CONFIG_BUILTIN_DIR), builtin);
    struct create_params params = {.name = name,
                                   .spec = spec,
                                   .adapters_dir = config_str(hub->config, CONFIG_ADAPTERS_DIR),
                                   .builtin_adapters_dir = builtin,
                                   .on_status = on_status,
                                   .ctx = lines};
    enum err err = models_create(hub->models, &params, error);
    const char *from = json_string_value(json_object_get(spec, "from"));
    if (err == ERR_NO_MODEL) ollama_no_model(error, from ? from : "");
    return err;
}

/* The members themselves, or, from older clients, a Modelfile's text. */
static enum err create(struct hub *hub, const struct ollama_model_fields *f, const json_t *root,
                       struct buf *lines, struct error *error)
{
    json_t *spec = NULL;
    enum err err = OK;
    if (!f->model || !*f->model)
        return err_set_param(error, ERR_INVALID, "/model", "invalid model name");
    if (f->modelfile) err = modelfile_parse(f->modelfile, strlen(f->modelfile), &spec, error);
    if (!err) err = make(hub, f->model, spec ? spec : root, lines, error);
    json_decref(spec);
    return err;
}

void ollama_create(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const char done[] = "{\"status\":\"success\"}";
    struct ollama_model_fields f;
    json_t *root;
    struct error error;
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    enum err err = read_body(req, ollama_create_fields, &f, &root, &error);
    if (!err) err = create(hub, &f, root, &lines, &error);
    if (!err) changed(hub);
    if (!err && !f.stream) {
        buf_clear(&lines);
        buf_puts(&lines, done);
    }
    end(req, sink, err, &error, f.stream ? NDJSON : "application/json", &lines);
    json_decref(root);
    buf_free(&lines);
}

/* ---- copy ----------------------------------------------------------------------------------- */

void ollama_copy(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct ollama_model_fields f;
    json_t *root;
    struct error error;
    enum err err = read_body(req, ollama_copy_fields, &f, &root, &error);
    if (!err)
        err = models_copy(hub->models, f.source, f.destination,
                          config_str(hub->config, CONFIG_ADAPTERS_DIR), &error);
    if (err == ERR_NO_MODEL)
        err_set_param(&error, err, "/source", "model \"%.200s\" not found", f.source);
    if (!err) changed(hub);
    end(req, sink, err, &error, NULL, NULL);
    json_decref(root);
}

/* ---- delete --------------------------------------------------------------------------------- */

static void ignore(void *ctx, const struct error *error, const char *answer, size_t len)
{
    (void)ctx, (void)error, (void)answer, (void)len;
}

/* Its memory is given back, too, once its requests have ended. */
static void unload(struct hub *hub, const char *id)
{
    struct buf args;
    struct jw w;
    struct error why;
    buf_init(&args, 4096);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", id);
    jw_obj_end(&w);
    (void)!provider_control(hub->provider, CONTROL_UNLOAD, buf_str(&args), ignore, NULL, &why);
    buf_free(&args);
}

static enum err delete (struct hub *hub, const char *name, struct error *error) {
    struct model_info *info = calloc(1, sizeof *info);
    if (!info) return err_set(error, ERR_NOMEM, "not enough memory");
    enum err err = name && *name ? models_resolve(hub->models, name, false, info, error)
                                 : err_set_param(error, ERR_INVALID, "/model", "model is required");
    if (err == ERR_NO_MODEL) ollama_no_model(error, name);
    if (!err && !info->from[0] && !info->builtin) unload(hub, info->id);
    if (!err) err = models_remove(hub->models, info->id,
                                  config_str(hub->config, CONFIG_ADAPTERS_DIR), error);
    free(info);
    return err;
}

void ollama_delete(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct ollama_model_fields f;
    json_t *root;
    struct error error;
    enum err err = read_body(req, ollama_delete_fields, &f, &root, &error);
    if (!err) err = delete (hub, f.model, &error);
    if (!err) changed(hub);
    end(req, sink, err, &error, NULL, NULL);
    json_decref(root);
}

/* ---- blobs ---------------------------------------------------------------------------------- */

void ollama_blob(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    char path[FS_PATH_MAX];
    struct error error;
    enum err err = blob_path(hub->models, req->params[0], path, &error);
    if (!err && !fs_exists(path))
        err = err_set(&error, ERR_NOT_FOUND, "blob \"%s\" not found", req->params[0]);
    end(req, sink, err, &error, NULL, NULL);
}

static enum err keep(const struct http_request *req, const char *path, struct error *error)
{
    const char *wanted = req->params[0] + strlen("sha256:");
    if (!req->upload) return err_set(error, ERR_INVALID, "the body is the file, and it is empty");
    struct spool *spool = upload_spool(req->upload);
    if (!str_eq(spool_sha256(spool), wanted))
        return err_set(error, ERR_INVALID,
                       "digest mismatch, expected \"sha256:%s\", got \"sha256:%s\"", wanted,
                       spool_sha256(spool));
    return spool_take(spool, path, error);
}

void ollama_blob_upload(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    char path[FS_PATH_MAX];
    struct error error;
    enum err err = blob_path(hub->models, req->params[0], path, &error);
    bool there = !err && fs_exists(path);
    if (!err && !there) err = keep(req, path, &error);
    if (req->upload) spool_drop(upload_spool(req->upload)); /* if it was not kept */
    if (err)
        api_error(sink, req, &error);
    else
        (void)sink_respond(sink, there ? 200 : 201, NULL, NULL, 0, "", 0);
    sink_unref(sink);
}
