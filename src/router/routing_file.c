/* Routing from the file of providers and routes (docs/routing.md has its fields). Strict: a member
 * that is not known is an error, since a misspelt pin would let out what was to stay. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "router/routing_int.h"

enum { FILE_MAX = 1 << 20, KEY_MAX = 16 << 10, POINTER_MAX = 200, MS_MAX = 86400000 };
enum { CLASSIFY_MS_MIN = 10, CLASSIFY_MS_MAX = 60000 }; /* as the setting's */

struct reader {
    struct routing *r;
    const char *path;
    bool is_private;
    struct error *error;
};

/* ---- errors -------------------------------------------------------------------------------- */

/* What a getter said, as an error of the configuration with the file's name. */
static enum err bad(struct reader *rd, enum err e)
{
    if (!e) return OK;
    if (rd->error) rd->error->code = ERR_CONFIG;
    err_prefix(rd->error, "%.300s", rd->path);
    return ERR_CONFIG;
}

static enum err wrong(struct reader *rd, const char *ptr, const char *what)
{
    return err_set_param(rd->error, ERR_CONFIG, ptr, "%.300s: %s %s", rd->path, ptr, what);
}

static enum err check_names(struct reader *rd, const json_t *obj, const char *ptr,
                            const char *const *names)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)obj, key, value) {
        bool known = false;
        for (size_t i = 0; names[i] && !known; i++) known = str_eq(names[i], key);
        if (!known)
            return err_set_param(rd->error, ERR_CONFIG, ptr,
                                 "%.300s: %s has a member \"%.64s\", which is not known", rd->path,
                                 *ptr ? ptr : "/", key);
    }
    return OK;
}

/* ---- getters ------------------------------------------------------------------------------- */

/* A text in the arena; absent leaves *out alone. */
static enum err get_text(struct reader *rd, const json_t *obj, const char *name, const char *ptr,
                         const char **out)
{
    const char *s = NULL;
    enum err e = bad(rd, json_get_string(obj, name, ptr, &s, rd->error));
    if (!e && s) *out = routing_text(rd->r, s);
    return e;
}

/* Milliseconds, as a number or as "5s". */
static enum err get_ms(struct reader *rd, const json_t *obj, const char *name, const char *ptr,
                       int64_t *out)
{
    const json_t *v = json_object_get(obj, name);
    if (!v || json_is_null(v)) return OK;
    if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= MS_MAX)
        *out = json_integer_value(v);
    else if (!json_is_string(v) || !str_to_ms(json_string_value(v), out) || *out > MS_MAX)
        return err_set_param(rd->error, ERR_CONFIG, ptr,
                             "%.300s: %s/%s must be milliseconds or a time like \"5s\"", rd->path,
                             ptr, name);
    return OK;
}

static enum err get_int(struct reader *rd, const json_t *obj, const char *name, const char *ptr,
                        int64_t min, int64_t max, int32_t *out)
{
    int64_t v = *out;
    enum err e = bad(rd, json_get_int(obj, name, ptr, min, max, &v, rd->error));
    *out = (int32_t)v;
    return e;
}

static enum err get_bool(struct reader *rd, const json_t *obj, const char *name, const char *ptr,
                         bool *out)
{
    return bad(rd, json_get_bool(obj, name, ptr, out, rd->error));
}

static enum err get_texts(struct reader *rd, const json_t *obj, const char *name, const char *ptr,
                          const char *const **out, size_t *n)
{
    const json_t *list = NULL, *v;
    size_t i;
    enum err e = bad(rd, json_get_array(obj, name, ptr, &list, rd->error));
    if (e || !list) return e;
    const char **texts = arena_calloc(rd->r->arena, json_array_size(list) + 1, sizeof *texts);
    if (!texts || json_array_size(list) > ROUTING_MODELS_MAX)
        return wrong(rd, ptr, "has a list that is too long");
    json_array_foreach ((json_t *)list, i, v) {
        if (!json_is_string(v)) return wrong(rd, ptr, "has a list with something else than texts");
        texts[i] = routing_text(rd->r, json_string_value(v));
    }
    *out = texts;
    *n = json_array_size(list);
    return OK;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static bool only_owner_reads(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & 077) == 0;
}

