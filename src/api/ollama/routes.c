/* Routes of Ollama's surface. */
#include "api/ollama/ollama_int.h"

/* clang-format off */
const struct route ollama_routes[] = {
    {HTTP_POST, "/api/chat", ollama_chat, ROUTE_STREAM, "Ollama", "Answer a conversation; without messages: load or unload the model", "OllamaChatRequest", "OllamaChatAnswer"},
    {HTTP_POST, "/api/generate", ollama_generate, ROUTE_STREAM, "Ollama", "Answer a prompt; without one: load or unload the model", "OllamaGenerateRequest", "OllamaGenerateAnswer"},
    {HTTP_POST, "/api/embed", ollama_embed, 0, "Ollama", "Turn texts into vectors", "OllamaEmbedRequest", "OllamaEmbedAnswer"},
    {HTTP_POST, "/api/embeddings", ollama_embeddings, 0, "Ollama", "Turn one text into a vector (the older call)", "OllamaEmbeddingsRequest", "OllamaEmbeddingsAnswer"},
    {HTTP_GET, "/api/tags", ollama_tags, 0, "Ollama", "List the models", NULL, "OllamaTags"},
    {HTTP_POST, "/api/show", ollama_show, 0, "Ollama", "What is known of a model", "OllamaShowRequest", "OllamaShowAnswer"},
    {HTTP_GET, "/api/ps", ollama_ps, 0, "Ollama", "List the models in memory", NULL, "OllamaPs"},
    {HTTP_GET, "/api/version", ollama_version, ROUTE_INLINE | ROUTE_PUBLIC, "Ollama", "The release of Ollama whose API this is", NULL, "OllamaVersion"},
    {HTTP_POST, "/api/pull", ollama_pull, ROUTE_STREAM | ROUTE_ADMIN, "Ollama", "Download a model", "OllamaPullRequest", "OllamaProgress"},
    {HTTP_POST, "/api/create", ollama_create, ROUTE_STREAM | ROUTE_ADMIN, "Ollama", "Make a model from another one: a Modelfile's instructions", "OllamaCreateRequest", "OllamaProgress"},
    {HTTP_POST, "/api/copy", ollama_copy, ROUTE_ADMIN, "Ollama", "Give a model another name", "OllamaCopyRequest", NULL},
    {HTTP_DELETE, "/api/delete", ollama_delete, ROUTE_ADMIN, "Ollama", "Remove a model", "OllamaDeleteRequest", NULL},
    {HTTP_GET, "/api/blobs/{digest}", ollama_blob, ROUTE_ADMIN, "Ollama", "Whether a file is here (HEAD)", NULL, NULL},
    {HTTP_POST, "/api/blobs/{digest}", ollama_blob_upload, ROUTE_ADMIN | ROUTE_UPLOAD | ROUTE_BLOB, "Ollama", "Send a file for /api/create; the body is the file", NULL, NULL},
    {HTTP_POST, "/api/push", ollama_push, ROUTE_ADMIN, "Ollama", "Refused: there is no registry behind a hub", NULL, NULL},
    {.path = NULL}};
