/* The instance: opening and closing, what its parameters mean, its face as a provider. */
#include "remote/remote.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "remote/core_int.h"

static const struct protocol *const protocols[] = {&remote_openai, &remote_anthropic,
                                                   &remote_ollama, &remote_cohere, &remote_aihub};

enum { N_PROTOCOLS = sizeof protocols / sizeof *protocols };

enum {
    CONNECT_MS = 5000,
    FIRST_BYTE_MS = 120000,
    IDLE_MS = 60000,
    TOTAL_MS = 30 * 60 * 1000,
    RETRIES = 2,
    RETRIES_MAX = 10,
    CONCURRENCY = 1024,
    WAITING = 4096,
    SECRET_MIN = 4, /* shorter ones would take harmless words out of messages */
};

static const char *str_or(const char *s, const char * or)
{
    return s && *s ? s : or ;
}

static const struct protocol *find_protocol(const char *name)
{
    for (size_t i = 0; i < N_PROTOCOLS; i++)
        if (str_eq(protocols[i]->name, name)) return protocols[i];
    return NULL;
}

const char *const *remote_protocols(void)
{
    static const char *names[N_PROTOCOLS + 1];
    for (size_t i = 0; i < N_PROTOCOLS; i++) names[i] = protocols[i]->name;
    return names;
}

/* ---- secrets ------------------------------------------------------------------------------- */

/* A message that was cut may end with the beginning of one. */
static void cut_end(char *text, const char *secret, size_t len, const char *mark)
{
    size_t have = strlen(text);
    for (size_t n = len - 1 < have ? len - 1 : have; n >= SECRET_MIN; n--) {
        if (memcmp(text + have - n, secret, n) != 0) continue;
        str_copy(text + have - n, n + 1, mark);
        return;
    }
}

void remote_cut_out(char *text, const char *secret)
{
    static const char mark[] = "[key]";
    size_t len = secret ? strlen(secret) : 0, put = sizeof mark - 1;
    if (len < SECRET_MIN) return;
    for (char *at = text; (at = strstr(at, secret));) {
        size_t n = put < len ? put : len;
        memcpy(at, mark, n);
        memmove(at + n, at + len, strlen(at + len) + 1);
        at += n;
    }
    cut_end(text, secret, len, mark);
}

void remote_redact(const struct remote *r, struct error *error)
{
    if (r->token) token_redact(r->token, error);
    remote_cut_out(error->msg, r->key);
    for (size_t i = 0; i < r->headers.n; i++) {
        const char *value = strstr(r->headers.lines[i], ": ");
        if (!r->headers_secret[i] || !value) continue;
        remote_cut_out(error->msg, value + 2);
        const char *word = strrchr(value + 2, ' '); /* "Bearer ..." */
        if (word) remote_cut_out(error->msg, word + 1);
    }
}

/* ---- addresses ----------------------------------------------------------------------------- */

static void trim_slashes(char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/') url[--len] = '\0';
}

static enum err set_url(struct remote *r, const char *given, struct error *error)
{
    const struct protocol *p = r->protocol;
    const char *url = str_or(given, p->base_url);
    if (!url) return err_set_param(error, ERR_CONFIG, "base_url", "%s needs a base URL", r->name);
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return err_set_param(error, ERR_CONFIG, "base_url",
                             "%s: a base URL begins with http:// or https://", r->name);
    if (strpbrk(url, "\r\n \t?#") || !str_copy(r->url, sizeof r->url - 16, url))
        return err_set_param(error, ERR_CONFIG, "base_url",
                             "%s: the base URL is too long, or has blanks, ? or # in it", r->name);
    trim_slashes(r->url);
    char *host = strstr(r->url, "://") + 3, *path = strchr(host, '/');
    if (strchr(host, '@') && (!path || strchr(host, '@') < path))
        return err_set_param(error, ERR_CONFIG, "base_url",
                             "%s: put a user or a key into headers or the key, not into the URL",
                             r->name);
    str_copy(r->where, sizeof r->where, r->url);
    if (path) r->where[path - r->url] = '\0';
    if (p->drop_path && str_ends(r->url, p->drop_path)) {
        r->url[strlen(r->url) - strlen(p->drop_path)] = '\0';
        trim_slashes(r->url);
    } else if (p->add_path && !path) {
        memcpy(r->url + strlen(r->url), p->add_path, strlen(p->add_path) + 1);
    }
    return OK;
}

