/* Seams: places in a text where cutting it does least harm. All look backwards from `limit`, at
 * most to `from`, so a chunk costs a walk over its second half. */
#include <string.h>

#include "rag/split_int.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

size_t seam_paragraph(const char *text, size_t from, size_t limit)
{
    for (size_t at = limit; at > from + 1; at--)
        if (text[at - 1] == '\n' && text[at - 2] == '\n') return at;
    return 0;
}

size_t seam_line(const char *text, size_t from, size_t limit)
{
    const char *nl = limit > from ? memrchr(text + from, '\n', limit - from) : NULL;
    return nl ? (size_t)(nl - text) + 1 : 0;
}

/* Quotes and brackets may stand between a sentence's mark and the blank. */
static bool ends_sentence(const char *text, size_t from, size_t space)
{
    size_t at = space;
    while (at > from && strchr("\"')]}*_", text[at - 1]) && text[at - 1]) at--;
    if (at == from) return false;
    if (text[at - 1] == '!' || text[at - 1] == '?') return true;
    if (at >= from + 3 && memcmp(text + at - 3, "…", 3) == 0) return true;
    /* An initial ("J. Smith") ends none. */
    bool initial = at >= from + 3 && text[at - 2] >= 'A' && text[at - 2] <= 'Z' &&
                   (is_space(text[at - 3]) || text[at - 3] == '.');
    return text[at - 1] == '.' && !initial;
}

/* 。！？ need no blank behind them. */
static bool wide_end(const char *text, size_t from, size_t at)
{
    if (at < from + 3) return false;
    const char *c = text + at - 3;
    return memcmp(c, "。", 3) == 0 || memcmp(c, "！", 3) == 0 || memcmp(c, "？", 3) == 0;
}

/* What follows a sentence is no small letter: "e.g. this", "approx. 5 kg" go on. */
static bool begins_sentence(char c)
{
    return !(c >= 'a' && c <= 'z');
}

bool seam_is_sentence(const char *text, size_t from, size_t at)
{
    if (wide_end(text, from, at)) return true;
    if (at <= from || !is_space(text[at - 1]) || is_space(text[at])) return false;
    size_t space = at - 1;
    while (space > from && is_space(text[space - 1])) space--;
    return begins_sentence(text[at]) && ends_sentence(text, from, space);
}

size_t seam_sentence(const char *text, size_t from, size_t limit)
{
    for (size_t at = limit; at > from; at--)
        if (seam_is_sentence(text, from, at)) return at;
    return 0;
}

size_t seam_word(const char *text, size_t from, size_t limit)
{
    for (size_t at = limit; at > from; at--)
        if (is_space(text[at - 1])) return at;
    return 0;
}

size_t seam_character(const char *text, size_t from, size_t limit)
{
    for (size_t back = 0; back < 4 && limit - back > from; back++)
        if (((unsigned char)text[limit - back] & 0xC0) != 0x80) return limit - back;
    return limit; /* no UTF-8 at all */
}
