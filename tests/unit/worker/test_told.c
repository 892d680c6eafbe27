/* What a listener has been told: an answer that is cut anywhere and told again from its start is
 * heard once. */
#include "unit/worker/random.h"
#include "worker/told.h"

static struct told told;

static void begin(int32_t n, bool logprobs, bool want_tokens)
{
    struct gen_request req = {.n = n, .want_tokens = want_tokens};
    req.sampling.logprobs = logprobs;
    told_init(&told, &req);
}

static enum told_verdict say(struct gen_event *ev)
{
    struct error error;
    return told_pass(&told, ev, &error);
}

static enum told_verdict say_started(void)
{
    struct gen_event ev = {.type = GEN_EV_STARTED, .model = "m", .usage = {.cached_tokens = 5}};
    return say(&ev);
}

static enum told_verdict say_end(int32_t choice)
{
    struct gen_event ev = {.type = GEN_EV_CHOICE_END, .choice = choice, .finish = FINISH_STOP};
    return say(&ev);
}

/* One token and its text. What is passed is appended to `heard`. */
static void say_text(enum gen_event_type type, int32_t choice, int32_t token, const char *text,
                     struct buf *heard)
{
    struct gen_event ev = {
        .type = GEN_EV_TOKENS, .choice = choice, .tokens = &token, .n_tokens = 1};
    assert_int_not_equal(say(&ev), TOLD_BAD);
    ev = (struct gen_event){.type = type, .choice = choice, .text = text, .text_len = strlen(text)};
    if (say(&ev) == TOLD_PASS) buf_append(heard, ev.text, ev.text_len);
}

static const char *const words[] = {"Once ",  "upon ", "a ", "time ",
                                    "there ", "was ",  "a ", "fire"};
enum { N_WORDS = sizeof words / sizeof *words };

/* Told up to word `from` in one life, then in the next: pieces may be cut differently there. */
static void test_an_answer_cut_anywhere_is_heard_once(void **state)
{
    (void)state;
    for (int from = 0; from <= N_WORDS; from++) {
        struct buf heard;
        struct gen_resume resume;
        struct gen_request again = {.n = 1};
        buf_init(&heard, 4096);
        begin(1, false, false);
        assert_int_equal(say_started(), TOLD_PASS);
        for (int i = 0; i < from; i++) say_text(GEN_EV_TEXT, 0, 100 + i, words[i], &heard);
        assert_true(told_again(&told));
        told_resume(&told, &again, &resume);
        assert_ptr_equal(again.resume, &resume);
        assert_int_equal(resume.n_tokens, from);
        for (int i = 0; i < from; i++) assert_int_equal(resume.tokens[i], 100 + i);
        assert_int_equal(say_started(), TOLD_DROP);
        /* the next worker tells the old part in one piece */
        char old[256] = "";
        for (int i = 0; i < from; i++) strcat(old, words[i]);
        struct gen_event ev = {
            .type = GEN_EV_TOKENS, .tokens = resume.tokens, .n_tokens = resume.n_tokens};
        assert_int_equal(say(&ev), TOLD_DROP);
        ev = (struct gen_event){.type = GEN_EV_TEXT, .text = old, .text_len = strlen(old)};
        assert_int_equal(say(&ev), TOLD_DROP);
        for (int i = from; i < N_WORDS; i++) say_text(GEN_EV_TEXT, 0, 100 + i, words[i], &heard);
        assert_string_equal(buf_str(&heard), "Once upon a time there was a fire");
        assert_int_equal(told.choices[0].n_tokens, N_WORDS);
        told_free(&told);
        buf_free(&heard);
    }
}

/* What is chosen when an answer begins stays its own, whatever would be chosen now. */
static void test_an_answer_goes_on_with_what_it_began_with(void **state)
{
    (void)state;
    struct gen_resume resume;
    struct gen_request again = {.n = 1, .model = "", .loaded_only = true, .deadline_ms = 5};
    struct gen_event ev = {.type = GEN_EV_STARTED,
                           .model = "m",
                           .adapter = "pirate",
                           .adapter_scale = 0.5f,
                           .adapter_version = 77};
    begin(1, false, false);
    assert_true(told_again(&told));
    told_resume(&told, &again, &resume);
    assert_null(again.adapter); /* nothing was told: it may begin as it likes */
    assert_true(again.loaded_only && again.deadline_ms == 5);
    assert_int_equal(say(&ev), TOLD_PASS);
    assert_true(told_again(&told));
    told_resume(&told, &again, &resume);
    assert_string_equal(again.adapter, "pirate");
    assert_true(again.adapter_scale == 0.5f);
    assert_int_equal(again.adapter_version, 77);
    assert_string_equal(again.model, "m");
    assert_false(again.loaded_only);
    assert_int_equal(again.deadline_ms, 0);
    told_free(&told);

    begin(1, false, false);
    assert_int_equal(say_started(), TOLD_PASS); /* without one */
    assert_true(told_again(&told));
    told_resume(&told, &again, &resume);
    assert_string_equal(again.adapter, "base");
    assert_int_equal(again.adapter_version, 0);
    told_free(&told);
}

