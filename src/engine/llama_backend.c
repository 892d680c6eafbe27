/* The library itself: back ends, log, description. Process-wide, as ggml's registry is. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "engine/llama_int.h"

/* ---- log ---------------------------------------------------------------------------------- */

enum { REASON_MAX = 384 };

/* libllama says why a load failed only in its log, on the thread that called it. The first error
 * is the cause, later ones are the callers' repetitions. */
static _Thread_local char reason[REASON_MAX];
static _Thread_local bool listening; /* this thread returns errors with their reason itself */

void le_log_forget(void)
{
    reason[0] = '\0';
    listening = true;
}

const char *le_log_reason(void)
{
    return reason;
}

/* Without "some_function: " in front and the newline behind. */
static void keep_reason(const char *text)
{
    const char *colon = strstr(text, ": ");
    size_t name = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:~");
    if (colon && colon < text + name + 1) text = colon + 2;
    str_copy(reason, sizeof reason, text);
    reason[strcspn(reason, "\r\n")] = '\0';
}

static void on_log(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR && !reason[0]) keep_reason(text);
    if (level == GGML_LOG_LEVEL_CONT) return; /* dots of a progress bar */
    bool shown = level == GGML_LOG_LEVEL_ERROR && !listening;
    if (!shown && !log_on(LOG_DEBUG)) return;
    int len = (int)strcspn(text, "\r\n");
    if (len) log_line(shown ? LOG_WARN : LOG_DEBUG, LOG_engine, NULL, "%.*s", len, text);
}

static void on_abort(const char *text)
{
    log_error(engine, "the inference library aborts: %s", text);
}

/* ---- back ends ----------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards loaded */
static bool loaded;

static enum err check_folder(const char *dir, bool *found, struct error *error)
{
    char path[FS_PATH_MAX];
    enum err e = fs_join(path, sizeof path, dir, "libggml-base.so", error);
    *found = !e && fs_exists(path);
    return e;
}

/* Beside the binary as built, as installed, and as the tests run. */
static enum err find_folder(char *dst, size_t size, struct error *error)
{
    static const char *const places[] = {"lib/hearth", "../lib/hearth"};
    char exe[FS_PATH_MAX];
    enum err e = fs_exe_dir(exe, sizeof exe, error);
    for (size_t i = 0; i < 2 && !e; i++) {
        bool found = false;
        e = fs_join(dst, size, exe, places[i], error);
        if (!e) e = check_folder(dst, &found, error);
        if (found) return OK;
    }
    if (!e) dst[0] = '\0'; /* a build with its own llama.cpp has its back ends linked in */
    return e;
}

static enum err load(struct le_engine *e, struct error *error)
{
    char dir[FS_PATH_MAX];
    if (e->lib_dir[0])
        str_copy(dir, sizeof dir, e->lib_dir);
    else if (find_folder(dir, sizeof dir, error))
        return error ? error->code : ERR_INTERNAL;
    shim_quiet();
    llama_log_set(on_log, NULL);
    ggml_set_abort_callback(on_abort);
    if (dir[0]) ggml_backend_load_all_from_path(dir);
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU))
        return err_set(error, ERR_ENGINE,
                       "no CPU back end of the inference library in '%s'; set HEARTH_LIB to the "
                       "folder with libggml-cpu-*.so",
                       dir[0] ? dir : "the binary's folder");
    llama_backend_init();
    return OK;
}

enum err le_backend_need(struct le_engine *e, struct error *error)
{
    enum err err = OK;
    pthread_mutex_lock(&lock);
    if (!loaded) err = load(e, error);
    if (!err) loaded = true;
    pthread_mutex_unlock(&lock);
    return err;
}

/* ---- description --------------------------------------------------------------------------- */

static void describe_cpu(struct engine_description *out, ggml_backend_dev_t dev)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(dev);
    void *address = ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features");
    Dl_info where;
    if (address && dladdr(address, &where) && where.dli_fname) {
        const char *slash = strrchr(where.dli_fname, '/');
        str_copy(out->cpu_backend, sizeof out->cpu_backend, slash ? slash + 1 : where.dli_fname);
    }
    ggml_backend_get_features_t get = NULL;
    memcpy(&get, &address, sizeof get); /* ISO C has no cast from object to function pointer */
    if (!get) return;
    size_t used = 0;
    for (struct ggml_backend_feature *f = get(reg); f && f->name; f++) {
        int n = snprintf(out->cpu_features + used, sizeof out->cpu_features - used, "%s%s",
                         used ? " " : "", f->name);
        if (n < 0 || used + (size_t)n >= sizeof out->cpu_features) break;
        used += (size_t)n;
    }
}

static void describe_device(struct engine_description *out, ggml_backend_dev_t dev)
{
    if (out->n_devices == sizeof out->devices / sizeof *out->devices) return;
    struct engine_device *d = &out->devices[out->n_devices++];
    size_t memory_free = 0, memory_total = 0;
    enum ggml_backend_dev_type type = ggml_backend_dev_type(dev);
    ggml_backend_dev_memory(dev, &memory_free, &memory_total);
    str_copy(d->name, sizeof d->name, ggml_backend_dev_name(dev));
    str_copy(d->description, sizeof d->description, ggml_backend_dev_description(dev));
    d->gpu = type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
    d->memory_free = memory_free;
    d->memory_total = memory_total;
}

enum err le_describe(struct engine *head, struct engine_description *out, struct error *error)
{
    *out = (struct engine_description){0};
    str_copy(out->library, sizeof out->library, head->ops->library);
    enum err e = le_backend_need((struct le_engine *)head, error);
    for (size_t i = 0; !e && i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        describe_device(out, dev);
        if (ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU) describe_cpu(out, dev);
    }
    return e;
}
