/* Between the verbs about texts and tokens (local_text.c, local_infill.c). Pool threads. */
#ifndef HEARTH_PROVIDER_LOCAL_TEXT_H
#define HEARTH_PROVIDER_LOCAL_TEXT_H

#include "provider/local_int.h"

/* The model that a verb asks about; valid during the verb. */
struct ask_model {
    struct local *l;
    const char *id;
    struct sched_model *sched;
    const struct engine_model *engine;
    int32_t n_ctx; /* of one sequence */
};

/* A list of tokens; free(items). */
struct tokens {
    int32_t *items;
    size_t n, cap;
};
HT_MUST_CHECK enum err tokens_add(struct tokens *t, const int32_t *items, size_t n,
                                  struct error *error);
HT_MUST_CHECK enum err tokens_add_text(struct tokens *t, const struct ask_model *m,
                                       const char *text, size_t len, bool add_special,
                                       bool parse_special, struct error *error);
/* "tokens": [...] */
void tokens_write(const struct tokens *t, struct jw *w);

/* The verb INFILL: writes its "tokens". */
HT_MUST_CHECK enum err infill_tokens(struct ask_model *m, const json_t *args, struct jw *w,
                                     struct error *error);

#endif
