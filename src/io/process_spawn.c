/* SPDX-License-Identifier: MIT */

/*
 * Running a program.
 *
 * 1. posix_spawn() returns when the program's file is loaded: after some 0.06 ms if it is in
 *    memory, else after what a disk or a network takes. So it runs in a thread, though the way
 *    there and back takes longer than that, and directly only where nobody can be suspended. The
 *    threads are a pool of their own: users' jobs may be waiting for the very program. (A program's
 *    PR_SET_PDEATHSIG fires when the loop closes, not later: its parent is such a thread.)
 * 2. All that can fail for want of memory or of fds comes before the program runs, but for its
 *    pidfd; if that fails the program is killed and reaped.
 * 3. Every fd made here is close-on-exec. What becomes the program's 0 to 2 lies above them before,
 *    unless it stays where it is: so no dup2() overwrites the source of another.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "io/process.h"
#include "task/pool.h"
#include "task/runtime.h"
#include "task/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS_MAX 4 /* a loop; others queue */

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

struct spawn {
    const uco_process_options *options;
    struct uco_process *process;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int wanted[UCO__STANDARD_FDS];   /* the options */
    int given[UCO__STANDARD_FDS];    /* fds that become the program's; -1: no fd of this process */
    int made[UCO__STANDARD_FDS];     /* of these, those to be closed again; -1: none */
    int our_ends[UCO__STANDARD_FDS]; /* of pipes; -1: none */
    long timer_slack;                /* of threads that run no loop; -1: not known */
    bool tried;
    int result; /* of the try */
};

/* --- the program's file descriptors --- */

static int
options_check(const uco_process_options *options)
{
    int fds[UCO__STANDARD_FDS];

    if (options == NULL || options->argv == NULL || options->argv[0] == NULL)
        return uco__misuse(-EINVAL, "uco_process_spawn: there is no argv, or nothing in it");
    fds[UCO__STDIN] = options->stdin_fd;
    fds[UCO__STDOUT] = options->stdout_fd;
    fds[UCO__STDERR] = options->stderr_fd;
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (fds[i] < 0 && fds[i] != UCO_PIPE && fds[i] != UCO_DEVNULL &&
            !(fds[i] == UCO_STDOUT && i == UCO__STDERR))
            return uco__misuse(-EINVAL, "uco_process_spawn: %d is no file descriptor", fds[i]);
    }
    return 0;
}

static int
spawn_pipe(struct spawn *spawn, int which)
{
    bool input = which == UCO__STDIN;
    int ends[2];
    long r = UCO__SYSTEM(pipe2, pipe2(ends, O_CLOEXEC));

    if (r < 0)
        return (int) r;
    uco__ledger_fd(ends[0], UCO__PLACE);
    uco__ledger_fd(ends[1], UCO__PLACE);
    spawn->made[which] = input ? ends[0] : ends[1];
    spawn->given[which] = spawn->made[which];
    spawn->our_ends[which] = input ? ends[1] : ends[0];
    /* Each end has flags of its own: the program's stays as it expects it. */
    return (int) UCO__SYSTEM(
        fcntl, fcntl(spawn->our_ends[which], F_SETFL, O_NONBLOCK | (input ? O_WRONLY : O_RDONLY)));
}

/* One that would be overwritten on the way, or overwrite another. */
static int
spawn_lift(struct spawn *spawn, int which)
{
    int fd = spawn->given[which];
    long r;

    if (fd < 0 || fd == which || fd >= UCO__STANDARD_FDS)
        return 0;
    r = UCO__SYSTEM(fcntl, fcntl(fd, F_DUPFD_CLOEXEC, UCO__STANDARD_FDS));
    if (r < 0)
        return (int) r;
    uco__ledger_fd(r, UCO__PLACE);
    if (spawn->made[which] >= 0)
        uco__close(spawn->made[which]);
    spawn->made[which] = (int) r;
    spawn->given[which] = (int) r;
    return 0;
}

static int
spawn_open_fds(struct spawn *spawn)
{
    int r = 0;

    for (int i = 0; i < UCO__STANDARD_FDS && r == 0; i++) {
        if (spawn->wanted[i] > 0)
            spawn->given[i] = spawn->wanted[i];
        else if (spawn->wanted[i] == UCO_PIPE)
            r = spawn_pipe(spawn, i);
        if (r == 0)
            r = spawn_lift(spawn, i);
    }
    return r;
}

