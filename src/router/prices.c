/* The table of prices; see prices.h. The built-in rows are the published list prices of November
 * 2025 for text; they change, which is what the file is for. */
#include "router/prices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { FILE_MAX = 1 << 20, ROWS_MAX = 4096, ARENA_MAX = 4 << 20 };
#define PRICE_MAX 1e6

struct row {
    const char *provider; /* "" = any */
    const char *model;    /* the beginning of its name */
    struct price price;
};

static const struct row built_in[] = {
    {"openai", "gpt-4", {30, 30, 60}},
    {"openai", "gpt-4-turbo", {10, 10, 30}},
    {"openai", "gpt-4o", {2.5, 1.25, 10}},
    {"openai", "gpt-4o-mini", {0.15, 0.075, 0.6}},
    {"openai", "gpt-4.1", {2, 0.5, 8}},
    {"openai", "gpt-4.1-mini", {0.4, 0.1, 1.6}},
    {"openai", "gpt-4.1-nano", {0.1, 0.025, 0.4}},
    {"openai", "gpt-5", {1.25, 0.125, 10}},
    {"openai", "gpt-5-mini", {0.25, 0.025, 2}},
    {"openai", "gpt-5-nano", {0.05, 0.005, 0.4}},
    {"openai", "gpt-3.5-turbo", {0.5, 0.5, 1.5}},
    {"openai", "o1", {15, 7.5, 60}},
    {"openai", "o3", {2, 0.5, 8}},
    {"openai", "o3-mini", {1.1, 0.55, 4.4}},
    {"openai", "o4-mini", {1.1, 0.275, 4.4}},
    {"openai", "text-embedding-3-small", {0.02, 0.02, 0}},
    {"openai", "text-embedding-3-large", {0.13, 0.13, 0}},
    {"anthropic", "claude-opus-4", {15, 1.5, 75}},
    {"anthropic", "claude-sonnet-4", {3, 0.3, 15}},
    {"anthropic", "claude-haiku-4", {1, 0.1, 5}},
    {"anthropic", "claude-3-7-sonnet", {3, 0.3, 15}},
    {"anthropic", "claude-3-5-sonnet", {3, 0.3, 15}},
    {"anthropic", "claude-3-5-haiku", {0.8, 0.08, 4}},
    {"anthropic", "claude-3-haiku", {0.25, 0.03, 1.25}},
    {"cohere", "command-a", {2.5, 2.5, 10}},
    {"cohere", "command-r-plus", {2.5, 2.5, 10}},
    {"cohere", "command-r7b", {0.0375, 0.0375, 0.15}},
    {"cohere", "command-r", {0.15, 0.15, 0.6}},
    {"cohere", "embed-", {0.1, 0.1, 0}},
};

struct prices {
    struct arena *arena;
    struct row rows[ROWS_MAX]; /* of the file, which come first */
    size_t n;
};

/* ---- the file ------------------------------------------------------------------------------ */

/* {"input": 2.5, "cached_input": 1.25, "output": 10} */
static enum err read_price(const json_t *obj, const char *name, struct price *out,
                           struct error *error)
{
    *out = (struct price){.cached_input = -1};
    if (!json_is_object(obj))
        return err_set(error, ERR_CONFIG, "\"%.100s\" must be an object with input and output",
                       name);
    enum err e = json_get_double(obj, "input", "", 0, PRICE_MAX, &out->input, error);
    if (!e) e = json_get_double(obj, "output", "", 0, PRICE_MAX, &out->output, error);
    if (!e) e = json_get_double(obj, "cached_input", "", 0, PRICE_MAX, &out->cached_input, error);
    if (out->cached_input < 0) out->cached_input = out->input;
    if (e) err_prefix(error, "\"%.100s\"", name);
    return e;
}

/* "openai/gpt-4o" or "gpt-4o": the first '/' ends the provider's name. */
static enum err add_row(struct prices *p, const char *name, const json_t *obj, struct error *error)
{
    struct row *row = &p->rows[p->n];
    if (p->n == ROWS_MAX) return err_set(error, ERR_CONFIG, "there are more than %d", ROWS_MAX);
    enum err e = read_price(obj, name, &row->price, error);
    if (e) return e;
    const char *slash = strchr(name, '/');
    row->provider =
        slash ? arena_strndup(p->arena, name, (size_t)(slash - name)) : arena_strdup(p->arena, "");
    row->model = arena_strdup(p->arena, slash ? slash + 1 : name);
    if (!row->provider || !row->model) return err_set(error, ERR_CONFIG, "the names are too long");
    p->n++;
    return OK;
}

static enum err read_rows(struct prices *p, const char *text, size_t len, struct error *error)
{
    const char *key;
    json_t *root, *value;
    enum err e = json_parse(text, len, &root, error);
    if (e) return e;
    if (!json_is_object(root)) e = err_set(error, ERR_CONFIG, "must hold an object");
    if (!e)
        json_object_foreach (root, key, value) {
            e = add_row(p, key, value, error);
            if (e) break;
        }
    json_decref(root);
    return e;
}

enum err prices_load(const char *path, struct prices **out, struct error *error)
{
    struct prices *p = xcalloc(1, sizeof *p);
    struct error own = {.code = OK}, *why = error ? error : &own;
    enum err e = OK;
    p->arena = arena_new(ARENA_MAX);
    if (*path) {
        struct buf text;
        buf_init(&text, FILE_MAX);
        e = fs_read_file(path, FILE_MAX, &text, why);
        if (!e) e = read_rows(p, buf_str(&text), text.len, why);
        buf_free(&text);
    }
    if (e) {
        why->code = ERR_CONFIG;
        err_prefix(why, "HEARTH_PRICES %.300s", path);
        prices_free(p);
        return ERR_CONFIG;
    }
    *out = p;
    return OK;
}

void prices_free(struct prices *p)
{
    if (!p) return;
    arena_free(p->arena);
    free(p);
}

/* ---- looking up ---------------------------------------------------------------------------- */

/* The longest beginning wins; between equals the row of this provider. 0 = none fits. */
static size_t best_in(const struct row *rows, size_t n, const char *provider, const char *model,
                      struct price *out)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        bool own = str_eq(rows[i].provider, provider);
        size_t len = strlen(rows[i].model), score = 2 * len + own + 1;
        if ((!own && *rows[i].provider) || !str_starts(model, rows[i].model) || score <= best)
            continue;
        best = score;
        *out = rows[i].price;
    }
    return best;
}

bool prices_of(const struct prices *p, const char *provider, const char *model, struct price *out)
{
    if (best_in(p->rows, p->n, provider, model, out)) return true;
    return best_in(built_in, sizeof built_in / sizeof *built_in, provider, model, out) > 0;
}

int64_t price_micros(const struct price *price, const struct usage *usage)
{
    int32_t cached = usage->cached_tokens < usage->prompt_tokens ? usage->cached_tokens : 0;
    double micros = price->input * (usage->prompt_tokens - cached) + price->cached_input * cached +
                    price->output * usage->completion_tokens;
    return micros > 0 ? (int64_t)ceil(micros) : 0;
}
