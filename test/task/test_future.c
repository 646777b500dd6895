/* SPDX-License-Identifier: MIT */
/*
 * Futures: their state and result, done callbacks, uco_await() and uco_join(), and the report of a
 * failure that nobody read. Waiting for several, and cycles of waits, are in test_wait.c.
 */
#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static uco_task *
create_named(const char *name, uco_fn *fn, void *arg)
{
    uco_task_options options = {.name = name};

    return uco_create_task_with(&options, fn, arg);
}

static uco_future *
resolved(intptr_t result)
{
    uco_future *f = uco_future_new();

    ck_assert_int_eq(uco_future_set_result(f, result), 0);
    return f;
}

static intptr_t
await_body(void *arg)
{
    return uco_await(arg);
}

static intptr_t
join_body(void *arg)
{
    return uco_join(arg);
}

/* Ignores its cancellation for as long as it takes, and succeeds. */
static intptr_t
stubborn_body(void *arg)
{
    uco_scope shield;

    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    return uco_scope_close(&shield, (intptr_t) arg);
}

/* F1: pending is neither done nor cancelled, and its result says so. */
START_TEST(new_future_is_pending)
{
    uco_future *f = uco_future_new();

    ck_assert_ptr_nonnull(f);
    ck_assert(!uco_done(f));
    ck_assert_int_eq(uco_result(f), -EINPROGRESS);
    uco_unref(f);
}
END_TEST

static intptr_t
pending_task_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_1s, (void *) 5);

    (void) arg;
    ck_assert(!uco_done(t));
    ck_assert_int_eq(uco_result(t), -EINPROGRESS);
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert(!uco_done(t));
    ck_assert_int_eq(uco_result(t), -EINPROGRESS);
    ck_assert_int_eq(uco_await(t), 5);
    ck_assert(uco_done(t));
    ck_assert_int_eq(uco_result(t), 5);
    uco_unref(t);
    return 0;
}

START_TEST(task_is_a_future_that_its_body_resolves)
{
    ck_assert_int_eq(run_virtual(pending_task_main, NULL), 0);
}
END_TEST

START_TEST(result_may_be_a_number_a_pointer_or_an_error)
{
    int object;
    const intptr_t results[] = {0, 1, INTPTR_MAX, (intptr_t) &object, -1, -EIO, -UCO_MAX_ERROR};

    for (size_t i = 0; i < COUNT(results); i++) {
        uco_future *f = uco_future_new();

        ck_assert_int_eq(uco_future_set_result(f, results[i]), 0);
        ck_assert(uco_done(f));
        ck_assert_int_eq(uco_result(f), results[i]);
        uco_unref(f);
    }
}
END_TEST

START_TEST(result_below_the_last_error_is_refused)
{
    uco_future *f = uco_future_new();

    ck_assert_int_eq(uco_future_set_result(f, -UCO_MAX_ERROR - 1), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(f, INTPTR_MIN), -EINVAL);
    ck_assert(!uco_done(f));
    ck_assert_int_eq(uco_future_set_result(f, 3), 0);
    ck_assert_int_eq(uco_result(f), 3);
    uco_unref(f);
}
END_TEST

START_TEST(second_result_is_refused_and_the_first_stays)
{
    uco_future *f = resolved(1);

    ck_assert_int_eq(uco_future_set_result(f, 2), -EALREADY);
    ck_assert_int_eq(uco_future_set_result(f, -EIO), -EALREADY);
    ck_assert_int_eq(uco_result(f), 1);
    uco_unref(f);
}
END_TEST

/* F4: there is no other way to ask for the error than for the result. */
START_TEST(error_can_be_read_repeatedly)
{
    uco_future *f = resolved(-EIO);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_result(f), -EIO);
    uco_unref(f);
}
END_TEST

/* F3: only what is pending can be cancelled. */
START_TEST(cancelling_a_plain_future_resolves_it_once)
{
    uco_future *f = uco_future_new();

    ck_assert_int_eq(uco_cancel(f), 0);
    ck_assert(uco_done(f));
    ck_assert_int_eq(uco_result(f), -ECANCELED);
    ck_assert_int_eq(uco_cancel(f), -EALREADY);
    uco_unref(f);

    f = resolved(4);
    ck_assert_int_eq(uco_cancel(f), -EALREADY);
    ck_assert_int_eq(uco_result(f), 4);
    uco_unref(f);
}
END_TEST

/* F10: set_result is always the careful one. */
START_TEST(set_result_leaves_a_cancelled_future_alone)
{
    uco_future *f = uco_future_new();

    ck_assert_int_eq(uco_cancel(f), 0);
    ck_assert_int_eq(uco_future_set_result(f, 1), -EALREADY);
    ck_assert_int_eq(uco_result(f), -ECANCELED);
    uco_unref(f);
}
END_TEST

static intptr_t
not_settable_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_1s, (void *) 5);
    uco_future *job = uco_to_thread_start(body_return, (void *) 6);

    (void) arg;
    ck_assert_int_eq(uco_future_set_result(t, 1), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(job, 1), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(uco_current_task(), 1), -EINVAL);
    ck_assert_int_eq(uco_await(t), 5);
    ck_assert_int_eq(uco_await(job), 6);
    ck_assert_int_eq(uco_future_set_result(t, 1), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(job, 1), -EINVAL);
    ck_assert_int_eq(uco_result(t), 5);
    ck_assert_int_eq(uco_result(job), 6);
    uco_unref(t);
    uco_unref(job);
    return 0;
}

START_TEST(only_plain_futures_can_be_set)
{
    ck_assert_int_eq(run_virtual(not_settable_main, NULL), 0);
}
END_TEST

START_TEST(null_is_a_task_that_could_not_be_created)
{
    uco_future *none[3] = {NULL, NULL, NULL};

    ck_assert(uco_done(NULL));
    ck_assert_int_eq(uco_result(NULL), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_cancel(NULL), -EINVAL);
    errno = 0;
    ck_assert_ptr_null(uco_ref(NULL));
    ck_assert_int_eq(errno, EINVAL);
    uco_unref(NULL);
    uco_unref_all(none, 3);
    uco_unref_all(NULL, 0);
}
END_TEST

