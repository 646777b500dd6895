/* SPDX-License-Identifier: MIT */
/* What tells one version of a server's file from another. */
#include "http/version.h"

#include "http/response.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

/* --- Content-Range --- */

START_TEST(a_content_range_is_bytes_of_a_whole)
{
    static const struct {
        const char *text;
        int64_t first, last, size;
    } cases[] = {
        {"bytes 0-0/1", 0, 0, 1},
        {"bytes 0-9/10", 0, 9, 10},
        {"bytes 5-9/10", 5, 9, 10},
        {"bytes 5-7/10", 5, 7, 10},
        {"bytes 5-7/*", 5, 7, -1},
        {"bytes */10", -1, -1, 10},
        {"bytes */0", -1, -1, 0},
        {"bytes */*", -1, -1, -1},
        {"Bytes 5-9/10", 5, 9, 10},
        {"bytes \t 5-9/10", 5, 9, 10},
        {"bytes 0-4611686018427387903/4611686018427387904", 0, INT64_MAX / 2, INT64_MAX / 2 + 1},
        {"bytes 00-09/010", 0, 9, 10},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uco__http_content_range range;

        ck_assert_msg(uco__http_content_range_parse(&range, cases[i].text), "%s", cases[i].text);
        ck_assert_int_eq(range.first, cases[i].first);
        ck_assert_int_eq(range.last, cases[i].last);
        ck_assert_int_eq(range.size, cases[i].size);
    }
}
END_TEST

START_TEST(what_is_no_content_range_is_not_taken_for_one)
{
    static const char *const texts[] = {
        "",
        "bytes",
        "bytes ",
        "bytes5-9/10",
        "bytes=5-9/10",
        "bytes 5-9",
        "bytes 5-9/",
        "bytes 5-/10",
        "bytes -9/10",
        "bytes 9-5/10",
        "bytes 5-10/10",
        "bytes 5-9/10 ",
        "bytes 5-9/10,",
        "bytes 5 - 9 / 10",
        "bytes +5-9/10",
        "bytes 0x5-9/10",
        "bytes *-9/10",
        "bytes **/10",
        "bytes */",
        "bytes */1x",
        "items 5-9/10",
        "none 5-9/10",
        "bytes 5-9/9223372036854775808",
        "bytes 5-99999999999999999999999/*",
        "bytes 18446744073709551616-18446744073709551617/*",
    };
    struct uco__http_content_range range = {.first = 77};

    for (size_t i = 0; i < COUNT(texts); i++)
        ck_assert_msg(!uco__http_content_range_parse(&range, texts[i]), "%s", texts[i]);
    ck_assert(!uco__http_content_range_parse(&range, NULL));
    ck_assert_int_eq(range.first, 77);
}
END_TEST

/* --- versions --- */

/* A response with these lines as its head; NULL ends them. */
static const uco_http_response *
response_begin(struct uco__http_response *response, const char *const lines[])
{
    *response = (struct uco__http_response){0};
    ck_assert_int_eq(uco__http_headers_add_line(&response->headers, "HTTP/1.1 200 OK\r\n", 17), 0);
    for (; *lines != NULL; lines++)
        ck_assert_int_eq(uco__http_headers_add_line(&response->headers, *lines, strlen(*lines)), 0);
    ck_assert_int_eq(uco__http_headers_add_line(&response->headers, "\r\n", 2), 0);
    return &response->result;
}

static void
response_end(struct uco__http_response *response)
{
    uco__http_headers_done(&response->headers);
}

static void
expect_version(const char *const lines[], const char *validator, int64_t size)
{
    struct uco__http_response response;
    struct uco__http_version version;

    uco__http_version_init(&version, response_begin(&response, lines));
    ck_assert_str_eq(version.validator, validator);
    ck_assert_int_eq(version.size, size);
    response_end(&response);
}

#define DATE "Date: Mon, 23 Nov 2020 12:00:00 GMT"
#define LONG_AGO "Sun, 22 Nov 2020 12:00:00 GMT"

