/* SPDX-License-Identifier: MIT */
/* What a dump tells of look-ups of names. */

#include "../support/dumped.h"
#include "io/resolver.h"

static intptr_t
looks_at_a_lookup(void *arg)
{
    uco_task *task = named("asks", look_up, (void *) (uintptr_t) "gate-dumped");

    (void) arg;
    resolver_await(1);
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "asks"),
                    "waits for the look-up of the name 'gate-dumped'; since ");
    resolver_open(1);
    return uco_join(task);
}

START_TEST(a_look_up_is_told_with_the_name)
{
    ck_assert_int_eq(run_real(looks_at_a_lookup, NULL), 0);
    resolver_drain();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump, name");
    TCase *waits = case_new(suite, "waits");

    tcase_add_checked_fixture(waits, resolver_reset, NULL);
    tcase_add_test(waits, a_look_up_is_told_with_the_name);
    return suite_end(suite);
}
