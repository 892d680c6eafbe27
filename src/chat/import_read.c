/* One conversation of a file, ours or ChatGPT's, as messages with their parents; see import.h.
 *
 * Both formats become nodes that name their parent. A node without anything to show (ChatGPT's
 * roots, hidden instructions, the steps of its tools) is left out, and its children follow the next
 * node above. Nodes are ordered by their depth; a circle has none. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "chat/import.h"

enum { DRAFT_MAX = 256 << 20, UNKNOWN = -1, UNDER_WAY = -2, NO_PARENT = -1 };

struct node {
    const char *id;        /* borrowed from the JSON value, as parent */
    const char *parent_id; /* NULL = none */
    const char *thoughts;  /* of a node that is left out: for the answer below it */
    int32_t parent;        /* index, or NO_PARENT */
    int32_t depth;         /* from 0; UNKNOWN; UNDER_WAY */
    bool keep;
    struct store_message m;
};

struct reading {
    struct import_draft *d;
    struct node *nodes;
    size_t n;
    struct map *by_id; /* id -> node */
    struct error *error;
};

/* ---- small things -------------------------------------------------------------------------- */

static const char *text_of(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

static enum err copy(struct reading *r, const char *s, const char **out)
{
    *out = s ? arena_strdup(r->d->arena, s) : NULL;
    return s && !*out ? err_set(r->error, ERR_TOO_LARGE, "the conversation is too large") : OK;
}

static enum err copy_meta(struct reading *r, const json_t *meta, const char *what, const char **out)
{
    *out = NULL;
    if (!meta || json_is_null(meta)) return OK;
    if (!json_is_object(meta))
        return err_set(r->error, ERR_INVALID, "meta of %s is no object", what);
    char *text = json_dumps(meta, JSON_COMPACT);
    enum err e = !text ? err_set(r->error, ERR_NOMEM, "not enough memory")
                 : strlen(text) > IMPORT_META_MAX
                     ? err_set(r->error, ERR_TOO_LARGE, "meta of %s is larger than %d bytes", what,
                               IMPORT_META_MAX)
                     : copy(r, text, out);
    free(text);
    return e;
}

static enum err copy_title(struct reading *r, const char *title)
{
    char cut[IMPORT_TITLE_MAX + 1];
    size_t n = title ? utf8_cut(title, strlen(title), IMPORT_TITLE_MAX) : 0;
    memcpy(cut, title ? title : "", n);
    cut[n] = '\0';
    return copy(r, cut, &r->d->title);
}

/* Times that no clock shows are as good as none. */
static int64_t to_ms(double seconds)
{
    return isfinite(seconds) && seconds > 0 && seconds < 1e11 ? (int64_t)(seconds * 1000) : 0;
}

static int64_t time_of(const json_t *obj, const char *key)
{
    int64_t ms;
    const json_t *v = json_object_get(obj, key);
    if (json_is_number(v)) return to_ms(json_number_value(v));
    return json_is_string(v) && clock_parse_utc(json_string_value(v), &ms) ? ms : 0;
}

static bool is_role(const char *word)
{
    return str_eq(word, "user") || str_eq(word, "assistant") || str_eq(word, "system") ||
           str_eq(word, "tool");
}

static enum err make_nodes(struct reading *r, size_t n)
{
    if (n > IMPORT_MESSAGES_MAX)
        return err_set(r->error, ERR_TOO_LARGE, "it has %zu messages; at most %d are taken", n,
                       IMPORT_MESSAGES_MAX);
    r->nodes = try_calloc(n ? n : 1, sizeof *r->nodes);
    return r->nodes ? OK : err_set(r->error, ERR_NOMEM, "not enough memory for %zu messages", n);
}

static enum err add_node(struct reading *r, const struct node *node)
{
    struct node *place = &r->nodes[r->n];
    if (!*node->id) return err_set(r->error, ERR_INVALID, "a message has an empty id");
    if (map_get(r->by_id, node->id))
        return err_set(r->error, ERR_INVALID, "two messages have the id %.60s", node->id);
    if (node->m.content && strlen(node->m.content) > IMPORT_CONTENT_MAX)
        return err_set(r->error, ERR_TOO_LARGE, "message %.60s is larger than %d MiB", node->id,
                       IMPORT_CONTENT_MAX >> 20);
    *place = *node;
    place->depth = UNKNOWN;
    place->parent = NO_PARENT;
    map_put(r->by_id, node->id, place);
    r->n++;
    return OK;
}

/* ---- our own ------------------------------------------------------------------------------- */

static enum store_message_status status_of(const char *word)
{
    if (str_eq(word, "stopped")) return STORE_STOPPED;
    return str_eq(word, "failed") || str_eq(word, "streaming") ? STORE_FAILED : STORE_COMPLETE;
}

static enum err our_message(struct reading *r, const json_t *v)
{
    struct node node = {.id = text_of(v, "id"), .parent_id = text_of(v, "parent_id"), .keep = true};
    const char *role = text_of(v, "role"), *content = text_of(v, "content");
    if (!node.id || !content || !is_role(role))
        return err_set(r->error, ERR_INVALID,
                       "a message needs id, role (user, assistant, system, tool) and content");
    node.m.status = status_of(text_of(v, "status"));
    node.m.created_ms = time_of(v, "created_at");
    enum err e = copy(r, role, &node.m.role);
    if (!e) e = copy(r, content, &node.m.content);
    if (!e) e = copy(r, text_of(v, "reasoning"), &node.m.reasoning);
    if (!e) e = copy(r, text_of(v, "model"), &node.m.model);
    if (!e) e = copy_meta(r, json_object_get(v, "meta"), "a message", &node.m.meta);
    return e ? e : add_node(r, &node);
}

static enum err read_ours(struct reading *r, const json_t *root, const char **leaf)
{
    const json_t *c = json_object_get(root, "conversation"), *v;
    const json_t *messages = json_object_get(root, "messages");
    size_t i;
    enum err e = make_nodes(r, json_array_size(messages));
    json_array_foreach ((json_t *)messages, i, v) {
        if (!e) e = our_message(r, v);
    }
    *leaf = text_of(c, "leaf_id");
    r->d->created_ms = time_of(c, "created_at");
    r->d->updated_ms = time_of(c, "updated_at");
    if (!e) e = copy(r, text_of(c, "id"), &r->d->source_id);
    if (!e) e = copy_title(r, text_of(c, "title"));
    if (!e) e = copy_meta(r, json_object_get(c, "meta"), "the conversation", &r->d->meta);
    return e;
}

/* ---- ChatGPT's ----------------------------------------------------------------------------- */

/* Parts are texts, or objects for what is no text. */
static void join_parts(const json_t *parts, struct buf *out)
{
    size_t i;
    const json_t *part;
    json_array_foreach ((json_t *)parts, i, part) {
        const char *text = json_string_value(part);
        const char *type = text_of(part, "content_type");
        if (json_is_object(part)) text = text_of(part, "text");
        if (!text && type) text = strstr(type, "image") ? "[image]" : "[attachment]";
        if (!text || !*text) continue;
        if (out->len) buf_puts(out, "\n");
        buf_puts(out, text);
    }
}

static void join_thoughts(const json_t *thoughts, struct buf *out)
{
    size_t i;
    const json_t *thought;
    json_array_foreach ((json_t *)thoughts, i, thought) {
        const char *text = text_of(thought, "content");
        if (!text || !*text) continue;
        if (out->len) buf_puts(out, "\n\n");
        buf_puts(out, text);
    }
}

static void content_text(const json_t *content, struct buf *out)
{
    const char *type = text_of(content, "content_type"), *text = text_of(content, "text");
    const char *language = text_of(content, "language");
    if (str_eq(type, "code") && text) {
        bool known = language && !str_eq(language, "unknown");
        buf_printf(out, "```%s\n%s\n```", known ? language : "", text);
    } else if (json_object_get(content, "parts")) {
        join_parts(json_object_get(content, "parts"), out);
    } else if (text) {
        buf_puts(out, text);
    } else if (text_of(content, "result")) {
        buf_puts(out, text_of(content, "result"));
    }
}

/* The person did not see it: instructions of the service, its memory of the person. */
static bool is_hidden(const json_t *message)
{
    const json_t *meta = json_object_get(message, "metadata");
    const char *type = text_of(json_object_get(message, "content"), "content_type");
    return json_is_true(json_object_get(meta, "is_visually_hidden_from_conversation")) ||
           str_eq(type, "user_editable_context") || str_eq(type, "model_editable_context");
}

static enum err read_message(struct reading *r, const json_t *message, struct node *node)
{
    struct buf text;
    const json_t *content = json_object_get(message, "content");
    const char *role = text_of(json_object_get(message, "author"), "role");
    if (!json_is_object(message) || is_hidden(message)) return OK;
    buf_init(&text, IMPORT_CONTENT_MAX + 1);
    const json_t *thoughts = json_object_get(content, "thoughts");
    if (thoughts)
        join_thoughts(thoughts, &text);
    else
        content_text(content, &text);
    enum err e = text.err ? err_set(r->error, ERR_TOO_LARGE, "a message is larger than %d MiB",
                                    IMPORT_CONTENT_MAX >> 20)
                          : OK;
    if (!e && thoughts) e = copy(r, buf_str(&text), &node->thoughts);
    node->keep = !thoughts && text.len > 0 && is_role(role);
    if (!e && node->keep) e = copy(r, buf_str(&text), &node->m.content);
    if (!e && node->keep) e = copy(r, role, &node->m.role);
    if (!e && node->keep)
        e = copy(r, text_of(json_object_get(message, "metadata"), "model_slug"), &node->m.model);
    node->m.created_ms = time_of(message, "create_time");
    buf_free(&text);
    return e;
}

static enum err read_chatgpt(struct reading *r, const json_t *root, const char **leaf)
{
    const char *id, *source = text_of(root, "conversation_id");
    json_t *v, *mapping = json_object_get(root, "mapping");
    enum err e = make_nodes(r, json_object_size(mapping));
    json_object_foreach (mapping, id, v) {
        struct node node = {.id = id, .parent_id = text_of(v, "parent")};
        if (!e) e = read_message(r, json_object_get(v, "message"), &node);
        if (!e) e = add_node(r, &node);
    }
    *leaf = text_of(root, "current_node");
    r->d->created_ms = time_of(root, "create_time");
    r->d->updated_ms = time_of(root, "update_time");
    if (!e) e = copy(r, source ? source : text_of(root, "id"), &r->d->source_id);
    if (!e) e = copy_title(r, text_of(root, "title"));
    return e;
}

/* ---- from nodes to messages ----------------------------------------------------------------- */

static enum err find_parents(struct reading *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (!r->nodes[i].parent_id) continue;
        const struct node *parent = map_get(r->by_id, r->nodes[i].parent_id);
        if (!parent)
            return err_set(r->error, ERR_INVALID, "the parent of message %.60s is missing",
                           r->nodes[i].id);
        r->nodes[i].parent = (int32_t)(parent - r->nodes);
    }
    return OK;
}

