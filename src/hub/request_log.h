/* Request log: what the router tells of each request that has ended, on its way to the database;
 * and the accounts of money: what users have spent this month, and whether they may spend more.
 *
 * Rows wait in memory and are written together every FLUSH_MS on the pool; a hub that is killed
 * loses those of the last moments. When the database is away the newest ones are kept until it is
 * back. With them comes what nobody's requests have cost at all hubs of the database; while such
 * requests come it is asked for again when it is older than FLUSH_MS, so that it is never older
 * than two of these and an answer of the database. Any thread; telling never waits. */
#ifndef HEARTH_HUB_REQUEST_LOG_H
#define HEARTH_HUB_REQUEST_LOG_H

#include "base/config.h"
#include "hub/accounts.h"
#include "router/router.h"

struct request_log;

/* All borrowed; opens nothing. */
struct request_log *request_log_new(const struct config *config, struct accounts *accounts,
                                    struct timers *timers, struct pool *pool);
/* From now on requests that stayed on this machine are written, too. */
void request_log_start(struct request_log *l);
/* Before the pool goes: nothing is put on it any more. NULL is fine. */
void request_log_stop(struct request_log *l);
/* Writes what is left; before the accounts go. NULL is fine. */
void request_log_free(struct request_log *l);
/* Writes what there is now; waits for the database. */
void request_log_flush(struct request_log *l);

/* What the router asks and tells; their ctx is the log. */
struct router_hooks request_log_hooks(struct request_log *l);

#endif
