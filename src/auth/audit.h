/* The audit log: what happened to accounts, who did it and from where. Kept in the store, for good;
 * `hearth users audit` and GET /api/v1/audit read it. */
#ifndef HEARTH_AUTH_AUDIT_H
#define HEARTH_AUTH_AUDIT_H

#include "store/store_user.h"

/* X(name, meaning) */
#define AUTH_EVENTS(X)                                                                             \
    X(registered, "somebody made an account through the API")                                      \
    X(user_created, "an admin, or the command line, made one")                                     \
    X(login, "a login that worked")                                                                \
    X(login_failed, "a wrong name or password, or a disabled account")                             \
    X(login_throttled, "so many failures that further tries must wait")                            \
    X(refresh_failed, "a refresh token that is unknown, used, or over")                            \
    X(logout, "every login of the user was ended")                                                 \
    X(password_changed, "a new password")                                                          \
    X(key_created, "an API key was made")                                                          \
    X(key_revoked, "an API key was deleted")                                                       \
    X(invitation_created, "an invitation was made")                                                \
    X(role_changed, "a user became an admin, or none")                                             \
    X(quota_changed, "a user's quotas were changed")                                               \
    X(pin_changed, "a user was marked to stay on this machine, or no longer")                      \
    X(user_disabled, "an account was closed")                                                      \
    X(user_enabled, "an account was opened again")                                                 \
    X(user_deleted, "an account was deleted with all that belonged to it")

enum auth_event {
#define X(name, meaning) AUTH_##name,
    AUTH_EVENTS(X)
#undef X
};

/* Where a call comes from, for the throttle and the audit log. */
struct auth_origin {
    const char *address; /* "127.0.0.1", "::1"; NULL = the hub's own command line */
    const char *by;      /* the user who does it, where it is not the one it happens to */
};

/* user_id: whom it happened to; may be NULL. key, value: one more detail, or NULL. origin NULL: the
 * command line. What can't be written is a warning in the log, and keeps nobody out. */
void auth_audit(struct store *store, enum auth_event event, const char *user_id,
                const struct auth_origin *origin, const char *key, const char *value);

#endif
