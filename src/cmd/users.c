/* `hearth users`: accounts, from the machine's own command line. Works beside a running hub. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/admin.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "files/files.h"
#include "store/store_user.h"

enum {
    TEXT_MAX = 16 << 20,
    WORDS_MAX = 2 + QUOTA_COUNT,
    AUDIT_SHOWN = 50,
    INVITATION_MS = 7 * 24 * 3600 * 1000
};

static const struct cmd_option options[] = {
    {"admin", 0, NULL, CMD_NO_KEY, NULL, "create: may manage the hub.", COMPLETE_NONE},
    {"email", 0, "ADDRESS", CMD_NO_KEY, NULL, "create: how to reach the person.", COMPLETE_NONE},
    {"scopes", 0, "LIST", CMD_NO_KEY, NULL,
     "key: what it may do, comma-separated; without it all that the user may.", COMPLETE_NONE},
    {"local", 0, NULL, CMD_NO_KEY, NULL, "key: what is asked with it never leaves this machine.",
     COMPLETE_NONE},
    {"yes", 'y', NULL, CMD_NO_KEY, NULL, "delete: do not ask.", COMPLETE_NONE},
};

struct call {
    const struct cmd_args *args;
    const struct config *config;
    struct store *store;
    struct arena *arena;
    struct buf *out;
};

/* ---- passwords ----------------------------------------------------------------------------- */

static bool read_line(char *dst, size_t size)
{
    if (!fgets(dst, (int)size, stdin)) return false;
    dst[strcspn(dst, "\r\n")] = '\0';
    return true;
}

/* Asks without showing what is typed; from a pipe the first line. */
static enum err read_password(char dst[AUTH_PASSWORD_MAX + 2], struct error *error)
{
    struct termios shown, hidden;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        fprintf(stderr, "Password (at least %d characters): ", AUTH_PASSWORD_MIN);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    bool got = read_line(dst, AUTH_PASSWORD_MAX + 2);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    if (got) return OK;
    return err_set(error, ERR_INVALID, "there was no password on standard input");
}

/* ---- the actions --------------------------------------------------------------------------- */

static enum err list(struct call *c, const char *name, struct error *error)
{
    struct store_user *users;
    size_t n;
    (void)name;
    enum err e = store_user_list(c->store, c->arena, &users, &n, error);
    if (e) return e;
    if (n == 0)
        buf_puts(c->out, "nobody yet; `hearth users create NAME --admin` makes the first\n");
    for (size_t i = 0; i < n; i++) {
        char last[32] = "never";
        if (users[i].last_login_ms) clock_format_utc(last, sizeof last, users[i].last_login_ms);
        buf_printf(c->out, "%-24s %-6s %-9s %-6s last login %s\n", users[i].username,
                   users[i].admin ? "admin" : "user", users[i].disabled ? "disabled" : "",
                   users[i].local_only ? "local" : "", last);
    }
    return OK;
}

static enum err create(struct call *c, const char *name, struct error *error)
{
    char id[STORE_ID_MAX], password[AUTH_PASSWORD_MAX + 2];
    enum err e = auth_check_username(name, error);
    if (!e) e = read_password(password, error);
    if (e) return e;
    struct admin_new u = {.username = name,
                          .password = password,
                          .email = cmd_opt(c->args, "email"),
                          .admin = cmd_flag(c->args, "admin")};
    e = admin_create(c->store, &u, NULL, id, error);
    explicit_bzero(password, sizeof password);
    if (!e) buf_printf(c->out, "made %s %s\n", u.admin ? "the admin" : "the user", name);
    return e;
}

static enum err find(struct call *c, const char *name, struct store_user *u, struct error *error)
{
    enum err e = store_user_by_name(c->store, name, c->arena, u, error);
    if (e == ERR_NOT_FOUND)
        e = err_set(error, e, "there is no user %s; `hearth users` lists them", name);
    return e;
}

static enum err passwd(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    char password[AUTH_PASSWORD_MAX + 2];
    enum err e = find(c, name, &u, error);
    if (!e) e = read_password(password, error);
    if (e) return e;
    e = admin_set_password(c->store, u.id, password, NULL, error);
    explicit_bzero(password, sizeof password);
    if (!e) buf_printf(c->out, "%s has a new password and must log in again everywhere\n", name);
    return e;
}

static enum err set_disabled(struct call *c, const char *name, bool disabled, struct error *error)
{
    struct store_user u;
    enum err e = find(c, name, &u, error);
    if (!e) e = admin_set_disabled(c->store, u.id, disabled, NULL, error);
    if (!e) buf_printf(c->out, "%s is %s\n", name, disabled ? "disabled" : "enabled");
    return e;
}

static enum err disable(struct call *c, const char *name, struct error *error)
{
    return set_disabled(c, name, true, error);
}

static enum err enable(struct call *c, const char *name, struct error *error)
{
    return set_disabled(c, name, false, error);
}

