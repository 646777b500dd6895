/* SPDX-License-Identifier: MIT */

/*
 * uco_getaddrinfo() with the C library's own answers: what is answered at once, as the C library
 * would, and where it may be called.
 */

#include "support.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct ask {
    const char *node;
    const char *service;
    struct addrinfo hints;
};

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

static int
find(const char *node, const char *service, int flags)
{
    struct addrinfo hints = {.ai_flags = flags};
    struct addrinfo *list = NULL;
    int r = uco_getaddrinfo(node, service, &hints, &list);

    ck_assert_int_eq(list != NULL, r == 0);
    uco_freeaddrinfo(list);
    return r;
}

/* At once */

static void
expect_equal(const struct addrinfo *a, const struct addrinfo *b)
{
    for (; a != NULL && b != NULL; a = a->ai_next, b = b->ai_next) {
        ck_assert_int_eq(a->ai_flags, b->ai_flags);
        ck_assert_int_eq(a->ai_family, b->ai_family);
        ck_assert_int_eq(a->ai_socktype, b->ai_socktype);
        ck_assert_int_eq(a->ai_protocol, b->ai_protocol);
        ck_assert_uint_eq(a->ai_addrlen, b->ai_addrlen);
        ck_assert_mem_eq(a->ai_addr, b->ai_addr, a->ai_addrlen);
        ck_assert_int_eq(a->ai_canonname != NULL, b->ai_canonname != NULL);
        if (a->ai_canonname != NULL)
            ck_assert_str_eq(a->ai_canonname, b->ai_canonname);
    }
    ck_assert_ptr_null(a);
    ck_assert_ptr_null(b);
}

static const struct ask at_once[] = {
    {"127.0.0.1", "80", {0}},
    {"127.0.0.1", NULL, {0}},
    {"::1", "80", {0}},
    {"fe80::1%lo", "80", {0}},
    {"127.1", "0", {.ai_socktype = SOCK_STREAM}},
    {"0x7f000001", "65535", {.ai_socktype = SOCK_DGRAM}},
    {"192.0.2.1", "80", {.ai_flags = AI_CANONNAME, .ai_protocol = IPPROTO_TCP}},
    {"192.0.2.1", "80", {.ai_family = AF_INET6, .ai_flags = AI_V4MAPPED}},
    {"192.0.2.1", "80", {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}},
    {NULL, "80", {.ai_flags = AI_PASSIVE}},
    {NULL, "80", {0}},
};

static const struct ask refused[] = {
    {"name.test", "80", {.ai_flags = AI_NUMERICHOST}},
    {"127.0.0.1", "http", {.ai_flags = AI_NUMERICSERV}},
    {"::1", "80", {.ai_family = AF_INET}},
    {"127.0.0.1", "80", {.ai_family = AF_INET6}},
    {"127.0.0.1", "80", {.ai_family = AF_UNIX}},
    {"127.0.0.1", "80", {.ai_socktype = 99}},
    {"127.0.0.1", "80", {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_UDP}},
    {NULL, "80", {.ai_flags = AI_CANONNAME}},
};

static intptr_t
finds_at_once(void *arg)
{
    uint64_t switches = stats_here().switches;
    int threads = count_threads();

    for (size_t i = 0; i < COUNT(at_once); i++) {
        const struct ask *ask = &at_once[i];
        struct addrinfo *list, *expected;

        ck_assert_int_eq(uco_getaddrinfo(ask->node, ask->service, &ask->hints, &list), 0);
        ck_assert_int_eq(uco_gai_error(), 0);
        ck_assert_int_eq(getaddrinfo(ask->node, ask->service, &ask->hints, &expected), 0);
        expect_equal(list, expected);
        freeaddrinfo(expected);
        uco_freeaddrinfo(list);
    }
    for (size_t i = 0; i < COUNT(refused); i++) {
        const struct ask *ask = &refused[i];
        struct addrinfo *list = NULL;

        ck_assert_int_lt(uco_getaddrinfo(ask->node, ask->service, &ask->hints, &list), 0);
        ck_assert_int_eq(uco_gai_error(), getaddrinfo(ask->node, ask->service, &ask->hints, &list));
        ck_assert_ptr_null(list);
    }
    ck_assert_uint_eq(stats_here().switches, switches);
    ck_assert_int_eq(count_threads(), threads);
    return (intptr_t) arg;
}

START_TEST(what_needs_no_look_up_is_answered_at_once_as_the_c_library_would)
{
    ck_assert_int_eq(run_virtual(finds_at_once, NULL), 0);
}
END_TEST

START_TEST(a_numeric_address_needs_no_more_than_the_smallest_stack)
{
    uco_loop_options options = {.stack_size = 16 * 1024};

    if (under_sanitizer())
        return; /* its functions need more */
    ck_assert_int_eq(uco_run_with(&options, finds_at_once, NULL), 0);
}
END_TEST

static intptr_t
finds_without_hints(void *arg)
{
    struct addrinfo *list, *expected;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("127.0.0.1", "80", NULL, &list), 0);
    ck_assert_int_eq(getaddrinfo("127.0.0.1", "80", NULL, &expected), 0);
    expect_equal(list, expected);
    freeaddrinfo(expected);
    uco_freeaddrinfo(list);
    return 0;
}

START_TEST(hints_may_be_left_out)
{
    ck_assert_int_eq(run_virtual(finds_without_hints, NULL), 0);
}
END_TEST

static intptr_t
counts_its_turns(void *turns)
{
    while (uco_yield() == 0)
        ++*(int *) turns;
    return 0;
}

