/* SPDX-License-Identifier: MIT */
/* The head of a response, as honest and as hostile servers write it. */
#include "fixture.h"

#include "http/headers.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX ((size_t) 1024 * 1024) /* as headers.c has it */
#define HEADERS_MAX 4096
#define TEXT(text) (text), sizeof(text) - 1

static int
add(struct uco__http_headers *headers, const char *line)
{
    return uco__http_headers_add_line(headers, line, strlen(line));
}

/* The lines of a head, one after the other. */
static void
add_all(struct uco__http_headers *headers, const char *lines)
{
    while (*lines != '\0') {
        size_t size = strcspn(lines, "\n") + 1;

        ck_assert_int_eq(uco__http_headers_add_line(headers, lines, size), 0);
        lines += size;
    }
}

/* All of them, as "name=value|name=value|". */
static const char *
shown(const struct uco__http_headers *headers)
{
    static char text[1024];
    const char *name, *value;
    size_t position = 0, used = 0;

    text[0] = '\0';
    while (uco__http_headers_next(headers, &position, &name, &value))
        used += (size_t) snprintf(text + used, sizeof text - used, "%s=%s|", name, value);
    ck_assert_uint_lt(used, sizeof text);
    return text;
}

/* --- what is a header --- */

static const struct {
    const char *lines; /* after the status line */
    const char *headers;
} heads[] = {
    {"A: 1\r\n", "A=1|"},
    {"A: 1\n", "A=1|"},
    {"A:1\r\n", "A=1|"},
    {"A:\r\nB: 2\r\n", "A=|B=2|"},
    {"A: \t \r\n", "A=|"},
    {"A:  \t padded \t \r\n", "A=padded|"},
    {"A: 1\r\nA: 2\r\na: 3\r\n", "A=1|A=2|a=3|"},
    {"A: b: c:\r\n", "A=b: c:|"},
    {"A::\r\n", "A=:|"},
    {"A: http://x/\r\n", "A=http://x/|"},
    {"HTTP/1.1: x\r\nHTTP/1.1 404 No\r\n", "HTTP/1.1=x|"},
    {"A: caf\xe9\r\nB\xe9: 2\r\n", "A=caf\xe9|B\xe9=2|"},
    {"!#$%&'*+-.^_`|~09: x\r\n", "!#$%&'*+-.^_`|~09=x|"},
    /* Folds. */
    {"A: one\r\n two\r\n", "A=one two|"},
    {"A: one\r\n\ttwo\r\n   three  \r\n", "A=one two three|"},
    {"A: one  \r\n  \t  two\r\n", "A=one two|"},
    {"A:\r\n two\r\n", "A=two|"},
    {"A:\r\n  \r\n\t\r\n three\r\n", "A=three|"},
    {"A: one\r\n  \r\n", "A=one|"},
    {"A: one\r\n  \r\n three\r\nB: 2\r\n", "A=one three|B=2|"},
    {"A: one\r\n B: 2\r\n", "A=one B: 2|"},
    /* Folds of nothing. */
    {" A: 1\r\n", ""},
    {"\tA: 1\r\nB: 2\r\n", "B=2|"},
    {" \r\n", ""},
    {" \r\nA: 1\r\n two\r\n", "A=1 two|"},
    {"A: 1\r\nno header\r\n two\r\n", "A=1|"},
    {"A: 1\r\n: x\r\n two\r\nB: 2\r\n", "A=1|B=2|"},
    /* None. */
    {"no header\r\n", ""},
    {"A: 1\r\nnone\r\nB: 2\r\n", "A=1|B=2|"},
    {": x\r\n", ""},
    {":\r\n", ""},
    {":::\r\n", ""},
    {"A B: x\r\n", ""},
    {"A\tB: x\r\n", ""},
    {"A\x01: x\r\n", ""},
    {"\x7f: x\r\n", ""},
    {"A\x1b[2J: x\r\n", ""},
    /* White space before the colon. */
    {"A : 1\r\n", "A=1|"},
    {"A \t : 1\r\n", "A=1|"},
    /* Control characters. */
    {"A: a\tb\x01\x1b\x7f\r\n", "A=a\tb\x01\x1b\x7f|"},
    {"A: a\rb\r\n", "A=a b|"},
    {"A: a\r\rb\r\r\n", "A=a  b|"},
    {"A: \ra\r \r\n", "A=a|"},
    {"A: one\r\n \rtwo\rthree\r\n", "A=one two three|"},
    {"A\r: 1\r\n", "A=1|"},
    {"A\rB: 1\r\n", ""},
};

