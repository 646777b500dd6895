# SPDX-License-Identifier: MIT
"""The chat server, with well-behaved members and others.

usage: chat_server.py talk|names|slow CHAT_SERVER
"""

import contextlib
import signal
import socket

from support import Program, expect, run


class Member:
    def __init__(self, port, name, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.reader = self.socket.makefile("r", encoding="utf-8", newline="\n")
        expect("the first line", self.line(), "* what is your name?")
        self.say(name)

    def line(self):
        return self.reader.readline().removesuffix("\n")

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def close(self):
        self.reader.close()
        self.socket.close()


def enter(port, name, others=(), **options):
    member = Member(port, name, **options)
    expect("the greeting", member.line(), f"* welcome, {name}")
    for other in others:
        expect("what the others see", other.line(), f"* {name} is here")
    return member


def test_talk(program):
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        ann = enter(port, "ann")
        bob = enter(port, "bob", [ann])
        cat = enter(port, "cat", [ann, bob])

        ann.say("hello \x1b[31mthere \u00e9\u009b1m\r")
        for other in (bob, cat):
            expect("what the others read", other.line(), "<ann> hello  [31mthere \u00e9  1m")
        bob.say("hello ann")
        for other in (ann, cat):
            expect("what the others read", other.line(), "<bob> hello ann")

        cat.say("/names")
        expect("the names", [cat.line() for _ in range(3)], ["* ann", "* bob", "* cat"])
        cat.say("/help")
        expect("an unknown command", cat.line(), "* there are /names and /quit")

        bob.say("/quit")
        expect("the end after /quit", bob.line(), "")
        cat.socket.shutdown(socket.SHUT_WR)
        expect("what those who stay see", ann.line(), "* bob has left")
        expect("what cat sees", cat.line(), "* bob has left")
        expect("the end after an end", cat.line(), "")
        expect("what those who stay see", ann.line(), "* cat has left")

        server.signal(signal.SIGINT)
        expect("Ctrl-C", [ann.line(), ann.line()], ["* the room closes", ""])
        server.end()


def test_names(program):
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        ann = enter(port, "ann")
        for name in ("", "a b", "x" * 25, "\x1b"):
            other = Member(port, name)
            expect(f"the name {name!r}", other.line(), "* up to 24 letters and digits, please")
            other.say("ann")
            expect("a name that is taken", other.line(), "* there is a ann already")
            other.close()

        long = enter(port, "long", [ann])
        long.say("x" * 5000)
        expect("a long line", long.line(), "* that line is too long")
        with contextlib.suppress(ConnectionResetError):
            expect("the end", long.line(), "")
        expect("what the others see", ann.line(), "* long has left")

        names = [f"u{i}" for i in range(300)]  # more than a queue has room for
        crowd = [enter(port, name) for name in names]
        crowd[0].say("/names")
        for name in names[1:]:
            expect("what the first sees", crowd[0].line(), f"* {name} is here")
        for name in ("ann", *names):
            expect("a name", crowd[0].line(), f"* {name}")
        for member in crowd[1:]:
            member.close()
        left = {crowd[0].line() for _ in names[1:]}
        expect("the others leave at once", left, {f"* {name} has left" for name in names[1:]})
        server.end(signal.SIGINT)


def test_slow(program):
    """One who does not read is cut off; nobody waits for him."""
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        ann = enter(port, "ann")
        bob = enter(port, "bob", [ann])
        sloth = enter(port, "sloth", [ann, bob], receive_buffer=4096)
        notice = "* sloth was too slow"
        said = 0
        heard = []
        while notice not in heard:
            for _ in range(100):  # fewer than bob's queue has room for
                ann.say(f"{said} " + "x" * 1000)
                said += 1
            while len(heard) < said:
                heard.append(bob.line())
        heard.remove(notice)
        heard.append(bob.line())
        numbers = [int(line.split()[1]) for line in heard]
        expect("what bob has heard", numbers == list(range(said)), True)
        print(f"cut off within {said} lines")
        expect("what ann sees", ann.line(), notice)
        sloth.close()
        server.end(signal.SIGINT)


run({"talk": test_talk, "names": test_names, "slow": test_slow})