/* ---- parameters ---------------------------------------------------------------------------- */

static int64_t ms_or(int64_t given, int64_t usual)
{
    return given > 0 ? given : usual;
}

static void set_numbers(struct remote *r, const struct remote_params *p)
{
    struct remote_params *to = &r->params;
    to->connect_ms = ms_or(p->connect_ms, CONNECT_MS);
    to->first_byte_ms = ms_or(p->first_byte_ms, FIRST_BYTE_MS);
    to->idle_ms = ms_or(p->idle_ms, IDLE_MS);
    to->total_ms = ms_or(p->total_ms, TOTAL_MS);
    to->retries = p->retries < 0 ? 0 : p->retries == 0 ? RETRIES : p->retries;
    if (to->retries > RETRIES_MAX) to->retries = RETRIES_MAX;
    to->concurrency = p->concurrency > 0 ? p->concurrency : CONCURRENCY;
    to->waiting = p->waiting < 0 ? 0 : p->waiting == 0 ? WAITING : p->waiting;
    to->insecure_tls = p->insecure_tls;
}

static enum err set_headers(struct remote *r, const struct remote_params *p, struct error *error)
{
    struct headers *h = &r->headers;
    enum err e = headers_add(h, "Content-Type", "", "application/json", error);
    if (!e && !r->token) e = r->protocol->headers(&r->env, h, error);
    for (size_t i = 0; i < p->n_headers && !e; i++) {
        const char *colon = strchr(p->headers[i], ':');
        if (!colon || colon == p->headers[i] || strpbrk(p->headers[i], "\r\n"))
            return err_set_param(error, ERR_CONFIG, "headers",
                                 "%s: a header is written \"Name: value\"", r->name);
        if (h->n == REMOTE_HEADERS_MAX)
            return err_set_param(error, ERR_CONFIG, "headers", "%s has too many headers", r->name);
        r->headers_secret[h->n] = true; /* it may be one */
        h->lines[h->n++] = xstrdup(p->headers[i]);
    }
    return e;
}

static enum err set_oauth(struct remote *r, const struct remote_params *p, struct error *error)
{
    struct remote_params how = *p;
    how.connect_ms = r->params.connect_ms;
    how.first_byte_ms = r->params.first_byte_ms;
    how.total_ms = r->params.total_ms;
    const char **secret =
        *str_or(p->oauth.username, "") ? &how.oauth.password : &how.oauth.client_secret;
    *secret = str_or(*secret, r->key);
    if (!p->oauth.client_id || !*p->oauth.client_id)
        return err_set_param(error, ERR_CONFIG, "oauth", "%s needs a client id to sign in",
                             r->name);
    return token_new(r->httpc, r->name, &how, &r->token, error);
}

static enum err set_params(struct remote *r, const struct remote_params *p, struct error *error)
{
    const char *protocol = str_or(p->protocol, "");
    if (!p->name || !*p->name || !str_copy(r->name, sizeof r->name, p->name))
        return err_set_param(error, ERR_CONFIG, "name",
                             "a provider needs a name of at most %d bytes", REMOTE_NAME_MAX - 1);
    r->protocol = find_protocol(protocol);
    if (!r->protocol)
        return err_set_param(error, ERR_CONFIG, "kind", "%s: \"%.40s\" is no kind of provider",
                             r->name, protocol);
    r->key = xstrdup(str_or(p->key, ""));
    if (strpbrk(r->key, "\r\n") || strlen(r->key) > REMOTE_KEY_MAX)
        return err_set_param(error, ERR_CONFIG, "key", "%s: the key is too long or has line breaks",
                             r->name);
    r->model = xstrdup(str_or(p->model, ""));
    r->embed_model = xstrdup(str_or(p->embed_model, ""));
    r->proxy = p->proxy ? xstrdup(p->proxy) : NULL;
    r->ca_file = p->ca_file && *p->ca_file ? xstrdup(p->ca_file) : NULL;
    set_numbers(r, p);
    enum err e = set_url(r, p->base_url, error);
    if (e) return e;
    r->env = (struct remote_env){
        .name = r->name, .base_url = r->url, .key = r->key, .embed_model = r->embed_model};
    if (p->oauth.token_url && *p->oauth.token_url) e = set_oauth(r, p, error);
    return e ? e : set_headers(r, p, error);
}

/* ---- the provider -------------------------------------------------------------------------- */

