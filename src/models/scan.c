/* Two passes: list the files with their stat (cheap), then inspect those that are new or changed.
 * Folders are bounded in depth, so loops of symbolic links end; files in number. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/gguf.h"
#include "models/models_int.h"

struct found {
    char *path;
    uint64_t signature;
};

struct finder {
    struct found *files;
    size_t n, cap;
    bool full;
    bool quiet; /* an earlier scan warned already */
    bool warned;
};

/* ---- names ------------------------------------------------------------------------------- */

static bool is_gguf(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && strcasecmp(name + len - 5, ".gguf") == 0;
}

/* Where "-00002-of-00003.gguf" begins in a path, and its numbers; NULL if it isn't one. */
static const char *split_tail(const char *path, int *no, int *count)
{
    size_t len = strlen(path);
    enum { TAIL = 20 };
    if (len <= TAIL) return NULL;
    const char *tail = path + len - TAIL;
    int64_t a, b;
    char digits[6] = "";
    if (tail[0] != '-' || memcmp(tail + 6, "-of-", 4) != 0 || strcasecmp(tail + 15, ".gguf") != 0)
        return NULL;
    memcpy(digits, tail + 1, 5);
    if (!str_to_i64(digits, 1, 99999, &a)) return NULL;
    memcpy(digits, tail + 10, 5);
    if (!str_to_i64(digits, 1, 99999, &b)) return NULL;
    *no = (int)a;
    *count = (int)b;
    return tail;
}

void model_stem(char *dst, size_t size, const char *path)
{
    int no, count;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *tail = split_tail(name, &no, &count);
    size_t len = tail ? (size_t)(tail - name) : strlen(name) - (is_gguf(name) ? 5 : 0);
    str_printf(dst, size, "%.*s", (int)len, name);
}

/* ---- first pass: files ------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * UINT64_C(0x9E3779B97F4A7C15) + (h >> 29);
}

uint64_t file_signature(const struct stat *st)
{
    uint64_t h = mix(1, (uint64_t)st->st_size);
    h = mix(h, (uint64_t)st->st_mtim.tv_sec);
    h = mix(h, (uint64_t)st->st_mtim.tv_nsec);
    h = mix(h, (uint64_t)st->st_ino);
    return mix(h, (uint64_t)st->st_dev);
}

static void add_file(struct finder *f, const char *path, const struct stat *st)
{
    if (f->n >= SCAN_FILES_MAX) {
        f->full = true;
        return;
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 64;
        struct found *more = try_realloc(f->files, cap, sizeof(*more));
        if (!more) {
            f->full = true;
            return;
        }
        f->files = more;
        f->cap = cap;
    }
    f->files[f->n++] = (struct found){xstrdup(path), file_signature(st)};
}

/* Recursion is bounded by `depth`. */
static void find_files(struct finder *f, const char *dir, int depth)
{
    DIR *d = opendir(dir);
    if (!d) {
        if (!f->quiet) log_warn(models, "can't read the folder %s: %s", dir, strerror(errno));
        f->warned = true;
        return;
    }
    struct dirent *e;
    while (!f->full && (e = readdir(d))) {
        char path[FS_PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.') continue;
        if (fs_join(path, sizeof(path), dir, e->d_name, NULL)) continue;
        if (stat(path, &st) != 0) continue; /* a link to nothing, or gone meanwhile */
        if (S_ISDIR(st.st_mode) && depth > 0)
            find_files(f, path, depth - 1);
        else if (S_ISREG(st.st_mode) && is_gguf(e->d_name))
            add_file(f, path, &st);
    }
    closedir(d);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

/* Later parts add their signature to the first one's, which stands right before them, and go. A
 * later part without a first stays, to be refused with its reason. */
static void join_parts(struct finder *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++) {
        int no, count, first_no, first_count;
        const char *tail = split_tail(f->files[i].path, &no, &count);
        struct found *first = kept ? &f->files[kept - 1] : NULL;
        const char *first_tail = first ? split_tail(first->path, &first_no, &first_count) : NULL;
        if (tail && no > 1 && first_tail && first_no == 1 && first_count == count &&
            tail - f->files[i].path == first_tail - first->path &&
            memcmp(first->path, f->files[i].path, (size_t)(tail - f->files[i].path)) == 0) {
            first->signature = mix(first->signature, f->files[i].signature);
            free(f->files[i].path);
            continue;
        }
        f->files[kept++] = f->files[i];
    }
    f->n = kept;
}

/* ---- second pass: inspection ------------------------------------------------------------- */

static void entry_free(struct scan_entry *e)
{
    if (!e) return;
    derived_unref(e->derived);
    free(e->path);
    free(e);
}

static void inspect_entry(struct scan_entry *e)
{
    struct error why;
    enum err err = gguf_inspect(e->path, &e->info, &why);
    if (err == OK && !utf8_valid(e->path, strlen(e->path)))
        err = err_set(&why, ERR_INVALID, "its name is not UTF-8");
    e->bad = err != OK;
    e->info.builtin = e->builtin;
    if (!e->bad) return;
    e->info = (struct model_info){0};
    /* adapters and the like beside the built-in models are there on purpose */
    if (e->builtin)
        log_debug(models, "left out %s: %s", e->path, why.msg);
    else
        log_warn(models, "left out %s: %s", e->path, why.msg);
}

static struct scan_entry *entry_for(const struct found *file, size_t root_len, bool builtin,
                                    struct map *old)
{
    struct scan_entry *e = map_get(old, file->path);
    if (e && e->signature == file->signature && e->builtin == builtin) {
        map_del(old, file->path);
    } else {
        e = xcalloc(1, sizeof(*e));
        e->path = xstrdup(file->path);
        e->root_len = root_len;
        e->signature = file->signature;
        e->builtin = builtin;
        inspect_entry(e);
    }
    if (e->bad) return e;
    sidecar_read(e->path, &e->sidecar);
    str_copy(e->info.catalog, sizeof(e->info.catalog), e->sidecar.catalog);
    return e;
}

/* The models folder may be the built-in one, or link to it. */
static bool is_builtin(const struct scan *s, const struct found *file)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->entries[i]->builtin && s->entries[i]->signature == file->signature) return true;
    return false;
}

