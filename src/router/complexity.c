/* Complexity of a request; see complexity.h. */
#include "router/complexity.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

/* Where a feature counts fully. */
#define FULL_LENGTH 6000.0 /* bytes of all messages together */
#define FULL_TURNS  12.0   /* messages of the user */
#define FULL_TOOLS  4.0
#define FULL_WORDS  2.0 /* different words that point to it */

/* Words stand alone, in lower case; a trailing '*' stands for any ending. */
static const char *const code_words[] = {
    "```",    "function*", "class",   "python",   "javascript", "typescript", "rust",   "java",
    "sql",    "regex*",    "compile", "compiler", "segfault",   "stacktrace", "code",   "bug",
    "debug*", "refactor*", "script",  "api",      "#include",   "def",        "struct", NULL};
static const char *const maths_words[] = {
    "theorem*",    "proof",      "prove",  "integral*", "derivative*", "equation*",   "matrix",
    "probabilit*", "calculate",  "sqrt",   "modulo",    "solve",       "algebra",     "geometry",
    "eigen*",      "logarithm*", "\\frac", "\\int",     "\\sum",       "polynomial*", NULL};
static const char *const reasoning_words[] = {
    "why",      "prove",    "explain",    "compare",   "analyse", "analyze",      "design",
    "evaluate", "step",     "trade-off*", "tradeoff*", "plan",    "argue",        "critique",
    "derive",   "optimise", "optimize",   "strategy",  "reason*", "architecture", NULL};

static double capped(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* Whether `word` stands in text at i, on borders of words. */
static bool stands_at(const char *text, size_t len, size_t i, const char *word)
{
    size_t n = strlen(word);
    bool any_end = word[n - 1] == '*';
    if (any_end) n--;
    if (i + n > len) return false;
    for (size_t k = 0; k < n; k++)
        if (tolower((unsigned char)text[i + k]) != word[k]) return false;
    if (!is_word_char(word[0])) return true;
    if (i && is_word_char(text[i - 1])) return false;
    return any_end || i + n == len || !is_word_char(text[i + n]);
}

/* How many different words of the list are in the text, of FULL_WORDS. */
static double words_in(const char *text, size_t len, const char *const *words)
{
    double found = 0;
    for (size_t w = 0; words[w] && found < FULL_WORDS; w++) {
        char first = words[w][0];
        for (size_t i = 0; i < len; i++) {
            if (tolower((unsigned char)text[i]) != first) continue;
            if (!stands_at(text, len, i, words[w])) continue;
            found++;
            break;
        }
    }
    return found / FULL_WORDS;
}

/* Arithmetic that no word names: digits with operators between them. */
static double operators_in(const char *text, size_t len)
{
    int n = 0;
    for (size_t i = 1; i + 1 < len; i++) {
        size_t next = text[i + 1] == ' ' && i + 2 < len ? i + 2 : i + 1;
        size_t before = text[i - 1] == ' ' && i > 1 ? i - 2 : i - 1;
        n += strchr("+*/^=", text[i]) && isalnum((unsigned char)text[next]) &&
             (isalnum((unsigned char)text[before]) || text[before] == ')');
    }
    return n / 4.0;
}

static double effort_of(const struct gen_request *req)
{
    const char *effort = req->reasoning_effort;
    if (!effort) return req->reasoning_budget > 0 ? 0.5 : 0;
    return str_ieq(effort, "high") ? 1 : str_ieq(effort, "medium") ? 0.5 : 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

enum tier complexity_tier(const struct routing *r, double score)
{
    return score < r->low ? TIER_SMALL : score <= r->high ? TIER_MIDDLE : TIER_LARGE;
}

double complexity_of_tier(const struct routing *r, enum tier tier)
{
    double from = tier == TIER_SMALL ? 0 : tier == TIER_MIDDLE ? r->low : r->high;
    double to = tier == TIER_SMALL ? r->low : tier == TIER_MIDDLE ? r->high : 1;
    return (from + to) / 2;
}

const char *complexity_text(const struct gen_request *req)
{
    const char *text = req->prompt ? req->prompt : "";
    for (size_t i = 0; i < req->n_messages; i++)
        if (req->messages[i].role == ROLE_USER) text = req->messages[i].content;
    return text;
}

void complexity_of(const struct routing *r, const struct gen_request *req, struct complexity *out)
{
    const char *text = complexity_text(req);
    double bytes = req->prompt ? (double)strlen(req->prompt) : 4.0 * (double)req->n_prompt_tokens;
    double turns = 0;
    for (size_t i = 0; i < req->n_messages; i++) {
        bytes += (double)strlen(req->messages[i].content);
        if (req->messages[i].role == ROLE_USER) turns++;
    }
    size_t len = strnlen(text, COMPLEXITY_TEXT_MAX);
    double *f = out->features;
    f[FEATURE_LENGTH] = capped(bytes / FULL_LENGTH);
    f[FEATURE_CODE] = capped(words_in(text, len, code_words));
    f[FEATURE_MATHS] = capped(larger(words_in(text, len, maths_words), operators_in(text, len)));
    f[FEATURE_TOOLS] = capped((double)req->n_tools / FULL_TOOLS);
    f[FEATURE_TURNS] = capped((turns - 1) / (FULL_TURNS - 1));
    f[FEATURE_REASONING] = capped(larger(words_in(text, len, reasoning_words), effort_of(req)));
    f[FEATURE_FORMAT] = req->format == FORMAT_JSON_SCHEMA || req->format == FORMAT_GRAMMAR ? 1 : 0;
    out->score = 0;
    for (int i = 0; i < FEATURE_COUNT; i++) out->score += r->weights[i] * f[i];
    out->score = capped(out->score);
    out->tier = complexity_tier(r, out->score);
}
