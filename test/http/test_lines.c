/* SPDX-License-Identifier: MIT */
/*
 * Reading a body by lines.
 *
 * Most tests put bytes into a response themselves: NOT_YET, as its error, stands for a server that
 * has sent no more. Some talk to a server.
 */
#include "fixture.h"

#include "http/response.h"
#include "http/store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_YET (-EINPROGRESS)
#define TEXT(text) (text), sizeof(text) - 1

static struct uco__http_response *
response_new(bool streamed)
{
    struct uco__http_store *store = uco__http_store_new();
    struct uco__http_response *response = uco__http_response_new(SIZE_MAX, store);

    ck_assert_ptr_nonnull(response);
    uco__http_store_unref(store); /* the response has a reference */
    response->streamed = streamed;
    response->loop = uco_get_running_loop();
    response->error = NOT_YET;
    return response;
}

static void
feed(struct uco__http_response *response, const char *bytes, size_t size)
{
    response->pinned = false; /* no line is held */
    if (size > 0)
        ck_assert_int_eq(uco__http_response_add_body(response, bytes, size, -1), 0);
}

/* What is read, as "<line>", with "\0" for a NUL, and "!" for a line that is too long. */
struct story {
    char text[1024];
    size_t size;
};

static void
story_add(struct story *story, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ck_assert_uint_lt(story->size + 3, sizeof story->text);
        if (text[i] == '\0')
            story->text[story->size++] = '\\';
        story->text[story->size++] = text[i] != '\0' ? text[i] : '0';
    }
    story->text[story->size] = '\0';
}

/* All lines that are there. Of one that is too long it is told, maybe several times, and then it is
 * read. */
static ssize_t
read_all(struct uco__http_response *response, size_t max, struct story *story)
{
    for (;;) {
        const char *line = "untouched";
        ssize_t r = uco_http_read_line(&response->result, &line, max);

        if (r == -EMSGSIZE) {
            ck_assert_ptr_null(line);
            ck_assert_int_eq(uco_http_read_line(&response->result, &line, max), -EMSGSIZE);
            if (story->size == 0 || story->text[story->size - 1] != '!')
                story_add(story, "!", 1);
            r = uco_http_read_line(&response->result, &line, 0);
        }
        if (line == NULL)
            return r;
        ck_assert_int_ge(r, 0);
        ck_assert_int_eq(line[r], '\0');
        story_add(story, "<", 1);
        story_add(story, line, (size_t) r);
        story_add(story, ">", 1);
    }
}

/* A body that comes in two pieces. */
static void
read_cut(const char *body, size_t size, size_t cut, size_t max, struct story *story)
{
    struct uco__http_response *response = response_new(true);

    story->size = 0;
    story->text[0] = '\0';
    feed(response, body, cut);
    ck_assert_int_eq(read_all(response, max, story), NOT_YET);
    feed(response, body + cut, size - cut);
    ck_assert_int_eq(read_all(response, max, story), NOT_YET);
    response->error = 0;
    ck_assert_int_eq(read_all(response, max, story), 0);
    ck_assert_int_eq(read_all(response, max, story), 0);
    uco_http_response_free(&response->result);
}

