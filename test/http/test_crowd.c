/* SPDX-License-Identifier: MIT */
/*
 * Tasks that use one client in all ways at once, and are cancelled, or give up, at random moments;
 * now and then the client is closed under them. What each gets is right or an error that fits, and
 * in the end nothing is left.
 *
 * UCO_TEST_CROWDS in the environment: how many crowds. Each has a number, which is told on a
 * failure.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/stats.h>

#define CROWD 60

struct crowd {
    struct fixture *f;
    unsigned number;
    uint64_t state;
    unsigned done;
};

struct member {
    struct crowd *crowd;
    uint64_t state;
};

static unsigned
draw(uint64_t *state, unsigned most)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (*state >> 33) % most;
}

static ssize_t
read_letters(void *buf, size_t n, void *arg)
{
    size_t *left = arg;

    n = n < *left ? n : *left;
    n = n < 3000 ? n : 3000;
    memset(buf, 'x', n);
    *left -= n;
    if (*left % 7 == 0) {
        int r = uco_sleep(0.0005);

        if (r < 0)
            return r;
    }
    return (ssize_t) n;
}

static bool
error_fits(intptr_t r)
{
    return r == -ECANCELED || r == -ETIMEDOUT || r == -EPROTO || r == -ECONNRESET || r == -EPIPE ||
           r == -EMSGSIZE || r == -ELOOP || r == -ENOENT;
}

static const char *const urls[] = {
    "/bytes/0",    "/bytes/1000", "/bytes/200000", "/chunked/100000", "/late/3",
    "/short",      "/reset",      "/nothing",      "/leave",          "/redirect/3",
    "/status/404", "/gzip",       "/digest",       "/stall",          "/stallbody",
    "/endless",    "/drip/30",    "/flaky/503",    "/badchunk",       "/to//chunked/5000",
};

static void
member_choose(struct member *m, uco_http_request_options *request, size_t *left)
{
    request->url = urls[draw(&m->state, COUNT(urls))];
    request->timeout = draw(&m->state, 3) == 0 ? 0.02 : 0.2;
    request->retries = (int) draw(&m->state, 3);
    request->max_body = 1000000;
    request->user = "user";
    request->password = "secret";
    request->auth = UCO_HTTP_DIGEST;
    switch (draw(&m->state, 4)) {
    case 0:
        *left = draw(&m->state, 100000);
        request->read_body = read_letters;
        request->read_arg = left;
        break;
    case 1:
        request->body = "a small body";
        request->body_size = 12;
        break;
    default:
        break;
    }
}

static intptr_t
member_stream(struct member *m, const uco_http_request_options *request)
{
    uco_http_response *response;
    unsigned enough = draw(&m->state, 4) == 0 ? draw(&m->state, 50000) : UINT32_MAX;
    bool letters = strncmp(request->url, "/bytes/", 7) == 0 || strstr(request->url, "chunked/");
    size_t size = 0;
    ssize_t r = uco_http_stream(m->crowd->f->client, request, &response);

    if (r < 0)
        return r;
    while (size < enough) {
        char bytes[5000];
        const void *data = bytes;

        r = draw(&m->state, 2) == 0
                ? uco_http_read(response, bytes, 1 + draw(&m->state, sizeof bytes))
                : uco_http_read_chunk(response, &data);
        if (r <= 0)
            break;
        ck_assert(!letters || response->status != 200 || bytes_are_right(data, (size_t) r, size));
        size += (size_t) r;
        if (draw(&m->state, 8) == 0 && uco_sleep(0.001) < 0)
            break;
    }
    uco_http_response_free(response);
    return r < 0 ? r : 0;
}

static intptr_t
member_run(void *arg)
{
    struct member *m = arg;
    uco_http_request_options request = {.url = NULL};
    uco_http_response *response;
    size_t left = 0;
    intptr_t r;

    member_choose(m, &request, &left);
    if (draw(&m->state, 2) == 0) {
        r = member_stream(m, &request);
    } else {
        r = uco_http_request(m->crowd->f->client, &request, &response);
        if (r == 0)
            ck_assert_int_ne(response->status, 0);
        uco_http_response_free(response);
    }
    ck_assert_msg(r >= 0 || error_fits(r), "crowd %u, %s: %d (%s)", m->crowd->number, request.url,
                  (int) r, uco_http_error(NULL));
    m->crowd->done++;
    return 0;
}

static void
crowd_meet(struct fixture *f, unsigned number)
{
    struct crowd crowd = {.f = f, .number = number, .state = number * 2654435761u + 1};
    uco_http_client_options options = f->options;
    static struct member members[CROWD];
    uco_task *tasks[CROWD];
    bool closes = draw(&crowd.state, 4) == 0;

    f->server.failures = draw(&crowd.state, 10);
    for (size_t i = 0; i < CROWD; i++) {
        members[i] = (struct member){&crowd, crowd.state + i * 977};
        tasks[i] = uco_create_task(member_run, &members[i]);
    }
    for (int i = 0; i < CROWD / 2; i++) {
        for (unsigned turns = draw(&crowd.state, 6); turns > 0; turns--)
            ck_assert_int_eq(uco_yield(), 0);
        if (draw(&crowd.state, 3) == 0)
            ck_assert_int_eq(uco_sleep(0.001), 0);
        uco_cancel(tasks[draw(&crowd.state, CROWD)]);
        if (closes && i == CROWD / 4) {
            ck_assert_int_eq(uco_http_client_close(f->client), 0);
            f->client = uco_http_client_new(&options);
        }
    }
    uco_gather_all(tasks, CROWD, NULL);
    uco_unref_all(tasks, CROWD);
}

static void
meet(struct fixture *f)
{
    const char *asked = getenv("UCO_TEST_CROWDS");
    unsigned n = asked != NULL ? (unsigned) atoi(asked) : (unsigned) scaled(40);
    uco_http_client_options options = f->options;
    uco_loop_stats stats;
    int fds;

    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    fds = count_fds();
    f->client = uco_http_client_new(&options);
    for (unsigned i = 0; i < n; i++)
        crowd_meet(f, i);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    until_open(f, 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    ck_assert_uint_eq(stats.timers, 0);
    ck_assert_uint_eq(stats.resources, 0);
    ck_assert_int_eq(count_fds(), fds);
}

START_TEST(a_crowd_of_all_kinds_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.max_connections = 20, .max_per_host = 20}, meet);
}
END_TEST

START_TEST(a_crowd_that_has_to_queue_leaves_nothing)
{
    serve_with(&(uco_http_client_options){.max_connections = 3, .pool_timeout = 0.1}, meet);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http crowds");
    TCase *crowds = case_new(suite, "crowds");

    tcase_set_timeout(crowds, 240);
    tcase_add_test(crowds, a_crowd_of_all_kinds_leaves_nothing);
    tcase_add_test(crowds, a_crowd_that_has_to_queue_leaves_nothing);
    return suite_end(suite);
}
