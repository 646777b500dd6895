# SPDX-License-Identifier: MIT
"""The system calls of whole programs fail, as strace's fault injection makes them.

usage: inject.py server|uring|tour PROGRAM

A first run, with nothing injected, shows which calls the program makes after its start, and how often. Then one call of
one run fails: each kind of call in turn, the first times that it is made and the last, with the errors that the kernel
has for it. The program must do its work all the same where an error says nothing but "again", or asks for patience;
otherwise it may end, by itself and with a message. It may never crash or hang: Ctrl-C ends it in any case.

What `src/base/fault.h` does from inside this does from outside, and so to libc, too: to what a library that uco calls
does when it is refused something.
"""

import collections
import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

from support import Program, expect, fail, need, run

PATIENCE = 60  # seconds until something hangs
LIE = 0.5  # seconds that a client waits for what may never come
WORKERS = 4  # they wait more than they compute
TIMES = 3  # of each kind of call fail the first ones, and the last

# What each kind of call may fail with. Those of a line's second list change nothing that others see. brk() is not
# here: where it fails at the first block of all, glibc's calloc() crashes by itself.
ERRORS = {
    "accept4": ("", "EINTR EMFILE ENFILE ENOMEM ECONNABORTED"),
    "bind": ("EADDRINUSE ENOMEM", ""),
    "clone3": ("EAGAIN ENOMEM", ""),
    "close": ("", "EINTR EIO"),
    "connect": ("ECONNREFUSED", "EINTR"),
    "epoll_create1": ("EMFILE ENOMEM", ""),
    "epoll_ctl": ("ENOMEM ENOSPC", ""),
    "epoll_pwait2": ("", "EINTR ENOSYS"),
    "epoll_wait": ("", "EINTR"),
    "eventfd2": ("EMFILE ENOMEM", ""),
    "fcntl": ("EBADF", ""),
    "futex": ("", "EINTR EAGAIN"),
    "getpeername": ("ENOTCONN", ""),
    "getsockname": ("ENOBUFS", ""),
    "getsockopt": ("ENOBUFS", ""),
    "io_uring_enter": ("", "EINTR EAGAIN EBUSY"),
    "io_uring_register": ("ENOMEM EINVAL", ""),
    "io_uring_setup": ("", "ENOMEM EPERM ENOSYS"),
    "listen": ("EADDRINUSE", ""),
    "madvise": ("", "EINVAL ENOMEM EAGAIN"),
    "mmap": ("ENOMEM", ""),
    "mprotect": ("ENOMEM", ""),
    "munmap": ("", "ENOMEM"),
    "openat": ("EMFILE ENOMEM", "EINTR"),
    "pipe2": ("EMFILE", ""),
    "poll": ("ENOMEM", "EINTR"),
    "prctl": ("", "EINVAL EPERM"),
    "process_madvise": ("", "EINVAL ENOSYS"),
    "read": ("EAGAIN EIO", "EINTR"),
    "recvfrom": ("EAGAIN ENOMEM", "EINTR"),
    "recvmsg": ("EAGAIN ENOMEM", "EINTR"),
    "rt_sigaction": ("EINVAL", ""),
    "sendfile": ("EAGAIN", "EINTR"),
    "sendmsg": ("EAGAIN ENOMEM", "EINTR"),
    "sendto": ("EAGAIN ENOMEM", "EINTR"),
    "setsockopt": ("ENOMEM", ""),
    "shutdown": ("ENOTCONN", ""),
    "sigaltstack": ("ENOMEM", ""),
    "socket": ("EMFILE ENOMEM", ""),
    "write": ("EAGAIN EIO", "EINTR"),
    "writev": ("EAGAIN EIO", "EINTR"),
}

# A line that is written is lost where the C library does not write it again; and waking never fails, so that the library
# gives up where it does.
SPARED = re.compile(r"^\d+ +(writev?\([12],|futex\(\w+, FUTEX_WAKE)")

CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")

Case = collections.namedtuple("Case", "call error when harmless")


def strace_of(log, injected):
    """The tracer is a grandchild (-D), so that the program itself is the child here."""
    strace = [need("strace"), "-D", "-f", "-q", "-o", log, "-e", "signal=none"]
    for case in injected:
        strace += ["-e", f"inject={case.call}:error={case.error}:when={case.when}"]
    return strace


def can_trace():
    """Whether this process may trace its children; a container may forbid it."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        strace = strace_of(log, [Case("getppid", "EPERM", "1", True)])
        traced = subprocess.run(strace + ["true"], stderr=subprocess.PIPE, text=True, check=False)
        if traced.returncode == 0 and os.path.exists(log) and os.path.getsize(log) > 0:
            return True
        print("skipped: strace cannot trace here:", traced.stderr.strip())
        return False


def calls_of(log):
    """How often the program's first thread made each call before it was loaded, and all times that it
    did afterwards, but for those that write to the terminal."""
    with open(log, encoding="utf-8", errors="replace") as text:
        lines = text.read().splitlines()
    calls = [CALL.match(line) for line in lines]
    main = next(call[1] for call in calls if call)
    # The linker's last call gives back what it had mapped of its cache.
    cache = next((i for i, line in enumerate(lines) if "/etc/ld.so.cache" in line), 0)
    begin = next((i for i, line in enumerate(lines) if i > cache and " munmap(" in line), 0)

    counts = collections.Counter()
    times = collections.defaultdict(list)
    for i, (line, call) in enumerate(zip(lines, calls)):
        if call is None or call[1] != main:
            continue
        counts[call[2]] += 1
        if i > begin and not SPARED.match(line):
            times[call[2]].append(counts[call[2]])
    return times


def cases_of(times):
    for call, numbers in sorted(times.items()):
        errors, harmless = ERRORS.get(call, ("", ""))
        for number in sorted({*numbers[:TIMES], numbers[-1]}):
            for error in errors.split():
                yield Case(call, error, str(number), False)
            for error in harmless.split():
                yield Case(call, error, str(number), True)


def conversation(port, patience, count=3):
    """Whether an echo server answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as peer:
            for number in range(count):
                text = f"line {number}\n".encode()
                peer.sendall(text)
                back = b""
                while len(back) < len(text):
                    piece = peer.recv(len(text) - len(back))
                    if not piece:
                        return False
                    back += piece
                if back != text:
                    fail(f"{text!r} came back as {back!r}")
        return True
    except OSError:
        return False


