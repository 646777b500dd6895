/* SPDX-License-Identifier: MIT */

/*
 * Groups: who is waited for, who is freed when, and what a member's failure and a cancellation do.
 * test_group_end.c has how groups end, and how they are misused.
 */

#include "support.h"

#include <malloc.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static uco_group *
make_group(void)
{
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    return g;
}

static uco_task *
add(uco_group *g, uco_fn *fn, void *arg)
{
    uco_task *task = uco_group_create_task(g, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

static uco_task *
add_eager(uco_group *g, uco_fn *fn, void *arg)
{
    uco_task *task = uco_group_create_task_with(g, &(uco_task_options){.eager = true}, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static void
discard_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a discard that must not run has run");
}

static void
discard_count(void *arg)
{
    ++*(int *) arg;
}

static void
assert_refused(uco_group *g)
{
    const uco_task_options options = {.discard = discard_never};

    errno = 0;
    ck_assert_ptr_null(uco_group_create_task_with(g, &options, body_never, NULL));
    ck_assert_int_eq(errno, ECANCELED);
}

/* A member that sleeps until it is cancelled, and then cleans up for a while. */
struct sleeper {
    double clean_up; /* seconds */
    intptr_t returns;
    bool cancelled;
    bool ended;
};

static intptr_t
sleeper_body(void *arg)
{
    struct sleeper *s = arg;
    uco_scope shield;

    s->cancelled = uco_sleep(UCO_FOREVER) == -ECANCELED;
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(s->clean_up), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    s->ended = true;
    return s->returns;
}

struct relay {
    uco_group *g;
    int left;
    int ended;
};

static intptr_t
relay_body(void *arg)
{
    struct relay *relay = arg;

    ck_assert_int_eq(uco_sleep(1.0), 0);
    if (relay->left-- > 0)
        add(relay->g, relay_body, relay);
    relay->ended++;
    return 3;
}

static intptr_t
relay_main(void *arg)
{
    struct relay relay = {.g = make_group(), .left = 5};

    (void) arg;
    add(relay.g, relay_body, &relay);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    ck_assert_int_eq(relay.ended, 6);
    assert_time(6.0);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    uco_group_free(relay.g);
    return 0;
}

/* T1: each member adds the next one as it ends. */
START_TEST(members_that_members_add_are_waited_for)
{
    run_in_all_orders(relay_main, NULL);
}
END_TEST

static intptr_t
add_after_a_while(void *arg)
{
    ck_assert_int_eq(uco_sleep(0.5), 0);
    add(((struct relay *) arg)->g, relay_body, arg);
    return 0;
}

static void
callback_add(void *arg)
{
    add(((struct relay *) arg)->g, relay_body, arg);
}

static intptr_t
added_by_others_main(void *arg)
{
    struct relay relay = {.g = make_group()};
    uco_task *other = uco_create_task(add_after_a_while, &relay);

    (void) arg;
    add(relay.g, relay_body, &relay);
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 0.75, callback_add, &relay), 0);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    ck_assert_int_eq(relay.ended, 3);
    assert_time(1.75);
    uco_group_free(relay.g);
    return uco_join(other);
}

/* T1: added from outside while the owner waits. */
START_TEST(members_that_tasks_and_callbacks_of_the_loop_add_are_waited_for)
{
    run_in_all_orders(added_by_others_main, NULL);
}
END_TEST

static intptr_t
orphan_main(void *arg)
{
    struct relay relay = {.g = make_group()};
    struct sleeper outsider = {0};
    uco_task *other = uco_create_task(add_after_a_while, &relay);
    uco_task *child = uco_create_task(sleeper_body, &outsider);

    (void) arg;
    ck_assert_int_eq(uco_join(other), 0);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    ck_assert_int_eq(relay.ended, 1);
    assert_time(1.5);
    ck_assert(!outsider.cancelled);
    uco_group_free(relay.g);
    ck_assert_int_eq(uco_cancel(child), 0);
    ck_assert_int_eq(uco_join(child), 0); /* it has used our frame */
    return 0;
}

START_TEST(a_member_belongs_to_the_owner_and_not_to_who_created_it)
{
    run_in_all_orders(orphan_main, NULL);
}
END_TEST

static intptr_t
record_start(void *arg)
{
    struct trace *trace = arg;

    trace_add(trace, (char) ('a' + (int) trace->size));
    return 0;
}

static intptr_t
start_order_main(void *arg)
{
    struct trace trace = {0};
    uco_group *g = make_group();

    (void) arg;
    add(g, record_start, &trace);
    add(g, record_start, &trace);
    ck_assert_str_eq(trace.text, "");
    add_eager(g, record_start, &trace);
    ck_assert_str_eq(trace.text, "a");
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_str_eq(trace.text, "abc");
    uco_group_free(g);
    return 0;
}

START_TEST(members_start_at_the_callers_next_suspension_and_eager_ones_at_once)
{
    run_in_all_orders(start_order_main, NULL);
}
END_TEST

static intptr_t
yield_and_return(void *arg)
{
    ck_assert_int_eq(uco_yield(), 0);
    return (intptr_t) arg;
}

static intptr_t
borrowed_main(void *arg)
{
    uco_group *g = make_group();
    uco_task *tasks[100], *first = add_eager(g, body_return, NUMBER(7)), *kept;

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = add_eager(g, i % 2 == 0 ? body_return : yield_and_return, NUMBER(i));
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_result(tasks[i]), i % 2 == 0 ? (intptr_t) i : -EINPROGRESS);
    ck_assert_int_eq(uco_result(first), 7);
    kept = uco_ref(first);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    ck_assert_int_eq(uco_await(kept), 7);
    uco_unref(kept);
    return 0;
}

