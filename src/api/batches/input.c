/* Input files of batches: a request as JSON on each line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/batches/batches_int.h"
#include "api/request.h"
#include "base/map.h"
#include "base/str.h"
#include "hub/hub.h"

/* ---- lines ---------------------------------------------------------------------------------- */

enum err batch_input_open(struct hub *hub, struct store *s, const struct store_batch *batch,
                          struct batch_input *out, struct error *error)
{
    struct store_api_file f;
    int fd = -1;
    int64_t size;
    struct arena *a = arena_new(1 << 20);
    *out = (struct batch_input){0};
    enum err e = store_api_file_get(s, batch->user_id, batch->input_file_id, a, &f, error);
    if (e == ERR_NOT_FOUND)
        e = err_set(error, ERR_INVALID, "the input file %s is gone", batch->input_file_id);
    if (!e) e = files_open(hub->files, f.sha256, &fd, &size, error);
    if (e == ERR_NOT_FOUND) /* which would say that the batch is gone */
        e = err_set(error, ERR_INVALID, "the bytes of the input file %s are gone from the hub",
                    batch->input_file_id);
    if (!e && !(out->file = fdopen(fd, "r"))) {
        e = err_set_errno(error, errno, "the input file can't be read");
        close(fd);
    }
    arena_free(a);
    return e;
}

bool batch_input_next(struct batch_input *in, enum err *err, struct error *error)
{
    *err = OK;
    for (;;) {
        errno = 0;
        ssize_t n = getline(&in->line, &in->room, in->file);
        if (n < 0) {
            if (errno == ENOMEM)
                *err =
                    err_set(error, ERR_NOMEM, "no memory for line %lld", (long long)in->number + 1);
            else if (ferror(in->file))
                *err = err_set_errno(error, errno, "the input file can't be read");
            return false;
        }
        in->number++;
        while (n > 0 && strchr("\r\n \t", in->line[n - 1])) n--;
        in->line[n] = '\0';
        in->len = (size_t)n;
        if (n > 0) return true;
    }
}

void batch_input_close(struct batch_input *in)
{
    if (in->file) fclose(in->file);
    free(in->line);
    *in = (struct batch_input){0};
}

/* ---- one request ----------------------------------------------------------------------------- */

static bool fault_at(struct batch_fault *fault, const char *code, const char *param,
                     const char *message)
{
    fault->code = code;
    fault->param = param;
    str_copy(fault->message, sizeof fault->message, message);
    return false;
}

static bool check_request(struct batch_request *r, const char *endpoint, struct batch_fault *fault)
{
    const json_t *custom_id = json_object_get(r->json, "custom_id");
    const char *method = json_string_value(json_object_get(r->json, "method"));
    const char *url = json_string_value(json_object_get(r->json, "url"));
    r->custom_id = json_string_value(custom_id);
    r->body = json_object_get(r->json, "body");
    if (!r->custom_id || !*r->custom_id)
        return fault_at(fault, "missing_required_parameter", "custom_id",
                        "Missing required parameter: 'custom_id' (a string).");
    if (json_string_length(custom_id) > BATCH_CUSTOM_ID_MAX)
        return fault_at(fault, "invalid_custom_id", "custom_id",
                        "The custom_id has more than 512 bytes.");
    if (!str_ieq(method, "POST"))
        return fault_at(fault, "invalid_method", "method", "The method must be POST.");
    if (!str_eq(url, endpoint))
        return fault_at(fault, "invalid_url", "url",
                        "The URL provided for this request does not match the batch endpoint.");
    if (!json_is_object(r->body))
        return fault_at(fault, "missing_required_parameter", "body",
                        "Missing required parameter: 'body' (an object).");
    if (json_is_true(json_object_get(r->body, "stream")))
        return fault_at(fault, "invalid_request", "body.stream",
                        "Answers of a batch can't be streamed.");
    if (json_is_true(json_object_get(r->body, "background")))
        return fault_at(fault, "invalid_request", "body.background",
                        "A batch is in the background already.");
    return true;
}

bool batch_request_read(const char *line, size_t len, const char *endpoint,
                        struct batch_request *out, struct batch_fault *fault)
{
    struct error why;
    *out = (struct batch_request){0};
    if (request_parse_object(line, len, &out->json, &why)) {
        out->json = NULL;
        fault_at(fault, "invalid_json_line", NULL, why.msg);
        return false;
    }
    if (check_request(out, endpoint, fault)) return true;
    batch_request_free(out);
    return false;
}

void batch_request_free(struct batch_request *r)
{
    json_decref(r->json);
    *r = (struct batch_request){0};
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct check {
    struct map *ids;
    struct buf errors;
    struct jw w;
    int64_t n_errors, total;
};

void batch_write_error(struct jw *w, const char *code, const char *message, const char *param,
                       int64_t line)
{
    jw_obj(w);
    jw_kstr(w, "code", code);
    jw_kstr(w, "message", message);
    jw_kstr(w, "param", param);
    jw_key(w, "line");
    if (line)
        jw_int(w, line);
    else
        jw_null(w);
    jw_obj_end(w);
}

static void add_error(struct check *c, const struct batch_fault *fault, int64_t line)
{
    if (c->n_errors++ >= BATCH_ERRORS_MAX) return;
    batch_write_error(&c->w, fault->code, fault->message, fault->param, line);
}

static void check_line(struct check *c, const struct batch_input *in, const char *endpoint)
{
    struct batch_request r;
    struct batch_fault fault;
    c->total++;
    if (!batch_request_read(in->line, in->len, endpoint, &r, &fault)) {
        add_error(c, &fault, in->number);
        return;
    }
    if (map_put(c->ids, r.custom_id, c)) {
        fault_at(&fault, "duplicate_custom_id", "custom_id",
                 "The custom_id for this request is a duplicate of another request. The custom_id "
                 "parameter must be unique for each request in a batch.");
        add_error(c, &fault, in->number);
    }
    batch_request_free(&r);
}

static enum err check_lines(struct check *c, struct batch_input *in, const char *endpoint,
                            struct error *error)
{
    struct batch_fault fault;
    enum err e = OK;
    while (c->total <= BATCH_LINES_MAX && batch_input_next(in, &e, error))
        check_line(c, in, endpoint);
    if (e) return e;
    if (c->total == 0) {
        fault_at(&fault, "empty_file", NULL, "The input file is empty.");
        add_error(c, &fault, 0);
    } else if (c->total > BATCH_LINES_MAX) {
        fault_at(&fault, "too_many_tasks", NULL,
                 "The input file has more than 50000 requests; send it in pieces.");
        add_error(c, &fault, 0);
    }
    return OK;
}

enum err batch_input_check(struct hub *hub, struct store *s, const struct store_batch *batch,
                           int64_t *total, char **errors, struct error *error)
{
    struct batch_input in;
    struct check c = {0};
    *errors = NULL;
    enum err e = batch_input_open(hub, s, batch, &in, error);
    if (e) return e;
    c.ids = map_new();
    buf_init(&c.errors, 1 << 20);
    jw_init(&c.w, &c.errors);
    jw_arr(&c.w);
    e = check_lines(&c, &in, batch->endpoint, error);
    jw_arr_end(&c.w);
    *total = c.total;
    if (!e && c.n_errors) *errors = buf_take(&c.errors);
    buf_free(&c.errors);
    map_free(c.ids);
    batch_input_close(&in);
    return e;
}
