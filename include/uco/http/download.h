/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_DOWNLOAD_H
#define UCO_INCLUDE_HTTP_DOWNLOAD_H

/* A URL into a file, whole or not at all. */

#include <uco/http/request.h>

UCO_BEGIN_DECLS

/** Zeroed, all fields mean their default. */
typedef struct uco_http_download_options {
    /* What else to send; NULL = nothing. Of it are taken: headers, params, user, password, token,
     * auth, max_body (of the file), max_redirects, retries, and timeout, which is for the download
     * in all; 0 = none: a file may take as long as something comes within the client's
     * read_timeout. */
    const uco_http_request_options *request;
    bool resume;     /* go on where an earlier attempt ended, and keep what has come if this one
                         fails: in "<path>.part", with what tells the server's version of the file
                         in "<path>.part.etag" */
    bool no_replace; /* -EEXIST if there is such a file */
    bool no_sync;    /* do not wait until it, or a part that is kept, is on the disk */
    mode_t mode;     /* of a new file, less the umask; 0 = 0666. One that is replaced hands its
                        permissions on */
    /* Called in the requesting task when bytes have come, and at the end; must not suspend.
     * `received` counts what an earlier attempt has brought; it falls back to 0 where the download
     * starts over. `total`: 0 = not known. */
    void (*progress)(uint64_t received, uint64_t total, void *arg);
    void *progress_arg;
    /* Called in the requesting task with each piece, in order, those of an earlier attempt too: for
     * check sums. Before the first piece it is called with NULL and 0, and again where the download
     * starts over: what came before is void then. May suspend; less than 0 ends the download with
     * that error. */
    int (*inspect)(const void *data, size_t size, void *arg);
    void *inspect_arg; /* verify's too */
    /* Called in the requesting task when all has come, and before it is put into its place: less
     * than 0 ends the download with that error, and nothing of it is kept (but for -ECANCELED). May
     * suspend. */
    int (*verify)(uint64_t size, void *arg);
    uintptr_t reserved[8];
} uco_http_download_options;

/** What a download has brought. */
typedef struct uco_http_download_result {
    long status;       /* of the response, also where the download fails because of it; 0: none */
    uint64_t size;     /* of the file, in bytes; on an error, what there is of it */
    uint64_t received; /* bytes of it that came this time */
    int attempts;      /* requests, those for the rest of it too */
    double seconds;
    uintptr_t reserved[8];
} uco_http_download_result;

/**
 * uco_http_download() - Fetch a URL into a file.
 *
 * It is written beside its place, synchronized with the disk and then renamed: whoever looks sees
 * the old file or the whole new one. Its length is checked against what the server announced. A
 * connection that breaks off within the body is taken up again where it ended, as often as
 * request->retries says, if the server can (Range with If-Range); otherwise it starts over. What
 * has come of one version of the server's file is never completed with the rest of another: what
 * tells them apart is an ETag that is not weak, or else a Last-Modified of long enough ago; without
 * them it starts over.
 *
 * What `resume` keeps is on the disk when the call returns. A part whose process was killed is gone
 * on with; one that the system went down with may have holes, and is fetched anew.
 *
 * If the path is a symbolic link, the file that it leads to is made or replaced, and the link
 * stays; the other names are beside that file then. Until the file is whole it has no name, where
 * the file system can do that, or else "<path>.XXXXXX"; nothing of it is left after an error or a
 * cancellation, unless `resume` is set.
 *
 * @url:      Absolute, or without scheme for a client that has a base_url.
 * @path:     The file.
 * @options:  NULL = the defaults.
 * @result:   Set, also on errors; NULL is fine.
 *
 * Context:   Coroutine. Suspends; the disk is waited for by the loop's pool of threads.
 * Returns:   0
 *            -ENOENT   a status of 404 or 410
 *            -EACCES   401, 403 or 407; or the folder, or the file to be replaced, may not be
 *                      written to; or, with resume, the part is another user's and in a folder
 *                      like /tmp
 *            -EPROTO   another status that brings no file: result->status has it; or the file was
 *                      shorter than announced
 *            -EEXIST   with no_replace: there is such a file, also if it came meanwhile
 *            -EBUSY    with resume: somebody else downloads to it, or has put something into the
 *                      part's place
 *            -EISDIR   the path is a folder
 *            -EINVAL   the path is a device, a pipe or a socket; with resume, the part is, or has
 *                      another name (a hard link); a NULL, or an option out of range
 *            -ENOSPC, -EDQUOT, -EIO ...  what the file system says
 *            -ETIMEDOUT, -ECANCELED ...  as uco_http_request()
 *            What inspect or verify returned.
 */
UCO_API int uco_http_download(uco_http_client *c, const char *url, const char *path,
                              const uco_http_download_options *options,
                              uco_http_download_result *result);

UCO_END_DECLS

#endif
