/* Tokens by OAuth: see token.h.
 *
 *   none --token_take: fetch--> fetching --200: on_done--> held --shortly before its end--> none
 *   fetching --4xx: on_done--> refused --TOKEN_REFUSED_MS--> none
 *   fetching --no answer, 5xx: on_done--> none
 *   held --token_forget--> none
 */
#include "remote/token.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/core_int.h"

enum {
    URL_MAX = 1024,
    FORM_MAX = 64 << 10,
    ANSWER_MAX = 256 << 10,
    MARGIN_MAX_MS = 60000, /* before its end; at most a tenth of its life */
    LIFE_UNKNOWN_S = 60,
    LIFE_MAX_S = 30 * 86400,
    IDLE_MS = 15000, /* or the instance's own times, where they are shorter */
    TOTAL_MS = 60000,
};

struct token {
    struct httpc *httpc;
    char *name, *client_id, *client_secret, *username, *password, *scope, *proxy, *ca_file;
    char url[URL_MAX];
    int64_t connect_ms, first_byte_ms, total_ms;
    bool insecure_tls;

    pthread_mutex_t lock; /* only httpc's own is taken under it */
    pthread_cond_t changed;
    struct list_node waiters;
    char *value; /* NULL = there is none */
    char *old;   /* the one before, which may still stand in somebody's message */
    uint64_t number;
    int64_t good_until_ms;
    bool fetching;
    uint64_t xfer;        /* while it is fetching */
    struct error refused; /* until refused_until_ms */
    int64_t refused_until_ms;

    /* the net thread's, while it is fetching */
    struct buf answer;
    bool too_long;
    int status;
};

/* ---- the request --------------------------------------------------------------------------- */

enum err token_address(const char *given, const char *realm_name, char *dst, size_t size,
                       struct error *error)
{
    const char *name = realm_name && *realm_name ? realm_name : "aihub";
    static const char end[] = "/protocol/openid-connect/token";
    const char *scheme = strstr(given, "://") ? "" : "https://";
    size_t len = strlen(given);
    while (len && given[len - 1] == '/') len--;
    bool fits = str_printf(dst, size, "%s%.*s", scheme, (int)len, given);
    const char *host = strstr(dst, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    bool keycloak = !path || str_eq(path, "/auth"), realm = strstr(dst, "/realms/") != NULL;
    if (keycloak)
        fits = fits && str_printf(dst + strlen(dst), size - strlen(dst), "/realms/%s%s", name, end);
    else if (realm && !strstr(dst, "/protocol/"))
        fits = fits && str_printf(dst + strlen(dst), size - strlen(dst), "%s", end);
    if (!fits || !len || strpbrk(dst, " \t\r\n") ||
        (!str_starts(dst, "https://") && !str_starts(dst, "http://")))
        return err_set_param(error, ERR_CONFIG, "oauth",
                             "\"%.200s\" is no address to get a token from", given);
    return OK;
}

/* application/x-www-form-urlencoded */
static void add_field(struct buf *form, const char *name, const char *value)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
    if (!value || !*value) return;
    if (form->len) buf_putc(form, '&');
    buf_puts(form, name);
    buf_putc(form, '=');
    for (; *value; value++) {
        if (strchr(plain, *value))
            buf_putc(form, *value);
        else
            buf_printf(form, "%%%02X", (unsigned char)*value);
    }
}

static void write_form(const struct token *t, struct buf *form)
{
    bool user = t->username && *t->username;
    add_field(form, "grant_type", user ? "password" : "client_credentials");
    add_field(form, "client_id", t->client_id);
    add_field(form, "client_secret", t->client_secret);
    add_field(form, "scope", t->scope);
    if (!user) return;
    add_field(form, "username", t->username);
    add_field(form, "password", t->password);
}

/* ---- the answer; on the net thread --------------------------------------------------------- */

static bool on_response(void *ctx, const struct httpc_response *r)
{
    struct token *t = ctx;
    t->status = r->status;
    return true;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
    struct token *t = ctx;
    if (buf_append(&t->answer, data, len) == OK) return true;
    t->too_long = true;
    return false;
}

static enum err refusal(const struct token *t, const json_t *body, struct error *error)
{
    struct remote_failure f = {.status = t->status};
    failure_read(body, &f);
    return err_set(error, ERR_UPSTREAM, "%s: signing in failed (HTTP %d%s%s)", t->name, t->status,
                   f.message[0] ? ": " : "", f.message);
}

