/* A Chroma server, by its REST API, version 2: requests, answers, errors. Only for
 * vectors_chroma.c, which knows what is sent and when. Any thread may call; every call waits for
 * the server.
 *
 * Errors: ERR_NETWORK: it can't be reached (said in the log once, as its return is); ERR_NOT_FOUND;
 * ERR_CONFIG: it takes no token or another one; ERR_UPSTREAM: whatever else it says. */
#ifndef HEARTH_RAG_CHROMA_REST_H
#define HEARTH_RAG_CHROMA_REST_H

#include "base/buf.h"
#include "base/json.h"
#include "rag/vectors.h"

enum { CHROMA_ID_MAX = 64, CHROMA_NAME_MAX = 128 };

struct chroma_server;

/* Asks nothing yet. ERR_CONFIG: no URL. */
HT_MUST_CHECK enum err chroma_server_new(const struct vectors_params *params,
                                         struct chroma_server **out, struct error *error);
void chroma_server_free(struct chroma_server *s); /* NULL is fine */
/* Tells it from others: the address of its collections. */
const char *chroma_place(const struct chroma_server *s);
/* Another number each time that it came back after it was away. */
int chroma_contact(const struct chroma_server *s);

/* The id of the collection of that name; one that is not there is made, empty. */
HT_MUST_CHECK enum err chroma_find(struct chroma_server *s, const char *name,
                                   char id[CHROMA_ID_MAX], bool *made, struct error *error);
/* OK also when it is not there. */
HT_MUST_CHECK enum err chroma_drop(struct chroma_server *s, const char *name, struct error *error);
/* POST (or GET, when body is NULL) of a collection's verb: upsert, delete, get, count, query. *out
 * (may be NULL) is the caller's, NULL after an error. */
HT_MUST_CHECK enum err chroma_call(struct chroma_server *s, const char *id, const char *verb,
                                   const struct buf *body, json_t **out, struct error *error);
/* A vector in a request: in base64 where the server takes that, which chroma_find has asked. */
void chroma_put_vector(struct chroma_server *s, struct jw *w, const float *v, int32_t dims);

#endif