START_TEST(each_line_is_a_header_or_passed_over)
{
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct uco__http_headers headers = {0};

        ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
        add_all(&headers, heads[i].lines);
        ck_assert_int_eq(add(&headers, "\r\n"), 0);
        ck_assert(headers.whole);
        ck_assert_msg(strcmp(shown(&headers), heads[i].headers) == 0, "%s: %s", heads[i].lines,
                      shown(&headers));
        uco__http_headers_done(&headers);
    }
}
END_TEST

START_TEST(the_last_line_may_have_no_end)
{
    struct uco__http_headers headers = {0};

    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK"), 0);
    ck_assert_int_eq(add(&headers, "A: 1"), 0);
    ck_assert_int_eq(add(&headers, "B"), 0);
    ck_assert_int_eq(add(&headers, ""), 0);
    ck_assert(headers.whole);
    ck_assert_str_eq(shown(&headers), "A=1|");
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(a_nul_is_refused_wherever_it_is)
{
    static const char line[] = "Name: value\r\n";

    for (size_t i = 0; i < sizeof line - 1; i++) {
        struct uco__http_headers headers = {0};
        char copy[sizeof line];

        memcpy(copy, line, sizeof line);
        copy[i] = '\0';
        ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
        ck_assert_int_eq(add(&headers, "A: 1\r\n"), 0);
        ck_assert_int_eq(uco__http_headers_add_line(&headers, copy, sizeof line - 1), -EPROTO);
        ck_assert_str_eq(shown(&headers), "A=1|");
        uco__http_headers_done(&headers);
    }
}
END_TEST

/* --- one head after another --- */

START_TEST(nothing_comes_before_the_status_line)
{
    static const char *const lines[] = {"A: 1\r\n", " A: 1\r\n", "\r\n", "", "HTTP", "\n"};

    for (size_t i = 0; i < COUNT(lines); i++) {
        struct uco__http_headers headers = {0};

        ck_assert_int_eq(add(&headers, lines[i]), -EPROTO);
        ck_assert(!headers.begun && !headers.whole);
        uco__http_headers_done(&headers);
    }
}
END_TEST

START_TEST(a_status_line_has_a_version_and_a_status)
{
    static const char *const right[] = {
        "HTTP/1.1 200 OK\r\n", "HTTP/1.0 999\r\n",  "HTTP/2 200 \r\n",
        "HTTP/3 100",          "HTTP/1.1  404 x\n", "HTTP/1.1 200OK\r\n",
    };
    static const char *const wrong[] = {
        "HTTP/",          "HTTP/\r\n",     "HTTP/1.1",       "HTTP/1.1 ",      "HTTP/1.1 20",
        "HTTP/1.1 20 OK", "HTTP/x 200",    "HTTP/1.x 200",   "HTTP/1. 200",    "HTTP/1.1.1 200",
        "HTTP/204 No",    "HTTP/1.1 2000", "HTTP/1.1 099 x", "HTTP/1.1 -20 x", "HTTP/1.1\t200 x",
        "HTTP/11 200",    "HTTP/1.1 2x0",  "HTTP/ 200",      "HTTP/1.1\r\n",   "HTTP/1.1 x200",
    };

    for (size_t i = 0; i < COUNT(right); i++) {
        struct uco__http_headers headers = {0};

        ck_assert_msg(add(&headers, right[i]) == 0, "%s", right[i]);
        ck_assert(headers.begun && !headers.whole);
        uco__http_headers_done(&headers);
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct uco__http_headers headers = {0};

        ck_assert_msg(add(&headers, wrong[i]) == -EPROTO, "%s", wrong[i]);
        ck_assert(!headers.begun);
        add_all(&headers, "HTTP/1.1 100 Continue\r\n\r\n");
        ck_assert_int_eq(add(&headers, wrong[i]), -EPROTO);
        uco__http_headers_done(&headers);
    }
}
END_TEST

START_TEST(another_status_line_begins_anew)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 100 Continue\r\nA: early\r\n\r\n");
    ck_assert(headers.whole);
    ck_assert_str_eq(shown(&headers), "A=early|");
    ck_assert_int_eq(add(&headers, "HTTP/2 200 \r\n"), 0);
    ck_assert(!headers.whole);
    ck_assert_str_eq(shown(&headers), "");
    add_all(&headers, " folds nothing\r\nA: late\r\n\r\n");
    ck_assert_str_eq(shown(&headers), "A=late|");
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(what_follows_the_head_is_no_header)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 1\r\n\r\nB: 2\r\n folded\r\n\r\n");
    ck_assert(headers.whole);
    ck_assert_str_eq(shown(&headers), "A=1|");
    uco__http_headers_done(&headers);
}
END_TEST

