/* Conversations from elsewhere, into the store; see import.h. */
#include "chat/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

/* ---- the file ------------------------------------------------------------------------------ */

struct cut {
    const char *at, *end;
    bool list, over;
    size_t n;
};

static void skip_blanks(struct cut *c)
{
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) c->at++;
}

/* The end of the value at `at`, by its brackets and strings alone; the parser sees to the rest. */
static const char *end_of_value(const char *at, const char *end)
{
    size_t depth = 0;
    for (const char *p = at; p < end; p++) {
        if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0) return p;
            if (--depth == 0) return p + 1;
        } else if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\') p++;
        } else if (*p == ',' && depth == 0) {
            return p;
        }
    }
    return end;
}

static enum err malformed(const struct cut *c, struct error *error)
{
    return err_set(error, ERR_JSON,
                   "the file breaks off or is no JSON list of conversations, behind conversation "
                   "%zu",
                   c->n);
}

/* The next conversation's text; false at the end. */
static enum err next_text(struct cut *c, const char **text, size_t *len, bool *has,
                          struct error *error)
{
    *has = false;
    skip_blanks(c);
    if (c->over) return c->at == c->end ? OK : malformed(c, error);
    if (c->list && c->at < c->end && *c->at == ']') {
        if (c->n) return malformed(c, error); /* behind a comma */
        c->at++;
        c->over = true;
        skip_blanks(c);
        return c->at == c->end ? OK : malformed(c, error);
    }
    const char *end = end_of_value(c->at, c->end);
    *text = c->at;
    *len = (size_t)(end - c->at);
    if (!*len) return malformed(c, error);
    c->at = end;
    c->n++;
    *has = true;
    skip_blanks(c);
    if (!c->list) {
        c->over = true;
    } else if (c->at < c->end && *c->at == ',') {
        c->at++;
    } else if (c->at < c->end && *c->at == ']') {
        c->at++;
        c->over = true;
    } else {
        return malformed(c, error);
    }
    return OK;
}

/* ---- ids ----------------------------------------------------------------------------------- */

/* Two hashes of all that makes it, in the shape of a UUID. */
static const char *derived_id(struct arena *a, const char *user_id, const char *conversation,
                              const char *message)
{
    char name[4096], id[37];
    /* The lengths keep ("a", "bc") and ("ab", "c") apart; what is too long is hashed before. */
    uint64_t long_c = hash64(conversation, strlen(conversation), 3);
    uint64_t long_m = hash64(message, strlen(message), 5);
    str_printf(name, sizeof name, "%s|%zu|%.512s|%zu|%.512s|%llx|%llx", user_id,
               strlen(conversation), conversation, strlen(message), message,
               (unsigned long long)long_c, (unsigned long long)long_m);
    uint64_t one = hash64(name, strlen(name), 1), two = hash64(name, strlen(name), 2);
    str_printf(id, sizeof id, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(one >> 32),
               (unsigned)(one >> 16 & 0xffff), (unsigned)(one & 0xffff), (unsigned)(two >> 48),
               (unsigned long long)(two & 0xffffffffffff));
    return arena_strdup(a, id);
}

/* Every id of the file becomes one of this user's. */
static enum err rename_all(struct import_draft *d, const char *user_id, struct error *error)
{
    bool full = false;
    for (size_t i = 0; i < d->n && !full; i++) {
        struct store_message *m = &d->messages[i];
        m->id = derived_id(d->arena, user_id, d->source_id, m->id);
        if (m->parent_id) m->parent_id = derived_id(d->arena, user_id, d->source_id, m->parent_id);
        full = !m->id;
    }
    if (d->leaf_id) d->leaf_id = derived_id(d->arena, user_id, d->source_id, d->leaf_id);
    return full ? err_set(error, ERR_TOO_LARGE, "the conversation is too large") : OK;
}

/* ---- one conversation ----------------------------------------------------------------------- */

struct import {
    struct store *store;
    const char *user_id;
    import_fn report;
    void *ctx;
};

static bool is_there(const struct import *im, const char *id, struct arena *a)
{
    struct store_conversation found;
    struct error ignored;
    return store_conversation_get(im->store, im->user_id, id, a, &found, &ignored) == OK;
}

static bool breaks_off(enum err e)
{
    return e == ERR_DATABASE || e == ERR_DISK_FULL || e == ERR_INTERNAL;
}

static enum err store_draft(const struct import *im, struct import_draft *d, const char *id,
                            enum import_outcome *outcome, struct error *error)
{
    *outcome = IMPORT_KNOWN;
    if (is_there(im, d->source_id, d->arena) || is_there(im, id, d->arena)) return OK;
    *outcome = IMPORT_DONE;
    enum err e = rename_all(d, im->user_id, error);
    struct store_conversation_new c = {.id = id,
                                       .title = d->title,
                                       .meta = d->meta,
                                       .leaf_id = d->leaf_id,
                                       .created_ms = d->created_ms,
                                       .updated_ms = d->updated_ms};
    return e ? e : store_conversation_import(im->store, im->user_id, &c, d->messages, d->n, error);
}

/* Fails only when it makes no sense to go on. */
static enum err import_one(const struct import *im, const char *text, size_t len,
                           struct error *error)
{
    struct import_draft d;
    struct import_report report = {.id = "", .title = "", .outcome = IMPORT_FAILED};
    struct error why;
    enum err e = import_read(text, len, &d, &why);
    if (e) {
        report.error = &why;
        im->report(im->ctx, &report);
        return OK;
    }
    if (!d.source_id || !*d.source_id) {
        char made[32];
        str_printf(made, sizeof made, "%016llx", (unsigned long long)hash64(text, len, 7));
        d.source_id = arena_strdup(d.arena, made);
    }
    report.id = d.source_id ? derived_id(d.arena, im->user_id, d.source_id, "") : NULL;
    report.title = d.title;
    if (!report.id) e = err_set(&why, ERR_TOO_LARGE, "the conversation is too large");
    if (!e) e = store_draft(im, &d, report.id, &report.outcome, &why);
    if (e) {
        report.outcome = IMPORT_FAILED;
        report.error = &why;
    }
    if (!report.id) report.id = "";
    report.n_messages = d.n;
    if (breaks_off(e))
        *error = why;
    else
        im->report(im->ctx, &report);
    arena_free(d.arena);
    return breaks_off(e) ? e : OK;
}

enum err chat_import(struct store *store, const char *user_id, const char *text, size_t len,
                     import_fn report, void *ctx, struct error *error)
{
    struct import im = {store, user_id, report, ctx};
    struct cut c = {.at = text, .end = text + len};
    bool has = true;
    enum err e = OK;
    skip_blanks(&c);
    if (c.at == c.end) return err_set(error, ERR_JSON, "the file is empty");
    if (*c.at == '[') {
        c.list = true;
        c.at++;
    }
    while (!e && has) {
        const char *one;
        size_t n;
        if (c.n == IMPORT_CONVERSATIONS_MAX && !c.over)
            return err_set(error, ERR_TOO_LARGE, "the file has more than %d conversations",
                           IMPORT_CONVERSATIONS_MAX);
        e = next_text(&c, &one, &n, &has, error);
        if (!e && has) e = import_one(&im, one, n, error);
    }
    return e;
}
