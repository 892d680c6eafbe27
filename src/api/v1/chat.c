/* /api/v1/chat: a turn of a conversation, whole or as a stream of events. A stream that broke is
 * taken up again with GET /api/v1/chat/stream/{message_id} and Last-Event-ID. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/call_terms.h"
#include "api/error.h"
#include "api/tables.h"
#include "api/v1/v1_int.h"
#include "auth/quota.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/str.h"
#include "chat/chat.h"
#include "hub/hub.h"
#include "store/store_chunk.h"

enum { EVENT_HEAD = 96, TEXT_MAX = 32 << 20 };

/* ---- the request --------------------------------------------------------------------------- */

struct form {
    struct call_terms_fields terms;
    const char *message, *conversation_id, *parent_id, *system_prompt, *model;
    double temperature, top_p;
    int64_t max_tokens, seed;
    bool regenerate, use_rag;
    const json_t *file_ids, *collections;
};

#define AT(member) offsetof(struct form, member)
#define S          form

/* clang-format off */
static const struct field chat_fields[] = {
    {"message", FIELD_STR, 0, 0, 0, NULL, "What the user says. Absent only with regenerate.", AT(message)},
    {"conversation_id", FIELD_STR, 0, 0, 0, NULL, "The conversation to go on with; absent begins one, an id that is not there makes it.", AT(conversation_id)},
    {"parent_id", FIELD_STR, 0, 0, 0, NULL, "The message that this one follows, for another branch (editing); absent: the last one shown.", AT(parent_id)},
    {"regenerate", FIELD_BOOL, 0, 0, 0, NULL, "Answer the last question (or the one at parent_id) again, beside the answer there is.", AT(regenerate)},
    {"use_rag", FIELD_BOOL, 0, 0, 0, NULL, "Answer from the user's files, with sources that the answer cites as [n].", AT(use_rag)},
    {"file_ids", FIELD_ARR, 0, 0, 0, "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "Answer from these files (use_rag is then true unless it is said to be false).", AT(file_ids)},
    {"collections", FIELD_ARR, 0, 0, 0, "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "Answer from the files in these collections, by id or name; the same.", AT(collections)},
    {"model", FIELD_STR, 0, 0, 0, NULL, "Absent: the default model.", AT(model)},
    {"system_prompt", FIELD_STR, 0, 0, 0, NULL, "Instructions in front of the conversation.", AT(system_prompt)},
    {"temperature", FIELD_NUM, 0, 0, 100, NULL, "Absent: DEFAULT_TEMPERATURE.", AT(temperature)},
    {"top_p", FIELD_NUM, 0, 0, 1, NULL, "Absent: DEFAULT_TOP_P.", AT(top_p)},
    {"max_tokens", FIELD_INT, 0, -1, 16777216, NULL, "Absent: DEFAULT_MAX_TOKENS; -1: until the model ends.", AT(max_tokens)},
    {"seed", FIELD_INT, 0, 0, 4294967294.0, NULL, "Absent: another one each time.", AT(seed)},
    CALL_GEN_TERMS_FIELDS,
    {.name = NULL}};
/* clang-format on */

static enum err check_form(struct v1_call *c, const struct form *f)
{
    if (!f->message && !f->regenerate)
        return err_set_param(&c->error, ERR_INVALID, "/message", "message is required (a string)");
    if (f->message && f->regenerate)
        return err_set_param(&c->error, ERR_INVALID, "/regenerate",
                             "regenerate answers what was asked before; leave message out");
    if (f->regenerate && !f->conversation_id)
        return err_set_param(&c->error, ERR_INVALID, "/conversation_id",
                             "regenerate needs a conversation_id");
    return OK;
}

static enum err read_terms(struct v1_call *c, const struct form *f, const struct call_env *env,
                           struct chat_ask *ask)
{
    struct call_terms t;
    enum err e = call_terms_read(&f->terms, env, &t, &c->error);
    if (e) return e;
    const struct routing *all = router_routing(c->hub->router);
    if (*t.route.source && !routing_provider(all, t.route.source))
        return routing_no_provider(all, t.route.source, ERR_INVALID, "/model_source", &c->error);
    if (*t.route.route && !routing_route(all, t.route.route))
        return err_set_param(&c->error, ERR_INVALID, "/route", "there is no route \"%.64s\"",
                             t.route.route);
    ask->source = t.route.source;
    ask->route = t.route.route;
    ask->goal = t.route.goal;
    ask->local_only = t.route.local_only;
    ask->priority = t.priority;
    ask->deadline_ms = t.deadline_ms;
    ask->keep_alive_ms = t.keep_alive_ms;
    ask->adapter = t.adapter;
    ask->adapter_scale = t.adapter_scale;
    ask->deterministic = t.deterministic;
    ask->overflow = t.overflow;
    return OK;
}

/* Names are checked here, so that a wrong one is a 404 and not the end of a stream. */
static enum err read_files(struct v1_call *c, const struct form *f, struct chat_ask *ask)
{
    struct store_scope scope;
    enum err e =
        v1_strings(c, f->file_ids, "/file_ids", STORE_SCOPE_MAX, &ask->file_ids, &ask->n_files);
    if (!e)
        e = v1_strings(c, f->collections, "/collections", STORE_SCOPE_MAX, &ask->collections,
                       &ask->n_collections);
    bool said = json_object_get(c->body, "use_rag") != NULL;
    ask->use_rag = said ? f->use_rag : ask->n_files || ask->n_collections;
    if (e || !ask->use_rag) return e;
    return store_chunk_scope(c->store, c->who.user_id, ask->collections, ask->n_collections,
                             ask->file_ids, ask->n_files, c->arena, &scope, &c->error);
}

static enum err read_ask(struct v1_call *c, struct chat_ask *ask)
{
    struct call_env env;
    struct form f = {.terms = CALL_TERMS_ABSENT,
                     .temperature = NAN,
                     .top_p = NAN,
                     .max_tokens = FIELD_ABSENT,
                     .seed = FIELD_ABSENT};
    enum err e = call_env_read(c->hub->config, c->req, &env, &c->error);
    if (!e) e = fields_read(chat_fields, c->body, "", &f, &c->error);
    if (!e) e = check_form(c, &f);
    *ask = (struct chat_ask){.store = c->store,
                             .user_id = c->who.user_id,
                             .request_id = c->req->request_id,
                             .conversation_id = f.conversation_id,
                             .message = f.message,
                             .parent_id = f.parent_id,
                             .system_prompt = f.system_prompt,
                             .model = f.model,
                             .max_tokens = (int32_t)env.max_tokens,
                             .sampling = call_sampling(&env)};
    call_say_real(&ask->said, SAID_TEMPERATURE, f.temperature, &ask->sampling.temperature);
    call_say_real(&ask->said, SAID_TOP_P, f.top_p, &ask->sampling.top_p);
    call_say_int(&ask->said, SAID_MAX_TOKENS, f.max_tokens, &ask->max_tokens);
    if (f.seed != FIELD_ABSENT) {
        ask->sampling.seed = (uint32_t)f.seed;
        ask->said |= SAID_SEED;
    }
    if (!e) e = read_terms(c, &f, &env, ask);
    if (!e) e = read_files(c, &f, ask);
    return e;
}

/* ---- a stream ------------------------------------------------------------------------------ */

static void write_event(void *sink, const struct chat_event *ev)
{
    char head[EVENT_HEAD];
    struct buf out;
    str_printf(head, sizeof head, "id: %lld-%lld\nevent: %s\ndata: ", (long long)ev->id,
               (long long)ev->at, ev->word);
    buf_init(&out, TEXT_MAX);
    buf_puts(&out, head);
    buf_append(&out, ev->data, ev->len);
    buf_puts(&out, "\n\n");
    /* A client that has gone takes the turn up again later. */
    if (!out.err) (void)sink_write(sink, out.data, out.len);
    buf_free(&out);
}

static void end_stream(void *sink)
{
    sink_end(sink);
    sink_unref(sink);
}

/* The sink passes to the stream when this is OK. */
static enum err stream(struct v1_call *c, const char *answer_id, int64_t after)
{
    struct chat_listener l = {.on_event = write_event, .on_end = end_stream, .ctx = c->sink};
    sink_ref(c->sink);
    enum err e = sink_begin(c->sink, 200, "text/event-stream", NULL, 0);
    if (!e) e = chat_listen(c->hub->chat, c->who.user_id, answer_id, after, &l, &c->error);
    if (e) end_stream(c->sink);
    return e;
}

static void chat_stream(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct chat_ask ask;
    struct chat_ids ids;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = read_ask(&c, &ask);
    if (!e) e = quota_stream_check(accounts_quota(hub->accounts), c.who.user_id, &c.error);
    if (!e) e = chat_start(hub->chat, &ask, &ids, &c.error);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    (void)stream(&c, ids.answer, 0); /* the client may have gone: the turn goes on */
    v1_drop(&c);
}

/* ---- taking a stream up again ---------------------------------------------------------------- */

/* An event's id as clients see it: its number in the turn, and how much of the text had been told
 * with it, so that a stream is also taken up when only the store has its text. */
struct place {
    int64_t id, at;
};

static bool parse_place(const char *text, struct place *out)
{
    char number[24];
    size_t n = strcspn(text, "-");
    *out = (struct place){0, 0};
    if (n >= sizeof number) return false;
    memcpy(number, text, n);
    number[n] = '\0';
    if (!str_to_i64(number, 0, INT64_MAX, &out->id)) return false;
    return !text[n] || str_to_i64(text + n + 1, 0, INT64_MAX, &out->at);
}

static enum err read_after(struct v1_call *c, struct place *after)
{
    const char *text = c->req->header(c->req, "Last-Event-ID");
    if (!text) text = c->req->query(c->req, "after");
    *after = (struct place){0, 0};
    if (!text || !*text || parse_place(text, after)) return OK;
    return err_set_param(&c->error, ERR_INVALID, "Last-Event-ID",
                         "Last-Event-ID must be the id of an event, got %.40s", text);
}

/* A stream that is told from the store. */
struct replay {
    struct buf *out;
    struct place place; /* of the last event */
    struct jw w;
};

static void begin_event(struct replay *r, const char *word, size_t text)
{
    r->place.id++;
    r->place.at += (int64_t)text;
    buf_printf(r->out, "id: %lld-%lld\nevent: %s\ndata: ", (long long)r->place.id,
               (long long)r->place.at, word);
    jw_init(&r->w, r->out);
    jw_obj(&r->w);
}

static void end_event(struct replay *r)
{
    jw_obj_end(&r->w);
    buf_puts(r->out, "\n\n");
}

static void put_kept_sources(struct replay *r, const struct store_message *m)
{
    struct error error;
    json_t *meta = NULL;
    if (json_parse(m->meta, strlen(m->meta), &meta, &error)) return; /* our own writer's: never */
    const json_t *sources = json_object_get(meta, "sources");
    char *text = sources ? json_dumps(sources, JSON_COMPACT) : NULL;
    if (text) {
        begin_event(r, "sources", 0);
        jw_kraw(&r->w, "sources", text);
        end_event(r);
    }
    free(text);
    json_decref(meta);
}

/* What of the text lies behind `at`, of which `before` bytes are other text. */
static void put_rest(struct replay *r, const char *word, const char *text, size_t before)
{
    size_t len = strlen(text), skip = (size_t)r->place.at;
    skip = skip > before ? skip - before : 0;
    if (skip >= len) return;
    begin_event(r, word, len - skip);
    jw_kstr(&r->w, "text", text + skip);
    end_event(r);
}

static void put_end(struct replay *r, const struct store_message *m)
{
    struct error error;
    json_t *meta = NULL;
    if (json_parse(m->meta, strlen(m->meta), &meta, &error)) meta = NULL; /* our own writer's */
    const json_t *why = json_object_get(meta, "error");
    const char *finish = json_string_value(json_object_get(meta, "finish_reason"));
    const char *code = json_string_value(json_object_get(why, "code"));
    const char *words = json_string_value(json_object_get(why, "message"));
    if (m->status == STORE_COMPLETE || m->status == STORE_STOPPED) {
        begin_event(r, "done", 0);
        if (!finish) finish = m->status == STORE_STOPPED ? "cancelled" : "stop";
        jw_kstr(&r->w, "finish_reason", finish);
    } else {
        begin_event(r, "error", 0);
        jw_kstr(&r->w, "code", code ? code : "stopping");
        jw_kstr(&r->w, "message",
                words ? words
                      : "the hub stopped before the answer was complete; ask again with "
                        "regenerate");
    }
    jw_kstr(&r->w, "message_id", m->id);
    end_event(r);
    json_decref(meta);
}

/* Whether the client's text is the beginning of what the store has: the last two seconds of an
 * answer may be lost with the hub, and ids may be made up. */
static bool continues(const struct store_message *m, size_t reasoning, int64_t at)
{
    size_t all = reasoning + strlen(m->content), n = (size_t)at;
    if (at < 0 || n > all) return false;
    const char *next = n < reasoning ? m->reasoning + n : m->content + (n - reasoning);
    return ((unsigned char)*next & 0xc0) != 0x80; /* between two characters */
}

/* The turn is no longer in memory (it ended long ago, or the hub was restarted): the rest of it
 * from the store. Where that does not continue what the client has, the stream begins anew, with
 * `reset` in its meta event. */
static enum err replay(struct v1_call *c, const char *answer_id, struct place after)
{
    struct store_message m;
    char conversation[STORE_ID_MAX];
    enum err e = store_message_get(c->store, c->who.user_id, answer_id, c->arena, &m, conversation,
                                   &c->error);
    if (e) return e;
    struct replay r = {.out = &c->out, .place = after};
    size_t reasoning = m.reasoning ? strlen(m.reasoning) : 0;
    bool reset = after.id && !continues(&m, reasoning, after.at);
    if (!after.id || reset) {
        r.place = (struct place){0, 0};
        begin_event(&r, "meta", 0);
        jw_kstr(&r.w, "conversation_id", conversation);
        jw_kstr(&r.w, "question_id", m.parent_id);
        jw_kstr(&r.w, "message_id", m.id);
        if (reset) jw_kbool(&r.w, "reset", true);
        end_event(&r);
        put_kept_sources(&r, &m);
    }
    if (m.reasoning) put_rest(&r, "reasoning", m.reasoning, 0);
    put_rest(&r, "delta", m.content, reasoning);
    put_end(&r, &m);
    c->type = "text/event-stream";
    return OK;
}

static void resume(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct place after;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = read_after(&c, &after);
    if (!e && chat_has(hub->chat, c.who.user_id, req->params[0])) {
        (void)stream(&c, req->params[0], after.id);
        v1_drop(&c);
        return;
    }
    if (!e) e = replay(&c, req->params[0], after);
    v1_end(&c, 200, e);
}

/* ---- the whole answer ------------------------------------------------------------------------ */

struct waiting {
    struct hub *hub;
    struct sink *sink;
    char *request_id;
    char user_id[STORE_ID_MAX];
    struct chat_ids ids;
    struct buf content, reasoning;
    json_t *usage, *done, *error, *sources, *routed;
};

static void collect(void *ctx, const struct chat_event *ev)
{
    struct waiting *w = ctx;
    json_t *data = NULL;
    struct error error;
    if (ev->type == CHAT_QUEUED || ev->type == CHAT_META) return;
    if (json_parse(ev->data, ev->len, &data, &error)) return; /* our own writer's: never */
    if (ev->type == CHAT_ROUTED) {                            /* the last one counts */
        json_decref(w->routed);
        w->routed = NULL;
    }
    json_t **place = ev->type == CHAT_USAGE     ? &w->usage
                     : ev->type == CHAT_ROUTED  ? &w->routed
                     : ev->type == CHAT_DONE    ? &w->done
                     : ev->type == CHAT_ERROR   ? &w->error
                     : ev->type == CHAT_SOURCES ? &w->sources
                                                : NULL;
    const char *text = json_string_value(json_object_get(data, "text"));
    if (text) buf_puts(ev->type == CHAT_DELTA ? &w->content : &w->reasoning, text);
    if (place)
        *place = data;
    else
        json_decref(data);
}

/* NULL where nobody routes. */
static const char *routed(const struct waiting *w, const char *what)
{
    return json_string_value(json_object_get(w->routed, what));
}

static size_t route_headers(const struct waiting *w, struct sink_header headers[3])
{
    static const char *const names[][2] = {{"X-Hearth-Provider", "provider"},
                                           {"X-Hearth-Model", "model"},
                                           {"X-Hearth-Route-Reason", "reason"}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = routed(w, names[i][1]);
        if (value && *value) headers[n++] = (struct sink_header){names[i][0], value};
    }
    return n;
}

static void put_answer(const struct waiting *w, struct buf *out)
{
    struct jw j;
    char *usage = json_dumps(w->usage, JSON_COMPACT);
    jw_init(&j, out);
    jw_obj(&j);
    jw_kstr(&j, "conversation_id", w->ids.conversation);
    jw_kstr(&j, "message_id", w->ids.answer);
    jw_key(&j, "message");
    jw_obj(&j);
    jw_kstr(&j, "role", "assistant");
    jw_kstr(&j, "content", buf_str(&w->content));
    if (w->reasoning.len) jw_kstr(&j, "reasoning", buf_str(&w->reasoning));
    jw_obj_end(&j);
    jw_kstr(&j, "response", buf_str(&w->content));
    jw_kstr(&j, "model", json_string_value(json_object_get(w->usage, "model")));
    jw_kstr(&j, "finish_reason", json_string_value(json_object_get(w->done, "finish_reason")));
    jw_kraw(&j, "usage", usage ? usage : "{}");
    jw_kstr(&j, "provider", routed(w, "provider"));
    jw_kstr(&j, "route_reason", routed(w, "reason"));
    char *sources =
        w->sources ? json_dumps(json_object_get(w->sources, "sources"), JSON_COMPACT) : NULL;
    if (sources) jw_kraw(&j, "sources", sources);
    jw_obj_end(&j);
    free(sources);
    free(usage);
}

static void refuse(const struct waiting *w)
{
    struct error error;
    struct sink_header headers[3];
    size_t n = route_headers(w, headers);
    const char *code = json_string_value(json_object_get(w->error, "code"));
    const char *message = json_string_value(json_object_get(w->error, "message"));
    const char *param = json_string_value(json_object_get(w->error, "param"));
    err_set_param(&error, err_of_api_code(code), param ? param : "", "%s",
                  message ? message : "the answer failed");
    error_respond_with(w->sink, &error_v1, &error, w->request_id, headers, n);
}

static void answer_whole(void *ctx)
{
    struct waiting *w = ctx;
    struct buf out;
    sink_on_close(w->sink, NULL, NULL);
    buf_init(&out, TEXT_MAX);
    if (w->done) put_answer(w, &out);
    if (w->done && !out.err) {
        struct sink_header headers[3];
        size_t n = route_headers(w, headers);
        (void)sink_respond(w->sink, 200, "application/json", headers, n, out.data, out.len);
    } else {
        refuse(w);
    }
    sink_unref(w->sink);
    buf_free(&out);
    buf_free(&w->content);
    buf_free(&w->reasoning);
    json_decref(w->usage);
    json_decref(w->done);
    json_decref(w->error);
    json_decref(w->sources);
    json_decref(w->routed);
    free(w->request_id);
    free(w);
}

/* Nobody waits for a whole answer any more. */
static void stop_it(void *ctx)
{
    struct waiting *w = ctx;
    struct error error;
    if (chat_stop(w->hub->chat, w->user_id, w->ids.answer, &error)) return; /* just over */
}

static void chat_whole(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct chat_ask ask;
    struct chat_ids ids;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = read_ask(&c, &ask);
    if (!e) e = quota_stream_check(accounts_quota(hub->accounts), c.who.user_id, &c.error);
    if (!e) e = chat_start(hub->chat, &ask, &ids, &c.error);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    struct waiting *w = xcalloc(1, sizeof *w);
    w->hub = hub;
    w->sink = sink_ref(sink);
    w->request_id = xstrdup(req->request_id);
    w->ids = ids;
    str_copy(w->user_id, sizeof w->user_id, c.who.user_id);
    buf_init(&w->content, TEXT_MAX);
    buf_init(&w->reasoning, TEXT_MAX);
    sink_on_close(sink, stop_it, w);
    struct chat_listener l = {.on_event = collect, .on_end = answer_whole, .ctx = w};
    if (chat_listen(hub->chat, c.who.user_id, ids.answer, 0, &l, &c.error)) {
        w->error = json_pack("{s:s,s:s}", "code", "internal_error", "message", c.error.msg);
        answer_whole(w);
    }
    v1_drop(&c);
}

static void stop(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 204, chat_stop(hub->chat, c.who.user_id, req->params[0], &c.error));
}

/* ---- tables -------------------------------------------------------------------------------- */

/* clang-format off */
const struct route v1_chat_routes[] = {
    {HTTP_POST, "/api/v1/chat", chat_whole, 0, "Chat", "Say something in a conversation and get the whole answer", "ChatTurn", "ChatTurnAnswer"},
    {HTTP_POST, "/api/v1/chat/stream", chat_stream, ROUTE_STREAM, "Chat", "The same as events: meta, routed, sources, queued, delta, reasoning, usage, done, error", "ChatTurn", NULL},
    {HTTP_GET, "/api/v1/chat/stream/{id}", resume, ROUTE_STREAM, "Chat", "Go on with the stream of an answer behind Last-Event-ID", NULL, NULL},
    {HTTP_POST, "/api/v1/chat/{id}/stop", stop, 0, "Chat", "End an answer that is being made; what there is stays", NULL, NULL},
    {.path = NULL}};

static const struct field answer_fields[] = {
    W("conversation_id", STR, NULL, "The conversation."), W("message_id", STR, NULL, "The answer's message."),
    W("message", OBJ, NULL, "role, content, and reasoning of a model that thinks."),
    W("response", STR, NULL, "The content once more, for clients that look for it here."),
    W("model", STR, NULL, "The model that answered."), W("finish_reason", STR, NULL, "stop, length or cancelled."),
    W("usage", OBJ, NULL, "prompt_tokens, cached_tokens, completion_tokens, model."),
    W("provider", STR, NULLABLE("string"), "Who answered: local, or another provider's name."),
    W("route_reason", STR, NULLABLE("string"), "Why that one."),
    {"sources", FIELD_ARR, 0, 0, 0, NULL, "Of an answer from files: what it cites as [n], as in SearchAnswer.", FIELD_NOWHERE}, {.name = NULL}};
/* clang-format on */

const struct schema v1_chat_schemas[] = {
    {"ChatTurn", "A turn of a conversation.", chat_fields, NULL},
    {"ChatTurnAnswer", "The whole answer.", answer_fields, NULL},
    {NULL, NULL, NULL, NULL}};
