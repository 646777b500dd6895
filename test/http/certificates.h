/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_CERTIFICATES_H
#define TEST_HTTP_CERTIFICATES_H

/*
 * Certificates for tests of TLS, made by the openssl program, in PEM:
 *
 *   ca.pem                       the authority's
 *   other-ca.pem                 one's that signed nothing
 *   local.pem, local.key         the authority's word for localhost, 127.0.0.1 and ::1
 *   named.pem, named.key         for shop.test and few.test
 *   expired.pem, expired.key     as local.pem, but its time is over
 *   alice.pem, alice.key         a client's; the key is encrypted with CERTIFICATES_PASSWORD
 *   local.pub                    the public key of local.pem
 *   named.pub                    the public key of named.pem
 *   local.pin                    local.pub as curl's option has it, "sha256//BASE64", on one line
 */

#include <stdbool.h>

#define CERTIFICATES_PASSWORD "a long secret"

/** Runs a program, without its output. Its exit status as waitpid has it; -1: it could not run. */
int program_run(const char *const *argv);

/** Makes them in a directory. false: there is no such program, or an older one. */
bool certificates_make(const char *directory);

#endif
