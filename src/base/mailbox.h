/* Mailbox: many senders, one receiving thread, in order. Messages are intrusive nodes whose owner
 * passes to the receiver. Unbounded in count on purpose: senders bound themselves (each holds at
 * most a fixed number of messages in flight), so a send never fails and never blocks. */
#ifndef HEARTH_BASE_MAILBOX_H
#define HEARTH_BASE_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

struct mail {
    struct mail *next;
};

struct mailbox;

struct mailbox *mailbox_new(void);
/* NULL is fine. It must be empty and no send or wake may still be under way: join the senders (or
 * otherwise see them leave) first; having received their last message is not enough. */
void mailbox_free(struct mailbox *mb);
void mailbox_send(struct mailbox *mb, struct mail *m); /* any thread */
/* Receiver only. All messages at once, oldest first; NULL if none came in timeout_ms (0 = just
 * look, -1 = wait for ever) or if mailbox_wake was called. */
struct mail *mailbox_receive(struct mailbox *mb, int64_t timeout_ms);
void mailbox_wake(struct mailbox *mb); /* any thread */

#endif
