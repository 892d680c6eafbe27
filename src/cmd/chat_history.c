/* What was typed, one entry a line (newlines and backslashes as \n and \\), readable by its owner
 * only. Appended at once, so that nothing is lost and several chats may share it; cut to its newer
 * half when it is read and has grown too long. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "cmd/chat_int.h"

enum { HISTORY_MAX = 1 << 20, ENTRY_MAX = 64 << 10 };

static void put_escaped(struct buf *out, const char *entry)
{
    for (; *entry; entry++) {
        if (*entry == '\n')
            buf_puts(out, "\\n");
        else if (*entry == '\\')
            buf_puts(out, "\\\\");
        else
            buf_putc(out, *entry);
    }
}

static void put_unescaped(struct buf *out, const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\' && i + 1 < len) {
            i++;
            buf_putc(out, line[i] == 'n' ? '\n' : line[i]);
        } else {
            buf_putc(out, line[i]);
        }
    }
}

/* Keeps the newer half; the lines that follow are read from what is kept. */
static void shorten(const char *path, struct buf *text)
{
    const char *newline = memchr(text->data + text->len / 2, '\n', text->len - text->len / 2);
    if (!newline) return;
    buf_consume(text, (size_t)(newline + 1 - text->data));
    struct error error;
    if (fs_write_atomic(path, text->data, text->len, 0600, &error))
        log_warn(cmd, "shortening the chat history: %s", error.msg);
}

void chat_history_load(const char *path, void (*fn)(void *ctx, const char *entry), void *ctx)
{
    struct buf text, entry;
    struct error error;
    buf_init(&text, 4 * HISTORY_MAX);
    buf_init(&entry, ENTRY_MAX);
    if (fs_exists(path) && fs_read_file(path, 4 * HISTORY_MAX, &text, &error))
        log_warn(cmd, "reading the chat history: %s", error.msg);
    if (text.len > HISTORY_MAX) shorten(path, &text);
    for (size_t pos = 0; pos < text.len;) {
        const char *line = text.data + pos;
        size_t len = strcspn(line, "\n");
        if (len == 0 && line[0] == '\0') break; /* a NUL: no file of ours */
        buf_clear(&entry);
        put_unescaped(&entry, line, len);
        if (entry.len && !entry.err) fn(ctx, buf_str(&entry));
        pos += len + 1;
    }
    buf_free(&text);
    buf_free(&entry);
}

void chat_history_append(const char *path, const char *entry)
{
    struct buf line;
    buf_init(&line, ENTRY_MAX);
    put_escaped(&line, entry);
    buf_putc(&line, '\n');
    if (!line.err) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, line.data, line.len) != (ssize_t)line.len)
            log_warn(cmd, "writing the chat history %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
    }
    buf_free(&line);
}
