/* SPDX-License-Identifier: MIT */

/*
 * Many look-ups at once: who shares one, who waits for a thread, and who leaves before the answer.
 */

#include "io/resolver.h"

enum { MANY = 200, THREADS = 16 };

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

/* Occupies all threads, with names that end in A, B ... */
static const char *const gates[THREADS] = {
    "gate-A", "gate-B", "gate-C", "gate-D", "gate-E", "gate-F", "gate-G", "gate-H",
    "gate-I", "gate-J", "gate-K", "gate-L", "gate-M", "gate-N", "gate-O", "gate-P"};

static void
hang(uco_task *tasks[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        tasks[i] = asking(gates[i]);
    resolver_await(THREADS);
}

static void
join_all(uco_task *tasks[], int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
}

static void
leave_behind(uco_task *task)
{
    ck_assert_int_eq(uco_detach(task), 0);
    uco_unref(task);
}

static void
cancel_all(uco_task *tasks[], int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(uco_join(tasks[i]), -ECANCELED);
}

/* Sharing */

static struct addrinfo *lists[MANY];

static intptr_t
takes_a_list(void *place)
{
    return uco_getaddrinfo("gate", "80", NULL, place);
}

static intptr_t
many_ask_the_same(void *arg)
{
    uco_task *tasks[MANY];

    (void) arg;
    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(takes_a_list, &lists[i]);
    settle();
    resolver_open(1);
    join_all(tasks, MANY);
    for (int i = 0; i < MANY; i++)
        lists[i]->ai_family = AF_UNSPEC + i; /* nobody else's */
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(lists[i]->ai_family, AF_UNSPEC + i);
        uco_freeaddrinfo(lists[i]);
    }
    return 0;
}

START_TEST(who_asks_the_same_shares_a_look_up_and_has_a_list_of_its_own)
{
    ck_assert_int_eq(run_virtual(many_ask_the_same, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1);
}
END_TEST

static intptr_t
many_ask_for_what_fails(void *arg)
{
    uco_task *tasks[MANY];

    (void) arg;
    for (int i = 0; i < MANY; i++)
        tasks[i] = asking("gate-code4");
    settle();
    resolver_open(1);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(uco_join(tasks[i]), -EIO);
    return 0;
}

START_TEST(who_shares_a_look_up_shares_its_error)
{
    ck_assert_int_eq(run_virtual(many_ask_for_what_fails, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1);
}
END_TEST

struct ask {
    const char *node;
    const char *service;
    const struct addrinfo *hints;
};

static intptr_t
asks(void *arg)
{
    const struct ask *ask = arg;
    struct addrinfo *list;
    int r = uco_getaddrinfo(ask->node, ask->service, ask->hints, &list);

    return r < 0 ? r : (intptr_t) list_take(list);
}

static const struct addrinfo hints[] = {
    {0},
    {.ai_flags = AI_PASSIVE},
    {.ai_family = AF_INET},
    {.ai_socktype = SOCK_DGRAM},
    {.ai_protocol = IPPROTO_TCP},
};

static const struct ask different[] = {
    {"gate", NULL, &hints[0]},  {"gate", "80", &hints[0]},  {"gate", "81", &hints[0]},
    {"gate2", NULL, &hints[0]}, {"gate3", NULL, &hints[0]}, {"gate", NULL, NULL},
    {"gate", NULL, &hints[1]},  {"gate", NULL, &hints[2]},  {"gate", NULL, &hints[3]},
    {"gate", NULL, &hints[4]},
};

static intptr_t
ask_what_differs(void *arg)
{
    uco_task *tasks[2 * COUNT(different)];
    int n = COUNT(different);

    (void) arg;
    for (int i = 0; i < 2 * n; i++)
        tasks[i] = uco_create_task(asks, (void *) (uintptr_t) &different[i % n]);
    resolver_open(n);
    for (int i = 0; i < 2 * n; i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0x7f030001);
    return 0;
}

START_TEST(what_differs_in_anything_is_asked_apart)
{
    ck_assert_int_eq(run_virtual(ask_what_differs, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), COUNT(different));
}
END_TEST

static char numbered[10][16];

static intptr_t
finds_a_number(void *arg)
{
    intptr_t number = (intptr_t) arg;
    struct addrinfo *list;

    ck_assert_int_eq(uco_getaddrinfo(numbered[number], NULL, NULL, &list), 0);
    return list_take(list) == 0x7f010000 + (uint32_t) number ? 0 : -EBADMSG;
}

static intptr_t
many_ask_for_some(void *arg)
{
    uco_task *tasks[MANY];

    (void) arg;
    for (int i = 0; i < 10; i++)
        snprintf(numbered[i], sizeof numbered[i], "n%d", i);
    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(finds_a_number, (void *) (intptr_t) (i % 10));
    join_all(tasks, MANY);
    return 0;
}

START_TEST(each_of_many_gets_what_it_asked_for)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        ck_assert_int_eq(run_seeded(seed, many_ask_for_some, NULL), 0);
    ck_assert_int_le(atomic_load(&resolver.most), THREADS);
}
END_TEST

static struct trace order;

static intptr_t
notes_its_turn(void *letter)
{
    ck_assert_int_eq(find("gate"), 0);
    trace_add(&order, (char) (intptr_t) letter);
    return 0;
}

static intptr_t
three_ask_in_order(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    for (int i = 0; i < 3; i++) {
        tasks[i] = uco_create_task(notes_its_turn, (void *) (intptr_t) ('a' + i));
        settle();
    }
    resolver_open(1);
    join_all(tasks, 3);
    return 0;
}

START_TEST(who_shares_a_look_up_goes_on_in_order)
{
    ck_assert_int_eq(run_fifo(three_ask_in_order, NULL), 0);
    ck_assert_str_eq(order.text, "abc");
}
END_TEST

/* Threads */

static intptr_t
many_ask_for_what_hangs(void *arg)
{
    static char names[MANY][16];
    uco_task *tasks[MANY];
    int threads;

    (void) arg;
    ck_assert_int_eq(find("n1"), 0);
    threads = count_threads(); /* with the first of them */
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "gate%d", i);
        tasks[i] = asking(names[i]);
    }
    resolver_await(THREADS);
    settle();
    ck_assert_int_eq(count_threads() - threads, THREADS - 1);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1 + THREADS);
    ck_assert_uint_eq(stats_here().pool_threads, 0);
    resolver_open(MANY);
    join_all(tasks, MANY);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1 + MANY);
    ck_assert_int_eq(atomic_load(&resolver.most), THREADS);
    return 0;
}