START_TEST(references_are_counted)
{
    uco_future *fs[4] = {uco_future_new(), NULL, NULL, NULL};

    ck_assert_ptr_eq(uco_ref(fs[0]), fs[0]);
    fs[2] = uco_ref(fs[0]);
    uco_unref(fs[0]);
    ck_assert_int_eq(uco_future_set_result(fs[0], 9), 0);
    ck_assert_int_eq(uco_result(fs[2]), 9);
    uco_unref_all(fs, 4);
}
END_TEST

START_TEST(new_future_without_memory_is_null)
{
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    errno = 0;
    ck_assert_ptr_null(uco_future_new());
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

static intptr_t
keep_futures_main(void *arg)
{
    uco_future **kept = arg;

    kept[0] = uco_future_new();
    kept[1] = uco_future_new();
    ck_assert_int_eq(uco_future_set_result(kept[1], 11), 0);
    kept[2] = uco_create_task(body_sleep_forever, NULL);
    return 0;
}

START_TEST(futures_work_on_after_their_loop_has_closed)
{
    uco_future *kept[3];

    ck_assert_int_eq(run_virtual(keep_futures_main, kept), 0);
    ck_assert(!uco_done(kept[0]));
    ck_assert_int_eq(uco_future_set_result(kept[0], 10), 0);
    ck_assert_int_eq(uco_result(kept[0]), 10);
    ck_assert_int_eq(uco_result(kept[1]), 11);
    ck_assert(uco_done(kept[2]));
    ck_assert_int_eq(uco_result(kept[2]), -ECANCELED);
    ck_assert_int_eq(run_virtual(await_body, kept[0]), 10);
    uco_unref_all(kept, 3);
}
END_TEST

static void *
thread_set_result(void *arg)
{
    ck_assert_int_eq(uco_future_set_result(arg, 42), 0);
    return NULL;
}

static intptr_t
set_by_thread_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < 100; i++) {
        uco_future *f = uco_future_new();
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, thread_set_result, f), 0);
        ck_assert_int_eq(uco_await(f), 42);
        pthread_join(thread, NULL);
        uco_unref(f);
    }
    return 0;
}

START_TEST(result_set_by_a_thread_wakes_the_loop)
{
    ck_assert_int_eq(run_real(set_by_thread_main, NULL), 0);
}
END_TEST

/* A thread that resolves whatever future it is handed, and has no reference of its own. */
struct resolver {
    _Atomic(uco_future *) next;
    atomic_bool stop;
};

static void *
thread_resolve_next(void *arg)
{
    struct resolver *r = arg;
    uco_future *f;

    for (int i = 0; !atomic_load(&r->stop);) {
        f = atomic_exchange(&r->next, NULL);
        if (f == NULL)
            sched_yield();
        else if (i++ % 2 == 0)
            uco_future_set_result(f, 42);
        else
            uco_cancel(f);
    }
    return NULL;
}

static intptr_t
free_when_woken_main(void *arg)
{
    struct resolver *r = arg;

    for (int i = scaled(20000); i > 0; i--) {
        uco_future *f = uco_future_new();
        intptr_t result;

        atomic_store(&r->next, f);
        result = uco_await(f);
        uco_unref(f);
        if (result != 42 && result != -ECANCELED)
            ck_abort_msg("a future gave %zd", (ssize_t) result);
    }
    return 0;
}

/* The one reference is gone while the resolving call has yet to return. */
START_TEST(future_may_be_freed_by_whom_it_wakes)
{
    struct resolver r = {.stop = false};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, thread_resolve_next, &r), 0);
    ck_assert_int_eq(run_real(free_when_woken_main, &r), 0);
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
}
END_TEST

static intptr_t
job_results_main(void *arg)
{
    const intptr_t results[] = {42, -EIO, -ECANCELED};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_future *job = uco_to_thread_start(body_return, (void *) results[i]);

        ck_assert_int_eq(uco_await(job), results[i]);
        ck_assert_int_eq(uco_result(job), results[i]);
        ck_assert(!uco_cancelled());
        uco_unref(job);
    }
    return 0;
}

/* F12: one kind of future serves threads and loops, so there is no state to copy; the three
 * outcomes cross over as they are. */
START_TEST(results_of_threads_come_as_they_are)
{
    ck_assert_int_eq(run_real(job_results_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_self_body(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    return uco_sleep(UCO_FOREVER);
}

/* F13: nothing is wrapped: what one side cancels the other side sees. */
START_TEST(cancellation_crosses_threads_both_ways)
{
    uco_loop_thread *l = uco_loop_thread_start(NULL);
    uco_task *t;

    t = uco_run_coroutine_threadsafe(uco_loop_thread_loop(l), body_sleep_forever, NULL);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_future_wait(t, UCO_FOREVER), -ECANCELED);
    uco_unref(t);

    t = uco_run_coroutine_threadsafe(uco_loop_thread_loop(l), cancel_self_body, NULL);
    ck_assert_int_eq(uco_future_wait(t, UCO_FOREVER), -ECANCELED);
    uco_unref(t);
    ck_assert_int_eq(uco_loop_thread_stop(l), 0);
}
END_TEST

/* A done callback that leaves a letter. */
struct note {
    struct trace *trace;
    char letter;
};

static void
note_callback(void *arg)
{
    const struct note *note = arg;

    trace_add(note->trace, note->letter);
}

static intptr_t
callback_order_main(void *arg)
{
    struct trace t = {0};
    struct note notes[] = {{&t, 'a'}, {&t, 'b'}, {&t, 'c'}, {&t, '<'}, {&t, '>'}};
    uco_future *f = uco_future_new();

    (void) arg;
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(uco_add_done_callback(f, note_callback, &notes[i]), 0);
    uco_loop_call_soon(uco_get_running_loop(), note_callback, &notes[3]);
    ck_assert_int_eq(uco_future_set_result(f, 1), 0);
    uco_loop_call_soon(uco_get_running_loop(), note_callback, &notes[4]);
    ck_assert_str_eq(t.text, "");
    uco_unref(f);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_str_eq(t.text, "<abc>");
    return 0;
}

/* F5: they are queued where a call_soon at the moment of set_result would be. */
START_TEST(done_callbacks_are_queued_in_order)
{
    run_in_all_orders(callback_order_main, NULL);
}
END_TEST

static intptr_t
callback_late_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'};
    uco_future *f = resolved(1);

    (void) arg;
    ck_assert_int_eq(uco_add_done_callback(f, note_callback, &a), 0);
    ck_assert_str_eq(t.text, "");
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_str_eq(t.text, "a");
    uco_unref(f);
    return 0;
}

/* F6: never called inside add_done_callback. */
START_TEST(callback_for_a_done_future_is_queued_at_once)
{
    ck_assert_int_eq(run_virtual(callback_late_main, NULL), 0);
}
END_TEST

static void
read_result_callback(void *arg)
{
    uco_future **slot = arg;

    ck_assert_int_eq(uco_result(*slot), 5);
    *slot = NULL;
}

static intptr_t
callback_of_task_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_1s, (void *) 5);
    uco_task *slot = t;

    (void) arg;
    ck_assert_int_eq(uco_add_done_callback(t, read_result_callback, &slot), 0);
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_ptr_nonnull(slot);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_ptr_null(slot);
    uco_unref(t);
    return 0;
}

