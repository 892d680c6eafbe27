/* struct models: the folders, the last scan, the catalogue; and names -> files.
 *
 * The mutex covers everything but the folders' names. It is held while headers are read, so that
 * several requests that come at once read them once. */
#include "models/models.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/gguf.h"
#include "models/models_int.h"

enum { RESCAN_MS = 1000, RETRY_MS = 50, SUGGEST_MAX = 3, SUGGEST_BYTES = 300 };

struct models {
    char dir[FS_PATH_MAX], builtin_dir[FS_PATH_MAX];
    pthread_mutex_t lock;
    struct scan *scan; /* NULL until first used */
    int64_t scanned_ms;
    struct timespec derived_changed; /* of the derived models' folder, before the scan */
    struct model_info outside;       /* the last file that was asked for by its path; "" = none */
    uint64_t outside_signature;
    struct catalog *catalog; /* NULL until first used; then constant */
    bool catalog_bad_told;
};

enum err models_open(const char *dir, const char *builtin_dir, struct models **out,
                     struct error *error)
{
    struct models *m = xcalloc(1, sizeof(*m));
    enum err e = OK;
    if (!str_copy(m->dir, sizeof(m->dir), dir) ||
        !str_copy(m->builtin_dir, sizeof(m->builtin_dir), builtin_dir ? builtin_dir : ""))
        e = err_set(error, ERR_INVALID, "the models folder's path is longer than %d bytes",
                    FS_PATH_MAX - 1);
    if (e == OK) e = fs_mkdirs(dir, 0755, error);
    if (e) {
        free(m);
        err_prefix(error, "the models folder (HEARTH_MODELS)");
        return e;
    }
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return OK;
}

