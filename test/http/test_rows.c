/* SPDX-License-Identifier: MIT */
/*
 * What must be survived, where no other test has it: many at once, an end at each stage, servers
 * that lie, signals, threads, forks.
 *
 * UCO_TEST_REQUESTS in the environment: how many requests the_thousandth_... makes; 100,000 take
 * some 15 s.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "fixture.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <uco/stats.h>
#include <unistd.h>

static atomic_bool released;

static int (*libc_getaddrinfo)(const char *, const char *, const struct addrinfo *,
                               struct addrinfo **);

static __attribute__((constructor)) void
find_libc_getaddrinfo(void)
{
    *(void **) &libc_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
}

/* The library calls this one. Of one name it does not tell the address before the test says so. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    while (node != NULL && strcmp(node, "never.test") == 0) {
        if (atomic_load(&released))
            return EAI_NONAME;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return libc_getaddrinfo(node, service, hints, result);
}

static uco_loop_stats
stats(void)
{
    uco_loop_stats result;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &result), 0);
    return result;
}

/* --- many --- */

#define CROWD 1000

static intptr_t
stall_or_stream(void *arg)
{
    const struct visit *v = arg;
    const uco_http_request_options request = {.url = v->url};
    uco_http_response *response;
    const void *data;
    ssize_t r;

    if (strcmp(v->url, "/endless") != 0)
        return visit(arg);
    r = uco_http_stream(v->f->client, &request, &response);
    while (r >= 0 && (r = uco_http_read_chunk(response, &data)) > 0)
        continue;
    uco_http_response_free(response);
    return r;
}

/* Half of them have no connection yet. */
static void
close_with_a_thousand(struct fixture *f)
{
    static const char *const urls[] = {"/stall", "/stallbody", "/stallhead", "/drip/100000"};
    static uco_task *tasks[CROWD];
    static intptr_t results[CROWD];
    struct visit visits[COUNT(urls)], endless = {f, "/endless"};
    int n = scaled(CROWD);

    for (int i = 0; i < n; i++) {
        visits[i % (int) COUNT(urls)] = (struct visit){f, urls[i % (int) COUNT(urls)]};
        tasks[i] = uco_create_task(stall_or_stream,
                                   i % 100 == 0 ? &endless : &visits[i % (int) COUNT(urls)]);
    }
    while (f->server.busy < (unsigned) n / 4)
        ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_gather_all(tasks, (size_t) n, results), 0);
    uco_unref_all(tasks, (size_t) n);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(results[i], -ECANCELED);
    until_open(f, 0);
    ck_assert_uint_eq(stats().timers, 0);
}

START_TEST(a_client_is_closed_with_a_thousand_requests_in_flight)
{
    uco_http_client_options options = {.timeout = 200, .read_timeout = 200};

    options.max_connections = (size_t) scaled(CROWD) / 2;
    options.max_per_host = options.max_connections;
    serve_with(&options, close_with_a_thousand);
}
END_TEST

#define QUEUE 10000

static void
queue_ten_thousand(struct fixture *f)
{
    static uco_task *tasks[QUEUE];
    static intptr_t results[QUEUE];
    struct visit v = {f, "/bytes/100"};
    size_t n = (size_t) scaled(QUEUE);

    for (size_t i = 0; i < n; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather_all(tasks, n, results), 0);
    uco_unref_all(tasks, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(results[i], 200);
    ck_assert_uint_eq(f->server.requests, n);
    ck_assert_uint_le(f->server.accepted, 64);
}

START_TEST(ten_thousand_requests_need_no_more_than_sixty_four_connections)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 1024;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    serve_with(
        &(uco_http_client_options){.max_connections = 64, .max_per_host = 64, .timeout = 600},
        queue_ten_thousand);
}
END_TEST

static long
resident_pages(void)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    close(fd);
    return strtol(strchr(text, ' '), NULL, 10);
}

