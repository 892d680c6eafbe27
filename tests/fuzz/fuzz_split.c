/* The splitter over any bytes: its guarantees (split.h) hold for all of them. The first bytes
 * choose size, overlap and unit. */
#include <stdlib.h>
#include <string.h>

#include "rag/split.h"

struct seen {
    const char *text;
    size_t len, covered, start, end;
    int32_t n, size, overlap;
    enum split_unit unit;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int32_t length(const struct seen *s, const char *text, size_t len)
{
    int32_t n = 0;
    if (s->unit == SPLIT_TOKENS) return split_tokens(text, len);
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

static bool check(void *ctx, const struct split_chunk *c)
{
    struct seen *s = ctx;
    ht_assert(c->n == s->n++);
    ht_assert(c->start < c->end && c->end <= s->len && c->body == s->text + c->start);
    ht_assert(!is_space(s->text[c->start]) && !is_space(s->text[c->end - 1]));
    if (c->n) ht_assert(c->start > s->start && c->end > s->end);
    for (size_t i = s->covered; i < c->start; i++) ht_assert(is_space(s->text[i]));
    if (c->n && c->start < s->end)
        ht_assert(length(s, s->text + c->start, s->end - c->start) <= s->overlap);
    int32_t all = length(s, c->body, c->end - c->start);
    if (c->prefix_len) all += length(s, c->prefix, c->prefix_len) + 1;
    ht_assert(all <= s->size);
    ht_assert(strlen(c->heading) < SPLIT_HEADING_MAX && c->page_from <= c->page_to);
    s->start = c->start;
    s->covered = s->end = c->end;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error;
    if (size < 3) return 0;
    struct split_params params = {.size = data[0] * 4, .overlap = data[1] * 2, .unit = data[2] & 1};
    char *text = malloc(size - 3 + 1);
    if (!text) return 0;
    memcpy(text, data + 3, size - 3);
    text[size - 3] = '\0';
    struct seen s = {.text = text,
                     .len = size - 3,
                     .size = params.size > SPLIT_SIZE_MIN ? params.size : SPLIT_SIZE_MIN,
                     .overlap = params.overlap,
                     .unit = params.unit};
    if (s.overlap > s.size / 2) s.overlap = s.size / 2;
    struct split_page pages[] = {{0, 1}, {size / 3, 2}, {size / 2, 5}};
    enum err e = split_text(text, size - 3, pages, data[2] & 2 ? 3 : 0, &params, check, &s, &error);
    ht_assert(e == OK);
    for (size_t i = s.covered; i < s.len; i++) ht_assert(is_space(text[i]));
    free(text);
    return 0;
}
