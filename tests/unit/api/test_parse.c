/* Bodies of the OpenAI surface: what is accepted and how it is understood, what is refused with
 * which code and which pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/request.h"
#include "support/call_env.h"

static enum err parse_with(const struct call_env *e, bool chat, const char *text, struct call *call,
                           struct error *error)
{
    json_t *body;
    enum err err = request_parse_object(text, strlen(text), &body, error);
    if (err) return err;
    err = (chat ? chat_parse : completion_parse)(body, strlen(text), e, call, error);
    json_decref(body);
    return err;
}

static struct gen_request *accept(bool chat, const char *text, struct call *call)
{
    struct error error;
    if (parse_with(&env, chat, text, call, &error) != OK)
        fail_msg("%s\nwas refused: %s (%s)", text, error.msg, error.param);
    return call->requests[0];
}

struct refusal {
    const char *body;
    enum err code;
    const char *param;
};

static void refuse_all(bool chat, const struct refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct call call = {0};
        struct error error = {0};
        enum err err = parse_with(&env, chat, cases[i].body, &call, &error);
        if (err == OK) fail_msg("was accepted: %s", cases[i].body);
        if (err != cases[i].code || error.code != err || strcmp(error.param, cases[i].param) != 0)
            fail_msg("%s\ngave %s at \"%s\" (%s),\nexpected %s at \"%s\"", cases[i].body,
                     err_name(err), error.param, error.msg, err_name(cases[i].code),
                     cases[i].param);
        /* The message names the place too, so that a log line alone is enough. */
        if (cases[i].param[0] == '/' && !strstr(error.msg, cases[i].param))
            fail_msg("the message doesn't name %s: %s", cases[i].param, error.msg);
        assert_null(call.requests);
    }
}

#define U      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define M(...) "{\"messages\":[" __VA_ARGS__ "]}"
#define T(...) "{" U ",\"tools\":[" __VA_ARGS__ "]}"
#define FN(n)  "{\"type\":\"function\",\"function\":{\"name\":\"" n "\"}}"
#define I      ERR_INVALID

/* ---- chat ---------------------------------------------------------------------------------- */

static void chat_refuses_bodies(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"", ERR_JSON, ""},
        {"{", ERR_JSON, ""},
        {"{\"a\":1,\"a\":2}", ERR_JSON, ""},
        {"{" U "} x", ERR_JSON, ""},
        {"{" U ",\"temperature\":NaN}", ERR_JSON, ""},
        {"{\"messages\":\"\\ud800\"}", ERR_JSON, ""},
        {"{\"messages\":\"\xff\"}", ERR_JSON, ""},
        {"[]", I, ""},
        {"\"x\"", I, ""},
        {"{}", I, "/messages"},
        {"{\"messages\":null}", I, "/messages"},
        {"{\"messages\":{}}", I, "/messages"},
        {"{\"messages\":[]}", I, "/messages"},
    };
    refuse_all(true, cases, sizeof cases / sizeof *cases);
}

#define PNG "iVBORw0KGgo="

static void chat_takes_images(void **state)
{
    (void)state;
    struct call call;
    struct gen_request *req =
        accept(true,
               M("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what\"},"
                 "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64," PNG
                 "\",\"detail\":\"low\"}},{\"type\":\"text\",\"text\":\"is this\"},"
                 "{\"type\":\"image_url\",\"image_url\":\"https://example.org/a.jpg?b=c\"}]},"
                 "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
                 "\"data:image/jpeg;base64,/9j/AA\"}}]}"),
               &call);
    const struct message *m = req->messages;
    assert_string_equal(m->content, "what\nis this");
    assert_int_equal(m->n_images, 2);
    assert_string_equal(m->images[0].media_type, "image/png");
    assert_string_equal(m->images[0].data, PNG);
    assert_null(m->images[0].url);
    assert_string_equal(m->images[1].url, "https://example.org/a.jpg?b=c");
    assert_string_equal(m->images[1].media_type, "");
    assert_null(m->images[1].data);
    assert_string_equal(m[1].content, "");
    assert_int_equal(m[1].n_images, 1);
    assert_string_equal(m[1].images->data, "/9j/AA==");
    call_free(&call);
}

