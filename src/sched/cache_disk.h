/* Saved states in files: a folder, and the thread that alone reads and writes it.
 *
 * A file is a header (what the state is of, all its tokens, its tenant), and the state. It is
 * written to a temporary name and renamed, without fsync: after a crash it may be torn, and that is
 * found. The header has a hash over itself and the state has one too; a file whose length, hash or
 * any field is not as it should be is removed and never used. Files are readable for their owner
 * only (0600, the folder 0700).
 *
 * The owner (the engine thread) decides what is written, read and removed; answers come as notes
 * into its mailbox. Reads go before writes. What fails (a full disk, a folder that can't be used, a
 * file that has vanished) is logged once and answered with ok = false: the cache goes on without.
 */
#ifndef HEARTH_SCHED_CACHE_DISK_H
#define HEARTH_SCHED_CACHE_DISK_H

#include <stdatomic.h>

#include "base/mailbox.h"
#include "sched/prefix.h"

/* Bytes of a state; counted, because both threads may hold it. */
struct blob {
    atomic_int refs;
    size_t size;
    _Alignas(16) unsigned char bytes[];
};

struct blob *blob_new(size_t size); /* refs 1; NULL without memory */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* NULL is fine */

/* What a file says about its state. */
struct disk_meta {
    struct prefix prefix; /* tokens and tenant lie behind the struct, in one allocation */
    uint64_t file;        /* its name */
    uint64_t weight;      /* bytes of the model's weights: what a token costs to compute */
    uint64_t state_size, file_size;
    int64_t used_ns; /* when it was used last: the file's time */
};

/* Copies prefix and its arrays; NULL without memory. Free it with free(). */
struct disk_meta *disk_meta_new(const struct prefix *p, uint64_t weight, uint64_t state_size);

enum disk_note_type {
    DISK_FOUND,   /* while the folder is scanned: meta */
    DISK_SCANNED, /* all files were told */
    DISK_WRITTEN, /* ok */
    DISK_READ,    /* ok: meta and state */
};

struct disk_note {
    struct mail mail;
    enum disk_note_type type;
    uint64_t file;
    bool ok, corrupt; /* corrupt: the file was not as it should be, and is gone */
    struct disk_meta *meta;
    struct blob *state;
};
void disk_note_free(struct disk_note *n);

struct disk;

/* Starts the thread, which scans the folder first (and makes it). NULL: no thread could be started.
 * Notes go to `notes`, each followed by wake(ctx). */
struct disk *disk_open(const char *dir, struct mailbox *notes, void (*wake)(void *ctx), void *ctx);
/* What is queued is still written, for at most grace_ms. Afterwards no note comes. */
void disk_close(struct disk *d, int64_t grace_ms);

/* Owner only. meta passes to it; a reference to state is taken. */
void disk_write(struct disk *d, struct disk_meta *meta, struct blob *state);
void disk_read(struct disk *d, uint64_t file);
void disk_remove(struct disk *d, uint64_t file);
void disk_touch(struct disk *d, uint64_t file); /* it was used now */
/* Bytes that wait to be written. */
size_t disk_queued(const struct disk *d);

#endif
