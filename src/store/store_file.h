/* Collections, files, and folders that are watched. The bytes of a file are in the data folder
 * (src/files), by their SHA-256; here is what is known of them.
 *
 *   queued --index_file--> extracting --> chunking --> embedding (done of total) --> ready
 *      ^                       |             |             |
 *      |--store_file_requeue---+-------------+-------------+--> failed (error says why)
 *
 * A job of a file that is cancelled or tried again by whoever looks after jobs (store_job.h) takes
 * the file along: it has failed, or is queued. The same goes for one whose workers died.
 *
 * A collection belongs to one user, or to nobody: then all users may search it and read its files,
 * and admins fill it. A file belongs to the owner of its collection, so that what is shared stays
 * when the account of who brought it goes.
 *
 * `n` of both is a random number of 53 bits (it fits a double), which stays when the database is
 * copied to another one and is never used again: what indexes of vectors may use as a key. */
#ifndef HEARTH_STORE_STORE_FILE_H
#define HEARTH_STORE_STORE_FILE_H

#include "base/arena.h"
#include "store/store.h"
#include "store/store_job.h"
#include "store/store_user.h"

enum {
    STORE_SHA256_MAX = 65, /* hexadecimal, with its '\0' */
    STORE_FILE_NAME_MAX = 256,
    STORE_FILE_PAGE_MAX = 1000,
    STORE_COLLECTION_NAME_MAX = 128,
};

/* What a file says whose job was cancelled. */
#define STORE_FILE_CANCELLED "indexing was cancelled"

/* ---- collections --------------------------------------------------------------------------- */

struct store_collection {
    int64_t n;
    const char *id, *user_id /* NULL: shared by all */, *name;
    int64_t n_files, bytes, created_ms;
};

/* Who asks. An admin may change shared collections and what is in them. */
struct store_asker {
    const char *user_id;
    bool admin;
};

/* user_id NULL: a shared one. The new id. ERR_CONFLICT: the user (or all) has one of that name. */
HT_MUST_CHECK enum err store_collection_create(struct store *s, const char *user_id,
                                               const char *name, char id[STORE_ID_MAX],
                                               struct error *error);
/* The user's collection of that name, made if it is not there; a shared one of the name is another.
 */
HT_MUST_CHECK enum err store_collection_default(struct store *s, const char *user_id,
                                                const char *name, struct arena *a,
                                                struct store_collection *out, struct error *error);
/* One that the user may see, by its id or, where there is none of that id, its name: the user's own
 * before a shared one. */
HT_MUST_CHECK enum err store_collection_find(struct store *s, const char *user_id,
                                             const char *id_or_name, struct arena *a,
                                             struct store_collection *out, struct error *error);
/* All that the user may see, by name. */
HT_MUST_CHECK enum err store_collection_list(struct store *s, const char *user_id, struct arena *a,
                                             struct store_collection **out, size_t *n,
                                             struct error *error);
/* ERR_CONFLICT: files are in it (delete them first, see src/files); ERR_FORBIDDEN: a shared one,
 * and no admin asks. */
HT_MUST_CHECK enum err store_collection_delete(struct store *s, const struct store_asker *who,
                                               const char *id, struct error *error);

/* ---- files --------------------------------------------------------------------------------- */

/* X(id, word) */
#define STORE_FILE_STATES(X)                                                                       \
    X(QUEUED, "queued")                                                                            \
    X(EXTRACTING, "extracting")                                                                    \
    X(CHUNKING, "chunking")                                                                        \
    X(EMBEDDING, "embedding")                                                                      \
    X(READY, "ready")                                                                              \
    X(FAILED, "failed")

enum store_file_status {
#define X(id, word) STORE_FILE_##id,
    STORE_FILE_STATES(X)
#undef X
        STORE_FILE_STATUS_COUNT
};

const char *store_file_status_name(enum store_file_status status);
/* -1: no such word. */
int store_file_status_of(const char *word);

struct store_file {
    int64_t n;
    const char *id, *user_id /* NULL: shared by all */, *collection_id;
    int64_t collection_n;
    const char *name, *sha256;
    int64_t bytes;
    const char *type; /* MIME, by content */
    enum store_file_status status;
    int64_t done, total; /* of the present state: chunks embedded, of all */
    const char *error;   /* of a failed one, else NULL */
    int64_t n_chunks, n_pages;
    const char *meta;   /* JSON object; NULL when adding = {} */
    const char *source; /* of a watched folder's: its path; NULL = it was uploaded */
    int64_t source_ms;  /* when that file had last changed */
    bool local_only;    /* what it says never leaves the machine */
    int64_t created_ms, updated_ms;
};

/* collection_id, name, sha256, bytes, type, meta, source, source_ms, local_only are used; the state
 * is queued.
 * `job` (kind, priority, max_attempts are used) is added in the same transaction with the payload
 * {"file_id"} and the key "file:<id>", so that a file has one unfinished job at a time, as the
 * asker's. An uploaded file that the collection has already (same hash), and a watched one of the
 * same source: *added is false and *id is that one's. ERR_NOT_FOUND: the asker sees no such
 * collection; ERR_FORBIDDEN: sees it only. */
