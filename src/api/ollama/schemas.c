/* Every object that Ollama's surface reads or writes, once; see fields.h. */
#include <stddef.h>

#include "api/ollama/ollama_int.h"
#include "api/tables.h"

/* What a number of JSON holds exactly. */
#define SEED_MAX 9007199254740991.0

/* clang-format off */

/* ---- requests ------------------------------------------------------------------------------ */

#define ANY_OBJECT "{\"type\":\"object\",\"additionalProperties\":true}"

#define S ollama_gen_fields
#define GEN_FIELDS_COMMON \
    R("model", STR, 0, 0, 0, NULL, model, "Model that answers; `:latest` may stand behind it."), \
    R("stream", BOOL, 0, 0, 0, NULL, stream, "One JSON object a line while it is written; absent: true."), \
    R("format", JSON, 0, 0, 0, "{\"oneOf\":[{\"const\":\"json\"}," ANY_OBJECT "]}", format, "\"json\", or a JSON schema that the answer matches."), \
    R("options", OBJ, 0, 0, 0, REF("OllamaOptions"), options, "How it is generated."), \
    R("think", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"boolean\"}," WORDS("\"low\",\"medium\",\"high\"") "]}", think, "Whether, or how much, a reasoning model thinks first."), \
    R("logprobs", BOOL, 0, 0, 0, NULL, logprobs, "Return the log probability of each token."), \
    R("top_logprobs", INT, 0, 0, GEN_TOP_LOGPROBS_MAX, NULL, top_logprobs, "Alternatives to return for each token; only with `logprobs`."), \
    CALL_GEN_TERMS_FIELDS

const struct field ollama_chat_fields[] = {
    GEN_FIELDS_COMMON,
    R("messages", ARR, 0, 0, 0, LIST(REF("OllamaMessage")), messages, "The conversation so far; none loads the model, or unloads it with `keep_alive` 0."),
    R("tools", ARR, 0, 0, 0, LIST(REF("Tool")), tools, "Functions that the model may call."),
    END};

const struct field ollama_generate_fields[] = {
    GEN_FIELDS_COMMON,
    R("prompt", STR, 0, 0, 0, NULL, prompt, "What is asked; none loads the model, or unloads it with `keep_alive` 0."),
    R("suffix", STR, 0, 0, 0, NULL, suffix, "Text behind a gap that is to be filled, behind the prompt; for models for code on this machine. No system prompt, template or context takes part."),
    R("system", STR, 0, 0, 0, NULL, system, "System prompt, instead of the model's own."),
    R("template", STR, 0, 0, 0, NULL, template_text, "Chat template of this call: Go's kind, as in a Modelfile, or Jinja."),
    R("images", ARR, 0, 0, 0, LIST("{\"type\":\"string\"}"), images, "Pictures in base64."),
    R("context", ARR, 0, 0, 0, LIST(INTEGERS), context, "The `context` of an earlier answer, to go on from there."),
    R("raw", BOOL, 0, 0, 0, NULL, raw, "Continue the prompt as it is, without a template."),
    END};
#undef S

#define S ollama_options
#define OPTION(json, min, max, help) {json, FIELD_NUM, 0, min, max, NULL, help, FIELD_NOWHERE}
const struct field ollama_option_fields[] = {
    OPTION("temperature", 0, 100, "Randomness; 0 always takes the likeliest token. Absent: the model's, else DEFAULT_TEMPERATURE."),
    OPTION("top_k", -1, TOKENS_MAX, "Choose among this many of the likeliest tokens; 0 is off."),
    OPTION("top_p", 0, 1, "Choose among the likeliest tokens that together have this probability."),
    OPTION("min_p", 0, 1, "Leave out tokens less likely than this share of the likeliest one."),
    OPTION("repeat_penalty", 0, 100, "Divides the logits of tokens that were there before."),
    OPTION("repeat_last_n", -1, TOKENS_MAX, "Tokens that the penalties look back; -1 is the whole context."),
    OPTION("presence_penalty", -2, 2, "Lowers the logit of a token that was used at all."),
    OPTION("frequency_penalty", -2, 2, "Lowers the logit of a token each time it was used."),
    OPTION("seed", -SEED_MAX, SEED_MAX, "The same seed and request give the same answer; -1 is a random one."),
    OPTION("num_predict", -2, TOKENS_MAX, "Most tokens of the answer; -1 and -2: as many as fit."),
    R("stop", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"string\"}") "]}", stop, "Texts before which the answer ends, at most 16."),
    IGNORED("num_ctx", "Accepted, no effect: the context is the hub's (LLAMA_CPP_N_CTX)."),
    IGNORED("num_batch", "Accepted, no effect."),
    IGNORED("num_gpu", "Accepted, no effect."),
    IGNORED("main_gpu", "Accepted, no effect."),
    IGNORED("num_thread", "Accepted, no effect."),
    IGNORED("num_keep", "Accepted, no effect: the system prompt is always kept."),
    IGNORED("typical_p", "Accepted, no effect."),
    IGNORED("use_mmap", "Accepted, no effect."),
    END};
