/* Derived models' files: see derived.h. */
#include "models/derived.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/gotmpl.h"

/* ---- names --------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* One part of a name, up to one of the bytes in `ends`; 0 = it is none. */
static size_t name_part(const char *s, const char *ends)
{
    size_t n = 0;
    while (is_name_char(s[n])) n++;
    return n && s[0] != '.' && s[0] != '-' && (!s[n] || strchr(ends, s[n])) ? n : 0;
}

enum err derived_name(const char *text, char name[MODEL_ID_MAX], struct error *error)
{
    const char *s = text;
    size_t n, slashes = 0;
    while ((n = name_part(s, "/:")) && s[n] == '/' && slashes < 2) {
        s += n + 1;
        slashes++;
    }
    bool good = n && s[n] != '/';
    if (good && s[n] == ':') good = (n = name_part(s + n + 1, "")) > 0;
    if (!good || strlen(text) >= MODEL_ID_MAX - 8)
        return err_set_param(error, ERR_INVALID, "/model",
                             "\"%.100s\" can't be a model's name: it is model:tag or "
                             "namespace/model:tag, of letters, digits, '.', '_' and '-'",
                             text);
    str_copy(name, MODEL_ID_MAX, text);
    if (str_ends(name, ":latest")) name[strlen(name) - strlen(":latest")] = '\0';
    return OK;
}

/* The name with what may not stand in a file's name written as %XX, in lower case: names that
 * differ only by case are the same. */
enum err derived_path(const char *dir, const char *name, char path[4096], struct error *error)
{
    char file[3 * MODEL_ID_MAX + 8];
    size_t n = 0;
    for (const char *s = name; *s; s++) {
        bool upper = *s >= 'A' && *s <= 'Z';
        if (*s == '/' || *s == ':') {
            str_printf(file + n, sizeof file - n, "%%%02X", (unsigned char)*s);
            n += 3;
        } else {
            file[n++] = (char)(upper ? *s - 'A' + 'a' : *s);
        }
    }
    file[n] = '\0';
    if (str_printf(path, FS_PATH_MAX, "%s/" DERIVED_DIR "/%s.json", dir, file)) return OK;
    return err_set(error, ERR_INVALID, "the models folder's path is too long");
}

/* ---- reading ------------------------------------------------------------------------------- */

struct derived *derived_ref(const struct derived *d)
{
    struct derived *own = (struct derived *)d;
    atomic_fetch_add(&own->refs, 1);
    return own;
}

void derived_unref(struct derived *d)
{
    if (!d || atomic_fetch_sub(&d->refs, 1) != 1) return;
    json_decref(d->document);
    arena_free(d->arena);
    free(d->chat_template);
    free(d->path);
    free(d);
}

static enum err read_role(const char *word, enum role *out)
{
    static const char *const words[] = {"system", "user", "assistant"};
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (str_eq(word, words[i])) {
            *out = (enum role)i;
            return OK;
        }
    return ERR_INVALID;
}

static enum err read_messages(struct derived *d, const json_t *list, struct error *error)
{
    size_t n = json_array_size(list);
    if (n > DERIVED_MESSAGES_MAX)
        return err_set_param(error, ERR_INVALID, "/messages", "at most %d messages, got %zu",
                             (int)DERIVED_MESSAGES_MAX, n);
    if (!n) return OK;
    struct message *messages = arena_calloc(d->arena, n, sizeof *messages);
    if (!messages) return err_set(error, ERR_NOMEM, "no memory for the messages");
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(m, "content"));
        if (!text || read_role(json_string_value(json_object_get(m, "role")), &messages[i].role))
            return err_set_param(error, ERR_INVALID, "/messages",
                                 "message %zu has no role (system, user, assistant) or content", i);
        messages[i].content = text;
    }
    d->messages = messages;
    d->n_messages = n;
    return OK;
}

static enum err read_parameters(struct derived *d, struct error *error)
{
    const char *name;
    json_t *value;
    enum err e = json_get_object(d->document, "parameters", "", &d->parameters, error);
    if (e || !d->parameters) return e;
    json_object_foreach ((json_t *)d->parameters, name, value) {
        e = derived_check_parameter(name, value, error);
        if (e) return e;
    }
    return OK;
}

static enum err read_template(struct derived *d, struct error *error)
{
    struct buf jinja;
    if (!d->template_text || !*d->template_text) return OK;
    buf_init(&jinja, GOTMPL_MAX);
    enum err e = template_to_jinja(d->template_text, &jinja, error);
    if (!e) d->chat_template = buf_take(&jinja);
    buf_free(&jinja);
    return e;
}

