/* SPDX-License-Identifier: MIT */

/*
 * Responses.
 *
 * 1. The body has a zero byte after it, which `size` does not count.
 * 2. Headers are pairs of strings in the order in which they came: names without colon, values
 *    without the white space around them. A value that was folded over several lines is one string.
 */

#include "http/response.h"

#include "base/system.h"

#include <string.h>
#include <strings.h>

#define HEADERS_MAX ((size_t) 1024 * 1024) /* bytes, of one response */
#define BODY_FIRST ((size_t) 1024)
#define BODY_BELIEVED ((size_t) 1024 * 1024) /* taken at once if a server says that it will come */

struct uco__http_response *
uco__http_response_new(size_t body_max)
{
    struct uco__http_response *response = uco__allocate(sizeof *response);

    if (response != NULL)
        response->body_max = body_max;
    return response;
}

void
uco__http_response_reset(struct uco__http_response *response)
{
    response->result.size = 0;
    response->headers_size = 0;
    response->begun = false;
    response->whole = false;
}

void
uco_http_response_free(uco_http_response *r)
{
    struct uco__http_response *response = (struct uco__http_response *) r;

    if (response == NULL)
        return;
    uco__free(response->body);
    uco__free(response->headers);
    uco__free(response->url);
    uco__free(response);
}

/* Room for `needed` bytes; at least doubles. */
static int
block_grow(char **block, size_t *capacity, size_t needed)
{
    size_t grown = *capacity * 2 > needed ? *capacity * 2 : needed;
    char *larger;

    if (needed <= *capacity)
        return 0;
    larger = uco__reallocate(*block, grown);
    if (larger == NULL)
        return -ENOMEM;
    *block = larger;
    *capacity = grown;
    return 0;
}

/* --- headers --- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int
headers_append(struct uco__http_response *response, const char *text, size_t size)
{
    int r;

    if (response->headers_size + size + 1 > HEADERS_MAX || memchr(text, '\0', size) != NULL)
        return -EPROTO;
    r = block_grow(&response->headers, &response->headers_capacity,
                   response->headers_size + size + 1);
    if (r < 0)
        return r;
    memcpy(response->headers + response->headers_size, text, size);
    response->headers_size += size;
    response->headers[response->headers_size++] = '\0';
    return 0;
}

/* "name: value", both trimmed. A line without colon is none, and passed over. */
static int
headers_add(struct uco__http_response *response, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    const char *value;
    size_t name_size, before = response->headers_size;
    int r;

    if (colon == NULL)
        return 0;
    name_size = (size_t) (colon - line);
    while (name_size > 0 && is_blank(line[name_size - 1]))
        name_size--;
    value = colon + 1;
    size -= (size_t) (value - line);
    while (size > 0 && is_blank(*value)) {
        value++;
        size--;
    }
    r = headers_append(response, line, name_size);
    if (r == 0)
        r = headers_append(response, value, size);
    if (r < 0)
        response->headers_size = before;
    return r;
}

/* The rest of the value before it. */
static int
headers_fold(struct uco__http_response *response, const char *line, size_t size)
{
    while (size > 1 && is_blank(line[1])) {
        line++;
        size--;
    }
    response->headers_size--;
    return headers_append(response, line, size);
}

int
uco__http_response_add_header(struct uco__http_response *response, const char *line, size_t size)
{
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
        size--;
    /* After an answer of 100 to 199, another follows. */
    if ((!response->begun || response->whole) && size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        uco__http_response_reset(response);
        response->begun = true;
        return 0;
    }
    if (size == 0) {
        response->whole = true;
        return 0;
    }
    while (size > 1 && is_blank(line[size - 1]))
        size--;
    if (is_blank(line[0]) && response->headers_size > 0)
        return headers_fold(response, line, size);
    return headers_add(response, line, size);
}

const char *
uco_http_header(const uco_http_response *r, const char *name)
{
    const struct uco__http_response *response = (const struct uco__http_response *) r;
    const char *at, *end;

    if (response == NULL || name == NULL || response->headers == NULL)
        return NULL;
    end = response->headers + response->headers_size;
    for (at = response->headers; at < end;) {
        const char *value = at + strlen(at) + 1;

        if (strcasecmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

/* --- the body --- */

/* What is taken before anything has come: what the server announces, within reason. */
static size_t
body_first(long long expected)
{
    if (expected < 0)
        return BODY_FIRST;
    return (unsigned long long) expected < BODY_BELIEVED ? (size_t) expected + 1 : BODY_BELIEVED;
}

int
uco__http_response_add_body(struct uco__http_response *response, const char *data, size_t size,
                            long long expected)
{
    size_t used = response->result.size;
    size_t needed;
    int r;

    if (size > response->body_max - used ||
        (expected >= 0 && (unsigned long long) expected > response->body_max))
        return -EMSGSIZE;
    needed = used + size + 1;
    if (response->body == NULL && needed < body_first(expected))
        needed = body_first(expected);
    r = block_grow(&response->body, &response->body_capacity, needed);
    if (r < 0)
        return r;
    memcpy(response->body + used, data, size);
    response->result.size = used + size;
    response->body[used + size] = '\0';
    return 0;
}
