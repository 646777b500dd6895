/* SPDX-License-Identifier: MIT */
#ifndef UFETCH_H
#define UFETCH_H

/*
 * ufetch: many URLs into files at once.
 *
 * Each worker is a task. It takes the next line of the list, fetches what the line names, tells
 * what has become of it, and takes the next one: so no list is too long. On a terminal one more
 * task draws the bars.
 */

#include <uco/http.h>
#include <uco/uco.h>

enum { WORKERS_MAX = 256, ERROR_SIZE = 1024 };
enum outcome { RUNNING, FETCHED, PRESENT, FAILED, UNFINISHED, OUTCOMES };

/* A worker, and the file that it fetches. */
struct worker {
    struct ufetch *ufetch;
    char *url;                 /* NULL: it waits for a line */
    const char *name, *wanted; /* of the file; its SHA-256 in hexadecimal, NULL: any */
    void *digest;              /* of what has come of it */
    double began;
    uint64_t first, received, total; /* bytes: at first, until now, in all (0: not known) */
    uco_http_download_result result;
    enum outcome outcome;
    char sum[65], error[ERROR_SIZE]; /* "": none */
};

struct ufetch {
    char **urls;                     /* of the command line, those that are left; NULL-terminated */
    const char *input, *sum, *erase; /* NULL: none; what erases the bars */
    int input_fd, worker_count;
    bool resume, quiet, json, bars;
    uco_http_client_options client_options;
    uco_http_request_options request;

    uco_http_client *client;
    uco_stream *list, *messages, *summary; /* input, stderr, stdout */
    uco_lock list_lock;                    /* held by the worker that waits for a line */
    void *names;                           /* a tree of those that are taken */
    struct worker workers[WORKERS_MAX];
    double began;
    unsigned long long bytes, received; /* of all files; those that came this time */
    size_t listed, done, counts[OUTCOMES];
    bool all_listed, broken; /* the list, or the summary, is */
};

intptr_t worker_run(void *worker);
intptr_t progress_bars(void *ufetch);
void progress_report(const struct worker *worker);
void progress_end(struct ufetch *ufetch);

#endif