static enum err read_document(struct derived *d, struct error *error)
{
    const char *name = "", *from = "", *file = "";
    const json_t *messages = NULL, *doc = d->document;
    if (!json_is_object(doc)) return err_set(error, ERR_INVALID, "it is no JSON object");
    enum err e = json_get_string(doc, "name", "", &name, error);
    if (!e) e = derived_name(name, d->name, error);
    if (!e) e = json_get_string(doc, "from", "", &from, error);
    if (!e) e = json_get_string(doc, "file", "", &file, error);
    if (!e && (!*from == !*file || !str_copy(d->from, sizeof d->from, from) ||
               !str_copy(d->file, sizeof d->file, file)))
        e = err_set(error, ERR_INVALID, "it must have either \"from\" or \"file\"");
    if (!e) e = json_get_string(doc, "system", "", &d->system, error);
    if (!e) e = json_get_string(doc, "template", "", &d->template_text, error);
    if (!e) e = json_get_string(doc, "license", "", &d->license, error);
    if (!e) e = json_get_string(doc, "adapter", "", &d->adapter, error);
    if (!e) e = json_get_string(doc, "adapter_file", "", &d->adapter_file, error);
    if (!e) e = read_parameters(d, error);
    if (!e) e = json_get_array(doc, "messages", "", &messages, error);
    if (!e) e = read_messages(d, messages, error);
    return e ? e : read_template(d, error);
}

enum err derived_of_json(json_t *document, struct derived **out, struct error *error)
{
    struct error own;
    struct derived *d = xcalloc(1, sizeof *d);
    atomic_init(&d->refs, 1);
    d->document = document;
    d->arena = arena_new(DERIVED_FILE_MAX);
    enum err e = read_document(d, error ? error : &own);
    if (e)
        derived_unref(d);
    else
        *out = d;
    return e;
}

enum err derived_read(const char *path, struct derived **out, struct error *error)
{
    struct buf text;
    json_t *document = NULL;
    buf_init(&text, DERIVED_FILE_MAX);
    enum err e = fs_read_file(path, DERIVED_FILE_MAX, &text, error);
    if (!e) e = json_parse(buf_str(&text), text.len, &document, error);
    buf_free(&text);
    return e ? e : derived_of_json(document, out, error);
}

/* ---- writing ------------------------------------------------------------------------------- */

enum err derived_write(const char *dir, const char *name, json_t *document, struct error *error)
{
    char path[FS_PATH_MAX], folder[FS_PATH_MAX];
    struct derived *checked;
    struct buf text;
    ht_assert(json_object_set_new(document, "name", json_string(name)) == 0);
    enum err e = derived_of_json(json_deep_copy(document), &checked, error);
    if (e) return e;
    derived_unref(checked);
    e = fs_join(folder, sizeof folder, dir, DERIVED_DIR, error);
    if (!e) e = fs_mkdirs(folder, 0755, error);
    if (!e) e = derived_path(dir, name, path, error);
    if (e) return e;
    buf_init(&text, DERIVED_FILE_MAX);
    e = json_dump(document, &text);
    if (e)
        err_set(error, e, "the model's record is too large");
    else
        e = fs_write_atomic(path, buf_str(&text), text.len, 0644, error);
    buf_free(&text);
    return e;
}

/* ---- parameters ----------------------------------------------------------------------------- */

enum kind { NUMBER, WHOLE, TEXTS, FLAG };

