/* Inside the model server's surface: models that are listed, loaded and unloaded by their ids, and
 * chats with them, in the shapes that clients of such servers read:
 *
 *   POST /api/chat/completions         {"message": {"role", "content"}, "usage", ...}
 *   POST /api/chat/completions/stream  data: {"content": "...", "done": false}
 *                                      data: {"content": "", "done": true, "message", "usage", ...}
 *                                      data: [DONE]
 *   /api/chat/ws, a WebSocket          {"type": "token", "content": "...", "done": false}
 *                                      {"type": "done", "message", "usage", ...}
 *
 * A chat's body is OpenAI's (openai.h), so tools, schemas and pictures work here as well; what it
 * does not say comes from the settings DEFAULT_MODEL, DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE and
 * DEFAULT_TOP_P. Errors are error_models. */
#ifndef HEARTH_API_MODELS_INT_H
#define HEARTH_API_MODELS_INT_H

#include "api/models/models.h"
#include "api/writer.h"

/* manage.c */
void models_list_all(struct hub *hub, const struct http_request *req, struct sink *sink);
void models_load_one(struct hub *hub, const struct http_request *req, struct sink *sink);
void models_unload_one(struct hub *hub, const struct http_request *req, struct sink *sink);

/* chat.c */
void models_chat(struct hub *hub, const struct http_request *req, struct sink *sink);
void models_chat_stream(struct hub *hub, const struct http_request *req, struct sink *sink);
/* A message of the WebSocket: {"type": "chat"} and the same body, always streamed, or
 * {"type": "cancel"}. */
void models_chat_socket(struct hub *hub, const struct http_request *req, struct sink *sink);

/* write.c: of a call of one request with one choice. Copies what it needs. */
enum models_form { MODELS_HTTP, MODELS_SOCKET };
struct writer *models_writer_new(const struct call *call, enum models_form form);

#endif
