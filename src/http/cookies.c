/* SPDX-License-Identifier: MIT */

/*
 * Cookies.
 *
 * 1. The jar is curl's, in the client's share: what is a cookie, and where it is sent, is curl's to
 *    say. An easy handle with that share is all that is needed to look into it.
 * 2. The file is read and written here: curl tells nobody whether it could, and takes "-" for the
 *    standard streams.
 * 3. What is written replaces the file by a rename, so that whoever looks sees the old one or the
 *    new one. It is not synchronized with the disk: a loop would have to stand still for that.
 */

#include "http/cookies.h"

#include "base/error.h"
#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"
#include "http/block.h"
#include "http/client.h"
#include "http/url.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX ((size_t) 16 * 1024 * 1024) /* bytes */
#define COOKIE_MAX ((size_t) 4000)           /* bytes of one that the user sets */
#define LINE_MAX_SIZE ((size_t) 64 * 1024)   /* bytes of the file's: curl sends no longer ones */
#define READ_SIZE ((size_t) 16 * 1024)
#define HTTP_ONLY "#HttpOnly_"
#define SET_COOKIE "Set-Cookie:"   /* begins a cookie as servers set it */
#define PROBE_DOMAIN "uco.invalid" /* of a cookie that is never shown, nor sent: RFC 6761 */

/* The fields of a line in Netscape's format. */
enum {
    DOMAIN,
    SUBDOMAINS,
    PATH,
    SECURE,
    EXPIRES,
    NAME,
    VALUE,
    FIELDS,
};

struct line {
    const char *fields[FIELDS];
    size_t lengths[FIELDS];
};

static CURL *
jar_open(struct uco_http_client *client)
{
    CURL *easy = curl_easy_init();

    if (easy != NULL && curl_easy_setopt(easy, CURLOPT_SHARE, client->share) == CURLE_OK)
        return easy;
    curl_easy_cleanup(easy);
    return NULL;
}

/* Takes a line apart; false if it is none. A cookie without value may lack the last field. */
static bool
line_read(struct line *line, const char *text)
{
    size_t field = 0;

    *line = (struct line){0};
    if (strncmp(text, HTTP_ONLY, strlen(HTTP_ONLY)) == 0)
        text += strlen(HTTP_ONLY);
    if (*text == '#')
        return false;
    for (; field < FIELDS; field++) {
        line->fields[field] = text;
        line->lengths[field] = strcspn(text, field == VALUE ? "\r\n" : "\t\r\n");
        text += line->lengths[field];
        if (*text != '\t')
            break;
        text++;
    }
    return field >= NAME && line->lengths[DOMAIN] > 0 && line->lengths[NAME] > 0;
}

/* curl forgets those that are over only when it comes across them. */
static bool
line_is_live(const char *text)
{
    struct line line;
    long long expires;

    if (!line_read(&line, text) || strncmp(text, PROBE_DOMAIN "\t", sizeof PROBE_DOMAIN) == 0)
        return false;
    expires = strtoll(line.fields[EXPIRES], NULL, 10);
    return expires == 0 || expires > time(NULL);
}

/* --- the jar's content --- */

/* curl's list of all cookies. An empty one is NULL, and so is one that curl had no memory for; a
 * cookie that is put in for a moment shows which of them it is. */
static int
jar_list(CURL *easy, struct curl_slist **list)
{
    static const char probe[] = PROBE_DOMAIN "\tFALSE\t/\tFALSE\t0\tprobe\t1";
    static const char over[] = PROBE_DOMAIN "\tFALSE\t/\tFALSE\t1\tprobe\t1";

    *list = NULL;
    if (curl_easy_getinfo(easy, CURLINFO_COOKIELIST, list) != CURLE_OK)
        return -ENOMEM;
    if (*list != NULL)
        return 0;
    if (curl_easy_setopt(easy, CURLOPT_COOKIELIST, probe) != CURLE_OK ||
        curl_easy_getinfo(easy, CURLINFO_COOKIELIST, list) != CURLE_OK)
        *list = NULL;
    curl_easy_setopt(easy, CURLOPT_COOKIELIST, over);
    return *list != NULL ? 0 : -ENOMEM;
}

