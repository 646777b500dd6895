/* SPDX-License-Identifier: MIT */

/*
 * Tasks: how they are made, the tree they form, how they suspend, and how they are cancelled.
 */

#include "support.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static intptr_t
body_yield_until_cancelled(void *arg)
{
    int r;

    (void) arg;
    do
        r = uco_yield();
    while (r == 0);
    return r;
}

static intptr_t
body_count_turns(void *arg)
{
    unsigned *turns = arg;

    while (uco_yield() == 0)
        ++*turns;
    return 0;
}

/* What a task was lent stays the caller's until the task has ended. */
static void
stop(uco_task *task)
{
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), 0);
}

static uint64_t
timers_pending(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.timers;
}

static intptr_t
result_main(void *arg)
{
    uco_task *task = uco_create_task(body_return, (void *) 42);

    (void) arg;
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_result(task), -EINPROGRESS);
    ck_assert_int_eq(uco_await(task), 42);
    ck_assert(uco_done(task));
    ck_assert_int_eq(uco_result(task), 42);
    ck_assert_int_eq(uco_join(task), 42);
    return 0;
}

/* K1: what await, join and uco_result() give is the same. */
START_TEST(a_task_results_in_what_its_body_returned)
{
    ck_assert_int_eq(run_virtual(result_main, NULL), 0);
}
END_TEST

static intptr_t
limits_main(void *arg)
{
    static const intptr_t results[] = {0, 1, INTPTR_MAX, -1, -EIO, -UCO_MAX_ERROR};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_task *task = uco_create_task(body_return, (void *) results[i]);

        ck_assert_int_eq(uco_join(task), results[i]);
    }
    return 0;
}

START_TEST(results_reach_from_the_lowest_error_to_the_highest_pointer)
{
    ck_assert_int_eq(run_virtual(limits_main, NULL), 0);
    ck_assert_int_eq(run_virtual(body_return, (void *) (intptr_t) -UCO_MAX_ERROR), -UCO_MAX_ERROR);
}
END_TEST

static intptr_t
name_main(void *arg)
{
    char name[301];
    uco_task *task;

    (void) arg;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    task = uco_create_task_with(&(uco_task_options){.name = name}, body_return, NULL);
    name[0] = 'x';
    ck_assert_int_eq(uco_await(task), 0);
    ck_assert_int_eq(uco_task_name(task)[0], 'n');
    ck_assert_uint_eq(strlen(uco_task_name(task)), sizeof name - 1);
    uco_unref(task);
    return 0;
}

/* K1: the name outlives the string that it came from, and the body. */
START_TEST(a_task_keeps_a_copy_of_its_name)
{
    ck_assert_int_eq(run_virtual(name_main, NULL), 0);
}
END_TEST

static intptr_t
default_name_main(void *arg)
{
    uco_task *task = uco_create_task(body_return, NULL);
    char expected[32];

    (void) arg;
    snprintf(expected, sizeof expected, "Task-%llu", (unsigned long long) uco_task_id(task));
    ck_assert_str_eq(uco_task_name(task), expected);
    uco_unref(task);
    return 0;
}

START_TEST(a_task_without_a_name_is_called_by_its_number)
{
    ck_assert_int_eq(run_virtual(default_name_main, NULL), 0);
}
END_TEST

static intptr_t
id_main(void *arg)
{
    uint64_t *ids = arg;
    uco_task *task = uco_create_task(body_return, NULL);

    ids[0] = uco_task_id(uco_current_task());
    ids[1] = uco_task_id(task);
    uco_unref(task);
    return 0;
}

START_TEST(task_numbers_are_unique_in_the_process)
{
    uint64_t ids[4];

    ck_assert_int_eq(run_virtual(id_main, &ids[0]), 0);
    ck_assert_int_eq(run_virtual(id_main, &ids[2]), 0);
    for (size_t i = 0; i < COUNT(ids); i++) {
        ck_assert_uint_ne(ids[i], 0);
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
    }
}
END_TEST

static void
discard_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a task that was not created was discarded");
}

static intptr_t
refused_stack_main(void *arg)
{
    static const size_t sizes[] = {1, 16 * 1024 - 1, (1ul << 30) + 1, SIZE_MAX};

    (void) arg;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uco_task_options options = {.stack_size = sizes[i], .discard = discard_never};

        assert_null(uco_create_task_with(&options, body_never, NULL), EINVAL);
    }
    return uco_yield();
}

START_TEST(stack_sizes_out_of_range_are_refused)
{
    ck_assert_int_eq(run_virtual(refused_stack_main, NULL), 0);
}
END_TEST

static intptr_t
accepted_stack_main(void *arg)
{
    static const size_t sizes[] = {16 * 1024, 16 * 1024 + 1, 1ul << 20, 1ul << 30};

    (void) arg;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uco_task_options options = {.stack_size = sizes[i]};
        uco_task *task = uco_create_task_with(&options, body_sleep_1s, (void *) 6);

        ck_assert_ptr_nonnull(task);
        ck_assert_int_eq(uco_join(task), 6);
    }
    return 0;
}

START_TEST(stack_sizes_reach_from_16_KiB_to_1_GiB)
{
    ck_assert_int_eq(run_virtual(accepted_stack_main, NULL), 0);
}
END_TEST

static intptr_t
fill_1_MiB(void *arg)
{
    volatile char room[1 << 20];

    (void) arg;
    for (size_t i = 0; i < sizeof room; i += 1024)
        room[i] = 7;
    ck_assert_int_eq(uco_yield(), 0);
    for (size_t i = 0; i < sizeof room; i += 1024)
        ck_assert_int_eq(room[i], 7);
    return 0;
}

static intptr_t
large_stack_main(void *arg)
{
    uco_task_options options = {.stack_size = 2 << 20};

    (void) arg;
    return uco_join(uco_create_task_with(&options, fill_1_MiB, NULL));
}

START_TEST(a_task_has_the_stack_it_asked_for)
{
    ck_assert_int_eq(run_virtual(large_stack_main, NULL), 0);
}
END_TEST

static intptr_t
no_body_main(void *arg)
{
    (void) arg;
    assert_null(uco_create_task(NULL, NULL), EINVAL);
    assert_null((uco_create_task) (NULL, NULL), EINVAL);
    assert_null(uco_create_task_with(NULL, NULL, NULL), EINVAL);
    assert_null(uco_create_task_with(&(uco_task_options){.discard = discard_never}, NULL, NULL),
                EINVAL);
    return 0;
}

START_TEST(a_task_needs_a_body)
{
    ck_assert_int_eq(run_virtual(no_body_main, NULL), 0);
}
END_TEST

static intptr_t
function_main(void *arg)
{
    uco_task *task = (uco_create_task) (body_return, (void *) 3);
    uco_task *other = (uco_create_task_with) (NULL, body_return, (void *) 4);

    (void) arg;
    ck_assert_int_eq(uco_join(task), 3);
    ck_assert_int_eq(uco_join(other), 4);
    return 0;
}

START_TEST(creating_works_without_the_macros_too)
{
    ck_assert_int_eq(run_virtual(function_main, NULL), 0);
}
END_TEST

struct letter {
    struct trace *trace;
    char letter;
};

static intptr_t
write_letter(void *arg)
{
    struct letter *l = arg;

    trace_add(l->trace, l->letter);
    return 0;
}

