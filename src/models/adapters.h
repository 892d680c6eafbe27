/* LoRA adapters on disk: which there are, and whether one fits a model. Thread-safe (one mutex; the
 * folders are read anew at most once a second, a file's header only when the file changed).
 *
 * The folder: `adapters/<name>/` with one GGUF in it, and `adapters/<name>.gguf`. The one that lies
 * directly in the folder, if there is just one, is also called "default". "base" and "none" mean no
 * adapter. The folder of built-in adapters is read the same way; the user's own come first.
 *
 * A file is inspected here before the inference library sees it: that it is whole, that it is a
 * LoRA, and that each of its tensors fits the one of the model that it changes. The library checks
 * some of that, too, and dies of the rest. */
#ifndef HEARTH_MODELS_ADAPTERS_H
#define HEARTH_MODELS_ADAPTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "types/model_info.h"

struct adapters;
struct gguf_tensors;

enum { ADAPTER_NAME_MAX = 128 };

struct adapter_info {
    char name[ADAPTER_NAME_MAX];
    char path[MODEL_PATH_MAX];     /* never shown to API clients */
    char arch[32];                 /* of the models it is for */
    char base_model[MODEL_ID_MAX]; /* the one it was made for, "" if it doesn't say */
    float alpha;                   /* 0 = not said */
    int32_t rank;
    int32_t n_embd; /* width of the models it is for; 0 = unknown */
    int64_t bytes;
    uint64_t version; /* changes when the file does */
    bool builtin;
    struct error error; /* not OK: it can't be used, and why */
};

/* The built-in ones, in the folder of the built-in models (HEARTH_BUILTIN); "" where there is none.
 */
void adapters_builtin_dir(const char *builtin_dir, char path[MODEL_PATH_MAX]);

/* The folders need not exist. Reads nothing yet. */
HT_MUST_CHECK enum err adapters_open(const char *dir, const char *builtin_dir,
                                     struct adapters **out, struct error *error);
void adapters_free(struct adapters *a);

/* A copy of what is there now, also of what can't be used, by name. Free with free(). */
HT_MUST_CHECK enum err adapters_list(struct adapters *a, struct adapter_info **out, size_t *n,
                                     struct error *error);

/* "base" or "none"? */
bool adapter_is_none(const char *name);
/* A request may name its adapter twice: in a field (`asked`), and behind its model's name
 * (`named`); NULL is not at all. ERR_INVALID when these are two adapters. */
HT_MUST_CHECK enum err adapter_wanted(const char *asked, const char *named, const char **out,
                                      struct error *error);
/* Name -> file. ERR_NO_ADAPTER with the names there are; ERR_ADAPTER when it can't be used. Not for
 * the names that mean none. */
HT_MUST_CHECK enum err adapters_resolve(struct adapters *a, const char *name,
                                        struct adapter_info *out, struct error *error);
/* May this adapter be put on this model? ERR_ADAPTER with the reason. Reads both files' headers the
 * first time it is asked about the two. */
HT_MUST_CHECK enum err adapters_check(struct adapters *a, const struct adapter_info *adapter,
                                      const struct model_info *model, struct error *error);

/* Worth checking? Without reading anything. */
bool adapter_may_fit(const struct adapter_info *adapter, const struct model_info *model);

/* The check itself; `model` and `adapter` name them in messages. Sorts the tensors of both. */
HT_MUST_CHECK enum err adapter_fits(struct gguf_tensors *adapter_tensors,
                                    struct gguf_tensors *model_tensors, struct error *error);

#endif
