/* SPDX-License-Identifier: MIT */

/*
 * supervisor [--grace SECONDS] COMMAND [ARG...] [-- COMMAND [ARG...]]... - Keeps commands running.
 *
 *   supervisor redis-server -- python3 -m http.server 8000
 *
 * A command that fails or dies by a signal is started again: at first after 0.1 s, then after twice
 * as long each time, up to 30 s, and after 0.1 s again once it has run for 10 s. One that ends with
 * status 0 is done. What the commands print comes out line by line, with their names before it.
 *
 * SIGTERM and SIGINT (Ctrl-C) end it: each command gets SIGTERM, and SIGKILL when it is still there
 * after SECONDS (5). SIGHUP starts all of them anew, with the same grace. It ends when all commands
 * are done, or gone.
 *
 * Each command is a task that reads like its life: start, wait, sleep, again. What a signal wants
 * of it comes as a cancellation: of the whole task, or by SIGHUP of the scope that one life is in.
 */

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <uco/uco.h>
#include <unistd.h>

enum { MAX_NAME = 32, PART = 4096 };

#define BACK_OFF 0.1      /* seconds before the first new start */
#define MAX_BACK_OFF 30.0 /* seconds */
#define STEADY 10.0       /* seconds that a command has to run to be forgiven its past */
#define LAST_LINES 1.0    /* seconds for the output of a command that is gone */

struct supervisor {
    struct service *services;
    size_t n;
    double grace; /* seconds */
    uco_stream *output;
};

struct service {
    struct supervisor *supervisor;
    char name[MAX_NAME];
    const char *const *argv;
    uco_scope life;
    bool running; /* its life is open */
    double back_off;
};

/* --- output --- */

/* One line of the supervisor's own. The stream keeps each whole. */
UCO_PRINTF(2, 3)
static void
service_say(struct service *service, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uco_stream_printf(service->supervisor->output, "%s: %s\n", service->name, text);
}

struct output {
    struct service *service;
    uco_stream *stream;
};

/* While nobody takes the output, this waits, and the command too when its pipe is full. */
static intptr_t
output_read(void *arg)
{
    const struct output *output = arg;
    const struct service *service = output->service;
    ssize_t n;

    for (;;) {
        const char *line;
        char part[PART];
        int r;

        n = uco_stream_read_line(output->stream, &line);
        if (n == -EMSGSIZE) { /* it comes in parts */
            n = uco_stream_read(output->stream, part, sizeof part);
            line = part;
        }
        if (n <= 0)
            return n;
        if (line[n - 1] == '\n')
            n--;
        r = uco_stream_printf(service->supervisor->output, "%s | %.*s\n", service->name, (int) n,
                              line);
        if (r == -ECANCELED)
            return r;
    }
}

/* A command that is gone can have left others behind who hold its pipe: no waiting for these. */
static void
output_finish(uco_task *reader)
{
    if (reader == NULL) /* there was no memory for it */
        return;
    uco_wait_all(&reader, 1, LAST_LINES);
    uco_cancel(reader);
    uco_join(reader);
}

/* --- one life --- */

static int
process_stop(struct service *service, uco_process *process)
{
    uco_scope grace;
    int status;

    uco_process_kill(process, SIGTERM);
    if (uco_scope_open(&grace, service->supervisor->grace) == 0) {
        status = (int) uco_scope_close(&grace, uco_process_wait(process));
        if (status != -ETIMEDOUT)
            return status;
    }
    service_say(service, "does not end, killed");
    uco_process_kill(process, SIGKILL);
    return uco_process_wait(process);
}

static void
service_say_end(struct service *service, int status)
{
    if (status < 0)
        service_say(service, "gone: %s", uco_strerror(status));
    else if (WIFSIGNALED(status))
        service_say(service, "died by signal %d", WTERMSIG(status));
    else
        service_say(service, "ended with status %d", WEXITSTATUS(status));
}

/* Returns the status as waitpid() gives it, or an error: -ECANCELED when it was stopped. */
static int
service_live(struct service *service)
{
    uco_process_options options = {
        .argv = service->argv,
        .stdin_fd = UCO_DEVNULL,
        .stdout_fd = UCO_PIPE,
        .stderr_fd = UCO_STDOUT,
    };
    uco_process *process = uco_process_spawn(&options);
    uco_scope shield;
    int r, status;

    if (process == NULL) {
        r = -errno;
        if (r != -ECANCELED)
            service_say(service, "can't be started: %s", uco_strerror(r));
        return r;
    }
    service_say(service, "started, pid %d", (int) uco_process_pid(process));

    struct output output = {service, uco_process_stdout(process)};
    uco_task *reader = uco_create_task(output_read, &output);

    r = status = uco_process_wait(process);
    /* From here on nothing is cut short: the end is orderly, and has its own limits. */
    if (uco_shield_open(&shield, UCO_FOREVER) == 0) {
        if (r == -ECANCELED)
            status = process_stop(service, process);
        output_finish(reader);
        service_say_end(service, status);
        uco_scope_close(&shield, 0);
    } else {
        output_finish(reader);
    }
    uco_process_free(process); /* kills it if it should still be there */
    return r;
}

