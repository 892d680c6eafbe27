/* Every object of the hub's own surface, once: see fields.h for what a column means. */
#include "api/hub/hub_int.h"
#include "api/tables.h"

#define INT_OR_NULL NULLABLE("integer")
#define NUM_OR_NULL NULLABLE("number")
#define STR_OR_NULL NULLABLE("string")

/* clang-format off */

static const struct field health_fields[] = {
    W("status", STR, CONST_OF("healthy"), "healthy: it answers."),
    W("version", STR, NULL, "The hub's."),
    W("model", STR, STR_OR_NULL, "The first chat model in memory or on its way there."),
    W("model_state", STR, WORDS("\"none\",\"loading\",\"ready\",\"failed\",\"quarantined\""), "Its state."),
    W("load_progress", NUM, NULL, "0 to 1 while it loads."),
    W("adapter", STR, STR_OR_NULL, "The adapter of requests that name none; \"base\" is none."),
    W_OPT("adapter_error", STR, NULL, "Only when the one that was chosen for them can't be used any more: why. They get none."),
    W("uptime_s", INT, NULL, "Seconds since the start."),
    W("running", INT, NULL, "Requests that are being computed."),
    W("waiting", INT, NULL, "Requests that wait, for a model or in the queue."),
    END};

/* ---- the queue ----------------------------------------------------------------------------- */

static const struct field queue_fields[] = {
    W("depth", INT, NULL, "Requests that wait: in a queue, or for their model to be loaded."),
    W("capacity", INT, NULL, "Most of them; more are refused with 429."),
    W("running", INT, NULL, "Requests that are being computed."),
    W("waiting", INT, NULL, "The same."),
    W("oldest_wait_ms", INT, NULL, "How long the first one has waited."),
    W_OPT("promotions", INT, NULL, "How often waiting has raised a priority, since the start."),
    W_OPT("pauses", INT, NULL, "How often a request made room for a more important one, since the start."),
    W("rejected", INT, NULL, "Refused, since the start."),
    W_OPT("by_priority", ARR, LIST("{\"type\":\"object\",\"properties\":{\"priority\":{\"type\":\"integer\"},\"waiting\":{\"type\":\"integer\"}}}"), "Those that wait, by the priority they came with."),
    W_OPT("tenants", INT, NULL, "Tenants with requests that wait."),
    W_OPT("models", ARR, LIST(REF("QueueModel")), "Model by model."),
    END};

static const struct field queue_model_fields[] = {
    W("id", STR, NULL, "The model."),
    W("running", INT, NULL, "Requests that it is computing."),
    W("waiting", INT, NULL, "Requests that wait for it."),
    W_OPT("tokens_per_second", NUM, NULL, "What it generates now, all requests together."),
    W_OPT("wait_estimate_ms", INT, INT_OR_NULL, "How long a request that came now would wait."),
    END};

static const struct field cache_tier_fields[] = {
    W("entries", INT, NULL, "Prefixes."),
    W("bytes", INT, NULL, "What they take."),
    W("limit", INT, NULL, "The most they may take."),
    W("hits", INT, NULL, "Requests that took one, since the start."),
    END};

static const struct field cache_fields[] = {
    W("memory", OBJ, REF("CacheTier"), "In memory."),
    W("disk", OBJ, REF("CacheTier"), "On disk."),
    W_OPT("sequence_hits", INT, NULL, "Requests that went on from a sequence that was still in a model's context, since the start."),
    W("misses", INT, NULL, "Requests that found nothing, since the start."),
    W_OPT("evictions", INT, NULL, "Prefixes that had to make room, since the start."),
    W_OPT("corrupt", INT, NULL, "Files that were damaged and dropped, since the start."),
    END};

/* ---- requests ------------------------------------------------------------------------------ */

static const struct field request_usage_fields[] = {
    W("prompt_tokens", INT, NULL, "Known from the start of its work."),
    W("cached_tokens", INT, NULL, "Of those, found in the cache."),
    W("completion_tokens", INT, NULL, "Generated, so far."),
    W("reasoning_tokens", INT, NULL, "Of those, spent on thinking; known at the end."),
    END};

static const struct field request_cache_fields[] = {
    W("source", STR, WORDS("\"none\",\"sequence\",\"memory\",\"disk\""), "Where the cached tokens came from: nowhere, another sequence in the context, the cache's memory or its folder."),
    W("cached_tokens", INT, NULL, "How many."),
    W("miss", STR, STR_OR_NULL, "Why not more: the first token that differed from the closest prefix, and the text around it."),
    END};

