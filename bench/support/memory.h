/* SPDX-License-Identifier: MIT */
#ifndef MEMORY_H
#define MEMORY_H

/* What a process takes of the machine's memory. For C and C++: the peers use it too. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number of KiB behind a name in a file of /proc; negative when it is not there. */
static inline double
memory_kib(const char *path, const char *name)
{
    char text[4096];
    size_t length = 0;
    ssize_t n;
    char *found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    while ((n = read(fd, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t) n;
    close(fd);
    text[length] = '\0';
    found = strstr(text, name);
    return found != NULL ? strtod(found + strlen(name), NULL) : -1;
}

/* Bytes: what is resident and the page tables. The resident size in statm and status is only
 * roughly right on kernels since 6.2; the sum over the mappings is exact. */
static inline double
memory_taken(void)
{
    double resident = memory_kib("/proc/self/smaps_rollup", "\nRss:");

    if (resident < 0) /* before Linux 4.14 */
        resident = memory_kib("/proc/self/status", "\nVmRSS:");
    return (resident + memory_kib("/proc/self/status", "\nVmPTE:")) * 1024;
}

/* Four numbers for what is left of a growth, right after the end of what grew and later: in percent
 * and in KiB. Less than a page counts as a page, so that all of them can be divided by. */
static inline void
memory_left(double values[4], double start, double full, const double after[2])
{
    for (int i = 0; i < 2; i++) {
        double left = after[i] - start > 4096 ? after[i] - start : 4096;

        values[i] = 100 * left / (full - start);
        values[2 + i] = left / 1024;
    }
}

#endif