/* Every way of naming who answers, and that a pin is never taken away. */
static void requests_say_who_answers(void **state)
{
    (void)state;
    static const struct {
        const char *members, *source, *route;
        enum goal goal;
        bool local_only;
    } cases[] = {
        {"", "", "", GOAL_DEFAULT, false},
        {",\"source\":\"ollama\"", "ollama", "", GOAL_DEFAULT, false},
        {",\"model_source\":\"openai\"", "openai", "", GOAL_DEFAULT, false},
        {",\"provider\":\"box\"", "box", "", GOAL_DEFAULT, false},
        {",\"provider\":{\"order\":[\"x\"]}", "", "", GOAL_DEFAULT, false},
        {",\"source\":\"auto\"", "", "", GOAL_DEFAULT, false},
        {",\"route\":\"code\",\"optimization_goal\":\"cost\"", "", "code", GOAL_COST, false},
        {",\"local_only\":true", "", "", GOAL_DEFAULT, true},
        {",\"optimization_goal\":\"privacy\"", "", "", GOAL_PRIVACY, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[512];
        struct call call;
        snprintf(body, sizeof body, "{" U "%s}", cases[i].members);
        struct gen_request *req = accept(true, body, &call);
        assert_string_equal(req->source, cases[i].source);
        assert_string_equal(req->route, cases[i].route);
        assert_int_equal(req->goal, cases[i].goal);
        assert_int_equal(req->local_only, cases[i].local_only);
        call_free(&call);
    }
    struct call_env pinned = env;
    pinned.routing = (struct call_route){"ollama", "code", GOAL_SPEED, true};
    struct call call;
    struct error error;
    assert_int_equal(parse_with(&pinned, true, "{" U ",\"local_only\":false}", &call, &error), OK);
    assert_true(call.requests[0]->local_only);
    assert_string_equal(call.requests[0]->source, "ollama");
    assert_string_equal(call.requests[0]->route, "code");
    assert_int_equal(call.requests[0]->goal, GOAL_SPEED);
    call_free(&call);
    static const struct refusal refusals[] = {
        {"{" U ",\"optimization_goal\":\"fun\"}", I, "/optimization_goal"},
        {"{" U ",\"provider\":7}", I, "/provider"},
        {"{" U ",\"local_only\":\"yes\"}", I, "/local_only"},
    };
    refuse_all(true, refusals, sizeof refusals / sizeof *refusals);
}

static void chat_refuses_messages(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {M("1"), I, "/messages/0"},
        {M("{}"), I, "/messages/0/role"},
        {M("{\"role\":7,\"content\":\"x\"}"), I, "/messages/0/role"},
        {M("{\"role\":\"robot\",\"content\":\"x\"}"), I, "/messages/0/role"},
        {M("{\"role\":\"function\",\"content\":\"x\"}"), I, "/messages/0/role"},
        {M("{\"role\":\"user\"}"), I, "/messages/0/content"},
        {M("{\"role\":\"user\",\"content\":null}"), I, "/messages/0/content"},
        {M("{\"role\":\"assistant\",\"content\":null}"), I, "/messages/0/content"},
        {M("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}"), I,
         "/messages/0/content"},
        {M("{\"role\":\"user\",\"content\":3}"), I, "/messages/0/content"},
        {M("{\"role\":\"user\",\"content\":[]}"), I, "/messages/0/content"},
        {M("{\"role\":\"user\",\"content\":[\"x\"]}"), I, "/messages/0/content/0"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), I,
         "/messages/0/content/0/text"},
        {M("{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}"), I, "/messages/0/content/0/type"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"poem\"}]}"), I,
         "/messages/0/content/0/type"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"image_"
           "url\",\"image_url\":{\"url\":\"data:\"}}]}"),
         I, "/messages/0/content/1/image_url/url"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}"), I,
         "/messages/0/content/0/image_url"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}"), I,
         "/messages/0/content/0/image_url/url"},
        {M("{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"http://a/"
           "b\"}]}"),
         I, "/messages/0/content/0/type"},
        {M("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}"), ERR_UNSUPPORTED,
         "/messages/0/content/0"},
        {M("{\"role\":\"user\",\"content\":\"x\",\"name\":1}"), I, "/messages/0/name"},
        {M("{\"role\":\"tool\",\"content\":\"x\"}"), I, "/messages/0/tool_call_id"},
        {M("{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[]}"), I, "/messages/0/tool_calls"},
        {M("{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"tool_calls\":[1]}"), I,
         "/messages/1/tool_calls/0"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"}]}"), I,
         "/messages/0/tool_calls/0/function"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"x\",\"function\":{}}]}"), I,
         "/messages/0/tool_calls/0/type"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}"), I,
         "/messages/0/tool_calls/0/function/name"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"\"}}]}"), I,
         "/messages/0/tool_calls/0/function/name"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
           "\"{\"}}]}"),
         I, "/messages/0/tool_calls/0/function/arguments"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
           "\"[1]\"}}]}"),
         I, "/messages/0/tool_calls/0/function/arguments"},
        {M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
           "{}}}]}"),
         I, "/messages/0/tool_calls/0/function/arguments"},
    };
    refuse_all(true, cases, sizeof cases / sizeof *cases);
}