/* Up to a node whose depth is known, and down again; without recursion, for a file may be deep. */
static enum err find_depth(struct reading *r, int32_t i)
{
    int32_t at = i, depth, n = 0;
    while (at != NO_PARENT && r->nodes[at].depth == UNKNOWN) {
        r->nodes[at].depth = UNDER_WAY;
        at = r->nodes[at].parent;
        n++;
    }
    if (at != NO_PARENT && r->nodes[at].depth == UNDER_WAY)
        return err_set(r->error, ERR_INVALID, "its messages follow each other in a circle");
    depth = at == NO_PARENT ? n - 1 : r->nodes[at].depth + n;
    for (at = i; n > 0; n--, at = r->nodes[at].parent) r->nodes[at].depth = depth--;
    return OK;
}

/* The next node above that is kept; what it passes may have been thought for an answer. A node's
 * parents come before it, so that one step is enough. */
static void skip_parents(struct reading *r, struct node *node)
{
    if (node->parent == NO_PARENT) return;
    const struct node *parent = &r->nodes[node->parent];
    if (parent->keep) return;
    if (parent->thoughts && !node->thoughts) node->thoughts = parent->thoughts;
    node->parent = parent->parent;
}

static int by_depth(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    return x < y ? -1 : x > y;
}

static enum err put_message(struct reading *r, const struct node *node)
{
    struct import_draft *d = r->d;
    struct store_message *m = &d->messages[d->n];
    *m = node->m;
    if (node->thoughts && !m->reasoning && str_eq(m->role, "assistant"))
        m->reasoning = node->thoughts;
    enum err e = copy(r, node->id, &m->id);
    if (!e && node->parent != NO_PARENT) e = copy(r, r->nodes[node->parent].id, &m->parent_id);
    if (!e) d->n++;
    return e;
}

