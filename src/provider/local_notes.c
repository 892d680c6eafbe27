/* Notes: what the engine thread and the pool tell the delivery thread. One allocation for a token's
 * text; the larger parts only where an event has them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "provider/local_int.h"

static struct note *note_new(enum note_type type, struct job *job, size_t more)
{
    struct note *n = xmalloc(sizeof *n + more);
    *n = (struct note){.type = type, .job = job};
    return n;
}

/* The tokens lie behind the text, or the stop string with its end, aligned. */
static struct note *note_copy(struct job *job, const struct sched_event *ev)
{
    bool wanted = ev->tokens && job->gen && job->gen->want_tokens;
    size_t bytes = wanted ? (size_t)ev->n_tokens * sizeof *ev->tokens : 0;
    const char *text = ev->stop ? ev->stop : ev->text;
    size_t len = ev->stop ? strlen(ev->stop) + 1 : ev->text_len;
    size_t at = (len + sizeof *ev->tokens - 1) / sizeof *ev->tokens * sizeof *ev->tokens;
    struct note *n = note_new(NOTE_EVENT, job, at + bytes);
    n->text_len = len;
    if (len) memcpy(n->text, text, len);
    if (!bytes) return n;
    memcpy(n->text + at, ev->tokens, bytes);
    n->tokens = (const int32_t *)(const void *)(n->text + at);
    return n;
}

/* local_close frees the mailbox when no thread is in here. */
static void send(struct local *l, struct note *n)
{
    atomic_fetch_add(&l->sending, 1);
    mailbox_send(l->notes, &n->mail);
    atomic_fetch_sub(&l->sending, 1);
}

void note_free(struct note *n)
{
    if (n->more) free(n->more->vectors);
    free(n->more);
    for (struct logprob_block *b = n->logprobs, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(n);
}

/* NULL without memory: then the tokens come without log probabilities. */
static struct logprob_block *copy_logprobs(const struct token_logprob *from, size_t n)
{
    size_t n_alts = 0, bytes = 0;
    for (size_t i = 0; i < n; i++) {
        n_alts += from[i].n_top;
        bytes += from[i].chosen.len;
        for (size_t k = 0; k < from[i].n_top; k++) bytes += from[i].top[k].len;
    }
    struct logprob_block *b =
        try_malloc(sizeof *b + n * sizeof *b->items + n_alts * sizeof(struct logprob_alt) + bytes);
    if (!b) return NULL;
    *b = (struct logprob_block){.n = n};
    struct logprob_alt *alts = (struct logprob_alt *)(void *)(b->items + n);
    char *text = (char *)(alts + n_alts);
    for (size_t i = 0; i < n; i++) {
        b->items[i] = from[i];
        b->items[i].top = alts;
        for (size_t k = 0; k <= from[i].n_top; k++) {
            struct logprob_alt *a = k ? alts++ : &b->items[i].chosen;
            if (k) *a = from[i].top[k - 1];
            if (a->len) memcpy(text, a->text, a->len);
            a->text = text;
            text += a->len;
        }
    }
    return b;
}

void note_wake(struct local *l)
{
    atomic_fetch_add(&l->sending, 1);
    mailbox_wake(l->notes);
    atomic_fetch_sub(&l->sending, 1);
}

static struct note_more *more_new(const struct error *error)
{
    struct note_more *more = xcalloc(1, sizeof *more);
    if (!error) return more;
    more->failed = true;
    more->error = *error;
    return more;
}

static struct note_more *copy_end(const struct sched_event *ev)
{
    struct note_more *more = more_new(ev->error);
    more->usage = ev->usage;
    more->timings = ev->timings;
    if (ev->cache) more->cache = *ev->cache;
    if (ev->type != SCHED_EV_EMBEDDING) return more;
    size_t n = ev->n_vectors * ev->n_dims;
    more->n_vectors = ev->n_vectors;
    more->n_dims = ev->n_dims;
    more->vectors = try_calloc(n, sizeof *more->vectors);
    if (more->vectors) {
        memcpy(more->vectors, ev->vectors, n * sizeof *more->vectors);
    } else {
        more->failed = true;
        err_set(&more->error, ERR_NOMEM, "no memory for %zu vectors", ev->n_vectors);
    }
    return more;
}

void note_event(void *ctx, const struct sched_event *ev)
{
    struct job *job = ctx;
    struct local *l = job->l;
    struct note *n = note_copy(job, ev);
    n->event = ev->type;
    n->choice = ev->choice;
    n->n_tokens = ev->n_tokens;
    n->position = ev->position;
    n->wait_ms = ev->wait_ms;
    n->finish = ev->finish;
    if (ev->n_logprobs) n->logprobs = copy_logprobs(ev->logprobs, ev->n_logprobs);
    bool large = ev->type == SCHED_EV_STARTED || ev->type == SCHED_EV_DONE ||
                 ev->type == SCHED_EV_ERROR || ev->type == SCHED_EV_BOUNCED ||
                 ev->type == SCHED_EV_EMBEDDING;
    if (large) n->more = copy_end(ev);
    send(l, n);
}

void note_failed(struct job *job, const struct error *error)
{
    struct note *n = note_new(NOTE_FAILED, job, 0);
    n->more = more_new(error);
    send(job->l, n);
}

void note_simple(struct local *l, enum note_type type, struct job *job)
{
    send(l, note_new(type, job, 0));
}

void note_cancel(struct local *l, uint64_t id, enum err code)
{
    struct error error;
    err_set(&error, code, "%s",
            code == ERR_STOPPING ? "the hub is shutting down" : "the request was cancelled");
    struct note *n = note_new(NOTE_CANCEL, NULL, 0);
    n->id = id;
    n->more = more_new(&error);
    send(l, n);
}

void note_loading(struct local *l, uint64_t id, float fraction, const char *waits_for)
{
    size_t len = waits_for ? strlen(waits_for) + 1 : 0;
    struct note *n = note_new(NOTE_LOADING, NULL, len);
    if (len) memcpy(n->text, waits_for, len);
    n->text_len = len;
    n->id = id;
    n->fraction = fraction;
    send(l, n);
}
