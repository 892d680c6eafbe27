/* From what the user typed to files with URLs.
 *
 * The hub's paths: <endpoint>/api/models/<repo>/tree/main?recursive=true lists the files with their
 * size and, for large ones, sha256 (lfs.oid); <endpoint>/<repo>/resolve/main/<file> is the file. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/loopback.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/pull_int.h"

enum { TREE_BYTES_MAX = 16 << 20, TREE_PAGES_MAX = 20, TREE_FILES_MAX = 5000 };

#define HUB_URL "https://huggingface.co"

/* One model file of a repository; the parts of a split one are one. */
struct choice {
    char stem[512];  /* path without "-00001-of-0000N.gguf" or ".gguf" */
    size_t first, n; /* in struct tree's files */
    int64_t bytes;
};

struct tree {
    struct pull_file *files; /* sorted by path; url and name not set yet */
    size_t n;
};

/* ---- URLs -------------------------------------------------------------------------------- */

/* The authority of an URL: "host" or "host:port" (or more: see check_url). */
static size_t authority(const char *url, const char **begin)
{
    const char *p = strstr(url, "://");
    *begin = p ? p + 3 : url;
    return strcspn(*begin, "/?#");
}

static bool same_authority(const char *a, const char *b)
{
    const char *x, *y;
    size_t nx = authority(a, &x), ny = authority(b, &y);
    return nx == ny && strncasecmp(x, y, nx) == 0;
}

static bool within(const char *url, const char *endpoint)
{
    size_t len = strlen(endpoint);
    return strncmp(url, endpoint, len) == 0 && url[len] == '/';
}

/* Files that programs load come over https, or from this machine. */
static enum err check_url(const char *url, struct error *error)
{
    const char *a;
    size_t len = authority(url, &a);
    if (memchr(a, '@', len))
        return err_set(error, ERR_INVALID, "URLs with a user name are not supported");
    if (strncasecmp(url, "https://", 8) == 0) return OK;
    if (strncasecmp(url, "http://", 7) == 0 && loopback_url(url)) return OK;
    return err_set(error, ERR_INVALID,
                   "%.200s is not https; use https:// (http only from this "
                   "machine)",
                   url);
}

static enum err set_endpoint(struct pull *p, struct error *error)
{
    const char *given = p->params->hf_endpoint, *token = p->params->hf_token;
    if (!given || !*given) given = HUB_URL;
    size_t len = strlen(given);
    while (len > 0 && given[len - 1] == '/') len--;
    if (len == 0 ||
        !str_printf(p->plan.endpoint, sizeof(p->plan.endpoint), "%.*s", (int)len, given))
        return err_set(error, ERR_CONFIG, "HF_ENDPOINT is not an URL: %.100s", given);
    if (strncasecmp(given, "https://", 8) == 0 || loopback_url(given)) return OK;
    if (strncasecmp(given, "http://", 7) != 0)
        return err_set(error, ERR_CONFIG, "HF_ENDPOINT must begin with https:// or http://: %.100s",
                       given);
    if (token && *token)
        return err_set(error, ERR_CONFIG,
                       "HF_ENDPOINT is http: HF_TOKEN would travel readable for "
                       "all; use https or unset HF_TOKEN");
    return OK;
}

bool pull_auth_header(const struct pull *p, const char *url, char *dst, size_t size)
{
    const char *token = p->params->hf_token;
    if (!token || !*token || !same_authority(url, p->plan.endpoint)) return false;
    return str_printf(dst, size, "Authorization: Bearer %s", token);
}

/* Percent-encodes what is not allowed in a path; '/' stays. */
static void encode_path(struct buf *out, const char *path)
{
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        if (isalnum(c) || strchr("-._~/", c))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_path(char *dst, size_t size, const char *src, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = src[i];
        if (c == '%' && i + 2 < len && hex_digit(src[i + 1]) >= 0 && hex_digit(src[i + 2]) >= 0) {
            c = (char)(hex_digit(src[i + 1]) * 16 + hex_digit(src[i + 2]));
            i += 2;
        }
        if (n + 1 >= size || c == '\0') return false;
        dst[n++] = c;
    }
    dst[n] = '\0';
    return true;
}

