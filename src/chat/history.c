/* From a branch of messages to a request. */
#include <string.h>

#include "base/str.h"
#include "chat/chat_int.h"

enum { REQUEST_MAX = 64 << 20 };

static enum role role_of(const char *word)
{
    if (str_eq(word, "system")) return ROLE_SYSTEM;
    if (str_eq(word, "assistant")) return ROLE_ASSISTANT;
    return str_eq(word, "tool") ? ROLE_TOOL : ROLE_USER;
}

/* An answer that never came is no part of what was said; nor is what tools of another program said
 * to it, for which templates want the calls. */
static bool counts(const struct store_message *m)
{
    return (*m->content || !str_eq(m->role, "assistant")) && !str_eq(m->role, "tool");
}

/* Many templates take user and assistant by turns and nothing else; a conversation that was
 * imported may have two of one after the other. */
static bool join(struct gen_request *req, struct message *last, const char *text)
{
    size_t size = strlen(last->content) + strlen(text) + 3;
    char *both = arena_alloc(req->arena, size);
    if (both) str_printf(both, size, "%s\n\n%s", last->content, text);
    last->content = both;
    return both;
}

static enum err fill_messages(const struct turn *t, struct gen_request *req,
                              const struct store_message *all, size_t n, size_t skip,
                              struct error *error)
{
    struct message *out = arena_calloc(req->arena, n + 1, sizeof *out);
    if (!out) return err_set(error, ERR_NOMEM, "the conversation is too long");
    size_t k = 0;
    const char *system =
        t->wish            ? rag_prompt(t->system_prompt, t->wish->sources, t->wish->n, req->arena)
        : t->system_prompt ? arena_strdup(req->arena, t->system_prompt)
                           : NULL;
    if (!system && (t->wish || t->system_prompt))
        return err_set(error, ERR_NOMEM, "the conversation is too long");
    if (system) out[k++] = (struct message){.role = ROLE_SYSTEM, .content = system};
    for (size_t i = skip; i < n; i++) {
        enum role role = role_of(all[i].role);
        if (!counts(&all[i])) continue;
        if (!k || out[k - 1].role != role)
            out[k++] = (struct message){.role = role, .content = all[i].content};
        else if (!join(req, &out[k - 1], all[i].content))
            return err_set(error, ERR_NOMEM, "the conversation is too long");
    }
    req->messages = out;
    req->n_messages = k;
    return OK;
}

static enum err fill_request(const struct turn *t, struct gen_request *req, struct error *error)
{
    struct arena *a = req->arena;
    req->kind = GEN_CHAT;
    req->request_id = arena_strdup(a, t->request_id);
    req->model = arena_strdup(a, t->model);
    req->tenant = arena_strdup(a, t->user_id);
    req->n = 1;
    req->sampling = t->sampling;
    req->said = t->said;
    req->max_tokens = t->max_tokens;
    req->priority = t->priority;
    req->deadline_ms = t->deadline_ms;
    req->keep_alive_ms = t->keep_alive_ms;
    req->adapter = t->adapter ? arena_strdup(a, t->adapter) : NULL;
    req->adapter_scale = t->adapter_scale;
    req->deterministic = t->deterministic;
    req->overflow = t->overflow;
    req->source = arena_strdup(a, t->source);
    req->route = arena_strdup(a, t->route);
    req->goal = t->goal;
    if (req->request_id && req->model && req->tenant && (req->adapter || !t->adapter) &&
        req->source && req->route)
        return OK;
    return err_set(error, ERR_NOMEM, "no memory for the request");
}

enum err history_request(const struct turn *t, size_t skip, size_t *n, struct gen_request **out,
                         struct error *error)
{
    struct store_message *all;
    struct arena *a = arena_new(REQUEST_MAX);
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    ht_assert(req);
    req->arena = a;
    /* The branch ends with the question: the answer's message is there, but empty. */
    enum err e = store_message_branch(t->store, t->user_id, t->ids.conversation, t->ids.question, a,
                                      &all, n, error);
    /* After the branch was read: what is in it of pinned turns came after their pin. */
    if (!e) e = turn_pinned(t, &req->local_only, error);
    if (!e) e = fill_request(t, req, error);
    if (!e) e = fill_messages(t, req, all, *n, skip, error);
    if (e) {
        arena_free(a);
        return e;
    }
    *out = req;
    return OK;
}
