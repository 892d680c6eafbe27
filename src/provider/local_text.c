/* The verbs about texts and tokens of a model: its tokeniser, its chat template, its facts. They
 * need the model, but no sequence of it: a question that comes while it is not in memory loads it,
 * as a request would, and goes on behind that. What takes time is done on the pool.
 *
 *   ask_begin --pool: ask_first--> loaded: ask_run
 *                                  not loaded: local_load_job --ask_loaded--> pool: ask_again
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/local_text.h"
#include "provider/prompt_json.h"

enum { TEXT_ANSWER_MAX = 256 << 20 };

struct ask {
    struct local *l;
    /* Writes the answer's members behind "model". */
    enum err (*verb)(struct ask_model *m, const json_t *args, struct jw *w, struct error *error);
    json_t *args; /* its own copy */
    control_fn fn;
    void *ctx;
    struct model_info info;
};

static void ask_free(struct ask *a)
{
    struct local *l = a->l;
    json_decref(a->args);
    free(a);
    local_leave(l);
}

static void ask_failed(struct ask *a, const struct error *error)
{
    a->fn(a->ctx, error, NULL, 0);
    ask_free(a);
}

static void ask_run(struct ask *a, struct sched_model *m)
{
    struct error error;
    struct buf b;
    struct jw w;
    struct ask_model model = {.l = a->l,
                              .id = a->info.id,
                              .sched = m,
                              .engine = sched_engine_model(m),
                              .n_ctx = sched_model_ctx(m)};
    const char *as = json_string_value(json_object_get(a->args, "as"));
    buf_init(&b, TEXT_ANSWER_MAX);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "model", as ? as : a->info.id);
    enum err e = a->verb(&model, a->args, &w, &error);
    sched_model_unref(m);
    jw_obj_end(&w);
    if (e)
        buf_free(&b);
    else
        e = control_answer(&b, a->fn, a->ctx, &error);
    if (e)
        ask_failed(a, &error);
    else
        ask_free(a);
}

/* On the pool, after the load: the model may have left again. */
static void ask_again(void *arg)
{
    struct ask *a = arg;
    struct error error;
    struct sched_model *m = sched_find(a->l->sched, a->info.id);
    if (m) {
        ask_run(a, m);
        return;
    }
    err_set(&error, ERR_BUSY, "%s had to make room for another model; try again", a->info.id);
    ask_failed(a, &error);
}

static enum err on_pool(struct ask *a, pool_fn fn, struct error *error)
{
    enum err e = pool_submit(a->l->pool, fn, a);
    if (!e) return OK;
    return err_set(error, e, "%s",
                   e == ERR_STOPPING ? "the hub is shutting down"
                                     : "too many requests are being prepared; try again later");
}

/* On the delivery thread. */
static void ask_loaded(void *ctx, const struct error *load_error)
{
    struct ask *a = ctx;
    struct error error;
    if (load_error)
        ask_failed(a, load_error);
    else if (on_pool(a, ask_again, &error))
        ask_failed(a, &error);
}

static enum err resolve(struct ask *a, struct error *error)
{
    const char *name = "";
    enum err e = json_get_string(a->args, "model", "", &name, error);
    return e ? e : names_resolve_front(a->l, name, &a->info, error);
}

static void ask_first(void *arg)
{
    struct ask *a = arg;
    struct error error;
    enum err e = resolve(a, &error);
    struct sched_model *m = e ? NULL : names_find(a->l, a->info.id, &a->info);
    if (m) {
        ask_run(a, m);
        return;
    }
    if (!e) e = local_load_job(a->l, a->info.id, KEEP_ALIVE_DEFAULT, false, ask_loaded, a, &error);
    if (e) ask_failed(a, &error);
}

static enum err ask_begin(struct local *l,
                          enum err (*verb)(struct ask_model *m, const json_t *args, struct jw *w,
                                           struct error *error),
                          const json_t *args, control_fn fn, void *ctx, struct error *error)
{
    json_t *copy = json_deep_copy(args);
    if (!copy) return err_set(error, ERR_NOMEM, "no memory for the arguments");
    if (!local_enter(l)) {
        json_decref(copy);
        return err_set(error, ERR_STOPPING, "the hub is shutting down");
    }
    struct ask *a = xcalloc(1, sizeof *a);
    *a = (struct ask){.l = l, .verb = verb, .args = copy, .fn = fn, .ctx = ctx};
    enum err e = on_pool(a, ask_first, error);
    if (e) ask_free(a);
    return e;
}

