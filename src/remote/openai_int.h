/* Between the two halves of OpenAI's protocol: requests (openai.c) and answers (openai_decode.c).
 */
#ifndef HEARTH_REMOTE_OPENAI_INT_H
#define HEARTH_REMOTE_OPENAI_INT_H

#include "remote/remote_int.h"

enum err openai_piece(struct decode *d, const json_t *piece, bool whole, struct error *error);

#endif