/* Nothing that a terminal obeys: no control characters, neither C0 nor C1 (in UTF-8). */
static bool is_plain_text(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if (*p < ' ' || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)) return false;
    return utf8_valid(s, strlen(s));
}

/* A file's name as it will stand in the models folder. Names come from servers: no folders, nothing
 * hidden. */
static enum err set_name(struct pull_file *f, struct error *error)
{
    const char *slash = strrchr(f->in_repo, '/'), *name = slash ? slash + 1 : f->in_repo;
    size_t len = strlen(name);
    bool ok = len > 5 && strcasecmp(name + len - 5, ".gguf") == 0 && name[0] != '.' &&
              is_plain_text(name) && str_copy(f->name, sizeof(f->name) - 16, name);
    if (ok) return OK;
    return err_set(error, ERR_INVALID,
                   "\"%.100s\" is not a .gguf file; Hearth loads GGUF models "
                   "only",
                   is_plain_text(name) ? name : "?");
}

static enum err set_hub_url(const struct pull_plan *plan, struct pull_file *f, struct error *error)
{
    struct buf url;
    buf_init(&url, PULL_URL_MAX - 1);
    buf_printf(&url, "%s/%s/resolve/main/", plan->endpoint, plan->repo);
    encode_path(&url, f->in_repo);
    bool ok = url.err == OK && str_copy(f->url, sizeof(f->url), buf_str(&url));
    buf_free(&url);
    if (!ok) return err_set(error, ERR_INVALID, "the path of %.100s is too long", f->in_repo);
    return set_name(f, error);
}

/* ---- listing a repository ---------------------------------------------------------------- */

enum err pull_status_error(const struct pull *p, int status, const char *error_code,
                           const char *what, struct error *error)
{
    bool token = p->params->hf_token && *p->params->hf_token;
    const char *repo = p->plan.repo;
    bool gated = str_eq(error_code, "GatedRepo");
    if (str_eq(error_code, "RepoNotFound") ||
        (status == 404 && !str_eq(error_code, "EntryNotFound")))
        return err_set(error, ERR_NOT_FOUND, "%.200s is not there (%d)%s", what, status,
                       token || !*repo ? "; check the name"
                                       : "; check the name, or set HF_TOKEN if it is private");
    switch (status) {
    case 401:
    case 403:
        if (token)
            return err_set(
                error, ERR_AUTH,
                "%.200s needs a licence to be accepted: open %s/%s in a browser with the "
                "account of your HF_TOKEN%s (%d)",
                what, p->plan.endpoint, repo, gated ? "" : ", and check that the token is valid",
                status);
        return err_set(error, ERR_AUTH,
                       "%.200s needs an account: accept its licence at %s/%s, make a token at "
                       "%s/settings/tokens and run: HF_TOKEN=hf_... hearth pull %.100s (%d)",
                       what, p->plan.endpoint, repo, p->plan.endpoint, p->params->spec, status);
    case 404:
        return err_set(error, ERR_NOT_FOUND, "%.200s is not there; `hearth pull %s` shows what is",
                       what, *repo ? repo : "<org>/<repository>");
    case 429:
        return err_set(error, ERR_UPSTREAM,
                       "the server is asked too often (429); wait a few minutes"
                       "%s",
                       token ? "" : ", or set HF_TOKEN for a higher limit");
    default:
        return err_set(error, ERR_UPSTREAM, "the server answered %d for %.200s; try again later",
                       status, what);
    }
}

struct page {
    struct buf body;
    char error_code[64];
    char next[PULL_URL_MAX]; /* "" = the last page */
};

static bool page_response(void *ctx, const struct httpc_response *r)
{
    struct page *page = ctx;
    const char *code = r->header(r, "X-Error-Code"), *link = r->header(r, "Link");
    str_copy(page->error_code, sizeof(page->error_code), code ? code : "");
    /* Link: <url>; rel="next" */
    const char *end = link && *link == '<' ? strchr(link, '>') : NULL;
    if (end && strstr(end, "rel=\"next\""))
        str_printf(page->next, sizeof(page->next), "%.*s", (int)(end - link - 1), link + 1);
    return true;
}

static bool page_data(void *ctx, const void *data, size_t len)
{
    struct page *page = ctx;
    return buf_append(&page->body, data, len) == OK;
}

