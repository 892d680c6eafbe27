/* Tokens to text: UTF-8, stop strings, log probabilities; see text.h. */
#include "sched/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* A token whose text was not handed out completely; offsets count raw bytes from the start. */
struct token_record {
    uint64_t start, end;
    size_t first_alt; /* the chosen one, then its alternatives */
    size_t n_top;
};

struct alt_record {
    int32_t token;
    float logprob;
    size_t offset, len; /* in bytes */
};

struct text_logprobs {
    struct token_record *tokens;
    size_t n_tokens, cap_tokens;
    struct alt_record *alts;
    size_t n_alts, cap_alts;
    struct buf bytes;
    /* What the last take handed out. */
    struct token_logprob *view;
    struct logprob_alt *view_alts;
    size_t cap_view, cap_view_alts;
};

enum { LOGPROB_BYTES_MAX = 16 << 20, COMPACT_AFTER = 4096 /* alternatives */ };

/* ---- stop strings ------------------------------------------------------------------------- */

static enum err add_stop(struct stops *s, const char *string, struct error *error)
{
    size_t len = strlen(string);
    if (!len) return OK;
    if (len > TEXT_STOP_LEN_MAX)
        return err_set(error, ERR_INVALID, "a stop string has %zu bytes, at most %d are allowed",
                       len, TEXT_STOP_LEN_MAX);
    s->strings[s->n] = xstrdup(string);
    s->lens[s->n++] = len;
    if (len > s->longest) s->longest = len;
    return OK;
}

enum err stops_init(struct stops *s, const char *const *a, size_t n_a, const char *const *b,
                    size_t n_b, struct error *error)
{
    *s = (struct stops){0};
    if (n_a + n_b == 0) return OK;
    s->strings = try_calloc(n_a + n_b, sizeof *s->strings);
    s->lens = try_calloc(n_a + n_b, sizeof *s->lens);
    enum err e = OK;
    if (!s->strings || !s->lens)
        e = err_set(error, ERR_NOMEM, "no memory for %zu stop strings", n_a + n_b);
    for (size_t i = 0; !e && i < n_a; i++) e = add_stop(s, a[i], error);
    s->n_own = s->n;
    for (size_t i = 0; !e && i < n_b; i++) e = add_stop(s, b[i], error);
    if (e) stops_free(s);
    return e;
}

void stops_free(struct stops *s)
{
    for (size_t i = 0; i < s->n; i++) free(s->strings[i]);
    free(s->strings);
    free(s->lens);
    *s = (struct stops){0};
}

/* Where the earliest stop string begins, at `from` or later, and which it is; SIZE_MAX if none. */
static size_t find_stop(const struct stops *s, const struct buf *b, size_t from, size_t *which)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        const char *hit = memmem(b->data + from, b->len - from, s->strings[i], s->lens[i]);
        if (!hit || (size_t)(hit - b->data) >= best) continue;
        best = (size_t)(hit - b->data);
        *which = i;
    }
    return best;
}

/* Bytes at the end of b that a stop string begins with. */
static size_t partial_stop(const struct stops *s, const struct buf *b)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t k = s->lens[i] - 1 < b->len ? s->lens[i] - 1 : b->len;
        for (; k > longest; k--)
            if (memcmp(b->data + b->len - k, s->strings[i], k) == 0) longest = k;
    }
    return longest;
}

/* ---- text --------------------------------------------------------------------------------- */

void text_init(struct text *t, const struct stops *stops)
{
    *t = (struct text){.stops = stops};
    buf_init(&t->pending, TEXT_PENDING_MAX);
    buf_init(&t->out, 4 * TEXT_PENDING_MAX); /* U+FFFD is three bytes long */
}

void text_free(struct text *t)
{
    buf_free(&t->pending);
    buf_free(&t->out);
    if (!t->logprobs) return;
    buf_free(&t->logprobs->bytes);
    free(t->logprobs->tokens);
    free(t->logprobs->alts);
    free(t->logprobs->view);
    free(t->logprobs->view_alts);
    free(t->logprobs);
}

bool text_add(struct text *t, const char *bytes, size_t len)
{
    ht_assert(!t->stopped);
    size_t before = t->pending.len;
    t->n_tokens++;
    if (!len) return true;
    /* Fails only without memory, or at a token of a megabyte: the token's text is lost. */
    if (buf_append(&t->pending, bytes, len)) {
        buf_clear(&t->pending);
        return true;
    }
    t->added += len;
    if (!t->stops->n) return true;
    size_t back = t->stops->longest - 1, which = 0;
    size_t at = find_stop(t->stops, &t->pending, before > back ? before - back : 0, &which);
    if (at == SIZE_MAX) return true;
    t->pending.len = at;
    t->pending.data[at] = '\0';
    t->stopped = true;
    if (which < t->stops->n_own) t->stop = t->stops->strings[which];
    return false;
}

/* Length of the valid character at s, 0 if there is none. */
static size_t character(const char *s, size_t len)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return n <= len && utf8_valid(s, n) ? n : 0;
}

