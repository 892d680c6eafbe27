/* PDF through poppler's programs, each a process of its own under the child's restrictions: pdfinfo
 * says how many pages, pdftotext gives their text with a form feed behind each. Pages without text
 * that hold a picture are scans: they are drawn by pdftoppm and read by tesseract (pdf_ocr.c).
 *
 * Linking libpoppler instead would put a large parser of hostile bytes and its C++ exceptions into
 * this process, which has a socket; the programs have nothing. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/pdf.h"

enum {
    MESSAGES_MAX = 8 << 10,
    INFO_MAX = 256 << 10,
    PAGE_TEXT_MIN = 8, /* letters; a scan may have a stamp on it */
};

/* ---- what went wrong ----------------------------------------------------------------------- */

static enum err judge(struct load *l, const struct program_end *end, const struct buf *messages,
                      struct error *error)
{
    const char *said = buf_str(messages);
    int status = end->status;
    if (end->stopped || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return OK;
    if (strstr(said, "Incorrect password") || strstr(said, "ncrypted"))
        return err_set(error, ERR_INVALID,
                       "the PDF is protected by a password; save a copy without one");
    if (strstr(said, "emory") || strstr(said, "bad_alloc")) return load_no_memory(l, error);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return err_set(error, ERR_TIMEOUT, "reading it took too long (HEARTH_EXTRACT_TIME)");
    if (WIFSIGNALED(status)) /* out of memory, and what else ends programs */
        return err_set(error, ERR_INVALID,
                       "the program that reads PDFs crashed (%s): the file is damaged, made to do "
                       "harm, or needs too much memory",
                       strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) >= 126)
        return err_set(error, ERR_INTERNAL, "the program that reads PDFs could not be started");
    return err_set(error, ERR_INVALID, "the PDF is damaged or cut off");
}

bool pdf_append(void *ctx, const char *s, size_t len)
{
    return buf_append(ctx, s, len) == OK;
}

enum err pdf_program(struct load *l, enum program which, const char *const *argv, size_t max,
                     struct buf *out, struct error *error)
{
    struct buf messages;
    struct program_end end;
    buf_init(out, max);
    buf_init(&messages, MESSAGES_MAX);
    struct program_run run = {
        .argv = argv, .in = -1, .on_output = pdf_append, .ctx = out, .messages = &messages};
    enum err e = program_run(l->programs, which, &run, &end, error);
    if (!e && out->err == ERR_NOMEM) e = load_no_memory(l, error);
    if (!e && !out->err) e = judge(l, &end, &messages, error);
    buf_free(&messages);
    return e;
}

/* ---- pdfinfo ------------------------------------------------------------------------------- */

/* The value behind "key:" at the beginning of a line. */
static bool info_value(const char *info, const char *key, const char **s, size_t *len)
{
    size_t n = strlen(key);
    for (const char *line = info; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) != 0 || line[n] != ':') continue;
        *s = line + n + 1;
        *s += strspn(*s, " ");
        *len = strcspn(*s, "\n");
        return *len > 0;
    }
    return false;
}

static enum err read_info(struct load *l, long *pages, struct error *error)
{
    static const char *const argv[] = {"-enc", "UTF-8", PDF_PATH, NULL};
    struct buf info;
    const char *s;
    size_t len;
    *pages = 0;
    enum err e = pdf_program(l, PROGRAM_pdfinfo, argv, INFO_MAX, &info, error);
    if (!e && info_value(buf_str(&info), "Title", &s, &len)) prose_title(l->out, s, len);
    if (!e && info_value(buf_str(&info), "Pages", &s, &len)) *pages = strtol(s, NULL, 10);
    buf_free(&info);
    if (!e && *pages < 1) e = err_set(error, ERR_INVALID, "the PDF has no pages");
    if (!e && *pages > PDF_PAGES_MAX)
        e = err_set(error, ERR_TOO_LARGE, "the PDF has %ld pages; at most %d can be read", *pages,
                    PDF_PAGES_MAX);
    return e;
}

/* ---- pdftotext ----------------------------------------------------------------------------- */

struct reading {
    struct load *load;
    struct pdf_page *pages;
    long n, at;      /* pages; the one that comes now, from 0 */
    struct buf text; /* of that page */
    enum err err;
};

static size_t count_letters(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += (unsigned char)s[i] > ' ';
    return n;
}

/* Takes the page's text off, if it has one. */
static void end_page(struct reading *r)
{
    if (r->at >= r->n) return;
    struct pdf_page *p = &r->pages[r->at++];
    while (r->text.len && (unsigned char)r->text.data[r->text.len - 1] <= ' ') r->text.len--;
    p->letters = count_letters(buf_str(&r->text), r->text.len);
    p->len = r->text.len;
    p->text = p->letters ? buf_take(&r->text) : NULL;
    buf_clear(&r->text);
}

