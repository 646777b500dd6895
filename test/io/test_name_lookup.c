/* SPDX-License-Identifier: MIT */

/*
 * Look-ups: what is asked and what is not, what comes of each answer, and of each failure.
 */

#include "io/resolver.h"

#include <sys/wait.h>
#include <unistd.h>

/* Answers */

static intptr_t
finds_addresses(void *arg)
{
    struct addrinfo *list;
    const struct sockaddr_in *second;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("n7.test", "80", NULL, &list), 0);
    ck_assert_int_eq(uco_gai_error(), 0);
    ck_assert_ptr_null(list->ai_canonname);
    second = (struct sockaddr_in *) (void *) list->ai_next->ai_addr;
    ck_assert_uint_eq(ntohl(second->sin_addr.s_addr), 0x7f020007);
    ck_assert_uint_eq(ntohs(second->sin_port), 80);
    ck_assert_int_eq(list->ai_next->ai_addrlen, sizeof *second);
    ck_assert_ptr_null(list->ai_next->ai_next);
    ck_assert_uint_eq(list_take(list), 0x7f010007);
    ck_assert_int_eq(atomic_load(&resolver.lists), 0);
    return 0;
}

START_TEST(a_name_is_looked_up_in_another_thread)
{
    ck_assert_int_eq(run_virtual(finds_addresses, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1);
}
END_TEST

static intptr_t
finds_a_canonical_name(void *arg)
{
    struct addrinfo hints = {.ai_flags = AI_CANONNAME};
    struct addrinfo *list;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("n7.test", NULL, &hints, &list), 0);
    ck_assert_str_eq(list->ai_canonname, "n7.test");
    ck_assert_ptr_null(list->ai_next->ai_canonname);
    uco_freeaddrinfo(list);
    return 0;
}

START_TEST(a_list_has_its_canonical_name)
{
    ck_assert_int_eq(run_virtual(finds_a_canonical_name, NULL), 0);
}
END_TEST

static intptr_t
takes_a_list_apart(void *arg)
{
    struct addrinfo *list, *rest;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("n7.test", NULL, NULL, &list), 0);
    rest = list->ai_next;
    list->ai_next = NULL;
    uco_freeaddrinfo(list);
    ck_assert_uint_eq(list_take(rest), 0x7f020007);
    uco_freeaddrinfo(NULL);
    return 0;
}

START_TEST(each_part_of_a_list_can_be_freed)
{
    ck_assert_int_eq(run_virtual(takes_a_list_apart, NULL), 0);
}
END_TEST

static intptr_t
finds_in_turn(void *arg)
{
    char name[32];

    (void) arg;
    for (uint32_t i = 0; i < 200; i++) {
        struct addrinfo *list;

        snprintf(name, sizeof name, "n%u.test", i);
        ck_assert_int_eq(uco_getaddrinfo(name, NULL, NULL, &list), 0);
        ck_assert_uint_eq(list_take(list), 0x7f010000 + i);
    }
    ck_assert_int_eq(atomic_load(&resolver.most), 1);
    return 0;
}

