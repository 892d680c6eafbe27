/* Generated views of the configuration: effective values, the manual page, .env.example. */
#include <string.h>

#include "base/config_int.h"
#include "base/json.h"
#include "base/str.h"

static const char *source_name(enum config_source source)
{
    switch (source) {
    case CONFIG_FROM_DEFAULT: return "default";
    case CONFIG_FROM_FILE: return "hearth.env";
    case CONFIG_FROM_DOTENV: return ".env";
    case CONFIG_FROM_ENV: return "environment";
    case CONFIG_FROM_FLAG: return "flag";
    }
    ht_bug("a source without a name");
}

static const char *section_title(const char *section)
{
    return str_eq(section, "later") ? "known, for parts that are not built yet" : section;
}

static bool begins_section(size_t i)
{
    return i == 0 || !str_eq(config_infos[i].section, config_infos[i - 1].section);
}

static bool is_secret(size_t i)
{
    return config_infos[i].type == CONFIG_SECRET;
}

static const char *shown(const struct config *c, size_t i)
{
    const char *text = c->values[i].text;
    return is_secret(i) && *text ? "(set)" : text;
}

/* ---- effective values ---------------------------------------------------------------------- */

/* As it could stand in hearth.env: quoted where the reader would take it apart otherwise. */
static void append_value(struct buf *out, const char *text)
{
    bool bare =
        !text[strcspn(text, "#\"'\\\n\r\t")] && !str_starts(text, " ") && !str_ends(text, " ");
    if (bare) {
        buf_puts(out, text);
        return;
    }
    buf_putc(out, '"');
    for (; *text; text++) {
        switch (*text) {
        case '\n': buf_puts(out, "\\n"); break;
        case '\r': buf_puts(out, "\\r"); break;
        case '\t': buf_puts(out, "\\t"); break;
        case '"':
        case '\\':
            buf_putc(out, '\\');
            buf_putc(out, *text);
            break;
        default: buf_putc(out, *text);
        }
    }
    buf_putc(out, '"');
}

static void effective_text(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (begins_section(i))
            buf_printf(out, "%s# %s\n", i ? "\n" : "", section_title(config_infos[i].section));
        size_t start = out->len;
        buf_printf(out, "%s=", config_infos[i].name);
        append_value(out, shown(c, i));
        size_t width = out->len - start;
        int pad = width < 46 ? (int)(46 - width) : 0;
        buf_printf(out, "%*s  # %s\n", pad, "", source_name(c->values[i].source));
    }
}

static void json_value(struct jw *w, const struct config *c, size_t i)
{
    const struct config_value *v = &c->values[i];
    switch (config_infos[i].type) {
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_MS: jw_kint(w, "value", v->i); break;
    case CONFIG_REAL: jw_kdouble(w, "value", v->d); break;
    case CONFIG_BOOL: jw_kbool(w, "value", v->b); break;
    default: jw_kstr(w, "value", shown(c, i)); break;
    }
}

static void effective_json(const struct config *c, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "settings");
    jw_arr(&w);
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        jw_obj(&w);
        jw_kstr(&w, "name", config_infos[i].name);
        json_value(&w, c, i);
        if (*config_infos[i].unit) jw_kstr(&w, "unit", config_infos[i].unit);
        jw_kstr(&w, "source", source_name(c->values[i].source));
        jw_kstr(&w, "section", config_infos[i].section);
        jw_kstr(&w, "help", config_infos[i].help);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    buf_putc(out, '\n');
}

enum err config_render_effective(const struct config *c, bool json, struct buf *out)
{
    if (json)
        effective_json(c, out);
    else
        effective_text(c, out);
    return out->err;
}

/* ---- docs/configuration.md ----------------------------------------------------------------- */

