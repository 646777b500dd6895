/* SPDX-License-Identifier: MIT */

/* What can be asked about a stream's TLS. */

#include "io/tls.h"

#include "core/report.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Of one whose handshake is done; NULL for others. */
static const struct uco__tls *
query_established(const uco_stream *s)
{
    const struct uco__tls *tls = uco__tls_of(s);

    return tls != NULL && tls->established ? tls : NULL;
}

const char *
uco_stream_tls_alpn(const uco_stream *s)
{
    const struct uco__tls *tls = query_established(s);

    return tls != NULL && tls->alpn[0] != '\0' ? tls->alpn : NULL;
}

const char *
uco_stream_tls_version(const uco_stream *s)
{
    const struct uco__tls *tls = query_established(s);

    return tls != NULL ? SSL_get_version(tls->ssl) : NULL;
}

const char *
uco_stream_tls_server_name(const uco_stream *s)
{
    const struct uco__tls *tls = query_established(s);

    return tls != NULL ? SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
}

bool
uco_stream_tls_resumed(const uco_stream *s)
{
    const struct uco__tls *tls = query_established(s);

    return tls != NULL && SSL_session_reused(tls->ssl) == 1;
}

const char *
uco_stream_tls_error(const uco_stream *s)
{
    const struct uco__tls *tls = uco__tls_of(s);

    return tls != NULL ? tls->text : "";
}

/* A zero byte inside would make it seem another's name (CVE-2009-2408): then it is none. */
static int
name_copy(const ASN1_STRING *name, char *buf, size_t n)
{
    unsigned char *text = NULL;
    int size = name != NULL ? ASN1_STRING_to_UTF8(&text, name) : -1;
    int r = -ENODATA;

    if (size > 0 && memchr(text, '\0', (size_t) size) == NULL)
        r = (size_t) size < n ? size : -EMSGSIZE;
    if (r > 0) {
        memcpy(buf, text, (size_t) size);
        buf[size] = '\0';
    }
    OPENSSL_free(text);
    return r;
}

static int
name_common(const X509 *certificate, char *buf, size_t n)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    if (index < 0)
        return -ENODATA;
    return name_copy(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)), buf, n);
}

/* The first name that is text. */
static int
name_alternative(const X509 *certificate, char *buf, size_t n)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    int r = -ENODATA;

    for (int i = 0; i < count && r == -ENODATA; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS || name->type == GEN_EMAIL || name->type == GEN_URI)
            r = name_copy(name->d.ia5, buf, n);
    }
    GENERAL_NAMES_free(names);
    return r;
}

int
uco_stream_tls_peer_name(const uco_stream *s, char *buf, size_t n)
{
    const struct uco__tls *tls = query_established(s);
    const X509 *certificate;
    int r;

    if (s == NULL || buf == NULL)
        return uco__misuse(-EINVAL, "uco_stream_tls_peer_name: the stream or the buffer is NULL");
    certificate = tls != NULL ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    if (certificate == NULL)
        return -ENODATA;
    r = name_common(certificate, buf, n);
    if (r == -ENODATA)
        r = name_alternative(certificate, buf, n);
    ERR_clear_error();
    return r;
}
