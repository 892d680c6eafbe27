/* What the hub adds to an answer of another server, and how many streams of other servers it holds.
 *
 *   bench_proxy upstream <tokens> <gap_ms>       a server that speaks OpenAI's stream; prints its
 * port bench_proxy ttft <port> <path> <rounds>      times to the first token, one request after the
 * other bench_proxy streams <port> <path> <n> <tokens>   n streams at once, all read to their end
 *
 * The upstream's threads do nothing but poll; the client is one thread on keep-alive connections,
 * as the hub's own requests are. "ttft" against the upstream and against the hub in turn gives what
 * the hub adds; both ends and the hub share the machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, REQUEST_MAX = 16384, FDS_MAX = 65536 };

static void fail(const char *what)
{
    fprintf(stderr, "bench_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void raise_limits(void)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

static long number(const char *s)
{
    char *end;
    long n = strtol(s, &end, 10);
    if (*end || end == s || n < 0) {
        fprintf(stderr, "bench_proxy: '%s' is no number\n", s);
        exit(2);
    }
    return n;
}

static void add(int epoll, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0) fail("epoll_ctl");
}

static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- the upstream --------------------------------------------------------------------------- */

struct peer {
    char request[REQUEST_MAX];
    size_t len;
    long left; /* tokens still to be sent */
    int64_t next_ns;
    bool streaming;
};

static struct peer *peers[FDS_MAX];

static void send_chunked(int fd, const char *text)
{
    char chunk[1024];
    int n = snprintf(chunk, sizeof chunk, "%zx\r\n%s\r\n", strlen(text), text);
    (void)!send(fd, chunk, (size_t)n, MSG_NOSIGNAL);
}

static void send_token(int fd)
{
    send_chunked(fd, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                     "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},"
                     "\"finish_reason\":null}]}\n\n");
}

static void send_end(int fd)
{
    send_chunked(fd, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                     "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":"
                     "\"stop\"}]}\n\ndata: [DONE]\n\n");
    (void)!send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
}

/* Of a path with "/missing" in it: this server has no such model. */
static void refuse(int fd)
{
    static const char text[] =
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 57\r\n\r\n"
        "{\"error\":{\"message\":\"no model\",\"code\":\"model_not_found\"}}";
    (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL);
}

static void begin_stream(int fd, struct peer *p, long tokens)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    (void)!send(fd, head, sizeof head - 1, MSG_NOSIGNAL | MSG_MORE);
    send_token(fd);
    p->left = tokens - 1;
    p->streaming = true;
}

/* A request is there when its headers and as many bytes as they say have come. */
static bool whole_request(struct peer *p)
{
    p->request[p->len] = '\0';
    const char *end = strstr(p->request, "\r\n\r\n");
    if (!end) return false;
    const char *length = strcasestr(p->request, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return p->len >= (size_t)(end + 4 - p->request) + body;
}

static void drop(int fd)
{
    free(peers[fd]);
    peers[fd] = NULL;
    close(fd);
}

static void read_peer(int fd, long tokens, int64_t gap_ns)
{
    struct peer *p = peers[fd];
    ssize_t n = recv(fd, p->request + p->len, sizeof p->request - 1 - p->len, 0);
    if (n <= 0) {
        drop(fd);
        return;
    }
    p->len += (size_t)n;
    if (!whole_request(p)) return;
    p->len = 0;
    if (strncmp(p->request, "POST /missing/", 14) == 0) {
        refuse(fd);
        return;
    }
    begin_stream(fd, p, tokens);
    p->next_ns = now_ns() + gap_ns;
}

static void accept_all(int epoll, int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= FDS_MAX) fail("too many connections");
        no_delay(fd);
        peers[fd] = calloc(1, sizeof *peers[fd]);
        if (!peers[fd]) fail("memory");
        add(epoll, fd, EPOLLIN);
    }
}

static void send_due(int64_t gap_ns)
{
    int64_t now = now_ns();
    for (int fd = 0; fd < FDS_MAX; fd++) {
        struct peer *p = peers[fd];
        while (p && p->streaming && (p->left == 0 || now >= p->next_ns)) {
            p->next_ns += gap_ns;
            if (p->left-- > 0) {
                send_token(fd);
            } else {
                send_end(fd);
                p->streaming = false;
            }
        }
    }
}

static void upstream(long tokens, long gap_ms)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&in, len) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&in, &len) || epoll < 0)
        fail("listen");
    printf("%d\n", ntohs(in.sin_port));
    fflush(stdout);
    add(epoll, listener, EPOLLIN);
    for (int64_t next = 0;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, tokens > 1 ? 1 : -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(epoll, listener);
            else if (peers[fd])
                read_peer(fd, tokens, gap_ms * 1000000);
        }
        if (tokens == 1 || now_ns() >= next) {
            send_due(gap_ms * 1000000);
            next = now_ns() + 1000000;
        }
    }
}

/* ---- the client ------------------------------------------------------------------------------ */

static int dial(long port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in) != 0) fail("connect");
    no_delay(fd);
    return fd;
}

