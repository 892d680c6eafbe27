/* `hearth add`: files and folders of this machine, made searchable. Works beside a running hub. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "cmd/cmd_int.h"
#include "extract/extract.h"
#include "files/files.h"
#include "files/watch.h"
#include "store/store_file.h"

enum { TEXT_MAX = 16 << 20, MEMORY = 64 << 20 };

static const struct cmd_option options[] = {
    {"collection", 0, "NAME", CMD_NO_KEY, NULL,
     "Where the files go; made if it is not there. Without it: the usual one (COLLECTION_NAME).",
     COMPLETE_NONE},
    {"user", 0, "NAME", CMD_NO_KEY, NULL, "Whose they are; without it the first admin's.",
     COMPLETE_NONE},
    {"watch", 0, NULL, CMD_NO_KEY, NULL,
     "Keep the folder searchable: what changes in it is indexed anew, what goes is removed.",
     COMPLETE_NONE},
    {"unwatch", 0, NULL, CMD_NO_KEY, NULL, "No longer watch the folder; what came from it stays.",
     COMPLETE_NONE},
    {"list", 0, NULL, CMD_NO_KEY, NULL, "Show the folders that are watched.", COMPLETE_NONE},
};

struct call {
    const struct cmd_args *args;
    struct store *store;
    struct files *files;
    struct arena *arena;
    struct buf *out;
    struct store_asker who;
    const char *collection_name; /* NULL = the usual one */
    struct store_collection collection;
    const char **ids; /* of what was added or was there */
    size_t n_ids, cap_ids;
    size_t added, known, left_out;
    enum err failed; /* of a folder's file: the walk ends */
    struct error *error;
};

/* ---- for whom, and where to ------------------------------------------------------------------ */

/* The user of that name, else the oldest admin. */
enum err cmd_find_user(struct store *s, const char *name, struct arena *a, struct store_asker *out,
                       struct error *error)
{
    struct store_user *users, *found = NULL;
    size_t n;
    enum err e = store_user_list(s, a, &users, &n, error);
    if (e) return e;
    for (size_t i = 0; i < n; i++) {
        bool fits = name ? str_ieq(users[i].username, name) : users[i].admin && !users[i].disabled;
        if (fits && (!found || users[i].created_ms < found->created_ms)) found = &users[i];
    }
    if (!found && name)
        return err_set(error, ERR_NOT_FOUND, "there is no user %s; `hearth users` lists them",
                       name);
    if (!found)
        return err_set(error, ERR_NOT_FOUND,
                       "files belong to somebody; make an account first: hearth users create NAME "
                       "--admin");
    *out = (struct store_asker){.user_id = found->id, .admin = found->admin};
    return OK;
}

static enum err find_collection(struct call *c, struct error *error)
{
    char id[STORE_ID_MAX];
    const char *name = c->collection_name, *user = c->who.user_id;
    if (!name)
        return store_collection_default(c->store, user, files_collection(c->files), c->arena,
                                        &c->collection, error);
    enum err e = store_collection_find(c->store, user, name, c->arena, &c->collection, error);
    if (e != ERR_NOT_FOUND) return e;
    if (strlen(name) >= STORE_COLLECTION_NAME_MAX || !*name)
        return err_set(error, ERR_INVALID, "a collection's name has 1 to %d bytes",
                       STORE_COLLECTION_NAME_MAX - 1);
    e = store_collection_create(c->store, user, name, id, error);
    return e ? e : store_collection_find(c->store, user, id, c->arena, &c->collection, error);
}

/* ---- files ----------------------------------------------------------------------------------- */