START_TEST(answers_are_not_kept)
{
    ck_assert_int_eq(run_virtual(finds_in_turn, NULL), 0);
    ck_assert_int_eq(run_virtual(finds_addresses, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 201);
}
END_TEST

/* Errors */

static const struct {
    int code;
    int error;
} codes[] = {
    {EAI_NONAME, -ENOENT},      {EAI_NODATA, -ENOENT},
    {EAI_SERVICE, -ENOENT},     {EAI_AGAIN, -EAGAIN},
    {EAI_MEMORY, -ENOMEM},      {EAI_FAMILY, -EAFNOSUPPORT},
    {EAI_FAIL, -EIO},           {EAI_ADDRFAMILY, -EAFNOSUPPORT},
    {EAI_OVERFLOW, -EOVERFLOW}, {EAI_SOCKTYPE, -ESOCKTNOSUPPORT},
    {EAI_BADFLAGS, -EINVAL},    {EAI_IDN_ENCODE, -EINVAL},
    {EAI_INTR, -EIO},           {-99, -EIO},
};

static intptr_t
fails_with_each_code(void *arg)
{
    char name[32];

    (void) arg;
    for (size_t i = 0; i < COUNT(codes); i++) {
        struct addrinfo *list = (struct addrinfo *) name;

        snprintf(name, sizeof name, "code%d", -codes[i].code);
        ck_assert_int_eq(uco_getaddrinfo(name, NULL, NULL, &list), codes[i].error);
        ck_assert_int_eq(uco_gai_error(), codes[i].code);
        ck_assert_ptr_eq(list, name); /* untouched */
        ck_assert_int_eq(find("n1.test"), 0);
        ck_assert_int_eq(uco_gai_error(), 0);
    }
    return 0;
}

START_TEST(each_code_has_its_error)
{
    ck_assert_int_eq(run_virtual(fails_with_each_code, NULL), 0);
}
END_TEST

static intptr_t
fails_in_the_system(void *arg)
{
    char name[32];

    (void) arg;
    snprintf(name, sizeof name, "errno%d", EMFILE);
    ck_assert_int_eq(find(name), -EMFILE);
    ck_assert_int_eq(uco_gai_error(), EAI_SYSTEM);
    ck_assert_int_eq(find("errno0"), -EIO);
    ck_assert_int_eq(uco_gai_error(), EAI_SYSTEM);
    ck_assert_int_eq(find("empty"), -ENOENT);
    return 0;
}

START_TEST(an_error_of_the_system_is_that_error)
{
    ck_assert_int_eq(run_virtual(fails_in_the_system, NULL), 0);
}
END_TEST

static intptr_t
code_of_its_own(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_gai_error(), 0);
    ck_assert_int_eq(find("code4"), -EIO);
    return 0;
}

static intptr_t
keeps_its_code(void *arg)
{
    (void) arg;
    ck_assert_int_eq(find("unknown"), -ENOENT);
    ck_assert_int_eq(uco_join(uco_create_task(code_of_its_own, NULL)), 0);
    ck_assert_int_eq(uco_gai_error(), EAI_NONAME);
    return 0;
}

START_TEST(each_task_has_a_code_of_its_own)
{
    ck_assert_int_eq(run_virtual(keeps_its_code, NULL), 0);
    ck_assert_int_eq(uco_gai_error(), 0);
}
END_TEST

static intptr_t
keeps_errno(void *arg)
{
    (void) arg;
    errno = 77;
    ck_assert_int_eq(find("errno5"), -5);
    ck_assert_int_eq(errno, 77);
    ck_assert_int_eq(find(NULL), -EINVAL);
    ck_assert_int_eq(errno, 77);
    uco_test_fail("getaddrinfo", 1, true, EIO);
    ck_assert_int_eq(find("n1.test"), -EIO);
    ck_assert_int_eq(errno, 77);
    return 0;
}

START_TEST(errno_stays_the_coroutines)
{
    ck_assert_int_eq(run_virtual(keeps_errno, NULL), 0);
}
END_TEST

/* RFC 6761 */

static void
expect_loopback(const char *node)
{
    struct addrinfo hints = {.ai_flags = AI_CANONNAME | AI_PASSIVE};
    struct addrinfo *list;

    ck_assert_int_eq(uco_getaddrinfo(node, "80", &hints, &list), 0);
    ck_assert_int_eq(list->ai_family, AF_INET6);
    ck_assert_str_eq(list->ai_canonname, node);
    ck_assert_ptr_null(list->ai_next->ai_canonname);
    ck_assert_uint_eq(ntohs(((struct sockaddr_in6 *) (void *) list->ai_addr)->sin6_port), 80);
    uco_freeaddrinfo(list);
    ck_assert_int_eq(find(node), 0);
}

static intptr_t
finds_this_machine(void *arg)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *list;

    (void) arg;
    expect_loopback("localhost");
    expect_loopback("LocalHost.");
    expect_loopback("some.thing.localhost");
    ck_assert_int_eq(find("nolocalhost"), -ENOENT);
    ck_assert_int_eq(find("localhost.test"), -ENOENT);
    ck_assert_int_eq(uco_getaddrinfo("localhost", "http", &hints, &list), -ENOENT);
    return 0;
}

START_TEST(a_local_name_is_this_machine_where_nobody_knows_it)
{
    ck_assert_int_eq(run_virtual(finds_this_machine, NULL), 0);
}
END_TEST