START_TEST(no_more_than_sixteen_threads_look_up)
{
    ck_assert_int_eq(run_virtual(many_ask_for_what_hangs, NULL), 0);
}
END_TEST

static intptr_t
works_beside_what_hangs(void *arg)
{
    uco_task *hanging[THREADS];
    struct addrinfo *list;

    (void) arg;
    hang(hanging);
    ck_assert_int_eq(uco_to_thread(body_return, (void *) 5), 5);
    ck_assert_int_eq(find("some.invalid"), -ENOENT);
    ck_assert_int_eq(uco_getaddrinfo(NULL, "80", NULL, &list), 0);
    uco_freeaddrinfo(list);
    resolver_open(THREADS);
    join_all(hanging, THREADS);
    return 0;
}

START_TEST(look_ups_that_hang_are_in_no_ones_way_but_each_others)
{
    ck_assert_int_eq(run_virtual(works_beside_what_hangs, NULL), 0);
}
END_TEST

static intptr_t
queues(void *arg)
{
    static const char *const names[] = {"n1-a", "n1-b", "n1-c", "n1-d", "n1-e"};
    uco_task *hanging[THREADS], *queued[COUNT(names)];

    (void) arg;
    hang(hanging);
    for (size_t i = 0; i < COUNT(names); i++) {
        queued[i] = asking(names[i]);
        settle();
    }
    resolver_open(1); /* one thread serves them all */
    join_all(queued, COUNT(names));
    resolver_open(THREADS - 1);
    join_all(hanging, THREADS);
    ck_assert_str_eq(resolver.asked + THREADS, "abcde");
    return 0;
}

START_TEST(look_ups_without_a_thread_queue_in_order)
{
    ck_assert_int_eq(run_virtual(queues, NULL), 0);
}
END_TEST

/* Leaving */

static intptr_t
leaves_what_hangs(void *arg)
{
    uco_task *first = asking("gate"), *second = asking("gate");

    (void) arg;
    resolver_await(1);
    cancel_all(&first, 1);
    settle();
    ck_assert(!uco_done(second));
    resolver_open(1);
    return uco_join(second);
}

START_TEST(one_that_is_cancelled_leaves_the_others)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        ck_assert_int_eq(run_seeded(seed, leaves_what_hangs, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 20);
}
END_TEST

static intptr_t
comes_back(void *arg)
{
    uco_task *task = asking("gate");

    (void) arg;
    resolver_await(1);
    for (int i = 0; i < 10; i++) {
        cancel_all(&task, 1);
        task = asking("gate");
        settle();
    }
    resolver_open(1);
    return uco_join(task);
}

