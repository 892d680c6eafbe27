/* How many tokens a text would make, by rule; see split.h. The rule follows how byte-level BPE
 * vocabularies treat letters, digits and marks; it was not fitted to any of them. */
#include <ctype.h>

#include "rag/split_int.h"

enum { LETTERS_PER_TOKEN = 4, DIGITS_PER_TOKEN = 3 };

/* Of a byte: what it can be a part of. */
enum kind { KIND_SPACE, KIND_LETTER, KIND_DIGIT, KIND_MARK, KIND_INNER, KIND_LATIN, KIND_WIDE };

static const uint8_t kinds[256] = {
    ['\t'] = KIND_SPACE,          ['\n'] = KIND_SPACE,         ['\v'] = KIND_SPACE,
    ['\f'] = KIND_SPACE,          ['\r'] = KIND_SPACE,         [' '] = KIND_SPACE,
    [0 ... 8] = KIND_MARK,        [14 ... 31] = KIND_MARK,     ['!' ... '/'] = KIND_MARK,
    ['0' ... '9'] = KIND_DIGIT,   [':' ... '@'] = KIND_MARK,   ['A' ... 'Z'] = KIND_LETTER,
    ['[' ... '`'] = KIND_MARK,    ['a' ... 'z'] = KIND_LETTER, ['{' ... 127] = KIND_MARK,
    [0x80 ... 0xBF] = KIND_INNER, /* the rest of a character */
    [0xC0 ... 0xDF] = KIND_LATIN, /* two bytes: letters of alphabets */
    [0xE0 ... 0xFF] = KIND_WIDE,  /* three and four: mostly a token of their own */
};

void token_count_start(struct token_count *t)
{
    *t = (struct token_count){0};
}

/* Adds one byte; true when a token begins with it. */
bool token_count_byte(struct token_count *t, unsigned char c)
{
    unsigned kind = kinds[c];
    if (kind == KIND_INNER) return false;
    unsigned run = kind == KIND_LATIN ? KIND_LETTER : kind;
    unsigned most = run == KIND_LETTER ? LETTERS_PER_TOKEN : DIGITS_PER_TOKEN;
    bool goes_on = run == t->run && (run == KIND_LETTER || run == KIND_DIGIT) && t->in_run < most;
    t->in_run = goes_on ? t->in_run + 1 : 1;
    t->run = (uint8_t)run;
    return !goes_on && run != KIND_SPACE;
}

int32_t split_tokens(const char *text, size_t len)
{
    struct token_count t;
    int32_t n = 0;
    token_count_start(&t);
    for (size_t i = 0; i < len; i++) n += token_count_byte(&t, (unsigned char)text[i]);
    return n;
}
