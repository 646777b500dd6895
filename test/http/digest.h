/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_DIGEST_H
#define TEST_HTTP_DIGEST_H

/* The two hashes of digest authentication, of short texts, in hexadecimal. For a test's server:
 * neither fast nor secret. */

#define DIGEST_TEXT 65 /* bytes that the result needs at most */

typedef void digest_fn(const char *text, char *hex);

digest_fn digest_md5, digest_sha256;

#endif