static intptr_t
order_main(void *arg)
{
    struct trace *trace = arg;
    struct letter letters[26];

    for (size_t i = 0; i < COUNT(letters); i++) {
        letters[i] = (struct letter){trace, (char) ('a' + i)};
        uco_unref(uco_create_task(write_letter, &letters[i]));
    }
    ck_assert_uint_eq(trace->size, 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_uint_eq(trace->size, COUNT(letters));
    return 0;
}

START_TEST(tasks_start_at_the_next_suspension_in_the_order_of_their_creation)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_fifo(order_main, &trace), 0);
    ck_assert_str_eq(trace.text, "abcdefghijklmnopqrstuvwxyz");
}
END_TEST

static intptr_t
unheld_main(void *arg)
{
    struct letter l = {arg, 'x'};

    uco_unref(uco_create_task(write_letter, &l));
    return uco_sleep(1.0);
}

START_TEST(dropping_the_reference_does_not_stop_a_task)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_virtual(unheld_main, &trace), 0);
    ck_assert_str_eq(trace.text, "x");
}
END_TEST

static uco_task *
create_eager(uco_fn *fn, void *arg)
{
    uco_task *task = uco_create_task_with(&(uco_task_options){.eager = true}, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

static intptr_t
write_two_letters(void *arg)
{
    trace_add(arg, 'a');
    ck_assert_int_eq(uco_yield(), 0);
    trace_add(arg, 'b');
    return 5;
}

static intptr_t
eager_main(void *arg)
{
    uco_task *task = create_eager(write_two_letters, arg);

    trace_add(arg, '|');
    ck_assert_int_eq(uco_join(task), 5);
    return 0;
}

START_TEST(an_eager_task_runs_at_once_until_it_first_suspends)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_virtual(eager_main, &trace), 0);
    ck_assert_str_eq(trace.text, "a|b");
}
END_TEST

static intptr_t
eager_done_main(void *arg)
{
    uco_task *task = create_eager(body_return, (void *) 8);

    (void) arg;
    ck_assert(uco_done(task));
    ck_assert_int_eq(uco_result(task), 8);
    uco_unref(task);
    return 0;
}

START_TEST(an_eager_task_that_does_not_suspend_is_done_when_it_was_created)
{
    ck_assert_int_eq(run_virtual(eager_done_main, NULL), 0);
}
END_TEST

struct nest {
    struct trace trace;
    int depth;
};

static intptr_t
nest_eagerly(void *arg)
{
    struct nest *nest = arg;
    uco_task *self = uco_current_task(), *inner = NULL;
    int depth = nest->depth++;

    trace_add(&nest->trace, (char) ('a' + depth));
    if (depth < 9)
        inner = create_eager(nest_eagerly, nest);
    ck_assert_ptr_eq(uco_current_task(), self);
    ck_assert_int_eq(uco_yield(), 0);
    trace_add(&nest->trace, (char) ('A' + depth));
    return inner != NULL ? uco_join(inner) : 0;
}

static intptr_t
nested_eager_main(void *arg)
{
    struct nest *nest = arg;
    uco_task *outer = create_eager(nest_eagerly, nest);

    trace_add(&nest->trace, '|');
    return uco_join(outer);
}

START_TEST(eager_tasks_nest)
{
    struct nest nest = {0};

    ck_assert_int_eq(run_fifo(nested_eager_main, &nest), 0);
    ck_assert_str_eq(nest.trace.text, "abcdefghij|JIHGFEDCBA");
}
END_TEST

struct eager_callback {
    struct trace trace;
    uco_task *task;
};

static void
create_eager_in_callback(void *arg)
{
    struct eager_callback *c = arg;

    c->task = create_eager(write_two_letters, &c->trace);
    trace_add(&c->trace, uco_current_task() == NULL ? '|' : '?');
}

static intptr_t
eager_callback_main(void *arg)
{
    struct eager_callback *c = arg;

    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), create_eager_in_callback, c), 0);
    while (c->task == NULL)
        ck_assert_int_eq(uco_yield(), 0);
    return uco_join(c->task);
}

START_TEST(an_eager_task_runs_at_once_in_a_callback_too)
{
    struct eager_callback c = {0};

    ck_assert_int_eq(run_virtual(eager_callback_main, &c), 5);
    ck_assert_str_eq(c.trace.text, "a|b");
}
END_TEST

static intptr_t
eager_cancelled_main(void *arg)
{
    uco_task *task;

    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    task = create_eager(write_two_letters, arg);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_detach(task), 0);
    while (!uco_done(task))
        ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_result(task), 5);
    uco_unref(task);
    return 0;
}

START_TEST(an_eager_task_is_not_inside_its_creators_cancelled_scope)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_virtual(eager_cancelled_main, &trace), 0);
    ck_assert_str_eq(trace.text, "ab");
}
END_TEST

struct discarded {
    uco_task *task;
    unsigned calls;
    bool published; /* the result, when discard was called */
    bool in_task;
};

static void
discard_note(void *arg)
{
    struct discarded *d = arg;

    d->calls++;
    d->published = uco_done(d->task);
    d->in_task = uco_current_task() != NULL;
}

static const uco_task_options discarding = {.discard = discard_note};

static void
assert_discarded(const struct discarded *d)
{
    ck_assert_uint_eq(d->calls, 1);
    ck_assert(!d->published);
    ck_assert(!d->in_task);
    ck_assert_int_eq(uco_result(d->task), -ECANCELED);
}

static intptr_t
cancel_unstarted_main(void *arg)
{
    struct discarded d = {0};

    (void) arg;
    d.task = uco_create_task_with(&discarding, body_never, &d);
    ck_assert_int_eq(uco_cancel(d.task), 0);
    ck_assert_int_eq(uco_await(d.task), -ECANCELED);
    assert_discarded(&d);
    uco_unref(d.task);
    return 0;
}

/* K2: the body never runs; discard does instead, before the result is there to be seen. */
START_TEST(a_task_cancelled_before_its_start_is_discarded)
{
    run_in_all_orders(cancel_unstarted_main, NULL);
}
END_TEST

static intptr_t
discarding_parent(void *arg)
{
    struct discarded *d = arg;

    d->task = uco_create_task_with(&discarding, body_never, d);
    return 9;
}

static intptr_t
discarding_parent_main(void *arg)
{
    struct discarded d = {0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(discarding_parent, &d)), 9);
    assert_discarded(&d);
    uco_unref(d.task);
    return 0;
}

START_TEST(a_child_that_has_not_started_when_its_parent_returns_is_discarded)
{
    ck_assert_int_eq(run_virtual(discarding_parent_main, NULL), 0);
}
END_TEST

START_TEST(a_task_that_has_not_started_when_its_loop_closes_is_discarded)
{
    uco_loop *loop = uco_loop_new(NULL);
    struct discarded d = {0};

    d.task = uco_run_coroutine_threadsafe_with(loop, &discarding, body_never, &d);
    ck_assert_ptr_nonnull(d.task);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    assert_discarded(&d);
    uco_unref(d.task);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
started_main(void *arg)
{
    struct discarded *d = arg;
    uco_task *task = uco_create_task_with(&discarding, body_sleep_forever, d);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return uco_join(uco_create_task_with(&discarding, body_return, NULL));
}

START_TEST(a_task_that_started_is_not_discarded)
{
    struct discarded d = {0};

    ck_assert_int_eq(run_virtual(started_main, &d), 0);
    ck_assert_uint_eq(d.calls, 0);
}
END_TEST

static void
discard_free(void *arg)
{
    free(arg);
}

static intptr_t
free_argument(void *arg)
{
    free(arg);
    return 0;
}

static intptr_t
owned_argument_main(void *arg)
{
    uco_task_options options = {.discard = discard_free};

    (void) arg;
    for (int i = 0; i < 20; i++) {
        uco_task *task = uco_create_task_with(&options, free_argument, malloc(16));

        if (i % 2 == 0)
            ck_assert_int_eq(uco_cancel(task), 0);
        uco_unref(task);
    }
    return uco_yield();
}

/* Under AddressSanitizer this proves that each argument is freed, and once. */
START_TEST(either_the_body_or_discard_owns_the_argument)
{
    run_in_all_orders(owned_argument_main, NULL);
}
END_TEST

struct family {
    uco_task *child;
    double clean_up; /* seconds that the child shields */
    bool cleaned;
};

static intptr_t
clean_up_slowly(void *arg)
{
    struct family *f = arg;
    uco_scope shield;

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(f->clean_up), 0);
    f->cleaned = true;
    return uco_scope_close(&shield, -ECANCELED);
}