#undef S

#define S ollama_message_fields
const struct field ollama_message_fields[] = {
    R("role", STR, REQ, 0, 0, WORDS("\"system\",\"user\",\"assistant\",\"tool\""), role, "Who says it."),
    R("content", STR, 0, 0, 0, NULL, content, "What is said."),
    R("thinking", STR, 0, 0, 0, NULL, thinking, "Of an assistant's message: what it thought before."),
    R("images", ARR, 0, 0, 0, LIST("{\"type\":\"string\"}"), images, "Pictures in base64."),
    R("tool_calls", ARR, 0, 0, 0, LIST(REF("OllamaToolCall")), tool_calls, "Of an assistant's message: the tools it called."),
    R("tool_name", STR, 0, 0, 0, NULL, tool_name, "Of a tool's message: which tool answers."),
    R("tool_call_id", STR, 0, 0, 0, NULL, tool_call_id, "Of a tool's message: which call this is the answer to; absent: the next one that has none."),
    END};
#undef S

#define S ollama_call_fields
const struct field ollama_call_fields[] = {
    R("id", STR, 0, 0, 0, NULL, id, "Names the call."),
    R("function", OBJ, REQ, 0, 0, REF("OllamaToolCallFunction"), function, "What is called."),
    END};
#undef S

#define S ollama_function_fields
const struct field ollama_function_fields[] = {
    R("name", STR, REQ, 0, 0, NULL, name, "The tool's name."),
    R("arguments", JSON, 0, 0, 0, ANY_OBJECT, arguments, "An object."),
    W_OPT("index", INT, NULL, "In answers: which call of the answer it is."),
    END};
#undef S

#define S ollama_embed_fields
const struct field ollama_embed_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "Embedding model."),
    R("input", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"string\"}") "]}", input, "A text, or a list of at most 2048."),
    R("truncate", BOOL, 0, 0, 0, NULL, truncate, "Cut texts that are longer than the model's context; false refuses them. Absent: true."),
    R("dimensions", INT, 0, 0, INT32_MAX, NULL, dimensions, "Cut the vectors to this many numbers and make their length 1 again."),
    CALL_TERMS_FIELDS,
    IGNORED("options", "Accepted, no effect."),
    END};
const struct field ollama_embeddings_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "Embedding model."),
    R("prompt", STR, 0, 0, 0, NULL, prompt, "The text."),
    CALL_TERMS_FIELDS,
    IGNORED("options", "Accepted, no effect."),
    END};
#undef S

#define S ollama_model_fields
const struct field ollama_show_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "Which model."),
    R("name", STR, FIELD_ALIAS, 0, 0, NULL, name, "Older name of `model`."),
    R("verbose", BOOL, 0, 0, 0, NULL, verbose, "Show short lists of the metadata, too."),
    IGNORED("system", "Accepted, no effect."),
    IGNORED("template", "Accepted, no effect."),
    IGNORED("options", "Accepted, no effect."),
    END};
const struct field ollama_pull_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "What to download: a known name, a repository at Hugging Face, or an https URL."),
    R("name", STR, FIELD_ALIAS, 0, 0, NULL, name, "Older name of `model`."),
    R("stream", BOOL, 0, 0, 0, NULL, stream, "Tell the progress line by line; absent: true."),
    IGNORED("insecure", "Accepted, no effect."),
    IGNORED("username", "Accepted, no effect."),
    IGNORED("password", "Accepted, no effect."),
    END};
#undef S

