/* `hearth serve`: the hub, until a signal ends it.
 *
 *   starting --server_start--> listening --SIGINT, SIGTERM--> draining --> ended
 *
 * While draining, running answers may go on for HEARTH_STOP_GRACE; a second signal ends the program
 * at once. SIGHUP opens the log file anew (logrotate) and does nothing else: a hub started in a
 * terminal outlives it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/access.h"
#include "api/batches/batches.h"
#include "api/responses/responses.h"
#include "api/upload.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/meminfo.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/hubfile.h"
#include "cmd/notify.h"
#include "hub/hub.h"
#include "server/server.h"

enum { URL_MAX = 256 };

static const struct cmd_option options[] = {
    {"host", 0, "ADDRESS", CONFIG_HOST, NULL, NULL, COMPLETE_NONE},
    {"port", 'p', "PORT", CONFIG_PORT, NULL, NULL, COMPLETE_NONE},
    {"ollama-port", 0, "PORT", CONFIG_OLLAMA_PORT, NULL, NULL, COMPLETE_NONE},
    {"model", 'm', "NAME", CONFIG_DEFAULT_MODEL, NULL, NULL, COMPLETE_MODEL},
    {"embed-model", 0, "NAME", CONFIG_DEFAULT_EMBED_MODEL, NULL, NULL, COMPLETE_MODEL},
    {"no-preload", 0, NULL, CONFIG_PRELOAD, "false",
     "Load the model at the first request instead of at start.", COMPLETE_NONE},
    {"in-process", 0, NULL, CONFIG_IN_PROCESS, "true", NULL, COMPLETE_NONE},
    {"parallel", 0, "N", CONFIG_N_PARALLEL, NULL, NULL, COMPLETE_NONE},
    {"ctx-size", 'c', "TOKENS", CONFIG_N_CTX, NULL, NULL, COMPLETE_NONE},
    {"threads", 't', "N", CONFIG_N_THREADS, NULL, NULL, COMPLETE_NONE},
    {"gpu-layers", 0, "N", CONFIG_GPU_LAYERS, NULL, NULL, COMPLETE_NONE},
    {"allowed-origins", 0, "LIST", CONFIG_ALLOWED_ORIGINS, NULL, NULL, COMPLETE_NONE},
    {"log-format", 0, "FORMAT", CONFIG_LOG_FORMAT, NULL, NULL, COMPLETE_NONE},
    {"log-file", 0, "FILE", CONFIG_LOG_FILE, NULL, NULL, COMPLETE_FILE},
};

/* ---- signals -------------------------------------------------------------------------------- */

static char ended_file[FS_PATH_MAX]; /* hub.json, for the handler of a second signal */

static void on_second_signal(int sig)
{
    (void)sig;
    unlink(ended_file);
    _exit(CMD_INTERRUPTED);
}

/* Before any thread starts: the signals that end it wait until they are asked for. A blocked signal
 * can be waited for though it is ignored, and its being ignored is what children inherit. */
static void hold_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGHUP, SIG_IGN);
}

