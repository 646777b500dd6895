/* SPDX-License-Identifier: MIT */
/* What requests send: where it comes from, and how forms and multiparts are written. */
#include "base/system.h"
#include "http/body.h"

#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <uco/http.h>
#include <unistd.h>

enum { FILE_SIZE = 200 * 1000, GOT_SIZE = 1000 * 1000 };

static char content[FILE_SIZE];
static char got[GOT_SIZE], again[GOT_SIZE];
static char folder[64], path[128], other_path[128];

static void
run(uco_fn *fn)
{
    ck_assert_int_eq(run_virtual(fn, NULL), 0);
}

static void
write_file(const char *name, size_t size)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, size), (ssize_t) size);
    ck_assert_int_eq(close(fd), 0);
}

/* A folder of the test's own, with a file of FILE_SIZE bytes. */
static void
folder_begin(void)
{
    snprintf(folder, sizeof folder, "/var/tmp/uco-body-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/some.txt", folder);
    snprintf(other_path, sizeof other_path, "%s/other.JPEG", folder);
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char) (i * 7 + i / 1000);
    write_file(path, FILE_SIZE);
}

static void
folder_end(void)
{
    (void) unlink(path);
    (void) unlink(other_path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static int
body_plan_and_open(struct uco__http_body *body, const uco_http_request_options *request)
{
    int r = uco__http_body_plan(body, request);

    return r < 0 ? r : uco__http_body_open(body);
}

static void
begin(struct uco__http_body *body, const uco_http_request_options *request)
{
    ck_assert_int_eq(body_plan_and_open(body, request), 0);
}

static void
expect_refused(const uco_http_request_options *request, int error)
{
    struct uco__http_body body;

    ck_assert_int_eq(body_plan_and_open(&body, request), error);
    uco__http_body_done(&body);
}

/* Reads to the end, `piece` bytes at a time: how many are in `got`, or the error. */
static ssize_t
read_pieces(struct uco__http_body *body, size_t piece)
{
    size_t done = 0;
    ssize_t r;

    do {
        ck_assert_uint_le(done + piece, sizeof got);
        r = uco__http_body_read(body, got + done, piece);
        ck_assert_int_le(r, (ssize_t) piece);
        if (r > 0)
            done += (size_t) r;
    } while (r > 0);
    return r < 0 ? r : (ssize_t) done;
}

static ssize_t
read_all(struct uco__http_body *body)
{
    return read_pieces(body, 16384);
}

static void
expect_content(struct uco__http_body *body, size_t size)
{
    ck_assert_int_eq(read_all(body), (ssize_t) size);
    ck_assert_int_eq(memcmp(got, content, size), 0);
    ck_assert_int_eq(uco__http_body_read(body, got, 1), 0);
}

/* --- encoding --- */

START_TEST(a_form_is_encoded_as_browsers_do)
{
    static const char *const pairs[] = {"a b", "c&d=\xc3\xa9*-._~", "", "x\n", "+%", "", NULL};
    char *text = uco_http_encode(pairs);

    ck_assert_str_eq(text, "a+b=c%26d%3D%C3%A9*-._%7E&=x%0A&%2B%25=");
    free(text);
}
END_TEST

START_TEST(no_pairs_are_an_empty_text)
{
    static const char *const none[] = {NULL};
    char *text = uco_http_encode(none);

    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

START_TEST(each_byte_is_encoded)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._";

    for (int byte = 1; byte < 256; byte++) {
        char name[2] = {(char) byte, '\0'}, expected[8];
        const char *pairs[] = {name, "", NULL};
        char *text = uco_http_encode(pairs);

        if (strchr(plain, byte) != NULL)
            snprintf(expected, sizeof expected, "%s=", name);
        else
            snprintf(expected, sizeof expected, byte == ' ' ? "+=" : "%%%02X=", (unsigned) byte);
        ck_assert_str_eq(text, expected);
        free(text);
    }
}
END_TEST

START_TEST(a_name_without_value_is_not_encoded)
{
    static const char *const odd[] = {"a", "1", "b", NULL};

    errno = 0;
    ck_assert_ptr_null(uco_http_encode(odd));
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_ptr_null(uco_http_encode(NULL));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(without_memory_nothing_is_encoded)
{
    static const char *const pairs[] = {"a", "1", NULL};
    int error = 0;

    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    errno = 0;
    ck_assert_ptr_null(uco_http_encode(pairs));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(uco__http_url_add_params("http://host/", pairs, &error));
    ck_assert_int_eq(error, -ENOMEM);
}
END_TEST

START_TEST(params_follow_the_urls_own_and_precede_its_fragment)
{
    static const char *const params[] = {"q", "a b", "r", "", NULL};
    static const char *const none[] = {NULL};
    static const char *const urls[][2] = {
        {"http://host", "http://host?q=a+b&r="},
        {"http://host/p", "http://host/p?q=a+b&r="},
        {"http://host/p?", "http://host/p?q=a+b&r="},
        {"http://host/p?x=1", "http://host/p?x=1&q=a+b&r="},
        {"http://host/p?x=1&", "http://host/p?x=1&q=a+b&r="},
        {"http://host/p#f", "http://host/p?q=a+b&r=#f"},
        {"http://host/p?x=1#f?g", "http://host/p?x=1&q=a+b&r=#f?g"},
        {"http://host/p#f?g", "http://host/p?q=a+b&r=#f?g"},
        {"", "?q=a+b&r="},
        {"#", "?q=a+b&r=#"},
    };

    for (size_t i = 0; i < COUNT(urls); i++) {
        const char *const *lists[] = {params, none, NULL};

        for (size_t j = 0; j < COUNT(lists); j++) {
            int error = -1;
            char *url = uco__http_url_add_params(urls[i][0], lists[j], &error);

            ck_assert_str_eq(url, urls[i][j == 0 ? 1 : 0]);
            ck_assert_int_eq(error, 0);
            uco__free(url);
        }
    }
}
END_TEST

START_TEST(a_param_without_value_is_refused)
{
    static const char *const odd[] = {"q", NULL};
    int error = 0;

    ck_assert_ptr_null(uco__http_url_add_params("http://host/", odd, &error));
    ck_assert_int_eq(error, -EINVAL);
}
END_TEST

/* --- in memory --- */

static intptr_t
bodies_in_memory(void *arg)
{
    static const char *const form[] = {"a", "1 2", NULL};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &(uco_http_request_options){0});
    ck_assert_int_eq(body.kind, UCO__HTTP_NO_BODY);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    uco__http_body_done(&body);
    begin(&body, &(uco_http_request_options){.body = content, .body_size = 5});
    ck_assert_int_eq(body.kind, UCO__HTTP_BYTES);
    ck_assert_ptr_eq(body.data, content);
    ck_assert_int_eq(body.size, 5);
    ck_assert_ptr_null(body.type);
    ck_assert(body.rewindable);
    uco__http_body_done(&body);
    begin(&body, &(uco_http_request_options){.body = ""});
    ck_assert_int_eq(body.kind, UCO__HTTP_BYTES);
    ck_assert_int_eq(body.size, 0);
    uco__http_body_done(&body);
    begin(&body, &(uco_http_request_options){.form = form});
    ck_assert_int_eq(body.kind, UCO__HTTP_BYTES);
    ck_assert_str_eq(body.data, "a=1+2");
    ck_assert_int_eq(body.size, 5);
    ck_assert_str_eq(body.type, "application/x-www-form-urlencoded");
    ck_assert(body.rewindable);
    uco__http_body_done(&body);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(bytes_and_forms_are_in_memory)
{
    run(bodies_in_memory);
}
END_TEST

static ssize_t
read_nothing(void *buf, size_t n, void *arg)
{
    (void) buf;
    (void) n;
    (void) arg;
    return 0;
}

static void
set_body(uco_http_request_options *request, int which, uco_http_multipart *multipart,
         uco_stream *stream)
{
    static const char *const form[] = {NULL};

    switch (which) {
    case 0:
        request->body = "";
        break;
    case 1:
        request->read_body = read_nothing;
        break;
    case 2:
        request->body_file = path;
        break;
    case 3:
        request->body_stream = stream;
        break;
    case 4:
        request->form = form;
        break;
    case 5:
        request->multipart = multipart;
        break;
    default:
        ck_abort();
    }
}

static intptr_t
two_bodies(void *arg)
{
    static const char *const odd[] = {"a", NULL};
    uco_http_multipart *m = uco_http_multipart_new();
    uco_stream *stream = uco_stream_new(open(path, O_RDONLY | O_CLOEXEC));

    (void) arg;
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < i; j++) {
            uco_http_request_options request = {0};

            set_body(&request, i, m, stream);
            set_body(&request, j, m, stream);
            expect_refused(&request, -EINVAL);
        }
    }
    expect_refused(&(uco_http_request_options){.body_size = 1}, -EINVAL);
    expect_refused(&(uco_http_request_options){.multipart = m, .body_size = 1}, -EINVAL);
    expect_refused(&(uco_http_request_options){.form = odd}, -EINVAL);
    expect_refused(
        &(uco_http_request_options){.read_body = read_nothing, .body_size = (size_t) SSIZE_MAX + 1},
        -EINVAL);
    uco_http_multipart_free(m);
    return uco_stream_close(stream);
}

START_TEST(two_bodies_and_sizes_without_body_are_refused)
{
    run(two_bodies);
}
END_TEST

static intptr_t
form_without_memory(void *arg)
{
    static const char *const form[] = {"a", "1", NULL};

    (void) arg;
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    expect_refused(&(uco_http_request_options){.form = form}, -ENOMEM);
    uco_test_fail_off();
    return 0;
}

START_TEST(without_memory_there_is_no_form)
{
    run(form_without_memory);
}
END_TEST

/* --- a user's function --- */

struct giving {
    size_t calls, given, end; /* bytes */
    size_t most;              /* of one call */
    size_t asked;             /* the most that was asked for */
    ssize_t at_end;
    bool sleeps;
};

static ssize_t
give(void *buf, size_t n, void *arg)
{
    struct giving *giving = arg;
    size_t left = giving->end - giving->given;

    giving->calls++;
    if (n > giving->asked)
        giving->asked = n;
    if (giving->sleeps && uco_sleep(1) < 0)
        return -EPERM;
    if (left == 0)
        return giving->at_end;
    if (n > left)
        n = left;
    if (n > giving->most)
        n = giving->most;
    memcpy(buf, content + giving->given, n);
    giving->given += n;
    return (ssize_t) n;
}

static intptr_t
reads_until_the_end(void *arg)
{
    struct giving giving = {.end = 50000, .most = 1234, .sleeps = true};
    uco_http_request_options request = {.read_body = give, .read_arg = &giving};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &request);
    ck_assert_int_eq(body.kind, UCO__HTTP_SOURCE);
    ck_assert_int_eq(body.size, -1);
    ck_assert_ptr_null(body.type);
    ck_assert(!body.rewindable);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    expect_content(&body, 50000);
    ck_assert_uint_eq(giving.calls, 50000 / 1234 + 2);
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_function_that_suspends_is_asked_until_its_end_and_not_again)
{
    run(reads_until_the_end);
}
END_TEST

