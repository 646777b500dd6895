/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include "support.h"

#include "base/ledger.h"
#include "core/bundle.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ThreadSanitizer starts one when a program starts its first. */
#if defined(__SANITIZE_THREAD__)
#define THREADS_OF_ITS_OWN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_OF_ITS_OWN true
#endif
#endif
#ifndef THREADS_OF_ITS_OWN
#define THREADS_OF_ITS_OWN false
#endif

#define NUMBERS_MAX 4096
#define GROUPS_MAX 64
#define FDS_NAMED_MAX 16

/* Of the entries of a directory. */
struct numbers {
    int number[NUMBERS_MAX];
    size_t count;
};

static struct numbers fds_before, threads_before, now;

/* Within what Check takes for a message. */
static char report[4000];

__attribute__((format(printf, 1, 2))) static void
report_add(const char *format, ...)
{
    size_t used = strlen(report);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(report + used, sizeof report - used, format, arguments);
    va_end(arguments);
}

static bool
numbers_have(const struct numbers *numbers, int number)
{
    for (size_t i = 0; i < numbers->count; i++) {
        if (numbers->number[i] == number)
            return true;
    }
    return false;
}

/* All but what lists them. */
static void
numbers_read(struct numbers *numbers, const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    ck_assert_ptr_nonnull(directory);
    numbers->count = 0;
    while ((entry = readdir(directory)) != NULL && numbers->count < NUMBERS_MAX) {
        int number = atoi(entry->d_name);

        if (isdigit((unsigned char) entry->d_name[0]) && number != dirfd(directory))
            numbers->number[numbers->count++] = number;
    }
    closedir(directory);
}

/* The compiler's name of a file depends on where it was built. */
static const char *
place_short(const char *place)
{
    static const char source[] = "/src/";
    const char *found = strstr(place, source);

    for (const char *next = found; next != NULL; next = strstr(next + 1, source))
        found = next;
    return found != NULL ? found + 1 : place;
}

/* --- threads --- */

/* A thread of uco's own or, unless the sanitizer has threads, anybody's. */
static bool
thread_is_left(int number)
{
    struct uco__ledger_note note;

    if (numbers_have(&threads_before, number))
        return false;
    return !THREADS_OF_ITS_OWN || uco__ledger_find(UCO__LEDGER_THREAD, (uintptr_t) number, &note);
}

static size_t
threads_left(void)
{
    size_t left = 0;

    numbers_read(&now, "/proc/self/task");
    for (size_t i = 0; i < now.count; i++)
        left += thread_is_left(now.number[i]);
    return left;
}

static void
thread_name(int number, char name[32])
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/comm", number);
    file = fopen(path, "re");
    if (file == NULL || fgets(name, 32, file) == NULL)
        strcpy(name, "?");
    if (file != NULL)
        fclose(file);
    name[strcspn(name, "\n")] = '\0';
}

/* Whether none is left. */
static bool
threads_report(double patience)
{
    double until = real_time() + patience;
    size_t left;

    while ((left = threads_left()) > 0 && real_time() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (size_t i = 0; i < now.count; i++) {
        struct uco__ledger_note note;
        char name[32];

        if (!thread_is_left(now.number[i]))
            continue;
        thread_name(now.number[i], name);
        if (uco__ledger_find(UCO__LEDGER_THREAD, (uintptr_t) now.number[i], &note))
            report_add("  thread %d '%s', made at %s\n", now.number[i], name,
                       place_short(note.place));
        else
            report_add("  thread %d '%s', not made by uco\n", now.number[i], name);
    }
    return left == 0;
}

/* --- file descriptors --- */

static void
fd_report(int fd)
{
    struct uco__ledger_note note;
    char path[64], link[256] = "?";
    ssize_t n;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof link - 1);
    if (n >= 0)
        link[n] = '\0';
    if (uco__ledger_find_fd(fd, &note))
        report_add("  fd %d, %s, made at %s\n", fd, link, place_short(note.place));
    else
        report_add("  fd %d, %s, not made by uco\n", fd, link);
}

static void
fds_report(void)
{
    size_t left = 0;

    numbers_read(&now, "/proc/self/fd");
    for (size_t i = 0; i < now.count; i++) {
        if (!numbers_have(&fds_before, now.number[i]) && left++ < FDS_NAMED_MAX)
            fd_report(now.number[i]);
    }
    if (left > FDS_NAMED_MAX)
        report_add("  and %zu more fds\n", left - FDS_NAMED_MAX);
    for (size_t i = 0; i < fds_before.count; i++) {
        if (!numbers_have(&now, fds_before.number[i]))
            report_add("  fd %d, which was open before, is closed\n", fds_before.number[i]);
    }
}

/* --- memory --- */

/* What one place made. */
struct group {
    struct uco__ledger_note first;
    uint64_t count;
    uint64_t size;
};

struct groups {
    struct group group[GROUPS_MAX];
    size_t count;
    uint64_t beyond; /* of places for which there is no room */
};

static void
groups_add(const struct uco__ledger_note *note, void *arg)
{
    struct groups *groups = arg;
    struct group *group = groups->group;
    const struct group *end = group + groups->count;

    /* What can say more of itself is reported one by one. */
    while (group < end && (group->first.place != note->place || group->first.describe != NULL))
        group++;
    if (group == end) {
        if (groups->count == GROUPS_MAX) {
            groups->beyond++;
            return;
        }
        groups->count++;
        *group = (struct group){.first = *note};
    }
    group->count++;
    group->size += note->size;
}

static void
group_describe(const struct uco__ledger_note *note)
{
    static char text[1500];

    text[0] = '\0';
    note->describe((const void *) note->key, text, sizeof text);
    for (const char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        report_add("    %s\n", line);
}

static void
group_report(const struct group *group, bool quiet)
{
    const char *kind = group->first.kind == UCO__LEDGER_MAP ? "mapping" : "block";

    if (group->count == 1)
        report_add("  %s of %" PRIu64 " bytes, number %" PRIu64 ", made at %s\n", kind, group->size,
                   group->first.number, place_short(group->first.place));
    else
        report_add(
            "  %" PRIu64 " %ss of %" PRIu64 " bytes, the first is number %" PRIu64 ", made at %s\n",
            group->count, kind, group->size, group->first.number, place_short(group->first.place));
    if (group->first.describe != NULL && quiet)
        group_describe(&group->first);
}

/* `quiet`: no thread is left that may use it. */
static void
memory_report(bool quiet)
{
    static struct groups groups;

    groups = (struct groups){.count = 0};
    uco__ledger_each(groups_add, &groups);
    for (size_t i = 0; i < groups.count; i++)
        group_report(&groups.group[i], quiet);
    if (groups.beyond > 0)
        report_add("  and %" PRIu64 " more\n", groups.beyond);
    if (uco__ledger_lost() > 0)
        report_add("  and maybe more: %" PRIu64 " could not be noted\n", uco__ledger_lost());
}

/* --- the whole --- */

void
ledger_open(void)
{
    numbers_read(&fds_before, "/proc/self/fd");
    numbers_read(&threads_before, "/proc/self/task");
    ck_assert_int_eq(uco__ledger_begin(), 0);
}

const char *
ledger_close(double patience)
{
    bool quiet;

    report[0] = '\0';
    uco__bundle_thread_end();
    quiet = threads_report(patience);
    uco__ledger_end();
    fds_report();
    memory_report(quiet);
    return report[0] != '\0' ? report : NULL;
}