static void
get_one_of_many(struct fixture *f, int i)
{
    static const char *const urls[] = {"/bytes/1000", "/chunked/3000", "/status/404",
                                       "/short",      "/redirect/2",   "/gzip"};
    const uco_http_request_options request = {.url = urls[i % (int) COUNT(urls)],
                                              .body = i % 7 == 0 ? "body" : NULL,
                                              .body_size = i % 7 == 0 ? 4 : 0};
    uco_http_response *response = NULL;
    const void *data;
    int r;

    if (i % 5 != 0) {
        r = uco_http_request(f->client, &request, &response);
    } else {
        r = uco_http_stream(f->client, &request, &response);
        while (r >= 0 && i % 10 != 0 && (r = (int) uco_http_read_chunk(response, &data)) > 0)
            continue;
    }
    ck_assert_msg(r >= 0 || r == -EPROTO, "%s: %d", request.url, r);
    uco_http_response_free(response);
}

static void
get_one_by_one(struct fixture *f)
{
    const char *asked = getenv("UCO_TEST_REQUESTS");
    int n = asked != NULL ? atoi(asked) : scaled(6000);
    int fds = 0;
    long pages = 0;

    for (int i = 0; i < n; i++) {
        if (i == n / 3) {
            expect_text(f, "/late/0", "late");
            until_open(f, 1);
            fds = count_fds();
            pages = resident_pages();
        }
        get_one_of_many(f, i);
    }
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
    ck_assert_int_eq(count_fds(), fds);
    if (!under_sanitizer())
        ck_assert_msg(resident_pages() <= pages + 256, "%ld pages, and %ld before",
                      resident_pages(), pages);
    ck_assert_uint_eq(stats().timers, 0);
}

START_TEST(many_requests_one_after_the_other_cost_no_more_memory_or_descriptors)
{
    storm_stop();
    serve_with(&(uco_http_client_options){.timeout = 60}, get_one_by_one);
}
END_TEST

/* A socket's number is used again at once, by another of the client's sockets, the server's, or
 * somebody else's. */
static void
get_without_keeping(struct fixture *f)
{
    static uco_task *tasks[50];
    struct visit v = {f, "/leave"};

    for (int round = 0; round < scaled(40); round++) {
        int ends[2];

        for (size_t i = 0; i < COUNT(tasks); i++)
            tasks[i] = uco_create_task(visit, &v);
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
        uco_unref_all(tasks, COUNT(tasks));
        uco_close(ends[0]);
        uco_close(ends[1]);
    }
    until_open(f, 0);
}

START_TEST(numbers_of_sockets_that_are_used_again_confuse_nobody)
{
    serve(get_without_keeping);
}
END_TEST

/* --- an end at each stage --- */

struct stage {
    const char *name;
    void (*enter)(struct fixture *f, struct stage *stage);
    const char *path;
    uco_http_request_options request;
    char url[128];
    bool reached; /* the hop has told it */
    uco_http_response *response;
};

static ssize_t
read_slowly(void *buf, size_t n, void *arg)
{
    struct stage *stage = arg;
    int r;

    (void) buf;
    (void) n;
    stage->reached = true;
    r = uco_sleep(UCO_FOREVER);
    return r;
}

static ssize_t
read_zeros(void *buf, size_t n, void *arg)
{
    (void) arg;
    memset(buf, 0, n);
    return (ssize_t) n;
}

static intptr_t
stage_run(void *arg)
{
    void **f_and_stage = arg;
    struct fixture *f = f_and_stage[0];
    struct stage *stage = f_and_stage[1];
    intptr_t r;

    stage->request.url = stage->url;
    if (strcmp(stage->name, "paused") != 0 && strcmp(stage->name, "reading") != 0)
        return uco_http_request(f->client, &stage->request, &stage->response);
    r = uco_http_stream(f->client, &stage->request, &stage->response);
    if (r < 0)
        return r;
    if (strcmp(stage->name, "paused") == 0) {
        stage->reached = true;
        r = uco_sleep(UCO_FOREVER);
    } else {
        const void *data;

        while ((r = uco_http_read_chunk(stage->response, &data)) > 0)
            stage->reached = true;
    }
    uco_http_response_free(stage->response);
    stage->response = NULL;
    return r;
}

static void
until_reached(struct fixture *f, struct stage *stage)
{
    (void) f;
    while (!stage->reached)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

static void
until_asked(struct fixture *f, struct stage *stage)
{
    (void) stage;
    while (f->server.busy == 0)
        ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_sleep(0.002), 0);
}

static void
until_settled(struct fixture *f, struct stage *stage)
{
    (void) f;
    (void) stage;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_sleep(0.01), 0);
}