static bool on_text(void *ctx, const char *s, size_t len)
{
    struct reading *r = ctx;
    while (len && !r->text.err) {
        const char *feed = memchr(s, '\f', len);
        size_t n = feed ? (size_t)(feed - s) : len;
        buf_append(&r->text, s, n);
        r->load->output -= n < r->load->output ? n : r->load->output;
        if (!r->load->output) r->text.err = ERR_TOO_LARGE;
        if (feed && !r->text.err) end_page(r);
        s += n + (feed != NULL);
        len -= n + (feed != NULL);
    }
    return !r->text.err;
}

static enum err read_text(struct load *l, struct pdf_page *pages, long n, struct error *error)
{
    static const char *const argv[] = {"-enc", "UTF-8", "-eol", "unix", PDF_PATH, "-", NULL};
    struct reading r = {.load = l, .pages = pages, .n = n};
    struct buf messages;
    struct program_end end;
    uint64_t output = l->output;
    buf_init(&r.text, (size_t)output);
    buf_init(&messages, MESSAGES_MAX);
    struct program_run run = {
        .argv = argv, .in = -1, .on_output = on_text, .ctx = &r, .messages = &messages};
    enum err e = program_run(l->programs, PROGRAM_pdftotext, &run, &end, error);
    l->output = output;
    if (!e && r.text.err == ERR_NOMEM) e = load_no_memory(l, error);
    if (!e && r.text.err) e = load_too_long(l, error);
    if (!e) e = judge(l, &end, &messages, error);
    buf_free(&messages);
    buf_free(&r.text);
    return e;
}

/* ---- putting it together ------------------------------------------------------------------- */

/* Whether a sentence goes on over the break of a page. */
static bool goes_on(const struct prose *out, const char *next, size_t len)
{
    const struct buf *t = &out->text;
    size_t i = 0;
    while (i < len && (unsigned char)next[i] <= ' ') i++;
    if (!t->len || i == len || !strchr("abcdefghijklmnopqrstuvwxyz", next[i])) return false;
    return !strchr(".!?:;\"')", t->data[t->len - 1]);
}

static void write_pages(struct load *l, struct pdf_page *pages, long n)
{
    for (long i = 0; i < n; i++) {
        if (!pages[i].text) continue;
        if (!goes_on(l->out, pages[i].text, pages[i].len)) prose_block(l->out);
        prose_page(l->out, (int32_t)i + 1);
        prose_plain(l->out, pages[i].text, pages[i].len);
    }
}

/* A scan: no page says anything. */
static bool is_scan(const struct pdf_page *pages, long n)
{
    for (long i = 0; i < n; i++)
        if (pages[i].letters >= PAGE_TEXT_MIN) return false;
    return true;
}

static enum err read_scans(struct load *l, struct pdf_page *pages, long n, struct error *error)
{
    bool scan = is_scan(pages, n), possible = pdf_ocr_possible(l);
    long empty = 0;
    for (long i = 0; i < n; i++) {
        pages[i].scan = pages[i].letters < PAGE_TEXT_MIN;
        empty += pages[i].scan;
    }
    if (!empty) return OK;
    if (possible) return pdf_ocr(l, pages, n, error);
    if (!scan) return OK; /* what there is, is worth more than a reason */
    if (!l->ocr)
        return err_set(error, ERR_UNSUPPORTED,
                       "the PDF has no text, it seems to be scanned, and reading of scans is "
                       "switched off (HEARTH_OCR)");
    return err_set(error, ERR_UNSUPPORTED,
                   "the PDF has no text, it seems to be scanned; install tesseract-ocr, so that "
                   "scans can be read");
}

enum err load_pdf(struct load *l, struct error *error)
{
    long n;
    if (!l->programs || !*l->programs->paths[PROGRAM_pdftotext] ||
        !*l->programs->paths[PROGRAM_pdfinfo])
        return err_set(error, ERR_UNSUPPORTED,
                       "PDFs can't be read, because pdftotext is not installed; install "
                       "poppler-utils");
    enum err e = read_info(l, &n, error);
    if (e) return e;
    struct pdf_page *pages = try_calloc((size_t)n, sizeof *pages);
    if (!pages) return err_set(error, ERR_NOMEM, "no memory");
    e = read_text(l, pages, n, error);
    if (!e) e = read_scans(l, pages, n, error);
    if (!e) write_pages(l, pages, n);
    for (long i = 0; i < n; i++) free(pages[i].text);
    free(pages);
    if (!e && prose_is_empty(l->out))
        return err_set(error, ERR_INVALID, "the PDF has no text, and its pictures say nothing");
    return e;
}
