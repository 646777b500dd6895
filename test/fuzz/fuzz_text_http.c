/* SPDX-License-Identifier: MIT */

/* URLs, headers, ranges, and bodies by lines and events. */

#include "fuzz_text.h"

#include "http/headers.h"
#include "http/response.h"
#include "http/store.h"
#include "http/url.h"
#include "http/version.h"
#include "http/websocket_frame.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uco/http.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- URLs: ours and curl's way to read one agree, and no password is shown --- */

static void
url_check_shown(const char *url)
{
    char *shown = malloc(TEXT_MAX + 1), *user = NULL;
    CURLU *parts = curl_url();

    if (shown == NULL || parts == NULL)
        abort();
    uco__http_url_show(shown, TEXT_MAX + 1, url);
    if (strlen(shown) > strlen(url))
        text_mismatch("shown as '%s'", shown);
    if (curl_url_set(parts, CURLUPART_URL, shown, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK)
        text_mismatch("shown as '%s', with a user", shown);
    curl_free(user);
    curl_url_cleanup(parts);
    free(shown);
}

static void
origin_check(const struct uco__http_origin *origin)
{
    char host[INET_ADDRSTRLEN + 1] = "";
    struct in_addr address;

    if (origin->host_length < sizeof host)
        memcpy(host, origin->key, origin->host_length);
    if (origin->numeric != (origin->key[0] == '[' || inet_pton(AF_INET, host, &address) == 1))
        text_mismatch("%s: an address, or a name", origin->key);
}

static void
url_run(struct text_input *input)
{
    struct uco__http_origin origin = {0}, curls = {0};
    const char *url = input->bytes, *why = NULL;
    int r = uco__http_origin_init(&origin, url, &why);
    int by_curl = uco__http_origin_init_by_curl(&curls, url, &why);
    char *joined = uco__http_url_join("http://base.invalid/folder/", url);

    if (r != by_curl || (r != 0 && r != -EINVAL))
        text_mismatch("%d, but %d by curl", r, by_curl);
    if (r == 0 && (strcmp(origin.key, curls.key) != 0 || origin.tls != curls.tls ||
                   origin.numeric != curls.numeric || !uco__http_origin_same(&origin, &curls)))
        text_mismatch("%s, but %s by curl", origin.key, curls.key);
    if (r == 0)
        origin_check(&origin);
    if (joined == NULL)
        text_mismatch("no joined URL");
    if (r == 0)
        url_check_shown(url);
    free(joined);
    uco__http_origin_done(&origin);
    uco__http_origin_done(&curls);
}

/* A NUL ends what the parser sees: short texts are the likelier ones. */
static const struct text_piece url_pieces[] = {
    PIECE("http://"),
    PIECE("https://"),
    PIECE("http:"),
    PIECE("/"),
    PIECE("//"),
    PIECE("?"),
    PIECE("#"),
    PIECE(":"),
    PIECE(":80"),
    PIECE(":443"),
    PIECE(":65536"),
    PIECE("@"),
    PIECE("user"),
    PIECE(":pass@"),
    PIECE("host"),
    PIECE("a"),
    PIECE("."),
    PIECE(".."),
    PIECE("1"),
    PIECE("127.0.0.1"),
    PIECE("\0"),
    PIECE("\0"),
    PIECE("256.0.0.1"),
    PIECE("300"),
    PIECE("0x7f"),
    PIECE("%41"),
    PIECE("%"),
    PIECE("[::1]"),
    PIECE("["),
    PIECE("]"),
    PIECE("[fe80::1%25eth0]"),
    PIECE("-"),
    PIECE("_"),
    PIECE("xn--"),
    PIECE(" "),
    PIECE("\x01"),
    PIECE("\xc3\xa4"),
    PIECE("A"),
    PIECE("HTTP"),
    PIECE("\\"),
    PIECE("ftp://"),
    PIECE("path/x"),
    PIECE("\t"),
};

const struct text_target text_url = {
    .target.name = "url",
    .pieces = url_pieces,
    .piece_count = COUNT(url_pieces),
    .run = url_run,
};

/* --- headers: what is kept can be shown and found --- */

static size_t
headers_check(const struct uco__http_headers *headers)
{
    size_t position = 0, count = 0;
    const char *name, *value;

    while (uco__http_headers_next(headers, &position, &name, &value)) {
        size_t before = 0, at = 0;
        const char *other, *ignored;

        while (at < position - 1 && uco__http_headers_next(headers, &at, &other, &ignored))
            before += strcasecmp(other, name) == 0;
        if (uco__http_headers_find(headers, name, before) != value)
            text_mismatch("'%s' is not found", name);
        if (name[0] == '\0' || name[strcspn(name, ": \t\r\n\x01\x7f")] != '\0')
            text_mismatch("a name '%s'", name);
        if (value[strcspn(value, "\r\n")] != '\0' || value[0] == ' ' || value[0] == '\t' ||
            (value[0] != '\0' && strchr(" \t", value[strlen(value) - 1]) != NULL))
            text_mismatch("a value '%s'", value);
        count++;
    }
    return count;
}

static void
headers_run(struct text_input *input)
{
    struct uco__http_headers headers = {0};
    size_t seal_at = input->random % 16 == 1 ? text_below(input, 10) : SIZE_MAX;
    size_t count = 0;
    int r = 0;

    for (size_t at = 0, line = 0; r == 0 && at < input->size; line++) {
        const char *end = memchr(input->bytes + at, '\n', input->size - at);
        size_t size = end != NULL ? (size_t) (end + 1 - input->bytes) - at : input->size - at;
        /* A block of its own, so that a byte behind it is seen to be read. */
        char *copy = malloc(size);

        if (copy == NULL)
            abort();
        memcpy(copy, input->bytes + at, size);
        r = uco__http_headers_add_line(&headers, copy, size);
        free(copy);
        at += size;
        if (r != 0 && r != -EPROTO)
            text_mismatch("a line: %d", r);
        if (line > seal_at && headers_check(&headers) != count)
            text_mismatch("a sealed head has changed");
        if (line == seal_at) {
            uco__http_headers_seal(&headers);
            count = headers_check(&headers);
        }
    }
    headers_check(&headers);
    uco__http_headers_done(&headers);
}

static const struct text_piece headers_pieces[] = {
    PIECE("HTTP/1.1 200 OK\r\n"),
    PIECE("HTTP/2 204\r\n"),
    PIECE("HTTP/1.1 100 go on\r\n\r\n"),
    PIECE("\r\n"),
    PIECE("\n"),
    PIECE("\r"),
    PIECE(": "),
    PIECE(":"),
    PIECE(" "),
    PIECE("\t"),
    PIECE("Name"),
    PIECE("name: value\r\n"),
    PIECE("A: 1\r\n"),
    PIECE("a:2\n"),
    PIECE(" folded\r\n"),
    PIECE("Content-Length: 5\r\n"),
    PIECE("Set-Cookie: a=b; path=/\r\n"),
    PIECE("X"),
    PIECE("\r\n\r\n"),
    PIECE("HTTP/"),
    PIECE("1.1 "),
    PIECE("404"),
    PIECE("@"),
    PIECE("`"),
    PIECE("{|}"),
    PIECE("[\\]"),
    PIECE("\x7f"),
    PIECE("\xc3\xa9"),
};

const struct text_target text_headers = {
    .target.name = "headers",
    .pieces = headers_pieces,
    .piece_count = COUNT(headers_pieces),
    .run = headers_run,
};

/* --- Content-Range, and the note beside a part --- */

static void
range_run(struct text_input *input)
{
    struct uco__http_content_range range = {0};
    struct uco__http_version version;
    char text[UCO__HTTP_NOTE_MAX];

    if (uco__http_content_range_parse(&range, input->bytes) &&
        (range.first > range.last || (range.first < 0) != (range.last < 0) || range.first < -1 ||
         range.size < -1 || (range.size >= 0 && range.last >= range.size)))
        text_mismatch("bytes %jd-%jd/%jd", (intmax_t) range.first, (intmax_t) range.last,
                      (intmax_t) range.size);
    if (!uco__http_version_parse(&version, input->bytes)) {
        if (version.validator[0] != '\0' || version.size != -1)
            text_mismatch("a version of none");
        return;
    }
    if (uco__http_version_print(&version, text) >= sizeof text)
        text_mismatch("a note of %zu bytes", strlen(text));
    /* Digits before it make the same number. */
    if (strstr(input->bytes, "Size: 0") == NULL && strcmp(text, input->bytes) != 0)
        text_mismatch("printed as '%s'", text);
}

static const struct text_piece range_pieces[] = {
    PIECE("bytes "),
    PIECE("\0"),
    PIECE("\0"),
    PIECE("\0"),
    PIECE("bytes 5-9/"),
    PIECE("bytes 5-"),
    PIECE("bytes */"),
    PIECE("BYTES\t"),
    PIECE("0-9/10"),
    PIECE("*"),
    PIECE("/"),
    PIECE("-"),
    PIECE("0"),
    PIECE("9"),
    PIECE("123"),
    PIECE("9223372036854775807"),
    PIECE("92233720368547758"),
    PIECE("If-Range: "),
    PIECE("\"abc\""),
    PIECE("\n"),
    PIECE("Size: "),
    PIECE(" "),
    PIECE("+"),
    PIECE("If-Range: \"1\"\nSize: "),
    PIECE("If-Range: Mon, 01 Jan 2024 00:00:00 GMT\nSize: 5\n"),
};

const struct text_target text_range = {
    .target.name = "range",
    .pieces = range_pieces,
    .piece_count = COUNT(range_pieces),
    .run = range_run,
};

/* --- bodies: where they are cut does not matter --- */

/* What was read of a body, one thing after the other. */
struct story {
    char bytes[8 * TEXT_MAX];
    size_t size;
};

static void
story_add(struct story *story, const void *bytes, size_t size)
{
    if (size > sizeof story->bytes - story->size)
        text_mismatch("more is read than there is");
    memcpy(story->bytes + story->size, bytes, size);
    story->size += size;
}

static struct uco__http_response *
body_new(void)
{
    struct uco__http_store *store = uco__http_store_new();
    struct uco__http_response *response = uco__http_response_new(SIZE_MAX, store);

    if (response == NULL)
        abort();
    uco__http_store_unref(store); /* the response has a reference */
    response->streamed = true;
    response->loop = uco_get_running_loop();
    response->error = TEXT_NOT_YET;
    return response;
}

/* All events that are there. */
static int
events_read(struct uco__http_response *response, struct story *story)
{
    uco_http_event event;
    char retry[32];
    int r;

    while ((r = uco_http_read_event(&response->result, &event)) == 1) {
        if (event.data[event.data_size] != '\0' || event.retry < -1 || event.type[0] == '\0')
            text_mismatch("an event without an end, a type or a time");
        if (!uco__websocket_is_utf8(event.data, event.data_size) ||
            !uco__websocket_is_utf8(event.type, strlen(event.type)) ||
            !uco__websocket_is_utf8(event.id, strlen(event.id)))
            text_mismatch("an event that is no UTF-8");
        snprintf(retry, sizeof retry, "%ld", event.retry);
        story_add(story, event.type, strlen(event.type) + 1);
        story_add(story, event.data, event.data_size + 1);
        story_add(story, event.id, strlen(event.id) + 1);
        story_add(story, retry, strlen(retry) + 1);
    }
    return r;
}

/* All lines that are there; a line of `max` bytes that is too long is read in any case. */
static int
lines_read(struct uco__http_response *response, struct story *story, size_t max)
{
    for (;;) {
        const char *line = "untouched";
        ssize_t r = uco_http_read_line(&response->result, &line, max);

        if (r == -EMSGSIZE && line == NULL) {
            r = uco_http_read_line(&response->result, &line, 0);
            if (line != NULL && (size_t) r <= max)
                text_mismatch("a line of %zd bytes is too long for %zu", r, max);
        } else if (r > (ssize_t) max) {
            text_mismatch("a line of %zd bytes is not too long for %zu", r, max);
        }
        if (line == NULL)
            return (int) r;
        if (r < 0 || line[r] != '\0')
            text_mismatch("a line of %zd bytes", r);
        story_add(story, line, (size_t) r);
        story_add(story, "\n", 1);
    }
}

struct reading {
    bool events;
    bool cut;
    size_t max; /* bytes of a line */
};

static int
body_read(struct uco__http_response *response, struct story *story, const struct reading *reading)
{
    return reading->events ? events_read(response, story)
                           : lines_read(response, story, reading->max);
}

static void
body_tell(struct text_input *input, struct story *story, const struct reading *reading)
{
    struct uco__http_response *response = body_new();
    int r;

    story->size = 0;
    for (size_t at = 0, size; at < input->size; at += size) {
        size = reading->cut ? text_cut(input, at) : input->size;
        response->pinned = false; /* nothing that was read is held */
        r = uco__http_response_add_body(response, input->bytes + at, size, -1);
        if (r == 0)
            r = body_read(response, story, reading);
        if (r != TEXT_NOT_YET)
            text_mismatch("in the middle: %d", r);
    }
    response->error = 0;
    r = body_read(response, story, reading);
    if (r != 0)
        text_mismatch("at the end: %d", r);
    uco_http_response_free(&response->result);
}

static void
body_compare(struct text_input *input, bool events, struct story *whole)
{
    struct story *cut = calloc(1, sizeof *cut);
    struct reading reading = {.events = events, .max = 1 + text_below(input, 40)};

    if (cut == NULL)
        abort();
    body_tell(input, whole, &reading);
    for (int i = 0; i < 2; i++) {
        reading.cut = true;
        body_tell(input, cut, &reading);
        if (cut->size != whole->size || memcmp(cut->bytes, whole->bytes, whole->size) != 0)
            text_mismatch("cut, it says something else");
    }
    free(cut);
}

static intptr_t
events_compare(void *arg)
{
    struct story *whole = calloc(1, sizeof *whole);

    if (whole == NULL)
        abort();
    body_compare(arg, true, whole);
    free(whole);
    return 0;
}

static void
events_run(struct text_input *input)
{
    text_run_loop(input, events_compare);
}

static const struct text_piece events_pieces[] = {
    PIECE("data"),
    PIECE("data:"),
    PIECE("data: "),
    PIECE("event: "),
    PIECE("id"),
    PIECE("id: "),
    PIECE("retry: "),
    PIECE("\n"),
    PIECE("\r"),
    PIECE("\r\n"),
    PIECE("\n\n"),
    PIECE(":"),
    PIECE(" "),
    PIECE("a"),
    PIECE("12"),
    PIECE("99999999999999999999"),
    PIECE("data: one\ndata: two\n\n"),
    PIECE("\0"),
    PIECE("\xef\xbb\xbf"),
    PIECE("\xef"),
    PIECE("\xbb"),
    PIECE("\xe2\x82\xac"),
    PIECE("\xe2\x82"),
    PIECE("\xf0\x9f\x98\x80"),
    PIECE("\xed\xa0\x80"),
    PIECE("\xff"),
    PIECE("\xe0\x80\x80"),
    PIECE("\xf4\x90\x80\x80"),
    PIECE("\r\r"),
    PIECE("datax: "),
    PIECE(": comment\n"),
};

const struct text_target text_events = {
    .target.name = "events",
    .pieces = events_pieces,
    .piece_count = COUNT(events_pieces),
    .run = events_run,
};

static intptr_t
lines_compare(void *arg)
{
    struct text_input *input = arg;
    struct story *whole = calloc(1, sizeof *whole), *model = calloc(1, sizeof *model);

    if (whole == NULL || model == NULL)
        abort();
    body_compare(input, false, whole);
    for (size_t at = 0; at < input->size;) {
        const char *end = memchr(input->bytes + at, '\n', input->size - at);
        size_t size = end != NULL ? (size_t) (end - input->bytes) - at : input->size - at;

        story_add(model, input->bytes + at,
                  end != NULL && size > 0 && end[-1] == '\r' ? size - 1 : size);
        story_add(model, "\n", 1);
        at += size + (end != NULL);
    }
    if (model->size != whole->size || memcmp(model->bytes, whole->bytes, whole->size) != 0)
        text_mismatch("other lines than there are");
    free(model);
    free(whole);
    return 0;
}

static void
lines_run(struct text_input *input)
{
    text_run_loop(input, lines_compare);
}

static const struct text_piece lines_pieces[] = {
    PIECE("a"),    PIECE("\n"),     PIECE("\r"),
    PIECE("\r\n"), PIECE("\r\r\n"), PIECE("\n\r"),
    PIECE("\0"),   PIECE("a line"), PIECE("one that is longer than most others are"),
    PIECE("\n\n"),
};

const struct text_target text_lines = {
    .target.name = "lines",
    .pieces = lines_pieces,
    .piece_count = COUNT(lines_pieces),
    .run = lines_run,
};
