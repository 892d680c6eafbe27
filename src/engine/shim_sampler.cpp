/* Sampling: what libllama-common's common_sampler does (common/sampling.cpp of v0.5.0), faster:
 *   - Biases and penalties change a few logits in place, and are taken back after the choice,
 * instead of going through a list of the whole vocabulary.
 *   - At temperature 0 the best token is found in the logits themselves.
 *   - Else only candidates within e^-25 of the best one go through the chain: what is left out has
 * a probability below 2e-6 in total even with a vocabulary of 150,000. Only samplers that do
 *     something are in it. Order: top_k, top_p, min_p, temperature, choice.
 *   - A grammar is asked about the token that was chosen without it. If it refuses that, it is
 * asked about the vocabulary as a tree (token_tree.h), of which it refuses most at the first byte;
 *     where it allows too much for that, about the likely candidates first. What it allows is the
 *     same list as if it had been asked about every token.
 *   - A triggered grammar sees only the text around its trigger word. common_sampler searches the
 *     whole answer with a regular expression at every token.
 *   - A grammar that allows no token at all is an error; in libllama it is an abort.
 *   - logprobs come from the raw logits, before anything else. */
#include "shim_int.hpp"

#include <algorithm>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstring>

#include "reasoning-budget.h"

struct penalties {
    float repeat, frequency, presence;
    std::vector<llama_token> window; /* ring of the last tokens; empty = off */
    size_t n = 0;                    /* tokens that went through it */
    std::vector<uint32_t> count;     /* by token: how often it is in the window */
    std::vector<uint32_t> mark;      /* by token: the round in which it was penalised */
    uint32_t round = 0;
};

struct shim_sampler {
    std::shared_ptr<const chat_form> form;
    const llama_vocab *vocab;
    int32_t n_vocab;
    grammar_ptr grammar, thinking, chain; /* no chain: greedy */
    grammar_mode mode;
    bool triggered = false;
    bool logprobs;
    size_t n_top;
    float cut;     /* how far below the best a logit may be and still matter */
    int32_t top_k; /* 0 = off */
    std::vector<llama_logit_bias> bias;
    struct penalties penalties;
    std::vector<std::pair<llama_token, float>> changed; /* logits as they were, last first */
    std::vector<llama_token_data> candidates; /* room for the vocabulary, allocated once */
    std::vector<llama_token> tail;            /* tokens in which a trigger may begin */
    std::string tail_text;
    size_t tail_max = 0;           /* bytes of the longest trigger word */
    std::vector<llama_token> ends; /* AFTER_THINKING: may not come while thinking */
    const token_tree *tree = nullptr;
    std::vector<llama_token_data> asked; /* scratch of walk */
    std::vector<llama_token> allowed, below;
};

/* ---- grammars ------------------------------------------------------------------------------ */

static std::vector<std::string> trigger_patterns(const chat_form &s)
{
    std::vector<std::string> patterns = s.patterns;
    for (const auto &word : s.words) patterns.push_back(regex_escape(word));
    return patterns;
}

grammar_ptr shim_compile_grammar(const llama_vocab *vocab, const chat_form &s)
{
    llama_sampler *g;
    if (s.mode == grammar_mode::triggered) {
        std::vector<std::string> patterns = trigger_patterns(s);
        std::vector<const char *> list;
        for (const auto &p : patterns) list.push_back(p.c_str());
        g = llama_sampler_init_grammar_lazy_patterns(vocab, s.grammar.c_str(), "root", list.data(),
                                                     list.size(), s.trigger_tokens.data(),
                                                     s.trigger_tokens.size());
    } else {
        g = llama_sampler_init_grammar(vocab, s.grammar.c_str(), "root");
    }
    if (!g)
        throw std::runtime_error("the inference library refuses the grammar: it repeats groups of "
                                 "rules too often, or names a token that the model does not have");
    grammar_ptr owner(g);
    if (s.prefill) /* it describes the whole message; its beginning is in the prompt */
        for (llama_token t : s.prefill_tokens) llama_sampler_accept(g, t);
    return owner;
}

extern "C" bool shim_chat_wants_tree(const struct shim_chat *c)
{
    const chat_form &f = *c->state->form;
    return f.mode != grammar_mode::none && f.prefix_closed;
}

