/* Metrics: one table, process-wide atomic counters, gauges and histograms, rendered in Prometheus'
 * text format 0.0.4. Updating is wait-free from any thread. Being counters of the process they are
 * the one deliberate global besides the log. */
#ifndef HEARTH_BASE_METRICS_H
#define HEARTH_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

/* X(name, kind, help): kind is counter, gauge, histogram (seconds) or series: a histogram for each
 * model and class of priorities that was seen. Exported as hearth_<name>. */
#define METRICS(X)                                                                                 \
    X(http_requests_total, counter, "HTTP requests answered")                                      \
    X(http_errors_total, counter, "HTTP requests answered with a status of 400 or more")           \
    X(http_connections, gauge, "open client connections")                                          \
    X(http_streams, gauge, "open event streams")                                                   \
    X(http_sockets, gauge, "open WebSockets")                                                      \
    X(http_disconnects_total, counter, "clients that went away before their answer ended")         \
    X(http_slow_readers_total, counter, "streams ended because the client read too slowly")        \
    X(http_request_seconds, histogram, "time from a request's first byte to its answer's last")    \
    X(requests_running, gauge, "generations in the batch now")                                     \
    X(requests_waiting, gauge, "generations in the queue now")                                     \
    X(requests_total, counter, "generations finished, whatever the reason")                        \
    X(requests_cancelled_total, counter, "generations cancelled or left by their client")          \
    X(requests_rejected_total, counter, "generations refused because the queue was full")          \
    X(promotions_total, counter, "requests that waiting let go before more important ones")        \
    X(pauses_total, counter, "times that a generation was paused for others")                      \
    X(prompt_tokens_total, counter, "prompt tokens taken in")                                      \
    X(cache_sequence_hits_total, counter, "prompts whose beginning was found in the KV cells")     \
    X(cache_memory_hits_total, counter, "prompts whose beginning was found in memory")             \
    X(cache_disk_hits_total, counter, "prompts whose beginning was found on disk")                 \
    X(cache_misses_total, counter, "prompts of which nothing was found")                           \
    X(cache_evictions_total, counter, "states evicted from memory or disk for others")             \
    X(cache_corrupt_total, counter, "files of the prefix cache that were damaged and removed")     \
    X(cache_memory_bytes, gauge, "states kept in memory")                                          \
    X(cache_disk_bytes, gauge, "states kept on disk")                                              \
    X(cache_written_bytes_total, counter, "bytes of states written to disk")                       \
    X(prompt_tokens_cached_total, counter, "prompt tokens found in the cache")                     \
    X(generated_tokens_total, counter, "tokens generated")                                         \
    X(embedding_tokens_total, counter, "tokens embedded")                                          \
    X(batches_total, counter, "batches decoded")                                                   \
    X(batch_tokens_total, counter, "tokens in those batches")                                      \
    X(queue_wait_seconds, series, "time from arrival to the first batch")                          \
    X(first_token_seconds, series, "time from arrival to the first token")                         \
    X(token_seconds, series, "time between two tokens of one stream")                              \
    X(models_loaded, gauge, "models in memory")                                                    \
    X(models_memory_bytes, gauge, "main memory that the models in memory take")                    \
    X(models_evicted_total, counter, "models that left because another one needed their room")     \
    X(model_load_seconds, histogram, "time to load a model")                                       \
    X(outgoing_connections_total, counter, "outgoing connections tried, to wherever")              \
    X(outgoing_local_connections_total, counter, "of those, the ones that stay on this machine")

enum metric {
#define X(name, kind, help) METRIC_##name,
    METRICS(X)
#undef X
        METRIC_COUNT
};

void metric_add(enum metric m, int64_t n);         /* counter, gauge (n may be negative) */
void metric_set(enum metric m, int64_t value);     /* gauge */
void metric_observe_ns(enum metric m, int64_t ns); /* histogram */
int64_t metric_value(enum metric m); /* counter, gauge; a histogram's count, of all its series */
enum err metrics_render(struct buf *out);

/* For memory that processes share (shared.h): zeroed, metrics_size() bytes, never unmapped. A child
 * counts there, too; what it has in its gauges is taken back when it ends. */
size_t metrics_size(void);
void metrics_move(void *memory, bool child);
void metrics_child_ended(void);

/* ---- series --------------------------------------------------------------------------------
 * A series is a model and a class of priorities; it lives as long as the table, which bounds how
 * many label values a monitor has to keep. */

enum { METRIC_SERIES_MAX = 64, METRIC_LABEL_MAX = 128 };

/* The number of the series that requests of this priority to this model belong to; made when it is
 * new. When there are METRIC_SERIES_MAX already it is the one of model="other". Looks through the
 * list: ask once per request, not per token. */
int metric_series(const char *model, int32_t priority);
/* "interactive" (0..33), "normal" (34..66) or "background" */
const char *metric_priority_class(int32_t priority);
void metric_observe_series_ns(enum metric m, int series, int64_t ns);

#endif
