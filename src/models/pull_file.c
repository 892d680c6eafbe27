/* One file: `<path>.part` under a lock, beside it `<path>.part.json` with what is needed to resume.
 *
 * attempt() is one request. The net thread writes and hashes what comes (got_response, got_data);
 * the caller's thread waits, reports progress and may cancel. After on_done only the caller's
 * thread touches struct transfer again; in between, `done`, `total` and the state are shared under
 * `lock`.
 *
 * A partial file is only continued if the server still has the same one: same sha256 if it tells
 * one, and an If-Range with the strong validator it gave; with neither, it starts over. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "models/gguf.h"
#include "models/pull_int.h"

enum {
    TRIES = 3, /* without a byte of progress in between */
    RESTARTS_MAX = 2,
    TICK_MS = 100,
    RATE_SAMPLES = 32, /* of half a second: the rate is over the last 16 s */
    RATE_STEP_MS = 500,
    RETRY_AFTER_MAX_S = 60,
    STATE_BYTES_MAX = 16 << 10,
};

/* What `<path>.part.json` holds. */
struct part_state {
    char url[PULL_URL_MAX];
    char validator[256]; /* strong ETag, or "" */
    char sha256[65];     /* promised by the server, or "" */
    int64_t size;        /* -1 = unknown */
};

/* Why our own callbacks stopped a request. */
enum stop { STOP_NONE, STOP_ERROR, STOP_START_OVER, STOP_STATUS };

struct transfer {
    struct pull *p;
    struct pull_part *part;
    crypto_hash_sha256_state hash;
    struct part_state state;
    int64_t offset; /* bytes in the file and in the hash */
    int64_t resumed_from;
    bool whole; /* the server says that offset is all there is */

    /* of one attempt */
    enum stop stop;
    struct error stop_error;
    int status;
    int64_t retry_after_s;
    char error_code[64];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock */
    int64_t done, total;
    bool finished;
    struct error net_error;
    const char *note;

    /* caller's thread */
    struct {
        int64_t ms, bytes;
    } samples[RATE_SAMPLES];
    size_t n_samples;
    int phase;
};

/* ---- state of a partial file ------------------------------------------------------------- */

static bool beside(char dst[FS_PATH_MAX], const struct pull_part *part)
{
    return str_printf(dst, FS_PATH_MAX, "%s.json", part->part_path);
}

static void state_read(const struct pull_part *part, struct part_state *out)
{
    char path[FS_PATH_MAX];
    struct buf text;
    json_t *doc = NULL;
    const char *url = NULL, *validator = NULL, *sha = NULL;
    *out = (struct part_state){.size = -1};
    buf_init(&text, STATE_BYTES_MAX);
    if (beside(path, part) && fs_exists(path) &&
        fs_read_file(path, STATE_BYTES_MAX, &text, NULL) == OK &&
        json_parse(buf_str(&text), text.len, &doc, NULL) == OK && json_is_object(doc) &&
        json_get_string(doc, "url", "", &url, NULL) == OK &&
        json_get_string(doc, "etag", "", &validator, NULL) == OK &&
        json_get_string(doc, "sha256", "", &sha, NULL) == OK &&
        json_get_int(doc, "size", "", -1, INT64_MAX, &out->size, NULL) == OK) {
        str_copy(out->url, sizeof(out->url), url ? url : "");
        str_copy(out->validator, sizeof(out->validator), validator ? validator : "");
        str_copy(out->sha256, sizeof(out->sha256), sha ? sha : "");
    }
    json_decref(doc);
    buf_free(&text);
}

static enum err state_write(const struct pull_part *part, const struct part_state *s,
                            struct error *error)
{
    char path[FS_PATH_MAX];
    struct buf text;
    struct jw w;
    if (!beside(path, part)) return err_set(error, ERR_INVALID, "the path is too long");
    buf_init(&text, STATE_BYTES_MAX);
    jw_init(&w, &text);
    jw_obj(&w);
    jw_kstr(&w, "url", s->url);
    jw_kstr(&w, "etag", s->validator);
    jw_kstr(&w, "sha256", s->sha256);
    jw_kint(&w, "size", s->size);
    jw_obj_end(&w);
    enum err e = text.err ? err_set(error, text.err, "no memory")
                          : fs_write_atomic(path, buf_str(&text), text.len, 0644, error);
    buf_free(&text);
    return e;
}

