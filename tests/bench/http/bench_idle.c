/* What idle clients cost a server: opens event streams and keep-alive connections, weighs the
 * server, drops them all at once, and looks for what they left behind.
 *
 *   bench_idle --port PORT --pid PID [--streams 5000] [--idle 2000] [--stream-path /stream]
 *              [--idle-path /health] [--limit-kib 32]
 *
 * Prints one line for each number. Exit 1: over the limit, or descriptors are left. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options {
    long port, pid, streams, idle, limit_kib;
    const char *stream_path, *idle_path;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long rss_kib(long pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = fopen(path, "r");
    if (!f) fail(path);
    long kib = -1;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    }
    fclose(f);
    return kib;
}

static long descriptors(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *dir = opendir(path);
    if (!dir) fail(path);
    long n = -2; /* . and .. */
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* Opens a connection, asks for the path, and reads until the first piece of the answer is there. */
static int open_client(long port, const char *path)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    char text[1024];
    int len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len) fail("send");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 10000) != 1) fail("no answer within 10 s");
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n < 12) fail("the connection was closed");
    text[n] = '\0';
    if (strncmp(text, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "bench_idle: %s answered: %.100s\n", path, text);
        exit(1);
    }
    return fd;
}

static int *open_many(const struct options *o, long n, const char *path, const char *what)
{
    int *fds = malloc((size_t)(n ? n : 1) * sizeof *fds);
    if (!fds) fail("malloc");
    double start = now_s();
    long before = rss_kib(o->pid);
    for (long i = 0; i < n; i++) fds[i] = open_client(o->port, path);
    long grown = rss_kib(o->pid) - before;
    if (n > 0)
        printf("%ld %s opened in %.2f s: %.1f KiB each\n", n, what, now_s() - start,
               (double)grown / (double)n);
    return fds;
}

/* A RST, as when a machine's cable is pulled and plugged in again. */
static void drop(const int *fds, long n)
{
    struct linger hard = {.l_onoff = 1};
    for (long i = 0; i < n; i++) {
        if (i % 2) setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fds[i]);
    }
}

static struct options read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},        {"pid", required_argument, NULL, 'i'},
        {"streams", required_argument, NULL, 's'},     {"idle", required_argument, NULL, 'k'},
        {"stream-path", required_argument, NULL, 'S'}, {"idle-path", required_argument, NULL, 'K'},
        {"limit-kib", required_argument, NULL, 'l'},   {NULL, 0, NULL, 0},
    };
    struct options o = {.streams = 5000,
                        .idle = 2000,
                        .limit_kib = 32,
                        .stream_path = "/stream",
                        .idle_path = "/health"};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'p': o.port = strtol(optarg, NULL, 10); break;
        case 'i': o.pid = strtol(optarg, NULL, 10); break;
        case 's': o.streams = strtol(optarg, NULL, 10); break;
        case 'k': o.idle = strtol(optarg, NULL, 10); break;
        case 'l': o.limit_kib = strtol(optarg, NULL, 10); break;
        case 'S': o.stream_path = optarg; break;
        case 'K': o.idle_path = optarg; break;
        default: exit(2);
        }
    }
    if (o.port <= 0 || o.pid <= 0) {
        fprintf(stderr, "bench_idle: --port and --pid are needed\n");
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    close(open_client(o.port, o.idle_path)); /* what is built at the first request isn't weighed */
    usleep(100000);
    long rss = rss_kib(o.pid), fds_before = descriptors(o.pid);
    int *streams = open_many(&o, o.streams, o.stream_path, "event streams");
    int *idle = open_many(&o, o.idle, o.idle_path, "keep-alive connections");
    long n = o.streams + o.idle;
    double each = (double)(rss_kib(o.pid) - rss) / (double)(n ? n : 1);
    printf("all %ld together: %.1f KiB each (limit %ld)\n", n, each, o.limit_kib);

    double start = now_s();
    drop(streams, o.streams);
    drop(idle, o.idle);
    long left = 0;
    while ((left = descriptors(o.pid) - fds_before) > 0 && now_s() - start < 10) usleep(10000);
    printf("all dropped: %ld descriptors left after %.2f s, RSS %ld KiB (%ld before)\n", left,
           now_s() - start, rss_kib(o.pid), rss);
    free(streams);
    free(idle);
    return each <= (double)o.limit_kib && left == 0 ? 0 : 1;
}
