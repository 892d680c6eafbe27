/* tar; see tar.h. The header's layout is that of POSIX, "ustar Interchange Format". */
#include "backup/tar.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/str.h"

enum {
    BLOCK = 512,
    AT_NAME = 0,
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    SUM_LEN = 8,
    SIZE_LEN = 12,
};
#define OCTAL_SIZE_MAX INT64_C(077777777777)

/* ---- writing ------------------------------------------------------------------------------- */

enum err tar_put(int fd, const void *data, size_t len, struct error *error)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = fault_hit(FAULT_write) ? (errno = ENOSPC, -1) : write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(error, errno, "writing the backup");
        p += n;
        len -= (size_t)n;
    }
    return OK;
}

static unsigned sum_of(const unsigned char *head)
{
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++) sum += i >= AT_SUM && i < AT_SUM + SUM_LEN ? ' ' : head[i];
    return sum;
}

static void put_size(char *at, int64_t bytes)
{
    if (bytes <= OCTAL_SIZE_MAX) {
        str_printf(at, SIZE_LEN, "%011llo", (unsigned long long)bytes);
        return;
    }
    at[0] = (char)0x80; /* GNU's: the number in base 256 */
    for (int i = SIZE_LEN - 1; i > 3; i--, bytes >>= 8) at[i] = (char)(bytes & 0xFF);
}

enum err tar_put_head(int fd, const char *name, int64_t bytes, int64_t mtime_s, struct error *error)
{
    char head[BLOCK] = {0};
    if (!str_copy(head + AT_NAME, TAR_NAME_MAX, name))
        return err_set(error, ERR_INVALID, "%.200s is too long for an archive", name);
    str_copy(head + AT_MODE, 8, "0000600");
    str_copy(head + AT_UID, 8, "0000000");
    str_copy(head + AT_GID, 8, "0000000");
    put_size(head + AT_SIZE, bytes);
    str_printf(head + AT_MTIME, SIZE_LEN, "%011llo", (unsigned long long)mtime_s);
    head[AT_TYPE] = '0';
    memcpy(head + AT_MAGIC, "ustar\00000", 8);
    str_printf(head + AT_SUM, 7, "%06o", sum_of((unsigned char *)head));
    head[AT_SUM + 7] = ' ';
    return tar_put(fd, head, sizeof head, error);
}

static size_t padding(int64_t bytes)
{
    return (size_t)((BLOCK - bytes % BLOCK) % BLOCK);
}

enum err tar_put_padding(int fd, int64_t bytes, struct error *error)
{
    static const char zeros[BLOCK];
    return tar_put(fd, zeros, padding(bytes), error);
}

enum err tar_put_end(int fd, struct error *error)
{
    static const char zeros[2 * BLOCK];
    return tar_put(fd, zeros, sizeof zeros, error);
}

/* ---- reading ------------------------------------------------------------------------------- */

enum err tar_get(int fd, void *data, size_t len, struct error *error)
{
    char *p = data;
    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(error, errno, "reading the backup");
        if (n == 0)
            return err_set(error, ERR_CHECKSUM,
                           "the backup ends too early: it was cut off while it was made or copied");
        p += n;
        len -= (size_t)n;
    }
    return OK;
}

enum err tar_skip_padding(int fd, int64_t bytes, struct error *error)
{
    char rest[BLOCK];
    return tar_get(fd, rest, padding(bytes), error);
}

static bool get_octal(const char *at, size_t len, int64_t *out)
{
    size_t i = 0;
    *out = 0;
    for (; i < len && at[i] >= '0' && at[i] <= '7'; i++) *out = *out * 8 + (at[i] - '0');
    return i > 0 && (i == len || at[i] == '\0' || at[i] == ' ');
}

static bool get_size(const char *at, int64_t *out)
{
    if ((unsigned char)at[0] != 0x80) return get_octal(at, SIZE_LEN, out);
    *out = 0;
    for (int i = 1; i < SIZE_LEN; i++) {
        if (i < 4 ? at[i] != 0 : i == 4 && (unsigned char)at[i] > 0x7F) return false;
        *out = (int64_t)((uint64_t)*out << 8 | (unsigned char)at[i]);
    }
    return true;
}

/* Below the folder that it is unpacked into, whatever the name says. */
static bool is_safe(const char *name)
{
    if (!*name || *name == '/' || !utf8_valid(name, strlen(name))) return false;
    for (const char *part = name; part;) {
        const char *slash = strchr(part, '/');
        size_t len = slash ? (size_t)(slash - part) : strlen(part);
        if (len == 0 || part[0] == '.') return false;
        part = slash ? slash + 1 : NULL;
    }
    return strcspn(name, "\\\n\r\t\x1b") == strlen(name);
}

static enum err not_ours(struct error *error)
{
    return err_set(error, ERR_CHECKSUM, "this is no backup of Hearth, or it is damaged");
}

enum err tar_next(int fd, struct tar_entry *out, bool *has, struct error *error)
{
    char head[BLOCK];
    static const char zeros[BLOCK];
    int64_t sum;
    *has = false;
    enum err e = tar_get(fd, head, sizeof head, error);
    if (e) return e;
    if (memcmp(head, zeros, sizeof head) == 0) return OK;
    if (!get_octal(head + AT_SUM, SUM_LEN, &sum) || sum != sum_of((unsigned char *)head) ||
        memcmp(head + AT_MAGIC, "ustar", 5) != 0 || head[AT_TYPE] != '0' ||
        !memchr(head + AT_NAME, '\0', TAR_NAME_MAX) || !get_size(head + AT_SIZE, &out->bytes))
        return not_ours(error);
    memcpy(out->name, head + AT_NAME, TAR_NAME_MAX);
    if (!is_safe(out->name)) return not_ours(error);
    *has = true;
    return OK;
}
