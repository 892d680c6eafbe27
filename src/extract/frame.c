/* Frames between hub and child; see frame.h. */
#include "extract/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { MAGIC = 0x31545848 /* "HXT1" */ };

struct notice {
    uint32_t magic, kind;
};

struct answer_head {
    uint32_t status;                /* enum err */
    uint32_t message, title, pages; /* bytes, bytes, how many */
    uint64_t text;                  /* bytes */
};

/* A page as it travels. */
struct page {
    uint64_t start;
    int64_t number;
};

void order_init(struct extract_order *order)
{
    *order = (struct extract_order){.magic = MAGIC};
}

bool order_is_right(const struct extract_order *order)
{
    return order->magic == MAGIC && memchr(order->type, 0, sizeof order->type) &&
           memchr(order->name, 0, sizeof order->name) &&
           memchr(order->ocr_languages, 0, sizeof order->ocr_languages);
}

/* ---- writing ------------------------------------------------------------------------------- */

void frame_put_notice(struct buf *out, uint32_t kind)
{
    struct notice n = {.magic = MAGIC, .kind = kind};
    buf_append(out, &n, sizeof n);
}

void frame_put_answer(struct buf *out, enum err e, const char *message,
                      const struct extract_doc *doc)
{
    struct answer_head head = {.status = (uint32_t)e, .message = (uint32_t)strlen(message)};
    if (!e) {
        head.title = doc->title ? (uint32_t)strlen(doc->title) : 0;
        head.pages = (uint32_t)doc->n_pages;
        head.text = doc->len;
    }
    frame_put_notice(out, FRAME_ANSWER);
    buf_append(out, &head, sizeof head);
    buf_append(out, message, head.message);
    if (head.title) buf_append(out, doc->title, head.title);
    for (size_t i = 0; i < head.pages; i++) {
        struct page p = {.start = doc->pages[i].start, .number = doc->pages[i].number};
        buf_append(out, &p, sizeof p);
    }
    if (head.text) buf_append(out, doc->text, doc->len);
}

/* ---- reading ------------------------------------------------------------------------------- */

enum { PREFIX = sizeof(struct notice) + sizeof(struct answer_head) };

void frame_in_init(struct frame_in *in, uint64_t output)
{
    *in = (struct frame_in){.output = output};
    buf_init(&in->bytes, PREFIX + ERROR_MSG_MAX + EXTRACT_TITLE_MAX +
                             EXTRACT_PAGES_MAX * sizeof(struct page) + (size_t)output);
}

void frame_in_free(struct frame_in *in)
{
    buf_free(&in->bytes);
}

static bool head_is_right(const struct frame_in *in, const struct answer_head *h)
{
    if (h->status >= ERR_COUNT || h->message >= ERROR_MSG_MAX || h->title >= EXTRACT_TITLE_MAX ||
        h->pages > EXTRACT_PAGES_MAX || h->text > in->output)
        return false;
    return h->status == OK || (h->message && !h->title && !h->pages && !h->text);
}

static size_t answer_len(const struct answer_head *h)
{
    return PREFIX + h->message + h->title + h->pages * sizeof(struct page) + (size_t)h->text;
}

/* Takes complete notices off the front. What is left is an answer, or too short to tell. */
static enum err take_notices(struct frame_in *in)
{
    struct notice n;
    while (in->bytes.len >= sizeof n) {
        memcpy(&n, in->bytes.data, sizeof n);
        if (n.magic != MAGIC) return ERR_WORKER;
        if (n.kind == FRAME_ANSWER) return OK;
        if (n.kind != FRAME_OCR || in->ocr) return ERR_WORKER;
        in->ocr = true;
        buf_consume(&in->bytes, sizeof n);
    }
    return OK;
}

enum err frame_feed(struct frame_in *in, const void *bytes, size_t len)
{
    if (in->done && len) return ERR_WORKER;
    if (buf_append(&in->bytes, bytes, len))
        return in->bytes.err == ERR_NOMEM ? ERR_NOMEM : ERR_WORKER;
    enum err e = take_notices(in);
    if (e || in->bytes.len < PREFIX) return e;
    struct answer_head head;
    memcpy(&head, in->bytes.data + sizeof(struct notice), sizeof head);
    if (!head_is_right(in, &head)) return ERR_WORKER;
    size_t want = answer_len(&head);
    if (in->bytes.len > want) return ERR_WORKER;
    in->done = in->bytes.len == want;
    return OK;
}

static bool is_clean(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\n' && s[i] != '\t') || s[i] == 0x7F)
            return false;
    return utf8_valid(s, len);
}

static enum err take_pages(const char *from, uint32_t n, uint64_t text, struct extract_doc *doc)
{
    if (!n) return OK;
    doc->pages = try_calloc(n, sizeof *doc->pages);
    if (!doc->pages) return ERR_NOMEM;
    struct page before = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct page p;
        memcpy(&p, from + i * sizeof p, sizeof p);
        if (p.start > text || p.start < before.start || p.number <= before.number ||
            p.number > EXTRACT_PAGES_MAX)
            return ERR_WORKER;
        doc->pages[i] =
            (struct extract_page){.start = (size_t)p.start, .number = (int32_t)p.number};
        before = p;
    }
    doc->n_pages = n;
    return OK;
}

static char *copy(const char *from, size_t len)
{
    char *to = try_malloc(len + 1);
    if (!to) return NULL;
    memcpy(to, from, len);
    to[len] = '\0';
    return to;
}

enum err frame_take(struct frame_in *in, struct extract_doc *doc, struct error *error)
{
    ht_assert(in->done);
    struct answer_head h;
    memcpy(&h, in->bytes.data + sizeof(struct notice), sizeof h);
    const char *message = in->bytes.data + PREFIX, *title = message + h.message;
    const char *pages = title + h.title, *text = pages + h.pages * sizeof(struct page);
    *doc = (struct extract_doc){0};
    if (!is_clean(message, h.message) || !is_clean(title, h.title) ||
        !is_clean(text, (size_t)h.text))
        return err_set(error, ERR_WORKER, "its text is no text");
    if (h.status) return err_set(error, (enum err)h.status, "%.*s", (int)h.message, message);
    enum err e = take_pages(pages, h.pages, h.text, doc);
    if (!e && h.title && !(doc->title = copy(title, h.title))) e = ERR_NOMEM;
    /* The text is the end of the buffer, so its memory can become the document's. */
    if (!e) {
        doc->len = (size_t)h.text;
        buf_consume(&in->bytes, (size_t)(text - in->bytes.data));
        doc->text = buf_take(&in->bytes);
        return OK;
    }
    extract_doc_free(doc);
    return err_set(error, e,
                   e == ERR_NOMEM ? "no memory for its text" : "its pages are in disorder");
}