/* Every parameter that a Modelfile may have. Those without an effect are kept, and shown. */
static const struct parameter {
    const char *name;
    enum kind kind;
    double min, max;
    uint32_t said; /* SAID_...: where it goes; 0 = nowhere, or `stop` */
} parameters[] = {
    {"temperature", NUMBER, 0, 100, SAID_TEMPERATURE},
    {"top_k", WHOLE, -1, INT32_MAX, SAID_TOP_K},
    {"top_p", NUMBER, 0, 1, SAID_TOP_P},
    {"min_p", NUMBER, 0, 1, SAID_MIN_P},
    {"repeat_penalty", NUMBER, 0, 100, SAID_REPEAT_PENALTY},
    {"repeat_last_n", WHOLE, -1, INT32_MAX, SAID_REPEAT_LAST_N},
    {"presence_penalty", NUMBER, -2, 2, SAID_PRESENCE_PENALTY},
    {"frequency_penalty", NUMBER, -2, 2, SAID_FREQUENCY_PENALTY},
    {"seed", WHOLE, INT32_MIN, UINT32_MAX, SAID_SEED},
    {"num_predict", WHOLE, -2, INT32_MAX, SAID_MAX_TOKENS},
    {"stop", TEXTS, 0, 0, 0},
    {"num_ctx", WHOLE, 0, INT32_MAX, 0},
    {"num_keep", WHOLE, -1, INT32_MAX, 0},
    {"num_batch", WHOLE, 0, INT32_MAX, 0},
    {"num_gpu", WHOLE, -1, INT32_MAX, 0},
    {"main_gpu", WHOLE, -1, INT32_MAX, 0},
    {"num_thread", WHOLE, 0, INT32_MAX, 0},
    {"typical_p", NUMBER, 0, 1, 0},
    {"tfs_z", NUMBER, 0, 1000, 0},
    {"mirostat", WHOLE, 0, 2, 0},
    {"mirostat_tau", NUMBER, 0, 1000, 0},
    {"mirostat_eta", NUMBER, 0, 1000, 0},
    {"penalize_newline", FLAG, 0, 0, 0},
    {"use_mmap", FLAG, 0, 0, 0},
    {"use_mlock", FLAG, 0, 0, 0},
    {"low_vram", FLAG, 0, 0, 0},
    {"f16_kv", FLAG, 0, 0, 0},
    {"numa", FLAG, 0, 0, 0},
    {"logits_all", FLAG, 0, 0, 0},
    {"vocab_only", FLAG, 0, 0, 0},
};

static const struct parameter *find_parameter(const char *name)
{
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (str_eq(parameters[i].name, name)) return &parameters[i];
    return NULL;
}

static bool are_texts(const json_t *v)
{
    if (json_is_string(v)) return true;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i))) return false;
    return json_is_array(v) && json_array_size(v) <= GEN_STOP_MAX;
}

enum err derived_check_parameter(const char *name, const json_t *value, struct error *error)
{
    const struct parameter *p = find_parameter(name);
    char param[ERROR_PARAM_MAX];
    str_printf(param, sizeof param, "/parameters/%s", name);
    if (!p) return err_set_param(error, ERR_INVALID, param, "unknown parameter '%.80s'", name);
    double v = json_number_value(value);
    bool in_range = json_is_number(value) && v >= p->min && v <= p->max;
    switch (p->kind) {
    case NUMBER:
        if (in_range) return OK;
        break;
    case WHOLE:
        if (in_range && v == (double)(int64_t)v) return OK;
        break;
    case TEXTS:
        if (are_texts(value)) return OK;
        return err_set_param(error, ERR_INVALID, param, "%s must be a text or a list of at most %d",
                             name, GEN_STOP_MAX);
    case FLAG:
        if (json_is_boolean(value)) return OK;
        return err_set_param(error, ERR_INVALID, param, "%s must be true or false", name);
    }
    return err_set_param(error, ERR_INVALID, param, "%s must be %s from %.10g to %.10g", name,
                         p->kind == WHOLE ? "a whole number" : "a number", p->min, p->max);
}

/* ---- application ---------------------------------------------------------------------------- */

static enum err no_room(struct error *error)
{
    return err_set(error, ERR_TOO_LARGE, "the request takes more memory than its size allows");
}

static enum err apply_stop(const json_t *stop, struct gen_request *req, struct error *error)
{
    bool single = json_is_string(stop);
    size_t n = single ? 1 : json_array_size(stop), kept = 0;
    const char **copies = arena_calloc(req->arena, n + 1, sizeof *copies);
    if (!copies) return no_room(error);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(single ? stop : json_array_get(stop, i));
        if (!*text) continue;
        copies[kept] = arena_strdup(req->arena, text);
        if (!copies[kept++]) return no_room(error);
    }
    req->stop = copies;
    req->n_stop = kept;
    return OK;
}

/* What of it is special: below 0, top_k is off and a seed random; a penalty of 0 is none; any
 * num_predict below 1 (-1: for ever, -2: until the context is full) is no limit. */
