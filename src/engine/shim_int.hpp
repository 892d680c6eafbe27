/* What the shim's C++ files share. */
#ifndef HEARTH_ENGINE_SHIM_INT_HPP
#define HEARTH_ENGINE_SHIM_INT_HPP

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "chat.h"
#include "common.h"
#include "llama.h"
#include "sampling.h"

/* C lets a struct and a function share a name; C++ calls that hiding the constructor. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "engine/guard.h"
#include "engine/shim.h"
#include "engine/token_tree.h"
}
#pragma GCC diagnostic pop

/* Runs f; an exception becomes an error with this code. */
template <typename F> enum err shim_guarded(struct error *error, enum err code, F f) noexcept
{
    try {
        return f();
    } catch (const std::bad_alloc &) {
        return err_set(error, ERR_NOMEM, "out of memory in the inference library");
    } catch (const std::exception &e) {
        return err_set(error, code, "%s", e.what());
    } catch (...) {
        return err_set(error, code, "the inference library failed without saying why");
    }
}

struct grammar_deleter {
    void operator()(llama_sampler *s) const
    {
        llama_sampler_free(s);
    }
};
using grammar_ptr = std::unique_ptr<llama_sampler, grammar_deleter>;

/* When a grammar applies. */
enum class grammar_mode {
    none,
    always,         /* from the first token */
    after_thinking, /* from the first token that is not part of an opened <think> */
    triggered,      /* from a trigger word on, outside of thinking */
};

/* What follows from the template, the tools, the format and the generation prompt, but not from the
 * messages: how to constrain and to parse an answer. Immutable, shared, cached by the templates. */
struct chat_form {
    common_chat_params params;        /* without the prompt */
    common_chat_parser_params parser; /* with its arena loaded */
    bool tools = false;               /* calls may come */

    std::string grammar;
    bool prefix_closed = false; /* grammar_is_prefix_closed */
    grammar_mode mode = grammar_mode::none;
    bool prefill = false;           /* the grammar begins with the generation prompt */
    std::vector<std::string> words; /* triggers */
    std::vector<llama_token> trigger_tokens;
    std::vector<std::string> patterns; /* regular expressions, for the formats that need them */
    std::set<llama_token> preserved;   /* control tokens whose text the parser needs */
    std::vector<llama_token> prefill_tokens;
    llama_tokens think_start;
    std::vector<llama_tokens> think_ends;
};

/* One rendered chat, shared by the prompt and its samplers and parsers. */
struct chat_state {
    std::shared_ptr<const chat_form> form;
    bool parse = false;     /* false: GEN_RAW, all output is text */
    bool continues = false; /* the last message is an assistant's, to be continued */

    /* The grammar, compiled when the prompt was made, for the first sampler that comes. */
    mutable std::atomic<llama_sampler *> ready{nullptr};

    ~chat_state()
    {
        llama_sampler_free(ready.load());
    }
};

struct shim_chat {
    std::shared_ptr<chat_state> state;
    std::string prompt;
};

/* shim_form.cpp. Immutable but for the cache, which has its own lock. */
struct shim_templates {
    common_chat_templates_ptr templates;
    bool tools = false, thinking = false;
    bool cacheable = false;  /* rendering is the plain template, whatever the answer's format */
    mutable std::mutex lock; /* guards cache */
    mutable std::list<std::pair<std::string, std::shared_ptr<const chat_form>>> cache;
};

/* Held while a template is rendered. */
extern std::mutex shim_rendering;
/* Renders the inputs into *prompt. NULL with *error filled when the request can't be served. */
std::shared_ptr<const chat_form> shim_form_of(const shim_templates *t, const llama_model *model,
                                              const struct gen_request *req,
                                              common_chat_templates_inputs &inputs,
                                              std::string *prompt, struct error *error);
std::shared_ptr<const chat_form> shim_raw_form(const struct gen_request *req, struct error *error);
/* Where in the request the grammar of its answer comes from. */
const char *shim_grammar_param(const struct gen_request *req);
/* The schema text of a request's format, "" if it has none. */
std::string shim_schema_of(const struct gen_request *req);

/* shim_sampler.cpp. Throws when libllama refuses the grammar. */
grammar_ptr shim_compile_grammar(const llama_vocab *vocab, const chat_form &f);

#endif
