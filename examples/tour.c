/* SPDX-License-Identifier: MIT */

/*
 * The tour: five things that go wrong with asyncio sooner or later, uco's code for each, and what
 * happens when it runs.
 *
 * The code that is shown is cut out of the scenes' own files when this is built: it is the code
 * that runs.
 */

#include "excerpts.h"
#include "support/scene.h"
#include "support/terminal.h"

#include <locale.h>
#include <stdlib.h>
#include <uco/uco.h>

enum { COLUMNS = 96, INDENT = 4 };

struct station {
    const char *title;
    const char *pitfall; /* what goes wrong, in words */
    const char *python;  /* and in code */
    const char *instead; /* what uco does, in words */
    const struct excerpt *excerpt;
    int (*scene)(FILE *out);
};

static const struct station stations[] = {
    {
        .title = "The client that nobody closed",
        .pitfall =
            "The client outlives its loop. What it still holds is cleaned up at exit, when there\n"
            "is nothing left to clean it up with, far from the line that forgot it.\n",
        .python = "async def main():\n"
                  "    client = httpx.AsyncClient()\n"
                  "    await client.get(url)\n"
                  "\n"
                  "asyncio.run(main())\n"
                  "# later, from nowhere: RuntimeError: Event loop is closed\n",
        .instead =
            "A client is a resource of its loop, which closes it while it still can, and reports\n"
            "the line that opened it.\n",
        .excerpt = &excerpt_client,
        .scene = scene_client,
    },
    {
        .title = "The loop that did not wake",
        .pitfall =
            "A future is not safe to touch from another thread. Nothing says so: the result is\n"
            "set, and the loop goes on sleeping until something else happens to wake it.\n",
        .python = "future = loop.create_future()\n"
                  "threading.Thread(target=lambda: future.set_result(42)).start()\n"
                  "await future  # may wait for ever\n",
        .instead =
            "Any thread may resolve a future, and whoever waits for it wakes, on any loop.\n",
        .excerpt = &excerpt_future,
        .scene = scene_future,
    },
    {
        .title = "The calls that looked concurrent",
        .pitfall =
            "f(1) makes an object that does nothing yet. To await it is to run it to its end, so\n"
            "a loop of awaits takes as long as all of them together.\n",
        .python = "async def f(x):\n"
                  "    await asyncio.sleep(1)\n"
                  "    return x * x + 2\n"
                  "\n"
                  "[await f(x) for x in (1, 3)]  # [3, 11], after 2 s\n",
        .instead =
            "There are no coroutine objects. f(x) is a call and looks like one; what runs beside\n"
            "the caller is a task, and is created as one.\n",
        .excerpt = &excerpt_gather,
        .scene = scene_gather,
    },
    {
        .title = "The loop in a thread",
        .pitfall =
            "Many calls in the one order that works, on the right threads. Most other orders hang\n"
            "or lose work, and do so quietly.\n",
        .python = "loop = asyncio.new_event_loop()\n"
                  "thread = threading.Thread(target=loop.run_forever)\n"
                  "thread.start()\n"
                  "future = asyncio.run_coroutine_threadsafe(f(), loop)\n"
                  "future.result()\n"
                  "loop.call_soon_threadsafe(loop.stop)  # not loop.stop()\n"
                  "thread.join()                         # not before the stop\n"
                  "loop.close()                          # not before the join\n",
        .instead =
            "Start and stop are two calls that have no wrong order. The single steps exist too,\n"
            "and each mistake is answered at once.\n",
        .excerpt = &excerpt_thread,
        .scene = scene_thread,
    },
    {
        .title = "The stop that came too early",
        .pitfall =
            "What a stopped loop had accepted stays as it is: never run, never cancelled. A later\n"
            "submit is accepted too, and whoever waits for it waits for ever.\n",
        .python = "loop.call_soon_threadsafe(loop.stop)\n"
                  "future = asyncio.run_coroutine_threadsafe(f(), loop)  # accepted\n"
                  "future.result()                                       # hangs\n",
        .instead =
            "Work that was accepted is run, or ends as cancelled. Work that comes too late is\n"
            "refused with -ESHUTDOWN.\n",
        .excerpt = &excerpt_stop,
        .scene = scene_stop,
    },
};

static void
heading_print(FILE *out, size_t number, const struct station *station)
{
    fprintf(out, "%s", ink(out, INK_DIM));
    rule_print(out, COLUMNS);
    fprintf(out, "%s\n%s%zu  %s%s\n\n", ink(out, INK_OFF), ink(out, INK_TITLE), number,
            station->title, ink(out, INK_OFF));
}

/* Returns the scene's result, and how long it took. */
static int
station_run(FILE *out, size_t number, const struct station *station, double *took)
{
    struct scene clock;
    int r;

    heading_print(out, number, station);
    fprintf(out, "%sIn asyncio%s\n", ink(out, INK_TITLE), ink(out, INK_OFF));
    fprintf(out, "%s\n", station->pitfall);
    code_print(out, LANGUAGE_PYTHON, station->python, INDENT);

    fprintf(out, "\n%sIn uco%s\n", ink(out, INK_TITLE), ink(out, INK_OFF));
    fprintf(out, "%s\n", station->instead);
    code_print(out, LANGUAGE_C, station->excerpt->text, INDENT);

    fprintf(out, "\n%sIt runs%s %s(examples/%s, line %d)%s\n\n", ink(out, INK_TITLE),
            ink(out, INK_OFF), ink(out, INK_DIM), station->excerpt->file, station->excerpt->line,
            ink(out, INK_OFF));
    clock = scene_begin(out);
    r = station->scene(out);
    *took = scene_seconds(&clock);
    fputc('\n', out);
    return r;
}

static void
summary_line(FILE *out, bool good, const char *text, double took)
{
    fprintf(out, "  %s%s%s  %-40s %6.2f s%s\n", ink(out, good ? INK_GOOD : INK_BAD), mark(good),
            ink(out, INK_OFF), text, took, good ? "" : "  is off: see the crosses above");
}

int
main(void)
{
    FILE *out = stdout;
    double took[COUNT(stations)], total = 0.0;
    bool good[COUNT(stations)];
    size_t off = 0;

    /* Scenes do on purpose what debug mode aborts for. */
    unsetenv("UCO_DEBUG");
    setlocale(LC_ALL, "");
    setvbuf(out, NULL, _IOLBF, 0);

    fprintf(out, "\n%suco %s: asyncio for C, in five scenes%s\n\n", ink(out, INK_TITLE),
            uco_version(), ink(out, INK_OFF));
    fprintf(out, "Each is something that goes wrong with asyncio sooner or later, then uco's code\n"
                 "for it, then that code as it runs.\n\n");
    for (size_t i = 0; i < COUNT(stations); i++) {
        good[i] = station_run(out, i + 1, &stations[i], &took[i]) == 0;
        off += !good[i];
        total += took[i];
    }

    fprintf(out, "%s", ink(out, INK_DIM));
    rule_print(out, COLUMNS);
    fprintf(out, "%s\n", ink(out, INK_OFF));
    for (size_t i = 0; i < COUNT(stations); i++)
        summary_line(out, good[i], stations[i].title, took[i]);
    if (off == 0)
        fprintf(out, "\nAll five hold, in %.1f s.\n\n", total);
    else
        fprintf(out, "\nOff: %zu of %zu.\n\n", off, COUNT(stations));
    return off == 0 ? 0 : 1;
}