static const struct field request_timings_fields[] = {
    W("load_ms", NUM, NULL, "Waited for its model to be loaded."),
    W("queue_ms", NUM, NULL, "Waited in the queue; so far."),
    W("prefill_ms", NUM, NUM_OR_NULL, "Computing the prompt."),
    W("first_token_ms", NUM, NUM_OR_NULL, "From its arrival to its first token."),
    W("decode_ms", NUM, NUM_OR_NULL, "Generating."),
    W("paused_ms", NUM, NULL, "While others went first."),
    W("pauses", INT, NULL, "How often."),
    W("total_ms", NUM, NULL, "From its arrival to its end, or until now."),
    W("prefill_per_second", NUM, NUM_OR_NULL, "Prompt tokens a second."),
    W("decode_per_second", NUM, NUM_OR_NULL, "Generated tokens a second."),
    END};

static const struct field request_fields[] = {
    W("id", STR, NULL, "The request's id (X-Request-Id); of a call with several prompts the later ones end with .2, .3, ..."),
    W("object", STR, CONST_OF("request"), "request"),
    W("kind", STR, WORDS("\"chat\",\"completion\",\"embedding\",\"rerank\""), "What was asked for."),
    W("state", STR, WORDS("\"preparing\",\"loading\",\"waiting\",\"prefilling\",\"decoding\",\"paused\",\"done\",\"failed\",\"cancelled\""), "Where it is."),
    W("arrived", STR, "{\"type\":\"string\",\"format\":\"date-time\"}", "When."),
    W("model", STR, STR_OR_NULL, "The model that answers, once it is known."),
    W("requested_model", STR, NULL, "The model as the client named it."),
    W("provider", STR, STR_OR_NULL, "Who answers: \"local\" or the name of a provider elsewhere; null until it is known."),
    W("remote", BOOL, NULL, "Whether it was sent to somebody outside this machine."),
    W("route_reason", STR, STR_OR_NULL, "Why that one, and who was tried before."),
    W("attempts", INT, NULL, "How many were asked."),
    W("adapter", STR, STR_OR_NULL, "The adapter in use."),
    W("tenant", STR, NULL, "Whose it is."),
    W("priority", INT, NULL, "As asked for."),
    W_OPT("n", INT, NULL, "Answers, of chats and completions."),
    W_OPT("inputs", INT, NULL, "Inputs, of embeddings and reranks."),
    W_OPT("load_progress", NUM, NULL, "While its model is loading: 0 to 1."),
    W_OPT("waits_for", STR, STR_OR_NULL, "While its model is loading: the model that has to finish first, so that there is room."),
    W_OPT("position", INT, NULL, "While it waits: how many are before it."),
    W_OPT("wait_estimate_ms", INT, INT_OR_NULL, "While it waits: how long it will, about."),
    W("usage", OBJ, REF("RequestUsage"), "Tokens."),
    W("cache", JSON, "{\"oneOf\":[" REF("RequestCache") ",{\"type\":\"null\"}]}", "What the prefix cache gave; null until it started."),
    W("timings", OBJ, REF("RequestTimings"), "Where the time went."),
    W("bytes_written", INT, NULL, "Sent to the client."),
    W("finish_reason", STR, STR_OR_NULL, "As in the answer."),
    W("cancelled_by", STR, "{\"type\":[\"string\",\"null\"],\"enum\":[\"client\",\"call\",\"hub\",\"shutdown\",\"deadline\",\"worker\",null]}", "Who ended it early: its client closed the connection, a call of the cancel endpoint, the hub (another part of the same call failed), a shutdown, its own deadline, the end of the process that ran its model."),
    W("error", OBJ, "{\"type\":[\"object\",\"null\"],\"properties\":{\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"}}}", "What it failed with."),
    END};

static const struct field request_list_fields[] = {
    W("object", STR, CONST_OF("list"), "list"),
    W("data", ARR, LIST(REF("RequestRecord")), "Those under way, then those that ended; the newest first."),
    END};

/* ---- models -------------------------------------------------------------------------------- */

#define KEEP_ALIVE "{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"string\"}]}"

#define S load_fields
const struct field load_fields[] = {
    R("keep_alive", JSON, 0, 0, 0, KEEP_ALIVE, keep_alive, "How long it stays in memory after its last request: a duration (\"5m\"), seconds, -1 for ever, 0 not at all. Absent: the setting."),
    R("wait", BOOL, 0, 0, 0, NULL, wait, "Answer when it is loaded (absent: true), or at once."),
    R("force", BOOL, 0, 0, 0, NULL, force, "Also a model that is in quarantine because it ended the model worker several times (absent: false)."),
    END};
#undef S

#define S plan_fields
const struct field plan_fields[] = {
    R("model", STR, 0, 0, 0, NULL, model, "The model; absent or \"\" is the default one."),
    R("context", INT, 0, 1, TOKENS_MAX, NULL, context, "Tokens of context of one request; absent: as configured."),
    END};
#undef S

