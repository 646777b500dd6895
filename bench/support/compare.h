/* SPDX-License-Identifier: MIT */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdbool.h>

/** How many rounds a comparison takes, warming up aside. */
void compare_begin(unsigned rounds);

/** Prints how uco stands; false when a count was wrong. */
bool compare_end(void);

#endif