/* Its values are lent to the user. */
START_TEST(a_sealed_head_does_not_change)
{
    struct uco__http_headers headers = {0};
    const char *value;
    char line[1000];

    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n");
    value = uco__http_headers_find(&headers, "A", 0);
    uco__http_headers_seal(&headers);
    memset(line, 'x', sizeof line);
    memcpy(line, "B: ", 3);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(uco__http_headers_add_line(&headers, line, sizeof line), 0);
        add_all(&headers, "HTTP/1.1 200 OK\r\nA: 2\r\n more\r\n\r\n");
    }
    ck_assert_str_eq(shown(&headers), "A=1|");
    ck_assert_ptr_eq(uco__http_headers_find(&headers, "A", 0), value);
    uco__http_headers_reset(&headers);
    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 3\r\n\r\n");
    ck_assert_str_eq(shown(&headers), "A=3|");
    uco__http_headers_done(&headers);
}
END_TEST

/* Or curl would take it for the end, and we would wait for another. */
START_TEST(a_line_that_begins_with_a_cr_ends_the_head)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 1\r\n\rB: 2\r\n");
    ck_assert(headers.whole);
    ck_assert_str_eq(shown(&headers), "A=1|");
    uco__http_headers_done(&headers);
}
END_TEST

/* --- finding --- */

START_TEST(a_header_is_found_by_its_name_and_number)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nDate: now\r\nSET-COOKIE: b\r\n"
                      "set-cookie:\r\nSet-Cookie2: d\r\n\r\n");
    ck_assert_str_eq(uco__http_headers_find(&headers, "set-cookie", 0), "a");
    ck_assert_str_eq(uco__http_headers_find(&headers, "sEt-cOOkie", 1), "b");
    ck_assert_str_eq(uco__http_headers_find(&headers, "Set-Cookie", 2), "");
    ck_assert_ptr_null(uco__http_headers_find(&headers, "Set-Cookie", 3));
    ck_assert_ptr_null(uco__http_headers_find(&headers, "Set-Cookie", SIZE_MAX));
    ck_assert_str_eq(uco__http_headers_find(&headers, "DATE", 0), "now");
    ck_assert_ptr_null(uco__http_headers_find(&headers, "Dat", 0));
    ck_assert_ptr_null(uco__http_headers_find(&headers, "Dates", 0));
    ck_assert_ptr_null(uco__http_headers_find(&headers, "Date:", 0));
    ck_assert_ptr_null(uco__http_headers_find(&headers, "", 0));
    uco__http_headers_done(&headers);
}
END_TEST

