/* SPDX-License-Identifier: MIT */

/*
 * The C library's names: questions, answers, and lists of addresses.
 *
 * 1. An answer's list is the C library's and stays here; what users get is a copy, in which each
 *    address is a block.
 * 2. errno is kept: the caller may be a coroutine.
 */

#include "io/resolve.h"

#include "base/error.h"
#include "base/system.h"

#include <string.h>
#include <strings.h>
#include <uco/name.h>

/* --- errors --- */

static int
answer_error(const struct uco__answer *answer)
{
    switch (answer->code) {
    case 0:
        return 0;
    case EAI_NONAME:
    case EAI_SERVICE:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        return -ENOENT;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_FAMILY:
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
        return -EAFNOSUPPORT;
    case EAI_SOCKTYPE:
        return -ESOCKTNOSUPPORT;
    case EAI_OVERFLOW:
        return -EOVERFLOW;
    case EAI_BADFLAGS:
#ifdef EAI_IDN_ENCODE
    case EAI_IDN_ENCODE:
#endif
        return -EINVAL;
    case EAI_SYSTEM:
        return answer->error < 0 ? answer->error : -EIO;
    default:
        return -EIO;
    }
}

/* The code for an error of uco's own. */
int
uco__resolve_code(int error)
{
    switch (error) {
    case -ENOMEM:
        return EAI_MEMORY;
    case -EAGAIN:
        return EAI_AGAIN;
#ifdef EAI_CANCELED
    case -ECANCELED:
        return EAI_CANCELED;
#endif
    default:
        return EAI_SYSTEM;
    }
}

/* --- lists --- */

/* One of a list. Each is a block of its own, as users may take lists apart. */
static struct addrinfo *
address_copy(const struct addrinfo *from, const char *canonical)
{
    struct addrinfo *info = uco__allocate(sizeof *info + from->ai_addrlen);

    if (info == NULL)
        return NULL;
    *info = *from;
    info->ai_next = NULL;
    info->ai_canonname = uco__string_copy(canonical);
    if (from->ai_addr != NULL) {
        info->ai_addr = (struct sockaddr *) (void *) (info + 1);
        memcpy(info->ai_addr, from->ai_addr, from->ai_addrlen);
    }
    if (canonical == NULL || info->ai_canonname != NULL)
        return info;
    uco__free(info);
    return NULL;
}

static int
list_copy(const struct uco__answer *answer, struct addrinfo **list)
{
    const char *canonical = answer->canonical;
    struct addrinfo *copy = NULL, **end = &copy;

    for (const struct addrinfo *from = answer->list; from != NULL; from = from->ai_next) {
        *end = address_copy(from, from->ai_canonname != NULL ? from->ai_canonname : canonical);
        if (*end == NULL) {
            uco_freeaddrinfo(copy);
            return -ENOMEM;
        }
        end = &(*end)->ai_next;
        canonical = NULL;
    }
    *list = copy;
    return 0;
}

void
uco_freeaddrinfo(struct addrinfo *res)
{
    while (res != NULL) {
        struct addrinfo *next = res->ai_next;

        uco__free(res->ai_canonname);
        uco__free(res);
        res = next;
    }
}

/* A list of the caller's own: 0 or a negative error, and the code for it. */
int
uco__answer_copy(const struct uco__answer *answer, struct addrinfo **list, int *code)
{
    int r = answer_error(answer);

    *code = answer->code;
    if (r < 0)
        return r;
    r = list_copy(answer, list);
    if (r < 0)
        *code = uco__resolve_code(r);
    return r;
}

void
uco__answer_done(struct uco__answer *answer)
{
    if (answer->list != NULL)
        freeaddrinfo(answer->list);
    answer->list = NULL;
}

/* --- asking --- */

struct uco__answer
uco__question_ask(const struct uco__question *question)
{
    struct uco__answer answer = {.error = uco__fault(UCO__FAULT_getaddrinfo)};
    int saved_errno = uco__errno_save();

    if (answer.error < 0) {
        answer.code = EAI_SYSTEM;
        return answer;
    }
    *uco__error_location() = 0;
    answer.code = getaddrinfo(question->node, question->service, &question->hints, &answer.list);
    answer.error = -*uco__error_location();
    *uco__error_location() = saved_errno;
    if (answer.code != 0)
        answer.list = NULL;
    else if (answer.list == NULL)
        answer.code = EAI_NONAME;
    return answer;
}

bool
uco__node_ends_with(const char *node, const char *last)
{
    size_t length = strlen(node);
    size_t size = strlen(last);

    if (length > 0 && node[length - 1] == '.')
        length--;
    return length >= size && strncasecmp(node + length - size, last, size) == 0 &&
           (length == size || node[length - size - 1] == '.');
}

static struct uco__answer
question_ask_loopback(const struct uco__question *question)
{
    struct uco__question here = *question;
    struct uco__answer answer;

    here.node = NULL;
    if (here.service == NULL)
        here.service = "0";
    here.hints.ai_flags &= ~(AI_PASSIVE | AI_CANONNAME);
    answer = uco__question_ask(&here);
    if ((question->hints.ai_flags & AI_CANONNAME) != 0)
        answer.canonical = question->node;
    return answer;
}

/* RFC 6761: localhost, and all below it, is this machine, also where no file and no server says
 * so. */
struct uco__answer
uco__question_look_up(const struct uco__question *question)
{
    struct uco__answer answer = uco__question_ask(question);

    if (answer.code != 0 && question->node != NULL &&
        (question->hints.ai_flags & AI_NUMERICHOST) == 0 &&
        uco__node_ends_with(question->node, "localhost"))
        answer = question_ask_loopback(question);
    return answer;
}
