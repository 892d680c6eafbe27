/* Telling systemd; see notify.h. */
#include "cmd/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

void notify_service_manager(const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@')) return;
    if (!str_copy(to.sun_path, sizeof to.sun_path, path)) return;
    size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    if (path[0] == '@') to.sun_path[0] = '\0'; /* abstract: the name has no file */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, (socklen_t)len);
    close(fd);
}