START_TEST(done_callback_of_a_task_finds_its_result)
{
    run_in_all_orders(callback_of_task_main, NULL);
}
END_TEST

static intptr_t
callback_remove_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'}, b = {&t, 'b'};
    uco_future *f = uco_future_new();
    struct note *order[] = {&a, &b, &a, &a, &b};

    (void) arg;
    for (size_t i = 0; i < COUNT(order); i++)
        ck_assert_int_eq(uco_add_done_callback(f, note_callback, order[i]), 0);
    ck_assert_int_eq(uco_remove_done_callback(f, read_result_callback, &a), 0);
    ck_assert_int_eq(uco_remove_done_callback(f, note_callback, &t), 0);
    ck_assert_int_eq(uco_remove_done_callback(f, note_callback, &a), 3);
    ck_assert_int_eq(uco_remove_done_callback(f, note_callback, &a), 0);
    ck_assert_int_eq(uco_future_set_result(f, 1), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_str_eq(t.text, "bb");
    uco_unref(f);
    return 0;
}

/* F8: equal are those with the same function and the same argument. */
START_TEST(removing_a_callback_removes_all_equal_ones)
{
    ck_assert_int_eq(run_virtual(callback_remove_main, NULL), 0);
}
END_TEST

static intptr_t
callback_remove_each_main(void *arg)
{
    (void) arg;
    for (size_t gone = 0; gone < 3; gone++) {
        struct trace t = {0};
        struct note notes[] = {{&t, 'a'}, {&t, 'b'}, {&t, 'c'}, {&t, 'd'}};
        const char *left[] = {"bcd", "acd", "abd"};
        uco_future *f = uco_future_new();

        for (size_t i = 0; i < 3; i++)
            uco_add_done_callback(f, note_callback, &notes[i]);
        ck_assert_int_eq(uco_remove_done_callback(f, note_callback, &notes[gone]), 1);
        uco_add_done_callback(f, note_callback, &notes[3]);
        uco_future_set_result(f, 1);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_str_eq(t.text, left[gone]);
        uco_unref(f);
    }
    return 0;
}

START_TEST(callbacks_keep_their_order_when_one_is_removed)
{
    ck_assert_int_eq(run_virtual(callback_remove_each_main, NULL), 0);
}
END_TEST

/* A callback that changes the list which it stands in. */
struct mutation {
    uco_future *f;
    struct note *other;
    int removed;
};

static void
mutation_remove(void *arg)
{
    struct mutation *m = arg;

    m->removed = uco_remove_done_callback(m->f, note_callback, m->other);
}

static void
mutation_add(void *arg)
{
    struct mutation *m = arg;

    ck_assert_int_eq(uco_add_done_callback(m->f, note_callback, m->other), 0);
}

static void
mutation_unref(void *arg)
{
    struct mutation *m = arg;

    uco_unref(m->f);
    m->f = NULL;
}

static intptr_t
mutate_while_running_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'}, b = {&t, 'b'};
    uco_future *f = uco_future_new();
    struct mutation remove = {f, &a, -1}, add = {f, &b, 0}, unref = {f, NULL, 0};

    (void) arg;
    uco_add_done_callback(f, mutation_remove, &remove);
    uco_add_done_callback(f, mutation_add, &add);
    uco_add_done_callback(f, mutation_unref, &unref);
    uco_add_done_callback(f, note_callback, &a);
    uco_future_set_result(f, 1);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_ptr_null(unref.f);
    ck_assert_int_eq(remove.removed, 0);
    ck_assert_str_eq(t.text, "ab");
    return 0;
}

/* F9: once queued a callback runs, whatever those before it do to the list, or to the future's
 * last reference. */
START_TEST(callbacks_may_change_the_list_they_are_called_from)
{
    ck_assert_int_eq(run_virtual(mutate_while_running_main, NULL), 0);
}
END_TEST

static intptr_t
mutate_while_pending_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'}, b = {&t, 'b'};
    uco_future *f = uco_future_new(), *first = resolved(0);
    struct mutation remove = {f, &a, -1}, add = {f, &b, 0};

    (void) arg;
    uco_add_done_callback(f, note_callback, &a);
    uco_add_done_callback(f, note_callback, &a);
    uco_add_done_callback(first, mutation_remove, &remove);
    uco_add_done_callback(first, mutation_add, &add);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(remove.removed, 2);
    uco_future_set_result(f, 1);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_str_eq(t.text, "b");
    uco_unref(first);
    uco_unref(f);
    return 0;
}

/* F9: emptied and grown again by callbacks of another future, before any of them was queued. */
START_TEST(callback_list_can_be_emptied_and_grown_again)
{
    ck_assert_int_eq(run_virtual(mutate_while_pending_main, NULL), 0);
}
END_TEST

static intptr_t
dropped_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'};
    uco_future *f = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_add_done_callback(f, note_callback, &a), 0);
    uco_unref(f);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_str_eq(t.text, "");
    return 0;
}

START_TEST(pending_future_that_nobody_holds_takes_its_callbacks_along)
{
    ck_assert_int_eq(run_virtual(dropped_main, NULL), 0);
}
END_TEST