static enum err get_page(struct pull *p, const char *url, struct page *page, struct error *error)
{
    char auth[1024];
    const char *headers[] = {"Accept: application/json", auth};
    struct httpc_request req = {
        .method = "GET",
        .url = url,
        .headers = headers,
        .n_headers = pull_auth_header(p, url, auth, sizeof(auth)) ? 2 : 1,
        .on_response = page_response,
        .on_data = page_data,
        .ctx = page,
    };
    int status;
    enum err e = httpc_do(p->http, &req, &status, error);
    if (e == ERR_CANCELLED && page->body.err)
        return err_set(error, ERR_UPSTREAM, "the list of files of %s is larger than %d MiB",
                       p->plan.repo, TREE_BYTES_MAX >> 20);
    if (e) return e;
    if (status == 200) return OK;
    return pull_status_error(p, status, page->error_code, p->plan.repo, error);
}

static enum err add_file(struct tree *t, const json_t *item, struct error *error)
{
    const char *type = NULL, *path = NULL, *oid = NULL;
    const json_t *lfs = NULL;
    struct pull_file f = {.size = -1};
    enum err e = json_get_string(item, "type", "", &type, error);
    if (e == OK) e = json_get_string(item, "path", "", &path, error);
    if (e == OK) e = json_get_int(item, "size", "", 0, INT64_MAX, &f.size, error);
    if (e == OK) e = json_get_object(item, "lfs", "", &lfs, error);
    if (e == OK && lfs) e = json_get_string(lfs, "oid", "/lfs", &oid, error);
    if (e == OK && lfs) e = json_get_int(lfs, "size", "/lfs", 0, INT64_MAX, &f.size, error);
    if (e) return e;
    size_t len = path ? strlen(path) : 0;
    if (!str_eq(type, "file") || len < 6 || strcasecmp(path + len - 5, ".gguf") != 0) return OK;
    if (!is_plain_text(path) || t->n >= TREE_FILES_MAX) return OK;
    if (!str_copy(f.in_repo, sizeof(f.in_repo), path)) return OK;
    if (oid && strlen(oid) == 64) str_copy(f.sha256, sizeof(f.sha256), oid);
    struct pull_file *more = try_realloc(t->files, t->n + 1, sizeof(*more));
    if (!more) return err_set(error, ERR_NOMEM, "no memory for a list of files");
    t->files = more;
    t->files[t->n++] = f;
    return OK;
}

static enum err add_page(struct pull *p, struct tree *t, const struct buf *body,
                         struct error *error)
{
    json_t *doc = NULL;
    struct error why;
    enum err e = json_parse(buf_str(body), body->len, &doc, &why);
    if (e == OK && !json_is_array(doc)) e = err_set(&why, ERR_JSON, "it is not a list");
    for (size_t i = 0; e == OK && i < json_array_size(doc); i++)
        e = add_file(t, json_array_get(doc, i), &why);
    json_decref(doc);
    return e ? err_set(error, ERR_UPSTREAM, "%s/api doesn't list files as the hub does: %.200s",
                       p->plan.endpoint, why.msg)
             : OK;
}

static int by_repo_path(const void *a, const void *b)
{
    return strcmp(((const struct pull_file *)a)->in_repo, ((const struct pull_file *)b)->in_repo);
}

static enum err list_repo(struct pull *p, struct tree *t, struct error *error)
{
    char url[PULL_URL_MAX];
    enum err e = OK;
    if (!str_printf(url, sizeof(url), "%s/api/models/%s/tree/main?recursive=true", p->plan.endpoint,
                    p->plan.repo))
        return err_set(error, ERR_INVALID, "HF_ENDPOINT is too long");
    for (int i = 0; i < TREE_PAGES_MAX && e == OK && url[0]; i++) {
        struct page page = {.error_code = ""};
        buf_init(&page.body, TREE_BYTES_MAX);
        e = get_page(p, url, &page, error);
        if (e == OK) e = add_page(p, t, &page.body, error);
        buf_free(&page.body);
        /* the token must not leave the endpoint, nor its https */
        str_copy(url, sizeof(url), within(page.next, p->plan.endpoint) ? page.next : "");
    }
    if (e == OK && t->n == 0)
        return err_set(error, ERR_NOT_FOUND,
                       "%s holds no .gguf file; look for a repository with GGUF in its name",
                       p->plan.repo);
    if (t->n) qsort(t->files, t->n, sizeof(*t->files), by_repo_path);
    return e;
}