static intptr_t
reads_the_size(void *arg)
{
    struct giving giving = {.end = FILE_SIZE, .most = 1234};
    uco_http_request_options request = {.read_body = give, .read_arg = &giving, .body_size = 50000};
    struct uco__http_body body;
    unsigned calls;

    (void) arg;
    begin(&body, &request);
    ck_assert_int_eq(body.size, 50000);
    expect_content(&body, 50000);
    ck_assert_uint_eq(giving.given, 50000);
    uco__http_body_done(&body);
    giving = (struct giving){.end = 49999, .most = 1234};
    begin(&body, &request);
    ck_assert_int_eq(read_all(&body), -EIO);
    calls = giving.calls;
    ck_assert_int_eq(read_all(&body), -EIO);
    ck_assert_uint_eq(giving.calls, calls);
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_function_is_cut_at_the_announced_size_and_must_reach_it)
{
    run(reads_the_size);
}
END_TEST

static intptr_t
rewinds_before_the_first_byte(void *arg)
{
    struct giving giving = {0};
    uco_http_request_options request = {.read_body = give, .read_arg = &giving};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &request);
    expect_content(&body, 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    expect_content(&body, 0);
    ck_assert_uint_eq(giving.calls, 1);
    uco__http_body_done(&body);
    giving = (struct giving){.at_end = -EAGAIN};
    begin(&body, &request);
    ck_assert_int_eq(read_all(&body), -EAGAIN);
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(what_has_delivered_nothing_is_at_its_beginning_unless_it_failed)
{
    run(rewinds_before_the_first_byte);
}
END_TEST

static intptr_t
reads_wrongly(void *arg)
{
    static const struct {
        ssize_t returned, seen;
    } ends[] = {
        {-EACCES, -EACCES}, {-4095, -4095}, {-4096, -EINVAL}, {101, -EINVAL}, {SSIZE_MAX, -EINVAL},
    };

    (void) arg;
    for (size_t i = 0; i < COUNT(ends); i++) {
        struct giving giving = {.end = 10, .most = 10, .at_end = ends[i].returned};
        uco_http_request_options request = {.read_body = give, .read_arg = &giving};
        struct uco__http_body body;

        begin(&body, &request);
        ck_assert_int_eq(read_pieces(&body, 100), ends[i].seen);
        uco__http_body_done(&body);
    }
    return 0;
}

START_TEST(a_functions_errors_are_told_and_nonsense_is_misuse)
{
    run(reads_wrongly);
}
END_TEST

/* --- files --- */

static intptr_t
reads_a_file(void *arg)
{
    uco_http_request_options request = {.body_file = path};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &request);
    ck_assert_int_eq(body.kind, UCO__HTTP_SOURCE);
    ck_assert_int_eq(body.size, FILE_SIZE);
    ck_assert_ptr_null(body.type);
    ck_assert(body.rewindable);
    expect_content(&body, FILE_SIZE);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_pieces(&body, 777), FILE_SIZE);
    ck_assert_int_eq(memcmp(got, content, FILE_SIZE), 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(uco__http_body_read(&body, got, 10), 10);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    expect_content(&body, FILE_SIZE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_file_is_read_whole_as_often_as_wanted)
{
    run(reads_a_file);
}
END_TEST

static intptr_t
plans(void *arg)
{
    uco_http_multipart *m = uco_http_multipart_new();
    uco_http_request_options requests[] = {{.body_file = path}, {.multipart = m}};

    (void) arg;
    ck_assert_int_eq(uco_http_multipart_file(m, "a", path, NULL, NULL), 0);
    for (size_t i = 0; i < COUNT(requests); i++) {
        int fds = count_fds();
        struct uco__http_body body;

        ck_assert_int_eq(uco__http_body_plan(&body, &requests[i]), 0);
        ck_assert_int_eq(body.kind, UCO__HTTP_SOURCE);
        ck_assert_int_eq(body.size, -1);
        ck_assert_int_eq(count_fds(), fds);
        if (i == 1)
            expect_refused(&requests[i], -EBUSY);
        for (int j = 0; j < 2; j++) {
            ck_assert_int_eq(uco__http_body_open(&body), 0);
            ck_assert_int_ge(body.size, FILE_SIZE);
            ck_assert(body.rewindable);
        }
        ck_assert_int_eq(read_all(&body), body.size);
        uco__http_body_done(&body);
    }
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(what_is_planned_has_no_file_open)
{
    run(plans);
}
END_TEST

static intptr_t
reads_a_changing_file(void *arg)
{
    uco_http_request_options request = {.body_file = path};
    struct uco__http_body body;

    (void) arg;
    write_file(path, 1000);
    begin(&body, &request);
    write_file(path, 1001);
    expect_content(&body, 1000);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    write_file(path, 999);
    ck_assert_int_eq(read_all(&body), -EIO);
    ck_assert_int_eq(truncate(path, 1000), 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), 1000);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(of_a_file_that_grew_the_beginning_is_sent_and_one_that_shrank_is_an_error)
{
    run(reads_a_changing_file);
}
END_TEST

static intptr_t
reads_a_part(void *arg)
{
    uco_http_request_options request = {.body_file = path, .body_size = 100};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &request);
    ck_assert_int_eq(body.size, 100);
    expect_content(&body, 100);
    uco__http_body_done(&body);
    request.body_size = FILE_SIZE + 1;
    begin(&body, &request);
    ck_assert_int_eq(read_all(&body), -EIO);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(of_a_file_so_many_bytes_can_be_sent)
{
    run(reads_a_part);
}
END_TEST

static intptr_t
reads_empty_files(void *arg)
{
    uco_http_request_options request = {.body_file = path};
    struct uco__http_body body;
    ssize_t size;

    (void) arg;
    write_file(path, 0);
    begin(&body, &request);
    ck_assert_int_eq(body.size, 0);
    ck_assert(body.rewindable);
    expect_content(&body, 0);
    uco__http_body_done(&body);
    request.body_file = "/proc/version";
    begin(&body, &request);
    ck_assert_int_eq(body.size, -1);
    size = read_all(&body);
    ck_assert_int_gt(size, 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), size);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(an_empty_file_is_empty_but_for_those_of_proc)
{
    run(reads_empty_files);
}
END_TEST

static intptr_t
files_that_fail(void *arg)
{
    uco_http_request_options request = {.body_file = path};
    struct uco__http_body body;

    (void) arg;
    expect_refused(&(uco_http_request_options){.body_file = "/no/such/file"}, -ENOENT);
    expect_refused(&(uco_http_request_options){.body_file = folder}, -EISDIR);
    ck_assert_int_eq(uco_test_fail("open", 1, true, EACCES), 0);
    expect_refused(&request, -EACCES);
    ck_assert_int_eq(uco_test_fail("open", 1, true, EAGAIN), 0);
    expect_refused(&request, -EAGAIN);
    uco_test_fail_off();
    ck_assert_int_eq(uco_test_fail("read", 1, true, EIO), 0);
    begin(&body, &request);
    ck_assert_int_eq(read_all(&body), -EIO);
    uco_test_fail_off();
    expect_content(&body, FILE_SIZE);
    uco__http_body_done(&body);
    write_file(path, 0);
    ck_assert_int_eq(uco_test_fail("read", 1, true, ESTALE), 0);
    expect_refused(&request, -ESTALE);
    uco_test_fail_off();
    return 0;
}

START_TEST(errors_of_opening_and_reading_are_told_as_they_are)
{
    run(files_that_fail);
}
END_TEST

static intptr_t
opens_a_leased_file(void *arg)
{
    struct uco__http_body body;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("open", 1, false, EAGAIN), 0);
    begin(&body, &(uco_http_request_options){.body_file = path});
    expect_content(&body, FILE_SIZE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_file_with_a_lease_is_waited_for)
{
    run(opens_a_leased_file);
}
END_TEST

static intptr_t
opens_by_the_pool(void *arg)
{
    uco_http_multipart *m = uco_http_multipart_new();

    (void) arg;
    ck_assert_int_eq(uco_http_multipart_file(m, "a", path, NULL, NULL), 0);
    ck_assert_int_eq(uco_test_fail("pthread_create", 1, true, EAGAIN), 0);
    expect_refused(&(uco_http_request_options){.body_file = path}, -ENOMEM);
    expect_refused(&(uco_http_request_options){.multipart = m}, -ENOMEM);
    uco_test_fail_off();
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(files_are_opened_by_the_pool)
{
    run(opens_by_the_pool);
}
END_TEST

static intptr_t
opens_when_cancelled(void *arg)
{
    uco_http_multipart *m = uco_http_multipart_new();
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_http_multipart_file(m, "a", path, NULL, NULL), 0);
    ck_assert_int_eq(uco_scope_open(&scope, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&scope), 0);
    expect_refused(&(uco_http_request_options){.body_file = path}, -ECANCELED);
    expect_refused(&(uco_http_request_options){.multipart = m}, -ECANCELED);
    uco_scope_close(&scope, 0);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(who_is_cancelled_opens_nothing)
{
    run(opens_when_cancelled);
}
END_TEST

static intptr_t
body_read_fifo(void *arg)
{
    struct uco__http_body *body = arg;

    return read_all(body);
}

static intptr_t
reads_a_fifo(void *arg)
{
    struct uco__http_body body;
    uco_task *reader;
    int fd;

    (void) arg;
    begin(&body, &(uco_http_request_options){.body_file = other_path});
    ck_assert_int_eq(body.size, -1);
    ck_assert(!body.rewindable);
    reader = uco_create_task(body_read_fifo, &body);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(reader));
    fd = open(other_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(write(fd, content, 1000), 1000);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(write(fd, content + 1000, 1000), 1000);
    close(fd);
    ck_assert_int_eq(uco_join(reader), 2000);
    ck_assert_int_eq(memcmp(got, content, 2000), 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_fifo_is_read_from_its_first_writer_to_its_last)
{
    ck_assert_int_eq(mkfifo(other_path, 0600), 0);
    run(reads_a_fifo);
}
END_TEST

static intptr_t
gives_up_a_fifo(void *arg)
{
    struct uco__http_body body;
    uco_scope scope;
    ssize_t r;

    (void) arg;
    begin(&body, &(uco_http_request_options){.body_file = other_path});
    ck_assert_int_eq(uco_scope_open(&scope, 1), 0);
    r = uco__http_body_read(&body, got, 10);
    ck_assert_int_eq(r, -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, r), -ETIMEDOUT);
    uco__http_body_done(&body);
    return 0;
}

START_TEST(a_fifo_nobody_writes_to_can_be_given_up)
{
    ck_assert_int_eq(mkfifo(other_path, 0600), 0);
    run(gives_up_a_fifo);
}
END_TEST

/* --- streams --- */

static uco_stream *
stream_of(size_t size)
{
    uco_stream *stream;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(write(fds[1], content, size), (ssize_t) size);
    close(fds[1]);
    stream = uco_stream_new(fds[0]);
    ck_assert_ptr_nonnull(stream);
    return stream;
}

static intptr_t
reads_streams(void *arg)
{
    uco_stream *stream = stream_of(1000);
    uco_http_request_options request = {.body_stream = stream};
    struct uco__http_body body;

    (void) arg;
    begin(&body, &request);
    ck_assert_int_eq(body.kind, UCO__HTTP_SOURCE);
    ck_assert_int_eq(body.size, -1);
    ck_assert(!body.rewindable);
    expect_content(&body, 1000);
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    uco__http_body_done(&body);
    ck_assert_int_eq(uco_stream_close(stream), 0);

    request.body_stream = stream = stream_of(1000);
    request.body_size = 600;
    begin(&body, &request);
    ck_assert_int_eq(body.size, 600);
    expect_content(&body, 600);
    uco__http_body_done(&body);
    begin(&body, &request); /* what is left is less than that */
    ck_assert_int_eq(read_all(&body), -EIO);
    ck_assert_int_eq(memcmp(got, content + 600, 400), 0);
    uco__http_body_done(&body);
    return uco_stream_close(stream);
}

START_TEST(a_stream_is_read_to_its_end_or_for_the_announced_size)
{
    run(reads_streams);
}
END_TEST

static intptr_t
reads_a_failing_stream(void *arg)
{
    uco_stream *stream = stream_of(1000);
    struct uco__http_body body;

    (void) arg;
    begin(&body, &(uco_http_request_options){.body_stream = stream});
    ck_assert_int_eq(uco_test_fail("read", 1, true, ECONNRESET), 0);
    ck_assert_int_eq(read_all(&body), -ECONNRESET);
    uco_test_fail_off();
    uco__http_body_done(&body);
    uco_stream_close(stream);
    return 0;
}

START_TEST(a_streams_error_is_told)
{
    run(reads_a_failing_stream);
}
END_TEST

/* --- multipart --- */

static uco_http_multipart *
multipart_new(void)
{
    uco_http_multipart *m = uco_http_multipart_new();

    ck_assert_ptr_nonnull(m);
    return m;
}

static void
add_text(uco_http_multipart *m, const char *name, const char *value)
{
    ck_assert_int_eq(uco_http_multipart_text(m, name, value), 0);
}

static void
add_file(uco_http_multipart *m, const char *name)
{
    ck_assert_int_eq(uco_http_multipart_file(m, "file", name, NULL, NULL), 0);
}

static const char *
boundary_of(const struct uco__http_body *body)
{
    static const char beginning[] = "multipart/form-data; boundary=";

    ck_assert_ptr_nonnull(body->type);
    ck_assert_int_eq(strncmp(body->type, beginning, strlen(beginning)), 0);
    return body->type + strlen(beginning);
}

/* All of the body is this, in which each $ stands for the boundary, and \n for a line break. */
static void
expect_multipart(struct uco__http_body *body, const char *pattern)
{
    static char expected[4096];
    const char *boundary = boundary_of(body);
    char *end = expected;
    ssize_t size = read_all(body);

    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '$')
            end = stpcpy(end, boundary);
        else if (*pattern == '\n')
            end = stpcpy(end, "\r\n");
        else
            *end++ = *pattern;
    }
    *end = '\0';
    ck_assert_int_ge(size, 0);
    got[size] = '\0';
    ck_assert_str_eq(got, expected);
    ck_assert_int_eq(body->size, size);
}

static intptr_t
writes_parts(void *arg)
{
    uco_http_multipart *m = multipart_new();
    uco_http_request_options request = {.multipart = m};
    struct uco__http_body body;

    (void) arg;
    write_file(path, 0);
    add_text(m, "a \"quoted\"\r\nname\\", "a \"value\"");
    ck_assert_int_eq(uco_http_multipart_bytes(m, "b", "12345", 3, NULL, NULL), 0);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "c", NULL, 0, "x\"y\n.txt", "text/x; a=\"b\""), 0);
    ck_assert_int_eq(uco_http_multipart_file(m, "d", path, NULL, NULL), 0);
    ck_assert_int_eq(uco_http_multipart_file(m, "e", path, "\xc3\xa9.pdf", NULL), 0);
    ck_assert_int_eq(uco_http_multipart_file(m, "f", path, "", "a/b"), 0);
    begin(&body, &request);
    ck_assert_int_eq(body.kind, UCO__HTTP_SOURCE);
    ck_assert(body.rewindable);
    expect_multipart(&body,
                     "--$\n"
                     "Content-Disposition: form-data; name=\"a %22quoted%22%0D%0Aname\\\"\n"
                     "\n"
                     "a \"value\"\n"
                     "--$\n"
                     "Content-Disposition: form-data; name=\"b\"\n"
                     "Content-Type: application/octet-stream\n"
                     "\n"
                     "123\n"
                     "--$\n"
                     "Content-Disposition: form-data; name=\"c\"; filename=\"x%22y%0A.txt\"\n"
                     "Content-Type: text/x; a=\"b\"\n"
                     "\n"
                     "\n"
                     "--$\n"
                     "Content-Disposition: form-data; name=\"d\"; filename=\"some.txt\"\n"
                     "Content-Type: text/plain\n"
                     "\n"
                     "\n"
                     "--$\n"
                     "Content-Disposition: form-data; name=\"e\"; filename=\"\xc3\xa9.pdf\"\n"
                     "Content-Type: application/pdf\n"
                     "\n"
                     "\n"
                     "--$\n"
                     "Content-Disposition: form-data; name=\"f\"; filename=\"\"\n"
                     "Content-Type: a/b\n"
                     "\n"
                     "\n"
                     "--$--\n");
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(parts_are_written_as_browsers_do)
{
    run(writes_parts);
}
END_TEST

