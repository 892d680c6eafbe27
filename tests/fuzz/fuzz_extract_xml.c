/* Fuzz target: the XML of archives. The first byte says which format; the members are made of the
 * rest, cut at each zero byte, in the order that the table names them. Stored, not compressed. */
#include <archive.h>
#include <archive_entry.h>

#include "extract/types.h"
#include "fuzz/extract_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS_MAX = 6 };

static const struct {
    enum type_id id;
    const char *members[MEMBERS_MAX];
} formats[] = {
    {TYPE_XML, {NULL}},
    {TYPE_DOCX, {"word/document.xml", "word/styles.xml", "word/footnotes.xml"}},
    {TYPE_PPTX,
     {"ppt/presentation.xml", "ppt/_rels/presentation.xml.rels", "ppt/slides/slide1.xml",
      "ppt/slides/_rels/slide1.xml.rels", "ppt/notesSlides/notesSlide1.xml"}},
    {TYPE_XLSX,
     {"xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml",
      "xl/sharedStrings.xml", "xl/styles.xml"}},
    {TYPE_ODT, {"content.xml", "meta.xml"}},
    {TYPE_ODS, {"content.xml", "META-INF/manifest.xml"}},
    {TYPE_EPUB, {"META-INF/container.xml", "a.opf", "a.xhtml", "META-INF/encryption.xml"}},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static void add(struct archive *a, const char *name, const uint8_t *data, size_t size)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_size(e, (int64_t)size);
    ht_assert(archive_write_header(a, e) == ARCHIVE_OK);
    ht_assert(archive_write_data(a, data, size) == (la_ssize_t)size);
    archive_entry_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > FUZZ_INPUT_MAX) return 0;
    size_t format = data[0] % FORMATS;
    const char *type = type_media(formats[format].id);
    data++, size--;
    if (!formats[format].members[0]) {
        fuzz_load(data, size, type);
        return 0;
    }
    int fd = fuzz_file("", 0);
    struct archive *a = archive_write_new();
    ht_assert(archive_write_set_format_zip(a) == ARCHIVE_OK);
    ht_assert(archive_write_zip_set_compression_store(a) == ARCHIVE_OK);
    ht_assert(archive_write_open_fd(a, fd) == ARCHIVE_OK);
    for (size_t i = 0; i < MEMBERS_MAX && formats[format].members[i]; i++) {
        const uint8_t *end = memchr(data, 0, size);
        size_t len = end ? (size_t)(end - data) : size;
        add(a, formats[format].members[i], data, len);
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    archive_write_close(a);
    archive_write_free(a);
    fuzz_load_fd(fd, (size_t)lseek(fd, 0, SEEK_END), type);
    close(fd);
    return 0;
}
