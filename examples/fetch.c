/* SPDX-License-Identifier: MIT */

/* fetch URL... - Fetch pages, all at once, within ten seconds. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uco/http.h>
#include <uco/uco.h>

struct list {
    uco_http_client *client;
    char **urls;
    size_t n;
};

struct item {
    uco_http_client *client;
    const char *url;
};

static intptr_t
fetch(void *arg)
{
    const struct item *item = arg;
    uco_http_response *response;
    int r = uco_http_get(item->client, item->url, &response);

    if (r < 0) {
        printf("%s\n", uco_http_error(item->client));
        return r;
    }
    printf("%s: %ld, %zu bytes\n", item->url, response->status, response->size);
    uco_http_response_free(response);
    return 0;
}

/* One failure does not end the others: gather_all waits for all of them. */
static intptr_t
fetch_list(void *arg)
{
    const struct list *list = arg;
    struct item *items = calloc(list->n, sizeof *items);
    uco_task **tasks = calloc(list->n, sizeof *tasks);
    intptr_t *results = calloc(list->n, sizeof *results);
    intptr_t r = -ENOMEM;

    if (items != NULL && tasks != NULL && results != NULL) {
        for (size_t i = 0; i < list->n; i++) {
            items[i] = (struct item){list->client, list->urls[i]};
            tasks[i] = uco_create_task(fetch, &items[i]);
        }
        r = uco_gather_all(tasks, list->n, results);
        uco_unref_all(tasks, list->n);
    }
    for (size_t i = 0; r == 0 && i < list->n; i++)
        r = results[i];
    free(results);
    free(tasks);
    free(items);
    return r;
}

static intptr_t
fetch_in_time(void *arg)
{
    struct list *list = arg;
    intptr_t r;

    list->client = uco_http_client_new(NULL);
    r = uco_with_timeout(10.0, fetch_list, list);
    uco_http_client_close(list->client);
    return r;
}

int
main(int argc, char *argv[])
{
    struct list list = {.urls = argv + 1, .n = (size_t) argc - 1};

    if (argc < 2) {
        fprintf(stderr, "usage: fetch URL...\n");
        return 2;
    }
    return uco_run(fetch_in_time, &list) == 0 ? 0 : 1;
}
