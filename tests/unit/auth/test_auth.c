/* Accounts, logins, tokens and keys over a real SQLite file; forged and revoked tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jwt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/admin.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

static char dir[] = "/tmp/hearth-auth-XXXXXX";
static char key_file[64], db_file[64];
static struct store *store;
static struct auth *auth;
static struct error why;
static const struct auth_origin here = {.address = "127.0.0.1"};

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

static void open_with(enum auth_registration registration, const char *secret, int64_t minutes)
{
    struct auth_params params = {.store = store,
                                 .jwt_secret = secret,
                                 .key_file = key_file,
                                 .access_minutes = minutes,
                                 .registration = registration};
    auth_close(auth);
    auth = NULL;
    assert_ok(auth_open(&params, &auth, &why));
}

static int set_up(void **state)
{
    (void)state;
    if (!*key_file && !mkdtemp(dir)) return -1;
    str_printf(key_file, sizeof key_file, "%s/key", dir);
    str_printf(db_file, sizeof db_file, "%s/hearth.db", dir);
    unlink(db_file);
    struct store_params params = {.url = db_file, .migrate = true};
    assert_ok(store_open(&params, &store, &why));
    open_with(AUTH_REGISTER_OPEN, "", 60);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    auth_close(auth);
    store_close(store);
    auth = NULL;
    return 0;
}

static enum err sign_up(const char *name, const char *password, char id[STORE_ID_MAX])
{
    struct auth_registration_form form = {.username = name, .password = password};
    return auth_register(auth, &form, &here, id, &why);
}

static enum err check(const char *token, struct auth_identity *who)
{
    char bearer[AUTH_TOKEN_MAX + 16];
    str_printf(bearer, sizeof bearer, "Bearer %s", token);
    return auth_check(auth, bearer, who, &why);
}

static void test_from_registration_to_logout(void **state)
{
    (void)state;
    char id[STORE_ID_MAX];
    struct auth_tokens first, second;
    struct auth_identity who;
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(auth_login(auth, "ADA", "correct horse", &here, &first, &why));
    assert_int_equal(first.expires_in_s, 3600);
    assert_ok(check(first.access, &who));
    assert_string_equal(who.user_id, id);
    assert_string_equal(who.username, "ada");
    assert_false(who.admin);
    assert_true(auth_may(&who, "anything"));
    assert_ok(auth_refresh(auth, first.refresh, &here, &second, &why));
    assert_int_equal(auth_refresh(auth, first.refresh, &here, &second, &why), ERR_AUTH);
    assert_ok(auth_login(auth, "ada", "correct horse", &here, &second, &why));
    assert_ok(auth_logout(auth, id, &here, &why));
    assert_int_equal(check(first.access, &who), ERR_AUTH);
    assert_non_null(strstr(why.msg, "revoked"));
    assert_int_equal(auth_refresh(auth, second.refresh, &here, &second, &why), ERR_AUTH);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    char id[STORE_ID_MAX];
    struct auth_tokens t;
    assert_int_equal(sign_up("ada", "short", id), ERR_INVALID);
    assert_string_equal(why.param, "/password");
    const char *bad[] = {"", "a", "with space", "semi;colon", "slash/", "new\nline", "ü"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sign_up(bad[i], "correct horse", id), ERR_INVALID);
        assert_string_equal(why.param, "/username");
    }
    assert_ok(sign_up("ada", "correct horse", id));
    assert_int_equal(sign_up("Ada", "correct horse", id), ERR_CONFLICT);
    assert_int_equal(auth_login(auth, "ada", "wrong horse", &here, &t, &why), ERR_AUTH);
    char known[ERROR_MSG_MAX];
    str_copy(known, sizeof known, why.msg);
    assert_int_equal(auth_login(auth, "nobody", "wrong horse", &here, &t, &why), ERR_AUTH);
    assert_string_equal(why.msg, known);
}

static void test_guessing_is_slowed_down(void **state)
{
    (void)state;
    char id[STORE_ID_MAX];
    struct auth_tokens t;
    const struct auth_origin elsewhere = {.address = "10.0.0.1"};
    assert_ok(sign_up("ada", "correct horse", id));
    for (int i = 0; i < 5; i++)
        assert_int_equal(auth_login(auth, "ada", "wrong horse", &here, &t, &why), ERR_AUTH);
    assert_int_equal(auth_login(auth, "ada", "correct horse", &elsewhere, &t, &why), ERR_BUSY);
    assert_true(why.retry_after_s >= 1);
    assert_int_equal(auth_login(auth, "other", "x", &here, &t, &why), ERR_BUSY); /* the address */
    assert_int_equal(auth_login(auth, "other", "x", &elsewhere, &t, &why), ERR_AUTH);
}

