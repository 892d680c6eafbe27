/* Every object that llama-server's surface reads or writes, once; see fields.h. */
#include <limits.h>

#include "api/llama/llama.h"
#include "api/llama/llama_int.h"
#include "api/tables.h"

/* clang-format off */

#define PROMPT "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{}},{\"type\":\"object\"}]}"
#define BIASES "{\"oneOf\":[{\"type\":\"array\",\"items\":{\"type\":\"array\"}},{\"type\":\"object\"}]}"

#define S completion_fields
#define SAMPLING \
    R("n_predict", INT, 0, -1, TOKENS_MAX, NULL, n_predict, "Most tokens of the answer; -1 is as many as fit, 0 computes the prompt and says nothing. Absent: the setting DEFAULT_MAX_TOKENS."), \
    R("max_tokens", INT, FIELD_ALIAS, -1, TOKENS_MAX, NULL, n_predict, "The same as `n_predict`."), \
    W_OPT("model", STR, NULL, "Model that answers; absent or \"\" is the default model."), \
    W_OPT("stream", BOOL, NULL, "Send the answer as server-sent events while it is written."), \
    W_OPT("stop", JSON, NULL, "Texts before which the answer ends; `stopping_word` says which it was."), \
    R("temperature", NUM, 0, -100, 100, NULL, temperature, "Randomness; 0 or less always takes the likeliest token. Absent: the setting DEFAULT_TEMPERATURE."), \
    R("top_p", NUM, 0, -100, 100, NULL, top_p, "Choose among the likeliest tokens that together have this probability; 1 is off. Absent: the setting DEFAULT_TOP_P."), \
    W_OPT("top_k", INT, NULL, "Choose among this many of the likeliest tokens; 0 is off. Absent: 40."), \
    W_OPT("min_p", NUM, NULL, "Leave out tokens less likely than this share of the likeliest one. Absent: 0.05."), \
    W_OPT("repeat_penalty", NUM, NULL, "Divides the logits of tokens that were there before; 1 is off."), \
    W_OPT("repeat_last_n", INT, NULL, "Tokens that the penalties look back; -1 is the whole context. Absent: 64."), \
    W_OPT("presence_penalty", NUM, NULL, "Lowers the logit of a token that was used at all."), \
    W_OPT("frequency_penalty", NUM, NULL, "Lowers the logit of a token each time it was used."), \
    R("seed", INT, 0, 0, 0, NULL, seed, "The same seed and request give the same answer; -1 is a random one."), \
    W_OPT("ignore_eos", BOOL, NULL, "Go on to n_predict even if the model wants to end."), \
    R("logit_bias", JSON, 0, 0, 0, BIASES, logit_bias, "Pairs of a token id and a number that is added to its logit, false forbids the token; or an object of them. Texts instead of ids are refused."), \
    R("n_probs", INT, 0, 0, GEN_TOP_LOGPROBS_MAX, NULL, n_probs, "Return the log probability of each token and of this many alternatives."), \
    R("grammar", STR, 0, 0, 0, NULL, grammar, "Constrains the answer to a grammar (GBNF)."), \
    R("json_schema", OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":true}", json_schema, "Constrains the answer to a JSON schema."), \
    R("n_cmpl", INT, 0, 1, GEN_N_MAX, NULL, n_cmpl, "Answers to the same prompt."), \
    R("n", INT, FIELD_ALIAS, 1, GEN_N_MAX, NULL, n_cmpl, "The same as `n_cmpl`."), \
    R("return_tokens", BOOL, 0, 0, 0, NULL, return_tokens, "Return the ids of the tokens, too; streams always do."), \
    R("response_fields", ARR, 0, 0, 0, LIST("{\"type\":\"string\"}"), response_fields, "Only these members of the answer; \"timings/prompt_n\" is one inside of another."), \
    CALL_GEN_TERMS_FIELDS, \
    IGNORED("cache_prompt", "Accepted, no effect: prompts are always cached."), \
    IGNORED("id_slot", "Accepted, no effect: the scheduler chooses."), \
    IGNORED("samplers", "Accepted, no effect."), \
    IGNORED("n_keep", "Accepted, no effect."), \
    IGNORED("n_indent", "Accepted, no effect."), \
    IGNORED("t_max_predict_ms", "Accepted, no effect."), \
    IGNORED("t_max_prompt_ms", "Accepted, no effect.")

const struct field api_llama_completion_fields[] = {
    R("prompt", JSON, REQ, 0, 0, PROMPT, prompt, "A text, a list of token ids, a list of both, or a list of prompts, each answered by itself."),
    SAMPLING,
    END};

const struct field infill_fields[] = {
    R("input_prefix", STR, REQ, 0, 0, NULL, input_prefix, "What is before the gap."),
    R("input_suffix", STR, REQ, 0, 0, NULL, input_suffix, "What is behind it."),
    R("input_extra", ARR, 0, 0, 0, LIST(REF("InfillExtra")), input_extra, "Other texts that are of use, of other files for instance."),
    R("prompt", JSON, 0, 0, 0, "{\"type\":\"string\"}", prompt, "Comes behind what is before the gap."),
    SAMPLING,
    END};
#undef S

