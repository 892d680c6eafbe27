/* Documents made to do harm: each ends with its reason, within the limits. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "unit/extract/pdf_make.h"
#include "unit/extract/zip_make.h"

/* Under sanitizers address space isn't limited. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void refused(struct extract_params p, const char *path, enum err want, const char *why)
{
    struct extract_doc doc;
    enum err e = rig_run(p, path, &doc);
    if (!e) fail_msg("it was read: %.300s", doc.text);
    if (!strstr(rig_error.msg, why)) fail_msg("it said: %s", rig_error.msg);
    assert_string_equal(err_name(e), err_name(want));
}

/* ---- archives ------------------------------------------------------------------------------ */

static const struct extract_params small = {.output = 1 << 20};

static const char *make_bomb(struct zip_make *z, const char *name)
{
    static char blanks[1 << 20];
    memset(blanks, ' ', sizeof blanks);
    zip_begin(z, name);
    zip_add_times(z, "word/document.xml", blanks, sizeof blanks, 32);
    return zip_end(z);
}

static void test_zip_bomb(void **state)
{
    (void)state;
    struct zip_make z;
    refused(small, make_bomb(&z, "bomb.docx"), ERR_TOO_LARGE, "it unpacks to more than 8.0 MiB");
}

/* Changes each header of the archive: bytes from `local` on of those before members, from `central`
 * on of those in its directory. */
static void patch(const char *path, size_t local, size_t central, const void *with, size_t len)
{
    struct buf b;
    int n = 0;
    buf_init(&b, 64 << 20);
    if (fs_read_file(path, 64 << 20, &b, &rig_error)) fail_msg("%s", rig_error.msg);
    for (size_t i = 0; i + 46 < b.len; i++) {
        bool is_central = memcmp(b.data + i, "PK\1\2", 4) == 0;
        if (!is_central && memcmp(b.data + i, "PK\3\4", 4) != 0) continue;
        memcpy(b.data + i + (is_central ? central : local), with, len);
        n++;
    }
    assert_true(n >= 2);
    if (fs_write_atomic(path, b.data, b.len, 0600, &rig_error)) fail_msg("%s", rig_error.msg);
    buf_free(&b);
}

/* Puts another unpacked size wherever the archive declares one. */
static void declare(const char *path, uint32_t size)
{
    patch(path, 22, 24, &size, sizeof size);
}

static void test_zip_bomb_that_declares_little(void **state)
{
    (void)state;
    struct zip_make z;
    const char *path = make_bomb(&z, "bomb.docx");
    declare(path, 100);
    struct extract_doc doc;
    enum err e = rig_run(small, path, &doc);
    assert_true(e == ERR_TOO_LARGE || e == ERR_INVALID); /* libarchive may see the lie first */
}

static void test_a_member_that_declares_a_gigabyte(void **state)
{
    (void)state;
    struct zip_make z;
    const char *path = make_docx(&z, "a.docx", "<w:p><w:r><w:t>x</w:t></w:r></w:p>");
    declare(path, 1 << 30);
    refused((struct extract_params){0}, path, ERR_TOO_LARGE, "it unpacks to more than 512.0 MiB");
}

