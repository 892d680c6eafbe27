/* A form as one text, "[name|filename|type]content;" for each part, made by multipart's callbacks;
 * their ctx is a struct buf. */
#ifndef HEARTH_TESTS_MULTIPART_TEXT_H
#define HEARTH_TESTS_MULTIPART_TEXT_H

#include "api/multipart.h"
#include "base/buf.h"
#include "base/mem.h"

static inline enum err multipart_text_begin(void *ctx, const struct multipart_part *part,
                                            struct error *error)
{
    (void)error;
    buf_printf(ctx, "[%s|%s|%s]", part->name, part->filename ? part->filename : "-", part->type);
    return OK;
}

static inline enum err multipart_text_data(void *ctx, const void *data, size_t len,
                                           struct error *error)
{
    (void)error;
    ht_assert(len > 0);
    buf_append(ctx, data, len);
    return OK;
}

static inline enum err multipart_text_end(void *ctx, struct error *error)
{
    (void)error;
    buf_putc(ctx, ';');
    return OK;
}

#endif
