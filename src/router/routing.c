/* Routing from the settings: the providers that they name, and the default chain. See routing.h. */
#include "router/routing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/loopback.h"
#include "base/mem.h"
#include "base/str.h"
#include "router/routing_int.h"

enum { ARENA_MAX = 8 << 20 };

static const char *const tier_names[] = {
#define X(id, word) word,
    TIERS(X)
#undef X
};
static const char *const feature_names[] = {
#define X(id, word, weight) word,
    FEATURES(X)
#undef X
};
static const double feature_weights[] = {
#define X(id, word, weight) weight,
    FEATURES(X)
#undef X
};
static const char *const goal_names[] = {"default",
#define X(id, word) word,
                                         GOALS(X)
#undef X
};

const char *tier_name(enum tier t)
{
    ht_assert((size_t)t < TIER_COUNT);
    return tier_names[t];
}

const char *feature_name(enum feature f)
{
    ht_assert((size_t)f < FEATURE_COUNT);
    return feature_names[f];
}

const char *goal_name(enum goal g)
{
    ht_assert((size_t)g < sizeof goal_names / sizeof *goal_names);
    return goal_names[g];
}

bool goal_of_word(const char *word, enum goal *out)
{
    for (size_t i = 1; i < sizeof goal_names / sizeof *goal_names; i++)
        if (str_ieq(word, goal_names[i])) {
            *out = (enum goal)i;
            return true;
        }
    return false;
}

/* ---- parts --------------------------------------------------------------------------------- */

const char *routing_text(struct routing *r, const char *s)
{
    const char *copy = arena_strdup(r->arena, s ? s : "");
    ht_assert(copy);
    return copy;
}

struct routing_provider *routing_add(struct routing *r, const char *name)
{
    for (size_t i = 0; i < r->n_providers; i++)
        if (str_eq(r->providers[i].name, name)) return &r->providers[i];
    if (r->n_providers == ROUTING_PROVIDERS_MAX) return NULL;
    struct routing_provider *p = &r->providers[r->n_providers++];
    p->name = p->remote.name = routing_text(r, name);
    return p;
}

const struct routing_provider *routing_provider(const struct routing *r, const char *name)
{
    for (size_t i = 0; i < r->n_providers; i++)
        if (str_ieq(r->providers[i].name, name)) return &r->providers[i];
    return NULL;
}

const struct routing_route *routing_route(const struct routing *r, const char *name)
{
    if (!*name) return &r->routes[0];
    for (size_t i = 0; i < r->n_routes; i++)
        if (str_ieq(r->routes[i].name, name)) return &r->routes[i];
    return NULL;
}

/* ---- from the settings --------------------------------------------------------------------- */

static const char *setting(struct routing *r, const struct config *config, enum config_key key)
{
    return routing_text(r, config_str(config, key));
}

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

static void add_local(struct routing *r)
{
    struct routing_provider *p = routing_add(r, "local");
    p->local = p->trusted = p->configured = true;
    p->tiers[TIER_SMALL] = "";
    p->embed_model = "";
}

/* Providers that are here as soon as a setting says so. */
static const struct {
    const char *name;
    enum config_key key;
} from_settings[] = {
    {"openai", CONFIG_OPENAI_API_KEY},
    {"anthropic", CONFIG_ANTHROPIC_API_KEY},
    {"cohere", CONFIG_COHERE_API_KEY},
    {"aihub", CONFIG_AIHUB_URL},
};

enum err routing_no_provider(const struct routing *r, const char *name, enum err code,
                             const char *param, struct error *error)
{
    for (size_t i = 0; i < sizeof from_settings / sizeof *from_settings; i++)
        if (str_eq(name, from_settings[i].name))
            return err_set_param(error, code, param, "%s is not configured: set %s", name,
                                 config_name(from_settings[i].key));
    char names[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < r->n_providers && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                              r->providers[i].name);
    return err_set_param(error, code, param, "there is no provider \"%.64s\" here; there are: %s",
                         name, names);
}

static bool is_set(const struct config *config, enum config_key key)
{
    return config_source_of(config, key) != CONFIG_FROM_DEFAULT;
}

static void add_ollama(struct routing *r, const struct config *config)
{
    struct routing_provider *p = routing_add(r, "ollama");
    p->remote.protocol = "ollama";
    p->remote.base_url = setting(r, config, CONFIG_OLLAMA_URL);
    p->tiers[TIER_SMALL] = or_null(setting(r, config, CONFIG_OLLAMA_CHAT_MODEL));
    p->embed_model = or_null(setting(r, config, CONFIG_OLLAMA_EMBED_MODEL));
    p->configured = is_set(config, CONFIG_OLLAMA_URL) || is_set(config, CONFIG_OLLAMA_CHAT_MODEL) ||
                    !config_bool(config, CONFIG_LOCAL_DIRECT_LOADING) ||
                    str_ieq(config_str(config, CONFIG_DEFAULT_MODEL_SOURCE), "ollama");
}

