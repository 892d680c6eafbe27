/* /api/v1/conversations: list, search, change, branch, export. */
#include <stdlib.h>
#include <string.h>

#include "api/request.h"
#include "api/v1/v1_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "chat/import.h"
#include "store/store_conversation.h"

enum { PAGE_DEFAULT = 50, TITLE_MAX = 500, META_MAX = 64 << 10 };

struct form {
    const char *id, *title, *leaf_id;
    const json_t *meta;
    int archived, local_only; /* -1 = not said */
};

/* clang-format off */
static const struct field create_fields[] = {
    {"id", FIELD_STR, 0, 0, 0, NULL, "An id of the client's own; absent: one is made.", offsetof(struct form, id)},
    {"title", FIELD_STR, 0, 0, 0, NULL, "Its title.", offsetof(struct form, title)},
    {"meta", FIELD_OBJ, 0, 0, 0, NULL, "What apps keep with it.", offsetof(struct form, meta)},
    {"local_only", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "true: it never leaves this machine.", FIELD_NOWHERE},
    {.name = NULL}};
static const struct field change_fields[] = {
    {"title", FIELD_STR, 0, 0, 0, NULL, "A new title.", offsetof(struct form, title)},
    {"archived", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "Out of the list, or back.", FIELD_NOWHERE},
    {"leaf_id", FIELD_STR, 0, 0, 0, NULL, "The message that the shown branch ends with.", offsetof(struct form, leaf_id)},
    {"meta", FIELD_OBJ, 0, 0, 0, NULL, "What apps keep with it.", offsetof(struct form, meta)},
    {"local_only", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "true: it never leaves this machine; a turn that must not does the same. false lifts that.", FIELD_NOWHERE},
    {.name = NULL}};
/* clang-format on */

static enum err check_form(const struct form *f, struct error *error)
{
    if (f->title && strlen(f->title) > TITLE_MAX)
        return err_set_param(error, ERR_INVALID, "/title", "a title has at most %d bytes",
                             TITLE_MAX);
    if (f->id && (!*f->id || strlen(f->id) >= STORE_ID_MAX))
        return err_set_param(error, ERR_INVALID, "/id", "an id has 1 to %d bytes",
                             STORE_ID_MAX - 1);
    return OK;
}

/* true, false, or null as if it were not there. */
static enum err read_flag(struct v1_call *c, const char *name, int *out)
{
    const json_t *value = json_object_get(c->body, name);
    *out = json_is_boolean(value) ? json_is_true(value) : -1;
    if (!value || json_is_boolean(value) || json_is_null(value)) return OK;
    return field_error(&c->error, "", name, "must be true or false, got %s", json_kind(value));
}

static enum err read_form(struct v1_call *c, const struct field *fields, struct form *f,
                          char **meta)
{
    enum err e = fields_read(fields, c->body, "", f, &c->error);
    if (!e) e = check_form(f, &c->error);
    if (!e) e = read_flag(c, "archived", &f->archived);
    if (!e) e = read_flag(c, "local_only", &f->local_only);
    *meta = !e && f->meta ? json_dumps(f->meta, JSON_COMPACT) : NULL;
    if (*meta && strlen(*meta) > META_MAX)
        e = err_set_param(&c->error, ERR_TOO_LARGE, "/meta", "meta has at most %d bytes", META_MAX);
    return e;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void put_conversation(struct jw *w, const struct store_conversation *c)
{
    jw_obj(w);
    jw_kstr(w, "id", c->id);
    jw_kstr(w, "title", c->title);
    jw_kbool(w, "archived", c->archived);
    jw_kbool(w, "local_only", c->local_only);
    jw_kstr(w, "leaf_id", c->leaf_id);
    jw_kint(w, "messages", c->n_messages);
    jw_kraw(w, "meta", c->meta);
    v1_put_time(w, "created_at", c->created_ms);
    v1_put_time(w, "updated_at", c->updated_ms);
    if (c->snippet) jw_kstr(w, "snippet", c->snippet);
    jw_obj_end(w);
}

static const char *status_word(enum store_message_status status)
{
    switch (status) {
    case STORE_COMPLETE: return "complete";
    case STORE_STREAMING: return "streaming";
    case STORE_STOPPED: return "stopped";
    case STORE_FAILED: return "failed";
    }
    ht_bug("unknown status of a message");
}

static void put_message(struct jw *w, const struct store_message *m)
{
    jw_obj(w);
    jw_kstr(w, "id", m->id);
    jw_kstr(w, "parent_id", m->parent_id);
    jw_kstr(w, "role", m->role);
    jw_kstr(w, "content", m->content);
    jw_kstr(w, "reasoning", m->reasoning);
    jw_kstr(w, "status", status_word(m->status));
    jw_kstr(w, "model", m->model);
    jw_kraw(w, "meta", m->meta);
    v1_put_time(w, "created_at", m->created_ms);
    jw_obj_end(w);
}

static void put_messages(struct jw *w, const struct store_message *m, size_t n)
{
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) put_message(w, &m[i]);
    jw_arr_end(w);
}

