/* A scripted HTTP server for tests: one thread accepts, one per connection answers. The test's
 * handler gets each request as text and writes what it likes, right or wrong. Header only, because
 * each test is one program. */
#ifndef HEARTH_TESTS_HTTP_SCRIPT_H
#define HEARTH_TESTS_HTTP_SCRIPT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SCRIPT_REQUEST_MAX = 64 << 10, SCRIPT_CONNS = 256 };

struct script_request {
    char text[SCRIPT_REQUEST_MAX]; /* request line, headers, body as far as read */
    char method[16], path[2048];
    const char *body;
    size_t body_len;
    int fd;
    int number; /* counted from 1 */
};

struct script;
/* false: close the connection; true: keep it for another request. */
typedef bool (*script_handler)(struct script *s, struct script_request *req);

struct script {
    script_handler handler;
    void *ctx;
    int listener, port;
    atomic_int requests;
    atomic_bool stopping;
    pthread_t acceptor, conns[SCRIPT_CONNS];
    int fds[SCRIPT_CONNS];
    atomic_int n_conns;
    pthread_mutex_t lock;
    char url[64];
};

__attribute__((unused)) static bool script_send(struct script_request *req, const void *data,
                                                size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = send(req->fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

__attribute__((unused, format(printf, 2, 3))) static bool script_printf(struct script_request *req,
                                                                        const char *fmt, ...)
{
    char text[16384];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < sizeof(text) && script_send(req, text, (size_t)n);
}

/* The value of a request header, into dst; "" if absent. */
__attribute__((unused)) static const char *script_header(const struct script_request *req,
                                                         const char *name, char *dst, size_t size)
{
    size_t len = strlen(name);
    dst[0] = '\0';
    for (const char *line = strstr(req->text, "\r\n"); line && line + 2 < req->body;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':') continue;
        const char *value = line + 3 + len;
        while (*value == ' ') value++;
        snprintf(dst, size, "%.*s", (int)strcspn(value, "\r"), value);
    }
    return dst;
}

static bool script_read(struct script_request *req)
{
    size_t len = 0;
    const char *end = NULL;
    while (!end) {
        ssize_t n = recv(req->fd, req->text + len, SCRIPT_REQUEST_MAX - 1 - len, 0);
        if (n <= 0) return false;
        len += (size_t)n;
        req->text[len] = '\0';
        end = strstr(req->text, "\r\n\r\n");
    }
    req->body = end + 4;
    char value[32];
    size_t want = strtoul(script_header(req, "Content-Length", value, sizeof(value)), NULL, 10);
    while (len < (size_t)(req->body - req->text) + want && len < SCRIPT_REQUEST_MAX - 1) {
        ssize_t n = recv(req->fd, req->text + len, SCRIPT_REQUEST_MAX - 1 - len, 0);
        if (n <= 0) return false;
        len += (size_t)n;
    }
    req->text[len] = '\0';
    req->body_len = len - (size_t)(req->body - req->text);
    return sscanf(req->text, "%15s %2047s", req->method, req->path) == 2;
}

struct script_conn {
    struct script *s;
    int fd, slot;
};

static void *script_serve(void *arg)
{
    struct script_conn *c = arg;
    struct script_request *req = calloc(1, sizeof(*req));
    req->fd = c->fd;
    while (script_read(req)) {
        req->number = atomic_fetch_add(&c->s->requests, 1) + 1;
        if (!c->s->handler(c->s, req)) break;
    }
    pthread_mutex_lock(&c->s->lock);
    close(c->fd);
    c->s->fds[c->slot] = -1;
    pthread_mutex_unlock(&c->s->lock);
    free(req);
    free(c);
    return NULL;
}

static void *script_accept(void *arg)
{
    struct script *s = arg;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0 || atomic_load(&s->stopping)) {
            if (fd >= 0) close(fd);
            return NULL;
        }
        int slot = atomic_load(&s->n_conns);
        if (slot == SCRIPT_CONNS) {
            close(fd);
            continue;
        }
        struct script_conn *c = malloc(sizeof(*c));
        *c = (struct script_conn){s, fd, slot};
        pthread_mutex_lock(&s->lock);
        s->fds[slot] = fd;
        pthread_mutex_unlock(&s->lock);
        pthread_create(&s->conns[slot], NULL, script_serve, c);
        atomic_store(&s->n_conns, slot + 1);
    }
}

/* unix_path NULL: 127.0.0.1 on a free port. */
static struct script *script_start_at(const char *unix_path, script_handler handler, void *ctx)
{
    struct script *s = calloc(1, sizeof(*s));
    s->handler = handler;
    s->ctx = ctx;
    pthread_mutex_init(&s->lock, NULL);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (unix_path) snprintf(un.sun_path, sizeof(un.sun_path), "%s", unix_path);
    struct sockaddr *addr = unix_path ? (struct sockaddr *)&un : (struct sockaddr *)&in;
    socklen_t len = unix_path ? sizeof(un) : sizeof(in);
    s->listener = socket(addr->sa_family, SOCK_STREAM, 0);
    if (s->listener < 0 || bind(s->listener, addr, len) != 0 || listen(s->listener, 128) != 0)
        abort();
    if (!unix_path && getsockname(s->listener, addr, &len) == 0) s->port = ntohs(in.sin_port);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", s->port);
    pthread_create(&s->acceptor, NULL, script_accept, s);
    return s;
}

__attribute__((unused)) static struct script *script_start(script_handler handler, void *ctx)
{
    return script_start_at(NULL, handler, ctx);
}

static void script_stop(struct script *s)
{
    atomic_store(&s->stopping, true);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_conns; i++)
        if (s->fds[i] >= 0) shutdown(s->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n_conns; i++) pthread_join(s->conns[i], NULL);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

#endif
