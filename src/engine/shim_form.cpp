/* Forms: how the answer to a chat is constrained and parsed.
 *
 * The library finds out a template's formats by rendering it dozens of times (its "autoparser"),
 * anew for each request: 6 to 9 ms of CPU for a small template, against 0.5 ms for rendering. What
 * it finds does not depend on the messages, so it is kept here: the key is everything it does
 * depend on. Rendering alone is had from the library by asking for "pure content".
 *
 * TOOL_REQUIRED and TOOL_NAMED force the call from the first token, or from the end of thinking:
 * the library's grammar for required calls lets free text come first, which is cut out here.
 * Formats for which the library ignores a JSON schema get the plain grammar of the schema.
 *
 * Schemas and grammars are checked and compiled here, so that their errors name the right field. */
#include "shim_int.hpp"

#include <algorithm>
#include <cstring>

#include "json-schema-to-grammar.h"

enum {
    GENERATED_MAX = 8 << 20, /* bytes of a grammar that the library made of a schema */
    CACHE_MAX = 32,
    CACHE_KEY_MAX = 256 << 10, /* larger ones are not kept */
};

/* ---- schemas and grammars ------------------------------------------------------------------ */

/* An absent or empty schema means any object. */
std::string shim_schema_of(const struct gen_request *req)
{
    if (req->format == FORMAT_JSON_OBJECT) return "{\"type\":\"object\"}";
    if (req->format != FORMAT_JSON_SCHEMA) return "";
    common_json schema = common_json::parse(req->schema);
    if (schema.is_object() && schema.empty()) schema["type"] = "object";
    return schema.dump();
}

/* The library's words without its headline and its newlines. */
static enum err schema_error(enum err code, const char *param, const char *words,
                             struct error *error)
{
    static const char head[] = "JSON schema conversion failed:\n";
    std::string text = words;
    if (text.compare(0, sizeof head - 1, head) == 0) text.erase(0, sizeof head - 1);
    std::replace(text.begin(), text.end(), '\n', ' ');
    static const char at[] = "JSON schema error at #";
    size_t colon = text.find(": ");
    if (text.compare(0, sizeof at - 1, at) != 0 || colon == std::string::npos)
        return err_set_param(error, code, param, "%s", text.c_str());
    std::string place = param + text.substr(sizeof at - 1, colon - (sizeof at - 1));
    return err_set_param(error, code, place.c_str(), "%s%s", place.c_str(), text.c_str() + colon);
}

/* Only for its errors: the library converts again when it builds the parser. */
static enum err check_schema(const std::string &schema, const char *param, struct error *error)
{
    struct error why;
    enum err e = shim_guarded(&why, ERR_SCHEMA, [&] {
        std::string grammar = json_schema_to_grammar(common_json::parse(schema), true);
        return gbnf_check(grammar.c_str(), GENERATED_MAX, param, &why);
    });
    return e ? schema_error(e, param, why.msg, error) : OK;
}

static const char SCHEMA_PARAM[] = "/response_format/json_schema/schema";

static enum err check_schemas(const struct gen_request *req, struct error *error)
{
    bool tools = req->tool_choice != TOOL_NONE;
    for (size_t i = 0; tools && i < req->n_tools; i++) {
        std::string param = "/tools/" + std::to_string(i) + "/function/parameters";
        enum err e = check_schema(req->tools[i].parameters, param.c_str(), error);
        if (e) return e;
    }
    if (req->format != FORMAT_JSON_SCHEMA) return OK;
    return check_schema(shim_schema_of(req), SCHEMA_PARAM, error);
}

const char *shim_grammar_param(const struct gen_request *req)
{
    if (req->format == FORMAT_GRAMMAR) return "/grammar";
    return req->format == FORMAT_JSON_SCHEMA ? SCHEMA_PARAM : "/tools";
}

/* The whole grammar, as sampling will get it. */
static enum err check_grammar(const struct gen_request *req, const chat_form &f,
                              struct error *error)
{
    if (f.mode == grammar_mode::none) return OK;
    return gbnf_check(f.grammar.c_str(), GENERATED_MAX, shim_grammar_param(req), error);
}

/* ---- what sampling needs ------------------------------------------------------------------- */

