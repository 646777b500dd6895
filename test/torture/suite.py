#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The whole suite under faults: nothing may crash or hang, whatever fails.

Each Check program runs with one call made to fail in each of its tests (UCO_TEST_FAULT, see environment.h). That a test
then finds something wrong is to be expected, and tolerated. What is not: a signal, a sanitizer's report. A crash in a test's
own code, which did not look whether it got what it asked for, is counted but tolerated. So is a test that does not end, as
one that waits for what now never comes: those are printed, to be looked at, and with --strict they are failures.

    suite.py BUILD                          a sample that takes a minute
    suite.py BUILD --seconds 3600 --seed 7  another one, for an hour
    suite.py BUILD --program 'task wait' --fault malloc:17:once:12
"""

import argparse
import concurrent.futures
import errno
import json
import os
import random
import re
import subprocess
import sys
import time

SUITES = ("base", "core", "task", "sync", "io", "http")

# What is waited for; in milliseconds a test may take tens of seconds where it is sanitized.
TIMEOUT_MULTIPLIER = "0.5"
PROGRAM_SECONDS = 200

NUMBERS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)

FAULTS = {
    "malloc": ["ENOMEM"],
    "mmap": ["ENOMEM"],
    "munmap": ["ENOMEM"],
    "madvise": ["ENOMEM", "EINVAL"],
    "mprotect": ["ENOMEM"],
    "read": ["ECONNRESET", "EIO", "EINTR"],
    "write": ["EPIPE", "ENOBUFS", "EINTR"],
    "accept4": ["EMFILE", "ECONNABORTED"],
    "connect": ["ECONNREFUSED", "EADDRNOTAVAIL"],
    "socket": ["EMFILE"],
    "bind": ["EADDRINUSE"],
    "listen": ["EADDRINUSE"],
    "shutdown": ["ENOTCONN"],
    "close": ["EINTR", "EIO"],
    "fcntl": ["EMFILE"],
    "poll": ["ENOMEM", "EINTR"],
    "eventfd": ["EMFILE"],
    "epoll_create1": ["EMFILE"],
    "epoll_ctl": ["ENOMEM", "ENOSPC"],
    "epoll_wait": ["EINTR"],
    "pthread_create": ["EAGAIN"],
    "prctl": ["EINVAL"],
    "open": ["EMFILE", "EINTR"],
    "fsync": ["EIO"],
    "sendfile": ["EIO", "EINVAL"],
    "getsockopt": ["ENOBUFS"],
    "setsockopt": ["ENOBUFS"],
    "getsockname": ["ENOBUFS"],
    "pipe2": ["EMFILE"],
    "posix_spawn": ["EAGAIN"],
    "pidfd_open": ["EMFILE", "ENOSYS"],
    "waitid": ["EINTR"],
    "sigaction": ["EINVAL"],
    "sigaltstack": ["ENOMEM"],
    "getaddrinfo": ["EIO"],
    "io_uring_queue_init": ["ENOMEM"],
    "io_uring_enter": ["EINTR", "EAGAIN"],
    "stat": ["EIO"],
    "access": ["EACCES"],
    "lseek": ["EINVAL"],
    "ftruncate": ["EIO"],
    "fchmod": ["EPERM"],
    "flock": ["EINTR"],
    "rename": ["EIO"],
    "unlink": ["EACCES"],
    "getrandom": ["EAGAIN"],
}

# What comes for ever is tried for ever.
ONCE_ONLY = {"EINTR", "EAGAIN", "ECONNABORTED"}


class Program:
    """A test program of the build."""

    def __init__(self, test):
        self.name = test["name"]
        self.command = test["cmd"]
        self.environment = test["env"]


def programs(build):
    """Those that are made with Check, and know of UCO_TEST_FAULT."""
    with open(os.path.join(build, "meson-info/intro-tests.json"), encoding="utf-8") as file:
        tests = json.load(file)
    return [
        Program(test)
        for test in tests
        if any(suite.split(":")[-1] in SUITES for suite in test["suite"])
        and os.path.basename(test["cmd"][0]).startswith("test_")
    ]


def faults():
    """All that can be set, as UCO_TEST_FAULT has it."""
    for call, errors in FAULTS.items():
        for name in errors:
            for nth in NUMBERS:
                for how in ("once", "ever"):
                    if how == "once" or name not in ONCE_ONLY or call == "pthread_create":
                        yield f"{call}:{nth}:{how}:{getattr(errno, name)}"


def place(program, addresses):
    """Where a crash was: the first of its frames that is uco's or the tests'."""
    found = subprocess.run(
        ["addr2line", "-e", program.command[0], *addresses], capture_output=True, check=False, text=True
    ).stdout.split("\n")
    for line in found:
        if "/torture/environment.c" not in line and re.search(r"/(src|test)/\w+/[\w.]+:\d", line):
            return line
    return "?"


def is_the_tests(where):
    """Whether it is in a test's own code."""
    return re.search(r"/test/\w+/[\w.]+:\d", where) is not None


