/* Listening sockets. libmicrohttpd has one of its own; the second one, for clients that look for
 * Ollama at its port, is accepted from here, and its connections are handed over. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loopback.h"
#include "base/str.h"
#include "server/server_int.h"

enum { BACKLOG = 4096, ACCEPTS_PER_TURN = 64 };

static enum err bind_error(struct error *error, const char *host, int port, const char *option,
                           int errnum)
{
    switch (errnum) {
    case EADDRINUSE:
        return err_set(error, ERR_CONFLICT,
                       "port %d on %s is in use, maybe by another hub; `ss -ltnp 'sport = :%d'` "
                       "shows by whom, and %s chooses another",
                       port, host, port, option);
    case EACCES:
        return err_set(error, ERR_FORBIDDEN,
                       "not allowed to listen on port %d of %s; choose a port above 1023 with %s",
                       port, host, option);
    case EADDRNOTAVAIL:
        return err_set(error, ERR_INVALID,
                       "%s is not an address of this machine; choose one with --host (HOST), such "
                       "as 127.0.0.1 (this machine only) or 0.0.0.0 (everyone who can reach it)",
                       host);
    default:
        return err_set(error, ERR_IO, "listening on %s port %d: %s", host, port, strerror(errnum));
    }
}

static int open_listener(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* "::" takes IPv4 too */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

int listen_port(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0) return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

/* "localhost" is the IPv4 loopback address: browsers and curl try both. */
enum err listen_open(const char *host, int port_number, const char *option, int *fd,
                     bool *local_only, struct error *error)
{
    const char *name = str_ieq(host, "localhost") ? "127.0.0.1" : host;
    char port[16];
    str_printf(port, sizeof port, "%d", port_number);
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *found;
    int rc = getaddrinfo(*name ? name : NULL, port, &hints, &found);
    if (rc != 0)
        return err_set(error, ERR_INVALID, "the host '%s' (HOST) is not known: %s", host,
                       gai_strerror(rc));
    int errnum = 0;
    *fd = -1;
    for (const struct addrinfo *a = found; a && *fd < 0; a = a->ai_next) {
        *fd = open_listener(a);
        if (*fd < 0 && errnum == 0) errnum = errno;
        *local_only = loopback_address(a->ai_addr);
    }
    freeaddrinfo(found);
    return *fd < 0 ? bind_error(error, host, port_number, option, errnum) : OK;
}

/* ---- the second socket ----------------------------------------------------------------------- */

void listen_watch(struct server *s, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.u64 = KEY_OLLAMA};
    if (s->ollama_fd < 0) return;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->ollama_fd, &event) != 0 && errno == ENOENT)
        (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->ollama_fd, &event);
}

void listen_accept(struct server *s)
{
    for (int i = 0; i < ACCEPTS_PER_TURN && s->ollama_fd >= 0; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd =
            accept4(s->ollama_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
            s->starved = true; /* it rests, as libmicrohttpd's does (server.c) */
            listen_watch(s, false);
            return;
        }
        /* Closes it when there is no room for it. */
        MHD_add_connection(s->mhd, fd, (struct sockaddr *)&from, len);
    }
}

void listen_close(struct server *s)
{
    if (s->ollama_fd >= 0) close(s->ollama_fd);
    s->ollama_fd = -1;
}
