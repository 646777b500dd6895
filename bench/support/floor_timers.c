/* SPDX-License-Identifier: MIT */

#include "floor_timers.h"

#include "../peers/timers.h"
#include "bench.h"
#include "floor_heap.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static struct timespec
timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t) (ns / 1000000000),
                             .tv_nsec = (long) (ns % 1000000000)};
}

static int
floor_epoll(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0)
        bench_die("epoll: %s", strerror(errno));
    return epoll;
}

/* Kernels before 5.11 have no epoll_pwait2. */
static void
floor_wait(int epoll, uint64_t ns)
{
    struct timespec limit = timespec_of(ns);
    struct pollfd within = {.fd = epoll, .events = POLLIN};
    struct epoll_event event;

    if (syscall(SYS_epoll_pwait2, epoll, &event, 1, &limit, NULL, 0) < 0 && errno == ENOSYS)
        ppoll(&within, 1, &limit, NULL);
}

#if FLOOR_SWITCH

static void
floor_wait_until(int epoll, uint64_t deadline)
{
    uint64_t now = timers_now();

    if (now < deadline)
        floor_wait(epoll, deadline - now);
}

struct floor_sleeper {
    struct floor_context context;
    size_t index;
};

static struct {
    struct floor_context home;
    struct floor_sleeper *current;
    struct floor_heap heap;
    char *stacks;
    double *lateness;
    uint64_t max;
    size_t ended;
} floor_crowd;

static _Noreturn void
floor_sleeper_run(void)
{
    struct floor_sleeper *self = floor_crowd.current;
    size_t index = self->index;
    uint64_t length = timers_length(index, floor_crowd.max), began;

    floor_switch(&self->context, &floor_crowd.home);
    began = timers_now();
    floor_heap_insert(&floor_crowd.heap, began + length * 1000, index);
    floor_switch(&self->context, &floor_crowd.home);
    floor_crowd.lateness[index] = timers_lateness(began, length);
    floor_crowd.ended++;
    floor_switch(&self->context, &floor_crowd.home);
    abort();
}

static void
floor_sleeper_resume(size_t index)
{
    struct floor_sleeper *sleeper = floor_stack_top(floor_crowd.stacks, index, sizeof *sleeper);

    floor_switch(&floor_crowd.home, &sleeper->context);
}

static void
floor_sleeper_start(size_t index)
{
    struct floor_sleeper *sleeper = floor_stack_top(floor_crowd.stacks, index, sizeof *sleeper);

    floor_context_init(&sleeper->context, sleeper, floor_sleeper_run);
    sleeper->index = index;
    floor_crowd.current = sleeper;
    floor_switch(&floor_crowd.home, &sleeper->context);
}

static void
floor_sleepers_wake(int epoll)
{
    struct floor_heap *heap = &floor_crowd.heap;

    while (heap->count > 0) {
        uint64_t now = timers_now();

        while (heap->count > 0 && heap->entries[0].deadline <= now) {
            size_t index = heap->entries[0].index;

            floor_heap_remove(heap, 0);
            floor_sleeper_resume(index);
        }
        if (heap->count > 0)
            floor_wait_until(epoll, heap->entries[0].deadline);
    }
}

bool
floor_timers_crowd(size_t count, uint64_t max, double values[])
{
    int epoll = floor_epoll();
    uint64_t processor;

    prctl(PR_SET_TIMERSLACK, 1);
    floor_crowd.max = max;
    floor_crowd.stacks = floor_stacks_map(count);
    floor_crowd.lateness = bench_allocate(count * sizeof(double));
    floor_heap_init(&floor_crowd.heap, count, false);
    for (size_t i = 0; i < count; i++)
        floor_sleeper_start(i);

    processor = timers_processor();
    for (size_t i = 0; i < count; i++)
        floor_sleeper_resume(i);
    floor_sleepers_wake(epoll);
    processor = timers_processor() - processor;
    timers_summary(values, processor, floor_crowd.lateness, count);
    return floor_crowd.ended == count && values[4] == 0;
}

#endif

/* How many are gone again. */
static size_t
floor_arm_and_cancel(struct floor_heap *heap, size_t count)
{
    for (size_t i = 0; i < count; i++)
        floor_heap_insert(heap, timers_now() + timers_arm_length(i) * 1000, i);
    for (size_t i = 0; i < count; i++)
        floor_heap_remove(heap, heap->slots[i]);
    return count - heap->count;
}

bool
floor_timers_pairs(size_t count, double values[])
{
    size_t right;
    struct floor_heap heap;
    uint64_t began;

    floor_heap_init(&heap, count, true);
    right = floor_arm_and_cancel(&heap, count);
    began = timers_now();
    right += floor_arm_and_cancel(&heap, count);
    values[0] = (double) (timers_now() - began) / (double) count;
    floor_heap_done(&heap);
    return right == 2 * count;
}

bool
floor_timers_short(size_t count, double values[])
{
    int epoll = floor_epoll();
    double sum = 0, least = 0;

    prctl(PR_SET_TIMERSLACK, 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t began = timers_now();
        double late;

        floor_wait(epoll, TIMERS_SHORT_LENGTH * 1000);
        late = timers_lateness(began, TIMERS_SHORT_LENGTH);
        sum += late;
        least = late < least ? late : least;
    }
    values[0] = sum / (double) count;
    return least >= 0;
}

bool
floor_timers_timerfd(size_t count, double values[])
{
    size_t expired = 0;
    int epoll = floor_epoll(), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const struct itimerspec length = {.it_value = timespec_of(TIMERS_SHORT_LENGTH * 1000)};
    struct epoll_event event = {.events = EPOLLIN};
    double sum = 0;

    if (timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) < 0)
        bench_die("timerfd: %s", strerror(errno));
    for (size_t i = 0; i < count; i++) {
        uint64_t began = timers_now(), times;

        timerfd_settime(timer, 0, &length, NULL);
        if (epoll_wait(epoll, &event, 1, -1) == 1 && read(timer, &times, sizeof times) > 0)
            expired += times;
        sum += timers_lateness(began, TIMERS_SHORT_LENGTH);
    }
    values[0] = sum / (double) count;
    return expired == count;
}
