/* Derived models in front of whoever answers: a request for one gets what its record says
 * (models/derived.h) and goes on as a request for the model whose weights it has, so that a
 * fallback to another provider keeps the system prompt. The answer bears the name that was asked
 * for. "<model>:<adapter>" is that model with this adapter, a derived one too, whatever its own
 * is; the adapter goes on in its field of the request. Where the default model is a derived one, a
 * request that names none gets what any model understands of it, and goes on without a name.
 * Requests for other models pass unchanged.
 *
 * Any thread. Looking up a name reads the models folder at most once a second. */
#ifndef HEARTH_PROVIDER_DERIVE_H
#define HEARTH_PROVIDER_DERIVE_H

#include "models/adapters.h"
#include "models/models.h"
#include "provider/provider.h"

/* All borrowed but default_model, which is copied. Closing it closes the inner provider. */
struct provider *derive_new(struct provider *inner, struct models *models,
                            struct adapters *adapters, const char *default_model);
/* Makes of the request, which stays the caller's, what the inner provider would be asked. */
HT_MUST_CHECK enum err derive_prepare(struct provider *p, struct gen_request *req,
                                      struct error *error);
void derive_free(struct provider *p); /* closed; NULL is fine */

#endif
