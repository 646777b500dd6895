/* SPDX-License-Identifier: MIT */
#ifndef SCENE_H
#define SCENE_H

/*
 * A scene shows one thing that goes wrong with asyncio and what becomes of it in uco. It tells what
 * happens as it happens, and checks it. Each is a program of its own, and one of the tour's.
 */

#include <stdbool.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Each returns 0, or 1 when something was not as it should be. */
int scene_client(FILE *out);
int scene_future(FILE *out);
int scene_gather(FILE *out);
int scene_thread(FILE *out);
int scene_stop(FILE *out);

struct scene {
    FILE *out;
    double began;      /* of CLOCK_MONOTONIC, in seconds */
    unsigned failures; /* checks that did not hold */
};

/** Starts a scene's clock. */
struct scene scene_begin(FILE *out);

/** What the scene's function returns. */
int scene_end(const struct scene *s);

/** Seconds since the scene began; in any thread. */
double scene_seconds(const struct scene *s);

/** A line about what happens, with the time since the scene began. */
void scene_say(const struct scene *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** A line about what must hold, with a check mark or a cross. */
void scene_check(struct scene *s, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Blocks the calling thread: for threads that have no loop. */
void scene_pause(double seconds);

/** An error's short name, for lines that show a result: "-EPERM". Numbers that are no error of a
 * scene's are "?". */
const char *error_name(long error);

#endif
