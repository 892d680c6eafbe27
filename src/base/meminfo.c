/* /proc/meminfo, and the limits of the control groups that this process is in: version 2
 * (memory.max of every group from its own up to the root; the least counts) or version 1. */
#include "base/meminfo.h"

#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

enum { TEXT_MAX = 4096 };

static int open_file(const char *root, const char *path)
{
    char full[FS_PATH_MAX];
    if (!str_printf(full, sizeof full, "%s%s", root, path)) return -1;
    return open(full, O_RDONLY | O_CLOEXEC);
}

static bool read_text(int fd, char *text)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, text, TEXT_MAX - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* "MemTotal:   24684320 kB" -> bytes; 0 if it is not there. */
static uint64_t field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (!at) return 0;
    at += strlen(name);
    at += strspn(at, " \t");
    char digits[24];
    size_t n = strspn(at, "0123456789");
    if (n == 0 || n >= sizeof digits) return 0;
    memcpy(digits, at, n);
    digits[n] = '\0';
    int64_t kb;
    return str_to_i64(digits, 0, INT64_MAX / 1024, &kb) ? (uint64_t)kb * 1024 : 0;
}

/* A file with one number; "max" and what is no number are no limit. */
static bool number(int fd, uint64_t *out)
{
    char text[TEXT_MAX];
    int64_t v;
    if (!read_text(fd, text)) return false;
    text[strcspn(text, "\n")] = '\0';
    if (!str_to_i64(text, 0, INT64_MAX, &v)) return false;
    *out = (uint64_t)v;
    return true;
}

/* Takes the group's files if its limit is the least so far. */
static void consider(struct meminfo *m, const char *root, const char *folder, const char *limit,
                     const char *usage, uint64_t *least)
{
    char path[FS_PATH_MAX];
    uint64_t v;
    if (!str_printf(path, sizeof path, "%s/%s", folder, limit)) return;
    int fd = open_file(root, path);
    if (fd < 0) return;
    if (!number(fd, &v) || v >= *least) {
        close(fd);
        return;
    }
    *least = v;
    if (m->limit_fd >= 0) close(m->limit_fd);
    if (m->usage_fd >= 0) close(m->usage_fd);
    m->limit_fd = fd;
    str_printf(path, sizeof path, "%s/%s", folder, usage);
    m->usage_fd = open_file(root, path);
}

/* The group's own folder and every one above it. */
static void climb(struct meminfo *m, const char *root, const char *mount, const char *group,
                  const char *limit, const char *usage, uint64_t *least)
{
    char folder[FS_PATH_MAX];
    if (!str_printf(folder, sizeof folder, "%s%s", mount, group)) return;
    size_t top = strlen(mount);
    for (;;) {
        consider(m, root, folder, limit, usage, least);
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + top) return;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/a/b" (version 2), "7:memory:/a/b" (version 1). */
static void find_groups(struct meminfo *m, const char *root, uint64_t *least)
{
    char text[TEXT_MAX];
    int fd = open_file(root, "/proc/self/cgroup");
    read_text(fd, text);
    if (fd >= 0) close(fd);
    for (char *line = text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) *next++ = '\0';
        char *group = strchr(line, '/');
        if (!group) continue;
        if (str_starts(line, "0::"))
            climb(m, root, "/sys/fs/cgroup", group, "memory.max", "memory.current", least);
        else if (strstr(line, ":memory:"))
            climb(m, root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes",
                  "memory.usage_in_bytes", least);
    }
    /* Inside a container the group's own path may not be visible. */
    consider(m, root, "/sys/fs/cgroup", "memory.max", "memory.current", least);
}

void meminfo_open(struct meminfo *m, const char *root)
{
    char text[TEXT_MAX];
    *m = (struct meminfo){.limit_fd = -1, .usage_fd = -1};
    m->meminfo_fd = open_file(root, "/proc/meminfo");
    if (read_text(m->meminfo_fd, text)) m->total = field(text, "MemTotal:");
    if (!m->total && !*root) {
        long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
        if (pages > 0 && size > 0) m->total = (uint64_t)pages * (uint64_t)size;
    }
    uint64_t least = m->total ? m->total : UINT64_MAX;
    find_groups(m, root, &least);
    if (least != UINT64_MAX) m->total = least;
}

void meminfo_close(struct meminfo *m)
{
    if (m->meminfo_fd >= 0) close(m->meminfo_fd);
    if (m->limit_fd >= 0) close(m->limit_fd);
    if (m->usage_fd >= 0) close(m->usage_fd);
    m->meminfo_fd = m->limit_fd = m->usage_fd = -1;
}

bool meminfo_available(const struct meminfo *m, uint64_t *out)
{
    char text[TEXT_MAX];
    uint64_t limit, usage;
    bool known = read_text(m->meminfo_fd, text) && (*out = field(text, "MemAvailable:")) > 0;
    if (number(m->limit_fd, &limit) && number(m->usage_fd, &usage)) {
        /* A group's usage counts its file pages, too, which are given back when they are needed:
         * too little is told, never too much. */
        uint64_t left = limit > usage ? limit - usage : 0;
        if (!known || left < *out) *out = left;
        known = true;
    }
    return known;
}

/* ---- what only the start needed ------------------------------------------------------------ */

/* Its code was changed when it was loaded. */
static bool is_relocated(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *d = (const ElfW(Dyn) *)(info->dlpi_addr + p->p_vaddr);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
                return true;
    }
    return false;
}

/* Only of segments that are never written: the others hold what was put into them. */
static int release_object(struct dl_phdr_info *info, size_t size, void *page_size)
{
    uintptr_t page = *(const uintptr_t *)page_size;
    (void)size;
    if (is_relocated(info)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || p->p_flags & PF_W) continue;
        uintptr_t from = info->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;
        from &= ~(page - 1);
        /* A wish: what can't be let go of stays. */
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void meminfo_release_code(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(release_object, &page);
}
