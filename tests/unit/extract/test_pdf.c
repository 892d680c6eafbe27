/* PDFs: text and pages, scans through OCR where it is installed, and what can't be read. */
#include "base/clock.h"
#include "unit/extract/pdf_make.h"

static void test_text_and_pages(void **state)
{
    (void)state;
    struct pdf_make p;
    pdf_begin(&p);
    p.title = "Tides";
    pdf_text_page(&p, (const char *[]){"The first page tells of the sea and", "goes on"}, 2, 12);
    pdf_text_page(&p, (const char *[]){"over the break. Then it ends."}, 1, 12);
    pdf_text_page(&p, NULL, 0, 12);
    pdf_text_page(&p, (const char *[]){"The fourth page."}, 1, 12);
    struct extract_doc doc;
    const char *path = pdf_end(&p, "tides.txt"); /* its name doesn't matter */
    if (rig_run((struct extract_params){0}, path, &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, "application/pdf");
    assert_string_equal(doc.title, "Tides");
    assert_string_equal(doc.text, "The first page tells of the sea and\ngoes on\nover the break. "
                                  "Then it ends.\n\nThe fourth page.");
    assert_int_equal(doc.n_pages, 3);
    assert_int_equal(doc.pages[1].number, 2);
    assert_memory_equal(doc.text + doc.pages[1].start, "over", 4);
    assert_int_equal(doc.pages[2].number, 4);
    assert_memory_equal(doc.text + doc.pages[2].start, "The fourth", 10);
    extract_doc_free(&doc);
}

static void test_damaged(void **state)
{
    (void)state;
    rig_refused(rig_text_file("a.pdf", "%PDF-1.7\nnothing else"), ERR_INVALID,
                "damaged or cut off");
    struct pdf_make p;
    pdf_begin(&p);
    rig_refused(pdf_end(&p, "a.pdf"), ERR_INVALID, "damaged or cut off");
}

/* Locked with the password "hearth": tests/vectors/extract/README.md. */
static void test_password(void **state)
{
    (void)state;
    rig_refused(HEARTH_SOURCE_DIR "/tests/vectors/extract/locked.pdf", ERR_INVALID,
                "protected by a password");
}

/* ---- scans --------------------------------------------------------------------------------- */

/* A page of text as a picture; -1 without pdftoppm. */
static int draw(const char *const *lines, size_t n, struct buf *grey, int *width, int *height)
{
    struct pdf_make p;
    char command[400];
    int max = 0;
    pdf_begin(&p);
    pdf_text_page(&p, lines, n, 24);
    snprintf(command, sizeof command, "pdftoppm -r 150 -gray '%s'", pdf_end(&p, "text.pdf"));
    FILE *f = popen(command, "r");
    if (!f) return -1;
    buf_init(grey, 64 << 20);
    if (fscanf(f, "P5 %d %d %d", width, height, &max) == 3 && fgetc(f) != EOF) {
        char piece[4096];
        for (size_t got; (got = fread(piece, 1, sizeof piece, f)) > 0;)
            buf_append(grey, piece, got);
    }
    return pclose(f) == 0 && grey->len == (size_t)*width * (size_t)*height ? 0 : -1;
}

static const char *make_scan(const char *name)
{
    struct pdf_make p;
    struct buf grey;
    int width, height;
    if (draw((const char *[]){"Lighthouse keepers trim the wick", "before every night."}, 2, &grey,
             &width, &height))
        fail_msg("pdftoppm does not draw");
    pdf_begin(&p);
    pdf_picture_page(&p, width, height, grey.data, grey.len);
    pdf_text_page(&p, NULL, 0, 12); /* blank, no picture: not read */
    buf_free(&grey);
    return pdf_end(&p, name);
}

static void test_scan(void **state)
{
    (void)state;
    if (system("command -v tesseract > /dev/null") != 0) skip();
    struct extract_doc doc;
    struct extract_params p = {.ocr = true};
    const char *path = make_scan("scan.pdf");
    if (rig_run(p, path, &doc)) fail_msg("%s", rig_error.msg);
    assert_non_null(strstr(doc.text, "Lighthouse keepers trim the wick"));
    assert_non_null(strstr(doc.text, "before every night"));
    assert_int_equal(doc.n_pages, 1);
    extract_doc_free(&doc);
    p.ocr_languages = "xyz";
    assert_int_equal(rig_run(p, path, &doc), ERR_UNSUPPORTED);
    assert_non_null(strstr(rig_error.msg, "can't read 'xyz'"));
    p.ocr_languages = "--psm";
    assert_int_equal(rig_run(p, path, &doc), ERR_UNSUPPORTED);
}

static void test_scan_without_ocr(void **state)
{
    (void)state;
    struct extract_doc doc;
    const char *path = make_scan("scan.pdf");
    assert_int_equal(rig_run((struct extract_params){.ocr = false}, path, &doc), ERR_UNSUPPORTED);
    assert_non_null(strstr(rig_error.msg, "switched off (HEARTH_OCR)"));
    /* not installed: nothing of that name in $PATH */
    char bin[128], command[700], *old = strdup(getenv("PATH"));
    str_printf(bin, sizeof bin, "%s/bin", rig_dir);
    str_printf(command, sizeof command,
               "mkdir -p %s && for p in pdfinfo pdftotext pdfimages pdftoppm; do ln -sf "
               "$(command -v $p) %s/; done",
               bin, bin);
    assert_int_equal(system(command), 0);
    setenv("PATH", bin, 1);
    assert_int_equal(rig_run((struct extract_params){.ocr = true}, path, &doc), ERR_UNSUPPORTED);
    assert_non_null(strstr(rig_error.msg, "install tesseract-ocr"));
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(rig_run((struct extract_params){.ocr = true}, path, &doc), ERR_UNSUPPORTED);
    assert_non_null(strstr(rig_error.msg, "install poppler-utils"));
    setenv("PATH", old, 1);
    free(old);
}

/* ---- bombs --------------------------------------------------------------------------------- */

/* A picture that says it has 10 gigapixels: nobody draws it, and nobody minds. */
static void test_picture_that_declares_too_much(void **state)
{
    (void)state;
    struct pdf_make p;
    pdf_begin(&p);
    pdf_picture_page(&p, 100000, 100000, "abc", 3);
    struct extract_doc doc;
    struct extract_params params = {
        .ocr = true, .memory = 256 << 20, .seconds = 20, .ocr_seconds = 30};
    enum err e = rig_run(params, pdf_end(&p, "big.pdf"), &doc);
    assert_true(e == ERR_INVALID || e == ERR_UNSUPPORTED || e == ERR_TOO_LARGE || e == ERR_TIMEOUT);
}

static void test_endless_text(void **state)
{
    (void)state;
    struct pdf_make p;
    struct extract_doc doc;
    char line[1001];
    memset(line, 'x', sizeof line - 1);
    line[1000] = '\0';
    const char *lines[40];
    for (int i = 0; i < 40; i++) lines[i] = line;
    pdf_begin(&p);
    for (int i = 0; i < 50; i++) pdf_text_page(&p, lines, 40, 1);
    struct extract_params params = {.output = 1 << 20};
    assert_int_equal(rig_run(params, pdf_end(&p, "long.pdf"), &doc), ERR_TOO_LARGE);
    assert_non_null(strstr(rig_error.msg, "longer than 1.0 MiB"));
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_pages),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_without_ocr),
        cmocka_unit_test(test_picture_that_declares_too_much),
        cmocka_unit_test(test_endless_text),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
