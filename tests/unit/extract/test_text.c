/* Texts: what they are, their charsets, their lines; in the process that reads documents. */
#include "unit/extract/rig.h"

static void expect_type(const char *name, const void *data, size_t len, const char *want)
{
    char type[EXTRACT_TYPE_MAX];
    const char *path = rig_file("detect", data, len);
    if (extract_detect(path, name, type, &rig_error)) fail_msg("%s", rig_error.msg);
    assert_string_equal(type, want);
}

static void expect_text_type(const char *name, const char *text, const char *want)
{
    expect_type(name, text, strlen(text), want);
}

static void test_types_by_content(void **state)
{
    (void)state;
    expect_text_type("a", "", "application/x-empty");
    expect_text_type("a.docx", "%PDF-1.4\n", "application/pdf");
    expect_text_type("letter.txt", "<!DOCTYPE html><p>x", "text/html");
    expect_text_type("a.txt", "  <?xml version='1.0'?><html xmlns='x'/>", "text/html");
    expect_text_type("x", "<?xml version='1.0'?><a/>", "application/xml");
    expect_text_type("x", "From: a@b\nTo: c@d\nSubject: x\n\nhello", "message/rfc822");
    expect_text_type("x", "Subject: of this text is mail\nand more", "text/plain");
    expect_text_type("x", "{\"a\": 1}\n", "application/json");
    expect_text_type("x", "[an example] of a text]", "text/plain");
    expect_text_type("x", "#!/usr/bin/env python3\nprint(1)\n", "text/x-python");
    expect_type("a.pdf", "\x89PNG\r\n\x1A\n----", 12, "image/png");
    expect_type("a.txt", "\x7F\x45LF\2\1\1\0\0\0", 10, "application/x-executable");
    expect_type("a.txt", "ab\0cd\1\2\3", 8, "application/octet-stream");
    expect_type("a.txt", "\xFF\xFEh\0i\0", 6, "text/plain");
}

static void test_types_by_name_among_texts(void **state)
{
    (void)state;
    expect_text_type("a.md", "# x", "text/markdown");
    expect_text_type("A.CSV", "a,b\n1,2\n", "text/csv");
    expect_text_type("a.c", "int x;", "text/x-c");
    expect_text_type("dir/Makefile", "all:\n", "text/x-makefile");
    expect_text_type("a.php", "<!DOCTYPE html><?php", "text/x-php");
    expect_text_type("a.pdf", "just text", "text/plain");
    expect_text_type(NULL, "just text", "text/plain");
    assert_true(extract_can_read("text/x-c"));
    assert_false(extract_can_read("text/x-nothing"));
    assert_false(extract_can_read("image/png"));
}

static void test_plain(void **state)
{
    (void)state;
    rig_expect(
        rig_text_file("a.txt", "one  \r\ntwo\r\n\r\n\r\n\r\nthree\x07 \xC2\xAD\xEF\xBB\xBF!\n\n"),
        "text/plain", "one\ntwo\n\nthree !");
    rig_expect(rig_text_file("a.md", "# T\n\n```\na\n\n\nb\n```\n"), "text/markdown",
               "# T\n\n```\na\n\n\nb\n```");
    rig_expect(rig_text_file("a.py", "\n\ndef f():\n\treturn '```'\n"), "text/x-python",
               "````python\ndef f():\n\treturn '```'\n````");
}

static void test_charsets(void **state)
{
    (void)state;
    static const char cyrillic[] = /* "Съешь же ещё этих мягких французских булок, да выпей чаю" */
        "\xD1\xFA\xE5\xF8\xFC \xE6\xE5 \xE5\xF9\xB8 \xFD\xF2\xE8\xF5 \xEC\xFF\xE3\xEA\xE8\xF5 "
        "\xF4\xF0\xE0\xED\xF6\xF3\xE7\xF1\xEA\xE8\xF5 \xE1\xF3\xEB\xEE\xEA, \xE4\xE0 "
        "\xE2\xFB\xEF\xE5\xE9 \xF7\xE0\xFE";
    rig_expect(rig_text_file("a.txt", cyrillic), "text/plain",
               "Съешь же ещё этих мягких французских булок, да выпей чаю");
    rig_expect(rig_text_file("b.txt", "Gr\xFC\xDF"
                                      "e aus M\xFCnchen, sch\xF6ne Gr\xFC\xDF"
                                      "e \x84Zitat\x93"),
               "text/plain", "Grüße aus München, schöne Grüße „Zitat“");
    rig_expect(rig_file("c.txt", "\xFF\xFEh\0i\0\r\0\n\0\xE4\0", 12), "text/plain", "hi\nä");
    rig_expect(rig_file("d.txt", "\0h\0e\0l\0l\0o\0!\0\n\0\n\0x", 18), "text/plain", "hello!\n\nx");
    rig_expect(rig_text_file("e.txt", "\xEF\xBB\xBFm\xC3\xA4rk"), "text/plain", "märk");
}

static void test_what_is_no_document(void **state)
{
    (void)state;
    rig_refused(rig_text_file("a.txt", ""), ERR_INVALID, "the file is empty");
    rig_refused(rig_text_file("a.txt", " \n \n\n"), ERR_INVALID, "there is no text in it");
    rig_refused(rig_file("report.pdf", "\x89PNG\r\n\x1A\n----", 12), ERR_MEDIA_TYPE,
                "it is an image (PNG), which can't be read as a document");
    rig_refused(rig_file("a.txt", "\1\2\3\0", 4), ERR_MEDIA_TYPE, "a file of an unknown kind");
    rig_refused("/nonexistent/file", ERR_NOT_FOUND, "can't open the file");
    rig_refused(rig_dir, ERR_INVALID, "not a file");
}

static void test_limit_of_text(void **state)
{
    (void)state;
    struct extract_doc doc;
    char *text = malloc(5000);
    memset(text, 'x', 5000);
    const char *path = rig_file("long.txt", text, 5000);
    struct extract_params p = {.output = 4096};
    assert_int_equal(rig_run(p, path, &doc), ERR_TOO_LARGE);
    assert_non_null(strstr(rig_error.msg, "longer than 4.0 KiB"));
    free(text);
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_by_content),
        cmocka_unit_test(test_types_by_name_among_texts),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_charsets),
        cmocka_unit_test(test_what_is_no_document),
        cmocka_unit_test(test_limit_of_text),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