#define S ollama_model_fields
const struct field ollama_create_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "Name of what is made: model:tag or namespace/model:tag. A derived model of that name is replaced."),
    R("name", STR, FIELD_ALIAS, 0, 0, NULL, name, "Older name of `model`."),
    W_OPT("from", STR, NULL, "Model whose weights it has."),
    W_OPT("files", OBJ, ANY_OBJECT, "Instead of `from`: one GGUF, {\"<name>\": \"<digest>\"} of a blob that was sent before."),
    W_OPT("adapters", OBJ, ANY_OBJECT, "A LoRA adapter, as `files`."),
    W_OPT("template", STR, NULL, "Chat template: Go's kind or Jinja."),
    W_OPT("system", STR, NULL, "System prompt of conversations that have none."),
    W_OPT("parameters", OBJ, ANY_OBJECT, "Options of requests that don't say them; see OllamaOptions."),
    W_OPT("messages", ARR, LIST(REF("OllamaMessage")), "Messages that come before every conversation."),
    W_OPT("license", JSON, "{\"oneOf\":[{\"type\":\"string\"}," LIST("{\"type\":\"string\"}") "]}", "Its licence."),
    R("modelfile", STR, 0, 0, 0, NULL, modelfile, "A Modelfile's text, instead of all above."),
    W_OPT("quantize", STR, NULL, "Refused: make it from a file that is quantised."),
    R("stream", BOOL, 0, 0, 0, NULL, stream, "Tell the progress line by line; absent: true."),
    END};
const struct field ollama_copy_fields[] = {
    R("source", STR, REQ, 0, 0, NULL, source, "A model."),
    R("destination", STR, REQ, 0, 0, NULL, destination, "Its other name."),
    END};
const struct field ollama_delete_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "Which model."),
    R("name", STR, FIELD_ALIAS, 0, 0, NULL, name, "Older name of `model`."),
    END};
#undef S

/* tools are OpenAI's, less strictly read */
#define S ollama_tool_reading
const struct field ollama_tool_fields[] = {
    R("function", OBJ, REQ, 0, 0, REF("Function"), function, "The function."),
    END};
#undef S
#define S ollama_tool_function_reading
const struct field ollama_tool_function_fields[] = {
    R("name", STR, REQ, 0, 0, NULL, name, "Unique among the tools."),
    R("description", STR, 0, 0, 0, NULL, description, "Tells the model when and how to call it."),
    R("parameters", OBJ, 0, 0, 0, ANY_OBJECT, parameters, "JSON schema of its arguments."),
    END};
#undef S

/* ---- answers ------------------------------------------------------------------------------- */

#define NUMBERS \
    W_OPT("done_reason", STR, WORDS("\"stop\",\"length\",\"load\",\"unload\""), "In the last line: why it ended."), \
    W_OPT("total_duration", INT, NULL, "In the last line, like all below: nanoseconds from the request to its end."), \
    W_OPT("load_duration", INT, NULL, "Of that: waiting for the model to be loaded."), \
    W_OPT("prompt_eval_count", INT, NULL, "Tokens of the prompt."), \
    W_OPT("prompt_eval_duration", INT, NULL, "Nanoseconds reading it."), \
    W_OPT("eval_count", INT, NULL, "Tokens of the answer."), \
    W_OPT("eval_duration", INT, NULL, "Nanoseconds generating it."), \
    W_OPT("logprobs", ARR, LIST(ANY_OBJECT), "With `logprobs`: token, logprob, bytes and top_logprobs of each token.")

static const struct field chat_answer_fields[] = {
    W("model", STR, NULL, "As the request named it."),
    W("created_at", STR, "{\"type\":\"string\",\"format\":\"date-time\"}", "When this line was written."),
    W("message", OBJ, REF("OllamaMessage"), "What the model says, or a piece of it."),
    W("done", BOOL, NULL, "Whether this is the last line."),
    NUMBERS,
    END};
static const struct field generate_answer_fields[] = {
    W("model", STR, NULL, "As the request named it."),
    W("created_at", STR, "{\"type\":\"string\",\"format\":\"date-time\"}", "When this line was written."),
    W("response", STR, NULL, "What the model says, or a piece of it."),
    W_OPT("thinking", STR, NULL, "What it thinks, or a piece of it."),
    W("done", BOOL, NULL, "Whether this is the last line."),
    W_OPT("context", ARR, LIST(INTEGERS), "In the last line: send it with the next prompt to go on from here. Numbers to hand back, not to read."),
    NUMBERS,
    END};
static const struct field embed_answer_fields[] = {
    W("model", STR, NULL, "As the request named it."),
    W("embeddings", ARR, LIST(LIST("{\"type\":\"number\"}")), "One vector of length 1 for each input."),
    W("total_duration", INT, NULL, "Nanoseconds."),
    W("load_duration", INT, NULL, "Always 0."),
    W("prompt_eval_count", INT, NULL, "Tokens of the inputs."),
    END};
static const struct field embeddings_answer_fields[] = {
    W("embedding", ARR, LIST("{\"type\":\"number\"}"), "The vector."),
    END};
static const struct field details_fields[] = {
    W("parent_model", STR, NULL, "Of a derived model: the one it was made from."),
    W("format", STR, CONST_OF("gguf"), "gguf"),
    W("family", STR, NULL, "Architecture."),
    W("families", ARR, LIST("{\"type\":\"string\"}"), "The same."),
    W("parameter_size", STR, NULL, "\"1.2B\""),
    W("quantization_level", STR, NULL, "\"Q4_K_M\""),
    END};
