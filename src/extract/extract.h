/* Documents to text: what a file is, and what it says, with headings, tables and pages.
 *
 * A document is somebody else's bytes, and what reads it is libraries with a long list of past
 * mistakes. So every document is read by a process of its own (`hearth extract`, child.c) that has
 * no rights: it gets the open file, a socket to answer into, and no network, no other file, little
 * memory and little time (base/sandbox.h, rlimits). The answer is a frame whose every length is
 * checked (frame.h). A document that crashes, eats or stalls its process is an error with a reason.
 *
 * What comes out is UTF-8 with '\n', without control characters: paragraphs apart by an empty line,
 * headings as Markdown `#`, lists as `-`, tables as Markdown rows, code and data in ``` fences.
 *
 * Any thread may call everything here; extract_run blocks its thread until the document is read. */
#ifndef HEARTH_EXTRACT_EXTRACT_H
#define HEARTH_EXTRACT_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"

enum { EXTRACT_TYPE_MAX = 96, EXTRACT_NAME_MAX = 256, EXTRACT_TITLE_MAX = 512 };

/* ---- what a file is ------------------------------------------------------------------------ */

/* The media type by content: magic numbers, the members of a ZIP, the beginning of a text. `name`
 * (may be NULL) decides only among kinds of text, which content can't tell apart. A file that is
 * nothing Hearth knows is application/octet-stream, an empty one application/x-empty: also OK.
 * Fails only when the file can't be read. Reads a few hundred KiB at most; opens nothing else. */
HT_MUST_CHECK enum err extract_detect(const char *path, const char *name,
                                      char type[EXTRACT_TYPE_MAX], struct error *error);
/* Whether files of this type can be read. */
bool extract_can_read(const char *type);
/* Whether the programs are installed that PDFs need, and scanned ones. */
void extract_installed(bool *pdf, bool *ocr);

/* ---- what it says -------------------------------------------------------------------------- */

/* Where a page, slide or sheet begins: its number (from 1) and the byte offset in the text. */
struct extract_page {
    size_t start;
    int32_t number;
};

struct extract_doc {
    char *text; /* UTF-8, ends with '\0'; may be empty */
    size_t len;
    const char *type;           /* media type; static */
    char *title;                /* the document's own title, or NULL */
    struct extract_page *pages; /* in order of their numbers and starts; none for formats without */
    size_t n_pages;
};

/* Limits of 0 are the defaults of the settings. */
struct extract_params {
    const char *path;
    const char *name; /* as the person calls the file; NULL = the path's last part */
    const char *type; /* from extract_detect; NULL = found out here */
    int32_t seconds;  /* for all but OCR */
    int32_t ocr_seconds;
    uint64_t memory;           /* bytes of address space of each process */
    uint64_t output;           /* bytes of text; archives may unpack to eight times that */
    bool ocr;                  /* read scanned pages through tesseract, if it is installed */
    const char *ocr_languages; /* "eng+deu"; NULL = English */
    const char *program;       /* NULL = this one; "<program> extract" is run */
};

/* Limits and OCR as the settings say; the rest zero. The strings are the configuration's. */
void extract_params_from(const struct config *config, struct extract_params *params);

/* Reads the document. `cancelled` (may be NULL) is asked several times a second. On OK free `out`.
 * The message says to the person whose file it is why it could not be read:
 *   ERR_MEDIA_TYPE  nothing Hearth reads              ERR_INVALID    damaged, empty, or protected
 *   ERR_TOO_LARGE   beyond a limit of size or memory  ERR_TIMEOUT    beyond the limit of time
 *   ERR_UNSUPPORTED a scan, and there is no OCR       ERR_CANCELLED
 *   ERR_IO, ERR_NOT_FOUND, ERR_NOMEM, ERR_INTERNAL    this machine's fault: try again later */
HT_MUST_CHECK enum err extract_run(const struct extract_params *params,
                                   bool (*cancelled)(void *ctx), void *ctx, struct extract_doc *out,
                                   struct error *error);
void extract_doc_free(struct extract_doc *doc); /* leaves it zeroed */

/* Page that the byte at `offset` is on; 0 without pages. */
int32_t extract_page_at(const struct extract_doc *doc, size_t offset);

/* ---- the other process --------------------------------------------------------------------- */

/* The child's main(). A program whose extract_run is to start itself calls it at once when
 * extract_is_child() says so (test programs do; hearth has a hidden verb). */
bool extract_is_child(void);
int extract_main(void);

#endif
