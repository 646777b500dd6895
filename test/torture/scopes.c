/* SPDX-License-Identifier: MIT */

/*
 * Scopes, locals and generators.
 *
 * 1. A scope that could not be opened is none: what runs then runs without it.
 * 2. A value of a task-local key is destroyed once, by its last holder.
 * 3. A generator gives its values in order, then its end, or the error for which it could not
 *    begin.
 */

#include "scenarios.h"

#include <stdlib.h>

/* Scopes */

#define DEEP 12

static intptr_t
body_sleeps(void *arg)
{
    (void) arg;
    return uco_sleep(100);
}

static intptr_t
body_cancels(void *arg)
{
    SURE(uco_sleep(0.5));
    SURE(uco_scope_cancel(arg));
    return 0;
}

static void
scope_cut_short(void)
{
    uco_scope scope;

    if (MAY(uco_scope_open(&scope, 1), ENOMEM) == 0) {
        MUST(uco_sleep(100) == -ECANCELED && uco_cancelled());
        MUST(uco_scope_close(&scope, -ECANCELED) == -ETIMEDOUT);
    }
    if (MAY(uco_scope_open(&scope, 1), ENOMEM) == 0) {
        SURE(uco_scope_reschedule(&scope, 5));
        SURE(uco_sleep(2));
        MUST(uco_scope_close(&scope, 7) == 7);
    }
    MUST(uco_with_timeout(1, body_sleeps, NULL) == -ETIMEDOUT);
}

static void
scope_cancelled_by_another(void)
{
    uco_scope scope;
    uco_task *task;
    int r;

    if (MAY(uco_scope_open(&scope, 10), ENOMEM) < 0)
        return;
    MADE(task, uco_create_task(body_cancels, &scope), ENOMEM);
    r = uco_sleep(100);
    MUST(r == -ECANCELED);
    r = (int) uco_scope_close(&scope, r);
    MUST(r == 0 || (r == -ETIMEDOUT && !torture_clean()));
    MAY(uco_join(task), ENOMEM);
}

static void
scope_shields(void)
{
    uco_scope outer, shield;
    int r;

    if (MAY(uco_scope_open(&outer, 1), ENOMEM) < 0)
        return;
    MUST(uco_sleep(100) == -ECANCELED);
    if (MAY(uco_shield_open(&shield, 10), ENOMEM) == 0) {
        SURE(uco_sleep(3));
        r = uco_sleep(100);
        MUST(r == -ECANCELED);
        MUST(uco_scope_close(&shield, r) == -ETIMEDOUT);
    }
    MUST(uco_scope_close(&outer, -ECANCELED) == -ETIMEDOUT);
}

/* More of them than a task has room for by itself. */
static void
scope_nests(void)
{
    uco_scope scopes[DEEP];
    int open = 0;
    intptr_t r;

    while (open < DEEP && MAY(uco_scope_open(&scopes[open], 20 - open), ENOMEM) == 0)
        open++;
    r = uco_with_timeout(1, body_sleeps, NULL);
    MUST(r == -ETIMEDOUT);
    r = open > 0 ? uco_sleep(100) : -ECANCELED;
    MUST(r == -ECANCELED);
    if (open > 0)
        r = uco_scope_close(&scopes[--open], r);
    MUST(r == -ETIMEDOUT || open == 0);
    while (open > 0)
        MUST(uco_scope_close(&scopes[--open], 7) == 7);
}

static intptr_t
body_leaves_scopes(void *arg)
{
    uco_scope scope;

    (void) arg;
    for (int i = 0; i < DEEP; i++)
        MAY(uco_scope_open(&scope, 1000), ENOMEM);
    return 7;
}

static void
scopes_run(void)
{
    uco_task *task;

    scope_cut_short();
    scope_cancelled_by_another();
    scope_shields();
    scope_nests();
    MADE(task, uco_create_task(body_leaves_scopes, NULL), ENOMEM);
    MAY(uco_join(task), ENOMEM);
}

/* Locals */

#define KEYS 9

static int values_live;

static void
value_destroy(void *value)
{
    values_live--;
    free(value);
}

static void *
value_new(void)
{
    void *value = malloc(8);

    MUST(value != NULL);
    values_live++;
    return value;
}

static void
value_set(uco_local key)
{
    void *value = value_new(), *before = uco_local_get(key);

    if (MAY(uco_local_set(key, value), ENOMEM) < 0) {
        value_destroy(value);
        value = before;
    }
    MUST(uco_local_get(key) == value);
}

static intptr_t
body_inherits(void *arg)
{
    const uco_local *keys = arg;
    void *inherited = uco_local_get(keys[0]);

    SURE(uco_sleep(0.5));
    MUST(uco_local_get(keys[0]) == inherited);
    for (int i = 0; i < KEYS; i++)
        value_set(keys[i]);
    SURE(uco_sleep(0.5));
    return 0;
}

static intptr_t
body_has_locals(void *arg)
{
    uco_local *keys = arg;
    uco_task *tasks[3];

    for (int i = 0; i < KEYS; i++)
        value_set(keys[i]);
    for (size_t i = 0; i < COUNT(tasks); i++)
        MADE(tasks[i], uco_create_task(body_inherits, keys), ENOMEM);
    MAY(uco_gather_all(tasks, COUNT(tasks), NULL), ENOMEM);
    uco_unref_all(tasks, COUNT(tasks));
    for (int i = 0; i < KEYS; i++)
        value_set(keys[i]);
    MAY(uco_local_set(keys[0], NULL), ENOMEM);
    return 0;
}

static void
locals_run(void)
{
    uco_local keys[KEYS];
    int made = 0;
    uco_task *task;

    while (made < KEYS && MAY(uco_local_new(&keys[made], value_destroy), ENOMEM) == 0)
        made++;
    if (made == KEYS) {
        MADE(task, uco_create_task(body_has_locals, keys), ENOMEM);
        MAY(uco_join(task), ENOMEM);
    }
    MUST(values_live == 0);
    while (made > 0)
        SURE(uco_local_free(keys[--made]));
}

/* Generators */

static intptr_t
body_counts(void *arg)
{
    intptr_t end = (intptr_t) arg;

    for (intptr_t i = 0; i < end; i++) {
        int r = uco_generator_yield((void *) i);

        if (r < 0) {
            MUST(r == -ECANCELED);
            return r;
        }
        SURE(uco_sleep(0.125));
    }
    return 0;
}

static void
generator_read(uco_generator *generator, intptr_t end)
{
    intptr_t r = 1;

    for (intptr_t i = 0; i < end && r == 1; i++) {
        void *value = NULL;

        r = MAY(uco_generator_next(generator, &value), ENOMEM);
        MUST(r == 1 || r == -ENOMEM);
        MUST(r < 0 || value == (void *) i);
    }
}

static void
generators_run(void)
{
    uco_generator *generators[3];

    for (size_t i = 0; i < COUNT(generators); i++)
        MADE(generators[i], uco_generator_new(body_counts, (void *) (intptr_t) 5), ENOMEM);
    if (generators[0] != NULL) {
        generator_read(generators[0], 5);
        MUST(MAY(uco_generator_next(generators[0], NULL), ENOMEM) <= 0);
    }
    if (generators[1] != NULL)
        generator_read(generators[1], 2);
    for (size_t i = 0; i < COUNT(generators); i++)
        uco_generator_free(generators[i]);
}

const struct scenario torture_scopes = {.name = "scopes", .run = scopes_run};
const struct scenario torture_locals = {.name = "locals", .run = locals_run};
const struct scenario torture_generators = {.name = "generators", .run = generators_run};
