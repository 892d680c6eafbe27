/* The table of turns; see chat.h. */
#include "chat/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "chat/chat_int.h"

enum { KEEP_MS = 10 * 60 * 1000, KEEP_ENDED = 1000, TITLE_CHARS = 60, MESSAGE_MAX = 8 << 20 };

struct chat *chat_new(const struct chat_params *params)
{
    struct chat *c = xcalloc(1, sizeof *c);
    c->provider = params->provider;
    c->pool = params->pool;
    c->rag = params->rag;
    pthread_mutex_init(&c->lock, NULL);
    list_init(&c->turns);
    return c;
}

void chat_free(struct chat *c)
{
    struct list_node *n;
    if (!c) return;
    while ((n = list_pop_front(&c->turns))) turn_unref(container_of(n, struct turn, node));
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- the table ----------------------------------------------------------------------------- */

static bool is_over(struct turn *t, int64_t *ended_ms)
{
    pthread_mutex_lock(&t->lock);
    bool over = t->over;
    *ended_ms = t->ended_ms;
    pthread_mutex_unlock(&t->lock);
    return over;
}

/* The lock is held. Turns that ended long ago, and the oldest ended ones beyond KEEP_ENDED. */
static void sweep(struct chat *c)
{
    int64_t now = clock_mono_ms(), ended_ms;
    size_t n = 0;
    list_each (node, &c->turns) n++;
    list_each_safe(node, &c->turns)
    {
        struct turn *t = container_of(node, struct turn, node);
        if (!is_over(t, &ended_ms)) continue;
        if (n <= KEEP_ENDED && now - ended_ms < KEEP_MS) continue;
        list_remove(&t->node);
        turn_unref(t);
        n--;
    }
}

/* With a reference of the caller's. */
static struct turn *find(struct chat *c, const char *user_id, const char *answer_id)
{
    struct turn *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (struct list_node *n = c->turns.prev; n != &c->turns && !found; n = n->prev) {
        struct turn *t = container_of(n, struct turn, node);
        if (str_eq(t->ids.answer, answer_id) && str_eq(t->user_id, user_id)) found = t;
    }
    if (found) atomic_fetch_add(&found->refs, 1);
    pthread_mutex_unlock(&c->lock);
    return found;
}

static enum err no_turn(struct error *error)
{
    return err_set(error, ERR_NOT_FOUND, "no such answer is being made");
}

/* ---- starting ------------------------------------------------------------------------------ */

static struct turn *turn_new(struct chat *c, const struct chat_ask *ask, const struct chat_ids *ids)
{
    struct turn *t = xcalloc(1, sizeof *t);
    t->chat = c;
    atomic_init(&t->refs, 1);
    t->store = ask->store;
    str_copy(t->user_id, sizeof t->user_id, ask->user_id);
    t->ids = *ids;
    t->request_id = xstrdup(ask->request_id);
    t->model = xstrdup(ask->model ? ask->model : "");
    t->system_prompt = ask->system_prompt ? xstrdup(ask->system_prompt) : NULL;
    t->sampling = ask->sampling;
    t->said = ask->said;
    t->sampling.logit_bias = NULL;
    t->sampling.n_logit_bias = 0;
    t->max_tokens = ask->max_tokens;
    t->priority = ask->priority;
    t->deadline_ms = ask->deadline_ms;
    t->keep_alive_ms = ask->keep_alive_ms;
    t->adapter = ask->adapter ? xstrdup(ask->adapter) : NULL;
    t->adapter_scale = ask->adapter_scale;
    t->deterministic = ask->deterministic;
    t->overflow = ask->overflow;
    t->source = xstrdup(ask->source ? ask->source : "");
    t->route = xstrdup(ask->route ? ask->route : "");
    t->goal = ask->goal;
    t->local_only = ask->local_only;
    if (ask->use_rag && c->rag) t->wish = wish_new(ask);
    t->saved_ms = clock_mono_ms();
    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->listeners);
    buf_init(&t->content, CONTENT_MAX);
    buf_init(&t->reasoning, CONTENT_MAX);
    return t;
}

/* The first line of the message, cut between words. */
static void make_title(const char *message, char *dst, size_t size)
{
    size_t len = strcspn(message, "\r\n"), chars = 0, at = 0, blank = 0;
    while (at < len && chars < TITLE_CHARS) {
        if (message[at] == ' ') blank = at;
        size_t n = utf8_next(message + at, len - at);
        at += n ? n : 1;
        chars++;
    }
    if (at < len && blank) at = blank;
    str_printf(dst, size, "%.*s%s", (int)(at < size - 4 ? at : size - 4), message,
               at < len ? "…" : "");
}