START_TEST(one_that_all_have_left_serves_who_asks_again)
{
    ck_assert_int_eq(run_virtual(comes_back, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1);
}
END_TEST

static intptr_t
leaves_the_queue(void *arg)
{
    uco_task *hanging[THREADS], *queued[3];

    (void) arg;
    hang(hanging);
    queued[0] = asking("n1-x");
    queued[1] = asking("n1-x");
    queued[2] = asking("n1-y");
    settle();
    cancel_all(&queued[0], 1); /* its companion stays */
    cancel_all(&queued[2], 1);
    queued[2] = asking("n1-z");
    settle();
    ck_assert_int_eq(uco_cancel(queued[2]), 0);
    resolver_open(1);                  /* one thread serves all that is queued */
    ck_assert_int_eq(find("n1-z"), 0); /* not the one that has just been taken back */
    ck_assert_int_eq(uco_join(queued[2]), -ECANCELED);
    join_all(&queued[1], 1);
    resolver_open(THREADS - 1);
    join_all(hanging, THREADS);
    ck_assert_str_eq(resolver.asked + THREADS, "xz");
    return 0;
}

START_TEST(one_that_all_have_left_before_it_began_is_never_asked)
{
    ck_assert_int_eq(run_virtual(leaves_the_queue, NULL), 0);
}
END_TEST

static intptr_t
asks_in_a_cancelled_scope(void *arg)
{
    struct addrinfo *list;

    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(find("n1"), -ECANCELED);
    ck_assert_int_eq(uco_gai_error(), EAI_CANCELED);
    ck_assert_int_eq(uco_getaddrinfo(NULL, "80", NULL, &list), -ECANCELED);
    return 0;
}

START_TEST(in_a_cancelled_scope_nothing_is_asked)
{
    ck_assert_int_eq(run_virtual(asks_in_a_cancelled_scope, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 0);
}
END_TEST

static intptr_t
times_out(void *arg)
{
    static char hanging[] = "gate";

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(0.005, look_up, hanging), -ETIMEDOUT);
    ck_assert_int_eq(uco_gai_error(), EAI_CANCELED);
    return 0;
}

START_TEST(a_deadline_ends_the_wait_for_what_hangs)
{
    ck_assert_int_eq(run_real(times_out, NULL), 0);
    resolver_open(1);
    resolver_drain();
}
END_TEST

static intptr_t
sleeps_beside_what_hangs(void *arg)
{
    uco_task *task = asking("gate"), *sleeper;

    (void) arg;
    resolver_await(1);
    cancel_all(&task, 1);
    ck_assert_int_eq(uco_sleep(1000), 0); /* nobody waits for an answer: the clock may jump */
    task = asking("gate");
    sleeper = uco_create_task(body_sleep_1s, NULL);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(uco_yield(), 0);
    resolver_open(1);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert(!uco_done(sleeper)); /* somebody did */
    return uco_join(sleeper);
}

START_TEST(a_virtual_clock_stands_still_for_those_who_are_waited_for)
{
    ck_assert_int_eq(run_virtual(sleeps_beside_what_hangs, NULL), 0);
}
END_TEST

/*
 * A cancellation meets the answer: before it, on its way, after it has arrived and before its
 * caller has run. What was given is given, and nothing is lost.
 */
static intptr_t
races(void *arg)
{
    for (int i = 0; i < scaled(2000); i++) {
        uco_task *task = uco_create_task(asks, &(struct ask){"n1", NULL, NULL});
        intptr_t r;

        for (int turns = i % 40; turns > 0; turns--)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(task);
        r = uco_join(task);
        ck_assert(r == 0x7f010001 || r == -ECANCELED);
    }
    return (intptr_t) arg;
}

START_TEST(a_cancellation_that_meets_the_answer_loses_nothing)
{
    ck_assert_int_eq(run_seeded(0, races, NULL), 0);
    ck_assert_int_eq(run_seeded(7, races, NULL), 0);
    resolver_drain();
}
END_TEST

/* The end of the loop */

static intptr_t
ends_beside_what_hangs(void *arg)
{
    static char names[MANY][16];
    uco_task *forgotten = asking("gate-X");

    (void) arg;
    resolver_await(1);
    cancel_all(&forgotten, 1);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "gate%d", i / 2);
        leave_behind(asking(names[i]));
    }
    resolver_await(THREADS - 1);
    return 0;
}

START_TEST(a_loop_closes_while_look_ups_hang)
{
    ck_assert_int_eq(run_virtual(ends_beside_what_hangs, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), THREADS);
    resolver_open(THREADS);
    resolver_drain();
}
END_TEST

static intptr_t
ends_before_an_answer(void *arg)
{
    (void) arg;
    leave_behind(asking("gate-slow"));
    leave_behind(asking("gate-slow2"));
    resolver_await(2);
    resolver_open(2);
    return 0;
}