START_TEST(an_etag_that_is_not_weak_tells_a_version)
{
    expect_version((const char *[]){"ETag: \"a\"", "Content-Length: 5", NULL}, "\"a\"", 5);
    expect_version((const char *[]){"etag:\"\"", NULL}, "\"\"", -1);
    expect_version((const char *[]){"ETag: \"\xc3\xa4\"", NULL}, "\"\xc3\xa4\"", -1);
    expect_version((const char *[]){"ETag: W/\"a\"", NULL}, "", -1);
    expect_version((const char *[]){"ETag: a", NULL}, "", -1);
    expect_version((const char *[]){"ETag: \"a", NULL}, "", -1);
    expect_version((const char *[]){"ETag: a\"", NULL}, "", -1);
    expect_version((const char *[]){"ETag: \"", NULL}, "", -1);
    expect_version((const char *[]){"ETag:", NULL}, "", -1);
    expect_version((const char *[]){"ETag: \"a\", \"b\"", NULL}, "", -1);
    expect_version((const char *[]){"ETag: \"a\tb\"", NULL}, "", -1);
}
END_TEST

START_TEST(a_date_tells_a_version_if_it_is_long_enough_ago)
{
    expect_version((const char *[]){DATE, "Last-Modified: " LONG_AGO, NULL}, LONG_AGO, -1);
    expect_version((const char *[]){DATE, "ETag: W/\"a\"", "Last-Modified: " LONG_AGO, NULL},
                   LONG_AGO, -1);
    expect_version((const char *[]){DATE, "ETag: \"a\"", "Last-Modified: " LONG_AGO, NULL}, "\"a\"",
                   -1);
    expect_version((const char *[]){"Last-Modified: " LONG_AGO, NULL}, "", -1);
    expect_version((const char *[]){"Date: never", "Last-Modified: " LONG_AGO, NULL}, "", -1);
    expect_version((const char *[]){DATE, "Last-Modified: never", NULL}, "", -1);
    expect_version((const char *[]){DATE, "Last-Modified: Mon, 23 Nov 2020 11:59:30 GMT", NULL}, "",
                   -1);
    expect_version((const char *[]){DATE, "Last-Modified: Mon, 23 Nov 2020 12:01:00 GMT", NULL}, "",
                   -1);
}
END_TEST

START_TEST(a_length_is_known_where_it_is_that_of_the_file)
{
    expect_version((const char *[]){"Content-Length: 0", NULL}, "", 0);
    expect_version((const char *[]){"Content-Length: 5000000000", NULL}, "", 5000000000);
    expect_version((const char *[]){"Content-Length: 5", "Transfer-Encoding: chunked", NULL}, "",
                   -1);
    expect_version((const char *[]){"Content-Length: 5, 5", NULL}, "", -1);
    expect_version((const char *[]){"Content-Length: -5", NULL}, "", -1);
    expect_version((const char *[]){"Content-Length: 99999999999999999999", NULL}, "", -1);
}
END_TEST

START_TEST(a_validator_may_be_too_long)
{
    char line[UCO__HTTP_VALIDATOR_MAX + 20];
    struct uco__http_version version;

    for (int length = UCO__HTTP_VALIDATOR_MAX - 2; length <= UCO__HTTP_VALIDATOR_MAX + 1;
         length++) {
        struct uco__http_response response;

        snprintf(line, sizeof line, "ETag: \"%0*d\"", length - 2, 0);
        uco__http_version_init(&version, response_begin(&response, (const char *[]){line, NULL}));
        ck_assert_int_eq((int) strlen(version.validator),
                         length < UCO__HTTP_VALIDATOR_MAX ? length : 0);
        response_end(&response);
    }
}
END_TEST

static bool
fits(const char *validator, int64_t size, const char *const lines[], int64_t told)
{
    struct uco__http_version version = {.size = size};
    struct uco__http_response response;
    bool r;

    snprintf(version.validator, sizeof version.validator, "%s", validator);
    r = uco__http_version_fits(&version, response_begin(&response, lines), told);
    response_end(&response);
    return r;
}

