/* SPDX-License-Identifier: MIT */

/*
 * Linked into the tests where coverage is counted: what a process has counted gets written when it
 * ends by exit() only, but some tests are about processes that end otherwise.
 */

#include <stdlib.h>

void __gcov_dump(void);
_Noreturn void __real_abort(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap_abort(void);
_Noreturn void __wrap__exit(int status);

void
__wrap_abort(void)
{
    __gcov_dump();
    __real_abort();
}

void
__wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}
