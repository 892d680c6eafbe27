/* Models of the llama engine: loading, facts, tokens. Immutable after load. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/llama_int.h"

/* ---- loading ------------------------------------------------------------------------------ */

struct progress {
    const struct engine_model_params *params;
    bool stopped;
};

static bool on_progress(float fraction, void *ctx)
{
    struct progress *p = ctx;
    if (p->stopped) return false;
    p->stopped =
        p->params->on_progress && !p->params->on_progress(fraction, p->params->progress_ctx);
    return !p->stopped;
}

static struct llama_model *load_file(const struct engine_model_params *params, struct error *error)
{
    struct progress progress = {.params = params};
    struct llama_model_params p = llama_model_default_params();
    p.n_gpu_layers = params->n_gpu_layers;
    p.load_mode = params->use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    if (params->measure_only) {
        p.no_alloc = true;
        p.load_mode = LLAMA_LOAD_MODE_NONE; /* the other ones need the data */
    }
    p.progress_callback = on_progress;
    p.progress_callback_user_data = &progress;
    le_log_forget();
    struct llama_model *m = llama_model_load_from_file(params->path, p);
    if (m) return m;
    if (progress.stopped)
        err_set(error, ERR_CANCELLED, "loading the model was stopped");
    else
        err_set(error, ERR_MODEL_FILE, "the model can't be loaded: %s",
                *le_log_reason() ? le_log_reason() : "the inference library does not say why");
    return NULL;
}

bool le_model_number(const struct llama_model *m, const char *name, int64_t max, int64_t *out)
{
    char arch[64], key[128], value[32];
    if (llama_model_meta_val_str(m, "general.architecture", arch, sizeof arch) < 0) return false;
    str_printf(key, sizeof key, "%s.%s", arch, name);
    return llama_model_meta_val_str(m, key, value, sizeof value) >= 0 &&
           str_to_i64(value, 0, max, out);
}

/* The pooling that the file asks for, NONE if it doesn't. */
static int pooling_of(const struct llama_model *m)
{
    int64_t pooling = LLAMA_POOLING_TYPE_NONE;
    return le_model_number(m, "pooling_type", 100, &pooling) ? (int)pooling
                                                             : LLAMA_POOLING_TYPE_NONE;
}

static void read_facts(struct le_model *m)
{
    struct engine_model_facts *f = &m->head.facts;
    int pooling = pooling_of(m->model);
    f->n_vocab = llama_vocab_n_tokens(m->vocab);
    f->n_ctx_train = llama_model_n_ctx_train(m->model);
    f->n_embd = llama_model_n_embd(m->model);
    f->n_layer = llama_model_n_layer(m->model);
    f->is_rerank = pooling == LLAMA_POOLING_TYPE_RANK;
    f->is_embedding = pooling != LLAMA_POOLING_TYPE_NONE && !f->is_rerank;
    f->n_embd_out =
        f->is_rerank ? (int32_t)llama_model_n_cls_out(m->model) : llama_model_n_embd_out(m->model);
    f->weight_bytes = llama_model_size(m->model);
    f->n_params = llama_model_n_params(m->model);
}

static int32_t token_or_none(llama_token token)
{
    return token == LLAMA_TOKEN_NULL ? -1 : token;
}

static void read_special_tokens(struct le_model *m)
{
    struct engine_model_facts *f = &m->head.facts;
    f->adds_bos = llama_vocab_get_add_bos(m->vocab);
    f->bos = token_or_none(llama_vocab_bos(m->vocab));
    f->eos = token_or_none(llama_vocab_eos(m->vocab));
    f->fim_prefix = token_or_none(llama_vocab_fim_pre(m->vocab));
    f->fim_suffix = token_or_none(llama_vocab_fim_suf(m->vocab));
    f->fim_middle = token_or_none(llama_vocab_fim_mid(m->vocab));
    f->fim_repo = token_or_none(llama_vocab_fim_rep(m->vocab));
    f->fim_file = token_or_none(llama_vocab_fim_sep(m->vocab));
}

/* Tokenisers that turn any text into tokens without dropping some of it. */
static void read_token_sizes(struct le_model *m)
{
    enum llama_vocab_type type = llama_vocab_type(m->vocab);
    if (type != LLAMA_VOCAB_TYPE_BPE && type != LLAMA_VOCAB_TYPE_SPM) return;
    for (int32_t t = 0; t < m->head.facts.n_vocab; t++) {
        size_t len = strlen(llama_vocab_get_text(m->vocab, t));
        if (len > m->token_bytes_max) m->token_bytes_max = len;
    }
}

