/* The process that reads one document: takes the order, gives up its rights, reads, answers.
 *
 * Its limits are its own as far as it is honest (time for OCR, length of text) and the kernel's and
 * the hub's where it isn't: address space, CPU seconds, no files written, the hub's clock. It ends
 * with the hub. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sandbox.h"
#include "base/str.h"
#include "extract/extract.h"
#include "extract/extract_int.h"
#include "extract/frame.h"
#include "extract/program.h"
#include "extract/types.h"
#include "extract/xml.h"

/* Sanitizers map more than any limit allows. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { EXIT_BAD_ORDER = 3, EXIT_NO_LIMITS, EXIT_NO_ANSWER };

#define FILE_PATH "/proc/self/fd/4" /* EXTRACT_FILE_FD */

bool extract_is_child(void)
{
    return getenv("HEARTH_EXTRACT") != NULL;
}

/* ---- the socket ---------------------------------------------------------------------------- */

static bool read_order(struct extract_order *order)
{
    for (size_t n = 0; n < sizeof *order;) {
        ssize_t got = read(EXTRACT_FD, (char *)order + n, sizeof *order - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        n += (size_t)got;
    }
    return order_is_right(order);
}

static bool write_all(const char *s, size_t len)
{
    while (len) {
        ssize_t n = write(EXTRACT_FD, s, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        s += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_frame(struct buf *frame)
{
    bool ok = !frame->err && write_all(buf_str(frame), frame->len);
    buf_free(frame);
    return ok;
}

static void tell_ocr(void)
{
    struct buf frame;
    buf_init(&frame, 64);
    frame_put_notice(&frame, FRAME_OCR);
    (void)send_frame(&frame);
}

/* ---- rights -------------------------------------------------------------------------------- */

static bool limit(int what, uint64_t soft, uint64_t hard)
{
    struct rlimit l = {.rlim_cur = soft, .rlim_max = hard};
    return setrlimit((__rlimit_resource_t)what, &l) == 0;
}

static bool set_limits(const struct extract_order *o)
{
    uint64_t cpu = (uint64_t)o->seconds + 1, ocr = o->ocr ? (uint64_t)o->ocr_seconds : 0;
    return limit(RLIMIT_CPU, cpu, cpu + ocr) && limit(RLIMIT_FSIZE, 0, 0) &&
           (SANITIZED || limit(RLIMIT_AS, o->memory, o->memory));
}

static void drop_rights(const struct programs *programs)
{
    const char *run[PROGRAM_COUNT], *read[] = {FILE_PATH, NULL};
    char report[256];
    size_t n = 0;
    for (int i = 0; programs && i < PROGRAM_COUNT; i++)
        if (*programs->paths[i]) run[n++] = programs->paths[i];
    const char *tessdata = getenv("TESSDATA_PREFIX");
    read[1] = tessdata ? tessdata : FILE_PATH;
    struct sandbox_params params = {.read = read, .n_read = 2, .run = run, .n_run = n};
    sandbox_apply(&params, report, sizeof report);
}

/* ---- all ----------------------------------------------------------------------------------- */

static enum err read_document(const struct extract_order *o, const struct programs *programs,
                              struct extract_doc *doc, struct error *error)
{
    struct stat st;
    struct prose out;
    if (fstat(EXTRACT_FILE_FD, &st) != 0)
        return err_set_errno(error, errno, "can't look at the file");
    prose_init(&out, o->output);
    struct load l = {.fd = EXTRACT_FILE_FD,
                     .size = (uint64_t)st.st_size,
                     .name = o->name,
                     .type = o->type,
                     .output = o->output,
                     .memory = o->memory,
                     .ocr = o->ocr,
                     .ocr_seconds = o->ocr_seconds,
                     .ocr_languages = o->ocr_languages,
                     .programs = programs,
                     .ocr_begins = tell_ocr,
                     .out = &out};
    enum err e = load_document(&l, error);
    if (!e) prose_take(&out, doc);
    prose_free(&out);
    return e;
}

static bool answer(enum err e, const struct error *error, const struct extract_doc *doc)
{
    struct buf frame;
    size_t pages = doc->n_pages * 2 * sizeof *doc->pages;
    buf_init(&frame, sizeof *error + EXTRACT_TITLE_MAX + pages + doc->len + 256);
    frame_put_answer(&frame, e, e ? error->msg : "", doc);
    return send_frame(&frame);
}

int extract_main(void)
{
    struct extract_order order;
    struct extract_doc doc = {0};
    struct error error = {0};
    struct programs *programs = NULL;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || !read_order(&order)) return EXIT_BAD_ORDER;
    if (type_of_media(order.type) == TYPE_PDF) {
        programs = xcalloc(1, sizeof *programs);
        programs_find(programs, order.memory);
    }
    setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives */
    xml_init();
    if (!set_limits(&order)) return EXIT_NO_LIMITS;
    drop_rights(programs);
    signal(SIGPIPE, SIG_IGN);
    enum err e = read_document(&order, programs, &doc, &error);
    bool told = answer(e, &error, &doc);
    extract_doc_free(&doc);
    free(programs);
    return told ? 0 : EXIT_NO_ANSWER;
}
