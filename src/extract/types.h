/* The kinds of documents: media type, what a person calls it, which loader reads it. Plain data.
 * Detection (detect.c), the child (child.c) and the tests read this table. */
#ifndef HEARTH_EXTRACT_TYPES_H
#define HEARTH_EXTRACT_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#define OOXML "application/vnd.openxmlformats-officedocument."
#define ODF   "application/vnd.oasis.opendocument."

/* X(id, media type, what it is called, loader) */
#define EXTRACT_TYPES(X)                                                                           \
    X(PDF, "application/pdf", "a PDF", pdf)                                                        \
    X(DOCX, OOXML "wordprocessingml.document", "a Word document", docx)                            \
    X(PPTX, OOXML "presentationml.presentation", "a PowerPoint presentation", pptx)                \
    X(XLSX, OOXML "spreadsheetml.sheet", "an Excel workbook", xlsx)                                \
    X(ODT, ODF "text", "an OpenDocument text", odf)                                                \
    X(ODS, ODF "spreadsheet", "an OpenDocument spreadsheet", odf)                                  \
    X(ODP, ODF "presentation", "an OpenDocument presentation", odf)                                \
    X(EPUB, "application/epub+zip", "an e-book (EPUB)", epub)                                      \
    X(HTML, "text/html", "a web page", html)                                                       \
    X(EML, "message/rfc822", "an e-mail", eml)                                                     \
    X(CSV, "text/csv", "a table (CSV)", csv)                                                       \
    X(TSV, "text/tab-separated-values", "a table (TSV)", csv)                                      \
    X(JSON, "application/json", "JSON", json)                                                      \
    X(JSON_LINES, "application/x-ndjson", "JSON, one value per line", source)                      \
    X(XML, "application/xml", "XML", xml)                                                          \
    X(MARKDOWN, "text/markdown", "Markdown", markdown)                                             \
    X(PLAIN, "text/plain", "plain text", plain)

enum type_id {
#define X(id, media, what, loader) TYPE_##id,
    EXTRACT_TYPES(X)
#undef X
        TYPE_SOURCE, /* text/x-<language>: languages.c */
    TYPE_UNKNOWN,
};

#define TYPE_SOURCE_PREFIX "text/x-"
#define TYPE_OCTETS        "application/octet-stream"
#define TYPE_EMPTY         "application/x-empty"
#define TYPE_OLE           "application/x-ole-storage" /* old Office files, and encrypted new ones */

/* ---- types.c */
enum type_id type_of_media(const char *media);
const char *type_media(enum type_id id); /* not of TYPE_SOURCE and TYPE_UNKNOWN */
/* "a PDF", "an image (PNG)", "a file of an unknown kind"; also of what can't be read. */
const char *type_what(const char *media);

/* Kinds of text by a file's name. Media type, or NULL when the name says nothing. */
const char *type_of_name(const char *name);
/* By the program that "#!..." names: the rest of that line. */
const char *type_of_program(const char *line, size_t len);
/* "c" of "text/x-c": the word behind a fence. "" for other types. */
const char *type_language(const char *media);

/* Files that begin with a magic number and are no text: media type and name, or NULL. */
const char *type_of_magic(const unsigned char *head, size_t len);

#endif
