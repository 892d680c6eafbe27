/* LoRA adapters of the llama engine.
 *
 * libllama keeps a set of a model's adapters to size its graphs, without a lock. Loading adds to it
 * on the loader's thread; laying out a computation, which happens in the first decode after a
 * change of adapters, reads it on the engine's. The model's adapters_lock keeps them apart. All
 * other decodes take no lock: a load stops nobody who does not change adapters. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/llama_int.h"

/* A file that was replaced must not find the old one's cached prefixes; not against malice. */
static uint64_t mix(uint64_t h, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, data + i, len - i < 8 ? len - i : 8);
        h = (h ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 32;
    }
    return h;
}

/* Fingerprint and size. Reads the file into the page cache, too, so that the load under the lock is
 * a copy and does not wait for the disk. */
static enum err read_ahead(const char *path, struct engine_adapter_facts *facts,
                           struct error *error)
{
    enum { CHUNK = 1 << 20 };
    struct stat st;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_set(error, ERR_MODEL_FILE, "the adapter can't be opened");
    unsigned char *chunk = try_malloc(CHUNK);
    bool readable = chunk && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    while (readable && (n = read(fd, chunk, CHUNK)) > 0) {
        facts->fingerprint = mix(facts->fingerprint, chunk, (size_t)n);
        facts->bytes += (uint64_t)n;
    }
    facts->fingerprint = mix(facts->fingerprint, (const unsigned char *)&facts->bytes, 8) | 1;
    free(chunk);
    close(fd);
    return readable && n == 0 ? OK : err_set(error, ERR_MODEL_FILE, "the adapter can't be read");
}

static struct llama_adapter_lora *load(struct le_model *m, const char *path, struct error *error)
{
    le_log_forget();
    pthread_mutex_lock(&m->adapters_lock);
    struct llama_adapter_lora *lora = llama_adapter_lora_init(m->model, path);
    bool activated = lora && llama_adapter_get_alora_n_invocation_tokens(lora) > 0;
    if (activated) llama_adapter_lora_free(lora);
    pthread_mutex_unlock(&m->adapters_lock);
    if (activated) {
        err_set(error, ERR_UNSUPPORTED,
                "it is an activated LoRA (aLoRA), which works only from certain words on; use an "
                "ordinary LoRA");
        return NULL;
    }
    if (!lora)
        err_set(error, ERR_MODEL_FILE, "the adapter can't be loaded: %s",
                *le_log_reason() ? le_log_reason() : "the inference library does not say why");
    return lora;
}

enum err le_adapter_load(struct engine_model *head, const char *path, struct engine_adapter **out,
                         struct error *error)
{
    struct le_model *m = (struct le_model *)head;
    struct error own;
    if (!error) error = &own;
    struct engine_adapter_facts facts = {0};
    enum err e = read_ahead(path, &facts, error);
    if (e) return e;
    struct llama_adapter_lora *lora = load(m, path, error);
    if (!lora) return error->code;
    struct le_adapter *a = xcalloc(1, sizeof *a);
    char alpha[32];
    double value;
    a->lora = lora;
    a->lock = &m->adapters_lock;
    a->head.facts = facts;
    if (llama_adapter_meta_val_str(lora, "adapter.lora.alpha", alpha, sizeof alpha) > 0 &&
        str_to_double(alpha, -1e9, 1e9, &value))
        a->head.facts.alpha = (float)value;
    *out = &a->head;
    return OK;
}

void le_adapter_free(struct engine_adapter *head)
{
    struct le_adapter *a = (struct le_adapter *)head;
    pthread_mutex_lock(a->lock);
    llama_adapter_lora_free(a->lora);
    pthread_mutex_unlock(a->lock);
    free(a);
}
