/* What the surfaces over WebSockets (routes with ROUTE_SOCKET) have in common.
 *
 * Each text message of a client is a request of its own: the route's handler gets it as the body of
 * an http_request whose header, query and parameters are those of the handshake, and answers into a
 * sink. The access rules are asked for each of them anew. Each line of a streamed answer
 * (sink_write), and each complete answer (sink_respond), is one text message back: handlers write
 * lines of JSON. Messages are answered one after the other, in the order in which they came.
 *
 * {"type": "cancel"} is the one message that does not wait: it ends what is being answered and
 * drops what waits, as if their client had gone, before it is handled itself. */
#ifndef HEARTH_API_SOCKET_H
#define HEARTH_API_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a message is {"type": "cancel", ...}. Pure; any thread. */
bool socket_is_cancel(const char *text, size_t len);

#endif