static enum err key_from_file(struct reader *rd, const char *ptr, const char *file,
                              const char **out)
{
    struct buf text;
    if (!fs_exists(file)) return wrong(rd, ptr, "names a file for its key that is not there");
    if (!only_owner_reads(file))
        return wrong(rd, ptr, "has its key in a file that others can read; `chmod 600` it");
    buf_init(&text, KEY_MAX);
    enum err e = bad(rd, fs_read_file(file, KEY_MAX, &text, rd->error));
    if (!e) {
        size_t n = text.len;
        while (n && strchr(" \t\r\n", text.data[n - 1])) n--;
        *out = arena_strndup(rd->r->arena, buf_str(&text), n);
    }
    buf_free(&text);
    return e;
}

static enum err read_key(struct reader *rd, const json_t *obj, const char *ptr,
                         struct routing_provider *p)
{
    const char *key = NULL, *env = NULL, *file = NULL;
    enum err e = get_text(rd, obj, "key", ptr, &key);
    if (!e) e = get_text(rd, obj, "key_env", ptr, &env);
    if (!e) e = get_text(rd, obj, "key_file", ptr, &file);
    if (e) return e;
    if ((key != NULL) + (env != NULL) + (file != NULL) > 1)
        return wrong(rd, ptr, "has more than one of key, key_env and key_file");
    if (key && !rd->is_private)
        return wrong(rd, ptr,
                     "has a key in it, but others can read the file; `chmod 600` it, or "
                     "use key_env or key_file");
    if (key) p->remote.key = key;
    if (env) {
        const char *v = getenv(env);
        if (!v || !*v) return wrong(rd, ptr, "takes its key from a variable that is not set");
        p->remote.key = routing_text(rd->r, v);
    }
    return file ? key_from_file(rd, ptr, file, &p->remote.key) : OK;
}

/* ---- providers ----------------------------------------------------------------------------- */

static enum err read_headers(struct reader *rd, const json_t *obj, const char *ptr,
                             struct routing_provider *p)
{
    const json_t *headers = NULL;
    const char *key;
    json_t *value;
    size_t n = 0;
    enum err e = bad(rd, json_get_object(obj, "headers", ptr, &headers, rd->error));
    if (e || !headers) return e;
    const char **lines = arena_calloc(rd->r->arena, json_object_size(headers), sizeof *lines);
    if (!lines) return wrong(rd, ptr, "has too many headers");
    json_object_foreach ((json_t *)headers, key, value) {
        char line[4096];
        const char *v = json_string_value(value);
        if (!v || strpbrk(v, "\r\n") || strpbrk(key, "\r\n:") ||
            !str_printf(line, sizeof line, "%s: %s", key, v))
            return wrong(rd, ptr, "has a header that is no text of one line");
        lines[n++] = routing_text(rd->r, line);
    }
    p->remote.headers = lines;
    p->remote.n_headers = n;
    return OK;
}

static enum err read_times(struct reader *rd, const json_t *obj, const char *ptr,
                           struct remote_params *p)
{
    enum err e = get_ms(rd, obj, "connect_timeout", ptr, &p->connect_ms);
    if (!e) e = get_ms(rd, obj, "first_byte_timeout", ptr, &p->first_byte_ms);
    if (!e) e = get_ms(rd, obj, "idle_timeout", ptr, &p->idle_ms);
    if (!e) e = get_ms(rd, obj, "total_timeout", ptr, &p->total_ms);
    int32_t retries = -1;
    if (!e) e = get_int(rd, obj, "retries", ptr, 0, 10, &retries);
    if (retries >= 0) p->retries = retries ? retries : -1;
    if (!e) e = get_int(rd, obj, "concurrency", ptr, 1, 100000, &p->concurrency);
    int32_t waiting = -1;
    if (!e) e = get_int(rd, obj, "waiting", ptr, 0, 1000000, &waiting);
    if (waiting >= 0) p->waiting = waiting ? waiting : -1;
    return e;
}

