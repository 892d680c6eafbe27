/* Routes of Anthropic's surface. */
#include "api/anthropic/anthropic.h"
#include "api/anthropic/anthropic_int.h"

/* clang-format off */
const struct route anthropic_routes[] = {
    {HTTP_POST, "/v1/messages", anthropic_messages, ROUTE_STREAM, "Anthropic", "Answer a conversation (Anthropic's Messages API)", "MessagesRequest", "MessagesAnswer"},
    {HTTP_POST, "/v1/messages/count_tokens", anthropic_count_tokens, 0, "Anthropic", "How many tokens such a conversation has", "CountTokensRequest", "CountTokensAnswer"},
    {.path = NULL}};
