/* Pictures of messages, as clients send them: an address, a data: URL, or base64 alone. Pure
 * functions; any thread. */
#ifndef HEARTH_API_IMAGE_H
#define HEARTH_API_IMAGE_H

#include "base/arena.h"
#include "base/err.h"
#include "types/gen.h"

/* http:, https: or data: (base64 alone: percent-encoded ones are refused). Copied into the arena.
 * ERR_INVALID at `ptr`: it is none of them, or no picture that models know (PNG, JPEG, GIF, WebP);
 * ERR_TOO_LARGE: the arena is full. */
HT_MUST_CHECK enum err image_from_url(struct arena *a, const char *url, const char *ptr,
                                      struct image *out, struct error *error);
/* Base64, with or without line breaks. media_type NULL = what its first bytes say. */
HT_MUST_CHECK enum err image_from_base64(struct arena *a, const char *media_type, const char *data,
                                         const char *ptr, struct image *out, struct error *error);

#endif
