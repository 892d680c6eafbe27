/* The `worker` thread: starts the child when there is something to do, reads what it says, calls
 * the listeners, and starts it again when it has died. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/client_int.h"

enum { ARENA_MAX = 256 << 20, SETTINGS_MAX = CONFIG_KEY_COUNT, HOW_MAX = 256 };

/* ---- the greeting ---------------------------------------------------------------------------- */

static void set_state(struct client *c, enum client_state state)
{
    pthread_mutex_lock(&c->lock);
    c->state = state;
    pthread_mutex_unlock(&c->lock);
}

/* The configuration, but for what the worker has no business with. */
static size_t list_settings(const struct config *config, struct setting *out)
{
    size_t n = 0;
    for (int key = 0; key < CONFIG_KEY_COUNT; key++) {
        bool chosen = config_source_of(config, key) != CONFIG_FROM_DEFAULT;
        if (config_is_secret(key) || (!chosen && !config_is_path(key))) continue;
        out[n++] = (struct setting){config_name(key), config_str(config, key)};
    }
    return n;
}

static enum err greet(struct client *c, struct error *error)
{
    struct setting settings[SETTINGS_MAX];
    const char *quarantined[SUSPECTS_MAX];
    struct greeting g = {.build = codec_build(),
                         .log_level = log_threshold(),
                         .log_json = log_is_json(),
                         .preload = c->preload,
                         .settings = settings,
                         .quarantined = quarantined,
                         .let_go = (const char *const *)c->let_go,
                         .n_let_go = c->n_let_go};
    if (c->params.config) g.n_settings = list_settings(c->params.config, settings);
    pthread_mutex_lock(&c->lock);
    g.n_quarantined = suspects_quarantined(&c->suspects, quarantined, SUSPECTS_MAX);
    size_t begin = frame_begin(&c->channel.out, FRAME_HELLO, 0);
    codec_write_greeting(&c->channel.out, &g);
    enum err e = frame_end(&c->channel.out, begin);
    if (!e) e = channel_flush(&c->channel);
    pthread_mutex_unlock(&c->lock);
    return e ? err_set(error, e, "the model worker can't be greeted") : OK;
}

/* ---- its end ------------------------------------------------------------------------------- */

/* Later and later, so that a worker that can't start does not keep the machine busy. */
static void back_off(struct client *c)
{
    int64_t ms = CLIENT_BACKOFF_MS;
    for (int i = 1; i < c->failed_starts && ms < CLIENT_BACKOFF_MAX_MS; i++) ms *= 2;
    c->start_at_ms = clock_mono_ms() + (ms < CLIENT_BACKOFF_MAX_MS ? ms : CLIENT_BACKOFF_MAX_MS);
}

/* The connection is over, for whatever reason. */
static void died(struct client *c, bool own_fault)
{
    char how[HOW_MAX] = "";
    pthread_mutex_lock(&c->lock);
    bool was_up = c->state == CLIENT_UP, expected = c->quit_sent;
    c->state = CLIENT_DOWN;
    channel_reset(&c->channel, -1);
    pthread_mutex_unlock(&c->lock);
    frame_reader_free(c->reader);
    c->reader = NULL;
    child_bury(c, &own_fault, how, sizeof how);
    if (expected) return;
    if (c->renew)
        log_info(worker, "the model worker starts anew, since it may not read what was put into "
                         "its folders as a link or with the folder");
    else
        log_error(worker, "the model worker ended: %s", how);
    c->failed_starts = was_up ? 0 : c->failed_starts + 1;
    if (!was_up) back_off(c);
    tasks_orphaned(c, own_fault, how);
    if (c->failed_starts < CLIENT_STARTS_MAX) return;
    struct error error;
    err_set(&error, ERR_WORKER, "the model worker can't be started: %s (the hub's log says more)",
            *c->why ? c->why : how);
    tasks_fail_all(c, &error);
    c->gave_up = true;
}

