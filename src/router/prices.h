/* Prices: what models cost, from a table that is built in and a file that replaces rows of it
 * (docs/routing.md). In millionths of a US dollar. Constant once loaded; any thread. */
#ifndef HEARTH_ROUTER_PRICES_H
#define HEARTH_ROUTER_PRICES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "types/gen.h"

struct prices;

/* Dollars for a million tokens, as price lists have it. */
struct price {
    double input, cached_input, output;
};

/* path "" = the built-in table alone. ERR_CONFIG: the file can't be read or understood. */
HT_MUST_CHECK enum err prices_load(const char *path, struct prices **out, struct error *error);
void prices_free(struct prices *p); /* NULL is fine */
/* The row of a model at a provider: that of its longest beginning ("gpt-4o" for
 * "gpt-4o-2024-08-06"), a row of this provider before one of any. False: it has no price. */
bool prices_of(const struct prices *p, const char *provider, const char *model, struct price *out);
/* What a use costs. */
int64_t price_micros(const struct price *price, const struct usage *usage);

#endif
