/* The fake engine's models and tokens. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/fake_int.h"

static const struct {
    const char *text;
    int32_t token;
} specials[] = {
    {"<|end|>", FAKE_END},   {"<|system|>", FAKE_SYSTEM},
    {"<|user|>", FAKE_USER}, {"<|assistant|>", FAKE_ASSISTANT},
    {"<|tool|>", FAKE_TOOL}, {"<|bos|>", FAKE_BOS},
};

/* Of models with fim=1; no text becomes one of them. */
static const char *const fim_texts[] = {"<|prefix|>", "<|suffix|>", "<|middle|>", "<|repo|>",
                                        "<|file|>"};

enum { N_SPECIALS = sizeof specials / sizeof *specials };

/* ---- loading ------------------------------------------------------------------------------ */

static bool set_int(const char *value, int64_t min, int64_t max, int32_t *out)
{
    int64_t v;
    if (!str_to_i64(value, min, max, &v)) return false;
    *out = (int32_t)v;
    return true;
}

static bool set_kind(struct engine_model_facts *f, const char *value)
{
    f->has_chat_template = f->supports_tools = f->supports_thinking = str_eq(value, "chat");
    f->is_embedding = str_eq(value, "embed");
    f->is_rerank = str_eq(value, "rerank");
    return f->has_chat_template || f->is_embedding || f->is_rerank || str_eq(value, "raw");
}

