/* Chat templates: request to prompt, grammar and parser, with the semantics of llama-server's
 * oaicompat_chat_params_parse (tools/server/server-common.cpp of v0.5.0), and these differences:
 *   - TOOL_REQUIRED and TOOL_NAMED force the call from the first token (after an opened <think>);
 *     llama-server's grammar lets free text come first. The grammar that AUTO uses after its
 *     trigger word is applied from the start instead. Formats whose triggers are not plain words
 *     keep the library's grammar for required calls.
 *   - TOOL_NAMED: the template sees that one tool only.
 *   - Schemas and grammars are compiled here, so that their errors name the right field. */
#include "shim_int.hpp"

#include <algorithm>
#include <cstring>

#include "json-schema-to-grammar.h"

struct shim_templates {
    common_chat_templates_ptr templates;
    bool tools, thinking;
};

/* ---- templates ---------------------------------------------------------------------------- */

extern "C" enum err shim_templates_new(const llama_model *model, struct shim_templates **out,
                                       struct error *error)
{
    return shim_guarded(error, ERR_UNSUPPORTED, [&] {
        auto t = std::make_unique<shim_templates>();
        t->templates = common_chat_templates_init(model, "");
        auto caps = common_chat_templates_get_caps(t->templates.get());
        t->tools = caps["supports_tool_calls"] || caps["supports_tools"];
        t->thinking = common_chat_templates_support_enable_thinking(t->templates.get());
        *out = t.release();
        return OK;
    });
}

extern "C" void shim_templates_free(struct shim_templates *t)
{
    delete t;
}

extern "C" void shim_templates_caps(const struct shim_templates *t, bool *tools, bool *thinking)
{
    *tools = t->tools;
    *thinking = t->thinking;
}

/* ---- request to inputs --------------------------------------------------------------------- */

static std::string text_or_empty(const char *s)
{
    return s ? s : "";
}

static common_chat_msg to_message(const struct message *m)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    common_chat_msg msg;
    msg.role = roles[m->role];
    msg.content = text_or_empty(m->content);
    msg.reasoning_content = text_or_empty(m->reasoning);
    msg.tool_call_id = text_or_empty(m->tool_call_id);
    if (m->role == ROLE_TOOL) msg.tool_name = text_or_empty(m->name);
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const struct tool_call *c = &m->tool_calls[i];
        msg.tool_calls.push_back({c->name, c->arguments, text_or_empty(c->id)});
    }
    return msg;
}

static std::vector<common_chat_tool> to_tools(const struct gen_request *req)
{
    std::vector<common_chat_tool> tools;
    for (size_t i = 0; i < req->n_tools; i++) {
        const struct tool *t = &req->tools[i];
        if (req->tool_choice == TOOL_NAMED && strcmp(t->name, req->tool_choice_name) != 0) continue;
        tools.push_back({t->name, text_or_empty(t->description), t->parameters});
    }
    return tools;
}

/* An absent or empty schema means any object. */
static std::string schema_of(const struct gen_request *req)
{
    if (req->format == FORMAT_JSON_OBJECT) return "{\"type\":\"object\"}";
    if (req->format != FORMAT_JSON_SCHEMA) return "";
    common_json schema = common_json::parse(req->schema);
    if (schema.is_object() && schema.empty()) schema["type"] = "object";
    return schema.dump();
}

static void add_kwargs(const struct shim_templates *t, const struct gen_request *req,
                       common_chat_templates_inputs &in)
{
    in.enable_thinking = t->thinking;
    if (!req->template_kwargs) return;
    common_json kwargs = common_json::parse(req->template_kwargs);
    for (const auto &[key, value] : kwargs.items()) in.chat_template_kwargs[key] = value.dump();
    if (!kwargs.contains("enable_thinking")) return;
    const common_json &wanted = kwargs.at("enable_thinking");
    if (!wanted.is_boolean()) throw std::invalid_argument("enable_thinking must be true or false");
    in.enable_thinking = wanted.get<bool>();
}

