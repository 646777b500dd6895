/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events.
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
#define EVENT_MAX ((size_t) 16 * 1024 * 1024) /* as event.c has it */
#define TEXT(text) (text), sizeof(text) - 1

static struct uco__http_response *
stream_new(void)
{
    struct uco__http_store *store = uco__http_store_new();
    struct uco__http_response *response = uco__http_response_new(SIZE_MAX, store);

    ck_assert_ptr_nonnull(response);
    uco__http_store_unref(store); /* the response has a reference */
    response->streamed = true;
    response->loop = uco_get_running_loop();
    response->error = NOT_YET;
    return response;
}

static void
feed(struct uco__http_response *response, const char *bytes, size_t size)
{
    response->pinned = false; /* an event has no pointers into it */
    if (size > 0)
        ck_assert_int_eq(uco__http_response_add_body(response, bytes, size, -1), 0);
}

/* What events say, as "type|data|id|retry\n", with "\0" for a NUL. */
struct story {
    char text[8192];
    size_t size;
};

static void
story_add(struct story *story, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ck_assert_uint_lt(story->size + 3, sizeof story->text);
        if (text[i] == '\0') {
            story->text[story->size++] = '\\';
            story->text[story->size++] = '0';
        } else {
            story->text[story->size++] = text[i];
        }
    }
    story->text[story->size] = '\0';
}

static void
story_tell(struct story *story, const char *type, const char *data, size_t data_size,
           const char *id, long retry)
{
    char number[32];

    story_add(story, type, strlen(type));
    story_add(story, "|", 1);
    story_add(story, data, data_size);
    story_add(story, "|", 1);
    story_add(story, id, strlen(id));
    snprintf(number, sizeof number, "|%ld\n", retry);
    story_add(story, number, strlen(number));
}

/* All events that are there. */
static int
read_all(struct uco__http_response *response, struct story *story)
{
    uco_http_event event;
    int r;

    while ((r = uco_http_read_event(&response->result, &event)) == 1) {
        ck_assert_int_eq(event.data[event.data_size], '\0');
        story_tell(story, event.type, event.data, event.data_size, event.id, event.retry);
    }
    return r;
}

/* A stream that comes in pieces: up to each of the cuts, and the rest. */
static void
read_cut(const char *stream, size_t size, const size_t cuts[], size_t count, struct story *story)
{
    struct uco__http_response *response = stream_new();
    size_t begin = 0;

    *story = (struct story){.size = 0};
    for (size_t i = 0; i <= count; i++) {
        size_t end = i < count ? cuts[i] : size;

        feed(response, stream + begin, end - begin);
        ck_assert_int_eq(read_all(response, story), NOT_YET);
        begin = end;
    }
    response->error = 0;
    ck_assert_int_eq(read_all(response, story), 0);
    ck_assert_int_eq(read_all(response, story), 0);
    uco_http_response_free(&response->result);
}

/* --- what the standard says --- */

