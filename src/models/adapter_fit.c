/* Does an adapter's every tensor fit the one that it changes?
 *
 * A LoRA changes a matrix W of the model, columns x rows, by B*A: A has W's columns and `rank`
 * rows, B has `rank` columns and W's rows. Token embeddings are looked up instead of multiplied, so
 * there the two are turned: A has `rank` columns and a row for each token, B has W's columns as
 * rows. The rules are those of llama.cpp v0.5.0 (llama-adapter.cpp, and build_lora_mm and
 * build_inp_embd in llama-graph.cpp), and those that its matrix multiplication asserts. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "models/adapters.h"
#include "models/gguf.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

static void sort(struct gguf_tensors *t)
{
    if (t->n) qsort(t->items, t->n, sizeof(*t->items), by_name);
}

static const struct gguf_tensor *find(const struct gguf_tensors *t, const char *name)
{
    struct gguf_tensor key = {0};
    if (!t->n || !str_copy(key.name, sizeof(key.name), name)) return NULL;
    return bsearch(&key, t->items, t->n, sizeof(*t->items), by_name);
}

/* Numbers that a matrix can be multiplied with: no integers, no doubles. */
static bool can_multiply(uint32_t type)
{
    return !(type >= 24 && type <= 28);
}

static enum err wrong_shape(const struct gguf_tensor *w, const struct gguf_tensor *a,
                            const struct gguf_tensor *b, struct error *error)
{
    return err_set(
        error, ERR_ADAPTER,
        "it was made for another model: %s is %llu x %llu there, and the adapter's %s is "
        "%llu x %llu and %s %llu x %llu",
        w->name, (unsigned long long)w->dims[0], (unsigned long long)w->dims[1], "A",
        (unsigned long long)a->dims[0], (unsigned long long)a->dims[1], "B",
        (unsigned long long)b->dims[0], (unsigned long long)b->dims[1]);
}

static enum err fits_tensor(const struct gguf_tensors *model, const struct gguf_tensor *a,
                            const struct gguf_tensor *b, const char *name, struct error *error)
{
    const struct gguf_tensor *w = find(model, name);
    if (!w)
        return err_set(error, ERR_ADAPTER, "it was made for another model: this one has no %s",
                       name);
    bool lookup = str_ends(name, "token_embd.weight");
    uint64_t rank_a = a->dims[lookup ? 0 : 1], rank_b = b->dims[0];
    bool shape = lookup ? w->dims[0] == b->dims[1] && w->dims[1] == a->dims[1]
                        : w->dims[0] == a->dims[0] && w->dims[1] == b->dims[1];
    if (!shape) return wrong_shape(w, a, b, error);
    if (rank_a != rank_b || rank_a == 0)
        return err_set(error, ERR_ADAPTER, "its two parts of %s have the ranks %llu and %llu", name,
                       (unsigned long long)rank_a, (unsigned long long)rank_b);
    for (int i = 2; i < 4; i++)
        if (a->dims[i] != w->dims[i] || b->dims[i] != w->dims[i])
            return wrong_shape(w, a, b, error);
    if (!can_multiply(a->type) || !can_multiply(b->type))
        return err_set(error, ERR_ADAPTER, "its weights of %s are of type %s", name,
                       gguf_tensor_type_name(can_multiply(a->type) ? b->type : a->type));
    /* A model that uses its embeddings for the output, too, multiplies with them there, which this
     * shape can't: libllama asserts. */
    if (lookup && !find(model, "output.weight"))
        return err_set(
            error, ERR_ADAPTER,
            "it changes the token embeddings, which this model uses for its output, too: "
            "that is not possible");
    return OK;
}

static enum err fits_half(const struct gguf_tensors *adapter, const struct gguf_tensors *model,
                          const struct gguf_tensor *t, size_t *n_pairs, struct error *error)
{
    static const char suffix_a[] = ".lora_a", suffix_b[] = ".lora_b";
    bool is_a = str_ends(t->name, suffix_a), is_b = str_ends(t->name, suffix_b);
    if (!is_a && !is_b) {
        if (str_ends(t->name, "_norm.weight")) return OK; /* libllama leaves those out */
        return err_set(error, ERR_ADAPTER, "it holds the tensor %s, which is no part of a LoRA",
                       t->name);
    }
    char name[sizeof(t->name)], other[sizeof(t->name) + sizeof(suffix_a)];
    str_printf(name, sizeof(name), "%.*s", (int)(strlen(t->name) - strlen(suffix_a)), t->name);
    str_printf(other, sizeof(other), "%s%s", name, is_a ? suffix_b : suffix_a);
    const struct gguf_tensor *o = find(adapter, other);
    if (!o) return err_set(error, ERR_ADAPTER, "its tensor %s is missing", other);
    if (is_b) return OK; /* looked at with its A */
    ++*n_pairs;
    return fits_tensor(model, t, o, name, error);
}

enum err adapter_fits(struct gguf_tensors *adapter, struct gguf_tensors *model, struct error *error)
{
    size_t n_pairs = 0;
    sort(adapter);
    sort(model);
    for (size_t i = 0; i < adapter->n; i++) {
        enum err e = fits_half(adapter, model, &adapter->items[i], &n_pairs, error);
        if (e) return e;
    }
    return n_pairs ? OK : err_set(error, ERR_ADAPTER, "it holds no weights");
}
