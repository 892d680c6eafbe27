/* Failures of other servers: from their words and statuses to ours. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "remote/core_int.h"

/* ---- reading ------------------------------------------------------------------------------- */

static void take(const json_t *obj, const char *name, char *dst, size_t size)
{
    const json_t *v = json_object_get(obj, name);
    if (json_is_string(v)) str_copy(dst, size, json_string_value(v));
    if (json_is_integer(v)) str_printf(dst, size, "%lld", (long long)json_integer_value(v));
}

/* {"detail": "text"} and {"detail": [{"loc": [...], "msg": "text"}]}, as FastAPI says it. */
static void take_detail(const json_t *detail, struct remote_failure *out)
{
    if (json_is_string(detail))
        str_copy(out->message, sizeof out->message, json_string_value(detail));
    else
        take(json_array_get(detail, 0), "msg", out->message, sizeof out->message);
}

void failure_read(const json_t *body, struct remote_failure *out)
{
    const json_t *error = json_object_get(body, "error");
    if (json_is_array(body)) { /* as Google's compatible surface says it */
        failure_read(json_array_get(body, 0), out);
        return;
    }
    if (json_is_string(error)) {
        str_copy(out->message, sizeof out->message, json_string_value(error));
        take(body, "error_description", out->message, sizeof out->message);
        return;
    }
    const json_t *from = json_is_object(error) ? error : body;
    take(from, "message", out->message, sizeof out->message);
    take(from, "type", out->type, sizeof out->type);
    take(from, "code", out->code, sizeof out->code);
    if (!out->message[0]) take_detail(json_object_get(body, "detail"), out);
}

int64_t retry_after_ms(const struct httpc_response *r)
{
    const char *ms = r->header(r, "retry-after-ms"), *s = r->header(r, "Retry-After");
    double value;
    if (ms && str_to_double(ms, 0, 1e9, &value)) return (int64_t)value;
    if (s && str_to_double(s, 0, 1e6, &value)) return (int64_t)(value * 1000);
    return 0;
}

/* ---- judging ------------------------------------------------------------------------------- */

static bool says(const struct remote_failure *f, const char *word)
{
    return strcasestr(f->code, word) || strcasestr(f->type, word);
}

static bool message_says(const struct remote_failure *f, const char *words)
{
    return strcasestr(f->message, words) != NULL;
}

static bool is_context(const struct remote_failure *f)
{
    return says(f, "context_length") || says(f, "exceed_context") ||
           message_says(f, "context length") || message_says(f, "context size") ||
           message_says(f, "context window") || message_says(f, "context limit") ||
           message_says(f, "prompt is too long") || message_says(f, "too many tokens");
}

static bool is_quota(const struct remote_failure *f)
{
    return says(f, "insufficient_quota") || says(f, "billing") || f->status == 402 ||
           message_says(f, "credit balance");
}

static bool is_model(const struct remote_failure *f)
{
    if (says(f, "model_not_found") || says(f, "not_found_error")) return true;
    return message_says(f, "model") &&
           (message_says(f, "not found") || message_says(f, "not exist") ||
            message_says(f, "does not support") || message_says(f, "no such"));
}

/* Of an error in a stream: by its words. */
static int status_of_words(const struct remote_failure *f)
{
    int64_t number;
    if (str_to_i64(f->code, 400, 599, &number)) return (int)number;
    if (says(f, "overloaded")) return 529;
    if (says(f, "rate_limit")) return 429;
    if (says(f, "authentication") || says(f, "api_key")) return 401;
    if (says(f, "permission")) return 403;
    if (says(f, "not_found")) return 404;
    if (says(f, "invalid")) return 400;
    return 500;
}

static enum err code_of(const struct remote_failure *f, int status)
{
    if (is_quota(f)) return ERR_QUOTA;
    if (status == 429) return ERR_BUSY;
    if (status == 408 || status == 504) return ERR_TIMEOUT;
    if (status == 413) return is_context(f) ? ERR_CONTEXT : ERR_TOO_LARGE;
    if (status == 404) return is_model(f) ? ERR_NO_MODEL : ERR_UPSTREAM;
    if (status != 400 && status != 422) return ERR_UPSTREAM;
    if (is_context(f)) return ERR_CONTEXT;
    if (message_says(f, "does not support")) return ERR_UNSUPPORTED; /* tools, thinking, images */
    return says(f, "model_not_found") ? ERR_NO_MODEL : ERR_INVALID;
}

static const char *advice(int status)
{
    if (status == 401) return "; is its key right?";
    if (status == 403) return "; may its key do this?";
    if (status >= 300 && status < 400) return "; is its base URL right?";
    return "";
}

enum err remote_fail(const char *name, const struct remote_failure *f, struct error *error)
{
    int status = f->status ? f->status : status_of_words(f);
    char what[32] = "";
    if (f->status)
        str_printf(what, sizeof what, "HTTP %d", f->status);
    else
        str_copy(what, sizeof what, "an error");
    const char *more = f->message[0] ? f->message : f->code[0] ? f->code : f->type;
    return err_set(error, code_of(f, status), "%s answers with %s%s%s%s", name, what,
                   *more ? ": " : "", more, advice(status));
}

bool failure_may_pass(int status, enum err code)
{
    if (code == ERR_QUOTA || code == ERR_CANCELLED || code == ERR_STOPPING || code == ERR_NOMEM)
        return false;
    if (status >= 400)
        return status == 408 || status == 429 || status == 529 ||
               (status >= 500 && status <= 504 && status != 501);
    if (status >= 300) return false;
    /* No answer, or one that broke off before its first token. A server that said nothing for as
     * long as it may is not given as long again. */
    return code == ERR_NETWORK || code == ERR_BUSY || (code == ERR_UPSTREAM && status >= 200);
}
