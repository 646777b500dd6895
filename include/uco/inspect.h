/* SPDX-License-Identifier: MIT */
#ifndef UCO_INSPECT_H
#define UCO_INSPECT_H

/* Looking into a running program. */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_dump() - Write who waits for what.
 *
 * A line for each of the loop's tasks, indented under the task that created it: its name and id,
 * whether it runs, is ready, or what it waits for and since when, its cancellation or timeout, the
 * locks that it holds, where it was created, and how much of its stack is in use. Then the circles
 * in which tasks wait for each other. The text is for people; it may look otherwise in the next
 * version.
 *
 * On the loop's own thread, also in a signal handler that has interrupted it, the dump is written
 * at once. Other threads ask the loop to write it. If it does not for a second, because a task or a
 * callback keeps it from turning, they read it from outside, and the dump says so. Nothing is
 * allocated, no lock is taken, and memory that is damaged or just being changed is left out, with a
 * word about it.
 *
 * With UCO_DEBUG=1 (or uco_loop_options.debug), SIGQUIT (Ctrl-\) does this to stderr for a loop
 * that runs in the main thread, unless the program handles that signal itself.
 *
 * @fd:     Where to; partial writes are continued. One that does not wait and takes nothing for a
 *          second ends the dump.
 *
 * Context: Any thread, and signal handlers. Does not suspend: the loop stands still meanwhile, some
 *          microseconds a task.
 * Returns: 0           it is written
 *          -EINVAL     the loop is NULL
 *          -ESTALE     the loop was made before fork(), and this is the child
 *          -ESHUTDOWN  the loop is closed: it has no tasks any more
 *          -EAGAIN     the fd took no more; or another error of write(2), as -EBADF
 */
UCO_API int uco_dump(uco_loop *loop, int fd);

UCO_END_DECLS

#endif