static common_chat_templates_inputs to_inputs(const struct shim_templates *t,
                                              const struct gen_request *req)
{
    common_chat_templates_inputs in;
    for (size_t i = 0; i < req->n_messages; i++)
        in.messages.push_back(to_message(&req->messages[i]));
    in.tools = to_tools(req);
    in.tool_choice =
        req->tool_choice == TOOL_NONE ? COMMON_CHAT_TOOL_CHOICE_NONE : COMMON_CHAT_TOOL_CHOICE_AUTO;
    in.parallel_tool_calls = req->parallel_tool_calls;
    in.json_schema = schema_of(req);
    in.reasoning_format = req->reasoning_format == REASONING_NONE
                              ? COMMON_REASONING_FORMAT_NONE
                              : COMMON_REASONING_FORMAT_DEEPSEEK;
    add_kwargs(t, req, in);
    const common_chat_msg &last = in.messages.back();
    if (last.role == "assistant" && last.tool_calls.empty()) { /* to be continued */
        in.continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
        in.add_generation_prompt = false;
    }
    return in;
}

/* ---- schemas and grammars ------------------------------------------------------------------ */

enum { GENERATED_MAX = 8 << 20 };

/* Only for its errors: the library converts again when it builds the parser. */
static enum err check_schema(const char *schema, const char *param, struct error *error)
{
    struct error why;
    enum err e = shim_guarded(&why, ERR_SCHEMA, [&] {
        std::string grammar = json_schema_to_grammar(common_json::parse(schema), true);
        return gbnf_check(grammar.c_str(), GENERATED_MAX, param, &why);
    });
    return e ? err_set_param(error, e, param, "%s", why.msg) : OK;
}

static enum err check_schemas(const struct gen_request *req, struct error *error)
{
    bool tools = req->tool_choice != TOOL_NONE;
    for (size_t i = 0; tools && i < req->n_tools; i++) {
        std::string param = "/tools/" + std::to_string(i) + "/function/parameters";
        enum err e = check_schema(req->tools[i].parameters, param.c_str(), error);
        if (e) return e;
    }
    if (req->format != FORMAT_JSON_SCHEMA) return OK;
    return check_schema(req->schema, "/response_format/json_schema/schema", error);
}

static const char *grammar_param(const struct gen_request *req)
{
    if (req->format == FORMAT_GRAMMAR) return "/grammar";
    return req->format == FORMAT_JSON_SCHEMA ? "/response_format/json_schema/schema" : "/tools";
}

static enum err compile(const llama_model *model, const struct gen_request *req, chat_state &s,
                        struct error *error)
{
    if (s.mode == grammar_mode::none) return OK;
    const char *param = grammar_param(req);
    enum err e = gbnf_check(s.grammar.c_str(), GENERATED_MAX, param, error);
    if (e) return e;
    struct error why;
    e = shim_guarded(&why, ERR_SCHEMA, [&] {
        s.ready = shim_compile_grammar(llama_model_get_vocab(model), s).release();
        return OK;
    });
    return e ? err_set_param(error, e, param, "%s", why.msg) : OK;
}

/* ---- what sampling needs ------------------------------------------------------------------- */

static void set_tokens(const llama_vocab *vocab, chat_state &s)
{
    for (const auto &text : s.params.preserved_tokens) {
        auto ids = common_tokenize(vocab, text, false, true);
        if (ids.size() == 1) s.preserved.insert(ids[0]);
    }
    for (const auto &t : s.params.grammar_triggers) {
        if (t.type != COMMON_GRAMMAR_TRIGGER_TYPE_WORD) continue;
        auto ids = common_tokenize(vocab, t.value, false, true);
        if (ids.size() == 1)
            s.trigger_tokens.push_back(ids[0]);
        else
            s.words.push_back(t.value);
    }
    s.prefill_tokens = common_tokenize(vocab, s.params.generation_prompt, false, true);
    if (!s.params.thinking_start_tag.empty())
        s.think_start = common_tokenize(vocab, s.params.thinking_start_tag, false, true);
    for (const auto &tag : s.params.thinking_end_tags)
        if (!tag.empty()) s.think_ends.push_back(common_tokenize(vocab, tag, false, true));
}

static void set_patterns(chat_state &s)
{
    for (const auto &t : s.params.grammar_triggers) {
        if (t.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN) s.patterns.push_back(t.value);
        if (t.type != COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL) continue;
        bool start = !t.value.empty() && t.value.front() == '^';
        bool end = !t.value.empty() && t.value.back() == '$';
        s.patterns.push_back((start ? "" : "^") + t.value + (end ? "" : "$"));
    }
}

static bool only_words(const common_chat_params &p)
{
    return p.grammar_lazy && !p.grammar.empty() && !p.grammar_triggers.empty() &&
           std::all_of(p.grammar_triggers.begin(), p.grammar_triggers.end(),
                       [](const auto &t) { return t.type == COMMON_GRAMMAR_TRIGGER_TYPE_WORD; });
}

