/* Modelfiles, as in Ollama's docs/modelfile.md: lines of an instruction and its value. A value is
 * the rest of the line, a text in quotes, or one in three of them, over any number of lines. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"

struct reader {
    const char *at, *end;
    int line;
    json_t *doc;
    struct error *error;
};

static enum err fail(struct reader *r, enum err code, const char *what)
{
    return err_set(r->error, code, "the Modelfile's line %d: %s", r->line, what);
}

/* ---- reading ------------------------------------------------------------------------------- */

static char peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : '\n';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static bool starts(const struct reader *r, const char *s)
{
    size_t len = strlen(s);
    return (size_t)(r->end - r->at) >= len && memcmp(r->at, s, len) == 0;
}

/* Up to the mark, which is passed. */
static enum err take_quoted(struct reader *r, const char *mark, struct buf *out)
{
    size_t len = strlen(mark);
    r->at += len;
    while (r->at < r->end && !starts(r, mark)) {
        if (*r->at == '\n') {
            if (len == 1) return fail(r, ERR_INVALID, "a text in quotes ends on its line");
            r->line++;
        }
        buf_putc(out, *r->at++);
    }
    if (r->at >= r->end) return fail(r, ERR_INVALID, "a text in quotes has no end");
    r->at += len;
    skip_blanks(r);
    return OK;
}

/* The value that follows: to the end of the line, or quoted. */
static enum err take_value(struct reader *r, struct buf *out)
{
    skip_blanks(r);
    if (starts(r, "\"\"\"")) return take_quoted(r, "\"\"\"", out);
    if (peek(r) == '"') return take_quoted(r, "\"", out);
    while (r->at < r->end && *r->at != '\n') buf_putc(out, *r->at++);
    while (out->len && strchr(" \t\r", out->data[out->len - 1])) out->data[--out->len] = '\0';
    return OK;
}

static size_t take_word(struct reader *r, char *dst, size_t size)
{
    size_t n = 0;
    skip_blanks(r);
    while (r->at < r->end && !strchr(" \t\r\n", *r->at)) {
        if (n + 1 < size) dst[n++] = *r->at;
        r->at++;
    }
    dst[n] = '\0';
    return n;
}

/* ---- parameters ---------------------------------------------------------------------------- */

/* A number, true or false, or text, as it looks; *value the caller's. */
static json_t *value_of(const char *name, const char *text)
{
    double number;
    int64_t whole;
    if (str_eq(name, "stop")) return json_string(text);
    if (str_to_i64(text, INT64_MIN, INT64_MAX, &whole)) return json_integer(whole);
    if (str_to_double(text, -1e18, 1e18, &number)) return json_real(number);
    if (str_ieq(text, "true")) return json_true();
    if (str_ieq(text, "false")) return json_false();
    return json_string(text);
}

static enum err add_parameter(struct reader *r, const char *name, const char *text)
{
    struct error why;
    json_t *all = json_object_get(r->doc, "parameters"), *value = value_of(name, text);
    enum err e = value ? derived_check_parameter(name, value, &why)
                       : err_set(&why, ERR_INVALID, "its value is no UTF-8 text");
    if (e) {
        json_decref(value);
        return fail(r, e, why.msg);
    }
    if (!str_eq(name, "stop")) return json_object_set_new(all, name, value) ? ERR_NOMEM : OK;
    json_t *stops = json_object_get(all, "stop");
    if (!stops) {
        stops = json_array();
        if (json_object_set_new(all, "stop", stops)) return ERR_NOMEM;
    }
    if (json_array_size(stops) < GEN_STOP_MAX)
        return json_array_append_new(stops, value) ? ERR_NOMEM : OK;
    json_decref(value);
    return fail(r, ERR_INVALID, "there are more stop texts than one may have");
}

/* ---- instructions --------------------------------------------------------------------------- */

static enum err set_text(struct reader *r, const char *name, const struct buf *value)
{
    json_t *text = json_stringn(buf_str(value), value->len);
    if (!text) return fail(r, ERR_INVALID, "its value is no UTF-8 text");
    return json_object_set_new(r->doc, name, text) ? ERR_NOMEM : OK;
}

static enum err add_license(struct reader *r, const struct buf *value)
{
    json_t *list = json_object_get(r->doc, "license");
    json_t *text = json_stringn(buf_str(value), value->len);
    if (!list) {
        list = json_array();
        (void)!json_object_set_new(r->doc, "license", list);
    }
    return text && json_array_append_new(list, text) == 0
               ? OK
               : fail(r, ERR_INVALID, "its value is no UTF-8 text");
}

static enum err add_message(struct reader *r, const char *role, const struct buf *value)
{
    json_t *list = json_object_get(r->doc, "messages");
    if (strcasecmp(role, "system") != 0 && strcasecmp(role, "user") != 0 &&
        strcasecmp(role, "assistant") != 0)
        return fail(r, ERR_INVALID,
                    "message role must be one of \"system\", \"user\", or \"assistant\"");
    if (!list) {
        list = json_array();
        (void)!json_object_set_new(r->doc, "messages", list);
    }
    char word[16];
    str_copy(word, sizeof word, role);
    for (char *s = word; *s; s++)
        if (*s >= 'A' && *s <= 'Z') *s = (char)(*s - 'A' + 'a');
    json_t *m = json_object();
    json_t *text = json_stringn(buf_str(value), value->len);
    if (!text || json_object_set_new(m, "role", json_string(word)) ||
        json_object_set_new(m, "content", text) || json_array_append_new(list, m))
        return fail(r, ERR_INVALID, "its value is no UTF-8 text");
    return OK;
}

