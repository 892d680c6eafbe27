/* Inside llama-server's surface. Shapes are those of tools/server/README.md of llama.cpp. */
#ifndef HEARTH_API_LLAMA_INT_H
#define HEARTH_API_LLAMA_INT_H

#include "api/call.h"
#include "api/call_terms.h"
#include "api/fields.h"
#include "api/http.h"
#include "api/writer.h"

struct hub;

enum {
    LLAMA_ARGS_MAX = 512 << 20, /* text of a question to the provider */
    RESPONSE_FIELDS_MAX = 64,
};

/* Members of a completion's body that are not OpenAI's. */
struct completion_wish {
    bool return_tokens;
    bool warm;               /* n_predict 0: the prompt is computed, nothing is said */
    json_t *response_fields; /* owned, or NULL = all */
};

struct completion_fields {
    struct call_terms_fields terms; /* checked here, used by completion_parse */
    const json_t *prompt, *logit_bias, *json_schema, *response_fields;
    const char *grammar, *input_prefix, *input_suffix;
    const json_t *input_extra;
    int64_t n_predict, n_probs, n_cmpl, seed;
    double temperature, top_p;
    bool return_tokens;
};
struct extra_fields {
    const char *filename, *text;
};
struct tokenize_fields {
    const char *model;
    const json_t *content;
    bool add_special, parse_special, with_pieces;
};
struct detokenize_fields {
    const char *model;
    const json_t *tokens;
};

/* schemas.c */
extern const struct field api_llama_completion_fields[], infill_fields[], extra_fields[],
    tokenize_fields[], detokenize_fields[];

/* dialect.c: a body of /completion or, with `infill`, of /infill, to a call as /v1/completions
 * makes it. The body is changed. On failure nothing is left to free. */
HT_MUST_CHECK enum err completion_read(json_t *body, size_t text_len, bool infill,
                                       const struct call_env *env, struct call *out,
                                       struct completion_wish *wish, struct error *error);

/* write.c; takes over wish->response_fields. */
struct writer *lserver_writer_new(const struct call *call, const struct completion_wish *wish);
/* "generation_settings", or the "params" of /props. */
void write_settings(struct jw *w, const struct gen_request *req, bool stream);

/* handlers; not llama_..., which is what libllama calls its own */
void lserver_completion(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_infill(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_tokenize(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_detokenize(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_apply_template(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_props(struct hub *hub, const struct http_request *req, struct sink *sink);
void lserver_slots(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
