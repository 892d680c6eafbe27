/* The blocking dequeue: a consumer that owns the queue and sleeps in its mailbox, as the engine
 * thread does (docs/decisions/0011). Producers on other threads send and take back; nothing is
 * lost, nothing comes twice, the most important of what is there comes first, and a time-out is
 * one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "sched/queue.h"

enum { PRODUCERS = 4, EACH = 5000 };

struct job {
    struct mail mail;
    struct queue_entry entry;
    struct job *cancels; /* takes that one back, if it is still there */
    int32_t priority;
    const char *tenant;
    int taken;
};

struct consumer {
    struct mailbox *inbox;
    struct queue queue;
    int heard, taken, cancelled;
};

static void hear(struct consumer *c, int64_t timeout_ms)
{
    struct mail *next, *m = mailbox_receive(c->inbox, timeout_ms);
    for (; m; m = next) {
        next = m->next;
        struct job *job = container_of(m, struct job, mail);
        c->heard++;
        if (job->cancels) {
            c->cancelled += job->cancels->entry.queued;
            queue_remove(&c->queue, &job->cancels->entry);
            continue;
        }
        queue_push(&c->queue, &job->entry,
                   &(struct queue_item){.tenant = job->tenant,
                                        .priority = job->priority,
                                        .cost = 10,
                                        .arrived_ms = clock_mono_ms()});
    }
}

/* The next entry; NULL when none came in that time. What has arrived is looked at first, so that
 * something more important passes what waits. */
static struct job *dequeue(struct consumer *c, int64_t timeout_ms)
{
    hear(c, c->queue.length ? 0 : timeout_ms);
    struct queue_entry *e = queue_first(&c->queue);
    if (!e) return NULL;
    queue_take(&c->queue, e, clock_mono_ms());
    c->taken++;
    return container_of(e, struct job, entry);
}

static void consumer_open(struct consumer *c)
{
    *c = (struct consumer){.inbox = mailbox_new()};
    queue_init(&c->queue, 1000);
}

static void consumer_close(struct consumer *c)
{
    queue_free(&c->queue);
    mailbox_free(c->inbox);
}

static void send(struct consumer *c, struct job *job)
{
    mailbox_send(c->inbox, &job->mail);
}

static void test_a_time_out_is_kept(void **state)
{
    (void)state;
    struct consumer c;
    consumer_open(&c);
    assert_null(dequeue(&c, 0));
    int64_t before = clock_mono_ms();
    assert_null(dequeue(&c, 50));
    int64_t waited = clock_mono_ms() - before;
    assert_true(waited >= 50 && waited < 5000);
    consumer_close(&c);
}

static void *send_soon(void *arg)
{
    struct consumer *c = arg;
    static struct job job = {.tenant = "t"};
    struct timespec t = {0, 30000000};
    nanosleep(&t, NULL);
    job.entry.queued = false;
    send(c, &job);
    return NULL;
}

static void test_an_arrival_ends_the_wait(void **state)
{
    (void)state;
    struct consumer c;
    pthread_t thread;
    struct error error;
    consumer_open(&c);
    assert_int_equal(thread_start(&thread, "sender", send_soon, &c, &error), OK);
    int64_t before = clock_mono_ms();
    assert_non_null(dequeue(&c, 20000));
    assert_true(clock_mono_ms() - before < 10000);
    thread_join(thread);
    consumer_close(&c);
}

static void test_the_most_important_of_what_has_arrived(void **state)
{
    (void)state;
    struct consumer c;
    struct job jobs[3] = {{.priority = 50, .tenant = "t"},
                          {.priority = 90, .tenant = "t"},
                          {.priority = 10, .tenant = "t"}};
    consumer_open(&c);
    for (int i = 0; i < 3; i++) send(&c, &jobs[i]);
    assert_ptr_equal(dequeue(&c, 1000), &jobs[2]);
    struct job late = {.priority = 5, .tenant = "t"};
    send(&c, &late);
    assert_ptr_equal(dequeue(&c, 1000), &late);
    assert_ptr_equal(dequeue(&c, 1000), &jobs[0]);
    assert_ptr_equal(dequeue(&c, 1000), &jobs[1]);
    assert_null(dequeue(&c, 0));
    consumer_close(&c);
}

struct producer {
    struct consumer *consumer;
    struct job *jobs, *cancels;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < EACH; i++) {
        send(p->consumer, &p->jobs[i]);
        if (i % 3 == 0) send(p->consumer, &p->cancels[i]);
    }
    return NULL;
}

static void test_many_producers_and_cancellations(void **state)
{
    (void)state;
    static struct job jobs[PRODUCERS][EACH], cancels[PRODUCERS][EACH];
    static const char *const tenants[PRODUCERS] = {"a", "b", "c", "d"};
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    struct consumer c;
    struct error error;
    int expected = 0;
    consumer_open(&c);
    for (int p = 0; p < PRODUCERS; p++) {
        for (int i = 0; i < EACH; i++) {
            jobs[p][i] = (struct job){.priority = (i * 7 + p) % 101, .tenant = tenants[p]};
            cancels[p][i] = (struct job){.cancels = &jobs[p][i]};
            expected += 1 + (i % 3 == 0);
        }
        producers[p] = (struct producer){&c, jobs[p], cancels[p]};
        assert_int_equal(thread_start(&threads[p], "producer", produce, &producers[p], &error), OK);
    }
    while (c.heard < expected || c.queue.length) {
        struct job *job = dequeue(&c, 20000);
        assert_true(job || c.heard == expected || c.queue.length == 0);
        if (job) job->taken++;
    }
    for (int p = 0; p < PRODUCERS; p++) thread_join(threads[p]);
    assert_int_equal(c.taken + c.cancelled, PRODUCERS * EACH);
    for (int p = 0; p < PRODUCERS; p++)
        for (int i = 0; i < EACH; i++) {
            assert_in_range(jobs[p][i].taken, 0, 1);
            if (i % 3) assert_int_equal(jobs[p][i].taken, 1);
        }
    consumer_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_time_out_is_kept),
        cmocka_unit_test(test_an_arrival_ends_the_wait),
        cmocka_unit_test(test_the_most_important_of_what_has_arrived),
        cmocka_unit_test(test_many_producers_and_cancellations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