/* The records went with the account; what can't be removed now goes at the hub's next sweep. */
static void remove_files(struct call *c)
{
    struct files *files;
    struct files_swept swept;
    struct error ignored;
    if (cmd_open_files(c->config, &files, &ignored)) return;
    (void)!files_sweep(files, c->store, &swept, &ignored);
    files_free(files);
}

static enum err delete_user(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    char answer[16];
    enum err e = find(c, name, &u, error);
    if (e) return e;
    if (!cmd_flag(c->args, "yes")) {
        if (!isatty(STDIN_FILENO))
            return err_set(error, ERR_INVALID, "say --yes to delete %s without being asked", name);
        fprintf(stderr, "Delete %s with all conversations, files and keys? [y/N] ", name);
        if (!read_line(answer, sizeof answer) || (*answer != 'y' && *answer != 'Y'))
            return err_set(error, ERR_CANCELLED, "nothing was deleted");
    }
    e = admin_delete(c->store, u.id, NULL, error);
    if (!e) remove_files(c);
    if (!e) buf_printf(c->out, "deleted %s\n", name);
    return e;
}

static enum err role(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    const char *word = c->args->n_rest > 2 ? c->args->rest[2] : "";
    bool admin = str_eq(word, "admin");
    if (!admin && !str_eq(word, "user"))
        return err_set(error, ERR_INVALID, "say which: `hearth users role %s admin` or user", name);
    enum err e = find(c, name, &u, error);
    if (!e) e = admin_set_role(c->store, u.id, admin, NULL, error);
    if (!e) buf_printf(c->out, "%s is %s now\n", name, admin ? "an admin" : "a user");
    return e;
}

static enum err local(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    bool on = false;
    const char *word = c->args->n_rest > 2 ? c->args->rest[2] : "";
    if (!str_to_bool(word, &on))
        return err_set(error, ERR_INVALID, "say which: `hearth users local %s on` or off", name);
    enum err e = find(c, name, &u, error);
    if (!e) e = admin_set_local_only(c->store, u.id, on, NULL, error);
    if (!e)
        buf_printf(c->out,
                   on ? "nothing of %s leaves this machine from now on\n"
                      : "%s may be answered by other providers, where nothing else is pinned\n",
                   name);
    return e;
}

/* ---- quotas -------------------------------------------------------------------------------- */

/* "tokens_per_day=100000"; sizes may be "500M", and `default` takes an exception back. */
static enum err read_quota(const char *word, int64_t limits[QUOTA_COUNT], struct error *error)
{
    uint64_t n;
    size_t len = strcspn(word, "=");
    for (int i = 0; i < QUOTA_COUNT; i++) {
        const char *name = store_quota_name((enum store_quota)i), *value = word + len + 1;
        if (strlen(name) != len || strncmp(name, word, len) != 0 || !word[len]) continue;
        if (str_eq(value, "default"))
            limits[i] = QUOTA_DEFAULT;
        else if (str_to_bytes(value, &n) && n <= INT64_MAX)
            limits[i] = (int64_t)n;
        else
            return err_set(error, ERR_INVALID,
                           "%s takes a number, 0 for no limit, or default; not %.40s", name, value);
        return OK;
    }
    return err_set(error, ERR_INVALID,
#define X(id, name, help) " " #name
                   "'%.60s' is no quota; it is NAME=NUMBER with one of" STORE_QUOTAS(X), word);
#undef X
}

static enum err quota(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    int64_t limits[QUOTA_COUNT];
    enum err e = find(c, name, &u, error);
    if (!e) e = store_quota_get(c->store, u.id, limits, error);
    for (size_t i = 2; !e && i < c->args->n_rest; i++)
        e = read_quota(c->args->rest[i], limits, error);
    if (!e && c->args->n_rest > 2) e = admin_set_quotas(c->store, u.id, limits, NULL, error);
    for (int i = 0; !e && i < QUOTA_COUNT; i++) {
        const char *word = store_quota_name((enum store_quota)i);
        if (limits[i] == QUOTA_DEFAULT)
            buf_printf(c->out, "%-20s default\n", word);
        else if (limits[i] == QUOTA_NONE)
            buf_printf(c->out, "%-20s no limit\n", word);
        else
            buf_printf(c->out, "%-20s %lld\n", word, (long long)limits[i]);
    }
    return e;
}

/* ---- keys, invitations, the audit log ------------------------------------------------------- */

