/* The connect log: see httpc.h. curl asks for each socket here, so nothing goes out unseen. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/str.h"
#include "httpc/httpc_int.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct httpc_connect newest[HTTPC_CONNECTS_KEPT]; /* lock; number i at i % KEPT */
static uint64_t n_all, n_local;                          /* lock */

static void describe(const struct curl_sockaddr *address, struct httpc_connect *out)
{
    char text[INET6_ADDRSTRLEN] = "?";
    out->at_wall_ms = clock_wall_ms();
    if (address->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&address->addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        str_printf(out->address, sizeof out->address, "%s:%u", text, ntohs(in->sin_port));
        out->local = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    } else if (address->family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)&address->addr;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        str_printf(out->address, sizeof out->address, "[%s]:%u", text, ntohs(in->sin6_port));
        out->local = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) ||
                     (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && in->sin6_addr.s6_addr[12] == 127);
    } else {
        str_copy(out->address, sizeof out->address, address->family == AF_UNIX ? "unix" : "?");
        out->local = address->family == AF_UNIX;
    }
}

curl_socket_t connects_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct httpc_connect c = {.local = false};
    (void)ctx, (void)purpose;
    describe(address, &c);
    metric_add(METRIC_outgoing_connections_total, 1);
    if (c.local) metric_add(METRIC_outgoing_local_connections_total, 1);
    log_debug(net, "connecting to %s", c.address);
    pthread_mutex_lock(&lock);
    newest[n_all++ % HTTPC_CONNECTS_KEPT] = c;
    if (c.local) n_local++;
    pthread_mutex_unlock(&lock);
    /* CURL_SOCKET_BAD is -1 */
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void httpc_connects_count(uint64_t *all, uint64_t *local)
{
    pthread_mutex_lock(&lock);
    *all = n_all;
    *local = n_local;
    pthread_mutex_unlock(&lock);
}

size_t httpc_connects(struct httpc_connect *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&lock);
    for (uint64_t i = n_all; n < max && n < HTTPC_CONNECTS_KEPT && i > 0; i--)
        out[n++] = newest[(i - 1) % HTTPC_CONNECTS_KEPT];
    pthread_mutex_unlock(&lock);
    return n;
}
