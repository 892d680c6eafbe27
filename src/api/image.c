/* Pictures of messages; see image.h. */
#include "api/image.h"

#include <string.h>
#include <strings.h>

#include "api/call.h"
#include "base/str.h"

/* The first bytes of each kind, in base64: a whole number of its characters, so that they can be
 * compared as they are. "RIFF" and the length stand before WEBP, so that "RIFF" must do. */
static const struct {
    const char *type, *begins;
} kinds[] = {{"image/png", "iVBORw0KGg"},
             {"image/jpeg", "/9j/"},
             {"image/gif", "R0lGOD"},
             {"image/webp", "UklGR"}};

static enum err no_picture(const char *ptr, const char *got, struct error *error)
{
    return err_set_param(error, ERR_INVALID, ptr,
                         "%s: must be a PNG, JPEG, GIF or WebP picture, got %.40s", ptr, got);
}

static const char *known_type(const char *type, size_t len)
{
    if (len == 9 && strncasecmp(type, "image/jpg", len) == 0) return "image/jpeg";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].type) == len && strncasecmp(kinds[i].type, type, len) == 0)
            return kinds[i].type;
    return NULL;
}

static const char *type_of(const char *data)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_starts(data, kinds[i].begins)) return kinds[i].type;
    return NULL;
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Without line breaks, and with the padding that many leave out. NULL: it is no base64. */
static const char *clean(struct arena *a, const char *data, bool *full)
{
    size_t n = 0, pad = 0;
    char *copy = arena_alloc(a, strlen(data) + 4);
    *full = !copy;
    for (; copy && *data; data++) {
        if (*data == '\r' || *data == '\n' || *data == ' ') continue;
        if (*data == '=') {
            pad++;
            continue;
        }
        if (pad || !is_letter(*data)) return NULL;
        copy[n++] = *data;
    }
    if (!copy || !n || pad > 2 || n % 4 == 1 || (pad && (n + pad) % 4)) return NULL;
    while (n % 4) copy[n++] = '=';
    copy[n] = '\0';
    return copy;
}

enum err image_from_base64(struct arena *a, const char *media_type, const char *data,
                           const char *ptr, struct image *out, struct error *error)
{
    bool full;
    const char *copy = clean(a, data, &full);
    if (full) return request_too_large(error);
    if (!copy) return err_set_param(error, ERR_INVALID, ptr, "%s: is not valid base64", ptr);
    const char *type = media_type ? known_type(media_type, strlen(media_type)) : type_of(copy);
    if (!type) return no_picture(ptr, media_type ? media_type : "something else", error);
    *out = (struct image){.media_type = type, .data = copy};
    return OK;
}

static enum err from_data_url(struct arena *a, const char *url, const char *ptr, struct image *out,
                              struct error *error)
{
    static const char mark[] = ";base64";
    const char *type = url + strlen("data:"), *comma = strchr(type, ',');
    size_t head = comma ? (size_t)(comma - type) : 0, len = strcspn(type, ";,");
    if (!comma || head < sizeof mark - 1 ||
        strncasecmp(comma - (sizeof mark - 1), mark, sizeof mark - 1) != 0)
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: a data: URL must be data:image/...;base64,...", ptr);
    const char *known = known_type(type, len);
    if (!known) {
        char got[40];
        str_printf(got, sizeof got, "%.*s", (int)(len < 39 ? len : 39), type);
        return no_picture(ptr, got, error);
    }
    return image_from_base64(a, known, comma + 1, ptr, out, error);
}

enum err image_from_url(struct arena *a, const char *url, const char *ptr, struct image *out,
                        struct error *error)
{
    if (strncasecmp(url, "data:", 5) == 0) return from_data_url(a, url, ptr, out, error);
    bool web = strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0;
    const char *host = web ? strstr(url, "://") + 3 : "";
    if (!web || !*host || strpbrk(url, " \t\r\n"))
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be an http:, https: or data: URL of a picture", ptr);
    *out = (struct image){.media_type = ""};
    return copy_text(a, url, &out->url, error);
}
