/* Finds the verb, parses its arguments, loads the configuration, runs it. */
#include "cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_file.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/term.h"
#include "extract/extract.h"
#include "httpc/httpc.h"
#include "worker/worker.h"

enum { ERROR_LINE_MAX = 4096 };

static void say(const char *who, const struct error *error)
{
    struct buf line;
    buf_init(&line, ERROR_LINE_MAX);
    buf_printf(&line, "%s: ", who);
    term_clean(&line, error->msg, strlen(error->msg));
    fprintf(stderr, "%s\n", buf_str(&line));
    buf_free(&line);
}

int cmd_fail(const struct error *error)
{
    say("hearth", error);
    return error->code == ERR_CANCELLED ? CMD_INTERRUPTED : CMD_FAILED;
}

int cmd_usage_error(const struct cmd_verb *verb, const struct error *error)
{
    char who[64];
    str_printf(who, sizeof(who), "hearth %s", verb->name);
    say(who, error);
    fprintf(stderr, "`hearth %s --help` shows what it takes.\n", verb->name);
    return CMD_USAGE;
}

int cmd_print(const struct buf *text)
{
    struct error error;
    if (text->err) {
        err_set(&error, text->err, "the output is too large");
        return cmd_fail(&error);
    }
    fwrite(buf_str(text), 1, text->len, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout)) return CMD_OK;
    if (errno == EPIPE) return CMD_FAILED; /* the reader has seen enough: `hearth ... | head` */
    err_set_errno(&error, errno, "writing to standard output");
    return cmd_fail(&error);
}

/* Logging as the verb's person wants it: the server's verb logs at the configured level, the others
 * stay quiet about what is not a problem unless a level was chosen. */
static enum err open_logs(const struct cmd_verb *verb, const struct config *config,
                          struct error *error)
{
    enum log_level level = verb->flags & CMD_QUIET ? LOG_OFF : LOG_WARN;
    const char *name = config_str(config, CONFIG_LOG_LEVEL);
    bool chosen = config_source_of(config, CONFIG_LOG_LEVEL) != CONFIG_FROM_DEFAULT;
    if ((chosen || verb == &verb_serve) && !log_level_parse(name, &level))
        return err_set_param(error, ERR_CONFIG, "LOG_LEVEL",
                             "LOG_LEVEL is '%s'; it may be DEBUG, INFO, WARNING or ERROR", name);
    const char *format = config_str(config, CONFIG_LOG_FORMAT);
    if (!str_ieq(format, "text") && !str_ieq(format, "json"))
        return err_set_param(error, ERR_CONFIG, "HEARTH_LOG_FORMAT",
                             "HEARTH_LOG_FORMAT is '%s'; it may be text or json", format);
    enum err e =
        log_open(level, str_ieq(format, "json"), config_str(config, CONFIG_LOG_FILE), error);
    struct log_limits limits = {.max_bytes = config_int(config, CONFIG_LOG_SIZE),
                                .max_age_ms = config_int(config, CONFIG_LOG_AGE),
                                .keep = (int)config_int(config, CONFIG_LOG_KEEP)};
    if (!e) log_file_limit(&limits);
    if (!e) e = httpc_connects_log(config_str(config, CONFIG_CONNECT_LOG), error);
    return e;
}

static int run_verb(const struct cmd_verb *verb, const struct cmd_args *args)
{
    struct cmd_call call = {.verb = verb, .args = args};
    if (!(verb->flags & CMD_CONFIG)) return verb->run(&call);
    struct error error;
    struct config *config;
    if (cmd_load_config(args, NULL, 0, &config, &error)) return cmd_fail(&error);
    int status;
    if (open_logs(verb, config, &error)) {
        status = cmd_fail(&error);
    } else {
        call.config = config;
        status = verb->run(&call);
    }
    log_file_drain();
    config_free(config);
    return status;
}

static int show_help(const struct cmd_verb *verb)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    if (verb)
        cmd_render_help(verb, &text);
    else
        cmd_render_overview(&text);
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

static int unknown_verb(const char *name)
{
    const char *names[32];
    size_t n = 0;
    for (; n < 32 && cmd_verbs[n]; n++) names[n] = cmd_verbs[n]->name;
    const char *near = cmd_nearest(name, names, n);
    struct error error;
    if (near)
        err_set(&error, ERR_INVALID, "there is no verb '%s'; did you mean `hearth %s`?", name,
                near);
    else
        err_set(&error, ERR_INVALID, "there is no verb '%s'; `hearth help` lists them", name);
    say("hearth", &error);
    return CMD_USAGE;
}

int cmd_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that goes is an error of write(2), not our death */
    tzset(); /* while there is one thread: the library reads it at the first use of localtime */
    if (argc < 2) {
        show_help(NULL);
        return CMD_USAGE;
    }
    const char *name = argv[1];
    if (str_eq(name, "--help") || str_eq(name, "-h")) return show_help(NULL);
    if (str_eq(name, "worker")) return worker_main(); /* the hub starts it, nobody else */
    if (str_eq(name, "extract") && extract_is_child()) return extract_main();
    if (str_eq(name, "--version") || str_eq(name, "-V")) name = "version";
    const struct cmd_verb *verb = cmd_verb_find(name);
    if (!verb) return unknown_verb(name);

    struct error error;
    struct cmd_args args;
    int status;
    if (cmd_args_parse(verb, argc - 2, argv + 2, &args, &error))
        status = cmd_usage_error(verb, &error);
    else if (cmd_flag(&args, "help"))
        status = show_help(verb);
    else
        status = run_verb(verb, &args);
    cmd_args_free(&args);
    return status;
}