extern "C" enum token_place shim_token_text(void *vocab, int32_t token, struct buf *out)
{
    const llama_vocab *v = (const llama_vocab *)vocab;
    if (llama_vocab_is_eog(v, token)) return TOKEN_APART;
    if (buf_reserve(out, 64)) return TOKEN_NOWHERE;
    int32_t n = llama_token_to_piece(v, token, out->data + out->len, 64, 0, true);
    if (n < 0) {
        if (buf_reserve(out, (size_t)-n)) return TOKEN_NOWHERE;
        n = llama_token_to_piece(v, token, out->data + out->len, -n, 0, true);
    }
    if (n > 0) out->len += (size_t)n;
    return TOKEN_IN_TREE;
}

/* ---- set-up -------------------------------------------------------------------------------- */

static void set_bias(shim_sampler *sm, const struct sampling *s)
{
    for (size_t i = 0; i < s->n_logit_bias; i++)
        if (s->logit_bias[i].token >= 0 && s->logit_bias[i].token < sm->n_vocab)
            sm->bias.push_back({s->logit_bias[i].token, s->logit_bias[i].bias});
    bool must_end = sm->mode == grammar_mode::always; /* a finished grammar allows only an end */
    for (llama_token t = 0; s->ignore_eos && !must_end && t < sm->n_vocab; t++)
        if (llama_vocab_is_eog(sm->vocab, t)) sm->bias.push_back({t, -INFINITY});
    int32_t n_suppress = 0;
    const llama_token *suppress = llama_vocab_get_suppress_tokens(sm->vocab, &n_suppress);
    for (int32_t i = 0; i < n_suppress; i++) sm->bias.push_back({suppress[i], -INFINITY});
}

static void set_penalties(shim_sampler *sm, const struct sampling *s, int32_t n_ctx_train)
{
    struct penalties &p = sm->penalties;
    int32_t last = s->repeat_last_n < 0 ? n_ctx_train : s->repeat_last_n;
    bool off = s->repeat_penalty == 1 && s->frequency_penalty == 0 && s->presence_penalty == 0;
    p.repeat = s->repeat_penalty;
    p.frequency = s->frequency_penalty;
    p.presence = s->presence_penalty;
    if (last <= 0 || off) return;
    p.window.resize((size_t)last);
    p.count.resize((size_t)sm->n_vocab);
    p.mark.resize((size_t)sm->n_vocab);
}

static uint32_t seed_of(const struct sampling *s)
{
    return s->seed == SEED_RANDOM ? LLAMA_DEFAULT_SEED : s->seed;
}

static void set_chain(shim_sampler *sm, const struct sampling *s)
{
    sm->cut = 25 * std::max(1.0f, s->temperature);
    sm->top_k = s->top_k;
    if (s->temperature <= 0) return;
    llama_sampler_chain_params params = llama_sampler_chain_default_params();
    params.no_perf = true;
    sm->chain.reset(llama_sampler_chain_init(params));
    llama_sampler *chain = sm->chain.get();
    if (s->top_k > 0) llama_sampler_chain_add(chain, llama_sampler_init_top_k(s->top_k));
    if (s->top_p < 1) llama_sampler_chain_add(chain, llama_sampler_init_top_p(s->top_p, 1));
    if (s->min_p > 0) llama_sampler_chain_add(chain, llama_sampler_init_min_p(s->min_p, 1));
    if (s->temperature != 1)
        llama_sampler_chain_add(chain, llama_sampler_init_temp(s->temperature));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(seed_of(s)));
}

/* Follows whether the model is inside <think>; only grammars ask. */
static void watch_thinking(shim_sampler *sm)
{
    const chat_form &c = *sm->form;
    bool asked = sm->mode == grammar_mode::triggered || sm->mode == grammar_mode::after_thinking;
    if (!asked || c.think_start.empty() || c.think_ends.empty()) return;
    sm->thinking.reset(
        common_reasoning_budget_init(sm->vocab, {c.think_start}, c.think_ends, {}, INT_MAX));
    for (llama_token t : c.prefill_tokens) llama_sampler_accept(sm->thinking.get(), t);
}