static enum err sign_up_admin(const char *name, char id[STORE_ID_MAX])
{
    struct admin_new u = {.username = name, .password = "correct horse", .admin = true};
    return admin_create(store, &u, NULL, id, &why);
}

static enum err make_key(const char *user_id, const char *name, const char *scopes, int64_t rate,
                         int64_t expires_ms, char id[STORE_ID_MAX], char secret[AUTH_SECRET_MAX])
{
    struct auth_key_new key = {.user_id = user_id,
                               .name = name,
                               .scopes = scopes,
                               .requests_per_minute = rate,
                               .expires_ms = expires_ms,
                               .local_only = str_eq(name, "pinned")};
    return auth_key_make(store, &key, &here, id, secret, &why);
}

static void test_invitations(void **state)
{
    (void)state;
    char id[STORE_ID_MAX], secret[AUTH_SECRET_MAX];
    struct auth_registration_form form = {.username = "ada", .password = "correct horse"};
    open_with(AUTH_REGISTER_CLOSED, "", 60);
    assert_int_equal(auth_register(auth, &form, &here, id, &why), ERR_FORBIDDEN);
    open_with(AUTH_REGISTER_INVITED, "", 60);
    assert_int_equal(auth_register(auth, &form, &here, id, &why), ERR_FORBIDDEN);
    form.invitation = "hi_made up";
    assert_int_equal(auth_register(auth, &form, &here, id, &why), ERR_FORBIDDEN);
    assert_ok(auth_invite(store, 60000, &here, secret, &why));
    form.invitation = secret;
    assert_ok(sign_up_admin("taken", id));
    form.username = "taken"; /* does not use it up */
    assert_int_equal(auth_register(auth, &form, &here, id, &why), ERR_CONFLICT);
    form.username = "ada";
    assert_ok(auth_register(auth, &form, &here, id, &why));
    form.username = "bob";
    assert_int_equal(auth_register(auth, &form, &here, id, &why), ERR_FORBIDDEN);
}

static void test_a_new_password(void **state)
{
    (void)state;
    char id[STORE_ID_MAX];
    struct auth_tokens t;
    struct auth_identity who;
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(auth_login(auth, "ada", "correct horse", &here, &t, &why));
    assert_int_equal(auth_change_password(auth, id, "wrong horse", "battery staple", &here, &why),
                     ERR_AUTH);
    assert_int_equal(auth_change_password(auth, id, "correct horse", "x", &here, &why),
                     ERR_INVALID);
    assert_ok(auth_change_password(auth, id, "correct horse", "battery staple", &here, &why));
    assert_int_equal(check(t.access, &who), ERR_AUTH);
    assert_int_equal(auth_refresh(auth, t.refresh, &here, &t, &why), ERR_AUTH);
    assert_int_equal(auth_login(auth, "ada", "correct horse", &here, &t, &why), ERR_AUTH);
    assert_ok(auth_login(auth, "ada", "battery staple", &here, &t, &why));
}

static void test_a_disabled_user(void **state)
{
    (void)state;
    char id[STORE_ID_MAX], key_id[STORE_ID_MAX], secret[AUTH_SECRET_MAX];
    struct auth_tokens t;
    struct auth_identity who;
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(auth_login(auth, "ada", "correct horse", &here, &t, &why));
    assert_ok(make_key(id, "laptop", "", 0, 0, key_id, secret));
    assert_ok(store_user_set_disabled(store, id, true, &why));
    assert_int_equal(check(t.access, &who), ERR_AUTH);
    assert_int_equal(check(secret, &who), ERR_AUTH);
    assert_int_equal(auth_login(auth, "ada", "correct horse", &here, &t, &why), ERR_AUTH);
    assert_int_equal(auth_refresh(auth, t.refresh, &here, &t, &why), ERR_AUTH);
}

