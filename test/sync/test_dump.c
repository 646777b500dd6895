/* SPDX-License-Identifier: MIT */
/* What a dump tells of locks, queues and their kind, and of the circles that they are part of. */

#include "../support/dumped.h"

static const char *
settled_dump(void)
{
    ck_assert_int_eq(uco_test_settle(), 0);
    return dumped(uco_get_running_loop());
}

static void
end_all(uco_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco_cancel(tasks[i]);
    for (size_t i = 0; i < n; i++)
        uco_join(tasks[i]);
}

/* --- one wait each --- */

static struct {
    uco_lock lock;
    uco_condition condition;
    uco_event event;
    uco_semaphore semaphore;
    uco_barrier barrier;
    uco_queue *full, *empty;
} shared;

static intptr_t
holds_the_lock(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&shared.lock), 0);
    uco_sleep(UCO_FOREVER);
    return uco_lock_release(&shared.lock);
}

static intptr_t
wants_the_lock(void *arg)
{
    (void) arg;
    if (uco_lock_acquire(&shared.lock) < 0)
        return -ECANCELED;
    return uco_lock_release(&shared.lock);
}

static intptr_t
looks_at_a_lock(void *arg)
{
    uco_task *tasks[] = {named("owner", holds_the_lock, arg), named("waiter", wants_the_lock, arg)};
    const char *text = settled_dump();

    ck_assert_tells(dumped_line(text, "owner"), "; holds 1 lock; ");
    ck_assert_tells(dumped_line(text, "waiter"), "waits for a lock (0x");
    ck_assert_tells(dumped_line(text, "waiter"), ") that task 'owner' (");
    ck_assert_tells(dumped_line(text, "waiter"), ") holds; since ");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_lock_is_told_with_its_owner)
{
    ck_assert_int_eq(run_fifo(looks_at_a_lock, NULL), 0);
}
END_TEST

static intptr_t
waits_for_the_condition(void *arg)
{
    int r;

    (void) arg;
    if (uco_lock_acquire(&shared.lock) < 0)
        return -ECANCELED;
    r = uco_condition_wait(&shared.condition, &shared.lock);
    uco_lock_release(&shared.lock);
    return r;
}

static intptr_t
looks_at_a_condition(void *arg)
{
    uco_task *tasks[2] = {named("waits", waits_for_the_condition, arg)};

    ck_assert_tells(dumped_line(settled_dump(), "waits"), "waits for a condition (0x");
    tasks[1] = named("owner", holds_the_lock, arg);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_condition_notify_all(&shared.condition);
    ck_assert_tells(dumped_line(settled_dump(), "waits"), "waits for a condition's lock (0x");
    ck_assert_tells(dumped_line(settled_dump(), "waits"), ") that task 'owner' (");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_condition_is_told_and_then_its_lock)
{
    ck_assert_int_eq(run_fifo(looks_at_a_condition, NULL), 0);
}
END_TEST

static intptr_t
waits_for_the_event(void *arg)
{
    (void) arg;
    return uco_event_wait(&shared.event);
}

static intptr_t
waits_for_the_semaphore(void *arg)
{
    (void) arg;
    return uco_semaphore_acquire(&shared.semaphore);
}

static intptr_t
waits_for_the_barrier(void *arg)
{
    (void) arg;
    return uco_barrier_wait(&shared.barrier);
}

static intptr_t
puts_a_number(void *queue)
{
    int number = 0;

    return uco_queue_put(queue, &number);
}

static intptr_t
gets_a_number(void *queue)
{
    int number;

    return uco_queue_get(queue, &number);
}

static intptr_t
joins_a_queue(void *queue)
{
    return uco_queue_join(queue);
}

static intptr_t
selects(void *arg)
{
    int number;
    uco_select_case cases[] = {
        {.queue = shared.empty, .op = UCO_SELECT_GET, .item = &number},
        {.queue = shared.full, .op = UCO_SELECT_PUT, .item = &number},
    };

    (void) arg;
    return uco_select(cases, COUNT(cases), 9.0);
}

static void
check_the_others(const char *text)
{
    ck_assert_tells(dumped_line(text, "event"), "waits for an event (0x");
    ck_assert_tells(dumped_line(text, "semaphore"), "waits for a permit of a semaphore (0x");
    ck_assert_tells(dumped_line(text, "barrier"), "waits for a barrier (0x");
    ck_assert_tells(dumped_line(text, "barrier"), ", 1 of 3 have come)");
    ck_assert_tells(dumped_line(text, "put"), "waits for room in a queue (0x");
    ck_assert_tells(dumped_line(text, "put"), ", full: 2 of 2)");
    ck_assert_tells(dumped_line(text, "get"), "waits for an item of a queue (0x");
    ck_assert_tells(dumped_line(text, "get"), ", empty)");
    ck_assert_tells(dumped_line(text, "join"), "waits for a queue's items to be done (0x");
    ck_assert_tells(dumped_line(text, "join"), ", 2 are not)");
    ck_assert_tells(dumped_line(text, "select"),
                    "waits for one of 2 operations on queues, at most 9.000 s more");
}

