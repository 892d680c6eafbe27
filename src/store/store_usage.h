/* What users have used, and what they may: per day for statistics and quotas, per minute for
 * quotas. Several hubs may add to the same rows. */
#ifndef HEARTH_STORE_STORE_USAGE_H
#define HEARTH_STORE_STORE_USAGE_H

#include "base/arena.h"
#include "store/store.h"
#include "store/store_user.h"

/* X(ID, name, help): the name is the column's, the API's and the command line's. */
#define STORE_QUOTAS(X)                                                                            \
    X(REQUESTS_MINUTE, requests_per_minute, "requests in a minute")                                \
    X(REQUESTS_DAY, requests_per_day, "requests in a day (UTC)")                                   \
    X(TOKENS_MINUTE, tokens_per_minute, "tokens, read and generated, in a minute")                 \
    X(TOKENS_DAY, tokens_per_day, "tokens, read and generated, in a day (UTC)")                    \
    X(STREAMS, streams, "answers that are generated at once")                                      \
    X(STORAGE, storage_bytes, "bytes of files")                                                    \
    X(BUDGET, cents_per_month, "US cents for answers that cost money, in a month (UTC)")

enum store_quota {
#define X(id, name, help) QUOTA_##id,
    STORE_QUOTAS(X)
#undef X
        QUOTA_COUNT
};

enum { QUOTA_DEFAULT = -1, QUOTA_NONE = 0 };

const char *store_quota_name(enum store_quota q);
const char *store_quota_help(enum store_quota q);

/* Overrides of one user: QUOTA_DEFAULT, QUOTA_NONE (no limit) or the limit. */
HT_MUST_CHECK enum err store_quota_get(struct store *s, const char *user_id,
                                       int64_t out[QUOTA_COUNT], struct error *error);
/* ERR_NOT_FOUND: no such user. */
HT_MUST_CHECK enum err store_quota_set(struct store *s, const char *user_id,
                                       const int64_t limits[QUOTA_COUNT], struct error *error);

struct store_usage {
    int64_t requests, prompt_tokens, completion_tokens;
};

/* Adds to a user's day and minute, and tells what they have come to with what other hubs added, and
 * the user's overrides. Days and minutes are counted since 1970, UTC. */
struct store_usage_sync {
    const char *user_id;
    int64_t day, minute;
    int64_t month;                          /* its first day */
    struct store_usage add;                 /* of this day */
    int64_t add_cost;                       /* of this day; millionths of a US dollar */
    int64_t add_requests, add_tokens;       /* of this minute */
    struct store_usage today;               /* out */
    int64_t minute_requests, minute_tokens; /* out */
    int64_t month_cost;                     /* out; of the days from `month` on */
    int64_t overrides[QUOTA_COUNT];         /* out */
};

/* ERR_NOT_FOUND: the user is gone. */
HT_MUST_CHECK enum err store_usage_sync(struct store *s, struct store_usage_sync *u,
                                        struct error *error);
/* The same for the calls made with one API key. */
HT_MUST_CHECK enum err store_usage_key(struct store *s, const char *key_id, int64_t minute,
                                       int64_t add, int64_t *requests, struct error *error);

struct store_usage_day {
    int64_t day;
    struct store_usage used;
};

/* Days of a user from `from` on, oldest first; user_id NULL: of all users together. At most
 * STORE_USAGE_DAYS_MAX. */
enum { STORE_USAGE_DAYS_MAX = 400 };
HT_MUST_CHECK enum err store_usage_days(struct store *s, const char *user_id, int64_t from,
                                        struct arena *a, struct store_usage_day **out, size_t *n,
                                        struct error *error);
/* All days together. */
HT_MUST_CHECK enum err store_usage_total(struct store *s, const char *user_id,
                                         struct store_usage *out, struct error *error);

struct store_counts {
    int64_t users, admins, disabled; /* of everybody only */
    int64_t conversations, messages;
    int64_t files, file_bytes, database_bytes; /* of everybody only */
};

/* How much there is of a user; user_id NULL: of everybody. */
HT_MUST_CHECK enum err store_counts(struct store *s, const char *user_id, struct store_counts *out,
                                    struct error *error);

#endif
