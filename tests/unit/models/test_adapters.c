/* LoRA adapters on disk: names, and what does not fit or is broken is refused with its reason
 * before the inference library could see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "models/adapters.h"
#include "models/gguf.h"
#include "unit/models/gguf_make.h"

#define BUILTIN HEARTH_SOURCE_DIR "/models"

enum { F32 = 0, F16 = 1, Q8_0 = 8, I32 = 26 };

struct fixture {
    char dir[64];
    struct adapters *adapters;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct error error;
    strcpy(f->dir, "/tmp/hearth-adapters-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(adapters_open(f->dir, BUILTIN "/adapters", &f->adapters, &error), OK);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    char command[128];
    adapters_free(f->adapters);
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}

static void tensor(struct make *m, const char *name, uint64_t columns, uint64_t rows, uint32_t type)
{
    uint64_t bytes = type == F16    ? 2 * columns * rows
                     : type == Q8_0 ? columns / 32 * 34 * rows
                                    : 4 * columns * rows;
    make_str(m, name);
    make_u32(m, 2);
    make_u64(m, columns);
    make_u64(m, rows);
    make_u32(m, type);
    make_u64(m, m->data_bytes);
    m->data_bytes += (bytes + m->alignment - 1) / m->alignment * m->alignment;
    m->n_tensors++;
}

static void number_f32(struct make *m, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    make_key(m, key, MAKE_F32);
    make_u32(m, bits);
}

static void begin(struct make *m, const char *arch, float alpha)
{
    make_begin(m);
    make_text(m, "general.type", "adapter");
    make_text(m, "general.architecture", arch);
    make_text(m, "adapter.type", "lora");
    make_text(m, "general.name", "test");
    make_text(m, "general.base_model.0.name", "Some Model");
    number_f32(m, "adapter.lora.alpha", alpha);
}

/* For the built-in model: 256 columns and rows. */
static void good(struct make *m)
{
    begin(m, "llama", 8);
    tensor(m, "blk.0.attn_q.weight.lora_a", 256, 4, F32);
    tensor(m, "blk.0.attn_q.weight.lora_b", 4, 256, F32);
}

static void save(struct make *m, const struct fixture *f, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    mkdir(path, 0755);
    *slash = '/';
    if (m) make_finish(m, 0);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (m) assert_int_equal(fwrite(m->b.data, 1, m->b.len, file), m->b.len);
    fclose(file);
    if (m) buf_free(&m->b);
}

static struct model_info builtin_model(void)
{
    struct model_info info;
    struct error error;
    assert_int_equal(gguf_inspect(BUILTIN "/hearth-tiny.gguf", &info, &error), OK);
    strcpy(info.id, "hearth-tiny");
    return info;
}

static void expect(struct fixture *f, const char *name, enum err code, const char *word)
{
    struct adapter_info info;
    struct error error = {0};
    struct model_info model = builtin_model();
    enum err e = adapters_resolve(f->adapters, name, &info, &error);
    if (!e) e = adapters_check(f->adapters, &info, &model, &error);
    if (e != code || (word && !strstr(error.msg, word)))
        fail_msg("%s: %d %s (wanted %s)", name, e, error.msg, word ? word : "");
    if (!e) return;
    assert_null(strstr(error.msg, f->dir)); /* no path reaches a client */
}

static void test_the_built_in_ones_fit_the_built_in_model(void **state)
{
    struct fixture *f = *state;
    struct adapter_info *all;
    struct error error;
    size_t n;
    assert_int_equal(adapters_list(f->adapters, &all, &n, &error), OK);
    assert_int_equal(n, 2);
    assert_string_equal(all[0].name, "pirate");
    assert_string_equal(all[1].name, "terse");
    assert_true(all[0].builtin && all[0].rank == 8 && all[0].alpha == 16 && all[0].bytes > 400000);
    assert_string_equal(all[0].arch, "llama");
    free(all);
    expect(f, "pirate", OK, NULL);
    expect(f, "terse", OK, NULL);
    expect(f, "privateer", ERR_NO_ADAPTER, "pirate, terse");
    expect(f, "default", ERR_NO_ADAPTER, "none lies directly");
}

