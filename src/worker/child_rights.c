/* Which files the worker may read and write: what the configuration names for models, adapters and
 * libraries, and where links in the models folders lead; the cache folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sandbox.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"
#include "worker/child_int.h"

enum { PATHS_MAX = 4096, LINK_DEPTH = 2 /* as models.h says */ };

struct paths {
    char *items[PATHS_MAX];
    size_t n;
};

static void add(struct paths *p, const char *path)
{
    if (*path && p->n < PATHS_MAX) p->items[p->n++] = xstrdup(path);
}

/* Landlock looks at where a link leads, not at where it lies. */
static void add_links(struct paths *p, const char *dir, int depth)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[FS_PATH_MAX], real[PATH_MAX];
        struct stat st;
        if (e->d_name[0] == '.' || fs_join(path, sizeof path, dir, e->d_name, NULL)) continue;
        if (lstat(path, &st) != 0) continue;
        if (S_ISLNK(st.st_mode) && realpath(path, real)) add(p, real);
        if (depth > 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) add_links(p, path, depth - 1);
    }
    closedir(d);
}

/* The files of models that an Ollama on this machine has: records may name them (models/derived.h),
 * also those that are imported later. */
static void add_ollama(struct paths *p, const struct config *c)
{
    char folders[4 * FS_PATH_MAX], blobs[FS_PATH_MAX];
    ollama_folders(config_str(c, CONFIG_OLLAMA_MODELS), folders, sizeof folders);
    for (const char *dir = folders; *dir; dir += strlen(dir) + 1)
        if (fs_join(blobs, sizeof blobs, dir, BLOBS_DIR, NULL) == OK && fs_exists(blobs))
            add(p, blobs);
}

/* A model outside of the folders, with what lies beside it: it may come in parts. */
static void add_model(struct paths *p, const char *name)
{
    char real[PATH_MAX];
    if (!strchr(name, '/') || !realpath(name, real)) return;
    char *slash = strrchr(real, '/');
    if (slash != real) *slash = '\0';
    add(p, real);
}

/* Where people put things. */
static void list_folders(const struct config *c, struct paths *p)
{
    static const enum config_key keys[] = {CONFIG_MODELS_DIR, CONFIG_BUILTIN_DIR,
                                           CONFIG_ADAPTERS_DIR, CONFIG_LIB_DIR,
                                           CONFIG_SHARED_PREFIXES};
    (void)!fs_mkdirs(config_str(c, CONFIG_ADAPTERS_DIR), 0755, NULL); /* rules need what exists */
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        add(p, config_str(c, keys[i]));
        add_links(p, config_str(c, keys[i]), LINK_DEPTH);
    }
    add_ollama(p, c);
    add_model(p, config_str(c, CONFIG_DEFAULT_MODEL));
    add_model(p, config_str(c, CONFIG_DEFAULT_EMBED_MODEL));
    add_model(p, config_str(c, CONFIG_RERANK_MODEL));
}

static void list_read(const struct config *c, struct paths *p)
{
    list_folders(c, p);
    char tuning[FS_PATH_MAX]; /* nothing else of the data folder */
    if (fs_join(tuning, sizeof tuning, config_str(c, CONFIG_DATA_DIR), "tuning.json", NULL) == OK)
        add(p, tuning);
    char lib[FS_PATH_MAX];
    if (fs_exe_dir(lib, sizeof lib, NULL) == OK) { /* libraries beside the binary */
        size_t len = strlen(lib);
        str_copy(lib + len, sizeof lib - len, "/lib");
        add(p, lib);
        str_copy(lib + len, sizeof lib - len, "/../lib");
        add(p, lib);
    }
}

/* Made here, since a rule needs a folder that exists. */
static void list_write(const struct config *c, struct paths *p)
{
    const char *dir = config_str(c, CONFIG_CACHE_DIR);
    if (*dir && fs_mkdirs(dir, 0700, NULL) == OK) add(p, dir);
}

static void free_paths(struct paths *p)
{
    for (size_t i = 0; i < p->n; i++) free(p->items[i]);
    free(p);
}

/* Which file or folder it is: one that was made anew has no rights of the old one's, though it may
 * have its number. */
static uint64_t identity(const char *path)
{
    struct statx st;
    uint64_t id[4] = {0};
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) == 0) {
        id[0] = st.stx_ino;
        id[1] = ((uint64_t)st.stx_dev_major << 32) | st.stx_dev_minor;
        if (st.stx_mask & STATX_BTIME) {
            id[2] = (uint64_t)st.stx_btime.tv_sec;
            id[3] = st.stx_btime.tv_nsec;
        }
    }
    return hash64(id, sizeof id, hash64(path, strlen(path), 0));
}

uint64_t child_rights_signature(const struct config *config)
{
    struct paths *read = xcalloc(1, sizeof *read);
    uint64_t sum = 1;
    list_folders(config, read);
    for (size_t i = 0; i < read->n; i++) sum += identity(read->items[i]); /* in any order */
    free_paths(read);
    return sum ? sum : 1;
}

void child_drop_rights(const struct config *config, char *report, size_t size)
{
    struct paths *read = xcalloc(1, sizeof *read), *write = xcalloc(1, sizeof *write);
    list_read(config, read);
    list_write(config, write);
    struct sandbox_params params = {.read = (const char *const *)read->items,
                                    .n_read = read->n,
                                    .write = (const char *const *)write->items,
                                    .n_write = write->n,
                                    .devices = true};
    sandbox_apply(&params, report, size);
    free_paths(read);
    free_paths(write);
}

/* ---- trying them out ----------------------------------------------------------------------- */

/* 0, or why not. Closes what it opened. */
static int outcome(int rc)
{
    if (rc > STDERR_FILENO) close(rc);
    return rc >= 0 ? 0 : errno;
}

void child_break_out(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char *argv[] = {NULL}, text[256];
    struct buf said;
    if (!fault_hit(FAULT_break_out)) return;
    buf_init_fixed(&said, text, sizeof text);
    buf_printf(&said, "socket %d", outcome(socket(AF_INET, SOCK_STREAM, 0)));
    buf_printf(&said, ", connect %d", outcome(connect(STDIN_FILENO, (void *)&to, sizeof to)));
    buf_printf(&said, ", open %d", outcome(open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
    buf_printf(&said, ", create %d", outcome(open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)));
    buf_printf(&said, ", execve %d", outcome(execv("/nonexistent", argv)));
    buf_printf(&said, ", kill %d", outcome(kill(getppid(), 0)));
    log_warn(worker, "breaking out: %s", buf_str(&said));
}
