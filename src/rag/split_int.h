/* Inside the splitter. */
#ifndef HEARTH_RAG_SPLIT_INT_H
#define HEARTH_RAG_SPLIT_INT_H

#include "rag/split.h"

/* split_tokens byte by byte, so that the length of a chunk can be found while walking. */
struct token_count {
    uint8_t run; /* what the last character was */
    uint8_t in_run;
};

void token_count_start(struct token_count *t);
bool token_count_byte(struct token_count *t, unsigned char c);

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