static bool set_option(struct fake_model *m, const char *name, const char *value)
{
    const struct {
        const char *name;
        int32_t *to, min, max;
    } ints[] = {
        {"ctx", &m->ctx, 1, 1 << 24},
        {"embd", &m->head.facts.n_embd, 1, 65536},
        {"ms", &m->ms, 0, 60000},
        {"token_us", &m->token_us, 0, 1000000},
        {"pair_us", &m->pair_us, 0, 1000000},
        {"f16_us", &m->f16_us, 0, 1000000},
        {"q8_us", &m->q8_us, 0, 1000000},
        {"no_mix", &m->no_mix, 0, 2},
        {"load_ms", &m->load_ms, 0, 60000},
        {"fail_decode", &m->fail_decode, 1, 1 << 30},
        {"weights", &m->weights, 0, 1 << 30},
        {"cell", &m->cell, 0, 1 << 20},
        {"compute", &m->compute, 0, 1 << 30},
    };
    const struct {
        const char *name;
        bool *to;
    } bools[] = {{"endless", &m->endless},
                 {"fail_ctx", &m->fail_ctx},
                 {"no_partial", &m->no_partial_remove},
                 {"no_shift", &m->no_shift},
                 {"fim", &m->fim},
                 {"only_f16", &m->only_f16}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (str_eq(name, ints[i].name)) return set_int(value, ints[i].min, ints[i].max, ints[i].to);
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        if (str_eq(name, bools[i].name)) return str_to_bool(value, bools[i].to);
    if (str_eq(name, "kind")) return set_kind(&m->head.facts, value);
    if (!str_eq(name, "fail_load")) return false;
    free(m->fail_load);
    m->fail_load = xstrdup(value);
    return true;
}

static enum err read_options(struct fake_model *m, const char *options, struct error *error)
{
    for (const char *p = options; *p;) {
        if (str_starts(p, "reply=")) {
            m->reply = xstrdup(p + 6);
            return OK;
        }
        size_t len = strcspn(p, ",");
        char item[256];
        if (len >= sizeof item) return err_set(error, ERR_MODEL_FILE, "fake: option too long");
        memcpy(item, p, len);
        item[len] = '\0';
        char *eq = strchr(item, '=');
        if (eq) *eq = '\0';
        if (!eq || !set_option(m, item, eq + 1))
            return err_set(error, ERR_MODEL_FILE, "fake: unknown option or bad value '%s=%s'", item,
                           eq ? eq + 1 : "");
        p += len + (p[len] == ',');
    }
    return OK;
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static enum err pretend_to_load(const struct fake_model *m,
                                const struct engine_model_params *params, struct error *error)
{
    for (int step = params->measure_only ? 5 : 0; step <= 10; step++) {
        if (params->on_progress && !params->measure_only &&
            !params->on_progress((float)step / 10, params->progress_ctx))
            return err_set(error, ERR_CANCELLED, "loading was stopped");
        if (params->measure_only && !m->fail_load) return OK;
        if (step < 10 && m->load_ms && !params->measure_only) sleep_ms((m->load_ms + 9) / 10);
        if (step == 5 && m->fail_load) return err_set(error, ERR_MODEL_FILE, "%s", m->fail_load);
    }
    return OK;
}

enum err fake_model_load(struct engine *e, const struct engine_model_params *params,
                         struct engine_model **out, struct error *error)
{
    if (!str_starts(params->path, "fake:"))
        return err_set(error, ERR_MODEL_FILE, "'%s' is not a fake model", params->path);
    struct fake_model *m = xcalloc(1, sizeof *m);
    struct engine_model_facts *f = &m->head.facts;
    m->head.ops = e->ops;
    m->head.measure_only = params->measure_only;
    m->ctx = 4096;
    m->weights = 1000;
    f->n_embd = 32;
    set_kind(f, "chat");
    m->head.fingerprint = hash64(params->path, strlen(params->path), 1);
    enum err err = read_options(m, params->path + 5, error);
    if (!err) err = pretend_to_load(m, params, error);
    if (err) {
        fake_model_free(&m->head);
        return err;
    }
    f->n_vocab = m->fim ? FAKE_N_VOCAB_FIM : FAKE_N_VOCAB;
    f->adds_bos = true;
    f->bos = FAKE_BOS;
    f->eos = FAKE_END;
    f->fim_prefix = m->fim ? FAKE_FIM_PREFIX : -1;
    f->fim_suffix = m->fim ? FAKE_FIM_SUFFIX : -1;
    f->fim_middle = m->fim ? FAKE_FIM_MIDDLE : -1;
    f->fim_repo = m->fim ? FAKE_FIM_REPO : -1;
    f->fim_file = m->fim ? FAKE_FIM_FILE : -1;
    if (f->has_chat_template) f->chat_template = "<|bos|>{messages}<|assistant|>";
    f->n_ctx_train = m->ctx;
    f->n_layer = 1;
    f->n_embd_out = f->is_rerank ? 1 : f->n_embd;
    f->weight_bytes = f->n_params = (uint64_t)m->weights;
    *out = &m->head;
    return OK;
}

void fake_model_free(struct engine_model *head)
{
    struct fake_model *m = (struct fake_model *)head;
    free(m->fail_load);
    free(m->reply);
    free(m);
}

/* ---- tokens ------------------------------------------------------------------------------- */

/* The special token that text begins with, or -1. */
static int32_t special_at(const char *text, size_t len, size_t *special_len)
{
    for (size_t i = 0; i < N_SPECIALS; i++) {
        size_t n = strlen(specials[i].text);
        if (n <= len && !memcmp(text, specials[i].text, n)) {
            *special_len = n;
            return specials[i].token;
        }
    }
    return -1;
}

enum err fake_tokenize(const struct engine_model *m, const char *text, size_t len, bool add_special,
                       bool parse_special, size_t max_tokens, int32_t **out, size_t *n,
                       struct error *error)
{
    (void)m;
    int32_t *tokens = try_calloc(len + 1, sizeof *tokens);
    if (!tokens) return err_set(error, ERR_NOMEM, "out of memory for %zu bytes of text", len);
    size_t count = 0;
    if (add_special) tokens[count++] = FAKE_BOS;
    for (size_t i = 0; i < len;) {
        size_t used = 1;
        int32_t token = parse_special ? special_at(text + i, len - i, &used) : -1;
        tokens[count++] = token >= 0 ? token : (unsigned char)text[i];
        i += token >= 0 ? used : 1;
    }
    if (count > max_tokens) {
        free(tokens);
        return prompt_too_long(error, count, max_tokens);
    }
    *out = tokens;
    *n = count;
    return OK;
}

enum err fake_tokenize_pair(const struct engine_model *m, const char *query, const char *document,
                            size_t document_len, size_t max_tokens, int32_t **out, size_t *n,
                            struct error *error)
{
    (void)m;
    size_t query_len = strlen(query), count = query_len + 1 + document_len;
    if (count > max_tokens) return prompt_too_long(error, count, max_tokens);
    int32_t *tokens = try_calloc(count, sizeof *tokens);
    if (!tokens) return err_set(error, ERR_NOMEM, "out of memory for %zu bytes of text", count);
    for (size_t i = 0; i < query_len; i++) tokens[i] = (unsigned char)query[i];
    tokens[query_len] = FAKE_END;
    for (size_t i = 0; i < document_len; i++)
        tokens[query_len + 1 + i] = (unsigned char)document[i];
    *out = tokens;
    *n = count;
    return OK;
}

enum err fake_token_text(const struct engine_model *m, int32_t token, bool special, struct buf *out)
{
    (void)m;
    if (token < 256) return buf_putc(out, (char)token);
    for (size_t i = 0; special && i < N_SPECIALS; i++)
        if (specials[i].token == token) return buf_puts(out, specials[i].text);
    if (special && token >= FAKE_FIM_PREFIX && token < FAKE_N_VOCAB_FIM)
        return buf_puts(out, fim_texts[token - FAKE_FIM_PREFIX]);
    return OK;
}