static void remove_part(const struct pull_part *part)
{
    char path[FS_PATH_MAX];
    unlink(part->part_path);
    if (beside(path, part)) unlink(path);
}

/* The file may be renamed or removed between open and flock; then the lock is on something else. */
static enum err open_locked(struct pull_part *part, struct error *error)
{
    for (int i = 0; i < 10; i++) {
        int fd = open(part->part_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) return err_set_errno(error, errno, part->part_path);
        struct stat own, named;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            close(fd);
            return err_set(error, ERR_CONFLICT,
                           "%.200s is being downloaded by another process; wait for it",
                           part->file->name);
        }
        if (fstat(fd, &own) == 0 && stat(part->part_path, &named) == 0 &&
            own.st_ino == named.st_ino && own.st_dev == named.st_dev) {
            part->fd = fd;
            return OK;
        }
        close(fd);
    }
    return err_set(error, ERR_CONFLICT, "%.200s is being downloaded by others", part->file->name);
}

/* ---- progress ---------------------------------------------------------------------------- */

static double rate(struct transfer *t, int64_t now, int64_t done)
{
    size_t last = (t->n_samples + RATE_SAMPLES - 1) % RATE_SAMPLES;
    if (t->n_samples == 0 || now - t->samples[last].ms >= RATE_STEP_MS) {
        last = t->n_samples++ % RATE_SAMPLES;
        t->samples[last].ms = now;
        t->samples[last].bytes = done;
    }
    size_t first = t->n_samples > RATE_SAMPLES ? t->n_samples % RATE_SAMPLES : 0;
    int64_t ms = now - t->samples[first].ms, bytes = done - t->samples[first].bytes;
    return ms > 0 && bytes > 0 ? (double)bytes * 1000 / (double)ms : 0;
}

/* False: the caller wants to stop. */
static bool report(struct transfer *t)
{
    const struct pull_params *params = t->p->params;
    if (!params->on_progress) return true;
    pthread_mutex_lock(&t->lock);
    struct pull_progress now = {
        .file = t->part->file->name,
        .part = t->part->no + 1,
        .n_parts = t->part->n_parts,
        .done = t->done,
        .total = t->total,
        .resumed_from = t->resumed_from,
        .eta_s = -1,
        .note = t->note,
    };
    t->note = NULL;
    pthread_mutex_unlock(&t->lock);
    now.phase = (unsigned)t->phase;
    now.bytes_per_s = rate(t, clock_mono_ms(), now.done);
    if (now.total >= now.done && now.bytes_per_s > 0)
        now.eta_s = (int64_t)((double)(now.total - now.done) / now.bytes_per_s + 0.5);
    return params->on_progress(params->ctx, &now);
}

static void say(struct transfer *t, const char *note)
{
    pthread_mutex_lock(&t->lock);
    t->note = note;
    pthread_mutex_unlock(&t->lock);
    log_info(models, "%s: %s", t->part->file->name, note);
}

static enum err cancelled(struct error *error)
{
    return err_set(error, ERR_CANCELLED,
                   "cancelled; the same command goes on from where it stopped");
}

static void set_done(struct transfer *t, int64_t done, int64_t total)
{
    pthread_mutex_lock(&t->lock);
    t->done = done;
    t->total = total;
    pthread_mutex_unlock(&t->lock);
}

/* ---- net thread: what comes -------------------------------------------------------------- */

static bool stop(struct transfer *t, enum stop why)
{
    t->stop = why;
    return false;
}

static void hex(char dst[65], const unsigned char *bytes)
{
    for (int i = 0; i < 32; i++) str_printf(dst + 2 * i, 3, "%02x", bytes[i]);
}

/* "\"<64 hex digits>\"" as the hub sends it -> lower case; false if it is another kind of tag. */
static bool sha_of_etag(char dst[65], const char *etag)
{
    if (!etag) return false;
    if (etag[0] == '"') etag++;
    if (strspn(etag, "0123456789abcdefABCDEF") != 64 || (etag[64] && !str_eq(etag + 64, "\"")))
        return false;
    for (int i = 0; i < 64; i++) dst[i] = (char)(etag[i] | (etag[i] >= 'A' ? 0x20 : 0));
    dst[64] = '\0';
    return true;
}

