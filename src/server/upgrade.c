/* The handshake of a WebSocket (RFC 6455, 4.2): which requests open one, who may, and the answer.
 *
 * A browser opens WebSockets to any host for any page, without asking that host first as it does
 * for other requests (CORS). So an Origin that is neither this hub's own nor an allowed one is
 * refused here: else every page could talk to the models of whoever looks at it. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "server/server_int.h"

/* RFC 6455, 1.3 */
#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
enum { KEY_LEN = 24, SHA1_LEN = 20, ACCEPT_MAX = 32 };

/* ---- what is asked --------------------------------------------------------------------------- */

/* Whether a list of words, as in Connection: keep-alive, Upgrade, has this one. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list ? list : ""; *p;) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n == len && strncasecmp(p, word, n) == 0) return true;
        p += n;
    }
    return false;
}

/* 16 bytes in base64, whatever they are. */
static bool is_key(const char *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return s && strlen(s) == KEY_LEN && strspn(s, digits) == KEY_LEN - 2 &&
           str_eq(s + KEY_LEN - 2, "==");
}

static bool may_come_from_there(const struct exchange *x)
{
    const char *origin = x->http.header(&x->http, "Origin");
    const char *host = x->http.header(&x->http, "Host");
    if (!origin || x->origin) return true;
    const char *authority = strstr(origin, "://");
    return authority && host && str_ieq(authority + 3, host);
}

/* Whether this request opens a WebSocket. *status is the answer's when not; 0 = the error's own. */
static enum err check(const struct exchange *x, int *status, struct error *error)
{
    const struct http_request *r = &x->http;
    const char *version = r->header(r, "Sec-WebSocket-Version");
    *status = 426;
    if (x->http_1_0 || r->method != HTTP_GET || !has_word(r->header(r, "Upgrade"), "websocket") ||
        !has_word(r->header(r, "Connection"), "upgrade"))
        return err_set(error, ERR_INVALID,
                       "%.200s is a WebSocket: connect to it with ws:// or wss://", r->path);
    if (!version || !str_eq(version, "13"))
        return err_set(error, ERR_INVALID,
                       "version 13 of the WebSocket protocol is spoken here (RFC 6455), not %.20s",
                       version ? version : "an unnamed one");
    *status = 0;
    if (!is_key(r->header(r, "Sec-WebSocket-Key")))
        return err_set(error, ERR_INVALID, "Sec-WebSocket-Key must be 16 bytes in base64");
    if (x->expects_body)
        return err_set(error, ERR_INVALID, "a request that opens a WebSocket has no body");
    if (!may_come_from_there(x))
        return err_set(error, ERR_FORBIDDEN,
                       "pages of %.100s may not open WebSockets here; add that origin to "
                       "ALLOWED_ORIGINS",
                       r->header(r, "Origin"));
    return OK;
}

/* ---- who may --------------------------------------------------------------------------------- */

static void agree(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    if (x->state == X_OPEN) {
        x->upgrades = true;
        x->status = 101;
        x->state = X_ENDED;
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
}

/* On the pool. */
static void ask_gate(void *arg)
{
    struct exchange *x = arg;
    struct error error;
    int status = 0;
    enum err e = x->gate ? x->gate->admit(x->hub, x->route, &x->http, &error) : OK;
    if (!e) e = check(x, &status, &error);
    if (e)
        exchange_fail(x, status, &error);
    else
        agree(x);
    exchange_unpin(x);
}

void upgrade_dispatch(struct exchange *x)
{
    front_submit(x, ask_gate);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void upgraded(void *cls, struct MHD_Connection *mhd, void *context, const char *early,
                     size_t len, MHD_socket fd, struct MHD_UpgradeResponseHandle *urh)
{
    struct exchange *x = cls;
    (void)mhd;
    (void)context;
    (void)fd;
    socket_open(x->conn, urh, early, len);
}

static bool make_accept(const struct exchange *x, char accept[ACCEPT_MAX])
{
    char text[KEY_LEN + sizeof ACCEPT_GUID];
    unsigned char hash[SHA1_LEN];
    str_printf(text, sizeof text, "%s%s", x->http.header(&x->http, "Sec-WebSocket-Key"),
               ACCEPT_GUID);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), hash) != 0) return false;
    ht_assert(base64_len(sizeof hash) < ACCEPT_MAX);
    base64_encode(accept, hash, sizeof hash);
    return true;
}

static bool add(struct MHD_Response *r, const char *name, const char *value)
{
    return MHD_add_response_header(r, name, value) == MHD_YES;
}

/* libmicrohttpd adds Connection: Upgrade itself. */
enum MHD_Result upgrade_queue(struct exchange *x)
{
    char accept[ACCEPT_MAX];
    enum MHD_Result result = MHD_NO; /* the connection is cut */
    struct MHD_Response *r = MHD_create_response_for_upgrade(upgraded, x);
    if (r && make_accept(x, accept) && add(r, "Upgrade", "websocket") &&
        add(r, "Sec-WebSocket-Accept", accept) && add(r, "X-Request-Id", x->http.request_id)) {
        conn_watch(x->conn, WATCH_SEND);
        result = mhd_queue(x->conn->mhd, x->status, r);
    }
    if (r) MHD_destroy_response(r);
    return result;
}
