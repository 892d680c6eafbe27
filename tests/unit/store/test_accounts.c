/* Users, keys, tokens and the audit log, on both databases. */
#include "both.h"
#include <pthread.h>

#include "base/clock.h"

static void test_users(void **state)
{
    (void)state;
    struct store_user u;
    const char *id = both_user("Ada");
    assert_ok(store_user_by_name(store, "aDA", arena, &u, &why));
    assert_string_equal(u.id, id);
    assert_string_equal(u.username, "Ada");
    assert_null(u.email);
    assert_false(u.admin || u.disabled);
    assert_int_equal(u.token_version, 0);
    struct store_user_new again = {.id = "other", .username = "ADA", .password_hash = "x"};
    assert_int_equal(store_user_create(store, &again, &why), ERR_CONFLICT);
    assert_string_equal(why.param, "/username");
    assert_non_null(strstr(why.msg, "ADA"));
    assert_int_equal(store_user_by_id(store, "nobody", arena, &u, &why), ERR_NOT_FOUND);
    assert_int_equal(store_user_by_name(store, "", arena, &u, &why), ERR_NOT_FOUND);
}

static void test_a_new_password_voids_tokens(void **state)
{
    (void)state;
    struct store_user u;
    const char *id = both_user("bea");
    assert_ok(store_user_set_password(store, id, "new hash", &why));
    assert_ok(store_user_by_id(store, id, arena, &u, &why));
    assert_string_equal(u.password_hash, "new hash");
    assert_int_equal(u.token_version, 1);
    assert_int_equal(store_user_set_password(store, "nobody", "x", &why), ERR_NOT_FOUND);
}

static void make_admin(const char *id, const char *name)
{
    struct store_user_new u = {.id = id, .username = name, .password_hash = "x", .admin = true};
    assert_ok(store_user_create(store, &u, &why));
}

static void test_the_last_admin_stays(void **state)
{
    (void)state;
    struct store_user u;
    make_admin("a1", "root");
    assert_int_equal(store_user_set_disabled(store, "a1", true, &why), ERR_CONFLICT);
    assert_int_equal(store_user_delete(store, "a1", &why), ERR_CONFLICT);
    make_admin("a2", "root2");
    assert_ok(store_user_set_disabled(store, "a2", true, &why));
    assert_ok(store_user_by_id(store, "a2", arena, &u, &why));
    assert_true(u.disabled);
    assert_int_equal(u.token_version, 1);
    assert_int_equal(store_user_delete(store, "a1", &why), ERR_CONFLICT); /* a2 can't log in */
    assert_ok(store_user_set_disabled(store, "a2", false, &why));
    assert_ok(store_user_delete(store, "a1", &why));
    const char *plain = both_user("plain");
    assert_ok(store_user_delete(store, plain, &why)); /* no admin: no matter */
}

static void *disable(void *id)
{
    struct error error;
    return (void *)(intptr_t)(store_user_set_disabled(store, id, true, &error) == OK);
}

