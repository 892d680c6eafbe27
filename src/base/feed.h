/* Feeds: texts that one writes and any number follow while they grow, each by a name. Who follows
 * gets all that is there at once and the rest as it comes. A feed lives while it is written or
 * followed; it may be followed before it is written. One that becomes too long goes on for those
 * who follow it, and is kept for nobody: never is a part of it taken for the whole.
 *
 * Any thread may call. Followers are called one piece at a time and in order, with the feeds' lock
 * held: they must not block, nor call back. Only the end comes without it. */
#ifndef HEARTH_BASE_FEED_H
#define HEARTH_BASE_FEED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"

struct feeds;
struct feed;

struct feeds *feeds_new(size_t max_bytes); /* of one feed */
void feeds_free(struct feeds *f);          /* ends all; NULL is fine */

/* data NULL: it is over, and the follower is the caller's again, who may free it in this call. The
 * first piece begins with the feed's first byte. */
typedef void (*feed_fn)(void *ctx, const void *data, size_t len);

/* ---- writing: one at a time for a name ------------------------------------------------------- */

/* NULL: somebody writes it already. */
struct feed *feed_open(struct feeds *f, const char *name);
/* ERR_TOO_LARGE: it has become longer than allowed (or than there is memory): those who follow get
 * it all the same, others can't follow any more. */
enum err feed_write(struct feed *feed, const void *data, size_t len);
/* All of it so far; until the next feed_write or feed_end. NULL: it was too long. */
const char *feed_text(const struct feed *feed, size_t *len);
void feed_end(struct feed *feed);
bool feed_is_written(struct feeds *f, const char *name); /* somebody has it open now */
/* Ends what nobody writes (its followers wait in vain). */
void feed_abandon(struct feeds *f, const char *name);

/* ---- following ------------------------------------------------------------------------------- */

struct follower { /* the caller's memory */
    struct list_node node;
    struct feed *feed;
    feed_fn fn;
    void *ctx;
};

/* fn is called from within when there is something already. False: its beginning is not there any
 * more, and it is not followed. */
bool feed_follow(struct feeds *f, const char *name, struct follower *follower, feed_fn fn,
                 void *ctx);
/* True: no call comes any more. False: its end has come, or is coming right now. Not from within
 * fn.
 */
bool feed_unfollow(struct feeds *f, struct follower *follower);

#endif
