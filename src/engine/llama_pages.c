/* Gives back the pages of a model's file that nobody will look at.
 *
 * The library maps the file and lays many tensors out anew for this CPU, reading each page once.
 * These pages then stay counted as the process's memory, as much again as the file, until the
 * system runs short. They are let go here: whoever does read one gets it again from the page cache.
 * Linux only; elsewhere nothing happens. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/str.h"
#include "engine/llama_int.h"

/* What the names of all the model's files begin with. */
static bool stem_of(const char *path, char *stem)
{
    if (!realpath(path, stem)) return false;
    size_t len = strlen(stem), tail = strlen("-00001-of-00001.gguf");
    if (len > tail && strncmp(stem + len - tail, "-00001-of-", 10) == 0)
        stem[len - tail] = '\0';
    else if (str_ends(stem, ".gguf"))
        stem[len - strlen(".gguf")] = '\0';
    return true;
}

#ifdef MADV_DONTNEED
void le_pages_release(const char *path)
{
    char stem[PATH_MAX], line[PATH_MAX + 128];
    if (!stem_of(path, stem)) return;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps) return;
    while (fgets(line, sizeof line, maps)) { /* "from-to r--s offset device inode   /path" */
        uintptr_t from, to;
        char mode[5];
        int at = 0;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &from, &to, mode, &at) < 3)
            continue;
        if (at == 0 || mode[1] != '-' || !str_starts(line + at, stem)) continue;
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
    fclose(maps);
}
#else
void le_pages_release(const char *path)
{
    (void)path;
}
#endif