/* The clouds: there when there is a key. */
static void add_cloud(struct routing *r, const struct config *config, const char *protocol,
                      const enum config_key keys[4])
{
    if (!*config_str(config, keys[0])) return;
    struct routing_provider *p = routing_add(r, protocol);
    p->configured = true;
    p->remote.protocol = routing_text(r, protocol);
    p->remote.key = setting(r, config, keys[0]);
    p->remote.base_url = setting(r, config, keys[1]);
    p->tiers[TIER_LARGE] = or_null(setting(r, config, keys[2]));
    p->tiers[TIER_MIDDLE] = or_null(setting(r, config, keys[3]));
    if (!p->tiers[TIER_MIDDLE]) p->tiers[TIER_MIDDLE] = p->tiers[TIER_LARGE];
}

static void add_aihub(struct routing *r, const struct config *config)
{
    if (!*config_str(config, CONFIG_AIHUB_URL)) return;
    struct routing_provider *p = routing_add(r, "aihub");
    p->configured = true;
    p->remote.protocol = "aihub";
    p->remote.base_url = setting(r, config, CONFIG_AIHUB_URL);
    p->remote.insecure_tls = !config_bool(config, CONFIG_AIHUB_VERIFY_SSL);
    p->remote.oauth = (struct remote_oauth){
        .token_url = setting(r, config, CONFIG_AIHUB_KEYCLOAK_HOST),
        .realm = setting(r, config, CONFIG_AIHUB_KEYCLOAK_REALM),
        .client_id = setting(r, config, CONFIG_AIHUB_CLIENT_ID),
        .client_secret = setting(r, config, CONFIG_AIHUB_CLIENT_SECRET),
        .username = setting(r, config, CONFIG_AIHUB_USERNAME),
        .password = setting(r, config, CONFIG_AIHUB_PASSWORD),
    };
    p->tiers[TIER_MIDDLE] = setting(r, config, CONFIG_AIHUB_MODEL);
}

static void add_clouds(struct routing *r, const struct config *config)
{
    add_cloud(r, config, "openai",
              (const enum config_key[]){CONFIG_OPENAI_API_KEY, CONFIG_OPENAI_BASE_URL,
                                        CONFIG_OPENAI_MODEL, CONFIG_OPENAI_SMALL_MODEL});
    add_cloud(r, config, "anthropic",
              (const enum config_key[]){CONFIG_ANTHROPIC_API_KEY, CONFIG_ANTHROPIC_BASE_URL,
                                        CONFIG_ANTHROPIC_MODEL, CONFIG_ANTHROPIC_SMALL_MODEL});
    add_cloud(r, config, "cohere",
              (const enum config_key[]){CONFIG_COHERE_API_KEY, CONFIG_COHERE_BASE_URL,
                                        CONFIG_COHERE_MODEL, CONFIG_COHERE_SMALL_MODEL});
}

/* ---- the default chain --------------------------------------------------------------------- */

static void chain_add(struct routing *r, struct routing_route *route, const char *name)
{
    const struct routing_provider *p = routing_provider(r, name);
    if (!p || !p->configured || route->n == ROUTING_CHAIN_MAX) return;
    size_t at = (size_t)(p - r->providers);
    for (size_t i = 0; i < route->n; i++)
        if (route->chain[i].provider == at) return;
    route->chain[route->n++] = (struct routing_step){.provider = at};
}

/* This machine first, then the person's own servers, then the clouds. Instances of the file stand
 * before the clouds that the settings name. */
