/* The composition root: builds every object from the configuration and holds the pointers. Nothing
 * below includes this header; handlers and verbs are handed a hub. */
#ifndef HEARTH_HUB_HUB_H
#define HEARTH_HUB_HUB_H

#include <stdint.h>

#include "base/config.h"
#include "base/feed.h"
#include "base/thread.h"
#include "base/timer.h"
#include "chat/chat.h"
#include "engine/engine.h"
#include "files/files.h"
#include "httpc/httpc.h"
#include "hub/accounts.h"
#include "hub/pulls.h"
#include "hub/request_log.h"
#include "hub/snapshot.h"
#include "jobs/jobs.h"
#include "models/adapters.h"
#include "models/models.h"
#include "provider/provider.h"
#include "provider/recorder.h"
#include "provider/stack.h"
#include "rag/rag.h"
#include "router/router.h"
#include "worker/worker.h"

struct hub {
    const struct config *config; /* borrowed */
    struct models *models;
    struct adapters *adapters;
    struct pool *pool;
    struct timers *timers;
    struct provider *local; /* the worker's or the stack's */
    struct httpc *httpc;    /* to providers elsewhere; not connected to anybody at first */
    struct router *router;  /* the local one and those elsewhere */
    struct request_log *request_log;
    struct provider *derive;   /* derived models, in front of it */
    struct recorder *recorder; /* in front of that */
    struct provider *provider; /* the recorder's face: everything goes through it */
    struct snapshot *health_view, *models_view; /* of GET /health and GET /v1/models */
    struct provider *worker; /* a process of its own; NULL with HEARTH_IN_PROCESS */
    struct stack stack;      /* with HEARTH_IN_PROCESS */
    struct sched *sched;     /* that of the stack, else NULL */
    struct rag *rag;         /* answers from files */
    struct chat *chat;
    struct files *files;         /* what people upload */
    struct jobs *jobs;           /* background work */
    struct pulls *pulls;         /* downloads of models */
    struct jobs *background;     /* answers that nobody waits for, several at a time */
    struct jobs *batches;        /* many of them, when there is time */
    _Atomic int32_t batch_lines; /* requests of batches that are under way */
    struct feeds *feeds;         /* what those in the background have said so far */
    struct work *work;           /* owns them, and keeps them going once hub_start was called */
    struct accounts *accounts;   /* database and logins, opened when first needed */
    bool guarded;                /* every call needs a user, not only /api/v1 (HEARTH_AUTH) */
    int64_t started_wall_s;
    int64_t started_mono_ms;
};

/* Builds everything and, unless the configuration says no, starts preloading the default model in
 * the background. Quick: no model is waited for. A default model that does not exist or can't be
 * loaded is an error in the log, and what requests for it are told; the hub runs. */
HT_MUST_CHECK enum err hub_open(const struct config *config, struct hub **out, struct error *error);
/* The same over an engine of the caller's choice (tests: engine_open_fake, with names that begin
 * with "fake:"). The hub owns it from then on, also when this fails. */
HT_MUST_CHECK enum err hub_open_with_engine(const struct config *config, struct engine *engine,
                                            struct hub **out, struct error *error);
/* Starts what a hub does by itself: background jobs, watched folders. */
HT_MUST_CHECK enum err hub_start(struct hub *hub, struct error *error);
/* Refuses new work, lets running streams go on for grace_ms, frees all. The server must have been
 * told to stop accepting before, and be freed after. */
void hub_close(struct hub *hub, int64_t grace_ms);

/* As a client sees it: id "", name or alias -> what would answer. */
HT_MUST_CHECK enum err hub_default_model(const struct hub *hub, struct model_info *out,
                                         struct error *error);

#endif
