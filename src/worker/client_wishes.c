/* What people have asked for that has to be so in the next worker, too: the adapter for all, and
 * the models that they had loaded. Each is the control call that brought it about, asked again by
 * the client itself before anything else is sent.
 *
 * A model that has left the memory, for whatever reason, is no such wish any more, and is not
 * preloaded again either: the next worker begins with what was in memory when the last one was
 * heard of last. Worker thread only. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/local.h"
#include "worker/client_int.h"

struct wish {
    enum control what;
    char model[MODEL_ID_MAX]; /* LOAD */
    char *args;
};

static void forget(struct client *c, enum control what, const char *model)
{
    for (size_t i = 0; i < c->n_wishes; i++) {
        if (c->wishes[i].what != what || !str_eq(c->wishes[i].model, model)) continue;
        free(c->wishes[i].args);
        memmove(&c->wishes[i], &c->wishes[i + 1], (--c->n_wishes - i) * sizeof *c->wishes);
        i--;
    }
}

static void add(struct client *c, enum control what, const char *model, const char *args)
{
    forget(c, what, model);
    if (c->n_wishes == WISHES_MAX) return;
    if (!c->wishes) c->wishes = xcalloc(WISHES_MAX, sizeof *c->wishes);
    struct wish *w = &c->wishes[c->n_wishes++];
    *w = (struct wish){.what = what, .args = xstrdup(args)};
    str_copy(w->model, sizeof w->model, model);
}

static bool is_let_go(const struct client *c, const char *id)
{
    for (size_t i = 0; i < c->n_let_go; i++)
        if (str_eq(c->let_go[i], id)) return true;
    return false;
}

void wishes_left(struct client *c, const char *id)
{
    forget(c, CONTROL_LOAD, id);
    if (!c->preload || is_let_go(c, id)) return;
    if (c->n_let_go == WISHES_MAX)
        c->preload = false; /* too many to know them all: better none than the wrong ones */
    else
        c->let_go[c->n_let_go++] = xstrdup(id);
}

/* A person wanted it, and it can be loaded. Its embeddings are tried again with it if that was
 * meant, though they are loaded only when somebody asks for some. */
static void lift(struct client *c, const char *model, const char *args)
{
    char beside[MODEL_ID_MAX];
    json_t *v;
    bool force = false;
    if (json_parse(args, strlen(args), &v, NULL) == OK) {
        force = json_is_true(json_object_get(v, "force"));
        json_decref(v);
    }
    local_embeddings_id(beside, sizeof beside, model);
    pthread_mutex_lock(&c->lock);
    suspects_lift(&c->suspects, model);
    if (force) suspects_lift(&c->suspects, beside);
    pthread_mutex_unlock(&c->lock);
}

void wishes_heard(struct client *c, enum control what, const char *args, const char *answer,
                  size_t len)
{
    json_t *v;
    const char *model = NULL;
    if (what == CONTROL_ADAPTER_LOAD) add(c, what, "", args);
    if (what != CONTROL_LOAD && what != CONTROL_UNLOAD) return;
    if (json_parse(answer, len, &v, NULL)) return;
    if (!json_get_string(v, "model", "", &model, NULL) && model) {
        if (what == CONTROL_LOAD) {
            add(c, what, model, args);
            lift(c, model, args);
        } else {
            wishes_left(c, model);
        }
    }
    json_decref(v);
}

/* Nobody may wait for a load, and nobody overrules a quarantine again. An adapter stays chosen,
 * also when it can't be used just now. */
static char *quietly(enum control what, const char *args)
{
    struct buf out;
    json_t *v;
    buf_init(&out, 1 << 20);
    if (json_parse(args, strlen(args), &v, NULL)) return xstrdup(args);
    json_object_set_new(v, what == CONTROL_LOAD ? "wait" : "again",
                        json_boolean(what != CONTROL_LOAD));
    json_object_del(v, "force");
    enum err e = json_dump(v, &out);
    json_decref(v);
    char *text = e ? xstrdup(args) : xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

void wishes_send(struct client *c)
{
    for (size_t i = 0; i < c->n_wishes; i++) {
        const struct wish *w = &c->wishes[i];
        char *args = quietly(w->what, w->args);
        task_ask(c, w->what, args);
        free(args);
    }
}

void wishes_free(struct client *c)
{
    for (size_t i = 0; i < c->n_wishes; i++) free(c->wishes[i].args);
    for (size_t i = 0; i < c->n_let_go; i++) free(c->let_go[i]);
    free(c->wishes);
}
