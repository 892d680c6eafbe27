/* Guards: what a client sends is checked here before libllama's recursive, asserting or exponential
 * code sees it. Bounds are in engine_int.h. Plain C, no libllama, so it can be fuzzed. Thread-safe.
 */
#ifndef HEARTH_ENGINE_GUARD_H
#define HEARTH_ENGINE_GUARD_H

#include "engine/engine.h"

/* Tools, tool choice, schema, grammar, template_kwargs and the arguments of earlier tool calls.
 * ERR_SCHEMA or ERR_INVALID, with param = the pointer into the request. */
HT_MUST_CHECK enum err guard_request(const struct gen_request *req, struct error *error);

/* A JSON schema: size, nesting, JSON syntax, references that loop or fan out without end, objects
 * whose grammar would be larger than anything useful. param is what errors name. */
HT_MUST_CHECK enum err guard_schema(const char *schema, const char *param, struct error *error);

/* A GBNF grammar, parsed completely (gbnf.c): syntax, undefined rules, a missing root, left
 * recursion, nesting and the size that its repetitions expand to. Errors name line and rule. */
HT_MUST_CHECK enum err gbnf_check(const char *grammar, size_t max_bytes, const char *param,
                                  struct error *error);

#endif
