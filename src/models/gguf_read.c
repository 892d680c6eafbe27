/* The reader: 64 KiB windows by pread (or one window over memory), little-endian numbers put
 * together byte by byte, lengths compared with what is left before anything is allocated. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/gguf.h"
#include "models/gguf_int.h"

enum { GGUF_FIXED = 24 }; /* magic, version, counts */

/* X(type, name, bytes; 0 = variable) */
#define GGUF_TYPES(X)                                                                              \
    X(U8, "u8", 1)                                                                                 \
    X(I8, "i8", 1)                                                                                 \
    X(U16, "u16", 2)                                                                               \
    X(I16, "i16", 2)                                                                               \
    X(U32, "u32", 4)                                                                               \
    X(I32, "i32", 4)                                                                               \
    X(F32, "f32", 4)                                                                               \
    X(BOOL, "bool", 1)                                                                             \
    X(STRING, "string", 0)                                                                         \
    X(ARRAY, "array", 0)                                                                           \
    X(U64, "u64", 8)                                                                               \
    X(I64, "i64", 8)                                                                               \
    X(F64, "f64", 8)

static const struct {
    const char *name;
    unsigned bytes;
} types[GGUF_TYPE_COUNT] = {
#define X(type, name, bytes) [GGUF_##type] = {name, bytes},
    GGUF_TYPES(X)
#undef X
};

const char *gguf_type_word(enum gguf_type type)
{
    return types[type].name;
}

bool gguf_corrupt(struct gguf_reader *r, const char *fmt, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    err_set(r->error, ERR_MODEL_FILE, "the file is corrupt: %s; get it again", what);
    return false;
}

static bool cut_off(struct gguf_reader *r)
{
    char has[32];
    str_from_bytes(has, sizeof(has), r->file_size);
    if (r->limit < r->file_size)
        return gguf_corrupt(r, "its header is larger than %d MiB", GGUF_HEADER_MAX >> 20);
    err_set(r->error, ERR_MODEL_FILE,
            "the file is truncated: it ends at %s, within its header; pull it again", has);
    return false;
}

/* ---- bytes ------------------------------------------------------------------------------- */

static uint64_t left(const struct gguf_reader *r)
{
    return r->limit - r->pos;
}

/* Moves the window to r->pos. */
static bool refill(struct gguf_reader *r)
{
    if (r->fd < 0 || left(r) == 0) return cut_off(r);
    size_t want = left(r) < GGUF_CHUNK ? (size_t)left(r) : GGUF_CHUNK;
    ssize_t n;
    do {
        n = pread(r->fd, r->chunk, want, (off_t)r->pos);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        err_set_errno(r->error, errno, "reading the model file");
        return false;
    }
    if (n == 0) { /* it shrank since it was opened */
        r->file_size = r->limit = r->pos;
        return cut_off(r);
    }
    r->window_begin = r->pos;
    r->window_len = (size_t)n;
    return true;
}

static bool take(struct gguf_reader *r, void *dst, size_t n)
{
    unsigned char *to = dst;
    if (n > left(r)) return cut_off(r);
    while (n) {
        uint64_t at = r->pos - r->window_begin;
        if (r->pos < r->window_begin || at >= r->window_len) {
            if (!refill(r)) return false;
            continue;
        }
        size_t some = r->window_len - (size_t)at;
        if (some > n) some = n;
        memcpy(to, r->window + at, some);
        to += some;
        r->pos += some;
        n -= some;
    }
    return true;
}

static bool skip(struct gguf_reader *r, uint64_t n)
{
    if (n > left(r)) return cut_off(r);
    r->pos += n;
    return true;
}

static bool take_le(struct gguf_reader *r, unsigned bytes, uint64_t *out)
{
    unsigned char raw[8];
    ht_assert(bytes <= sizeof(raw));
    if (!take(r, raw, bytes)) return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)raw[i] << (8 * i);
    *out = v;
    return true;
}

bool gguf_read_u32(struct gguf_reader *r, uint32_t *out)
{
    uint64_t v;
    if (!take_le(r, 4, &v)) return false;
    *out = (uint32_t)v;
    return true;
}

bool gguf_read_u64(struct gguf_reader *r, uint64_t *out)
{
    return take_le(r, 8, out);
}

/* ---- values ------------------------------------------------------------------------------ */

bool gguf_read_number(struct gguf_reader *r, enum gguf_type type, bool *integral, int64_t *i,
                      double *d)
{
    uint64_t raw;
    ht_assert(types[type].bytes > 0);
    if (!take_le(r, types[type].bytes, &raw)) return false;
    *integral = true;
    *d = 0;
    uint32_t raw32 = (uint32_t)raw;
    float f;
    switch (type) {
    case GGUF_I8: *i = (int8_t)raw; break;
    case GGUF_I16: *i = (int16_t)raw; break;
    case GGUF_I32: *i = (int32_t)raw32; break;
    case GGUF_BOOL: *i = raw != 0; break;
    case GGUF_F32:
        memcpy(&f, &raw32, sizeof(f));
        *d = (double)f;
        *integral = false;
        break;
    case GGUF_F64:
        memcpy(d, &raw, sizeof(*d));
        *integral = false;
        break;
    default: *i = raw > INT64_MAX ? INT64_MAX : (int64_t)raw; break;
    }
    return true;
}

bool gguf_read_text(struct gguf_reader *r, struct buf *out, size_t keep, uint64_t *len)
{
    if (!gguf_read_u64(r, len)) return false;
    if (*len > left(r)) return cut_off(r);
    uint64_t wanted = *len < keep ? *len : keep;
    buf_clear(out);
    for (uint64_t got = 0; got < wanted;) {
        char piece[1024];
        size_t n = wanted - got < sizeof(piece) ? (size_t)(wanted - got) : sizeof(piece);
        if (!take(r, piece, n)) return false;
        if (buf_append(out, piece, n)) {
            err_set(r->error, out->err, "no memory for a text of the model file");
            return false;
        }
        got += n;
    }
    return skip(r, *len - wanted);
}

