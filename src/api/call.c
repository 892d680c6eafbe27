/* What every surface does with its call: see call.h. */
#include "api/call.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/fields.h"
#include "api/request.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/str.h"

void call_env_init(const struct config *config, struct call_env *env)
{
    *env = (struct call_env){
        .request_id = "",
        .tenant = "",
        .temperature = config_double(config, CONFIG_DEFAULT_TEMPERATURE),
        .top_p = config_double(config, CONFIG_DEFAULT_TOP_P),
        .max_tokens = config_int(config, CONFIG_DEFAULT_MAX_TOKENS),
        .default_priority = config_int(config, CONFIG_DEFAULT_PRIORITY),
        .now_ms = clock_mono_ms(),
    };
}

struct sampling call_sampling(const struct call_env *env)
{
    return (struct sampling){
        .temperature = (float)env->temperature,
        .top_k = DEFAULT_TOP_K,
        .top_p = (float)env->top_p,
        .min_p = (float)DEFAULT_MIN_P,
        .repeat_penalty = 1,
        .repeat_last_n = DEFAULT_REPEAT_LAST_N,
        .seed = SEED_RANDOM,
    };
}

enum err call_env_read(const struct config *config, const struct http_request *req,
                       struct call_env *env, struct error *error)
{
    call_env_init(config, env);
    env->request_id = req->request_id;
    env->priority = req->header(req, "X-Priority");
    if (req->who) env->tenant = req->who->user_id;
    return call_route_read(config, req, &env->routing, error);
}

enum err call_read(const struct config *config, const struct http_request *req,
                   struct call_env *env, json_t **body, struct error *error)
{
    enum err err = request_check_type(req, error);
    if (!err) err = call_env_read(config, req, env, error);
    return err ? err : request_parse_object(req->body, req->body_len, body, error);
}

void call_free(struct call *call)
{
    for (size_t i = 0; i < call->n_requests; i++)
        if (call->requests[i]) arena_free(call->requests[i]->arena);
    free(call->requests);
    json_decref(call->questions);
    *call = (struct call){0};
}

void call_of(struct call *call, struct gen_request *req)
{
    call->requests = xcalloc(1, sizeof(struct gen_request *));
    call->requests[0] = req;
    call->n_requests = 1;
}

enum err request_too_large(struct error *error)
{
    return err_set(error, ERR_TOO_LARGE, "the request takes more memory than its size allows");
}

enum err copy_text(struct arena *a, const char *s, const char **out, struct error *error)
{
    *out = arena_strdup(a, s);
    return *out ? OK : request_too_large(error);
}

enum err copy_json(struct arena *a, const json_t *v, const char **out, struct error *error)
{
    struct buf text;
    buf_init(&text, COPIED_JSON_MAX);
    enum err err = json_dump(v, &text);
    if (err == OK)
        err = copy_text(a, buf_str(&text), out, error);
    else
        err_set(error, err, "a JSON value of the request is too large");
    buf_free(&text);
    return err;
}

void call_say_real(uint32_t *said_all, uint32_t flag, double said, float *to)
{
    if (isnan(said)) return;
    *to = (float)said;
    *said_all |= flag;
}

void call_say_int(uint32_t *said_all, uint32_t flag, int64_t said, int32_t *to)
{
    if (said == FIELD_ABSENT) return;
    *to = (int32_t)said;
    *said_all |= flag;
}

uint32_t call_seed(int64_t seed)
{
    if (seed == FIELD_ABSENT || seed == -1) return SEED_RANDOM;
    uint64_t bits = (uint64_t)seed;
    uint32_t folded = (uint32_t)(bits ^ bits >> 32);
    return folded == SEED_RANDOM ? SEED_RANDOM - 1 : folded;
}

enum err call_priority(int64_t body, const struct call_env *env, int32_t *out, struct error *error)
{
    int64_t v = env->default_priority;
    if (env->priority && !str_to_i64(env->priority, 0, 100, &v))
        return err_set_param(
            error, ERR_INVALID, "X-Priority",
            "header X-Priority must be an integer from 0 (first) to 100, got %.40s", env->priority);
    *out = (int32_t)(body != FIELD_ABSENT ? body : v);
    return OK;
}

static enum err fill_defaults(const struct call_env *env, struct gen_request *req,
                              struct error *error)
{
    req->n = 1;
    req->parallel_tool_calls = true;
    req->adapter_scale = 1;
    req->max_tokens = (int32_t)env->max_tokens;
    req->sampling = call_sampling(env);
    enum err err = copy_text(req->arena, env->request_id, &req->request_id, error);
    if (!err) err = copy_text(req->arena, env->tenant, &req->tenant, error);
    if (!err) err = copy_text(req->arena, "", &req->model, error);
    if (!err) err = call_priority(FIELD_ABSENT, env, &req->priority, error);
    return err ? err : call_route_set(&env->routing, req, error);
}

