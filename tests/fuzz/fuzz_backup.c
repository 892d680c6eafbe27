/* A backup that somebody made up: the archive's heads, its manifest, what it wants to put where. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup.h"
#include "backup/tar.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_heads(const char *archive)
{
    struct tar_entry entry;
    bool has = true;
    int fd = open(archive, O_RDONLY | O_CLOEXEC);
    if (fd < 0) abort();
    while (has && tar_next(fd, &entry, &has, NULL) == OK)
        if (has && (entry.name[0] == '/' || strstr(entry.name, "..") == entry.name)) abort();
    close(fd);
}

static char dir[64];

static void remove_dir(void)
{
    char command[128];
    str_printf(command, sizeof command, "rm -rf %s", dir);
    if (system(command) != 0) fprintf(stderr, "left behind: %s\n", dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char archive[80], target[80], outside[80], database[96];
    struct backup_counts counts;
    struct error error;
    if (!*dir) {
        atexit(remove_dir);
        str_copy(dir, sizeof dir, "/tmp/hearth-fuzz-backup-XXXXXX");
        if (!mkdtemp(dir)) abort();
        str_printf(archive, sizeof archive, "%s/a.tar", dir);
        str_printf(target, sizeof target, "%s/data", dir);
        str_printf(outside, sizeof outside, "%s/jwt.key", dir);
        str_printf(database, sizeof database, "%s/hearth.db", target);
    }
    int fd = open(archive, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
    read_heads(archive);
    struct backup_params params = {.data_dir = target,
                                   .files_dir = target,
                                   .settings_file = "/nonexistent/hearth.env",
                                   .database_url = database,
                                   .archive = archive};
    enum err e = backup_restore(&params, &counts, &error);
    if (access(outside, F_OK) == 0) abort(); /* it got out of its folder */
    char command[128];
    str_printf(command, sizeof command, "rm -rf %s", target);
    if (e == OK && system(command) != 0) abort();
    return 0;
}
