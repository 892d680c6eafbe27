/* One transfer: from a request to a configured curl handle, curl's callbacks, and from curl's
 * result to an error that tells a person what to do. Runs on the net thread, but for xfer_new. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "httpc/httpc_int.h"

#ifndef HEARTH_VERSION
#error "HEARTH_VERSION comes from the build"
#endif

/* ---- the answer's headers ------------------------------------------------------------------ */

static const char *field_in(const struct buf *fields, size_t from, size_t to, const char *name)
{
    const char *found = NULL;
    for (size_t pos = from; pos < to;) {
        const char *key = fields->data + pos;
        const char *value = key + strlen(key) + 1;
        if (str_ieq(key, name)) found = value; /* the last one, as curl and browsers do */
        pos = (size_t)(value + strlen(value) + 1 - fields->data);
    }
    return found;
}

static const char *answer_header(const struct httpc_response *r, const char *name)
{
    const struct xfer *x = container_of(r, struct xfer, answer);
    const char *found = field_in(&x->fields, x->answer_begins, x->fields.len, name);
    return found ? found : field_in(&x->fields, 0, x->answer_begins, name);
}

static bool refuse(struct xfer *x, const struct error *why)
{
    x->refusal = *why;
    return false;
}

/* "HTTP/1.1 302 Found": a new answer, whose fields follow. */
static void begin_answer(struct xfer *x)
{
    x->answer_begins = x->fields.len;
    x->redirected = false;
}

static bool keep_field(struct xfer *x, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line) return true;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) end--;
    size_t name_len = (size_t)(colon - line), value_len = (size_t)(end - value);
    if (memchr(line, '\0', len)) return true;
    buf_append(&x->fields, line, name_len);
    buf_putc(&x->fields, '\0');
    buf_append(&x->fields, value, value_len);
    buf_putc(&x->fields, '\0');
    if (x->fields.err == OK) {
        if (name_len == 8 && strncasecmp(line, "location", 8) == 0 && value_len)
            x->redirected = true;
        return true;
    }
    struct error why;
    err_set(&why, ERR_UPSTREAM, "%s sent more than %d KiB of headers", x->host,
            HTTPC_HEADERS_MAX >> 10);
    return refuse(x, &why);
}

/* REDIR_PROTOCOLS forbids leaving https when the request began there; this also covers a chain that
 * began with http. */
static bool redirect_allowed(struct xfer *x)
{
    char *from = NULL;
    curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &from);
    const char *to = field_in(&x->fields, x->answer_begins, x->fields.len, "Location");
    if (!from || !to || strncasecmp(from, "https:", 6) != 0) return true;
    if (strncasecmp(to, "http:", 5) != 0) return true;
    struct error why;
    err_set(&why, ERR_NETWORK, "%s redirects from https to http, which is refused", x->host);
    return refuse(x, &why);
}

static bool announce(struct xfer *x)
{
    if (x->announced) return true;
    x->announced = true;
    long status = 0;
    char *url = NULL;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &url);
    struct httpc_response *r = &x->answer;
    size_t from = x->answer_begins, to = x->fields.len;
    const char *etag = field_in(&x->fields, from, to, "ETag");
    const char *length = field_in(&x->fields, from, to, "Content-Length");
    r->status = (int)status;
    r->etag = etag ? etag : "";
    r->effective_url = url ? url : "";
    if (!length || !str_to_i64(length, 0, INT64_MAX, &r->content_length)) r->content_length = -1;
    if (x->req.on_response && !x->req.on_response(x->req.ctx, r)) {
        struct error why;
        err_set(&why, ERR_CANCELLED, "cancelled");
        return refuse(x, &why);
    }
    return true;
}