def run(program, fault):
    """Runs a program with a fault: what was wrong, which tests did not end, how many crashes were the tests' own."""
    environment = dict(os.environ, **program.environment)
    environment.update(
        UCO_TEST_FAULT=fault,
        CK_TIMEOUT_MULTIPLIER=TIMEOUT_MULTIPLIER,
        CK_VERBOSITY="normal",
        ASAN_OPTIONS="detect_stack_use_after_return=1:exitcode=99:detect_leaks=0",
        UBSAN_OPTIONS="halt_on_error=1:exitcode=99:print_stacktrace=1",
        TSAN_OPTIONS="exitcode=99",
    )
    try:
        ran = subprocess.run(
            program.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_SECONDS,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], ["the program"], 0
    wrong, endless = [], []
    if ran.returncode < 0:
        wrong.append(f"ended by signal {-ran.returncode}")
    places = [
        place(program, found.split()) for found in re.findall(r"^crash \d+ at((?: 0x[0-9a-f]+)+)$", ran.stderr, re.M)
    ]
    own = sum(is_the_tests(where) for where in places)
    for line in re.findall(r"^.*:E:.*$", ran.stdout, re.M):
        if "timeout expired" in line:
            endless.append(line)
        elif "Early exit with return value 99" in line:
            wrong.append(line)
        elif "Received signal" in line and len(places) == 0:
            wrong.append(line)
    wrong += [f"crashed at {where}" for where in places if not is_the_tests(where)]
    if wrong:
        wrong += [line for line in ran.stderr.splitlines() if re.match(r"uco: |==\d+==ERROR|.*runtime error", line)][:5]
    return wrong, endless, own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--program", help="only this one, by its name in the build")
    parser.add_argument("--fault", help="only this one: call:nth:once|ever:errno")
    parser.add_argument("--call", help="only faults of this call")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--strict", action="store_true", help="a test that does not end is a failure")
    arguments = parser.parse_args()

    found = [p for p in programs(arguments.build) if arguments.program in (None, p.name)]
    wanted = [arguments.fault] if arguments.fault else [f for f in faults() if arguments.call in (None, f.split(":")[0])]
    pairs = [(program, fault) for program in found for fault in wanted]
    random.Random(arguments.seed).shuffle(pairs)
    end = time.monotonic() + arguments.seconds
    ran = own = problems = hangs = 0

    def one(pair):
        return (pair, *run(*pair)) if time.monotonic() < end or len(pairs) == 1 else None

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(one, pairs):
            if result is None:
                continue
            (program, fault), wrong, endless, tests_own = result
            ran += 1
            own += tests_own
            hangs += len(endless)
            if arguments.strict:
                wrong += endless
            problems += bool(wrong)
            if wrong or endless:
                what = "FAILED" if wrong else "does not end"
                print(f"{what}: {program.name}, {fault}", *(wrong or endless)[:6], sep="\n    ")
                print(f"    again by: suite.py {arguments.build} --program '{program.name}' --fault {fault}", flush=True)
    print(
        f"{ran} of {len(pairs)} runs of {len(found)} programs, {problems} failures,"
        f" {own} crashes of the tests' own, {hangs} tests that did not end"
    )
    return 1 if problems or ran == 0 else 0


sys.exit(main())
