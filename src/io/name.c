/* SPDX-License-Identifier: MIT */

/*
 * Names to addresses.
 *
 * 1. What needs neither the network nor a file is answered at once, in the calling thread. All else
 *    is looked up in another.
 */

#include "io/name.h"

#include "base/system.h"
#include "core/report.h"
#include "io/lookup.h"
#include "io/resolve.h"
#include "task/task.h"

#include <stdio.h>
#include <string.h>
#include <uco/name.h>

#define NODE_MAX ((size_t) NI_MAXHOST) /* bytes; a name of DNS has at most 253 */
#define SERVICE_MAX ((size_t) NI_MAXSERV)
#define PORT_MAX 8 /* characters */

#ifdef __GLIBC__
#define FLAGS_DEFAULT (AI_V4MAPPED | AI_ADDRCONFIG) /* what it takes no hints for */
#define FLAGS_IDN (AI_IDN | AI_CANONIDN | 0x300)    /* the last two are deprecated, and taken */
#else
#define FLAGS_DEFAULT 0
#define FLAGS_IDN 0
#endif
#define FLAGS_KNOWN                                                                                \
    (AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_NUMERICSERV | AI_V4MAPPED | AI_ALL |          \
     AI_ADDRCONFIG | FLAGS_IDN)

/* --- what need not be looked up --- */

/* Longer ones exist nowhere, and would only be carried about. */
static bool
question_is_endless(const struct uco__question *question)
{
    return (question->node != NULL && strnlen(question->node, NODE_MAX) == NODE_MAX) ||
           (question->service != NULL && strnlen(question->service, SERVICE_MAX) == SERVICE_MAX);
}

static bool
service_is_numeric(const char *service)
{
    return service == NULL || service[strspn(service, "0123456789")] == '\0';
}

/* Whether a node may be a numeric address: those that look so and are none cost a try. */
static bool
node_looks_numeric(const char *node)
{
    return (*node >= '0' && *node <= '9') || strchr(node, ':') != NULL;
}

/* Answers what needs no file and no network; false: it must be looked up. */
static bool
question_answer(const struct uco__question *question, struct uco__answer *answer)
{
    int flags = question->hints.ai_flags;
    struct uco__question numeric = *question;

    if (question->node != NULL && uco__node_ends_with(question->node, "invalid")) {
        *answer = (struct uco__answer){.code = EAI_NONAME}; /* RFC 6761: nobody is to be asked */
        return true;
    }
    if (!service_is_numeric(question->service) && (flags & AI_NUMERICSERV) == 0)
        return false;
    if (question->node == NULL || (flags & AI_NUMERICHOST) != 0) {
        *answer = uco__question_ask(question);
        return true;
    }
    if (!node_looks_numeric(question->node))
        return false;
    numeric.hints.ai_flags |= AI_NUMERICHOST;
    *answer = uco__question_ask(&numeric);
    for (struct addrinfo *info = answer->list; info != NULL; info = info->ai_next)
        info->ai_flags &= ~AI_NUMERICHOST; /* glibc tells the hints' */
    /* No such address; or what was to be a numeric service is none. */
    return answer->code != EAI_NONAME || !service_is_numeric(question->service);
}

/* --- the API --- */

static int
name_find(struct uco__task *task, const struct uco__question *question, struct addrinfo **list,
          int *code)
{
    struct uco__answer answer = {.code = EAI_NONAME};
    int r;

    if (!question_is_endless(question) && !question_answer(question, &answer))
        return uco__lookup(task, question, list, code);
    r = uco__answer_copy(&answer, list, code);
    uco__answer_done(&answer);
    return r;
}

/* 0, or what is wrong with the call and the EAI_ code for it. */
static int
name_check(const struct uco__question *question, struct addrinfo **res, int *code)
{
    *code = EAI_SYSTEM;
    if (res == NULL)
        return uco__misuse(-EINVAL, "uco_getaddrinfo: nowhere to put the result");
    *code = EAI_NONAME;
    if (question->node == NULL && question->service == NULL)
        return uco__misuse(-EINVAL, "uco_getaddrinfo: neither a node nor a service");
    *code = EAI_BADFLAGS;
    if ((question->hints.ai_flags & ~FLAGS_KNOWN) != 0)
        return uco__misuse(-EINVAL, "uco_getaddrinfo: unknown flags in the hints");
    *code = 0;
    return 0;
}

int
uco_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    struct uco__question question = {
        .node = node,
        .service = service,
        .hints = hints != NULL ? *hints : (struct addrinfo){.ai_flags = FLAGS_DEFAULT},
    };
    struct addrinfo *list = NULL;
    struct uco__task *task;
    int code;
    int r = uco__checkpoint();

    if (r == -EPERM || r == -ESTALE)
        return r;
    task = uco__task_of(uco_current_task());
    code = uco__resolve_code(r);
    if (r == 0)
        r = name_check(&question, res, &code);
    if (r == 0)
        r = name_find(task, &question, &list, &code);
    task->gai_error = code;
    if (r == 0)
        *res = list;
    return r;
}

int
uco_gai_error(void)
{
    const uco_task *task = uco_current_task();

    return task != NULL ? uco__task_of(task)->gai_error : 0;
}

/* --- for the other files --- */

int
uco__name_numeric(const char *host, uint16_t port, struct addrinfo **result)
{
    char text[PORT_MAX];
    struct uco__question question = {
        .node = host,
        .service = text,
        .hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                  .ai_socktype = SOCK_STREAM},
    };
    struct uco__answer answer;
    int code, r;

    snprintf(text, sizeof text, "%u", (unsigned) port);
    answer = uco__question_ask(&question);
    r = uco__answer_copy(&answer, result, &code);
    uco__answer_done(&answer);
    return r;
}

int
uco__name_lookup(const char *host, uint16_t port, int flags, struct addrinfo **result)
{
    struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    char text[PORT_MAX];

    snprintf(text, sizeof text, "%u", (unsigned) port);
    return uco_getaddrinfo(host, text, &hints, result);
}
