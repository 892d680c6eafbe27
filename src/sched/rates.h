/* What a model's work takes on this machine, learnt from what it did: for estimates only, never for
 * who goes first. Each figure follows the latest values (exponentially weighted); 0 = not known
 * yet. Pure: durations come in as arguments. */
#ifndef HEARTH_SCHED_RATES_H
#define HEARTH_SCHED_RATES_H

#include <stdint.h>

enum { RATES_ANSWER_UNKNOWN = 256 /* tokens, until an answer has ended */ };

struct rates {
    double prompt_ns; /* for a prompt token */
    double token_ns;  /* between two tokens of a stream, at the load of late */
    double answer;    /* tokens of an answer */
    /* tokens generated (or embedded) in a second, of late */
    double per_second;
    int64_t since_ns, tokens;
};

/* A batch: tokens of prompts, and streams that got their next one. */
void rates_batch(struct rates *r, int32_t prompt_tokens, int32_t streams, int64_t ns);
void rates_token(struct rates *r, int64_t ns); /* since the stream's token before */
void rates_answer(struct rates *r, int32_t tokens);
/* Counts output; `now_ns` also alone (tokens = 0), so that the speed sinks when nothing comes. */
void rates_output(struct rates *r, int32_t tokens, int64_t now_ns);

/* How many tokens an answer will still get that has `generated` and may have `most` in all (-1 = no
 * limit). */
int32_t rates_answer_left(const struct rates *r, int32_t generated, int32_t most);
/* A request's prompt and answer; -1 = unknown. */
int64_t rates_duration_ns(const struct rates *r, int32_t prompt_tokens, int32_t answer_tokens);

#endif
