/* SPDX-License-Identifier: MIT */
#ifndef TEST_SYNC_CONDITION_SCENE_H
#define TEST_SYNC_CONDITION_SCENE_H

/* What the tests of conditions share: a condition, its lock, and tasks that wait there. */

#include "scene.h"

#include <ctype.h>

static uco_condition condition;
static uco_lock lock;
static struct trace trace;
static int items; /* what the tests' predicates are about */

static inline void
begin(void)
{
    memset(&condition, 0, sizeof condition);
    memset(&lock, 0, sizeof lock);
    memset(&trace, 0, sizeof trace);
    items = 0;
}

static inline void
acquire(void)
{
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
}

static inline void
release(void)
{
    ck_assert_int_eq(uco_lock_release(&lock), 0);
}

static inline void
notify(size_t n)
{
    ck_assert_int_eq(uco_condition_notify(&condition, n), 0);
}

/* Notes how a wait ended, as a letter (a capital one for an error), and gives the lock back. */
static inline intptr_t
finish(void *name, int r)
{
    char letter = (char) (intptr_t) name;

    trace_add(&trace, r == 0 ? letter : (char) toupper(letter));
    release();
    return r;
}

static inline intptr_t
waits(void *name)
{
    acquire();
    return finish(name, uco_condition_wait(&condition, &lock));
}

#endif
