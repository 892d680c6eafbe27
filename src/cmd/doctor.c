/* `hearth doctor`: looks at everything that has to be right, and says what to do about what is
 * not. One line a check: ok, warn, fail. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/hubfile.h"
#include "cmd/link.h"
#include "cmd/term.h"
#include "extract/extract.h"
#include "hub/hub.h"

enum { CHECKS_MAX = 48, TEXT_MAX = 640, DISK_LOW_GIB = 5 };

enum state { STATE_OK, STATE_WARN, STATE_FAIL };

struct check {
    const char *name;
    enum state state;
    char text[TEXT_MAX];   /* what was found */
    char advice[TEXT_MAX]; /* what to do, "" when nothing */
};

struct report {
    struct check checks[CHECKS_MAX];
    size_t n;
};

static const struct cmd_option options[] = {
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print JSON.", COMPLETE_NONE},
};

static struct check *add(struct report *r, const char *name, enum state state, const char *fmt, ...)
    HT_PRINTF(4, 5);

static struct check *add(struct report *r, const char *name, enum state state, const char *fmt, ...)
{
    ht_assert(r->n < CHECKS_MAX);
    struct check *c = &r->checks[r->n++];
    *c = (struct check){.name = name, .state = state};
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->text, sizeof(c->text), fmt, args);
    va_end(args);
    return c;
}

#define advise(check, ...) ((void)str_printf((check)->advice, TEXT_MAX, __VA_ARGS__))

/* ---- engine and machine --------------------------------------------------------------------- */

static void check_engine(struct report *r, struct hub *hub)
{
    struct engine_description d;
    struct engine *engine = NULL;
    struct error error;
    const char *lib_dir = config_str(hub->config, CONFIG_LIB_DIR);
    enum err err = engine_open_llama(*lib_dir ? lib_dir : NULL, &engine, &error);
    if (!err) err = engine_describe(engine, &d, &error);
    engine_close(engine);
    if (err) {
        struct check *c = add(r, "engine", STATE_FAIL, "%s", error.msg);
        advise(c, "the libraries belong beside the binary, in lib/hearth; HEARTH_LIB names "
                  "another folder");
        return;
    }
    add(r, "engine", STATE_OK, "%s", d.library);
    add(r, "cpu", STATE_OK, "%s; %s", *d.cpu_backend ? d.cpu_backend : "CPU", d.cpu_features);
    bool gpu = false;
    for (size_t i = 0; i < d.n_devices; i++) {
        char total[32], available[32];
        const struct engine_device *dev = &d.devices[i];
        gpu = gpu || dev->gpu;
        add(r, "device", STATE_OK, "%s: %s, %s free of %s", dev->name, dev->description,
            str_from_bytes(available, sizeof(available), dev->memory_free),
            str_from_bytes(total, sizeof(total), dev->memory_total));
    }
    if (!gpu) add(r, "gpu", STATE_OK, "none; models run on the CPU");
}

/* MemAvailable and MemTotal of /proc/meminfo, in bytes; 0 where there is none. */
static void read_memory(uint64_t *available, uint64_t *total)
{
    char line[256];
    unsigned long long kib;
    *available = *total = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1) *available = kib * 1024;
        if (sscanf(line, "MemTotal: %llu", &kib) == 1) *total = kib * 1024;
    }
    fclose(f);
}

/* ---- folders and models --------------------------------------------------------------------- */

static void check_folder(struct report *r, const char *name, const char *dir, const char *setting)
{
    uint64_t available;
    char size[32];
    struct error error;
    if (fs_mkdirs(dir, 0700, &error)) {
        struct check *c = add(r, name, STATE_FAIL, "%s", error.msg);
        advise(c, "set %s to a folder that you may write to", setting);
    } else if (access(dir, W_OK | X_OK)) {
        struct check *c = add(r, name, STATE_FAIL, "%s can't be written: %s", dir, strerror(errno));
        advise(c, "set %s to a folder that you may write to", setting);
    } else if (fs_free_bytes(dir, &available, &error)) {
        add(r, name, STATE_WARN, "%s: %s", dir, error.msg);
    } else {
        bool low = available < (uint64_t)DISK_LOW_GIB << 30;
        struct check *c = add(r, name, low ? STATE_WARN : STATE_OK, "%s, %s free", dir,
                              str_from_bytes(size, sizeof(size), available));
        if (low) advise(c, "most models are larger than what is free");
    }
}