static void test_archives_in_archives(void **state)
{
    (void)state;
    struct zip_make inner, z;
    struct buf bytes;
    make_bomb(&inner, "inner.docx");
    buf_init(&bytes, 1 << 20);
    if (fs_read_file(inner.path, 1 << 20, &bytes, &rig_error)) fail_msg("%s", rig_error.msg);
    zip_begin(&z, "outer.docx");
    zip_add(&z, "word/document.xml", W_BEGIN "<w:p><w:r><w:t>Fine.</w:t></w:r></w:p>" W_END);
    zip_add_times(&z, "word/embeddings/inner.docx", bytes.data, bytes.len, 1);
    rig_expect(zip_end(&z),
               "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "Fine.");
    zip_begin(&z, "outer.zip");
    zip_add_times(&z, "inner.docx", bytes.data, bytes.len, 1);
    buf_free(&bytes);
    refused(small, zip_end(&z), ERR_MEDIA_TYPE, "it is a ZIP archive and no document");
}

static void test_names_that_lead_outside(void **state)
{
    (void)state;
    static const char *const names[] = {"../../../../tmp/evil", "/etc/cron.d/evil", "a/../../b",
                                        "..\\..\\evil.dll", "C:\\evil"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct zip_make z;
        zip_begin(&z, "a.docx");
        zip_add(&z, "word/document.xml", W_BEGIN W_END);
        zip_add(&z, names[i], "evil");
        refused(small, zip_end(&z), ERR_INVALID, "has a name that leads outside of it");
    }
    struct zip_make z;
    zip_begin(&z, "a.docx");
    zip_add_link(&z, "word/media", "/etc");
    zip_add(&z, "word/document.xml", W_BEGIN W_END);
    refused(small, zip_end(&z), ERR_INVALID, "holds a link or a device");
}

static void test_too_many_members(void **state)
{
    (void)state;
    struct zip_make z;
    char name[32];
    zip_begin(&z, "a.docx");
    zip_add(&z, "word/document.xml", W_BEGIN W_END);
    for (int i = 0; i < 20001; i++) {
        snprintf(name, sizeof name, "%d", i);
        zip_add(&z, name, "");
    }
    refused(small, zip_end(&z), ERR_TOO_LARGE, "more than 20000 members");
}

static void test_members_with_a_password(void **state)
{
    (void)state;
    struct zip_make z;
    const char *path = make_docx(&z, "a.docx", "<w:p><w:r><w:t>x</w:t></w:r></w:p>");
    patch(path, 6, 8, "\1", 1); /* the flag of encryption: APPNOTE.TXT 4.4.4 */
    refused(small, path, ERR_INVALID, "protected by a password");
}

/* Encrypted Office files are OLE containers with a stream of this name. */
static void test_office_with_a_password(void **state)
{
    (void)state;
    char file[4096] = "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
    static const char name[] = "EncryptedPackage";
    refused(small, rig_file("old.doc", file, sizeof file), ERR_MEDIA_TYPE, "old binary kind");
    for (size_t i = 0; i < sizeof name - 1; i++) file[1024 + 2 * i] = name[i];
    refused(small, rig_file("a.docx", file, sizeof file), ERR_INVALID, "protected by a password");
}

/* Cut off at each tenth. */
static void test_truncated(void **state)
{
    (void)state;
    struct zip_make z;
    struct pdf_make p;
    struct buf docx, pdf;
    pdf_begin(&p);
    pdf_text_page(&p, (const char *[]){"A page."}, 1, 12);
    buf_init(&docx, 1 << 20);
    buf_init(&pdf, 1 << 20);
    make_docx(&z, "a.docx", "<w:p><w:r><w:t>Some text.</w:t></w:r></w:p>");
    if (fs_read_file(z.path, 1 << 20, &docx, &rig_error)) fail_msg("%s", rig_error.msg);
    if (fs_read_file(pdf_end(&p, "a.pdf"), 1 << 20, &pdf, &rig_error))
        fail_msg("%s", rig_error.msg);
    for (size_t i = 1; i < 10; i++) {
        refused(small, rig_file("cut.docx", docx.data, docx.len * i / 10), ERR_INVALID,
                "its ZIP container is damaged or cut off");
        struct extract_doc doc; /* readers of PDF rebuild what they can */
        enum err e = rig_run(small, rig_file("cut.pdf", pdf.data, pdf.len * i / 10), &doc);
        assert_true(e == OK || e == ERR_INVALID || e == ERR_UNSUPPORTED);
        extract_doc_free(&doc);
    }
    buf_free(&docx);
    buf_free(&pdf);
}

/* ---- XML and HTML -------------------------------------------------------------------------- */

#define LAUGHS                                                                                     \
    "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"                    \
    "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>"     \
    "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'>]><x>&e;&e;&e;</x>"
#define OUTSIDE(what) "<!DOCTYPE x [<!ENTITY " what ">]><x>&e;</x>"

static void test_entities(void **state)
{
    (void)state;
    static const char *const documents[] = {
        LAUGHS, OUTSIDE("e SYSTEM 'file:///etc/passwd'"), OUTSIDE("% e SYSTEM 'http://127.0.0.1/'"),
        OUTSIDE("e PUBLIC 'x' 'file:///etc/passwd'"), OUTSIDE("e SYSTEM 'x' NDATA y")};
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct zip_make z;
        zip_begin(&z, "a.docx");
        zip_add(&z, "word/document.xml", documents[i]);
        refused(small, zip_end(&z), ERR_INVALID, "its XML declares entities");
        refused(small, rig_text_file("a.xml", documents[i]), ERR_INVALID,
                "its XML declares entities");
    }
}