static void chat_refuses_members(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{" U ",\"adapter\":1}", I, "/adapter"},
        {"{" U ",\"adapter\":\"\"}", I, "/adapter"},
        {"{" U ",\"adapter_scale\":\"x\"}", I, "/adapter_scale"},
        {"{" U ",\"adapter_scale\":101}", I, "/adapter_scale"},
        {"{" U ",\"deterministic\":1}", I, "/deterministic"},
        {"{" U ",\"keep_alive\":\"soon\"}", I, "/keep_alive"},
        {"{" U ",\"keep_alive\":{}}", I, "/keep_alive"},
        {"{" U ",\"context_overflow\":\"wrap\"}", I, "/context_overflow"},
        {"{" U ",\"deadline_ms\":0}", I, "/deadline_ms"},
        {"{" U ",\"deadline_ms\":1.5}", I, "/deadline_ms"},
        {"{" U ",\"model\":1}", I, "/model"},
        {"{" U ",\"stream\":\"yes\"}", I, "/stream"},
        {"{" U ",\"stream\":1}", I, "/stream"},
        {"{" U ",\"stream_options\":{}}", I, "/stream_options"},
        {"{" U ",\"stream\":true,\"stream_options\":1}", I, "/stream_options"},
        {"{" U ",\"stream\":true,\"stream_options\":{\"include_usage\":1}}", I,
         "/stream_options/include_usage"},
        {"{" U ",\"temperature\":-0.1}", I, "/temperature"},
        {"{" U ",\"temperature\":\"1\"}", I, "/temperature"},
        {"{" U ",\"temperature\":1e9}", I, "/temperature"},
        {"{" U ",\"top_p\":7}", I, "/top_p"},
        {"{" U ",\"top_p\":-0.01}", I, "/top_p"},
        {"{" U ",\"min_p\":1.5}", I, "/min_p"},
        {"{" U ",\"top_k\":-2}", I, "/top_k"},
        {"{" U ",\"top_k\":1.5}", I, "/top_k"},
        {"{" U ",\"n\":0}", I, "/n"},
        {"{" U ",\"n\":17}", I, "/n"},
        {"{" U ",\"n\":1.0}", I, "/n"},
        {"{" U ",\"max_tokens\":0}", I, "/max_tokens"},
        {"{" U ",\"max_tokens\":-2}", I, "/max_tokens"},
        {"{" U ",\"max_tokens\":2147483648}", I, "/max_tokens"},
        {"{" U ",\"max_completion_tokens\":0}", I, "/max_completion_tokens"},
        {"{" U ",\"max_completion_tokens\":\"9\"}", I, "/max_completion_tokens"},
        {"{" U ",\"frequency_penalty\":2.1}", I, "/frequency_penalty"},
        {"{" U ",\"presence_penalty\":-3}", I, "/presence_penalty"},
        {"{" U ",\"repeat_penalty\":0}", I, "/repeat_penalty"},
        {"{" U ",\"repeat_last_n\":-2}", I, "/repeat_last_n"},
        {"{" U ",\"seed\":1.5}", I, "/seed"},
        {"{" U ",\"seed\":\"x\"}", I, "/seed"},
        {"{" U ",\"stop\":\"\"}", I, "/stop"},
        {"{" U ",\"stop\":1}", I, "/stop"},
        {"{" U ",\"stop\":[\"a\",\"\"]}", I, "/stop/1"},
        {"{" U ",\"stop\":[1]}", I, "/stop/0"},
        {"{" U ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
         "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}",
         I, "/stop"},
        {"{" U ",\"logit_bias\":[]}", I, "/logit_bias"},
        {"{" U ",\"logit_bias\":{\"x\":1}}", I, "/logit_bias"},
        {"{" U ",\"logit_bias\":{\"-1\":1}}", I, "/logit_bias"},
        {"{" U ",\"logit_bias\":{\"5\":101}}", I, "/logit_bias/5"},
        {"{" U ",\"logit_bias\":{\"5\":true}}", I, "/logit_bias/5"},
        {"{" U ",\"logprobs\":5}", I, "/logprobs"},
        {"{" U ",\"top_logprobs\":2}", I, "/top_logprobs"},
        {"{" U ",\"logprobs\":false,\"top_logprobs\":0}", I, "/top_logprobs"},
        {"{" U ",\"logprobs\":true,\"top_logprobs\":21}", I, "/top_logprobs"},
        {"{" U ",\"priority\":101}", I, "/priority"},
        {"{" U ",\"priority\":-1}", I, "/priority"},
        {"{" U ",\"ignore_eos\":1}", I, "/ignore_eos"},
        {"{" U ",\"timings\":1}", I, "/timings"},
        {"{" U ",\"reasoning_format\":\"loud\"}", I, "/reasoning_format"},
        {"{" U ",\"reasoning_effort\":3}", I, "/reasoning_effort"},
        {"{" U ",\"chat_template_kwargs\":[]}", I, "/chat_template_kwargs"},
        {"{" U ",\"functions\":[]}", ERR_UNSUPPORTED, "/functions"},
        {"{" U ",\"modalities\":[\"text\",\"audio\"]}", ERR_UNSUPPORTED, "/modalities"},
    };
    refuse_all(true, cases, sizeof cases / sizeof *cases);
}