/* Text that grows. */
struct text {
    char *bytes;
    size_t size, capacity;
};

static int
text_append(struct text *text, const char *bytes)
{
    size_t size = strlen(bytes);
    int r = uco__http_block_grow(&text->bytes, &text->capacity, text->size + size + 1);

    if (r < 0)
        return r;
    memcpy(text->bytes + text->size, bytes, size + 1);
    text->size += size;
    return 0;
}

/* Appends all that is in the jar, a line each. */
static int
jar_write(struct uco_http_client *client, struct text *text)
{
    CURL *easy = jar_open(client);
    struct curl_slist *list;
    int r;

    if (easy == NULL)
        return -ENOMEM;
    r = jar_list(easy, &list);
    for (struct curl_slist *each = list; r == 0 && each != NULL; each = each->next) {
        if (!line_is_live(each->data))
            continue;
        r = text_append(text, each->data);
        if (r == 0)
            r = text_append(text, "\n");
    }
    curl_slist_free_all(list);
    curl_easy_cleanup(easy);
    return r;
}

/* --- the file, read --- */

static int
file_read_all(int fd, struct text *text)
{
    for (;;) {
        ssize_t n;
        int r = uco__http_block_grow(&text->bytes, &text->capacity, text->size + READ_SIZE + 1);

        if (r < 0)
            return r;
        n = UCO__SYSTEM(read, read(fd, text->bytes + text->size, READ_SIZE));
        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int) n;
        text->size += (size_t) n;
        text->bytes[text->size] = '\0';
        if (n == 0)
            return 0;
        if (text->size > FILE_MAX)
            return -EFBIG;
    }
}

static int
jar_add_line(CURL *easy, char *text)
{
    /* Anything else curl might take for a command, and too long a line for a mistake. */
    if (!line_is_live(text) || uco__http_text_same(text, SET_COOKIE, strlen(SET_COOKIE)) ||
        strlen(text) > LINE_MAX_SIZE)
        return 0;
    return curl_easy_setopt(easy, CURLOPT_COOKIELIST, text) == CURLE_OK ? 0 : -ENOMEM;
}

static int
jar_add_lines(struct uco_http_client *client, const struct text *text)
{
    CURL *easy = jar_open(client);
    char *bytes = text->bytes;
    char *rest = NULL;
    int r = 0;

    /* What is behind a zero byte would be lost, and soon overwritten. */
    for (size_t i = 0; i < text->size; i++)
        bytes[i] = bytes[i] != '\0' ? bytes[i] : '\n';

    if (easy == NULL)
        return -ENOMEM;
    for (char *line = strtok_r(bytes, "\r\n", &rest); r == 0 && line != NULL;
         line = strtok_r(NULL, "\r\n", &rest))
        r = jar_add_line(easy, line);
    curl_easy_cleanup(easy);
    return r;
}

int
uco__http_cookies_load(struct uco_http_client *client)
{
    const char *path = client->options.cookie_file;
    struct text text = {0};
    int fd, r;

    if (path == NULL)
        return 0;
    fd = (int) UCO__SYSTEM(open, open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = file_read_all(fd, &text);
    (void) UCO__SYSTEM(close, close(fd));
    if (r == 0)
        r = jar_add_lines(client, &text);
    uco__free(text.bytes);
    return r;
}

/* --- the file, written --- */

static int
file_write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = UCO__SYSTEM(write, write(fd, bytes, size));

        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int) n;
        bytes += n;
        size -= (size_t) n;
    }
    return 0;
}

/* Beside its place, with a mode of 0600, and then renamed. */
static int
file_replace(const char *path, const struct text *text)
{
    size_t size = strlen(path) + sizeof ".XXXXXX";
    char *beside = uco__allocate(size);
    int fd, r, closed;

    if (beside == NULL)
        return -ENOMEM;
    snprintf(beside, size, "%s.XXXXXX", path);
    fd = (int) UCO__SYSTEM(open, mkostemp(beside, O_CLOEXEC));
    r = fd < 0 ? fd : file_write_all(fd, text->bytes, text->size);
    if (fd >= 0) {
        closed = (int) UCO__SYSTEM(close, close(fd));
        r = r < 0 ? r : closed;
        if (r == 0)
            r = (int) UCO__SYSTEM(rename, rename(beside, path));
        if (r < 0)
            (void) UCO__SYSTEM(unlink, unlink(beside));
    }
    uco__free(beside);
    return r;
}

