#include "remote/breaker.h"

static int64_t left(const struct breaker *b, int64_t now_ms)
{
    int64_t until = b->hold_ms;
    if (b->open_ms && b->until_ms > until) until = b->until_ms;
    return until > now_ms ? until - now_ms : 0;
}

bool breaker_is_open(const struct breaker *b, int64_t now_ms, int64_t *wait_ms)
{
    *wait_ms = left(b, now_ms);
    return *wait_ms > 0 || b->probing;
}

bool breaker_allow(struct breaker *b, int64_t now_ms, bool *probe, int64_t *wait_ms)
{
    *probe = false;
    if (breaker_is_open(b, now_ms, wait_ms)) return false;
    if (b->open_ms) *probe = b->probing = true;
    return true;
}

void breaker_good(struct breaker *b)
{
    int64_t hold = b->hold_ms;
    *b = (struct breaker){.hold_ms = hold};
}

void breaker_bad(struct breaker *b, int64_t now_ms)
{
    b->probing = false;
    if (++b->failures < BREAKER_FAILURES) return;
    if (b->open_ms && b->until_ms > now_ms) return; /* one that was under way when it opened */
    b->open_ms = b->open_ms ? b->open_ms * 2 : BREAKER_OPEN_MS;
    if (b->open_ms > BREAKER_OPEN_MAX_MS) b->open_ms = BREAKER_OPEN_MAX_MS;
    b->until_ms = now_ms + b->open_ms;
}

void breaker_gave_up(struct breaker *b, bool probe)
{
    if (probe) b->probing = false;
}

void breaker_hold(struct breaker *b, int64_t now_ms, int64_t ms, bool probe)
{
    if (ms > BREAKER_HOLD_MAX_MS) ms = BREAKER_HOLD_MAX_MS;
    if (now_ms + ms > b->hold_ms) b->hold_ms = now_ms + ms;
    breaker_gave_up(b, probe);
}
