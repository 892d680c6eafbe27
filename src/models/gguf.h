/* GGUF header inspection: reads metadata and tensor table of a model file without trusting it, and
 * without libllama, so that a truncated or hostile file is refused with its reason before the
 * inference library sees it. Format: github.com/ggml-org/ggml, docs/gguf.md, version 2 and 3,
 * little-endian. Bounded: at most GGUF_HEADER_MAX bytes are looked at, counts and lengths are
 * checked against the file's size, nothing recurses. Files are read with pread, never mapped, so
 * one that shrinks meanwhile is an error and not a signal. */
#ifndef HEARTH_MODELS_GGUF_H
#define HEARTH_MODELS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "types/model_info.h"

enum { GGUF_HEADER_MAX = 256 << 20 };

/* Fills everything of *out but id and builtin. ERR_NOT_FOUND: no such file. ERR_MODEL_FILE: not a
 * GGUF, truncated ("needs N bytes, has M"), corrupt, not a language model (an adapter, a vision
 * projector, ...). Rejects files in which a tensor reaches past the end.
 *
 * A model in several files (name-00001-of-00003.gguf) is inspected as one through its first file:
 * all parts must be there and whole; file_bytes and n_params are their sums. */
HT_MUST_CHECK enum err gguf_inspect(const char *path, struct model_info *out, struct error *error);

/* The same over bytes in memory; file_size is what the tensors are checked against. For fuzzing. */
HT_MUST_CHECK enum err gguf_inspect_bytes(const void *data, size_t len, uint64_t file_size,
                                          struct model_info *out, struct error *error);

/* One file by itself, complete or a part of a split model, whatever its name: is it a whole GGUF of
 * a language model? *part and *n_parts are 0 and 1 for a model in one file. For downloads. */
HT_MUST_CHECK enum err gguf_check_file(const char *path, int *part, int *n_parts,
                                       struct error *error);

/* Whether a chat template (Jinja) lets its model think before it answers. */
bool gguf_template_thinks(const char *template);
/* And whether it may be told how much. */
bool gguf_template_weighs_effort(const char *template);

/* ---- adapters ----------------------------------------------------------------------------- */

struct gguf_tensor {
    char name[64];
    uint64_t dims[4]; /* unused ones are 1 */
    uint32_t type;    /* enum ggml_type; one that is known */
};

struct gguf_tensors {
    struct gguf_tensor *items;
    size_t n, cap;
};
void gguf_tensors_free(struct gguf_tensors *list);
const char *gguf_tensor_type_name(uint32_t type); /* "F16", ... */

/* What a LoRA adapter's file says; free its tensors. */
struct gguf_adapter {
    char arch[32];
    char name[MODEL_ID_MAX], base_model[MODEL_ID_MAX]; /* may be "" */
    double alpha;                                      /* 0..1e6; 0 = not said */
    bool activated;                                    /* aLoRA: works only from certain words on */
    int32_t rank;                                      /* the highest of its tensors */
    int32_t n_embd; /* of the model that it is for; 0 = its tensors don't tell */
    int64_t file_bytes;
    struct gguf_tensors tensors;
};

/* ERR_ADAPTER: not a LoRA adapter. ERR_MODEL_FILE: truncated or corrupt. ERR_NOT_FOUND. */
HT_MUST_CHECK enum err gguf_inspect_adapter(const char *path, struct gguf_adapter *out,
                                            struct error *error);
HT_MUST_CHECK enum err gguf_inspect_adapter_bytes(const void *data, size_t len, uint64_t file_size,
                                                  struct gguf_adapter *out, struct error *error);
/* The tensors of a model, those of all its parts if it has several. */
HT_MUST_CHECK enum err gguf_list_tensors(const char *path, struct gguf_tensors *out,
                                         struct error *error);

/* ---- people ------------------------------------------------------------------------------- */

/* All metadata as a JSON object (arrays longer than 16 are cut to their length, texts longer than
 * 16 KiB to theirs), for `hearth models show`. */
HT_MUST_CHECK enum err gguf_metadata_json(const char *path, struct buf *out, struct error *error);

#endif
