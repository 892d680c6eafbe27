/* Flow: styled words into lines of a width, or into the cells of a table. Internal to markdown. */
#ifndef HEARTH_CMD_FLOW_H
#define HEARTH_CMD_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cmd/term.h"

enum flow_look {
    LOOK_BOLD = 1 << 0,
    LOOK_ITALIC = 1 << 1,
    LOOK_UNDERLINE = 1 << 2,
    LOOK_DIM = 1 << 3,
    LOOK_STRIKE = 1 << 4,
    LOOK_CODE = 1 << 5,
};

struct flow {
    enum term_style style;
    int width;
    struct buf *out; /* where lines go; set by the user before each use */
    unsigned look;   /* of the whole line: a heading is bold */

    /* The line under way. */
    struct buf prefix; /* what further lines of this one begin with: indent, quote bars */
    int prefix_width;
    int col;    /* columns used; 0 = nothing shown yet */
    bool space; /* a blank is due before the next word */

    /* The word under way: bytes with their styles switched on and off. */
    struct buf word;
    int word_width;
    unsigned word_look; /* that is switched on at its end */

    /* When set, finished words go here instead of into lines. */
    void (*take)(void *ctx, const struct buf *word, int width, bool space);
    void *take_ctx;
};

void flow_init(struct flow *f, int width, enum term_style style);
void flow_free(struct flow *f);

/* Starts a line. `first` is shown now (bullet, number), `rest` begins its further lines; both are
 * plain text of `columns` columns, shown dim when `dim`. Both are added to what quote bars left. */
void flow_prefix(struct flow *f, const char *first, const char *rest, int columns, bool dim);
/* Text of one look; blanks separate words. */
void flow_text(struct flow *f, unsigned look, const char *text, size_t len);
/* Shows the word under way. */
void flow_flush(struct flow *f);
/* Ends the line: everything is shown, a newline is written, the prefix is forgotten. */
void flow_newline(struct flow *f);

/* Escape sequences that switch a look on; nothing for TERM_RAW. flow_look_off undoes all. */
void flow_look_on(const struct flow *f, unsigned look, struct buf *out);
void flow_look_off(const struct flow *f, unsigned look, struct buf *out);

#endif
