/* Fault injection: makes the Nth pass of a named point fail. Compiled into debug and sanitizer
 * builds (HEARTH_FAULTS=1); in release builds fault_hit is the constant false.
 *
 * Set by the environment, HEARTH_FAULT="alloc:17,write:3" (the 17th allocation and the 3rd write
 * fail; "alloc:17+" fails that one and all later ones), or by a test through fault_arm. */
#ifndef HEARTH_BASE_FAULT_H
#define HEARTH_BASE_FAULT_H

#include <stdbool.h>

/* X(name, what fails) */
#define FAULT_POINTS(X)                                                                            \
    X(alloc, "a try_ allocation or a buffer's growth")                                             \
    X(write, "a write to a file (as ENOSPC)")                                                      \
    X(thread, "starting a thread")                                                                 \
    X(decode, "decoding a batch in the engine")                                                    \
    X(load, "loading a model")                                                                     \
    X(crash_load, "loading a model: the process aborts")                                           \
    X(crash_decode, "decoding a batch: the process aborts")                                        \
    X(crash_restore, "restoring the saved state of a sequence: the process aborts")                \
    X(crash_sample, "sampling a token: the process aborts")                                        \
    X(crash_adapter, "loading an adapter: the process aborts")                                     \
    X(hang_decode, "decoding a batch: it never ends")                                              \
    X(hang_worker, "the worker hears a message of the hub: its thread stops")                      \
    X(break_out, "the worker hears a message of the hub: it tries what it may not do")

enum fault_point {
#define X(name, what) FAULT_##name,
    FAULT_POINTS(X)
#undef X
        FAULT_COUNT
};

#if HEARTH_FAULTS
bool fault_hit(enum fault_point p); /* counts a pass; true when this one must fail */
void fault_arm(enum fault_point p, long nth, bool and_later); /* nth >= 1; 0 disarms */
long fault_count(enum fault_point p);                         /* passes since armed */
#else
static inline bool fault_hit(enum fault_point p)
{
    (void)p;
    return false;
}
#endif

/* Never returns when this pass must fail. */
void fault_hang(enum fault_point p);

#endif
