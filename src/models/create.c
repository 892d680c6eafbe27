/* Making derived models: see create.h. */
#include "models/create.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/adapters.h"
#include "models/derived.h"
#include "models/gguf.h"
#include "models/models_int.h"

struct create {
    struct models *m;
    const struct create_params *p;
    char name[MODEL_ID_MAX];
    json_t *doc;                    /* what is written */
    struct model_info info;         /* the weights' */
    struct derived *old;            /* the record that is replaced; NULL = none */
    char adapter[ADAPTER_NAME_MAX]; /* that was put into the adapters folder; "" = none */
    struct error *error;
};

static void say(const struct create *c, const char *status)
{
    if (c->p->on_status) c->p->on_status(c->p->ctx, status);
}

static void set_text(json_t *doc, const char *name, const char *text)
{
    ht_assert(json_object_set_new(doc, name, json_string(text)) == 0);
}

/* ---- the name ------------------------------------------------------------------------------ */

/* Free, or a derived model's, which is replaced. */
static enum err check_name(struct create *c)
{
    struct model_info *other = xcalloc(1, sizeof *other);
    enum err e = derived_name(c->p->name, c->name, c->error);
    c->old = e ? NULL : models_derived(c->m, c->name);
    bool taken = !e && !c->old && models_resolve(c->m, c->name, false, other, NULL) == OK &&
                 str_ieq(other->id, c->name);
    free(other);
    if (!taken) return e;
    return err_set_param(c->error, ERR_CONFLICT, "/model",
                         "%s is the name of another model, which is not made from a Modelfile; "
                         "choose another name",
                         c->name);
}

/* ---- the weights --------------------------------------------------------------------------- */

static enum err use_blob(struct create *c, const char *digest)
{
    char path[FS_PATH_MAX], what[128];
    enum err e = blob_path(c->m, digest, path, c->error);
    if (e) return e;
    if (!fs_exists(path))
        return err_set(c->error, ERR_NOT_FOUND, "blob \"%s\" not found; send it first", digest);
    e = gguf_inspect(path, &c->info, c->error);
    if (e) return e;
    str_printf(what, sizeof what, "using existing layer %s", digest);
    say(c, what);
    str_printf(what, sizeof what, BLOBS_DIR "/%s", strrchr(path, '/') + 1);
    set_text(c->doc, "file", what);
    return OK;
}

static enum err use_files(struct create *c, const json_t *files)
{
    const char *name, *digest = NULL;
    json_t *value;
    json_object_foreach ((json_t *)files, name, value) {
        if (digest || !json_is_string(value))
            return err_set_param(c->error, ERR_UNSUPPORTED, "/files",
                                 "a model is made from one GGUF file; give {\"<name>\": "
                                 "\"<digest>\"}");
        digest = json_string_value(value);
    }
    return use_blob(c, digest ? digest : "");
}

static bool is_path(const struct create *c, const char *s, char path[FS_PATH_MAX])
{
    bool looks = *s == '/' || *s == '.' || *s == '~' || str_ends(s, ".gguf");
    if (!c->p->allow_paths) return false;
    if (*s == '/' || !c->p->folder)
        str_copy(path, FS_PATH_MAX, s);
    else if (fs_join(path, FS_PATH_MAX, c->p->folder, s, NULL))
        return false;
    return looks && fs_exists(path);
}

/* What the other model has beside weights comes along. */
static void inherit(struct create *c, const struct derived *parent)
{
    static const char *const members[] = {"system",     "template", "adapter",
                                          "parameters", "messages", "license"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_t *v = json_object_get(parent->document, members[i]);
        if (v) ht_assert(json_object_set_new(c->doc, members[i], json_deep_copy(v)) == 0);
    }
}

static enum err use_model(struct create *c, const char *from)
{
    enum err e = models_resolve(c->m, from, false, &c->info, c->error);
    if (e) return e;
    struct derived *parent = models_derived(c->m, c->info.id);
    const char *base = c->info.from[0] ? c->info.from : c->info.id;
    if (parent) inherit(c, parent);
    if (parent && parent->file[0] && str_ieq(parent->name, c->name))
        set_text(c->doc, "file", parent->file); /* it is made anew from itself */
    else
        set_text(c->doc, "from", base);
    derived_unref(parent);
    return OK;
}

