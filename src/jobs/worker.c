/* Which process works on a job; see jobs_int.h. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "jobs/jobs_int.h"

enum { BOOT_ID = 36, STAT_MAX = 4096, START_FIELD = 20 /* of /proc/<pid>/stat behind the name */ };

/* "<boot>-<name space>": within it a pid says which process is meant. */
static void place(char *dst, size_t size)
{
    struct buf boot;
    struct stat ns;
    buf_init(&boot, 128);
    if (fs_read_file("/proc/sys/kernel/random/boot_id", 128, &boot, NULL)) buf_clear(&boot);
    if (stat("/proc/self/ns/pid", &ns) != 0) ns.st_ino = 0;
    str_printf(dst, size, "%.*s-%llu", boot.len >= BOOT_ID ? BOOT_ID : 1,
               boot.len >= BOOT_ID ? boot.data : "?", (unsigned long long)ns.st_ino);
    buf_free(&boot);
}

/* When the process began, in ticks since boot; 0 = there is none, -1 = can't be told. */
static long long began(long pid)
{
    char path[64];
    struct buf text;
    long long ticks = -1;
    str_printf(path, sizeof path, "/proc/%ld/stat", pid);
    if (access(path, F_OK) != 0) return access("/proc/self/stat", F_OK) == 0 ? 0 : -1;
    buf_init(&text, STAT_MAX);
    if (fs_read_file(path, STAT_MAX, &text, NULL) == OK) {
        char *at = strrchr(text.data, ')'); /* the name before it may hold anything */
        char *rest = NULL, *word = at ? strtok_r(at + 1, " ", &rest) : NULL;
        bool dead = word && (*word == 'Z' || *word == 'X'); /* nobody has buried it yet */
        for (int i = 1; word && i < START_FIELD; i++) word = strtok_r(NULL, " ", &rest);
        if (word) ticks = dead ? 0 : strtoll(word, NULL, 10);
    }
    buf_free(&text);
    return ticks;
}

void worker_name(char dst[WORKER_MAX])
{
    static atomic_int runners;
    char where[96];
    place(where, sizeof where);
    str_printf(dst, WORKER_MAX, "%s-%ld-%lld-%d", where, (long)getpid(), began(getpid()),
               atomic_fetch_add(&runners, 1));
}

bool worker_is_dead(const char *name)
{
    char where[96];
    long pid;
    long long ticks;
    place(where, sizeof where);
    size_t len = strlen(where);
    if (strncmp(name, where, len) != 0 || where[0] == '?') return false;
    if (sscanf(name + len, "-%ld-%lld-", &pid, &ticks) != 2 || ticks <= 0) return false;
    long long now = began(pid);
    return now == 0 || (now > 0 && now != ticks);
}
