# SPDX-License-Identifier: MIT
"""Interrupt the program shutdown while it works for clients: one ends in time, one is cut short.

usage: test_shutdown.py SHUTDOWN
"""

import signal
import socket
import subprocess
import sys


def expect(what, value, expected):
    if value != expected:
        sys.exit(f"{what}: {value!r}, not {expected!r}")


def client(port, milliseconds):
    """A connection whose client has been told that the server works for it."""
    stream = socket.create_connection(("127.0.0.1", port)).makefile("rw")
    stream.write(f"{milliseconds}\n")
    stream.flush()
    expect("the server's answer", stream.readline(), "working\n")
    return stream


def run(program, grace, jobs):
    """What each client heard last, and what the program said, when it was interrupted amid its work."""
    server = subprocess.Popen([*program, str(grace)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().rpartition(":")[2])
        clients = [client(port, milliseconds) for milliseconds in jobs]
        server.send_signal(signal.SIGINT)
        expect("the signal's effect", server.stdout.readline()[:15], "no more clients")
        heard = [stream.readline() for stream in clients]
        said, _ = server.communicate(timeout=60)
    finally:
        server.kill()
    expect("exit status", server.returncode, 0)
    return heard, said.splitlines()


def main():
    program = sys.argv[1:]

    heard, said = run(program, 60, [200, 100])
    expect("clients with time enough", heard, ["done\n", "done\n"])
    expect("the end", said, ["2 finished, 0 cut short, 0 failed"])

    heard, said = run(program, 1, [1, 900000])
    expect("clients with little time", heard, ["done\n", "cut short\n"])
    expect("the end", said, ["the time was up", "1 finished, 1 cut short, 0 failed"])

    heard, said = run(program, 0, [900000])
    expect("a client without time", heard, ["cut short\n"])


main()