static intptr_t
looks_at_the_others(void *arg)
{
    int number = 1;
    uco_task *tasks[] = {
        named("event", waits_for_the_event, arg),
        named("semaphore", waits_for_the_semaphore, arg),
        named("barrier", waits_for_the_barrier, arg),
        named("put", puts_a_number, shared.full = uco_queue_new(sizeof number, 2)),
        named("get", gets_a_number, shared.empty = uco_queue_new(sizeof number, 0)),
        named("join", joins_a_queue, shared.full),
        named("select", selects, arg),
    };

    ck_assert_int_eq(uco_barrier_init(&shared.barrier, 3), 0);
    ck_assert_int_eq(uco_queue_put_nowait(shared.full, &number), 0);
    ck_assert_int_eq(uco_queue_put_nowait(shared.full, &number), 0);
    check_the_others(settled_dump());
    end_all(tasks, COUNT(tasks));
    uco_queue_free(shared.full);
    uco_queue_free(shared.empty);
    return 0;
}

START_TEST(each_primitive_is_told_with_its_state)
{
    ck_assert_int_eq(run_virtual(looks_at_the_others, NULL), 0);
}
END_TEST

/* --- circles --- */

struct crossing {
    uco_lock locks[2];
};

static intptr_t
takes_left_then_right(void *crossing)
{
    struct crossing *c = crossing;

    ck_assert_int_eq(uco_lock_acquire(&c->locks[0]), 0);
    ck_assert_int_eq(uco_sleep(1), 0);
    return uco_lock_acquire(&c->locks[1]);
}

static intptr_t
takes_right_then_left(void *crossing)
{
    struct crossing *c = crossing;

    ck_assert_int_eq(uco_lock_acquire(&c->locks[1]), 0);
    ck_assert_int_eq(uco_sleep(1), 0);
    return uco_lock_acquire(&c->locks[0]);
}

static intptr_t
crosses(void *arg)
{
    struct crossing crossing = {0};
    uco_task *tasks[] = {
        named("left", takes_left_then_right, &crossing),
        named("right", takes_right_then_left, &crossing),
    };
    const char *circle;

    (void) arg;
    ck_assert_int_eq(uco_sleep(2), 0);
    circle = strstr(dumped(uco_get_running_loop()), "a circle, in which each waits");
    ck_assert_ptr_nonnull(circle);
    ck_assert_tells(circle, "\n  task 'left' (");
    ck_assert_tells(circle, ") that task 'right' (");
    ck_assert_tells(circle, "\n  task 'right' (");
    ck_assert_tells(circle, ") that task 'left' (");
    ck_assert_tells_not(circle + 2, "a circle");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(two_locks_taken_crosswise_are_a_circle)
{
    ck_assert_int_eq(run_virtual(crosses, NULL), 0);
}
END_TEST

static intptr_t
gathers_whom_it_blocks(void *arg)
{
    uco_task *tasks[3];

    ck_assert_int_eq(uco_lock_acquire(&shared.lock), 0);
    tasks[0] = named("sleeps", body_sleep_forever, arg);
    tasks[1] = named("blocked", wants_the_lock, arg);
    tasks[2] = named("sleeps too", body_sleep_forever, arg);
    uco_gather_all(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return uco_lock_release(&shared.lock);
}

static intptr_t
looks_at_a_gather(void *arg)
{
    uco_task *task = named("gathers", gathers_whom_it_blocks, arg);
    const char *circle;

    circle = strstr(settled_dump(), "a circle, in which each waits");
    ck_assert_ptr_nonnull(circle);
    ck_assert_tells(circle, "\n  task 'gathers' (");
    ck_assert_tells(circle, "\n  task 'blocked' (");
    ck_assert_tells_not(circle, "\n  task 'sleeps");
    end_all(&task, 1);
    return 0;
}

START_TEST(a_gather_and_a_lock_are_a_circle)
{
    ck_assert_int_eq(run_virtual(looks_at_a_gather, NULL), 0);
}
END_TEST

#define PHILOSOPHERS 100 /* as many as a circle may have */

static uco_lock forks[PHILOSOPHERS];

static intptr_t
dines(void *left)
{
    size_t i = (size_t) ((uco_lock *) left - forks);
    int r;

    ck_assert_int_eq(uco_lock_acquire(left), 0);
    r = uco_sleep(1);
    if (r == 0)
        r = uco_lock_acquire(&forks[(i + 1) % PHILOSOPHERS]);
    if (r == 0)
        uco_lock_release(&forks[(i + 1) % PHILOSOPHERS]);
    uco_lock_release(left);
    return r;
}

static intptr_t
sits_at_a_long_table(void *arg)
{
    uco_task *tasks[PHILOSOPHERS];
    const char *circle;
    size_t told = 0;

    (void) arg;
    for (size_t i = 0; i < PHILOSOPHERS; i++)
        tasks[i] = named("philosopher", dines, &forks[i]);
    ck_assert_int_eq(uco_sleep(2), 0);
    circle = strstr(dumped(uco_get_running_loop()), "a circle, in which each waits");
    ck_assert_ptr_nonnull(circle);
    while ((circle = strstr(circle, "\n  task 'philosopher' (")) != NULL) {
        circle++;
        told++;
    }
    ck_assert_uint_eq(told, PHILOSOPHERS);
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_hundred_philosophers_are_one_circle)
{
    ck_assert_int_eq(run_virtual(sits_at_a_long_table, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump");
    TCase *waits = case_new(suite, "waits");
    TCase *circles = case_new(suite, "circles");

    tcase_add_test(waits, a_lock_is_told_with_its_owner);
    tcase_add_test(waits, a_condition_is_told_and_then_its_lock);
    tcase_add_test(waits, each_primitive_is_told_with_its_state);
    tcase_add_test(circles, two_locks_taken_crosswise_are_a_circle);
    tcase_add_test(circles, a_hundred_philosophers_are_one_circle);
    tcase_add_test(circles, a_gather_and_a_lock_are_a_circle);
    return suite_end(suite);
}
