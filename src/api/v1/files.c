/* /api/v1/files: upload, list, state, bytes, deletion. */
#include <stdlib.h>
#include <string.h>

#include "api/call_route.h"
#include "api/request.h"
#include "api/tables.h"
#include "api/upload.h"
#include "api/v1/v1_int.h"
#include "base/str.h"
#include "files/files.h"
#include "hub/hub.h"

enum { PAGE_DEFAULT = 50 };

static struct store_asker asker(const struct v1_call *c)
{
    return (struct store_asker){.user_id = c->who.user_id, .admin = c->who.admin};
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Members of an open object. */
static void put_state(struct jw *w, const struct store_file *f)
{
    jw_kstr(w, "status", store_file_status_name(f->status));
    jw_key(w, "progress");
    jw_obj(w);
    jw_kint(w, "done", f->done);
    jw_kint(w, "total", f->total);
    jw_obj_end(w);
    jw_kstr(w, "error", f->error);
    jw_kint(w, "chunks", f->n_chunks);
    jw_kint(w, "pages", f->n_pages);
}

static void put_members(struct jw *w, const struct store_file *f)
{
    jw_kstr(w, "id", f->id);
    jw_kstr(w, "filename", f->name);
    jw_kint(w, "size", f->bytes);
    jw_kstr(w, "type", f->type);
    jw_kstr(w, "sha256", f->sha256);
    jw_kstr(w, "collection_id", f->collection_id);
    jw_kbool(w, "shared", f->user_id == NULL);
    jw_kbool(w, "watched", f->source != NULL);
    jw_kbool(w, "local_only", f->local_only);
    put_state(w, f);
    jw_kraw(w, "meta", f->meta);
    v1_put_time(w, "created_at", f->created_ms);
    v1_put_time(w, "updated_at", f->updated_ms);
}

static void put_file(struct jw *w, const struct store_file *f)
{
    jw_obj(w);
    put_members(w, f);
    jw_obj_end(w);
}

/* ---- upload -------------------------------------------------------------------------------- */

/* The form's field, as the header X-Hearth-Local. */
static enum err read_pin(struct v1_call *c, const struct upload *u, bool *out)
{
    struct call_route r;
    const char *text = upload_field(u, "local_only");
    bool pinned = false;
    enum err e = call_route_read(c->hub->config, c->req, &r, &c->error);
    if (!e && text && !str_to_bool(text, &pinned))
        e = err_set_param(&c->error, ERR_INVALID, "local_only",
                          "local_only must be true or false, got %.40s", text);
    *out = pinned || (!e && r.local_only);
    return e;
}

static enum err add_upload(struct v1_call *c, int *status)
{
    struct upload *u = c->req->upload;
    struct store_file f;
    bool added, pinned;
    /* A body came, but the server saw no form in it: there was none at all. */
    if (!u) return err_set_param(&c->error, ERR_INVALID, "file", "the request has no body");
    enum err e = read_pin(c, u, &pinned);
    if (e) return e;
    struct files_new new = {.who = asker(c),
                            .collection = upload_field(u, "collection"),
                            .name = upload_filename(u),
                            .local_only = pinned};
    e = files_add(c->hub->files, c->store, &new, upload_spool(u), c->arena, &f, &added, &c->error);
    if (e) return e;
    *status = added ? 201 : 200;
    jw_obj(&c->w);
    jw_kstr(&c->w, "file_id", f.id);
    jw_kbool(&c->w, "duplicate", !added);
    put_members(&c->w, &f);
    jw_obj_end(&c->w);
    return OK;
}

static void upload(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    int status = 201;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = add_upload(&c, &status);
    v1_end(&c, status, e);
}

/* ---- list ---------------------------------------------------------------------------------- */

static enum err read_page(struct v1_call *c, struct store_file_page *page)
{
    const char *status = c->req->query(c->req, "status");
    const char *collection = c->req->query(c->req, "collection");
    struct store_collection found;
    int64_t limit = PAGE_DEFAULT;
    *page = (struct store_file_page){.status = -1, .search = c->req->query(c->req, "search")};
    if (page->search && !*page->search) page->search = NULL;
    enum err e = v1_query_int(c, "limit", 1, STORE_FILE_PAGE_MAX, &limit);
    page->limit = (int32_t)limit;
    if (!e) e = request_cursor(c->req, &page->before_ms, &page->before_id, &c->error);
    if (!e && status && *status && (page->status = store_file_status_of(status)) < 0)
        e = err_set_param(&c->error, ERR_INVALID, "status",
                          "status must be queued, extracting, chunking, embedding, ready or "
                          "failed");
    if (!e && collection && *collection) {
        e = store_collection_find(c->store, c->who.user_id, collection, c->arena, &found,
                                  &c->error);
        page->collection_id = found.id;
    }
    return e;
}

static enum err put_page(struct v1_call *c)
{
    struct store_file_page page;
    struct store_file *list;
    size_t n = 0;
    enum err e = read_page(c, &page);
    if (!e) e = store_file_list(c->store, c->who.user_id, &page, c->arena, &list, &n, &c->error);
    if (e) return e;
    jw_obj(&c->w);
    jw_key(&c->w, "files");
    jw_arr(&c->w);
    for (size_t i = 0; i < n; i++) put_file(&c->w, &list[i]);
    jw_arr_end(&c->w);
    bool more = n == (size_t)page.limit;
    request_put_cursor(&c->w, more, more ? list[n - 1].created_ms : 0, more ? list[n - 1].id : "");
    jw_obj_end(&c->w);
    return OK;
}

static void list_files(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_page(&c));
}