static bool end_of_headers(struct xfer *x)
{
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return true;
    /* curl follows every 3xx that has a Location */
    if (status < 400 && status >= 300 && x->redirected && x->req.max_redirects >= 0)
        return redirect_allowed(x);
    return announce(x);
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct xfer *x = ctx;
    size_t len = size * n, used = len;
    x->last_activity_ms = clock_mono_ms();
    if (x->announced) return used; /* trailers */
    while (len && (data[len - 1] == '\r' || data[len - 1] == '\n')) len--;
    bool go_on = true;
    if (len == 0)
        go_on = end_of_headers(x);
    else if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        begin_answer(x);
    else
        go_on = keep_field(x, data, len);
    return go_on ? used : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct xfer *x = ctx;
    size_t len = size * n;
    x->last_activity_ms = clock_mono_ms();
    if (len) x->has_body = true;
    if (!announce(x)) return 0;
    if (!x->req.on_data || len == 0 || x->req.on_data(x->req.ctx, data, len)) return len;
    struct error why;
    err_set(&why, ERR_CANCELLED, "cancelled");
    refuse(x, &why);
    return 0;
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
                       curl_off_t ul_now)
{
    (void)dl_total, (void)ul_total;
    struct xfer *x = ctx;
    if (dl_now + ul_now != x->bytes_seen) {
        x->bytes_seen = dl_now + ul_now;
        x->last_activity_ms = clock_mono_ms();
    }
    return atomic_load(&x->cancelled) ? 1 : 0;
}

/* The connection stands (TLS too) and the request is about to be sent; once per hop. */
static int on_connected(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    struct xfer *x = ctx;
    x->connected = x->answer.connected = true;
    x->last_activity_ms = clock_mono_ms();
    return CURL_PREREQFUNC_OK;
}

/* ---- request -> handle --------------------------------------------------------------------- */

static bool one_line(const char *s)
{
    return !strpbrk(s, "\r\n");
}

/* Scheme, and "host" or "host:port" for messages: URLs themselves may hold secrets. */
static enum err check_url(const char *url, char **host, bool *https, struct error *error)
{
    CURLU *u = curl_url();
    if (!u) return err_set(error, ERR_NOMEM, "no memory for an URL");
    char *scheme = NULL, *name = NULL, *port = NULL;
    enum err e = OK;
    if (!one_line(url) || curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &name, 0))
        e = err_set(error, ERR_INVALID, "'%.200s' is not an URL", url);
    else if (!str_ieq(scheme, "http") && !str_ieq(scheme, "https"))
        e = err_set(error, ERR_INVALID,
                    "'%.40s' is not supported: URLs begin with http:// or "
                    "https://",
                    scheme);
    if (e == OK) {
        struct buf text;
        buf_init(&text, 4096);
        *https = str_ieq(scheme, "https");
        if (curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK)
            buf_printf(&text, "%s:%s", name, port);
        else
            buf_puts(&text, name);
        if (text.err) e = err_set(error, ERR_INVALID, "the URL's host name is too long");
        *host = e ? NULL : buf_take(&text);
        if (e) buf_free(&text);
    }
    curl_free(scheme);
    curl_free(name);
    curl_free(port);
    curl_url_cleanup(u);
    return e;
}

static enum err add_header(struct xfer *x, const char *line, struct error *error)
{
    if (!one_line(line)) return err_set(error, ERR_INVALID, "a request header holds a line break");
    struct curl_slist *longer = curl_slist_append(x->headers, line);
    if (!longer) return err_set(error, ERR_NOMEM, "no memory for a request's headers");
    x->headers = longer;
    return OK;
}

static enum err add_headers(struct xfer *x, const struct httpc_request *req, struct error *error)
{
    bool typed = false;
    enum err e = OK;
    for (size_t i = 0; i < req->n_headers && e == OK; i++) {
        typed = typed || strncasecmp(req->headers[i], "content-type:", 13) == 0;
        e = add_header(x, req->headers[i], error);
    }
    /* curl would wait a second for "100 Continue", and call every body a form */
    if (e == OK) e = add_header(x, "Expect:", error);
    if (e == OK && !typed) e = add_header(x, "Content-Type:", error);
    return e;
}