static void add_entries(struct scan *s, const struct finder *f, size_t root_len, bool builtin,
                        struct map *old)
{
    struct scan_entry **more = try_realloc(s->entries, s->n + f->n, sizeof(struct scan_entry *));
    if (!more) {
        log_error(models, "no memory for a list of %zu models", s->n + f->n);
        return;
    }
    s->entries = more;
    for (size_t i = 0; i < f->n; i++)
        if (builtin || !is_builtin(s, &f->files[i]))
            s->entries[s->n++] = entry_for(&f->files[i], root_len, builtin, old);
}

static void scan_dir(struct scan *s, const char *dir, bool builtin, struct map *old, bool quiet)
{
    struct finder f = {.quiet = quiet};
    find_files(&f, dir, builtin ? 0 : SCAN_DEPTH);
    if (f.full && !quiet)
        log_warn(models, "%s: only the first %d files are seen", dir, SCAN_FILES_MAX);
    if (f.n) {
        qsort(f.files, f.n, sizeof(*f.files), by_path);
        join_parts(&f);
        add_entries(s, &f, strlen(dir) + (str_ends(dir, "/") ? 0 : 1), builtin, old);
    }
    s->warned = s->warned || f.full || f.warned;
    for (size_t i = 0; i < f.n; i++) free(f.files[i].path);
    free(f.files);
}

/* ---- ids --------------------------------------------------------------------------------- */

static int stem_once, stem_often, stem_builtin; /* marks: only their addresses count */

static void count_stems(const struct scan *s, struct map *stems)
{
    char stem[FS_PATH_MAX];
    for (size_t i = 0; i < s->n; i++) {
        const struct scan_entry *e = s->entries[i];
        if (e->bad || e->derived) continue;
        model_stem(stem, sizeof(stem), e->path);
        void *seen = map_get(stems, stem);
        if (seen == &stem_builtin) continue;
        map_put(stems, stem, e->builtin ? &stem_builtin : seen ? &stem_often : &stem_once);
    }
}

static bool give_id(struct scan_entry *e, const struct map *stems)
{
    char stem[FS_PATH_MAX];
    const char *relative = e->path + e->root_len, *slash = strrchr(relative, '/');
    size_t size = sizeof(e->info.id);
    if (e->derived) return str_copy(e->info.id, size, e->derived->name);
    model_stem(stem, sizeof(stem), e->path);
    const void *seen = map_get(stems, stem);
    if (e->builtin || seen == &stem_once || (!slash && seen == &stem_often))
        return str_copy(e->info.id, size, stem);
    if (slash)
        return str_printf(e->info.id, size, "%.*s/%s", (int)(slash - relative), relative, stem);
    return str_printf(e->info.id, size, "local/%s", stem);
}

static int by_id(const void *a, const void *b)
{
    const struct scan_entry *x = *(struct scan_entry *const *)a,
                            *y = *(struct scan_entry *const *)b;
    bool x_out = x->bad || x->unnamed, y_out = y->bad || y->unnamed;
    if (x_out != y_out) return x_out ? 1 : -1;
    if (x->builtin != y->builtin) return x->builtin ? -1 : 1;
    return strcmp(x_out ? x->path : x->info.id, y_out ? y->path : y->info.id);
}

static void leave_out(struct scan_entry *e, const char *why)
{
    e->unnamed = true;
    if (!e->told) log_warn(models, "left out %s: %s", e->path, why);
    e->told = true;
}

