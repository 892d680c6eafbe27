/* One turn: the provider's events become the turn's, are told to listeners and kept; the text goes
 * into the store now and then, and whole before the end is told. The provider's listener must not
 * block, so everything that waits for the database is a job of the pool. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "chat/chat_int.h"

enum { SAVE_MS = 2000, META_MAX = 4 << 20 };

static const char *const words[] = {
#define X(id, word) [CHAT_##id] = word,
    CHAT_EVENTS(X)
#undef X
};

void turn_unref(struct turn *t)
{
    if (atomic_fetch_sub(&t->refs, 1) > 1) return;
    ht_assert(list_empty(&t->listeners));
    for (size_t i = 0; i < t->n_events; i++) free(t->events[i].data);
    free(t->events);
    buf_free(&t->content);
    buf_free(&t->reasoning);
    free(t->request_id);
    free(t->system_prompt);
    free(t->model);
    free(t->adapter);
    free(t->source);
    free(t->route);
    wish_free(t->wish);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- events -------------------------------------------------------------------------------- */

static int64_t text_told(const struct turn *t)
{
    return (int64_t)(t->reasoning.len + t->content.len);
}

/* The lock is held. Without memory the event is told and not kept: a client that comes back misses
 * it and finds the text in the store. */
static void keep_event(struct turn *t, enum chat_event_type type, const char *data, size_t len)
{
    if (t->n_events == t->cap_events) {
        size_t cap = t->cap_events ? 2 * t->cap_events : 64;
        struct kept_event *bigger = try_realloc(t->events, cap, sizeof *bigger);
        if (!bigger) return;
        t->events = bigger;
        t->cap_events = cap;
    }
    char *copy = try_malloc(len + 1);
    if (!copy) return;
    memcpy(copy, data, len);
    copy[len] = '\0';
    t->events[t->n_events++] = (struct kept_event){type, copy, len, text_told(t)};
}

static bool ends(enum chat_event_type type)
{
    return type == CHAT_DONE || type == CHAT_ERROR;
}

/* The lock is held. */
static void tell(struct turn *t, enum chat_event_type type, const struct buf *data)
{
    if (t->over || data->err) return;
    keep_event(t, type, buf_str(data), data->len);
    t->over = ends(type);
    if (t->over) t->ended_ms = clock_mono_ms();
    struct chat_event ev = {.id = (int64_t)t->n_events,
                            .at = text_told(t),
                            .type = type,
                            .word = words[type],
                            .data = buf_str(data),
                            .len = data->len,
                            .last = t->over};
    list_each (node, &t->listeners) {
        struct listening *l = container_of(node, struct listening, node);
        l->l.on_event(l->l.ctx, &ev);
    }
}

/* Nobody joins a turn that is over, so the list is nobody else's. */
static void end_listeners(struct turn *t)
{
    struct list_node *n;
    while ((n = list_pop_front(&t->listeners))) {
        struct listening *l = container_of(n, struct listening, node);
        l->l.on_end(l->l.ctx);
        free(l);
    }
}

/* The lock is held. */
static void tell_again(struct turn *t, int64_t after, const struct chat_listener *l)
{
    for (size_t i = after > 0 ? (size_t)after : 0; i < t->n_events; i++) {
        const struct kept_event *k = &t->events[i];
        struct chat_event ev = {.id = (int64_t)i + 1,
                                .at = k->at,
                                .type = k->type,
                                .word = words[k->type],
                                .data = k->data,
                                .len = k->len,
                                .last = t->over && i + 1 == t->n_events};
        l->on_event(l->ctx, &ev);
    }
}

void turn_listen(struct turn *t, int64_t after, const struct chat_listener *l)
{
    struct listening *joined = xcalloc(1, sizeof *joined);
    joined->l = *l;
    pthread_mutex_lock(&t->lock);
    tell_again(t, after, l);
    bool over = t->over;
    if (!over) list_push_back(&t->listeners, &joined->node);
    pthread_mutex_unlock(&t->lock);
    if (!over) return;
    l->on_end(l->ctx);
    free(joined);
}

static void begin_data(struct buf *data, struct jw *w)
{
    buf_init(data, EVENT_MAX);
    jw_init(w, data);
    jw_obj(w);
}