/* "@" and "`", "[" and "{" are 32 apart too. */
START_TEST(only_letters_have_two_cases)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 200 OK\r\nA^B: 1\r\n\xc4: 2\r\nA|: 3\r\n\r\n");
    ck_assert_str_eq(uco__http_headers_find(&headers, "a^b", 0), "1");
    ck_assert_ptr_null(uco__http_headers_find(&headers, "a~b", 0));
    ck_assert_str_eq(uco__http_headers_find(&headers, "\xc4", 0), "2");
    ck_assert_ptr_null(uco__http_headers_find(&headers, "\xe4", 0));
    ck_assert_ptr_null(uco__http_headers_find(&headers, "a\\", 0));
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(nothing_is_found_in_no_head)
{
    struct uco__http_headers headers = {0};
    const char *name, *value;
    size_t position = 0;

    ck_assert_ptr_null(uco__http_headers_find(&headers, "A", 0));
    ck_assert(!uco__http_headers_next(&headers, &position, &name, &value));
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(a_position_that_was_never_given_is_harmless)
{
    static const size_t positions[] = {2, 3, 7, 1000, SIZE_MAX / 2, SIZE_MAX};
    struct uco__http_headers headers = {0};
    const char *name, *value;

    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n");
    for (size_t i = 0; i < COUNT(positions); i++) {
        size_t position = positions[i];

        ck_assert(!uco__http_headers_next(&headers, &position, &name, &value));
        ck_assert_uint_eq(position, positions[i]);
    }
    uco__http_headers_done(&headers);
}
END_TEST

/* --- too much --- */

START_TEST(a_head_has_4096_headers_at_most)
{
    struct uco__http_headers headers = {0};
    char line[32];

    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
    for (size_t i = 0; i < HEADERS_MAX; i++) {
        snprintf(line, sizeof line, "A: %zu\r\n", i);
        ck_assert_int_eq(add(&headers, line), 0);
    }
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(add(&headers, "B: x\r\n"), -EPROTO);
    ck_assert_ptr_null(uco__http_headers_find(&headers, "B", 0));
    for (size_t i = 0; i < HEADERS_MAX; i++)
        ck_assert_uint_eq(strtoul(uco__http_headers_find(&headers, "a", i), NULL, 10), i);
    ck_assert_ptr_null(uco__http_headers_find(&headers, "a", HEADERS_MAX));
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(a_head_has_a_megabyte_at_most)
{
    struct uco__http_headers headers = {0};
    char *line = malloc(LINES_MAX);
    size_t left = LINES_MAX;

    ck_assert_ptr_nonnull(line);
    memset(line, 'x', LINES_MAX);
    line[1] = ':';
    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
    left -= strlen("HTTP/1.1 200 OK\r\n");
    ck_assert_int_eq(uco__http_headers_add_line(&headers, line, left + 1), -EPROTO);
    ck_assert_int_eq(uco__http_headers_add_line(&headers, line, left), 0);
    ck_assert_uint_eq(strlen(uco__http_headers_find(&headers, "x", 0)), left - 2);
    ck_assert_int_eq(add(&headers, "\n"), -EPROTO);
    ck_assert_uint_le(headers.capacity, 2 * LINES_MAX);
    uco__http_headers_reset(&headers);
    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
    uco__http_headers_done(&headers);
    free(line);
}
END_TEST

START_TEST(a_header_of_10_megabytes_is_refused)
{
    size_t size = 10 * LINES_MAX;
    struct uco__http_headers headers = {0};
    char *line = malloc(size);

    ck_assert_ptr_nonnull(line);
    memset(line, 'x', size);
    line[1] = ':';
    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
    ck_assert_int_eq(uco__http_headers_add_line(&headers, line, size), -EPROTO);
    ck_assert_uint_eq(headers.capacity, 0);
    uco__http_headers_done(&headers);
    free(line);
}
END_TEST

/* Adds lines until there are too many: how many bytes those had that were taken. */
static size_t
add_without_end(struct uco__http_headers *headers, const char *lines)
{
    size_t total = 0;

    for (;;) {
        for (const char *line = lines; *line != '\0';) {
            size_t size = strcspn(line, "\n") + 1;
            int r = uco__http_headers_add_line(headers, line, size);

            if (r < 0) {
                ck_assert_int_eq(r, -EPROTO);
                return total;
            }
            total += size;
            line += size;
        }
    }
}

START_TEST(what_is_not_kept_has_an_end_too)
{
    static const char *const lines[] = {
        "no header\r\n", " folded\r\n", ": x\r\n", "\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
    };

    for (size_t i = 0; i < COUNT(lines); i++) {
        struct uco__http_headers headers = {0};
        size_t total;

        ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
        total = add_without_end(&headers, lines[i]);
        ck_assert_uint_gt(total, LINES_MAX - 100);
        ck_assert_uint_eq(headers.capacity, 0);
        uco__http_headers_done(&headers);
    }
}
END_TEST

START_TEST(trailers_have_an_end_too)
{
    struct uco__http_headers headers = {0};

    add_all(&headers, "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n");
    uco__http_headers_seal(&headers);
    ck_assert_uint_gt(add_without_end(&headers, "B: x\r\n"), LINES_MAX - 100);
    ck_assert_str_eq(shown(&headers), "A=1|");
    uco__http_headers_done(&headers);
}
END_TEST

START_TEST(a_value_of_many_folds_is_put_together_in_time)
{
    struct uco__http_headers headers = {0};
    size_t count = LINES_MAX / 4 - 10;
    const char *value;

    ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
    ck_assert_int_eq(add(&headers, "A:\r\n"), 0);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(add(&headers, " x\r\n"), 0);
    value = uco__http_headers_find(&headers, "A", 0);
    ck_assert_uint_eq(strlen(value), 2 * count - 1);
    ck_assert_uint_eq(strspn(value, "x "), 2 * count - 1);
    uco__http_headers_done(&headers);
}
END_TEST

/* --- without memory --- */

static const char lines_of_memory[] = "HTTP/1.1 200 OK\r\n"
                                      "A: 1\r\n"
                                      " and two\r\n"
                                      "B: 2\r\n"
                                      "\r\n";

START_TEST(a_line_without_memory_is_not_there_and_can_be_added_again)
{
    char expected[1024];
    struct uco__http_headers headers = {0};

    add_all(&headers, lines_of_memory);
    strcpy(expected, shown(&headers));
    uco__http_headers_done(&headers);
    for (unsigned long nth = 1; nth <= 3; nth++) {
        unsigned failed = 0;

        ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
        for (const char *line = lines_of_memory; *line != '\0';) {
            size_t size = strcspn(line, "\n") + 1;
            int r = uco__http_headers_add_line(&headers, line, size);

            ck_assert(r == 0 || r == -ENOMEM);
            failed += r < 0;
            line += r == 0 ? size : 0;
        }
        uco_test_fail_off();
        ck_assert_uint_eq(failed, nth <= 2 ? 1 : 0);
        ck_assert_str_eq(shown(&headers), expected);
        uco__http_headers_done(&headers);
    }
}
END_TEST

/* --- anything at all, and a simple model --- */

/* Written for the eye: no index, no hash, everything copied again and again. */
struct model {
    char *names[HEADERS_MAX];
    char *values[HEADERS_MAX];
    size_t count;
    bool begun, whole, foldable;
};

static void
model_empty(struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        free(model->names[i]);
        free(model->values[i]);
    }
    *model = (struct model){.begun = true};
}

/* A copy with spaces for CRs, without white space around it. */
static char *
model_trimmed(const char *text, size_t size)
{
    char *copy = strndup(text, size);
    size_t begin, end;

    ck_assert_ptr_nonnull(copy);
    for (char *at = copy; *at != '\0'; at++)
        *at = *at == '\r' ? ' ' : *at;
    begin = strspn(copy, " \t");
    for (end = strlen(copy); end > begin && strchr(" \t", copy[end - 1]) != NULL; end--)
        ;
    copy[end] = '\0';
    memmove(copy, copy + begin, end - begin + 1);
    return copy;
}

static void
model_fold(struct model *model, const char *line)
{
    char **value = &model->values[model->count - 1];
    char *rest = model_trimmed(line, strlen(line));
    char *joined;

    ck_assert_int_ge(asprintf(&joined, "%s%s%s", *value, **value && *rest ? " " : "", rest), 0);
    free(*value);
    free(rest);
    *value = joined;
}

static void
model_add(struct model *model, const char *line)
{
    size_t size = strcspn(line, ":");
    char *name = model_trimmed(line, size);

    model->foldable = line[size] == ':' && name[0] != '\0';
    for (const char *at = name; *at != '\0'; at++)
        model->foldable &= (unsigned char) *at > 0x20 && *at != 0x7f;
    if (!model->foldable) {
        free(name);
        return;
    }
    model->names[model->count] = name;
    model->values[model->count++] = model_trimmed(line + size + 1, strlen(line + size + 1));
}

static bool
matches(const char *text, const char *pattern)
{
    regex_t compiled;
    bool result;

    ck_assert_int_eq(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    result = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return result;
}

static int
model_add_line(struct model *model, const char *line, size_t size)
{
    char text[256];

    if (memchr(line, '\0', size) != NULL)
        return -EPROTO;
    memcpy(text, line, size);
    text[size] = '\0';
    if (size > 0 && text[size - 1] == '\n')
        text[size - 1] = '\0';
    if (!model->begun || model->whole) {
        if (strncmp(text, "HTTP/", 5) != 0)
            return model->begun ? 0 : -EPROTO;
        if (!matches(text, "^HTTP/[0-9](\\.[0-9])? +[1-9][0-9][0-9]($|[^0-9])"))
            return -EPROTO;
        model_empty(model);
        return 0;
    }
    if (text[0] == '\0' || text[0] == '\r')
        model->whole = true;
    else if (text[0] != ' ' && text[0] != '\t')
        model_add(model, text);
    else if (model->foldable)
        model_fold(model, text);
    return 0;
}

/* The number of a header among those of its name. */
static size_t
model_number(const struct model *model, size_t index)
{
    size_t number = 0;

    for (size_t i = 0; i < index; i++)
        number += strcasecmp(model->names[i], model->names[index]) == 0;
    return number;
}

static void
compare(const struct uco__http_headers *headers, const struct model *model)
{
    const char *name, *value;
    size_t position = 0;

    ck_assert_int_eq(headers->begun, model->begun);
    ck_assert_int_eq(headers->whole, model->whole);
    for (size_t i = 0; i < model->count; i++) {
        ck_assert(uco__http_headers_next(headers, &position, &name, &value));
        ck_assert_str_eq(name, model->names[i]);
        ck_assert_str_eq(value, model->values[i]);
        ck_assert_ptr_eq(uco__http_headers_find(headers, name, model_number(model, i)), value);
    }
    ck_assert(!uco__http_headers_next(headers, &position, &name, &value));
}

static unsigned
random_below(uint64_t *state, unsigned n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned) (*state >> 33) % n;
}

static size_t
random_line(uint64_t *random, char *line)
{
    static const char *const pieces[] = {
        "A",  "a",    "Ab",      "x y",    ":",
        ": ", " ",    "\t",      "\r",     "\n",
        "\1", "\33",  "\177",    "\351",   "\r\n",
        "-",  "HTTP", "HTTP/1.", "1 200 ", "HTTP/1.1 200 OK\r\n",
    };
    size_t size = 0;

    if (random_below(random, 40) == 0)
        line[size++] = '\0';
    if (random_below(random, 2) == 0) {
        memcpy(line, "Ab:", 3);
        size = 3;
    }
    for (unsigned count = random_below(random, 8); count > 0; count--) {
        const char *piece = pieces[random_below(random, COUNT(pieces))];

        memcpy(line + size, piece, strlen(piece));
        size += strlen(piece);
    }
    if (random_below(random, 4) != 0) {
        memcpy(line + size, "\r\n", 2);
        size += 2;
    }
    /* curl ends a line at its first LF. */
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\n')
            return i + 1;
    }
    return size;
}