static const struct {
    const char *body;
    size_t size;
    size_t max;
    const char *lines;
} cases[] = {
    {TEXT(""), 0, ""},
    {TEXT("a"), 0, "<a>"},
    {TEXT("a\n"), 0, "<a>"},
    {TEXT("a\r\n"), 0, "<a>"},
    {TEXT("a\nb"), 0, "<a><b>"},
    {TEXT("a\r\nb\r\n"), 0, "<a><b>"},
    {TEXT("\n"), 0, "<>"},
    {TEXT("\r\n"), 0, "<>"},
    {TEXT("\n\r\n\n"), 0, "<><><>"},
    {TEXT("one\ntwo\r\n\nthree\n"), 0, "<one><two><><three>"},
    /* A CR ends nothing. */
    {TEXT("\r"), 0, "<\r>"},
    {TEXT("a\rb\n"), 0, "<a\rb>"},
    {TEXT("a\r\r\n\r\r\n"), 0, "<a\r><\r>"},
    {TEXT("a\r"), 0, "<a\r>"},
    {TEXT("a\n\rb\r"), 0, "<a><\rb\r>"},
    /* NUL. */
    {TEXT("\0"), 0, "<\\0>"},
    {TEXT("a\0b\n\0\n\0\0\r\nc\0"), 0, "<a\\0b><\\0><\\0\\0><c\\0>"},
    /* The ending does not count. */
    {TEXT("abc\nabc\r\nabc"), 3, "<abc><abc><abc>"},
    {TEXT("abcd\n"), 3, "!<abcd>"},
    {TEXT("abcd\r\n"), 3, "!<abcd>"},
    {TEXT("abcd"), 3, "!<abcd>"},
    {TEXT("abc\r"), 3, "!<abc\r>"},
    {TEXT("abc\rd\n"), 3, "!<abc\rd>"},
    {TEXT("abc\r\r\n"), 3, "!<abc\r>"},
    {TEXT("a\nabcdefghijkl\nb\nabcdef\r\n"), 3, "<a>!<abcdefghijkl><b>!<abcdef>"},
    {TEXT("a\n\r\nbb\n\n"), 1, "<a><>!<bb><>"},
    {TEXT("abc\n"), SIZE_MAX, "<abc>"},
    {TEXT("abc"), SSIZE_MAX, "<abc>"},
    {TEXT("abc\r\n"), SIZE_MAX - 1, "<abc>"},
};

static intptr_t
read_cases(void *arg)
{
    static struct story story;

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t cut = 0; cut <= cases[i].size; cut++) {
            read_cut(cases[i].body, cases[i].size, cut, cases[i].max, &story);
            ck_assert_msg(strcmp(story.text, cases[i].lines) == 0, "%zu, cut at %zu: %s", i, cut,
                          story.text);
        }
    }
    return 0;
}

START_TEST(a_body_is_cut_at_its_lines_wherever_it_was_cut_on_its_way)
{
    ck_assert_int_eq(run_virtual(read_cases, NULL), 0);
}
END_TEST

/* What is told of a line of which so much has come. */
static const struct {
    const char *start;
    size_t max;
    ssize_t result; /* NOT_YET: it may be short enough */
} starts[] = {
    {"", 3, NOT_YET},         {"ab", 3, NOT_YET},        {"abc", 3, NOT_YET},
    {"abc\r", 3, NOT_YET},    {"abcd", 3, -EMSGSIZE},    {"abcd\r", 3, -EMSGSIZE},
    {"abc\rd", 3, -EMSGSIZE}, {"abc\r\r", 3, -EMSGSIZE}, {"abcde", 3, -EMSGSIZE},
    {"\r", 1, NOT_YET},       {"a\r", 1, NOT_YET},       {"\r\r", 1, NOT_YET},
    {"\r\r\r", 1, -EMSGSIZE},
};

static intptr_t
read_starts(void *arg)
{
    (void) arg;
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct uco__http_response *response = response_new(true);
        const char *line;

        feed(response, starts[i].start, strlen(starts[i].start));
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, starts[i].max),
                         starts[i].result);
        ck_assert_ptr_null(line);
        uco_http_response_free(&response->result);
    }
    return 0;
}

START_TEST(a_line_is_too_long_as_soon_as_it_cannot_be_short_enough)
{
    ck_assert_int_eq(run_virtual(read_starts, NULL), 0);
}
END_TEST

/* The user's text stays as it is, and lies where it lay. */
static intptr_t
read_memory(void *arg)
{
    static struct story story;

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uco__http_response *response = response_new(false);
        const char *text;

        feed(response, cases[i].body, cases[i].size);
        response->error = 0;
        text = response->body;
        story.size = 0;
        story.text[0] = '\0';
        ck_assert_int_eq(read_all(response, cases[i].max, &story), 0);
        ck_assert_str_eq(story.text, cases[i].lines);
        ck_assert_ptr_eq(response->body, text);
        if (cases[i].size > 0)
            ck_assert_mem_eq(text, cases[i].body, cases[i].size + 1);
        uco_http_response_free(&response->result);
    }
    return 0;
}

START_TEST(lines_of_a_response_in_memory_are_copies)
{
    ck_assert_int_eq(run_virtual(read_memory, NULL), 0);
}
END_TEST

