/* How many tokens a text would make, by rule; see split.h. The rule follows how byte-level BPE
 * vocabularies treat letters, digits and marks; it was not fitted to any of them. */
#include "rag/split_int.h"

const uint8_t token_kinds[256] = {
    ['\t'] = KIND_SPACE,          ['\n'] = KIND_SPACE,         ['\v'] = KIND_SPACE,
    ['\f'] = KIND_SPACE,          ['\r'] = KIND_SPACE,         [' '] = KIND_SPACE,
    [0 ... 8] = KIND_MARK,        [14 ... 31] = KIND_MARK,     ['!' ... '/'] = KIND_MARK,
    ['0' ... '9'] = KIND_DIGIT,   [':' ... '@'] = KIND_MARK,   ['A' ... 'Z'] = KIND_LETTER,
    ['[' ... '`'] = KIND_MARK,    ['a' ... 'z'] = KIND_LETTER, ['{' ... 127] = KIND_MARK,
    [0x80 ... 0xBF] = KIND_INNER, /* the rest of a character */
    [0xC0 ... 0xDF] = KIND_LATIN, /* two bytes: letters of alphabets */
    [0xE0 ... 0xFF] = KIND_WIDE,  /* three and four: mostly a token of their own */
};

int32_t split_tokens(const char *text, size_t len)
{
    struct token_count t = {0};
    int32_t n = 0;
    for (size_t i = 0; i < len; i++) n += token_count_byte(&t, (unsigned char)text[i]);
    return n;
}