static void test_names_and_the_default_one(void **state)
{
    struct fixture *f = *state;
    struct make m;
    struct adapter_info info, *all;
    struct error error;
    size_t n;
    good(&m);
    save(&m, f, "one.gguf");
    good(&m);
    save(&m, f, "folder/whatever.gguf");
    good(&m);
    save(&m, f, "pirate/mine.gguf"); /* goes before the built-in one */
    good(&m);
    save(&m, f, "base/x.gguf");
    save(NULL, f, "empty/readme.txt");
    save(NULL, f, ".hidden.gguf");
    assert_int_equal(adapters_list(f->adapters, &all, &n, &error), OK);
    assert_int_equal(n, 5); /* base, folder, one, pirate, terse */
    free(all);
    expect(f, "one", OK, NULL);
    expect(f, "folder", OK, NULL);
    assert_int_equal(adapters_resolve(f->adapters, "default", &info, &error), OK);
    assert_string_equal(info.name, "one");
    assert_string_equal(info.base_model, "Some Model");
    assert_int_equal(info.rank, 4);
    assert_int_equal(adapters_resolve(f->adapters, "pirate", &info, &error), OK);
    assert_false(info.builtin);
    expect(f, "base", ERR_ADAPTER, "rename");
    assert_true(adapter_is_none("base") && adapter_is_none("none") && !adapter_is_none("one"));
}

static void test_two_direct_ones_are_no_default(void **state)
{
    struct fixture *f = *state;
    struct make m;
    good(&m);
    save(&m, f, "one.gguf");
    good(&m);
    save(&m, f, "two.gguf");
    expect(f, "default", ERR_NO_ADAPTER, "2 lie directly");
}

static void test_a_folder_must_hold_one_file(void **state)
{
    struct fixture *f = *state;
    struct make m;
    good(&m);
    save(&m, f, "pair/a.gguf");
    good(&m);
    save(&m, f, "pair/b.gguf");
    save(NULL, f, "peft/adapter_model.safetensors");
    expect(f, "pair", ERR_ADAPTER, "2 GGUF files");
    expect(f, "peft", ERR_ADAPTER, "convert_lora_to_gguf.py");
}

static void test_a_file_that_changes_is_looked_at_again(void **state)
{
    struct fixture *f = *state;
    struct make m;
    struct adapter_info before, after;
    struct error error;
    begin(&m, "gemma3", 8);
    tensor(&m, "blk.0.attn_q.weight.lora_a", 256, 4, F32);
    tensor(&m, "blk.0.attn_q.weight.lora_b", 4, 256, F32);
    save(&m, f, "x.gguf");
    expect(f, "x", ERR_ADAPTER, "gemma3");
    assert_int_equal(adapters_resolve(f->adapters, "x", &before, &error), OK);
    good(&m);
    save(&m, f, "x.gguf");
    struct timespec t = {1, 100000000};
    nanosleep(&t, NULL);
    expect(f, "x", OK, NULL);
    assert_int_equal(adapters_resolve(f->adapters, "x", &after, &error), OK);
    assert_true(before.version != after.version);
}

