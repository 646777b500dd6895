/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_RESOLVE_H
#define UCO_IO_RESOLVE_H

/* What the C library is asked about names, and what it says. Any thread; nothing here suspends. */

#include <netdb.h>
#include <stdbool.h>

struct uco__question {
    const char *node;    /* NULL: none */
    const char *service; /* NULL: none */
    struct addrinfo hints;
};

/* Zeroed: an answer without a list. */
struct uco__answer {
    int code;              /* EAI_ ..., or 0 */
    int error;             /* negative, of EAI_SYSTEM */
    struct addrinfo *list; /* the C library's */
    const char *canonical; /* of the list's first, if it has no name; borrowed; NULL: none is
                              wanted */
};

/* Blocks while the C library reads files or waits for name servers. */
struct uco__answer uco__question_ask(const struct uco__question *question);
/* The same for what may be a name, by RFC 6761. The question must outlive the answer. */
struct uco__answer uco__question_look_up(const struct uco__question *question);

/* A list for uco_freeaddrinfo(): 0, or a negative error; and the EAI_ code for it. */
int uco__answer_copy(const struct uco__answer *answer, struct addrinfo **list, int *code);
void uco__answer_done(struct uco__answer *answer);

/* The EAI_ code for an error of uco's own. */
int uco__resolve_code(int error);
/* Whether it is `last` or a name below it. */
bool uco__node_ends_with(const char *node, const char *last);

#endif