static enum err keep_id(struct call *c, const char *id, struct error *error)
{
    if (c->n_ids == c->cap_ids) {
        size_t cap = 2 * c->cap_ids + 16;
        const char **bigger = arena_calloc(c->arena, cap, sizeof *bigger);
        if (!bigger) return err_set(error, ERR_NOMEM, "no memory for so many files");
        if (c->n_ids) memcpy(bigger, c->ids, c->n_ids * sizeof *bigger);
        c->ids = bigger;
        c->cap_ids = cap;
    }
    c->ids[c->n_ids] = arena_strdup(c->arena, id);
    return c->ids[c->n_ids++] ? OK : err_set(error, ERR_NOMEM, "no memory for so many files");
}

static enum err add_file(struct call *c, const char *path, struct error *error)
{
    struct spool *spool;
    struct store_file out;
    struct files_new new = {.who = c->who, .collection = c->collection.id};
    const char *slash = strrchr(path, '/');
    bool added;
    new.name = slash ? slash + 1 : path;
    struct arena *a = arena_new(1 << 20);
    enum err e = files_spool(c->files, 0, &spool, error);
    if (!e) {
        e = spool_copy(spool, path, &new.source_ms, error);
        if (!e) e = files_add(c->files, c->store, &new, spool, a, &out, &added, error);
        spool_free(spool);
    }
    if (!e && added) buf_printf(c->out, "added %s (%s)\n", path, out.id);
    if (!e && !added) buf_printf(c->out, "%s is there already (%s)\n", path, out.id);
    if (!e && added) c->added++;
    if (!e && !added) c->known++;
    if (!e) e = keep_id(c, out.id, error);
    arena_free(a);
    return e;
}

static bool readable(const char *path, char type[EXTRACT_TYPE_MAX])
{
    const char *slash = strrchr(path, '/');
    return extract_detect(path, slash ? slash + 1 : path, type, NULL) == OK &&
           extract_can_read(type);
}

static bool add_walked(void *ctx, const char *path, bool is_dir)
{
    struct call *c = ctx;
    char type[EXTRACT_TYPE_MAX];
    if (is_dir) return true;
    if (!readable(path, type)) {
        c->left_out++;
        return true;
    }
    enum err e = add_file(c, path, c->error);
    if (e == ERR_TOO_LARGE || e == ERR_CONFLICT || e == ERR_FORBIDDEN || e == ERR_NOT_FOUND) {
        buf_printf(c->out, "left out: %s\n", c->error->msg);
        c->left_out++;
        e = OK;
    }
    c->failed = e;
    return !e;
}

static enum err watch(struct call *c, const char *path, struct error *error)
{
    char id[STORE_ID_MAX];
    struct store_watch w = {
        .user_id = c->who.user_id, .collection_id = c->collection.id, .path = path};
    if (!c->collection.user_id && !c->who.admin)
        return err_set(error, ERR_FORBIDDEN, "only an admin adds files to a shared collection");
    enum err e = store_watch_add(c->store, &w, id, error);
    if (!e) buf_printf(c->out, "%s is watched while the hub runs\n", path);
    return e;
}

static enum err unwatch(struct call *c, const char *path, struct error *error)
{
    enum err e = store_watch_delete(c->store, c->who.user_id, path, error);
    if (e == ERR_NOT_FOUND) e = err_set(error, e, "%s is not watched", path);
    if (!e) buf_printf(c->out, "%s is no longer watched\n", path);
    return e;
}

static enum err add_folder(struct call *c, const char *path, struct error *error)
{
    c->error = error;
    c->failed = OK;
    watch_walk(path, add_walked, c);
    return c->failed;
}

static enum err add_path(struct call *c, const char *given, struct error *error)
{
    char path[PATH_MAX], type[EXTRACT_TYPE_MAX] = "";
    struct stat st;
    bool whole = realpath(given, path) && stat(path, &st) == 0;
    if (!whole && cmd_flag(c->args, "unwatch")) return unwatch(c, given, error);
    if (!whole) return err_set_errno(error, errno, given);
    if (cmd_flag(c->args, "unwatch")) return unwatch(c, path, error);
    enum err e = find_collection(c, error);
    if (e) return e;
    if (S_ISDIR(st.st_mode))
        return cmd_flag(c->args, "watch") ? watch(c, path, error) : add_folder(c, path, error);
    if (cmd_flag(c->args, "watch"))
        return err_set(error, ERR_INVALID, "%s is a file; folders are watched", given);
    if (!S_ISREG(st.st_mode))
        return err_set(error, ERR_INVALID, "%s is neither a file nor a folder", given);
    if (readable(path, type)) return add_file(c, path, error);
    return err_set(error, ERR_MEDIA_TYPE, "%s is %s, from which no text can be got", given,
                   *type ? type : "unreadable");
}

