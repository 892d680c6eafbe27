/* Inside Anthropic's surface: from JSON to a request, and the writer. */
#ifndef HEARTH_API_ANTHROPIC_INT_H
#define HEARTH_API_ANTHROPIC_INT_H

#include "api/call.h"
#include "api/call_terms.h"
#include "api/fields.h"
#include "api/writer.h"

struct hub;

enum {
    ANTHROPIC_TOOLS_MAX = 512,
    THINKING_BUDGET_MIN = 1024, /* as at Anthropic */
};

/* The signature of thoughts that were thought on this machine. Clients send thoughts back only with
 * a signature; another provider's is passed on to it, this one means nothing to anybody. */
#define LOCAL_SIGNATURE "aGVhcnRoLWxvY2Fs"

/* Members of a body; NULL and FIELD_ABSENT where the client said nothing. */
struct messages_fields {
    const char *model;
    const json_t *messages, *system, *stop_sequences, *tools, *tool_choice, *thinking;
    const json_t *output_config, *output_format, *mcp_servers;
    int64_t max_tokens, top_k;
    double temperature, top_p;
    bool stream;
    struct call_terms_fields terms;
};
struct turn_fields {
    const char *role;
    const json_t *content;
};
/* Of every type of block; which of them it must have, the type says. */
struct block_fields {
    const char *type, *text, *id, *name, *tool_use_id, *thinking, *signature, *title, *context;
    const json_t *source, *input, *content;
    bool is_error;
};
struct source_fields {
    const char *type, *media_type, *data, *url;
    const json_t *content;
};
struct anthropic_tool_fields {
    const char *type, *name, *description;
    const json_t *input_schema;
    bool strict;
};
struct tool_choice_fields {
    const char *type, *name;
    bool no_parallel;
};
struct thinking_fields {
    const char *type, *display;
    int64_t budget_tokens;
};
struct output_config_fields {
    const char *effort;
    const json_t *format;
};
struct output_format_fields {
    const char *type;
    const json_t *schema;
};

/* schemas.c */
extern const struct field messages_fields[], count_fields[], turn_fields[], block_fields[],
    source_fields[], anthropic_tool_fields[], tool_choice_fields[], thinking_fields[],
    output_config_fields[], output_format_fields[];

/* What the writer must know beside the request. */
struct messages_wish {
    bool thinking; /* thoughts are asked for */
    bool omitted;  /* ... without their text */
};

/* The whole body -> *out, a call of one request; `body` may be freed afterwards. count: a body of
 * count_tokens, which needs no max_tokens. On failure nothing is left to free. */
HT_MUST_CHECK enum err messages_parse(const json_t *body, size_t text_len, bool count,
                                      const struct call_env *env, struct call *out,
                                      struct messages_wish *wish, struct error *error);

/* turns_parse.c: system and messages. */
HT_MUST_CHECK enum err turns_parse(const struct messages_fields *f, struct gen_request *req,
                                   struct error *error);
/* tools_parse.c: tools and tool_choice. */
HT_MUST_CHECK enum err anthropic_tools_parse(const struct messages_fields *f,
                                             struct gen_request *req, struct error *error);

/* write.c; copies what it needs. */
struct writer *messages_writer_new(const struct call *call, const struct messages_wish *wish);

/* handlers */
void anthropic_messages(struct hub *hub, const struct http_request *req, struct sink *sink);
void anthropic_count_tokens(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