START_TEST(a_borrowed_member_is_valid_until_the_next_suspension_also_when_it_has_ended)
{
    run_in_all_orders(borrowed_main, NULL);
}
END_TEST

static void
callback_borrow(void *arg)
{
    struct relay *relay = arg;
    uco_task *first = add_eager(relay->g, body_return, NUMBER(4));

    for (int i = 0; i < 100; i++)
        add_eager(relay->g, body_return, NULL);
    ck_assert_int_eq(uco_result(first), 4);
    relay->ended++;
}

static intptr_t
borrow_in_callback_main(void *arg)
{
    struct relay relay = {.g = make_group()};

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_borrow, &relay), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(relay.ended, 1);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    uco_group_free(relay.g);
    return 0;
}

START_TEST(a_member_that_a_callback_borrows_is_valid_until_its_end)
{
    run_in_all_orders(borrow_in_callback_main, NULL);
}
END_TEST

static size_t
bytes_in_use(void)
{
    return under_sanitizer() ? 0 : mallinfo2().uordblks;
}

/* Half of them eager. */
static void
pass_through(uco_group *g, int members)
{
    for (int i = 0; i < members; i++) {
        (i % 2 == 0 ? add : add_eager)(g, body_return, NUMBER(i));
        if (i % 10 == 9)
            ck_assert_int_eq(uco_yield(), 0);
    }
    ck_assert_int_eq(uco_test_settle(), 0);
}

static intptr_t
flat_main(void *arg)
{
    uco_group *g = make_group();
    uco_loop_stats stats;
    size_t before;

    (void) arg;
    pass_through(g, 1000);
    before = bytes_in_use();
    pass_through(g, scaled(100000));
    ck_assert_uint_le(bytes_in_use(), before + 64 * 1024);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    ck_assert_uint_eq(stats.tasks, 1);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

/* T12: nobody waits for them, and each is gone when it has ended. */
START_TEST(a_hundred_thousand_members_leave_nothing_in_their_group)
{
    ck_assert_int_eq(run_virtual(flat_main, NULL), 0);
}
END_TEST

static intptr_t
member_cancelled_main(void *arg)
{
    struct relay relay = {.g = make_group()};
    struct sleeper sleeper = {.returns = -ECANCELED};
    uco_task *member = uco_ref(add(relay.g, sleeper_body, &sleeper));

    (void) arg;
    add(relay.g, relay_body, &relay);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(member), 0);
    add(relay.g, relay_body, &relay);
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    ck_assert_int_eq(uco_result(member), -ECANCELED);
    ck_assert_int_eq(relay.ended, 2);
    add(relay.g, body_return, NUMBER(-ECANCELED));
    ck_assert_int_eq(uco_group_wait(relay.g), 0);
    uco_unref(member);
    uco_group_free(relay.g);
    return 0;
}

/* T2: neither a member that was cancelled nor one that gives -ECANCELED of itself. */
START_TEST(a_member_that_was_only_cancelled_is_no_failure)
{
    run_in_all_orders(member_cancelled_main, NULL);
}
END_TEST

static intptr_t
failure_main(void *arg)
{
    struct sleeper sleepers[3] = {{0}, {.returns = -EPIPE}, {.returns = 5}};
    uco_group *g = make_group();

    (void) arg;
    for (size_t i = 0; i < COUNT(sleepers); i++)
        add(g, sleeper_body, &sleepers[i]);
    add(g, body_sleep_1s, NUMBER(-EIO));
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    assert_time(1.0);
    for (size_t i = 0; i < COUNT(sleepers); i++)
        ck_assert(sleepers[i].cancelled && sleepers[i].ended);
    uco_group_free(g);
    return 0;
}

