/* SPDX-License-Identifier: MIT */

/*
 * 1. Events are level-triggered, and a connection's data is its fd: there is no state but how much
 *    of the end of a request has been seen.
 * 2. Answers are small and clients read them, so a socket that takes only a part of one is an
 *    error.
 */

#include "http_server.h"

#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096, /* and the highest fd */
    EVENTS = 256,
    REQUEST_BYTES = 16 * 1024,
};

struct http_server_shared {
    atomic_uint_fast64_t answers;
};

static struct {
    int listener;
    int epoll;
    struct http_server_shared *shared;
    char answer[HTTP_SERVER_PAGE_MAX + 256];
    size_t answer_size;
    unsigned char matched[CONNECTIONS_MAX]; /* bytes of "\r\n\r\n" that the last read ended with */
} serving;

static char
page_byte(size_t position)
{
    return (char) ('a' + position % 23);
}

bool
http_server_page_check(const struct http_server *server, const char *text, size_t size)
{
    return size == server->page_size && text[0] == page_byte(0) &&
           text[size / 2] == page_byte(size / 2) && text[size - 1] == page_byte(size - 1);
}

uint64_t
http_server_answers(const struct http_server *server)
{
    return atomic_load(&server->shared->answers);
}

/* --- the server's process --- */

static void
watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(serving.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        bench_die("server: epoll_ctl: %s", strerror(errno));
}

static void
connections_accept(void)
{
    int fd;

    while ((fd = accept4(serving.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CONNECTIONS_MAX)
            bench_die("server: too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        serving.matched[fd] = 0;
        watch(fd);
    }
}

/* How many requests end in these bytes. */
static unsigned
requests_count(int fd, const char *bytes, size_t size)
{
    unsigned char matched = serving.matched[fd];
    unsigned count = 0;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == (matched % 2 == 0 ? '\r' : '\n'))
            matched++;
        else
            matched = bytes[i] == '\r';
        if (matched == 4) {
            matched = 0;
            count++;
        }
    }
    serving.matched[fd] = matched;
    return count;
}

static void
connection_serve(int fd)
{
    char request[REQUEST_BYTES];
    ssize_t n = recv(fd, request, sizeof request, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    for (unsigned count = requests_count(fd, request, (size_t) n); count > 0; count--) {
        atomic_fetch_add_explicit(&serving.shared->answers, 1, memory_order_relaxed);
        if (send(fd, serving.answer, serving.answer_size, MSG_NOSIGNAL) !=
            (ssize_t) serving.answer_size) {
            close(fd);
            return;
        }
    }
}

static _Noreturn void
serve(size_t page_size)
{
    struct epoll_event events[EVENTS];
    int size = snprintf(
        serving.answer, sizeof serving.answer,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", page_size);

    for (size_t i = 0; i < page_size; i++)
        serving.answer[(size_t) size + i] = page_byte(i);
    serving.answer_size = (size_t) size + page_size;
    serving.epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(serving.listener);
    for (;;) {
        int count = epoll_wait(serving.epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == serving.listener)
                connections_accept();
            else
                connection_serve(events[i].data.fd);
        }
    }
}

/* --- the benchmark's process --- */

static uint16_t
listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) < 0 ||
        listen(fd, SOMAXCONN) < 0 || getsockname(fd, (struct sockaddr *) &address, &length) < 0)
        bench_die("server: listening: %s", strerror(errno));
    serving.listener = fd;
    return ntohs(address.sin_port);
}

void
http_server_start(struct http_server *server, size_t page_size, unsigned place)
{
    pid_t parent = getpid();

    if (page_size == 0 || page_size > HTTP_SERVER_PAGE_MAX)
        bench_die("server: a page of %zu bytes", page_size);
    server->page_size = page_size;
    server->shared = mmap(NULL, sizeof *server->shared, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (server->shared == MAP_FAILED)
        bench_die("server: shared memory: %s", strerror(errno));
    serving.shared = server->shared;
    server->port = listen_anywhere();
    fflush(NULL);
    server->pid = fork();
    if (server->pid < 0)
        bench_die("server: fork: %s", strerror(errno));
    if (server->pid == 0) {
        /* Whatever happens to the benchmark, its server goes with it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        bench_pin(place);
        serve(page_size);
    }
    close(serving.listener);
}

void
http_server_stop(struct http_server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    munmap(server->shared, sizeof *server->shared);
}
