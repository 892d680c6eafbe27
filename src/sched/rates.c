/* What a model's work takes; see rates.h. */
#include "sched/rates.h"

enum { SPEED_WINDOW_NS = 1000 * 1000 * 1000 };

static void follow(double *value, double latest, double weight)
{
    *value = *value > 0 ? *value + (latest - *value) * weight : latest;
}

void rates_batch(struct rates *r, int32_t prompt_tokens, int32_t streams, int64_t ns)
{
    double for_prompt = (double)ns;
    if (prompt_tokens <= 0) return;
    if (streams > 0 && r->token_ns > 0) for_prompt -= r->token_ns;
    /* A short prompt beside streams says nothing: its time drowns in theirs. */
    if (for_prompt < (double)ns / 4) return;
    follow(&r->prompt_ns, for_prompt / prompt_tokens, prompt_tokens >= 64 ? 0.25 : 0.05);
}

void rates_token(struct rates *r, int64_t ns)
{
    follow(&r->token_ns, (double)ns, 1.0 / 32);
}

void rates_answer(struct rates *r, int32_t tokens)
{
    follow(&r->answer, tokens > 0 ? tokens : 1, 1.0 / 8);
}

void rates_output(struct rates *r, int32_t tokens, int64_t now_ns)
{
    if (r->since_ns == 0) r->since_ns = now_ns;
    r->tokens += tokens;
    int64_t ns = now_ns - r->since_ns;
    if (ns < SPEED_WINDOW_NS) return;
    double latest = (double)r->tokens * 1e9 / (double)ns;
    /* After a long silence only the latest counts. */
    if (ns < 4LL * SPEED_WINDOW_NS)
        follow(&r->per_second, latest, 0.5);
    else
        r->per_second = latest;
    r->since_ns = now_ns;
    r->tokens = 0;
}

int32_t rates_answer_left(const struct rates *r, int32_t generated, int32_t most)
{
    double expected = r->answer > 0 ? r->answer : RATES_ANSWER_UNKNOWN;
    /* One that is longer already than answers usually are will go on for a while. */
    double left = generated < expected ? expected - generated : expected / 4;
    if (left < 1) left = 1;
    if (most >= 0 && left > most - generated) left = most - generated;
    return left < 0 ? 0 : (int32_t)left;
}

int64_t rates_duration_ns(const struct rates *r, int32_t prompt_tokens, int32_t answer_tokens)
{
    if (answer_tokens > 0 && r->token_ns <= 0) return -1;
    if (prompt_tokens > 0 && r->prompt_ns <= 0 && r->token_ns <= 0) return -1;
    /* A prompt token never takes longer than a generated one. */
    double prompt = r->prompt_ns > 0 ? r->prompt_ns : r->token_ns;
    return (int64_t)(prompt * prompt_tokens + r->token_ns * answer_tokens);
}