#define S extra_fields
const struct field extra_fields[] = {
    R("text", STR, REQ, 0, 0, NULL, text, "The text."),
    R("filename", STR, 0, 0, 0, NULL, filename, "Where it is from."),
    IGNORED("time", "Accepted, no effect."),
    END};
#undef S

#define S tokenize_fields
const struct field tokenize_fields[] = {
    R("content", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"integer\"]}}]}", content, "A text, or a list of texts and token ids."),
    R("model", STR, 0, 0, 0, NULL, model, "Whose tokens; absent or \"\" is the default model, which is loaded if it is not."),
    R("add_special", BOOL, 0, 0, 0, NULL, add_special, "With the tokens that begin a prompt. Absent: false."),
    R("parse_special", BOOL, 0, 0, 0, NULL, parse_special, "Names of special tokens in the text stand for these. Absent: true."),
    R("with_pieces", BOOL, 0, 0, 0, NULL, with_pieces, "Return objects with the text of each token."),
    END};
#undef S

#define S detokenize_fields
const struct field detokenize_fields[] = {
    R("tokens", ARR, 0, 0, 0, LIST(INTEGERS), tokens, "Token ids."),
    R("model", STR, 0, 0, 0, NULL, model, "Whose tokens; absent or \"\" is the default model, which is loaded if it is not."),
    END};
#undef S

/* ---- answers ------------------------------------------------------------------------------- */

static const struct field completion_answer_fields[] = {
    W("index", INT, NULL, "Which of the prompts, and of their answers."),
    W("content", STR, NULL, "The text; in a stream its next piece."),
    W("tokens", ARR, LIST(INTEGERS), "Its tokens, if they are asked for."),
    W("stop", BOOL, NULL, "In a stream: whether this is the last piece, which has no text."),
    W_OPT("model", STR, NULL, "The model that answered."),
    W("tokens_predicted", INT, NULL, "Of the answer, so far."),
    W("tokens_evaluated", INT, NULL, "Of the prompt."),
    W_OPT("generation_settings", OBJ, "{\"type\":\"object\"}", "What the answer was made with."),
    W_OPT("prompt", STR, NULL, "The prompt, if it was a text."),
    W_OPT("has_new_line", BOOL, NULL, "Whether the answer has more than one line."),
    W_OPT("truncated", BOOL, NULL, "false: nothing of the prompt was left out."),
    W_OPT("stop_type", STR, WORDS("\"eos\",\"word\",\"limit\",\"none\""), "Why it ended: by itself, by a stop text, by its length."),
    W_OPT("stopping_word", STR, NULL, "The stop text that ended it."),
    W_OPT("tokens_cached", INT, NULL, "In the cache afterwards."),
    W_OPT("timings", OBJ, "{\"type\":\"object\"}", "How the time was spent."),
    W_OPT("completion_probabilities", ARR, LIST("{\"type\":\"object\"}"), "With n_probs: of each token."),
    END};

static const struct field tokenize_answer_fields[] = {
    W("tokens", ARR, LIST("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"object\"}]}"), "Ids, or objects with `id` and `piece`: a text, or bytes where it is a part of a character."),
    END};
static const struct field detokenize_answer_fields[] = {
    W("content", STR, NULL, "The text."),
    END};
static const struct field template_answer_fields[] = {
    W("prompt", STR, NULL, "What the model reads."),
    END};
static const struct field props_fields[] = {
    W("default_generation_settings", OBJ, "{\"type\":\"object\"}", "`params`: sampling of requests that say nothing; `n_ctx`: the context of one sequence."),
    W("total_slots", INT, NULL, "Sequences that are computed together."),
    W("model_alias", STR, NULL, "The model's id."),
    W("model_path", STR, NULL, "The model's id: paths of this machine are not shown."),
    W("modalities", OBJ, "{\"type\":\"object\"}", "vision, audio."),
    W("chat_template", STR, NULL, "Its source; \"\" if it has none."),
    W("chat_template_caps", OBJ, "{\"type\":\"object\"}", "What the template can do."),
    W("bos_token", STR, NULL, "Begins a text."),
    W("eos_token", STR, NULL, "Ends a text."),
    W("build_info", STR, NULL, "hearth and its version."),
    END};

const struct schema api_llama_schemas[] = {
    {"LlamaCompletionRequest", "Body of POST /completion.", api_llama_completion_fields, NULL},
    {"InfillRequest", "Body of POST /infill.", infill_fields, NULL},
    {"InfillExtra", "A text beside the one that has a gap.", extra_fields, NULL},
    {"LlamaCompletionAnswer", "The answer; a list of them, if there are several prompts or answers.", completion_answer_fields, NULL},
    {"TokenizeRequest", "Body of POST /tokenize.", tokenize_fields, NULL},
    {"TokenizeAnswer", "Tokens.", tokenize_answer_fields, NULL},
    {"DetokenizeRequest", "Body of POST /detokenize.", detokenize_fields, NULL},
    {"DetokenizeAnswer", "A text.", detokenize_answer_fields, NULL},
    {"ApplyTemplateAnswer", "A rendered conversation.", template_answer_fields, NULL},
    {"PropsAnswer", "What is to be known of a model.", props_fields, NULL},
    {"SlotsAnswer", NULL, NULL, "{\"type\":\"array\",\"items\":{\"type\":\"object\"},\"description\":\"One object for each sequence.\"}"},
    {NULL, NULL, NULL, NULL}};
