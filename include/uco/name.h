/* SPDX-License-Identifier: MIT */
#ifndef UCO_NAME_H
#define UCO_NAME_H

/*
 * Names to addresses: getaddrinfo(3), suspending only the calling coroutine.
 *
 * The C library does the work, so /etc/nsswitch.conf, /etc/hosts and /etc/resolv.conf count. Each
 * loop looks up on up to sixteen threads of its own, made when they are first needed;
 * uco_to_thread() has others. While all of them wait for name servers that do not answer, further
 * look-ups queue, in their order; each can be cancelled, and its caller leaves at once. How long
 * the C library waits is said in /etc/resolv.conf (resolv.conf(5): "timeout" and "attempts").
 *
 * Tasks of a loop that ask the same at the same time share one look-up; each gets a list of its
 * own, or the error. One that all its callers have left goes on if it has begun, and serves who
 * asks the same again. Answers are not kept.
 *
 * RFC 6761: "localhost" and all names below it lead to this machine also where nobody else says so,
 * and names below "invalid" do not exist: nobody is asked.
 */

#include <netdb.h>
#include <sys/socket.h>
#include <uco/common.h>

UCO_BEGIN_DECLS

struct addrinfo;

/**
 * uco_getaddrinfo() - getaddrinfo(3): the addresses of a name.
 *
 * Numeric addresses, and no name at all, are answered at once unless the service is a name, which
 * must be looked up as well.
 *
 * @node:     A name or a numeric address; NULL: this machine, or with AI_PASSIVE all its addresses.
 * @service:  A service's name or port number; NULL: the ports in the answer are 0.
 * @hints:    As getaddrinfo(3); NULL: the C library's defaults.
 * @res:      Set on success only: a list of at least one.
 *
 * Context:   Coroutine. Suspends, unless it can be answered at once.
 * Ownership: The list is the caller's: uco_freeaddrinfo(), never freeaddrinfo().
 * Returns:   0
 *            -ENOENT           the name is unknown or has no address, or the service is unknown
 *            -EAGAIN           not now: a name server is silent or failing, or the system gives no
 *                              thread; may be asked again later
 *            -EIO              a name server refuses for good, or what the C library says is
 *                              nothing of this
 *            -EAFNOSUPPORT     unknown hints->ai_family, or the address is of another family
 *            -ESOCKTNOSUPPORT  hints->ai_socktype and ai_protocol do not go together
 *            -EOVERFLOW        too much for a buffer
 *            -ENOMEM           no memory
 *            -EINVAL           unknown flags or flags that make no sense, node and service both
 *                              NULL, res NULL, a name that cannot be encoded
 *            -ECANCELED        an enclosing scope was cancelled
 *            -EPERM            not in a coroutine, numeric addresses included
 *            and the error of a system call that failed (EAI_SYSTEM). uco_gai_error() tells more.
 */
UCO_API int uco_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                            struct addrinfo **res);

/**
 * uco_freeaddrinfo() - Free a list of uco_getaddrinfo(), or any part of one.
 *
 * @res:    NULL is fine. Lists of getaddrinfo(3) itself must not be given.
 *
 * Context: Any thread. Does not suspend.
 */
UCO_API void uco_freeaddrinfo(struct addrinfo *res);

/**
 * uco_gai_error() - What the calling task's last look-up ended with, as gai_strerror(3) knows it.
 *
 * uco_dial(), uco_listen() and others that are given a name look it up in the calling task too.
 *
 * Context: Coroutine. Does not suspend.
 * Returns: An EAI_ code: 0 after a success, before the first look-up and outside a coroutine;
 *          EAI_SYSTEM where there is no better one: then the look-up's result says it all.
 */
UCO_API int uco_gai_error(void);

UCO_END_DECLS

#endif