/* RFC 6749, 5.1. */
static enum err read_token(const struct token *t, const json_t *body, char **value,
                           int64_t *life_ms, struct error *error)
{
    const char *token = json_string_value(json_object_get(body, "access_token"));
    const char *type = json_string_value(json_object_get(body, "token_type"));
    int64_t life_s = json_integer_value(json_object_get(body, "expires_in"));
    if (!token || !*token || strlen(token) > TOKEN_MAX || strpbrk(token, "\r\n"))
        return err_set(error, ERR_UPSTREAM, "%s: signing in brought no token", t->name);
    if (type && !str_ieq(type, "Bearer"))
        return err_set(error, ERR_UPSTREAM,
                       "%s: signing in brought a token of type %.20s, which "
                       "is not known here",
                       t->name, type);
    if (life_s <= 0) life_s = LIFE_UNKNOWN_S;
    *life_ms = (life_s > LIFE_MAX_S ? LIFE_MAX_S : life_s) * 1000;
    *value = xstrdup(token);
    return OK;
}

static enum err judge(const struct token *t, const struct error *failed, char **value,
                      int64_t *life_ms, struct error *error)
{
    json_t *body = NULL;
    enum err e;
    if (t->too_long)
        return err_set(error, ERR_UPSTREAM, "%s: signing in brought more than %d KiB", t->name,
                       ANSWER_MAX >> 10);
    if (failed) {
        *error = *failed;
        return err_prefix(error, "%s: signing in", t->name);
    }
    if (json_parse(buf_str(&t->answer), t->answer.len, &body, NULL) != OK) body = NULL;
    if (t->status < 200 || t->status >= 300)
        e = refusal(t, body, error);
    else
        e = read_token(t, body, value, life_ms, error);
    json_decref(body);
    return e;
}

static void keep(struct token *t, char *value, int64_t life_ms)
{
    int64_t margin = life_ms / 10;
    if (margin > MARGIN_MAX_MS) margin = MARGIN_MAX_MS;
    free(t->old);
    t->old = t->value;
    t->value = value;
    t->number++;
    t->good_until_ms = clock_mono_ms() + life_ms - margin;
    t->refused_until_ms = 0;
}

static void remember_refusal(struct token *t, const struct error *error)
{
    t->refused = *error;
    t->refused_until_ms = clock_mono_ms() + TOKEN_REFUSED_MS;
}

/* All who wait now, for the thread that will call them; under the lock. */
static void take_waiters(struct token *t, struct list_node *to)
{
    struct list_node *node;
    list_init(to);
    while ((node = list_pop_front(&t->waiters))) {
        container_of(node, struct token_waiter, node)->waits = false;
        list_push_back(to, node);
    }
}

static void redact(const struct token *t, struct error *error)
{
    remote_cut_out(error->msg, t->value);
    remote_cut_out(error->msg, t->old);
    remote_cut_out(error->msg, t->password);
    remote_cut_out(error->msg, t->client_secret);
}

static void on_done(void *ctx, const struct httpc_response *r, const struct error *failed)
{
    struct token *t = ctx;
    struct error error = {.code = OK};
    struct list_node waiters, *node;
    char *value = NULL;
    int64_t life_ms = 0;
    enum err e = judge(t, failed, &value, &life_ms, &error);
    int status = failed && !t->too_long ? 0 : t->status;
    bool reached = !failed || r->connected;
    pthread_mutex_lock(&t->lock);
    redact(t, &error);
    if (!e)
        keep(t, value, life_ms);
    else if (status >= 400 && status < 500)
        remember_refusal(t, &error);
    take_waiters(t, &waiters);
    buf_free(&t->answer);
    t->fetching = false;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock); /* it may be freed from here on */
    if (e && e != ERR_CANCELLED) log_warn(net, "%s", error.msg);
    while ((node = list_pop_front(&waiters))) {
        struct token_waiter *w = container_of(node, struct token_waiter, node);
        w->fn(w, e ? &error : NULL, status, reached);
    }
}

/* ---- any thread ---------------------------------------------------------------------------- */

