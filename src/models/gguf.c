/* Inspection: collects facts from the keys and the tensor table, then judges them.
 *
 * Nothing that libllama would refuse silently or die of passes: the rules here are those of
 * llama.cpp v0.5.0's gguf.cpp (tensors stand one behind the other, padded to the alignment; no
 * duplicates; rows are whole blocks), with reasons that a person can act on. */
#include "models/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/gguf_int.h"

enum { SPLIT_MAX = 1000 };

/* ---- tables ------------------------------------------------------------------------------ */

/* Elements per block and bytes per block: ggml v0.5.0, ggml.c type_traits. 0 = removed. */
static const struct {
    const char *name;
    unsigned elements, bytes;
} tensor_types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},    [42] = {"Q2_0", 64, 18},
};
enum { TENSOR_TYPES = sizeof(tensor_types) / sizeof(tensor_types[0]) };

/* general.file_type: llama.cpp v0.5.0, enum llama_ftype. */
static const char *const file_types[] = {
    [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
    [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
    [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
    [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
    [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
    [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
    [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4",  [39] = "NVFP4",  [40] = "Q1_0",
    [41] = "Q2_0",
};
enum { FILE_TYPES = sizeof(file_types) / sizeof(file_types[0]), FILE_TYPE_GUESSED = 1024 };

enum pooling {
    POOLING_UNKNOWN = -1,
    POOLING_NONE,
    POOLING_MEAN,
    POOLING_CLS,
    POOLING_LAST,
    POOLING_RANK
};

/* Encoders: they embed, they can't generate. */
static const char *const embedding_archs[] = {
    "bert",         "modern-bert", "nomic-bert", "nomic-bert-moe",  "neo-bert",    "jina-bert-v2",
    "jina-bert-v3", "eurobert",    "t5encoder",  "gemma-embedding", "llama-embed",
};

/* GGUF files that are parts or helpers of a model. X: general.type or architecture, what to say */
static const struct {
    const char *word, *reason;
} not_models[] = {
    {"adapter",
     "it is a LoRA adapter, not a model; it is loaded on top of the model it was made for"},
    {"mmproj", "it is a vision projector (mmproj), not a model; get the language model's own file"},
    {"clip", "it is a vision projector (mmproj), not a model; get the language model's own file"},
    {"imatrix", "it is an importance matrix for making quantisations, not a model"},
    {"controlvector", "it is a control vector, not a model"},
    {"eagle3", "it is a draft head for speculative decoding, not a model of its own"},
    {"dflash", "it is a draft head for speculative decoding, not a model of its own"},
    {"gemma4-assistant", "it is a draft head for speculative decoding, not a model of its own"},
    {"wavtokenizer-dec", "it is a speech decoder, not a language model"},
    {"qwen3tts", "it is a speech model, not a language model"},
    {"pockettts", "it is a speech model, not a language model"},
};

/* ---- facts ------------------------------------------------------------------------------- */

struct facts {
    char arch[32], type[32], name[MODEL_ID_MAX], finetune[64];
    char adapter_type[32], base_model[MODEL_ID_MAX];
    double alpha;
    bool activated;
    struct gguf_tensors *tensors; /* NULL: nobody wants their list */
    int64_t file_type, alignment, pooling, split_no, split_count;
    int64_t n_ctx, n_embd, n_layer, n_vocab, vocab_size;
    int64_t n_params;
    bool has_template, has_tools, has_thinking, has_effort, has_classifier;
    unsigned gap_marks;  /* which of gap_words it has, as bits */
    bool arch_came_late; /* keys of the architecture stood before its name: read them again */
    uint64_t type_bytes[TENSOR_TYPES];
};

static const struct {
    const char *name;
    size_t offset;
} general_numbers[] =
    {
        {"general.file_type", offsetof(struct facts, file_type)},
        {"general.alignment", offsetof(struct facts, alignment)},
        {"split.no", offsetof(struct facts, split_no)},
        {"split.count", offsetof(struct facts, split_count)},
},
  arch_numbers[] =
      {
          {"context_length", offsetof(struct facts, n_ctx)},
          {"embedding_length", offsetof(struct facts, n_embd)},
          {"block_count", offsetof(struct facts, n_layer)},
          {"vocab_size", offsetof(struct facts, vocab_size)},
          {"pooling_type", offsetof(struct facts, pooling)},
},
  texts[] = {
      {"general.architecture", offsetof(struct facts, arch)},
      {"general.type", offsetof(struct facts, type)},
      {"general.name", offsetof(struct facts, name)},
      {"general.finetune", offsetof(struct facts, finetune)},
      {"adapter.type", offsetof(struct facts, adapter_type)},
      {"general.base_model.0.name", offsetof(struct facts, base_model)},
};
static const size_t text_sizes[] = {
    sizeof(((struct facts *)0)->arch),         sizeof(((struct facts *)0)->type),
    sizeof(((struct facts *)0)->name),         sizeof(((struct facts *)0)->finetune),
    sizeof(((struct facts *)0)->adapter_type), sizeof(((struct facts *)0)->base_model)};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool wrong_type(struct gguf_reader *r, const struct gguf_key *key, const char *wanted)
{
    return gguf_corrupt(r, "the key %s is of type %s instead of %s", key->name,
                        gguf_type_word(key->type), wanted);
}

static bool read_count(struct gguf_reader *r, const struct gguf_key *key, int64_t *out)
{
    bool integral;
    double d;
    if (key->type == GGUF_STRING || key->type == GGUF_ARRAY) return wrong_type(r, key, "a number");
    if (!gguf_read_number(r, key->type, &integral, out, &d)) return false;
    if (!integral) return wrong_type(r, key, "an integer");
    /* some keys are signed for no reason; none of those read here may be below 0 */
    if (*out < 0) return gguf_corrupt(r, "the key %s is %lld", key->name, (long long)*out);
    return true;
}

/* Shown on terminals: no control characters (C0, DEL, and C1 in UTF-8), nothing that isn't UTF-8.
 */
static void clean(char *s)
{
    size_t len = strlen(s);
    s[utf8_cut(s, len, len)] = '\0';
    if (!utf8_valid(s, strlen(s))) s[0] = '\0';
    for (unsigned char *p = (unsigned char *)s; *p; p++) {
        if (*p < ' ' || *p == 0x7f) *p = ' ';
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) p[0] = p[1] = ' ';
    }
}

static bool read_short_text(struct gguf_reader *r, const struct gguf_key *key, char *dst,
                            size_t size)
{
    if (key->type != GGUF_STRING) return wrong_type(r, key, "string");
    struct buf text;
    uint64_t len;
    buf_init(&text, size);
    bool ok = gguf_read_text(r, &text, size - 1, &len);
    if (ok) str_copy(dst, size, buf_str(&text)); /* ends at a '\0' within */
    buf_free(&text);
    clean(dst);
    return ok;
}

/* The marks and variables by which templates let their models think. */
bool gguf_template_thinks(const char *template)
{
    static const char *const marks[] = {"<think>", "enable_thinking", "reasoning_content",
                                        "<|channel|>analysis", "[THINK]"};
    for (size_t i = 0; i < COUNT(marks); i++)
        if (strstr(template, marks[i])) return true;
    return false;
}

bool gguf_template_weighs_effort(const char *template)
{
    return strstr(template, "reasoning_effort") != NULL;
}

static bool read_template(struct gguf_reader *r, const struct gguf_key *key, struct facts *f)
{
    if (key->type != GGUF_STRING) return wrong_type(r, key, "string");
    struct buf text;
    uint64_t len;
    buf_init(&text, GGUF_TEXT_MAX);
    bool ok = gguf_read_text(r, &text, GGUF_TEXT_MAX, &len);
    if (ok && len > GGUF_TEXT_MAX)
        ok = gguf_corrupt(r, "its chat template is larger than %d MiB", GGUF_TEXT_MAX >> 20);
    if (ok && len > 0) {
        f->has_template = true;
        f->has_tools = f->has_tools || strstr(buf_str(&text), "tools") != NULL;
        f->has_thinking = f->has_thinking || gguf_template_thinks(buf_str(&text));
        f->has_effort = f->has_effort || gguf_template_weighs_effort(buf_str(&text));
    }
    buf_free(&text);
    return ok;
}

/* The marks of a gap: the words that llama.cpp (llama-vocab.cpp) takes for them where the file does
 * not say which tokens they are. */
static const char *const gap_words[][8] = {
    {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
     "<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "begin\xEF\xBD\x9C>",
     "<PRE>", "\xE2\x96\x81<PRE>", "<|code_prefix|>", "<|prefix|>"},
    {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
     "<\xEF\xBD\x9C"
     "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
     "<SUF>", "\xE2\x96\x81<SUF>", "<|code_suffix|>", "<|suffix|>"},
    {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
     "<\xEF\xBD\x9C"
     "fim\xE2\x96\x81"
     "end\xEF\xBD\x9C>",
     "<MID>", "\xE2\x96\x81<MID>", "<|code_middle|>", "<|middle|>"}};

enum { GAP_WORD_MAX = 24, ALL_GAP_MARKS = (1 << COUNT(gap_words)) - 1 };

static unsigned gap_mark(const char *token)
{
    for (unsigned i = 0; i < COUNT(gap_words); i++)
        for (size_t k = 0; k < COUNT(gap_words[i]); k++)
            if (str_eq(token, gap_words[i][k])) return 1u << i;
    return 0;
}

static bool read_tokens(struct gguf_reader *r, const struct gguf_key *key, struct facts *f)
{
    if (key->type != GGUF_ARRAY) return wrong_type(r, key, "array");
    f->n_vocab = key->count > INT32_MAX ? INT32_MAX : (int64_t)key->count;
    if (key->item != GGUF_STRING) return gguf_skip_value(r, key);
    struct buf token;
    bool ok = true;
    buf_init(&token, GAP_WORD_MAX + 2);
    for (uint64_t i = 0; i < key->count && ok; i++) {
        uint64_t len;
        buf_clear(&token);
        ok = gguf_read_text(r, &token, GAP_WORD_MAX, &len);
        const char *s = buf_str(&token);
        if (ok && len <= GAP_WORD_MAX && (*s == '<' || *s == '\xE2')) f->gap_marks |= gap_mark(s);
    }
    buf_free(&token);
    return ok;
}

/* "tokenizer.ggml.fim_pre_token_id", and what it was called before. */
static unsigned gap_key(const char *name)
{
    static const char *const parts[][2] = {
        {"fim_pre", "prefix"}, {"fim_suf", "suffix"}, {"fim_mid", "middle"}};
    static const char front[] = "tokenizer.ggml.", end[] = "_token_id";
    if (!str_starts(name, front) || !str_ends(name, end)) return 0;
    const char *part = name + sizeof(front) - 1;
    size_t len = strlen(part) - (sizeof(end) - 1);
    for (unsigned i = 0; i < COUNT(parts); i++)
        for (size_t k = 0; k < 2; k++)
            if (strlen(parts[i][k]) == len && memcmp(part, parts[i][k], len) == 0) return 1u << i;
    return 0;
}

static bool read_alpha(struct gguf_reader *r, const struct gguf_key *key, struct facts *f)
{
    bool integral;
    int64_t i;
    /* libllama takes it for a float without looking, and dies of anything else */
    if (key->type != GGUF_F32) return wrong_type(r, key, "f32");
    if (!gguf_read_number(r, key->type, &integral, &i, &f->alpha)) return false;
    if (f->alpha >= 0 && f->alpha <= 1e6) return true;
    return gguf_corrupt(r, "the key %s is %g", key->name, f->alpha);
}

/* A key "<arch>.<what>"; *handled tells whether it was one that counts. */
static bool arch_key(struct gguf_reader *r, const struct gguf_key *key, struct facts *f,
                     bool *handled)
{
    const char *dot = strchr(key->name, '.');
    *handled = false;
    if (!dot) return true;
    size_t prefix = (size_t)(dot - key->name);
    int64_t *number = NULL;
    for (size_t i = 0; i < COUNT(arch_numbers); i++)
        if (str_eq(dot + 1, arch_numbers[i].name))
            number = (int64_t *)((char *)f + arch_numbers[i].offset);
    bool labels = str_eq(dot + 1, "classifier.output_labels");
    if (!number && !labels) return true;
    if (!f->arch[0]) f->arch_came_late = true;
    if (strlen(f->arch) != prefix || memcmp(f->arch, key->name, prefix) != 0) return true;
    if (labels) f->has_classifier = true;
    if (!number) return true;
    *handled = true;
    return read_count(r, key, number);
}

static bool read_key(struct gguf_reader *r, const struct gguf_key *key, struct facts *f)
{
    for (size_t i = 0; i < COUNT(texts); i++)
        if (str_eq(key->name, texts[i].name))
            return read_short_text(r, key, (char *)f + texts[i].offset, text_sizes[i]);
    for (size_t i = 0; i < COUNT(general_numbers); i++)
        if (str_eq(key->name, general_numbers[i].name))
            return read_count(r, key, (int64_t *)((char *)f + general_numbers[i].offset));
    if (str_eq(key->name, "tokenizer.chat_template")) return read_template(r, key, f);
    if (str_eq(key->name, "tokenizer.chat_template.tool_use")) f->has_tools = true;
    if (str_eq(key->name, "tokenizer.ggml.tokens")) return read_tokens(r, key, f);
    f->gap_marks |= gap_key(key->name);
    if (str_eq(key->name, "adapter.lora.alpha")) return read_alpha(r, key, f);
    if (str_eq(key->name, "adapter.alora.invocation_tokens")) f->activated = true;
    bool handled;
    if (!arch_key(r, key, f, &handled)) return false;
    return handled || gguf_skip_value(r, key);
}

static bool once(struct gguf_reader *r, struct map *seen, const char *what, const char *name)
{
    static int here;
    if (!map_put(seen, name, &here)) return true;
    return gguf_corrupt(r, "the %s %s stands twice", what, name);
}

static bool read_keys(struct gguf_reader *r, struct facts *f)
{
    struct map *seen = map_new();
    bool ok = true;
    for (uint64_t i = 0; i < r->n_kv && ok; i++) {
        struct gguf_key key;
        ok = gguf_next_key(r, &key) && once(r, seen, "key", key.name) && read_key(r, &key, f);
    }
    map_free(seen);
    return ok;
}

static bool read_arch_keys_again(struct gguf_reader *r, struct facts *f)
{
    gguf_rewind(r);
    for (uint64_t i = 0; i < r->n_kv; i++) {
        struct gguf_key key;
        bool handled;
        if (!gguf_next_key(r, &key) || !arch_key(r, &key, f, &handled)) return false;
        if (!handled && !gguf_skip_value(r, &key)) return false;
    }
    return true;
}

/* ---- tensors ----------------------------------------------------------------------------- */

static bool tensor_bytes(struct gguf_reader *r, const char *name, const uint64_t *dims,
                         uint32_t type, uint64_t *n_elements, uint64_t *n_bytes)
{
    if (type >= TENSOR_TYPES || tensor_types[type].elements == 0)
        return gguf_corrupt(r, "the tensor %s has the unknown or removed type %u", name, type);
    uint64_t n = 1;
    for (int i = 0; i < GGUF_DIMS_MAX; i++)
        if (dims[i] > INT64_MAX || __builtin_mul_overflow(n, dims[i], &n) || n > INT64_MAX)
            return gguf_corrupt(r, "the tensor %s has more elements than there can be", name);
    if (dims[0] % tensor_types[type].elements != 0)
        return gguf_corrupt(r, "the rows of tensor %s are not whole blocks of %s", name,
                            tensor_types[type].name);
    *n_elements = n;
    n /= tensor_types[type].elements;
    if (__builtin_mul_overflow(n, (uint64_t)tensor_types[type].bytes, n_bytes))
        return gguf_corrupt(r, "the tensor %s has more bytes than there can be", name);
    return true;
}

static bool list_tensor(struct gguf_reader *r, struct gguf_tensors *list, const char *name,
                        const uint64_t *dims, uint32_t type)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 256;
        struct gguf_tensor *bigger = try_realloc(list->items, cap, sizeof(*bigger));
        if (!bigger) {
            err_set(r->error, ERR_NOMEM, "no memory for a list of %zu tensors", cap);
            return false;
        }
        list->items = bigger;
        list->cap = cap;
    }
    struct gguf_tensor *t = &list->items[list->n++];
    *t = (struct gguf_tensor){.type = type};
    str_copy(t->name, sizeof(t->name), name);
    memcpy(t->dims, dims, sizeof(t->dims));
    return true;
}

/* *end: where the tensors so far end in the data section, padded; moved on. */
static bool read_tensor(struct gguf_reader *r, struct facts *f, struct map *seen, uint64_t *end,
                        uint64_t *data_bytes)
{
    char name[GGUF_TENSOR_NAME_MAX];
    uint32_t n_dims, type;
    uint64_t dims[GGUF_DIMS_MAX] = {1, 1, 1, 1}, offset, elements = 0, bytes = 0;
    if (!gguf_read_name(r, name, sizeof(name) - 1, "a tensor's name")) return false;
    if (!once(r, seen, "tensor", name) || !gguf_read_u32(r, &n_dims)) return false;
    if (n_dims > GGUF_DIMS_MAX)
        return gguf_corrupt(r, "the tensor %s has %u dimensions", name, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        if (!gguf_read_u64(r, &dims[i])) return false;
    if (!gguf_read_u32(r, &type) || !gguf_read_u64(r, &offset)) return false;
    if (!tensor_bytes(r, name, dims, type, &elements, &bytes)) return false;
    if (f->tensors && !list_tensor(r, f->tensors, name, dims, type)) return false;
    if (offset != *end)
        return gguf_corrupt(r, "the tensor %s stands at offset %llu instead of %llu", name,
                            (unsigned long long)offset, (unsigned long long)*end);
    uint64_t mask = (uint64_t)f->alignment - 1, padded;
    if (__builtin_add_overflow(offset, bytes, data_bytes) ||
        __builtin_add_overflow(*data_bytes, mask, &padded))
        return gguf_corrupt(r, "the tensor %s ends past anything", name);
    *end = padded & ~mask;
    if (strncmp(name, "cls.", 4) == 0) f->has_classifier = true;
    f->type_bytes[type] += bytes; /* can't overflow: their sum is *data_bytes at most */
    if (__builtin_add_overflow(f->n_params, (int64_t)elements, &f->n_params))
        return gguf_corrupt(r, "it has more parameters than there can be");
    return true;
}

static bool check_size(struct gguf_reader *r, uint64_t data_bytes, uint64_t alignment)
{
    uint64_t begin = (r->pos + alignment - 1) & ~(alignment - 1), needed;
    if (__builtin_add_overflow(begin, data_bytes, &needed))
        return gguf_corrupt(r, "its tensors end past anything");
    if (needed <= r->file_size) return true;
    char needs[32], has[32];
    err_set(r->error, ERR_MODEL_FILE,
            "the file is truncated: needs %s (%llu bytes), has %s (%llu bytes); pull it again",
            str_from_bytes(needs, sizeof(needs), needed), (unsigned long long)needed,
            str_from_bytes(has, sizeof(has), r->file_size), (unsigned long long)r->file_size);
    return false;
}

static bool read_tensors(struct gguf_reader *r, struct facts *f)
{
    if (f->alignment <= 0 || f->alignment > (1 << 30) || (f->alignment & (f->alignment - 1)))
        return gguf_corrupt(r, "its alignment %lld is not a power of two", (long long)f->alignment);
    struct map *seen = map_new();
    uint64_t end = 0, data_bytes = 0;
    bool ok = true;
    for (uint64_t i = 0; i < r->n_tensors && ok; i++)
        ok = read_tensor(r, f, seen, &end, &data_bytes);
    map_free(seen);
    if (!ok || r->n_tensors == 0) return ok;
    return check_size(r, data_bytes, (uint64_t)f->alignment);
}

/* Tensors are added to `tensors` unless it is NULL. */
static bool collect(struct gguf_reader *r, struct facts *f, struct gguf_tensors *tensors)
{
    *f = (struct facts){.file_type = -1,
                        .alignment = 32,
                        .pooling = POOLING_UNKNOWN,
                        .split_count = 1,
                        .tensors = tensors};
    if (!read_keys(r, f)) return false;
    uint64_t after_keys = r->pos;
    if (f->arch_came_late && f->arch[0] && !read_arch_keys_again(r, f)) return false;
    if (r->pos != after_keys) return gguf_corrupt(r, "it changes while it is read");
    return read_tensors(r, f);
}

/* ---- judgement --------------------------------------------------------------------------- */

static bool contains_word(const char *s, const char *word)
{
    size_t n = strlen(word);
    for (; *s; s++)
        if (strncasecmp(s, word, n) == 0) return true;
    return false;
}

static enum err check_usable(const struct facts *f, struct error *error)
{
    for (size_t i = 0; i < COUNT(not_models); i++)
        if (str_eq(f->type, not_models[i].word) || str_eq(f->arch, not_models[i].word))
            return err_set(error, ERR_MODEL_FILE, "%s", not_models[i].reason);
    if (f->split_count < 1 || f->split_count > SPLIT_MAX || f->split_no >= f->split_count)
        return err_set(error, ERR_MODEL_FILE,
                       "the file is corrupt: it says to be part %lld of %lld; get it again",
                       (long long)f->split_no + 1, (long long)f->split_count);
    if (f->split_no > 0) return OK; /* later parts hold tensors only */
    if (!f->arch[0])
        return err_set(error, ERR_MODEL_FILE,
                       "the file doesn't say which architecture it is (general.architecture)");
    if (f->n_params == 0 && f->split_count == 1)
        return err_set(error, ERR_MODEL_FILE, "it holds no tensors, only a vocabulary");
    return OK;
}

static enum model_kind kind_of(const struct facts *f)
{
    bool encoder = false;
    for (size_t i = 0; i < COUNT(embedding_archs); i++)
        encoder = encoder || str_eq(f->arch, embedding_archs[i]);
    if (f->pooling == POOLING_RANK) return MODEL_RERANK;
    if (f->pooling > POOLING_NONE) return MODEL_EMBEDDING;
    if (encoder) return f->has_classifier && f->pooling < 0 ? MODEL_RERANK : MODEL_EMBEDDING;
    if (f->has_template) return MODEL_CHAT;
    if (contains_word(f->finetune, "instruct") || contains_word(f->finetune, "chat"))
        return MODEL_CHAT;
    return MODEL_COMPLETION;
}

static const char *quant_of(const struct facts *f)
{
    int64_t type =
        f->file_type >= FILE_TYPE_GUESSED ? f->file_type - FILE_TYPE_GUESSED : f->file_type;
    if (type >= 0 && type < FILE_TYPES && file_types[type]) return file_types[type];
    size_t most = 0;
    for (size_t i = 1; i < TENSOR_TYPES; i++)
        if (f->type_bytes[i] > f->type_bytes[most]) most = i;
    return tensor_types[most].name;
}

static int32_t to_i32(int64_t v)
{
    return v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

static void describe(const struct facts *f, const struct gguf_reader *r, struct model_info *out)
{
    *out = (struct model_info){0};
    str_copy(out->name, sizeof(out->name), f->name);
    str_copy(out->arch, sizeof(out->arch), f->arch);
    str_copy(out->quant, sizeof(out->quant), quant_of(f));
    out->kind = kind_of(f);
    out->has_chat_template = f->has_template;
    out->has_tools = f->has_tools;
    out->has_thinking = f->has_thinking;
    out->has_effort = f->has_effort;
    out->has_infill = f->gap_marks == ALL_GAP_MARKS;
    out->file_bytes = r->file_size > INT64_MAX ? INT64_MAX : (int64_t)r->file_size;
    out->modified_s = r->modified_s;
    out->n_params = f->n_params;
    out->n_ctx_train = to_i32(f->n_ctx);
    out->n_embd = to_i32(f->n_embd);
    out->n_layer = to_i32(f->n_layer);
    out->n_vocab = to_i32(f->n_vocab ? f->n_vocab : f->vocab_size);
}

/* Takes over an opened reader. */
static enum err inspect(struct gguf_reader *r, struct facts *f, struct model_info *out)
{
    enum err e = collect(r, f, NULL) ? check_usable(f, r->error) : r->error->code;
    if (e == OK) describe(f, r, out);
    gguf_close(r);
    return e;
}

enum err gguf_inspect_bytes(const void *data, size_t len, uint64_t file_size,
                            struct model_info *out, struct error *error)
{
    struct error own;
    struct gguf_reader r;
    struct facts f;
    enum err e = gguf_open_bytes(&r, data, len, file_size, error ? error : &own);
    return e ? e : inspect(&r, &f, out);
}

static enum err inspect_file(const char *path, struct facts *f, struct model_info *out,
                             struct error *error)
{
    struct gguf_reader r;
    enum err e = gguf_open(&r, path, error);
    return e ? e : inspect(&r, f, out);
}

enum err gguf_check_file(const char *path, int *part, int *n_parts, struct error *error)
{
    struct error own;
    struct model_info info;
    struct facts f;
    enum err e = inspect_file(path, &f, &info, error ? error : &own);
    if (e) return e;
    *part = (int)f.split_no;
    *n_parts = (int)f.split_count;
    return OK;
}

/* ---- models in several files ------------------------------------------------------------- */

/* "dir/name-00001-of-00003.gguf" -> the same with another number. */
static bool part_path(char *dst, size_t size, const char *path, int no, int count)
{
    char tail[32];
    str_printf(tail, sizeof(tail), "-00001-of-%05d.gguf", count);
    size_t len = strlen(path), tail_len = strlen(tail);
    if (len <= tail_len || strcmp(path + len - tail_len, tail) != 0) return false;
    return str_printf(dst, size, "%.*s-%05d-of-%05d.gguf", (int)(len - tail_len), path, no + 1,
                      count);
}

static enum err add_part(const char *path, int no, int count, struct model_info *sum,
                         struct error *error)
{
    char file[MODEL_PATH_MAX];
    struct model_info info;
    struct facts f;
    if (!part_path(file, sizeof(file), path, no, count))
        return err_set(error, ERR_MODEL_FILE,
                       "it is the first of %d parts and must be named ...-00001-of-%05d.gguf",
                       count, count);
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    enum err e = inspect_file(file, &f, &info, error);
    if (e == ERR_NOT_FOUND)
        return err_set(error, ERR_MODEL_FILE, "part %d of %d is missing (%.200s); pull it again",
                       no + 1, count, base);
    if (e) {
        err_prefix(error, "part %d of %d", no + 1, count);
        return e;
    }
    if (f.split_no != no || f.split_count != count)
        return err_set(error, ERR_MODEL_FILE, "%.200s is not part %d of %d, whatever its name",
                       base, no + 1, count);
    sum->file_bytes += info.file_bytes;
    sum->n_params += info.n_params;
    if (info.modified_s > sum->modified_s) sum->modified_s = info.modified_s;
    return OK;
}

enum err gguf_inspect(const char *path, struct model_info *out, struct error *error)
{
    struct error own;
    struct facts f;
    if (!error) error = &own;
    enum err e = inspect_file(path, &f, out, error);
    if (e == OK && f.split_no > 0)
        e = err_set(error, ERR_MODEL_FILE,
                    "it is part %lld of %lld of a model; name the first one (-00001-of-%05lld)",
                    (long long)f.split_no + 1, (long long)f.split_count, (long long)f.split_count);
    for (int no = 1; e == OK && no < f.split_count; no++)
        e = add_part(path, no, (int)f.split_count, out, error);
    if (e == OK && !str_copy(out->path, sizeof(out->path), path))
        e = err_set(error, ERR_INVALID, "the path is longer than %d bytes", MODEL_PATH_MAX - 1);
    return e;
}

/* ---- adapters ----------------------------------------------------------------------------- */

void gguf_tensors_free(struct gguf_tensors *list)
{
    free(list->items);
    *list = (struct gguf_tensors){0};
}

const char *gguf_tensor_type_name(uint32_t type)
{
    ht_assert(type < TENSOR_TYPES && tensor_types[type].name);
    return tensor_types[type].name;
}

static void describe_adapter(const struct facts *f, const struct gguf_reader *r,
                             struct gguf_adapter *out)
{
    str_copy(out->arch, sizeof(out->arch), f->arch);
    str_copy(out->name, sizeof(out->name), f->name);
    str_copy(out->base_model, sizeof(out->base_model), f->base_model);
    out->alpha = f->alpha;
    out->activated = f->activated;
    out->file_bytes = r->file_size > INT64_MAX ? INT64_MAX : (int64_t)r->file_size;
    for (uint64_t i = 0; i < out->tensors.n; i++) {
        const struct gguf_tensor *t = &out->tensors.items[i];
        /* attn_q, _k, _v and ffn_gate, _up take the model's width */
        if (str_ends(t->name, ".lora_a") &&
            (strstr(t->name, ".attn_q.") || strstr(t->name, ".attn_k.") ||
             strstr(t->name, ".attn_v.") || strstr(t->name, ".ffn_gate.") ||
             strstr(t->name, ".ffn_up.")))
            out->n_embd = t->dims[0] > INT32_MAX ? INT32_MAX : (int32_t)t->dims[0];
        if (str_ends(t->name, ".lora_b") && t->dims[0] > (uint64_t)out->rank)
            out->rank = t->dims[0] > INT32_MAX ? INT32_MAX : (int32_t)t->dims[0];
    }
}

static enum err check_adapter(const struct facts *f, struct error *error)
{
    if (!str_eq(f->type, "adapter"))
        return err_set(error, ERR_ADAPTER, "it is no adapter (general.type is \"%s\")", f->type);
    if (!str_eq(f->adapter_type, "lora"))
        return err_set(error, ERR_ADAPTER, "it is an adapter of type \"%s\"; only lora is known",
                       f->adapter_type);
    if (!f->arch[0])
        return err_set(error, ERR_ADAPTER,
                       "it doesn't say for which architecture it is (general.architecture)");
    return OK;
}

static enum err inspect_adapter(struct gguf_reader *r, struct gguf_adapter *out)
{
    struct facts f;
    *out = (struct gguf_adapter){0};
    enum err e = collect(r, &f, &out->tensors) ? check_adapter(&f, r->error) : r->error->code;
    if (e == OK)
        describe_adapter(&f, r, out);
    else
        gguf_tensors_free(&out->tensors);
    gguf_close(r);
    return e;
}

enum err gguf_inspect_adapter(const char *path, struct gguf_adapter *out, struct error *error)
{
    struct error own;
    struct gguf_reader r;
    enum err e = gguf_open(&r, path, error ? error : &own);
    return e ? e : inspect_adapter(&r, out);
}

enum err gguf_inspect_adapter_bytes(const void *data, size_t len, uint64_t file_size,
                                    struct gguf_adapter *out, struct error *error)
{
    struct error own;
    struct gguf_reader r;
    enum err e = gguf_open_bytes(&r, data, len, file_size, error ? error : &own);
    return e ? e : inspect_adapter(&r, out);
}

static enum err list_file(const char *path, struct facts *f, struct gguf_tensors *out,
                          struct error *error)
{
    struct gguf_reader r;
    enum err e = gguf_open(&r, path, error);
    if (e) return e;
    e = collect(&r, f, out) ? OK : error->code;
    gguf_close(&r);
    return e;
}

enum err gguf_list_tensors(const char *path, struct gguf_tensors *out, struct error *error)
{
    struct error own;
    struct facts f, part;
    if (!error) error = &own;
    *out = (struct gguf_tensors){0};
    enum err e = list_file(path, &f, out, error);
    for (int no = 1; e == OK && no < f.split_count && no < SPLIT_MAX; no++) {
        char file[MODEL_PATH_MAX];
        if (part_path(file, sizeof(file), path, no, (int)f.split_count))
            e = list_file(file, &part, out, error);
    }
    if (e) gguf_tensors_free(out);
    return e;
}
