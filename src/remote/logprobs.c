/* Log probabilities in answers: OpenAI's list, which Ollama has taken over. Tokens have no numbers
 * there, only their texts. */
#include <stdlib.h>

#include "base/mem.h"
#include "remote/member.h"
#include "remote/remote_int.h"

static void read_one(const json_t *item, struct logprob_alt *out)
{
    *out = (struct logprob_alt){
        .token = -1, /* its number is known to the server only */
        .logprob = (float)json_number_value(json_object_get(item, "logprob")),
    };
    (void)member_text(item, "token", &out->text, &out->len);
}

static size_t count_tops(const json_t *item)
{
    size_t n = json_array_size(json_object_get(item, "top_logprobs"));
    return n > GEN_TOP_LOGPROBS_MAX ? GEN_TOP_LOGPROBS_MAX : n;
}

enum err decode_logprobs(struct decode *d, int64_t choice, const char *text, size_t len,
                         const json_t *list, struct error *error)
{
    size_t n = json_array_size(list), n_tops = 0, used = 0;
    for (size_t i = 0; i < n; i++) n_tops += count_tops(json_array_get(list, i));
    struct token_logprob *tokens = try_calloc(n ? n : 1, sizeof *tokens);
    struct logprob_alt *tops = try_calloc(n_tops ? n_tops : 1, sizeof *tops);
    enum err e = tokens && tops ? OK : err_set(error, ERR_NOMEM, "no memory for log probabilities");
    for (size_t i = 0; i < n && !e; i++) {
        const json_t *item = json_array_get(list, i), *top = json_object_get(item, "top_logprobs");
        read_one(item, &tokens[i].chosen);
        tokens[i].top = tops + used;
        tokens[i].n_top = count_tops(item);
        for (size_t k = 0; k < tokens[i].n_top; k++)
            read_one(json_array_get(top, k), &tops[used++]);
    }
    if (!e) e = decode_text(d, choice, text, len, tokens, n, error);
    free(tokens);
    free(tops);
    return e;
}