HT_MUST_CHECK enum err store_file_add(struct store *s, const struct store_asker *who,
                                      const struct store_file *f, const struct store_job *job,
                                      char id[STORE_ID_MAX], bool *added, struct error *error);

/* The user's own, and those in shared collections. */
HT_MUST_CHECK enum err store_file_get(struct store *s, const char *user_id, const char *id,
                                      struct arena *a, struct store_file *out, struct error *error);
/* Whoever's it is: for jobs, whose payload names it. */
HT_MUST_CHECK enum err store_file_by_id(struct store *s, const char *id, struct arena *a,
                                        struct store_file *out, struct error *error);

struct store_file_page {
    const char *collection_id; /* NULL: the user's own files, in all collections */
    int status;                /* -1 = any */
    const char *search;        /* part of the name; NULL = all */
    int64_t before_ms;         /* go on after the last one of a page: its created_ms and id */
    const char *before_id;
    int32_t limit; /* 1..STORE_FILE_PAGE_MAX */
};

/* The newest first; *n < limit: there are no more. */
HT_MUST_CHECK enum err store_file_list(struct store *s, const char *user_id,
                                       const struct store_file_page *page, struct arena *a,
                                       struct store_file **out, size_t *n, struct error *error);

struct store_file_progress { /* -1 and NULL: stays */
    enum store_file_status status;
    int64_t done, total, n_chunks, n_pages;
    const char *error; /* kept only with STORE_FILE_FAILED, else it is taken away */
    const char *meta;
};

/* sha256: of the bytes that were worked on; ERR_CONFLICT when the file has others by now (it
 * changed in its folder), NULL = not checked. ERR_NOT_FOUND: it was deleted. */
HT_MUST_CHECK enum err store_file_progress(struct store *s, const char *id, const char *sha256,
                                           const struct store_file_progress *p,
                                           struct error *error);
/* To be indexed anew, maybe with other bytes (sha256, bytes, type, source_ms of f; sha256 NULL =
 * the same). An unfinished job of the old bytes is cancelled. Chunks are the job's business. */
HT_MUST_CHECK enum err store_file_requeue(struct store *s, const char *id,
                                          const struct store_file *f, const struct store_job *job,
                                          struct error *error);
/* Pins or unpins it. Who may, as of store_file_delete. */
HT_MUST_CHECK enum err store_file_set_local_only(struct store *s, const struct store_asker *who,
                                                 const char *id, bool local_only,
                                                 struct error *error);
/* Whether it is pinned, by itself or by its owner; a file that is gone is not. */
HT_MUST_CHECK enum err store_file_pinned(struct store *s, const char *id, bool *out,
                                         struct error *error);
/* With its chunks; its unfinished job is cancelled. Its own user may, and an admin where the
 * collection is shared. ERR_FORBIDDEN: it can be read only. */
HT_MUST_CHECK enum err store_file_delete(struct store *s, const struct store_asker *who,
                                         const char *id, struct error *error);

/* ---- bytes --------------------------------------------------------------------------------- */

/* How many files have these bytes, whoever's they are. */
HT_MUST_CHECK enum err store_file_references(struct store *s, const char *sha256, int64_t *n,
                                             struct error *error);
struct store_file_totals {
    int64_t files, bytes;
};
/* What counts against the user's quota. */
HT_MUST_CHECK enum err store_file_usage(struct store *s, const char *user_id,
                                        struct store_file_totals *out, struct error *error);
/* Files whose id is behind `after` ("" = the first ones), by id: to look whether their bytes are
 * there. */
HT_MUST_CHECK enum err store_file_walk(struct store *s, const char *after, int32_t limit,
                                       struct arena *a, struct store_file **out, size_t *n,
                                       struct error *error);

/* ---- watched folders ------------------------------------------------------------------------ */

struct store_watch {
    const char *id, *user_id, *collection_id, *path; /* absolute */
    int64_t created_ms;
};

/* ERR_CONFLICT: the user watches it already. */
HT_MUST_CHECK enum err store_watch_add(struct store *s, const struct store_watch *watch,
                                       char id[STORE_ID_MAX], struct error *error);
/* user_id NULL: everybody's (for the hub, which watches them). */
HT_MUST_CHECK enum err store_watch_list(struct store *s, const char *user_id, struct arena *a,
                                        struct store_watch **out, size_t *n, struct error *error);
HT_MUST_CHECK enum err store_watch_delete(struct store *s, const char *user_id, const char *path,
                                          struct error *error);
/* Files of a collection that came from under a folder, at most `limit` whose ids are behind `after`
 * ("" = the first ones). */
HT_MUST_CHECK enum err store_watch_files(struct store *s, const char *collection_id,
                                         const char *folder, const char *after, int32_t limit,
                                         struct arena *a, struct store_file **out, size_t *n,
                                         struct error *error);
/* It was touched, but its bytes are the same. */
HT_MUST_CHECK enum err store_watch_touch(struct store *s, const char *id, int64_t source_ms,
                                         struct error *error);
/* The file that came from this path. */
HT_MUST_CHECK enum err store_watch_file(struct store *s, const char *collection_id,
                                        const char *source, struct arena *a, struct store_file *out,
                                        struct error *error);

#endif
