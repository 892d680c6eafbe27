#include "provider/tuning.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

enum { FILE_MAX = 4 << 20, MACHINE_MAX = 256, PATH_ROOM = FS_PATH_MAX };

#define MS_MAX 1e7 /* of a step; what is more was never measured */

/* ---- the machine -------------------------------------------------------------------------- */

static void cpu_name(char *dst, size_t size)
{
    char line[512];
    str_copy(dst, size, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (!str_starts(line, "model name") || !value) continue;
        value += strspn(value, ": \t");
        value[strcspn(value, "\n")] = '\0';
        str_copy(dst, size, value);
        break;
    }
    fclose(f);
}

void tuning_machine(const struct engine *engine, char *dst, size_t size)
{
    char cpu[160];
    cpu_name(cpu, sizeof cpu);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    str_printf(dst, size, "%s, %ld core%s, %s", cpu, cores, cores == 1 ? "" : "s",
               engine_library_version(engine));
}

/* ---- reading ------------------------------------------------------------------------------ */

/* The array of entries, NULL when there is none; *doc to be freed. */
static const json_t *read_entries(const char *data_dir, json_t **doc)
{
    char path[PATH_ROOM];
    struct buf text;
    struct error error;
    const json_t *entries = NULL;
    *doc = NULL;
    if (fs_join(path, sizeof path, data_dir, "tuning.json", NULL) || !fs_exists(path)) return NULL;
    buf_init(&text, FILE_MAX);
    enum err e = fs_read_file(path, FILE_MAX, &text, &error);
    if (!e) e = json_parse(buf_str(&text), text.len, doc, &error);
    if (!e) e = json_get_array(*doc, "entries", "", &entries, &error);
    if (e) log_warn(sched, "what was measured before is not used: %s", error.msg);
    buf_free(&text);
    return e ? NULL : entries;
}

static bool is_text(const json_t *entry, const char *name, const char *wanted)
{
    const char *s = NULL;
    return json_get_string(entry, name, "", &s, NULL) == OK && s && str_eq(s, wanted);
}

static int64_t number(const json_t *entry, const char *name)
{
    int64_t n = 0;
    return json_get_int(entry, name, "", 0, INT64_MAX, &n, NULL) ? 0 : n;
}

static bool file_is_same(const json_t *entry)
{
    const char *path = NULL;
    struct stat st;
    return json_get_string(entry, "file", "", &path, NULL) == OK && path && stat(path, &st) == 0 &&
           st.st_size == number(entry, "bytes") && st.st_mtime == number(entry, "modified");
}

static float milliseconds(const json_t *obj, const char *name)
{
    double ms = 0;
    return json_get_double(obj, name, "", 0, MS_MAX, &ms, NULL) ? 0 : (float)ms;
}

static int32_t count(const json_t *obj, const char *name, int32_t max)
{
    int64_t n = 0;
    return json_get_int(obj, name, "", 0, max, &n, NULL) ? 0 : (int32_t)n;
}

/* f16 where none is said, or one that is not known. */
static enum engine_kv_type kv_type(const json_t *entry)
{
    const char *name = NULL;
    enum engine_kv_type type = ENGINE_KV_F16;
    if (json_get_string(entry, "kv_type", "", &name, NULL) == OK && name)
        (void)engine_kv_find(name, &type);
    return type;
}

static void read_profile(const json_t *entry, struct shape_profile *p)
{
    const char *model = "";
    const json_t *decode = NULL, *prefill = NULL;
    *p = (struct shape_profile){0};
    if (json_get_string(entry, "model", "", &model, NULL) == OK)
        str_copy(p->model, sizeof p->model, model);
    p->n_threads = count(entry, "threads", 1024);
    p->n_ubatch = count(entry, "ubatch", 65536);
    p->n_parallel = count(entry, "parallel", SHAPE_WIDTH_MAX);
    p->kv_type = kv_type(entry);
    if (json_get_object(entry, "decode_ms", "", &decode, NULL) == OK && decode) {
        for (int32_t i = 1; i <= SHAPE_WIDTH_MAX; i++) {
            char name[16];
            str_printf(name, sizeof name, "%d", i);
            p->decode_ms[i] = milliseconds(decode, name);
        }
    }
    if (json_get_object(entry, "prefill", "", &prefill, NULL) || !prefill) return;
    p->prefill_fixed_ms = milliseconds(prefill, "fixed_ms");
    p->prefill_token_ms = milliseconds(prefill, "token_ms");
    p->prefill_context_ms = milliseconds(prefill, "context_ms");
    p->prefill_largest = count(prefill, "largest", 1 << 20);
}