static void check_models(struct report *r, struct hub *hub)
{
    struct error error;
    struct model_info *list;
    size_t n;
    if (models_list(hub->models, &list, &n, &error)) {
        add(r, "models", STATE_FAIL, "%s", error.msg);
        return;
    }
    size_t builtin = 0;
    for (size_t i = 0; i < n; i++) builtin += list[i].builtin;
    free(list);
    bool none = n == builtin;
    struct check *c = add(r, "models", none ? STATE_WARN : STATE_OK, "%zu pulled, %zu built in",
                          n - builtin, builtin);
    if (none) advise(c, "`hearth pull llama3.2:1b` gets a model that is good for more than tests");
}

static void check_default_model(struct report *r, struct hub *hub)
{
    struct error error;
    struct model_info model;
    char size[32], have[32];
    uint64_t available, total;
    read_memory(&available, &total);
    if (total)
        add(r, "memory", STATE_OK, "%s free of %s", str_from_bytes(have, sizeof(have), available),
            str_from_bytes(size, sizeof(size), total));
    if (cmd_default_model(hub, &model, &error)) {
        struct check *c = add(r, "default model", STATE_FAIL, "%s", error.msg);
        advise(c, "set DEFAULT_MODEL to one of `hearth models`, or pull it");
        return;
    }
    str_from_bytes(size, sizeof(size), (uint64_t)model.file_bytes);
    if (total && (uint64_t)model.file_bytes > available) {
        struct check *c = add(r, "default model", STATE_WARN,
                              "%s (%s) is larger than the memory "
                              "that is free (%s)",
                              model.id, size, have);
        advise(c, "choose a smaller model or quantisation, or close other programs");
    } else {
        add(r, "default model", STATE_OK, "%s%s, %s", model.id, model.builtin ? " (built-in)" : "",
            size);
    }
}

/* ---- network -------------------------------------------------------------------------------- */

/* 0 when host:port can be bound, else an errno (or -1: the host is unknown). */
static int try_bind(const char *host, int port)
{
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    str_printf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) return -1;
    int result = 0, one = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        result = errno;
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 1)) result = errno;
        close(fd);
    }
    freeaddrinfo(found);
    return result;
}

static void check_network(struct report *r, const struct config *config)
{
    struct error error;
    struct httpc *http;
    char url[LINK_URL_MAX], wanted[LINK_URL_MAX] = "";
    const char *host = config_str(config, CONFIG_HOST);
    int port = (int)config_int(config, CONFIG_PORT);
    bool runs = false;
    if (httpc_new(&http, &error)) {
        add(r, "hub", STATE_FAIL, "%s", error.msg);
    } else {
        runs = link_find_hub(config, http, url);
        httpc_free(http);
        if (runs)
            add(r, "hub", STATE_OK, "running at %s", url);
        else
            add(r, "hub", STATE_OK, "not running; `hearth serve` starts it");
    }
    if (port == 0) {
        add(r, "port", STATE_OK, "any free one is taken");
        return;
    }
    (void)hubfile_url(host, port, wanted, sizeof(wanted));
    int failed = try_bind(host, port);
    if (failed == 0) {
        add(r, "port", STATE_OK, "%d on %s is free", port, host);
    } else if (failed == EADDRINUSE && runs && str_eq(url, wanted)) {
        add(r, "port", STATE_OK, "%d on %s is the running hub's", port, host);
    } else {
        struct check *c = add(r, "port", STATE_FAIL, "%d on %s: %s", port, host,
                              failed < 0 ? "no such host" : strerror(failed));
        advise(c, failed == EADDRINUSE ? "another program has it (`ss -ltnp` shows which); PORT "
                                         "chooses another port"
                                       : "set HOST to an address of this machine, e.g. 127.0.0.1, "
                                         "and PORT to one that you may use");
    }
}

