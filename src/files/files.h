/* Files that people bring: their bytes in a folder, once for each content, and their records in the
 * store (store_file.h), from adding to deleting. Watched folders are in watch.h.
 *
 *   <dir>/tmp/<number>       on their way (spool.h)
 *   <dir>/blobs/ab/<sha256>  the bytes of one content
 *   <dir>/lock               held shared while bytes get their record, alone while some are removed
 *   <dir>/wake               touched when another process has added or cancelled something
 *
 * What it guarantees:
 *  1. A file that was acknowledged has its record, its bytes and its job, whatever kills the hub.
 *  2. What was not acknowledged leaves nothing behind the next sweep (at start, and once a day).
 *  3. Bytes go when their last record goes, whoever's it was.
 *
 * Any thread may call; everything waits for the disk or the database. Several processes may work on
 * one folder; several hubs of one database must share it. */
#ifndef HEARTH_FILES_FILES_H
#define HEARTH_FILES_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "files/spool.h"
#include "jobs/jobs.h"
#include "store/store_file.h"

struct files;

/* The job that makes a file searchable; its payload is {"file_id"}. */
#define FILES_INDEX_KIND "index_file"
enum { FILES_INDEX_PRIORITY = 60, FILES_INDEX_ATTEMPTS = 5 };

struct files_params {
    const char *dir;        /* made when it is needed */
    int64_t max_bytes;      /* of a file */
    const char *collection; /* name of everybody's own, for files that say nothing */
    /* Whether the user may have `more` bytes: quotas. NULL = everybody may. ERR_TOO_LARGE. */
    enum err (*may_store)(void *ctx, struct store *s, const char *user_id, int64_t more,
                          struct error *error);
    void *ctx;
};

/* Called before a record goes: what was derived from the file and is not in the store must go
 * first. A failure keeps the file. */
typedef enum err (*files_delete_fn)(void *ctx, struct store *s, const struct store_file *f,
                                    struct error *error);

struct files *files_new(const struct files_params *params); /* touches nothing */
void files_free(struct files *f);                           /* NULL is fine */
/* What is told of new work: jobs of this process are woken, other processes by the file `wake`. */
void files_set_jobs(struct files *f, struct jobs *jobs);
/* NULL = nothing is to be done before. Before the first deletion. */
void files_before_delete(struct files *f, files_delete_fn fn, void *ctx);
int64_t files_max_bytes(const struct files *f);
const char *files_dir(const struct files *f);
const char *files_collection(const struct files *f); /* name of the usual one */
/* HEARTH_FILES, else `files` in the data folder. */
HT_MUST_CHECK enum err files_dir_of(const struct config *config, char *dst, size_t size,
                                    struct error *error);

/* ---- adding --------------------------------------------------------------------------------- */

/* Where a new file's bytes go; ERR_DISK_FULL when `expected` of them (0 = unknown) won't fit. */
HT_MUST_CHECK enum err files_spool(struct files *f, int64_t expected, struct spool **out,
                                   struct error *error);
/* The same for what the hub itself writes, however long: the answers of a batch are many times its
 * questions. */
HT_MUST_CHECK enum err files_spool_own(struct files *f, struct spool **out, struct error *error);
HT_MUST_CHECK enum err files_may_store(struct files *f, struct store *s, const char *user_id,
                                       int64_t more, struct error *error);

struct files_new {
    struct store_asker who;
    const char *collection; /* id or name; NULL = the user's own default */
    const char *name;       /* as the person calls it; cleaned here */
    const char *source;     /* of a watched folder: the path; NULL = uploaded */
    int64_t source_ms;
    bool local_only; /* what it says never leaves this machine */
};

/* Takes the finished spool's bytes (the spool is the caller's to free), finds out their type, and
 * adds record and job. A file that is there already (see store_file_add): *added is false and *out
 * is that one, queued anew if it had failed. */
HT_MUST_CHECK enum err files_add(struct files *f, struct store *s, const struct files_new *new,
                                 struct spool *spool, struct arena *a, struct store_file *out,
                                 bool *added, struct error *error);
/* Takes the bytes of finished spools (the caller's to free; NULL ones are skipped) for records that
 * are not searchable files: `add` writes them, all or nothing. */
typedef enum err (*files_record_fn)(void *ctx, struct store *s, struct error *error);
HT_MUST_CHECK enum err files_keep(struct files *f, struct store *s, struct spool *const *spools,
                                  size_t n, files_record_fn add, void *ctx, struct error *error);
/* A record that had these bytes has gone: so do they, if it was the last one. */
void files_let_go(struct files *f, struct store *s, const char *sha256);
/* Other bytes for a file of a watched folder. */
HT_MUST_CHECK enum err files_replace(struct files *f, struct store *s, const struct store_file *old,
                                     const char *user_id, int64_t source_ms, struct spool *spool,
                                     struct error *error);
/* To be indexed anew, by whoever may delete it. */
HT_MUST_CHECK enum err files_reindex(struct files *f, struct store *s,
                                     const struct store_asker *who, const char *id,
                                     struct error *error);

/* ---- what is there -------------------------------------------------------------------------- */

/* The path of a content's bytes. */
HT_MUST_CHECK enum err files_blob(const struct files *f, const char *sha256, char *dst, size_t size,
                                  struct error *error);
/* Its bytes, to be sent: the caller closes *fd. ERR_NOT_FOUND: they are gone. */
HT_MUST_CHECK enum err files_open(const struct files *f, const char *sha256, int *fd, int64_t *size,
                                  struct error *error);
HT_MUST_CHECK enum err files_delete(struct files *f, struct store *s, const struct store_asker *who,
                                    const char *id, struct error *error);
/* With every file in it. */
HT_MUST_CHECK enum err files_delete_collection(struct files *f, struct store *s,
                                               const struct store_asker *who, const char *id,
                                               struct error *error);

struct files_swept {
    size_t spools, blobs; /* removed */
    size_t lost;          /* records whose bytes are gone: they are marked as failed */
};

/* Makes folder and database agree again. A folder without any bytes says nothing about records. */
HT_MUST_CHECK enum err files_sweep(struct files *f, struct store *s, struct files_swept *out,
                                   struct error *error);

/* New work was added or (cancelled) some was taken away: see files_set_jobs. */
void files_wake(struct files *f, bool cancelled);

/* A name that is safe to show and to save as: its last part, no control characters, no characters
 * that turn the writing direction around, valid UTF-8, at most STORE_FILE_NAME_MAX - 1 bytes with
 * the extension kept; "file" when nothing is left. */
void files_clean_name(const char *name, char dst[STORE_FILE_NAME_MAX]);

#endif
