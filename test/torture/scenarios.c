/* SPDX-License-Identifier: MIT */

/* The scenarios in their order, and what several of them need. */

#include "scenarios.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

const struct scenario *const torture_scenarios[] = {
    &torture_tree,
    &torture_options_scenario,
    &torture_futures,
    &torture_waits,
    &torture_groups,
    &torture_scopes,
    &torture_locals,
    &torture_generators,
    &torture_locks,
    &torture_events,
    &torture_barriers,
    &torture_queues,
    &torture_selects,
    &torture_jobs,
    &torture_submits,
    &torture_loop_threads,
    &torture_crossings,
    &torture_loops,
    &torture_callbacks,
    &torture_watches,
    &torture_closes,
    &torture_pipes,
    &torture_datagrams,
    &torture_files,
    &torture_passes,
    &torture_streams,
    &torture_dials,
    &torture_servers,
    &torture_processes,
    &torture_signals,
    &torture_names,
    &torture_gone_cancel,
    &torture_gone_timers,
    &torture_gone_wake,
    &torture_gone_close,
    &torture_gone_io,
    NULL,
};

struct talk {
    uco_fn *sides[2];
    void *arg;
};

static intptr_t
talk_gather(void *arg)
{
    const struct talk *talk = arg;
    uco_task *tasks[COUNT(talk->sides)];
    int r;

    for (size_t i = 0; i < COUNT(tasks); i++)
        MADE(tasks[i], uco_create_task(talk->sides[i], talk->arg), ENOMEM);
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

intptr_t
torture_talk(uco_fn *a, uco_fn *b, void *arg)
{
    struct talk talk = {.sides = {a, b}, .arg = arg};

    /* What is told wrong is waited for in vain. */
    return MAY(uco_with_timeout(torture_case.scenario->real ? 5 : 600, talk_gather, &talk),
               NETWORK);
}

void
torture_close(int fd)
{
    if (fd >= 0)
        MAY(uco_close(fd), THE_ERROR);
}

void
torture_fill(char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char) ('a' + i % 23);
}

void
torture_is_filled(const char *bytes, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++)
        MUST(bytes[i] == (char) ('a' + (from + i) % 23));
}

struct sockaddr_in
torture_address(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    MUST(getsockname(fd, (struct sockaddr *) &address, &size) == 0);
    return address;
}