static enum err read_models(struct reader *rd, const json_t *obj, const char *ptr,
                            struct routing_provider *p)
{
    const char *model = NULL;
    bool tiers = false;
    enum err e = get_text(rd, obj, "model", ptr, &model);
    for (int t = TIER_SMALL; !e && t < TIER_COUNT; t++) {
        const char *of_tier = NULL;
        e = get_text(rd, obj, tier_name((enum tier)t), ptr, &of_tier);
        if (of_tier && !tiers)
            for (int k = 0; k < TIER_COUNT; k++) p->tiers[k] = NULL; /* it says all of them */
        if (of_tier) p->tiers[t] = of_tier;
        tiers |= of_tier != NULL;
    }
    if (!e) e = get_text(rd, obj, "embed_model", ptr, &p->embed_model);
    if (!e) e = get_texts(rd, obj, "models", ptr, &p->models, &p->n_models);
    if (e) return e;
    if (model) p->remote.model = model;
    bool none = !p->tiers[TIER_SMALL] && !p->tiers[TIER_MIDDLE] && !p->tiers[TIER_LARGE];
    if (model && (none || !tiers)) {
        for (int k = 0; k < TIER_COUNT; k++) p->tiers[k] = NULL;
        p->tiers[TIER_MIDDLE] = model;
    } else if (none && !p->local) {
        p->tiers[TIER_MIDDLE] = p->n_models ? p->models[0] : "";
    }
    return OK;
}

static bool is_protocol(const char *word)
{
    for (const char *const *p = remote_protocols(); *p; p++)
        if (str_eq(*p, word)) return true;
    return false;
}

static enum err read_remote(struct reader *rd, const json_t *obj, const char *ptr,
                            struct routing_provider *p)
{
    bool verify = !p->remote.insecure_tls;
    enum err e = get_text(rd, obj, "kind", ptr, &p->remote.protocol);
    if (!e && !p->remote.protocol) p->remote.protocol = "openai";
    if (!e && !is_protocol(p->remote.protocol))
        return wrong(rd, ptr,
                     "has a kind that is none of openai, anthropic, ollama, cohere, aihub");
    if (!e) e = get_text(rd, obj, "base_url", ptr, &p->remote.base_url);
    if (!e) e = read_key(rd, obj, ptr, p);
    if (!e) e = read_headers(rd, obj, ptr, p);
    if (!e) e = read_times(rd, obj, ptr, &p->remote);
    if (!e) e = get_text(rd, obj, "proxy", ptr, &p->remote.proxy);
    if (!e) e = get_text(rd, obj, "ca_file", ptr, &p->remote.ca_file);
    if (!e) e = get_bool(rd, obj, "verify_tls", ptr, &verify);
    if (!e) e = get_text(rd, obj, "token_url", ptr, &p->remote.oauth.token_url);
    if (!e) e = get_text(rd, obj, "client_id", ptr, &p->remote.oauth.client_id);
    if (!e) e = get_text(rd, obj, "username", ptr, &p->remote.oauth.username);
    p->remote.insecure_tls = !verify;
    return e;
}

