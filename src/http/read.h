/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_READ_H
#define UCO_HTTP_READ_H

/* What has come of a response's body and was not yet taken: for readers of lines and events. */

#include "http/response.h"

/* Suspends until more than `have` bytes are there: how many there are, and in *data where (until
 * the next call). As many as before: it is the end. Or an error, as uco_http_read()'s, once what
 * came before it is not more than `have`. Nothing is taken.
 *
 * One byte after those may be written to. Of a response in memory (not `streamed`) nothing may be:
 * its text is the user's. */
ssize_t uco__http_peek(struct uco__http_response *response, size_t have, char **data);
/* They are taken. */
void uco__http_consume(struct uco__http_response *response, size_t n);

#endif
