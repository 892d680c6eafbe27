/* The JSON document stays in memory; the strings of the models point into it. */
#include "models/catalog.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { NAME_MAX_PLAIN = 128 };

struct catalog {
    json_t *doc;
    struct catalog_model *models;
    size_t n_models;
};

/* ---- names ------------------------------------------------------------------------------- */

/* Lower case without separators; what doesn't fit is cut, which only makes it match nothing. */
static size_t plain(char dst[NAME_MAX_PLAIN], const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < NAME_MAX_PLAIN; i++)
        if (!strchr("-_: ", s[i])) dst[n++] = (char)tolower((unsigned char)s[i]);
    dst[n] = '\0';
    return n;
}

int name_distance(const char *a, const char *b)
{
    char x[NAME_MAX_PLAIN], y[NAME_MAX_PLAIN];
    plain(x, a, strlen(a));
    plain(y, b, strlen(b));
    return (int)str_distance(x, y);
}

/* ---- loading ----------------------------------------------------------------------------- */

static enum err load_files(const json_t *files, const char *ptr, const char *def,
                           struct catalog_model *m, struct error *error)
{
    struct catalog_file *list = xcalloc(json_object_size(files) + 1, sizeof(*list));
    const char *quant;
    json_t *value;
    m->files = list;
    json_object_foreach ((json_t *)files, quant, value) {
        struct catalog_file f = {.quant = quant};
        char at[192];
        str_printf(at, sizeof(at), "%s/files/%s", ptr, quant);
        if (!json_is_object(value))
            return err_set_param(error, ERR_CONFIG, at, "%s must be an object", at);
        enum err e = json_get_string(value, "file", at, &f.file, error);
        if (e == OK) e = json_get_int(value, "bytes", at, 0, INT64_MAX, &f.bytes, error);
        if (e) return e;
        if (!f.file) return err_set_param(error, ERR_CONFIG, at, "%s has no \"file\"", at);
        size_t place = m->n_files++;
        if (str_eq(quant, def)) { /* the default comes first */
            list[place] = list[0];
            place = 0;
        }
        list[place] = f;
    }
    if (m->n_files == 0 || !str_eq(list[0].quant, def))
        return err_set_param(error, ERR_CONFIG, ptr, "%s: \"files\" lacks the default %s", ptr,
                             def);
    return OK;
}

static enum err load_aliases(const json_t *aliases, const char *ptr, struct catalog_model *m,
                             struct error *error)
{
    if (!aliases) return OK;
    const char **list = xcalloc(json_array_size(aliases) + 1, sizeof(*list));
    m->aliases = list;
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        list[i] = json_string_value(json_array_get(aliases, i));
        if (!list[i])
            return err_set_param(error, ERR_CONFIG, ptr, "%s: an alias is not a string", ptr);
    }
    m->n_aliases = json_array_size(aliases);
    return OK;
}

static bool kind_parse(const char *s, enum model_kind *out)
{
    static const char *const names[] = {[MODEL_CHAT] = "chat",
                                        [MODEL_COMPLETION] = "completion",
                                        [MODEL_EMBEDDING] = "embedding",
                                        [MODEL_RERANK] = "rerank"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!str_eq(s, names[i])) continue;
        *out = (enum model_kind)i;
        return true;
    }
    return false;
}

static enum err load_model(const json_t *o, const char *ptr, struct catalog_model *m,
                           struct error *error)
{
    const char *kind = "chat", *def = "Q4_K_M";
    const json_t *aliases = NULL, *files = NULL;
    int64_t context = 0;
    if (!json_is_object(o))
        return err_set_param(error, ERR_CONFIG, ptr, "%s must be an object", ptr);
    m->params = m->license = "";
    const struct {
        const char *key;
        const char **to;
    } strings[] = {{"name", &m->name}, {"kind", &kind},          {"params", &m->params},
                   {"repo", &m->repo}, {"license", &m->license}, {"default", &def}};
    enum err e = OK;
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]) && e == OK; i++)
        e = json_get_string(o, strings[i].key, ptr, strings[i].to, error);
    if (e == OK) e = json_get_int(o, "context", ptr, 0, INT32_MAX, &context, error);
    if (e == OK) e = json_get_array(o, "aliases", ptr, &aliases, error);
    if (e == OK) e = json_get_object(o, "files", ptr, &files, error);
    if (e) return e;
    if (!m->name || !m->repo || !files)
        return err_set_param(error, ERR_CONFIG, ptr, "%s needs name, repo and files", ptr);
    if (!kind_parse(kind, &m->kind))
        return err_set_param(error, ERR_CONFIG, ptr,
                             "%s: kind is \"%.40s\"; allowed are chat, completion, embedding and "
                             "rerank",
                             ptr, kind);
    m->context = (int32_t)context;
    e = load_aliases(aliases, ptr, m, error);
    return e ? e : load_files(files, ptr, def, m, error);
}

