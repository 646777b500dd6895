/* SPDX-License-Identifier: MIT */

/*
 * What bench_fetch measures, with `curl --parallel`. The arguments are those of the other peers; as
 * many requests are done at once as there are connections. It prints requests a second and the
 * microseconds of processor time that each takes: the difference between a run of all requests and
 * one of those that open the connections, so that curl's start is not in it. It fails when curl
 * does; that all answers came is nginx's to tell.
 */

#include "clock.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
    double seconds;
    double processor; /* seconds */
};

static double
children_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_CHILDREN, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Without what it writes to stderr: 7.88 shows its progress there, whatever it is told. */
static pid_t
curl_start(const char *const argv[])
{
    posix_spawn_file_actions_t actions;
    pid_t pid;

    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) != 0 ||
        posix_spawnp(&pid, argv[0], &actions, NULL, (char **) (uintptr_t) argv, environ) != 0) {
        fprintf(stderr, "fetch_curl: curl cannot be started\n");
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static struct run
curl_run(const char *url, const char *at_once, unsigned long requests)
{
    char urls[256];
    const char *const argv[] = {
        "curl",       "--disable", /* no .curlrc */
        "--parallel", "--parallel-max", at_once,     "--fail",
        "--silent",   "--show-error",   "--noproxy", "*",
        "--output",   "/dev/null",      urls,        NULL,
    };
    double processor = children_time();
    uint64_t began = clock_read();
    int status;
    pid_t pid;

    snprintf(urls, sizeof urls, "%s?[1-%lu]", url, requests);
    pid = curl_start(argv);
    if (waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "fetch_curl: curl has failed: %d\n", WEXITSTATUS(status));
        exit(1);
    }
    return (struct run){
        .seconds = (double) (clock_read() - began) / 1e9,
        .processor = children_time() - processor,
    };
}

int
main(int argc, char **argv)
{
    unsigned long connections, requests;
    struct run first, all;

    if (argc != 7 || strcmp(argv[1], "fetch") != 0 ||
        (connections = strtoul(argv[4], NULL, 10)) == 0 ||
        (requests = strtoul(argv[6], NULL, 10)) == 0) {
        fprintf(stderr, "usage: fetch_curl fetch URL SIZE CONNECTIONS TASKS REQUESTS\n");
        return 2;
    }
    first = curl_run(argv[2], argv[4], connections);
    all = curl_run(argv[2], argv[4], connections + requests);
    /* So few requests that they are lost in the noise: as if curl had started in no time. */
    if (all.seconds <= first.seconds || all.processor <= first.processor) {
        first = (struct run){0};
        requests += connections;
    }
    printf("%g %g\n", (double) requests / (all.seconds - first.seconds),
           (all.processor - first.processor) / (double) requests * 1e6);
    return 0;
}
