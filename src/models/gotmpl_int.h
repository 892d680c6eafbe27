/* Inside of the translation of Go's templates: gotmpl.c reads texts and actions, gotmpl_expr.c what
 * stands in an action. */
#ifndef HEARTH_MODELS_GOTMPL_INT_H
#define HEARTH_MODELS_GOTMPL_INT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { DEPTH_MAX = 32, EXPR_MAX = 64 << 10, NAME_MAX_LEN = 64 };

enum block { BLOCK_IF, BLOCK_RANGE, BLOCK_WITH };

struct level {
    enum block block;
    bool silent;              /* nothing of it is written: it begins behind the cut */
    char outer[NAME_MAX_LEN]; /* the dot around it */
};

struct translator {
    const char *at, *end; /* what is left */
    const char *start;
    struct buf *out;
    struct error *error;
    bool exchange; /* an older template */
    bool last;     /* and its last exchange: it is cut behind .Response */
    bool cut;
    bool saw_response;
    bool trim_next;         /* the action before ended with a trim mark */
    char dot[NAME_MAX_LEN]; /* "" = the root */
    int n_dots;
    struct level levels[DEPTH_MAX];
    int depth, nesting;
    const char *item, *item_end; /* of the action that is being read */
};

/* What is known of a value: whether it is an object, which Go prints as JSON and iterates in pairs.
 */
struct value {
    char last[NAME_MAX_LEN]; /* its last field, "" = none */
    bool is_dot;
    bool literal;
};

/* ERR_INVALID with the line of the action that is being read. */
enum err gotmpl_fail(struct translator *t, const char *what);
/* A string literal, the same in both languages. */
void gotmpl_put_quoted(struct buf *out, const char *s, size_t len);

static inline bool gotmpl_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Words of the action, from t->item on. */
void gotmpl_skip_blanks(struct translator *t);
bool gotmpl_take_char(struct translator *t, char c); /* behind blanks */
size_t gotmpl_take_word(struct translator *t, char *dst, size_t size);
/* A keyword at the front of the action, with a blank or the end behind it. */
bool gotmpl_take_keyword(struct translator *t, const char *word);
/* The rest of the action as one pipeline, in Jinja; *v: what is known of its value. */
HT_MUST_CHECK enum err gotmpl_pipeline(struct translator *t, struct buf *out, struct value *v);
/* An expression as Go prints objects: strings as they are, the rest as JSON. */
void gotmpl_put_json(const char *text, struct buf *out);

#endif
