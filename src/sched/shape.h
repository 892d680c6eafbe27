/* What a step costs on this machine with this model, learnt while it runs, and what follows from
 * it: into which sub-batches the running sequences are cut, and how many prompt tokens fit into a
 * given time. Pure: no engine, no clock, no threads; times come in as arguments.
 *
 * Decoding. The cost of one token for each of `width` sequences is the median of the last samples
 * of that width. It need not be even: on CPUs without a good kernel for two rows, two sequences
 * together cost more than one after the other, and four as much as three. shape_split cuts a row
 * of sequences so that the sum is least (dynamic programming over the widths).
 *
 * A width that was never tried costs what its neighbours say, so it would never be tried:
 * shape_split now and then takes one that is not the best, of widths that have no samples or old
 * ones. What that costs over the best cut is counted and kept below SHAPE_EXPLORE of all decoding.
 *
 * Prefill. n tokens after `before` others take fixed + n * token + n * (before + n/2) * attention
 * (least squares over the recent past with weights for relative errors, each coefficient >= 0).
 * A piece is at most SHAPE_GROWTH times what was tried before, so that an estimate that is far off
 * can't stall anybody for long.
 *
 * Rejected: one table of costs by (width, context): too sparse to learn in time; a model of the
 * machine (FLOPS, bandwidth): it knows nothing about missing kernels, which is what this is for. */
#ifndef HEARTH_SCHED_SHAPE_H
#define HEARTH_SCHED_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"

enum { SHAPE_SAMPLES = 7, SHAPE_KNOWN = 2 /* samples that make a width known */ };

#define SHAPE_EXPLORE     0.02 /* share of decoding time */
#define SHAPE_STALE_MS    60e3 /* of decoding, until a width is tried again */
#define SHAPE_DOUBT_MS    1e3  /* the same, of a width that is cut */
#define SHAPE_WORTH       0.96 /* a cut must be this much better than one batch */
#define SHAPE_GROWTH      4    /* largest next piece, in pieces tried */
#define SHAPE_FORGET      0.95 /* weight of a prefill when the next one is seen */
#define SHAPE_OUTLIER     3.0  /* a sample further off counts as this far off */
#define SHAPE_FIRST_PIECE 16   /* tokens, while nothing is known */

struct shape_width {
    float samples[SHAPE_SAMPLES]; /* ms; ring */
    int32_t n, next;
    float ms;       /* their median; 0 = unknown */
    double seen_ms; /* shape.spent_ms when the last one came */
};

struct shape {
    struct shape_width widths[SHAPE_WIDTH_MAX + 1]; /* 0 is unused */
    double spent_ms, explored_ms;                   /* decoding in all, and of it for exploring */
    /* prefill: normal equations of (1, n, n * context), and their solution */
    double a[3][3], b[3], coef[3], inertia[3];
    int32_t n_prefills, largest; /* pieces seen; tokens of the largest */
};

/* profile: what was measured before, or NULL. */
void shape_init(struct shape *s, const struct shape_profile *profile);
void shape_get(const struct shape *s, struct shape_profile *out);

void shape_saw_decode(struct shape *s, int32_t width, double ms);
void shape_saw_prefill(struct shape *s, int32_t n, int32_t before, double ms);

/* Estimates; > 0. */
double shape_decode_ms(const struct shape *s, int32_t width);
double shape_prefill_ms(const struct shape *s, int32_t n, int32_t before);

/* The least time for one token of each of n sequences that could go into one batch. */
double shape_split_ms(const struct shape *s, int32_t n);
/* How many of them go into the next batch; the rest is split again afterwards. */
int32_t shape_split(struct shape *s, int32_t n);
/* How many of `most` prompt tokens fit into ms; at least 1. */
int32_t shape_prefill_fit(const struct shape *s, double ms, int32_t before, int32_t most);

#endif