static void chat_refuses_formats_and_tools(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{" U ",\"response_format\":\"json\"}", I, "/response_format"},
        {"{" U ",\"response_format\":{}}", I, "/response_format/type"},
        {"{" U ",\"response_format\":{\"type\":\"xml\"}}", I, "/response_format/type"},
        {"{" U ",\"response_format\":{\"type\":\"json_schema\"}}", I,
         "/response_format/json_schema"},
        {"{" U ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{}}}}",
         I, "/response_format/json_schema/name"},
        {"{" U ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a "
         "b\",\"schema\":{}}}}",
         I, "/response_format/json_schema/name"},
        {"{" U ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\"}}}",
         I, "/response_format/json_schema/schema"},
        {"{" U ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"schema\":[]}}}",
         I, "/response_format/json_schema/schema"},
        {"{" U ",\"grammar\":\"\"}", I, "/grammar"},
        {"{" U ",\"grammar\":5}", I, "/grammar"},
        {"{" U
         ",\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}}",
         I, "/grammar"},
        {"{" U ",\"grammar\":\"root ::= \\\"a\\\"\",\"tools\":[" FN("f") "]}", I, "/grammar"},

        {"{" U ",\"tools\":{}}", I, "/tools"},
        {T("1"), I, "/tools/0"},
        {T("{\"type\":\"function\"}"), I, "/tools/0/function"},
        {T("{\"type\":\"search\",\"function\":{\"name\":\"f\"}}"), I, "/tools/0/type"},
        {T("{\"type\":\"function\",\"function\":{}}"), I, "/tools/0/function/name"},
        {T(FN("")), I, "/tools/0/function/name"},
        {T(FN("a b")), I, "/tools/0/function/name"},
        {T(FN("0123456789012345678901234567890123456789012345678901234567890123x")), I,
         "/tools/0/function/name"},
        {T("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}"), I,
         "/tools/0/function/parameters"},
        {T("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":1}}"), I,
         "/tools/0/function/description"},
        {T(FN("f") "," FN("g") "," FN("f")), I, "/tools/2/function/name"},
        {"{" U ",\"tools\":[" FN("f") "],\"tool_choice\":\"f\"}", I, "/tool_choice"},
        {"{" U ",\"tools\":[" FN("f") "],\"tool_choice\":1}", I, "/tool_choice"},
        {"{" U ",\"tools\":[" FN("f") "],\"tool_choice\":" FN("g") "}", I,
         "/tool_choice/function/name"},
        {"{" U ",\"tools\":[" FN("f") "],\"tool_choice\":{\"type\":\"function\"}}", I,
         "/tool_choice/function"},
        {"{" U ",\"tools\":[" FN("f") "],\"tool_choice\":{\"type\":\"function\",\"function\":{}}}",
         I, "/tool_choice/function/name"},
        {"{" U ",\"tool_choice\":" FN("g") "}", I, "/tool_choice/function/name"},
        {"{" U ",\"tool_choice\":\"required\"}", I, "/tool_choice"},
        {"{" U ",\"tools\":[" FN("f") "],\"parallel_tool_calls\":1}", I, "/parallel_tool_calls"},
    };
    refuse_all(true, cases, sizeof cases / sizeof *cases);
}

static void chat_defaults(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(true, "{" U "}", &call);
    assert_false(call.stream || call.include_usage || call.timings);
    assert_int_equal(r->kind, GEN_CHAT);
    assert_string_equal(r->model, "");
    assert_string_equal(r->request_id, "req-1");
    assert_int_equal(r->n, 1);
    assert_int_equal(r->max_tokens, 2048);
    assert_int_equal(r->priority, 50);
    assert_true(r->parallel_tool_calls);
    assert_float_equal(r->sampling.temperature, 0.7, 1e-6);
    assert_float_equal(r->sampling.top_p, 0.9, 1e-6);
    assert_float_equal(r->sampling.min_p, 0.05, 1e-6);
    assert_int_equal(r->sampling.top_k, 40);
    assert_float_equal(r->sampling.repeat_penalty, 1, 0);
    assert_int_equal(r->sampling.seed, SEED_RANDOM);
    assert_int_equal(r->format, FORMAT_TEXT);
    assert_int_equal(r->tool_choice, TOOL_AUTO);
    assert_null(r->template_kwargs);
    call_free(&call);
}

