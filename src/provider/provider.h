/* Provider: one way to generate and embed, whoever does it: `local` (the scheduler in this
 * process), the worker (the same in a child process), those that answer over HTTP (src/remote), and
 * what stands in front of them: the router (src/router) and the recorder.
 *
 * Lifetime law:
 *  1. A request passed to provider_generate/embed belongs to the provider from then on, also when
 *     the call fails.
 *  2. If the call returns OK the listener is called, on the delivery thread, and its last event is
 *     exactly one DONE or ERROR. If it returns an error the listener is never called.
 *  3. provider_cancel is idempotent, allowed from any thread at any time, also after the end; the
 *     last event still comes (ERR_CANCELLED unless it was already done).
 *  4. provider_close returns after every listener has had its last event. */
#ifndef HEARTH_PROVIDER_PROVIDER_H
#define HEARTH_PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"
#include "types/gen.h"
#include "types/model_info.h"

struct provider;

/* What can be asked of a provider beside generating. Arguments and answer are JSON objects, since
 * they come from the API and go there, and pass to a worker process unchanged. The answers' fields
 * are those of docs/api.md for the route named behind. MODELS of a provider elsewhere also takes
 * {"model"}: what it knows of that one alone. */
#define CONTROLS(X)                                                                                \
    X(MODELS, "models") /* {} -> {"models": [...], "memory": {...}}: GET /v1/models, hearth ps */  \
    X(LOAD, "load")     /* {"model", "keep_alive"?, "wait"?}: POST /v1/models/{id}/load */         \
    X(UNLOAD, "unload") /* {"model"}: POST /v1/models/{id}/unload */                               \
    X(PLAN, "plan")     /* {"model", "context"?}: POST /v1/models/plan */                          \
    X(QUEUE, "queue")   /* {}: GET /v1/queue */                                                    \
    X(ADAPTERS, "adapters")         /* {}: GET /adapters */                                        \
    X(ADAPTER_LOAD, "adapter_load") /* {"adapter_name", "scale"?}: POST /adapters/load */          \
    X(CACHE, "cache")               /* {}: sizes and hits of the prefix cache */                   \
    X(HEALTH, "health")             /* {}: can it be reached? of those that are elsewhere */       \
    /* Of a local model, which is loaded if it is not; all answers have "model": its id, or what   \
     * "as"? says it is called (provider/derive.h). */                                             \
    X(TOKENIZE, "tokenize")     /* {"model", "content": a text or a list of texts and token ids,   \
                                   "add_special"?, "parse_special"?, "with_pieces"?} -> {"tokens": \
                                   [id or {"id", "piece": text or bytes}, ...]} */                 \
    X(DETOKENIZE, "detokenize") /* {"model", "tokens"} -> {"content"} */                           \
    X(TEMPLATE, "template") /* {"model", "request": of prompt_json.h} -> {"prompt", "tokens"} */   \
    X(INFILL, "infill") /* {"model", "input_prefix", "input_suffix", "prompt"?, "input_extra"?:    \
                           [{"filename", "text"}], "n_predict"?} -> {"tokens": [id, ...]} */       \
    X(PROPS, "props")   /* {"model", "chat_template"?: instead of its own} -> context, slots,      \
                           special tokens, chat template */

enum control {
#define X(id, name) CONTROL_##id,
    CONTROLS(X)
#undef X
        CONTROL_COUNT
};

/* answer: JSON text of an object, borrowed during the call; NULL with an error. */
typedef void (*control_fn)(void *ctx, const struct error *error, const char *answer, size_t len);

enum provider_caps {
    PROVIDER_GENERATE = 1 << 0,
    PROVIDER_EMBED = 1 << 1,
    PROVIDER_TOOLS = 1 << 2,
    PROVIDER_IMAGES = 1 << 3,
    PROVIDER_RERANK = 1 << 4, /* embed_request.query */
};

/* One instance per file. Callers use the wrappers below, which check and count. */
struct provider_ops {
    const char *name;
    unsigned caps;
    /* MUST */
    enum err (*generate)(struct provider *p, struct gen_request *req, gen_listener_fn fn, void *ctx,
                         uint64_t *id, struct error *error);
    /* MUST */
    void (*cancel)(struct provider *p, uint64_t id);
    /* MAY (PROVIDER_EMBED) */
    enum err (*embed)(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                      void *ctx, uint64_t *id, struct error *error);
    /* MAY. args: JSON text of an object, copied. Returns at once, so that a thread that must not
     * wait may call it. If it returns OK fn is called once, from any thread, also inside this call;
     * it must not block. */
    enum err (*control)(struct provider *p, enum control what, const char *args, control_fn fn,
                        void *ctx, struct error *error);
    /* MUST */
    void (*close)(struct provider *p, int64_t grace_ms);
};

struct provider {
    const struct provider_ops *ops;
};

HT_MUST_CHECK enum err provider_generate(struct provider *p, struct gen_request *req,
                                         gen_listener_fn fn, void *ctx, uint64_t *id,
                                         struct error *error);
HT_MUST_CHECK enum err provider_embed(struct provider *p, struct embed_request *req,
                                      embed_listener_fn fn, void *ctx, uint64_t *id,
                                      struct error *error);
/* ERR_UNSUPPORTED where the provider has no such thing. */
HT_MUST_CHECK enum err provider_control(struct provider *p, enum control what, const char *args,
                                        control_fn fn, void *ctx, struct error *error);
const char *control_name(enum control what);
/* Whether a request of this model names one: "" and "auto" leave the choice to who answers. */
bool provider_names_model(const char *model);
void provider_cancel(struct provider *p, uint64_t id);
void provider_close(struct provider *p, int64_t grace_ms);

#endif
