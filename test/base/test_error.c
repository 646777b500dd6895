/* SPDX-License-Identifier: MIT */
/*
 * What errors and versions are called, and how functions that return a pointer fail.
 */
#include "../support/support.h"

#include "base/error.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

START_TEST(an_error_is_named_whatever_its_sign)
{
    static const int errors[] = {EPERM, ENOENT,    EAGAIN,    ENOMEM,
                                 EBUSY, ETIMEDOUT, ECANCELED, ESHUTDOWN};

    for (size_t i = 0; i < COUNT(errors); i++) {
        ck_assert_str_eq(uco_strerror(-errors[i]), strerrordesc_np(errors[i]));
        ck_assert_str_eq(uco_strerror(errors[i]), uco_strerror(-errors[i]));
    }
    ck_assert_str_eq(uco_strerror(0), "success");
}
END_TEST

START_TEST(what_is_no_error_is_called_unknown)
{
    static const int numbers[] = {4095, -4095, 4096, -100000, INT_MAX, INT_MIN, INT_MIN + 1};

    for (size_t i = 0; i < COUNT(numbers); i++)
        ck_assert_str_eq(uco_strerror(numbers[i]), "unknown error");
}
END_TEST

START_TEST(every_number_has_some_text)
{
    for (int error = -5000; error <= 5000; error++) {
        const char *text = uco_strerror(error);

        ck_assert_ptr_nonnull(text);
        ck_assert_uint_gt(strlen(text), 0);
    }
}
END_TEST

START_TEST(naming_an_error_leaves_errno_alone)
{
    errno = EXFULL;
    uco_strerror(-EBADF);
    uco_strerror(-4000);
    ck_assert_int_eq(errno, EXFULL);
}
END_TEST

START_TEST(the_version_is_three_numbers)
{
    unsigned major, minor, patch;
    char again[64];

    ck_assert_int_eq(sscanf(uco_version(), "%u.%u.%u", &major, &minor, &patch), 3);
    snprintf(again, sizeof again, "%u.%u.%u", major, minor, patch);
    ck_assert_str_eq(uco_version(), again);
}
END_TEST

START_TEST(a_null_result_carries_its_error_in_errno)
{
    errno = 0;
    ck_assert_ptr_null(uco__error_null(-ESHUTDOWN));
    ck_assert_int_eq(errno, ESHUTDOWN);
}
END_TEST

static void *
where_is_errno(void *arg)
{
    (void) arg;
    ck_assert_ptr_eq(uco__error_location(), &errno);
    return uco__error_location();
}

START_TEST(each_thread_has_its_errno)
{
    pthread_t thread;
    void *other;

    ck_assert_int_eq(pthread_create(&thread, NULL, where_is_errno, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, &other), 0);
    ck_assert_ptr_eq(uco__error_location(), &errno);
    ck_assert_ptr_ne(other, &errno);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("error");
    TCase *tc = case_new(suite, "errors");

    tcase_add_test(tc, an_error_is_named_whatever_its_sign);
    tcase_add_test(tc, what_is_no_error_is_called_unknown);
    tcase_add_test(tc, every_number_has_some_text);
    tcase_add_test(tc, naming_an_error_leaves_errno_alone);
    tcase_add_test(tc, the_version_is_three_numbers);
    tcase_add_test(tc, a_null_result_carries_its_error_in_errno);
    tcase_add_test(tc, each_thread_has_its_errno);
    return suite_end(suite);
}