static void name_all(struct scan *s)
{
    struct map *stems = map_new(), *ids = map_new();
    count_stems(s, stems);
    for (size_t i = 0; i < s->n; i++) {
        struct scan_entry *e = s->entries[i];
        if (e->bad) continue;
        e->unnamed = false;
        if (!give_id(e, stems))
            leave_out(e, "its name is too long for an id; rename it");
        else if (map_get(ids, e->info.id))
            leave_out(e, "another file has the same name; rename it");
        else
            map_put(ids, e->info.id, e);
    }
    map_free(stems);
    map_free(ids);
    if (s->n) qsort(s->entries, s->n, sizeof(struct scan_entry *), by_id);
    s->n_good = 0;
    while (s->n_good < s->n && !s->entries[s->n_good]->bad && !s->entries[s->n_good]->unnamed)
        s->n_good++;
}

/* ---- derived models ---------------------------------------------------------------------- */

static struct scan_entry *append(struct scan *s, struct scan_entry *e)
{
    struct scan_entry **more = try_realloc(s->entries, s->n + 1, sizeof(struct scan_entry *));
    if (!more) {
        entry_free(e);
        return NULL;
    }
    s->entries = more;
    s->entries[s->n++] = e;
    return e;
}

static void leave_out_derived(struct derived *d, const char *why)
{
    if (!d->told) log_warn(models, "left out %s: %s", d->name, why);
    d->told = true;
}

/* What a template of its own changes. */
static void adorn(struct model_info *info, const struct derived *d)
{
    const char *template = d->chat_template;
    if (!template) return;
    info->has_chat_template = true;
    info->has_tools = strstr(template, "tools") != NULL;
    info->has_thinking = gguf_template_thinks(template);
    info->has_effort = gguf_template_weighs_effort(template);
    if (info->kind == MODEL_COMPLETION) info->kind = MODEL_CHAT;
}

/* Those that have a file of their own. */
static void add_derived_files(struct scan *s, const char *dir, struct map *old)
{
    for (size_t i = 0; i < s->n_derived; i++) {
        struct derived *d = s->derived[i];
        char path[FS_PATH_MAX];
        struct stat st;
        if (!d->file[0]) continue;
        if (!str_printf(path, sizeof(path), "%s%s%s", *d->file == '/' ? "" : dir,
                        *d->file == '/' ? "" : "/", d->file) ||
            stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
            leave_out_derived(d, "its file is not there");
            continue;
        }
        struct found file = {path, file_signature(&st)};
        struct scan_entry *e = entry_for(&file, 0, false, old);
        if (e->derived != d) {
            derived_unref(e->derived);
            e->derived = derived_ref(d);
        }
        adorn(&e->info, d);
        append(s, e);
    }
}

/* A model's facts under another name, with those that its record changes. */
static struct scan_entry *entry_from(const struct scan_entry *base, struct derived *d)
{
    struct scan_entry *e = xcalloc(1, sizeof(*e));
    e->path = xstrdup(base->path);
    e->root_len = base->root_len;
    e->info = base->info;
    e->info.builtin = false;
    e->info.catalog[0] = '\0';
    e->derived = derived_ref(d);
    adorn(&e->info, d);
    str_copy(e->info.from, sizeof(e->info.from), base->info.id);
    return e;
}

static const struct scan_entry *find_base(const struct scan *s, const char *id)
{
    for (size_t i = 0; i < s->n_good; i++)
        if (!s->entries[i]->info.from[0] && str_ieq(s->entries[i]->info.id, id))
            return s->entries[i];
    return NULL;
}

/* Those that have another model's weights; how many there are. */
static size_t add_derived(struct scan *s)
{
    size_t added = 0;
    for (size_t i = 0; i < s->n_derived; i++) {
        struct derived *d = s->derived[i];
        if (!d->from[0]) continue;
        const struct scan_entry *base = find_base(s, d->from);
        if (!base)
            leave_out_derived(d, "the model that it was made from is not there");
        else if (append(s, entry_from(base, d)))
            added++;
    }
    return added;
}

/* ---- all of it --------------------------------------------------------------------------- */

static int drop_old(const char *key, void *value, void *ctx)
{
    (void)key, (void)ctx;
    entry_free(value);
    return 1;
}

struct scan *scan_folders(const char *builtin_dir, const char *dir, struct scan *old)
{
    struct scan *s = xcalloc(1, sizeof(*s));
    struct map *kept = map_new();
    bool quiet = old && old->warned;
    for (size_t i = 0; old && i < old->n; i++) {
        struct scan_entry *e = old->entries[i];
        bool own = !e->info.from[0]; /* else its path is another's */
        entry_free(own ? map_put(kept, e->path, e) : e);
    }
    if (old) old->n = old->n_good = 0;
    if (*builtin_dir) scan_dir(s, builtin_dir, true, kept, quiet);
    scan_dir(s, dir, false, kept, quiet);
    scan_derived_read(s, dir, old);
    add_derived_files(s, dir, kept);
    map_each(kept, drop_old, NULL);
    map_free(kept);
    name_all(s);
    if (add_derived(s)) name_all(s);
    return s;
}

void scan_free(struct scan *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) entry_free(s->entries[i]);
    free(s->entries);
    scan_derived_free(s);
    free(s);
}
