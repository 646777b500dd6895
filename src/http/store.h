/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_STORE_H
#define UCO_HTTP_STORE_H

/*
 * Large blocks of memory that bodies have left, for the next ones: fresh ones cost a page fault
 * each 4 KiB, which is more than receiving what comes there.
 */

#include <stdatomic.h>
#include <stddef.h>

#define UCO__HTTP_STORE_LEAST ((size_t) 64 * 1024) /* bytes of a block that is worth keeping */

struct uco__http_store;

/* NULL without memory. One reference. */
struct uco__http_store *uco__http_store_new(void);
struct uco__http_store *uco__http_store_ref(struct uco__http_store *store);
/* With the last one the blocks go. */
void uco__http_store_unref(struct uco__http_store *store);

/* Any thread. A block of at least `size` bytes, and not too much more, *capacity in all; NULL:
 * there is none, or it is not worth it. */
char *uco__http_store_take(struct uco__http_store *store, size_t size, size_t *capacity);
/* Any thread. Keeps or frees a block; NULL is fine. */
void uco__http_store_give(struct uco__http_store *store, char *block, size_t capacity);
/* Any thread. Nothing is kept but what the next request may need. */
void uco__http_store_trim(struct uco__http_store *store);

#endif
