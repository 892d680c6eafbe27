/* What a model's name stands for. Clients name models of the folder, built-in ones and catalogue
 * names, never paths; only the configured default may be a path. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/derived.h"
#include "provider/local_int.h"

/* The first chat model that a person put into the folder, else the built-in one. */
static enum err find_default(struct local *l, struct model_info *out, struct error *error)
{
    struct model_info *all;
    size_t n;
    enum err e = models_list(l->models, &all, &n, error);
    if (e) return e;
    const struct model_info *best = NULL;
    for (size_t i = 0; i < n && !best; i++)
        if (!all[i].builtin && !all[i].from[0] && all[i].kind == MODEL_CHAT) best = &all[i];
    if (best) *out = *best;
    free(all);
    return best ? OK : models_resolve(l->models, BUILTIN_CHAT_MODEL, false, out, error);
}

/* Fake models have no file; their path says all there is to know. */
static void fake_info(const char *name, struct model_info *out)
{
    *out = (struct model_info){.kind = MODEL_CHAT, .has_chat_template = true, .has_tools = true};
    if (strstr(name, "kind=raw")) out->kind = MODEL_COMPLETION;
    if (strstr(name, "kind=embed")) out->kind = MODEL_EMBEDDING;
    if (strstr(name, "kind=rerank")) out->kind = MODEL_RERANK;
    str_copy(out->id, sizeof out->id, name);
    str_copy(out->path, sizeof out->path, name);
    str_copy(out->arch, sizeof out->arch, "fake");
}

static const char *default_name(const struct local *l, enum use use)
{
    return use == USE_EMBED    ? l->default_embedding_model
           : use == USE_RERANK ? l->default_rerank_model
                               : l->default_model;
}

static enum err find(struct local *l, const char *name, enum use use, struct model_info *out,
                     struct error *error)
{
    const char *configured = default_name(l, use);
    bool is_default = !*name || str_eq(name, configured);
    if (!*name) name = configured;
    if (l->fake_engine && str_starts(name, "fake:")) {
        fake_info(name, out);
        return OK;
    }
    if (!*name && (use == USE_GENERATE || use == USE_ANY)) return find_default(l, out, error);
    if (!*name) name = use == USE_RERANK ? BUILTIN_RERANK_MODEL : BUILTIN_EMBED_MODEL;
    enum err e = models_resolve(l->models, name, is_default, out, error);
    /* The default may lie outside the folder; its id is a name, too. */
    if (e != ERR_NO_MODEL || is_default || !*configured ||
        models_resolve(l->models, configured, true, out, NULL) || !str_eq(out->id, name))
        return e;
    return OK;
}

/* For any use: the defaults of all kinds are looked at. */
static enum err find_any(struct local *l, const char *name, struct model_info *out,
                         struct error *error)
{
    static const enum use others[] = {USE_EMBED, USE_RERANK};
    enum err e = find(l, name, USE_ANY, out, error);
    for (size_t i = 0; e == ERR_NO_MODEL && i < 2; i++)
        if (find(l, name, others[i], out, NULL) == OK) return OK;
    return e;
}

#define EMBEDDINGS " (embeddings)"

void local_embeddings_id(char *dst, size_t size, const char *id)
{
    str_printf(dst, size, "%s" EMBEDDINGS, id);
}

bool local_embeddings_of(const char *load_id, char *dst, size_t size)
{
    bool are = str_ends(load_id, EMBEDDINGS);
    str_copy(dst, size, load_id);
    size_t len = strlen(dst);
    if (are && str_ends(dst, EMBEDDINGS)) dst[len - strlen(EMBEDDINGS)] = '\0';
    return are;
}

void names_load_id(char *dst, size_t size, const char *id, enum use use, bool generates)
{
    if (use == USE_EMBED && generates)
        local_embeddings_id(dst, size, id);
    else
        str_copy(dst, size, id);
}

static bool suits(const struct sched_model *m, enum use use)
{
    struct engine_model_facts facts;
    engine_model_facts(sched_engine_model(m), &facts);
    switch (use) {
    case USE_GENERATE: return !sched_model_embeds(m);
    case USE_EMBED: return sched_model_embeds(m) && !facts.is_rerank;
    case USE_RERANK: return facts.is_rerank;
    case USE_ANY: return true;
    }
    ht_bug("unknown use");
}

static bool is_derived(struct local *l, const char *name)
{
    struct derived *d = models_derived(l->models, name);
    derived_unref(d);
    return d;
}

struct sched_model *names_find(struct local *l, const char *load_id, const struct model_info *info)
{
    struct sched_model *m = sched_find(l->sched, load_id);
    if (!m || !is_derived(l, info->id) || sched_model_is_of(m, info->path)) return m;
    sched_model_unref(m);
    return NULL;
}

struct sched_model *names_loaded(struct local *l, const char *name, enum use use)
{
    char id[MODEL_ID_MAX];
    if (!*name || is_derived(l, name)) return NULL;
    struct sched_model *m = sched_find(l->sched, name);
    if (m && suits(m, use)) return m;
    if (m) sched_model_unref(m);
    if (use != USE_EMBED || strlen(name) >= sizeof id) return NULL;
    names_load_id(id, sizeof id, name, use, true);
    return sched_find(l->sched, id);
}

