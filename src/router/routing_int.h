/* Inside of routing: what its two sources share. Only for files of this folder. */
#ifndef HEARTH_ROUTER_ROUTING_INT_H
#define HEARTH_ROUTER_ROUTING_INT_H

#include "router/routing.h"

/* Copy in the arena; never NULL (the arena of the configuration is large enough for any). */
const char *routing_text(struct routing *r, const char *s);
/* The provider of that name, a new one if there is none; NULL when there are too many. */
struct routing_provider *routing_add(struct routing *r, const char *name);

/* routing_file.c: what the file adds and changes; `path` may be "" (nothing to read). */
HT_MUST_CHECK enum err routing_read_file(struct routing *r, const char *path, bool must_exist,
                                         struct error *error);
/* The same from text. is_private: only its owner can read the file, so keys may stand in it. */
HT_MUST_CHECK enum err routing_read_text(struct routing *r, const char *path, const char *text,
                                         size_t len, bool is_private, struct error *error);

#endif
