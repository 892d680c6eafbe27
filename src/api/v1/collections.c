/* /api/v1/collections: what files are kept in. */
#include <string.h>

#include "api/tables.h"
#include "api/v1/v1_int.h"
#include "base/str.h"
#include "files/files.h"
#include "hub/hub.h"

struct collection_form {
    const char *name;
    bool shared;
};

#define S collection_form
/* clang-format off */
static const struct field create_fields[] = {
    R("name", STR, REQ, 0, 0, NULL, name, "Its name."),
    R("shared", BOOL, 0, 0, 0, NULL, shared, "Everybody may search it and read its files; for admins."),
    END};
/* clang-format on */
#undef S

static void put_collection(struct jw *w, const struct store_collection *c)
{
    jw_obj(w);
    jw_kstr(w, "id", c->id);
    jw_kstr(w, "name", c->name);
    jw_kbool(w, "shared", c->user_id == NULL);
    jw_kint(w, "files", c->n_files);
    jw_kint(w, "size", c->bytes);
    v1_put_time(w, "created_at", c->created_ms);
    jw_obj_end(w);
}

static void list_collections(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_collection *list;
    size_t n = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_collection_list(c.store, c.who.user_id, c.arena, &list, &n, &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "collections");
    jw_arr(&c.w);
    for (size_t i = 0; !e && i < n; i++) put_collection(&c.w, &list[i]);
    jw_arr_end(&c.w);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

static enum err check_name(const char *name, struct error *error)
{
    size_t len = strlen(name);
    if (len == 0 || len >= STORE_COLLECTION_NAME_MAX)
        return err_set_param(error, ERR_INVALID, "/name", "a name has 1 to %d bytes",
                             STORE_COLLECTION_NAME_MAX - 1);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return err_set_param(error, ERR_INVALID, "/name", "a name has no control characters");
    return OK;
}

static void create(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct collection_form f = {0};
    struct store_collection made;
    char id[STORE_ID_MAX];
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = fields_read(create_fields, c.body, "", &f, &c.error);
    if (!e) e = check_name(f.name, &c.error);
    if (!e && f.shared && !c.who.admin)
        e = err_set_param(&c.error, ERR_FORBIDDEN, "/shared",
                          "only an admin makes a shared collection");
    if (!e)
        e = store_collection_create(c.store, f.shared ? NULL : c.who.user_id, f.name, id, &c.error);
    if (!e) e = store_collection_find(c.store, c.who.user_id, id, c.arena, &made, &c.error);
    if (!e) put_collection(&c.w, &made);
    v1_end(&c, 201, e);
}

static void show(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_collection found;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e =
        store_collection_find(c.store, c.who.user_id, req->params[0], c.arena, &found, &c.error);
    if (!e) put_collection(&c.w, &found);
    v1_end(&c, 200, e);
}

static void remove_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    struct store_asker who = {.user_id = c.who.user_id, .admin = c.who.admin};
    v1_end(&c, 204, files_delete_collection(hub->files, c.store, &who, req->params[0], &c.error));
}

/* clang-format off */
const struct route v1_collection_routes[] = {
    {HTTP_GET, "/api/v1/collections", list_collections, 0, "Files", "The user's collections and the shared ones", NULL, NULL},
    {HTTP_POST, "/api/v1/collections", create, 0, "Files", "Make a collection; a shared one takes an admin", "NewCollection", "Collection"},
    {HTTP_GET, "/api/v1/collections/{id}", show, 0, "Files", "One collection, by id or name", NULL, "Collection"},
    {HTTP_DELETE, "/api/v1/collections/{id}", remove_one, 0, "Files", "Delete it with all its files", NULL, NULL},
    {.path = NULL}};

static const struct field collection_answer[] = {
    W("id", STR, NULL, "Its id."), W("name", STR, NULL, "Its name."),
    W("shared", BOOL, NULL, "Whether it is everybody's."),
    W("files", INT, NULL, "How many files are in it."), W("size", INT, NULL, "Their bytes."),
    W("created_at", STR, NULL, "Since when."),
    END};

const struct schema v1_collection_schemas[] = {
    {"NewCollection", "A new collection.", create_fields, NULL},
    {"Collection", "A collection of files.", collection_answer, NULL},
    {NULL, NULL, NULL, NULL}};
