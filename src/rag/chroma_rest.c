/* Chroma's REST API, version 2; see chroma_rest.h. */
#include "rag/chroma_rest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "httpc/httpc.h"

enum { CHROMA_URL_MAX = 1024, BODY_MAX = 256 << 20 };

struct chroma_server {
    struct httpc *http;
    char base[CHROMA_URL_MAX]; /* .../api/v2/tenants/x/databases/y/collections */
    char root[CHROMA_URL_MAX]; /* .../api/v2 */
    char token[512];
    atomic_int base64; /* whether the server takes it: -1 unknown */
    atomic_bool away;
    atomic_int contact; /* rises each time that it is back */
};

/* ---- requests ------------------------------------------------------------------------------ */

struct answer {
    struct buf body;
    bool too_long;
};

static bool take_data(void *ctx, const void *data, size_t len)
{
    struct answer *a = ctx;
    a->too_long = buf_append(&a->body, data, len) != OK;
    return !a->too_long;
}

/* What Chroma says is wrong: {"error": ..., "message": ...}. */
static enum err refused(int status, const struct buf *body, struct error *error)
{
    const char *message = NULL;
    struct error ignored;
    json_t *j = NULL;
    if (json_parse(buf_str(body), body->len, &j, &ignored) == OK &&
        json_get_string(j, "message", "", &message, &ignored))
        message = NULL;
    enum err e = status == 404                    ? ERR_NOT_FOUND
                 : status == 401 || status == 403 ? ERR_CONFIG
                                                  : ERR_UPSTREAM;
    e = err_set(error, e, "Chroma answered %d: %s", status, message ? message : "without a reason");
    json_decref(j);
    return e;
}

static void note_state(struct chroma_server *s, bool away, const struct error *why)
{
    if (atomic_exchange(&s->away, away) == away) return;
    if (!away) atomic_fetch_add(&s->contact, 1);
    if (away)
        log_warn(rag, "%s; what it misses is sent when it is back", why->msg);
    else
        log_info(rag, "Chroma is back");
}

/* *out (may be NULL) is the caller's. */
static enum err call(struct chroma_server *s, const char *method, const char *url,
                     const struct buf *body, json_t **out, struct error *error)
{
    char auth[600];
    const char *headers[2] = {"Content-Type: application/json", auth};
    struct answer answer = {0};
    int status = 0;
    if (out) *out = NULL;
    if (body && body->err) return err_set(error, body->err, "a request to Chroma is too large");
    buf_init(&answer.body, BODY_MAX);
    str_printf(auth, sizeof auth, "x-chroma-token: %s", s->token);
    struct httpc_request req = {.method = method,
                                .url = url,
                                .headers = headers,
                                .n_headers = *s->token ? 2 : 1,
                                .body = body ? body->data : NULL,
                                .body_len = body ? body->len : 0,
                                .connect_timeout_ms = 5000,
                                .idle_timeout_ms = 60000,
                                .on_data = take_data,
                                .ctx = &answer};
    struct error why;
    enum err e = httpc_do(s->http, &req, &status, &why);
    if (e) {
        e = err_set(error, answer.too_long ? ERR_UPSTREAM : ERR_NETWORK,
                    "Chroma at %s can't be reached: %s", s->root, why.msg);
        note_state(s, true, error);
    } else {
        note_state(s, false, NULL);
        if (status < 200 || status >= 300) e = refused(status, &answer.body, error);
    }
    if (!e && out && json_parse(buf_str(&answer.body), answer.body.len, out, &why))
        e = err_set(error, ERR_UPSTREAM, "Chroma at %s answered no JSON: %s", s->root, why.msg);
    buf_free(&answer.body);
    return e;
}

enum err chroma_call(struct chroma_server *s, const char *id, const char *verb,
                     const struct buf *body, json_t **out, struct error *error)
{
    char url[CHROMA_URL_MAX + 128];
    str_printf(url, sizeof url, "%s/%s/%s", s->base, id, verb);
    return call(s, body ? "POST" : "GET", url, body, out, error);
}

/* ---- collections ----------------------------------------------------------------------------- */

static enum err take_id(char id_out[CHROMA_ID_MAX], json_t *answer, struct error *error)
{
    const char *id = NULL;
    enum err e = json_get_string(answer, "id", "", &id, error);
    if (!e && (!id || !*id || strspn(id, "0123456789abcdefABCDEF-") != strlen(id) ||
               !str_copy(id_out, CHROMA_ID_MAX, id)))
        e = err_set(error, ERR_UPSTREAM, "Chroma named no collection in its answer");
    return e;
}

static enum err make_collection(struct chroma_server *s, const char *name, char id[CHROMA_ID_MAX],
                                struct error *error)
{
    struct buf b;
    struct jw w;
    json_t *answer;
    buf_init(&b, 4096);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "name", name);
    jw_kbool(&w, "get_or_create", true);
    jw_key(&w, "configuration");
    jw_obj(&w);
    jw_key(&w, "hnsw");
    jw_obj(&w);
    jw_kstr(&w, "space", "cosine");
    jw_kint(&w, "ef_construction", 100);
    jw_kint(&w, "ef_search", 200);
    jw_kint(&w, "max_neighbors", 16);
    jw_obj_end(&w);
    jw_obj_end(&w);
    jw_obj_end(&w);
    enum err e = call(s, "POST", s->base, &b, &answer, error);
    buf_free(&b);
    if (!e) e = take_id(id, answer, error);
    json_decref(answer);
    return e;
}