static void read_templates(struct le_model *m)
{
    struct engine_model_facts *f = &m->head.facts;
    struct error why = {0};
    if (f->is_embedding || f->is_rerank) {
        str_copy(m->no_chat, sizeof m->no_chat, "it is an embedding or rerank model");
    } else if (!llama_model_chat_template(m->model, NULL) &&
               !llama_model_chat_template(m->model, "tool_use")) {
        str_copy(m->no_chat, sizeof m->no_chat, "its file has no chat template");
    } else if (shim_templates_new(m->model, &m->templates, &why)) {
        str_printf(m->no_chat, sizeof m->no_chat, "its chat template can't be used: %.200s",
                   why.msg);
        log_warn(engine, "no chat with this model: %s", m->no_chat);
    } else {
        f->has_chat_template = true;
        f->chat_template = llama_model_chat_template(m->model, NULL);
        shim_templates_caps(m->templates, &f->supports_tools, &f->supports_thinking);
    }
}

enum err le_model_open(struct engine *head, const struct engine_model_params *params,
                       struct engine_model **out, struct error *error)
{
    struct error own;
    if (!error) error = &own;
    enum err err = le_backend_need((struct le_engine *)head, error);
    if (err) return err;
    int64_t start = clock_mono_ms();
    struct llama_model *model = load_file(params, error);
    if (!model) return error->code;
    struct le_model *m = xcalloc(1, sizeof *m);
    m->head.ops = head->ops;
    m->head.measure_only = params->measure_only;
    if (params->use_mmap && !params->measure_only) m->path = xstrdup(params->path);
    m->model = model;
    m->vocab = llama_model_get_vocab(model);
    pthread_mutex_init(&m->adapters_lock, NULL);
    pthread_mutex_init(&m->tree_lock, NULL);
    m->overrides = shim_overrides_new();
    read_facts(m);
    if (!params->measure_only) {
        if (hash_file(params->path, &m->head.fingerprint, NULL)) m->head.fingerprint = 0;
        read_token_sizes(m);
        read_special_tokens(m);
        read_templates(m);
    }
    log_debug(engine, "loaded %s in %lld ms", params->path, (long long)(clock_mono_ms() - start));
    *out = &m->head;
    return OK;
}

void le_model_close(struct engine_model *head)
{
    struct le_model *m = (struct le_model *)head;
    shim_templates_free(m->templates);
    shim_overrides_free(m->overrides);
    llama_model_free(m->model);
    pthread_mutex_destroy(&m->adapters_lock);
    pthread_mutex_destroy(&m->tree_lock);
    token_tree_free(m->tree);
    free(m->path);
    free(m);
}

/* ---- tokens ------------------------------------------------------------------------------- */

enum err le_model_tokenize(const struct engine_model *head, const char *text, size_t len,
                           bool add_special, bool parse_special, size_t max_tokens, int32_t **out,
                           size_t *n, struct error *error)
{
    const struct le_model *m = (const struct le_model *)head;
    if (len > ENGINE_PROMPT_TEXT_MAX)
        return err_set(error, ERR_CONTEXT, "the prompt has %zu bytes; at most %d are possible", len,
                       ENGINE_PROMPT_TEXT_MAX);
    size_t least = m->token_bytes_max ? len / m->token_bytes_max : 0;
    if (least > max_tokens) /* known without the work */
        return err_set(
            error, ERR_CONTEXT,
            "the prompt has %zu bytes, at least %zu tokens, but at most %zu fit into the "
            "model's context; shorten it or raise the context size",
            len, least, max_tokens);
    struct error own;
    if (!error) error = &own;
    int32_t room = (int32_t)len + 8, *tokens, count; /* a token has at least one byte, mostly */
    for (;;) {
        tokens = try_calloc((size_t)room, sizeof *tokens);
        if (!tokens)
            return err_set(error, ERR_NOMEM, "out of memory for a prompt of %zu bytes", len);
        count = shim_tokenize(m->vocab, text, (int32_t)len, tokens, room, add_special,
                              parse_special, error);
        if (count >= 0) break;
        free(tokens);
        if (count == INT32_MIN) return error->code;
        room = -count;
    }
    if ((size_t)count > max_tokens) {
        free(tokens);
        return prompt_too_long(error, (size_t)count, max_tokens);
    }
    int32_t *fit = try_realloc(tokens, (size_t)count + 1, sizeof *fit);
    *out = fit ? fit : tokens;
    *n = (size_t)count;
    return OK;
}

/* ---- rerank: a query and a document ---------------------------------------------------------- */

struct tokens {
    int32_t *items;
    size_t n, cap;
};

static enum err append_token(struct tokens *t, int32_t token, struct error *error)
{
    if (t->n == t->cap) {
        size_t cap = 2 * t->cap + 64;
        int32_t *items = try_realloc(t->items, cap, sizeof *items);
        if (!items) return err_set(error, ERR_NOMEM, "out of memory for %zu tokens", cap);
        t->items = items;
        t->cap = cap;
    }
    t->items[t->n++] = token;
    return OK;
}

