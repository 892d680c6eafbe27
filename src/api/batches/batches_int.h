/* Inside of batches: from a file of requests to a file of answers.
 *
 * A batch is a job that may end at any moment and go on later. What it has done is in the store
 * (store_batch.h), so that it goes on with the first line that has no answer yet; each line is
 * answered by the handler of its path, as if a client had asked (api/gather.h), with the lowest
 * priority. A line is only begun while nobody else asks the hub for anything, or when the batch
 * would else not be done in its time. */
#ifndef HEARTH_API_BATCHES_INT_H
#define HEARTH_API_BATCHES_INT_H

#include <stdio.h>

#include "api/batches/batches.h"
#include "base/json.h"
#include "store/store_batch.h"

struct hub;

enum {
    BATCH_LINES_MAX = 50000, /* as at OpenAI */
    BATCH_ERRORS_MAX = 100,  /* that are told of an input that is wrong */
    BATCH_CUSTOM_ID_MAX = 512,
    BATCH_ID_MAX = 40,
};

struct batch_create_fields {
    const char *input_file_id, *endpoint, *completion_window;
    const json_t *metadata, *output_expires_after;
};
extern const struct field batch_create_fields[]; /* schemas.c */

/* ---- lines ---------------------------------------------------------------------------------- */

/* A line of an input file; `json` owns the texts. */
struct batch_request {
    json_t *json;
    const char *custom_id;
    json_t *body;
};

/* What is wrong with a line, in OpenAI's words for it. */
struct batch_fault {
    const char *code;  /* static */
    const char *param; /* static; NULL = the whole line */
    char message[256];
};

/* input.c: false: *fault says what is wrong. */
bool batch_request_read(const char *line, size_t len, const char *endpoint,
                        struct batch_request *out, struct batch_fault *fault);
void batch_request_free(struct batch_request *r);

/* The lines of a file, one after the other. */
struct batch_input {
    FILE *file;
    char *line;
    size_t len, room;
    int64_t number; /* of `line`, from 1 */
};

HT_MUST_CHECK enum err batch_input_open(struct hub *hub, struct store *s,
                                        const struct store_batch *batch, struct batch_input *out,
                                        struct error *error);
/* The next line that is not empty, without its line break; false at the end, or *err. */
bool batch_input_next(struct batch_input *in, enum err *err, struct error *error);
void batch_input_close(struct batch_input *in);

/* Looks at every line. *total counts them; *errors: JSON array of what is wrong, to be freed; NULL
 * = nothing is. */
HT_MUST_CHECK enum err batch_input_check(struct hub *hub, struct store *s,
                                         const struct store_batch *batch, int64_t *total,
                                         char **errors, struct error *error);

/* One of a batch's errors. param NULL: the whole line; line 0: the whole batch. */
void batch_write_error(struct jw *w, const char *code, const char *message, const char *param,
                       int64_t line);

/* ---- output --------------------------------------------------------------------------------- */

/* output.c: the end in that state, with what was answered in its files. errors: JSON array, of one
 * that has failed; else NULL. ERR_NOT_FOUND: it is over. */
HT_MUST_CHECK enum err batch_end(struct hub *hub, struct store *s, const struct store_batch *batch,
                                 enum store_batch_state state, const char *errors,
                                 struct error *error);
/* The same of one that can't go on. */
HT_MUST_CHECK enum err batch_fail(struct hub *hub, struct store *s, const struct store_batch *batch,
                                  const struct error *why, struct error *error);

/* ---- others --------------------------------------------------------------------------------- */

/* Whether there is nothing more to be done about it. */
bool batch_is_over(enum store_batch_state state);

#endif
