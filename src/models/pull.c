/* models_pull: plan, look whether it is there already, fetch all files, then give them their names:
 * the first part of a split model last, so that the model appears whole. */
#include "models/pull.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/gguf.h"
#include "models/pull_int.h"

static bool report_phase(const struct pull *p, unsigned phase, const struct model_info *info)
{
    if (!p->params->on_progress) return true;
    struct pull_progress now = {.file = p->plan.n_files ? p->plan.files[0].name : p->params->spec,
                                .part = 1,
                                .n_parts = (int)p->plan.n_files,
                                .total = -1,
                                .eta_s = -1};
    now.phase = phase;
    if (info) now.done = now.total = info->file_bytes;
    return p->params->on_progress(p->params->ctx, &now);
}

/* ---- where it goes ----------------------------------------------------------------------- */

static bool same_source(const struct pull_plan *plan, const struct sidecar *sc)
{
    if (plan->repo[0])
        return str_ieq(plan->repo, sc->repo) && str_eq(plan->files[0].in_repo, sc->file);
    size_t len = strcspn(plan->files[0].url, "?#");
    return strlen(sc->url) == len && strncmp(sc->url, plan->files[0].url, len) == 0;
}

/* The folder for this plan: the models folder, unless a file of that name from elsewhere is there;
 * then <org>/<repo> in it. *there: the very file is there. */
static enum err find_folder(const struct pull *p, char dir[FS_PATH_MAX], bool *there,
                            struct error *error)
{
    const struct pull_plan *plan = &p->plan;
    const struct pull_file *first = &plan->files[0];
    for (int i = 0; i < 2; i++) {
        char path[FS_PATH_MAX];
        struct sidecar sc;
        struct model_info info;
        if (!str_printf(dir, FS_PATH_MAX, "%s%s%s", models_dir(p->models), i ? "/" : "",
                        i ? plan->repo : ""))
            return err_set(error, ERR_INVALID, "the models folder's path is too long");
        enum err e = fs_join(path, sizeof(path), dir, first->name, error);
        if (e) return e;
        *there = false;
        if (!fs_exists(path) || p->params->force) return OK;
        sidecar_read(path, &sc);
        bool ours = same_source(plan, &sc), by_hand = !sc.url[0];
        bool changed = first->sha256[0] && sc.sha256[0] && !str_ieq(first->sha256, sc.sha256);
        *there = (by_hand || (ours && !changed)) && gguf_inspect(path, &info, NULL) == OK;
        if (by_hand || ours) return OK;
        if (!plan->repo[0]) break;
    }
    return err_set(
        error, ERR_CONFLICT,
        "another model named %.150s is in %.150s; remove it, or use --force to replace it",
        first->name, dir);
}

bool pull_is_there(const struct pull *p)
{
    char dir[FS_PATH_MAX];
    bool there = false;
    return find_folder(p, dir, &there, NULL) == OK && there;
}

/* ---- the files --------------------------------------------------------------------------- */

static enum err write_sidecar(const struct pull *p, const struct pull_part *part,
                              struct error *error)
{
    const struct pull_plan *plan = &p->plan;
    struct sidecar sc = {.bytes = part->bytes};
    str_printf(sc.url, sizeof(sc.url), "%.*s", (int)strcspn(part->file->url, "?#"),
               part->file->url);
    str_copy(sc.repo, sizeof(sc.repo), plan->repo);
    str_copy(sc.file, sizeof(sc.file), part->file->in_repo);
    str_copy(sc.revision, sizeof(sc.revision), part->revision);
    str_copy(sc.sha256, sizeof(sc.sha256), part->sha256);
    str_copy(sc.catalog, sizeof(sc.catalog), plan->catalog);
    str_copy(sc.quant, sizeof(sc.quant), plan->quant);
    return sidecar_write(part->path, &sc, error);
}

/* Free space for all files that are still to come, where their sizes are known. */
static enum err check_disk(const struct pull *p, const char *dir, struct error *error)
{
    uint64_t available, needed = 0;
    char needs[32], has[32];
    for (size_t i = 0; i < p->plan.n_files; i++) {
        char path[FS_PATH_MAX];
        const struct pull_file *f = &p->plan.files[i];
        /* one that was begun may have most of its bytes: the check per file is exact */
        bool begun = str_printf(path, sizeof(path), "%s/%s.part", dir, f->name) && fs_exists(path);
        if (f->size > 0 && !begun) needed += (uint64_t)f->size;
    }
    if (needed == 0) return OK; /* no size is known before the server's answer */
    needed += PULL_HEADROOM;
    if (fs_free_bytes(dir, &available, NULL) != OK || available >= needed) return OK;
    return err_set(
        error, ERR_DISK_FULL,
        "not enough disk space for %.100s: needs %s, %s are free in %.150s; free some, or "
        "set HEARTH_MODELS to another disk",
        p->plan.files[0].name, str_from_bytes(needs, sizeof(needs), needed),
        str_from_bytes(has, sizeof(has), available), dir);
}

static enum err fetch_parts(struct pull *p, const char *dir, struct pull_part *parts,
                            struct error *error)
{
    enum err e = OK;
    size_t n = p->plan.n_files;
    for (size_t i = 0; i < n && e == OK; i++) {
        struct pull_part *part = &parts[i];
        part->file = &p->plan.files[i];
        part->no = (int)i;
        part->n_parts = (int)n;
        e = fs_join(part->path, sizeof(part->path), dir, part->file->name, error);
        if (e == OK) e = pull_part_fetch(p, part, error);
    }
    for (size_t i = n; i-- > 0 && e == OK;) {
        e = write_sidecar(p, &parts[i], error);
        if (e == OK) e = pull_part_commit(&parts[i], error);
    }
    return e;
}

static enum err fetch(struct pull *p, const char *dir, struct error *error)
{
    enum err e = fs_mkdirs(dir, 0755, error);
    if (e == OK) e = check_disk(p, dir, error);
    if (e) return e;
    size_t n = p->plan.n_files;
    struct pull_part *parts = try_calloc(n, sizeof(*parts));
    if (!parts) return err_set(error, ERR_NOMEM, "no memory for %zu downloads", n);
    for (size_t i = 0; i < n; i++) parts[i].fd = -1;
    e = fetch_parts(p, dir, parts, error);
    for (size_t i = 0; i < n; i++) pull_part_close(&parts[i]);
    free(parts);
    return e;
}

static enum err pull(struct pull *p, struct model_info *out, struct error *error)
{
    char dir[FS_PATH_MAX], path[FS_PATH_MAX];
    bool there;
    enum err e = pull_plan_make(p, error);
    if (e == OK) e = find_folder(p, dir, &there, error);
    if (e == OK && !there) e = fetch(p, dir, error);
    if (e == OK) e = fs_join(path, sizeof(path), dir, p->plan.files[0].name, error);
    if (e == OK) e = models_find_path(p->models, path, out, error);
    if (e == OK) report_phase(p, PULL_FINISHED, out);
    return e;
}

enum err models_pull(struct models *m, struct httpc *http, const struct pull_params *params,
                     struct model_info *out, struct error *error)
{
    struct error own;
    struct pull p = {.models = m, .http = http, .params = params};
    if (!error) error = &own;
    enum err e = pull(&p, out, error);
    free(p.plan.files);
    return e;
}
