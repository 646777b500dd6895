/* SPDX-License-Identifier: MIT */
#ifndef UCO_PROCESS_H
#define UCO_PROCESS_H

/*
 * Processes: programs that are run, spoken to through pipes, and waited for.
 *
 * A process belongs to its loop (-EPERM from another). One that is left when its loop closes is
 * killed and reaped by the loop, and reported with the file and line that spawned it.
 *
 * The program gets file descriptors 0 to 2 and no others, an empty signal mask, and the default
 * action for SIGPIPE, SIGXFSZ and SIGCHLD, also where this process ignores them; other signals that
 * are ignored here stay so (nohup).
 *
 * A program that asks for a signal at its parent's death (PR_SET_PDEATHSIG) gets it when the loop
 * closes.
 *
 * Where the kernel has no pidfd_open() (before Linux 5.4, or a sandbox that forbids it), a thread
 * stands for each process that is being waited for.
 */

#include <uco/common.h>
#include <uco/stream.h>

UCO_BEGIN_DECLS

typedef struct uco_process uco_process;

/** What a program's file descriptor can be besides inherited (0) or one of this process. Below all
 * errors: who passes on a failed uco_open() gets -EINVAL. */
enum uco_process_fd {
    UCO_PIPE = -10001,    /* a pipe: its other end is uco_process_stdin(), _stdout() or _stderr() */
    UCO_DEVNULL = -10002, /* /dev/null */
    UCO_STDOUT = -10003,  /* stderr_fd only: where stdout goes */
};

/** Zeroed, all fields but argv mean their default. */
typedef struct uco_process_options {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in this process's PATH, unless
                                there is a slash in it */
    char *const *env;        /* "NAME=value", NULL-terminated; NULL = this process's, which must
                                not be changed during the call */
    const char *cwd;         /* where the program starts, and what a relative argv[0] is relative
                                to; NULL = as this process */
    int stdin_fd;            /* 0 = inherit, UCO_PIPE, UCO_DEVNULL, or an fd, which stays the
                                caller's */
    int stdout_fd;
    int stderr_fd; /* also UCO_STDOUT */
    uintptr_t reserved[8];
} uco_process_options;

/**
 * uco_process_spawn() - Run a program.
 *
 * Starting one takes until the program's file is loaded, so it is done by a thread; the
 * caller is suspended meanwhile. In a callback, or if there is no thread, it is done at once and
 * the loop stands still for that. A cancellation that comes when the start has begun changes
 * nothing: the process is returned.
 *
 * @options:  Read during the call.
 *
 * Context:   Coroutine, suspends; or a callback of a running loop.
 * Ownership: uco_process_free().
 * Returns:   NULL with errno ENOENT, EACCES, ENOEXEC, ENOTDIR ... (the program cannot be run, or
 *            cwd not entered), EINVAL (argv or argv[0] is NULL, a negative fd that is none of enum
 *            uco_process_fd), EBADF (an fd that is not open), EMFILE, ENFILE, ENOMEM, EAGAIN (too
 *            many processes), ECANCELED (an enclosing scope was cancelled), EPERM (outside a
 *            running loop), ESHUTDOWN, ESTALE. No process is left then, and no file descriptor.
 */
UCO_API uco_process *uco_process_spawn(const uco_process_options *options);

/**
 * uco_process_spawn_at() - uco_process_spawn(), and remembers the line that called it, for reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_process *uco_process_spawn_at(const char *file, int line,
                                          const uco_process_options *options);
#define uco_process_spawn(...) uco_process_spawn_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_process_wait() - Wait for the end of a process.
 *
 * Any number of tasks may wait, before the end and after it; all get the same.
 *
 * Context: Coroutine. Suspends; a cancellation point also when the process has ended.
 * Returns: The status as waitpid(2) gives it: see WIFEXITED(), WEXITSTATUS(), WTERMSIG()
 *          -ECHILD     it has ended, and the status is unknown: somebody else has reaped it
 *                      (waitpid(-1) elsewhere in this process), or SIGCHLD is ignored
 *          -ECANCELED  an enclosing scope was cancelled: the process goes on
 *          -EINVAL     p is NULL
 *          -ENOMEM, -ENOSPC, -EAGAIN (no thread, where one is needed)
 *          -EPERM, -ESTALE
 */