/* ---- chats --------------------------------------------------------------------------------- */

static enum err check_forced(const chat_state &s, bool forced, struct error *error)
{
    if (!forced || !s.params.grammar.empty()) return OK;
    return err_set_param(error, ERR_UNSUPPORTED, "/tool_choice",
                         "this model's chat template has no format for tool calls, so a call can't "
                         "be demanded; use tool_choice \"auto\" or another model");
}

static enum err check_combination(const struct gen_request *req, struct error *error)
{
    if (req->format != FORMAT_GRAMMAR || !req->n_tools || req->tool_choice == TOOL_NONE) return OK;
    return err_set_param(error, ERR_INVALID, "/grammar",
                         "a grammar can't be combined with tools; leave one of them out or set "
                         "tool_choice to \"none\"");
}

static void set_grammar(const struct gen_request *req, bool forced, chat_state &s)
{
    if (req->format == FORMAT_GRAMMAR) {
        s.grammar = req->grammar;
        s.mode = grammar_mode::always;
    } else if (!s.params.grammar.empty()) {
        s.grammar = s.params.grammar;
        s.prefill = !s.params.grammar_lazy;
        s.mode = s.params.grammar_lazy ? grammar_mode::triggered : grammar_mode::always;
        if (s.params.grammar_lazy && forced) s.mode = grammar_mode::after_thinking;
    }
}

static enum err render(const struct shim_templates *t, const llama_model *model,
                       const struct gen_request *req, struct shim_chat *c, struct error *error)
{
    chat_state &s = *c->state;
    bool forced = req->tool_choice == TOOL_REQUIRED || req->tool_choice == TOOL_NAMED;
    auto inputs = to_inputs(t, req);
    s.params = common_chat_templates_apply(t->templates.get(), inputs);
    if (forced && !only_words(s.params)) {
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        s.params = common_chat_templates_apply(t->templates.get(), inputs);
    }
    enum err e = check_forced(s, forced, error);
    if (e) return e;
    s.parse = true;
    s.tools = !inputs.tools.empty() && req->tool_choice != TOOL_NONE;
    s.continues = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
    s.parser = common_chat_parser_params(s.params);
    s.parser.reasoning_format = inputs.reasoning_format;
    s.parser.parse_tool_calls = s.tools;
    s.parser.is_continuation = s.continues;
    if (!s.params.parser.empty()) s.parser.parser.load(s.params.parser);
    set_tokens(llama_model_get_vocab(model), s);
    set_patterns(s);
    set_grammar(req, forced, s);
    c->prompt = std::move(s.params.prompt);
    s.params.prompt.clear();
    s.params.parser.clear();
    return OK;
}

static void raw(const struct gen_request *req, struct shim_chat *c)
{
    chat_state &s = *c->state;
    c->prompt = text_or_empty(req->prompt);
    if (req->format == FORMAT_GRAMMAR) s.grammar = req->grammar;
    std::string schema = schema_of(req);
    if (!schema.empty()) s.grammar = json_schema_to_grammar(common_json::parse(schema), true);
    if (!s.grammar.empty()) s.mode = grammar_mode::always;
}

extern "C" enum err shim_chat_new(const struct shim_templates *t, const llama_model *model,
                                  const struct gen_request *req, struct shim_chat **out,
                                  struct error *error)
{
    return shim_guarded(
        error, ERR_INVALID, [&]() -> enum err {
            enum err e = check_combination(req, error);
            if (!e) e = check_schemas(req, error);
            if (e) return e;
            auto c = std::make_unique<shim_chat>();
            c->state = std::make_shared<chat_state>();
            if (req->kind == GEN_CHAT)
                e = render(t, model, req, c.get(), error);
            else
                raw(req, c.get());
            if (!e) e = compile(model, req, *c->state, error);
            if (!e) *out = c.release();
            return e;
        });
}

extern "C" void shim_chat_free(struct shim_chat *c)
{
    delete c;
}

extern "C" const char *shim_chat_prompt(const struct shim_chat *c, size_t *len)
{
    *len = c->prompt.size();
    return c->prompt.c_str();
}

extern "C" size_t shim_chat_n_stops(const struct shim_chat *c)
{
    return c->state->params.additional_stops.size();
}

extern "C" const char *shim_chat_stop(const struct shim_chat *c, size_t i)
{
    return c->state->params.additional_stops[i].c_str();
}
