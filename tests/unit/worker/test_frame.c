/* Frames: any message through any cutting of the stream; hostile heads. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/worker/random.h"
#include "worker/frame.h"
#include "worker/wire.h"

static void put(struct buf *out, enum frame_type type, uint64_t id, const char *data, size_t len)
{
    size_t begin = frame_begin(out, type, id);
    buf_append(out, data, len);
    assert_int_equal(frame_end(out, begin), OK);
}

static char *noise(size_t len)
{
    char *p = malloc(len + 1);
    for (size_t i = 0; i < len; i++) p[i] = (char)dice(256);
    return p;
}

/* Feeds all in pieces and looks at each message that comes out. */
static int read_all(struct frame_reader *r, const struct buf *in, size_t step, const char *want,
                    const size_t *lens)
{
    struct frame f;
    struct error error;
    int n = 0;
    for (size_t at = 0; at < in->len;) {
        size_t room, now = in->len - at < step ? in->len - at : step;
        char *to = frame_room(r, &room);
        if (now > room) now = room;
        memcpy(to, in->data + at, now);
        frame_filled(r, now);
        at += now;
        enum err e;
        while ((e = frame_next(r, &f, &error)) == OK) {
            assert_int_equal((uintptr_t)f.payload % WIRE_ALIGN, 0);
            assert_int_equal(f.id, 1000 + n);
            assert_int_equal(f.type, n % FRAME_TYPE_COUNT);
            assert_int_equal(f.len, lens[n]);
            if (f.len) assert_memory_equal(f.payload, want, f.len);
            n++;
        }
        assert_int_equal(e, ERR_NOT_FOUND);
    }
    return n;
}

static void test_messages_of_any_length_in_pieces_of_any_length(void **state)
{
    (void)state;
    static const size_t lens[] = {0,     1,     7,      8,      9, 1000,   65535,
                                  65536, 65537, 131072, 200001, 0, 700000, 3};
    enum { N = sizeof lens / sizeof *lens };
    char *data = noise(700000);
    struct buf out;
    buf_init(&out, 64 << 20);
    for (int i = 0; i < N; i++)
        put(&out, (enum frame_type)(i % FRAME_TYPE_COUNT), (uint64_t)(1000 + i), data, lens[i]);
    static const size_t steps[] = {1 << 20, 100000, 4096, 77, 16};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct frame_reader *r = frame_reader_new(1 << 20);
        assert_int_equal(read_all(r, &out, steps[i], data, lens), N);
        frame_reader_free(r);
    }
    buf_free(&out);
    free(data);
}

static enum err read_bytes(const char *bytes, size_t len, size_t max)
{
    struct frame_reader *r = frame_reader_new(max);
    struct frame f;
    struct error error;
    size_t room;
    enum err e;
    char *to = frame_room(r, &room);
    memcpy(to, bytes, len);
    frame_filled(r, len);
    while ((e = frame_next(r, &f, &error)) == OK) continue;
    frame_reader_free(r);
    return e;
}

static void test_hostile_heads(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    put(&out, FRAME_EVENT, 5, "hello", 5);
    assert_int_equal(read_bytes(out.data, out.len, 1 << 20), ERR_NOT_FOUND);
    assert_int_equal(read_bytes(out.data, out.len - 1, 1 << 20), ERR_NOT_FOUND); /* half a frame */
    static const struct {
        size_t at;
        char value;
    } changes[] = {{2, 2} /* longer than a frame may be */,
                   {3, 127},
                   {4, FRAME_TYPE_COUNT},
                   {5, 1} /* more, but it is not full */,
                   {5, 2},
                   {6, 1},
                   {22, 1} /* padding */};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char before = out.data[changes[i].at];
        out.data[changes[i].at] = changes[i].value;
        assert_int_equal(read_bytes(out.data, out.len, 1 << 20), ERR_INVALID);
        out.data[changes[i].at] = before;
    }
    buf_free(&out);
}

/* The parts of a message follow each other directly, and it ends at the maximum. */
static void test_long_messages_are_bounded_and_not_mixed(void **state)
{
    (void)state;
    char *data = noise(100000);
    struct buf out;
    buf_init(&out, 1 << 20);
    put(&out, FRAME_EVENT, 5, data, 100000);
    assert_int_equal(read_bytes(out.data, out.len, 100000), ERR_NOT_FOUND);
    assert_int_equal(read_bytes(out.data, out.len, 99999), ERR_TOO_LARGE);
    out.data[FRAME_HEAD + FRAME_PAYLOAD_MAX + 8] = 6; /* the id of the second part */
    assert_int_equal(read_bytes(out.data, out.len, 1 << 20), ERR_INVALID);
    buf_free(&out);
    free(data);
}

/* No room: what was there before is as it was. */
static void test_a_message_that_does_not_fit_leaves_no_trace(void **state)
{
    (void)state;
    struct buf out;
    char data[100] = "";
    buf_init(&out, 180);
    put(&out, FRAME_EVENT, 1, data, 50);
    size_t before = out.len, begin = frame_begin(&out, FRAME_EVENT, 2);
    buf_append(&out, data, 100);
    assert_int_equal(frame_end(&out, begin), ERR_TOO_LARGE);
    assert_int_equal(out.len, before);
    assert_int_equal(out.err, OK);
    put(&out, FRAME_EVENT, 3, data, 10);
    buf_free(&out);
}

/* Nobody waits for a socket that is full; what is left goes out later, in order. */
static void test_a_channel_keeps_what_the_socket_does_not_take(void **state)
{
    (void)state;
    int pair[2];
    struct channel c;
    static const size_t lens[] = {0, 5000000};
    char *data = noise(5000000);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    channel_init(&c, 64 << 20);
    channel_reset(&c, pair[0]);
    put(&c.out, FRAME_HELLO, 1000, data, 0);
    put(&c.out, (enum frame_type)1, 1001, data, 5000000);
    assert_int_equal(channel_flush(&c), OK);
    assert_true(channel_waits(&c));
    struct buf got;
    buf_init(&got, 64 << 20);
    for (int i = 0; i < 100000 && (channel_waits(&c) || i < 2); i++) {
        char piece[65536];
        ssize_t n;
        while ((n = read(pair[1], piece, sizeof piece)) > 0) buf_append(&got, piece, (size_t)n);
        assert_int_equal(channel_flush(&c), OK);
    }
    char piece[65536];
    for (ssize_t n; (n = read(pair[1], piece, sizeof piece)) > 0;)
        buf_append(&got, piece, (size_t)n);
    struct frame_reader *r = frame_reader_new(8 << 20);
    assert_int_equal(read_all(r, &got, 50000, data, lens), 2);
    frame_reader_free(r);
    close(pair[1]);
    put(&c.out, FRAME_HELLO, 1, data, 10);
    assert_int_equal(channel_flush(&c), ERR_CLOSED); /* and no SIGPIPE */
    channel_free(&c);
    buf_free(&got);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_any_length_in_pieces_of_any_length),
        cmocka_unit_test(test_hostile_heads),
        cmocka_unit_test(test_long_messages_are_bounded_and_not_mixed),
        cmocka_unit_test(test_a_message_that_does_not_fit_leaves_no_trace),
        cmocka_unit_test(test_a_channel_keeps_what_the_socket_does_not_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
