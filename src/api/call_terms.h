/* Call terms: what every surface's body may say that is Hearth's own: who answers (call_route.h),
 * when the answer must have begun, whom it goes before, and how it is computed.
 *
 * One table and one reader for all of them: a struct that is read by a table of fields has a
 * call_terms_fields named `terms`, which begins as CALL_TERMS_ABSENT, and one of the macros below
 * in its table (tables.h has the macros that these are made of). Pure functions of their arguments;
 * any thread. */
#ifndef HEARTH_API_CALL_TERMS_H
#define HEARTH_API_CALL_TERMS_H

#include "api/call.h"

/* Members of a body. Zeros are not what is absent: a priority of 0 is the first of all. */
struct call_terms_fields {
    struct call_route_fields routing;
    int64_t priority, deadline_ms;
    const json_t *keep_alive;
    const char *adapter, *context_overflow;
    double adapter_scale;
    bool deterministic;
};
#define CALL_TERMS_ABSENT                                                                          \
    (struct call_terms_fields)                                                                     \
    {                                                                                              \
        .priority = FIELD_ABSENT, .adapter_scale = 1                                               \
    }

/* clang-format off */

/* Of a call that only asks something of a model. */
#define CALL_ROUTE_FIELDS \
    R("source", STR, 0, 0, 0, NULL, terms.routing.source, "Who answers: a provider's name, or \"auto\" (the same as absent): whom the route says. Also as the header X-Hearth-Source."), \
    R("model_source", STR, FIELD_ALIAS, 0, 0, NULL, terms.routing.source, "The same as `source`."), \
    R("provider", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]}", terms.routing.provider, "The same as `source`; an object (OpenRouter's) has no effect."), \
    R("route", STR, 0, 0, 0, NULL, terms.routing.route, "A configured route's name; absent: the default one. Also as the header X-Hearth-Route."), \
    R("optimization_goal", STR, 0, 0, 0, "{\"type\":\"string\",\"enum\":[\"balanced\",\"privacy\",\"cost\",\"speed\",\"quality\"]}", terms.routing.goal, "What matters most in choosing who answers; `privacy` never leaves this machine. Also as the header X-Hearth-Goal."), \
    R("local_only", BOOL, 0, 0, 0, NULL, terms.routing.local_only, "true: this never leaves this machine, and fails when nobody here can answer it. false takes no pin away. Also as the header X-Hearth-Local.")

/* Of a call that has something computed: embeddings, reranks. */
#define CALL_TERMS_FIELDS \
    CALL_ROUTE_FIELDS, \
    R("priority", INT, 0, 0, 100, NULL, terms.priority, "Lower is served first; also as the header X-Priority. Absent: the setting HEARTH_PRIORITY."), \
    R("deadline_ms", INT, 0, 1, 86400000, NULL, terms.deadline_ms, "Milliseconds within which it must have begun, else it fails with 408 (timeout); what would wait longer is refused at once with 429."), \
    R("keep_alive", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"string\"}]}", terms.keep_alive, "How long the model stays in memory after this request, whoever else uses it: a duration (\"5m\"), seconds, below 0 for ever, 0 not at all. Absent: as it was said last, else the setting HEARTH_KEEP_ALIVE.")

/* Of a call that generates text. */
#define CALL_GEN_TERMS_FIELDS \
    CALL_TERMS_FIELDS, \
    R("adapter", STR, 0, 0, 0, NULL, terms.adapter, "LoRA adapter (GET /adapters); \"base\" is none. Absent: the one chosen by POST /adapters/load. The model may also be named `<model>:<adapter>`."), \
    R("adapter_scale", NUM, 0, -100, 100, NULL, terms.adapter_scale, "How strongly the adapter works; absent: 1, as it was trained."), \
    R("deterministic", BOOL, 0, 0, 0, NULL, terms.deterministic, "The same tokens whatever else is running at the time, at the price of speed; a fixed seed, or temperature 0, is needed as well."), \
    R("context_overflow", STR, 0, 0, 0, "{\"type\":\"string\",\"enum\":[\"stop\",\"shift\"]}", terms.context_overflow, "When the context is full: stop ends the answer for its length, shift forgets the oldest text after the system prompt and goes on. Absent: as configured.")

/* clang-format on */

/* What comes of it: the fields of a gen_request of the same names. Borrowed from the body and the
 * headers. */
struct call_terms {
    struct call_route route;
    int32_t priority;
    int64_t deadline_ms, keep_alive_ms;
    const char *adapter; /* NULL = not said */
    float adapter_scale;
    bool deterministic;
    enum overflow overflow;
};

/* What the body says, else what env says. ERR_INVALID: a word or a time that means nothing. */
HT_MUST_CHECK enum err call_terms_read(const struct call_terms_fields *f,
                                       const struct call_env *env, struct call_terms *out,
                                       struct error *error);

/* Reads it into a request; also ERR_TOO_LARGE when its arena is full. */
HT_MUST_CHECK enum err call_terms_set(const struct call_terms_fields *f, const struct call_env *env,
                                      struct gen_request *req, struct error *error);
HT_MUST_CHECK enum err call_terms_set_embed(const struct call_terms_fields *f,
                                            const struct call_env *env, struct embed_request *req,
                                            struct error *error);

#endif
