/* Splitter: a text into the pieces that are searched and cited.
 *
 * The text is what extraction gives: UTF-8, paragraphs separated by empty lines, headings as `#`,
 * tables as rows of `|`, code between ``` fences. First its blocks are found in one pass, then the
 * chunks are laid over them: each as long as `size` allows, ending where the text itself has the
 * best seam in its second half (before a heading, between blocks, after a sentence, a row or a
 * line, between words, and only then between characters).
 *
 * Guarantees, whatever the bytes are:
 *  1. Chunks come in order: starts and ends grow strictly.
 *  2. Together they cover the text; only white space lies between them.
 *  3. None is longer than `size`, prefix included. Cuts are between characters of valid UTF-8.
 *  4. Neighbours share at most `overlap`, and nothing where the first one ends before a heading.
 *  5. [start, end) is where the body stands in the text, byte for byte.
 *
 * Pure; any thread. */
#ifndef HEARTH_RAG_SPLIT_H
#define HEARTH_RAG_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum split_unit {
    SPLIT_CHARACTERS,
    SPLIT_TOKENS, /* as split_tokens estimates them */
};

enum { SPLIT_SIZE_MIN = 32, SPLIT_HEADING_MAX = 512 };

struct split_params {
    int32_t size;    /* longest chunk; less than SPLIT_SIZE_MIN is taken as that */
    int32_t overlap; /* with the chunk before; more than half of the size is taken as that */
    enum split_unit unit;
};

/* Where a page (slide, sheet) begins; ordered by start. */
struct split_page {
    size_t start;
    int32_t number; /* from 1 */
};

/* Borrowed: valid during the call only; texts point into the text that is split. */
struct split_chunk {
    int32_t n; /* 0, 1, 2, ... */
    /* What the body needs to be understood: the header of a table that began in an earlier chunk,
     * the fence line of a code block. A line break behind it is not part of it. */
    const char *prefix;
    size_t prefix_len; /* 0 = none */
    const char *body;
    size_t start, end;          /* the body in the text */
    const char *heading;        /* "Chapter › Section": those above the body's first line; "" */
    int32_t page_from, page_to; /* 0: the text has no pages */
};

/* False stops. */
typedef bool (*split_fn)(void *ctx, const struct split_chunk *chunk);

/* Calls fn for each chunk. ERR_NOMEM: nothing was told; ERR_CANCELLED: fn stopped it. pages may be
 * NULL when n_pages is 0. */
HT_MUST_CHECK enum err split_text(const char *text, size_t len, const struct split_page *pages,
                                  size_t n_pages, const struct split_params *params, split_fn fn,
                                  void *ctx, struct error *error);

/* How many tokens a language model would make of the text: an estimate by rule (a token for every
 * four letters of a word, for three digits, for a mark, for a character of a script without
 * letters). */
int32_t split_tokens(const char *text, size_t len);

#endif
