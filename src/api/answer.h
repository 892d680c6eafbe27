/* Answer: one API call under way, from the parsed call to the last byte. Joins the provider (which
 * generates), the writer (which formats) and the sink (which leads to the client).
 *
 * Lifetime: an answer is reference counted. The handler's call holds one reference, each request
 * that the provider took holds one until its last event. The sink's close callback only borrows the
 * answer: it is withdrawn before the last reference's memory goes.
 *
 * Threads: events come on the provider's delivery thread, the client's going away on the server's
 * front thread, its patience on the clock thread, the start on a pool thread. What they share is
 * under the answer's lock, except the requests' ids and `stop`, which are atomic so that the close
 * callback takes no lock: no order with the sink's own locks can be wrong. Nothing of the provider
 * is called with the lock held. */
#ifndef HEARTH_API_ANSWER_H
#define HEARTH_API_ANSWER_H

#include "api/http.h"

struct call;
struct hub;
struct writer;

/* Takes over the requests of `call`, the writer and the caller's reference of the sink, and answers
 * by itself from here on. `what` names the endpoint in the log ("chat"); a constant. */
void answer_start(struct hub *hub, struct sink *sink, struct call *call, struct writer *writer,
                  const char *request_id, const char *what);

#endif
