# SPDX-License-Identifier: MIT
"""Thousands of connections that exchange messages, come and go; the echo server must not grow.

usage: soak.py run ECHO_SERVER [CONNECTIONS]

For UCO_SOAK_SECONDS (10) the clients of this process send messages of all sizes and check what comes
back; a connection ends after some of them, in one of four ways, and another takes its place. The
server's file descriptors, memory and maps are counted after a warm-up and at the end, each time
when all connections are there and none has anything under way.
"""

import contextlib
import errno
import os
import random
import resource
import select
import signal
import socket
import time

from support import SANITIZED, Program, expect, fail, run

CONNECTIONS = 10000
FILES_BESIDES = 200
WARM_UP = 3.0  # seconds at least; and a third of the whole time at most
SIZES = (1, 64, 64, 64, 64, 1000, 1000, 16384, 100000)
SOURCES = 100  # loopback addresses: one alone has not enough ports
LINGER_NOT = b"\1\0\0\0\0\0\0\0"
NOISE = random.Random(1).randbytes(1 << 20)


class Connection:
    __slots__ = ("socket", "left", "sent", "received", "size", "at", "state")

    def __init__(self, randomly, address, number):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self.socket.bind((f"127.0.1.{number % SOURCES + 1}", 0))
        self.left = randomly.randint(1, 20)  # messages
        self.state = "connecting"
        error = self.socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            fail(f"connecting: {os.strerror(error)}")

    def begin(self, randomly):
        self.size = randomly.choice(SIZES)
        self.at = randomly.randrange(len(NOISE) - self.size)
        self.sent = self.received = 0
        self.state = "talking"
        self.left -= 1

    def go_on(self):
        """Sends and receives what can be; true when the message is back."""
        with contextlib.suppress(BlockingIOError):
            while self.sent < self.size:
                self.sent += self.socket.send(NOISE[self.at + self.sent : self.at + self.size])
        with contextlib.suppress(BlockingIOError):
            while self.received < self.size:
                data = self.socket.recv(65536)
                begin = self.at + self.received
                if not data or data != NOISE[begin : begin + len(data)]:
                    fail("a wrong echo")
                self.received += len(data)
        return self.received == self.size

    def end(self, randomly):
        """True: it is closed now; false: when the server has seen its end."""
        how = randomly.randrange(4)
        if how == 0:
            self.socket.shutdown(socket.SHUT_WR)
            self.state = "ending"
            return False
        if how == 1:  # amid a message, with a reset
            with contextlib.suppress(BlockingIOError):
                self.socket.send(NOISE[:20000])
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        elif how == 2:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.socket.close()
        return True


class Soak:
    def __init__(self, address, number):
        self.address = address
        self.randomly = random.Random(2)
        self.poll = select.epoll()
        self.connections = {}
        self.opened = self.messages = 0
        self.rest = False  # who gets its message back sends no other
        self.busy = 0
        for _ in range(number):
            self.open()
            if self.opened % 500 == 0:
                self.step(0)

    def open(self):
        connection = Connection(self.randomly, self.address, self.opened)
        self.opened += 1
        self.busy += 1
        self.connections[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def step(self, timeout):
        for fd, _ in self.poll.poll(timeout):
            if fd in self.connections:
                self.serve(fd, self.connections[fd])

    def serve(self, fd, connection):
        if connection.state == "connecting":
            error = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                fail(f"connecting: {os.strerror(error)}")
            connection.begin(self.randomly)
        elif connection.state == "ending":
            with contextlib.suppress(BlockingIOError):  # the event was about sending
                if connection.socket.recv(1):
                    fail("more than was sent")
                connection.socket.close()
                self.replace(fd)
            return
        if connection.state == "talking" and connection.go_on():
            self.messages += 1
            self.next(fd, connection)

    def next(self, fd, connection):
        while True:
            if self.rest:
                connection.state = "resting"
                self.busy -= 1
                return
            if connection.left == 0:
                if connection.end(self.randomly):
                    self.replace(fd)
                return
            connection.begin(self.randomly)
            if not connection.go_on():
                return
            self.messages += 1

    def replace(self, fd):
        del self.connections[fd]
        self.busy -= 1
        self.open()

    def work(self, seconds):
        """Messages for some time, then until the last one is back."""
        self.rest = False
        until = time.monotonic() + seconds
        for fd, connection in list(self.connections.items()):
            if connection.state == "resting":
                self.busy += 1
                self.next(fd, connection)
        while time.monotonic() < until:
            self.step(0.1)
        self.rest = True
        while self.busy > 0:
            self.step(0.1)

    def close(self):
        for connection in self.connections.values():
            connection.socket.close()
        self.connections.clear()
        self.poll.close()


def figures(server):
    return {"files": server.files(), "memory": server.resident(), "maps": server.maps()}


def wait_for_files(server, number):
    """Until the server has closed what its clients have."""
    while server.files() > number:
        time.sleep(0.01)


def test_soak(program, connections=str(CONNECTIONS)):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    number = min(int(connections), limit - FILES_BESIDES)
    seconds = float(os.environ.get("UCO_SOAK_SECONDS", "10"))
    warm_up = min(max(WARM_UP, seconds / 10), seconds / 3)

    with Program(program) as server:
        port = server.port()
        alone = figures(server)
        soak = Soak(("127.0.0.1", port), number)

        soak.work(warm_up)
        wait_for_files(server, alone["files"] + number)
        warm = figures(server)
        print(f"{number} connections, after {soak.opened} of them and {soak.messages} messages: {warm}")

        soak.work(seconds - warm_up)
        wait_for_files(server, alone["files"] + number)
        end = figures(server)
        print(f"after {soak.opened} connections and {soak.messages} messages: {end}")

        soak.close()
        wait_for_files(server, alone["files"])
        expect("file descriptors", end["files"], warm["files"])
        if not SANITIZED:  # which keeps what was freed
            if end["memory"] > warm["memory"] * 1.1 + (8 << 20):
                fail("the memory has grown")
            if end["maps"] > warm["maps"] * 1.05 + 64:
                fail("the maps have grown")
        server.end(signal.SIGINT)


seconds_to_soak = float(os.environ.get("UCO_SOAK_SECONDS", "10"))
run({"run": test_soak}, timeout=seconds_to_soak * 4 + 240)