static enum err fetch(struct token *t, struct error *error)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded",
                                          "Accept: application/json"};
    struct buf form;
    buf_init(&form, FORM_MAX);
    write_form(t, &form);
    struct httpc_request req = {.method = "POST",
                                .url = t->url,
                                .headers = headers,
                                .n_headers = 2,
                                .body = buf_str(&form),
                                .body_len = form.len,
                                .connect_timeout_ms = t->connect_ms,
                                .idle_timeout_ms = IDLE_MS,
                                .first_byte_timeout_ms = t->first_byte_ms,
                                .total_timeout_ms = t->total_ms,
                                .proxy = t->proxy,
                                .ca_file = t->ca_file,
                                .insecure_tls = t->insecure_tls,
                                .max_redirects = -1,
                                .on_response = on_response,
                                .on_data = on_data,
                                .on_done = on_done,
                                .ctx = t};
    enum err e = form.err ? err_set(error, form.err, "%s: the credentials are too long", t->name)
                          : httpc_start(t->httpc, &req, &t->xfer, error);
    buf_free(&form);
    return e;
}

/* Under the lock; httpc never calls back from within. */
static enum err wait_for_it(struct token *t, struct token_waiter *w, struct error *error)
{
    if (!t->fetching) {
        t->status = 0;
        t->too_long = false;
        buf_init(&t->answer, ANSWER_MAX);
        enum err e = fetch(t, error);
        if (e) return e;
        t->fetching = true;
    }
    w->waits = true;
    list_push_back(&t->waiters, &w->node);
    return OK;
}

static char *header_line(const struct token *t)
{
    static const char name[] = "Authorization: Bearer ";
    size_t size = sizeof name + strlen(t->value);
    char *line = xmalloc(size);
    str_printf(line, size, "%s%s", name, t->value);
    return line;
}

enum token_is token_take(struct token *t, struct token_waiter *w, char **line, uint64_t *number,
                         struct error *error)
{
    enum token_is is = TOKEN_COMING;
    pthread_mutex_lock(&t->lock);
    int64_t now = clock_mono_ms();
    if (t->value && now < t->good_until_ms) {
        *line = header_line(t);
        *number = t->number;
        is = TOKEN_HERE;
    } else if (now < t->refused_until_ms) {
        *error = t->refused;
        is = TOKEN_REFUSED;
    } else if (wait_for_it(t, w, error)) {
        is = TOKEN_REFUSED;
    }
    pthread_mutex_unlock(&t->lock);
    return is;
}

bool token_leave(struct token *t, struct token_waiter *w)
{
    pthread_mutex_lock(&t->lock);
    bool left = w->waits;
    if (left) list_remove(&w->node);
    w->waits = false;
    pthread_mutex_unlock(&t->lock);
    return left;
}

void token_forget(struct token *t, uint64_t number)
{
    pthread_mutex_lock(&t->lock);
    if (t->number == number) t->good_until_ms = 0;
    pthread_mutex_unlock(&t->lock);
}

void token_redact(struct token *t, struct error *error)
{
    pthread_mutex_lock(&t->lock);
    redact(t, error);
    pthread_mutex_unlock(&t->lock);
}

static char *copy(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

enum err token_new(struct httpc *httpc, const char *name, const struct remote_params *how,
                   struct token **out, struct error *error)
{
    const struct remote_oauth *o = &how->oauth;
    struct token *t = xcalloc(1, sizeof *t);
    enum err e = token_address(o->token_url, o->realm, t->url, sizeof t->url, error);
    if (e) {
        free(t);
        return e;
    }
    t->httpc = httpc;
    t->name = xstrdup(name);
    t->client_id = copy(o->client_id);
    t->client_secret = copy(o->client_secret);
    t->username = copy(o->username);
    t->password = copy(o->password);
    t->scope = copy(o->scope);
    t->proxy = how->proxy ? xstrdup(how->proxy) : NULL;
    t->ca_file = copy(how->ca_file);
    t->connect_ms = how->connect_ms;
    t->first_byte_ms = how->first_byte_ms < IDLE_MS ? how->first_byte_ms : IDLE_MS;
    t->total_ms = how->total_ms < TOTAL_MS ? how->total_ms : TOTAL_MS;
    t->insecure_tls = how->insecure_tls;
    list_init(&t->waiters);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    *out = t;
    return OK;
}

void token_free(struct token *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    ht_assert(list_empty(&t->waiters));
    if (t->fetching) httpc_cancel(t->httpc, t->xfer);
    while (t->fetching) pthread_cond_wait(&t->changed, &t->lock);
    pthread_mutex_unlock(&t->lock);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    char *const strings[] = {t->name,  t->client_id, t->client_secret, t->username, t->password,
                             t->scope, t->proxy,     t->ca_file,       t->value,    t->old};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) free(strings[i]);
    free(t);
}