static intptr_t
parent_of_cleaner(void *arg)
{
    struct family *f = arg;
    uco_task_options options = {.name = "stubborn"};

    f->child = uco_create_task_with(&options, clean_up_slowly, f);
    ck_assert_int_eq(uco_test_settle(), 0);
    return 7;
}

static intptr_t
waits_for_children_main(void *arg)
{
    struct family f = {.clean_up = 1.0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(parent_of_cleaner, &f)), 7);
    ck_assert(f.cleaned);
    assert_time(1.0);
    ck_assert_int_eq(uco_result(f.child), -ECANCELED);
    uco_unref(f.child);
    return 0;
}

START_TEST(children_are_cancelled_and_waited_for_before_the_result_is_published)
{
    run_in_all_orders(waits_for_children_main, NULL);
}
END_TEST

static intptr_t
pending_parent_main(void *arg)
{
    struct family f = {.clean_up = 1.0};
    uco_task *parent = uco_create_task(parent_of_cleaner, &f);

    (void) arg;
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_int_eq(uco_result(parent), -EINPROGRESS);
    ck_assert_int_eq(uco_cancel(parent), 0);
    ck_assert_int_eq(uco_join(parent), 7);
    ck_assert(f.cleaned);
    assert_time(1.0);
    uco_unref(f.child);
    return 0;
}

START_TEST(cancelling_a_task_that_only_waits_for_its_children_does_nothing)
{
    ck_assert_int_eq(run_virtual(pending_parent_main, NULL), 0);
}
END_TEST

START_TEST(a_child_that_ignores_its_cancellation_is_reported_every_10_s)
{
    struct family f = {.clean_up = 25.0};
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, parent_of_cleaner, &f), 7);
    ck_assert(f.cleaned);
    ck_assert_uint_eq(reports.count, 2);
    ck_assert_ptr_nonnull(strstr(reports.last, "stubborn"));
    uco_unref(f.child);
}
END_TEST

#define GENERATIONS 5

struct line_of_tasks {
    uco_task *tasks[GENERATIONS];
    struct trace published;
    int born;
};

static intptr_t
beget(void *arg)
{
    struct line_of_tasks *line = arg;
    int generation = line->born++;

    if (line->born < GENERATIONS)
        line->tasks[line->born] = uco_create_task(beget, line);
    if (generation == 0)
        return uco_sleep(1.0);
    return uco_sleep(UCO_FOREVER);
}

static void
note_publishing(void *arg)
{
    struct line_of_tasks *line = arg;
    size_t done = 0;

    while (done < GENERATIONS && uco_done(line->tasks[GENERATIONS - 1 - done]))
        done++;
    for (size_t i = done; i < GENERATIONS; i++)
        ck_assert(!uco_done(line->tasks[GENERATIONS - 1 - i]));
    trace_add(&line->published, (char) ('0' + done));
}

static intptr_t
generations_main(void *arg)
{
    struct line_of_tasks line = {0};

    (void) arg;
    line.tasks[0] = uco_create_task(beget, &line);
    ck_assert_int_eq(uco_sleep(0.5), 0);
    for (int i = 0; i < GENERATIONS; i++)
        ck_assert_int_eq(uco_add_done_callback(line.tasks[i], note_publishing, &line), 0);
    ck_assert_int_eq(uco_await(line.tasks[0]), 0);
    assert_time(1.0);
    while (line.published.size < GENERATIONS)
        ck_assert_int_eq(uco_yield(), 0);
    for (int i = 1; i < GENERATIONS; i++)
        ck_assert_int_eq(uco_result(line.tasks[i]), -ECANCELED);
    uco_unref_all(line.tasks, GENERATIONS);
    return 0;
}

/* note_publishing() asserts at each step that no task is done before all that descend from it. */
START_TEST(the_youngest_generation_ends_first)
{
    run_in_all_orders(generations_main, NULL);
}
END_TEST

static intptr_t
detaching_parent(void *arg)
{
    uco_task **child = arg;

    *child = uco_create_task(body_sleep_1s, (void *) 5);
    ck_assert_int_eq(uco_detach(*child), 0);
    ck_assert_int_eq(uco_detach(*child), 0);
    return 0;
}

static intptr_t
detach_main(void *arg)
{
    uco_task *child;

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(detaching_parent, &child)), 0);
    assert_time(0.0);
    ck_assert(!uco_done(child));
    ck_assert_int_eq(uco_join(child), 5);
    assert_time(1.0);
    return 0;
}

START_TEST(a_detached_task_outlives_the_one_that_created_it)
{
    run_in_all_orders(detach_main, NULL);
}
END_TEST

static intptr_t
detach_self(void *arg)
{
    ck_assert_int_eq(uco_detach(uco_current_task()), 0);
    return body_sleep_1s(arg);
}

static intptr_t
parent_of_self_detaching(void *arg)
{
    uco_task **child = arg;

    *child = uco_create_task(detach_self, (void *) 5);
    return uco_test_settle();
}

static intptr_t
detach_self_main(void *arg)
{
    uco_task *child;

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(parent_of_self_detaching, &child)), 0);
    ck_assert_int_eq(uco_join(child), 5);
    return 0;
}

START_TEST(a_task_may_detach_itself)
{
    ck_assert_int_eq(run_virtual(detach_self_main, NULL), 0);
}
END_TEST

static intptr_t
detach_late_main(void *arg)
{
    struct family f = {.clean_up = 1.0};
    uco_task *parent = uco_create_task(parent_of_cleaner, &f);

    (void) arg;
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_int_eq(uco_detach(f.child), 0);
    ck_assert_int_eq(uco_join(parent), 7);
    assert_time(0.5);
    ck_assert_int_eq(uco_join(f.child), -ECANCELED);
    assert_time(1.0);
    return 0;
}

START_TEST(detaching_the_last_child_ends_its_parents_wait)
{
    ck_assert_int_eq(run_virtual(detach_late_main, NULL), 0);
}
END_TEST

static intptr_t
detach_refused_main(void *arg)
{
    uco_task *task = create_eager(body_return, NULL);
    uco_future *future = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_detach(task), -EINVAL);
    ck_assert_int_eq(uco_detach(future), -EINVAL);
    ck_assert_int_eq(uco_detach(NULL), -EINVAL);
    uco_unref(task);
    uco_unref(future);
    return 0;
}

START_TEST(only_a_running_task_can_be_detached)
{
    ck_assert_int_eq(run_virtual(detach_refused_main, NULL), 0);
}
END_TEST

struct callback_tasks {
    uco_task *tasks[2];
};

static void
create_in_callback(void *arg)
{
    struct callback_tasks *c = arg;

    c->tasks[0] = uco_create_task(body_sleep_1s, (void *) 1);
    c->tasks[1] = create_eager(body_sleep_1s, (void *) 2);
}

