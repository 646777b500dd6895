/* SPDX-License-Identifier: MIT */
/* The file in which cookies are kept. */
#include "fixture.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTIONS(...) (&(uco_http_client_options){__VA_ARGS__})

static char directory[] = "/tmp/uco-http-cookies-XXXXXX";
static char path[64];

static void
directory_make(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/jar", directory);
}

/* Nothing else is in it. */
static void
directory_remove(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void
file_put(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static const char *
file_get(void)
{
    static char text[4096];
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void
close_client(struct fixture *f)
{
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
}

static void
set(struct fixture *f, const char *cookie)
{
    ck_assert_int_eq(uco_http_cookie_set(f->client, cookie), 0);
}

static void
expect_sent(struct fixture *f, const char *cookie)
{
    char header[64];

    snprintf(header, sizeof header, "Cookie: %s", cookie);
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, header));
}

static void
expect_in_jar(struct fixture *f, const char *line)
{
    char *jar = uco_http_cookies(f->client);

    ck_assert_ptr_nonnull(jar);
    ck_assert_msg(strstr(jar, line) != NULL, "no %s in %s", line, jar);
    free(jar);
}

static void
keep_in_file(struct fixture *f)
{
    struct stat status;

    directory_make();
    reopen(f, OPTIONS(.cookie_file = path));
    expect_text(f, "/cookie", "set");
    set(f, "a=1; max-age=1000; domain=example.org; httponly");
    set(f, "c=; domain=other.org; secure");
    ck_assert_int_eq(access(path, F_OK), -1);
    reopen(f, OPTIONS(.cookie_file = path));
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    ck_assert_ptr_nonnull(strstr(file_get(), "# Netscape HTTP Cookie File\n"));
    ck_assert_ptr_nonnull(strstr(file_get(), "\n#HttpOnly_.example.org\tTRUE\t/\tFALSE\t"));
    ck_assert_ptr_nonnull(strstr(file_get(), "\n127.0.0.1\tFALSE\t/\tFALSE\t"));
    ck_assert_ptr_nonnull(strstr(file_get(), "\n.other.org\tTRUE\t/\tTRUE\t0\tc\t\n"));
    expect_sent(f, "taste=sweet");
    ck_assert_int_eq(uco_http_cookies_clear(f->client), 0);
    close_client(f);
    ck_assert_ptr_null(strstr(file_get(), "example.org"));
    directory_remove();
}

START_TEST(a_file_keeps_them_from_one_client_to_the_next)
{
    serve(keep_in_file);
}
END_TEST

static void
read_others_file(struct fixture *f)
{
    directory_make();
    file_put("# Netscape HTTP Cookie File\r\n"
             "ALL\nSESS\nFLUSH\nRELOAD\n\n"
             "this is not a cookie\n"
             "example.org\tFALSE\t/\tFALSE\t0\ta\t1\r\n"
             "example.org\tFALSE\t/\tFALSE\t1000\told\t1\n"
             "example.org\tFALSE\t/\tFALSE\t4102444800\tb\t2\n"
             "\tFALSE\t/\tFALSE\t0\tnowhere\t1\n"
             "#HttpOnly_example.org\tFALSE\t/\tFALSE\t0\tc\t3");
    reopen(f, OPTIONS(.cookie_file = path));
    expect_in_jar(f, "example.org\tFALSE\t/\tFALSE\t0\ta\t1\n");
    expect_in_jar(f, "example.org\tFALSE\t/\tFALSE\t4102444800\tb\t2\n");
    expect_in_jar(f, "#HttpOnly_example.org\tFALSE\t/\tFALSE\t0\tc\t3\n");
    close_client(f);
    ck_assert_ptr_null(strstr(file_get(), "nowhere"));
    ck_assert_ptr_null(strstr(file_get(), "old"));
    directory_remove();
}

START_TEST(a_file_is_read_as_curl_and_browsers_write_it)
{
    serve(read_others_file);
}
END_TEST

/* What curl would take for something else than a cookie in a file. */
static void
read_tricks(struct fixture *f)
{
    static const char bytes[] =
        "Set-Cookie: trick=1; domain=example.org; x=\tFALSE\t/\tFALSE\t0\ta\t1\n"
        "set-cookie:trick=1; domain=example.org;\tFALSE\t/\tFALSE\t0\ta\t1\n"
        "example.org\tFALSE\t/\tFALSE\t0\ta\t1\0example.org\tFALSE\t/\tFALSE\t0\tb\t2\n\0\0"
        "example.org\tFALSE\t/\tFALSE\t0\tlarge\t";
    static char large[9000000];
    FILE *file;

    directory_make();
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    memset(large, 'x', sizeof large);
    ck_assert_uint_eq(fwrite(bytes, 1, sizeof bytes - 1, file), sizeof bytes - 1);
    ck_assert_uint_eq(fwrite(large, 1, sizeof large, file), sizeof large);
    ck_assert_int_ge(fputs("\nexample.org\tFALSE\t/\tFALSE\t0\tc\t3\n", file), 0);
    ck_assert_int_eq(fclose(file), 0);
    reopen(f, OPTIONS(.cookie_file = path));
    expect_in_jar(f, "example.org\tFALSE\t/\tFALSE\t0\ta\t1\n");
    expect_in_jar(f, "example.org\tFALSE\t/\tFALSE\t0\tb\t2\n");
    expect_in_jar(f, "example.org\tFALSE\t/\tFALSE\t0\tc\t3\n");
    close_client(f);
    ck_assert_ptr_null(strstr(file_get(), "trick"));
    directory_remove();
}

START_TEST(a_file_has_no_other_lines_than_cookies)
{
    serve(read_tricks);
}
END_TEST

/* No client is opened with this file. */
static void
refuse_file(const char *file, int error)
{
    ck_assert_ptr_null(uco_http_client_new(OPTIONS(.cookie_file = file)));
    ck_assert_int_eq(errno, error);
}

static void
open_unreadable(struct fixture *f)
{
    char below[80];

    (void) f;
    directory_make();
    refuse_file(directory, EISDIR);
    file_put("");
    snprintf(below, sizeof below, "%s/x", path);
    refuse_file(below, ENOTDIR);
    if (geteuid() != 0) {
        chmod(path, 0);
        refuse_file(path, EACCES);
        chmod(path, 0600);
    }
    ck_assert_int_eq(truncate(path, 17 * 1024 * 1024), 0);
    refuse_file(path, EFBIG);
    directory_remove();
}

START_TEST(a_file_that_cannot_be_read_is_an_error)
{
    serve(open_unreadable);
}
END_TEST

/* What was said about the file. */
static void
expect_report(struct fixture *f)
{
    ck_assert_uint_eq(f->reports.count, 1);
    ck_assert_ptr_nonnull(strstr(f->reports.last, "cookies"));
    ck_assert_ptr_nonnull(strstr(f->reports.last, path));
    f->reports.count = 0;
}

static void
write_nowhere(struct fixture *f)
{
    directory_make();
    reopen(f, OPTIONS(.cookie_file = path));
    directory_remove();
    close_client(f);
    expect_report(f);
}

START_TEST(a_file_that_cannot_be_written_is_reported)
{
    serve(write_nowhere);
}
END_TEST

static void
write_too_much(struct fixture *f)
{
    const struct rlimit small = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    struct rlimit before;

    directory_make();
    file_put("example.org\tFALSE\t/\tFALSE\t0\ta\t1\n");
    reopen(f, OPTIONS(.cookie_file = path));
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    close_client(f);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    expect_report(f);
    ck_assert_str_eq(file_get(), "example.org\tFALSE\t/\tFALSE\t0\ta\t1\n");
    directory_remove();
}

START_TEST(a_file_is_replaced_by_a_whole_one_or_not_at_all)
{
    serve(write_too_much);
}
END_TEST

static void
write_without_memory(struct fixture *f)
{
    static const char content[] = "example.org\tFALSE\t/\tFALSE\t0\ta\t1\n";
    unsigned long nth = 0;
    bool failed;

    directory_make();
    do {
        file_put(content);
        reopen(f, OPTIONS(.cookie_file = path));
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        ck_assert_int_eq(uco_http_client_close(f->client), 0);
        uco_test_fail_off();
        failed = f->reports.count > 0;
        if (failed)
            expect_report(f);
        ck_assert_ptr_nonnull(strstr(file_get(), content));
        f->client = uco_http_client_new(OPTIONS(0));
    } while (failed);
    ck_assert_uint_gt(nth, 1);
    close_client(f);
    directory_remove();
}

START_TEST(without_memory_the_file_stays)
{
    serve(write_without_memory);
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

/* Whatever curl has no memory for, a list of cookies that it could not make is not taken for an
 * empty one. */
static void
write_without_curls_memory(struct fixture *f)
{
    static const char content[] = "example.org\tFALSE\t/\tFALSE\t0\ta\t1\n";
    unsigned long nth = 0, left;

    directory_make();
    do {
        file_put(content);
        reopen(f, OPTIONS(.cookie_file = path));
        expect_in_jar(f, content);
        countdown = ++nth;
        ck_assert_int_eq(uco_http_client_close(f->client), 0);
        left = countdown;
        countdown = 0;
        ck_assert_ptr_nonnull(strstr(file_get(), content));
        f->reports.count = 0;
        f->client = uco_http_client_new(OPTIONS(0));
    } while (left == 0);
    ck_assert_uint_gt(nth, 5);
    close_client(f);
    directory_remove();
}

START_TEST(without_curls_memory_the_file_stays)
{
    ck_assert_int_eq(curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc,
                                          curl_strdup, curl_calloc),
                     CURLE_OK);
    serve(write_without_curls_memory);
    curl_global_cleanup();
}
END_TEST

/* A client with all that needs memory in its options. */
static void
open_without_memory(struct fixture *f)
{
    const uco_http_client_options options = {
        .cookie_file = path,
        .addresses = (const char *const[]){"example.org:*:127.0.0.1,::1", "a:1:[::1]", NULL},
        .headers = (const char *const[]){"A: b", NULL},
        .user = "user",
        .password = "secret",
        .base_url = "http://example.org",
    };
    unsigned long nth = 0;
    uco_http_client *client;

    (void) f;
    directory_make();
    file_put("example.org\tFALSE\t/\tFALSE\t0\ta\t1\n");
    do {
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        client = uco_http_client_new(&options);
        uco_test_fail_off();
        if (client == NULL)
            ck_assert_int_eq(errno, ENOMEM);
    } while (client == NULL);
    ck_assert_uint_gt(nth, 10);
    ck_assert_int_eq(uco_http_client_close(client), 0);
    directory_remove();
}

START_TEST(without_memory_no_client_is_opened)
{
    serve(open_without_memory);
}
END_TEST

static void
write_through_link(struct fixture *f)
{
    char link[80];
    struct stat status;

    directory_make();
    file_put("");
    snprintf(link, sizeof link, "%s/link", directory);
    ck_assert_int_eq(symlink("jar", link), 0);
    reopen(f, OPTIONS(.cookie_file = link));
    set(f, "a=1; domain=example.org");
    close_client(f);
    ck_assert_int_eq(lstat(link, &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
    ck_assert_ptr_nonnull(strstr(file_get(), "\ta\t1\n"));
    unlink(link);
    directory_remove();
}

START_TEST(a_link_to_the_file_stays_one)
{
    serve(write_through_link);
}
END_TEST

static void
write_to_null(struct fixture *f)
{
    struct stat status;

    reopen(f, OPTIONS(.cookie_file = "/dev/null"));
    expect_text(f, "/cookie", "set");
    expect_sent(f, "taste=sweet");
    close_client(f);
    ck_assert_int_eq(stat("/dev/null", &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
}

START_TEST(a_device_is_not_replaced)
{
    serve(write_to_null);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http cookie file");
    TCase *files = case_new(suite, "files");

    tcase_add_test(files, a_file_keeps_them_from_one_client_to_the_next);
    tcase_add_test(files, a_file_is_read_as_curl_and_browsers_write_it);
    tcase_add_test(files, a_file_has_no_other_lines_than_cookies);
    tcase_add_test(files, a_file_that_cannot_be_read_is_an_error);
    tcase_add_test(files, a_file_that_cannot_be_written_is_reported);
    tcase_add_test(files, a_file_is_replaced_by_a_whole_one_or_not_at_all);
    tcase_add_test(files, without_memory_the_file_stays);
    tcase_add_test(files, without_curls_memory_the_file_stays);
    tcase_add_test(files, without_memory_no_client_is_opened);
    tcase_add_test(files, a_link_to_the_file_stays_one);
    tcase_add_test(files, a_device_is_not_replaced);
    return suite_end(suite);
}
