/* Types of settings: from text to value, and in words what is allowed. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config_int.h"
#include "base/fs.h"
#include "base/json_int.h"
#include "base/mem.h"
#include "base/str.h"

const struct config_info config_infos[CONFIG_KEY_COUNT] = {
#define X(id, name, type, def, min, max, unit, section, help)                                      \
    {name, def, unit, section, help, CONFIG_##type, min, max},
    CONFIG_KEYS(X)
#undef X
};

/* ---- what words may say -------------------------------------------------------------------- */

static const char *const choices[CONFIG_KEY_COUNT] = {
#define Z(id, words) [CONFIG_##id] = words,
    CONFIG_CHOICES(Z)
#undef Z
};

static bool is_choice(const char *words, const char *text)
{
    size_t len = strlen(text);
    while (*words) {
        size_t n = strcspn(words, ",");
        if (n == len && strncasecmp(words, text, n) == 0) return true;
        words += n;
        words += strspn(words, ", ");
    }
    return false;
}

/* A name or an IP address, without port and brackets. */
static bool is_host(const char *s)
{
    struct in6_addr ip;
    if (inet_pton(AF_INET6, s, &ip) == 1 || inet_pton(AF_INET, s, &ip) == 1) return true;
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
    return n > 0 && n <= 253 && !s[n];
}

static bool is_http_url(const char *s)
{
    size_t scheme = str_starts(s, "https://") ? 8 : str_starts(s, "http://") ? 7 : 0;
    return scheme && s[scheme] && s[scheme] != '/' && !strpbrk(s, " \t\"<>");
}

static bool is_http_url_or_empty(const char *s)
{
    return !*s || is_http_url(s);
}

static bool is_origin(const char *s, size_t len)
{
    if (len == 1 && *s == '*') return true;
    const char *sep = memmem(s, len, "://", 3);
    if (!sep || sep == s) return false;
    const char *host = sep + 3;
    size_t n = (size_t)(s + len - host);
    return n > 0 && !memchr(host, '/', n) && !memchr(s, ' ', len);
}

static bool are_origins(const char *s)
{
    while (*s) {
        s += strspn(s, ", ");
        size_t n = strcspn(s, ",");
        size_t len = n;
        while (len > 0 && s[len - 1] == ' ') len--;
        if (len > 0 && !is_origin(s, len)) return false;
        s += n;
    }
    return true;
}

static bool is_keep_alive(const char *s)
{
    int64_t ms;
    return str_to_keep_alive(s, &ms);
}

static const struct {
    enum config_key key;
    bool (*ok)(const char *text);
    const char *allowed;
} checks[] = {
    {CONFIG_HOST, is_host, "a host name or an IP address, without a port (that is PORT's)"},
    {CONFIG_ALLOWED_ORIGINS, are_origins,
     "a comma-separated list of origins like http://localhost:3000 (nothing behind the port, no "
     "slash), or *"},
    {CONFIG_HF_ENDPOINT, is_http_url, "an address like https://huggingface.co"},
    {CONFIG_OLLAMA_URL, is_http_url, "an address like http://localhost:11434"},
    {CONFIG_KEEP_ALIVE, is_keep_alive, "forever, a time like 5m, or 0"},
    {CONFIG_OPENAI_BASE_URL, is_http_url_or_empty, "an address like https://api.openai.com/v1"},
    {CONFIG_ANTHROPIC_BASE_URL, is_http_url_or_empty, "an address like https://api.anthropic.com"},
    {CONFIG_COHERE_BASE_URL, is_http_url_or_empty, "an address like https://api.cohere.com"},
    {CONFIG_AIHUB_URL, is_http_url_or_empty, "an address like https://aihub.example.org"},
};

/* ---- units --------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    double size;
};

static const struct unit times[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
enum { N_TIMES = sizeof times / sizeof *times };

/* ---- what is allowed, in words ------------------------------------------------------------- */

/* The largest unit of which v is a whole number: "64K", "10m". */
static void append_in_units(struct buf *b, double v, const struct unit *units, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v != 0 && v / units[i].size == (double)(int64_t)(v / units[i].size)) best = i;
    json_write_double(b, v / units[best].size);
    buf_puts(b, units[best].name);
}

static void append_number(struct buf *b, const struct config_info *info, double v)
{
    static const struct unit sizes[] = {{"", 1}, {"K", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}};
    if (info->type == CONFIG_BYTES)
        append_in_units(b, v, sizes, sizeof sizes / sizeof *sizes);
    else if (info->type == CONFIG_MS && v != 0)
        append_in_units(b, v, times, N_TIMES);
    else
        json_write_double(b, v);
}

