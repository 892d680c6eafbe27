/* For fuzz targets of documents: bytes through a loader, in this process and from memory, and what
 * must hold for whatever comes out. Header-only. */
#ifndef HEARTH_TESTS_EXTRACT_LOAD_H
#define HEARTH_TESTS_EXTRACT_LOAD_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/xml.h"

enum { FUZZ_OUTPUT = 1 << 20, FUZZ_INPUT_MAX = 256 << 10 };

static inline void fuzz_check(const struct extract_doc *doc)
{
    ht_assert(doc->len <= FUZZ_OUTPUT && strlen(doc->text) == doc->len);
    ht_assert(utf8_valid(doc->text, doc->len));
    for (size_t i = 0; i < doc->len; i++) {
        unsigned char c = (unsigned char)doc->text[i];
        ht_assert((c >= 0x20 || c == '\n' || c == '\t') && c != 0x7F);
    }
    if (doc->title) ht_assert(utf8_valid(doc->title, strlen(doc->title)));
    for (size_t i = 0; i < doc->n_pages; i++) {
        ht_assert(doc->pages[i].start <= doc->len);
        if (i) ht_assert(doc->pages[i].start >= doc->pages[i - 1].start);
        if (i) ht_assert(doc->pages[i].number > doc->pages[i - 1].number);
    }
}

/* A descriptor of these bytes. */
static inline int fuzz_file(const void *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    ht_assert(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    return fd;
}

static inline void fuzz_load_fd(int fd, size_t size, const char *type)
{
    static bool ready;
    if (!ready) xml_init();
    ready = true;
    struct prose out;
    struct error error = {0};
    struct extract_doc doc;
    prose_init(&out, FUZZ_OUTPUT);
    struct load l = {.fd = fd,
                     .size = size,
                     .name = "fuzz",
                     .type = type,
                     .output = FUZZ_OUTPUT,
                     .memory = 1 << 30,
                     .out = &out};
    enum err e = load_document(&l, &error);
    if (e) {
        ht_assert(error.code == e && error.msg[0] && utf8_valid(error.msg, strlen(error.msg)));
    } else {
        prose_take(&out, &doc);
        fuzz_check(&doc);
        extract_doc_free(&doc);
    }
    prose_free(&out);
}

static inline void fuzz_load(const void *data, size_t size, const char *type)
{
    int fd = fuzz_file(data, size);
    fuzz_load_fd(fd, size, type);
    close(fd);
}

#endif
