/* Inside auth: what its files share. */
#ifndef HEARTH_AUTH_AUTH_INT_H
#define HEARTH_AUTH_AUTH_INT_H

#include "auth/auth.h"
#include "auth/throttle.h"

enum { JWT_KEY_BYTES = 64, JWT_KEY_MAX = 512, SECRET_HASH_MAX = 65 };

struct auth {
    struct store *store;
    unsigned char key[JWT_KEY_MAX];
    size_t key_len;
    int64_t access_ms, refresh_ms;
    enum auth_registration registration;
    struct throttle *throttle;
};

/* secret.c: prefix + 40 random characters, and what the store keeps of it. */
void secret_make(const char *prefix, char out[AUTH_SECRET_MAX], char hash[SECRET_HASH_MAX]);
void secret_hash(const char *secret, char hash[SECRET_HASH_MAX]);
HT_MUST_CHECK enum err secret_key_file(const char *path, unsigned char key[JWT_KEY_MAX],
                                       size_t *len, struct error *error);

/* token.c */
HT_MUST_CHECK enum err token_issue(const struct auth *a, const char *user_id, int64_t version,
                                   char out[AUTH_TOKEN_MAX], struct error *error);
/* The signature, the algorithm and the time are right; whether the user may still is the caller's
 * to see. */
HT_MUST_CHECK enum err token_read(const struct auth *a, const char *token,
                                  char user_id[STORE_ID_MAX], int64_t *version,
                                  struct error *error);

#endif
