/* Web pages, e-books, mails, tables and data as text. */
#include "unit/extract/zip_make.h"

static void test_html(void **state)
{
    (void)state;
    rig_expect(
        rig_text_file(
            "a.html",
            "<!doctype html><html><head><title>T &amp; t</title><style>p{}</style></head><body>"
            "<nav><a>Home</a></nav><h2>Head<br>ing</h2><p>One <b>bold</b>\n word.<p>Two&nbsp;"
            "<script>alert(1)</script>x<div hidden>no</div><span style='Display : none'>no</span>"
            "<ul><li>a<li>b<ul><li>c</ul></ul><pre>  x\n   y</pre>"
            "<table><tr><th>h1<th>h2<tr><td>1<td>2 | 3</table>"
            "<table><tr><td>layout</td></tr></table><p>&euro; &lt;end&gt;"),
        "text/html",
        "## Head\ning\n\nOne bold word.\n\nTwo x\n\n- a\n- b\n  - c\n\n```\n  x\n   y\n```\n\n"
        "| h1 | h2 |\n| --- | --- |\n| 1 | 2 \\| 3 |\n\nlayout\n\n€ <end>");
}

static void test_html_title_and_charset(void **state)
{
    (void)state;
    struct extract_doc doc;
    const char *path = rig_text_file("a.html", "<html><meta charset='iso-8859-2'><title> a \n"
                                               "title</title><body>P\xF8\xEDli\xB9 \xBElu\xBBou");
    if (rig_run((struct extract_params){0}, path, &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.title, "a title");
    assert_string_equal(doc.text, "Příliš žluťou");
    extract_doc_free(&doc);
}

static void test_epub(void **state)
{
    (void)state;
    struct zip_make z;
    zip_begin(&z, "a.epub");
    zip_store(&z, "mimetype", "application/epub+zip");
    zip_add(&z, "META-INF/container.xml",
            "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
            "<rootfile full-path='OEBPS/book.opf'/></rootfiles></container>");
    zip_add(&z, "OEBPS/book.opf",
            "<package xmlns='http://www.idpf.org/2007/opf' "
            "xmlns:dc='http://purl.org/dc/elements/1.1/'><metadata><dc:title>The Book</dc:title>"
            "</metadata><manifest>"
            "<item id='c1' href='text/one%20a.xhtml' media-type='application/xhtml+xml'/>"
            "<item id='c2' href='text/two.xhtml#x' media-type='application/xhtml+xml'/>"
            "<item id='css' href='a.css' media-type='text/css'/>"
            "<item id='evil' href='../../etc/passwd' media-type='application/xhtml+xml'/>"
            "</manifest><spine><itemref idref='c2'/><itemref idref='css'/><itemref idref='evil'/>"
            "<itemref idref='c1'/></spine></package>");
    zip_add(&z, "OEBPS/text/one a.xhtml", "<html><body><h1>One</h1><p>x&nbsp;y</p></body></html>");
    zip_add(&z, "OEBPS/text/two.xhtml", "<html><body><h1>Two</h1><p>z</p></body></html>");
    struct extract_doc doc;
    if (rig_run((struct extract_params){0}, zip_end(&z), &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, "application/epub+zip");
    assert_string_equal(doc.title, "The Book");
    assert_string_equal(doc.text, "# Two\n\nz\n\n# One\n\nx y");
    extract_doc_free(&doc);
}

static void test_mail(void **state)
{
    (void)state;
    static const char mail[] =
        "Return-Path: <a@example.org>\r\nFrom: =?utf-8?Q?J=C3=BCrgen?= =?utf-8?B?IE0=?= "
        "<a@example.org>\r\nTo: b@example.org\r\nSubject: A long\r\n subject\r\n"
        "Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=\"=_x y\"\r\n\r\npreamble\r\n--=_x y\r\n"
        "Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n"
        "Content-Type: text/plain; charset=iso-8859-15\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe, 5 =A4 "
        "=\r\nsofort.\r\n--in\r\n"
        "Content-Type: text/html\r\n\r\n<p>HTML</p>\r\n--in--\r\n--=_x y\r\n"
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        "PHA+SMOkPC9w\r\nPg==\r\n--=_x y\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@d\r\n"
        "Subject: Inner\r\n\r\nInner text.\r\n--=_x y\r\n"
        "Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n"
        " filename*0*=utf-8''B%C3%A4r; filename*1=.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        "AAAA\r\n--=_x y--\r\nepilogue";
    struct extract_doc doc;
    if (rig_run((struct extract_params){0}, rig_text_file("a.eml", mail), &doc))
        fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, "message/rfc822");
    assert_string_equal(doc.title, "A long subject");
    assert_string_equal(doc.text,
                        "# A long subject\n\nFrom: Jürgen M <a@example.org>\nTo: b@example.org\n"
                        "Date: Fri, 20 Nov 2026 10:00:00 +0000\n\nGrüße, 5 € sofort.\n\nHä\n\n"
                        "## Inner\n\nFrom: c@d\n\nInner text.\n\n"
                        "Attachment: Bär.pdf (application/pdf, 3 B)");
    extract_doc_free(&doc);
}

static void test_mail_that_is_encrypted(void **state)
{
    (void)state;
    rig_refused(rig_text_file("a.eml", "From: a@b\nTo: c@d\nSubject: x\nContent-Type: "
                                       "multipart/encrypted; boundary=x\n\n--x\n\nsecret\n--x--\n"),
                ERR_INVALID, "the mail is encrypted");
}

static void test_mail_with_endless_nesting(void **state)
{
    (void)state;
    struct buf mail;
    buf_init(&mail, 1 << 20);
    buf_puts(&mail, "From: a@b\nTo: c@d\nSubject: deep\n");
    for (int i = 0; i < 200; i++)
        buf_printf(&mail, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
    rig_refused(rig_file("a.eml", mail.data, mail.len), ERR_INVALID, "nested deeper than 16");
    buf_clear(&mail);
    buf_puts(&mail, "From: a@b\nTo: c@d\nContent-Type: multipart/mixed; boundary=b\n\n");
    for (int i = 0; i < 3000; i++) buf_puts(&mail, "--b\n\nx\n");
    rig_refused(rig_file("a.eml", mail.data, mail.len), ERR_TOO_LARGE, "more than 1000 parts");
    buf_free(&mail);
}

static void test_csv(void **state)
{
    (void)state;
    rig_expect(
        rig_text_file("a.csv", "name;\"price; EUR\";\r\n\"Bo\"\"b\";1,5;\n\n\"two\nlines\";2"),
        "text/csv",
        "| name | price; EUR | |\n| --- | --- | --- |\n| Bo\"b | 1,5 | |\n"
        "| two lines | 2 |");
    rig_expect(rig_text_file("a.tsv", "a\tb\n1,2\t3"), "text/tab-separated-values",
               "| a | b |\n| --- | --- |\n| 1,2 | 3 |");
    rig_expect(rig_text_file("a.csv", "\"open quote, no end\n1,2"), "text/csv",
               "| open quote, no end 1,2 |\n| --- |");
}

static void test_json_and_xml(void **state)
{
    (void)state;
    rig_expect(rig_text_file("a.json", "{\"b\":[1,{\"a\":\"\xC3\xA4\"}]}"), "application/json",
               "```json\n{\n  \"b\": [\n    1,\n    {\n      \"a\": \"ä\"\n    }\n  ]\n}\n```");
    rig_expect(rig_text_file("a.json", "{not json}"), "application/json",
               "```json\n{not json}\n```");
    rig_expect(rig_text_file("a.jsonl", "{}\n{}\n"), "application/x-ndjson",
               "```json\n{}\n{}\n```");
    rig_expect(rig_text_file("a.xml", "<?xml version='1.0'?>\n<a>&unknown; <b></a>"),
               "application/xml", "```xml\n<?xml version='1.0'?>\n<a>&unknown; <b></a>\n```");
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_html),
        cmocka_unit_test(test_html_title_and_charset),
        cmocka_unit_test(test_epub),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_mail_that_is_encrypted),
        cmocka_unit_test(test_mail_with_endless_nesting),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_json_and_xml),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
