/* hearth-gen <view>: prints what is generated from the tables in the sources. `make check` compares
 * the output with the files in the repository; `make generate` writes them. */
#include <stdio.h>
#include <string.h>

#include "api/openapi.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"
#include "cmd/cmd.h"

enum { OUTPUT_MAX = 1024 * 1024 };

static enum err errors_markdown(struct buf *out)
{
    buf_puts(out, "<!-- Generated from src/base/err.h by `hearth-gen errors-md`. Don't edit. -->\n"
                  "# Errors\n"
                  "\n"
                  "An error of the API is JSON in the shape of the surface that was asked, with a "
                  "stable `code`, a\nmessage that says what happened and what to do, the offending "
                  "`param` where there is one, and the\nrequest's id. For OpenAI's paths:\n"
                  "\n"
                  "```json\n"
                  "{\"error\": {\"message\": \"/top_p: must be from 0 to 1, got 7\", \"type\": "
                  "\"invalid_request_error\",\n           \"param\": \"/top_p\", \"code\": "
                  "\"invalid_request\", \"request_id\": \"req-4B1n81EJ0kkEBYKR7bjktTLb\"}}\n"
                  "```\n"
                  "\n"
                  "| code | HTTP status | meaning | in the source |\n"
                  "| --- | --- | --- | --- |\n");
    for (int i = 0; i < ERR_COUNT; i++) {
        enum err code = (enum err)i;
        if (code == OK) continue;
        buf_printf(out, "| `%s` | %d | %s | `%s` |\n", err_api_code(code), err_http_status(code),
                   err_meaning(code), err_name(code));
    }
    return out->err;
}

static const struct view {
    const char *name, *what;
    enum err (*render)(struct buf *out);
} views[] = {
    {"api-md", "docs/api.md", api_render_markdown},
    {"cli-md", "docs/cli.md", cmd_render_markdown},
    {"config-md", "docs/configuration.md", config_render_markdown},
    {"dotenv", ".env.example", config_render_dotenv},
    {"errors-md", "docs/errors.md", errors_markdown},
};
enum { N_VIEWS = sizeof views / sizeof *views };

static int usage(void)
{
    fprintf(stderr, "usage: hearth-gen <view>, where a view is one of\n");
    for (size_t i = 0; i < N_VIEWS; i++)
        fprintf(stderr, "  %-12s for %s\n", views[i].name, views[i].what);
    return 2;
}

static const struct view *find_view(const char *name)
{
    for (size_t i = 0; i < N_VIEWS; i++)
        if (strcmp(views[i].name, name) == 0) return &views[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct view *view = argc == 2 ? find_view(argv[1]) : NULL;
    if (!view) return usage();
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    enum err err = view->render(&out);
    if (err) fprintf(stderr, "hearth-gen: %s: %s\n", view->name, err_meaning(err));
    bool written = !err && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_free(&out);
    return written ? 0 : 1;
}
