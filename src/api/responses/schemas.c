/* Every object that the Responses API reads or writes; see fields.h for what a column means. */
#include <limits.h>

#include "api/responses/responses.h"
#include "api/responses/responses_int.h"
#include "api/tables.h"

/* clang-format off */

/* ---- requests ------------------------------------------------------------------------------ */

#define S response_fields
const struct field response_fields[] = {
    R("input", JSON, REQ, 0, 0, "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":" REF("ResponseItem") "}]}", input, "What is said: a text, or items."),
    R("model", STR, 0, 0, 0, NULL, model, "Model that answers; absent or \"\" is the default model."),
    R("instructions", STR, 0, 0, 0, NULL, instructions, "System prompt of this response alone: those that go on from it send their own."),
    R("previous_response_id", STR, 0, 0, 0, NULL, previous_response_id, "A kept response that this one goes on from, with all that was said before it."),
    R("stream", BOOL, 0, 0, 0, NULL, stream, "Send the response as server-sent events while it is written."),
    R("stream_options", OBJ, 0, 0, 0, "{\"type\":\"object\"}", stream_options, "Only with `stream`; no option has an effect."),
    R("store", JSON, 0, 0, 0, "{\"type\":\"boolean\"}", store, "Whether it is kept, to be fetched or gone on from later. Absent: true."),
    R("background", BOOL, 0, 0, 0, NULL, background, "Answer at once and generate afterwards, also if the hub is started anew meanwhile; GET fetches it."),
    R("metadata", OBJ, 0, 0, 0, "{\"type\":\"object\",\"maxProperties\":16,\"additionalProperties\":{\"type\":\"string\",\"maxLength\":512}}", metadata, "Up to 16 texts that are kept with it."),
    R("tools", ARR, 0, 0, 0, "{\"type\":\"array\",\"maxItems\":512,\"items\":" REF("ResponseTool") "}", tools, "Functions that the model may call."),
    R("tool_choice", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\",\"enum\":[\"auto\",\"none\",\"required\"]},{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{\"type\":{\"type\":\"string\",\"enum\":[\"function\",\"custom\",\"allowed_tools\"]},\"name\":{\"type\":\"string\"}}}]}", tool_choice, "Whether and which tool must be called, or which ones may."),
    R("parallel_tool_calls", BOOL, 0, 0, 0, NULL, parallel_tool_calls, "Whether one response may call several tools. Absent: true."),
    R("max_tool_calls", INT, 0, 1, INT_MAX, NULL, max_tool_calls, "Repeated in the response; tools are called by the client here."),
    R("text", OBJ, 0, 0, 0, REF("ResponseText"), text, "Constrains the text to JSON, or to a JSON schema."),
    R("reasoning", OBJ, 0, 0, 0, REF("ResponseReasoning"), reasoning, "How much a reasoning model thinks, and how that is told."),
    R("include", ARR, 0, 0, 0, LIST("{\"type\":\"string\"}"), include, "message.output_text.logprobs and reasoning.encrypted_content; others have no effect."),
    R("max_output_tokens", INT, 0, -1, TOKENS_MAX, NULL, max_output_tokens, "Most tokens of the response, thoughts included; -1 is as many as fit. Absent: the setting DEFAULT_MAX_TOKENS."),
    R("temperature", NUM, 0, 0, 100, NULL, temperature, "Randomness; 0 always takes the likeliest token. Absent: the setting DEFAULT_TEMPERATURE."),
    R("top_p", NUM, 0, 0, 1, NULL, top_p, "Choose among the likeliest tokens that together have this probability; 1 is off. Absent: the setting DEFAULT_TOP_P."),
    R("top_logprobs", INT, 0, 0, GEN_TOP_LOGPROBS_MAX, NULL, top_logprobs, "Alternatives to return for each token; see `include`."),
    R("truncation", STR, 0, 0, 0, WORDS("\"disabled\",\"auto\""), truncation, "When the context is full while the response is written: disabled ends it as `incomplete`, auto forgets the oldest text and goes on."),
    R("user", STR, 0, 0, 0, NULL, user, "Repeated in the response."),
    R("safety_identifier", STR, 0, 0, 0, NULL, safety_identifier, "Repeated in the response."),
    R("prompt_cache_key", STR, 0, 0, 0, NULL, prompt_cache_key, "Repeated in the response: prompts are always cached."),
    R("conversation", JSON, 0, 0, 0, "{\"not\":{}}", conversation, "Refused: use `previous_response_id`."),
    R("prompt", JSON, 0, 0, 0, "{\"not\":{}}", prompt, "Refused: use `instructions`."),
    R("top_k", INT, 0, -1, TOKENS_MAX, NULL, top_k, "Choose among this many of the likeliest tokens; 0 or -1 is off. Absent: 40."),
    R("min_p", NUM, 0, 0, 1, NULL, min_p, "Leave out tokens less likely than this share of the likeliest one; 0 is off. Absent: 0.05."),
    R("seed", INT, 0, 0, 0, NULL, seed, "The same seed and request give the same response; -1 is a random one."),
    R("chat_template_kwargs", OBJ, 0, 0, 0, NULL, template_kwargs, "Further variables for the model's chat template."),
    CALL_GEN_TERMS_FIELDS,
    IGNORED("service_tier", "Accepted, no effect."),
    IGNORED("prompt_cache_retention", "Accepted, no effect."),
    END};
