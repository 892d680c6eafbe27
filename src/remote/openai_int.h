/* The parts of OpenAI's protocol, which others build on (aihub). */
#ifndef HEARTH_REMOTE_OPENAI_INT_H
#define HEARTH_REMOTE_OPENAI_INT_H

#include "remote/remote_int.h"

enum { OPENAI_STATE_SIZE = 0 };

extern const struct remote_hint openai_hints[];
enum err openai_headers(const struct remote_env *env, struct headers *out, struct error *error);
enum err openai_generate(const struct remote_env *env, const struct gen_request *req,
                         const char *model, struct remote_http *out, struct error *error);
enum err openai_piece(struct decode *d, const struct piece *piece, struct error *error);
enum err openai_embed(const struct remote_env *env, const struct embed_request *req, size_t from,
                      size_t n, const char *model, struct remote_http *out, struct error *error);
enum err openai_embedded(const json_t *body, struct embed_rows *rows, struct error *error);
enum err openai_models(const json_t *body, struct model_list *list, struct error *error);

#endif