static void chat_reads_everything(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(
        true,
        "{" U ",\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true,"
        "\"include_obfuscation\":false},\"max_tokens\":9,\"max_completion_tokens\":7,\"n\":16,"
        "\"stop\":[\"a\",\"b\"],\"temperature\":0,\"top_p\":1,\"top_k\":-1,\"min_p\":0,"
        "\"repetition_penalty\":1.5,\"repeat_last_n\":-1,\"frequency_penalty\":-2,"
        "\"presence_penalty\":2,\"seed\":42,\"logit_bias\":{\"7\":-100,\"8\":1.5},"
        "\"ignore_eos\":true,\"priority\":0,\"timings\":true,\"logprobs\":true,\"top_logprobs\":20,"
        "\"reasoning_format\":\"none\",\"user\":{\"any\":1},\"store\":5,\"metadata\":[],"
        "\"unheard_of\":{\"x\":[1]}}",
        &call);
    assert_true(call.stream && call.include_usage && call.timings);
    assert_string_equal(r->model, "m");
    assert_int_equal(r->max_tokens, 7); /* the newer name wins */
    assert_int_equal(r->n, 16);
    assert_int_equal(r->n_stop, 2);
    assert_string_equal(r->stop[1], "b");
    assert_int_equal(r->sampling.top_k, 0);
    assert_float_equal(r->sampling.repeat_penalty, 1.5, 0);
    assert_int_equal(r->sampling.repeat_last_n, -1);
    assert_float_equal(r->sampling.frequency_penalty, -2, 0);
    assert_float_equal(r->sampling.presence_penalty, 2, 0);
    assert_int_equal(r->sampling.seed, 42);
    assert_int_equal(r->sampling.n_logit_bias, 2);
    assert_int_equal(r->sampling.logit_bias[0].token, 7);
    assert_true(isinf(r->sampling.logit_bias[0].bias) && r->sampling.logit_bias[0].bias < 0);
    assert_float_equal(r->sampling.logit_bias[1].bias, 1.5, 0);
    assert_true(r->sampling.ignore_eos && r->sampling.logprobs);
    assert_int_equal(r->sampling.top_logprobs, 20);
    assert_int_equal(r->priority, 0);
    assert_int_equal(r->reasoning_format, REASONING_NONE);
    call_free(&call);
}

static void null_means_absent(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r =
        accept(true,
               "{" U ",\"model\":null,\"stream\":null,\"stream_options\":null,\"temperature\":null,"
               "\"stop\":null,\"tools\":null,\"tool_choice\":null,\"response_format\":null,"
               "\"logit_bias\":null,\"max_tokens\":null,\"seed\":null,\"functions\":null}",
               &call);
    assert_int_equal(r->max_tokens, 2048);
    assert_int_equal(r->n_tools, 0);
    assert_float_equal(r->sampling.temperature, 0.7, 1e-6);
    call_free(&call);
}

static void chat_messages(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(
        true,
        M("{\"role\":\"developer\",\"content\":\"be kind\"},"
          "{\"role\":\"user\",\"name\":\"ann\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
          "{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":\"tw\\u00f6\"}]},"
          "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":["
          "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
          "\"{\\\"a\\\": 1}\"}},{\"function\":{\"name\":\"other server's/tool\",\"arguments\":\"\"}"
          "}]},"
          "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"\"},"
          "{\"role\":\"assistant\",\"content\":\"\"}"),
        &call);
    assert_int_equal(r->n_messages, 5);
    const struct message *m = r->messages;
    assert_int_equal(m[0].role, ROLE_SYSTEM);
    assert_string_equal(m[1].content, "one\n\ntw\xC3\xB6");
    assert_string_equal(m[1].name, "ann");
    assert_string_equal(m[2].content, "");
    assert_string_equal(m[2].reasoning, "hm");
    assert_int_equal(m[2].n_tool_calls, 2);
    assert_string_equal(m[2].tool_calls[0].id, "c1");
    assert_string_equal(m[2].tool_calls[0].arguments, "{\"a\": 1}"); /* as it was written */
    assert_string_equal(m[2].tool_calls[1].id, "");
    assert_string_equal(m[2].tool_calls[1].arguments, "{}");
    assert_int_equal(m[3].role, ROLE_TOOL);
    assert_string_equal(m[3].tool_call_id, "c1");
    assert_string_equal(m[4].content, "");
    call_free(&call);
}

static void chat_tools(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(
        true,
        "{" U ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get.weather-1_a\","
        "\"description\":\"d\",\"strict\":true,\"parameters\":{\"type\":\"object\",\"properties\":"
        "{\"z\":{},\"a\":{}}}}}," FN("g") "],\"tool_choice\":" FN(
            "g") ",\"parallel_tool_calls\":false}",
        &call);
    assert_int_equal(r->n_tools, 2);
    assert_string_equal(r->tools[0].name, "get.weather-1_a");
    assert_string_equal(r->tools[0].description, "d");
    assert_true(r->tools[0].strict);
    /* Members keep their order: models read the schema as text. */
    assert_string_equal(r->tools[0].parameters,
                        "{\"type\":\"object\",\"properties\":{\"z\":{},\"a\":{}}}");
    assert_string_equal(r->tools[1].parameters, "{}");
    assert_int_equal(r->tool_choice, TOOL_NAMED);
    assert_string_equal(r->tool_choice_name, "g");
    assert_false(r->parallel_tool_calls);
    call_free(&call);

    assert_int_equal(accept(true, "{" U ",\"tool_choice\":\"none\"}", &call)->tool_choice,
                     TOOL_NONE);
    call_free(&call);
    r = accept(true, "{" U ",\"tools\":[" FN("f") "],\"tool_choice\":\"required\"}", &call);
    assert_int_equal(r->tool_choice, TOOL_REQUIRED);
    call_free(&call);
    r = accept(true,
               "{" U ",\"tools\":[" FN("f") "],\"tool_choice\":\"none\",\"grammar\":\"root ::= "
                                            "\\\"a\\\"\"}",
               &call);
    assert_int_equal(r->format, FORMAT_GRAMMAR);
    call_free(&call);
}

static void chat_formats(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r =
        accept(true, "{" U ",\"response_format\":{\"type\":\"json_object\"}}", &call);
    assert_int_equal(r->format, FORMAT_JSON_OBJECT);
    call_free(&call);
    r = accept(true,
               "{" U ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
               "\"n\",\"strict\":true,\"schema\":{\"type\":\"object\"}}}}",
               &call);
    assert_int_equal(r->format, FORMAT_JSON_SCHEMA);
    assert_string_equal(r->schema, "{\"type\":\"object\"}");
    call_free(&call);
    r = accept(true,
               "{" U ",\"response_format\":{\"type\":\"json_object\",\"schema\":{\"type\":"
               "\"array\"}}}",
               &call);
    assert_int_equal(r->format, FORMAT_JSON_SCHEMA);
    assert_string_equal(r->schema, "{\"type\":\"array\"}");
    call_free(&call);
    r = accept(true,
               "{" U ",\"response_format\":{\"type\":\"text\"},\"grammar\":\"root ::= \\\"a\\\"\"}",
               &call);
    assert_int_equal(r->format, FORMAT_GRAMMAR);
    assert_string_equal(r->grammar, "root ::= \"a\"");
    call_free(&call);
}

static void chat_reasoning(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(true, "{" U ",\"reasoning_effort\":\"none\"}", &call);
    assert_string_equal(r->template_kwargs,
                        "{\"reasoning_effort\":\"none\",\"enable_thinking\":false}");
    call_free(&call);
    r = accept(true,
               "{" U ",\"reasoning_effort\":\"none\",\"chat_template_kwargs\":{\"enable_thinking\":"
               "true,\"x\":1}}",
               &call);
    assert_string_equal(r->template_kwargs,
                        "{\"reasoning_effort\":\"none\",\"enable_thinking\":true,\"x\":1}");
    call_free(&call);
    r = accept(true, "{" U ",\"chat_template_kwargs\":{\"y\":[]}}", &call);
    assert_string_equal(r->template_kwargs, "{\"y\":[]}");
    call_free(&call);
}

static void seeds(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint32_t seed;
    } cases[] = {{"0", 0},
                 {"-1", SEED_RANDOM},
                 {"4294967295", SEED_RANDOM - 1}, /* a seed, not a wish for a random one */
                 {"4294967296", 1},
                 {"-2", 1},
                 {"9223372036854775807", 0x80000000u}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct call call;
        char body[200];
        snprintf(body, sizeof body, "{" U ",\"seed\":%s}", cases[i].json);
        assert_int_equal(accept(true, body, &call)->sampling.seed, cases[i].seed);
        call_free(&call);
    }
}

