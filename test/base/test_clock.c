/* SPDX-License-Identifier: MIT */
/*
 * From seconds to nanoseconds and back.
 */
#include "../support/support.h"

#include "base/clock.h"

#include <stdlib.h>

START_TEST(a_part_of_a_nanosecond_counts_as_a_whole_one)
{
    ck_assert_uint_eq(uco__clock_from_seconds(1e-9), 1);
    ck_assert_uint_eq(uco__clock_from_seconds(1.5e-9), 2);
    ck_assert_uint_eq(uco__clock_from_seconds(0.1e-9), 1);
    ck_assert_uint_eq(uco__clock_from_seconds(5e-324), 1);
    ck_assert_uint_eq(uco__clock_from_seconds(1.0 + 0x1p-52), UCO__SECOND + 1);
}
END_TEST

START_TEST(what_is_over_is_zero)
{
    static const double over[] = {0.0, -0.0, -1e-9, -1.0, -1e300, -INFINITY, -5e-324};

    for (size_t i = 0; i < COUNT(over); i++)
        ck_assert_uint_eq(uco__clock_from_seconds(over[i]), 0);
}
END_TEST

START_TEST(what_does_not_fit_is_never)
{
    static const double far[] = {18446744073.709552, 2e10, 1e18, 1e300, INFINITY, UCO_FOREVER};

    for (size_t i = 0; i < COUNT(far); i++)
        ck_assert_uint_eq(uco__clock_from_seconds(far[i]), UCO__NEVER);
    /* Half of the range still fits: 292 years. */
    ck_assert_uint_eq(uco__clock_from_seconds(9223372036.0), UINT64_C(9223372036000000000));
}
END_TEST

/* Not ck_assert, which tells Check's parent each time: that would be most of a long loop's time. */
#define MUST(condition, n)                                                                         \
    ((condition) ? (void) 0 : ck_abort_msg("not so for %.17g: %s", (double) (n), #condition))

/* A virtual clock that sleeps 0.067 s stands at 0.067 s, not a nanosecond later. */
START_TEST(whole_milliseconds_and_microseconds_are_exact)
{
    for (uint64_t n = 0; n < 1000000; n++) {
        MUST(uco__clock_from_seconds((double) n / 1e3) == n * UCO__MILLISECOND, n);
        MUST(uco__clock_from_seconds((double) n / 1e6) == n * UCO__MICROSECOND, n);
    }
    ck_assert_uint_eq(uco__clock_from_seconds(0.3), 300000000);
    ck_assert_uint_eq(uco__clock_from_seconds(86400.0), 86400 * UCO__SECOND);
}
END_TEST

START_TEST(seconds_are_the_nearest_double)
{
    ck_assert_double_eq(uco__clock_to_seconds(0), 0.0);
    ck_assert_double_eq(uco__clock_to_seconds(300000000), 0.3);
    ck_assert_double_eq(uco__clock_to_seconds(1), 1e-9);
    ck_assert_double_eq(uco__clock_to_seconds(67 * UCO__MILLISECOND), 0.067);
    ck_assert_double_eq(uco__clock_to_seconds(12345 * UCO__SECOND + 678900000), 12345.6789);
}
END_TEST

/* Twelve days: beyond fifty a double of seconds no longer holds each nanosecond. */
START_TEST(there_and_back_is_never_early)
{
    int rounds = scaled(1000000);

    srand48(1);
    while (rounds-- > 0) {
        uint64_t ns = (uint64_t) (drand48() * 0x1p50);
        uint64_t back = uco__clock_from_seconds(uco__clock_to_seconds(ns));
        double seconds = drand48() * 1e6;

        MUST(back == ns || back == ns + 1, ns);
        MUST(uco__clock_to_seconds(uco__clock_from_seconds(seconds)) >= seconds, seconds);
    }
}
END_TEST

START_TEST(a_sum_of_time_saturates)
{
    ck_assert_uint_eq(uco__clock_after(5, 1.0), UCO__SECOND + 5);
    ck_assert_uint_eq(uco__clock_after(5, -1.0), 5);
    ck_assert_uint_eq(uco__clock_after(5, 0.0), 5);
    ck_assert_uint_eq(uco__clock_after(0, UCO_FOREVER), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(5, UCO_FOREVER), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(UINT64_MAX - 100, 50e-9), UINT64_MAX - 50);
    ck_assert_uint_eq(uco__clock_after(UINT64_MAX - 100, 100e-9), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(UINT64_MAX - 100, 1.0), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(UCO__NEVER, 0.0), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(UCO__NEVER, 1.0), UCO__NEVER);
    ck_assert_uint_eq(uco__clock_after(UINT64_C(1) << 63, 9223372036.0),
                      (UINT64_C(1) << 63) + UINT64_C(9223372036000000000));
}
END_TEST

START_TEST(the_real_clock_does_not_go_back)
{
    uint64_t before = uco__clock_real();

    for (int i = 0; i < 10000; i++) {
        uint64_t now = uco__clock_real();

        ck_assert_uint_le(before, now);
        before = now;
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tc = case_new(suite, "conversions");

    tcase_add_test(tc, a_part_of_a_nanosecond_counts_as_a_whole_one);
    tcase_add_test(tc, what_is_over_is_zero);
    tcase_add_test(tc, what_does_not_fit_is_never);
    tcase_add_test(tc, whole_milliseconds_and_microseconds_are_exact);
    tcase_add_test(tc, seconds_are_the_nearest_double);
    tcase_add_test(tc, there_and_back_is_never_early);
    tcase_add_test(tc, a_sum_of_time_saturates);
    tcase_add_test(tc, the_real_clock_does_not_go_back);
    return suite_end(suite);
}