/* T3: the first one in time counts, not what its cancelled siblings end with. */
START_TEST(a_failing_member_cancels_the_others)
{
    run_in_all_orders(failure_main, NULL);
}
END_TEST

static intptr_t
drain_main(void *arg)
{
    struct sleeper sleepers[2] = {{.clean_up = 2.0}, {.clean_up = 3.0}};
    uco_group *g = make_group();

    (void) arg;
    add(g, sleeper_body, &sleepers[0]);
    add(g, sleeper_body, &sleepers[1]);
    add(g, body_sleep_1s, NUMBER(-EIO));
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    assert_time(4.0);
    ck_assert(sleepers[0].ended && sleepers[1].ended);
    uco_group_free(g);
    return 0;
}

/* T19: the failure is there at 1 s, the wait ends at 4 s. */
START_TEST(a_failed_group_is_waited_for_until_its_last_member_has_cleaned_up)
{
    run_in_all_orders(drain_main, NULL);
}
END_TEST

static intptr_t
same_turn_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    add(g, body_return, NUMBER(2));
    add(g, body_return, NUMBER(-EIO));
    add(g, body_return, NUMBER(-EPIPE));
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    uco_group_free(g);
    return 0;
}

/* T20: the second one is cancelled before it starts, so it never fails. */
START_TEST(of_members_that_fail_in_one_turn_the_first_one_counts)
{
    ck_assert_int_eq(run_fifo(same_turn_main, NULL), 0);
}
END_TEST

static intptr_t
body_alone_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    add(g, body_sleep_1s, NUMBER(-EIO));
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert(!uco_cancelled());
    assert_refused(g);
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

/* Unlike asyncio's: T4. */
START_TEST(the_owners_body_is_left_alone_and_learns_of_a_failure_from_wait)
{
    run_in_all_orders(body_alone_main, NULL);
}
END_TEST

static intptr_t
again_main(void *arg)
{
    const intptr_t errors[] = {-EIO, -EPIPE, 0, -EIO};
    uco_group *g = make_group();

    (void) arg;
    for (size_t i = 0; i < COUNT(errors); i++) {
        add(g, body_sleep_1s, NUMBER(errors[i]));
        ck_assert_int_eq(uco_group_wait(g), errors[i]);
    }
    uco_group_free(g);
    return 0;
}

START_TEST(a_group_that_was_waited_for_begins_again)
{
    run_in_all_orders(again_main, NULL);
}
END_TEST

static intptr_t
fails_eagerly_main(void *arg)
{
    struct sleeper sleeper = {0};
    uco_group *g = make_group();
    uco_task *member;

    (void) arg;
    add(g, sleeper_body, &sleeper);
    ck_assert_int_eq(uco_test_settle(), 0);
    member = add_eager(g, body_return, NUMBER(-EIO));
    ck_assert_int_eq(uco_result(member), -EIO);
    assert_refused(g);
    ck_assert(!sleeper.ended);
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    ck_assert(sleeper.ended);
    uco_group_free(g);
    return 0;
}

START_TEST(an_eager_member_that_fails_at_once_is_returned_and_fails_the_group)
{
    run_in_all_orders(fails_eagerly_main, NULL);
}
END_TEST

struct aborting {
    uco_group *g;
    int discarded;
};

static intptr_t
create_and_fail(void *arg)
{
    struct aborting *a = arg;
    const uco_task_options options = {.discard = discard_count};

    ck_assert_ptr_nonnull(uco_group_create_task_with(a->g, &options, body_never, &a->discarded));
    return -EIO;
}

static intptr_t
create_when_cancelled(void *arg)
{
    struct aborting *a = arg;

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    assert_refused(a->g);
    return 0;
}

static intptr_t
aborting_main(void *arg)
{
    struct aborting a = {.g = make_group()};

    (void) arg;
    add(a.g, create_when_cancelled, &a);
    ck_assert_int_eq(uco_test_settle(), 0);
    add(a.g, create_and_fail, &a);
    ck_assert_int_eq(uco_group_wait(a.g), -EIO);
    ck_assert_int_eq(a.discarded, 1);
    uco_group_free(a.g);
    return 0;
}

/* T17:
 *   failing           new           sleeping
 *   creates `new`
 *   fails             discarded     is cancelled
 *                                   cannot create any more */
START_TEST(a_member_created_when_its_group_begins_to_fail_never_runs)
{
    run_in_all_orders(aborting_main, NULL);
}
END_TEST

