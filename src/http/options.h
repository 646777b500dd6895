/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_OPTIONS_H
#define UCO_HTTP_OPTIONS_H

/* A client's options: checked, completed, copied, and told to curl. */

#include <curl/curl.h>
#include <uco/http/client.h>

/* One option of several: nothing is done once one has failed. */
#define UCO__HTTP_SET(code, easy, option, value)                                                   \
    ((code) = (code) == CURLE_OK ? curl_easy_setopt(easy, option, value) : (code))

/* How much of a text's beginning is a token, as RFC 9110 has it. */
size_t uco__http_token_length(const char *text);
/* "Name: value" on one line; "Name:" too. The name is a token as RFC 9110 has it. */
bool uco__http_header_valid(const char *header);
/* Whether two headers, or a header and "Name:", have the same name. */
bool uco__http_header_same_name(const char *one, const char *other);
/* Headers that speak for the user or of the host, and are no business of one that a redirect leads
 * to. */
bool uco__http_header_is_secret(const char *header);

/* A user and password, or a token, or none of them: 0 or -EINVAL, as misuse of the function. */
int uco__http_login_check(const char *function, const char *user, const char *password,
                          const char *token);

/* Checks `given` and copies it, with what 0 and NULL mean filled in; `headers` and `addresses` are
 * left out. The environment's proxies are taken in: http/proxy.h. 0, -EINVAL (reported as misuse),
 * -ENOENT (a file), -ENODEV (an interface), -ENOSYS, -ENOMEM; on an error too, `copy` is to be done
 * with. */
int uco__http_options_init(uco_http_client_options *copy, const uco_http_client_options *given);
void uco__http_options_done(uco_http_client_options *copy);

/* Sets up an easy handle with all that holds for each of the client's requests. Which proxy one
 * goes through is told by uco__http_proxy_apply(). */
CURLcode uco__http_options_apply(const uco_http_client_options *options, CURL *easy);

/* Seconds as curl takes them, where zero would mean its default. */
long uco__http_milliseconds(double seconds);

#endif
