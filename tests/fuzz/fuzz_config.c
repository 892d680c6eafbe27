/* Fuzz target: hearth.env and .env from their bytes to typed settings. Holds: the reader ends, keys
 * are names, values are UTF-8 without NUL, an error has words, and what was accepted has text. */
#include <stdint.h>
#include <string.h>

#include "base/config_int.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_pairs(const char *text, size_t len)
{
    struct env_reader r;
    struct env_pair p;
    struct error e;
    env_open(&r, "fuzz.env", text, len);
    for (size_t rounds = 0;; rounds++) {
        bool more = false;
        ht_assert(rounds <= len);
        if (env_next(&r, &p, &more, &e)) {
            ht_assert(e.code == ERR_CONFIG && e.msg[0] && e.param[0]);
            continue;
        }
        if (!more) break;
        ht_assert(p.key[0] && utf8_valid(p.value, strlen(p.value)));
        ht_assert(r.line > 0);
    }
    ht_assert(r.at == r.len);
}

static void apply(enum config_source source, const char *text, size_t len)
{
    struct config *c = xcalloc(1, sizeof *c);
    struct error e = {.code = OK};
    enum err err = config_apply_text(c, source, "fuzz.env", text, len, &e);
    ht_assert(err == OK || (err == ERR_CONFIG && e.code == err && e.msg[0]));
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        ht_assert(c->values[i].text || c->values[i].source == CONFIG_FROM_DEFAULT);
    config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    read_pairs(text, size);
    apply(CONFIG_FROM_FILE, text, size);
    apply(CONFIG_FROM_DOTENV, text, size);
    return 0;
}
