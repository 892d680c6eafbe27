/* Accounts: users, API keys, refresh tokens, invitations, the audit log. The store keeps hashes;
 * who makes and checks them is src/auth's business. Hashes of keys and tokens are looked up as they
 * are, so they must be of random secrets (SHA-256), never of passwords. */
#ifndef HEARTH_STORE_STORE_USER_H
#define HEARTH_STORE_STORE_USER_H

#include "base/arena.h"
#include "store/store.h"

enum { STORE_ID_MAX = 64, STORE_USERNAME_MAX = 64 };

struct store_user {
    const char *id, *username, *email /* may be NULL */, *password_hash, *settings;
    bool admin, disabled;
    bool local_only; /* nothing of this user leaves the machine */
    int64_t token_version, created_ms, last_login_ms;
};

struct store_user_new {
    const char *id;       /* a new UUID */
    const char *username; /* unique without regard to ASCII case */
    const char *email;    /* NULL = none */
    const char *password_hash;
    bool admin;
    const char *invitation; /* the hash of one that is used up by this; NULL = none */
};

/* ERR_CONFLICT: the name is taken, and the invitation is still good; ERR_NOT_FOUND: the invitation
 * is unknown, used, or over. */
HT_MUST_CHECK enum err store_user_create(struct store *s, const struct store_user_new *u,
                                         struct error *error);
HT_MUST_CHECK enum err store_user_by_id(struct store *s, const char *id, struct arena *a,
                                        struct store_user *out, struct error *error);
HT_MUST_CHECK enum err store_user_by_name(struct store *s, const char *username, struct arena *a,
                                          struct store_user *out, struct error *error);
/* In the order of their names. */
HT_MUST_CHECK enum err store_user_list(struct store *s, struct arena *a, struct store_user **out,
                                       size_t *n, struct error *error);
HT_MUST_CHECK enum err store_user_count(struct store *s, int64_t *n, struct error *error);
/* Also voids all tokens given out before. */
HT_MUST_CHECK enum err store_user_set_password(struct store *s, const char *id, const char *hash,
                                               struct error *error);
/* Also voids all tokens when it disables. ERR_CONFLICT: the last admin can't be disabled. */
HT_MUST_CHECK enum err store_user_set_disabled(struct store *s, const char *id, bool disabled,
                                               struct error *error);
/* ERR_CONFLICT: somebody must stay an admin. */
HT_MUST_CHECK enum err store_user_set_role(struct store *s, const char *id, bool admin,
                                           struct error *error);
HT_MUST_CHECK enum err store_user_set_profile(struct store *s, const char *id, const char *email,
                                              const char *settings, struct error *error);
HT_MUST_CHECK enum err store_user_set_local_only(struct store *s, const char *id, bool local_only,
                                                 struct error *error);
HT_MUST_CHECK enum err store_user_void_tokens(struct store *s, const char *id, struct error *error);
HT_MUST_CHECK enum err store_user_logged_in(struct store *s, const char *id, struct error *error);
/* With all that belongs to the user. ERR_CONFLICT: the last admin can't be deleted. */
HT_MUST_CHECK enum err store_user_delete(struct store *s, const char *id, struct error *error);

/* ---- API keys ----------------------------------------------------------------------------- */

struct store_key {
    const char *id, *user_id, *name, *scopes;
    int64_t requests_per_minute; /* 0 = as the user */
    bool local_only;             /* what is asked with it never leaves the machine */
    int64_t created_ms, expires_ms /* 0 = never */, used_ms /* 0 = never */;
};

/* ERR_CONFLICT: the user has a key of that name. */
HT_MUST_CHECK enum err store_key_create(struct store *s, const struct store_key *key,
                                        const char *hash, struct error *error);
/* ERR_NOT_FOUND also when it has expired. Notes the use, at most once a minute. */
HT_MUST_CHECK enum err store_key_by_hash(struct store *s, const char *hash, struct arena *a,
                                         struct store_key *out, struct error *error);
/* The same of a user's own one, by its id; no use of it. */
HT_MUST_CHECK enum err store_key_by_id(struct store *s, const char *user_id, const char *id,
                                       struct arena *a, struct store_key *out, struct error *error);
HT_MUST_CHECK enum err store_key_list(struct store *s, const char *user_id, struct arena *a,
                                      struct store_key **out, size_t *n, struct error *error);
HT_MUST_CHECK enum err store_key_delete(struct store *s, const char *user_id, const char *id,
                                        struct error *error);

/* ---- refresh tokens, invitations ----------------------------------------------------------- */

HT_MUST_CHECK enum err store_refresh_add(struct store *s, const char *user_id, const char *hash,
                                         int64_t expires_ms, struct error *error);
/* Takes it: a refresh token works once. ERR_NOT_FOUND: unknown, used, or expired. */
HT_MUST_CHECK enum err store_refresh_take(struct store *s, const char *hash,
                                          char user_id[STORE_ID_MAX], struct error *error);
HT_MUST_CHECK enum err store_refresh_clear(struct store *s, const char *user_id,
                                           struct error *error);
HT_MUST_CHECK enum err store_invitation_add(struct store *s, const char *hash, const char *by,
                                            int64_t expires_ms, struct error *error);
/* store_user_create takes it. */

/* ---- audit -------------------------------------------------------------------------------- */

struct store_audit {
    const char *event, *user_id, *address, *details; /* details: JSON; the others may be NULL */
    int64_t at_ms;
};

HT_MUST_CHECK enum err store_audit_add(struct store *s, const struct store_audit *entry,
                                       struct error *error);
/* The newest first; before_ms: only older ones (INT64_MAX = all). */
HT_MUST_CHECK enum err store_audit_list(struct store *s, int64_t before_ms, int32_t limit,
                                        struct arena *a, struct store_audit **out, size_t *n,
                                        struct error *error);

#endif
