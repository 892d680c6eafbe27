/* /v1/files: what clients leave here for batches, and what batches leave for them. */
#include <string.h>

#include "api/batches/batches_int.h"
#include "api/simple.h"
#include "api/upload.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "files/files.h"
#include "hub/hub.h"

enum { PAGE_DEFAULT = 10000, EXPIRES_MIN_S = 3600, EXPIRES_MAX_S = 2592000 };

static void put_file(struct jw *w, const struct store_api_file *f)
{
    jw_obj(w);
    jw_kstr(w, "id", f->id);
    jw_kstr(w, "object", "file");
    jw_kint(w, "bytes", f->bytes);
    jw_kint(w, "created_at", f->created_ms / 1000);
    simple_put_time(w, "expires_at", f->expires_ms);
    jw_kstr(w, "filename", f->name);
    jw_kstr(w, "purpose", f->purpose);
    jw_kstr(w, "status", "processed");
    jw_knull(w, "status_details");
    jw_obj_end(w);
}

/* ---- upload -------------------------------------------------------------------------------- */

static enum err check_purpose(const char *purpose, struct error *error)
{
    static const char *const known[] = {"assistants", "batch",     "fine-tune",
                                        "vision",     "user_data", "evals"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(purpose, known[i])) return OK;
    return err_set_param(
        error, ERR_INVALID, "purpose",
        "purpose must be assistants, batch, fine-tune, vision, user_data or evals, "
        "got %.40s",
        purpose ? purpose : "none");
}

/* expires_after[anchor]=created_at, expires_after[seconds]=... */
static enum err read_expiry(const struct upload *u, int64_t *ms, struct error *error)
{
    int64_t seconds;
    const char *text = upload_field(u, "expires_after[seconds]");
    const char *anchor = upload_field(u, "expires_after[anchor]");
    if (anchor && !str_eq(anchor, "created_at"))
        return err_set_param(error, ERR_INVALID, "expires_after[anchor]",
                             "expires_after[anchor] must be created_at, got %.40s", anchor);
    if (!text) return OK;
    if (!str_to_i64(text, EXPIRES_MIN_S, EXPIRES_MAX_S, &seconds))
        return err_set_param(error, ERR_INVALID, "expires_after[seconds]",
                             "expires_after[seconds] must be from %d to %d, got %.40s",
                             EXPIRES_MIN_S, EXPIRES_MAX_S, text);
    *ms = clock_wall_ms() + seconds * 1000;
    return OK;
}

static enum err add_record(void *ctx, struct store *s, struct error *error)
{
    return store_api_file_add(s, ctx, error);
}

static enum err add_file(struct simple *c)
{
    struct upload *u = c->req->upload;
    char id[BATCH_ID_MAX], name[STORE_FILE_NAME_MAX];
    struct files *files = c->hub->files;
    struct store_api_file f = {.id = id, .user_id = c->user_id, .name = name};
    if (!u) return err_set_param(&c->error, ERR_INVALID, "file", "the request has no body");
    f.purpose = upload_field(u, "purpose");
    struct spool *spool = upload_spool(u);
    enum err e = check_purpose(f.purpose, &c->error);
    if (!e) e = read_expiry(u, &f.expires_ms, &c->error);
    if (!e) e = spool_finish(spool, &c->error);
    if (!e) e = files_may_store(files, c->store, c->user_id, spool_bytes(spool), &c->error);
    if (e) return e;
    id_make(id, sizeof id, "file-");
    files_clean_name(upload_filename(u), name);
    f.sha256 = spool_sha256(spool);
    f.bytes = spool_bytes(spool);
    e = files_keep(files, c->store, &spool, 1, add_record, &f, &c->error);
    if (!e) e = store_api_file_get(c->store, c->user_id, id, c->arena, &f, &c->error);
    if (!e) put_file(&c->w, &f);
    return e;
}

static void upload(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    simple_end(&c, 200, add_file(&c));
}

/* ---- list, one ------------------------------------------------------------------------------ */

static enum err put_page(struct simple *c)
{
    struct simple_page page;
    struct store_api_file *list = NULL;
    size_t n = 0;
    const char *purpose = c->req->query(c->req, "purpose");
    enum err e = simple_read_page(c, PAGE_DEFAULT, STORE_BATCH_PAGE_MAX, false, &page);
    struct store_batch_page wanted = {page.after, page.oldest_first, (int32_t)page.limit + 1};
    if (!e)
        e = store_api_file_list(c->store, c->user_id, purpose, &wanted, c->arena, &list, &n,
                                &c->error);
    if (e) return e;
    bool more = n > (size_t)page.limit;
    if (more) n--;
    simple_list_begin(c);
    for (size_t i = 0; i < n; i++) put_file(&c->w, &list[i]);
    simple_list_end(c, n ? list[0].id : NULL, n ? list[n - 1].id : NULL, more);
    return OK;
}

static void list_files(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    simple_end(&c, 200, put_page(&c));
}

static enum err get(struct simple *c, struct store_api_file *f)
{
    return store_api_file_get(c->store, c->user_id, c->req->params[0], c->arena, f, &c->error);
}

static void show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_api_file f;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = get(&c, &f);
    if (!e) put_file(&c.w, &f);
    simple_end(&c, 200, e);
}

static void remove_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    char sha256[STORE_SHA256_MAX];
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = store_api_file_delete(c.store, c.user_id, req->params[0], sha256, &c.error);
    if (!e) {
        files_let_go(hub->files, c.store, sha256);
        simple_put_deleted(&c, req->params[0], "file");
    }
    simple_end(&c, 200, e);
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Never as something that a browser would render. */
static void content(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct sink_header headers[] = {{"Content-Disposition", "attachment"},
                                                 {"X-Content-Type-Options", "nosniff"},
                                                 {"Cache-Control", "private, no-cache"}};
    struct simple c;
    struct store_api_file f;
    int fd = -1;
    int64_t size = 0;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = get(&c, &f);
    if (!e) e = files_open(hub->files, f.sha256, &fd, &size, &c.error);
    if (e) {
        simple_end(&c, 0, e);
        return;
    }
    (void)sink_respond_file(sink, 200, "application/octet-stream", headers,
                            sizeof headers / sizeof *headers, fd, size);
    sink_unref(sink);
    simple_drop(&c);
}

/* clang-format off */
const struct route file_routes[] = {
    {HTTP_POST, "/v1/files", upload, ROUTE_UPLOAD, "Batches", "Upload a file as multipart/form-data: `file`, `purpose` (batch, ...), `expires_after[seconds]` if it is to go by itself", NULL, "FileObject"},
    {HTTP_GET, "/v1/files", list_files, 0, "Batches", "The files that were uploaded or came of batches (?purpose=, ?limit=, ?order=, ?after=)", NULL, "FileObjectList"},
    {HTTP_GET, "/v1/files/{id}", show, 0, "Batches", "One file", NULL, "FileObject"},
    {HTTP_DELETE, "/v1/files/{id}", remove_one, 0, "Batches", "Delete a file", NULL, "Deleted"},
    {HTTP_GET, "/v1/files/{id}/content", content, 0, "Batches", "Its bytes", NULL, NULL},
    {.path = NULL}};