static intptr_t
asks_for_invalid_names(void *arg)
{
    char *endless = calloc(1, 100001);

    (void) arg;
    ck_assert_int_eq(find("invalid"), -ENOENT);
    ck_assert_int_eq(uco_gai_error(), EAI_NONAME);
    ck_assert_int_eq(find("some.Invalid."), -ENOENT);
    memset(endless, 'n', 100000);
    ck_assert_int_eq(find(endless), -ENOENT);
    ck_assert_int_eq(uco_gai_error(), EAI_NONAME);
    free(endless);
    ck_assert_int_eq(atomic_load(&resolver.calls), 0);
    ck_assert_int_eq(find("n1invalid"), 0);
    return 0;
}

START_TEST(nobody_is_asked_for_names_that_cannot_be)
{
    ck_assert_int_eq(run_virtual(asks_for_invalid_names, NULL), 0);
}
END_TEST

/* Faults */

static intptr_t
lookups_fail(void *arg)
{
    (void) arg;
    uco_test_fail("getaddrinfo", 1, false, ENETDOWN);
    ck_assert_int_eq(find("n1.test"), -ENETDOWN);
    ck_assert_int_eq(uco_gai_error(), EAI_SYSTEM);
    ck_assert_int_eq(find("n1.test"), 0);
    uco_test_fail("getaddrinfo", 1, true, ENETDOWN);
    ck_assert_int_eq(find("n1.test"), -ENETDOWN);
    ck_assert_int_eq(find("127.0.0.1"), -ENETDOWN);
    uco_test_fail_off();
    return find("n1.test");
}

START_TEST(a_look_up_that_fails_leaves_the_loop_usable)
{
    ck_assert_int_eq(run_virtual(lookups_fail, NULL), 0);
}
END_TEST

static intptr_t
threads_fail(void *arg)
{
    (void) arg;
    uco_test_fail("pthread_create", 1, true, EAGAIN);
    ck_assert_int_eq(find("n1.test"), -EAGAIN);
    ck_assert_int_eq(uco_gai_error(), EAI_AGAIN);
    ck_assert_int_eq(atomic_load(&resolver.calls), 0);
    uco_test_fail("pthread_create", 1, false, EAGAIN);
    ck_assert_int_eq(find("n1.test"), -EAGAIN);
    ck_assert_int_eq(find("n1.test"), 0);
    return 0;
}

START_TEST(without_a_thread_a_look_up_is_refused_for_now)
{
    ck_assert_int_eq(run_virtual(threads_fail, NULL), 0);
}
END_TEST

static intptr_t
has_one_thread(void *arg)
{
    uco_task *tasks[20];
    char names[20][32];

    (void) arg;
    ck_assert_int_eq(find("n1.test"), 0);
    uco_test_fail("pthread_create", 1, true, EAGAIN);
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "n%d.test", i);
        tasks[i] = asking(names[i]);
    }
    ck_assert_int_eq(uco_gather(tasks, 20, NULL), 0);
    uco_unref_all(tasks, 20);
    ck_assert_int_eq(atomic_load(&resolver.most), 1);
    return 0;
}

START_TEST(look_ups_do_with_the_threads_that_there_are)
{
    ck_assert_int_eq(run_virtual(has_one_thread, NULL), 0);
}
END_TEST

struct failure {
    unsigned long nth;
    bool for_ever;
};

/* Zero once nothing fails any more. */
static intptr_t
memory_fails(void *arg)
{
    const struct failure *failure = arg;
    struct addrinfo hints = {.ai_flags = AI_CANONNAME};
    struct addrinfo *list = NULL;
    int r;

    uco_test_fail("malloc", failure->nth, failure->for_ever, ENOMEM);
    r = uco_getaddrinfo("n1.test", NULL, &hints, &list);
    uco_test_fail_off();
    ck_assert(r == 0 || r == -ENOMEM);
    ck_assert_int_eq(uco_gai_error(), r == 0 ? 0 : EAI_MEMORY);
    ck_assert_int_eq(list != NULL, r == 0);
    ck_assert_int_eq(atomic_load(&resolver.lists), 0);
    uco_freeaddrinfo(list);
    ck_assert_int_eq(find("n1.test"), 0);
    return r;
}

