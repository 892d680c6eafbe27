/* The memory ledger: what each model takes, what a new one would take, and whether there is room.
 *
 * The numbers are the inference library's own (engine_ctx_memory), before loading those of a model
 * that is only measured; adapters, which come and go with requests, are counted as they are in
 * memory. There is one budget for main memory (HEARTH_MEMORY) and one for each
 * device; unless the budget was set by hand, what the machine has free at the moment counts, too.
 * The lists and sums are guarded by models_lock; measuring is not under it, since it takes up to
 * some tenths of a second. */
#ifndef HEARTH_SCHED_LEDGER_H
#define HEARTH_SCHED_LEDGER_H

#include "base/meminfo.h"
#include "sched/evict.h"
#include "sched/sched.h"

/* A way to make a model's context. */
struct ledger_form {
    struct engine_ctx_params ctx;
    struct engine_memory memory; /* with the weights */
};

/* All ways. A generating model has cells for all sequences, each as long as asked for. Where there
 * is no room for that it gets a pool, which one request may use alone: with fewer cells each
 * request would be short. */
struct ledger_forms {
    bool embedding;
    int32_t longest; /* tokens of one sequence */
    int32_t least;   /* cells that a pool may go down to */
    struct ledger_form full;
    struct ledger_form pool; /* with `longest` cells; ctx.n_ctx = 0: there is no such form */
};

struct ledger {
    struct meminfo machine;
    bool automatic;  /* nobody set the budget */
    uint64_t budget; /* main memory for models */
    struct engine_description description;
    bool described;
};

enum ledger_answer { LEDGER_GO, LEDGER_WAIT, LEDGER_REFUSE };

struct ledger_decision {
    enum ledger_answer answer;
    struct ledger_form form;    /* GO */
    struct sched_model **evict; /* GO: idle models that must leave first; free() */
    size_t n_evict;
    struct error error; /* REFUSE, WAIT: why */
};

/* budget: bytes, 0 = a safe share of the machine, less those that the prefix cache may take. */
void ledger_open(struct ledger *l, int64_t budget, uint64_t cache);
void ledger_close(struct ledger *l);
/* Before the first decision: which devices there are. Takes models_lock. */
HT_MUST_CHECK enum err ledger_describe(struct sched *s, struct error *error);
bool ledger_has_devices(const struct ledger *l); /* other than the CPU */

/* As configured, and what was not, as `hearth bench` measured it for this model. */
struct sched_params ledger_params(const struct sched *s, const char *id);
/* What the file's model would take. n_ctx < 0 = as configured. Blocking. */
HT_MUST_CHECK enum err ledger_measure(const struct sched_params *p, const char *path, int32_t n_ctx,
                                      bool embedding, struct ledger_forms *out,
                                      struct error *error);
/* Surely not less than ledger_measure would say, from the header alone; no pool. */
void ledger_bound(const struct sched_params *p, const struct model_size *size, bool embedding,
                  struct engine_memory *out);
void ledger_forms_for(const struct sched_params *p, const struct engine_model_facts *f,
                      int32_t n_ctx, bool embedding, struct ledger_forms *out);

/* models_lock is held. m: whose forms these are, NULL = not in the list. */
bool ledger_fits_now(struct sched *s, const struct engine_memory *need);
void ledger_decide(struct sched *s, const struct sched_model *m, const char *name,
                   const struct ledger_forms *forms, struct ledger_decision *out);
/* WAIT has become too long: the models at work that have to make way. Returns how many there are in
 * *out, which the caller frees. */
size_t ledger_in_the_way(struct sched *s, const struct sched_model *m,
                         const struct ledger_forms *forms, struct sched_model ***out);
/* Bytes in main memory, and of one device, that the models in memory take. */
uint64_t ledger_used(struct sched *s, int device);

#endif
