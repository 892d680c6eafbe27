/* `hearth ask`: a question about files, answered by the running hub, with its sources.
 *
 * Without HEARTH_API_KEY the person at the hub's own machine, who can read its database, asks as
 * the first admin (or --user): a key is made for the call and revoked behind it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cmd/ask.h"
#include "cmd/interrupt.h"
#include "files/files.h"
#include "store/store_file.h"

enum {
    TEXT_MAX = 16 << 20,
    MEMORY = 64 << 20,
    PATHS_MAX = 1000,
    KEY_MS = 3600 * 1000,
    LOOK_MS = 150, /* how often it is looked whether a file is ready */
};

static const struct cmd_option options[] = {
    {"files", 'f', "FILE", CMD_NO_KEY, NULL,
     "Answer from this file or folder of this machine, which is added first; further ones may "
     "follow the question.",
     COMPLETE_FILE},
    {"collection", 'c', "NAME", CMD_NO_KEY, NULL,
     "Answer from the files in this collection; files are added to it.", COMPLETE_NONE},
    {"model", 'm', "MODEL", CMD_NO_KEY, NULL, "The model that answers.", COMPLETE_MODEL},
    {"user", 0, "NAME", CMD_NO_KEY, NULL, "Who asks; without it the first admin.", COMPLETE_NONE},
    ASK_URL_OPTION,
    ASK_JSON_OPTION,
};

struct call {
    const struct cmd_call *cmd;
    struct link *link;
    struct arena *arena;
    struct store *store; /* NULL: a key is there, and no file is added */
    struct files *files;
    struct store_asker who;
    char key_id[STORE_ID_MAX]; /* made for this call; "" = none */
    const char *question;
    const char **ids; /* of the files that are asked about */
    size_t n_ids;
};

/* ---- who asks -------------------------------------------------------------------------------- */

static enum err make_key(struct call *c, struct error *error)
{
    char name[64], secret[AUTH_SECRET_MAX];
    struct auth_origin origin = {.address = "hearth ask"};
    str_printf(name, sizeof name, "hearth ask %d-%lld", (int)getpid(), (long long)clock_wall_ms());
    struct auth_key_new key = {.user_id = c->who.user_id,
                               .name = name,
                               .scopes = "chat conversations files",
                               .expires_ms = clock_wall_ms() + KEY_MS};
    enum err e = auth_key_make(c->store, &key, &origin, c->key_id, secret, error);
    if (!e) link_authorize(c->link, secret);
    return e;
}

static enum err open_here(struct call *c, struct error *error)
{
    const struct cmd_call *cmd = c->cmd;
    enum err e = cmd_open_store(cmd->config, NULL, true, &c->store, error);
    if (!e) e = cmd_find_user(c->store, cmd_opt(cmd->args, "user"), c->arena, &c->who, error);
    return e ? e : make_key(c, error);
}

static enum err open_all(struct call *c, bool adds, struct error *error)
{
    const struct cmd_args *args = c->cmd->args;
    bool key = *config_str(c->cmd->config, CONFIG_API_KEY), url = cmd_opt(args, "url") != NULL;
    if (url && adds)
        return err_set(error, ERR_INVALID,
                       "files of this machine are added by the hub that runs here; upload them to "
                       "%s, and name its --collection",
                       cmd_opt(args, "url"));
    if (url && !key)
        return err_set(error, ERR_AUTH, "HEARTH_API_KEY must hold a key of the hub at %s",
                       cmd_opt(args, "url"));
    enum err e = ask_open(c->cmd, &c->link, error);
    return e || (key && !adds) ? e : open_here(c, error);
}

static void close_all(struct call *c)
{
    struct error error;
    struct auth_origin origin = {.address = "hearth ask"};
    /* It is over in an hour anyway. */
    if (*c->key_id && auth_key_revoke(c->store, c->who.user_id, c->key_id, &origin, &error))
        (void)cmd_fail(&error);
    files_free(c->files);
    store_close(c->store);
    link_close(c->link);
    arena_free(c->arena);
}

