/* POST /v1/messages and POST /v1/messages/count_tokens. */
#include <string.h>

#include "api/answer.h"
#include "api/anthropic/anthropic_int.h"
#include "api/ask.h"
#include "api/responder.h"
#include "api/route.h"
#include "base/str.h"
#include "hub/hub.h"
#include "provider/prompt_json.h"

enum { ARGS_MAX = 512 << 20 };

/* Clients name the version of the API that they were written for, a date; there is one so far. */
static enum err check_version(const struct http_request *req, struct error *error)
{
    const char *version = req->header(req, "anthropic-version");
    if (!version) return OK;
    bool date = strlen(version) == 10 && version[4] == '-' && version[7] == '-' &&
                strspn(version, "0123456789-") == 10;
    if (date) return OK;
    return err_set_param(error, ERR_INVALID, "anthropic-version",
                         "anthropic-version: \"%.40s\" is not a valid version; send 2023-06-01",
                         version);
}

static enum err parse(const struct hub *hub, const struct http_request *req, bool count,
                      struct call *call, struct messages_wish *wish, struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err e = check_version(req, error);
    if (!e) e = call_read(hub->config, req, &env, &body, error);
    if (e) return e;
    e = messages_parse(body, req->body_len, count, &env, call, wish, error);
    json_decref(body);
    return e;
}

void anthropic_messages(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct call call;
    struct messages_wish wish;
    struct error error;
    if (parse(hub, req, false, &call, &wish, &error)) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct writer *writer = messages_writer_new(&call, &wish);
    answer_start(hub, sink, &call, writer, req->request_id, "messages");
}

/* ---- counting ------------------------------------------------------------------------------ */

static void counted(void *ctx, const struct error *error, const json_t *answer)
{
    struct responder *r = ctx;
    struct error own;
    int64_t n = 0;
    char body[64];
    if (!error && json_get_int(answer, "tokens", "", 0, INT32_MAX, &n, &own)) error = &own;
    if (error) {
        responder_error(r, error);
        return;
    }
    str_printf(body, sizeof body, "{\"input_tokens\":%lld}", (long long)n);
    responder_text(r, RESPOND_JSON, body, strlen(body));
}

static enum err write_args(const struct gen_request *req, struct buf *args, struct error *error)
{
    struct jw w;
    for (size_t i = 0; i < req->n_messages; i++)
        if (req->messages[i].n_images)
            return err_set_param(error, ERR_UNSUPPORTED, "/messages",
                                 "/messages: pictures can't be counted in tokens here");
    jw_init(&w, args);
    jw_obj(&w);
    jw_kstr(&w, "model", req->model);
    jw_key(&w, "request");
    prompt_json_write(&w, req);
    jw_obj_end(&w);
    return args->err ? err_set(error, args->err, "the conversation is too long") : OK;
}

void anthropic_count_tokens(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct call call;
    struct messages_wish wish;
    struct error error;
    struct buf args;
    buf_init(&args, ARGS_MAX);
    enum err e = parse(hub, req, true, &call, &wish, &error);
    if (!e) {
        e = write_args(call.requests[0], &args, &error);
        call_free(&call);
    }
    if (e) {
        api_error(sink, req, &error);
        sink_unref(sink);
    } else {
        struct responder *r = responder_new(sink, &error_anthropic, req->request_id);
        ask_provider(hub, CONTROL_TEMPLATE, buf_str(&args), counted, r);
    }
    buf_free(&args);
}