struct sched_model *names_any_chat(struct local *l)
{
    enum { MODELS_MAX = 256 };
    struct sched_model_status *st = try_calloc(MODELS_MAX, sizeof *st);
    const struct sched_model_status *best = NULL;
    size_t n = st ? sched_models(l->sched, st, MODELS_MAX) : 0;
    for (size_t i = 0; i < n && i < MODELS_MAX; i++)
        if (st[i].state == MODEL_READY && st[i].kind == MODEL_CHAT &&
            (!best || st[i].idle_ms < best->idle_ms))
            best = &st[i];
    struct sched_model *m = best ? names_loaded(l, best->id, USE_GENERATE) : NULL;
    free(st);
    return m;
}

static const char *kind_words(enum model_kind kind)
{
    switch (kind) {
    case MODEL_EMBEDDING: return "an embedding model";
    case MODEL_RERANK: return "a rerank model";
    case MODEL_CHAT: return "a chat model";
    case MODEL_COMPLETION: return "a completion model";
    }
    ht_bug("unknown kind of model");
}

static enum err check_use(const struct model_info *m, bool named, enum use use, struct error *error)
{
    bool generates = m->kind == MODEL_CHAT || m->kind == MODEL_COMPLETION;
    switch (use) {
    case USE_GENERATE:
        if (generates) return OK;
        return err_set_param(error, ERR_UNSUPPORTED, "/model",
                             "%s is %s and can't generate text; name a chat model, such as %s",
                             m->id, kind_words(m->kind), BUILTIN_CHAT_MODEL);
    case USE_EMBED: /* a generating model only if it was meant */
        if (m->kind == MODEL_EMBEDDING || (generates && named)) return OK;
        return err_set_param(error, ERR_UNSUPPORTED, "/model",
                             "%s is %s and gives no embeddings; name an embedding model, such as "
                             "%s",
                             m->id, kind_words(m->kind), BUILTIN_EMBED_MODEL);
    case USE_RERANK:
        if (m->kind == MODEL_RERANK) return OK;
        return err_set_param(error, ERR_UNSUPPORTED, "/model",
                             "%s is %s and can't rank documents; name a rerank model, such as %s",
                             m->id, kind_words(m->kind), BUILTIN_RERANK_MODEL);
    case USE_ANY: return OK;
    }
    ht_bug("unknown use");
}

/* A derived model is in memory as the one whose weights it has. */
static enum err to_base(struct local *l, struct model_info *m, struct error *error)
{
    char id[MODEL_ID_MAX];
    if (!m->from[0]) return OK;
    str_copy(id, sizeof id, m->from);
    return models_resolve(l->models, id, false, m, error);
}

enum err names_resolve(struct local *l, const char *name, enum use use, struct model_info *out,
                       struct error *error)
{
    enum err e = use == USE_ANY ? find_any(l, name, out, error) : find(l, name, use, out, error);
    if (!e) e = to_base(l, out, error);
    if (!e) return check_use(out, *name || *default_name(l, use), use, error);
    if (!error) return e;
    err_hide_folder(error, default_name(l, use));
    if (!*error->param) str_copy(error->param, sizeof error->param, "/model");
    return e;
}

enum err local_resolve(struct provider *p, const char *name, bool embedding, struct model_info *out,
                       struct error *error)
{
    struct local *l = container_of(p, struct local, base);
    return names_resolve(l, name, embedding ? USE_EMBED : USE_GENERATE, out, error);
}

bool local_means(struct provider *p, const char *name, const char *id)
{
    struct model_info info;
    struct local *l = container_of(p, struct local, base);
    return names_resolve(l, name, USE_ANY, &info, NULL) == OK && str_eq(info.id, id);
}

enum err local_resolve_kind(struct models *models, const char *default_model, const char *name,
                            enum model_kind kind, struct model_info *out, struct error *error)
{
    char none[] = "";
    char *configured = xstrdup(default_model);
    struct local l = {.models = models,
                      .default_model = kind == MODEL_CHAT ? configured : none,
                      .default_embedding_model = kind == MODEL_EMBEDDING ? configured : none,
                      .default_rerank_model = kind == MODEL_RERANK ? configured : none};
    enum use use = kind == MODEL_EMBEDDING ? USE_EMBED
                   : kind == MODEL_RERANK  ? USE_RERANK
                                           : USE_GENERATE;
    enum err e = names_resolve(&l, name, use, out, error);
    free(configured);
    return e;
}

struct derived *local_derived(struct models *models, const char *default_model, const char *name)
{
    struct derived *d = NULL;
    if (!*name) name = default_model;
    if (*name) return models_derived(models, name);
    if (!models_has_derived(models)) return NULL;
    struct model_info *info = xcalloc(1, sizeof *info);
    if (local_resolve_name(models, "", "", info, NULL) == OK) d = models_derived(models, info->id);
    free(info);
    return d;
}

enum err local_resolve_name(struct models *models, const char *default_model, const char *name,
                            struct model_info *out, struct error *error)
{
    return local_resolve_kind(models, default_model, name, MODEL_CHAT, out, error);
}