static intptr_t
callback_errors_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'};
    uco_future *f = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_add_done_callback(NULL, note_callback, &a), -EINVAL);
    ck_assert_int_eq(uco_add_done_callback(f, NULL, &a), -EINVAL);
    ck_assert_int_eq(uco_remove_done_callback(NULL, note_callback, &a), -EINVAL);
    ck_assert_int_eq(uco_remove_done_callback(f, NULL, &a), -EINVAL);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_add_done_callback(f, note_callback, &a), -ENOMEM);
    uco_test_fail_off();
    uco_future_set_result(f, 1);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_str_eq(t.text, "");
    uco_unref(f);
    return 0;
}

START_TEST(callback_that_is_refused_does_not_run)
{
    ck_assert_int_eq(run_virtual(callback_errors_main, NULL), 0);
}
END_TEST

static void
try_to_suspend(void *arg)
{
    uco_future **slot = arg;

    ck_assert_ptr_null(uco_current_task());
    ck_assert_ptr_nonnull(uco_get_running_loop());
    ck_assert_int_eq(uco_await(*slot), -EPERM);
    ck_assert_int_eq(uco_await(NULL), -EPERM);
    ck_assert_int_eq(uco_join(*slot), -EPERM);
    ck_assert_int_eq(uco_sleep(0), -EPERM);
    *slot = NULL;
}

static intptr_t
callback_suspends_main(void *arg)
{
    uco_future *f = uco_future_new(), *slot = f;

    (void) arg;
    ck_assert_int_eq(uco_add_done_callback(f, try_to_suspend, &slot), 0);
    uco_future_set_result(f, 1);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_ptr_null(slot);
    uco_unref(f);
    return 0;
}

START_TEST(done_callback_cannot_suspend)
{
    ck_assert_int_eq(run_virtual(callback_suspends_main, NULL), 0);
}
END_TEST

/* Where a done callback ran. */
struct place {
    uco_future *f;
    uco_future *ran;
    uco_loop *loop;
};

static void
place_callback(void *arg)
{
    struct place *p = arg;

    p->loop = uco_get_running_loop();
    uco_future_set_result(p->ran, 0);
}

static intptr_t
place_add_body(void *arg)
{
    struct place *p = arg;

    return uco_add_done_callback(p->f, place_callback, p);
}

static intptr_t
place_new_body(void *arg)
{
    struct place *p = arg;

    p->f = uco_future_new();
    return 0;
}

/* Resolves the future in this thread, and waits for the callback in the other. */
static void
place_check(struct place *p, const uco_loop *loop)
{
    ck_assert_int_eq(uco_future_set_result(p->f, 1), 0);
    ck_assert_int_eq(uco_future_wait(p->ran, UCO_FOREVER), 0);
    ck_assert_ptr_eq(p->loop, loop);
    uco_unref(p->ran);
    uco_unref(p->f);
}

static intptr_t
run_in(uco_loop *loop, uco_fn *fn, void *arg)
{
    uco_task *t = uco_run_coroutine_threadsafe(loop, fn, arg);
    intptr_t result = uco_future_wait(t, UCO_FOREVER);

    uco_unref(t);
    return result;
}

START_TEST(done_callback_runs_on_the_loop_that_added_it)
{
    uco_loop_thread *l = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(l);
    struct place p = {.f = uco_future_new(), .ran = uco_future_new()};

    ck_assert_int_eq(uco_add_done_callback(p.f, place_callback, &p), -EPERM);
    ck_assert_int_eq(run_in(loop, place_add_body, &p), 0);
    place_check(&p, loop);
    ck_assert_int_eq(uco_loop_thread_stop(l), 0);
}
END_TEST

START_TEST(done_callback_added_outside_runs_on_the_loop_that_made_the_future)
{
    uco_loop_thread *l = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(l);
    struct place p = {.ran = uco_future_new()};

    ck_assert_int_eq(run_in(loop, place_new_body, &p), 0);
    ck_assert_int_eq(uco_add_done_callback(p.f, place_callback, &p), 0);
    place_check(&p, loop);
    ck_assert_int_eq(uco_loop_thread_stop(l), 0);
}
END_TEST

static intptr_t
stale_callback_main(void *arg)
{
    struct mutation *m = arg;

    m->f = uco_future_new();
    return uco_add_done_callback(m->f, note_callback, m->other);
}

/* F17: the loop has gone, and with it whom the callback was for. */
START_TEST(closed_loop_drops_its_done_callbacks)
{
    struct trace t = {0};
    struct note a = {&t, 'a'};
    struct mutation m = {.other = &a};

    ck_assert_int_eq(run_virtual(stale_callback_main, &m), 0);
    ck_assert_int_eq(uco_add_done_callback(m.f, note_callback, &a), -ESHUTDOWN);
    ck_assert_int_eq(uco_future_set_result(m.f, 1), 0);
    ck_assert_int_eq(uco_add_done_callback(m.f, note_callback, &a), -ESHUTDOWN);
    ck_assert_int_eq(run_virtual(body_sleep_1s, NULL), 0);
    ck_assert_str_eq(t.text, "");
    uco_unref(m.f);
}
END_TEST

static intptr_t
no_memory_main(void *arg)
{
    struct trace t = {0};
    struct note a = {&t, 'a'};
    uco_future *fs[2] = {uco_future_new(), uco_future_new()};
    uco_task *ts[2];

    (void) arg;
    for (int i = 0; i < 2; i++) {
        ts[i] = uco_create_task(await_body, fs[i]);
        ck_assert_int_eq(uco_add_done_callback(fs[i], note_callback, &a), 0);
    }
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_future_set_result(fs[0], 3), 0);
    ck_assert_int_eq(uco_cancel(fs[1]), 0);
    ck_assert_int_eq(uco_await(ts[0]), 3);
    ck_assert_int_eq(uco_await(ts[1]), -ECANCELED);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_test_fail_off();
    ck_assert_str_eq(t.text, "aa");
    uco_unref_all(fs, 2);
    uco_unref_all(ts, 2);
    return 0;
}

START_TEST(resolving_and_cancelling_need_no_memory)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
}
END_TEST

static intptr_t
set_flag_body(void *arg)
{
    *(bool *) arg = true;
    return 0;
}

static intptr_t
await_done_main(void *arg)
{
    bool others_ran = false;
    uco_future *f = resolved(7);
    uco_task *t = uco_create_task(set_flag_body, &others_ran);

    (void) arg;
    ck_assert_int_eq(uco_await(f), 7);
    ck_assert_int_eq(uco_await(f), 7);
    ck_assert(!others_ran);
    uco_unref(f);
    ck_assert_int_eq(uco_join(t), 0);
    return 0;
}

