/* struct adapters: the folders, the last scan, and which pairs of adapter and model were checked.
 *
 * The mutex covers everything but the folders' names. It is held while headers are read, so that
 * several requests that come at once read them once. */
#include "models/adapters.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/gguf.h"
#include "models/models_int.h"

enum { RESCAN_MS = 1000, ADAPTERS_MAX = 1000, CHECKED = 1024, NAMES_BYTES = 300 };

struct entry {
    struct adapter_info info;
    bool direct; /* in the user's folder itself */
};

struct list {
    struct entry *items; /* by name */
    size_t n, cap;
};

/* A pair that was checked. */
struct checked {
    uint64_t adapter, model; /* versions; 0 = free */
    enum err code;
    char *why;
};

struct adapters {
    char dir[FS_PATH_MAX], builtin_dir[FS_PATH_MAX];
    pthread_mutex_t lock;
    struct list list;
    bool scanned;
    int64_t scanned_ms;
    struct checked checked[CHECKED]; /* a ring */
    size_t n_checked;
};

enum err adapters_open(const char *dir, const char *builtin_dir, struct adapters **out,
                       struct error *error)
{
    struct adapters *a = xcalloc(1, sizeof(*a));
    if (!str_copy(a->dir, sizeof(a->dir), dir) ||
        !str_copy(a->builtin_dir, sizeof(a->builtin_dir), builtin_dir ? builtin_dir : "")) {
        free(a);
        return err_set(error, ERR_INVALID, "the adapters folder's path is longer than %d bytes",
                       FS_PATH_MAX - 1);
    }
    pthread_mutex_init(&a->lock, NULL);
    *out = a;
    return OK;
}

void adapters_free(struct adapters *a)
{
    if (!a) return;
    for (size_t i = 0; i < CHECKED; i++) free(a->checked[i].why);
    free(a->list.items);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void adapters_builtin_dir(const char *builtin_dir, char path[MODEL_PATH_MAX])
{
    if (!*builtin_dir || fs_join(path, MODEL_PATH_MAX, builtin_dir, "adapters", NULL))
        path[0] = '\0';
}

enum err adapter_wanted(const char *asked, const char *named, const char **out, struct error *error)
{
    bool twice = asked && *asked && named;
    *out = asked && *asked ? asked : named;
    if (!twice || str_eq(asked, named)) return OK;
    return err_set_param(error, ERR_INVALID, "/adapter",
                         "the request asks for the adapter \"%.100s\", and its model's name for "
                         "\"%.100s\"",
                         asked, named);
}

bool adapter_is_none(const char *name)
{
    return str_eq(name, "base") || str_eq(name, "none");
}

/* ---- scanning ------------------------------------------------------------------------------ */

static struct entry *find(const struct list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i].info.name, name)) return &l->items[i];
    return NULL;
}

/* NULL: it is there already (the first one found counts), or there is no room. */
static struct entry *add(struct list *l, const char *name, size_t len, const char *path)
{
    struct entry e = {0};
    if (len >= sizeof(e.info.name) || !utf8_valid(name, len) || l->n >= ADAPTERS_MAX) return NULL;
    memcpy(e.info.name, name, len);
    if (find(l, e.info.name) || !str_copy(e.info.path, sizeof(e.info.path), path)) return NULL;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct entry *bigger = try_realloc(l->items, cap, sizeof(*bigger));
        if (!bigger) return NULL;
        l->items = bigger;
        l->cap = cap;
    }
    l->items[l->n] = e;
    return &l->items[l->n++];
}

static bool is_gguf(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && strcasecmp(name + len - 5, ".gguf") == 0;
}

/* What lies in adapters/<name>/. */
struct inside {
    char path[FS_PATH_MAX]; /* of the last GGUF */
    struct stat st;
    size_t n_gguf;
    bool peft;
};