#undef S

#define S response_text_fields
const struct field response_text_fields[] = {
    R("format", OBJ, 0, 0, 0, REF("ResponseTextFormat"), format, "What the text must look like."),
    R("verbosity", STR, 0, 0, 0, NULL, verbosity, "Repeated in the response."),
    END};
#undef S

#define S response_format_fields
const struct field response_format_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"text\",\"json_object\",\"json_schema\""), type, "text, any JSON object, or JSON that matches a schema."),
    R("name", STR, 0, 0, 0, NULL, name, "What the format is called; required with a schema."),
    R("schema", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", schema, "The JSON schema; every response matches it."),
    IGNORED("strict", "Accepted; responses are always strict."),
    IGNORED("description", "Accepted, no effect."),
    END};
#undef S

#define S response_reasoning_fields
const struct field response_reasoning_fields[] = {
    R("effort", STR, 0, 0, 0, NULL, effort, "Handed to the chat template; \"none\" also switches thinking off in models that can."),
    R("summary", STR, 0, 0, 0, NULL, summary, "Given, thoughts come as a summary's text (all of them), else as reasoning_text."),
    IGNORED("generate_summary", "Accepted, no effect."),
    END};
#undef S

#define S response_tool_fields
const struct field response_tool_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"function\",\"custom\",\"namespace\""), type, "function; custom: one that takes plain text; namespace: several under one name. Others are refused (unsupported)."),
    R("name", STR, 0, 0, 0, "{\"type\":\"string\",\"pattern\":\"^[a-zA-Z0-9_.-]{1,64}$\"}", name, "Unique among the tools."),
    R("description", STR, 0, 0, 0, NULL, description, "Tells the model when and how to call it."),
    R("parameters", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", parameters, "JSON schema of its arguments."),
    R("strict", JSON, 0, 0, 0, NULLABLE("boolean"), strict, "The arguments must match the schema exactly. Absent: true."),
    R("tools", ARR, 0, 0, 0, LIST("{\"type\":\"object\"}"), tools, "Of a namespace: its functions and custom tools. The model knows them as `namespace__name`, their calls have both apart."),
    IGNORED("format", "Of a custom tool; accepted, no effect."),
    END};
#undef S

/* ---- items and responses ---------------------------------------------------------------------- */

static const struct field item_fields[] = {
    W("type", STR, WORDS("\"message\",\"reasoning\",\"function_call\",\"function_call_output\",\"custom_tool_call\",\"custom_tool_call_output\",\"item_reference\""), "What it is; only messages may leave it out."),
    W_OPT("id", STR, NULL, "Its id; made here when absent. Of an item_reference: the kept item that is meant."),
    W_OPT("status", STR, WORDS("\"in_progress\",\"completed\",\"incomplete\""), "How far it is."),
    W_OPT("role", STR, WORDS("\"user\",\"assistant\",\"system\",\"developer\""), "Of a message: who speaks."),
    W_OPT("content", JSON, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"object\"}") "]}", "Of a message: its text, or parts of type input_text, input_image (with an image_url) or output_text; of reasoning: parts of type reasoning_text."),
    W_OPT("summary", ARR, LIST("{\"type\":\"object\"}"), "Of reasoning: parts of type summary_text."),
    W_OPT("encrypted_content", STR, NULL, "Of reasoning: what is to be sent back with it."),
    W_OPT("call_id", STR, NULL, "Of a call and its output: names the call."),
    W_OPT("name", STR, NULL, "Of a call: the tool's name."),
    W_OPT("namespace", STR, NULL, "Of a call: the namespace of its tool, if it is in one."),
    W_OPT("arguments", STR, NULL, "Of a function_call: JSON text of an object."),
    W_OPT("input", STR, NULL, "Of a custom_tool_call: its text."),
    W_OPT("output", JSON, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"object\"}") "]}", "Of a call's output: what the tool said."),
    END};