static enum err set_method(struct xfer *x, const struct httpc_request *req, struct error *error)
{
    const char *method = req->method ? req->method : "GET";
    CURL *c = x->easy;
    if (!one_line(method) || strchr(method, ' '))
        return err_set(error, ERR_INVALID, "'%.40s' is not an HTTP method", method);
    if (req->body_len || str_eq(method, "POST")) {
        x->body = try_malloc(req->body_len + 1);
        if (!x->body) return err_set(error, ERR_NOMEM, "no memory for a request's body");
        if (req->body_len) memcpy(x->body, req->body, req->body_len);
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, x->body);
        if (!str_eq(method, "POST")) curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    } else if (str_eq(method, "HEAD")) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    } else if (!str_eq(method, "GET")) {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    }
    if (req->range_from > 0) {
        char range[32];
        str_printf(range, sizeof(range), "%lld-", (long long)req->range_from);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
    return OK;
}

static void set_limits(struct xfer *x, bool https)
{
    CURL *c = x->easy;
    struct httpc_request *req = &x->req;
    if (req->connect_timeout_ms <= 0) req->connect_timeout_ms = HTTPC_CONNECT_TIMEOUT_MS;
    if (req->idle_timeout_ms <= 0) req->idle_timeout_ms = HTTPC_IDLE_TIMEOUT_MS;
    if (req->first_byte_timeout_ms <= 0) req->first_byte_timeout_ms = req->idle_timeout_ms;
    if (req->max_redirects == 0) req->max_redirects = HTTPC_REDIRECTS;
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)req->connect_timeout_ms);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, req->max_redirects > 0 ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)req->max_redirects);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
}

static void set_route(struct xfer *x, const struct httpc_request *req)
{
    CURL *c = x->easy;
    if (req->unix_socket) {
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket);
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    } else if (req->proxy) {
        curl_easy_setopt(c, CURLOPT_PROXY, req->proxy);
    }
    if (req->ca_file) curl_easy_setopt(c, CURLOPT_CAINFO, req->ca_file);
    if (req->insecure_tls) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, connects_open);
}

static void set_callbacks(struct xfer *x)
{
    CURL *c = x->easy;
    curl_easy_setopt(c, CURLOPT_PRIVATE, x);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->curl_error);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
}

static enum err configure(struct xfer *x, const struct httpc_request *req, struct error *error)
{
    bool https = false;
    enum err e = check_url(req->url ? req->url : "", &x->host, &https, error);
    if (e) return e;
    x->easy = curl_easy_init();
    if (!x->easy) return err_set(error, ERR_NOMEM, "no memory for an outgoing connection");
    CURL *c = x->easy;
    curl_easy_setopt(c, CURLOPT_URL, req->url);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "hearth/" HEARTH_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* cancelling doesn't wait for a name's look-up */
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 128L << 10);
    set_route(x, req);
    set_limits(x, https);
    set_callbacks(x);
    e = set_method(x, req, error);
    if (e == OK) e = add_headers(x, req, error);
    if (e == OK) curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
    return e;
}

enum err xfer_new(const struct httpc_request *req, struct xfer **out, struct error *error)
{
    struct xfer *x = xcalloc(1, sizeof(*x));
    list_init(&x->node);
    list_init(&x->cancel);
    x->req = *req;
    x->answer = (struct httpc_response){
        .etag = "", .effective_url = "", .content_length = -1, .header = answer_header};
    buf_init(&x->fields, HTTPC_HEADERS_MAX);
    enum err e = configure(x, req, error);
    if (e) {
        xfer_free(x);
        return e;
    }
    *out = x;
    return OK;
}

void xfer_free(struct xfer *x)
{
    if (!x) return;
    if (x->easy) curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    buf_free(&x->fields);
    free(x->body);
    free(x->host);
    free(x);
}

/* ---- time-outs ------------------------------------------------------------------------------- */

