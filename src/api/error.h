/* Errors as the clients of each surface expect them. A surface has one shape; which, its paths say.
 * Any thread. */
#ifndef HEARTH_API_ERROR_H
#define HEARTH_API_ERROR_H

#include "api/http.h"
#include "base/buf.h"

struct error_shape {
    const char *name;
    /* MUST. The whole body, appended to out; request_id may be NULL. */
    void (*write)(struct buf *out, const struct error *error, const char *request_id);
    /* MAY: where the status is another one than the code's. */
    int (*status)(const struct error *error);
    /* MAY: the header in which the surface's clients look for the request's id, beside
     * X-Request-Id; on answers that worked, too. */
    const char *id_header;
};

extern const struct error_shape error_openai; /* {"error":{message,type,param,code,request_id}} */
extern const struct error_shape error_v1;     /* {"error":{code,message,details,request_id}} */
extern const struct error_shape error_ollama; /* {"error":"<words>"} */
extern const struct error_shape error_anthropic;     /* {"type":"error","error":{type,message}} */
extern const struct error_shape error_llama;         /* {"error":{code (status),message,type}} */
extern const struct error_shape error_models;        /* error_openai's, and {"detail": message} */
extern const struct error_shape error_models_socket; /* the same with "type": "error" */

/* That of the surface that the path belongs to; OpenAI's for paths of none. */
const struct error_shape *error_shape_of(const char *path);
int error_status(const struct error_shape *shape, const struct error *error);

/* Answers the open sink with it: Retry-After with 429 and 503. For answers that outlive their
 * http_request; handlers that still have it call api_error (route.h). headers may be NULL. */
void error_respond(struct sink *sink, const struct error_shape *shape, const struct error *error,
                   const char *request_id);
void error_respond_with(struct sink *sink, const struct error_shape *shape,
                        const struct error *error, const char *request_id,
                        const struct sink_header *headers, size_t n_headers);

#endif