static void test_two_admins_disable_each_other(void **state)
{
    (void)state;
    make_admin("a", "ann");
    make_admin("b", "ben");
    for (int round = 0; round < 10; round++) {
        pthread_t threads[2];
        void *done[2];
        assert_int_equal(pthread_create(&threads[0], NULL, disable, "a"), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, disable, "b"), 0);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], &done[i]);
        assert_true((intptr_t)done[0] + (intptr_t)done[1] == 1);
        assert_ok(store_user_set_disabled(store, "a", false, &why));
        assert_ok(store_user_set_disabled(store, "b", false, &why));
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct store_key key, *keys;
    size_t n;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_key laptop = {
        .id = "k1", .user_id = ada, .name = "laptop", .scopes = "chat embed"};
    struct store_key old = {
        .id = "k2", .user_id = ada, .name = "old", .scopes = "", .expires_ms = 1};
    assert_ok(store_key_create(store, &laptop, "h1", &why));
    assert_ok(store_key_create(store, &old, "h2", &why));
    assert_int_equal(store_key_create(store, &laptop, "h3", &why), ERR_CONFLICT);
    assert_ok(store_key_by_hash(store, "h1", arena, &key, &why));
    assert_string_equal(key.user_id, ada);
    assert_string_equal(key.scopes, "chat embed");
    assert_int_equal(key.used_ms, 0);
    assert_ok(store_key_by_hash(store, "h1", arena, &key, &why));
    assert_true(key.used_ms > 0);
    assert_int_equal(store_key_by_hash(store, "h2", arena, &key, &why), ERR_NOT_FOUND);
    assert_ok(store_key_by_id(store, ada, "k1", arena, &key, &why));
    assert_string_equal(key.name, "laptop");
    assert_int_equal(store_key_by_id(store, bob, "k1", arena, &key, &why), ERR_NOT_FOUND);
    assert_int_equal(store_key_by_id(store, ada, "k2", arena, &key, &why), ERR_NOT_FOUND);
    assert_ok(store_key_list(store, ada, arena, &keys, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(keys[0].name, "laptop");
    assert_int_equal(store_key_delete(store, bob, "k1", &why), ERR_NOT_FOUND);
    assert_ok(store_key_delete(store, ada, "k1", &why));
    assert_int_equal(store_key_by_hash(store, "h1", arena, &key, &why), ERR_NOT_FOUND);
    assert_int_equal(store_key_by_id(store, ada, "k1", arena, &key, &why), ERR_NOT_FOUND);
    struct store_key nobodys = {.id = "k9", .user_id = "nobody", .name = "x", .scopes = ""};
    assert_int_equal(store_key_create(store, &nobodys, "h9", &why), ERR_NOT_FOUND);
    assert_ok(store_user_delete(store, ada, &why));
    assert_ok(store_key_list(store, ada, arena, &keys, &n, &why));
    assert_int_equal(n, 0);
}

static void test_pins(void **state)
{
    (void)state;
    struct store_user u;
    struct store_key key;
    const char *ada = both_user("ada");
    assert_ok(store_user_by_id(store, ada, arena, &u, &why));
    assert_false(u.local_only);
    assert_ok(store_user_set_local_only(store, ada, true, &why));
    assert_ok(store_user_by_name(store, "ADA", arena, &u, &why));
    assert_true(u.local_only);
    assert_ok(store_user_set_local_only(store, ada, false, &why));
    assert_ok(store_user_by_id(store, ada, arena, &u, &why));
    assert_false(u.local_only);
    assert_int_equal(store_user_set_local_only(store, "nobody", true, &why), ERR_NOT_FOUND);
    struct store_key plain = {.id = "k1", .user_id = ada, .name = "a", .scopes = ""};
    struct store_key pinned = {
        .id = "k2", .user_id = ada, .name = "b", .scopes = "", .local_only = true};
    assert_ok(store_key_create(store, &plain, "h1", &why));
    assert_ok(store_key_create(store, &pinned, "h2", &why));
    assert_ok(store_key_by_hash(store, "h1", arena, &key, &why));
    assert_false(key.local_only);
    assert_ok(store_key_by_hash(store, "h2", arena, &key, &why));
    assert_true(key.local_only);
}

static void *take_token(void *hash)
{
    struct error error;
    char user[STORE_ID_MAX];
    return (void *)(intptr_t)(store_refresh_take(store, hash, user, &error) == OK);
}

static void test_a_refresh_token_works_once(void **state)
{
    (void)state;
    char user[STORE_ID_MAX];
    const char *ada = both_user("ada");
    int64_t later = clock_wall_ms() + 60000;
    for (int round = 0; round < 10; round++) {
        pthread_t threads[4];
        intptr_t sum = 0;
        assert_ok(store_refresh_add(store, ada, "r", later, &why));
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, take_token, "r"), 0);
        for (int i = 0; i < 4; i++) {
            void *done;
            pthread_join(threads[i], &done);
            sum += (intptr_t)done;
        }
        assert_int_equal(sum, 1);
    }
    assert_ok(store_refresh_add(store, ada, "expired", 1, &why));
    assert_int_equal(store_refresh_take(store, "expired", user, &why), ERR_NOT_FOUND);
    assert_ok(store_refresh_add(store, ada, "x", later, &why));
    assert_ok(store_refresh_clear(store, ada, &why));
    assert_int_equal(store_refresh_take(store, "x", user, &why), ERR_NOT_FOUND);
}

static enum err join(const char *id, const char *name, const char *invitation)
{
    struct store_user_new u = {
        .id = id, .username = name, .password_hash = "x", .invitation = invitation};
    return store_user_create(store, &u, &why);
}

static void test_an_invitation_works_once(void **state)
{
    (void)state;
    both_user("taken");
    assert_ok(store_invitation_add(store, "i", NULL, clock_wall_ms() + 60000, &why));
    assert_int_equal(join("u0", "taken", "i"), ERR_CONFLICT); /* does not use it up */
    assert_ok(join("u1", "one", "i"));
    assert_int_equal(join("u2", "two", "i"), ERR_NOT_FOUND);
    assert_ok(store_invitation_add(store, "j", NULL, 1, &why));
    assert_int_equal(join("u2", "two", "j"), ERR_NOT_FOUND);
    assert_int_equal(store_user_by_name(store, "two", arena, &(struct store_user){0}, &why),
                     ERR_NOT_FOUND);
}

static void test_audit(void **state)
{
    (void)state;
    struct store_audit *list, a = {.event = "login_failed", .address = "127.0.0.1", .at_ms = 100};
    size_t n;
    assert_ok(store_audit_add(store, &a, &why));
    a = (struct store_audit){
        .event = "login", .user_id = "u", .details = "{\"a\":1}", .at_ms = 200};
    assert_ok(store_audit_add(store, &a, &why));
    assert_ok(store_audit_list(store, INT64_MAX, 10, arena, &list, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(list[0].event, "login");
    assert_string_equal(list[0].details, "{\"a\":1}");
    assert_null(list[1].user_id);
    assert_string_equal(list[1].details, "{}");
    assert_ok(store_audit_list(store, 200, 10, arena, &list, &n, &why));
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_users),
        BOTH_TEST(test_a_new_password_voids_tokens),
        BOTH_TEST(test_the_last_admin_stays),
        BOTH_TEST(test_two_admins_disable_each_other),
        BOTH_TEST(test_keys),
        BOTH_TEST(test_pins),
        BOTH_TEST(test_a_refresh_token_works_once),
        BOTH_TEST(test_an_invitation_works_once),
        BOTH_TEST(test_audit),
    };
    return both_run("accounts", tests, sizeof tests / sizeof *tests);
}