/* Each of these would be refused by the library at best, or make it assert. */
static void test_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    struct make m;
    const struct {
        const char *file, *word;
        struct {
            const char *name;
            uint64_t columns, rows;
            uint32_t type;
        } t[3];
    } bad[] = {
        {"shape",
         "another model",
         {{"blk.0.attn_q.weight.lora_a", 512, 4, F32},
          {"blk.0.attn_q.weight.lora_b", 4, 512, F32}}},
        {"rows",
         "another model",
         {{"blk.0.ffn_up.weight.lora_a", 256, 4, F32},
          {"blk.0.ffn_up.weight.lora_b", 4, 256, F32}}},
        {"absent",
         "has no blk.9",
         {{"blk.9.attn_q.weight.lora_a", 256, 4, F32},
          {"blk.9.attn_q.weight.lora_b", 4, 256, F32}}},
        {"rank",
         "ranks 4 and 8",
         {{"blk.0.attn_q.weight.lora_a", 256, 4, F32},
          {"blk.0.attn_q.weight.lora_b", 8, 256, F32}}},
        {"turned",
         "another model",
         {{"blk.0.attn_q.weight.lora_a", 4, 256, F32},
          {"blk.0.attn_q.weight.lora_b", 256, 4, F32}}},
        {"half", "lora_b is missing", {{"blk.0.attn_q.weight.lora_a", 256, 4, F32}}},
        {"other-half", "lora_a is missing", {{"blk.0.attn_q.weight.lora_b", 4, 256, F32}}},
        {"plain", "no part of a LoRA", {{"blk.0.attn_q.weight", 256, 256, F32}}},
        {"integers",
         "type I32",
         {{"blk.0.attn_q.weight.lora_a", 256, 4, I32},
          {"blk.0.attn_q.weight.lora_b", 4, 256, I32}}},
        {"tied",
         "token embeddings",
         {{"token_embd.weight.lora_a", 4, 4096, F32}, {"token_embd.weight.lora_b", 4, 256, F32}}},
        {"norms", "no weights", {{"blk.0.attn_norm.weight", 256, 1, F32}}},
        {"nothing", "no weights", {{NULL, 0, 0, 0}}},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char name[64];
        begin(&m, "llama", 8);
        for (int k = 0; k < 3 && bad[i].t[k].name; k++)
            tensor(&m, bad[i].t[k].name, bad[i].t[k].columns, bad[i].t[k].rows, bad[i].t[k].type);
        snprintf(name, sizeof(name), "%s.gguf", bad[i].file);
        save(&m, f, name);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        expect(f, bad[i].file, ERR_ADAPTER, bad[i].word);
    for (int again = 0; again < 2; again++) expect(f, "rank", ERR_ADAPTER, "ranks 4 and 8");
}

static void test_what_is_odd_but_fits(void **state)
{
    struct fixture *f = *state;
    struct make m;
    begin(&m, "llama", 0); /* no alpha */
    tensor(&m, "blk.0.attn_q.weight.lora_a", 256, 4, F16);
    tensor(&m, "blk.0.attn_q.weight.lora_b", 4, 256, F32);
    tensor(&m, "blk.5.ffn_down.weight.lora_a", 640, 32, F32); /* another rank */
    tensor(&m, "blk.5.ffn_down.weight.lora_b", 32, 256, Q8_0);
    tensor(&m, "blk.0.attn_norm.weight", 256, 1, F32); /* the library leaves it out */
    save(&m, f, "odd.gguf");
    expect(f, "odd", OK, NULL);
}

static void wrong_key(struct fixture *f, const char *name, const char *type, const char *arch,
                      const char *adapter_type, int alpha_kind)
{
    struct make m;
    char file[64];
    make_begin(&m);
    if (type) make_text(&m, "general.type", type);
    if (arch) make_text(&m, "general.architecture", arch);
    if (adapter_type) make_text(&m, "adapter.type", adapter_type);
    if (alpha_kind == 1) make_number(&m, "adapter.lora.alpha", 16);
    if (alpha_kind == 2) number_f32(&m, "adapter.lora.alpha", -1);
    if (alpha_kind == 3) number_f32(&m, "adapter.lora.alpha", 0.0f / 0.0f);
    if (alpha_kind == 4) {
        make_key(&m, "adapter.alora.invocation_tokens", MAKE_ARRAY);
        make_u32(&m, MAKE_U32);
        make_u64(&m, 1);
        make_u32(&m, 7);
    }
    tensor(&m, "blk.0.attn_q.weight.lora_a", 256, 4, F32);
    tensor(&m, "blk.0.attn_q.weight.lora_b", 4, 256, F32);
    snprintf(file, sizeof(file), "%s.gguf", name);
    save(&m, f, file);
}