static enum err put_one(struct v1_call *c, const char *id)
{
    struct store_conversation conversation;
    enum err e =
        store_conversation_get(c->store, c->who.user_id, id, c->arena, &conversation, &c->error);
    if (!e) put_conversation(&c->w, &conversation);
    return e;
}

/* ---- list ---------------------------------------------------------------------------------- */

static enum err put_page(struct v1_call *c)
{
    struct store_conversation *list;
    struct store_conversation_page page = {.search = c->req->query(c->req, "search")};
    const char *archived = c->req->query(c->req, "archived");
    int64_t limit = PAGE_DEFAULT;
    size_t n;
    if (page.search && !*page.search) page.search = NULL;
    enum err e = v1_query_int(c, "limit", 1, STORE_PAGE_MAX, &limit);
    if (!e) e = request_cursor(c->req, &page.before_ms, &page.before_id, &c->error);
    if (!e && archived && !str_to_bool(archived, &page.archived))
        e = err_set_param(&c->error, ERR_INVALID, "archived", "archived must be true or false");
    page.limit = (int32_t)limit;
    if (!e)
        e = store_conversation_list(c->store, c->who.user_id, &page, c->arena, &list, &n,
                                    &c->error);
    if (e) return e;
    jw_obj(&c->w);
    jw_key(&c->w, "conversations");
    jw_arr(&c->w);
    for (size_t i = 0; i < n; i++) put_conversation(&c->w, &list[i]);
    jw_arr_end(&c->w);
    bool more = n == (size_t)limit;
    request_put_cursor(&c->w, more, more ? list[n - 1].updated_ms : 0, more ? list[n - 1].id : "");
    jw_obj_end(&c->w);
    return OK;
}

static void list_conversations(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_page(&c));
}

/* ---- one ----------------------------------------------------------------------------------- */

static void create(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    char made[37], *meta = NULL;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = read_form(&c, create_fields, &f, &meta);
    id_uuid4(made);
    const char *id = f.id ? f.id : made;
    if (!e) e = store_conversation_create(c.store, c.who.user_id, id, f.title, meta, &c.error);
    if (!e && f.local_only == 1) e = store_conversation_pin(c.store, c.who.user_id, id, &c.error);
    if (!e) e = put_one(&c, id);
    free(meta);
    v1_end(&c, 201, e);
}

static void show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_conversation conversation;
    struct store_message *m;
    size_t n = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_conversation_get(c.store, c.who.user_id, req->params[0], c.arena,
                                        &conversation, &c.error);
    if (!e)
        e = store_message_branch(c.store, c.who.user_id, req->params[0], NULL, c.arena, &m, &n,
                                 &c.error);
    if (!e) {
        jw_obj(&c.w);
        jw_key(&c.w, "conversation");
        put_conversation(&c.w, &conversation);
        put_messages(&c.w, m, n);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 200, e);
}

