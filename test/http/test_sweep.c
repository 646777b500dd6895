/* SPDX-License-Identifier: MIT */
/*
 * Each system call that uco makes, and each allocation, uco's and curl's, fails in turn, in small
 * programs that use the client in each of its ways.
 *
 * 1. Whatever fails, each request ends, and in time: with success, or an error.
 * 2. When the failure is over, the same client does the same without an error.
 * 3. There are as many descriptors and timers as before.
 *
 * The server is in the same loop, and suffers as well; so an error may be of any kind.
 */
#include "fixture.h"

#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uco/stats.h>
#include <unistd.h>

#define MOST 4000 /* more calls of a kind than anything here makes */

static char upload_path[] = "/tmp/uco-sweep-XXXXXX";
static char folder[] = "/tmp/uco-sweep-XXXXXX";
static bool may_leave; /* files that cannot be removed, that is */

/* --- small programs: 0 or an error --- */

static ssize_t
read_letters(void *buf, size_t n, void *arg)
{
    size_t *left = arg;

    n = n < *left ? n : *left;
    memset(buf, 'x', n);
    *left -= n;
    return (ssize_t) n;
}

static int
send_request(struct fixture *f, const uco_http_request_options *request, long status)
{
    uco_http_response *response = (uco_http_response *) (void *) f;
    int r = uco_http_request(f->client, request, &response);

    if (r < 0) {
        ck_assert_ptr_null(response);
        return r;
    }
    r = response->status == status ? 0 : -EACCES; /* without memory curl may not log in */
    uco_http_response_free(response);
    return r;
}

static int
get_plain(struct fixture *f)
{
    static const char *const params[] = {"a", "b c", NULL};
    static const char *const headers[] = {"X-A: b", "Accept:", NULL};

    return send_request(
        f, &(uco_http_request_options){.url = "/echo", .params = params, .headers = headers}, 200);
}

static int
get_redirected(struct fixture *f)
{
    return send_request(f, &(uco_http_request_options){.url = "/redirect/2"}, 200);
}

static int
get_digest(struct fixture *f)
{
    return send_request(
        f,
        &(uco_http_request_options){
            .url = "/digest", .user = "user", .password = "secret", .auth = UCO_HTTP_DIGEST},
        200);
}

static int
get_stream(struct fixture *f)
{
    const uco_http_request_options request = {.url = "/chunked/300000"};
    uco_http_response *response = (uco_http_response *) (void *) f;
    const void *data;
    char bytes[1000];
    ssize_t r = uco_http_stream(f->client, &request, &response);
    size_t size = 0;

    if (r < 0) {
        ck_assert_ptr_null(response);
        return (int) r;
    }
    for (int i = 0; i == 0 || r > 0; i++) {
        r = i % 2 == 0 ? uco_http_read(response, bytes, sizeof bytes)
                       : uco_http_read_chunk(response, &data);
        if (r > 0)
            ck_assert(bytes_are_right(i % 2 == 0 ? bytes : data, (size_t) r, size));
        size += r > 0 ? (size_t) r : 0;
    }
    uco_http_response_free(response);
    if (r == 0)
        ck_assert_uint_eq(size, 300000);
    return (int) r;
}

static int
get_lines(struct fixture *f)
{
    uco_http_request_options request = {.url = "/echo"};
    uco_http_response *response;
    const char *line;
    ssize_t r = uco_http_stream(f->client, &request, &response);

    if (r < 0)
        return (int) r;
    do
        r = uco_http_read_line(response, &line, 0);
    while (r >= 0 && line != NULL);
    uco_http_response_free(response);
    return (int) r;
}

static int
put_callback(struct fixture *f)
{
    size_t left = 200000;
    uco_http_request_options request = {
        .method = "PUT", .url = "/upload", .read_body = read_letters, .read_arg = &left};

    return send_request(f, &request, 200);
}

