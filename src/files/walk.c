/* Going through a folder; see watch.h. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "files/watch.h"

enum { DEPTH_MAX = 64 };

bool watch_wants(const char *name)
{
    static const char *const passing[] = {".tmp", ".part", ".partial", ".crdownload", ".swp",
                                          ".swx", ".lock", ".bak",     ".download",   "~"};
    if (name[0] == '.' || str_starts(name, "~$") || str_starts(name, "#")) return false;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (str_ends(name, passing[i])) return false;
    return true;
}

static bool walk(char path[FS_PATH_MAX], int depth, watch_fn fn, void *ctx)
{
    size_t len = strlen(path);
    bool goes_on = fn(ctx, path, true);
    DIR *d = goes_on && depth < DEPTH_MAX ? opendir(path) : NULL;
    if (goes_on && !d) log_warn(files, "the folder %s can't be read", path);
    for (struct dirent *entry; d && goes_on && (entry = readdir(d));) {
        struct stat st;
        if (!watch_wants(entry->d_name)) continue;
        if (!str_printf(path + len, FS_PATH_MAX - len, "/%s", entry->d_name)) continue;
        if (lstat(path, &st) != 0) continue;
        if (S_ISDIR(st.st_mode))
            goes_on = walk(path, depth + 1, fn, ctx);
        else if (S_ISREG(st.st_mode))
            goes_on = fn(ctx, path, false);
    }
    if (d) closedir(d);
    path[len] = '\0';
    return goes_on;
}

void watch_walk(const char *dir, watch_fn fn, void *ctx)
{
    char path[FS_PATH_MAX];
    if (str_copy(path, sizeof path, dir)) walk(path, 0, fn, ctx);
}
