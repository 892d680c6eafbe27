/* Errors in OpenAI's shape: see error.h. */
#include "api/error.h"

#include "api/route.h"
#include "base/json.h"
#include "base/str.h"

/* Seconds after which it is worth trying again, where the error doesn't know: some of a full queue
 * will have been answered; a hub that was stopping will be up again. */
enum { RETRY_BUSY_S = 5, RETRY_UNAVAILABLE_S = 10 };

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

void error_write(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kstr(&w, "message", error->msg);
    jw_kstr(&w, "type", error_type(err_http_status(error->code)));
    jw_kstr(&w, "param", error->param[0] ? error->param : NULL);
    jw_kstr(&w, "code", err_api_code(error->code));
    jw_kstr(&w, "request_id", request_id);
    jw_obj_end(&w);
    jw_obj_end(&w);
}

static void respond(struct sink *sink, int status,
                    void (*write)(struct buf *out, const struct error *error, const char *id),
                    const struct error *error, const char *request_id)
{
    struct sink_header header = {0};
    size_t n = 0;
    char seconds[16];
    if (status == 401) {
        header = (struct sink_header){"WWW-Authenticate", "Bearer"};
        n = 1;
    }
    if (status == 429 || status == 503) {
        int usual = status == 429 ? RETRY_BUSY_S : RETRY_UNAVAILABLE_S;
        snprintf(seconds, sizeof seconds, "%d",
                 error->retry_after_s > 0 ? (int)error->retry_after_s : usual);
        header = (struct sink_header){"Retry-After", seconds};
        n = 1;
    }
    struct buf body;
    buf_init(&body, 8 * 1024);
    write(&body, error, request_id);
    /* The sink may have been closed meanwhile: nobody is left to be told. */
    (void)sink_respond(sink, status, "application/json", &header, n, buf_str(&body), body.len);
    buf_free(&body);
}

void error_respond(struct sink *sink, const struct error *error, const char *request_id)
{
    respond(sink, err_http_status(error->code), error_write, error, request_id);
}

/* ---- /api/v1 ------------------------------------------------------------------------------- */

/* A value that does not fit is 422 there, whatever it did not fit. */
static bool is_validation(const struct error *error)
{
    return error->code == ERR_INVALID || error->code == ERR_JSON;
}

static void write_v1(struct buf *out, const struct error *error, const char *request_id)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kstr(&w, "code", is_validation(error) ? "validation_error" : err_api_code(error->code));
    jw_kstr(&w, "message", error->msg);
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

void error_respond_v1(struct sink *sink, const struct error *error, const char *request_id)
{
    int status = is_validation(error) ? 422 : err_http_status(error->code);
    respond(sink, status, write_v1, error, request_id);
}

static bool is_v1(const char *path)
{
    return str_starts(path, "/api/v1/");
}

int error_status_for(const char *path, const struct error *error)
{
    return is_v1(path) && is_validation(error) ? 422 : err_http_status(error->code);
}

void error_write_for(struct buf *out, const char *path, const struct error *error,
                     const char *request_id)
{
    if (is_v1(path))
        write_v1(out, error, request_id);
    else
        error_write(out, error, request_id);
}

void api_error(struct sink *sink, const struct http_request *req, const struct error *error)
{
    if (is_v1(req->path))
        error_respond_v1(sink, error, req->request_id);
    else
        error_respond(sink, error, req->request_id);
}
