/* What admins do to accounts, through the API or at the hub's own command line: the store's verbs
 * with a line in the audit log. Any thread; each may wait for the database. */
#ifndef HEARTH_AUTH_ADMIN_H
#define HEARTH_AUTH_ADMIN_H

#include "auth/audit.h"
#include "store/store_usage.h"

struct admin_new {
    const char *username, *password;
    const char *email; /* NULL = none */
    bool admin;
};

/* As auth_register, without asking who may. */
HT_MUST_CHECK enum err admin_create(struct store *s, const struct admin_new *u,
                                    const struct auth_origin *origin, char id[STORE_ID_MAX],
                                    struct error *error);
/* Ends every login of the user. ERR_INVALID: too short or too long. */
HT_MUST_CHECK enum err admin_set_password(struct store *s, const char *user_id,
                                          const char *password, const struct auth_origin *origin,
                                          struct error *error);
/* ERR_CONFLICT, as of disabling and deleting: it is the last admin that is left. */
HT_MUST_CHECK enum err admin_set_role(struct store *s, const char *user_id, bool admin,
                                      const struct auth_origin *origin, struct error *error);
HT_MUST_CHECK enum err admin_set_disabled(struct store *s, const char *user_id, bool disabled,
                                          const struct auth_origin *origin, struct error *error);
HT_MUST_CHECK enum err admin_set_local_only(struct store *s, const char *user_id, bool local_only,
                                            const struct auth_origin *origin, struct error *error);
HT_MUST_CHECK enum err admin_delete(struct store *s, const char *user_id,
                                    const struct auth_origin *origin, struct error *error);
HT_MUST_CHECK enum err admin_set_quotas(struct store *s, const char *user_id,
                                        const int64_t limits[QUOTA_COUNT],
                                        const struct auth_origin *origin, struct error *error);

#endif