/* F16, H4: what is done already is not waited for. */
START_TEST(awaiting_a_done_future_returns_at_once)
{
    ck_assert_int_eq(run_virtual(await_done_main, NULL), 0);
}
END_TEST

static intptr_t
await_done_often_main(void *arg)
{
    bool others_ran = false;
    uco_future *f = resolved(7);
    uco_task *t = uco_create_task(set_flag_body, &others_ran);

    (void) arg;
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(uco_await(f), 7);
    ck_assert(others_ran);
    uco_unref(f);
    ck_assert_int_eq(uco_join(t), 0);
    return 0;
}

START_TEST(awaiting_done_futures_in_a_row_lets_others_run)
{
    ck_assert_int_eq(run_fifo(await_done_often_main, NULL), 0);
}
END_TEST

struct waiter {
    uco_future *f;
    struct note note;
};

static intptr_t
waiter_body(void *arg)
{
    struct waiter *w = arg;
    intptr_t result = uco_await(w->f);

    note_callback(&w->note);
    return result;
}

static intptr_t
waiters_main(void *arg)
{
    struct trace *t = arg;
    struct waiter waiters[26];
    uco_task *ts[26];
    intptr_t results[26];
    uco_future *f = uco_future_new();

    for (int i = 0; i < 26; i++) {
        waiters[i] = (struct waiter){f, {t, (char) ('a' + i)}};
        ts[i] = uco_create_task(waiter_body, &waiters[i]);
        ck_assert_int_eq(uco_test_settle(), 0);
    }
    ck_assert_int_eq(uco_future_set_result(f, 42), 0);
    ck_assert_str_eq(t->text, "");
    ck_assert_int_eq(uco_gather(ts, 26, results), 0);
    for (int i = 0; i < 26; i++)
        ck_assert_int_eq(results[i], 42);
    uco_unref_all(ts, 26);
    uco_unref(f);
    return 0;
}

/* F15: all of them, with the same result, in the order in which they began to wait. */
START_TEST(all_waiters_wake_in_await_order)
{
    struct trace t = {0};

    ck_assert_int_eq(run_fifo(waiters_main, &t), 0);
    ck_assert_str_eq(t.text, "abcdefghijklmnopqrstuvwxyz");
    for (uint64_t seed = 1; seed <= 64; seed++) {
        t = (struct trace){0};
        ck_assert_int_eq(run_seeded(seed, waiters_main, &t), 0);
        ck_assert_uint_eq(t.size, 26);
    }
}
END_TEST

struct crowd {
    uco_future *f;
    atomic_int waiting;
    atomic_int right;
};

static intptr_t
crowd_body(void *arg)
{
    struct crowd *c = arg;

    atomic_fetch_add(&c->waiting, 1);
    if (uco_await(c->f) == 42)
        atomic_fetch_add(&c->right, 1);
    return 0;
}

static intptr_t
crowd_main(void *arg)
{
    uco_task *ts[10];

    for (int i = 0; i < 10; i++)
        ts[i] = uco_create_task(crowd_body, arg);
    ck_assert_int_eq(uco_gather(ts, 10, NULL), 0);
    uco_unref_all(ts, 10);
    return 0;
}

static void *
crowd_thread(void *arg)
{
    return (void *) run_real(crowd_main, arg);
}

/* F14: the other way round in uco: whoever has a reference may wait, on whatever loop. */
START_TEST(one_future_wakes_the_tasks_of_many_loops)
{
    struct crowd c = {.f = uco_future_new()};
    pthread_t threads[6];

    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_thread, &c), 0);
    while (atomic_load(&c.waiting) < 40)
        sched_yield();
    ck_assert_int_eq(uco_future_set_result(c.f, 42), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&c.right), 60);
    uco_unref(c.f);
}
END_TEST

static intptr_t
await_null_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_await(NULL), -ENOMEM);
    ck_assert_int_eq(uco_join(NULL), -ENOMEM);
    return 0;
}

START_TEST(waiting_for_null_is_out_of_memory)
{
    ck_assert_int_eq(run_virtual(await_null_main, NULL), 0);
}
END_TEST

START_TEST(waiting_outside_a_coroutine_is_refused)
{
    uco_future *f = resolved(1), *g = uco_future_new();

    ck_assert_int_eq(uco_await(f), -EPERM);
    ck_assert_int_eq(uco_await(g), -EPERM);
    ck_assert_int_eq(uco_await(NULL), -EPERM);
    ck_assert_int_eq(uco_join(f), -EPERM);
    ck_assert_int_eq(uco_join(g), -EPERM);
    ck_assert_int_eq(uco_join(NULL), -EPERM);
    ck_assert(!uco_done(g));
    uco_unref(f);
    uco_unref(g);
}
END_TEST

static intptr_t
pass_through_main(void *arg)
{
    const intptr_t results[] = {42, 0, -EIO};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_task *inner = uco_create_task(body_return, (void *) results[i]);
        uco_task *outer = uco_create_task(await_body, inner);

        ck_assert_int_eq(uco_await(outer), results[i]);
        uco_unref(outer);
        uco_unref(inner);
    }
    return 0;
}

/* H1: values and errors. */
START_TEST(await_passes_results_through)
{
    run_in_all_orders(pass_through_main, NULL);
}
END_TEST

static intptr_t
whose_cancellation_body(void *arg)
{
    intptr_t result = uco_await(arg);

    ck_assert_int_eq(result, -ECANCELED);
    return uco_cancelled() ? 1 : 2;
}

static intptr_t
whose_cancellation_main(void *arg)
{
    uco_future *f = uco_future_new();
    uco_task *t = uco_create_task(whose_cancellation_body, f);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), 1);
    ck_assert(!uco_done(f));

    t = uco_create_task(whose_cancellation_body, f);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(f), 0);
    ck_assert_int_eq(uco_join(t), 2);
    uco_unref(f);
    return 0;
}

/* H2, H3: both give -ECANCELED, but only one of them cancels the caller, and then what it waited
 * for goes on. */