static void test_api_keys(void **state)
{
    (void)state;
    char id[STORE_ID_MAX], key_id[STORE_ID_MAX], secret[AUTH_SECRET_MAX];
    struct auth_identity who;
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(make_key(id, "laptop", "chat embed", 30, 0, key_id, secret));
    assert_ok(check(secret, &who));
    assert_string_equal(who.key_id, key_id);
    assert_int_equal(who.requests_per_minute, 30);
    assert_true(auth_may(&who, "chat") && auth_may(&who, "embed"));
    assert_false(auth_may(&who, "cha") || auth_may(&who, "admin") || auth_may(&who, "chat embed"));
    secret[10]++;
    assert_int_equal(check(secret, &who), ERR_AUTH);
    secret[10]--;
    assert_ok(auth_check(auth, secret, &who, &why)); /* without "Bearer" */
    assert_false(who.local_only);
    assert_ok(make_key(id, "old", "", 0, 1, key_id, secret));
    assert_int_equal(check(secret, &who), ERR_AUTH);
    char pinned[AUTH_SECRET_MAX];
    assert_ok(make_key(id, "pinned", "", 0, 0, key_id, pinned));
    assert_ok(check(pinned, &who));
    assert_true(who.local_only);
    assert_ok(make_key(id, "open", "", 0, 0, key_id, secret));
    assert_ok(check(secret, &who));
    assert_false(who.local_only);
    assert_ok(admin_set_local_only(store, id, true, NULL, &why)); /* whatever key is used */
    assert_ok(check(secret, &who));
    assert_true(who.local_only);
}

/* Who a job works for that was asked for with a key: as both are now. */
static void test_jobs_of_a_key(void **state)
{
    (void)state;
    char id[STORE_ID_MAX], other[STORE_ID_MAX], key_id[STORE_ID_MAX], secret[AUTH_SECRET_MAX];
    struct auth_identity who;
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(sign_up("bob", "correct horse", other));
    assert_ok(make_key(id, "pinned", "chat", 30, 0, key_id, secret));
    assert_ok(auth_of_key(auth, id, key_id, &who, &why));
    assert_string_equal(who.user_id, id);
    assert_string_equal(who.key_id, key_id);
    assert_string_equal(who.scopes, "chat");
    assert_int_equal(who.requests_per_minute, 30);
    assert_true(who.local_only);
    assert_int_equal(auth_of_key(auth, other, key_id, &who, &why), ERR_AUTH);
    assert_string_equal(who.user_id, "");
    assert_ok(store_user_set_disabled(store, id, true, &why));
    assert_int_equal(auth_of_key(auth, id, key_id, &who, &why), ERR_AUTH);
    assert_ok(store_user_set_disabled(store, id, false, &why));
    assert_ok(auth_of_key(auth, id, key_id, &who, &why));
    assert_ok(auth_key_revoke(store, id, key_id, &here, &why));
    assert_int_equal(auth_of_key(auth, id, key_id, &who, &why), ERR_AUTH);
    assert_ok(auth_of_user(auth, id, &who, &why));
}

/* A token as libjwt makes it, with `alg` and `key`. */
static void forge(char out[AUTH_TOKEN_MAX], const char *sub, const char *iss, long exp, int alg,
                  const char *key)
{
    jwt_t *jwt;
    assert_int_equal(jwt_new(&jwt), 0);
    if (sub) jwt_add_grant(jwt, "sub", sub);
    if (iss) jwt_add_grant(jwt, "iss", iss);
    jwt_add_grant_int(jwt, "ver", 0);
    jwt_add_grant_int(jwt, "iat", (long)clock_wall_s());
    if (exp) jwt_add_grant_int(jwt, "exp", exp);
    assert_int_equal(
        jwt_set_alg(jwt, (jwt_alg_t)alg, (const unsigned char *)key, key ? (int)strlen(key) : 0),
        0);
    char *text = jwt_encode_str(jwt);
    assert_non_null(text);
    str_copy(out, AUTH_TOKEN_MAX, text);
    free(text);
    jwt_free(jwt);
}

