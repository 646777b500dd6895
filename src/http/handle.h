/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_HANDLE_H
#define UCO_HTTP_HANDLE_H

/* curl's easy handles, which a client keeps: making one anew costs a request 5 %. */

#include <curl/curl.h>
#include <stdbool.h>

struct uco_http_client;
struct uco__http_place;

/* Whether a response's line may be told to curl (handle.c). */
enum uco__http_guard {
    UCO__HTTP_GUARD_OFF,
    UCO__HTTP_GUARD_WAITS, /* for a status line */
    UCO__HTTP_GUARD_LOOKS, /* the next line is shown to the body's callback before curl has it */
    UCO__HTTP_GUARD_SHOWN  /* its beginning was */
};

struct uco__http_handle {
    CURL *easy; /* with the client's options */
    /* What else is set, and stays set: a request sets what it needs otherwise. */
    struct curl_slist *headers;
    struct uco__http_place *place; /* NULL: it has the URL's text */
    long version;
    long buffer;  /* bytes, that curl reads into */
    bool resolve; /* addresses are set, for one request */
    bool method;  /* what a method and a body in memory need */
    bool prunes;  /* makes curl forget old addresses */
    bool login;   /* user and password */
    enum uco__http_guard guard;
    bool spoilt; /* has more of a request's in it: not to be kept */
    char words[CURL_ERROR_SIZE];
};

/* NULL without memory. */
struct uco__http_handle *uco__http_handle_take(struct uco_http_client *client);
/* After a request: nothing in it points to that any more. */
void uco__http_handle_give(struct uco_http_client *client, struct uco__http_handle *handle);

CURLcode uco__http_handle_set_url(struct uco__http_handle *handle, struct uco_http_client *client,
                                  const char *url);

/* Whether it will probably get a large body. */
CURLcode uco__http_handle_set_buffer(struct uco__http_handle *handle, bool large);

/* In curl's callbacks. One of the head's lines has come: the status line, or another. */
void uco__http_handle_head(struct uco__http_handle *handle, const char *line, bool status);
/* What has come for the body is such a line, and nothing of the body: whether curl may have it. */
bool uco__http_handle_admits(struct uco__http_handle *handle, const char *line);

/* Those that are kept go. */
void uco__http_handles_done(struct uco_http_client *client);

#endif
