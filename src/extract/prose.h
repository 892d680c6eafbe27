/* Puts a document's text together: blanks collapsed, paragraphs apart by one empty line, headings,
 * list items, tables and pages where they belong. The loaders say what comes, in the order of the
 * document; nothing is written for what turns out to be empty. One owner. Errors are the buffer's
 * (sticky: prose_err), so a loader asks now and then and stops. */
#ifndef HEARTH_EXTRACT_PROSE_H
#define HEARTH_EXTRACT_PROSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "extract/extract.h"

enum { PROSE_TABLES_MAX = 16 /* tables in tables that are seen as such */ };

enum gap { GAP_NONE, GAP_SPACE, GAP_LINE, GAP_BLOCK };

struct prose_cell {
    size_t start; /* in the text */
    bool first;   /* of its row */
};

struct prose {
    struct buf text;
    enum err err; /* of what isn't the text's own buffer */
    char title[EXTRACT_TITLE_MAX];
    struct extract_page *pages;
    size_t n_pages, cap_pages;

    enum gap gap;             /* before the next text */
    char prefix[32];          /* of that text: "## ", "  - " */
    bool item;                /* the last block was an item of a list */
    int32_t page;             /* begins with the next text; 0 = none */
    struct prose_cell *cells; /* of all open tables, the innermost's last */
    size_t n_cells, cap_cells;
    size_t tables[PROSE_TABLES_MAX]; /* first cell of each open table */
    bool layout[PROSE_TABLES_MAX];   /* it holds more than data */
    bool data[PROSE_TABLES_MAX];
    size_t n_tables, deeper; /* deeper: open ones beyond the maximum */
    bool row_begins;
};

void prose_init(struct prose *w, size_t max);
void prose_free(struct prose *w);
enum err prose_err(const struct prose *w); /* OK, ERR_TOO_LARGE, ERR_NOMEM */
bool prose_is_empty(const struct prose *w);
/* Hands text, title and pages over. */
void prose_take(struct prose *w, struct extract_doc *doc);

/* Words: any blanks and line ends count as one blank. Takes anything, writes UTF-8. */
void prose_text(struct prose *w, const char *s, size_t len);
void prose_puts(struct prose *w, const char *s);
/* Lines as they are, but for control characters; on a line of its own. */
void prose_lines(struct prose *w, const char *s, size_t len);
/* Plain text: lines without blanks at their ends, one empty line where there are several. */
void prose_plain(struct prose *w, const char *s, size_t len);
/* ``` language, lines, ```; a longer fence where the lines hold one. */
void prose_fence(struct prose *w, const char *language, const char *s, size_t len);

void prose_break(struct prose *w);              /* the next text begins a line */
void prose_block(struct prose *w);              /* ... or a paragraph */
void prose_heading(struct prose *w, int level); /* the text up to the next block is one; 1..6 */
void prose_item(struct prose *w, int depth);    /* an item of a list; depth 0 is outermost */
void prose_page(struct prose *w, int32_t number);
void prose_title(struct prose *w, const char *s, size_t len); /* the first one counts */

/* Tables: cells hold any of the above. What turns out to be a table of data (some columns, short
 * cells, no table within) becomes Markdown rows, the rest stays paragraphs. */
void prose_table(struct prose *w, bool data); /* data: of that there is no doubt */
void prose_row(struct prose *w);
void prose_cell(struct prose *w);
void prose_table_end(struct prose *w);

/* A row of Markdown at once, for what is nothing but a table; `head` adds the line below. */
struct prose_span {
    const char *s;
    size_t len;
};
void prose_cells(struct prose *w, const struct prose_span *cells, size_t n, bool head);

#endif