static enum err list_watched(struct call *c, struct error *error)
{
    struct store_watch *list;
    size_t n;
    enum err e = store_watch_list(c->store, NULL, c->arena, &list, &n, error);
    if (!e && n == 0)
        buf_puts(c->out, "no folder is watched; `hearth add FOLDER --watch` does it\n");
    for (size_t i = 0; !e && i < n; i++) buf_printf(c->out, "%s\n", list[i].path);
    return e;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static enum err add_all(struct call *c, struct error *error)
{
    if (cmd_flag(c->args, "list")) return list_watched(c, error);
    c->collection_name = cmd_opt(c->args, "collection");
    enum err e = cmd_find_user(c->store, cmd_opt(c->args, "user"), c->arena, &c->who, error);
    for (size_t i = 0; !e && i < c->args->n_rest; i++) e = add_path(c, c->args->rest[i], error);
    if (c->added + c->known + c->left_out > 1)
        buf_printf(c->out, "%zu added, %zu there already, %zu left out\n", c->added, c->known,
                   c->left_out);
    files_wake(c->files, false);
    return e;
}

enum err cmd_add_paths(struct store *s, struct files *files, const struct store_asker *who,
                       const char *collection, const char *const *paths, size_t n_paths,
                       struct arena *a, const char ***ids, size_t *n_ids, struct error *error)
{
    struct buf said; /* nobody reads it */
    const struct cmd_args none = {0};
    struct call c = {.args = &none,
                     .store = s,
                     .files = files,
                     .arena = a,
                     .out = &said,
                     .who = *who,
                     .collection_name = collection};
    enum err e = OK;
    buf_init(&said, TEXT_MAX);
    for (size_t i = 0; !e && i < n_paths; i++) e = add_path(&c, paths[i], error);
    buf_free(&said);
    files_wake(files, false);
    *ids = c.ids;
    *n_ids = c.n_ids;
    return e;
}

static int run_add(const struct cmd_call *call)
{
    struct error error;
    struct buf text;
    struct call c = {.args = call->args, .out = &text};
    if (!call->args->n_rest && !cmd_flag(call->args, "list")) {
        err_set(&error, ERR_INVALID, "which file or folder?");
        return cmd_usage_error(call->verb, &error);
    }
    buf_init(&text, TEXT_MAX);
    c.arena = arena_new(MEMORY);
    enum err e = cmd_open_store(call->config, NULL, true, &c.store, &error);
    if (!e) e = cmd_open_files(call->config, &c.files, &error);
    if (!e) e = add_all(&c, &error);
    int status = cmd_print(&text); /* what was added before it failed, too */
    if (e) status = cmd_fail(&error);
    files_free(c.files);
    store_close(c.store);
    arena_free(c.arena);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_add = {
    .name = "add",
    .args = "FILE|FOLDER...",
    .summary = "Make files or folders of this machine searchable",
    .details =
        "Files are copied into the hub's folder and indexed by the running hub, or when it "
        "runs the next time (`hearth jobs` shows how far it is). A watched folder is kept in "
        "step with the disk until `--unwatch`.\n\n"
        "  hearth add report.pdf notes/ --collection work\n"
        "  hearth add ~/Documents/manuals --watch\n"
        "  hearth add --list",
    .words = "",
    .complete = COMPLETE_FILE,
    .max_args = -1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_add,
};
