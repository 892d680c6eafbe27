/* Log: one line per event to stderr or a file, as text or JSON, safe from any thread, each line one
 * write(2). Never log prompts, answers, keys or tokens of people at INFO or above.
 *
 * The areas are a table (help and docs come from it). */
#ifndef HEARTH_BASE_LOG_H
#define HEARTH_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

/* X(name, what it covers) */
#define LOG_AREAS(X)                                                                               \
    X(hub, "start, stop, configuration")                                                           \
    X(http, "connections and requests")                                                            \
    X(api, "what clients asked and got")                                                           \
    X(sched, "the queue and the batches")                                                          \
    X(engine, "models, the inference library")                                                     \
    X(store, "the database")                                                                       \
    X(jobs, "background work")                                                                     \
    X(files, "uploaded files, watched folders")                                                    \
    X(rag, "finding chunks of files")                                                              \
    X(models, "model files, downloads")                                                            \
    X(route, "who is asked, and what came of it")                                                  \
    X(worker, "the process that runs the models")                                                  \
    X(net, "outgoing transfers")                                                                   \
    X(cmd, "command line")

enum log_area {
#define X(name, what) LOG_##name,
    LOG_AREAS(X)
#undef X
        LOG_AREA_COUNT
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* Until called: INFO, text, stderr. path NULL or "" is stderr. Call it once, before threads. */
HT_MUST_CHECK enum err log_open(enum log_level level, bool json, const char *path,
                                struct error *error);
/* The same on a descriptor that is open already, in place of the file: for a child process. */
HT_MUST_CHECK enum err log_open_fd(enum log_level level, bool json, int fd, struct error *error);
/* What a child process needs to log to the same place: to the hub's file it goes through a pipe, so
 * that the file can be turned over (log_file.h). */
int log_fd(void);
bool log_is_json(void);
enum log_level log_threshold(void);
bool log_level_parse(const char *s, enum log_level *out); /* debug|info|warning|warn|error|off */
bool log_on(enum log_level level);

/* request_id may be NULL. */
void log_line(enum log_level level, enum log_area area, const char *request_id, const char *fmt,
              ...) HT_PRINTF(4, 5);

#define log_debug(area, ...)                                                                       \
    (log_on(LOG_DEBUG) ? log_line(LOG_DEBUG, LOG_##area, NULL, __VA_ARGS__) : (void)0)
#define log_info(area, ...)  log_line(LOG_INFO, LOG_##area, NULL, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_WARN, LOG_##area, NULL, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_ERROR, LOG_##area, NULL, __VA_ARGS__)

#endif