static const struct {
    const char *stream;
    size_t size;
    const char *events;
} cases[] = {
    /* The examples of the standard. */
    {TEXT("data: This is the first message.\n"
          "\n"
          "data: This is the second message, it\n"
          "data: has two lines.\n"
          "\n"
          "data: This is the third message.\n"
          "\n"),
     "message|This is the first message.||-1\n"
     "message|This is the second message, it\nhas two lines.||-1\n"
     "message|This is the third message.||-1\n"},
    {TEXT("event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n"
          "event: add\ndata: 113411\n\n"),
     "add|73857293||-1\nremove|2153||-1\nadd|113411||-1\n"},
    {TEXT("data: YHOO\ndata: +2\ndata: 10\n\n"), "message|YHOO\n+2\n10||-1\n"},
    {TEXT(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
          "data:  third event\n"),
     "message|first event|1|-1\nmessage|second event||-1\n"},
    {TEXT("data\n\ndata\ndata\n\ndata:"), "message|||-1\nmessage|\n||-1\n"},
    {TEXT("data:test\n\ndata: test\n\n"), "message|test||-1\nmessage|test||-1\n"},
    /* Ends of lines. */
    {TEXT("data:a\r\n\r\ndata:b\r\n\r\n"), "message|a||-1\nmessage|b||-1\n"},
    {TEXT("data:a\r\rdata:b\r\r"), "message|a||-1\nmessage|b||-1\n"},
    {TEXT("data:a\n\rdata:b\r\n\rdata:c\r\r\n"), "message|a||-1\nmessage|b||-1\nmessage|c||-1\n"},
    {TEXT("data:a\ndata:b\rdata:c\r\ndata:d\r\n\n"), "message|a\nb\nc\nd||-1\n"},
    {TEXT("\r\n\n\r\r\ndata:a\n\n\n\r\n\r"), "message|a||-1\n"},
    {TEXT("data:a\n\r\n\r\n"), "message|a||-1\n"},
    /* The end drops what is not whole. */
    {TEXT(""), ""},
    {TEXT("\n"), ""},
    {TEXT("data:a"), ""},
    {TEXT("data:a\n"), ""},
    {TEXT("id:1\ndata:a\n\nid:2\ndata:b"), "message|a|1|-1\n"},
    /* Values. */
    {TEXT("data: a\n\ndata:a\n\ndata:  a \n\ndata:\ta\n\n"),
     "message|a||-1\nmessage|a||-1\nmessage| a ||-1\nmessage|\ta||-1\n"},
    {TEXT("data: \n\ndata:\n\n"), "message|||-1\nmessage|||-1\n"},
    {TEXT("data::\n\ndata: :a:\n\n"), "message|:||-1\nmessage|:a:||-1\n"},
    {TEXT("data:a\0b\0\n\n"), "message|a\\0b\\0||-1\n"},
    /* Names. */
    {TEXT("Data:a\nDATA:b\ndata :c\n data:d\nda\0ta:e\ndata\0:f\ndataa:g\ndat:h\n\n"), ""},
    {TEXT("data:a\nDATA:b\ndatabase:c\nx\n\n"), "message|a||-1\n"},
    {TEXT("anameoffifteen:a\ndata:b\n\n"), "message|b||-1\n"},
    {TEXT("data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\n"
          "data:3\rdata:\r\n data:32\ndata:4\n\n"),
     "message|\\0\n 2\n1\n3\n\n4||-1\n"},
    /* Comments. */
    {TEXT(":\n\n: \n:data:a\n\n"), ""},
    {TEXT("data:1\r:\0\n:\r\ndata:2\n:a comment\rdata:3\n:data:fail\r:\ndata:4\n\n"),
     "message|1\n2\n3\n4||-1\n"},
    /* No data, no event. */
    {TEXT("event:a\n\ndata:b\n\n"), "message|b||-1\n"},
    {TEXT("event:a\nid:1\n\ndata:b\n\n"), "message|b|1|-1\n"},
    {TEXT("retry:5\n\ndata:b\n\n"), "message|b||5\n"},
    /* Types. */
    {TEXT("event:a\nevent:b\ndata\n\ndata\n\n"), "b|||-1\nmessage|||-1\n"},
    {TEXT("event: a b \ndata\n\nevent:a\nevent\ndata\n\nevent: \ndata\n\n"),
     "a b |||-1\nmessage|||-1\nmessage|||-1\n"},
    {TEXT("data:1\nevent:late\n\n"), "late|1||-1\n"},
    {TEXT("event:\0\ndata\n\nevent:a\0b\ndata\n\n"), "\xef\xbf\xbd|||-1\na\xef\xbf\xbd"
                                                     "b|||-1\n"},
    /* Ids. */
    {TEXT("id:1\ndata\n\ndata\n\nid: 2\ndata\n\n"),
     "message||1|-1\nmessage||1|-1\nmessage||2|-1\n"},
    {TEXT("id:1\ndata\n\nid\ndata\n\nid:2\ndata\n\nid:\ndata\n\nid: \ndata\n\n"),
     "message||1|-1\nmessage|||-1\nmessage||2|-1\nmessage|||-1\nmessage|||-1\n"},
    {TEXT("id:1\nid:a\0b\ndata\n\nid:\0\ndata\n\nid:2\0\ndata\n\n"),
     "message||1|-1\nmessage||1|-1\nmessage||1|-1\n"},
    {TEXT("id:longer than the next\ndata\n\nid:2\ndata\n\nid:and longer again\ndata\n\n"),
     "message||longer than the next|-1\nmessage||2|-1\nmessage||and longer again|-1\n"},
    /* Times. */
    {TEXT("retry:1\ndata\n\nretry: 22\ndata\n\ndata\n\n"),
     "message|||1\nmessage|||22\nmessage|||22\n"},
    {TEXT("retry:3000\nretry:1000x\nretry:x\nretry:-1\nretry:+1\nretry:1.0\nretry: 1 \n"
          "retry:\nretry\nretry:  1\nretry:1\0\ndata\n\n"),
     "message|||3000\n"},
    {TEXT("retry:0\ndata\n\nretry:007\ndata\n\n"), "message|||0\nmessage|||7\n"},
    {TEXT("retry:9223372036854775807\ndata\n\nretry:1\nretry:9223372036854775808\ndata\n\n"
          "retry:2\nretry:100000000000000000000000000000\ndata\n\n"),
     "message|||9223372036854775807\nmessage|||9223372036854775807\n"
     "message|||9223372036854775807\n"},
    /* The byte order mark. */
    {TEXT("\xef\xbb\xbf"
          "data:a\n\n\xef\xbb\xbf"
          "data:b\n\ndata:c\n\n"),
     "message|a||-1\nmessage|c||-1\n"},
    {TEXT("\xef\xbb\xbf\xef\xbb\xbf"
          "data:a\n\ndata:b\n\n"),
     "message|b||-1\n"},
    {TEXT("\xef\xbb\xbf\n\xef\xbb\xbf: x\ndata:\xef\xbb\xbf\n\n"), "message|\xef\xbb\xbf||-1\n"},
    {TEXT("\xef\xbb\xbf:comment\ndata:a\n\n"), "message|a||-1\n"},
    {TEXT("\xef"
          "data:a\ndata:b\n\n"),
     "message|b||-1\n"},
    {TEXT("\xef\xbb"
          "data:a\ndata:b\n\n"),
     "message|b||-1\n"},
    {TEXT("\xef\xbb\ndata:b\n\n"), "message|b||-1\n"},
    {TEXT("\xef:x\ndata:b\n\n"), "message|b||-1\n"},
    {TEXT("\xef\xbb\xbf"), ""},
    {TEXT("\xef\xbb"), ""},
    /* UTF-8, and what is not. */
    {TEXT("data:\xe2\x82\xac \xc3\xa9 \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\n"
          "event:\xc3\xa9\nid:\xe2\x82\xac\n\n"),
     "\xc3\xa9|\xe2\x82\xac \xc3\xa9 \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 "
     "\xf4\x8f\xbf\xbf|\xe2\x82\xac|-1\n"},
    {TEXT("data:a\xff"
          "b\x80"
          "c\n\n"),
     "message|a\xef\xbf\xbd"
     "b\xef\xbf\xbd"
     "c||-1\n"},
    {TEXT("data:\xe2\x82\n\ndata:\xe2\x82 \n\ndata:\xe2\x82\xe2\x82\xac\n\n"),
     "message|\xef\xbf\xbd||-1\nmessage|\xef\xbf\xbd ||-1\n"
     "message|\xef\xbf\xbd\xe2\x82\xac||-1\n"},
    {TEXT("data:\xf0\x9f\x98\n\ndata:\xf0\x9f\x98\xf0\n\n"),
     "message|\xef\xbf\xbd||-1\nmessage|\xef\xbf\xbd\xef\xbf\xbd||-1\n"},
    {TEXT("data:\xc0\xaf\n\ndata:\xe0\x80\xaf\n\ndata:\xed\xa0\x80\n\ndata:\xf4\x90\x80\x80\n\n"),
     "message|\xef\xbf\xbd\xef\xbf\xbd||-1\n"
     "message|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd||-1\n"
     "message|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd||-1\n"
     "message|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd||-1\n"},
    {TEXT("event:\xe9\nid:\xe9\ndata:\xf5\xc1\n\ndata:\xe2\ndata:\x82\xac\n\n"),
     "\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|-1\n"
     "message|\xef\xbf\xbd\n\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|-1\n"},
};

