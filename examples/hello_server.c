/* SPDX-License-Identifier: MIT */

/*
 * hello_server [--host HOST] [--timeout SECONDS] [PORT] - "Hello, world" by HTTP/1.1, until it is
 * interrupted (Ctrl-C).
 *
 *   hello_server 8080 &  curl -i http://127.0.0.1:8080/
 *
 * The parser is http_parser (Debian: libhttp-parser-dev). It is fed with what has been received,
 * where it lies in the stream's buffer, and calls back; the answers to all requests in it are
 * collected and written at once, so that a client that sends many requests in one go (pipelining)
 * costs one read and one write for all of them.
 *
 * What a client can make the server hold or wait for has a limit, below. One scope a connection
 * holds the time limit, and is moved on by each answer: who sends his request byte by byte does not
 * move it.
 */

#include <errno.h>
#include <http_parser.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <uco/uco.h>

enum {
    MAX_CONNECTIONS = 16000,
    MAX_HEADERS = 8 * 1024, /* bytes of a request's line and headers */
    MAX_URL = 1024,         /* bytes */
    MAX_BODY = 64 * 1024,   /* bytes, which are read and thrown away */
    MAX_ANSWER = 512,       /* bytes */
    MAX_ANSWERS = 8 * 1024, /* bytes that are written at once */
};

#define REQUEST_TIMEOUT 30.0 /* seconds, unless --timeout says otherwise */
#define LINGER 2.0           /* seconds for the client to take the last answer, and to close */
#define GRACE 2.0            /* seconds for the clients when the server ends */

struct options {
    uco_server_options server;
    double timeout; /* seconds from the last answer to the next one */
};

struct connection {
    http_parser parser;
    uco_stream *stream;
    double timeout;
    bool last;   /* no request is read after this one */
    bool amid;   /* a request has begun, and has not been answered */
    bool late;   /* the client was too slow */
    bool torn;   /* an answer was cut short: none can follow it */
    bool expect; /* the request has an Expect header */
    bool in_value;
    unsigned hosts; /* the request's Host headers */
    size_t field_used, url_used, body;
    char *answers; /* MAX_ANSWERS bytes */
    size_t answers_used;
    char field[8]; /* the name of the header that is being parsed, as far as there is room */
    char url[MAX_URL];
};

/* --- answers --- */

static const char hello[] = "Hello, world\n";

/* What an answer to GET / consists of, and the date for all others: made anew each second. */
static struct {
    time_t time;
    char date[32];
    char text[MAX_ANSWER];
    size_t head_size, size;
} page;

static void
page_make(void)
{
    time_t now = time(NULL);
    struct tm tm;

    if (now == page.time)
        return;
    page.time = now;
    strftime(page.date, sizeof page.date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    page.head_size = (size_t) sprintf(page.text,
                                      "HTTP/1.1 200 OK\r\n"
                                      "Date: %s\r\n"
                                      "Content-Type: text/plain\r\n"
                                      "Content-Length: %zu\r\n"
                                      "\r\n",
                                      page.date, sizeof hello - 1);
    page.size = page.head_size + sizeof hello - 1;
    memcpy(page.text + page.head_size, hello, sizeof hello - 1);
}

/* Most requests want the same, so they get a copy of it. */
static void
answer_hello(struct connection *c, bool head)
{
    size_t size = head ? page.head_size : page.size;

    memcpy(c->answers + c->answers_used, page.text, size);
    c->answers_used += size;
}

static void
answer(struct connection *c, enum http_status status, bool head)
{
    const char *body = status == HTTP_STATUS_OK ? hello : http_status_str(status);
    const char *newline = status == HTTP_STATUS_OK ? "" : "\n";
    const char *allow = status == HTTP_STATUS_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "";
    /* a client of HTTP/1.0 that asked for it wants to be told */
    const char *connection = c->last ? "Connection: close\r\n" : "Connection: keep-alive\r\n";

    c->answers_used += (size_t) snprintf(c->answers + c->answers_used, MAX_ANSWER,
                                         "HTTP/1.1 %d %s\r\n"
                                         "Date: %s\r\n"
                                         "Content-Type: text/plain\r\n"
                                         "Content-Length: %zu\r\n"
                                         "%s%s\r\n"
                                         "%s%s",
                                         (int) status, http_status_str(status), page.date,
                                         strlen(body) + strlen(newline), allow, connection,
                                         head ? "" : body, head ? "" : newline);
}

/* An answer after which the connection ends, since where the next request begins is not known, or
 * not worth waiting for. */
static void
refuse(struct connection *c, enum http_status status)
{
    if (c->last)
        return;
    c->last = true;
    c->amid = false;
    answer(c, status, c->parser.method == HTTP_HEAD);
    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_OK)
        http_parser_pause(&c->parser, 1);
}