static int
put_file(struct fixture *f)
{
    return send_request(
        f, &(uco_http_request_options){.method = "PUT", .url = "/upload", .body_file = upload_path},
        200);
}

static int
post_multipart(struct fixture *f)
{
    uco_http_multipart *m = uco_http_multipart_new();
    int r = m == NULL ? -ENOMEM : uco_http_multipart_text(m, "name", "value");

    if (r == 0)
        r = uco_http_multipart_file(m, "file", upload_path, NULL, NULL);
    if (r == 0)
        r = send_request(f, &(uco_http_request_options){.url = "/upload", .multipart = m}, 200);
    uco_http_multipart_free(m);
    return r;
}

static int
post_form(struct fixture *f)
{
    static const char *const form[] = {"a", "b c", "d", "", NULL};

    f->server.location = "/upload";
    return send_request(f, &(uco_http_request_options){.url = "/moved/307", .form = form}, 200);
}

static int
get_again(struct fixture *f)
{
    f->server.failures = 2;
    return send_request(f, &(uco_http_request_options){.url = "/flaky/503", .retries = 5}, 200);
}

/* How much is in the folder, but for what may be: that is removed. main() calls it too, where
 * libcheck bears no assertion. */
static int
folder_others(const char *kept)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    int others = 0;

    if (directory == NULL)
        return -1;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        others += strcmp(entry->d_name, kept) != 0;
        if (may_leave && strcmp(entry->d_name, kept) != 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    return others;
}

static void
file_is_right(const char *path)
{
    static char bytes[300001];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, bytes, sizeof bytes), 300000);
    ck_assert(bytes_are_right(bytes, 300000, 0));
    close(fd);
}

static int
download(struct fixture *f, bool resume)
{
    const uco_http_download_options options = {.resume = resume};
    uco_http_download_result result;
    char path[64];
    int r;

    snprintf(path, sizeof path, "%s/file", folder);
    unlink(path);
    r = uco_http_download(f->client, "/bytes/300000", path, &options, &result);
    if (access(path, F_OK) == 0)
        file_is_right(path);
    else
        ck_assert_int_lt(r, 0);
    if (r == 0)
        ck_assert_uint_eq(result.size, 300000);
    if (r == 0 || !resume)
        ck_assert(folder_others("file") == 0 || may_leave);
    return r;
}

static int
get_file(struct fixture *f)
{
    return download(f, false);
}

static int
get_file_resumed(struct fixture *f)
{
    return download(f, true);
}

/* A client of its own, whose cookies outlive it: what cannot be written is reported. */
static int
keep_cookies(struct fixture *f)
{
    static const char cookie[] = "a=b; domain=example.com; max-age=1000";
    uco_http_client_options options = {.base_url = f->base_url};
    uco_http_client *client;
    char path[64];
    int r;

    snprintf(path, sizeof path, "%s/cookies", folder);
    options.cookie_file = path;
    client = uco_http_client_new(&options);
    if (client == NULL)
        return -errno;
    r = uco_http_cookie_set(client, cookie);
    ck_assert_int_eq(uco_http_client_close(client), 0);
    if (r == 0 && access(path, F_OK) < 0)
        r = -ENOMEM; /* or whatever it was */
    f->reports.count = 0;
    unlink(path);
    ck_assert(folder_others("file") == 0 || may_leave);
    return r;
}

static int (*const programs[])(struct fixture *f) = {
    get_plain,    get_redirected,   get_digest,     get_stream, get_lines,
    put_callback, put_file,         post_multipart, post_form,  get_again,
    get_file,     get_file_resumed, keep_cookies,
};

static const char *const names[] = {
    "get_plain",    "get_redirected",   "get_digest",     "get_stream", "get_lines",
    "put_callback", "put_file",         "post_multipart", "post_form",  "get_again",
    "get_file",     "get_file_resumed", "keep_cookies",
};

/* --- what fails --- */