extern "C" enum err shim_sampler_new(const llama_model *model, const struct sampling *s,
                                     const struct shim_chat *c, int32_t n_ctx_train,
                                     const struct token_tree *tree, struct shim_sampler **out,
                                     struct error *error)
{
    return shim_guarded(error, ERR_ENGINE, [&] {
        auto sm = std::make_unique<shim_sampler>();
        sm->form = c->state->form;
        sm->vocab = llama_model_get_vocab(model);
        sm->n_vocab = llama_vocab_n_tokens(sm->vocab);
        sm->mode = sm->form->mode;
        sm->tree = shim_chat_wants_tree(c) ? tree : nullptr;
        sm->logprobs = s->logprobs;
        sm->n_top = s->logprobs ? (size_t)s->top_logprobs : 0;
        set_bias(sm.get(), s);
        set_penalties(sm.get(), s, n_ctx_train);
        set_chain(sm.get(), s);
        if (sm->mode != grammar_mode::none) {
            sm->grammar.reset(c->state->ready.exchange(nullptr));
            if (!sm->grammar) sm->grammar = shim_compile_grammar(sm->vocab, *sm->form);
            watch_thinking(sm.get());
        }
        for (llama_token t = 0; sm->mode == grammar_mode::after_thinking && t < sm->n_vocab; t++)
            if (llama_vocab_is_eog(sm->vocab, t)) sm->ends.push_back(t);
        for (const auto &word : sm->form->words) sm->tail_max = std::max(sm->tail_max, word.size());
        if (sm->chain || sm->grammar) sm->candidates.resize((size_t)sm->n_vocab);
        *out = sm.release();
        return OK;
    });
}

extern "C" void shim_sampler_free(struct shim_sampler *s)
{
    delete s;
}

/* ---- biases and penalties ------------------------------------------------------------------ */

static void remember(struct penalties &p, llama_token token)
{
    if (p.window.empty()) return;
    llama_token &slot = p.window[p.n % p.window.size()];
    if (p.n >= p.window.size()) p.count[(size_t)slot]--;
    p.count[(size_t)token]++;
    slot = token;
    p.n++;
}

extern "C" void shim_sampler_accept_prompt(struct shim_sampler *s, int32_t token)
{
    if (token >= 0 && token < s->n_vocab) remember(s->penalties, token);
}

static void change(shim_sampler *sm, float *logits, llama_token token, float value)
{
    sm->changed.emplace_back(token, logits[token]);
    logits[token] = value;
}

/* As llama_sampler_penalties does it. */
static float penalised(const struct penalties &p, llama_token token, float logit)
{
    logit = logit <= 0 ? logit * p.repeat : logit / p.repeat;
    return logit - (float)p.count[(size_t)token] * p.frequency - p.presence;
}

static void change_logits(shim_sampler *sm, float *logits)
{
    for (const auto &b : sm->bias) change(sm, logits, b.token, logits[b.token] + b.bias);
    struct penalties &p = sm->penalties;
    size_t n = std::min(p.n, p.window.size());
    p.round++;
    for (size_t i = 0; i < n; i++) {
        llama_token t = p.window[i];
        if (p.mark[(size_t)t] == p.round) continue;
        p.mark[(size_t)t] = p.round;
        change(sm, logits, t, penalised(p, t, logits[t]));
    }
}

/* Other choices may be sampled from the same logits. */
static void restore_logits(shim_sampler *sm, float *logits)
{
    for (; !sm->changed.empty(); sm->changed.pop_back())
        logits[sm->changed.back().first] = sm->changed.back().second;
}

/* ---- triggers ------------------------------------------------------------------------------ */

static bool outside_thinking(const shim_sampler *sm)
{
    if (!sm->thinking) return true;
    auto state = common_reasoning_budget_get_state(sm->thinking.get());
    return state == REASONING_BUDGET_IDLE || state == REASONING_BUDGET_DONE;
}

static bool grammar_applies(const shim_sampler *sm)
{
    if (!sm->grammar) return false;
    if (sm->mode == grammar_mode::always) return true;
    return (sm->mode == grammar_mode::after_thinking || sm->triggered) && outside_thinking(sm);
}

/* Drops what is too far back for a trigger word to begin in. */
static void trim_tail(shim_sampler *sm)
{
    while (!sm->tail.empty()) {
        size_t first = common_token_to_piece(sm->vocab, sm->tail.front(), true).size();
        if (sm->tail_text.size() - first < sm->tail_max) return;
        sm->tail.erase(sm->tail.begin());
        sm->tail_text.erase(0, first);
    }
}