static enum err load_doc(struct catalog *c, struct error *error)
{
    const json_t *models = NULL;
    if (!json_is_object(c->doc)) return err_set(error, ERR_CONFIG, "it is not a JSON object");
    enum err e = json_get_array(c->doc, "models", "", &models, error);
    if (e) return e;
    size_t n = json_array_size(models);
    if (n > CATALOG_MODELS_MAX)
        return err_set(error, ERR_CONFIG, "it lists more than %d models", CATALOG_MODELS_MAX);
    c->models = xcalloc(n + 1, sizeof(*c->models));
    for (size_t i = 0; i < n && e == OK; i++) {
        char ptr[32];
        str_printf(ptr, sizeof(ptr), "/models/%zu", i);
        c->n_models++;
        e = load_model(json_array_get(models, i), ptr, &c->models[i], error);
    }
    return e;
}

enum err catalog_load(const char *path, struct catalog **out, struct error *error)
{
    struct buf text;
    buf_init(&text, CATALOG_FILE_MAX);
    struct catalog *c = xcalloc(1, sizeof(*c));
    enum err e = fs_read_file(path, CATALOG_FILE_MAX, &text, error);
    if (e == OK) e = json_parse(buf_str(&text), text.len, &c->doc, error);
    if (e == OK) e = load_doc(c, error);
    buf_free(&text);
    if (e) {
        catalog_free(c);
        err_prefix(error, "the catalogue %s", path);
        return e;
    }
    *out = c;
    return OK;
}

void catalog_free(struct catalog *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_models; i++) {
        free((void *)c->models[i].aliases);
        free((void *)c->models[i].files);
    }
    free(c->models);
    json_decref(c->doc);
    free(c);
}

const struct catalog_model *catalog_models(const struct catalog *c, size_t *n)
{
    *n = c->n_models;
    return c->models;
}

/* ---- finding ----------------------------------------------------------------------------- */

struct match {
    const struct catalog_model *model;
    const struct catalog_file *file; /* NULL: the name alone matched, which wins */
};

/* `wanted` against one name of a model, alone or with a quantisation behind it. */
static void try_name(const struct catalog_model *m, const char *name, const char *wanted,
                     struct match *best)
{
    char own[NAME_MAX_PLAIN], quant[NAME_MAX_PLAIN];
    size_t len = plain(own, name, strlen(name));
    if (strncmp(wanted, own, len) != 0) return;
    if (wanted[len] == '\0') *best = (struct match){m, NULL};
    if (best->model) return;
    for (size_t i = 0; i < m->n_files; i++) {
        plain(quant, m->files[i].quant, strlen(m->files[i].quant));
        if (str_eq(wanted + len, quant)) *best = (struct match){m, &m->files[i]};
    }
}

static struct match find(const struct catalog *c, const char *name, size_t len)
{
    char wanted[NAME_MAX_PLAIN];
    struct match best = {0};
    if (len >= NAME_MAX_PLAIN) return best;
    plain(wanted, name, len);
    for (size_t i = 0; i < c->n_models; i++) {
        const struct catalog_model *m = &c->models[i];
        try_name(m, m->name, wanted, &best);
        for (size_t k = 0; k < m->n_aliases; k++) try_name(m, m->aliases[k], wanted, &best);
    }
    return best;
}

static enum err no_such_quant(const struct catalog_model *m, const char *quant, struct error *error)
{
    struct buf list;
    buf_init(&list, 300);
    for (size_t i = 0; i < m->n_files; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", m->files[i].quant);
    enum err e = err_set(error, ERR_INVALID, "%s has no quantisation %.40s; there are: %s", m->name,
                         quant, buf_str(&list));
    buf_free(&list);
    return e;
}

enum err catalog_find(const struct catalog *c, const char *name, const struct catalog_model **model,
                      const struct catalog_file **file, struct error *error)
{
    size_t len = strlen(name);
    if (str_ends(name, ":latest")) len -= strlen(":latest");
    struct match m = find(c, name, len);
    if (m.model) {
        *model = m.model;
        *file = m.file;
        return OK;
    }
    const char *colon = memrchr(name, ':', len);
    if (colon) {
        m = find(c, name, (size_t)(colon - name));
        if (m.model) return no_such_quant(m.model, colon + 1, error);
    }
    return err_set(error, ERR_NO_MODEL, "the catalogue has no model \"%.100s\"", name);
}

/* How far `name` is from a known one, or from its family ("llama3.2" of "llama3.2:3b"). */
static int distance_from(const char *name, const char *known)
{
    char family[NAME_MAX_PLAIN];
    size_t len = strcspn(known, ":");
    snprintf(family, sizeof(family), "%.*s", (int)(len < sizeof(family) ? len : 0), known);
    int whole = name_distance(name, known), part = name_distance(name, family);
    return part < whole ? part : whole;
}

void catalog_suggest(const struct catalog *c, const char *name, size_t max, struct buf *out)
{
    char wanted[NAME_MAX_PLAIN], own[NAME_MAX_PLAIN];
    size_t len = plain(wanted, name, strlen(name)), found = 0;
    /* a name begun or with a typing error; nearest first */
    int most = len < 6 ? 2 : (int)len / 3;
    for (int distance = 0; distance <= most && len > 0; distance++) {
        for (size_t i = 0; i < c->n_models && found < max; i++) {
            const char *known = c->models[i].name;
            plain(own, known, strlen(known));
            bool begun = len >= 3 && strncmp(own, wanted, len) == 0;
            int d = begun ? 0 : distance_from(name, known);
            if (d != distance) continue;
            buf_printf(out, "%s%s", found++ ? ", " : "", known);
        }
    }
}
