/* The vocabulary as a tree: below each token those whose text begins with its text. A grammar that
 * refuses a text refuses all that begins with it, so it need be asked only about the children of
 * what it allows: some hundred tokens where a quotation mark must come, instead of 150,000.
 *
 * Plain C without libllama. Immutable after token_tree_new: any thread. */
#ifndef HEARTH_ENGINE_TOKEN_TREE_H
#define HEARTH_ENGINE_TOKEN_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct token_tree;

enum token_place {
    TOKEN_IN_TREE, /* by its text */
    TOKEN_APART,   /* a root without children, whatever its text: its end is no matter of text */
    TOKEN_NOWHERE, /* never allowed */
};

/* Appends the text of a token; says where it belongs. One with an empty text is nowhere. */
typedef enum token_place (*token_text_fn)(void *ctx, int32_t token, struct buf *out);

HT_MUST_CHECK enum err token_tree_new(int32_t n_tokens, token_text_fn text, void *ctx,
                                      struct token_tree **out, struct error *error);
void token_tree_free(struct token_tree *t); /* NULL is fine */

/* In no particular order; valid as long as the tree. */
const int32_t *token_tree_roots(const struct token_tree *t, size_t *n);
const int32_t *token_tree_children(const struct token_tree *t, int32_t token, size_t *n);

/* Does a refused text refuse all that begins with it, for this (valid) GBNF grammar? Not if it
 * names tokens, which are allowed whatever their text; nor if a negated class has characters beyond
 * ASCII: libllama refuses the first byte of each such character there, though others begin with it,
 * too. */
bool grammar_is_prefix_closed(const char *grammar);

#endif
