/* Header inspection: what real files say, and every way a file can lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "models/gguf.h"
#include "unit/models/gguf_make.h"

static struct error error;
static struct model_info info;

static enum err inspect(const struct make *m)
{
    return gguf_inspect_bytes(m->b.data, m->b.len, m->b.len, &info, &error);
}

/* Finishes, inspects and frees; the refusal must hold `says`. */
static void expect_refused(struct make *m, const char *says)
{
    make_finish(m, 'x');
    assert_int_equal(inspect(m), ERR_MODEL_FILE);
    if (!strstr(error.msg, says)) fail_msg("\"%s\" doesn't say \"%s\"", error.msg, says);
    buf_free(&m->b);
}

/* ---- files that are right ---------------------------------------------------------------- */

static void the_builtin_models_are_described(void **state)
{
    (void)state;
    assert_int_equal(gguf_inspect(HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf", &info, &error), OK);
    assert_string_equal(info.name, "hearth-tiny");
    assert_string_equal(info.arch, "llama");
    assert_string_equal(info.quant, "Q8_0");
    assert_int_equal(info.kind, MODEL_CHAT);
    assert_true(info.has_chat_template);
    assert_true(info.has_tools);
    assert_int_equal(info.n_ctx_train, 1024);
    assert_int_equal(info.n_embd, 256);
    assert_int_equal(info.n_layer, 6);
    assert_int_equal(info.n_vocab, 4096);
    assert_in_range(info.n_params, 5000000, 6000000);
    assert_true(info.file_bytes > 6000000);
    assert_true(info.modified_s > 1600000000);
    assert_true(str_ends(info.path, "/models/hearth-tiny.gguf"));
    assert_int_equal(
        gguf_inspect(HEARTH_SOURCE_DIR "/models/hearth-tiny-embed.gguf", &info, &error), OK);
    assert_int_equal(info.kind, MODEL_EMBEDDING);
    assert_false(info.has_chat_template);
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        int pooling; /* -1 none */
        const char *tensor, *template, *finetune;
        enum model_kind kind;
    } cases[] = {
        {"llama", -1, "output.weight", "{{x}}", NULL, MODEL_CHAT},
        {"llama", -1, "output.weight", NULL, NULL, MODEL_COMPLETION},
        {"llama", -1, "output.weight", "", NULL, MODEL_COMPLETION},
        {"llama", -1, "output.weight", NULL, "Instruct", MODEL_CHAT},
        {"qwen3", 3, "output.weight", "{{x}}", NULL, MODEL_EMBEDDING},
        {"qwen3", 4, "cls.output.weight", "{{x}}", NULL, MODEL_RERANK},
        {"qwen3", 0, "output.weight", "{{x}}", NULL, MODEL_CHAT},
        {"bert", 2, "cls.weight", NULL, NULL, MODEL_EMBEDDING},
        {"bert", -1, "cls.weight", NULL, NULL, MODEL_RERANK},
        {"bert", 4, "cls.weight", NULL, NULL, MODEL_RERANK},
        {"bert", 0, "a.weight", NULL, NULL, MODEL_EMBEDDING},
        {"nomic-bert", -1, "a.weight", NULL, NULL, MODEL_EMBEDDING},
        {"gemma-embedding", -1, "a.weight", NULL, NULL, MODEL_EMBEDDING},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        char key[64];
        make_begin(&m);
        make_text(&m, "general.architecture", cases[i].arch);
        snprintf(key, sizeof(key), "%s.pooling_type", cases[i].arch);
        if (cases[i].pooling >= 0) make_number(&m, key, (uint32_t)cases[i].pooling);
        if (cases[i].template) make_text(&m, "tokenizer.chat_template", cases[i].template);
        if (cases[i].finetune) make_text(&m, "general.finetune", cases[i].finetune);
        make_tensor(&m, cases[i].tensor, 8);
        make_finish(&m, 'x');
        assert_int_equal(inspect(&m), OK);
        if (info.kind != cases[i].kind) fail_msg("case %zu: kind %d", i, (int)info.kind);
        buf_free(&m.b);
    }
}

static void marks_of_a_gap_are_found_by_key_and_by_word(void **state)
{
    (void)state;
    static const struct {
        const char *words[4], *keys[3];
        bool infill;
    } cases[] = {
        {{"a", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}, {NULL}, true},
        {{"<\xEF\xBD\x9C"
          "fim\xE2\x96\x81"
          "begin\xEF\xBD\x9C>",
          "<\xEF\xBD\x9C"
          "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
          "<\xEF\xBD\x9C"
          "fim\xE2\x96\x81"
          "end\xEF\xBD\x9C>",
          "x"},
         {NULL},
         true},
        {{"a", "b", "c", "d"}, {"fim_pre", "fim_suf", "fim_mid"}, true},
        {{"a", "b", "c", "d"}, {"prefix", "suffix", "middle"}, true},
        {{"<PRE>", "b", "c", "d"}, {"fim_suf", "middle", "bos"}, true},
        {{"<PRE>", "<SUF>", "c", "d"}, {NULL}, false},
        {{"<PRE>", "<PRE>", "<SUF>", "<SUF>"}, {"fim_pre", "fim_suf", "fim_pad"}, false},
        {{"<|fim_prefix|> ", "<|fim_suffix|>", "<|fim_middle|>", "d"}, {NULL}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        char key[64];
        make_begin(&m);
        make_text(&m, "general.architecture", "llama");
        make_key(&m, "tokenizer.ggml.tokens", MAKE_ARRAY);
        make_u32(&m, MAKE_STRING);
        make_u64(&m, 4);
        for (size_t k = 0; k < 4; k++) make_str(&m, cases[i].words[k]);
        for (size_t k = 0; k < 3 && cases[i].keys[k]; k++) {
            snprintf(key, sizeof(key), "tokenizer.ggml.%s_token_id", cases[i].keys[k]);
            make_number(&m, key, (uint32_t)k);
        }
        make_tensor(&m, "output.weight", 4);
        make_finish(&m, 'x');
        assert_int_equal(inspect(&m), OK);
        if (info.has_infill != cases[i].infill) fail_msg("case %zu", i);
        assert_int_equal(info.n_vocab, 4);
        buf_free(&m.b);
    }
}

static void what_a_template_can_is_read_from_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool tools, thinking, effort;
    } cases[] = {
        {"{{ messages }}", false, false, false},
        {"{{ tools }}{{ messages }}", true, false, false},
        {"{% if enable_thinking %}<think>{% endif %}", false, true, false},
        {"Reasoning: {{ reasoning_effort }}<|channel|>analysis", false, true, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        make_begin(&m);
        make_text(&m, "general.architecture", "llama");
        make_text(&m, "tokenizer.chat_template", cases[i].text);
        make_tensor(&m, "output.weight", 4);
        make_finish(&m, 'x');
        assert_int_equal(inspect(&m), OK);
        assert_int_equal(info.kind, MODEL_CHAT);
        assert_int_equal(info.has_tools, cases[i].tools);
        assert_int_equal(info.has_thinking, cases[i].thinking);
        assert_int_equal(info.has_effort, cases[i].effort);
        buf_free(&m.b);
    }
}

static void keys_may_stand_before_the_architecture(void **state)
{
    (void)state;
    struct make m;
    make_begin(&m);
    make_number(&m, "llama.context_length", 777);
    make_number(&m, "clip.context_length", 5);
    make_text(&m, "general.architecture", "llama");
    make_number(&m, "llama.embedding_length", 64);
    make_tensor(&m, "a", 8);
    make_finish(&m, 'x');
    assert_int_equal(inspect(&m), OK);
    assert_int_equal(info.n_ctx_train, 777);
    assert_int_equal(info.n_embd, 64);
    buf_free(&m.b);
}

static void the_quantisation_comes_from_the_type_or_the_tensors(void **state)
{
    (void)state;
    static const struct {
        int file_type;
        const char *quant;
    } cases[] = {{0, "F32"},   {1, "F16"},    {15, "Q4_K_M"}, {1024 + 15, "Q4_K_M"}, {30, "IQ4_XS"},
                 {32, "BF16"}, {38, "MXFP4"}, {5, "F32"},     {999, "F32"},          {-1, "F32"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        make_begin(&m);
        make_text(&m, "general.architecture", "llama");
        if (cases[i].file_type >= 0)
            make_number(&m, "general.file_type", (uint32_t)cases[i].file_type);
        make_tensor(&m, "a", 8);
        make_finish(&m, 'x');
        assert_int_equal(inspect(&m), OK);
        assert_string_equal(info.quant, cases[i].quant);
        buf_free(&m.b);
    }
}

static void names_are_safe_for_terminals(void **state)
{
    (void)state;
    struct make m;
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_text(&m, "general.name",
              "evil\x1b[2J\xc2\x9b"
              "end");
    make_tensor(&m, "a", 8);
    make_finish(&m, 'x');
    assert_int_equal(inspect(&m), OK);
    assert_string_equal(info.name, "evil [2J  end");
    buf_free(&m.b);
}

/* ---- files that are not ------------------------------------------------------------------ */

static void other_files_are_refused(void **state)
{
    (void)state;
    static const char *const types[] = {"adapter", "mmproj", "imatrix", "controlvector"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct make m;
        make_begin(&m);
        make_text(&m, "general.architecture", "llama");
        make_text(&m, "general.type", types[i]);
        make_tensor(&m, "a", 8);
        expect_refused(&m, i == 0 ? "LoRA adapter" : i == 1 ? "vision projector" : "not a model");
    }
    struct make m;
    make_begin(&m);
    make_text(&m, "general.architecture", "clip");
    make_tensor(&m, "a", 8);
    expect_refused(&m, "vision projector");
    static const char *const texts[] = {"", "GG", "GGUF", "<!DOCTYPE html><html><head>",
                                        "PK\x03\x04 a zip file, long enough for a header"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len = strlen(texts[i]);
        assert_int_equal(gguf_inspect_bytes(texts[i], len, len, &info, &error), ERR_MODEL_FILE);
        assert_string_equal(error.msg, "not a GGUF model file");
    }
}

static void versions_are_checked(void **state)
{
    (void)state;
    static const struct {
        uint32_t version;
        const char *says;
    } cases[] = {{1, "version 1 is not supported"},
                 {4, "version 4"},
                 {0, "version 0"},
                 {0x03000000, "big-endian"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        make_begin(&m);
        for (int k = 0; k < 4; k++) m.b.data[4 + k] = (char)(cases[i].version >> (8 * k));
        expect_refused(&m, cases[i].says);
    }
    struct make m;
    make_chat(&m, "v2", 8);
    m.b.data[4] = 2;
    assert_int_equal(inspect(&m), OK);
    buf_free(&m.b);
}

/* Cut at every byte: never a crash, always a reason. */
static void truncation_is_told_wherever_it_is(void **state)
{
    (void)state;
    struct make m;
    make_chat(&m, "cut", 200);
    for (size_t len = 0; len < m.b.len; len++) {
        assert_int_equal(gguf_inspect_bytes(m.b.data, len, len, &info, &error), ERR_MODEL_FILE);
        if (len >= 24) assert_non_null(strstr(error.msg, "truncated"));
    }
    assert_int_equal(inspect(&m), OK);
    buf_free(&m.b);
    char dir[64], path[96];
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/m.gguf", dir);
    make_chat(&m, "big", 500000);
    size_t whole = m.b.len;
    make_save(&m, path);
    assert_int_equal(truncate(path, 1 << 20), 0);
    assert_int_equal(gguf_inspect(path, &info, &error), ERR_MODEL_FILE);
    char needs[64];
    snprintf(needs, sizeof(needs), "needs 1.9 MiB (%zu bytes), has 1.0 MiB", whole);
    assert_non_null(strstr(error.msg, needs));
    assert_non_null(strstr(error.msg, "pull it again"));
    make_dir_remove(dir);
}

static void lying_numbers_are_refused(void **state)
{
    (void)state;
    struct make m;
    make_begin(&m); /* a text of 2^63 bytes */
    make_key(&m, "general.architecture", MAKE_STRING);
    make_u64(&m, UINT64_C(1) << 63);
    expect_refused(&m, "truncated");
    make_begin(&m); /* an array that would wrap */
    make_key(&m, "x", MAKE_ARRAY);
    make_u32(&m, MAKE_U64);
    make_u64(&m, UINT64_MAX / 4);
    expect_refused(&m, "truncated");
    make_begin(&m);
    make_key(&m, "x", MAKE_ARRAY);
    make_u32(&m, MAKE_STRING);
    make_u64(&m, UINT64_MAX);
    expect_refused(&m, "truncated");
    make_begin(&m); /* and one whose size wraps to nothing */
    make_key(&m, "x", MAKE_ARRAY);
    make_u32(&m, MAKE_U64);
    make_u64(&m, UINT64_C(1) << 61);
    expect_refused(&m, "truncated");
    make_begin(&m);
    make_key(&m, "x", 13);
    expect_refused(&m, "unknown type 13");
    make_begin(&m);
    make_key(&m, "x", MAKE_ARRAY);
    make_u32(&m, MAKE_ARRAY);
    make_u64(&m, 1);
    expect_refused(&m, "array of arrays");
    make_begin(&m);
    make_key(&m, "", MAKE_U32);
    make_u32(&m, 1);
    expect_refused(&m, "a key has 0 bytes");
    make_begin(&m);
    m.n_kv = 1u << 30;
    expect_refused(&m, "1073741824 keys");
    make_begin(&m);
    m.n_tensors = UINT64_MAX;
    expect_refused(&m, "tensors, at most");
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_text(&m, "general.architecture", "llama");
    expect_refused(&m, "stands twice");
    make_begin(&m);
    make_number(&m, "general.architecture", 3);
    expect_refused(&m, "instead of string");
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_text(&m, "llama.context_length", "many");
    expect_refused(&m, "instead of a number");
    make_begin(&m);
    make_text(&m, "general.name", "nameless");
    make_tensor(&m, "a", 8);
    expect_refused(&m, "general.architecture");
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    expect_refused(&m, "no tensors");
}

/* A tensor table entry by hand. */
static void put_tensor(struct make *m, const char *name, uint32_t n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    make_str(m, name);
    make_u32(m, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) make_u64(m, dims[i]);
    make_u32(m, type);
    make_u64(m, offset);
    m->n_tensors++;
}

static void lying_tensors_are_refused(void **state)
{
    (void)state;
    static const uint64_t huge[5] = {UINT64_C(1) << 32, UINT64_C(1) << 32, 4, 1},
                          many[5] = {UINT64_C(1) << 62, 3, 1, 1}, over[5] = {INT64_MAX, 1, 1, 1},
                          odd[5] = {33, 1, 1, 1}, fine[5] = {32, 1, 1, 1};
    static const struct {
        uint32_t n_dims;
        const uint64_t *dims;
        uint32_t type;
        uint64_t offset;
        const char *says;
    } cases[] = {
        {3, huge, 0, 0, "more elements than there can be"},
        {2, many, 41, 0, "more elements than there can be"},
        {1, over, 0, 0, "more bytes than there can be"},
        {1, odd, 8, 0, "not whole blocks of Q8_0"},
        {1, fine, 4, 0, "unknown or removed type 4"},
        {1, fine, 43, 0, "unknown or removed type 43"},
        {1, fine, UINT32_MAX, 0, "unknown or removed type"},
        {5, fine, 0, 0, "5 dimensions"},
        {1, fine, 0, 32, "at offset 32 instead of 0"},
        {1, fine, 0, UINT64_MAX, "offset"},
        {1, fine, 0, 0, "truncated: needs"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct make m;
        make_begin(&m);
        make_text(&m, "general.architecture", "llama");
        put_tensor(&m, "a", cases[i].n_dims, cases[i].dims, cases[i].type, cases[i].offset);
        expect_refused(&m, cases[i].says);
    }
    struct make m;
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_tensor(&m, "a", 8);
    make_tensor(&m, "a", 8);
    expect_refused(&m, "the tensor a stands twice");
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_number(&m, "general.alignment", 33);
    make_tensor(&m, "a", 8);
    expect_refused(&m, "power of two");
    make_begin(&m);
    make_text(&m, "general.architecture", "llama");
    make_number(&m, "general.alignment", 64);
    m.alignment = 64;
    make_tensor(&m, "a", 8);
    make_tensor(&m, "b", 8);
    make_finish(&m, 'x');
    assert_int_equal(inspect(&m), OK);
    assert_int_equal(info.n_params, 16);
    buf_free(&m.b);
}

/* ---- files on disk ----------------------------------------------------------------------- */

static void paths_that_are_no_files_are_refused(void **state)
{
    (void)state;
    char dir[64], path[96];
    make_dir(dir);
    assert_int_equal(gguf_inspect(dir, &info, &error), ERR_MODEL_FILE);
    snprintf(path, sizeof(path), "%s/none.gguf", dir);
    assert_int_equal(gguf_inspect(path, &info, &error), ERR_NOT_FOUND);
    snprintf(path, sizeof(path), "%s/pipe.gguf", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(gguf_inspect(path, &info, NULL), ERR_MODEL_FILE); /* and doesn't hang */
    make_dir_remove(dir);
}

static void a_split_model_is_one(void **state)
{
    (void)state;
    char dir[64], path[3][128];
    make_dir(dir);
    struct make m;
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(path[i], sizeof(path[i]), "%s/big-0000%u-of-00003.gguf", dir, i + 1);
        make_part(&m, i, 3);
        make_save(&m, path[i]);
    }
    struct stat st;
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stat(path[i], &st), 0);
        sum += st.st_size;
    }
    assert_int_equal(gguf_inspect(path[0], &info, &error), OK);
    assert_int_equal(info.n_params, 300);
    assert_int_equal(info.file_bytes, sum);
    assert_int_equal(gguf_inspect(path[1], &info, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "part 2 of 3"));
    int no, n;
    assert_int_equal(gguf_check_file(path[1], &no, &n, &error), OK);
    assert_int_equal(no, 1);
    assert_int_equal(n, 3);
    assert_int_equal(truncate(path[2], 200), 0);
    assert_int_equal(gguf_inspect(path[0], &info, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "part 3 of 3: "));
    assert_non_null(strstr(error.msg, "truncated"));
    assert_int_equal(rename(path[1], path[2]), 0);
    assert_int_equal(gguf_inspect(path[0], &info, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "part 2 of 3 is missing (big-00002-of-00003.gguf)"));
    assert_int_equal(rename(path[2], path[1]), 0);
    make_part(&m, 1, 3);
    make_save(&m, path[2]); /* the second part again */
    assert_int_equal(gguf_inspect(path[0], &info, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "is not part 3 of 3"));
    make_dir_remove(dir);
}

static void metadata_is_shown_as_json(void **state)
{
    (void)state;
    char dir[64], path[96];
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/m.gguf", dir);
    struct make m;
    make_begin(&m);
    make_chat_keys(&m, "quote \" and \xff");
    make_texts(&m, "short", 3);
    make_key(&m, "real", MAKE_F32);
    make_u32(&m, 0x3fc00000); /* 1.5 */
    make_key(&m, "yes", MAKE_BOOL);
    make_raw(&m, "\1", 1);
    make_key(&m, "minus", MAKE_I32);
    make_u32(&m, (uint32_t)-5);
    make_key(&m, "not.a.number", MAKE_F32);
    make_u32(&m, 0x7fc00000);
    make_texts(&m, "long", 1000);
    make_tensor(&m, "a", 8);
    make_finish(&m, 'x');
    make_save(&m, path);
    struct buf out;
    json_t *doc;
    buf_init(&out, 1 << 20);
    assert_int_equal(gguf_metadata_json(path, &out, &error), OK);
    assert_int_equal(json_parse(buf_str(&out), out.len, &doc, &error), OK);
    assert_string_equal(json_string_value(json_object_get(doc, "general.architecture")), "llama");
    assert_int_equal(json_array_size(json_object_get(doc, "short")), 3);
    assert_float_equal(json_real_value(json_object_get(doc, "real")), 1.5, 0);
    assert_true(json_is_true(json_object_get(doc, "yes")));
    assert_int_equal(json_integer_value(json_object_get(doc, "minus")), -5);
    assert_true(json_is_null(json_object_get(doc, "not.a.number")));
    const json_t *cut = json_object_get(doc, "long");
    assert_int_equal(json_integer_value(json_object_get(cut, "length")), 1000);
    json_decref(doc);
    buf_free(&out);
    buf_init(&out, 100); /* too small for it */
    assert_int_equal(gguf_metadata_json(path, &out, &error), ERR_TOO_LARGE);
    buf_free(&out);
    make_dir_remove(dir);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
#if !HEARTH_FAULTS
    skip();
#else
    struct buf out;
    long n = 1;
    buf_init(&out, 1 << 20);
    for (bool reached = true; reached && n < 1000; n++) {
        const char *path = HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf";
        fault_arm(FAULT_alloc, n, false);
        enum err e = gguf_inspect(path, &info, &error);
        reached = fault_count(FAULT_alloc) >= n;
        /* not each one counts: a table of names that can't grow is only slower */
        assert_true(e == OK || (e == ERR_NOMEM && reached));
        fault_arm(FAULT_alloc, n, false);
        buf_clear(&out);
        e = gguf_metadata_json(path, &out, &error);
        assert_true(e == OK || e == ERR_NOMEM);
    }
    fault_arm(FAULT_alloc, 0, false);
    assert_in_range(n, 5, 999);
    buf_free(&out);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_builtin_models_are_described),
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(marks_of_a_gap_are_found_by_key_and_by_word),
        cmocka_unit_test(what_a_template_can_is_read_from_it),
        cmocka_unit_test(keys_may_stand_before_the_architecture),
        cmocka_unit_test(the_quantisation_comes_from_the_type_or_the_tensors),
        cmocka_unit_test(names_are_safe_for_terminals),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(versions_are_checked),
        cmocka_unit_test(truncation_is_told_wherever_it_is),
        cmocka_unit_test(lying_numbers_are_refused),
        cmocka_unit_test(lying_tensors_are_refused),
        cmocka_unit_test(paths_that_are_no_files_are_refused),
        cmocka_unit_test(a_split_model_is_one),
        cmocka_unit_test(metadata_is_shown_as_json),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
