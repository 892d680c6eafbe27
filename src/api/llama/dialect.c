/* From llama-server's words to those of /v1/completions, whose reader does the rest: its table
 * knows most members by the same names. Where a prompt mixes texts and tokens, or has a gap, its
 * tokens have to be asked for; until then the request has one token in their place. */
#include <string.h>

#include "api/llama/llama_int.h"
#include "api/openai/openai.h"
#include "api/prompts.h"
#include "base/str.h"

static enum err no_memory(struct error *error)
{
    return err_set(error, ERR_NOMEM, "not enough memory for the request");
}

/* Takes over v; NULL is a failure, too. */
static enum err put(json_t *obj, const char *name, json_t *v, struct error *error)
{
    return json_object_set_new(obj, name, v) ? no_memory(error) : OK;
}

/* ---- prompts ------------------------------------------------------------------------------- */

static bool all_of(const json_t *list, bool (*is)(const json_t *v))
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!is(json_array_get(list, i))) return false;
    return true;
}

static bool is_token(const json_t *v)
{
    return json_is_integer(v);
}

static bool is_text_or_token(const json_t *v)
{
    return json_is_integer(v) || json_is_string(v);
}

static bool is_text(const json_t *v)
{
    return json_is_string(v);
}

/* [12, "text", 34]: one prompt; but ["a", "b"] are two. */
static bool is_mixed(const json_t *v)
{
    return json_is_array(v) && all_of(v, is_text_or_token) && !all_of(v, is_token) &&
           !all_of(v, is_text);
}

/* {"prompt_string": ...} is that text; pictures beside it are not for this. Borrowed. */
static enum err text_of(json_t *v, json_t **out, struct error *error)
{
    *out = v;
    if (!json_is_object(v)) return OK;
    *out = json_object_get(v, "prompt_string");
    if (json_array_size(json_object_get(v, "multimodal_data")))
        return err_set_param(error, ERR_UNSUPPORTED, "/prompt/multimodal_data",
                             "/prompt/multimodal_data: the model takes text only");
    if (json_is_string(*out)) return OK;
    return field_error(error, "/prompt", "prompt_string", "is required (a string)");
}

/* Adds a prompt and, if its tokens have to be asked for, the question. */
static enum err add_prompt(json_t *v, json_t *prompts, json_t *questions, struct error *error)
{
    json_t *one;
    enum err e = text_of(v, &one, error);
    if (e) return e;
    if (!is_mixed(one)) {
        int failed = json_array_append(prompts, one);
        return failed || json_array_append_new(questions, json_null()) ? no_memory(error) : OK;
    }
    json_t *question =
        json_pack("{s:O,s:b,s:b}", "content", one, "add_special", 1, "parse_special", 1);
    int failed = !question || json_array_append_new(questions, question);
    return failed || json_array_append_new(prompts, json_pack("[i]", 0)) ? no_memory(error) : OK;
}

static enum err set_prompts(json_t *body, json_t *prompt, json_t *questions, struct error *error)
{
    json_t *prompts = json_array();
    enum err e = prompts ? OK : no_memory(error);
    bool many = json_is_array(prompt) && !all_of(prompt, is_token) && !is_mixed(prompt);
    for (size_t i = 0; !e && many && i < json_array_size(prompt); i++)
        e = add_prompt(json_array_get(prompt, i), prompts, questions, error);
    if (!e && !many) e = add_prompt(prompt, prompts, questions, error);
    if (!e && json_array_size(prompts) == 1) /* so that an error's pointer is the client's */
        e = put(body, "prompt", json_incref(json_array_get(prompts, 0)), error);
    else if (!e)
        e = put(body, "prompt", json_incref(prompts), error);
    json_decref(prompts);
    return e;
}

/* ---- filling in ---------------------------------------------------------------------------- */

static enum err set_gap(json_t *body, const struct completion_fields *f, json_t *questions,
                        struct error *error)
{
    if (f->prompt && !json_is_string(f->prompt))
        return field_error(error, "", "prompt", "must be a string, got %s", json_kind(f->prompt));
    for (size_t i = 0; i < json_array_size(f->input_extra); i++) {
        struct extra_fields x = {0};
        char ptr[ERROR_PARAM_MAX];
        const json_t *obj = json_array_get(f->input_extra, i);
        str_printf(ptr, sizeof ptr, "/input_extra/%zu", i);
        if (!json_is_object(obj))
            return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                                 json_kind(obj));
        enum err e = fields_read(extra_fields, obj, ptr, &x, error);
        if (e) return e;
    }
    struct prompt_gap gap = {.before = f->input_prefix,
                             .text = f->prompt ? json_string_value(f->prompt) : "",
                             .behind = f->input_suffix,
                             .n_predict = f->n_predict == FIELD_ABSENT ? -1 : f->n_predict,
                             .extra = f->input_extra};
    enum err e = prompts_add_gap(&questions, &gap, error);
    return e ? e : put(body, "prompt", json_pack("[i]", 0), error);
}

/* ---- the other members --------------------------------------------------------------------- */

