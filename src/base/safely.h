/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_SAFELY_H
#define UCO_BASE_SAFELY_H

/* What a signal handler may do, at any moment and whatever has become of the memory. errno is kept.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A prime number: stacks lie at distances that are powers of two. */
#define UCO__PEEK_PAGES 61

struct uco__peek {
    pid_t self;
    bool foreign;                     /* other threads may unmap what is read, or write to it */
    unsigned long reads;              /* so far */
    uintptr_t pages[UCO__PEEK_PAGES]; /* that were there a moment ago; 0: none */
};

void uco__peek_init(struct uco__peek *peek, bool foreign);
/* Copies memory that may not be there: false if not all of it can be read. */
bool uco__peek(struct uco__peek *peek, void *to, const void *from, size_t size);

/* write(2) of all of it; on an fd that does not wait, each time waits a second at most. 0, or a
 * negative error. Never SIGPIPE. */
int uco__write_all(int fd, const char *data, size_t size);

#endif
