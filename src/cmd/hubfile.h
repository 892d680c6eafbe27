/* hub.json in the data folder: which hub runs for this person, so that `hearth chat` finds one on
 * another port. {"pid", "url", "version"}; written when a hub listens, removed when it stops, and
 * believed only while that process lives. */
#ifndef HEARTH_CMD_HUBFILE_H
#define HEARTH_CMD_HUBFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The URL at which a hub that listens on host and port is reached from this machine: the wildcard
 * addresses mean loopback, IPv6 gets brackets. false = too long. */
bool hubfile_url(const char *host, int port, char *dst, size_t size);

HT_MUST_CHECK enum err hubfile_write(const char *data_dir, const char *url, struct error *error);
/* Removes it if it is this process's. */
void hubfile_remove(const char *data_dir);
/* The URL of a hub whose process lives; false = there is none. */
bool hubfile_read(const char *data_dir, char *url, size_t size);

#endif