/* Appends s with every byte that belongs to no character replaced by U+FFFD. */
static void append_valid(struct buf *out, const char *s, size_t len)
{
    if (utf8_valid(s, len)) {
        buf_append(out, s, len);
        return;
    }
    for (size_t i = 0; i < len;) {
        size_t n = character(s + i, len - i);
        if (n)
            buf_append(out, s + i, n);
        else
            buf_puts(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
}

/* ---- log probabilities -------------------------------------------------------------------- */

static bool grow(void **array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    size_t bigger = *cap ? 2 * *cap : 32;
    if (bigger < need) bigger = need;
    void *p = try_realloc(*array, bigger, size);
    if (!p) return false;
    *array = p;
    *cap = bigger;
    return true;
}

/* Forgets what was handed out already; tokens that wait keep their records. */
static void compact(struct text_logprobs *lp)
{
    size_t gone = lp->n_tokens ? lp->tokens[0].first_alt : lp->n_alts;
    if (lp->n_tokens && gone < COMPACT_AFTER) return;
    size_t bytes = gone < lp->n_alts ? lp->alts[gone].offset : lp->bytes.len;
    buf_consume(&lp->bytes, bytes);
    lp->n_alts -= gone;
    if (lp->n_alts) memmove(lp->alts, lp->alts + gone, lp->n_alts * sizeof *lp->alts);
    for (size_t i = 0; i < lp->n_alts; i++) lp->alts[i].offset -= bytes;
    for (size_t i = 0; i < lp->n_tokens; i++) lp->tokens[i].first_alt -= gone;
}

enum err text_add_logprob(struct text *t, const struct logprob_alt *alts, size_t n_top,
                          size_t token_len, struct error *error)
{
    if (!t->logprobs) {
        t->logprobs = xcalloc(1, sizeof *t->logprobs);
        buf_init(&t->logprobs->bytes, LOGPROB_BYTES_MAX);
    }
    struct text_logprobs *lp = t->logprobs;
    compact(lp);
    bool ok = grow((void **)&lp->tokens, &lp->cap_tokens, lp->n_tokens + 1, sizeof *lp->tokens) &&
              grow((void **)&lp->alts, &lp->cap_alts, lp->n_alts + n_top + 1, sizeof *lp->alts);
    lp->bytes.err = OK;
    for (size_t i = 0; ok && i <= n_top; i++) {
        lp->alts[lp->n_alts + i] = (struct alt_record){.token = alts[i].token,
                                                       .logprob = alts[i].logprob,
                                                       .offset = lp->bytes.len,
                                                       .len = alts[i].len};
        ok = !buf_append(&lp->bytes, alts[i].text, alts[i].len);
    }
    if (!ok) return err_set(error, ERR_NOMEM, "no memory for log probabilities");
    lp->tokens[lp->n_tokens++] = (struct token_record){
        .start = t->added, .end = t->added + token_len, .first_alt = lp->n_alts, .n_top = n_top};
    lp->n_alts += n_top + 1;
    return OK;
}

/* A token goes out with the end of its text; at the end also one of which a part was visible. */
static bool is_out(const struct text *t, const struct token_record *r, bool final)
{
    return r->end <= t->taken || (final && r->start < t->taken);
}

static struct logprob_alt alt_view(const struct text_logprobs *lp, size_t i)
{
    const struct alt_record *a = &lp->alts[i];
    return (struct logprob_alt){.token = a->token,
                                .logprob = a->logprob,
                                .text = buf_str(&lp->bytes) + a->offset,
                                .len = a->len};
}

/* How many are in lp->view. */
static size_t take_logprobs(struct text *t, bool final)
{
    struct text_logprobs *lp = t->logprobs;
    size_t n = 0, n_alts = 0;
    while (n < lp->n_tokens && is_out(t, &lp->tokens[n], final))
        n_alts += 1 + lp->tokens[n++].n_top;
    if (!n || !grow((void **)&lp->view, &lp->cap_view, n, sizeof *lp->view) ||
        !grow((void **)&lp->view_alts, &lp->cap_view_alts, n_alts, sizeof *lp->view_alts))
        return 0;
    struct logprob_alt *alts = lp->view_alts;
    for (size_t i = 0; i < n; i++) {
        const struct token_record *r = &lp->tokens[i];
        for (size_t k = 0; k <= r->n_top; k++) alts[k] = alt_view(lp, r->first_alt + k);
        lp->view[i] = (struct token_logprob){.chosen = alts[0], .top = alts + 1, .n_top = r->n_top};
        alts += 1 + r->n_top;
    }
    lp->n_tokens -= n;
    memmove(lp->tokens, lp->tokens + n, lp->n_tokens * sizeof *lp->tokens);
    return n;
}

/* ---- taking ------------------------------------------------------------------------------- */

bool text_take(struct text *t, bool final, struct text_piece *out)
{
    const struct buf *p = &t->pending;
    size_t ready = p->len;
    if (!final && !t->stopped && ready) {
        size_t held = t->stops->n ? partial_stop(t->stops, p) : 0;
        size_t tail = utf8_incomplete_tail(p->data, p->len);
        ready = utf8_cut(p->data, p->len, p->len - (held > tail ? held : tail));
    }
    buf_clear(&t->out);
    if (ready) append_valid(&t->out, p->data, ready);
    buf_consume(&t->pending, ready);
    t->taken += ready;
    size_t n = t->logprobs ? take_logprobs(t, final || t->stopped) : 0;
    *out = (struct text_piece){.text = buf_str(&t->out),
                               .len = t->out.len,
                               .logprobs = n ? t->logprobs->view : NULL,
                               .n_logprobs = n,
                               .n_tokens = t->n_tokens};
    if (!out->len && !out->n_logprobs) return false;
    t->n_tokens = 0;
    return true;
}
