/* SPDX-License-Identifier: MIT */

/*
 * The sessions that a client can resume, in its context.
 *
 * 1. The list is in the order of arrival, the newest first, and bounded, as is each key's share.
 * 2. A ticket of TLS 1.3 is used once: two connections with one ticket could be told to be the same
 *    client's (RFC 8446, C.4).
 */

#include "io/tls.h"

#include "base/system.h"

#include <string.h>

#define SESSIONS_MAX 256
#define SESSIONS_PER_KEY 4 /* a server gives two at once */

struct session {
    struct uco__list link;
    SSL_SESSION *ssl_session;
    char key[];
};

static bool
session_is_single_use(const SSL_SESSION *session)
{
    return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

/* Out of the list; its SSL_SESSION is the caller's. */
static SSL_SESSION *
session_remove(struct uco_tls_context *context, struct session *session)
{
    SSL_SESSION *ssl_session = session->ssl_session;

    uco__list_remove(&session->link);
    context->session_count--;
    uco__free(session);
    return ssl_session;
}

/* With the mutex held: the oldest one that has no place any more, or NULL. */
static struct session *
sessions_excess(struct uco_tls_context *context, const char *key, unsigned most)
{
    struct session *oldest = NULL, *oldest_of_key = NULL;
    unsigned of_key = 0;

    UCO__LIST_EACH(link, &context->sessions) {
        struct session *session = UCO__CONTAINER(link, struct session, link);

        oldest = session;
        if (strcmp(session->key, key) == 0) {
            oldest_of_key = session;
            of_key++;
        }
    }
    if (of_key > most)
        return oldest_of_key;
    return context->session_count > SESSIONS_MAX ? oldest : NULL;
}

int
uco__tls_session_keep(SSL *ssl, SSL_SESSION *ssl_session)
{
    const struct uco__tls *tls = SSL_get_app_data(ssl);
    struct uco_tls_context *context = tls->context;
    struct session *session, *excess;

    if (tls->key[0] == '\0' || !SSL_SESSION_is_resumable(ssl_session))
        return 0;
    session = uco__allocate(sizeof *session + strlen(tls->key) + 1);
    if (session == NULL)
        return 0; /* the next handshake will be a full one */
    session->ssl_session = ssl_session;
    memcpy(session->key, tls->key, strlen(tls->key) + 1);
    pthread_mutex_lock(&context->mutex);
    uco__list_push_front(&context->sessions, &session->link);
    context->session_count++;
    excess = sessions_excess(context, tls->key,
                             session_is_single_use(ssl_session) ? SESSIONS_PER_KEY : 1);
    if (excess != NULL)
        SSL_SESSION_free(session_remove(context, excess));
    pthread_mutex_unlock(&context->mutex);
    return 1; /* its reference is ours */
}

SSL_SESSION *
uco__tls_session_take(struct uco_tls_context *context, const char *key)
{
    SSL_SESSION *found = NULL;

    pthread_mutex_lock(&context->mutex);
    UCO__LIST_EACH(link, &context->sessions) {
        struct session *session = UCO__CONTAINER(link, struct session, link);

        if (strcmp(session->key, key) != 0)
            continue;
        found = session->ssl_session;
        if (session_is_single_use(found))
            session_remove(context, session);
        else
            SSL_SESSION_up_ref(found);
        break;
    }
    pthread_mutex_unlock(&context->mutex);
    return found;
}

void
uco__tls_sessions_forget(struct uco_tls_context *context, const char *key)
{
    struct uco__list *link, *next;

    pthread_mutex_lock(&context->mutex);
    for (link = context->sessions.next; link != &context->sessions; link = next) {
        struct session *session = UCO__CONTAINER(link, struct session, link);

        next = link->next;
        if (strcmp(session->key, key) == 0)
            SSL_SESSION_free(session_remove(context, session));
    }
    pthread_mutex_unlock(&context->mutex);
}

void
uco__tls_sessions_free(struct uco_tls_context *context)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&context->sessions)) != NULL) {
        struct session *session = UCO__CONTAINER(link, struct session, link);

        SSL_SESSION_free(session->ssl_session);
        uco__free(session);
    }
}