static void change(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    char *meta = NULL;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = read_form(&c, change_fields, &f, &meta);
    struct store_conversation_change changes = {
        .title = f.title, .meta = meta, .leaf_id = f.leaf_id, .archived = (int)f.archived};
    if (!e)
        e = store_conversation_update(c.store, c.who.user_id, req->params[0], &changes, &c.error);
    if (!e) e = put_one(&c, req->params[0]);
    free(meta);
    v1_end(&c, 200, e);
}

static void remove_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 204, store_conversation_delete(c.store, c.who.user_id, req->params[0], &c.error));
}

/* ---- messages ------------------------------------------------------------------------------ */

/* ?leaf_id=... one branch, ?all=true the whole tree. */
static void messages(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_message *m;
    size_t n = 0;
    bool all = false;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    const char *word = req->query(req, "all"), *id = req->params[0];
    enum err e = OK;
    if (word && !str_to_bool(word, &all))
        e = err_set_param(&c.error, ERR_INVALID, "all", "all must be true or false");
    else if (all)
        e = store_message_list(c.store, c.who.user_id, id, c.arena, &m, &n, &c.error);
    else
        e = store_message_branch(c.store, c.who.user_id, id, req->query(req, "leaf_id"), c.arena,
                                 &m, &n, &c.error);
    if (!e) {
        jw_obj(&c.w);
        put_messages(&c.w, m, n);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 200, e);
}

static void write_markdown(struct buf *out, const struct store_conversation *c,
                           const struct store_message *m, size_t n)
{
    buf_printf(out, "# %s\n", *c->title ? c->title : "Conversation");
    for (size_t i = 0; i < n; i++) {
        char when[32];
        clock_format_utc(when, sizeof when, m[i].created_ms);
        buf_printf(out, "\n## %s%s%s (%s)\n\n%s\n", m[i].role, m[i].model ? ", " : "",
                   m[i].model ? m[i].model : "", when, m[i].content);
    }
}

/* ?format=md (the shown branch) or json (the whole tree, as the import takes it). */
static void export_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_conversation conversation;
    struct store_message *m;
    size_t n = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    const char *format = req->query(req, "format"), *id = req->params[0];
    bool markdown = str_eq(format, "md");
    enum err e = OK;
    if (format && !markdown && !str_eq(format, "json"))
        e = err_set_param(&c.error, ERR_INVALID, "format", "format must be md or json");
    if (!e)
        e = store_conversation_get(c.store, c.who.user_id, id, c.arena, &conversation, &c.error);
    if (!e)
        e = markdown
                ? store_message_branch(c.store, c.who.user_id, id, NULL, c.arena, &m, &n, &c.error)
                : store_message_list(c.store, c.who.user_id, id, c.arena, &m, &n, &c.error);
    if (!e && markdown) {
        write_markdown(&c.out, &conversation, m, n);
        c.type = "text/markdown; charset=utf-8";
    } else if (!e) {
        jw_obj(&c.w);
        jw_key(&c.w, "conversation");
        put_conversation(&c.w, &conversation);
        put_messages(&c.w, m, n);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 200, e);
}

/* ---- import -------------------------------------------------------------------------------- */

enum { REPORTED_MAX = 1000 };

struct importing {
    struct v1_call *c;
    int64_t done, known, failed;
    struct error first; /* of the first that failed */
};

