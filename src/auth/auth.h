/* Auth: who is calling. Accounts with passwords (Argon2id), tokens (JWT, HS256), API keys; all kept
 * in the store. Any thread may call; a call may wait for the database, and those that see a
 * password for a good part of a second, so never from a thread that must not block.
 *
 *   register, login, refresh --> struct auth_tokens: a short text that apps send as "Bearer ..."
 *   auth_check(bearer)       --> struct auth_identity, or ERR_AUTH
 *
 * An access token is void when it expires, when its user is disabled or deleted, and when the
 * user's token_version has changed since (password change, logout everywhere). Secrets are compared
 * in constant time or looked up by their SHA-256, never logged, and shown once. */
#ifndef HEARTH_AUTH_AUTH_H
#define HEARTH_AUTH_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/audit.h"
#include "base/err.h"
#include "store/store_user.h"

struct auth;

enum auth_registration { AUTH_REGISTER_OPEN, AUTH_REGISTER_INVITED, AUTH_REGISTER_CLOSED };

struct auth_params {
    struct store *store;    /* borrowed */
    const char *jwt_secret; /* "" = the one in key_file, which is made if it is not there */
    const char *key_file;
    int64_t access_minutes;  /* how long an access token is valid */
    int64_t refresh_minutes; /* and a refresh token; 0 = 30 days, at least access_minutes */
    enum auth_registration registration;
};

HT_MUST_CHECK enum err auth_open(const struct auth_params *params, struct auth **out,
                                 struct error *error);
void auth_close(struct auth *a); /* NULL is fine; no call may be under way */

/* ---- passwords ----------------------------------------------------------------------------- */

enum {
    AUTH_PASSWORD_MIN = 8,
    AUTH_PASSWORD_MAX = 1024,
    AUTH_HASH_MAX = 128,
    AUTH_TOKEN_MAX = 1024,
    AUTH_SECRET_MAX = 64, /* an API key, a refresh token, an invitation, with its '\0' */
    AUTH_SCOPES_MAX = 256,
};

/* ERR_INVALID: too short or too long, with param "/password". About 0.3 s and 64 MiB; at most two
 * at once in a process, the others wait. */
HT_MUST_CHECK enum err auth_hash_password(const char *password, char out[AUTH_HASH_MAX],
                                          struct error *error);
bool auth_password_fits(const char *password, const char *hash);

/* ---- logging in ---------------------------------------------------------------------------- */

struct auth_tokens {
    char access[AUTH_TOKEN_MAX];
    char refresh[AUTH_SECRET_MAX];
    int64_t expires_in_s; /* of the access token */
};

struct auth_registration_form {
    const char *username, *password;
    const char *email;      /* NULL = none */
    const char *invitation; /* NULL = none */
};

/* 2 to STORE_USERNAME_MAX of letters, digits and . _ - @ +; else ERR_INVALID, param "/username". */
HT_MUST_CHECK enum err auth_check_username(const char *name, struct error *error);
/* ERR_FORBIDDEN: registration is closed, or the invitation is missing, used or over; ERR_INVALID:
 * a field is wrong (param says which); ERR_CONFLICT: the name is taken. */
HT_MUST_CHECK enum err auth_register(struct auth *a, const struct auth_registration_form *form,
                                     const struct auth_origin *origin, char user_id[STORE_ID_MAX],
                                     struct error *error);
/* ERR_AUTH: wrong name or password, or disabled: the words don't tell which. ERR_BUSY with
 * retry_after_s: too many failures for this account or address. */
HT_MUST_CHECK enum err auth_login(struct auth *a, const char *username, const char *password,
                                  const struct auth_origin *origin, struct auth_tokens *out,
                                  struct error *error);
/* The refresh token works once. ERR_AUTH: unknown, used, over, or its user is disabled. */
HT_MUST_CHECK enum err auth_refresh(struct auth *a, const char *refresh,
                                    const struct auth_origin *origin, struct auth_tokens *out,
                                    struct error *error);
/* Voids every token of the user. */
HT_MUST_CHECK enum err auth_logout(struct auth *a, const char *user_id,
                                   const struct auth_origin *origin, struct error *error);
/* ERR_AUTH: the old one is wrong; ERR_INVALID: the new one is no password. Voids every token. */
HT_MUST_CHECK enum err auth_change_password(struct auth *a, const char *user_id, const char *old,
                                            const char *password, const struct auth_origin *origin,
                                            struct error *error);

/* ---- checking a call ------------------------------------------------------------------------ */

struct auth_identity {
    char user_id[STORE_ID_MAX];
    char username[STORE_USERNAME_MAX + 1];
    bool admin;
    char key_id[STORE_ID_MAX];    /* "" = a token, not an API key */
    char scopes[AUTH_SCOPES_MAX]; /* of the key, words with blanks between; "" = everything */
    int64_t requests_per_minute;  /* of the key; 0 = as the user */
    bool local_only; /* of the user or the key: what is asked must not leave this machine */
};

/* bearer: the value of the Authorization header ("Bearer ..."), or of an API key header. ERR_AUTH:
 * missing, malformed, forged, expired, revoked, another algorithm. */
HT_MUST_CHECK enum err auth_check(struct auth *a, const char *bearer, struct auth_identity *out,
                                  struct error *error);
/* Who a job works for that goes on without a call: the account as it is now. ERR_AUTH: deleted or
 * disabled. */
HT_MUST_CHECK enum err auth_of_user(struct auth *a, const char *user_id, struct auth_identity *out,
                                    struct error *error);
/* The same of one that was asked for with an API key, with what that limits. ERR_AUTH also: the key
 * was revoked or has expired. */
HT_MUST_CHECK enum err auth_of_key(struct auth *a, const char *user_id, const char *key_id,
                                   struct auth_identity *out, struct error *error);
bool auth_may(const struct auth_identity *who, const char *scope);

/* X(word, what it lets a key do) */
#define AUTH_SCOPES(X)                                                                             \
    X(chat, "generate: /v1/chat, /v1/completions, /api/v1/chat")                                   \
    X(embed, "embeddings and reranking")                                                           \
    X(models, "see models and adapters")                                                           \
    X(conversations, "read and change conversations")                                              \
    X(files, "upload, read and search documents")                                                  \
    X(jobs, "see and stop background work")                                                        \
    X(requests, "see and cancel requests, see the queue")                                          \
    X(account, "change the account, see what was used")                                            \
    X(metrics, "read /metrics; an admin's keys only")                                              \
    X(admin, "what admins may; an admin's keys only")

/* ---- API keys, invitations ------------------------------------------------------------------ */

struct auth_key_new {
    const char *user_id, *name;
    const char *scopes;          /* words with blanks between; "" = everything the user may */
    int64_t requests_per_minute; /* 0 = no limit of its own */
    int64_t expires_ms;          /* 0 = never */
    bool local_only;             /* what is asked with it must not leave this machine */
};

/* *secret is shown to the user once and not kept. ERR_INVALID: a scope that does not exist. */
HT_MUST_CHECK enum err auth_key_make(struct store *s, const struct auth_key_new *key,
                                     const struct auth_origin *origin, char id[STORE_ID_MAX],
                                     char secret[AUTH_SECRET_MAX], struct error *error);
HT_MUST_CHECK enum err auth_key_revoke(struct store *s, const char *user_id, const char *id,
                                       const struct auth_origin *origin, struct error *error);
/* origin->by: who invites; NULL = the command line. */
HT_MUST_CHECK enum err auth_invite(struct store *s, int64_t valid_ms,
                                   const struct auth_origin *origin, char secret[AUTH_SECRET_MAX],
                                   struct error *error);

#endif
