/* What calls of tests take from outside their bodies. */
#ifndef HEARTH_TESTS_CALL_ENV_H
#define HEARTH_TESTS_CALL_ENV_H

#include "api/call.h"

static const struct call_env env = {.request_id = "req-1",
                                    .tenant = "",
                                    .temperature = 0.7,
                                    .top_p = 0.9,
                                    .max_tokens = 2048,
                                    .default_priority = 50};

#endif
