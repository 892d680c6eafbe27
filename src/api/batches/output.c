/* Output files of batches: an answer as JSON on each line, in the order of the requests; those that
 * failed, and those that came too late, in a file of their own. */
#include <stdlib.h>
#include <string.h>

#include "api/batches/batches_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "hub/hub.h"

enum { LINES = 256, LINES_MEMORY = 512 << 20 };
enum which { OUT, FAILED, FILES };

struct output {
    struct hub *hub;
    struct store *s;
    const struct store_batch *batch;
    enum store_batch_state state;
    const char *errors;
    struct spool *spools[FILES];
    struct store_api_file records[FILES];
    char ids[FILES][BATCH_ID_MAX], names[FILES][STORE_FILE_NAME_MAX];
};

static enum err write_line(struct output *o, enum which which, const char *text, size_t len,
                           struct error *error)
{
    enum err e = OK;
    if (!o->spools[which]) e = files_spool_own(o->hub->files, &o->spools[which], error);
    if (!e) e = spool_write(o->spools[which], text, len, error);
    return e ? e : spool_write(o->spools[which], "\n", 1, error);
}

static enum err write_answers(struct output *o, struct error *error)
{
    int64_t after = 0;
    size_t n = 1;
    enum err e = OK;
    while (!e && n > 0) {
        struct store_batch_line *list;
        struct arena *a = arena_new(LINES_MEMORY);
        e = store_batch_lines(o->s, o->batch->id, after, LINES, a, &list, &n, error);
        for (size_t i = 0; !e && i < n; i++) {
            e = write_line(o, list[i].failed ? FAILED : OUT, list[i].text, strlen(list[i].text),
                           error);
            after = list[i].line;
        }
        arena_free(a);
    }
    return e;
}

/* A request that was not answered in time. */
static enum err write_expired(struct output *o, const struct batch_request *r, struct error *error)
{
    struct buf b;
    struct jw w;
    char id[BATCH_ID_MAX];
    id_make(id, sizeof id, "batch_req_");
    buf_init(&b, 64 << 10);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "id", id);
    jw_kstr(&w, "custom_id", r->custom_id);
    jw_knull(&w, "response");
    jw_key(&w, "error");
    jw_obj(&w);
    jw_kstr(&w, "code", "batch_expired");
    jw_kstr(&w, "message",
            "This request could not be executed before the completion window expired.");
    jw_obj_end(&w);
    jw_obj_end(&w);
    enum err e = b.err ? err_set(error, b.err, "a line of a batch is too large")
                       : write_line(o, FAILED, b.data, b.len, error);
    buf_free(&b);
    return e;
}

static enum err write_left(struct output *o, struct error *error)
{
    struct batch_input in;
    int64_t *answered;
    size_t n, at = 0;
    enum err e = store_batch_answered(o->s, o->batch->id, &answered, &n, error);
    if (e) return e;
    e = batch_input_open(o->hub, o->s, o->batch, &in, error);
    if (e) { /* the input was deleted: nobody can be told what is missing */
        free(answered);
        return OK;
    }
    while (!e && batch_input_next(&in, &e, error)) {
        struct batch_request r;
        struct batch_fault fault;
        while (at < n && answered[at] < in.number) at++;
        if (at < n && answered[at] == in.number) continue;
        if (!batch_request_read(in.line, in.len, o->batch->endpoint, &r, &fault)) continue;
        e = write_expired(o, &r, error);
        batch_request_free(&r);
    }
    batch_input_close(&in);
    free(answered);
    return e;
}

/* ---- the end ------------------------------------------------------------------------------- */

static enum err add_records(void *ctx, struct store *s, struct error *error)
{
    struct output *o = ctx;
    const struct store_batch_end end = {.state = o->state,
                                        .errors = o->errors,
                                        .output = o->spools[OUT] ? &o->records[OUT] : NULL,
                                        .failed = o->spools[FAILED] ? &o->records[FAILED] : NULL};
    return store_batch_end(s, o->batch->id, &end, error);
}

static enum err fill_record(struct output *o, enum which which, struct error *error)
{
    static const char *const words[] = {[OUT] = "output", [FAILED] = "error"};
    struct spool *spool = o->spools[which];
    if (!spool) return OK;
    enum err e = spool_finish(spool, error);
    if (e) return e;
    int64_t keep_ms = o->batch->keep_output_s * 1000;
    id_make(o->ids[which], sizeof o->ids[which], "file-");
    str_printf(o->names[which], sizeof o->names[which], "%s_%s.jsonl", o->batch->id, words[which]);
    o->records[which] =
        (struct store_api_file){.id = o->ids[which],
                                .user_id = o->batch->user_id,
                                .purpose = "batch_output",
                                .name = o->names[which],
                                .sha256 = spool_sha256(spool),
                                .bytes = spool_bytes(spool),
                                .expires_ms = keep_ms ? clock_wall_ms() + keep_ms : 0};
    return OK;
}

enum err batch_end(struct hub *hub, struct store *s, const struct store_batch *batch,
                   enum store_batch_state state, const char *errors, struct error *error)
{
    struct output o = {.hub = hub, .s = s, .batch = batch, .state = state, .errors = errors};
    enum err e = write_answers(&o, error);
    if (!e && state == STORE_BATCH_EXPIRED) e = write_left(&o, error);
    if (!e) e = fill_record(&o, OUT, error);
    if (!e) e = fill_record(&o, FAILED, error);
    if (!e) e = files_keep(hub->files, s, o.spools, FILES, add_records, &o, error);
    spool_free(o.spools[OUT]);
    spool_free(o.spools[FAILED]);
    return e;
}

enum err batch_fail(struct hub *hub, struct store *s, const struct store_batch *batch,
                    const struct error *why, struct error *error)
{
    struct buf errors;
    struct jw w;
    char room[ERROR_MSG_MAX * 6 + 128];
    buf_init_fixed(&errors, room, sizeof room);
    jw_init(&w, &errors);
    jw_arr(&w);
    batch_write_error(&w, err_api_code(why->code), why->msg, NULL, 0);
    jw_arr_end(&w);
    return batch_end(hub, s, batch, STORE_BATCH_FAILED, room, error);
}