/* /dev/null is a place for cookies, and stays what it is. */
static int
file_check(const char *path)
{
    struct stat status;

    if (path == NULL || UCO__SYSTEM(stat, stat(path, &status)) < 0 || S_ISREG(status.st_mode))
        return 0;
    return S_ISCHR(status.st_mode) ? 1 : -EINVAL;
}

static int
cookies_save(struct uco_http_client *client)
{
    struct text text = {0};
    char *path = realpath(client->options.cookie_file, NULL); /* a link stays one */
    int r = file_check(path);

    if (r == 0)
        r = text_append(&text, "# Netscape HTTP Cookie File\n"
                               "# Written by libuco-http, which will write it again.\n\n");

    if (r == 0)
        r = jar_write(client, &text);
    if (r == 0)
        r = file_replace(path != NULL ? path : client->options.cookie_file, &text);
    free(path);
    uco__free(text.bytes);
    return r;
}

void
uco__http_cookies_save(struct uco_http_client *client)
{
    int r = client->options.cookie_file != NULL ? cookies_save(client) : 0;

    if (r < 0)
        uco__report(client->loop, NULL,
                    "the cookies of an HTTP client could not be written to %s: %s",
                    client->options.cookie_file, uco_strerror(r));
}

/* --- the user's calls --- */

static int
cookies_check(const struct uco_http_client *client, const void *argument, const char *function)
{
    const struct uco_loop *loop;
    int error;

    if (client == NULL || argument == NULL)
        return uco__misuse(-EINVAL, "%s: the client or the cookie is NULL", function);
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "%s: outside a running loop", function);
    if (client->loop != loop)
        return uco__misuse(-EPERM, "%s: another loop's client", function);
    return 0;
}

/* One attribute of a cookie ("name=value" too), trimmed. */
struct attribute {
    const char *name, *value;
    size_t name_length, value_length;
    bool has_value;
};

static size_t
trim(const char **text, size_t length)
{
    while (length > 0 && **text == ' ') {
        (*text)++;
        length--;
    }
    while (length > 0 && (*text)[length - 1] == ' ')
        length--;
    return length;
}

/* Moves *text on to the next one; false at the end. */
static bool
attribute_next(struct attribute *attribute, const char **text)
{
    size_t length = strcspn(*text, ";");
    size_t name = strcspn(*text, "=;");

    if (**text == '\0')
        return false;
    attribute->has_value = name < length;
    attribute->name = *text;
    attribute->name_length = trim(&attribute->name, name);
    attribute->value = *text + name + attribute->has_value;
    attribute->value_length = trim(&attribute->value, length - name - attribute->has_value);
    *text += length;
    *text += **text == ';';
    return true;
}

static bool
attribute_is(const struct attribute *attribute, const char *name)
{
    return attribute->has_value && attribute->name_length == strlen(name) &&
           uco__http_text_same(attribute->name, name, attribute->name_length);
}

/* What a cookie says. */
struct cookie {
    struct attribute name;
    const char *domain;
    size_t domain_length;
    bool has_path;
    bool over; /* it takes one out */
};

static bool
expires_is_over(const struct attribute *attribute)
{
    char text[64];
    time_t when;

    snprintf(text, sizeof text, "%.*s", (int) attribute->value_length, attribute->value);
    when = curl_getdate(text, NULL);
    return when != -1 && when <= time(NULL);
}