/* Looks for a trigger that ends in this token; gives the grammar the tokens around it. Formats with
 * patterns hand every token to libllama, which keeps the text and searches it. */
static void watch_trigger(shim_sampler *sm, llama_token token)
{
    const chat_form &c = *sm->form;
    if (!c.patterns.empty()) {
        llama_sampler_accept(sm->grammar.get(), token);
        sm->triggered = true; /* libllama knows better: until then it applies nothing */
        return;
    }
    const auto &tokens = c.trigger_tokens;
    if (std::find(tokens.begin(), tokens.end(), token) != tokens.end()) {
        llama_sampler_accept(sm->grammar.get(), token);
        sm->triggered = true;
        return;
    }
    if (!sm->tail_max) return;
    sm->tail.push_back(token);
    sm->tail_text += common_token_to_piece(sm->vocab, token, true);
    for (const auto &word : c.words) {
        if (sm->tail_text.find(word) == std::string::npos) continue;
        for (llama_token t : sm->tail) llama_sampler_accept(sm->grammar.get(), t);
        sm->triggered = true;
        return;
    }
    trim_tail(sm);
}

/* Thinking is just over: some formats end it with what begins a call. */
static void watch_end_of_thinking(shim_sampler *sm)
{
    const llama_tokens *end = common_reasoning_budget_get_end_match(sm->thinking.get());
    for (size_t i = 0; end && i < end->size() && !sm->triggered; i++) watch_trigger(sm, (*end)[i]);
}

/* The token is chosen: everything that has a memory hears of it. */
static void accept(shim_sampler *sm, llama_token token)
{
    bool outside = outside_thinking(sm), applied = grammar_applies(sm);
    bool waiting = sm->mode == grammar_mode::triggered && !sm->triggered;
    if (sm->thinking) llama_sampler_accept(sm->thinking.get(), token);
    if (applied)
        llama_sampler_accept(sm->grammar.get(), token);
    else if (waiting && outside)
        watch_trigger(sm, token);
    else if (waiting && outside_thinking(sm))
        watch_end_of_thinking(sm);
    if (sm->chain) llama_sampler_accept(sm->chain.get(), token);
    remember(sm->penalties, token);
}

/* ---- choosing ------------------------------------------------------------------------------ */

enum {
    FEW = 256,         /* likely candidates */
    WALK_SHORT = 4096, /* tokens: about 0.3 ms */
};

static float highest_of_16(const float *logits)
{
    float best[4] = {logits[0], logits[1], logits[2], logits[3]};
    for (int32_t i = 4; i < 16; i += 4)
        for (int32_t k = 0; k < 4; k++) best[k] = logits[i + k] > best[k] ? logits[i + k] : best[k];
    return std::max(std::max(best[0], best[1]), std::max(best[2], best[3]));
}

static float highest(const float *logits, int32_t n)
{
    float best[16];
    int32_t i = 0;
    std::fill(best, best + 16, -INFINITY);
    for (; i + 16 <= n; i += 16) /* one compare per lane: the compiler makes vectors of it */
        for (int32_t k = 0; k < 16; k++)
            best[k] = logits[i + k] > best[k] ? logits[i + k] : best[k];
    for (; i < n; i++) best[0] = std::max(best[0], logits[i]);
    return *std::max_element(best, best + 16);
}

/* The candidates at or above `least`. */
static llama_token_data_array gather(shim_sampler *sm, const float *logits, float least)
{
    size_t n = 0;
    llama_token_data *to = sm->candidates.data();
    for (llama_token t = 0; t < sm->n_vocab; t++) {
        to[n] = {t, logits[t], 0.0f};
        n += logits[t] >= least; /* no branch: most are refused, at random */
    }
    return {to, n, -1, false};
}

/* The best `want` candidates: a heap whose top is the worst of them, so that nearly all of the
 * vocabulary is refused by one comparison for sixteen tokens. */
