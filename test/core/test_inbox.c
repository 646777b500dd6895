/* SPDX-License-Identifier: MIT */
/*
 * The inbox: what several threads push comes out once, in the order of each; a sleeping consumer is
 * woken.
 */
#include "../support/support.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/inbox.h"
#include "core/poller.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 4

struct letter {
    struct uco__ready ready;
    int thread;
    int number;
};

struct post_office {
    struct uco__inbox inbox;
    int letters_each;
    atomic_int next_thread;
    atomic_int accepted[THREADS];
    struct letter *letters[THREADS];
    int taken[THREADS];
};

static void
office_open(struct post_office *office, int letters_each)
{
    *office = (struct post_office){.letters_each = letters_each};
    ck_assert_int_eq(uco__inbox_init(&office->inbox), 0);
    for (int i = 0; i < THREADS; i++) {
        office->letters[i] = calloc((size_t) letters_each, sizeof *office->letters[i]);
        ck_assert_ptr_nonnull(office->letters[i]);
    }
}

static void
office_shut(struct post_office *office)
{
    uco__inbox_done(&office->inbox);
    for (int i = 0; i < THREADS; i++)
        free(office->letters[i]);
}

static struct letter *
letter_of(struct uco__ready *node)
{
    return UCO__CONTAINER(node, struct letter, ready);
}

/* Each thread's letters come without a gap: so each once, and in order. */
static unsigned long
office_sort(struct post_office *office, struct uco__ready_queue *queue)
{
    struct uco__ready *node;
    unsigned long n = 0;

    while ((node = uco__ready_queue_pop(queue)) != NULL) {
        const struct letter *letter = letter_of(node);

        if (letter->number != office->taken[letter->thread]++)
            ck_abort_msg("letter %d of thread %d is out of order", letter->number, letter->thread);
        n++;
    }
    return n;
}

static unsigned long
office_take(struct post_office *office)
{
    struct uco__ready_queue queue;
    unsigned long n;

    uco__ready_queue_init(&queue);
    n = uco__inbox_drain(&office->inbox, &queue);
    if (n != office_sort(office, &queue))
        ck_abort_msg("the count is wrong");
    return n;
}

/* Until all are pushed, or the inbox is closed. */
static void *
post_all(void *arg)
{
    struct post_office *office = arg;
    int thread = atomic_fetch_add(&office->next_thread, 1);

    for (int i = 0; i < office->letters_each; i++) {
        struct letter *letter = &office->letters[thread][i];

        *letter = (struct letter){.thread = thread, .number = i};
        if (uco__inbox_push(&office->inbox, &letter->ready) < 0)
            break;
        atomic_fetch_add(&office->accepted[thread], 1);
    }
    return NULL;
}

static void
threads_start(pthread_t threads[THREADS], void *(*fn)(void *), void *arg)
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, arg), 0);
}

static void
threads_join(pthread_t threads[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

START_TEST(each_producers_order_is_kept)
{
    struct post_office office;
    pthread_t threads[THREADS];
    unsigned long taken = 0;

    office_open(&office, scaled(200000));
    threads_start(threads, post_all, &office);
    while (taken < (unsigned long) THREADS * (unsigned long) office.letters_each) {
        taken += office_take(&office);
        sched_yield();
    }
    threads_join(threads);
    ck_assert_uint_eq(office_take(&office), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(office.taken[i], office.letters_each);
    office_shut(&office);
}
END_TEST

START_TEST(draining_appends_to_what_is_queued)
{
    struct letter letters[4] = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    uco__ready_queue_init(&queue);
    ck_assert(uco__inbox_empty(&inbox));
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 0);
    uco__ready_queue_push(&queue, &letters[0].ready);
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(uco__inbox_push(&inbox, &letters[i].ready), 0);
    ck_assert(!uco__inbox_empty(&inbox));
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 3);
    ck_assert(uco__inbox_empty(&inbox));
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_eq(uco__ready_queue_pop(&queue), &letters[i].ready);
    ck_assert_ptr_null(uco__ready_queue_pop(&queue));
    uco__inbox_done(&inbox);
}
END_TEST

/* --- closing --- */

START_TEST(a_closed_inbox_gives_out_what_it_accepted_and_refuses_the_rest)
{
    struct letter letters[3] = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    uco__ready_queue_init(&queue);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[0].ready), 0);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[1].ready), 0);
    ck_assert_uint_eq(uco__inbox_close(&inbox, &queue), 2);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[2].ready), -ESHUTDOWN);
    ck_assert_uint_eq(uco__inbox_close(&inbox, &queue), 0);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[2].ready), -ESHUTDOWN);
    ck_assert_ptr_eq(uco__ready_queue_pop(&queue), &letters[0].ready);
    ck_assert_ptr_eq(uco__ready_queue_pop(&queue), &letters[1].ready);
    ck_assert_ptr_null(uco__ready_queue_pop(&queue));
    uco__inbox_done(&inbox);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[2].ready), -ESHUTDOWN);
}
END_TEST

