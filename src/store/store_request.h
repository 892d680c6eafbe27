/* The log of requests: one row for each that was answered or failed, with who answered, what it
 * cost and what left the machine. It holds no word of what was said. */
#ifndef HEARTH_STORE_STORE_REQUEST_H
#define HEARTH_STORE_STORE_REQUEST_H

#include "base/arena.h"
#include "store/store.h"

enum { STORE_REQUESTS_MAX = 1000 }; /* of one list */

/* Strings may be NULL where nothing is known. */
struct store_request {
    const char *id;      /* a new UUID */
    const char *user_id; /* NULL = nobody's */
    int64_t at_ms;       /* when it came */
    const char *request_id, *kind, *asked, *route, *goal, *provider, *model, *reason, *tried;
    int64_t attempts;
    int64_t complexity_permille; /* -1 = not measured */
    const char *error;           /* the API's word; NULL = it was answered */
    int64_t prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens;
    int64_t first_token_ms; /* -1 = there was none */
    int64_t total_ms;
    int64_t cost_micros; /* millionths of a US dollar; -1 = no price is known */
    const char *left_to; /* providers outside the machine that were sent it, "a,b"; NULL = none */
    int64_t left_bytes, left_messages, left_images;
};

/* All in one transaction. Rows of users who are gone are left out. */
HT_MUST_CHECK enum err store_request_add(struct store *s, const struct store_request *rows,
                                         size_t n, struct error *error);

struct store_request_page {
    const char *user_id;   /* NULL = of everybody */
    bool left;             /* only those that left the machine */
    int64_t before_ms;     /* only older ones; INT64_MAX = all */
    const char *before_id; /* and of those of that millisecond the ones behind it; NULL = none */
    int32_t limit;         /* at most STORE_REQUESTS_MAX */
};
/* The newest first, those of one millisecond by their id. */
HT_MUST_CHECK enum err store_request_list(struct store *s, const struct store_request_page *page,
                                          struct arena *a, struct store_request **out, size_t *n,
                                          struct error *error);
/* Removes what is older. */
HT_MUST_CHECK enum err store_request_sweep(struct store *s, int64_t before_ms, struct error *error);
/* What nobody's requests have cost since then. */
HT_MUST_CHECK enum err store_request_cost(struct store *s, int64_t since_ms, int64_t *micros,
                                          struct error *error);

#endif
