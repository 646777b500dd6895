/* SPDX-License-Identifier: MIT */
#ifndef TEST_TASK_GENERATOR_CALLS_H
#define TEST_TASK_GENERATOR_CALLS_H

/* What the tests of generators share: one that counts, and what is expected of it. */

#include "support.h"

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static inline uco_generator *
make(uco_fn *fn, void *arg)
{
    uco_generator *g = uco_generator_new(fn, arg);

    ck_assert_ptr_nonnull(g);
    return g;
}

static inline void
expect_value(uco_generator *g, intptr_t expected)
{
    void *value = NULL;

    ck_assert_int_eq(uco_generator_next(g, &value), 1);
    ck_assert_int_eq((intptr_t) value, expected);
}

static inline void
expect_end(uco_generator *g, int end)
{
    void *value = &value;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_generator_next(g, &value), end);
    ck_assert_ptr_eq(value, &value);
}

/* What a generator gives, and what becomes of it. */
struct source {
    uco_generator *g;
    int count;       /* of values, from 1 on; negative: for ever */
    double interval; /* seconds before each */
    double clean_up; /* seconds, in a shield */
    intptr_t returns;
    bool began;
    int resumed; /* how often yield returned 0 */
    bool ended;
};

static inline void
clean_up(struct source *s)
{
    uco_scope shield;

    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    if (s->clean_up > 0)
        ck_assert_int_eq(uco_sleep(s->clean_up), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    s->ended = true;
}

static inline intptr_t
count_up(void *arg)
{
    struct source *s = arg;
    int r = 0;

    s->began = true;
    for (int i = 1; r == 0 && i != s->count + 1; i++) {
        if (s->interval > 0)
            r = uco_sleep(s->interval);
        if (r == 0)
            r = uco_generator_yield(NUMBER(i));
        s->resumed += r == 0;
    }
    ck_assert(r == 0 || r == -ECANCELED);
    clean_up(s);
    return r == 0 || s->returns != 0 ? s->returns : r;
}

#endif
