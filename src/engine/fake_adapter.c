/* The fake engine's adapters; engine_fake.c says what they do. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/fake_int.h"

static uint32_t id_of(const char *path)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (const char *p = path; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
    return h;
}

static bool set_option(struct fake_adapter *a, const char *name, const char *value)
{
    int64_t ms;
    if (str_eq(name, "swap")) {
        if (strlen(value) != 2) return false;
        a->from = value[0];
        a->to = value[1];
        return true;
    }
    if (str_eq(name, "load_ms")) {
        if (!str_to_i64(value, 0, 60000, &ms)) return false;
        a->load_ms = (int32_t)ms;
        return true;
    }
    if (!str_eq(name, "fail_load")) return false;
    free(a->fail_load);
    a->fail_load = xstrdup(value);
    return true;
}

static enum err read_options(struct fake_adapter *a, const char *p, struct error *error)
{
    while (*p++ == ',') {
        char item[256];
        size_t len = strcspn(p, ",");
        if (len >= sizeof item) return err_set(error, ERR_MODEL_FILE, "fake: option too long");
        memcpy(item, p, len);
        item[len] = '\0';
        char *eq = strchr(item, '=');
        if (eq) *eq = '\0';
        if (!eq || !set_option(a, item, eq + 1))
            return err_set(error, ERR_MODEL_FILE, "fake: unknown option of an adapter '%s'", item);
        p += len;
    }
    return OK;
}

enum err fake_adapter_load(struct engine_model *m, const char *path, struct engine_adapter **out,
                           struct error *error)
{
    static const char prefix[] = "fake:lora";
    (void)m;
    if (!str_starts(path, prefix))
        return err_set(error, ERR_MODEL_FILE, "'%s' is not a fake adapter", path);
    struct fake_adapter *a = xcalloc(1, sizeof *a);
    a->id = id_of(path);
    a->head.facts = (struct engine_adapter_facts){
        .alpha = 8, .bytes = 100, .fingerprint = a->id | UINT64_C(1) << 32};
    enum err e = read_options(a, path + sizeof prefix - 1, error);
    struct timespec t = {a->load_ms / 1000, a->load_ms % 1000 * 1000000L};
    if (!e) nanosleep(&t, NULL);
    if (!e && a->fail_load) e = err_set(error, ERR_MODEL_FILE, "%s", a->fail_load);
    if (e) {
        fake_adapter_free(&a->head);
        return e;
    }
    *out = &a->head;
    return OK;
}

void fake_adapter_free(struct engine_adapter *head)
{
    struct fake_adapter *a = (struct fake_adapter *)head;
    free(a->fail_load);
    free(a);
}