static enum err take_instruction(struct reader *r, struct buf *value)
{
    static const char *const texts[] = {"from", "adapter", "template", "system"};
    char word[32], name[64];
    take_word(r, word, sizeof word);
    bool parameter = str_ieq(word, "parameter"), message = str_ieq(word, "message");
    bool license = str_ieq(word, "license"), ignored = str_ieq(word, "requires");
    const char *text = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (str_ieq(word, texts[i])) text = texts[i];
    if (!parameter && !message && !license && !ignored && !text)
        return fail(r, ERR_INVALID,
                    "command must be one of \"from\", \"license\", \"template\", \"system\", "
                    "\"adapter\", \"parameter\", or \"message\"");
    if ((parameter || message) && !take_word(r, name, sizeof name))
        return fail(r, ERR_INVALID, "something is missing behind the instruction");
    enum err e = take_value(r, value);
    if (!e && value->err) e = fail(r, ERR_TOO_LARGE, "its value is too long");
    if (!e && !value->len && !str_eq(text, "system") && !str_eq(text, "template"))
        e = fail(r, ERR_INVALID, "something is missing behind the instruction");
    if (e || ignored) return e;
    if (parameter) return add_parameter(r, name, buf_str(value));
    if (message) return add_message(r, name, value);
    return license ? add_license(r, value) : set_text(r, text, value);
}

static enum err read_all(struct reader *r)
{
    enum err e = OK;
    struct buf value;
    buf_init(&value, MODELFILE_MAX);
    while (!e && r->at < r->end) {
        skip_blanks(r);
        if (peek(r) == '#')
            while (r->at < r->end && *r->at != '\n') r->at++;
        if (peek(r) != '\n') {
            buf_clear(&value);
            e = take_instruction(r, &value);
            skip_blanks(r);
            if (!e && peek(r) != '\n')
                e = fail(r, ERR_INVALID, "there is more on the line than was expected");
        }
        if (r->at < r->end) r->at++;
        r->line++;
    }
    buf_free(&value);
    if (!e && !json_object_get(r->doc, "from"))
        e = err_set(r->error, ERR_INVALID, "the Modelfile has no FROM line");
    return e;
}

enum err modelfile_parse(const char *text, size_t len, json_t **out, struct error *error)
{
    struct error own;
    if (!error) error = &own;
    if (len > MODELFILE_MAX)
        return err_set(error, ERR_TOO_LARGE, "a Modelfile has at most %d MiB", MODELFILE_MAX >> 20);
    if (!utf8_valid(text, len) || memchr(text, '\0', len))
        return err_set(error, ERR_INVALID, "a Modelfile is UTF-8 text");
    struct reader r = {.at = text, .end = text + len, .line = 1, .error = error};
    r.doc = json_object();
    (void)!json_object_set_new(r.doc, "parameters", json_object());
    enum err e = read_all(&r);
    if (e == ERR_NOMEM) err_set(error, e, "no memory for the Modelfile");
    if (e)
        json_decref(r.doc);
    else
        *out = r.doc;
    return e;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void put_value(const json_t *v, struct buf *out)
{
    const char *text = json_string_value(v);
    if (text)
        buf_printf(out, "\"%s\"", text);
    else
        json_dump(v, out);
}

void modelfile_write_parameters(const json_t *parameters, const char *front, struct buf *out)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)parameters, name, value) {
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < n; i++) {
            buf_printf(out, "%s%s ", front, name);
            put_value(json_is_array(value) ? json_array_get(value, i) : value, out);
            buf_putc(out, '\n');
        }
    }
}

static void put_text(const char *word, const json_t *document, const char *member, struct buf *out)
{
    const char *text = json_string_value(json_object_get(document, member));
    if (text && *text) buf_printf(out, "%s \"\"\"%s\"\"\"\n", word, text);
}

void modelfile_write(const char *from, const json_t *document, struct buf *out)
{
    buf_printf(out,
               "# Modelfile generated by \"ollama show\"\n"
               "# To build a new Modelfile based on this, replace FROM with:\n"
               "# FROM %s\n\nFROM %s\n",
               from, from);
    put_text("TEMPLATE", document, "template", out);
    put_text("SYSTEM", document, "system", out);
    const char *adapter = json_string_value(json_object_get(document, "adapter"));
    if (adapter) buf_printf(out, "ADAPTER %s\n", adapter);
    modelfile_write_parameters(json_object_get(document, "parameters"), "PARAMETER ", out);
    const json_t *messages = json_object_get(document, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        const char *text = json_string_value(json_object_get(m, "content"));
        if (role && text) buf_printf(out, "MESSAGE %s \"\"\"%s\"\"\"\n", role, text);
    }
    put_text("LICENSE", document, "license", out);
}
