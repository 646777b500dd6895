/* SPDX-License-Identifier: MIT */

#include "echo_compare.h"

#include <stdio.h>
#include <string.h>

/* What is compared now. A benchmark's subject is a function, and these servers are data: so each
 * place in the comparison has a function. */
static struct {
    const struct echo_comparison *comparison;
    const struct echo_subject *subjects[BENCH_SUBJECTS_MAX];
} now;

#define PLACE(number)                                                                              \
    static bool place_run_##number(const void *arg, double values[])                               \
    {                                                                                              \
        return now.comparison->run(now.subjects[number], arg, values);                             \
    }

PLACE(0)
PLACE(1)
PLACE(2)
PLACE(3)
PLACE(4)
PLACE(5)
PLACE(6)
PLACE(7)
PLACE(8)
PLACE(9)
PLACE(10)
PLACE(11)
PLACE(12)
PLACE(13)
PLACE(14)
PLACE(15)

static bench_run *const places[BENCH_SUBJECTS_MAX] = {
    place_run_0,  place_run_1,  place_run_2,  place_run_3,  place_run_4,  place_run_5,
    place_run_6,  place_run_7,  place_run_8,  place_run_9,  place_run_10, place_run_11,
    place_run_12, place_run_13, place_run_14, place_run_15,
};

/* --- what is chosen --- */

static struct {
    const char *comparisons; /* NULL: all */
    const char *subjects;    /* NULL: all */
} chosen;

void
echo_choose(int *argc, char **argv)
{
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--only") == 0 && i + 1 < *argc)
            chosen.comparisons = argv[++i];
        else if (strcmp(argv[i], "--subjects") == 0 && i + 1 < *argc)
            chosen.subjects = argv[++i];
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    *argc = kept;
}

static bool
subject_is_chosen(const char *name)
{
    const char *list = chosen.subjects;
    size_t length = strlen(name);

    while (list != NULL) {
        if (strncmp(list, name, length) == 0 && (list[length] == ',' || list[length] == '\0'))
            return true;
        list = strchr(list, ',');
        if (list != NULL)
            list++;
    }
    return chosen.subjects == NULL;
}

/* --- a comparison --- */

static struct bench_subject
place_fill(size_t place, const char *name, const struct echo_comparison *comparison)
{
    const struct echo_subject *subject = echo_subject_named(name);
    const char *lacks;

    if (subject == NULL)
        bench_die("no subject %s", name);
    if (place == BENCH_SUBJECTS_MAX)
        bench_die("%s: too many subjects", comparison->what);
    now.subjects[place] = subject;
    lacks = echo_subject_lacks(subject, comparison->connections);
    return (struct bench_subject){
        .name = subject->what,
        .run = lacks == NULL ? places[place] : NULL,
        .without = lacks,
    };
}

void
echo_compare(const struct echo_comparison *comparison, const void *arg)
{
    struct bench_subject subjects[BENCH_SUBJECTS_MAX];
    size_t count = 0;

    if (chosen.comparisons != NULL && strstr(comparison->what, chosen.comparisons) == NULL)
        return;
    now.comparison = comparison;
    for (const char *const *name = comparison->names; *name != NULL; name++) {
        if (name == comparison->names || subject_is_chosen(*name)) {
            subjects[count] = place_fill(count, *name, comparison);
            count++;
        }
    }
    (comparison->with_peers ? bench_compare_peers : bench_compare)(
        comparison->what, comparison->metrics, comparison->metric_count, subjects, count, arg);
}

/* --- a round --- */

struct round {
    struct echo_server server;
    double processor; /* seconds, in the measured span */
};

static void
round_mark(void *arg, bool over)
{
    struct round *round = arg;
    double used = echo_server_time(&round->server);

    round->processor = over ? used - round->processor : used;
}

bool
echo_measure(const struct echo_subject *subject, echo_client *client, const struct echo_load *load,
             double values[])
{
    struct echo_figures figures = {0};
    struct round round = {0};
    bool right;

    if (!echo_server_start(&round.server, subject))
        return false;
    right = client(round.server.port, load, round_mark, &round, &figures);
    right = echo_server_stop(&round.server) && right;
    values[0] = (double) figures.count / figures.seconds;
    values[1] = round.processor / (double) figures.count * 1e6;
    values[2] = figures.p50;
    values[3] = figures.p99;
    return right;
}