static enum err find_weights(struct create *c)
{
    char path[FS_PATH_MAX], digest[72];
    const char *from = NULL;
    const json_t *files = NULL;
    enum err e = json_get_object(c->p->spec, "files", "", &files, c->error);
    if (!e) e = json_get_string(c->p->spec, "from", "", &from, c->error);
    if (e) return e;
    if (json_object_size(files)) return use_files(c, files);
    if (!from || !*from)
        return err_set_param(c->error, ERR_INVALID, "/from",
                             "neither 'from' or 'files' was specified");
    if (!is_path(c, from, path)) return use_model(c, from);
    say(c, "copying file");
    e = blob_add(c->m, path, digest, c->error);
    return e ? e : use_blob(c, digest);
}

/* ---- the adapter --------------------------------------------------------------------------- */

static bool adapter_path(const struct create *c, char path[FS_PATH_MAX])
{
    return str_printf(path, FS_PATH_MAX, "%s/%s.gguf", c->p->adapters_dir, c->adapter);
}

static bool put_link(const char *file, const char *target)
{
    return link(file, target) == 0 || symlink(file, target) == 0;
}

/* A blob becomes one of the adapters folder, under the model's name: c->adapter. */
static enum err add_adapter_file(struct create *c, const char *file)
{
    char name[ADAPTER_NAME_MAX];
    char target[FS_PATH_MAX];
    struct gguf_adapter facts;
    enum err e = gguf_inspect_adapter(file, &facts, c->error);
    if (e) return e;
    gguf_tensors_free(&facts.tensors);
    str_copy(name, ADAPTER_NAME_MAX, c->name);
    for (char *s = name; *s; s++)
        if (*s == '/' || *s == ':') *s = '-';
    e = fs_mkdirs(c->p->adapters_dir, 0755, c->error);
    if (e) return e;
    if (!str_printf(target, sizeof target, "%s/%s.gguf", c->p->adapters_dir, name))
        return err_set(c->error, ERR_INVALID, "the adapters folder's path is too long");
    if (fs_exists(target) && !(c->old && str_eq(c->old->adapter, name)))
        return err_set_param(c->error, ERR_CONFLICT, "/adapters",
                             "there is an adapter %s already; choose another name", name);
    unlink(target);
    str_copy(c->adapter, sizeof c->adapter, name);
    if (!put_link(file, target)) return err_set_errno(c->error, errno, target);
    str_printf(target, sizeof target, BLOBS_DIR "/%s", strrchr(file, '/') + 1);
    set_text(c->doc, "adapter_file", target);
    return OK;
}

static enum err check_adapter(struct create *c, const char *name)
{
    struct adapters *all;
    struct adapter_info *info = xcalloc(1, sizeof *info);
    enum err e = adapters_open(c->p->adapters_dir, c->p->builtin_adapters_dir, &all, c->error);
    if (!e) {
        e = adapters_resolve(all, name, info, c->error);
        if (!e) e = adapters_check(all, info, &c->info, c->error);
        adapters_free(all);
    }
    free(info);
    return e;
}

static enum err find_adapter(struct create *c)
{
    char path[FS_PATH_MAX], digest[72];
    const char *name = NULL, *file_name;
    const json_t *files = NULL;
    json_t *value;
    enum err e = json_get_object(c->p->spec, "adapters", "", &files, c->error);
    if (!e) e = json_get_string(c->p->spec, "adapter", "", &name, c->error);
    if (e || (!json_object_size(files) && !name)) return e;
    if (json_object_size(files) > 1)
        return err_set_param(c->error, ERR_UNSUPPORTED, "/adapters", "a model has one adapter");
    json_object_foreach ((json_t *)files, file_name, value) {
        e = blob_path(c->m, json_is_string(value) ? json_string_value(value) : "", path, c->error);
        if (!e) e = add_adapter_file(c, path);
        name = c->adapter;
    }
    if (!e && name != c->adapter && is_path(c, name, path)) {
        e = blob_add(c->m, path, digest, c->error);
        if (!e) e = blob_path(c->m, digest, path, c->error);
        if (!e) e = add_adapter_file(c, path);
        name = c->adapter;
    }
    if (!e) e = check_adapter(c, name);
    if (!e) set_text(c->doc, "adapter", name);
    return e;
}

/* One that was made for another derived model goes with the last one that has it. */
static void share_adapter(struct create *c)
{
    char file[MODEL_PATH_MAX];
    const char *name = json_string_value(json_object_get(c->doc, "adapter"));
    if (!c->adapter[0] && name && models_adapter_blob(c->m, name, file))
        set_text(c->doc, "adapter_file", file);
}

