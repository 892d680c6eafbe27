/* Fuzz target: GGUF inspection, of models and of adapters. Holds: a refusal has words; what is
 * accepted has sane facts; reading through a file gives what reading from memory gives, and
 * accepted metadata is valid JSON.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "models/adapters.h"
#include "models/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_info(const struct model_info *info)
{
    ht_assert(utf8_valid(info->name, strlen(info->name)));
    ht_assert(utf8_valid(info->arch, strlen(info->arch)));
    ht_assert(info->kind >= MODEL_CHAT && info->kind <= MODEL_RERANK);
    ht_assert(info->quant[0] && info->n_params >= 0 && info->file_bytes >= 0);
    ht_assert(info->n_ctx_train >= 0 && info->n_embd >= 0 && info->n_layer >= 0);
}

/* A LoRA, held against itself as if it were a model. */
static void check_adapter(const uint8_t *data, size_t size)
{
    struct gguf_adapter a, model;
    struct error e = {0};
    enum err err = gguf_inspect_adapter_bytes(data, size, size, &a, &e);
    ht_assert(err == OK || e.msg[0]);
    if (err) return;
    ht_assert(utf8_valid(a.name, strlen(a.name)) && a.arch[0]);
    ht_assert(a.alpha >= 0 && a.alpha <= 1e6 && a.rank >= 0);
    ht_assert(gguf_inspect_adapter_bytes(data, size, size, &model, &e) == OK);
    ht_assert(adapter_fits(&a.tensors, &model.tensors, &e) == OK || e.msg[0]);
    gguf_tensors_free(&a.tensors);
    gguf_tensors_free(&model.tensors);
}

static void check_file(const char *path, enum err inspected, const struct error *why)
{
    static struct model_info info;
    struct error e;
    struct buf text;
    json_t *doc;
    int part, n_parts;
    enum err err = gguf_check_file(path, &part, &n_parts, &e);
    ht_assert(err == inspected);
    if (err)
        ht_assert(str_eq(e.msg, why->msg));
    else
        ht_assert(part >= 0 && part < n_parts);
    /* parts of split models ask for their neighbours, which are not there */
    err = gguf_inspect(path, &info, &e);
    ht_assert(err == OK || e.msg[0]);
    ht_assert(err != OK || inspected == OK);
    buf_init(&text, 4 << 20);
    err = gguf_metadata_json(path, &text, &e);
    ht_assert(inspected != OK || err == OK || err == ERR_TOO_LARGE);
    if (err == OK && json_parse(buf_str(&text), text.len, &doc, &e) == OK) json_decref(doc);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model_info info;
    struct error e;
    char path[64];
    /* as the beginning of a much larger file: more tensors pass */
    enum err err = gguf_inspect_bytes(data, size, UINT64_C(1) << 50, &info, &e);
    if (err == OK) check_info(&info);
    err = gguf_inspect_bytes(data, size, size, &info, &e);
    ht_assert(err == OK || (e.code == err && e.msg[0]));
    if (err == OK) check_info(&info);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    ht_assert(fd >= 0);
    if (write(fd, data, size) == (ssize_t)size) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        check_file(path, err, &e);
    }
    close(fd);
    check_adapter(data, size);
    return 0;
}
