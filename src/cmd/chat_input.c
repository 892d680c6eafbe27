/* Reading lines with libedit (histedit.h, emacs keys).
 *
 * While a line is edited the terminal makes no signals from keys; Ctrl-C and Ctrl-Z are bound to
 * functions instead. libedit's own signal mode is not used: it re-sends what it catches to the
 * whole process group. SIGTERM and SIGHUP put the terminal back before they end the program. */
#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/chat_int.h"
#include "cmd/interrupt.h"

enum { HISTORY_ENTRIES = 1000, PASTE_MAX = 1 << 20, KEY_INTERRUPT = 3 };

static const char paste_on[] = "\033[?2004h", paste_off[] = "\033[?2004l";

struct chat_input {
    EditLine *el;
    History *history;
    char *history_path;
    const char *prompt;
    struct buf line;
    bool interrupted;
    bool fancy; /* the terminal understands escape sequences */
};

/* What the signal handlers need. */
static struct termios saved_terminal;
static volatile sig_atomic_t terminal_saved, terminal_fancy, resized;

static void on_end(int sig)
{
    if (terminal_fancy && write(STDOUT_FILENO, paste_off, sizeof(paste_off) - 1) < 0)
        terminal_fancy = 0;
    if (terminal_saved) tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_resize(int sig)
{
    (void)sig;
    resized = 1;
}

static void handle_signals(void)
{
    terminal_saved = tcgetattr(STDIN_FILENO, &saved_terminal) == 0;
    struct sigaction action = {.sa_handler = on_end};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = on_resize;
    sigaction(SIGWINCH, &action, NULL);
}

static struct chat_input *input_of(EditLine *el)
{
    void *in = NULL;
    el_get(el, EL_CLIENTDATA, &in);
    return in;
}

static char *give_prompt(EditLine *el)
{
    return (char *)(uintptr_t)input_of(el)->prompt; /* libedit only reads it */
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* One byte; 0 at the end of the input, -1 on failure, KEY_INTERRUPT also for SIGINT. */
static int get_byte(EditLine *el, unsigned char *byte)
{
    for (;;) {
        if (resized) {
            resized = 0;
            el_resize(el);
        }
        switch (interrupt_wait(STDIN_FILENO, -1)) {
        case WAKE_INTERRUPT:
            interrupt_clear();
            *byte = KEY_INTERRUPT;
            return 1;
        case WAKE_TIMEOUT: continue;
        case WAKE_READY: break;
        }
        ssize_t n = read(STDIN_FILENO, byte, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        return (int)n;
    }
}

/* libedit's source of characters. */
static int get_char(EditLine *el, wchar_t *out)
{
    char bytes[4];
    unsigned char byte;
    int n = get_byte(el, &byte);
    if (n <= 0) return n;
    bytes[0] = (char)byte;
    size_t have = 1, need = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    while (have < need) {
        if (get_byte(el, &byte) <= 0 || byte < 0x80 || byte >= 0xC0) break;
        bytes[have++] = (char)byte;
    }
    uint32_t cp;
    term_decode(bytes, have, &cp);
    *out = (wchar_t)cp;
    return 1;
}

static unsigned char key_interrupt(EditLine *el, int ch)
{
    (void)ch;
    input_of(el)->interrupted = true;
    return CC_NEWLINE;
}

static unsigned char key_suspend(EditLine *el, int ch)
{
    (void)ch;
    el_set(el, EL_PREP_TERM, 0);
    raise(SIGTSTP);
    el_set(el, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

/* A paste, between its two marks, goes into the line as it is: its newlines send nothing. */
static unsigned char key_paste(EditLine *el, int ch)
{
    (void)ch;
    static const char end[] = "\033[201~";
    struct buf text, clean;
    buf_init(&text, PASTE_MAX);
    buf_init(&clean, 3 * PASTE_MAX);
    unsigned char byte;
    while (get_byte(el, &byte) > 0) {
        buf_putc(&text, byte == '\r' ? '\n' : (char)byte);
        if (text.err) break;
        if (text.len >= sizeof(end) - 1 && str_eq(text.data + text.len - (sizeof(end) - 1), end)) {
            text.data[text.len -= sizeof(end) - 1] = '\0';
            break;
        }
    }
    term_clean(&clean, buf_str(&text), text.len);
    bool inserted = clean.len == 0 || el_insertstr(el, clean.data) == 0;
    buf_free(&text);
    buf_free(&clean);
    return inserted ? CC_REFRESH : CC_ERROR;
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void history_enter(void *ctx, const char *entry)
{
    struct chat_input *in = ctx;
    HistEvent ev;
    history(in->history, &ev, H_ENTER, entry);
}

struct chat_input *chat_input_open(const char *history_path)
{
    struct chat_input *in = xcalloc(1, sizeof(*in));
    HistEvent ev;
    in->prompt = "";
    in->history_path = xstrdup(history_path);
    in->fancy = term_style_of(STDOUT_FILENO) != TERM_RAW;
    buf_init(&in->line, CHAT_TEXT_MAX);
    handle_signals();
    terminal_fancy = in->fancy;

    in->history = history_init();
    in->el = el_init("hearth", stdin, stdout, stderr);
    ht_assert(in->history && in->el);
    history(in->history, &ev, H_SETSIZE, HISTORY_ENTRIES);
    history(in->history, &ev, H_SETUNIQUE, 1);
    if (*history_path) chat_history_load(history_path, history_enter, in);

    el_set(in->el, EL_CLIENTDATA, in);
    el_set(in->el, EL_PROMPT, give_prompt);
    el_set(in->el, EL_EDITOR, "emacs");
    el_set(in->el, EL_HIST, history, in->history);
    el_set(in->el, EL_GETCFN, get_char);
    el_set(in->el, EL_SETTY, "-d", "-isig", NULL);
    /* The wide form: the other one leaks its strings. */
    el_wset(in->el, EL_ADDFN, L"chat-interrupt", L"Ctrl-C", key_interrupt);
    el_wset(in->el, EL_ADDFN, L"chat-suspend", L"Ctrl-Z", key_suspend);
    el_wset(in->el, EL_ADDFN, L"chat-paste", L"bracketed paste", key_paste);
    el_set(in->el, EL_BIND, "^C", "chat-interrupt", NULL);
    el_set(in->el, EL_BIND, "^Z", "chat-suspend", NULL);
    el_set(in->el, EL_BIND, "\033[200~", "chat-paste", NULL);
    el_set(in->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return in;
}

void chat_input_close(struct chat_input *in)
{
    if (!in) return;
    el_end(in->el);
    history_end(in->history);
    buf_free(&in->line);
    free(in->history_path);
    free(in);
}

enum chat_read chat_input_read(struct chat_input *in, const char *prompt, const char **line)
{
    in->prompt = prompt;
    in->interrupted = false;
    if (in->fancy) fputs(paste_on, stdout);
    fflush(stdout);
    int count = 0;
    const char *text = el_gets(in->el, &count);
    if (in->fancy) fputs(paste_off, stdout);
    buf_clear(&in->line);
    if (text && count > 0) buf_append(&in->line, text, (size_t)count);
    if (in->line.len && in->line.data[in->line.len - 1] == '\n')
        in->line.data[--in->line.len] = '\0';
    *line = buf_str(&in->line);
    if (in->interrupted) {
        fputs("^C\n", stdout);
        fflush(stdout);
        return CHAT_INTERRUPT;
    }
    fflush(stdout);
    return text && count > 0 ? CHAT_LINE : CHAT_EOF;
}

void chat_input_remember(struct chat_input *in, const char *entry)
{
    history_enter(in, entry);
    if (*in->history_path) chat_history_append(in->history_path, entry);
}
