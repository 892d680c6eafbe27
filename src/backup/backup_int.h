/* Inside of backups. Only for files of this folder. */
#ifndef HEARTH_BACKUP_BACKUP_INT_H
#define HEARTH_BACKUP_BACKUP_INT_H

#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>

#include "backup/backup.h"
#include "base/fs.h"

enum { SHA256_HEX = 2 * crypto_hash_sha256_BYTES + 1, MANIFEST_MAX = 1 << 28 };

#define BACKUP_FORMAT   "hearth-backup"
#define BACKUP_DATABASE "hearth.db"
#define BACKUP_FILES    "files"
#define BACKUP_BLOBS    "blobs" /* in the folder of files; in the archive below BACKUP_FILES */
#define BACKUP_KEY      "jwt.key"
#define BACKUP_SETTINGS "hearth.env"
#define BACKUP_MANIFEST "manifest.json"

struct sha {
    crypto_hash_sha256_state state;
};

void sha_start(struct sha *s);
void sha_add(struct sha *s, const void *data, size_t len);
void sha_end(struct sha *s, char hex[SHA256_HEX]);

/* A folder of the backup's own inside another one, empty, for one process at a time. There is one
 * in the data folder and one in that of the files, since links and renames stay on one disk. */
struct workplace {
    char dir[FS_PATH_MAX];
    int lock_fd;
};
HT_MUST_CHECK enum err workplace_open(const char *inside, struct workplace *out,
                                      struct error *error);
void workplace_close(struct workplace *w); /* removes it */
struct workplaces {
    struct workplace data, files;
};
HT_MUST_CHECK enum err workplaces_open(const struct backup_params *params, struct workplaces *out,
                                       struct error *error);
void workplaces_close(struct workplaces *w);

/* Calls `visit` with the path of each plain file below dir, relative to it. A folder that does not
 * exist has none. */
typedef enum err (*visit_fn)(void *ctx, const char *relative, struct error *error);
HT_MUST_CHECK enum err visit_files(const char *dir, visit_fn visit, void *ctx, struct error *error);
HT_MUST_CHECK enum err make_parents(const char *path, struct error *error);

/* The file, which is the caller's own copy, becomes the database that `url` names, in two steps:
 * all that may well fail (reading it, bringing it up to date, copying it into PostgreSQL), and
 * moving it.
 */
HT_MUST_CHECK enum err prepare_database(const char *file, const char *url, struct error *error);
HT_MUST_CHECK enum err place_database(const char *file, const char *url, struct error *error);
/* ERR_CONFLICT when `url` is a file that is there. */
HT_MUST_CHECK enum err database_is_free(const char *url, struct error *error);
bool url_is_file(const char *url);

#endif