static intptr_t
writes_no_parts(void *arg)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;

    (void) arg;
    begin(&body, &(uco_http_request_options){.multipart = m});
    expect_multipart(&body, "--$--\n");
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    uco_http_multipart_free(NULL);
    return 0;
}

START_TEST(a_multipart_may_have_no_parts)
{
    run(writes_no_parts);
}
END_TEST

/* What a file with this name is sent as. */
static void
expect_type(const char *file_name, const char *type)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;
    char line[128];

    ck_assert_int_eq(uco_http_multipart_file(m, "a", "/dev/null", file_name, NULL), 0);
    begin(&body, &(uco_http_request_options){.multipart = m});
    ck_assert_int_gt(read_all(&body), 0);
    snprintf(line, sizeof line, "\r\nContent-Type: %s\r\n", type);
    ck_assert_msg(memmem(got, 300, line, strlen(line)) != NULL, "%s is no %s", file_name, type);
    memset(got, 0, 300);
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
}

static intptr_t
guesses_types(void *arg)
{
    (void) arg;
    expect_type("a.html", "text/html");
    expect_type("a.b.JPG", "image/jpeg");
    expect_type(".json", "application/json");
    expect_type("a.tar.gz", "application/gzip");
    expect_type("a", "application/octet-stream");
    expect_type("a.", "application/octet-stream");
    expect_type("html", "application/octet-stream");
    expect_type("a.htmlx", "application/octet-stream");
    expect_type("a.htm", "text/html");
    expect_type("a.ht", "application/octet-stream");
    return 0;
}