/* The answers come while the loop closes, or a moment later, and find nobody. */
START_TEST(a_loop_closes_while_answers_come)
{
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(run_virtual(ends_before_an_answer, NULL), 0);
    resolver_drain();
}
END_TEST

static intptr_t
ends_in_the_middle(void *arg)
{
    static char names[20][16];

    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        leave_behind(asking(names[i]));
    }
    for (intptr_t turns = (intptr_t) arg; turns > 0; turns--)
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

START_TEST(a_loop_closes_in_any_moment_of_a_look_up)
{
    for (intptr_t i = 0; i < scaled(400); i++)
        ck_assert_int_eq(run_seeded((uint64_t) i % 5, ends_in_the_middle, (void *) (i % 50)), 0);
    resolver_drain();
}
END_TEST

static void
resolver_open_here(void *arg)
{
    (void) arg;
    resolver_open(1);
}

static intptr_t
cleans_up(void *arg)
{
    uco_scope shield;

    ck_assert_int_eq(find("gate"), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, 10), 0);
    uco_loop_call_soon(uco_get_running_loop(), resolver_open_here, NULL);
    *(intptr_t *) arg = find("gate");
    return uco_scope_close(&shield, 0);
}

static intptr_t
leaves_one_that_cleans_up(void *result)
{
    leave_behind(uco_create_task(cleans_up, result));
    resolver_await(1);
    return 0;
}

START_TEST(a_closing_loop_still_looks_up_for_those_who_clean_up)
{
    intptr_t result = -1;

    ck_assert_int_eq(run_virtual(leaves_one_that_cleans_up, &result), 0);
    ck_assert_int_eq(result, 0);
}
END_TEST

START_TEST(loops_in_several_threads_look_up_for_themselves)
{
    static char gate[] = "gate";
    uco_loop_thread *threads[3];
    uco_task *tasks[3];

    for (int i = 0; i < 3; i++) {
        threads[i] = uco_loop_thread_start(NULL);
        tasks[i] = uco_run_coroutine_threadsafe(uco_loop_thread_loop(threads[i]), look_up, gate);
    }
    for (int i = 0; i < 3; i++)
        sem_wait(&resolver.begun); /* each loop asks */
    resolver_open(3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_future_wait(tasks[i], UCO_FOREVER), 0);
        uco_unref(tasks[i]);
        ck_assert_int_eq(uco_loop_thread_stop(threads[i]), 0);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("shared name look-ups");
    TCase *sharing = case_new(suite, "sharing");
    TCase *threads = case_new(suite, "threads");
    TCase *leaving = case_new(suite, "leaving");
    TCase *end = case_new(suite, "the end of the loop");

    tcase_add_checked_fixture(sharing, resolver_reset, NULL);
    tcase_add_test(sharing, who_asks_the_same_shares_a_look_up_and_has_a_list_of_its_own);
    tcase_add_test(sharing, who_shares_a_look_up_shares_its_error);
    tcase_add_test(sharing, what_differs_in_anything_is_asked_apart);
    tcase_add_test(sharing, each_of_many_gets_what_it_asked_for);
    tcase_add_test(sharing, who_shares_a_look_up_goes_on_in_order);
    tcase_add_checked_fixture(threads, resolver_reset, NULL);
    tcase_add_test(threads, no_more_than_sixteen_threads_look_up);
    tcase_add_test(threads, look_ups_that_hang_are_in_no_ones_way_but_each_others);
    tcase_add_test(threads, look_ups_without_a_thread_queue_in_order);
    tcase_add_checked_fixture(leaving, resolver_reset, NULL);
    tcase_add_test(leaving, one_that_is_cancelled_leaves_the_others);
    tcase_add_test(leaving, one_that_all_have_left_serves_who_asks_again);
    tcase_add_test(leaving, one_that_all_have_left_before_it_began_is_never_asked);
    tcase_add_test(leaving, in_a_cancelled_scope_nothing_is_asked);
    tcase_add_test(leaving, a_deadline_ends_the_wait_for_what_hangs);
    tcase_add_test(leaving, a_virtual_clock_stands_still_for_those_who_are_waited_for);
    tcase_add_test(leaving, a_cancellation_that_meets_the_answer_loses_nothing);
    tcase_add_checked_fixture(end, resolver_reset, NULL);
    tcase_add_test(end, a_loop_closes_while_look_ups_hang);
    tcase_add_test(end, a_loop_closes_while_answers_come);
    tcase_add_test(end, a_loop_closes_in_any_moment_of_a_look_up);
    tcase_add_test(end, a_closing_loop_still_looks_up_for_those_who_clean_up);
    tcase_add_test(end, loops_in_several_threads_look_up_for_themselves);
    return suite_end(suite);
}
