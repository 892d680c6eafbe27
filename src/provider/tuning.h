/* What `hearth bench` has found out, kept in the data folder: tuning.json, an entry for each model
 * and machine. An entry counts only on the machine where it was measured, with the same version of
 * the inference library, and while the model's file is the same (path, size, time). Whatever is
 * wrong with the file is as if it were not there: it only ever makes the first minutes faster. */
#ifndef HEARTH_PROVIDER_TUNING_H
#define HEARTH_PROVIDER_TUNING_H

#include <stddef.h>

#include "base/err.h"
#include "sched/sched.h"
#include "types/model_info.h"

enum { TUNING_MAX = 256 }; /* entries; the oldest go */

/* Fills at most max with those that count here and now; returns how many. */
size_t tuning_load(const char *data_dir, const struct engine *engine, struct shape_profile *out,
                   size_t max);
/* Adds an entry or replaces that of the same model and machine. */
HT_MUST_CHECK enum err tuning_store(const char *data_dir, const struct engine *engine,
                                    const struct model_info *model,
                                    const struct shape_profile *profile, struct error *error);
/* "AMD EPYC 9355, 2 cores, llama.cpp v0.5.0": what an entry is tied to. */
void tuning_machine(const struct engine *engine, char *dst, size_t size);

#endif
