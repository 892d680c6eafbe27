/* The connect log: see httpc.h. curl asks for each socket here, so nothing goes out unseen. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/loopback.h"
#include "base/metrics.h"
#include "base/str.h"
#include "httpc/httpc_int.h"

enum { ADDRESS_MAX = 64, LINE_MAX_BYTES = 128 };

static char path[FS_PATH_MAX]; /* of the file; "" = none. Set before threads */

/* Opened for each line: connections are few, and whoever moves the file away gets a new one. */
static int open_file(void)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

enum err httpc_connects_log(const char *file, struct error *error)
{
    if (!str_copy(path, sizeof path, file))
        return err_set(error, ERR_CONFIG, "the path of the connect log is too long");
    if (!*path) return OK;
    int fd = open_file();
    if (fd < 0) {
        char what[ERROR_MSG_MAX];
        str_printf(what, sizeof what, "can't open the connect log %.300s", path);
        return err_set_errno(error, errno, what);
    }
    close(fd);
    return OK;
}

/* dst gets "192.0.2.1:443", "[2001:db8::1]:443", "unix". Whether it is this machine itself. */
static bool describe(const struct curl_sockaddr *address, char dst[ADDRESS_MAX])
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (address->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&address->addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        str_printf(dst, ADDRESS_MAX, "%s:%u", text, ntohs(in->sin_port));
    } else if (address->family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)&address->addr;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        str_printf(dst, ADDRESS_MAX, "[%s]:%u", text, ntohs(in->sin6_port));
    } else {
        str_copy(dst, ADDRESS_MAX, address->family == AF_UNIX ? "unix" : "?");
    }
    return address->family == AF_UNIX || loopback_address(&address->addr);
}

static void write_line(const char *address, bool local)
{
    char line[LINE_MAX_BYTES], at[32];
    clock_format_utc(at, sizeof at, clock_wall_ms());
    str_printf(line, sizeof line, "%s %d %s %s\n", at, (int)getpid(), address,
               local ? "local" : "outside");
    int fd = open_file();
    size_t len = strlen(line);
    if (fd < 0 || write(fd, line, len) != (ssize_t)len) /* in one piece, or between others' lines */
        log_warn(net, "a connection to %s is not in the connect log %s: %s", address, path,
                 strerror(errno));
    if (fd >= 0) close(fd);
}

curl_socket_t connects_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    char where[ADDRESS_MAX];
    (void)ctx, (void)purpose;
    bool local = describe(address, where);
    metric_add(METRIC_outgoing_connections_total, 1);
    if (local) metric_add(METRIC_outgoing_local_connections_total, 1);
    log_debug(net, "connecting to %s", where);
    if (*path) write_line(where, local);
    /* CURL_SOCKET_BAD is -1 */
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}
