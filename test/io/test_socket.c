/* SPDX-License-Identifier: MIT */
/* Listening, accepting and connecting. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Any kind of address, with its length. */
struct address {
    struct sockaddr_storage storage;
    socklen_t size;
};

static struct sockaddr *
as_sockaddr(struct address *address)
{
    return (struct sockaddr *) &address->storage;
}

static struct address
address_of(int fd)
{
    struct address address = {.size = sizeof address.storage};

    ck_assert_int_eq(getsockname(fd, as_sockaddr(&address), &address.size), 0);
    return address;
}

static struct address
loopback(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct address address = {.size = sizeof in};

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&address.storage, &in, sizeof in);
    return address;
}

static uint16_t
port_of(int fd)
{
    struct address address = address_of(fd);

    /* The port stands at the same place for both families. */
    return ntohs(((struct sockaddr_in *) &address.storage)->sin_port);
}

static int
tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static int
listener(void)
{
    int fd = uco_listen("127.0.0.1", 0, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static uco_task *
parked(uco_fn *fn, void *arg)
{
    uco_task *task = uco_create_task(fn, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    return task;
}

static intptr_t
accepts(void *arg)
{
    return uco_accept4(*(int *) arg, NULL, NULL, SOCK_CLOEXEC);
}

/* Listening */

struct peer {
    int fd;
    struct address address;
};

static intptr_t
connects(void *arg)
{
    struct peer *peer = arg;

    return uco_connect(peer->fd, as_sockaddr(&peer->address), peer->address.size);
}

/* A connection to the listening socket at arg works in both directions. */
static intptr_t
talks(void *arg)
{
    int listening = *(int *) arg, server;
    struct peer peer = {.address = address_of(listening)};
    uco_task *connecting;
    char text[6] = "";

    peer.fd = socket(peer.address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connecting = uco_create_task(connects, &peer);
    server = uco_accept4(listening, NULL, NULL, 0);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(uco_join(connecting), 0);
    ck_assert_int_eq(uco_write(peer.fd, "hello", 5), 5);
    ck_assert_int_eq(uco_read_exactly(server, text, 5), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(uco_write_all(server, "world", 5, NULL), 5);
    ck_assert_int_eq(uco_read_exactly(peer.fd, text, 5), 5);
    ck_assert_str_eq(text, "world");
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_read(server, text, 1), 0);
    ck_assert_int_eq(uco_close(server), 0);
    return 0;
}

static bool
has_ipv6(void)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *) &in6, sizeof in6) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void
listens_and_talks(const char *host)
{
    int fd = uco_listen(host, 0, 0);

    ck_assert_msg(fd >= 0, "%s: %s", host, uco_strerror(fd));
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(run_real(talks, &fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
}

START_TEST(listening_on_numeric_addresses_works_outside_a_loop)
{
    listens_and_talks("127.0.0.1");
    listens_and_talks("0.0.0.0");
    if (has_ipv6()) {
        listens_and_talks("::1");
        listens_and_talks("::");
    }
}
END_TEST

static intptr_t
connects_by_ipv4(void *arg)
{
    struct peer peer = {.fd = tcp_socket(), .address = loopback(port_of(*(int *) arg))};
    int server;

    ck_assert_int_eq(connects(&peer), 0);
    server = uco_accept4(*(int *) arg, NULL, NULL, 0);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    return 0;
}

START_TEST(listening_on_all_addresses_hears_both_families)
{
    int fd = uco_listen(NULL, 0, 5);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(run_real(connects_by_ipv4, &fd), 0);
    ck_assert_int_eq(run_real(talks, &fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

static intptr_t
listens_by_name(void *arg)
{
    int fd = uco_listen(arg, 0, 0);

    if (fd < 0)
        return fd;
    ck_assert_int_eq(talks(&fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
    return 0;
}

START_TEST(listening_on_a_name_needs_a_coroutine)
{
    ck_assert_int_eq(uco_listen("localhost", 0, 0), -EPERM);
    ck_assert_int_eq(run_real(listens_by_name, (void *) "localhost"), 0);
}
END_TEST

START_TEST(listening_on_an_unknown_name_fails)
{
    /* Not a name at all, so that no name server is asked. */
    ck_assert_int_eq(run_real(listens_by_name, (void *) "bad..name"), -ENOENT);
}
END_TEST

START_TEST(a_port_that_is_taken_is_refused)
{
    int fd = listener();
    uint16_t port = port_of(fd);

    ck_assert_uint_ne(port, 0);
    ck_assert_int_eq(uco_listen("127.0.0.1", port, 0), -EADDRINUSE);
    ck_assert_int_eq(uco_close(fd), 0);
    fd = uco_listen("127.0.0.1", port, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(port_of(fd), port);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

static intptr_t
serves_and_closes_first(void *arg)
{
    int listening = *(int *) arg, server;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(listening)};

    ck_assert_int_eq(connects(&peer), 0);
    server = uco_accept4(listening, NULL, NULL, 0);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    return uco_close(listening);
}

/*
 * The end of a connection that the server closed lingers in TIME_WAIT; a server that restarts must
 * get its port all the same.
 */
START_TEST(a_port_is_free_again_after_its_server_ended)
{
    int fd = listener();
    uint16_t port = port_of(fd);

    ck_assert_int_eq(run_real(serves_and_closes_first, &fd), 0);
    fd = uco_listen("127.0.0.1", port, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

START_TEST(an_address_of_somebody_else_is_refused)
{
    ck_assert_int_eq(uco_listen("192.0.2.1", 0, 0), -EADDRNOTAVAIL);
}
END_TEST

/* Unix sockets */

static char directory[] = "/tmp/uco-test-XXXXXX";
static char socket_path[64];
static char socket_host[80];

static void
directory_make(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(socket_path, sizeof socket_path, "%s/socket", directory);
    snprintf(socket_host, sizeof socket_host, "unix:%s", socket_path);
}

static void
directory_remove(void)
{
    unlink(socket_path);
    rmdir(directory);
}

START_TEST(listening_on_a_path_works)
{
    struct stat status;

    listens_and_talks(socket_host);
    ck_assert_int_eq(lstat(socket_path, &status), 0);
    listens_and_talks(socket_host); /* over the file that the first one left */
}
END_TEST

START_TEST(a_path_that_somebody_listens_on_is_refused)
{
    int fd = uco_listen(socket_host, 0, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_listen(socket_host, 0, 0), -EADDRINUSE);
    ck_assert_int_eq(run_real(talks, &fd), 0); /* the first one is not disturbed */
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_left_alone)
{
    int fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct stat status;

    ck_assert_int_eq(write(fd, "precious", 8), 8);
    close(fd);
    ck_assert_int_eq(uco_listen(socket_host, 0, 0), -EADDRINUSE);
    ck_assert_int_eq(lstat(socket_path, &status), 0);
    ck_assert_int_eq(status.st_size, 8);
}
END_TEST

START_TEST(listening_on_an_abstract_name_works)
{
    char host[64];
    int fd;

    snprintf(host, sizeof host, "unix:@uco-test-%d", (int) getpid());
    listens_and_talks(host);
    fd = uco_listen(host, 0, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_listen(host, 0, 0), -EADDRINUSE);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

START_TEST(a_bad_path_is_refused)
{
    char host[300] = "unix:/tmp/";

    memset(host + strlen(host), 'x', 200);
    ck_assert_int_eq(uco_listen(host, 0, 0), -ENAMETOOLONG);
    ck_assert_int_eq(uco_listen("unix:", 0, 0), -EINVAL);
    ck_assert_int_eq(uco_listen("unix:/no/such/directory/socket", 0, 0), -ENOENT);
}
END_TEST

/* Accepting */

static intptr_t
accepts_with_address(void *arg)
{
    int listening = *(int *) arg, server;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(listening)};
    struct address client = {.size = sizeof client.storage}, own;

    ck_assert_int_eq(connects(&peer), 0);
    server =
        uco_accept4(listening, as_sockaddr(&client), &client.size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(server, 0);
    own = address_of(peer.fd);
    ck_assert_uint_eq(client.size, sizeof(struct sockaddr_in));
    ck_assert_mem_eq(&client.storage, &own.storage, sizeof(struct sockaddr_in));
    ck_assert_int_ne(fcntl(server, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    return 0;
}

START_TEST(accept_tells_who_came_and_heeds_its_flags)
{
    int fd = listener();

    ck_assert_int_eq(run_real(accepts_with_address, &fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

/* A blocking listener on the number of a connection that close(2) ended. */
static intptr_t
accepts_on_a_reused_number(void *arg)
{
    int listening = listener(), connected = tcp_socket(), number = connected;
    struct address to = address_of(listening);

    (void) arg;
    ck_assert_int_eq(uco_connect(connected, as_sockaddr(&to), to.size), 0);
    ck_assert_int_eq(close(connected), 0);
    connected = tcp_socket();
    ck_assert_int_eq(connected, number);
    ck_assert_int_eq(listen(connected, 1), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, accepts, &connected), -ETIMEDOUT);
    ck_assert_int_eq(uco_close(connected), 0);
    return uco_close(listening);
}

START_TEST(accepting_on_the_number_of_a_connection_closed_raw_blocks_nobody)
{
    ck_assert_int_eq(run_virtual(accepts_on_a_reused_number, NULL), 0);
}
END_TEST

/* As inetd hands a listener over. */
static intptr_t
accepts_on_standard_input(void *arg)
{
    struct address to = address_of(STDIN_FILENO);
    int flags = fcntl(STDIN_FILENO, F_GETFL), client = tcp_socket(), server, zero = STDIN_FILENO;
    uco_task *waiting = parked(accepts, &zero);

    (void) arg;
    ck_assert_int_eq(uco_connect(client, as_sockaddr(&to), to.size), 0);
    server = (int) uco_join(waiting);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFL), flags);
    ck_assert_int_eq(dup2(client, STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(accepts(&zero), -EINVAL);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(client), 0);
    server = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(dup2(server, STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(close(server), 0);
    return accepts(&zero);
}

START_TEST(a_listener_among_the_standard_streams_stays_blocking)
{
    int fd = tcp_socket();

    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(run_virtual(accepts_on_standard_input, NULL), -ENOTSOCK);
}
END_TEST

static intptr_t
waits_to_accept(void *arg)
{
    uco_task *waiting = parked(accepts, arg);

    ck_assert_int_eq(accepts(arg), -EBUSY);
    ck_assert_int_eq(uco_cancel(waiting), 0);
    ck_assert_int_eq(uco_join(waiting), -ECANCELED);
    ck_assert_int_eq(uco_with_timeout(2.0, accepts, arg), -ETIMEDOUT);
    ck_assert_double_eq(uco_time(), 2.0);
    waiting = parked(accepts, arg);
    ck_assert_int_eq(uco_close(*(int *) arg), 0);
    ck_assert_int_eq(uco_join(waiting), -EBADF);
    ck_assert_int_eq(accepts(arg), -EBADF);
    return 0;
}

/* L23 */
START_TEST(accept_can_be_cancelled_timed_out_and_closed_under)
{
    int fd = listener();

    ck_assert_int_eq(run_virtual(waits_to_accept, &fd), 0);
}
END_TEST

static intptr_t
accepts_badly(void *arg)
{
    int fd = tcp_socket(), ends[2];

    (void) arg;
    ck_assert_int_eq(uco_accept4(fd, NULL, NULL, 0), -EINVAL); /* does not listen */
    ck_assert_int_eq(uco_accept4(fd, NULL, NULL, 0x40000000), -EINVAL);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(uco_accept4(ends[0], NULL, NULL, 0), -ENOTSOCK);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(accept_passes_on_the_systems_errors)
{
    ck_assert_int_eq(uco_accept4(0, NULL, NULL, 0), -EPERM);
    ck_assert_int_eq(run_real(accepts_badly, NULL), 0);
}
END_TEST

static intptr_t
accepts_with_a_fault(void *arg)
{
    int listening = listener(), server;
    const int *fault = arg;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(listening)};

    ck_assert_int_eq(connects(&peer), 0);
    uco_test_fail("accept4", 1, false, fault[0]);
    server = accepts(&listening);
    if (fault[1] < 0) {
        ck_assert_int_eq(server, fault[1]);
        server = accepts(&listening); /* the connection still waits */
    }
    ck_assert_int_ge(server, 0);
    uco_test_fail_off();
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_close(listening), 0);
    return 0;
}

/*
 * L15, B1, B2: what is the caller's to know is told, what is not is passed over, and no connection
 * is lost.
 */
START_TEST(a_fault_of_accept_loses_no_connection)
{
    static const int faults[][2] = {{EMFILE, -EMFILE}, {ENFILE, -ENFILE}, {ECONNABORTED, 0},
                                    {EINTR, 0},        {EAGAIN, 0},       {ENOMEM, -ENOMEM}};

    ck_assert_int_eq(run_real(accepts_with_a_fault, (void *) faults[_i]), 0);
}
END_TEST

/* Connecting */

static intptr_t
connects_to_nobody(void *arg)
{
    int taken = tcp_socket();
    struct address address = loopback(0);
    struct peer peer = {.fd = tcp_socket()};

    (void) arg;
    /* Bound, so that nobody else takes the port; but it does not listen. */
    ck_assert_int_eq(bind(taken, as_sockaddr(&address), address.size), 0);
    peer.address = address_of(taken);
    ck_assert_int_eq(connects(&peer), -ECONNREFUSED);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_close(taken), 0);
    return 0;
}

START_TEST(a_refused_connection_is_told)
{
    ck_assert_int_eq(run_real(connects_to_nobody, NULL), 0);
}
END_TEST

enum { QUEUE = 16 };

/* Gives a socket whose connect hangs: it is one too many for a listener that never accepts. */
static struct peer
hanging_peer(int listening, int fds[QUEUE], int *n)
{
    struct peer peer = {.address = address_of(listening)};

    for (*n = 0; *n < QUEUE; ++*n) {
        fds[*n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        peer.fd = fds[*n];
        if (uco_with_timeout(0.05, connects, &peer) != 0)
            break;
    }
    ck_assert_int_lt(*n, QUEUE);
    uco_close(peer.fd);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return peer;
}

static intptr_t
connects_for_ever(void *arg)
{
    int listening = uco_listen("127.0.0.1", 0, 1), fds[QUEUE], n;
    struct peer peer = hanging_peer(listening, fds, &n);
    uco_task *connecting;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(0.05, connects, &peer), -ETIMEDOUT);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    peer.fd = tcp_socket();
    connecting = parked(connects, &peer);
    ck_assert_int_eq(uco_write(peer.fd, "x", 1), -EBUSY);
    ck_assert_int_eq(uco_cancel(connecting), 0);
    ck_assert_int_eq(uco_join(connecting), -ECANCELED);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    peer.fd = tcp_socket();
    connecting = parked(connects, &peer);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_join(connecting), -EBADF);
    while (n > 0)
        ck_assert_int_eq(uco_close(fds[--n]), 0);
    ck_assert_int_eq(uco_close(listening), 0);
    return 0;
}

START_TEST(a_connection_in_progress_can_be_cancelled_timed_out_and_closed)
{
    ck_assert_int_eq(run_real(connects_for_ever, NULL), 0);
}
END_TEST

static intptr_t
connects_badly(void *arg)
{
    struct peer peer = {.fd = tcp_socket(), .address = loopback(9)};
    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/no/such/socket"};
    int ends[2], fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void) arg;
    ck_assert_int_eq(uco_connect(fd, (struct sockaddr *) &nowhere, sizeof nowhere), -ENOENT);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(uco_connect(peer.fd, as_sockaddr(&peer.address), 1), -EINVAL);
    uco_test_fail("connect", 1, false, ENETUNREACH);
    ck_assert_int_eq(connects(&peer), -ENETUNREACH);
    uco_test_fail_off();
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(connects(&peer), -EBADF);
    ck_assert_int_eq(pipe(ends), 0);
    peer.fd = ends[0];
    ck_assert_int_eq(connects(&peer), -ENOTSOCK);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(connect_passes_on_the_systems_errors)
{
    struct peer peer = {.fd = tcp_socket(), .address = loopback(9)};

    ck_assert_int_eq(connects(&peer), -EPERM);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(run_real(connects_badly, NULL), 0);
}
END_TEST

static intptr_t
connects_when_cancelled(void *arg)
{
    struct peer peer = {.fd = tcp_socket(), .address = address_of(*(int *) arg)};

    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(connects(&peer), -ECANCELED);
    ck_assert_int_eq(accepts(arg), -ECANCELED);
    ck_assert_int_eq(uco_listen("localhost", 0, 0), -ECANCELED);
    return uco_close(peer.fd);
}

START_TEST(in_a_cancelled_scope_nothing_is_connected)
{
    int fd = listener();

    ck_assert_int_eq(run_real(connects_when_cancelled, &fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
}
END_TEST

START_TEST(a_fault_while_listening_leaves_nothing_open)
{
    static const struct {
        const char *what;
        int error;
    } faults[] = {{"socket", EMFILE}, {"bind", EACCES}, {"listen", EOPNOTSUPP}};
    size_t i;

    for (i = 0; i < COUNT(faults); i++) {
        uco_test_fail(faults[i].what, 1, true, faults[i].error);
        ck_assert_int_eq(uco_listen("127.0.0.1", 0, 0), -faults[i].error);
        uco_test_fail_off();
    }
}
END_TEST

static intptr_t
hangs_up_hard(void *arg)
{
    int listening = listener(), server;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(listening)};
    struct linger linger = {.l_onoff = 1};
    char c;

    (void) arg;
    ck_assert_int_eq(connects(&peer), 0);
    server = accepts(&listening);
    ck_assert_int_eq(setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_read(server, &c, 1), -ECONNRESET);
    ck_assert_int_eq(uco_write(server, "x", 1), -EPIPE);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(listening), 0);
    return 0;
}

/* B13, B14 */
START_TEST(a_reset_connection_is_an_error_and_no_signal)
{
    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(run_real(hangs_up_hard, NULL), 0);
}
END_TEST

static intptr_t
closes_half(void *arg)
{
    int listening = listener(), server;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(listening)};
    char c = 0;

    (void) arg;
    ck_assert_int_eq(connects(&peer), 0);
    server = accepts(&listening);
    ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
    ck_assert_int_eq(uco_read(server, &c, 1), 0);
    ck_assert_int_eq(uco_write(server, "x", 1), 1);
    ck_assert_int_eq(uco_read(peer.fd, &c, 1), 1);
    ck_assert_int_eq(c, 'x');
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(peer.fd), 0);
    ck_assert_int_eq(uco_close(listening), 0);
    return 0;
}

/* B15 */
START_TEST(half_of_a_connection_can_be_closed)
{
    ck_assert_int_eq(run_real(closes_half, NULL), 0);
}
END_TEST

/* Many */

enum { ROUNDS = 10 };

static intptr_t
serves_pings(void *arg)
{
    int fd = (int) (intptr_t) arg;
    char buf[16];
    ssize_t n;

    while ((n = uco_read(fd, buf, sizeof buf)) > 0) {
        if (uco_write_all(fd, buf, (size_t) n, NULL) != n)
            break;
    }
    uco_close(fd);
    return n;
}

struct service {
    int listening;
    int connections;
};

static intptr_t
accepts_pings(void *arg)
{
    const struct service *service = arg;
    uco_task **handlers = calloc((size_t) service->connections, sizeof *handlers);
    int i, r;

    for (i = 0; i < service->connections; i++) {
        int fd = uco_accept4(service->listening, NULL, NULL, SOCK_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        handlers[i] = uco_create_task(serves_pings, (void *) (intptr_t) fd);
    }
    r = uco_gather(handlers, (size_t) service->connections, NULL);
    uco_unref_all(handlers, (size_t) service->connections);
    free(handlers);
    return r;
}

static intptr_t
sends_pings(void *arg)
{
    const struct service *service = arg;
    struct peer peer = {.fd = tcp_socket(), .address = address_of(service->listening)};
    char sent[16] = "", received[16];
    int i;

    ck_assert_int_eq(connects(&peer), 0);
    for (i = 0; i < ROUNDS; i++) {
        snprintf(sent, sizeof sent, "%d", peer.fd * ROUNDS + i);
        ck_assert_int_eq(uco_write_all(peer.fd, sent, sizeof sent, NULL), sizeof sent);
        ck_assert_int_eq(uco_read_exactly(peer.fd, received, sizeof received), sizeof received);
        ck_assert_mem_eq(received, sent, sizeof sent);
    }
    return uco_close(peer.fd);
}

static intptr_t
plays_ping_pong(void *arg)
{
    struct service *service = arg;
    uco_task *server = uco_create_task(accepts_pings, service);
    uco_task **clients = calloc((size_t) service->connections, sizeof *clients);
    int i;

    for (i = 0; i < service->connections; i++)
        clients[i] = uco_create_task(sends_pings, service);
    ck_assert_int_eq(uco_gather(clients, (size_t) service->connections, NULL), 0);
    ck_assert_int_eq(uco_join(server), 0);
    uco_unref_all(clients, (size_t) service->connections);
    free(clients);
    return 0;
}

START_TEST(a_thousand_connections_talk_in_one_loop)
{
    struct service service = {.listening = listener(), .connections = scaled(1000)};
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 2200 && service.connections > 400)
        service.connections = 400;
    ck_assert_int_eq(run_real(plays_ping_pong, &service), 0);
    ck_assert_int_eq(uco_close(service.listening), 0);
}
END_TEST

static void
add_listening(Suite *suite)
{
    TCase *tc = case_new(suite, "listening");

    tcase_add_test(tc, listening_on_numeric_addresses_works_outside_a_loop);
    tcase_add_test(tc, listening_on_all_addresses_hears_both_families);
    tcase_add_test(tc, listening_on_a_name_needs_a_coroutine);
    tcase_add_test(tc, listening_on_an_unknown_name_fails);
    tcase_add_test(tc, a_port_that_is_taken_is_refused);
    tcase_add_test(tc, a_port_is_free_again_after_its_server_ended);
    tcase_add_test(tc, an_address_of_somebody_else_is_refused);
    tcase_add_test(tc, a_fault_while_listening_leaves_nothing_open);
}

static void
add_unix(Suite *suite)
{
    TCase *tc = case_new(suite, "unix sockets");

    tcase_add_checked_fixture(tc, directory_make, directory_remove);
    tcase_add_test(tc, listening_on_a_path_works);
    tcase_add_test(tc, a_path_that_somebody_listens_on_is_refused);
    tcase_add_test(tc, a_file_that_is_no_socket_is_left_alone);
    tcase_add_test(tc, listening_on_an_abstract_name_works);
    tcase_add_test(tc, a_bad_path_is_refused);
}

static void
add_connections(Suite *suite)
{
    TCase *tc = case_new(suite, "accepting and connecting");

    tcase_add_test(tc, accept_tells_who_came_and_heeds_its_flags);
    tcase_add_test(tc, accept_can_be_cancelled_timed_out_and_closed_under);
    tcase_add_test(tc, accept_passes_on_the_systems_errors);
    tcase_add_test(tc, accepting_on_the_number_of_a_connection_closed_raw_blocks_nobody);
    tcase_add_test(tc, a_listener_among_the_standard_streams_stays_blocking);
    tcase_add_loop_test(tc, a_fault_of_accept_loses_no_connection, 0, 6);
    tcase_add_test(tc, a_refused_connection_is_told);
    tcase_add_test(tc, a_connection_in_progress_can_be_cancelled_timed_out_and_closed);
    tcase_add_test(tc, connect_passes_on_the_systems_errors);
    tcase_add_test(tc, in_a_cancelled_scope_nothing_is_connected);
    tcase_add_test(tc, a_reset_connection_is_an_error_and_no_signal);
    tcase_add_test(tc, half_of_a_connection_can_be_closed);
    tcase_add_test(tc, a_thousand_connections_talk_in_one_loop);
}

int
main(void)
{
    Suite *suite = suite_create("socket");

    add_listening(suite);
    add_unix(suite);
    add_connections(suite);
    return suite_end(suite);
}
