/* Programs that the child may start: poppler's for PDF, tesseract for OCR. They are found before
 * rights are dropped, and run under the child's own restrictions, which pass on to them, in its
 * process group, with the same limits; they die with it. One thread. */
#ifndef HEARTH_EXTRACT_PROGRAM_H
#define HEARTH_EXTRACT_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* X(name) */
#define PROGRAMS(X)                                                                                \
    X(pdfinfo)                                                                                     \
    X(pdftotext)                                                                                   \
    X(pdfimages)                                                                                   \
    X(pdftoppm)                                                                                    \
    X(tesseract)

enum program {
#define X(name) PROGRAM_##name,
    PROGRAMS(X)
#undef X
        PROGRAM_COUNT
};

struct programs {
    char paths[PROGRAM_COUNT][512]; /* "" = not installed */
    uint64_t memory;                /* of each */
    bool long_cpu;                  /* they may use the time of OCR, from now on */
};

/* Looks through $PATH. */
void programs_find(struct programs *p, uint64_t memory);

struct program_run {
    const char *const *argv; /* NULL-ended, without the program's name */
    int in;                  /* its standard input; -1 = nothing */
    /* Gets its output as it comes; false = enough, it is ended. */
    bool (*on_output)(void *ctx, const char *s, size_t len);
    void *ctx;
    struct buf *messages; /* what it says on standard error, cut at the buffer's maximum */
};

struct program_end {
    int status;   /* as waitpid's */
    bool stopped; /* by on_output */
};

/* Runs it to its end. Fails when it can't be started. */
HT_MUST_CHECK enum err program_run(const struct programs *p, enum program which,
                                   const struct program_run *run, struct program_end *end,
                                   struct error *error);
/* Only starts it, its output going into *out (to be closed), messages nowhere; then program_wait.
 */
HT_MUST_CHECK enum err program_start(const struct programs *p, enum program which,
                                     const char *const *argv, int in, int *out, pid_t *pid,
                                     struct error *error);
int program_wait(pid_t pid);

#endif