static enum err put_messages(struct reading *r, struct node **order)
{
    enum err e = find_parents(r);
    for (size_t i = 0; !e && i < r->n; i++) {
        order[i] = &r->nodes[i];
        if (r->nodes[i].depth == UNKNOWN) e = find_depth(r, (int32_t)i);
    }
    if (e) return e;
    qsort(order, r->n, sizeof *order, by_depth);
    r->d->messages = arena_calloc(r->d->arena, r->n + 1, sizeof *r->d->messages);
    if (!r->d->messages) return err_set(r->error, ERR_TOO_LARGE, "the conversation is too large");
    for (size_t i = 0; i < r->n; i++) skip_parents(r, order[i]);
    for (size_t i = 0; !e && i < r->n; i++)
        if (order[i]->keep) e = put_message(r, order[i]);
    return e;
}

/* The end of the shown branch: the one that is named, or what is above it; else the last message.
 */
static enum err put_leaf(struct reading *r, const char *leaf)
{
    const struct node *node = leaf ? map_get(r->by_id, leaf) : NULL;
    if (node && !node->keep) node = node->parent == NO_PARENT ? NULL : &r->nodes[node->parent];
    if (node) return copy(r, node->id, &r->d->leaf_id);
    r->d->leaf_id = r->d->n ? r->d->messages[r->d->n - 1].id : NULL;
    return OK;
}