static intptr_t
queue_the_callback(void *arg)
{
    struct callback_tasks *c = arg;

    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), create_in_callback, c), 0);
    while (c->tasks[0] == NULL)
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

static intptr_t
callback_tasks_main(void *arg)
{
    struct callback_tasks c = {0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(queue_the_callback, &c)), 0);
    ck_assert_int_eq(uco_join(c.tasks[0]), 1);
    ck_assert_int_eq(uco_join(c.tasks[1]), 2);
    return 0;
}

START_TEST(a_task_that_a_callback_creates_belongs_to_the_loop)
{
    ck_assert_int_eq(run_virtual(callback_tasks_main, NULL), 0);
}
END_TEST

static intptr_t
eager_parent_main(void *arg)
{
    struct family f = {.clean_up = 1.0};
    uco_task *parent = create_eager(parent_of_cleaner, &f);

    (void) arg;
    ck_assert_int_eq(uco_join(parent), 7);
    ck_assert(f.cleaned);
    uco_unref(f.child);
    return 0;
}

START_TEST(what_an_eager_task_creates_is_its_own)
{
    ck_assert_int_eq(run_virtual(eager_parent_main, NULL), 0);
}
END_TEST

static intptr_t
sleep_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(0.25), 0);
    assert_time(0.25);
    ck_assert_int_eq(uco_sleep(3600.0 * 24 * 365), 0);
    assert_time(0.25 + 3600.0 * 24 * 365);
    ck_assert_int_eq(uco_sleep((double) NAN), -EINVAL);
    return 0;
}

START_TEST(sleep_takes_the_time_it_was_told)
{
    ck_assert_int_eq(run_virtual(sleep_main, NULL), 0);
}
END_TEST

static intptr_t
sleep_really(void *arg)
{
    double before = uco_time();

    (void) arg;
    ck_assert_int_eq(uco_sleep(0.003), 0);
    ck_assert_double_ge(uco_time() - before, 0.003);
    return 0;
}

START_TEST(sleep_never_wakes_early)
{
    double before = real_time();

    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(run_real(sleep_really, NULL), 0);
    ck_assert_double_ge(real_time() - before, 20 * 0.003);
}
END_TEST

static intptr_t
sleep_zero_main(void *arg)
{
    static const double none[] = {0.0, -0.0, -1.0, -1e300, (double) -INFINITY};
    unsigned turns = 0;
    uco_task *other = uco_create_task(body_count_turns, &turns);

    (void) arg;
    ck_assert_int_eq(uco_yield(), 0);
    for (size_t i = 0; i < COUNT(none); i++) {
        ck_assert_int_eq(uco_sleep(none[i]), 0);
        ck_assert_uint_eq(turns, i + 1);
    }
    assert_time(0.0);
    stop(other);
    return 0;
}

START_TEST(a_sleep_of_zero_or_less_is_a_yield)
{
    ck_assert_int_eq(run_fifo(sleep_zero_main, NULL), 0);
}
END_TEST

static intptr_t
sleep_after_work_main(void *arg)
{
    double *woken = arg;

    uco_test_advance(uco_get_running_loop(), 2.0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    *woken = uco_time();
    return 0;
}

static intptr_t
advance_in_halves(void *arg)
{
    while (uco_yield() == 0)
        uco_test_advance(uco_get_running_loop(), 0.5);
    return (intptr_t) arg;
}

static intptr_t
measured_from_call_main(void *arg)
{
    double woken = 0;
    uco_task *clock = uco_create_task(advance_in_halves, NULL);

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(sleep_after_work_main, &woken)), 0);
    ck_assert_double_ge(woken, 3.0);
    uco_unref(clock);
    return 0;
}

START_TEST(a_sleep_is_measured_from_its_call_not_from_the_turns_beginning)
{
    uco_loop_options options = {.clock = UCO_CLOCK_MANUAL};

    ck_assert_int_eq(uco_run_with(&options, measured_from_call_main, NULL), 0);
}
END_TEST

struct sleeper {
    struct trace *trace;
    double seconds;
    char letter;
};

static intptr_t
sleep_and_write(void *arg)
{
    struct sleeper *s = arg;

    ck_assert_int_eq(uco_sleep(s->seconds), 0);
    trace_add(s->trace, s->letter);
    return 0;
}

static intptr_t
sleepers_main(void *arg)
{
    struct sleeper sleepers[] = {
        {arg, 3.0, 'f'}, {arg, 1.0, 'a'}, {arg, 2.0, 'c'},
        {arg, 1.0, 'b'}, {arg, 2.5, 'e'}, {arg, 2.0, 'd'},
    };
    uco_task *tasks[COUNT(sleepers)];
    int r;

    for (size_t i = 0; i < COUNT(sleepers); i++)
        tasks[i] = uco_create_task(sleep_and_write, &sleepers[i]);
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

START_TEST(sleepers_wake_by_time_and_at_the_same_time_in_the_order_of_their_calls)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_fifo(sleepers_main, &trace), 0);
    ck_assert_str_eq(trace.text, "abcdef");
}
END_TEST

static intptr_t
write_thrice(void *arg)
{
    struct letter *l = arg;

    for (int i = 0; i < 3; i++) {
        trace_add(l->trace, l->letter);
        ck_assert_int_eq(uco_yield(), 0);
    }
    return 0;
}

static intptr_t
yield_main(void *arg)
{
    struct letter letters[] = {{arg, 'a'}, {arg, 'b'}, {arg, 'c'}};
    uco_task *tasks[COUNT(letters)];
    int r;

    for (size_t i = 0; i < COUNT(letters); i++)
        tasks[i] = uco_create_task(write_thrice, &letters[i]);
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

START_TEST(tasks_that_yield_take_turns)
{
    struct trace trace = {0};

    ck_assert_int_eq(run_fifo(yield_main, &trace), 0);
    ck_assert_str_eq(trace.text, "abcabcabc");
}
END_TEST

struct currents {
    uco_task *tasks[3];
    int callbacks;
};

static intptr_t
be_current(void *arg)
{
    struct currents *c = arg;
    uco_task *self = uco_current_task();

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(i % 2 == 0 ? uco_yield() : uco_sleep(0.1), 0);
        ck_assert_ptr_eq(uco_current_task(), self);
    }
    for (size_t i = 0; i < COUNT(c->tasks); i++)
        if (c->tasks[i] == self)
            return 1;
    return 0;
}

static void
current_is_none(void *arg)
{
    struct currents *c = arg;

    c->callbacks++;
    ck_assert_ptr_null(uco_current_task());
}

static intptr_t
current_main(void *arg)
{
    struct currents *c = arg;
    intptr_t found[COUNT(c->tasks)];

    for (size_t i = 0; i < COUNT(c->tasks); i++)
        c->tasks[i] = uco_create_task(be_current, c);
    ck_assert_int_eq(uco_add_done_callback(c->tasks[0], current_is_none, c), 0);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), current_is_none, c), 0);
    ck_assert_int_ne(uco_loop_call_later(uco_get_running_loop(), 0.5, current_is_none, c), 0);
    ck_assert_int_eq(uco_gather(c->tasks, COUNT(c->tasks), found), 0);
    for (size_t i = 0; i < COUNT(found); i++)
        ck_assert_int_eq(found[i], 1);
    uco_unref_all(c->tasks, COUNT(c->tasks));
    return uco_sleep(1.0);
}

/* K21: right across interleaving tasks, and NULL in callbacks and outside of the loop. */
START_TEST(the_current_task_is_the_one_that_runs)
{
    ck_assert_ptr_null(uco_current_task());
    for (uint64_t seed = 0; seed <= 50; seed++) {
        struct currents c = {0};

        ck_assert_int_eq(run_seeded(seed, current_main, &c), 0);
        ck_assert_int_eq(c.callbacks, 3);
    }
    ck_assert_ptr_null(uco_current_task());
}
END_TEST

