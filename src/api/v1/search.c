/* POST /api/v1/search: passages of the user's files, without an answer. The search waits for the
 * embedding model, so it runs on rag's threads; the handler hands the whole call over. */
#include <stdlib.h>
#include <string.h>

#include "api/call_route.h"
#include "api/v1/v1_int.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "rag/rag.h"
#include "store/store_chunk.h"

enum { K_DEFAULT = 10, NEIGHBOURS_MAX = 5 };

struct form {
    const char *query, *mode;
    const json_t *collections, *file_ids, *rerank;
    int64_t k, neighbours;
    bool local_only;
};

#define AT(member) offsetof(struct form, member)
#define NAMES      "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"

/* clang-format off */
static const struct field search_fields[] = {
    {"query", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "What is looked for: a question, or words.", AT(query)},
    {"k", FIELD_INT, 0, 1, RAG_K_MAX, NULL, "How many passages; absent: 10.", AT(k)},
    {"collections", FIELD_ARR, 0, 0, 0, NAMES, "Where: ids or names of collections; absent: everywhere the user may look.", AT(collections)},
    {"file_ids", FIELD_ARR, 0, 0, 0, NAMES, "In these files alone.", AT(file_ids)},
    {"mode", FIELD_STR, 0, 0, 0, "{\"type\":\"string\",\"enum\":[\"hybrid\",\"vector\",\"bm25\"]}", "By meaning and words (hybrid, the default), or by one of them.", AT(mode)},
    {"rerank", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "Let the rerank model order what was found; absent: HEARTH_RAG_RERANK.", AT(rerank)},
    {"neighbours", FIELD_INT, 0, 0, NEIGHBOURS_MAX, NULL, "Pieces before and behind each that are added to it; absent: none.", AT(neighbours)},
    {"local_only", FIELD_BOOL, 0, 0, 0, NULL, "true: the question never leaves this machine, also to be embedded.", AT(local_only)},
    {.name = NULL}};
/* clang-format on */

/* A call on its way to rag's thread and back. The request's texts live until the sink goes. */
struct searching {
    struct v1_call c;
    struct rag_query q;
};

static enum err read_query(struct v1_call *c, struct rag_query *q)
{
    struct form f = {.k = K_DEFAULT};
    struct store_scope scope;
    struct call_route r = {0};
    enum err e = fields_read(search_fields, c->body, "", &f, &c->error);
    if (!e) e = call_route_read(c->hub->config, c->req, &r, &c->error);
    *q =
        (struct rag_query){.store = c->store,
                           .user_id = c->who.user_id,
                           .text = f.query,
                           .k = (int32_t)f.k,
                           .neighbours = (int32_t)f.neighbours,
                           .priority = (int32_t)config_int(c->hub->config, CONFIG_DEFAULT_PRIORITY),
                           .local_only = r.local_only || f.local_only};
    if (!e) e = v1_strings(c, f.file_ids, "/file_ids", STORE_SCOPE_MAX, &q->file_ids, &q->n_files);
    if (!e)
        e = v1_strings(c, f.collections, "/collections", STORE_SCOPE_MAX, &q->collections,
                       &q->n_collections);
    if (!e && f.mode && !rag_mode_parse(f.mode, &q->mode))
        e = err_set_param(&c->error, ERR_INVALID, "/mode", "mode must be hybrid, vector or bm25");
    if (!e && f.rerank && !json_is_boolean(f.rerank))
        e = field_error(&c->error, "", "rerank", "must be true or false, got %s",
                        json_kind(f.rerank));
    if (!e && f.rerank) q->rerank = json_is_true(f.rerank) ? RAG_ON : RAG_OFF;
    if (!e)
        e = store_chunk_scope(c->store, q->user_id, q->collections, q->n_collections, q->file_ids,
                              q->n_files, c->arena, &scope, &c->error);
    return e;
}

static void search_now(void *arg)
{
    struct searching *s = arg;
    struct rag_source *sources;
    size_t n = 0;
    s->q.user_id = s->c.who.user_id; /* where it is now */
    enum err e = rag_search(s->c.hub->rag, &s->q, s->c.arena, &sources, &n, &s->c.error);
    s->c.w.out = &s->c.out;
    jw_obj(&s->c.w);
    jw_kstr(&s->c.w, "query", s->q.text);
    jw_kstr(&s->c.w, "mode", rag_mode_word(s->q.mode));
    jw_key(&s->c.w, "results");
    rag_put_sources(&s->c.w, sources, n, true);
    jw_obj_end(&s->c.w);
    v1_end(&s->c, 200, e);
    free(s);
}

static void search(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct searching *s = xcalloc(1, sizeof *s);
    if (!v1_begin(&s->c, hub, req, sink, V1_USER | V1_BODY)) {
        free(s);
        return;
    }
    enum err e = read_query(&s->c, &s->q);
    if (!e) {
        e = rag_submit(hub->rag, search_now, s);
        if (!e) return;
        e = err_set(&s->c.error, e, "%s",
                    e == ERR_STOPPING ? "the hub is shutting down"
                                      : "too many searches are waiting; try again later");
    }
    v1_end(&s->c, 0, e);
    free(s);
}

/* clang-format off */
const struct route v1_search_routes[] = {
    {HTTP_POST, "/api/v1/search", search, 0, "Files", "Passages of the user's files, by meaning and by words", "Search", "SearchAnswer"},
    {.path = NULL}};

#define W(json, type, schema, help) {json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE}
#define PAGE "{\"type\":[\"integer\",\"null\"]}"
static const struct field source_fields[] = {
    W("n", INT, NULL, "Its number: what an answer cites as [n]."),
    W("file_id", STR, NULL, "The file."), W("file_name", STR, NULL, "Its name."),
    W("collection_id", STR, NULL, "The collection it is in."),
    W("page", JSON, PAGE, "The page (slide, sheet) where the passage begins; null where there are none."),
    W("page_to", JSON, PAGE, "The page where it ends."),
    W("start", INT, NULL, "Where it begins in the file's text, in bytes."),
    W("end", INT, NULL, "Where it ends."),
    W("heading", STR, NULL, "Title and headings above it."),
    W("score", NUM, NULL, "0 to 1, of the fusion or the rerank model; to be compared within one answer."),
    W("text", STR, NULL, "What it says."), {.name = NULL}};
static const struct field search_answer[] = {
    W("query", STR, NULL, "What was looked for."), W("mode", STR, NULL, "How."),
    W("results", ARR, "{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Source\"}}", "The best first."),
    {.name = NULL}};
/* clang-format on */

const struct schema v1_search_schemas[] = {{"Search", "A search in files.", search_fields, NULL},
                                           {"Source", "A passage of a file.", source_fields, NULL},
                                           {"SearchAnswer", "What was found.", search_answer, NULL},
                                           {NULL, NULL, NULL, NULL}};