static void set_tokens(const llama_vocab *vocab, chat_form &f)
{
    for (const auto &text : f.params.preserved_tokens) {
        auto ids = common_tokenize(vocab, text, false, true);
        if (ids.size() == 1) f.preserved.insert(ids[0]);
    }
    for (const auto &t : f.params.grammar_triggers) {
        if (t.type != COMMON_GRAMMAR_TRIGGER_TYPE_WORD) continue;
        auto ids = common_tokenize(vocab, t.value, false, true);
        if (ids.size() == 1)
            f.trigger_tokens.push_back(ids[0]);
        else
            f.words.push_back(t.value);
    }
    f.prefill_tokens = common_tokenize(vocab, f.params.generation_prompt, false, true);
    if (!f.params.thinking_start_tag.empty())
        f.think_start = common_tokenize(vocab, f.params.thinking_start_tag, false, true);
    for (const auto &tag : f.params.thinking_end_tags)
        if (!tag.empty()) f.think_ends.push_back(common_tokenize(vocab, tag, false, true));
}

static void set_patterns(chat_form &f)
{
    for (const auto &t : f.params.grammar_triggers) {
        if (t.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN) f.patterns.push_back(t.value);
        if (t.type != COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL) continue;
        bool start = !t.value.empty() && t.value.front() == '^';
        bool end = !t.value.empty() && t.value.back() == '$';
        f.patterns.push_back((start ? "" : "^") + t.value + (end ? "" : "$"));
    }
}

/* The end of the quoted text or class that begins at i. */
static size_t skip_quoted(const std::string &s, size_t i)
{
    char end = s[i] == '[' ? ']' : '"';
    for (i++; i < s.size() && s[i] != end; i++) i += s[i] == '\\';
    return i;
}

/* Takes the free text before a call out of a grammar: in the library's root rule,
 *   root ::= <generation prompt> ("<think>" until-1 "</think>")? until-2? tool-call
 * it is the until-<n> outside of all parentheses. */
static void cut_free_text(std::string &grammar)
{
    size_t i = grammar.compare(0, 9, "root ::= ") == 0 ? 0 : grammar.find("\nroot ::= ");
    int depth = 0;
    if (i == std::string::npos) return;
    for (i += 9; i < grammar.size() && grammar[i] != '\n'; i++) {
        char c = grammar[i];
        if (c == '"' || c == '[') i = skip_quoted(grammar, i);
        depth += (c == '(') - (c == ')');
        if (depth || c != 'u' || grammar.compare(i, 6, "until-") != 0) continue;
        size_t end = grammar.find_first_not_of("-0123456789", i + 5);
        if (end == std::string::npos) end = grammar.size();
        if (end < grammar.size() && grammar[end] == '?') end++;
        grammar.erase(i, end - i);
    }
}

static void set_grammar(const struct gen_request *req, chat_form &f)
{
    if (req->format == FORMAT_GRAMMAR) {
        f.grammar = req->grammar;
        f.mode = grammar_mode::always;
    } else if (!f.params.grammar.empty()) {
        f.grammar = f.params.grammar;
        f.prefill = !f.params.grammar_lazy;
        f.mode = f.params.grammar_lazy ? grammar_mode::triggered : grammar_mode::always;
        if (f.tools && !f.params.grammar_lazy) cut_free_text(f.grammar);
    } else if (req->format != FORMAT_TEXT && !f.tools) {
        f.grammar = json_schema_to_grammar(common_json::parse(shim_schema_of(req)), true);
        f.mode = f.think_ends.empty() ? grammar_mode::always : grammar_mode::after_thinking;
    }
}

/* ---- rendering ----------------------------------------------------------------------------- */

std::mutex shim_rendering;

/* One at a time: the library formats the date with localtime(3), whose result is shared by all
 * threads. Rendering takes about half a millisecond. */
static common_chat_params apply(const shim_templates *t, const common_chat_templates_inputs &inputs)
{
    std::lock_guard<std::mutex> guard(shim_rendering);
    return common_chat_templates_apply(t->templates.get(), inputs);
}

/* ---- making a form ------------------------------------------------------------------------- */

static bool is_forced(const struct gen_request *req)
{
    return req->tool_choice == TOOL_REQUIRED || req->tool_choice == TOOL_NAMED;
}

static enum err check_possible(const struct gen_request *req, const chat_form &f,
                               struct error *error)
{
    if (req->format == FORMAT_GRAMMAR && f.tools)
        return err_set_param(error, ERR_INVALID, "/grammar",
                             "a grammar can't be combined with tools; leave one of them out or set "
                             "tool_choice to \"none\"");
    if (is_forced(req) && f.params.grammar.empty())
        return err_set_param(error, ERR_UNSUPPORTED, "/tool_choice",
                             "this model's chat template has no format for tool calls, so a call "
                             "can't be demanded; use tool_choice \"auto\" or another model");
    return OK;
}

