/* Everything that must not be lost, in one file, and back. `hearth backup` and `hearth restore`.
 *
 * A backup is a tar archive (tar.h):
 *
 *   hearth.db        the database, always as an SQLite file
 *   files/blobs/...  what people uploaded, as it lies in its folder (files/files.h)
 *   jwt.key          the key that signs tokens, if the data folder has one
 *   hearth.env       the settings, if there is such a file
 *   manifest.json    last: what there is, with sizes and SHA-256
 *
 * Without its manifest a backup is torn. PostgreSQL is backed up as an SQLite file too, so that it
 * can be restored to either.
 *
 * Models, adapters, caches and indexes are not in it: they can be fetched or made again.
 *
 * Consistent while the hub runs: the database is read in one transaction; a file is never changed
 * after it was put under its name, so it is enough to hold on to all that the database of that
 * moment names. For that the files are linked into a folder of the backup's own before the database
 * is read and once more after it; what was deleted meanwhile is still there under the second name.
 *
 * A restore never overwrites: the data folder must be without a database, keys and files, and a
 * PostgreSQL database without rows. All is checked against the manifest before anything is put in
 * its place. The hub must not run. Any thread; both take as long as the disk takes. */
#ifndef HEARTH_BACKUP_BACKUP_H
#define HEARTH_BACKUP_BACKUP_H

#include <stdint.h>

#include "base/err.h"

struct store;

struct backup_params {
    const char *data_dir;
    const char *files_dir;     /* of uploaded files; may be on another disk */
    const char *settings_file; /* hearth.env, which may not exist */
    const char *database_url;  /* as store_params.url */
    const char *archive;
};

struct backup_counts {
    int64_t files, bytes; /* in the archive, the manifest not counted */
    bool settings_kept;   /* restore: there were settings already; the backup's are beside them */
};

/* ERR_CONFLICT: the archive exists, or another backup is under way. On failure nothing is left. */
HT_MUST_CHECK enum err backup_write(const struct backup_params *params, struct backup_counts *out,
                                    struct error *error);
/* ERR_CHECKSUM: torn or damaged, nothing was changed; ERR_CONFLICT: there is something already. */
HT_MUST_CHECK enum err backup_restore(const struct backup_params *params, struct backup_counts *out,
                                      struct error *error);
/* params.archive is a database alone, as `hearth db backup` writes it. */
HT_MUST_CHECK enum err backup_restore_database(const struct backup_params *params,
                                               struct error *error);

#endif