START_TEST(await_can_tell_whose_cancellation_it_was)
{
    run_in_all_orders(whose_cancellation_main, NULL);
}
END_TEST

static intptr_t
effect_main(void *arg)
{
    uco_task *inner = uco_create_task(body_sleep_1s, (void *) 5);
    uco_task *outer = uco_create_task(await_body, inner);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(outer), 0);
    ck_assert_int_eq(uco_await(outer), -ECANCELED);
    ck_assert(!uco_done(inner));
    uco_unref(outer);
    ck_assert_int_eq(uco_await(inner), 5);
    ck_assert_double_eq_tol(uco_time(), 1.0, 1e-3);
    uco_unref(inner);
    return 0;
}

/* H3: the waiter is off the list of the one that goes on, which then wakes nobody. */
START_TEST(cancelled_await_leaves_the_awaited_task_running)
{
    run_in_all_orders(effect_main, NULL);
}
END_TEST

static intptr_t
await_when_cancelled_body(void *arg)
{
    uco_scope s;
    uco_future *f = resolved(1);

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_await(f), -ECANCELED);
    ck_assert_int_eq(uco_await(f), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    ck_assert_int_eq(uco_await(f), 1);
    uco_unref(f);
    return 0;
}

START_TEST(await_in_a_cancelled_scope_fails_though_the_future_is_done)
{
    ck_assert_int_eq(run_virtual(await_when_cancelled_body, NULL), 0);
}
END_TEST

static intptr_t
await_in_time_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_1s, (void *) 5);
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, 0.5), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_await(t)), -ETIMEDOUT);
    ck_assert(!uco_done(t));
    ck_assert_int_eq(uco_scope_open(&s, 1.0), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_await(t)), 5);
    uco_unref(t);
    return 0;
}

START_TEST(await_that_timed_out_can_be_tried_again)
{
    run_in_all_orders(await_in_time_main, NULL);
}
END_TEST

static intptr_t
unowned_main(void *arg)
{
    uco_future *f = uco_future_new();
    uco_task *t = uco_create_task(await_body, f);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_future_set_result(f, 8), 0);
    uco_unref(f);
    ck_assert_int_eq(uco_join(t), 8);

    f = uco_future_new();
    t = uco_create_task(await_body, f);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_unref(f);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), -ECANCELED);
    return 0;
}

START_TEST(waiter_needs_no_reference_of_its_own)
{
    run_in_all_orders(unowned_main, NULL);
}
END_TEST

/* The last of so many tasks that each wait for the one before, and the first for f. */
static uco_task *
chain_start(uco_fn *link, uco_future *f)
{
    uco_future *last = f;

    for (int i = scaled(10000); i > 0; i--)
        last = uco_create_task(link, last);
    ck_assert_int_eq(uco_test_settle(), 0);
    return last;
}

static intptr_t
chain_main(void *arg)
{
    uco_future *f = uco_ref(uco_future_new());
    uco_task *last = chain_start(join_body, f);

    (void) arg;
    ck_assert_int_eq(uco_future_set_result(f, 42), 0);
    ck_assert_int_eq(uco_join(last), 42);
    uco_unref(f);

    f = uco_ref(uco_future_new());
    last = chain_start(join_body, f);
    ck_assert_int_eq(uco_cancel(last), 0);
    ck_assert_int_eq(uco_join(last), -ECANCELED);
    ck_assert_int_eq(uco_result(f), -ECANCELED);
    uco_unref(f);
    return 0;
}

/* K27: ten thousand tasks that wait for one another are no recursion, neither to finish nor to
 * cancel. */
START_TEST(long_chain_of_waits_finishes_and_cancels)
{
    ck_assert_int_eq(run_virtual(chain_main, NULL), 0);
}
END_TEST

static intptr_t
join_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_1s, (void *) 5);
    uco_future *f = resolved(6);

    (void) arg;
    ck_assert_int_eq(uco_join(f), 6);
    uco_ref(t);
    ck_assert_int_eq(uco_join(t), 5);
    ck_assert_int_eq(uco_result(t), 5);
    ck_assert_int_eq(uco_join(t), 5);
    ck_assert_double_eq_tol(uco_time(), 1.0, 1e-3);
    return 0;
}

START_TEST(join_gives_the_result_and_one_reference_back)
{
    run_in_all_orders(join_main, NULL);
}
END_TEST

static intptr_t
join_cancelled_main(void *arg)
{
    uco_future *f = uco_ref(uco_future_new());
    uco_task *t = uco_create_task(join_body, f);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), -ECANCELED);
    ck_assert_int_eq(uco_result(f), -ECANCELED);
    uco_unref(f);
    return 0;
}

START_TEST(cancelled_join_cancels_what_it_waits_for)
{
    run_in_all_orders(join_cancelled_main, NULL);
}
END_TEST

static intptr_t
join_stubborn_main(void *arg)
{
    uco_task *inner = uco_ref(uco_create_task(stubborn_body, (void *) 5));
    uco_task *outer = uco_create_task(join_body, inner);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(outer), 0);
    ck_assert_int_eq(uco_join(outer), 5);
    ck_assert(uco_done(inner));
    ck_assert_double_eq_tol(uco_time(), 2.0, 1e-3);
    uco_unref(inner);
    return 0;
}

START_TEST(cancelled_join_waits_to_the_very_end)
{
    run_in_all_orders(join_stubborn_main, NULL);
}
END_TEST

static intptr_t
join_inside_cancelled_main(void *arg)
{
    uco_scope s;
    uco_task *running = uco_create_task(stubborn_body, (void *) 5);
    uco_task *fresh;

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    fresh = uco_create_task(body_return, (void *) 6);
    ck_assert_int_eq(uco_join(fresh), -ECANCELED);
    ck_assert_int_eq(uco_join(running), 5);
    ck_assert_int_eq(uco_join(resolved(4)), 4);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, 1), 1);
    return 0;
}

/* One has not started, and so never does; another takes its time; the third is done already. */
START_TEST(join_inside_a_cancelled_scope_completes)
{
    ck_assert_int_eq(run_virtual(join_inside_cancelled_main, NULL), 0);
}
END_TEST

