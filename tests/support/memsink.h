/* A sink in memory: what a handler answers, without a server. Header-only, for tests and fuzzers.
 *
 * It keeps the law of api/http.h: calls after the end return ERR_CLOSED, the close callback runs
 * once, withdrawing it waits for the one that is running. memsink_close plays a client that goes
 * away; `close_after_writes` one that goes while it is written to. Any thread. */
#ifndef HEARTH_TESTS_MEMSINK_H
#define HEARTH_TESTS_MEMSINK_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/close_hook.h"
#include "api/http.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"

enum memsink_state { MEMSINK_OPEN, MEMSINK_STREAMING, MEMSINK_ENDED, MEMSINK_CLOSED };

struct memsink {
    struct sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum memsink_state state;
    int refs;
    bool released;                  /* the handler's last reference has gone */
    bool streamed;                  /* sink_begin was called */
    int writes, close_after_writes; /* 0 = never */
    int status;
    char content_type[80];
    struct buf headers; /* "Name: value\n" */
    struct buf body;
    struct close_hook hook;
};

static inline struct memsink *memsink_of(struct sink *s)
{
    return container_of(s, struct memsink, sink);
}

static inline void memsink_head(struct memsink *m, int status, const char *type,
                                const struct sink_header *headers, size_t n)
{
    m->status = status;
    str_copy(m->content_type, sizeof m->content_type, type);
    for (size_t i = 0; i < n; i++)
        buf_printf(&m->headers, "%s: %s\n", headers[i].name, headers[i].value);
}

static inline enum err memsink_respond(struct sink *s, int status, const char *type,
                                       const struct sink_header *headers, size_t n,
                                       const void *body, size_t len)
{
    struct memsink *m = memsink_of(s);
    enum err err = ERR_CLOSED;
    pthread_mutex_lock(&m->lock);
    if (m->state == MEMSINK_OPEN) {
        memsink_head(m, status, type, headers, n);
        buf_append(&m->body, body, len);
        m->state = MEMSINK_ENDED;
        err = OK;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return err;
}

static inline enum err memsink_begin(struct sink *s, int status, const char *type,
                                     const struct sink_header *headers, size_t n)
{
    struct memsink *m = memsink_of(s);
    enum err err = ERR_CLOSED;
    pthread_mutex_lock(&m->lock);
    if (m->state == MEMSINK_OPEN) {
        memsink_head(m, status, type, headers, n);
        m->state = MEMSINK_STREAMING;
        m->streamed = true;
        err = OK;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return err;
}

static inline enum err memsink_write(struct sink *s, const void *data, size_t len)
{
    struct memsink *m = memsink_of(s);
    enum err err = ERR_CLOSED;
    pthread_mutex_lock(&m->lock);
    m->writes++;
    if (m->close_after_writes && m->writes > m->close_after_writes && m->state == MEMSINK_STREAMING)
        m->state = MEMSINK_CLOSED; /* too slow a reader: noticed by the writer only */
    if (m->state == MEMSINK_STREAMING) {
        buf_append(&m->body, data, len);
        err = OK;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return err;
}

static inline void memsink_end(struct sink *s)
{
    struct memsink *m = memsink_of(s);
    pthread_mutex_lock(&m->lock);
    if (m->state == MEMSINK_STREAMING) m->state = MEMSINK_ENDED;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static inline void memsink_on_close(struct sink *s, sink_close_fn fn, void *ctx)
{
    struct memsink *m = memsink_of(s);
    pthread_mutex_lock(&m->lock);
    close_hook_set(&m->hook, &m->lock, fn, ctx);
    if (m->state == MEMSINK_CLOSED) close_hook_run(&m->hook, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static inline void memsink_ref(struct sink *s)
{
    struct memsink *m = memsink_of(s);
    pthread_mutex_lock(&m->lock);
    ht_assert(m->refs > 0);
    m->refs++;
    pthread_mutex_unlock(&m->lock);
}

static inline void memsink_unref(struct sink *s)
{
    struct memsink *m = memsink_of(s);
    pthread_mutex_lock(&m->lock);
    ht_assert(m->refs > 0);
    if (--m->refs == 0) m->released = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static const struct sink_ops memsink_ops = {.respond = memsink_respond,
                                            .begin = memsink_begin,
                                            .write = memsink_write,
                                            .end = memsink_end,
                                            .on_close = memsink_on_close,
                                            .ref = memsink_ref,
                                            .unref = memsink_unref};

/* Holds one reference for the handler; the memory is the test's. */
static inline void memsink_init(struct memsink *m)
{
    *m = (struct memsink){.sink = {&memsink_ops}, .refs = 1};
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    close_hook_init(&m->hook);
    buf_init(&m->headers, 64 * 1024);
    buf_init(&m->body, 512 * 1024 * 1024);
}

/* The client goes away now. */
static inline void memsink_close(struct memsink *m)
{
    pthread_mutex_lock(&m->lock);
    if (m->state == MEMSINK_OPEN || m->state == MEMSINK_STREAMING) {
        m->state = MEMSINK_CLOSED;
        close_hook_run(&m->hook, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
}

/* Waits until the last reference has gone: then nothing touches the sink any more. */
static inline void memsink_wait(struct memsink *m)
{
    pthread_mutex_lock(&m->lock);
    while (!m->released) pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static inline void memsink_deinit(struct memsink *m)
{
    memsink_wait(m);
    close_hook_deinit(&m->hook);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    buf_free(&m->headers);
    buf_free(&m->body);
}

#endif
