/* SPDX-License-Identifier: MIT */

/* ufetch: the command line, and the tasks. */

#include "ufetch.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_SOME = 1, STATUS_USAGE = 2, STATUS_NONE = 3, STATUS_INTERRUPTED = 130 };

static const char help[] =
    "usage: ufetch [OPTION]... URL...\n"
    "Fetch URLs into files, many at once. A file gets its name when it is whole.\n"
    "\n"
    "  -i, --input FILE   more URLs, a line each: URL [TAB NAME] [TAB sha256:HEX]; - = stdin\n"
    "  -o, --output DIR   where to, made if it is not there\n"
    "  -j, --jobs N       so many at once (8; up to 256)\n"
    "  -c, --continue     go on where an earlier run ended; what is there is not fetched again\n"
    "  -r, --retries N    more attempts, where one may help (3)\n"
    "  -t, --timeout S    give up when nothing comes for S seconds (30)\n"
    "  -H, --header LINE  send a header, \"Name: value\"; may be repeated\n"
    "  -k, --insecure     accept any certificate\n"
    "      --sha256 HEX   what the file's SHA-256 is (one URL)\n"
    "      --json         a summary, to stdout\n"
    "  -q, --quiet        tell of failures only\n"
    "  -h, --help; --version\n"
    "\n"
    "Status: 0 all were fetched, 1 some failed, 2 usage, or it could not begin, 3 all failed,\n"
    "130 interrupted.\n";

static const struct option options[] = {
    {"input", 1, NULL, 'i'},    {"output", 1, NULL, 'o'},   {"jobs", 1, NULL, 'j'},
    {"continue", 0, NULL, 'c'}, {"retries", 1, NULL, 'r'},  {"timeout", 1, NULL, 't'},
    {"header", 1, NULL, 'H'},   {"insecure", 0, NULL, 'k'}, {"sha256", 1, NULL, 'S'},
    {"json", 0, NULL, 'J'},     {"quiet", 0, NULL, 'q'},    {"help", 0, NULL, 'h'},
    {"version", 0, NULL, 'V'},  {NULL, 0, NULL, 0},
};

static int
number(const char *given, int otherwise, int least, int most)
{
    char *end;
    long value = given != NULL ? strtol(given, &end, 10) : otherwise;

    if (given != NULL && (end == given || *end != '\0' || value < least || value > most))
        errx(STATUS_USAGE, "%s: a number from %d to %d is needed", given, least, most);
    return (int) value;
}

static void
parse_options(struct ufetch *ufetch, int argc, char *argv[])
{
    const char *given[CHAR_MAX + 1] = {NULL}; /* by letter: the argument, or "" */
    const char **headers = calloc((size_t) argc, sizeof *headers);
    int letter, headers_given = 0;

    while ((letter = getopt_long(argc, argv, "i:o:j:cr:t:H:kqh", options, NULL)) != -1) {
        if (letter == '?' || headers == NULL)
            errx(STATUS_USAGE, "--help lists the options");
        given[letter] = optarg != NULL ? optarg : "";
        if (letter == 'H')
            headers[headers_given++] = optarg;
    }
    if (given['h'] != NULL || given['V'] != NULL) {
        fputs(given['h'] != NULL ? help : "ufetch " UCO_VERSION "\n", stdout);
        exit(0);
    }
    ufetch->urls = argv + optind;
    ufetch->input = given['i'];
    ufetch->sum = given['S'];
    ufetch->resume = given['c'] != NULL;
    ufetch->quiet = given['q'] != NULL;
    ufetch->json = given['J'] != NULL;
    ufetch->bars = !ufetch->quiet && isatty(STDERR_FILENO) == 1;
    ufetch->erase = ufetch->bars ? "\r\033[J" : "";
    ufetch->worker_count = number(given['j'], 8, 1, WORKERS_MAX);
    ufetch->request.retries = number(given['r'], 3, 0, INT_MAX);
    ufetch->client_options = (uco_http_client_options){
        .headers = headers,
        .connect_timeout = number(given['t'], 0, 1, INT_MAX),
        .read_timeout = number(given['t'], 0, 1, INT_MAX),
        .max_connections = (size_t) ufetch->worker_count,
        .max_per_host = (size_t) ufetch->worker_count,
        .insecure = given['k'] != NULL,
    };
    if (ufetch->urls[0] == NULL && ufetch->input == NULL)
        errx(STATUS_USAGE, "no URL; --help tells more");
    if (ufetch->sum != NULL && (ufetch->input != NULL || ufetch->urls[1] != NULL))
        errx(STATUS_USAGE, "--sha256 is for one URL");
    if (ufetch->input != NULL && strcmp(ufetch->input, "-") != 0)
        ufetch->input_fd = open(ufetch->input, O_RDONLY | O_CLOEXEC);
    if (ufetch->input_fd < 0)
        err(STATUS_USAGE, "%s", ufetch->input);
    if (given['o'] != NULL && chdir(given['o']) < 0 &&
        (mkdir(given['o'], 0777) < 0 || chdir(given['o']) < 0))
        err(STATUS_USAGE, "%s", given['o']);
}

/* Ctrl-C cancels this task, and uco_group_wait() hands that on to the workers. What comes after it
 * is in a shield: what has become of each file is still told. A second Ctrl-C kills the process. */
static intptr_t
ufetch_run(void *arg)
{
    struct ufetch *ufetch = arg;
    uco_group *workers;
    uco_task *bars;
    uco_scope shield;
    int r;

    ufetch->began = uco_time();
    ufetch->client = uco_http_client_new(&ufetch->client_options);
    if (ufetch->client == NULL)
        return -errno; /* EINVAL: a header is wrong */
    ufetch->list = ufetch->input != NULL ? uco_stream_new(ufetch->input_fd) : NULL;
    ufetch->broken = ufetch->input != NULL && ufetch->list == NULL;
    ufetch->messages = uco_stream_new(dup(STDERR_FILENO));
    ufetch->summary = uco_stream_new(dup(STDOUT_FILENO));
    bars = ufetch->bars ? uco_create_task(progress_bars, ufetch) : NULL;
    workers = uco_group_new();
    for (int i = 0; workers != NULL && i < ufetch->worker_count; i++) {
        ufetch->workers[i].ufetch = ufetch;
        uco_group_create_task(workers, worker_run, &ufetch->workers[i]);
    }
    r = workers != NULL ? uco_group_wait(workers) : -ENOMEM; /* until the list's end */

    uco_shield_open(&shield, UCO_FOREVER);
    if (bars != NULL) {
        uco_cancel(bars);
        uco_join(bars);
    }
    progress_end(ufetch);
    uco_stream_close(ufetch->list);
    uco_http_client_close(ufetch->client);
    uco_scope_close(&shield, 0);
    uco_group_free(workers);
    return r;
}

int
main(int argc, char *argv[])
{
    static struct ufetch ufetch;
    const uco_loop_options loop = {.slow_callback = UCO_FOREVER}; /* sums take their time */
    intptr_t r;

    setlocale(LC_CTYPE, "C.UTF-8");
    parse_options(&ufetch, argc, argv);
    r = uco_run_with(&loop, ufetch_run, &ufetch);
    if (r == -ECANCELED)
        return STATUS_INTERRUPTED;
    if (r < 0)
        errx(STATUS_USAGE, "it cannot begin, or go on: %s", uco_strerror((int) r));
    if (ufetch.counts[FAILED] == 0)
        return ufetch.broken ? STATUS_SOME : 0;
    return ufetch.counts[FAILED] == ufetch.done ? STATUS_NONE : STATUS_SOME;
}
