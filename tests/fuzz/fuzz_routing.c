/* Fuzz target: providers.json and the file of prices, which a person writes by hand. Holds: a
 * refusal is ERR_CONFIG and has words; what is accepted refers only to what is there, is within its
 * bounds, and can be opened or is refused with words, too; prices are amounts.
 *
 * The lowest bit of the first byte says whether others can read the file. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "router/prices.h"
#include "router/routing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    int fd;
    char path[64]; /* of the file, the same for all inputs */
    struct config *config;
    struct httpc *httpc;
    struct timers *timers;
} world;

static void begin(void)
{
    struct error e;
    world.fd = memfd_create("fuzz", MFD_CLOEXEC);
    ht_assert(world.fd >= 0);
    snprintf(world.path, sizeof world.path, "/proc/self/fd/%d", world.fd);
    const struct config_override settings[] = {{CONFIG_PROVIDERS_FILE, world.path},
                                               {CONFIG_OPENAI_API_KEY, "k"},
                                               {CONFIG_COHERE_API_KEY, "k"},
                                               {CONFIG_AIHUB_URL, "https://aihub.example"}};
    ht_assert(config_from(settings, sizeof settings / sizeof *settings, &world.config, &e) == OK);
    ht_assert(httpc_new(&world.httpc, &e) == OK && timers_new(&world.timers, &e) == OK);
}

/* ---- routing ------------------------------------------------------------------------------- */

static void check_remote(const struct routing_provider *p)
{
    struct provider *opened;
    struct error e = {.code = OK};
    bool known = false;
    for (const char *const *name = remote_protocols(); *name; name++)
        known |= str_eq(*name, p->remote.protocol);
    ht_assert(known && p->remote.retries <= 10 && p->remote.concurrency >= 0);
    ht_assert(p->remote.connect_ms >= 0 && p->remote.connect_ms <= 86400000);
    ht_assert(!p->trusted || (p->remote.base_url && *p->remote.base_url));
    enum err err = remote_open(world.httpc, world.timers, &p->remote, &opened, &e);
    ht_assert(err == OK || (err == ERR_CONFIG && e.code == err && e.msg[0] && e.param[0]));
    if (err) return;
    ht_assert(str_starts(remote_where(opened), "http"));
    provider_close(opened, 0);
}

static void check_provider(const struct routing *r, size_t at)
{
    const struct routing_provider *p = &r->providers[at];
    bool models = false;
    ht_assert(*p->name && strlen(p->name) < ROUTING_NAME_MAX && !strpbrk(p->name, "/ \r\n"));
    ht_assert(p->local == (at == 0) && (!p->local || !p->leaves));
    ht_assert(routing_provider(r, p->name) == p); /* no other one has its name */
    for (int t = 0; t < TIER_COUNT; t++) models |= p->tiers[t] != NULL;
    ht_assert(models && p->n_models <= ROUTING_MODELS_MAX);
    for (size_t i = 0; i < p->n_models; i++) ht_assert(p->models[i]);
    if (!p->local) check_remote(p);
}

static void check_route(const struct routing *r, const struct routing_route *route)
{
    ht_assert(*route->name && route->n > 0 && route->n <= ROUTING_CHAIN_MAX);
    ht_assert(routing_route(r, route->name) == route && route->max_wait_ms >= 0);
    for (size_t i = 0; i < route->n; i++) ht_assert(route->chain[i].provider < r->n_providers);
}

static void check_routing(void)
{
    struct routing *r;
    struct error e = {.code = OK};
    enum err err = routing_load(world.config, &r, &e);
    if (err) {
        ht_assert(err == ERR_CONFIG && e.code == err && e.msg[0]);
        return;
    }
    ht_assert(r->n_providers <= ROUTING_PROVIDERS_MAX && r->n_routes <= ROUTING_ROUTES_MAX);
    ht_assert(r->low >= 0 && r->low <= r->high && r->high <= 1);
    for (int f = 0; f < FEATURE_COUNT; f++) ht_assert(r->weights[f] >= 0 && r->weights[f] <= 10);
    for (size_t i = 0; i < r->n_providers; i++) check_provider(r, i);
    for (size_t i = 0; i < r->n_routes; i++) check_route(r, &r->routes[i]);
    routing_free(r);
}

/* ---- prices -------------------------------------------------------------------------------- */

static void check_prices(void)
{
    static const char *const models[] = {"gpt-4o-2024-08-06", "m", "", "meta-llama/llama-3"};
    const struct usage all = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
    struct prices *prices;
    struct error e = {.code = OK};
    enum err err = prices_load(world.path, &prices, &e);
    if (err) {
        ht_assert(err == ERR_CONFIG && e.code == err && e.msg[0]);
        return;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct price price;
        if (!prices_of(prices, "openai", models[i], &price)) continue;
        ht_assert(isfinite(price.input) && isfinite(price.cached_input) && isfinite(price.output));
        ht_assert(price.input >= 0 && price.cached_input >= 0 && price.output >= 0);
        ht_assert(price_micros(&price, &all) >= 0);
    }
    prices_free(prices);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!world.config) begin();
    if (!size) return 0;
    ht_assert(ftruncate(world.fd, 0) == 0 && fchmod(world.fd, data[0] & 1 ? 0600 : 0644) == 0);
    ht_assert(pwrite(world.fd, data + 1, size - 1, 0) == (ssize_t)(size - 1));
    check_routing();
    check_prices();
    return 0;
}
