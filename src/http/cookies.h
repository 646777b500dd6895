/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_COOKIES_H
#define UCO_HTTP_COOKIES_H

/* A client's cookies and their file. */

struct uco_http_client;

/* Reads the client's cookie_file, if it has one and there is one: 0, -EACCES ... what the file
 * system says, -EFBIG or -ENOMEM. */
int uco__http_cookies_load(struct uco_http_client *client);
/* Writes it, whole or not at all; where that fails, it is reported. */
void uco__http_cookies_save(struct uco_http_client *client);

#endif