/* A piece that begins before what was told and ends behind it is shortened. */
static void test_a_piece_may_be_old_and_new(void **state)
{
    (void)state;
    begin(1, false, false);
    struct buf heard;
    buf_init(&heard, 4096);
    say_text(GEN_EV_TEXT, 0, 1, "abc", &heard);
    say_text(GEN_EV_REASONING, 0, 2, "think", &heard);
    assert_true(told_again(&told));
    struct gen_event ev = {.type = GEN_EV_TEXT, .text = "abcdef", .text_len = 6};
    assert_int_equal(say(&ev), TOLD_PASS);
    assert_int_equal(ev.text_len, 3);
    assert_string_equal(ev.text, "def");
    ev = (struct gen_event){.type = GEN_EV_REASONING, .text = "thinking", .text_len = 8};
    assert_int_equal(say(&ev), TOLD_PASS); /* counted for itself */
    assert_string_equal(ev.text, "ing");
    told_free(&told);
    buf_free(&heard);
}

static void test_tool_calls_keep_their_first_name(void **state)
{
    (void)state;
    begin(1, false, false);
    struct gen_event first = {.type = GEN_EV_TOOL_CALL}, ev;
    first.tool.id = "call-1";
    first.tool.name = "f";
    first.tool.arguments = "{\"a\":";
    first.tool.arguments_len = 5;
    ev = first;
    assert_int_equal(say(&ev), TOLD_PASS);
    assert_true(told_again(&told));
    ev = first;
    ev.tool.id = "call-2"; /* ids are drawn anew */
    ev.tool.arguments = "{\"a\":1}";
    ev.tool.arguments_len = 7;
    assert_int_equal(say(&ev), TOLD_PASS);
    assert_null(ev.tool.id);
    assert_null(ev.tool.name);
    assert_string_equal(ev.tool.arguments, "1}");
    ev = first;
    ev.tool.index = 1; /* a second call is new */
    assert_int_equal(say(&ev), TOLD_PASS);
    assert_string_equal(ev.tool.id, "call-1");
    told_free(&told);
}

static void test_choices_are_counted_apart(void **state)
{
    (void)state;
    struct gen_resume resume[2];
    struct gen_request again = {.n = 2};
    struct buf heard;
    buf_init(&heard, 4096);
    begin(2, false, true);
    say_text(GEN_EV_TEXT, 0, 1, "left", &heard);
    say_text(GEN_EV_TEXT, 1, 2, "right", &heard);
    assert_int_equal(say_end(1), TOLD_PASS);
    assert_true(told_again(&told));
    told_resume(&told, &again, resume);
    assert_int_equal(resume[0].n_tokens, 1);
    assert_false(resume[0].over);
    assert_true(resume[1].over);
    assert_int_equal(resume[1].finish, FINISH_STOP);
    say_text(GEN_EV_TEXT, 1, 2, "right", &heard);
    assert_int_equal(say_end(1), TOLD_DROP); /* the listener knows */
    say_text(GEN_EV_TEXT, 0, 1, "left", &heard);
    say_text(GEN_EV_TEXT, 0, 3, "over", &heard);
    assert_string_equal(buf_str(&heard), "leftrightover");
    told_free(&told);
    buf_free(&heard);
}

/* Once an answer runs, it does not go back into the queue in anybody's eyes. */
static void test_waiting_again_is_not_told(void **state)
{
    (void)state;
    struct gen_event queued = {.type = GEN_EV_QUEUED}, loading = {.type = GEN_EV_LOADING};
    begin(1, false, false);
    assert_int_equal(say(&queued), TOLD_PASS);
    assert_int_equal(say(&loading), TOLD_PASS);
    say_started();
    assert_true(told_again(&told));
    assert_int_equal(say(&queued), TOLD_DROP);
    assert_int_equal(say(&loading), TOLD_DROP);
    told_free(&told);
}

static void test_log_probabilities_can_only_begin_again(void **state)
{
    (void)state;
    struct buf heard;
    struct gen_resume resume;
    struct gen_request again = {.n = 1};
    buf_init(&heard, 4096);
    begin(1, true, false);
    say_started();
    assert_true(told_again(&told)); /* nothing was told */
    int32_t token = 4;
    struct gen_event ev = {.type = GEN_EV_TOKENS, .tokens = &token, .n_tokens = 1};
    say(&ev);
    assert_true(told_again(&told)); /* tokens without their text */
    told_resume(&told, &again, &resume);
    assert_int_equal(resume.n_tokens, 0);
    say_text(GEN_EV_TEXT, 0, 4, "x", &heard);
    assert_false(told_again(&told));
    told_free(&told);
    buf_free(&heard);
}

