/* Incremental parsing of answers.
 *
 * The library's parser takes the whole text every time, so parsing at each token is quadratic
 * (llama-server does it). Two things bound it here:
 *   - PLAIN: once nothing but content can follow (no tools, and the reasoning, if any, is over)
 *     text is passed through without parsing. Whether that is so is asked from the parser itself,
 *     with a probe that holds what formats use as markers.
 *   - Else a parse that took d is followed by a pause of 10 d, so that parsing takes at most about
 *     a tenth of the time, while tool arguments still arrive within milliseconds: an answer of
 *     10 KB parses in about a millisecond. The last call always parses.
 *
 * What was sent is never taken back. If a later parse contradicts it, or the text does not parse at
 * all, the parser is LOST: what was not sent yet comes as plain text, so nothing is missing.
 *
 *   PARSING --probe passed--> PLAIN      PARSING --contradiction, no parse--> LOST */
#include "shim_int.hpp"

#include <algorithm>
#include <cstring>

extern "C" {
#include "base/clock.h"
#include "base/id.h"
}

enum class parse_mode { parsing, plain, lost };

struct call_state {
    std::string id, name;
    size_t arguments_sent = 0;
    bool header_sent = false;
};

struct shim_parser {
    std::shared_ptr<const chat_state> chat;
    parse_mode mode = parse_mode::parsing;
    std::string text;               /* all of the answer while PARSING */
    size_t parsed = 0;              /* of it, at the last parse that worked */
    std::string reasoning, content; /* sent so far */
    std::string arguments;          /* of the call under way, sent so far */
    std::vector<call_state> calls;
    int64_t next_parse_ns = 0;
    size_t probed = 0; /* length of the text at the last probe */
};

static const char PROBE[] = "a <b>{\"name\": [1]}</b>\n\n```json\n{}\n``` <tool_call> [TOOL_CALLS] "
                            "<think>t</think> <|x|> \n ";

static common_chat_msg parse(const chat_state &chat, const std::string &text, bool partial)
{
    return common_chat_parse(text, partial, chat.form->parser);
}

/* Whether all text from here on would be content as it is. */
static bool only_content_follows(const chat_state &chat, const std::string &text,
                                 const common_chat_msg &now)
{
    if (chat.form->tools) return false;
    try {
        common_chat_msg then = parse(chat, text + PROBE, true);
        return then.tool_calls.empty() && then.reasoning_content == now.reasoning_content &&
               then.content == now.content + PROBE;
    } catch (const std::exception &) {
        return false;
    }
}

/* Whether a whole answer would be content as it is, whatever it begins with. */
static bool only_content_comes(const chat_state &chat)
{
    const common_chat_params &p = chat.form->params;
    bool reasoning = chat.form->parser.reasoning_format != COMMON_REASONING_FORMAT_NONE;
    if (reasoning && (p.supports_thinking || !p.thinking_end_tags.empty())) return false;
    for (const char *start : {"", "<think>t</think>"}) {
        common_chat_msg now;
        now.content = start;
        if (!only_content_follows(chat, start, now)) return false;
    }
    return true;
}

extern "C" enum err shim_parser_new(const struct shim_chat *c, struct shim_parser **out,
                                    struct error *error)
{
    return shim_guarded(error, ERR_ENGINE, [&] {
        auto ps = std::make_unique<shim_parser>();
        ps->chat = c->state;
        if (!c->state->parse) {
            ps->mode = parse_mode::plain;
        } else if (c->state->continues) { /* what the message holds already is not sent again */
            common_chat_msg start = parse(*c->state, "", true);
            ps->content = start.content;
            ps->reasoning = start.reasoning_content;
        } else if (only_content_comes(*c->state)) {
            ps->mode = parse_mode::plain;
        }
        *out = ps.release();
        return OK;
    });
}

extern "C" void shim_parser_free(struct shim_parser *ps)
{
    delete ps;
}

/* ---- deltas -------------------------------------------------------------------------------- */

/* Sends what `now` has more than `sent`. False when it contradicts what was sent. */
static bool send_text(enum engine_delta_type type, std::string &sent, const std::string &now,
                      struct delta_list *out)
{
    if (now.compare(0, sent.size(), sent) != 0)
        return sent.compare(0, now.size(), now) == 0; /* shorter for a moment is no harm */
    delta_text(out, type, now.data() + sent.size(), now.size() - sent.size());
    sent = now;
    return true;
}

