/* The OpenAI surface's routes. */
#include "api/openai/openai.h"
#include "api/openai/openai_int.h"

/* clang-format off */
const struct route openai_routes[] = {
    {HTTP_POST, "/v1/chat/completions", openai_chat, ROUTE_STREAM, "OpenAI", "Answer a conversation", "ChatRequest", "ChatAnswer"},
    {HTTP_POST, "/v1/completions", openai_completions, ROUTE_STREAM, "OpenAI", "Continue raw text", "CompletionRequest", "CompletionAnswer"},
    {HTTP_POST, "/v1/embeddings", openai_embeddings, 0, "OpenAI", "Turn texts into vectors", "EmbeddingRequest", "EmbeddingAnswer"},
    {HTTP_POST, "/v1/rerank", openai_rerank, 0, "Rerank", "Order documents by how well they answer a query (Jina's and Cohere's shape)", "RerankRequest", "RerankAnswer"},
    {HTTP_POST, "/v2/rerank", openai_rerank, 0, "Rerank", "The same, where Cohere's clients look for it", "RerankRequest", "RerankAnswer"},
    {HTTP_GET, "/v1/models", openai_list_models, ROUTE_INLINE, "OpenAI", "List the models", NULL, "ModelList"},
    {HTTP_GET, "/v1/models/{id...}", openai_model, 0, "OpenAI", "One model", NULL, "Model"},
    {.path = NULL}};
