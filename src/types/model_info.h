/* Plain data about a model. Strings are copies with bounded size, so a model_info is a value. */
#ifndef HEARTH_TYPES_MODEL_INFO_H
#define HEARTH_TYPES_MODEL_INFO_H

#include <stdbool.h>
#include <stdint.h>

enum model_kind { MODEL_CHAT, MODEL_COMPLETION, MODEL_EMBEDDING, MODEL_RERANK };

enum model_state { MODEL_ON_DISK, MODEL_LOADING, MODEL_READY, MODEL_FAILED };

enum { MODEL_ID_MAX = 128, MODEL_PATH_MAX = 4096 };

/* What the GGUF header says. */
struct model_info {
    char id[MODEL_ID_MAX];     /* the name clients use */
    char name[MODEL_ID_MAX];   /* general.name, may be "" */
    char arch[32];             /* general.architecture */
    char quant[24];            /* "Q4_K_M", "F16", ...; from general.file_type */
    char path[MODEL_PATH_MAX]; /* never shown to API clients */
    /* Of a derived model (models/derived.h): the one whose weights it has; "" = its own. */
    char from[MODEL_ID_MAX];
    char catalog[64]; /* the known name under which it was pulled, "" = none */
    enum model_kind kind;
    bool builtin;
    bool has_chat_template;
    bool has_tools;    /* the template mentions tools */
    bool has_thinking; /* and a way to think */
    bool has_effort;   /* and how much of it: low, medium, high */
    bool has_infill;   /* the vocabulary has marks for a gap: prefix, suffix, middle */
    int64_t file_bytes;
    int64_t modified_s; /* Unix time of the file */
    int64_t n_params;   /* sum over the tensors */
    int32_t n_ctx_train, n_embd, n_layer, n_vocab;
};

#endif