static enum err read_provider(struct reader *rd, const char *name, const json_t *obj)
{
    static const char *const of_local[] = {"small", "middle", "large", "embed_model", NULL};
    static const char *const of_remote[] = {"kind",
                                            "base_url",
                                            "key",
                                            "key_env",
                                            "key_file",
                                            "headers",
                                            "model",
                                            "small",
                                            "middle",
                                            "large",
                                            "models",
                                            "embed_model",
                                            "chain",
                                            "trusted",
                                            "connect_timeout",
                                            "waiting",
                                            "idle_timeout",
                                            "verify_tls",
                                            "first_byte_timeout",
                                            "total_timeout",
                                            "retries",
                                            "concurrency",
                                            "proxy",
                                            "ca_file",
                                            "token_url",
                                            "client_id",
                                            "username",
                                            NULL};
    char ptr[POINTER_MAX];
    str_printf(ptr, sizeof ptr, "/providers/%.64s", name);
    if (!*name || strlen(name) >= ROUTING_NAME_MAX || strpbrk(name, "/ \t\r\n\"") ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
            strlen(name))
        return wrong(rd, ptr, "is no name: letters, digits, '-', '_' and '.', at most 63");
    if (!json_is_object(obj)) return wrong(rd, ptr, "must be an object");
    struct routing_provider *p = routing_add(rd->r, name);
    if (!p) return wrong(rd, ptr, "is one provider too many");
    enum err e = check_names(rd, obj, ptr, p->local ? of_local : of_remote);
    if (!e && !p->local) {
        p->configured = true;
        e = read_remote(rd, obj, ptr, p);
        if (!e) e = get_bool(rd, obj, "chain", ptr, &p->configured);
        if (!e) e = get_bool(rd, obj, "trusted", ptr, &p->trusted);
    }
    if (!e) e = read_models(rd, obj, ptr, p);
    if (!e && p->trusted && !p->local && !(p->remote.base_url && *p->remote.base_url))
        e = wrong(rd, ptr, "is trusted like this machine, so it must say its base_url");
    return e;
}

/* ---- routes -------------------------------------------------------------------------------- */

/* "name" or "name/model". */
static enum err read_step(struct reader *rd, const char *text, const char *ptr,
                          struct routing_step *out)
{
    char name[ROUTING_NAME_MAX];
    size_t n = strcspn(text, "/");
    if (n >= sizeof name) return wrong(rd, ptr, "names a provider that is not there");
    memcpy(name, text, n);
    name[n] = '\0';
    const struct routing_provider *p = routing_provider(rd->r, name);
    if (!p)
        return err_set_param(rd->error, ERR_CONFIG, ptr,
                             "%.300s: %s/chain names a provider \"%.64s\", which is not there "
                             "(openai, anthropic and cohere need their API key)",
                             rd->path, ptr, name);
    *out = (struct routing_step){.provider = (size_t)(p - rd->r->providers)};
    if (text[n]) out->model = routing_text(rd->r, text + n + 1);
    return OK;
}

static enum err read_chain(struct reader *rd, const json_t *obj, const char *ptr,
                           struct routing_route *route)
{
    const char *const *steps = NULL;
    size_t n = 0;
    enum err e = get_texts(rd, obj, "chain", ptr, &steps, &n);
    if (e || !steps) return e;
    if (n == 0 || n > ROUTING_CHAIN_MAX) return wrong(rd, ptr, "has a chain of none or too many");
    route->n = 0;
    for (size_t i = 0; !e && i < n; i++)
        e = read_step(rd, steps[i], ptr, &route->chain[route->n++]);
    return e;
}

static enum err read_route(struct reader *rd, const char *name, const json_t *obj)
{
    static const char *const known[] = {"chain",      "goal",     "local_only",
                                        "substitute", "max_wait", NULL};
    char ptr[POINTER_MAX];
    const char *goal = NULL;
    str_printf(ptr, sizeof ptr, "/routes/%.64s", name);
    if (!*name || strlen(name) >= ROUTING_NAME_MAX) return wrong(rd, ptr, "has no usable name");
    if (!json_is_object(obj)) return wrong(rd, ptr, "must be an object");
    struct routing_route *route = (struct routing_route *)routing_route(rd->r, name);
    if (!route) {
        if (rd->r->n_routes == ROUTING_ROUTES_MAX) return wrong(rd, ptr, "is one route too many");
        route = &rd->r->routes[rd->r->n_routes++];
        *route = (struct routing_route){.name = routing_text(rd->r, name), .substitute = true};
    }
    enum err e = check_names(rd, obj, ptr, known);
    if (!e) e = read_chain(rd, obj, ptr, route);
    if (!e) e = get_text(rd, obj, "goal", ptr, &goal);
    if (!e && goal && !goal_of_word(goal, &route->goal))
        e = wrong(rd, ptr, "has a goal that is none of balanced, privacy, cost, speed, quality");
    if (!e) e = get_bool(rd, obj, "local_only", ptr, &route->local_only);
    if (!e) e = get_bool(rd, obj, "substitute", ptr, &route->substitute);
    if (!e) e = get_ms(rd, obj, "max_wait", ptr, &route->max_wait_ms);
    if (!e && !route->n && !str_eq(name, "default")) e = wrong(rd, ptr, "has no chain");
    return e;
}

