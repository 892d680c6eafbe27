/* Random identifiers from getrandom(2). */
#ifndef HEARTH_BASE_ID_H
#define HEARTH_BASE_ID_H

#include <stddef.h>
#include <stdint.h>

void id_random(void *dst, size_t len);
uint64_t id_random_u64(void);
/* prefix + 24 characters of [0-9A-Za-z], e.g. "chatcmpl-7Qz..."; dst needs strlen(prefix)+25. */
void id_make(char *dst, size_t size, const char *prefix);
void id_uuid4(char dst[37]);

#endif