static enum err key(struct call *c, const char *name, struct error *error)
{
    struct store_user u;
    char id[STORE_ID_MAX], secret[AUTH_SECRET_MAX], scopes[AUTH_SCOPES_MAX];
    const char *list = cmd_opt(c->args, "scopes");
    if (c->args->n_rest < 3)
        return err_set(error, ERR_INVALID, "what is the key for? `hearth users key %s laptop`",
                       name);
    if (!str_copy(scopes, sizeof scopes, list ? list : ""))
        return err_set(error, ERR_INVALID, "the scopes are too long");
    for (char *p = scopes; *p; p++)
        if (*p == ',') *p = ' ';
    enum err e = find(c, name, &u, error);
    struct auth_key_new k = {
        .name = c->args->rest[2], .scopes = scopes, .local_only = cmd_flag(c->args, "local")};
    if (!e) k.user_id = u.id;
    if (!e) e = auth_key_make(c->store, &k, NULL, id, secret, error);
    if (!e) buf_printf(c->out, "%s\n", secret);
    return e;
}

static enum err invite(struct call *c, const char *name, struct error *error)
{
    char secret[AUTH_SECRET_MAX];
    (void)name;
    enum err e = auth_invite(c->store, INVITATION_MS, NULL, secret, error);
    if (!e) buf_printf(c->out, "%s\n", secret);
    return e;
}

static enum err audit(struct call *c, const char *name, struct error *error)
{
    struct store_audit *list;
    struct store_user u;
    size_t n;
    (void)name;
    enum err e = store_audit_list(c->store, INT64_MAX, AUDIT_SHOWN, c->arena, &list, &n, error);
    for (size_t i = 0; !e && i < n; i++) {
        char when[32];
        struct error ignored;
        clock_format_utc(when, sizeof when, list[i].at_ms);
        const char *who = list[i].user_id ? list[i].user_id : "-";
        if (list[i].user_id &&
            store_user_by_id(c->store, list[i].user_id, c->arena, &u, &ignored) == OK)
            who = u.username;
        buf_printf(c->out, "%s  %-18s %-24s %-15s %s\n", when, list[i].event, who,
                   list[i].address ? list[i].address : "-",
                   str_eq(list[i].details, "{}") ? "" : list[i].details);
    }
    return e;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool named;   /* takes a user's name */
    size_t words; /* most, with its own and the user's */
    enum err (*run)(struct call *c, const char *name, struct error *error);
} actions[] = {
    {"list", false, 1, list},    {"create", true, 2, create},
    {"passwd", true, 2, passwd}, {"disable", true, 2, disable},
    {"enable", true, 2, enable}, {"delete", true, 2, delete_user},
    {"role", true, 3, role},     {"quota", true, WORDS_MAX, quota},
    {"key", true, 3, key},       {"invite", false, 1, invite},
    {"audit", false, 1, audit},  {"local", true, 3, local},
};

static int act(const struct cmd_call *call, size_t a, const char *name)
{
    struct error error;
    struct buf text;
    struct call c = {.args = call->args, .config = call->config, .out = &text};
    enum err e = cmd_open_store(call->config, NULL, true, &c.store, &error);
    if (e) return cmd_fail(&error);
    buf_init(&text, TEXT_MAX);
    c.arena = arena_new(TEXT_MAX);
    e = actions[a].run(&c, name, &error);
    int status = e ? cmd_fail(&error) : cmd_print(&text);
    arena_free(c.arena);
    buf_free(&text);
    store_close(c.store);
    return status;
}

static int run_users(const struct cmd_call *call)
{
    const struct cmd_args *args = call->args;
    size_t a = 0, n = sizeof actions / sizeof *actions;
    const char *word = args->n_rest ? args->rest[0] : "list";
    while (a < n && !str_eq(actions[a].name, word)) a++;
    bool fits = a < n && args->n_rest <= actions[a].words;
    if (fits && actions[a].named && args->n_rest >= 2) return act(call, a, args->rest[1]);
    if (fits && !actions[a].named) return act(call, a, NULL);
    struct error error;
    err_set(&error, ERR_INVALID,
            "it is `hearth users` with list, invite or audit, or with create, passwd, disable, "
            "enable, delete, role, local, quota or key and a name");
    return cmd_usage_error(call->verb, &error);
}

const struct cmd_verb verb_users = {
    .name = "users",
    .args = "[list | invite | audit | VERB NAME ...]",
    .summary = "List, make or change the accounts of this hub",
    .details =
        "VERB is create, passwd, disable, enable, delete, role, local, quota or key.\n\n"
        "Passwords are asked for, or read from standard input when that is not a terminal. "
        "A new password and `disable` end every login of the account at once. `local on` keeps "
        "everything of a user on this machine: no other provider is asked. `quota` shows "
        "a user's exceptions from the settings HEARTH_USER_..., and with NAME=NUMBER makes "
        "one; `key` prints a new API key, `invite` an invitation, `audit` the last security "
        "events.\n\n"
        "  hearth users create ada --admin\n"
        "  pass show hearth/bob | hearth users create bob\n"
        "  hearth users quota bob tokens_per_day=200000 storage_bytes=500M\n"
        "  hearth users local bob on\n"
        "  hearth users key bob laptop --scopes chat,conversations\n"
        "  hearth users",
    .words = "list create passwd disable enable delete role local quota key invite audit",
    .max_args = WORDS_MAX,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_users,
};