static const struct failure {
    const char *what;
    int error;
} failures[] = {
    {"malloc", ENOMEM},       {"mmap", ENOMEM},
    {"read", ECONNRESET},     {"read", EINTR},
    {"write", EPIPE},         {"write", EINTR},
    {"accept4", EMFILE},      {"socket", EMFILE},
    {"epoll_ctl", ENOMEM},    {"epoll_ctl", ENOSPC},
    {"epoll_wait", EINTR},    {"pthread_create", EAGAIN},
    {"open", EMFILE},         {"open", EINTR},
    {"fcntl", EMFILE},        {"poll", ENOMEM},
    {"getsockopt", ENOBUFS},  {"setsockopt", ENOBUFS},
    {"fsync", EIO},           {"stat", EIO},
    {"access", EACCES},       {"ftruncate", EIO},
    {"fchmod", EPERM},        {"flock", EWOULDBLOCK},
    {"rename", EIO},          {"rename", EEXIST},
    {"unlink", EACCES},       {"getrandom", EAGAIN},
    {"getsockname", ENOBUFS}, {"shutdown", ENOTCONN},
};

struct trial {
    struct fixture *f;
    size_t program;
};

static intptr_t
trial_run(void *arg)
{
    const struct trial *trial = arg;

    return programs[trial->program](trial->f);
}

/* After a failure the client works as before. A connection of the server's may have to go first. */
static void
is_well(struct fixture *f, size_t program, const char *what, unsigned long nth)
{
    uco_loop_stats stats;
    int r = programs[program](f);

    ck_assert_msg(r == 0, "%s, %s number %lu: afterwards %d, %s", names[program], what, nth, r,
                  uco_http_error(f->client));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    ck_assert_msg(stats.timers == 1, "%s, %s number %lu: %u timers", names[program], what, nth,
                  (unsigned) stats.timers);
    ck_assert_uint_eq(stats.resources, 1);
}

/* The kernel takes real time for what sockets pass on, if only microseconds, and the virtual clock
 * does not wait for it: so it is kept from jumping far. Its sleep is the one timer that there is.
 * */
