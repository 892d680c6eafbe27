/* Errors as the surfaces' clients expect them (OpenAI's shape, the only one so far). Any thread. */
#ifndef HEARTH_API_ERROR_H
#define HEARTH_API_ERROR_H

#include "api/http.h"
#include "base/buf.h"

/* {"error":{"message","type","param","code","request_id"}}, appended to out. request_id may be
 * NULL. */
void error_write(struct buf *out, const struct error *error, const char *request_id);

/* The shape and the status of the surface that the path belongs to. */
void error_write_for(struct buf *out, const char *path, const struct error *error,
                     const char *request_id);
int error_status_for(const char *path, const struct error *error);

/* Answers the open sink with it: status from the code, Retry-After with 429 and 503. For answers
 * that outlive their http_request; handlers that still have it call api_error (route.h). */
void error_respond(struct sink *sink, const struct error *error, const char *request_id);

/* The same in the shape of /api/v1. */
void error_respond_v1(struct sink *sink, const struct error *error, const char *request_id);

#endif
