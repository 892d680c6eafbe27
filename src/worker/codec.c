/* Payloads: each struct is described once, by the function that visits its fields (wire.h).
 *
 * The sizes asserted below are there to be noticed: who adds a field to one of these structs has to
 * add it to its visitor, too, and then changes the size here. (On the machines that Hearth is built
 * for they are all alike; where they are not, the assertion is left out.) */
#include "worker/codec.h"

#include <assert.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "worker/wire.h"

/* What only concerns the hub does not travel: images, signatures of other providers' reasoning, who
 * may answer and who does. */
#if UINTPTR_MAX == UINT64_MAX
#define VISITED(type, size)                                                                        \
    static_assert(sizeof(type) == (size), #type " has changed: visit its new fields in codec.c")
#else
#define VISITED(type, size) static_assert(1, "")
#endif

/* ---- errors -------------------------------------------------------------------------------- */

VISITED(struct error, 680);
static void visit_error(struct wire *w, struct error *e)
{
    WIRE_ENUM(w, e->code, ERR_COUNT - 1);
    if (e->code == OK) wire_bad(w); /* an error that is none */
    wire_text(w, e->msg, sizeof e->msg);
    wire_text(w, e->param, sizeof e->param);
    wire_i32(w, &e->retry_after_s);
}

/* A struct behind a pointer that may be NULL; NULL when there is none or no memory for it. */
static void *optional(struct wire *w, bool there, size_t size)
{
    wire_bool(w, &there);
    if (!there || w->err || !w->reading) return NULL;
    void *p = w->arena ? arena_alloc(w->arena, size) : NULL;
    if (!p) w->err = ERR_NOMEM;
    return p;
}

static void visit_error_ptr(struct wire *w, const struct error **e)
{
    struct error *made = optional(w, !w->reading && *e, sizeof *made);
    if (made) visit_error(w, made);
    if (w->reading) {
        *e = made;
    } else if (*e) {
        struct error one = **e;
        if (one.code == OK) one.code = ERR_INTERNAL;
        visit_error(w, &one);
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

VISITED(struct tool_call, 24);
static void visit_tool_call(struct wire *w, struct tool_call *c)
{
    wire_str(w, &c->id);
    wire_str(w, &c->name);
    wire_str(w, &c->arguments);
}

VISITED(struct message, 80);
static void visit_message(struct wire *w, struct message *m)
{
    WIRE_ENUM(w, m->role, ROLE_TOOL);
    wire_str(w, &m->content);
    wire_str(w, &m->reasoning);
    wire_str(w, &m->name);
    wire_str(w, &m->tool_call_id);
    WIRE_LIST(w, struct tool_call, m->tool_calls, m->n_tool_calls, visit_tool_call);
}

VISITED(struct tool, 32);
static void visit_tool(struct wire *w, struct tool *t)
{
    wire_str(w, &t->name);
    wire_str(w, &t->description);
    wire_str(w, &t->parameters);
    wire_bool(w, &t->strict);
}

VISITED(struct logit_bias, 8);
static void visit_bias(struct wire *w, struct logit_bias *b)
{
    wire_i32(w, &b->token);
    wire_f32(w, &b->bias);
}

VISITED(struct sampling, 72);
static void visit_sampling(struct wire *w, struct sampling *s)
{
    wire_f32(w, &s->temperature);
    wire_i32(w, &s->top_k);
    wire_f32(w, &s->top_p);
    wire_f32(w, &s->min_p);
    wire_f32(w, &s->repeat_penalty);
    wire_i32(w, &s->repeat_last_n);
    wire_f32(w, &s->frequency_penalty);
    wire_f32(w, &s->presence_penalty);
    wire_u32(w, &s->seed);
    WIRE_LIST(w, struct logit_bias, s->logit_bias, s->n_logit_bias, visit_bias);
    wire_bool(w, &s->ignore_eos);
    wire_i32(w, &s->top_logprobs);
    wire_bool(w, &s->logprobs);
}

VISITED(struct gen_resume, 24);
static void visit_resume(struct wire *w, struct gen_resume *r)
{
    wire_i32s(w, &r->tokens, &r->n_tokens);
    wire_bool(w, &r->over);
    WIRE_ENUM(w, r->finish, FINISH_CANCELLED);
}

static void visit_stop(struct wire *w, const char **stop)
{
    wire_str(w, stop);
}

static void visit_version(struct wire *w, uint64_t *version)
{
    int64_t v = (int64_t)*version;
    wire_i64(w, &v);
    *version = (uint64_t)v;
}

/* n of them, or none */
static void visit_resumes(struct wire *w, struct gen_request *r)
{
    size_t n = w->reading || !r->resume ? 0 : (size_t)r->n;
    WIRE_LIST(w, struct gen_resume, r->resume, n, visit_resume);
    if (n != 0 && n != (size_t)r->n) wire_bad(w);
}

VISITED(struct gen_request, 376);
static void visit_request(struct wire *w, struct gen_request *r)
{
    WIRE_ENUM(w, r->kind, GEN_RAW);
    wire_str(w, &r->request_id);
    wire_str(w, &r->model);
    wire_str(w, &r->tenant);
    WIRE_LIST(w, struct message, r->messages, r->n_messages, visit_message);
    wire_str(w, &r->prompt);
    wire_i32s(w, &r->prompt_tokens, &r->n_prompt_tokens);
    wire_bool(w, &r->echo);
    WIRE_LIST(w, struct tool, r->tools, r->n_tools, visit_tool);
    WIRE_ENUM(w, r->tool_choice, TOOL_NAMED);
    wire_str(w, &r->tool_choice_name);
    wire_bool(w, &r->parallel_tool_calls);
    WIRE_ENUM(w, r->format, FORMAT_GRAMMAR);
    wire_str(w, &r->schema);
    wire_str(w, &r->grammar);
    WIRE_ENUM(w, r->reasoning_format, REASONING_NONE);
    wire_str(w, &r->template_kwargs);
    wire_str(w, &r->chat_template);
    visit_sampling(w, &r->sampling);
    wire_i32(w, &r->max_tokens);
    wire_i32(w, &r->n);
    WIRE_LIST(w, const char *, r->stop, r->n_stop, visit_stop);
    wire_u32(w, &r->said);
    wire_i32(w, &r->priority);
    wire_i64(w, &r->deadline_ms);
    wire_str(w, &r->adapter);
    wire_f32(w, &r->adapter_scale);
    visit_version(w, &r->adapter_version);
    wire_bool(w, &r->deterministic);
    WIRE_ENUM(w, r->overflow, OVERFLOW_SHIFT);
    wire_i64(w, &r->keep_alive_ms);
    wire_bool(w, &r->want_tokens);
    wire_bool(w, &r->can_pause);
    wire_bool(w, &r->loaded_only);
    visit_resumes(w, r);
}

VISITED(struct embed_input, 32);
static void visit_input(struct wire *w, struct embed_input *in)
{
    bool text = !w->reading && in->text;
    wire_bool(w, &text);
    if (text) wire_bytes(w, &in->text, &in->text_len);
    wire_i32s(w, &in->tokens, &in->n_tokens);
}

VISITED(struct embed_request, 112);
static void visit_embed(struct wire *w, struct embed_request *r)
{
    wire_str(w, &r->request_id);
    wire_str(w, &r->model);
    wire_str(w, &r->tenant);
    WIRE_LIST(w, struct embed_input, r->inputs, r->n_inputs, visit_input);
    wire_i32(w, &r->priority);
    wire_i64(w, &r->deadline_ms);
    wire_i64(w, &r->keep_alive_ms);
    wire_bool(w, &r->truncate);
    wire_str(w, &r->query);
}

static void visit_control(struct wire *w, struct control_call *c)
{
    WIRE_ENUM(w, c->what, CONTROL_COUNT - 1);
    wire_str(w, &c->args);
    if (w->reading && !c->args) wire_bad(w);
}

/* ---- events -------------------------------------------------------------------------------- */

VISITED(struct usage, 16);
static void visit_usage(struct wire *w, struct usage *u)
{
    wire_i32(w, &u->prompt_tokens);
    wire_i32(w, &u->cached_tokens);
    wire_i32(w, &u->completion_tokens);
    wire_i32(w, &u->reasoning_tokens);
}

VISITED(struct timings, 64);
static void visit_timings(struct wire *w, struct timings *t)
{
    wire_i64(w, &t->load_ns);
    wire_i64(w, &t->queue_ns);
    wire_i64(w, &t->prefill_ns);
    wire_i64(w, &t->decode_ns);
    wire_i64(w, &t->first_token_ns);
    wire_i64(w, &t->paused_ns);
    wire_i32(w, &t->pauses);
    wire_i32(w, &t->prefill_tokens);
    wire_i32(w, &t->decode_tokens);
}

VISITED(struct cache_report, 208);
static void visit_cache(struct wire *w, struct cache_report *c)
{
    WIRE_ENUM(w, c->source, CACHE_DISK);
    wire_i32(w, &c->cached_tokens);
    wire_text(w, c->miss, sizeof c->miss);
}

static void visit_cache_ptr(struct wire *w, const struct cache_report **c)
{
    struct cache_report *made = optional(w, !w->reading && *c, sizeof *made);
    if (made) visit_cache(w, made);
    if (w->reading) {
        *c = made;
    } else if (*c) {
        struct cache_report one = **c;
        visit_cache(w, &one);
    }
}

VISITED(struct logprob_alt, 24);
static void visit_alt(struct wire *w, struct logprob_alt *a)
{
    wire_i32(w, &a->token);
    wire_f32(w, &a->logprob);
    wire_bytes(w, &a->text, &a->len);
}

VISITED(struct token_logprob, 40);
static void visit_logprob(struct wire *w, struct token_logprob *t)
{
    visit_alt(w, &t->chosen);
    WIRE_LIST(w, struct logprob_alt, t->top, t->n_top, visit_alt);
}

static void visit_tool_delta(struct wire *w, struct gen_event *e)
{
    wire_i32(w, &e->tool.index);
    wire_str(w, &e->tool.id);
    wire_str(w, &e->tool.name);
    wire_bytes(w, &e->tool.arguments, &e->tool.arguments_len);
}

/* Which fields an event has is said by its type (types/gen.h); the others stay zero. */
VISITED(struct gen_event, 280);
static void visit_event(struct wire *w, struct gen_event *e)
{
    WIRE_ENUM(w, e->type, GEN_EV_PAUSED);
    wire_i32(w, &e->choice);
    switch (e->type) {
    case GEN_EV_ROUTED: wire_bad(w); break; /* the hub routes, not its worker */
    case GEN_EV_LOADING:
        wire_f32(w, &e->fraction);
        wire_str(w, &e->waits_for);
        break;
    case GEN_EV_PAUSED: visit_timings(w, &e->timings); break;
    case GEN_EV_QUEUED:
        wire_i32(w, &e->position);
        wire_i64(w, &e->wait_ms);
        break;
    case GEN_EV_STARTED:
        visit_usage(w, &e->usage);
        visit_timings(w, &e->timings);
        visit_cache_ptr(w, &e->cache);
        wire_str(w, &e->adapter);
        wire_f32(w, &e->adapter_scale);
        visit_version(w, &e->adapter_version);
        wire_str(w, &e->model);
        break;
    case GEN_EV_TOKENS: wire_i32s(w, &e->tokens, &e->n_tokens); break;
    case GEN_EV_TEXT:
        wire_bytes(w, &e->text, &e->text_len);
        WIRE_LIST(w, struct token_logprob, e->logprobs, e->n_logprobs, visit_logprob);
        break;
    case GEN_EV_REASONING: wire_bytes(w, &e->text, &e->text_len); break;
    case GEN_EV_TOOL_CALL: visit_tool_delta(w, e); break;
    case GEN_EV_CHOICE_END:
        WIRE_ENUM(w, e->finish, FINISH_CANCELLED);
        wire_str(w, &e->stop);
        break;
    case GEN_EV_DONE:
    case GEN_EV_ERROR:
        visit_usage(w, &e->usage);
        visit_timings(w, &e->timings);
        visit_cache_ptr(w, &e->cache);
        wire_str(w, &e->adapter);
        wire_str(w, &e->model);
        visit_error_ptr(w, &e->error);
        if ((e->type == GEN_EV_ERROR) != (e->error != NULL)) wire_bad(w);
        break;
    }
}

VISITED(struct embed_result, 56);
static void visit_result(struct wire *w, struct embed_result *r)
{
    size_t n = w->reading ? 0 : r->n_inputs * r->n_dims;
    int64_t rows = (int64_t)r->n_inputs;
    visit_error_ptr(w, &r->error);
    wire_str(w, &r->model);
    wire_i64(w, &rows);
    wire_f32s(w, &r->vectors, &n);
    wire_i32(w, &r->prompt_tokens);
    if (!w->reading || w->err) return;
    bool fits = rows > 0 ? n > 0 && n % (uint64_t)rows == 0 : rows == 0 && n == 0;
    if (!fits || (rows == 0) != (r->error != NULL)) wire_bad(w);
    r->n_inputs = fits ? (size_t)rows : 0;
    r->n_dims = fits && rows ? n / (size_t)rows : 0;
}

static void visit_answer(struct wire *w, struct control_answer *a)
{
    visit_error_ptr(w, &a->error);
    if (a->error) return;
    wire_bytes(w, &a->answer, &a->len);
}

static void visit_left(struct wire *w, struct left_model *m)
{
    wire_str(w, &m->id);
    if (w->reading && !m->id) wire_bad(w);
}

/* ---- greetings ----------------------------------------------------------------------------- */

static void visit_setting(struct wire *w, struct setting *s)
{
    wire_str(w, &s->name);
    wire_str(w, &s->value);
    if (w->reading && (!s->name || !s->value)) wire_bad(w);
}

/* What every version begins with. False: another version, whose rest can't be read. */
static bool same_build(struct wire *w, const char **build)
{
    uint32_t magic = 0x48525448, mine = magic;
    wire_u32(w, &magic);
    if (magic != mine) wire_bad(w);
    wire_str(w, build);
    return !w->err && str_eq(*build, codec_build());
}

static void visit_greeting(struct wire *w, struct greeting *g)
{
    wire_choice(w, &g->log_level, 8);
    wire_bool(w, &g->log_json);
    wire_bool(w, &g->preload);
    WIRE_LIST(w, struct setting, g->settings, g->n_settings, visit_setting);
    WIRE_LIST(w, const char *, g->quarantined, g->n_quarantined, visit_stop);
    WIRE_LIST(w, const char *, g->let_go, g->n_let_go, visit_stop);
}

static void visit_greeting_answer(struct wire *w, struct greeting_answer *g)
{
    wire_str(w, &g->rights);
    visit_error_ptr(w, &g->error);
}

static enum err other_build(const struct wire *w, const char *build, struct error *error)
{
    if (w->err || !build) return err_set(error, ERR_INVALID, "a malformed greeting");
    return err_set(
        error, ERR_CONFLICT,
        "the model worker is of another build (%s) than the hub (%s): start the hub again", build,
        codec_build());
}

/* ---- the functions ------------------------------------------------------------------------- */

#define WRITER(name, type, visit)                                                                  \
    void codec_write_##name(struct buf *out, const type *v)                                        \
    {                                                                                              \
        struct wire w;                                                                             \
        type copy = *v;                                                                            \
        wire_write_to(&w, out);                                                                    \
        visit(&w, &copy);                                                                          \
        if (w.err && !out->err) out->err = w.err;                                                  \
    }

WRITER(request, struct gen_request, visit_request)
WRITER(embed, struct embed_request, visit_embed)
WRITER(control, struct control_call, visit_control)
WRITER(event, struct gen_event, visit_event)
WRITER(result, struct embed_result, visit_result)
WRITER(answer, struct control_answer, visit_answer)
WRITER(left, struct left_model, visit_left)

void codec_write_greeting(struct buf *out, const struct greeting *v)
{
    struct wire w;
    struct greeting copy = *v;
    wire_write_to(&w, out);
    if (same_build(&w, &copy.build) || !w.err) visit_greeting(&w, &copy);
    if (w.err && !out->err) out->err = w.err;
}

void codec_write_greeting_answer(struct buf *out, const struct greeting_answer *v)
{
    struct wire w;
    struct greeting_answer copy = *v;
    wire_write_to(&w, out);
    if (same_build(&w, &copy.build) || !w.err) visit_greeting_answer(&w, &copy);
    if (w.err && !out->err) out->err = w.err;
}

enum err codec_read_greeting(const void *bytes, size_t len, struct arena *arena, struct greeting *v,
                             struct error *error)
{
    struct wire w;
    *v = (struct greeting){0};
    wire_read_from(&w, bytes, len, arena);
    if (!same_build(&w, &v->build)) return other_build(&w, v->build, error);
    visit_greeting(&w, v);
    return wire_end(&w, "a greeting", error);
}

enum err codec_read_greeting_answer(const void *bytes, size_t len, struct arena *arena,
                                    struct greeting_answer *v, struct error *error)
{
    struct wire w;
    *v = (struct greeting_answer){0};
    wire_read_from(&w, bytes, len, arena);
    if (!same_build(&w, &v->build)) return other_build(&w, v->build, error);
    visit_greeting_answer(&w, v);
    return wire_end(&w, "a greeting", error);
}

#define READER(name, type, visit, what)                                                            \
    enum err codec_read_##name(const void *bytes, size_t len, struct arena *arena, type *v,        \
                               struct error *error)                                                \
    {                                                                                              \
        struct wire w;                                                                             \
        *v = (type){0};                                                                            \
        wire_read_from(&w, bytes, len, arena);                                                     \
        visit(&w, v);                                                                              \
        return wire_end(&w, what, error);                                                          \
    }

READER(event, struct gen_event, visit_event, "an event")
READER(result, struct embed_result, visit_result, "an embedding")
READER(answer, struct control_answer, visit_answer, "an answer")
READER(left, struct left_model, visit_left, "the name of a model")

enum err codec_read_control(const void *bytes, size_t len, struct control_call *v,
                            struct error *error)
{
    struct wire w;
    *v = (struct control_call){0};
    wire_read_from(&w, bytes, len, NULL);
    visit_control(&w, v);
    return wire_end(&w, "a question", error);
}

/* An arena with a copy of the bytes in it, and room for the arrays: the largest grow from the
 * 8 bytes of a bias or the 13 of a message. */
static enum err own_copy(const void *bytes, size_t len, struct arena **arena, void **copy,
                         struct error *error)
{
    *arena = arena_new(len + 8 * len + (64 << 10));
    *copy = arena_alloc(*arena, len + 1);
    if (!*copy) {
        arena_free(*arena);
        return err_set(error, ERR_NOMEM, "no memory for a request of %zu bytes", len);
    }
    if (len) memcpy(*copy, bytes, len);
    return OK;
}

/* What provider.h asks of a request. */
static bool is_sound(const struct gen_request *r)
{
    if (r->n < 1 || r->n > GEN_N_MAX || !r->model || !r->tenant || !r->request_id) return false;
    if (r->kind == GEN_CHAT && !r->n_messages) return false;
    if (r->n_stop > GEN_STOP_MAX || r->sampling.top_logprobs < 0) return false;
    if (r->sampling.top_logprobs > GEN_TOP_LOGPROBS_MAX) return false;
    for (size_t i = 0; i < r->n_stop; i++)
        if (!r->stop[i]) return false;
    return true;
}

enum err codec_read_request(const void *bytes, size_t len, struct gen_request **out,
                            struct error *error)
{
    struct arena *arena;
    struct wire w;
    void *copy;
    enum err e = own_copy(bytes, len, &arena, &copy, error);
    if (e) return e;
    struct gen_request *r = arena_alloc(arena, sizeof *r);
    ht_assert(r);
    r->arena = arena;
    wire_read_from(&w, copy, len, arena);
    visit_request(&w, r);
    if (!w.err && !is_sound(r)) wire_bad(&w);
    e = wire_end(&w, "a request", error);
    if (e)
        arena_free(arena);
    else
        *out = r;
    return e;
}

enum err codec_read_embed(const void *bytes, size_t len, struct embed_request **out,
                          struct error *error)
{
    struct arena *arena;
    struct wire w;
    void *copy;
    enum err e = own_copy(bytes, len, &arena, &copy, error);
    if (e) return e;
    struct embed_request *r = arena_alloc(arena, sizeof *r);
    ht_assert(r);
    r->arena = arena;
    wire_read_from(&w, copy, len, arena);
    visit_embed(&w, r);
    if (!w.err && (!r->model || !r->tenant || !r->request_id)) wire_bad(&w);
    e = wire_end(&w, "a request", error);
    if (e)
        arena_free(arena);
    else
        *out = r;
    return e;
}

/* ---- the build ----------------------------------------------------------------------------- */

enum { BUILD_MAX = 128 };

/* The note that the linker leaves in a program: a hash of what is in it. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        const char *p = (const char *)info->dlpi_addr + ph->p_vaddr, *end = p + ph->p_memsz;
        while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            memcpy(&note, p, sizeof note);
            const char *name = p + sizeof note;
            const char *id = name + ((note.n_namesz + 3u) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(name, "GNU", 4)) {
                char *to = out;
                for (size_t k = 0; k < note.n_descsz && k < 20; k++, to += 2)
                    snprintf(to, 3, "%02x", (unsigned char)id[k]);
                return 1;
            }
            p = id + ((note.n_descsz + 3u) & ~3u);
        }
    }
    return 1; /* the first object is the program itself */
}

static char build[BUILD_MAX];

static void find_build(void)
{
    char id[64] = "";
    dl_iterate_phdr(find_build_id, id);
    str_printf(build, sizeof build, "hearth %s, protocol %d%s%s", HEARTH_VERSION, WORKER_PROTOCOL,
               *id ? ", build " : "", id);
}

const char *codec_build(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_build);
    return build;
}