static intptr_t
tick(void *arg)
{
    (void) arg;
    while (uco_sleep(0.01) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    return 0;
}

/* Whether it made so many calls. */
static bool
fail_once(struct fixture *f, size_t program, const struct failure *failure, unsigned long nth,
          bool for_ever)
{
    struct trial trial = {f, program};
    intptr_t r;

    may_leave = strcmp(failure->what, "unlink") == 0;
    ck_assert_int_eq(uco_test_fail(failure->what, nth, for_ever, failure->error), 0);
    r = uco_with_timeout(300, trial_run, &trial);
    uco_test_fail_off();
    ck_assert_msg(r <= 0 && r > -4096, "%s, %s number %lu: %d", names[program], failure->what, nth,
                  (int) r);
    if (strcmp(failure->what, "malloc") == 0 && !for_ever)
        ck_assert_msg(r == 0 || r == -ENOMEM || r == -ECONNRESET || r == -EPROTO || r == -ETIMEDOUT,
                      "%s, malloc number %lu: %d", names[program], nth, (int) r);
    is_well(f, program, failure->what, nth);
    return r < 0;
}

static size_t present; /* the program that is swept */

/* Until five in a row have changed nothing: some failures are got over. */
static void
sweep(struct fixture *f)
{
    uco_task *ticking = uco_create_task(tick, NULL);

    for (size_t i = 0; i < COUNT(failures); i++) {
        unsigned long step = under_sanitizer() ? 3 : 1;
        int fds;

        is_well(f, present, "nothing", 0);
        fds = count_fds();
        for (unsigned long nth = 1, calm = 0; calm < 5 && nth < MOST; nth += step) {
            bool once = fail_once(f, present, &failures[i], nth, false);
            /* What is interrupted for ever is tried for ever. */
            bool for_ever = failures[i].error != EINTR && nth < 30 &&
                            fail_once(f, present, &failures[i], nth, true);

            calm = once || for_ever ? 0 : calm + 1;
        }
        while (f->server.open > 1)
            ck_assert_int_eq(uco_sleep(0.001), 0);
        is_well(f, present, failures[i].what, 0);
        ck_assert_msg(count_fds() <= fds, "%s, %s: %d fds, and %d before", names[present],
                      failures[i].what, count_fds(), fds);
    }
    uco_cancel(ticking);
    uco_join(ticking);
}

static const uco_http_client_options patient = {.timeout = 100, .read_timeout = 20};

START_TEST(whatever_fails_is_told_and_passes)
{
    storm_stop();
    present = (size_t) _i;
    serve_virtually_with(&patient, sweep);
}
END_TEST

/* --- curl's own allocations --- */

static unsigned long countdown; /* 0: none fails */

static bool
refused(void)
{
    return countdown != 0 && --countdown == 0;
}

static void *
curl_malloc(size_t size)
{
    return refused() ? NULL : malloc(size);
}

static void *
curl_realloc(void *block, size_t size)
{
    return refused() ? NULL : realloc(block, size);
}

static char *
curl_strdup(const char *text)
{
    return refused() ? NULL : strdup(text);
}

static void *
curl_calloc(size_t count, size_t size)
{
    return refused() ? NULL : calloc(count, size);
}

/* With a client that has just been opened, and with one that has connections and handles. What curl
 * gives for want of memory is mostly -ENOMEM, but not always: it takes some for the server's
 * failure. */
static void
sweep_curl(struct fixture *f)
{
    const uco_http_client_options options = f->options;
    uco_task *ticking = uco_create_task(tick, NULL);

    for (int warm = 0; warm < 2; warm++) {
        unsigned long step = under_sanitizer() ? 3 : 1, left;

        is_well(f, present, "nothing", 0);
        for (unsigned long nth = 1; nth < MOST; nth += step) {
            struct trial trial = {f, present};
            intptr_t r;

            if (warm == 0)
                reopen(f, &options);
            countdown = nth;
            r = uco_with_timeout(300, trial_run, &trial);
            left = countdown;
            countdown = 0;
            ck_assert(r <= 0 && r > -4096);
            is_well(f, present, "curl's memory", nth);
            if (left > 0)
                break;
        }
        ck_assert(left > 0);
    }
    uco_cancel(ticking);
    uco_join(ticking);
}

START_TEST(whatever_memory_curl_lacks_it_is_told_and_passes)
{
    storm_stop();
    ck_assert_int_eq(curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc,
                                          curl_strdup, curl_calloc),
                     CURLE_OK);
    present = (size_t) _i;
    serve_virtually_with(&patient, sweep_curl);
    curl_global_cleanup();
}
END_TEST

/* Before the first test, where nothing can be asserted. */
static bool
upload_make(void)
{
    static char bytes[100000];
    int fd = mkstemp(upload_path);
    bool made;

    memset(bytes, 'x', sizeof bytes);
    made = fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t) sizeof bytes;
    close(fd);
    return made;
}

int
main(void)
{
    Suite *suite = suite_create("http sweep");
    TCase *ours = case_new(suite, "ours");
    TCase *curls = case_new(suite, "curl's");
    int r;

    if (!upload_make() || mkdtemp(folder) == NULL)
        return EXIT_FAILURE;
    tcase_set_timeout(ours, 240);
    tcase_set_timeout(curls, 240);
    tcase_add_loop_test(ours, whatever_fails_is_told_and_passes, 0, COUNT(programs));
    tcase_add_loop_test(curls, whatever_memory_curl_lacks_it_is_told_and_passes, 0,
                        COUNT(programs));
    r = suite_end(suite);
    unlink(upload_path);
    may_leave = true;
    folder_others("");
    rmdir(folder);
    return r;
}