static void test_what_is_no_lora(void **state)
{
    struct fixture *f = *state;
    wrong_key(f, "model", "model", "llama", NULL, 0);
    wrong_key(f, "untyped", NULL, "llama", "lora", 0);
    wrong_key(f, "vector", "adapter", "llama", "controlvector", 0);
    wrong_key(f, "archless", "adapter", NULL, "lora", 0);
    wrong_key(f, "alpha-int", "adapter", "llama", "lora", 1);
    wrong_key(f, "alpha-negative", "adapter", "llama", "lora", 2);
    wrong_key(f, "alpha-nan", "adapter", "llama", "lora", 3);
    wrong_key(f, "alora", "adapter", "llama", "lora", 4);
    expect(f, "model", ERR_ADAPTER, "no adapter");
    expect(f, "untyped", ERR_ADAPTER, "no adapter");
    expect(f, "vector", ERR_ADAPTER, "controlvector");
    expect(f, "archless", ERR_ADAPTER, "architecture");
    expect(f, "alpha-int", ERR_ADAPTER, "alpha");
    expect(f, "alpha-negative", ERR_ADAPTER, "alpha");
    expect(f, "alpha-nan", ERR_ADAPTER, "alpha");
    expect(f, "alora", ERR_ADAPTER, "aLoRA");
}

/* Whatever end is missing, whatever byte is wrong: an error or an adapter, never a crash. */
static void test_torn_and_flipped_files(void **state)
{
    struct fixture *f = *state;
    struct make m;
    char path[128];
    good(&m);
    make_finish(&m, 0);
    snprintf(path, sizeof(path), "%s/torn.gguf", f->dir);
    for (size_t cut = 0; cut < m.b.len; cut += cut < 600 ? 1 : 97) {
        struct gguf_adapter g;
        struct error error;
        enum err e = gguf_inspect_adapter_bytes(m.b.data, cut, cut, &g, &error);
        assert_true(e == ERR_MODEL_FILE || e == ERR_ADAPTER);
        assert_true(error.msg[0]);
    }
    for (size_t at = 0; at < m.b.len && at < 700; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct gguf_adapter g;
            m.b.data[at] ^= (char)(1 << bit);
            if (gguf_inspect_adapter_bytes(m.b.data, m.b.len, m.b.len, &g, NULL) == OK)
                gguf_tensors_free(&g.tensors);
            m.b.data[at] ^= (char)(1 << bit);
        }
    }
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(m.b.data, 1, m.b.len - 1, file), m.b.len - 1);
    fclose(file);
    buf_free(&m.b);
    expect(f, "torn", ERR_ADAPTER, "truncated");
}

static void test_a_missing_folder_is_an_empty_one(void **state)
{
    (void)state;
    struct adapters *a;
    struct adapter_info *all, info;
    struct error error;
    size_t n;
    assert_int_equal(adapters_open("/nonexistent/folder", "", &a, &error), OK);
    assert_int_equal(adapters_list(a, &all, &n, &error), OK);
    assert_int_equal(n, 0);
    free(all);
    assert_int_equal(adapters_resolve(a, "x", &info, &error), ERR_NO_ADAPTER);
    adapters_free(a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(test_the_built_in_ones_fit_the_built_in_model),
        TEST(test_names_and_the_default_one),
        TEST(test_two_direct_ones_are_no_default),
        TEST(test_a_folder_must_hold_one_file),
        TEST(test_a_file_that_changes_is_looked_at_again),
        TEST(test_what_does_not_fit),
        TEST(test_what_is_odd_but_fits),
        TEST(test_what_is_no_lora),
        TEST(test_torn_and_flipped_files),
        cmocka_unit_test(test_a_missing_folder_is_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