enum err call_request_new(const struct call_env *env, size_t arena_max, struct gen_request **out,
                          struct error *error)
{
    struct arena *arena = arena_new(arena_max);
    struct gen_request *req = arena_calloc(arena, 1, sizeof *req);
    if (!req) {
        arena_free(arena);
        return request_too_large(error);
    }
    req->arena = arena;
    enum err err = fill_defaults(env, req, error);
    if (err)
        arena_free(arena);
    else
        *out = req;
    return err;
}

enum err call_embed_new(const struct call_env *env, size_t arena_max, struct embed_request **out,
                        struct error *error)
{
    struct arena *arena = arena_new(arena_max);
    struct embed_request *req = arena_calloc(arena, 1, sizeof *req);
    enum err err = req ? OK : request_too_large(error);
    if (!err) {
        req->arena = arena;
        err = copy_text(arena, env->request_id, &req->request_id, error);
    }
    if (!err) err = copy_text(arena, env->tenant, &req->tenant, error);
    if (!err) err = copy_text(arena, "", &req->model, error);
    if (!err) err = call_priority(FIELD_ABSENT, env, &req->priority, error);
    if (!err) err = call_route_set_embed(&env->routing, req, error);
    if (err)
        arena_free(arena);
    else
        *out = req;
    return err;
}

bool call_role(const char *word, enum role *out)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {{"system", ROLE_SYSTEM},
                 {"developer", ROLE_SYSTEM},
                 {"user", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"tool", ROLE_TOOL}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (str_eq(roles[i].word, word)) {
            *out = roles[i].role;
            return true;
        }
    return false;
}

bool call_tool_name_ok(const char *s, size_t max)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n >= 1 && n <= max && s[n] == '\0';
}

enum err call_arguments(struct arena *a, const char *text, const char *ptr, const char **out,
                        struct error *error)
{
    json_t *value;
    struct error why;
    if (!text || text[0] == '\0') return copy_text(a, "{}", out, error);
    if (json_parse(text, strlen(text), &value, &why) != OK)
        return field_error(error, ptr, "arguments", "is not valid JSON: %.200s", why.msg);
    bool object = json_is_object(value);
    const char *kind = json_kind(value);
    json_decref(value);
    if (!object)
        return field_error(error, ptr, "arguments", "must be the JSON text of an object, not of %s",
                           kind);
    return copy_text(a, text, out, error);
}

enum err call_reasoning(const char *effort, const json_t *template_kwargs, struct gen_request *req,
                        struct error *error)
{
    if (!effort)
        return template_kwargs
                   ? copy_json(req->arena, template_kwargs, &req->template_kwargs, error)
                   : OK;
    json_t *kwargs = json_object();
    int failed = !kwargs;
    failed |= json_object_set_new(kwargs, "reasoning_effort", json_string(effort));
    if (strcmp(effort, "none") == 0)
        failed |= json_object_set_new(kwargs, "enable_thinking", json_false());
    if (template_kwargs) failed |= json_object_update(kwargs, (json_t *)template_kwargs);
    enum err err = failed ? err_set(error, ERR_NOMEM, "not enough memory for the request")
                          : copy_json(req->arena, kwargs, &req->template_kwargs, error);
    json_decref(kwargs);
    return err ? err : copy_text(req->arena, effort, &req->reasoning_effort, error);
}

enum err call_metadata(const json_t *metadata, const char *ptr, char **out, struct error *error)
{
    const char *key;
    json_t *value;
    struct buf text;
    if (json_object_size(metadata) > METADATA_MAX)
        return err_set_param(error, ERR_INVALID, ptr, "%s: at most %d pairs, got %zu", ptr,
                             METADATA_MAX, json_object_size(metadata));
    json_object_foreach ((json_t *)metadata, key, value) {
        if (strlen(key) > 4 * METADATA_KEY_MAX)
            return err_set_param(error, ERR_INVALID, ptr, "%s: a key has at most %d letters", ptr,
                                 METADATA_KEY_MAX);
        if (!json_is_string(value) || json_string_length(value) > 4 * METADATA_VALUE_MAX)
            return field_error(error, ptr, key, "must be a string of at most %d letters",
                               METADATA_VALUE_MAX);
    }
    buf_init(&text, 1 << 20);
    if (metadata)
        json_dump(metadata, &text);
    else
        buf_puts(&text, "{}");
    if (text.err) {
        buf_free(&text);
        return err_set_param(error, ERR_TOO_LARGE, ptr, "%s: is too large", ptr);
    }
    *out = buf_take(&text);
    return OK;
}