static void priority_from_the_header(void **state)
{
    (void)state;
    struct call call;
    struct error error;
    struct call_env e = env;
    e.priority = "7";
    assert_int_equal(parse_with(&e, true, "{" U "}", &call, &error), OK);
    assert_int_equal(call.requests[0]->priority, 7);
    call_free(&call);
    assert_int_equal(parse_with(&e, true, "{" U ",\"priority\":3}", &call, &error), OK);
    assert_int_equal(call.requests[0]->priority, 3); /* the body wins */
    call_free(&call);
    e.priority = "high";
    assert_int_equal(parse_with(&e, true, "{" U "}", &call, &error), ERR_INVALID);
    assert_string_equal(error.param, "X-Priority");
    e.priority = "101";
    assert_int_equal(parse_with(&e, true, "{" U "}", &call, &error), ERR_INVALID);
}

/* ---- completions --------------------------------------------------------------------------- */

static void completions_refuse(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{}", I, "/prompt"},
        {"{\"prompt\":[]}", I, "/prompt"},
        {"{\"prompt\":5}", I, "/prompt"},
        {"{\"prompt\":{}}", I, "/prompt"},
        {"{\"prompt\":[\"a\",3]}", I, "/prompt/1"},
        {"{\"prompt\":[3,\"a\"]}", I, "/prompt/1"},
        {"{\"prompt\":[3,-4]}", I, "/prompt/1"},
        {"{\"prompt\":[3,2147483648]}", I, "/prompt/1"},
        {"{\"prompt\":[[1],[]]}", I, "/prompt/1"},
        {"{\"prompt\":[[1],[2,[]]]}", I, "/prompt/1/1"},
        {"{\"prompt\":[true]}", I, "/prompt/0"},
        {"{\"prompt\":[1,2],\"suffix\":\"b\"}", I, "/suffix"},
        {"{\"prompt\":[\"a\",[1]],\"suffix\":\"b\"}", I, "/suffix"},
        {"{\"prompt\":\"a\",\"best_of\":3}", ERR_UNSUPPORTED, "/best_of"},
        {"{\"prompt\":\"a\",\"logprobs\":true}", I, "/logprobs"},
        {"{\"prompt\":\"a\",\"logprobs\":21}", I, "/logprobs"},
        {"{\"prompt\":\"a\",\"echo\":1}", I, "/echo"},
        {"{\"prompt\":\"a\",\"max_tokens\":0}", I, "/max_tokens"},
        {"{\"prompt\":\"a\",\"n_predict\":-5}", I, "/n_predict"},
        {"{\"prompt\":\"a\",\"stream_options\":{}}", I, "/stream_options"},
        {"{\"prompt\":\"a\",\"top_p\":7}", I, "/top_p"},
    };
    refuse_all(false, cases, sizeof cases / sizeof *cases);
}

