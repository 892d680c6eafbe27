/* Chat templates in Go's language (text/template), as Ollama's Modelfiles have them, turned into
 * Jinja, which is what the engine renders. Pure functions of their text; any thread. */
#ifndef HEARTH_MODELS_GOTMPL_H
#define HEARTH_MODELS_GOTMPL_H

#include "base/buf.h"
#include "base/err.h"

enum { GOTMPL_MAX = 1 << 20 };

/* Appends the template as Jinja. One that is Jinja already ("{%") is copied. ERR_INVALID: what
 * can't be understood, with its line. */
HT_MUST_CHECK enum err template_to_jinja(const char *text, struct buf *out, struct error *error);

#endif
