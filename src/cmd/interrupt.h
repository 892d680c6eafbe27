/* Ctrl-C as something to look at instead of the end of the program. Main thread only.
 *
 * SIGINT is blocked from interrupt_install on, also in the threads that are started after it, and
 * let in only while interrupt_wait waits: so a signal is never lost between a look and a wait. */
#ifndef HEARTH_CMD_INTERRUPT_H
#define HEARTH_CMD_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

/* Call before any thread is started. */
void interrupt_install(void);
/* From now on SIGINT ends the program again: for the last steps, which nobody should have to wait
 * for (a model that is being loaded, a hub that closes). */
void interrupt_release(void);
/* As interrupt_install, for verbs whose work is one blocking call that looks at interrupt_seen now
 * and then: SIGINT stays let in; the second one ends the program at once. */
void interrupt_install_flag(void);
/* Whether SIGINT came since the last interrupt_clear. */
bool interrupt_seen(void);
void interrupt_clear(void);

enum interrupt_wake { WAKE_READY, WAKE_TIMEOUT, WAKE_INTERRUPT };

/* Waits until fd is readable (or at its end), SIGINT came, another signal's handler ran (as
 * WAKE_TIMEOUT), or timeout_ms passed (-1 = never). */
enum interrupt_wake interrupt_wait(int fd, int64_t timeout_ms);

#endif