static enum err read_any(struct reading *r, const json_t *root)
{
    const char *leaf = NULL;
    enum err e;
    if (json_is_object(json_object_get(root, "mapping")))
        e = read_chatgpt(r, root, &leaf);
    else if (json_is_object(json_object_get(root, "conversation")) &&
             json_is_array(json_object_get(root, "messages")))
        e = read_ours(r, root, &leaf);
    else
        e = err_set(r->error, ERR_INVALID,
                    "this is no conversation of Hearth's export (conversation, messages) and none "
                    "of ChatGPT's (mapping)");
    struct node **order = e ? NULL : try_calloc(r->n + 1, sizeof(struct node *));
    if (!e && !order) e = err_set(r->error, ERR_NOMEM, "not enough memory");
    if (!e) e = put_messages(r, order);
    free(order);
    return e ? e : put_leaf(r, leaf);
}

enum err import_read(const char *text, size_t len, struct import_draft *out, struct error *error)
{
    json_t *root;
    *out = (struct import_draft){0};
    if (json_count(text, len) > IMPORT_VALUES_MAX)
        return err_set(error, ERR_TOO_LARGE, "the conversation holds more than %d JSON values",
                       IMPORT_VALUES_MAX);
    enum err e = json_parse(text, len, &root, error);
    if (e) return e;
    out->arena = arena_new(DRAFT_MAX);
    struct reading r = {.d = out, .by_id = map_new(), .error = error};
    e = read_any(&r, root);
    map_free(r.by_id);
    free(r.nodes);
    json_decref(root);
    if (!e) return OK;
    arena_free(out->arena);
    *out = (struct import_draft){0};
    return e;
}
