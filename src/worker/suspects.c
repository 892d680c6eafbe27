/* Models that the worker died of; see suspects.h. */
#include "worker/suspects.h"

#include "base/str.h"

/* Whose death is longest ago makes room, but for those in quarantine. */
static struct suspect *new_suspect(struct suspects *s)
{
    if (s->n < SUSPECTS_MAX) return &s->all[s->n++];
    struct suspect *oldest = NULL;
    for (size_t i = 0; i < s->n; i++) {
        struct suspect *x = &s->all[i];
        if (!x->quarantined && (!oldest || x->died_ms < oldest->died_ms)) oldest = x;
    }
    return oldest;
}

bool suspects_blame(struct suspects *s, const char *id, int64_t now_ms, int64_t loaded_ms)
{
    int64_t window_ms = s->window_ms ? s->window_ms : QUARANTINE_WINDOW_MS;
    for (size_t i = 0; i < s->n; i++) {
        struct suspect *x = &s->all[i];
        if (!str_eq(x->id, id)) continue;
        int64_t passed = now_ms - x->died_ms - (loaded_ms - x->loaded_ms);
        if (passed <= window_ms) x->quarantined = true;
        x->died_ms = now_ms;
        x->loaded_ms = loaded_ms;
        return x->quarantined;
    }
    struct suspect *x = new_suspect(s);
    if (!x) return false;
    *x = (struct suspect){.died_ms = now_ms, .loaded_ms = loaded_ms};
    str_copy(x->id, sizeof x->id, id);
    return false;
}

void suspects_lift(struct suspects *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++) {
        if (id && !str_eq(id, s->all[i].id)) continue;
        s->all[i] = s->all[--s->n];
        i--;
    }
}

size_t suspects_quarantined(const struct suspects *s, const char **out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n && n < max; i++)
        if (s->all[i].quarantined) out[n++] = s->all[i].id;
    return n;
}
