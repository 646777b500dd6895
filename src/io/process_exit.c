/* SPDX-License-Identifier: MIT */

/*
 * The end of a process.
 *
 * 1. Only uco__process_look() takes a status, on the loop's thread, and so reaps: until then the
 *    process's number is nobody else's. Whoever has a number or a pidfd to use looks first.
 * 2. A process is looked after only while somebody waits: its pidfd in the poller or, without one,
 *    a thread of its own. That thread only waits and leaves the reaping to the loop, which joins it
 *    first; so it never waits for a number that is another process's by now.
 * 3. If others reap the process, its end is seen all the same: a pidfd becomes readable, and
 *    waitid() gives ECHILD.
 */

#include "base/system.h"
#include "core/dump.h"
#include "io/process.h"
#include "task/task.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CORE_DUMPED 0x80 /* in a status */

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* glibc has the name since 2.36. */
#define ID_PIDFD ((idtype_t) 3)

struct process_wait {
    struct uco__list link;
    struct uco__wait wait;
    struct uco_process *process;
};

struct uco__exit_thread {
    struct uco__ready ready; /* posted by the thread, at its end */
    struct uco_loop *loop;
    struct uco_process *process; /* NULL: joined already */
    pthread_t thread;
    pid_t pid;
};

static void process_unwatch(struct uco_process *p);

/* --- taking the status --- */

static int
status_of(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | CORE_DUMPED;
    default:
        return info->si_status;
    }
}

static int
process_waitid(const struct uco_process *p, siginfo_t *info, int options)
{
    long r;

    do {
        *info = (siginfo_t){0};
        r = p->pidfd >= 0
                ? UCO__SYSTEM(waitid, waitid(ID_PIDFD, (id_t) p->pidfd, info, options | WEXITED))
                : UCO__SYSTEM(waitid, waitid(P_PID, (id_t) p->pid, info, options | WEXITED));
    } while (r == -EINTR);
    return (int) r;
}

static void
process_wake(struct uco_process *p, int result)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&p->waits)) != NULL)
        uco__wake(&UCO__CONTAINER(link, struct process_wait, link)->wait, result);
}

static void
thread_join(struct uco_process *p)
{
    if (p->thread == NULL)
        return;
    pthread_join(p->thread->thread, NULL);
    p->thread->process = NULL; /* it has posted itself, and is freed when its turn comes */
    p->thread = NULL;
    p->loop->sleepers--;
}

static void
process_close_pidfd(struct uco_process *p)
{
    if (p->pidfd < 0)
        return;
    uco__poller_forget(&p->loop->poller, p->pidfd);
    uco__close(p->pidfd);
    p->pidfd = -1;
}

static void
process_end(struct uco_process *p, int status)
{
    process_unwatch(p);
    p->ended = true;
    p->status = status;
    process_close_pidfd(p);
    process_wake(p, status);
}

int
uco__process_look(struct uco_process *p)
{
    siginfo_t info;
    int r;

    if (p->ended)
        return 1;
    r = process_waitid(p, &info, p->thread != NULL ? WNOHANG | WNOWAIT : WNOHANG);
    if (r == 0 && info.si_pid == 0)
        return 0;
    if (r < 0 && r != -ECHILD)
        return r;
    if (r == 0 && p->thread != NULL) {
        thread_join(p);
        r = process_waitid(p, &info, WNOHANG);
    }
    if (r < 0 && r != -ECHILD)
        return r;
    thread_join(p);
    process_end(p, r == 0 ? status_of(&info) : -ECHILD);
    return 1;
}

/* --- noticing the end --- */

/* Who waits cannot be told anything better than the error. */
static void
process_look_again(struct uco_process *p, int result)
{
    if (result == 0)
        result = uco__process_look(p);
    if (result == 0)
        result = uco__poller_wait(&p->loop->poller, &p->end);
    if (result < 0)
        process_wake(p, result);
}

static void
process_notify(struct uco__fd_wait *wait, int result)
{
    process_look_again(UCO__CONTAINER(wait, struct uco_process, end), result);
}

