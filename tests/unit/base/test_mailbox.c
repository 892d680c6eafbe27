/* Mailbox: order, waiting, waking; many senders (for TSan). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/mem.h"

struct item {
    struct mail mail;
    int sender, n;
};

static struct item *item_of(struct mail *m)
{
    return container_of(m, struct item, mail);
}

static void test_messages_come_in_order_all_at_once(void **state)
{
    (void)state;
    struct mailbox *mb = mailbox_new();
    assert_null(mailbox_receive(mb, 0));
    struct item items[5] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
    for (int i = 0; i < 5; i++) mailbox_send(mb, &items[i].mail);
    struct mail *m = mailbox_receive(mb, 0);
    for (int i = 0; i < 5; i++, m = m->next) {
        assert_non_null(m);
        assert_int_equal(item_of(m)->n, i);
    }
    assert_null(m);
    assert_null(mailbox_receive(mb, 0));
    mailbox_free(mb);
    mailbox_free(NULL);
}

static void test_timeout_is_kept(void **state)
{
    (void)state;
    struct mailbox *mb = mailbox_new();
    int64_t start = clock_mono_ms();
    assert_null(mailbox_receive(mb, 50));
    int64_t took = clock_mono_ms() - start;
    assert_true(took >= 49 && took < 5000);
    mailbox_free(mb);
}

static void test_wake_counts_once_and_before_the_wait_too(void **state)
{
    (void)state;
    struct mailbox *mb = mailbox_new();
    mailbox_wake(mb);
    mailbox_wake(mb);
    assert_null(mailbox_receive(mb, -1)); /* would hang, were the wake lost */
    int64_t start = clock_mono_ms();
    assert_null(mailbox_receive(mb, 30));
    assert_true(clock_mono_ms() - start >= 29);
    struct item item = {.n = 1};
    mailbox_wake(mb);
    mailbox_send(mb, &item.mail);
    assert_ptr_equal(mailbox_receive(mb, -1), &item.mail);
    mailbox_free(mb);
}

static void *wake_later(void *mb)
{
    usleep(30000);
    mailbox_wake(mb);
    return NULL;
}

static void test_wake_ends_a_wait(void **state)
{
    (void)state;
    struct mailbox *mb = mailbox_new();
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wake_later, mb), 0);
    assert_null(mailbox_receive(mb, -1));
    pthread_join(t, NULL);
    mailbox_free(mb);
}

enum { SENDERS = 4, EACH = 5000 };

struct sender {
    struct mailbox *mb;
    int id;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++) {
        struct item *item = xmalloc(sizeof *item);
        *item = (struct item){.sender = s->id, .n = i};
        mailbox_send(s->mb, &item->mail);
        if (i % 500 == 0) usleep(1000); /* so that the receiver falls asleep now and then */
    }
    return NULL;
}

static void test_many_senders_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    struct mailbox *mb = mailbox_new();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){mb, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    int next[SENDERS] = {0}, total = 0;
    while (total < SENDERS * EACH) {
        struct mail *m = mailbox_receive(mb, -1);
        assert_non_null(m); /* nobody wakes without a message */
        for (struct mail *following; m; m = following) {
            following = m->next;
            struct item *item = item_of(m);
            assert_int_equal(item->n, next[item->sender]++);
            total++;
            free(item);
        }
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    assert_null(mailbox_receive(mb, 0));
    mailbox_free(mb);
}

struct ping {
    struct mailbox *there, *back;
};

static void *answer(void *arg)
{
    struct ping *p = arg;
    for (int i = 0; i < 2000; i++) {
        struct mail *m = mailbox_receive(p->there, -1);
        if (!m) return p;
        mailbox_send(p->back, m);
    }
    return NULL;
}

/* Both sides sleep before every message: a lost wake-up hangs here (and ctest ends it). */
static void test_ping_pong_never_hangs(void **state)
{
    (void)state;
    struct ping p = {mailbox_new(), mailbox_new()};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, answer, &p), 0);
    struct item item = {.n = 0};
    for (int i = 0; i < 2000; i++) {
        mailbox_send(p.there, &item.mail);
        assert_ptr_equal(mailbox_receive(p.back, -1), &item.mail);
    }
    void *result;
    pthread_join(t, &result);
    assert_null(result);
    mailbox_free(p.there);
    mailbox_free(p.back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_in_order_all_at_once),
        cmocka_unit_test(test_timeout_is_kept),
        cmocka_unit_test(test_wake_counts_once_and_before_the_wait_too),
        cmocka_unit_test(test_wake_ends_a_wait),
        cmocka_unit_test(test_many_senders_lose_nothing_and_keep_their_order),
        cmocka_unit_test(test_ping_pong_never_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
