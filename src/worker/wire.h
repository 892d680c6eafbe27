/* Values as bytes, in both directions: a struct is described once, by a function that visits its
 * fields, and that function writes or reads depending on the wire it is given. So the two can't get
 * out of step, and a field that is visited is both sent and received.
 *
 * Reading trusts nothing: lengths are checked against what is there, enums and bools against their
 * range, strings for their end. Errors are sticky; after one, everything that is read is zero. What
 * is read points into the bytes it was read from; arrays of structs are made in the arena.
 *
 * Byte order and alignment are the machine's: both ends are the same program on the same machine,
 * which the greeting makes sure of (codec.h). The bytes must begin at an address that is a multiple
 * of WIRE_ALIGN. */
#ifndef HEARTH_WORKER_WIRE_H
#define HEARTH_WORKER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { WIRE_ALIGN = 8 };

struct wire {
    bool reading;
    enum err err;
    /* writing: appended to out, counted from `start` */
    struct buf *out;
    size_t start;
    /* reading */
    const char *bytes;
    size_t len, at;
    struct arena *arena; /* for arrays; may be NULL where none is read */
};

void wire_write_to(struct wire *w, struct buf *out);
void wire_read_from(struct wire *w, const void *bytes, size_t len, struct arena *arena);
/* ERR_INVALID when bytes are left over, or the error that came before. */
HT_MUST_CHECK enum err wire_end(const struct wire *w, const char *what, struct error *error);
/* A value that was read and makes no sense. */
void wire_bad(struct wire *w);

void wire_bool(struct wire *w, bool *v);
void wire_i32(struct wire *w, int32_t *v);
void wire_u32(struct wire *w, uint32_t *v);
void wire_i64(struct wire *w, int64_t *v);
void wire_f32(struct wire *w, float *v);
/* 0 <= *v < count */
void wire_choice(struct wire *w, int *v, int count);
/* '\0'-terminated text; may be NULL. */
void wire_str(struct wire *w, const char **v);
/* Any bytes with a '\0' behind them that is not counted. */
void wire_bytes(struct wire *w, const char **v, size_t *len);
/* Text in an array of `size` bytes. */
void wire_text(struct wire *w, char *v, size_t size);
void wire_i32s(struct wire *w, const int32_t **v, size_t *n);
void wire_f32s(struct wire *w, const float **v, size_t *n);
/* The number of elements of an array. Reading gives a zeroed array in the arena (NULL when n is 0
 * or after an error), writing NULL. */
void *wire_array(struct wire *w, size_t *n, size_t element_size);

#define WIRE_ENUM(w, field, last)                                                                  \
    do {                                                                                           \
        int choice_ = (int)(field);                                                                \
        wire_choice((w), &choice_, (int)(last) + 1);                                               \
        (field) = choice_;                                                                         \
    } while (0)

/* An array of structs: `list` (const type *) with `n` elements, each visited by visit(w, &one). */
#define WIRE_LIST(w, type, list, n, visit)                                                         \
    do {                                                                                           \
        type *made_ = wire_array((w), &(n), sizeof(type));                                         \
        for (size_t i_ = 0; i_ < (n) && !(w)->err; i_++) {                                         \
            type one_ = {0};                                                                       \
            if (!(w)->reading) one_ = (list)[i_];                                                  \
            visit((w), &one_);                                                                     \
            if ((w)->reading) made_[i_] = one_;                                                    \
        }                                                                                          \
        if ((w)->reading) (list) = made_;                                                          \
    } while (0)

#endif