void models_free(struct models *m)
{
    if (!m) return;
    scan_free(m->scan);
    catalog_free(m->catalog);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

const char *models_dir(const struct models *m)
{
    return m->dir;
}

/* ---- words ---------------------------------------------------------------------------------- */

const char *model_kind_name(enum model_kind kind)
{
    static const char *const names[] = {
        [MODEL_CHAT] = "chat",
        [MODEL_COMPLETION] = "completion",
        [MODEL_EMBEDDING] = "embedding",
        [MODEL_RERANK] = "rerank",
    };
    ht_assert((size_t)kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}

const char *model_state_name(enum model_state state)
{
    static const char *const names[] = {
        [MODEL_ON_DISK] = "on_disk",
        [MODEL_LOADING] = "loading",
        [MODEL_READY] = "ready",
        [MODEL_FAILED] = "failed",
    };
    ht_assert((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

/* ---- under the lock ---------------------------------------------------------------------- */

/* When a derived model came or went, perhaps by another process. All 0: there is no folder. */
static struct timespec derived_changed(const struct models *m)
{
    char path[FS_PATH_MAX];
    struct stat st;
    if (fs_join(path, sizeof(path), m->dir, DERIVED_DIR, NULL) || stat(path, &st) != 0)
        return (struct timespec){0};
    return st.st_mtim;
}

static void refresh(struct models *m, bool now)
{
    int64_t ms = clock_mono_ms();
    if (m->scan && !now && ms - m->scanned_ms < RESCAN_MS) return;
    m->derived_changed = derived_changed(m);
    struct scan *fresh = scan_folders(m->builtin_dir, m->dir, m->scan);
    scan_free(m->scan);
    m->scan = fresh;
    m->scanned_ms = clock_mono_ms();
}

/* As refresh, and a derived model that was just made, by whomever, is seen at once: what asks by a
 * name alone would take it for none, or for what it was before. */
static bool derived_have_changed(const struct models *m)
{
    struct timespec now = derived_changed(m), then = m->derived_changed;
    return now.tv_sec != then.tv_sec || now.tv_nsec != then.tv_nsec;
}

static void refresh_derived(struct models *m)
{
    refresh(m, derived_have_changed(m));
}

/* The way of all requests where there are no derived models: one look at their folder. */
static bool may_have_derived(const struct models *m)
{
    return (m->scan && m->scan->n_derived) || derived_have_changed(m);
}

static enum err load_catalog(struct models *m, struct error *error)
{
    char path[FS_PATH_MAX];
    if (m->catalog) return OK;
    if (!m->builtin_dir[0])
        return err_set(
            error, ERR_CONFIG,
            "the folder with the catalogue and the built-in models was not found; name it "
            "with HEARTH_BUILTIN");
    enum err e = fs_join(path, sizeof(path), m->builtin_dir, "catalog.json", error);
    return e ? e : catalog_load(path, &m->catalog, error);
}

/* For names that may be the catalogue's: without it they just aren't found. */
static const struct catalog *catalog_or_null(struct models *m)
{
    struct error why;
    if (load_catalog(m, &why) != OK && !m->catalog_bad_told) {
        log_warn(models, "%s", why.msg);
        m->catalog_bad_told = true;
    }
    return m->catalog;
}

static const struct scan_entry *find_id(const struct scan *s, const char *name)
{
    for (size_t i = 0; i < s->n_good; i++)
        if (str_eq(s->entries[i]->info.id, name)) return s->entries[i];
    for (size_t i = 0; i < s->n_good; i++)
        if (str_ieq(s->entries[i]->info.id, name)) return s->entries[i];
    return NULL;
}

/* "name:latest" is name, as Ollama's clients have it. */
static const struct scan_entry *find_latest(const struct scan *s, const char *name)
{
    char plain[MODEL_ID_MAX];
    if (!str_ends(name, ":latest") || !str_copy(plain, sizeof(plain), name)) return NULL;
    plain[strlen(plain) - strlen(":latest")] = '\0';
    return find_id(s, plain);
}

/* "file.gguf", "org/repo/file.gguf", or a stem that two files share (then the first). */
static const struct scan_entry *find_file(const struct scan *s, const char *name)
{
    char stem[FS_PATH_MAX];
    for (size_t i = 0; i < s->n_good; i++) {
        const struct scan_entry *e = s->entries[i];
        if (e->derived) continue; /* its path is another's, or has no name in it */
        const char *relative = e->path + e->root_len, *slash = strrchr(relative, '/');
        model_stem(stem, sizeof(stem), e->path);
        if (str_eq(relative, name) || str_eq(slash ? slash + 1 : relative, name) ||
            str_ieq(stem, name))
            return e;
    }
    return NULL;
}

static bool same_file_name(const char *path, const char *catalog_file)
{
    const char *a = strrchr(path, '/'), *b = strrchr(catalog_file, '/');
    return str_eq(a ? a + 1 : path, b ? b + 1 : catalog_file);
}

/* The entry that is `file` of `model`: pull wrote so, or it has the file's name. */
static const struct scan_entry *find_catalog_file(const struct scan *s,
                                                  const struct catalog_model *model,
                                                  const struct catalog_file *file)
{
    for (size_t i = 0; i < s->n_good; i++) {
        const struct scan_entry *e = s->entries[i];
        if (e->builtin || e->derived) continue;
        if (str_eq(e->sidecar.catalog, model->name) && str_ieq(e->sidecar.quant, file->quant))
            return e;
    }
    for (size_t i = 0; i < s->n_good; i++) {
        const struct scan_entry *e = s->entries[i];
        if (!e->builtin && !e->derived && !e->sidecar.repo[0] &&
            same_file_name(e->path, file->file))
            return e;
    }
    return NULL;
}

static const struct scan_entry *find_catalog(const struct scan *s,
                                             const struct catalog_model *model,
                                             const struct catalog_file *file)
{
    if (file) return find_catalog_file(s, model, file);
    for (size_t i = 0; i < model->n_files; i++) { /* the default first */
        const struct scan_entry *e = find_catalog_file(s, model, &model->files[i]);
        if (e) return e;
    }
    return NULL;
}

/* "org/repo" or "org/repo:what", where what is a quantisation or the file's name. */
static const struct scan_entry *find_repo(const struct scan *s, const char *name)
{
    const char *colon = strchr(name, ':');
    size_t len = colon ? (size_t)(colon - name) : strlen(name);
    for (size_t i = 0; i < s->n_good; i++) {
        const struct scan_entry *e = s->entries[i];
        const struct sidecar *sc = &e->sidecar;
        if (!sc->repo[0] || strlen(sc->repo) != len || strncasecmp(sc->repo, name, len) != 0)
            continue;
        if (!colon || str_ieq(e->info.quant, colon + 1) || str_ieq(sc->quant, colon + 1) ||
            str_eq(sc->file, colon + 1) || str_ends(e->info.id, colon + 1))
            return e;
    }
    return NULL;
}

static void suggest_local(const struct scan *s, const char *name, struct buf *out)
{
    size_t found = 0, len = strlen(name);
    int most = len < 6 ? 2 : (int)len / 3;
    for (int distance = 0; distance <= most && len > 0; distance++) {
        for (size_t i = 0; i < s->n_good && found < SUGGEST_MAX; i++) {
            const char *id = s->entries[i]->info.id;
            bool begun = len >= 3 && strncasecmp(id, name, len) == 0;
            if ((begun ? 0 : name_distance(name, id)) != distance) continue;
            buf_printf(out, "%s%s", found++ ? ", " : "", id);
        }
    }
}

static enum err unknown(struct models *m, const char *name, struct error *error)
{
    struct buf local, known;
    buf_init(&local, SUGGEST_BYTES);
    buf_init(&known, SUGGEST_BYTES);
    suggest_local(m->scan, name, &local);
    const struct catalog *c = catalog_or_null(m);
    if (c) catalog_suggest(c, name, SUGGEST_MAX, &known);
    if (local.len && known.len)
        err_set(
            error, ERR_NO_MODEL,
            "there is no model \"%.100s\"; close to it: %s; to download (hearth pull <name>): %s",
            name, buf_str(&local), buf_str(&known));
    else if (local.len)
        err_set(error, ERR_NO_MODEL, "there is no model \"%.100s\"; did you mean %s?", name,
                buf_str(&local));
    else if (known.len)
        err_set(error, ERR_NO_MODEL,
                "there is no model \"%.100s\"; close to it, to download (hearth pull <name>): %s",
                name, buf_str(&known));
    else
        err_set(error, ERR_NO_MODEL,
                "there is no model \"%.100s\"; `hearth models` lists those "
                "there are",
                name);
    buf_free(&local);
    buf_free(&known);
    return ERR_NO_MODEL;
}

static enum err not_pulled(const struct catalog_model *model, const struct catalog_file *file,
                           struct error *error)
{
    char size[32] = "unknown size";
    const struct catalog_file *f = file ? file : &model->files[0];
    if (f->bytes > 0) str_from_bytes(size, sizeof(size), (uint64_t)f->bytes);
    return err_set(error, ERR_NO_MODEL,
                   "the model %s%s%s is not on this machine; get it with: hearth pull %s%s%s (%s)",
                   model->name, file ? ":" : "", file ? file->quant : "", model->name,
                   file ? ":" : "", file ? file->quant : "", size);
}

static enum err find_name(struct models *m, const char *name, const struct scan_entry **out,
                          struct error *error)
{
    struct error why;
    const struct scan *s = m->scan;
    const struct catalog_model *model;
    const struct catalog_file *file;
    *out = find_id(s, name);
    if (!*out) *out = find_latest(s, name);
    if (!*out) *out = find_file(s, name);
    if (!*out) *out = find_repo(s, name);
    const struct catalog *c = *out ? NULL : catalog_or_null(m);
    enum err e = c ? catalog_find(c, name, &model, &file, &why) : ERR_NO_MODEL;
    if (e == ERR_INVALID) return err_set(error, ERR_NO_MODEL, "%s", why.msg);
    if (e == OK) {
        *out = find_catalog(s, model, file);
        if (!*out) return not_pulled(model, file, error);
    }
    return *out ? OK : unknown(m, name, error);
}

/* ---- any thread -------------------------------------------------------------------------- */

enum err models_list(struct models *m, struct model_info **out, size_t *n, struct error *error)
{
    pthread_mutex_lock(&m->lock);
    refresh(m, false);
    size_t count = m->scan->n_good;
    struct model_info *list = try_calloc(count + 1, sizeof(*list));
    for (size_t i = 0; list && i < count; i++) list[i] = m->scan->entries[i]->info;
    pthread_mutex_unlock(&m->lock);
    if (!list) return err_set(error, ERR_NOMEM, "no memory for a list of %zu models", count);
    *out = list;
    *n = count;
    return OK;
}

static bool looks_like_path(const char *name)
{
    return *name == '/' || str_starts(name, "./") || str_starts(name, "../");
}

static enum err inspect_path(const char *name, struct model_info *out, struct error *error)
{
    struct error why;
    enum err e = gguf_inspect(name, out, &why);
    if (e == ERR_NOT_FOUND) return err_set(error, ERR_NO_MODEL, "there is no file %.300s", name);
    if (e) return err_set(error, e, "%.200s: %s", name, why.msg);
    char stem[FS_PATH_MAX];
    model_stem(stem, sizeof(stem), name);
    str_copy(out->id, sizeof(out->id), stem);
    return OK;
}

/* Reading the header takes milliseconds where the vocabulary is large, and a default model that is
 * given by its path is asked for by every request. */
static enum err resolve_path(struct models *m, const char *name, struct model_info *out,
                             struct error *error)
{
    struct stat st;
    bool there = stat(name, &st) == 0;
    uint64_t signature = there ? file_signature(&st) : 0;
    pthread_mutex_lock(&m->lock);
    bool same = there && m->outside_signature == signature && str_eq(m->outside.path, name);
    enum err e = OK;
    if (same)
        *out = m->outside;
    else
        e = inspect_path(name, out, error);
    /* of a split file only the first part was looked at */
    if (e == OK && there && out->file_bytes == st.st_size) {
        m->outside = *out;
        m->outside_signature = signature;
    }
    pthread_mutex_unlock(&m->lock);
    return e;
}

enum err models_resolve(struct models *m, const char *name, bool allow_paths,
                        struct model_info *out, struct error *error)
{
    if (!*name) return err_set(error, ERR_NO_MODEL, "the model's name is empty");
    if (allow_paths && looks_like_path(name)) return resolve_path(m, name, out, error);
    const struct scan_entry *entry;
    pthread_mutex_lock(&m->lock);
    refresh_derived(m);
    enum err e = find_name(m, name, &entry, error);
    if (e == ERR_NO_MODEL && clock_mono_ms() - m->scanned_ms >= RETRY_MS) { /* it may be new */
        refresh(m, true);
        e = find_name(m, name, &entry, error);
    }
    if (e == OK) *out = entry->info;
    pthread_mutex_unlock(&m->lock);
    if (e && allow_paths && fs_exists(name)) return resolve_path(m, name, out, error);
    return e;
}

enum err models_catalog(struct models *m, const struct catalog **out, struct error *error)
{
    pthread_mutex_lock(&m->lock);
    enum err e = load_catalog(m, error);
    *out = m->catalog;
    pthread_mutex_unlock(&m->lock);
    return e;
}

enum err models_find_path(struct models *m, const char *path, struct model_info *out,
                          struct error *error)
{
    enum err e = ERR_NO_MODEL;
    pthread_mutex_lock(&m->lock);
    refresh(m, true);
    for (size_t i = 0; i < m->scan->n_good && e; i++) {
        const struct scan_entry *entry = m->scan->entries[i];
        if (entry->derived || !str_eq(entry->path, path)) continue;
        *out = entry->info;
        e = OK;
    }
    pthread_mutex_unlock(&m->lock);
    return e ? err_set(error, e, "%.200s is not a model in %.200s", path, m->dir) : OK;
}

struct derived *models_derived(struct models *m, const char *name)
{
    struct derived *d = NULL;
    pthread_mutex_lock(&m->lock);
    if (!may_have_derived(m)) {
        pthread_mutex_unlock(&m->lock);
        return NULL;
    }
    refresh_derived(m);
    const struct scan *s = m->scan;
    const struct scan_entry *e = s->n_derived ? find_id(s, name) : NULL;
    if (!e && s->n_derived) e = find_latest(s, name);
    if (e && e->derived) d = derived_ref(e->derived);
    pthread_mutex_unlock(&m->lock);
    return d;
}

bool models_has_derived(struct models *m)
{
    pthread_mutex_lock(&m->lock);
    bool any = may_have_derived(m);
    if (any) refresh_derived(m);
    any = any && m->scan->n_derived > 0;
    pthread_mutex_unlock(&m->lock);
    return any;
}

void models_rescan(struct models *m)
{
    pthread_mutex_lock(&m->lock);
    refresh(m, true);
    pthread_mutex_unlock(&m->lock);
}

/* ---- removal ----------------------------------------------------------------------------- */

static void remove_beside(const char *path, const char *suffix)
{
    char beside[FS_PATH_MAX];
    if (str_printf(beside, sizeof(beside), "%s%s", path, suffix)) unlink(beside);
}

/* Later parts of a split model; they have the first one's name but for the number. */
static void remove_parts(const char *path)
{
    size_t len = strlen(path);
    const char *tail = len > 20 ? path + len - 20 : NULL; /* "-00001-of-00003.gguf" */
    if (!tail || strncmp(tail, "-00001-of-", 10) != 0) return;
    for (int no = 2; no < 100000; no++) {
        char part[FS_PATH_MAX];
        if (!str_printf(part, sizeof(part), "%.*s-%05d%s", (int)(tail - path), path, no, tail + 6))
            return;
        if (unlink(part) != 0) return;
        remove_beside(part, ".json");
    }
}

static void remove_empty_folders(const struct models *m, const char *path)
{
    char dir[FS_PATH_MAX];
    str_copy(dir, sizeof(dir), path);
    for (char *slash; (slash = strrchr(dir, '/'));) {
        *slash = '\0';
        if (strlen(dir) <= strlen(m->dir) || rmdir(dir) != 0) return;
    }
}

/* Under the lock. A blob ("blobs/...") goes if no derived model has it; other files stay. */
static void drop_blob(const struct models *m, const char *file)
{
    char path[FS_PATH_MAX];
    if (!str_starts(file, BLOBS_DIR "/")) return;
    for (size_t i = 0; i < m->scan->n_derived; i++) {
        const struct derived *d = m->scan->derived[i];
        if (str_eq(d->file, file) || str_eq(d->adapter_file, file)) return;
    }
    if (fs_join(path, sizeof(path), m->dir, file, NULL) == OK) unlink(path);
}

static void drop_adapter(const struct models *m, const char *adapter, const char *adapters_dir)
{
    char path[FS_PATH_MAX];
    for (size_t i = 0; i < m->scan->n_derived; i++)
        if (str_eq(m->scan->derived[i]->adapter, adapter)) return;
    if (str_printf(path, sizeof(path), "%s/%s.gguf", adapters_dir, adapter)) unlink(path);
}

void models_drop_files(struct models *m, const struct derived *d, const char *adapters_dir)
{
    pthread_mutex_lock(&m->lock);
    refresh(m, true);
    drop_blob(m, d->file);
    if (d->adapter && d->adapter_file && adapters_dir) {
        drop_adapter(m, d->adapter, adapters_dir);
        drop_blob(m, d->adapter_file);
    }
    pthread_mutex_unlock(&m->lock);
}

bool models_adapter_blob(struct models *m, const char *adapter, char file[MODEL_PATH_MAX])
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    refresh_derived(m);
    for (size_t i = 0; i < m->scan->n_derived && !found; i++) {
        const struct derived *d = m->scan->derived[i];
        found = d->adapter_file && str_eq(d->adapter, adapter);
        if (found) str_copy(file, MODEL_PATH_MAX, d->adapter_file);
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

bool models_is_base(struct models *m, const char *id, char user[MODEL_ID_MAX])
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    refresh(m, false);
    for (size_t i = 0; i < m->scan->n_derived && !found; i++) {
        found = str_ieq(m->scan->derived[i]->from, id);
        if (found) str_copy(user, MODEL_ID_MAX, m->scan->derived[i]->name);
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

static enum err remove_derived(struct models *m, const struct derived *d, const char *adapters_dir,
                               struct error *error)
{
    if (unlink(d->path) != 0) return err_set_errno(error, errno, "removing it");
    models_drop_files(m, d, adapters_dir);
    return OK;
}

enum err models_remove(struct models *m, const char *name, const char *adapters_dir,
                       struct error *error)
{
    struct model_info info;
    char user[MODEL_ID_MAX];
    enum err e = models_resolve(m, name, false, &info, error);
    if (e) return e;
    if (info.builtin)
        return err_set(error, ERR_FORBIDDEN, "%s is built in and can't be removed", info.id);
    if (models_is_base(m, info.id, user))
        return err_set(error, ERR_CONFLICT, "%s is what %s was made from; remove that one first",
                       info.id, user);
    struct derived *d = models_derived(m, info.id);
    if (d) {
        e = remove_derived(m, d, adapters_dir, error);
        derived_unref(d);
        return e;
    }
    if (unlink(info.path) != 0) return err_set_errno(error, errno, info.id);
    remove_parts(info.path);
    remove_beside(info.path, ".json");
    remove_beside(info.path, ".part");
    remove_beside(info.path, ".part.json");
    remove_empty_folders(m, info.path);
    pthread_mutex_lock(&m->lock);
    refresh(m, true);
    pthread_mutex_unlock(&m->lock);
    return OK;
}