static intptr_t
join_deadline_main(void *arg)
{
    uco_scope s;
    uco_task *t = uco_ref(uco_create_task(body_sleep_1s, NULL));

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, 0.5), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_join(t)), -ETIMEDOUT);
    ck_assert_int_eq(uco_result(t), -ECANCELED);
    ck_assert_double_eq_tol(uco_time(), 0.5, 1e-3);
    uco_unref(t);
    return 0;
}

START_TEST(deadline_around_a_join_cancels_the_task)
{
    run_in_all_orders(join_deadline_main, NULL);
}
END_TEST

/* Several tasks that race: one resolves what the third waits for, the other cancels it. */
struct race {
    uco_future *f;
    uco_task *waiter;
    char first;
    intptr_t got;
    int after;
};

static intptr_t
race_wait(void *arg)
{
    struct race *r = arg;

    r->got = uco_await(r->f);
    r->after = uco_yield();
    return 0;
}

static intptr_t
race_resolve(void *arg)
{
    struct race *r = arg;

    if (r->first == 0)
        r->first = 'r';
    return uco_future_set_result(r->f, 42);
}

static intptr_t
race_cancel(void *arg)
{
    struct race *r = arg;

    if (r->first == 0)
        r->first = 'c';
    return uco_cancel(r->waiter);
}

static intptr_t
race_main(void *arg)
{
    struct race *r = arg;
    uco_task *ts[2];

    r->f = uco_future_new();
    r->waiter = uco_create_task(race_wait, r);
    ck_assert_int_eq(uco_test_settle(), 0);
    ts[0] = uco_create_task(race_resolve, r);
    ts[1] = uco_create_task(race_cancel, r);
    ck_assert_int_eq(uco_gather(ts, 2, NULL), 0);
    ck_assert_int_eq(uco_join(r->waiter), 0);
    uco_unref_all(ts, 2);
    uco_unref(r->f);
    return 0;
}

/* What came first decides; a result that was granted is kept, and the cancellation shows at the
 * next call. */
START_TEST(result_and_cancellation_in_one_turn_are_both_delivered)
{
    bool seen[2] = {false, false};

    for (uint64_t seed = 1; seed <= 64; seed++) {
        struct race r = {0};

        ck_assert_int_eq(run_seeded(seed, race_main, &r), 0);
        ck_assert_int_eq(r.got, r.first == 'r' ? 42 : -ECANCELED);
        ck_assert_int_eq(r.after, -ECANCELED);
        seen[r.first == 'r'] = true;
    }
    ck_assert(seen[0] && seen[1]);
}
END_TEST

START_TEST(result_and_cancellation_race_across_threads)
{
    uco_loop_thread *l = uco_loop_thread_start(NULL);

    for (int i = 0; i < scaled(2000); i++) {
        uco_future *f = uco_future_new();
        uco_task *t = uco_run_coroutine_threadsafe(uco_loop_thread_loop(l), await_body, f);
        intptr_t result;

        if (i % 2 == 0)
            uco_future_set_result(f, 42);
        uco_cancel(t);
        if (i % 2 != 0)
            uco_future_set_result(f, 42);
        result = uco_future_wait(t, UCO_FOREVER);
        ck_assert(result == 42 || result == -ECANCELED);
        uco_unref(t);
        uco_unref(f);
    }
    ck_assert_int_eq(uco_loop_thread_stop(l), 0);
}
END_TEST

/* A failed task of the given name, whose one reference is the caller's. */
static uco_task *
failed_task(const char *name)
{
    uco_task *t = create_named(name, body_return, (void *) -EIO);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(uco_done(t));
    return t;
}

/* Runs fn, and gives what was reported. */
static struct reports
run_reporting(uco_fn *fn)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
    return r;
}

static intptr_t
unread_main(void *arg)
{
    uco_task *t = failed_task("loser");

    (void) arg;
    uco_ref(t);
    uco_unref(t);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_unref(t);
    return 0;
}

/* F11: a failure that nobody has read. */
START_TEST(failure_never_read_is_reported_by_name)
{
    struct reports r = run_reporting(unread_main);

    ck_assert_uint_eq(r.count, 1);
    ck_assert_ptr_nonnull(strstr(r.last, "loser"));
}
END_TEST

static intptr_t
unread_running_main(void *arg)
{
    (void) arg;
    uco_unref(create_named("loser", body_sleep_1s, (void *) -EIO));
    uco_unref(create_named("winner", body_sleep_1s, (void *) 1));
    ck_assert_int_eq(uco_sleep(2.0), 0);
    return 0;
}

START_TEST(failure_of_a_task_that_nobody_holds_is_reported)
{
    struct reports r = run_reporting(unread_running_main);

    ck_assert_uint_eq(r.count, 1);
    ck_assert_ptr_nonnull(strstr(r.last, "loser"));
}
END_TEST

static intptr_t
read_main(void *arg)
{
    uco_task *t = failed_task("result");

    (void) arg;
    ck_assert_int_eq(uco_result(t), -EIO);
    uco_unref(t);
    t = failed_task("await");
    ck_assert_int_eq(uco_await(t), -EIO);
    uco_unref(t);
    ck_assert_int_eq(uco_join(failed_task("join")), -EIO);
    t = failed_task("wait_for");
    ck_assert_int_eq(uco_wait_for(t, 1.0), -EIO);
    uco_unref(t);
    t = failed_task("gather");
    ck_assert_int_eq(uco_gather(&t, 1, NULL), -EIO);
    uco_unref(t);
    return 0;
}

/* F11: each way to read it counts, also by a gather that wants no results. */
START_TEST(failure_that_was_read_is_not_reported)
{
    struct reports r = run_reporting(read_main);

    ck_assert_msg(r.count == 0, "%s", r.all);
}
END_TEST

static intptr_t
looked_at_main(void *arg)
{
    uco_task *t = failed_task("loser");

    (void) arg;
    ck_assert(uco_done(t));
    ck_assert_int_eq(uco_wait_all(&t, 1, 1.0), 0);
    ck_assert_int_eq(uco_wait_any(&t, 1, 1.0), 0);
    uco_unref(t);
    return 0;
}

START_TEST(waiting_without_reading_leaves_the_failure_unread)
{
    struct reports r = run_reporting(looked_at_main);

    ck_assert_uint_eq(r.count, 1);
    ck_assert_ptr_nonnull(strstr(r.last, "loser"));
}
END_TEST

