/* `hearth users`: accounts, from the machine's own command line. Works beside a running hub. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "store/store_user.h"

enum { TEXT_MAX = 16 << 20 };

static const struct cmd_option options[] = {
    {"admin", 0, NULL, CMD_NO_KEY, NULL, "create: may manage the hub.", COMPLETE_NONE},
    {"email", 0, "ADDRESS", CMD_NO_KEY, NULL, "create: how to reach the person.", COMPLETE_NONE},
    {"yes", 'y', NULL, CMD_NO_KEY, NULL, "delete: do not ask.", COMPLETE_NONE},
};

struct call {
    const struct cmd_args *args;
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

static enum err new_hash(char hash[AUTH_HASH_MAX], struct error *error)
{
    char password[AUTH_PASSWORD_MAX + 2];
    enum err e = read_password(password, error);
    if (!e) e = auth_hash_password(password, hash, error);
    explicit_bzero(password, sizeof password);
    return e;
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
        buf_printf(c->out, "%-24s %-6s %-9s last login %s\n", users[i].username,
                   users[i].admin ? "admin" : "user", users[i].disabled ? "disabled" : "", last);
    }
    return OK;
}

static enum err create(struct call *c, const char *name, struct error *error)
{
    char id[37], hash[AUTH_HASH_MAX];
    enum err e = auth_check_username(name, error);
    if (!e) e = new_hash(hash, error);
    if (e) return e;
    id_uuid4(id);
    struct store_user_new u = {.id = id,
                               .username = name,
                               .email = cmd_opt(c->args, "email"),
                               .password_hash = hash,
                               .admin = cmd_flag(c->args, "admin")};
    e = store_user_create(c->store, &u, error);
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
    char hash[AUTH_HASH_MAX];
    enum err e = find(c, name, &u, error);
    if (!e) e = new_hash(hash, error);
    if (!e) e = store_user_set_password(c->store, u.id, hash, error);
    if (!e) e = store_refresh_clear(c->store, u.id, error);
    if (!e) buf_printf(c->out, "%s has a new password and must log in again everywhere\n", name);
    return e;
}

static enum err set_disabled(struct call *c, const char *name, bool disabled, struct error *error)
{
    struct store_user u;
    enum err e = find(c, name, &u, error);
    if (!e) e = store_user_set_disabled(c->store, u.id, disabled, error);
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
    e = store_user_delete(c->store, u.id, error);
    if (!e) buf_printf(c->out, "deleted %s\n", name);
    return e;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool named; /* takes a user's name */
    enum err (*run)(struct call *c, const char *name, struct error *error);
} actions[] = {
    {"list", false, list},      {"create", true, create}, {"passwd", true, passwd},
    {"disable", true, disable}, {"enable", true, enable}, {"delete", true, delete_user},
};

static int act(const struct cmd_call *call, size_t a, const char *name)
{
    struct error error;
    struct buf text;
    struct call c = {.args = call->args, .out = &text};
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
    if (a < n && actions[a].named && args->n_rest == 2) return act(call, a, args->rest[1]);
    if (a < n && !actions[a].named && args->n_rest < 2) return act(call, a, NULL);
    struct error error;
    err_set(&error, ERR_INVALID,
            "it is `hearth users` with list, or with create, passwd, disable, enable or delete and "
            "a name");
    return cmd_usage_error(call->verb, &error);
}

const struct cmd_verb verb_users = {
    .name = "users",
    .args = "[list | create|passwd|disable|enable|delete NAME]",
    .summary = "List, make or change the accounts of this hub",
    .details = "Passwords are asked for, or read from standard input when that is not a terminal. "
               "A new password and `disable` end every login of the account at once.\n\n"
               "  hearth users create ada --admin\n"
               "  pass show hearth/bob | hearth users create bob\n"
               "  hearth users",
    .words = "list create passwd disable enable delete",
    .max_args = 2,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_users,
};