static void ask(int fd, const char *path)
{
    static const char body[] = "{\"model\":\"m\",\"stream\":true,\"max_tokens\":1000,\"messages\":"
                               "[{\"role\":\"user\",\"content\":\"What is the capital?\"}]}";
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     path, sizeof body - 1, body);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) fail("send");
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* One request; the time until " token" was read. */
static int64_t once(int fd, const char *path)
{
    char text[65536];
    size_t len = 0;
    int64_t began = now_ns(), first = 0;
    ask(fd, path);
    for (;;) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n <= 0) fail("the answer was cut");
        len += (size_t)n;
        text[len] = '\0';
        if (!first && strstr(text, " token")) first = now_ns() - began;
        if (strstr(text, "\r\n0\r\n\r\n")) break;
        if (len > sizeof text - 8192) {
            memmove(text, text + len - 64, 64);
            len = 64;
        }
    }
    if (!first) {
        fprintf(stderr, "bench_proxy: no token in the answer: %.300s\n", text);
        exit(1);
    }
    return first;
}

static int ttft(long port, const char *path, long rounds)
{
    int fd = dial(port);
    int64_t *times = calloc((size_t)rounds, sizeof *times);
    if (!times) fail("memory");
    for (long i = 0; i < rounds / 10 + 1; i++) (void)once(fd, path);
    for (long i = 0; i < rounds; i++) times[i] = once(fd, path);
    qsort(times, (size_t)rounds, sizeof *times, compare);
    printf("p50 %.1f us, p90 %.1f us, p99 %.1f us\n", (double)times[rounds / 2] / 1e3,
           (double)times[rounds * 9 / 10] / 1e3, (double)times[rounds * 99 / 100] / 1e3);
    free(times);
    return 0;
}

struct reader {
    size_t tokens;
    char tail[16]; /* the end of what was read, for words that are cut */
    size_t n_tail;
    bool done;
    int64_t first_ns;
};

static size_t count(struct reader *r, const char *data, size_t len)
{
    static const char word[] = "\" token\"", end[] = "data: [DONE]";
    char text[65536 + sizeof r->tail + 1];
    size_t n = 0;
    memcpy(text, r->tail, r->n_tail);
    memcpy(text + r->n_tail, data, len);
    len += r->n_tail;
    text[len] = '\0';
    for (const char *at = text; (at = strstr(at, word)); at += sizeof word - 1) n++;
    if (strstr(text, end)) r->done = true;
    /* keep what can't hold a whole word */
    size_t keep = sizeof word - 2;
    if (keep > len) keep = len;
    if (r->done) keep = 0;
    if (!r->done && len >= sizeof end - 1) {
        for (size_t k = sizeof end - 2; k > keep; k--)
            if (memcmp(text + len - k, end, k) == 0) keep = k;
    }
    memcpy(r->tail, text + len - keep, keep);
    r->n_tail = keep;
    return n;
}

static int streams(long port, const char *path, long n, long tokens)
{
    struct reader *readers = calloc(FDS_MAX, sizeof *readers);
    int epoll = epoll_create1(0);
    long open = n, whole = 0, most = 0, begun = 0;
    size_t all = 0;
    if (!readers || epoll < 0) fail("memory");
    int64_t began = now_ns();
    for (long i = 0; i < n; i++) {
        int fd = dial(port);
        if (fd >= FDS_MAX) fail("too many connections");
        add(epoll, fd, EPOLLIN);
        ask(fd, path);
    }
    while (open > 0) {
        struct epoll_event events[EVENTS];
        int k = epoll_wait(epoll, events, EVENTS, 60000);
        if (k == 0) fail("nothing came for a minute");
        for (int i = 0; i < k; i++) {
            char data[65536];
            int fd = events[i].data.fd;
            struct reader *r = &readers[fd];
            ssize_t got = recv(fd, data, sizeof data, 0);
            size_t before = r->tokens;
            if (got > 0) r->tokens += count(r, data, (size_t)got);
            if (!before && r->tokens) begun++;
            if (begun - (n - open) > most) most = begun - (n - open);
            if (got > 0 && !r->done) continue;
            if (r->done && r->tokens == (size_t)tokens) whole++;
            all += r->tokens;
            close(fd);
            open--;
        }
    }
    double s = (double)(now_ns() - began) / 1e9;
    printf("%ld of %ld streams whole, %ld at once, %zu tokens in %.1f s: %.0f per second\n", whole,
           n, most, all, s, (double)all / s);
    free(readers);
    return whole == n ? 0 : 1;
}

int main(int argc, char **argv)
{
    raise_limits();
    if (argc == 4 && strcmp(argv[1], "upstream") == 0) upstream(number(argv[2]), number(argv[3]));
    if (argc == 5 && strcmp(argv[1], "ttft") == 0)
        return ttft(number(argv[2]), argv[3], number(argv[4]));
    if (argc == 6 && strcmp(argv[1], "streams") == 0)
        return streams(number(argv[2]), argv[3], number(argv[4]), number(argv[5]));
    fprintf(stderr, "bench_proxy upstream TOKENS GAP_MS | ttft PORT PATH ROUNDS | "
                    "streams PORT PATH N TOKENS\n");
    return 2;
}
