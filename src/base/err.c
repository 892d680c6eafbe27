/* Errors: the table's look-ups, messages into the caller's buffer, and the end of the program for
 * broken invariants. Nothing here allocates, so every function works when memory is exhausted. */
#include "base/err.h"

#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static const struct {
    const char *name, *api_code, *meaning;
    int http_status;
} table[ERR_COUNT] = {
#define X(name, status, code, what) {#name, code, what, status},
    ERR_TABLE(X)
#undef X
};

/* Arguments may point into dst (a message that quotes the old one), hence the copy. */
static void HT_PRINTF(3, 0) format_cut(char *dst, size_t size, const char *fmt, va_list ap)
{
    char tmp[ERROR_MSG_MAX];
    ht_assert(size <= sizeof tmp);
    int n = vsnprintf(tmp, size, fmt, ap);
    if (n < 0) tmp[0] = '\0';
    size_t len = strlen(tmp);
    if (n >= 0 && (size_t)n >= size) len -= utf8_incomplete_tail(tmp, len);
    memcpy(dst, tmp, len);
    dst[len] = '\0';
}

enum err err_set(struct error *e, enum err code, const char *fmt, ...)
{
    if (!e) return code;
    va_list ap;
    va_start(ap, fmt);
    format_cut(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    e->code = code;
    e->retry_after_s = 0;
    e->param[0] = '\0';
    return code;
}

enum err err_set_param(struct error *e, enum err code, const char *param, const char *fmt, ...)
{
    if (!e) return code;
    va_list ap;
    va_start(ap, fmt);
    format_cut(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    e->code = code;
    e->retry_after_s = 0;
    if (param != e->param) {
        size_t len = utf8_cut(param, strlen(param), sizeof e->param - 1);
        memmove(e->param, param, len);
        e->param[len] = '\0';
    }
    return code;
}

enum err err_prefix(struct error *e, const char *fmt, ...)
{
    if (!e) return ERR_INTERNAL;
    char head[ERROR_MSG_MAX], old[ERROR_MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    format_cut(head, sizeof head, fmt, ap);
    va_end(ap);
    memcpy(old, e->msg, sizeof old);
    size_t n = strlen(head);
    memcpy(e->msg, head, n + 1);
    size_t room = sizeof e->msg - 1 - n;
    const char *sep = room >= 2 ? ": " : "";
    size_t sep_len = strlen(sep);
    memcpy(e->msg + n, sep, sep_len);
    size_t len = utf8_cut(old, strlen(old), room - sep_len);
    memcpy(e->msg + n + sep_len, old, len);
    e->msg[n + sep_len + len] = '\0';
    return e->code;
}

void err_hide_folder(struct error *e, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    if (!e || len <= 1) return;
    for (char *hit = e->msg; (hit = memmem(hit, strlen(hit), path, len));)
        memmove(hit, hit + len, strlen(hit + len) + 1);
}

static enum err code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT: return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_FORBIDDEN;
    case ENOSPC:
    case EDQUOT: return ERR_DISK_FULL;
    case ENOMEM: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

enum err err_set_errno(struct error *e, int errnum, const char *what)
{
    char text[128];
    const char *s = strerror_r(errnum, text, sizeof text);
    return err_set(e, code_of_errno(errnum), "%s: %s", what, s);
}

static size_t row(enum err code)
{
    ht_assert((unsigned)code < ERR_COUNT);
    return (size_t)code;
}

const char *err_name(enum err code)
{
    return table[row(code)].name;
}

const char *err_api_code(enum err code)
{
    return table[row(code)].api_code;
}

const char *err_meaning(enum err code)
{
    return table[row(code)].meaning;
}

enum err err_of_api_code(const char *word)
{
    for (int i = 0; word && i < ERR_COUNT; i++)
        if (str_eq(table[i].api_code, word)) return (enum err)i;
    return ERR_INTERNAL;
}

int err_http_status(enum err code)
{
    return table[row(code)].http_status;
}

void ht_bug_at(const char *file, int line, const char *expr)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "hearth: bug at %s:%d: %s\nPlease report this with the lines below.\n", file,
                     line, expr);
    if (n > 0) {
        size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        ssize_t ignored = write(STDERR_FILENO, text, len);
        (void)ignored;
    }
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    abort();
}