static void start(struct client *c)
{
    struct error error;
    int fd;
    rights_begin(c);
    enum err e = c->params.connect ? c->params.connect(c->params.connect_ctx, &fd, &error)
                                   : child_start(c, &fd, &error);
    c->started_ms = clock_mono_ms();
    c->why[0] = '\0';
    c->hung = false;
    if (!e) {
        pthread_mutex_lock(&c->lock);
        channel_reset(&c->channel, fd);
        c->state = CLIENT_STARTING;
        pthread_mutex_unlock(&c->lock);
        c->reader = frame_reader_new(CLIENT_MESSAGE_MAX);
        e = greet(c, &error);
        if (!e) return;
    }
    log_error(worker, "%s", error.msg);
    str_copy(c->why, sizeof c->why, error.msg);
    died(c, false);
}

/* ---- what it says -------------------------------------------------------------------------- */

static enum err on_ready(struct client *c, const struct frame *f, struct error *error)
{
    struct greeting_answer g;
    enum err e = codec_read_greeting_answer(f->payload, f->len, c->arena, &g, error);
    if (e) return e;
    if (g.error) { /* it knows why it can't start, and has put that into the log */
        *error = *g.error;
        str_copy(c->why, sizeof c->why, error->msg);
        return g.error->code;
    }
    log_info(worker, "the model worker runs (process %d, %lld ms); %s", (int)c->pid,
             (long long)(clock_mono_ms() - c->started_ms), g.rights ? g.rights : "");
    c->failed_starts = 0;
    c->gave_up = false;
    c->watch = (struct watch){0};
    wishes_send(c);
    set_state(c, CLIENT_UP); /* from here on callers send for themselves */
    tasks_send_all(c);
    return OK;
}

static enum err on_left(struct client *c, const struct frame *f, struct error *error)
{
    struct left_model m;
    enum err e = codec_read_left(f->payload, f->len, c->arena, &m, error);
    if (!e && strlen(m.id) >= MODEL_ID_MAX)
        e = err_set(error, ERR_INVALID, "a name that is too long for a model's");
    if (!e) wishes_left(c, m.id);
    return e;
}

static enum err on_frame(struct client *c, const struct frame *f, struct error *error)
{
    if (c->state == CLIENT_STARTING && f->type != FRAME_READY)
        return err_set(error, ERR_INVALID, "it did not greet");
    switch (f->type) {
    case FRAME_READY:
        if (c->state == CLIENT_STARTING) return on_ready(c, f, error);
        break;
    case FRAME_EVENT: return task_event(c, f, error);
    case FRAME_EMBEDDING: return task_result(c, f, error);
    case FRAME_ANSWER: return task_answer(c, f, error);
    case FRAME_LEFT: return on_left(c, f, error);
    case FRAME_PONG: watch_answered(c, f->id); return OK;
    default: break;
    }
    return err_set(error, ERR_INVALID, "a frame that workers do not send (%d)", (int)f->type);
}

static void empty_arena(struct client *c)
{
    if (c->arena && !arena_used(c->arena)) return;
    arena_free(c->arena);
    c->arena = arena_new(ARENA_MAX);
}

/* All that has come. False: the worker is dead, or has to be. */
static bool hear(struct client *c, bool *own_fault)
{
    size_t room;
    char *to = frame_room(c->reader, &room);
    ssize_t n = recv(c->channel.fd, to, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) return false;
    frame_filled(c->reader, (size_t)n);
    for (;;) {
        struct frame f;
        struct error error;
        enum err e = frame_next(c->reader, &f, &error);
        if (e == ERR_NOT_FOUND) return true;
        if (!e) e = on_frame(c, &f, &error);
        empty_arena(c);
        if (!e && c->renew) return false;
        if (!e) continue;
        *own_fault = true;
        if (*c->why) return false;
        log_error(worker, "the model worker said what makes no sense, so it is killed: %s",
                  error.msg);
        str_copy(c->why, sizeof c->why, error.msg);
        return false;
    }
}

/* ---- the loop ------------------------------------------------------------------------------ */