/* A name is certain when arguments follow, or another call, or nothing any more. */
static bool send_call(shim_parser *ps, const common_chat_tool_call &call, size_t i, bool complete,
                      struct delta_list *out)
{
    if (i == ps->calls.size()) {
        char id[32];
        id_make(id, sizeof id, "call_");
        ps->calls.push_back({call.id.empty() ? id : call.id, call.name});
        ps->arguments.clear();
    }
    call_state &s = ps->calls[i];
    if (!s.header_sent) {
        if (call.name.empty() || (call.arguments.empty() && !complete)) return true;
        s.name = call.name;
        if (!call.id.empty()) s.id = call.id;
        delta_tool(out, (int32_t)i, s.id.c_str(), s.name.c_str(), "", 0);
        s.header_sent = true;
    }
    if (s.name != call.name) return false;
    if (i + 1 < ps->calls.size()) return call.arguments.size() == s.arguments_sent;
    const std::string &sent = ps->arguments, &now = call.arguments;
    if (now.compare(0, sent.size(), sent) != 0) return sent.compare(0, now.size(), now) == 0;
    if (now.size() > sent.size())
        delta_tool(out, (int32_t)i, nullptr, nullptr, now.data() + sent.size(),
                   now.size() - sent.size());
    ps->arguments = now;
    s.arguments_sent = now.size();
    return true;
}

static bool send_message(shim_parser *ps, const common_chat_msg &msg, bool final,
                         struct delta_list *out)
{
    /* What is left of the open call goes before what follows it. */
    size_t begun = ps->calls.size();
    if (begun && msg.tool_calls.size() >= begun &&
        !send_call(ps, msg.tool_calls[begun - 1], begun - 1, final || begun < msg.tool_calls.size(),
                   out))
        return false;
    if (!send_text(DELTA_REASONING, ps->reasoning, msg.reasoning_content, out)) return false;
    if (!send_text(DELTA_TEXT, ps->content, msg.content, out)) return false;
    if (msg.tool_calls.size() < ps->calls.size()) return !final;
    size_t first = ps->calls.empty() ? 0 : ps->calls.size() - 1;
    for (size_t i = first; i < msg.tool_calls.size(); i++) {
        bool complete = final || i + 1 < msg.tool_calls.size();
        if (!send_call(ps, msg.tool_calls[i], i, complete, out)) return false;
    }
    return true;
}

/* ---- feeding -------------------------------------------------------------------------------- */

/* What can't be parsed becomes text: all of it if nothing was sent yet, else what came after the
 * last parse that worked. */
static void lose(shim_parser *ps, struct delta_list *out)
{
    bool nothing_sent = ps->content.empty() && ps->reasoning.empty() && ps->calls.empty();
    bool only_text = ps->reasoning.empty() && ps->calls.empty() &&
                     ps->text.compare(0, ps->content.size(), ps->content) == 0;
    size_t from = nothing_sent ? 0 : only_text ? ps->content.size() : ps->parsed;
    delta_text(out, DELTA_TEXT, ps->text.data() + from, ps->text.size() - from);
    ps->text.clear();
    ps->mode = parse_mode::lost;
}

/* PLAIN from here on? Asked once per doubling of the text, as the question costs a parse. */
static void try_plain(shim_parser *ps, const common_chat_msg &msg)
{
    if (ps->chat->form->tools || msg.content.empty() || ps->text.size() < 2 * ps->probed) return;
    ps->probed = ps->text.size();
    if (!only_content_follows(*ps->chat, ps->text, msg)) return;
    ps->mode = parse_mode::plain;
    ps->text.clear();
}

/* The library accepts an unfinished mark of a call at the end and drops it; here it is text. */
static void send_rest(shim_parser *ps, const common_chat_msg &msg, struct delta_list *out)
{
    if (!msg.tool_calls.empty() || !msg.reasoning_content.empty()) return;
    if (ps->text.compare(0, msg.content.size(), msg.content) != 0) return;
    if (ps->text.find_first_not_of(" \t\r\n", msg.content.size()) == std::string::npos) return;
    delta_text(out, DELTA_TEXT, ps->text.data() + msg.content.size(),
               ps->text.size() - msg.content.size());
}

static void parse_all(shim_parser *ps, bool final, struct delta_list *out)
{
    common_chat_msg msg;
    int64_t start = clock_mono_ns();
    try {
        msg = parse(*ps->chat, ps->text, !final);
    } catch (const std::exception &) {
        if (final) lose(ps, out);
        return; /* in the middle it may still become something */
    }
    bool agrees = send_message(ps, msg, final, out);
    if (!agrees) {
        lose(ps, out);
        return;
    }
    ps->parsed = ps->text.size();
    if (final)
        send_rest(ps, msg, out);
    else
        try_plain(ps, msg);
    int64_t now = clock_mono_ns();
    ps->next_parse_ns = now + 10 * (now - start);
}

extern "C" enum err shim_parser_feed(struct shim_parser *ps, const char *text, size_t len,
                                     bool final, struct delta_list *out, struct error *error)
{
    return shim_guarded(error, ERR_ENGINE, [&] {
        if (ps->mode != parse_mode::parsing) {
            delta_text(out, DELTA_TEXT, text, len);
            return OK;
        }
        ps->text.append(text, len);
        if (!final && (!len || clock_mono_ns() < ps->next_parse_ns)) return OK;
        parse_all(ps, final, out);
        return OK;
    });
}
