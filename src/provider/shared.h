/* The texts of HEARTH_SHARED_PREFIXES: beginnings of prompts that tenants share. */
#ifndef HEARTH_PROVIDER_SHARED_H
#define HEARTH_PROVIDER_SHARED_H

#include <stddef.h>

#include "base/err.h"

enum { SHARED_MAX = 256, SHARED_BYTES_MAX = 1 << 20 };

struct shared_texts {
    char *texts[SHARED_MAX];
    size_t n;
};

/* path: "" = none, a file, or a folder of files (those that begin with a dot are left out). A text
 * without its blank end. ERR_CONFIG: it can't be read, is no UTF-8, or is too much; free what is
 * there all the same. */
HT_MUST_CHECK enum err shared_read(const char *path, struct shared_texts *out, struct error *error);
void shared_free(struct shared_texts *s);

#endif