static void let_second_signal_end(const sigset_t *set)
{
    struct sigaction action = {.sa_handler = on_second_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

/* ---- what is said at start ------------------------------------------------------------------ */

static void tell_ready(const char *url, const struct config *config, const struct server *server,
                       const struct model_info *model)
{
    char also[URL_MAX];
    printf("hearth %s listening on %s  model %s%s\n", HEARTH_VERSION, url, model->id,
           model->builtin ? " (built-in)" : "");
    if (model->builtin && !*config_str(config, CONFIG_DEFAULT_MODEL))
        printf("No model is pulled yet, so the tiny built-in one answers; "
               "`hearth pull llama3.2:1b` gets a real one.\n");
    if (server_ollama_port(server) && hubfile_url(config_str(config, CONFIG_HOST),
                                                  server_ollama_port(server), also, sizeof(also)))
        printf("Ollama's clients find it at %s, too.\n", also);
    fflush(stdout);
}

/* What whoever put a hub on a network should know. */
static void tell_guarded(const struct config *config)
{
    bool open = str_ieq(config_str(config, CONFIG_REGISTRATION), "open");
    if (!accounts_asked_for(config)) return;
    fprintf(stderr, "hearth: every call needs a user's token or API key (`hearth users create`)\n");
    if (open)
        fprintf(stderr,
                "hearth: WARNING: listening on %s, anybody who reaches it can make an account; "
                "HEARTH_REGISTRATION=invited or closed changes that\n",
                config_str(config, CONFIG_HOST));
}

/* ---- the verb ------------------------------------------------------------------------------- */

static struct server_params params_of(const struct config *config, struct hub *hub)
{
    return (struct server_params){
        .host = config_str(config, CONFIG_HOST),
        .port = (int)config_int(config, CONFIG_PORT),
        .max_connections = (int)config_int(config, CONFIG_MAX_CONNECTIONS),
        .max_body = (size_t)config_int(config, CONFIG_MAX_BODY),
        .max_upload = (size_t)(files_max_bytes(hub->files) + UPLOAD_FORM_MAX),
        .max_headers = (size_t)config_int(config, CONFIG_MAX_HEADERS),
        .header_timeout_ms = config_int(config, CONFIG_HEADER_TIMEOUT),
        .body_timeout_ms = config_int(config, CONFIG_BODY_TIMEOUT),
        .idle_timeout_ms = config_int(config, CONFIG_IDLE_TIMEOUT),
        .ping_ms = config_int(config, CONFIG_PING_INTERVAL),
        .max_queued = (size_t)config_int(config, CONFIG_STREAM_BUFFER),
        .allowed_origins = config_str(config, CONFIG_ALLOWED_ORIGINS),
        .gate = &access_gate,
        .trusted_proxies = config_str(config, CONFIG_TRUSTED_PROXIES),
        .pool = hub->pool,
        .hub = hub,
    };
}

static enum err read_ollama_port(const struct config *config, struct server_params *params,
                                 struct error *error)
{
    const char *text = config_str(config, CONFIG_OLLAMA_PORT);
    int64_t port;
    if (!*text) return OK;
    if (!str_to_i64(text, 0, 65535, &port))
        return err_set(
            error, ERR_CONFIG,
            "HEARTH_OLLAMA_PORT must be a port from 0 (any free one) to 65535, got %.40s", text);
    params->ollama = true;
    params->ollama_port = (int)port;
    return OK;
}

/* Looked at before anything is built: with a bad folder the model need not begin to load. */
static enum err open_data_dir(const struct config *config, char *dir, size_t size,
                              struct error *error)
{
    enum err err = cmd_data_dir(config, dir, size, error);
    if (err == OK) err = fs_mkdirs(dir, 0700, error);
    if (err == OK) err = fs_join(ended_file, sizeof(ended_file), dir, "hub.json", error);
    if (err) err_prefix(error, "the data folder can't be used (HEARTH_DATA chooses another)");
    return err;
}

static int wait_for_end(const sigset_t *signals)
{
    struct error error;
    for (int sig = 0;;) {
        if (sigwait(signals, &sig) != 0) continue;
        if (sig != SIGHUP) return sig;
        if (log_file_reopen(&error) != OK) log_error(hub, "%s", error.msg);
    }
}

/* Listens until a signal, then drains. On OK the server is stopped but not yet freed. */
static enum err serve(const struct config *config, const char *data_dir, struct hub *hub,
                      const sigset_t *signals, struct server **out, struct error *error)
{
    struct model_info model;
    char url[URL_MAX];
    enum err err = cmd_default_model(hub, &model, error);
    if (err) return err;
    struct server_params params = params_of(config, hub);
    err = read_ollama_port(config, &params, error);
    if (err) return err;
    err = server_start(&params, out, error);
    if (err) return err;
    responses_register(hub);
    batches_register(hub);
    err = hub_start(hub, error);
    if (err) return err;
    if (!hubfile_url(params.host, server_port(*out), url, sizeof(url)))
        err = err_set(error, ERR_INVALID, "HOST is too long");
    if (err == OK) err = hubfile_write(data_dir, url, error);
    if (err) return err;
    tell_ready(url, config, *out, &model);
    tell_guarded(config);
    notify_service_manager("READY=1");
    meminfo_release_code();

    int sig = wait_for_end(signals);
    let_second_signal_end(signals);
    notify_service_manager("STOPPING=1");
    log_info(hub, "stopping (%s): running answers may go on for up to %lld ms",
             sig == SIGINT ? "SIGINT" : "SIGTERM",
             (long long)config_int(config, CONFIG_STOP_GRACE));
    hubfile_remove(data_dir);
    server_drain(*out, config_int(config, CONFIG_STOP_GRACE));
    return OK;
}

static int run_serve(const struct cmd_call *call)
{
    struct hub *hub;
    struct server *server = NULL;
    struct error error;
    sigset_t signals;
    char data_dir[FS_PATH_MAX];
    if (accounts_may_listen(call->config, &error)) return cmd_fail(&error);
    if (open_data_dir(call->config, data_dir, sizeof(data_dir), &error)) return cmd_fail(&error);
    if (cmd_check_settings(call->config, &error)) return cmd_fail(&error);
    hold_signals(&signals);
    if (hub_open(call->config, &hub, &error)) return cmd_fail(&error);
    enum err err = serve(call->config, data_dir, hub, &signals, &server, &error);
    if (err && server) server_drain(server, 0); /* it may be serving: the hub must outlive that */
    hub_close(hub, 0);
    if (server) server_free(server);
    return err ? cmd_fail(&error) : CMD_OK;
}

const struct cmd_verb verb_serve = {
    .name = "serve",
    .args = "",
    .summary = "Run the hub that all your apps talk to",
    .details =
        "It listens on http://127.0.0.1:8000 unless told otherwise and speaks the OpenAI API "
        "under /v1; http://127.0.0.1:8000/docs describes it. SIGINT and SIGTERM let running "
        "answers finish (HEARTH_STOP_GRACE), a second one ends at once.\n\n"
        "  hearth serve\n"
        "  hearth serve --port 9000 --model qwen2.5:3b",
    .words = "",
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_serve,
};
