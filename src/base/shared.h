/* Memory that this process shares with a child: the metrics, which both count in, and what the
 * child is doing (doing.h), which is there when it no longer is. Made once, for the life of the
 * process; a child that writes nonsense into it spoils numbers and names, nothing else. */
#ifndef HEARTH_BASE_SHARED_H
#define HEARTH_BASE_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The descriptor to hand to a child. From then on the metrics live there. */
HT_MUST_CHECK enum err shared_open(int *fd, struct error *error);
/* In the child. */
HT_MUST_CHECK enum err shared_attach(int fd, struct error *error);

/* In the parent: before a child starts, and after it has ended (its gauges go back to 0). */
void shared_child_starts(void);
void shared_child_ended(void);
/* As doing_step, of the child; 0 without one. */
void shared_child_step(int64_t *since_ms, int64_t *longest_ms);
/* As doing_loaded_ms, of the child; 0 without one. */
int64_t shared_child_loaded_ms(void);
/* As doing_read, of the child; "" without one. */
void shared_child_doing(bool hung, char *model, size_t size, const char **what);

#endif