START_TEST(a_files_type_is_what_its_ending_suggests)
{
    run(guesses_types);
}
END_TEST

/* Some of everything. */
static uco_http_multipart *
multipart_of_all(void)
{
    uco_http_multipart *m = multipart_new();

    add_text(m, "first", "1");
    add_file(m, path);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "bytes", content, 3000, NULL, NULL), 0);
    add_file(m, other_path);
    add_file(m, path);
    return m;
}

static intptr_t
reads_in_pieces(void *arg)
{
    uco_http_multipart *m;
    struct uco__http_body body;
    ssize_t size;

    (void) arg;
    write_file(path, 1000);
    write_file(other_path, 0);
    m = multipart_of_all();
    begin(&body, &(uco_http_request_options){.multipart = m});
    size = read_all(&body);
    ck_assert_int_eq(size, body.size);
    memcpy(again, got, (size_t) size);
    for (size_t piece = 1; piece < (size_t) size + 2; piece += piece < 300 ? 1 : 97) {
        ck_assert_int_eq(uco__http_body_rewind(&body), 0);
        memset(got, 0, (size_t) size);
        ck_assert_int_eq(read_pieces(&body, piece), size);
        ck_assert_int_eq(memcmp(got, again, (size_t) size), 0);
        ck_assert_int_eq(uco__http_body_read(&body, got, 1), 0);
    }
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(pieces_of_any_size_make_the_same_multipart)
{
    run(reads_in_pieces);
}
END_TEST

static intptr_t
rewinds_anywhere(void *arg)
{
    uco_http_multipart *m;
    struct uco__http_body body;
    ssize_t size;

    (void) arg;
    write_file(path, 200);
    write_file(other_path, 300);
    m = multipart_of_all();
    begin(&body, &(uco_http_request_options){.multipart = m});
    size = read_all(&body);
    memcpy(again, got, (size_t) size);
    for (size_t first = 0; first <= (size_t) size; first += (size_t) scaled(20) + 3) {
        int fds = count_fds();

        ck_assert_int_eq(uco__http_body_rewind(&body), 0);
        for (size_t done = 0; done < first;)
            done += (size_t) uco__http_body_read(&body, got, first - done);
        ck_assert_int_le(count_fds(), fds + 1);
        ck_assert_int_eq(uco__http_body_rewind(&body), 0);
        ck_assert_int_eq(read_all(&body), size);
        ck_assert_int_eq(memcmp(got, again, (size_t) size), 0);
    }
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_can_be_rewound_from_anywhere)
{
    run(rewinds_anywhere);
}
END_TEST

static intptr_t
sends_several_times(void *arg)
{
    uco_http_multipart *m = multipart_new();
    uco_http_request_options request = {.multipart = m};
    char boundaries[3][100];
    struct uco__http_body body;

    (void) arg;
    add_text(m, "a", "1");
    add_file(m, path);
    for (int i = 0; i < 3; i++) {
        write_file(path, (size_t) i * 1000);
        begin(&body, &request);
        snprintf(boundaries[i], sizeof boundaries[i], "%s", boundary_of(&body));
        ck_assert_uint_eq(strlen(boundaries[i]), 32);
        ck_assert_int_eq(read_all(&body), body.size);
        uco__http_body_done(&body);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(boundaries[i], boundaries[j]);
    }
    begin(&body, &request); /* and again after one that was given up */
    ck_assert_int_eq(uco__http_body_read(&body, got, 10), 10);
    uco__http_body_done(&body);
    add_text(m, "b", "2");
    begin(&body, &request);
    ck_assert_int_eq(read_all(&body), body.size);
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_can_be_sent_again_with_another_boundary)
{
    run(sends_several_times);
}
END_TEST

static intptr_t
changes_while_sent(void *arg)
{
    uco_http_multipart *m = multipart_new();
    uco_http_request_options request = {.multipart = m};
    struct uco__http_body body;

    (void) arg;
    add_text(m, "a", "1");
    begin(&body, &request);
    ck_assert_int_eq(uco__http_body_read(&body, got, 10), 10);
    ck_assert_int_eq(uco_http_multipart_text(m, "b", "2"), -EBUSY);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "b", "2", 1, NULL, NULL), -EBUSY);
    ck_assert_int_eq(uco_http_multipart_file(m, "b", path, NULL, NULL), -EBUSY);
    expect_refused(&request, -EBUSY);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    expect_multipart(&body, "--$\nContent-Disposition: form-data; name=\"a\"\n\n1\n--$--\n");
    expect_refused(&request, -EBUSY);
    uco__http_body_done(&body);
    add_text(m, "b", "2");
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_that_is_sent_is_busy)
{
    run(changes_while_sent);
}
END_TEST

