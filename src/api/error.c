/* Errors in the shapes of the surfaces: see error.h. */
#include "api/error.h"

#include <stdio.h>

#include "api/route.h"
#include "base/json.h"
#include "base/str.h"

/* Seconds after which it is worth trying again, where the error doesn't know: some of a full queue
 * will have been answered; a hub that was stopping will be up again. */
enum { RETRY_BUSY_S = 5, RETRY_UNAVAILABLE_S = 10 };

/* Seconds after which this may be tried again; 0: that won't help. */
static int retry_after(int status, const struct error *error)
{
    if (status != 429 && status != 503 && status != 529) return 0;
    if (error->retry_after_s > 0) return (int)error->retry_after_s;
    return status == 429 ? RETRY_BUSY_S : RETRY_UNAVAILABLE_S;
}

/* OpenAI's words for a class of errors; its SDKs choose their exception by the status alone. */
static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 408: return "timeout_error";
    case 409: return "conflict_error";
    case 429: return "rate_limit_error";
    case 499: return "cancelled_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

static void put_openai(struct jw *w, const struct error *error, const char *request_id)
{
    jw_key(w, "error");
    jw_obj(w);
    jw_kstr(w, "message", error->msg);
    jw_kstr(w, "type", error_type(err_http_status(error->code)));
    jw_kstr(w, "param", error->param[0] ? error->param : NULL);
    jw_kstr(w, "code", err_api_code(error->code));
    jw_kstr(w, "request_id", request_id);
    jw_obj_end(w);
}

static void write_openai(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put_openai(&w, error, request_id);
    jw_obj_end(&w);
}

const struct error_shape error_openai = {.name = "openai", .write = write_openai};

/* ---- the model server under /api ----------------------------------------------------------- */

/* Its clients look for "detail", as FastAPI has it. */
static void put_models(struct jw *w, const struct error *error, const char *request_id)
{
    jw_kstr(w, "detail", error->msg);
    put_openai(w, error, request_id);
}

static void write_models(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put_models(&w, error, request_id);
    jw_obj_end(&w);
}

const struct error_shape error_models = {.name = "models", .write = write_models};

/* Of its WebSocket: messages have a type, and no header for Retry-After. */
static void write_models_socket(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    int wait_s = retry_after(err_http_status(error->code), error);
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "type", "error");
    put_models(&w, error, request_id);
    if (wait_s) jw_kint(&w, "retry_after", wait_s);
    jw_obj_end(&w);
}

const struct error_shape error_models_socket = {.name = "models-socket",
                                                .write = write_models_socket};

/* ---- /api/v1 ------------------------------------------------------------------------------- */

/* A value that does not fit is 422 there, whatever it did not fit. */
static bool is_validation(const struct error *error)
{
    return error->code == ERR_INVALID || error->code == ERR_JSON;
}

/* Apps look for these words; what is wrong with a token that was shown stands in the details. */
static const char *message_v1(const struct error *error)
{
    bool of_header = *error->param && *error->param != '/';
    return error->code == ERR_AUTH && of_header ? "Not authenticated" : error->msg;
}