static llama_token_data_array gather_top(shim_sampler *sm, const float *logits, int32_t want)
{
    auto worse = [](const auto &a, const auto &b) { return a.logit > b.logit; };
    llama_token_data *heap = sm->candidates.data();
    int32_t n = 0;
    for (llama_token block = 0; block < sm->n_vocab; block += 16) {
        llama_token end = std::min(block + 16, sm->n_vocab);
        bool whole = n == want && end - block == 16;
        if (whole && highest_of_16(logits + block) <= heap[0].logit) continue;
        for (llama_token t = block; t < end; t++) {
            if (n == want && logits[t] <= heap[0].logit) continue;
            if (n == want) std::pop_heap(heap, heap + n--, worse);
            heap[n++] = {t, logits[t], 0.0f};
            std::push_heap(heap, heap + n, worse);
        }
    }
    while (n && heap[0].logit == -INFINITY) std::pop_heap(heap, heap + n--, worse);
    return {heap, (size_t)n, -1, false};
}

/* -1 when nothing is possible. */
static llama_token pick(shim_sampler *sm, llama_token_data_array *list)
{
    if (!list->size) return -1;
    if (!sm->chain) {
        auto less = [](const auto &a, const auto &b) { return a.logit < b.logit; };
        return std::max_element(list->data, list->data + list->size, less)->id;
    }
    llama_sampler_apply(sm->chain.get(), list);
    if (list->selected < 0 || (size_t)list->selected >= list->size) return -1;
    return list->data[list->selected].id;
}

static llama_token pick_free(shim_sampler *sm, const float *logits)
{
    llama_token_data_array list;
    if (sm->chain && sm->top_k > 0 && sm->top_k <= FEW) {
        list = gather_top(sm, logits, sm->top_k);
        return pick(sm, &list);
    }
    float best = highest(logits, sm->n_vocab);
    if (best == -INFINITY) return -1; /* all forbidden, or nothing but NaN */
    if (!sm->chain) return (llama_token)(std::find(logits, logits + sm->n_vocab, best) - logits);
    list = gather(sm, logits, best - sm->cut);
    return pick(sm, &list);
}

static bool grammar_allows(shim_sampler *sm, llama_token token)
{
    llama_token_data one = {token, 1.0f, 0.0f};
    llama_token_data_array list = {&one, 1, -1, false};
    llama_sampler_apply(sm->grammar.get(), &list);
    return one.logit != -INFINITY;
}

/* Asks the grammar about the list; what it refuses is dropped. */
static void drop_refused(shim_sampler *sm, llama_token_data_array *list)
{
    llama_sampler_apply(sm->grammar.get(), list);
    llama_token_data *end = std::remove_if(list->data, list->data + list->size,
                                           [](const auto &d) { return d.logit == -INFINITY; });
    list->size = (size_t)(end - list->data);
}

/* Fills `allowed` with all that the grammar allows, level by level of the tree. False when it would
 * have to be asked about more than `most` tokens. */
static bool walk(shim_sampler *sm, size_t most)
{
    size_t n, asked = 0;
    const int32_t *roots = token_tree_roots(sm->tree, &n);
    sm->allowed.clear();
    sm->below.assign(roots, roots + n);
    while (!sm->below.empty()) {
        asked += sm->below.size();
        if (asked > most) return false;
        sm->asked.clear();
        for (llama_token t : sm->below) sm->asked.push_back({t, 0.0f, 0.0f});
        llama_token_data_array list = {sm->asked.data(), sm->asked.size(), -1, false};
        llama_sampler_apply(sm->grammar.get(), &list);
        sm->below.clear();
        for (const auto &d : sm->asked) {
            if (d.logit == -INFINITY) continue;
            sm->allowed.push_back(d.id);
            const int32_t *children = token_tree_children(sm->tree, d.id, &n);
            sm->below.insert(sm->below.end(), children, children + n);
        }
    }
    return true;
}

/* In the order of the ids and without what is forbidden, like gather. */
static llama_token_data_array gather_allowed(shim_sampler *sm, const float *logits)
{
    size_t n = 0;
    llama_token_data *to = sm->candidates.data();
    std::sort(sm->allowed.begin(), sm->allowed.end());
    for (llama_token t : sm->allowed) {
        to[n] = {t, logits[t], 0.0f};
        n += logits[t] >= -FLT_MAX;
    }
    return {to, n, -1, false};
}

