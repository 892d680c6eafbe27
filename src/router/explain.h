/* Explain: what would become of a request, without asking anybody to answer it: the plan, and what
 * this hub's own models say of their memory and their queue at this moment. */
#ifndef HEARTH_ROUTER_EXPLAIN_H
#define HEARTH_ROUTER_EXPLAIN_H

#include "router/router.h"

/* Takes the request, also when this fails; fn is called once if it returns OK, from any thread,
 * with a JSON object (docs/api.md, RouteAnswer) or an error. The errors are plan_make's. */
HT_MUST_CHECK enum err router_explain(struct router *r, struct gen_request *req, control_fn fn,
                                      void *ctx, struct error *error);

#endif
