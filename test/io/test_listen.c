/* SPDX-License-Identifier: MIT */

/*
 * Listening on names. A name tells its addresses: an 'l' and a letter for each,
 *
 *   n   no address of this machine
 *   h   127.0.0.1
 *
 * The library, which tests link as objects, calls this file's getaddrinfo(). Other hosts are in
 * test_socket.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    struct addrinfo **end = result;

    if (node == NULL || node[0] != 'l' || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return EAI_NONAME;
    ck_assert_int_ne(hints->ai_flags & AI_PASSIVE, 0);
    for (const char *kind = node + 1; *kind != '\0'; kind++) {
        struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
        struct sockaddr_in *in = (struct sockaddr_in *) (void *) (info + 1);

        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t) atoi(service));
        in->sin_addr.s_addr = htonl(*kind == 'h' ? INADDR_LOOPBACK : 0xc0000201);
        *info = (struct addrinfo){.ai_family = AF_INET,
                                  .ai_socktype = SOCK_STREAM,
                                  .ai_addr = (struct sockaddr *) in,
                                  .ai_addrlen = sizeof *in};
        *end = info;
        end = &info->ai_next;
    }
    return 0;
}

void
freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

static struct sockaddr_in
address_of(int fd)
{
    struct sockaddr_in in;
    socklen_t size = sizeof in;

    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &in, &size), 0);
    return in;
}

static intptr_t
listens(void *arg)
{
    static const char *const names[] = {"lh", "lnh", "lnnhn"};

    (void) arg;
    for (size_t i = 0; i < COUNT(names); i++) {
        int fd = uco_listen(names[i], 0, 0);

        ck_assert_int_ge(fd, 0);
        ck_assert_uint_eq(ntohl(address_of(fd).sin_addr.s_addr), INADDR_LOOPBACK);
        ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
        ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_eq(uco_close(fd), 0);
    }
    return 0;
}

START_TEST(the_first_address_that_can_be_listened_on_is_taken)
{
    ck_assert_int_eq(run_virtual(listens, NULL), 0);
}
END_TEST

static intptr_t
fails(void *arg)
{
    int fd = uco_listen("lh", 0, 0);
    uint16_t port = ntohs(address_of(fd).sin_port);

    (void) arg;
    ck_assert_int_eq(uco_listen("ln", 0, 0), -EADDRNOTAVAIL);
    ck_assert_int_eq(uco_listen("lnhn", port, 0), -EADDRINUSE);
    ck_assert_int_eq(uco_listen("lhn", port, 0), -EADDRINUSE);
    ck_assert_int_eq(uco_listen("nobody", 0, 0), -ENOENT);
    for (unsigned long nth = 1; nth <= 20; nth++) {
        int r;

        uco_test_fail("malloc", nth, false, ENOMEM);
        r = uco_listen("lnh", 0, 0);
        uco_test_fail_off();
        ck_assert(r >= 0 || r == -ENOMEM);
        if (r >= 0)
            ck_assert_int_eq(uco_close(r), 0);
    }
    uco_test_fail("socket", 1, true, EMFILE);
    ck_assert_int_eq(uco_listen("lhh", 0, 0), -EMFILE);
    uco_test_fail_off();
    return uco_close(fd);
}

START_TEST(when_none_can_the_most_telling_error_is_returned)
{
    ck_assert_int_eq(run_virtual(fails, NULL), 0);
}
END_TEST

/* The listener's own flags need not be looked at when a connection comes. */
static intptr_t
accepts_cheaply(void *arg)
{
    int listening = uco_listen("lh", 0, 0), fd, server;
    struct sockaddr_in to = address_of(listening);

    (void) arg;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &to, sizeof(struct sockaddr_in)), 0);
    uco_test_fail("fcntl", 1, true, EIO);
    server = uco_accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    uco_test_fail_off();
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(close(fd), 0);
    return uco_close(listening);
}

START_TEST(a_listener_of_the_running_loop_is_known_to_it)
{
    ck_assert_int_eq(run_virtual(accepts_cheaply, NULL), 0);
}
END_TEST

START_TEST(a_socket_file_is_replaced_only_if_nobody_listens)
{
    struct stat status;
    char host[64];
    int fd;

    snprintf(host, sizeof host, "unix:/tmp/uco-listen-%d", (int) getpid());
    fd = uco_listen(host, 0, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_listen(host, 0, 0), -EADDRINUSE);
    ck_assert_int_eq(uco_close(fd), 0);
    fd = uco_listen(host, 0, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(unlink(host + 5), 0);
    fd = open(host + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(uco_listen(host, 0, 0), -EADDRINUSE); /* no socket: somebody's file */
    ck_assert_int_eq(stat(host + 5, &status), 0);
    ck_assert_int_eq(unlink(host + 5), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("listen");
    TCase *tc = case_new(suite, "listening");

    tcase_add_test(tc, the_first_address_that_can_be_listened_on_is_taken);
    tcase_add_test(tc, when_none_can_the_most_telling_error_is_returned);
    tcase_add_test(tc, a_listener_of_the_running_loop_is_known_to_it);
    tcase_add_test(tc, a_socket_file_is_replaced_only_if_nobody_listens);
    return suite_end(suite);
}
