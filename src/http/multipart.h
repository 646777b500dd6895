/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_MULTIPART_H
#define UCO_HTTP_MULTIPART_H

/* A multipart body while it is sent. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uco/http/request.h>

/* It is the caller's until uco__http_multipart_end(): 0; -EBUSY (it is somebody's), and then there
 * is nothing to end. */
int uco__http_multipart_begin(uco_http_multipart *m);
void uco__http_multipart_end(uco_http_multipart *m);

/* Suspends: a new boundary, and the size of each file. *size: of all of it, -1: not known; whether
 * it can be rewound. 0, the errors of opening a file, -EFBIG or -ENOMEM. */
int uco__http_multipart_measure(uco_http_multipart *m, long long *size, bool *rewindable);
/* Content-Type, from one measuring to the next. */
const char *uco__http_multipart_type(const uco_http_multipart *m);

/* Suspends: the next bytes, up to n; 0 = the end. -EIO: a file is shorter than it was. */
ssize_t uco__http_multipart_read(uco_http_multipart *m, void *buf, size_t n);
/* Back to the beginning; of one that can be rewound. */
void uco__http_multipart_rewind(uco_http_multipart *m);

#endif
