/* GET /props and GET /slots: what llama-server tells of its model, and what its sequences do. */
#include <stdlib.h>
#include <string.h>

#include "api/ask.h"
#include "api/control.h"
#include "api/llama/llama_int.h"
#include "api/responder.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { ANSWER_MAX = 16 << 20, ARGS_MAX = 8192, RECORDS_MAX = 4096 };

struct asked {
    struct hub *hub;
    struct responder *reply;
    bool fail_if_busy;
};

static struct asked *asked_new(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct asked *a = xcalloc(1, sizeof *a);
    *a = (struct asked){.hub = hub, .reply = responder_new(sink, &error_llama, req->request_id)};
    return a;
}

/* Answers and frees everything. */
static void respond(struct asked *a, const struct error *error, struct buf *body)
{
    if (error)
        responder_error(a->reply, error);
    else
        responder_buf(a->reply, RESPOND_JSON, body);
    buf_free(body);
    free(a);
}

static const char *text(const json_t *obj, const char *name)
{
    const char *s = json_string_value(json_object_get(obj, name));
    return s ? s : "";
}

static int64_t number(const json_t *obj, const char *name)
{
    return json_integer_value(json_object_get(obj, name));
}

static bool is(const json_t *obj, const char *name)
{
    return json_is_true(json_object_get(obj, name));
}

/* ---- props --------------------------------------------------------------------------------- */

static void write_defaults(const struct hub *hub, struct jw *w, const json_t *p)
{
    struct call_env env;
    call_env_init(hub->config, &env);
    struct gen_request req = {.max_tokens = (int32_t)env.max_tokens,
                              .sampling = call_sampling(&env)};
    jw_key(w, "default_generation_settings");
    jw_obj(w);
    jw_key(w, "params");
    write_settings(w, &req, true);
    jw_kint(w, "n_ctx", number(p, "context"));
    jw_obj_end(w);
}

static void write_template(struct jw *w, const json_t *p)
{
    jw_kstr(w, "chat_template", text(p, "chat_template"));
    jw_key(w, "chat_template_caps");
    jw_obj(w);
    jw_kbool(w, "supports_tools", is(p, "tools"));
    jw_kbool(w, "supports_tool_calls", is(p, "tools"));
    jw_kbool(w, "supports_thinking", is(p, "thinking"));
    jw_obj_end(w);
    jw_kstr(w, "bos_token", text(p, "bos_token"));
    jw_kstr(w, "eos_token", text(p, "eos_token"));
}

static void props_told(void *ctx, const struct error *error, const json_t *p)
{
    struct asked *a = ctx;
    struct buf body;
    struct jw w;
    buf_init(&body, ANSWER_MAX);
    jw_init(&w, &body);
    jw_obj(&w);
    write_defaults(a->hub, &w, p);
    jw_kint(&w, "total_slots", number(p, "slots"));
    jw_kstr(&w, "model_alias", text(p, "model"));
    jw_kstr(&w, "model_path", text(p, "model"));
    jw_key(&w, "modalities");
    jw_obj(&w);
    jw_kbool(&w, "vision", false);
    jw_kbool(&w, "audio", false);
    jw_obj_end(&w);
    jw_kbool(&w, "endpoint_slots", true);
    jw_kbool(&w, "endpoint_props", false); /* they can't be changed */
    jw_kbool(&w, "endpoint_metrics", true);
    jw_kbool(&w, "supports_infill", is(p, "infill"));
    write_template(&w, p);
    jw_kstr(&w, "build_info", "hearth-" HEARTH_VERSION);
    jw_kbool(&w, "is_sleeping", false);
    jw_obj_end(&w);
    respond(a, error, &body);
}

void lserver_props(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    const char *model = req->query(req, "model");
    struct buf args;
    struct jw w;
    buf_init(&args, ARGS_MAX);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", model ? model : "");
    jw_obj_end(&w);
    struct asked *a = asked_new(hub, req, sink);
    if (args.err) {
        struct buf none;
        struct error error;
        buf_init(&none, 1);
        err_set(&error, ERR_TOO_LARGE, "the model's name is too long");
        respond(a, &error, &none);
    } else {
        ask_provider(hub, CONTROL_PROPS, buf_str(&args), props_told, a);
    }
    buf_free(&args);
}

/* ---- slots --------------------------------------------------------------------------------- */

/* Tokens of the next record that is computed by that model; -1: no more of them. */
static int32_t next_running(const struct record *records, size_t n, const char *model, size_t *at)
{
    for (; *at < n; (*at)++) {
        const struct record *r = &records[*at];
        bool running = r->state == RECORD_PREFILLING || r->state == RECORD_DECODING;
        bool generates = r->kind == RECORD_CHAT || r->kind == RECORD_COMPLETION;
        if (!running || !generates || !str_eq(r->model, model)) continue;
        (*at)++;
        return r->n_tokens;
    }
    return -1;
}

static void write_slot(struct jw *w, int64_t id, const json_t *model, int32_t n_decoded)
{
    jw_obj(w);
    jw_kint(w, "id", id);
    jw_kstr(w, "model", text(model, "id"));
    jw_kint(w, "n_ctx", number(model, "context"));
    jw_kbool(w, "speculative", false);
    jw_kbool(w, "is_processing", n_decoded >= 0);
    if (n_decoded >= 0) {
        jw_key(w, "next_token");
        jw_arr(w);
        jw_obj(w);
        jw_kbool(w, "has_next_token", true);
        jw_kint(w, "n_decoded", n_decoded);
        jw_obj_end(w);
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

/* Returns how many of them have nothing to do. */
static int64_t write_slots(struct jw *w, const json_t *models, const struct record *records,
                           size_t n_records)
{
    int64_t id = 0, idle = 0;
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        size_t at = 0;
        if (!str_eq(control_state_word(text(m, "state")), "ready")) continue;
        for (int64_t k = 0; k < number(m, "slots"); k++) {
            int32_t n_decoded = next_running(records, n_records, text(m, "id"), &at);
            write_slot(w, id++, m, n_decoded);
            idle += n_decoded < 0;
        }
    }
    return idle;
}

static void slots_told(void *ctx, const struct error *error, const json_t *answer)
{
    struct asked *a = ctx;
    struct buf body;
    struct jw w;
    struct error busy;
    size_t n = 0;
    struct record *records = error ? NULL : recorder_list(a->hub->recorder, NULL, RECORDS_MAX, &n);
    buf_init(&body, ANSWER_MAX);
    jw_init(&w, &body);
    jw_arr(&w);
    int64_t idle = write_slots(&w, json_object_get(answer, "models"), records, records ? n : 0);
    jw_arr_end(&w);
    free(records);
    if (!error && a->fail_if_busy && !idle) {
        err_set(&busy, ERR_NOMEM, "no slot is free");
        error = &busy;
    }
    respond(a, error, &body);
}

void lserver_slots(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    const char *fail = req->query(req, "fail_on_no_slot");
    struct asked *a = asked_new(hub, req, sink);
    a->fail_if_busy = fail && *fail && !str_eq(fail, "0");
    ask_provider(hub, CONTROL_MODELS, "{}", slots_told, a);
}