bool gguf_read_name(struct gguf_reader *r, char *dst, size_t max, const char *what)
{
    uint64_t len;
    if (!gguf_read_u64(r, &len)) return false;
    if (len == 0 || len > max)
        return gguf_corrupt(r, "%s has %llu bytes, allowed are 1 to %zu", what,
                            (unsigned long long)len, max);
    if (!take(r, dst, (size_t)len)) return false;
    dst[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)dst[i] < ' ' || dst[i] == 0x7f)
            return gguf_corrupt(r, "%s holds a control character", what);
    if (!utf8_valid(dst, (size_t)len)) return gguf_corrupt(r, "%s is not UTF-8", what);
    return true;
}

static bool read_type(struct gguf_reader *r, const char *name, enum gguf_type *out)
{
    uint32_t type;
    if (!gguf_read_u32(r, &type)) return false;
    if (type >= GGUF_TYPE_COUNT)
        return gguf_corrupt(r, "the key %s has the unknown type %u", name, type);
    *out = (enum gguf_type)type;
    return true;
}

bool gguf_next_key(struct gguf_reader *r, struct gguf_key *key)
{
    key->count = 1;
    if (!gguf_read_name(r, key->name, GGUF_KEY_MAX, "a key")) return false;
    if (!read_type(r, key->name, &key->type)) return false;
    key->item = key->type;
    if (key->type != GGUF_ARRAY) return true;
    if (!read_type(r, key->name, &key->item) || !gguf_read_u64(r, &key->count)) return false;
    /* allowed by the format's text, written by nobody, refused by llama.cpp */
    if (key->item == GGUF_ARRAY)
        return gguf_corrupt(r, "the key %s holds an array of arrays", key->name);
    unsigned least = types[key->item].bytes ? types[key->item].bytes : 8;
    if (key->count > left(r) / least) return cut_off(r);
    return true;
}

bool gguf_skip_value(struct gguf_reader *r, const struct gguf_key *key)
{
    if (key->item != GGUF_STRING) return skip(r, key->count * types[key->item].bytes);
    for (uint64_t i = 0; i < key->count; i++) {
        uint64_t len;
        if (!gguf_read_u64(r, &len) || !skip(r, len)) return false;
    }
    return true;
}

/* ---- opening ----------------------------------------------------------------------------- */

static bool read_version(struct gguf_reader *r)
{
    char magic[4];
    if (r->file_size < GGUF_FIXED || !take(r, magic, 4) || memcmp(magic, "GGUF", 4) != 0) {
        err_set(r->error, ERR_MODEL_FILE, "not a GGUF model file");
        return false;
    }
    if (!gguf_read_u32(r, &r->version)) return false;
    if (r->version == 2 || r->version == 3) return true;
    if ((r->version & 0xffff) == 0 && r->version != 0)
        err_set(r->error, ERR_MODEL_FILE, "a GGUF file for big-endian machines; get the usual one");
    else
        err_set(r->error, ERR_MODEL_FILE,
                "GGUF version %u is not supported (2 and 3 are); get a newer file of this model",
                r->version);
    return false;
}

static bool read_counts(struct gguf_reader *r)
{
    if (!gguf_read_u64(r, &r->n_tensors) || !gguf_read_u64(r, &r->n_kv)) return false;
    if (r->n_kv > GGUF_KV_MAX)
        return gguf_corrupt(r, "it declares %llu keys, at most %d are allowed",
                            (unsigned long long)r->n_kv, GGUF_KV_MAX);
    if (r->n_tensors > GGUF_TENSORS_MAX)
        return gguf_corrupt(r, "it declares %llu tensors, at most %d are allowed",
                            (unsigned long long)r->n_tensors, GGUF_TENSORS_MAX);
    return true;
}

static enum err begin(struct gguf_reader *r)
{
    r->limit = r->file_size < GGUF_HEADER_MAX ? r->file_size : GGUF_HEADER_MAX;
    if (read_version(r) && read_counts(r)) return OK;
    enum err e = r->error->code;
    gguf_close(r);
    return e;
}

enum err gguf_open_bytes(struct gguf_reader *r, const void *data, size_t len, uint64_t file_size,
                         struct error *error)
{
    *r = (struct gguf_reader){
        .fd = -1, .file_size = file_size, .window = data, .window_len = len, .error = error};
    return begin(r);
}

enum err gguf_open(struct gguf_reader *r, const char *path, struct error *error)
{
    *r = (struct gguf_reader){.fd = -1, .error = error};
    /* not to hang on a named pipe */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (fd < 0) return err_set_errno(error, errno, name);
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(error, ERR_MODEL_FILE, "not a file: %s", name);
    }
    r->chunk = try_malloc(GGUF_CHUNK);
    if (!r->chunk) {
        close(fd);
        return err_set(error, ERR_NOMEM, "no memory to read a model file");
    }
    r->fd = fd;
    r->file_size = (uint64_t)st.st_size;
    r->modified_s = st.st_mtime;
    r->window = r->chunk;
    return begin(r);
}

void gguf_close(struct gguf_reader *r)
{
    if (r->fd >= 0) close(r->fd);
    free(r->chunk);
    r->fd = -1;
    r->chunk = NULL;
    r->window = NULL;
    r->window_len = 0;
}

void gguf_rewind(struct gguf_reader *r)
{
    r->pos = GGUF_FIXED;
}
