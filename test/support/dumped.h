/* SPDX-License-Identifier: MIT */
#ifndef TEST_DUMPED_H
#define TEST_DUMPED_H

/* What uco_dump() has written, as a string. */

#include "support.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DUMPED_MAX ((size_t) 32 * 1024 * 1024)

/** The text of a file that was written to, which is closed; valid until the next call. */
static inline const char *
dumped_text(int fd)
{
    static char *text;
    size_t size = 0;
    ssize_t n;

    if (text == NULL)
        text = mmap(NULL, DUMPED_MAX, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(text, MAP_FAILED);
    while ((n = pread(fd, text + size, DUMPED_MAX - 1 - size, (off_t) size)) > 0)
        size += (size_t) n;
    text[size] = '\0';
    close(fd);
    return text;
}

static inline int
dumped_file(void)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/** A loop's dump; valid until the next call. */
static inline const char *
dumped(uco_loop *loop)
{
    int fd = dumped_file();

    ck_assert_int_eq(uco_dump(loop, fd), 0);
    return dumped_text(fd);
}

/** The line of the task with this name, up to its end; valid until the next call. */
static inline const char *
dumped_line(const char *text, const char *name)
{
    static char line[1024];
    char wanted[64];
    const char *at;
    size_t size;

    snprintf(wanted, sizeof wanted, "task '%s' (", name);
    at = strstr(text, wanted);
    ck_assert_msg(at != NULL, "no task '%s' in\n%s", name, text);
    size = strcspn(at, "\n");
    ck_assert_uint_lt(size, sizeof line);
    memcpy(line, at, size);
    line[size] = '\0';
    return line;
}

#define ck_assert_tells(text, what)                                                                \
    ck_assert_msg(strstr((text), (what)) != NULL, "no \"%s\" in\n%s", (what), (text))
#define ck_assert_tells_not(text, what)                                                            \
    ck_assert_msg(strstr((text), (what)) == NULL, "a \"%s\" in\n%s", (what), (text))

/** A child task with a name. */
static inline uco_task *
named(const char *name, uco_fn *fn, void *arg)
{
    const uco_task_options options = {.name = name};
    uco_task *task = uco_create_task_with(&options, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

#endif