/* The conversation exists afterwards; *leaf is what its shown branch ends with, or NULL. */
static enum err need_conversation(const struct chat_ask *ask, struct chat_ids *ids, char title[300],
                                  struct arena *a, const char **leaf, struct error *error)
{
    struct store_conversation found;
    enum err e = ERR_NOT_FOUND;
    *leaf = NULL;
    if (ask->conversation_id) {
        if (!*ask->conversation_id ||
            !str_copy(ids->conversation, sizeof ids->conversation, ask->conversation_id))
            return err_set_param(error, ERR_INVALID, "/conversation_id", "an id has 1 to %d bytes",
                                 STORE_ID_MAX - 1);
        e = store_conversation_get(ask->store, ask->user_id, ids->conversation, a, &found, error);
    } else {
        id_uuid4(ids->conversation);
    }
    if (!e) {
        *leaf = found.leaf_id;
        str_copy(title, 300, found.title);
        return OK;
    }
    if (e != ERR_NOT_FOUND) return e;
    if (!ask->message) return err_set(error, ERR_NOT_FOUND, "there is no such conversation");
    make_title(ask->message, title, 300);
    return store_conversation_create(ask->store, ask->user_id, ids->conversation, title, NULL,
                                     error);
}

/* Before its messages are there: whoever reads them later sees the pin as well. */
static enum err pin_conversation(const struct chat_ask *ask, const struct chat_ids *ids,
                                 struct error *error)
{
    if (!ask->local_only) return OK;
    return store_conversation_pin(ask->store, ask->user_id, ids->conversation, error);
}

/* Asked again: the parent is the question. An answer is taken for the question before it. */
static enum err question_again(const struct chat_ask *ask, struct chat_ids *ids, const char *leaf,
                               struct arena *a, struct error *error)
{
    struct store_message *m;
    size_t n = 0;
    const char *from = ask->parent_id ? ask->parent_id : leaf;
    if (!from) return err_set(error, ERR_INVALID, "there is no question to answer yet");
    enum err e =
        store_message_branch(ask->store, ask->user_id, ids->conversation, from, a, &m, &n, error);
    while (!e && n && !str_eq(m[n - 1].role, "user")) n--;
    if (!e && !n) e = err_set(error, ERR_INVALID, "there is no question to answer");
    if (!e) str_copy(ids->question, sizeof ids->question, m[n - 1].id);
    return e;
}

/* Question and answer go into the store together. */
static enum err write_messages(const struct chat_ask *ask, struct chat_ids *ids, const char *leaf,
                               struct arena *a, struct error *error)
{
    struct store_message two[2] = {{.role = "user", .content = ask->message},
                                   {.role = "assistant", .content = "", .status = STORE_STREAMING}};
    size_t from = 0;
    id_uuid4(ids->answer);
    if (ask->message) {
        id_uuid4(ids->question);
        two[0].id = ids->question;
        two[0].parent_id = ask->parent_id ? ask->parent_id : leaf;
    } else {
        enum err e = question_again(ask, ids, leaf, a, error);
        if (e) return e;
        from = 1;
    }
    two[1].id = ids->answer;
    two[1].parent_id = ids->question;
    return store_conversation_append(ask->store, ask->user_id, ids->conversation, two + from,
                                     2 - from, error);
}

static enum err check_ask(const struct chat_ask *ask, struct error *error)
{
    if (!ask->message) return OK;
    size_t len = strlen(ask->message);
    if (len == 0) return err_set_param(error, ERR_INVALID, "/message", "the message is empty");
    if (len > MESSAGE_MAX)
        return err_set_param(error, ERR_TOO_LARGE, "/message", "the message has more than %d bytes",
                             MESSAGE_MAX);
    return OK;
}

enum err chat_start(struct chat *c, const struct chat_ask *ask, struct chat_ids *ids,
                    struct error *error)
{
    char title[300];
    const char *leaf;
    struct arena *a = arena_new(64 << 20);
    enum err e = check_ask(ask, error);
    if (!e) e = need_conversation(ask, ids, title, a, &leaf, error);
    if (!e) e = pin_conversation(ask, ids, error);
    if (!e) e = write_messages(ask, ids, leaf, a, error);
    arena_free(a);
    if (e) return e;
    struct turn *t = turn_new(c, ask, ids);
    turn_meta(t, title);
    pthread_mutex_lock(&c->lock);
    sweep(c);
    list_push_back(&c->turns, &t->node);
    pthread_mutex_unlock(&c->lock);
    turn_submit(t);
    return OK;
}

bool chat_has(struct chat *c, const char *user_id, const char *answer_id)
{
    struct turn *t = find(c, user_id, answer_id);
    if (t) turn_unref(t);
    return t;
}

enum err chat_stop(struct chat *c, const char *user_id, const char *answer_id, struct error *error)
{
    int64_t ended_ms;
    struct turn *t = find(c, user_id, answer_id);
    if (!t) return no_turn(error);
    bool over = is_over(t, &ended_ms);
    if (!over) turn_stop(t);
    turn_unref(t);
    return over ? no_turn(error) : OK;
}

/* ---- listening ------------------------------------------------------------------------------ */

enum err chat_listen(struct chat *c, const char *user_id, const char *answer_id, int64_t after,
                     const struct chat_listener *listener, struct error *error)
{
    struct turn *t = find(c, user_id, answer_id);
    if (!t) return no_turn(error);
    turn_listen(t, after, listener);
    turn_unref(t);
    return OK;
}
