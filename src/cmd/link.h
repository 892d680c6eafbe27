/* Link: the hub's API as verbs use it, either of a running hub over HTTP (link_remote.c) or of a
 * hub built in this process, without any socket (link_local.c). Both speak the same requests and
 * answers, so that everything above behaves the same on both.
 *
 * One owner thread; one request at a time. */
#ifndef HEARTH_CMD_LINK_H
#define HEARTH_CMD_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "base/err.h"
#include "cmd/reply.h"
#include "httpc/httpc.h"
#include "types/model_info.h"

struct link;

struct link_ops {
    const char *name;
    /* MUST. Asynchronous: on OK the reply's end comes exactly once, on any thread. body (JSON, may
     * be NULL) is copied. */
    enum err (*start)(struct link *link, const char *method, const char *path, const char *body,
                      size_t len, struct reply *reply, struct error *error);
    /* MUST. Makes the end of the request under way come soon. */
    void (*cancel)(struct link *link);
    /* MUST. No request is under way. */
    void (*close)(struct link *link);
};

struct link {
    const struct link_ops *ops;
    char where[256]; /* for the person: the URL, or "this process" */
    bool local;
    struct model_info model; /* local only: the default model */
    bool others;             /* local only: other providers are configured, too */
    bool by_name;            /* local only: the model asked for is another provider's */
};

/* To the hub at `url` ("http://host:port"), with HEARTH_API_KEY if there is one. Nothing is sent
 * yet. */
HT_MUST_CHECK enum err link_open_remote(const struct config *config, const char *url,
                                        struct link **out, struct error *error);

/* Another key than the configuration's; of remote links. */
void link_authorize(struct link *link, const char *key);

/* Builds a hub in this process; the default model starts loading. config is borrowed. The errors
 * are those of hub_open, and ERR_NO_MODEL, ERR_MODEL_FILE, ... of its default model. */
HT_MUST_CHECK enum err link_open_local(const struct config *config, struct link **out,
                                       struct error *error);

/* A GET where body is NULL, else a POST. */
HT_MUST_CHECK enum err link_start(struct link *link, const char *path, const char *body, size_t len,
                                  struct reply *reply, struct error *error);
void link_cancel(struct link *link);
void link_close(struct link *link); /* NULL is fine */

/* A whole GET, or POST of JSON: the JSON document's text into *out. */
HT_MUST_CHECK enum err link_get(struct link *link, const char *path, struct buf *out,
                                struct error *error);
HT_MUST_CHECK enum err link_post(struct link *link, const char *path, const char *body,
                                 struct buf *out, struct error *error);

HT_MUST_CHECK enum err link_delete(struct link *link, const char *path, struct error *error);

/* ---- which hub ------------------------------------------------------------------------------ */

enum { LINK_URL_MAX = 256, LINK_PATH_MAX = 640 };

/* The URL of a hub that runs for this person and answers: the one that hub.json in the data folder
 * names, else whatever of Hearth answers at HOST and PORT. false = there is none. */
bool link_find_hub(const struct config *config, struct httpc *http, char url[LINK_URL_MAX]);

/* Chooses and opens: `url` if given; else, unless no_hub, a running hub; else this process with
 * `model` as its default. model may be NULL. A model that is given as a path to a file can only be
 * loaded here. *config_here keeps the configuration of a local link: free it after the link. */
struct cmd_args;
HT_MUST_CHECK enum err link_choose(const struct cmd_args *args, const struct config *config,
                                   struct link **out, struct config **config_here,
                                   struct error *error);

#endif
