/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_BODY_H
#define UCO_INCLUDE_HTTP_BODY_H

/* Multipart bodies, forms and query parameters of HTTP requests. */

#include <uco/http/request.h>

UCO_BEGIN_DECLS

/**
 * uco_http_multipart_new() - Begin a multipart/form-data body, as a form with files has it.
 *
 * What is added is sent in that order. It can be sent several times, one after the other, each time
 * with another random boundary: a request with one that is being sent ends with -EBUSY.
 *
 * Context:   Any thread; it is used by one at a time.
 * Ownership: uco_http_multipart_free().
 * Returns:   NULL with errno ENOMEM.
 */
UCO_API uco_http_multipart *uco_http_multipart_new(void);

/**
 * uco_http_multipart_text() - Add a field.
 *
 * @name:  Copied. Quotes and line breaks are sent as %22, %0D and %0A, as browsers do, in file
 *         names too; the rest as it is, so it should be UTF-8.
 * @value: Copied. Sent as it is.
 *
 * Context: Any thread. Does not suspend.
 * Returns: 0, -EINVAL (a NULL), -EBUSY (it is being sent) or -ENOMEM.
 */
UCO_API int uco_http_multipart_text(uco_http_multipart *m, const char *name, const char *value);

/**
 * uco_http_multipart_bytes() - Add a file that is in memory.
 *
 * @name:      The field's. Copied.
 * @data:      size bytes, not copied: they must stay until the multipart is freed.
 * @file_name: What the server is told; NULL = none. Copied.
 * @type:      Content-Type; NULL = application/octet-stream. Copied.
 *
 * Context: Any thread. Does not suspend.
 * Returns: 0, -EINVAL (a NULL, a line break or another control character in the type, a size over
 *          SSIZE_MAX), -EBUSY or -ENOMEM.
 */
UCO_API int uco_http_multipart_bytes(uco_http_multipart *m, const char *name, const void *data,
                                     size_t size, const char *file_name, const char *type);

/**
 * uco_http_multipart_file() - Add a file, which is read piece by piece while it is sent.
 *
 * Each time it is sent its size is measured first, and announced. If it grows meanwhile, the
 * beginning is sent; if it shrinks, the request ends with -EIO. With a file that is not regular (a
 * pipe) the body is sent in chunks, and cannot be sent again after a redirect, a login or a
 * failure.
 *
 * @path:      Copied. Opened when the request is sent: -ENOENT ... are the request's errors then.
 * @file_name: NULL = the last part of path.
 * @type:      NULL = what the file name's ending suggests, or else application/octet-stream.
 *
 * Context: Any thread. Does not suspend, nor look at the file.
 * Returns: As uco_http_multipart_bytes().
 */
UCO_API int uco_http_multipart_file(uco_http_multipart *m, const char *name, const char *path,
                                    const char *file_name, const char *type);

/** uco_http_multipart_free() - NULL is fine. Not while it is being sent: then it stays, with a
 * report (misuse). Context: any thread. */
UCO_API void uco_http_multipart_free(uco_http_multipart *m);

/**
 * uco_http_encode() - Names and values as they stand in a query or a form:
 * "name=value&name=value", encoded as application/x-www-form-urlencoded (a space becomes "+").
 *
 * @pairs:    name, value, name, value ... NULL. Should be UTF-8; encoded byte by byte.
 *
 * Context:   Any thread.
 * Ownership: The caller's: free().
 * Returns:   NULL with errno EINVAL (a name without value, or NULL) or ENOMEM.
 */
UCO_API char *uco_http_encode(const char *const *pairs);

UCO_END_DECLS

#endif