static void test_forged_tokens(void **state)
{
    (void)state;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    char id[STORE_ID_MAX], token[AUTH_TOKEN_MAX];
    struct auth_identity who;
    long later = (long)clock_wall_s() + 600;
    open_with(AUTH_REGISTER_OPEN, key, 60);
    assert_ok(sign_up("ada", "correct horse", id));
    forge(token, id, "hearth", later, JWT_ALG_HS256, key);
    assert_ok(check(token, &who)); /* the forger's tools work */
    forge(token, id, "hearth", later, JWT_ALG_HS256, "another key another key another k");
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, id, "hearth", later, JWT_ALG_NONE, NULL);
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, id, "hearth", later, JWT_ALG_HS512, key);
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, id, "hearth", (long)clock_wall_s() - 1, JWT_ALG_HS256, key);
    assert_int_equal(check(token, &who), ERR_AUTH);
    assert_non_null(strstr(why.msg, "expired"));
    forge(token, id, "hearth", 0, JWT_ALG_HS256, key); /* no expiry is no token */
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, id, "somebody", later, JWT_ALG_HS256, key);
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, "nobody", "hearth", later, JWT_ALG_HS256, key);
    assert_int_equal(check(token, &who), ERR_AUTH);
    forge(token, NULL, "hearth", later, JWT_ALG_HS256, key);
    assert_int_equal(check(token, &who), ERR_AUTH);
}

static void test_garbage_as_a_token(void **state)
{
    (void)state;
    struct auth_identity who;
    const char *garbage[] = {"",
                             "Bearer",
                             "Bearer ",
                             "Bearer x",
                             "Basic YTpi",
                             "Bearer a.b.c",
                             "Bearer eyJhbGciOiJIUzI1NiJ9..",
                             "Bearer hk_",
                             "..",
                             "Bearer {}.{}.{}"};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        assert_int_equal(auth_check(auth, garbage[i], &who, &why), ERR_AUTH);
    assert_int_equal(auth_check(auth, NULL, &who, &why), ERR_AUTH);
    assert_string_equal(why.msg, "Not authenticated");
    char *huge = malloc(1 << 20);
    memset(huge, 'a', 1 << 20);
    huge[(1 << 20) - 1] = '\0';
    assert_int_equal(auth_check(auth, huge, &who, &why), ERR_AUTH);
    free(huge);
}

static void test_the_key_file(void **state)
{
    (void)state;
    char id[STORE_ID_MAX];
    struct auth_tokens t;
    struct auth_identity who;
    struct stat st;
    assert_int_equal(stat(key_file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(sign_up("ada", "correct horse", id));
    assert_ok(auth_login(auth, "ada", "correct horse", &here, &t, &why));
    open_with(AUTH_REGISTER_OPEN, "", 60); /* a restart keeps everybody logged in */
    assert_ok(check(t.access, &who));
    assert_ok(fs_write_atomic(key_file, "short", 5, 0600, &why));
    struct auth_params params = {.store = store, .jwt_secret = "", .key_file = key_file};
    struct auth *other;
    assert_int_equal(auth_open(&params, &other, &why), ERR_CONFIG);
    unlink(key_file);
}

static void *hash_one(void *password)
{
    char hash[AUTH_HASH_MAX];
    struct error error;
    if (auth_hash_password(password, hash, &error)) return NULL;
    return (void *)(intptr_t)auth_password_fits(password, hash);
}

static void test_many_logins_at_once(void **state)
{
    (void)state;
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_one, "correct horse"), 0);
    for (int i = 0; i < 6; i++) {
        void *fits;
        pthread_join(threads[i], &fits);
        assert_non_null(fits);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_from_registration_to_logout),
        T(test_what_is_refused),
        T(test_guessing_is_slowed_down),
        T(test_invitations),
        T(test_a_new_password),
        T(test_a_disabled_user),
        T(test_api_keys),
        T(test_jobs_of_a_key),
        T(test_forged_tokens),
        T(test_garbage_as_a_token),
        T(test_the_key_file),
        T(test_many_logins_at_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[96];
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) fprintf(stderr, "left behind: %s\n", dir);
    return failed;
}
