/* Users who chat at once: one connection each, POST /api/v1/chat/stream again and again.
 *
 *   bench_chat <port> <clock file> <tokens> <rounds>       keys of the users on standard input
 *
 * Overhead of a token: from the end of the batch that it was generated in (bench_hub's clock file)
 * to its event in the client's hands, through scheduler, parser, store, HTTP and sockets. It would
 * look smaller than it is if it were longer than a batch takes, so batches should be long. Prints
 * the quantiles. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum { KEY_MAX = 80, READ_MAX = 64 << 10, USERS_MAX = 2000 };

struct user {
    char key[KEY_MAX];
    int fd, rounds;
    int64_t asked_ns, last_ns;
    struct buf in;
};

struct samples {
    double *ms;
    size_t n, cap;
};

static struct samples late, firsts;
static const _Atomic int64_t *batch_ended;
static size_t n_done, n_failed;

static void die(const char *what)
{
    fprintf(stderr, "bench_chat: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void add(struct samples *s, double ms)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 4096;
        s->ms = try_realloc(s->ms, s->cap, sizeof *s->ms);
        if (!s->ms) die("memory");
    }
    s->ms[s->n++] = ms;
}

static void ask(struct user *u, int tokens)
{
    char body[160], text[512];
    str_printf(body, sizeof body, "{\"message\":\"sing\",\"max_tokens\":%d}", tokens);
    str_printf(text, sizeof text,
               "POST /api/v1/chat/stream HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               u->key, strlen(body), body);
    if (send(u->fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) die("send");
    u->asked_ns = clock_mono_ns();
    u->last_ns = 0;
    buf_clear(&u->in);
}

static void open_user(struct user *u, int port, int ep)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    u->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (u->fd < 0 || connect(u->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = u};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, u->fd, &ev) != 0) die("epoll");
    buf_init(&u->in, 16 << 20);
}

/* Lines of the stream that are whole. Returns true at its end. */
static bool read_lines(struct user *u, int64_t now, int64_t ended)
{
    bool over = false;
    const char *start = buf_str(&u->in), *at = start, *nl;
    while ((nl = strchr(at, '\n'))) {
        if (str_starts(at, "event: delta")) {
            add(&late, (double)(now - ended) / 1e6);
            if (!u->last_ns) add(&firsts, (double)(now - u->asked_ns) / 1e6);
            u->last_ns = now;
        } else if (str_starts(at, "event: error") || str_starts(at, "HTTP/1.1 4") ||
                   str_starts(at, "HTTP/1.1 5")) {
            n_failed++;
            over = true;
        } else if (str_starts(at, "event: done")) {
            n_done++;
            over = true;
        }
        at = nl + 1;
    }
    buf_consume(&u->in, (size_t)(at - start));
    return over;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void show(const char *what, struct samples *s)
{
    if (!s->n) return;
    qsort(s->ms, s->n, sizeof *s->ms, by_value);
    printf("%-34s p50 %7.2f ms  p90 %7.2f  p99 %7.2f  max %7.2f  (%zu)\n", what, s->ms[s->n / 2],
           s->ms[s->n * 9 / 10], s->ms[s->n * 99 / 100], s->ms[s->n - 1], s->n);
}

/* A chunked answer ends with "0\r\n\r\n" behind the last event; what is left of it is swallowed
 * with the next answer's head, since only lines that begin with "event:" matter. */
static void serve(struct user *users, size_t n, int ep, int tokens, int rounds)
{
    static char data[READ_MAX];
    struct epoll_event events[256];
    size_t left = n;
    for (size_t i = 0; i < n; i++) ask(&users[i], tokens);
    while (left) {
        int k = epoll_wait(ep, events, 256, 30000);
        if (k <= 0) die("nothing came for 30 s");
        for (int i = 0; i < k; i++) {
            struct user *u = events[i].data.ptr;
            ssize_t got = recv(u->fd, data, sizeof data, 0);
            if (got <= 0) die("a connection was closed");
            int64_t now = clock_mono_ns(), ended = atomic_load(batch_ended);
            buf_append(&u->in, data, (size_t)got);
            if (!read_lines(u, now, ended)) continue;
            if (++u->rounds < rounds)
                ask(u, tokens);
            else
                left--;
        }
    }
}

int main(int argc, char **argv)
{
    static struct user users[USERS_MAX];
    size_t n = 0;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_chat PORT CLOCK_FILE TOKENS ROUNDS < keys\n");
        return 2;
    }
    int ep = epoll_create1(0), clock_fd = open(argv[2], O_RDONLY);
    batch_ended = mmap(NULL, sizeof *batch_ended, PROT_READ, MAP_SHARED, clock_fd, 0);
    if (clock_fd < 0 || batch_ended == MAP_FAILED) die(argv[2]);
    int port = (int)strtol(argv[1], NULL, 10), tokens = (int)strtol(argv[3], NULL, 10);
    while (n < USERS_MAX && fgets(users[n].key, KEY_MAX, stdin)) {
        users[n].key[strcspn(users[n].key, "\r\n")] = '\0';
        n += users[n].key[0] != '\0';
    }
    for (size_t i = 0; i < n; i++) open_user(&users[i], port, ep);
    int64_t start = clock_mono_ns();
    serve(users, n, ep, tokens, (int)strtol(argv[4], NULL, 10));
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    printf("%zu users at once, %zu answers, %zu failed, %.0f tokens per second\n", n, n_done,
           n_failed, (double)late.n / seconds);
    show("overhead of a token", &late);
    show("from the question to the first one", &firsts);
    return n_failed || !n_done;
}