static void
thread_ready(struct uco__ready *node)
{
    struct uco__exit_thread *thread = UCO__CONTAINER(node, struct uco__exit_thread, ready);
    struct uco_process *p = thread->process;
    int r;

    if (p != NULL) {
        thread_join(p);
        r = uco__process_look(p);
        if (r <= 0)
            process_wake(p, r < 0 ? r : -EIO);
    }
    uco__free(thread);
}

static void *
thread_main(void *arg)
{
    struct uco__exit_thread *thread = arg;
    siginfo_t info;
    long r;

    do
        r = UCO__RESULT(waitid(P_PID, (id_t) thread->pid, &info, WEXITED | WNOWAIT));
    while (r == -EINTR);
    uco__loop_push(thread->loop, &thread->ready);
    return NULL;
}

static int
thread_start(struct uco_process *p)
{
    struct uco__exit_thread *thread = uco__allocate(sizeof *thread);
    sigset_t all, before;
    int r;

    if (thread == NULL)
        return -ENOMEM;
    thread->ready.run = thread_ready;
    thread->loop = p->loop;
    thread->process = p;
    thread->pid = p->pid;
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = uco__thread_start(&thread->thread, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        uco__free(thread);
        return r;
    }
    p->thread = thread;
    p->loop->sleepers++; /* the poller does not know that the loop waits for something */
    return 0;
}

static int
process_watch(struct uco_process *p)
{
    if (p->pidfd < 0)
        return p->thread != NULL ? 0 : thread_start(p);
    if (p->end.linked)
        return 0;
    p->end = (struct uco__fd_wait){.fd = p->pidfd, .events = POLLIN, .notify = process_notify};
    return uco__poller_wait(&p->loop->poller, &p->end);
}

/* A thread cannot be called back; it stays until the process ends. */
static void
process_unwatch(struct uco_process *p)
{
    uco__poller_unwait(&p->loop->poller, &p->end);
}

/* --- waiting --- */

static enum uco__abort
process_wait_abort(struct uco__wait *wait)
{
    struct process_wait *self = UCO__CONTAINER(wait, struct process_wait, wait);

    uco__list_remove(&self->link);
    if (uco__list_empty(&self->process->waits))
        process_unwatch(self->process);
    return UCO__UNLINKED;
}

static bool
process_wait_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct process_wait self;
    struct uco_process process;

    if (!UCO__DUMP_READ_AROUND(dump, &self, wait, struct process_wait, wait) ||
        !UCO__DUMP_GET(dump, &process, self.process))
        return false;
    uco__dump_text(dump, "process ");
    uco__dump_number(dump, (uint64_t) process.pid);
    uco__dump_text(dump, " to end");
    return true;
}

static UCO__WAIT_KIND(wait_process, "a process", process_wait_describe);

int
uco__process_await(struct uco_process *p, bool completing)
{
    struct process_wait self = {.process = p};
    intptr_t r = uco__process_look(p);

    if (r != 0)
        return r < 0 ? (int) r : p->status;
    r = process_watch(p);
    if (r < 0)
        return (int) r;
    uco__wait_init(&self.wait, &wait_process, completing ? NULL : process_wait_abort);
    uco__list_push_back(&p->waits, &self.link);
    r = uco__task_park(uco__task_of_fiber(self.wait.fiber), &self.wait);
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

void
uco__process_await_blocking(struct uco_process *p)
{
    siginfo_t info;
    int r;

    if (p->ended)
        return;
    thread_join(p);
    r = process_waitid(p, &info, 0);
    process_end(p, r == 0 ? status_of(&info) : -ECHILD);
}

/* --- signals --- */

int
uco__process_send(const struct uco_process *p, int signo)
{
    long r = -ENOSYS;

    if (p->pidfd >= 0)
        r = UCO__SYSTEM(kill, syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0));
    /* A sandbox may forbid what it does not know. The number is good too: it was not reaped. */
    if (r == -ENOSYS || r == -EPERM)
        r = UCO__SYSTEM(kill, kill(p->pid, signo));
    return (int) r;
}
