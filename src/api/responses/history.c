/* What is kept of responses, as items. */
#include <stdlib.h>
#include <string.h>

#include "api/responses/responses_int.h"
#include "base/str.h"
#include "hub/accounts.h"
#include "hub/hub.h"

enum err response_store(struct hub *hub, struct store **out, struct error *error)
{
    struct auth *auth;
    return accounts_open(hub->accounts, out, &auth, error);
}

/* A kept text as JSON. */
static enum err parse_kept(const char *text, json_t **out, struct error *error)
{
    enum err err = json_parse(text, strlen(text), out, error);
    return err ? err_prefix(error, "a kept response can't be read") : OK;
}

/* The input items of a record, and the output items behind them; the caller's. */
static enum err items_of(const struct store_answer *x, json_t **out, struct error *error)
{
    json_t *items = NULL, *body = NULL;
    enum err err = parse_kept(x->input, &items, error);
    if (!err) err = parse_kept(x->body, &body, error);
    if (!err &&
        (!json_is_array(items) || json_array_extend(items, json_object_get(body, "output")) != 0))
        err = err_set(error, ERR_INTERNAL, "the kept response %s is damaged", x->id);
    json_decref(body);
    if (err)
        json_decref(items);
    else
        *out = items;
    return err;
}

/* What can be gone on from: it is over, and said something. */
static enum err check_state(const struct store_answer *x, struct error *error)
{
    if (x->state == STORE_ANSWER_COMPLETED || x->state == STORE_ANSWER_INCOMPLETE) return OK;
    return field_error(error, "", "previous_response_id", "the response %s is %s", x->id,
                       store_answer_state_name(x->state));
}

enum err response_history(struct store *s, const char *user_id, const char *id, json_t *items,
                          size_t *bytes, bool *local_only, struct error *error)
{
    char at[RESPONSE_ID_MAX];
    enum err err = OK;
    str_copy(at, sizeof at, id);
    for (size_t n = 0; !err && *at; n++) {
        struct store_answer x;
        json_t *some = NULL;
        struct arena *a = arena_new(RESPONSE_RECORD_MAX);
        if (n == RESPONSE_CHAIN_MAX)
            err = field_error(error, "", "previous_response_id",
                              "it goes on from more than %d responses", RESPONSE_CHAIN_MAX);
        if (!err) err = store_answer_get(s, user_id, STORE_RESPONSE, at, a, &x, error);
        if (err == ERR_NOT_FOUND)
            err = field_error(error, "", "previous_response_id",
                              "Previous response with id '%.40s' not found.", at);
        if (!err) err = check_state(&x, error);
        if (!err && (*bytes += strlen(x.input) + strlen(x.body)) > RESPONSE_CONTEXT_MAX)
            err = err_set_param(error, ERR_TOO_LARGE, "/previous_response_id",
                                "what was said before has more than %d MiB",
                                RESPONSE_CONTEXT_MAX >> 20);
        if (!err) err = items_of(&x, &some, error);
        /* Those of the older response go in front. */
        if (!err && (json_array_extend(some, items) || json_array_clear(items) ||
                     json_array_extend(items, some)))
            err = err_set(error, ERR_NOMEM, "not enough memory for what was said before");
        if (!err) {
            *local_only |= x.local_only;
            str_copy(at, sizeof at, x.previous_id ? x.previous_id : "");
        }
        json_decref(some);
        arena_free(a);
    }
    return err;
}

enum err response_item(struct store *s, const char *user_id, const char *item_id,
                       struct response_refs *refs, json_t **out, struct error *error)
{
    char id[RESPONSE_ID_MAX];
    struct store_answer x;
    json_t *items = NULL;
    const char *random = strchr(item_id, '_');
    if (!random || strlen(random + 1) <= RESPONSE_RANDOM_LEN)
        return err_set(error, ERR_NOT_FOUND, "there is no such item");
    str_printf(id, sizeof id, "resp_%.*s", RESPONSE_RANDOM_LEN, random + 1);
    struct arena *a = arena_new(RESPONSE_RECORD_MAX);
    enum err err = store_answer_get(s, user_id, STORE_RESPONSE, id, a, &x, error);
    /* Each reference has a copy of its own of what it refers to. */
    if (!err && (refs->bytes += strlen(x.input) + strlen(x.body)) > RESPONSE_CONTEXT_MAX)
        err = err_set_param(error, ERR_TOO_LARGE, "/input",
                            "the items that are referred to have more than %d MiB",
                            RESPONSE_CONTEXT_MAX >> 20);
    if (!err) err = items_of(&x, &items, error);
    json_t *found = NULL;
    for (size_t i = 0; !err && !found && i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        if (str_eq(json_string_value(json_object_get(item, "id")), item_id)) found = item;
    }
    if (!err && !found) err = err_set(error, ERR_NOT_FOUND, "there is no such item");
    if (!err) {
        refs->local_only |= x.local_only;
        *out = json_incref(found);
    }
    json_decref(items);
    arena_free(a);
    return err;
}
