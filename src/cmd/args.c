/* Options and arguments of a verb, parsed by its tables: `--opt value`, `--opt=value`, `-o value`,
 * `-ovalue`, `-abc` for flags, `--` ends the options, options and arguments in any order. No
 * abbreviations: a script that uses one breaks when a later option begins alike. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/cmd_int.h"

enum { NEAREST_WORDS_MAX = 128 };

const char *cmd_nearest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    size_t len = strlen(word), best_distance = 1 + len / 3;
    for (size_t i = 0; i < n; i++) {
        if (len >= 3 && strncmp(words[i], word, len) == 0) return words[i];
        size_t d = str_distance(word, words[i]);
        if (d > best_distance || (d == best_distance && best)) continue;
        best_distance = d;
        best = words[i];
    }
    return best;
}

bool cmd_option_table(const struct cmd_verb *verb, size_t i, const struct cmd_option **table,
                      size_t *n)
{
    bool config = verb->flags & (CMD_CONFIG | CMD_CONFIG_LATER);
    switch (i) {
    case 0:
        *table = verb->options;
        *n = verb->n_options;
        return true;
    case 1:
        *table = cmd_config_options;
        *n = config ? cmd_n_config_options : 0;
        return true;
    case 2:
        *table = cmd_common_options;
        *n = cmd_n_common_options;
        return true;
    default: return false;
    }
}

/* name: len bytes of a long option, or NULL to look for the letter. */
static const struct cmd_option *find_option(const struct cmd_verb *verb, const char *name,
                                            size_t len, char letter)
{
    const struct cmd_option *table;
    size_t n;
    for (size_t t = 0; cmd_option_table(verb, t, &table, &n); t++) {
        for (size_t i = 0; i < n; i++) {
            const struct cmd_option *o = &table[i];
            if (name ? strlen(o->name) == len && memcmp(o->name, name, len) == 0
                     : o->letter && o->letter == letter)
                return o;
        }
    }
    return NULL;
}

static enum err unknown_option(const struct cmd_verb *verb, const char *name, size_t len,
                               struct error *error)
{
    const char *words[NEAREST_WORDS_MAX];
    size_t n_words = 0;
    const struct cmd_option *table;
    size_t n;
    for (size_t t = 0; cmd_option_table(verb, t, &table, &n); t++)
        for (size_t i = 0; i < n && n_words < NEAREST_WORDS_MAX; i++)
            words[n_words++] = table[i].name;
    char *word = xstrndup(name, len);
    const char *near = cmd_nearest(word, words, n_words);
    if (near)
        err_set(error, ERR_INVALID, "unknown option --%s; did you mean --%s?", word, near);
    else
        err_set(error, ERR_INVALID, "unknown option --%s", word);
    free(word);
    return ERR_INVALID;
}

static enum err add_override(struct cmd_args *args, enum config_key key, const char *value,
                             struct error *error)
{
    if (args->n_overrides == CMD_VALUES_MAX)
        return err_set(error, ERR_INVALID, "more than %d options", CMD_VALUES_MAX);
    args->overrides[args->n_overrides++] = (struct config_override){key, value};
    return OK;
}

/* --set KEY=VALUE */
static enum err add_setting(struct cmd_args *args, const char *text, struct error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return err_set(error, ERR_INVALID, "--set wants KEY=VALUE, not '%s'", text);
    char *name = xstrndup(text, (size_t)(equals - text));
    enum config_key key;
    if (config_find(name, &key)) {
        free(name);
        return add_override(args, key, equals + 1, error);
    }
    const char *names[CONFIG_KEY_COUNT];
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) names[i] = config_name((enum config_key)i);
    const char *near = cmd_nearest(name, names, CONFIG_KEY_COUNT);
    err_set(error, ERR_INVALID, "--set: there is no setting '%s'%s%s%s (see `hearth config`)", name,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    free(name);
    return ERR_INVALID;
}

static enum err add_value(struct cmd_args *args, const struct cmd_option *option, const char *value,
                          struct error *error)
{
    if (args->n_values == CMD_VALUES_MAX)
        return err_set(error, ERR_INVALID, "more than %d options", CMD_VALUES_MAX);
    args->values[args->n_values++] = (struct cmd_value){option, value};
    if (strcmp(option->name, "set") == 0) return add_setting(args, value, error);
    if (option->key == CMD_NO_KEY) return OK;
    return add_override(args, (enum config_key)option->key,
                        option->arg ? value : option->flag_value, error);
}

/* Whether the word is one of the verb's long options: then it is no value of the one before. */
static bool is_option_word(const struct cmd_verb *verb, const char *word)
{
    if (!str_starts(word, "--") || !word[2]) return false;
    return find_option(verb, word + 2, strcspn(word + 2, "="), 0) != NULL;
}

