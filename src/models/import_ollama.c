/* Models that an Ollama on this machine has pulled. It keeps a manifest for each name,
 * manifests/<host>/<namespace>/<model>/<tag>, which lists layers: the GGUF, its template, its
 * system prompt, its parameters, ..., each a blob, blobs/sha256-<digits>. The derived model that is
 * made of one names the GGUF where it lies; the small layers are copied into its record. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"
#include "models/gguf.h"
#include "models/models_int.h"

enum { DEPTH = 4, MANIFEST_MAX = 1 << 20, LAYER_MAX = 1 << 20 };
#define LAYER "application/vnd.ollama.image."

struct import {
    struct models *m;
    const char *dir;
    const struct import_report *report;
    size_t n;
    struct error *error;
};

/* ---- where -------------------------------------------------------------------------------- */

void ollama_folders(const char *configured, char *list, size_t size)
{
    const char *home = getenv("HOME");
    size_t n = 0;
    memset(list, 0, size);
    if (*configured) {
        str_copy(list, size - 1, configured);
        return;
    }
    if (home && *home && str_printf(list, size - 1, "%s/.ollama/models", home))
        n = strlen(list) + 1;
    /* where its service and its container image have them */
    static const char *const usual[] = {"/usr/share/ollama/.ollama/models",
                                        "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual && n < size - 1; i++)
        if (str_copy(list + n, size - 1 - n, usual[i])) n += strlen(usual[i]) + 1;
}

static bool layer_path(const struct import *im, const json_t *layer, char path[FS_PATH_MAX])
{
    const char *digest = json_string_value(json_object_get(layer, "digest"));
    const char *hex = digest ? digest + strlen("sha256:") : "";
    return digest && str_starts(digest, "sha256:") && strlen(hex) == 64 &&
           !hex[strspn(hex, "0123456789abcdef")] &&
           str_printf(path, FS_PATH_MAX, "%s/blobs/sha256-%s", im->dir, hex);
}

/* ---- layers -------------------------------------------------------------------------------- */

static enum err read_layer(const char *path, struct buf *out, struct error *error)
{
    buf_clear(out);
    enum err e = fs_read_file(path, LAYER_MAX, out, error);
    if (!e && !utf8_valid(buf_str(out), out->len))
        e = err_set(error, ERR_INVALID, "%s is no text", path);
    return e;
}

static void set_text(json_t *doc, const char *name, const struct buf *text)
{
    (void)!json_object_set_new(doc, name, json_stringn(buf_str(text), text->len));
}

/* Those that the hub knows, with values that it takes. */
static void set_parameters(json_t *doc, const struct buf *text)
{
    json_t *all, *kept = json_object(), *value;
    const char *name;
    if (json_parse(buf_str(text), text->len, &all, NULL) == OK) {
        json_object_foreach (all, name, value)
            if (derived_check_parameter(name, value, NULL) == OK)
                (void)!json_object_set(kept, name, value);
        json_decref(all);
    }
    (void)!json_object_set_new(doc, "parameters", kept);
}

static void set_json(json_t *doc, const char *name, const struct buf *text)
{
    json_t *value;
    if (json_parse(buf_str(text), text->len, &value, NULL) == OK)
        (void)!json_object_set_new(doc, name, value);
}

static enum err use_weights(const char *path, json_t *doc, struct model_info *info,
                            struct error *error)
{
    if (json_object_get(doc, "file"))
        return err_set(error, ERR_UNSUPPORTED, "it has several files of weights");
    enum err e = gguf_inspect(path, info, error);
    if (!e && access(path, R_OK) != 0) e = err_set_errno(error, errno, path);
    if (!e) (void)!json_object_set_new(doc, "file", json_string(path));
    return e;
}

static enum err use_layer(const struct import *im, const json_t *layer, json_t *doc,
                          struct model_info *info, struct error *error)
{
    char path[FS_PATH_MAX];
    struct buf text;
    const char *type = json_string_value(json_object_get(layer, "mediaType"));
    if (!type || !str_starts(type, LAYER)) return OK;
    type += strlen(LAYER);
    if (!layer_path(im, layer, path)) return err_set(error, ERR_INVALID, "a digest is malformed");
    if (str_eq(type, "model")) return use_weights(path, doc, info, error);
    if (str_eq(type, "adapter"))
        return err_set(error, ERR_UNSUPPORTED,
                       "it has an adapter; make it here with `hearth create` instead");
    if (str_eq(type, "projector")) return OK; /* of pictures: the text model is used */
    buf_init(&text, LAYER_MAX);
    enum err e = read_layer(path, &text, error);
    if (!e && str_eq(type, "system")) set_text(doc, "system", &text);
    if (!e && str_eq(type, "template")) set_text(doc, "template", &text);
    if (!e && str_eq(type, "license")) set_text(doc, "license", &text);
    if (!e && str_eq(type, "params")) set_parameters(doc, &text);
    if (!e && str_eq(type, "messages")) set_json(doc, "messages", &text);
    buf_free(&text);
    return e;
}

static enum err use_layers(const struct import *im, const json_t *manifest, json_t *doc,
                           struct model_info *info, struct error *error)
{
    const json_t *layers = json_object_get(manifest, "layers");
    enum err e = OK;
    for (size_t i = 0; i < json_array_size(layers) && !e; i++)
        e = use_layer(im, json_array_get(layers, i), doc, info, error);
    if (!e && !json_object_get(doc, "file"))
        e = err_set(error, ERR_INVALID, "its manifest names no GGUF file");
    /* The file's own template is what the model was trained with, and says more: how it thinks and
     * calls tools. */
    if (!e && info->has_chat_template) (void)!json_object_del(doc, "template");
    return e;
}

/* ---- one model ------------------------------------------------------------------------------ */

/* "registry.ollama.ai/library/llama3.2/1b" -> "llama3.2:1b" */
static bool name_of(const char *manifest, char name[MODEL_ID_MAX])
{
    static const char library[] = "registry.ollama.ai/library/", registry[] = "registry.ollama.ai/";
    const char *start = str_starts(manifest, library)    ? manifest + sizeof library - 1
                        : str_starts(manifest, registry) ? manifest + sizeof registry - 1
                                                         : manifest;
    const char *slash = strrchr(start, '/');
    return slash &&
           str_printf(name, MODEL_ID_MAX, "%.*s:%s", (int)(slash - start), start, slash + 1);
}

/* What is there under that name already; the same file is no conflict. */
static enum err check_known(const struct import *im, const char *name, const json_t *doc,
                            bool *known, struct error *error)
{
    struct derived *d = models_derived(im->m, name);
    struct model_info *info = xcalloc(1, sizeof *info);
    *known = d && str_eq(d->file, json_string_value(json_object_get(doc, "file")));
    bool taken =
        !*known &&
        (d || (models_resolve(im->m, name, false, info, NULL) == OK && str_ieq(info->id, name)));
    derived_unref(d);
    free(info);
    return taken ? err_set(error, ERR_CONFLICT, "there is another model of that name here") : OK;
}

static enum err import_one(struct import *im, const char *path, const char *asked, bool *known,
                           struct error *error)
{
    char name[MODEL_ID_MAX];
    struct buf text;
    json_t *manifest = NULL, *doc = json_object();
    struct model_info *info = xcalloc(1, sizeof *info);
    *known = false;
    buf_init(&text, MANIFEST_MAX);
    enum err e = derived_name(asked, name, error);
    if (!e) e = fs_read_file(path, MANIFEST_MAX, &text, error);
    if (!e) e = json_parse(buf_str(&text), text.len, &manifest, error);
    if (!e) e = use_layers(im, manifest, doc, info, error);
    if (!e) e = check_known(im, name, doc, known, error);
    if (!e && !*known) e = derived_write(models_dir(im->m), name, doc, error);
    json_decref(manifest);
    json_decref(doc);
    buf_free(&text);
    free(info);
    return e;
}

/* ---- all ------------------------------------------------------------------------------------ */

static void found(struct import *im, const char *path, const char *relative)
{
    char name[MODEL_ID_MAX];
    struct error why;
    bool known = false;
    if (!name_of(relative, name)) return;
    enum err e = import_one(im, path, name, &known, &why);
    if (!e && !known) im->n++;
    if (im->report && im->report->on_model)
        im->report->on_model(im->report->ctx, name, known, e ? &why : NULL);
}

/* Manifests lie exactly DEPTH folders deep. */
static void walk(struct import *im, const char *dir, size_t root, int depth)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[FS_PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.' || fs_join(path, sizeof path, dir, e->d_name, NULL)) continue;
        if (stat(path, &st) != 0) continue;
        if (S_ISDIR(st.st_mode) && depth > 1)
            walk(im, path, root, depth - 1);
        else if (S_ISREG(st.st_mode) && depth == 1)
            found(im, path, path + root);
    }
    closedir(d);
}

enum err models_import_ollama(struct models *m, const char *dir, const struct import_report *report,
                              size_t *n, struct error *error)
{
    char manifests[FS_PATH_MAX];
    struct import im = {.m = m, .dir = dir, .report = report, .error = error};
    *n = 0;
    enum err e = fs_join(manifests, sizeof manifests, dir, "manifests", error);
    if (e) return e;
    if (!fs_exists(manifests))
        return err_set(error, ERR_NOT_FOUND, "there is no Ollama's folder of models at %.300s",
                       dir);
    walk(&im, manifests, strlen(manifests) + 1, DEPTH);
    *n = im.n;
    models_rescan(m);
    return OK;
}
