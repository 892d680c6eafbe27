/* Makes ZIP archives for tests, with libarchive. Header-only. */
#ifndef HEARTH_TESTS_EXTRACT_ZIP_MAKE_H
#define HEARTH_TESTS_EXTRACT_ZIP_MAKE_H

#include <archive.h>
#include <archive_entry.h>

#include "unit/extract/rig.h"

struct zip_make {
    struct archive *a;
    char path[200];
};

static inline void zip_begin(struct zip_make *z, const char *name)
{
    str_printf(z->path, sizeof z->path, "%s/%s", rig_dir, name);
    z->a = archive_write_new();
    assert_int_equal(archive_write_set_format_zip(z->a), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(z->a, z->path), ARCHIVE_OK);
}

/* Data that is repeated `times` times; a size of -1 is left open in the header. */
static inline void zip_add_times(struct zip_make *z, const char *name, const void *data, size_t len,
                                 size_t times)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, (int64_t)(len * times));
    assert_int_equal(archive_write_header(z->a, e), ARCHIVE_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(archive_write_data(z->a, data, len), (la_ssize_t)len);
    archive_entry_free(e);
}

static inline void zip_add(struct zip_make *z, const char *name, const char *text)
{
    zip_add_times(z, name, text, strlen(text), 1);
}

/* Not compressed, as EPUB and OpenDocument want their first member. */
static inline void zip_store(struct zip_make *z, const char *name, const char *text)
{
    assert_int_equal(archive_write_zip_set_compression_store(z->a), ARCHIVE_OK);
    zip_add(z, name, text);
    assert_int_equal(archive_write_zip_set_compression_deflate(z->a), ARCHIVE_OK);
}

static inline void zip_add_link(struct zip_make *z, const char *name, const char *target)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFLNK);
    archive_entry_set_perm(e, 0777);
    archive_entry_set_symlink(e, target);
    assert_int_equal(archive_write_header(z->a, e), ARCHIVE_OK);
    archive_entry_free(e);
}

static inline const char *zip_end(struct zip_make *z)
{
    assert_int_equal(archive_write_close(z->a), ARCHIVE_OK);
    archive_write_free(z->a);
    return z->path;
}

#define W_BEGIN                                                                                    \
    "<?xml version='1.0'?><w:document xmlns:w="                                                    \
    "'http://schemas.openxmlformats.org/wordprocessingml/2006/main' xmlns:mc="                     \
    "'http://schemas.openxmlformats.org/markup-compatibility/2006'><w:body>"
#define W_END "</w:body></w:document>"

/* A Word document of this body. */
static inline const char *make_docx(struct zip_make *z, const char *name, const char *body)
{
    char *document = malloc(strlen(body) + 1024);
    sprintf(document, "%s%s%s", W_BEGIN, body, W_END);
    zip_begin(z, name);
    zip_add(z, "[Content_Types].xml", "<Types/>");
    zip_add(z, "word/document.xml", document);
    free(document);
    return zip_end(z);
}

#endif
