/* SPDX-License-Identifier: MIT */
#include "fuzz_http_answer.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_MOST ((size_t) 512 * 1024) /* bytes of an answer */
#define MUTATIONS_MOST 6

#define TEXT(text) (text), sizeof(text) - 1

#define GZIP                                                                                       \
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\xd7\x51\x48\xaf\xca\x2c\xe0\x02" \
    "\x00\x86\x1f\x82\xa4\x0c\x00\x00\x00"

static const struct {
    const char *bytes;
    size_t size;
    const char *body; /* NULL: it leads on */
    size_t body_size;
    long status;
    bool until_end; /* the body is */
} corpus[] = {
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), TEXT("hello"), 200, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), TEXT(""), 200, false},
    {TEXT("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold\nand\r\nplain"),
     TEXT("old\nand\r\nplain"), 200, true},
    {TEXT("HTTP/1.1 204 No Content\r\nDate: Mon, 23 Nov 2026 15:00:00 GMT\r\n\r\n"), TEXT(""), 204,
     false},
    {TEXT("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"), TEXT(""), 304, false},
    {TEXT("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nSet-Cookie: a=b; path=/\r\n"
          "Set-Cookie: c=d; max-age=5\r\n\r\nnot found"),
     TEXT("not found"), 404, false},
    {TEXT("HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 4\r\n\r\nbusy"), NULL, 0, 503,
     false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "5\r\nhello\r\n6;name=\"value\"\r\n world\r\n1\r\n\n\r\n0\r\n\r\n"),
     TEXT("hello world\n"), 200, false},
    {TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
          "0000a\r\n0123456789\r\n0\r\nX-End: yes\r\nHTTP/1.1 200 OK: no\r\n\r\n"),
     TEXT("0123456789"), 200, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 32\r\n\r\n" GZIP),
     TEXT("hello, gzip\n"), 200, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
          "20\r\n" GZIP "\r\n0\r\n\r\n"),
     TEXT("hello, gzip\n"), 200, false},
    {TEXT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
          "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
     TEXT("done"), 200, false},
    {TEXT("HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 5\r\n\r\nmoved"), NULL, 0, 301,
     false},
    {TEXT("HTTP/1.1 307 Moved\r\nLocation: http://other.invalid:81/x?y=%20z#f\r\n"
          "Content-Length: 0\r\n\r\n"),
     NULL, 0, 307, false},
    {TEXT("HTTP/1.1 302 Found\r\nLocation: ../../a/./b/../c\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3\r\nabc\r\n0\r\n\r\n"),
     NULL, 0, 302, false},
    {TEXT("HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", "
          "algorithm=SHA-256\r\nContent-Length: 2\r\n\r\nno"),
     NULL, 0, 401, false},
    {TEXT("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 2\r\n\r\nno"),
     NULL, 0, 401, false},
    {TEXT("HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n"
          "Accept-Ranges: bytes\r\n\r\n01234"),
     TEXT("01234"), 206, false},
    {TEXT("HTTP/1.1 200 OK\r\nX-Folded: one\r\n two\r\n\tthree\r\nX-Empty:\r\nX: \r\n"
          "Content-Length: 2\r\n\r\nok"),
     TEXT("ok"), 200, false},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
          "\xef\xbb\xbf"
          ": comment\n\nid: 1\nretry: 10\nevent: add\ndata: one\ndata: two\n\n"
          "data\r\n\r\nid\rdata: \xe2\x82\xac\r\rdata: lost"),
     TEXT("\xef\xbb\xbf"
          ": comment\n\nid: 1\nretry: 10\nevent: add\ndata: one\ndata: two\n\n"
          "data\r\n\r\nid\rdata: \xe2\x82\xac\r\rdata: lost"),
     200, true},
    {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n"
          "one\ntwo\r\n\n\r\nthree\rfour\r\r\nand one that is longer"),
     TEXT("one\ntwo\r\n\n\r\nthree\rfour\r\r\nand one that is longer"), 200, false},
    {TEXT("HTTP/1.1 200\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"), TEXT("x"), 200,
     false},
    {TEXT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), NULL,
     0, 101, false},
    {TEXT("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"), NULL, 0, 417, false},
};

#define CORPUS_SIZE (sizeof corpus / sizeof corpus[0])

/* What has a meaning somewhere. */
static const struct {
    const char *text;
    size_t size;
} pieces[] = {
    {TEXT("\r\n")},
    {TEXT("\n")},
    {TEXT("\r")},
    {TEXT("\r\n\r\n")},
    {TEXT("\0")},
    {TEXT(" ")},
    {TEXT("\t")},
    {TEXT(":")},
    {TEXT(";")},
    {TEXT(",")},
    {TEXT("\xff")},
    {TEXT("-1")},
    {TEXT("0")},
    {TEXT("ffffffffffffffff")},
    {TEXT("7fffffffffffffff")},
    {TEXT("18446744073709551616")},
    {TEXT("9223372036854775807")},
    {TEXT("99999")},
    {TEXT("0\r\n\r\n")},
    {TEXT("HTTP/1.1 200 OK\r\n")},
    {TEXT("HTTP/1.1 100 Continue\r\n\r\n")},
    {TEXT("HTTP/9.9 999 \r\n")},
    {TEXT("Content-Length: 3\r\n")},
    {TEXT("Content-Length: 99999999999999999999\r\n")},
    {TEXT("Content-Length: -1\r\n")},
    {TEXT("Transfer-Encoding: chunked\r\n")},
    {TEXT("Transfer-Encoding: gzip, chunked\r\n")},
    {TEXT("Content-Encoding: gzip\r\n")},
    {TEXT("Content-Encoding: gzip, gzip, deflate, br, zstd\r\n")},
    {TEXT("Connection: close\r\n")},
    {TEXT("Connection: keep-alive\r\n")},
    {TEXT("Location: /\r\n")},
    {TEXT("Location: file:///etc/passwd\r\n")},
    {TEXT("Location: //x:99999/\r\n")},
    {TEXT("Location: http://[::1\r\n")},
    {TEXT("Retry-After: 1e9\r\n")},
    {TEXT("Retry-After: Mon, 23 Nov 2026 15:00:00 GMT\r\n")},
    {TEXT("Set-Cookie: a=b; domain=; path=\r\n")},
    {TEXT("WWW-Authenticate: Digest realm=\"\r\n")},
    {TEXT("Upgrade: websocket\r\n")},
    {TEXT(" folded\r\n")},
    {TEXT("no header\r\n")},
    {TEXT("data:")},
    {TEXT("event:x\n")},
    {TEXT("id:\0\n")},
    {TEXT("retry:99999999999999999999\n")},
    {TEXT("\n\n")},
    {TEXT("\xef\xbb\xbf")},
    {TEXT("\xf0\x9f")},
};