/* --- what the parser calls --- */

static int
on_message_begin(http_parser *parser)
{
    struct connection *c = parser->data;

    c->amid = true;
    c->expect = c->in_value = false;
    c->hosts = 0;
    c->field_used = c->url_used = c->body = 0;
    return 0;
}

static int
on_url(http_parser *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;

    if (length > MAX_URL - c->url_used) {
        refuse(c, HTTP_STATUS_URI_TOO_LONG);
        return 0;
    }
    memcpy(c->url + c->url_used, at, length);
    c->url_used += length;
    return 0;
}

/* Names and values come in as many pieces as the network made of them. */
static int
on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;

    if (c->in_value)
        c->field_used = 0;
    c->in_value = false;
    if (length > sizeof c->field - c->field_used) {
        c->field_used = sizeof c->field; /* longer than any that is of interest */
        return 0;
    }
    memcpy(c->field + c->field_used, at, length);
    c->field_used += length;
    return 0;
}

static bool
field_is(const struct connection *c, const char *name)
{
    return c->field_used == strlen(name) && strncasecmp(c->field, name, c->field_used) == 0;
}

static int
on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;

    (void) at, (void) length;
    if (c->in_value)
        return 0;
    c->in_value = true;
    if (field_is(c, "host"))
        c->hosts++;
    else if (field_is(c, "expect"))
        c->expect = true;
    return 0;
}

static int
on_headers_complete(http_parser *parser)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct connection *c = parser->data;

    parser->upgrade = 0; /* no other protocol is spoken here: such a request is one like others */
    if (parser->http_major != 1)
        refuse(c, HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED);
    else if (c->hosts > 1 || (c->hosts == 0 && parser->http_minor >= 1))
        refuse(c, HTTP_STATUS_BAD_REQUEST);
    else if (parser->content_length != UINT64_MAX && parser->content_length > MAX_BODY)
        refuse(c, HTTP_STATUS_PAYLOAD_TOO_LARGE);
    else if (parser->method == HTTP_CONNECT)
        refuse(c, HTTP_STATUS_METHOD_NOT_ALLOWED);

    if (c->expect && !c->last) {
        memcpy(c->answers + c->answers_used, go_on, sizeof go_on - 1);
        c->answers_used += sizeof go_on - 1;
    }
    return 0;
}

static int
on_body(http_parser *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;

    (void) at;
    c->body += length;
    if (c->body > MAX_BODY)
        refuse(c, HTTP_STATUS_PAYLOAD_TOO_LARGE);
    return 0;
}

static bool
url_is_root(const struct connection *c)
{
    struct http_parser_url url;

    if (c->url_used == 1)
        return c->url[0] == '/';
    http_parser_url_init(&url);
    if (http_parser_parse_url(c->url, c->url_used, 0, &url) != 0)
        return false;
    if ((url.field_set & 1 << UF_PATH) == 0)
        return (url.field_set & 1 << UF_HOST) != 0; /* http://host */
    return url.field_data[UF_PATH].len == 1 && c->url[url.field_data[UF_PATH].off] == '/';
}

static int
on_message_complete(http_parser *parser)
{
    struct connection *c = parser->data;
    bool head = parser->method == HTTP_HEAD;

    if (c->last)
        return 0;
    c->amid = false;
    c->last = !http_should_keep_alive(parser);
    if (parser->method != HTTP_GET && !head)
        answer(c, HTTP_STATUS_METHOD_NOT_ALLOWED, false);
    else if (!url_is_root(c))
        answer(c, HTTP_STATUS_NOT_FOUND, head);
    else if (c->last || parser->http_minor == 0)
        answer(c, HTTP_STATUS_OK, head);
    else
        answer_hello(c, head);

    /* What comes next can have two answers, 100 and its own. */
    if (c->last || MAX_ANSWERS - c->answers_used < 2 * MAX_ANSWER)
        http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* --- a connection --- */

/* Answers the requests in n bytes of data. Returns how many bytes it got through: not all when the
 * answers would have been too many for one batch. A function of its own, so that a connection that
 * waits for a request has no room for answers on its stack. */
static ssize_t
connection_answer(struct connection *c, const char *data, size_t n)
{
    char answers[MAX_ANSWERS];
    size_t parsed;

    page_make();
    c->answers = answers;
    c->answers_used = 0;
    http_parser_pause(&c->parser, 0);
    parsed = http_parser_execute(&c->parser, &settings, data, n);

    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_HEADER_OVERFLOW)
        refuse(c, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
    else if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK && HTTP_PARSER_ERRNO(&c->parser) != HPE_PAUSED)
        refuse(c, HTTP_STATUS_BAD_REQUEST);

    if (c->answers_used > 0) {
        ssize_t r = uco_stream_write(c->stream, answers, c->answers_used);

        c->torn = r < 0;
        if (r < 0)
            return r;
    }
    return (ssize_t) parsed;
}