/* ---- tokens -------------------------------------------------------------------------------- */

enum err tokens_add_text(struct tokens *t, const struct ask_model *m, const char *text, size_t len,
                         bool add_special, bool parse_special, struct error *error)
{
    int32_t *items = NULL;
    size_t n = 0;
    enum err e = engine_tokenize(m->engine, text, len, add_special, parse_special, INT32_MAX,
                                 &items, &n, error);
    if (!e) e = tokens_add(t, items, n, error);
    free(items);
    return e;
}

enum err tokens_add(struct tokens *t, const int32_t *items, size_t n, struct error *error)
{
    if (t->n + n > t->cap) {
        size_t cap = 2 * t->cap + n + 64;
        int32_t *grown = try_realloc(t->items, cap, sizeof *grown);
        if (!grown) return err_set(error, ERR_NOMEM, "no memory for %zu tokens", cap);
        t->items = grown;
        t->cap = cap;
    }
    if (n) memcpy(t->items + t->n, items, n * sizeof *items);
    t->n += n;
    return OK;
}

static enum err read_token(const struct ask_model *m, const json_t *v, const char *param,
                           int32_t *out, struct error *error)
{
    struct engine_model_facts facts;
    engine_model_facts(m->engine, &facts);
    json_int_t token = json_is_integer(v) ? json_integer_value(v) : -1;
    if (token < 0 || token >= facts.n_vocab)
        return err_set_param(error, ERR_INVALID, param,
                             "%s: must hold token ids of this model (0 to %d)", param,
                             facts.n_vocab - 1);
    *out = (int32_t)token;
    return OK;
}

/* A text, or a list of texts and tokens; special tokens only in front of all of it. */
static enum err add_content(struct tokens *t, const struct ask_model *m, const json_t *content,
                            bool add_special, bool parse_special, struct error *error)
{
    if (json_is_string(content))
        return tokens_add_text(t, m, json_string_value(content), json_string_length(content),
                               add_special, parse_special, error);
    if (!json_is_array(content))
        return err_set_param(error, ERR_INVALID, "/content",
                             "/content: must be a text, or a list of texts and token ids");
    enum err e = OK;
    for (size_t i = 0; i < json_array_size(content) && !e; i++) {
        const json_t *v = json_array_get(content, i);
        int32_t token;
        if (json_is_string(v)) {
            e = tokens_add_text(t, m, json_string_value(v), json_string_length(v),
                                add_special && i == 0, parse_special, error);
        } else {
            e = read_token(m, v, "/content", &token, error);
            if (!e) e = tokens_add(t, &token, 1, error);
        }
    }
    return e;
}

/* The piece of a token: its text, or its bytes where they are a part of a character. */
static enum err write_piece(const struct ask_model *m, int32_t token, struct buf *piece,
                            struct jw *w)
{
    buf_clear(piece);
    enum err e = engine_token_text(m->engine, token, true, piece);
    jw_obj(w);
    jw_kint(w, "id", token);
    jw_key(w, "piece");
    if (utf8_valid(buf_str(piece), piece->len)) {
        jw_strn(w, buf_str(piece), piece->len);
    } else {
        jw_arr(w);
        for (size_t i = 0; i < piece->len; i++) jw_int(w, (unsigned char)piece->data[i]);
        jw_arr_end(w);
    }
    jw_obj_end(w);
    return e;
}

static enum err write_pieces(const struct ask_model *m, const struct tokens *t, struct jw *w,
                             struct error *error)
{
    struct buf piece;
    enum err e = OK;
    buf_init(&piece, 1 << 20);
    jw_key(w, "tokens");
    jw_arr(w);
    for (size_t i = 0; i < t->n && !e; i++) e = write_piece(m, t->items[i], &piece, w);
    jw_arr_end(w);
    buf_free(&piece);
    return e ? err_set(error, e, "a token's text is too long") : OK;
}

void tokens_write(const struct tokens *t, struct jw *w)
{
    jw_key(w, "tokens");
    jw_arr(w);
    for (size_t i = 0; i < t->n; i++) jw_int(w, t->items[i]);
    jw_arr_end(w);
}

static enum err tokenize(struct ask_model *m, const json_t *args, struct jw *w, struct error *error)
{
    bool add_special = false, parse_special = true, pieces = false;
    struct tokens t = {0};
    enum err e = json_get_bool(args, "add_special", "", &add_special, error);
    if (!e) e = json_get_bool(args, "parse_special", "", &parse_special, error);
    if (!e) e = json_get_bool(args, "with_pieces", "", &pieces, error);
    if (!e)
        e = add_content(&t, m, json_object_get(args, "content"), add_special, parse_special, error);
    if (!e && pieces)
        e = write_pieces(m, &t, w, error);
    else if (!e)
        tokens_write(&t, w);
    free(t.items);
    return e;
}

