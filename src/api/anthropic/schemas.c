/* Every object that Anthropic's surface reads or writes, once; see fields.h. */
#include <limits.h>

#include "api/anthropic/anthropic.h"
#include "api/anthropic/anthropic_int.h"
#include "api/tables.h"

/* clang-format off */

#define TEXT_OR(items) "{\"oneOf\":[{\"type\":\"string\"}," LIST(items) "]}"
#define CACHE_CONTROL  IGNORED("cache_control", "Accepted, no effect: prompts are always cached.")

#define S messages_fields
#define COMMON \
    R("messages", ARR, REQ, 0, 0, "{\"type\":\"array\",\"minItems\":1,\"items\":" REF("MessagesTurn") "}", messages, "The conversation; turns of the same role that follow each other are one. A last turn of the assistant is continued."), \
    R("model", STR, REQ, 0, 0, NULL, model, "Model that answers; \"\" is the default model."), \
    R("system", JSON, 0, 0, 0, TEXT_OR(REF("MessagesBlock")), system, "The system prompt: a text, or text blocks (joined with newlines)."), \
    R("tools", ARR, 0, 0, 0, "{\"type\":\"array\",\"maxItems\":512,\"items\":" REF("MessagesTool") "}", tools, "What the model may call."), \
    R("tool_choice", OBJ, 0, 0, 0, REF("MessagesToolChoice"), tool_choice, "Whether and which tool must be called."), \
    R("thinking", OBJ, 0, 0, 0, REF("MessagesThinking"), thinking, "Whether the model thinks first; absent: models that can leave it do."), \
    R("output_config", OBJ, 0, 0, 0, REF("MessagesOutputConfig"), output_config, "How much effort, and in which format."), \
    R("output_format", OBJ, 0, 0, 0, REF("MessagesOutputFormat"), output_format, "The older name of `output_config.format`."), \
    R("mcp_servers", ARR, 0, 0, 0, LIST("{}"), mcp_servers, "Refused unless empty: MCP servers are the client's to call."), \
    CACHE_CONTROL, \
    IGNORED("context_management", "Accepted, no effect."), \
    IGNORED("speed", "Accepted, no effect.")

const struct field messages_fields[] = {
    COMMON,
    R("max_tokens", INT, REQ, 1, TOKENS_MAX, NULL, max_tokens, "Most tokens of the answer."),
    R("stream", BOOL, 0, 0, 0, NULL, stream, "Send the answer as server-sent events while it is written."),
    R("stop_sequences", ARR, 0, 0, 0, "{\"type\":\"array\",\"maxItems\":16,\"items\":{\"type\":\"string\",\"minLength\":1}}", stop_sequences, "Texts before which the answer ends; `stop_sequence` says which it was."),
    R("temperature", NUM, 0, 0, 1, NULL, temperature, "Randomness; 0 always takes the likeliest token. Absent: the setting DEFAULT_TEMPERATURE."),
    R("top_p", NUM, 0, 0, 1, NULL, top_p, "Choose among the likeliest tokens that together have this probability. Absent: the setting DEFAULT_TOP_P."),
    R("top_k", INT, 0, 0, TOKENS_MAX, NULL, top_k, "Choose among this many of the likeliest tokens; 0 is off. Absent: 40."),
    IGNORED("metadata", "Accepted, no effect."),
    IGNORED("service_tier", "Accepted, no effect."),
    IGNORED("container", "Accepted, no effect."),
    IGNORED("inference_geo", "Accepted, no effect."),
    CALL_GEN_TERMS_FIELDS,
    END};

const struct field count_fields[] = {
    COMMON,
    CALL_ROUTE_FIELDS,
    END};
#undef S

#define S turn_fields
const struct field turn_fields[] = {
    R("role", STR, REQ, 0, 0, WORDS("\"user\",\"assistant\",\"system\""), role, "Who speaks."),
    R("content", JSON, REQ, 0, 0, TEXT_OR(REF("MessagesBlock")), content, "A text, or blocks."),
    END};
#undef S

