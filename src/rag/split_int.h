/* Inside the splitter. */
#ifndef HEARTH_RAG_SPLIT_INT_H
#define HEARTH_RAG_SPLIT_INT_H

#include "rag/split.h"

/* split_tokens byte by byte, so that the length of a chunk can be found while walking. */
struct token_count {
    uint8_t run; /* what the last character was */
    uint8_t in_run;
};

enum { LETTERS_PER_TOKEN = 4, DIGITS_PER_TOKEN = 3 };

/* Of a byte: what it can be a part of. */
enum token_kind {
    KIND_SPACE,
    KIND_LETTER,
    KIND_DIGIT,
    KIND_MARK,
    KIND_INNER,
    KIND_LATIN,
    KIND_WIDE
};

extern const uint8_t token_kinds[256];

/* Adds one byte; true when a token begins with it. Here, since it is called for each byte of all
 * that is indexed, several times. */
static inline bool token_count_byte(struct token_count *t, unsigned char c)
{
    unsigned kind = token_kinds[c];
    if (kind == KIND_INNER) return false;
    unsigned run = kind == KIND_LATIN ? KIND_LETTER : kind;
    unsigned most = run == KIND_LETTER ? LETTERS_PER_TOKEN : DIGITS_PER_TOKEN;
    bool goes_on = run == t->run && (run == KIND_LETTER || run == KIND_DIGIT) && t->in_run < most;
    t->in_run = (uint8_t)(goes_on ? t->in_run + 1 : 1);
    t->run = (uint8_t)run;
    return !goes_on && run != KIND_SPACE;
}

/* seam.c: where a range of text is best cut. The largest position in (from, limit], none of the
 * kind: 0. All are behind white space, and before a character. */
size_t seam_paragraph(const char *text, size_t from, size_t limit); /* behind an empty line */
size_t seam_line(const char *text, size_t from, size_t limit);
size_t seam_sentence(const char *text, size_t from, size_t limit);
/* Whether a sentence begins at `at`; text[at] is there. Looks back to `from`. */
bool seam_is_sentence(const char *text, size_t from, size_t at);
size_t seam_word(const char *text, size_t from, size_t limit);
/* limit itself, moved to between two characters; always > from when limit > from + 3. */
size_t seam_character(const char *text, size_t from, size_t limit);

#endif
