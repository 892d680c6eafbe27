/* Quotas: how much a user may ask of the hub, and the account of what each has used.
 *
 * Counted here in memory and brought together with the database about once a second for a user who
 * has limits (every few seconds for others), so that several hubs on one database share what a user
 * may, and a hub that is killed forgets at most the last seconds. Windows are the minute and the
 * day of UTC. Tokens are known when they have been spent: a request is let in while there are some
 * left. Streams are counted in this hub alone.
 *
 * quota_charge may wait for the database; the rest does not, except where it says so. Any thread;
 * one lock, never held while the database is asked. */
#ifndef HEARTH_AUTH_QUOTA_H
#define HEARTH_AUTH_QUOTA_H

#include "auth/auth.h"
#include "store/store_usage.h"

struct quota;

/* defaults: QUOTA_NONE or a limit for each; store borrowed. */
struct quota *quota_new(struct store *store, const int64_t defaults[QUOTA_COUNT]);
/* Writes down what is not in the database yet. NULL is fine. */
void quota_free(struct quota *q);

/* A call of this user: counts it when it is one that computes (`counted`), and against the limit of
 * its API key in any case. ERR_QUOTA, with which one and retry_after_s: it may not. */
HT_MUST_CHECK enum err quota_charge(struct quota *q, const struct auth_identity *who, bool counted,
                                    struct error *error);
/* An answer begins to be generated, and ends. ERR_QUOTA: too many at once; then no end follows. */
HT_MUST_CHECK enum err quota_stream_begin(struct quota *q, const char *user_id,
                                          struct error *error);
/* Whether one could begin now: asked before anything is written for it. */
HT_MUST_CHECK enum err quota_stream_check(struct quota *q, const char *user_id,
                                          struct error *error);
void quota_stream_end(struct quota *q, const char *user_id);
void quota_add_tokens(struct quota *q, const char *user_id, int64_t prompt, int64_t completion);
/* What an answer has cost, in millionths of a US dollar. */
void quota_add_cost(struct quota *q, const char *user_id, int64_t micros);
/* Whether there is money left this month, as far as is known; never waits. */
bool quota_may_spend(struct quota *q, const char *user_id);
/* Whether `more` bytes may be added to the `used` ones of a user's files; else ERR_TOO_LARGE. May
 * wait for the database. */
HT_MUST_CHECK enum err quota_storage(struct quota *q, const char *user_id, int64_t used,
                                     int64_t more, struct error *error);

struct quota_state {
    int64_t limits[QUOTA_COUNT]; /* that are in force; QUOTA_NONE = none */
    int64_t
        used[QUOTA_COUNT]; /* of this minute, this day, now; storage is the files' to count: 0 */
};

/* Waits for the database. */
HT_MUST_CHECK enum err quota_state(struct quota *q, const char *user_id, struct quota_state *out,
                                   struct error *error);
/* The user's overrides have changed. */
void quota_forget(struct quota *q, const char *user_id);
/* Writes what is not in the database yet; waits for it. What can't be written stays for the next
 * time. */
void quota_flush(struct quota *q);

#endif