static intptr_t
not_a_failure_main(void *arg)
{
    uco_task *t = create_named("cancelled", body_sleep_forever, NULL);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(uco_done(t));
    uco_unref(t);
    uco_unref(create_named("never started", body_return, (void *) -EIO));
    uco_unref(resolved(-EIO));
    return 0;
}

/* F11: cancelled ones are not reported, nor plain futures, whose error somebody chose to set. */
START_TEST(cancelled_task_is_not_reported)
{
    struct reports r = run_reporting(not_a_failure_main);

    ck_assert_msg(r.count == 0, "%s", r.all);
}
END_TEST

static intptr_t
late_failure_main(void *arg)
{
    uco_task *inner = create_named("inner", body_sleep_1s, (void *) -EIO);
    uco_task *outer = uco_create_task(await_body, inner);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(outer), 0);
    ck_assert_int_eq(uco_join(outer), -ECANCELED);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert(uco_done(inner));
    uco_unref(inner);
    return 0;
}

/* H7: the one who waited is no reader. */
START_TEST(failure_after_its_waiter_was_cancelled_is_reported)
{
    struct reports r = run_reporting(late_failure_main);

    ck_assert_uint_eq(r.count, 1);
    ck_assert_ptr_nonnull(strstr(r.last, "inner"));
}
END_TEST

static void
add_state_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "state");

    tcase_add_test(tcase, new_future_is_pending);
    tcase_add_test(tcase, task_is_a_future_that_its_body_resolves);
    tcase_add_test(tcase, result_may_be_a_number_a_pointer_or_an_error);
    tcase_add_test(tcase, result_below_the_last_error_is_refused);
    tcase_add_test(tcase, second_result_is_refused_and_the_first_stays);
    tcase_add_test(tcase, error_can_be_read_repeatedly);
    tcase_add_test(tcase, cancelling_a_plain_future_resolves_it_once);
    tcase_add_test(tcase, set_result_leaves_a_cancelled_future_alone);
    tcase_add_test(tcase, only_plain_futures_can_be_set);
    tcase_add_test(tcase, null_is_a_task_that_could_not_be_created);
    tcase_add_test(tcase, references_are_counted);
    tcase_add_test(tcase, new_future_without_memory_is_null);
    tcase_add_test(tcase, futures_work_on_after_their_loop_has_closed);
    tcase_add_test(tcase, result_set_by_a_thread_wakes_the_loop);
    tcase_add_test(tcase, future_may_be_freed_by_whom_it_wakes);
    tcase_add_test(tcase, results_of_threads_come_as_they_are);
    tcase_add_test(tcase, cancellation_crosses_threads_both_ways);
}

static void
add_callback_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "done callbacks");

    tcase_add_test(tcase, done_callbacks_are_queued_in_order);
    tcase_add_test(tcase, callback_for_a_done_future_is_queued_at_once);
    tcase_add_test(tcase, done_callback_of_a_task_finds_its_result);
    tcase_add_test(tcase, removing_a_callback_removes_all_equal_ones);
    tcase_add_test(tcase, callbacks_keep_their_order_when_one_is_removed);
    tcase_add_test(tcase, callbacks_may_change_the_list_they_are_called_from);
    tcase_add_test(tcase, callback_list_can_be_emptied_and_grown_again);
    tcase_add_test(tcase, pending_future_that_nobody_holds_takes_its_callbacks_along);
    tcase_add_test(tcase, callback_that_is_refused_does_not_run);
    tcase_add_test(tcase, done_callback_cannot_suspend);
    tcase_add_test(tcase, done_callback_runs_on_the_loop_that_added_it);
    tcase_add_test(tcase, done_callback_added_outside_runs_on_the_loop_that_made_the_future);
    tcase_add_test(tcase, closed_loop_drops_its_done_callbacks);
    tcase_add_test(tcase, resolving_and_cancelling_need_no_memory);
}

static void
add_await_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "await");

    tcase_add_test(tcase, awaiting_a_done_future_returns_at_once);
    tcase_add_test(tcase, awaiting_done_futures_in_a_row_lets_others_run);
    tcase_add_test(tcase, all_waiters_wake_in_await_order);
    tcase_add_test(tcase, one_future_wakes_the_tasks_of_many_loops);
    tcase_add_test(tcase, waiting_for_null_is_out_of_memory);
    tcase_add_test(tcase, waiting_outside_a_coroutine_is_refused);
    tcase_add_test(tcase, await_passes_results_through);
    tcase_add_test(tcase, await_can_tell_whose_cancellation_it_was);
    tcase_add_test(tcase, cancelled_await_leaves_the_awaited_task_running);
    tcase_add_test(tcase, await_in_a_cancelled_scope_fails_though_the_future_is_done);
    tcase_add_test(tcase, await_that_timed_out_can_be_tried_again);
    tcase_add_test(tcase, waiter_needs_no_reference_of_its_own);
    tcase_add_test(tcase, long_chain_of_waits_finishes_and_cancels);
    tcase_add_test(tcase, result_and_cancellation_in_one_turn_are_both_delivered);
    tcase_add_test(tcase, result_and_cancellation_race_across_threads);
}

static void
add_join_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "join");

    tcase_add_test(tcase, join_gives_the_result_and_one_reference_back);
    tcase_add_test(tcase, cancelled_join_cancels_what_it_waits_for);
    tcase_add_test(tcase, cancelled_join_waits_to_the_very_end);
    tcase_add_test(tcase, join_inside_a_cancelled_scope_completes);
    tcase_add_test(tcase, deadline_around_a_join_cancels_the_task);
}

static void
add_report_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "reports");

    tcase_add_test(tcase, failure_never_read_is_reported_by_name);
    tcase_add_test(tcase, failure_of_a_task_that_nobody_holds_is_reported);
    tcase_add_test(tcase, failure_that_was_read_is_not_reported);
    tcase_add_test(tcase, waiting_without_reading_leaves_the_failure_unread);
    tcase_add_test(tcase, cancelled_task_is_not_reported);
    tcase_add_test(tcase, failure_after_its_waiter_was_cancelled_is_reported);
}

int
main(void)
{
    Suite *suite = suite_create("future");

    add_state_tests(suite);
    add_callback_tests(suite);
    add_await_tests(suite);
    add_join_tests(suite);
    add_report_tests(suite);
    return suite_end(suite);
}