static intptr_t
frees_while_sent(void *arg)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;

    (void) arg;
    add_text(m, "a", "1");
    begin(&body, &(uco_http_request_options){.multipart = m});
    uco_http_multipart_free(m);
    expect_multipart(&body, "--$\nContent-Disposition: form-data; name=\"a\"\n\n1\n--$--\n");
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_that_is_sent_cannot_be_freed)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, frees_while_sent, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.all, "multipart"));
}
END_TEST

START_TEST(in_debug_mode_freeing_a_multipart_that_is_sent_aborts)
{
    setenv("UCO_DEBUG", "1", 1);
    run(frees_while_sent);
}
END_TEST

static intptr_t
sends_changing_files(void *arg)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;
    ssize_t size;

    (void) arg;
    add_file(m, path);
    add_text(m, "last", "1");
    write_file(path, 1000);
    begin(&body, &(uco_http_request_options){.multipart = m});
    size = read_all(&body);
    memcpy(again, got, (size_t) size);
    write_file(path, 5000);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), size);
    ck_assert_int_eq(memcmp(got, again, (size_t) size), 0);
    write_file(path, 999);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), -EIO);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_gt(uco__http_body_read(&body, got, 4096), 50);
    ck_assert_int_eq(uco__http_body_read(&body, got, 4096), -ENOENT);
    write_file(path, 1000);
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), size);
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(parts_have_the_size_that_was_announced)
{
    run(sends_changing_files);
}
END_TEST

