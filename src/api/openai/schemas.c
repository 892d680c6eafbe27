/* Every object that the OpenAI surface reads or writes, once: the strict readers, /openapi.json and
 * docs/api.md are made from these tables. See fields.h for what a column means. */
#include <limits.h>
#include <stddef.h>

#include "api/openai/openai.h"
#include "api/openai/openai_int.h"
#include "api/tables.h"

/* clang-format off */

/* ---- requests ------------------------------------------------------------------------------ */

#define S gen_fields
#define GEN_FIELDS_COMMON \
    R("model", STR, 0, 0, 0, NULL, model, "Model that answers; absent or \"\" is the default model."), \
    R("stream", BOOL, 0, 0, 0, NULL, stream, "Send the answer as server-sent events while it is written."), \
    R("stream_options", OBJ, 0, 0, 0, REF("StreamOptions"), stream_options, "Only with `stream`."), \
    R("max_tokens", INT, 0, -1, TOKENS_MAX, NULL, max_tokens, "Most tokens of the answer; -1 is as many as fit. Absent: the setting DEFAULT_MAX_TOKENS."), \
    R("n", INT, 0, 1, GEN_N_MAX, NULL, n, "Answers to the same prompt."), \
    R("stop", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\",\"maxItems\":16,\"items\":{\"type\":\"string\",\"minLength\":1}}]}", stop, "Texts before which the answer ends: one, or a list of at most 16."), \
    R("temperature", NUM, 0, 0, 100, NULL, temperature, "Randomness; 0 always takes the likeliest token. Absent: the setting DEFAULT_TEMPERATURE."), \
    R("top_p", NUM, 0, 0, 1, NULL, top_p, "Choose among the likeliest tokens that together have this probability; 1 is off. Absent: the setting DEFAULT_TOP_P."), \
    R("top_k", INT, 0, -1, TOKENS_MAX, NULL, top_k, "Choose among this many of the likeliest tokens; 0 or -1 is off. Absent: 40."), \
    R("min_p", NUM, 0, 0, 1, NULL, min_p, "Leave out tokens less likely than this share of the likeliest one; 0 is off. Absent: 0.05."), \
    R("repeat_penalty", NUM, 0, 0, 100, NULL, repeat_penalty, "Divides the logits of tokens that were there before; above 0, 1 is off."), \
    R("repetition_penalty", NUM, FIELD_ALIAS, 0, 100, NULL, repeat_penalty, "The same as `repeat_penalty`."), \
    R("repeat_last_n", INT, 0, -1, TOKENS_MAX, NULL, repeat_last_n, "Tokens that the penalties look back; -1 is the whole context. Absent: 64."), \
    R("frequency_penalty", NUM, 0, -2, 2, NULL, frequency_penalty, "Lowers the logit of a token each time it was used."), \
    R("presence_penalty", NUM, 0, -2, 2, NULL, presence_penalty, "Lowers the logit of a token that was used at all."), \
    R("seed", INT, 0, 0, 0, NULL, seed, "The same seed and request give the same answer; -1 is a random one."), \
    R("logit_bias", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\",\"minimum\":-100,\"maximum\":100}}", logit_bias, "Token id to a number that is added to its logit; -100 forbids the token."), \
    R("ignore_eos", BOOL, 0, 0, 0, NULL, ignore_eos, "Go on to max_tokens even if the model wants to end."), \
    R("response_format", OBJ, 0, 0, 0, REF("ResponseFormat"), response_format, "Constrains the answer to JSON, or to a JSON schema."), \
    R("grammar", STR, 0, 0, 0, NULL, grammar, "Constrains the answer to a grammar (GBNF); not together with response_format or tools."), \
    R("timings", BOOL, 0, 0, 0, NULL, timings, "Add a `timings` object to the answer."), \
    CALL_GEN_TERMS_FIELDS, \
    IGNORED("user", "Accepted, no effect."), \
    IGNORED("cache_prompt", "Accepted, no effect: prompts are always cached.")

