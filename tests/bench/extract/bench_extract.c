/* Reads each file named several times, each time in a process of its own as the hub does it, and
 * prints the median. usage: bench_extract <file>... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "extract/extract.h"

enum { RUNS = 9 };

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int measure(const char *path)
{
    struct extract_params params = {.path = path};
    struct extract_doc doc = {0};
    struct error error;
    struct stat st;
    int64_t ns[RUNS];
    if (stat(path, &st) != 0) return 1;
    for (int i = 0; i < RUNS; i++) {
        extract_doc_free(&doc);
        int64_t start = clock_mono_ns();
        if (extract_run(&params, NULL, NULL, &doc, &error)) {
            fprintf(stderr, "%s: %s\n", path, error.msg);
            return 1;
        }
        ns[i] = clock_mono_ns() - start;
    }
    qsort(ns, RUNS, sizeof *ns, compare);
    const char *name = strrchr(path, '/');
    printf("%-14s %9.1f KiB %6zu pages %9.1f KiB of text %8.1f ms  (%.1f to %.1f)  %.1f MB/s of "
           "text\n",
           name ? name + 1 : path, (double)st.st_size / 1024, doc.n_pages, (double)doc.len / 1024,
           (double)ns[RUNS / 2] / 1e6, (double)ns[0] / 1e6, (double)ns[RUNS - 1] / 1e6,
           (double)doc.len * 1e3 / (double)ns[RUNS / 2]);
    extract_doc_free(&doc);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (extract_is_child()) return extract_main();
    for (int i = 1; i < argc; i++) failed |= measure(argv[i]);
    return argc > 1 ? failed : 1;
}