struct nested {
    intptr_t inner; /* what waiting for the inner group gave */
    bool alive;     /* the scope around that wait was not cancelled */
};

static intptr_t
nested_owner(void *arg)
{
    struct nested *n = arg;
    uco_group *g = make_group();

    add(g, body_sleep_1s, NUMBER(-EIO));
    add(g, body_sleep_forever, NULL);
    n->inner = uco_group_wait(g);
    n->alive = !uco_cancelled();
    uco_group_free(g);
    return n->inner;
}

static intptr_t
nested_main(void *arg)
{
    uco_group *g = make_group();
    struct nested n = {0};
    int r;

    (void) arg;
    add(g, nested_owner, &n);
    add(g, body_sleep_1s, NUMBER(-EPIPE));
    r = uco_group_wait(g);
    ck_assert(r == -EIO || r == -EPIPE);
    ck_assert(n.inner == -EIO || n.inner == -ECANCELED);
    ck_assert(n.inner == -EIO || (r == -EPIPE && !n.alive));
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_yield(), 0);
    uco_group_free(g);
    return 0;
}

/* T16: in any order of the two failures:
 *   main's group              the member's group
 *   a member fails at 1 s     a member fails at 1 s
 *   each wait gives a failure, or the member's its cancellation; main is not cancelled */
START_TEST(nested_groups_may_fail_in_the_same_turn)
{
    run_in_all_orders(nested_main, NULL);
}
END_TEST

struct start {
    uco_future *started;
    intptr_t failure; /* 0: it starts */
};

static intptr_t
service(void *arg)
{
    struct start *s = arg;

    if (s->failure < 0)
        return s->failure;
    ck_assert_int_eq(uco_future_set_result(s->started, 1), 0);
    return uco_sleep(UCO_FOREVER);
}

/* Trio's nursery.start(): the member's first failure, or 0 when it says that it has started. */
static intptr_t
start_service(uco_group *g, intptr_t failure)
{
    struct start s = {.started = uco_future_new(), .failure = failure};
    uco_future *both[] = {s.started, uco_ref(add(g, service, &s))};
    intptr_t r = uco_wait_any(both, COUNT(both), UCO_FOREVER);

    r = r == 1 ? uco_result(both[1]) : r;
    uco_unref_all(both, COUNT(both));
    return r;
}

static intptr_t
start_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    ck_assert_int_eq(start_service(g, 0), 0);
    ck_assert_int_eq(start_service(g, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(start_service(g, -EIO), -EIO);
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    uco_group_free(g);
    return 0;
}

/* T21: there is no start(), but what it takes is there. */
START_TEST(a_member_that_fails_before_it_has_started_tells_who_waits_for_its_start)
{
    run_in_all_orders(start_main, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("group");
    TCase *members = case_new(suite, "members");
    TCase *failures = case_new(suite, "failures");

    tcase_add_test(members, members_that_members_add_are_waited_for);
    tcase_add_test(members, members_that_tasks_and_callbacks_of_the_loop_add_are_waited_for);
    tcase_add_test(members, a_member_belongs_to_the_owner_and_not_to_who_created_it);
    tcase_add_test(members, members_start_at_the_callers_next_suspension_and_eager_ones_at_once);
    tcase_add_test(members,
                   a_borrowed_member_is_valid_until_the_next_suspension_also_when_it_has_ended);
    tcase_add_test(members, a_member_that_a_callback_borrows_is_valid_until_its_end);
    tcase_add_test(members, a_hundred_thousand_members_leave_nothing_in_their_group);
    tcase_add_test(failures, a_member_that_was_only_cancelled_is_no_failure);
    tcase_add_test(failures, a_failing_member_cancels_the_others);
    tcase_add_test(failures, a_failed_group_is_waited_for_until_its_last_member_has_cleaned_up);
    tcase_add_test(failures, of_members_that_fail_in_one_turn_the_first_one_counts);
    tcase_add_test(failures, the_owners_body_is_left_alone_and_learns_of_a_failure_from_wait);
    tcase_add_test(failures, a_group_that_was_waited_for_begins_again);
    tcase_add_test(failures, an_eager_member_that_fails_at_once_is_returned_and_fails_the_group);
    tcase_add_test(failures, a_member_created_when_its_group_begins_to_fail_never_runs);
    tcase_add_test(failures, nested_groups_may_fail_in_the_same_turn);
    tcase_add_test(failures,
                   a_member_that_fails_before_it_has_started_tells_who_waits_for_its_start);
    return suite_end(suite);
}