static intptr_t
read_cases_whole(void *arg)
{
    static struct story story;

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_cut(cases[i].stream, cases[i].size, NULL, 0, &story);
        ck_assert_msg(strcmp(story.text, cases[i].events) == 0, "%zu, %s: %s", i, cases[i].stream,
                      story.text);
    }
    return 0;
}

START_TEST(events_are_what_the_standard_says)
{
    ck_assert_int_eq(run_virtual(read_cases_whole, NULL), 0);
}
END_TEST

static intptr_t
read_cases_cut(void *arg)
{
    static struct story story;

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t cut = 1; cut < cases[i].size; cut++) {
            read_cut(cases[i].stream, cases[i].size, &cut, 1, &story);
            ck_assert_msg(strcmp(story.text, cases[i].events) == 0, "%zu, cut at %zu: %s", i, cut,
                          story.text);
        }
    }
    return 0;
}

START_TEST(where_a_stream_is_cut_does_not_matter)
{
    ck_assert_int_eq(run_virtual(read_cases_cut, NULL), 0);
}
END_TEST

static intptr_t
read_cases_bytewise(void *arg)
{
    static struct story story;
    size_t cuts[512];

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ck_assert_uint_lt(cases[i].size, COUNT(cuts));
        for (size_t cut = 0; cut < cases[i].size; cut++)
            cuts[cut] = cut;
        read_cut(cases[i].stream, cases[i].size, cuts, cases[i].size, &story);
        ck_assert_msg(strcmp(story.text, cases[i].events) == 0, "%zu: %s", i, story.text);
    }
    return 0;
}