/* ---- choosing ---------------------------------------------------------------------------- */

static void stem_of(char *dst, size_t size, const char *path)
{
    char base[512];
    const char *slash = strrchr(path, '/');
    model_stem(base, sizeof(base), path);
    str_printf(dst, size, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, base);
}

static struct choice *make_choices(const struct tree *t, size_t *n)
{
    struct choice *list = xcalloc(t->n + 1, sizeof(*list));
    *n = 0;
    for (size_t i = 0; i < t->n; i++) {
        char stem[512];
        stem_of(stem, sizeof(stem), t->files[i].in_repo);
        struct choice *last = *n ? &list[*n - 1] : NULL;
        if (!last || !str_eq(last->stem, stem)) {
            last = &list[(*n)++];
            *last = (struct choice){.first = i};
            str_copy(last->stem, sizeof(last->stem), stem);
        }
        last->n++;
        last->bytes += t->files[i].size > 0 ? t->files[i].size : 0;
    }
    return list;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Is `quant` a whole word at the end of the name, as in "Model-Q4_K_M"? */
static bool ends_with_quant(const char *stem, const char *quant)
{
    size_t len = strlen(stem), n = strlen(quant);
    if (len < n || n == 0 || strcasecmp(stem + len - n, quant) != 0) return false;
    return len == n || strchr("-._/", stem[len - n - 1]) != NULL;
}

static bool is_language_model(const struct choice *c)
{
    const char *name = base_of(c->stem);
    return !strcasestr(name, "mmproj") && !strcasestr(name, "imatrix");
}

static bool is_ud(const struct choice *c, const char *quant)
{
    size_t len = strlen(c->stem), n = strlen(quant);
    return len >= n + 3 && strncasecmp(c->stem + len - n - 3, "UD-", 3) == 0;
}

/* Those whose name ends with `quant`; of several the plain one, if only one is plain. */
static const struct choice *by_quant(const struct choice *list, size_t n, const char *quant,
                                     size_t *matches)
{
    const struct choice *one = NULL, *plain = NULL;
    size_t n_plain = 0;
    *matches = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_language_model(&list[i]) || !ends_with_quant(list[i].stem, quant)) continue;
        one = &list[i];
        (*matches)++;
        if (is_ud(&list[i], quant)) continue;
        plain = &list[i];
        n_plain++;
    }
    if (*matches > 1 && n_plain == 1) *matches = 1, one = plain;
    return *matches == 1 ? one : NULL;
}

/* "org/repo:Q8_0 (1.2 GiB), ..." as far as an error message has room. */
static enum err say_choices(const struct pull *p, const struct choice *list, size_t n,
                            const char *problem, struct error *error)
{
    struct buf text;
    size_t shown = 0, total = 0;
    buf_init(&text, 256);
    for (size_t i = 0; i < n; i++) total += is_language_model(&list[i]);
    for (size_t i = 0; i < n; i++) {
        char item[600], size[32];
        if (!is_language_model(&list[i])) continue;
        str_printf(item, sizeof(item), "%s%s.gguf (%s)", shown ? ", " : "", list[i].stem,
                   str_from_bytes(size, sizeof(size), (uint64_t)list[i].bytes));
        if (text.len + strlen(item) > 230) break;
        buf_puts(&text, item);
        shown++;
    }
    if (shown < total) buf_printf(&text, " and %zu more", total - shown);
    enum err e = err_set(error, ERR_INVALID, "%.120s; name one, as in hearth pull %s:Q8_0: %s",
                         problem, p->plan.repo, buf_str(&text));
    buf_free(&text);
    return e;
}

