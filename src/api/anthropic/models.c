/* What Anthropic's clients read of a model in GET /v1/models, the list that serves OpenAI's, too
 * (openai/models.c): the members of ModelInfo and BetaModelInfo in @anthropic-ai/sdk that are not
 * there anyway. It says what the model can do at POST /v1/messages of this hub, so that an
 * embedding model can do nothing, and what the hub itself has not (batches of messages, citations,
 * PDF, tools that a server runs) no model can. */
#include "api/anthropic/anthropic.h"

static void put_support(struct jw *w, const char *name, bool supported)
{
    jw_key(w, name);
    jw_obj(w);
    jw_kbool(w, "supported", supported);
    jw_obj_end(w);
}

static void put_compaction(struct jw *w)
{
    jw_key(w, "compaction");
    jw_obj(w);
    put_support(w, "summarize", false);
    jw_kbool(w, "supported", false);
    jw_obj_end(w);
}

/* Accepted in a request, without effect. */
static void put_context_management(struct jw *w)
{
    jw_key(w, "context_management");
    jw_obj(w);
    put_support(w, "clear_thinking_20251015", false);
    put_support(w, "clear_tool_uses_20250919", false);
    put_support(w, "compact_20260112", false);
    jw_kbool(w, "supported", false);
    jw_obj_end(w);
}

/* Of the five steps, the three that templates know; the others are taken for `high`. */
static void put_effort(struct jw *w, bool effort)
{
    jw_key(w, "effort");
    jw_obj(w);
    put_support(w, "high", effort);
    put_support(w, "low", effort);
    put_support(w, "max", false);
    put_support(w, "medium", effort);
    jw_kbool(w, "supported", effort);
    put_support(w, "xhigh", false);
    jw_obj_end(w);
}

static void put_server_tools(struct jw *w)
{
    jw_key(w, "server_tools");
    jw_obj(w);
    put_support(w, "code_execution", false);
    jw_kbool(w, "supported", false);
    put_support(w, "web_search", false);
    jw_obj_end(w);
}

/* A model that can't think may be told not to, as there. */
static void put_thinking(struct jw *w, bool chat, bool thinks)
{
    jw_key(w, "thinking");
    jw_obj(w);
    jw_kbool(w, "supported", thinks);
    jw_key(w, "types");
    jw_obj(w);
    put_support(w, "adaptive", thinks);
    put_support(w, "between_tools", chat);
    put_support(w, "disabled", chat);
    put_support(w, "enabled", thinks);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void put_capabilities(struct jw *w, const struct model_info *m)
{
    bool chat = m->kind == MODEL_CHAT;
    jw_key(w, "capabilities");
    jw_obj(w);
    put_support(w, "batch", false);
    put_support(w, "citations", false);
    put_support(w, "code_execution", false);
    put_compaction(w);
    put_context_management(w);
    put_effort(w, chat && m->has_effort);
    put_support(w, "image_input", false); /* nor can any model on this machine */
    put_support(w, "pdf_input", false);
    put_server_tools(w);
    put_support(w, "structured_outputs", chat);
    put_thinking(w, chat, chat && m->has_thinking);
    jw_obj_end(w);
}

static void put_tokens(struct jw *w, const char *name, int64_t n)
{
    if (n > 0)
        jw_kint(w, name, n);
    else
        jw_knull(w, name);
}

void anthropic_put_model(struct jw *w, const struct model_info *m, int64_t context)
{
    put_capabilities(w, m);
    jw_key(w, "allowed_fallback_models");
    jw_arr(w);
    jw_arr_end(w);
    jw_knull(w, "deprecated_at");
    jw_kstr(w, "lifecycle", "active");
    jw_knull(w, "line");
    put_tokens(w, "max_input_tokens", context);
    put_tokens(w, "max_tokens", m->kind == MODEL_CHAT ? context : 0);
    jw_knull(w, "retires_at");
}
