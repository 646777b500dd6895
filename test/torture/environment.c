/* SPDX-License-Identifier: MIT */
#include "environment.h"

#include "base/compiler.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/testing.h>
#include <unistd.h>

#define FRAMES 16

#if UCO__ASAN || UCO__TSAN

/* The sanitizer tells. */
static void
crashes_tell(void)
{
}

#else

/* Not what is strictly safe in a handler; but the process is lost anyway. */
static void
crash_tell(int signo)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    char line[FRAMES * 20 + 64];
    int size = snprintf(line, sizeof line, "\ncrash %d at", signo);
    ssize_t written;
    Dl_info info;

    for (int i = 1; i < count; i++) {
        if (dladdr(frames[i], &info) != 0 && strstr(info.dli_fname, "test_") != NULL)
            size += snprintf(line + size, sizeof line - (size_t) size, " 0x%tx",
                             (char *) frames[i] - (char *) info.dli_fbase);
    }
    line[size++] = '\n';
    written = write(STDERR_FILENO, line, (size_t) size);
    (void) written;
    signal(signo, SIG_DFL);
    raise(signo);
}

static void
crashes_tell(void)
{
    static char stack[64 << 10];
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = crash_tell, .sa_flags = SA_ONSTACK};
    void *frames[1];

    backtrace(frames, 1); /* what it loads, it loads now */
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
}

#endif

void
fault_from_environment(void)
{
    const char *wanted = getenv("UCO_TEST_FAULT");
    char call[32], how[8];
    unsigned long nth;
    int error;

    if (wanted == NULL)
        return;
    if (sscanf(wanted, "%31[^:]:%lu:%7[^:]:%d", call, &nth, how, &error) != 4 ||
        uco_test_fail(call, nth, strcmp(how, "ever") == 0, error) < 0) {
        fprintf(stderr, "UCO_TEST_FAULT=%s means nothing\n", wanted);
        abort();
    }
    crashes_tell();
}