static void look_inside(const char *dir, struct inside *in)
{
    *in = (struct inside){0};
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[FS_PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.' || fs_join(path, sizeof(path), dir, e->d_name, NULL)) continue;
        if (str_starts(e->d_name, "adapter_model.")) in->peft = true;
        if (!is_gguf(e->d_name) || stat(path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        in->n_gguf++;
        in->st = st;
        str_copy(in->path, sizeof(in->path), path);
    }
    closedir(d);
}

static void add_folder(struct list *l, const char *name, const char *path)
{
    struct inside in;
    look_inside(path, &in);
    if (!in.n_gguf && !in.peft) return;
    struct entry *e = add(l, name, strlen(name), in.n_gguf == 1 ? in.path : path);
    if (!e) return;
    if (in.n_gguf > 1)
        err_set(&e->info.error, ERR_ADAPTER,
                "its folder holds %zu GGUF files; there must be one, a folder for each adapter",
                in.n_gguf);
    else if (!in.n_gguf)
        err_set(&e->info.error, ERR_ADAPTER,
                "it is a PEFT adapter; make a GGUF of it with llama.cpp's convert_lora_to_gguf.py");
    else
        e->info.version = file_signature(&in.st);
}

/* One pass adds the folders, the other the files: the folder counts where both have a name. */
static void scan_dir(struct list *l, const char *dir, bool builtin, bool folders)
{
    DIR *d = *dir ? opendir(dir) : NULL;
    if (!d) return;
    size_t before = l->n;
    for (struct dirent *e; (e = readdir(d));) {
        char path[FS_PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.' || fs_join(path, sizeof(path), dir, e->d_name, NULL)) continue;
        if (stat(path, &st) != 0) continue;
        if (folders && S_ISDIR(st.st_mode)) add_folder(l, e->d_name, path);
        if (folders || !S_ISREG(st.st_mode) || !is_gguf(e->d_name)) continue;
        struct entry *made = add(l, e->d_name, strlen(e->d_name) - 5, path);
        if (!made) continue;
        made->direct = !builtin;
        made->info.version = file_signature(&st);
    }
    closedir(d);
    for (size_t i = before; i < l->n; i++) l->items[i].info.builtin = builtin;
}

static void inspect(struct adapter_info *info)
{
    struct gguf_adapter g;
    enum err e = gguf_inspect_adapter(info->path, &g, &info->error);
    if (!e) {
        str_copy(info->arch, sizeof(info->arch), g.arch);
        str_copy(info->base_model, sizeof(info->base_model), g.base_model);
        info->alpha = (float)g.alpha;
        info->rank = g.rank;
        info->n_embd = g.n_embd;
        info->bytes = g.file_bytes;
        if (g.activated)
            e = err_set(&info->error, ERR_ADAPTER,
                        "it is an activated LoRA (aLoRA), which works only from certain words on; "
                        "use an ordinary LoRA");
        gguf_tensors_free(&g.tensors);
    }
    if (adapter_is_none(info->name))
        e = err_set(&info->error, ERR_ADAPTER, "its name means no adapter at all; rename it");
    if (e == ERR_FORBIDDEN)
        err_set(&info->error, e,
                "it can't be read (%s); if it was linked there while the hub runs, its first use "
                "takes care of that",
                strerror(EACCES));
    if (e) info->error.code = ERR_ADAPTER;
    if (e) log_warn(models, "the adapter %s can't be used: %s", info->name, info->error.msg);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->info.name, ((const struct entry *)b)->info.name);
}

static void refresh(struct adapters *a)
{
    int64_t now = clock_mono_ms();
    if (a->scanned && now - a->scanned_ms < RESCAN_MS) return;
    struct list fresh = {0};
    for (int pass = 0; pass < 4; pass++)
        scan_dir(&fresh, pass < 2 ? a->dir : a->builtin_dir, pass >= 2, pass % 2 == 0);
    if (fresh.n) qsort(fresh.items, fresh.n, sizeof(*fresh.items), by_name);
    for (size_t i = 0; i < fresh.n; i++) {
        struct adapter_info *info = &fresh.items[i].info;
        const struct entry *old = find(&a->list, info->name);
        if (info->error.code) continue;
        if (old && old->info.version == info->version && str_eq(old->info.path, info->path))
            *info = old->info;
        else
            inspect(info);
    }
    free(a->list.items);
    a->list = fresh;
    a->scanned = true;
    a->scanned_ms = now;
}

enum err adapters_list(struct adapters *a, struct adapter_info **out, size_t *n,
                       struct error *error)
{
    pthread_mutex_lock(&a->lock);
    refresh(a);
    size_t count = a->list.n;
    struct adapter_info *list = try_calloc(count + 1, sizeof(*list));
    for (size_t i = 0; list && i < count; i++) list[i] = a->list.items[i].info;
    pthread_mutex_unlock(&a->lock);
    if (!list) return err_set(error, ERR_NOMEM, "no memory for a list of %zu adapters", count);
    *out = list;
    *n = count;
    return OK;
}

/* ---- names --------------------------------------------------------------------------------- */

/* The only one directly in the folder. */
static enum err find_default(const struct list *l, const struct entry **out, struct error *error)
{
    size_t n = 0;
    *out = find(l, "default");
    if (*out) return OK;
    for (size_t i = 0; i < l->n; i++) {
        if (!l->items[i].direct) continue;
        *out = &l->items[i];
        n++;
    }
    if (n == 1) return OK;
    return n ? err_set(error, ERR_NO_ADAPTER,
                       "there is no default adapter, since %zu lie directly in the adapters "
                       "folder; name one",
                       n)
             : err_set(error, ERR_NO_ADAPTER,
                       "there is no default adapter: none lies directly in the adapters folder");
}

static enum err unknown(const struct list *l, const char *name, struct error *error)
{
    struct buf names;
    buf_init(&names, NAMES_BYTES);
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", l->items[i].info.name);
    if (l->n)
        err_set(error, ERR_NO_ADAPTER, "there is no adapter \"%.100s\"; there are: %s", name,
                buf_str(&names));
    else
        err_set(error, ERR_NO_ADAPTER, "there is no adapter \"%.100s\", and none at all", name);
    buf_free(&names);
    return ERR_NO_ADAPTER;
}

enum err adapters_resolve(struct adapters *a, const char *name, struct adapter_info *out,
                          struct error *error)
{
    enum err e = OK;
    pthread_mutex_lock(&a->lock);
    refresh(a);
    const struct entry *found = NULL;
    if (str_eq(name, "default"))
        e = find_default(&a->list, &found, error);
    else
        found = find(&a->list, name);
    if (!e && !found) e = unknown(&a->list, name, error);
    if (!e) *out = found->info;
    pthread_mutex_unlock(&a->lock);
    if (e || !out->error.code) return e;
    return err_set(error, ERR_ADAPTER, "the adapter %s can't be used: %s", out->name,
                   out->error.msg);
}

/* ---- does it fit? -------------------------------------------------------------------------- */

static uint64_t model_version(const struct model_info *m)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a of its path, then size and time */
    for (const char *p = m->path; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    h = (h ^ (uint64_t)m->file_bytes) * 1099511628211u;
    h = (h ^ (uint64_t)m->modified_s) * 1099511628211u;
    return h ? h : 1;
}

static enum err compare(const struct adapter_info *adapter, const struct model_info *model,
                        struct error *error)
{
    struct gguf_adapter g;
    struct gguf_tensors of_model;
    if (!str_eq(adapter->arch, model->arch))
        return err_set(error, ERR_ADAPTER, "it is for %s models, and %s is a %s model",
                       adapter->arch, model->id, model->arch);
    enum err e = gguf_inspect_adapter(adapter->path, &g, error);
    if (e) return e;
    e = gguf_list_tensors(model->path, &of_model, error);
    if (!e) {
        e = adapter_fits(&g.tensors, &of_model, error);
        gguf_tensors_free(&of_model);
    }
    gguf_tensors_free(&g.tensors);
    return e;
}

bool adapter_may_fit(const struct adapter_info *adapter, const struct model_info *model)
{
    return !adapter->error.code && str_eq(adapter->arch, model->arch) &&
           (!adapter->n_embd || adapter->n_embd == model->n_embd);
}

/* The lock is held. */
static const struct checked *check_pair(struct adapters *a, const struct adapter_info *adapter,
                                        const struct model_info *model)
{
    uint64_t version = model_version(model);
    for (size_t i = 0; i < CHECKED; i++)
        if (a->checked[i].model == version && a->checked[i].adapter == adapter->version)
            return &a->checked[i];
    struct checked *c = &a->checked[a->n_checked++ % CHECKED];
    struct error error = {0};
    free(c->why);
    *c = (struct checked){.adapter = adapter->version, .model = version};
    c->code = compare(adapter, model, &error);
    c->why = xstrdup(error.msg);
    /* what is no matter of the files may go better next time */
    if (c->code && c->code != ERR_ADAPTER && c->code != ERR_MODEL_FILE) c->model = 0;
    return c;
}

enum err adapters_check(struct adapters *a, const struct adapter_info *adapter,
                        const struct model_info *model, struct error *error)
{
    pthread_mutex_lock(&a->lock);
    const struct checked *c = check_pair(a, adapter, model);
    enum err e = c->code == ERR_MODEL_FILE ? ERR_ADAPTER : c->code;
    if (e)
        err_set(error, e, "the adapter %s does not fit %s: %s", adapter->name, model->id, c->why);
    pthread_mutex_unlock(&a->lock);
    return e;
}
