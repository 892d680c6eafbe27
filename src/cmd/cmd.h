/* The command line: `hearth <verb> [options] [arguments]`.
 *
 * One table of verbs (cmd_int.h, verbs.c), one file per verb. Help texts, the man page, docs/cli.md
 * and the shell completions are generated from the tables, so they can't disagree with the parser.
 *
 * Exit status: 0 it worked, 1 it failed, 2 it was called wrongly, 130 it was interrupted. */
#ifndef HEARTH_CMD_CMD_H
#define HEARTH_CMD_CMD_H

#include "base/buf.h"
#include "base/err.h"

/* All of main(). Takes the process over: signal dispositions, standard output. */
int cmd_main(int argc, char **argv);

/* Generated texts: docs/cli.md, man page (troff, man(7)). */
enum err cmd_render_markdown(struct buf *out);
enum err cmd_render_man(struct buf *out);
/* shell: "bash" or "zsh"; else ERR_INVALID. */
HT_MUST_CHECK enum err cmd_render_completion(const char *shell, struct buf *out,
                                             struct error *error);

#endif
