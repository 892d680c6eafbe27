/* Blocks of a text: headings, paragraphs, tables, code. Internal to the splitter. */
#ifndef HEARTH_RAG_BLOCKS_H
#define HEARTH_RAG_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum block_kind { BLOCK_PARAGRAPH, BLOCK_HEADING, BLOCK_TABLE, BLOCK_CODE };

struct block {
    size_t start;        /* of its first line; it ends where the next block starts */
    uint32_t header;     /* TABLE: bytes of its head rows, CODE: of its fence line; no line break */
    uint8_t kind, level; /* level: of a heading, 1..6 */
};

struct blocks {
    struct block *list; /* free() it */
    size_t n;
};

/* Every byte but leading white space belongs to a block. */
HT_MUST_CHECK enum err blocks_find(const char *text, size_t len, struct blocks *out,
                                   struct error *error);

#endif