static intptr_t
sends_files_that_fail(void *arg)
{
    uco_http_multipart *m;
    uco_http_request_options request = {0};
    struct uco__http_body body;
    ssize_t size;

    (void) arg;
    write_file(other_path, 1000);
    request.multipart = m = multipart_of_all();
    for (unsigned long nth = 1; nth <= 3; nth++) {
        ck_assert_int_eq(uco_test_fail("open", nth, false, EMFILE), 0);
        expect_refused(&request, -EMFILE);
    }
    uco_test_fail_off();
    begin(&body, &request);
    size = read_all(&body);
    for (unsigned long nth = 1; nth <= 3; nth++) {
        ck_assert_int_eq(uco__http_body_rewind(&body), 0);
        ck_assert_int_eq(uco_test_fail("open", nth, true, EMFILE), 0);
        ck_assert_int_eq(read_all(&body), -EMFILE);
        uco_test_fail_off();
        ck_assert_int_gt(read_all(&body), 1000); /* nothing was lost */
        ck_assert_int_eq(body.position, size);
        ck_assert_int_eq(uco__http_body_rewind(&body), 0);
        ck_assert_int_eq(uco_test_fail("read", nth, true, EIO), 0);
        ck_assert_int_eq(read_all(&body), -EIO);
        uco_test_fail_off();
    }
    ck_assert_int_eq(uco__http_body_rewind(&body), 0);
    ck_assert_int_eq(read_all(&body), size);
    uco__http_body_done(&body);
    ck_assert_int_eq(unlink(other_path), 0);
    expect_refused(&request, -ENOENT);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(each_file_may_fail_to_open_and_to_be_read)
{
    run(sends_files_that_fail);
}
END_TEST

static intptr_t
sends_a_fifo(void *arg)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;
    uco_task *reader;
    ssize_t first;
    int fd;

    (void) arg;
    add_file(m, path);
    add_file(m, other_path);
    add_text(m, "last", "1");
    begin(&body, &(uco_http_request_options){.multipart = m});
    ck_assert_int_eq(body.size, -1);
    ck_assert(!body.rewindable);
    first = uco__http_body_read(&body, again, sizeof again);
    ck_assert_int_gt(first, FILE_SIZE); /* what comes before it does not wait for it */
    ck_assert_int_eq(uco__http_body_rewind(&body), -ESPIPE);
    reader = uco_create_task(body_read_fifo, &body);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(reader));
    fd = open(other_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_eq(write(fd, content, 1000), 1000);
    close(fd);
    ck_assert_int_gt(uco_join(reader), 1000);
    ck_assert_int_eq(memcmp(got, content, 1000), 0);
    ck_assert_int_eq(memcmp(got + 1000, "\r\n--", 4), 0);
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_part_may_be_a_fifo)
{
    ck_assert_int_eq(mkfifo(other_path, 0600), 0);
    run(sends_a_fifo);
}
END_TEST