static intptr_t
read_memory_without_memory(void *arg)
{
    struct uco__http_response *response = response_new(false);
    unsigned long nth = 0;
    const char *line;
    ssize_t r;

    (void) arg;
    feed(response, TEXT("abc\ndef\n"));
    do {
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        r = uco_http_read_line(&response->result, &line, 0);
        uco_test_fail_off();
        if (r < 0) {
            ck_assert_int_eq(r, -ENOMEM);
            ck_assert_ptr_null(line);
        }
    } while (r < 0);
    ck_assert_uint_ge(nth, 2);
    ck_assert_str_eq(line, "abc");
    ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), 3);
    ck_assert_str_eq(line, "def");
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(without_memory_no_line_is_lost)
{
    ck_assert_int_eq(run_virtual(read_memory_without_memory, NULL), 0);
}
END_TEST

static intptr_t
read_and_read(void *arg)
{
    (void) arg;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct uco__http_response *response = response_new(streamed);
        const void *chunk;
        const char *line;
        char part[3];

        feed(response, TEXT("one\nabcdef\ntwo\nrest"));
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), 3);
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, 5), -EMSGSIZE);
        ck_assert_int_eq(uco_http_read(&response->result, part, 3), 3);
        ck_assert_mem_eq(part, "abc", 3);
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, 5), 3);
        ck_assert_str_eq(line, "def");
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), 3);
        ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), NOT_YET);
        ck_assert_int_eq(uco_http_read_chunk(&response->result, &chunk), 4);
        ck_assert_mem_eq(chunk, "rest", 4);
        uco_http_response_free(&response->result);
    }
    return 0;
}

START_TEST(what_is_no_line_can_be_read_otherwise)
{
    ck_assert_int_eq(run_virtual(read_and_read, NULL), 0);
}
END_TEST

static intptr_t
read_default_max(void *arg)
{
    struct uco__http_response *response = response_new(true);
    size_t most = 1024 * 1024;
    char *text = malloc(2 * most);
    const char *line;

    (void) arg;
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 2 * most);
    text[most] = '\n';
    feed(response, text, 2 * most);
    ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), (ssize_t) most);
    ck_assert_uint_eq(strspn(line, "x"), most);
    feed(response, text, 3);
    ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), -EMSGSIZE);
    uco_http_response_free(&response->result);
    free(text);
    return 0;
}

START_TEST(a_line_has_a_megabyte_unless_the_caller_says_otherwise)
{
    ck_assert_int_eq(run_virtual(read_default_max, NULL), 0);
}
END_TEST

/* --- anything at all, and a simple model --- */

static unsigned
random_below(uint64_t *state, unsigned n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned) (*state >> 33) % n;
}

static void
model_read(const char *body, size_t size, struct story *story)
{
    story->size = 0;
    story->text[0] = '\0';
    for (size_t begin = 0; begin < size;) {
        size_t end = begin;
        size_t length;

        while (end < size && body[end] != '\n')
            end++;
        length = end - begin;
        if (end < size && length > 0 && body[end - 1] == '\r')
            length--;
        story_add(story, "<", 1);
        story_add(story, body + begin, length);
        story_add(story, ">", 1);
        begin = end + 1;
    }
}

static intptr_t
read_random(void *arg)
{
    static struct story expected, story;
    uint64_t random = 6;

    (void) arg;
    for (int i = scaled(20000); i > 0; i--) {
        size_t size = random_below(&random, 40);
        char body[40];

        for (size_t at = 0; at < size; at++)
            body[at] = "ab\r\n\n\0"[random_below(&random, 6)];
        model_read(body, size, &expected);
        read_cut(body, size, random_below(&random, (unsigned) size + 1), 0, &story);
        ck_assert_str_eq(story.text, expected.text);
    }
    return 0;
}

START_TEST(whatever_comes_is_cut_as_a_simple_model_does)
{
    ck_assert_int_eq(run_virtual(read_random, NULL), 0);
}
END_TEST

/* --- misuse --- */

