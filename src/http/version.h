/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_VERSION_H
#define UCO_HTTP_VERSION_H

/* What tells one version of a server's file from another: a part of the one must never be completed
 * with the rest of the other. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uco/http/response.h>

#define UCO__HTTP_VALIDATOR_MAX 512 /* bytes; a longer one is as good as none */
#define UCO__HTTP_NOTE_MAX (UCO__HTTP_VALIDATOR_MAX + 64)

struct uco__http_version {
    /* As If-Range has it: a strong ETag, or a date; "": nothing says that two answers are of the
     * same version. */
    char validator[UCO__HTTP_VALIDATOR_MAX];
    int64_t size; /* bytes; -1: not known */
};

/* A Content-Range in bytes. */
struct uco__http_content_range {
    int64_t first, last; /* -1: none of it ("*"), as an answer of 416 says */
    int64_t size;        /* of the whole; -1: not known ("*") */
};

/* "bytes 0-9/10", "bytes 0-9/ *" without the space, "bytes * /10" likewise. */
bool uco__http_content_range_parse(struct uco__http_content_range *range, const char *text);

/* What an answer that brings the whole file says of it. */
void uco__http_version_init(struct uco__http_version *version, const uco_http_response *response);
/* Whether nothing in an answer says that it is of another version; `size`: what it says of the
 * whole, -1: nothing. */
bool uco__http_version_fits(const struct uco__http_version *version,
                            const uco_http_response *response, int64_t size);

/* As a text to keep beside a part. The length, without the zero byte. */
size_t uco__http_version_print(const struct uco__http_version *version,
                               char text[UCO__HTTP_NOTE_MAX]);
/* Only exactly what was printed; else false, and no version. */
bool uco__http_version_parse(struct uco__http_version *version, const char *text);

#endif
