/* `hearth backup` and `hearth restore`. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup.h"
#include "base/fs.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/hubfile.h"
#include "files/files.h"
#include "hub/accounts.h"

struct places {
    char data_dir[FS_PATH_MAX], files_dir[FS_PATH_MAX], settings[FS_PATH_MAX], url[FS_PATH_MAX];
};

static enum err find_places(const struct cmd_call *call, struct places *p,
                            struct backup_params *out, struct error *error)
{
    char dir[FS_PATH_MAX];
    enum err e = cmd_data_dir(call->config, p->data_dir, sizeof p->data_dir, error);
    if (!e) e = files_dir_of(call->config, p->files_dir, sizeof p->files_dir, error);
    if (!e) e = fs_user_config_dir(dir, sizeof dir, error);
    if (!e) e = fs_join(p->settings, sizeof p->settings, dir, "hearth.env", error);
    if (!e) e = accounts_url(call->config, p->url, sizeof p->url, error);
    *out = (struct backup_params){.data_dir = p->data_dir,
                                  .files_dir = p->files_dir,
                                  .settings_file = p->settings,
                                  .database_url = p->url,
                                  .archive = call->args->n_rest ? call->args->rest[0] : NULL};
    return e;
}

static int tell(const char *what, const char *archive, const struct backup_counts *counts)
{
    char size[32];
    str_from_bytes(size, sizeof size, (uint64_t)counts->bytes);
    printf("%s %s: %lld file%s, %s\n", what, archive, (long long)counts->files,
           counts->files == 1 ? "" : "s", size);
    return fflush(stdout) == 0 ? CMD_OK : CMD_FAILED;
}

static int run_backup(const struct cmd_call *call)
{
    struct places places;
    struct backup_params params;
    struct backup_counts counts = {0};
    struct error error;
    enum err e = find_places(call, &places, &params, &error);
    if (!e) e = backup_write(&params, &counts, &error);
    return e ? cmd_fail(&error) : tell("wrote", params.archive, &counts);
}

enum err cmd_refuse_running_hub(const char *data_dir, struct error *error)
{
    char url[256];
    if (!hubfile_read(data_dir, url, sizeof url)) return OK;
    return err_set(error, ERR_CONFLICT,
                   "a hub is running with this data folder (%s); stop it before a restore", url);
}

static int run_restore(const struct cmd_call *call)
{
    struct places places;
    struct backup_params params;
    struct backup_counts counts = {0};
    struct error error;
    enum err e = find_places(call, &places, &params, &error);
    if (!e) e = cmd_refuse_running_hub(places.data_dir, &error);
    if (!e) e = backup_restore(&params, &counts, &error);
    if (e) return cmd_fail(&error);
    int status = tell("restored", params.archive, &counts);
    if (counts.settings_kept)
        printf("%s was there already and stays; the backup's settings are in %s.restored\n",
               params.settings_file, params.settings_file);
    return status;
}

const struct cmd_verb verb_backup = {
    .name = "backup",
    .args = "FILE.tar",
    .summary = "Write everything that must not be lost into one file",
    .details =
        "The database (also of PostgreSQL), uploaded files, the key of the users' tokens and the "
        "settings, as they are at one moment; a hub may run meanwhile. Models, adapters and caches "
        "are not in it. The file holds secrets and everybody's conversations: keep it safe.\n\n"
        "  hearth backup /srv/backup/hearth-$(date +%F).tar",
    .words = "",
    .complete = COMPLETE_FILE,
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .run = run_backup,
};

const struct cmd_verb verb_restore = {
    .name = "restore",
    .args = "FILE.tar",
    .summary = "Bring back what `hearth backup` wrote",
    .details =
        "Into an empty data folder, and into the database that DATABASE_URL names, which must be "
        "empty too: nothing is ever overwritten. The file is checked as a whole before anything "
        "is put in its place. No hub may run.\n\n"
        "  hearth restore /srv/backup/hearth-2026-11-21.tar\n"
        "  hearth restore old.tar --data-dir /var/lib/hearth-copy",
    .words = "",
    .complete = COMPLETE_FILE,
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .run = run_restore,
};