static void ask_abilities(struct chroma_server *s)
{
    char url[CHROMA_URL_MAX + 32];
    struct error ignored;
    json_t *answer;
    bool base64 = false;
    str_printf(url, sizeof url, "%s/pre-flight-checks", s->root);
    if (call(s, "GET", url, NULL, &answer, &ignored)) return;
    if (json_get_bool(answer, "supports_base64_encoding", "", &base64, &ignored)) base64 = false;
    atomic_store(&s->base64, base64);
    json_decref(answer);
}

enum err chroma_find(struct chroma_server *s, const char *name, char id[CHROMA_ID_MAX], bool *made,
                     struct error *error)
{
    char url[CHROMA_URL_MAX + CHROMA_NAME_MAX + 2];
    json_t *answer = NULL;
    *made = false;
    if (atomic_load(&s->base64) < 0) ask_abilities(s);
    str_printf(url, sizeof url, "%s/%s", s->base, name);
    enum err e = call(s, "GET", url, NULL, &answer, error);
    if (!e) e = take_id(id, answer, error);
    json_decref(answer);
    if (e != ERR_NOT_FOUND) return e;
    e = make_collection(s, name, id, error);
    *made = !e;
    return e;
}

enum err chroma_drop(struct chroma_server *s, const char *name, struct error *error)
{
    char url[CHROMA_URL_MAX + CHROMA_NAME_MAX + 2];
    str_printf(url, sizeof url, "%s/%s", s->base, name);
    enum err e = call(s, "DELETE", url, NULL, NULL, error);
    return e == ERR_NOT_FOUND ? OK : e;
}

void chroma_put_vector(struct chroma_server *s, struct jw *w, const float *v, int32_t dims)
{
    if (atomic_load(&s->base64) > 0) {
        size_t bytes = (size_t)dims * sizeof *v, len = base64_len(bytes);
        char *text = xmalloc(len + 1);
        base64_encode(text, v, bytes);
        jw_strn(w, text, len);
        free(text);
        return;
    }
    jw_arr(w);
    for (int32_t i = 0; i < dims; i++) jw_double(w, (double)v[i]);
    jw_arr_end(w);
}

/* ---- the server ------------------------------------------------------------------------------ */

/* As a part of a URL's path. */
static void put_escaped(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        bool plain = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                     (ch >= 'A' && ch <= 'Z') || ch == '-' || ch == '_' || ch == '.';
        if (plain)
            buf_putc(b, (char)ch);
        else
            buf_printf(b, "%%%02X", ch);
    }
}

static enum err write_urls(struct chroma_server *s, const struct vectors_params *p,
                           struct error *error)
{
    struct buf b;
    size_t len = strlen(p->chroma_url);
    while (len && p->chroma_url[len - 1] == '/') len--;
    if (!str_starts(p->chroma_url, "http://") && !str_starts(p->chroma_url, "https://"))
        return err_set(error, ERR_CONFIG, "CHROMA_URL=%s does not begin with http:// or https://",
                       p->chroma_url);
    buf_init_fixed(&b, s->root, sizeof s->root);
    buf_append(&b, p->chroma_url, len);
    buf_puts(&b, "/api/v2");
    enum err e = b.err;
    buf_init_fixed(&b, s->base, sizeof s->base);
    buf_printf(&b, "%s/tenants/", s->root);
    put_escaped(&b, p->chroma_tenant && *p->chroma_tenant ? p->chroma_tenant : "default_tenant");
    buf_puts(&b, "/databases/");
    put_escaped(&b, p->chroma_database && *p->chroma_database ? p->chroma_database
                                                              : "default_database");
    buf_puts(&b, "/collections");
    if (e || b.err || !str_copy(s->token, sizeof s->token, p->chroma_token ? p->chroma_token : ""))
        return err_set(error, ERR_CONFIG, "CHROMA_URL, _TENANT, _DATABASE or _TOKEN is too long");
    return OK;
}

enum err chroma_server_new(const struct vectors_params *params, struct chroma_server **out,
                           struct error *error)
{
    struct chroma_server *s = xcalloc(1, sizeof *s);
    atomic_store(&s->base64, -1);
    enum err e = write_urls(s, params, error);
    if (!e) e = httpc_new(&s->http, error);
    if (e)
        free(s);
    else
        *out = s;
    return e;
}

void chroma_server_free(struct chroma_server *s)
{
    if (!s) return;
    httpc_free(s->http);
    free(s);
}

const char *chroma_place(const struct chroma_server *s)
{
    return s->base;
}

int chroma_contact(const struct chroma_server *s)
{
    return atomic_load(&s->contact);
}