START_TEST(a_closed_inbox_stays_closed_when_it_is_drained)
{
    struct letter letter = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    uco__ready_queue_init(&queue);
    ck_assert_uint_eq(uco__inbox_close(&inbox, &queue), 0);
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 0);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letter.ready), -ESHUTDOWN);
    uco__inbox_done(&inbox);
}
END_TEST

/* What was accepted is taken exactly once, wherever the close falls. */
START_TEST(closing_under_way_loses_and_doubles_nothing)
{
    for (int round = 0; round < scaled(300); round++) {
        struct uco__ready_queue queue;
        struct post_office office;
        pthread_t threads[THREADS];

        office_open(&office, 1000);
        uco__ready_queue_init(&queue);
        threads_start(threads, post_all, &office);
        for (int i = 0; i < round % 20; i++)
            office_take(&office);
        uco__inbox_close(&office.inbox, &queue);
        office_sort(&office, &queue);
        threads_join(threads);
        for (int i = 0; i < THREADS; i++) {
            if (office.taken[i] != atomic_load(&office.accepted[i]))
                ck_abort_msg("%d of %d", office.taken[i], atomic_load(&office.accepted[i]));
        }
        office_shut(&office);
    }
}
END_TEST

struct ringer {
    struct uco__inbox inbox;
    atomic_bool stop;
    atomic_long rung;
};

static void *
ring_on(void *arg)
{
    struct ringer *ringer = arg;

    while (!atomic_load(&ringer->stop)) {
        if (uco__inbox_ring(&ringer->inbox) == 0)
            atomic_fetch_add(&ringer->rung, 1);
    }
    return NULL;
}

/* The number of the doorbell goes to another eventfd at once, and nobody may ring that. Nor do
 * those who go on ringing keep the inbox from being done. */
START_TEST(nobody_rings_a_doorbell_that_is_closed)
{
    for (int round = 0; round < 20; round++) {
        struct ringer ringer = {.rung = 0};
        struct uco__ready_queue queue;
        pthread_t threads[THREADS];
        int doorbell, other;

        ck_assert_int_eq(uco__inbox_init(&ringer.inbox), 0);
        doorbell = ringer.inbox.doorbell;
        threads_start(threads, ring_on, &ringer);
        while (atomic_load(&ringer.rung) < round * 10)
            sched_yield();
        uco__ready_queue_init(&queue);
        uco__inbox_close(&ringer.inbox, &queue);
        uco__inbox_done(&ringer.inbox);
        other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ck_assert_int_eq(other, doorbell);
        ck_assert_int_eq(uco__inbox_ring(&ringer.inbox), -ESHUTDOWN);
        atomic_store(&ringer.stop, true);
        threads_join(threads);
        ck_assert_int_eq(uco__poll_now(other, POLLIN), 0);
        ck_assert_int_eq(uco__close(other), 0);
    }
}
END_TEST

START_TEST(an_inbox_without_a_doorbell_is_an_error)
{
    struct uco__inbox inbox;

    ck_assert_int_eq(uco_test_fail("eventfd", 1, false, EMFILE), 0);
    ck_assert_int_eq(uco__inbox_init(&inbox), -EMFILE);
}
END_TEST

/* --- sleeping --- */

static bool
rings(struct uco__inbox *inbox)
{
    return uco__poll_now(inbox->doorbell, POLLIN) == POLLIN;
}

START_TEST(only_a_sleeper_is_rung_and_only_once)
{
    struct letter letters[4] = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;
    uint64_t count;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    uco__ready_queue_init(&queue);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letters[0].ready), 0);
    ck_assert(!rings(&inbox));
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 1);
    ck_assert(uco__inbox_sleep(&inbox));
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(uco__inbox_push(&inbox, &letters[i].ready), 0);
    ck_assert_int_eq(read(inbox.doorbell, &count, sizeof count), sizeof count);
    ck_assert_uint_eq(count, 1);
    uco__inbox_awake(&inbox);
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 3);
    uco__inbox_done(&inbox);
}
END_TEST

START_TEST(nobody_falls_asleep_over_a_letter)
{
    struct letter letter = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    uco__ready_queue_init(&queue);
    ck_assert_int_eq(uco__inbox_push(&inbox, &letter.ready), 0);
    ck_assert(!uco__inbox_sleep(&inbox));
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 1);
    ck_assert(uco__inbox_sleep(&inbox));
    uco__inbox_awake(&inbox);
    uco__inbox_wake(&inbox);
    ck_assert(!rings(&inbox));
    ck_assert_int_eq(uco__inbox_ring(&inbox), 0);
    ck_assert(rings(&inbox));
    uco__inbox_done(&inbox);
}
END_TEST

