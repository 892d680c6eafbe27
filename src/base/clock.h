/* Time. Monotonic for durations and deadlines, wall only for what people and files see. */
#ifndef HEARTH_BASE_CLOCK_H
#define HEARTH_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_wall_s(void); /* Unix seconds */
int64_t clock_wall_ms(void);
/* The first day of a day's month (UTC); both in days since 1970-01-01. */
int64_t clock_month_of(int64_t day);
/* "2026-11-20T21:05:03.123Z" of a wall time in ms; dst needs 25 bytes. */
void clock_format_utc(char *dst, size_t size, int64_t wall_ms);
/* The same back, from RFC 3339 with "Z", with or without a fraction; years 1970 to 9999. */
bool clock_parse_utc(const char *text, int64_t *wall_ms);

#endif