static std::shared_ptr<const chat_form> make_form(const shim_templates *t, const llama_model *model,
                                                  const struct gen_request *req,
                                                  common_chat_templates_inputs &inputs,
                                                  std::string *prompt, struct error *error)
{
    if (check_schemas(req, error)) return nullptr;
    auto f = std::make_shared<chat_form>();
    f->tools = !inputs.tools.empty() && req->tool_choice != TOOL_NONE;
    if (req->format == FORMAT_GRAMMAR && f->tools) {
        check_possible(req, *f, error);
        return nullptr;
    }
    f->params = apply(t, inputs);
    if (check_possible(req, *f, error)) return nullptr;
    *prompt = std::move(f->params.prompt);
    f->params.prompt.clear();
    f->parser = common_chat_parser_params(f->params);
    f->parser.reasoning_format = inputs.reasoning_format;
    f->parser.parse_tool_calls = f->tools;
    if (!f->params.parser.empty()) f->parser.parser.load(f->params.parser);
    f->params.parser.clear();
    set_tokens(llama_model_get_vocab(model), *f);
    set_patterns(*f);
    set_grammar(req, *f);
    f->prefix_closed = grammar_is_prefix_closed(f->grammar.c_str());
    return check_grammar(req, *f, error) ? nullptr : f;
}

std::shared_ptr<const chat_form> shim_raw_form(const struct gen_request *req, struct error *error)
{
    if (check_schemas(req, error)) return nullptr;
    auto f = std::make_shared<chat_form>();
    if (req->format == FORMAT_GRAMMAR) f->grammar = req->grammar;
    std::string schema = shim_schema_of(req);
    if (!schema.empty()) f->grammar = json_schema_to_grammar(common_json::parse(schema), true);
    if (!f->grammar.empty()) f->mode = grammar_mode::always;
    f->prefix_closed = grammar_is_prefix_closed(f->grammar.c_str());
    return check_grammar(req, *f, error) ? nullptr : f;
}

/* ---- cache --------------------------------------------------------------------------------- */

static std::string key_of(const struct gen_request *req, const common_chat_templates_inputs &in,
                          const std::string &generation_prompt)
{
    std::string key = generation_prompt;
    auto add = [&key](const std::string &s) { key += '\0' + s; };
    add(std::to_string(req->tool_choice) + "," + std::to_string(in.parallel_tool_calls) + "," +
        std::to_string(in.reasoning_format) + "," + std::to_string(in.enable_thinking));
    add(in.json_schema);
    for (const auto &t : in.tools) {
        add(t.name);
        add(t.description);
        add(t.parameters);
    }
    for (const auto &[name, value] : in.chat_template_kwargs) add(name + '\0' + value);
    return key;
}

static std::shared_ptr<const chat_form> cache_find(const shim_templates *t, const std::string &key)
{
    std::lock_guard<std::mutex> guard(t->lock);
    for (auto it = t->cache.begin(); it != t->cache.end(); ++it) {
        if (it->first != key) continue;
        t->cache.splice(t->cache.begin(), t->cache, it); /* most recent first */
        return it->second;
    }
    return nullptr;
}

static void cache_put(const shim_templates *t, const std::string &key,
                      const std::shared_ptr<const chat_form> &form)
{
    if (key.size() > CACHE_KEY_MAX) return;
    std::lock_guard<std::mutex> guard(t->lock);
    t->cache.emplace_front(key, form);
    if (t->cache.size() > CACHE_MAX) t->cache.pop_back();
}

std::shared_ptr<const chat_form> shim_form_of(const shim_templates *t, const llama_model *model,
                                              const struct gen_request *req,
                                              common_chat_templates_inputs &inputs,
                                              std::string *prompt, struct error *error)
{
    if (!t->cacheable || req->format == FORMAT_GRAMMAR || !inputs.add_generation_prompt)
        return make_form(t, model, req, inputs, prompt, error);
    inputs.force_pure_content = true;
    auto plain = apply(t, inputs);
    inputs.force_pure_content = false;
    std::string key = key_of(req, inputs, plain.generation_prompt);
    auto form = cache_find(t, key);
    if (form) {
        *prompt = std::move(plain.prompt);
        return form;
    }
    form = make_form(t, model, req, inputs, prompt, error);
    if (form) cache_put(t, key, form);
    return form;
}
