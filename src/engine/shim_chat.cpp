/* Chat templates: requests to prompts, with the semantics of llama-server's
 * oaicompat_chat_params_parse (tools/server/server-common.cpp of v0.5.0). TOOL_NAMED shows the
 * template that one tool only. How answers are constrained and parsed is shim_form.cpp's. */
#include "shim_int.hpp"

#include <cstring>

#include "chat-auto-parser.h"

/* ---- templates ---------------------------------------------------------------------------- */

/* Some templates have code of their own in the library that also changes the messages. Only the
 * others render the same whatever is asked of the answer, which the cache of forms relies on. */
static bool renders_plainly(const common_chat_templates *t, const llama_model *model)
{
    if (llama_model_chat_template(model, "tool_use")) return false;
    common_chat_template tmpl(common_chat_templates_source(t), "", "");
    autoparser::generation_params params;
    params.messages = common_json::array();
    params.messages.push_back({{"role", "user"}, {"content", "hi"}});
    params.add_generation_prompt = true;
    try {
        return !common_chat_try_specialized_template(tmpl, tmpl.source(), params).has_value();
    } catch (const std::exception &) {
        return false;
    }
}

/* source "" = the model's own. */
static std::unique_ptr<shim_templates> make_templates(const llama_model *model,
                                                      const std::string &source)
{
    std::lock_guard<std::mutex> guard(shim_rendering);
    auto t = std::make_unique<shim_templates>();
    t->templates = common_chat_templates_init(model, source);
    auto caps = common_chat_templates_get_caps(t->templates.get());
    t->tools = caps["supports_tool_calls"] || caps["supports_tools"];
    t->thinking = common_chat_templates_support_enable_thinking(t->templates.get());
    t->cacheable = renders_plainly(t->templates.get(), model);
    return t;
}

extern "C" enum err shim_templates_new(const llama_model *model, struct shim_templates **out,
                                       struct error *error)
{
    return shim_guarded(error, ERR_UNSUPPORTED, [&] {
        *out = make_templates(model, "").release();
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

/* ---- templates of requests ------------------------------------------------------------------ */

enum { OVERRIDES_MAX = 8 };

/* Chats hold what they use of one while it may leave this list. */
struct shim_overrides {
    std::mutex lock;
    std::list<std::pair<std::string, std::shared_ptr<const shim_templates>>> known;
};

extern "C" struct shim_overrides *shim_overrides_new(void)
{
    return new shim_overrides();
}

extern "C" void shim_overrides_free(struct shim_overrides *o)
{
    delete o;
}

/* Throws what is wrong with the template. */
static std::shared_ptr<const shim_templates>
find_override(shim_overrides *o, const llama_model *model, const std::string &source)
{
    {
        std::lock_guard<std::mutex> guard(o->lock);
        for (auto it = o->known.begin(); it != o->known.end(); ++it) {
            if (it->first != source) continue;
            o->known.splice(o->known.begin(), o->known, it);
            return it->second;
        }
    }
    std::shared_ptr<const shim_templates> made = make_templates(model, source);
    std::lock_guard<std::mutex> guard(o->lock);
    o->known.emplace_front(source, made);
    if (o->known.size() > OVERRIDES_MAX) o->known.pop_back();
    return made;
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
    static const common_chat_tool_choice choices[] = {
        COMMON_CHAT_TOOL_CHOICE_AUTO, COMMON_CHAT_TOOL_CHOICE_NONE,
        COMMON_CHAT_TOOL_CHOICE_REQUIRED, COMMON_CHAT_TOOL_CHOICE_REQUIRED};
    common_chat_templates_inputs in;
    for (size_t i = 0; i < req->n_messages; i++)
        in.messages.push_back(to_message(&req->messages[i]));
    in.tools = to_tools(req);
    in.tool_choice = choices[req->tool_choice];
    in.parallel_tool_calls = req->parallel_tool_calls;
    in.json_schema = shim_schema_of(req);
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

/* ---- chats --------------------------------------------------------------------------------- */

static enum err compile(const llama_model *model, const struct gen_request *req, chat_state &s,
                        struct error *error)
{
    if (s.form->mode == grammar_mode::none) return OK;
    struct error why;
    enum err e = shim_guarded(&why, ERR_SCHEMA, [&] {
        s.ready = shim_compile_grammar(llama_model_get_vocab(model), *s.form).release();
        return OK;
    });
    return e ? err_set_param(error, e, shim_grammar_param(req), "%s", why.msg) : OK;
}

static enum err fill(const struct shim_templates *t, const llama_model *model,
                     const struct gen_request *req, struct shim_chat *c, struct error *error)
{
    chat_state &s = *c->state;
    if (req->kind == GEN_CHAT) {
        auto inputs = to_inputs(t, req);
        s.parse = true;
        s.continues = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
        s.form = shim_form_of(t, model, req, inputs, &c->prompt, error);
    } else {
        c->prompt = text_or_empty(req->prompt);
        s.form = shim_raw_form(req, error);
    }
    if (!s.form) return error->code;
    return compile(model, req, s, error);
}

extern "C" enum err shim_chat_new(const struct shim_templates *t, struct shim_overrides *o,
                                  const llama_model *model, const struct gen_request *req,
                                  struct shim_chat **out, struct error *error)
{
    struct error own;
    if (!error) error = &own;
    std::shared_ptr<const shim_templates> brought;
    if (req->kind == GEN_CHAT && req->chat_template) {
        struct error why;
        enum err e = shim_guarded(&why, ERR_INVALID, [&] {
            brought = find_override(o, model, req->chat_template);
            return OK;
        });
        if (e) return err_set(error, e, "the chat template can't be used: %s", why.msg);
        t = brought.get();
    }
    return shim_guarded(
        error, ERR_INVALID, [&]() -> enum err {
            auto c = std::make_unique<shim_chat>();
            c->state = std::make_shared<chat_state>();
            enum err e = fill(t, model, req, c.get(), error);
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
    return c->state->form->params.additional_stops.size();
}

extern "C" const char *shim_chat_stop(const struct shim_chat *c, size_t i)
{
    return c->state->form->params.additional_stops[i].c_str();
}