static void
spawn_close_made(struct spawn *spawn)
{
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (spawn->made[i] >= 0)
            uco__close(spawn->made[i]);
        spawn->made[i] = -1;
    }
}

static int
actions_fill(struct spawn *spawn)
{
    posix_spawn_file_actions_t *actions = &spawn->actions;
    int r = 0;

    if (spawn->options->cwd != NULL)
        r = posix_spawn_file_actions_addchdir_np(actions, spawn->options->cwd);
    for (int i = 0; i < UCO__STANDARD_FDS && r == 0; i++) {
        if (spawn->given[i] >= 0) /* of one that stays, this clears close-on-exec */
            r = posix_spawn_file_actions_adddup2(actions, spawn->given[i], i);
        else if (spawn->wanted[i] == UCO_DEVNULL)
            r = posix_spawn_file_actions_addopen(actions, i, "/dev/null",
                                                 i == UCO__STDIN ? O_RDONLY : O_WRONLY, 0);
        else if (spawn->wanted[i] == UCO_STDOUT)
            r = posix_spawn_file_actions_adddup2(actions, UCO__STDOUT, i);
    }
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 34)
    /* Also what the rest of this process has opened without close-on-exec. */
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(actions, UCO__STANDARD_FDS);
#endif
#endif
    return -r;
}

/* A program that is run must not inherit what is a matter of this one's: a mask, or that SIGPIPE is
 * ignored. Handlers end with exec in any case. */
static int
attributes_fill(struct spawn *spawn)
{
    sigset_t none, defaults;
    int r;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    sigaddset(&defaults, SIGCHLD);
    r = posix_spawnattr_setsigmask(&spawn->attributes, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(&spawn->attributes, &defaults);
    if (r == 0)
        r = posix_spawnattr_setflags(&spawn->attributes,
                                     POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return -r;
}

/* --- running it --- */

/* Gives the thread another timer slack, which a program inherits; the one before, or -1. */
static long
thread_set_timer_slack(long timer_slack)
{
    long before = timer_slack < 0 ? -1 : UCO__SYSTEM(prctl, prctl(PR_GET_TIMERSLACK));

    if (before >= 0)
        UCO__SYSTEM(prctl, prctl(PR_SET_TIMERSLACK, timer_slack));
    return before;
}

/* In a thread, or directly. */
static intptr_t
spawn_try(void *arg)
{
    struct spawn *spawn = arg;
    const uco_process_options *options = spawn->options;
    char *const *argv = (char *const *) (uintptr_t) options->argv;
    char *const *env = options->env != NULL ? options->env : environ;
    long timer_slack = thread_set_timer_slack(spawn->timer_slack);
    int saved = errno;

    spawn->tried = true;
    spawn->result = uco__fault(UCO__FAULT_posix_spawn);
    if (spawn->result == 0)
        spawn->result = -posix_spawnp(&spawn->process->pid, argv[0], &spawn->actions,
                                      &spawn->attributes, argv, env);
    errno = saved;
    thread_set_timer_slack(timer_slack);
    return 0;
}

/* Completing once the thread has begun. */
static intptr_t
spawn_in_thread(struct spawn *spawn)
{
    struct uco_loop *loop = uco__running;
    struct uco__runtime *runtime = uco__runtime_of(loop);
    int r = uco__checkpoint();

    if (r < 0)
        return r;
    if (runtime->starters == NULL)
        runtime->starters = uco__pool_new(THREADS_MAX);
    if (runtime->starters == NULL)
        return -ENOMEM;
    return uco_join(uco__pool_start(runtime->starters, loop, spawn_try, spawn, &r));
}

static int
spawn_run(struct spawn *spawn)
{
    intptr_t r;

    if (uco_current_task() != NULL) {
        r = spawn_in_thread(spawn);
        if (r == -ECANCELED && !spawn->tried)
            return -ECANCELED;
    }
    if (!spawn->tried) /* there is no thread to be had */
        spawn_try(spawn);
    return spawn->result;
}

static int
spawn_with_actions(struct spawn *spawn)
{
    int r = -posix_spawn_file_actions_init(&spawn->actions);

    if (r < 0)
        return r;
    r = -posix_spawnattr_init(&spawn->attributes);
    if (r < 0)
        goto fail_attributes;
    r = actions_fill(spawn);
    if (r == 0)
        r = attributes_fill(spawn);
    if (r == 0)
        r = spawn_run(spawn);
    posix_spawnattr_destroy(&spawn->attributes);
fail_attributes:
    posix_spawn_file_actions_destroy(&spawn->actions);
    return r;
}

/* The process runs. Its number is no other's until it is reaped, which only this thread does; or
 * somebody who reaps all children of the process: then it is over, and the look tells. */
static int
process_attend(struct uco_process *p)
{
    long r = UCO__SYSTEM(pidfd_open, syscall(SYS_pidfd_open, p->pid, 0));

    switch (r) {
    case -ENOSYS:
    case -EPERM:
    case -EACCES:
    case -ENODEV:
        break;   /* without one: see process_exit.c */
    case -ESRCH: /* ended, and somebody else has reaped it */
        p->ended = true;
        p->status = -ECHILD;
        return 0;
    default:
        if (r < 0) {
            uco__process_send(p, SIGKILL);
            uco__process_await_blocking(p);
            return (int) r;
        }
        p->pidfd = (int) r;
    }
    /* Linux 5.3 has pidfds, but does not wait for them. */
    if (uco__process_look(p) == -EINVAL) {
        uco__close(p->pidfd);
        p->pidfd = -1;
        uco__process_look(p);
    }
    return 0;
}

/* --- all of it --- */

static void
process_discard(struct uco_process *p)
{
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (p->streams[i] != NULL)
            uco__stream_destroy(p->streams[i]);
    }
    uco__free(p);
}

/* With its streams, which have no fd yet. */
static struct uco_process *
process_make(struct uco_loop *loop, const int wanted[])
{
    struct uco_process *p = uco__allocate(sizeof *p);

    if (p == NULL)
        return NULL;
    p->loop = loop;
    p->pidfd = -1;
    uco__list_init(&p->waits);
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (wanted[i] != UCO_PIPE)
            continue;
        p->streams[i] = uco__stream_make(loop);
        if (p->streams[i] == NULL) {
            process_discard(p);
            return NULL;
        }
        /* Somebody else's to free: uco_stream_close() only closes it. */
        p->streams[i]->server = (struct uco_server *) (void *) p;
    }
    return p;
}

