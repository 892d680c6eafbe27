/* The whole hub on the fake engine, for the benchmarks of /api/v1: everything but the model is what
 * `hearth serve` runs. Settings come from the environment; DEFAULT_MODEL is a fake one
 * ("fake:ms=20,endless=1"). Before it listens it makes users: the first one logs in and has
 * conversations, each of the others gets an API key.
 *
 *   bench_hub <users> <conversations> [clock file]
 *
 * Prints its port, the first one's token, then the keys; runs until it is killed. The clock file
 * holds the time at which the engine has ended its last batch (monotonic nanoseconds), for clients
 * that want to know how long a token took from there to them. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth/admin.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/hub.h"
#include "server/server.h"
#include "store/store_conversation.h"

static struct error why;
static _Atomic int64_t *batch_ended; /* in the clock file, or NULL */

/* Linked with --wrap=engine_decode: the scheduler calls this one. */
enum err __real_engine_decode(struct engine_ctx *c, const struct engine_batch_token *tokens,
                              int32_t n, struct error *error);
enum err __wrap_engine_decode(struct engine_ctx *c, const struct engine_batch_token *tokens,
                              int32_t n, struct error *error);

enum err __wrap_engine_decode(struct engine_ctx *c, const struct engine_batch_token *tokens,
                              int32_t n, struct error *error)
{
    enum err e = __real_engine_decode(c, tokens, n, error);
    if (batch_ended) atomic_store(batch_ended, clock_mono_ns());
    return e;
}

static void open_clock(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    void *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *batch_ended) == 0)
        at = mmap(NULL, sizeof *batch_ended, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    batch_ended = at;
}

static void must(enum err e, const char *what)
{
    if (!e) return;
    fprintf(stderr, "bench_hub: %s: %s\n", what, why.msg);
    exit(1);
}

static void make_first(struct store *s, struct auth *auth, long conversations)
{
    char id[STORE_ID_MAX], name[STORE_ID_MAX], title[64];
    struct admin_new u = {.username = "ada", .password = "correct horse"};
    struct auth_tokens tokens;
    const struct auth_origin here = {.address = "127.0.0.1"};
    must(admin_create(s, &u, NULL, id, &why), "a user");
    for (long i = 0; i < conversations; i++) {
        struct store_message m = {.role = "user", .content = "What is the capital of France?"};
        char message[STORE_ID_MAX];
        id_uuid4(name);
        id_uuid4(message);
        m.id = message;
        str_printf(title, sizeof title, "What is the capital of country %ld?", i);
        must(store_conversation_create(s, id, name, title, NULL, &why), "a conversation");
        must(store_conversation_append(s, id, name, &m, 1, &why), "a message");
    }
    must(auth_login(auth, "ada", "correct horse", &here, &tokens, &why), "a login");
    printf("%s\n", tokens.access);
}

static void make_other(struct store *s, long i)
{
    char id[STORE_ID_MAX], key_id[STORE_ID_MAX], secret[AUTH_SECRET_MAX], name[32];
    id_uuid4(id);
    str_printf(name, sizeof name, "user-%ld", i);
    struct store_user_new u = {.id = id, .username = name, .password_hash = "none"};
    struct auth_key_new key = {.user_id = id, .name = "bench", .scopes = ""};
    must(store_user_create(s, &u, &why), "a user");
    must(auth_key_make(s, &key, NULL, key_id, secret, &why), "a key");
    printf("%s\n", secret);
}

int main(int argc, char **argv)
{
    struct config *config;
    struct engine *engine;
    struct hub *hub;
    struct store *store;
    struct auth *auth;
    struct server *server;
    long users = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    long conversations = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    if (argc > 3) open_clock(argv[3]);
    must(log_open(LOG_WARN, false, NULL, &why), "log");
    must(config_load(NULL, 0, &config, &why), "settings");
    must(engine_open_fake(&engine, &why), "engine");
    must(hub_open_with_engine(config, engine, &hub, &why), "hub");
    must(accounts_open(hub->accounts, &store, &auth, &why), "database");
    struct server_params params = {
        .host = "127.0.0.1",
        .max_connections = 10000,
        .max_body = 32 << 20,
        .max_headers = 12 * 1024,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 20000,
        .idle_timeout_ms = 75000,
        .ping_ms = 15000,
        .max_queued = 1 << 20,
        .allowed_origins = "",
        .gate = &access_gate,
        .pool = hub->pool,
        .hub = hub,
    };
    must(server_start(&params, &server, &why), "server");
    printf("%d\n", server_port(server));
    make_first(store, auth, conversations);
    for (long i = 1; i < users; i++) make_other(store, i);
    fflush(stdout);
    for (;;) pause();
}
