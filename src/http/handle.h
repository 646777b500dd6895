/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_HANDLE_H
#define UCO_HTTP_HANDLE_H

/* curl's easy handles, which a client keeps: making one anew costs a request 5 %. */

#include <curl/curl.h>
#include <stdbool.h>

struct uco_http_client;

struct uco__http_handle {
    CURL *easy; /* with the client's options */
    /* What else is set, and stays set: a request sets what it needs otherwise. */
    struct curl_slist *headers;
    long version;
    bool resolve; /* addresses are set, for one request */
    bool method;  /* what a method and a body in memory need */
    bool login;   /* user and password */
    bool spoilt;  /* has more of a request's in it: not to be kept */
    char words[CURL_ERROR_SIZE];
};

/* NULL without memory. */
struct uco__http_handle *uco__http_handle_take(struct uco_http_client *client);
/* After a request: nothing in it points to that any more. */
void uco__http_handle_give(struct uco_http_client *client, struct uco__http_handle *handle);
/* Those that are kept go. */
void uco__http_handles_done(struct uco_http_client *client);

#endif
