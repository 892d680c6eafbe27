/* Prefixes that tenants share: system prompts that the configuration declares
 * (sched_params.shared).
 *
 * What is common to all prompts with such a text is found out by rendering it with the model's chat
 * template before two different user messages, and once as plain text: the tokens up to where the
 * two differ depend on nothing that a user has said. Only a prompt that begins with all of them may
 * use, and leaves behind, cells that other tenants use. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_int.h"

enum { DECLARED_TOKENS_MAX = 1 << 20 };

static enum err render(const struct sched_model *m, const char *text, bool chat, const char *user,
                       struct engine_prompt **out)
{
    struct message messages[] = {{.role = ROLE_SYSTEM, .content = text},
                                 {.role = ROLE_USER, .content = user}};
    struct buf raw;
    struct error error;
    buf_init(&raw, 64 << 20);
    buf_printf(&raw, "%s%s", text, user);
    struct gen_request req = {.kind = chat ? GEN_CHAT : GEN_RAW,
                              .request_id = "",
                              .model = "",
                              .tenant = "",
                              .messages = messages,
                              .n_messages = 2,
                              .prompt = buf_str(&raw),
                              .n = 1,
                              .max_tokens = -1,
                              .sampling = {.top_p = 1, .repeat_penalty = 1}};
    enum err e = engine_prompt_new(m->engine_model, &req, DECLARED_TOKENS_MAX, out, &error);
    if (e) log_debug(sched, "%s can't render a shared prefix: %s", m->id, error.msg);
    buf_free(&raw);
    return e;
}

static void add(struct sched_model *m, const int32_t *tokens, size_t n)
{
    if (n < PREFIX_BLOCK) return; /* nothing to gain */
    struct declared *more = try_realloc(m->declared, m->n_declared + 1, sizeof *more);
    if (!more) return;
    m->declared = more;
    int32_t *copy = try_calloc(n, sizeof *copy);
    if (!copy) return;
    memcpy(copy, tokens, n * sizeof *copy);
    m->declared[m->n_declared++] = (struct declared){.tokens = copy, .n_tokens = (int32_t)n};
}

static void declare(struct sched_model *m, const char *text, bool chat)
{
    struct engine_prompt *a = NULL, *b = NULL;
    if (!render(m, text, chat, "A", &a) && !render(m, text, chat, "7", &b)) {
        size_t n_a, n_b, n = 0;
        const int32_t *tokens = engine_prompt_tokens(a, &n_a),
                      *other = engine_prompt_tokens(b, &n_b);
        while (n < n_a && n < n_b && tokens[n] == other[n]) n++;
        add(m, tokens, n);
    }
    engine_prompt_free(a);
    engine_prompt_free(b);
}

void declared_init(struct sched_model *m)
{
    for (size_t i = 0; i < m->s->n_shared && !m->embedding; i++) {
        if (m->facts.has_chat_template) declare(m, m->s->shared[i], true);
        declare(m, m->s->shared[i], false);
    }
}

void declared_free(struct sched_model *m)
{
    for (size_t i = 0; i < m->n_declared; i++) free(m->declared[i].tokens);
    free(m->declared);
    m->declared = NULL;
    m->n_declared = 0;
}

int32_t declared_length(const struct sched_model *m, const int32_t *tokens, int32_t n)
{
    int32_t longest = 0;
    for (size_t i = 0; i < m->n_declared; i++) {
        const struct declared *d = &m->declared[i];
        if (d->n_tokens > n || d->n_tokens <= longest) continue;
        if (memcmp(d->tokens, tokens, (size_t)d->n_tokens * sizeof *tokens) == 0)
            longest = d->n_tokens;
    }
    return longest;
}
