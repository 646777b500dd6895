/* SPDX-License-Identifier: MIT */

/* One coroutine accepts, and a group of them answers. */

#include "site.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uco/uco.h>

#define REQUEST_TIMEOUT 10.0 /* seconds for a connection in all */

enum { MAX_REQUEST = 4096, MAX_ANSWER = 4096 };

/* Two circles, a page that links to itself, a link to elsewhere, and one that leads nowhere: there
 * is no /sugar. */
static const struct page {
    const char *path;
    const char *text;
} pages[] = {
    {"/", "<a href='/tea'>Tea</a> <a href='/coffee'>Coffee</a> <a href='/cups'>Cups</a>"},
    {"/tea", "<a href='/tea/green'>Green</a> <a href='/tea/black'>Black</a> <a href='/'>Up</a>"},
    {"/tea/green", "<a href='/cups'>Cups</a> <a href='/tea'>Up</a>"},
    {"/tea/black", "<a href='/milk'>Milk</a> <a href='/cups'>Cups</a> <a href='/tea'>Up</a>"},
    {"/coffee", "<a href='/coffee/beans'>Beans</a> <a href='/milk'>Milk</a> <a href='/'>Up</a>"},
    {"/coffee/beans", "<a href='/coffee/roast'>Roast</a> <a href='/coffee'>Up</a>"},
    {"/coffee/roast", "<a href='/coffee/beans'>Beans</a> <a href='http://shop.example/'>Shop</a>"},
    {"/milk", "<a href='/cows'>Cows</a> <a href='/sugar'>Sugar</a>"},
    {"/cows", "<a href='/cows'>Cows</a>"},
    {"/cups", "<a href='/'>Home</a>"},
};

_Static_assert(sizeof pages / sizeof pages[0] == SITE_PAGES, "site.h tells how many there are");

struct visitor {
    struct site *site;
    int fd;
};

static const char *
page_text(const char *path)
{
    for (size_t i = 0; i < SITE_PAGES; i++) {
        if (strcmp(pages[i].path, path) == 0)
            return pages[i].text;
    }
    return NULL;
}

/* Reads the head of a request; buffer has room for MAX_REQUEST bytes and a zero byte. */
static int
request_read(int fd, char *buffer)
{
    for (size_t used = 0; used < MAX_REQUEST;) {
        ssize_t n = uco_read(fd, buffer + used, MAX_REQUEST - used);

        if (n <= 0)
            return n < 0 ? (int) n : -ENODATA;
        used += (size_t) n;
        buffer[used] = '\0';
        if (strstr(buffer, "\r\n\r\n") != NULL)
            return 0;
    }
    return -EMSGSIZE;
}

static intptr_t
visitor_answer(void *arg)
{
    const struct visitor *v = arg;
    char request[MAX_REQUEST + 1], answer[MAX_ANSWER], path[128];
    const char *text;
    int length, r = request_read(v->fd, request);

    if (r < 0)
        return r;
    if (sscanf(request, "GET %127s HTTP/1.", path) != 1)
        return -EPROTO;
    r = uco_sleep(v->site->delay);
    if (r < 0)
        return r;

    text = page_text(path);
    length = snprintf(answer, sizeof answer,
                      "HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n"
                      "Connection: close\r\n\r\n%s",
                      text != NULL ? "200 OK" : "404 Not Found", text != NULL ? strlen(text) : 0,
                      text != NULL ? text : "");
    if (length < 0 || (size_t) length >= sizeof answer)
        return -EMSGSIZE;
    v->site->served++;
    return uco_write_all(v->fd, answer, (size_t) length, NULL);
}

static void
visitor_free(void *arg)
{
    struct visitor *v = arg;

    v->site->open--;
    uco_close(v->fd);
    free(v);
}

static intptr_t
visitor_run(void *arg)
{
    uco_with_timeout(REQUEST_TIMEOUT, visitor_answer, arg);
    visitor_free(arg);
    return 0; /* a visitor that went away is no failure of the site's */
}

/* Takes fd, whatever happens. */
static void
visitor_start(struct site *site, uco_group *visitors, int fd)
{
    uco_task_options options = {.name = "visitor", .discard = visitor_free};
    struct visitor *v = malloc(sizeof *v);

    if (v == NULL) {
        uco_close(fd);
        return;
    }
    *v = (struct visitor){site, fd};
    if (++site->open > site->most)
        site->most = site->open;
    if (uco_group_create_task_with(visitors, &options, visitor_run, v) == NULL)
        visitor_free(v);
}

int
site_open(struct site *site, double delay)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = uco_listen("127.0.0.1", 0, 0);

    if (fd < 0)
        return fd;
    if (getsockname(fd, (struct sockaddr *) &address, &length) < 0) {
        int error = -errno;

        uco_close(fd);
        return error;
    }
    *site = (struct site){.delay = delay, .fd = fd, .port = ntohs(address.sin_port)};
    return 0;
}

void
site_discard(void *arg)
{
    struct site *site = arg;

    uco_close(site->fd);
}

intptr_t
site_run(void *arg)
{
    struct site *site = arg;
    uco_group *visitors = uco_group_new();
    int fd = visitors != NULL ? 0 : -errno;

    while (fd >= 0) {
        fd = uco_accept4(site->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            visitor_start(site, visitors, fd);
    }
    uco_group_free(visitors); /* cancels and waits for those who are left */
    uco_close(site->fd);
    return fd;
}
