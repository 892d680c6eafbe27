/* What systemd is told (sd_notify(3)): that the hub listens, that it stops. The protocol is one
 * datagram to the socket in NOTIFY_SOCKET; without that variable nothing happens. */
#ifndef HEARTH_CMD_NOTIFY_H
#define HEARTH_CMD_NOTIFY_H

/* state: "READY=1", "STOPPING=1", ... Nobody waits for it, and a failure has no consequence here.
 */
void notify_service_manager(const char *state);

#endif