static enum err choose(const struct pull *p, const struct choice *list, size_t n, const char *what,
                       const struct choice **out, struct error *error)
{
    char problem[160], stem[512];
    size_t matches, n_models = 0;
    const struct choice *only = NULL;
    stem_of(stem, sizeof(stem), what);
    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        bool named = *what && (str_eq(list[i].stem, stem) || str_eq(base_of(list[i].stem), stem));
        if (named && str_ends(what, ".gguf")) *out = &list[i];
        if (!is_language_model(&list[i])) continue;
        only = &list[i];
        n_models++;
    }
    if (*out) return OK;
    if (!*what && n_models == 1) {
        *out = only;
        return OK;
    }
    const char *quant = *what ? what : "Q4_K_M";
    *out = by_quant(list, n, quant, &matches);
    if (*out) return OK;
    if (matches > 1)
        str_printf(problem, sizeof(problem), "%s has several %.40s files", p->plan.repo, quant);
    else
        str_printf(problem, sizeof(problem), "%s has no %.40s", p->plan.repo, quant);
    return say_choices(p, list, n, problem, error);
}

/* The plan's files become those of a choice. */
static enum err take_choice(struct pull *p, const struct tree *t, const struct choice *c,
                            struct error *error)
{
    enum err e = OK;
    if (c->n > PULL_PARTS_MAX)
        return err_set(error, ERR_INVALID, "%s is in more than %d parts", c->stem, PULL_PARTS_MAX);
    p->plan.files = xcalloc(c->n, sizeof(*p->plan.files));
    p->plan.n_files = c->n;
    for (size_t i = 0; i < c->n && e == OK; i++) {
        p->plan.files[i] = t->files[c->first + i];
        e = set_hub_url(&p->plan, &p->plan.files[i], error);
    }
    return e;
}

static enum err plan_from_list(struct pull *p, const char *what, struct error *error)
{
    struct tree t = {0};
    const struct choice *choice;
    size_t n;
    enum err e = list_repo(p, &t, error);
    if (e == OK) {
        struct choice *list = make_choices(&t, &n);
        e = choose(p, list, n, what, &choice, error);
        if (e == OK) e = take_choice(p, &t, choice, error);
        free(list);
    }
    free(t.files);
    return e;
}

/* ---- the three kinds of spec ------------------------------------------------------------- */

static void one_file(struct pull_plan *plan)
{
    plan->files = xcalloc(1, sizeof(*plan->files));
    plan->n_files = 1;
    plan->files[0].size = -1;
}

static enum err plan_catalog(struct pull *p, struct error *error)
{
    const struct catalog *c;
    const struct catalog_model *model;
    const struct catalog_file *file;
    struct error why;
    const char *spec = p->params->spec;
    enum err e = models_catalog(p->models, &c, error);
    if (e) return e;
    e = catalog_find(c, spec, &model, &file, &why);
    if (e == ERR_INVALID) return err_set(error, ERR_NO_MODEL, "%s", why.msg);
    if (e) {
        struct buf names;
        buf_init(&names, 256);
        catalog_suggest(c, spec, 4, &names);
        e = err_set(error, ERR_NO_MODEL,
                    "%s%s%s; or name a Hugging Face repository: hearth pull org/repo:Q4_K_M",
                    why.msg, names.len ? "; close to it: " : "", buf_str(&names));
        buf_free(&names);
        return e;
    }
    if (!file) file = &model->files[0];
    str_copy(p->plan.catalog, sizeof(p->plan.catalog), model->name);
    str_copy(p->plan.quant, sizeof(p->plan.quant), file->quant);
    str_copy(p->plan.repo, sizeof(p->plan.repo), model->repo);
    if (strstr(file->file, "-00001-of-")) return plan_from_list(p, file->file, error);
    one_file(&p->plan);
    str_copy(p->plan.files[0].in_repo, sizeof(p->plan.files[0].in_repo), file->file);
    return set_hub_url(&p->plan, &p->plan.files[0], error);
}

/* A file that was pulled before needs no network. */
static bool file_is_there(struct pull *p, const char *file)
{
    one_file(&p->plan);
    struct pull_file *f = &p->plan.files[0];
    if (str_copy(f->in_repo, sizeof(f->in_repo), file) && set_hub_url(&p->plan, f, NULL) == OK &&
        pull_is_there(p))
        return true;
    free(p->plan.files);
    p->plan.files = NULL;
    p->plan.n_files = 0;
    return false;
}

