/* Every setting, once. Help, `hearth config`, docs/configuration.md and .env.example come from it.
 *
 * X(id, name, type, default, min, max, unit, section, help)
 *   type: STRING, PATH (expanded: "~/", and relative to the working folder), SECRET (never shown),
 *         INT, REAL, BOOL, BYTES ("16M"), MS (milliseconds; "5s" and "2m" are accepted too).
 *         An empty value of the last five means: not set here.
 *   min, max: of numbers, in the unit; 0, 0 = not checked
 *   section: of the generated documentation; "later" = known, but used by a part that is not built
 *
 * Names that other apps use (../shared contracts) are the primary name where they exist; further
 * names of the same setting are in CONFIG_ALIASES below. */
#ifndef HEARTH_BASE_CONFIG_KEYS_H
#define HEARTH_BASE_CONFIG_KEYS_H

/* clang-format off */
#define CONFIG_KEYS(X) \
    X(HOST, "HOST", STRING, "127.0.0.1", 0, 0, "", "server", "Address to listen on.") \
    X(PORT, "PORT", INT, "8000", 0, 65535, "", "server", "Port to listen on; 0 takes any free one.") \
    X(OLLAMA_PORT, "HEARTH_OLLAMA_PORT", STRING, "", 0, 0, "", "server", "A second port to listen on, for clients that look for Ollama there: 11434, or another one; empty is none.") \
    X(ALLOWED_ORIGINS, "ALLOWED_ORIGINS", STRING, "http://localhost:3000,http://localhost:5173,http://localhost:8000,http://127.0.0.1:8000", 0, 0, "", "server", "Origins of web pages that may call the API: a comma-separated list, or * for any (then without credentials).") \
    X(TRUSTED_PROXIES, "HEARTH_TRUSTED_PROXIES", STRING, "", 0, 0, "", "server", "Reverse proxies whose X-Forwarded-For is believed, for the log and for throttling logins: a comma-separated list of addresses or networks, like 127.0.0.1,10.0.0.0/8.") \
    X(MAX_CONNECTIONS, "HEARTH_MAX_CONNECTIONS", INT, "10000", 16, 1000000, "", "server", "Most open client connections.") \
    X(MAX_BODY, "HEARTH_MAX_BODY", BYTES, "32M", 1024, 1073741824, "bytes", "server", "Largest request body; more is refused with 413.") \
    X(MAX_HEADERS, "HEARTH_MAX_HEADERS", BYTES, "12K", 2048, 65536, "bytes", "server", "Largest request line and headers together; more is refused with 414 or 431.") \
    X(HEADER_TIMEOUT, "HEARTH_HEADER_TIMEOUT", MS, "10s", 100, 600000, "ms", "server", "Time in which a client must have sent its request line and headers.") \
    X(BODY_TIMEOUT, "HEARTH_BODY_TIMEOUT", MS, "20s", 100, 600000, "ms", "server", "Longest pause within a request's body.") \
    X(IDLE_TIMEOUT, "HEARTH_IDLE_TIMEOUT", MS, "75s", 100, 86400000, "ms", "server", "How long a keep-alive connection may be idle.") \
    X(PING_INTERVAL, "HEARTH_PING_INTERVAL", MS, "15s", 50, 600000, "ms", "server", "Pause after which an idle event stream gets a comment, so that proxies keep it open.") \
    X(STREAM_BUFFER, "HEARTH_STREAM_BUFFER", BYTES, "1M", 4096, 268435456, "bytes", "server", "What a slow reader may leave unread before its stream is ended.") \
    X(STOP_GRACE, "HEARTH_STOP_GRACE", MS, "10s", 0, 3600000, "ms", "server", "At shutdown, how long running answers may go on.") \
    X(POOL_THREADS, "HEARTH_THREADS", INT, "4", 1, 256, "", "server", "Threads that run request handlers.") \
    X(LOG_LEVEL, "LOG_LEVEL", STRING, "INFO", 0, 0, "", "log", "The least important lines to log.") \
    X(LOG_FORMAT, "HEARTH_LOG_FORMAT", STRING, "text", 0, 0, "", "log", "How lines are written.") \
    X(LOG_FILE, "HEARTH_LOG_FILE", PATH, "", 0, 0, "", "log", "File to log to; empty is standard error.") \
    X(LOG_SIZE, "HEARTH_LOG_SIZE", BYTES, "64M", 0, 1099511627776, "bytes", "log", "Size from which that file is turned over (renamed to <file>.1, and so on); 0 is never. SIGHUP opens it anew for a logrotate of your own.") \
    X(LOG_AGE, "HEARTH_LOG_AGE", MS, "0", 0, 315360000000, "ms", "log", "Age from which it is turned over, like 24h; 0 is never.") \
    X(LOG_KEEP, "HEARTH_LOG_KEEP", INT, "5", 1, 1000, "", "log", "How many of the older files are kept.") \
    X(DATA_DIR, "HEARTH_DATA", PATH, "", 0, 0, "", "folders", "Data folder; empty is the user's own (~/.local/share/hearth).") \
    X(MODELS_DIR, "HEARTH_MODELS", PATH, "", 0, 0, "", "folders", "Models folder; empty is `models` in the data folder.") \
    X(BUILTIN_DIR, "HEARTH_BUILTIN", PATH, "", 0, 0, "", "folders", "Folder of the built-in models; empty finds it beside the binary.") \
    X(ADAPTERS_DIR, "HEARTH_ADAPTERS", PATH, "", 0, 0, "", "folders", "Folder of LoRA adapters; empty is `adapters` in the data folder.") \
    X(LIB_DIR, "HEARTH_LIB", PATH, "", 0, 0, "", "folders", "Folder of the inference library's CPU variants; empty finds it beside the binary.") \
    X(DEFAULT_MODEL, "DEFAULT_MODEL", STRING, "", 0, 0, "", "models", "Model for requests that name none; empty is the first chat model in the models folder, else the built-in one.") \
    X(DEFAULT_EMBED_MODEL, "HEARTH_EMBED_MODEL", STRING, "", 0, 0, "", "models", "Embedding model for requests that name none; empty is the built-in one.") \
    X(DEFAULT_ADAPTER, "HEARTH_ADAPTER", STRING, "", 0, 0, "", "models", "LoRA adapter for requests that name none, where it fits the model; empty is none.") \
    X(ADAPTERS_KEPT, "HEARTH_ADAPTERS_KEPT", INT, "8", 0, 1000, "", "models", "LoRA adapters of a model that stay in memory while no request uses them.") \
    X(RERANK_MODEL, "RERANKER_MODEL_PATH", STRING, "", 0, 0, "", "models", "Rerank model for requests that name none: a name or a GGUF file; empty is the built-in one.") \
    X(PRELOAD, "HEARTH_PRELOAD", BOOL, "true", 0, 0, "", "models", "Load the default model at start instead of at the first request.") \
    X(PRELOAD_MODELS, "HEARTH_PRELOAD_MODELS", STRING, "", 0, 0, "", "models", "Further models to load at start: a comma-separated list of names, of any kind.") \
    X(MEMORY, "HEARTH_MEMORY", BYTES, "0", 0, 0, "bytes", "models", "Main memory for all models together; 0 is three quarters of what the machine (or its container) has, and never more than is free.") \
    X(KEEP_ALIVE, "HEARTH_KEEP_ALIVE", STRING, "forever", 0, 0, "", "models", "How long a model stays in memory after its last request, where the request does not say it: forever, a time like 5m, or 0, which unloads it the moment no work for it is left.") \
    X(EXCLUSIVE, "HEARTH_EXCLUSIVE", BOOL, "false", 0, 0, "", "models", "One model in memory at a time, for small machines.") \
    X(SWITCH_WAIT, "HEARTH_SWITCH_WAIT", MS, "20s", 0, 86400000, "ms", "models", "How long a request for a model waits at most while others work that leave no room for it, and how long a model that has come may stay before it makes room in turn; what is running is paused and goes on later.") \
    X(OLLAMA_MODELS, "OLLAMA_MODELS", PATH, "", 0, 0, "", "models", "Folder in which an Ollama on this machine keeps its models, for `hearth models import ollama`; empty looks at the usual places.") \
    X(HF_TOKEN, "HF_TOKEN", SECRET, "", 0, 0, "", "models", "Token for gated repositories at Hugging Face.") \
    X(HF_ENDPOINT, "HF_ENDPOINT", STRING, "https://huggingface.co", 0, 0, "", "models", "Where catalogue names and repositories are downloaded from.") \
    X(N_CTX, "LLAMA_CPP_N_CTX", INT, "0", 0, 16777216, "tokens", "engine", "Longest context of a request, prompt and answer; 0 is the model's own, up to 8192.") \
    X(N_PARALLEL, "HEARTH_PARALLEL", INT, "8", 1, 64, "", "engine", "Requests that are decoded together.") \
    X(SHARED_KV, "HEARTH_SHARED_KV", BOOL, "false", 0, 0, "", "engine", "One pool of context for all parallel requests, LLAMA_CPP_N_CTX tokens in all: a single request may use it all, but the more of it is in use the slower is every token.") \
    X(KV_TYPE, "HEARTH_KV_TYPE", STRING, "f16", 0, 0, "", "engine", "What the keys and values of a context are kept as: f16, exactly as the model computes with; q8_0 takes about half the memory and rounds them, so answers may differ in details; auto is q8_0 for models with which `hearth bench` found it as fast, else f16.") \
    X(N_BATCH, "HEARTH_BATCH", INT, "2048", 32, 65536, "tokens", "engine", "Most tokens in one batch.") \
    X(N_UBATCH, "HEARTH_UBATCH", INT, "512", 32, 65536, "tokens", "engine", "Tokens computed at a time within a batch.") \
    X(N_THREADS, "HEARTH_ENGINE_THREADS", INT, "0", 0, 1024, "", "engine", "Threads for inference; 0 is one for each physical core, fewer for a small model.") \
    X(GPU_LAYERS, "LLAMA_CPP_GPU_LAYERS", INT, "-1", -1, 100000, "", "engine", "Layers on the GPU, if there is one; -1 is all that fit.") \
    X(IN_PROCESS, "HEARTH_IN_PROCESS", BOOL, "false", 0, 0, "", "engine", "Run the models in the hub's own process instead of a worker without rights; for debugging.") \
    X(SANDBOX, "HEARTH_SANDBOX", BOOL, "true", 0, 0, "", "engine", "Take the rights of the model worker away: no network, no programs, models read-only. False only where a GPU's driver can't do with that.") \
    X(HANG_TIMEOUT, "HEARTH_HANG_TIMEOUT", MS, "300s", 0, 86400000, "ms", "engine", "A model worker that does not answer for so long, or that is so long in one step of a model (and 30 times as long as in any before), is killed and started again; 0 is never.") \
    X(QUEUE_CAPACITY, "HEARTH_QUEUE_CAPACITY", INT, "1024", 1, 1000000, "", "scheduling", "Most waiting requests; more are refused with 429.") \
    X(DEFAULT_PRIORITY, "HEARTH_PRIORITY", INT, "50", 0, 100, "", "scheduling", "Priority of requests that name none; lower is served first.") \
    X(AGEING, "HEARTH_AGEING", MS, "1s", 0, 86400000, "ms", "scheduling", "Waiting this long raises a request's priority by one; 0 is off.") \
    X(PAUSING, "HEARTH_PAUSING", BOOL, "true", 0, 0, "", "scheduling", "A request that is at least 10 steps of priority more important than a running one may pause it; it goes on later where it stopped.") \
    X(TIME_SLICE, "HEARTH_TIME_SLICE", MS, "10s", 0, 86400000, "ms", "scheduling", "After running this long a request makes way for an equally important one of a tenant that has fewer running, and goes on later; 0 is never.") \
    X(QUEUE_STATUS, "HEARTH_QUEUE_STATUS", MS, "60s", 0, 86400000, "ms", "scheduling", "How often the state of the queue is logged, while there is anything to say; 0 is never.") \
    X(STEP_TARGET, "HEARTH_STEP_TARGET", MS, "500ms", 10, 60000, "ms", "scheduling", "Longest pause between two tokens of a running answer while the prompt of another is read (twice that while three or more prompts wait); shorter is smoother, longer answers newcomers sooner.") \
    X(CONTEXT_OVERFLOW, "HEARTH_CONTEXT_OVERFLOW", STRING, "stop", 0, 0, "", "scheduling", "What happens when an answer fills its context: `stop` ends it with finish_reason `length`; `shift` forgets the older half of what follows the system prompt and goes on.") \
    X(REQUESTS_KEPT, "HEARTH_REQUESTS_KEPT", INT, "1000", 0, 100000, "", "scheduling", "Finished requests that are remembered for `hearth explain` and GET /v1/requests.") \
    X(CACHE_MEMORY, "HEARTH_CACHE_MEMORY", BYTES, "512M", 0, 1099511627776, "bytes", "cache", "Memory for the states of prompts that have left the KV cells, at most an eighth of the machine's; 0 is off.") \
    X(CACHE_DISK, "HEARTH_CACHE_DISK", BYTES, "2G", 0, 1125899906842624, "bytes", "cache", "Size of the folder with states of prompts, which survive a restart; 0 is off.") \
    X(CACHE_DIR, "HEARTH_CACHE_DIR", PATH, "", 0, 0, "", "cache", "That folder; empty is `cache` in the data folder. It holds tokens of prompts: only you should be able to read it.") \
    X(SHARED_PREFIXES, "HEARTH_SHARED_PREFIXES", PATH, "", 0, 0, "", "cache", "System prompts that tenants share, so that one's cached prompt helps another: a text file, or a folder of them. All else is never shared.") \
    X(DEFAULT_MAX_TOKENS, "DEFAULT_MAX_TOKENS", INT, "2048", -1, 16777216, "tokens", "generation", "Longest answer of requests that say nothing; -1 is until the model ends or its context is full.") \
    X(DEFAULT_TEMPERATURE, "DEFAULT_TEMPERATURE", REAL, "0.7", 0, 100, "", "generation", "Temperature of requests that say nothing.") \
    X(DEFAULT_TOP_P, "DEFAULT_TOP_P", REAL, "0.9", 0, 1, "", "generation", "top_p of requests that say nothing.") \
    X(AUTH, "HEARTH_AUTH", STRING, "auto", 0, 0, "", "accounts", "Whether every call needs a user: on; off, for which the hub must listen on this machine only (HOST); auto is on as soon as it listens elsewhere. /api/v1 always needs one.") \
    X(API_KEY, "HEARTH_API_KEY", SECRET, "", 0, 0, "", "accounts", "API key or token that `hearth` itself sends to a hub that asks for one.") \
    X(PRIVACY, "HEARTH_PRIVACY", STRING, "open", 0, 0, "", "privacy", "Who may be asked: open, the providers that are configured, within each request's pins; local, nobody outside of this machine, whatever a request says.") \
    X(CONNECT_LOG, "HEARTH_CONNECT_LOG", PATH, "", 0, 0, "", "privacy", "File that gets a line for every outgoing connection over HTTP, when it is tried; empty is none.") \
    X(USER_REQUESTS_MINUTE, "HEARTH_USER_REQUESTS_PER_MINUTE", INT, "0", 0, 1000000000, "", "accounts", "Requests that compute something, of a user in a minute; 0 is no limit. Here and below: `hearth users quota` makes exceptions.") \
    X(USER_REQUESTS_DAY, "HEARTH_USER_REQUESTS_PER_DAY", INT, "0", 0, 1000000000, "", "accounts", "The same in a day of UTC.") \
    X(USER_TOKENS_MINUTE, "HEARTH_USER_TOKENS_PER_MINUTE", INT, "0", 0, 1000000000000, "tokens", "accounts", "Tokens, read and generated, of a user in a minute; 0 is no limit.") \
    X(USER_TOKENS_DAY, "HEARTH_USER_TOKENS_PER_DAY", INT, "0", 0, 1000000000000, "tokens", "accounts", "The same in a day of UTC.") \
    X(USER_STREAMS, "HEARTH_USER_STREAMS", INT, "0", 0, 1000000, "", "accounts", "Answers that are generated for a user at once; 0 is no limit.") \
    X(USER_STORAGE, "HEARTH_USER_STORAGE", BYTES, "0", 0, 0, "bytes", "accounts", "Space for a user's files; 0 is no limit.") \
    X(USER_BUDGET, "HEARTH_USER_BUDGET", INT, "0", 0, 1000000000, "US cents", "accounts", "What a user's answers of providers with a price may cost in a month of UTC (all requests without a user together are one user); 0 is no limit. Then those providers are left out.") \
    X(DATABASE_URL, "DATABASE_URL", SECRET, "", 0, 0, "", "accounts", "Where conversations and users are kept: postgresql://... (postgresql+asyncpg:// is read as the same); empty is an SQLite file in the data folder.") \
    X(JWT_SECRET_KEY, "JWT_SECRET_KEY", SECRET, "", 0, 0, "", "accounts", "Key that signs the users' tokens; empty makes one and keeps it in the data folder.") \
    X(JWT_ALGORITHM, "JWT_ALGORITHM", STRING, "HS256", 0, 0, "", "accounts", "How the users' tokens are signed.") \
    X(JWT_EXPIRE_MINUTES, "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", INT, "10080", 1, 5256000, "minutes", "accounts", "How long a user's token is valid.") \
    X(REGISTRATION, "HEARTH_REGISTRATION", STRING, "open", 0, 0, "", "accounts", "Who may make an account through the API: anybody, people with an invitation of an admin, or nobody (`hearth users create` always works).") \
    X(EXTRACT_TIME, "HEARTH_EXTRACT_TIME", MS, "60s", 1000, 86400000, "ms", "documents", "Longest time that reading one document may take, without OCR.") \
    X(EXTRACT_MEMORY, "HEARTH_EXTRACT_MEMORY", BYTES, "1G", 134217728, 1099511627776, "bytes", "documents", "Address space that a process which reads a document may use.") \
    X(EXTRACT_TEXT, "HEARTH_EXTRACT_TEXT", BYTES, "64M", 65536, 1073741824, "bytes", "documents", "Longest text that is taken out of one document. Archives (DOCX, EPUB, ...) may unpack to eight times that.") \
    X(OCR, "HEARTH_OCR", BOOL, "true", 0, 0, "", "documents", "Read scanned pages of PDFs through tesseract, if it is installed.") \
    X(OCR_LANGUAGES, "HEARTH_OCR_LANGUAGES", STRING, "eng", 0, 0, "", "documents", "Languages that tesseract reads, like eng+deu; each needs its package (tesseract-ocr-deu).") \
    X(OCR_TIME, "HEARTH_OCR_TIME", MS, "10m", 1000, 604800000, "ms", "documents", "Longest time that reading the scanned pages of one document may take.") \
    X(MAX_FILESIZE_MB, "MAX_FILESIZE_MB", INT, "50", 1, 102400, "MiB", "files", "Largest uploaded file.") \
    X(FILES_DIR, "HEARTH_FILES", PATH, "", 0, 0, "", "files", "Folder of the uploaded files; empty is `files` in the data folder. Hubs that share a database must share it.") \
    X(WATCH, "HEARTH_WATCH", STRING, "", 0, 0, "", "files", "Folders whose files are kept searchable for the first admin, besides those of `hearth add --watch`: a comma-separated list.") \
    X(JOB_THREADS, "HEARTH_JOB_THREADS", INT, "2", 1, 64, "", "files", "Background jobs, such as the indexing of a file, that run at a time.") \
    X(KEEP_ANSWERS, "HEARTH_KEEP_ANSWERS", MS, "30d", 0, 3153600000000, "ms", "kept", "How long responses and stored chat completions are kept; 0 is for good.") \
    X(BACKGROUND_THREADS, "HEARTH_BACKGROUND", INT, "4", 1, 64, "", "kept", "Responses that are answered in the background at a time.") \
    X(BATCH_LINES, "HEARTH_BATCH_LINES", INT, "4", 1, 64, "", "kept", "Requests of a batch that are answered at a time, while nobody else asks for anything.") \
    X(BATCH_PRIORITY, "HEARTH_BATCH_PRIORITY", INT, "100", 0, 100, "", "kept", "Priority of the requests of batches.") \
    X(COLLECTION_NAME, "COLLECTION_NAME", STRING, "documents", 0, 0, "", "files", "Name of the collection that files go to when nothing else is said.") \
    X(HISTORY_DB_URL, "HALA_HISTORY_DB_URL", SECRET, "", 0, 0, "", "later", "Database of the session history: postgresql://...; empty is that of DATABASE_URL.") \
    X(ALEMBIC_DATABASE_URL, "ALEMBIC_DATABASE_URL", SECRET, "", 0, 0, "", "later", "Accepted and ignored: Hearth migrates its database itself.") \
    X(WS_URL, "HALA_WS_URL", STRING, "", 0, 0, "", "later", "Accepted and ignored: clients read it to find the hub.") \
    X(PROVIDERS_FILE, "HEARTH_PROVIDERS", PATH, "", 0, 0, "", "providers", "File that names further providers and routes (docs/providers.md, docs/routing.md); empty is providers.json in the config folder, if it is there.") \
    X(PRICES, "HEARTH_PRICES", PATH, "", 0, 0, "", "providers", "JSON file with prices of models, which replace or add to those that are built in (docs/routing.md).") \
    X(OLLAMA_URL, "EMBEDDINGS_BASEURL", STRING, "http://localhost:11434", 0, 0, "", "providers", "Where Ollama listens. It is asked by itself once this or OLLAMA_CHAT_MODEL is set, and when it is named.") \
    X(OLLAMA_CHAT_MODEL, "OLLAMA_CHAT_MODEL", STRING, "llama3.2:latest", 0, 0, "", "providers", "Chat model to use at Ollama.") \
    X(OLLAMA_EMBED_MODEL, "OLLAMA_EMBED_MODEL", STRING, "nomic-embed-text:latest", 0, 0, "", "providers", "Embedding model to use at Ollama.") \
    X(OPENAI_API_KEY, "OPENAI_API_KEY", SECRET, "", 0, 0, "", "providers", "Key for OpenAI; empty leaves it out.") \
    X(OPENAI_BASE_URL, "OPENAI_BASE_URL", STRING, "", 0, 0, "", "providers", "Where OpenAI's API is; empty is https://api.openai.com/v1.") \
    X(OPENAI_MODEL, "OPENAI_MODEL", STRING, "gpt-4", 0, 0, "", "providers", "Model to use at OpenAI, for hard questions where OPENAI_SMALL_MODEL does for others.") \
    X(OPENAI_SMALL_MODEL, "OPENAI_SMALL_MODEL", STRING, "gpt-4o-mini", 0, 0, "", "providers", "Its small model; empty is OPENAI_MODEL.") \
    X(ANTHROPIC_API_KEY, "ANTHROPIC_API_KEY", SECRET, "", 0, 0, "", "providers", "Key for Anthropic; empty leaves it out.") \
    X(ANTHROPIC_BASE_URL, "ANTHROPIC_BASE_URL", STRING, "", 0, 0, "", "providers", "Where Anthropic's API is; empty is https://api.anthropic.com.") \
    X(ANTHROPIC_MODEL, "ANTHROPIC_MODEL", STRING, "claude-sonnet-4-5", 0, 0, "", "providers", "Model to use at Anthropic.") \
    X(ANTHROPIC_SMALL_MODEL, "ANTHROPIC_SMALL_MODEL", STRING, "claude-haiku-4-5", 0, 0, "", "providers", "Its small model; empty is ANTHROPIC_MODEL.") \
    X(COHERE_API_KEY, "COHERE_API_KEY", SECRET, "", 0, 0, "", "providers", "Key for Cohere; empty leaves it out.") \
    X(COHERE_BASE_URL, "COHERE_BASE_URL", STRING, "", 0, 0, "", "providers", "Where Cohere's API is; empty is https://api.cohere.com.") \
    X(COHERE_MODEL, "COHERE_MODEL", STRING, "command-a-03-2025", 0, 0, "", "providers", "Model to use at Cohere.") \
    X(COHERE_SMALL_MODEL, "COHERE_SMALL_MODEL", STRING, "command-r7b-12-2024", 0, 0, "", "providers", "Its small model; empty is COHERE_MODEL.") \
    X(AIHUB_URL, "AIHUB_URL", STRING, "", 0, 0, "", "providers", "Address of an AI Hub; empty leaves it out.") \
    X(AIHUB_MODEL, "AIHUB_MODEL", STRING, "", 0, 0, "", "providers", "Model to use there; empty is the hub's own default.") \
    X(AIHUB_KEYCLOAK_HOST, "AIHUB_KEYCLOAK_HOST", STRING, "", 0, 0, "", "providers", "Keycloak server that signs in to the AI Hub.") \
    X(AIHUB_KEYCLOAK_REALM, "AIHUB_KEYCLOAK_REALM", STRING, "aihub", 0, 0, "", "providers", "Realm at that server, where AIHUB_KEYCLOAK_HOST does not name it (https://.../realms/<realm>).") \
    X(AIHUB_USERNAME, "AIHUB_USERNAME", STRING, "", 0, 0, "", "providers", "User at the AI Hub.") \
    X(AIHUB_PASSWORD, "AIHUB_PASSWORD", SECRET, "", 0, 0, "", "providers", "Password of that user.") \
    X(AIHUB_CLIENT_ID, "AIHUB_CLIENT_ID", STRING, "", 0, 0, "", "providers", "Client id at that Keycloak server.") \
    X(AIHUB_CLIENT_SECRET, "AIHUB_CLIENT_SECRET", SECRET, "", 0, 0, "", "providers", "Client secret at that Keycloak server.") \
    X(AIHUB_VERIFY_SSL, "AIHUB_VERIFY_SSL", BOOL, "true", 0, 0, "", "providers", "Check the AI Hub's certificate. On by default, because a password is sent there; false only for a server of your own with a self-signed certificate.") \
    X(DEFAULT_MODEL_SOURCE, "DEFAULT_MODEL_SOURCE", STRING, "local", 0, 0, "", "routing", "Who is asked first when a request names no source: a provider's name.") \
    X(LOCAL_DIRECT_LOADING, "LOCAL_DIRECT_LOADING", BOOL, "true", 0, 0, "", "routing", "Ask the hub's own models before Ollama; false asks Ollama first.") \
    X(GOAL, "HEARTH_GOAL", STRING, "balanced", 0, 0, "", "routing", "What matters when a request names neither a model nor a goal: balanced goes by how complex it is, privacy keeps it on this machine, cost takes what costs least (and so what is here first), speed what answers soonest, quality the largest model.") \
    X(REQUEST_LOG, "HEARTH_REQUEST_LOG", STRING, "all", 0, 0, "", "routing", "Which requests get a row in the database's log (who answered, tokens, times, cost, what left the machine; no word of what was said): all, remote (those that left the machine or cost something), or off.") \
    X(REQUEST_LOG_DAYS, "HEARTH_REQUEST_LOG_DAYS", INT, "90", 0, 36500, "days", "routing", "How long those rows are kept; 0 is for ever.") \
    X(COMPLEXITY_LOW, "HEARTH_COMPLEXITY_LOW", REAL, "0.3", 0, 1, "", "routing", "Requests whose complexity is below this get a small model.") \
    X(COMPLEXITY_HIGH, "HEARTH_COMPLEXITY_HIGH", REAL, "0.7", 0, 1, "", "routing", "Above this they get a large one, between the two a middle one.") \
    X(CLASSIFY, "HEARTH_CLASSIFY", BOOL, "false", 0, 0, "", "routing", "Ask the local model that is in memory whether a request is for a small, middle or large model, where that decides who answers; without an answer in time the features' score decides.") \
    X(CLASSIFY_TIMEOUT, "HEARTH_CLASSIFY_TIMEOUT", MS, "1s", 10, 60000, "ms", "routing", "How long that may take.") \
    X(CHUNK_SIZE, "CHUNK_SIZE", INT, "2000", 100, 1000000, "", "retrieval", "Longest piece that files are cut into for searching, in characters or as HEARTH_CHUNK_UNIT says.") \
    X(CHUNK_OVERLAP, "CHUNK_OVERLAP", INT, "400", 0, 500000, "", "retrieval", "How much neighbouring pieces may share; at most half of CHUNK_SIZE.") \
    X(CHUNK_UNIT, "HEARTH_CHUNK_UNIT", STRING, "characters", 0, 0, "", "retrieval", "What CHUNK_SIZE and CHUNK_OVERLAP count: characters, or tokens (estimated).") \
    X(RAG_RESULTS, "HEARTH_RAG_RESULTS", INT, "6", 1, 50, "", "retrieval", "Passages that an answer may use, if its model's context has room for them.") \
    X(RAG_NEIGHBOURS, "HEARTH_RAG_NEIGHBOURS", INT, "1", 0, 5, "", "retrieval", "Pieces before and behind a found one that are shown to the model with it, if there is room.") \
    X(RAG_VECTOR_WEIGHT, "HEARTH_RAG_VECTOR_WEIGHT", REAL, "1", 0, 100, "", "retrieval", "Weight of similar meaning in the order of what is found.") \
    X(RAG_WORDS_WEIGHT, "HEARTH_RAG_WORDS_WEIGHT", REAL, "1", 0, 100, "", "retrieval", "Weight of equal words in that order.") \
    X(RAG_RERANK, "HEARTH_RAG_RERANK", BOOL, "false", 0, 0, "", "retrieval", "Let the rerank model put what was found in order, where a request does not say it.") \
    X(RAG_CONTEXT, "HEARTH_RAG_CONTEXT", INT, "0", 0, 1000000, "tokens", "retrieval", "Room for passages in a prompt; 0 is half of the model's context, at most 6000.") \
    X(VECTOR_STORE, "VECTOR_STORE", STRING, "auto", 0, 0, "", "vectors", "What finds similar chunks: sqlite (sqlite-vec in the SQLite file), hnsw (a graph in memory), pgvector, a chroma server; auto takes pgvector or sqlite, and hnsw for large sets and for a PostgreSQL without pgvector.") \
    X(HNSW_FROM, "HEARTH_HNSW_FROM", INT, "200000", 0, 1000000000, "chunks", "vectors", "With VECTOR_STORE=auto, collections of chunks this large are searched in memory.") \
    X(VECTORDB_PATH, "VECTORDB_PATH", PATH, "", 0, 0, "", "vectors", "Folder where the graph in memory is kept between starts; empty is `vectors` in the data folder.") \
    X(CHROMA_URL, "CHROMA_URL", STRING, "", 0, 0, "", "vectors", "Address of the Chroma server, as http://localhost:8001.") \
    X(CHROMA_TENANT, "CHROMA_TENANT", STRING, "default_tenant", 0, 0, "", "vectors", "Tenant at the Chroma server.") \
    X(CHROMA_DATABASE, "CHROMA_DATABASE", STRING, "default_database", 0, 0, "", "vectors", "Database at the Chroma server.") \
    X(CHROMA_TOKEN, "CHROMA_TOKEN", SECRET, "", 0, 0, "", "vectors", "Token for the Chroma server, sent as x-chroma-token; empty sends none.") \
    X(ENABLE_WEB_SEARCH, "ENABLE_WEB_SEARCH", BOOL, "false", 0, 0, "", "later", "Let models search the web.") \
    X(ENABLE_CODE_EXECUTION, "ENABLE_CODE_EXECUTION", BOOL, "false", 0, 0, "", "later", "Let models run code in the sandbox.") \
    X(ENABLE_FILE_OPERATIONS, "ENABLE_FILE_OPERATIONS", BOOL, "false", 0, 0, "", "later", "Let models read and write files of their workspace.") \
    X(ENABLE_AGENTS, "ENABLE_AGENTS", BOOL, "false", 0, 0, "", "later", "Let requests start agents.") \
    X(DEBUG, "DEBUG", STRING, "", 0, 0, "", "later", "Accepted for other model servers' settings files; use LOG_LEVEL=DEBUG.") \
    X(ENVIRONMENT, "ENVIRONMENT", STRING, "", 0, 0, "", "later", "Accepted for other model servers' settings files; has no effect.")
