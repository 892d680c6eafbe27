/* The request target of an HTTP request, taken apart. Pure: no sockets, no state, any thread. */
#ifndef HEARTH_SERVER_URI_H
#define HEARTH_SERVER_URI_H

#include <stddef.h>

#include "base/err.h"

/* All parts point into the storage given to uri_parse. */
struct uri {
    const char *raw_path;  /* as it came, still encoded, without the query: what routes match */
    const char *path;      /* decoded */
    const char *query;     /* decoded pairs: name \0 value \0 ... \0; never NULL */
    const char *authority; /* "host:port" of an absolute target, else NULL */
};

/* Bytes of storage that uri_parse needs for a target of len bytes. */
size_t uri_storage(size_t len);

/* Accepts origin form ("/a?b"), absolute form ("http://h/a?b") and "*". Refuses with ERR_INVALID
 * blanks, control characters, broken or forbidden escapes (%00), and anything else. */
HT_MUST_CHECK enum err uri_parse(const char *target, size_t len, char *storage, struct uri *out,
                                 struct error *error);

/* Value of the first pair of that name; NULL if there is none. */
const char *uri_query(const struct uri *uri, const char *name);

#endif