static const char intro[] =
    "<!-- Generated from src/base/config_keys.h by `hearth-gen config-md`. Don't edit. -->\n"
    "# Configuration\n"
    "\n"
    "Settings are `KEY=value`. They come from, later wins:\n"
    "\n"
    "1. the defaults below\n"
    "2. `hearth.env` in the config folder (`$XDG_CONFIG_HOME/hearth`, else `~/.config/hearth`)\n"
    "3. `.env` in the working folder\n"
    "4. the environment\n"
    "5. command-line flags\n"
    "\n"
    "`hearth config` prints the values in effect and where each came from. A wrong value is an\n"
    "error that names the setting, the value and what is allowed. A setting that doesn't exist is\n"
    "an error in `hearth.env`; in `.env` and the environment it belongs to another program.\n"
    "`HEARTH_LIB` is not read from `.env`, because code is loaded from that folder.\n"
    "\n"
    "In both files: empty lines and lines that begin with `#` say nothing, `export ` in front of "
    "a\n"
    "key is allowed, values may stand in `'single'` (as they are) or `\"double\"` quotes (with\n"
    "`\\n`, `\\r`, `\\t`, `\\\"`, `\\\\`, `\\$`), and bare values end at ` #`. There is no "
    "`$NAME`\n"
    "expansion. Sizes are like `512K`, `16M`, `1.5G` (of 1024), times like `250ms`, `10s`, `2m`,\n"
    "`1h`; an empty number, size, time or true/false means \"not set\". Paths may begin with "
    "`~/`;\n"
    "relative ones start at the working folder.\n";

/* Help and defaults in a table's cell: the bar would end the cell, < could begin a tag. */
static void append_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_puts(out, "\\|");
        else if (*text == '<')
            buf_puts(out, "&lt;");
        else if (*text == '*')
            buf_puts(out, "\\*");
        else
            buf_putc(out, *text);
    }
}

static void append_default(struct buf *out, const char *def)
{
    if (!*def)
        buf_puts(out, "empty");
    else
        buf_printf(out, "`%s`", def);
}

static void append_row(struct buf *out, enum config_key key)
{
    const struct config_info *info = &config_infos[key];
    char allowed[256];
    config_allowed(key, allowed, sizeof allowed);
    buf_printf(out, "| `%s` | ", info->name);
    append_default(out, info->def);
    buf_puts(out, " | ");
    append_cell(out, info->type == CONFIG_SECRET ? "text, never shown" : allowed);
    buf_puts(out, " | ");
    append_cell(out, info->help);
    buf_puts(out, " |\n");
}

static void append_aliases(struct buf *out)
{
    static const struct {
        const char *alias;
        enum config_key key;
    } aliases[] = {
#define Y(alias, id) {alias, CONFIG_##id},
        CONFIG_ALIASES(Y)
#undef Y
    };
    buf_puts(out, "\n## Other names\n\n"
                  "Where one source has several names of a setting, the one that begins with\n"
                  "`HEARTH_` counts, then the name of the tables above.\n\n"
                  "| name | is the same as |\n| --- | --- |\n");
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        buf_printf(out, "| `%s` | `%s` |\n", aliases[i].alias, config_infos[aliases[i].key].name);
}

enum err config_render_markdown(struct buf *out)
{
    buf_puts(out, intro);
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (begins_section(i))
            buf_printf(out,
                       "\n## Section: %s\n\n| setting | default | allowed | meaning |\n"
                       "| --- | --- | --- | --- |\n",
                       section_title(config_infos[i].section));
        append_row(out, (enum config_key)i);
    }
    append_aliases(out);
    return out->err;
}

/* ---- .env.example -------------------------------------------------------------------------- */

enum err config_render_dotenv(struct buf *out)
{
    buf_puts(out,
             "# Generated from src/base/config_keys.h by `hearth-gen dotenv`. Don't edit.\n"
             "# Copy it to .env or to ~/.config/hearth/hearth.env and take the # off the lines "
             "you need.\n");
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (begins_section(i))
            buf_printf(out, "\n# ---- %s ----\n", section_title(config_infos[i].section));
        buf_printf(out, "\n# %s\n# %s=", config_infos[i].help, config_infos[i].name);
        append_value(out, config_infos[i].def);
        buf_putc(out, '\n');
    }
    return out->err;
}
