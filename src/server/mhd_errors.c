/* Errors that libmicrohttpd finds by itself, in the API's shape.
 *
 * It answers requests that it can't parse (400), heads that don't fit its memory (414, 431) and the
 * like with HTML pages of its own, and has no hook for them. But it queues these pages as any
 * application would, through its public MHD_queue_response, and calls that through the dynamic
 * symbol table. So this file defines MHD_queue_response: libmicrohttpd's call for an error arrives
 * here, and our own calls, which all go through mhd_queue, are passed on to the library's function.
 *
 * Here the error is written straight to the socket, where nothing has been sent yet, and MHD_NO
 * makes libmicrohttpd close the connection. (Queueing another response is no way out: for a bad
 * Content-Length version 0.9.75 would write the header twice.)
 *
 * A request line without any blank in it (a TLS handshake on this port, say) makes libmicrohttpd
 * close the connection without a word; that can't be changed from here.
 *
 * Where symbols are bound otherwise (a static libmicrohttpd, one built with -Bsymbolic, macOS) the
 * HTML pages come back and nothing else changes. Rejected: peeking at each request before
 * libmicrohttpd does, which costs a system call per request. */
#include <dlfcn.h>

#include "server/server_int.h"

typedef enum MHD_Result queue_fn(struct MHD_Connection *, unsigned, struct MHD_Response *);

static queue_fn *library_queue;

static void find_library_queue(void)
{
    /* dlsym returns an object pointer; POSIX promises that it converts. */
    *(void **)&library_queue = dlsym(RTLD_NEXT, "MHD_queue_response");
    ht_assert(library_queue);
}

enum MHD_Result mhd_queue(struct MHD_Connection *mhd, int status, struct MHD_Response *response)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_library_queue);
    return library_queue(mhd, (unsigned)status, response);
}

static void describe(struct error *error, unsigned status, size_t max_headers)
{
    switch (status) {
    case 413:
        err_set(error, ERR_TOO_LARGE,
                "Content-Length or the size of a chunk is a number too large to be true");
        break;
    case 414:
        err_set(error, ERR_HEADERS,
                "the request line is longer than %zu bytes (HEARTH_MAX_HEADERS)", max_headers);
        break;
    case 431:
        err_set(
            error, ERR_HEADERS,
            "request line and headers are longer than %zu bytes (HEARTH_MAX_HEADERS); a browser "
            "may be sending many cookies: clear those of this host",
            max_headers);
        break;
    case 505:
        err_set(error, ERR_UNSUPPORTED,
                "only HTTP/1.0 and HTTP/1.1 are spoken here; HTTP/2 can be "
                "had from a reverse proxy in front of the hub");
        break;
    default:
        err_set(error, ERR_INVALID,
                "this is not a well-formed HTTP/1.1 request: its request line, a header line or a "
                "chunk is malformed");
    }
}

/* Called by libmicrohttpd for its own error pages, on the front thread. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *mhd, unsigned status,
                                   struct MHD_Response *response)
{
    struct conn *c = conn_of(mhd);
    if (!c) return mhd_queue(mhd, (int)status, response);
    struct error error;
    describe(&error, status, c->server->params.max_headers);
    conn_raw_error(c, (int)status, &error);
    c->linger = true;
    conn_watch(c, WATCH_DEAD);
    return MHD_NO;
}
