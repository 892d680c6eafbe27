/* The child: reads the hub's frames, has the local provider do what they ask, writes what it says.
 *
 * Threads: the main thread reads and, when the hub is slow, writes; the provider's delivery thread
 * writes the events. What waits for the hub is under one lock. The provider's on_drained, called
 * when the delivery thread has nothing more to tell, is when events are really sent: those of one
 * batch go out in one write. Nobody ever waits for the hub: what it does not take is kept, and past
 * CHILD_OUT_MAX the child gives up, since then the hub hangs.
 *
 * The end of the hub is the end of the socket, and that of the child. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/str.h"
#include "models/models.h"
#include "provider/stack.h"
#include "worker/child_int.h"
#include "worker/frame.h"
#include "worker/worker.h"

enum {
    CHILD_OUT_MAX = 512 << 20,      /* bytes that wait for the hub */
    CHILD_MESSAGE_MAX = 0x7ff00000, /* of one from it */
    POOL_QUEUE_MORE = 4096,
    STOP_GRACE_MS = 0, /* the hub has waited already */
    ARENA_MAX = 1 << 20,
};

/* A request of the hub's that is in work. Freed with its last event, on the delivery thread, and
 * when provider_... has returned, whichever is later. */
struct job {
    struct idnode by_id; /* the hub's id; lock */
    struct child *child;
    uint64_t local_id; /* lock; 0 until the provider has taken it */
    bool cancelled;    /* lock: before that */
    int refs;          /* lock */
};

struct child {
    struct config *config;
    struct models *models;
    struct pool *pool;
    struct stack stack;
    char rights[RIGHTS_MAX]; /* what was taken from it, in words */
    struct frame_reader *reader;
    int wake_fd; /* something waits to be sent */
    pthread_mutex_t lock;
    struct channel channel; /* lock */
    struct idmap jobs;      /* lock */
};

/* ---- sending ------------------------------------------------------------------------------- */

static HT_NORETURN void leave_at_once(int status, const char *why)
{
    if (why) log_error(worker, "%s", why);
    _exit(status);
}

/* The lock is held. */
static void flush(struct child *c)
{
    if (channel_flush(&c->channel)) leave_at_once(0, NULL); /* the hub is gone */
    if (!channel_waits(&c->channel)) return;
    uint64_t one = 1;
    ssize_t n = write(c->wake_fd, &one, sizeof one);
    (void)n;
}

/* Ends a frame; when that fails for want of room or memory, the answer is that instead. */
static void end_frame(struct child *c, size_t begin, enum frame_type type, uint64_t id)
{
    struct buf *out = &c->channel.out;
    enum err e = frame_end(out, begin);
    if (!e) return;
    struct error error;
    err_set(&error, e, "the answer is too large to be handed to the hub");
    begin = frame_begin(out, type, id);
    if (type == FRAME_EVENT)
        codec_write_event(out, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
    else if (type == FRAME_EMBEDDING)
        codec_write_result(out, &(struct embed_result){.error = &error});
    else
        codec_write_answer(out, &(struct control_answer){.error = &error});
    if (frame_end(out, begin)) leave_at_once(1, "the hub does not read what it is told");
}

static void on_drained(void *ctx)
{
    struct child *c = ctx;
    pthread_mutex_lock(&c->lock);
    if (channel_waits(&c->channel)) flush(c);
    pthread_mutex_unlock(&c->lock);
}

/* On the engine thread. */
static void on_left(void *ctx, const char *id)
{
    struct child *c = ctx;
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_LEFT, 0);
    codec_write_left(&c->channel.out, &(struct left_model){.id = id});
    if (frame_end(&c->channel.out, begin) == OK) flush(c);
    pthread_mutex_unlock(&c->lock);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static struct job *job_new(struct child *c, uint64_t id)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->child = c;
    job->refs = 2;
    pthread_mutex_lock(&c->lock);
    idmap_put(&c->jobs, &job->by_id, id);
    pthread_mutex_unlock(&c->lock);
    return job;
}

