/* Tokens by OAuth: a hub behind a Keycloak server, both scripted. */
#include "remote/token.h"
#include "unit/remote/remote_world.h"

#define ANSWER                                                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"              \
    "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},"          \
    "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

/* Gives out tok-1, tok-2, ...; the hub takes those whose number is at least `oldest`. */
struct sso {
    struct script *keycloak;
    atomic_int given, oldest, slow_ms;
    int life_s;
    const char *refusal; /* the whole answer, instead of a token */
    bool endless;        /* a megabyte, instead of one */
    pthread_mutex_t lock;
    char form[4096], path[256], asked[4096];
};

static bool keycloak(struct script *s, struct script_request *req)
{
    struct sso *o = s->ctx;
    char body[256];
    pthread_mutex_lock(&o->lock);
    str_copy(o->form, sizeof o->form, req->body);
    str_copy(o->path, sizeof o->path, req->path);
    pthread_mutex_unlock(&o->lock);
    int n = atomic_fetch_add(&o->given, 1) + 1;
    if (o->slow_ms) usleep((useconds_t)o->slow_ms * 1000);
    if (o->endless) {
        script_printf(req, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        for (int i = 0; i < 1024 && script_printf(req, "%1024d", i); i++)
            ;
        return false;
    }
    if (o->refusal) {
        script_printf(req, "%s", o->refusal);
        return false;
    }
    snprintf(
        body, sizeof body,
        "{\"access_token\":\"tok-%d-very-secret\",\"expires_in\":%d,\"token_type\":\"Bearer\"}", n,
        o->life_s);
    script_printf(
        req, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    return true;
}

static bool hub(struct script *s, struct script_request *req)
{
    struct sso *o = s->ctx;
    char value[256];
    int n = 0;
    pthread_mutex_lock(&o->lock);
    str_copy(o->asked, sizeof o->asked, req->body);
    pthread_mutex_unlock(&o->lock);
    script_header(req, "Authorization", value, sizeof value);
    if (sscanf(value, "Bearer tok-%d-very-secret", &n) == 1 && n >= atomic_load(&o->oldest)) {
        script_printf(req, "%s", ANSWER);
        return false;
    }
    snprintf(value, sizeof value,
             "{\"error\":{\"message\":\"token tok-%d-very-secret is no good\"}}", n);
    script_printf(req, "HTTP/1.1 401 Unauthorized\r\nContent-Length: %zu\r\n\r\n%s", strlen(value),
                  value);
    return true;
}

static struct remote_params params_of(const struct sso *o)
{
    return (struct remote_params){.name = "aihub",
                                  .protocol = "aihub",
                                  .retries = 1,
                                  .oauth = {.token_url = o->keycloak->url,
                                            .client_id = "hearth",
                                            .client_secret = "client-secret",
                                            .username = "ann@x",
                                            .password = "p&ss word"}};
}

static void sso_start(struct sso *o)
{
    *o = (struct sso){.life_s = 300, .lock = PTHREAD_MUTEX_INITIALIZER};
    o->keycloak = script_start(keycloak, o);
}

static void both_start(struct sso *o, struct world *w)
{
    sso_start(o);
    world_open(w, hub, o, params_of(o));
}

static void both_stop(struct sso *o, struct world *w)
{
    world_close(w);
    script_stop(o->keycloak);
}

static void a_token_serves_many_requests(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    both_start(&o, &w);
    for (int i = 0; i < 3; i++) {
        tell(&w, &h, "hi");
        if (h.code) fail_msg("%s", h.message);
        assert_string_equal(h.log, "0 text Hello|0 end stop|done");
    }
    assert_int_equal(o.given, 1);
    assert_string_equal(o.path, "/realms/aihub/protocol/openid-connect/token");
    assert_string_equal(o.form, "grant_type=password&client_id=hearth&client_secret=client-secret&"
                                "username=ann%40x&password=p%26ss%20word");
    both_stop(&o, &w);
}

static void without_a_user_the_client_signs_in(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    char realm[128];
    sso_start(&o);
    struct remote_params p = params_of(&o);
    str_printf(realm, sizeof realm, "%s/auth/realms/x/", o.keycloak->url);
    p.oauth.token_url = realm;
    p.oauth.username = p.oauth.password = NULL;
    p.oauth.scope = "openid models";
    world_open(&w, hub, &o, p);
    tell(&w, &h, "hi");
    if (h.code) fail_msg("%s", h.message);
    assert_string_equal(o.path, "/auth/realms/x/protocol/openid-connect/token");
    assert_string_equal(o.form, "grant_type=client_credentials&client_id=hearth&client_secret="
                                "client-secret&scope=openid%20models");
    both_stop(&o, &w);
}

/* The key of a provider that signs in is the secret that it has not. */
static void a_key_is_the_secret_that_is_missing(void **state)
{
    (void)state;
    for (int user = 0; user < 2; user++) {
        struct sso o;
        struct world w;
        struct heard h;
        sso_start(&o);
        struct remote_params p = params_of(&o);
        p.key = "the-key";
        p.oauth.client_secret = p.oauth.password = NULL;
        if (!user) p.oauth.username = NULL;
        world_open(&w, hub, &o, p);
        tell(&w, &h, "hi");
        if (h.code) fail_msg("%s", h.message);
        assert_string_equal(
            o.form, user ? "grant_type=password&client_id=hearth&username=ann%40x&password=the-key"
                         : "grant_type=client_credentials&client_id=hearth&client_secret=the-key");
        both_stop(&o, &w);
    }
}

static void a_hub_has_a_model_of_its_own(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    sso_start(&o);
    struct remote_params p = params_of(&o);
    p.model = "";
    world_open(&w, hub, &o, p);
    tell(&w, &h, "hi");
    if (h.code) fail_msg("%s", h.message);
    assert_null(strstr(o.asked, "\"model\""));
    assert_non_null(strstr(o.asked, "\"messages\""));
    assert_string_equal(h.model, "m"); /* as it says itself */
    world_close(&w);
    p.protocol = "openai"; /* others want to be told */
    world_open(&w, hub, &o, p);
    tell(&w, &h, "hi");
    assert_int_equal(h.code, ERR_NO_MODEL);
    both_stop(&o, &w);
}

static void a_token_is_renewed_before_it_expires(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    both_start(&o, &w);
    o.life_s = 1; /* 0.9 s are used */
    tell(&w, &h, "hi");
    usleep(1000 * 1000);
    tell(&w, &h, "hi");
    assert_int_equal(h.code, OK);
    assert_int_equal(o.given, 2);
    both_stop(&o, &w);
}

static void a_token_that_is_refused_is_fetched_anew_once(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    both_start(&o, &w);
    tell(&w, &h, "hi");
    atomic_store(&o.oldest, 2); /* somebody has taken tok-1 back */
    tell(&w, &h, "hi");
    if (h.code) fail_msg("%s", h.message);
    assert_int_equal(o.given, 2);
    atomic_store(&o.oldest, 1000); /* none is good */
    tell(&w, &h, "hi");
    assert_int_equal(h.code, ERR_UPSTREAM);
    assert_int_equal(o.given, 3);
    assert_null(strstr(h.message, "very-secret"));
    assert_non_null(strstr(h.message, "[key]"));
    both_stop(&o, &w);
}

static void who_comes_together_waits_for_one_token(void **state)
{
    (void)state;
    enum { N = 20 };
    struct sso o;
    struct world w;
    struct heard h[N];
    both_start(&o, &w);
    atomic_store(&o.slow_ms, 100);
    for (int i = 0; i < N; i++) ask(&w, &h[i], chat_request("hi"));
    for (int i = 0; i < N; i++) {
        heard_wait(&h[i]);
        if (h[i].code) fail_msg("%s", h[i].message);
    }
    assert_int_equal(o.given, 1);
    both_stop(&o, &w);
}

static void a_refusal_is_told_and_not_asked_for_again_at_once(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    both_start(&o, &w);
    o.refusal =
        "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid user credentials: "
        "p&ss word, client-secret\"}";
    for (int i = 0; i < 5; i++) {
        tell(&w, &h, "hi");
        assert_int_equal(h.code, ERR_UPSTREAM);
        assert_non_null(strstr(h.message, "signing in failed (HTTP 401"));
        assert_non_null(strstr(h.message, "Invalid user credentials"));
        assert_null(strstr(h.message, "p&ss word"));
        assert_null(strstr(h.message, "client-secret"));
    }
    assert_int_equal(o.given, 1); /* a server that locks users out is not provoked */
    assert_int_equal(w.server->requests, 0);
    both_stop(&o, &w);
}

static void answers_without_a_token_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *says;
        int asked;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>", "no token", 1},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"access_token\":7}", "no token", 1},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"access_token\":\"a\\nb\"}", "no token", 1},
        {"HTTP/1.1 200 OK\r\nConnection: "
         "close\r\n\r\n{\"access_token\":\"a\",\"token_type\":\"mac\"}",
         "type mac", 1},
        {"HTTP/1.1 503 No\r\nConnection: close\r\n\r\n", "HTTP 503", 2},
        {NULL, "more than 256 KiB", 2},
        {"", "signing in", 2}, /* closed without an answer */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sso o;
        struct world w;
        struct heard h;
        both_start(&o, &w);
        o.refusal = cases[i].answer;
        o.endless = !cases[i].answer;
        tell(&w, &h, "hi");
        if (!strstr(h.message, cases[i].says)) fail_msg("%zu: %s", i, h.message);
        bool silent = cases[i].answer && !*cases[i].answer;
        assert_int_equal(h.code, silent ? ERR_NETWORK : ERR_UPSTREAM);
        assert_true(o.given >= cases[i].asked);
        both_stop(&o, &w);
    }
}

