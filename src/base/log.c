/* Log: each line is built on the stack and written with one write(2), so lines of several threads
 * never mix and logging works without memory. Lines are at most LINE_MAX_BYTES, which is PIPE_BUF:
 * up to that size writes to a pipe are atomic too.
 *
 * The sink is set once, before threads exist (log_open), and only read afterwards; what file is
 * under its descriptor may change (log_file.h). */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log_file.h"
#include "base/str.h"

enum { LINE_MAX_BYTES = 4096, MESSAGE_MAX_BYTES = 3072 };

static struct {
    atomic_int level;
    int fd;
    bool json, to_file;
} sink = {LOG_INFO, STDERR_FILENO, false, false};

static const char *const area_names[LOG_AREA_COUNT] = {
#define X(name, what) #name,
    LOG_AREAS(X)
#undef X
};

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

enum err log_open(enum log_level level, bool json, const char *path, struct error *error)
{
    int fd = STDERR_FILENO;
    bool to_file = path && *path;
    enum err e = to_file ? log_file_open(path, &fd, error) : OK;
    if (e) return e;
    if (sink.fd != STDERR_FILENO) close(sink.fd);
    sink.fd = fd;
    sink.to_file = to_file;
    sink.json = json;
    atomic_store(&sink.level, (int)level);
    return OK;
}

enum err log_open_fd(enum log_level level, bool json, int fd, struct error *error)
{
    if (fcntl(fd, F_GETFD) < 0) return err_set_errno(error, errno, "no descriptor to log to");
    sink.fd = fd;
    sink.to_file = false;
    sink.json = json;
    atomic_store(&sink.level, (int)level);
    return OK;
}

int log_fd(void)
{
    return sink.to_file ? log_file_child_fd() : sink.fd;
}

bool log_is_json(void)
{
    return sink.json;
}

enum log_level log_threshold(void)
{
    return (enum log_level)atomic_load(&sink.level);
}

bool log_level_parse(const char *s, enum log_level *out)
{
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {
        {"debug", LOG_DEBUG}, {"info", LOG_INFO},   {"warning", LOG_WARN},
        {"warn", LOG_WARN},   {"error", LOG_ERROR}, {"off", LOG_OFF},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!str_ieq(s, words[i].word)) continue;
        *out = words[i].level;
        return true;
    }
    return false;
}

bool log_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

/* Whatever a client got into the message stays on this line and can't steer a terminal: control
 * characters (C1 too) and bytes that are not UTF-8 are written as escapes. */
static void append_safe(struct buf *line, const char *s, size_t len)
{
    for (size_t i = 0; i < len && !line->err;) {
        unsigned char c = (unsigned char)s[i];
        size_t n = utf8_next(s + i, len - i);
        bool c1 = n == 2 && c == 0xC2 && (unsigned char)s[i + 1] < 0xA0;
        if (c == '\n') {
            buf_puts(line, "\\n");
        } else if (c == '\r') {
            buf_puts(line, "\\r");
        } else if (c == '\t') {
            buf_puts(line, "\\t");
        } else if (c1) {
            buf_printf(line, "\\u%04x", (unsigned)(unsigned char)s[i + 1]);
        } else if (n == 0 || c < 0x20 || c == 0x7F) {
            buf_printf(line, "\\x%02x", c);
        } else {
            buf_append(line, s + i, n);
        }
        i += n ? n : 1;
    }
}

struct record {
    const char *time, *request_id, *message;
    enum log_level level;
    enum log_area area;
    bool cut; /* the message is not whole */
};

static void build_text(struct buf *line, const struct record *r, size_t message_len)
{
    buf_printf(line, "%s %-5s %-6s  ", r->time, level_names[r->level], area_names[r->area]);
    append_safe(line, r->message, message_len);
    if (r->cut) buf_puts(line, "...");
    if (!r->request_id) return;
    buf_puts(line, " request_id=");
    append_safe(line, r->request_id, strlen(r->request_id));
}

static void build_json(struct buf *line, const struct record *r, size_t message_len)
{
    struct jw w;
    jw_init(&w, line);
    jw_obj(&w);
    jw_kstr(&w, "time", r->time);
    jw_kstr(&w, "level", level_names[r->level]);
    jw_kstr(&w, "area", area_names[r->area]);
    jw_key(&w, "message");
    jw_strn(&w, r->message, message_len);
    if (r->cut) jw_kbool(&w, "cut", true);
    if (r->request_id) jw_kstr(&w, "request_id", r->request_id);
    jw_obj_end(&w);
}

static void write_line(const char *data, size_t len)
{
    if (sink.to_file) log_file_about_to_write(len);
    while (len > 0) {
        ssize_t n = write(sink.fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* nowhere to complain */
        data += n;
        len -= (size_t)n;
    }
}

void log_line(enum log_level level, enum log_area area, const char *request_id, const char *fmt,
              ...)
{
    if (!log_on(level) || level >= LOG_OFF) return;
    int saved_errno = errno;
    char message[MESSAGE_MAX_BYTES], time[32], mem[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (n < 0) str_copy(message, sizeof message, fmt);
    clock_format_utc(time, sizeof time, clock_wall_ms());
    bool cut = n >= (int)sizeof message;
    struct record r = {time, request_id, message, level, area, cut};

    /* Escapes may make it too long for a line: then less of the message is shown. */
    struct buf line;
    size_t len = strlen(message);
    len -= utf8_incomplete_tail(message, len);
    for (;;) {
        buf_init_fixed(&line, mem, sizeof mem - 1); /* room for the newline */
        if (sink.json)
            build_json(&line, &r, len);
        else
            build_text(&line, &r, len);
        if (!line.err) break;
        if (len == 0) r.request_id = NULL; /* an absurd id, not an absurd message */
        len = utf8_cut(message, len, len / 2);
        r.cut = true;
    }
    mem[line.len] = '\n';
    write_line(mem, line.len + 1);
    errno = saved_errno;
}