static void end_data(struct turn *t, enum chat_event_type type, struct buf *data, struct jw *w)
{
    jw_obj_end(w);
    pthread_mutex_lock(&t->lock);
    tell(t, type, data);
    pthread_mutex_unlock(&t->lock);
    buf_free(data);
    if (ends(type)) end_listeners(t);
}

void turn_meta(struct turn *t, const char *title)
{
    struct buf data;
    struct jw w;
    begin_data(&data, &w);
    jw_kstr(&w, "conversation_id", t->ids.conversation);
    jw_kstr(&w, "question_id", t->ids.question);
    jw_kstr(&w, "message_id", t->ids.answer);
    jw_kstr(&w, "title", title);
    end_data(t, CHAT_META, &data, &w);
}

void turn_sources(struct turn *t, const char *json)
{
    struct buf data;
    struct jw w;
    begin_data(&data, &w);
    jw_kraw(&w, "sources", json);
    end_data(t, CHAT_SOURCES, &data, &w);
}

enum err turn_pinned(const struct turn *t, bool *out, struct error *error)
{
    *out = true;
    if (t->local_only || (t->wish && t->wish->pinned)) return OK;
    return store_conversation_pinned(t->store, t->user_id, t->ids.conversation, out, error);
}

static void tell_error(struct turn *t, const struct error *error)
{
    struct buf data;
    struct jw w;
    begin_data(&data, &w);
    jw_kstr(&w, "code", err_api_code(error->code));
    jw_kstr(&w, "message", error->msg);
    if (*error->param) jw_kstr(&w, "param", error->param);
    jw_kstr(&w, "message_id", t->ids.answer);
    end_data(t, CHAT_ERROR, &data, &w);
}

/* The provider alone knows how it ended: of a stop that came while the last token was on its way it
 * says that the answer is whole. */
static bool was_cancelled(const struct turn *t)
{
    return t->error.code == ERR_CANCELLED || t->finish == FINISH_CANCELLED;
}

static const char *finish_word(const struct turn *t)
{
    if (was_cancelled(t)) return "cancelled";
    return t->finish == FINISH_LENGTH ? "length" : "stop";
}

static void tell_done(struct turn *t)
{
    struct buf data;
    struct jw w;
    begin_data(&data, &w);
    jw_kint(&w, "prompt_tokens", t->usage.prompt_tokens);
    jw_kint(&w, "cached_tokens", t->usage.cached_tokens);
    jw_kint(&w, "completion_tokens", t->usage.completion_tokens);
    jw_kstr(&w, "model", t->answered_by);
    end_data(t, CHAT_USAGE, &data, &w);
    begin_data(&data, &w);
    jw_kstr(&w, "finish_reason", finish_word(t));
    jw_kstr(&w, "message_id", t->ids.answer);
    end_data(t, CHAT_DONE, &data, &w);
}

/* ---- into the store ------------------------------------------------------------------------ */

/* How it ended and what it took, for whoever asks when the turn is forgotten. */
static void write_meta(const struct turn *t, enum store_message_status status, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "usage");
    jw_obj(&w);
    jw_kint(&w, "prompt_tokens", t->usage.prompt_tokens);
    jw_kint(&w, "cached_tokens", t->usage.cached_tokens);
    jw_kint(&w, "completion_tokens", t->usage.completion_tokens);
    jw_obj_end(&w);
    if (*t->provider) {
        jw_kstr(&w, "provider", t->provider);
        jw_kstr(&w, "route_reason", t->reason);
    }
    if (t->wish && t->wish->json) jw_kraw(&w, "sources", t->wish->json);
    if (status == STORE_FAILED) {
        jw_key(&w, "error");
        jw_obj(&w);
        jw_kstr(&w, "code", err_api_code(t->error.code));
        jw_kstr(&w, "message", t->error.msg);
        jw_obj_end(&w);
    } else {
        jw_kstr(&w, "finish_reason", finish_word(t));
    }
    jw_obj_end(&w);
}

