/* Simple calls: those that read and change what OpenAI's surface keeps (responses, stored
 * completions, files, batches), whole and on the pool. A handler looks like this:
 *
 *     struct simple c;
 *     if (!simple_begin(&c, hub, req, sink, SIMPLE_BODY)) return; // refused and answered
 *     enum err e = ...;                                           // writes c.w
 *     simple_end(&c, 200, e);                                     // answers, frees
 *
 * What is kept belongs to the user who calls, or to nobody ("") where nobody is asked who he is
 * (access.h); what is not the caller's is 404. */
#ifndef HEARTH_API_SIMPLE_H
#define HEARTH_API_SIMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/fields.h"
#include "api/http.h"
#include "base/arena.h"
#include "base/json.h"

struct hub;
struct store;

enum simple_flags { SIMPLE_BODY = 1 << 0 /* the body must be a JSON object: c.body */ };

struct simple {
    struct hub *hub;
    const struct http_request *req;
    struct sink *sink;
    struct store *store;
    const char *user_id; /* "" = nobody's */
    struct arena *arena; /* for what the store gives */
    json_t *body;
    struct buf out;
    struct jw w; /* the answer */
    struct error error;
};

/* False: the call was refused and answered; the sink is gone. */
bool simple_begin(struct simple *c, struct hub *hub, const struct http_request *req,
                  struct sink *sink, unsigned flags);
/* Answers with what c->w holds, or with c->error when e is not OK; frees everything. */
void simple_end(struct simple *c, int status, enum err e);
/* Frees everything without an answer: the sink went to somebody else, who has its reference. */
void simple_drop(struct simple *c);

/* ---- lists ---------------------------------------------------------------------------------- */

struct simple_page {
    int64_t limit;
    const char *after; /* NULL = from the beginning */
    bool oldest_first;
};

/* The query parameters limit, after and order. */
HT_MUST_CHECK enum err simple_read_page(struct simple *c, int64_t limit, int64_t most,
                                        bool oldest_first, struct simple_page *out);
/* The part that a page has of an array, which is kept oldest first. */
struct simple_slice {
    size_t count; /* the k-th of them is at simple_slice_at */
    bool more;    /* there are more behind it */
    size_t n, from;
    bool oldest_first;
};
/* Of an array of n; after: the place of page->after in it. */
struct simple_slice simple_slice(const struct simple_page *page, size_t n, size_t after);
size_t simple_slice_at(const struct simple_slice *s, size_t k);

/* {"object":"list","data":[ and what follows the objects, which the caller writes in between. */
void simple_list_begin(struct simple *c);
void simple_list_end(struct simple *c, const char *first_id, const char *last_id, bool has_more);

/* {"id","object","deleted":true} */
void simple_put_deleted(struct simple *c, const char *id, const char *object);
/* Unix seconds; 0 = null. */
void simple_put_time(struct jw *w, const char *key, int64_t ms);

#endif
