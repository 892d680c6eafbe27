/* Markdown's inline parts and tables through md4c, into a flow. Internal to markdown. */
#ifndef HEARTH_CMD_MD_SPAN_H
#define HEARTH_CMD_MD_SPAN_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd/flow.h"

/* Inline text (no newline in it) into the flow: emphasis, code, links, escapes. */
void md_span(struct flow *f, const char *text, size_t len);

/* A whole table, its lines ended by '\n', in columns that fit the flow's width. false, and nothing
 * shown, when md4c sees no table in it. */
bool md_table(struct flow *f, const char *text, size_t len);

#endif