static const struct field usage_fields[] = {
    W("input_tokens", INT, NULL, "Read."),
    W("input_tokens_details", OBJ, "{\"type\":\"object\",\"properties\":{\"cache_write_tokens\":{\"type\":\"integer\"},\"cached_tokens\":{\"type\":\"integer\"}}}", "Of those, found in the cache (cached_tokens); keeping them costs nothing (cache_write_tokens: 0)."),
    W("output_tokens", INT, NULL, "Generated."),
    W("output_tokens_details", OBJ, "{\"type\":\"object\",\"properties\":{\"reasoning_tokens\":{\"type\":\"integer\"}}}", "Of those, spent on thinking."),
    W("total_tokens", INT, NULL, "Their sum."),
    END};

#define STATES "{\"type\":\"string\",\"enum\":[\"queued\",\"in_progress\",\"completed\",\"incomplete\",\"failed\",\"cancelled\"]}"

static const struct field answer_fields[] = {
    W("id", STR, NULL, "Of this response."),
    W("object", STR, CONST_OF("response"), "response"),
    W("created_at", INT, NULL, "Unix seconds."),
    W("status", STR, STATES, "queued and in_progress only in the background."),
    W("background", BOOL, NULL, "As asked."),
    W("completed_at", JSON, NULLABLE("integer"), "Unix seconds."),
    W("error", JSON, "{\"type\":[\"object\",\"null\"],\"properties\":{\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"}}}", "Of one that failed."),
    W("incomplete_details", JSON, "{\"type\":[\"object\",\"null\"],\"properties\":{\"reason\":{\"type\":\"string\"}}}", "Why it was cut: max_output_tokens (or the context) ran out."),
    W("model", STR, NULL, "The model that answered."),
    W("output", ARR, LIST(REF("ResponseItem")), "What came of it: reasoning, messages and calls."),
    W("store", BOOL, NULL, "Whether it is kept."),
    W("usage", JSON, "{\"oneOf\":[" REF("ResponseUsage") ",{\"type\":\"null\"}]}", "Tokens, at the end."),
    W("instructions", JSON, NULLABLE("string"), "As asked; so are the members that are not listed here."),
    W("metadata", OBJ, NULL, "As asked."),
    END};

static const struct field chunk_fields[] = {
    W("type", STR, NULL, "response.created, .in_progress, .output_item.added, .content_part.added, .output_text.delta, .output_text.done, .reasoning_text.delta, .function_call_arguments.delta, ..., .completed, .incomplete or .failed."),
    W("sequence_number", INT, NULL, "Its place in the stream, from 0."),
    W_OPT("response", OBJ, REF("Response"), "Of events of the whole response."),
    W_OPT("output_index", INT, NULL, "Which item of the output it is about."),
    W_OPT("item_id", STR, NULL, "Its id."),
    W_OPT("content_index", INT, NULL, "Which part of it."),
    W_OPT("item", OBJ, REF("ResponseItem"), "Of output_item events."),
    W_OPT("part", OBJ, NULL, "Of content_part events."),
    W_OPT("delta", STR, NULL, "What is added."),
    END};

static const struct field item_list_fields[] = {
    W("object", STR, CONST_OF("list"), "list"),
    W("data", ARR, LIST(REF("ResponseItem")), "The items."),
    W("first_id", JSON, NULLABLE("string"), "Id of the first one."),
    W("last_id", JSON, NULLABLE("string"), "Id of the last one: `after` goes on behind it."),
    W("has_more", BOOL, NULL, "Whether there are more."),
    END};

static const struct field deleted_fields[] = {
    W("id", STR, NULL, "What was deleted."),
    W("object", STR, NULL, "What it was."),
    W("deleted", BOOL, NULL, "true"),
    END};

const struct schema response_schemas[] = {
    {"ResponseRequest", "Body of a response. null is the same as absent; members not listed here are ignored.", response_fields, NULL},
    {"ResponseText", "How the text is written.", response_text_fields, NULL},
    {"ResponseTextFormat", "What the text must look like.", response_format_fields, NULL},
    {"ResponseReasoning", "Thinking.", response_reasoning_fields, NULL},
    {"ResponseTool", "A tool that the model may call.", response_tool_fields, NULL},
    {"ResponseItem", "Something that was said, thought or called.", item_fields, NULL},
    {"Response", "A response.", answer_fields, NULL},
    {"ResponseChunk", "One event of a streamed response.", chunk_fields, NULL},
    {"ResponseUsage", "Tokens taken in and given out.", usage_fields, NULL},
    {"ResponseItemList", "Input items.", item_list_fields, NULL},
    {"Deleted", "What was deleted.", deleted_fields, NULL},
    {NULL, NULL, NULL, NULL}};
