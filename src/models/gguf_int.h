/* Inside of models: the GGUF reader that gguf.c (inspection) and gguf_json.c (metadata) share. One
 * owner, no locks. Every read checks the bounds; the first failure is kept and ends everything. */
#ifndef HEARTH_MODELS_GGUF_INT_H
#define HEARTH_MODELS_GGUF_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT,
};

enum {
    GGUF_KEY_MAX = 256,      /* the longest in use has about 60 bytes */
    GGUF_TEXT_MAX = 4 << 20, /* longest text that is kept: chat templates have up to 100 KiB */
    GGUF_KV_MAX = 16384,
    GGUF_TENSORS_MAX = 65536,
    GGUF_TENSOR_NAME_MAX = 64, /* GGML_MAX_NAME */
    GGUF_DIMS_MAX = 4,         /* GGML_MAX_DIMS */
    GGUF_CHUNK = 64 << 10,
};

struct gguf_reader {
    int fd; /* -1: all of it is in `window` */
    uint64_t file_size;
    int64_t modified_s; /* 0 over memory */
    uint64_t pos;       /* of the next byte */
    uint64_t limit;     /* reading ends here: the file's size or GGUF_HEADER_MAX */
    const unsigned char *window;
    uint64_t window_begin;
    size_t window_len;
    unsigned char *chunk; /* owned; NULL when fd is -1 */
    uint32_t version;
    uint64_t n_tensors, n_kv;
    struct error *error;
};

/* One key with its value's type. After gguf_next_key the reader stands at the value, which must be
 * read or skipped. */
struct gguf_key {
    char name[GGUF_KEY_MAX + 1];
    enum gguf_type type;
    enum gguf_type item; /* GGUF_ARRAY: of its elements; never GGUF_ARRAY */
    uint64_t count;      /* GGUF_ARRAY */
};

/* Opens, checks magic, version and counts. `error` must not be NULL and outlive the reader. */
HT_MUST_CHECK enum err gguf_open(struct gguf_reader *r, const char *path, struct error *error);
HT_MUST_CHECK enum err gguf_open_bytes(struct gguf_reader *r, const void *data, size_t len,
                                       uint64_t file_size, struct error *error);
void gguf_close(struct gguf_reader *r);
/* Back to the first key. */
void gguf_rewind(struct gguf_reader *r);

/* False: failed, r->error says why. */
bool gguf_next_key(struct gguf_reader *r, struct gguf_key *key);
bool gguf_skip_value(struct gguf_reader *r, const struct gguf_key *key);
bool gguf_read_u32(struct gguf_reader *r, uint32_t *out);
bool gguf_read_u64(struct gguf_reader *r, uint64_t *out);
/* A number or truth value of any width; *integral tells which of the two is set. */
bool gguf_read_number(struct gguf_reader *r, enum gguf_type type, bool *integral, int64_t *i,
                      double *d);
/* Into *out (cleared first), at most `keep` bytes of it; *len is its whole length. */
bool gguf_read_text(struct gguf_reader *r, struct buf *out, size_t keep, uint64_t *len);
/* A name: 1..max bytes without '\0' or control characters. */
bool gguf_read_name(struct gguf_reader *r, char *dst, size_t max, const char *what);

bool gguf_corrupt(struct gguf_reader *r, const char *fmt, ...) HT_PRINTF(2, 3); /* false */
const char *gguf_type_word(enum gguf_type type);

#endif
