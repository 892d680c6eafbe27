/* What `hearth pull` knows about a file it brought: `<file>.json` beside it. Plain data, one owner.
 */
#ifndef HEARTH_MODELS_SIDECAR_H
#define HEARTH_MODELS_SIDECAR_H

#include <stdint.h>

#include "base/err.h"

struct sidecar {
    char url[1024];    /* where it came from, without a query (which may hold a key) */
    char repo[256];    /* "org/repository", "" for a plain URL */
    char file[512];    /* path within the repository */
    char revision[64]; /* commit, "" if the server didn't say */
    char sha256[65];   /* "" if the server didn't say and it was not computed */
    char catalog[64];  /* name in the catalogue, "" if none */
    char quant[32];    /* the catalogue's word for it */
    int64_t bytes;
};

/* *out is empty when there is none or it can't be read: it only ever adds to what is known. */
void sidecar_read(const char *model_path, struct sidecar *out);
HT_MUST_CHECK enum err sidecar_write(const char *model_path, const struct sidecar *s,
                                     struct error *error);

#endif
