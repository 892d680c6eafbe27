/* Complexity: how hard a request looks, as a number from 0 to 1, from features that a person can
 * check by reading (docs/routing.md): each is between 0 and 1, and the score is their weighted sum,
 * at most 1. No model is asked here (classify.h does that), nothing is learned. Pure; any thread.
 */
#ifndef HEARTH_ROUTER_COMPLEXITY_H
#define HEARTH_ROUTER_COMPLEXITY_H

#include "router/routing.h"

struct complexity {
    double features[FEATURE_COUNT];
    double score;
    enum tier tier;
};

/* The text that a request is judged by: its last user message, or its prompt; "" if it has none.
 * Borrowed from the request. */
const char *complexity_text(const struct gen_request *req);
/* Looks at most at COMPLEXITY_TEXT_MAX bytes of the request's last user message. */
enum { COMPLEXITY_TEXT_MAX = 16 * 1024 };
void complexity_of(const struct routing *r, const struct gen_request *req, struct complexity *out);
/* The tier of a score, and a score of that tier: the middle of its range. */
enum tier complexity_tier(const struct routing *r, double score);
double complexity_of_tier(const struct routing *r, enum tier tier);

#endif
