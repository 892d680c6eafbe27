/* A template that a call brings along: see models/gotmpl.h. */
#include "api/ollama/ollama_int.h"
#include "base/buf.h"
#include "models/gotmpl.h"

enum err ollama_template(const char *text, struct gen_request *req, struct error *error)
{
    struct buf jinja;
    buf_init(&jinja, GOTMPL_MAX);
    enum err err = template_to_jinja(text, &jinja, error);
    if (!err) err = copy_text(req->arena, buf_str(&jinja), &req->chat_template, error);
    buf_free(&jinja);
    if (err && !*error->param)
        return err_set_param(error, err, "/template", "/template: %s", error->msg);
    return err;
}