static void append_range(struct buf *b, const struct config_info *info)
{
    if (info->min == 0 && info->max == 0) return;
    buf_puts(b, " from ");
    append_number(b, info, info->min);
    buf_puts(b, " to ");
    append_number(b, info, info->max);
}

void config_allowed(enum config_key key, char *dst, size_t size)
{
    static const char *const words[] = {
        [CONFIG_STRING] = "text",
        [CONFIG_PATH] = "a path",
        [CONFIG_SECRET] = "text",
        [CONFIG_INT] = "a whole number",
        [CONFIG_REAL] = "a number",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_BYTES] = "a size like 16M,",
        [CONFIG_MS] = "a time like 10s,",
    };
    const struct config_info *info = &config_infos[key];
    struct buf b;
    buf_init_fixed(&b, dst, size);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].key == key) {
            buf_puts(&b, checks[i].allowed);
            return;
        }
    if (choices[key]) {
        buf_printf(&b, "%s%s", strchr(choices[key], ',') ? "one of " : "", choices[key]);
        return;
    }
    buf_puts(&b, words[info->type]);
    append_range(&b, info);
    if (info->type == CONFIG_INT && *info->unit) buf_printf(&b, " (%s)", info->unit);
}

/* ---- parsing ------------------------------------------------------------------------------- */

static bool in_range(const struct config_info *info, double v)
{
    return (info->min == 0 && info->max == 0) || (v >= info->min && v <= info->max);
}

static bool parse_number(const struct config_info *info, const char *text, struct config_value *out)
{
    uint64_t bytes;
    switch (info->type) {
    case CONFIG_INT:
        return str_to_i64(text, INT64_MIN, INT64_MAX, &out->i) && in_range(info, (double)out->i);
    case CONFIG_REAL: return str_to_double(text, -1e300, 1e300, &out->d) && in_range(info, out->d);
    case CONFIG_BOOL: return str_to_bool(text, &out->b);
    case CONFIG_BYTES:
        if (!str_to_bytes(text, &bytes) || bytes > INT64_MAX) return false;
        out->i = (int64_t)bytes;
        return in_range(info, (double)bytes);
    case CONFIG_MS: return str_to_ms(text, &out->i) && in_range(info, (double)out->i);
    default: ht_bug("not a number");
    }
}

static bool check_words(enum config_key key, const char *text)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].key == key && !checks[i].ok(text)) return false;
    return !choices[key] || is_choice(choices[key], text);
}

/* "~" and "~/x" under the home folder, relative paths under the working folder. */
static enum err expand_path(const char *text, char *dst, struct error *error)
{
    bool in_home = text[0] == '~' && (text[1] == '/' || !text[1]);
    if (!*text || text[0] == '/')
        return str_copy(dst, FS_PATH_MAX, text) ? OK : err_set(error, ERR_INVALID, "too long");
    if (in_home) {
        const char *home = getenv("HOME");
        if (!home || home[0] != '/')
            return err_set(error, ERR_CONFIG, "~ has no meaning because HOME is not set");
        return fs_join(dst, FS_PATH_MAX, home, text[1] ? text + 2 : "", error);
    }
    char cwd[FS_PATH_MAX];
    if (!getcwd(cwd, sizeof cwd))
        return err_set(error, ERR_IO, "the working folder has no path any more");
    return fs_join(dst, FS_PATH_MAX, cwd, str_starts(text, "./") ? text + 2 : text, error);
}

enum err config_value_parse(enum config_key key, const char *text, const char *where,
                            struct config_value *out, struct error *error)
{
    const struct config_info *info = &config_infos[key];
    char path[FS_PATH_MAX], allowed[256];
    bool ok = strlen(text) < CONFIG_VALUE_MAX && utf8_valid(text, strlen(text));
    config_allowed(key, allowed, sizeof allowed);
    if (ok && info->type == CONFIG_PATH) {
        struct error why;
        if (expand_path(text, path, &why))
            return err_set_param(error, ERR_CONFIG, info->name, "%s is '%.100s' (%s): %s",
                                 info->name, text, where, why.msg);
        text = path;
    } else if (ok && (info->type == CONFIG_STRING || info->type == CONFIG_SECRET)) {
        ok = check_words(key, text);
    } else if (ok) {
        ok = parse_number(info, text, out);
    }
    if (!ok) {
        const char *shown = info->type == CONFIG_SECRET ? "(hidden)" : text;
        return err_set_param(error, ERR_CONFIG, info->name, "%s is '%.*s' (%s); allowed: %s",
                             info->name, (int)utf8_cut(shown, strlen(shown), 100), shown, where,
                             allowed);
    }
    out->text = xstrdup(text);
    return OK;
}