/* What there is now, copied, so that the lock is not held while the database writes. */
static enum err save(struct turn *t, enum store_message_status status, struct error *error)
{
    struct buf meta;
    buf_init(&meta, META_MAX);
    pthread_mutex_lock(&t->lock);
    char *content = strdup(buf_str(&t->content)), *reasoning = strdup(buf_str(&t->reasoning));
    pthread_mutex_unlock(&t->lock);
    /* Until the end it is not known, and being written. */
    if (status != STORE_STREAMING) write_meta(t, status, &meta);
    struct store_message m = {.id = t->ids.answer,
                              .content = content,
                              .reasoning = reasoning && *reasoning ? reasoning : NULL,
                              .model = *t->answered_by ? t->answered_by : NULL,
                              .meta = meta.len ? buf_str(&meta) : NULL,
                              .status = status};
    enum err e = content && reasoning && !meta.err
                     ? store_message_finish(t->store, t->user_id, &m, error)
                     : err_set(error, ERR_NOMEM, "no memory to save the answer");
    free(content);
    free(reasoning);
    buf_free(&meta);
    return e;
}

/* The end: first the store, then the listeners, both from what the provider said last. */
static void save_end(struct turn *t)
{
    struct error error;
    bool worked = t->error.code == OK || was_cancelled(t);
    enum store_message_status status = was_cancelled(t) ? STORE_STOPPED
                                       : worked         ? STORE_COMPLETE
                                                        : STORE_FAILED;
    if (save(t, status, &error))
        tell_error(t, &error);
    else if (worked)
        tell_done(t);
    else
        tell_error(t, &t->error);
}

static void save_some(void *turn)
{
    struct turn *t = turn;
    struct error error;
    if (save(t, STORE_STREAMING, &error))
        log_warn(store, "an answer could not be saved yet: %s", error.msg);
    pthread_mutex_lock(&t->lock);
    t->saving = false;
    t->saved_ms = clock_mono_ms();
    bool end = t->end_waits;
    pthread_mutex_unlock(&t->lock);
    if (end) save_end(t);
    turn_unref(t);
}

/* Answers that begin in the same batch must not all be saved at the same moment. */
static void begin_saving(struct turn *t)
{
    int64_t early_ms = (int64_t)(hash64(t->ids.answer, strlen(t->ids.answer), 1) % (SAVE_MS / 2));
    pthread_mutex_lock(&t->lock);
    t->saved_ms = clock_mono_ms() - early_ms;
    pthread_mutex_unlock(&t->lock);
}

static void save_now_and_then(struct turn *t)
{
    pthread_mutex_lock(&t->lock);
    bool due = !t->saving && clock_mono_ms() - t->saved_ms >= SAVE_MS;
    t->saving |= due;
    pthread_mutex_unlock(&t->lock);
    if (!due) return;
    atomic_fetch_add(&t->refs, 1);
    if (pool_submit(t->chat->pool, save_some, t) == OK) return;
    pthread_mutex_lock(&t->lock);
    t->saving = false;
    pthread_mutex_unlock(&t->lock);
    turn_unref(t);
}

static void finish(void *turn)
{
    struct turn *t = turn;
    pthread_mutex_lock(&t->lock);
    bool wait = t->end_waits = t->saving; /* else the older text could be written last */
    pthread_mutex_unlock(&t->lock);
    if (!wait) save_end(t);
    turn_unref(t);
}

/* A pool that takes no more (the hub is stopping) leaves the answer as it was saved last; the next
 * start marks it as failed. */
static void finish_later(struct turn *t)
{
    struct error error;
    if (pool_submit(t->chat->pool, finish, t) == OK) return;
    err_set(&error, ERR_STOPPING, "the hub is shutting down");
    tell_error(t, &error);
    turn_unref(t);
}

/* ---- from the provider ---------------------------------------------------------------------- */

static void on_queued(struct turn *t, const struct gen_event *ev)
{
    struct buf data;
    struct jw w;
    begin_data(&data, &w);
    jw_kint(&w, "position", ev->position);
    if (ev->wait_ms >= 0) jw_kint(&w, "wait_ms", ev->wait_ms);
    end_data(t, CHAT_QUEUED, &data, &w);
}

/* Kept for the store, and told: the answer comes from somewhere else than the last time. */
static void on_routed(struct turn *t, const struct gen_route *route)
{
    struct buf data;
    struct jw w;
    str_copy(t->provider, sizeof t->provider, route->provider);
    str_copy(t->reason, sizeof t->reason, route->reason);
    begin_data(&data, &w);
    jw_kstr(&w, "provider", route->provider);
    jw_kstr(&w, "model", route->model);
    jw_kstr(&w, "reason", route->reason);
    jw_kbool(&w, "remote", route->remote);
    end_data(t, CHAT_ROUTED, &data, &w);
}

