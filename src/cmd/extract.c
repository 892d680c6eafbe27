/* `hearth extract`: the text that the hub would find in a file. Needs no hub. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "extract/extract.h"

static const struct cmd_option options[] = {
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print type, title, pages and text as JSON.",
     COMPLETE_NONE},
};

static void put_json(const char *path, const struct extract_doc *doc, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "file", path);
    jw_kstr(&w, "type", doc->type);
    if (doc->title)
        jw_kstr(&w, "title", doc->title);
    else
        jw_knull(&w, "title");
    jw_key(&w, "pages");
    jw_arr(&w);
    for (size_t i = 0; i < doc->n_pages; i++) {
        jw_obj(&w);
        jw_kint(&w, "number", doc->pages[i].number);
        jw_kint(&w, "start", (int64_t)doc->pages[i].start);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_key(&w, "text");
    jw_strn(&w, doc->text, doc->len);
    jw_obj_end(&w);
    buf_putc(out, '\n');
}

static int print(const struct cmd_call *call, const char *path, const struct extract_doc *doc)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    if (cmd_flag(call->args, "json")) {
        put_json(path, doc, &text);
    } else {
        buf_append(&text, doc->text, doc->len);
        buf_putc(&text, '\n');
    }
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

static int run_extract(const struct cmd_call *call)
{
    int status = CMD_OK;
    for (size_t i = 0; i < call->args->n_rest; i++) {
        struct extract_params params;
        struct extract_doc doc;
        struct error error;
        extract_params_from(call->config, &params);
        params.path = call->args->rest[i];
        if (extract_run(&params, NULL, NULL, &doc, &error)) {
            (void)err_prefix(&error, "%.200s", params.path);
            status = cmd_fail(&error);
            continue;
        }
        int printed = print(call, params.path, &doc);
        extract_doc_free(&doc);
        if (printed) return printed;
    }
    return status;
}

const struct cmd_verb verb_extract = {
    .name = "extract",
    .args = "FILE...",
    .summary = "Show the text that the hub finds in a document",
    .details =
        "Reads PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, HTML, e-mail, CSV, JSON, XML,\n"
        "Markdown, plain text and source code, each in a process without rights, as the hub does\n"
        "with files that are added to it. Scanned PDFs are read where tesseract is installed.\n"
        "\n"
        "  hearth extract report.pdf\n"
        "  hearth extract --json report.pdf | jq .pages",
    .words = "",
    .complete = COMPLETE_FILE,
    .min_args = 1,
    .max_args = -1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_extract,
};
