/* What every surface that generates does with its call: reads the body, and turns it into requests
 * of the type that the provider takes. Pure functions of their arguments; any thread. */
#ifndef HEARTH_API_CALL_H
#define HEARTH_API_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/call_route.h"
#include "api/http.h"
#include "base/arena.h"
#include "base/json.h"
#include "types/gen.h"

struct config;

enum {
    COPIED_JSON_MAX = 64 * 1024 * 1024, /* one schema or argument object, as text */
    METADATA_MAX = 16,
    METADATA_KEY_MAX = 64, /* letters */
    METADATA_VALUE_MAX = 512,
    TOOL_NAME_MAX = 64,
};

/* Sampling of requests that say nothing, where the configuration has no setting: the values that
 * llama.cpp's own tools use. */
#define DEFAULT_TOP_K         40
#define DEFAULT_MIN_P         0.05
#define DEFAULT_REPEAT_LAST_N 64

/* An integer that the client did not give. */
#define FIELD_ABSENT INT64_MIN

/* What a call takes from outside its body. Borrowed. */
struct call_env {
    const char *request_id;
    const char *priority;      /* header X-Priority or NULL */
    const char *tenant;        /* the user who calls; "" where nobody asked */
    struct call_route routing; /* who may answer, as far as the body does not say it */
    double temperature, top_p;
    int64_t max_tokens, default_priority;
    int64_t now_ms; /* clock_mono_ms, from which deadlines count */
};
/* What the configuration says, of a call that nobody makes (a job's). */
void call_env_init(const struct config *config, struct call_env *env);
/* The same of a call, with its caller and its headers. ERR_INVALID: a header that means nothing. */
HT_MUST_CHECK enum err call_env_read(const struct config *config, const struct http_request *req,
                                     struct call_env *env, struct error *error);
/* How it samples when it says nothing. */
struct sampling call_sampling(const struct call_env *env);
/* The body as a JSON object (the caller's to decref) and what of the call is not in it. Refuses a
 * body that is not JSON by its type or its text. */
HT_MUST_CHECK enum err call_read(const struct config *config, const struct http_request *req,
                                 struct call_env *env, json_t **body, struct error *error);

/* One parsed call: what to generate and how to answer. */
struct call {
    struct gen_request **requests; /* one for each prompt; each is its own arena's */
    size_t n_requests;
    /* NULL, or an array with an entry for each request: null, or, where its tokens must be asked
     * for first (prompts.h), the arguments (an object, without the model) of INFILL or TOKENIZE. */
    json_t *questions;
    bool stream;
    bool include_usage, timings; /* in a stream's end too; of surfaces that ask */
};
/* A call of one request, which it owns from here on. */
void call_of(struct call *call, struct gen_request *req);
/* Frees the requests that are still here (those passed on are NULL), and the questions. */
void call_free(struct call *call);

/* Bytes that the parsed form of a body may take: the worst there is, a list of tiny messages, takes
 * three times its text. */
static inline size_t arena_limit(size_t text_len)
{
    return 64 * 1024 + 8 * text_len;
}

/* A request of one choice with the defaults of the configuration, of this caller and with what pins
 * it to this machine, in an arena of its own that may grow to arena_max bytes. The model is "". */
HT_MUST_CHECK enum err call_request_new(const struct call_env *env, size_t arena_max,
                                        struct gen_request **out, struct error *error);
/* The same of a request to embed or to rerank, without inputs. Every surface makes its requests by
 * these two, so that none forgets a pin. */
HT_MUST_CHECK enum err call_embed_new(const struct call_env *env, size_t arena_max,
                                      struct embed_request **out, struct error *error);
/* Copy of a string or of a value's JSON text in the arena; ERR_TOO_LARGE when it is full. */
HT_MUST_CHECK enum err copy_text(struct arena *a, const char *s, const char **out,
                                 struct error *error);
HT_MUST_CHECK enum err copy_json(struct arena *a, const json_t *v, const char **out,
                                 struct error *error);
enum err request_too_large(struct error *error);
/* The body's value or FIELD_ABSENT, else the header's, else the configured one. */
HT_MUST_CHECK enum err call_priority(int64_t body, const struct call_env *env, int32_t *out,
                                     struct error *error);
/* Whether a tool may have this name: what OpenAI allows (letters, digits, _ and -), and dots, which
 * servers of the Model Context Protocol use; at most `max` of them (TOOL_NAME_MAX at OpenAI). */
bool call_tool_name_ok(const char *s, size_t max);
/* "system" or "developer", "user", "assistant", "tool"; false for other words. */
bool call_role(const char *word, enum role *out);
/* A call's arguments: the JSON text of an object. Nothing at all (NULL, "") is {}: models write
 * that for tools without parameters, and clients send it back. ERR_INVALID at <ptr>/arguments. */
HT_MUST_CHECK enum err call_arguments(struct arena *a, const char *text, const char *ptr,
                                      const char **out, struct error *error);
/* How much is thought (NULL = not said) reaches a local model as the variables that chat templates
 * know: gpt-oss reads reasoning_effort, Qwen and its kin can only switch thinking off. What the
 * client put into template_kwargs (an object, or NULL) itself wins. */
HT_MUST_CHECK enum err call_reasoning(const char *effort, const json_t *template_kwargs,
                                      struct gen_request *req, struct error *error);
/* What clients keep with an object, as at OpenAI: at most METADATA_MAX pairs of strings. *out: its
 * JSON text, "{}" for NULL; free it. */
HT_MUST_CHECK enum err call_metadata(const json_t *metadata, const char *ptr, char **out,
                                     struct error *error);
/* What the client said of a parameter goes to *to, and `flag` (SAID_...) into *said_all; NAN and
 * FIELD_ABSENT are nothing, and the default stays. */
void call_say_real(uint32_t *said_all, uint32_t flag, double said, float *to);
void call_say_int(uint32_t *said_all, uint32_t flag, int64_t said, int32_t *to);
/* Any integer is a seed; -1 and FIELD_ABSENT ask for a random one, as in llama.cpp's tools. */
uint32_t call_seed(int64_t seed);

#endif