/* It came to nothing: the adapter of that name is again what it was. */
static void undo_adapter(const struct create *c)
{
    char target[FS_PATH_MAX], file[FS_PATH_MAX];
    if (!c->adapter[0] || !adapter_path(c, target)) return;
    unlink(target);
    if (c->old && str_eq(c->old->adapter, c->adapter) && c->old->adapter_file &&
        fs_join(file, sizeof file, models_dir(c->m), c->old->adapter_file, NULL) == OK)
        (void)!put_link(file, target);
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* One text, or several, which are joined. */
static enum err set_license(struct create *c)
{
    const json_t *v = json_object_get(c->p->spec, "license");
    struct buf all;
    if (!v || json_is_null(v)) return OK;
    buf_init(&all, DERIVED_FILE_MAX);
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    enum err e = OK;
    for (size_t i = 0; i < n && !e; i++) {
        const char *text = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        if (!text)
            e = err_set_param(c->error, ERR_INVALID, "/license",
                              "license must be a text or a list of texts");
        else
            buf_printf(&all, "%s%s", i ? "\n" : "", text);
    }
    if (!e) set_text(c->doc, "license", buf_str(&all));
    buf_free(&all);
    return e;
}

static enum err set_parameters(struct create *c)
{
    const json_t *own = NULL;
    const char *name;
    json_t *value, *all = json_object_get(c->doc, "parameters");
    enum err e = json_get_object(c->p->spec, "parameters", "", &own, c->error);
    if (e || !json_object_size(own)) return e;
    if (!all) {
        all = json_object();
        ht_assert(json_object_set_new(c->doc, "parameters", all) == 0);
    }
    json_object_foreach ((json_t *)own, name, value)
        ht_assert(json_object_set_new(all, name, json_deep_copy(value)) == 0);
    return OK;
}

static enum err set_rest(struct create *c)
{
    static const char *const texts[] = {"system", "template"};
    const json_t *messages = NULL;
    enum err e = OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !e; i++) {
        const char *text = NULL;
        e = json_get_string(c->p->spec, texts[i], "", &text, c->error);
        if (!e && text && (*text || !json_object_get(c->p->spec, "messages")))
            set_text(c->doc, texts[i], text);
    }
    if (!e) e = set_license(c);
    if (!e) e = set_parameters(c);
    if (!e) e = json_get_array(c->p->spec, "messages", "", &messages, c->error);
    if (!e && json_array_size(messages))
        ht_assert(json_object_set_new(c->doc, "messages", json_deep_copy(messages)) == 0);
    return e;
}

/* It must not be what others have their weights from, unless it still has them. */
static enum err check_users(const struct create *c)
{
    char user[MODEL_ID_MAX];
    if (!c->old || !c->old->file[0] || json_object_get(c->doc, "file")) return OK;
    if (!models_is_base(c->m, c->name, user)) return OK;
    return err_set(c->error, ERR_CONFLICT, "%s is what %s was made from; remove that one first",
                   c->name, user);
}

static enum err write_record(struct create *c)
{
    char when[32];
    clock_format_utc(when, sizeof when, clock_wall_ms());
    set_text(c->doc, "created_at", when);
    enum err e = check_users(c);
    return e ? e : derived_write(models_dir(c->m), c->name, c->doc, c->error);
}

static enum err create(struct create *c)
{
    enum err e = check_name(c);
    if (!e) e = find_weights(c);
    if (!e) e = set_rest(c);
    if (!e) e = find_adapter(c);
    if (!e && json_object_get(c->p->spec, "quantize") &&
        json_string_length(json_object_get(c->p->spec, "quantize")))
        e = err_set_param(c->error, ERR_UNSUPPORTED, "/quantize",
                          "models are not quantised here; make them from a file that is");
    if (e) return e;
    share_adapter(c);
    say(c, "writing manifest");
    e = write_record(c);
    if (e) return e;
    models_rescan(c->m);
    if (c->old) models_drop_files(c->m, c->old, c->p->adapters_dir);
    say(c, "success");
    return OK;
}

enum err models_create(struct models *m, const struct create_params *params, struct error *error)
{
    struct error own = {.code = OK};
    struct create *c = xcalloc(1, sizeof *c);
    *c = (struct create){.m = m, .p = params, .error = error ? error : &own};
    c->doc = json_object();
    enum err e = create(c);
    if (e) undo_adapter(c);
    json_decref(c->doc);
    derived_unref(c->old);
    free(c);
    return e;
}

enum err models_copy(struct models *m, const char *source, const char *name,
                     const char *adapters_dir, struct error *error)
{
    json_t *spec = json_object();
    set_text(spec, "from", source);
    struct create_params params = {.name = name, .spec = spec, .adapters_dir = adapters_dir};
    enum err e = models_create(m, &params, error);
    json_decref(spec);
    return e;
}
