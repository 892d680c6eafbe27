/* The hub's database; see accounts.h. */
#include "hub/accounts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/loopback.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_conversation.h"

enum { FLUSH_MS = 2000 };

struct accounts {
    const struct config *config;
    pthread_mutex_t lock; /* of opening; both are set for good once they are there */
    struct store *store;
    struct auth *auth;
    _Atomic(struct quota *) quota; /* asked by listeners, which take no lock for it */
    struct timers *timers;
    struct pool *pool;
    pthread_mutex_t flush_lock; /* of what follows; a leaf but for the timers' */
    struct timer flush;
    bool stopped;
};

/* ---- who must log in ----------------------------------------------------------------------- */

/* The server takes addresses and "localhost" alone, so nothing else can mean this machine. */
static bool is_loopback(const char *host)
{
    return loopback_name(host, strlen(host));
}

bool accounts_asked_for(const struct config *config)
{
    const char *word = config_str(config, CONFIG_AUTH);
    if (str_ieq(word, "auto")) return !is_loopback(config_str(config, CONFIG_HOST));
    return str_ieq(word, "on");
}

enum err accounts_may_listen(const struct config *config, struct error *error)
{
    const char *host = config_str(config, CONFIG_HOST);
    if (is_loopback(host) || accounts_asked_for(config)) return OK;
    return err_set_param(error, ERR_CONFIG, "HEARTH_AUTH",
                         "HEARTH_AUTH is off, and with HOST=%s anybody who can reach this machine "
                         "could use the hub; leave HEARTH_AUTH out and make accounts with `hearth "
                         "users create`, or listen on 127.0.0.1",
                         host);
}

/* ---- opening ------------------------------------------------------------------------------- */

struct accounts *accounts_new(const struct config *config, struct timers *timers, struct pool *pool)
{
    struct accounts *a = xcalloc(1, sizeof *a);
    a->config = config;
    a->timers = timers;
    a->pool = pool;
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->flush_lock, NULL);
    return a;
}

void accounts_stop(struct accounts *a)
{
    if (!a) return;
    pthread_mutex_lock(&a->flush_lock);
    a->stopped = true;
    pthread_mutex_unlock(&a->flush_lock);
    timer_clear(a->timers, &a->flush);
}