START_TEST(whatever_comes_is_understood_as_a_simple_model_does)
{
    static struct model model;
    uint64_t random = 6;
    size_t headers_seen = 0;

    for (int i = scaled(20000); i > 0; i--) {
        struct uco__http_headers headers = {0};
        bool honest = random_below(&random, 8) != 0;

        if (honest) {
            ck_assert_int_eq(add(&headers, "HTTP/1.1 200 OK\r\n"), 0);
            ck_assert_int_eq(model_add_line(&model, TEXT("HTTP/1.1 200 OK\r\n")), 0);
        }
        for (unsigned lines = random_below(&random, 16); lines > 0; lines--) {
            /* Of its own size, so that a sanitizer sees who reads beyond it. */
            char line[256];
            size_t size = random_line(&random, line);
            char *copy = malloc(size > 0 ? size : 1);

            ck_assert_ptr_nonnull(copy);
            memcpy(copy, line, size);
            ck_assert_int_eq(uco__http_headers_add_line(&headers, copy, size),
                             model_add_line(&model, copy, size));
            free(copy);
        }
        compare(&headers, &model);
        headers_seen += model.count;
        uco__http_headers_done(&headers);
        model_empty(&model);
        model.begun = false;
    }
    ck_assert_uint_gt(headers_seen, (size_t) scaled(20000));
}
END_TEST

