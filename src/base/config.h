/* Configuration: KEY=value, from (later wins) built-in defaults, `hearth.env` in the config folder,
 * `.env` in the working folder, the environment, command-line flags. Immutable after config_load,
 * so every thread may read it. The keys are the table in config_keys.h; `hearth config`,
 * docs/configuration.md and .env.example are generated from it. */
#ifndef HEARTH_BASE_CONFIG_H
#define HEARTH_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/config_keys.h"
#include "base/err.h"

enum config_key {
#define X(id, name, type, def, min, max, unit, section, help) CONFIG_##id,
    CONFIG_KEYS(X)
#undef X
        CONFIG_KEY_COUNT
};

enum config_source {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,   /* hearth.env */
    CONFIG_FROM_DOTENV, /* .env */
    CONFIG_FROM_ENV,    /* environment */
    CONFIG_FROM_FLAG,   /* command line */
};

struct config;

struct config_override {
    enum config_key key;
    const char *value;
};

/* Reads every source. A wrong value anywhere is ERR_CONFIG that names key, value, where it stands
 * and what is allowed; unknown keys in hearth.env are errors with a suggestion, in .env and the
 * environment they belong to somebody else and are ignored. Overrides are the command line's. */
HT_MUST_CHECK enum err config_load(const struct config_override *overrides, size_t n,
                                   struct config **out, struct error *error);
/* From these values alone, without files and environment: for a process that is told what another
 * one has read. */
HT_MUST_CHECK enum err config_from(const struct config_override *values, size_t n,
                                   struct config **out, struct error *error);
void config_free(struct config *c);

/* Never NULL; paths are expanded. */
const char *config_str(const struct config *c, enum config_key key);
int64_t config_int(const struct config *c, enum config_key key); /* ints, bytes, milliseconds */
double config_double(const struct config *c, enum config_key key);
bool config_bool(const struct config *c, enum config_key key);
enum config_source config_source_of(const struct config *c, enum config_key key);

/* One key from text, as the command line does. name may be an alias. */
bool config_find(const char *name, enum config_key *out);
const char *config_name(enum config_key key);
bool config_is_secret(enum config_key key);
bool config_is_path(enum config_key key);

/* Generated views. Secrets are shown as "(set)". */
enum err config_render_effective(const struct config *c, bool json, struct buf *out);
enum err config_render_markdown(struct buf *out);
enum err config_render_dotenv(struct buf *out);

#endif