/* ---- one ----------------------------------------------------------------------------------- */

struct change_form {
    bool local_only;
};

#define S change_form
static const struct field change_fields[] = {
    R("local_only", BOOL, REQ, 0, 0, NULL, local_only,
      "true: what it says never leaves this machine, nor do answers from it."),
    END};
#undef S

static enum err get(struct v1_call *c, struct store_file *f)
{
    return store_file_get(c->store, c->who.user_id, c->req->params[0], c->arena, f, &c->error);
}

static void show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_file f;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = get(&c, &f);
    if (!e) put_file(&c.w, &f);
    v1_end(&c, 200, e);
}

static void show_status(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_file f;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = get(&c, &f);
    if (!e) {
        jw_obj(&c.w);
        jw_kstr(&c.w, "file_id", f.id);
        jw_kstr(&c.w, "filename", f.name);
        put_state(&c.w, &f);
        v1_put_time(&c.w, "updated_at", f.updated_ms);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 200, e);
}

static void reindex(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_file f;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    struct store_asker who = asker(&c);
    enum err e = files_reindex(hub->files, c.store, &who, req->params[0], &c.error);
    if (!e) e = get(&c, &f);
    if (!e) put_file(&c.w, &f);
    v1_end(&c, 202, e);
}

static void change(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_file f;
    struct change_form form = {0};
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    struct store_asker who = asker(&c);
    enum err e = fields_read(change_fields, c.body, "", &form, &c.error);
    if (!e) e = store_file_set_local_only(c.store, &who, req->params[0], form.local_only, &c.error);
    if (!e) e = get(&c, &f);
    if (!e) put_file(&c.w, &f);
    v1_end(&c, 200, e);
}

static void remove_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    struct store_asker who = asker(&c);
    v1_end(&c, 204, files_delete(hub->files, c.store, &who, req->params[0], &c.error));
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* What a browser may be told that it is: nothing that it would run or render as a page. */
static const char *safe_type(const char *type)
{
    static const char *const safe[] = {"application/pdf", "application/json", "image/png",
                                       "image/jpeg"};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (str_eq(type, safe[i])) return safe[i];
    bool text = str_starts(type, "text/") && !str_starts(type, "text/html");
    return text ? "text/plain; charset=utf-8" : "application/octet-stream";
}

/* attachment, with the name in ASCII for old clients and in UTF-8 (RFC 6266). */
static void disposition(const char *name, char *dst, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    struct buf b;
    buf_init_fixed(&b, dst, size);
    buf_puts(&b, "attachment; filename=\"");
    for (const char *c = name; *c; c++)
        buf_putc(&b, *c < ' ' || *c > '~' || strchr("\"\\%;", *c) ? '_' : *c);
    buf_puts(&b, "\"; filename*=UTF-8''");
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z') || strchr("-._~", *c);
        if (!plain) buf_putc(&b, '%');
        if (!plain) buf_putc(&b, digits[*c >> 4]);
        buf_putc(&b, plain ? (char)*c : digits[*c & 15]);
    }
    ht_assert(!b.err);
}