/* A DTD elsewhere is never fetched; what it would have declared is not known. */
static void test_dtd_elsewhere(void **state)
{
    (void)state;
    rig_expect(rig_text_file("a.xml", "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x>&e;</x>"),
               "application/xml",
               "```xml\n<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x>&e;</x>\n```");
}

static char *repeat(const char *s, size_t times)
{
    size_t len = strlen(s);
    char *all = malloc(len * times + 1);
    for (size_t i = 0; i < times; i++) memcpy(all + i * len, s, len);
    all[len * times] = '\0';
    return all;
}

static void test_depth(void **state)
{
    (void)state;
    struct zip_make z;
    char *tables = repeat("<w:tbl>", 20000), *divs = repeat("<div>", 100000),
         *brackets = repeat("[", 100000), *elements = repeat("<a>", 20000);
    refused(small, make_docx(&z, "a.docx", tables), ERR_INVALID, "nested deeper than 256");
    refused(small, rig_text_file("a.html", divs), ERR_INVALID, "nested deeper than 4000");
    refused(small, rig_text_file("a.json", brackets), ERR_INVALID, "nested deeper than 128");
    refused(small, rig_text_file("a.xml", elements), ERR_INVALID, "nested deeper than 256");
    free(tables);
    free(divs);
    free(brackets);
    free(elements);
}

/* ---- sizes, times, memory ------------------------------------------------------------------ */

static void test_a_file_of_a_gigabyte(void **state)
{
    (void)state;
    char *text = repeat("word ", 20000);
    const char *path = rig_text_file("a.csv", text);
    free(text);
    assert_int_equal(truncate(path, 1LL << 30), 0); /* the rest is a hole */
    refused((struct extract_params){0}, path, ERR_TOO_LARGE, "longer than 64.0 MiB");
}

/* A page that draws a form ten times that draws a form ten times that ... */
static void test_pdf_bomb(void **state)
{
    (void)state;
    struct pdf_make p;
    pdf_begin(&p);
    char dict[200], resources[64] = "/Font<</F1 3 0 R>>";
    int form = pdf_stream(&p,
                          "/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
                          "/Resources<</Font<</F1 3 0 R>>>>",
                          "BT /F1 1 Tf (ha) Tj ET", 22);
    char *draw = repeat("/X Do ", 10);
    for (int i = 0; i < 12; i++) {
        snprintf(dict, sizeof dict,
                 "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>",
                 form);
        form = pdf_stream(&p, dict, draw, strlen(draw));
    }
    snprintf(resources, sizeof resources, "/XObject<</X %d 0 R>>", form);
    pdf_page(&p, pdf_stream(&p, "", draw, strlen(draw)), resources);
    free(draw);
    struct extract_doc doc;
    struct extract_params params = {.seconds = 2, .memory = 256 << 20};
    int64_t before = clock_mono_ms();
    enum err e = rig_run(params, pdf_end(&p, "bomb.pdf"), &doc);
    if (e != ERR_TIMEOUT && e != ERR_TOO_LARGE && e != ERR_INVALID)
        fail_msg("%s: %s", err_name(e), rig_error.msg);
    assert_true(clock_mono_ms() - before < 60000);
}

static void test_memory(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    char *text = repeat("{\"key\": [1, 2, \"three\", null]}\n", 1000000);
    const char *path = rig_text_file("a.txt", text);
    free(text);
    struct extract_params p = {.memory = 96 << 20};
    struct extract_doc doc;
    enum err e = rig_run(p, path, &doc);
    if (e != ERR_TOO_LARGE) fail_msg("%s: %s", err_name(e), rig_error.msg);
    assert_non_null(strstr(rig_error.msg, "takes more memory than the 96.0 MiB"));
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zip_bomb),
        cmocka_unit_test(test_zip_bomb_that_declares_little),
        cmocka_unit_test(test_a_member_that_declares_a_gigabyte),
        cmocka_unit_test(test_archives_in_archives),
        cmocka_unit_test(test_names_that_lead_outside),
        cmocka_unit_test(test_too_many_members),
        cmocka_unit_test(test_members_with_a_password),
        cmocka_unit_test(test_office_with_a_password),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_entities),
        cmocka_unit_test(test_dtd_elsewhere),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_a_file_of_a_gigabyte),
        cmocka_unit_test(test_pdf_bomb),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
