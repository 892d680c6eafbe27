/* What `hearth bench` keeps: found again by the same machine and file, by nobody else. */
#include "provider/tuning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"

struct rig {
    struct engine *engine;
    char dir[64], file[96], json[96];
    struct shape_profile found[8];
};

static void write_text(const char *path, const char *text)
{
    struct error error;
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, &error), OK);
}

static int setup(void **state)
{
    static struct rig r;
    struct error error;
    r = (struct rig){0};
    str_copy(r.dir, sizeof r.dir, "/tmp/hearth-tuning-XXXXXX");
    if (!mkdtemp(r.dir) || engine_open_fake(&r.engine, &error)) return -1;
    str_printf(r.file, sizeof r.file, "%s/m.gguf", r.dir);
    str_printf(r.json, sizeof r.json, "%s/tuning.json", r.dir);
    write_text(r.file, "weights");
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    unlink(r->file);
    unlink(r->json);
    rmdir(r->dir);
    engine_close(r->engine);
    return 0;
}

static struct model_info info_of(const struct rig *r, const char *id)
{
    struct model_info info = {0};
    struct stat st;
    assert_int_equal(stat(r->file, &st), 0);
    str_copy(info.id, sizeof info.id, id);
    str_copy(info.path, sizeof info.path, r->file);
    info.file_bytes = st.st_size;
    info.modified_s = st.st_mtime;
    return info;
}

static void store(const struct rig *r, const struct model_info *info, float first_ms)
{
    struct error error;
    struct shape_profile p = {.n_threads = 3,
                              .n_ubatch = 256,
                              .n_parallel = 12,
                              .kv_type = ENGINE_KV_Q8_0,
                              .prefill_fixed_ms = 1.5f,
                              .prefill_token_ms = 0.25f,
                              .prefill_context_ms = 0.125f,
                              .prefill_largest = 512};
    p.decode_ms[1] = first_ms;
    p.decode_ms[8] = 40;
    assert_int_equal(tuning_store(r->dir, r->engine, info, &p, &error), OK);
}

static size_t load(struct rig *r)
{
    return tuning_load(r->dir, r->engine, r->found, 8);
}

static void test_comes_back(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    assert_int_equal(load(r), 0);
    store(r, &info, 10);
    assert_int_equal(load(r), 1);
    const struct shape_profile *p = &r->found[0];
    assert_string_equal(p->model, "m");
    assert_int_equal(p->n_threads, 3);
    assert_int_equal(p->n_ubatch, 256);
    assert_int_equal(p->n_parallel, 12);
    assert_int_equal(p->kv_type, ENGINE_KV_Q8_0);
    assert_true(p->decode_ms[1] == 10 && p->decode_ms[2] == 0 && p->decode_ms[8] == 40);
    assert_true(p->prefill_fixed_ms == 1.5f && p->prefill_token_ms == 0.25f);
    assert_true(p->prefill_context_ms == 0.125f && p->prefill_largest == 512);
}

static void test_measured_again(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    store(r, &info, 10);
    store(r, &info, 20);
    assert_int_equal(load(r), 1);
    assert_true(r->found[0].decode_ms[1] == 20);
}

static void test_another_file_of_that_name(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    store(r, &info, 10);
    write_text(r->file, "other weights");
    assert_int_equal(load(r), 0);
    unlink(r->file);
    assert_int_equal(load(r), 0);
}

static void test_another_machine(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    struct error error;
    struct buf text;
    store(r, &info, 10);
    buf_init(&text, 1 << 20);
    assert_int_equal(fs_read_file(r->json, 1 << 20, &text, &error), OK);
    char *machine = strstr(text.data, "\"machine\":\"");
    assert_non_null(machine);
    machine[strlen("\"machine\":\"")] = '#';
    assert_int_equal(fs_write_atomic(r->json, text.data, text.len, 0600, &error), OK);
    buf_free(&text);
    assert_int_equal(load(r), 0);
    store(r, &info, 20); /* the other machine's entry stays beside it */
    assert_int_equal(load(r), 1);
    buf_init(&text, 1 << 20);
    assert_int_equal(fs_read_file(r->json, 1 << 20, &text, &error), OK);
    assert_non_null(strstr(buf_str(&text), "\"machine\":\"#"));
    buf_free(&text);
}

static void test_broken_files_are_as_none(void **state)
{
    struct rig *r = *state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"entries\":{}}",
        "{\"entries\":[1,null,\"x\",[]]}",
        "{\"entries\":[{}]}",
        "{\"entries\":[{\"machine\":7,\"file\":7}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(r->json, texts[i]);
        assert_int_equal(load(r), 0);
    }
    struct model_info info = info_of(r, "m");
    write_text(r->json, "{");
    store(r, &info, 10);
    assert_int_equal(load(r), 1);
}

/* Values that can't be are left out one by one. */
static void test_impossible_values(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    char machine[256], text[2048];
    tuning_machine(r->engine, machine, sizeof machine);
    str_printf(
        text, sizeof text,
        "{\"entries\":[{\"model\":\"m\",\"file\":\"%s\",\"bytes\":%lld,\"modified\":%lld,"
        "\"machine\":\"%s\",\"threads\":-1,\"ubatch\":\"x\",\"parallel\":65,\"kv_type\":\"q9\","
        "\"decode_ms\":{\"1\":-5,\"2\":8,\"3\":1e300,\"65\":1,\"x\":2},\"prefill\":[]}]}",
        r->file, (long long)info.file_bytes, (long long)info.modified_s, machine);
    write_text(r->json, text);
    assert_int_equal(load(r), 1);
    const struct shape_profile *p = &r->found[0];
    assert_int_equal(p->n_threads + p->n_ubatch + p->n_parallel, 0);
    assert_int_equal(p->kv_type, ENGINE_KV_F16);
    assert_true(p->decode_ms[1] == 0 && p->decode_ms[2] == 8 && p->decode_ms[3] == 0);
}

static void test_a_folder_that_cannot_be(void **state)
{
    struct rig *r = *state;
    struct model_info info = info_of(r, "m");
    struct error error;
    struct shape_profile p = {0};
    assert_int_not_equal(tuning_store(r->file, r->engine, &info, &p, &error), OK);
    assert_int_equal(tuning_load(r->file, r->engine, r->found, 8), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_comes_back),
        TEST(test_measured_again),
        TEST(test_another_file_of_that_name),
        TEST(test_another_machine),
        TEST(test_broken_files_are_as_none),
        TEST(test_impossible_values),
        TEST(test_a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