static intptr_t
read_nothing(void *arg)
{
    struct uco__http_response *response = response_new(true);
    const char *line = "untouched";

    (void) arg;
    ck_assert_int_eq(uco_http_read_line(NULL, &line, 0), -EINVAL);
    ck_assert_ptr_null(line);
    ck_assert_int_eq(uco_http_read_line(&response->result, NULL, 0), -EINVAL);
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(a_line_needs_a_response_and_a_place)
{
    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(run_virtual(read_nothing, NULL), 0);
}
END_TEST

START_TEST(only_a_coroutine_reads_lines)
{
    struct uco__http_response *response = response_new(true);
    const char *line;

    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(uco_http_read_line(&response->result, &line, 0), -EPERM);
    ck_assert_int_eq(uco_http_read_line(NULL, NULL, 0), -EPERM);
    uco_http_response_free(&response->result);
}
END_TEST

/* --- from a server --- */

/* What the server says, on the virtual clock a piece each second. */
static intptr_t
speak(uco_stream *s, void *arg)
{
    const char *const *pieces = arg;
    const char *line;

    while (uco_stream_read_line(s, &line) > 2)
        ;
    for (; *pieces != NULL; pieces++) {
        if (uco_stream_write(s, *pieces, strlen(*pieces)) < 0 || uco_stream_drain(s) < 0)
            break;
        (void) uco_sleep(1);
    }
    return 0;
}

/* A stream of what that server says. */
static uco_http_response *
hear(struct fixture *f, const char *const *pieces, uco_server **server)
{
    uco_http_response *response;
    char url[64];

    *server = uco_server_start("127.0.0.1", 0, speak, (void *) (uintptr_t) pieces);
    ck_assert_ptr_nonnull(*server);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) uco_server_port(*server));
    ck_assert_int_eq(uco_http_stream(f->client, &(uco_http_request_options){.url = url}, &response),
                     0);
    return response;
}

static void
hear_no_more(uco_http_response *response, uco_server *server)
{
    uco_http_response_free(response);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
}

static void
expect_line(uco_http_response *response, const char *expected)
{
    const char *line;

    ck_assert_int_eq(uco_http_read_line(response, &line, 0), (ssize_t) strlen(expected));
    ck_assert_str_eq(line, expected);
}

static const char *const four_lines[] = {
    "HTTP/1.1 200 OK\r\n\r\non", "e\ntw", "o\r", "\n", "\nla", "st", NULL,
};

static void
hear_lines(struct fixture *f)
{
    double began = uco_time();
    uco_server *server;
    uco_http_response *response = hear(f, four_lines, &server);
    const char *line;

    expect_line(response, "one");
    expect_line(response, "two");
    expect_line(response, "");
    ck_assert_double_lt(uco_time() - began, 4.5);
    expect_line(response, "last");
    ck_assert_int_eq(uco_http_read_line(response, &line, 0), 0);
    ck_assert_ptr_null(line);
    hear_no_more(response, server);
}

START_TEST(a_line_is_waited_for_and_comes_when_it_is_whole)
{
    serve_virtually(hear_lines);
}
END_TEST

static void
hear_lines_impatiently(struct fixture *f)
{
    static const char *const expected[] = {"one", "two", "", "last"};
    unsigned timeouts = 0;
    uco_server *server;
    uco_http_response *response = hear(f, four_lines, &server);

    for (size_t i = 0; i < COUNT(expected);) {
        const char *line;
        uco_scope scope;
        ssize_t r;

        ck_assert_int_eq(uco_scope_open(&scope, 0.3), 0);
        r = uco_http_read_line(response, &line, 0);
        r = uco_scope_close(&scope, r);
        if (r == -ETIMEDOUT) {
            ck_assert_ptr_null(line);
            timeouts++;
            continue;
        }
        ck_assert_str_eq(line, expected[i++]);
    }
    ck_assert_uint_gt(timeouts, 4);
    hear_no_more(response, server);
}

START_TEST(a_line_that_is_given_up_is_read_whole_later)
{
    serve_virtually(hear_lines_impatiently);
}
END_TEST

#define LONG 900000

static void
hear_long(struct fixture *f)
{
    static char second[LONG + 8];
    const char *const pieces[] = {"HTTP/1.1 200 OK\r\n\r\nfirst\n", second, "\nlast", NULL};
    uco_server *server;
    uco_http_response *response = hear(f, pieces, &server);
    const char *line;

    memset(second, 'x', LONG);
    ck_assert_int_eq(uco_http_read_line(response, &line, 0), 5);
    /* As much comes meanwhile as may. */
    ck_assert_int_eq(uco_sleep(5), 0);
    ck_assert_str_eq(line, "first");
    ck_assert_int_eq(uco_http_read_line(response, &line, 1000), -EMSGSIZE);
    ck_assert_int_eq(uco_http_read_line(response, &line, 0), LONG);
    ck_assert_uint_eq(strspn(line, "x"), LONG);
    expect_line(response, "last");
    hear_no_more(response, server);
}

