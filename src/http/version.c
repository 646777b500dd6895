/* SPDX-License-Identifier: MIT */

/*
 * Versions of a server's file.
 *
 * 1. A validator is one that If-Range may have (RFC 9110, 13.1.5): an ETag that is not weak, or a
 *    Last-Modified of which it is sure that the file was not changed twice within its second.
 * 2. It can be sent as it is: no control characters.
 */

#include "http/version.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DATE_STRONG 60 /* seconds between Last-Modified and Date: no clock is that far off */

/* --- numbers --- */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, moving *text past them; false: there is none, or they are too many. */
static bool
number_parse(const char **text, int64_t *number)
{
    const char *at = *text;
    int64_t value = 0;

    if (!is_digit(*at))
        return false;
    for (; is_digit(*at); at++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (*at - '0');
    }
    *text = at;
    *number = value;
    return true;
}

/* The same, or "*": -1. */
static bool
number_parse_or_star(const char **text, int64_t *number)
{
    if (**text != '*')
        return number_parse(text, number);
    (*text)++;
    *number = -1;
    return true;
}

bool
uco__http_content_range_parse(struct uco__http_content_range *range, const char *text)
{
    struct uco__http_content_range found = {.first = -1, .last = -1};

    if (text == NULL || strncasecmp(text, "bytes", 5) != 0)
        return false;
    text += 5;
    if (*text != ' ' && *text != '\t')
        return false;
    text += strspn(text, " \t");
    if (*text == '*') {
        text++;
    } else {
        if (!number_parse(&text, &found.first) || *text++ != '-' ||
            !number_parse(&text, &found.last) || found.last < found.first)
            return false;
    }
    if (*text++ != '/' || !number_parse_or_star(&text, &found.size) || *text != '\0')
        return false;
    if (found.size >= 0 && found.last >= found.size)
        return false;
    *range = found;
    return true;
}

/* --- validators --- */

static bool
text_is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char) *text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

static bool
etag_is_strong(const char *etag)
{
    size_t length = etag != NULL ? strlen(etag) : 0;

    return length >= 2 && etag[0] == '"' && strchr(etag + 1, '"') == etag + length - 1 &&
           text_is_plain(etag);
}

static bool
date_is_strong(const char *modified, const char *now)
{
    time_t then, when;

    if (modified == NULL || now == NULL || !text_is_plain(modified))
        return false;
    then = curl_getdate(modified, NULL);
    when = curl_getdate(now, NULL);
    return then != -1 && when != -1 && when - then >= DATE_STRONG;
}

/* Of the file as it is stored here. In chunks it may have any. */
static int64_t
response_size(const uco_http_response *response)
{
    const char *length = uco_http_header(response, "Content-Length");
    int64_t size;

    if (length == NULL || uco_http_header(response, "Transfer-Encoding") != NULL)
        return -1;
    return number_parse(&length, &size) && *length == '\0' ? size : -1;
}

void
uco__http_version_init(struct uco__http_version *version, const uco_http_response *response)
{
    const char *etag = uco_http_header(response, "ETag");
    const char *modified = uco_http_header(response, "Last-Modified");
    const char *validator = "";

    if (etag_is_strong(etag))
        validator = etag;
    else if (date_is_strong(modified, uco_http_header(response, "Date")))
        validator = modified;
    if (strlen(validator) >= UCO__HTTP_VALIDATOR_MAX)
        validator = "";
    *version = (struct uco__http_version){.size = response_size(response)};
    memcpy(version->validator, validator, strlen(validator) + 1);
}

bool
uco__http_version_fits(const struct uco__http_version *version, const uco_http_response *response,
                       int64_t size)
{
    const char *name = version->validator[0] == '"' ? "ETag" : "Last-Modified";
    const char *told = uco_http_header(response, name);

    if (version->validator[0] == '\0' || (told != NULL && strcmp(told, version->validator) != 0))
        return false;
    return size < 0 || version->size < 0 || size == version->size;
}

/* --- notes --- */

static const char note_validator[] = "If-Range: ";
static const char note_size[] = "Size: ";

size_t
uco__http_version_print(const struct uco__http_version *version, char text[UCO__HTTP_NOTE_MAX])
{
    char size[24] = "*";

    if (version->size >= 0)
        snprintf(size, sizeof size, "%lld", (long long) version->size);
    return (size_t) snprintf(text, UCO__HTTP_NOTE_MAX, "%s%s\n%s%s\n", note_validator,
                             version->validator, note_size, size);
}

/* Moves *text past what it must begin with. */
static bool
text_skip(const char **text, const char *expected)
{
    size_t length = strlen(expected);

    if (strncmp(*text, expected, length) != 0)
        return false;
    *text += length;
    return true;
}

bool
uco__http_version_parse(struct uco__http_version *version, const char *text)
{
    struct uco__http_version found = {.size = -1};
    size_t length;

    *version = found;
    if (!text_skip(&text, note_validator))
        return false;
    length = strcspn(text, "\n");
    if (length == 0 || length >= sizeof found.validator)
        return false;
    memcpy(found.validator, text, length);
    text += length;
    if (!text_is_plain(found.validator) || !text_skip(&text, "\n") || !text_skip(&text, note_size))
        return false;
    if (!number_parse_or_star(&text, &found.size) || strcmp(text, "\n") != 0)
        return false;
    *version = found;
    return true;
}
