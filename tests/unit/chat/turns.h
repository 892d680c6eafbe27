/* A chat over the real scheduler and the fake engine, on both databases, and a listener that writes
 * down what it hears. */
#ifndef HEARTH_TESTS_UNIT_CHAT_TURNS_H
#define HEARTH_TESTS_UNIT_CHAT_TURNS_H

#include "unit/provider/harness.h"
#include "unit/store/both.h"

#include "chat/chat.h"

static struct fixture fx;
static struct chat *chat;

static inline void open_chat(const char *model)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open(&fx, engine, model, "fake:kind=embed", 4);
    struct chat_params params = {.provider = fx.local, .pool = fx.pool};
    chat = chat_new(&params);
}

/* Every turn has ended; the pool's job of the last one may not have, and looks at the provider. */
static inline void close_chat(void)
{
    pool_free(fx.pool);
    fx.pool = NULL;
    fixture_close(&fx, 10000);
    chat_free(chat);
}

/* ---- a listener ----------------------------------------------------------------------------- */

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf text, reasoning, types; /* types: a word and a blank for each event */
    char finish[32], code[64];
    int64_t last_id, last_at;
    int n, n_text;
    bool over, ended;
};

static inline struct heard *heard_new(void)
{
    struct heard *h = calloc(1, sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    buf_init(&h->text, 1 << 20);
    buf_init(&h->reasoning, 1 << 20);
    buf_init(&h->types, 1 << 20);
    return h;
}

static inline void heard_free(struct heard *h)
{
    buf_free(&h->text);
    buf_free(&h->reasoning);
    buf_free(&h->types);
    free(h);
}

static inline void copy_member(char *dst, size_t size, const json_t *data, const char *name)
{
    const char *s = json_string_value(json_object_get(data, name));
    if (s) str_copy(dst, size, s);
}

static inline void hear(void *ctx, const struct chat_event *ev)
{
    struct heard *h = ctx;
    json_t *data;
    struct error error;
    assert_int_equal(json_parse(ev->data, ev->len, &data, &error), OK);
    pthread_mutex_lock(&h->lock);
    assert_false(h->over); /* nothing comes behind the last one */
    assert_true(!h->n || ev->id == h->last_id + 1);
    assert_true(ev->at >= h->last_at);
    h->last_id = ev->id;
    h->last_at = ev->at;
    h->n++;
    h->over = ev->last;
    buf_printf(&h->types, "%s ", ev->word);
    const char *text = json_string_value(json_object_get(data, "text"));
    if (text) {
        buf_puts(ev->type == CHAT_DELTA ? &h->text : &h->reasoning, text);
        h->n_text++;
    }
    copy_member(h->finish, sizeof h->finish, data, "finish_reason");
    copy_member(h->code, sizeof h->code, data, "code");
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    json_decref(data);
}

static inline void hear_end(void *ctx)
{
    struct heard *h = ctx;
    pthread_mutex_lock(&h->lock);
    assert_false(h->ended);
    h->ended = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

#define heard_until(h, what)                                                                       \
    do {                                                                                           \
        pthread_mutex_lock(&(h)->lock);                                                            \
        while (!(what)) pthread_cond_wait(&(h)->changed, &(h)->lock);                              \
        pthread_mutex_unlock(&(h)->lock);                                                          \
    } while (0)

static inline void heard_wait(struct heard *h)
{
    heard_until(h, h->ended);
    assert_true(h->over);
}

/* ---- asking --------------------------------------------------------------------------------- */

static inline struct chat_ask ask_of(const char *user, const char *conversation,
                                     const char *message)
{
    return (struct chat_ask){.store = store,
                             .user_id = user,
                             .request_id = "req-test",
                             .conversation_id = conversation,
                             .message = message,
                             .model = "",
                             .sampling = {.top_p = 1, .repeat_penalty = 1, .seed = 1},
                             .max_tokens = -1,
                             .priority = PRIORITY_DEFAULT};
}

static inline struct heard *listen_to(const char *user, const char *answer, int64_t after)
{
    struct heard *h = heard_new();
    struct chat_listener l = {.on_event = hear, .on_end = hear_end, .ctx = h};
    assert_ok(chat_listen(chat, user, answer, after, &l, &why));
    return h;
}

/* Asks and hears the answer to its end. */
static inline struct heard *say(const char *user, const char *conversation, const char *message,
                                struct chat_ids *ids)
{
    struct chat_ask ask = ask_of(user, conversation, message);
    assert_ok(chat_start(chat, &ask, ids, &why));
    struct heard *h = listen_to(user, ids->answer, 0);
    heard_wait(h);
    return h;
}

static inline struct store_message message_of(const char *user, const char *id)
{
    struct store_message m;
    char conversation[STORE_ID_MAX];
    assert_ok(store_message_get(store, user, id, arena, &m, conversation, &why));
    return m;
}

#endif
