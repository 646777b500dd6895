/* SPDX-License-Identifier: MIT */

/* What becomes of the files: bars or lines on stderr, a summary in JSON on stdout. */

#include "ufetch.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)

/* Of `bytes`, `came` are from this run, in so many seconds; they are `part` of all, 0: who knows.
 * What is too long for the window is cut, not wrapped. */
static void
print_bar(const struct ufetch *ufetch, int columns, const char *label, double part, double bytes,
          double came, double seconds)
{
    int room = columns / 4, width = columns - room - 45;
    double left = part > 0 && came > 0 ? (bytes / part - bytes) / came * seconds : 0;
    char bar[256] = "";

    for (int i = 0; i < width && i < (int) sizeof bar - 1; i++)
        bar[i] = i < part * width ? '=' : ' ';
    uco_stream_printf(ufetch->messages,
                      "\033[?7l%-*.*s [%s] %3.0f%% %9.1f MiB %7.1f MiB/s %5.0f s\033[K\033[?7h\n",
                      room, room, label, bar, part * 100, bytes / MIB,
                      came / MIB / (seconds + 0.001), left);
}

/* A bar for each file that is under way, as far as there is room, and one for all of them. The
 * window is looked at each time: it may have been resized. In the end the cursor is where the bars
 * begin, so that what is said next erases them first. */
static void
print_bars(const struct ufetch *ufetch)
{
    double parts = (double) ufetch->done, bytes = (double) ufetch->bytes, now = uco_time();
    double came = (double) ufetch->received;
    struct winsize window = {0};
    char label[64];
    int lines = 1;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_col == 0 || window.ws_row == 0)
        window = (struct winsize){.ws_col = 80, .ws_row = 24};
    for (int i = 0; i < ufetch->worker_count; i++) {
        const struct worker *worker = &ufetch->workers[i];
        double received = (double) worker->received, here = received - (double) worker->first;
        double part = worker->total > 0 ? received / (double) worker->total : 0;

        if (worker->url == NULL || worker->outcome != RUNNING)
            continue;
        parts += part;
        bytes += received;
        came += here;
        if (lines < window.ws_row - 1) {
            lines++;
            print_bar(ufetch, window.ws_col, worker->name, part, received, here,
                      now - worker->began);
        }
    }
    snprintf(label, sizeof label, "%zu of %zu%s", ufetch->done, ufetch->listed,
             ufetch->all_listed ? "" : " or more");
    print_bar(ufetch, window.ws_col, label,
              ufetch->all_listed ? parts / (double) ufetch->listed : 0, bytes, came,
              now - ufetch->began);
    uco_stream_printf(ufetch->messages, "\033[J\033[%dA", lines);
}

intptr_t
progress_bars(void *ufetch)
{
    int r;

    while ((r = uco_sleep(0.1)) == 0)
        print_bars(ufetch);
    return r;
}

/* Also in a cancelled task: nothing that was begun goes unreported. On a terminal the bars tell of
 * what goes well. Nothing in the texts needs to be escaped: fetch.c has cleaned them. */
void
progress_report(const struct worker *worker)
{
    static const char *const outcomes[] = {"running", "fetched", "present", "failed", "unfinished"};
    const uco_http_download_result *result = &worker->result;
    struct ufetch *ufetch = worker->ufetch;
    bool failed = worker->outcome == FAILED || worker->outcome == UNFINISHED;
    unsigned long long bytes = failed ? 0 : result->size, received = result->received;
    uco_scope shield;

    ufetch->done++;
    ufetch->counts[worker->outcome]++;
    ufetch->received += received;
    ufetch->bytes += bytes;
    uco_shield_open(&shield, UCO_FOREVER);
    if (ufetch->json)
        uco_stream_printf(ufetch->summary,
                          "%s\n{\"url\": \"%s\", \"file\": \"%s\", \"outcome\": \"%s\", "
                          "\"error\": \"%s\", \"sha256\": \"%s\", \"status\": %ld, "
                          "\"bytes\": %llu, \"received\": %llu, \"attempts\": %d, "
                          "\"seconds\": %.3f}",
                          ufetch->done == 1 ? "{\"results\": [" : ",", worker->url, worker->name,
                          outcomes[worker->outcome], worker->error, worker->sum, result->status,
                          bytes, received, result->attempts, result->seconds);
    if (failed)
        uco_stream_printf(ufetch->messages, "%sufetch: %s\n", ufetch->erase, worker->error);
    else if (!ufetch->quiet && !ufetch->bars)
        uco_stream_printf(ufetch->messages, "%s: %llu bytes%s\n", worker->name, bytes,
                          worker->outcome == PRESENT ? ", is there already" : "");
    uco_scope_close(&shield, 0);
}

/* The totals. Only when the summary is closed it is known whether all of it could be written. */
void
progress_end(struct ufetch *ufetch)
{
    const size_t *counts = ufetch->counts;
    double seconds = uco_time() - ufetch->began;
    int r;

    if (ufetch->json)
        uco_stream_printf(ufetch->summary,
                          "%s],\n\"totals\": {\"fetched\": %zu, \"present\": %zu, \"failed\": %zu, "
                          "\"unfinished\": %zu, \"bytes\": %llu, \"received\": %llu, "
                          "\"seconds\": %.3f}}\n",
                          ufetch->done == 0 ? "{\"results\": [" : "\n", counts[FETCHED],
                          counts[PRESENT], counts[FAILED], counts[UNFINISHED], ufetch->bytes,
                          ufetch->received, seconds);
    r = uco_stream_close(ufetch->summary);
    ufetch->broken |= r < 0;
    if (r < 0)
        uco_stream_printf(ufetch->messages, "%sufetch: the summary: %s\n", ufetch->erase,
                          uco_strerror(r));
    if (!ufetch->quiet)
        uco_stream_printf(ufetch->messages, "%s%zu of %zu fetched or there: %.1f MiB in %.1f s\n",
                          ufetch->erase, counts[FETCHED] + counts[PRESENT], ufetch->listed,
                          (double) ufetch->received / MIB, seconds);
    uco_stream_close(ufetch->messages);
}
