/* SPDX-License-Identifier: MIT */

/*
 * Processes, from their spawning to their end: waiting, signals, streams.
 *
 * 1. A process is a resource of its loop until uco_process_free() begins, or, where that cannot
 *    wait, until the task that goes on with it has begun.
 * 2. A process is freed only after its status was taken, so none stays behind as a zombie.
 * 3. Its streams are borrowed: their memory stays as long as the process's.
 */

#include "io/process.h"

#include "base/system.h"
#include "core/report.h"
#include "task/task.h"

#include <signal.h>

#define SIGNALS_MAX 64

static int
process_check(const struct uco_process *p, const char *who)
{
    if (p == NULL)
        return uco__misuse(-EINVAL, "%s: the process is NULL", who);
    return uco__loop_check(p->loop);
}

/* The same for calls that suspend, of which the caller comes first: 0, or also -ECANCELED. */
int
uco__process_enter(const struct uco_process *p, const char *who)
{
    int r = uco__checkpoint();

    if (r == -EPERM || r == -ESTALE)
        return r;
    if (p == NULL)
        return uco__misuse(-EINVAL, "%s: the process is NULL", who);
    if (p->loop != uco__running)
        return uco__misuse(-EPERM, "%s: another loop's process", who);
    return r;
}

int
uco_process_wait(uco_process *p)
{
    int r = uco__process_enter(p, "uco_process_wait");

    return r < 0 ? r : uco__process_await(p, false);
}

int
uco_process_kill(uco_process *p, int signo)
{
    int r;

    if (signo < 0 || signo > SIGNALS_MAX)
        return uco__misuse(-EINVAL, "uco_process_kill: %d is no signal", signo);
    r = process_check(p, "uco_process_kill");
    if (r < 0)
        return r;
    r = uco__process_look(p);
    if (r != 0)
        return r < 0 ? r : -ESRCH;
    return uco__process_send(p, signo);
}

pid_t
uco_process_pid(const uco_process *p)
{
    return p != NULL ? p->pid : uco__misuse(-EINVAL, "uco_process_pid: the process is NULL");
}

/* --- streams --- */

static uco_stream *
process_stream(const struct uco_process *p, int which, const char *who)
{
    return process_check(p, who) == 0 ? uco__process_stream(p, which) : NULL;
}

uco_stream *
uco_process_stdin(uco_process *p)
{
    return process_stream(p, UCO__STDIN, "uco_process_stdin");
}

uco_stream *
uco_process_stdout(uco_process *p)
{
    return process_stream(p, UCO__STDOUT, "uco_process_stdout");
}

uco_stream *
uco_process_stderr(uco_process *p)
{
    return process_stream(p, UCO__STDERR, "uco_process_stderr");
}

/* Suspends; the task is the calling one. */
static int
stream_end(struct uco_process *p, int which, struct uco__task *task)
{
    struct uco_stream *s = p->streams[which];
    int r;

    if (s == NULL)
        return 0;
    p->streams[which] = NULL;
    r = uco__stream_shut(s, task);
    uco__stream_destroy(s);
    return r;
}

int
uco_process_close_stdin(uco_process *p)
{
    struct uco__task *task;
    int r = uco__checkpoint_completing(&task);

    if (r < 0)
        return r;
    if (p == NULL)
        return uco__misuse(-EINVAL, "uco_process_close_stdin: the process is NULL");
    if (p->loop != task->future.loop)
        return uco__misuse(-EPERM, "uco_process_close_stdin: another loop's process");
    return stream_end(p, UCO__STDIN, task);
}

/* --- the end --- */

/* It has ended, and nobody is suspended in its streams. */
static void
process_free(struct uco_process *p)
{
    for (int i = 0; i < UCO__STANDARD_FDS; i++) {
        if (p->streams[i] != NULL)
            uco__stream_destroy(p->streams[i]);
        uco__free(p->outputs[i].data);
    }
    uco__free(p);
}

static void
process_kill(struct uco_process *p)
{
    if (uco__process_look(p) <= 0)
        uco__process_send(p, SIGKILL);
}

/* On the loop's stack, when no task is left. */
void
uco__process_close_resource(struct uco__resource *resource)
{
    struct uco_process *p = UCO__CONTAINER(resource, struct uco_process, resource);

    process_kill(p);
    uco__process_await_blocking(p);
    process_free(p);
}

static UCO__WAIT_KIND(wait_conversation, "a conversation with a process to end", NULL);

/* Waits for a conversation to notice that all is over. */
static void
process_await_conversation(struct uco_process *p)
{
    struct uco__wait wait;

    if (!p->communicating)
        return;
    uco__wait_init(&wait, &wait_conversation, NULL);
    p->freer = &wait;
    uco__park(&wait);
}

/* Without sending what is left for it: others that it has started may keep the pipe open, and not
 * read. */
static void
process_end_streams(struct uco_process *p, struct uco__task *task)
{
    uco_scope scope;
    bool scoped = uco_scope_open(&scope, UCO_FOREVER) == 0;

    if (scoped)
        uco_scope_cancel(&scope);
    for (int i = 0; i < UCO__STANDARD_FDS; i++)
        stream_end(p, i, task);
    if (scoped)
        uco_scope_close(&scope, 0);
}

/* In a task; it was killed. */
static void
process_finish(struct uco_process *p, struct uco__task *task)
{
    uco__loop_remove_resource(p->loop, &p->resource);
    uco__process_await(p, true);
    /* Without memory to wait: it was killed, so it does not take long. */
    uco__process_await_blocking(p);
    process_end_streams(p, task);
    process_await_conversation(p);
    process_free(p);
}

static intptr_t
process_finish_run(void *arg)
{
    struct uco__task *task;

    uco__checkpoint_completing(&task);
    process_finish(arg, task);
    return 0;
}

void
uco_process_free(uco_process *p)
{
    struct uco__task *task;
    struct uco_loop *loop;
    int error;

    if (p == NULL)
        return;
    loop = uco__loop_current(&error);
    if (loop != p->loop || p->freed) {
        uco__misuse(-EPERM, "uco_process_free: freed already, or not inside its loop");
        return;
    }
    p->freed = true;
    process_kill(p);
    task = uco__task_current(&error);
    if (task != NULL) {
        uco__task_checkpoint_completing(task);
        process_finish(p, task);
        return;
    }
    /* Without memory for a task, or when the loop is about to end, its close does it, as nobody's
     * fault. It stays one of the users' resources all the same: those are closed before what the
     * streams are made of. */
    p->resource.line = -1;
    uco_unref(uco_create_task(process_finish_run, p));
}
