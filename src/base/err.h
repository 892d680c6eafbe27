/* Errors: one enum for the whole program, the message in the caller's buffer.
 *
 * Three classes, three words:
 *
 * - bug: ht_assert(), ht_bug(). An invariant is broken; aborts, in release builds too.
 * - exhausted resource: ERR_NOMEM, ERR_BUSY, ERR_DISK_FULL, ... Returned where the size came from
 *   outside; small fixed allocations die instead (mem.h).
 * - expected failure: everything else. Returned, with a message that says what happened, which
 *   value, and what to do next.
 *
 * The table below is the only place where an error is listed: name, HTTP status, stable API code.
 * docs/errors.md and the OpenAPI document are generated from it. */
#ifndef HEARTH_BASE_ERR_H
#define HEARTH_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, http_status, api_code, what it means) */
#define ERR_TABLE(X)                                                                               \
    X(OK, 200, "ok", "no error")                                                                   \
    X(ERR_INVALID, 400, "invalid_request", "a value is malformed or out of its allowed range")     \
    X(ERR_JSON, 400, "invalid_json", "the body is not valid JSON")                                 \
    X(ERR_SCHEMA, 400, "invalid_schema", "a JSON schema or grammar can't be used")                 \
    X(ERR_CONTEXT, 400, "context_length_exceeded",                                                 \
      "the prompt is longer than the model's context")                                             \
    X(ERR_UNSUPPORTED, 400, "unsupported", "the model or build can't do what was asked")           \
    X(ERR_ADAPTER, 400, "bad_adapter",                                                             \
      "the LoRA adapter's file is unusable or does not fit the model")                             \
    X(ERR_AUTH, 401, "unauthorized", "credentials are missing or wrong")                           \
    X(ERR_FORBIDDEN, 403, "forbidden", "the caller may not do this")                               \
    X(ERR_LOCAL_ONLY, 403, "local_only",                                                           \
      "it must stay on this machine, and nobody here can do it")                                   \
    X(ERR_NOT_FOUND, 404, "not_found", "no such path, object or file")                             \
    X(ERR_NO_MODEL, 404, "model_not_found", "no model of that name")                               \
    X(ERR_NO_ADAPTER, 404, "adapter_not_found", "no LoRA adapter of that name")                    \
    X(ERR_METHOD, 405, "method_not_allowed", "the path exists but not with this method")           \
    X(ERR_TIMEOUT, 408, "timeout", "it took longer than the limit")                                \
    X(ERR_CONFLICT, 409, "conflict", "the object is in a state that doesn't allow this")           \
    X(ERR_TOO_LARGE, 413, "too_large", "the body or a value is larger than the limit")             \
    X(ERR_MEDIA_TYPE, 415, "unsupported_media_type", "the content type is not understood")         \
    X(ERR_HEADERS, 431, "headers_too_large", "the request's headers are larger than the limit")    \
    X(ERR_BUSY, 429, "queue_full", "the queue is full; try again later")                           \
    X(ERR_QUOTA, 429, "quota_exceeded", "a quota of the user or the API key is used up")           \
    X(ERR_CANCELLED, 499, "cancelled", "the request was cancelled or its client went away")        \
    X(ERR_INTERNAL, 500, "internal_error", "something failed inside the hub")                      \
    X(ERR_IO, 500, "io_error", "reading or writing a file failed")                                 \
    X(ERR_NOMEM, 503, "out_of_memory", "not enough memory for this")                               \
    X(ERR_MODEL_FILE, 500, "bad_model_file",                                                       \
      "the model file is truncated, corrupt or unsupported")                                       \
    X(ERR_ENGINE, 500, "engine_error", "the inference library reported a failure")                 \
    X(ERR_WORKER, 503, "worker_stopped",                                                           \
      "the process that runs the models ended while it worked on this; send it again")             \
    X(ERR_QUARANTINED, 503, "model_quarantined",                                                   \
      "the model ended its process several times and is not loaded again by itself")               \
    X(ERR_NETWORK, 502, "network_error", "an outgoing connection failed")                          \
    X(ERR_UPSTREAM, 502, "upstream_error", "another server answered with an error")                \
    X(ERR_CHECKSUM, 502, "checksum_mismatch", "downloaded data does not have the promised hash")   \
    X(ERR_DATABASE, 503, "database_unavailable", "the database can't be reached, or is locked")    \
    X(ERR_STOPPING, 503, "stopping", "the hub is shutting down")                                   \
    X(ERR_CLOSED, 499, "closed", "the other side closed the stream")                               \
    X(ERR_DISK_FULL, 507, "disk_full", "not enough free disk space")                               \
    X(ERR_CONFIG, 500, "bad_configuration", "a setting has a wrong value")

enum err {
#define X(name, status, code, what) name,
    ERR_TABLE(X)
#undef X
        ERR_COUNT
};

#define HT_MUST_CHECK   __attribute__((warn_unused_result))
#define HT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define HT_NORETURN     __attribute__((noreturn))

enum { ERROR_MSG_MAX = 512, ERROR_PARAM_MAX = 160 };

/* An error with its words. Owned by the caller, on the stack; no allocation. `param` names the
 * offending part: a JSON pointer ("/messages/0/role"), a config key or a file name; may be "". */
struct error {
    enum err code;
    char msg[ERROR_MSG_MAX];
    char param[ERROR_PARAM_MAX];
    int32_t retry_after_s; /* when trying again makes sense; 0 = unknown */
};

/* Fills *e (may be NULL) and returns `code`, so that `return err_set(e, ERR_X, "...", ...)` reads
 * well. The message is cut at a UTF-8 boundary. Clears param. */
enum err err_set(struct error *e, enum err code, const char *fmt, ...) HT_PRINTF(3, 4);

/* As err_set, and names the offending part. */
enum err err_set_param(struct error *e, enum err code, const char *param, const char *fmt, ...)
    HT_PRINTF(4, 5);

/* Adds context in front of e->msg: "loading models/x.gguf: <old message>". Returns e->code. */
enum err err_prefix(struct error *e, const char *fmt, ...) HT_PRINTF(2, 3);

/* Puts an errno into *e: ENOENT, EACCES, ENOSPC, ENOMEM get their own code; else ERR_IO. The text
 * is "<what>: <strerror>". Returns the code chosen. */
enum err err_set_errno(struct error *e, int errnum, const char *what);

/* Takes the folder of `path` out of the message, wherever it stands: for errors that go to clients,
 * who must not learn where this machine keeps its files. */
void err_hide_folder(struct error *e, const char *path);

const char *err_name(enum err code);     /* "ERR_INVALID" */
const char *err_api_code(enum err code); /* "invalid_request" */
const char *err_meaning(enum err code);  /* last column of the table */
int err_http_status(enum err code);
/* The other way; ERR_INTERNAL for NULL and words that are none. */
enum err err_of_api_code(const char *word);

/* Prints file:line, the expression and a backtrace to stderr, then aborts. */
HT_NORETURN void ht_bug_at(const char *file, int line, const char *expr);

#define ht_assert(expr) ((expr) ? (void)0 : ht_bug_at(__FILE__, __LINE__, #expr))
#define ht_bug(what)    ht_bug_at(__FILE__, __LINE__, what)

#endif