struct view { /* of what the lock guards */
    enum client_state state;
    bool has_tasks, waits, quit, quit_sent;
};

static struct view look(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    struct view v = {.state = c->state,
                     .has_tasks = c->tasks.count > 0,
                     .waits = c->state != CLIENT_DOWN && channel_waits(&c->channel),
                     .quit = c->quit,
                     .quit_sent = c->quit_sent};
    pthread_mutex_unlock(&c->lock);
    return v;
}

static void say_quit(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_QUIT, 0);
    bool said = !frame_end(&c->channel.out, begin) && !channel_flush(&c->channel);
    c->quit_sent = true;
    pthread_mutex_unlock(&c->lock);
    c->started_ms = clock_mono_ms() - (said ? 0 : CLIENT_QUIT_MS);
}

/* Whether there should be a worker: for a request, or to have models in memory before one comes. */
static bool wanted(const struct client *c, const struct view *v)
{
    if (v->quit) return false;
    return v->has_tasks || (!c->gave_up && (c->preload || c->n_wishes > 0));
}

static int64_t start_ms(const struct client *c)
{
    return c->params.start_ms ? c->params.start_ms : CLIENT_START_MS;
}

static bool is_watched(const struct view *v)
{
    return v->state == CLIENT_UP && v->has_tasks && !v->quit_sent;
}

/* Until something has to be done without anybody asking; -1 = never. */
static int64_t timeout_ms(const struct client *c, const struct view *v)
{
    int64_t at = -1;
    if (v->state == CLIENT_STARTING) at = c->started_ms + start_ms(c);
    if (v->quit_sent) at = c->started_ms + CLIENT_QUIT_MS;
    if (v->state == CLIENT_DOWN && wanted(c, v)) at = c->start_at_ms;
    if (is_watched(v)) return watch_ms(c);
    if (at < 0) return -1;
    int64_t left = at - clock_mono_ms();
    return left > 0 ? left : 0;
}

static void empty_wake(struct client *c)
{
    uint64_t n;
    ssize_t got = read(c->wake_fd, &n, sizeof n);
    (void)got;
}

/* Waits and does what there is to do. */
static void turn(struct client *c, const struct view *v)
{
    bool connected = v->state != CLIENT_DOWN, alive = true, own_fault = false;
    short events = (short)(POLLIN | (v->waits ? POLLOUT : 0));
    struct pollfd fds[] = {{.fd = c->wake_fd, .events = POLLIN},
                           {.fd = connected ? c->channel.fd : -1, .events = events}};
    int64_t ms = timeout_ms(c, v);
    int n = poll(fds, 2, (int)ms);
    if (fds[0].revents) empty_wake(c);
    if (connected && n == 0 && ms >= 0 && !is_watched(v)) {
        if (!v->quit_sent)
            log_error(worker, "the model worker said nothing for %lld s, so it is killed",
                      (long long)start_ms(c) / 1000);
        alive = false;
    }
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) alive = hear(c, &own_fault);
    if (alive && connected) {
        pthread_mutex_lock(&c->lock);
        alive = channel_flush(&c->channel) == OK;
        pthread_mutex_unlock(&c->lock);
    }
    if (alive && is_watched(v) && !watch_look(c)) {
        alive = false;
        own_fault = true;
    }
    if (!alive) died(c, own_fault);
    tasks_tell_cancelled(c);
}

void *client_main(void *client)
{
    struct client *c = client;
    empty_arena(c);
    for (;;) {
        struct view v = look(c);
        if (v.quit && v.state == CLIENT_DOWN) break;
        if (v.quit && !v.quit_sent) {
            say_quit(c);
            continue;
        }
        if (v.state == CLIENT_DOWN && wanted(c, &v) && clock_mono_ms() >= c->start_at_ms) {
            start(c);
            continue;
        }
        if (v.state == CLIENT_UP && !v.quit && rights_renew(c)) {
            died(c, false);
            continue;
        }
        turn(c, &v);
    }
    arena_free(c->arena);
    return NULL;
}