/* The lock is held. */
static void job_unref(struct job *job)
{
    if (--job->refs == 0) free(job);
}

/* The lock is held: its answer is complete. */
static void job_over(struct job *job)
{
    idmap_del(&job->child->jobs, job->by_id.id);
    job_unref(job);
}

/* The provider has taken it; or its answer was an error, then local_id is 0. */
static void taken(struct job *job, uint64_t local_id)
{
    struct child *c = job->child;
    pthread_mutex_lock(&c->lock);
    job->local_id = local_id;
    bool cancelled = job->cancelled && local_id;
    job_unref(job);
    pthread_mutex_unlock(&c->lock);
    if (cancelled) provider_cancel(c->stack.local, local_id);
}

static void on_event(void *ctx, const struct gen_event *ev)
{
    struct job *job = ctx;
    struct child *c = job->child;
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_EVENT, job->by_id.id);
    codec_write_event(&c->channel.out, ev);
    end_frame(c, begin, FRAME_EVENT, job->by_id.id);
    bool last = ev->type == GEN_EV_DONE || ev->type == GEN_EV_ERROR || ev->type == GEN_EV_PAUSED;
    if (last) job_over(job);
    pthread_mutex_unlock(&c->lock);
}

static void on_result(void *ctx, const struct embed_result *r)
{
    struct job *job = ctx;
    struct child *c = job->child;
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_EMBEDDING, job->by_id.id);
    codec_write_result(&c->channel.out, r);
    end_frame(c, begin, FRAME_EMBEDDING, job->by_id.id);
    job_over(job);
    pthread_mutex_unlock(&c->lock);
}

/* From any thread. */
static void on_answer(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct job *job = ctx;
    struct child *c = job->child;
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_ANSWER, job->by_id.id);
    codec_write_answer(&c->channel.out,
                       &(struct control_answer){.error = error, .answer = answer, .len = len});
    end_frame(c, begin, FRAME_ANSWER, job->by_id.id);
    flush(c);
    job_over(job);
    pthread_mutex_unlock(&c->lock);
}

/* ---- what the hub asks --------------------------------------------------------------------- */

/* A provider's refusal is an answer like any other: the listener is called from here. */
static void do_generate(struct child *c, const struct frame *f)
{
    struct gen_request *req;
    struct error error;
    uint64_t local_id = 0;
    struct job *job = job_new(c, f->id);
    enum err e = codec_read_request(f->payload, f->len, &req, &error);
    if (!e) e = provider_generate(c->stack.local, req, on_event, job, &local_id, &error);
    if (e) on_event(job, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
    if (e) on_drained(c);
    taken(job, e ? 0 : local_id);
}

static void do_embed(struct child *c, const struct frame *f)
{
    struct embed_request *req;
    struct error error;
    uint64_t local_id = 0;
    struct job *job = job_new(c, f->id);
    enum err e = codec_read_embed(f->payload, f->len, &req, &error);
    if (!e) e = provider_embed(c->stack.local, req, on_result, job, &local_id, &error);
    if (e) on_result(job, &(struct embed_result){.error = &error});
    if (e) on_drained(c);
    taken(job, e ? 0 : local_id);
}

static void do_control(struct child *c, const struct frame *f)
{
    struct control_call call;
    struct error error;
    struct job *job = job_new(c, f->id);
    enum err e = codec_read_control(f->payload, f->len, &call, &error);
    if (!e) e = provider_control(c->stack.local, call.what, call.args, on_answer, job, &error);
    if (e) on_answer(job, &error, NULL, 0);
    taken(job, 0);
}

static void do_cancel(struct child *c, uint64_t id)
{
    uint64_t local_id = 0;
    pthread_mutex_lock(&c->lock);
    struct idnode *n = idmap_get(&c->jobs, id);
    struct job *job = n ? container_of(n, struct job, by_id) : NULL;
    if (job) {
        job->cancelled = true;
        local_id = job->local_id;
    }
    pthread_mutex_unlock(&c->lock);
    if (local_id) provider_cancel(c->stack.local, local_id);
}

/* From this thread, so that the hub knows that it still hears. */
static void answer_ping(struct child *c, uint64_t id)
{
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_PONG, id);
    if (frame_end(&c->channel.out, begin) == OK) flush(c);
    pthread_mutex_unlock(&c->lock);
}