static void check_documents(struct report *r)
{
    bool pdf, ocr;
    extract_installed(&pdf, &ocr);
    struct check *c = add(r, "documents", pdf ? STATE_OK : STATE_WARN, "%s",
                          ocr   ? "all kinds can be read, scanned PDFs, too"
                          : pdf ? "all kinds can be read but scanned PDFs (tesseract-ocr)"
                                : "PDFs can't be read");
    if (!pdf) advise(c, "install poppler-utils");
}

/* ---- the report ----------------------------------------------------------------------------- */

static void examine(struct report *r, const struct cmd_args *args)
{
    struct config *config;
    struct hub *hub;
    struct error error;
    char dir[FS_PATH_MAX];
    add(r, "hearth", STATE_OK, "%s", HEARTH_VERSION);
    if (cmd_load_config(args, NULL, 0, &config, &error)) {
        struct check *c = add(r, "configuration", STATE_FAIL, "%s", error.msg);
        advise(c, "correct it there; docs/configuration.md lists what is allowed");
        return;
    }
    if (cmd_check_settings(config, &error))
        advise(add(r, "configuration", STATE_FAIL, "%s", error.msg), "correct that setting");
    else
        add(r, "configuration", STATE_OK, "read; `hearth config` shows it");
    if (log_open(LOG_OFF, false, NULL, &error) == OK &&
        cmd_data_dir(config, dir, sizeof(dir), &error) == OK)
        check_folder(r, "data folder", dir, "HEARTH_DATA");
    config_free(config);
    if (cmd_open_idle_hub(args, &config, &hub, &error)) {
        struct check *c = add(r, "hub parts", STATE_FAIL, "%s", error.msg);
        advise(c, "nothing else can be looked at before this works");
        return;
    }
    check_folder(r, "models folder", models_dir(hub->models), "HEARTH_MODELS");
    check_engine(r, hub);
    check_models(r, hub);
    check_default_model(r, hub);
    check_documents(r);
    check_network(r, config);
    cmd_close_idle_hub(config, hub);
}

static const char *const words[] = {"ok", "warn", "fail"};

static void render_json(const struct report *r, bool good, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kbool(&w, "ok", good);
    jw_key(&w, "checks");
    jw_arr(&w);
    for (size_t i = 0; i < r->n; i++) {
        jw_obj(&w);
        jw_kstr(&w, "name", r->checks[i].name);
        jw_kstr(&w, "state", words[r->checks[i].state]);
        jw_kstr(&w, "text", r->checks[i].text);
        jw_kstr(&w, "advice", *r->checks[i].advice ? r->checks[i].advice : NULL);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_putc(out, '\n');
}

static void render_text(const struct report *r, struct buf *out)
{
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool color = term_style_of(STDOUT_FILENO) == TERM_COLOR;
    for (size_t i = 0; i < r->n; i++) {
        const struct check *c = &r->checks[i];
        buf_printf(out, "%s%-4s%s  %-14s ", color ? colors[c->state] : "", words[c->state],
                   color ? "\033[0m" : "", c->name);
        term_clean(out, c->text, strlen(c->text));
        buf_putc(out, '\n');
        if (!*c->advice) continue;
        buf_printf(out, "%21s-> ", "");
        term_clean(out, c->advice, strlen(c->advice));
        buf_putc(out, '\n');
    }
}

static int run_doctor(const struct cmd_call *call)
{
    struct report report = {.n = 0};
    examine(&report, call->args);
    bool good = true;
    for (size_t i = 0; i < report.n; i++) good = good && report.checks[i].state != STATE_FAIL;
    struct buf text;
    buf_init(&text, 1 << 20);
    if (cmd_flag(call->args, "json"))
        render_json(&report, good, &text);
    else
        render_text(&report, &text);
    int status = cmd_print(&text);
    buf_free(&text);
    return good ? status : CMD_FAILED;
}

const struct cmd_verb verb_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "Look whether everything is right, and say what to do if not",
    .details = "Ends with status 1 when a check fails. Nothing is loaded or changed.",
    .words = "",
    .flags = CMD_CONFIG_LATER,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_doctor,
};
