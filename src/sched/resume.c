/* Requests that go on where another scheduler stopped: each choice begins with the tokens it had
 * (gen_request.resume). On the caller's thread they are put behind the prompt, the sampler is
 * brought behind them and their text waits to be taken; behind STARTED it is told again. A choice
 * that was over never gets a sequence. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sched/sched_int.h"

static void end_before_start(struct choice *c, enum finish_reason finish)
{
    c->state = CHOICE_ENDED;
    c->resumed_over = true;
    c->resumed_finish = finish;
}

/* Adds one token as sampling it does. */
static enum err add(struct choice *c, int32_t token, struct buf *text, uint64_t *bytes,
                    struct error *error)
{
    struct request *r = c->req;
    bool special;
    enum err e = engine_sampler_replay(c->sampler, token, &special, error);
    if (e) return err_prefix(error, "the answer can't be continued");
    if (c->n_tokens == r->n_longest && !choice_shift_again(c))
        return err_set(error, ERR_CONTEXT,
                       "the answer can't be continued: more than %d tokens do not fit behind its "
                       "prompt",
                       c->n_generated);
    buf_clear(text);
    engine_token_text(r->model->engine_model, token, special, text);
    *bytes += text->len;
    c->tokens[c->n_tokens++] = token;
    c->n_generated++;
    r->usage.completion_tokens++;
    if (!text_add(&c->text, buf_str(text), text->len)) end_before_start(c, FINISH_STOP);
    return OK;
}

/* All tokens, to be told: not all are in c->tokens any more. */
static enum err remember(struct choice *c, const struct gen_resume *from, struct error *error)
{
    c->resumed = try_calloc(from->n_tokens, sizeof *c->resumed);
    if (!c->resumed) return err_set(error, ERR_NOMEM, "no memory for %zu tokens", from->n_tokens);
    memcpy(c->resumed, from->tokens, from->n_tokens * sizeof *c->resumed);
    c->n_resumed = (int32_t)from->n_tokens;
    return OK;
}

static enum err take(struct choice *c, const struct gen_resume *from, struct buf *text,
                     struct error *error)
{
    struct request *r = c->req;
    size_t room = (size_t)(r->n_longest - r->n_prompt);
    uint64_t bytes = 0;
    enum err e = OK;
    if (from->n_tokens && !choice_tokens(c))
        return err_set(error, ERR_NOMEM, "no memory for a sequence of %d tokens", r->n_longest);
    for (size_t i = 0; i < from->n_tokens && !e && c->state != CHOICE_ENDED; i++)
        e = add(c, from->tokens[i], text, &bytes, error);
    if (!e && c->text.added != bytes)
        e = err_set(error, ERR_TOO_LARGE, "the answer is too long to be continued");
    if (e || c->state == CHOICE_ENDED) return e;
    if (from->over)
        end_before_start(c, from->finish);
    else if (c->n_generated == r->max_tokens && room)
        end_before_start(c, FINISH_LENGTH);
    else if (c->n_tokens == r->n_longest && !choice_shift_again(c))
        end_before_start(c, FINISH_LENGTH);
    return c->n_dropped ? remember(c, from, error) : OK;
}

enum err resume_take(struct request *r, const struct gen_resume *from, struct error *error)
{
    struct buf text;
    enum err e = OK;
    if (!from) return OK;
    r->resumed = true;
    buf_init(&text, TEXT_PENDING_MAX);
    for (int32_t i = 0; i < r->n && !e; i++) e = take(&r->choices[i], &from[i], &text, error);
    buf_free(&text);
    return e;
}

void resume_tell(struct request *r)
{
    int32_t n = r->n; /* the end of the last choice is that of the request */
    for (int32_t i = 0; r->resumed && i < n; i++) {
        struct choice *c = &r->choices[i];
        if (c->resumed_over)
            choice_end(c, c->resumed_finish);
        else
            choice_emit(c, false);
        free(c->resumed);
        c->resumed = NULL;
    }
}
