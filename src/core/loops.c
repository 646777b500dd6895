/* SPDX-License-Identifier: MIT */

/*
 * The loops of this process.
 *
 * 1. Each loop that has not closed is in the list; its number is never another's, so what is bound
 *    to a loop can name it without holding it.
 * 2. A loop that was made before a fork() is dead in the child: its fds are closed there (an epoll
 *    set is shared: the child's registrations would show up in the parent), and each call answers
 *    -ESTALE.
 */

#include "core/loop.h"

#include <pthread.h>

unsigned uco__forks;

static pthread_mutex_t all_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct uco__list all_loops = {&all_loops, &all_loops};
static uint32_t all_count;       /* loops made so far, in this process and its parents */
static uint32_t all_count_stale; /* of them, those made by parents */

static void
fork_prepare(void)
{
    pthread_mutex_lock(&all_mutex);
}

static void
fork_parent(void)
{
    pthread_mutex_unlock(&all_mutex);
}

static void
fork_child(void)
{
    UCO__LIST_EACH(link, &all_loops) {
        struct uco_loop *loop = UCO__CONTAINER(link, struct uco_loop, all_link);

        loop->poller.backend->close(&loop->poller);
        uco__close(loop->inbox.doorbell);
        atomic_store(&loop->inbox.closed, true); /* the number may soon be a stranger's */
    }
    uco__list_init(&all_loops);
    uco__forks++;
    all_count_stale = all_count;
    pthread_mutex_unlock(&all_mutex);
}

void
uco__loops_setup(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void
uco__loops_add(struct uco_loop *loop)
{
    pthread_mutex_lock(&all_mutex);
    uco__list_push_back(&all_loops, &loop->all_link);
    loop->number = ++all_count;
    pthread_mutex_unlock(&all_mutex);
}

void
uco__loops_remove(struct uco_loop *loop)
{
    pthread_mutex_lock(&all_mutex);
    uco__list_remove(&loop->all_link);
    pthread_mutex_unlock(&all_mutex);
}

/* NULL when there is none, or it has closed. With all_mutex. */
static struct uco_loop *
loop_find(uint32_t number)
{
    UCO__LIST_EACH(link, &all_loops) {
        struct uco_loop *loop = UCO__CONTAINER(link, struct uco_loop, all_link);

        if (loop->number == number)
            return loop;
    }
    return NULL;
}

bool
uco__loop_is_open(uint32_t number)
{
    bool open;

    pthread_mutex_lock(&all_mutex);
    open = loop_find(number) != NULL;
    pthread_mutex_unlock(&all_mutex);
    return open;
}

int
uco__loop_check_idle(uint32_t number)
{
    const struct uco_loop *loop;
    int r = 0;

    pthread_mutex_lock(&all_mutex);
    loop = loop_find(number);
    if (number <= all_count_stale)
        r = -ESTALE;
    else if (loop != NULL && atomic_load(&loop->runner) != NULL)
        r = -EPERM;
    pthread_mutex_unlock(&all_mutex);
    return r;
}