/* Content-Range: "bytes 100-999/1000", "bytes * /1000"; -1 for what isn't there. */
static void parse_range(const char *s, int64_t *from, int64_t *total)
{
    *from = *total = -1;
    if (!s || strncasecmp(s, "bytes ", 6) != 0) return;
    char first[24] = "";
    const char *dash = strchr(s, '-'), *slash = strchr(s, '/');
    if (dash && dash - (s + 6) > 0 && dash - (s + 6) < 20)
        memcpy(first, s + 6, (size_t)(dash - (s + 6)));
    if (*first && !str_to_i64(first, 0, INT64_MAX, from)) *from = -1;
    if (slash && !str_to_i64(slash + 1, 0, INT64_MAX, total)) *total = -1;
}

static bool start_over(struct transfer *t)
{
    if (ftruncate(t->part->fd, 0) != 0) {
        err_set_errno(&t->stop_error, errno, t->part->part_path);
        return stop(t, STOP_ERROR);
    }
    t->offset = t->resumed_from = 0;
    crypto_hash_sha256_init(&t->hash);
    return true;
}

static bool enough_disk(struct transfer *t, int64_t size)
{
    uint64_t available;
    char needs[32], has[32], folder[FS_PATH_MAX];
    if (size < 0) return true;
    uint64_t needed = (uint64_t)(size - t->offset) + PULL_HEADROOM;
    str_copy(folder, sizeof(folder), t->part->path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    if (fs_free_bytes(slash ? folder : ".", &available, NULL) != OK || available >= needed)
        return true;
    err_set(&t->stop_error, ERR_DISK_FULL,
            "not enough disk space for %.100s: needs %s, %s are free in %.150s; free some, or set "
            "HEARTH_MODELS to another disk",
            t->part->file->name, str_from_bytes(needs, sizeof(needs), needed),
            str_from_bytes(has, sizeof(has), available), folder);
    return stop(t, STOP_ERROR);
}

/* Notes what this answer says about the file. False: it is not the file that we have a part of. */
static bool learn(struct transfer *t, const struct httpc_response *r, int64_t size)
{
    char sha[65] = "";
    const char *revision = r->header(r, "X-Repo-Commit");
    if (!sha_of_etag(sha, r->header(r, "X-Linked-Etag"))) str_copy(sha, 65, t->part->file->sha256);
    bool same = t->offset == 0 || !sha[0] || !t->state.sha256[0] || str_eq(sha, t->state.sha256);
    if (t->offset > 0 && t->state.size >= 0 && size >= 0 && size != t->state.size) same = false;
    if (!same) return false;
    str_copy(t->state.url, sizeof(t->state.url), t->part->file->url);
    if (sha[0]) str_copy(t->state.sha256, sizeof(t->state.sha256), sha);
    bool strong = r->etag[0] == '"'; /* RFC 9110: a weak one, W/"...", can't be used for ranges */
    str_copy(t->state.validator, sizeof(t->state.validator), strong ? r->etag : "");
    t->state.size = size;
    if (revision) str_copy(t->part->revision, sizeof(t->part->revision), revision);
    return true;
}

static bool accept_body(struct transfer *t, const struct httpc_response *r, int64_t size)
{
    if (!learn(t, r, size)) return stop(t, STOP_START_OVER);
    if (!enough_disk(t, size)) return false;
    if (state_write(t->part, &t->state, &t->stop_error)) return stop(t, STOP_ERROR);
    set_done(t, t->offset, size);
    return true;
}

static bool got_response(void *ctx, const struct httpc_response *r)
{
    struct transfer *t = ctx;
    const char *linked = r->header(r, "X-Linked-Size"), *retry = r->header(r, "Retry-After");
    const char *code = r->header(r, "X-Error-Code");
    int64_t from, total, size = r->content_length;
    t->status = r->status;
    t->retry_after_s = -1;
    if (retry && !str_to_i64(retry, 0, INT32_MAX, &t->retry_after_s)) t->retry_after_s = -1;
    str_copy(t->error_code, sizeof(t->error_code), code ? code : "");
    parse_range(r->header(r, "Content-Range"), &from, &total);
    if (r->status == 206) {
        if (from != t->offset) return stop(t, STOP_START_OVER);
        return accept_body(t, r, total);
    }
    if (r->status == 416 && t->offset > 0) {
        /* nothing behind our last byte: it is all there, or another file by now */
        if (total != t->offset || !learn(t, r, total)) return stop(t, STOP_START_OVER);
        t->whole = true;
        return true;
    }
    if (r->status != 200) return stop(t, STOP_STATUS);
    if (size < 0 && linked && !str_to_i64(linked, 0, INT64_MAX, &size)) size = -1;
    if (t->offset > 0) {
        say(t, "the server can't resume this file, or it changed; starting over");
        if (!start_over(t)) return false;
        t->state = (struct part_state){.size = -1};
    }
    return accept_body(t, r, size);
}

static bool write_all(struct transfer *t, const char *data, size_t len)
{
    while (len) {
        ssize_t n = -1;
        errno = ENOSPC;
        if (!fault_hit(FAULT_write)) n = pwrite(t->part->fd, data, len, (off_t)t->offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            bool full = errno == ENOSPC || errno == EDQUOT;
            err_set_errno(&t->stop_error, errno, t->part->part_path);
            if (full)
                err_set(&t->stop_error, ERR_DISK_FULL,
                        "the disk is full; make room and run the same command again, it goes on "
                        "from where it stopped (%.200s)",
                        t->part->part_path);
            return stop(t, STOP_ERROR);
        }
        crypto_hash_sha256_update(&t->hash, (const unsigned char *)data, (size_t)n);
        t->offset += n;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool got_data(void *ctx, const void *data, size_t len)
{
    struct transfer *t = ctx;
    if (t->whole) return true; /* a 416's own words */
    /* a web page instead of a model shows at once, not after gigabytes */
    if (t->offset == 0 && len >= 4 && memcmp(data, "GGUF", 4) != 0) {
        err_set(&t->stop_error, ERR_MODEL_FILE,
                "what the server sends as %.150s is not a GGUF "
                "model file",
                t->part->file->name);
        return stop(t, STOP_ERROR);
    }
    if (t->state.size >= 0 && (int64_t)len > t->state.size - t->offset) {
        err_set(&t->stop_error, ERR_UPSTREAM,
                "the server sends more than the %lld bytes it "
                "announced",
                (long long)t->state.size);
        return stop(t, STOP_ERROR);
    }
    if (!write_all(t, data, len)) return false;
    set_done(t, t->offset, t->state.size);
    return true;
}

static void got_end(void *ctx, const struct httpc_response *r, const struct error *error)
{
    struct transfer *t = ctx;
    (void)r;
    pthread_mutex_lock(&t->lock);
    t->net_error = error ? *error : (struct error){.code = OK};
    t->finished = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

/* ---- caller's thread --------------------------------------------------------------------- */

/* Waits for the end of request `id`, reporting. */
static enum err wait_for(struct transfer *t, uint64_t id, struct error *error)
{
    bool wanted = true;
    for (;;) {
        int64_t until_ns = clock_mono_ns() + (int64_t)TICK_MS * 1000000;
        pthread_mutex_lock(&t->lock);
        while (!t->finished && cond_wait_until(&t->changed, &t->lock, until_ns)) {
        }
        bool finished = t->finished;
        pthread_mutex_unlock(&t->lock);
        if (finished) break;
        if (wanted && !report(t)) {
            wanted = false;
            httpc_cancel(t->p->http, id);
        }
    }
    if (!wanted) return cancelled(error);
    if (t->net_error.code == OK) return OK;
    if (error) *error = t->net_error;
    return t->net_error.code;
}

static enum err request(struct transfer *t, struct error *error)
{
    char auth[1024], range[300];
    const char *headers[3] = {"Accept-Encoding: identity"};
    size_t n = 1;
    if (pull_auth_header(t->p, t->part->file->url, auth, sizeof(auth))) headers[n++] = auth;
    if (t->offset > 0 && t->state.validator[0] &&
        str_printf(range, sizeof(range), "If-Range: %s", t->state.validator))
        headers[n++] = range;
    struct httpc_request req = {
        .method = "GET",
        .url = t->part->file->url,
        .headers = headers,
        .n_headers = n,
        .range_from = t->offset,
        .max_redirects = 10,
        .on_response = got_response,
        .on_data = got_data,
        .on_done = got_end,
        .ctx = t,
    };
    uint64_t id;
    t->stop = STOP_NONE;
    t->status = 0;
    t->retry_after_s = -1;
    t->finished = false;
    enum err e = httpc_start(t->p->http, &req, &id, error);
    return e ? e : wait_for(t, id, error);
}

enum outcome { DONE, AGAIN, START_OVER, FAILED };

static enum outcome cut_short(struct transfer *t, struct error *error)
{
    err_set(error, ERR_NETWORK, "the connection ended after %lld of %lld bytes",
            (long long)t->offset, (long long)t->state.size);
    return AGAIN;
}

/* One request, judged. */
static enum outcome attempt(struct transfer *t, struct error *error)
{
    enum err e = request(t, error);
    switch (t->stop) {
    case STOP_ERROR: *error = t->stop_error; return FAILED;
    case STOP_START_OVER: return START_OVER;
    case STOP_STATUS:
        pull_status_error(t->p, t->status, t->error_code, t->part->file->in_repo, error);
        return t->status == 429 || t->status == 408 || t->status >= 500 ? AGAIN : FAILED;
    case STOP_NONE: break;
    }
    if (e == ERR_NETWORK || e == ERR_TIMEOUT) return AGAIN;
    if (e) return FAILED;
    if (t->whole || t->state.size < 0 || t->offset == t->state.size) return DONE;
    return cut_short(t, error);
}

/* Before another try. ERR_CANCELLED if the caller doesn't want to wait. */
static enum err pause_for(struct transfer *t, int tries, struct error *error)
{
    int64_t first = t->p->params->retry_delay_ms > 0 ? t->p->params->retry_delay_ms : 1000;
    int64_t ms = first << (tries - 1);
    if (t->retry_after_s > 0 && t->retry_after_s <= RETRY_AFTER_MAX_S) ms = t->retry_after_s * 1000;
    say(t, t->status >= 400 ? "the server is busy; waiting, then trying again"
           : t->status == 0 ? "no answer; trying again"
                            : "the connection was cut; trying again");
    for (int64_t end = clock_mono_ms() + ms; clock_mono_ms() < end;) {
        if (!report(t)) return cancelled(error);
        int64_t left = end - clock_mono_ms();
        if (left > 0) usleep((useconds_t)(left < TICK_MS ? left : TICK_MS) * 1000);
    }
    return OK;
}

static enum err gave_up(const struct transfer *t, struct error *error)
{
    char has[32];
    if (t->offset == 0) return error->code;
    struct error last = *error;
    return err_set(error, last.code, "%.300s; run the same command again to go on from %s",
                   last.msg, str_from_bytes(has, sizeof(has), (uint64_t)t->offset));
}

static enum err fetch_all(struct transfer *t, struct error *error)
{
    int tries = 0, restarts = 0;
    t->phase = PULL_DOWNLOADING;
    for (;;) {
        struct error why = {.code = OK};
        int64_t before = t->offset;
        switch (attempt(t, &why)) {
        case DONE: return OK;
        case FAILED:
            if (error) *error = why;
            return why.code;
        case START_OVER:
            if (++restarts > RESTARTS_MAX)
                return err_set(error, ERR_UPSTREAM,
                               "%.200s changes while it is downloaded; try "
                               "again later",
                               t->part->file->name);
            say(t, "the file changed at the server; starting over");
            if (!start_over(t)) {
                if (error) *error = t->stop_error;
                return t->stop_error.code;
            }
            t->state = (struct part_state){.size = -1};
            break;
        case AGAIN:
            if (t->offset > before) tries = 0;
            if (++tries >= TRIES || t->retry_after_s > RETRY_AFTER_MAX_S) {
                if (error) *error = why;
                return error ? gave_up(t, error) : why.code;
            }
            if (pause_for(t, tries, error)) return ERR_CANCELLED;
            break;
        }
    }
}

/* Takes the bytes that are there already into the hash; or drops them. */
static enum err resume(struct transfer *t, struct error *error)
{
    static const size_t chunk = 256 << 10;
    struct stat st;
    const struct pull_file *f = t->part->file;
    state_read(t->part, &t->state);
    crypto_hash_sha256_init(&t->hash);
    if (fstat(t->part->fd, &st) != 0) return err_set_errno(error, errno, t->part->part_path);
    bool known = t->state.validator[0] || t->state.sha256[0];
    bool same = str_eq(t->state.url, f->url) && known &&
                (!f->sha256[0] || !t->state.sha256[0] || str_eq(f->sha256, t->state.sha256)) &&
                (t->state.size < 0 || st.st_size <= t->state.size);
    if (st.st_size == 0 || !same || t->p->params->force) {
        t->state = (struct part_state){.size = -1};
        if (!start_over(t)) {
            if (error) *error = t->stop_error;
            return t->stop_error.code;
        }
        return OK;
    }
    unsigned char *buffer = try_malloc(chunk);
    if (!buffer) return err_set(error, ERR_NOMEM, "no memory to read %.200s", t->part->part_path);
    enum err e = OK;
    t->phase = PULL_VERIFYING;
    t->resumed_from = st.st_size;
    for (int64_t reported = 0; t->offset < st.st_size && e == OK;) {
        ssize_t n = pread(t->part->fd, buffer, chunk, (off_t)t->offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            e = err_set_errno(error, n < 0 ? errno : EIO, t->part->part_path);
            break;
        }
        crypto_hash_sha256_update(&t->hash, buffer, (size_t)n);
        t->offset += n;
        if (clock_mono_ms() - reported < TICK_MS) continue;
        reported = clock_mono_ms();
        set_done(t, t->offset, t->state.size);
        if (!report(t)) e = cancelled(error);
    }
    free(buffer);
    set_done(t, t->offset, t->state.size);
    return e;
}

/* Hash and header of what came. What is wrong is deleted: it could never be completed. */
static enum err verify(struct transfer *t, struct error *error)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    struct pull_part *part = t->part;
    t->phase = PULL_VERIFYING;
    if (!report(t)) return cancelled(error);
    crypto_hash_sha256_final(&t->hash, digest);
    hex(part->sha256, digest);
    part->bytes = t->offset;
    const char *promised = part->file->sha256[0] ? part->file->sha256 : t->state.sha256;
    if (promised[0] && strcasecmp(promised, part->sha256) != 0) {
        remove_part(part);
        return err_set(error, ERR_CHECKSUM,
                       "%.150s came damaged (sha256 %.12s..., promised %.12s...) and was deleted; "
                       "pull it again",
                       part->file->name, part->sha256, promised);
    }
    if (!promised[0]) log_info(models, "%s: the server gives no sha256", part->file->name);
    int no, n_parts;
    struct error why;
    enum err e = gguf_check_file(part->part_path, &no, &n_parts, &why);
    if (e == OK && part->n_parts > 1 && (no != part->no || n_parts != part->n_parts))
        e = err_set(&why, ERR_MODEL_FILE, "it says to be part %d of %d", no + 1, n_parts);
    if (e == OK && part->n_parts == 1 && n_parts > 1)
        e = err_set(&why, ERR_MODEL_FILE,
                    "it is part %d of a model in %d files; pull the "
                    "repository",
                    no + 1, n_parts);
    if (e == OK) return OK;
    remove_part(part);
    return err_set(error, e, "%.150s was downloaded, but can't be used and was deleted: %.250s",
                   part->file->name, why.msg);
}

static void transfer_init(struct transfer *t, struct pull *p, struct pull_part *part)
{
    *t =
        (struct transfer){.p = p, .part = part, .total = part->file->size, .phase = PULL_RESOLVING};
    pthread_mutex_init(&t->lock, NULL);
    cond_init(&t->changed);
}

enum err pull_part_fetch(struct pull *p, struct pull_part *part, struct error *error)
{
    struct transfer t;
    part->fd = -1;
    if (!str_printf(part->part_path, sizeof(part->part_path), "%s.part", part->path))
        return err_set(error, ERR_INVALID, "the path of %.200s is too long", part->file->name);
    enum err e = open_locked(part, error);
    if (e) return e;
    transfer_init(&t, p, part);
    e = report(&t) ? resume(&t, error) : cancelled(error);
    if (e == OK) e = fetch_all(&t, error);
    if (e && t.offset == 0) remove_part(part);
    if (e == OK && fsync(part->fd) != 0) e = err_set_errno(error, errno, part->part_path);
    if (e == OK) e = verify(&t, error);
    pthread_cond_destroy(&t.changed);
    pthread_mutex_destroy(&t.lock);
    return e;
}

static void sync_folder(const char *path)
{
    char dir[FS_PATH_MAX];
    str_copy(dir, sizeof(dir), path);
    char *slash = strrchr(dir, '/');
    if (!slash) return;
    *slash = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd); /* a name that is lost in a crash is pulled again */
    close(fd);
}

enum err pull_part_commit(struct pull_part *part, struct error *error)
{
    char path[FS_PATH_MAX];
    if (rename(part->part_path, part->path) != 0) return err_set_errno(error, errno, part->path);
    if (beside(path, part)) unlink(path);
    sync_folder(part->path);
    return OK;
}

void pull_part_close(struct pull_part *part)
{
    if (part->fd >= 0) close(part->fd);
    part->fd = -1;
}
