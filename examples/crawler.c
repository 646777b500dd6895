/* SPDX-License-Identifier: MIT */

/*
 * crawler [SECONDS] - Follow the links of a small site, which it serves itself, to each page once.
 *
 * At most AT_ONCE requests are under way at once, and RATE begin in a second. All is over after the
 * given time (10 s), with what has been found until then.
 */

#include "support/site.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/http.h>
#include <uco/uco.h>

enum { AT_ONCE = 3, BURST = 4, MAX_PAGES = 100, MAX_PATH = 64 };

#define RATE 25.0 /* requests a second */

struct page {
    struct crawler *crawler;
    const struct page *parent; /* where the link to it was found first */
    int status;                /* of HTTP, a negative errno, or 0: not fetched */
    char path[MAX_PATH];
};

struct crawler {
    struct site site;
    double limit, took; /* seconds */
    uco_http_client *client;
    uco_group *visits;
    uco_semaphore at_once;
    uco_semaphore tokens; /* a bucket of up to BURST, that gets RATE a second */
    unsigned tokens_left;
    unsigned requests;
    struct page pages[MAX_PAGES];
    size_t page_count;
};

static intptr_t
fill_bucket(void *arg)
{
    struct crawler *c = arg;
    int r;

    while ((r = uco_sleep(1.0 / RATE)) == 0) {
        if (c->tokens_left < BURST) {
            c->tokens_left++;
            uco_semaphore_release(&c->tokens);
        }
    }
    return r;
}

static int
fetch(struct crawler *c, const char *path, uco_http_response **response)
{
    int r = uco_semaphore_acquire(&c->tokens);

    if (r < 0)
        return r;
    c->tokens_left--;
    c->requests++;
    return uco_http_get(c->client, path, response);
}

static intptr_t visit(void *arg);

/* Has a page visited, unless it is known already. */
static int
add_page(struct crawler *c, const char *path, size_t length, const struct page *parent)
{
    struct page *page = &c->pages[c->page_count];

    for (size_t i = 0; i < c->page_count; i++) {
        if (strlen(c->pages[i].path) == length && memcmp(c->pages[i].path, path, length) == 0)
            return 0;
    }
    if (c->page_count == MAX_PAGES || length >= MAX_PATH)
        return 0;
    *page = (struct page){.crawler = c, .parent = parent};
    memcpy(page->path, path, length);
    c->page_count++;
    return uco_group_create_task(c->visits, visit, page) != NULL ? 0 : -errno;
}

/* A member of the group, which grows by what it finds. */
static intptr_t
visit(void *arg)
{
    struct page *page = arg;
    struct crawler *c = page->crawler;
    uco_http_response *response;
    const char *link;
    int r = uco_semaphore_acquire(&c->at_once);

    if (r < 0)
        return r;
    r = fetch(c, page->path, &response);
    uco_semaphore_release(&c->at_once);
    if (r == -ECANCELED)
        return r;
    page->status = r;
    if (r < 0)
        return 0; /* a page that can't be had does not end the crawl */

    page->status = (int) response->status;
    link = response->text;
    while (r == 0 && (link = strstr(link, "href='/")) != NULL) { /* only links of this site */
        link += strlen("href='");
        r = add_page(c, link, strcspn(link, "'"), page);
    }
    uco_http_response_free(response);
    return r;
}

static uco_http_client *
client_new(uint16_t port)
{
    char base_url[64];
    uco_http_client_options options = {.base_url = base_url, .proxy = ""};

    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%u", (unsigned) port);
    return uco_http_client_new(&options);
}

/* The group is empty when the last visit has found nothing new. */
static intptr_t
visit_all(void *arg)
{
    struct crawler *c = arg;
    int r = add_page(c, "/", 1, NULL);

    return r < 0 ? r : uco_group_wait(c->visits);
}

static intptr_t
crawl(void *arg)
{
    uco_task_options site_options = {.name = "site", .discard = site_discard};
    struct crawler *c = arg;
    uco_task *site, *bucket;
    double start = uco_time();
    intptr_t r = site_open(&c->site, 0.03);

    if (r < 0)
        return r;
    site = uco_create_task_with(&site_options, site_run, &c->site);
    if (site == NULL)
        site_discard(&c->site);
    bucket = uco_create_task(fill_bucket, c);
    c->client = client_new(c->site.port);
    c->visits = uco_group_new();
    uco_semaphore_init(&c->at_once, AT_ONCE);
    uco_semaphore_init(&c->tokens, BURST);
    c->tokens_left = BURST;

    r = -ENOMEM;
    if (site != NULL && bucket != NULL && c->client != NULL && c->visits != NULL)
        r = uco_with_timeout(c->limit, visit_all, c);
    c->took = uco_time() - start;
    uco_group_free(c->visits);
    uco_http_client_close(c->client);
    uco_unref(bucket); /* a child of this task, as the site: they end with it */
    uco_unref(site);
    return r;
}

static void
print_map(const struct crawler *c, const struct page *parent, int depth)
{
    for (size_t i = 0; i < c->page_count; i++) {
        const struct page *page = &c->pages[i];

        if (page->parent != parent)
            continue;
        printf("%*s%s: ", 2 * depth, "", page->path);
        if (page->status < 0)
            printf("%s\n", uco_strerror(page->status));
        else
            printf("%d\n", page->status);
        print_map(c, page, depth + 1);
    }
}

int
main(int argc, char *argv[])
{
    static struct crawler c;
    intptr_t r;

    c.limit = argc > 1 ? strtod(argv[1], NULL) : 10.0;
    r = uco_run(crawl, &c);
    print_map(&c, NULL, 0);
    printf("%u requests in %.2f s: a burst of %d, then %.1f a second; at most %u at once\n",
           c.requests, c.took, BURST, (c.requests - BURST) / c.took, c.site.most);
    if (r < 0)
        printf("%s\n", r == -ETIMEDOUT ? "the time was up" : uco_strerror((int) r));

    if (c.site.most > AT_ONCE || c.requests > c.page_count || c.requests > BURST + RATE * c.took)
        return 1;
    if (r == 0)
        return c.requests == SITE_PAGES + SITE_DEAD_LINKS ? 0 : 1;
    return r == -ETIMEDOUT ? 0 : 1;
}
