/* SPDX-License-Identifier: MIT */

/* Pages that take a body, and pages that want to know who asks. */

#include "connection.h"
#include "digest.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- bodies --- */

static int
put_body(struct connection *c)
{
    int r = put_head(c, "200 OK", c->body_size);

    return r < 0 || c->without_body ? r : put_bytes(c, c->body, c->body_size);
}

int
page_upload(struct connection *c)
{
    return put_body(c);
}

static int
take_and_put(struct connection *c)
{
    int r = body_take(c);

    return r < 0 ? r : put_body(c);
}

int
page_ignore(struct connection *c)
{
    c->expects = false;
    return take_and_put(c);
}

int
page_expect417(struct connection *c)
{
    if (!c->expects)
        return take_and_put(c);
    c->taken = true; /* it will not come */
    return put_page(c, "417 Expectation Failed", "no");
}

int
page_early(struct connection *c)
{
    char head[128], bytes[4096];
    ssize_t n;
    int r;

    snprintf(head, sizeof head,
             "HTTP/1.1 %zu Early\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly",
             path_number(c));
    r = put(c, head);
    if (r < 0)
        return r;
    shutdown(c->fd, SHUT_WR);
    while ((n = uco_read(c->fd, bytes, sizeof bytes)) > 0)
        c->server->received += (size_t) n;
    return n < 0 ? (int) n : -ECONNABORTED;
}

int
page_hangup(struct connection *c)
{
    int r = put_page(c, "413 Content Too Large", "hangup");

    reset_at_close(c);
    return r < 0 ? r : -ECONNABORTED;
}

int
page_slow(struct connection *c)
{
    c->pace = path_number(c);
    return take_and_put(c);
}

int
page_gateupload(struct connection *c)
{
    int r = uco_event_wait(&c->server->gate);

    return r < 0 ? r : take_and_put(c);
}

/* --- who asks --- */

static int
welcome(struct connection *c, bool known, const char *challenge)
{
    char head[512];

    if (known)
        return put_page(c, "200 OK", "welcome");
    snprintf(head, sizeof head,
             "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s\r\nContent-Length: 3\r\n\r\n%s",
             challenge, c->without_body ? "" : "who");
    return put(c, head);
}

static int
page_auth(struct connection *c, const char *wanted, const char *challenge)
{
    char buf[512];
    const char *given = head_value(c, "Authorization", buf, sizeof buf);

    return welcome(c, given != NULL && strcmp(given, wanted) == 0, challenge);
}

int
page_basic(struct connection *c)
{
    return page_auth(c, "Basic dXNlcjpzZWNyZXQ=", "Basic realm=\"test\"");
}

int
page_bearer(struct connection *c)
{
    return page_auth(c, "Bearer token", "Bearer realm=\"test\"");
}

/* The value of one of the pairs of a header like `Digest name="value", name=value`. */
static const char *
pair_value(const char *pairs, const char *name, char *buf, size_t size)
{
    size_t length = strlen(name);

    buf[0] = '\0';
    for (const char *at = strchr(pairs, ' '); at != NULL; at = strchr(at, ',')) {
        at += 1 + strspn(at + 1, " ");
        if (strncmp(at, name, length) != 0 || at[length] != '=')
            continue;
        at += length + 1;
        if (*at == '"')
            snprintf(buf, size, "%.*s", (int) strcspn(at + 1, "\""), at + 1);
        else
            snprintf(buf, size, "%.*s", (int) strcspn(at, ", "), at);
        break;
    }
    return buf;
}

/* RFC 7616, with qop=auth. */
static bool
digest_is_right(const struct connection *c, const char *given, digest_fn *hash)
{
    char nonce[64], count[64], client_nonce[128], quality[32], uri[512], response[128], user[64];
    char who[DIGEST_TEXT], what[DIGEST_TEXT], all[DIGEST_TEXT];
    char text[1024];

    pair_value(given, "username", user, sizeof user);
    pair_value(given, "nonce", nonce, sizeof nonce);
    pair_value(given, "nc", count, sizeof count);
    pair_value(given, "cnonce", client_nonce, sizeof client_nonce);
    pair_value(given, "qop", quality, sizeof quality);
    pair_value(given, "uri", uri, sizeof uri);
    pair_value(given, "response", response, sizeof response);
    snprintf(text, sizeof text, "%s:test:secret", user);
    hash(text, who);
    snprintf(text, sizeof text, "%.*s:%s", (int) strcspn(c->head, " "), c->head, uri);
    hash(text, what);
    snprintf(text, sizeof text, "%s:%s:%s:%s:%s:%s", who, nonce, count, client_nonce, quality,
             what);
    hash(text, all);
    return strcmp(all, response) == 0 && strcmp(nonce, "fresh") == 0 && strcmp(user, "user") == 0 &&
           strcmp(quality, "auth") == 0 && strcmp(uri, c->path) == 0;
}

static int
page_digested(struct connection *c, digest_fn *hash, const char *challenge)
{
    char buf[1024];
    const char *given = head_value(c, "Authorization", buf, sizeof buf);

    return welcome(c, given != NULL && digest_is_right(c, given, hash), challenge);
}

int
page_digest(struct connection *c)
{
    return page_digested(c, digest_md5,
                         "Digest realm=\"test\", nonce=\"fresh\", qop=\"auth\", algorithm=MD5");
}

int
page_digest256(struct connection *c)
{
    return page_digested(c, digest_sha256,
                         "Digest realm=\"test\", nonce=\"fresh\", qop=\"auth\", "
                         "algorithm=SHA-256");
}