static enum err default_chain(struct routing *r, const struct config *config, struct error *error)
{
    static const char *const clouds[] = {"openai", "anthropic", "cohere"};
    struct routing_route *route = &r->routes[0];
    const char *source = config_str(config, CONFIG_DEFAULT_MODEL_SOURCE);
    const struct routing_provider *first = routing_provider(r, source);
    if (*source && !first) {
        enum err e = routing_no_provider(r, source, ERR_CONFIG, "DEFAULT_MODEL_SOURCE", error);
        err_prefix(error, "DEFAULT_MODEL_SOURCE");
        return e;
    }
    if (route->n) return OK; /* the file says it */
    if (first && !first->local) {
        chain_add(r, route, source);
        route->first = true;
    }
    if (!config_bool(config, CONFIG_LOCAL_DIRECT_LOADING)) {
        chain_add(r, route, "ollama");
        route->first = true;
    }
    chain_add(r, route, "local");
    chain_add(r, route, "ollama");
    for (size_t i = 0; i < r->n_providers; i++) {
        const char *name = r->providers[i].name;
        bool cloud = false;
        for (size_t k = 0; k < sizeof clouds / sizeof *clouds; k++)
            cloud |= str_eq(name, clouds[k]);
        if (!cloud) chain_add(r, route, name);
    }
    for (size_t k = 0; k < sizeof clouds / sizeof *clouds; k++) chain_add(r, route, clouds[k]);
    return OK;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* A base address that is the hub's own would ask itself for ever: people set these variables for
 * the programs that use the hub. */
static void drop_own_address(struct routing *r, const struct config *config)
{
    char port[16];
    str_printf(port, sizeof port, ":%d", (int)config_int(config, CONFIG_PORT));
    for (size_t i = 1; i < r->n_providers; i++) {
        struct routing_provider *p = &r->providers[i];
        const char *url = p->remote.base_url, *at = url ? strstr(url, port) : NULL;
        if (!at || !loopback_url(url) || (at[strlen(port)] && !strchr("/?#", at[strlen(port)])))
            continue;
        log_warn(hub, "the address of provider %s (%s) is this hub's own: it is left out", p->name,
                 url);
        p->configured = false;
    }
}

/* Whether requests to it leave this machine. A proxy would carry them away, so that of the
 * environment is for providers that are elsewhere: an address of this machine, or one that is
 * trusted like it, is asked directly unless the file names a proxy for it. */
static void settle_place(struct routing_provider *p)
{
    bool here = p->remote.base_url && loopback_url(p->remote.base_url);
    if ((here || p->trusted) && !p->remote.proxy) p->remote.proxy = "";
    bool proxied = p->remote.proxy && *p->remote.proxy;
    p->leaves = !p->local && (!here || (proxied && !loopback_url(p->remote.proxy)));
}

static void settle(struct routing *r)
{
    for (size_t i = 0; i < r->n_providers; i++) {
        struct routing_provider *p = &r->providers[i];
        settle_place(p);
        for (int t = TIER_SMALL; t < TIER_COUNT && !p->remote.model; t++)
            p->remote.model = p->tiers[t];
        p->remote.embed_model = p->embed_model;
    }
}

static enum err file_path(const struct config *config, char *dst, size_t size, bool *must_exist,
                          struct error *error)
{
    char dir[FS_PATH_MAX];
    const char *set = config_str(config, CONFIG_PROVIDERS_FILE);
    *dst = '\0';
    *must_exist = *set;
    if (*set) {
        str_copy(dst, size, set);
        return OK;
    }
    if (fs_user_config_dir(dir, sizeof dir, NULL)) return OK; /* without a home there is none */
    return fs_join(dst, size, dir, "providers.json", error);
}

enum err routing_load(const struct config *config, struct routing **out, struct error *error)
{
    char path[FS_PATH_MAX];
    bool must_exist;
    struct routing *r = xcalloc(1, sizeof *r);
    r->arena = arena_new(ARENA_MAX);
    r->low = config_double(config, CONFIG_COMPLEXITY_LOW);
    r->high = config_double(config, CONFIG_COMPLEXITY_HIGH);
    r->classify = config_bool(config, CONFIG_CLASSIFY);
    r->classify_ms = config_int(config, CONFIG_CLASSIFY_TIMEOUT);
    memcpy(r->weights, feature_weights, sizeof r->weights);
    r->routes[0] = (struct routing_route){.name = "default", .substitute = true};
    r->n_routes = 1;
    bool known = goal_of_word(config_str(config, CONFIG_GOAL), &r->goal);
    ht_assert(known); /* the setting allows no other words */
    add_local(r);
    add_ollama(r, config);
    add_aihub(r, config);
    add_clouds(r, config);
    enum err e = file_path(config, path, sizeof path, &must_exist, error);
    if (!e) e = routing_read_file(r, path, must_exist, error);
    if (!e && r->low > r->high)
        e = err_set_param(error, ERR_CONFIG, "HEARTH_COMPLEXITY_LOW",
                          "the lower threshold of complexity (%g) is above the higher one (%g)",
                          r->low, r->high);
    drop_own_address(r, config);
    if (!e) e = default_chain(r, config, error);
    settle(r);
    if (e)
        routing_free(r);
    else
        *out = r;
    return e;
}

void routing_free(struct routing *r)
{
    if (!r) return;
    arena_free(r->arena);
    free(r);
}