static void put_report(void *ctx, const struct import_report *r)
{
    static const char *const words[] = {
        [IMPORT_DONE] = "imported", [IMPORT_KNOWN] = "known", [IMPORT_FAILED] = "failed"};
    struct importing *im = ctx;
    struct jw *w = &im->c->w;
    if (r->outcome == IMPORT_FAILED && !im->failed) im->first = *r->error;
    int64_t *count = r->outcome == IMPORT_DONE    ? &im->done
                     : r->outcome == IMPORT_KNOWN ? &im->known
                                                  : &im->failed;
    ++*count;
    if (im->done + im->known + im->failed > REPORTED_MAX) return;
    jw_obj(w);
    jw_kstr(w, "id", r->outcome == IMPORT_DONE ? r->id : NULL);
    jw_kstr(w, "title", r->title);
    jw_kstr(w, "outcome", words[r->outcome]);
    jw_kint(w, "messages", (int64_t)r->n_messages);
    if (r->error) jw_kstr(w, "error", r->error->msg);
    jw_obj_end(w);
}

/* The body is a file: our own export or ChatGPT's conversations.json, one conversation or a list.
 */
static void import_file(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    struct importing im = {.c = &c};
    enum err e = request_check_type(req, &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "conversations");
    jw_arr(&c.w);
    if (!e)
        e = chat_import(c.store, c.who.user_id, req->body, req->body_len, put_report, &im,
                        &c.error);
    if (!e && im.failed && !im.done && !im.known) {
        c.error = im.first; /* it was no such file at all */
        e = c.error.code;
    }
    jw_arr_end(&c.w);
    jw_kint(&c.w, "imported", im.done);
    jw_kint(&c.w, "known", im.known);
    jw_kint(&c.w, "failed", im.failed);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

/* clang-format off */
const struct route v1_conversation_routes[] = {
    {HTTP_GET, "/api/v1/conversations", list_conversations, 0, "Conversations", "The user's conversations, the last changed first; ?search= looks into their messages", NULL, NULL},
    {HTTP_POST, "/api/v1/conversations", create, 0, "Conversations", "Begin a conversation", "NewConversation", "Conversation"},
    {HTTP_POST, "/api/v1/conversations/import", import_file, 0, "Conversations", "Take in an export of Hearth or ChatGPT: one conversation or a list of them", NULL, NULL},
    {HTTP_GET, "/api/v1/conversations/{id}", show, 0, "Conversations", "One with the messages of its shown branch", NULL, NULL},
    {HTTP_PATCH, "/api/v1/conversations/{id}", change, 0, "Conversations", "Change title, branch, archive or privacy", "ConversationChange", "Conversation"},
    {HTTP_DELETE, "/api/v1/conversations/{id}", remove_one, 0, "Conversations", "Delete it with its messages", NULL, NULL},
    {HTTP_GET, "/api/v1/conversations/{id}/messages", messages, 0, "Conversations", "The messages of a branch (?leaf_id=) or all (?all=true)", NULL, NULL},
    {HTTP_GET, "/api/v1/conversations/{id}/export", export_one, 0, "Conversations", "The conversation as Markdown or JSON (?format=)", NULL, NULL},
    {.path = NULL}};

#define W(json, type, schema, help) {json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE}
static const struct field conversation_answer[] = {
    W("id", STR, NULL, "Its id."), W("title", STR, NULL, "Its title."),
    W("archived", BOOL, NULL, "Whether it is out of the list."),
    W("local_only", BOOL, NULL, "Whether it must not leave this machine."),
    W("leaf_id", STR, "{\"type\":[\"string\",\"null\"]}", "The last message of the shown branch."),
    W("messages", INT, NULL, "How many there are, in all branches."),
    W("meta", OBJ, NULL, "What apps keep with it."),
    W("created_at", STR, NULL, "Since when."), W("updated_at", STR, NULL, "Last changed."),
    {.name = NULL}};

const struct schema v1_conversation_schemas[] = {
    {"NewConversation", "A new conversation.", create_fields, NULL},
    {"ConversationChange", "What changes of a conversation.", change_fields, NULL},
    {"Conversation", "A conversation.", conversation_answer, NULL},
    {NULL, NULL, NULL, NULL}};
