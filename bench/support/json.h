/* SPDX-License-Identifier: MIT */
#ifndef JSON_H
#define JSON_H

/*
 * The file that --json asks for, which bench/report.py reads. Without one these do nothing.
 */

#include "comparison.h"

/** What is measured, and where. */
struct setting {
    const char *benchmark;
    const char *title;
    const char *processor;
    unsigned processors;
    const char *system;
    const char *compiler;
    bool quick;
    unsigned rounds;
};

/** Begins the file. Dies when it cannot be made. */
void json_open(const char *path, const struct setting *setting);

/** Adds a comparison and flushes, so that a child of a later round has nothing to write twice. */
void json_add(const struct comparison *comparison);

/** Ends the file, without which it counts for nothing; false when it could not be written. */
bool json_close(bool correct);

#endif