static intptr_t
keep_errno(void *arg)
{
    int mine = (int) (intptr_t) arg;
    uco_task *child;

    for (int i = 0; i < 12; i++) {
        errno = mine;
        if (i % 3 == 0)
            ck_assert_int_eq(uco_yield(), 0);
        else if (i % 3 == 1)
            ck_assert_int_eq(uco_sleep(0.1), 0);
        else
            ck_assert_int_eq(uco_sleep(0.0), 0);
        ck_assert_int_eq(errno, mine);
    }
    child = uco_create_task(body_sleep_1s, NULL);
    errno = mine;
    ck_assert_int_eq(uco_join(child), 0);
    ck_assert_int_eq(errno, mine);
    return 0;
}

static void
spoil_errno(void *arg)
{
    (void) arg;
    errno = EXDEV;
}

static intptr_t
errno_main(void *arg)
{
    uco_task *tasks[8];
    int r;

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++) {
        tasks[i] = uco_create_task(keep_errno, (void *) (intptr_t) (i + 1));
        uco_loop_call_later(uco_get_running_loop(), 0.1 * (double) i, spoil_errno, NULL);
    }
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

START_TEST(each_coroutine_keeps_its_errno_across_suspensions)
{
    run_in_all_orders(errno_main, NULL);
}
END_TEST

static intptr_t
at_once_await(uco_future *f)
{
    return uco_await(f);
}

static intptr_t
at_once_join(uco_future *f)
{
    return uco_join(uco_ref(f));
}

static intptr_t
at_once_gather(uco_future *f)
{
    return uco_gather(&f, 1, NULL);
}

static intptr_t
at_once_gather_all(uco_future *f)
{
    return uco_gather_all(&f, 1, NULL);
}

static intptr_t
at_once_wait_any(uco_future *f)
{
    return uco_wait_any(&f, 1, 1.0);
}

static intptr_t
at_once_wait_all(uco_future *f)
{
    return uco_wait_all(&f, 1, 1.0);
}

static intptr_t
at_once_wait_for(uco_future *f)
{
    return uco_wait_for(f, 1.0);
}

static intptr_t (*const at_once[])(uco_future *f) = {
    at_once_await,    at_once_join,     at_once_gather,   at_once_gather_all,
    at_once_wait_any, at_once_wait_all, at_once_wait_for,
};

static intptr_t
fairness_main(void *arg)
{
    intptr_t (*call)(uco_future * f) = at_once[(intptr_t) arg];
    uco_future *done = uco_future_new();
    unsigned turns = 0;
    uco_task *other = uco_create_task(body_count_turns, &turns);

    ck_assert_int_eq(uco_future_set_result(done, 0), 0);
    ck_assert_int_eq(uco_yield(), 0);
    for (unsigned i = 0; i < 640; i++) {
        ck_assert_uint_eq(turns, i / 64);
        ck_assert_int_eq(call(done), 0);
    }
    ck_assert_uint_eq(turns, 10);
    uco_unref(done);
    stop(other);
    return 0;
}

START_TEST(each_64th_call_in_a_row_that_finishes_at_once_lets_others_run)
{
    ck_assert_int_eq(run_fifo(fairness_main, (void *) (intptr_t) _i), 0);
}
END_TEST

static intptr_t
fairness_row_main(void *arg)
{
    uco_future *done = uco_future_new();
    unsigned turns = 0;
    uco_task *other = uco_create_task(body_count_turns, &turns);

    (void) arg;
    ck_assert_int_eq(uco_future_set_result(done, 0), 0);
    ck_assert_int_eq(uco_yield(), 0);
    for (unsigned i = 0; i < 10; i++) {
        for (int j = 0; j < 63; j++)
            ck_assert_int_eq(uco_await(done), 0);
        ck_assert_uint_eq(turns, i);
        ck_assert_int_eq(uco_yield(), 0);
    }
    uco_unref(done);
    stop(other);
    return 0;
}

START_TEST(a_suspension_begins_a_new_row_of_64)
{
    ck_assert_int_eq(run_fifo(fairness_row_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_sleeping_main(void *arg)
{
    uint64_t before = timers_pending();
    uco_task *task = uco_create_task(body_sleep_1s, NULL);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(timers_pending(), before + 1);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    assert_time(0.0);
    ck_assert_uint_eq(timers_pending(), before);
    return 0;
}

/* K3: at once, and the timer is gone. */
START_TEST(cancelling_wakes_a_sleeping_task_at_once)
{
    run_in_all_orders(cancel_sleeping_main, NULL);
}
END_TEST

struct granted {
    uco_future *future;
    intptr_t first, second; /* what its calls returned */
};

static intptr_t
await_then_yield(void *arg)
{
    struct granted *g = arg;

    g->first = uco_await(g->future);
    g->second = uco_yield();
    return g->second;
}

static intptr_t
cancel_granted_main(void *arg)
{
    struct granted g = {.future = uco_future_new()};
    uco_task *task = uco_create_task(await_then_yield, &g);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_future_set_result(g.future, 9), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(g.first, 9);
    ck_assert_int_eq(g.second, -ECANCELED);
    uco_unref(g.future);
    return 0;
}

START_TEST(what_was_granted_before_the_cancellation_stays_granted)
{
    run_in_all_orders(cancel_granted_main, NULL);
}
END_TEST

static intptr_t
cancel_then_resolve_main(void *arg)
{
    struct granted g = {.future = uco_future_new()};
    uco_task *task = uco_create_task(await_then_yield, &g);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_future_set_result(g.future, 9), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(g.first, -ECANCELED);
    ck_assert_int_eq(uco_result(g.future), 9);
    uco_unref(g.future);
    return 0;
}

START_TEST(what_comes_after_the_cancellation_comes_too_late)
{
    run_in_all_orders(cancel_then_resolve_main, NULL);
}
END_TEST

static intptr_t
cancel_ready_main(void *arg)
{
    uco_task *task = uco_create_task(body_yield_until_cancelled, NULL);

    (void) arg;
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return 0;
}

START_TEST(a_ready_task_can_be_cancelled)
{
    run_in_all_orders(cancel_ready_main, NULL);
}
END_TEST

static intptr_t
sleep_twice(void *arg)
{
    struct granted *g = arg;

    g->first = uco_sleep(1.0);
    g->second = uco_sleep(1.0);
    return 0;
}

static intptr_t
cancel_due_main(void *arg)
{
    struct granted g = {0};
    uco_task *task = uco_create_task(sleep_twice, &g);

    (void) arg;
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), 0);
    assert_time(1.0);
    ck_assert(g.first == 0 || g.first == -ECANCELED);
    ck_assert_int_eq(g.second, -ECANCELED);
    return 0;
}

START_TEST(a_cancellation_at_the_moment_a_sleep_ends_is_not_lost)
{
    run_in_all_orders(cancel_due_main, NULL);
}
END_TEST

static intptr_t
cancel_finished_main(void *arg)
{
    uco_task *task = uco_create_task(body_return, (void *) 5);

    (void) arg;
    ck_assert_int_eq(uco_await(task), 5);
    ck_assert_int_eq(uco_cancel(task), -EALREADY);
    ck_assert_int_eq(uco_join(task), 5);
    return 0;
}

/* K16: also after the loop has closed. */
START_TEST(a_finished_task_cannot_be_cancelled)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_task *task = uco_run_coroutine_threadsafe(loop, body_sleep_forever, NULL);

    ck_assert_int_eq(run_virtual(cancel_finished_main, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_cancel(task), -EALREADY);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
cancel_self_and_return(void *arg)
{
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert(uco_cancelled());
    return (intptr_t) arg;
}

static intptr_t
cancel_self_and_sleep(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    return uco_sleep(1.0);
}

static intptr_t
cancel_self_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(cancel_self_and_return, (void *) 5)), 5);
    ck_assert_int_eq(uco_join(uco_create_task(cancel_self_and_sleep, NULL)), -ECANCELED);
    assert_time(0.0);
    ck_assert(!uco_cancelled());
    return 0;
}