const struct field chat_fields[] = {
    R("messages", ARR, REQ, 0, 0, "{\"type\":\"array\",\"minItems\":1,\"items\":" REF("Message") "}", messages, "The conversation so far."),
    GEN_FIELDS_COMMON,
    R("max_completion_tokens", INT, 0, -1, TOKENS_MAX, NULL, max_completion_tokens, "OpenAI's newer name of `max_tokens`; wins if both are given."),
    R("tools", ARR, 0, 0, 0, "{\"type\":\"array\",\"maxItems\":512,\"items\":" REF("Tool") "}", tools, "Functions that the model may call."),
    R("tool_choice", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\",\"enum\":[\"auto\",\"none\",\"required\"]}," REF("NamedToolChoice") "]}", tool_choice, "Whether and which tool must be called."),
    R("parallel_tool_calls", BOOL, 0, 0, 0, NULL, parallel_tool_calls, "Whether one answer may call several tools. Absent: true."),
    R("logprobs", BOOL, 0, 0, 0, NULL, logprobs, "Return the log probability of each token."),
    R("top_logprobs", INT, 0, 0, GEN_TOP_LOGPROBS_MAX, NULL, top_logprobs, "Alternatives to return for each token; only with `logprobs`."),
    R("reasoning_format", STR, 0, 0, 0, WORDS("\"auto\",\"deepseek\",\"none\""), reasoning_format, "auto and deepseek: a reasoning model's thoughts come as `reasoning_content`; none: they stay in the text."),
    R("reasoning_effort", STR, 0, 0, 0, NULL, reasoning_effort, "Handed to the chat template; \"none\" also switches thinking off in models that can."),
    R("chat_template_kwargs", OBJ, 0, 0, 0, NULL, template_kwargs, "Further variables for the model's chat template."),
    R("modalities", ARR, 0, 0, 0, LIST("{\"type\":\"string\"}"), modalities, "Only \"text\"."),
    R("functions", JSON, 0, 0, 0, "{\"not\":{}}", functions, "Refused: use `tools`."),
    R("store", JSON, 0, 0, 0, "{\"type\":\"boolean\"}", store, "true: the answer and its messages are kept, under /v1/chat/completions/{id}."),
    R("metadata", JSON, 0, 0, 0, "{\"type\":\"object\",\"maxProperties\":16,\"additionalProperties\":{\"type\":\"string\",\"maxLength\":512}}", metadata, "With `store`: up to 16 texts that are kept with it."),
    IGNORED("service_tier", "Accepted, no effect."),
    IGNORED("safety_identifier", "Accepted, no effect."),
    IGNORED("prompt_cache_key", "Accepted, no effect."),
    IGNORED("prediction", "Accepted, no effect."),
    IGNORED("verbosity", "Accepted, no effect."),
    END};

const struct field completion_fields[] = {
    R("prompt", JSON, REQ, 0, 0, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"string\"}") "," LIST(INTEGERS) "," LIST(LIST(INTEGERS)) "]}", prompt, "A text, a list of texts, a list of token ids, or a list of such lists; at most 128 prompts, each answered `n` times."),
    GEN_FIELDS_COMMON,
    R("n_predict", INT, FIELD_ALIAS, -1, TOKENS_MAX, NULL, max_tokens, "The same as `max_tokens`."),
    R("echo", BOOL, 0, 0, 0, NULL, echo, "Put the prompt in front of the answer."),
    R("logprobs", INT, 0, 0, GEN_TOP_LOGPROBS_MAX, NULL, logprobs_n, "Return the log probability of each token and of this many alternatives."),
    R("suffix", STR, 0, 0, 0, NULL, suffix, "Text behind a gap that is to be filled, as /infill does; prompts are then texts, and the model must be one for code on this machine."),
    R("best_of", INT, 0, 1, 128, NULL, best_of, "Refused unless it equals `n`."),
    END};
#undef S

#define S stream_options_fields
const struct field stream_options_fields[] = {
    R("include_usage", BOOL, 0, 0, 0, NULL, include_usage, "A last chunk with empty `choices` holds the usage."),
    IGNORED("include_obfuscation", "Accepted, no effect."),
    END};
#undef S

#define S message_fields
const struct field message_fields[] = {
    R("role", STR, REQ, 0, 0, WORDS("\"system\",\"developer\",\"user\",\"assistant\",\"tool\""), role, "Who speaks; developer is the same as system."),
    R("content", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":" REF("ContentPart") "},{\"type\":\"null\"}]}", content, "The text, or a list of parts: texts (joined with newlines) and, of users and tools, pictures. null only in an assistant message with tool_calls."),
    R("name", STR, 0, 0, 0, NULL, name, "Of the participant or tool, for templates that use it."),
    R("tool_calls", ARR, 0, 0, 0, LIST(REF("ToolCall")), tool_calls, "Only in assistant messages: the tools it called."),
    R("tool_call_id", STR, 0, 0, 0, NULL, tool_call_id, "Required in tool messages: which call this is the answer to."),
    R("reasoning_content", STR, 0, 0, 0, NULL, reasoning, "Of an assistant message: what it thought before."),
    R("reasoning", STR, FIELD_ALIAS, 0, 0, NULL, reasoning, "The same as `reasoning_content`."),
    END};
#undef S

#define S part_fields
const struct field part_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"text\",\"refusal\",\"image_url\""), type, "text or image_url; sound and files are refused (unsupported)."),
    R("text", STR, 0, 0, 0, NULL, text, "The text."),
    R("image_url", JSON, 0, 0, 0, "{\"oneOf\":[" REF("ImageUrl") ",{\"type\":\"string\"}]}", image_url, "The picture of a part of type image_url."),
    R("refusal", STR, 0, 0, 0, NULL, refusal, "Of a part of type refusal."),
    END};
#undef S

#define S image_url_fields
const struct field image_url_fields[] = {
    R("url", STR, REQ, 0, 0, NULL, url, "data:image/png;base64,... (PNG, JPEG, GIF, WebP), or an http(s) address, which the provider fetches."),
    R("detail", STR, 0, 0, 0, WORDS("\"auto\",\"low\",\"high\""), detail, "Accepted, no effect."),
    END};
#undef S