/* cached_tokens is what it was when it first started; the first token came when it came. */
static void test_the_numbers_of_the_end(void **state)
{
    (void)state;
    struct buf heard;
    buf_init(&heard, 4096);
    begin(1, false, false);
    say_started();
    say_text(GEN_EV_TEXT, 0, 1, "a", &heard);
    assert_true(told_again(&told));
    say_text(GEN_EV_TEXT, 0, 1, "a", &heard);
    assert_int_equal(say_end(0), TOLD_PASS);
    struct gen_event done = {.type = GEN_EV_DONE,
                             .model = "m",
                             .usage = {.cached_tokens = 77, .completion_tokens = 3},
                             .timings = {.first_token_ns = 1, .decode_tokens = 2}};
    assert_int_equal(say(&done), TOLD_PASS);
    assert_int_equal(done.usage.cached_tokens, 5);
    assert_int_equal(done.timings.decode_tokens, 3);
    assert_true(done.timings.first_token_ns > 1);
    told_free(&told);
    buf_free(&heard);
}

/* As after a death, in the same worker; what it waits for is a pause. */
static void test_a_pause(void **state)
{
    (void)state;
    struct buf heard;
    buf_init(&heard, 4096);
    begin(1, false, false);
    say_started();
    say_text(GEN_EV_TEXT, 0, 1, "a", &heard);
    struct gen_event paused = {.type = GEN_EV_PAUSED, .timings = {.load_ns = 5, .queue_ns = 6}};
    assert_int_equal(say(&paused), TOLD_AGAIN);
    assert_int_equal(say(&paused), TOLD_BAD); /* it has not started again */
    assert_int_equal(say_started(), TOLD_DROP);
    say_text(GEN_EV_TEXT, 0, 1, "a", &heard);
    say_text(GEN_EV_TEXT, 0, 2, "b", &heard);
    paused.timings.load_ns = 99;
    assert_int_equal(say(&paused), TOLD_AGAIN);
    assert_int_equal(say_started(), TOLD_DROP);
    say_text(GEN_EV_TEXT, 0, 1, "ab", &heard);
    say_text(GEN_EV_TEXT, 0, 3, "c", &heard);
    assert_int_equal(say_end(0), TOLD_PASS);
    struct gen_event done = {.type = GEN_EV_DONE,
                             .model = "m",
                             .timings = {.load_ns = 1000, .queue_ns = 1000, .pauses = 1}};
    assert_int_equal(say(&done), TOLD_PASS);
    assert_int_equal(done.timings.load_ns, 5);
    assert_int_equal(done.timings.queue_ns, 6);
    assert_int_equal(done.timings.pauses, 3);
    assert_true(done.timings.paused_ns > 0);
    assert_string_equal(buf_str(&heard), "abc");
    told_free(&told);
    buf_free(&heard);
}

/* What a worker that somebody else steers may say. */
static void test_nonsense_is_refused(void **state)
{
    (void)state;
    struct gen_event ev;
    begin(2, false, false);
    ev = (struct gen_event){.type = GEN_EV_TEXT, .choice = 2, .text = "", .text_len = 0};
    assert_int_equal(say(&ev), TOLD_BAD);
    ev.choice = -1;
    assert_int_equal(say(&ev), TOLD_BAD);
    ev = (struct gen_event){.type = GEN_EV_STARTED};
    assert_int_equal(say(&ev), TOLD_BAD); /* by which model? */
    ev = (struct gen_event){.type = GEN_EV_TOOL_CALL};
    ev.tool.arguments = "";
    assert_int_equal(say(&ev), TOLD_BAD); /* nameless */
    ev.tool.id = ev.tool.name = "x";
    ev.tool.index = 1;
    assert_int_equal(say(&ev), TOLD_BAD); /* the first is 0 */
    ev.tool.index = -1;
    assert_int_equal(say(&ev), TOLD_BAD);
    ev = (struct gen_event){.type = GEN_EV_DONE, .model = "m"};
    assert_int_equal(say(&ev), TOLD_BAD); /* no choice has ended */
    say_end(0);
    ev = (struct gen_event){.type = GEN_EV_TEXT, .text = "more", .text_len = 4};
    assert_int_equal(say(&ev), TOLD_BAD);
    told_free(&told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_cut_anywhere_is_heard_once),
        cmocka_unit_test(test_an_answer_goes_on_with_what_it_began_with),
        cmocka_unit_test(test_a_piece_may_be_old_and_new),
        cmocka_unit_test(test_tool_calls_keep_their_first_name),
        cmocka_unit_test(test_choices_are_counted_apart),
        cmocka_unit_test(test_waiting_again_is_not_told),
        cmocka_unit_test(test_log_probabilities_can_only_begin_again),
        cmocka_unit_test(test_the_numbers_of_the_end),
        cmocka_unit_test(test_a_pause),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
