/* Access tokens: JWT (RFC 7519) signed with HS256, through libjwt. The library checks the signature
 * with whatever algorithm the token names and no times: both are looked at here. */
#include <errno.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth_int.h"
#include "base/clock.h"
#include "base/str.h"

#define ISSUER "hearth"

enum { CLOCKS_DIFFER_S = 60 };

static enum err fill(jwt_t *jwt, const struct auth *a, const char *user_id, int64_t version)
{
    long now = (long)clock_wall_s();
    bool bad = jwt_set_alg(jwt, JWT_ALG_HS256, a->key, (int)a->key_len) ||
               jwt_add_grant(jwt, "iss", ISSUER) || jwt_add_grant(jwt, "sub", user_id) ||
               jwt_add_grant_int(jwt, "ver", (long)version) || jwt_add_grant_int(jwt, "iat", now) ||
               jwt_add_grant_int(jwt, "exp", now + (long)(a->access_ms / 1000));
    return bad ? ERR_INTERNAL : OK;
}

enum err token_issue(const struct auth *a, const char *user_id, int64_t version,
                     char out[AUTH_TOKEN_MAX], struct error *error)
{
    jwt_t *jwt;
    if (jwt_new(&jwt)) return err_set(error, ERR_NOMEM, "no memory for a token");
    enum err e = fill(jwt, a, user_id, version);
    char *text = e ? NULL : jwt_encode_str(jwt);
    jwt_free(jwt);
    if (!text) return err_set(error, ERR_INTERNAL, "the token could not be signed");
    bool fits = str_copy(out, AUTH_TOKEN_MAX, text);
    free(text);
    return fits ? OK : err_set(error, ERR_INTERNAL, "the token is longer than %d", AUTH_TOKEN_MAX);
}

static enum err check_claims(jwt_t *jwt, char user_id[STORE_ID_MAX], int64_t *version,
                             struct error *error)
{
    int64_t now = clock_wall_s();
    const char *issuer = jwt_get_grant(jwt, "iss"), *subject = jwt_get_grant(jwt, "sub");
    errno = 0;
    *version = jwt_get_grant_int(jwt, "ver");
    int64_t issued = jwt_get_grant_int(jwt, "iat"), expires = jwt_get_grant_int(jwt, "exp");
    if (errno || *version < 0 || !str_eq(issuer, ISSUER) || !subject || !*subject ||
        !str_copy(user_id, STORE_ID_MAX, subject))
        return err_set(error, ERR_AUTH, "the token is not one of this hub's");
    if (expires <= now)
        return err_set(error, ERR_AUTH, "the token has expired; log in again or refresh it");
    if (issued > now + CLOCKS_DIFFER_S)
        return err_set(error, ERR_AUTH, "the token is from the future; check the clocks");
    return OK;
}

enum err token_read(const struct auth *a, const char *token, char user_id[STORE_ID_MAX],
                    int64_t *version, struct error *error)
{
    jwt_t *jwt = NULL;
    if (strlen(token) >= AUTH_TOKEN_MAX || jwt_decode(&jwt, token, a->key, (int)a->key_len) != 0 ||
        !jwt)
        return err_set(error, ERR_AUTH, "the token is malformed or not signed by this hub");
    enum err e = jwt_get_alg(jwt) == JWT_ALG_HS256
                     ? check_claims(jwt, user_id, version, error)
                     : err_set(error, ERR_AUTH, "the token is not signed with HS256");
    jwt_free(jwt);
    return e;
}