/* As with the hub itself: its times are those of the instance, and who can't be reached at all is
 * not tried again. */
static void signing_in_takes_no_longer_than_asking_may(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    struct remote_state st;
    sso_start(&o);
    struct remote_params p = params_of(&o);
    char url[64];
    str_copy(url, sizeof url, o.keycloak->url);
    p.oauth.token_url = url;
    p.first_byte_ms = 200;
    atomic_store(&o.slow_ms, 3000);
    world_open(&w, hub, &o, p);
    tell(&w, &h, "hi");
    assert_int_equal(h.code, ERR_TIMEOUT);
    assert_non_null(strstr(h.message, "sent nothing for 0.2 s"));
    world_close(&w);
    script_stop(o.keycloak); /* nobody listens there now */
    p.retries = 2;
    world_open(&w, hub, &o, p);
    tell(&w, &h, "hi");
    assert_int_equal(h.code, ERR_NETWORK);
    assert_non_null(strstr(h.message, "signing in"));
    remote_state(w.p, &st);
    assert_int_equal(st.attempts, 1);
    assert_int_equal(w.server->requests, 0);
    world_close(&w);
}

static void who_waits_for_a_token_can_be_cancelled(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h, other;
    both_start(&o, &w);
    atomic_store(&o.slow_ms, 3000);
    int64_t begun = clock_mono_ms();
    uint64_t id = ask(&w, &h, chat_request("hi"));
    ask(&w, &other, chat_request("hi"));
    provider_cancel(w.p, id);
    heard_wait(&h);
    assert_int_equal(h.code, ERR_CANCELLED);
    assert_true(clock_mono_ms() - begun < 3000); /* it did not wait for it */
    heard_wait(&other);
    assert_int_equal(other.code, OK);
    assert_int_equal(o.given, 1);
    both_stop(&o, &w);
}

