/* The OpenAI surface's routes. */
#include "api/openai/openai.h"
#include "api/openai/openai_int.h"

/* clang-format off */
const struct route openai_routes[] = {
    {HTTP_POST, "/v1/chat/completions", openai_chat, ROUTE_STREAM, "OpenAI", "Answer a conversation", "ChatRequest", "ChatAnswer"},
    {HTTP_GET, "/v1/chat/completions", openai_stored_list, 0, "OpenAI", "The answers that were kept (?model=, ?metadata[key]=, ?limit=, ?order=, ?after=)", NULL, "StoredList"},
    {HTTP_GET, "/v1/chat/completions/{id}", openai_stored, 0, "OpenAI", "A kept answer", NULL, "ChatAnswer"},
    {HTTP_POST, "/v1/chat/completions/{id}", openai_stored_change, 0, "OpenAI", "Change the metadata of a kept answer", "StoredChange", "ChatAnswer"},
    {HTTP_DELETE, "/v1/chat/completions/{id}", openai_stored_delete, 0, "OpenAI", "Delete a kept answer", NULL, "Deleted"},
    {HTTP_GET, "/v1/chat/completions/{id}/messages", openai_stored_messages, 0, "OpenAI", "The messages that a kept answer answers", NULL, "StoredMessages"},
    {HTTP_POST, "/v1/completions", openai_completions, ROUTE_STREAM, "OpenAI", "Continue raw text", "CompletionRequest", "CompletionAnswer"},
    {HTTP_POST, "/v1/embeddings", openai_embeddings, 0, "OpenAI", "Turn texts into vectors", "EmbeddingRequest", "EmbeddingAnswer"},
    {HTTP_POST, "/v1/rerank", openai_rerank, 0, "Rerank", "Order documents by how well they answer a query (Jina's and Cohere's shape)", "RerankRequest", "RerankAnswer"},
    {HTTP_POST, "/v2/rerank", openai_rerank, 0, "Rerank", "The same, where Cohere's clients look for it", "RerankRequest", "RerankAnswer"},
    {HTTP_POST, "/v1/route", openai_route, 0, "Routing", "Who would answer a chat, and why; nobody is asked", "ChatRequest", "RouteAnswer"},
    {HTTP_GET, "/v1/route/log", openai_route_log, 0, "Routing", "Who answered the last requests, their tokens, times, cost, and what left the machine; ?limit=100&cursor=&before_ms=&left=true", NULL, "RouteLog"},
    {HTTP_GET, "/v1/models", openai_list_models, ROUTE_INLINE, "OpenAI", "List the models", NULL, "ModelList"},
    {HTTP_GET, "/v1/models/{id...}", openai_model, 0, "OpenAI", "One model", NULL, "Model"},
    {.path = NULL}};