#define S adapter_load_fields
const struct field adapter_load_fields[] = {
    R("adapter_name", STR, REQ, 0, 0, NULL, name, "A name of GET /adapters; \"default\" is the one that lies directly in the folder; \"base\" or \"none\" is none."),
    R("scale", NUM, 0, -100, 100, NULL, scale, "How strongly it works; absent: 1, as it was trained."),
    END};
#undef S

static const struct field memory_fields[] = {
    W("weights", INT, NULL, "Bytes of the weights."),
    W("kv", INT, NULL, "Bytes of the KV cache."),
    W("compute", INT, NULL, "Bytes to compute in."),
    W("total", INT, NULL, "Their sum."),
    W_OPT("bound", BOOL, NULL, "While it is loaded: it takes no more than that; how much is known afterwards."),
    END};

static const struct field load_answer_fields[] = {
    W("model", STR, NULL, "The model's id."),
    W("state", STR, NULL, "Its state now."),
    W_OPT("memory", OBJ, REF("ModelMemory"), "What it takes."),
    W_OPT("evicted", ARR, LIST("{\"type\":\"string\"}"), "Models that had to go for it."),
    END};

static const struct field plan_answer_fields[] = {
    W("model", STR, NULL, "The model's id."),
    W("fits", BOOL, NULL, "Whether it can be loaded."),
    W_OPT("waits", BOOL, NULL, "Whether it has to wait until others have ended their work."),
    W_OPT("context", INT, NULL, "Tokens of context of one request."),
    W("needs", OBJ, REF("ModelMemory"), "What it would take."),
    W("budget", INT, NULL, "Bytes that all models together may take (the setting HEARTH_MEMORY)."),
    W("used", INT, NULL, "Bytes that they take now."),
    W("free", INT, NULL, "The rest."),
    W("evict", ARR, LIST("{\"type\":\"string\"}"), "Models that would have to go."),
    W("reason", STR, STR_OR_NULL, "In words."),
    END};

static const struct field adapter_fields[] = {
    W("name", STR, NULL, "The name to use as `adapter`."),
    W("loaded", BOOL, NULL, "Whether it is in memory."),
    W_OPT("rank", INT, INT_OR_NULL, "Its rank."),
    W_OPT("alpha", NUM, NUM_OR_NULL, "Its alpha."),
    W_OPT("bytes", INT, NULL, "Size of its file."),
    W_OPT("architecture", STR, NULL, "Architecture of the models that it fits."),
    W_OPT("builtin", BOOL, NULL, "It came with the hub."),
    W_OPT("model", STR, STR_OR_NULL, "The model that it was made for."),
    W_OPT("models", ARR, LIST("{\"type\":\"string\"}"), "Models that it fits; `<model>:<adapter>` names the two."),
    W_OPT("error", STR, STR_OR_NULL, "Why it can't be used."),
    END};

static const struct field adapter_list_fields[] = {
    W("current", STR, NULL, "The adapter of requests that name none; \"base\" is none."),
    W_OPT("current_error", STR, NULL, "Only when the one that was chosen for them can't be used any more: why. They get none."),
    W("adapters", ARR, LIST(REF("Adapter")), "Those in the adapters folder."),
    END};

static const struct field adapter_load_answer_fields[] = {
    W("adapter", STR, NULL, "The adapter of requests that name none, from now on; \"base\" is none."),
    END};

const struct schema hub_schemas[] = {
    {"Health", "State of the hub.", health_fields, NULL},
    {"Queue", "State of the queue.", queue_fields, NULL},
    {"QueueModel", "One model's share of the queue.", queue_model_fields, NULL},
    {"Cache", "State of the prefix cache.", cache_fields, NULL},
    {"CacheTier", "One tier of the prefix cache.", cache_tier_fields, NULL},
    {"RequestList", "Requests.", request_list_fields, NULL},
    {"RequestRecord", "What one request went through.", request_fields, NULL},
    {"RequestUsage", "Tokens of a request.", request_usage_fields, NULL},
    {"RequestCache", "What the prefix cache gave a request.", request_cache_fields, NULL},
    {"RequestTimings", "Where a request's time went.", request_timings_fields, NULL},
    {"LoadRequest", "How to load a model; may be empty.", load_fields, NULL},
    {"LoadAnswer", "A model that was loaded or unloaded.", load_answer_fields, NULL},
    {"ModelMemory", "What a model takes.", memory_fields, NULL},
    {"PlanRequest", "What to load.", plan_fields, NULL},
    {"Plan", "Whether it would fit.", plan_answer_fields, NULL},
    {"AdapterList", "All adapters.", adapter_list_fields, NULL},
    {"Adapter", "A LoRA adapter.", adapter_fields, NULL},
    {"AdapterLoadRequest", "Which adapter to use.", adapter_load_fields, NULL},
    {"AdapterLoadAnswer", "The adapter in use.", adapter_load_answer_fields, NULL},
    {NULL, NULL, NULL, NULL}};
