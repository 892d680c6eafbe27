/* Words out of a question. Nothing of what a person writes is a database's syntax: a word is quoted
 * (FTS5) or goes through plainto_tsquery (PostgreSQL).
 *
 * Ranking every chunk that has one of a question's words would be slow, since most chunks have
 * "the" or "what". So the words are ordered by how many chunks have them; the rarest ones choose
 * the chunks, the others only count in their ranking. This needs no list of stop words, and so
 * knows no languages. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "store/chunk_int.h"

enum { RANK_ONLY_MAX = 4 /* more common words change no order */ };

/* Something that a tokeniser may take for a part of a word. */
static bool is_wordy(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

static bool has_word(const struct chunk_words *w, const char *text)
{
    for (size_t i = 0; i < w->n; i++)
        if (str_ieq(w->list[i].text, text)) return true;
    return false;
}

/* Marks around a word are no part of it: ("Hello," she said). */
static void add_word(struct chunk_words *w, const char *from, size_t len)
{
    char text[sizeof w->list[0].text];
    while (len && !is_wordy(*from)) from++, len--;
    while (len && !is_wordy(from[len - 1])) len--;
    if (!len || !utf8_valid(from, len)) return;
    len = utf8_cut(from, len, sizeof text - 1);
    memcpy(text, from, len);
    text[len] = '\0';
    if (!has_word(w, text)) memcpy(w->list[w->n++].text, text, len + 1);
}

static bool is_space(char c)
{
    return (unsigned char)c <= ' ';
}

void chunk_words_of(const char *text, struct chunk_words *out)
{
    out->n = out->n_needed = 0;
    while (*text && out->n < STORE_CHUNK_WORDS_MAX) {
        while (*text && is_space(*text)) text++;
        const char *from = text;
        while (*text && !is_space(*text)) text++;
        add_word(out, from, (size_t)(text - from));
    }
}

static int by_df(const void *a, const void *b)
{
    const struct chunk_word *x = a, *y = b;
    if (x->df != y->df) return x->df < y->df ? -1 : 1;
    return strcmp(x->text, y->text);
}

void chunk_words_order(struct chunk_words *w, int64_t most, int64_t beside)
{
    int64_t sum = 0;
    size_t first = 0;
    qsort(w->list, w->n, sizeof *w->list, by_df);
    while (first < w->n && !w->list[first].df) first++;
    w->n -= first;
    memmove(w->list, w->list + first, w->n * sizeof *w->list);
    w->n_needed = 0;
    while (w->n_needed < w->n && (!w->n_needed || sum + w->list[w->n_needed].df <= most))
        sum += w->list[w->n_needed++].df;
    size_t n = w->n_needed;
    for (sum = 0; n < w->n && n < w->n_needed + RANK_ONLY_MAX; n++) {
        if (w->list[n].df > beside - sum) break;
        sum += w->list[n].df;
    }
    w->n = n;
}