UCO_API int uco_process_wait(uco_process *p);

/**
 * uco_process_kill() - Send a process a signal. It never reaches another process.
 *
 * @signo:  0 = only see whether it runs.
 *
 * Context: Loop's thread.
 * Returns: 0
 *          -ESRCH      it has ended
 *          -EINVAL     p is NULL, or no signal
 *          -EPERM      it runs as somebody else; or another thread's loop
 *          -ESTALE
 */
UCO_API int uco_process_kill(uco_process *p, int signo);

/**
 * uco_process_stdin() - The stream to the program's stdin, if that is a pipe.
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed from the process. Not after uco_process_close_stdin().
 * Returns:   NULL when it is no pipe, or was closed.
 */
UCO_API uco_stream *uco_process_stdin(uco_process *p);

/**
 * uco_process_stdout() - The stream from the program's stdout, if that is a pipe. What the program
 * has written can be read after its end, too.
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed from the process.
 * Returns:   NULL when it is no pipe.
 */
UCO_API uco_stream *uco_process_stdout(uco_process *p);

/**
 * uco_process_stderr() - The stream from the program's stderr, if that is a pipe.
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed from the process.
 * Returns:   NULL when it is no pipe.
 */
UCO_API uco_stream *uco_process_stderr(uco_process *p);

/**
 * uco_process_close_stdin() - Flush and close the stream to the program's stdin: the program sees
 * the end.
 *
 * A completing call: in a cancelled scope it closes without flushing.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0, also when it is no pipe or was closed before
 *          -EPIPE      nobody reads it any more; it is closed all the same
 *          -ECANCELED  a cancellation has kept it from sending all; it is closed all the same
 *          -EINVAL     p is NULL
 *          -EPERM, -ESTALE
 */
UCO_API int uco_process_close_stdin(uco_process *p);

/**
 * uco_process_communicate() - Give a program its whole input, take all its output, and wait for its
 * end; all at once, so that neither side waits for the other.
 *
 * stdin, if it is a pipe, is closed after the input. A program that does not read it all is fine.
 * Output that nobody wants is read and dropped.
 *
 * A call that ends with an error loses nothing: a further one with the same input goes on from
 * there. A scope gives the timeout.
 *
 * @input:    n bytes; NULL for n = 0.
 * @out:      Gets the output, with a zero byte after it; NULL if stdout is no pipe. NULL = not
 *            wanted.
 * @out_size: Bytes, without the zero; NULL = not wanted.
 * @err:      The same for stderr.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: *out and *err are the caller's, to be freed by free(). They are set when the status is
 *            returned, or -ECHILD.
 * Returns:   The status, or an error, as uco_process_wait()
 *            -EINVAL     p is NULL; input is NULL with n > 0; input for what is no pipe
 *            -EBUSY      another task communicates with it, or reads or writes its streams
 *            -EBADF      another task has closed one of its streams meanwhile, or frees it
 *            -ENOMEM, -ECANCELED, -EPERM, -ESTALE
 */
UCO_API intptr_t uco_process_communicate(uco_process *p, const void *input, size_t n, char **out,
                                         size_t *out_size, char **err, size_t *err_size);

/**
 * uco_process_pid() - The process's number. After its end another process may have it.
 *
 * Context: Any thread.
 * Returns: The number, or -EINVAL (p is NULL).
 */
UCO_API pid_t uco_process_pid(const uco_process *p);

/**
 * uco_process_free() - Kill a process that still runs (SIGKILL), wait for its end, close its
 * streams and free it. NULL is fine.
 *
 * One that runs as somebody else (sudo) cannot be killed: its end is waited for, also by the loop's
 * close.
 *
 * A completing call; what was not sent to stdin is dropped. Tasks that wait for the process get its
 * status, those that are suspended in its streams -EBADF.
 *
 * Context: Coroutine of the process's loop, suspends; also a callback, where it does not wait: the
 *          loop does the rest.
 */
UCO_API void uco_process_free(uco_process *p);

UCO_END_DECLS

#endif
