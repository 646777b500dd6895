# SPDX-License-Identifier: MIT
"""The supervisor, and commands that live, die and don't want to die.

usage: supervisor.py restart|terminate|hangup|done SUPERVISOR
"""

import os
import re
import signal

from support import Program, expect, fail, run

# Says where it is, and goes on; ends on SIGTERM, unless it is told not to.
OBEYS = "echo ready; exec sleep 1000"
REFUSES = "trap '' TERM; echo ready; while :; do sleep 0.2; done"


def pid_of(line):
    return int(re.search(r"started, pid (\d+)", line)[1])


def expect_gone(pid):
    try:
        os.kill(pid, 0)
        fail(f"the process {pid} is still there")
    except ProcessLookupError:
        pass


def test_restart(program):
    """What dies is started again, later and later."""
    fails = "echo one; echo two >&2; printf three; exit 3"
    with Program(program, "sh", "-c", fails, environment={"UCO_DEBUG": "1"}) as supervisor:
        for pause in ("0.1", "0.2", "0.4"):
            lines = supervisor.wait_for(lambda line: "again" in line)
            expect_gone(pid_of(lines[0]))
            expect(
                "a life",
                lines[1:],
                ["sh | one", "sh | two", "sh | three"]
                + ["sh: ended with status 3", f"sh: again in {pause} s"],
            )
        supervisor.end(signal.SIGTERM)

    with Program(program, "sh", "-c", "kill -9 $$", "--", "/nowhere/at-all") as supervisor:
        lines = []
        while not {"sh: again in 0.2 s", "at-all: again in 0.2 s"} <= set(lines):
            lines.append(supervisor.line())
        expect("a death by a signal", "sh: died by signal 9" in lines, True)
        missing = "at-all: can't be started: No such file or directory"
        expect("a command that is not there", missing in lines, True)
        supervisor.end(signal.SIGINT)


def test_terminate(program):
    """SIGTERM to all, SIGKILL to who does not care, and nobody is left."""
    obeys, refuses, fails = ("sh", "-c", OBEYS), ("sh", "-c", REFUSES), ("sh", "-c", "exit 1")
    arguments = ("--grace", "0.3", *obeys, "--", *refuses, "--", *fails)
    with Program(program, *arguments, environment={"UCO_DEBUG": "1"}) as supervisor:
        lines = []
        while not {"sh | ready", "sh-2 | ready", "sh-3: again in 0.2 s"} <= set(lines):
            lines.append(supervisor.line())
        pids = [pid_of(line) for line in lines if "started" in line]
        rest = supervisor.end(signal.SIGTERM)
        expect("who obeys", "sh: died by signal 15" in rest, True)
        expect("who does not", "sh-2: does not end, killed" in rest, True)
        expect("what happened to him", "sh-2: died by signal 9" in rest, True)
        for pid in pids:
            expect_gone(pid)


def test_hangup(program):
    """SIGHUP starts all anew, those that wait for their next start at once."""
    fails = "test -e /nowhere || exit 1"
    with Program(program, "sh", "-c", OBEYS, "--", "sh", "-c", fails) as supervisor:
        first = supervisor.wait_for(lambda line: line == "sh | ready")
        if "sh-2: again in 0.8 s" not in first:
            first += supervisor.wait_for(lambda line: line == "sh-2: again in 0.8 s")
        pid = next(pid_of(line) for line in first if line.startswith("sh: started"))

        supervisor.signal(signal.SIGHUP)
        again = []
        while not {"sh | ready", "sh-2: again in 0.1 s"} <= set(again):
            again.append(supervisor.line())
        expect_gone(pid)
        expect("the first one's end", "sh: died by signal 15" in again, True)
        supervisor.end(signal.SIGTERM)


def test_done(program):
    """What ends with status 0 is done, and so is the supervisor when all are."""
    long = "head -c 100000 /dev/zero | tr '\\0' x"
    with Program(program, "sh", "-c", "echo a", "--", "sh", "-c", long) as supervisor:
        lines = supervisor.end()
        expect("the first one's line", "sh | a" in lines, True)
        parts = [line.removeprefix("sh-2 | ") for line in lines if line.startswith("sh-2 | ")]
        expect("a very long line, in parts", "".join(parts) == "x" * 100000, True)
        expect("the ends", sum("ended with status 0" in line for line in lines), 2)
    for arguments in ((), ("--",), ("--grace", "x", "true")):
        with Program(program, *arguments) as supervisor:
            expect("exit status", supervisor.child.wait(), 2)


run({"restart": test_restart, "terminate": test_terminate, "hangup": test_hangup, "done": test_done})