/* clang-format on */

/* Y(alias, id): another name of the same setting. Where one source has several names of a setting,
 * the one that begins with HEARTH_ counts, then the primary one: HOST may be there for somebody
 * else, HEARTH_HOST can't be. */
#define CONFIG_ALIASES(Y)                                                                          \
    Y("HEARTH_HOST", HOST)                                                                         \
    Y("HEARTH_PORT", PORT)                                                                         \
    Y("allowed_origins", ALLOWED_ORIGINS)                                                          \
    Y("MODEL_CACHE_DIR", MODELS_DIR)                                                               \
    Y("AI_PAL_MODEL_CACHE", MODELS_DIR)                                                            \
    Y("LLM_MODEL_PATH", DEFAULT_MODEL)                                                             \
    Y("EMBEDDING_MODEL_PATH", DEFAULT_EMBED_MODEL)                                                 \
    Y("HEARTH_MODEL", DEFAULT_MODEL)                                                               \
    Y("CO_API_KEY", COHERE_API_KEY)

/* Z(id, words): settings of which only these words are allowed (in any case). */
#define CONFIG_CHOICES(Z)                                                                          \
    Z(LOG_LEVEL, "DEBUG, INFO, WARNING, ERROR, OFF")                                               \
    Z(CONTEXT_OVERFLOW, "stop, shift")                                                             \
    Z(KV_TYPE, "f16, q8_0, auto")                                                                  \
    Z(VECTOR_STORE, "auto, sqlite, hnsw, pgvector, chroma")                                        \
    Z(CHUNK_UNIT, "characters, tokens")                                                            \
    Z(LOG_FORMAT, "text, json")                                                                    \
    Z(PRIVACY, "open, local")                                                                      \
    Z(AUTH, "auto, on, off")                                                                       \
    Z(REGISTRATION, "open, invited, closed")                                                       \
    Z(JWT_ALGORITHM, "HS256")                                                                      \
    Z(REQUEST_LOG, "all, remote, off")                                                             \
    Z(GOAL, "balanced, privacy, cost, speed, quality")

#endif