static void closing_does_not_wait_for_a_token(void **state)
{
    (void)state;
    struct sso o;
    struct world w;
    struct heard h;
    both_start(&o, &w);
    atomic_store(&o.slow_ms, 3000);
    ask(&w, &h, chat_request("hi"));
    while (!atomic_load(&o.given)) usleep(1000);
    int64_t begun = clock_mono_ms();
    provider_close(w.p, 0);
    assert_true(clock_mono_ms() - begun < 3000);
    assert_int_equal(h.ends, 1);
    assert_int_equal(h.code, ERR_STOPPING);
    script_stop(w.server);
    timers_free(w.timers);
    httpc_free(w.httpc);
    script_stop(o.keycloak);
}

static void addresses_are_completed(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } cases[] = {
        {"https://sso.example.org",
         "https://sso.example.org/realms/aihub/protocol/openid-connect/token"},
        {"sso.example.org:8443/",
         "https://sso.example.org:8443/realms/aihub/protocol/openid-connect/token"},
        {"https://sso.example.org/auth",
         "https://sso.example.org/auth/realms/aihub/protocol/openid-connect/token"},
        {"http://localhost:8080/realms/my",
         "http://localhost:8080/realms/my/protocol/openid-connect/token"},
        {"https://x/realms/my/protocol/openid-connect/token",
         "https://x/realms/my/protocol/openid-connect/token"},
        {"https://login.example.org/oauth2/token", "https://login.example.org/oauth2/token"},
        {"ftp://x", NULL},
        {"", NULL},
        {"https://a b", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char url[256];
        struct error error;
        enum err e = token_address(cases[i].given, NULL, url, sizeof url, &error);
        assert_int_equal(e, cases[i].want ? OK : ERR_CONFIG);
        if (!e) assert_string_equal(url, cases[i].want);
    }
    char url[256];
    struct error error;
    assert_int_equal(token_address("https://x", "ours", url, sizeof url, &error), OK);
    assert_string_equal(url, "https://x/realms/ours/protocol/openid-connect/token");
}

static void a_client_id_is_needed(void **state)
{
    (void)state;
    struct httpc *httpc;
    struct timers *timers;
    struct provider *p;
    struct error error;
    assert_int_equal(httpc_new(&httpc, NULL), OK);
    assert_int_equal(timers_new(&timers, NULL), OK);
    struct remote_params params = {.name = "aihub",
                                   .protocol = "aihub",
                                   .base_url = "http://127.0.0.1:1",
                                   .oauth = {.token_url = "http://127.0.0.1:1"}};
    assert_int_equal(remote_open(httpc, timers, &params, &p, &error), ERR_CONFIG);
    assert_string_equal(error.param, "oauth");
    timers_free(timers);
    httpc_free(httpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_serves_many_requests),
        cmocka_unit_test(without_a_user_the_client_signs_in),
        cmocka_unit_test(a_key_is_the_secret_that_is_missing),
        cmocka_unit_test(a_hub_has_a_model_of_its_own),
        cmocka_unit_test(a_token_is_renewed_before_it_expires),
        cmocka_unit_test(a_token_that_is_refused_is_fetched_anew_once),
        cmocka_unit_test(who_comes_together_waits_for_one_token),
        cmocka_unit_test(a_refusal_is_told_and_not_asked_for_again_at_once),
        cmocka_unit_test(answers_without_a_token_are_errors),
        cmocka_unit_test(signing_in_takes_no_longer_than_asking_may),
        cmocka_unit_test(who_waits_for_a_token_can_be_cancelled),
        cmocka_unit_test(closing_does_not_wait_for_a_token),
        cmocka_unit_test(addresses_are_completed),
        cmocka_unit_test(a_client_id_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
