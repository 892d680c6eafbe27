/* The jobs that make files searchable; see index.h.
 *
 * While a batch's vectors are written, the next batch is on its way to the model, so that the model
 * never waits for the disk. */
#include "rag/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"
#include "rag/rag_int.h"
#include "rag/split.h"

enum {
    INSERT_CHUNKS = 512, /* chunks of one transaction */
    EMBED_CHUNKS = 64,   /* texts of one question to the model */
    AHEAD = 2,           /* of those on their way */
    PRIORITY = 90,       /* behind everything that somebody waits for */
    SAY_MS = 500,
    FILES_PAGE = 100,
    ARENA_MAX = 64 << 20,
    ALL_CHUNKS_MAX = 1 << 30,
};

#define EMBED_KIND "embed_missing"

struct indexing {
    struct rag *r;
    struct job_ctx *job;
    struct store *store;
    struct store_file file;
    struct arena *arena; /* of the file's record */
    int64_t said_ms;
};

/* ---- saying how far -------------------------------------------------------------------------- */

static enum err say(struct indexing *x, enum store_file_status status, int64_t done, int64_t total,
                    int64_t n_chunks, int64_t n_pages, struct error *error)
{
    struct store_file_progress p = {
        .status = status, .done = done, .total = total, .n_chunks = n_chunks, .n_pages = n_pages};
    job_progress(x->job, store_file_status_name(status), done, total);
    x->said_ms = clock_mono_ms();
    return store_file_progress(x->store, x->file.id, x->file.sha256, &p, error);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

struct chunking {
    struct indexing *x;
    struct arena *arena; /* of the batch */
    struct store_chunk batch[INSERT_CHUNKS];
    size_t n;
    int64_t first, collection, total;
    const char *title;
    struct error error;
};

/* The name without its extension, where the document has no title. */
static const char *title_of(struct indexing *x, const struct extract_doc *doc)
{
    if (doc->title && *doc->title) return doc->title;
    const char *dot = strrchr(x->file.name, '.');
    size_t len = dot && dot != x->file.name ? (size_t)(dot - x->file.name) : strlen(x->file.name);
    const char *title = arena_strndup(x->arena, x->file.name, len);
    return title ? title : "";
}

static bool count_chunk(void *ctx, const struct split_chunk *chunk)
{
    struct chunking *c = ctx;
    c->total = chunk->n + 1;
    return true;
}

static enum err flush(struct chunking *c)
{
    enum err e = OK;
    if (c->n)
        e = store_chunk_add(c->x->store, c->x->file.id, c->collection, c->batch, c->n, &c->error);
    if (!e) job_progress(c->x->job, "chunking", c->batch[0].n + (int64_t)c->n, c->total);
    c->n = 0;
    arena_free(c->arena);
    c->arena = arena_new(ALL_CHUNKS_MAX);
    if (!e && job_cancelled(c->x->job)) e = err_set(&c->error, ERR_CANCELLED, "it was cancelled");
    return e;
}

static const char *heading_of(struct chunking *c, const char *heading)
{
    struct buf b;
    char text[2 * SPLIT_HEADING_MAX + EXTRACT_TITLE_MAX];
    bool same = str_starts(heading, c->title); /* the first heading is mostly the title */
    buf_init_fixed(&b, text, sizeof text);
    if (!same) buf_puts(&b, c->title);
    if (!same && *c->title && *heading) buf_puts(&b, " › ");
    buf_puts(&b, heading);
    return arena_strdup(c->arena, buf_str(&b));
}

/* Databases take neither zero bytes nor broken characters; extraction gives none, but what is
 * stored must not depend on it. */
static char *text_of(struct chunking *c, const struct split_chunk *chunk)
{
    size_t body = chunk->end - chunk->start, gap = chunk->prefix_len ? chunk->prefix_len + 1 : 0;
    char *text = arena_alloc(c->arena, gap + body + 1);
    if (!text) return NULL;
    memcpy(text, chunk->prefix, chunk->prefix_len);
    if (gap) text[gap - 1] = '\n';
    memcpy(text + gap, chunk->body, body);
    text[gap + body] = '\0';
    for (size_t i = 0; i < gap + body;) {
        size_t n = text[i] ? utf8_next(text + i, gap + body - i) : 0;
        if (!n) text[i] = '?';
        i += n ? n : 1;
    }
    return text;
}

static bool take_chunk(void *ctx, const struct split_chunk *chunk)
{
    struct chunking *c = ctx;
    struct store_chunk *to = &c->batch[c->n];
    *to = (struct store_chunk){
        .id = c->first + chunk->n,
        .n = chunk->n,
        .text = text_of(c, chunk),
        .heading = heading_of(c, chunk->heading),
        .page_from = chunk->page_from,
        .page_to = chunk->page_to,
        .start = (int64_t)chunk->start,
        .end = (int64_t)chunk->end,
    };
    if (!to->text || !to->heading) {
        err_set(&c->error, ERR_NOMEM, "no memory for the chunks of a file");
        return false;
    }
    to->tokens = split_tokens(to->text, strlen(to->text));
    return ++c->n < INSERT_CHUNKS || flush(c) == OK;
}

static void split_as_set(const struct config *config, struct split_params *out)
{
    bool tokens = str_ieq(config_str(config, CONFIG_CHUNK_UNIT), "tokens");
    *out = (struct split_params){.size = (int32_t)config_int(config, CONFIG_CHUNK_SIZE),
                                 .overlap = (int32_t)config_int(config, CONFIG_CHUNK_OVERLAP),
                                 .unit = tokens ? SPLIT_TOKENS : SPLIT_CHARACTERS};
}

/* Splitting costs next to nothing, so it is done twice: to know how many ids to reserve, and to
 * fill them, which needs no memory for all chunks at once. */
static enum err split_and_store(struct chunking *c, const struct extract_doc *doc,
                                const struct split_page *pages, struct error *error)
{
    struct split_params params;
    struct indexing *x = c->x;
    split_as_set(x->r->p.config, &params);
    enum err e =
        split_text(doc->text, doc->len, pages, doc->n_pages, &params, count_chunk, c, error);
    if (!e && !c->total) e = err_set(error, ERR_INVALID, "there is no text in this file");
    if (!e) e = store_chunk_begin(x->store, x->file.id, c->total, &c->first, &c->collection, error);
    if (e) return e;
    e = split_text(doc->text, doc->len, pages, doc->n_pages, &params, take_chunk, c, error);
    if (!e && flush(c)) e = c->error.code;
    if (e && c->error.code) {
        *error = c->error;
        e = c->error.code;
    }
    return e;
}

static enum err make_chunks(struct indexing *x, const struct extract_doc *doc, struct error *error)
{
    struct chunking *c = xcalloc(1, sizeof *c);
    struct split_page *pages = try_calloc(doc->n_pages + 1, sizeof *pages);
    struct vectors *v;
    c->x = x;
    c->arena = arena_new(ALL_CHUNKS_MAX);
    c->title = title_of(x, doc);
    enum err e = pages ? rag_vectors(x->r, x->store, &v, error)
                       : err_set(error, ERR_NOMEM, "no memory for the pages of a file");
    for (size_t i = 0; !e && i < doc->n_pages; i++)
        pages[i] = (struct split_page){doc->pages[i].start, doc->pages[i].number};
    if (!e) e = vectors_remove_file(v, x->file.id, error);
    if (!e) e = split_and_store(c, doc, pages, error);
    if (!e) e = say(x, STORE_FILE_EMBEDDING, 0, c->total, c->total, (int64_t)doc->n_pages, error);
    if (!e) x->file.n_chunks = c->total;
    arena_free(c->arena);
    free(pages);
    free(c);
    return e;
}

static enum err extract_and_chunk(struct indexing *x, struct error *error)
{
    char path[FS_PATH_MAX];
    struct extract_params params;
    struct extract_doc doc = {0};
    enum err e = say(x, STORE_FILE_EXTRACTING, 0, 0, 0, 0, error);
    if (!e) e = files_blob(x->r->files, x->file.sha256, path, sizeof path, error);
    if (e) return e;
    extract_params_from(x->r->p.config, &params);
    params.path = path;
    params.name = x->file.name;
    e = extract_run(&params, job_cancelled_ctx, x->job, &doc, error);
    if (e) return e;
    e = say(x, STORE_FILE_CHUNKING, 0, 0, 0, (int64_t)doc.n_pages, error);
    if (!e) e = make_chunks(x, &doc, error);
    extract_doc_free(&doc);
    return e;
}

/* ---- vectors --------------------------------------------------------------------------------- */

struct batch {
    struct arena *arena;
    struct store_chunk *chunks;
    size_t n;
    struct embedding *asked;
};

struct embedding_file {
    struct indexing *x;
    struct vectors *vectors;
    struct rag_model model;
    int64_t next, done, total; /* numbers of chunks */
    struct batch ahead[AHEAD]; /* in order; the first `n_ahead` are on their way */
    size_t n_ahead;
};

static const char *embed_text(struct arena *a, const struct store_chunk *c)
{
    size_t heading = strlen(c->heading), len = strlen(c->text);
    char *text = arena_alloc(a, heading + len + 2);
    if (!text) return NULL;
    memcpy(text, c->heading, heading);
    text[heading] = '\n';
    memcpy(text + heading + 1, c->text, len + 1);
    return heading ? text : text + 1;
}

static enum err ask_batch(struct embedding_file *f, struct batch *b, struct error *error)
{
    const char *texts[EMBED_CHUNKS];
    bool pinned; /* asked each time: it may be pinned while it is being indexed */
    enum err e = store_file_pinned(f->x->store, f->x->file.id, &pinned, error);
    if (e) return e;
    for (size_t i = 0; i < b->n; i++) {
        texts[i] = embed_text(b->arena, &b->chunks[i]);
        if (!texts[i]) return err_set(error, ERR_NOMEM, "no memory to embed chunks");
    }
    struct embed_ask ask = {.use = EMBED_DOCUMENTS,
                            .model = f->model.id,
                            .tenant = f->x->file.user_id ? f->x->file.user_id : "",
                            .priority = PRIORITY,
                            .local_only = pinned,
                            .n_ctx = f->model.n_ctx,
                            .texts = texts,
                            .n = b->n};
    return embed_start(f->x->r->p.provider, &ask, &b->asked, error);
}

static enum err start_batches(struct embedding_file *f, struct error *error)
{
    enum err e = OK;
    while (!e && f->n_ahead < AHEAD && f->next < f->total) {
        struct batch *b = &f->ahead[f->n_ahead];
        *b = (struct batch){.arena = arena_new(ALL_CHUNKS_MAX)};
        e = store_chunk_page(f->x->store, f->x->file.id, f->next, EMBED_CHUNKS, b->arena,
                             &b->chunks, &b->n, error);
        if (!e && !b->n) e = err_set(error, ERR_NOT_FOUND, "the file's chunks are gone");
        if (!e) e = ask_batch(f, b, error);
        if (e) {
            arena_free(b->arena);
            break;
        }
        f->next += (int64_t)b->n;
        f->n_ahead++;
    }
    return e;
}

static enum err add_vectors(struct embedding_file *f, const struct batch *b,
                            const struct embedded *v, struct error *error)
{
    int64_t ids[EMBED_CHUNKS];
    enum err e = OK;
    for (size_t i = 0; i < b->n; i++) ids[i] = b->chunks[i].id;
    if (!f->model.set)
        e = vectors_set_open(f->vectors, f->model.fingerprint, v->dims, &f->model.set, error);
    struct vectors_add add = {.set = f->model.set,
                              .collection = f->x->file.collection_n,
                              .file_id = f->x->file.id,
                              .chunks = ids,
                              .floats = v->floats,
                              .dims = v->dims,
                              .n = b->n};
    return e ? e : vectors_add(f->vectors, &add, error);
}

static enum err finish_batch(struct embedding_file *f, struct error *error)
{
    struct embedded v = {0};
    struct batch b = f->ahead[0];
    f->n_ahead--;
    memmove(f->ahead, f->ahead + 1, f->n_ahead * sizeof *f->ahead);
    enum err e = embed_wait(b.asked, job_cancelled_ctx, f->x->job, &v, error);
    struct error more = {0};
    enum err next =
        e ? OK : start_batches(f, &more); /* the model works while this one is written */
    if (!e) e = add_vectors(f, &b, &v, error);
    if (!e) f->done += (int64_t)b.n;
    free(v.floats);
    arena_free(b.arena);
    if (!e && next) {
        *error = more;
        e = next;
    }
    return e;
}

static void drop_batches(struct embedding_file *f)
{
    for (size_t i = 0; i < f->n_ahead; i++) {
        embed_drop(f->ahead[i].asked);
        arena_free(f->ahead[i].arena);
    }
    f->n_ahead = 0;
}

static enum err embed_chunks(struct embedding_file *f, bool tell, struct error *error)
{
    enum err e = start_batches(f, error);
    while (!e && f->n_ahead) {
        e = finish_batch(f, error);
        job_progress(f->x->job, "embedding", f->done, f->total);
        if (!e && tell && clock_mono_ms() - f->x->said_ms > SAY_MS)
            e = say(f->x, STORE_FILE_EMBEDDING, f->done, f->total, -1, -1, error);
    }
    drop_batches(f);
    return e;
}

/* Goes on where an earlier try stopped: vectors are added in the order of the chunks. */
static enum err embed_file(struct indexing *x, bool tell, struct error *error)
{
    struct embedding_file f = {.x = x, .total = x->file.n_chunks};
    size_t n;
    struct rag_model models[1];
    enum err e = rag_vectors(x->r, x->store, &f.vectors, error);
    if (!e) e = rag_models_searched(x->r, f.vectors, models, 1, &n, NULL, error);
    if (e) return e;
    f.model = models[0];
    if (f.model.set) e = vectors_count(f.vectors, f.model.set, x->file.id, &f.done, error);
    f.next = f.done;
    return e ? e : embed_chunks(&f, tell, error);
}

/* ---- index_file ------------------------------------------------------------------------------ */

/* Whether an earlier try has made all chunks of these bytes. */
static bool has_chunks(struct indexing *x)
{
    int64_t n = 0;
    return x->file.status == STORE_FILE_EMBEDDING && x->file.n_chunks > 0 &&
           store_chunk_count(x->store, x->file.id, &n, NULL) == OK && n == x->file.n_chunks;
}

/* Deleted, or with other bytes by now: nothing is left to do here but to tidy up. */
static enum err overtaken(struct indexing *x, const char *file_id, enum err e, struct error *error)
{
    struct vectors *v;
    struct store_file f;
    if (e != ERR_NOT_FOUND && e != ERR_CONFLICT) return e;
    enum err gone = store_file_by_id(x->store, file_id, x->arena, &f, error);
    if (gone == OK && e == ERR_CONFLICT) return OK; /* the new bytes have a job of their own */
    if (gone != ERR_NOT_FOUND) return gone ? gone : e;
    e = rag_vectors(x->r, x->store, &v, error);
    return e ? e : vectors_remove_file(v, file_id, error);
}

/* Somebody cancelled the job (not: the hub stops): the file must not look as if it were worked on.
 */
static void cancelled(struct indexing *x)
{
    struct store_job job;
    struct error error;
    struct store_file_progress p = {.status = STORE_FILE_FAILED,
                                    .done = -1,
                                    .total = -1,
                                    .n_chunks = -1,
                                    .n_pages = -1,
                                    .error = STORE_FILE_CANCELLED};
    enum err e = store_job_get(x->store, NULL, job_info(x->job)->id, x->arena, &job, &error);
    if (e || job.state != STORE_JOB_CANCELLED) return;
    struct store_file f;
    e = store_file_by_id(x->store, x->file.id, x->arena, &f, &error);
    if (e || f.status == STORE_FILE_QUEUED) return; /* it waits for its next turn */
    e = store_file_progress(x->store, x->file.id, x->file.sha256, &p, &error);
    if (e && e != ERR_NOT_FOUND && e != ERR_CONFLICT)
        log_warn(store, "file %s: %s", x->file.id, error.msg);
}

static enum err index_steps(struct indexing *x, struct error *error)
{
    enum err e = has_chunks(x) ? OK : extract_and_chunk(x, error);
    if (!e) e = embed_file(x, true, error);
    if (!e)
        e = say(x, STORE_FILE_READY, x->file.n_chunks, x->file.n_chunks, x->file.n_chunks, -1,
                error);
    return e;
}

static enum err index_file(struct job_ctx *job, void *ctx, struct error *error)
{
    struct indexing x = {.r = ctx, .job = job, .store = job_store(job)};
    const char *id;
    enum err e = job_payload_str(job, "file_id", &id, error);
    if (e) return e;
    int64_t from_ms = clock_mono_ms();
    x.arena = arena_new(ARENA_MAX);
    e = store_file_by_id(x.store, id, x.arena, &x.file, error);
    if (!e) e = index_steps(&x, error);
    if (e == ERR_CANCELLED)
        cancelled(&x);
    else
        e = overtaken(&x, id, e, error);
    if (!e)
        log_info(store, "file %s: %lld chunks, %lld ms", id, (long long)x.file.n_chunks,
                 (long long)(clock_mono_ms() - from_ms));
    arena_free(x.arena);
    return e;
}

/* Over for good, without success: the person sees why, and nobody half of it. */
static void index_failed(struct store *s, const struct store_job *job, void *ctx,
                         const struct error *error)
{
    json_t *payload = NULL;
    struct error why;
    struct vectors *v;
    if (json_parse(job->payload, strlen(job->payload), &payload, &why)) return;
    const char *id = json_string_value(json_object_get(payload, "file_id"));
    struct store_file_progress p = {.status = STORE_FILE_FAILED,
                                    .done = -1,
                                    .total = -1,
                                    .n_chunks = 0,
                                    .n_pages = -1,
                                    .error = error->msg};
    enum err e = id ? store_file_progress(s, id, NULL, &p, &why) : OK;
    if (!e && id) e = rag_vectors(ctx, s, &v, &why);
    if (!e && id) e = vectors_remove_file(v, id, &why);
    if (!e && id) e = store_chunk_clear(s, id, &why);
    if (e && e != ERR_NOT_FOUND) log_warn(store, "file %s: %s", id, why.msg);
    json_decref(payload);
}

/* ---- embed_missing --------------------------------------------------------------------------- */

static enum err embed_one(struct rag *r, struct job_ctx *job, const char *id, struct error *error)
{
    struct indexing x = {
        .r = r, .job = job, .store = job_store(job), .arena = arena_new(ARENA_MAX)};
    enum err e = store_file_by_id(x.store, id, x.arena, &x.file, error);
    if (!e) e = embed_file(&x, false, error);
    e = overtaken(&x, id, e, error);
    arena_free(x.arena);
    return e;
}

/* Set 0: no file has any. */
static enum err embed_all(struct rag *r, struct job_ctx *job, int64_t set, struct error *error)
{
    char after[STORE_ID_MAX] = "";
    size_t n = 1;
    enum err e = OK;
    while (!e && n) {
        const char **ids;
        struct arena *a = arena_new(ARENA_MAX);
        e = store_chunk_missing(job_store(job), set, after, FILES_PAGE, a, &ids, &n, error);
        for (size_t i = 0; !e && i < n; i++) {
            if (job_cancelled(job)) e = err_set(error, ERR_CANCELLED, "it was cancelled");
            if (!e) e = embed_one(r, job, ids[i], error);
        }
        if (!e && n) str_copy(after, sizeof after, ids[n - 1]);
        arena_free(a);
    }
    return e;
}

static enum err drop_old_sets(struct rag *r, struct vectors *v, struct error *error)
{
    struct vectors_set *sets;
    struct rag_model now;
    size_t n;
    struct arena *a = arena_new(1 << 20);
    enum err e = rag_model_now(r, &now, error);
    if (!e) e = vectors_set_list(v, a, &sets, &n, error);
    for (size_t i = 0; !e && i < n; i++)
        if (!str_eq(sets[i].model, now.fingerprint)) {
            e = vectors_set_drop(v, sets[i].n, error);
            if (!e) log_info(store, "vectors of %s were dropped", sets[i].model);
        }
    arena_free(a);
    return e;
}

static enum err embed_missing(struct job_ctx *job, void *ctx, struct error *error)
{
    struct rag *r = ctx;
    struct vectors *v;
    struct rag_model models[1];
    size_t n;
    enum err e = rag_vectors(r, job_store(job), &v, error);
    if (!e) e = rag_models_searched(r, v, models, 1, &n, NULL, error);
    if (!e) log_info(store, "files are embedded anew by %s", models[0].id);
    if (!e) e = embed_all(r, job, models[0].set, error);
    if (!e) e = drop_old_sets(r, v, error);
    return e;
}

void index_begin(struct rag *r, struct store *s)
{
    struct vectors *v; /* the first call looks, see index_look */
    struct error error;
    if (rag_vectors(r, s, &v, &error)) log_warn(store, "vectors: %s", error.msg);
}

/* Nothing was embedded yet: then a missing model is nobody's concern. */
static bool has_sets(struct vectors *v)
{
    struct vectors_set *sets;
    size_t n = 0;
    struct error ignored; /* the same comes again at once, and is told */
    struct arena *a = arena_new(1 << 20);
    bool has = vectors_set_list(v, a, &sets, &n, &ignored) || n;
    arena_free(a);
    return has;
}

void index_look(struct rag *r, struct store *s, struct vectors *v)
{
    struct rag_model models[1];
    struct error error;
    size_t n;
    bool old;
    char id[37], got[STORE_JOB_ID_MAX];
    if (!has_sets(v)) return;
    enum err e = rag_models_searched(r, v, models, 1, &n, &old, &error);
    if (!e && !old) return;
    id_uuid4(id);
    struct store_job job = {
        .id = id, .kind = EMBED_KIND, .key = EMBED_KIND, .priority = 70, .max_attempts = 100};
    if (!e) e = store_job_add(s, &job, got, &error);
    if (e) log_warn(store, "looking for files to embed anew: %s", error.msg);
    if (!e && r->jobs) jobs_wake(r->jobs);
}

/* The store's own triggers take the vectors with the record; this tells what searches them. */
static enum err before_delete(void *ctx, struct store *s, const struct store_file *f,
                              struct error *error)
{
    struct vectors *v;
    enum err e = rag_vectors(ctx, s, &v, error);
    if (!e) e = vectors_remove_file(v, f->id, error);
    if (e) log_warn(store, "file %s: %s", f->id, error->msg);
    return OK;
}

void index_register(struct rag *r, struct jobs *jobs, struct files *files)
{
    r->jobs = jobs;
    r->files = files;
    jobs_register(jobs, FILES_INDEX_KIND, index_file, index_failed, r);
    files_before_delete(files, before_delete, r);
    jobs_register(jobs, EMBED_KIND, embed_missing, NULL, r);
}
