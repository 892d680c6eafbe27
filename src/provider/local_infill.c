/* Texts with a gap, put together as models for code were trained on them; the format and what is
 * left out are those of llama-server's /infill (format_prompt_infill in server-common.cpp):
 *
 *   [repo]myproject\n  [file]<filename>\n<text> ...  [file]filename\n
 *   [bos] [prefix]<what is before><prompt> [suffix]<what is behind> [middle]
 *
 * Models without a token for files get "--- snippet ---" between the extra texts. Where not all
 * fits into the context, the end of what is before, the beginning of what is behind and the newest
 * of the extra texts stay. */
#include <stdlib.h>
#include <string.h>

#include "provider/local_text.h"

struct infill {
    const char *prefix, *suffix, *prompt;
    const json_t *extra;
    int64_t n_predict;
    struct engine_model_facts facts;
    struct tokens before, behind, more, all;
};

static enum err read_args(const json_t *args, struct infill *f, struct error *error)
{
    f->prefix = f->suffix = f->prompt = "";
    enum err e = json_get_string(args, "input_prefix", "", &f->prefix, error);
    if (!e) e = json_get_string(args, "input_suffix", "", &f->suffix, error);
    if (!e) e = json_get_string(args, "prompt", "", &f->prompt, error);
    if (!e) e = json_get_array(args, "input_extra", "", &f->extra, error);
    if (!e) e = json_get_int(args, "n_predict", "", -1, INT32_MAX, &f->n_predict, error);
    return e;
}

static enum err check_model(const struct ask_model *m, struct infill *f, struct error *error)
{
    engine_model_facts(m->engine, &f->facts);
    const char *missing = f->facts.fim_prefix < 0   ? "prefix"
                          : f->facts.fim_suffix < 0 ? "suffix"
                          : f->facts.fim_middle < 0 ? "middle"
                                                    : NULL;
    if (!missing) return OK;
    return err_set_param(error, ERR_UNSUPPORTED, "/model",
                         "%s can't fill in: its vocabulary has no %s token; use a model for code, "
                         "such as Qwen2.5-Coder",
                         m->id, missing);
}

static enum err add_string(struct tokens *t, const struct ask_model *m, const char *s,
                           struct error *error)
{
    return tokens_add_text(t, m, s, strlen(s), false, false, error);
}

static enum err add_extra(const struct ask_model *m, struct infill *f, const json_t *chunk,
                          struct error *error)
{
    const char *text = "", *filename = "tmp";
    enum err e = json_get_string(chunk, "text", "", &text, error);
    if (!e) e = json_get_string(chunk, "filename", "", &filename, error);
    if (!e && f->facts.fim_file >= 0) {
        e = tokens_add(&f->more, &f->facts.fim_file, 1, error);
        if (!e) e = add_string(&f->more, m, filename, error);
        if (!e) e = add_string(&f->more, m, "\n", error);
    } else if (!e) {
        e = add_string(&f->more, m, "\n\n--- snippet ---\n\n", error);
    }
    return e ? e : add_string(&f->more, m, text, error);
}

static enum err add_extras(const struct ask_model *m, struct infill *f, struct error *error)
{
    enum err e = OK;
    if (f->facts.fim_repo >= 0) {
        e = tokens_add(&f->more, &f->facts.fim_repo, 1, error);
        if (!e) e = add_string(&f->more, m, "myproject\n", error);
    }
    for (size_t i = 0; i < json_array_size(f->extra) && !e; i++)
        e = add_extra(m, f, json_array_get(f->extra, i), error);
    if (!e && f->facts.fim_file >= 0) {
        e = tokens_add(&f->more, &f->facts.fim_file, 1, error);
        if (!e) e = add_string(&f->more, m, "filename\n", error);
    }
    return e;
}

/* n tokens of `part`, from the one at `from` on. */
static enum err add_part(struct tokens *all, const struct tokens *part, size_t from, size_t n,
                         struct error *error)
{
    return n ? tokens_add(all, part->items + from, n, error) : OK;
}

static size_t at_most(size_t n, int64_t limit)
{
    return limit <= 0 ? 0 : n < (size_t)limit ? n : (size_t)limit;
}

/* Three quarters of the room for what is before the gap, at most; the extra texts get what the
 * text itself leaves. */
static enum err join(const struct ask_model *m, struct infill *f, struct error *error)
{
    enum { MARKS = 5 };
    int64_t answer = f->n_predict < 0 ? m->n_ctx / 4 : f->n_predict;
    int64_t room = m->n_ctx - MARKS - (answer < m->n_ctx / 2 ? answer : m->n_ctx / 2);
    size_t behind = at_most(f->behind.n, room / 4);
    size_t before = at_most(f->before.n, room - (int64_t)behind);
    behind = at_most(f->behind.n, room - (int64_t)before);
    size_t more = at_most(f->more.n, room - (int64_t)before - (int64_t)behind);
    struct tokens *all = &f->all;
    enum err e = add_part(all, &f->more, f->more.n - more, more, error);
    if (!e && f->facts.adds_bos) e = tokens_add(all, &f->facts.bos, 1, error);
    if (!e) e = tokens_add(all, &f->facts.fim_prefix, 1, error);
    if (!e) e = add_part(all, &f->before, f->before.n - before, before, error);
    if (!e) e = tokens_add(all, &f->facts.fim_suffix, 1, error);
    if (!e) e = add_part(all, &f->behind, 0, behind, error);
    if (!e) e = tokens_add(all, &f->facts.fim_middle, 1, error);
    return e;
}

enum err infill_tokens(struct ask_model *m, const json_t *args, struct jw *w, struct error *error)
{
    struct infill f = {.n_predict = -1};
    enum err e = read_args(args, &f, error);
    if (!e) e = check_model(m, &f, error);
    if (!e) e = add_string(&f.before, m, f.prefix, error);
    if (!e) e = add_string(&f.before, m, f.prompt, error);
    if (!e) e = add_string(&f.behind, m, f.suffix, error);
    if (!e) e = add_extras(m, &f, error);
    if (!e) e = join(m, &f, error);
    if (!e) tokens_write(&f.all, w);
    free(f.before.items);
    free(f.behind.items);
    free(f.more.items);
    free(f.all.items);
    return e;
}
