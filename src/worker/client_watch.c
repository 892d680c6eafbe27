/* Whether the worker still does anything. Two signs, and only while it has something to do:
 *
 *   its main thread answers a PING, so it hears requests and cancels;
 *   its engine thread gets on: no step of a model takes longer than the limit, nor than STEP_TIMES
 *   the longest that this process has had. (A first step may have to read the weights from disk.)
 *
 * Loading is not watched: it may take as long as a disk takes.
 *
 * Time is counted from look to look, and a look that comes late counts little, so that a machine or
 * container that was frozen finds nobody hanging when it goes on. */
#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "base/str.h"
#include "worker/client_int.h"

enum { STEP_TIMES = 30, LOOK_MAX_MS = 5000, LOOKS_PER_LIMIT = 10 };

static int64_t limit_ms(const struct client *c)
{
    if (c->params.hang_ms) return c->params.hang_ms;
    return c->params.config ? config_int(c->params.config, CONFIG_HANG_TIMEOUT) : 0;
}

static int64_t look_every_ms(const struct client *c)
{
    int64_t ms = limit_ms(c) / LOOKS_PER_LIMIT;
    return ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms > 0 ? ms : 1;
}

int64_t watch_ms(const struct client *c)
{
    if (!limit_ms(c)) return -1;
    if (!c->watch.looked_ms) return 0;
    int64_t left = c->watch.looked_ms + look_every_ms(c) - clock_mono_ms();
    return left > 0 ? left : 0;
}

static bool step_is_over(struct client *c, int64_t passed_ms)
{
    struct watch *w = &c->watch;
    int64_t since, longest, limit = limit_ms(c);
    shared_child_step(&since, &longest);
    w->step_ms = since && since == w->step_since_ms ? w->step_ms + passed_ms : 0;
    w->step_since_ms = since;
    if (longest > limit / STEP_TIMES) limit = longest * STEP_TIMES;
    if (w->step_ms <= limit) return true;
    c->hung = true;
    str_printf(c->why, sizeof c->why,
               "it hung: one step has taken %.1f s, where the longest before took %.1f s",
               (double)w->step_ms / 1000, (double)longest / 1000);
    return false;
}

static void send_ping(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_PING, ++c->watch.pings);
    if (frame_end(&c->channel.out, begin) == OK) (void)!channel_flush(&c->channel);
    pthread_mutex_unlock(&c->lock);
}

static bool has_answered(struct client *c, int64_t passed_ms)
{
    struct watch *w = &c->watch;
    if (w->pings == w->pongs) {
        w->unanswered_ms = 0;
        send_ping(c);
        return true;
    }
    w->unanswered_ms += passed_ms;
    if (w->unanswered_ms <= limit_ms(c)) return true;
    str_printf(c->why, sizeof c->why, "it hung: it has not answered for %.1f s",
               (double)w->unanswered_ms / 1000);
    return false;
}

bool watch_look(struct client *c)
{
    struct watch *w = &c->watch;
    int64_t now = clock_mono_ms(), every = look_every_ms(c);
    if (watch_ms(c) != 0) return true;
    int64_t passed = w->looked_ms ? now - w->looked_ms : 0;
    if (passed > 2 * every) passed = 2 * every;
    w->looked_ms = now;
    return step_is_over(c, passed) && has_answered(c, passed);
}

void watch_answered(struct client *c, uint64_t id)
{
    c->watch.pongs = id;
}