static bool valid_repo(const char *s, size_t len)
{
    const char *slash = memchr(s, '/', len);
    if (!slash || slash == s || slash == s + len - 1 || s[0] == '.') return false;
    if (memchr(slash + 1, '/', (size_t)(s + len - slash - 1)) || slash[1] == '.') return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-_./", s[i])) return false;
    return true;
}

static enum err plan_repo(struct pull *p, const char *spec, struct error *error)
{
    const char *colon = strchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    const char *what = colon ? colon + 1 : "";
    if (!valid_repo(spec, len) || len >= sizeof(p->plan.repo) ||
        strlen(what) >= sizeof(((struct pull_file *)0)->in_repo))
        return err_set(error, ERR_INVALID,
                       "\"%.200s\" is not a repository; write org/name or "
                       "org/name:Q4_K_M",
                       spec);
    str_printf(p->plan.repo, sizeof(p->plan.repo), "%.*s", (int)len, spec);
    if (str_ends(what, ".gguf") && file_is_there(p, what)) return OK;
    return plan_from_list(p, str_ieq(what, "latest") ? "" : what, error);
}

/* ".../org/repo/resolve/main/dir/file.gguf?download=true" of the hub -> repository and file. */
static bool hub_file_url(struct pull *p, const char *url, char *spec, size_t size)
{
    static const char *const kinds[] = {"/resolve/main/", "/blob/main/"};
    const char *a;
    if (!same_authority(url, p->plan.endpoint) && !same_authority(url, HUB_URL)) return false;
    size_t len = authority(url, &a);
    const char *path = a + len;
    if (*path != '/') return false;
    path++;
    for (size_t i = 0; i < 2; i++) {
        const char *at = strstr(path, kinds[i]);
        if (!at || !valid_repo(path, (size_t)(at - path))) continue;
        const char *file = at + strlen(kinds[i]);
        char decoded[512];
        if (!decode_path(decoded, sizeof(decoded), file, strcspn(file, "?#"))) return false;
        return str_printf(spec, size, "%.*s:%s", (int)(at - path), path, decoded);
    }
    size_t repo_len = strcspn(path, "?#");
    while (repo_len && path[repo_len - 1] == '/') repo_len--;
    if (repo_len > 5 && strncasecmp(path + repo_len - 5, ".gguf", 5) == 0) return false;
    return valid_repo(path, repo_len) && str_printf(spec, size, "%.*s", (int)repo_len, path);
}

static enum err plan_url(struct pull *p, const char *url, struct error *error)
{
    char spec[1024];
    if (hub_file_url(p, url, spec, sizeof(spec))) return plan_repo(p, spec, error);
    enum err e = check_url(url, error);
    if (e) return e;
    one_file(&p->plan);
    struct pull_file *f = &p->plan.files[0];
    const char *a;
    size_t len = authority(url, &a);
    const char *path = a + len;
    size_t path_len = strcspn(path, "?#");
    const char *slash = memrchr(path, '/', path_len);
    const char *name = slash ? slash + 1 : path;
    if (!str_copy(f->url, sizeof(f->url), url) ||
        !decode_path(f->in_repo, sizeof(f->in_repo), name, path_len - (size_t)(name - path)))
        return err_set(error, ERR_INVALID, "the URL is too long");
    if (strchr(f->in_repo, '/'))
        return err_set(error, ERR_INVALID, "the URL's file name holds a '/'");
    return set_name(f, error);
}

enum err pull_plan_make(struct pull *p, struct error *error)
{
    static const char *const hubs[] = {"hf.co/", "huggingface.co/", "hf:"};
    const char *spec = p->params->spec;
    enum err e = set_endpoint(p, error);
    if (e) return e;
    if (!*spec) return err_set(error, ERR_INVALID, "which model? `hearth pull llama3.2:1b`");
    if (strlen(spec) >= PULL_URL_MAX) return err_set(error, ERR_INVALID, "the name is too long");
    if (strstr(spec, "://")) return plan_url(p, spec, error);
    for (size_t i = 0; i < sizeof(hubs) / sizeof(hubs[0]); i++)
        if (str_starts(spec, hubs[i])) return plan_repo(p, spec + strlen(hubs[i]), error);
    if (strchr(spec, '/')) return plan_repo(p, spec, error);
    return plan_catalog(p, error);
}
