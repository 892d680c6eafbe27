/* LoRA adapters of the llama engine.
 *
 * libllama keeps a set of a model's adapters to size its graphs, without a lock. Loading adds to it
 * on the loader's thread; laying out a computation, which happens in the first decode after a
 * change of adapters, reads it on the engine's. The model's adapters_lock keeps them apart. All
 * other decodes take no lock: a load stops nobody who does not change adapters. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/llama_int.h"

/* Into the page cache, so that the load under the lock is a copy and not the disk's time. */
static uint64_t read_ahead(const char *path)
{
    enum { CHUNK = 1 << 20 };
    struct stat st;
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char *chunk = try_malloc(CHUNK);
    if (chunk && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        for (ssize_t n; (n = read(fd, chunk, CHUNK)) > 0;) bytes += (uint64_t)n;
    free(chunk);
    close(fd);
    return bytes;
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
    uint64_t bytes = read_ahead(path);
    struct llama_adapter_lora *lora = load(m, path, error);
    if (!lora) return error->code;
    struct le_adapter *a = xcalloc(1, sizeof *a);
    char alpha[32];
    double value;
    a->lora = lora;
    a->lock = &m->adapters_lock;
    a->head.facts.bytes = bytes;
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