START_TEST(a_line_stays_until_the_next_call_and_may_be_longer_than_what_is_received_ahead)
{
    serve_virtually(hear_long);
}
END_TEST

static void
hear_half(struct fixture *f)
{
    static const char *const pieces[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none\nhalf a", " line", NULL};
    uco_server *server;
    uco_http_response *response = hear(f, pieces, &server);
    const char *line;
    char rest[32];

    expect_line(response, "one");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_http_read_line(response, &line, 0), -EPROTO);
        ck_assert_ptr_null(line);
    }
    ck_assert_int_eq(uco_http_read(response, rest, sizeof rest), 11);
    ck_assert_mem_eq(rest, "half a line", 11);
    ck_assert_int_eq(uco_http_read_line(response, &line, 0), -EPROTO);
    hear_no_more(response, server);
}

/* Or half a line would be taken for a whole one. */
START_TEST(a_line_that_breaks_off_is_an_error_and_no_line)
{
    serve_virtually(hear_half);
}
END_TEST

static intptr_t
read_one(void *response)
{
    const char *line;

    return uco_http_read_line(response, &line, 0);
}

static void
hear_twice(struct fixture *f)
{
    uco_server *server;
    uco_http_response *response = hear(f, four_lines, &server);
    uco_task *task = uco_create_task(read_one, response);
    const char *line;

    ck_assert_int_eq(uco_sleep(0.3), 0); /* the rest of the line comes after a second */
    ck_assert_int_eq(uco_http_read_line(response, &line, 0), -EBUSY);
    ck_assert_ptr_null(line);
    ck_assert_int_eq(uco_join(task), 3);
    expect_line(response, "two");
    hear_no_more(response, server);
}

START_TEST(two_tasks_do_not_read_lines_at_once)
{
    unsetenv("UCO_DEBUG");
    serve_virtually(hear_twice);
}
END_TEST

static void
read_fetched(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/echo");
    char *text = strdup(response->text);
    size_t lines = 0;
    const char *line;

    while (uco_http_read_line(response, &line, 0) >= 0 && line != NULL)
        lines += line[0] != '\0';
    ck_assert_uint_ge(lines, 3);
    ck_assert_str_eq(response->text, text);
    ck_assert_uint_eq(response->size, strlen(text));
    free(text);
    uco_http_response_free(response);
}

START_TEST(a_page_that_was_fetched_has_lines_too)
{
    serve(read_fetched);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http/lines");
    TCase *tc = case_new(suite, "lines");

    tcase_add_test(tc, a_body_is_cut_at_its_lines_wherever_it_was_cut_on_its_way);
    tcase_add_test(tc, a_line_is_too_long_as_soon_as_it_cannot_be_short_enough);
    tcase_add_test(tc, lines_of_a_response_in_memory_are_copies);
    tcase_add_test(tc, without_memory_no_line_is_lost);
    tcase_add_test(tc, what_is_no_line_can_be_read_otherwise);
    tcase_add_test(tc, a_line_has_a_megabyte_unless_the_caller_says_otherwise);
    tcase_add_test(tc, whatever_comes_is_cut_as_a_simple_model_does);

    tc = case_new(suite, "server");
    tcase_add_test(tc, a_line_is_waited_for_and_comes_when_it_is_whole);
    tcase_add_test(tc, a_line_that_is_given_up_is_read_whole_later);
    tcase_add_test(tc,
                   a_line_stays_until_the_next_call_and_may_be_longer_than_what_is_received_ahead);
    tcase_add_test(tc, a_line_that_breaks_off_is_an_error_and_no_line);
    tcase_add_test(tc, two_tasks_do_not_read_lines_at_once);
    tcase_add_test(tc, a_page_that_was_fetched_has_lines_too);

    tc = case_new(suite, "misuse");
    tcase_add_test(tc, a_line_needs_a_response_and_a_place);
    tcase_add_test(tc, only_a_coroutine_reads_lines);
    return suite_end(suite);
}
