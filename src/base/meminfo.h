/* How much main memory there is: of the machine, or of the control group that this process may not
 * leave (a container, a systemd slice), whichever is less. Linux; elsewhere what sysconf knows. And
 * giving back what only the start of the program needed. */
#ifndef HEARTH_BASE_MEMINFO_H
#define HEARTH_BASE_MEMINFO_H

#include <stdbool.h>
#include <stdint.h>

/* Keeps the files open, so that it still works when the process may open none any more. */
struct meminfo {
    int meminfo_fd, limit_fd, usage_fd; /* -1: there is no such file */
    uint64_t total;                     /* bytes; 0 = unknown */
};

/* root: "" for this machine; a test gives a folder with proc/ and sys/ in it. */
void meminfo_open(struct meminfo *m, const char *root);
void meminfo_close(struct meminfo *m);
/* What could be taken now without others being pushed out. False: unknown. */
bool meminfo_available(const struct meminfo *m, uint64_t *out);

/* Lets go of the code and the constants of the program and its libraries: to bind 60 libraries at
 * start most of their tables are read, which nobody looks at again. What does run afterwards comes
 * back from the page cache, some pages at a time. Any thread. */
void meminfo_release_code(void);

#endif
