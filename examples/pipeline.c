/* SPDX-License-Identifier: MIT */

/*
 * pipeline - Two sources of different speed, merged into one stream, scaled, and counted.
 *
 *   fast --[queue]--\
 *                    merge --[queue]-- scale --[queue]-- sink
 *   slow --[queue]--/  ^
 *                      control: pause, go on, stop
 *
 * Each stage is a task that reads one queue and writes the next. The end travels down the same way
 * as the readings: a stage that has read the last one shuts down the queue it writes to.
 */

#include <errno.h>
#include <stdio.h>
#include <uco/uco.h>

enum { FAST, SLOW, SOURCES, PLACES = 4 };
enum command { PAUSE, GO_ON, STOP };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define QUIET 0.04 /* seconds without a reading, which the merger counts */

struct reading {
    int source;
    unsigned number; /* the source's own count */
    double value;
};

struct source {
    int number;
    double period;   /* seconds from one reading to the next */
    unsigned length; /* readings; 0: it goes on for ever */
    uco_queue *out;
    unsigned put, arrived; /* readings at the beginning of the pipeline, and at its end */
};

struct pipeline {
    struct source sources[SOURCES];
    uco_queue *control, *merged, *scaled; /* of enum command, of struct reading */
    unsigned quiet, wrong;
};

/* A generator: runs when the next reading is asked for, and keeps its place in between. */
static intptr_t
measure(void *arg)
{
    const struct source *source = arg;
    struct reading reading = {.source = source->number};
    int r = 0;

    while (r == 0 && (source->length == 0 || reading.number < source->length)) {
        reading.value = reading.number * 0.5;
        r = uco_sleep(source->period);
        if (r == 0)
            r = uco_generator_yield(&reading);
        reading.number++;
    }
    return r;
}

static intptr_t
run_source(void *arg)
{
    struct source *source = arg;
    uco_generator *readings = uco_generator_new(measure, source);
    void *reading;
    int r = readings != NULL ? 0 : -errno;

    while (r == 0 && (r = uco_generator_next(readings, &reading)) == 1) {
        r = uco_queue_put(source->out, reading);
        source->put += r == 0;
    }
    uco_generator_free(readings);
    uco_queue_shutdown(source->out, false);
    return r == -ESHUTDOWN ? 0 : r; /* nobody wants more: how an endless source ends */
}

/* They are refused further readings; what is queued goes through. */
static void
sources_stop(struct pipeline *p)
{
    for (int i = 0; i < SOURCES; i++)
        uco_queue_shutdown(p->sources[i].out, false);
}

/* Takes from whichever input has something, until all have ended. */
static intptr_t
merge(void *arg)
{
    struct pipeline *p = arg;
    enum command command = GO_ON;
    struct reading reading;
    uco_select_case cases[] = {
        {.queue = p->control, .op = UCO_SELECT_GET, .item = &command},
        {.queue = p->sources[FAST].out, .op = UCO_SELECT_GET, .item = &reading},
        {.queue = p->sources[SLOW].out, .op = UCO_SELECT_GET, .item = &reading},
    };
    size_t inputs = SOURCES;
    int r = 0;

    while (r == 0 && inputs > 0) {
        /* The control comes first: to wait for it alone is a pause. */
        ssize_t i = uco_select(cases, command == PAUSE ? 1 : 1 + inputs, QUIET);

        if (i == -ETIMEDOUT)
            p->quiet++;
        else if (i < 0)
            r = (int) i;
        else if (i > 0 && cases[i].result == -ESHUTDOWN)
            cases[i] = cases[inputs--]; /* it has ended; the last one takes its place */
        else if (i > 0)
            r = uco_queue_put(p->merged, &reading);
        else if (command == STOP)
            sources_stop(p);
    }
    uco_queue_shutdown(p->merged, false);
    return r;
}

static intptr_t
scale(void *arg)
{
    struct pipeline *p = arg;
    struct reading reading;
    int r;

    while ((r = uco_queue_get(p->merged, &reading)) == 0) {
        reading.value *= 2.0;
        r = uco_queue_put(p->scaled, &reading);
        if (r < 0)
            break;
    }
    uco_queue_shutdown(p->scaled, false);
    return r == -ESHUTDOWN ? 0 : r;
}

static intptr_t
sink(void *arg)
{
    struct pipeline *p = arg;
    struct reading reading;
    int r;

    while ((r = uco_queue_get(p->scaled, &reading)) == 0) {
        struct source *source = &p->sources[reading.source];

        p->wrong += reading.number != source->arrived++ || reading.value != reading.number;
    }
    return r == -ESHUTDOWN ? 0 : r;
}

static intptr_t
conduct(void *arg)
{
    struct pipeline *p = arg;
    int r = 0;

    for (enum command command = PAUSE; r == 0 && command <= STOP; command++) {
        r = uco_sleep(0.2);
        if (r == 0)
            r = uco_queue_put(p->control, &command);
    }
    return r;
}

static int
run_stages(struct pipeline *p)
{
    uco_task *stages[] = {
        uco_create_task(run_source, &p->sources[FAST]),
        uco_create_task(run_source, &p->sources[SLOW]),
        uco_create_task(merge, p),
        uco_create_task(scale, p),
        uco_create_task(sink, p),
        uco_create_task(conduct, p),
    };
    int r = uco_gather(stages, COUNT(stages), NULL); /* the first error ends all of them */

    uco_unref_all(stages, COUNT(stages));
    return r;
}

static intptr_t
run(void *arg)
{
    struct pipeline *p = arg;
    uco_queue *queues[] = {
        p->sources[FAST].out = uco_queue_new(sizeof(struct reading), PLACES),
        p->sources[SLOW].out = uco_queue_new(sizeof(struct reading), PLACES),
        p->merged = uco_queue_new(sizeof(struct reading), PLACES),
        p->scaled = uco_queue_new(sizeof(struct reading), PLACES),
        p->control = uco_queue_new(sizeof(enum command), 1),
    };
    int r = 0;

    for (size_t i = 0; i < COUNT(queues); i++) {
        if (queues[i] == NULL)
            r = -ENOMEM;
    }
    if (r == 0)
        r = run_stages(p);
    for (size_t i = 0; i < COUNT(queues); i++)
        uco_queue_free(queues[i]);
    return r;
}

int
main(void)
{
    struct pipeline p = {
        .sources = {{.number = FAST, .period = 0.005},
                    {.number = SLOW, .period = 0.02, .length = 12}},
    };
    const struct source *fast = &p.sources[FAST], *slow = &p.sources[SLOW];
    intptr_t r = uco_run(run, &p);

    if (r < 0)
        printf("failed: %s\n", uco_strerror((int) r));
    printf("fast: %u of %u readings arrived, slow: %u of %u\n", fast->arrived, fast->put,
           slow->arrived, slow->put);
    printf("%u times it was quiet for %g s, %u were wrong or out of order\n", p.quiet, QUIET,
           p.wrong);
    return r == 0 && fast->arrived == fast->put && slow->arrived == slow->put && fast->put > 0 &&
                   slow->put > 0 && p.quiet > 0 && p.wrong == 0
               ? 0
               : 1;
}