/* --- from a server --- */

#define TRAILERS 2000

/* A body between a head and trailers, of which one would like to be a head. */
static intptr_t
speak_trailers(uco_stream *s, void *arg)
{
    const char *line;

    (void) arg;
    while (uco_stream_read_line(s, &line) > 2)
        ;
    (void) uco_stream_printf(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: first\r\n"
                                "\r\n5\r\nhello\r\n");
    (void) uco_stream_drain(s);
    (void) uco_sleep(1);
    (void) uco_stream_printf(s, "0\r\nHTTP/1.1 200 OK: no\r\n");
    for (int i = 0; i < TRAILERS; i++)
        (void) uco_stream_printf(s, "A: trailer\r\nB%d: trailer\r\n", i);
    (void) uco_stream_printf(s, "\r\n");
    return 0;
}

static void
hear_trailers(struct fixture *f)
{
    uco_server *server = uco_server_start("127.0.0.1", 0, speak_trailers, NULL);
    uco_http_response *response;
    const char *value;
    char url[64], body[16];

    ck_assert_ptr_nonnull(server);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) uco_server_port(server));
    ck_assert_int_eq(uco_http_stream(f->client, &(uco_http_request_options){.url = url}, &response),
                     0);
    value = uco_http_header(response, "a");
    ck_assert_str_eq(value, "first");
    ck_assert_int_eq(uco_http_read(response, body, sizeof body), 5);
    ck_assert_int_eq(uco_http_read(response, body, sizeof body), 0);
    ck_assert_str_eq(value, "first");
    ck_assert_ptr_eq(uco_http_header(response, "a"), value);
    ck_assert_ptr_null(uco_http_header(response, "b0"));
    uco_http_response_free(response);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
}