void xfer_begin(struct xfer *x, int64_t now_ms)
{
    x->begun_ms = x->last_activity_ms = now_ms;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A limit that begins to count later than now can't be over before it would be if it began now. */
int64_t xfer_late(const struct xfer *x, int64_t now_ms, struct error *why)
{
    const struct httpc_request *req = &x->req;
    int64_t limit = x->has_body ? req->idle_timeout_ms : req->first_byte_timeout_ms;
    int64_t next = now_ms + least(req->idle_timeout_ms, req->first_byte_timeout_ms);
    if (req->total_timeout_ms > 0) {
        int64_t end = x->begun_ms + req->total_timeout_ms;
        if (end <= now_ms) {
            err_set(why, ERR_TIMEOUT, "%s did not come to an end in %.1f s", x->host,
                    (double)req->total_timeout_ms / 1000);
            return end;
        }
        next = least(next, end);
    }
    if (!x->connected) return next; /* curl's connect time-out rules until then */
    int64_t end = x->last_activity_ms + limit;
    if (end <= now_ms)
        err_set(why, ERR_TIMEOUT, "%s sent nothing for %.1f s; try again", x->host,
                (double)limit / 1000);
    return least(next, end);
}

/* ---- result -> error ----------------------------------------------------------------------- */

static enum err connect_error(const struct xfer *x, struct error *e)
{
    long os_error = 0;
    curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_error);
    if (os_error == ECONNREFUSED)
        return err_set(e, ERR_NETWORK, "%s refused the connection; is the server running there?",
                       x->host);
    if (os_error == ENETUNREACH || os_error == EHOSTUNREACH)
        return err_set(e, ERR_NETWORK, "%s can't be reached; check the network", x->host);
    return err_set(e, ERR_NETWORK, "can't connect to %s: %s", x->host, x->curl_error);
}

/* Sets *e to what `result` means for a person. */
static void explain(const struct xfer *x, CURLcode result, struct error *e)
{
    const char *detail = x->curl_error[0] ? x->curl_error : curl_easy_strerror(result);
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        err_set(e, ERR_NETWORK, "can't find the host %s; check the name and the network", x->host);
        break;
    case CURLE_COULDNT_RESOLVE_PROXY:
        err_set(e, ERR_NETWORK, "can't find the proxy (%s); check https_proxy and http_proxy",
                detail);
        break;
    case CURLE_COULDNT_CONNECT: connect_error(x, e); break;
    case CURLE_OPERATION_TIMEDOUT:
        err_set(e, ERR_TIMEOUT, "no connection to %s within %.1f s; check the network", x->host,
                (double)x->req.connect_timeout_ms / 1000);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        err_set(e, ERR_NETWORK,
                "no secure connection to %s: %s; check the clock, the ca-certificates package and "
                "whether a proxy intercepts https",
                x->host, detail);
        break;
    case CURLE_TOO_MANY_REDIRECTS:
        err_set(e, ERR_UPSTREAM, "%s redirects more than %d times", x->host, x->req.max_redirects);
        break;
    case CURLE_UNSUPPORTED_PROTOCOL: /* also what curl calls an answer without headers */
        if (!x->redirected) {
            err_set(e, ERR_UPSTREAM, "%s doesn't answer in HTTP", x->host);
            break;
        }
        err_set(e, ERR_NETWORK, "%s redirects to something that is not https, which is refused",
                x->host);
        break;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        err_set(e, ERR_NETWORK, "the connection to %s was cut: %s", x->host, detail);
        break;
    case CURLE_OUT_OF_MEMORY: err_set(e, ERR_NOMEM, "no memory for a transfer"); break;
    case CURLE_WEIRD_SERVER_REPLY:
        err_set(e, ERR_UPSTREAM, "%s doesn't answer in HTTP: %s", x->host, detail);
        break;
    default: err_set(e, ERR_NETWORK, "the transfer from %s failed: %s", x->host, detail); break;
    }
}

void xfer_finish(struct xfer *x, CURLcode result, const struct error *why)
{
    struct error e = {.code = OK};
    if (why)
        e = *why;
    else if (x->refusal.code != OK)
        e = x->refusal;
    else if (atomic_load(&x->cancelled))
        err_set(&e, ERR_CANCELLED, "cancelled");
    else if (result != CURLE_OK)
        explain(x, result, &e);
    else if (!announce(x)) /* no body and no end of headers was seen: HTTP/0.9 is off, so never */
        e = x->refusal;
    if (x->req.on_done) x->req.on_done(x->req.ctx, &x->answer, e.code != OK ? &e : NULL);
}