static void content(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_file f;
    char name[STORE_FILE_NAME_MAX * 4 + 64];
    int fd = -1;
    int64_t size = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = get(&c, &f);
    if (!e) e = files_open(hub->files, f.sha256, &fd, &size, &c.error);
    if (e) {
        v1_end(&c, 0, e);
        return;
    }
    disposition(f.name, name, sizeof name);
    struct sink_header headers[] = {{"Content-Disposition", name},
                                    {"X-Content-Type-Options", "nosniff"},
                                    {"Content-Security-Policy", "sandbox; default-src 'none'"},
                                    {"Cache-Control", "private, no-cache"}};
    (void)sink_respond_file(sink, 200, safe_type(f.type), headers, sizeof headers / sizeof *headers,
                            fd, size);
    v1_drop(&c);
}

/* ---- tables -------------------------------------------------------------------------------- */

/* clang-format off */
const struct route v1_file_routes[] = {
    {HTTP_POST, "/api/v1/files/upload", upload, ROUTE_UPLOAD, "Files", "Upload a file as multipart/form-data: `file`, `collection` (id or name) if it is not to go to the usual one, and `local_only` if it must not leave this machine; 200 and `duplicate` when it is there already", NULL, "File"},
    {HTTP_GET, "/api/v1/files", list_files, 0, "Files", "The user's files, the newest first (?collection=, ?status=, ?search=, ?limit=, ?cursor=)", NULL, NULL},
    {HTTP_GET, "/api/v1/files/status/{id}", show_status, 0, "Files", "How far a file's indexing is: queued, extracting, chunking, embedding (progress), ready or failed (error)", NULL, NULL},
    {HTTP_GET, "/api/v1/files/{id}", show, 0, "Files", "One file", NULL, "File"},
    {HTTP_PATCH, "/api/v1/files/{id}", change, 0, "Files", "Pin it to this machine, or let it go", "FileChange", "File"},
    {HTTP_GET, "/api/v1/files/{id}/content", content, 0, "Files", "Its bytes, as they were uploaded", NULL, NULL},
    {HTTP_POST, "/api/v1/files/{id}/reindex", reindex, 0, "Files", "Index it anew", NULL, "File"},
    {HTTP_DELETE, "/api/v1/files/{id}", remove_one, 0, "Files", "Delete it with all that was made from it", NULL, NULL},
    {.path = NULL}};

static const struct field file_answer[] = {
    W("id", STR, NULL, "Its id."), W("filename", STR, NULL, "Its name."),
    W("size", INT, NULL, "Bytes."), W("type", STR, NULL, "What it is, by its content: a media type."),
    W("sha256", STR, NULL, "The hash of its bytes."),
    W("collection_id", STR, NULL, "The collection it is in."),
    W("shared", BOOL, NULL, "Whether everybody may search and read it."),
    W("watched", BOOL, NULL, "Whether it came from a watched folder."),
    W("local_only", BOOL, NULL, "Whether what it says must not leave this machine."),
    W("status", STR, WORDS("\"queued\",\"extracting\",\"chunking\",\"embedding\",\"ready\",\"failed\""), "How far its indexing is."),
    W("progress", OBJ, NULL, "`done` of `total` in the present state."),
    W("error", STR, NULLABLE("string"), "Why it failed."),
    W("chunks", INT, NULL, "Pieces it was cut into."), W("pages", INT, NULL, "Pages, slides or sheets it has."),
    W("meta", OBJ, NULL, "What else was found out."),
    W("created_at", STR, NULL, "Since when."), W("updated_at", STR, NULL, "Last changed."),
    END};

const struct schema v1_file_schemas[] = {{"File", "A file.", file_answer, NULL},
                                         {"FileChange", "What changes of a file.", change_fields, NULL},
                                         {NULL, NULL, NULL, NULL}};
