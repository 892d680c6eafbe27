/* A backup's database takes its place: as the SQLite file that it is, or row by row in PostgreSQL.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup_int.h"
#include "base/str.h"
#include "store/store.h"

enum { COPY_PIECE = 1 << 16 };

bool url_is_file(const char *url)
{
    return !strstr(url, "://");
}

enum err database_is_free(const char *url, struct error *error)
{
    static const char *const files[] = {"", "-wal", "-journal"};
    char path[FS_PATH_MAX];
    for (size_t i = 0; url_is_file(url) && i < sizeof files / sizeof *files; i++) {
        if (!str_printf(path, sizeof path, "%s%s", url, files[i]))
            return err_set(error, ERR_INVALID, "the path of the database is too long");
        if (fs_exists(path))
            return err_set(error, ERR_CONFLICT, "there is a database at %.300s already", path);
    }
    return OK;
}

/* ---- what the file is
 * ---------------------------------------------------------------------------- */

static enum err check_magic(const char *file, struct error *error)
{
    char head[16] = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set_errno(error, errno, file);
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    if (n == sizeof head && memcmp(head, "SQLite format 3", sizeof head) == 0) return OK;
    return err_set(
        error, ERR_CHECKSUM,
        "%.300s is no SQLite database; what pg_dump wrote goes back with pg_restore, and "
        "a backup of everything with hearth restore",
        file);
}

/* Whole, and brought up to date. */
static enum err check_file(const char *file, struct error *error)
{
    struct store *s;
    struct store_params params = {.url = file, .migrate = true};
    enum err e = check_magic(file, error);
    if (!e) e = store_open(&params, &s, error);
    if (e) return e;
    e = store_check(s, error);
    store_close(s); /* folds its log into the file */
    return e;
}

/* ---- into its place
 * ------------------------------------------------------------------------------ */

static enum err move_file(const char *file, const char *to, struct error *error)
{
    char log[FS_PATH_MAX];
    if (!str_printf(log, sizeof log, "%s-wal", file))
        return err_set(error, ERR_INVALID, "the path of the database is too long");
    if (fs_exists(log)) return err_set(error, ERR_IO, "the database could not be closed");
    enum err e = make_parents(to, error);
    if (!e && renameat2(AT_FDCWD, file, AT_FDCWD, to, RENAME_NOREPLACE) != 0)
        e = err_set_errno(error, errno, to);
    return e;
}

static enum err copy_rows(const char *file, const char *url, struct error *error)
{
    struct store *from, *to;
    int64_t rows;
    struct store_params source = {.url = file}, target = {.url = url, .migrate = true};
    enum err e = store_open(&source, &from, error);
    if (e) return e;
    e = store_open(&target, &to, error);
    if (!e) {
        e = store_copy(from, to, &rows, error);
        store_close(to);
    }
    store_close(from);
    return e;
}

enum err prepare_database(const char *file, const char *url, struct error *error)
{
    enum err e = database_is_free(url, error);
    if (!e) e = check_file(file, error);
    return e || url_is_file(url) ? e : copy_rows(file, url, error);
}

enum err place_database(const char *file, const char *url, struct error *error)
{
    return url_is_file(url) ? move_file(file, url, error) : OK;
}

/* ---- a database alone
 * ------------------------------------------------------------------------------ */

static enum err copy_bytes(int from, int to, struct error *error)
{
    char piece[COPY_PIECE];
    for (;;) {
        ssize_t n = read(from, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(error, errno, "reading the backup");
        if (n == 0) return fsync(to) == 0 ? OK : err_set_errno(error, errno, "restoring");
        for (ssize_t done = 0; done < n;) {
            ssize_t k = write(to, piece + done, (size_t)(n - done));
            if (k < 0 && errno == EINTR) continue;
            if (k < 0) return err_set_errno(error, errno, "restoring");
            done += k;
        }
    }
}

static enum err copy_file(const char *from, const char *to, struct error *error)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return err_set_errno(error, errno, from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum err e = out < 0 ? err_set_errno(error, errno, to) : copy_bytes(in, out, error);
    if (out >= 0) close(out);
    close(in);
    return e;
}

enum err backup_restore_database(const struct backup_params *params, struct error *error)
{
    struct workplace place;
    char file[FS_PATH_MAX];
    enum err e = database_is_free(params->database_url, error);
    if (!e) e = check_magic(params->archive, error);
    if (!e) e = workplace_open(params->data_dir, &place, error);
    if (e) return e;
    e = fs_join(file, sizeof file, place.dir, BACKUP_DATABASE, error);
    if (!e) e = copy_file(params->archive, file, error);
    if (!e) e = prepare_database(file, params->database_url, error);
    if (!e) e = place_database(file, params->database_url, error);
    workplace_close(&place);
    return e;
}