START_TEST(an_answer_of_another_version_does_not_fit)
{
    const char *const none[] = {NULL}, *const a[] = {"ETag: \"a\"", NULL},
                      *const weak[] = {"ETag: W/\"a\"", NULL},
                      *const date[] = {"Last-Modified: " LONG_AGO, NULL};

    ck_assert(fits("\"a\"", 5, none, 5));
    ck_assert(fits("\"a\"", 5, a, 5));
    ck_assert(fits("\"a\"", -1, a, 5));
    ck_assert(fits("\"a\"", 5, a, -1));
    ck_assert(fits("\"a\"", 5, date, 5));
    ck_assert(fits(LONG_AGO, 5, date, 5));
    ck_assert(fits(LONG_AGO, 5, a, 5));
    ck_assert(!fits("\"a\"", 5, a, 6));
    ck_assert(!fits("\"b\"", 5, a, 5));
    ck_assert(!fits("\"a\"", 5, weak, 5));
    ck_assert(!fits("Mon, 23 Nov 2020 12:00:00 GMT", 5, date, 5));
    ck_assert(!fits("", 5, none, 5));
}
END_TEST

/* --- notes --- */

START_TEST(what_was_noted_is_read_again)
{
    static const char *const validators[] = {"\"a\"", "\"\"", LONG_AGO, "\"If-Range: \""};
    static const int64_t sizes[] = {-1, 0, 1, 5000000000, INT64_MAX / 2};
    char text[UCO__HTTP_NOTE_MAX];

    for (size_t i = 0; i < COUNT(validators) * COUNT(sizes); i++) {
        struct uco__http_version version = {.size = sizes[i % COUNT(sizes)]}, read;

        snprintf(version.validator, sizeof version.validator, "%s", validators[i / COUNT(sizes)]);
        ck_assert_uint_eq(uco__http_version_print(&version, text), strlen(text));
        ck_assert(uco__http_version_parse(&read, text));
        ck_assert_str_eq(read.validator, version.validator);
        ck_assert_int_eq(read.size, version.size);
        /* Not all of it: the disk was full, or the power failed. */
        for (size_t length = strlen(text); length-- > 0;) {
            text[length] = '\0';
            ck_assert_msg(!uco__http_version_parse(&read, text), "%s", text);
            ck_assert_str_eq(read.validator, "");
            ck_assert_int_eq(read.size, -1);
        }
    }
}
END_TEST

START_TEST(the_longest_validator_can_be_noted)
{
    struct uco__http_version version = {.size = INT64_MAX / 2}, read;
    char text[UCO__HTTP_NOTE_MAX];

    memset(version.validator, 'v', sizeof version.validator - 1);
    ck_assert_uint_eq(uco__http_version_print(&version, text), strlen(text));
    ck_assert(uco__http_version_parse(&read, text));
    ck_assert_str_eq(read.validator, version.validator);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http version");
    TCase *ranges = case_new(suite, "ranges");
    TCase *versions = case_new(suite, "versions");
    TCase *notes = case_new(suite, "notes");

    tcase_add_test(ranges, a_content_range_is_bytes_of_a_whole);
    tcase_add_test(ranges, what_is_no_content_range_is_not_taken_for_one);
    tcase_add_test(versions, an_etag_that_is_not_weak_tells_a_version);
    tcase_add_test(versions, a_date_tells_a_version_if_it_is_long_enough_ago);
    tcase_add_test(versions, a_length_is_known_where_it_is_that_of_the_file);
    tcase_add_test(versions, a_validator_may_be_too_long);
    tcase_add_test(versions, an_answer_of_another_version_does_not_fit);
    tcase_add_test(notes, what_was_noted_is_read_again);
    tcase_add_test(notes, the_longest_validator_can_be_noted);
    return suite_end(suite);
}