static void completions_read_prompts(void **state)
{
    (void)state;
    struct call call;
    const struct gen_request *r = accept(
        false,
        "{\"prompt\":\"a\\nb\",\"echo\":true,\"logprobs\":0,\"n_predict\":5,\"suffix\":\"\"}",
        &call);
    assert_int_equal(call.n_requests, 1);
    assert_int_equal(r->kind, GEN_RAW);
    assert_string_equal(r->prompt, "a\nb");
    assert_true(r->echo && r->sampling.logprobs);
    assert_int_equal(r->sampling.top_logprobs, 0);
    assert_int_equal(r->max_tokens, 5);
    assert_null(call.questions);
    call_free(&call);

    accept(false, "{\"prompt\":[\"a\",\"\"],\"suffix\":\"z\",\"max_tokens\":7}", &call);
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(json_dump(call.questions, &text), OK);
    assert_string_equal(buf_str(&text),
                        "[{\"input_prefix\":\"\",\"input_suffix\":\"z\",\"prompt\":\"a\","
                        "\"n_predict\":7},{\"input_prefix\":\"\",\"input_suffix\":\"z\","
                        "\"prompt\":\"\",\"n_predict\":7}]");
    buf_free(&text);
    call_free(&call);

    accept(false, "{\"prompt\":[\"a\",\"b\",\"\"],\"n\":2,\"best_of\":2}", &call);
    assert_int_equal(call.n_requests, 3);
    assert_string_equal(call.requests[1]->prompt, "b");
    assert_int_equal(call.requests[2]->n, 2);
    call_free(&call);

    r = accept(false, "{\"prompt\":[1,2,3]}", &call);
    assert_int_equal(call.n_requests, 1);
    assert_null(r->prompt);
    assert_int_equal(r->n_prompt_tokens, 3);
    assert_int_equal(r->prompt_tokens[2], 3);
    call_free(&call);

    accept(false, "{\"prompt\":[[1],[2,3]]}", &call);
    assert_int_equal(call.n_requests, 2);
    assert_int_equal(call.requests[1]->n_prompt_tokens, 2);
    call_free(&call);
}

static char *repeat(const char *head, const char *item, size_t n, const char *tail)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_puts(&b, head);
    for (size_t i = 0; i < n; i++) {
        if (i) buf_putc(&b, ',');
        buf_puts(&b, item);
    }
    buf_puts(&b, tail);
    assert_int_equal(b.err, OK);
    return buf_take(&b);
}

static void limits(void **state)
{
    (void)state;
    struct call call;
    struct error error;
    char *body = repeat("{\"prompt\":[", "\"a\"", 128, "]}");
    assert_int_equal(parse_with(&env, false, body, &call, &error), OK);
    call_free(&call);
    free(body);
    body = repeat("{\"prompt\":[", "\"a\"", 129, "]}");
    assert_int_equal(parse_with(&env, false, body, &call, &error), ERR_INVALID);
    assert_string_equal(error.param, "/prompt");
    free(body);
    body = repeat("{" U ",\"tools\":[", "1", 513, "]}");
    assert_int_equal(parse_with(&env, true, body, &call, &error), ERR_INVALID);
    assert_string_equal(error.param, "/tools");
    free(body);
    body = repeat("{\"prompt\":[", "1", (1 << 20) - 1, "]}");
    assert_int_equal(parse_with(&env, false, body, &call, &error), ERR_TOO_LARGE);
    free(body);
    body = repeat("{\"prompt\":\"", "[{\\\"", 1 << 20, "\"}"); /* brackets in a text don't count */
    assert_int_equal(parse_with(&env, false, body, &call, &error), OK);
    call_free(&call);
    free(body);
    body = repeat("{\"messages\":", "[", 100000, "");
    for (char *p = body; *p; p++)
        if (*p == ',') *p = '[';
    assert_int_equal(parse_with(&env, true, body, &call, &error), ERR_JSON);
    free(body);
}

