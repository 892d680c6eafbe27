/* Loading the configuration: the sources in their order, then the folders that depend on others.
 *
 * A later source replaces an earlier one whatever the name; within one source the rank of the name
 * decides (CONFIG_ALIASES in config_keys.h). Files are at most CONFIG_FILE_MAX bytes. */
#include "base/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/config_int.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- names --------------------------------------------------------------------------------- */

struct name {
    const char *name;
    enum config_key key;
    bool alias;
};

static const struct name names[] = {
#define X(id, name, type, def, min, max, unit, section, help) {name, CONFIG_##id, false},
    CONFIG_KEYS(X)
#undef X
#define Y(alias, id) {alias, CONFIG_##id, true},
        CONFIG_ALIASES(Y)
#undef Y
};
enum { N_NAMES = sizeof names / sizeof *names };

static const struct name *find_name(const char *name)
{
    for (size_t i = 0; i < N_NAMES; i++)
        if (strcmp(names[i].name, name) == 0) return &names[i];
    return NULL;
}

static int rank_of(const struct name *n)
{
    return str_starts(n->name, "HEARTH_") ? 3 : n->alias ? 1 : 2;
}

bool config_find(const char *name, enum config_key *out)
{
    const struct name *n = find_name(name);
    if (n) *out = n->key;
    return n != NULL;
}

const char *config_name(enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    return config_infos[key].name;
}

static enum err unknown(const struct env_reader *r, const char *key, struct error *error)
{
    const char *nearest = NULL;
    size_t best = strlen(key) / 3 + 2; /* farther ones would be guesses */
    for (size_t i = 0; i < N_NAMES; i++) {
        size_t d = str_distance(key, names[i].name);
        if (d >= best) continue;
        best = d;
        nearest = names[i].name;
    }
    if (nearest)
        return err_set_param(error, ERR_CONFIG, key,
                             "%s:%d: there is no setting '%s'; did you mean '%s'?", r->file,
                             r->line, key, nearest);
    return err_set_param(error, ERR_CONFIG, key,
                         "%s:%d: there is no setting '%s'; `hearth config` lists them all", r->file,
                         r->line, key);
}

/* ---- sources ------------------------------------------------------------------------------- */

static bool empty_means_unset(enum config_key key)
{
    enum config_type type = config_infos[key].type;
    return type != CONFIG_STRING && type != CONFIG_PATH && type != CONFIG_SECRET;
}

static enum err set(struct config *c, enum config_key key, const char *text,
                    enum config_source source, const char *where, struct error *error)
{
    if (!*text && empty_means_unset(key) && source != CONFIG_FROM_FLAG) return OK;
    struct config_value v = {.source = source};
    enum err err = config_value_parse(key, text, where, &v, error);
    if (err) return err;
    free(c->values[key].text);
    c->values[key] = v;
    return OK;
}

static void set_defaults(struct config *c)
{
    for (enum config_key key = 0; key < CONFIG_KEY_COUNT; key++) {
        struct config_value v = {.source = CONFIG_FROM_DEFAULT};
        enum err err = config_value_parse(key, config_infos[key].def, "default", &v, NULL);
        ht_assert(err == OK);
        c->values[key] = v;
    }
}

/* Code is loaded from there: a folder somebody else filled must not decide about that only because
 * hearth was started in it. */
static bool is_unsafe_in_dotenv(enum config_key key)
{
    return key == CONFIG_LIB_DIR;
}

enum err config_apply_text(struct config *c, enum config_source source, const char *file,
                           const char *text, size_t len, struct error *error)
{
    bool ours = source == CONFIG_FROM_FILE; /* .env may be another program's */
    int ranks[CONFIG_KEY_COUNT] = {0};
    struct env_reader r;
    struct env_pair pair;
    env_open(&r, file, text, len);
    for (;;) {
        bool more;
        enum err err = env_next(&r, &pair, &more, error);
        const struct name *n = find_name(pair.key);
        if (err && (ours || n)) return err;
        if (err) continue;
        if (!more) return OK;
        if (!n && ours) return unknown(&r, pair.key, error);
        if (!n || rank_of(n) < ranks[n->key]) continue;
        ranks[n->key] = rank_of(n);
        if (!ours && is_unsafe_in_dotenv(n->key))
            return err_set_param(error, ERR_CONFIG, pair.key,
                                 "%s:%d: %s names a folder that code is loaded from, so it is not "
                                 "read from .env; set it in hearth.env or the environment",
                                 file, r.line, pair.key);
        char where[160];
        str_printf(where, sizeof where, "%.140s:%d", file, r.line);
        err = set(c, n->key, pair.value, source, where, error);
        if (err) return err;
    }
}

static enum err apply_file(struct config *c, enum config_source source, const char *path,
                           struct error *error)
{
    struct stat st;
    if (stat(path, &st) != 0) return OK;
    if (S_ISDIR(st.st_mode) && source == CONFIG_FROM_DOTENV) return OK; /* a Python environment */
    struct buf text;
    buf_init(&text, CONFIG_FILE_MAX);
    enum err err = fs_read_file(path, CONFIG_FILE_MAX, &text, error);
    if (err)
        err = err_set_param(error, ERR_CONFIG, path, "the settings can't be read: %s",
                            error ? error->msg : "");
    else
        err = config_apply_text(c, source, path, buf_str(&text), text.len, error);
    buf_free(&text);
    return err;
}

static enum err apply_environment(struct config *c, struct error *error)
{
    int ranks[CONFIG_KEY_COUNT] = {0};
    for (size_t i = 0; i < N_NAMES; i++) {
        const struct name *n = &names[i];
        const char *text = getenv(n->name);
        if (!text || rank_of(n) < ranks[n->key]) continue;
        ranks[n->key] = rank_of(n);
        char where[ENV_KEY_MAX + 32];
        str_printf(where, sizeof where, "in the environment%s%s", n->alias ? " as " : "",
                   n->alias ? n->name : "");
        enum err err = set(c, n->key, text, CONFIG_FROM_ENV, where, error);
        if (err) return err;
    }
    return OK;
}

