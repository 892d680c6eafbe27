/* The model server's routes, and what it answers. */
#include "api/models/models_int.h"
#include "api/tables.h"

/* clang-format off */
const struct route models_routes[] = {
    {HTTP_GET, "/api/models", models_list_all, ROUTE_INLINE, "Model server", "The models there are, and which are in memory", NULL, "ServerModelList"},
    {HTTP_POST, "/api/models/{id...}/load", models_load_one, ROUTE_ADMIN, "Model server", "Load a model into memory; __ stands for / in its id", NULL, "ServerModelChange"},
    {HTTP_POST, "/api/models/{id...}/unload", models_unload_one, ROUTE_ADMIN, "Model server", "Unload a model once its running requests have ended", NULL, "ServerModelChange"},
    {HTTP_POST, "/api/chat/completions", models_chat, ROUTE_STREAM, "Model server", "Answer a conversation", "ChatRequest", "ServerChatAnswer"},
    {HTTP_POST, "/api/chat/completions/stream", models_chat_stream, ROUTE_STREAM, "Model server", "The same as events: pieces of `content`, then the whole `message` with `done`: true", "ChatRequest", "ServerChatAnswer"},
    {HTTP_GET, "/api/chat/ws", models_chat_socket, ROUTE_SOCKET, "Model server", "The same over a WebSocket: messages {`type`: chat, ...} are answered with `queued`, `loading`, `token` and `done`, or `error`; `cancel` ends an answer", "ChatRequest", "ServerChatAnswer"},
    {.path = NULL}};

static const struct field model_fields[] = {
    W("id", STR, NULL, "Its id."), W("name", STR, NULL, "The same."),
    W("path_id", STR, NULL, "The id as it stands in the path of load and unload."),
    W("type", STR, NULL, "chat, completion, embedding, rerank or adapter."),
    W("status", STR, WORDS("\"ready\",\"loading\",\"on_disk\",\"failed\",\"quarantined\",\"none\""), "Whether it is in memory."),
    W("loaded", BOOL, NULL, "status is ready."),
    W_OPT("architecture", STR, NULLABLE("string"), "llama, qwen3, ..."),
    W_OPT("quantization", STR, NULLABLE("string"), "Q4_K_M, ..."),
    W_OPT("size", INT, NULL, "Bytes on disk."), W_OPT("parameters", INT, NULL, "How many it has."),
    W_OPT("context_length", INT, NULL, "Tokens that it was trained for."),
    W_OPT("created", INT, NULL, "When its file last changed, in seconds since 1970."), END};
static const struct field list_fields[] = {
    W("models", ARR, LIST(REF("ServerModel")), "All of them."), W("total", INT, NULL, "How many."), END};
static const struct field change_fields[] = {
    W("status", STR, WORDS("\"loaded\",\"unloaded\""), "What it is now."),
    W("model_id", STR, NULL, "The model."), W("message", STR, NULL, "The same for people."), END};
static const struct field answer_fields[] = {
    W("id", STR, NULL, "Of the answer."), W("created", INT, NULL, "In seconds since 1970."),
    W("model", STR, NULL, "That answered."),
    W("message", OBJ, NULL, "role, content; reasoning and tool_calls where there are some."),
    W("finish_reason", STR, WORDS("\"stop\",\"length\",\"tool_calls\",\"cancelled\""), "Why it ended."),
    W("usage", OBJ, NULL, "prompt_tokens, completion_tokens, total_tokens, cached_tokens."),
    W_OPT("content", STR, NULL, "Of events: a piece of the text; empty in the last one."),
    W_OPT("done", BOOL, NULL, "Of events: whether it is the last one, which has all of the others."), END};

const struct schema models_schemas[] = {
    {"ServerModel", "A model of the model server.", model_fields, NULL},
    {"ServerModelList", "The models of the model server.", list_fields, NULL},
    {"ServerModelChange", "A model that was loaded or unloaded.", change_fields, NULL},
    {"ServerChatAnswer", "An answer of the model server, or its last event.", answer_fields, NULL},
    {NULL, NULL, NULL, NULL}};
/* clang-format on */