/* The counter can take no more: it is not waited for, and the sleeper sees it all the same. */
START_TEST(a_full_doorbell_still_wakes)
{
    const uint64_t full = UINT64_MAX - 1;
    struct letter letter = {0};
    struct uco__ready_queue queue;
    struct uco__inbox inbox;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    ck_assert_int_eq(write(inbox.doorbell, &full, sizeof full), sizeof full);
    ck_assert(uco__inbox_sleep(&inbox));
    errno = EXFULL;
    ck_assert_int_eq(uco__inbox_push(&inbox, &letter.ready), 0);
    ck_assert_int_eq(uco__inbox_ring(&inbox), 0);
    ck_assert_int_eq(errno, EXFULL);
    ck_assert(rings(&inbox));
    uco__ready_queue_init(&queue);
    ck_assert_uint_eq(uco__inbox_drain(&inbox, &queue), 1);
    uco__inbox_done(&inbox);
}
END_TEST

/* Not at each wake-up: the poller tells of the next ring also without. */
START_TEST(the_doorbell_is_read_now_and_then)
{
    struct uco__inbox inbox;
    int wakes = 0;

    ck_assert_int_eq(uco__inbox_init(&inbox), 0);
    do {
        ck_assert_int_eq(uco__inbox_ring(&inbox), 0);
        uco__inbox_answer(&inbox);
        wakes++;
    } while (rings(&inbox) && wakes < 100000);
    ck_assert(!rings(&inbox));
    ck_assert_int_ge(wakes, 100);
    uco__inbox_done(&inbox);
}
END_TEST

/* Each producer posts its next letter only when the one before was answered, so that the consumer
 * goes to sleep all the time, and one wake-up that is lost stops everything. */
struct exchange {
    struct post_office office;
    struct uco__ready_queue ready; /* stays empty */
    struct uco__poller poller;
    atomic_int answered[THREADS];
    int producers;
};

static void *
post_and_wait(void *arg)
{
    struct exchange *exchange = arg;
    struct post_office *office = &exchange->office;
    int thread = atomic_fetch_add(&office->next_thread, 1);

    for (int i = 0; i < office->letters_each; i++) {
        struct letter *letter = &office->letters[thread][i];

        *letter = (struct letter){.thread = thread, .number = i};
        if (uco__inbox_push(&office->inbox, &letter->ready) < 0)
            break;
        for (int spins = 0; atomic_load(&exchange->answered[thread]) <= i; spins++) {
            if (spins > 200)
                sched_yield();
        }
    }
    return NULL;
}

static void
exchange_sleep(struct exchange *exchange)
{
    struct uco__inbox *inbox = &exchange->office.inbox;
    bool asleep = uco__inbox_sleep(inbox);
    int r = uco__poller_poll(&exchange->poller, asleep ? 10 * UCO__SECOND : 0);

    if (asleep && r != 1)
        ck_abort_msg("a wake-up was lost");
    if (r == 1)
        uco__inbox_answer(inbox);
    uco__inbox_awake(inbox);
}

static void
exchange_answer(struct exchange *exchange)
{
    office_take(&exchange->office);
    for (int i = 0; i < exchange->producers; i++)
        atomic_store(&exchange->answered[i], exchange->office.taken[i]);
}

/* _i: the number of producers. */
START_TEST(no_wake_up_is_lost)
{
    struct exchange exchange = {.producers = _i};
    pthread_t threads[THREADS];
    int rounds = scaled(100000);
    int done = 0;

    storm_stop();
    office_open(&exchange.office, rounds / _i);
    uco__ready_queue_init(&exchange.ready);
    ck_assert_int_eq(uco__poller_init(&exchange.poller, &uco__poller_epoll,
                                      exchange.office.inbox.doorbell, &exchange.ready),
                     0);
    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_and_wait, &exchange), 0);
    while (done < _i) {
        exchange_sleep(&exchange);
        exchange_answer(&exchange);
        done = 0;
        for (int i = 0; i < _i; i++)
            done += exchange.office.taken[i] == exchange.office.letters_each;
    }
    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    uco__poller_done(&exchange.poller);
    office_shut(&exchange.office);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("inbox");
    TCase *tc = case_new(suite, "order");

    tcase_add_test(tc, each_producers_order_is_kept);
    tcase_add_test(tc, draining_appends_to_what_is_queued);

    tc = case_new(suite, "closing");
    tcase_add_test(tc, a_closed_inbox_gives_out_what_it_accepted_and_refuses_the_rest);
    tcase_add_test(tc, a_closed_inbox_stays_closed_when_it_is_drained);
    tcase_add_test(tc, closing_under_way_loses_and_doubles_nothing);
    tcase_add_test(tc, nobody_rings_a_doorbell_that_is_closed);
    tcase_add_test(tc, an_inbox_without_a_doorbell_is_an_error);

    tc = case_new(suite, "sleeping");
    tcase_add_test(tc, only_a_sleeper_is_rung_and_only_once);
    tcase_add_test(tc, nobody_falls_asleep_over_a_letter);
    tcase_add_test(tc, a_full_doorbell_still_wakes);
    tcase_add_test(tc, the_doorbell_is_read_now_and_then);
    tcase_add_loop_test(tc, no_wake_up_is_lost, 1, THREADS + 1);
    return suite_end(suite);
}
