/* SPDX-License-Identifier: MIT */
#ifndef TEST_LEDGER_H
#define TEST_LEDGER_H

/*
 * The ledger around each test: case_new() begins and ends it. Of its own accord only its own tests
 * call this.
 *
 * What uco took and did not give back is what base/ledger.h notes. File descriptors and threads of
 * anybody else are found by comparing /proc before and after.
 */

void ledger_open(void);

/* Ends it. NULL, or what is left: a line each, what it is and where it was made. Threads have so
 * many seconds to be gone: one that was joined may still be listed for a moment. */
const char *ledger_close(double patience);

#endif
