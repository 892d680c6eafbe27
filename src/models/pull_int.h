/* Inside of pull: what a spec means (pull_plan.c), and how one file comes (pull_file.c). All of it
 * belongs to the thread that called models_pull. */
#ifndef HEARTH_MODELS_PULL_INT_H
#define HEARTH_MODELS_PULL_INT_H

#include "base/fs.h"
#include "models/models_int.h"
#include "models/pull.h"

enum {
    PULL_URL_MAX = 2048,
    PULL_PARTS_MAX = 1000,
    PULL_HEADROOM = 64 << 20, /* what must stay free on the disk */
};

struct pull_file {
    char url[PULL_URL_MAX];
    char in_repo[512]; /* path within the repository; of an URL its last segment */
    char name[256];    /* the file's name here */
    int64_t size;      /* -1 = the server will say */
    char sha256[65];   /* "" = the server may say */
};

struct pull_plan {
    char repo[256];     /* "" for a plain URL */
    char endpoint[512]; /* without a '/' at its end */
    char catalog[64], quant[32];
    struct pull_file *files; /* owned */
    size_t n_files;
};

struct pull {
    struct models *models;
    struct httpc *http;
    const struct pull_params *params;
    struct pull_plan plan;
};

/* What the spec names; may ask the server. Fills p->plan. */
HT_MUST_CHECK enum err pull_plan_make(struct pull *p, struct error *error);

/* Is the plan's first file in the models folder already (and none is forced)? Asks nobody. */
bool pull_is_there(const struct pull *p);

/* An answer of 400 and more, as an error for people. `what` names the thing that was asked for. */
enum err pull_status_error(const struct pull *p, int status, const char *error_code,
                           const char *what, struct error *error);
/* "Authorization: Bearer ..." if the URL is the hub's and there is a token; false = none needed. */
bool pull_auth_header(const struct pull *p, const char *url, char *dst, size_t size);

/* One file on its way. Holds the lock on `<path>.part` until closed. */
struct pull_part {
    const struct pull_file *file;
    int no, n_parts;
    char path[FS_PATH_MAX], part_path[FS_PATH_MAX];
    int fd; /* -1 = closed */
    char revision[64];
    char sha256[65]; /* of what came */
    int64_t bytes;
};

/* Brings the file to `<path>.part`, checked; pull_part_commit renames it. pull_part_close must be
 * called in any case. */
HT_MUST_CHECK enum err pull_part_fetch(struct pull *p, struct pull_part *part, struct error *error);
HT_MUST_CHECK enum err pull_part_commit(struct pull_part *part, struct error *error);
void pull_part_close(struct pull_part *part);

#endif
