# SPDX-License-Identifier: MIT
"""The port checker, against ports of each kind.

usage: port_check.py states|range|usage PORT_CHECK
"""

import contextlib
import signal
import socket
import subprocess

from support import Program, expect, listening, run, taken_port


def check(program, *arguments):
    done = subprocess.run(
        [program, *(str(argument) for argument in arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


@contextlib.contextmanager
def deaf_port():
    """A port that does not answer: its queue of connections is full, and nobody accepts."""
    with listening(backlog=0) as (_, port), contextlib.ExitStack() as stack:
        for _ in range(16):
            peer = stack.enter_context(socket.socket())
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", port))
        yield port


def test_states(program):
    with listening() as (_, a), listening() as (_, b), taken_port() as c, deaf_port() as d:
        states = {a: "open", b: "open", c: "closed", d: "filtered"}
        expected = [f"{port} {states[port]}" for port in sorted(states)]
        expect("four ports", check(program, "--timeout", "0.3", "127.0.0.1", d, c, b, a), (1, expected, ""))
        only = [line for line in expected if line.endswith("open")]
        expect("--open", check(program, "--timeout", "60", "--open", "127.0.0.1", a, b, c), (1, only, ""))
        expect("all open", check(program, "--timeout", "60", "127.0.0.1", a, b, a), (0, only, ""))


def test_range(program):
    """Many more ports than connections at once, and Ctrl-C."""
    with listening() as (_, port), listening() as (_, other):
        first, last = max(1, port - 2000), min(65535, port + 2000)
        status, lines, errors = check(program, "--timeout", "60", "127.0.0.1", f"{first}-{last}", other)
        expect("errors", errors, "")
        expect("its port", f"{port} open" in lines, True)
        expect("the other port", f"{other} open" in lines, True)
        numbers = [int(line.split()[0]) for line in lines]
        expect("each once, in order", numbers == sorted({*range(first, last + 1), other}), True)
        expect("exit status", status, 1)

    with deaf_port() as port, Program(program, "--timeout", "600", "127.0.0.1", port) as checker:
        while checker.files() < 5:  # it runs, and has a socket
            pass
        checker.signal(signal.SIGINT)
        expect("Ctrl-C", checker.child.wait() != 0, True)


def test_usage(program):
    for arguments in ((), ("127.0.0.1",), ("127.0.0.1", "0"), ("127.0.0.1", "65536"), ("127.0.0.1", "9-8"),
                      ("127.0.0.1", "http"), ("127.0.0.1", "1-"), ("--timeout", "0", "127.0.0.1", "1")):
        status, lines, errors = check(program, *arguments)
        expect(f"arguments {arguments}", (status, lines, errors[:6]), (2, [], "usage:"))
    status, lines, errors = check(program, "nowhere.invalid", 1)
    expect("an unknown host", (status, lines, errors[:27]), (2, [], "port_check: nowhere.invalid"))


run({"states": test_states, "range": test_range, "usage": test_usage})
