/* Inside of the configuration: the parts that config*.c share, and the tests and fuzz targets of
 * the .env reader use. */
#ifndef HEARTH_BASE_CONFIG_INT_H
#define HEARTH_BASE_CONFIG_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

/* ---- config_env.c: KEY=value text ---------------------------------------------------------- */

enum { ENV_KEY_MAX = 128, CONFIG_VALUE_MAX = 4096, CONFIG_FILE_MAX = 1024 * 1024 };

struct env_reader {
    const char *file; /* for messages */
    const char *text;
    size_t len, at;
    int line; /* of the pair read last, from 1 */
};

struct env_pair {
    char key[ENV_KEY_MAX]; /* "" when an error came before it was known */
    char value[CONFIG_VALUE_MAX];
};

void env_open(struct env_reader *r, const char *file, const char *text, size_t len);
/* The next pair; *more = false at the end. After an error (ERR_CONFIG, "file:line: ...") the reader
 * stands behind the bad line and may go on. */
HT_MUST_CHECK enum err env_next(struct env_reader *r, struct env_pair *out, bool *more,
                                struct error *error);

/* ---- config_value.c: types ----------------------------------------------------------------- */

enum config_type {
    CONFIG_STRING,
    CONFIG_PATH,
    CONFIG_SECRET,
    CONFIG_INT,
    CONFIG_REAL,
    CONFIG_BOOL,
    CONFIG_BYTES,
    CONFIG_MS,
};

struct config_info {
    const char *name, *def, *unit, *section, *help;
    enum config_type type;
    double min, max;
};

extern const struct config_info config_infos[CONFIG_KEY_COUNT];

struct config_value {
    char *text; /* as given; paths expanded. Owned */
    int64_t i;  /* INT, BYTES, MS */
    double d;   /* REAL */
    bool b;     /* BOOL */
    enum config_source source;
};

/* Reads text as the key's type into *out (text allocated, the source untouched). `where` goes into
 * the message: "in the environment". */
HT_MUST_CHECK enum err config_value_parse(enum config_key key, const char *text, const char *where,
                                          struct config_value *out, struct error *error);
/* What the key accepts, in words: "a whole number from 0 to 65535". */
void config_allowed(enum config_key key, char *dst, size_t size);

/* ---- config.c ------------------------------------------------------------------------------ */

struct config {
    struct config_value values[CONFIG_KEY_COUNT];
};

/* Takes in the text of hearth.env (CONFIG_FROM_FILE) or .env (CONFIG_FROM_DOTENV). */
HT_MUST_CHECK enum err config_apply_text(struct config *c, enum config_source source,
                                         const char *file, const char *text, size_t len,
                                         struct error *error);

#endif