START_TEST(a_task_that_cancels_itself_notices_at_its_next_suspension)
{
    ck_assert_int_eq(run_virtual(cancel_self_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_twice_main(void *arg)
{
    struct family f = {.clean_up = 1.0};
    uco_task *task = uco_create_task(clean_up_slowly, &f);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert(f.cleaned);
    assert_time(1.0);
    return 0;
}

START_TEST(cancelling_again_does_not_disturb_the_clean_up)
{
    ck_assert_int_eq(run_virtual(cancel_twice_main, NULL), 0);
}
END_TEST

static void *
cancel_in_thread(void *arg)
{
    return (void *) (intptr_t) uco_cancel(arg);
}

static intptr_t
cancelled_by_thread(uco_task *task)
{
    pthread_t thread;
    void *cancelled;
    intptr_t r;

    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_in_thread, task), 0);
    r = uco_join(task);
    ck_assert_int_eq(pthread_join(thread, &cancelled), 0);
    ck_assert_int_eq((intptr_t) cancelled, 0);
    return r;
}

static intptr_t
cancel_by_thread_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < 50; i++) {
        uco_task *task = uco_create_task(body_sleep_forever, NULL);

        uco_ref(task);
        if (i % 2 == 0)
            ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(cancelled_by_thread(task), -ECANCELED);
        uco_unref(task);
    }
    return 0;
}

START_TEST(another_thread_can_cancel_a_task)
{
    ck_assert_int_eq(run_real(cancel_by_thread_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_future_main(void *arg)
{
    uco_future *future = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_cancel(future), 0);
    ck_assert(uco_done(future));
    ck_assert_int_eq(uco_cancel(future), -EALREADY);
    ck_assert_int_eq(uco_future_set_result(future, 1), -EALREADY);
    ck_assert_int_eq(uco_await(future), -ECANCELED);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_yield(), 0);
    uco_unref(future);
    return 0;
}

START_TEST(cancelling_a_plain_future_resolves_it_and_leaves_who_awaits_it_alone)
{
    ck_assert_int_eq(run_virtual(cancel_future_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_both_main(void *arg)
{
    for (int i = 0; i < 2; i++) {
        struct granted g = {.future = uco_future_new()};
        uco_task *task = uco_create_task(await_then_yield, &g);

        (void) arg;
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_cancel(i == 0 ? task : g.future), 0);
        ck_assert_int_eq(uco_cancel(i == 0 ? g.future : task), 0);
        ck_assert_int_eq(uco_join(task), -ECANCELED);
        ck_assert_int_eq(g.first, -ECANCELED);
        ck_assert_int_eq(uco_result(g.future), -ECANCELED);
        uco_unref(g.future);
    }
    return 0;
}

/* K5: in either order the await is cut short once. */
START_TEST(cancelling_a_task_and_what_it_awaits_is_one_cancellation)
{
    run_in_all_orders(cancel_both_main, NULL);
}
END_TEST

static intptr_t
fail_when_cancelled(void *arg)
{
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    return (intptr_t) arg;
}

static intptr_t
other_result_main(void *arg)
{
    static const intptr_t results[] = {-EIO, 0, 5};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_task *task = uco_create_task(fail_when_cancelled, (void *) results[i]);

        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_cancel(task), 0);
        ck_assert_int_eq(uco_join(task), results[i]);
    }
    return 0;
}

/* K15: an error of the clean-up, or a value in spite of it. */
START_TEST(a_cancelled_task_still_decides_its_result)
{
    ck_assert_int_eq(run_virtual(other_result_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_one_main(void *arg)
{
    uco_task *tasks[3];
    intptr_t results[3];

    (void) arg;
    for (intptr_t i = 0; i < 3; i++)
        tasks[i] = uco_create_task(body_sleep_1s, (void *) i);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(tasks[1]), 0);
    ck_assert_int_eq(uco_gather_all(tasks, 3, results), 0);
    ck_assert_int_eq(results[0], 0);
    ck_assert_int_eq(results[1], -ECANCELED);
    ck_assert_int_eq(results[2], 2);
    uco_unref_all(tasks, 3);
    return 0;
}

/* K17 */
START_TEST(cancelling_one_of_three_leaves_the_others)
{
    run_in_all_orders(cancel_one_main, NULL);
}
END_TEST

static intptr_t
await_then_linger(void *arg)
{
    intptr_t r = uco_await(arg);

    return r < 0 ? r : body_yield_until_cancelled(NULL);
}

static intptr_t
sleep_for_ever_in_timeout(void *arg)
{
    return uco_with_timeout(60.0, body_sleep_forever, arg);
}

struct left {
    uco_future *future;
    uco_task *tasks[5];
};

static intptr_t
leave_tasks_main(void *arg)
{
    struct left *left = arg;
    uco_task **tasks = left->tasks;

    tasks[0] = uco_create_task(body_yield_until_cancelled, NULL);
    tasks[1] = uco_create_task(await_then_linger, left->future);
    tasks[2] = uco_create_task(body_sleep_forever, NULL);
    tasks[3] = uco_create_task(sleep_for_ever_in_timeout, NULL);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_future_set_result(left->future, 1), 0);
    ck_assert_int_eq(uco_cancel(tasks[2]), 0);
    tasks[4] = uco_create_task(body_sleep_forever, NULL);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(uco_detach(tasks[i]), 0);
    return 3;
}

/* K20: ready, ready with a result, ready and cancelled, with a deadline, not started. */
START_TEST(tasks_left_to_the_loop_end_cancelled_when_it_closes)
{
    for (uint64_t seed = 0; seed <= 50; seed++) {
        struct left left = {.future = uco_future_new()};

        ck_assert_int_eq(run_seeded(seed, leave_tasks_main, &left), 3);
        for (size_t i = 0; i < COUNT(left.tasks); i++)
            ck_assert_int_eq(uco_result(left.tasks[i]), -ECANCELED);
        uco_unref_all(left.tasks, COUNT(left.tasks));
        uco_unref(left.future);
    }
}
END_TEST

static intptr_t
await_argument(void *arg)
{
    return uco_await(arg);
}

static intptr_t
wait_for_argument(void *arg)
{
    uco_future *futures[] = {arg, arg};

    return uco_wait_all(futures, 2, UCO_FOREVER);
}

static intptr_t
cancel_waiters_main(void *arg)
{
    uco_task *awaited = uco_create_task(body_sleep_1s, (void *) 4);
    uco_task *waiters[2] = {
        uco_create_task(await_argument, awaited),
        uco_create_task(wait_for_argument, awaited),
    };

    (void) arg;
    ck_assert_int_eq(uco_sleep(0.5), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_cancel(waiters[i]), 0);
        ck_assert_int_eq(uco_join(waiters[i]), -ECANCELED);
    }
    assert_time(0.5);
    ck_assert_int_eq(uco_join(awaited), 4);
    assert_time(1.0);
    return 0;
}

/* K24: a cancelled wait leaves what it waited for running. */
START_TEST(cancelling_a_waiter_does_not_cancel_what_it_waits_for)
{
    run_in_all_orders(cancel_waiters_main, NULL);
}
END_TEST

struct chain {
    int left;
    bool join;
};

static intptr_t
chain_link(void *arg)
{
    struct chain *chain = arg;
    uco_task *next;
    intptr_t r;

    if (chain->left-- == 0)
        return uco_sleep(1.0);
    next = uco_create_task(chain_link, chain);
    if (chain->join)
        return uco_join(next);
    r = uco_await(next);
    uco_unref(next);
    return r;
}

static intptr_t
chain_main(void *arg)
{
    for (int i = 0; i < 4; i++) {
        struct chain chain = {.left = scaled(10000), .join = i % 2 == 1};
        uco_task *head = uco_create_task(chain_link, &chain);
        double start = uco_time();

        (void) arg;
        ck_assert_int_eq(uco_sleep(0.5), 0);
        ck_assert_int_eq(chain.left, -1);
        if (i < 2)
            ck_assert_int_eq(uco_cancel(head), 0);
        ck_assert_int_eq(uco_join(head), i < 2 ? -ECANCELED : 0);
        assert_time(start + (i < 2 ? 0.5 : 1.0));
    }
    return 0;
}

/* K27: awaited and joined, cancelled from its head and run to its end. */
START_TEST(a_chain_of_10_000_tasks_ends)
{
    ck_assert_int_eq(run_virtual(chain_main, NULL), 0);
}
END_TEST

static intptr_t
cancelled_twice_in_a_row(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    for (int i = 0; i < 10; i++) {
        ck_assert(uco_cancelled());
        ck_assert_int_eq(i % 2 == 0 ? uco_sleep(1.0) : uco_yield(), -ECANCELED);
    }
    return 0;
}

static intptr_t
level_main(void *arg)
{
    uco_task *task = uco_create_task(cancelled_twice_in_a_row, NULL);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), 0);
    assert_time(0.0);
    return 0;
}