static struct stage stages[] = {
    {.name = "resolving", .enter = until_settled, .path = "http://never.test/"},
    {.name = "connecting", .enter = until_settled, .path = "hole"},
    {.name = "TLS", .enter = until_settled, .path = "silent"},
    {.name = "waiting", .enter = until_asked, .path = "/stall"},
    {.name = "headers", .enter = until_asked, .path = "/stallhead"},
    {.name = "body", .enter = until_asked, .path = "/stallbody"},
    {.name = "paused", .enter = until_reached, .path = "/endless"},
    {.name = "reading", .enter = until_reached, .path = "/stallbody"},
    {.name = "source",
     .enter = until_reached,
     .path = "/upload",
     .request = {.read_body = read_slowly}},
    {.name = "sending",
     .enter = until_asked,
     .path = "/gateupload",
     .request = {.read_body = read_zeros}},
    {.name = "Expect",
     .enter = until_asked,
     .path = "/gateupload",
     .request = {.read_body = read_zeros, .body_size = 10000000, .expect_timeout = 100}},
    {.name = "redirected", .enter = until_asked, .path = "/to//stallbody"},
    {.name = "between attempts",
     .enter = until_settled,
     .path = "/flaky/503",
     .request = {.retries = 100}},
};

/* Listeners that do not accept: one whose queue has room, and one whose queue is full. */
struct silent {
    int listener;
    int queued[4];
    unsigned port;
};

static void
silent_open(struct silent *silent, bool full)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    silent->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(silent->listener, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(silent->listener, full ? 0 : 128), 0);
    ck_assert_int_eq(getsockname(silent->listener, (struct sockaddr *) &address, &length), 0);
    silent->port = ntohs(address.sin_port);
    for (size_t i = 0; i < COUNT(silent->queued); i++) {
        silent->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (full)
            ck_assert(connect(silent->queued[i], (struct sockaddr *) &address, sizeof address) ==
                          0 ||
                      errno == EINPROGRESS);
    }
}

static void
silent_close(const struct silent *silent)
{
    close(silent->listener);
    for (size_t i = 0; i < COUNT(silent->queued); i++)
        close(silent->queued[i]);
}

static void
stage_name_url(struct stage *stage, const struct silent *hole, const struct silent *silent)
{
    if (strcmp(stage->path, "hole") == 0)
        snprintf(stage->url, sizeof stage->url, "http://127.0.0.1:%u/", hole->port);
    else if (strcmp(stage->path, "silent") == 0)
        snprintf(stage->url, sizeof stage->url, "https://127.0.0.1:%u/", silent->port);
    else
        snprintf(stage->url, sizeof stage->url, "%s", stage->path);
}

enum end { BY_CANCEL, BY_TIMEOUT, BY_CLOSE, ENDS };

static void
stage_end(struct fixture *f, struct stage *stage, enum end end)
{
    uco_http_client_options options = f->options;
    void *arguments[] = {f, stage};
    uco_task *task = uco_create_task(stage_run, arguments);
    int wanted = end == BY_TIMEOUT ? -ETIMEDOUT : -ECANCELED;
    intptr_t r;

    if (end != BY_TIMEOUT) {
        stage->enter(f, stage);
        ck_assert_msg(!uco_done(task), "%s: it has ended", stage->name);
    }
    if (end == BY_CLOSE) {
        ck_assert_int_eq(uco_http_client_close(f->client), 0);
        f->client = uco_http_client_new(&options);
    }
    if (end == BY_CANCEL || (end == BY_CLOSE && strcmp(stage->name, "paused") == 0))
        ck_assert_int_eq(uco_cancel(task), 0);
    r = uco_join(task);
    ck_assert_msg(r == wanted, "%s: %d, not %d: %s", stage->name, (int) r, wanted,
                  uco_http_error(f->client));
    ck_assert_ptr_null(stage->response);
}

