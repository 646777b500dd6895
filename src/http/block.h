/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_BLOCK_H
#define UCO_HTTP_BLOCK_H

/* Memory that grows. */

#include "base/system.h"

#include <stddef.h>

/* Room for `needed` bytes; at least doubles. 0 or -ENOMEM: it is as before. */
static inline int
uco__http_block_grow(char **block, size_t *capacity, size_t needed)
{
    size_t grown = *capacity * 2 > needed ? *capacity * 2 : needed;
    char *larger;

    if (needed <= *capacity)
        return 0;
    larger = uco__reallocate(*block, grown);
    if (larger == NULL)
        return -ENOMEM;
    *block = larger;
    *capacity = grown;
    return 0;
}

#endif