/* False: the hub wants it to end. */
static bool obey(struct child *c, const struct frame *f)
{
    fault_hang(FAULT_hang_worker);
    child_break_out();
    switch (f->type) {
    case FRAME_GENERATE: do_generate(c, f); return true;
    case FRAME_EMBED: do_embed(c, f); return true;
    case FRAME_CONTROL: do_control(c, f); return true;
    case FRAME_CANCEL: do_cancel(c, f->id); return true;
    case FRAME_PING: answer_ping(c, f->id); return true;
    case FRAME_QUIT: return false;
    default: leave_at_once(1, "the hub sent a frame that hubs do not send");
    }
}

/* ---- the main thread ----------------------------------------------------------------------- */

/* What the socket has now. False when the hub is gone. */
static bool receive(struct child *c)
{
    size_t room;
    char *to = frame_room(c->reader, &room);
    ssize_t n = recv(WORKER_FD, to, room, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) return false;
    frame_filled(c->reader, (size_t)n);
    return true;
}

/* Waits for the next message; meanwhile sends what the hub could not take. */
static enum err next_message(struct child *c, struct frame *f, struct error *error)
{
    for (;;) {
        enum err e = frame_next(c->reader, f, error);
        if (e != ERR_NOT_FOUND) return e;
        pthread_mutex_lock(&c->lock);
        bool waits = channel_waits(&c->channel);
        pthread_mutex_unlock(&c->lock);
        struct pollfd fds[] = {{.fd = WORKER_FD, .events = (short)(POLLIN | (waits ? POLLOUT : 0))},
                               {.fd = c->wake_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0) continue;
        uint64_t woken;
        if (fds[1].revents && read(c->wake_fd, &woken, sizeof woken) < 0) continue;
        on_drained(c);
        if ((fds[0].revents & ~POLLOUT) && !receive(c)) return ERR_CLOSED;
    }
}

static void serve(struct child *c)
{
    for (;;) {
        struct frame f;
        struct error error;
        enum err e = next_message(c, &f, &error);
        if (e == ERR_CLOSED) leave_at_once(0, NULL);
        if (e) leave_at_once(1, error.msg);
        if (!obey(c, &f)) return;
    }
}

/* ---- start and end ------------------------------------------------------------------------- */

static enum err take_settings(struct child *c, const struct greeting *g, struct error *error)
{
    struct config_override *overrides = xcalloc(g->n_settings + 1, sizeof *overrides);
    enum err e = log_open_fd((enum log_level)g->log_level, g->log_json, WORKER_LOG_FD, error);
    for (size_t i = 0; i < g->n_settings && !e; i++) {
        overrides[i].value = g->settings[i].value;
        if (!config_find(g->settings[i].name, &overrides[i].key))
            e = err_set(error, ERR_CONFIG, "the hub sent the setting '%.100s', which is unknown",
                        g->settings[i].name);
    }
    if (!e) e = config_from(overrides, g->n_settings, &c->config, error);
    free(overrides);
    return e;
}

/* The libraries with their back ends, then without rights. */
static enum err open_engine(struct child *c, struct engine **out, struct error *error)
{
    struct engine_description d;
    const char *lib_dir = config_str(c->config, CONFIG_LIB_DIR);
    enum err e = engine_open_llama(*lib_dir ? lib_dir : NULL, out, error);
    if (!e) e = engine_describe(*out, &d, error);
    if (!e && config_bool(c->config, CONFIG_SANDBOX))
        child_drop_rights(c->config, c->rights, sizeof c->rights);
    else
        str_copy(c->rights, sizeof c->rights, "its rights are NOT restricted (HEARTH_SANDBOX)");
    return e;
}

static enum err open_parts(struct child *c, const struct greeting *g, struct error *error)
{
    struct engine *engine = NULL;
    size_t queued = (size_t)config_int(c->config, CONFIG_QUEUE_CAPACITY) +
                    (size_t)config_int(c->config, CONFIG_MAX_CONNECTIONS) + POOL_QUEUE_MORE;
    enum err e = models_open(config_str(c->config, CONFIG_MODELS_DIR),
                             config_str(c->config, CONFIG_BUILTIN_DIR), &c->models, error);
    if (!e) e = open_engine(c, &engine, error); /* before there are threads */
    if (!e)
        e = pool_new("pool", (int)config_int(c->config, CONFIG_POOL_THREADS), queued, &c->pool,
                     error);
    struct stack_hooks hooks = {.on_drained = on_drained,
                                .on_left = on_left,
                                .ctx = c,
                                .quarantined = g->quarantined,
                                .n_quarantined = g->n_quarantined};
    return e ? e : stack_open(c->config, engine, c->models, c->pool, &hooks, &c->stack, error);
}

static void answer_greeting(struct child *c, const struct error *error)
{
    struct greeting_answer g = {.build = codec_build(), .rights = c->rights, .error = error};
    pthread_mutex_lock(&c->lock);
    size_t begin = frame_begin(&c->channel.out, FRAME_READY, 0);
    codec_write_greeting_answer(&c->channel.out, &g);
    if (frame_end(&c->channel.out, begin)) leave_at_once(1, "no memory to greet");
    flush(c);
    pthread_mutex_unlock(&c->lock);
}

/* Up to where requests can be taken. */
static enum err be_greeted(struct child *c, struct error *error)
{
    struct frame f;
    struct greeting g = {0};
    struct arena *arena = arena_new(ARENA_MAX);
    enum err e = next_message(c, &f, error);
    if (!e && f.type != FRAME_HELLO) e = err_set(error, ERR_INVALID, "the hub did not greet");
    if (e == ERR_CLOSED) leave_at_once(0, NULL);
    if (!e) e = codec_read_greeting(f.payload, f.len, arena, &g, error);
    if (!e) e = take_settings(c, &g, error);
    if (!e) e = open_parts(c, &g, error);
    bool preload = !e && g.preload;
    answer_greeting(c, e ? error : NULL);
    if (preload) e = stack_preload(c->config, &c->stack, g.let_go, g.n_let_go, error);
    arena_free(arena);
    return e;
}

static void close_parts(struct child *c)
{
    stack_stop(&c->stack, STOP_GRACE_MS);
    pool_free(c->pool);
    stack_close(&c->stack);
    models_free(c->models);
    config_free(c->config);
}

static void settle_in(struct child *c)
{
    prctl(PR_SET_NAME, "hearth-worker");
    signal(SIGINT, SIG_IGN); /* the hub says when it is over */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    channel_init(&c->channel, CHILD_OUT_MAX);
    channel_reset(&c->channel, WORKER_FD);
    idmap_init(&c->jobs);
    pthread_mutex_init(&c->lock, NULL);
    c->reader = frame_reader_new(CHILD_MESSAGE_MAX);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    child_watch_crashes();
}

int worker_main(void)
{
    static struct child child;
    struct error error;
    struct stat st;
    if (fstat(WORKER_FD, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        fprintf(stderr,
                "hearth worker: the hub starts this by itself; `hearth serve` is the hub\n");
        return 2;
    }
    settle_in(&child);
    enum err e = shared_attach(WORKER_SHARED_FD, &error);
    if (!e) e = be_greeted(&child, &error);
    if (e) {
        log_error(worker, "the model worker can't start: %s", error.msg);
        return 1;
    }
    serve(&child);
    close_parts(&child);
    return 0;
}
