/* Derived models: a name for a model together with what it is to be like: a system prompt, sampling
 * parameters, a chat template, an adapter, messages that come first. What a Modelfile makes.
 *
 * Each is a small JSON file in the folder `derived` of the models folder, written by create.h. Its
 * weights are another model's (`from`), or a file that is no model of its own (`file`: a blob that
 * was uploaded, or one of an Ollama on this machine, used where it lies). A struct derived is
 * immutable and counted; any thread. */
#ifndef HEARTH_MODELS_DERIVED_H
#define HEARTH_MODELS_DERIVED_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "types/gen.h"
#include "types/model_info.h"

enum { DERIVED_FILE_MAX = 4 << 20, DERIVED_MESSAGES_MAX = 1000, DERIVED_MAX = 10000 };

#define DERIVED_DIR "derived"
#define BLOBS_DIR   "blobs"

struct derived {
    atomic_int refs;
    char name[MODEL_ID_MAX];   /* without ":latest" */
    char from[MODEL_ID_MAX];   /* id of the model whose weights it has, "" with `file` */
    char file[MODEL_PATH_MAX]; /* GGUF, in the models folder or absolute; "" with `from` */
    const char *system;        /* NULL = none, like all below; the document's */
    const char *template_text; /* as it was written */
    const char *license;
    const char *adapter;      /* of the adapters folder */
    const char *adapter_file; /* the blob that was put there for it; NULL = it was there */
    char *chat_template;      /* template_text as Jinja */
    const json_t *parameters;
    const struct message *messages;
    size_t n_messages;
    json_t *document; /* all of it; borrowed by the others */
    struct arena *arena;
    /* Of the scan that read it: */
    char *path;
    uint64_t signature;
    bool told; /* that it can't be used was logged */
};

struct derived *derived_ref(const struct derived *d);
void derived_unref(struct derived *d); /* NULL is fine */

/* Takes over the document, also when it fails. ERR_INVALID: a member that has to be there is not,
 * or is of another kind. */
HT_MUST_CHECK enum err derived_of_json(json_t *document, struct derived **out, struct error *error);
/* What is in the file; ERR_INVALID when it is none of ours. */
HT_MUST_CHECK enum err derived_read(const char *path, struct derived **out, struct error *error);
/* Writes the document as the record of that name into the models folder `dir`, replacing the one
 * that is there. ERR_INVALID as derived_of_json; ERR_TOO_LARGE. */
HT_MUST_CHECK enum err derived_write(const char *dir, const char *name, json_t *document,
                                     struct error *error);
/* Where the file of that name is, in the models folder `dir`. */
HT_MUST_CHECK enum err derived_path(const char *dir, const char *name, char path[4096],
                                    struct error *error);

/* A name that clients may give: [host/][namespace/]model[:tag] of letters, digits, '.', '_' and
 * '-'. Copies it without ":latest". */
HT_MUST_CHECK enum err derived_name(const char *text, char name[MODEL_ID_MAX], struct error *error);

/* The parameter's name as an answer's option: ERR_INVALID for one that there is not, or a value of
 * the wrong kind. */
HT_MUST_CHECK enum err derived_check_parameter(const char *name, const json_t *value,
                                               struct error *error);

/* Puts an option that is a number, and in the range that derived_check_parameter allows, into the
 * request, as said by the client. Names without an effect are none. */
void derived_say(struct gen_request *req, const char *name, double value);

/* Puts what the request leaves open into it, as copies. The model is left alone. ERR_TOO_LARGE.
 *   anywhere: what any model understands: parameters that the client did not say, and in a chat the
 *             system prompt (if it begins with none) and the messages
 *   here:     what only its own weights do: template and adapter; once more changes nothing */
HT_MUST_CHECK enum err derived_apply_anywhere(const struct derived *d, struct gen_request *req,
                                              struct error *error);
HT_MUST_CHECK enum err derived_apply_here(const struct derived *d, struct gen_request *req,
                                          struct error *error);
/* Both. */
HT_MUST_CHECK enum err derived_apply(const struct derived *d, struct gen_request *req,
                                     struct error *error);

#endif
