/* For tests of documents: a folder for files, and reading them as the hub does, in a process of
 * their own, which is this test program again (main calls rig_main first). Header-only. */
#ifndef HEARTH_TESTS_EXTRACT_RIG_H
#define HEARTH_TESTS_EXTRACT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "extract/extract.h"

static char rig_dir[64];
static struct error rig_error;

static inline int rig_setup(void **state)
{
    (void)state;
    str_copy(rig_dir, sizeof rig_dir, "/tmp/hearth-extract-XXXXXX");
    return mkdtemp(rig_dir) ? 0 : -1;
}

static inline int rig_teardown(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", rig_dir);
    return system(command);
}

/* A file of the test's folder; the path is good until the next call. */
static inline const char *rig_file(const char *name, const void *data, size_t len)
{
    static char path[200];
    struct error e;
    str_printf(path, sizeof path, "%s/%s", rig_dir, name);
    if (fs_write_atomic(path, data, len, 0600, &e)) fail_msg("%s", e.msg);
    return path;
}

static inline const char *rig_text_file(const char *name, const char *text)
{
    return rig_file(name, text, strlen(text));
}

/* Reads the file with these limits (zero: as usual). */
static inline enum err rig_run(struct extract_params p, const char *path, struct extract_doc *doc)
{
    p.path = path;
    memset(&rig_error, 0, sizeof rig_error);
    enum err e = extract_run(&p, NULL, NULL, doc, &rig_error);
    if (e) assert_int_equal(rig_error.code, e);
    return e;
}

/* It can be read, and this is all that it says. */
static inline void rig_expect(const char *path, const char *type, const char *text)
{
    struct extract_doc doc;
    enum err e = rig_run((struct extract_params){0}, path, &doc);
    if (e) fail_msg("%s: %s", path, rig_error.msg);
    assert_string_equal(doc.type, type);
    assert_string_equal(doc.text, text);
    assert_int_equal(doc.len, strlen(text));
    extract_doc_free(&doc);
}

/* It can't be read, for this reason. */
static inline void rig_refused(const char *path, enum err e, const char *why)
{
    struct extract_doc doc;
    enum err got = rig_run((struct extract_params){0}, path, &doc);
    if (!got) fail_msg("it was read: %.300s", doc.text);
    assert_string_equal(err_name(got), err_name(e));
    if (!strstr(rig_error.msg, why)) fail_msg("it said: %s", rig_error.msg);
}

#endif