void accounts_free(struct accounts *a)
{
    if (!a) return;
    quota_free(a->quota);
    auth_close(a->auth);
    store_close(a->store);
    pthread_mutex_destroy(&a->flush_lock);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static enum err data_file(const struct config *config, const char *name, char *dst, size_t size,
                          struct error *error)
{
    char dir[FS_PATH_MAX];
    const char *set = config_str(config, CONFIG_DATA_DIR);
    enum err e = OK;
    if (!*set)
        e = fs_user_data_dir(dir, sizeof dir, error);
    else if (!str_copy(dir, sizeof dir, set))
        e = err_set(error, ERR_CONFIG, "HEARTH_DATA is longer than %zu bytes", sizeof dir - 1);
    if (!e) e = fs_mkdirs(dir, 0700, error);
    if (!e) e = fs_join(dst, size, dir, name, error);
    return e;
}

enum err accounts_url(const struct config *config, char *dst, size_t size, struct error *error)
{
    const char *url = config_str(config, CONFIG_DATABASE_URL);
    if (!*url) return data_file(config, "hearth.db", dst, size, error);
    if (str_copy(dst, size, url)) return OK;
    return err_set(error, ERR_CONFIG, "DATABASE_URL is longer than %zu bytes", size - 1);
}

static enum err open_store(struct accounts *a, struct error *error)
{
    char url[FS_PATH_MAX], vec[FS_PATH_MAX];
    int64_t cut = 0;
    enum err e = accounts_url(a->config, url, sizeof url, error);
    if (e) return e;
    e = fs_join(vec, sizeof vec, config_str(a->config, CONFIG_LIB_DIR), "vec0.so", error);
    if (e) return e;
    struct store_params params = {.url = url, .migrate = true, .vec_extension = vec};
    e = store_open(&params, &a->store, error);
    if (!e) e = store_message_recover(a->store, &cut, error);
    if (!e && cut) log_info(store, "%lld answers were cut by the last stop", (long long)cut);
    if (!e) log_info(store, "the database is open (%s)", store_kind(a->store));
    if (e) {
        store_close(a->store);
        a->store = NULL;
    }
    return e;
}

static enum auth_registration registration(const struct config *config)
{
    const char *word = config_str(config, CONFIG_REGISTRATION);
    if (str_ieq(word, "open")) return AUTH_REGISTER_OPEN;
    return str_ieq(word, "invited") ? AUTH_REGISTER_INVITED : AUTH_REGISTER_CLOSED;
}

static enum err open_auth(struct accounts *a, struct error *error)
{
    char key_file[FS_PATH_MAX];
    enum err e = data_file(a->config, "jwt.key", key_file, sizeof key_file, error);
    if (e) return e;
    struct auth_params params = {
        .store = a->store,
        .jwt_secret = config_str(a->config, CONFIG_JWT_SECRET_KEY),
        .key_file = key_file,
        .access_minutes = config_int(a->config, CONFIG_JWT_EXPIRE_MINUTES),
        .registration = registration(a->config),
    };
    return auth_open(&params, &a->auth, error);
}

/* ---- quotas -------------------------------------------------------------------------------- */

static void flush_due(void *accounts);

static void flush_later(struct accounts *a)
{
    pthread_mutex_lock(&a->flush_lock);
    if (!a->stopped) timer_set(a->timers, &a->flush, FLUSH_MS, flush_due, a);
    pthread_mutex_unlock(&a->flush_lock);
}

static void flush(void *accounts)
{
    struct accounts *a = accounts;
    quota_flush(a->quota);
    flush_later(a);
}

/* The timers' thread must not wait for a database. */
static void flush_due(void *accounts)
{
    struct accounts *a = accounts;
    if (pool_submit(a->pool, flush, a)) flush_later(a);
}

static void open_quota(struct accounts *a)
{
    static const enum config_key keys[QUOTA_COUNT] = {
        [QUOTA_REQUESTS_MINUTE] = CONFIG_USER_REQUESTS_MINUTE,
        [QUOTA_REQUESTS_DAY] = CONFIG_USER_REQUESTS_DAY,
        [QUOTA_TOKENS_MINUTE] = CONFIG_USER_TOKENS_MINUTE,
        [QUOTA_TOKENS_DAY] = CONFIG_USER_TOKENS_DAY,
        [QUOTA_STREAMS] = CONFIG_USER_STREAMS,
        [QUOTA_STORAGE] = CONFIG_USER_STORAGE,
        [QUOTA_BUDGET] = CONFIG_USER_BUDGET};
    int64_t defaults[QUOTA_COUNT];
    for (int i = 0; i < QUOTA_COUNT; i++) defaults[i] = config_int(a->config, keys[i]);
    a->quota = quota_new(a->store, defaults);
    flush_later(a);
}

struct quota *accounts_quota(struct accounts *a)
{
    return a->quota;
}

static bool generates(enum record_kind kind)
{
    return kind == RECORD_CHAT || kind == RECORD_COMPLETION;
}

enum err accounts_meter_begin(void *accounts, const char *tenant, enum record_kind kind,
                              struct error *error)
{
    struct quota *q = accounts_quota(accounts);
    if (!q || !*tenant || !generates(kind)) return OK;
    return quota_stream_begin(q, tenant, error);
}

void accounts_meter_end(void *accounts, const char *tenant, enum record_kind kind,
                        const struct usage *usage)
{
    struct quota *q = accounts_quota(accounts);
    if (q && *tenant && generates(kind)) quota_stream_end(q, tenant);
    accounts_add_tokens(accounts, tenant, usage);
}

void accounts_add_tokens(struct accounts *a, const char *tenant, const struct usage *usage)
{
    struct quota *q = accounts_quota(a);
    if (q && *tenant) quota_add_tokens(q, tenant, usage->prompt_tokens, usage->completion_tokens);
}

/* ---- both ---------------------------------------------------------------------------------- */

enum err accounts_open(struct accounts *a, struct store **store, struct auth **auth,
                       struct error *error)
{
    enum err e = OK;
    pthread_mutex_lock(&a->lock);
    if (!a->store) e = open_store(a, error);
    if (!e && !a->auth) e = open_auth(a, error);
    if (!e && !a->quota) open_quota(a);
    *store = a->store;
    *auth = a->auth;
    pthread_mutex_unlock(&a->lock);
    return e;
}

enum err accounts_user(struct accounts *a, const char *user_id, const char *key_id,
                       struct auth_identity *out, struct error *error)
{
    struct store *store;
    struct auth *auth;
    *out = (struct auth_identity){0};
    if (!*user_id) return OK;
    enum err e = accounts_open(a, &store, &auth, error);
    if (e) return e;
    return *key_id ? auth_of_key(auth, user_id, key_id, out, error)
                   : auth_of_user(auth, user_id, out, error);
}