static enum err append_text(const struct engine_model *m, struct tokens *t, const char *text,
                            size_t len, bool special, size_t max_tokens, struct error *error)
{
    int32_t *items = NULL;
    size_t n = 0;
    if (len == 0) return OK;
    enum err e = le_model_tokenize(m, text, len, false, special, max_tokens, &items, &n, error);
    for (size_t i = 0; !e && i < n; i++) e = append_token(t, items[i], error);
    free(items);
    return e;
}

/* The template of models that were trained on one: text with {query} and {document} in it. Its own
 * pieces may hold control tokens, what is put in may not. */
static enum err fill_template(const struct engine_model *m, const char *template, const char *query,
                              const char *document, size_t document_len, size_t max_tokens,
                              struct tokens *t, struct error *error)
{
    static const char *const marks[] = {"{query}", "{document}"};
    const char *const texts[] = {query, document};
    const size_t lens[] = {strlen(query), document_len};
    enum err e = OK;
    while (!e && *template) {
        const char *mark = NULL;
        int which = 0;
        for (int i = 0; i < 2; i++) {
            const char *at = strstr(template, marks[i]);
            if (!at || (mark && at > mark)) continue;
            mark = at;
            which = i;
        }
        size_t len = mark ? (size_t)(mark - template) : strlen(template);
        e = append_text(m, t, template, len, true, max_tokens, error);
        template += len;
        if (e || !mark) continue;
        e = append_text(m, t, texts[which], lens[which], false, max_tokens, error);
        template += strlen(marks[which]);
    }
    return e;
}

/* Query and document as llama-server gives them to a cross-encoder: [BOS] query [EOS] [SEP]
 * document [EOS], each if the model's vocabulary asks for it. */
static enum err join_pair(const struct le_model *m, const char *query, const char *document,
                          size_t document_len, size_t max_tokens, struct tokens *t,
                          struct error *error)
{
    const struct llama_vocab *v = m->vocab;
    int32_t eos = llama_vocab_eos(v) != LLAMA_TOKEN_NULL ? llama_vocab_eos(v) : llama_vocab_sep(v);
    bool add_eos = llama_vocab_get_add_eos(v) && eos != LLAMA_TOKEN_NULL;
    enum err e = OK;
    if (llama_vocab_get_add_bos(v)) e = append_token(t, llama_vocab_bos(v), error);
    if (!e) e = append_text(&m->head, t, query, strlen(query), false, max_tokens, error);
    if (!e && add_eos) e = append_token(t, eos, error);
    if (!e && llama_vocab_get_add_sep(v)) e = append_token(t, llama_vocab_sep(v), error);
    if (!e) e = append_text(&m->head, t, document, document_len, false, max_tokens, error);
    if (!e && add_eos) e = append_token(t, eos, error);
    return e;
}

enum err le_model_tokenize_pair(const struct engine_model *head, const char *query,
                                const char *document, size_t document_len, size_t max_tokens,
                                int32_t **out, size_t *n, struct error *error)
{
    const struct le_model *m = (const struct le_model *)head;
    const char *template = llama_model_chat_template(m->model, "rerank");
    struct tokens t = {0};
    enum err e = template ? fill_template(head, template, query, document, document_len, max_tokens,
                                          &t, error)
                          : join_pair(m, query, document, document_len, max_tokens, &t, error);
    if (!e && t.n > max_tokens) e = prompt_too_long(error, t.n, max_tokens);
    if (e) {
        free(t.items);
        return e;
    }
    *out = t.items;
    *n = t.n;
    return OK;
}

enum err le_token_text(const struct engine_model *head, int32_t token, bool special,
                       struct buf *out)
{
    const struct le_model *m = (const struct le_model *)head;
    enum err e = buf_reserve(out, 64);
    if (e) return e;
    int32_t n = llama_token_to_piece(m->vocab, token, out->data + out->len, 64, 0, special);
    if (n < 0) {
        int32_t need = -n;
        if ((e = buf_reserve(out, (size_t)need))) return e;
        n = llama_token_to_piece(m->vocab, token, out->data + out->len, need, 0, special);
    }
    if (n > 0) out->len += (size_t)n;
    out->data[out->len] = '\0';
    return OK;
}

bool le_token_is_end(const struct engine_model *head, int32_t token)
{
    const struct le_model *m = (const struct le_model *)head;
    return token >= 0 && token < head->facts.n_vocab && llama_vocab_is_eog(m->vocab, token);
}

const struct token_tree *le_model_tree(struct le_model *m)
{
    struct error why;
    pthread_mutex_lock(&m->tree_lock);
    if (!m->tree && !m->tree_failed &&
        token_tree_new(m->head.facts.n_vocab, shim_token_text, (void *)(uintptr_t)m->vocab,
                       &m->tree, &why)) {
        m->tree_failed = true;
        log_warn(engine, "answers with a grammar will be slow: %s", why.msg);
    }
    pthread_mutex_unlock(&m->tree_lock);
    return m->tree;
}