START_TEST(without_memory_a_look_up_fails_and_nothing_is_lost)
{
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        struct failure failure = {1, for_ever};

        while (run_virtual(memory_fails, &failure) != 0)
            failure.nth++;
        /* the loop's table and pool, the look-up, its job and thread; two addresses and a name */
        ck_assert_uint_eq(failure.nth, 9);
    }
}
END_TEST

static intptr_t
one_of_two_lacks_memory(void *arg)
{
    uco_task *first = asking("gate"), *second = asking("gate");
    intptr_t a, b;

    (void) arg;
    settle();
    uco_test_fail("malloc", 1, false, ENOMEM);
    resolver_open(1);
    a = uco_join(first);
    b = uco_join(second);
    ck_assert_int_eq(a + b, -ENOMEM);
    ck_assert(a == 0 || b == 0);
    return 0;
}

START_TEST(one_that_lacks_memory_for_its_list_leaves_the_others)
{
    ck_assert_int_eq(run_virtual(one_of_two_lacks_memory, NULL), 0);
    ck_assert_int_eq(atomic_load(&resolver.calls), 1);
}
END_TEST

static intptr_t
loses_threads(void *arg)
{
    (void) arg;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(find("exit"), -EIO);
        ck_assert_int_eq(uco_gai_error(), EAI_FAIL);
    }
    return find("n1.test");
}

START_TEST(a_thread_that_is_ended_by_the_c_library_fails_its_look_up_only)
{
    ck_assert_int_eq(run_virtual(loses_threads, NULL), 0);
}
END_TEST

static intptr_t
forks(void *arg)
{
    struct addrinfo *list;
    int status;
    pid_t child;

    (void) arg;
    ck_assert_int_eq(find("n1"), 0); /* a thread that the child does not have */
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(uco_getaddrinfo("n1", NULL, NULL, &list) != -ESTALE ||
              uco_getaddrinfo("::1", NULL, NULL, &list) != -ESTALE || uco_gai_error() != 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    return find("n1");
}

START_TEST(a_child_of_fork_does_not_look_up_on_its_parents_loop)
{
    ck_assert_int_eq(run_virtual(forks, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("name look-ups");
    TCase *answers = case_new(suite, "answers");
    TCase *errors = case_new(suite, "errors");
    TCase *special = case_new(suite, "special names");
    TCase *faults = case_new(suite, "faults");

    tcase_add_checked_fixture(answers, resolver_reset, NULL);
    tcase_add_test(answers, a_name_is_looked_up_in_another_thread);
    tcase_add_test(answers, a_list_has_its_canonical_name);
    tcase_add_test(answers, each_part_of_a_list_can_be_freed);
    tcase_add_test(answers, answers_are_not_kept);
    tcase_add_checked_fixture(errors, resolver_reset, NULL);
    tcase_add_test(errors, each_code_has_its_error);
    tcase_add_test(errors, an_error_of_the_system_is_that_error);
    tcase_add_test(errors, each_task_has_a_code_of_its_own);
    tcase_add_test(errors, errno_stays_the_coroutines);
    tcase_add_checked_fixture(special, resolver_reset, NULL);
    tcase_add_test(special, a_local_name_is_this_machine_where_nobody_knows_it);
    tcase_add_test(special, nobody_is_asked_for_names_that_cannot_be);
    tcase_add_checked_fixture(faults, resolver_reset, NULL);
    tcase_add_test(faults, a_look_up_that_fails_leaves_the_loop_usable);
    tcase_add_test(faults, without_a_thread_a_look_up_is_refused_for_now);
    tcase_add_test(faults, look_ups_do_with_the_threads_that_there_are);
    tcase_add_test(faults, without_memory_a_look_up_fails_and_nothing_is_lost);
    tcase_add_test(faults, one_that_lacks_memory_for_its_list_leaves_the_others);
    tcase_add_test(faults, a_thread_that_is_ended_by_the_c_library_fails_its_look_up_only);
    tcase_add_test(faults, a_child_of_fork_does_not_look_up_on_its_parents_loop);
    return suite_end(suite);
}
