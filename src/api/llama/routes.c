/* Routes of llama-server's surface. */
#include "api/llama/llama.h"
#include "api/llama/llama_int.h"

/* clang-format off */
const struct route api_llama_routes[] = {
    {HTTP_POST, "/completion", lserver_completion, ROUTE_STREAM, "llama-server", "Continue raw text", "LlamaCompletionRequest", "LlamaCompletionAnswer"},
    {HTTP_POST, "/completions", lserver_completion, ROUTE_STREAM, "llama-server", "The same", "LlamaCompletionRequest", "LlamaCompletionAnswer"},
    {HTTP_POST, "/infill", lserver_infill, ROUTE_STREAM, "llama-server", "Fill in what is missing in the middle of a text", "InfillRequest", "LlamaCompletionAnswer"},
    {HTTP_POST, "/tokenize", lserver_tokenize, 0, "llama-server", "The tokens of a text", "TokenizeRequest", "TokenizeAnswer"},
    {HTTP_POST, "/detokenize", lserver_detokenize, 0, "llama-server", "The text of tokens", "DetokenizeRequest", "DetokenizeAnswer"},
    {HTTP_POST, "/apply-template", lserver_apply_template, 0, "llama-server", "A conversation as the model's chat template renders it", "ChatRequest", "ApplyTemplateAnswer"},
    {HTTP_GET, "/props", lserver_props, 0, "llama-server", "What is to be known of a model (?model=; absent: the default one, which is loaded if it is not)", NULL, "PropsAnswer"},
    {HTTP_GET, "/slots", lserver_slots, 0, "llama-server", "The sequences of the loaded models, and which are busy (?fail_on_no_slot=1: 503 if all are)", NULL, "SlotsAnswer"},
    {.path = NULL}};
