/* The folder of derived models: its files are read when they are new or changed. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/models_int.h"

static struct derived *known(const struct scan *old, const char *path, uint64_t signature)
{
    for (size_t i = 0; old && i < old->n_derived; i++)
        if (old->derived[i]->signature == signature && str_eq(old->derived[i]->path, path))
            return derived_ref(old->derived[i]);
    return NULL;
}

/* NULL: it can't be used. A file that stays as it is is told once, since its place is taken by a
 * record without weights. */
static struct derived *read_one(const char *path, uint64_t signature)
{
    struct derived *d;
    struct error why;
    if (derived_read(path, &d, &why)) {
        log_warn(models, "left out %s: %s", path, why.msg);
        d = xcalloc(1, sizeof(*d));
        atomic_init(&d->refs, 1);
    }
    d->path = xstrdup(path);
    d->signature = signature;
    return d;
}

static void add(struct scan *s, struct derived *d)
{
    struct derived **more = try_realloc(s->derived, s->n_derived + 1, sizeof(struct derived *));
    if (!more) {
        derived_unref(d);
        return;
    }
    s->derived = more;
    s->derived[s->n_derived++] = d;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct derived *const *)a)->path, (*(struct derived *const *)b)->path);
}

void scan_derived_read(struct scan *s, const char *dir, const struct scan *old)
{
    char folder[FS_PATH_MAX], path[FS_PATH_MAX];
    struct dirent *e;
    struct stat st;
    if (fs_join(folder, sizeof(folder), dir, DERIVED_DIR, NULL)) return;
    DIR *d = opendir(folder);
    if (!d) return; /* there are none */
    while (s->n_derived < DERIVED_MAX && (e = readdir(d))) {
        if (e->d_name[0] == '.' || !str_ends(e->d_name, ".json")) continue;
        if (fs_join(path, sizeof(path), folder, e->d_name, NULL) || stat(path, &st) != 0) continue;
        uint64_t signature = file_signature(&st);
        struct derived *have = known(old, path, signature);
        add(s, have ? have : read_one(path, signature));
    }
    closedir(d);
    if (s->n_derived) qsort(s->derived, s->n_derived, sizeof(struct derived *), by_name);
}

void scan_derived_free(struct scan *s)
{
    for (size_t i = 0; i < s->n_derived; i++) derived_unref(s->derived[i]);
    free(s->derived);
}