static void
end_at_each_stage(struct fixture *f, enum end end)
{
    struct silent hole, silent;
    int fds;

    silent_open(&hole, true);
    silent_open(&silent, false);
    expect_text(f, "/late/0", "late");
    f->server.failures = 1000;
    f->server.retry_after = "20";
    fds = count_fds();
    for (size_t i = 0; i < COUNT(stages); i++) {
        struct stage stage = stages[i];

        if (end == BY_TIMEOUT && (stage.enter == until_reached || stage.request.retries > 0))
            continue; /* its reader sleeps on; it would come too late */
        if (end == BY_TIMEOUT)
            stage.request.timeout = 0.3;
        stage.request.read_arg = &stage;
        stage_name_url(&stage, &hole, &silent);
        stage_end(f, &stage, end);
        uco_event_set(&f->server.gate);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
        uco_event_clear(&f->server.gate);
        ck_assert_msg(count_fds() == fds, "%s: %d fds, and %d before", stage.name, count_fds(),
                      fds);
        ck_assert_msg(stats().timers == 0, "%s: %u timers", stage.name, (unsigned) stats().timers);
        ck_assert_uint_eq(stats().resources, 1);
    }
    atomic_store(&released, true);
    silent_close(&hole);
    silent_close(&silent);
}

static void
cancel_at_each_stage(struct fixture *f)
{
    end_at_each_stage(f, BY_CANCEL);
}

START_TEST(a_cancellation_at_any_stage_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.insecure = true}, cancel_at_each_stage);
}
END_TEST

static void
time_out_at_each_stage(struct fixture *f)
{
    end_at_each_stage(f, BY_TIMEOUT);
}

START_TEST(a_timeout_at_any_stage_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.insecure = true}, time_out_at_each_stage);
}
END_TEST

static void
close_at_each_stage(struct fixture *f)
{
    end_at_each_stage(f, BY_CLOSE);
}

START_TEST(a_close_at_any_stage_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.insecure = true}, close_at_each_stage);
}
END_TEST

/* In the queue there is nothing to leave but the place. */
static void
end_in_queue(struct fixture *f)
{
    struct visit stalled = {f, "/gate"}, queued = {f, "/late/0"};
    uco_task *first = uco_create_task(visit, &stalled);
    uco_task *tasks[10];
    intptr_t results[10];
    int fds;

    until_busy(f, 1);
    fds = count_fds();
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(visit, &queued);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(count_fds(), fds);
    for (size_t i = 0; i < COUNT(tasks); i += 2)
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    ck_assert_int_eq(uco_gather_all(tasks, COUNT(tasks), results), 0);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(results[i], i % 2 == 0 ? -ECANCELED : 200);
    uco_unref_all(tasks, COUNT(tasks));
    ck_assert_int_eq(uco_join(first), 200);
    ck_assert_int_eq(count_fds(), fds);
    ck_assert_uint_eq(f->server.requests, 6);
    ck_assert_uint_eq(stats().timers, 0);
}

START_TEST(a_cancellation_in_the_queue_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, end_in_queue);
}
END_TEST

/* --- servers that lie --- */

struct lie {
    const char *text;
    size_t size; /* where it has a NUL */
    int result;  /* 1: any answer or -EPROTO */
};

#define LIE(result, ...)                                                                           \
    {                                                                                              \
        "" __VA_ARGS__, sizeof("" __VA_ARGS__) - 1, result                                         \
    }