static enum err apply_overrides(struct config *c, const struct config_override *overrides, size_t n,
                                struct error *error)
{
    enum err err = OK;
    for (size_t i = 0; i < n && !err; i++)
        err = set(c, overrides[i].key, overrides[i].value, CONFIG_FROM_FLAG, "on the command line",
                  error);
    return err;
}

static enum err apply_sources(struct config *c, const struct config_override *overrides, size_t n,
                              struct error *error)
{
    char dir[FS_PATH_MAX], path[FS_PATH_MAX];
    enum err err = OK;
    /* Without a home there is no hearth.env; what needs one will say so. */
    if (fs_user_config_dir(dir, sizeof dir, NULL) == OK &&
        fs_join(path, sizeof path, dir, "hearth.env", NULL) == OK)
        err = apply_file(c, CONFIG_FROM_FILE, path, error);
    if (!err) err = apply_file(c, CONFIG_FROM_DOTENV, ".env", error);
    if (!err) err = apply_environment(c, error);
    return err ? err : apply_overrides(c, overrides, n, error);
}

/* ---- folders whose default depends on the machine ------------------------------------------ */

static void replace_text(struct config *c, enum config_key key, const char *text)
{
    free(c->values[key].text);
    c->values[key].text = xstrdup(text);
}

/* The first of <folder of the binary>/<candidates> in which `witness` exists. */
static void find_beside_binary(struct config *c, enum config_key key, const char *const *candidates,
                               const char *witness)
{
    char exe[FS_PATH_MAX], dir[FS_PATH_MAX], probe[FS_PATH_MAX], real[PATH_MAX];
    if (*config_str(c, key) || fs_exe_dir(exe, sizeof exe, NULL) != OK) return;
    for (; *candidates; candidates++) {
        if (fs_join(dir, sizeof dir, exe, *candidates, NULL) != OK) continue;
        if (fs_join(probe, sizeof probe, dir, witness, NULL) != OK || !fs_exists(probe)) continue;
        replace_text(c, key, realpath(dir, real) ? real : dir);
        return;
    }
}

static enum err find_folders(struct config *c, struct error *error)
{
    static const char *const builtin[] = {"models", "../models", "../../models",
                                          "../share/hearth/models", NULL};
    static const char *const lib[] = {"lib/hearth", "../lib/hearth", NULL};
    char dir[FS_PATH_MAX];
    if (!*config_str(c, CONFIG_DATA_DIR)) {
        enum err err = fs_user_data_dir(dir, sizeof dir, error);
        if (err)
            return err_set_param(
                error, ERR_CONFIG, "HEARTH_DATA",
                "there is no place for data: set HEARTH_DATA to a folder, or HOME");
        replace_text(c, CONFIG_DATA_DIR, dir);
    }
    static const struct {
        enum config_key key;
        const char *name;
    } in_data[] = {{CONFIG_MODELS_DIR, "models"},
                   {CONFIG_ADAPTERS_DIR, "adapters"},
                   {CONFIG_CACHE_DIR, "cache"},
                   {CONFIG_VECTORDB_PATH, "vectors"}};
    for (size_t i = 0; i < sizeof in_data / sizeof *in_data; i++) {
        if (*config_str(c, in_data[i].key)) continue;
        enum err err =
            fs_join(dir, sizeof dir, config_str(c, CONFIG_DATA_DIR), in_data[i].name, error);
        if (err) return err;
        replace_text(c, in_data[i].key, dir);
    }
    find_beside_binary(c, CONFIG_BUILTIN_DIR, builtin, "hearth-tiny.gguf");
    find_beside_binary(c, CONFIG_LIB_DIR, lib, "");
    return OK;
}

/* ---- the object ---------------------------------------------------------------------------- */

enum err config_load(const struct config_override *overrides, size_t n, struct config **out,
                     struct error *error)
{
    struct config *c = xcalloc(1, sizeof *c);
    set_defaults(c);
    enum err err = apply_sources(c, overrides, n, error);
    if (!err) err = find_folders(c, error);
    if (err)
        config_free(c);
    else
        *out = c;
    return err;
}

enum err config_from(const struct config_override *values, size_t n, struct config **out,
                     struct error *error)
{
    struct config *c = xcalloc(1, sizeof *c);
    set_defaults(c);
    enum err err = apply_overrides(c, values, n, error);
    if (!err) err = find_folders(c, error);
    if (err)
        config_free(c);
    else
        *out = c;
    return err;
}

void config_free(struct config *c)
{
    if (!c) return;
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) free(c->values[i].text);
    free(c);
}

const char *config_str(const struct config *c, enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    return c->values[key].text;
}

int64_t config_int(const struct config *c, enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    enum config_type type = config_infos[key].type;
    ht_assert(type == CONFIG_INT || type == CONFIG_BYTES || type == CONFIG_MS);
    return c->values[key].i;
}

double config_double(const struct config *c, enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT && config_infos[key].type == CONFIG_REAL);
    return c->values[key].d;
}

bool config_bool(const struct config *c, enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT && config_infos[key].type == CONFIG_BOOL);
    return c->values[key].b;
}

enum config_source config_source_of(const struct config *c, enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    return c->values[key].source;
}

bool config_is_secret(enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    return config_infos[key].type == CONFIG_SECRET;
}

bool config_is_path(enum config_key key)
{
    ht_assert((unsigned)key < CONFIG_KEY_COUNT);
    return config_infos[key].type == CONFIG_PATH;
}