START_TEST(a_stream_may_come_byte_by_byte)
{
    ck_assert_int_eq(run_virtual(read_cases_bytewise, NULL), 0);
}
END_TEST

/* Nobody may write to its text. */
static intptr_t
read_cases_in_memory(void *arg)
{
    static struct story story;

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uco__http_response *response = stream_new();

        response->streamed = false;
        response->error = 0;
        feed(response, cases[i].stream, cases[i].size);
        story.size = 0;
        story.text[0] = '\0';
        ck_assert_int_eq(read_all(response, &story), 0);
        ck_assert_str_eq(story.text, cases[i].events);
        if (cases[i].size > 0)
            ck_assert_mem_eq(response->body, cases[i].stream, cases[i].size);
        uco_http_response_free(&response->result);
    }
    return 0;
}

START_TEST(events_are_read_from_a_response_in_memory_too)
{
    ck_assert_int_eq(run_virtual(read_cases_in_memory, NULL), 0);
}
END_TEST

static intptr_t
read_before_the_lf(void *arg)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    feed(response, TEXT("data:a\r\n\r"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_str_eq(event.data, "a");
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
    feed(response, TEXT("\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
    feed(response, TEXT("data:b\n\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_str_eq(event.data, "b");
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(an_event_does_not_wait_for_the_lf_of_its_cr)
{
    ck_assert_int_eq(run_virtual(read_before_the_lf, NULL), 0);
}
END_TEST

/* Who reads on by other means finds what was not yet an event's. */
static intptr_t
read_after_an_event(void *arg)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;
    char rest[32];

    (void) arg;
    feed(response, TEXT("data:a\n\nthe rest"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_int_eq(uco_http_read(&response->result, rest, sizeof rest), 8);
    ck_assert_mem_eq(rest, "the rest", 8);
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(nothing_behind_an_event_is_taken_with_it)
{
    ck_assert_int_eq(run_virtual(read_after_an_event, NULL), 0);
}
END_TEST

/* --- too much --- */

static void
feed_many(struct uco__http_response *response, char byte, size_t count)
{
    char *bytes = malloc(count > 0 ? count : 1);

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, byte, count);
    feed(response, bytes, count);
    free(bytes);
}

static intptr_t
read_large(void *arg)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    feed(response, TEXT("data:"));
    feed_many(response, 'x', EVENT_MAX);
    feed(response, TEXT("\n\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_uint_eq(event.data_size, EVENT_MAX);
    ck_assert_uint_eq(strspn(event.data, "x"), EVENT_MAX);
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(an_event_may_have_16_megabytes)
{
    ck_assert_int_eq(run_virtual(read_large, NULL), 0);
}
END_TEST

/* What may make an event too large: a field, its value, and what its lines have before that. */
static const struct {
    const char *before;
    const char *field;
    size_t size;
} too_large[] = {
    {"", "data:", EVENT_MAX + 1},         {"", "data:", 3 * EVENT_MAX},
    {"data:x\n", "data:", EVENT_MAX - 1}, {"", "event:", EVENT_MAX + 2},
    {"event:x\n", "data:", EVENT_MAX},    {"data:x\n", "event:", EVENT_MAX},
    {"", "id:", EVENT_MAX + 2},           {"id:x\ndata\n", "id:", EVENT_MAX + 2},
};

static intptr_t
read_too_large(void *arg)
{
    (void) arg;
    for (size_t i = 0; i < COUNT(too_large); i++) {
        struct uco__http_response *response = stream_new();
        uco_http_event event = {.type = "untouched"};

        feed(response, TEXT("id:0\ndata\n\n"));
        ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
        feed(response, too_large[i].before, strlen(too_large[i].before));
        feed(response, too_large[i].field, strlen(too_large[i].field));
        feed_many(response, 'y', too_large[i].size);
        feed(response, TEXT("\nretry:7\nevent:dropped\ndata:dropped\n\ndata:next\n\n"));
        event.type = "untouched";
        ck_assert_int_eq(uco_http_read_event(&response->result, &event), -EMSGSIZE);
        ck_assert_str_eq(event.type, "untouched");
        ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
        ck_assert_str_eq(event.type, "message");
        ck_assert_str_eq(event.data, "next");
        ck_assert_str_eq(event.id, strncmp(too_large[i].before, "id:x", 4) == 0 ? "x" : "0");
        ck_assert_int_eq(event.retry, 7);
        ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
        uco_http_response_free(&response->result);
    }
    return 0;
}

START_TEST(an_event_that_is_too_large_is_told_once_and_dropped)
{
    ck_assert_int_eq(run_virtual(read_too_large, NULL), 0);
}
END_TEST

/* So that who connects again is not sent it again. */
static intptr_t
read_id_of_too_large(void *arg)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    feed(response, TEXT("data:"));
    feed_many(response, 'y', EVENT_MAX + 1);
    feed(response, TEXT("\nid:poison\n\ndata:next\n\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), -EMSGSIZE);
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_str_eq(event.id, "poison");
    ck_assert_str_eq(event.data, "next");
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(the_id_of_an_event_that_is_too_large_counts)
{
    ck_assert_int_eq(run_virtual(read_id_of_too_large, NULL), 0);
}
END_TEST

static intptr_t
read_many_lines(void *arg)
{
    static char lines[5 * 16384];
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    for (size_t i = 0; i < sizeof lines; i += 5)
        memcpy(lines + i, "data\n", 5);
    /* A LF each, of which the last does not count. */
    for (size_t count = 0; count < EVENT_MAX; count += sizeof lines / 5) {
        feed(response, lines, sizeof lines);
        ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
    }
    feed(response, TEXT("data\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
    feed(response, TEXT("data\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), -EMSGSIZE);
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(lines_without_data_have_a_limit_too)
{
    ck_assert_int_eq(run_virtual(read_many_lines, NULL), 0);
}
END_TEST

static intptr_t
read_comments(void *arg)
{
    static const char *const lines[] = {":", "unknown:", "unknown", "retry:", "DATA:"};
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    for (size_t i = 0; i < COUNT(lines); i++) {
        feed(response, lines[i], strlen(lines[i]));
        for (size_t size = 0; size < 2 * EVENT_MAX; size += 1 << 20) {
            feed_many(response, '1', 1 << 20);
            ck_assert_int_eq(uco_http_read_event(&response->result, &event), NOT_YET);
        }
        feed(response, TEXT("\n"));
    }
    feed(response, TEXT("data:a\n\n"));
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), 1);
    ck_assert_str_eq(event.data, "a");
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(what_means_nothing_may_be_as_long_as_it_likes)
{
    ck_assert_int_eq(run_virtual(read_comments, NULL), 0);
}
END_TEST

/* --- without memory --- */

static const char stream_of_memory[] = "event:a type\nid:1\ndata:first\ndata:line\xe2\x82\xac\n\n"
                                       "id\ndata\n\n"
                                       "event:\xff\ndata:\xe2\x82\nid:2\n\n";

static intptr_t
read_without_memory(void *arg)
{
    static struct story expected, story;

    (void) arg;
    read_cut(TEXT(stream_of_memory), NULL, 0, &expected);
    for (unsigned long nth = 1;; nth++) {
        struct uco__http_response *response = stream_new();
        unsigned failed = 0;
        int r;

        feed(response, TEXT(stream_of_memory));
        story.size = 0;
        ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
        while ((r = read_all(response, &story)) == -ENOMEM)
            failed++;
        uco_test_fail_off();
        ck_assert_int_eq(r, NOT_YET);
        ck_assert_uint_le(failed, 1);
        ck_assert_str_eq(story.text, expected.text);
        uco_http_response_free(&response->result);
        if (failed == 0) {
            ck_assert_uint_gt(nth, 4);
            return 0;
        }
    }
}

START_TEST(without_memory_nothing_is_lost)
{
    ck_assert_int_eq(run_virtual(read_without_memory, NULL), 0);
}
END_TEST

/* --- anything at all, and a simple model --- */

/* The standard's steps one after the other, over the whole stream: it is decoded, cut into lines,
 * and each line is looked at. */
struct model {
    char *data;
    size_t size;
    char type[1024];
    char id[1024];
    long retry;
};

/* How many bytes the character has, or (0) how many are none, in *bad. */
static size_t
model_character(const unsigned char *at, size_t left, size_t *bad)
{
    size_t whole = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    size_t n = 1;

    *bad = 1;
    if (whole == 0 || *at > 0xf4)
        return 0;
    for (; n < whole && n < left; n++) {
        unsigned char low = 0x80, high = 0xbf;

        if (n == 1) {
            low = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : low;
            high = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : high;
        }
        if (at[n] < low || at[n] > high)
            break;
    }
    *bad = n;
    return n == whole ? whole : 0;
}

static char *
model_decode(const char *stream, size_t size, size_t *decoded)
{
    char *text = malloc(3 * size + 1);
    size_t i = size >= 3 && memcmp(stream, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    ck_assert_ptr_nonnull(text);
    *decoded = 0;
    while (i < size) {
        size_t bad;
        size_t n = model_character((const unsigned char *) stream + i, size - i, &bad);

        memcpy(text + *decoded, n > 0 ? stream + i : "\xef\xbf\xbd", n > 0 ? n : 3);
        *decoded += n > 0 ? n : 3;
        i += n > 0 ? n : bad;
    }
    return text;
}

static void
model_field(struct model *model, const char *name, size_t name_size, const char *value, size_t size)
{
    char text[1024];

    memcpy(text, value, size);
    text[size] = '\0';
    if (name_size == 4 && memcmp(name, "data", 4) == 0) {
        memcpy(model->data + model->size, value, size);
        model->size += size;
        model->data[model->size++] = '\n';
    } else if (name_size == 5 && memcmp(name, "event", 5) == 0) {
        model->type[0] = '\0';
        for (size_t i = 0; i < size; i++)
            strcat(model->type, text[i] != '\0' ? (char[]){text[i], '\0'} : "\xef\xbf\xbd");
    } else if (name_size == 2 && memcmp(name, "id", 2) == 0) {
        if (memchr(value, '\0', size) == NULL)
            strcpy(model->id, text);
    } else if (name_size == 5 && memcmp(name, "retry", 5) == 0) {
        if (size > 0 && strspn(text, "0123456789") == size)
            model->retry = strtol(text, NULL, 10);
    }
}

static void
model_line(struct model *model, const char *line, size_t size, struct story *story)
{
    const char *colon = memchr(line, ':', size);
    const char *value = colon != NULL ? colon + 1 : line + size;

    if (size == 0) {
        if (model->size > 0)
            story_tell(story, model->type[0] != '\0' ? model->type : "message", model->data,
                       model->size - 1, model->id, model->retry);
        model->size = 0;
        model->type[0] = '\0';
        return;
    }
    if (colon != NULL && value < line + size && *value == ' ')
        value++;
    model_field(model, line, colon != NULL ? (size_t) (colon - line) : size, value,
                (size_t) (line + size - value));
}

static void
model_read(const char *stream, size_t size, struct story *story)
{
    struct model model = {.retry = -1, .data = malloc(4 * size + 1)};
    size_t begin = 0, length;
    char *text = model_decode(stream, size, &length);

    ck_assert_ptr_nonnull(model.data);
    *story = (struct story){.size = 0};
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '\n' && text[i] != '\r')
            continue;
        model_line(&model, text + begin, i - begin, story);
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n')
            i++;
        begin = i + 1;
    }
    free(model.data);
    free(text);
}

static unsigned
random_below(uint64_t *state, unsigned n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned) (*state >> 33) % n;
}

static size_t
random_stream(uint64_t *random, char *stream)
{
    static const char *const pieces[] = {
        "data",  "data:",  "data: ", "event", "event:", "id",           "id:",  "id: ",
        "retry", "retry:", "\n",     "\n",    "\r",     "\r\n",         "\n\n", ":",
        " ",     "a",      "7",      "12",    "dat",    "\xef\xbb\xbf", "\xef", "\xbb",
        "\xe2",  "\x82",   "\xac",   "\xf0",  "\x9f",   "\xc3\xa9",     "\xed", "\xff",
    };
    size_t size = 0;

    for (unsigned count = random_below(random, 24); count > 0; count--) {
        const char *piece = pieces[random_below(random, COUNT(pieces))];

        if (random_below(random, 30) == 0)
            stream[size++] = '\0';
        memcpy(stream + size, piece, strlen(piece));
        size += strlen(piece);
        if (piece[strlen(piece) - 1] == '\n' && random_below(random, 2) == 0)
            stream[size++] = '\n';
    }
    return size;
}

static intptr_t
read_random(void *arg)
{
    static struct story expected, story;
    uint64_t random = 6;
    size_t told = 0;

    (void) arg;
    for (int i = scaled(30000); i > 0; i--) {
        char stream[256];
        size_t size = random_stream(&random, stream);
        size_t cuts[3] = {random_below(&random, (unsigned) size + 1), 0, 0};

        cuts[1] = cuts[0] + random_below(&random, (unsigned) (size - cuts[0]) + 1);
        cuts[2] = cuts[1] + random_below(&random, (unsigned) (size - cuts[1]) + 1);
        model_read(stream, size, &expected);
        read_cut(stream, size, cuts, random_below(&random, 4), &story);
        ck_assert_msg(story.size == expected.size && strcmp(story.text, expected.text) == 0,
                      "\"%.*s\": %s, and not %s", (int) size, stream, story.text, expected.text);
        told += story.size;
    }
    ck_assert_uint_gt(told, 1000);
    return 0;
}

START_TEST(whatever_comes_is_understood_as_a_simple_model_does)
{
    ck_assert_int_eq(run_virtual(read_random, NULL), 0);
}
END_TEST

/* --- misuse --- */

static intptr_t
read_nothing(void *arg)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    (void) arg;
    ck_assert_int_eq(uco_http_read_event(NULL, &event), -EINVAL);
    ck_assert_int_eq(uco_http_read_event(&response->result, NULL), -EINVAL);
    uco_http_response_free(&response->result);
    return 0;
}

START_TEST(an_event_needs_a_response_and_a_place)
{
    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(run_virtual(read_nothing, NULL), 0);
}
END_TEST

START_TEST(only_a_coroutine_reads_events)
{
    struct uco__http_response *response = stream_new();
    uco_http_event event;

    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(uco_http_read_event(&response->result, &event), -EPERM);
    ck_assert_int_eq(uco_http_read_event(NULL, &event), -EPERM);
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
expect_event(uco_http_response *response, const char *data, const char *id)
{
    uco_http_event event;

    ck_assert_int_eq(uco_http_read_event(response, &event), 1);
    ck_assert_str_eq(event.data, data);
    ck_assert_str_eq(event.id, id);
}

static const char *const three_events[] = {
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "data: one\nid: 1\n\nda",
    "ta: two\r\r",
    "\n: nothing\n\n",
    "data: three\r\n\r\ndata: lost",
    NULL,
};

static void
hear_events(struct fixture *f)
{
    double began = uco_time();
    uco_server *server;
    uco_http_response *response = hear(f, three_events, &server);
    uco_http_event event;

    expect_event(response, "one", "1");
    ck_assert_double_lt(uco_time() - began, 1.5);
    expect_event(response, "two", "1");
    ck_assert_double_lt(uco_time() - began, 2.5);
    expect_event(response, "three", "1");
    ck_assert_double_gt(uco_time() - began, 3.5);
    ck_assert_int_eq(uco_http_read_event(response, &event), 0);
    ck_assert_int_eq(uco_http_read_event(response, &event), 0);
    hear_no_more(response, server);
}

START_TEST(an_event_comes_when_it_is_whole)
{
    serve_virtually(hear_events);
}
END_TEST

static void
hear_events_impatiently(struct fixture *f)
{
    static const char *const expected[] = {"one", "two", "three"};
    unsigned timeouts = 0;
    uco_server *server;
    uco_http_response *response = hear(f, three_events, &server);

    for (size_t i = 0; i < COUNT(expected);) {
        uco_http_event event;
        uco_scope scope;
        intptr_t r;

        ck_assert_int_eq(uco_scope_open(&scope, 0.3), 0);
        r = uco_http_read_event(response, &event);
        r = uco_scope_close(&scope, r);
        ck_assert(r == 1 || r == -ETIMEDOUT);
        if (r == 1)
            ck_assert_str_eq(event.data, expected[i++]);
        timeouts += r < 0;
    }
    ck_assert_uint_gt(timeouts, 4);
    hear_no_more(response, server);
}

START_TEST(an_event_that_is_given_up_is_read_whole_later)
{
    serve_virtually(hear_events_impatiently);
}
END_TEST

static void
hear_large(struct fixture *f)
{
    static char data[900001];
    const char *const pieces[] = {"HTTP/1.1 200 OK\r\n\r\ndata:small\n\ndata:", data,
                                  "\n\ndata:small\n\n", NULL};
    uco_server *server;
    uco_http_response *response = hear(f, pieces, &server);
    uco_http_event event;

    memset(data, 'x', sizeof data - 1);
    ck_assert_int_eq(uco_http_read_event(response, &event), 1);
    /* As much comes meanwhile as may. */
    ck_assert_int_eq(uco_sleep(5), 0);
    ck_assert_str_eq(event.data, "small");
    expect_event(response, data, "");
    expect_event(response, "small", "");
    hear_no_more(response, server);
}

START_TEST(an_event_stays_until_the_next_call_and_may_be_larger_than_what_is_received_ahead)
{
    serve_virtually(hear_large);
}
END_TEST

static void
hear_broken(struct fixture *f)
{
    static const char *const pieces[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndata:one\n\ndata:two\n", NULL};
    uco_server *server;
    uco_http_response *response = hear(f, pieces, &server);
    uco_http_event event;

    expect_event(response, "one", "");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_http_read_event(response, &event), -EPROTO);
    hear_no_more(response, server);
}

START_TEST(a_stream_of_events_that_breaks_off_is_an_error)
{
    serve_virtually(hear_broken);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http/events");
    TCase *tc = case_new(suite, "standard");

    tcase_add_test(tc, events_are_what_the_standard_says);
    tcase_add_test(tc, where_a_stream_is_cut_does_not_matter);
    tcase_add_test(tc, a_stream_may_come_byte_by_byte);
    tcase_add_test(tc, events_are_read_from_a_response_in_memory_too);
    tcase_add_test(tc, an_event_does_not_wait_for_the_lf_of_its_cr);
    tcase_add_test(tc, nothing_behind_an_event_is_taken_with_it);
    tcase_add_test(tc, whatever_comes_is_understood_as_a_simple_model_does);

    tc = case_new(suite, "limits");
    tcase_add_test(tc, an_event_may_have_16_megabytes);
    tcase_add_test(tc, an_event_that_is_too_large_is_told_once_and_dropped);
    tcase_add_test(tc, the_id_of_an_event_that_is_too_large_counts);
    tcase_add_test(tc, lines_without_data_have_a_limit_too);
    tcase_add_test(tc, what_means_nothing_may_be_as_long_as_it_likes);
    tcase_add_test(tc, without_memory_nothing_is_lost);

    tc = case_new(suite, "server");
    tcase_add_test(tc, an_event_comes_when_it_is_whole);
    tcase_add_test(tc, an_event_that_is_given_up_is_read_whole_later);
    tcase_add_test(
        tc, an_event_stays_until_the_next_call_and_may_be_larger_than_what_is_received_ahead);
    tcase_add_test(tc, a_stream_of_events_that_breaks_off_is_an_error);

    tc = case_new(suite, "misuse");
    tcase_add_test(tc, an_event_needs_a_response_and_a_place);
    tcase_add_test(tc, only_a_coroutine_reads_events);
    return suite_end(suite);
}
