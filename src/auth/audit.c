/* The audit log; see audit.h. */
#include "auth/audit.h"

#include "base/json.h"
#include "base/log.h"

enum { DETAILS_MAX = 4096 };

static const char *const names[] = {
#define X(name, meaning) #name,
    AUTH_EVENTS(X)
#undef X
};

void auth_audit(struct store *store, enum auth_event event, const char *user_id,
                const struct auth_origin *origin, const char *key, const char *value)
{
    struct error error;
    struct buf details;
    struct jw w;
    bool here = !origin || !origin->address;
    const char *by = origin && origin->by ? origin->by : here ? "command line" : NULL;
    buf_init(&details, DETAILS_MAX);
    jw_init(&w, &details);
    jw_obj(&w);
    if (by) jw_kstr(&w, "by", by);
    if (key) jw_kstr(&w, key, value);
    jw_obj_end(&w);
    struct store_audit entry = {.event = names[event],
                                .user_id = user_id,
                                .address = origin ? origin->address : NULL,
                                .details = details.err ? NULL : buf_str(&details)};
    if (store_audit_add(store, &entry, &error))
        log_warn(hub, "the audit log: %s: %s", names[event], error.msg);
    buf_free(&details);
}
