/* Random secrets, what the store keeps of them, and the key that signs tokens. */
#include <sodium.h>
#include <string.h>

#include "auth/auth_int.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

void secret_hash(const char *secret, char hash[SECRET_HASH_MAX])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)secret, strlen(secret));
    sodium_bin2hex(hash, SECRET_HASH_MAX, digest, sizeof digest);
}

void secret_make(const char *prefix, char out[AUTH_SECRET_MAX], char hash[SECRET_HASH_MAX])
{
    static const char letters[] = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    enum { RANDOM = 40 };
    char text[RANDOM + 1] = "";
    for (int i = 0; i < RANDOM; i++)
        text[i] = letters[randombytes_uniform((uint32_t)sizeof letters - 1)];
    str_printf(out, AUTH_SECRET_MAX, "%s%s", prefix, text);
    secret_hash(out, hash);
}

enum err secret_key_file(const char *path, unsigned char key[JWT_KEY_MAX], size_t *len,
                         struct error *error)
{
    struct buf text;
    buf_init(&text, JWT_KEY_MAX);
    if (fs_exists(path)) {
        enum err e = fs_read_file(path, JWT_KEY_MAX, &text, error);
        if (!e && text.len < JWT_KEY_BYTES / 2)
            e = err_set(error, ERR_CONFIG,
                        "the key in %s is shorter than %d bytes; delete the file (everybody must "
                        "log in again) or set JWT_SECRET_KEY",
                        path, JWT_KEY_BYTES / 2);
        if (!e) memcpy(key, text.data, *len = text.len);
        buf_free(&text);
        return e;
    }
    buf_free(&text);
    id_random(key, JWT_KEY_BYTES);
    *len = JWT_KEY_BYTES;
    log_info(hub, "made the key that signs tokens: %s", path);
    return fs_write_atomic(path, key, JWT_KEY_BYTES, 0600, error);
}