/* A life, and the pause after it. Returns 1 when the command is done. */
static int
service_turn(struct service *service)
{
    double began = uco_time(), pause;
    int r = service_live(service);

    if (r == 0)
        return 1;
    if (r == -ECANCELED)
        return r;
    if (uco_time() - began >= STEADY)
        service->back_off = BACK_OFF;
    pause = service->back_off;
    service->back_off = 2 * pause < MAX_BACK_OFF ? 2 * pause : MAX_BACK_OFF;
    service_say(service, "again in %g s", pause);
    return uco_sleep(pause);
}

static intptr_t
service_run(void *arg)
{
    struct service *service = arg;
    intptr_t r;

    do {
        r = uco_scope_open(&service->life, UCO_FOREVER);
        if (r < 0)
            return r;
        service->running = true;
        r = service_turn(service);
        service->running = false;
        if (r == -ECANCELED) /* if it is by SIGHUP */
            service->back_off = BACK_OFF;
        r = uco_scope_close(&service->life, r); /* 0 when SIGHUP has cut it short */
    } while (r == 0);
    return r < 0 ? r : 0;
}

/* --- all --- */

static intptr_t
hangups_handle(void *arg)
{
    const struct supervisor *supervisor = arg;
    int r;

    while ((r = uco_signal_wait(SIGHUP)) >= 0) {
        for (size_t i = 0; i < supervisor->n; i++) {
            if (supervisor->services[i].running)
                uco_scope_cancel(&supervisor->services[i].life);
        }
    }
    return r;
}

static int
services_run(struct supervisor *supervisor)
{
    uco_group *group = uco_group_new();
    int r = 0;

    if (group == NULL)
        return -errno;
    for (size_t i = 0; i < supervisor->n && r == 0; i++) {
        if (uco_group_create_task(group, service_run, &supervisor->services[i]) == NULL)
            r = -errno;
    }
    if (r == 0)
        r = uco_group_wait(group); /* a signal cancels this task, and this call its members */
    uco_group_free(group);
    return r;
}

static intptr_t
supervisor_run(void *arg)
{
    struct supervisor *supervisor = arg;
    uco_task_options eager = {.name = "SIGHUP", .eager = true};
    uco_scope shield;
    intptr_t r;
    int fd = dup(STDOUT_FILENO); /* closing the stream closes it, and standard output stays */

    if (fd < 0)
        return -errno;
    supervisor->output = uco_stream_new(fd);
    if (supervisor->output == NULL) {
        r = -errno;
        close(fd);
        return r;
    }
    /* Eager, so that SIGHUP has its new meaning before the first command is there. */
    uco_unref(uco_create_task_with(&eager, hangups_handle, supervisor));
    r = services_run(supervisor);

    /* A close in a cancelled task does not wait until everything is written; this one shall. */
    if (uco_shield_open(&shield, LAST_LINES) < 0)
        uco_stream_close(supervisor->output);
    else
        uco_scope_close(&shield, uco_stream_close(supervisor->output));
    return r;
}

/* --- the command line --- */

static void
service_name(struct supervisor *supervisor, struct service *service)
{
    const char *slash = strrchr(service->argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : service->argv[0];
    unsigned same = 1;

    snprintf(service->name, sizeof service->name, "%.*s", MAX_NAME - 12, name);
    for (struct service *other = supervisor->services; other < service; other++)
        same += strncmp(other->name, service->name, strlen(service->name)) == 0;
    if (same > 1)
        snprintf(service->name, sizeof service->name, "%.*s-%u", MAX_NAME - 12, name, same);
}

/* Splits the arguments at "--", which become the ends of their argv. */
static bool
commands_parse(struct supervisor *supervisor, char *argv[])
{
    while (*argv != NULL) {
        struct service *service = &supervisor->services[supervisor->n];

        if (strcmp(*argv, "--") == 0)
            return false;
        service->supervisor = supervisor;
        service->argv = (const char *const *) argv;
        service->back_off = BACK_OFF;
        service_name(supervisor, service);
        supervisor->n++;

        while (*argv != NULL && strcmp(*argv, "--") != 0)
            argv++;
        if (*argv != NULL)
            *argv++ = NULL;
    }
    return supervisor->n > 0;
}

static bool
seconds_parse(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds >= 0;
}

int
main(int argc, char *argv[])
{
    struct supervisor supervisor = {.grace = 5.0};
    bool valid = true;
    intptr_t r;

    if (argc > 2 && strcmp(argv[1], "--grace") == 0) {
        valid = seconds_parse(argv[2], &supervisor.grace);
        argc -= 2;
        argv += 2;
    }
    supervisor.services = calloc((size_t) argc, sizeof *supervisor.services);
    if (supervisor.services == NULL)
        return 1;
    if (!valid || !commands_parse(&supervisor, argv + 1)) {
        fprintf(stderr, "usage: supervisor [--grace SECONDS] COMMAND [ARG...] [-- COMMAND "
                        "[ARG...]]...\n");
        free(supervisor.services);
        return 2;
    }
    r = uco_run(supervisor_run, &supervisor);
    free(supervisor.services);
    if (r < 0 && r != -ECANCELED) {
        fprintf(stderr, "supervisor: %s\n", uco_strerror((int) r));
        return 1;
    }
    return 0;
}