static const struct lie lies[] = {
    LIE(-EPROTO, "\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 OK 200\r\n\r\n"),
    LIE(1, "HTTP/1.1 99999 Much\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 -1 Less\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/7.3 200 Later\r\nContent-Length: 0\r\n\r\n"),
    LIE(-EPROTO, "ICY 200 OK\r\n\r\nmusic"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nX-\0Nul: ab\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\r\n: no name\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\r\n folded at first\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    LIE(1, "HTTP/1.1 200 OK\r\rContent-Length: 0\r\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Length: hello\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
           "3\r\nabc\r\n0\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"),
    LIE(-EPROTO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: cruel\r\n\r\nabc"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Encoding: cruel\r\nContent-Length: 3\r\n\r\nabc"),
    LIE(1, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0"),
    LIE(-EPROTO, "HTTP/1.1 100 Continue\r\n\r\n"),
    LIE(1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: cruel\r\n\r\nwhatever"),
    LIE(1, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello"),
    LIE(1, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Digest a\r\nContent-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\r\nSet-Cookie: \x01=\x02\r\nSet-Cookie: =\r\nSet-Cookie:\r\n"
           "Content-Length: 0\r\n\r\n"),
    LIE(1, "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=9\r\n"
           "Content-Length: 0\r\n\r\n"),
};

/* What a response gives is all there, and reading it is harmless. */
static void
look_at_all(const uco_http_response *response)
{
    const char *name, *value;
    size_t position = 0;

    while (uco_http_header_at(response, &position, &name, &value))
        ck_assert_uint_le(strlen(name) + strlen(value), 1 << 20);
    ck_assert_ptr_nonnull(response->url);
}

static void
hear_lies(struct fixture *f)
{
    for (size_t i = 0; i < 2 * COUNT(lies); i++) {
        const struct lie *lie = &lies[i / 2];
        const uco_http_request_options request = {
            .url = "/raw", .user = "user", .password = "secret", .auth = UCO_HTTP_DIGEST};
        uco_http_response *response;
        char bytes[3];
        int r;

        f->server.raw = lie->text;
        f->server.raw_size = lie->size;
        if (i % 2 == 0) {
            r = uco_http_request(f->client, &request, &response);
        } else {
            r = uco_http_stream(f->client, &request, &response);
            while (r >= 0 && (r = (int) uco_http_read(response, bytes, sizeof bytes)) > 0)
                continue;
        }
        ck_assert_msg(r == lie->result || (lie->result == 1 && (r == 0 || r == -EPROTO)),
                      "lie %zu: '%s': %d (%s)", i / 2, lie->text, r, uco_http_error(f->client));
        if (response != NULL)
            look_at_all(response);
        uco_http_response_free(response);
        expect_text(f, "/late/0", "late");
    }
    until_open(f, 1);
}

START_TEST(a_server_that_lies_is_an_error_or_harmless)
{
    serve_with(&(uco_http_client_options){.timeout = 5}, hear_lies);
}
END_TEST

/* Heads of a size: many lines, or a long one. */
static char *
head_make(size_t lines, size_t length)
{
    size_t size = lines * (length + 16) + 128;
    char *head = malloc(size);
    size_t used;

    ck_assert_ptr_nonnull(head);
    used = (size_t) snprintf(head, size, "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < lines; i++) {
        used += (size_t) snprintf(head + used, size - used, "X-%zu: ", i);
        memset(head + used, 'x', length);
        used += length;
        used += (size_t) snprintf(head + used, size - used, "\r\n");
    }
    snprintf(head + used, size - used, "Content-Length: 4\r\n\r\nlots");
    return head;
}

static void
hear_much(struct fixture *f)
{
    static const size_t sizes[][2] = {
        {100, 100}, {1, 90000}, {100000, 10}, {1, 10000000}, {1000, 10000}};

    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *head = head_make(sizes[i][0], sizes[i][1]);
        uco_http_response *response;
        int r;

        f->server.raw = head;
        r = uco_http_get(f->client, "/raw", &response);
        if (i < 2) {
            ck_assert_int_eq(r, 0);
            ck_assert_str_eq(response->text, "lots");
            ck_assert_uint_eq(strlen(uco_http_header(response, "x-0")), sizes[i][1]);
        } else {
            /* curl has no room for so long a line, and calls that a lack of memory */
            ck_assert_msg(r == -EPROTO || (r == -ENOMEM && i == 3), "head %zu: %d", i, r);
        }
        uco_http_response_free(response);
        expect_text(f, "/late/0", "late");
        free(head);
    }
}

START_TEST(a_head_has_a_limit)
{
    serve(hear_much);
}
END_TEST

/* --- signals, threads, forks --- */

static void
send_into_the_void(struct fixture *f)
{
    static char bytes[4 << 20];
    const uco_http_request_options request = {
        .url = "/hangup", .body = bytes, .body_size = sizeof bytes, .expect_timeout = -1};

    for (int i = 0; i < 10; i++) {
        uco_http_response *response;

        uco_http_request(f->client, &request, &response);
        uco_http_response_free(response);
    }
    expect_error(f, "/stall", -ETIMEDOUT);
}

START_TEST(no_signal_is_raised_and_none_is_taken)
{
    struct sigaction before[2], after[2];

    storm_stop();
    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(sigaction(SIGALRM, NULL, &before[0]), 0);
    ck_assert_int_eq(sigaction(SIGPIPE, NULL, &before[1]), 0);
    serve_with(&(uco_http_client_options){.timeout = 1, .connect_timeout = 0.5},
               send_into_the_void);
    ck_assert_int_eq(sigaction(SIGALRM, NULL, &after[0]), 0);
    ck_assert_int_eq(sigaction(SIGPIPE, NULL, &after[1]), 0);
    for (int i = 0; i < 2; i++)
        ck_assert(before[i].sa_handler == after[i].sa_handler);
}
END_TEST

static void
get_some(struct fixture *f)
{
    for (int i = 0; i < scaled(60); i++)
        expect_bytes(f, "/bytes/10000", 10000);
}

static void *
serve_in_thread(void *arg)
{
    (void) arg;
    serve(get_some);
    return NULL;
}

/* curl is set up by the first of them, whichever that is. */
START_TEST(clients_begin_in_several_threads_at_once)
{
    pthread_t threads[4];

    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, serve_in_thread, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static void
use_in_child(struct fixture *f)
{
    uco_http_response *stream = open_stream(f, "/gatebody");
    int status;
    pid_t child;

    expect_text(f, "/late/0", "late");
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        uco_http_response *response;
        const void *data;
        int r = uco_http_get(f->client, "/late/0", &response);

        if (r != -ESTALE && r != -EPERM)
            _exit(1);
        r = (int) uco_http_read_chunk(stream, &data);
        if (r != -ESTALE && r != -EPERM)
            _exit(2);
        r = uco_http_client_close(f->client);
        _exit(r == -ESTALE || r == -EPERM ? 0 : 3);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child: %#x", status);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    while (uco_http_read(stream, &(char){0}, 1) > 0)
        continue;
    ck_assert_uint_eq(stream->size, 20);
    uco_http_response_free(stream);
    expect_text(f, "/late/0", "late");
    ck_assert_uint_eq(f->server.accepted, 2);
}

START_TEST(a_child_of_fork_does_not_touch_its_parents_client)
{
    serve(use_in_child);
}
END_TEST

static void
wait_idly(struct fixture *f)
{
    uco_loop_stats before, after;

    expect_text(f, "/late/0", "late");
    expect_error(f, "/short", -EPROTO);
    expect_error(f, "/reset", -ECONNRESET);
    expect_text(f, "/late/0", "late");
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(stats().timers, 0);
    before = stats();
    ck_assert_int_eq(uco_sleep(0.2), 0);
    after = stats();
    ck_assert_uint_le(after.turns - before.turns, 5);
}

START_TEST(an_idle_client_has_no_timer_and_wakes_nobody)
{
    storm_stop();
    serve(wait_idly);
}
END_TEST

static void
add_many(Suite *suite)
{
    TCase *many = case_new(suite, "many");
    TCase *ends = case_new(suite, "ends");

    tcase_add_test(many, a_client_is_closed_with_a_thousand_requests_in_flight);
    tcase_add_test(many, ten_thousand_requests_need_no_more_than_sixty_four_connections);
    tcase_add_test(many, many_requests_one_after_the_other_cost_no_more_memory_or_descriptors);
    tcase_add_test(many, numbers_of_sockets_that_are_used_again_confuse_nobody);
    tcase_set_timeout(many, 240);
    tcase_add_test(ends, a_cancellation_at_any_stage_leaves_nothing);
    tcase_add_test(ends, a_timeout_at_any_stage_leaves_nothing);
    tcase_add_test(ends, a_close_at_any_stage_leaves_nothing);
    tcase_add_test(ends, a_cancellation_in_the_queue_leaves_nothing);
}

static void
add_rest(Suite *suite)
{
    TCase *told = case_new(suite, "lies");
    TCase *system = case_new(suite, "system");

    tcase_add_test(told, a_server_that_lies_is_an_error_or_harmless);
    tcase_add_test(told, a_head_has_a_limit);
    tcase_add_test(system, no_signal_is_raised_and_none_is_taken);
    tcase_add_test(system, clients_begin_in_several_threads_at_once);
    tcase_add_test(system, a_child_of_fork_does_not_touch_its_parents_client);
    tcase_add_test(system, an_idle_client_has_no_timer_and_wakes_nobody);
}

int
main(void)
{
    Suite *suite = suite_create("http rows");

    add_many(suite);
    add_rest(suite);
    return suite_end(suite);
}
