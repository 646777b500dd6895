/* SPDX-License-Identifier: MIT */
#ifndef TEST_TORTURE_ENVIRONMENT_H
#define TEST_TORTURE_ENVIRONMENT_H

/*
 * A failure that comes from the environment: UCO_TEST_FAULT=call:nth:once:error or
 * call:nth:ever:error (a number) makes that call fail in each test of a program. suite.py runs all
 * programs so, and tolerates what a test then finds wrong, but no crash and no hang.
 *
 * Called at the beginning of a test. A crash tells its frames on stderr then.
 */
void fault_from_environment(void);

#endif
