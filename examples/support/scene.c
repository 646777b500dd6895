/* SPDX-License-Identifier: MIT */
#include "scene.h"

#include "terminal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

static double
clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

struct scene
scene_begin(FILE *out)
{
    return (struct scene){.out = out, .began = clock_seconds()};
}

int
scene_end(const struct scene *s)
{
    return s->failures == 0 ? 0 : 1;
}

double
scene_seconds(const struct scene *s)
{
    return clock_seconds() - s->began;
}

void
scene_say(const struct scene *s, const char *format, ...)
{
    va_list arguments;

    fprintf(s->out, "%s%7.3f s%s  ", ink(s->out, INK_DIM), scene_seconds(s), ink(s->out, INK_OFF));
    va_start(arguments, format);
    vfprintf(s->out, format, arguments);
    va_end(arguments);
    fputc('\n', s->out);
}

void
scene_check(struct scene *s, bool holds, const char *format, ...)
{
    const char *sign = mark(holds);
    va_list arguments;

    if (!holds)
        s->failures++;
    /* Ends where the times above it end: the mark is one column wide, or a word of two. */
    fprintf(s->out, "%*s%s%s%s  ", strlen(sign) == 2 ? 7 : 8, "",
            ink(s->out, holds ? INK_GOOD : INK_BAD), sign, ink(s->out, INK_OFF));
    va_start(arguments, format);
    vfprintf(s->out, format, arguments);
    va_end(arguments);
    fputc('\n', s->out);
}

void
scene_pause(double seconds)
{
    struct timespec rest = {.tv_sec = (time_t) seconds};

    rest.tv_nsec = (long) ((seconds - (double) rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
}

const char *
error_name(long error)
{
    switch (error) {
    case 0:
        return "0";
    case -EBUSY:
        return "-EBUSY";
    case -ECANCELED:
        return "-ECANCELED";
    case -EDEADLK:
        return "-EDEADLK";
    case -EPERM:
        return "-EPERM";
    case -ESHUTDOWN:
        return "-ESHUTDOWN";
    default:
        return "?";
    }
}