static void write_v1(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kstr(&w, "code", is_validation(error) ? "validation_error" : err_api_code(error->code));
    jw_kstr(&w, "message", message_v1(error));
    jw_key(&w, "details");
    jw_arr(&w);
    if (*error->param) {
        jw_obj(&w);
        jw_kstr(&w, "param", error->param);
        jw_kstr(&w, "message", error->msg);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_kstr(&w, "request_id", request_id);
    jw_obj_end(&w);
    jw_obj_end(&w);
}

static int status_v1(const struct error *error)
{
    return is_validation(error) ? 422 : err_http_status(error->code);
}

const struct error_shape error_v1 = {.name = "v1", .write = write_v1, .status = status_v1};

/* ---- Anthropic ----------------------------------------------------------------------------- */

/* 503 is 529 there, "overloaded"; a wait that was too long is the gateway's 504; and what has no
 * status of its own there is an invalid request. */
static int status_anthropic(const struct error *error)
{
    int status = err_http_status(error->code);
    switch (status) {
    case 405:
    case 409:
    case 415:
    case 431: return 400;
    case 408: return 504;
    case 503: return 529;
    case 502:
    case 507: return 500;
    default: return status;
    }
}

static const char *type_anthropic(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 504: return "timeout_error";
    case 529: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

/* Its agents make room in a conversation when they read "prompt is too long: 9 tokens > 8 maximum".
 */
static void words_anthropic(char *msg, size_t size, const struct error *error)
{
    unsigned n, most;
    if (error->code != ERR_CONTEXT)
        str_copy(msg, size, error->msg);
    else if (sscanf(error->msg, "the prompt has %9u tokens, but at most %9u fit", &n, &most) == 2 ||
             sscanf(error->msg,
                    "the prompt has %*u bytes, at least %9u tokens, but at most %9u fit", &n,
                    &most) == 2)
        str_printf(msg, size, "prompt is too long: %u tokens > %u maximum", n, most);
    else
        str_printf(msg, size, "prompt is too long: %s", error->msg);
}

static void write_anthropic(struct buf *out, const struct error *error, const char *request_id)
{
    char msg[ERROR_MSG_MAX + 32];
    struct jw w;
    words_anthropic(msg, sizeof msg, error);
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "type", "error");
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kstr(&w, "type", type_anthropic(status_anthropic(error)));
    jw_kstr(&w, "message", msg);
    jw_obj_end(&w);
    jw_kstr(&w, "request_id", request_id);
    jw_obj_end(&w);
}

const struct error_shape error_anthropic = {.name = "anthropic",
                                            .write = write_anthropic,
                                            .status = status_anthropic,
                                            .id_header = "request-id"};

/* ---- llama-server -------------------------------------------------------------------------- */

static int status_llama(const struct error *error)
{
    return error->code == ERR_UNSUPPORTED ? 501 : err_http_status(error->code);
}

static const char *type_llama(const struct error *error)
{
    int status = status_llama(error);
    if (error->code == ERR_CONTEXT) return "exceed_context_size_error";
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 501: return "not_supported_error";
    case 429:
    case 503: return "unavailable_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

static void write_llama(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kint(&w, "code", status_llama(error));
    jw_kstr(&w, "message", error->msg);
    jw_kstr(&w, "type", type_llama(error));
    jw_kstr(&w, "request_id", request_id);
    jw_obj_end(&w);
    jw_obj_end(&w);
}

const struct error_shape error_llama = {
    .name = "llama", .write = write_llama, .status = status_llama};

/* ---- any ----------------------------------------------------------------------------------- */

/* The first one that fits: with `whole` the path itself, else its beginning. */
static const struct {
    const char *path;
    bool whole;
    const struct error_shape *shape;
} shapes[] = {
    {"/api/v1/", false, &error_v1},
    {"/api/chat", true, &error_ollama},
    {"/api/generate", true, &error_ollama},
    {"/api/embed", true, &error_ollama},
    {"/api/embeddings", true, &error_ollama},
    {"/api/tags", true, &error_ollama},
    {"/api/show", true, &error_ollama},
    {"/api/ps", true, &error_ollama},
    {"/api/pull", true, &error_ollama},
    {"/api/push", true, &error_ollama},
    {"/api/create", true, &error_ollama},
    {"/api/copy", true, &error_ollama},
    {"/api/delete", true, &error_ollama},
    {"/api/blobs/", false, &error_ollama},
    {"/api/version", true, &error_ollama},
    {"/v1/messages", false, &error_anthropic},
    {"/api/models", false, &error_models},
    {"/api/chat/completions", false, &error_models},
    {"/api/chat/ws", true, &error_models_socket},
    {"/apply-template", true, &error_llama},
    {"/completion", true, &error_llama},
    {"/completions", true, &error_llama},
    {"/detokenize", true, &error_llama},
    {"/infill", true, &error_llama},
    {"/props", true, &error_llama},
    {"/slots", true, &error_llama},
    {"/tokenize", true, &error_llama},
};

const struct error_shape *error_shape_of(const char *path)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].whole ? str_eq(path, shapes[i].path) : str_starts(path, shapes[i].path))
            return shapes[i].shape;
    return &error_openai;
}

int error_status(const struct error_shape *shape, const struct error *error)
{
    return shape->status ? shape->status(error) : err_http_status(error->code);
}

enum { ERROR_HEADERS_MAX = 8, ERROR_HEADERS_OWN = 3 };

void error_respond_with(struct sink *sink, const struct error_shape *shape,
                        const struct error *error, const char *request_id,
                        const struct sink_header *more, size_t n_more)
{
    struct sink_header headers[ERROR_HEADERS_MAX + ERROR_HEADERS_OWN];
    ht_assert(n_more <= ERROR_HEADERS_MAX);
    for (size_t i = 0; i < n_more; i++) headers[i] = more[i];
    size_t n = n_more;
    int status = error_status(shape, error);
    char seconds[16];
    if (status == 401) headers[n++] = (struct sink_header){"WWW-Authenticate", "Bearer"};
    if (shape->id_header && request_id)
        headers[n++] = (struct sink_header){shape->id_header, request_id};
    int wait_s = retry_after(status, error);
    if (wait_s) {
        str_printf(seconds, sizeof seconds, "%d", wait_s);
        headers[n++] = (struct sink_header){"Retry-After", seconds};
    }
    struct buf body;
    buf_init(&body, 8 * 1024);
    shape->write(&body, error, request_id);
    /* The sink may have been closed meanwhile: nobody is left to be told. */
    (void)sink_respond(sink, status, "application/json", headers, n, buf_str(&body), body.len);
    buf_free(&body);
}

void error_respond(struct sink *sink, const struct error_shape *shape, const struct error *error,
                   const char *request_id)
{
    error_respond_with(sink, shape, error, request_id, NULL, 0);
}

void api_error(struct sink *sink, const struct http_request *req, const struct error *error)
{
    error_respond(sink, error_shape_of(req->path), error, req->request_id);
}
