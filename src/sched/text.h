/* From tokens to text that may be sent: whole UTF-8 characters, cut before a stop string, with the
 * log probabilities of the tokens that made it. One `struct text` for each running choice.
 *
 * What is held back, and no more: the bytes of an unfinished character, and the longest end of the
 * text that a stop string begins with. Bytes that are no UTF-8 (models can produce any) leave as
 * U+FFFD, one for each. Pure: no engine, no clock. Steady state allocates nothing. */
#ifndef HEARTH_SCHED_TEXT_H
#define HEARTH_SCHED_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "types/gen.h"

enum {
    TEXT_STOP_LEN_MAX = 4096,   /* bytes of one stop string */
    TEXT_PENDING_MAX = 1 << 20, /* bytes held back: a stop string and a token */
};

/* Stop strings, shared by the choices of a request. */
struct stops {
    char **strings;
    size_t *lens;
    size_t n, longest;
    size_t n_own; /* of them from the first list: those that the client knows */
};

/* Copies both lists; empty strings are left out. ERR_INVALID: one is too long. */
HT_MUST_CHECK enum err stops_init(struct stops *s, const char *const *a, size_t n_a,
                                  const char *const *b, size_t n_b, struct error *error);
void stops_free(struct stops *s);

struct text_logprobs; /* of the tokens whose text was not handed out completely */

struct text {
    const struct stops *stops;      /* borrowed */
    struct buf pending;             /* raw bytes not yet handed out */
    struct buf out;                 /* what text_take handed out */
    bool stopped;                   /* a stop string was found; pending ends before it */
    const char *stop;               /* that one, if it is of the stops' first list; else NULL */
    uint64_t added, taken;          /* raw bytes since the start */
    int32_t n_tokens;               /* added since the last take */
    struct text_logprobs *logprobs; /* NULL until the first one is added */
};

void text_init(struct text *t, const struct stops *stops);
void text_free(struct text *t);

/* The bytes of the next token (any bytes, also none). False: a stop string is complete, the text
 * ends before it, nothing may be added any more. */
bool text_add(struct text *t, const char *bytes, size_t len);

/* Before text_add of the same token: its log probabilities, copied. alts[0] is the chosen token,
 * then n_top alternatives. */
HT_MUST_CHECK enum err text_add_logprob(struct text *t, const struct logprob_alt *alts,
                                        size_t n_top, size_t token_len, struct error *error);

struct text_piece {
    const char *text; /* valid UTF-8 */
    size_t len;
    const struct token_logprob *logprobs;
    size_t n_logprobs;
    int32_t n_tokens; /* added since the last piece */
};

/* What may be sent now; all of it when `final`. False when there is nothing. The piece is valid
 * until the next call for this text. */
bool text_take(struct text *t, bool final, struct text_piece *out);

#endif