static void remote_free(struct remote *r)
{
    token_free(r->token);
    headers_free(&r->headers);
    idmap_free(&r->calls);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->key);
    free(r->model);
    free(r->embed_model);
    free(r->proxy);
    free(r->ca_file);
    free(r);
}

/* Of the request's pictures, as they stand in its body. */
static size_t picture_bytes(const struct gen_request *req)
{
    size_t bytes = 0;
    for (size_t i = 0; i < req->n_messages; i++)
        for (size_t k = 0; k < req->messages[i].n_images; k++)
            if (req->messages[i].images[k].data) bytes += strlen(req->messages[i].images[k].data);
    return bytes;
}

static enum err remote_generate(struct provider *provider, struct gen_request *req,
                                gen_listener_fn fn, void *ctx, uint64_t *id, struct error *error)
{
    struct remote *r = container_of(provider, struct remote, base);
    const char *model = *req->model ? req->model : r->model;
    if (!*model && !r->protocol->own_model) {
        arena_free(req->arena);
        return err_set_param(error, ERR_NO_MODEL, "/model",
                             "no model is configured for %s; name one", r->name);
    }
    struct call *c = call_new(r, CALL_GENERATE, req->request_id);
    c->priority = req->priority;
    c->deadline_ms = req->deadline_ms;
    c->gen.fn = fn;
    c->gen.kind = req->kind;
    c->gen.n = req->n;
    c->gen.model = xstrdup(model);
    c->ctx = ctx;
    enum err e = r->protocol->generate(&r->env, req, model, &c->http, error);
    size_t pictures = picture_bytes(req), all = c->http.body.len;
    c->gen.text_bytes = pictures < all ? all - pictures : 0;
    if (!e) e = call_submit(c, id, error);
    if (e) remote_call_free(c);
    arena_free(req->arena);
    return e;
}

static void remote_cancel(struct provider *provider, uint64_t id)
{
    call_cancel(container_of(provider, struct remote, base), id);
}

static void remote_close(struct provider *provider, int64_t grace_ms)
{
    struct remote *r = container_of(provider, struct remote, base);
    int64_t until_ns = clock_mono_ns() + grace_ms * 1000000;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    while (r->n_alive && grace_ms > 0 && cond_wait_until(&r->changed, &r->lock, until_ns)) {
    }
    call_cancel_all(r);
    while (r->n_alive) pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
    remote_free(r);
}

static void remote_init(struct remote *r, struct httpc *httpc, struct timers *timers)
{
    r->httpc = httpc;
    r->timers = timers;
    r->first_token_ms = -1;
    idmap_init(&r->calls);
    list_init(&r->all);
    list_init(&r->waiting);
    pthread_mutex_init(&r->lock, NULL);
    cond_init(&r->changed);
}

enum err remote_open(struct httpc *httpc, struct timers *timers, const struct remote_params *params,
                     struct provider **out, struct error *error)
{
    struct remote *r = xcalloc(1, sizeof *r);
    remote_init(r, httpc, timers);
    enum err e = set_params(r, params, error);
    if (e) {
        remote_free(r);
        return e;
    }
    r->ops = (struct provider_ops){
        .name = r->name,
        .caps = r->protocol->caps,
        .generate = remote_generate,
        .cancel = remote_cancel,
        .embed = r->protocol->embed || r->protocol->rerank ? remote_embed : NULL,
        .control = remote_control,
        .close = remote_close,
    };
    r->base.ops = &r->ops;
    *out = &r->base;
    return OK;
}

void remote_state(struct provider *p, struct remote_state *out)
{
    struct remote *r = container_of(p, struct remote, base);
    pthread_mutex_lock(&r->lock);
    *out = (struct remote_state){
        .failures = r->breaker.failures,
        .running = r->n_running,
        .waiting = r->n_waiting,
        .concurrency = r->params.concurrency,
        .first_token_ms = (int64_t)r->first_token_ms,
        .requests = r->requests,
        .attempts = r->attempts,
        .failed = r->failed,
        .last_code = r->last_code,
    };
    out->open = breaker_is_open(&r->breaker, clock_mono_ms(), &out->retry_in_ms);
    str_copy(out->last_error, sizeof out->last_error, r->last_error);
    pthread_mutex_unlock(&r->lock);
}

const char *remote_where(struct provider *p)
{
    return container_of(p, struct remote, base)->where;
}