#define S tool_call_fields
const struct field tool_call_fields[] = {
    R("id", STR, 0, 0, 0, NULL, id, "Names the call; the tool's answer repeats it."),
    R("type", STR, 0, 0, 0, CONST_OF("function"), type, "function"),
    R("function", OBJ, REQ, 0, 0, REF("ToolCallFunction"), function, "What is called."),
    END};
#undef S

#define S tool_call_function_fields
const struct field tool_call_function_fields[] = {
    R("name", STR, REQ, 0, 0, NULL, name, "The tool's name."),
    R("arguments", STR, 0, 0, 0, NULL, arguments, "JSON text of an object."),
    END};
#undef S

#define S tool_fields
const struct field tool_fields[] = {
    R("type", STR, REQ, 0, 0, CONST_OF("function"), type, "function"),
    R("function", OBJ, REQ, 0, 0, REF("Function"), function, "The function."),
    END};
#undef S

#define S function_fields
const struct field function_fields[] = {
    R("name", STR, REQ, 0, 0, "{\"type\":\"string\",\"pattern\":\"^[a-zA-Z0-9_.-]{1,64}$\"}", name, "Unique among the tools."),
    R("description", STR, 0, 0, 0, NULL, description, "Tells the model when and how to call it."),
    R("parameters", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", parameters, "JSON schema of its arguments."),
    R("strict", BOOL, 0, 0, 0, NULL, strict, "The arguments must match the schema exactly."),
    END};
#undef S

#define S format_fields
const struct field format_fields[] = {
    R("type", STR, REQ, 0, 0, WORDS("\"text\",\"json_object\",\"json_schema\""), type, "text, any JSON object, or JSON that matches a schema."),
    R("json_schema", OBJ, 0, 0, 0, REF("JsonSchemaFormat"), json_schema, "Required with type json_schema."),
    R("schema", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", schema, "A JSON schema, with type json_object."),
    END};
#undef S

#define S json_schema_fields
const struct field json_schema_fields[] = {
    R("name", STR, REQ, 0, 0, "{\"type\":\"string\",\"pattern\":\"^[a-zA-Z0-9_-]{1,64}$\"}", name, "What the format is called."),
    R("schema", OBJ, REQ, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", schema, "The JSON schema; every answer matches it."),
    IGNORED("strict", "Accepted; answers are always strict."),
    IGNORED("description", "Accepted, no effect."),
    END};
#undef S

#define S embed_fields
const struct field embed_fields[] = {
    R("input", JSON, REQ, 0, 0, "{\"oneOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\",\"maxItems\":2048,\"items\":{\"type\":\"string\",\"minLength\":1}}," LIST(INTEGERS) ",{\"type\":\"array\",\"maxItems\":2048,\"items\":" LIST(INTEGERS) "}]}", input, "A text, a list of texts, a list of token ids, or a list of such lists; at most 2048 inputs, none empty."),
    R("model", STR, 0, 0, 0, NULL, model, "Embedding model; absent or \"\" is the default one."),
    R("encoding_format", STR, 0, 0, 0, WORDS("\"float\",\"base64\""), encoding_format, "Numbers, or base64 of little-endian 32-bit floats."),
    R("dimensions", INT, 0, 1, INT32_MAX, NULL, dimensions, "Cut the vectors to this many numbers and make their length 1 again; at most what the model gives."),
    CALL_TERMS_FIELDS,
    IGNORED("user", "Accepted, no effect."),
    END};
#undef S

#define S rerank_fields
const struct field rerank_fields[] = {
    R("query", STR, REQ, 0, 0, NULL, query, "What is looked for."),
    R("documents", ARR, REQ, 0, 0, "{\"type\":\"array\",\"minItems\":1,\"maxItems\":2048,\"items\":{\"oneOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"object\",\"required\":[\"text\"],\"properties\":{\"text\":{\"type\":\"string\"}}}]}}", documents, "Texts, or objects with a `text`; at most 2048, none empty."),
    R("model", STR, 0, 0, 0, NULL, model, "Rerank model; absent or \"\" is the default one."),
    R("top_n", INT, 0, 1, INT32_MAX, NULL, top_n, "Return only this many, the best ones; absent: all."),
    R("return_documents", BOOL, 0, 0, 0, NULL, return_documents, "Repeat the documents in the answer."),
    R("raw_scores", BOOL, 0, 0, 0, NULL, raw_scores, "Scores as the model gives them (logits), instead of 0 to 1."),
    CALL_TERMS_FIELDS,
    IGNORED("max_tokens_per_doc", "Accepted, no effect."),
    IGNORED("rank_fields", "Accepted, no effect."),
    END};
#undef S

static const struct field named_choice_fields[] = {
    W("type", STR, CONST_OF("function"), "function"),
    W("function", OBJ, "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"}}}", "The tool that must be called."),
    END};

/* ---- answers ------------------------------------------------------------------------------- */

static const struct field usage_fields[] = {
    W("prompt_tokens", INT, NULL, "Counted once, however many answers."),
    W("completion_tokens", INT, NULL, "Of all answers."),
    W("total_tokens", INT, NULL, "Their sum."),
    W_OPT("prompt_tokens_details", OBJ, "{\"type\":\"object\",\"properties\":{\"cached_tokens\":{\"type\":\"integer\"}}}", "Of the prompt, found in the cache."),
    W_OPT("completion_tokens_details", OBJ, "{\"type\":\"object\",\"properties\":{\"reasoning_tokens\":{\"type\":\"integer\"}}}", "Of the answers, spent on thinking."),
    END};

static const struct field timings_fields[] = {
    W("queue_ms", NUM, NULL, "Waited in the queue."),
    W("cache_n", INT, NULL, "Prompt tokens found in the cache."),
    W("prompt_n", INT, NULL, "Prompt tokens computed."),
    W("prompt_ms", NUM, NULL, "Time for those."),
    W("prompt_per_second", NUM, NULL, "Their rate."),
    W("predicted_n", INT, NULL, "Tokens generated."),
    W("predicted_ms", NUM, NULL, "Time for those."),
    W("predicted_per_second", NUM, NULL, "Their rate."),
    END};

static const struct field token_logprob_fields[] = {
    W("token", STR, NULL, "Its text."),
    W("logprob", NUM, NULL, "Natural logarithm of its probability; -9999 when it is 0."),
    W("bytes", ARR, LIST("{\"type\":\"integer\"}"), "Its bytes: a token may be a part of a character."),
    W_OPT("top_logprobs", ARR, LIST(REF("TokenLogprob")), "The likeliest alternatives."),
    END};

static const struct field choice_logprobs_fields[] = {
    W("content", ARR, LIST(REF("TokenLogprob")), "One for each token."),
    W("refusal", JSON, "{\"type\":\"null\"}", "Always null."),
    END};

static const struct field answer_message_fields[] = {
    W("role", STR, CONST_OF("assistant"), "assistant"),
    W("content", JSON, NULLABLE("string"), "The text; null when there are only tool calls."),
    W("refusal", JSON, "{\"type\":\"null\"}", "Always null."),
    W_OPT("reasoning_content", STR, NULL, "What a reasoning model thought before."),
    W_OPT("tool_calls", ARR, LIST(REF("ToolCall")), "Tools it wants called."),
    END};

#define FINISH_WORDS "{\"type\":[\"string\",\"null\"],\"enum\":[\"stop\",\"length\",\"tool_calls\",null]}"
#define LOGPROBS_OR_NULL "{\"oneOf\":[" REF("ChoiceLogprobs") ",{\"type\":\"null\"}]}"

static const struct field chat_choice_fields[] = {
    W("index", INT, NULL, "0 .. n-1"),
    W("message", OBJ, REF("AnswerMessage"), "The answer."),
    W("logprobs", JSON, LOGPROBS_OR_NULL, "If asked for."),
    W("finish_reason", STR, FINISH_WORDS, "stop: the model ended or a stop text came; length: max_tokens or the context ran out."),
    END};

#define ANSWER_HEAD(kind) \
    W("id", STR, NULL, "Of this answer."), \
    W("object", STR, CONST_OF(kind), kind), \
    W("created", INT, NULL, "Unix seconds."), \
    W("model", STR, NULL, "The model that answered."), \
    W("system_fingerprint", STR, NULL, "Changes with the hub's version.")

static const struct field chat_completion_fields[] = {
    ANSWER_HEAD("chat.completion"),
    W("choices", ARR, LIST(REF("ChatChoice")), "The answers, n of them."),
    W("usage", OBJ, REF("Usage"), "Tokens."),
    W_OPT("timings", OBJ, REF("Timings"), "If asked for."),
    END};

static const struct field delta_fields[] = {
    W_OPT("role", STR, CONST_OF("assistant"), "In the first chunk of an answer."),
    W_OPT("content", STR, NULL, "Text to append."),
    W_OPT("reasoning_content", STR, NULL, "Thought to append."),
    W_OPT("tool_calls", ARR, LIST(REF("ToolCallDelta")), "Calls, piece by piece."),
    END};

static const struct field tool_call_delta_fields[] = {
    W("index", INT, NULL, "Which call this is a piece of."),
    W_OPT("id", STR, NULL, "In a call's first piece."),
    W_OPT("type", STR, CONST_OF("function"), "In a call's first piece."),
    W("function", OBJ, "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"arguments\":{\"type\":\"string\"}}}", "The name once, the arguments' text in fragments."),
    END};

static const struct field chunk_choice_fields[] = {
    W("index", INT, NULL, "0 .. n-1"),
    W("delta", OBJ, REF("Delta"), "What is new."),
    W("logprobs", JSON, LOGPROBS_OR_NULL, "If asked for."),
    W("finish_reason", STR, FINISH_WORDS, "In the last chunk of an answer."),
    END};

static const struct field chat_chunk_fields[] = {
    ANSWER_HEAD("chat.completion.chunk"),
    W("choices", ARR, LIST(REF("ChatChunkChoice")), "One piece of one answer; empty in the chunk of the usage."),
    W_OPT("usage", JSON, "{\"oneOf\":[" REF("Usage") ",{\"type\":\"null\"}]}", "With include_usage: null in every chunk but the last."),
    W_OPT("timings", OBJ, REF("Timings"), "In the last chunk, if asked for."),
    END};

static const struct field completion_choice_fields[] = {
    W("index", INT, NULL, "Prompt by prompt, n of each."),
    W("text", STR, NULL, "The answer, or a piece of it in a stream."),
    W("logprobs", JSON, "{\"oneOf\":[" REF("CompletionLogprobs") ",{\"type\":\"null\"}]}", "If asked for."),
    W("finish_reason", STR, FINISH_WORDS, "As in chats."),
    END};

static const struct field completion_logprobs_fields[] = {
    W("tokens", ARR, LIST("{\"type\":\"string\"}"), "Texts of the tokens."),
    W("token_logprobs", ARR, LIST("{\"type\":\"number\"}"), "Their log probabilities."),
    W("top_logprobs", ARR, LIST("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\"}}"), "For each token: alternatives and theirs."),
    W("text_offset", ARR, LIST("{\"type\":\"integer\"}"), "Characters of the text before each token."),
    END};

static const struct field completion_answer_fields[] = {
    ANSWER_HEAD("text_completion"),
    W("choices", ARR, LIST(REF("CompletionChoice")), "The answers, or one piece of one in a stream."),
    W_OPT("usage", JSON, "{\"oneOf\":[" REF("Usage") ",{\"type\":\"null\"}]}", "Tokens; in a stream as in chats."),
    W_OPT("timings", OBJ, REF("Timings"), "If asked for."),
    END};

static const struct field embedding_fields[] = {
    W("object", STR, CONST_OF("embedding"), "embedding"),
    W("index", INT, NULL, "Which input."),
    W("embedding", JSON, "{\"oneOf\":[" LIST("{\"type\":\"number\"}") ",{\"type\":\"string\",\"contentEncoding\":\"base64\"}]}", "The vector, of length 1."),
    END};

static const struct field embeddings_answer_fields[] = {
    W("object", STR, CONST_OF("list"), "list"),
    W("data", ARR, LIST(REF("Embedding")), "One for each input, in order."),
    W("model", STR, NULL, "The model that answered."),
    W("usage", OBJ, "{\"type\":\"object\",\"properties\":{\"prompt_tokens\":{\"type\":\"integer\"},\"total_tokens\":{\"type\":\"integer\"}}}", "Tokens."),
    END};

static const struct field rerank_result_fields[] = {
    W("index", INT, NULL, "Which document of the request."),
    W("relevance_score", NUM, NULL, "How well it answers the query: 0 to 1, or the model's own scale with `raw_scores`."),
    W_OPT("document", OBJ, "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}", "With `return_documents`."),
    END};

static const struct field rerank_answer_fields[] = {
    W("id", STR, NULL, "Of this answer."),
    W("object", STR, CONST_OF("list"), "list"),
    W("model", STR, NULL, "The model that answered."),
    W("results", ARR, LIST(REF("RerankResult")), "The best first."),
    W("usage", OBJ, "{\"type\":\"object\",\"properties\":{\"prompt_tokens\":{\"type\":\"integer\"},\"total_tokens\":{\"type\":\"integer\"}}}", "Tokens."),
    W("meta", OBJ, NULL, "What Cohere's clients look for; nothing is billed."),
    END};

static const struct field model_meta_fields[] = {
    W("state", STR, WORDS("\"on_disk\",\"loading\",\"ready\",\"failed\",\"quarantined\""), "Whether it is in memory."),
    W("kind", STR, WORDS("\"chat\",\"completion\",\"embedding\",\"rerank\",\"adapter\""), "What it is for."),
    W_OPT("arch", STR, NULL, "Architecture. An adapter has only state, kind, rank and size."),
    W_OPT("quant", STR, NULL, "Quantisation."),
    W_OPT("context", INT, NULL, "Tokens it was trained for."),
    W_OPT("rank", INT, NULLABLE("integer"), "Of an adapter."),
    W_OPT("context_loaded", INT, NULL, "Tokens it has room for now, when it is ready."),
    W_OPT("adapters", ARR, LIST("{\"type\":\"string\"}"), "Adapters that belong to it."),
    W_OPT("slots", INT, NULL, "In memory: requests that it computes together."),
    W_OPT("running", INT, NULL, "In memory: requests that it is computing."),
    W_OPT("waiting", INT, NULL, "In memory: requests that wait for it."),
    W_OPT("progress", NUM, NULL, "In memory or on its way there: 0 to 1."),
    W_OPT("leaving", BOOL, NULL, "In memory or on its way there: it goes as soon as its requests have ended."),
    W_OPT("waits_for", STR, NULL, "While it is loading: the model that has to finish first, so that there is room."),
    W_OPT("keep_alive_ms", INT, NULLABLE("integer"), "In memory: how long it stays after its last request; null or below 0: for ever."),
    W_OPT("expires_in_ms", INT, NULLABLE("integer"), "In memory: when it goes if nobody asks for it; null: never."),
    W_OPT("memory", OBJ, REF("ModelMemory"), "In memory: what it takes."),
    W_OPT("loads", INT, NULL, "How often it was loaded."),
    W_OPT("last_used_ms_ago", INT, NULLABLE("integer"), "Since its last request."),
    W_OPT("error", STR, NULL, "Why it could not be loaded."),
    W_OPT("n_params", INT, NULL, "Parameters."),
    W_OPT("n_embd", INT, NULL, "Width of its embeddings."),
    W_OPT("size", INT, NULL, "Bytes of the file."),
    W_OPT("tools", BOOL, NULL, "Its chat template knows tools."),
    W_OPT("builtin", BOOL, NULL, "It came with the hub."),
    END};

static const struct field model_fields[] = {
    W("id", STR, NULL, "The name to use as `model`."),
    W("object", STR, CONST_OF("model"), "model"),
    W("created", INT, NULL, "Unix seconds: when its file was written."),
    W("owned_by", STR, CONST_OF("hearth"), "hearth"),
    W("type", STR, CONST_OF("model"), "model; this and what follows, up to `retires_at`, is for Anthropic's clients."),
    W("display_name", STR, NULL, "The same as `id`."),
    W("created_at", STR, NULL, "As `created`, in RFC 3339."),
    W("capabilities", OBJ, REF("ModelCapabilities"), "What it can do at /v1/messages; an adapter: what its model can."),
    W("allowed_fallback_models", ARR, LIST("{\"type\":\"string\"}"), "Always empty: `fallbacks` is not supported."),
    W("deprecated_at", JSON, NULLABLE("string"), "Always null."),
    W("lifecycle", STR, CONST_OF("active"), "active: a file that is here can be used."),
    W("line", JSON, NULLABLE("string"), "Always null."),
    W("max_input_tokens", INT, NULLABLE("integer"), "Its context, when it is in memory; else null: it is known when it has been loaded."),
    W("max_tokens", INT, NULLABLE("integer"), "The same, of a chat model."),
    W("retires_at", JSON, NULLABLE("string"), "Always null."),
    W_OPT("parent", STR, NULL, "Of an adapter: the model that it changes."),
    W("meta", OBJ, REF("ModelMeta"), "Details that OpenAI's API doesn't have."),
    END};

static const struct field model_list_fields[] = {
    W("object", STR, CONST_OF("list"), "list"),
    W("data", ARR, LIST(REF("Model")), "The built-in ones first, adapters last."),
    W("has_more", BOOL, NULL, "false: all are on this page. This and the next two are for Anthropic's clients."),
    W("first_id", STR, NULLABLE("string"), "The first one's."),
    W("last_id", STR, NULLABLE("string"), "The last one's."),
    W_OPT("memory", OBJ, "{\"type\":\"object\",\"properties\":{\"budget\":{\"type\":\"integer\"},\"used\":{\"type\":\"integer\"},\"devices\":{\"type\":\"array\"}}}", "Bytes that all models together may take and do take, and each device's."),
    END};

static const struct field error_fields[] = {
    W("message", STR, NULL, "What is wrong, with which value, and what to do."),
    W("type", STR, NULL, "Class of the error, by status."),
    W("param", STR, NULLABLE("string"), "JSON pointer of the member of the body that is wrong, or the header's name."),
    W("code", STR, NULL, "Stable name of the error."),
    W("request_id", STR, NULLABLE("string"), "Also the header X-Request-Id."),
    END};

static const struct field error_body_fields[] = {
    W("error", OBJ, REF("ErrorDetail"), "The error."),
    END};

#define S stored_change_fields
const struct field stored_change_fields[] = {
    R("metadata", OBJ, REQ, 0, 0, "{\"type\":\"object\",\"maxProperties\":16,\"additionalProperties\":{\"type\":\"string\",\"maxLength\":512}}", metadata, "Texts that are kept with it, instead of those there were."),
    END};
#undef S

#define STORED_LIST(item, what) \
    W("object", STR, CONST_OF("list"), "list"), \
    W("data", ARR, LIST(item), what), \
    W("first_id", JSON, NULLABLE("string"), "Id of the first one."), \
    W("last_id", JSON, NULLABLE("string"), "Id of the last one: `after` goes on behind it."), \
    W("has_more", BOOL, NULL, "Whether there are more."), \
    END

static const struct field stored_list_fields[] = {STORED_LIST(REF("ChatAnswer"), "The answers, each with what was asked (`temperature`, `tools`, `metadata`, ...).")};
static const struct field stored_messages_fields[] = {STORED_LIST("{\"type\":\"object\"}", "The messages, each with an `id`.")};
/* ---- routing ------------------------------------------------------------------------------- */

#define OR_NULL(what) "{\"oneOf\":[" what ",{\"type\":\"null\"}]}"

static const struct field route_class_fields[] = {
    W("tier", STR, WORDS("\"small\",\"middle\",\"large\""), "What it says."),
    W("score", NUM, NULL, "The middle of that tier's range."),
    W("model", STR, NULL, "Who says it."),
    W("error", STR, NULL, "Why there is no answer; instead of the three before."),
    W("took_ms", INT, NULL, "How long it took."),
    END};

static const struct field route_complexity_fields[] = {
    W("score", NUM, NULL, "0 to 1: what counts."),
    W("tier", STR, WORDS("\"small\",\"middle\",\"large\""), "The size of model that it asks for."),
    W("by", STR, WORDS("\"features\",\"model\""), "Whose the two are."),
    W("features_score", NUM, NULL, "The weighted sum of the features, at most 1."),
    W("features_tier", STR, WORDS("\"small\",\"middle\",\"large\""), "What the features alone ask for."),
    W("classification", OBJ, OR_NULL(REF("RouteClass")), "What the local model says (HEARTH_CLASSIFY); null where it was not asked."),
    W("low", NUM, NULL, "Below this a small one."),
    W("high", NUM, NULL, "Above this a large one."),
    W("features", OBJ, NULL, "length, code, maths, tools, turns, reasoning, format: 0 to 1 each."),
    W("weights", OBJ, NULL, "What each counts."),
    END};

static const struct field route_here_fields[] = {
    W("model", STR, NULLABLE("string"), "The model here that the name stands for."),
    W("fits", BOOL, NULL, "Whether it is in memory or can be loaded."),
    W("context", INT, NULL, "Tokens of context of one request; 0 = not known."),
    W("wait_ms", INT, NULLABLE("integer"), "How long a request that came now would wait."),
    END};

static const struct field route_price_fields[] = {
    W("input", NUM, NULL, "US dollars for a million tokens read."),
    W("output", NUM, NULL, "And written."),
    W("estimate", NUM, NULL, "US dollars for this request, with an answer of 500 tokens or what max_tokens allows."),
    END};

static const struct field route_step_fields[] = {
    W("provider", STR, NULL, "Who."),
    W("model", STR, NULL, "Which of its models."),
    W("remote", BOOL, NULL, "Whether the request would leave this machine."),
    W("why", STR, NULL, "Why it stands here."),
    W("verdict", STR, WORDS("\"answers\",\"passed over\",\"in reserve\""), "What would become of it now: it answers, it can't, or it is asked when those before it fail."),
    W("because", STR, NULLABLE("string"), "Why it would be passed over."),
    W("price", OBJ, OR_NULL(REF("RoutePrice")), "What it costs; null where no price is known, and on this machine."),
    END};

static const struct field route_answer_fields[] = {
    W("object", STR, CONST_OF("route"), "route"),
    W("route", STR, NULL, "The route's name."),
    W("goal", STR, NULL, "What mattered."),
    W("local_only", BOOL, NULL, "Whether it must stay on this machine."),
    W("prompt_tokens", INT, NULL, "Of the request, about."),
    W("complexity", OBJ, OR_NULL(REF("RouteComplexity")), "How hard it looks; null where that decides nothing."),
    W("local", OBJ, OR_NULL(REF("RouteHere")), "What this hub's own models say; null when they are not in the plan."),
    W("steps", ARR, LIST(REF("RouteStep")), "Who would be asked, in this order."),
    W("skipped", ARR, LIST("{\"type\":\"object\",\"properties\":{\"provider\":{\"type\":\"string\"},\"why\":{\"type\":\"string\"}}}"), "Who would not be, and why."),
    W("provider", STR, NULLABLE("string"), "Who would answer."),
    W("model", STR, NULLABLE("string"), "With which model."),
    W("reason", STR, NULL, "Why."),
    END};

static const struct field route_left_fields[] = {
    W("to", STR, NULL, "Providers elsewhere that were sent it, \"a,b\"; also those that then failed."),
    W("bytes", INT, NULL, "Of texts and pictures, all of them together."),
    W("messages", INT, NULL, "Of the conversation."),
    W("images", INT, NULL, "In it."),
    END};

static const struct field route_row_fields[] = {
    W("id", STR, NULL, "The request's id (X-Request-Id)."),
    W("at", STR, "{\"type\":\"string\",\"format\":\"date-time\"}", "When it came."),
    W("at_ms", INT, NULL, "The same in milliseconds since 1970."),
    W("user_id", STR, NULLABLE("string"), "Whose it was; null without accounts."),
    W("kind", STR, WORDS("\"chat\",\"completion\",\"embedding\",\"rerank\""), "What was asked for."),
    W("requested_model", STR, NULL, "The model as the client named it."),
    W("route", STR, NULL, "The route."),
    W("goal", STR, NULL, "What mattered."),
    W("provider", STR, NULL, "Who answered, or failed last."),
    W("model", STR, NULL, "Which model."),
    W("reason", STR, NULL, "Why that one, and who was tried before."),
    W("tried", STR, NULLABLE("string"), "Those before it, why and after how long they did not answer."),
    W("attempts", INT, NULL, "How many were asked."),
    W("complexity", NUM, NULLABLE("number"), "Where it was measured."),
    W("error", STR, NULLABLE("string"), "The code it failed with; null = it was answered."),
    W("prompt_tokens", INT, NULL, "Read."),
    W("cached_tokens", INT, NULL, "Of those, found in a cache."),
    W("completion_tokens", INT, NULL, "Written."),
    W("reasoning_tokens", INT, NULL, "Of those, spent on thinking."),
    W("first_token_ms", INT, NULLABLE("integer"), "From its arrival to the first token."),
    W("total_ms", INT, NULL, "To the end."),
    W("cost", NUM, NULLABLE("number"), "US dollars; null where no price is known."),
    W("left", OBJ, OR_NULL(REF("RouteLeft")), "What left this machine; null = nothing."),
    END};

static const struct field route_log_fields[] = {
    W("object", STR, CONST_OF("list"), "list"),
    W("data", ARR, LIST(REF("RouteLogRow")), "The newest first."),
    W("next_cursor", STR, NULLABLE("string"), "Ask with it for the next page (?cursor=); null at the end."),
    END};

const struct schema openai_schemas[] = {
    {"ChatRequest", "Body of a chat completion. null is the same as absent; members not listed here are ignored.", chat_fields, NULL},
    {"CompletionRequest", "Body of a raw completion. null is the same as absent; members not listed here are ignored.", completion_fields, NULL},
    {"EmbeddingRequest", "Body of an embedding request.", embed_fields, NULL},
    {"StreamOptions", "Options of a stream.", stream_options_fields, NULL},
    {"Message", "One message of a conversation.", message_fields, NULL},
    {"ContentPart", "One part of a message.", part_fields, NULL},
    {"ImageUrl", "A picture.", image_url_fields, NULL},
    {"ToolCall", "A call of a tool.", tool_call_fields, NULL},
    {"ToolCallFunction", "What is called, and with which arguments.", tool_call_function_fields, NULL},
    {"Tool", "A tool that the model may call.", tool_fields, NULL},
    {"Function", "A function.", function_fields, NULL},
    {"NamedToolChoice", "Forces a call of one tool.", named_choice_fields, NULL},
    {"ResponseFormat", "What the answer must look like.", format_fields, NULL},
    {"JsonSchemaFormat", "A JSON schema with its name.", json_schema_fields, NULL},
    {"ChatAnswer", "A whole chat completion.", chat_completion_fields, NULL},
    {"ChatChoice", "One answer.", chat_choice_fields, NULL},
    {"AnswerMessage", "What the model says.", answer_message_fields, NULL},
    {"ChatAnswerChunk", "One event of a streamed chat completion; the stream ends with the event [DONE].", chat_chunk_fields, NULL},
    {"ChatChunkChoice", "A piece of an answer.", chunk_choice_fields, NULL},
    {"Delta", "What a piece adds.", delta_fields, NULL},
    {"ToolCallDelta", "A piece of a tool call.", tool_call_delta_fields, NULL},
    {"ChoiceLogprobs", "Log probabilities of an answer's tokens.", choice_logprobs_fields, NULL},
    {"TokenLogprob", "Log probability of a token.", token_logprob_fields, NULL},
    {"StoredChange", "What changes of a stored completion.", stored_change_fields, NULL},
    {"StoredList", "Stored completions.", stored_list_fields, NULL},
    {"StoredMessages", "Messages of a stored completion.", stored_messages_fields, NULL},
    {"CompletionAnswer", "A raw completion, or one event of its stream.", completion_answer_fields, NULL},
    {"CompletionChoice", "One answer.", completion_choice_fields, NULL},
    {"CompletionLogprobs", "Log probabilities in the shape of raw completions.", completion_logprobs_fields, NULL},
    {"EmbeddingAnswer", "Embeddings of all inputs.", embeddings_answer_fields, NULL},
    {"Embedding", "One embedding.", embedding_fields, NULL},
    {"RerankRequest", "Body of a rerank request.", rerank_fields, NULL},
    {"RerankAnswer", "The documents in order.", rerank_answer_fields, NULL},
    {"RerankResult", "One document's score.", rerank_result_fields, NULL},
    {"ModelList", "All models.", model_list_fields, NULL},
    {"Model", "A model.", model_fields, NULL},
    {"ModelMeta", "What is known about a model.", model_meta_fields, NULL},
    {"Usage", "Tokens taken in and given out.", usage_fields, NULL},
    {"Timings", "How the time was spent, in milliseconds.", timings_fields, NULL},
    {"Error", "Every error looks like this, inside streams too.", error_body_fields, NULL},
    {"ErrorDetail", "What went wrong.", error_fields, NULL},
    {"RouteAnswer", "What would become of a request.", route_answer_fields, NULL},
    {"RouteComplexity", "How hard a request looks.", route_complexity_fields, NULL},
    {"RouteClass", "How hard the local model finds a request.", route_class_fields, NULL},
    {"RouteHere", "What this hub's own models say.", route_here_fields, NULL},
    {"RouteStep", "One provider of the plan.", route_step_fields, NULL},
    {"RoutePrice", "What a model costs.", route_price_fields, NULL},
    {"RouteLog", "The log of requests.", route_log_fields, NULL},
    {"RouteLogRow", "One request.", route_row_fields, NULL},
    {"RouteLeft", "What left this machine.", route_left_fields, NULL},
    {NULL, NULL, NULL, NULL}};
