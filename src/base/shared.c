/* Memory shared with a child; see shared.h. */
#include "base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/doing.h"
#include "base/metrics.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *memory;
static int memory_fd = -1;

static size_t memory_size(void)
{
    return DOING_PAGE + metrics_size();
}

/* The size is sealed: a child that cut it short would kill its parent with a SIGBUS. */
static enum err make(int *fd, struct error *error)
{
    *fd = memfd_create("hearth", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) return err_set_errno(error, errno, "no memory to share with the model worker");
    if (ftruncate(*fd, (off_t)memory_size()) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return OK;
    err_set_errno(error, errno, "no memory to share with the model worker");
    close(*fd);
    return error ? error->code : ERR_NOMEM;
}

static enum err map(int fd, char **out, struct error *error)
{
    void *p = mmap(NULL, memory_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_set_errno(error, errno, "no memory to share with the model worker");
    *out = p;
    return OK;
}

enum err shared_open(int *fd, struct error *error)
{
    enum err e = OK;
    pthread_mutex_lock(&lock);
    if (!memory) {
        e = make(&memory_fd, error);
        if (!e && (e = map(memory_fd, &memory, error))) close(memory_fd);
        if (!e) metrics_move(memory + DOING_PAGE, false);
    }
    *fd = memory_fd;
    pthread_mutex_unlock(&lock);
    return e;
}

enum err shared_attach(int fd, struct error *error)
{
    enum err e = map(fd, &memory, error);
    if (e) return e;
    doing_share(memory);
    metrics_move(memory + DOING_PAGE, true);
    return OK;
}

void shared_child_starts(void)
{
    if (memory) memset(memory, 0, DOING_PAGE);
}

void shared_child_ended(void)
{
    if (memory) metrics_child_ended();
}

void shared_child_step(int64_t *since_ms, int64_t *longest_ms)
{
    *since_ms = *longest_ms = 0;
    if (memory) doing_step(memory, since_ms, longest_ms);
}

int64_t shared_child_loaded_ms(void)
{
    return memory ? doing_loaded_ms(memory) : 0;
}

void shared_child_doing(bool hung, char *model, size_t size, const char **what)
{
    *what = "";
    model[0] = '\0';
    if (memory) doing_read(memory, hung, model, size, what);
}
