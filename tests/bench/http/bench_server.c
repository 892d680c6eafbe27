/* The HTTP layer alone, for its benchmarks: GET /health answers at once, GET /stream opens an event
 * stream, says one event and then nothing. Prints its port; runs until it is killed. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "server/server.h"

static void health(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    static const char body[] = "{\"status\":\"ok\"}";
    sink_respond(sink, 200, "application/json", NULL, 0, body, sizeof body - 1);
    sink_unref(sink);
}

/* As a generation does: the close callback lets the stream go. */
static void release(void *ctx)
{
    sink_unref(ctx);
}

static void stream(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    if (sink_begin(sink, 200, "text/event-stream", NULL, 0) == OK)
        sink_write(sink, "data: hello\n\n", 13);
    sink_on_close(sink, release, sink);
}

static const struct route health_route = {.path = "/health", .handler = health, ROUTE_INLINE};
static const struct route stream_route = {.path = "/stream", .handler = stream};

/* Stands in for the API's. */
enum route_match route_find(enum http_method method, const char *path, const struct route **route,
                            char *params_buf, size_t params_size,
                            const char *params[HTTP_PATH_PARAMS_MAX], char allow[64])
{
    (void)method;
    (void)params_buf;
    (void)params_size;
    (void)params;
    allow[0] = '\0';
    *route = strcmp(path, "/health") == 0   ? &health_route
             : strcmp(path, "/stream") == 0 ? &stream_route
                                            : NULL;
    return *route ? ROUTE_FOUND : ROUTE_NO_PATH;
}

int main(void)
{
    struct error error;
    struct server_params params = {
        .host = "127.0.0.1",
        .max_connections = 10000,
        .max_body = 32 << 20,
        .max_headers = 12 * 1024,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 20000,
        .idle_timeout_ms = 75000,
        .ping_ms = 15000,
        .max_queued = 1 << 20,
        .allowed_origins = "http://localhost:3000",
    };
    struct server *server;
    if (log_open(LOG_INFO, false, NULL, &error) ||
        pool_new("work", 4, 4096, &params.pool, &error) || server_start(&params, &server, &error)) {
        fprintf(stderr, "bench_server: %s\n", error.msg);
        return 1;
    }
    printf("%d\n", server_port(server));
    fflush(stdout);
    for (;;) pause();
}
