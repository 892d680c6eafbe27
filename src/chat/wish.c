/* Answers from files: what a turn wishes to know, and what was found; see chat_int.h. */
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "chat/chat_int.h"

enum { WISH_MAX = 64 << 20, JSON_MAX = 4 << 20, FEW_WORDS = 5, SHORTEST = 400 };

static const char *const *copy_list(struct arena *a, const char *const *list, size_t n)
{
    const char **copy = arena_calloc(a, n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) copy[i] = arena_strdup(a, list[i]);
    return copy;
}

struct wish *wish_new(const struct chat_ask *ask)
{
    struct arena *a = arena_new(WISH_MAX);
    struct wish *w = arena_calloc(a, 1, sizeof *w);
    ht_assert(w);
    *w = (struct wish){.arena = a,
                       .file_ids = copy_list(a, ask->file_ids, ask->n_files),
                       .n_files = ask->n_files,
                       .collections = copy_list(a, ask->collections, ask->n_collections),
                       .n_collections = ask->n_collections};
    return w;
}

void wish_free(struct wish *w)
{
    if (w) arena_free(w->arena);
}

/* ---- looking ------------------------------------------------------------------------------- */

static size_t count_words(const char *text)
{
    size_t n = 0;
    for (;; n++) {
        text += strspn(text, " \t\r\n");
        if (!*text) return n;
        text += strcspn(text, " \t\r\n");
    }
}

/* What is looked for: the question. A short one ("and the second?") says little without the one
 * before it. */
static enum err question_of(const struct turn *t, struct arena *a, const char **out,
                            struct error *error)
{
    struct store_message *m;
    const char *before = NULL;
    size_t n = 0;
    enum err e = store_message_branch(t->store, t->user_id, t->ids.conversation, t->ids.question, a,
                                      &m, &n, error);
    if (e) return e;
    ht_assert(n > 0);
    *out = m[n - 1].content;
    for (size_t i = 0; i + 1 < n; i++)
        if (str_eq(m[i].role, "user")) before = m[i].content;
    if (!before || count_words(*out) > FEW_WORDS) return OK;
    size_t size = strlen(before) + strlen(*out) + 2;
    char *both = arena_alloc(a, size);
    if (!both) return err_set(error, ERR_NOMEM, "no memory for a question");
    str_printf(both, size, "%s\n%s", before, *out);
    *out = both;
    return OK;
}

/* A question may be a pasted page: the beginning of it says what it is about. */
static const char *cut_question(struct arena *a, const char *text)
{
    size_t len = strlen(text);
    if (len <= RAG_QUERY_MAX) return text;
    return arena_strndup(a, text, utf8_cut(text, len, RAG_QUERY_MAX));
}

static bool is_stopped(void *turn)
{
    struct turn *t = turn;
    pthread_mutex_lock(&t->lock);
    bool stopped = t->stopped;
    pthread_mutex_unlock(&t->lock);
    return stopped;
}

static enum err write_json(struct wish *w, struct error *error)
{
    struct buf out;
    struct jw j;
    buf_init(&out, JSON_MAX);
    jw_init(&j, &out);
    rag_put_sources(&j, w->sources, w->n, true);
    w->json = out.err ? NULL : arena_strdup(w->arena, buf_str(&out));
    buf_free(&out);
    return w->json ? OK : err_set(error, ERR_NOMEM, "no memory for the sources of an answer");
}

/* What such a file says is in the answer, too, and so in every later prompt. */
static enum err keep_pin(struct turn *t, struct error *error)
{
    struct wish *w = t->wish;
    for (size_t i = 0; i < w->n; i++) w->pinned |= w->sources[i].local_only;
    return w->pinned ? store_conversation_pin(t->store, t->user_id, t->ids.conversation, error)
                     : OK;
}

static enum err look_for(struct turn *t, const char *question, struct error *error)
{
    struct wish *w = t->wish;
    bool pinned;
    enum err e = turn_pinned(t, &pinned, error);
    if (e) return e;
    struct rag_query q = {.store = t->store,
                          .user_id = t->user_id,
                          .text = question,
                          .file_ids = w->file_ids,
                          .n_files = w->n_files,
                          .collections = w->collections,
                          .n_collections = w->n_collections,
                          .neighbours = -1,
                          .budget = rag_room(t->chat->rag, t->model),
                          .priority = t->priority,
                          .local_only = pinned,
                          .cancelled = is_stopped,
                          .ctx = t};
    e = rag_search(t->chat->rag, &q, w->arena, &w->sources, &w->n, error);
    if (!e) e = keep_pin(t, error);
    return e ? e : write_json(w, error);
}

enum err wish_look(struct turn *t, struct error *error)
{
    struct wish *w = t->wish;
    const char *question;
    if (w->looked) return OK;
    w->looked = true;
    enum err e = question_of(t, w->arena, &question, error);
    if (e) return e;
    question = cut_question(w->arena, question);
    if (!question) return err_set(error, ERR_NOMEM, "no memory for a question");
    e = look_for(t, question, error);
    if (!e) turn_sources(t, w->json);
    return e;
}

bool wish_shrink(struct wish *w)
{
    if (!w->n) return false;
    if (w->n > 1) {
        w->n = (w->n + 1) / 2;
        return true;
    }
    size_t len = strlen(w->sources[0].text);
    const char *half = len > SHORTEST ? arena_strndup(w->arena, w->sources[0].text,
                                                      utf8_cut(w->sources[0].text, len, len / 2))
                                      : NULL;
    if (half)
        w->sources[0].text = half;
    else
        w->n = 0;
    return true;
}