static void on_text(struct turn *t, const struct gen_event *ev)
{
    struct buf data;
    struct jw w;
    bool reasoning = ev->type == GEN_EV_REASONING;
    if (!ev->text_len) return;
    begin_data(&data, &w);
    jw_key(&w, "text");
    jw_strn(&w, ev->text, ev->text_len);
    jw_obj_end(&w);
    pthread_mutex_lock(&t->lock);
    buf_append(reasoning ? &t->reasoning : &t->content, ev->text, ev->text_len);
    t->n_pieces++;
    tell(t, reasoning ? CHAT_REASONING : CHAT_DELTA, &data);
    pthread_mutex_unlock(&t->lock);
    buf_free(&data);
    save_now_and_then(t);
}

/* The prompt is too long for the model: without the older half of the history, then with less out
 * of files. */
static bool try_shorter(struct turn *t, const struct error *error)
{
    if (error->code != ERR_CONTEXT || t->started) return false;
    if (t->n_history - t->skipped > 1)
        t->skipped += (t->n_history - t->skipped) / 2;
    else if (!t->wish || !wish_shrink(t->wish))
        return false;
    turn_submit(t);
    return true;
}

static void on_event(void *turn, const struct gen_event *ev)
{
    struct turn *t = turn;
    switch (ev->type) {
    case GEN_EV_QUEUED: on_queued(t, ev); break;
    case GEN_EV_STARTED:
        t->started = true;
        begin_saving(t);
        t->usage = ev->usage;
        str_copy(t->answered_by, sizeof t->answered_by, ev->model);
        break;
    case GEN_EV_TEXT:
    case GEN_EV_REASONING: on_text(t, ev); break;
    case GEN_EV_CHOICE_END: t->finish = ev->finish; break;
    case GEN_EV_DONE:
        t->usage = ev->usage;
        finish_later(t);
        break;
    case GEN_EV_ERROR:
        if (try_shorter(t, ev->error)) {
            turn_unref(t);
            break;
        }
        t->error = *ev->error;
        t->usage.completion_tokens = t->n_pieces;
        finish_later(t);
        break;
    case GEN_EV_ROUTED: on_routed(t, ev->route); break;
    case GEN_EV_LOADING:
    case GEN_EV_PAUSED:
    case GEN_EV_TOKENS:
    case GEN_EV_TOOL_CALL: break;
    }
}

static void submit(void *turn)
{
    struct turn *t = turn;
    struct gen_request *req;
    struct error error = {0};
    uint64_t id = 0;
    pthread_mutex_lock(&t->lock);
    bool stopped = t->stopped;
    pthread_mutex_unlock(&t->lock);
    enum err e = stopped ? err_set(&error, ERR_CANCELLED, "the answer was stopped") : OK;
    if (!e && t->wish) e = wish_look(t, &error);
    if (!e) e = history_request(t, t->skipped, &t->n_history, &req, &error);
    atomic_fetch_add(&t->refs, 1); /* of on_event, given back with its last event */
    if (!e) e = provider_generate(t->chat->provider, req, on_event, t, &id, &error);
    if (e) {
        t->error = error;
        finish_later(t);
    } else {
        pthread_mutex_lock(&t->lock);
        t->provider_id = id;
        stopped = t->stopped;
        pthread_mutex_unlock(&t->lock);
        if (stopped) provider_cancel(t->chat->provider, id);
    }
    turn_unref(t);
}

void turn_submit(struct turn *t)
{
    atomic_fetch_add(&t->refs, 1);
    enum err e = t->wish && !t->wish->looked ? rag_submit(t->chat->rag, submit, t)
                                             : pool_submit(t->chat->pool, submit, t);
    if (!e) return;
    err_set(&t->error, e, "%s",
            e == ERR_STOPPING ? "the hub is shutting down" : "the hub is busy; try again later");
    tell_error(t, &t->error);
    turn_unref(t);
}

void turn_stop(struct turn *t)
{
    pthread_mutex_lock(&t->lock);
    t->stopped = true;
    uint64_t id = t->provider_id;
    pthread_mutex_unlock(&t->lock);
    if (id) provider_cancel(t->chat->provider, id);
}
