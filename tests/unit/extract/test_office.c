/* Office documents, made here as small as they can be: what of them is read, and in which order. */
#include "unit/extract/zip_make.h"

#define DOCX "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
#define PPTX "application/vnd.openxmlformats-officedocument.presentationml.presentation"
#define XLSX "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#define ODF  "application/vnd.oasis.opendocument."

#define P(text) "<w:p><w:r><w:t>" text "</w:t></w:r></w:p>"

static void test_word(void **state)
{
    (void)state;
    struct zip_make z;
    zip_begin(&z, "a.docx");
    zip_add(&z, "[Content_Types].xml", "<Types/>");
    zip_add(&z, "docProps/core.xml",
            "<c:coreProperties xmlns:c='x' xmlns:dc='http://purl.org/dc/elements/1.1/'>"
            "<dc:title>Salt &amp; water</dc:title></c:coreProperties>");
    zip_add(&z, "word/styles.xml",
            "<w:styles xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'>"
            "<w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style>"
            "<w:style w:styleId='Mine'><w:basedOn w:val='berschrift2'/></w:style></w:styles>");
    zip_add(&z, "word/footnotes.xml",
            "<w:footnotes xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'>"
            "<w:footnote w:type='separator' w:id='0'>" P(
                "---") "</w:footnote>"
                       "<w:footnote w:id='1'>" P("A note.") "</w:footnote></w:footnotes>");
    zip_add(&z, "word/document.xml",
            W_BEGIN
            "<w:p><w:pPr><w:pStyle w:val='Mine'/></w:pPr><w:r><w:t>On </w:t></w:r>"
            "<w:r><w:t>salt</w:t></w:r></w:p>" P(
                "First  paragraph.") "<w:p><w:r><w:t>Kept, "
                                     "</w:t></"
                                     "w:r><w:del><w:r><w:delText>"
                                     "gone</w:delText>"
                                     "<w:t>gone</w:t></w:r></"
                                     "w:del><w:r><w:instrText>"
                                     "PAGE</w:instrText>"
                                     "<w:t>too</w:t><w:br/"
                                     "><w:t>line</w:t></w:r></w:p>"
                                     "<w:p><w:pPr><w:numPr><w:"
                                     "ilvl "
                                     "w:val='0'/></w:numPr></"
                                     "w:pPr><w:r><w:t>one</w:t>"
                                     "</w:r></"
                                     "w:p><w:p><w:pPr><w:numPr><w:"
                                     "ilvl "
                                     "w:val='1'/></w:numPr></"
                                     "w:pPr><w:r>"
                                     "<w:t>two</w:t></w:r></"
                                     "w:p>" P("After the list.") "<w:tbl><w:tr><w:tc>" P(
                                         "a") "</w:tc><w:tc>" P("b|c") "</w:tc></w:tr>"
                                                                       "<w:tr><w:tc>" P("1")
                                                                           P("2") "</"
                                                                                  "w:tc><"
                                                                                  "w:tc><"
                                                                                  "w:p/"
                                                                                  "></"
                                                                                  "w:tc><"
                                                                                  "/w:tr>"
                                                                                  "</"
                                                                                  "w:tbl>"
                                                                                  "<w:p><"
                                                                                  "w:r><"
                                                                                  "w:"
                                                                                  "lastRe"
                                                                                  "ndered"
                                                                                  "PageBr"
                                                                                  "eak/"
                                                                                  "><w:t>"
                                                                                  "Second"
                                                                                  " page."
                                                                                  "</"
                                                                                  "w:t></"
                                                                                  "w:r>"
                                                                                  "<mc:"
                                                                                  "Altern"
                                                                                  "ateCon"
                                                                                  "tent><"
                                                                                  "mc:"
                                                                                  "Choice"
                                                                                  "><w:r>"
                                                                                  "<w:t> "
                                                                                  "Box</"
                                                                                  "w:t></"
                                                                                  "w:r></"
                                                                                  "mc:"
                                                                                  "Choice"
                                                                                  ">"
                                                                                  "<mc:"
                                                                                  "Fallba"
                                                                                  "ck><w:"
                                                                                  "r><w:"
                                                                                  "t>Box<"
                                                                                  "/w:t><"
                                                                                  "/w:r><"
                                                                                  "/mc:"
                                                                                  "Fallba"
                                                                                  "ck></"
                                                                                  "mc:"
                                                                                  "Altern"
                                                                                  "ateCon"
                                                                                  "tent>"
                                                                                  "</"
                                                                                  "w:"
                                                                                  "p"
                                                                                  ">" W_END);
    struct extract_doc doc;
    if (rig_run((struct extract_params){0}, zip_end(&z), &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, DOCX);
    assert_string_equal(doc.title, "Salt & water");
    assert_string_equal(doc.text,
                        "## On salt\n\nFirst paragraph.\n\nKept, too\nline\n\n- one\n  - two\n\n"
                        "After the list.\n\n| a | b\\|c |\n| --- | --- |\n| 1 2 |\n\n"
                        "Second page. Box\n\nA note.");
    assert_int_equal(doc.n_pages, 2);
    assert_int_equal(doc.pages[1].number, 2);
    assert_memory_equal(doc.text + doc.pages[1].start, "Second", 6);
    assert_int_equal(extract_page_at(&doc, doc.pages[1].start - 1), 1);
    assert_int_equal(extract_page_at(&doc, doc.pages[1].start), 2);
    extract_doc_free(&doc);
}

#define P_NS                                                                                       \
    "xmlns:a='http://schemas.openxmlformats.org/drawingml/2006/main' "                             \
    "xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main' "                        \
    "xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'"
#define RELS(items)                                                                                \
    "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>" items   \
    "</Relationships>"
#define SHAPE(type, text)                                                                          \
    "<p:sp><p:nvSpPr><p:nvPr><p:ph type='" type                                                    \
    "'/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>" text "</a:t></a:r></a:p></p:txBody></p:sp>"

static void test_powerpoint(void **state)
{
    (void)state;
    struct zip_make z;
    zip_begin(&z, "a.pptx");
    zip_add(&z, "ppt/presentation.xml",
            "<p:presentation " P_NS "><p:sldIdLst><p:sldId id='256' r:id='rId9'/>"
            "<p:sldId id='257' r:id='rId8'/></p:sldIdLst></p:presentation>");
    zip_add(&z, "ppt/_rels/presentation.xml.rels",
            RELS("<Relationship Id='rId8' Type='x/slide' Target='slides/slide1.xml'/>"
                 "<Relationship Id='rId9' Type='x/slide' Target='/ppt/slides/slide2.xml'/>"));
    zip_add(&z, "ppt/slides/slide1.xml",
            "<p:sld " P_NS ">" SHAPE("title", "Last") SHAPE("sldNum", "2")
                SHAPE("body", "End.") "</p:sld>");
    zip_add(&z, "ppt/slides/slide2.xml",
            "<p:sld " P_NS ">" SHAPE("ctrTitle", "First") SHAPE("body", "Text.") "</p:sld>");
    zip_add(&z, "ppt/slides/_rels/slide2.xml.rels",
            RELS("<Relationship Id='r1' Type='x/notesSlide' Target='../notesSlides/notes1.xml'/>"));
    zip_add(&z, "ppt/notesSlides/notes1.xml",
            "<p:notes " P_NS ">" SHAPE("sldImg", "x") SHAPE("body", "Say it slowly.") "</p:notes>");
    struct extract_doc doc;
    if (rig_run((struct extract_params){0}, zip_end(&z), &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, PPTX);
    assert_string_equal(doc.text, "# First\n\nText.\n\nSay it slowly.\n\n# Last\n\nEnd.");
    assert_int_equal(doc.n_pages, 2);
    assert_memory_equal(doc.text + doc.pages[1].start, "# Last", 6);
    extract_doc_free(&doc);
}

#define S_NS                                                                                       \
    "xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main' "                           \
    "xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'"

static void test_excel(void **state)
{
    (void)state;
    struct zip_make z;
    zip_begin(&z, "a.xlsx");
    zip_add(&z, "xl/workbook.xml",
            "<workbook " S_NS "><sheets><sheet name='Prices' sheetId='1' r:id='r1'/>"
            "<sheet name='Empty' sheetId='2' r:id='r2'/><sheet name='More' sheetId='3' r:id='r3'/>"
            "</sheets></workbook>");
    zip_add(&z, "xl/_rels/workbook.xml.rels",
            RELS("<Relationship Id='r1' Type='x/worksheet' Target='worksheets/sheet1.xml'/>"
                 "<Relationship Id='r2' Type='x/worksheet' Target='worksheets/sheet2.xml'/>"
                 "<Relationship Id='r3' Type='x/worksheet' Target='worksheets/sheet3.xml'/>"));
    zip_add(&z, "xl/styles.xml",
            "<styleSheet " S_NS "><numFmts><numFmt numFmtId='164' formatCode='dd\\.mm\\.yyyy "
            "hh:mm'/></numFmts><cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164'/>"
            "</cellXfs></styleSheet>");
    zip_add(&z, "xl/sharedStrings.xml",
            "<sst " S_NS "><si><t>Day</t></si><si><r><t>Pri</t></r><r><t>ce</t></r>"
            "<rPh><t>x</t></rPh></si></sst>");
    zip_add(&z, "xl/worksheets/sheet1.xml",
            "<worksheet " S_NS "><dimension ref='A1:XFD1048576'/><sheetData>"
            "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='s'><v>1</v></c>"
            "<c r='D1' t='inlineStr'><is><t>Paid</t></is></c></row>"
            "<row r='2'><c r='A2' s='1'><v>45292</v></c><c r='B2'><v>0.30000000000000004</v></c>"
            "<c r='D2' t='b'><v>1</v></c></row>"
            "<row r='3'><c r='A3' s='2'><v>45292.75</v></c><c r='B3' t='s'><v>99</v></c></row>"
            "</sheetData></worksheet>");
    zip_add(&z, "xl/worksheets/sheet2.xml", "<worksheet " S_NS "><sheetData/></worksheet>");
    zip_add(&z, "xl/worksheets/sheet3.xml",
            "<worksheet " S_NS "><sheetData><row><c><v>7</v></c><c r='XFD1'><v>8</v></c></row>"
            "</sheetData></worksheet>");
    struct extract_doc doc;
    if (rig_run((struct extract_params){0}, zip_end(&z), &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.type, XLSX);
    assert_string_equal(doc.text,
                        "# Prices\n\n| Day | Price | | Paid |\n| --- | --- | --- | --- |\n"
                        "| 2024-01-01 | 0.3 | | TRUE |\n| 2024-01-01 18:00:00 | |\n\n"
                        "# Empty\n\n# More\n\n| 7 | 8 |\n| --- | --- |");
    assert_int_equal(doc.n_pages, 3);
    assert_int_equal(doc.pages[2].number, 3);
    extract_doc_free(&doc);
}

#define ODF_NS                                                                                     \
    "xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0' "                             \
    "xmlns:text='urn:oasis:names:tc:opendocument:xmlns:text:1.0' "                                 \
    "xmlns:table='urn:oasis:names:tc:opendocument:xmlns:table:1.0' "                               \
    "xmlns:draw='urn:oasis:names:tc:opendocument:xmlns:drawing:1.0' "                              \
    "xmlns:presentation='urn:oasis:names:tc:opendocument:xmlns:presentation:1.0'"

static const char *make_odf(const char *name, const char *type, const char *body)
{
    static struct zip_make z;
    char content[8192];
    snprintf(content, sizeof content,
             "<office:document-content " ODF_NS "><office:body>%s</office:body>"
             "</office:document-content>",
             body);
    zip_begin(&z, name);
    zip_store(&z, "mimetype", type);
    zip_add(&z, "content.xml", content);
    return zip_end(&z);
}

static void test_opendocument_text(void **state)
{
    (void)state;
    rig_expect(
        make_odf("a.odt", ODF "text",
                 "<office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
                 "<text:h text:outline-level='2'>Head</text:h>"
                 "<text:p>One<text:s text:c='3'/>two<text:note><text:note-citation>1"
                 "</text:note-citation><text:note-body><text:p>a note</text:p></text:note-body>"
                 "</text:note>, three.</text:p>"
                 "<text:list><text:list-item><text:p>x</text:p><text:list><text:list-item>"
                 "<text:p>y</text:p></text:list-item></text:list></text:list-item></text:list>"
                 "<text:p>End.</text:p></office:text>"),
        ODF "text", "## Head\n\nOne two (a note), three.\n\n- x\n  - y\n\nEnd.");
}

static void test_opendocument_sheets(void **state)
{
    (void)state;
    struct extract_doc doc;
    const char *path =
        make_odf("a.ods", ODF "spreadsheet",
                 "<office:spreadsheet><table:table table:name='S1'><table:table-row>"
                 "<table:table-cell><text:p>a</text:p></table:table-cell>"
                 "<table:table-cell table:number-columns-repeated='2'/>"
                 "<table:table-cell><text:p>b</text:p></table:table-cell>"
                 "<table:table-cell table:number-columns-repeated='16000'/></table:table-row>"
                 "<table:table-row table:number-rows-repeated='1048575'><table:table-cell/>"
                 "</table:table-row></table:table><table:table table:name='S2'><table:table-row>"
                 "<table:table-cell><text:p>c</text:p></table:table-cell></table:table-row>"
                 "</table:table></office:spreadsheet>");
    if (rig_run((struct extract_params){0}, path, &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.text, "# S1\n\n| a | | | b |\n| --- | --- | --- | --- |\n\n"
                                  "# S2\n\n| c |\n| --- |");
    assert_int_equal(doc.n_pages, 2);
    extract_doc_free(&doc);
}

static void test_opendocument_slides(void **state)
{
    (void)state;
    struct extract_doc doc;
    const char *path = make_odf(
        "a.odp", ODF "presentation",
        "<office:presentation><draw:page><draw:frame presentation:class='title'><draw:text-box>"
        "<text:p>One</text:p></draw:text-box></draw:frame><draw:frame><draw:text-box>"
        "<text:p>Body</text:p></draw:text-box></draw:frame></draw:page><draw:page><draw:frame>"
        "<draw:text-box><text:p>Two</text:p></draw:text-box></draw:frame></draw:page>"
        "</office:presentation>");
    if (rig_run((struct extract_params){0}, path, &doc)) fail_msg("%s", rig_error.msg);
    assert_string_equal(doc.text, "# One\n\nBody\n\nTwo");
    assert_int_equal(doc.n_pages, 2);
    assert_memory_equal(doc.text + doc.pages[1].start, "Two", 3);
    extract_doc_free(&doc);
}

static void test_encrypted_opendocument(void **state)
{
    (void)state;
    struct zip_make z;
    zip_begin(&z, "locked.odt");
    zip_store(&z, "mimetype", ODF "text");
    zip_add(&z, "META-INF/manifest.xml",
            "<m:manifest xmlns:m='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'>"
            "<m:file-entry m:full-path='content.xml'><m:encryption-data/></m:file-entry>"
            "</m:manifest>");
    zip_add(&z, "content.xml", "\x8B\x12\x99 no XML");
    rig_refused(zip_end(&z), ERR_INVALID, "protected by a password");
}

static void test_damaged_documents(void **state)
{
    (void)state;
    struct zip_make z;
    rig_refused(make_docx(&z, "a.docx", "<w:p>"), ERR_INVALID, "its XML is damaged");
    zip_begin(&z, "a.xlsx");
    zip_add(&z, "xl/workbook.xml", "no");
    rig_refused(zip_end(&z), ERR_INVALID, "its XML is damaged");
    zip_begin(&z, "a.docx");
    zip_add(&z, "word/document.xml.bak", "x");
    zip_add(&z, "a.txt", "x");
    rig_refused(zip_end(&z), ERR_MEDIA_TYPE, "it is a ZIP archive and no document");
    rig_refused(make_docx(&z, "a.docx", "<w:p/>"), ERR_INVALID, "there is no text in it");
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word),
        cmocka_unit_test(test_powerpoint),
        cmocka_unit_test(test_excel),
        cmocka_unit_test(test_opendocument_text),
        cmocka_unit_test(test_opendocument_sheets),
        cmocka_unit_test(test_opendocument_slides),
        cmocka_unit_test(test_encrypted_opendocument),
        cmocka_unit_test(test_damaged_documents),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
