/* The hub's database and who may use it, opened at the first request that needs them: a hub that
 * nobody logs in to keeps no file, and a database that is away when the hub starts is found when it
 * is back. Any thread; the first call waits for the database. */
#ifndef HEARTH_HUB_ACCOUNTS_H
#define HEARTH_HUB_ACCOUNTS_H

#include "auth/auth.h"
#include "auth/quota.h"
#include "base/config.h"
#include "base/thread.h"
#include "base/timer.h"
#include "provider/recorder.h"
#include "store/store.h"

struct accounts;

/* All borrowed; opens nothing. */
struct accounts *accounts_new(const struct config *config, struct timers *timers,
                              struct pool *pool);
/* Before the pool goes: nothing is put on it any more. NULL is fine. */
void accounts_stop(struct accounts *a);
void accounts_free(struct accounts *a); /* NULL is fine */
/* Both live as long as `a`. ERR_DATABASE: can't be reached now; the next call tries again. */
HT_MUST_CHECK enum err accounts_open(struct accounts *a, struct store **store, struct auth **auth,
                                     struct error *error);
/* auth_of_user, or auth_of_key where key_id is not ""; the user "" is nobody, where nobody is
 * asked: all zero. */
HT_MUST_CHECK enum err accounts_user(struct accounts *a, const char *user_id, const char *key_id,
                                     struct auth_identity *out, struct error *error);
/* The accounts of what users use; once they are open. */
struct quota *accounts_quota(struct accounts *a);
/* What the recorder asks and tells; ctx is the accounts. A tenant that is "" is nobody's. */
enum err accounts_meter_begin(void *accounts, const char *tenant, enum record_kind kind,
                              struct error *error);
void accounts_meter_end(void *accounts, const char *tenant, enum record_kind kind,
                        const struct usage *usage);
/* Tokens that the tenant's requests have cost beside those that the recorder tells. */
void accounts_add_tokens(struct accounts *a, const char *tenant, const struct usage *usage);
/* Whether every call needs a user: HEARTH_AUTH, and where the hub listens. */
bool accounts_asked_for(const struct config *config);
/* ERR_CONFIG: authentication is off, and others than this machine could reach the hub. */
HT_MUST_CHECK enum err accounts_may_listen(const struct config *config, struct error *error);
/* Where the database is: DATABASE_URL, else a file in the data folder, which is made. */
HT_MUST_CHECK enum err accounts_url(const struct config *config, char *dst, size_t size,
                                    struct error *error);

#endif
