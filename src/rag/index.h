/* Index: the jobs that make files searchable.
 *
 *   index_file     extract --> split --> chunks into the store --> embed --> vectors --> ready
 *   embed_missing  after a change of the embedding model: every file's chunks into the new model's
 *                  set, while the old one is searched, too; then the old sets are dropped
 *
 * Both may be repeated from any point: chunks that are whole are kept and what is embedded of them
 * is not embedded again; anything less is done anew, after what there was is taken away. So a
 * kill -9 leaves one set of chunks and vectors, not two and not half. A file that is deleted
 * meanwhile ends the job and takes everything with it. */
#ifndef HEARTH_RAG_INDEX_H
#define HEARTH_RAG_INDEX_H

#include "files/files.h"
#include "jobs/jobs.h"
#include "rag/rag.h"

/* Before jobs_start. files is borrowed. */
void index_register(struct rag *r, struct jobs *jobs, struct files *files);
/* When the database has been opened: whether another embedding model is to be used than the one
 * that files were embedded by. Then the job for it is added; else the first search would begin it.
 * What fails is logged, and tried again by that. */
void index_begin(struct rag *r, struct store *s);

#endif