#define S block_fields
const struct field block_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"text\",\"image\",\"document\",\"search_result\",\"tool_use\",\"tool_result\",\"thinking\",\"redacted_thinking\""), type, "What it is; the other members depend on it."),
    R("text", STR, 0, 0, 0, NULL, text, "text: the text."),
    R("source", JSON, 0, 0, 0, "{\"oneOf\":[" REF("MessagesSource") ",{\"type\":\"string\"}]}", source, "image, document: where its content is. search_result: where it was found."),
    R("title", STR, 0, 0, 0, NULL, title, "document, search_result: its title."),
    R("context", STR, 0, 0, 0, NULL, context, "document: what is to be known about it."),
    R("id", STR, 0, 0, 0, NULL, id, "tool_use: names the call; its tool_result repeats it."),
    R("name", STR, 0, 0, 0, NULL, name, "tool_use: the tool."),
    R("input", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", input, "tool_use: its arguments."),
    R("tool_use_id", STR, 0, 0, 0, NULL, tool_use_id, "tool_result: which call this is the result of; that is in the turn before."),
    R("content", JSON, 0, 0, 0, TEXT_OR("{\"type\":\"object\"}"), content, "tool_result: a text, or text and image blocks. search_result: text blocks."),
    R("is_error", BOOL, 0, 0, 0, NULL, is_error, "tool_result: the call failed."),
    R("thinking", STR, 0, 0, 0, NULL, thinking, "thinking: what the model thought."),
    R("signature", STR, 0, 0, 0, NULL, signature, "thinking: as it came; goes back to the provider that made it."),
    IGNORED("data", "redacted_thinking: accepted, no effect."),
    IGNORED("citations", "Accepted, no effect."),
    IGNORED("caller", "tool_use: who called; the model itself."),
    CACHE_CONTROL,
    END};
#undef S

#define S source_fields
const struct field source_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"base64\",\"url\",\"text\",\"content\""), type, "base64 and url: a picture; text and content: a document."),
    R("media_type", STR, 0, 0, 0, NULL, media_type, "base64: image/jpeg, image/png, image/gif or image/webp. text: text/plain."),
    R("data", STR, 0, 0, 0, NULL, data, "base64: the file; text: the text."),
    R("url", STR, 0, 0, 0, NULL, url, "url: http or https."),
    R("content", JSON, 0, 0, 0, TEXT_OR("{\"type\":\"object\"}"), content, "content: a text, or text and image blocks."),
    END};
#undef S

#define S anthropic_tool_fields
const struct field anthropic_tool_fields[] = {
    R("type", STR, 0, 0, 0, NULL, type, "custom, or one of Anthropic's tools that the client runs (bash_..., text_editor_...); those that Anthropic's servers run are refused."),
    R("name", STR, REQ, 0, 0, "{\"type\":\"string\",\"pattern\":\"^[a-zA-Z0-9_.-]{1,128}$\"}", name, "Unique among the tools."),
    R("description", STR, 0, 0, 0, NULL, description, "Tells the model when and how to call it."),
    R("input_schema", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", input_schema, "JSON schema of its input; required of custom tools."),
    R("strict", BOOL, 0, 0, 0, NULL, strict, "The input must match the schema exactly."),
    IGNORED("input_examples", "Accepted, no effect."),
    IGNORED("defer_loading", "Accepted, no effect."),
    CACHE_CONTROL,
    END};
#undef S

#define S tool_choice_fields
const struct field tool_choice_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"auto\",\"any\",\"tool\",\"none\""), type, "any: some tool must be called; tool: that of `name`."),
    R("name", STR, 0, 0, 0, NULL, name, "Required with type tool."),
    R("disable_parallel_tool_use", BOOL, 0, 0, 0, NULL, no_parallel, "At most one call in an answer."),
    END};
#undef S

#define S thinking_fields
const struct field thinking_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"enabled\",\"adaptive\",\"between_tools\",\"disabled\""), type, "enabled needs budget_tokens; adaptive: as much as the model likes; between_tools: as disabled."),
    R("budget_tokens", INT, 0, THINKING_BUDGET_MIN, TOKENS_MAX, NULL, budget_tokens, "Most tokens of its thoughts; less than max_tokens."),
    R("display", STR, 0, 0, 0, WORDS("\"summarized\",\"omitted\""), display, "omitted: thoughts come without their text."),
    END};
