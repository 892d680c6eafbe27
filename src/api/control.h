/* Endpoints that the provider answers by itself (provider_control): the arguments go there as JSON,
 * its answer is the body. Any thread. */
#ifndef HEARTH_API_CONTROL_H
#define HEARTH_API_CONTROL_H

#include "api/http.h"
#include "base/buf.h"
#include "base/json.h"
#include "provider/provider.h"

/* Asks and answers the sink, whose reference it takes; args: an object. Such a call goes on when
 * its client goes away: a model that is being loaded is of use to others as well. */
void control_respond(struct provider *provider, enum control what, const char *args,
                     struct sink *sink, const char *request_id);

/* A model's state in a provider's answer, in the word that the API's lists have for it ("ready" for
 * "loaded", "on_disk" for "unloaded"). Returns a constant; "none" for what is unknown. */
const char *control_state_word(const char *state);

/* A duration as Ollama's clients give it ("5m", "1h30m", 300 seconds, -1 = for ever, 0 = not at
 * all), to milliseconds or KEEP_ALIVE_FOREVER or KEEP_ALIVE_NONE. v NULL leaves *out alone. */
HT_MUST_CHECK enum err keep_alive_read(const json_t *v, int64_t *out, struct error *error);

#endif