static enum err add_bias(json_t *map, const json_t *token, const json_t *bias, struct error *error)
{
    char key[24];
    double value = json_is_false(bias) ? -100 : json_number_value(bias);
    if (json_is_string(token))
        return err_set_param(error, ERR_UNSUPPORTED, "/logit_bias",
                             "/logit_bias: texts are not supported; POST /tokenize gives the ids "
                             "of their tokens");
    if (!json_is_integer(token) || !(json_is_false(bias) || json_is_number(bias)))
        return field_error(error, "", "logit_bias",
                           "must hold pairs of a token id and a number or false");
    str_printf(key, sizeof key, "%lld", (long long)json_integer_value(token));
    return put(map, key, json_real(value < -100 ? -100 : value > 100 ? 100 : value), error);
}

/* [[id, number], ...] to {"id": number}; an object stays as it is. */
static enum err set_bias(json_t *body, const json_t *list, struct error *error)
{
    json_t *map = json_object();
    enum err e = map ? OK : no_memory(error);
    for (size_t i = 0; i < json_array_size(list) && !e; i++) {
        const json_t *pair = json_array_get(list, i);
        e = add_bias(map, json_array_get(pair, 0), json_array_get(pair, 1), error);
    }
    if (e)
        json_decref(map);
    else
        e = put(body, "logit_bias", map, error);
    return e;
}

static enum err set_schema(json_t *body, const json_t *schema, struct error *error)
{
    json_t *format = json_pack("{s:s,s:{s:s,s:O}}", "type", "json_schema", "json_schema", "name",
                               "answer", "schema", schema);
    return put(body, "response_format", format, error);
}

static double within(double v, double min, double max)
{
    return v < min ? min : v > max ? max : v;
}

/* What its clients send for "random": -1, also as 32 bits without a sign. */
static bool is_random(int64_t seed)
{
    return seed == -1 || seed == (int64_t)UINT32_MAX;
}

static enum err translate(json_t *body, const struct completion_fields *f, struct error *error)
{
    static const char *const drop[] = {"suffix",    "echo", "best_of", "logprobs",
                                       "n_predict", "n",    "n_probs", "stream_options"};
    enum err e = OK;
    for (size_t i = 0; i < sizeof drop / sizeof *drop; i++) json_object_del(body, drop[i]);
    json_object_del(body, "max_tokens");
    if (f->n_predict != FIELD_ABSENT)
        e = put(body, "max_tokens", json_integer(f->n_predict ? f->n_predict : 1), error);
    if (!e && f->n_cmpl > 1) e = put(body, "n", json_integer(f->n_cmpl), error);
    if (!e && f->n_probs > 0) e = put(body, "logprobs", json_integer(f->n_probs), error);
    if (!e && json_is_number(json_object_get(body, "temperature")))
        e = put(body, "temperature", json_real(within(f->temperature, 0, 100)), error);
    if (!e && json_is_number(json_object_get(body, "top_p")))
        e = put(body, "top_p", json_real(within(f->top_p, 0, 1)), error);
    if (!e && is_random(f->seed)) json_object_del(body, "seed");
    if (!e && f->grammar && !*f->grammar) json_object_del(body, "grammar");
    if (!e && json_is_array(f->logit_bias)) e = set_bias(body, f->logit_bias, error);
    if (!e && f->json_schema) e = set_schema(body, f->json_schema, error);
    return e;
}

static enum err read_wish(const struct completion_fields *f, struct completion_wish *wish,
                          struct error *error)
{
    *wish = (struct completion_wish){.return_tokens = f->return_tokens, .warm = f->n_predict == 0};
    size_t n = json_array_size(f->response_fields);
    if (n > RESPONSE_FIELDS_MAX || !all_of(f->response_fields, is_text))
        return field_error(error, "", "response_fields", "must be at most %d strings",
                           RESPONSE_FIELDS_MAX);
    if (n) wish->response_fields = json_deep_copy(f->response_fields);
    return OK;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static enum err read_body(json_t *body, size_t text_len, bool infill, const struct call_env *env,
                          json_t *questions, struct call *out, struct completion_wish *wish,
                          struct error *error)
{
    struct completion_fields f = {
        .n_predict = FIELD_ABSENT, .n_cmpl = 1, .seed = FIELD_ABSENT, .temperature = 0, .top_p = 1};
    if (!questions) return no_memory(error);
    enum err e =
        fields_read(infill ? infill_fields : api_llama_completion_fields, body, "", &f, error);
    if (!e) e = read_wish(&f, wish, error);
    if (e) return e;
    e = infill ? set_gap(body, &f, questions, error)
               : set_prompts(body, (json_t *)f.prompt, questions, error);
    if (!e) e = translate(body, &f, error);
    if (!e) e = completion_parse(body, text_len, env, out, error);
    for (size_t i = 0; !e && i < out->n_requests; i++) out->requests[i]->want_tokens = true;
    if (e) json_decref(wish->response_fields);
    return e;
}

enum err completion_read(json_t *body, size_t text_len, bool infill, const struct call_env *env,
                         struct call *out, struct completion_wish *wish, struct error *error)
{
    json_t *questions = json_array();
    enum err e = read_body(body, text_len, infill, env, questions, out, wish, error);
    if (e)
        json_decref(questions);
    else
        out->questions = questions;
    return e;
}