/* K25: cancellation is a level, not an edge. */
START_TEST(every_suspension_of_a_cancelled_task_fails)
{
    ck_assert_int_eq(run_virtual(level_main, NULL), 0);
}
END_TEST

/* What a cancelled task calls: all of it could be done at once, but for the waits on `pending`. */
struct offer {
    uco_future *pending, *done;
    int fds[2]; /* a pipe with one byte in it */
    char byte;
    bool ran;
};

static intptr_t
note_running(void *arg)
{
    struct offer *o = arg;

    o->ran = true;
    return 0;
}

#define CANCELLED_CALLS(CALL)                                                                      \
    CALL(sleep, uco_sleep(1.0))                                                                    \
    CALL(sleep_zero, uco_sleep(0.0))                                                               \
    CALL(yield, uco_yield())                                                                       \
    CALL(await_pending, uco_await(o->pending))                                                     \
    CALL(await_done, uco_await(o->done))                                                           \
    CALL(wait_any_pending, uco_wait_any(&o->pending, 1, 1.0))                                      \
    CALL(wait_any_done, uco_wait_any(&o->done, 1, 0.0))                                            \
    CALL(wait_all_pending, uco_wait_all(&o->pending, 1, UCO_FOREVER))                              \
    CALL(wait_all_done, uco_wait_all(&o->done, 1, UCO_FOREVER))                                    \
    CALL(to_thread, uco_to_thread(note_running, o))                                                \
    CALL(read, uco_read(o->fds[0], &o->byte, 1))                                                   \
    CALL(read_exactly, uco_read_exactly(o->fds[0], &o->byte, 1))                                   \
    CALL(write, uco_write(o->fds[1], "x", 1))                                                      \
    CALL(write_all, uco_write_all(o->fds[1], "x", 1, NULL))                                        \
    CALL(poll, uco_poll(o->fds[0], POLLIN, 0.0))                                                   \
    CALL(settle, uco_test_settle())

#define CANCELLED_FUNCTION(name, call)                                                             \
    static intptr_t cancelled_##name(struct offer *o)                                              \
    {                                                                                              \
        (void) o;                                                                                  \
        return call;                                                                               \
    }
#define CANCELLED_NAME(name, call) cancelled_##name,

CANCELLED_CALLS(CANCELLED_FUNCTION)
static intptr_t (*const cancelled_calls[])(struct offer *o) = {CANCELLED_CALLS(CANCELLED_NAME)};

static intptr_t
call_while_cancelled(void *arg)
{
    struct offer o = {.pending = uco_future_new(), .done = uco_future_new(), .byte = '-'};
    unsigned turns = 0;
    uco_task *other = uco_create_task(body_count_turns, &turns);

    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(pipe(o.fds), 0);
    ck_assert_int_eq(write(o.fds[1], "b", 1), 1);
    uco_future_set_result(o.done, 0);
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(cancelled_calls[(intptr_t) arg](&o), -ECANCELED);
        ck_assert_uint_gt(turns, i);
    }
    ck_assert(!o.ran && !uco_done(o.pending) && o.byte == '-');
    ck_assert_int_eq(close(o.fds[1]), 0);
    ck_assert_int_eq(read(o.fds[0], (char[2]){0}, 2), 1);
    ck_assert_int_eq(close(o.fds[0]), 0);
    uco_unref(o.pending);
    uco_unref(o.done);
    stop(other);
    return 0;
}

static intptr_t
call_while_cancelled_main(void *arg)
{
    return uco_join(uco_create_task(call_while_cancelled, arg));
}

START_TEST(a_cancelled_call_does_nothing_and_lets_others_run)
{
    ck_assert_int_eq(run_fifo(call_while_cancelled_main, (void *) (intptr_t) _i), 0);
}
END_TEST

static intptr_t
complete_while_cancelled(void *arg)
{
    uco_task *tasks[3];
    intptr_t results[3];

    (void) arg;
    tasks[0] = create_eager(body_sleep_forever, NULL);
    tasks[1] = create_eager(body_sleep_forever, NULL);
    tasks[2] = create_eager(body_return, (void *) 2);
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(uco_join(uco_ref(tasks[2])), 2);
    ck_assert_int_eq(uco_wait_for(tasks[0], UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_gather(tasks, 3, results), -ECANCELED);
    ck_assert(results[0] == -ECANCELED && results[1] == -ECANCELED && results[2] == 2);
    memset(results, 0, sizeof results);
    ck_assert_int_eq(uco_gather_all(tasks, 3, results), -ECANCELED);
    ck_assert(results[0] == -ECANCELED && results[1] == -ECANCELED && results[2] == 2);
    uco_unref_all(tasks, 3);
    ck_assert_int_eq(uco_join(uco_create_task(body_return, (void *) 3)), -ECANCELED);
    return 0;
}

static intptr_t
complete_while_cancelled_main(void *arg)
{
    return uco_join(uco_create_task(complete_while_cancelled, arg));
}

START_TEST(completing_calls_complete_in_a_cancelled_task)
{
    ck_assert_int_eq(run_virtual(complete_while_cancelled_main, NULL), 0);
}
END_TEST

static intptr_t
ignore_cancellations(void *arg)
{
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    for (intptr_t i = 0; i < (intptr_t) arg; i++)
        ck_assert_int_eq(uco_yield(), -ECANCELED);
    return 0;
}

static intptr_t
ignore_main(void *arg)
{
    uco_task_options options = {.name = "headstrong"};

    return uco_join(uco_create_task_with(&options, ignore_cancellations, arg));
}

START_TEST(a_task_that_ignores_1_000_cancellations_in_a_row_is_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, ignore_main, (void *) 999), 0);
    ck_assert_uint_eq(reports.count, 0);
    ck_assert_int_eq(uco_run_with(&options, ignore_main, (void *) 1500), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "headstrong"));
}
END_TEST