#undef S

#define S output_config_fields
const struct field output_config_fields[] = {
    R("effort", STR, 0, 0, 0, WORDS("\"low\",\"medium\",\"high\",\"xhigh\",\"max\""), effort, "Handed to the chat template as reasoning_effort."),
    R("format", OBJ, 0, 0, 0, REF("MessagesOutputFormat"), format, "Constrains the answer to a JSON schema."),
    IGNORED("task_budget", "Accepted, no effect."),
    END};
#undef S

#define S output_format_fields
const struct field output_format_fields[] = {
    R("type", STR, REQ, 0, 0, CONST_OF("json_schema"), type, "json_schema"),
    R("schema", OBJ, REQ, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", schema, "The JSON schema; every answer matches it."),
    END};
#undef S

/* ---- answers ------------------------------------------------------------------------------- */

#define NULL_ONLY "{\"type\":\"null\"}"

static const struct field usage_fields[] = {
    W("input_tokens", INT, NULL, "Of the prompt, without those that were found in the cache."),
    W("cache_creation_input_tokens", INT, NULL, "0: caching costs nothing here."),
    W("cache_read_input_tokens", INT, NULL, "Of the prompt, found in the cache."),
    W("output_tokens", INT, NULL, "Of the answer, thoughts included."),
    W("output_tokens_details", OBJ, "{\"type\":\"object\",\"properties\":{\"thinking_tokens\":{\"type\":\"integer\"}}}", "Of those, spent on thinking."),
    W("server_tool_use", JSON, NULL_ONLY, "Always null: no tool runs at the server."),
    W_OPT("service_tier", STR, CONST_OF("standard"), "standard; not in message_delta."),
    W_OPT("cache_creation", JSON, NULL_ONLY, "Always null, and not in message_delta."),
    W_OPT("inference_geo", JSON, NULL_ONLY, "Always null, and not in message_delta."),
    W_OPT("speed", JSON, NULL_ONLY, "Always null, and not in message_delta."),
    END};

static const struct field answer_fields[] = {
    W("id", STR, NULL, "msg_..."),
    W("type", STR, CONST_OF("message"), "message"),
    W("role", STR, CONST_OF("assistant"), "assistant"),
    W("model", STR, NULL, "The model that answered."),
    W("content", ARR, LIST(REF("MessagesBlock")), "Blocks: thinking, text, tool_use."),
    W("stop_reason", STR, WORDS("\"end_turn\",\"max_tokens\",\"stop_sequence\",\"tool_use\",\"model_context_window_exceeded\""), "Why it ended."),
    W("stop_sequence", STR, NULLABLE("string"), "Which of the stop sequences ended it."),
    W("stop_details", JSON, NULL_ONLY, "Always null: nothing is refused."),
    W("container", JSON, NULL_ONLY, "Always null."),
    W("diagnostics", JSON, NULL_ONLY, "Always null."),
    W("usage", OBJ, REF("MessagesUsage"), "Tokens."),
    END};

static const struct field count_answer_fields[] = {
    W("input_tokens", INT, NULL, "Of the whole prompt, as the model's chat template renders it."),
    END};

#define SUPPORT REF("CapabilitySupport")

static const struct field support_fields[] = {
    W("supported", BOOL, NULL, "Whether it can."),
    END};

static const struct field compaction_fields[] = {
    W("summarize", OBJ, SUPPORT, "false"),
    W("supported", BOOL, NULL, "false"),
    END};

static const struct field context_management_fields[] = {
    W("clear_thinking_20251015", OBJ, SUPPORT, "false"),
    W("clear_tool_uses_20250919", OBJ, SUPPORT, "false"),
    W("compact_20260112", OBJ, SUPPORT, "false"),
    W("supported", BOOL, NULL, "false: it is accepted in a request, without effect."),
    END};

static const struct field effort_fields[] = {
    W("high", OBJ, SUPPORT, "As `supported`."),
    W("low", OBJ, SUPPORT, "As `supported`."),
    W("max", OBJ, SUPPORT, "false: it is taken for `high`."),
    W("medium", OBJ, SUPPORT, "As `supported`."),
    W("supported", BOOL, NULL, "Its chat template knows how much it is to think."),
    W("xhigh", OBJ, SUPPORT, "false: it is taken for `high`."),
    END};

static const struct field server_tools_fields[] = {
    W("code_execution", OBJ, SUPPORT, "false"),
    W("supported", BOOL, NULL, "false: no tool runs at the server."),
    W("web_search", OBJ, SUPPORT, "false"),
    END};

static const struct field thinking_types_fields[] = {
    W("adaptive", OBJ, SUPPORT, "As the model can think."),
    W("between_tools", OBJ, SUPPORT, "true of a chat model: it does not think."),
    W("disabled", OBJ, SUPPORT, "true of a chat model."),
    W("enabled", OBJ, SUPPORT, "As the model can think."),
    END};

static const struct field thinking_capability_fields[] = {
    W("supported", BOOL, NULL, "Its chat template has a way to think."),
    W("types", OBJ, REF("ThinkingTypes"), "Which of them do what they say."),
    END};

static const struct field capabilities_fields[] = {
    W("batch", OBJ, SUPPORT, "false: batches are those of OpenAI's API."),
    W("citations", OBJ, SUPPORT, "false"),
    W("code_execution", OBJ, SUPPORT, "false"),
    W("compaction", OBJ, REF("CompactionCapability"), "None."),
    W("context_management", OBJ, REF("ContextManagementCapability"), "None."),
    W("effort", OBJ, REF("EffortCapability"), "How much it thinks."),
    W("image_input", OBJ, SUPPORT, "false: models on this machine read text."),
    W("pdf_input", OBJ, SUPPORT, "false"),
    W("server_tools", OBJ, REF("ServerToolsCapability"), "None."),
    W("structured_outputs", OBJ, SUPPORT, "true of a chat model: a grammar sees to it."),
    W("thinking", OBJ, REF("ThinkingCapability"), "Whether and how it thinks."),
    END};

const struct schema anthropic_schemas[] = {
    {"MessagesRequest", "Body of POST /v1/messages.", messages_fields, NULL},
    {"MessagesTurn", "A turn of the conversation.", turn_fields, NULL},
    {"MessagesBlock", "A part of a turn.", block_fields, NULL},
    {"MessagesSource", "The content of a picture or a document.", source_fields, NULL},
    {"MessagesTool", "Something that the model may call.", anthropic_tool_fields, NULL},
    {"MessagesToolChoice", "Whether and which tool must be called.", tool_choice_fields, NULL},
    {"MessagesThinking", "Whether the model thinks before it answers.", thinking_fields, NULL},
    {"MessagesOutputConfig", "Effort and format of the answer.", output_config_fields, NULL},
    {"MessagesOutputFormat", "The format of the answer.", output_format_fields, NULL},
    {"MessagesAnswer", "The whole answer. A stream tells it in events: message_start; content_block_start, content_block_delta and content_block_stop for each block; message_delta; message_stop.", answer_fields, NULL},
    {"MessagesUsage", "Tokens taken in and given out.", usage_fields, NULL},
    {"CountTokensRequest", "Body of POST /v1/messages/count_tokens.", count_fields, NULL},
    {"CountTokensAnswer", "How many tokens the prompt has.", count_answer_fields, NULL},
    {"ModelCapabilities", "What a model can do at POST /v1/messages; an embedding model: nothing.", capabilities_fields, NULL},
    {"CapabilitySupport", "Whether it can.", support_fields, NULL},
    {"CompactionCapability", "Summaries of what was said.", compaction_fields, NULL},
    {"ContextManagementCapability", "What is forgotten of a long conversation.", context_management_fields, NULL},
    {"EffortCapability", "Which values of `output_config.effort` make a difference.", effort_fields, NULL},
    {"ServerToolsCapability", "Tools that Anthropic's servers run.", server_tools_fields, NULL},
    {"ThinkingCapability", "Whether it thinks before it answers.", thinking_capability_fields, NULL},
    {"ThinkingTypes", "Values of `thinking.type`.", thinking_types_fields, NULL},
    {NULL, NULL, NULL, NULL}};