/* Asking about a token costs far more than finding it. */
static llama_token pick_allowed(shim_sampler *sm, const float *logits)
{
    size_t enough = sm->chain ? (size_t)sm->top_k : 1;
    llama_token_data_array list;
    if (sm->tree && walk(sm, WALK_SHORT)) {
        list = gather_allowed(sm, logits);
        return pick(sm, &list);
    }
    list = gather_top(sm, logits, FEW);
    drop_refused(sm, &list);
    if (enough && list.size >= enough) return pick(sm, &list);
    if (sm->tree && walk(sm, SIZE_MAX)) {
        list = gather_allowed(sm, logits);
    } else {
        list = gather(sm, logits, -FLT_MAX); /* without what is forbidden */
        drop_refused(sm, &list);
    }
    return pick(sm, &list);
}

static llama_token choose(shim_sampler *sm, float *logits)
{
    llama_token token = pick_free(sm, logits);
    if (token < 0) return -1;
    if (grammar_applies(sm)) return grammar_allows(sm, token) ? token : pick_allowed(sm, logits);
    if (sm->ends.empty() || !llama_vocab_is_eog(sm->vocab, token)) return token;
    /* thinking may not end the answer when a format was promised behind it */
    for (llama_token t : sm->ends) change(sm, logits, t, -INFINITY);
    return pick_free(sm, logits);
}

/* ---- logprobs ------------------------------------------------------------------------------ */

/* log softmax over the raw logits: logit - max - log(sum(exp(logit - max))). */
static void fill_logprobs(const shim_sampler *sm, const float *logits, struct engine_sample *out)
{
    float max = *std::max_element(logits, logits + sm->n_vocab);
    double sum = 0;
    for (int32_t i = 0; i < sm->n_vocab; i++) /* what is below e^-30 adds nothing to a float */
        if (logits[i] > max - 30) sum += std::exp(logits[i] - max);
    float base = max + (float)std::log(sum);
    out->logprob = logits[out->token] - base;
    size_t n = std::min(sm->n_top, (size_t)sm->n_vocab), have = 0;
    for (int32_t t = 0; t < sm->n_vocab && n; t++) { /* insertion into a short sorted list */
        if (have == n && logits[t] - base <= out->top[n - 1].logprob) continue;
        size_t at = have < n ? have++ : n - 1;
        for (; at && out->top[at - 1].logprob < logits[t] - base; at--)
            out->top[at] = out->top[at - 1];
        out->top[at].token = t;
        out->top[at].logprob = logits[t] - base;
    }
    out->n_top = n;
}

/* Choosing draws one random number, however many candidates there are. */
extern "C" enum err shim_sampler_replay(struct shim_sampler *s, int32_t token, bool *special,
                                        struct error *error)
{
    return shim_guarded(
        error, ERR_ENGINE, [&]() -> enum err {
            if (token < 0 || token >= s->n_vocab)
                return err_set(error, ERR_ENGINE, "there is no token %d", token);
            *special = s->form->preserved.count(token) > 0;
            llama_token_data one = {token, 0.0f, 1.0f};
            llama_token_data_array list = {&one, 1, -1, false};
            if (s->chain) llama_sampler_apply(s->chain.get(), &list);
            accept(s, token);
            return OK;
        });
}

extern "C" enum err shim_sampler_sample(struct shim_sampler *s, llama_context *ctx, int32_t index,
                                        struct engine_sample *out, struct error *error)
{
    return shim_guarded(
        error, ERR_ENGINE, [&]() -> enum err {
            float *logits = llama_get_logits_ith(ctx, index);
            if (!logits) return err_set(error, ERR_ENGINE, "token %d has no logits", index);
            change_logits(s, logits);
            llama_token token = choose(s, logits);
            restore_logits(s, logits);
            if (token < 0)
                return err_set(error, ERR_ENGINE,
                               s->grammar
                                   ? "no token of the model fits the grammar here"
                                   : "no token is left to choose: the logit bias forbids all of "
                                     "them, or the model gave no numbers");
            out->token = token;
            out->is_end = llama_vocab_is_eog(s->vocab, token);
            out->special = s->form->preserved.count(token) > 0;
            out->n_top = 0;
            out->logprob = 0;
            if (s->logprobs) fill_logprobs(s, logits, out);
            accept(s, token);
            return OK;
        });
}
