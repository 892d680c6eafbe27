/* `hearth db`: the database's schema and copies of it. Works beside a running hub. */
#include <string.h>

#include "backup/backup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "hub/accounts.h"
#include "store/store.h"

enum { TEXT_MAX = 1 << 20 };

static const struct cmd_option options[] = {
    {"to", 0, "VERSION|URL", CMD_NO_KEY, NULL,
     "migrate, rollback: the version to go to. copy: the database to copy to.", COMPLETE_NONE},
    {"from", 0, "URL", CMD_NO_KEY, NULL,
     "copy: the database to copy from; without it the configured one.", COMPLETE_NONE},
};

static enum err status(const struct cmd_call *call, struct buf *out, struct error *error)
{
    struct store *s;
    struct store_migration all[STORE_MIGRATIONS_MAX];
    size_t n = 0;
    enum err e = cmd_open_store(call->config, NULL, false, &s, error);
    if (e == ERR_DATABASE && strstr(error->msg, "older")) return e; /* says what to do */
    if (e) return e;
    e = store_migrations(s, all, &n, error);
    if (!e) buf_printf(out, "%s, version %d, up to date\n\n", store_kind(s), all[n - 1].version);
    for (size_t i = 0; !e && i < n; i++) {
        char when[32];
        clock_format_utc(when, sizeof when, all[i].applied_ms);
        buf_printf(out, "  %3d  %-24s %s\n", all[i].version, all[i].name, when);
    }
    store_close(s);
    return e;
}

static enum err move_to(const struct cmd_call *call, int32_t target, struct buf *out,
                        struct error *error)
{
    struct store *s;
    struct store_migration all[STORE_MIGRATIONS_MAX];
    size_t n = 0, applied = 0;
    enum err e = cmd_open_store(call->config, NULL, true, &s, error);
    if (e) return e;
    e = store_migrate(s, target, error);
    if (!e) e = store_migrations(s, all, &n, error);
    while (applied < n && all[applied].applied_ms) applied++;
    if (!e) buf_printf(out, "%s is at version %zu of %zu\n", store_kind(s), applied, n);
    store_close(s);
    return e;
}

static enum err wanted_version(const struct cmd_call *call, int64_t *out, struct error *error)
{
    return cmd_opt_int(call->args, "to", 0, STORE_MIGRATIONS_MAX, out, error);
}

static enum err migrate(const struct cmd_call *call, struct buf *out, struct error *error)
{
    int64_t target = -1;
    enum err e = wanted_version(call, &target, error);
    return e ? e : move_to(call, (int32_t)target, out, error);
}

/* Undoing a step deletes what its tables hold, so the version must be said. */
static enum err rollback(const struct cmd_call *call, struct buf *out, struct error *error)
{
    int64_t target = -1;
    enum err e = wanted_version(call, &target, error);
    if (!e && target < 0)
        e = err_set(error, ERR_INVALID,
                    "say how far: hearth db rollback --to VERSION; what later versions added is "
                    "deleted (`hearth db status` lists them, `hearth db backup` comes first)");
    return e ? e : move_to(call, (int32_t)target, out, error);
}

static enum err backup(const struct cmd_call *call, struct buf *out, struct error *error)
{
    struct store *s;
    const char *to = call->args->n_rest > 1 ? call->args->rest[1] : NULL;
    if (!to) return err_set(error, ERR_INVALID, "say where to: hearth db backup FILE");
    enum err e = cmd_open_store(call->config, NULL, false, &s, error);
    if (e) return e;
    e = store_backup(s, to, error);
    if (!e) buf_printf(out, "wrote %s\n", to);
    store_close(s);
    return e;
}

static enum err restore(const struct cmd_call *call, struct buf *out, struct error *error)
{
    char data_dir[FS_PATH_MAX], url[FS_PATH_MAX];
    const char *from = call->args->n_rest > 1 ? call->args->rest[1] : NULL;
    if (!from) return err_set(error, ERR_INVALID, "say what: hearth db restore FILE");
    enum err e = cmd_data_dir(call->config, data_dir, sizeof data_dir, error);
    if (!e) e = cmd_refuse_running_hub(data_dir, error);
    if (!e) e = accounts_url(call->config, url, sizeof url, error);
    if (e) return e;
    struct backup_params params = {.data_dir = data_dir, .database_url = url, .archive = from};
    e = backup_restore_database(&params, error);
    if (!e) buf_printf(out, "restored %s\n", from);
    return e;
}

static enum err copy(const struct cmd_call *call, struct buf *out, struct error *error)
{
    struct store *from, *to;
    int64_t rows = 0;
    const char *target = cmd_opt(call->args, "to");
    if (!target)
        return err_set(error, ERR_INVALID,
                       "say where to: hearth db copy --to postgresql://... or a file");
    enum err e = cmd_open_store(call->config, cmd_opt(call->args, "from"), true, &from, error);
    if (e) return e;
    e = cmd_open_store(call->config, target, true, &to, error);
    if (!e) {
        e = store_copy(from, to, &rows, error);
        if (!e) buf_printf(out, "copied %lld rows\n", (long long)rows);
        store_close(to);
    }
    store_close(from);
    return e;
}

static int run_db(const struct cmd_call *call)
{
    static const struct {
        const char *name;
        enum err (*run)(const struct cmd_call *call, struct buf *out, struct error *error);
    } actions[] = {{"status", status}, {"migrate", migrate}, {"rollback", rollback},
                   {"backup", backup}, {"restore", restore}, {"copy", copy}};
    size_t a = 0, n = sizeof actions / sizeof *actions;
    struct error error;
    const char *name = call->args->n_rest ? call->args->rest[0] : "status";
    while (a < n && !str_eq(actions[a].name, name)) a++;
    if (a == n) {
        err_set(&error, ERR_INVALID,
                "it is `hearth db` with status, migrate, rollback, backup, restore or copy");
        return cmd_usage_error(call->verb, &error);
    }
    struct buf text;
    buf_init(&text, TEXT_MAX);
    enum err e = actions[a].run(call, &text, &error);
    int result = e == ERR_INVALID ? cmd_usage_error(call->verb, &error)
                 : e              ? cmd_fail(&error)
                                  : cmd_print(&text);
    buf_free(&text);
    return result;
}

const struct cmd_verb verb_db = {
    .name = "db",
    .args = "[status|migrate|rollback|backup|restore|copy]",
    .summary = "Look after the database of accounts and conversations",
    .details =
        "The database is the SQLite file hearth.db in the data folder, or what DATABASE_URL "
        "names. `copy` moves everything to another, empty one: from SQLite to PostgreSQL "
        "or back. `backup` writes an SQLite file whatever the database is; `restore` puts it into "
        "an empty one of either kind. All but that works beside a running hub.\n\n"
        "  hearth db status\n"
        "  hearth db backup hearth-backup.db\n"
        "  hearth db copy --to postgresql://hearth@db.example/hearth",
    .words = "status migrate rollback backup restore copy",
    .complete = COMPLETE_FILE,
    .max_args = 2,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_db,
};