static int
spawn_all(struct spawn *spawn)
{
    struct uco_process *p = spawn->process;
    int r = spawn_open_fds(spawn);

    if (r == 0)
        r = spawn_with_actions(spawn);
    spawn_close_made(spawn);
    if (r == 0)
        r = process_attend(p);
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (spawn->our_ends[i] < 0)
            continue;
        if (r == 0)
            uco__stream_attach(p->streams[i], spawn->our_ends[i], false, false);
        else
            uco__close(spawn->our_ends[i]);
    }
    return r;
}

static struct uco_process *
process_spawn(const uco_process_options *options, int *error)
{
    struct uco_loop *loop = uco__loop_current(error);
    struct spawn spawn = {
        .options = options, .given = {-1, -1, -1}, .made = {-1, -1, -1}, .our_ends = {-1, -1, -1}};

    if (loop == NULL) {
        *error = uco__misuse(*error, "uco_process_spawn: outside a running loop");
        return NULL;
    }
    *error = options_check(options);
    if (*error == 0 && loop->ending)
        *error = -ESHUTDOWN;
    if (*error < 0)
        return NULL;
    spawn.wanted[UCO__STDIN] = options->stdin_fd;
    spawn.wanted[UCO__STDOUT] = options->stdout_fd;
    spawn.wanted[UCO__STDERR] = options->stderr_fd;
    spawn.timer_slack = loop->timer_slack;
    *error = -ENOMEM;
    spawn.process = process_make(loop, spawn.wanted);
    if (spawn.process == NULL)
        return NULL;
    *error = spawn_all(&spawn);
    if (*error == 0)
        return spawn.process;
    process_discard(spawn.process);
    return NULL;
}

uco_process *
uco_process_spawn_at(const char *file, int line, const uco_process_options *options)
{
    int error;
    struct uco_process *p = process_spawn(options, &error);

    if (p == NULL)
        return uco__error_null(error);
    p->resource = (struct uco__resource){
        .kind = "process", .file = file, .line = line, .close = uco__process_close_resource};
    uco__loop_add_resource(p->loop, &p->resource);
    return p;
}

uco_process *(uco_process_spawn) (const uco_process_options *options)
{
    return uco_process_spawn_at(NULL, 0, options);
}
