/* SPDX-License-Identifier: MIT */

/*
 * What bench_wake measures, with GNU Pth. Its arguments are "port" and how many units of work to
 * measure; it prints nanoseconds per operation, and fails when its counts do not add up.
 */

#include "clock.h"

#include <pth.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THERE, BACK };

struct pair {
    pth_msgport_t ports[2];
    size_t units;
    size_t messages;
};

static pth_message_t *
port_get(pth_msgport_t port, pth_event_t arrived)
{
    pth_message_t *message;

    while ((message = pth_msgport_get(port)) == NULL)
        pth_wait(arrived);
    return message;
}

static void *
port_partner(void *arg)
{
    struct pair *pair = arg;
    pth_event_t arrived = pth_event(PTH_EVENT_MSG, pair->ports[THERE]);

    for (size_t i = 0; i < pair->units; i++) {
        pth_message_t *message = port_get(pair->ports[THERE], arrived);

        pair->messages++;
        pth_msgport_put(pair->ports[BACK], message);
    }
    pth_event_free(arrived, PTH_FREE_ALL);
    return NULL;
}

/* The same message goes there and back: that is two. */
static size_t
messages_run(size_t units)
{
    struct pair pair = {.units = units,
                        .ports = {pth_msgport_create("there"), pth_msgport_create("back")}};
    pth_event_t arrived = pth_event(PTH_EVENT_MSG, pair.ports[BACK]);
    pth_t thread = pth_spawn(PTH_ATTR_DEFAULT, port_partner, &pair);
    pth_message_t message = {0};

    if (thread == NULL)
        return 0;
    for (size_t i = 0; i < units; i++) {
        pth_msgport_put(pair.ports[THERE], &message);
        pair.messages += port_get(pair.ports[BACK], arrived) == &message;
    }
    pth_join(thread, NULL);
    pth_event_free(arrived, PTH_FREE_ALL);
    pth_msgport_destroy(pair.ports[THERE]);
    pth_msgport_destroy(pair.ports[BACK]);
    return pair.messages;
}

int
main(int argc, char **argv)
{
    size_t units = argc == 3 ? strtoul(argv[2], NULL, 10) : 0, messages;
    uint64_t began, took;

    if (units == 0 || strcmp(argv[1], "port") != 0) {
        fprintf(stderr, "usage: wake_pth port UNITS\n");
        return 2;
    }
    if (!pth_init()) {
        perror("pth_init");
        return 1;
    }
    messages_run(units / 10 + 1);
    began = clock_read();
    messages = messages_run(units);
    took = clock_read() - began;
    if (messages != units * 2) {
        fprintf(stderr, "%zu messages instead of %zu\n", messages, units * 2);
        return 1;
    }
    printf("%f\n", (double) took / (double) messages);
    return 0;
}