static void set_number(struct gen_request *req, uint32_t said, double n)
{
    struct sampling *s = &req->sampling;
    switch (said) {
    case SAID_TEMPERATURE: s->temperature = (float)n; break;
    case SAID_TOP_K: s->top_k = n < 0 ? 0 : (int32_t)n; break;
    case SAID_TOP_P: s->top_p = (float)n; break;
    case SAID_MIN_P: s->min_p = (float)n; break;
    case SAID_REPEAT_PENALTY: s->repeat_penalty = n > 0 ? (float)n : 1; break;
    case SAID_REPEAT_LAST_N: s->repeat_last_n = (int32_t)n; break;
    case SAID_PRESENCE_PENALTY: s->presence_penalty = (float)n; break;
    case SAID_FREQUENCY_PENALTY: s->frequency_penalty = (float)n; break;
    case SAID_SEED: s->seed = n == -1 ? SEED_RANDOM : (uint32_t)(int64_t)n; break;
    case SAID_MAX_TOKENS: req->max_tokens = n < 1 ? -1 : (int32_t)n; break;
    default: break;
    }
}

void derived_say(struct gen_request *req, const char *name, double value)
{
    const struct parameter *p = find_parameter(name);
    if (!p || !p->said) return;
    set_number(req, p->said, value);
    req->said |= p->said;
}

static enum err apply_parameters(const struct derived *d, struct gen_request *req,
                                 struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)d->parameters, name, value) {
        const struct parameter *p = find_parameter(name);
        if (p && !(req->said & p->said)) set_number(req, p->said, json_number_value(value));
    }
    value = json_object_get(d->parameters, "stop");
    return value && !(req->said & SAID_STOP) ? apply_stop(value, req, error) : OK;
}

static enum err copy_message(struct message *to, const struct message *from, struct arena *a,
                             struct error *error)
{
    *to = (struct message){.role = from->role, .content = arena_strdup(a, from->content)};
    return to->content ? OK : no_room(error);
}

/* The system prompt, the model's messages, the conversation. */
static enum err apply_messages(const struct derived *d, struct gen_request *req,
                               struct error *error)
{
    bool has_system = req->n_messages && req->messages[0].role == ROLE_SYSTEM;
    bool own = !has_system && d->system && *d->system;
    if (req->kind != GEN_CHAT || (!own && !d->n_messages)) return OK;
    size_t n = 0, first = has_system ? 1 : 0;
    struct message *all =
        arena_calloc(req->arena, req->n_messages + d->n_messages + 1, sizeof *all);
    if (!all) return no_room(error);
    if (has_system) all[n++] = req->messages[0];
    if (own) {
        struct message system = {.role = ROLE_SYSTEM, .content = d->system};
        enum err e = copy_message(&all[n++], &system, req->arena, error);
        if (e) return e;
    }
    for (size_t i = 0; i < d->n_messages; i++) {
        enum err e = copy_message(&all[n++], &d->messages[i], req->arena, error);
        if (e) return e;
    }
    for (size_t i = first; i < req->n_messages; i++) all[n++] = req->messages[i];
    req->messages = all;
    req->n_messages = n;
    return OK;
}

static enum err apply_text(const char *own, const char **to, struct arena *a, struct error *error)
{
    if (!own || !*own || *to) return OK;
    *to = arena_strdup(a, own);
    return *to ? OK : no_room(error);
}

static size_t length(const char *s)
{
    return s ? strlen(s) : 0;
}

/* What the copies take at most. */
static size_t room(const struct derived *d, const struct gen_request *req)
{
    size_t n = 4096 + DERIVED_FILE_MAX / 64 +
               (req->n_messages + d->n_messages + 1) * sizeof(struct message);
    n += length(d->system);
    for (size_t i = 0; i < d->n_messages; i++) n += strlen(d->messages[i].content) + 64;
    return n;
}

enum err derived_apply_anywhere(const struct derived *d, struct gen_request *req,
                                struct error *error)
{
    arena_allow(req->arena, room(d, req));
    enum err e = apply_parameters(d, req, error);
    return e ? e : apply_messages(d, req, error);
}

enum err derived_apply_here(const struct derived *d, struct gen_request *req, struct error *error)
{
    arena_allow(req->arena, length(d->chat_template) + length(d->adapter) + 64);
    enum err e = apply_text(d->chat_template, &req->chat_template, req->arena, error);
    return e ? e : apply_text(d->adapter, &req->adapter, req->arena, error);
}

enum err derived_apply(const struct derived *d, struct gen_request *req, struct error *error)
{
    enum err e = derived_apply_anywhere(d, req, error);
    return e ? e : derived_apply_here(d, req, error);
}
