/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_BODY_SOURCE_H
#define UCO_HTTP_BODY_SOURCE_H

/* Where the body of a request comes from; and how forms and queries are encoded. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uco/http/request.h>

/* A file that is sent. Zeroed, it is none, and fine to close. */
struct uco__http_file {
    bool open;
    bool regular;   /* can be read again, from anywhere */
    bool unwritten; /* a FIFO, of which it is not known whether it has had a writer */
    int fd;
    long long size; /* bytes; -1: not known before its end */
};

/* Suspends, but never the loop. Errors as uco_open()'s; -EISDIR; on an error it is not open. */
int uco__http_file_open(struct uco__http_file *file, const char *path);
/* Suspends. `position` is of a regular file; others go on where they are. 0 = the end. */
ssize_t uco__http_file_read(struct uco__http_file *file, void *buf, size_t n, long long position);
void uco__http_file_close(struct uco__http_file *file);

enum uco__http_body_kind {
    UCO__HTTP_NO_BODY,
    UCO__HTTP_BYTES, /* all of it is in memory: `data`, `size` */
    UCO__HTTP_SOURCE /* uco__http_body_read() */
};

/* Zeroed, it is none, and fine to be done with. */
struct uco__http_body {
    enum uco__http_body_kind kind;
    const void *data;
    long long size;   /* bytes; -1: not known */
    const char *type; /* Content-Type; NULL: none is told */
    const uco_http_request_options *request;
    char *text;                    /* BYTES: an encoded form, ours */
    struct uco__http_file file;    /* of body_file */
    uco_http_multipart *multipart; /* is being sent by this one; NULL */
    bool open;                     /* uco__http_body_open() was called */
    long long position;            /* SOURCE: bytes delivered since the beginning */
    bool ended;                    /* SOURCE: has said so */
    bool failed;                   /* read_body has, and may have lost something */
    bool rewindable;               /* known when it is open */
};

/* What the request's options say; does not suspend. 0; -EINVAL (two bodies, a size without one ...;
 * as misuse), -EBUSY (the multipart is being sent), -ENOMEM; on an error too, it is to be done
 * with. Until it is open, the size of files is not known. */
int uco__http_body_plan(struct uco__http_body *body, const uco_http_request_options *request);
/* Suspends: files are opened, and measured. For requests whose turn has come: of 10,000 that queue
 * none may have a file open. 0 (the second time too); -ENOENT ..., -EFBIG, -ECANCELED, -ENOMEM. */
int uco__http_body_open(struct uco__http_body *body);
/* Does not suspend. A second time is fine. */
void uco__http_body_done(struct uco__http_body *body);

/* Of a SOURCE, in the requesting task, suspends: the next bytes, up to n; 0 = the end. -EIO: it
 * ended before `size`; or what the source has returned. Never delivers more than `size`. Nothing is
 * lost when it is cut short by a cancellation (but for what a user's read_body has lost): it may be
 * called again. */
ssize_t uco__http_body_read(struct uco__http_body *body, void *buf, size_t n);
/* Back to the beginning, for another attempt; in the requesting task, may suspend. 0 (where nothing
 * was delivered, always), -ESPIPE (it cannot) or an error. */
int uco__http_body_rewind(struct uco__http_body *body);

/* uco_http_encode() with the error: -EINVAL (not reported as misuse), -ENOMEM. Freed by
 * uco__free(). */
char *uco__http_encode(const char *const *pairs, int *error);
/* The URL with the pairs (NULL: none) after those of its own query, before its fragment. NULL with
 * -EINVAL (as misuse) or -ENOMEM. Freed by uco__free(). */
char *uco__http_url_add_params(const char *url, const char *const *params, int *error);

#endif
