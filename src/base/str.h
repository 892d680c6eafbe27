/* Bounded strings, numbers from strings, UTF-8. Nothing here allocates unless its name says dup. */
#ifndef HEARTH_BASE_STR_H
#define HEARTH_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Copies into dst[size]; always terminates; true when it all fitted. */
bool str_copy(char *dst, size_t size, const char *src);
bool str_printf(char *dst, size_t size, const char *fmt, ...) HT_PRINTF(3, 4);

/* Every byte that is not printable ASCII becomes '?': for headers. */
void str_printable(char *s);

bool str_eq(const char *a, const char *b);  /* NULL equals only NULL */
bool str_ieq(const char *a, const char *b); /* ASCII case-insensitive */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Edit distance without regard to case, a swap of neighbours counting once (optimal string
 * alignment); SIZE_MAX when either has more than STR_DISTANCE_MAX bytes. For suggestions. */
enum { STR_DISTANCE_MAX = 128 };
size_t str_distance(const char *a, const char *b);

/* Whole-string numbers: no leading blanks, no trailing garbage, range checked. */
bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *out);
bool str_to_double(const char *s, double min, double max, double *out); /* finite only */
bool str_to_bool(const char *s, bool *out); /* true/false/1/0/yes/no/on/off */

/* "512", "16K", "4M", "1.5GiB" (K, KB and KiB all mean 1024) */
bool str_to_bytes(const char *s, uint64_t *out);
/* "250", "250ms", "1.5s", "2m", "1h", "1d" -> milliseconds */
bool str_to_ms(const char *s, int64_t *out);
/* The same, "forever" or a negative number = -1. */
bool str_to_keep_alive(const char *s, int64_t *out);
/* 1536 -> "1.5 KiB"; returns dst */
const char *str_from_bytes(char *dst, size_t size, uint64_t bytes);

/* UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing past U+10FFFF). */
bool utf8_valid(const char *s, size_t len);
/* Bytes of the character at s (1..4); 0 when it is invalid, its end is missing, or len is 0. */
size_t utf8_next(const char *s, size_t len);
/* How many bytes at the end of s are the beginning of a character whose rest is missing (0..3). */
size_t utf8_incomplete_tail(const char *s, size_t len);
/* Largest n <= max such that s[0..n) ends between characters. */
size_t utf8_cut(const char *s, size_t len, size_t max);

/* Standard base64 with padding. base64_len(n) excludes the '\0' that base64_encode adds. */
size_t base64_len(size_t n);
void base64_encode(char *dst, const void *src, size_t n);

#endif