static intptr_t
connection_run(struct connection *c, uco_scope *limit)
{
    while (!c->last) {
        const void *data;
        ssize_t n = uco_stream_peek(c->stream, &data);

        if (n > 0)
            n = connection_answer(c, data, (size_t) n);
        if (n <= 0)
            return n;
        uco_stream_consume(c->stream, (size_t) n);
        if (c->answers_used > 0)
            uco_scope_reschedule(limit, c->timeout);
    }
    return 0;
}

/* A close resets a connection on which something was not read, and the client can lose the last
 * answer by that: so it is the client who closes first, unless he does not. */
static void
connection_linger(struct connection *c)
{
    int r = uco_stream_shutdown(c->stream);
    const void *data;
    ssize_t n;

    while (r == 0 && (n = uco_stream_peek(c->stream, &data)) > 0)
        uco_stream_consume(c->stream, (size_t) n);
}

static void
connection_say_timeout(struct connection *c)
{
    char answers[MAX_ANSWERS];

    c->answers = answers;
    c->answers_used = 0;
    refuse(c, HTTP_STATUS_REQUEST_TIMEOUT);
    uco_stream_write(c->stream, answers, c->answers_used);
}

/* Who has not taken his answers when the time is up gets no more of it in the close. */
static intptr_t
connection_end(void *arg)
{
    struct connection *c = arg;

    if (c->late && c->amid && !c->torn)
        connection_say_timeout(c);
    if (c->last && !c->torn)
        connection_linger(c);
    return uco_stream_close(c->stream);
}

static intptr_t
serve_connection(uco_stream *stream, void *arg)
{
    struct connection c; /* not zeroed as a whole: most of it is never touched */
    uco_scope limit;
    intptr_t r;

    http_parser_init(&c.parser, HTTP_REQUEST);
    c.parser.data = &c;
    c.stream = stream;
    c.timeout = ((const struct options *) arg)->timeout;
    c.last = c.amid = c.torn = false;

    r = uco_scope_open(&limit, c.timeout);
    if (r < 0)
        return r;
    r = uco_scope_close(&limit, connection_run(&c, &limit));
    c.late = r == -ETIMEDOUT;
    return uco_with_timeout(LINGER, connection_end, &c);
}

/* --- the server --- */

static intptr_t
serve(void *arg)
{
    struct options *options = arg;
    uco_server *server = uco_server_start_with(&options->server, serve_connection, options);
    uco_scope shield;

    if (server == NULL)
        return -errno;
    printf("http://%s:%" PRIu16 "/\n", options->server.host, uco_server_port(server));
    fflush(stdout);

    uco_sleep(UCO_FOREVER); /* until Ctrl-C cancels this task */
    if (uco_shield_open(&shield, UCO_FOREVER) < 0)
        return uco_server_close(server, 0);
    return uco_scope_close(&shield, uco_server_close(server, GRACE));
}

static bool
seconds_parse(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds > 0;
}

static bool
port_parse(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t) number;
    return true;
}

static bool
options_parse(struct options *options, char *argv[])
{
    for (argv++; argv[0] != NULL && argv[1] != NULL; argv += 2) {
        if (strcmp(argv[0], "--host") == 0)
            options->server.host = argv[1];
        else if (strcmp(argv[0], "--timeout") != 0 || !seconds_parse(argv[1], &options->timeout))
            return false;
    }
    return argv[0] == NULL || port_parse(argv[0], &options->server.port);
}

int
main(int argc, char *argv[])
{
    struct options options = {
        .server = {.host = "127.0.0.1", .max_connections = MAX_CONNECTIONS},
        .timeout = REQUEST_TIMEOUT,
    };
    intptr_t r;

    (void) argc;
    if (!options_parse(&options, argv)) {
        fprintf(stderr, "usage: hello_server [--host HOST] [--timeout SECONDS] [PORT]\n");
        return 2;
    }
    http_parser_set_max_header_size(MAX_HEADERS);
    r = uco_run(serve, &options);
    if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT) {
        fprintf(stderr, "hello_server: %s\n", uco_strerror((int) r));
        return 1;
    }
    return 0;
}
