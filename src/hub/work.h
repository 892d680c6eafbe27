/* What a hub does by itself: background jobs and watched folders, over the accounts' database.
 *
 * The database is opened for it when there may be something to do: it exists already when the hub
 * starts, or somebody else adds work (files.h: the file `wake`). */
#ifndef HEARTH_HUB_WORK_H
#define HEARTH_HUB_WORK_H

#include "base/config.h"
#include "files/files.h"
#include "files/watch.h"
#include "hub/accounts.h"
#include "jobs/jobs.h"
#include "rag/rag.h"

struct work;

/* Builds jobs and files (owned by it); starts nothing. */
HT_MUST_CHECK enum err work_new(const struct config *config, struct accounts *accounts,
                                struct work **out, struct error *error);
struct files *work_files(struct work *w);
struct jobs *work_jobs(struct work *w);
/* Runners of their own, since their jobs take long: those of answers in the background, and of
 * batches. */
struct jobs *work_background(struct work *w);
struct jobs *work_batches(struct work *w);
/* Registers what makes files searchable; before work_start. rag is borrowed. */
void work_use_rag(struct work *w, struct rag *rag);
/* After the kinds of jobs were registered. */
HT_MUST_CHECK enum err work_start(struct work *w, struct error *error);
void work_stop(struct work *w); /* takes no more; returns at once; NULL is fine */
void work_free(struct work *w); /* waits for what runs; NULL is fine */

#endif