static const struct field tag_fields[] = {
    W("name", STR, NULL, "The name to use as `model`."),
    W("model", STR, NULL, "The same."),
    W_OPT("modified_at", STR, NULL, "When its file was written."),
    W("size", INT, NULL, "Bytes of the file; of a model in memory, what it takes there."),
    W("digest", STR, NULL, "Changes when the model does."),
    W("details", OBJ, REF("OllamaDetails"), "What it is."),
    W_OPT("expires_at", STR, NULL, "In memory: when it goes if nobody asks for it."),
    W_OPT("size_vram", INT, NULL, "In memory: bytes on GPUs."),
    W_OPT("context_length", INT, NULL, "In memory: tokens it has room for."),
    END};
static const struct field tags_fields[] = {
    W("models", ARR, LIST(REF("OllamaTag")), "The models."),
    END};
static const struct field show_answer_fields[] = {
    W_OPT("license", STR, NULL, "Its licence."),
    W("modelfile", STR, NULL, "A Modelfile that makes the same."),
    W("parameters", STR, NULL, "Its own defaults, one a line."),
    W("template", STR, NULL, "Its chat template."),
    W("system", STR, NULL, "Its own system prompt."),
    W("details", OBJ, REF("OllamaDetails"), "What it is."),
    W("model_info", OBJ, NULL, "Metadata of its file."),
    W("capabilities", ARR, LIST(WORDS("\"completion\",\"embedding\",\"tools\",\"thinking\",\"insert\",\"vision\"")), "What it can do."),
    W("modified_at", STR, NULL, "When it was written."),
    W_OPT("messages", ARR, LIST(REF("OllamaMessage")), "Messages that come before every conversation."),
    END};
static const struct field version_fields[] = {
    W("version", STR, NULL, "Of Ollama."),
    W("hearth", STR, NULL, "Of this hub."),
    END};
static const struct field progress_fields[] = {
    W("status", STR, NULL, "What is being done; \"success\" is the last."),
    W_OPT("digest", STR, NULL, "The file that is being downloaded."),
    W_OPT("total", INT, NULL, "Its bytes."),
    W_OPT("completed", INT, NULL, "Of these, here."),
    END};

const struct schema ollama_schemas[] = {
    {"OllamaChatRequest", "Body of a chat.", ollama_chat_fields, NULL},
    {"OllamaGenerateRequest", "Body of a completion.", ollama_generate_fields, NULL},
    {"OllamaOptions", "How an answer is generated.", ollama_option_fields, NULL},
    {"OllamaMessage", "One message of a conversation.", ollama_message_fields, NULL},
    {"OllamaToolCall", "A call of a tool.", ollama_call_fields, NULL},
    {"OllamaToolCallFunction", "What is called, and with which arguments.", ollama_function_fields, NULL},
    {"OllamaChatAnswer", "A line of a streamed chat, or the whole answer.", chat_answer_fields, NULL},
    {"OllamaGenerateAnswer", "A line of a streamed completion, or the whole answer.", generate_answer_fields, NULL},
    {"OllamaEmbedRequest", "Texts to embed.", ollama_embed_fields, NULL},
    {"OllamaEmbedAnswer", "Their vectors.", embed_answer_fields, NULL},
    {"OllamaEmbeddingsRequest", "A text to embed.", ollama_embeddings_fields, NULL},
    {"OllamaEmbeddingsAnswer", "Its vector.", embeddings_answer_fields, NULL},
    {"OllamaTags", "Models.", tags_fields, NULL},
    {"OllamaPs", "Models in memory.", tags_fields, NULL},
    {"OllamaTag", "A model.", tag_fields, NULL},
    {"OllamaDetails", "What a model is.", details_fields, NULL},
    {"OllamaShowRequest", "Which model to show.", ollama_show_fields, NULL},
    {"OllamaShowAnswer", "What is known of a model.", show_answer_fields, NULL},
    {"OllamaVersion", "Versions.", version_fields, NULL},
    {"OllamaPullRequest", "What to download.", ollama_pull_fields, NULL},
    {"OllamaCreateRequest", "What to make a model from.", ollama_create_fields, NULL},
    {"OllamaCopyRequest", "Another name for a model.", ollama_copy_fields, NULL},
    {"OllamaDeleteRequest", "Which model goes.", ollama_delete_fields, NULL},
    {"OllamaProgress", "One line of the progress.", progress_fields, NULL},
    {NULL, NULL, NULL, NULL}};
