/* Passwords: Argon2id (RFC 9106) through libsodium, with its "moderate" operations and a memory
 * that a small machine has. At most two at once, so that a flood of logins can't take all memory.
 */
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "auth/auth_int.h"
#include "base/str.h"

enum { OPERATIONS = 3, MEMORY = 64 << 20, AT_ONCE = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static int running;

static void enter(void)
{
    pthread_mutex_lock(&lock);
    while (running == AT_ONCE) pthread_cond_wait(&freed, &lock);
    running++;
    pthread_mutex_unlock(&lock);
}

static void leave(void)
{
    pthread_mutex_lock(&lock);
    running--;
    pthread_cond_signal(&freed);
    pthread_mutex_unlock(&lock);
}

enum err auth_hash_password(const char *password, char out[AUTH_HASH_MAX], struct error *error)
{
    size_t len = strlen(password);
    if (len < AUTH_PASSWORD_MIN)
        return err_set_param(error, ERR_INVALID, "/password",
                             "the password is shorter than %d characters", AUTH_PASSWORD_MIN);
    if (len > AUTH_PASSWORD_MAX)
        return err_set_param(error, ERR_INVALID, "/password",
                             "the password is longer than %d bytes", AUTH_PASSWORD_MAX);
    _Static_assert(AUTH_HASH_MAX >= crypto_pwhash_STRBYTES, "a hash fits");
    enter();
    int rc =
        crypto_pwhash_str_alg(out, password, len, OPERATIONS, MEMORY, crypto_pwhash_ALG_ARGON2ID13);
    leave();
    return rc == 0 ? OK : err_set(error, ERR_NOMEM, "no memory to hash a password");
}

bool auth_password_fits(const char *password, const char *hash)
{
    size_t len = strlen(password);
    if (len > AUTH_PASSWORD_MAX) return false;
    enter();
    int rc = crypto_pwhash_str_verify(hash, password, len);
    leave();
    return rc == 0;
}
