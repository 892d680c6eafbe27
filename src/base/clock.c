/* Time from clock_gettime(2). */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#include "base/err.h"

static int64_t now_ns(clockid_t id)
{
    struct timespec ts;
    ht_assert(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_wall_s(void)
{
    return now_ns(CLOCK_REALTIME) / 1000000000;
}

int64_t clock_wall_ms(void)
{
    return now_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_month_of(int64_t day)
{
    struct tm tm;
    time_t at = (time_t)(day * 24 * 3600);
    gmtime_r(&at, &tm);
    return day - (tm.tm_mday - 1);
}

void clock_format_utc(char *dst, size_t size, int64_t wall_ms)
{
    ht_assert(size >= 25);
    int64_t ms = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000 - (ms < 0));
    if (ms < 0) ms += 1000;
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        seconds = 0; /* outside of what 24 characters can say */
        gmtime_r(&seconds, &tm);
        ms = 0;
    }
    char text[80];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    snprintf(dst, size, "%.24s", text);
}

/* `n` digits at *s, which moves behind them. */
static bool take_digits(const char **s, int n, int min, int max, int *out)
{
    *out = 0;
    for (; n > 0; n--, (*s)++) {
        if (**s < '0' || **s > '9') return false;
        *out = *out * 10 + (**s - '0');
    }
    return *out >= min && *out <= max;
}

static bool take_char(const char **s, char c)
{
    if (**s != c) return false;
    (*s)++;
    return true;
}

bool clock_parse_utc(const char *text, int64_t *wall_ms)
{
    struct tm tm = {0};
    int fraction = 0, digits = 0;
    const char *s = text;
    if (!take_digits(&s, 4, 1970, 9999, &tm.tm_year) || !take_char(&s, '-') ||
        !take_digits(&s, 2, 1, 12, &tm.tm_mon) || !take_char(&s, '-') ||
        !take_digits(&s, 2, 1, 31, &tm.tm_mday) || !(take_char(&s, 'T') || take_char(&s, 't')) ||
        !take_digits(&s, 2, 0, 23, &tm.tm_hour) || !take_char(&s, ':') ||
        !take_digits(&s, 2, 0, 59, &tm.tm_min) || !take_char(&s, ':') ||
        !take_digits(&s, 2, 0, 60, &tm.tm_sec))
        return false;
    if (take_char(&s, '.')) {
        for (; *s >= '0' && *s <= '9'; s++, digits++)
            if (digits < 3) fraction = fraction * 10 + (*s - '0');
        if (!digits) return false;
        for (; digits < 3; digits++) fraction *= 10;
    }
    if (!(take_char(&s, 'Z') || take_char(&s, 'z')) || *s) return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *wall_ms = (int64_t)timegm(&tm) * 1000 + fraction;
    return true;
}
