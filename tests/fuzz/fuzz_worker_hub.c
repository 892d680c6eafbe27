/* Fuzz target: what a hostile worker may say to the hub. The bytes go through frames and codec to
 * the counting of what was told, as in src/worker/client_loop.c. Holds: whatever comes is an event
 * that its listener may rely on, or refused; what is let through of one answer is never more than
 * the worker said. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/frame.h"
#include "worker/told.h"
#include "worker/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct gen_event *ev, int32_t n)
{
    ht_assert(ev->choice >= 0 && ev->choice < n);
    if (ev->type == GEN_EV_TEXT || ev->type == GEN_EV_REASONING)
        ht_assert(ev->text && ev->text[ev->text_len] == '\0');
    if (ev->type == GEN_EV_TOOL_CALL) {
        ht_assert(ev->tool.index >= 0 && ev->tool.index < TOLD_CALLS_MAX && ev->tool.arguments);
        ht_assert(!ev->tool.id == !ev->tool.name);
    }
    if (ev->type == GEN_EV_STARTED || ev->type == GEN_EV_DONE) ht_assert(ev->model);
    if (ev->type == GEN_EV_ERROR) ht_assert(ev->error && ev->error->code > OK);
    for (size_t i = 0; i < ev->n_logprobs; i++)
        for (size_t k = 0; k < ev->logprobs[i].n_top; k++) ht_assert(ev->logprobs[i].top[k].text);
    uint64_t sum = 0;
    for (size_t i = 0; i < ev->n_tokens; i++) sum += (uint64_t)ev->tokens[i];
    ht_assert(ev->n_tokens == 0 || sum != 1 || ev->tokens); /* reads every token */
}

static enum err hear(struct told *told, const struct frame *f, struct arena *arena)
{
    struct error error;
    struct gen_event ev;
    struct embed_result r;
    struct control_answer a;
    struct greeting_answer g;
    struct left_model m;
    switch (f->type) {
    case FRAME_READY: return codec_read_greeting_answer(f->payload, f->len, arena, &g, &error);
    case FRAME_ANSWER: return codec_read_answer(f->payload, f->len, arena, &a, &error);
    case FRAME_LEFT: return codec_read_left(f->payload, f->len, arena, &m, &error);
    case FRAME_EMBEDDING: {
        enum err e = codec_read_result(f->payload, f->len, arena, &r, &error);
        float sum = 0;
        for (size_t i = 0; !e && i < r.n_inputs * r.n_dims; i++) sum += r.vectors[i];
        ht_assert(e || r.error || r.n_inputs > 0);
        return sum == 0.125f ? ERR_INVALID : e;
    }
    case FRAME_EVENT: {
        enum err e = codec_read_event(f->payload, f->len, arena, &ev, &error);
        if (e) return e;
        if (told_pass(told, &ev, &error) == TOLD_PASS) check_event(&ev, told->n);
        if (f->id % 7 == 0) told_again(told); /* as if it had died here */
        return OK;
    }
    default: return ERR_INVALID;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gen_request req = {.n = 3, .want_tokens = true};
    struct frame_reader *r = frame_reader_new(1 << 20);
    struct told told;
    size_t step = size ? data[0] + 1u : 1;
    bool alive = true;
    told_init(&told, &req);
    for (size_t at = 1; at < size && alive; at += step) {
        size_t room, n = size - at < step ? size - at : step;
        memcpy(frame_room(r, &room), data + at, n);
        frame_filled(r, n);
        for (;;) {
            struct frame f;
            struct error error;
            enum err e = frame_next(r, &f, &error);
            if (e == ERR_NOT_FOUND) break;
            struct arena *arena = arena_new(1 << 20);
            if (!e) e = hear(&told, &f, arena);
            arena_free(arena);
            alive = !e;
            if (e) break;
        }
    }
    struct gen_resume resume[GEN_N_MAX];
    told_resume(&told, &req, resume);
    told_free(&told);
    frame_reader_free(r);
    return 0;
}