static intptr_t
sends_many_files(void *arg)
{
    uco_http_multipart *m = multipart_new();
    struct uco__http_body body;
    struct rlimit limit;
    ssize_t r;

    (void) arg;
    for (int i = 0; i < 200; i++)
        add_file(m, path);
    write_file(path, 1000);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 100;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    begin(&body, &(uco_http_request_options){.multipart = m});
    r = read_all(&body);
    ck_assert_int_eq(r, body.size);
    ck_assert_int_gt(r, 200 * 1000);
    uco__http_body_done(&body);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_may_have_more_files_than_a_process_may_open)
{
    run(sends_many_files);
}
END_TEST

static intptr_t
sends_too_much(void *arg)
{
    uco_http_multipart *m = multipart_new();

    (void) arg;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(uco_http_multipart_bytes(m, "a", content, SSIZE_MAX, NULL, NULL), 0);
    expect_refused(&(uco_http_request_options){.multipart = m}, -EFBIG);
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(a_multipart_that_is_too_large_to_count_is_refused)
{
    run(sends_too_much);
}
END_TEST

START_TEST(parts_that_lack_something_are_refused)
{
    uco_http_multipart *m = multipart_new();

    ck_assert_int_eq(uco_http_multipart_text(NULL, "a", "1"), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_text(m, NULL, "1"), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_text(m, "a", NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_bytes(NULL, "a", "1", 1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_bytes(m, NULL, "1", 1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "a", NULL, 1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "a", "1", SIZE_MAX, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "a", "1", 1, NULL, "a/b\r\nX: y"), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_file(NULL, "a", "p", NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_file(m, NULL, "p", NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_file(m, "a", NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_multipart_file(m, "a", "p", NULL, "a/b\n"), -EINVAL);
    uco_http_multipart_free(m);
}
END_TEST

static intptr_t
sends_nothing_added(void *arg)
{
    uco_http_multipart *m = arg;
    struct uco__http_body body;

    begin(&body, &(uco_http_request_options){.multipart = m});
    expect_multipart(&body, "--$--\n");
    uco__http_body_done(&body);
    return 0;
}

START_TEST(without_memory_no_part_is_added)
{
    uco_http_multipart *m = multipart_new();

    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    errno = 0;
    ck_assert_ptr_null(uco_http_multipart_new());
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(uco_http_multipart_text(m, "a", "1"), -ENOMEM);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "a", "1", 1, NULL, NULL), -ENOMEM);
    ck_assert_int_eq(uco_http_multipart_file(m, "a", path, NULL, NULL), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(run_virtual(sends_nothing_added, m), 0);
    uco_http_multipart_free(m);
}
END_TEST

static ssize_t
send_once(const uco_http_request_options *request)
{
    struct uco__http_body body;
    ssize_t r = body_plan_and_open(&body, request);

    if (r == 0)
        r = read_all(&body);
    uco__http_body_done(&body);
    return r;
}

static intptr_t
sends_without_memory(void *arg)
{
    uco_http_multipart *m;
    uco_http_request_options requests[2] = {{.body_file = path}, {0}};

    (void) arg;
    write_file(other_path, 1000);
    requests[1].multipart = m = multipart_of_all();
    for (size_t i = 0; i < COUNT(requests); i++) {
        ssize_t r, size = send_once(&requests[i]);
        unsigned long nth = 0;

        ck_assert_int_gt(size, FILE_SIZE - 1);
        do {
            ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
            r = send_once(&requests[i]);
            uco_test_fail_off();
            ck_assert(r == size || r == -ENOMEM);
            ck_assert_uint_lt(nth, 200);
        } while (r < 0);
    }
    uco_http_multipart_free(m);
    return 0;
}

START_TEST(sending_files_without_memory_fails_and_leaves_nothing)
{
    run(sends_without_memory);
}
END_TEST

static void
add_encoding(Suite *suite)
{
    TCase *encoding = case_new(suite, "encoding");

    tcase_add_test(encoding, a_form_is_encoded_as_browsers_do);
    tcase_add_test(encoding, no_pairs_are_an_empty_text);
    tcase_add_test(encoding, each_byte_is_encoded);
    tcase_add_test(encoding, a_name_without_value_is_not_encoded);
    tcase_add_test(encoding, without_memory_nothing_is_encoded);
    tcase_add_test(encoding, params_follow_the_urls_own_and_precede_its_fragment);
    tcase_add_test(encoding, a_param_without_value_is_refused);
}

static void
add_sources(Suite *suite)
{
    TCase *sources = case_new(suite, "sources");

    tcase_add_checked_fixture(sources, folder_begin, folder_end);
    tcase_add_test(sources, bytes_and_forms_are_in_memory);
    tcase_add_test(sources, two_bodies_and_sizes_without_body_are_refused);
    tcase_add_test(sources, without_memory_there_is_no_form);
    tcase_add_test(sources, a_function_that_suspends_is_asked_until_its_end_and_not_again);
    tcase_add_test(sources, a_function_is_cut_at_the_announced_size_and_must_reach_it);
    tcase_add_test(sources, what_has_delivered_nothing_is_at_its_beginning_unless_it_failed);
    tcase_add_test(sources, a_functions_errors_are_told_and_nonsense_is_misuse);
    tcase_add_test(sources, a_file_is_read_whole_as_often_as_wanted);
    tcase_add_test(sources, what_is_planned_has_no_file_open);
    tcase_add_test(sources,
                   of_a_file_that_grew_the_beginning_is_sent_and_one_that_shrank_is_an_error);
    tcase_add_test(sources, of_a_file_so_many_bytes_can_be_sent);
    tcase_add_test(sources, an_empty_file_is_empty_but_for_those_of_proc);
    tcase_add_test(sources, errors_of_opening_and_reading_are_told_as_they_are);
    tcase_add_test(sources, a_file_with_a_lease_is_waited_for);
    tcase_add_test(sources, files_are_opened_by_the_pool);
    tcase_add_test(sources, who_is_cancelled_opens_nothing);
    tcase_add_test(sources, a_fifo_is_read_from_its_first_writer_to_its_last);
    tcase_add_test(sources, a_fifo_nobody_writes_to_can_be_given_up);
    tcase_add_test(sources, a_stream_is_read_to_its_end_or_for_the_announced_size);
    tcase_add_test(sources, a_streams_error_is_told);
}

static void
add_multiparts(Suite *suite)
{
    TCase *multiparts = case_new(suite, "multiparts");

    tcase_add_checked_fixture(multiparts, folder_begin, folder_end);
    tcase_add_test(multiparts, parts_are_written_as_browsers_do);
    tcase_add_test(multiparts, a_multipart_may_have_no_parts);
    tcase_add_test(multiparts, a_files_type_is_what_its_ending_suggests);
    tcase_add_test(multiparts, pieces_of_any_size_make_the_same_multipart);
    tcase_add_test(multiparts, a_multipart_can_be_rewound_from_anywhere);
    tcase_add_test(multiparts, a_multipart_can_be_sent_again_with_another_boundary);
    tcase_add_test(multiparts, a_multipart_that_is_sent_is_busy);
    tcase_add_test(multiparts, a_multipart_that_is_sent_cannot_be_freed);
    tcase_add_test(multiparts, parts_have_the_size_that_was_announced);
    tcase_add_test(multiparts, each_file_may_fail_to_open_and_to_be_read);
    tcase_add_test(multiparts, a_part_may_be_a_fifo);
    tcase_add_test(multiparts, a_multipart_may_have_more_files_than_a_process_may_open);
    tcase_add_test(multiparts, a_multipart_that_is_too_large_to_count_is_refused);
    tcase_add_test(multiparts, parts_that_lack_something_are_refused);
    tcase_add_test(multiparts, without_memory_no_part_is_added);
    tcase_add_test(multiparts, sending_files_without_memory_fails_and_leaves_nothing);
}

int
main(void)
{
    Suite *suite = suite_create("bodies");
    TCase *debug = tcase_create("debug");

    add_encoding(suite);
    add_sources(suite);
    add_multiparts(suite);
    suite_add_tcase(suite, debug);
    tcase_add_test_raise_signal(debug, in_debug_mode_freeing_a_multipart_that_is_sent_aborts,
                                SIGABRT);
    return suite_end(suite);
}
