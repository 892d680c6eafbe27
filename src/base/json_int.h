/* Pieces of JSON text, shared by the writer (jw.c), json_dump (json.c) and messages. */
#ifndef HEARTH_BASE_JSON_INT_H
#define HEARTH_BASE_JSON_INT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

void json_write_string(struct buf *out, const char *s, size_t len); /* quoted and escaped */
void json_write_int(struct buf *out, int64_t v);
void json_write_double(struct buf *out, double v);

#endif