def ended(what, server):
    """It has ended, or does so at Ctrl-C: with which status and message."""
    try:
        status = server.child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        fail(f"{what}: it hangs")
    errors = server.error_text()
    # Ctrl-C itself, where the handler could not be had.
    if status < 0 and status != -signal.SIGINT:
        fail(f"{what}: it ended by {signal.Signals(-status).name}\n{errors}")
    if status > 0 and errors == "":
        fail(f"{what}: it ended with {status}, and did not say why")
    return status, errors


def serve_once(program, folder, case, environment):
    """A server, two clients and Ctrl-C. Returns how it went, in a word."""
    what = "nothing injected" if case is None else f"{case.call} number {case.when} fails with {case.error}"
    name = "none" if case is None else f"{case.call}-{case.error}-{case.when}"
    log = os.path.join(folder, name)
    sure = case is None or case.harmless

    with Program(*strace_of(log, [case] if case else []), program, environment=environment) as server:
        line = server.child.stdout.readline()
        if not line:
            status, _ = ended(what, server)
            if sure or status == 0:
                fail(f"{what}: the server did not begin, status {status}: {server.error_text()}")
            return "refused"
        port = int(line.decode().rpartition(":")[2])
        first = conversation(port, PATIENCE if sure else LIE)
        second = conversation(port, PATIENCE if sure else LIE)
        server.signal(signal.SIGINT)
        status, errors = ended(what, server)
        if sure and not (first and second and status == 0):
            fail(f"{what}: answers {first} and {second}, status {status}: {errors}")
        return "served" if first and second else "answered one" if first or second else "answered none"


def serve(program, environment):
    with tempfile.TemporaryDirectory() as folder:
        serve_once(program, folder, None, environment)
        times = calls_of(os.path.join(folder, "none"))
        cases = list(cases_of(times))
        print("never made to fail:", *sorted(set(times) - set(ERRORS)))
        expect("there is enough to inject", len(cases) > 50, True)

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            outcomes = list(pool.map(lambda case: serve_once(program, folder, case, environment), cases))
    for case, outcome in zip(cases, outcomes):
        print(f"{case.call:18} {case.error:14} number {case.when:>3}: {outcome}")
    print(f"{len(cases)} faults: {dict(collections.Counter(outcomes))}")


def test_server(program):
    serve(program, {"UCO_BACKEND": "epoll"})


def test_uring(program):
    serve(program, {"UCO_BACKEND": "io_uring"})


# Storms: of each kind of call some fail, from the moment when the program is loaded. With those of the first list it
# must come to its end.
TOUR_HARMLESS = {
    "EINTR": "epoll_wait epoll_pwait2 recvfrom sendto sendmsg accept4 close",
    "EINVAL": "madvise",
    "ENOSYS": "epoll_pwait2 process_madvise",
}
TOUR = {
    "EAGAIN": "clone3",
    "ENOMEM": "mmap epoll_ctl mprotect munmap socket",
    "EMFILE": "socket epoll_create1 eventfd2 accept4",
}


def tour_once(program, folder, name, cases, sure):
    log = os.path.join(folder, name)
    with Program(*strace_of(log, cases), program) as tour:
        try:
            output, _ = tour.child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            fail(f"the tour hangs: {name}")
        status = tour.child.returncode
        said = tour.error_text() + output.decode(errors="replace")
        # Its own crosses do not count: what a scene took is among what it looks at, and here it takes longer.
        summary = "All five hold" in said or "\nOff: " in said
        if status < 0 or (sure and not summary) or (status != 0 and said == ""):
            fail(f"{name}: the tour ended with {status}\n{said[-4000:]}")
        return f"{name}: status {status}"


def test_tour(program):
    with tempfile.TemporaryDirectory() as folder:
        tour_once(program, folder, "none", [], True)
        times = calls_of(os.path.join(folder, "none"))
        jobs = []
        for storm, sure in ((TOUR_HARMLESS, True), (TOUR, False)):
            for error, calls in storm.items():
                for step in (2, 3, 7):
                    cases = [
                        Case(call, error, f"{times[call][0] if times[call] else 1}+{step}", sure)
                        for call in calls.split()
                    ]
                    jobs.append((f"each {step}th fails with {error}", cases, sure))
        with concurrent.futures.ThreadPoolExecutor(WORKERS * 2) as pool:
            for line in pool.map(lambda job: tour_once(program, folder, *job), jobs):
                print(line)


if not can_trace():
    sys.exit(77)
run({"server": test_server, "uring": test_uring, "tour": test_tour}, timeout=280)
