#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu, P3 = 0x165667B19E3779F9u,
                      P4 = 0x85EBCA77C2B2AE63u, P5 = 0x27D4EB2F165667C5u;

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t read64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t read32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t lane(uint64_t acc, uint64_t input)
{
    return rotl(acc + input * P2, 31) * P1;
}

static uint64_t merge(uint64_t h, uint64_t acc)
{
    return (h ^ lane(0, acc)) * P1 + P4;
}

/* The last bytes, fewer than 32. */
static uint64_t tail(uint64_t h, const unsigned char *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) h = rotl(h ^ lane(0, read64(p)), 27) * P1 + P4;
    if (len >= 4) {
        h = rotl(h ^ read32(p) * P1, 23) * P2 + P3;
        p += 4;
        len -= 4;
    }
    for (; len; p++, len--) h = rotl(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    size_t left = len;
    if (len < 32) return tail(seed + P5 + len, p, len);
    uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
    for (; left >= 32; p += 32, left -= 32) {
        a = lane(a, read64(p));
        b = lane(b, read64(p + 8));
        c = lane(c, read64(p + 16));
        d = lane(d, read64(p + 24));
    }
    uint64_t h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
    h = merge(merge(merge(merge(h, a), b), c), d);
    return tail(h + len, p, left);
}

/* ---- files -------------------------------------------------------------------------------- */

enum { SAMPLES = 64, SAMPLE = 4096 };

static enum err sample_file(int fd, const struct stat *st, uint64_t *out)
{
    unsigned char bytes[SAMPLE];
    int64_t facts[] = {st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
    uint64_t h = hash64(facts, sizeof facts, 0);
    int64_t step = st->st_size > SAMPLES * SAMPLE ? st->st_size / SAMPLES : SAMPLE;
    for (int64_t at = 0; at < st->st_size; at += step) {
        ssize_t n = pread(fd, bytes, sizeof bytes, at);
        if (n < 0 && errno == EINTR) n = 0;
        if (n < 0) return ERR_IO;
        h = hash64(bytes, (size_t)n, h);
    }
    *out = h;
    return OK;
}

enum err hash_file(const char *path, uint64_t *out, struct error *error)
{
    char what[ERROR_MSG_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err e = fd < 0 || fstat(fd, &st) ? ERR_IO : sample_file(fd, &st, out);
    if (e) {
        str_printf(what, sizeof what, "can't read %.300s", path);
        e = err_set_errno(error, errno, what);
    }
    if (fd >= 0) close(fd);
    return e;
}