size_t tuning_load(const char *data_dir, const struct engine *engine, struct shape_profile *out,
                   size_t max)
{
    json_t *doc;
    char machine[MACHINE_MAX];
    size_t n = 0;
    const json_t *entries = read_entries(data_dir, &doc);
    tuning_machine(engine, machine, sizeof machine);
    for (size_t i = 0; i < json_array_size(entries) && n < max; i++) {
        const json_t *entry = json_array_get(entries, i);
        if (!json_is_object(entry) || !is_text(entry, "machine", machine)) continue;
        if (file_is_same(entry)) read_profile(entry, &out[n++]);
    }
    json_decref(doc);
    return n;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void write_entry(struct jw *w, const char *machine, const struct model_info *model,
                        const struct shape_profile *p)
{
    char when[32];
    clock_format_utc(when, sizeof when, clock_wall_ms());
    jw_obj(w);
    jw_kstr(w, "model", model->id);
    jw_kstr(w, "file", model->path);
    jw_kint(w, "bytes", model->file_bytes);
    jw_kint(w, "modified", model->modified_s);
    jw_kstr(w, "machine", machine);
    jw_kstr(w, "measured_at", when);
    jw_kint(w, "threads", p->n_threads);
    jw_kint(w, "ubatch", p->n_ubatch);
    jw_kint(w, "parallel", p->n_parallel);
    jw_kstr(w, "kv_type", engine_kv_name(p->kv_type));
    jw_key(w, "decode_ms");
    jw_obj(w);
    for (int32_t i = 1; i <= SHAPE_WIDTH_MAX; i++) {
        char name[16];
        str_printf(name, sizeof name, "%d", i);
        if (p->decode_ms[i] > 0) jw_kdouble(w, name, (double)p->decode_ms[i]);
    }
    jw_obj_end(w);
    jw_key(w, "prefill");
    jw_obj(w);
    jw_kdouble(w, "fixed_ms", (double)p->prefill_fixed_ms);
    jw_kdouble(w, "token_ms", (double)p->prefill_token_ms);
    jw_kdouble(w, "context_ms", (double)p->prefill_context_ms);
    jw_kint(w, "largest", p->prefill_largest);
    jw_obj_end(w);
    jw_obj_end(w);
}

/* The others stay as they are, also those of other machines (the folder may be shared). */
static void write_others(struct jw *w, const json_t *entries, const char *machine,
                         const struct model_info *model)
{
    size_t n = json_array_size(entries);
    struct buf text;
    buf_init(&text, FILE_MAX);
    for (size_t i = n < TUNING_MAX ? 0 : n - TUNING_MAX + 1; i < n; i++) {
        const json_t *entry = json_array_get(entries, i);
        if (is_text(entry, "machine", machine) && is_text(entry, "file", model->path)) continue;
        buf_clear(&text);
        if (json_dump(entry, &text) == OK) jw_raw(w, buf_str(&text), text.len);
    }
    buf_free(&text);
}

enum err tuning_store(const char *data_dir, const struct engine *engine,
                      const struct model_info *model, const struct shape_profile *profile,
                      struct error *error)
{
    char path[PATH_ROOM], machine[MACHINE_MAX];
    enum err e = fs_join(path, sizeof path, data_dir, "tuning.json", error);
    if (!e) e = fs_mkdirs(data_dir, 0700, error);
    if (e) return e;
    tuning_machine(engine, machine, sizeof machine);
    json_t *doc;
    const json_t *entries = read_entries(data_dir, &doc);
    struct buf text;
    struct jw w;
    buf_init(&text, FILE_MAX);
    jw_init(&w, &text);
    jw_obj(&w);
    jw_key(&w, "entries");
    jw_arr(&w);
    write_others(&w, entries, machine, model);
    write_entry(&w, machine, model, profile);
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_putc(&text, '\n');
    json_decref(doc);
    e = text.err ? err_set(error, text.err, "no memory for %.200s", path)
                 : fs_write_atomic(path, buf_str(&text), text.len, 0600, error);
    buf_free(&text);
    return e;
}