static intptr_t
ignore_in_two_rows_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < 3; i++) {
        uco_scope s;

        ck_assert_int_eq(uco_scope_open(&s, 0.0), 0);
        for (int j = 0; j < 600; j++)
            ck_assert_int_eq(uco_yield(), -ECANCELED);
        ck_assert_int_eq(uco_scope_close(&s, 0), 0);
        ck_assert_int_eq(uco_yield(), 0);
    }
    return 0;
}

START_TEST(a_call_that_succeeds_begins_a_new_row_of_1_000)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, ignore_in_two_rows_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

static intptr_t
ignore_around_shields(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    for (int i = 0; i < 1500; i++) {
        uco_scope shield;

        ck_assert_int_eq(uco_yield(), -ECANCELED);
        ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    }
    return 0;
}

static intptr_t
ignore_around_shields_main(void *arg)
{
    return uco_join(uco_create_task(ignore_around_shields, arg));
}

START_TEST(a_call_that_succeeds_in_a_shield_begins_a_new_row_too)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, ignore_around_shields_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

static void
add_creation_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "creation");

    tcase_add_test(tcase, a_task_results_in_what_its_body_returned);
    tcase_add_test(tcase, results_reach_from_the_lowest_error_to_the_highest_pointer);
    tcase_add_test(tcase, a_task_keeps_a_copy_of_its_name);
    tcase_add_test(tcase, a_task_without_a_name_is_called_by_its_number);
    tcase_add_test(tcase, task_numbers_are_unique_in_the_process);
    tcase_add_test(tcase, stack_sizes_out_of_range_are_refused);
    tcase_add_test(tcase, stack_sizes_reach_from_16_KiB_to_1_GiB);
    tcase_add_test(tcase, a_task_has_the_stack_it_asked_for);
    tcase_add_test(tcase, a_task_needs_a_body);
    tcase_add_test(tcase, creating_works_without_the_macros_too);
    tcase_add_test(tcase, tasks_start_at_the_next_suspension_in_the_order_of_their_creation);
    tcase_add_test(tcase, dropping_the_reference_does_not_stop_a_task);
    tcase_add_test(tcase, an_eager_task_runs_at_once_until_it_first_suspends);
    tcase_add_test(tcase, an_eager_task_that_does_not_suspend_is_done_when_it_was_created);
    tcase_add_test(tcase, eager_tasks_nest);
    tcase_add_test(tcase, an_eager_task_runs_at_once_in_a_callback_too);
    tcase_add_test(tcase, an_eager_task_is_not_inside_its_creators_cancelled_scope);
    tcase_add_test(tcase, a_task_cancelled_before_its_start_is_discarded);
    tcase_add_test(tcase, a_child_that_has_not_started_when_its_parent_returns_is_discarded);
    tcase_add_test(tcase, a_task_that_has_not_started_when_its_loop_closes_is_discarded);
    tcase_add_test(tcase, a_task_that_started_is_not_discarded);
    tcase_add_test(tcase, either_the_body_or_discard_owns_the_argument);
}

static void
add_tree_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "tree");

    tcase_add_test(tcase, children_are_cancelled_and_waited_for_before_the_result_is_published);
    tcase_add_test(tcase, cancelling_a_task_that_only_waits_for_its_children_does_nothing);
    tcase_add_test(tcase, a_child_that_ignores_its_cancellation_is_reported_every_10_s);
    tcase_add_test(tcase, the_youngest_generation_ends_first);
    tcase_add_test(tcase, a_detached_task_outlives_the_one_that_created_it);
    tcase_add_test(tcase, a_task_may_detach_itself);
    tcase_add_test(tcase, detaching_the_last_child_ends_its_parents_wait);
    tcase_add_test(tcase, only_a_running_task_can_be_detached);
    tcase_add_test(tcase, a_task_that_a_callback_creates_belongs_to_the_loop);
    tcase_add_test(tcase, what_an_eager_task_creates_is_its_own);
}

static void
add_suspension_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "suspension");

    tcase_add_test(tcase, sleep_takes_the_time_it_was_told);
    tcase_add_test(tcase, sleep_never_wakes_early);
    tcase_add_test(tcase, a_sleep_of_zero_or_less_is_a_yield);
    tcase_add_test(tcase, a_sleep_is_measured_from_its_call_not_from_the_turns_beginning);
    tcase_add_test(tcase, sleepers_wake_by_time_and_at_the_same_time_in_the_order_of_their_calls);
    tcase_add_test(tcase, tasks_that_yield_take_turns);
    tcase_add_test(tcase, the_current_task_is_the_one_that_runs);
    tcase_add_test(tcase, each_coroutine_keeps_its_errno_across_suspensions);
    tcase_add_loop_test(tcase, each_64th_call_in_a_row_that_finishes_at_once_lets_others_run, 0,
                        COUNT(at_once));
    tcase_add_test(tcase, a_suspension_begins_a_new_row_of_64);
}

static void
add_cancellation_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "cancellation");

    tcase_add_test(tcase, cancelling_wakes_a_sleeping_task_at_once);
    tcase_add_test(tcase, what_was_granted_before_the_cancellation_stays_granted);
    tcase_add_test(tcase, what_comes_after_the_cancellation_comes_too_late);
    tcase_add_test(tcase, a_ready_task_can_be_cancelled);
    tcase_add_test(tcase, a_cancellation_at_the_moment_a_sleep_ends_is_not_lost);
    tcase_add_test(tcase, a_finished_task_cannot_be_cancelled);
    tcase_add_test(tcase, a_task_that_cancels_itself_notices_at_its_next_suspension);
    tcase_add_test(tcase, cancelling_again_does_not_disturb_the_clean_up);
    tcase_add_test(tcase, another_thread_can_cancel_a_task);
    tcase_add_test(tcase, cancelling_a_plain_future_resolves_it_and_leaves_who_awaits_it_alone);
    tcase_add_test(tcase, cancelling_a_task_and_what_it_awaits_is_one_cancellation);
    tcase_add_test(tcase, a_cancelled_task_still_decides_its_result);
    tcase_add_test(tcase, cancelling_one_of_three_leaves_the_others);
    tcase_add_test(tcase, tasks_left_to_the_loop_end_cancelled_when_it_closes);
    tcase_add_test(tcase, cancelling_a_waiter_does_not_cancel_what_it_waits_for);
    tcase_add_test(tcase, a_chain_of_10_000_tasks_ends);
    tcase_add_test(tcase, every_suspension_of_a_cancelled_task_fails);
    tcase_add_loop_test(tcase, a_cancelled_call_does_nothing_and_lets_others_run, 0,
                        COUNT(cancelled_calls));
    tcase_add_test(tcase, completing_calls_complete_in_a_cancelled_task);
    tcase_add_test(tcase, a_task_that_ignores_1_000_cancellations_in_a_row_is_reported);
    tcase_add_test(tcase, a_call_that_succeeds_begins_a_new_row_of_1_000);
    tcase_add_test(tcase, a_call_that_succeeds_in_a_shield_begins_a_new_row_too);
}

int
main(void)
{
    Suite *suite = suite_create("task");

    unsetenv("UCO_DEBUG");
    add_creation_tests(suite);
    add_tree_tests(suite);
    add_suspension_tests(suite);
    add_cancellation_tests(suite);
    return suite_end(suite);
}
