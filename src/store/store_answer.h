/* Kept answers: responses of /v1/responses and chat completions of /v1/chat/completions whose
 * client asked for them to be kept. What was said and what was answered are JSON texts that only
 * the API understands (src/api/responses, src/api/openai); here is what they are found by.
 *
 *   store_answer_add --> completed, incomplete, failed            (answered while its client waits)
 *   store_answer_add (job) --> queued --store_answer_begin--> in_progress --store_answer_end-->
 *                                |                               |        completed, incomplete,
 *                                '---------store_answer_cancel---'        failed
 *                                              v
 *                                          cancelled
 *
 * An answer belongs to a user, or to nobody ("" as the user's id): that of a hub that asks nobody
 * who calls. Ids are made by the caller and unguessable. */
#ifndef HEARTH_STORE_STORE_ANSWER_H
#define HEARTH_STORE_STORE_ANSWER_H

#include "base/arena.h"
#include "store/store.h"
#include "store/store_job.h"
#include "store/store_user.h"

enum { STORE_ANSWER_PAGE_MAX = 100 };

/* X(id, word) */
#define STORE_ANSWER_STATES(X)                                                                     \
    X(QUEUED, "queued")                                                                            \
    X(IN_PROGRESS, "in_progress")                                                                  \
    X(COMPLETED, "completed")                                                                      \
    X(INCOMPLETE, "incomplete")                                                                    \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")

enum store_answer_state {
#define X(id, word) STORE_ANSWER_##id,
    STORE_ANSWER_STATES(X)
#undef X
        STORE_ANSWER_STATE_COUNT
};

const char *store_answer_state_name(enum store_answer_state state);

enum store_answer_kind { STORE_RESPONSE, STORE_COMPLETION };

struct store_answer {
    const char *id;
    const char *user_id; /* "" = nobody's */
    enum store_answer_kind kind;
    enum store_answer_state state;
    const char *previous_id; /* the response it goes on from, which may be gone; NULL = none */
    const char *job_id;      /* that answers it in the background; NULL = none */
    const char *model;
    const char *metadata; /* JSON object */
    const char *request;  /* what its job needs, JSON; NULL = none */
    const char *input;    /* JSON array: items, or messages */
    const char *body;     /* JSON object: the answer, as far as it is there */
    const char *events;   /* of a background stream that is over: its text; NULL = none */
    bool local_only;      /* nothing of it may leave this machine */
    int64_t created_ms, updated_ms;
};

/* With its job, if there is one (kind, payload, key, priority, max_attempts of `job` are used): all
 * or nothing. ERR_CONFLICT: there is one of that id. ERR_NOT_FOUND: the user is gone. */
HT_MUST_CHECK enum err store_answer_add(struct store *s, const struct store_answer *answer,
                                        const struct store_job *job, struct error *error);
HT_MUST_CHECK enum err store_answer_get(struct store *s, const char *user_id,
                                        enum store_answer_kind kind, const char *id,
                                        struct arena *a, struct store_answer *out,
                                        struct error *error);
/* Without the texts of request, input and events: state and body alone, for those who wait. */
HT_MUST_CHECK enum err store_answer_look(struct store *s, const char *user_id, const char *id,
                                         struct arena *a, struct store_answer *out,
                                         struct error *error);
/* Whoever's it is: for its job. */
HT_MUST_CHECK enum err store_answer_by_id(struct store *s, const char *id, struct arena *a,
                                          struct store_answer *out, struct error *error);

struct store_answer_page {
    const char *model; /* NULL = any */
    const char *after; /* id of the last one of the page before; NULL = from the beginning */
    bool oldest_first;
    int32_t limit; /* 1..STORE_ANSWER_PAGE_MAX + 1: one more shows whether there are more */
};

/* ERR_NOT_FOUND: `after` is none of the user's. *n < limit: there are no more. */
HT_MUST_CHECK enum err store_answer_list(struct store *s, const char *user_id,
                                         enum store_answer_kind kind,
                                         const struct store_answer_page *page, struct arena *a,
                                         struct store_answer **out, size_t *n, struct error *error);
HT_MUST_CHECK enum err store_answer_set_metadata(struct store *s, const char *user_id,
                                                 enum store_answer_kind kind, const char *id,
                                                 const char *metadata, struct error *error);
/* Its unfinished job is cancelled. */
HT_MUST_CHECK enum err store_answer_delete(struct store *s, const char *user_id,
                                           enum store_answer_kind kind, const char *id,
                                           struct error *error);

/* ---- in the background ---------------------------------------------------------------------- */

/* It is being answered (also again, after a crash). local_only: it is pinned now, and stays so; one
 * that was pinned before is in any case. ERR_CONFLICT: it is over. */
HT_MUST_CHECK enum err store_answer_begin(struct store *s, const char *id, const char *body,
                                          bool local_only, struct error *error);
/* Its end: state, model, body and events of `answer` are used; the request goes. ERR_CONFLICT: it
 * is over already; ERR_NOT_FOUND: it was deleted. */
HT_MUST_CHECK enum err store_answer_end(struct store *s, const struct store_answer *answer,
                                        struct error *error);
/* With its job. What was over stays as it was (OK). */
HT_MUST_CHECK enum err store_answer_cancel(struct store *s, const char *user_id, const char *id,
                                           const char *body, struct error *error);

/* Removes what is older and over; *n counts them. */
HT_MUST_CHECK enum err store_answer_sweep(struct store *s, int64_t before_ms, int64_t *n,
                                          struct error *error);

#endif
