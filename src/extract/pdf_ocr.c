/* Scanned pages: pdfimages says which hold a picture, pdftoppm draws those, tesseract reads them, a
 * page at a time and through a pipe: no file is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "extract/pdf.h"

enum { LIST_MAX = 16 << 20, PAGE_MAX = 4 << 20, MESSAGES_MAX = 8 << 10, PICTURE_MIN = 200 };

bool pdf_ocr_possible(const struct load *l)
{
    const struct programs *p = l->programs;
    return l->ocr && *p->paths[PROGRAM_pdfimages] && *p->paths[PROGRAM_pdftoppm] &&
           *p->paths[PROGRAM_tesseract];
}

/* Leaves the mark only on pages with a picture of some size. A line of pdfimages -list is "page num
 * type width height ...", behind two lines of head. */
static enum err find_pictures(struct load *l, struct pdf_page *pages, long n, struct error *error)
{
    static const char *const argv[] = {"-list", PDF_PATH, NULL};
    struct buf list;
    enum err e = pdf_program(l, PROGRAM_pdfimages, argv, LIST_MAX, &list, error);
    bool *found = e ? NULL : calloc((size_t)n, sizeof *found);
    for (const char *s = buf_str(&list); found && *s;) {
        long page;
        int width, height;
        if (sscanf(s, "%ld %*d %*31s %d %d", &page, &width, &height) == 3 && page >= 1 &&
            page <= n && width >= PICTURE_MIN && height >= PICTURE_MIN)
            found[page - 1] = true;
        s += strcspn(s, "\n");
        s += *s == '\n';
    }
    for (long i = 0; i < n && found; i++) pages[i].scan = pages[i].scan && found[i];
    free(found);
    buf_free(&list);
    return e;
}

static enum err read_page(struct load *l, long number, struct buf *text, struct error *error)
{
    char page[16];
    int picture;
    pid_t pid;
    struct buf messages;
    struct program_end end;
    snprintf(page, sizeof page, "%ld", number);
    const char *draw[] = {"-r", "200", "-gray", "-f", page, "-l", page, PDF_PATH, NULL};
    const char *read[] = {"stdin", "stdout", "-l", l->ocr_languages, NULL};
    enum err e = program_start(l->programs, PROGRAM_pdftoppm, draw, -1, &picture, &pid, error);
    if (e) return e;
    buf_init(&messages, MESSAGES_MAX);
    struct program_run run = {
        .argv = read, .in = picture, .on_output = pdf_append, .ctx = text, .messages = &messages};
    e = program_run(l->programs, PROGRAM_tesseract, &run, &end, error);
    close(picture);
    int drawn = program_wait(pid);
    if (!e && strstr(buf_str(&messages), "Failed loading language"))
        e = err_set(error, ERR_UNSUPPORTED,
                    "tesseract can't read '%s' (HEARTH_OCR_LANGUAGES); install the package of that "
                    "language",
                    l->ocr_languages);
    else if (!e && !end.stopped && (drawn != 0 || end.status != 0))
        buf_clear(text); /* one page that can't be read is no reason to lose the others */
    buf_free(&messages);
    return e;
}

/* Where a scanned page had a stamp or a page number as text, the picture says that, too. */
static void take_text(struct pdf_page *p, struct buf *text)
{
    size_t letters = 0;
    for (size_t i = 0; i < text->len; i++) letters += (unsigned char)text->data[i] > ' ';
    if (letters <= p->letters) return;
    free(p->text);
    p->letters = letters;
    p->len = text->len;
    p->text = buf_take(text);
}

static bool is_list_of_languages(const char *languages)
{
    /* What tesseract calls its languages: letters, digits, '_', '/' for scripts, '+' between them.
     */
    return languages[0] != '-' &&
           languages[strspn(languages, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_+/")] == '\0';
}

enum err pdf_ocr(struct load *l, struct pdf_page *pages, long n, struct error *error)
{
    enum err e = find_pictures(l, pages, n, error);
    int64_t until = clock_mono_ms() + l->ocr_seconds * 1000LL;
    bool begun = false;
    if (!is_list_of_languages(l->ocr_languages))
        return err_set(error, ERR_UNSUPPORTED, "HEARTH_OCR_LANGUAGES is not a list like eng+deu");
    for (long i = 0; i < n && !e; i++) {
        struct buf text;
        if (!pages[i].scan) continue;
        if (!begun && l->ocr_begins) l->ocr_begins();
        begun = true;
        if (clock_mono_ms() >= until)
            return err_set(error, ERR_TIMEOUT,
                           "reading its scanned pages took longer than %d s (HEARTH_OCR_TIME); it "
                           "came to page %ld of %ld",
                           l->ocr_seconds, i, n);
        buf_init(&text, PAGE_MAX);
        e = read_page(l, i + 1, &text, error);
        if (!e && text.len) take_text(&pages[i], &text);
        buf_free(&text);
    }
    return e;
}