/* ---- complexity ---------------------------------------------------------------------------- */

static enum err read_complexity(struct reader *rd, const json_t *obj)
{
    static const char *const known[] = {"low", "high", "weights", "classify", "classify_timeout",
                                        NULL};
    static const char *const features[] = {
#define X(id, word, weight) word,
        FEATURES(X)
#undef X
            NULL};
    const json_t *weights = NULL;
    enum err e = check_names(rd, obj, "/complexity", known);
    if (!e) e = bad(rd, json_get_double(obj, "low", "/complexity", 0, 1, &rd->r->low, rd->error));
    if (!e) e = bad(rd, json_get_double(obj, "high", "/complexity", 0, 1, &rd->r->high, rd->error));
    if (!e) e = get_bool(rd, obj, "classify", "/complexity", &rd->r->classify);
    if (!e) e = get_ms(rd, obj, "classify_timeout", "/complexity", &rd->r->classify_ms);
    if (!e && (rd->r->classify_ms < CLASSIFY_MS_MIN || rd->r->classify_ms > CLASSIFY_MS_MAX))
        e = wrong(rd, "/complexity/classify_timeout", "must be from 10 ms to 60 s");
    if (!e) e = bad(rd, json_get_object(obj, "weights", "/complexity", &weights, rd->error));
    if (!e && weights) e = check_names(rd, weights, "/complexity/weights", features);
    for (int f = 0; !e && weights && f < FEATURE_COUNT; f++)
        e = bad(rd, json_get_double(weights, features[f], "/complexity/weights", 0, 10,
                                    &rd->r->weights[f], rd->error));
    return e;
}

/* ---- the file ------------------------------------------------------------------------------ */

static enum err read_each(struct reader *rd, const json_t *root, const char *name,
                          enum err (*one)(struct reader *rd, const char *name, const json_t *obj))
{
    const json_t *all = NULL;
    const char *key;
    json_t *value;
    enum err e = bad(rd, json_get_object(root, name, "", &all, rd->error));
    if (e || !all) return e;
    json_object_foreach ((json_t *)all, key, value) {
        e = one(rd, key, value);
        if (e) return e;
    }
    return OK;
}

enum err routing_read_text(struct routing *r, const char *path, const char *text, size_t len,
                           bool is_private, struct error *error)
{
    static const char *const known[] = {"providers", "routes", "complexity", NULL};
    struct error own = {.code = OK}, *why = error ? error : &own;
    struct reader rd = {r, path, is_private, why};
    const json_t *complexity = NULL;
    json_t *root;
    enum err e = bad(&rd, json_parse(text, len, &root, why));
    if (e) return e;
    if (!json_is_object(root)) e = wrong(&rd, "", "must hold an object");
    if (!e) e = check_names(&rd, root, "", known);
    if (!e) e = read_each(&rd, root, "providers", read_provider);
    if (!e) e = read_each(&rd, root, "routes", read_route);
    if (!e) e = bad(&rd, json_get_object(root, "complexity", "", &complexity, why));
    if (!e && complexity) e = read_complexity(&rd, complexity);
    json_decref(root);
    return e;
}

enum err routing_read_file(struct routing *r, const char *path, bool must_exist,
                           struct error *error)
{
    struct buf text;
    if (!*path || (!must_exist && !fs_exists(path))) return OK;
    buf_init(&text, FILE_MAX);
    enum err e = fs_read_file(path, FILE_MAX, &text, error);
    if (e) {
        if (error) error->code = ERR_CONFIG;
        err_prefix(error, "HEARTH_PROVIDERS");
        e = ERR_CONFIG;
    } else {
        e = routing_read_text(r, path, buf_str(&text), text.len, only_owner_reads(path), error);
    }
    buf_free(&text);
    return e;
}