static intptr_t
finds_often(void *turns)
{
    uco_unref(uco_create_task(counts_its_turns, turns));
    for (int i = 0; i < 640; i++)
        ck_assert_int_eq(find("127.0.0.1", "80", 0), 0);
    ck_assert_int_ge(*(int *) turns, 8);
    return 0;
}

START_TEST(answers_at_once_starve_nobody)
{
    int turns = 0;

    ck_assert_int_eq(run_virtual(finds_often, &turns), 0);
}
END_TEST

/* Looked up */

static intptr_t
finds_localhost(void *arg)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("localhost", "8080", &hints, &list), 0);
    for (const struct addrinfo *info = list; info != NULL; info = info->ai_next) {
        const struct sockaddr_in *address = (struct sockaddr_in *) (void *) info->ai_addr;

        ck_assert_uint_eq(ntohl(address->sin_addr.s_addr) >> 24, 127);
        ck_assert_uint_eq(ntohs(address->sin_port), 8080);
        ck_assert_int_eq(info->ai_socktype, SOCK_STREAM);
    }
    uco_freeaddrinfo(list);
    ck_assert_int_eq(find("some.invalid", "80", 0), -ENOENT);
    return 0;
}

START_TEST(localhost_is_this_machine)
{
    ck_assert_int_eq(run_virtual(finds_localhost, NULL), 0);
}
END_TEST

static intptr_t
finds_a_service(void *arg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("127.0.0.1", "no-such-service", &hints, &list), -ENOENT);
    ck_assert_int_eq(uco_gai_error(), EAI_SERVICE);
    if (getservbyname("http", "tcp") == NULL) {
        test_skipped("no services are known here");
        return 0;
    }
    ck_assert_int_eq(uco_getaddrinfo("127.0.0.1", "http", &hints, &list), 0);
    ck_assert_uint_eq(ntohs(((struct sockaddr_in *) (void *) list->ai_addr)->sin_port), 80);
    uco_freeaddrinfo(list);
    return 0;
}

START_TEST(a_service_may_have_a_name)
{
    ck_assert_int_eq(run_virtual(finds_a_service, NULL), 0);
}
END_TEST

/* Misuse */

static intptr_t
misuses(void *arg)
{
    struct addrinfo *list = NULL;
    struct addrinfo unknown = {.ai_flags = 1 << 30};

    (void) arg;
    ck_assert_int_eq(uco_getaddrinfo("127.0.0.1", "80", NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_gai_error(), EAI_SYSTEM);
    ck_assert_int_eq(uco_getaddrinfo(NULL, NULL, NULL, &list), -EINVAL);
    ck_assert_int_eq(uco_gai_error(), EAI_NONAME);
    ck_assert_int_eq(uco_getaddrinfo("127.0.0.1", "80", &unknown, &list), -EINVAL);
    ck_assert_int_eq(uco_gai_error(), EAI_BADFLAGS);
    ck_assert_int_eq(uco_getaddrinfo("localhost", NULL, &unknown, &list), -EINVAL);
    ck_assert_int_eq(uco_gai_error(), EAI_BADFLAGS);
    ck_assert_ptr_null(list);
    ck_assert_int_eq(find("127.0.0.1", "80", 0), 0);
    ck_assert_int_eq(uco_gai_error(), 0);
    return 0;
}

START_TEST(bad_input_is_refused)
{
    ck_assert_int_eq(run_virtual(misuses, NULL), 0);
}
END_TEST

static void
find_in_a_callback(void *arg)
{
    *(int *) arg = find("127.0.0.1", "80", 0);
}

static intptr_t
calls_back(void *arg)
{
    uco_loop_call_soon(uco_get_running_loop(), find_in_a_callback, arg);
    return uco_test_settle();
}

START_TEST(only_a_coroutine_can_look_up)
{
    int r = 0;

    ck_assert_int_eq(find("127.0.0.1", "80", 0), -EPERM);
    ck_assert_int_eq(find("localhost", NULL, 0), -EPERM);
    ck_assert_int_eq(uco_getaddrinfo(NULL, NULL, NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_gai_error(), 0);
    ck_assert_int_eq(run_virtual(calls_back, &r), 0);
    ck_assert_int_eq(r, -EPERM);
}
END_TEST

static intptr_t
misuses_in_debug_mode(void *arg)
{
    (void) arg;
    return uco_getaddrinfo("127.0.0.1", "80", NULL, NULL);
}

START_TEST(in_debug_mode_bad_input_aborts)
{
    uco_loop_options options = {.debug = true};
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        close(STDERR_FILENO);
        uco_run_with(&options, misuses_in_debug_mode, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("names");
    TCase *now = case_new(suite, "at once");
    TCase *later = case_new(suite, "looked up");
    TCase *misuse = case_new(suite, "misuse");

    tcase_add_test(now, what_needs_no_look_up_is_answered_at_once_as_the_c_library_would);
    tcase_add_test(now, a_numeric_address_needs_no_more_than_the_smallest_stack);
    tcase_add_test(now, hints_may_be_left_out);
    tcase_add_test(now, answers_at_once_starve_nobody);
    tcase_add_test(later, localhost_is_this_machine);
    tcase_add_test(later, a_service_may_have_a_name);
    tcase_add_test(misuse, bad_input_is_refused);
    tcase_add_test(misuse, only_a_coroutine_can_look_up);
    tcase_add_test(misuse, in_debug_mode_bad_input_aborts);
    return suite_end(suite);
}