uint64_t
random_next(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

size_t
random_below(uint64_t *state, size_t n)
{
    return (size_t) (random_next(state) % n);
}

/* Replaces a range by bytes that are elsewhere, so many times. */
static void
answer_replace(struct answer *answer, size_t at, size_t removed, const char *bytes, size_t size,
               size_t times)
{
    size_t grown;
    char *copy;

    if (size > 0 && times > (SIZE_MOST - answer->size) / size)
        times = (SIZE_MOST - answer->size) / size;
    grown = answer->size - removed + size * times;
    copy = malloc(grown + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, answer->bytes, at);
    for (size_t i = 0; i < times; i++)
        memcpy(copy + at + i * size, bytes, size);
    memcpy(copy + at + size * times, answer->bytes + at + removed, answer->size - at - removed);
    free(answer->bytes);
    answer->bytes = copy;
    answer->size = grown;
}

static void
answer_repeat(struct answer *answer, uint64_t *random)
{
    /* By powers of two: mostly few, and now and then more than any limit. */
    size_t times = (size_t) 1 << random_below(random, 17);
    size_t at = random_below(random, answer->size);
    size_t size = 1 + random_below(random, answer->size - at < 100 ? answer->size - at : 100);
    char copy[100];

    memcpy(copy, answer->bytes + at, size);
    answer_replace(answer, at, 0, copy, size, times);
}

static void
answer_mutate(struct answer *answer, uint64_t *random)
{
    size_t at = answer->size > 0 ? random_below(random, answer->size) : 0;
    size_t left = answer->size - at;
    size_t range = left > 0 ? 1 + random_below(random, left < 50 ? left : 50) : 0;
    size_t piece = random_below(random, sizeof pieces / sizeof pieces[0]);
    size_t other = random_below(random, CORPUS_SIZE);
    size_t from = random_below(random, corpus[other].size);
    size_t kind = random_below(random, 8);

    if (kind == 0 && left > 0)
        answer->bytes[at] = (char) random_next(random);
    else if (kind == 1 && left > 0)
        answer->bytes[at] ^= (char) (1 << random_below(random, 8));
    else if (kind == 2)
        answer_replace(answer, at, range, NULL, 0, 0);
    else if (kind == 3)
        answer_replace(answer, at, range, pieces[piece].text, pieces[piece].size, 1);
    else if (kind == 4)
        answer_replace(answer, at, 0, corpus[other].bytes + from, corpus[other].size - from, 1);
    else if (kind == 5 && left > 0)
        answer_repeat(answer, random);
    else if (kind == 6 && random_below(random, 3) == 0)
        answer->size = at;
    else
        answer_replace(answer, at, 0, pieces[piece].text, pieces[piece].size, 1);
}

/* Whether a line has just ended: the next mutation is more telling here. */
static void
answer_insert_line(struct answer *answer, uint64_t *random)
{
    const char *end = memchr(answer->bytes, '\n', answer->size);
    size_t piece = random_below(random, sizeof pieces / sizeof pieces[0]);

    for (size_t skip = random_below(random, 4); end != NULL && skip > 0; skip--) {
        size_t at = (size_t) (end - answer->bytes) + 1;
        const char *next = memchr(end + 1, '\n', answer->size - at);

        end = next != NULL ? next : end;
    }
    if (end != NULL)
        answer_replace(answer, (size_t) (end - answer->bytes) + 1, 0, pieces[piece].text,
                       pieces[piece].size, 1);
}

void
answer_make(struct answer *answer, uint64_t number)
{
    uint64_t random = number;
    size_t which = random_below(&random, CORPUS_SIZE);
    size_t mutations = random_below(&random, 4) == 0 ? 0 : random_below(&random, MUTATIONS_MOST);

    *answer = (struct answer){.bytes = malloc(corpus[which].size + 1), .size = corpus[which].size};
    if (answer->bytes == NULL)
        abort();
    memcpy(answer->bytes, corpus[which].bytes, answer->size);
    if (mutations == 0) {
        answer->end = corpus[which].until_end ? ANSWER_CLOSE : ANSWER_KEEP;
        answer->body = corpus[which].body;
        answer->body_size = corpus[which].body_size;
        answer->status = corpus[which].status;
        return;
    }
    for (size_t i = 0; i < mutations; i++) {
        if (random_below(&random, 3) == 0)
            answer_insert_line(answer, &random);
        else
            answer_mutate(answer, &random);
    }
    answer->end = (enum answer_end) random_below(&random, ANSWER_ENDS);
}

void
answer_free(struct answer *answer)
{
    free(answer->bytes);
    answer->bytes = NULL;
}
