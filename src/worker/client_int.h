/* Inside the worker's client: what its files share.
 *
 *   client.c        the face: taking, cancelling, stopping (any thread)
 *   client_task.c   a task's life: sending it, telling its listener, what the worker's death means
 *   client_loop.c   the `worker` thread: socket, frames, the child's start
 *   client_wishes.c what has to be so again in the next worker, and what has not
 *   client_child.c  the process: starting it, how it ended, whose fault that was (suspects.c)
 *   client_watch.c  whether it still does anything
 *   client_rights.c what it may not read, and a new one may
 *
 * States of a connection: DOWN --spawn--> STARTING --READY frame--> UP --death--> DOWN. Tasks are
 * taken in every state and sent when it is UP.
 *
 * The lock guards all that says so below. It is not held while a listener runs. Only the worker
 * thread takes tasks out of the table, so it may use one after having let go of the lock. */
#ifndef HEARTH_WORKER_CLIENT_INT_H
#define HEARTH_WORKER_CLIENT_INT_H

#include <pthread.h>
#include <sys/types.h>

#include "base/idmap.h"
#include "base/list.h"
#include "worker/frame.h"
#include "worker/suspects.h"
#include "worker/told.h"
#include "worker/worker.h"

enum {
    CLIENT_OUT_MAX = 0x7ff00000,    /* bytes that wait for the worker: a request may be 1 GiB */
    CLIENT_MESSAGE_MAX = 512 << 20, /* bytes of a message from it: vectors */
    CLIENT_START_MS = 30000,        /* until READY; libraries of GPUs take their time */
    CLIENT_QUIT_MS = 5000,          /* from QUIT to its end, then it is killed */
    CLIENT_BACKOFF_MS = 100,        /* after a start that failed; doubles with each */
    CLIENT_BACKOFF_MAX_MS = 10000,
    CLIENT_STARTS_MAX = 3,   /* failed starts until waiting tasks are told */
    CLIENT_TRIES_MAX = 3,    /* workers that may die by their own fault with a task */
    CLIENT_LIVES_MAX = 1000, /* workers that may die at all with it */
    WISHES_MAX = 64,
};

enum task_kind { TASK_GENERATE, TASK_EMBED, TASK_CONTROL };

struct task {
    struct idnode by_id; /* lock */
    enum task_kind kind;
    struct gen_request *gen; /* owned, to be sent again */
    struct embed_request *embed;
    enum control what;
    char *args;
    gen_listener_fn gen_fn;
    embed_listener_fn embed_fn;
    control_fn control_fn; /* NULL: asked by the client itself */
    void *ctx;
    /* lock */
    bool sent;          /* to the worker that is UP */
    enum err cancelled; /* ERR_CANCELLED, ERR_STOPPING: its listener is to be told */
    struct list_node in_cancels;
    /* worker thread */
    struct told told; /* GENERATE */
    int tries, lives; /* workers that died with it: by their own fault, at all */
};

enum client_state { CLIENT_DOWN, CLIENT_STARTING, CLIENT_UP };

struct client {
    struct provider base;
    struct worker_params params;
    pthread_t thread;
    int wake_fd; /* eventfd */
    pthread_mutex_t lock;
    pthread_cond_t all_gone;
    /* lock */
    struct idmap tasks;
    struct list_node cancels; /* tasks whose listeners are to be told */
    struct channel channel;   /* what waits for the worker */
    enum client_state state;
    uint64_t next_id;
    bool stopping; /* nothing is taken */
    bool quit;     /* provider_close */
    bool quit_sent;
    struct suspects suspects;
    /* worker thread */
    struct frame_reader *reader;
    pid_t pid;           /* of the child; 0 = none */
    int64_t spawned_ms;  /* when it was started: clock_mono_ms */
    struct arena *arena; /* of the event at hand */
    struct wish *wishes; /* client_wishes.c */
    size_t n_wishes;
    char *let_go[WISHES_MAX]; /* ids of models that are not to be preloaded again */
    size_t n_let_go;
    int64_t started_ms, start_at_ms; /* STARTING since; DOWN: not before */
    int64_t loaded_ms;               /* so long the workers that have ended had loaded models */
    int failed_starts;               /* in a row */
    char why[ERROR_MSG_MAX];         /* the worker had to go; "" = by itself */
    bool hung;                       /* for a step that did not end */
    struct watch {
        int64_t looked_ms;     /* clock_mono_ms; 0 = it has just come up */
        uint64_t pings, pongs; /* sent, answered */
        int64_t unanswered_ms; /* since the last was sent */
        int64_t step_since_ms; /* of the step that it was in */
        int64_t step_ms;       /* so long it has been */
    } watch;
    uint64_t rights; /* what they were made of (child_int.h); 0 = it has all */
    int64_t rights_looked_ms;
    bool rights_stale; /* made now they would be others */
    bool renew;        /* so it is to go, and is not to blame */
    bool preload;
    bool gave_up;      /* it could not be started: not again before a request comes */
    int64_t oom_kills; /* the system's, when the child was started; -1 = not known */
};

/* ---- client_task.c */
void task_free(struct task *t);
/* Appends the task to what waits for the worker. The lock is held. */
HT_MUST_CHECK enum err task_send(struct client *c, struct task *t, struct error *error);
/* The rest: on the worker thread, without the lock. */
void tasks_send_all(struct client *c); /* those that were not yet sent; the oldest first */
void tasks_tell_cancelled(struct client *c);
void tasks_fail_all(struct client *c, const struct error *error);
/* The worker is gone: each task that it had goes again, or is told why not. */
void tasks_orphaned(struct client *c, bool own_fault, const char *how);
/* An answer. ERR_INVALID: the worker is not to be trusted. */
HT_MUST_CHECK enum err task_event(struct client *c, const struct frame *f, struct error *error);
HT_MUST_CHECK enum err task_result(struct client *c, const struct frame *f, struct error *error);
HT_MUST_CHECK enum err task_answer(struct client *c, const struct frame *f, struct error *error);

/* Asks the worker that is UP, without a listener. */
void task_ask(struct client *c, enum control what, const char *args);

/* ---- client_wishes.c */
/* A control call has worked. */
void wishes_heard(struct client *c, enum control what, const char *args, const char *answer,
                  size_t len);
/* A model is no longer in memory: it does not come back with the next worker. */
void wishes_left(struct client *c, const char *id);
void wishes_send(struct client *c);
void wishes_free(struct client *c);

/* ---- client_rights.c */
/* The next worker begins. */
void rights_begin(struct client *c);
/* The worker has answered the task with an error. True: it may read too little, and is to be
 * started anew (c->renew), then the task goes again. False: the error stays, perhaps with other
 * words. */
HT_MUST_CHECK bool rights_retry(struct client *c, struct task *t, struct error *error);
/* Whether the worker that is UP is to be started anew now. */
HT_MUST_CHECK bool rights_renew(struct client *c);

/* ---- client_loop.c */
void *client_main(void *client);

/* ---- client_watch.c */
/* Worker thread, while it is UP and has tasks. False: it hangs; c->why says how. */
HT_MUST_CHECK bool watch_look(struct client *c);
/* How long watch_look may wait for its next turn; -1 = for ever. */
int64_t watch_ms(const struct client *c);
void watch_answered(struct client *c, uint64_t id);

/* ---- client_child.c */
/* Starts the process; its socket is *fd. */
HT_MUST_CHECK enum err child_start(struct client *c, int *fd, struct error *error);
/* Sees it off (it is killed if it still lives); how it ended goes into `how`. */
void child_bury(struct client *c, bool *own_fault, char *how, size_t size);

#endif