/* Each of 128 prompts would copy the grammar: together they may not take 128 times the body. */
static void prompts_share_one_budget(void **state)
{
    (void)state;
    struct call call;
    struct error error;
    char *long_text = malloc(1 << 20);
    memset(long_text, 'x', 1 << 20);
    long_text[(1 << 20) - 1] = '\0';
    struct buf head;
    buf_init(&head, SIZE_MAX);
    buf_printf(&head, "{\"grammar\":\"%s\",\"prompt\":[", long_text);
    char *body = repeat(head.data, "\"a\"", 128, "]}");
    assert_int_equal(parse_with(&env, false, body, &call, &error), ERR_TOO_LARGE);
    assert_null(call.requests);
    free(body);
    body = repeat(head.data, "\"a\"", 4, "]}");
    assert_int_equal(parse_with(&env, false, body, &call, &error), OK);
    call_free(&call);
    free(body);
    buf_free(&head);
    free(long_text);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static enum err embed(const char *text, struct embed_call *call, struct error *error)
{
    json_t *body;
    enum err err = request_parse_object(text, strlen(text), &body, error);
    if (err) return err;
    err = embed_parse(body, strlen(text), &env, call, error);
    json_decref(body);
    return err;
}

static void embeddings_refuse(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{}", I, "/input"},
        {"{\"input\":\"\"}", I, "/input"},
        {"{\"input\":[]}", I, "/input"},
        {"{\"input\":7}", I, "/input"},
        {"{\"input\":[\"a\",\"\"]}", I, "/input/1"},
        {"{\"input\":[\"a\",1]}", I, "/input/1"},
        {"{\"input\":[1,\"a\"]}", I, "/input/1"},
        {"{\"input\":[[1],[]]}", I, "/input/1"},
        {"{\"input\":[[1],[-1]]}", I, "/input/1/0"},
        {"{\"input\":[null]}", I, "/input/0"},
        {"{\"input\":\"a\",\"encoding_format\":\"hex\"}", I, "/encoding_format"},
        {"{\"input\":\"a\",\"encoding_format\":1}", I, "/encoding_format"},
        {"{\"input\":\"a\",\"dimensions\":0}", I, "/dimensions"},
        {"{\"input\":\"a\",\"dimensions\":1.5}", I, "/dimensions"},
        {"{\"input\":\"a\",\"priority\":200}", I, "/priority"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct embed_call call;
        struct error error = {0};
        enum err err = embed(cases[i].body, &call, &error);
        if (err != cases[i].code || strcmp(error.param, cases[i].param) != 0)
            fail_msg("%s gave %s at \"%s\": %s", cases[i].body, err_name(err), error.param,
                     error.msg);
    }
    char *body = repeat("{\"input\":[", "\"a\"", 2049, "]}");
    struct embed_call call;
    struct error error;
    assert_int_equal(embed(body, &call, &error), ERR_INVALID);
    free(body);
}

static void embeddings_read(void **state)
{
    (void)state;
    struct embed_call call;
    struct error error;
    assert_int_equal(
        embed("{\"input\":\"caf\\u00e9\",\"model\":\"e\",\"encoding_format\":\"base64\","
              "\"dimensions\":4,\"user\":\"u\"}",
              &call, &error),
        OK);
    assert_true(call.base64);
    assert_int_equal(call.dimensions, 4);
    assert_int_equal(call.request->n_inputs, 1);
    assert_string_equal(call.request->inputs[0].text, "caf\xC3\xA9");
    assert_int_equal(call.request->inputs[0].text_len, 5);
    assert_string_equal(call.request->model, "e");
    assert_int_equal(call.request->priority, 50);
    arena_free(call.request->arena);

    assert_int_equal(embed("{\"input\":[5,6]}", &call, &error), OK);
    assert_int_equal(call.request->n_inputs, 1);
    assert_null(call.request->inputs[0].text);
    assert_int_equal(call.request->inputs[0].tokens[1], 6);
    arena_free(call.request->arena);

    assert_int_equal(embed("{\"input\":[[5],[6,7],[8]]}", &call, &error), OK);
    assert_int_equal(call.request->n_inputs, 3);
    assert_int_equal(call.request->inputs[1].n_tokens, 2);
    arena_free(call.request->arena);

    char *body = repeat("{\"input\":[", "\"a\"", 2048, "]}");
    assert_int_equal(embed(body, &call, &error), OK);
    assert_int_equal(call.request->n_inputs, 2048);
    arena_free(call.request->arena);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_refuses_bodies),
        cmocka_unit_test(chat_takes_images),
        cmocka_unit_test(requests_say_who_answers),
        cmocka_unit_test(chat_refuses_messages),
        cmocka_unit_test(chat_refuses_members),
        cmocka_unit_test(chat_refuses_formats_and_tools),
        cmocka_unit_test(chat_defaults),
        cmocka_unit_test(chat_reads_everything),
        cmocka_unit_test(null_means_absent),
        cmocka_unit_test(chat_messages),
        cmocka_unit_test(chat_tools),
        cmocka_unit_test(chat_formats),
        cmocka_unit_test(chat_reasoning),
        cmocka_unit_test(seeds),
        cmocka_unit_test(priority_from_the_header),
        cmocka_unit_test(completions_refuse),
        cmocka_unit_test(completions_read_prompts),
        cmocka_unit_test(limits),
        cmocka_unit_test(prompts_share_one_budget),
        cmocka_unit_test(embeddings_refuse),
        cmocka_unit_test(embeddings_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
