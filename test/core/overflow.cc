/* SPDX-License-Identifier: MIT */

/* A stack overflow in C++: between constructors and destructors, in a coroutine that another thread
 * runs. It is reported as in C, and the process dies by SIGSEGV. */

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <uco/testing.h>
#include <uco/uco.h>
#include <unistd.h>

namespace
{

volatile int recursion_end = -1; /* never */

std::string
nest(int depth)
{
    std::string mine(40, static_cast<char>('a' + depth % 26));

    if (depth == recursion_end)
        return mine;
    return nest(depth + 1) + mine;
}

intptr_t
overflows(void *)
{
    try {
        return static_cast<intptr_t>(nest(0).size());
    } catch (...) {
        return -EIO;
    }
}

intptr_t
starts_it(void *)
{
    uco_task_options options = {};

    options.name = "deep in C++";
    options.stack_size = 64 * 1024;
    return uco_join(uco_create_task_with(&options, overflows, nullptr));
}

[[noreturn]] void
child_run(int out)
{
    prctl(PR_SET_DUMPABLE, 0);
    dup2(out, STDERR_FILENO);
    if (std::getenv("UCO_TEST_EMULATED") != nullptr) /* it takes MADV_GUARD_INSTALL for a hint */
        uco_test_fail("madvise", 1, true, EINVAL);
    std::thread([] { uco_run(starts_it, nullptr); }).join();
    _exit(0);
}

} // namespace

int
main()
{
    int pipes[2], status = 0;
    std::string said;
    char part[512];
    ssize_t n;
    pid_t child;

    if (pipe(pipes) < 0 || (child = fork()) < 0)
        return EXIT_FAILURE;
    if (child == 0)
        child_run(pipes[1]);
    close(pipes[1]);
    while ((n = read(pipes[0], part, sizeof part)) > 0)
        said.append(part, static_cast<size_t>(n));
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV &&
        said.find("uco: stack overflow in task 'deep in C++'") == 0)
        return EXIT_SUCCESS;
    std::printf("status 0x%x, and it said: %s\n", static_cast<unsigned>(status), said.c_str());
    return EXIT_FAILURE;
}