START_TEST(headers_that_the_user_has_survive_trailers)
{
    serve_virtually(hear_trailers);
}
END_TEST

/* Every other head begins with a fold. */
static intptr_t
speak_folded(uco_stream *s, void *arg)
{
    int *answers = arg;
    const char *line;
    ssize_t r;

    while ((r = uco_stream_read_line(s, &line)) > 0) {
        if (r > 2)
            continue;
        (void) uco_stream_printf(s,
                                 "HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\nX-Last: %0200d\r\n\r\n",
                                 ++*answers % 2 == 0 ? " a: fold\r\n" : "", 0);
        (void) uco_stream_drain(s);
    }
    return 0;
}

static void
hear_folded(struct fixture *f)
{
    int answers = 0;
    uco_server *server = uco_server_start("127.0.0.1", 0, speak_folded, &answers);
    char url[64];

    ck_assert_ptr_nonnull(server);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) uco_server_port(server));
    for (int i = 1; i <= 50; i++) {
        uco_http_response *response;
        int r = uco_http_get(f->client, url, &response);

        /* Some versions of libcurl refuse it. */
        ck_assert(r == 0 || (i % 2 == 0 && r == -EPROTO));
        ck_assert_int_eq(answers, i);
        if (r == 0) {
            ck_assert_ptr_null(uco_http_header(response, "a"));
            ck_assert_str_eq(uco_http_header(response, "content-length"), "0");
        }
        uco_http_response_free(response);
    }
    ck_assert_int_eq(uco_server_close(server, 0), 0);
}

/* libcurl before 8.1 appends it to the last header of the handle's previous transfer, which is
 * freed: AddressSanitizer and valgrind see that. */
START_TEST(a_head_that_begins_with_a_fold_touches_no_earlier_one)
{
    serve_virtually(hear_folded);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http/headers");
    TCase *tc = case_new(suite, "headers");

    tcase_add_test(tc, each_line_is_a_header_or_passed_over);
    tcase_add_test(tc, the_last_line_may_have_no_end);
    tcase_add_test(tc, a_nul_is_refused_wherever_it_is);
    tcase_add_test(tc, nothing_comes_before_the_status_line);
    tcase_add_test(tc, a_status_line_has_a_version_and_a_status);
    tcase_add_test(tc, another_status_line_begins_anew);
    tcase_add_test(tc, what_follows_the_head_is_no_header);
    tcase_add_test(tc, a_sealed_head_does_not_change);
    tcase_add_test(tc, a_line_that_begins_with_a_cr_ends_the_head);
    tcase_add_test(tc, a_header_is_found_by_its_name_and_number);
    tcase_add_test(tc, only_letters_have_two_cases);
    tcase_add_test(tc, nothing_is_found_in_no_head);
    tcase_add_test(tc, a_position_that_was_never_given_is_harmless);
    tcase_add_test(tc, a_head_has_4096_headers_at_most);
    tcase_add_test(tc, a_head_has_a_megabyte_at_most);
    tcase_add_test(tc, a_header_of_10_megabytes_is_refused);
    tcase_add_test(tc, what_is_not_kept_has_an_end_too);
    tcase_add_test(tc, trailers_have_an_end_too);
    tcase_add_test(tc, a_value_of_many_folds_is_put_together_in_time);
    tcase_add_test(tc, a_line_without_memory_is_not_there_and_can_be_added_again);
    tcase_add_test(tc, whatever_comes_is_understood_as_a_simple_model_does);

    tc = case_new(suite, "server");
    tcase_add_test(tc, headers_that_the_user_has_survive_trailers);
    tcase_add_test(tc, a_head_that_begins_with_a_fold_touches_no_earlier_one);
    return suite_end(suite);
}
