/* What a generation's listener has been told, so that another worker can go on where one died.
 *
 * A request that is sent again carries the tokens its choices had (gen_request.resume); the new
 * worker tells the answer again from its start. told_pass lets through what is new, counted in
 * bytes for each choice and kind: its text, its reasoning, the arguments of each call. The tokens
 * come before their text (GEN_EV_TOKENS), so what was told is always covered by tokens.
 *
 * The same when its model has to make room for another one while it answers (GEN_EV_PAUSED).
 *
 * It is also where events are checked before anybody relies on them: a worker that a hostile model
 * file has taken over can say what it likes. One owner, no locks. */
#ifndef HEARTH_WORKER_TOLD_H
#define HEARTH_WORKER_TOLD_H

#include "types/gen.h"

enum { TOLD_CALLS_MAX = 1024 /* tool calls of one choice */ };

struct told_call { /* its id and name were told */
    uint64_t bytes, life_bytes;
};

struct told_choice {
    int32_t *tokens;
    size_t n_tokens, cap_tokens;
    uint64_t text, reasoning;
    struct told_call *calls;
    size_t n_calls;
    bool over;
    enum finish_reason finish;
    /* of the worker that runs now; the numbers above are of all together */
    size_t life_tokens;
    uint64_t life_text, life_reasoning;
};

struct told {
    int32_t n;
    bool want_tokens; /* the listener asked for them */
    bool logprobs;
    bool started;
    bool anything; /* text, reasoning or a call */
    char *model;   /* that answers; with the adapter, NULL = none */
    char *adapter;
    float adapter_scale;
    uint64_t adapter_version;
    bool life_started;      /* in the worker that runs now, since it was sent to it last */
    struct timings timings; /* when it was paused first: load, queue and prefill */
    int32_t pauses;
    int64_t paused_since_ns, paused_ns; /* 0 = it is not; before */
    int32_t cached_tokens;
    int64_t begun_ns, first_ns; /* when it arrived, when the first piece was told */
    int lives;
    struct told_choice choices[GEN_N_MAX];
};

enum told_verdict {
    TOLD_PASS,  /* *ev, perhaps shortened */
    TOLD_DROP,  /* the listener knows it */
    TOLD_AGAIN, /* it is paused: send it again, as after told_again, which was done */
    TOLD_BAD,   /* no worker in its senses says this: *error */
};

void told_init(struct told *t, const struct gen_request *req);
void told_free(struct told *t);

/* Looks at the next event of the request; *ev may be changed. ERR_NOMEM is a TOLD_BAD, too. */
enum told_verdict told_pass(struct told *t, struct gen_event *ev, struct error *error);

/* Its worker has died: what comes next is told from the start. False when the request can't be
 * continued: log probabilities were told, which would have to be computed anew. */
bool told_again(struct told *t);
/* Makes *req, a copy of the request, one that goes on: with its tokens, and with what it began
 * with, whatever would be chosen for it now. `resume` has room for t->n, and points into *t. */
void told_resume(const struct told *t, struct gen_request *req, struct gen_resume *resume);

#endif
