/* SPDX-License-Identifier: MIT */

/*
 * OpenSSL's errors, as negative ones and in words.
 *
 * 1. OpenSSL keeps a queue of errors a thread, so each is read before anything can suspend.
 * 2. So is the text of uco_tls_error() a thread's. Where it is is asked anew each time: a coroutine
 *    may go on in another thread, which the compiler does not know.
 */

#include "io/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* Where the numbers of alerts begin among OpenSSL's reasons. */
#define ALERTS SSL_AD_REASON_OFFSET
#define ALERT_CERTIFICATE_REQUIRED 116 /* OpenSSL has no public name for its reason */

static const char *
error_words(unsigned long code)
{
    const char *words =
        ERR_SYSTEM_ERROR(code) ? uco_strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    return words != NULL ? words : "an unknown error of OpenSSL";
}

static int
error_of_file(unsigned long code)
{
    int reason = ERR_GET_REASON(code);

    if (ERR_SYSTEM_ERROR(code))
        return reason > 0 && reason <= UCO_MAX_ERROR ? -reason : -EIO;
    if (reason == ERR_R_MALLOC_FAILURE)
        return -ENOMEM;
    if (ERR_GET_LIB(code) == ERR_LIB_X509 && reason == X509_R_KEY_VALUES_MISMATCH)
        return -EKEYREJECTED;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_NO_CIPHER_MATCH)
        return -EINVAL;
    return -EBADMSG;
}

int
uco__tls_error_take(char text[UCO__TLS_TEXT_MAX], const char *what)
{
    unsigned long code = ERR_peek_error();

    snprintf(text, UCO__TLS_TEXT_MAX, "%s: %s", what, error_words(code));
    ERR_clear_error();
    return error_of_file(code);
}

/* Whether the other side says that it does not accept our certificate. */
static bool
alert_is_about_certificate(int alert)
{
    switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case ALERT_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static int
error_of_tls(struct uco__tls *tls, unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    int host = (int) strcspn(tls->key, "\n");

    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        snprintf(tls->text, sizeof tls->text, "%s%s%.*s",
                 X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl)),
                 host > 0 ? ": " : "", host, tls->key);
        return -EKEYREJECTED;
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= ALERTS && reason < ALERTS + 256) {
        snprintf(tls->text, sizeof tls->text, "the other side refused: %s", error_words(code));
        return alert_is_about_certificate(reason - ALERTS) ? -EKEYREJECTED : -EPROTO;
    }
    snprintf(tls->text, sizeof tls->text, "%s", error_words(code));
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return -EKEYREJECTED;
    return reason == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EPROTO;
}

int
uco__tls_error_of(struct uco__tls *tls)
{
    unsigned long code = ERR_peek_error();
    int error = tls->wire_error;

    if (error == 0 && code != 0) {
        error = error_of_tls(tls, code);
    } else {
        if (error == 0)
            error = -EPROTO;
        snprintf(tls->text, sizeof tls->text, "%s",
                 tls->wire_words != NULL ? tls->wire_words : uco_strerror(error));
    }
    ERR_clear_error();
    return error;
}

/* --- of contexts --- */

static _Thread_local char context_text[UCO__TLS_TEXT_MAX];

UCO__NOINLINE void
uco__tls_error_note(const char *text)
{
    snprintf(context_text, sizeof context_text, "%s", text);
}

UCO__NOINLINE const char *
uco_tls_error(void)
{
    return context_text;
}