/* ---- files ----------------------------------------------------------------------------------- */

static size_t list_paths(const struct cmd_args *args, const char *paths[PATHS_MAX])
{
    size_t n = 0;
    const char *path;
    while (n < PATHS_MAX && (path = cmd_opt_nth(args, "files", n))) paths[n++] = path;
    for (size_t i = 1; n && i < args->n_rest && n < PATHS_MAX; i++) paths[n++] = args->rest[i];
    return n;
}

/* Until it is ready, or can't be read. */
static enum err wait_for(struct call *c, const char *id, struct error *error)
{
    char path[LINK_PATH_MAX];
    if (!ask_path(path, sizeof path, "/api/v1/files/status/", id, ""))
        return err_set(error, ERR_INVALID, "the file's id is too long");
    for (;;) {
        json_t *answer;
        enum err e = ask(c->link, path, NULL, &answer, error);
        if (e) return e;
        bool ready = str_eq(ask_str(answer, "status"), "ready");
        if (str_eq(ask_str(answer, "status"), "failed"))
            e = err_set(error, ERR_INVALID, "%s can't be used: %s", ask_str(answer, "filename"),
                        ask_str(answer, "error"));
        json_decref(answer);
        if (e || ready) return e;
        usleep(LOOK_MS * 1000);
    }
}

static enum err add_files(struct call *c, const char *const *paths, size_t n, struct error *error)
{
    if (!n) return OK;
    enum err e = cmd_open_files(c->cmd->config, &c->files, error);
    interrupt_release(); /* no request is under way */
    if (!e)
        e = cmd_add_paths(c->store, c->files, &c->who, cmd_opt(c->cmd->args, "collection"), paths,
                          n, c->arena, &c->ids, &c->n_ids, error);
    interrupt_install();
    if (!e && !c->n_ids) e = err_set(error, ERR_NOT_FOUND, "there is no file in it to ask about");
    for (size_t i = 0; !e && i < c->n_ids; i++) e = wait_for(c, c->ids[i], error);
    return e;
}

/* ---- the question ---------------------------------------------------------------------------- */

static enum err write_body(const struct call *c, struct buf *out, struct error *error)
{
    struct jw w;
    const char *model = cmd_opt(c->cmd->args, "model"),
               *collection = cmd_opt(c->cmd->args, "collection");
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "message", c->question);
    jw_kbool(&w, "use_rag", true);
    if (model) jw_kstr(&w, "model", model);
    if (c->n_ids) {
        jw_key(&w, "file_ids");
        jw_arr(&w);
        for (size_t i = 0; i < c->n_ids; i++) jw_str(&w, c->ids[i]);
        jw_arr_end(&w);
    } else if (collection) {
        jw_key(&w, "collections");
        jw_arr(&w);
        jw_str(&w, collection);
        jw_arr_end(&w);
    }
    jw_obj_end(&w);
    return out->err ? err_set(error, out->err, "the question is too long") : OK;
}

static void print_source(struct buf *out, const json_t *s)
{
    const json_t *page = json_object_get(s, "page"), *to = json_object_get(s, "page_to");
    buf_printf(out, "[%d] %s", (int)ask_num(s, "n"), ask_str(s, "file_name"));
    if (json_is_integer(page)) buf_printf(out, ", page %d", (int)json_integer_value(page));
    if (json_is_integer(page) && json_integer_value(to) != json_integer_value(page))
        buf_printf(out, "-%d", (int)json_integer_value(to));
    if (*ask_str(s, "heading")) buf_printf(out, ": %s", ask_str(s, "heading"));
    buf_printf(out, " (characters %lld-%lld)\n", (long long)ask_num(s, "start"),
               (long long)ask_num(s, "end"));
}

static void print_sources(struct buf *out, const json_t *sources)
{
    buf_puts(out, json_array_size(sources) ? "\nSources:\n" : "\nNothing about it was found.\n");
    for (size_t i = 0; i < json_array_size(sources); i++)
        print_source(out, json_array_get(sources, i));
}

