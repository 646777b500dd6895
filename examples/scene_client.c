/* SPDX-License-Identifier: MIT */

/* An HTTP client is a resource of its loop: one that is left open is closed in time, and named by
 * the line that opened it. */

#include "support/http_server.h"
#include "support/scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uco/http.h>
#include <uco/uco.h>

enum { PAGES = 100 };

struct page {
    uco_http_client *client;
    size_t size; /* bytes */
    char url[64];
};

struct visit {
    struct scene scene;
    struct http_server server;
    uco_http_client_options options;
    struct page pages[PAGES];
    double fetched; /* seconds that all pages took */
    char report[256];
    unsigned reports;
};

static int page_done(const struct page *page, uco_http_response *response);

/* tour: from here */
static intptr_t
fetch(void *arg)
{
    struct page *page = arg;
    uco_http_response *response;
    int r = uco_http_get(page->client, page->url, &response); /* suspends this coroutine only */

    return r < 0 ? r : page_done(page, response); /* looks at each byte */
}

static int
fetch_all(struct visit *v)
{
    uco_http_client *client = uco_http_client_new(&v->options);
    uco_task *tasks[PAGES];
    int r;

    for (size_t i = 0; i < PAGES; i++) {
        v->pages[i].client = client;
        tasks[i] = uco_create_task(fetch, &v->pages[i]);
    }
    r = uco_gather(tasks, PAGES, NULL);
    uco_unref_all(tasks, PAGES);
    uco_http_client_close(client);
    return r;
}
/* tour: to here */

enum { FORGET_BEGINS = __LINE__ };
/* tour: from here */
static intptr_t
forget(struct visit *v)
{
    v->pages[1].client = uco_http_client_new(&v->options);
    return fetch(&v->pages[1]); /* and nobody closes this client */
}
/* tour: to here */
enum { FORGET_ENDS = __LINE__ };

static int
page_done(const struct page *page, uco_http_response *response)
{
    bool right =
        response->status == 200 && http_page_check(response->text, response->size, page->size);

    uco_http_response_free(response);
    return right ? 0 : -EBADMSG;
}

static void
pages_plan(struct visit *v)
{
    static const size_t sizes[] = {0, 1, 100, 1000, 4095, 4096, 4097, 16384, 65536, 100001};

    for (size_t i = 0; i < PAGES; i++) {
        struct page *page = &v->pages[i];

        page->size = sizes[i % COUNT(sizes)];
        snprintf(page->url, sizeof page->url, "/slow/200/bytes/%zu", page->size);
    }
}

static intptr_t
visit_pages(struct visit *v)
{
    intptr_t r;

    scene_say(&v->scene, "fetches %d pages at once, from a server in the same loop", PAGES);
    v->fetched = scene_seconds(&v->scene);
    r = fetch_all(v);
    v->fetched = scene_seconds(&v->scene) - v->fetched;
    if (r < 0) {
        scene_say(&v->scene, "that failed: %s", uco_strerror((int) r));
        return r;
    }
    scene_say(&v->scene, "has them after %.3f s; each alone takes 0.2 s", v->fetched);
    scene_say(&v->scene, "opens a second client, fetches a page, and forgets to close it");
    return forget(v);
}

static intptr_t
visit(void *arg)
{
    uco_task_options options = {.name = "server", .discard = http_server_discard};
    struct visit *v = arg;
    char base_url[64];
    uco_task *server;
    intptr_t r;

    r = http_server_open(&v->server, 0);
    if (r < 0)
        return r;
    server = uco_create_task_with(&options, http_server_run, &v->server);
    if (server == NULL)
        http_server_discard(&v->server);

    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%u", (unsigned) v->server.port);
    v->options =
        (uco_http_client_options){.base_url = base_url, .max_per_host = PAGES, .proxy = ""};
    r = visit_pages(v);
    uco_unref(server); /* a child of this task: it ends with it */
    return r;
}

static void
report(const char *message, uco_task *task, void *arg)
{
    struct visit *v = arg;

    (void) task;
    v->reports++;
    snprintf(v->report, sizeof v->report, "%s", message);
    scene_say(&v->scene, "the loop, as it closes, reports:");
    fprintf(v->scene.out, "%11s%s\n", "", message);
}

/* The line that a report names in this file, or 0. */
static long
reported_line(const char *message)
{
    const char *name = strstr(message, "scene_client.c:");

    return name == NULL ? 0 : strtol(name + strlen("scene_client.c:"), NULL, 10);
}

int
scene_client(FILE *out)
{
    struct visit v = {.scene = scene_begin(out)};
    struct scene *s = &v.scene;
    /* On a slow machine a callback may take long, which is another report than the scene's. */
    uco_loop_options options = {
        .slow_callback = UCO_FOREVER, .exception_handler = report, .exception_arg = &v};
    long line;
    intptr_t r;

    pages_plan(&v);
    r = uco_run_with(&options, visit, &v);
    line = reported_line(v.report);

    scene_check(s, r == 0, "each page had the right size and the right bytes");
    scene_check(s, v.fetched >= 0.2 && v.fetched < 5.0, "100 at once, not 20 s one by one");
    scene_check(s, v.reports == 1 && line > FORGET_BEGINS && line < FORGET_ENDS,
                "the loop closed the forgotten client, and named the line that opened it");
    return scene_end(s);
}
