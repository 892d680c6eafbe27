/* Tokens by OAuth 2 (RFC 6749): what is sent as a key where keys are short-lived. By a user's
 * password where there is a user, else by client credentials, as Keycloak has both.
 *
 * One token serves all requests of an instance, until shortly before it expires. Whoever needs one
 * while there is none waits for the one request that fetches it. A refusal (a wrong password) is
 * remembered for a while, since servers lock users out who try too often.
 *
 * Any thread. Waiters are called on the net thread, without a lock. */
#ifndef HEARTH_REMOTE_TOKEN_H
#define HEARTH_REMOTE_TOKEN_H

#include "base/list.h"
#include "remote/remote.h"

struct token;

enum { TOKEN_MAX = 16 << 10, TOKEN_REFUSED_MS = 30000 };

/* Writes the address that tokens come from: `given` itself, or, when it is a Keycloak server
 * ("https://sso.example.org") or a realm of one ("https://sso.example.org/realms/x"), the realm's.
 * ERR_CONFIG: that is no address. */
HT_MUST_CHECK enum err token_address(const char *given, const char *realm, char *dst, size_t size,
                                     struct error *error);

/* `how` (borrowed during the call) brings time-outs (all set), proxy and TLS options; name is the
 * instance's, for messages. httpc is borrowed. */
HT_MUST_CHECK enum err token_new(struct httpc *httpc, const char *name,
                                 const struct remote_params *how, struct token **out,
                                 struct error *error);
/* Ends the request under way; nobody may be waiting for a token. NULL is fine. */
void token_free(struct token *t);

/* Embedded in whoever waits. `error` NULL: there is one now; else why not, the HTTP status of the
 * server that refuses (0 = it did not answer), and whether it could be reached at all. */
struct token_waiter {
    struct list_node node;
    bool waits;
    void (*fn)(struct token_waiter *w, const struct error *error, int status, bool reached);
};

enum token_is {
    TOKEN_HERE,    /* the header that carries it is *line, the caller's to free */
    TOKEN_COMING,  /* the waiter is called when it is there, perhaps before this returns */
    TOKEN_REFUSED, /* and why, in *error */
};
/* *number is for token_forget. */
enum token_is token_take(struct token *t, struct token_waiter *w, char **line, uint64_t *number,
                         struct error *error);
/* false: it is being called, or was. */
bool token_leave(struct token *t, struct token_waiter *w);
/* That one was refused: it is not used again. */
void token_forget(struct token *t, uint64_t number);
/* Takes the token, the password and the client's secret out of a message. */
void token_redact(struct token *t, struct error *error);

#endif
