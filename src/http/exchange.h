/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_EXCHANGE_H
#define UCO_HTTP_EXCHANGE_H

/*
 * An exchange: one of a user's requests, from its call to the end of its response.
 *
 * A chain of hops: the first one, one for each redirect and for each retry. While `task` is set it
 * belongs to that task, which is in the call; after that to the response, which is read as a
 * stream.
 */

#include "base/list.h"
#include "core/scheduler.h"
#include "core/timers.h"
#include "http/body.h"
#include "http/driver.h"
#include "http/response.h"
#include "http/url.h"

#include <uco/http/request.h>
#include <uco/scope.h>

#define UCO__HTTP_AHEAD ((size_t) 128 * 1024)    /* bytes that are received ahead of a reader */
#define UCO__HTTP_AHEAD_LOW ((size_t) 64 * 1024) /* curl goes on when there are fewer */

struct uco__http_handle;
struct uco__http_host;
struct uco__http_upgrade;

/* What is told to hooks. */
struct uco_http_call {
    const char *method;
    const char *url;
    int attempt;
    struct curl_slist *headers; /* that they add */
};

/* What a response is, judged by its head. */
enum uco__http_verdict {
    UCO__HTTP_OPEN, /* not yet known */
    UCO__HTTP_FINAL,
    UCO__HTTP_REDIRECT,
    UCO__HTTP_RETRY
};

/* What is on its way from a body's source to curl. */
struct uco__http_upload {
    char *buffer;
    size_t start, end;
    long long told; /* bytes curl has got, of this hop */
    bool hungry;    /* curl waits for more */
    bool rewind;    /* curl wants it from the beginning */
    bool finished;  /* curl has all of it, or wants no more */
    bool source_ended;
    uco_scope *scope; /* around the reading of the source; NULL: it is not being read */
};

/* What curl's callbacks touch for each response stands in front: with a thousand others in between
 * it is all cold. */
struct uco__http_exchange {
    struct uco_http_client *client;
    struct uco__http_response *response; /* NULL: nobody wants it any more */
    struct uco__http_transfer transfer;  /* of the present hop */
    uint64_t heard; /* when something was received or sent last; loop's clock */
    enum uco__http_verdict verdict;
    int result; /* of the hop that has ended */
    int redirects_max;
    int retries; /* attempts left after the first */
    int attempt;
    bool streamed;
    bool with_body;
    bool ended;          /* the hop, and `result` says how */
    bool cancelled;      /* its task was, and waits for the end */
    bool waiting;        /* its task, in `wait` */
    bool enough;         /* it was ended because of what was `discarded` */
    bool transient;      /* the error may be another next time */
    bool begun;          /* the request is being sent */
    bool asked_for_more; /* the server, for a password or another header: curl sends it again */
    bool body_dropped;   /* by a redirect */
    bool digest;         /* curl may ask once more, with the password */
    long old_error;      /* what curl remembers from before the connection stood */
    struct uco__timer silence;         /* read_timeout */
    struct uco__http_upgrade *upgrade; /* NULL: it asks for none, or what it became is nobody's */
    struct uco__http_host *permit;
    struct uco__http_handle *handle;
    uint64_t slot;          /* when it had its permit; loop's clock */
    uint64_t lookup;        /* nanoseconds it took to find the host's addresses */
    uint64_t queued;        /* when it began to wait for its permit; loop's clock */
    struct uco__task *task; /* in the call; NULL: it has the head of its stream */
    struct uco__wait wait;  /* the task's */

    struct uco__list link;                 /* in the client's */
    const uco_http_request_options *asked; /* only while `task` is in the call */
    uco_scope scope;                       /* around all that the task does for it */
    const char *file;                      /* who called, of a stream */
    int line;
    int redirects;
    const char *method;
    struct uco__http_origin first; /* of the first hop, from the first redirect on */
    struct uco__http_body body;
    uint64_t due;               /* when it must have ended */
    struct uco__timer deadline; /* of a stream whose call is over */

    char *url; /* of the present hop, as all that follows */
    struct uco__http_origin origin;
    struct uco_http_call call;
    struct curl_slist *headers; /* all of its headers; NULL: the client's are used */
    struct uco__http_upload upload;
    double delay;        /* before the next attempt, of one that is to be done again */
    char *location;      /* of a redirect */
    size_t discarded;    /* bytes of a body that nobody will see */
    curl_off_t uploaded; /* when that was looked at last */
    /* Why it failed; NULL: curl's words (a copy), or the error's. */
    const char *why;
    char *words;
    /* Who is told of its progress. */
    void (*progress)(uint64_t received, uint64_t total, uint64_t sent, void *arg);
    void *progress_arg;
    uint64_t progress_received, progress_total, progress_sent; /* what was told last */
};

/* Whether the body goes to curl piece by piece: curl knows the way of one in memory itself, but
 * does not tell when it has sent all of it. */
static inline bool
uco__http_exchange_pumps(const struct uco__http_exchange *exchange)
{
    return exchange->with_body && (exchange->streamed || exchange->body.kind == UCO__HTTP_SOURCE);
}

/* For curl: what the easy handle of a hop is to call. */
CURLcode uco__http_exchange_connect(struct uco__http_exchange *exchange, CURL *easy);
/* Begins a hop, whose handle is set up: 0, and it will end, or an error. */
int uco__http_exchange_start(struct uco__http_exchange *exchange);
/* Suspends until the hop has ended, or the head of a stream is there and the request's body is
 * sent: 0, `ended` says which. -ECANCELED: the task was cancelled, and the hop has ended. */
int uco__http_exchange_await(struct uco__http_exchange *exchange);

/* Ends a hop that is under way, and suspends until that is done. */
void uco__http_exchange_end(struct uco__http_exchange *exchange);

/* What its response tells of how it went, up to now. */
void uco__http_exchange_measure(struct uco__http_exchange *exchange);
/* For curl: how far it is. 0. */
int uco__http_exchange_progressed(void *exchange, curl_off_t total, curl_off_t received,
                                  curl_off_t upload, curl_off_t sent);

/* The call is over, and the response a stream's: what comes from now on goes there. */
void uco__http_exchange_detach(struct uco__http_exchange *exchange);
/* Nobody wants the response any more. */
void uco__http_exchange_abandon(struct uco__http_exchange *exchange);
/* There is room for more of the body. */
void uco__http_exchange_go_on(struct uco__http_exchange *exchange);
/* Ends it with an error. */
void uco__http_exchange_fail(struct uco__http_exchange *exchange, int error, const char *why);

/* After its last hop: what it holds goes, and so does it. */
void uco__http_exchange_free(struct uco__http_exchange *exchange);

#endif
