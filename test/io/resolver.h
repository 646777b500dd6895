/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_RESOLVER_H
#define TEST_IO_RESOLVER_H

/*
 * A getaddrinfo() that does what names tell it to, for one source file of a program: the library,
 * which tests link as objects, calls it instead of the C library's.
 *
 *   n<number>...    has the addresses 127.1.0.<number> and 127.2.0.<number>
 *   gate...         has the address 127.3.0.1, and does not come back before a gate is opened for
 *                   it; gate-code<number> then fails, gate-slow then takes its time
 *   code<number>    fails with the EAI_ code -<number>
 *   errno<number>   fails with EAI_SYSTEM and that errno
 *   empty           succeeds, and finds nothing
 *   exit            ends its thread
 *   no name         ::1 and 127.0.0.1
 *   anything else   is not known
 */

#include "support.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uco/name.h>

enum { ASKED_MAX = 1024 };

static struct {
    atomic_int calls;
    atomic_int inside; /* of them, those that have not come back */
    atomic_int most;   /* that were inside at the same time */
    atomic_int lists;  /* given out and not freed */
    sem_t begun;       /* posted by each that waits at the gate */
    sem_t gate;
    pthread_mutex_t mutex;
    char asked[ASKED_MAX]; /* the last letter of each name, in the order in which they were asked */
} resolver = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Before each test, which is a process. */
static void
resolver_reset(void)
{
    sem_init(&resolver.begun, 0, 0);
    sem_init(&resolver.gate, 0, 0);
}

static void
resolver_note(const char *node)
{
    size_t length = node != NULL ? strlen(node) : 0;
    int call = atomic_fetch_add(&resolver.calls, 1);
    int inside = atomic_fetch_add(&resolver.inside, 1) + 1;
    int most = atomic_load(&resolver.most);

    while (inside > most && !atomic_compare_exchange_weak(&resolver.most, &most, inside))
        continue;
    pthread_mutex_lock(&resolver.mutex);
    if (call < ASKED_MAX - 1)
        resolver.asked[call] = length > 0 ? node[length - 1] : '-';
    pthread_mutex_unlock(&resolver.mutex);
}

static struct addrinfo *
resolver_address(int family, uint32_t four, const char *service, const char *canonical,
                 struct addrinfo *next)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in6));
    struct sockaddr_in6 *six = (struct sockaddr_in6 *) (void *) (info + 1);
    struct sockaddr_in *in = (struct sockaddr_in *) (void *) (info + 1);
    uint16_t port = htons((uint16_t) (service != NULL ? atoi(service) : 0));

    *info = (struct addrinfo){
        .ai_family = family,
        .ai_socktype = SOCK_STREAM,
        .ai_addr = (struct sockaddr *) in,
        .ai_addrlen = family == AF_INET ? sizeof *in : sizeof *six,
        .ai_canonname = canonical != NULL ? strdup(canonical) : NULL,
        .ai_next = next,
    };
    if (family == AF_INET)
        *in = (struct sockaddr_in){AF_INET, port, {htonl(four)}, {0}};
    else
        *six = (struct sockaddr_in6){AF_INET6, port, 0, IN6ADDR_LOOPBACK_INIT, 0};
    return info;
}

static struct addrinfo *
resolver_find(const char *node, const char *service, int flags)
{
    const char *canonical = flags & AI_CANONNAME ? node : NULL;

    if (node == NULL)
        return resolver_address(AF_INET6, 0, service, canonical,
                                resolver_address(AF_INET, 0x7f000001, service, NULL, NULL));
    if (strncmp(node, "gate", 4) == 0) {
        sem_post(&resolver.begun);
        while (sem_wait(&resolver.gate) != 0)
            continue;
        if (strstr(node, "slow") != NULL)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        if (strstr(node, "code") != NULL)
            return NULL;
        return resolver_address(AF_INET, 0x7f030001, service, canonical, NULL);
    }
    if (strcmp(node, "exit") == 0) {
        atomic_fetch_sub(&resolver.inside, 1);
        pthread_exit(NULL);
    }
    if (node[0] == 'n' && node[1] >= '0' && node[1] <= '9') {
        uint32_t number = (uint32_t) atoi(node + 1);

        return resolver_address(
            AF_INET, 0x7f010000 + number, service, canonical,
            resolver_address(AF_INET, 0x7f020000 + number, service, NULL, NULL));
    }
    return NULL;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    int code = EAI_NONAME;

    resolver_note(node);
    *result = resolver_find(node, service, hints != NULL ? hints->ai_flags : 0);
    if (*result != NULL) {
        atomic_fetch_add(&resolver.lists, 1);
        code = 0;
    } else if (strcmp(node, "empty") == 0) {
        code = 0;
    } else if (strstr(node, "code") != NULL) {
        code = -atoi(strstr(node, "code") + 4);
    } else if (strncmp(node, "errno", 5) == 0) {
        errno = atoi(node + 5);
        code = EAI_SYSTEM;
    }
    atomic_fetch_sub(&resolver.inside, 1);
    return code;
}

void
freeaddrinfo(struct addrinfo *list)
{
    atomic_fetch_sub(&resolver.lists, 1);
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list->ai_canonname);
        free(list);
        list = next;
    }
}

/* In a coroutine: until so many more look-ups wait at the gate. */
static inline void
resolver_await(int n)
{
    while (n > 0) {
        if (sem_trywait(&resolver.begun) == 0)
            n--;
        ck_assert_int_eq(uco_yield(), 0);
        sched_yield();
    }
}

static inline void
resolver_open(int n)
{
    while (n-- > 0)
        sem_post(&resolver.gate);
}

/* Outside loops: until every look-up has come back, and what it found is freed. */
static inline void
resolver_drain(void)
{
    while (atomic_load(&resolver.inside) > 0 || atomic_load(&resolver.lists) > 0)
        sched_yield();
}

/* The first address of a list as a number; the list is freed. */
static inline uint32_t
list_take(struct addrinfo *list)
{
    uint32_t address;

    ck_assert_ptr_nonnull(list);
    ck_assert_int_eq(list->ai_family, AF_INET);
    address = ntohl(((struct sockaddr_in *) (void *) list->ai_addr)->sin_addr.s_addr);
    uco_freeaddrinfo(list);
    return address;
}

/* Looks a name up and frees the list: zero, or the error. */
static inline int
find(const char *name)
{
    struct addrinfo *list = NULL;
    int r = uco_getaddrinfo(name, NULL, NULL, &list);

    ck_assert_int_eq(uco_gai_error() == 0, r == 0);
    ck_assert_int_eq(list != NULL, r == 0);
    uco_freeaddrinfo(list);
    return r;
}

static inline intptr_t
look_up(void *name)
{
    return find(name);
}

static inline uco_task *
asking(const char *name)
{
    return uco_create_task(look_up, (void *) (uintptr_t) name);
}

static inline void
settle(void)
{
    ck_assert_int_eq(uco_test_settle(), 0);
}

#endif