/* Parses argv[*i], which starts with "--"; moves *i over a value in the next word. */
static enum err parse_long(const struct cmd_verb *verb, int argc, char *const *argv, int *i,
                           struct cmd_args *out, struct error *error)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const struct cmd_option *option = find_option(verb, name, len, 0);
    if (!option) return unknown_option(verb, name, len, error);
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (!option->arg) {
        if (value)
            return err_set(error, ERR_INVALID, "--%s takes no value, got '%s'", option->name,
                           value);
        return add_value(out, option, "", error);
    }
    if (!value) {
        if (*i + 1 >= argc || is_option_word(verb, argv[*i + 1]))
            return err_set(error, ERR_INVALID, "--%s wants a value: --%s %s", option->name,
                           option->name, option->arg);
        value = argv[++*i];
    }
    return add_value(out, option, value, error);
}

/* The same for "-abc" and "-ovalue". */
static enum err parse_short(const struct cmd_verb *verb, int argc, char *const *argv, int *i,
                            struct cmd_args *out, struct error *error)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct cmd_option *option = find_option(verb, NULL, 0, *p);
        if (!option)
            return err_set(error, ERR_INVALID,
                           "unknown option -%c in '%s' (put -- before an argument that starts "
                           "with a dash)",
                           *p, argv[*i]);
        if (option->arg) {
            const char *value = p[1] ? p + 1 : NULL;
            if (!value) {
                if (*i + 1 >= argc || is_option_word(verb, argv[*i + 1]))
                    return err_set(error, ERR_INVALID, "-%c wants a value: -%c %s", *p, *p,
                                   option->arg);
                value = argv[++*i];
            }
            return add_value(out, option, value, error);
        }
        enum err err = add_value(out, option, "", error);
        if (err) return err;
    }
    return OK;
}

static enum err check_count(const struct cmd_verb *verb, const struct cmd_args *args,
                            struct error *error)
{
    if (cmd_flag(args, "help")) return OK;
    if (args->n_rest < (size_t)verb->min_args)
        return err_set(error, ERR_INVALID, "an argument is missing: hearth %s %s", verb->name,
                       verb->args);
    if (verb->max_args >= 0 && args->n_rest > (size_t)verb->max_args)
        return err_set(error, ERR_INVALID, "unexpected argument '%s'", args->rest[verb->max_args]);
    return OK;
}

enum err cmd_args_parse(const struct cmd_verb *verb, int argc, char *const *argv,
                        struct cmd_args *out, struct error *error)
{
    *out = (struct cmd_args){0};
    out->rest = xcalloc((size_t)argc + 1, sizeof(*out->rest));
    bool options = true;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        enum err err = OK;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && str_starts(word, "--"))
            err = parse_long(verb, argc, argv, &i, out, error);
        else if (options && word[0] == '-' && word[1])
            err = parse_short(verb, argc, argv, &i, out, error);
        else
            out->rest[out->n_rest++] = word;
        if (err) return err;
    }
    return check_count(verb, out, error);
}

void cmd_args_free(struct cmd_args *args)
{
    free(args->rest);
    *args = (struct cmd_args){0};
}

const char *cmd_opt_nth(const struct cmd_args *args, const char *name, size_t i)
{
    for (size_t k = 0; k < args->n_values; k++) {
        if (strcmp(args->values[k].option->name, name) != 0) continue;
        if (i-- == 0) return args->values[k].value;
    }
    return NULL;
}

const char *cmd_opt(const struct cmd_args *args, const char *name)
{
    for (size_t k = args->n_values; k-- > 0;)
        if (strcmp(args->values[k].option->name, name) == 0) return args->values[k].value;
    return NULL;
}

bool cmd_flag(const struct cmd_args *args, const char *name)
{
    return cmd_opt(args, name) != NULL;
}

enum err cmd_opt_int(const struct cmd_args *args, const char *name, int64_t min, int64_t max,
                     int64_t *out, struct error *error)
{
    const char *text = cmd_opt(args, name);
    if (!text || str_to_i64(text, min, max, out)) return OK;
    return err_set_param(error, ERR_INVALID, name,
                         "--%s: '%s' is not a whole number from %lld to %lld", name, text,
                         (long long)min, (long long)max);
}

enum err cmd_opt_double(const struct cmd_args *args, const char *name, double min, double max,
                        double *out, struct error *error)
{
    const char *text = cmd_opt(args, name);
    if (!text || str_to_double(text, min, max, out)) return OK;
    return err_set_param(error, ERR_INVALID, name, "--%s: '%s' is not a number from %g to %g", name,
                         text, min, max);
}

char *cmd_rest_joined(const struct cmd_args *args)
{
    if (args->n_rest == 0) return NULL;
    size_t len = 0;
    for (size_t i = 0; i < args->n_rest; i++) len += strlen(args->rest[i]) + 1;
    char *text = xmalloc(len), *p = text;
    for (size_t i = 0; i < args->n_rest; i++) {
        size_t n = strlen(args->rest[i]);
        memcpy(p, args->rest[i], n);
        p += n;
        *p++ = i + 1 < args->n_rest ? ' ' : '\0';
    }
    return text;
}