/* A question leaves no conversation behind, nor an answer that goes on without anybody. */
static void forget(struct call *c, const char *conversation, const char *answer)
{
    char path[LINK_PATH_MAX];
    struct error error;
    struct buf nothing;
    buf_init(&nothing, TEXT_MAX);
    if (*answer && ask_path(path, sizeof path, "/api/v1/chat/", answer, "/stop") &&
        link_post(c->link, path, "{}", &nothing, &error))
        buf_clear(&nothing); /* it was over */
    buf_free(&nothing);
    if (*conversation && ask_path(path, sizeof path, "/api/v1/conversations/", conversation, "") &&
        link_delete(c->link, path, &error)) {
        err_prefix(&error, "the question stays among the conversations");
        (void)cmd_fail(&error);
    }
}

/* The hub's answer as it is. */
static enum err put_whole(struct call *c, const struct buf *body, struct error *error)
{
    json_t *answer;
    struct buf out;
    enum err e = ask(c->link, "/api/v1/chat", buf_str(body), &answer, error);
    if (e) return e;
    buf_init(&out, TEXT_MAX);
    (void)json_dump(answer, &out);
    buf_putc(&out, '\n');
    forget(c, ask_str(answer, "conversation_id"), "");
    json_decref(answer);
    return ask_print(&out) == CMD_OK ? OK : ERR_CLOSED;
}

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    return json_parse(text, strlen(text), &root, NULL) ? NULL : root;
}

/* The answer while it comes, then its sources. */
static enum err put_stream(struct call *c, const struct buf *body, struct error *error)
{
    struct reply_end end = {.meta = "", .sources = ""};
    struct reply *reply = reply_new();
    struct buf out;
    enum err e = ask_stream(c->link, "/api/v1/chat/stream", body, reply, &end, error);
    json_t *meta = parse(end.meta), *sources = parse(end.sources);
    if (meta) forget(c, ask_str(meta, "conversation_id"), e ? ask_str(meta, "message_id") : "");
    buf_init(&out, TEXT_MAX);
    if (!e) print_sources(&out, json_object_get(sources, "sources"));
    if (!e && ask_print(&out) != CMD_OK) e = ERR_CLOSED;
    json_decref(meta);
    json_decref(sources);
    reply_free(reply);
    return e;
}

static int run_ask(const struct cmd_call *call)
{
    struct error error;
    struct buf body;
    const char *paths[PATHS_MAX];
    struct call c = {.cmd = call, .arena = arena_new(MEMORY)};
    size_t n = list_paths(call->args, paths);
    char *joined = n ? NULL : cmd_rest_joined(call->args);
    buf_init(&body, TEXT_MAX);
    c.question = joined ? joined : call->args->rest[0];
    interrupt_install();
    enum err e = open_all(&c, n > 0, &error);
    if (!e) e = add_files(&c, paths, n, &error);
    if (!e) e = write_body(&c, &body, &error);
    if (!e)
        e = cmd_flag(call->args, "json") ? put_whole(&c, &body, &error)
                                         : put_stream(&c, &body, &error);
    int status = !e ? CMD_OK : e == ERR_CLOSED ? CMD_FAILED : cmd_fail(&error);
    buf_free(&body);
    close_all(&c);
    interrupt_release();
    free(joined);
    return status;
}

const struct cmd_verb verb_ask = {
    .name = "ask",
    .args = "QUESTION [FILE...]",
    .summary = "Answer a question from files, with sources",
    .details =
        "The running hub looks for passages that the question is about, by meaning and by words, "
        "and its model answers from them; what it cites as [n] is listed below. Files that are "
        "given are added and indexed first (the second time they are there already).\n\n"
        "  hearth ask \"How long is the warranty?\" --files manual.pdf\n"
        "  hearth ask \"What did we decide about the roof?\" --collection minutes\n"
        "  hearth ask \"Which tests failed?\" --files results/ notes.md",
    .words = "",
    .complete = COMPLETE_FILE,
    .min_args = 1,
    .max_args = -1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_ask,
};
