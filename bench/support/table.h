/* SPDX-License-Identifier: MIT */
#ifndef TABLE_H
#define TABLE_H

/*
 * What a benchmark prints.
 */

#include "comparison.h"

/** One table for each metric. */
void table_print(const struct comparison *comparison);

/** How uco did beside the best of its peers, of all comparisons that were printed; nothing without
 * peers. */
void table_print_verdicts(void);

#endif