static enum err detokenize(struct ask_model *m, const json_t *args, struct jw *w,
                           struct error *error)
{
    const json_t *tokens = NULL;
    struct buf text;
    enum err e = json_get_array(args, "tokens", "", &tokens, error);
    if (e) return e;
    buf_init(&text, TEXT_ANSWER_MAX);
    for (size_t i = 0; i < json_array_size(tokens) && !e; i++) {
        int32_t token;
        e = read_token(m, json_array_get(tokens, i), "/tokens", &token, error);
        if (!e && (e = engine_token_text(m->engine, token, true, &text)))
            err_set(error, e, "the text is too long");
    }
    jw_key(w, "content");
    jw_strn(w, buf_str(&text), text.len);
    buf_free(&text);
    return e;
}

/* ---- chats --------------------------------------------------------------------------------- */

static enum err render(struct ask_model *m, const json_t *args, struct jw *w, struct error *error)
{
    struct gen_request *req;
    struct engine_prompt *prompt;
    size_t n;
    enum err e = prompt_json_read(json_object_get(args, "request"), &req, error);
    if (e) return e;
    e = engine_prompt_new(m->engine, req, INT32_MAX, &prompt, error);
    arena_free(req->arena);
    if (e) return e;
    jw_kstr(w, "prompt", engine_prompt_text(prompt));
    (void)engine_prompt_tokens(prompt, &n);
    jw_kint(w, "tokens", (int64_t)n);
    engine_prompt_free(prompt);
    return OK;
}

/* ---- facts --------------------------------------------------------------------------------- */

static void write_token_text(struct jw *w, const char *name, const struct ask_model *m,
                             int32_t token)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    if (token >= 0)
        (void)engine_token_text(m->engine, token, true, &text); /* cut: better than none */
    jw_key(w, name);
    jw_strn(w, buf_str(&text), text.len);
    buf_free(&text);
}

static int32_t slots_of(const struct ask_model *m)
{
    enum { MODELS_MAX = 256 };
    struct sched_model_status *st = xcalloc(MODELS_MAX, sizeof *st);
    size_t n = sched_models(m->l->sched, st, MODELS_MAX);
    int32_t slots = 0;
    for (size_t i = 0; i < n && i < MODELS_MAX; i++)
        if (str_eq(st[i].id, m->id)) slots = st[i].n_slots;
    free(st);
    return slots;
}

static enum err props(struct ask_model *m, const json_t *args, struct jw *w, struct error *error)
{
    struct engine_model_facts f;
    const char *shown = json_string_value(json_object_get(args, "chat_template"));
    (void)error;
    engine_model_facts(m->engine, &f);
    if (!shown) shown = f.chat_template ? f.chat_template : "";
    jw_kint(w, "context", m->n_ctx);
    jw_kint(w, "context_trained", f.n_ctx_train);
    jw_kint(w, "slots", slots_of(m));
    jw_kint(w, "vocabulary", f.n_vocab);
    jw_kstr(w, "chat_template", shown);
    jw_kbool(w, "tools", f.supports_tools);
    jw_kbool(w, "thinking", f.supports_thinking);
    jw_kbool(w, "infill", f.fim_prefix >= 0 && f.fim_suffix >= 0 && f.fim_middle >= 0);
    jw_kbool(w, "adds_bos", f.adds_bos);
    write_token_text(w, "bos_token", m, f.bos);
    write_token_text(w, "eos_token", m, f.eos);
    return OK;
}

/* ---- the verbs ----------------------------------------------------------------------------- */

enum err control_tokenize(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error)
{
    return ask_begin(l, tokenize, args, fn, ctx, error);
}

enum err control_detokenize(struct local *l, const json_t *args, control_fn fn, void *ctx,
                            struct error *error)
{
    return ask_begin(l, detokenize, args, fn, ctx, error);
}

enum err control_template(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error)
{
    return ask_begin(l, render, args, fn, ctx, error);
}

enum err control_infill(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error)
{
    return ask_begin(l, infill_tokens, args, fn, ctx, error);
}

enum err control_props(struct local *l, const json_t *args, control_fn fn, void *ctx,
                       struct error *error)
{
    return ask_begin(l, props, args, fn, ctx, error);
}
