# SPDX-License-Identifier: MIT
"""What the tests of the examples share: programs as children, their lines, and the way out."""

import contextlib
import faulthandler
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

SKIPPED = 77  # meson's own

# The programs need more memory then.
SANITIZED = os.environ.get("UCO_TEST_SANITIZED") == "1"

# What a program may say on stderr beside what a test expects of it: a machine can be slow.
HARMLESS = ("kept the loop for",)


def fail(message):
    sys.exit(f"failed: {message}")


def expect(what, value, expected):
    if value != expected:
        fail(f"{what}: {value!r}, not {expected!r}")


def need(tool):
    """The path of a tool; without it the test is skipped."""
    path = shutil.which(tool)
    if path is None:
        print(f"skipped: there is no {tool}")
        sys.exit(SKIPPED)
    return path


class Program:
    """A child whose output is read line by line. Left by an exception, it is killed."""

    running = set()

    def __init__(self, *arguments, environment=None):
        self.errors = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [str(argument) for argument in arguments],
            env=dict(os.environ, **(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self.pid = self.child.pid
        Program.running.add(self.child)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        Program.running.discard(self.child)
        if kind is not None:
            print("the program's errors:", self.error_text(), sep="\n")
        self.child.stdout.close()
        self.errors.close()

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read()

    def line(self):
        """The next line, without its end."""
        line = self.child.stdout.readline()
        if not line:
            fail(f"the program ended early, with {self.child.wait()}")
        return line.decode().removesuffix("\n")

    def read(self, size):
        return self.child.stdout.read(size).decode()

    def has_output(self, seconds):
        """Whether there is something to read, or comes in that time."""
        return bool(select.select([self.child.stdout], [], [], seconds)[0])

    def wait_for(self, wanted):
        """The lines up to the first for which wanted is true, that one being the last."""
        lines = [self.line()]
        while not wanted(lines[-1]):
            lines.append(self.line())
        return lines

    def port(self):
        """The port in the first line, as in 127.0.0.1:1234 or http://127.0.0.1:1234/."""
        return int(self.line().rstrip("/").rpartition(":")[2])

    def signal(self, number):
        self.child.send_signal(number)

    def end(self, number=None, status=0, errors=""):
        """Send a signal, and see that it ends as it should. Returns the lines that were left."""
        if number is not None:
            self.signal(number)
        rest = self.child.stdout.read().decode().splitlines()
        expect("exit status", self.child.wait(), status)
        text = "".join(
            line
            for line in self.error_text().splitlines(keepends=True)
            if not any(words in line for words in HARMLESS)
        )
        expect("what it said on stderr", text, errors)
        return rest

    def resident(self):
        """Bytes of memory that are in use."""
        return self.status("VmRSS") * 1024

    def status(self, name):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
        return fail(f"no {name} in the process's status")

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def maps(self):
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="replace") as maps:
            return sum(1 for _ in maps)


def connect(port):
    return socket.create_connection(("127.0.0.1", port))


def receive(peer, size):
    """Exactly so many bytes, or fewer when the end comes first."""
    data = bytearray()
    while len(data) < size:
        piece = peer.recv(min(size - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


def receive_all(peer):
    return receive(peer, 1 << 62)


@contextlib.contextmanager
def listening(backlog=16):
    """A listening socket, and its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener, listener.getsockname()[1]


@contextlib.contextmanager
def taken_port():
    """A port where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def give_up():
    """Says where the test hangs, and leaves nothing behind."""
    print("failed: the time is up", flush=True)
    faulthandler.dump_traceback()
    for child in Program.running:
        child.kill()
    os._exit(1)


def run(cases, timeout=240):
    """Run the case that the command line names: CASE PROGRAM [ARGUMENT...]."""
    watchdog = threading.Timer(timeout, give_up)
    watchdog.daemon = True
    watchdog.start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a shell's background jobs ignore some; children too
    cases[sys.argv[1]](*sys.argv[2:])
    print("passed")
