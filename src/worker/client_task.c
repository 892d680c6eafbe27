/* A task's life in the hub: sending it, checking and passing on what the worker says about it, and
 * what becomes of it when the worker dies. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/client_int.h"

void task_free(struct task *t)
{
    if (t->kind == TASK_GENERATE) told_free(&t->told);
    if (t->gen) arena_free(t->gen->arena);
    if (t->embed) arena_free(t->embed->arena);
    free(t->args);
    free(t);
}

/* ---- sending ------------------------------------------------------------------------------- */

static void write_generate(struct buf *out, struct task *t)
{
    struct gen_request req = *t->gen;
    struct gen_resume resume[GEN_N_MAX];
    if (t->told.lives > 1) told_resume(&t->told, &req, resume);
    codec_write_request(out, &req);
}

enum err task_send(struct client *c, struct task *t, struct error *error)
{
    static const enum frame_type types[] = {[TASK_GENERATE] = FRAME_GENERATE,
                                            [TASK_EMBED] = FRAME_EMBED,
                                            [TASK_CONTROL] = FRAME_CONTROL};
    struct buf *out = &c->channel.out;
    size_t begin = frame_begin(out, types[t->kind], t->by_id.id);
    switch (t->kind) {
    case TASK_GENERATE: write_generate(out, t); break;
    case TASK_EMBED: codec_write_embed(out, t->embed); break;
    case TASK_CONTROL:
        codec_write_control(out, &(struct control_call){.what = t->what, .args = t->args});
        break;
    }
    enum err e = frame_end(out, begin);
    if (e)
        return err_set(error, e, "the request can't be handed to the model worker: %s",
                       e == ERR_NOMEM ? "no memory" : "too much is waiting for it");
    t->sent = true;
    return OK;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void leave(struct client *c, struct task *t)
{
    pthread_mutex_lock(&c->lock);
    idmap_del(&c->tasks, t->by_id.id);
    list_remove(&t->in_cancels);
    if (!c->tasks.count) pthread_cond_broadcast(&c->all_gone);
    pthread_mutex_unlock(&c->lock);
    task_free(t);
}

/* Tells the listener its last event; the task is gone afterwards. */
static void fail(struct client *c, struct task *t, const struct error *error)
{
    switch (t->kind) {
    case TASK_GENERATE:
        t->gen_fn(t->ctx, &(struct gen_event){.type = GEN_EV_ERROR, .error = error});
        break;
    case TASK_EMBED: t->embed_fn(t->ctx, &(struct embed_result){.error = error}); break;
    case TASK_CONTROL:
        if (t->control_fn) t->control_fn(t->ctx, error, NULL, 0);
        break;
    }
    leave(c, t);
}

void tasks_tell_cancelled(struct client *c)
{
    for (;;) {
        pthread_mutex_lock(&c->lock);
        struct list_node *n = list_pop_front(&c->cancels);
        struct task *t = n ? container_of(n, struct task, in_cancels) : NULL;
        enum err code = t ? t->cancelled : OK;
        pthread_mutex_unlock(&c->lock);
        if (!t) return;
        struct error error;
        err_set(&error, code, "%s",
                code == ERR_STOPPING ? "the hub is shutting down" : "the request was cancelled");
        fail(c, t, &error);
    }
}

/* ---- all of them --------------------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
    const struct task *const *x = a, *const *y = b;
    return (*x)->by_id.id < (*y)->by_id.id ? -1 : (*x)->by_id.id > (*y)->by_id.id;
}

/* All tasks, the oldest first; free it. They stay: only this thread takes them away. */
static struct task **tasks_list(struct client *c, size_t *n)
{
    pthread_mutex_lock(&c->lock);
    struct task **list = xcalloc(c->tasks.count + 1, sizeof(struct task *));
    *n = 0;
    for (size_t i = 0; i < c->tasks.n_buckets; i++)
        for (struct idnode *node = c->tasks.buckets[i]; node; node = node->next)
            list[(*n)++] = container_of(node, struct task, by_id);
    pthread_mutex_unlock(&c->lock);
    qsort(list, *n, sizeof(struct task *), by_age);
    return list;
}

void task_ask(struct client *c, enum control what, const char *args)
{
    struct error error;
    struct task *t = xcalloc(1, sizeof *t);
    *t = (struct task){.kind = TASK_CONTROL, .what = what};
    t->args = xstrdup(args);
    list_init(&t->in_cancels);
    pthread_mutex_lock(&c->lock);
    idmap_put(&c->tasks, &t->by_id, ++c->next_id);
    enum err e = task_send(c, t, &error);
    pthread_mutex_unlock(&c->lock);
    if (e) leave(c, t);
}

void tasks_send_all(struct client *c)
{
    size_t n;
    struct task **list = tasks_list(c, &n);
    for (size_t i = 0; i < n; i++) {
        struct error error;
        pthread_mutex_lock(&c->lock);
        enum err e = list[i]->sent || list[i]->cancelled ? OK : task_send(c, list[i], &error);
        pthread_mutex_unlock(&c->lock);
        if (e) fail(c, list[i], &error);
    }
    free(list);
}

void tasks_fail_all(struct client *c, const struct error *error)
{
    size_t n;
    struct task **list = tasks_list(c, &n);
    for (size_t i = 0; i < n; i++) fail(c, list[i], error);
    free(list);
}

/* Its worker died: false = it can't go on, *error says why. */
static bool survives(struct task *t, bool own_fault, const char *how, struct error *error)
{
    t->lives++;
    if (own_fault) t->tries++;
    const char *why = NULL;
    if (t->kind == TASK_CONTROL && !t->control_fn)
        why = ""; /* the next one is asked anew */
    else if (own_fault && t->kind == TASK_CONTROL && t->what == CONTROL_LOAD)
        why = " while it loaded";
    else if (t->tries >= CLIENT_TRIES_MAX || t->lives >= CLIENT_LIVES_MAX)
        why = ", and so did those before it";
    else if (t->kind == TASK_GENERATE && !told_again(&t->told))
        why = " while it answered with log probabilities";
    if (!why) return true;
    err_set(error, ERR_WORKER, "the model worker stopped (%s)%s; send the request again", how, why);
    error->retry_after_s = 1;
    return false;
}

void tasks_orphaned(struct client *c, bool own_fault, const char *how)
{
    size_t n, went_on = 0, waiting = 0, failed = 0;
    struct task **list = tasks_list(c, &n);
    for (size_t i = 0; i < n; i++) {
        struct task *t = list[i];
        struct error error;
        pthread_mutex_lock(&c->lock);
        bool concerned = t->sent && !t->cancelled;
        t->sent = false;
        pthread_mutex_unlock(&c->lock);
        if (!concerned) continue;
        bool running = t->kind == TASK_GENERATE && t->told.started;
        if (!survives(t, own_fault, how, &error)) {
            failed++;
            fail(c, t, &error);
        } else if (running) {
            went_on++;
        } else {
            waiting++;
        }
    }
    free(list);
    if (went_on + waiting + failed)
        log_info(worker,
                 "%zu running answers go on in the next worker, %zu requests go again, %zu "
                 "ended",
                 went_on, waiting, failed);
}

/* ---- what the worker says ------------------------------------------------------------------ */

/* NULL: it is over or was cancelled, which is no fault. */
static struct task *find(struct client *c, uint64_t id, enum task_kind kind, bool *wrong)
{
    pthread_mutex_lock(&c->lock);
    struct idnode *n = idmap_get(&c->tasks, id);
    struct task *t = n ? container_of(n, struct task, by_id) : NULL;
    if (t && (t->cancelled || !t->sent)) t = NULL;
    pthread_mutex_unlock(&c->lock);
    *wrong = t && t->kind != kind;
    return t;
}

static enum err wrong_kind(const struct frame *f, struct error *error)
{
    return err_set(error, ERR_INVALID, "an answer of the wrong kind to request %llu",
                   (unsigned long long)f->id);
}

/* Its model makes room for another one. It waits in the worker until that has its room back. */
static void go_again(struct client *c, struct task *t)
{
    struct error error;
    pthread_mutex_lock(&c->lock);
    enum err e = t->cancelled ? OK : task_send(c, t, &error);
    pthread_mutex_unlock(&c->lock);
    if (e) fail(c, t, &error);
}

enum err task_event(struct client *c, const struct frame *f, struct error *error)
{
    struct gen_event ev;
    struct error own;
    bool wrong;
    enum err e = codec_read_event(f->payload, f->len, c->arena, &ev, error);
    if (e) return e;
    struct task *t = find(c, f->id, TASK_GENERATE, &wrong);
    if (!t) return OK;
    if (wrong) return wrong_kind(f, error);
    if (ev.type == GEN_EV_ERROR && ev.error) {
        own = *ev.error;
        if (rights_retry(c, t, &own)) return OK;
        ev.error = &own;
    }
    switch (told_pass(&t->told, &ev, error)) {
    case TOLD_PASS: break;
    case TOLD_DROP: return OK;
    case TOLD_AGAIN: go_again(c, t); return OK;
    case TOLD_BAD: return error->code;
    }
    t->gen_fn(t->ctx, &ev);
    if (ev.type == GEN_EV_DONE || ev.type == GEN_EV_ERROR) leave(c, t);
    return OK;
}

enum err task_result(struct client *c, const struct frame *f, struct error *error)
{
    struct embed_result r;
    struct error own;
    bool wrong;
    enum err e = codec_read_result(f->payload, f->len, c->arena, &r, error);
    if (e) return e;
    struct task *t = find(c, f->id, TASK_EMBED, &wrong);
    if (!t) return OK;
    if (wrong) return wrong_kind(f, error);
    if (!r.error && (r.n_inputs != t->embed->n_inputs || !r.model))
        return err_set(error, ERR_INVALID, "%zu vectors for %zu inputs", r.n_inputs,
                       t->embed->n_inputs);
    if (r.error) {
        own = *r.error;
        if (rights_retry(c, t, &own)) return OK;
        r.error = &own;
    }
    t->embed_fn(t->ctx, &r);
    leave(c, t);
    return OK;
}

enum err task_answer(struct client *c, const struct frame *f, struct error *error)
{
    struct control_answer a;
    struct error own;
    bool wrong;
    enum err e = codec_read_answer(f->payload, f->len, c->arena, &a, error);
    if (e) return e;
    struct task *t = find(c, f->id, TASK_CONTROL, &wrong);
    if (!t) return OK;
    if (wrong) return wrong_kind(f, error);
    if (a.error && t->control_fn) {
        own = *a.error;
        if (rights_retry(c, t, &own)) return OK;
        a.error = &own;
    }
    if (!a.error && t->control_fn) wishes_heard(c, t->what, t->args, a.answer, a.len);
    if (a.error && !t->control_fn)
        log_warn(worker, "%s could not be done again: %s", control_name(t->what), a.error->msg);
    if (t->control_fn) t->control_fn(t->ctx, a.error, a.answer, a.len);
    leave(c, t);
    return OK;
}
