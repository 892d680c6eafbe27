/* Finding the route of a request.
 *
 * A path is matched part by part as it came, still percent-encoded, so that an encoded slash stays
 * inside its part; the parameters that are cut out are decoded afterwards. Literal routes win over
 * those with parameters, whatever the order of the tables. There are a few dozen routes: comparing
 * them in turn costs less than hashing would, and nothing has to be built at start. */
#include "api/route.h"

#include <string.h>

#include "api/anthropic/anthropic.h"
#include "api/batches/batches.h"
#include "api/hub/hub_int.h"
#include "api/llama/llama.h"
#include "api/models/models.h"
#include "api/ollama/ollama.h"
#include "api/openai/openai.h"
#include "api/responses/responses.h"
#include "api/v1/v1.h"
#include "base/str.h"

/* A line for each, so that those who add one do not meet. */
/* clang-format off */
const struct route *const api_route_tables[] = {
    openai_routes,
    response_routes,
    file_routes,
    batch_routes,
    ollama_routes,
    anthropic_routes,
    api_llama_routes,
    hub_routes,
    v1_auth_routes,
    v1_conversation_routes,
    v1_job_routes,
    v1_chat_routes,
    v1_user_routes,
    v1_stats_routes,
    v1_file_routes,
    v1_collection_routes,
    v1_search_routes,
    v1_source_routes, models_routes,
    NULL};
/* clang-format on */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes s[0..len) into dst[size]; 0 when it is malformed, holds a NUL, is not UTF-8 or does not
 * fit, else the bytes written with the '\0'. */
static size_t percent_decode(char *dst, size_t size, const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            if (len - i < 3) return 0;
            int high = hex_digit(s[i + 1]), low = hex_digit(s[i + 2]);
            if (high < 0 || low < 0 || (high | low) == 0) return 0;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n + 1 >= size) return 0;
        dst[n++] = c;
    }
    dst[n] = '\0';
    return utf8_valid(dst, n) ? n + 1 : 0;
}

struct capture {
    const char *start;
    size_t len;
};

/* Matches a pattern with parameters; a parameter is never empty. */
static bool match_pattern(const char *pattern, const char *path, struct capture *captures,
                          size_t *n_captures)
{
    *n_captures = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++) return false;
            continue;
        }
        const char *close = strchr(pattern, '}');
        ht_assert(close && *n_captures < HTTP_PATH_PARAMS_MAX);
        bool rest = close - pattern > 4 && strncmp(close - 3, "...", 3) == 0;
        size_t len = rest ? strlen(path) : strcspn(path, "/");
        if (rest) { /* what follows it is literal */
            size_t behind = strlen(close + 1);
            len = len > behind ? len - behind : 0;
        }
        if (len == 0) return false;
        captures[(*n_captures)++] = (struct capture){path, len};
        path += len;
        pattern = close + 1;
    }
    return *path == '\0';
}

static bool decode_captures(const struct capture *captures, size_t n, char *buf, size_t size,
                            const char *params[HTTP_PATH_PARAMS_MAX])
{
    for (size_t i = 0; i < n; i++) {
        size_t used = percent_decode(buf, size, captures[i].start, captures[i].len);
        if (used == 0) return false;
        params[i] = buf;
        buf += used;
        size -= used;
    }
    return true;
}

/* GET brings HEAD with it. */
static void allow_add(char allow[64], enum http_method m)
{
    size_t len = strlen(allow);
    str_printf(allow + len, 64 - len, "%s%s%s", len ? ", " : "", http_method_name(m),
               m == HTTP_GET ? ", HEAD" : "");
}

enum route_match route_find(enum http_method method, const char *path, const struct route **route,
                            char *params_buf, size_t params_size,
                            const char *params[HTTP_PATH_PARAMS_MAX], char allow[64])
{
    struct capture captures[HTTP_PATH_PARAMS_MAX];
    bool path_known = false;
    enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    memset(params, 0, HTTP_PATH_PARAMS_MAX * sizeof *params);
    allow[0] = '\0';
    for (int patterns = 0; patterns < 2 && !path_known; patterns++) {
        for (const struct route *const *table = api_route_tables; *table; table++) {
            for (const struct route *r = *table; r->path; r++) {
                size_t n = 0;
                if (patterns ? !strchr(r->path, '{') || !match_pattern(r->path, path, captures, &n)
                             : strcmp(r->path, path) != 0)
                    continue;
                if (!decode_captures(captures, n, params_buf, params_size, params)) continue;
                if (r->method == wanted) {
                    *route = r;
                    return ROUTE_FOUND;
                }
                path_known = true;
                allow_add(allow, r->method);
            }
        }
    }
    return path_known ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}
