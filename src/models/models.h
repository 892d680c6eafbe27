/* Models on disk: the models folder, the built-in models, the catalogue of known names, and how a
 * name that a client or a person types becomes a file. Thread-safe (one mutex; the folder is read
 * anew at most once a second, a file's header only when the file changed).
 *
 * The folder: `*.gguf` in it and in up to two levels of folders below (org/repository/file.gguf),
 * symbolic links too; names that begin with a dot and `*.part` are ignored. A model's id is its
 * file's name without ".gguf"; when two are equal, the one in a folder gets the folder in front. A
 * model in several files (-00001-of-00003.gguf) is one model. */
#ifndef HEARTH_MODELS_MODELS_H
#define HEARTH_MODELS_MODELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "types/model_info.h"

struct derived;
struct models;

/* "chat", "embedding", ...; "on_disk", "ready", ...: as the API and the command line call them. */
const char *model_kind_name(enum model_kind kind);
const char *model_state_name(enum model_state state);

/* dir is created if missing. builtin_dir holds hearth-tiny.gguf, its embedding and rerank
 * models and catalog.json. Reads nothing yet. */
HT_MUST_CHECK enum err models_open(const char *dir, const char *builtin_dir, struct models **out,
                                   struct error *error);
void models_free(struct models *m);
const char *models_dir(const struct models *m);

#define BUILTIN_CHAT_MODEL   "hearth-tiny"
#define BUILTIN_EMBED_MODEL  "hearth-tiny-embed"
#define BUILTIN_RERANK_MODEL "hearth-tiny-rerank"

/* A copy of what is there now, built-in models first, then by id. Free with free(). Files that
 * can't be read as models are left out and logged once. */
HT_MUST_CHECK enum err models_list(struct models *m, struct model_info **out, size_t *n,
                                   struct error *error);

/* Name -> file. Accepts an id of models_list (case makes no difference), a file name in the folder,
 * a catalogue name with or without ":quant" or ":latest" if its file is there, a repository
 * ("org/repo" or "org/repo:quant") that was pulled, and, if allow_paths (command line only, never
 * for API clients), a path. ERR_NO_MODEL tells the names that come close and, for a catalogue name,
 * the `hearth pull` that gets it. */
HT_MUST_CHECK enum err models_resolve(struct models *m, const char *name, bool allow_paths,
                                      struct model_info *out, struct error *error);

/* What a name stands for beside weights; NULL: nothing. The caller's to unref (derived.h). */
struct derived *models_derived(struct models *m, const char *name);
bool models_has_derived(struct models *m);
/* What was changed in the folder is seen from now on. */
void models_rescan(struct models *m);

/* Removes a model's file (and its sidecars; of a symbolic link only the link); of a derived model
 * its record and what only that one used: blobs, and the adapter that was made for it in
 * adapters_dir (NULL: it stays). ERR_FORBIDDEN for a built-in one, ERR_CONFLICT for one that others
 * were made from. */
HT_MUST_CHECK enum err models_remove(struct models *m, const char *name, const char *adapters_dir,
                                     struct error *error);

#endif