static int
cookie_read(struct cookie *cookie, const char *text)
{
    struct attribute each;
    bool aged = false;

    *cookie = (struct cookie){0};
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            return -EINVAL;
    }
    if (!attribute_next(&cookie->name, &text) || !cookie->name.has_value ||
        cookie->name.name_length == 0)
        return -EINVAL;
    while (attribute_next(&each, &text)) {
        if (attribute_is(&each, "domain")) {
            cookie->domain = each.value + (each.value_length > 0 && each.value[0] == '.');
            cookie->domain_length = each.value_length - (size_t) (cookie->domain - each.value);
        } else if (attribute_is(&each, "path")) {
            cookie->has_path = true;
        } else if (attribute_is(&each, "max-age")) {
            aged = true;
            cookie->over = strtoll(each.value + (each.value[0] == '"'), NULL, 10) <= 0;
        } else if (attribute_is(&each, "expires") && !aged) {
            cookie->over = expires_is_over(&each);
        }
    }
    return cookie->domain_length > 0 ? 0 : -EINVAL;
}

static bool
line_is_of(const char *text, const struct cookie *cookie)
{
    struct line line;
    bool dot;

    if (!line_read(&line, text))
        return false;
    dot = line.fields[DOMAIN][0] == '.';
    return line.lengths[DOMAIN] - dot == cookie->domain_length &&
           uco__http_text_same(line.fields[DOMAIN] + dot, cookie->domain, cookie->domain_length) &&
           line.lengths[NAME] == cookie->name.name_length &&
           memcmp(line.fields[NAME], cookie->name.name, cookie->name.name_length) == 0 &&
           line.lengths[VALUE] == cookie->name.value_length &&
           memcmp(line.fields[VALUE], cookie->name.value, cookie->name.value_length) == 0;
}

/* curl does not say whether it took a cookie; it is in the jar then. */
static int
jar_add_cookie(CURL *easy, const char *header, const struct cookie *cookie)
{
    struct curl_slist *list;
    int r;

    if (curl_easy_setopt(easy, CURLOPT_COOKIELIST, header) != CURLE_OK)
        return -ENOMEM;
    if (cookie->over)
        return 0;
    r = jar_list(easy, &list);
    if (r < 0)
        return r;
    r = -EINVAL;
    for (struct curl_slist *each = list; r < 0 && each != NULL; each = each->next) {
        if (line_is_of(each->data, cookie))
            r = 0;
    }
    curl_slist_free_all(list);
    return r;
}

int
uco_http_cookie_set(uco_http_client *c, const char *cookie)
{
    struct cookie read;
    struct text header = {0};
    CURL *easy;
    int r = cookies_check(c, cookie, "uco_http_cookie_set");

    if (r < 0)
        return r;
    if (c->options.no_cookies)
        return uco__misuse(-EINVAL, "uco_http_cookie_set: the client has no_cookies");
    if (strlen(cookie) > COOKIE_MAX || cookie_read(&read, cookie) < 0)
        return uco__misuse(-EINVAL, "uco_http_cookie_set: no name, no domain, a control character, "
                                    "or more than 4,000 bytes");
    easy = jar_open(c);
    r = easy != NULL ? text_append(&header, SET_COOKIE " ") : -ENOMEM;
    if (r == 0)
        r = text_append(&header, cookie);
    /* One without path would not be the one that a server sets for all paths. */
    if (r == 0 && !read.has_path)
        r = text_append(&header, "; path=/");
    if (r == 0)
        r = jar_add_cookie(easy, header.bytes, &read);
    curl_easy_cleanup(easy);
    uco__free(header.bytes);
    return r;
}

char *
uco_http_cookies(uco_http_client *c)
{
    struct text text = {0};
    int r = cookies_check(c, "", "uco_http_cookies");

    if (r == 0)
        r = text_append(&text, "");
    if (r == 0 && !c->options.no_cookies)
        r = jar_write(c, &text);
    if (r == 0) {
        uco__ledger_hand_over(text.bytes);
        return text.bytes; /* free() is fine: plain malloc() is under uco__allocate() */
    }
    uco__free(text.bytes);
    return uco__error_null(r);
}

int
uco_http_cookies_clear(uco_http_client *c)
{
    CURL *easy;
    int r = cookies_check(c, "", "uco_http_cookies_clear");

    if (r < 0 || c->options.no_cookies)
        return r;
    easy = jar_open(c);
    if (easy == NULL)
        return -ENOMEM;
    r = curl_easy_setopt(easy, CURLOPT_COOKIELIST, "ALL") == CURLE_OK ? 0 : -ENOMEM;
    curl_easy_cleanup(easy);
    return r;
}
